"""What anybody can say of a machine or a replica, in every state it can be in (1.3, 1.4): one row a call, one column a
state. A cell is the state afterwards, or the code of the refusal."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import pytest

from spotcore import emergencies, liveness, registration, reports, standby, switching
from spotcore.aggregate import Aggregate
from spotcore.change import Change
from spotcore.emergencies import Signal
from spotcore.errors import SpotError
from spotcore.events import EventKind
from spotcore.ids import CloudId
from spotcore.incidents import Severity
from spotcore.instances import InstanceStatus
from spotcore.liveness import Heartbeat
from spotcore.pools import Mode
from spotcore.registration import Registration
from spotcore.replicas import ReplicaEnd, ReplicaState
from spotcore.reports import ReplicaStatusReport
from spotcore.service.machines import order_termination
from spotcore.standby import MachineFacts
from spotcore.switching import MachineReport, SwitchReport
from tests.support.rule_builders import (
    PRIMARY,
    START,
    a_machine,
    a_replica,
    a_switch_command,
    an_aggregate,
    decided,
    executing,
    later,
    told,
)

S = InstanceStatus
STATES = ("bound", "standing by", "zombie", "terminating", "terminated", "primary")
"""``bound``: registered for an executing switch; ``standing by``: the machine of a ready replica."""


def situation(state: str) -> tuple[Aggregate, str]:
    """An agent with a machine in that state, and its cloud id; the primary is ``m`` throughout."""
    if state == "primary":
        return an_aggregate(), "i-0m"
    if state == "bound":
        machine = a_machine("x", S.LAUNCHING, zone="b", bound_command_id="k")
        return an_aggregate(machine, executing(a_switch_command())), "i-0x"
    if state == "standing by":
        return an_aggregate(a_machine("x", S.RUNNING_REPLICA, zone="b"), a_replica("x")), "i-0x"
    facts = {"terminated_at": START} if state == "terminated" else {}
    return an_aggregate(a_machine("x", S(state), zone="b", **facts)), "i-0x"


def a_report(old: str, new: str, *, success: bool = True) -> SwitchReport:
    return SwitchReport(
        old=MachineReport(cloud_id=CloudId(old), mode=Mode.SPOT), success=success,
        new=MachineReport(cloud_id=CloudId(new), mode=Mode.SPOT, az="us-east-1b", instance_type="m5.large"),
    )  # fmt: skip


def a_notice(machine: str, severity: Severity) -> Signal:
    return Signal(severity=severity, cloud_id=machine, received_at=START)


def machine_of(change: Change, name: str) -> Any:
    found = change.aggregate.machine(name)
    assert found is not None
    return found


def registers(change: Change, name: str) -> object:
    wanted = Registration(
        cloud_id=CloudId(name), logical_agent_id="web", instance_type="m5.large", region="us-east-1", az="us-east-1b",
        mode=Mode.SPOT,
    )  # fmt: skip
    answer = registration.register(change, wanted)
    if isinstance(answer, SpotError):
        raise answer
    return answer


CALLS: Mapping[str, Callable[[Change, str], object]] = {
    "a user ends it": lambda change, name: order_termination(change, machine_of(change, name)),
    "its end is confirmed": lambda change, name: reports.machine_ended(change, machine_of(change, name)),
    "its end failed": lambda change, name: reports.termination_result(change, name, False, "denied"),
    "a rebalance signal": lambda change, name: emergencies.signal(change, a_notice(name, Severity.REBALANCE)),
    "a termination notice": lambda change, name: emergencies.signal(change, a_notice(name, Severity.TERMINATION)),
    "it registers": registers,
    "it heartbeats": lambda change, name: liveness.heartbeat(change, Heartbeat(cloud_id=name)),
    "it says offline": lambda change, name: liveness.heartbeat(change, Heartbeat(cloud_id=name, going_offline=True)),
    "a switch to it": lambda change, name: switching.judge_report(change, a_report("i-0m", name)),
    "a failed switch to it": lambda change, name: switching.judge_report(change, a_report("i-0m", name, success=False)),
    "a switch from it": lambda change, name: switching.judge_report(change, a_report(name, "i-0new")),
}
KEPT = {"bound": "launching", "standing by": "running_replica", "primary": "running_primary"}
TABLE: Mapping[str, tuple[str, ...]] = {
    # call: the state afterwards of a machine that was bound, standing by, zombie, terminating, terminated, primary
    "a user ends it": ("terminating", "terminating", "terminating", "terminating", "terminated", "IS_PRIMARY"),
    "its end is confirmed": ("terminated", "terminated", "terminated", "terminated", "terminated", "running_primary"),
    "its end failed": ("launching", "running_replica", "zombie", "terminating", "terminated", "running_primary"),
    "a rebalance signal": ("launching", "running_replica", "zombie", "terminating", "terminated", "running_primary"),
    "a termination notice": ("launching", "terminating", "zombie", "terminating", "terminated", "running_primary"),
    "it registers": ("launching", "running_replica", "zombie", "terminating", "terminated", "running_primary"),
    "it heartbeats": ("running_primary", "running_replica", "zombie", "terminating", "terminated", "running_primary"),
    "it says offline": ("launching", "running_replica", "zombie", "terminating", "terminated", "running_primary"),
    "a switch to it": ("running_primary", "running_primary", "zombie", "terminating", "terminated", "running_primary"),
    "a failed switch to it": (
        "terminating", "running_replica", "zombie", "terminating", "terminated", "running_primary",
    ),
    "a switch from it": ("terminating", "running_replica", "zombie", "terminating", "terminated", "zombie"),
}  # fmt: skip
MOVES_THE_ROLE = {
    ("it heartbeats", "bound"), ("a switch to it", "bound"), ("a switch to it", "standing by"),
    ("a switch from it", "bound"), ("a switch from it", "primary"),
}  # fmt: skip
CELLS = list(product(TABLE, STATES))


def outcome_of(call: str, state: str) -> Any:
    aggregate, name = situation(state)
    return aggregate, name, decided(aggregate, lambda change: CALLS[call](change, name))


@pytest.mark.parametrize(("call", "state"), CELLS)
def test_1_3_what_is_said_of_a_machine_moves_it_as_the_table_says_gr4(call: str, state: str) -> None:
    expected = TABLE[call][STATES.index(state)]
    try:
        _, name, outcome = outcome_of(call, state)
    except SpotError as refusal:
        assert refusal.code == expected
        return
    row = outcome.after.machine(name)
    assert row is not None
    assert row.status.value == expected


@pytest.mark.parametrize(("call", "state"), CELLS)
def test_i1_i5_nothing_but_a_switch_moves_the_role(call: str, state: str) -> None:
    try:
        aggregate, _, outcome = outcome_of(call, state)
    except SpotError:
        return
    moved = outcome.after.agent.primary_id != aggregate.agent.primary_id
    assert moved == ((call, state) in MOVES_THE_ROLE)
    assert sum(row.is_primary for row in outcome.after.instances.values()) == 1
    assert (len(outcome.after.switches) > 0) == (moved or call.startswith(("a switch", "a failed")))


@pytest.mark.parametrize(("call", "state"), CELLS)
def test_id6_saying_it_again_changes_nothing_more(call: str, state: str) -> None:
    try:
        _, name, first = outcome_of(call, state)
    except SpotError:
        return
    try:
        second = decided(first.after, lambda change: CALLS[call](change, name))
    except SpotError as refusal:
        assert refusal.code == "IS_PRIMARY"
        return
    before, after = first.after, second.after
    assert after.agent.primary_id == before.agent.primary_id
    assert {key: row.status for key, row in after.instances.items()} == {
        key: row.status for key, row in before.instances.items()
    }
    assert {key: row.state for key, row in after.replicas.items()} == {
        key: row.state for key, row in before.replicas.items()
    }
    assert after.switches.keys() == before.switches.keys()
    assert after.incidents.keys() == before.incidents.keys()


ROLES = {
    "it registers": ("pending", "replica", "retired", "retired", "retired", "primary"),
    "it heartbeats": ("primary", "replica", "retired", "retired", "retired", "primary"),
    "it says offline": ("pending", "replica", "retired", "retired", "retired", "primary"),
}


@pytest.mark.parametrize(("call", "state"), list(product(ROLES, STATES)))
def test_ag2_rg3_rg4_each_machine_hears_its_own_role_and_only_the_primary_may_act(call: str, state: str) -> None:
    _, _, outcome = outcome_of(call, state)
    role = ROLES[call][STATES.index(state)]
    assert outcome.answer.role == role
    assert outcome.answer.config.enabled == (role == "primary")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("severity", list(Severity))
def test_em6_em7_only_the_primarys_notice_opens_an_incident(state: str, severity: Severity) -> None:
    call = "a rebalance signal" if severity is Severity.REBALANCE else "a termination notice"
    _, name, outcome = outcome_of(call, state)
    opened = [row for row in outcome.after.incidents.values() if row.is_open]
    assert len(opened) == (state == "primary")
    if state != "primary":
        assert outcome.answer.outcome.value == "monitor"
        assert outcome.answer.reason == "not_primary"
    row = outcome.after.machine(name)
    assert row is not None
    announced = severity is Severity.TERMINATION and state != "terminated"
    assert (row.notice_deadline == later(120)) == announced  # Z19


@pytest.mark.parametrize("state", STATES)
def test_in25_in26_a_failed_end_is_counted_for_what_is_to_end_and_critical_for_the_primary(state: str) -> None:
    _, name, outcome = outcome_of("its end failed", state)
    row = outcome.after.machine(name)
    assert row is not None
    counts = state not in ("terminated", "primary")
    assert row.end_failures == counts
    assert len(told(outcome, EventKind.INSTANCE_TERMINATION_FAILED)) == counts
    assert len(told(outcome, EventKind.PRIMARY_REPORTED_TERMINATED)) == (state == "primary")


REPLICA_STATES = list(ReplicaState)
REPLICA_CALLS: Mapping[str, Callable[[Change, Any], object]] = {
    "its machine is named": lambda change, one: standby.machine_started(
        change, one, MachineFacts(cloud_id=CloudId("i-0x"))
    ),
    "another machine is named": lambda change, one: standby.machine_started(
        change, one, MachineFacts(cloud_id=CloudId("i-0y"))
    ),
    "it says ready": lambda change, one: reports.replica_status(
        change, one, ReplicaStatusReport(state=ReplicaState.READY)
    ),
    "it says failed": lambda change, one: reports.replica_status(
        change, one, ReplicaStatusReport(state=ReplicaState.FAILED)
    ),
    "it says terminated": lambda change, one: reports.replica_status(
        change, one, ReplicaStatusReport(state=ReplicaState.TERMINATED)
    ),
    "it says promoted": lambda change, one: reports.replica_status(
        change, one, ReplicaStatusReport(state=ReplicaState.PROMOTED)
    ),
    "it is in sync": lambda change, one: standby.sync_report(change, one, status="ok", latency_ms=1, progress=None),
    "a user ends it": lambda change, one: standby.end(change, one, ReplicaEnd.USER),
    "a user promotes it": lambda change, one: standby.require_promotable(change, one),
}
REPLICA_TABLE: Mapping[str, tuple[str, ...]] = {
    # call: the state afterwards of one that was launching, syncing, ready, promoted, terminated, failed
    "its machine is named": ("syncing", "syncing", "ready", "promoted", "terminated", "failed"),
    "another machine is named": ("syncing", "syncing", "ready", "promoted", "terminated", "failed"),
    "it says ready": ("launching", "ready", "ready", "promoted", "terminated", "failed"),
    "it says failed": ("failed", "failed", "failed", "promoted", "terminated", "failed"),
    "it says terminated": ("terminated", "terminated", "terminated", "promoted", "terminated", "failed"),
    "it says promoted": ("launching", "syncing", "ready", "promoted", "terminated", "failed"),
    "it is in sync": ("launching", "syncing", "ready", "promoted", "terminated", "failed"),
    "a user ends it": ("terminated", "terminated", "terminated", "SERVER_ERROR", "SERVER_ERROR", "SERVER_ERROR"),
    "a user promotes it": (
        "REPLICA_NOT_READY", "syncing", "ready", "REPLICA_NOT_PROMOTABLE", "REPLICA_NOT_PROMOTABLE",
        "REPLICA_NOT_PROMOTABLE",
    ),
}  # fmt: skip


def a_standby(state: ReplicaState) -> Aggregate:
    status = {ReplicaState.LAUNCHING: S.LAUNCHING, ReplicaState.PROMOTED: S.ZOMBIE}.get(
        state, S.RUNNING_REPLICA if state in (ReplicaState.SYNCING, ReplicaState.READY) else S.TERMINATING
    )
    nameless: dict[str, Any] = {"cloud_id": None, "confirmed_at": None} if status is S.LAUNCHING else {}
    return an_aggregate(a_machine("x", status, zone="b", **nameless), a_replica("x", state=state))


@pytest.mark.parametrize(("call", "state"), list(product(REPLICA_TABLE, REPLICA_STATES)))
def test_1_4_what_is_said_of_a_replica_moves_it_as_the_table_says_rp10_rp11(call: str, state: ReplicaState) -> None:
    aggregate = a_standby(state)
    expected = REPLICA_TABLE[call][REPLICA_STATES.index(state)]
    key = a_replica("x").replica_id
    try:
        outcome = decided(aggregate, lambda change: REPLICA_CALLS[call](change, aggregate.replicas[key]))
    except SpotError as refusal:
        assert refusal.code == expected
        return
    after = outcome.after.replicas[key]
    assert after.state.value == expected
    assert outcome.after.agent.primary_id == PRIMARY
    machine = outcome.after.instances[after.instance_id]
    if not after.is_live and state in (ReplicaState.SYNCING, ReplicaState.READY):
        assert machine.status in (S.TERMINATING, S.TERMINATED)  # RP-14
    if call == "another machine is named" and state is not ReplicaState.LAUNCHING:
        stray = outcome.after.machine("i-0y")
        assert stray is not None
        assert stray.status is S.TERMINATING  # RP-10


def test_sw4_a_report_of_another_machine_than_the_bound_one_ends_the_bound_one() -> None:
    """The executing switch is answered with a machine that never registered: it serves, and the bound one is to end."""
    _, name, outcome = outcome_of("a switch from it", "bound")
    serving = outcome.after.primary
    assert serving is not None
    assert serving.cloud_id == "i-0new"
    bound = outcome.after.machine(name)
    assert bound is not None
    assert bound.status is S.TERMINATING
    old = outcome.after.instances[PRIMARY]
    assert old.status is S.ZOMBIE
