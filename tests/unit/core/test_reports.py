"""What agents say of their commands: judged once, late words noted and nothing more (CM-6)."""

from itertools import product

import pytest
from attrs import evolve

from spotcore import dispatch
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change, Outcome
from spotcore.commands import Command, CommandKind, CommandState, Origin
from spotcore.events import EventKind
from spotcore.ids import CloudId
from spotcore.instances import InstanceStatus
from spotcore.reports import MAX_NOTES, CommandReport, command_result, launched
from spotcore.roles import change_primary
from spotcore.standby import MachineFacts
from spotcore.switches import SwitchState, SwitchTrigger
from tests.support.rule_builders import (
    PRIMARY,
    a_command,
    a_machine,
    a_replica,
    a_switch_command,
    an_aggregate,
    decided,
    executing,
    later,
    state_of,
    told,
)

K, O = CommandKind, Origin  # noqa: E741
NEW = MachineFacts(cloud_id=CloudId("i-0new"))


def reported(
    aggregate: Aggregate, success: bool | None, *, name: str = "k", machine: MachineFacts | None = None, at: float = 60
) -> Outcome:
    """The outcome of one result."""
    report = CommandReport(command=name, success=success, machine=machine, message="why")
    return decided(aggregate, lambda change: command_result(change, report), later(at))


@pytest.mark.parametrize(
    ("state", "success"),
    list(product([CommandState.COMPLETED, CommandState.FAILED, CommandState.EXPIRED, CommandState.CANCELLED],
                 [True, False, None])),
)  # fmt: skip
@pytest.mark.parametrize("kind", [K.PROMOTE, K.TERMINATE, K.SWITCH])
def test_cm6_a_terminal_command_keeps_its_first_result_failure_37(
    kind: CommandKind, state: CommandState, success: bool | None
) -> None:
    command = a_command(kind, state=state, failure_reason="first")
    outcome = reported(an_aggregate(command), success)
    assert isinstance(outcome.answer, Command)
    assert (outcome.answer.state, outcome.answer.failure_reason) == (state, "first")
    agrees = (state is CommandState.COMPLETED) == (success is not False)
    assert (outcome.answer.notes == ()) is agrees
    assert outcome.after.agent.primary_id == PRIMARY
    assert outcome.after.switches == {}


def test_cm6_notes_of_late_reports_do_not_grow_without_end() -> None:
    aggregate = an_aggregate(a_command(K.PROMOTE, state=CommandState.COMPLETED))
    for _ in range(MAX_NOTES + 5):
        aggregate = reported(aggregate, False).after
    assert [len(command.notes) for command in aggregate.commands.values()] == [MAX_NOTES]


def test_cm6_an_unknown_command_is_answered_with_nothing_and_changes_nothing() -> None:
    outcome = reported(an_aggregate(), True, name="never heard of")
    assert outcome.answer is None
    assert not outcome.events


@pytest.mark.parametrize("name", ["k", "q-k"])
def test_cm6_a_command_is_named_by_its_id_or_its_request_id(name: str) -> None:
    outcome = reported(an_aggregate(executing(a_command(K.PROMOTE, O.EMERGENCY))), True, name=name)
    assert state_of(outcome.after) is CommandState.COMPLETED


@pytest.mark.parametrize("state", [CommandState.PENDING, CommandState.EXECUTING])
@pytest.mark.parametrize(
    ("success", "wanted"), [(True, "completed"), (None, "completed"), (False, "failed")], ids=["yes", "ack", "no"]
)
@pytest.mark.parametrize("kind", [K.PROMOTE, K.APPLY_CONFIG, K.SELF_DESTRUCT])
def test_cm6_a_report_is_taken_from_executing_and_from_pending(
    kind: CommandKind, success: bool | None, wanted: str, state: CommandState
) -> None:
    assert state_of(reported(an_aggregate(a_command(kind, state=state)), success).after).value == wanted


def test_cm6_a_machine_launched_by_a_command_given_up_gets_a_row_that_is_to_end() -> None:
    command = a_command(K.LAUNCH, O.MANUAL_MODE, state=CommandState.CANCELLED)
    outcome = reported(an_aggregate(command, build=Build.V5), True, machine=NEW)
    stray = outcome.after.machine("i-0new")
    assert stray is not None
    assert stray.status is InstanceStatus.TERMINATING
    assert state_of(outcome.after) is CommandState.CANCELLED


