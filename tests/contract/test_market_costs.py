"""What a decision reads of the market does not grow with what the site has been through (5.2, 4.3, 5.4)."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from spotadapters.postgres.storage import PostgresStorage
from spotcore.market import BOOTS_COUNTED, INCIDENTS_COUNTED, Market
from tests.support.databases import WarmDatabase
from tests.support.world import START, FakeClock, World

TYPE, REGION = "m5.large", "us-east-1"
POOLS = [f"{TYPE}.{REGION}{letter}" for letter in "abcdef"]
BUSY = POOLS[:3]  # the others have never seen a launch, an incident or a price
READ = "explain (analyze, buffers, format json) select market_of(%s, %s, %s, %s, %s)"


@pytest.fixture
def root(warm_database: WarmDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection, for a past that no rule has to be asked about."""
    with psycopg.connect(warm_database.url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(
            "insert into pools (pool_id, instance_type, region, az, first_observed_at) "
            "select p, %s, %s, right(p, 10), %s from unnest(%s::text[]) p",
            (TYPE, REGION, START - timedelta(days=40), POOLS),
        )
        yield connection


def launches(root: psycopg.Connection[Any], number: int, *, seconds: int, ago: timedelta) -> None:
    """Machines of the busy pools, a minute apart, that took so long to boot."""
    root.execute(
        "insert into instances (client_id, instance_id, agent_id, status, cloud_id, mode, pool_id, created_at, "
        "  launch_requested_at, confirmed_at, terminated_at, end_failures, inferred, end_asserted) "
        "select 'c', %(key)s || n, 'a' || n, 'terminated', 'i-' || %(key)s || n, 'spot', (%(pools)s::text[])[1 + n %% 3], "
        "  at, at, at + make_interval(secs => %(seconds)s), at, 0, false, false "
        "from (select n, %(last)s::timestamptz - n * interval '1 minute' as at from generate_series(1, %(number)s) n) t",
        {"key": f"{seconds}-", "pools": BUSY, "seconds": seconds, "last": START - ago, "number": number},
    )


def incidents(root: psycopg.Connection[Any], number: int, *, state: str = "resolved") -> None:
    root.execute(
        "insert into incidents (incident_id, client_id, agent_id, instance_id, severity, state, pool_id, opened_at, "
        "  last_signal_at, signals, promote_on_ready, launch_attempts, tried_pools, data_loss_possible, anomalies, actions) "
        "select %(state)s || n, 'c', 'a' || n, 'x' || n, 'termination', %(state)s, (%(pools)s::text[])[1 + n %% 3], at, at, "
        "  1, false, 0, '[]', false, '[]', '[]' "
        "from (select n, %(now)s::timestamptz - n * interval '10 seconds' as at from generate_series(1, %(number)s) n) t",
        {"state": state, "pools": BUSY, "now": START, "number": number},
    )


def prices(root: psycopg.Connection[Any], number: int) -> None:
    root.execute(
        "insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence, "
        "  observed_at, submission_id) "
        "select p, at, %(type)s, %(region)s, 0.03, 'primary', 1, 1, at, 's' || n "
        "from unnest(%(pools)s::text[]) p, generate_series(1, %(number)s) n, "
        "  lateral (select %(now)s::timestamptz - n * interval '5 minutes' as at) t",
        {"type": TYPE, "region": REGION, "pools": BUSY, "now": START, "number": number},
    )


def blocks(root: psycopg.Connection[Any]) -> int:
    """Blocks that one reading of the market touches, once its plan is kept."""
    values = ("c", TYPE, REGION, START - timedelta(minutes=10), START - timedelta(days=7))
    for _ in range(3):
        row = root.execute(READ, values).fetchone()  # type: ignore[call-overload]
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def market(warm_database: WarmDatabase) -> Market:
    with PostgresStorage(warm_database.connections, FakeClock()).transactions() as uow:
        return uow.prices.market("c", TYPE, REGION, START)  # type: ignore[arg-type]


def test_a_long_past_costs_a_decision_no_more_than_a_short_one(
    root: psycopg.Connection[Any], warm_database: WarmDatabase
) -> None:
    launches(root, 60, seconds=80, ago=timedelta(hours=1))
    incidents(root, 60)
    prices(root, 30)
    root.execute("analyze")
    short = blocks(root)
    launches(root, 12_000, seconds=90, ago=timedelta(hours=2))
    root.execute("delete from incidents")
    incidents(root, 12_000)
    root.execute("delete from price_buckets")
    prices(root, 4_000)
    root.execute("vacuum analyze")
    with psycopg.connect(warm_database.url, autocommit=True) as later:  # plans anew, as a connection opened today does
        assert blocks(later) < 3 * short


def test_4_3_ten_incidents_of_a_week_are_as_bad_as_a_thousand(
    root: psycopg.Connection[Any], warm_database: WarmDatabase
) -> None:
    incidents(root, 3 * INCIDENTS_COUNTED - 3)
    assert {market(warm_database).pools[pool].incidents_7d for pool in BUSY} == {INCIDENTS_COUNTED - 1}
    incidents(root, 900, state="cleared")
    assert {market(warm_database).pools[pool].incidents_7d for pool in BUSY} == {INCIDENTS_COUNTED}
    assert market(warm_database).pools[POOLS[5]].incidents_7d == 0


def test_5_4_the_mean_boot_time_is_of_the_latest_machines(
    root: psycopg.Connection[Any], warm_database: WarmDatabase
) -> None:
    launches(root, 3 * BOOTS_COUNTED, seconds=300, ago=timedelta(days=300))
    record = market(warm_database).pools[BUSY[0]]
    assert (record.boot_seconds, record.boot_samples) == (Decimal(300), BOOTS_COUNTED)
    launches(root, 3 * BOOTS_COUNTED - 3, seconds=60, ago=timedelta(days=1))
    record = market(warm_database).pools[BUSY[0]]
    assert record.boot_seconds == (Decimal(60) * (BOOTS_COUNTED - 1) + 300) / BOOTS_COUNTED
    assert market(warm_database).pools[POOLS[5]].boot_seconds is None


def test_4_3_on_either_storage_a_storm_is_counted_to_ten(world: World) -> None:
    agents = [world.register(f"web-{number}").agent_id for number in range(INCIDENTS_COUNTED + 1)]
    world.report_prices(agents[0], {"us-east-1a": "0.03"})
    for counted, agent_id in enumerate(agents, start=1):
        world.notice(agent_id, world.primary(agent_id))
        with world.transactions() as uow:
            read = uow.prices.market(world.client_id, TYPE, REGION, world.clock.now())
        assert read.pools[f"{TYPE}.us-east-1a"].incidents_7d == min(counted, INCIDENTS_COUNTED)
