"""Known failures of section 12 that a storage can bring about: one property each, on both storages."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from attrs import evolve

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.retention import Retention
from spotadapters.postgres.storage import PostgresStorage
from spotcore.aggregate import Aggregate
from spotcore.config import ConfigChange
from spotcore.control_plane import control_plane
from spotcore.errors import ConfigConflict, NotFound, SpotError, StateConflict, Unavailable
from spotcore.events import EventKind
from spotcore.ids import AgentId
from spotcore.incidents import Outcome
from spotcore.replicas import ReplicaState
from spotcore.service.kernel import Caller
from spotcore.service.replicas import ReplicaRequest
from spotcore.testing.breaking import FailingStorage
from tests.support.databases import WarmDatabase
from tests.support.moves import PRICES, by_switch_report, plain
from tests.support.world import CountingIdentity, FakeClock, Ready, World, a_world, with_replica

Act = Callable[[World, Ready], object]
ACTS: dict[str, Act] = {
    "a promotion by hand": lambda world, it: world.plane.replicas.promote(world.user, it.agent_id, it.replica_id),
    "a failover": lambda world, it: world.notice(it.agent_id, it.primary),
    "a change of mode": lambda world, it: world.set(it.agent_id, auto_switch_enabled=True),
    "a deletion": lambda world, it: world.plane.agents.delete(world.user, it.agent_id),
}


def broken_off(world: World, step: int) -> tuple[World, FailingStorage]:
    """The same world over a storage that breaks off at that step."""
    storage = FailingStorage(world.transactions, at=step)
    identity = CountingIdentity(f"{step:08x}")
    plane = control_plane(transactions=storage.transactions, clock=world.clock, identity=identity)
    return evolve(world, plane=plane), storage


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_failure_1_what_breaks_off_anywhere_leaves_before_or_after_and_nothing_between_gr1(
    world: World, act: Act
) -> None:
    whole = with_replica(world, "whole")
    act(world, whole)
    expected = summary(world.aggregate(whole.agent_id))
    broken = step = 0
    ready = with_replica(world, "agent-0")
    while True:
        step += 1
        before = world.aggregate(ready.agent_id)
        failing, storage = broken_off(world, step)
        try:
            act(failing, ready)
        except SpotError as refusal:
            assert refusal.code == "UNAVAILABLE"
            assert world.aggregate(ready.agent_id) == before  # and so the next step has the same agent
            broken += 1
            continue
        assert summary(world.aggregate(ready.agent_id)) == expected  # without prices, which nothing here needs (5.2)
        if storage.steps < step:
            break
        ready = with_replica(world, f"agent-{step}")
    assert broken >= 5  # before and after the lock, before and after the save, before the commit


def summary(aggregate: Aggregate) -> tuple[object, ...]:
    """What a change left, whatever its ids."""
    agent = aggregate.agent
    return (
        agent.life, agent.config, agent.config_version, agent.link, len(aggregate.periods),
        sorted(row.status for row in aggregate.instances.values()),
        sorted(row.state for row in aggregate.replicas.values()),
        sorted((row.kind, row.state) for row in aggregate.commands.values()),
        sorted(row.state for row in aggregate.incidents.values()),
        sorted((row.trigger, row.state) for row in aggregate.switches.values()),
    )  # fmt: skip


def test_failure_98_after_ok_another_connection_sees_the_change_and_after_a_refusal_nothing_gr1(world: World) -> None:
    agent_id = plain(world)
    world.set(agent_id, terminate_wait_seconds=600)
    assert world.aggregate(agent_id).agent.config.terminate_wait_seconds == 600
    failing, storage = broken_off(world, 5)  # all is written, nothing committed
    with pytest.raises(Unavailable):
        failing.set(agent_id, terminate_wait_seconds=900)
    assert storage.steps == 5
    assert world.aggregate(agent_id).agent.config.terminate_wait_seconds == 600


def test_failure_99_a_stale_version_is_a_conflict_always_gr3(world: World) -> None:
    agent_id = plain(world)
    for version in range(1, 6):
        wanted = ConfigChange(wanted={"terminate_wait_seconds": 600 + version}, expected_version=version)
        world.plane.agents.configure(world.user, agent_id, wanted)
        for stale in range(version + 1):
            with pytest.raises(ConfigConflict):
                world.plane.agents.configure(
                    world.user, agent_id, ConfigChange(wanted={"terminate_wait_seconds": 61}, expected_version=stale)
                )
    assert world.aggregate(agent_id).agent.config_version == 6


def test_failure_101_a_change_whose_audit_row_cannot_be_written_is_no_change_gr10(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client_id
    before = audited(world)
    with world.transactions() as uow:
        kind = type(uow.audit)
    with monkeypatch.context() as patched:
        patched.setattr(kind, "add", _full)
        for act in (world.plane.clients.suspend, world.plane.clients.delete):
            with pytest.raises(Unavailable):
                act(client)
    assert world.plane.clients.get(client).status.value == "active"
    assert audited(world) == before
    world.plane.clients.suspend(client)
    assert audited(world) == [*before, EventKind.CLIENT_SUSPENDED]


def _full(*_: object) -> None:
    raise Unavailable("the audit log cannot be written")


def audited(world: World) -> list[EventKind]:
    storage = world.transactions.__self__  # type: ignore[attr-defined]
    if isinstance(storage, PostgresStorage):
        rows = storage._connections.rows("select kind from audit_events order by audit_id", {})
        return [EventKind(row[0]) for row in rows]
    return [event.kind for event in storage.tables.events]


def test_failure_101_every_change_of_state_has_its_audit_row_gr10(world: World) -> None:
    agent_id = plain(world)
    steps: dict[EventKind, Callable[[], object]] = {
        EventKind.AGENT_CONFIG_UPDATED: lambda: world.set(agent_id, terminate_wait_seconds=600),
        EventKind.AGENT_TOGGLED: lambda: world.plane.agents.toggle(world.user, agent_id, False),
        EventKind.AGENT_MARKED_OFFLINE: lambda: world.tick(121),
        EventKind.AGENT_BACK_ONLINE: lambda: world.beat(agent_id, world.primary(agent_id)),
        EventKind.AGENT_DELETED: lambda: world.plane.agents.delete(world.user, agent_id),
    }
    for kind, step in steps.items():
        before = audited(world)
        step()
        after = audited(world)
        assert after.count(kind) == before.count(kind) + 1
        step_again = len(after)
        if kind is EventKind.AGENT_CONFIG_UPDATED:
            step()  # no change, no row (MX-9)
            assert len(audited(world)) == step_again


def test_failure_21_lists_and_reports_reach_a_clients_own_machines_alone_in25_gr8(world: World) -> None:
    mine = by_switch_report(world)
    other = world.plane.clients.create("Other").client.client_id
    theirs = by_switch_report(evolve(world, client_id=other))
    world.tick(301)
    lists = {
        client: {
            entry.instance.cloud_id
            for entry in world.plane.commands.terminate_list(Caller(client_id=client), agent_id).entries
        }
        for client, agent_id in ((world.client_id, mine.agent_id), (other, theirs.agent_id))
    }
    assert lists == {world.client_id: {mine.old}, other: {theirs.old}}
    with pytest.raises(NotFound):
        world.plane.commands.termination_result(world.agent_caller, mine.agent_id, theirs.old, True, None)
    with pytest.raises(NotFound):
        world.plane.commands.terminated(world.agent_caller, mine.agent_id, theirs.old)
    with world.transactions() as uow:
        row = uow.agents.get(other, theirs.agent_id).machine(theirs.old)
    assert row is not None
    assert row.status.value == "terminating"


def test_failure_106_deleting_keeps_switches_periods_and_audit_cl6(world: World) -> None:
    moved = by_switch_report(world)
    before = world.aggregate(moved.agent_id)
    rows = audited(world)
    world.tick(60)  # periods that begin and end at one instant have no order
    world.plane.clients.delete(world.client_id)
    world.tick(86_400)
    after = world.aggregate(moved.agent_id)
    assert after.agent.life.value == "deleted"
    assert after.switches == before.switches
    assert [period.instance_id for period in after.periods] == [period.instance_id for period in before.periods]
    assert audited(world)[: len(rows)] == rows


@pytest.fixture
def crowd(warm_database: WarmDatabase) -> World:
    """PostgreSQL with room for several at once."""
    clock = FakeClock()
    return a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)


def at_once(acts: list[Callable[[], object]]) -> list[object]:
    """What each came to, started together: its answer or its refusal."""
    barrier = threading.Barrier(len(acts))

    def one(act: Callable[[], object]) -> object:
        barrier.wait(10)
        try:
            return act()
        except SpotError as refusal:
            return refusal

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(one, acts))


def test_failure_9_two_workers_promote_once(crowd: World) -> None:
    ready = with_replica(crowd)

    def promote() -> object:
        return crowd.plane.replicas.promote(crowd.user, ready.agent_id, ready.replica_id).switch.switch_id

    def fail_over() -> object:
        return crowd.notice(ready.agent_id, ready.primary).outcome

    answers = at_once([promote, fail_over, promote, fail_over])
    assert not [one for one in answers if isinstance(one, SpotError) and not isinstance(one, StateConflict)]
    after = crowd.aggregate(ready.agent_id)
    assert crowd.primary(ready.agent_id) == ready.standby
    assert len(after.switches) == 1
    assert {one for one in answers if isinstance(one, str) and not isinstance(one, Outcome)} <= set(after.switches)
    assert [row.state for row in after.replicas.values()].count(ReplicaState.PROMOTED) == 1


def test_failure_26_enables_ticks_and_people_at_once_make_one_replica_i2(crowd: World) -> None:
    agent_id = plain(crowd)

    def create() -> object:
        return crowd.plane.replicas.create(crowd.user, agent_id, ReplicaRequest())

    acts: list[Callable[[], object]] = [lambda: crowd.set(agent_id, manual_replica_enabled=True)] * 3
    answers = at_once([*acts, crowd.plane.upkeep.tick, crowd.plane.upkeep.tick, create])
    assert {one.code for one in answers if isinstance(one, SpotError)} <= {
        "REPLICA_EXISTS", "MANUAL_REPLICA_DISABLED", "STATE_CONFLICT",
    }  # fmt: skip
    after = crowd.aggregate(agent_id)
    assert len(after.replicas) == 1
    assert sum(row.is_live for row in after.replicas.values()) == 1


def test_failure_100_four_schedulers_at_once_do_what_one_does_jb1(crowd: World) -> None:
    alone = a_world()
    for world, tick in ((crowd, lambda: at_once([crowd.plane.upkeep.tick] * 4)), (alone, alone.plane.upkeep.tick)):
        moved = by_switch_report(world)
        for seconds in (121, 180, 300, 90_000):
            world.clock.advance(seconds)
            tick()
        assert world.status(moved.agent_id, moved.old) == "terminating"
    assert sorted(audited(crowd)) == sorted(audited(alone))


def test_failure_39_of_switches_asked_for_at_once_one_is_in_flight_i4(crowd: World) -> None:
    agent_id = plain(crowd)
    answers = at_once([lambda: crowd.switch(agent_id)] * 4)
    ordered = [one for one in answers if not isinstance(one, SpotError)]
    assert len(ordered) == 1
    assert {one.code for one in answers if isinstance(one, SpotError)} <= {"SWITCH_BLOCKED", "STATE_CONFLICT"}
    assert len(crowd.aggregate(agent_id).open_commands) == 1


def test_failure_98_a_thousand_calls_leave_no_connection_behind_refused_ones_least(database_url: str) -> None:
    clock = FakeClock()
    with Connections(database_url, size=4, reserve=2) as connections:
        world = a_world(PostgresStorage(connections, clock).transactions, clock)
        agent_id = plain(world)
        _, most = connections.used()
        wanted = ConfigChange(wanted={"enabled": False}, expected_version=99)
        for number in range(250):
            world.plane.agents.config(world.user, agent_id)
            with pytest.raises(NotFound):
                world.plane.agents.config(world.user, AgentId(f"no-{number}"))
            with pytest.raises(NotFound):
                world.plane.commands.terminated(world.agent_caller, agent_id, f"i-0{number:x}")
            with pytest.raises(ConfigConflict):
                world.plane.agents.configure(world.user, agent_id, wanted)
        assert connections.used() == (0, most)


def test_failure_104_retention_takes_nothing_from_the_accounts_jb7(crowd: World, warm_database: WarmDatabase) -> None:
    database_url = warm_database.url
    ready = with_replica(crowd)
    for _ in range(14):  # past midnight
        crowd.report_prices(ready.agent_id, PRICES, ondemand="0.1200")
        crowd.clock.advance(3_600)
    crowd.notice(ready.agent_id, ready.primary)
    crowd.plane.savings.accrue()
    before = _account_rows(database_url)
    assert len(before) > 2
    for days in (1, 100, 800):
        crowd.clock.advance(days * 86_400)
        Retention(warm_database.connections, crowd.clock).apply()
        assert _account_rows(database_url)[: len(before)] == before
        assert _kept_for_ever(database_url) == (2, 1, 1)


def _kept_for_ever(database_url: str) -> tuple[object, ...]:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select (select count(*) from primary_periods), (select count(*) from switches),"
            " (select count(*) from incidents)"
        ).fetchone()
        assert row is not None
        return row


def _account_rows(database_url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "select instance_id, started_at, ended_at, role, baseline, cost, saving from ledger_lines order by entry_no"
        ).fetchall()
