"""One turn of a job: claimed, run, recorded, its trouble told and never raised (JB-1…JB-4, 4.6)."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from spotadapters.jobs import table as tables
from spotadapters.jobs.board import NoJobs, RunFigures
from spotadapters.jobs.table import Done, Job, JobTable
from spotcore.errors import NotFound, Unavailable
from spotcore.schedule import Schedule, every
from tests.support.notebook import Notebook, Run
from tests.support.world import FakeClock

HOURLY, EVERY_SECOND = every(seconds=3_600), every(seconds=1)
CALLS = ("claim", "begin", "end", "announce")


class Desk:
    """A table of one job."""

    def __init__(self, run: Callable[[datetime], Any], schedule: Schedule = HOURLY, *, in_place: bool = False) -> None:
        self.clock = FakeClock()
        self.book = Notebook(self.clock)
        self.job = Job(name="seal", schedule=schedule, run=run, does="seals", in_place=in_place)
        self.table = JobTable({"seal": self.job}, self.book, self.clock, holder="me")

    @property
    def slot(self) -> datetime:
        return self.job.schedule.slot(self.clock.now())

    def perform(self) -> Done:
        return self.table.perform("seal", self.slot)


def fails(failure: Exception) -> Callable[[datetime], Any]:
    def run(_: datetime) -> None:
        raise failure

    return run


def test_a_job_gets_its_slot_and_what_it_counts_is_recorded() -> None:
    given: list[datetime] = []

    def run(slot: datetime) -> RunFigures:
        given.append(slot)
        return RunFigures(records_processed=3, gaps_filled=0)

    desk = Desk(run)
    desk.table.announce()
    assert desk.perform() is Done.DONE
    assert given == [desk.slot]
    assert desk.book.runs == {1: Run("seal", "completed", None, RunFigures(records_processed=3, gaps_filled=0))}
    assert desk.book.views["seal"].last_success == desk.clock.now()


def test_jb2_a_slot_of_somebody_else_is_left_to_him() -> None:
    desk = Desk(fails(AssertionError("it was not ours")))
    desk.book.claim("seal", HOURLY, desk.slot, "another")
    assert desk.perform() is Done.TAKEN
    desk.book.end("seal", HOURLY, desk.slot, None, RunFigures(), None)
    assert desk.perform() is Done.FINISHED
    assert desk.book.runs == {}


def test_a_claim_is_made_in_the_name_of_who_asks() -> None:
    desk = Desk(lambda _: None)
    desk.table.perform("seal", desk.slot, by="message 7")
    assert desk.book.slots["seal", desk.slot][0] == "message 7"
    desk.clock.advance(3_600)
    desk.perform()
    assert desk.book.slots["seal", desk.slot][0] == "me"


@pytest.mark.parametrize(
    ("failure", "text", "message", "level"),
    [
        (Unavailable("the database is away"), "UNAVAILABLE: the database is away", "job_refused", logging.WARNING),
        (ZeroDivisionError("secret=1"), "ZeroDivisionError", "job_failed", logging.ERROR),
        (Unavailable("x" * 600), "UNAVAILABLE: " + "x" * 487, "job_refused", logging.WARNING),
    ],
)  # fmt: skip
def test_jb4_a_failing_job_is_recorded_told_and_raises_nothing_nt3(
    caplog: pytest.LogCaptureFixture, failure: Exception, text: str, message: str, level: int
) -> None:
    desk = Desk(fails(failure))
    desk.table.announce()
    with caplog.at_level(logging.WARNING):
        assert desk.perform() is Done.FAILED
    assert desk.book.runs == {1: Run("seal", "failed", text)}  # a defect's own words stay in the log
    assert [(one.message, one.levelno, one.job) for one in caplog.records] == [(message, level, "seal")]
    assert desk.book.views["seal"].last_success is None
    assert not desk.book.is_finished("seal", desk.slot)


def test_a_failed_slot_is_tried_again_and_then_done() -> None:
    outcomes: list[Exception | None] = [Unavailable("not now"), None]

    def run(_: datetime) -> None:
        failure = outcomes.pop(0)
        if failure is not None:
            raise failure

    desk = Desk(run)
    assert [desk.perform() for _ in range(3)] == [Done.FAILED, Done.DONE, Done.FINISHED]


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize(
    "away",
    [frozenset(), *(frozenset({one}) for one in CALLS), frozenset(CALLS)],
    ids=lambda one: "+".join(sorted(one)) or "none",
)
def test_4_6_what_failovers_need_runs_though_the_book_is_away(in_place: bool, away: frozenset[str]) -> None:
    """Correctness rests on JB-1: the book only saves work, and for a vital job not even that may hold it up."""
    ran: list[datetime] = []
    desk = Desk(ran.append, in_place=in_place)
    desk.book.away = away
    runs = in_place or "claim" not in away
    assert desk.perform() is (Done.DONE if runs else Done.FAILED)
    assert len(ran) == int(runs)


def test_a_job_of_every_second_writes_now_and_then_that_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that does nothing should write nothing; a failure is written at once, and so is what follows it."""
    seconds, failing = [100.0], [False]
    monkeypatch.setattr(tables.time, "monotonic", lambda: seconds[0])

    def run(_: datetime) -> None:
        if failing[0]:
            raise Unavailable("not now")

    desk = Desk(run, EVERY_SECOND, in_place=True)
    desk.table.announce()
    written: list[datetime | None] = []

    def turn(is_failing: bool = False) -> None:
        failing[0] = is_failing
        desk.clock.advance(1)
        seconds[0] += 1
        desk.perform()
        written.append(desk.book.views["seal"].last_run)

    for _ in range(12):
        turn()
    assert len(set(written)) == 3  # at once, and every five seconds
    turn(is_failing=True)
    assert written[-1] == desk.clock.now()
    turn()
    assert (written[-1], desk.book.views["seal"].last_status) == (desk.clock.now(), "completed")
    turn()
    assert written[-1] == desk.clock.now() - timedelta(seconds=1)
    assert desk.book.runs == {}


def test_an_unknown_job_is_refused_with_the_names_there_are() -> None:
    desk = Desk(lambda _: None)
    for look in (desk.table.named, lambda name: desk.table.perform(name, desk.slot)):
        with pytest.raises(NotFound, match="no job is named 'sael'; there are: seal"):
            look("sael")


def test_a_process_without_jobs_has_an_empty_board() -> None:
    assert list(NoJobs().jobs()) == []
