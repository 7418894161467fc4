"""Manual replica mode keeps its promise: one live replica, or a launch that is being retried (section 6)."""

from typing import Any

import pytest
from attrs import evolve

from spotcore import manual_mode, standby, upkeep
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change, Outcome
from spotcore.clients import ClientStatus
from spotcore.commands import CommandKind
from spotcore.events import EventKind
from spotcore.ids import CloudId, InstanceId
from spotcore.incidents import Severity
from spotcore.instances import InstanceStatus
from spotcore.market import UNKNOWN_MARKET, Market
from spotcore.pools import Mode
from spotcore.replicas import ReplicaEnd, ReplicaKind, ReplicaState
from spotcore.standby import MachineFacts
from spotcore.switches import SwitchTrigger
from tests.support.rule_builders import (
    POOL_A,
    POOL_B,
    POOL_C,
    a_machine,
    a_market,
    a_replica,
    an_aggregate,
    an_incident,
    decided,
    later,
    open_kinds,
    told,
    without_primary,
)

ON = {"auto_switch_enabled": False, "manual_replica_enabled": True}
MARKET = a_market(a="0.010", b="0.020", c="0.030")


def settled(aggregate: Aggregate, at: float = 0, market: Market = MARKET) -> Outcome:
    """What the promise makes of the aggregate."""
    return decided(aggregate, manual_mode.reconcile, later(at), market)


def passed(aggregate: Aggregate, at: float) -> Outcome:
    return decided(aggregate, upkeep.pass_time, later(at), MARKET)


def with_replica(state: ReplicaState = ReplicaState.READY, **more: Any) -> Aggregate:
    machine = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")
    return an_aggregate(machine, a_replica("r", state=state), **{**ON, **more})


def loses(aggregate: Aggregate, at: float) -> Outcome:
    """The live replica fails."""

    def fail(change: Change) -> None:
        live = change.aggregate.live_replica
        assert live is not None
        standby.fail(change, live, ReplicaEnd.LAUNCH_FAILED, "no capacity")

    return decided(aggregate, fail, later(at), MARKET)


@pytest.mark.parametrize(
    ("build", "launches", "commands"),
    [
        (Build.V4C, True, []),  # Z29: found in its list
        (Build.UNKNOWN, True, []),
        (Build.V5, True, [CommandKind.LAUNCH]),
        (Build.V2, False, []),  # Z27: the toggle is stored and nothing launched
        (Build.V4N, False, []),
    ],
)
def test_mr1_builds_that_can_launch_get_a_replica_and_others_only_the_toggle(
    build: Build, launches: bool, commands: list[CommandKind]
) -> None:
    market = a_market(a="0.010")
    after = settled(an_aggregate(build=build, **ON), market=market).after
    assert (after.live_replica is not None) is launches
    assert open_kinds(after) == commands


PLACES = {
    "primary_in_the_cheapest_takes_the_second": (a_market(a="0.01", b="0.02", c="0.03"), {}, POOL_B, False),
    "the_cheapest_elsewhere": (a_market(a="0.03", b="0.02", c="0.01"), {}, POOL_C, False),
    "one_pool_only_is_flagged": (a_market(a="0.01"), {}, POOL_A, True),
    "excluded_pools_are_left_out": (
        a_market(a="0.01", b="0.02", c="0.03"),
        {"excluded_pools": (POOL_B,)},
        POOL_C,
        False,
    ),
}


@pytest.mark.parametrize("row", PLACES)
def test_mr1_the_replica_goes_to_the_cheapest_eligible_pool(row: str) -> None:
    market, settings, pool, same = PLACES[row]
    live = settled(an_aggregate(**ON, **settings), market=market).after.live_replica
    assert live is not None
    assert (live.pool_id, live.same_pool, live.kind) == (pool, same, ReplicaKind.MANUAL)


def test_mr9_without_any_price_the_launch_goes_on_in_the_safest_pool() -> None:
    market = evolve(a_market(a="0.01", b="0.02", c="0.03"), spot={})
    risky = evolve(market.pools[POOL_B], incidents_7d=9)
    market = evolve(market, pools={**market.pools, POOL_B: risky})
    live = settled(an_aggregate(**ON), market=market).after.live_replica
    assert live is not None
    assert live.pool_id == POOL_C
    assert settled(an_aggregate(**ON), market=UNKNOWN_MARKET).after.live_replica is not None


def test_z28_a_v5_replica_stays_in_its_primary_s_zone() -> None:
    live = settled(an_aggregate(build=Build.V5, **ON)).after.live_replica
    assert live is not None
    assert (live.pool_id, live.az) == (POOL_A, "us-east-1a")


def test_5_7_a_v5_keeps_its_promise_in_the_one_pool_it_can_reach_even_while_that_has_an_incident_mr1_z28() -> None:
    old = a_machine("old", InstanceStatus.ZOMBIE)
    incident = an_incident("old", Severity.TERMINATION, pool_id=POOL_A, promoted_at=later(0))
    live = settled(an_aggregate(old, incident, build=Build.V5, mode=Mode.ONDEMAND, **ON)).after.live_replica
    assert live is not None
    assert live.pool_id == POOL_A


