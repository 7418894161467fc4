"""The Spot advisor's file, JSON and CSV: every field of every row judged, exact words for what is wrong (GR-7)."""

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from spotadapters.history.advisor import BANDS, Advice, read_advice
from spotadapters.history.refusals import UnreadableHistory
from tests.support.histories import written

DAY = date(2026, 3, 2)
RANGES = [{"index": n, "label": label, "dots": n, "max": 5 * n} for n, label in enumerate(BANDS)]
HEAD = "region,instance_type,interruption_band,savings_percent,os,as_of\n"


def advice(**changes: Any) -> Advice:
    facts = {"region": "us-east-1", "os": "Linux", "instance_type": "m5.large", "as_of": DAY, "band": 1}
    return Advice(**{**facts, "savings_percent": 62, **changes})


def published(*, ranges: Any = RANGES, **regions: Any) -> str:
    spelled = {name.replace("_", "-"): systems for name, systems in regions.items()}
    return json.dumps({"instance_types": {"m5.large": {"cores": 2}}, "ranges": ranges, "spot_advisor": spelled})


def of_json(folder: Path, content: str, name: str = "spot-advisor-data.json") -> tuple[list[Advice], list[str]]:
    return read_advice(written(folder, name, content), DAY)


def of_csv(folder: Path, *lines: str, head: str = HEAD, name: str = "advisor.csv") -> tuple[list[Advice], list[str]]:
    return read_advice(written(folder, name, head + "".join(f"{line}\n" for line in lines)), DAY)


def refusal(file: Path) -> str:
    with pytest.raises(UnreadableHistory) as refused:
        read_advice(file, DAY)
    return str(refused.value)


# --- JSON as AWS publishes it -----------------------------------------------------------------------------------------


def test_every_region_system_and_type_is_a_market_of_its_own(tmp_path: Path) -> None:
    content = published(
        us_east_1={"Linux": {"m5.large": {"s": 62, "r": 1}, "c5.large": {"s": 0, "r": 0}}},
        eu_west_1={"Linux": {}, "Windows": {"m5.large": {"s": 100, "r": 4}}},
    )
    rows, bad = of_json(tmp_path, content)
    assert rows == [
        advice(),
        advice(instance_type="c5.large", savings_percent=0, band=0),
        advice(region="eu-west-1", os="Windows", savings_percent=100, band=4),
    ]
    assert bad == []


@pytest.mark.parametrize("band", range(5))
def test_every_band_aws_knows_is_kept_by_its_number(tmp_path: Path, band: int) -> None:
    ((row,), bad) = of_json(tmp_path, published(us_east_1={"Linux": {"m5.large": {"s": 62, "r": band}}}))
    assert (row.band, bad) == (band, [])
    assert BANDS[band] == ("<5 %", "5-10 %", "10-15 %", "15-20 %", ">20 %")[band]


NO_BAND = "{!r} is no interruption band; use 0 to 4"
NO_SAVINGS = "{!r} is no percentage of savings; use a whole number from 0 to 100"

WRONG_FACTS: dict[str, tuple[Any, str]] = {
    "a band too high": ({"s": 62, "r": 5}, NO_BAND.format(5)),
    "a band below all": ({"s": 62, "r": -1}, NO_BAND.format(-1)),
    "a flag for a band": ({"s": 62, "r": True}, NO_BAND.format(True)),
    "half a band": ({"s": 62, "r": 1.5}, NO_BAND.format(1.5)),
    "a band in words": ({"s": 62, "r": "low"}, NO_BAND.format("low")),
    "a null band": ({"s": 62, "r": None}, NO_BAND.format(None)),
    "no band": ({"s": 62}, NO_BAND.format(None)),
    "savings above all": ({"s": 101, "r": 1}, NO_SAVINGS.format(101)),
    "savings below nothing": ({"s": -1, "r": 1}, NO_SAVINGS.format(-1)),
    "a part of a percent": ({"s": 62.5, "r": 1}, NO_SAVINGS.format(62.5)),
    "a flag for savings": ({"s": False, "r": 1}, NO_SAVINGS.format(False)),
    "savings with their sign": ({"s": "62 %", "r": 1}, NO_SAVINGS.format("62 %")),
    "no savings": ({"r": 1}, NO_SAVINGS.format(None)),
    "endless savings": ({"s": "9" * 5_000, "r": 1}, NO_SAVINGS.format("9" * 5_000)),
    "facts that are none": (7, NO_BAND.format(None)),
    "null facts": (None, NO_BAND.format(None)),
    "a list of facts": ([62, 1], NO_BAND.format(None)),
}


