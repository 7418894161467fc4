"""The clock of the jobs: which slot is turned to when, where it is run, and how long the next look waits (JB-3, JB-5)."""

from datetime import datetime, timedelta

import pytest

from spotadapters.jobs.board import RunFigures
from spotadapters.jobs.scheduler import LOOK_SECONDS, RETRY_SECONDS, Scheduler, Send
from spotadapters.jobs.table import Job, JobTable
from spotcore.errors import Unavailable
from spotcore.schedule import Schedule, daily, every
from tests.support.notebook import Notebook
from tests.support.world import START, FakeClock

HOURLY, DAILY, EVERY_SECOND = every(seconds=3_600), daily(2), every(seconds=1)


class Station:
    """A scheduler that is never started: its turns are taken by the test."""

    def __init__(self, schedule: Schedule = HOURLY, send: Send | None = None, *, in_place: bool = False) -> None:
        self.clock = FakeClock()
        self.book = Notebook(self.clock)
        self.ran: list[datetime] = []
        self.fails = False
        self.job = Job(name="seal", schedule=schedule, run=self._run, does="", in_place=in_place)
        self.scheduler = Scheduler(JobTable({"seal": self.job}, self.book, self.clock, holder="me"), send)

    def _run(self, slot: datetime) -> None:
        self.ran.append(slot)
        if self.fails:
            raise Unavailable("not now")

    @property
    def slot(self) -> datetime:
        return self.job.schedule.slot(self.clock.now())

    def turn(self) -> bool:
        return self.scheduler._turn(self.job, self.slot)

    def pause(self, *, is_handled: bool) -> float:
        return self.scheduler._pause(self.job, is_handled=is_handled)


class Queue:
    """Takes slots, or cannot be reached."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, datetime]] = []
        self.is_away = False

    def __call__(self, name: str, slot: datetime) -> None:
        if self.is_away:
            raise ConnectionError("no queue")
        self.sent.append((name, slot))


def test_without_a_queue_a_slot_is_run_here_once() -> None:
    station = Station()
    assert [station.turn() for _ in range(2)] == [True, True]
    assert station.ran == [station.slot]
    station.clock.advance(3_600)
    station.turn()
    assert len(station.ran) == 2


def test_with_a_queue_a_slot_is_sent_until_somebody_has_finished_it() -> None:
    queue = Queue()
    station = Station(send=queue)
    assert [station.turn() for _ in range(3)] == [False] * 3  # whatever a queue loses is sent again
    assert queue.sent == [("seal", station.slot)] * 3
    station.book.claim("seal", HOURLY, station.slot, "a worker")
    station.book.end("seal", HOURLY, station.slot, None, RunFigures(), None)
    assert station.turn()
    assert (len(queue.sent), station.ran) == (3, [])


def test_what_failovers_need_never_waits_in_a_queue() -> None:
    queue = Queue()
    station = Station(send=queue, in_place=True)
    assert station.turn()
    assert (queue.sent, station.ran) == ([], [station.slot])


def test_while_the_queue_is_away_a_slot_is_run_here_and_afterwards_sent_again() -> None:
    queue = Queue()
    station = Station(send=queue)
    queue.is_away = True
    assert station.turn()
    assert station.ran == [station.slot]
    queue.is_away = False
    station.clock.advance(3_600)
    assert not station.turn()
    assert (queue.sent, len(station.ran)) == ([("seal", station.slot)], 1)


def test_a_slot_that_failed_is_looked_at_again() -> None:
    station = Station()
    station.fails = True
    assert not station.turn()
    station.fails = False
    assert station.turn()
    assert station.ran == [station.slot] * 2


def test_a_slot_that_another_process_is_at_is_looked_at_until_it_is_finished_or_open_again() -> None:
    station = Station()
    slot = station.slot
    station.book.claim("seal", HOURLY, slot, "another")
    assert not station.turn()
    assert station.ran == []
    station.clock.advance(1_800)
    assert not station.turn()
    station.clock.advance(1_801)  # the other is not heard of, and the next slot has come
    assert station.turn()
    assert station.ran == [slot + timedelta(hours=1)]


@pytest.mark.parametrize("away", ["announce", "is_finished"])
def test_jb5_a_book_that_is_away_for_a_moment_holds_nothing_up(away: str) -> None:
    queue = Queue()
    station = Station(send=queue)
    station.book.away = frozenset({away})
    assert not station.turn()
    assert queue.sent == [("seal", station.slot)]  # twice at work is only work (JB-1)
    station.book.away = frozenset()
    station.turn()
    assert "seal" in station.book.views  # announced as soon as it can be


def test_jobs_are_announced_once() -> None:
    station = Station()
    station.turn()
    station.book.views.clear()
    station.turn()
    assert station.book.views == {}


PAUSES: list[tuple[Schedule, float, bool, float]] = [
    # schedule, seconds after 12:00 UTC, handled, how long until the next look
    (EVERY_SECOND, 0, True, 1), (EVERY_SECOND, 0.25, True, 0.75), (EVERY_SECOND, 0, False, 1),
    (every(seconds=10), 4, True, 6), (every(seconds=10), 4, False, 10), (every(seconds=600), 0, False, RETRY_SECONDS),
    (HOURLY, 0, True, LOOK_SECONDS), (HOURLY, 3_590, True, 10), (HOURLY, 3_590, False, RETRY_SECONDS),
    (DAILY, 0, True, LOOK_SECONDS), (DAILY, 14 * 3_600 - 5, True, 5), (DAILY, 0, False, RETRY_SECONDS),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "seconds", "is_handled", "wait"), PAUSES)
def test_the_next_look_comes_with_the_next_slot_and_never_later_than_a_minute(
    schedule: Schedule, seconds: float, is_handled: bool, wait: float
) -> None:
    station = Station(schedule)
    station.clock.at = START + timedelta(seconds=seconds)
    assert station.pause(is_handled=is_handled) == pytest.approx(wait)


def test_jb3_after_a_pause_of_days_one_run_covers_what_was_missed() -> None:
    station = Station()
    station.turn()
    station.clock.advance(3 * 86_400)
    station.turn()
    station.turn()
    assert station.ran == [START, START + timedelta(days=3)]


def test_a_clock_that_was_set_back_turns_to_its_slot_once_more_at_most() -> None:
    station = Station()
    station.clock.advance(7_200)
    station.turn()
    station.clock.advance(-7_200)
    assert [station.turn() for _ in range(2)] == [True, True]
    assert station.ran == [START + timedelta(hours=2), START]


def test_a_scheduler_starts_and_stops_without_waiting_for_anything() -> None:
    station = Station()
    station.book.away = frozenset({"announce", "claim"})
    scheduler = Scheduler(station.scheduler._table, first_seconds=0.001)
    scheduler.start()
    scheduler.stop()
    scheduler.stop()
    Scheduler(station.scheduler._table).stop()  # never started
