"""Section 4.6: an engine's word is taken whole or refused whole, and a failing engine is left alone for a while."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore import judgement
from spotcore.decisions import Action, Proposal
from spotcore.events import EventKind
from spotcore.judgement import Advice, Circuit
from spotcore.pools import Mode
from tests.support.rule_builders import POOL_A, POOL_B, POOL_C, START, D
from tests.unit.core.test_rules import a_candidate, a_snapshot

ON_SPOT = a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B))
ON_DEMAND = a_snapshot(Mode.ONDEMAND, "0.10", "0.10", a_candidate(POOL_B, "0.09"))
LOST = a_snapshot(Mode.UNKNOWN, None, None)


class Named:
    name, version = "test", "7"


def judge(output: object, snapshot: Any = ON_SPOT, **facts: Any) -> Advice:
    return judgement.judge_output(output, snapshot, Named(), **facts)


def says(action: Any = Action.STAY, pool: Any = None, **facts: Any) -> Proposal:
    return Proposal(action=action, target_pool_id=pool, **{"confidence": D("0.9"), **facts})


@pytest.mark.parametrize(
    ("snapshot", "output"),
    [
        (ON_SPOT, says(Action.SWITCH_POOL, POOL_B)),
        (ON_SPOT, says(Action.SWITCH_TO_ONDEMAND)),
        (ON_SPOT, says()),
        (ON_DEMAND, says(Action.SWITCH_TO_SPOT, POOL_B)),
        (LOST, says()),
        (ON_SPOT, says(confidence=D(0))),
        (ON_SPOT, says(confidence=D(1), risk=D(1))),
        (ON_SPOT, says(Action.SWITCH_POOL, POOL_B, confidence=D("0.70"), risk=D(0))),
    ],
)
def test_4_6_a_sound_proposal_is_taken_word_for_word(snapshot: Any, output: Proposal) -> None:
    advice = judge(output, snapshot)
    assert advice.proposal is output
    assert (advice.source, advice.engine, advice.engine_version, advice.rejected) == ("engine", "test", "7", None)


class Hostile:
    """Neither text nor number, and it cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not touch")


NONSENSE: dict[str, Any] = {
    "nothing": None,
    "text": "switch",
    "a number": 7,
    "a dict": {"action": "stay"},
    "a list": [says()],
    "the class": Proposal,
    "an unknown action": says("fly"),
    "no action": says(None),
    "an action that cannot be hashed": says(Hostile()),
    "NaN confidence": says(confidence=D("NaN")),
    "a signalling NaN": says(confidence=D("sNaN")),
    "infinite confidence": says(confidence=D("Infinity")),
    "confidence above 1": says(confidence=D("1.0001")),
    "confidence below 0": says(confidence=D("-0.0001")),
    "confidence as text": says(confidence="0.9"),
    "confidence as float": says(confidence=0.9),
    "no confidence": says(confidence=None),
    "NaN risk": says(risk=D("NaN")),
    "infinite risk": says(risk=D("-Infinity")),
    "risk above 1": says(risk=D("1.5")),
    "risk as text": says(risk="low"),
    "a reason that is no text": says(reason=7),
    "an unknown pool": says(Action.SWITCH_POOL, "m5.large.mars-1a"),
    "the current pool": says(Action.SWITCH_POOL, POOL_A),
    "a pool that is no candidate now": says(Action.SWITCH_POOL, POOL_C),
    "no pool to switch to": says(Action.SWITCH_POOL),
    "a pool that cannot be hashed": says(Action.SWITCH_POOL, [POOL_B]),
    "a hostile pool": says(Action.SWITCH_POOL, Hostile()),
    "a pool for on-demand": says(Action.SWITCH_TO_ONDEMAND, POOL_B),
    "a pool for staying": says(Action.STAY, POOL_B),
    "to spot while on spot": says(Action.SWITCH_TO_SPOT, POOL_B),
    "scores that are no mapping": says(scores=[POOL_B]),
    "a NaN score": says(scores={POOL_B: D("NaN")}),
    "an infinite score": says(scores={POOL_B: D("Infinity")}),
    "a score that is no number": says(scores={POOL_B: "best"}),
    "a score of no pool": says(scores={7: D(1)}),
}


@pytest.mark.parametrize("output", NONSENSE.values(), ids=NONSENSE.keys())
def test_4_6_nonsense_is_rejected_whole_and_the_rules_decide_failure_90(output: Any) -> None:
    advice = judge(output)
    assert (advice.source, advice.engine, advice.rejected) == (
        "fallback", "fallback", EventKind.MODEL_OUTPUT_REJECTED,
    )  # fmt: skip
    assert advice.proposal == judgement.fallback(ON_SPOT).proposal


@pytest.mark.parametrize(
    ("snapshot", "action"),
    [
        (ON_DEMAND, Action.SWITCH_POOL),
        (ON_DEMAND, Action.SWITCH_TO_ONDEMAND),
        (ON_SPOT, Action.SWITCH_TO_SPOT),
        (LOST, Action.SWITCH_POOL),
        (LOST, Action.SWITCH_TO_SPOT),
        (LOST, Action.SWITCH_TO_ONDEMAND),
    ],
)
def test_4_2_an_action_that_makes_no_sense_in_this_mode_is_rejected(snapshot: Any, action: Action) -> None:
    pool = None if action is Action.SWITCH_TO_ONDEMAND else POOL_B
    assert judge(says(action, pool), snapshot).rejected is EventKind.MODEL_OUTPUT_REJECTED