NOTHING = {
    "mode_off": an_aggregate(auto_switch_enabled=False),
    "auto_mode": an_aggregate(),
    "no_primary_mr13": without_primary(an_aggregate(**ON)),
    "suspended_cl5": an_aggregate(client={"status": ClientStatus.SUSPENDED}, **ON),
    **{f"{state.value}_replica_i2": with_replica(state) for state in (ReplicaState.SYNCING, ReplicaState.READY)},
}


@pytest.mark.parametrize("row", NOTHING)
def test_mr_nothing_is_launched_when_the_promise_does_not_ask_for_it(row: str) -> None:
    assert set(settled(NOTHING[row]).after.replicas) == set(NOTHING[row].replicas)


def test_mr12_a_disabled_agent_s_upkeep_continues() -> None:
    assert settled(an_aggregate(enabled=False, **ON)).after.live_replica is not None


def test_mr4_the_waits_after_failures_in_a_row_are_0_10_30_60_120_300_and_then_300() -> None:
    aggregate, at, waits, alarms = settled(an_aggregate(**ON)).after, 0.0, [], []
    for failure in range(1, 9):
        outcome = loses(aggregate, at)
        alarms += [failure] * len(told(outcome, EventKind.REPLICAS_FAILING))
        due = outcome.after.agent.next_replica_at
        wait = 0.0 if outcome.after.live_replica is not None else (due - later(at)).total_seconds()  # type: ignore[operator]
        waits.append(wait)
        if wait:
            assert passed(outcome.after, at + wait - 1).after.live_replica is None
        at += wait
        aggregate = passed(outcome.after, at).after
        assert aggregate.live_replica is not None
    assert waits == [0, 10, 30, 60, 120, 300, 300, 300]
    assert alarms == [5]  # one critical notification


def test_mr4_success_resets_the_waits() -> None:
    failing = evolve(an_aggregate(**ON), agent=evolve(an_aggregate(**ON).agent, replica_failures=4))
    launching = settled(failing).after
    live = launching.live_replica
    assert live is not None
    facts = MachineFacts(cloud_id=CloudId("i-0new"))

    def comes_up(change: Change) -> None:
        standby.synced(change, standby.machine_started(change, live, facts))

    ready = decided(launching, comes_up, later(60), MARKET).after
    assert ready.agent.replica_failures == 0
    assert loses(ready, 70).after.live_replica is not None  # the first failure waits for nothing


@pytest.mark.parametrize("at", [0, 300])
def test_mr2_after_a_promotion_the_next_replica_is_launched_in_the_same_transaction_and_follows_the_new_primary(
    at: float,
) -> None:
    def promote(change: Change) -> None:
        live = change.aggregate.live_replica
        assert live is not None
        standby.promote(change, live, SwitchTrigger.MANUAL_PROMOTION)

    after = decided(with_replica(), promote, later(at), a_market(a="0.03", b="0.01", c="0.02")).after
    assert after.agent.primary_id == "r"
    assert after.live_replica is not None
    assert after.live_replica.pool_id == POOL_C  # b is the cheapest and the new primary's own


def test_mr3_a_demoted_primary_is_the_new_replica_and_nothing_is_launched_z30() -> None:
    def promote(change: Change) -> None:
        live = change.aggregate.live_replica
        assert live is not None
        assert standby.may_keep_old(change, live)
        standby.promote(change, live, SwitchTrigger.MANUAL_PROMOTION, keep_old_as_replica=True)

    after = decided(with_replica(), promote, later(5), MARKET).after
    live = after.live_replica
    assert live is not None
    assert (live.instance_id, live.state) == ("m", ReplicaState.READY)
    assert after.instances[InstanceId("m")].status is InstanceStatus.RUNNING_REPLICA  # IN-9


def test_mr5_a_replica_the_user_deletes_is_replaced_at_once() -> None:
    def delete(change: Change) -> None:
        live = change.aggregate.live_replica
        assert live is not None
        standby.end(change, live, ReplicaEnd.USER)

    after = decided(with_replica(), delete, later(5), MARKET).after
    assert len(after.replicas) == 2
    assert after.live_replica is not None
    assert after.agent.replica_failures == 0  # nothing failed


def test_mr11_with_auto_terminate_off_the_old_primary_stays_beside_the_new_one_and_its_replica() -> None:
    def promote(change: Change) -> None:
        live = change.aggregate.live_replica
        assert live is not None
        standby.promote(change, live, SwitchTrigger.MANUAL_PROMOTION)

    promoted = decided(with_replica(auto_terminate_enabled=False), promote, later(0), MARKET).after
    old = evolve(promoted, agent=evolve(promoted.agent, last_heartbeat_at=later(3_600)))
    assert passed(old, 290).after.instances[InstanceId("m")].status is InstanceStatus.ZOMBIE
    assert len([row for row in promoted.instances.values() if not row.is_terminal]) == 3


def test_mr_nothing_eligible_is_tried_again_and_never_given_up() -> None:
    before = an_aggregate(excluded_pools=(POOL_A, POOL_B, POOL_C), **ON)
    none = settled(before).after
    assert none.live_replica is None
    assert none.agent.next_replica_at == later(300)
