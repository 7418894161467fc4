"""Prices out of the database, buckets and raw observations: every column, every bound, both forms, whole or not at all."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from spotadapters.history.cleaning import Observations
from spotadapters.history.exporting import CLEAN, RAW, export_rows
from spotadapters.history.reading import History
from spotadapters.history.refusals import UnknownFormat
from tests.support.server import Site

D = Decimal
T0 = datetime(2026, 2, 20, tzinfo=UTC)
STEP = timedelta(minutes=5)
A, B, WINDOWS = "exp.large.us-east-1a", "exp.large.us-east-1b", "exp.large:windows.us-east-1a"
ALL = [A, B, WINDOWS]
NOW = datetime(2026, 3, 2, tzinfo=UTC)

BUCKETS: tuple[dict[str, Any], ...] = (
    {"pool": A, "n": 0, "price": "0.030000", "seen": 30.25},
    {"pool": A, "n": 1, "price": "0.031000", "source": "interpolated", "rank": 1, "confidence": "0.85", "method": "linear"},
    {"pool": A, "n": 2, "price": "0.032000", "source": "manual_replica", "rank": 3, "confidence": "0.95", "discrepancy": "flagged"},
    {"pool": A, "n": 3, "price": "1000.000000", "source": "backfill", "rank": 2, "confidence": "0.90", "discrepancy": "warning"},
    {"pool": B, "n": 0, "price": "0.000001"},
    {"pool": WINDOWS, "n": 0, "price": "0.090000"},
)  # fmt: skip


@pytest.fixture(scope="module")
def url(module_site: Site) -> str:
    found = module_site.connections.database_url
    with psycopg.connect(found) as connection:
        for pool in ALL:
            kind, _, az = pool.rpartition(".")
            connection.execute(
                "insert into pools (pool_id, instance_type, region, az, first_observed_at) values (%s, %s, %s, %s, %s)",
                (pool, kind, az[:-1], az, T0),
            )
        for row in BUCKETS:
            facts = {
                "source": "primary",
                "rank": 5,
                "confidence": "1.00",
                "method": None,
                "discrepancy": None,
                "seen": 0,
            }
            full = {**facts, **row}
            start = T0 + full["n"] * STEP
            connection.execute(
                "insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,"
                " observed_at, submission_id, method, discrepancy)"
                " values (%s, %s, %s, 'us-east-1', %s, %s, %s, %s, %s, 's', %s, %s)",
                (
                    full["pool"], start, full["pool"].rpartition(".")[0], full["price"], full["source"], full["rank"],
                    full["confidence"], start + timedelta(seconds=full["seen"]), full["method"], full["discrepancy"],
                ),
            )  # fmt: skip
    return found


def exported(
    url: str,
    folder: Path,
    *,
    since: datetime = T0,
    until: datetime = NOW,
    pools: Sequence[str] | None = ALL,
    name: str = "out.csv",
) -> list[dict[str, str]]:
    file = folder / name
    assert export_rows(url, CLEAN, file, since, until, pools) == file.stat().st_size
    with file.open() as text:
        return list(csv.DictReader(text))


def test_every_column_of_every_kind_of_bucket(url: str, tmp_path: Path) -> None:
    place = {"instance_type": "exp.large", "region": "us-east-1", "az": "us-east-1a", "pool_id": A}
    plain = {"method": "", "discrepancy": ""}
    assert exported(url, tmp_path)[:4] == [
        {
            **place, **plain, "bucket_start": "2026-02-20T00:00:00Z", "price": "0.030000", "source": "primary",
            "confidence": "1.00", "observed_at": "2026-02-20T00:00:30.250000Z",
        },
        {
            **place, **plain, "bucket_start": "2026-02-20T00:05:00Z", "price": "0.031000", "source": "interpolated",
            "confidence": "0.85", "observed_at": "2026-02-20T00:05:00.000000Z", "method": "linear",
        },
        {
            **place, **plain, "bucket_start": "2026-02-20T00:10:00Z", "price": "0.032000", "source": "manual_replica",
            "confidence": "0.95", "observed_at": "2026-02-20T00:10:00.000000Z", "discrepancy": "flagged",
        },
        {
            **place, **plain, "bucket_start": "2026-02-20T00:15:00Z", "price": "1000.000000", "source": "backfill",
            "confidence": "0.90", "observed_at": "2026-02-20T00:15:00.000000Z", "discrepancy": "warning",
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pools", "wanted"),
    [(None, set(ALL)), ([], set()), ([A], {A}), ([B, WINDOWS], {B, WINDOWS}), (["exp.large.us-east-1z"], set())],
)
def test_all_pools_or_those_asked_for(url: str, tmp_path: Path, pools: list[str] | None, wanted: set[str]) -> None:
    found = {row["pool_id"] for row in exported(url, tmp_path, pools=pools)}
    assert {pool for pool in found if pool.startswith("exp.")} == wanted


@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [(0, 4, [0, 1, 2, 3]), (1, 3, [1, 2]), (1, 1, []), (0.1, 2, [1]), (0, 1.1, [0, 1]), (3, 0, [])],
)
def test_from_the_first_instant_up_to_before_the_last(
    url: str, tmp_path: Path, since: float, until: float, wanted: list[int]
) -> None:
    rows = exported(url, tmp_path, since=T0 + since * STEP, until=T0 + until * STEP, pools=[A])
    starts = [datetime.fromisoformat(row["bucket_start"]) for row in rows]
    assert starts == [T0 + n * STEP for n in wanted]


def test_a_bound_in_another_zone_is_the_same_instant_gr5(url: str, tmp_path: Path) -> None:
    east = timezone(timedelta(hours=5, minutes=45))
    rows = exported(
        url, tmp_path, since=(T0 + STEP).astimezone(east), until=(T0 + 3 * STEP).astimezone(east), pools=[A]
    )
    assert [row["bucket_start"] for row in rows] == ["2026-02-20T00:05:00Z", "2026-02-20T00:10:00Z"]


def test_parquet_says_the_same_with_types_of_its_own(url: str, tmp_path: Path) -> None:
    file = tmp_path / "it's.parquet"
    export_rows(url, CLEAN, file, T0, NOW, ALL)
    with duckdb.connect(":memory:") as db:
        described = dict(
            db.execute(
                "select column_name, column_type from (describe select * from read_parquet(?))", [str(file)]
            ).fetchall()
        )
        first = db.execute(
            "select price, confidence, bucket_start, observed_at, method from read_parquet(?) order by pool_id, bucket_start",
            [str(file)],
        ).fetchone()
    assert described["price"] == "DECIMAL(12,6)"
    assert described["confidence"] == "DECIMAL(4,2)"
    assert described["bucket_start"] == described["observed_at"] == "TIMESTAMP"
    assert first == (D("0.030000"), D("1.00"), T0.replace(tzinfo=None), datetime(2026, 2, 20, 0, 0, 30, 250_000), None)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_an_export_of_nothing_is_a_file_with_its_columns(url: str, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    export_rows(url, CLEAN, file, NOW, NOW, ALL)
    with History([file], NOW) as history:
        assert history.summary().rows == 0


def test_what_was_exported_is_read_back_bucket_by_bucket(url: str, tmp_path: Path) -> None:
    """Gaps aside there are none, so every bucket is a change of its own, at the start of its bucket."""
    for name in ("out.csv", "out.parquet"):
        export_rows(url, CLEAN, tmp_path / name, T0, NOW, ALL)
        out = tmp_path / "again.csv"
        with History([tmp_path / name], NOW) as history:
            history.write_buckets(history.pools(), out)
            assert history.summary().rejected == {}
        rows = [line.split(",") for line in out.read_text().splitlines()]
        kept = {(pool, start): price for pool, start, _, _, price, *_ in rows}
        for bucket in BUCKETS:
            start = (T0 + bucket["n"] * STEP).strftime("%Y-%m-%dT%H:%M:%SZ")
            assert kept[bucket["pool"], start] == bucket["price"], name


def test_an_earlier_file_is_replaced_whole_and_nothing_is_left_beside_it(url: str, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("earlier")
    exported(url, tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]


def test_a_failed_export_leaves_the_earlier_file_as_it_was(url: str, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("earlier")
    with pytest.raises(psycopg.Error):
        export_rows(url, "copy (select 1 / 0) to stdout", tmp_path / "out.csv", T0, NOW, ALL)
    assert (tmp_path / "out.csv").read_text() == "earlier"
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("name", ["out", "out.json", "out.csv.gz", "out.xlsx"])
def test_an_unknown_form_is_refused_before_anything_is_asked(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownFormat) as refused:
        export_rows("postgresql://nobody@127.0.0.1:1/none", CLEAN, tmp_path / name, T0, NOW, None)
    assert str(refused.value) == f"{tmp_path / name}: use a name that ends in .csv or .parquet"


def test_raw_observations_go_out_and_are_cleaned_again_from_either_form(url: str, tmp_path: Path) -> None:
    digests = [f"{n:032x}" for n in (7, 3)]
    with psycopg.connect(url) as connection:
        connection.execute(
            "insert into clients (client_id, name, status, created_at, default_auto_switch, default_auto_terminate,"
            " default_terminate_wait_seconds) values ('raw', 'Raw', 'active', now(), true, true, 300)"
        )
        names = {row[0] for row in connection.execute(
            "select column_name from information_schema.columns where table_name = 'raw_prices'").fetchall()}  # fmt: skip
        known = {
            "client_id": "raw", "agent_id": "a", "instance_id": None, "pool_id": A, "observed_at": T0, "received_at": T0,
            "price": D("0.04"), "source": "primary",
        }  # fmt: skip
        columns = [name for name in known if name in names]
        for digest, price in zip(digests, ("0.040000", "0.044001"), strict=True):
            values = [{**known, "price": D(price)}[name] for name in columns]
            connection.execute(
                f"insert into raw_prices ({', '.join(columns)}, submission_id)"
                f" values ({', '.join(['%s'] * len(columns))}, %s)", (*values, digest),
            )  # type: ignore[call-overload]  # fmt: skip
    for name in ("raw.csv", "raw.parquet"):
        export_rows(url, RAW, tmp_path / name, T0, NOW, [A])
        with Observations([tmp_path / name], NOW) as found:
            assert found.summary().accepted == 2
            list(found.clean())
            found.write(tmp_path / "clean.csv")
        with (tmp_path / "clean.csv").open() as text:
            (row,) = csv.DictReader(text)
        assert (row["price"], row["discrepancy"]) == ("0.044001", "flagged")  # the smaller digest wins (DQ-4)
