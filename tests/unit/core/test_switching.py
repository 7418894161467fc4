"""Section 1.6: what a switch report amounts to, whichever build sends it and whatever happened meanwhile."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import asdict, evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change, Outcome
from spotcore.commands import CommandKind, CommandState, Origin
from spotcore.events import EventKind
from spotcore.ids import CloudId, CommandId, InstanceId
from spotcore.instances import InstanceStatus
from spotcore.market import Market
from spotcore.placement import Placement, Via
from spotcore.pools import Mode
from spotcore.replicas import ReplicaState
from spotcore.reports import CommandReport, command_result
from spotcore.roles import ReportedPrices, change_primary
from spotcore.switches import Switch, SwitchState, SwitchTimes, SwitchTrigger
from spotcore.switching import MachineReport, SwitchReport, finish, judge_report, order, ordered
from tests.support.rule_builders import (
    POOL_B,
    PRIMARY,
    START,
    D,
    a_machine,
    a_market,
    a_replica,
    a_switch_command,
    an_aggregate,
    decided,
    executing,
    later,
    state_of,
    told,
    without_primary,
)

EMPTY = SwitchTimes()


def a_report(new: str = "n", old: str = "m", *, zone: str = "b", mode: Mode = Mode.SPOT, **facts: Any) -> SwitchReport:
    return SwitchReport(
        old=MachineReport(cloud_id=CloudId(f"i-0{old}"), mode=Mode.SPOT),
        new=MachineReport(
            cloud_id=CloudId(f"i-0{new}"), instance_type="m5.large", region="us-east-1", az=f"us-east-1{zone}", mode=mode
        ),
        **facts,
    )  # fmt: skip


def judged(
    aggregate: Aggregate, report: SwitchReport, at: float = 60, market: Market = Market(known=False)
) -> tuple[Aggregate, Switch, Outcome]:
    outcome = decided(aggregate, lambda change: judge_report(change, report), later(at), market)
    assert isinstance(outcome.answer, Switch)
    return outcome.after, outcome.answer, outcome


def a_running_switch(*rows: Any, build: Build = Build.V4C, origin: Origin = Origin.USER, **config: Any) -> Aggregate:
    return an_aggregate(executing(a_switch_command(origin=origin)), *rows, build=build, **config)


def overtaken(*rows: Any) -> Aggregate:
    """The standby has taken the role while the primary was switching."""
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="c")

    def rule(change: Change) -> None:
        change_primary(change, change.aggregate.instances[standby.instance_id], trigger=SwitchTrigger.EMERGENCY)

    return decided(a_running_switch(standby, *rows), rule, later(30)).after


# --- SW-4: the normal report ---------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [Build.V2, Build.V4C, Build.UNKNOWN])
@pytest.mark.parametrize("named", ["k", None])
def test_sw4_a_report_of_the_executing_switch_moves_the_role_in_one_step(build: Build, named: str | None) -> None:
    after, switch, outcome = judged(a_running_switch(build=build), a_report(command_id=named))
    primary = after.primary
    assert primary is not None
    assert primary.cloud_id == "i-0n"
    assert after.instances[PRIMARY].status is InstanceStatus.ZOMBIE
    assert state_of(after) is CommandState.COMPLETED
    assert (switch.state, switch.trigger, switch.command_id) == (SwitchState.COMPLETED, SwitchTrigger.MANUAL, "k")
    assert (switch.old_pool_id, switch.new_pool_id, switch.unsolicited) == ("m5.large.us-east-1a", POOL_B, False)
    assert [row.ended_at for row in after.periods] == [later(60), None]  # PR-4, PR-5
    assert len(told(outcome, EventKind.SWITCH_COMPLETED)) == 1


def test_sw4_the_current_primary_is_demoted_whatever_the_report_calls_old() -> None:
    host = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="c")
    standby = a_replica(state=ReplicaState.READY)
    aggregate = a_running_switch(host, standby, auto_switch_enabled=False, manual_replica_enabled=True)
    after, switch, _ = judged(aggregate, a_report(old="r"))
    assert switch.old_cloud_id == "i-0m"
    assert after.instances[PRIMARY].status is InstanceStatus.ZOMBIE


@pytest.mark.parametrize(("command_id", "trigger"), [(None, "scheduled"), ("unheard-of", "manual")])
def test_sw7_a_report_nobody_asked_for_counts_when_old_is_the_primary_and_says_so(
    command_id: str | None, trigger: str
) -> None:
    report = a_report(command_id=command_id, trigger=SwitchTrigger(trigger))
    after, switch, _ = judged(an_aggregate(), report)
    assert after.machine("i-0n") == after.primary
    assert (switch.unsolicited, switch.trigger, switch.command_id) == (True, SwitchTrigger(trigger), None)


def test_sw7_a_report_of_an_unknown_command_from_elsewhere_takes_no_role() -> None:
    after, switch, _ = judged(an_aggregate(), a_report(old="elsewhere", command_id="unheard-of"))
    assert after.agent.primary_id == PRIMARY
    assert switch.state is SwitchState.SUPERSEDED


@pytest.mark.parametrize(
    ("trigger", "kept"), [("auto", SwitchTrigger.AUTO), ("scheduled", SwitchTrigger.SCHEDULED)], ids=str
)
def test_sw2_gr9_the_trigger_is_the_commands_and_not_the_reporters(trigger: str, kept: SwitchTrigger) -> None:
    command = executing(a_switch_command(trigger=trigger))
    _, switch, _ = judged(an_aggregate(command), a_report(trigger=SwitchTrigger.MANUAL))
    assert switch.trigger is kept


@pytest.mark.parametrize(
    ("zone", "mode", "matches"),
    [("b", Mode.SPOT, True), ("c", Mode.SPOT, False), ("b", Mode.ONDEMAND, False), ("b", Mode.UNKNOWN, True)],
)
def test_e75_without_a_command_id_the_executing_switch_with_the_same_target_is_meant(
    zone: str, mode: Mode, matches: bool
) -> None:
    _, switch, _ = judged(a_running_switch(), a_report(zone=zone, mode=mode))
    assert (switch.command_id == "k") is matches


def test_e75_a_switch_that_was_never_fetched_is_not_guessed() -> None:
    _, switch, _ = judged(an_aggregate(a_switch_command()), a_report())
    assert (switch.command_id, switch.unsolicited) == (None, True)


@pytest.mark.parametrize(
    ("ended_at", "status"), [(later(50), InstanceStatus.TERMINATED), (None, InstanceStatus.ZOMBIE)], ids=["ended", "kept"]
)  # fmt: skip
def test_sw8_the_old_machine_has_ended_only_when_the_report_says_when(
    ended_at: datetime | None, status: InstanceStatus
) -> None:
    after, _, _ = judged(a_running_switch(), a_report(times=SwitchTimes(old_ended_at=ended_at)))
    assert after.instances[PRIMARY].status is status


# --- SW-5: the duplicate -------------------------------------------------------------------------------------


@given(copies=st.integers(2, 5))
def test_sw5_a_report_counts_once_however_often_it_comes_failure_63(copies: int) -> None:
    report = a_report(prices=ReportedPrices(old_spot=D("0.05"), new_spot=D("0.03")))
    aggregate = a_running_switch()
    totals, records = [], []
    for copy in range(copies):
        aggregate, switch, _ = judged(aggregate, report, at=60 + copy)
        totals.append(aggregate.client.total_savings)
        records.append(switch.switch_id)
    assert totals == [D("0.48")] * copies  # 0.02 $/h × 24, once
    assert len(set(records)) == len(aggregate.switches) == 1


def test_sw5_z21_a_switch_that_registration_has_finished_is_enriched_by_its_report() -> None:
    command = executing(a_switch_command())
    bound = a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)
    market = a_market(a="0.05", b="0.03")
    done = decided(an_aggregate(command, bound), lambda ch: finish(ch, bound, command), later(40), market).after
    credited = done.client.total_savings
    times = SwitchTimes(image_created_at=later(5), old_ended_at=later(55))
    after, switch, outcome = judged(done, a_report(times=times, downtime_seconds=D("1.5")))
    assert (switch.times.image_created_at, switch.times.old_ended_at) == (later(5), later(55))
    assert (switch.times.initiated_at, switch.times.ready_at) == (START, later(40))  # known ones are kept
    assert (switch.downtime_seconds, switch.reported) == (D("1.5"), True)
    assert after.client.total_savings == credited == D("0.48")
    assert after.instances[PRIMARY].status is InstanceStatus.TERMINATED  # IN-13
    assert len(after.switches) == 1
    assert told(outcome, EventKind.SWITCH_COMPLETED) == []


@pytest.mark.parametrize("skew", [41, 55, 3_600])
def test_sw5_a_report_fills_what_is_null_and_takes_nothing_away(skew: int) -> None:
    """An agent's clock may run ahead: its launch then seems to follow the server's own ``ready``."""
    command = executing(a_switch_command())
    bound = a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)
    done = decided(an_aggregate(command, bound), lambda change: finish(change, bound, command), later(40)).after
    _, switch, _ = judged(done, a_report(times=SwitchTimes(launched_at=later(skew))))
    assert switch.times.ready_at == later(40)
    assert switch.times.launched_at is None  # it would break SW-3


def test_sw5_the_enriching_report_is_taken_once() -> None:
    aggregate, first, _ = judged(a_running_switch(), a_report(downtime_seconds=D(3)))
    _, again, outcome = judged(aggregate, a_report(downtime_seconds=D(99)), at=90)
    assert again == first
    assert told(outcome, EventKind.SWITCH_ENRICHED) == []


def test_sw5_a_report_that_names_the_first_machine_as_new_moves_and_credits_nothing() -> None:
    after, switch, _ = judged(an_aggregate(), a_report(new="m", old="before"))
    assert after.agent.primary_id == PRIMARY
    assert (switch.state, switch.credited) == (SwitchState.SUPERSEDED, 0)


# --- SW-6: overtaken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [False, True], ids=["unknown machine", "registered machine"])
def test_sw6_a_report_of_an_overtaken_switch_never_takes_the_role_back_failure_41(bound: bool) -> None:
    rows = [a_machine("n", InstanceStatus.LAUNCHING, zone="b")] if bound else []
    after, switch, outcome = judged(overtaken(*rows), a_report())
    assert after.agent.primary_id == InstanceId("r")
    late = after.machine("i-0n")
    assert late is not None
    assert late.status is InstanceStatus.ZOMBIE
    assert (switch.state, switch.savings_impact, switch.credited) == (SwitchState.SUPERSEDED, None, 0)
    assert after.client.total_savings == 0
    assert len(told(outcome, EventKind.SWITCH_SUPERSEDED)) == 1


@pytest.mark.parametrize("status", [InstanceStatus.ZOMBIE, InstanceStatus.TERMINATING, InstanceStatus.TERMINATED])
def test_1_3_a_machine_that_was_retired_never_becomes_primary_by_a_report(status: InstanceStatus) -> None:
    after, switch, _ = judged(a_running_switch(a_machine("n", status, zone="b")), a_report())
    assert after.agent.primary_id == PRIMARY
    assert switch.state is SwitchState.SUPERSEDED


def test_id6_a_superseded_report_that_repeats_itself_tells_nobody_twice() -> None:
    aggregate, first, _ = judged(overtaken(), a_report())
    after, again, outcome = judged(aggregate, a_report(), at=90)
    assert again.switch_id == first.switch_id
    assert set(after.switches) == set(aggregate.switches)
    assert told(outcome, EventKind.SWITCH_SUPERSEDED) == []


# --- SW-9: failed --------------------------------------------------------------------------------------------


def test_sw9_a_report_of_failure_leaves_the_primary_counts_and_starts_the_cooldown() -> None:
    command = executing(a_switch_command())
    bound = a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)
    failure = a_report(success=False, command_id="k", error_message="no capacity")
    after, switch, outcome = judged(an_aggregate(command, bound), failure)
    assert after.agent.primary_id == PRIMARY
    assert after.instances[bound.instance_id].status is InstanceStatus.TERMINATING
    assert (switch.state, switch.reason, state_of(after)) == (SwitchState.FAILED, "no capacity", CommandState.FAILED)
    assert after.agent.last_switch_at == later(60)
    assert len(told(outcome, EventKind.SWITCH_FAILED)) == 1


def test_id6_a_report_of_failure_that_repeats_itself_neither_counts_nor_restarts_the_cooldown_failure_49() -> None:
    failure = a_report(success=False, command_id="k", error_message="no capacity")
    aggregate, first, _ = judged(a_running_switch(), failure)
    after, again, outcome = judged(aggregate, failure, at=3_600)
    assert again.switch_id == first.switch_id
    assert len(after.switches) == 1
    assert after.agent.last_switch_at == later(60)
    assert told(outcome, EventKind.SWITCH_FAILED) == []


def test_id6_a_failure_of_another_switch_is_another_failure_even_when_it_names_the_same_machine() -> None:
    first, _, _ = judged(a_running_switch(), a_report(success=False, command_id="k"))
    second = executing(a_switch_command(name="k2"), later(120))
    again = evolve(first, commands={**first.commands, second.command_id: second})
    after, switch, outcome = judged(again, a_report(success=False, command_id="k2"), at=180)
    assert (len(after.switches), switch.command_id) == (2, "k2")
    assert after.agent.last_switch_at == later(180)
    assert len(told(outcome, EventKind.SWITCH_FAILED)) == 1


def test_sw9_a_failure_told_by_result_and_again_by_report_is_one_failure() -> None:
    told_first = CommandReport(command="k", success=False, message="no capacity")
    failed = decided(a_running_switch(), lambda change: command_result(change, told_first), later(30)).after
    after, switch, outcome = judged(failed, a_report(success=False, command_id="k", error_message="no capacity"))
    assert [row.switch_id for row in after.switches.values()] == [switch.switch_id]
    assert after.agent.last_switch_at == later(30)
    assert told(outcome, EventKind.SWITCH_FAILED) == []


# --- SW-1, SW-3: times ---------------------------------------------------------------------------------------

STEPS = ("initiated_at", "image_created_at", "launched_at", "ready_at", "old_ended_at")
offsets = st.none() | st.integers(0, 100)


@given(st.tuples(*[offsets] * 5))
def test_sw3_kept_times_are_in_order_are_the_reported_ones_and_are_never_made_up(given: tuple[int | None, ...]) -> None:
    reported = SwitchTimes(**{n: later(s) if s is not None else None for n, s in zip(STEPS, given, strict=True)})
    kept = ordered(reported)
    known = [at for name in STEPS if (at := getattr(kept, name)) is not None]
    assert known == sorted(known)
    assert all(getattr(kept, name) in (None, getattr(reported, name)) for name in STEPS)
    assert ordered(kept) == kept
    if list(given) == sorted(given, key=lambda one: -1 if one is None else one) and None not in given:
        assert kept == reported


def test_sw3_a_time_that_lies_before_an_earlier_step_is_dropped_and_the_rest_stays() -> None:
    reported = SwitchTimes(initiated_at=later(10), launched_at=later(5), ready_at=later(20))
    assert ordered(reported) == SwitchTimes(initiated_at=later(10), ready_at=later(20))


@pytest.mark.parametrize(
    ("given", "ready", "moved", "downtime"),
    [
        (D("2.5"), 10, 40, D("2.5")),  # given wins
        (D(0), 10, 40, D(0)),  # and 0 is a figure, not a blank (GR-7)
        (None, 10, 40, D(30)),
        (None, 10, 10, D(0)),
        (None, 40, 10, None),  # out of order: unknown
        (None, None, 40, None),
        (None, 10, None, None),
        (None, None, None, None),
    ],
)
def test_sw1_downtime_is_given_or_derived_or_unknown_gr7(
    given: Decimal | None, ready: int | None, moved: int | None, downtime: Decimal | None
) -> None:
    times = SwitchTimes(
        ready_at=later(ready) if ready is not None else None,
        traffic_switched_at=later(moved) if moved is not None else None,
    )
    _, switch, _ = judged(a_running_switch(), a_report(times=times, downtime_seconds=given))
    assert switch.downtime_seconds == downtime


@pytest.mark.parametrize(("since", "downtime"), [(0, D(60)), (59.5, D("0.5"))])
def test_sw1_else_downtime_is_the_time_the_agent_had_no_primary(since: float, downtime: Decimal) -> None:
    aggregate = without_primary(a_running_switch(), later(since))
    _, switch, _ = judged(aggregate, a_report(command_id="k"))
    assert switch.downtime_seconds == downtime
    assert switch.old_cloud_id is None


def test_sw1_a_record_holds_both_sides_of_the_change() -> None:
    market = a_market(a="0.05", b="0.03")
    _, switch, _ = judged(a_running_switch(), a_report(times=EMPTY), market=market)
    facts = asdict(switch)
    assert (facts["old_cloud_id"], facts["new_cloud_id"]) == ("i-0m", "i-0n")
    assert (facts["old_mode"], facts["new_mode"]) == (Mode.SPOT, Mode.SPOT)
    assert (facts["old_price"], facts["new_price"], facts["ondemand_price"]) == (D("0.05"), D("0.03"), D("0.10"))
    assert switch.recorded_at == later(60)  # SW-3: history is in the order of receipt
    assert switch.times == EMPTY  # never padded with now


def test_z21_a_later_poll_of_the_same_switch_finds_it_finished() -> None:
    after, _, _ = judged(a_running_switch(), a_report())
    assert [command.state for command in after.open_commands] == []


# --- asking for a switch -------------------------------------------------------------------------------------

IN_B = Placement(mode=Mode.SPOT, pool_id=POOL_B, az="us-east-1b", instance_type="m5.large", via=Via.SWITCH_COMMAND)


@pytest.mark.parametrize(
    ("origin", "auto_terminate", "asked", "old_ends", "wait"),
    [
        (Origin.USER, True, None, True, 300),
        (Origin.USER, False, None, False, 0),
        (Origin.USER, True, False, False, 0),
        (Origin.USER, False, True, True, 300),
        (Origin.DECISION, True, None, True, 300),
        (Origin.EMERGENCY, True, None, False, 0),  # Z19
        (Origin.EMERGENCY, True, True, False, 0),
    ],
)
def test_cm9_whether_the_old_machine_ends_is_a_field_of_its_own_and_0_seconds_say_the_same_failure_40(
    origin: Origin, auto_terminate: bool, asked: bool | None, old_ends: bool, wait: int
) -> None:
    change = Change(an_aggregate(auto_terminate_enabled=auto_terminate), START)
    command = order(change, IN_B, origin, SwitchTrigger.MANUAL, terminate_old=asked)
    assert (command.kind, command.terminate_old, command.terminate_wait_seconds) == (CommandKind.SWITCH, old_ends, wait)


def test_3_4_a_modern_switch_is_a_chain_that_begins_with_a_launch() -> None:
    change = Change(an_aggregate(build=Build.V5), START)
    command = order(change, evolve(IN_B, via=Via.LAUNCH_COMMAND), Origin.USER, SwitchTrigger.MANUAL)
    assert (command.kind, command.makes_primary, command.target_pool_id) == (CommandKind.LAUNCH, True, POOL_B)
    row = change.aggregate.instances[InstanceId(str(command.target_instance_id))]
    assert (row.status, row.cloud_id, row.pool_id) == (InstanceStatus.LAUNCHING, None, POOL_B)


def test_i4_a_promotion_cancels_the_switch_that_is_in_flight() -> None:
    after = overtaken()
    assert after.commands[CommandId("k")].state is CommandState.CANCELLED
    assert after.role_change_in_flight is None


def test_in7_the_wait_of_the_old_machine_counts_from_its_demotion() -> None:
    after, _, _ = judged(a_running_switch(), a_report())
    assert after.instances[PRIMARY].zombie_since == later(60)
