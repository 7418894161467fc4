"""What goes wrong with one agent stops nobody else's time, and nobody else's decision (JB-4)."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from attrs import define, field

from spotadapters.memory import MemoryStorage
from spotadapters.postgres.storage import PostgresStorage
from spotcore.agents import Link
from spotcore.errors import StateConflict, Unavailable
from spotcore.ids import AgentId
from spotcore.incidents import FORCE_BEFORE
from spotcore.ports.storage import Keys, Transactions, UnitOfWork
from spotcore.service import upkeep
from spotcore.service.decisions import RoundResult
from tests.support.databases import WarmDatabase
from tests.support.world import FakeClock, World, a_world, with_replica

SILENT = 121  # seconds without a heartbeat (AG-1)


@define
class Trouble:
    """A storage that cannot give back some agents, and may be away altogether."""

    inner: Transactions
    agents: dict[AgentId, Exception] = field(factory=dict)
    away: Exception | None = None
    prices: Exception | None = None
    tries: int = 0
    asked_for_prices: int = 0

    def transactions(self, *, urgent: bool = False) -> AbstractContextManager[UnitOfWork]:
        """The ``Transactions`` port."""
        return self._transaction(urgent)

    @contextmanager
    def _transaction(self, urgent: bool) -> Iterator[UnitOfWork]:
        self.tries += 1
        if self.away is not None:
            raise self.away
        with self.inner(urgent=urgent) as uow:
            unit: Any = _Unit(uow, self)
            yield unit


@define
class _Unit:
    uow: UnitOfWork
    trouble: Trouble

    @property
    def agents(self) -> Any:
        return _Agents(self.uow.agents, self.trouble)

    @property
    def prices(self) -> Any:
        self.trouble.asked_for_prices += 1
        if self.trouble.prices is not None:
            raise self.trouble.prices
        return self.uow.prices

    def __getattr__(self, name: str) -> Any:
        return getattr(self.uow, name)


@define
class _Agents:
    store: Any
    trouble: Trouble

    def get(self, client_id: Any, agent_id: AgentId, *keys: Any) -> Any:
        self._refuse([agent_id])
        return self.store.get(client_id, agent_id, *keys)

    def lock_free(self, client_id: Any, wanted: Mapping[AgentId, Any], *known: Any) -> Any:
        self._refuse(wanted)
        return self.store.lock_free(client_id, wanted, *known)

    def _refuse(self, wanted: Any) -> None:
        for agent_id in wanted:
            if agent_id in self.trouble.agents:
                raise self.trouble.agents[agent_id]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@define
class Fleet:
    """Agents, some of which will be in trouble."""

    world: World
    trouble: Trouble
    spoil: Callable[[AgentId], None]

    def agents(self, count: int, prefix: str = "web") -> list[AgentId]:
        return [self.world.register(f"{prefix}-{number}").agent_id for number in range(count)]

    def is_offline(self, agent_id: AgentId) -> bool:
        with self.trouble.inner() as uow:
            return uow.agents.get(self.world.client_id, agent_id).agent.link is Link.OFFLINE


@pytest.fixture(params=["memory", "postgres"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    clock = FakeClock()
    if request.param == "memory":
        trouble = Trouble(MemoryStorage().transactions)
        spoil = lambda one: trouble.agents.update({one: ValueError("'a_reason_of_tomorrow'")})  # noqa: E731
        return Fleet(a_world(trouble.transactions, clock), trouble, spoil)
    warm: WarmDatabase = request.getfixturevalue("warm_database")
    trouble = Trouble(PostgresStorage(warm.connections, clock).transactions)

    def written_by_the_next_version(agent_id: AgentId) -> None:
        text = "update instances set end_reason = 'a_reason_of_tomorrow' where agent_id = %(agent_id)s"
        warm.connections.rows(text, {"agent_id": agent_id})

    return Fleet(a_world(trouble.transactions, clock), trouble, written_by_the_next_version)


# ---- upkeep


def test_jb4_an_agent_whose_rows_cannot_be_read_is_told_of_and_time_passes_for_all_others(fleet: Fleet) -> None:
    agents = fleet.agents(5)
    fleet.spoil(agents[2])
    fleet.world.clock.advance(SILENT)
    result = fleet.world.plane.upkeep.tick()
    assert [who for who, _ in result.failed] == [agents[2]]
    assert "a_reason_of_tomorrow" in result.failed[0][1]
    assert (result.due, result.done) == (5, 4)
    assert all(fleet.is_offline(agent) for agent in agents if agent != agents[2])


def test_jb4_an_agent_that_fails_is_put_off_and_tried_again(fleet: Fleet) -> None:
    (agent_id,) = fleet.agents(1)
    fleet.spoil(agent_id)
    fleet.world.clock.advance(SILENT)
    assert len(fleet.world.plane.upkeep.tick().failed) == 1
    assert fleet.world.plane.upkeep.tick().due == 0
    fleet.world.clock.advance(upkeep.PUT_OFF / timedelta(seconds=1))
    assert len(fleet.world.plane.upkeep.tick().failed) == 1


def test_5_4_an_agent_that_fails_in_an_emergency_is_tried_again_well_before_the_deadline(fleet: Fleet) -> None:
    world = fleet.world
    ready = with_replica(world, ready=False)
    world.notice(ready.agent_id, ready.primary, ahead=120)
    fleet.trouble.agents[AgentId(ready.agent_id)] = Unavailable("too slow")
    world.clock.advance(91)  # 5.4: the replica takes over by force now
    assert len(world.plane.upkeep.tick().failed) == 1
    fleet.trouble.agents.clear()
    world.clock.advance(upkeep.PUT_OFF_PRESSED / timedelta(seconds=1))
    world.plane.upkeep.tick()
    assert world.primary(ready.agent_id) == ready.standby
    assert upkeep.PUT_OFF_PRESSED < FORCE_BEFORE / 2


def test_5_2_prices_that_cannot_be_read_cost_a_tick_one_wait_and_no_agent(fleet: Fleet) -> None:
    agents = fleet.agents(2 * upkeep.TOGETHER + 1)
    fleet.world.clock.advance(SILENT)
    fleet.trouble.prices, fleet.trouble.asked_for_prices = Unavailable("too slow"), 0
    result = fleet.world.plane.upkeep.tick()
    assert (result.done, result.failed, fleet.trouble.asked_for_prices) == (len(agents), (), 1)
    assert all(fleet.is_offline(agent) for agent in agents)


def test_a_tick_with_nobody_due_is_one_look(fleet: Fleet) -> None:
    fleet.agents(2)
    before = fleet.trouble.tries
    assert fleet.world.plane.upkeep.tick().due == 0
    assert fleet.trouble.tries == before + 1


def test_jb4_as_many_stuck_agents_as_a_tick_takes_stop_nobody_behind_them(fleet: Fleet) -> None:
    stuck = fleet.agents(4, "stuck")
    for agent_id in stuck:
        fleet.spoil(agent_id)
    fleet.world.clock.advance(1)
    others = fleet.agents(2, "fine")
    fleet.world.clock.advance(SILENT)
    for _ in range(3):
        fleet.world.plane.upkeep.tick(limit=2)
    assert all(fleet.is_offline(agent) for agent in others)


def test_jb1_agents_that_somebody_else_holds_are_passed_by_however_many_are_in_front(
    warm_database: WarmDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAGE", 2)
    clock = FakeClock()
    storage = PostgresStorage(warm_database.connections, clock)
    world = a_world(storage.transactions, clock)
    held = [world.register(f"held-{number}").agent_id for number in range(5)]
    clock.advance(1)
    free = [world.register(f"free-{number}").agent_id for number in range(3)]
    clock.advance(SILENT)
    with storage.transactions() as uow:
        assert len(uow.agents.lock_free(world.client_id, dict.fromkeys(held, Keys()))) == len(held)
        ticked = threading.Thread(target=lambda: results.append(world.plane.upkeep.tick(limit=3)))
        results: list[upkeep.TickResult] = []
        ticked.start()
        ticked.join(4)  # each lock is waited for 2 s
        assert not ticked.is_alive()
    assert (results[0].due, results[0].done, results[0].failed) == (8, 3, ())
    assert all(world.aggregate(agent).agent.link is Link.OFFLINE for agent in free)
    assert world.plane.upkeep.tick().done == len(held)


def test_a_database_that_is_away_ends_the_tick_instead_of_failing_agent_by_agent(fleet: Fleet) -> None:
    agents = fleet.agents(30)
    fleet.world.clock.advance(SILENT)
    looked = fleet.trouble.inner

    @contextmanager
    def gone_after_the_look(*, urgent: bool = False) -> Iterator[UnitOfWork]:
        with looked(urgent=urgent) as uow:
            yield uow
        if fleet.trouble.tries == before + 2:  # it has been asked who is due
            fleet.trouble.away = Unavailable("nobody there")

    fleet.trouble.inner = gone_after_the_look
    before = fleet.trouble.tries
    with pytest.raises(Unavailable):
        fleet.world.plane.upkeep.tick()
    assert fleet.trouble.tries - before <= 5
    fleet.trouble.inner, fleet.trouble.away = looked, None
    assert fleet.world.plane.upkeep.tick().done == len(agents)


def test_a_tick_ends_in_time_whatever_the_agents_take(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """JB-8: one that is older than 10 s is an alarm. What is left is the next one's."""
    agents = fleet.agents(6)
    fleet.world.clock.advance(SILENT)
    monkeypatch.setattr(upkeep, "TOGETHER", 1)
    inner, slow = fleet.trouble.inner, fleet.world.clock

    @contextmanager
    def slowly(*, urgent: bool = False) -> Iterator[UnitOfWork]:
        slow.advance(1)
        with inner(urgent=urgent) as uow:
            yield uow

    fleet.trouble.inner = slowly
    first = fleet.world.plane.upkeep.tick()
    assert 0 < first.done < len(agents)
    fleet.trouble.inner = inner
    assert first.done + fleet.world.plane.upkeep.tick().done == len(agents)


