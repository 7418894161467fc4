"""Time-driven rules inside the server process: the same use cases that jobs call (section 9)."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from spotadapters.system.jobs import JobBoard
from spotcore.control_plane import ControlPlane
from spotcore.errors import SpotError
from spotcore.ports.world import Clock

log = logging.getLogger("spotapp.ticker")

TICK_SECONDS: Final = 1.0
UPKEEP: Final = "upkeep"  # every time-driven rule of an agent (section 9)
ROUND: Final = "decision round"
FIRST_SECONDS: Final = 60.0  # a job of an hour or a day first runs soon: the process may not live that long
DECISION_SECONDS: Final = 10.0  # the round itself decides who is due (Z34)


NOTHING_MORE: Final[Mapping[str, tuple[float, Callable[[], object]]]] = MappingProxyType({})


class Ticker:
    """A thread for each job: so an engine that takes its time, or a long seal, holds up no deadline (4.6). Correctness
    does not depend on any of them being punctual (JB-5)."""

    def __init__(
        self,
        plane: ControlPlane,
        clock: Clock,
        board: JobBoard,
        *,
        tick_seconds: float = TICK_SECONDS,
        decision_seconds: float = DECISION_SECONDS,
        more: Mapping[str, tuple[float, Callable[[], object]]] = NOTHING_MORE,
    ) -> None:
        """``more``: further jobs by name, with their seconds; each runs in a thread of its own."""
        self._plane = plane
        self._clock = clock
        self._board = board
        self._stopping = threading.Event()
        self._jobs = {UPKEEP: (tick_seconds, self._tick), ROUND: (decision_seconds, self._decide), **more}
        self._threads = [
            threading.Thread(target=self._every, args=(name,), name=name.replace(" ", "-"), daemon=True)
            for name in self._jobs
        ]

    def start(self) -> None:
        """Begin ticking."""
        for name, (seconds, _) in self._jobs.items():
            self._board.announce(name, timedelta(seconds=seconds))
        self._board.running = True
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is at hand and end; an engine at work is waited for ten seconds at most."""
        self._stopping.set()
        self._board.running = False
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)

    def _every(self, name: str) -> None:
        seconds, job = self._jobs[name]
        wait = min(seconds, FIRST_SECONDS)
        while not self._stopping.wait(wait):
            self._once(name, job)
            wait = seconds

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

    def _decide(self) -> None:
        self._plane.decisions.round()
