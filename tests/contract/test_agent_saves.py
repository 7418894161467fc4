"""``AgentStore.save`` on both storages: exactly the rows that differ, their events, the client's total, or nothing (GR-1)."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from spotcore.agents import Agent, Life, Link
from spotcore.aggregate import Aggregate
from spotcore.change import Outcome
from spotcore.clients import Client
from spotcore.commands import CommandKind, CommandState, Origin
from spotcore.errors import InstanceOwned, LogicalAgentConflict, ReplicaExists, SpotError
from spotcore.events import Event, EventKind
from spotcore.ids import AgentId, CloudId, InstanceId, SwitchId
from spotcore.instances import InstanceStatus
from spotcore.ports.storage import UnitOfWork
from spotcore.replicas import ReplicaState
from spotcore.switches import PrimaryPeriod, Switch, SwitchState, SwitchTrigger
from tests.support.rule_builders import a_command, a_machine, a_replica, an_incident
from tests.support.world import START, World

D = Decimal


def loaded(world: World, name: str = "web") -> Aggregate:
    return world.aggregate(world.register(name).agent_id)


def save(world: World, before: Aggregate | None, after: Aggregate, *events: Event) -> None:
    with world.transactions() as uow:
        uow.agents.save(Outcome(before=before, after=after, events=events))


def again(world: World, aggregate: Aggregate) -> Aggregate:
    return world.aggregate(aggregate.agent.agent_id)


def owned(row: object, of: Aggregate, **facts: object) -> object:
    """The row as this agent's."""
    return evolve(row, client_id=of.agent.client_id, agent_id=of.agent.agent_id, **facts)


def name_of(of: Aggregate, name: str) -> str:
    return f"{name}-{of.agent.agent_id}"


def total(world: World) -> Decimal:
    with world.transactions() as uow:
        return uow.clients.get(world.client_id).total_savings


# ---- what is written


def test_the_same_again_writes_nothing(shared_world: World) -> None:
    before = loaded(shared_world)
    save(shared_world, before, before)
    assert again(shared_world, before) == before


def test_one_fact_of_each_kind_of_row_is_enough_to_be_written(shared_world: World) -> None:
    before = loaded(shared_world)
    primary = before.primary
    assert primary is not None
    facts: Mapping[str, Aggregate] = {
        "agent": evolve(before, agent=evolve(before.agent, hostname="new")),
        "instances": evolve(before, instances={primary.instance_id: evolve(primary, drift="says replica")}),
    }
    for after in facts.values():
        save(shared_world, before, after)
        assert again(shared_world, before) == after
        save(shared_world, after, before)
        assert again(shared_world, before) == before


def test_a_new_agent_and_all_its_rows_are_one_write(shared_world: World) -> None:
    with shared_world.transactions() as uow:
        client = uow.clients.get(shared_world.client_id)
    agent_id = AgentId(f"agent-of-{client.client_id}")
    who = {"client_id": client.client_id, "agent_id": agent_id}
    machine = evolve(
        a_machine("m", cloud_id=CloudId(f"i-{client.client_id}"), created_at=START), instance_id=InstanceId(f"m-{agent_id}"), **who
    )  # fmt: skip
    agent = Agent(logical_agent_id="all", registered_at=START, updated_at=START, primary_id=machine.instance_id, **who)
    period = PrimaryPeriod(instance_id=machine.instance_id, started_at=START, **who)
    wanted = Aggregate(client=client, agent=agent, instances={machine.instance_id: machine}, periods=(period,))
    save(shared_world, None, wanted)
    assert shared_world.aggregate(agent_id) == wanted


