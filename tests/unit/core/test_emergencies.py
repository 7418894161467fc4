"""Interruption notices and failover, row by row of 5.3, 5.4 and 5.6."""

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from spotcore import dispatch, emergencies, standby, upkeep
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change, Outcome
from spotcore.clients import ClientStatus
from spotcore.commands import CommandKind, CommandState, Origin
from spotcore.emergencies import Signal, SignalAnswer
from spotcore.events import CATALOGUE, EventKind, Level
from spotcore.ids import CloudId, IncidentId, InstanceId, ReplicaId
from spotcore.incidents import IncidentState, Severity
from spotcore.incidents import Outcome as Brought
from spotcore.instances import InstanceStatus
from spotcore.market import Market
from spotcore.pools import Mode
from spotcore.replicas import ReplicaEnd, ReplicaKind, ReplicaState
from spotcore.switches import SwitchTrigger
from tests.support.rule_builders import (
    POOL_B,
    POOL_C,
    PRIMARY,
    a_command,
    a_machine,
    a_market,
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

B, S = Build, ReplicaState
REBALANCE, TERMINATION = Severity.REBALANCE, Severity.TERMINATION
STANDBY = InstanceStatus.RUNNING_REPLICA
MARKET = a_market(a="0.010", b="0.020", c="0.030")
MODES = {
    "auto": {"auto_switch_enabled": True},
    "manual": {"auto_switch_enabled": False, "manual_replica_enabled": True},
    "neither": {"auto_switch_enabled": False},
}
ABLE = [B.V4C, B.V5, B.UNKNOWN]


def noticed(
    aggregate: Aggregate,
    severity: Severity = TERMINATION,
    *,
    machine: str | None = "i-0m",
    ahead: float | None = None,
    at: float = 0,
    market: Market = MARKET,
    **more: Any,
) -> Outcome:
    """The outcome of one notice, at ``at`` seconds after the start, its deadline ``ahead`` seconds later."""
    deadline = later(at + ahead) if ahead is not None else None
    sent = Signal(severity=severity, cloud_id=machine, deadline=deadline, received_at=later(at), **more)
    return decided(aggregate, lambda change: emergencies.signal(change, sent), later(at), market)


def passed(aggregate: Aggregate, at: float, market: Market = MARKET) -> Outcome:
    """What time alone brings about by ``at``."""
    return decided(aggregate, upkeep.pass_time, later(at), market)


def answer(outcome: Outcome) -> SignalAnswer:
    assert isinstance(outcome.answer, SignalAnswer)
    return outcome.answer


def standing_by(state: ReplicaState, *, progress: int | None = None, build: Build = B.V4C, **more: Any) -> Aggregate:
    """A primary ``m`` in zone a, and a replica ``r`` in zone b in that state."""
    launching = state is S.LAUNCHING
    machine = a_machine(
        "r", InstanceStatus.LAUNCHING if launching else STANDBY, zone="b",
        **({"cloud_id": None, "confirmed_at": None, "created_at": later(0)} if launching else {}),
    )  # fmt: skip
    replica = a_replica(
        "r", state=state, progress=None if progress is None else Decimal(progress),
        syncing_at=None if launching else later(0),
    )  # fmt: skip
    return an_aggregate(machine, replica, build=build, **more)


def only_incident(aggregate: Aggregate) -> Any:
    (incident,) = aggregate.incidents.values()
    return incident


def primary_of(aggregate: Aggregate) -> str | None:
    return aggregate.agent.primary_id


# 5.4, a replica that stands by: (state, progress) -> outcome, whether it serves now, snapshot, data loss
TERMINATION_ROWS = {
    "ready": (S.READY, None, Brought.REPLICA_PROMOTED, True, False, False),
    "syncing_95": (S.SYNCING, 95, Brought.REPLICA_PROMOTED, True, False, True),
    "syncing_94": (S.SYNCING, 94, Brought.PROMOTION_PENDING, False, False, False),
    "syncing_silent": (S.SYNCING, None, Brought.PROMOTION_PENDING, False, False, False),
    "launching": (S.LAUNCHING, None, Brought.PROMOTION_PENDING, False, True, False),
}


@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("build", ABLE)
@pytest.mark.parametrize("row", TERMINATION_ROWS)
def test_5_4_a_termination_does_with_a_replica_what_the_table_says_whatever_is_switched_off_em16(
    row: str, build: Build, mode: str, enabled: bool
) -> None:
    state, progress, brought, serves, snapshot, loses = TERMINATION_ROWS[row]
    outcome = noticed(standing_by(state, progress=progress, build=build, enabled=enabled, **MODES[mode]))
    said, after = answer(outcome), outcome.after
    assert said.outcome is brought
    assert said.snapshot_required is snapshot
    assert primary_of(after) == ("r" if serves else "m")
    assert after.agent.config == outcome.before.agent.config if outcome.before else False  # 5.7
    incident = only_incident(after)
    assert incident.data_loss_possible is loses
    assert (incident.promoted_at is not None) is serves
    assert incident.promote_on_ready is not serves
    assert after.replicas[ReplicaId("rep-r")].state is (S.PROMOTED if serves else state)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("build", ABLE)
def test_5_7_after_a_failover_one_primary_one_record_no_overlap_and_a_successor_in_manual_mode_alone_mr7(
    build: Build, mode: str
) -> None:
    outcome = noticed(standing_by(S.READY, build=build, **MODES[mode]), at=7)
    after = outcome.after
    assert after.instances[PRIMARY].status is InstanceStatus.ZOMBIE
    assert [period.ended_at for period in after.periods] == [later(7), None]
    (switch,) = after.switches.values()
    assert (switch.trigger, switch.new_instance_id) == (SwitchTrigger.EMERGENCY, "r")
    assert after.agent.last_switch_at == later(7)  # cooldown restarts
    assert (after.live_replica is not None) is (mode == "manual")
    promotes = [command for command in after.open_commands if command.kind is CommandKind.PROMOTE]
    assert len(promotes) == (1 if build is B.V5 else 0)  # PR-6: classic agents have nothing to execute
    assert all(command.priority == 100 and command.addressed_to == "r" for command in promotes)
    criticals = [event for event in outcome.events if event.kind is EventKind.FAILOVER_COMPLETED]
    assert len(criticals) == 1


@pytest.mark.parametrize("build", [B.V4C, B.UNKNOWN])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("severity", [REBALANCE, TERMINATION])
def test_5_3_and_5_4_without_a_replica_one_is_launched_outside_the_reclaimed_pool_z20(
    severity: Severity, mode: str, build: Build
) -> None:
    # in manual mode the aggregate is settled only now: the emergency launches first, the promise is kept by it (I2)
    outcome = noticed(an_aggregate(build=build, **MODES[mode]), severity)
    said, live = answer(outcome), outcome.after.live_replica
    assert said.outcome is Brought.LAUNCH
    assert said.new_replica
    assert said.snapshot_required is (severity is TERMINATION)
    assert live is not None
    assert live.kind.value == f"emergency_{severity.value}"
    assert live.pool_id == POOL_B
    assert open_kinds(outcome.after) == []  # Z29: its list alone tells a v4c
    assert primary_of(outcome.after) == "m"


@pytest.mark.parametrize("severity", [REBALANCE, TERMINATION])
def test_z28_a_v5_is_told_to_launch_on_demand_in_its_own_zone(severity: Severity) -> None:
    after = noticed(an_aggregate(build=B.V5), severity).after
    (command,) = after.open_commands
    assert (command.kind, command.target_mode, command.target_pool_id) == (CommandKind.LAUNCH, Mode.ONDEMAND, None)
    assert command.priority == 100
    assert after.live_replica is not None
    assert after.live_replica.az == "us-east-1a"


@pytest.mark.parametrize("machine", ["i-0m", None], ids=["named", "unnamed"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
def test_z27_a_v4n_gets_no_launch_a_failed_incident_and_a_critical_at_once_em9(
    machine: str | None, mode: str, enabled: bool
) -> None:
    outcome = noticed(an_aggregate(build=B.V4N, enabled=enabled, **MODES[mode]), machine=machine)
    assert answer(outcome).outcome is Brought.NOTHING_LAUNCHABLE
    assert answer(outcome).snapshot_required
    assert only_incident(outcome.after).state is IncidentState.FAILED
    assert outcome.after.replicas == {}
    assert outcome.after.commands == {}
    assert len(told(outcome, EventKind.FAILOVER_FAILED)) == 1
    assert CATALOGUE[EventKind.FAILOVER_FAILED].audit is Level.CRITICAL
    again = noticed(outcome.after, machine=machine, at=5)
    assert told(again, EventKind.FAILOVER_FAILED) == []  # one critical in total


@pytest.mark.parametrize("offline_for", [0, 121, 5_000])
def test_em16_an_offline_agent_is_helped_all_the_same(offline_for: float) -> None:
    after = noticed(standing_by(S.READY, agent={"last_heartbeat_at": later(-offline_for)})).after
    assert primary_of(after) == "r"


def test_5_2_a_suspended_client_keeps_its_emergencies_z26() -> None:
    after = noticed(an_aggregate(client={"status": ClientStatus.SUSPENDED})).after
    assert after.live_replica is not None


@pytest.mark.parametrize("state", [S.LAUNCHING, S.SYNCING, S.READY])
@pytest.mark.parametrize("kind", list(ReplicaKind))
def test_5_3_a_rebalance_attaches_the_live_replica_of_any_kind_and_launches_nothing(
    state: ReplicaState, kind: ReplicaKind
) -> None:
    before = standing_by(state)
    replica = evolve(before.replicas[ReplicaId("rep-r")], kind=kind)
    before = evolve(before, replicas={replica.replica_id: replica}, incidents={
        # an emergency replica without an incident would be let go: it belongs to an open one
        IncidentId("inc-m"): an_incident("m"),
    })  # fmt: skip
    outcome = noticed(before, REBALANCE)
    incident = only_incident(outcome.after)
    assert incident.replica_id == "rep-r"
    assert list(outcome.after.replicas) == ["rep-r"]
    assert primary_of(outcome.after) == "m"
    assert answer(outcome).outcome is (Brought.REPLICA_READY if state is S.READY else Brought.LAUNCH)


def test_5_3_a_risk_below_the_opt_in_minimum_is_only_watched_and_looked_at_again_at_each_repeat() -> None:
    calm = a_market(b="0.02", a="0.01")  # no interruptions in a week
    watched = an_aggregate(
        emergency_min_risk=Decimal("0.9"), primary=a_machine(created_at=later(-60), confirmed_at=later(-60))
    )
    first = noticed(watched, REBALANCE, market=calm)
    assert (answer(first).outcome, answer(first).reason) == (Brought.MONITOR, "risk_below_minimum")
    assert first.after.replicas == {}
    nervous = a_market(b="0.02", a="0.01", risk=1_000)
    aged = evolve(first.after, instances={
        PRIMARY: evolve(first.after.instances[PRIMARY], confirmed_at=later(-900_000)),
    })  # fmt: skip
    second = noticed(aged, REBALANCE, at=30, market=nervous)
    assert answer(second).outcome is Brought.LAUNCH
    assert answer(second).duplicate  # EM-1: the same incident all along


@pytest.mark.parametrize(("at", "state"), [(7_199, IncidentState.HANDLING), (7_200, IncidentState.CLEARED)])
def test_5_3_a_rebalance_clears_two_hours_after_its_last_signal(at: float, state: IncidentState) -> None:
    alive = noticed(standing_by(S.READY), REBALANCE).after
    alive = evolve(alive, agent=evolve(alive.agent, last_heartbeat_at=later(at)))
    after = passed(alive, at).after
    assert only_incident(after).state is state


def test_5_3_a_repeat_of_the_rebalance_starts_the_two_hours_anew_em1() -> None:
    once = noticed(standing_by(S.READY), REBALANCE).after
    again = noticed(once, REBALANCE, at=7_000)
    assert answer(again).duplicate
    assert only_incident(passed(again.after, 14_199).after).is_open
    assert not only_incident(passed(again.after, 14_200).after).is_open


@pytest.mark.parametrize(
    ("mode", "state", "kind"),
    [
        ("auto", S.TERMINATED, ReplicaKind.EMERGENCY_REBALANCE),
        ("neither", S.TERMINATED, ReplicaKind.EMERGENCY_REBALANCE),
        ("manual", S.READY, ReplicaKind.MANUAL),
    ],
)
def test_5_3_the_emergency_replica_goes_with_its_incident_except_in_manual_mode(
    mode: str, state: ReplicaState, kind: ReplicaKind
) -> None:
    before = standing_by(S.READY, **MODES[mode])
    replica = evolve(before.replicas[ReplicaId("rep-r")], kind=ReplicaKind.EMERGENCY_REBALANCE)
    before = evolve(before, replicas={replica.replica_id: replica}, incidents={IncidentId("inc-m"): an_incident("m")})
    after = passed(before, 7_200).after.replicas[ReplicaId("rep-r")]
    assert (after.state, after.kind) == (state, kind)
    assert after.end_reason is (ReplicaEnd.INCIDENT_CLEARED if state is S.TERMINATED else None)


@pytest.mark.parametrize(
    ("at", "serves"), [(0, "m"), (89, "m"), (90, "r"), (200, "r")], ids=["at_once", "31s_left", "30s_left", "late"]
)
def test_5_4_a_syncing_replica_is_promoted_by_force_when_30_s_remain(at: float, serves: str) -> None:
    pending = noticed(standing_by(S.SYNCING, progress=10), ahead=120).after
    after = passed(pending, at).after
    assert primary_of(after) == serves
    assert only_incident(after).data_loss_possible is (serves == "r")


def test_5_4_a_launching_replica_cannot_be_forced_for_it_has_no_machine() -> None:
    pending = noticed(standing_by(S.LAUNCHING), ahead=120).after
    assert primary_of(passed(pending, 100).after) == "m"


@pytest.mark.parametrize("build", ABLE)
def test_5_4_a_replica_that_starts_in_the_last_30_s_serves_at_once(build: Build) -> None:
    pending = noticed(standing_by(S.LAUNCHING, build=build), ahead=120).after
    facts = standby.MachineFacts(cloud_id=CloudId("i-0new"))

    def started(change: Change) -> Any:
        return standby.machine_started(change, change.aggregate.replicas[ReplicaId("rep-r")], facts)

    early = decided(pending, started, later(20)).after
    late = decided(pending, started, later(95)).after
    assert primary_of(early) == ("r" if build is B.V5 else "m")  # Z30: a v5's confirmation is its readiness
    assert primary_of(late) == "r"
    assert only_incident(late).data_loss_possible is (build is not B.V5)


def test_5_4_promote_on_ready_happens_in_the_transaction_that_makes_the_replica_ready() -> None:
    pending = noticed(standing_by(S.SYNCING, progress=10), ahead=120).after
    ready = decided(pending, lambda change: standby.synced(change, change.aggregate.live_replica), later(40))  # type: ignore[arg-type]
    assert primary_of(ready.after) == "r"
    incident = only_incident(ready.after)
    assert (incident.data_loss_possible, incident.failover_ms) == (False, 40_000)
    assert len(told(ready, EventKind.FAILOVER_SLOW)) == 1  # 5.5: over 5 s to the commit


# --- launches that fail


def lose_launch(aggregate: Aggregate, at: float) -> Outcome:
    """The agent reports that the launch it was asked for failed."""

    def failed(change: Change) -> None:
        live = change.aggregate.live_replica
        assert live is not None
        for command in change.aggregate.open_commands:
            if command.target_instance_id == live.instance_id:
                dispatch.fail(change, command, "no capacity")
                return
        standby.fail(change, live, ReplicaEnd.LAUNCH_FAILED, "no capacity")

    return decided(aggregate, failed, later(at), MARKET)


def test_5_4_a_failed_launch_goes_to_the_next_pool_and_then_on_demand() -> None:
    first = noticed(an_aggregate(), ahead=600).after
    assert first.live_replica is not None
    second = lose_launch(first, 10).after
    assert second.live_replica is not None
    assert [first.live_replica.pool_id, second.live_replica.pool_id] == [POOL_B, POOL_C]
    third = lose_launch(second, 20).after
    assert third.live_replica is None  # Z29: on-demand for a v4c is a switch
    (command,) = third.open_commands
    assert (command.kind, command.target_mode, command.origin) == (
        CommandKind.SWITCH, Mode.ONDEMAND, Origin.EMERGENCY,
    )  # fmt: skip
    assert command.terminate_wait_seconds == 0  # Z19


def test_z24_a_disabled_v4c_is_never_sent_a_switch_it_would_not_fetch() -> None:
    aggregate = noticed(an_aggregate(enabled=False), ahead=600).after
    seen = []
    for at in (10, 20, 200):
        live = aggregate.live_replica
        seen.append(live.pool_id if live else None)
        aggregate = passed(lose_launch(aggregate, at).after, at + 70).after if live else aggregate
    assert seen == [POOL_B, POOL_C, POOL_B]
    assert aggregate.commands == {}


def test_5_4_the_third_failed_attempt_fails_the_incident_with_a_critical_and_one_attempt_per_60_s_goes_on() -> None:
    aggregate = noticed(an_aggregate(enabled=False), ahead=600).after
    aggregate = lose_launch(lose_launch(aggregate, 1).after, 2).after
    assert only_incident(aggregate).launch_attempts == 3
    assert only_incident(aggregate).state is IncidentState.HANDLING
    third = lose_launch(aggregate, 3)
    assert only_incident(third.after).state is IncidentState.FAILED
    assert len(told(third, EventKind.FAILOVER_FAILED)) == 1
    waiting = passed(third.after, 61).after
    assert waiting.live_replica is None
    fourth = passed(waiting, 62).after
    assert fourth.live_replica is not None
    assert only_incident(fourth).launch_attempts == 4
    lost = lose_launch(fourth, 70)
    assert told(lost, EventKind.FAILOVER_FAILED) == []  # said once
    assert passed(lost.after, 121).after.live_replica is None
    assert passed(lost.after, 122).after.live_replica is not None


# --- no successor


@pytest.mark.parametrize(
    ("at", "status", "state"),
    [
        (119, InstanceStatus.RUNNING_PRIMARY, IncidentState.HANDLING),
        (120, InstanceStatus.RUNNING_PRIMARY, IncidentState.FAILED),
        (299, InstanceStatus.RUNNING_PRIMARY, IncidentState.FAILED),
        (300, InstanceStatus.TERMINATED, IncidentState.FAILED),
    ],
)
def test_in11_a_noticed_primary_without_successor_is_gone_180_s_after_its_deadline(
    at: float, status: InstanceStatus, state: IncidentState
) -> None:
    pending = noticed(standing_by(S.LAUNCHING), ahead=120).after
    after = passed(pending, at).after
    assert after.instances[PRIMARY].status is status
    assert after.agent.primary_id == (None if status is InstanceStatus.TERMINATED else "m")
    assert only_incident(after).state is state


def test_5_4_without_a_primary_the_first_replica_to_become_ready_serves_at_once_and_the_incident_resolves() -> None:
    pending = noticed(standing_by(S.SYNCING, progress=10, agent={"last_heartbeat_at": later(0)}), ahead=120).after
    held = evolve(pending, instances={
        **pending.instances, InstanceId("r"): evolve(pending.instances[InstanceId("r")], status=InstanceStatus.LAUNCHING),
    }, replicas={ReplicaId("rep-r"): evolve(pending.replicas[ReplicaId("rep-r")], state=S.LAUNCHING)})  # fmt: skip
    held = evolve(held, instances={
        **held.instances, InstanceId("r"): evolve(held.instances[InstanceId("r")], created_at=later(100)),
    })  # fmt: skip
    gone = passed(held, 300).after
    assert gone.display_status().value == "error"
    facts = standby.MachineFacts(cloud_id=CloudId("i-0r"))
    back = decided(
        gone, lambda change: standby.machine_started(change, change.aggregate.replicas[ReplicaId("rep-r")], facts),
        later(310),
    ).after  # fmt: skip
    assert primary_of(back) == "r"
    assert only_incident(back).state is IncidentState.RESOLVED


def test_in11_a_primary_that_still_heartbeats_after_its_deadline_keeps_its_role() -> None:
    pending = noticed(an_aggregate(build=B.V4N), ahead=120).after
    seen = evolve(pending.instances[PRIMARY], last_seen_at=later(130))
    alive = evolve(pending, instances={PRIMARY: seen}, agent=evolve(pending.agent, last_heartbeat_at=later(290)))
    after = passed(alive, 300).after
    assert primary_of(after) == "m"
    assert only_incident(after).state is IncidentState.CLEARED
    assert "the machine outlived its notice" in only_incident(after).anomalies


# --- 5.6


def test_em1_the_same_notice_again_is_the_same_incident_and_the_same_replica() -> None:
    first = noticed(an_aggregate(), ahead=120)
    again = noticed(first.after, ahead=115, at=5)
    assert answer(again).duplicate
    assert not answer(again).new_replica
    assert list(again.after.replicas) == list(first.after.replicas)
    assert only_incident(again.after).last_signal_at == later(5)
    assert only_incident(again.after).deadline == later(120)


@pytest.mark.parametrize("at", [5, 119, 170])
def test_em2_the_same_notice_after_the_failover_gets_the_stored_outcome_and_promotes_nobody(at: float) -> None:
    first = noticed(standing_by(S.READY, **MODES["manual"]), ahead=120)
    again = noticed(first.after, at=at)
    assert (answer(again).outcome, answer(again).duplicate) == (Brought.REPLICA_PROMOTED, True)
    assert answer(again).incident is not None
    assert answer(again).incident.incident_id == only_incident(first.after).incident_id  # type: ignore[union-attr]
    assert primary_of(again.after) == "r"
    assert len(again.after.switches) == 1


def test_em3_a_rebalance_after_a_termination_lowers_neither_severity_nor_deadline() -> None:
    pending = noticed(standing_by(S.SYNCING), ahead=120).after
    after = noticed(pending, REBALANCE, at=5).after
    assert (only_incident(after).severity, only_incident(after).deadline) == (TERMINATION, later(120))
    assert only_incident(after).signals == 2


def test_em4_a_termination_without_earlier_rebalance_opens_the_incident_and_a_rebalance_rises_to_one() -> None:
    direct = only_incident(noticed(an_aggregate()).after)
    assert direct.severity is TERMINATION
    calm = noticed(standing_by(S.READY), REBALANCE).after
    risen = noticed(calm, at=60)
    assert only_incident(risen.after).incident_id == only_incident(calm).incident_id
    assert only_incident(risen.after).failover_ms == 0  # 5.5: from the receipt of the termination notice
    assert not answer(risen).duplicate


@pytest.mark.parametrize(("second", "counts"), [(60, 65), (110, 115), (300, 120), (None, 120)])
def test_em5_of_two_termination_times_the_earlier_counts_z19(second: float | None, counts: float) -> None:
    pending = noticed(standing_by(S.SYNCING), ahead=120).after
    after = noticed(pending, ahead=second, at=5).after
    assert only_incident(after).deadline == later(counts)
    assert after.instances[PRIMARY].notice_deadline == later(counts)


@pytest.mark.parametrize("severity", [REBALANCE, TERMINATION])
@pytest.mark.parametrize("status", [InstanceStatus.ZOMBIE, InstanceStatus.TERMINATING, InstanceStatus.TERMINATED])
def test_em6_a_notice_for_a_retired_machine_is_recorded_on_it_and_nothing_else(
    status: InstanceStatus, severity: Severity
) -> None:
    old = a_machine("old", status, zone="b")
    outcome = noticed(an_aggregate(old), severity, machine="i-0old")
    assert (answer(outcome).outcome, answer(outcome).reason) == (Brought.MONITOR, "not_primary")
    assert primary_of(outcome.after) == "m"
    assert outcome.after.incidents == {}
    row = outcome.after.instances[InstanceId("old")]
    expected = later(120) if severity is TERMINATION and status is not InstanceStatus.TERMINATED else None
    assert row.notice_deadline == expected
    assert row.status is status


@pytest.mark.parametrize("state", [S.SYNCING, S.READY])
@pytest.mark.parametrize("mode", MODES)
def test_rp16_a_termination_of_the_replica_ends_it_and_manual_mode_alone_sends_a_successor_em7(
    mode: str, state: ReplicaState
) -> None:
    outcome = noticed(standing_by(state, **MODES[mode]), machine="i-0r")
    replica = outcome.after.replicas[ReplicaId("rep-r")]
    assert (replica.state, replica.end_reason) == (S.TERMINATED, ReplicaEnd.AWS_INTERRUPTED)
    assert primary_of(outcome.after) == "m"
    assert (outcome.after.live_replica is not None) is (mode == "manual")
    assert outcome.after.instances[InstanceId("r")].status is InstanceStatus.TERMINATING  # RP-14


@pytest.mark.parametrize("mode", MODES)
def test_rp16_a_rebalance_of_the_replica_is_recorded_and_nothing_else(mode: str) -> None:
    outcome = noticed(standing_by(S.READY, **MODES[mode]), REBALANCE, machine="i-0r")
    assert outcome.after.replicas[ReplicaId("rep-r")].state is S.READY
    assert len(told(outcome, EventKind.NOTICE_ON_STANDBY)) == 1
    assert outcome.after.incidents == {}


@pytest.mark.parametrize("severity", [REBALANCE, TERMINATION])
def test_em8_an_unknown_machine_is_warned_of_and_moves_no_role_em10(severity: Severity) -> None:
    outcome = noticed(standing_by(S.READY), severity, machine="i-0beef")
    assert (answer(outcome).outcome, answer(outcome).reason) == (Brought.MONITOR, "unknown_instance")
    assert len(told(outcome, EventKind.NOTICE_UNKNOWN_INSTANCE)) == 1
    assert primary_of(outcome.after) == "m"
    assert outcome.after.incidents == {}


@pytest.mark.parametrize("build", list(Build))
def test_em9_a_notice_that_names_no_machine_is_the_primary_s(build: Build) -> None:
    after = noticed(an_aggregate(build=build), machine=None).after
    assert only_incident(after).instance_id == PRIMARY


@pytest.mark.parametrize("named", ["rep-r", "rep-gone", "rep-foreign", None])
def test_em11_a_named_replica_that_cannot_serve_is_ignored_and_the_server_picks(named: str | None) -> None:
    before = standing_by(S.READY)
    gone = a_replica("g", state=S.TERMINATED)
    before = evolve(
        before,
        instances={**before.instances, InstanceId("g"): a_machine("g", InstanceStatus.TERMINATED, zone="c")},
        replicas={**before.replicas, ReplicaId("rep-gone"): evolve(gone, replica_id=ReplicaId("rep-gone"))},
    )
    assert primary_of(noticed(before, replica_id=named).after) == "r"


@pytest.mark.parametrize("handed_out", [False, True], ids=["pending", "executing"])
def test_em12_an_emergency_cancels_the_switch_and_a_standing_replica_serves(handed_out: bool) -> None:
    command = a_switch_command()
    before = standing_by(S.READY)
    before = evolve(before, commands={command.command_id: executing(command) if handed_out else command})
    after = noticed(before, at=10).after
    assert state_of(after) is CommandState.CANCELLED
    assert primary_of(after) == "r"


def test_em12_the_machine_a_switch_has_brought_already_is_adopted_as_a_syncing_replica() -> None:
    command = executing(a_switch_command())
    new = a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)
    outcome = noticed(an_aggregate(command, new), at=10, ahead=120)
    after = outcome.after
    assert state_of(after) is CommandState.CANCELLED
    live = after.live_replica
    assert live is not None
    assert (live.instance_id, live.state, live.kind) == ("n", S.SYNCING, ReplicaKind.EMERGENCY_TERMINATION)
    assert answer(outcome).outcome is Brought.PROMOTION_PENDING
    assert primary_of(passed(after, 100).after) == "n"  # forced: 30 s before its deadline at 130


def test_em13_a_notice_for_the_new_primary_is_an_incident_of_its_own() -> None:
    first = noticed(standing_by(S.READY), ahead=120).after
    second = noticed(first, machine="i-0r", at=20, ahead=120)
    assert {incident.instance_id for incident in second.after.open_incidents} == {"m", "r"}
    assert answer(second).outcome is Brought.LAUNCH
    assert not answer(second).duplicate
    assert second.after.live_replica is not None
    # Z20: neither the pool of the old incident nor the one of the new
    assert second.after.live_replica.pool_id == POOL_C


@pytest.mark.parametrize(
    ("ahead", "counts", "odd"),
    [(-500, 0, True), (-1, 0, True), (0, 0, False), (119, 119, False), (600, 600, False), (601, 120, True),
     (90_000, 120, True), (None, 120, False)],
)  # fmt: skip
def test_em15_a_termination_time_out_of_range_is_clamped_and_noted(
    ahead: float | None, counts: float, odd: bool
) -> None:
    incident = only_incident(noticed(standing_by(S.READY), ahead=ahead).after)
    assert incident.deadline == later(counts)
    assert bool(incident.anomalies) is odd


def test_mr7_z20_the_successor_in_manual_mode_avoids_the_pool_that_is_being_reclaimed() -> None:
    # pool a is the cheapest by far, and it is the one AWS is taking back
    after = noticed(standing_by(S.READY, **MODES["manual"])).after
    assert after.live_replica is not None
    assert after.live_replica.pool_id == POOL_C  # b is the new primary's own


@pytest.mark.parametrize("claims", [True, False])
@pytest.mark.parametrize("state", [S.READY, S.SYNCING])
def test_in26_a_report_that_the_primary_ended_is_critical_and_counts_as_a_passed_deadline_if_it_claims_success(
    state: ReplicaState, claims: bool
) -> None:
    before = standing_by(state)
    outcome = decided(
        before,
        lambda change: emergencies.primary_reported_gone(change, change.aggregate.instances[PRIMARY], claims_success=claims),
    )  # fmt: skip
    (event,) = told(outcome, EventKind.PRIMARY_REPORTED_TERMINATED)
    assert event.level is Level.CRITICAL
    assert primary_of(outcome.after) == ("r" if claims else "m")


@pytest.mark.parametrize("state", [S.FAILED, S.TERMINATED])
@pytest.mark.parametrize("severity", [REBALANCE, TERMINATION])
def test_5_4_a_replica_that_has_failed_or_ended_counts_as_none(severity: Severity, state: ReplicaState) -> None:
    past = a_replica("old", state=state)
    outcome = noticed(an_aggregate(a_machine("old", InstanceStatus.TERMINATED, zone="b"), past), severity)
    assert answer(outcome).outcome is Brought.LAUNCH
    assert outcome.after.live_replica is not None


def test_em12_a_v5_that_is_launching_already_brings_the_replacement_with_that_launch() -> None:
    # it is deaf until it is done: a second launch would only come after the first (Z31)
    launch = executing(
        a_command(CommandKind.LAUNCH, target_instance_id=InstanceId("n"), makes_primary=True, trigger="manual")
    )
    new = a_machine("n", InstanceStatus.LAUNCHING, cloud_id=None, confirmed_at=None, created_at=later(0))
    after = noticed(an_aggregate(launch, new, build=B.V5), at=10).after
    live = after.live_replica
    assert live is not None
    assert (live.instance_id, live.state) == ("n", S.LAUNCHING)
    assert state_of(after) is CommandState.EXECUTING
    assert open_kinds(after) == [CommandKind.LAUNCH]


def test_em12_a_v5_launch_that_nobody_fetched_gives_way_to_the_emergency_s_own() -> None:
    launch = a_command(CommandKind.LAUNCH, target_instance_id=InstanceId("n"), makes_primary=True, trigger="manual")
    new = a_machine("n", InstanceStatus.LAUNCHING, cloud_id=None, confirmed_at=None, created_at=later(0))
    after = noticed(an_aggregate(launch, new, build=B.V5), at=10).after
    assert state_of(after) is CommandState.CANCELLED
    assert after.instances[InstanceId("n")].status is InstanceStatus.TERMINATED
    (own,) = after.open_commands
    assert (own.kind, own.origin, own.makes_primary) == (CommandKind.LAUNCH, Origin.EMERGENCY, True)


@pytest.mark.parametrize(("state", "serves"), [(S.READY, "r"), (S.SYNCING, "r")])
def test_ag5_an_offline_primary_whose_notice_has_run_out_loses_the_role_whatever_the_opt_in_says(
    state: ReplicaState, serves: str
) -> None:
    silent = standing_by(state, progress=10, agent={"last_heartbeat_at": later(-100)})
    after = passed(noticed(silent, ahead=120).after, 121).after
    assert primary_of(after) == serves
