"""The book of jobs, in memory and on PostgreSQL: slots, runs, and how each job stands (JB-2, JB-3, JB-8)."""

from datetime import datetime, timedelta
from itertools import count

import pytest
from attrs import frozen

from spotadapters.jobs.board import Book, Claim, JobView, RunFigures
from spotadapters.postgres.jobs import JobBook
from spotadapters.postgres.pool import Connections
from spotcore.schedule import CRITICAL_AFTER, Lateness, Schedule, daily, every
from tests.support.notebook import Notebook
from tests.support.world import FakeClock

_names = count(1)
HOURLY, EVERY_SECOND, MINUTELY = every(seconds=3_600), every(seconds=1), every(seconds=60)
NOTHING = RunFigures()


@frozen
class Desk:
    """A book, and a job that no other test has."""

    book: Book
    clock: FakeClock
    name: str

    @property
    def slot(self) -> datetime:
        return HOURLY.slot(self.clock.now())

    def claim(self, by: str = "a", schedule: Schedule = HOURLY, slot: datetime | None = None) -> Claim:
        return self.book.claim(self.name, schedule, slot or self.slot, by)

    def end(
        self,
        error: str | None = None,
        schedule: Schedule = HOURLY,
        run_id: int | None = None,
        figures: RunFigures = NOTHING,
    ) -> None:
        self.book.end(self.name, schedule, self.slot, run_id, figures, error)

    def view(self) -> JobView:
        return next(one for one in self.book.jobs() if one.name == self.name)


@pytest.fixture(params=["memory", "postgres"])
def desk(request: pytest.FixtureRequest) -> Desk:
    clock = FakeClock()
    book: Book = Notebook(clock)
    if request.param == "postgres":
        book = JobBook(request.getfixturevalue("connections"), clock)
    return Desk(book, clock, f"job-{next(_names)}")


def test_jb2_a_slot_is_won_once_and_its_winner_may_come_again(desk: Desk) -> None:
    assert [desk.claim(by) for by in ("a", "b", "a", "b")] == [Claim.WON, Claim.TAKEN, Claim.WON, Claim.TAKEN]
    assert not desk.book.is_finished(desk.name, desk.slot)
    desk.end()
    assert [desk.claim(by) for by in ("a", "b")] == [Claim.FINISHED] * 2
    assert desk.book.is_finished(desk.name, desk.slot)


def test_jb2_slots_and_jobs_are_apart(desk: Desk) -> None:
    assert desk.claim() is Claim.WON
    desk.end()
    later = desk.slot + timedelta(hours=1)
    assert not desk.book.is_finished(desk.name, later)
    assert desk.claim("b", slot=later) is Claim.WON
    assert desk.book.claim(f"{desk.name}-other", HOURLY, desk.slot, "b") is Claim.WON
    assert not desk.book.is_finished(f"{desk.name}-other", desk.slot)


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [(EVERY_SECOND, 60), (MINUTELY, 60), (every(seconds=600), 600), (HOURLY, 3_600), (daily(2), 3_600)],
    ids=["second", "minute", "ten minutes", "hour", "day"],
)  # fmt: skip
def test_a_slot_whose_winner_is_not_heard_of_opens_again(desk: Desk, schedule: Schedule, seconds: float) -> None:
    slot = desk.slot
    assert desk.claim("dies", schedule, slot) is Claim.WON
    desk.clock.advance(seconds)
    assert desk.claim("b", schedule, slot) is Claim.TAKEN
    desk.clock.advance(0.001)
    assert desk.claim("b", schedule, slot) is Claim.WON
    assert desk.claim("dies", schedule, slot) is Claim.TAKEN  # it is b's now
    desk.clock.advance(seconds)
    assert desk.claim("c", schedule, slot) is Claim.TAKEN  # counted from b's claim


def test_a_claim_that_is_renewed_counts_from_then(desk: Desk) -> None:
    slot = desk.slot
    desk.claim("a", slot=slot)
    desk.clock.advance(3_000)
    assert desk.claim("a", slot=slot) is Claim.WON
    desk.clock.advance(3_000)
    assert desk.claim("b", slot=slot) is Claim.TAKEN


def test_a_failed_run_leaves_its_slot_to_its_holder_and_then_to_others(desk: Desk) -> None:
    desk.book.announce({desk.name: HOURLY})
    slot = desk.slot
    desk.claim("a")
    desk.end("UNAVAILABLE: not now")
    assert not desk.book.is_finished(desk.name, slot)
    assert (desk.claim("b"), desk.claim("a")) == (Claim.TAKEN, Claim.WON)
    view = desk.view()
    assert (view.last_status, view.last_run, view.last_success) == ("failed", desk.clock.now(), None)


