"""Any engine, asked in a thread of its own and never waited for longer than the deadline (4.6).

A thread cannot be killed: a call that is too late is abandoned, and its thread counts against ``threads`` until it ends
by itself. So a hanging engine costs at most that many threads, and then every call is late until the circuit opens.
An engine that keeps the interpreter to itself, or takes the process down, needs a process of its own: not this adapter.
"""

import logging
import threading
import time
from datetime import timedelta
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import Final

from attrs import evolve, frozen

from spotcore.decisions import Snapshot
from spotcore.judgement import CONFIDENCE_THRESHOLD, DEADLINE, Advice, Circuit, Streak, fallback, judge_output
from spotcore.ports.world import Clock, Engine

log = logging.getLogger("spotadapters.engine")

THREADS: Final = 4


@frozen
class EngineName:
    """What is recorded of an engine, read once."""

    name: str
    version: str


class EngineRaised(Exception):
    """The engine raised something, a ``TimeoutError`` of its own included."""


class EngineRunner:
    """``Advisor`` over one engine. Thread-safe; the circuit is this process's own."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        threads: int = THREADS,
        deadline: timedelta = DEADLINE,
        threshold: Decimal = CONFIDENCE_THRESHOLD,
    ) -> None:
        self._engine = engine
        self._name = EngineName(str(engine.name), str(engine.version))
        self._clock = clock
        self._deadline = deadline.total_seconds()
        self._threshold = threshold
        self._slots = threading.BoundedSemaphore(threads)
        self._lock = threading.Lock()
        self._circuit = Circuit()
        self._streak = Streak()
        self._probing = False

    def advise(self, snapshot: Snapshot) -> Advice:
        """The engine's advice, or the rules' when it is late, raises, talks nonsense, or is not asked at all."""
        admitted, probe = self._admit()
        if not admitted:
            return fallback(snapshot, reason="model_circuit_open")
        advice = judge_output(self._ask(snapshot), snapshot, self._name, threshold=self._threshold)
        opened, alarming = self._settle(sound=advice.rejected is None, probe=probe)
        return evolve(advice, circuit_opened=opened, always_fell_back=alarming)

    def _ask(self, snapshot: Snapshot) -> object:
        """Whatever the engine says within the deadline; a ``TimeoutError`` when it says nothing."""
        ends = time.monotonic() + self._deadline
        if not self._slots.acquire(timeout=self._deadline):
            return TimeoutError("every thread is still busy with an abandoned call")
        said: SimpleQueue[object] = SimpleQueue()
        try:
            threading.Thread(target=self._work, args=(snapshot, said), name="engine", daemon=True).start()
        except RuntimeError as failure:  # no thread to be had
            self._slots.release()
            return failure
        try:
            return said.get(timeout=max(0.0, ends - time.monotonic()))
        except Empty:
            return TimeoutError("the engine was too late; the call is abandoned")

    def _work(self, snapshot: Snapshot, said: "SimpleQueue[object]") -> None:
        try:
            said.put(self._engine.propose(snapshot))
        except BaseException as failure:  # an engine may raise anything; its thread ends here either way
            log.warning("engine_raised", exc_info=failure, extra={"engine": self._name.name})
            said.put(EngineRaised())
        finally:
            self._slots.release()

    def _admit(self) -> tuple[bool, bool]:
        """Whether the engine may be asked, and whether this call is the one probe of a circuit that was open."""
        with self._lock:
            if self._circuit.opened_at is None:
                return True, False
            if self._probing or not self._circuit.allows(self._clock.now()):
                return False, False
            self._probing = True
            return True, True

    def _settle(self, *, sound: bool, probe: bool) -> tuple[bool, bool]:
        """Count the call: whether the circuit has just opened, and whether people are to be told that nothing but
        failures came for ten minutes. Of an open circuit the probe alone decides: calls that began before it opened
        come too late to matter."""
        with self._lock:
            was_open = self._circuit.opened_at is not None
            if probe:
                self._probing = False
            elif was_open:
                return False, False
            if sound:
                self._circuit, self._streak = self._circuit.after_success(), Streak()
                return False, False
            now, before = self._clock.now(), self._streak
            self._circuit = self._circuit.after_failure(now)
            opened = not was_open and self._circuit.opened_at is not None
            self._streak = before.after_failure(now, circuit_opened=opened)
            return opened, self._streak.is_news(before, circuit_opened=opened)
