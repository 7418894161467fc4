"""Sections 4.1, 4.2: a decision is always made, its money is the server's, and it is carried out only when none objects."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore import candidates, decisions, judgement
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.decisions import Action, Decision, Proposal, Snapshot
from spotcore.judgement import Advice
from spotcore.market import Market
from spotcore.pools import Mode
from spotcore.verdict import decide
from tests.support.rule_builders import (
    POOL_A,
    POOL_B,
    POOL_C,
    START,
    D,
    a_market,
    an_aggregate,
    an_incident,
    later,
    without_primary,
)
from tests.unit.core.test_rules import a_candidate, a_snapshot

MARKET = a_market(a="0.05", b="0.03", c="0.06")


class Named:
    name, version = "test", "7"


def advised(action: Action, pool: str | None = None, *, source: str = "engine", **facts: Any) -> Advice:
    proposal = Proposal(action=action, target_pool_id=pool, **{"confidence": D("0.9"), **facts})
    return Advice(proposal=proposal, engine="test", engine_version="7", source=source)


def verdict(aggregate: Aggregate, advice: Advice, market: Market = MARKET, at: float = 0) -> Decision:
    return decide(aggregate, market, candidates.snapshot(aggregate, market, later(at)), advice, later(at))


@pytest.mark.parametrize(
    ("mode", "advice", "target", "saves", "percent"),
    [
        (Mode.SPOT, advised(Action.SWITCH_POOL, POOL_B), (Mode.SPOT, POOL_B), "0.02", "40"),
        (Mode.SPOT, advised(Action.SWITCH_POOL, POOL_C), (Mode.SPOT, POOL_C), "-0.01", "-20"),
        (Mode.SPOT, advised(Action.SWITCH_TO_ONDEMAND), (Mode.ONDEMAND, None), "-0.05", "-100"),
        (Mode.ONDEMAND, advised(Action.SWITCH_TO_SPOT, POOL_B), (Mode.SPOT, POOL_B), "0.07", "70"),
        (Mode.SPOT, advised(Action.STAY), (Mode.SPOT, POOL_A), "0", "0"),
        (Mode.ONDEMAND, advised(Action.STAY), (Mode.ONDEMAND, None), "0", "0"),
    ],
)
def test_4_2_savings_and_improvement_are_the_servers_own_figures(
    mode: Mode, advice: Advice, target: tuple[Mode, str | None], saves: str, percent: str
) -> None:
    decision = verdict(an_aggregate(mode=mode), advice)
    assert (decision.target_mode, decision.target_pool_id) == target
    assert (decision.savings_per_hour, decision.improvement_percent) == (D(saves), D(percent))


def test_4_2_a_figure_of_the_models_is_never_used() -> None:
    boasting = advised(Action.SWITCH_POOL, POOL_B, scores={POOL_B: D(99)}, reason="saves 99 %")
    assert verdict(an_aggregate(), boasting).improvement_percent == D(40)


def test_gr7_an_unknown_price_gives_unknown_savings_and_not_zero() -> None:
    decision = verdict(an_aggregate(), advised(Action.SWITCH_TO_ONDEMAND), a_market(a="0.05", ondemand=None))
    assert (decision.savings_per_hour, decision.improvement_percent) == (None, None)
    assert decision.guards == ("PRICE_STALE",)


NOT_CARRIED_OUT: dict[str, Aggregate] = {
    "disabled": an_aggregate(enabled=False),
    "auto-switch off": an_aggregate(auto_switch_enabled=False),
    "manual mode": an_aggregate(auto_switch_enabled=False, manual_replica_enabled=True),
    "incident open": an_aggregate(an_incident()),
    "offline": an_aggregate(agent={"last_heartbeat_at": later(-121)}),
    "cooling down": an_aggregate(agent={"last_switch_at": START}),
    "cannot switch": an_aggregate(build=Build.V4N),
    "limit reached": an_aggregate(max_switches_per_day=0),
    "too little": an_aggregate(min_savings_percent=D(41)),
}


@pytest.mark.parametrize("aggregate", NOT_CARRIED_OUT.values(), ids=NOT_CARRIED_OUT.keys())
def test_4_1_a_decision_is_made_all_the_same_and_not_carried_out(aggregate: Aggregate) -> None:
    decision = verdict(aggregate, advised(Action.SWITCH_POOL, POOL_B))
    assert (decision.action, decision.target_pool_id) == (Action.SWITCH_POOL, POOL_B)
    assert len(decision.guards) == 1
    assert not decision.will_auto_execute


def test_4_7_with_no_guard_failing_it_is_carried_out_and_a_stay_never_is() -> None:
    assert verdict(an_aggregate(), advised(Action.SWITCH_POOL, POOL_B)).will_auto_execute
    stay = verdict(an_aggregate(), advised(Action.STAY))
    assert (stay.will_auto_execute, stay.guards) == (False, ())


@pytest.mark.parametrize("life", [Life.RETIRING, Life.DELETED])
def test_4_7_an_agent_that_is_not_live_is_not_moved(life: Life) -> None:
    assert not verdict(an_aggregate(agent={"life": life}), advised(Action.SWITCH_POOL, POOL_B)).will_auto_execute


@pytest.mark.parametrize(
    ("confidence", "source", "named"),
    [("0.69", "engine", True), ("0.70", "engine", False), ("0.60", "fallback", False)],
)
def test_4_7_low_confidence_is_a_guard_for_a_model_and_not_for_the_rules(
    confidence: str, source: str, named: bool
) -> None:
    advice = advised(Action.SWITCH_POOL, POOL_B, source=source, confidence=D(confidence))
    decision = verdict(an_aggregate(), advice)
    assert ("LOW_CONFIDENCE" in decision.guards) is named
    assert decision.will_auto_execute is not named


@pytest.mark.parametrize(("threshold", "executes"), [("0.50", True), ("0.5001", False)])
def test_3_a_model_with_a_threshold_of_its_own_is_held_to_it_and_to_no_other(threshold: str, executes: bool) -> None:
    aggregate, market = an_aggregate(), MARKET
    shown = candidates.snapshot(aggregate, market, START)
    proposal = Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_B, confidence=D("0.50"))
    advice = judgement.judge_output(proposal, shown, Named(), threshold=D(threshold))
    decision = decide(aggregate, market, shown, advice, START)
    assert (decision.will_auto_execute, decision.guards) == (executes, ())


def test_4_7_the_guards_look_at_now_and_not_at_the_snapshot() -> None:
    aggregate = an_aggregate(agent={"last_heartbeat_at": later(601)})
    shown = candidates.snapshot(aggregate, MARKET, START)
    late = decide(aggregate, MARKET, shown, advised(Action.SWITCH_POOL, POOL_B), later(601))
    assert (late.guards, late.will_auto_execute) == (("PRICE_STALE",), False)


@pytest.mark.parametrize(
    "aggregate", [an_aggregate(), an_aggregate(mode=Mode.UNKNOWN), without_primary(an_aggregate())]
)
@pytest.mark.parametrize("market", [MARKET, Market(), Market(known=False)], ids=["priced", "empty", "unreadable"])
def test_4_1_a_decision_always_comes_and_says_whose_it_is(aggregate: Aggregate, market: Market) -> None:
    shown = candidates.snapshot(aggregate, market, START)
    decision = decide(aggregate, market, shown, judgement.fallback(shown, reason="no_model"), START)
    assert (decision.source, decision.engine, decision.engine_version) == ("fallback", "fallback", "1")
    assert decision.reason


def test_4_1_a_fallback_that_moves_goes_through_the_same_guards() -> None:
    aggregate = an_aggregate(mode=Mode.ONDEMAND)
    shown = candidates.snapshot(aggregate, MARKET, START)
    decision = decide(aggregate, MARKET, shown, judgement.fallback(shown), START)
    assert (decision.action, decision.target_pool_id, decision.will_auto_execute) == (
        Action.SWITCH_TO_SPOT, POOL_B, True,
    )  # fmt: skip


# --- the values (decisions) ----------------------------------------------------------------------------------

ON_SPOT = a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B, "0.04"))


@pytest.mark.parametrize(
    ("mode", "pool", "price"),
    [
        (Mode.ONDEMAND, None, "0.10"),
        (Mode.SPOT, POOL_B, "0.04"),
        (Mode.SPOT, POOL_C, None),
        (Mode.SPOT, None, None),
        (Mode.UNKNOWN, None, None),
    ],
)
def test_4_2_the_price_of_a_target_is_the_snapshots_or_unknown(mode: Mode, pool: str | None, price: str | None) -> None:
    assert decisions.price_of(mode, pool, ON_SPOT) == (D(price) if price else None)


def test_4_1_the_same_snapshot_has_the_same_hash_and_any_other_fact_another() -> None:
    same = a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B, "0.04"))
    others: list[Snapshot] = [
        a_snapshot(Mode.SPOT, "0.051", "0.10", a_candidate(POOL_B, "0.04")),
        a_snapshot(Mode.SPOT, "0.05", "0.11", a_candidate(POOL_B, "0.04")),
        a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B, "0.041")),
        a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B, "0.04", "0.2")),
        a_snapshot(Mode.SPOT, "0.05", "0.10"),
        a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B, "0.04"), current_risk=None),
        a_snapshot(Mode.ONDEMAND, "0.05", "0.10", a_candidate(POOL_B, "0.04")),
        a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B, "0.04"), min_savings_percent=D(16)),
    ]
    assert decisions.snapshot_hash(ON_SPOT) == decisions.snapshot_hash(same)
    assert len({decisions.snapshot_hash(one) for one in [ON_SPOT, *others]}) == 1 + len(others)


@given(paid=st.decimals("0.000001", "10", places=6), then=st.decimals("0.000001", "10", places=6))
def test_4_2_saving_and_improvement_have_the_same_sign(paid: Decimal, then: Decimal) -> None:
    market = a_market(a=str(paid), b=str(then))
    decision = verdict(an_aggregate(), advised(Action.SWITCH_POOL, POOL_B), market)
    saves, percent = decision.savings_per_hour, decision.improvement_percent
    assert saves is not None
    assert percent is not None
    assert saves == paid - then
    assert (saves > 0, saves < 0) == (percent > 0, percent < 0)
    assert percent <= 100