def test_5_4_a_forced_promotion_does_not_wait_behind_agents_that_fell_silent_before(fleet: Fleet) -> None:
    world = fleet.world
    silent = fleet.agents(5, "silent")
    world.clock.advance(40)
    ready = with_replica(world, ready=False)
    world.notice(ready.agent_id, ready.primary, ahead=120)
    world.clock.advance(91)
    world.plane.upkeep.tick(limit=1)
    assert world.primary(ready.agent_id) == ready.standby
    assert sum(fleet.is_offline(agent) for agent in silent) == 1


def test_5_4_between_two_pages_of_others_the_tick_looks_for_emergencies_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAGE", 2)
    world = fleet.world
    silent = fleet.agents(6, "silent")
    world.clock.advance(40)
    ready = with_replica(world, ready=False)
    world.notice(ready.agent_id, ready.primary, ahead=120)
    world.clock.advance(89)  # a second too early
    inner, offline_at_promotion = fleet.trouble.inner, list[int]()

    @contextmanager
    def slowly(*, urgent: bool = False) -> Iterator[UnitOfWork]:
        world.clock.advance(0.3)
        with inner(urgent=urgent) as uow:
            yield uow
        with inner() as uow:
            links = [uow.agents.get(world.client_id, agent).agent.link for agent in silent]
            primary = uow.agents.get(world.client_id, ready.agent_id).primary
        if primary is not None and primary.cloud_id == ready.standby:
            offline_at_promotion.append(links.count(Link.OFFLINE))

    fleet.trouble.inner = slowly
    world.plane.upkeep.tick()
    assert 0 < offline_at_promotion[0] < len(silent)


