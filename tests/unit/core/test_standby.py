"""Replicas in motion: deadlines, reports, readiness and promotion (RP-2…RP-15, PR-2…PR-7, IN-9)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from spotcore import replicas, reports, standby, upkeep
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change, Outcome
from spotcore.commands import CommandKind, CommandState
from spotcore.errors import ReplicaNotPromotable, ReplicaNotReady
from spotcore.events import EventKind
from spotcore.ids import CloudId, InstanceId, ReplicaId
from spotcore.incidents import Severity
from spotcore.instances import InstanceStatus
from spotcore.replicas import Replica, ReplicaEnd, ReplicaState
from spotcore.reports import ReplicaStatusReport
from spotcore.standby import MachineFacts
from spotcore.switches import SwitchTrigger
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

S = ReplicaState
REPLICA, STANDBY = ReplicaId("rep-r"), InstanceId("r")
CLASSIC = [Build.V4C, Build.UNKNOWN]
NEW = MachineFacts(cloud_id=CloudId("i-0new"))
MACHINE_OF = {
    S.LAUNCHING: InstanceStatus.LAUNCHING,
    S.SYNCING: InstanceStatus.RUNNING_REPLICA,
    S.READY: InstanceStatus.RUNNING_REPLICA,
    S.PROMOTED: InstanceStatus.ZOMBIE,
    S.TERMINATED: InstanceStatus.TERMINATED,
    S.FAILED: InstanceStatus.TERMINATING,
}


def with_replica(state: ReplicaState, *rows: Any, build: Build = Build.V4C, **facts: Any) -> Aggregate:
    """A primary that is heard of for hours, and a replica in that state with the machine that fits it."""
    bare = {"cloud_id": None, "confirmed_at": None, "created_at": later(0)} if state is S.LAUNCHING else {}
    machine = a_machine("r", MACHINE_OF[state], zone="b", **bare)
    known = {"created_at": later(0), "syncing_at": None if state is S.LAUNCHING else later(0), **facts}
    return an_aggregate(
        machine, a_replica("r", state=state, **known), *rows, build=build, auto_switch_enabled=False,
        agent={"last_heartbeat_at": later(50_000)},
    )  # fmt: skip


def passed(aggregate: Aggregate, at: float) -> Outcome:
    return decided(aggregate, upkeep.pass_time, later(at))


def replica_of(outcome: Outcome) -> Replica:
    return outcome.after.replicas[REPLICA]


def started(aggregate: Aggregate, facts: MachineFacts = NEW, at: float = 60) -> Outcome:
    return decided(
        aggregate, lambda change: standby.machine_started(change, change.aggregate.replicas[REPLICA], facts), later(at)
    )


def promoted(aggregate: Aggregate, at: float = 10, *, keep: bool = False) -> Outcome:
    def rule(change: Change) -> None:
        replica = change.aggregate.replicas[REPLICA]
        standby.require_promotable(change, replica)
        standby.promote(
            change, replica, SwitchTrigger.MANUAL_PROMOTION,
            keep_old_as_replica=keep and standby.may_keep_old(change, replica),
        )  # fmt: skip

    return decided(aggregate, rule, later(at))


@pytest.mark.parametrize(("build", "state"), [(Build.V4C, S.SYNCING), (Build.UNKNOWN, S.SYNCING), (Build.V5, S.READY)])
def test_rp2_a_machine_with_a_name_syncs_and_a_v5_s_is_ready_with_it_z30(build: Build, state: ReplicaState) -> None:
    outcome = started(with_replica(S.LAUNCHING, build=build))
    assert replica_of(outcome).state is state
    row = outcome.after.instances[STANDBY]
    assert (row.status, row.cloud_id, row.confirmed_at) == (InstanceStatus.RUNNING_REPLICA, "i-0new", later(60))  # IN-2
    assert len(told(outcome, EventKind.REPLICA_READY)) == (state is S.READY)


@pytest.mark.parametrize(
    ("progress", "state"), [("99.9", S.SYNCING), ("100", S.READY), ("150", S.READY), (None, S.SYNCING)]
)
def test_rp3_full_progress_makes_a_syncing_replica_ready(progress: str | None, state: ReplicaState) -> None:
    said = Decimal(progress) if progress else None
    outcome = decided(
        with_replica(S.SYNCING),
        lambda change: standby.sync_report(
            change, change.aggregate.replicas[REPLICA], status="syncing", latency_ms=5, progress=said
        ),
        later(30),
    )
    assert (replica_of(outcome).state, replica_of(outcome).last_sync_at) == (state, later(30))


@pytest.mark.parametrize("build", CLASSIC)
@pytest.mark.parametrize(("at", "state"), [(299, S.LAUNCHING), (300, S.FAILED)])
def test_rp4_a_replica_without_machine_fails_after_300_s_in4(at: float, state: ReplicaState, build: Build) -> None:
    outcome = passed(with_replica(S.LAUNCHING, build=build), at)
    assert replica_of(outcome).state is state
    gone = state is S.FAILED
    assert outcome.after.instances[STANDBY].status is (
        InstanceStatus.TERMINATED if gone else InstanceStatus.LAUNCHING
    )  # IN-4: no machine came of it
    assert replica_of(outcome).end_reason is (ReplicaEnd.LAUNCH_FAILED if gone else None)


def test_rp4_while_a_launch_command_is_open_the_replica_waits_for_its_end_in4() -> None:
    launch = executing(a_command(CommandKind.LAUNCH, target_instance_id=STANDBY))
    before = with_replica(S.LAUNCHING, launch, build=Build.V5)
    assert replica_of(passed(before, 359)).state is S.LAUNCHING
    over = passed(before, 360)  # the lease of 360 s is over; nothing that launches is handed out twice (Z13)
    assert (state_of(over.after), replica_of(over).state) == (CommandState.FAILED, S.FAILED)


@pytest.mark.parametrize(("at", "state"), [(899, S.SYNCING), (900, S.FAILED)])
def test_rp5_a_replica_that_does_not_get_in_sync_fails_after_900_s_and_its_machine_ends_rp14(
    at: float, state: ReplicaState
) -> None:
    outcome = passed(with_replica(S.SYNCING), at)
    assert replica_of(outcome).state is state
    ends = state is S.FAILED
    assert outcome.after.instances[STANDBY].status is (
        InstanceStatus.TERMINATING if ends else InstanceStatus.RUNNING_REPLICA
    )


@pytest.mark.parametrize(
    ("last", "incident", "at", "state"),
    [
        (0, False, 299, S.READY),
        (0, False, 300, S.FAILED),
        (0, True, 300, S.READY),  # not while an incident is open
        (None, False, 40_000, S.READY),  # Z30: has never reported
    ],
)
def test_rp6_a_replica_that_has_synced_and_falls_silent_fails_after_300_s(
    last: float | None, incident: bool, at: float, state: ReplicaState
) -> None:
    rows = [an_incident("m", Severity.REBALANCE)] if incident else []
    before = with_replica(S.READY, *rows, last_sync_at=None if last is None else later(last))
    assert replica_of(passed(before, at)).state is state


FORWARD = {
    # reported -> states from which it moves, and to what (RP-10: only forward steps)
    S.READY: {S.SYNCING: S.READY},
    S.FAILED: {S.LAUNCHING: S.FAILED, S.SYNCING: S.FAILED, S.READY: S.FAILED},
    S.SYNCING: {},
    S.LAUNCHING: {},
    S.PROMOTED: {},
}


@pytest.mark.parametrize("state", list(ReplicaState))
@pytest.mark.parametrize("said", FORWARD)
def test_rp10_an_agent_moves_a_replica_forward_only_and_never_promotes_it(
    said: ReplicaState, state: ReplicaState
) -> None:
    outcome = decided(
        with_replica(state),
        lambda change: reports.replica_status(
            change, change.aggregate.replicas[REPLICA], ReplicaStatusReport(state=said)
        ),
        later(10),
    )
    expected = FORWARD[said].get(state, state)
    assert (replica_of(outcome).state, outcome.answer) == (expected, state in FORWARD[said])
    assert outcome.after.agent.primary_id == PRIMARY


@pytest.mark.parametrize("state", [S.SYNCING, S.READY, S.PROMOTED, S.TERMINATED, S.FAILED])
def test_rp10_a_second_or_late_machine_is_a_stray_that_is_to_end_and_the_first_stays(state: ReplicaState) -> None:
    before = with_replica(state)
    outcome = started(before)
    assert replica_of(outcome) == before.replicas[REPLICA]
    stray = outcome.after.machine("i-0new")
    assert stray is not None
    assert stray.status is InstanceStatus.TERMINATING


def test_rp10_the_same_machine_reported_twice_changes_nothing() -> None:
    once = started(with_replica(S.LAUNCHING)).after
    assert started(once, at=90).events == ()


@pytest.mark.parametrize("reason", [ReplicaEnd.USER, ReplicaEnd.MODE_CHANGED, ReplicaEnd.SUPERSEDED])
@pytest.mark.parametrize(
    ("state", "machine"),
    [
        (S.LAUNCHING, InstanceStatus.TERMINATED),
        (S.SYNCING, InstanceStatus.TERMINATING),
        (S.READY, InstanceStatus.TERMINATING),
    ],
)
def test_rp8_an_unwanted_replica_ends_and_so_does_its_machine_rp14(
    state: ReplicaState, machine: InstanceStatus, reason: ReplicaEnd
) -> None:
    outcome = decided(
        with_replica(state), lambda change: standby.end(change, change.aggregate.replicas[REPLICA], reason), later(5)
    )
    assert (replica_of(outcome).state, replica_of(outcome).end_reason) == (S.TERMINATED, reason)
    assert outcome.after.instances[STANDBY].status is machine


@pytest.mark.parametrize(
    ("live", "stays"),
    [
        ([("a", S.LAUNCHING, 0), ("b", S.READY, 50), ("c", S.SYNCING, 10)], "b"),
        ([("a", S.LAUNCHING, 0), ("c", S.SYNCING, 90)], "c"),
        ([("a", S.READY, 20), ("b", S.READY, 10)], "b"),
        ([("a", S.LAUNCHING, 5), ("b", S.LAUNCHING, 4)], "b"),
    ],
)
def test_rp15_of_several_live_replicas_the_most_advanced_stays_then_the_oldest(
    live: list[tuple[str, ReplicaState, float]], stays: str
) -> None:
    rows = [a_replica(name, state=state, created_at=later(at)) for name, state, at in live]
    assert replicas.survivor(rows).instance_id == stays


PROMOTABLE: dict[str, tuple[ReplicaState, float | None, type[Exception] | None]] = {
    "ready_never_reported": (S.READY, None, None),  # Z30
    "ready_60_s_ago": (S.READY, 60, None),
    "ready_61_s_ago": (S.READY, 61, ReplicaNotReady),
    "syncing_never_reported": (S.SYNCING, None, None),  # Z7
    "syncing_reported": (S.SYNCING, 1, ReplicaNotReady),
    "launching": (S.LAUNCHING, None, ReplicaNotReady),
    "promoted": (S.PROMOTED, None, ReplicaNotPromotable),
    "terminated": (S.TERMINATED, None, ReplicaNotPromotable),
    "failed": (S.FAILED, None, ReplicaNotPromotable),
}


@pytest.mark.parametrize("row", PROMOTABLE)
def test_pr3_by_hand_only_what_is_ready_and_fresh_is_promoted_pr2_mr14_z7(row: str) -> None:
    state, ago, refusal = PROMOTABLE[row]
    before = with_replica(state, last_sync_at=None if ago is None else later(10) - timedelta(seconds=ago))
    if refusal is None:
        assert promoted(before).after.agent.primary_id == STANDBY
        return
    with pytest.raises(refusal) as caught:
        promoted(before)
    assert caught.value.details["status"] == state.value  # type: ignore[attr-defined]


@pytest.mark.parametrize("build", [*CLASSIC, Build.V5])
def test_pr4_pr5_pr6_a_promotion_moves_everything_in_one_step(build: Build) -> None:
    before = with_replica(S.READY, a_switch_command(), build=build)
    after = promoted(before).after
    assert after.instances[PRIMARY].status is InstanceStatus.ZOMBIE
    assert (after.instances[PRIMARY].zombie_since, after.instances[PRIMARY].terminated_at) == (later(10), None)  # IN-6
    assert after.instances[STANDBY].status is InstanceStatus.RUNNING_PRIMARY
    assert after.replicas[REPLICA].state is S.PROMOTED
    assert [(period.instance_id, period.ended_at) for period in after.periods] == [("m", later(10)), ("r", None)]
    (switch,) = after.switches.values()
    assert (switch.trigger, switch.old_instance_id, switch.new_instance_id) == (
        SwitchTrigger.MANUAL_PROMOTION, "m", "r",
    )  # fmt: skip
    assert state_of(after) is CommandState.CANCELLED
    assert open_kinds(after) == ([CommandKind.PROMOTE] if build is Build.V5 else [])
    assert after.periods[-1].switch_id == switch.switch_id  # I14


def test_rp11_a_promoted_replica_is_no_replica_any_more() -> None:
    after = promoted(with_replica(S.READY, last_sync_at=later(0))).after
    assert after.live_replica is None
    assert passed(after, 400).after.replicas[REPLICA].state is S.PROMOTED  # RP-6 does not match it
    assert passed(after, 400).after.agent.primary_id == STANDBY


@pytest.mark.parametrize(
    ("keep", "incident", "kept"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_in9_the_old_primary_stands_by_when_asked_unless_it_has_an_open_incident(
    keep: bool, incident: bool, kept: bool
) -> None:
    rows = [an_incident("m", Severity.REBALANCE)] if incident else []
    after = promoted(with_replica(S.READY, *rows), keep=keep).after
    assert after.instances[PRIMARY].status is (InstanceStatus.RUNNING_REPLICA if kept else InstanceStatus.ZOMBIE)
    live = after.live_replica
    assert (live is not None) is kept
    if live is not None:
        assert (live.instance_id, live.state, live.last_sync_at) == (PRIMARY, S.READY, None)  # Z30


def test_rp13_a_replica_is_of_the_primary_s_type_and_image() -> None:
    primary = a_machine(ami_id="ami-7")
    aggregate = an_aggregate(primary=primary, auto_switch_enabled=False, manual_replica_enabled=True)
    after = decided(aggregate, upkeep.pass_time).after
    live = after.live_replica
    assert live is not None
    row = after.instances[live.instance_id]
    assert (row.instance_type, row.ami_id, row.cloud_id, row.launch_requested_at) == (
        primary.instance_type, "ami-7", None, later(0),
    )  # fmt: skip
    assert live.az == row.az
