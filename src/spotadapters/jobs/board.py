"""Jobs as others see them, and the book in which processes agree on who runs what."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from attrs import evolve, frozen

from spotcore.schedule import Lateness, Schedule


@frozen(kw_only=True)
class JobView:
    """How a job stands, whichever process ran it (E07, JB-8)."""

    name: str
    every: timedelta
    known_since: datetime
    last_run: datetime | None = None
    last_status: str | None = None  # completed | failed
    last_success: datetime | None = None
    next_run: datetime | None = None

    def lateness(self, now: datetime, *, is_vital: bool = False) -> Lateness | None:
        """None while it is on time (JB-8)."""
        return Schedule(every=self.every, is_vital=is_vital).lateness(self.last_success, self.known_since, now)


@frozen(kw_only=True)
class RunFigures:
    """What a run counted (E98); None where the job counts no such thing."""

    records_processed: int | None = None
    duplicates_removed: int | None = None
    gaps_filled: int | None = None


UPKEEP: Final = "agent upkeep"
PARTS: Final[Mapping[str, str]] = dict.fromkeys(
    (
        "emergency tick",
        "manual-replica reconcile",
        "lease recovery",
        "agent timeout",
        "incident clearing",
        "replica and launch timeouts",
        "command expiry",
        "zombie step",
    ),
    UPKEEP,
)
"""Jobs of section 9 that another one does here, and which: one decision on an agent serves all of its clocks."""


def with_parts(views: Sequence[JobView]) -> Sequence[JobView]:
    """The jobs, and after them what they do under names of their own: they stand as the job stands that does them."""
    known = {one.name: one for one in views}
    return (*views, *(evolve(known[whole], name=part) for part, whole in PARTS.items() if whole in known))


def is_running(views: Sequence[JobView], now: datetime) -> bool:
    """Whether somebody does what failovers wait for, in time (JB-8). Rare jobs prove nothing: one of a day is on time
    for days after the last scheduler has ended."""
    return any(one.name == UPKEEP and one.lateness(now, is_vital=True) is None for one in views)


class Claim(StrEnum):
    """What came of asking for a slot."""

    WON = "won"
    TAKEN = "taken"  # somebody is at it
    FINISHED = "finished"  # somebody has done it


class Board(Protocol):
    """What screens and metrics read."""

    def jobs(self) -> Sequence[JobView]:
        """All jobs by name. Raises ``Unavailable``."""
        ...


class Book(Board, Protocol):
    """What processes that run jobs share."""

    def announce(self, schedules: Mapping[str, Schedule]) -> None:
        """These jobs exist."""
        ...

    def claim(self, name: str, schedule: Schedule, slot: datetime, by: str) -> Claim:
        """Whose the slot is."""
        ...

    def is_finished(self, name: str, slot: datetime) -> bool:
        """Whether anybody has done it."""
        ...

    def begin(self, name: str, schedule: Schedule) -> int | None:
        """A run begins."""
        ...

    def end(
        self, name: str, schedule: Schedule, slot: datetime, run_id: int | None, figures: RunFigures, error: str | None
    ) -> None:
        """A run has ended."""
        ...


class NoJobs:
    """The board of a process that knows of none."""

    def jobs(self) -> Sequence[JobView]:
        """Nothing."""
        return ()
