"""The jobs of a control plane as a table, and how one is run: claimed, recorded, its trouble told (section 9)."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from attrs import frozen

from spotadapters.jobs.board import PARTS, Book, Claim, RunFigures
from spotcore.errors import NotFound, SpotError
from spotcore.ports.world import Clock
from spotcore.schedule import Schedule

log = logging.getLogger("spotadapters.jobs")

QUIET_SECONDS: Final = 5.0  # a job of every second writes this often that all is well
SHOWN_OF_ERROR: Final = 500


@frozen(kw_only=True)
class Job:
    """A row of section 9."""

    name: str
    schedule: Schedule
    run: Callable[[datetime], RunFigures | None]  # gets the start of its slot; repeatable, safe beside itself (JB-1)
    does: str
    in_place: bool = False  # never waits in a queue: failovers depend on it


class Done(StrEnum):
    """What came of a turn."""

    DONE = "done"
    FAILED = "failed"
    TAKEN = "taken"
    FINISHED = "finished"


class JobTable:
    """The jobs by name. Performing is safe from any number of processes and threads: a slot has one winner (JB-2)."""

    def __init__(self, jobs: Mapping[str, Job], book: Book, clock: Clock, *, holder: str) -> None:
        """``holder``: who claims slots for this process."""
        self.jobs = jobs
        self.book = book
        self.clock = clock
        self.holder = holder
        self._told: dict[str, float] = {}

    def named(self, name: str) -> Job:
        """The job, or the one that does what has this name. Raises ``NotFound``, with the names there are."""
        whole = PARTS.get(name, name)
        if whole not in self.jobs:
            parts = [part for part, by in PARTS.items() if by in self.jobs]
            raise NotFound(f"no job is named {name!r}; there are: {', '.join(sorted([*self.jobs, *parts]))}")
        return self.jobs[whole]

    def announce(self) -> None:
        """Make the jobs known (E07). Raises ``Unavailable``."""
        self.book.announce({name: job.schedule for name, job in self.jobs.items()})

    def perform(self, name: str, slot: datetime, *, by: str | None = None) -> Done:
        """Run the job for this slot unless somebody else has it. Never raises: the trouble is logged and recorded."""
        job = self.named(name)
        try:
            claim = self.book.claim(name, job.schedule, slot, by or self.holder)
        except SpotError as refusal:
            log.warning("job_unclaimed", extra={"job": name, "code": refusal.code})
            if not job.in_place:
                return Done.FAILED
            claim = Claim.WON  # who moves workloads does not wait for the book (JB-1)
        if claim is not Claim.WON:
            return Done(claim.value)
        return Done.FAILED if self.run(job, slot) else Done.DONE

    def run(self, job: Job, slot: datetime) -> str | None:
        """Run it now and record it; what went wrong, None when nothing did."""
        run_id = self._begun(job)
        figures, error = RunFigures(), None
        try:
            figures = job.run(slot) or figures
        except SpotError as refusal:
            error = f"{refusal.code}: {refusal.message}"
            log.warning("job_refused", extra={"job": job.name, "code": refusal.code, "reason": refusal.message})
        except Exception as failure:
            error = type(failure).__name__
            log.exception("job_failed", extra={"job": job.name})
        except BaseException as cut_off:  # its time limit
            log.error("job_cut_off", extra={"job": job.name, "reason": type(cut_off).__name__})
            self._ended(job, slot, run_id, figures, type(cut_off).__name__)
            raise
        self._ended(job, slot, run_id, figures, error)
        return error

    def _begun(self, job: Job) -> int | None:
        try:
            return self.book.begin(job.name, job.schedule)
        except SpotError as refusal:
            log.warning("job_unrecorded", extra={"job": job.name, "code": refusal.code})
            return None

    def _ended(self, job: Job, slot: datetime, run_id: int | None, figures: RunFigures, error: str | None) -> None:
        now = time.monotonic()
        is_frequent = job.schedule.every < timedelta(seconds=QUIET_SECONDS)
        if is_frequent and error is None and now - self._told.get(job.name, 0.0) < QUIET_SECONDS:
            return
        try:
            self.book.end(job.name, job.schedule, slot, run_id, figures, error and error[:SHOWN_OF_ERROR])
            self._told[job.name] = now if error is None else 0.0
        except SpotError as refusal:
            log.warning("job_unrecorded", extra={"job": job.name, "code": refusal.code})
