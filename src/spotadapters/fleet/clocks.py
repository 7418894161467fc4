"""Time for a simulated fleet: a clock that moves when told, and one that runs faster than life."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from attrs import define, field


class Clock(Protocol):
    """Says what time it is: aware, UTC."""

    def now(self) -> datetime:
        """The current instant."""
        ...


class SteppedClock(Clock, Protocol):
    """A clock that a single-threaded world moves."""

    def advance(self, seconds: float) -> None:
        """Move forward."""
        ...


@define
class VirtualClock:
    """A ``SteppedClock``. Not for use by several threads."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The instant it was last moved to."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Move forward by whole microseconds."""
        self.at += timedelta(seconds=seconds)


@define
class FastClock:
    """Real time that runs ``rate`` seconds per second from the moment it is made. Safe for several threads."""

    origin_at: datetime
    rate: float = 1.0
    _started: float = field(factory=time.monotonic)

    def now(self) -> datetime:
        """The origin plus the real time since, multiplied."""
        return self.origin_at + timedelta(seconds=(time.monotonic() - self._started) * self.rate)
