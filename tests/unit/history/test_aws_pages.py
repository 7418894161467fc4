"""Pages of ``describe-spot-price-history``: whole or refused, every entry judged alone."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.histories import (
    AT,
    NO_POOL,
    NO_PRICE,
    NO_TIME,
    OTHER_PRODUCT,
    a_page,
    an_entry,
    buckets_of,
    refusal_of,
    summary_of,
    written,
)


def test_a_page_as_the_cli_prints_it_is_read(tmp_path: Path) -> None:
    found = summary_of(written(tmp_path, "history.json", json.dumps(json.loads(a_page(an_entry())), indent=4)))
    assert (found.rows, found.changes, found.duplicates, found.pools) == (1, 1, 0, 1)
    assert (found.first, found.last, found.rejected) == (AT, AT, {})


def test_the_name_says_the_form_whatever_its_case_and_packed_or_not(tmp_path: Path) -> None:
    names = ["a.json", "a.ndjson", "a.jsonl", "A1.JSON", "a.json.gz", "a.b.jsonl.gz"]
    found = summary_of(*(written(tmp_path, name, a_page(an_entry())) for name in names))
    assert (found.rows, found.changes) == (len(names), 1)


def test_pages_stand_one_after_the_other_however_they_are_parted(tmp_path: Path) -> None:
    parts = ["", "\n", "\n\n  ", " ", "\r\n"]
    pages = [a_page(an_entry(AvailabilityZone=f"us-east-1{zone}")) for zone in "abcdef"]
    text = pages[0] + "".join(part + page for part, page in zip(parts, pages[1:], strict=True))
    assert summary_of(written(tmp_path, "pages.json", text)).pools == 6


def test_unknown_fields_of_a_page_and_of_an_entry_are_ignored(tmp_path: Path) -> None:
    page = {"ResponseMetadata": {"a": [1, {"SpotPrice": "9"}]}, **json.loads(a_page(an_entry(Extra={"SpotPrice": 9})))}
    assert summary_of(written(tmp_path, "history.json", json.dumps(page))).changes == 1


def test_an_empty_page_is_a_history_of_nothing(tmp_path: Path) -> None:
    found = summary_of(written(tmp_path, "history.json", a_page()))
    assert (found.rows, found.changes, found.pools, found.first, found.last) == (0, 0, 0, None, None)
    assert buckets_of(written(tmp_path, "again.json", a_page())) == []


def test_a_byte_order_mark_before_the_page_is_no_part_of_it(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbf" + a_page(an_entry()).encode()
    assert summary_of(written(tmp_path, "history.json", raw)).changes == 1
    assert summary_of(written(tmp_path, "history.json.gz", gzip.compress(raw))).changes == 1


def test_a_price_is_a_text_or_a_number(tmp_path: Path) -> None:
    prices = ["0.030000", 0.03, 1, "3E-2", 1000, "1000", 0.1]
    entries = [an_entry(SpotPrice=price, AvailabilityZone=f"us-east-1-{n}a") for n, price in enumerate(prices)]
    kept = [one.price for one in buckets_of(written(tmp_path, "history.json", a_page(*entries)))]
    assert kept == ["0.030000", "0.030000", "1.000000", "0.030000", "1000.000000", "1000.000000", "0.100000"]


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "no price": ({"SpotPrice": None}, NO_PRICE),
    "an empty price": ({"SpotPrice": ""}, NO_PRICE),
    "a price in words": ({"SpotPrice": "three cents"}, NO_PRICE),
    "a price with its currency": ({"SpotPrice": "$0.03"}, NO_PRICE),
    "a price with a decimal comma": ({"SpotPrice": "0,03"}, NO_PRICE),
    "a flag for a price": ({"SpotPrice": True}, NO_PRICE),
    "a list for a price": ({"SpotPrice": [0.03]}, NO_PRICE),
    "an endless price": ({"SpotPrice": "9" * 400}, NO_PRICE),
    "no time": ({"Timestamp": None}, NO_TIME),
    "a time in words": ({"Timestamp": "noon"}, NO_TIME),
    "an object for a time": ({"Timestamp": {"$date": 1}}, NO_TIME),
    "no type": ({"InstanceType": None}, NO_POOL),
    "an empty type": ({"InstanceType": ""}, NO_POOL),
    "a type without its size": ({"InstanceType": "m5"}, NO_POOL),
    "a list for a type": ({"InstanceType": ["m5.large"]}, NO_POOL),
    "a type with a blank": ({"InstanceType": "m5 .large"}, NO_POOL),
    "a type with a null byte": ({"InstanceType": "m5.large\u0000"}, NO_POOL),
    "no zone": ({"AvailabilityZone": None}, NO_POOL),
    "a zone that is none": ({"AvailabilityZone": "everywhere"}, NO_POOL),
    "a zone with a dot": ({"AvailabilityZone": "us-east-1.us-east-1a"}, NO_POOL),
    "a product nobody knows": ({"ProductDescription": "Solaris"}, OTHER_PRODUCT),
    "a product in small letters": ({"ProductDescription": "linux/unix"}, OTHER_PRODUCT),
}


def test_entries_that_cannot_be_right_are_each_counted_with_their_reason(tmp_path: Path) -> None:
    """All of them in one page, so that none takes another with it."""
    entries = [an_entry(**changes) for changes, _ in ODD.values()]
    found = summary_of(written(tmp_path, "history.json", a_page(an_entry(), *entries)))
    reasons = [reason for _, reason in ODD.values()]
    assert found.rejected == {reason: reasons.count(reason) for reason in set(reasons)}
    assert (found.rows, found.changes, found.duplicates) == (len(ODD) + 1, 1, 0)


@pytest.mark.parametrize("what", ["a type without its size", "a list for a price", "a zone with a dot"])
def test_an_odd_entry_alone_has_its_own_reason(tmp_path: Path, what: str) -> None:
    changes, reason = ODD[what]
    assert summary_of(written(tmp_path, "history.json", a_page(an_entry(**changes)))).rejected == {reason: 1}


PAGE = a_page(an_entry(), an_entry(AvailabilityZone="us-east-1b"))
CUT: dict[str, str | bytes] = {
    "nothing": "",
    "blanks": "  \n",
    "in a text": PAGE[:60],
    "in an entry": PAGE[:-30],
    "before the last brace": PAGE[:-1],
    "a second page cut": PAGE + PAGE[:-5],
    "something behind it": PAGE + "and more",
    "another comma": PAGE + ",",
    "a number that is none": PAGE.replace('"0.030000"', "NaN"),
    "in UTF-16": PAGE.encode("utf-16"),
    "in Latin-1": a_page(an_entry(Extra="@")).replace("@", "é").encode("latin-1"),
    "a picture": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize("where", CUT)
def test_what_is_no_whole_page_is_refused_with_the_way_out(tmp_path: Path, where: str) -> None:
    file = written(tmp_path, "history.json", CUT[where])
    text = refusal_of(file)
    assert text.startswith(f"{file}: no whole describe-spot-price-history page (")
    assert text.endswith("); fetch it again")
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("entry", [1, "m5.large", [], None, True])
def test_an_entry_that_is_no_object_refuses_the_file(tmp_path: Path, entry: Any) -> None:
    assert "no whole describe-spot-price-history page" in refusal_of(written(tmp_path, "history.json", a_page(entry)))


@pytest.mark.parametrize(
    "content",
    ["{}", "[]", "1", json.dumps([an_entry()]), json.dumps({"spotpricehistory": [an_entry()]}),
     json.dumps({"data": {"SpotPriceHistory": [an_entry()]}}), json.dumps({"spot_advisor": {}, "ranges": []})],
)  # fmt: skip
def test_json_of_something_else_is_refused_instead_of_being_a_history_of_nothing(tmp_path: Path, content: str) -> None:
    file = written(tmp_path, "history.json", content)
    assert refusal_of(file) == f"{file}: no SpotPriceHistory in it; use what describe-spot-price-history prints"


@pytest.mark.parametrize(
    ("spoilt", "word"),
    [
        (lambda raw: raw[:-9], "ended before"),
        (lambda raw: raw[: len(raw) // 2], "ended before"),
        (lambda raw: gzip.decompress(raw), "Not a gzipped file"),
        (lambda raw: raw[:-8] + b"\0\0\0\0" + raw[-4:], "CRC"),
        (lambda raw: raw[:20] + b"\xff" * 30 + raw[50:], "decompressing"),
    ],
    ids=["its end is missing", "half of it", "not packed", "a wrong checksum", "spoilt in the middle"],
)
def test_a_packed_file_that_is_not_whole_is_refused(tmp_path: Path, spoilt: Any, word: str) -> None:
    entries = [an_entry(SpotPrice=f"0.0{n}", AvailabilityZone=f"us-east-1-{n}a") for n in range(10, 99)]
    raw = gzip.compress(a_page(*entries).encode())
    text = refusal_of(written(tmp_path, "history.json.gz", spoilt(raw)))
    assert word in text
    assert text.endswith("fetch it again")


def test_one_file_that_cannot_be_read_refuses_all(tmp_path: Path) -> None:
    good, bad = written(tmp_path, "good.json", a_page(an_entry())), written(tmp_path, "bad.json", a_page()[:-2])
    for files in ((good, bad), (bad, good)):
        assert refusal_of(*files).startswith(f"{bad}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal_of(tmp_path / "none.json") == f"{tmp_path / 'none.json'}: no such file"
    assert refusal_of(tmp_path) == f"{tmp_path}: no such file"
