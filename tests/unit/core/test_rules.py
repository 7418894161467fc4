"""Section 4.5: the built-in rules, first match wins, at every threshold."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.decisions import Action, Candidate, Proposal, Snapshot
from spotcore.engines.rules import RulesEngine
from spotcore.pools import Mode
from tests.support.rule_builders import AGENT, CLIENT, POOL_A, POOL_B, POOL_C, REGION, START, TYPE, D


def a_candidate(pool: str = POOL_B, price: str = "0.04", risk: str = "0.1") -> Candidate:
    return Candidate(pool_id=pool, az=pool[-10:], price=D(price), observed_at=START, risk=D(risk))


def a_snapshot(mode: Mode, paid: str | None, ondemand: str | None, *candidates: Candidate, **facts: Any) -> Snapshot:
    known = {"current_risk": D("0.1"), **facts}
    return Snapshot(
        client_id=CLIENT, agent_id=AGENT, taken_at=START, instance_id="i-0m", instance_type=TYPE, region=REGION,
        current_mode=mode, current_pool_id=POOL_A if mode is Mode.SPOT else None,
        current_price=D(paid) if paid is not None else None, ondemand_price=D(ondemand) if ondemand is not None else None,
        candidates=candidates, **known,
    )  # fmt: skip


def proposed(*snapshot: Any, **facts: Any) -> Proposal:
    return RulesEngine().propose(a_snapshot(*snapshot, **facts))


UNUSABLE = [None, "0", "0.0", "-0.01", "NaN", "Infinity", "-Infinity"]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("price", UNUSABLE, ids=str)
@pytest.mark.parametrize("which", ["current", "on-demand"])
def test_fb1_without_a_usable_price_it_stays_and_the_risk_is_unknown(mode: Mode, price: str | None, which: str) -> None:
    paid, ondemand = (price, "0.10") if which == "current" else ("0.05", price)
    answer = proposed(mode, paid, ondemand, a_candidate(price="0.01"))
    assert (answer.action, answer.confidence, answer.risk) == (Action.STAY, D("0.50"), None)
    assert (answer.reason, answer.target_pool_id) == ("insufficient_data", None)


@pytest.mark.parametrize(
    ("paid", "action"),
    [
        ("0.0799", Action.STAY),
        ("0.08", Action.STAY),  # 0.80 exactly is not above it
        ("0.080001", Action.SWITCH_POOL),
        ("0.20", Action.SWITCH_POOL),
    ],
)
def test_fb2_begins_just_above_80_percent_of_on_demand(paid: str, action: Action) -> None:
    assert proposed(Mode.SPOT, paid, "0.10", a_candidate(price="0.05")).action is action


@pytest.mark.parametrize(
    ("price", "risk", "action"),
    [
        ("0.08", "0.1", Action.SWITCH_POOL),  # 0.80 of on-demand exactly
        ("0.080001", "0.1", Action.SWITCH_TO_ONDEMAND),
        ("0.045", "0.20", Action.SWITCH_TO_ONDEMAND),  # medium risk: 50 % is not above 50 %
        ("0.044999", "0.20", Action.SWITCH_POOL),
        ("0.01", "0.50", Action.SWITCH_TO_ONDEMAND),  # high risk: never a target
    ],
)
def test_fb2_takes_a_pool_that_is_cheap_enough_and_passes_4_3_else_on_demand(
    price: str, risk: str, action: Action
) -> None:
    answer = proposed(Mode.SPOT, "0.09", "0.10", a_candidate(price=price, risk=risk))
    assert (answer.action, answer.confidence) == (action, D("0.70"))
    assert answer.target_pool_id == (POOL_B if action is Action.SWITCH_POOL else None)


def test_fb2_passes_over_a_risky_pool_for_the_next_best() -> None:
    answer = proposed(Mode.SPOT, "0.09", "0.10", a_candidate(POOL_B, "0.03", "0.6"), a_candidate(POOL_C, "0.05", "0.1"))
    assert (answer.action, answer.target_pool_id) == (Action.SWITCH_POOL, POOL_C)


def test_fb2_without_any_candidate_goes_to_on_demand() -> None:
    assert proposed(Mode.SPOT, "0.09", "0.10").action is Action.SWITCH_TO_ONDEMAND


@pytest.mark.parametrize(
    ("price", "least", "action"),
    [
        ("0.07", "15", Action.STAY),  # 30 % exactly is not above it
        ("0.069999", "15", Action.SWITCH_TO_SPOT),
        ("0.05", "50", Action.SWITCH_TO_SPOT),  # the agent's own minimum counts from its value on
        ("0.050001", "50", Action.STAY),
        ("0.01", "90", Action.SWITCH_TO_SPOT),
        ("0.10", "0", Action.STAY),
        ("0.20", "0", Action.STAY),
    ],
)
def test_fb3_moves_to_spot_for_more_than_30_percent_and_the_agents_minimum(
    price: str, least: str, action: Action
) -> None:
    answer = proposed(Mode.ONDEMAND, "0.10", "0.10", a_candidate(price=price), min_savings_percent=D(least))
    assert answer.action is action
    if action is Action.SWITCH_TO_SPOT:
        assert (answer.confidence, answer.target_pool_id) == (D("0.80"), POOL_B)


@pytest.mark.parametrize(
    ("price", "risk", "action"),
    [
        ("0.06", "0.19", Action.SWITCH_TO_SPOT),
        ("0.06", "0.20", Action.STAY),  # medium: 40 % is not above 50 %
        ("0.05", "0.30", Action.STAY),
        ("0.049", "0.30", Action.SWITCH_TO_SPOT),
        ("0.01", "0.50", Action.STAY),
    ],
)
def test_fb3_a_target_has_to_pass_4_3(price: str, risk: str, action: Action) -> None:
    assert proposed(Mode.ONDEMAND, "0.10", "0.10", a_candidate(price=price, risk=risk)).action is action


@pytest.mark.parametrize("mode", [Mode.SPOT, Mode.ONDEMAND, Mode.UNKNOWN])
def test_fb4_otherwise_it_stays_with_the_risk_it_knows(mode: Mode) -> None:
    answer = proposed(mode, "0.05", "0.10")
    assert (answer.action, answer.confidence, answer.risk) == (Action.STAY, D("0.60"), D("0.1"))


money = st.decimals("0.000001", "10", places=6)
some_candidates = st.lists(
    st.tuples(st.sampled_from([POOL_B, POOL_C]), money, st.decimals(0, 1, places=2)), max_size=3
).map(lambda rows: tuple(a_candidate(pool, str(price), str(score)) for pool, price, score in rows))


@given(paid=money, ondemand=money, candidates=some_candidates)
def test_4_5_the_fallback_never_moves_from_pool_to_pool_for_money_alone(
    paid: Decimal, ondemand: Decimal, candidates: tuple[Candidate, ...]
) -> None:
    answer = proposed(Mode.SPOT, str(paid), str(ondemand), *candidates)
    if paid <= ondemand * D("0.80"):
        assert answer.action is Action.STAY
    else:
        assert answer.action in (Action.SWITCH_POOL, Action.SWITCH_TO_ONDEMAND)
    if answer.action is Action.SWITCH_POOL:
        target = next(one for one in candidates if one.pool_id == answer.target_pool_id)
        assert min(one.price for one in candidates if one.pool_id == target.pool_id) <= ondemand * D("0.80")


@given(mode=st.sampled_from(Mode), paid=st.none() | money, ondemand=st.none() | money, candidates=some_candidates)
def test_4_1_the_same_snapshot_gives_the_same_answer_and_one_always(
    mode: Mode, paid: Decimal | None, ondemand: Decimal | None, candidates: tuple[Candidate, ...]
) -> None:
    shown = a_snapshot(mode, str(paid) if paid else None, str(ondemand) if ondemand else None, *candidates)
    answer = RulesEngine().propose(shown)
    assert answer == RulesEngine().propose(shown)
    assert 0 <= answer.confidence <= 1
    assert answer.reason


def test_4_2_every_candidate_has_a_score_what_it_would_save_in_percent() -> None:
    answer = proposed(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B, "0.04"), a_candidate(POOL_C, "0.06"))
    assert answer.scores == {POOL_B: D(20), POOL_C: D(-20)}
