"""The book of jobs in memory: what ``JobBook`` keeps in tables, for tests of those who use one."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count

from attrs import define, evolve, field

from spotadapters.jobs.board import Claim, JobView, RunFigures
from spotcore.errors import Unavailable
from spotcore.ports.world import Clock
from spotcore.schedule import Schedule


@define
class Run:
    """A run as it is recorded."""

    name: str
    status: str = "running"
    error: str | None = None
    figures: RunFigures = field(factory=RunFigures)


@define
class Notebook:
    """``Book``. ``away`` names the calls that cannot reach it."""

    clock: Clock
    away: frozenset[str] = frozenset()
    views: dict[str, JobView] = field(factory=dict)
    slots: dict[tuple[str, datetime], tuple[str, datetime, datetime | None]] = field(factory=dict)
    runs: dict[int, Run] = field(factory=dict)
    numbers: "count[int]" = field(factory=lambda: count(1))

    def announce(self, schedules: Mapping[str, Schedule]) -> None:
        self._reach("announce")
        for name, one in schedules.items():
            known = self.views.get(name)
            fresh = JobView(name=name, every=one.every, known_since=self.clock.now())
            self.views[name] = evolve(known, every=one.every) if known else fresh

    def claim(self, name: str, schedule: Schedule, slot: datetime, by: str) -> Claim:
        self._reach("claim")
        now = self.clock.now()
        holder, claimed_at, finished_at = self.slots.get((name, slot), (by, now, None))
        if finished_at is not None:
            return Claim.FINISHED
        if holder != by and claimed_at >= schedule.reclaim_before(now):
            return Claim.TAKEN
        self.slots[name, slot] = (by, now, None)
        return Claim.WON

    def is_finished(self, name: str, slot: datetime) -> bool:
        self._reach("is_finished")
        return (name, slot) in self.slots and self.slots[name, slot][2] is not None

    def begin(self, name: str, schedule: Schedule) -> int | None:
        self._reach("begin")
        if schedule.every < timedelta(minutes=1):
            return None
        number = next(self.numbers)
        self.runs[number] = Run(name)
        return number

    def end(
        self, name: str, schedule: Schedule, slot: datetime, run_id: int | None, figures: RunFigures, error: str | None
    ) -> None:
        self._reach("end")
        now, status = self.clock.now(), "failed" if error else "completed"
        if run_id is not None:
            self.runs[run_id] = Run(name, status, error, figures)
        if error is None and (name, slot) in self.slots:
            self.slots[name, slot] = (*self.slots[name, slot][:2], now)
        if name in self.views:
            view = self.views[name]
            success = now if error is None else view.last_success
            self.views[name] = evolve(
                view, last_run=now, last_status=status, last_success=success, next_run=schedule.next_slot(now)
            )

    def jobs(self) -> Sequence[JobView]:
        self._reach("jobs")
        return [self.views[name] for name in sorted(self.views)]

    def _reach(self, call: str) -> None:
        if call in self.away:
            raise Unavailable("the book is away")
