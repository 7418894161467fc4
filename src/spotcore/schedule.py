"""When a background job is due, and when it is late (section 9). Pure: slots are computed, never remembered."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from spotcore.errors import ValidationFailed

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
LATE_AFTER: Final = 3  # intervals (JB-8)
CRITICAL_AFTER: Final = timedelta(seconds=10)  # of the job that failovers need (JB-8)
LATE_AT_LEAST: Final = timedelta(seconds=15)  # jobs of every second do not write down every success
RECLAIM_AFTER: Final = timedelta(hours=1)  # a slot whose winner has not been heard of since is open again


class Lateness(StrEnum):
    """How bad it is that a job has not succeeded for so long (JB-8)."""

    WARNING = "warning"
    CRITICAL = "critical"


def _positive(_: object, __: object, value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValidationFailed(f"a job's interval must be longer than nothing, not {value}")


@frozen(kw_only=True)
class Schedule:
    """Every so often since midnight UTC; with ``at``, that long after each slot begins (a daily job at 02:00)."""

    every: timedelta = field(validator=_positive)
    at: timedelta = timedelta(0)
    is_vital: bool = False  # failovers need it

    def slot(self, now: datetime) -> datetime:
        """The start of the slot that ``now`` lies in, UTC. One slot has one winner (JB-2)."""
        start = EPOCH + self.at
        return start + (now - start) // self.every * self.every

    def next_slot(self, now: datetime) -> datetime:
        """The start of the following slot."""
        return self.slot(now) + self.every

    def reclaim_before(self, now: datetime) -> datetime:
        """A slot that was claimed before this and never finished may be claimed again: its winner died."""
        return now - min(max(self.every, timedelta(minutes=1)), RECLAIM_AFTER)

    def lateness(self, last_success: datetime | None, known_since: datetime, now: datetime) -> Lateness | None:
        """None while the job is on time. A job that never ran is judged from ``known_since`` (JB-8)."""
        silent = now - (last_success or known_since)
        if self.is_vital and silent > CRITICAL_AFTER:
            return Lateness.CRITICAL
        return Lateness.WARNING if silent > max(LATE_AFTER * self.every, LATE_AT_LEAST) else None


def daily(hour: int, minute: int = 0) -> Schedule:
    """Once a day at a time of UTC. Raises ``ValidationFailed`` for a time that no day has."""
    if not (0 <= hour < 24 and 0 <= minute < 60):
        raise ValidationFailed(f"{hour}:{minute:02} is no time of a day")
    return Schedule(every=DAY, at=timedelta(hours=hour, minutes=minute))


def every(*, seconds: float, is_vital: bool = False) -> Schedule:
    """Every so many seconds. Raises ``ValidationFailed`` unless that is more than none."""
    return Schedule(every=timedelta(seconds=seconds), is_vital=is_vital)
