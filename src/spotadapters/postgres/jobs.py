"""The book of background jobs: who has which slot, how runs went, how each job stands (JB-2, JB-8)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from spotadapters.jobs.board import Claim, JobView, RunFigures
from spotadapters.postgres.reader import Reader
from spotcore.instants import read_instant
from spotcore.schedule import Schedule

RECORDED_FROM: Final = timedelta(minutes=1)  # runs of a job of every second are no news (E98)


@frozen(kw_only=True)
class _Row:
    name: str
    every_seconds: Decimal
    known_since: str
    last_run: str | None
    last_status: str | None
    last_success: str | None
    next_run: str | None


class JobBook(Reader):
    """``Book`` and ``Board`` on PostgreSQL. Every call is one statement and a transaction of its own."""

    def announce(self, schedules: Mapping[str, Schedule]) -> None:
        """These jobs exist, with these intervals. Repeatable."""
        self._rows(
            "job_announce",
            {"jobs": list(schedules), "every_seconds": [one.every.total_seconds() for one in schedules.values()]},
        )

    def claim(self, name: str, schedule: Schedule, slot: datetime, by: str) -> Claim:
        """Whose the slot is now. The same claimant may claim again what it has not finished."""
        before = schedule.reclaim_before(self._clock.now())
        return Claim(self._rows("job_claim", {"job": name, "slot": slot, "by": by, "reclaim_before": before})[0])

    def is_finished(self, name: str, slot: datetime) -> bool:
        """Whether anybody has done the slot."""
        return bool(self._rows("job_is_finished", {"job": name, "slot": slot})[0])

    def begin(self, name: str, schedule: Schedule) -> int | None:
        """A run begins: its number, None for jobs so frequent that no run of theirs is recorded."""
        if schedule.every < RECORDED_FROM:
            return None
        before = schedule.reclaim_before(self._clock.now())
        number: int = self._once("job_begin", {"job": name, "reclaim_before": before})[0]
        return number

    def end(
        self, name: str, schedule: Schedule, slot: datetime, run_id: int | None, figures: RunFigures, error: str | None
    ) -> None:
        """A run has ended; without an ``error`` its slot is finished."""
        self._rows(
            "job_end",
            {
                "job": name,
                "slot": slot,
                "run_id": run_id,
                "status": "failed" if error else "completed",
                "error": error,
                "next_run": schedule.next_slot(self._clock.now()),
                "records_processed": figures.records_processed,
                "duplicates_removed": figures.duplicates_removed,
                "gaps_filled": figures.gaps_filled,
            },
        )

    def jobs(self) -> Sequence[JobView]:
        """All jobs by name, as every process left them."""
        return [_view(row) for row in self.rows("job_states", _Row)]


def _view(row: _Row) -> JobView:
    known = read_instant(row.known_since)
    assert known is not None
    instants: dict[str, Any] = {
        name: read_instant(getattr(row, name)) for name in ("last_run", "last_success", "next_run")
    }
    return JobView(
        name=row.name,
        every=timedelta(seconds=float(row.every_seconds)),
        known_since=known,
        last_status=row.last_status,
        **instants,
    )