def test_cm6_a_late_launch_of_a_machine_that_is_known_changes_nothing() -> None:
    command = a_command(K.LAUNCH, O.MANUAL_MODE, state=CommandState.COMPLETED)
    facts = MachineFacts(cloud_id=CloudId("i-0m"))
    outcome = reported(an_aggregate(command, build=Build.V5), True, machine=facts)
    assert set(outcome.after.instances) == {PRIMARY}
    assert outcome.after.agent.primary_id == PRIMARY


# --- a switch and its acknowledgement (T19) ------------------------------------------------------------------


def a_running_switch(*, arrived: bool) -> Aggregate:
    command = executing(a_switch_command())
    rows = [a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)] if arrived else []
    return an_aggregate(command, *rows)


@pytest.mark.parametrize(
    ("arrived", "success", "state", "primary"),
    [
        (False, True, "executing", "m"),  # success said, the machine still to come: the lease decides
        (False, None, "failed", "m"),  # v2 acknowledges even a switch that failed
        (False, False, "failed", "m"),
        (True, True, "completed", "n"),
        (True, None, "executing", "m"),
        (True, False, "failed", "m"),
    ],
)
def test_t19_an_acknowledged_switch_is_done_only_when_its_machine_has_shown_up(
    arrived: bool, success: bool | None, state: str, primary: str
) -> None:
    after = reported(a_running_switch(arrived=arrived), success).after
    assert state_of(after).value == state
    assert after.agent.primary_id == primary


@pytest.mark.parametrize("arrived", [False, True])
def test_sw9_a_switch_reported_as_failed_keeps_the_primary_ends_the_new_machine_and_starts_the_cooldown(
    arrived: bool,
) -> None:
    outcome = reported(a_running_switch(arrived=arrived), False)
    (switch,) = outcome.after.switches.values()
    assert (switch.state, switch.new_pool_id, switch.reason) == (SwitchState.FAILED, "m5.large.us-east-1b", "why")
    assert outcome.after.agent.last_switch_at == later(60)
    new = outcome.after.machine("i-0n")
    assert (new.status if new else None) is (InstanceStatus.TERMINATING if arrived else None)
    assert len(told(outcome, EventKind.SWITCH_FAILED)) == 1


def test_1_5_an_acknowledged_switch_is_not_handed_out_again_and_fails_with_its_lease() -> None:
    acknowledged = reported(a_running_switch(arrived=False), True).after
    waiting = decided(acknowledged, dispatch.pass_time, later(1_199)).after
    assert state_of(waiting) is CommandState.EXECUTING
    assert state_of(decided(waiting, dispatch.pass_time, later(1_200)).after) is CommandState.FAILED


# --- a launch ------------------------------------------------------------------------------------------------


def a_chain(*, makes_primary: bool) -> Aggregate:
    target = a_machine("n", InstanceStatus.LAUNCHING, zone="b", cloud_id=None, confirmed_at=None)
    command = executing(
        a_command(K.LAUNCH, O.USER, target_instance_id=target.instance_id, makes_primary=makes_primary, trigger="manual")
    )  # fmt: skip
    return an_aggregate(target, command, build=Build.V5)


def test_1_2_a_modern_switch_moves_the_role_when_its_launch_is_confirmed_failure_47() -> None:
    after = reported(a_chain(makes_primary=True), True, machine=NEW).after
    primary = after.primary
    assert primary is not None
    assert (primary.cloud_id, primary.instance_id) == ("i-0new", "n")
    assert after.instances[PRIMARY].status is InstanceStatus.ZOMBIE
    (switch,) = after.switches.values()
    assert (switch.state, switch.command_id) == (SwitchState.COMPLETED, "k")


@pytest.mark.parametrize("success", [True, False, None], ids=["success without a machine", "failure", "ack"])
def test_sw9_a_chain_whose_launch_brought_no_machine_has_failed(success: bool | None) -> None:
    after = reported(a_chain(makes_primary=True), success).after
    assert after.agent.primary_id == PRIMARY
    assert [row.state for row in after.switches.values()] == [SwitchState.FAILED]
    assert after.instances["n"].status is InstanceStatus.TERMINATED  # type: ignore[index]
    assert after.agent.last_switch_at == later(60)


