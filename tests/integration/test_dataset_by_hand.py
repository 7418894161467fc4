"""Features of the training dataset worked out by hand: windows of time, ranks, labels, and nothing of the future (DS-1…DS-4, P17)."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import psycopg
import pytest

from spotadapters.history.dataset import Dataset, Datasets
from tests.support.server import Site

D = Decimal
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
T0 = datetime(2026, 2, 20, tzinfo=UTC)  # a Friday
STEP = timedelta(minutes=5)
HOUR = timedelta(hours=1)

Times = Mapping[datetime, str]


def every(minutes: int, count: int, price: str = "0.030000", start: datetime = T0) -> dict[datetime, str]:
    return {start + n * timedelta(minutes=minutes): price for n in range(count)}


SAW = {T0 + n * STEP: ("0.030000" if n % 2 else "0.050000") for n in range(72)}  # six hours, mean 0.04, deviation 0.01

POOLS: dict[str, Times] = {
    # changes: an hour and a day before, exactly there or not at all
    "chg.large.us-east-1a": {
        T0: "0.020000", T0 + 23 * HOUR: "0.040000", T0 + 24 * HOUR: "0.030000", T0 + 25 * HOUR + STEP: "0.010000",
    },
    # six hours of a price that goes up and down, then one bucket every hour
    "saw.large.us-east-1a": {**SAW, **every(60, 3, "0.040000", T0 + 7 * HOUR)},
    # exactly 36 and exactly 35 buckets within six hours
    "few.large.us-east-1a": every(10, 36, start=T0),
    "few.large.us-east-1b": every(10, 35, start=T0),
    # ranks: three pools of one type and region, two of them at one price; others in between
    "rnk.large.us-east-1a": {T0: "0.030000", T0 + STEP: "0.030000", T0 + 2 * STEP: "0.010000"},
    "rnk.large.us-east-1b": {T0: "0.030000", T0 + STEP: "0.020000"},
    "rnk.large.us-east-1c": {T0: "0.040000", T0 + STEP: "0.040000"},
    "rnk.large.us-west-2a": {T0: "0.001000"},
    "rnk.xlarge.us-east-1a": {T0: "0.001000"},
    # the calendar: a leap day is not in the window, so its neighbours in other years are
    "cal.large.us-east-1a": {
        datetime(2024, 12, 31, 23, 55, tzinfo=UTC): "0.03", datetime(2025, 1, 1, tzinfo=UTC): "0.03",
        datetime(2025, 2, 28, 23, 55, tzinfo=UTC): "0.03", datetime(2025, 3, 1, tzinfo=UTC): "0.03",
        datetime(2025, 3, 30, 1, 30, tzinfo=UTC): "0.03", datetime(2025, 11, 2, 5, 55, tzinfo=UTC): "0.03",
    },
    # labels
    "int.large.us-east-1a": every(5, 30),
    "int.large.us-east-1b": every(5, 30),
    # on-demand prices
    "odp.large.us-east-1a": every(60, 6),
    "lst.large.us-east-1a": every(60, 6),
    "flg.large.us-east-1a": every(60, 2),
}  # fmt: skip
INCIDENTS = (("int.large.us-east-1a", T0 + 100 * timedelta(minutes=1)),)
OBSERVED = (
    ("odp.large", T0 + 2 * HOUR, "0.100", False),
    ("odp.large", T0 + 4 * HOUR, "0.200", False),
    ("odp.large", T0 + 3 * HOUR, "0.900", True),
    ("lst.large", T0 + 1 * HOUR, "0.100", False),
    ("flg.large", T0 - HOUR, "0.900", True),
)
LISTED = (("lst.large", T0 + 3 * HOUR, "0.300"), ("lst.large", T0 + 5 * HOUR, "0.500"))


def store(url: str) -> None:
    rows = [
        (pool, at, pool.rpartition(".")[0], pool.rpartition(".")[2][:-1], D(price), at)
        for pool, series in POOLS.items()
        for at, price in series.items()
    ]
    with psycopg.connect(url) as connection:
        connection.cursor().executemany(
            "insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,"
            " observed_at, submission_id) values (%s, %s, %s, %s, %s, 'primary', 5, 1, %s, 's')",
            rows,
        )
        connection.execute(
            "insert into clients (client_id, name, status, created_at, default_auto_switch, default_auto_terminate,"
            " default_terminate_wait_seconds) values ('c', 'Dataset', 'active', now(), true, true, 300)"
        )
        for kind, at, price, flagged in OBSERVED:
            connection.execute(
                "insert into ondemand_prices (instance_type, region, flagged, bucket_start, observed_at, price, rank,"
                " client_id) values (%s, 'us-east-1', %s, %s, %s, %s, 5, 'c')", (kind, flagged, at, at, price),
            )  # fmt: skip
        for kind, at, price in LISTED:
            connection.execute(
                "insert into ondemand_list (instance_type, region, since, price, source, imported_at)"
                " values (%s, 'us-east-1', %s, %s, 'x', now())", (kind, at, price),
            )  # fmt: skip
        connection.execute("set local session_replication_role = replica")  # an incident alone is enough here
        for number, (pool, at) in enumerate(INCIDENTS):
            connection.execute(
                "insert into incidents (client_id, incident_id, agent_id, instance_id, severity, state, pool_id,"
                " opened_at, last_signal_at, signals, promote_on_ready, launch_attempts, tried_pools,"
                " data_loss_possible, anomalies, actions) values ('c', %s, 'a', %s, 'rebalance', 'cleared', %s, %s, %s,"
                " 1, false, 0, '[]', false, '[]', '[]')", (f"n{number}", f"i{number}", pool, at, at),
            )  # fmt: skip


Table = Mapping[tuple[str, datetime], Mapping[str, Any]]


@pytest.fixture(scope="module")
def built(module_site: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Table]:
    """One dataset of all pools above, read back from its file."""
    url, folder = module_site.connections.database_url, tmp_path_factory.mktemp("datasets")
    store(url)
    made = Datasets(url, folder).build(NOW)
    assert made is not None
    with duckdb.connect(":memory:") as db:
        found = db.execute(f"select * from read_parquet('{folder / made.file}')")
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return made, {(row["pool_id"], datetime.fromtimestamp(row["epoch_seconds"], UTC)): row for row in rows}


@pytest.fixture(scope="module")
def table(built: tuple[Dataset, Table]) -> Table:
    return built[1]


def of(table: Table, pool: str, feature: str) -> dict[datetime, Any]:
    return {at: row[feature] for (name, at), row in table.items() if name == pool}


def test_ds1_every_measured_bucket_is_a_row_and_nothing_else(built: tuple[Dataset, Table]) -> None:
    made, table = built
    assert set(table) == {(pool, at) for pool, series in POOLS.items() for at in series}
    assert (made.rows, made.pools) == (len(table), len(POOLS))
    times = [at for _, at in table]
    assert (made.first_at, made.last_at) == (min(times), max(times))
    assert {pool: {row["price"] for (name, _), row in table.items() if name == pool} for pool in POOLS} == {
        pool: {D(price) for price in series.values()} for pool, series in POOLS.items()
    }
    assert {(row["instance_type"], row["region"]) for (name, _), row in table.items() if name.startswith("rnk")} == {
        ("rnk.large", "us-east-1"), ("rnk.large", "us-west-2"), ("rnk.xlarge", "us-east-1"),
    }  # fmt: skip


def test_ds2_p17_changes_are_relative_to_the_very_bucket_an_hour_and_a_day_ago_or_unknown(table: Table) -> None:
    pool = "chg.large.us-east-1a"
    assert of(table, pool, "change_1h") == {
        T0: None, T0 + 23 * HOUR: None, T0 + 24 * HOUR: -0.25, T0 + 25 * HOUR + STEP: None,
    }  # fmt: skip
    assert of(table, pool, "change_24h") == {
        T0: None, T0 + 23 * HOUR: None, T0 + 24 * HOUR: 0.5, T0 + 25 * HOUR + STEP: None,
    }  # fmt: skip


def test_ds2_p17_the_deviation_is_of_the_population_over_six_hours_that_include_the_bucket(table: Table) -> None:
    found = of(table, "saw.large.us-east-1a", "stddev_6h")
    assert found[T0 + 34 * STEP] is None  # 35 buckets so far
    assert found[T0 + 35 * STEP] == pytest.approx(0.01, abs=1e-9)  # 36 of them, half and half
    assert found[T0 + 36 * STEP] == pytest.approx(0.01 * math.sqrt(1 - 1 / 37**2), abs=1e-9)  # 19 above, 18 below
    assert found[T0 + 71 * STEP] == pytest.approx(0.01, abs=1e-9)
    # at 7 h the window reaches back to 1 h 05: 59 of the saw, and the bucket itself at the mean of the rest
    prices = [0.05 if n % 2 == 0 else 0.03 for n in range(13, 72)] + [0.04]
    mean = sum(prices) / len(prices)
    wanted = math.sqrt(sum((price - mean) ** 2 for price in prices) / len(prices))
    assert found[T0 + 7 * HOUR] == pytest.approx(wanted, abs=1e-9)


def test_ds2_a_deviation_needs_half_of_the_buckets_of_six_hours(table: Table) -> None:
    many, few = of(table, "few.large.us-east-1a", "stddev_6h"), of(table, "few.large.us-east-1b", "stddev_6h")
    assert [at for at, value in many.items() if value is not None] == [T0 + 35 * timedelta(minutes=10)]
    assert many[T0 + 35 * timedelta(minutes=10)] == 0
    assert set(few.values()) == {None}


def test_ds2_p17_rank_1_is_the_cheapest_of_the_type_and_region_at_that_time_and_ties_share(table: Table) -> None:
    ranks = {
        pool[-2:]: list(of(table, pool, "price_rank").values())
        for pool in POOLS
        if pool.startswith("rnk.large.us-east")
    }
    assert ranks == {"1a": [1, 2, 1], "1b": [1, 1], "1c": [3, 3]}
    assert set(of(table, "rnk.large.us-west-2a", "price_rank").values()) == {1}
    assert set(of(table, "rnk.xlarge.us-east-1a", "price_rank").values()) == {1}


def test_ds2_the_calendar_is_utc_and_a_week_begins_on_monday(table: Table) -> None:
    rows = {
        at: tuple(table["cal.large.us-east-1a", at][name] for name in ("hour", "weekday", "day", "month"))
        for at in POOLS["cal.large.us-east-1a"]
    }
    assert list(rows.values()) == [
        (23, 2, 31, 12), (0, 3, 1, 1), (23, 5, 28, 2), (0, 6, 1, 3),
        (1, 7, 30, 3),  # Europe's clocks go forward in this hour
        (5, 7, 2, 11),  # New York's clocks go back in this hour
    ]  # fmt: skip


def test_ds4_a_bucket_is_labelled_when_its_pool_is_interrupted_within_the_next_hour(table: Table) -> None:
    """The incident comes 100 minutes after the start: buckets from 40 minutes on, up to the one that began at 95."""
    label = of(table, "int.large.us-east-1a", "interrupted")
    assert [(at - T0) // timedelta(minutes=1) for at, value in label.items() if value] == list(range(40, 100, 5))
    assert not any(of(table, "int.large.us-east-1b", "interrupted").values())


def hours(found: Mapping[datetime, Any]) -> list[float | None]:
    return [float(price) if price is not None else None for _, price in sorted(found.items())]


def test_ds3_p10_the_on_demand_price_is_the_one_known_then_unflagged_and_the_list_goes_first(table: Table) -> None:
    assert hours(of(table, "odp.large.us-east-1a", "ondemand_price")) == [None, None, 0.1, 0.1, 0.2, 0.2]
    assert hours(of(table, "lst.large.us-east-1a", "ondemand_price")) == [None, 0.1, 0.1, 0.3, 0.3, 0.5]


def test_dq8_a_flagged_on_demand_price_counts_as_missing(table: Table) -> None:
    assert hours(of(table, "flg.large.us-east-1a", "ondemand_price")) == [None, None]


def test_ds5_the_file_is_named_by_the_digest_of_its_rows_and_lists_them_in_order(built: tuple[Dataset, Table]) -> None:
    made, table = built
    assert made.file == f"{made.sha256}.parquet"
    assert len(made.sha256) == 64
    assert list(table) == sorted(table)
