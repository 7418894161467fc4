"""When a poll that found nothing may find something: after a change of the agent, or at a moment that is known (JB-5)."""

from datetime import timedelta
from typing import Any

import pytest

from spotcore import dispatch
from spotcore.aggregate import Aggregate
from spotcore.builds import Build, Evidence
from spotcore.change import Change
from spotcore.commands import CommandKind, Origin
from spotcore.dispatch import Dialect
from spotcore.instances import InstanceStatus
from spotcore.service.kernel import Caller
from tests.support.rule_builders import (
    a_command,
    a_machine,
    a_switch_command,
    an_aggregate,
    an_incident,
    executing,
    later,
)
from tests.support.world import World, a_world

K, O = CommandKind, Origin  # noqa: E741
MOMENT = timedelta(milliseconds=1)


def ending(**facts: Any) -> tuple[Any, Any]:
    """A machine that is to end, and the command for it."""
    machine = a_machine("z", InstanceStatus.TERMINATING, **facts)
    return machine, a_command(K.TERMINATE, O.OPERATOR, "end", target_instance_id=machine.instance_id)


FOUND_NOTHING = {
    "nothing open": (an_aggregate(), Dialect.CLASSIC, None),
    "a switch another host executes: lease 300 + 900 s (Z13)": (
        an_aggregate(executing(a_switch_command())), Dialect.CLASSIC, 1_200,
    ),
    "a config under lease: 60 s (1.5)": (
        an_aggregate(executing(a_command(K.APPLY_CONFIG)), build=Build.V5), Dialect.MODERN, 60,
    ),
    "a termination under lease: 240 s (1.5)": (
        an_aggregate(ending()[0], executing(ending()[1]), build=Build.V5), Dialect.MODERN, 240,
    ),
    "the first of two leases": (
        an_aggregate(executing(a_command(K.APPLY_CONFIG, name="a")), executing(a_command(K.LAUNCH, name="b")),
                     build=Build.V5), Dialect.MODERN, 60,
    ),
    "a termination before its deadline and 180 s (Z19)": (
        an_aggregate(*ending(notice_deadline=later(100)), build=Build.V5), Dialect.MODERN, 280,
    ),
    "a switch for the other dialect expires (CM-5)": (
        an_aggregate(a_switch_command(), build=Build.V5), Dialect.MODERN, 900,
    ),
    "clean-up waits for an incident, which only a change ends (Z31)": (
        an_aggregate(ending()[0], a_command(K.TERMINATE, O.CLEAN_UP, "end", target_instance_id=ending()[0].instance_id),
                     an_incident(), build=Build.V5), Dialect.MODERN, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("aggregate", "dialect", "seconds"), FOUND_NOTHING.values(), ids=FOUND_NOTHING)
def test_jb5_nothing_is_found_before_the_moment_that_was_named_and_time_moves_something_then(
    aggregate: Aggregate, dialect: Dialect, seconds: float | None
) -> None:
    change = Change(aggregate, later(0))
    assert dispatch.hand_out(change, dialect) == ()
    until = dispatch.quiet_until(change)
    assert until == (later(seconds) if seconds is not None else None)
    for at in (later(30), (until or later(100_000)) - MOMENT):
        again = Change(aggregate, at)
        assert dispatch.hand_out(again, dialect) == ()
        assert again.aggregate is aggregate
    if until is not None:
        moved = Change(aggregate, until)
        dispatch.hand_out(moved, dialect)
        assert moved.aggregate is not aggregate


# --- the use case ------------------------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    return a_world()


def test_a_poll_behind_an_executing_command_says_until_when_it_stays_idle(world: World) -> None:
    agent_id = world.register().agent_id
    world.switch(agent_id, None)
    (command,) = world.fetch(agent_id)
    world.clock.advance(15)
    handed = world.plane.commands.fetch(world.agent_caller, agent_id, Dialect.CLASSIC)
    assert (handed.commands, handed.idle_until) == ((), command.leased_until)
    assert handed.idle_at == world.aggregate(agent_id).agent.revision


def test_what_a_hand_out_or_a_change_leaves_behind_is_no_idleness_to_rely_on(world: World) -> None:
    agent_id = world.register().agent_id
    world.switch(agent_id, None)
    handed = world.plane.commands.fetch(world.agent_caller, agent_id, Dialect.CLASSIC)
    assert (len(handed.commands), handed.idle_at, handed.idle_until) == (1, None, None)
    world.clock.advance(2_000)  # the lease lapses in this very poll
    late = world.plane.commands.fetch(world.agent_caller, agent_id, Dialect.CLASSIC)
    assert late.commands == ()
    assert late.idle_at is None or late.idle_at < world.aggregate(agent_id).agent.revision


def test_z25_a_poll_of_an_agent_that_winds_down_is_never_called_idle(world: World) -> None:
    agent_id = world.register(evidence=(Evidence.CLOUD_ACCOUNT,)).agent_id
    world.plane.agents.delete(Caller(client_id=world.client_id, actor="client"), agent_id)
    found = [world.plane.commands.fetch(world.agent_caller, agent_id, Dialect.MODERN) for _ in range(2)]
    assert [[command.kind for command in one.commands] for one in found] == [[K.SELF_DESTRUCT], []]
    assert [one.idle_at for one in found] == [None, None]


def test_z26_a_poll_of_a_suspended_client_behind_a_command_is_never_called_idle(world: World) -> None:
    agent_id = world.register().agent_id
    world.switch(agent_id, None)
    world.fetch(agent_id)
    world.plane.clients.suspend(world.client_id)
    handed = world.plane.commands.fetch(world.agent_caller, agent_id, Dialect.CLASSIC)
    assert (handed.commands, handed.idle_at) == ((), None)
