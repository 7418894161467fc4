"""The runner's own limits: what counts as a failure, when the circuit opens and closes, who is asked (4.6)."""

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.engine.runner import EngineRunner
from spotcore.decisions import Action, Proposal, Snapshot
from spotcore.events import EventKind
from spotcore.judgement import Advice, Circuit
from spotcore.pools import Mode
from tests.support.rule_builders import POOL_B, POOL_C, D
from tests.support.world import START, FakeClock
from tests.unit.core.test_rules import a_candidate, a_snapshot

SNAPSHOT = a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B))
GOOD = Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_B, confidence=D("0.9"))
STAY = Proposal(action=Action.STAY, confidence=D("0.9"))


@define
class Told:
    """An engine that gives its answers in turn, the last one for ever; an exception is raised."""

    answers: list[Any]
    name: Any = "told"
    version: Any = "1"
    seen: list[Snapshot] = field(factory=list)

    def propose(self, snapshot: Snapshot) -> Any:
        self.seen.append(snapshot)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def a_runner(*answers: Any, clock: FakeClock | None = None, **facts: Any) -> tuple[EngineRunner, Told]:
    engine = Told(list(answers))
    return EngineRunner(engine, clock or FakeClock(), **facts), engine


BAD: dict[str, tuple[Any, EventKind]] = {
    "raises": (RuntimeError("x"), EventKind.MODEL_ERROR),
    "its own timeout": (TimeoutError(), EventKind.MODEL_ERROR),
    "returns an exception": (RuntimeError, EventKind.MODEL_OUTPUT_REJECTED),
    "nothing": (None, EventKind.MODEL_OUTPUT_REJECTED),
    "a class": (Proposal, EventKind.MODEL_OUTPUT_REJECTED),
    "an unknown pool": (
        Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_C, confidence=D(1)), EventKind.MODEL_OUTPUT_REJECTED,
    ),
    "a pool it is told to leave": (
        Proposal(action=Action.STAY, target_pool_id=POOL_B, confidence=D(1)), EventKind.MODEL_OUTPUT_REJECTED,
    ),
    "no pool": (Proposal(action=Action.SWITCH_POOL, confidence=D(1)), EventKind.MODEL_OUTPUT_REJECTED),
    "the wrong way": (
        Proposal(action=Action.SWITCH_TO_SPOT, target_pool_id=POOL_B, confidence=D(1)), EventKind.MODEL_OUTPUT_REJECTED,
    ),
    "too sure": (Proposal(action=Action.STAY, confidence=D("1.01")), EventKind.MODEL_OUTPUT_REJECTED),
    "less than unsure": (Proposal(action=Action.STAY, confidence=D("-0.01")), EventKind.MODEL_OUTPUT_REJECTED),
    "an endless confidence": (Proposal(action=Action.STAY, confidence=D("Infinity")), EventKind.MODEL_OUTPUT_REJECTED),
    "a float for a confidence": (Proposal(action=Action.STAY, confidence=0.9), EventKind.MODEL_OUTPUT_REJECTED),  # type: ignore[arg-type]
    "a risk beyond 1": (Proposal(action=Action.STAY, confidence=D(1), risk=D(2)), EventKind.MODEL_OUTPUT_REJECTED),
    "a score that is none": (
        Proposal(action=Action.STAY, confidence=D(1), scores={POOL_B: D("NaN")}), EventKind.MODEL_OUTPUT_REJECTED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_answer_is_replaced_by_the_rules_and_named_with_the_engine(what: str) -> None:
    answer, kind = BAD[what]
    runner, _ = a_runner(answer)
    advice = runner.advise(SNAPSHOT)
    assert (advice.source, advice.rejected, advice.refused_engine) == ("fallback", kind, "told 1")
    assert advice.engine == "fallback"


@pytest.mark.parametrize("what", BAD)
def test_every_kind_of_bad_answer_counts_towards_the_circuit(what: str) -> None:
    answer, _ = BAD[what]
    runner, engine = a_runner(answer)
    opened = [runner.advise(SNAPSHOT).circuit_opened for _ in range(8)]
    assert opened == [False] * 4 + [True] + [False] * 3
    assert len(engine.seen) == 5


def test_the_engine_is_given_the_very_snapshot() -> None:
    runner, engine = a_runner(GOOD)
    runner.advise(SNAPSHOT)
    assert len(engine.seen) == 1
    assert engine.seen[0] is SNAPSHOT


@pytest.mark.parametrize(
    ("confidence", "action"),
    [("0.50", Action.STAY), ("0.699", Action.STAY), ("0.70", Action.SWITCH_POOL), ("1", Action.SWITCH_POOL)],
)
def test_below_its_threshold_an_engine_stays_and_says_why(confidence: str, action: Action) -> None:
    runner, _ = a_runner(Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_B, confidence=D(confidence)))
    proposal = runner.advise(SNAPSHOT).proposal
    assert proposal.action is action
    assert (proposal.target_pool_id, proposal.reason == "low_confidence") == (
        (None, True) if action is Action.STAY else (POOL_B, False)
    )


