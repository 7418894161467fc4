"""Notices that meet a switch: the emergency's own, a planned one, and the machine that one has brought (EM-12, EM-13, Z21)."""

import pytest

from spotcore import dispatch, liveness, registration
from spotcore.aggregate import Aggregate
from spotcore.change import Change, Outcome
from spotcore.commands import CommandState
from spotcore.dispatch import Dialect, hand_out
from spotcore.ids import CloudId
from spotcore.incidents import Outcome as Brought
from spotcore.incidents import Severity
from spotcore.liveness import Heartbeat
from spotcore.pools import Mode
from spotcore.registration import Registration
from spotcore.replicas import ReplicaKind
from tests.support.rule_builders import (
    POOL_B,
    REGION,
    TYPE,
    a_market,
    a_switch_command,
    an_aggregate,
    decided,
    executing,
    later,
    state_of,
)
from tests.unit.core.test_emergencies import MARKET, answer, noticed, passed

ALONE = a_market(a="0.010")  # no other pool: on-demand
NEW = CloudId("i-0new")


def registered(aggregate: Aggregate, at: float, mode: Mode = Mode.SPOT, zone: str = "b") -> Aggregate:
    words = Registration(
        cloud_id=NEW, logical_agent_id="web", instance_type=TYPE, region=REGION, az=f"{REGION}{zone}", mode=mode
    )
    return decided(aggregate, lambda change: registration.register(change, words), later(at), MARKET).after


def beaten(aggregate: Aggregate, at: float) -> Outcome:
    return decided(aggregate, lambda change: liveness.heartbeat(change, Heartbeat(cloud_id=NEW)), later(at), MARKET)


def test_z21_a_repeated_notice_leaves_the_emergency_s_own_switch_alone_em1() -> None:
    ordered = noticed(an_aggregate(), ahead=120, market=ALONE)
    assert answer(ordered).outcome is Brought.ONDEMAND_SWITCH
    fetched = decided(ordered.after, lambda change: hand_out(change, Dialect.CLASSIC), later(5), ALONE).after
    repeated = noticed(registered(fetched, 40, Mode.ONDEMAND, "a"), at=45, ahead=75, market=ALONE)
    assert answer(repeated).outcome is Brought.ONDEMAND_SWITCH
    assert answer(repeated).duplicate
    assert repeated.after.live_replica is None
    after = beaten(repeated.after, 46).after
    assert after.primary is not None
    assert after.primary.cloud_id == NEW


def withdrawn(change: Change) -> None:
    (command,) = change.aggregate.open_commands
    dispatch.cancel(change, command, "a person took it back")


def test_5_3_a_rebalance_that_met_a_switch_gets_its_replica_once_the_switch_has_failed() -> None:
    met = noticed(an_aggregate(executing(a_switch_command())), Severity.REBALANCE)
    assert (answer(met).outcome, answer(met).reason) == (Brought.MONITOR, "switch_in_flight")
    assert met.after.live_replica is None
    after = decided(met.after, withdrawn, later(60), MARKET).after
    assert after.live_replica is not None
    assert (after.live_replica.kind, after.live_replica.pool_id) == (ReplicaKind.EMERGENCY_REBALANCE, POOL_B)


def test_5_3_the_replica_comes_as_well_when_nobody_ever_answered_the_switch() -> None:
    met = noticed(an_aggregate(executing(a_switch_command())), Severity.REBALANCE).after
    after = passed(passed(met, 1_300).after, 1_400).after
    assert state_of(after) is CommandState.FAILED
    assert after.live_replica is not None


def test_5_3_a_switch_that_succeeds_leaves_nothing_to_prepare() -> None:
    met = noticed(an_aggregate(executing(a_switch_command())), Severity.REBALANCE).after
    after = passed(beaten(registered(met, 40), 41).after, 60).after
    assert after.primary is not None
    assert after.primary.cloud_id == NEW
    assert after.live_replica is None


@pytest.mark.parametrize("repeats", [0, 3])
def test_5_3_one_replica_however_often_the_rebalance_was_heard_meanwhile(repeats: int) -> None:
    aggregate = noticed(an_aggregate(executing(a_switch_command())), Severity.REBALANCE).after
    for number in range(repeats):
        aggregate = noticed(aggregate, Severity.REBALANCE, at=10 + number).after
    after = decided(aggregate, withdrawn, later(60), MARKET).after
    assert len(after.replicas) == 1


def test_em13_a_machine_noticed_before_it_had_the_role_has_an_incident_as_soon_as_it_serves() -> None:
    waiting = registered(an_aggregate(executing(a_switch_command())), 40)
    told = noticed(waiting, machine=NEW, at=41, ahead=100).after
    after = beaten(told, 45).after
    assert after.primary is not None
    assert after.primary.cloud_id == NEW
    incident = after.open_failover
    assert incident is not None
    assert (incident.instance_id, incident.deadline) == (after.primary.instance_id, later(141))
    assert after.live_replica is not None
    assert after.live_replica.pool_id not in (POOL_B, None)