def test_rows_that_give_up_a_unique_place_are_written_before_those_that_take_it(shared_world: World) -> None:
    """I1, I2, I4, I11: a takeover is one write, whatever order the rows are kept in."""
    start = loaded(shared_world)
    first = start.primary
    assert first is not None
    replica = owned(
        a_replica(state=ReplicaState.READY, created_at=START),
        start,
        instance_id=first.instance_id,
        replica_id=name_of(start, "r1"),
    )
    command = owned(
        a_command(CommandKind.SWITCH, Origin.USER),
        start,
        command_id=name_of(start, "k1"),
        request_id=name_of(start, "q1"),
    )
    incident = owned(an_incident(), start, instance_id=first.instance_id, incident_id=name_of(start, "n1"))
    before = evolve(
        start, replicas={replica.replica_id: replica}, commands={command.command_id: command},
        incidents={incident.incident_id: incident},
    )  # fmt: skip
    save(shared_world, start, before)
    at = START + timedelta(seconds=1)
    second = owned(
        a_machine("s", cloud_id=CloudId(f"i-0{start.agent.agent_id}"), created_at=START), start, instance_id=name_of(start, "m2")
    )  # fmt: skip
    takes = {
        # the taker first: dictionaries keep their order, the write must not
        "instances": {
            second.instance_id: second,
            first.instance_id: evolve(first, status=InstanceStatus.ZOMBIE, zombie_since=at),
        },
        "replicas": {
            "new": evolve(replica, replica_id=name_of(start, "r2")),
            replica.replica_id: evolve(replica, state=ReplicaState.PROMOTED, ended_at=at),
        },
        "commands": {
            "new": evolve(command, command_id=name_of(start, "k2"), request_id=name_of(start, "q2"), kind=CommandKind.PROMOTE),
            command.command_id: evolve(command, state=CommandState.CANCELLED, finished_at=at),
        },
        "incidents": {
            "new": evolve(incident, incident_id=name_of(start, "n2")),
            incident.incident_id: evolve(incident, state=type(incident.state)("resolved"), closed_at=at),
        },
    }  # fmt: skip
    switch = Switch(
        switch_id=SwitchId(name_of(start, "s")), client_id=start.agent.client_id, agent_id=start.agent.agent_id,
        state=SwitchState.COMPLETED, trigger=SwitchTrigger.MANUAL, recorded_at=at,
    )  # fmt: skip
    (period,) = start.periods
    opened = evolve(period, instance_id=second.instance_id, started_at=at, switch_id=switch.switch_id)
    after = evolve(
        before, agent=evolve(before.agent, primary_id=second.instance_id), switches={switch.switch_id: switch},
        periods=(evolve(period, ended_at=at), opened), **takes,
    )  # fmt: skip
    save(shared_world, before, after)
    found = again(shared_world, start)
    assert (found.primary, found.periods) == (second, after.periods)
    assert {row.state.value for row in found.replicas.values()} == {"promoted", "ready"}
    assert [row.kind for row in found.open_commands] == [CommandKind.PROMOTE]
    assert [row.incident_id for row in found.open_incidents] == [name_of(start, "n2")]


def test_i10_a_machine_that_ended_comes_back_under_a_new_row_in_the_same_write(shared_world: World) -> None:
    """IN-4: the row that is over gives up the cloud id before the new one takes it."""
    before = loaded(shared_world)
    old = owned(
        a_machine("o", InstanceStatus.ZOMBIE, cloud_id=CloudId(f"i-0{before.agent.agent_id}"), created_at=START), before,
        instance_id=name_of(before, "old"),
    )  # fmt: skip
    known = evolve(before, instances={**before.instances, old.instance_id: old})
    save(shared_world, before, known)
    ended = evolve(old, status=InstanceStatus.TERMINATED, terminated_at=START)
    again_here = evolve(
        old, instance_id=name_of(before, "new"), status=InstanceStatus.TERMINATING, terminating_since=START
    )
    after = evolve(
        known, instances={again_here.instance_id: again_here, **before.instances, ended.instance_id: ended}
    )  # fmt: skip
    save(shared_world, known, after)
    assert again(shared_world, before).instances == after.instances


def test_gr3_a_period_that_is_no_longer_there_cannot_be_closed(stored_world: World) -> None:
    """Zero rows changed means that somebody was faster; it is never a success."""
    before = loaded(stored_world)
    (period,) = before.periods
    stale = evolve(before, periods=(evolve(period, started_at=period.started_at - timedelta(seconds=1)),))
    closed = evolve(stale, periods=(evolve(stale.periods[0], ended_at=START + timedelta(seconds=9)),))
    with pytest.raises(SpotError) as refusal:
        save(stored_world, stale, closed)
    assert refusal.value.details["constraint"] == "gr3_period_is_there"
    assert again(stored_world, before) == before


# ---- the client's total (7.1, 7.4)


def test_a_gain_is_added_to_what_the_client_has_and_the_rest_of_it_stays(shared_world: World) -> None:
    before = loaded(shared_world)
    stale: Client = before.client
    for gain in ("0.74880000", "0.00000001", "-0.5"):
        after = evolve(before, client=evolve(stale, total_savings=stale.total_savings + D(gain), name="not stored"))
        save(shared_world, before, after)  # each from the same stale state: differences are added
    assert total(shared_world) == D("0.24880001")
    assert again(shared_world, before).client.name == stale.name


def test_a_gain_of_a_failed_transaction_is_not_credited_63(shared_world: World) -> None:
    before = loaded(shared_world)
    richer = evolve(before, client=evolve(before.client, total_savings=D(5)))

    def fails() -> None:
        with shared_world.transactions() as uow:
            uow.agents.save(Outcome(before=before, after=richer))
            raise ZeroDivisionError

    def undone(uow: UnitOfWork) -> None:
        with uow.savepoint():
            uow.agents.save(Outcome(before=before, after=richer))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with shared_world.transactions() as uow, pytest.raises(ZeroDivisionError):
        undone(uow)
    assert total(shared_world) == 0


# ---- events


