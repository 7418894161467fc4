"""Time-driven rules inside the server process: the same use cases that jobs call (section 9)."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from spotcore.control_plane import ControlPlane
from spotcore.errors import SpotError

log = logging.getLogger("spotapp.ticker")

TICK_SECONDS: Final = 1.0
DECISION_SECONDS: Final = 10.0  # the round itself decides who is due (Z34)


class Ticker:
    """Two threads: one asks once a second what is due, the other when to decide. So an engine that takes its time holds
    up no deadline (4.6). Correctness does not depend on either being punctual (JB-5)."""

    def __init__(
        self,
        plane: ControlPlane,
        *,
        tick_seconds: float = TICK_SECONDS,
        decision_seconds: float = DECISION_SECONDS,
    ) -> None:
        self._plane = plane
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._every, args=(tick_seconds, self._tick), name="ticker", daemon=True),
            threading.Thread(target=self._every, args=(decision_seconds, self._decide), name="decider", daemon=True),
        ]

    def start(self) -> None:
        """Begin ticking."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is at hand and end; an engine at work is waited for ten seconds at most."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while not self._stopping.wait(seconds):
            try:
                work()
            except SpotError as refusal:
                log.warning("tick_refused", extra={"code": refusal.code, "reason": refusal.message})
            except Exception:
                log.exception("tick_failed")

    def _tick(self) -> None:
        result = self._plane.upkeep.tick()
        for agent_id, reason in result.failed:
            log.error("agent_stuck", extra={"agent_id": agent_id, "reason": reason})

    def _decide(self) -> None:
        self._plane.decisions.round()
