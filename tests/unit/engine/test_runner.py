"""Section 4.6 with real engines in real threads: late, raising, talking nonsense, hanging for good."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from attrs import define

from spotadapters.engine.runner import EngineRunner
from spotcore.decisions import Action, Proposal, Snapshot
from spotcore.events import EventKind
from spotcore.judgement import Advice
from spotcore.pools import Mode
from tests.support.rule_builders import POOL_B, D
from tests.support.world import FakeClock
from tests.unit.core.test_rules import a_candidate, a_snapshot

SNAPSHOT = a_snapshot(Mode.SPOT, "0.05", "0.10", a_candidate(POOL_B))
GOOD = Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_B, confidence=D("0.9"))
SOON = timedelta(seconds=0.5)


@define
class Scripted:
    """An engine that does what it is told now."""

    act: Callable[[Snapshot], Any]
    name: str = "scripted"
    version: str = "3"
    calls: int = 0

    def propose(self, snapshot: Snapshot) -> Proposal:
        self.calls += 1
        answer: Proposal = self.act(snapshot)
        return answer


def says(answer: Any) -> Callable[[Snapshot], Any]:
    return lambda snapshot: answer if snapshot else None


def raises(failure: BaseException) -> Callable[[Snapshot], Any]:
    def act(_: Snapshot) -> Any:
        raise failure

    return act


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Hanging engines wait for this; it is set when the test ends, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


def hangs(until: threading.Event) -> Callable[[Snapshot], Any]:
    def act(_: Snapshot) -> Any:
        until.wait(30)
        return GOOD

    return act


def a_runner(act: Callable[[Snapshot], Any], clock: FakeClock | None = None, **facts: Any) -> EngineRunner:
    return EngineRunner(Scripted(act), clock or FakeClock(), **facts)


def told(advice: Advice) -> tuple[str, EventKind | None, bool]:
    return advice.source, advice.rejected, advice.circuit_opened


def test_4_6_a_sound_answer_is_the_engines_own() -> None:
    advice = a_runner(says(GOOD)).advise(SNAPSHOT)
    assert advice.proposal is GOOD
    assert (advice.source, advice.engine, advice.engine_version) == ("engine", "scripted", "3")


def test_4_6_an_engine_slower_than_two_seconds_is_abandoned_and_the_rules_decide() -> None:
    """With the deadline of the contract, and an engine that would answer after five seconds."""
    done = threading.Event()
    runner = a_runner(hangs(done))
    timer = threading.Timer(5, done.set)
    timer.start()
    began = time.monotonic()
    advice = runner.advise(SNAPSHOT)
    waited = time.monotonic() - began
    timer.cancel()
    done.set()
    assert told(advice) == ("fallback", EventKind.MODEL_TIMEOUT, False)
    assert advice.refused_engine == "scripted 3"
    assert 1.9 <= waited < 4.5


def test_4_6_an_engine_that_is_slow_but_in_time_is_heard() -> None:
    def act(_: Snapshot) -> Any:
        time.sleep(0.2)
        return GOOD

    assert a_runner(act).advise(SNAPSHOT).source == "engine"


@pytest.mark.parametrize(
    "failure",
    [RuntimeError("boom"), MemoryError(), TimeoutError("its own"), SystemExit(1), KeyboardInterrupt(), StopIteration()],
    ids=lambda one: type(one).__name__,
)
def test_4_6_whatever_an_engine_raises_is_a_model_error_and_goes_no_further(failure: BaseException) -> None:
    assert told(a_runner(raises(failure)).advise(SNAPSHOT)) == ("fallback", EventKind.MODEL_ERROR, False)


@pytest.mark.parametrize(
    "answer",
    [None, "switch", float("nan"), {"action": "stay"}, Proposal(action=Action.SWITCH_POOL, target_pool_id="m5.large.x-1a"),
     Proposal(action=Action.STAY, confidence=D("NaN"))],
    ids=["nothing", "text", "NaN", "dict", "unknown pool", "NaN confidence"],
)  # fmt: skip
def test_4_6_nonsense_is_rejected_whole(answer: Any) -> None:
    assert told(a_runner(says(answer)).advise(SNAPSHOT)) == ("fallback", EventKind.MODEL_OUTPUT_REJECTED, False)


def test_4_6_a_timid_engine_stays_and_that_is_no_failure() -> None:
    timid = Proposal(action=Action.SWITCH_POOL, target_pool_id=POOL_B, confidence=D("0.69"))
    runner = a_runner(says(timid))
    for _ in range(6):
        advice = runner.advise(SNAPSHOT)
        assert (advice.source, advice.proposal.action, advice.rejected) == ("engine", Action.STAY, None)


# --- the circuit ---------------------------------------------------------------------------------------------


def test_4_6_the_fifth_failure_opens_the_circuit_once_and_then_nobody_asks_for_five_minutes() -> None:
    clock, engine = FakeClock(), Scripted(raises(RuntimeError()))
    runner = EngineRunner(engine, clock)
    opened = []
    for _ in range(5):
        opened.append(runner.advise(SNAPSHOT).circuit_opened)
        clock.advance(60)
    assert opened == [False, False, False, False, True]
    clock.advance(239)  # 299 s after it opened
    quiet = runner.advise(SNAPSHOT)
    assert told(quiet) == ("fallback", None, False)
    assert "model_circuit_open" in quiet.proposal.reason
    assert engine.calls == 5


def broken(clock: FakeClock, engine: Scripted) -> EngineRunner:
    """A runner whose circuit has been open for five minutes."""
    runner = EngineRunner(engine, clock, deadline=timedelta(seconds=1))
    engine.act = raises(RuntimeError())
    for _ in range(5):
        runner.advise(SNAPSHOT)
    clock.advance(300)
    return runner


def test_4_6_after_five_minutes_one_probe_closes_the_circuit_when_it_is_good() -> None:
    clock, engine = FakeClock(), Scripted(says(GOOD))
    runner = broken(clock, engine)
    engine.act = says(GOOD)
    assert [runner.advise(SNAPSHOT).source for _ in range(3)] == ["engine"] * 3


def test_4_6_a_failed_probe_opens_it_for_five_minutes_more_without_another_warning() -> None:
    clock, engine = FakeClock(), Scripted(says(GOOD))
    runner = broken(clock, engine)
    assert told(runner.advise(SNAPSHOT)) == ("fallback", EventKind.MODEL_ERROR, False)
    clock.advance(299)
    assert told(runner.advise(SNAPSHOT)) == ("fallback", None, False)
    clock.advance(1)
    engine.act = says(GOOD)
    assert runner.advise(SNAPSHOT).source == "engine"


def test_4_6_only_one_call_at_a_time_probes() -> None:
    clock, engine = FakeClock(), Scripted(says(GOOD))
    runner = broken(clock, engine)
    asked, go_on = threading.Event(), threading.Event()

    def probe(_: Snapshot) -> Any:
        asked.set()
        go_on.wait(5)
        return GOOD

    engine.act = probe
    heard: list[Advice] = []
    thread = threading.Thread(target=lambda: heard.append(runner.advise(SNAPSHOT)))
    thread.start()
    assert asked.wait(5)
    beside = runner.advise(SNAPSHOT)
    go_on.set()
    thread.join(5)
    assert (beside.source, beside.rejected) == ("fallback", None)
    assert [advice.source for advice in heard] == ["engine"]
    assert engine.calls == 6


def test_4_6_a_call_that_began_before_the_circuit_opened_neither_closes_nor_prolongs_it() -> None:
    clock = FakeClock()
    asked, go_on = threading.Event(), threading.Event()
    engine = Scripted(says(GOOD))

    def slow(_: Snapshot) -> Any:
        asked.set()
        go_on.wait(5)
        return GOOD

    runner = EngineRunner(engine, clock, deadline=timedelta(seconds=5))
    engine.act = slow
    thread = threading.Thread(target=lambda: runner.advise(SNAPSHOT))
    thread.start()
    assert asked.wait(5)
    engine.act = raises(RuntimeError())
    for _ in range(5):
        runner.advise(SNAPSHOT)
    go_on.set()
    thread.join(5)
    assert told(runner.advise(SNAPSHOT)) == ("fallback", None, False)


# --- threads -------------------------------------------------------------------------------------------------


def engine_threads() -> int:
    return sum(thread.name == "engine" for thread in threading.enumerate())


def test_4_6_a_hanging_engine_costs_a_bounded_number_of_threads(released: threading.Event) -> None:
    before = engine_threads()
    runner = a_runner(hangs(released), threads=2, deadline=SOON)
    for _ in range(8):
        assert runner.advise(SNAPSHOT).source == "fallback"
    assert engine_threads() - before == 2


def test_4_6_threads_come_back_when_their_abandoned_calls_end(released: threading.Event) -> None:
    engine = Scripted(hangs(released))
    runner = EngineRunner(engine, FakeClock(), threads=1, deadline=SOON)
    assert runner.advise(SNAPSHOT).rejected is EventKind.MODEL_TIMEOUT
    assert runner.advise(SNAPSHOT).rejected is EventKind.MODEL_TIMEOUT
    released.set()
    engine.act = says(GOOD)
    deadline = time.monotonic() + 5
    while runner.advise(SNAPSHOT).source != "engine":
        assert time.monotonic() < deadline
    assert engine.calls >= 2


def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    late, engine = threading.Event(), Scripted(says(GOOD))
    runner = EngineRunner(engine, FakeClock(), deadline=SOON)
    engine.act = hangs(late)
    assert runner.advise(SNAPSHOT).rejected is EventKind.MODEL_TIMEOUT
    late.set()  # it says GOOD now
    engine.act = says(Proposal(action=Action.STAY, confidence=D("0.8"), reason="second call"))
    assert runner.advise(SNAPSHOT).proposal.reason == "second call"


def test_many_callers_at_once_are_each_given_their_own_answer() -> None:
    def echo(snapshot: Snapshot) -> Any:
        return Proposal(action=Action.STAY, confidence=D("0.8"), reason=str(snapshot.current_price))

    runner = a_runner(echo, threads=3)
    heard: dict[str, str] = {}

    def ask(price: str) -> None:
        heard[price] = runner.advise(a_snapshot(Mode.SPOT, price, "0.10")).proposal.reason

    threads = [threading.Thread(target=ask, args=(f"0.0{n}",)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert heard == {price: price for price in heard}
    assert len(heard) == 8
