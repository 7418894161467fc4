"""Time-driven rules inside the server process: the same use cases that jobs call (section 9)."""

import logging
import threading
import time
from typing import Final

from spotcore.control_plane import ControlPlane
from spotcore.errors import SpotError

log = logging.getLogger("spotapp.ticker")

TICK_SECONDS: Final = 1.0
DECISION_SECONDS: Final = 10.0  # the round itself decides who is due (Z34)


class Ticker:
    """A thread that asks once a second what is due. Correctness does not depend on it being punctual (JB-5)."""

    def __init__(self, plane: ControlPlane, *, tick_seconds: float = TICK_SECONDS) -> None:
        self._plane = plane
        self._tick_seconds = tick_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Begin ticking."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the tick at hand and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        next_round = time.monotonic() + DECISION_SECONDS
        while not self._stopping.wait(self._tick_seconds):
            try:
                self._tick()
                if time.monotonic() >= next_round:
                    next_round = time.monotonic() + DECISION_SECONDS
                    self._plane.decisions.round()
            except SpotError as refusal:
                log.warning("tick_refused", extra={"code": refusal.code, "reason": refusal.message})
            except Exception:
                log.exception("tick_failed")

    def _tick(self) -> None:
        result = self._plane.upkeep.tick()
        for agent_id, reason in result.failed:
            log.error("agent_stuck", extra={"agent_id": agent_id, "reason": reason})