@pytest.mark.parametrize(("threshold", "action"), [("0.5", Action.SWITCH_POOL), ("0.95", Action.STAY)])
def test_a_threshold_may_be_another_and_is_told_with_the_advice(threshold: str, action: Action) -> None:
    runner, _ = a_runner(GOOD, threshold=D(threshold))
    advice = runner.advise(SNAPSHOT)
    assert (advice.proposal.action, advice.threshold) == (action, D(threshold))


def test_the_name_of_an_engine_is_read_once_and_as_text() -> None:
    engine = Told([GOOD], name=7, version=None)
    runner = EngineRunner(engine, FakeClock())
    engine.name, engine.version = "renamed", "2"
    advice = runner.advise(SNAPSHOT)
    assert (advice.engine, advice.engine_version) == ("7", "None")


def advised(runner: EngineRunner, clock: FakeClock, *pauses: float) -> list[Advice]:
    """Advice after each pause."""
    found = []
    for pause in pauses:
        clock.advance(pause)
        found.append(runner.advise(SNAPSHOT))
    return found


def test_four_failures_do_not_open_the_circuit_and_good_answers_between_do_not_undo_them() -> None:
    clock = FakeClock()
    bad = RuntimeError()
    runner, engine = a_runner(bad, bad, GOOD, GOOD, bad, bad, GOOD, bad, GOOD, clock=clock)
    found = advised(runner, clock, *[10] * 8)
    assert [one.circuit_opened for one in found] == [False] * 7 + [True]
    assert len(engine.seen) == 8


def test_a_failure_ten_minutes_old_does_not_count_any_more() -> None:
    clock = FakeClock()
    runner, _ = a_runner(RuntimeError(), clock=clock)
    assert not any(one.circuit_opened for one in advised(runner, clock, 0, 0, 0, 0, 600))
    assert [one.circuit_opened for one in advised(runner, clock, 0, 0, 0, 0)] == [False, False, False, True]


def test_five_failures_within_ten_minutes_open_it_the_first_a_moment_less_than_ten_minutes_old() -> None:
    clock = FakeClock()
    runner, _ = a_runner(RuntimeError(), clock=clock)
    assert [one.circuit_opened for one in advised(runner, clock, 0, 150, 150, 150, 149.9)] == [False] * 4 + [True]


def test_an_open_circuit_says_so_in_the_reason_and_blames_no_engine() -> None:
    clock = FakeClock()
    runner, _ = a_runner(RuntimeError(), clock=clock)
    advised(runner, clock, 0, 0, 0, 0, 0)
    (quiet,) = advised(runner, clock, 1)
    assert quiet.proposal.reason.endswith("(model_circuit_open)")
    assert (quiet.rejected, quiet.refused_engine, quiet.circuit_opened) == (None, None, False)