def test_jb8_how_a_job_stands_is_what_its_last_run_left(desk: Desk) -> None:
    begun = desk.clock.now()
    desk.book.announce({desk.name: HOURLY})
    assert desk.view() == JobView(name=desk.name, every=timedelta(hours=1), known_since=begun)
    desk.clock.advance(90)
    desk.end()
    first = desk.clock.now()
    assert desk.view() == JobView(
        name=desk.name, every=timedelta(hours=1), known_since=begun, last_run=first, last_status="completed",
        last_success=first, next_run=desk.slot + timedelta(hours=1),
    )  # fmt: skip
    desk.clock.advance(3_600)
    desk.end("broken")
    view = desk.view()
    assert (view.last_run, view.last_status, view.last_success) == (desk.clock.now(), "failed", first)


def test_a_job_that_is_announced_again_keeps_its_history_and_takes_its_new_interval(desk: Desk) -> None:
    desk.book.announce({desk.name: HOURLY})
    desk.end()
    before = desk.view()
    desk.clock.advance(10)
    desk.book.announce({desk.name: MINUTELY})
    after = desk.view()
    assert (after.every, after.known_since, after.last_success) == (
        timedelta(minutes=1),
        before.known_since,
        before.last_success,
    )


def test_jobs_are_listed_by_name_and_a_job_nobody_announced_has_no_place(desk: Desk) -> None:
    names = [f"{desk.name}-{letter}" for letter in "cab"]
    desk.book.announce(dict.fromkeys(names, HOURLY))
    desk.end()  # not announced
    mine = [one.name for one in desk.book.jobs() if one.name.startswith(desk.name + "-")]
    assert mine == sorted(names)
    assert desk.name not in {one.name for one in desk.book.jobs()}


@pytest.mark.parametrize(
    ("schedule", "is_recorded"), [(EVERY_SECOND, False), (every(seconds=59), False), (MINUTELY, True)]
)
def test_e98_runs_of_frequent_jobs_are_no_news(desk: Desk, schedule: Schedule, is_recorded: bool) -> None:
    number = desk.book.begin(desk.name, schedule)
    assert (number is not None) is is_recorded
    desk.end(schedule=schedule, run_id=number)


@pytest.mark.parametrize(
    ("seconds", "vital", "level"),
    [
        (10, True, None), (10.5, True, Lateness.CRITICAL), (3 * 3_600, False, None), (3 * 3_600 + 1, False, Lateness.WARNING),
        (3 * 3_600 + 1, True, Lateness.CRITICAL),
    ],
)  # fmt: skip
def test_jb8_a_job_is_late_after_three_intervals_and_the_vital_one_after_ten_seconds(
    desk: Desk, seconds: float, vital: bool, level: Lateness | None
) -> None:
    desk.book.announce({desk.name: HOURLY})
    assert desk.view().lateness(desk.clock.now() + CRITICAL_AFTER, is_vital=vital) is None
    desk.end()
    desk.clock.advance(seconds)
    assert desk.view().lateness(desk.clock.now(), is_vital=vital) is level


# ---- what the tables say (E98)


def runs(connections: Connections, name: str) -> list[tuple[object, ...]]:
    return connections.rows(
        "select status, completed_at is null, records_processed, duplicates_removed, gaps_filled, error from job_runs"
        " where job_type = %(name)s order by run_id",
        {"name": name},
    )


def test_e98_a_run_is_recorded_from_its_begin_to_its_end(connections: Connections) -> None:
    clock, name = FakeClock(), f"job-{next(_names)}"
    book = JobBook(connections, clock)
    first = book.begin(name, HOURLY)
    assert runs(connections, name) == [("running", True, None, None, None, None)]
    figures = RunFigures(records_processed=7, duplicates_removed=0, gaps_filled=2)
    book.end(name, HOURLY, HOURLY.slot(clock.now()), first, figures, None)
    second = book.begin(name, HOURLY)
    book.end(name, HOURLY, HOURLY.slot(clock.now()), second, NOTHING, "UNAVAILABLE: not now")
    assert runs(connections, name) == [
        ("completed", False, 7, 0, 2, None), ("failed", False, None, None, None, "UNAVAILABLE: not now"),
    ]  # fmt: skip


def test_a_run_whose_process_ended_is_closed_by_the_next_and_younger_ones_are_left(connections: Connections) -> None:
    clock, name = FakeClock(), f"job-{next(_names)}"
    book = JobBook(connections, clock)
    book.begin(name, HOURLY)
    clock.advance(3_600)
    book.begin(name, HOURLY)  # the first may still be at it
    assert [row[0] for row in runs(connections, name)] == ["running", "running"]
    clock.advance(1)
    book.begin(name, HOURLY)
    assert [(row[0], row[5]) for row in runs(connections, name)] == [
        ("failed", "its process ended before it did"), ("running", None), ("running", None),
    ]  # fmt: skip
    book.begin(f"{name}-other", HOURLY)
    assert [row[0] for row in runs(connections, name)] == ["failed", "running", "running"]