def test_a_market_with_odd_facts_is_named_with_what_is_wrong_and_the_others_go_on(tmp_path: Path) -> None:
    types = {f"x{n}.large": facts for n, (facts, _) in enumerate(WRONG_FACTS.values())}
    rows, bad = of_json(tmp_path, published(us_east_1={"Linux": {**types, "m5.large": {"s": 62, "r": 1}}}))
    assert rows == [advice()]
    assert bad == [f"us-east-1 Linux x{n}.large: {text}" for n, (_, text) in enumerate(WRONG_FACTS.values())]


def test_an_empty_type_or_region_is_no_market(tmp_path: Path) -> None:
    file = written(tmp_path, "a.json", json.dumps({"ranges": RANGES, "spot_advisor": {
        "": {"Linux": {"m5.large": {"s": 62, "r": 1}}}, "us-east-1": {"Linux": {"": {"s": 62, "r": 1}}},
    }}))  # fmt: skip
    assert read_advice(file, DAY) == (
        [],
        [" Linux m5.large: no region or no type", "us-east-1 Linux : no region or no type"],
    )


def test_an_empty_system_is_linux(tmp_path: Path) -> None:
    rows, _ = of_json(tmp_path, published(us_east_1={"": {"m5.large": {"s": 62, "r": 1}}}))
    assert rows == [advice()]


RANGES_UNKNOWN: dict[str, tuple[Any, str]] = {
    "one less": (RANGES[:4], "[0, 1, 2, 3]"),
    "one more": ([*RANGES, {"index": 5}], "[0, 1, 2, 3, 4, 5]"),
    "one twice": ([*RANGES[:4], RANGES[3]], "[0, 1, 2, 3, 3]"),
    "none": ([], "[]"),
    "null": (None, "[]"),
    "a number": (5, "[]"),
    "an object": ({"index": 0}, "[]"),
    "without index": ([{"label": "x"}] * 5, "[None, None, None, None, None]"),
    "no objects": ([0, 1, 2, 3, 4], "[None, None, None, None, None]"),
}


@pytest.mark.parametrize("how", RANGES_UNKNOWN)
def test_bands_that_are_not_the_five_known_ones_refuse_the_file(tmp_path: Path, how: str) -> None:
    """A new band would shift the meaning of every number."""
    ranges, seen = RANGES_UNKNOWN[how]
    file = written(tmp_path, "a.json", published(ranges=ranges, us_east_1={"Linux": {"m5.large": {"s": 62, "r": 1}}}))
    assert refusal(file) == (
        f"{file}: its ranges are {seen}, not the five known ones (<5 %, 5-10 %, 10-15 %, 15-20 %, >20 %)"
    )


def test_the_order_of_the_bands_does_not_matter_and_their_numbers_may_be_texts(tmp_path: Path) -> None:
    ranges = [{"index": str(n)} for n in (4, 2, 0, 1, 3)]
    content = published(ranges=ranges, us_east_1={"Linux": {"m5.large": {"s": 62, "r": 1}}})
    assert of_json(tmp_path, content) == ([advice()], [])


@pytest.mark.parametrize("content", ["[]", "{}", "null", "5", '{"spot_advisor": []}', '{"spot_advisor": null}'])
def test_json_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    file = written(tmp_path, "a.json", content)
    assert refusal(file) == f"{file}: no spot_advisor in it; fetch spot-advisor-data.json again"


WHOLE = published(us_east_1={"Linux": {"m5.large": {"s": 62, "r": 1}}})
NOT_WHOLE: dict[str, tuple[str, str | bytes]] = {
    "empty": ("a.json", ""),
    "cut": ("a.json", WHOLE[:-3]),
    "in UTF-16": ("a.json", WHOLE.encode("utf-16")),
    "in Latin-1": ("a.json", WHOLE.replace("m5", "mé").encode("latin-1").replace(b"\\u00e9", b"\xe9")),
    "deeper than anybody needs": ("a.json", "[" * 200_000),
    "not packed": ("a.json.gz", WHOLE.encode()),
    "packed and cut": ("a.json.gz", gzip.compress(WHOLE.encode())[:-9]),
    "packed and spoilt": ("a.json.gz", gzip.compress(WHOLE.encode())[:12] + b"\xff" * 40),
    "a table in UTF-16": ("a.csv", (HEAD + "us-east-1,m5.large,1,62,,\n").encode("utf-16-le") + b"\n"),
}


@pytest.mark.parametrize("how", NOT_WHOLE)
def test_a_file_that_is_not_whole_is_refused_with_the_way_out(tmp_path: Path, how: str) -> None:
    file = written(tmp_path, *NOT_WHOLE[how])
    text = refusal(file)
    assert text.startswith(f"{file}: ")
    assert len(text.splitlines()) == 1