def test_after_a_good_probe_earlier_failures_are_forgotten() -> None:
    clock = FakeClock()
    bad = RuntimeError()
    runner, engine = a_runner(*[bad] * 5, GOOD, *[bad] * 4, GOOD, clock=clock)
    advised(runner, clock, 0, 0, 0, 0, 0)
    assert [one.source for one in advised(runner, clock, 300)] == ["engine"]
    assert not any(one.circuit_opened for one in advised(runner, clock, 0, 0, 0, 0))
    assert advised(runner, clock, 0)[0].source == "engine"
    assert len(engine.seen) == 11


def test_a_probe_that_talks_nonsense_keeps_it_closed_to_the_engine_for_five_minutes_more() -> None:
    clock = FakeClock()
    runner, engine = a_runner(*[RuntimeError()] * 5, None, GOOD, clock=clock)
    advised(runner, clock, 0, 0, 0, 0, 0)
    probe, quiet, second = advised(runner, clock, 300, 299, 1)
    assert (probe.rejected, probe.circuit_opened) == (EventKind.MODEL_OUTPUT_REJECTED, False)
    assert (quiet.source, second.source, len(engine.seen)) == ("fallback", "engine", 7)


def test_two_runners_have_circuits_of_their_own() -> None:
    clock = FakeClock()
    first, _ = a_runner(RuntimeError(), clock=clock)
    second, _ = a_runner(GOOD, clock=clock)
    advised(first, clock, 0, 0, 0, 0, 0)
    assert second.advise(SNAPSHOT).source == "engine"


def test_a_thread_that_cannot_be_had_is_a_failure_and_costs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, engine = a_runner(GOOD, threads=1)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        refused = [runner.advise(SNAPSHOT) for _ in range(3)]
    assert [(one.source, one.rejected) for one in refused] == [("fallback", EventKind.MODEL_ERROR)] * 3
    assert runner.advise(SNAPSHOT).source == "engine"
    assert len(engine.seen) == 1


def test_no_time_at_all_is_a_timeout_and_not_a_wait() -> None:
    gate = threading.Event()

    def wait(_: Snapshot) -> Any:
        gate.wait(10)
        return GOOD

    @define
    class Waiting:
        propose: Callable[[Snapshot], Any] = wait
        name: str = "waiting"
        version: str = "1"

    runner = EngineRunner(Waiting(), FakeClock(), deadline=timedelta(0), threads=2)
    try:
        assert [runner.advise(SNAPSHOT).rejected for _ in range(4)] == [EventKind.MODEL_TIMEOUT] * 4
    finally:
        gate.set()


# --- the circuit as a value -------------------------------------------------------------------------------------------


class Clerk:
    """The rule of 4.6 in words: five failures within ten minutes open it for five; then one probe decides."""

    def __init__(self) -> None:
        self.failures: list[Decimal] = []
        self.opened: Decimal | None = None

    def allows(self, now: Decimal) -> bool:
        return self.opened is None or now >= self.opened + 300

    def count(self, good: bool, now: Decimal) -> None:
        if self.opened is not None:  # a probe
            self.opened, self.failures = (None, []) if good else (now, [])
            return
        if not good:
            self.failures.append(now)
            if sum(now - at < 600 for at in self.failures) >= 5:
                self.opened = now


@given(st.lists(st.tuples(st.sampled_from([0, 1, 60, 149, 150, 299, 300, 301, 599, 600]), st.booleans()), max_size=40))
def test_the_circuit_is_what_its_words_say_for_every_history(story: list[tuple[int, bool]]) -> None:
    circuit, clerk, now = Circuit(), Clerk(), Decimal(0)
    for pause, good in story:
        now += pause
        at = START + timedelta(seconds=int(now))
        assert circuit.allows(at) is clerk.allows(now)
        if circuit.allows(at):
            circuit = circuit.after_success() if good else circuit.after_failure(at)
            clerk.count(good, now)
        assert (circuit.opened_at is not None) is (clerk.opened is not None)
