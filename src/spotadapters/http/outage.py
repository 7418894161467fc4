"""Heartbeats while the database is away (Z32): one call at a time finds out whether it is back, the others do not wait.

Without this every heartbeat would hold a thread until the pool gives up, and with a few hundred agents the queue would
outlast their 30 s; one heartbeat that times out silences a v5 for good (T03).
"""

import hashlib
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from spotcore.liveness import HeartbeatAnswer

REMEMBERED_SECONDS: Final = 600.0
MAX_REMEMBERED: Final = 200_000
RETRY_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 5.0  # longer than the pool waits and a statement may take


class Outage:
    """What this process last saw of the database. Safe to use from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._away = False
        self._next_try = 0.0
        self._lock = Lock()

    @property
    def is_on(self) -> bool:
        """True while the database is thought to be away."""
        return self._away

    def spares(self) -> bool:
        """True when the caller should leave the database alone. In an outage, the one that gets False is the probe."""
        with self._lock:
            now = self._monotonic()
            if not self._away or now >= self._next_try:
                self._next_try = now + PROBE_SECONDS
                return False
            return True

    def seen(self, *, away: bool) -> None:
        """What a call found out."""
        with self._lock:
            self._away = away
            self._next_try = self._monotonic() + RETRY_SECONDS


class Remembered:
    """The last heartbeat answers of this process: what Z32 may repeat to a token and agent seen valid within 10 min."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._answers: dict[bytes, tuple[float, HeartbeatAnswer]] = {}
        self._lock = Lock()

    def keep(self, credential: str, agent_id: str, answer: HeartbeatAnswer) -> None:
        """Remember an answer that was just committed."""
        with self._lock:
            if len(self._answers) >= MAX_REMEMBERED:
                self._answers.clear()
            self._answers[_digest(credential, agent_id)] = (self._monotonic(), answer)

    def forget(self, credential: str, agent_id: str) -> None:
        """The token or the agent has been refused: what was valid once is not repeated in an outage (CL-3)."""
        with self._lock:
            self._answers.pop(_digest(credential, agent_id), None)

    def find(self, credential: str, agent_id: str) -> HeartbeatAnswer | None:
        """The answer to repeat, None when there is none young enough."""
        found = self._answers.get(_digest(credential, agent_id))
        return found[1] if found is not None and self._monotonic() - found[0] <= REMEMBERED_SECONDS else None


def _digest(credential: str, agent_id: str) -> bytes:
    """So that no token is kept in clear."""
    return hashlib.sha256(f"{agent_id}\n{credential}".encode()).digest()
