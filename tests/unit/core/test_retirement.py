"""Deleting an agent winds everything down and lets its machine go on (AG-9, IN-12, Z25)."""

from typing import Any

import pytest
from attrs import evolve

from spotcore import dispatch, endings, retirement, upkeep
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Outcome
from spotcore.commands import CommandKind, CommandState
from spotcore.events import EventKind
from spotcore.ids import InstanceId, ReplicaId
from spotcore.incidents import IncidentState, Severity
from spotcore.instances import InstanceStatus
from spotcore.replicas import ReplicaEnd, ReplicaState
from tests.support.rule_builders import (
    PRIMARY,
    a_command,
    a_machine,
    a_replica,
    a_switch_command,
    an_aggregate,
    an_incident,
    decided,
    executing,
    later,
    open_kinds,
    state_of,
    told,
)

DAY = 86_400
STANDBY = InstanceId("r")


def with_replica(*rows: Any, build: Build = Build.V4C, **config: Any) -> Aggregate:
    machine = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")
    return an_aggregate(machine, a_replica("r"), *rows, build=build, **config)


def retired(aggregate: Aggregate, at: float = 0) -> Outcome:
    return decided(aggregate, retirement.retire, later(at))


def confirmed(aggregate: Aggregate, at: float) -> Outcome:
    """The machine of the replica has been ended."""
    return decided(
        aggregate, lambda change: endings.confirm_end(change, change.aggregate.instances[STANDBY]), later(at)
    )


MODES = {
    "auto": {"auto_switch_enabled": True},
    "manual": {"auto_switch_enabled": False, "manual_replica_enabled": True},
    "disabled": {"enabled": False},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("build", list(Build))
def test_ag9_a_deleted_agent_has_its_modes_off_its_replica_ended_and_its_primary_released(
    build: Build, mode: str
) -> None:
    after = retired(with_replica(build=build, **MODES[mode])).after
    config = after.agent.config
    assert after.agent.life is Life.RETIRING
    assert (config.enabled, config.auto_switch_enabled, config.manual_replica_enabled) == (False, False, False)
    assert after.instances[PRIMARY].status is InstanceStatus.RELEASED  # IN-12
    assert after.agent.primary_id is None
    replica = after.replicas[ReplicaId("rep-r")]
    assert (replica.state, replica.end_reason) == (ReplicaState.TERMINATED, ReplicaEnd.AGENT_DELETED)  # RP-8
    assert after.live_replica is None
    assert after.display_status().value == "deleted"  # already while retiring
    assert PRIMARY not in [row.instance.instance_id for row in endings.terminate_list(after, later(9_000))]


@pytest.mark.parametrize("handed_out", [False, True], ids=["pending", "executing"])
def test_ag9_open_commands_are_cancelled_and_incidents_closed(handed_out: bool) -> None:
    command = executing(a_switch_command()) if handed_out else a_switch_command()
    after = retired(with_replica(command, an_incident("m", Severity.REBALANCE))).after
    assert state_of(after) is CommandState.CANCELLED
    assert [incident.state for incident in after.incidents.values()] == [IncidentState.RESOLVED]


def test_ag9_a_termination_that_is_under_way_is_not_cancelled() -> None:
    ending = a_machine("old", InstanceStatus.TERMINATING)
    command = executing(a_command(CommandKind.TERMINATE, target_instance_id=InstanceId("old")))
    after = retired(an_aggregate(ending, command, build=Build.V5)).after
    assert state_of(after) is CommandState.EXECUTING


@pytest.mark.parametrize("build", list(Build))
def test_ag9_only_a_modern_agent_is_told_to_destroy_itself(build: Build) -> None:
    after = retired(an_aggregate(build=build)).after
    expected = [CommandKind.SELF_DESTRUCT] if build is Build.V5 else []
    assert open_kinds(after) == expected


def test_ag9_self_destruct_is_handed_out_only_when_no_termination_is_open_z25() -> None:
    after = retired(with_replica(build=Build.V5)).after
    assert sorted(open_kinds(after)) == [CommandKind.SELF_DESTRUCT, CommandKind.TERMINATE]
    fetched = decided(after, lambda change: dispatch.hand_out(change, dispatch.Dialect.MODERN), later(5))
    handed = [command.kind for command in fetched.after.commands.values() if command.state is CommandState.EXECUTING]
    assert handed == [CommandKind.TERMINATE]
    gone = confirmed(fetched.after, 60).after
    last = decided(gone, lambda change: dispatch.hand_out(change, dispatch.Dialect.MODERN), later(65))
    handed = [command.kind for command in last.after.commands.values() if command.state is CommandState.EXECUTING]
    assert handed == [CommandKind.SELF_DESTRUCT]


def test_ag9_the_agent_is_deleted_when_all_is_confirmed() -> None:
    after = retired(with_replica()).after
    assert after.agent.life is Life.RETIRING
    outcome = confirmed(after, 60)
    assert (outcome.after.agent.life, outcome.after.agent.deleted_at) == (Life.DELETED, later(60))
    assert len(told(outcome, EventKind.AGENT_RETIRED)) == 1


def test_ag9_an_agent_with_nothing_to_wind_down_is_deleted_at_once() -> None:
    assert retired(an_aggregate(), 7).after.agent.deleted_at == later(7)


@pytest.mark.parametrize(("at", "life"), [(DAY - 1, Life.RETIRING), (DAY, Life.DELETED)])
def test_ag9_after_24_h_it_is_deleted_whatever_was_confirmed(at: float, life: Life) -> None:
    after = decided(retired(with_replica()).after, upkeep.pass_time, later(at)).after
    assert after.agent.life is life
    assert after.instances[STANDBY].status is (
        InstanceStatus.RELEASED if life is Life.DELETED else InstanceStatus.TERMINATING
    )


def test_ag9_deleting_again_changes_nothing() -> None:
    once = retired(with_replica()).after
    again = retired(once, 5)
    assert again.events == ()
    assert again.after.agent.retiring_at == later(0)


def test_gr4_time_moves_nothing_of_a_deleted_agent() -> None:
    gone = confirmed(retired(with_replica()).after, 60).after
    later_on = decided(gone, upkeep.pass_time, later(30 * DAY))
    assert later_on.events == ()
    assert evolve(later_on.after.agent, due_at=None) == evolve(gone.agent, due_at=None)
