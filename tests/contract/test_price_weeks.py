"""Raw prices in weekly partitions (JB-7): made ahead, dropped whole, and never in the way of a report (DQ-6)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg
import pytest

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.retention import Retention
from spotadapters.postgres.storage import PostgresStorage
from tests.contract.test_pulse_groups import Ward, a_ward
from tests.support.databases import wait_until_open
from tests.support.rows import Connection, count_of, put
from tests.support.world import START, ZONES, FakeClock, World, a_world

WEEK = timedelta(weeks=1)
KEEP = "select keep_raw_prices(%(now)s, %(before)s)"
WEEKS = "select inhrelid::regclass::text from pg_inherits where inhparent = 'raw_prices'::regclass order by 1"


_worlds = count(1)


@pytest.fixture(scope="module")
def pools(module_database_url: str) -> Iterator[Connections]:
    with Connections(module_database_url, size=5, reserve=1) as connections:
        wait_until_open(connections)
        yield connections


@pytest.fixture
def root(pools: Connections) -> Iterator[Connection]:
    """The owner of a database that has no week and no price yet, as one whose scheduler has never run."""
    with closing(psycopg.connect(pools.database_url, autocommit=True)) as connection:
        for week in weeks(connection):
            connection.execute(f"drop table {week}")
        connection.execute("truncate raw_prices, price_buckets, pools cascade")
        yield connection


def weeks(root: Connection) -> list[str]:
    return [name for (name,) in root.execute(WEEKS).fetchall() if name != "raw_prices_default"]


def named(*mondays: str) -> list[str]:
    return [f"raw_prices_{day}" for day in mondays]


def kept(root: Connection, now: datetime, before: datetime | None = None) -> tuple[int, int]:
    made, dropped = root.execute(KEEP, {"now": now, "before": before or now - timedelta(days=90)}).fetchone()[0]
    return made, dropped


def a_reporter(pools: Connections) -> tuple[World, Callable[[], object]]:
    """A world, and a report of its agent."""
    clock = FakeClock()
    world = a_world(PostgresStorage(pools, clock).transactions, clock, next(_worlds))
    agent_id = world.register().agent_id
    return world, lambda: world.report_prices(agent_id, {ZONES[0]: "0.03"})


def a_group(pools: Connections) -> tuple[World, Callable[[], object]]:
    """The same the short way."""
    clock = FakeClock()
    world = a_world(PostgresStorage(pools, clock).transactions, clock, next(_worlds))
    ward: Ward = a_ward(world, pools)
    return world, lambda: _stored(ward)


def _stored(ward: Ward) -> None:
    assert ward.send(ward.report("0.03")) == {0}


def places(root: Connection) -> list[str]:
    return [name for (name,) in root.execute("select tableoid::regclass::text from raw_prices order by observed_at")]


def test_dq6_a_new_site_has_its_weeks_before_the_first_report(database_url: str) -> None:
    with closing(psycopg.connect(database_url)) as connection:
        for days in (0, 7):  # as old as a report may be (DQ-2)
            put(connection, "raw_prices", observed_at=datetime.now(UTC) - timedelta(days=days), submission_id=str(days))
        assert "raw_prices_default" not in places(connection)


def test_jb7_weeks_are_made_from_a_week_ago_to_two_ahead_and_once(root: Connection) -> None:
    assert kept(root, START) == (4, 0)  # a Monday
    assert weeks(root) == named("20260223", "20260302", "20260309", "20260316")
    assert kept(root, START) == kept(root, START + timedelta(days=6)) == (0, 0)
    assert kept(root, START + WEEK) == (1, 0)


def test_jb7_raw_prices_live_in_weeks_that_are_dropped_whole(pools: Connections, root: Connection) -> None:
    world, report = a_reporter(pools)
    report()
    assert kept(root, START) == (3, 0)  # this week has begun without a place of its own
    assert places(root) == ["raw_prices_default"]
    world.clock.advance(WEEK.total_seconds())
    report()
    assert places(root) == ["raw_prices_default", "raw_prices_20260309"]
    ninety_days = Retention(pools, FakeClock(START + timedelta(days=90, seconds=1)))
    assert ninety_days.apply().rows["raw_prices"] == 1  # by the row
    assert places(root) == ["raw_prices_20260309"]
    assert weeks(root)[0] == "raw_prices_20260309"
    Retention(pools, FakeClock(START + 2 * WEEK + timedelta(days=90))).apply()
    assert places(root) == []
    assert "raw_prices_20260309" not in weeks(root)


def test_a_partition_is_no_way_around_the_wall(pools: Connections, root: Connection) -> None:
    kept(root, START)
    for name in [*weeks(root), "raw_prices_default"]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pools.rows(f"select * from {name}", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("way", [a_reporter, a_group])
def test_dq6_a_report_that_comes_while_its_week_is_made_waits_and_goes_into_it(
    pools: Connections, root: Connection, way: Callable[..., tuple[World, Callable[[], object]]]
) -> None:
    world, report = way(pools)
    for _ in range(6):  # until its plan is a kept one
        report()
        world.clock.advance(1)
    world.clock.advance(3 * WEEK.total_seconds())
    with ThreadPoolExecutor(1) as pool:
        with root.transaction():
            assert kept(root, world.clock.now()) == (4, 0)
            sent = pool.submit(report)
            assert waiting(root)
        sent.result()
    assert places(root) == [*["raw_prices_default"] * 6, "raw_prices_20260323"]


def waiting(root: Connection) -> bool:
    """Whether somebody waits for a table of this database, at last."""
    look = (
        "select exists (select 1 from pg_locks where not granted and locktype = 'relation'"
        " and database = (select oid from pg_database where datname = current_database()))"
    )
    return any(root.execute(look).fetchone()[0] or threading.Event().wait(0.01) for _ in range(300))


def test_dq6_who_is_at_work_on_raw_prices_is_not_waited_for_and_the_next_run_makes_the_weeks(
    pools: Connections, root: Connection
) -> None:
    world, report = a_reporter(pools)
    other, later = a_reporter(pools)
    with world.transactions() as uow:
        agent = uow.agents.lock(world.client_id, world.register("held").agent_id)
        assert agent.primary is not None
        uow.prices.market(world.client_id, "m5.large", "us-east-1", START)  # reads, and so holds the table
        with ThreadPoolExecutor(2) as pool:
            run = pool.submit(kept_by_another, pools.database_url, START)
            assert waiting(root) or run.done()
            behind = pool.submit(later)  # waits no longer than the run is patient
            assert run.result() == (0, 0)
            behind.result()
    report()
    assert weeks(root) == []
    assert kept(root, START) == (3, 0)
    assert places(root) == ["raw_prices_default"] * 2
    assert other.clock.now() == START


def test_dq6_a_week_whose_first_report_comes_in_meanwhile_is_left_to_it(pools: Connections, root: Connection) -> None:
    """The run has seen no row of the week, waits for the report, and finds one: the other weeks are made all the same."""
    root.execute("alter function keep_raw_prices set lock_timeout = '10s'")  # the report is over before that
    world, _ = a_reporter(pools)
    try:
        with closing(psycopg.connect(pools.database_url)) as reporter, ThreadPoolExecutor(1) as pool:
            put(reporter, "raw_prices", observed_at=world.clock.now())
            run = pool.submit(kept_by_another, pools.database_url, world.clock.now())
            assert waiting(root)
            reporter.commit()
            assert run.result() == (3, 0)
    finally:
        root.execute("alter function keep_raw_prices set lock_timeout = '200ms'")
    assert weeks(root) == named("20260223", "20260309", "20260316")
    assert places(root) == ["raw_prices_default"]


def kept_by_another(url: str, now: datetime) -> tuple[int, int]:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        return kept(connection, now)


def test_dq6_no_report_fails_or_is_lost_while_weeks_come_and_go(pools: Connections, root: Connection) -> None:
    """Reporters go through half a year faster than the weeks are made, or slower, as it happens."""
    done = threading.Event()

    def reports(number: int) -> int:
        world, report = (a_group if number % 2 else a_reporter)(pools)
        for _ in range(36):
            report()
            world.clock.advance(WEEK.total_seconds() * 0.7)
        return 36

    def keeps() -> None:
        old, now = START - 40 * WEEK, START
        with closing(psycopg.connect(pools.database_url, autocommit=True)) as connection:
            while not done.is_set():
                kept(connection, old, before=old - 9 * WEEK)
                kept(connection, now, before=old + 9 * WEEK)  # and what was just made goes
                now = now + WEEK if now < START + 26 * WEEK else START

    with ThreadPoolExecutor(4) as pool:
        keeper = pool.submit(keeps)
        try:
            sent = sum(pool.map(reports, range(3)))
        finally:
            done.set()
        keeper.result()
    assert count_of(root, "raw_prices") == sent == 108