@pytest.mark.parametrize("failure", [RuntimeError("x"), MemoryError(), KeyError("x"), StopIteration(), SystemExit()])
def test_4_6_an_engine_that_raises_is_an_error_and_the_rules_decide(failure: BaseException) -> None:
    advice = judge(failure)
    assert (advice.source, advice.rejected) == ("fallback", EventKind.MODEL_ERROR)


def test_4_6_an_engine_that_said_nothing_in_time_is_late_and_the_rules_decide() -> None:
    advice = judge(TimeoutError())
    assert (advice.source, advice.rejected) == ("fallback", EventKind.MODEL_TIMEOUT)
    assert judgement.DEADLINE.total_seconds() == 2


@pytest.mark.parametrize(("confidence", "stays"), [("0.6999", True), ("0.70", False), ("0.71", False), ("0", True)])
def test_4_6_below_the_threshold_a_move_is_treated_as_stay(confidence: str, stays: bool) -> None:
    advice = judge(says(Action.SWITCH_POOL, POOL_B, confidence=D(confidence)))
    assert (advice.proposal.action is Action.STAY) is stays
    assert advice.source == "engine"
    assert (advice.proposal.reason == "low_confidence") is stays
    assert advice.proposal.target_pool_id == (None if stays else POOL_B)


@pytest.mark.parametrize(("threshold", "stays"), [("0", False), ("0.50", False), ("0.5001", True), ("1", True)])
def test_3_the_confidence_threshold_is_the_models_own(threshold: str, stays: bool) -> None:
    advice = judge(says(Action.SWITCH_POOL, POOL_B, confidence=D("0.50")), threshold=D(threshold))
    assert (advice.proposal.action is Action.STAY) is stays


def test_4_6_a_timid_stay_is_a_stay_with_its_own_reason() -> None:
    assert judge(says(confidence=D("0.1"), reason="calm")).proposal.reason == "calm"


def test_4_6_without_a_model_the_rules_decide_and_say_why() -> None:
    advice = judgement.fallback(ON_SPOT, reason="no_model")
    assert (advice.source, advice.rejected) == ("fallback", None)
    assert "no_model" in advice.proposal.reason


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(action=st.sampled_from(Action) | anything, pool=anything, confidence=anything, risk=anything, scores=anything)
def test_4_6_whatever_an_engine_answers_there_is_advice_that_makes_sense(
    action: Any, pool: Any, confidence: Any, risk: Any, scores: Any
) -> None:
    advice = judge(Proposal(action=action, target_pool_id=pool, confidence=confidence, risk=risk, scores=scores))
    proposal = advice.proposal
    assert proposal.action in set(Action)
    assert 0 <= proposal.confidence <= 1
    assert proposal.target_pool_id in (None, POOL_B)


# --- the circuit ---------------------------------------------------------------------------------------------


def at(minutes: float) -> Any:
    return START + timedelta(minutes=minutes)


def after_failures(*minutes: float, circuit: Circuit | None = None) -> Circuit:
    circuit = circuit or Circuit()
    for minute in minutes:
        circuit = circuit.after_failure(at(minute))
    return circuit


@pytest.mark.parametrize(
    ("minutes", "opens"),
    [
        ((0, 0, 0, 0), False),
        ((0, 0, 0, 0, 0), True),
        ((0, 2, 4, 6, 9.99), True),
        ((0, 3, 6, 9, 12), False),
        ((0, 4, 8, 12, 12.5), False),  # four within the last ten minutes
        ((0, 4, 8, 12, 12.5, 12.9), True),
    ],
)
def test_4_6_five_failures_within_ten_minutes_open_the_circuit(minutes: tuple[float, ...], opens: bool) -> None:
    circuit = after_failures(*minutes)
    assert (circuit.opened_at == at(minutes[-1])) is opens
    assert circuit.allows(at(minutes[-1])) is not opens


@pytest.mark.parametrize(("minutes", "asked"), [(0, False), (4.99, False), (5, True), (60, True)])
def test_4_6_an_open_circuit_asks_nobody_for_five_minutes_then_probes(minutes: float, asked: bool) -> None:
    assert after_failures(0, 0, 0, 0, 0).allows(at(minutes)) is asked


def test_4_6_a_failed_probe_opens_it_again_at_once_and_a_good_one_closes_it() -> None:
    opened = after_failures(0, 0, 0, 0, 0)
    again = opened.after_failure(at(5))
    assert (again.allows(at(9.99)), again.allows(at(10))) == (False, True)
    closed = opened.after_success()
    assert closed.allows(at(5))
    assert after_failures(5, 5, 5, 5, circuit=closed).allows(at(5))  # it begins anew


def test_4_6_a_success_in_between_does_not_undo_failures_within_ten_minutes() -> None:
    circuit = after_failures(0, 1, 2, 3).after_success().after_failure(at(4))
    assert not circuit.allows(at(4))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=20))
def test_4_6_the_circuit_is_open_exactly_when_a_count_by_hand_says_so(calls: list[tuple[bool, float]]) -> None:
    circuit, clock, failures, opened = Circuit(), 0.0, [], None
    for good, pause in calls:
        clock += pause
        asked = opened is None or clock - opened >= 5
        assert circuit.allows(at(clock)) is asked
        if not asked:
            continue
        if good:
            circuit = circuit.after_success()
            if opened is not None:
                opened, failures = None, []
        else:
            circuit = circuit.after_failure(at(clock))
            failures = [one for one in failures if clock - one < 10] + [clock]
            if opened is not None or len(failures) >= 5:
                opened, failures = clock, []


def test_a_rejection_keeps_the_engine_out_of_the_advice() -> None:
    rejected = judge(evolve(says(), confidence=D(2)))
    assert rejected.engine_version == judgement.fallback(ON_SPOT).engine_version
