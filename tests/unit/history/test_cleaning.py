"""Files of raw observations: every row accepted or counted with its reason, then judged and filled (DQ-1…DQ-5, 8.2)."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from spotadapters.history.cleaning import Judged, Observations, _windows
from spotadapters.history.refusals import UnknownFormat, UnreadableHistory
from tests.support.histories import FUTURE, NO_PRICE, NO_TIME, TOO_OLD, a_parquet, written

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
T0 = datetime(2026, 3, 1, tzinfo=UTC)
HEAD = "pool_id,observed_at,price,source,submission_id\n"
POOL = "m5.large.us-east-1a"
DIGEST = "0123456789abcdef0123456789abcdef"
NOT_A_POOL, NO_SOURCE, NO_DIGEST = (
    "not a pool", "an unknown source", "the submission id is not 32 hexadecimal digits",
)  # fmt: skip


@contextmanager
def observed(folder: Path, *lines: str, head: str = HEAD, name: str = "raw.csv") -> Iterator[Observations]:
    file = written(folder, name, head + "".join(f"{line}\n" for line in lines))
    with Observations([file], NOW) as opened:
        yield opened


def clean_of(observations: Observations, file: Path) -> list[dict[str, str]]:
    list(observations.clean())
    count = observations.write(file)
    with file.open() as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == count
    return rows


def report(minute: float, price: str, *, pool: str = POOL, source: str = "primary", name: str = "") -> str:
    at = (T0 + timedelta(minutes=minute)).isoformat()
    digest = sha256(name.encode()).hexdigest()[:32] if name else ""
    return f"{pool},{at},{price},{source},{digest}"


# --- what a file must look like ---------------------------------------------------------------------------------------


def refusal(*files: Path) -> str:
    with pytest.raises(UnreadableHistory) as refused:
        Observations(files, NOW)
    return str(refused.value)


@pytest.mark.parametrize(
    ("head", "missing"),
    [
        ("pool_id,observed_at", "price"),
        ("pool_id,price", "observed_at"),
        ("observed_at,price", "pool_id"),
        ("pool,at,value", "pool_id, observed_at, price"),
    ],
)
def test_missing_columns_are_named_with_what_there_is(tmp_path: Path, head: str, missing: str) -> None:
    file = written(tmp_path, "raw.csv", f"{head}\n" + "1," * head.count(",") + "1\n")
    assert refusal(file) == f"{file}: columns missing: {missing}; it has {', '.join(head.split(','))}"


def test_other_refusals_say_what_would_be_right(tmp_path: Path) -> None:
    cut, odd = written(tmp_path, "cut.csv", HEAD + report(0, "0.03")), written(tmp_path, "raw.json", "{}")
    packed = written(tmp_path, "raw.csv.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 30)
    good = written(tmp_path, "good.csv", HEAD + report(0, "0.03") + "\n")
    for files, text in (
        ((tmp_path / "none.csv",), f"{tmp_path / 'none.csv'}: no such file"),
        ((cut,), f"{cut}: its last line does not end, so it may have been cut; add a newline if it is whole"),
        ((odd,), f"{odd}: use .json (describe-spot-price-history), .csv, .parquet, or these with .gz"),
        ((packed,), f"{packed}: the packed file is incomplete; fetch it again"),
        ((good, cut), f"{cut}: its last line does not end, so it may have been cut; add a newline if it is whole"),
    ):
        assert refusal(*files) == text


def test_a_refused_file_leaves_nothing_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    refusal(tmp_path / "none.csv")
    assert list(scratch.iterdir()) == []
    with observed(tmp_path, report(0, "0.03")):
        assert len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


def test_columns_stand_in_any_order_and_case_among_others(tmp_path: Path) -> None:
    head = "note,PRICE,Submission_Id,Observed_At,Source,POOL_ID\n"
    with observed(tmp_path, f"x,0.03,{DIGEST.upper()},2026-03-01T00:00:00Z,backfill,{POOL}", head=head) as found:
        assert found.summary() == Judged(rows=1, accepted=1, rejected={}, pools=1)


# --- rows -------------------------------------------------------------------------------------------------------------

ROWS: dict[str, tuple[str, str | None]] = {
    "as it should be": (f"{POOL},2026-03-01T00:00:00Z,0.03,primary,{DIGEST}", None),
    "a pool with its region": (f"m5.large.us-east-1.us-east-1a,2026-03-01T00:00:00Z,0.03,primary,{DIGEST}", None),
    "a pool with blanks": (f" {POOL} ,2026-03-01T00:00:00Z,0.03,primary,{DIGEST}", None),
    "no pool": (f",2026-03-01T00:00:00Z,0.03,primary,{DIGEST}", NOT_A_POOL),
    "a type alone": (f"m5.large,2026-03-01T00:00:00Z,0.03,primary,{DIGEST}", NOT_A_POOL),
    "words for a pool": (f"the cheap one,2026-03-01T00:00:00Z,0.03,primary,{DIGEST}", NOT_A_POOL),
    "another offset": (f"{POOL},2026-03-01T05:45:00+05:45,0.03,primary,{DIGEST}", None),
    "no time": (f"{POOL},,0.03,primary,{DIGEST}", NO_TIME),
    "a day that was not": (f"{POOL},2026-02-29T00:00:00Z,0.03,primary,{DIGEST}", NO_TIME),
    "before EC2": (f"{POOL},2005-12-31T23:59:59Z,0.03,primary,{DIGEST}", TOO_OLD),
    "as early as can be": (f"{POOL},2006-01-01T00:00:00Z,0.03,primary,{DIGEST}", None),
    "two minutes ahead": (f"{POOL},2026-03-02T12:02:00Z,0.03,primary,{DIGEST}", None),
    "more than two minutes ahead": (f"{POOL},2026-03-02T12:02:01Z,0.03,primary,{DIGEST}", FUTURE),
    "no price": (f"{POOL},2026-03-01T00:00:00Z,,primary,{DIGEST}", NO_PRICE),
    "nought": (f"{POOL},2026-03-01T00:00:00Z,0,primary,{DIGEST}", NO_PRICE),
    "less than nothing": (f"{POOL},2026-03-01T00:00:00Z,-0.03,primary,{DIGEST}", NO_PRICE),
    "the highest price": (f"{POOL},2026-03-01T00:00:00Z,1000,primary,{DIGEST}", None),
    "higher": (f"{POOL},2026-03-01T00:00:00Z,1000.000001,primary,{DIGEST}", NO_PRICE),
    "rounds to nothing": (f"{POOL},2026-03-01T00:00:00Z,0.0000005,primary,{DIGEST}", NO_PRICE),
    "just not nothing": (f"{POOL},2026-03-01T00:00:00Z,0.0000005000000001,primary,{DIGEST}", None),
    "higher by a hair": (f"{POOL},2026-03-01T00:00:00Z,1000.0000000001,primary,{DIGEST}", NO_PRICE),
    "no source": (f"{POOL},2026-03-01T00:00:00Z,0.03,,{DIGEST}", None),
    "an unknown source": (f"{POOL},2026-03-01T00:00:00Z,0.03,hearsay,{DIGEST}", NO_SOURCE),
    "filled before": (f"{POOL},2026-03-01T00:00:00Z,0.03,interpolated,{DIGEST}", NO_SOURCE),
    "a source in capitals": (f"{POOL},2026-03-01T00:00:00Z,0.03,PRIMARY,{DIGEST}", NO_SOURCE),
    "no digest": (f"{POOL},2026-03-01T00:00:00Z,0.03,primary,", None),
    "a digest in capitals": (f"{POOL},2026-03-01T00:00:00Z,0.03,primary,{DIGEST.upper()}", None),
    "a short digest": (f"{POOL},2026-03-01T00:00:00Z,0.03,primary,{DIGEST[1:]}", NO_DIGEST),
    "a long digest": (f"{POOL},2026-03-01T00:00:00Z,0.03,primary,{DIGEST}0", NO_DIGEST),
    "letters beyond f": (f"{POOL},2026-03-01T00:00:00Z,0.03,primary,{DIGEST[1:]}g", NO_DIGEST),
    "wrong all over": ("x,y,z,a,b", NOT_A_POOL),  # the first reason counts
}


def test_every_row_is_accepted_or_counted_with_its_reason(tmp_path: Path) -> None:
    with observed(tmp_path, *(line for line, _ in ROWS.values())) as found:
        reasons = found._db.execute("select reason from judged").fetchall()
        summary = found.summary()
    wanted = [reason for _, reason in ROWS.values()]
    assert sorted(str(reason) for (reason,) in reasons) == sorted(map(str, wanted))
    assert summary.rows == len(ROWS) == summary.accepted + sum(summary.rejected.values())
    assert summary.rejected == {reason: wanted.count(reason) for reason in set(wanted) - {None}}


@pytest.mark.parametrize("what", ["an unknown source", "a short digest", "a day that was not"])
def test_a_wrong_row_alone_leaves_nothing_to_clean(tmp_path: Path, what: str) -> None:
    line, reason = ROWS[what]
    with observed(tmp_path, line) as found:
        assert found.summary() == Judged(rows=1, accepted=0, rejected={str(reason): 1}, pools=0)
        assert clean_of(found, tmp_path / "clean.csv") == []


def test_parquet_and_csv_are_one_and_columns_that_are_missing_have_their_defaults(tmp_path: Path) -> None:
    query = f"select '{POOL}' as pool_id, '2026-03-01 00:01:00+00'::timestamptz as observed_at, 0.03 as price"
    files = [a_parquet(tmp_path, query, "raw.parquet"), written(tmp_path, "raw.csv", HEAD + report(6, "0.04") + "\n")]
    with Observations(files, NOW) as found:
        rows = clean_of(found, tmp_path / "clean.csv")
    assert [(row["bucket_start"], row["price"], row["source"], row["confidence"]) for row in rows] == [
        ("2026-03-01T00:00:00Z", "0.030000", "backfill", "0.90"),
        ("2026-03-01T00:05:00Z", "0.040000", "primary", "1.00"),
    ]


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_a_clean_bucket_says_everything_about_itself(tmp_path: Path) -> None:
    with observed(tmp_path, report(1.5, "0.03", name="a"), report(17, "0.06", name="b")) as found:
        rows = clean_of(found, tmp_path / "clean.csv")
    facts = {"pool_id": POOL, "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a"}
    seen = {"source": "primary", "method": "", "confidence": "1.00", "discrepancy": ""}
    made = {"source": "interpolated", "method": "linear", "confidence": "0.85", "discrepancy": ""}
    assert rows == [
        {**facts, **seen, "bucket_start": "2026-03-01T00:00:00Z", "price": "0.030000", "observed_at": "2026-03-01T00:01:30.000000Z"},
        {**facts, **made, "bucket_start": "2026-03-01T00:05:00Z", "price": "0.040000", "observed_at": "2026-03-01T00:05:00.000000Z"},
        {**facts, **made, "bucket_start": "2026-03-01T00:10:00Z", "price": "0.050000", "observed_at": "2026-03-01T00:10:00.000000Z"},
        {**facts, **seen, "bucket_start": "2026-03-01T00:15:00Z", "price": "0.060000", "observed_at": "2026-03-01T00:17:00.000000Z"},
    ]  # fmt: skip


CONTESTS: dict[str, tuple[Sequence[str], tuple[str, str, str]]] = {
    "the better source": (
        [report(0, "0.03", source="backfill", name="a"), report(4, "0.030001", source="manual_replica", name="b")],
        ("0.030001", "manual_replica", ""),
    ),
    "the earlier": ([report(2, "0.03", name="a"), report(1, "0.04", name="b")], ("0.040000", "primary", "warning")),
    "half a percent apart": ([report(0, "1", name="a"), report(1, "1.005", name="b")], ("1.000000", "primary", "")),
    "a little more": ([report(0, "1", name="a"), report(1, "1.005001", name="b")], ("1.000000", "primary", "flagged")),
    "ten percent apart": ([report(0, "1", name="a"), report(1, "0.9", name="b")], ("1.000000", "primary", "flagged")),
    "more than ten": ([report(0, "1", name="a"), report(1, "0.899999", name="b")], ("1.000000", "primary", "warning")),
    "only the second counts": (
        [report(0, "1", name="a"), report(1, "1", name="b"), report(2, "9", name="c")],
        ("1.000000", "primary", ""),
    ),
    "the same one twice": ([report(0, "1", name="a")] * 2, ("1.000000", "primary", "")),
}


def test_dq4_dq5_every_contest_for_a_bucket_has_its_winner_and_its_flag(tmp_path: Path) -> None:
    """Each in a pool of its own, all in one file."""
    zones = {what: f"us-east-1-{n:02}a" for n, what in enumerate(CONTESTS)}
    lines = [line.replace("us-east-1a", zones[what]) for what, (rows, _) in CONTESTS.items() for line in rows]
    with observed(tmp_path, *lines) as found:
        rows = {row["az"]: row for row in clean_of(found, tmp_path / "clean.csv")}
    assert {
        what: tuple(rows[zone][name] for name in ("price", "source", "discrepancy")) for what, zone in zones.items()
    } == {what: wanted for what, (_, wanted) in CONTESTS.items()}


def test_p1_without_a_digest_the_rest_of_a_row_makes_one_so_that_it_counts_once(tmp_path: Path) -> None:
    with observed(tmp_path, report(0, "0.03"), report(0, "0.030000"), report(0, "0.03", source="backfill")) as found:
        (row,) = clean_of(found, tmp_path / "clean.csv")
    assert (row["source"], row["discrepancy"]) == ("primary", "")


def test_8_2_every_way_of_filling_comes_out_with_its_name_and_confidence(tmp_path: Path) -> None:
    """Gaps of 2, 6, 7 and 25 with peers that stand still, and one of 7 where only one of them was there."""
    gaps, bucket = {2: 0, 6: 3, 7: 10, 25: 18}, 44
    lines = [report(5 * n, "0.03") for n in (*gaps.values(), bucket, bucket + 8)]
    for zone, upto in (("us-east-1b", bucket + 9), ("us-east-1c", bucket + 1)):
        lines += [report(5 * n, "0.1", pool=f"m5.large.{zone}") for n in range(upto)]
    with observed(tmp_path, *lines) as found:
        rows = [row for row in clean_of(found, tmp_path / "clean.csv") if row["pool_id"] == POOL]
    told = [(row["method"], row["confidence"]) for row in rows if row["source"] == "interpolated"]
    assert (
        told
        == [("linear", "0.85")] * 2
        + [("weighted_mean", "0.75")] * 6
        + [("cross_pool", "0.70")] * 7
        + [("linear_without_peers", "0.60")] * 7
    )
    assert {row["price"] for row in rows} == {"0.030000"}


def test_a_pool_of_another_type_or_region_is_no_peer(tmp_path: Path) -> None:
    others = ["m5.xlarge.us-east-1b", "m5.large.us-west-1a", "m5.large:windows.us-east-1b", "m5.large.us-east-1c"]
    lines = [report(0, "0.03"), report(40, "0.03")]
    lines += [report(5 * n, "0.1", pool=pool) for pool in others for n in range(9)]
    with observed(tmp_path, *lines) as found:
        rows = [row for row in clean_of(found, tmp_path / "clean.csv") if row["pool_id"] == POOL]
    assert {row["method"] for row in rows} == {"", "linear_without_peers"}


@pytest.mark.parametrize("name", ["clean.csv", "it's.parquet", "CLEAN.CSV"])
def test_the_file_appears_whole_and_beside_it_nothing(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_text("what was there before")
    with observed(tmp_path, report(0, "0.03"), report(10, "0.03")) as found:
        list(found.clean())
        assert found.write(folder / name) == 3
    assert [one.name for one in folder.iterdir()] == [name]
    assert (folder / name).read_bytes() != b"what was there before"


@pytest.mark.parametrize("name", ["clean", "clean.json", "clean.csv.gz"])
def test_an_unknown_form_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with observed(tmp_path, report(0, "0.03")) as found, pytest.raises(UnknownFormat) as refused:
        found.write(tmp_path / name)
    assert str(refused.value) == f"{tmp_path / name}: use a name that ends in .csv or .parquet"
    assert [one.name for one in tmp_path.iterdir()] == ["raw.csv"]


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "window", "wanted"),
    [
        ([], 10, []),
        ([("a", "1", 5)], 10, [(["1"], 5)]),
        ([("a", "1", 5), ("b", "2", 5), ("c", "3", 5)], 10, [(["1", "2"], 10), (["3"], 5)]),
        ([("a", "1", 50), ("a", "2", 50), ("b", "3", 1)], 10, [(["1", "2"], 100), (["3"], 1)]),  # never divided (GF-2)
        ([("a", "1", 1), ("b", "2", 50), ("b", "3", 1)], 10, [(["1", "2", "3"], 52)]),
        ([("a", "1", 10), ("b", "2", 1)], 10, [(["1"], 10), (["2"], 1)]),
    ],
)
def test_gf2_a_window_holds_whole_families_of_pools(
    sizes: list[tuple[str, str, int]], window: int, wanted: list[tuple[list[str], int]]
) -> None:
    assert list(_windows(sizes, window)) == wanted


def test_no_window_holds_many_hundreds_of_pools_however_little_is_known_of_each() -> None:
    sizes = [(f"f{n // 4}", f"p{n}", 1) for n in range(1_000)]
    windows = list(_windows(sizes, 10**6))
    assert [len(pools) for pools, _ in windows] == [400, 400, 200]