def test_gr10_events_are_written_with_the_rows_or_not_at_all(shared_world: World) -> None:
    before = loaded(shared_world)
    after = evolve(before, agent=evolve(before.agent, link=Link.OFFLINE))
    event = Event(
        event_id=name_of(before, "e"), kind=EventKind.AGENT_MARKED_OFFLINE, at=START, client_id=before.agent.client_id,
        agent_id=before.agent.agent_id, facts={"logical_agent_id": "web", "reason": "silent"},
    )  # fmt: skip
    with shared_world.transactions() as uow:
        uow.notices.mark_all_read(shared_world.client_id, START)
    save(shared_world, before, after, event)
    with pytest.raises(SpotError):
        save(shared_world, after, evolve(before, agent=evolve(before.agent, hostname="x")), event)  # told already
    assert again(shared_world, before) == after
    with shared_world.transactions() as uow:
        assert uow.audit.unknown([event.event_id]) == frozenset()
        assert uow.notices.mark_all_read(shared_world.client_id, START) == 1


# ---- what spans agents


def test_i13_a_second_live_agent_of_a_name_is_a_conflict_and_leaves_nothing(shared_world: World) -> None:
    first, second = loaded(shared_world, "web"), loaded(shared_world, "other")
    with pytest.raises(LogicalAgentConflict, match="an agent of that name exists"):
        save(shared_world, second, evolve(second, agent=evolve(second.agent, logical_agent_id="web")))
    assert again(shared_world, second) == second
    gone = evolve(
        first, agent=evolve(first.agent, life=Life.DELETED, primary_id=None),
        instances={key: evolve(row, status=InstanceStatus.RELEASED, released_at=START) for key, row in first.instances.items()},
        periods=tuple(evolve(one, ended_at=START) for one in first.periods),
    )  # fmt: skip
    save(shared_world, first, gone)
    renamed = evolve(second, agent=evolve(second.agent, logical_agent_id="web"))
    save(shared_world, second, renamed)
    assert again(shared_world, second) == renamed


@pytest.mark.parametrize("status", [one for one in InstanceStatus if one is not InstanceStatus.RUNNING_PRIMARY])
def test_i10_a_machine_is_one_agents_until_it_has_ended(shared_world: World, status: InstanceStatus) -> None:
    first, second = loaded(shared_world, "a"), loaded(shared_world, "b")
    primary = first.primary
    assert primary is not None
    ended = {"terminated_at": START} if status is InstanceStatus.TERMINATED else {}
    twin = owned(
        a_machine("t", status, cloud_id=primary.cloud_id, created_at=START, **ended), second, instance_id=name_of(second, "t")
    )  # fmt: skip
    after = evolve(second, instances={**second.instances, twin.instance_id: twin})
    if status in (InstanceStatus.TERMINATED, InstanceStatus.RELEASED):
        save(shared_world, second, after)
        assert again(shared_world, second) == after
        return
    with pytest.raises(InstanceOwned, match="registered elsewhere"):
        save(shared_world, second, after)
    assert again(shared_world, second) == second


def test_i2_a_second_live_replica_is_refused_by_both_storages(shared_world: World) -> None:
    before = loaded(shared_world)
    primary = before.primary
    assert primary is not None
    rows = {
        name: owned(a_replica(state=ReplicaState.SYNCING, created_at=START), before, instance_id=primary.instance_id, replica_id=name_of(before, name))
        for name in ("r1", "r2")
    }  # fmt: skip
    with pytest.raises(SpotError) as refusal:
        save(shared_world, before, evolve(before, replicas=rows))
    assert refusal.type in (ReplicaExists,) or "I2" in refusal.value.message
    assert again(shared_world, before) == before


# ---- a transaction


def test_two_savepoints_stand_alone_and_the_outer_one_takes_the_inner_along(shared_world: World) -> None:
    states = [loaded(shared_world, name) for name in ("a", "b", "c")]
    changed = [evolve(one, agent=evolve(one.agent, hostname="changed")) for one in states]

    def write(uow: UnitOfWork, number: int) -> None:
        uow.agents.save(Outcome(before=states[number], after=changed[number]))

    def inner_fails(uow: UnitOfWork) -> None:
        with uow.savepoint():
            write(uow, 1)
            raise ZeroDivisionError

    def outer_fails(uow: UnitOfWork) -> None:
        with uow.savepoint():
            with uow.savepoint():
                write(uow, 1)
            write(uow, 2)
            raise ZeroDivisionError

    with shared_world.transactions() as uow:
        write(uow, 0)
        for attempt in (inner_fails, outer_fails):
            with pytest.raises(ZeroDivisionError):
                attempt(uow)
        assert uow.agents.get(shared_world.client_id, states[0].agent.agent_id).agent.hostname == "changed"
        assert uow.agents.get(shared_world.client_id, states[1].agent.agent_id) == states[1]
    assert [again(shared_world, one).agent.hostname for one in states] == ["changed", None, None]


def test_what_one_transaction_wrote_the_next_one_reads_and_the_second_connection_too_98(shared_world: World) -> None:
    before = loaded(shared_world)
    after = evolve(before, agent=evolve(before.agent, hostname="committed"))
    save(shared_world, before, after)
    with shared_world.transactions(urgent=True) as other, shared_world.transactions() as one:
        for uow in (one, other):
            assert uow.agents.get(shared_world.client_id, before.agent.agent_id) == after
