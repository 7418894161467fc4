"""Section 4.7: every guard alone, at its exact boundary, in each of the table's three columns."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore import guards
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change
from spotcore.commands import CommandKind, CommandState, Origin
from spotcore.emergencies import Signal, signal
from spotcore.errors import AgentDisabled, PoolMismatch, SpotError, SwitchBlocked, ValidationFailed
from spotcore.guards import Guard, Purpose, Target
from spotcore.ids import CloudId
from spotcore.incidents import IncidentState, Severity
from spotcore.instances import InstanceStatus
from spotcore.market import Market, PoolRecord
from spotcore.pools import Mode
from spotcore.service.machines import SwitchRequest, order_switch
from spotcore.switches import Switch, SwitchState, SwitchTrigger
from spotcore.switching import MachineReport, SwitchReport, judge_report
from tests.support.rule_builders import (
    POOL_A,
    POOL_B,
    START,
    D,
    a_command,
    a_machine,
    a_market,
    a_replica,
    a_switch,
    a_switch_command,
    an_aggregate,
    an_incident,
    decided,
    executing,
    later,
    without_primary,
)

TO_B = Target(mode=Mode.SPOT, pool_id=POOL_B)
TO_A = Target(mode=Mode.SPOT, pool_id=POOL_A)
TO_ONDEMAND = Target(mode=Mode.ONDEMAND, pool_id=None)
MARKET = a_market(a="0.05", b="0.03")


def blocking(
    aggregate: Aggregate,
    purpose: Purpose = Purpose.AUTO,
    *,
    market: Market = MARKET,
    target: Target = TO_B,
    at: float = 0,
) -> set[Guard]:
    return set(guards.failing(aggregate, market, target, purpose, later(at)))


def warned(aggregate: Aggregate, *, market: Market = MARKET, target: Target = TO_B, at: float = 0) -> set[Guard]:
    return set(guards.warnings(aggregate, market, target, Purpose.MANUAL, later(at)))


def with_risk(incidents: int) -> Market:
    record = PoolRecord(pool_id=POOL_B, incidents_7d=incidents, first_observed_at=START - timedelta(days=3))
    return evolve(MARKET, pools={POOL_B: record})


def test_4_7_nothing_fails_when_nothing_speaks_against_it() -> None:
    assert blocking(an_aggregate()) == blocking(an_aggregate(), Purpose.MANUAL) == warned(an_aggregate()) == set()


# guard → (an agent for which it alone fails, blocks a user, warns a user); the price guards follow below
ALONE: dict[Guard, tuple[Aggregate, bool, bool]] = {
    Guard.NOT_EXECUTABLE: (an_aggregate(build=Build.V4N), True, False),
    Guard.AGENT_DISABLED: (an_aggregate(enabled=False), True, False),
    Guard.AUTO_SWITCH_DISABLED: (an_aggregate(auto_switch_enabled=False), False, False),
    Guard.AGENT_OFFLINE: (an_aggregate(agent={"last_heartbeat_at": later(-120.001)}), False, True),
    Guard.INCIDENT_OPEN: (an_aggregate(an_incident()), True, False),
    Guard.COMMAND_IN_FLIGHT: (an_aggregate(a_command(CommandKind.PROMOTE, Origin.EMERGENCY)), True, False),
    Guard.COOLDOWN: (an_aggregate(agent={"last_switch_at": later(-60)}), False, False),
    Guard.DAILY_LIMIT: (an_aggregate(max_switches_per_day=0), False, False),
    Guard.WEEKLY_LIMIT: (an_aggregate(max_switches_per_week=0), False, False),
    Guard.LOW_IMPROVEMENT: (an_aggregate(min_savings_percent=D("40.01")), False, False),
}


@pytest.mark.parametrize(("guard", "row"), ALONE.items(), ids=[guard.value for guard in ALONE])
def test_4_7_each_guard_alone_in_the_columns_auto_and_manual(guard: Guard, row: tuple[Aggregate, bool, bool]) -> None:
    aggregate, blocks_user, warns_user = row
    assert blocking(aggregate) == {guard}
    assert blocking(aggregate, Purpose.MANUAL) == ({guard} if blocks_user else set())
    assert warned(aggregate) == ({guard} if warns_user else set())


PRICED: dict[Guard, tuple[Market, Target]] = {
    Guard.PRICE_STALE: (evolve(a_market(a="0.05"), pools=MARKET.pools), TO_B),
    Guard.HIGH_RISK: (with_risk(4), TO_B),
}


@pytest.mark.parametrize(("guard", "row"), PRICED.items(), ids=[guard.value for guard in PRICED])
def test_4_7_stale_prices_and_a_high_risk_block_the_server_and_only_warn_a_user(
    guard: Guard, row: tuple[Market, Target]
) -> None:
    market, target = row
    assert blocking(an_aggregate(), market=market, target=target) >= {guard}
    assert blocking(an_aggregate(), Purpose.MANUAL, market=market, target=target) == set()
    assert warned(an_aggregate(), market=market, target=target) == {guard}


def test_4_7_all_failing_guards_are_named_in_the_tables_order() -> None:
    aggregate = an_aggregate(
        an_incident(), enabled=False, auto_switch_enabled=False, max_switches_per_day=0, agent={"last_switch_at": START}
    )
    named = guards.failing(aggregate, a_market(), TO_B, Purpose.AUTO, START)
    assert named == (
        Guard.AGENT_DISABLED,
        Guard.AUTO_SWITCH_DISABLED,
        Guard.INCIDENT_OPEN,
        Guard.COOLDOWN,
        Guard.DAILY_LIMIT,
        Guard.PRICE_STALE,
        Guard.HIGH_RISK,
    )


# --- boundaries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("silent", "offline"), [(0, False), (120, False), (120.001, True)])
def test_ag1_offline_begins_after_120_seconds_of_silence(silent: float, offline: bool) -> None:
    aggregate = an_aggregate(agent={"last_heartbeat_at": later(-silent)})
    assert (Guard.AGENT_OFFLINE in blocking(aggregate)) is offline


@pytest.mark.parametrize(("silent", "offline"), [(600, False), (600.001, True)])
def test_t09_a_modern_agent_that_executes_is_given_600_seconds(silent: float, offline: bool) -> None:
    busy = executing(a_command(CommandKind.APPLY_CONFIG, Origin.SCHEDULED))
    aggregate = an_aggregate(busy, build=Build.V5, agent={"last_heartbeat_at": later(-silent)})
    assert (Guard.AGENT_OFFLINE in blocking(aggregate)) is offline


@pytest.mark.parametrize(
    ("hours", "seconds_ago", "cooling"),
    [(2, 0, True), (2, 7_199.9, True), (2, 7_200, False), (0, 0, False), (168, 604_799, True), (168, 604_800, False)],
)
def test_4_7_the_cooldown_ends_with_its_last_hour(hours: int, seconds_ago: float, cooling: bool) -> None:
    aggregate = an_aggregate(agent={"last_switch_at": later(-seconds_ago)}, min_pool_duration_hours=hours)
    assert (Guard.COOLDOWN in blocking(aggregate)) is cooling


COUNTING: list[tuple[str, Any, bool]] = [
    ("automatic", a_switch("s", 1, SwitchTrigger.AUTO), True),
    ("manual", a_switch("s", 1, SwitchTrigger.MANUAL), True),
    ("failed", a_switch("s", 1, SwitchTrigger.AUTO, SwitchState.FAILED), True),
    ("emergency", a_switch("s", 1, SwitchTrigger.EMERGENCY), False),
    ("failed emergency", a_switch("s", 1, SwitchTrigger.EMERGENCY, SwitchState.FAILED), False),
    ("23:59:59 ago", a_switch("s", 24 - 1 / 3600, SwitchTrigger.AUTO), True),
    ("24 h ago", a_switch("s", 24, SwitchTrigger.AUTO), False),
    ("in flight, automatic", a_switch_command(origin=Origin.DECISION), True),
    ("in flight, manual", a_switch_command(origin=Origin.USER), True),
    ("in flight, emergency", a_switch_command(origin=Origin.EMERGENCY), False),
    ("withdrawn", a_switch_command(state=CommandState.CANCELLED), False),
    ("a promotion", a_command(CommandKind.PROMOTE, Origin.OPERATOR), False),
]


@pytest.mark.parametrize(("row", "counted"), [pytest.param(row, yes, id=name) for name, row, yes in COUNTING])
def test_4_7_the_daily_limit_counts_automatic_manual_failed_and_in_flight_never_emergencies(
    row: Any, counted: bool
) -> None:
    assert (Guard.DAILY_LIMIT in blocking(an_aggregate(row, max_switches_per_day=1))) is counted


@pytest.mark.parametrize(
    ("done", "limit", "fails"), [(2, 3, False), (3, 3, True), (4, 3, True), (0, 0, True), (23, 24, False)]
)
def test_4_7_the_daily_limit_is_reached_at_its_number(done: int, limit: int, fails: bool) -> None:
    aggregate = an_aggregate(*(a_switch(str(n), 3) for n in range(done)), max_switches_per_day=limit)
    assert (Guard.DAILY_LIMIT in blocking(aggregate)) is fails


@pytest.mark.parametrize(("hours", "fails"), [(167.99, True), (168, False)])
def test_4_7_the_weekly_limit_looks_back_168_hours(hours: float, fails: bool) -> None:
    aggregate = an_aggregate(*(a_switch(str(n), hours) for n in range(10)))
    assert (Guard.WEEKLY_LIMIT in blocking(aggregate)) is fails
    assert Guard.DAILY_LIMIT not in blocking(aggregate)


moments = st.lists(
    st.tuples(st.floats(0, 200), st.sampled_from(SwitchTrigger), st.sampled_from(SwitchState)), max_size=14
)


@given(some=moments, more=moments, day=st.integers(0, 6), week=st.integers(0, 12))
def test_4_7_a_superset_of_history_never_removes_a_failing_limit(
    some: list[tuple[float, SwitchTrigger, SwitchState]],
    more: list[tuple[float, SwitchTrigger, SwitchState]],
    day: int,
    week: int,
) -> None:
    def limits(rows: list[tuple[float, SwitchTrigger, SwitchState]]) -> set[Guard]:
        history: list[Switch] = [a_switch(str(n), *row) for n, row in enumerate(rows)]
        aggregate = an_aggregate(*history, max_switches_per_day=day, max_switches_per_week=week)
        return blocking(aggregate) & {Guard.DAILY_LIMIT, Guard.WEEKLY_LIMIT}

    assert limits(some) <= limits(some + more)


@pytest.mark.parametrize(("seconds", "stale"), [(600, False), (600.001, True)])
@pytest.mark.parametrize("target", [TO_B, TO_ONDEMAND], ids=["spot", "on-demand"])
def test_z15_a_price_of_more_than_ten_minutes_is_stale(seconds: float, stale: bool, target: Target) -> None:
    aggregate = an_aggregate(agent={"last_heartbeat_at": later(seconds)})
    assert (Guard.PRICE_STALE in blocking(aggregate, target=target, at=seconds)) is stale


@pytest.mark.parametrize(
    ("market", "target", "stale"),
    [
        (a_market(a="0.05"), TO_B, True),
        (a_market(b="0.03"), TO_B, True),  # the current price is unknown
        (a_market(a="0.05", ondemand=None), TO_ONDEMAND, True),
        (a_market(a="0.05", flagged=True), TO_ONDEMAND, True),  # DQ-8
        (a_market(a="0.05", flagged=True, b="0.03"), TO_B, False),  # a spot move needs no on-demand price
        (a_market(a="0.05"), TO_ONDEMAND, False),
    ],
    ids=["no target price", "no current price", "no list", "flagged list", "list not needed", "listed"],
)
def test_4_7_both_prices_have_to_be_known(market: Market, target: Target, stale: bool) -> None:
    assert (Guard.PRICE_STALE in blocking(an_aggregate(), market=market, target=target)) is stale


def test_4_7_a_filled_price_moves_nobody() -> None:
    filled = evolve(MARKET.spot[POOL_B], is_filled=True)
    assert Guard.PRICE_STALE in blocking(an_aggregate(), market=evolve(MARKET, spot={**MARKET.spot, POOL_B: filled}))


@pytest.mark.parametrize(
    ("least", "low"), [("0", False), ("39.99", False), ("40", False), ("40.01", True), ("90", True)]
)
def test_4_7_the_improvement_has_to_reach_the_minimum(least: str, low: bool) -> None:
    aggregate = an_aggregate(min_savings_percent=D(least))  # 0.05 → 0.03 saves 40 %
    assert (Guard.LOW_IMPROVEMENT in blocking(aggregate)) is low


def test_4_7_neither_improvement_nor_risk_is_asked_of_a_move_to_on_demand() -> None:
    aggregate = an_aggregate(min_savings_percent=D(90), risk_threshold=D(0))
    assert blocking(aggregate, target=TO_ONDEMAND) == set()


@pytest.mark.parametrize(("incidents", "high"), [(0, False), (3, False), (4, True), (10, True)])
def test_4_7_the_targets_risk_may_reach_the_threshold_and_not_pass_it(incidents: int, high: bool) -> None:
    assert (Guard.HIGH_RISK in blocking(an_aggregate(), market=with_risk(incidents))) is high  # threshold 0.30


@pytest.mark.parametrize(
    ("rows", "machine", "blocks"),
    [
        ((), "m", True),
        ((a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b"), a_replica()), "r", False),
        ((a_machine("z", InstanceStatus.ZOMBIE, zone="c"),), "z", False),
    ],
    ids=["primary", "replica", "zombie"],
)
def test_4_7_only_an_incident_of_the_primary_blocks(rows: Any, machine: str, blocks: bool) -> None:
    aggregate = an_aggregate(*rows, an_incident(machine))
    assert (Guard.INCIDENT_OPEN in blocking(aggregate)) is blocks


@pytest.mark.parametrize(
    ("state", "blocks"),
    [
        (IncidentState.DETECTED, True),
        (IncidentState.HANDLING, True),
        (IncidentState.FAILED, True),
        (IncidentState.RESOLVED, False),
        (IncidentState.CLEARED, False),
    ],
)
def test_1_8_a_closed_incident_blocks_nothing(state: IncidentState, blocks: bool) -> None:
    assert (Guard.INCIDENT_OPEN in blocking(an_aggregate(an_incident(state=state)))) is blocks


@pytest.mark.parametrize(
    ("mode", "target", "there"),
    [
        (Mode.SPOT, TO_A, True),
        (Mode.SPOT, TO_B, False),
        (Mode.ONDEMAND, TO_ONDEMAND, True),
        (Mode.ONDEMAND, TO_A, False),
        (Mode.UNKNOWN, TO_A, False),
    ],
)
@pytest.mark.parametrize("purpose", list(Purpose))
def test_4_7_already_there_is_the_same_mode_and_pool(mode: Mode, target: Target, there: bool, purpose: Purpose) -> None:
    assert (Guard.ALREADY_THERE in blocking(an_aggregate(mode=mode), purpose, target=target)) is there


def test_4_7_without_a_primary_no_guard_invents_one() -> None:
    gone = without_primary(an_aggregate())
    assert blocking(gone) == {Guard.PRICE_STALE}


# --- issuing: inside the lock --------------------------------------------------------------------------------


def issue(aggregate: Aggregate, purpose: Purpose, market: Market = MARKET, **wanted: Any) -> Any:
    request = SwitchRequest(**(wanted or {"target_mode": Mode.SPOT, "pool_id": POOL_B}))
    origin = Origin.DECISION if purpose is Purpose.AUTO else Origin.USER
    trigger = SwitchTrigger.AUTO if purpose is Purpose.AUTO else SwitchTrigger.MANUAL
    return decided(aggregate, lambda ch: order_switch(ch, request, purpose, origin, trigger), START, market)


@pytest.mark.parametrize(("guard", "row"), ALONE.items(), ids=[guard.value for guard in ALONE])
@pytest.mark.parametrize("purpose", list(Purpose))
def test_4_7_failure_45_issuing_asks_every_guard_again(
    purpose: Purpose, guard: Guard, row: tuple[Aggregate, bool, bool]
) -> None:
    aggregate, blocks_user, _ = row
    if purpose is Purpose.MANUAL and not blocks_user:
        assert issue(aggregate, purpose).answer.command is not None
        return
    with pytest.raises(AgentDisabled if guard is Guard.AGENT_DISABLED else SwitchBlocked) as refusal:
        issue(aggregate, purpose)
    if guard is not Guard.AGENT_DISABLED:
        assert refusal.value.details["guards"] == [guard.value]


@pytest.mark.parametrize("purpose", list(Purpose))
def test_4_7_already_there_answers_and_queues_nothing(purpose: Purpose) -> None:
    outcome = issue(an_aggregate(), purpose, target_mode=Mode.SPOT, pool_id=POOL_A)
    assert outcome.answer.command is None
    assert outcome.after.open_commands == ()


BAD_TARGETS: list[tuple[dict[str, Any], type[SpotError]]] = [
    ({"target_mode": Mode.SPOT, "pool_id": "c5.large.us-east-1b"}, PoolMismatch),
    ({"target_mode": Mode.SPOT, "pool_id": "m5.large.eu-west-1a"}, PoolMismatch),
    ({"target_mode": Mode.SPOT, "pool_id": "nowhere"}, ValidationFailed),
    ({"target_mode": Mode.UNKNOWN}, ValidationFailed),
    ({"target_mode": Mode.ONDEMAND, "instance_type": "c5.large"}, PoolMismatch),
]


@pytest.mark.parametrize(("wanted", "refusal"), BAD_TARGETS, ids=["type", "region", "word", "mode", "new type"])
@pytest.mark.parametrize("purpose", list(Purpose))
def test_4_7_bad_target_is_refused_for_server_and_user(
    purpose: Purpose, wanted: dict[str, Any], refusal: type[SpotError]
) -> None:
    with pytest.raises(refusal):
        issue(an_aggregate(), purpose, **wanted)


# --- the third column: emergencies ---------------------------------------------------------------------------


@pytest.mark.parametrize("guard", [guard for guard in ALONE if guard is not Guard.NOT_EXECUTABLE])
def test_5_2_gr12_no_guard_of_4_7_stops_a_failover_and_a_command_in_flight_is_cancelled(guard: Guard) -> None:
    aggregate = ALONE[guard][0]
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")
    replica = a_replica()
    aggregate = evolve(
        aggregate,
        instances={**aggregate.instances, standby.instance_id: standby},
        replicas={replica.replica_id: replica},
    )
    notice = Signal(severity=Severity.TERMINATION, cloud_id="i-0m", received_at=START)
    after = decided(aggregate, lambda change: signal(change, notice)).after
    assert after.agent.primary_id == standby.instance_id
    assert after.role_change_in_flight is None
    assert after.agent.config == aggregate.agent.config  # MX-13


# --- replayed history ----------------------------------------------------------------------------------------


def heard(aggregate: Aggregate, at: float) -> Aggregate:
    return evolve(aggregate, agent=evolve(aggregate.agent, last_heartbeat_at=later(at)))


def arrived(aggregate: Aggregate, name: str, zone: str, at: float, *, success: bool) -> Aggregate:
    """The report of the switch in flight, as its agent sends it."""
    old = aggregate.primary
    assert old is not None
    assert old.cloud_id is not None
    report = SwitchReport(
        old=MachineReport(cloud_id=old.cloud_id, mode=Mode.SPOT),
        new=MachineReport(
            cloud_id=CloudId(f"i-0{name}"), instance_type="m5.large", az=f"us-east-1{zone}", mode=Mode.SPOT
        ),
        command_id=aggregate.open_commands[0].command_id,
        success=success,
    )
    return decided(aggregate, lambda change: judge_report(change, report), later(at)).after


attempts = st.lists(
    st.tuples(st.sampled_from([600, 3_600, 7_200, 20_000]), st.sampled_from(["auto", "user"]), st.booleans()),
    max_size=12,
)


@given(attempts=attempts, day=st.integers(0, 4), week=st.integers(0, 8), hours=st.sampled_from([0, 1, 2, 5]))
def test_failure_45_every_automatic_switch_of_a_history_had_passed_the_limits_and_the_cooldown(
    attempts: list[tuple[int, str, bool]], day: int, week: int, hours: int
) -> None:
    aggregate = an_aggregate(max_switches_per_day=day, max_switches_per_week=week, min_pool_duration_hours=hours)
    clock, zone, done = 0.0, "a", []
    for number, (pause, who, success) in enumerate(attempts):
        clock += pause
        other = "b" if zone == "a" else "a"
        market = a_market(at=later(clock), **{zone: "0.05", other: "0.03"})
        purpose = Purpose.AUTO if who == "auto" else Purpose.MANUAL
        aggregate = heard(aggregate, clock)
        pool_id = f"m5.large.us-east-1{other}"
        try:
            issued = decided(aggregate, issuing(purpose, pool_id), later(clock), market)
        except SwitchBlocked as refusal:
            assert purpose is Purpose.AUTO
            assert set(refusal.details["guards"]) <= {"DAILY_LIMIT", "WEEKLY_LIMIT", "COOLDOWN"}
            continue
        if purpose is Purpose.AUTO:
            assert sum(clock - at < 86_400 for at in done) < day
            assert sum(clock - at < 604_800 for at in done) < week
            assert not done or clock - done[-1] >= hours * 3_600
        aggregate = arrived(issued.after, f"n{number}", other, clock, success=success)
        done.append(clock)
        zone = other if success else zone


def issuing(purpose: Purpose, pool_id: str) -> Callable[[Change], Any]:
    auto = purpose is Purpose.AUTO
    wanted = SwitchRequest(target_mode=Mode.SPOT, pool_id=pool_id)
    origin = Origin.DECISION if auto else Origin.USER
    trigger = SwitchTrigger.AUTO if auto else SwitchTrigger.MANUAL
    return lambda change: order_switch(change, wanted, purpose, origin, trigger)