# ---- decision rounds


def undecided(fleet: Fleet, count: int) -> list[AgentId]:
    agents = fleet.agents(count)
    fleet.world.clock.advance(301)
    return agents


def test_jb4_one_agent_that_cannot_be_decided_ends_no_round_whatever_its_trouble(fleet: Fleet) -> None:
    agents = undecided(fleet, 6)
    fleet.spoil(agents[0])
    fleet.trouble.agents |= {agents[2]: Unavailable("too slow"), agents[4]: StateConflict("busy")}
    result = fleet.world.plane.decisions.round()
    assert result.decided == 3
    assert [who for who, _ in result.failed] == [agents[0], agents[2]]


def test_jb1_a_round_waits_for_no_agent_that_somebody_else_holds(warm_database: WarmDatabase) -> None:
    clock = FakeClock()
    storage = PostgresStorage(warm_database.connections, clock)
    world = a_world(storage.transactions, clock)
    held, free = ([world.register(f"{kind}-{number}").agent_id for number in range(3)] for kind in ("held", "free"))
    clock.advance(301)
    results: list[RoundResult] = []
    with storage.transactions() as uow:
        assert len(uow.agents.lock_free(world.client_id, dict.fromkeys(held, Keys()))) == len(held)
        decided = threading.Thread(target=lambda: results.append(world.plane.decisions.round()))
        decided.start()
        decided.join(4)  # each lock is waited for 2 s
        assert not decided.is_alive()
    assert results == [RoundResult(decided=len(free))]


def test_jb4_rounds_get_past_as_many_stuck_agents_as_one_takes_and_begin_again_in_front(fleet: Fleet) -> None:
    agents = undecided(fleet, 5)
    for agent_id in agents[:2]:
        fleet.spoil(agent_id)
    first = fleet.world.plane.decisions.round(2)
    assert (first.decided, len(first.failed)) == (0, 2)
    second = fleet.world.plane.decisions.round(2, first.after)
    assert (second.decided, second.failed) == (2, ())
    third = fleet.world.plane.decisions.round(2, second.after)
    assert (third.decided, third.after) == (1, None)


def test_a_database_that_is_away_ends_the_round_instead_of_failing_agent_by_agent(fleet: Fleet) -> None:
    undecided(fleet, 10)
    inner = fleet.trouble.inner

    @contextmanager
    def gone_after_the_look(*, urgent: bool = False) -> Iterator[UnitOfWork]:
        with inner(urgent=urgent) as uow:
            yield uow
        fleet.trouble.away = Unavailable("nobody there")

    fleet.trouble.inner = gone_after_the_look
    before = fleet.trouble.tries
    with pytest.raises(Unavailable):
        fleet.world.plane.decisions.round()
    assert fleet.trouble.tries - before <= 3
