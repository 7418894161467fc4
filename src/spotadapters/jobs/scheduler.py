"""The clock of the jobs: a thread for each, so that one that takes its time holds up no other (4.6).

Correctness does not depend on any of them being punctual (JB-5). What was missed is caught up by one run (JB-3).
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from spotadapters.jobs.table import Done, Job, JobTable
from spotcore.errors import SpotError

log = logging.getLogger("spotadapters.jobs")

FIRST_SECONDS: Final = 20.0  # rarer jobs let a process start before they begin
LOOK_SECONDS: Final = 60.0  # so often a rare job looks at the clock, which may have been set, and at its slot
RETRY_SECONDS: Final = 15.0  # so soon a slot that is not finished is looked at again

Send = Callable[[str, datetime], None]
"""Puts a job's slot into a queue. Raises ``OSError`` when there is none to be reached."""


class Scheduler:
    """Sees to it that each slot of each job is run: by ``send`` through a queue to a worker, or here."""

    def __init__(self, table: JobTable, send: Send | None = None, *, first_seconds: float = FIRST_SECONDS) -> None:
        """Without ``send``, and while it fails, jobs run here."""
        self._table = table
        self._send = send
        self._first_seconds = first_seconds
        self._stopping = threading.Event()
        self._announced = False
        self._threads = [
            threading.Thread(target=self._watch, args=(job,), name=name.replace(" ", "-"), daemon=True)
            for name, job in table.jobs.items()
        ]

    def start(self) -> None:
        """Begin. Never waits for a database or a queue."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is at hand and end; a job at work is waited for ten seconds at most."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)

    def _watch(self, job: Job) -> None:
        handled: datetime | None = None
        wait = min(job.schedule.every.total_seconds(), self._first_seconds)
        while not self._stopping.wait(wait):
            slot = job.schedule.slot(self._table.clock.now())
            if slot != handled and self._turn(job, slot):
                handled = slot
            wait = self._pause(job, is_handled=slot == handled)

    def _pause(self, job: Job, *, is_handled: bool) -> float:
        every = job.schedule.every.total_seconds()
        if not is_handled:
            return min(every, RETRY_SECONDS)
        now = self._table.clock.now()
        left = (job.schedule.next_slot(now) - now) / timedelta(seconds=1)
        return min(left, every, LOOK_SECONDS)

    def _turn(self, job: Job, slot: datetime) -> bool:
        """True when nothing more is to be done for the slot."""
        self._announce()
        if self._send is not None and not job.in_place:
            if self._is_finished(job, slot):
                return True
            try:
                self._send(job.name, slot)
            except OSError as failure:
                log.warning("queue_away", extra={"job": job.name, "reason": type(failure).__name__})
            else:
                return False  # until a worker has finished it: whatever a queue loses is sent again
        done = self._table.perform(job.name, slot)
        return done in (Done.DONE, Done.FINISHED)

    def _is_finished(self, job: Job, slot: datetime) -> bool:
        try:
            return self._table.book.is_finished(job.name, slot)
        except SpotError:
            return False

    def _announce(self) -> None:
        if not self._announced:
            try:
                self._table.announce()
                self._announced = True
            except SpotError as refusal:
                log.warning("jobs_unannounced", extra={"code": refusal.code})
