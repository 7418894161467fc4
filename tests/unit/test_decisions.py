"""Section 4: risk, candidates, the built-in rules, misbehaving engines, guards."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore import decisions, guards, judgement, risk
from spotcore.agents import Agent
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.clients import Client
from spotcore.config import AgentConfig
from spotcore.decisions import Action, Candidate, Proposal, Snapshot
from spotcore.engines.rules import RulesEngine
from spotcore.events import EventKind
from spotcore.guards import Guard, Purpose, Target
from spotcore.ids import AgentId, ClientId, CloudId, InstanceId, SwitchId
from spotcore.instances import Instance, InstanceStatus
from spotcore.market import Market, OndemandQuote, PoolRecord, SpotQuote
from spotcore.pools import Mode
from spotcore.switches import PrimaryPeriod, Switch, SwitchState, SwitchTrigger
from spotcore.verdict import decide
from tests.support.world import START, TYPE

D = Decimal
POOL_A, POOL_B, POOL_C = (f"{TYPE}.us-east-1{letter}" for letter in "abc")


def a_snapshot(
    mode: Mode = Mode.SPOT,
    paid: str | None = "0.05",
    ondemand: str | None = "0.10",
    *candidates: Candidate,
    **facts: Any,
) -> Snapshot:
    return Snapshot(
        client_id=ClientId("c"), agent_id=AgentId("a"), taken_at=START, instance_id="i-0a", instance_type=TYPE,
        region="us-east-1", current_mode=mode, current_pool_id=POOL_A if mode is Mode.SPOT else None,
        current_price=D(paid) if paid else None, ondemand_price=D(ondemand) if ondemand else None, current_risk=D("0.1"),
        candidates=candidates, **facts,
    )  # fmt: skip


def a_candidate(pool: str = POOL_B, price: str = "0.04", score: str = "0.1") -> Candidate:
    return Candidate(pool_id=pool, az=pool[-10:], price=D(price), observed_at=START, risk=D(score))


@pytest.mark.parametrize("facts", [{"paid": None}, {"ondemand": None}, {"paid": "0"}, {"ondemand": "-1"}])
def test_fb1_without_prices_the_answer_is_stay_and_the_risk_unknown(facts: dict[str, str | None]) -> None:
    proposal = RulesEngine().propose(a_snapshot(**facts))  # type: ignore[arg-type]
    assert (proposal.action, proposal.confidence, proposal.risk, proposal.reason) == (
        Action.STAY,
        D("0.50"),
        None,
        "insufficient_data",
    )


def test_fb2_dear_spot_moves_to_a_cheap_pool_or_on_demand() -> None:
    dear = a_snapshot(Mode.SPOT, "0.09", "0.10", a_candidate(price="0.04"))
    assert (RulesEngine().propose(dear).action, RulesEngine().propose(dear).target_pool_id) == (
        Action.SWITCH_POOL,
        POOL_B,
    )
    too_dear = a_snapshot(Mode.SPOT, "0.09", "0.10", a_candidate(price="0.085"))
    assert RulesEngine().propose(too_dear).action is Action.SWITCH_TO_ONDEMAND
    risky = a_snapshot(Mode.SPOT, "0.09", "0.10", a_candidate(price="0.05", score="0.3"))
    assert RulesEngine().propose(risky).action is Action.SWITCH_TO_ONDEMAND  # medium risk needs more than 50 %


def test_fb3_on_demand_moves_to_spot_that_saves_more_than_30_percent() -> None:
    assert (
        RulesEngine().propose(a_snapshot(Mode.ONDEMAND, "0.10", "0.10", a_candidate(price="0.06"))).action
        is Action.SWITCH_TO_SPOT
    )
    assert (
        RulesEngine().propose(a_snapshot(Mode.ONDEMAND, "0.10", "0.10", a_candidate(price="0.07"))).action
        is Action.STAY
    )
    strict = a_snapshot(Mode.ONDEMAND, "0.10", "0.10", a_candidate(price="0.06"), min_savings_percent=D(50))
    assert RulesEngine().propose(strict).action is Action.STAY


def test_fb4_otherwise_it_stays_and_never_moves_from_pool_to_pool_for_money() -> None:
    proposal = RulesEngine().propose(a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(price="0.01")))
    assert (proposal.action, proposal.confidence) == (Action.STAY, D("0.60"))


def test_4_3_risk_is_the_weighted_mean_of_what_is_known() -> None:
    old = START - timedelta(days=3)
    record = PoolRecord(pool_id=POOL_A, incidents_7d=5, first_observed_at=old, recent_prices=(D(1), D("1.5")))
    judged = risk.pool_risk(record, START, launched_at=START - timedelta(hours=6))
    assert judged.score == D("0.50") * (D("0.40") + D("0.30") + D("0.30"))
    assert risk.pool_risk(None, START).flags == ("prior",)
    young = PoolRecord(pool_id=POOL_A, incidents_7d=9, first_observed_at=START, recent_prices=(D(1), D(1)))
    assert risk.pool_risk(young, START) == risk.Risk(score=D("0.30"), flags=("young_pool",))


@given(incidents=st.integers(0, 50), more=st.integers(0, 50), hours=st.floats(0, 100))
def test_4_3_risk_stays_in_0_to_1_and_grows_with_interruptions(incidents: int, more: int, hours: float) -> None:
    old = START - timedelta(days=3)

    def score(count: int) -> Decimal:
        record = PoolRecord(pool_id=POOL_A, incidents_7d=count, first_observed_at=old)
        return risk.pool_risk(record, START, launched_at=START - timedelta(hours=hours)).score

    assert 0 <= score(incidents) <= score(incidents + more) <= 1


@pytest.mark.parametrize(
    ("score", "advice"), [("0.40", "safe"), ("0.41", "caution"), ("0.70", "caution"), ("0.71", "avoid")]
)
def test_pool_advice_has_the_contracts_bounds(score: str, advice: str) -> None:
    judged = risk.advice(risk.Risk(score=D(score)))
    assert judged is not None
    assert judged.value == advice
    assert risk.advice(risk.Risk(score=D("0.5"), flags=("prior",))) is None


class Named:
    name, version = "test", "1"


def test_4_6_a_sound_proposal_passes_and_a_timid_one_stays() -> None:
    snapshot = a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate())
    good = Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_B, confidence=D("0.9"), risk=D("0.1"))
    assert judgement.judge_output(good, snapshot, Named()).proposal is good
    timid = Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_B, confidence=D("0.69"))
    advice = judgement.judge_output(timid, snapshot, Named())
    assert (advice.proposal.action, advice.proposal.reason, advice.source) == (Action.STAY, "low_confidence", "engine")


NONSENSE: list[Any] = [
    None, "switch", 7, {"action": "stay"},
    Proposal(action=Action.SWITCH_POOL, target_pool_id="m5.large.mars-1a", confidence=D("0.9")),
    Proposal(action=Action.SWITCH_POOL, target_pool_id=None, confidence=D("0.9")),
    Proposal(action=Action.SWITCH_TO_SPOT, target_pool_id=POOL_B, confidence=D("0.9")),
    Proposal(action=Action.STAY, confidence=D("NaN")),
    Proposal(action=Action.STAY, confidence=D("1.1")),
    Proposal(action=Action.STAY, confidence=D("0.9"), risk=D("Infinity")),
    Proposal(action="fly", confidence=D("0.9")),  # type: ignore[arg-type]
    Proposal(action=Action.STAY, confidence=0.9),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize("output", NONSENSE)
def test_4_6_nonsense_is_rejected_whole_and_the_rules_decide_failure_90(output: Any) -> None:
    advice = judgement.judge_output(output, a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate()), Named())
    assert (advice.source, advice.rejected) == ("fallback", EventKind.MODEL_OUTPUT_REJECTED)
    assert advice.proposal.action is Action.STAY


def test_4_6_errors_and_time_outs_fall_back() -> None:
    snapshot = a_snapshot()
    assert judgement.judge_output(RuntimeError("x"), snapshot, Named()).rejected is EventKind.MODEL_ERROR
    assert judgement.judge_output(TimeoutError(), snapshot, Named()).rejected is EventKind.MODEL_TIMEOUT
    late = judgement.judge_output(Proposal(action=Action.STAY), snapshot, Named(), elapsed=timedelta(seconds=2.1))
    assert late.rejected is EventKind.MODEL_TIMEOUT


def test_4_6_the_circuit_opens_after_five_failures_and_probes_after_five_minutes() -> None:
    circuit = judgement.Circuit()
    for minute in range(5):
        assert circuit.allows(START + timedelta(minutes=minute))
        circuit = circuit.after_failure(START + timedelta(minutes=minute))
    opened = START + timedelta(minutes=4)
    assert not circuit.allows(opened + timedelta(minutes=4))
    assert circuit.allows(opened + timedelta(minutes=5))
    assert circuit.after_success().allows(opened)
    assert not circuit.after_failure(opened + timedelta(minutes=5)).allows(opened + timedelta(minutes=6))
    slow = judgement.Circuit()
    for number in range(9):
        slow = slow.after_failure(START + timedelta(minutes=3 * number))
    assert slow.opened_at is None  # never five within ten minutes


def an_aggregate(
    mode: Mode = Mode.SPOT, build: Build = Build.V4C, switches: tuple[Switch, ...] = (), **config: Any
) -> Aggregate:
    who = {"client_id": ClientId("c"), "agent_id": AgentId("a")}
    machine = Instance(
        instance_id=InstanceId("m"), status=InstanceStatus.RUNNING_PRIMARY, cloud_id=CloudId("i-0a"), instance_type=TYPE,
        region="us-east-1", az="us-east-1a", created_at=START, **who,
    ).with_mode(mode)  # fmt: skip
    agent = Agent(
        logical_agent_id="web", build=build, config=AgentConfig(**config), registered_at=START, updated_at=START,
        last_heartbeat_at=START, primary_id=machine.instance_id, region="us-east-1", **who,
    )  # fmt: skip
    return Aggregate(
        client=Client(client_id=ClientId("c"), name="Acme", created_at=START),
        agent=agent,
        instances={machine.instance_id: machine},
        switches={row.switch_id: row for row in switches},
        periods=(PrimaryPeriod(instance_id=machine.instance_id, started_at=START, **who),),
    )


def a_market(**prices: str) -> Market:
    spot = {
        f"{TYPE}.us-east-1{zone}": SpotQuote(pool_id=f"{TYPE}.us-east-1{zone}", price=D(price), observed_at=START)
        for zone, price in prices.items()
    }
    old = START - timedelta(days=3)
    pools = {pool: PoolRecord(pool_id=pool, first_observed_at=old) for pool in spot}
    return Market(spot=spot, pools=pools, ondemand=OndemandQuote(price=D("0.10"), observed_at=START))


def a_switch(
    number: int,
    hours_ago: float,
    trigger: SwitchTrigger = SwitchTrigger.AUTO,
    state: SwitchState = SwitchState.COMPLETED,
) -> Switch:
    return Switch(
        switch_id=SwitchId(str(number)), client_id=ClientId("c"), agent_id=AgentId("a"), state=state, trigger=trigger,
        recorded_at=START - timedelta(hours=hours_ago),
    )  # fmt: skip


TO_B = Target(mode=Mode.SPOT, pool_id=POOL_B)
MARKET = a_market(a="0.05", b="0.03")


def failing(
    aggregate: Aggregate, market: Market = MARKET, target: Target = TO_B, purpose: Purpose = Purpose.AUTO
) -> set[Guard]:
    return set(guards.failing(aggregate, market, target, purpose, START))


def test_4_7_nothing_fails_when_nothing_speaks_against_it() -> None:
    assert failing(an_aggregate()) == set()


@pytest.mark.parametrize(
    ("aggregate", "guard", "blocks_manual"),
    [
        (an_aggregate(build=Build.V4N), Guard.NOT_EXECUTABLE, True),
        (an_aggregate(enabled=False), Guard.AGENT_DISABLED, True),
        (an_aggregate(auto_switch_enabled=False), Guard.AUTO_SWITCH_DISABLED, False),
        (an_aggregate(max_switches_per_day=0), Guard.DAILY_LIMIT, False),
        (an_aggregate(max_switches_per_week=0), Guard.WEEKLY_LIMIT, False),
        (an_aggregate(min_savings_percent=D(60)), Guard.LOW_IMPROVEMENT, False),
        (an_aggregate(switches=tuple(a_switch(n, n) for n in range(3))), Guard.DAILY_LIMIT, False),
        (an_aggregate(switches=tuple(a_switch(n, 30 + n) for n in range(10))), Guard.WEEKLY_LIMIT, False),
        (
            an_aggregate(switches=(a_switch(1, 1, state=SwitchState.FAILED),), max_switches_per_day=1),
            Guard.DAILY_LIMIT,
            False,
        ),
    ],
)
def test_4_7_each_guard_fails_for_its_reason_gr12(aggregate: Aggregate, guard: Guard, blocks_manual: bool) -> None:
    assert guard in failing(aggregate)
    assert (guard in failing(aggregate, purpose=Purpose.MANUAL)) == blocks_manual


def test_4_7_emergencies_and_promotions_are_not_counted() -> None:
    free = (SwitchTrigger.EMERGENCY, SwitchTrigger.REHOME, SwitchTrigger.MANUAL_PROMOTION)
    aggregate = an_aggregate(
        switches=tuple(a_switch(n, 1, trigger) for n, trigger in enumerate(free)), max_switches_per_day=1
    )
    assert failing(aggregate) == set()


def test_4_7_stale_prices_block_an_automatic_switch_and_warn_a_user_z15() -> None:
    stale = a_market(a="0.05")
    assert Guard.PRICE_STALE in failing(an_aggregate(), stale)
    assert failing(an_aggregate(), stale, purpose=Purpose.MANUAL) == set()
    assert Guard.PRICE_STALE in guards.warnings(an_aggregate(), stale, TO_B, Purpose.MANUAL, START)


@given(hours=st.lists(st.floats(0, 200), max_size=12), more=st.lists(st.floats(0, 200), max_size=12))
def test_4_7_more_history_never_removes_a_failing_limit(hours: list[float], more: list[float]) -> None:
    some = tuple(a_switch(n, h) for n, h in enumerate(hours))
    all_of_it = some + tuple(a_switch(1_000 + n, h) for n, h in enumerate(more))
    limits = {Guard.DAILY_LIMIT, Guard.WEEKLY_LIMIT}
    assert failing(an_aggregate(switches=some)) & limits <= failing(an_aggregate(switches=all_of_it)) & limits


def test_4_1_a_decision_is_always_made_and_executed_only_when_nothing_fails() -> None:
    from spotcore import candidates

    market = a_market(b="0.03", c="0.02")
    for aggregate, executes in (
        (an_aggregate(Mode.ONDEMAND), True),
        (an_aggregate(Mode.ONDEMAND, enabled=False), False),
    ):
        snapshot = candidates.snapshot(aggregate, market, START)
        decision = decide(aggregate, market, snapshot, judgement.fallback(snapshot), START)
        assert (decision.action, decision.target_pool_id) == (Action.SWITCH_TO_SPOT, POOL_C)
        assert decision.savings_per_hour == D("0.08")  # 4.2: the server's own figure
        assert decision.will_auto_execute is executes


def test_4_1_the_same_snapshot_hashes_the_same() -> None:
    snapshot = a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate())
    assert decisions.snapshot_hash(snapshot) == decisions.snapshot_hash(
        a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate())
    )
    assert decisions.snapshot_hash(snapshot) != decisions.snapshot_hash(
        a_snapshot(Mode.SPOT, "0.06", "0.10", a_candidate())
    )
