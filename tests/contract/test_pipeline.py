"""The data pipeline on both storages: the batch path equals the live path, gaps are filled, oddities are told once."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotadapters.postgres.storage import PostgresStorage
from spotcore.events import EventKind
from spotcore.gaps import fill_gaps
from spotcore.pricing import Bucket
from spotcore.service.prices import PriceItem, PriceSheet
from tests.support.databases import WarmDatabase
from tests.support.world import TYPE, ZONES, FakeClock, World, a_world, with_replica

D = Decimal
GROUP = (TYPE, "us-east-1")
FIVE = timedelta(minutes=5)


def observe(world: World, agent_id: Any, rows: Sequence[tuple[str, datetime, str]]) -> None:
    items = tuple(PriceItem(pool=f"{TYPE}.{az}", price=D(price), observed_at=at) for az, at, price in rows)
    world.plane.prices.report(world.agent_caller, agent_id, PriceSheet(spot=items))


def measured(world: World) -> Mapping[str, Mapping[datetime, Decimal]]:
    with world.transactions() as uow:
        return uow.prices.measured(GROUP, world.clock.now() - timedelta(days=30))


def held(world: World, az: str = ZONES[0]) -> list[Bucket]:
    """Buckets as the ledger reads them, fills included."""
    with world.transactions() as uow:
        pool = f"{TYPE}.{az}"
        found = uow.ledger.spot([pool], world.clock.now() - timedelta(days=30), world.clock.now())[pool]
        return sorted(found, key=lambda one: one.start)


def told(world: World, kind: EventKind) -> int:
    return sum(1 for one in events(world) if one == kind)


def events(world: World) -> list[EventKind]:
    storage = world.transactions.__self__  # type: ignore[attr-defined]
    if isinstance(storage, PostgresStorage):
        rows = storage._connections.rows("select kind from audit_events", {})
        return [EventKind(row[0]) for row in rows]
    return [event.kind for event in storage.tables.events]


def test_gf1_gf5_a_gap_is_filled_told_once_and_the_next_run_changes_nothing_failure_78(world: World) -> None:
    agent_id = world.register().agent_id
    start = world.clock.now()
    world.clock.advance(7200)
    observe(world, agent_id, [(ZONES[0], start, "0.0300"), (ZONES[0], start + 3 * FIVE, "0.0330")])
    done = world.plane.pipeline.run()
    assert (done.failed, done.groups, done.fills_changed) == ((), 1, 2)
    prices = [(one.start, one.price, one.filled) for one in held(world)]
    assert prices == [
        (start, D("0.03"), False),
        (start + FIVE, D("0.031"), True),
        (start + 2 * FIVE, D("0.032"), True),
        (start + 3 * FIVE, D("0.033"), False),
    ]
    assert told(world, EventKind.PRICE_GAP) == 1
    again = world.plane.pipeline.run()
    assert (again.repaired, again.fills_changed) == (0, 0)
    assert told(world, EventKind.PRICE_GAP) == 1


def test_gf5_a_late_measurement_replaces_the_fill_and_the_rest_is_computed_anew_failure_76(world: World) -> None:
    agent_id = world.register().agent_id
    start = world.clock.now()
    world.clock.advance(7200)
    observe(world, agent_id, [(ZONES[0], start, "0.0300"), (ZONES[0], start + 3 * FIVE, "0.0330")])
    world.plane.pipeline.run()
    observe(world, agent_id, [(ZONES[0], start + FIVE, "0.0400")])
    world.plane.pipeline.run()
    assert [(one.price, one.filled) for one in held(world)] == [
        (D("0.03"), False), (D("0.04"), False), (D("0.0365"), True), (D("0.033"), False),
    ]  # fmt: skip


def test_gf4_open_ends_are_not_filled_and_long_gaps_neither_failure_77(world: World) -> None:
    agent_id = world.register().agent_id
    start = world.clock.now()
    world.clock.advance(6 * 3600)
    observe(world, agent_id, [(ZONES[0], start, "0.0300"), (ZONES[0], start + 30 * FIVE, "0.0330")])
    assert world.plane.pipeline.run().fills_changed == 0
    assert told(world, EventKind.PRICE_GAP) == 1


def test_dq5_a_runner_up_beyond_10_percent_is_told_once_an_hour(world: World) -> None:
    ready = with_replica(world)
    now = world.clock.now()
    start = datetime.fromtimestamp(int(now.timestamp()) // 3600 * 3600, now.tzinfo)
    world.clock.advance(1200)
    for number in range(2):
        observe(world, ready.agent_id, [(ZONES[0], start + number * FIVE + timedelta(seconds=9), "0.0300")])
        item = PriceItem(pool=f"{TYPE}.{ZONES[0]}", price=D("0.0400"), observed_at=start + number * FIVE)
        world.plane.prices.report(world.agent_caller, ready.agent_id, PriceSheet(cloud_id=ready.standby, spot=(item,)))
    world.plane.pipeline.run()
    assert told(world, EventKind.PRICE_DISCREPANCY) == 1
    world.plane.pipeline.run()
    assert told(world, EventKind.PRICE_DISCREPANCY) == 1
    assert measured(world)[f"{TYPE}.{ZONES[0]}"][start] == D("0.03")  # never averaged: the primary's


def test_gf7_a_day_that_is_mostly_guessed_is_told(world: World) -> None:
    agent_id = world.register().agent_id
    start = world.clock.now()
    world.clock.advance(7200)
    observe(world, agent_id, [(ZONES[0], start + number * 6 * FIVE, "0.03") for number in range(4)])
    world.plane.pipeline.run()
    assert told(world, EventKind.PRICES_FILLED) == 1


def test_a_run_looks_only_at_what_something_came_in_for(world: World) -> None:
    agent_id = world.register().agent_id
    start = world.clock.now()
    observe(world, agent_id, [(ZONES[0], start, "0.0300")])
    world.clock.advance(3600)
    assert world.plane.pipeline.run(received_since=world.clock.now() - timedelta(minutes=1)).groups == 0
    assert world.plane.pipeline.run(received_since=start).groups == 1


# --- any order of arrival, any split into reports: the same tables ------------------------------------------------------

reports = st.lists(
    st.tuples(
        st.sampled_from(ZONES), st.integers(0, 40).map(lambda n: n * 97),
        st.integers(1, 9).map(lambda n: f"0.0{n}"),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


def arrived(world: World, history: Sequence[tuple[str, int, str]], chance: random.Random, runs: int) -> World:
    agent_id = world.register().agent_id
    start = world.clock.now() - timedelta(hours=2)
    rows = [(az, start + timedelta(seconds=seconds), price) for az, seconds, price in history]
    chance.shuffle(rows)
    while rows:
        size = chance.randint(1, 6)
        observe(world, agent_id, rows[:size])
        rows = rows[size:]
        if runs:
            world.plane.pipeline.run()
    world.plane.pipeline.run()
    return world


@given(reports, st.randoms(use_true_random=False))
def test_dq4_gf5_any_order_of_arrival_gives_identical_tables(
    history: list[tuple[str, int, str]], chance: random.Random
) -> None:
    one, other = arrived(a_world(), history, chance, 0), arrived(a_world(), history, chance, 1)
    assert measured(one) == measured(other)
    assert [held(one, az) for az in ZONES] == [held(other, az) for az in ZONES]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports, st.integers(0, 1_000))
def test_both_storages_hold_the_same_clean_series_as_the_pure_functions(
    warm_database: WarmDatabase, history: list[tuple[str, int, str]], seed: int
) -> None:
    memory = arrived(a_world(), history, random.Random(seed), 0)
    warm_database.renew()
    clock, connections = FakeClock(), warm_database.connections
    stored = a_world(PostgresStorage(connections, clock).transactions, clock)
    postgres = arrived(stored, history, random.Random(seed + 1), 1)
    assert measured(postgres) == measured(memory)
    filled = connections.rows(
        "select pool_id, bucket_start, price, confidence from price_buckets where source = 'interpolated' order by 1, 2",
        {},
    )
    pure = [
        (pool, row.bucket_start, row.price, row.confidence)
        for pool, rows in sorted(fill_gaps(measured(memory)).items())
        for row in rows
    ]
    assert filled == pure
