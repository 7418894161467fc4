"""One notification per cause (http-api 12.1): what an event's consequences say again stays in the audit log."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from spotcore import dispatch, reports, switching, upkeep
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change, Outcome
from spotcore.commands import Command, CommandKind, CommandState, Origin
from spotcore.dispatch import Dialect
from spotcore.events import EventKind, Notification, notification_of
from spotcore.ids import CloudId
from spotcore.instances import InstanceStatus
from spotcore.pools import Mode
from spotcore.replicas import ReplicaState
from spotcore.reports import CommandReport
from spotcore.switching import MachineReport, SwitchReport
from tests.support.rule_builders import (
    POOL_B,
    START,
    a_command,
    a_machine,
    a_replica,
    a_switch_command,
    an_aggregate,
    decided,
    executing,
    later,
    told,
)

K = EventKind


def messages(outcome: Outcome) -> list[Notification]:
    return [message for event in outcome.events if (message := notification_of(event)) is not None]


def kinds(outcome: Outcome) -> list[str]:
    """What people hear of, by the event that tells them."""
    return [message.dedupe_key.partition(":")[0] for message in messages(outcome)]


def reported(aggregate: Aggregate, command: Command, success: bool | None = False, **facts: Any) -> Outcome:
    report = CommandReport(command=command.command_id, success=success, **facts)
    return decided(aggregate, lambda change: reports.command_result(change, report))


def a_chain(state: InstanceStatus = InstanceStatus.LAUNCHING) -> tuple[Aggregate, Command]:
    """A modern agent that executes the launch of a switch chain."""
    target = a_machine("n", state, cloud_id=None, confirmed_at=None, created_at=START, launch_requested_at=START)
    launch = executing(
        a_command(
            CommandKind.LAUNCH, makes_primary=True, target_instance_id="n", trigger="manual", target_pool_id=POOL_B
        )
    )
    return an_aggregate(target, launch, build=Build.V5), launch


def a_replica_launch() -> tuple[Aggregate, Command]:
    """A modern agent that executes the launch of a manual replica."""
    target = a_machine("r", InstanceStatus.LAUNCHING, cloud_id=None, confirmed_at=None, created_at=START)
    launch = executing(a_command(CommandKind.LAUNCH, Origin.MANUAL_MODE, target_instance_id="r"))
    replica = a_replica(state=ReplicaState.LAUNCHING, created_at=START)
    return an_aggregate(target, launch, replica, build=Build.V5), launch


def test_12_1_a_failed_switch_result_is_one_message_of_the_switch_sw9() -> None:
    switch = executing(a_switch_command())
    outcome = reported(an_aggregate(switch), switch, message="no capacity")
    assert kinds(outcome) == ["switch_failed"]
    assert messages(outcome)[0].message == "Switch of web failed: no capacity"
    assert messages(outcome)[0].severity.value == "error"
    (failed,) = told(outcome, K.COMMAND_FAILED)  # the audit log has both
    assert failed.facts["told_by"] == "switch_failed"
    assert len(told(outcome, K.SWITCH_FAILED)) == 1


def test_12_1_an_acknowledged_switch_without_a_report_is_one_message_t19() -> None:
    switch = executing(a_switch_command())
    assert kinds(reported(an_aggregate(switch), switch, None)) == ["switch_failed"]


def test_12_1_a_switch_report_of_failure_is_one_message_e75() -> None:
    switch = executing(a_switch_command())
    report = SwitchReport(
        old=MachineReport(cloud_id=CloudId("i-0m")), new=MachineReport(cloud_id=CloudId("i-0n"), mode=Mode.SPOT),
        command_id="k", success=False, error_message="image not found",
    )  # fmt: skip
    outcome = decided(an_aggregate(switch), lambda change: switching.judge_report(change, report))
    assert kinds(outcome) == ["switch_failed"]
    assert len(told(outcome, K.COMMAND_FAILED)) == 1


def test_12_1_a_switch_that_was_never_answered_is_one_message_z13() -> None:
    switch = executing(a_switch_command())
    outcome = decided(an_aggregate(switch, agent={"last_heartbeat_at": later(1_200)}), upkeep.pass_time, later(1_200))
    assert [kind for kind in kinds(outcome) if kind != "agent_marked_offline"] == ["switch_failed"]
    (lapsed,) = told(outcome, K.COMMAND_UNDELIVERABLE)
    assert lapsed.facts["told_by"] == "switch_failed"


def test_12_1_a_chain_whose_launch_failed_is_one_message_of_the_switch_sw9() -> None:
    aggregate, launch = a_chain()
    outcome = reported(aggregate, launch, message="no capacity")
    assert kinds(outcome) == ["switch_failed"]


def test_12_1_a_failed_launch_of_a_replica_is_one_message_of_the_replica_rp4() -> None:
    aggregate, launch = a_replica_launch()
    outcome = reported(aggregate, launch, message="no capacity")
    assert kinds(outcome) == ["replica_failed"]
    assert messages(outcome)[0].severity.value == "warning"
    assert messages(outcome)[0].message == "The replica of web failed: no capacity"


@pytest.mark.parametrize(
    ("fetched", "kind", "reason"),
    [(False, K.COMMAND_EXPIRED, "not fetched in time"), (True, K.COMMAND_UNDELIVERABLE, "undeliverable")],
)
@pytest.mark.parametrize("by_job", [True, False])
def test_12_1_a_launch_of_a_replica_that_nobody_fetched_or_answered_is_one_message_of_the_replica_cm5_z13(
    fetched: bool, kind: EventKind, reason: str, by_job: bool
) -> None:
    target = a_machine("r", InstanceStatus.LAUNCHING, cloud_id=None, confirmed_at=None, created_at=START)
    launch = a_command(CommandKind.LAUNCH, Origin.MANUAL_MODE, target_instance_id="r")
    replica = a_replica(state=ReplicaState.LAUNCHING, created_at=START)
    aggregate = an_aggregate(target, executing(launch) if fetched else launch, replica, build=Build.V5)
    at = later(900)  # of both: the TTL of 900 s and the lease of 360 s are over
    rule = upkeep.pass_time if by_job else lambda change: dispatch.hand_out(change, Dialect.MODERN)
    outcome = decided(evolve(aggregate, agent=evolve(aggregate.agent, last_heartbeat_at=at)), rule, at)
    assert kinds(outcome) == ["replica_failed"]
    assert messages(outcome)[0].message == f"The replica of web failed: {reason}"
    (ended,) = told(outcome, kind)  # the audit log has both
    assert (ended.facts["told_by"], ended.facts["command_id"]) == ("replica_failed", launch.command_id)


@pytest.mark.parametrize(("fetched", "said"), [(False, ["command_expired"]), (True, ["switch_failed"])])
def test_12_1_a_chain_that_nobody_fetched_or_answered_is_one_message_cm5_z13(fetched: bool, said: list[str]) -> None:
    aggregate, launch = a_chain()
    waiting = evolve(launch, state=CommandState.PENDING, leased_until=None, delivered_at=None, deliveries=0)
    at = later(900)
    commands = {launch.command_id: launch if fetched else waiting}
    agent = evolve(aggregate.agent, last_heartbeat_at=at)
    outcome = decided(evolve(aggregate, commands=commands, agent=agent), upkeep.pass_time, at)
    assert kinds(outcome) == said


def test_12_1_a_failure_that_no_other_row_covers_still_tells_of_its_command() -> None:
    ending = executing(a_command(CommandKind.TERMINATE, Origin.OPERATOR, target_instance_id="z"))
    machine = a_machine("z", InstanceStatus.TERMINATING)
    outcome = reported(an_aggregate(machine, ending, build=Build.V5), ending, message="denied")
    assert kinds(outcome) == ["command_failed"]
    assert messages(outcome)[0].message == "Command terminate_instance of web failed: denied"
    assert messages(outcome)[0].severity.value == "error"


def test_12_1_the_silence_is_of_that_command_alone() -> None:
    switch, other = executing(a_switch_command()), a_command(CommandKind.TERMINATE, Origin.OPERATOR, "other")

    def rule(change: Change) -> None:
        dispatch.fail(change, executing(other), "something else")
        reports.command_result(change, CommandReport(command="k", success=False))

    assert kinds(decided(an_aggregate(switch), rule)) == ["command_failed", "switch_failed"]


@pytest.mark.parametrize(
    ("kind", "severity", "why"),
    [
        (CommandKind.PROMOTE, "warning", "setting tags failed"),  # 1.2: of its PROMOTE (tags) only a warning
        (CommandKind.APPLY_CONFIG, "error", "the agent reported a failure"),
        (CommandKind.SELF_DESTRUCT, "error", "the agent reported a failure"),
    ],
)
def test_1_2_a_failed_promote_is_only_a_warning(kind: CommandKind, severity: str, why: str) -> None:
    command = executing(a_command(kind, target_instance_id="m"))
    aggregate = an_aggregate(command, build=Build.V5)
    outcome = reported(aggregate, command)
    assert outcome.after.commands[command.command_id].state is CommandState.FAILED
    assert outcome.after.commands[command.command_id].failure_reason == why
    assert [message.severity.value for message in messages(outcome)] == [severity]
    (event,) = told(outcome, K.COMMAND_FAILED)
    assert event.level is not None
    assert event.level.value == severity
    assert outcome.after.agent.primary_id == aggregate.agent.primary_id  # never undone


@pytest.mark.parametrize("status", [InstanceStatus.ZOMBIE, InstanceStatus.TERMINATING])
def test_e56_a_success_is_audited_as_instance_terminated_and_told_once(status: InstanceStatus) -> None:
    aggregate = an_aggregate(a_machine("z", status))
    outcome = ended(aggregate, "i-0z")
    (said,) = told(outcome, K.INSTANCE_TERMINATED)
    assert said.level is not None
    assert (said.level.value, said.facts["machine"], said.instance_id) == ("info", "i-0z", "z")
    assert kinds(outcome) == ["instance_termination_confirmed"]
    assert outcome.after.instances[said.instance_id].status is InstanceStatus.TERMINATED


def ended(aggregate: Aggregate, machine: str, success: bool = True) -> Outcome:
    return decided(aggregate, lambda change: reports.termination_result(change, machine, success, None))


@pytest.mark.parametrize("status", [InstanceStatus.TERMINATED, InstanceStatus.RELEASED])
def test_e56_about_a_machine_that_is_gone_writes_nothing_again_gr4(status: InstanceStatus) -> None:
    assert ended(an_aggregate(a_machine("z", status)), "i-0z").events == ()


def test_e56_about_the_primary_is_no_end_but_a_critical_in26() -> None:
    outcome = ended(an_aggregate(), "i-0m")
    assert told(outcome, K.INSTANCE_TERMINATED) == []
    assert kinds(outcome)[0] == "primary_reported_terminated"


def test_e41_a_confirmation_is_audited_as_such_alone() -> None:
    aggregate = an_aggregate(a_machine("z", InstanceStatus.TERMINATING))
    outcome = decided(aggregate, confirm("z"))
    assert told(outcome, K.INSTANCE_TERMINATED) == []
    assert kinds(outcome) == ["instance_termination_confirmed"]


def confirm(name: str) -> Callable[[Change], Any]:
    return lambda change: reports.machine_ended(change, change.aggregate.instances[name])  # type: ignore[index]


def test_12_1_a_classic_poll_tells_people_nothing() -> None:
    outcome = decided(an_aggregate(a_switch_command()), lambda change: dispatch.hand_out(change, Dialect.CLASSIC))
    assert messages(outcome) == []
    assert len(told(outcome, K.COMMAND_HANDED_OUT)) == 1
