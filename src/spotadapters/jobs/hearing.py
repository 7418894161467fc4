"""Whether silence means anything: after an outage of our own, or a step of the clock, everybody has been silent.

Agents send a heartbeat every 30 s and retry; two minutes after the server can be reached again all that live have been
heard. Until then no agent is marked offline, no replica fails and no role moves because nobody was heard. What waits
for time as such (deadlines, leases, retries) goes on.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from spotadapters.jobs.board import Board
from spotcore.ports.world import Clock

log = logging.getLogger("spotadapters.jobs")

MISSED: Final = timedelta(seconds=30)  # a pause in looking, or a step of the clock, that is too long
LISTENING_SECONDS: Final = 120.0


class Hearing:
    """What one process knows of how long it, or any process before it, could not look."""

    def __init__(self, job: str, board: Board, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``job`` is the one that looks: its last success, by whichever process, is on the ``board``."""
        self._job = job
        self._board = board
        self._clock = clock
        self._monotonic = monotonic
        self._looked: tuple[datetime, float] | None = None
        self._deaf_until = 0.0

    def deaf_until(self) -> datetime | None:
        """Up to when silence says nothing; None when it does. Raises ``Unavailable``."""
        now, moment = self._clock.now(), self._monotonic()
        if self._has_missed(now, moment):
            if moment >= self._deaf_until:
                log.warning("listening_first", extra={"seconds": LISTENING_SECONDS})
            self._deaf_until = moment + LISTENING_SECONDS
        left = self._deaf_until - moment
        return now + timedelta(seconds=left) if left > 0 else None

    def looked(self) -> None:
        """The job has succeeded."""
        self._looked = self._clock.now(), self._monotonic()

    def _has_missed(self, now: datetime, moment: float) -> bool:
        if self._looked is None:
            last = next((one.last_success for one in self._board.jobs() if one.name == self._job), None)
            return last is not None and abs(now - last) > MISSED
        then, at = self._looked
        passed = timedelta(seconds=moment - at)
        return passed > MISSED or abs(now - then - passed) > MISSED
