"""Every background job of section 9 as a row: when, what, and whether failovers wait for it."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from attrs import frozen

from spotadapters.channels.courier import Courier
from spotadapters.jobs.board import UPKEEP, Board, RunFigures
from spotadapters.jobs.hearing import Hearing
from spotadapters.jobs.table import Job
from spotadapters.postgres.audit import AuditSeals
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.retention import Retention
from spotapp.stuck import Stuck
from spotcore.control_plane import ControlPlane
from spotcore.errors import Unavailable
from spotcore.ports.storage import Turn
from spotcore.ports.world import Clock
from spotcore.schedule import Schedule, daily, every

log = logging.getLogger("spotapp.jobs")

DECISIONS: Final = "decision round"
AT_ONCE: Final = 200  # decisions between two looks at who is due
SHARE_OF_SLOT: Final = 0.7
OVERLAP: Final = timedelta(hours=2)  # of what came in: reports are written late, and by clocks that differ
SNAPSHOT_GRACE: Final = timedelta(hours=1)  # counts taken later would not be that day's

Run = Callable[[datetime], RunFigures | None]


@frozen(kw_only=True)
class Collaborators:
    """What the jobs work with."""

    plane: ControlPlane
    connections: Connections
    clock: Clock
    board: Board
    data_dir: Path
    courier: Courier
    upkeep_seconds: float = 1.0
    decision_seconds: float = 10.0
    give_way: Callable[[float], None] = lambda _: None  # for so long; who serves callers lets them pass


def job_table(work: Collaborators) -> Mapping[str, Job]:
    """The jobs by name. Every one is repeatable, and two at once do the work once (JB-1).

    Time-driven rules of one agent are one job: they are one decision on its aggregate. Datasets are built where the
    extra ``history`` is installed.
    """
    todo = _Work(work)
    rows = [
        Job(
            name=UPKEEP,
            schedule=every(seconds=work.upkeep_seconds, is_vital=True),
            run=todo.upkeep,
            does="forced promotions, deadlines, launch retries, replica repair, leases, time-outs, expiry, zombies",
            in_place=True,
        ),
        Job(
            name=DECISIONS,
            schedule=every(seconds=work.decision_seconds),
            run=todo.decide,
            does="judges every agent whose last decision is 300 s old (Z34)",
            in_place=True,
        ),
        Job(
            name="deliveries",
            schedule=every(seconds=4),  # each look is three statements, of an idle site too
            run=todo.deliver,
            does="hands due notifications to webhooks and other channels",
            in_place=True,
        ),
        _row("audit seal", every(seconds=60), todo.seal, "seals the audit rows written since"),
        _row(
            "job watch", every(seconds=60), todo.watch, "tells of jobs that have not succeeded for 3 intervals (JB-8)"
        ),
        _row("ledger accrual", every(seconds=600), todo.accrue, "appends savings, rebuilds provisional lines"),
        _row(
            "data pipeline",
            every(seconds=3_600),
            todo.clean_prices,
            "repairs buckets, fills gaps, makes the coming weeks' tables",
        ),
        _row("request keys", every(seconds=3_600), todo.forget, "forgets idempotency keys after a day"),
        _row("client snapshot", daily(0, 5), todo.snapshot, "counts the clients of the day that ended"),
        _row("retention", daily(2), todo.retain, "removes what has reached its age"),
        _row("model files", daily(2, 30), todo.remove_model_files, "removes files of models unused for 30 days"),
    ]
    if find_spec("duckdb") is not None:
        rows.append(
            _row(
                "dataset build",
                every(seconds=21_600),
                todo.build_dataset,
                "builds the training data, removes old files of it",
            )
        )
    return {row.name: row for row in rows}


def _row(name: str, schedule: Schedule, run: Run, does: str) -> Job:
    return Job(name=name, schedule=schedule, run=run, does=does)


class _Work:
    """The jobs as functions of the start of their slot."""

    def __init__(self, work: Collaborators) -> None:
        self._plane = work.plane
        self._clock = work.clock
        self._board = work.board
        self._courier = work.courier
        self._hearing = Hearing(UPKEEP, work.board, work.clock)
        self._database_url = work.connections.database_url
        self._data_dir = work.data_dir
        self._seals = AuditSeals(work.connections, work.clock)
        self._retention = Retention(work.connections, work.clock)
        self._decision_seconds = work.decision_seconds
        self._give_way = work.give_way
        self._cleaned_at: datetime | None = None  # when the last run began that left out no group
        self._stuck_in_upkeep, self._stuck_in_decisions = Stuck(UPKEEP), Stuck(DECISIONS)
        self._decided_behind: Turn | None = None

    def upkeep(self, _: datetime) -> None:
        self._stuck_in_upkeep.tell(self._plane.upkeep.tick(deaf_until=self._hearing.deaf_until()).failed)
        self._hearing.looked()

    def decide(self, _: datetime) -> None:
        """Until everybody who is due has been looked at, or most of the slot has passed: the next one goes on there, so
        that whoever cannot be decided is never in front of the others twice in a row."""
        begun = time.monotonic()
        since = [begun]

        def has_time() -> bool:
            return time.monotonic() - begun <= SHARE_OF_SLOT * self._decision_seconds

        def goes_on() -> bool:
            self._give_way(time.monotonic() - since[0])
            since[0] = time.monotonic()
            return has_time()

        is_from_front = False
        while True:
            is_from_front = is_from_front or self._decided_behind is None
            done = self._plane.decisions.round(AT_ONCE, self._decided_behind, goes_on)
            self._stuck_in_decisions.tell(done.failed)
            self._decided_behind = done.after
            if (done.after is None and is_from_front) or not has_time():
                return

    def deliver(self, _: datetime) -> RunFigures:
        return RunFigures(records_processed=self._courier.run())

    def seal(self, _: datetime) -> RunFigures:
        return RunFigures(records_processed=self._seals.seal())

    def watch(self, _: datetime) -> RunFigures:
        now, jobs = self._clock.now(), self._board.jobs()
        for job in jobs:
            level = job.lateness(now, is_vital=job.name == UPKEEP)
            if level is not None:
                self._plane.notices.job_late(job.name, job.last_success, level)
                log.warning("job_late", extra={"job": job.name, "last_success": str(job.last_success)})
        return RunFigures(records_processed=len(jobs))

    def accrue(self, _: datetime) -> RunFigures:
        done = self._plane.savings.accrue()
        for client_id, reason in done.failed:
            log.error("ledger_stuck", extra={"client_id": client_id, "reason": reason})
        return RunFigures(records_processed=done.added)

    def clean_prices(self, _: datetime) -> RunFigures:
        """Looks at everything of the last 7 days first, then at what came in since the last run here that left out no
        group: runs may fail, be skipped, or be another process's, whose groups may have failed (JB-3)."""
        now = self._clock.now()
        last = self._cleaned_at and min(self._cleaned_at, now)  # the clock may have been put back
        done = self._plane.pipeline.run(received_since=last and last - OVERLAP)
        if not done.failed:
            self._cleaned_at = now
        for group, reason in done.failed:
            log.error("prices_stuck", extra={"group": group, "reason": reason})
        self._retention.keep_weeks()
        return RunFigures(records_processed=done.repaired, gaps_filled=done.fills_changed)

    def forget(self, _: datetime) -> RunFigures:
        return RunFigures(records_processed=self._retention.forget_requests())

    def snapshot(self, slot: datetime) -> RunFigures:
        if self._clock.now() - slot > SNAPSHOT_GRACE:
            return RunFigures(records_processed=0)  # a missed day stays missing
        return RunFigures(records_processed=int(self._retention.snapshot(slot - timedelta(hours=1))))

    def retain(self, _: datetime) -> RunFigures:
        """Raises ``Unavailable`` after everything was tried, so that the job shows as failed and is sent again."""
        done = self._retention.apply()
        for step, reason in done.failed:
            log.error("retention_stuck", extra={"step": step, "reason": reason})
        if done.total:
            self._plane.notices.cleaned(done.rows)
        if done.failed:
            raise Unavailable(f"could not remove what is old of: {', '.join(step for step, _ in done.failed)}")
        return RunFigures(records_processed=done.total)

    def remove_model_files(self, _: datetime) -> RunFigures:
        return RunFigures(records_processed=self._plane.models.remove_old_files())

    def build_dataset(self, _: datetime) -> None:
        from spotadapters.history.dataset import Datasets

        datasets = Datasets(self._database_url, self._data_dir / "datasets")
        datasets.remove_old(self._plane.models.mentioned)  # first: a full disk would let no build get so far
        datasets.build(self._clock.now())