def test_a_packed_file_and_one_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    for name, content in (
        ("a.json.gz", WHOLE),
        ("A.JSON", WHOLE),
        ("b.json", "\ufeff" + WHOLE),
        ("a.csv", "\ufeff" + HEAD + "us-east-1,m5.large,1,62,,\n"),
        ("a.csv.gz", HEAD + "us-east-1,m5.large,1,62,,\n"),
    ):
        assert of_json(tmp_path, content, name) == ([advice()], [])


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        "region,instance_type,interruption_band,savings_percent",
        "REGION,Type,Band,Savings_Pct",
        "region,type,r,s",
        "s,r,type,region",
    ],
)
def test_columns_are_found_by_any_of_their_names_in_any_order(tmp_path: Path, head: str) -> None:
    values = {"region": "us-east-1", "t": "m5.large", "i": "m5.large", "b": "1", "s": "62", "r": "1"}
    names = head.lower().split(",")
    cells = [values.get(name, values.get("t" if "type" in name else name[0], "")) for name in names]
    cells = [
        "1" if name in ("interruption_band", "band", "r") else cell for name, cell in zip(names, cells, strict=True)
    ]
    assert of_csv(tmp_path, ",".join(cells), head=head + "\n") == ([advice()], [])


DAYS: dict[str, date | None] = {
    "": DAY,
    "2026-02": date(2026, 2, 1),
    "2026-02-28": date(2026, 2, 28),
    "2024-02-29": date(2024, 2, 29),
    "20260228": date(2026, 2, 28),
    "2023-02-29": None,
    "2026-13": None,
    "2026": None,
    "2026-2": None,
    "28.02.2026": None,
    "February 2026": None,
    "2026-02-28T00:00:00Z": None,
}


def test_a_row_is_dated_by_its_own_day_or_month_and_never_by_a_guess(tmp_path: Path) -> None:
    lines = [f"us-east-1,x{n}.large,1,62,Linux,{day}" for n, day in enumerate(DAYS)]
    rows, bad = of_csv(tmp_path, *lines)
    assert {row.instance_type: row.as_of for row in rows} == {
        f"x{n}.large": day for n, day in enumerate(DAYS.values()) if day is not None
    }
    assert bad == [
        f"line {n}: {text!r} is no date; use 2024-02 or 2024-02-01"
        for n, (text, day) in enumerate(DAYS.items(), 2)
        if day is None
    ]


def test_a_wrong_cell_is_named_by_the_line_it_stands_in(tmp_path: Path) -> None:
    rows, bad = of_csv(
        tmp_path, "us-east-1,m5.large,1,62,,", "us-east-1,m5.large,9,62,,", "us-east-1,m5.large,1,many,,",
        ",m5.large,1,62,,", "us-east-1,,1,62,,", "us-east-1,m5.large",
    )  # fmt: skip
    assert rows == [advice()]
    assert bad == [
        f"line 3: {NO_BAND.format('9')}",
        f"line 4: {NO_SAVINGS.format('many')}",
        "line 5: no region or no type",
        "line 6: no region or no type",
        f"line 7: {NO_BAND.format(None)}",
    ]


def test_of_two_rows_about_one_market_and_day_the_last_counts(tmp_path: Path) -> None:
    rows, bad = of_csv(
        tmp_path, "us-east-1,m5.large,1,62,Linux,2026-02", "us-east-1,m5.large,2,61,Linux,2026-02-01",
        "us-east-1,m5.large,3,60,Windows,2026-02", "us-east-1,m5.large,4,59,Linux,2026-01",
    )  # fmt: skip
    february = date(2026, 2, 1)
    assert rows == [
        advice(as_of=february, band=2, savings_percent=61),
        advice(as_of=february, band=3, savings_percent=60, os="Windows"),
        advice(as_of=date(2026, 1, 1), band=4, savings_percent=59),
    ]
    assert bad == []


def test_a_table_without_a_needed_column_is_refused_by_name(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", "region,type,as_of\nus-east-1,m5.large,2026-02\n")
    assert refusal(file) == (
        f"{file}: columns missing (band: interruption_band or band or r; savings: savings_percent or savings_pct or s);"
        " it has region, type, as_of"
    )


def test_a_table_that_may_have_been_cut_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", HEAD + "us-east-1,m5.large,1,6")
    assert refusal(file) == f"{file}: its last line does not end, so it may have been cut; add a newline if it is whole"


def test_a_head_alone_is_advice_about_nothing(tmp_path: Path) -> None:
    assert of_csv(tmp_path) == ([], [])