@pytest.mark.parametrize(
    ("ends", "counts"),
    [(CommandState.EXPIRED, False), (CommandState.CANCELLED, False), (CommandState.FAILED, True)],
)
def test_sw9_only_a_chain_that_was_tried_and_failed_is_a_failed_switch(ends: CommandState, counts: bool) -> None:
    """A command nobody fetched, or that was withdrawn, was never tried: no record, no cooldown, no limit."""
    aggregate = a_chain(makes_primary=True)
    (command,) = aggregate.commands.values()
    ended = evolve(aggregate, commands={command.command_id: evolve(command, state=ends, failure_reason="why")})
    after = decided(ended, dispatch.pass_time, later(90)).after
    assert after.instances["n"].status is InstanceStatus.TERMINATED  # type: ignore[index]
    assert [row.state for row in after.switches.values()] == ([SwitchState.FAILED] if counts else [])
    assert after.agent.last_switch_at == (later(90) if counts else None)


def test_pr6_a_promotion_that_cancels_a_chain_leaves_one_switch_record_its_own() -> None:
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="c")
    aggregate = a_chain(makes_primary=True)
    aggregate = evolve(aggregate, instances={**aggregate.instances, standby.instance_id: standby})

    def rule(change: Change) -> None:
        change_primary(change, standby, trigger=SwitchTrigger.MANUAL_PROMOTION)

    after = decided(aggregate, rule, later(60)).after
    assert state_of(after) is CommandState.CANCELLED
    assert [(row.state, row.trigger) for row in after.switches.values()] == [
        (SwitchState.COMPLETED, SwitchTrigger.MANUAL_PROMOTION)
    ]
    late = reported(after, True, machine=NEW, at=90).after  # it comes up all the same: nobody owns it
    stray = late.machine("i-0new")
    assert stray is not None
    assert stray.status is InstanceStatus.TERMINATING


def test_id6_a_repeated_launch_result_is_no_second_machine_failure_42() -> None:
    first = reported(a_chain(makes_primary=True), True, machine=NEW).after
    again = reported(first, True, machine=NEW, at=90).after
    assert set(again.instances) == set(first.instances)
    assert set(again.switches) == set(first.switches)


def test_1_3_a_launch_nobody_needs_any_more_is_ended_at_once() -> None:
    after = reported(a_chain(makes_primary=False), True, machine=NEW).after
    assert after.instances["n"].status is InstanceStatus.TERMINATING  # type: ignore[index]
    assert after.agent.primary_id == PRIMARY


def test_rp10_a_launch_confirmed_with_another_id_makes_the_other_machine_a_stray() -> None:
    aggregate = an_aggregate(a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b"), a_replica())

    def rule(change: Change) -> None:
        launched(change, change.aggregate.instances["r"], NEW, None)  # type: ignore[index]

    after = decided(aggregate, rule).after
    stray = after.machine("i-0new")
    assert stray is not None
    assert stray.status is InstanceStatus.TERMINATING
    assert after.instances["r"].cloud_id == "i-0r"  # type: ignore[index]


# --- a termination -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("success", "status", "command", "failures"),
    [
        (True, InstanceStatus.TERMINATED, CommandState.COMPLETED, 0),
        (None, InstanceStatus.TERMINATED, CommandState.COMPLETED, 0),
        (False, InstanceStatus.TERMINATING, CommandState.FAILED, 1),
    ],
)
def test_in10_in25_a_termination_result_ends_the_machine_or_counts_an_attempt(
    success: bool | None, status: InstanceStatus, command: CommandState, failures: int
) -> None:
    machine = a_machine("z", InstanceStatus.TERMINATING)
    order = executing(a_command(K.TERMINATE, O.OPERATOR, target_instance_id=machine.instance_id))
    after = reported(an_aggregate(machine, order), success).after
    row = after.instances[machine.instance_id]
    assert (row.status, row.end_failures, state_of(after)) == (status, failures, command)
