"""Time-driven rules inside the server process: the same use cases that jobs call (section 9)."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from spotadapters.system.jobs import JobBoard
from spotcore.control_plane import ControlPlane
from spotcore.errors import SpotError
from spotcore.ports.world import Clock

log = logging.getLogger("spotapp.ticker")

TICK_SECONDS: Final = 1.0
UPKEEP: Final = "upkeep"  # every time-driven rule of an agent (section 9)
ROUND: Final = "decision round"
DECISION_SECONDS: Final = 10.0  # the round itself decides who is due (Z34)


class Ticker:
    """A thread that asks once a second what is due. Correctness does not depend on it being punctual (JB-5)."""

    def __init__(
        self, plane: ControlPlane, clock: Clock, board: JobBoard, *, tick_seconds: float = TICK_SECONDS
    ) -> None:
        self._plane = plane
        self._clock = clock
        self._board = board
        self._tick_seconds = tick_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Begin ticking."""
        self._board.announce(UPKEEP, timedelta(seconds=self._tick_seconds))
        self._board.announce(ROUND, timedelta(seconds=DECISION_SECONDS))
        self._board.running = True
        self._thread.start()

    def stop(self) -> None:
        """Finish the tick at hand and end."""
        self._stopping.set()
        self._board.running = False
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        next_round = time.monotonic() + DECISION_SECONDS
        while not self._stopping.wait(self._tick_seconds):
            self._once(UPKEEP, self._tick)
            if time.monotonic() >= next_round:
                next_round = time.monotonic() + DECISION_SECONDS
                self._once(ROUND, self._plane.decisions.round)

    def _once(self, name: str, job: Callable[[], object]) -> None:
        failed = True
        try:
            job()
            failed = False
        except SpotError as refusal:
            log.warning("job_refused", extra={"job": name, "code": refusal.code, "reason": refusal.message})
        except Exception:
            log.exception("job_failed", extra={"job": name})
        self._board.ran(name, self._clock.now(), failed=failed)

    def _tick(self) -> None:
        result = self._plane.upkeep.tick()
        for agent_id, reason in result.failed:
            log.error("agent_stuck", extra={"agent_id": agent_id, "reason": reason})
