"""Two who ask for a decision at once (E62): nobody is refused, and one switch comes of it at most (I4, DQ-3, 7.8)."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal

import psycopg
import pytest

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotcore.ids import AgentId
from spotcore.ports.storage import UnitOfWork
from spotcore.service.decisions import Recommendation
from spotcore.service.prices import PriceItem, Prices, PriceSheet
from tests.support.world import TYPE, ZONES, FakeClock, World, a_world

PRICES = dict(zip(ZONES, ("0.0950", "0.0100", "0.0200"), strict=True))


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    clock = FakeClock()
    with Connections(database_url, size=6, reserve=2) as connections:
        yield a_world(PostgresStorage(connections, clock).transactions, clock)


def a_sheet(*zones: str) -> PriceSheet:
    """What a host saw, its pools in that order."""
    spot = tuple(PriceItem(pool=f"{TYPE}.{zone}", price=Decimal(PRICES[zone])) for zone in zones)
    return PriceSheet(spot=spot, ondemand=(PriceItem(price=Decimal("0.1100")),))


def waiting(url: str, count: int) -> None:
    """Wait until so many locks are waited for."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(20_000):
            row = connection.execute("select count(*) from pg_locks where not granted").fetchone()
            if row == (count,):
                return
    raise AssertionError(f"{count} were never waiting")


def test_e62_the_same_prices_twice_at_once_are_stored_in_one_order_and_neither_caller_is_refused_dq3(
    world: World, database_url: str
) -> None:
    agent_id = world.register().agent_id
    first, middle, last = ZONES
    recorded, release = threading.Event(), threading.Event()

    def undone(uow: UnitOfWork) -> None:
        aggregate = uow.agents.get(world.client_id, agent_id)
        Prices(world.plane.decisions.kernel).record(uow, aggregate, a_sheet(middle))
        recorded.set()
        assert release.wait(10)
        raise ZeroDivisionError

    def holder() -> None:
        with pytest.raises(ZeroDivisionError), world.transactions() as uow:
            undone(uow)

    def asked(*zones: str) -> "Future[Recommendation]":
        return pool.submit(world.plane.decisions.decide, world.agent_caller, agent_id, a_sheet(*zones))

    with ThreadPoolExecutor(3) as pool:
        held = pool.submit(holder)
        assert recorded.wait(5)
        both = [asked(first, middle, last), asked(last, middle, first)]
        try:
            waiting(database_url, 2)  # for the one in the middle, whichever they hold already
        finally:
            release.set()
        held.result()
        assert [one.result().decision.snapshot.current_price for one in both] == [Decimal("0.0950")] * 2
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from raw_prices").fetchone() == (3,)


def test_e62_two_at_once_who_would_both_move_the_agent_are_both_answered_and_one_switch_is_queued_i4(
    world: World,
) -> None:
    agent_id = world.register(machine=(machine := world.new_machine())).agent_id
    world.beat(agent_id, machine)
    world.set(agent_id, min_pool_duration_hours=0, risk_threshold=Decimal(1))
    gate = threading.Barrier(2)

    def asked(who: AgentId) -> Recommendation:
        gate.wait(5)
        return world.plane.decisions.decide(world.agent_caller, who, a_sheet(*ZONES))

    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(asked, [agent_id] * 2))
        assert all(one.decision.will_auto_execute or one.order is None for one in found)
        ordered = [one.order.command for one in found if one.order is not None and one.order.command is not None]
        assert len(ordered) == 1
        open_now = world.aggregate(agent_id).open_commands
        assert [one.command_id for one in open_now] == [ordered[0].command_id]
        world.plane.commands.withdraw(world.user, agent_id, ordered[0].command_id)
