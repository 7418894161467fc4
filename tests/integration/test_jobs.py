"""Background jobs on PostgreSQL: slots have one winner, runs are recorded, trouble is told (section 9)."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spotadapters.channels.courier import Courier
from spotadapters.engine.runner import EngineRunner
from spotadapters.jobs.board import Claim, RunFigures
from spotadapters.jobs.scheduler import Scheduler
from spotadapters.jobs.table import Done, Job, JobTable
from spotadapters.memory import MemoryStorage
from spotadapters.postgres.channels import Channels
from spotadapters.postgres.jobs import JobBook
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotadapters.system.identity import SecureIdentity
from spotapp import jobs as module
from spotapp.jobs import UPKEEP, Collaborators, job_table
from spotcore.agents import Link
from spotcore.control_plane import control_plane
from spotcore.decisions import Action, Proposal, Snapshot
from spotcore.errors import NotFound, StateConflict, Unavailable
from spotcore.schedule import every
from spotcore.service.savings import Accrued
from tests.support.databases import WarmDatabase
from tests.support.server import Site
from tests.support.world import ZONES, CountingIdentity, FakeClock, World, a_world

HOURLY = every(seconds=3_600)
Opened = tuple[World, Connections, FakeClock]


@pytest.fixture
def opened(warm_database: WarmDatabase) -> Opened:
    clock, connections = FakeClock(), warm_database.connections
    return a_world(PostgresStorage(connections, clock).transactions, clock), connections, clock


@pytest.fixture
def book(opened: Opened) -> JobBook:
    return JobBook(opened[1], opened[2])


def a_table(book: JobBook, clock: FakeClock, holder: str = "a", **jobs: Callable[[datetime], Any]) -> JobTable:
    rows = {name: Job(name=name, schedule=HOURLY, run=run, does="") for name, run in jobs.items()}
    table = JobTable(rows, book, clock, holder=holder)
    table.announce()
    return table


def all_jobs(opened: Opened, folder: Path) -> Mapping[str, Job]:
    world, connections, clock = opened
    channels = Channels(connections, clock, SecureIdentity(None))
    return job_table(
        Collaborators(
            plane=world.plane, connections=connections, clock=clock, board=JobBook(connections, clock),
            data_dir=folder, courier=Courier(channels),
        )
    )  # fmt: skip


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


# slots


def test_jb2_of_many_that_ask_for_a_slot_at_once_one_wins(opened: Opened, book: JobBook) -> None:
    slot = HOURLY.slot(opened[2].now())
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda number: book.claim("seal", HOURLY, slot, f"process {number}"), range(20)))
    assert sorted(claims) == sorted([Claim.WON] + [Claim.TAKEN] * 19)


def test_the_winner_of_an_unfinished_slot_may_go_on_and_others_after_an_hour(opened: Opened, book: JobBook) -> None:
    clock = opened[2]
    slot = HOURLY.slot(clock.now())
    assert book.claim("seal", HOURLY, slot, "a") is Claim.WON
    assert book.claim("seal", HOURLY, slot, "a") is Claim.WON  # its message came again
    clock.advance(3_599)
    assert book.claim("seal", HOURLY, slot, "b") is Claim.TAKEN
    clock.advance(2)
    assert book.claim("seal", HOURLY, slot, "b") is Claim.WON
    book.end("seal", HOURLY, slot, None, RunFigures(), None)
    assert {book.claim("seal", HOURLY, slot, who) for who in ("a", "b", "c")} == {Claim.FINISHED}


def test_a_clock_that_was_an_hour_ahead_keeps_nobody_from_the_slots_of_now(opened: Opened, book: JobBook) -> None:
    clock, ran = opened[2], list[datetime]()
    table = a_table(book, clock, seal=ran.append)
    ahead = HOURLY.slot(clock.now() + timedelta(hours=1))
    assert table.perform("seal", ahead) is Done.DONE
    assert table.perform("seal", HOURLY.slot(clock.now())) is Done.DONE
    assert len(ran) == 2


def test_jb5_an_hour_that_a_clock_put_back_brings_again_has_its_slots_once_more(opened: Opened, book: JobBook) -> None:
    """Else nothing would be done for an hour by whoever did not hold these slots before."""
    clock = opened[2]
    slot = HOURLY.slot(clock.now())
    clock.advance(3_000)
    assert book.claim("seal", HOURLY, slot, "a") is Claim.WON
    assert book.claim("watch", HOURLY, slot, "a") is Claim.WON
    book.end("watch", HOURLY, slot, None, RunFigures(), None)
    clock.advance(-59)  # as far as clocks of several machines may differ
    assert book.claim("seal", HOURLY, slot, "b") is Claim.TAKEN
    assert book.claim("watch", HOURLY, slot, "b") is Claim.FINISHED
    assert book.is_finished("watch", slot)
    clock.advance(-2)
    assert not book.is_finished("watch", slot)
    assert [book.claim(name, HOURLY, slot, "b") for name in ("seal", "watch")] == [Claim.WON, Claim.WON]
    assert [book.claim(name, HOURLY, slot, "c") for name in ("seal", "watch")] == [Claim.TAKEN, Claim.TAKEN]
    book.end("watch", HOURLY, slot, None, RunFigures(), None)
    assert book.claim("watch", HOURLY, slot, "c") is Claim.FINISHED


# runs


def test_jb3_a_run_after_a_pause_covers_what_was_missed_once(opened: Opened, book: JobBook) -> None:
    clock, ran = opened[2], list[datetime]()
    table = a_table(book, clock, seal=ran.append)
    clock.advance(10 * 3_600)
    slot = HOURLY.slot(clock.now())
    assert [table.perform("seal", slot) for _ in range(2)] == [Done.DONE, Done.FINISHED]
    assert ran == [slot]


def test_runs_and_states_are_visible_e07_e98(site: Site) -> None:
    book = JobBook(site.connections, site.clock)
    table = a_table(
        book, site.clock, seal=lambda _: RunFigures(records_processed=7, gaps_filled=2), broken=lambda _: 1 // 0
    )
    slot = HOURLY.slot(site.clock.now())
    assert table.perform("seal", slot) is Done.DONE
    site.clock.advance(60)
    assert table.perform("broken", slot) is Done.FAILED
    rows = site.call("GET", "/api/admin/consolidation-jobs").data
    assert [(row["job_type"], row["status"], row["records_processed"], row["gaps_filled"]) for row in rows] == [
        ("broken", "failed", None, None),
        ("seal", "completed", 7, 2),
    ]
    assert rows[0]["error"] == "ZeroDivisionError"
    views = {one.name: one for one in book.jobs()}
    assert views["seal"].last_success == views["seal"].last_run != site.clock.now()
    assert (views["broken"].last_success, views["broken"].last_status) == (None, "failed")
    assert views["seal"].next_run == slot + timedelta(hours=1)


def test_a_failed_slot_may_be_run_again_by_its_holder(opened: Opened, book: JobBook) -> None:
    clock, fails = opened[2], [True]

    def run(_: datetime) -> None:
        if fails.pop():
            raise Unavailable("not now")

    table = a_table(book, clock, seal=run)
    slot = HOURLY.slot(clock.now())
    fails.insert(0, False)
    assert [table.perform("seal", slot) for _ in range(2)] == [Done.FAILED, Done.DONE]


def test_a_run_whose_process_died_is_no_longer_shown_as_running(opened: Opened, book: JobBook) -> None:
    clock, connections = opened[2], opened[1]
    book.announce({"seal": HOURLY})
    assert book.begin("seal", HOURLY) is not None  # and then its machine lost power
    clock.advance(3_601)
    again = book.begin("seal", HOURLY)
    rows = connections.rows("select run_id, status, error from job_runs order by run_id", {})
    assert [row[1] for row in rows] == ["failed", "running"]
    assert "process ended" in rows[0][2]
    assert rows[1][0] == again


def test_an_unknown_job_is_refused_with_the_names_there_are(opened: Opened, book: JobBook) -> None:
    with pytest.raises(NotFound, match="there are: seal"):
        a_table(book, opened[2], seal=lambda _: None).named("sael")


# the scheduler


def test_jb2_two_schedulers_run_each_slot_once(opened: Opened, book: JobBook) -> None:
    clock, ran, lock = opened[2], list[datetime](), threading.Lock()

    def run(slot: datetime) -> None:
        with lock:
            ran.append(slot)

    schedule = every(seconds=0.05)
    jobs = {"fast": Job(name="fast", schedule=schedule, run=run, does="")}
    schedulers = [Scheduler(JobTable(jobs, book, clock, holder=holder)) for holder in ("a", "b")]
    for scheduler in schedulers:
        scheduler.start()
    try:
        for step in range(1, 6):
            assert within(5, lambda step=step: len(ran) >= step)  # type: ignore[misc]
            time.sleep(0.15)  # either could run it a second time now
            assert len(ran) == step
            clock.advance(1)
    finally:
        for scheduler in schedulers:
            scheduler.stop()
    assert len(set(ran)) == len(ran)


def test_while_the_queue_is_away_jobs_run_where_they_are(opened: Opened, book: JobBook) -> None:
    clock, ran = opened[2], list[datetime]()

    def away(name: str, slot: datetime) -> None:
        raise ConnectionError(name, slot)

    scheduler = Scheduler(a_table(book, clock, seal=ran.append), away, first_seconds=0.01)
    scheduler.start()
    try:
        assert within(5, lambda: bool(ran))
    finally:
        scheduler.stop()


class Hanging:
    """An engine that never answers while the test runs."""

    name, version = "hanging", "1"

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()

    def propose(self, snapshot: Snapshot) -> Proposal:
        self.asked.set()
        self.released.wait(30)
        return Proposal(action=Action.STAY, reason=snapshot.agent_id)


def test_4_6_time_passes_for_agents_while_an_engine_is_thinking(opened: Opened, tmp_path: Path) -> None:
    _, connections, clock = opened
    storage, engine = MemoryStorage(), Hanging()
    world = a_world(storage.transactions, clock)
    runner = EngineRunner(engine, clock, deadline=timedelta(seconds=20))
    plane = control_plane(
        transactions=world.transactions, clock=clock, identity=CountingIdentity("11111111"), advisor=runner
    )
    agent_id = world.register().agent_id
    book = JobBook(connections, clock)
    work = Collaborators(
        plane=plane, connections=connections, clock=clock, board=book, data_dir=tmp_path, upkeep_seconds=0.05,
        courier=Courier(Channels(connections, clock, SecureIdentity(None))), decision_seconds=0.05,
    )  # fmt: skip
    jobs = {name: job for name, job in job_table(work).items() if job.schedule.every < timedelta(seconds=1)}
    scheduler = Scheduler(JobTable(jobs, book, clock, holder="a"))
    clock.advance(110)
    scheduler.start()
    try:
        assert engine.asked.wait(10)
        clock.advance(11)  # AG-1: now it is silent for too long. A step of 30 s and more would make silence say nothing
        assert within(5, lambda: world.aggregate(agent_id).agent.link is Link.OFFLINE)
    finally:
        engine.released.set()
        scheduler.stop()


def test_4_6_upkeep_goes_on_when_the_book_cannot_be_written(
    opened: Opened, book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[datetime] = []

    def refuse(*_: object, **__: object) -> None:
        raise Unavailable("no book")

    for name in ("claim", "begin", "end"):
        monkeypatch.setattr(book, name, refuse)
    rows = {
        name: Job(name=name, schedule=HOURLY, run=ran.append, does="", in_place=in_place)
        for name, in_place in (("vital", True), ("other", False))
    }
    table = JobTable(rows, book, opened[2], holder="a")
    slot = HOURLY.slot(opened[2].now())
    assert (table.perform("vital", slot), table.perform("other", slot)) == (Done.DONE, Done.FAILED)
    assert ran == [slot]


# the jobs


def test_jb1_every_job_runs_and_runs_again(opened: Opened, tmp_path: Path) -> None:
    world, connections, clock = opened
    agent_id = world.register().agent_id
    jobs = all_jobs(opened, tmp_path)
    assert set(jobs) == {
        UPKEEP, "decision round", "deliveries", "audit seal", "job watch", "ledger accrual", "data pipeline",
        "request keys", "client snapshot", "retention", "model files", "dataset build",
    }  # fmt: skip
    for _ in range(2):
        world.report_prices(agent_id, {ZONES[0]: "0.03"})
        clock.advance(7200)
        for job in jobs.values():
            job.run(job.schedule.slot(clock.now()))
    counts = {
        table: connections.rows(f"select count(*) from {table}", {})[0][0]  # type: ignore[arg-type]
        for table in ("audit_seals", "ledger_lines", "datasets")
    }
    assert all(counts.values()), counts


def test_jb7_weeks_of_raw_prices_that_a_backup_kept_from_being_made_come_within_the_hour(
    opened: Opened, tmp_path: Path
) -> None:
    _, connections, clock = opened
    jobs = all_jobs(opened, tmp_path)
    ahead = "select to_regclass('raw_prices_20260316') is not null"
    with connections.connection() as backup:
        backup.execute("select count(*) from raw_prices")  # and with its transaction it holds the table
        for name in ("retention", "data pipeline"):
            jobs[name].run(jobs[name].schedule.slot(clock.now()))
        assert connections.rows(ahead, {}) == [(False,)]
    jobs["data pipeline"].run(clock.now())
    assert connections.rows(ahead, {}) == [(True,)]


def gap(opened: Opened, agent_id: str) -> None:
    """Half an hour of which only the ends are reported."""
    world, _, clock = opened
    for _ in range(2):
        world.report_prices(agent_id, {ZONES[0]: "0.03"})
        clock.advance(1_800)


@pytest.mark.parametrize("trouble", ["no run", "a run that cannot begin", "a run whose group fails"])
def test_jb3_gaps_of_hours_without_a_good_run_are_filled_by_the_next_one(
    opened: Opened, tmp_path: Path, trouble: str
) -> None:
    world, connections, clock = opened
    agent_id = world.register().agent_id
    clean = all_jobs(opened, tmp_path)["data pipeline"].run
    clean(clock.now())
    gap(opened, agent_id)
    if trouble != "no run":
        with connections.connection() as other:
            table_and_mode = "price_buckets in share" if "group" in trouble else "raw_prices in access exclusive"
            other.execute(f"lock table {table_and_mode} mode")  # type: ignore[arg-type]
            with nullcontext() if "group" in trouble else pytest.raises(StateConflict):
                clean(clock.now())
    clock.advance(5 * 3_600)
    assert filled(clean(clock.now())) > 0
    clock.advance(3 * 3_600)
    assert filled(clean(clock.now())) == 0


def test_jb3_a_first_run_whose_group_fails_is_made_up_for(opened: Opened, tmp_path: Path) -> None:
    world, connections, clock = opened
    gap(opened, world.register().agent_id)
    clean = all_jobs(opened, tmp_path)["data pipeline"].run
    with connections.connection() as other:
        other.execute("lock table price_buckets in share mode")
        clean(clock.now())
    clock.advance(5 * 3_600)
    assert filled(clean(clock.now())) > 0


def test_jb3_what_comes_in_after_a_clock_ahead_was_put_back_is_looked_at(opened: Opened, tmp_path: Path) -> None:
    world, _, clock = opened
    agent_id = world.register().agent_id
    clean = all_jobs(opened, tmp_path)["data pipeline"].run
    clock.advance(9 * 3_600)
    clean(clock.now())
    clock.advance(-9 * 3_600)
    gap(opened, agent_id)
    assert filled(clean(clock.now())) > 0


def filled(figures: RunFigures | None) -> int:
    assert figures is not None
    return figures.gaps_filled or 0


def test_a_client_whose_ledger_is_stuck_is_named_in_the_log(
    opened: Opened, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _, clock = opened
    stuck = Accrued(failed=((world.client_id, "InvariantViolated: I9"),))
    monkeypatch.setattr(type(world.plane.savings), "accrue", lambda _: stuck)
    with caplog.at_level(logging.ERROR):
        all_jobs(opened, tmp_path)["ledger accrual"].run(clock.now())
    assert [record.message for record in caplog.records] == ["ledger_stuck"]


@pytest.mark.parametrize("job", [UPKEEP, "decision round"])
def test_jb4_an_agent_that_is_stuck_is_named_in_the_log_once_and_the_job_succeeds(
    opened: Opened, tmp_path: Path, caplog: pytest.LogCaptureFixture, job: str
) -> None:
    world, connections, clock = opened
    stuck, other = world.register("stuck").agent_id, world.register("other").agent_id
    connections.rows("update instances set end_reason = 'of_tomorrow' where agent_id = %(stuck)s", {"stuck": stuck})
    run = all_jobs(opened, tmp_path)[job].run
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.advance(301)
            run(clock.now())
    told = [(row.message, getattr(row, "agent_id", None), getattr(row, "job", None)) for row in caplog.records]
    assert told == [("agent_stuck", stuck, job)]
    agent = world.aggregate(other).agent
    assert agent.link is Link.OFFLINE if job == UPKEEP else agent.last_decision_at == clock.now()


def test_jb8_a_late_job_is_told_once_an_hour(opened: Opened, tmp_path: Path, book: JobBook) -> None:
    _, connections, clock = opened
    book.announce({UPKEEP: every(seconds=1), "data pipeline": HOURLY})
    watch = all_jobs(opened, tmp_path)["job watch"].run
    watch(clock.now())
    assert told(connections) == []
    clock.advance(11)
    watch(clock.now())
    watch(clock.now())
    assert told(connections) == [(UPKEEP, "critical")]
    clock.advance(3 * 3_600)
    watch(clock.now())
    assert told(connections)[1:] == [(UPKEEP, "critical"), ("data pipeline", "warning")]


def told(connections: Connections) -> list[tuple[str, str]]:
    rows = connections.rows(
        "select facts->>'job', level from audit_events where kind = 'job_late' order by at, facts->>'job'", {}
    )
    return [(str(job), str(level)) for job, level in rows]


def test_a_days_clients_are_counted_once_and_a_missed_day_stays_missing_e05(opened: Opened, tmp_path: Path) -> None:
    world, connections, clock = opened
    world.register()
    job = all_jobs(opened, tmp_path)["client snapshot"]
    midnight = datetime(2026, 3, 3, 0, 5, tzinfo=UTC)
    clock.at = midnight + timedelta(minutes=1)
    job.run(midnight)
    job.run(midnight)
    clock.at = midnight + timedelta(days=1, hours=2)
    job.run(midnight + timedelta(days=1))
    rows = connections.rows("select day::text, total, new, active from client_snapshots", {})
    assert rows == [("2026-03-02", 1, 1, 1)]


OLD: Mapping[str, tuple[str, int]] = {
    # table: a row that is @@ days old, and how long such rows are kept
    "decisions": (
        "insert into decisions values ('{client}', 'd-@@', 'a', {at}, 'round', 'h', null, '{{}}')", 30,
    ),
    "commands": (
        "insert into commands select client_id, 'c-@@', 'r-@@', agent_id, 'switch', 'user', 'completed', {at}, null,"
        " null, 1, null, {at}, null, null, false, null, null, null, null, null, false, 300, null, '{{}}', null, '{{}}',"
        " '[]' from agents limit 1",
        7,
    ),
    "notifications": ("insert into notifications values ('n-@@', '{client}', 'info', 'm', {at}, 'k-@@', 'e')", 90),
    "job_runs": ("insert into job_runs (job_type, status, started_at) values ('j', 'completed', {at})", 90),
    "price_buckets": (
        "insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,"
        " observed_at, submission_id) values ('p', date_trunc('hour', {at}), 't', 'r', 1, 'backfill', 2, 0.9, {at}, '')",
        730,
    ),
    "idempotency_keys": ("insert into idempotency_keys values ('s', 'k-@@', 'h', {at}, null, null)", 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def years_later(module_site: Site) -> Opened:
    """An agent of long ago. Retention makes and drops tables, so no other test can have this database."""
    clock, connections = FakeClock(), module_site.connections
    world = a_world(PostgresStorage(connections, clock).transactions, clock)
    world.register()
    clock.advance(86_400 * 1_000)
    return world, connections, clock


@pytest.mark.parametrize("table", OLD)
def test_retention_keeps_what_is_young_and_removes_what_is_old(years_later: Opened, tmp_path: Path, table: str) -> None:
    world, connections, clock = years_later
    statement, days = OLD[table]
    connections.rows(f"delete from {table}", {})  # type: ignore[arg-type]
    for age in (days - 0.1, days + 0.1):
        at = f"timestamptz '{(clock.now() - timedelta(days=age)).isoformat()}'"
        text = statement.replace("@@", str(age)).format(client=world.client_id, at=at)
        connections.rows(text, {})  # type: ignore[arg-type]
    jobs = all_jobs(years_later, tmp_path)
    for _ in range(2):
        for name in ("retention", "request keys"):
            jobs[name].run(clock.now())
        assert connections.rows(f"select count(*) from {table}", {}) == [(1,)]  # type: ignore[arg-type]


def test_a_notification_that_its_client_has_read_goes_after_thirty_days(opened: Opened, tmp_path: Path) -> None:
    world, connections, clock = opened
    world.register()
    clock.advance(86_400 * 31)
    jobs = all_jobs(opened, tmp_path)
    jobs["retention"].run(clock.now())
    (before,) = connections.rows("select count(*) from notifications", {})[0]
    assert before > 0
    world.plane.notices.mark_all_read(world.client_id)
    jobs["retention"].run(clock.now())
    assert connections.rows("select count(*) from notifications", {}) == [(0,)]


def test_jb7_a_finished_command_that_a_machine_still_waits_for_is_kept(opened: Opened, tmp_path: Path) -> None:
    world, connections, clock = opened
    world.register()
    clock.advance(86_400 * 9)
    statement = OLD["commands"][0].replace("@@", "old")
    at = f"timestamptz '{(clock.now() - timedelta(days=8)).isoformat()}'"
    connections.rows(statement.format(client="", at=at), {})  # type: ignore[arg-type]
    connections.rows("update instances set bound_command_id = 'c-old'", {})
    all_jobs(opened, tmp_path)["retention"].run(clock.now())
    assert connections.rows("select command_id from commands", {}) == [("c-old",)]


def test_retention_keeps_180_days_of_audit_rows_and_tells_what_went(opened: Opened, tmp_path: Path) -> None:
    world, connections, clock = opened
    world.register()
    jobs = all_jobs(opened, tmp_path)
    jobs["audit seal"].run(clock.now())
    before = connections.rows("select count(*) from audit_events", {})
    jobs["retention"].run(clock.now())
    assert connections.rows("select count(*) from audit_events", {}) == before
    clock.advance(timedelta(days=181).total_seconds())
    jobs["retention"].run(clock.now())
    rows = connections.rows("select kind, (facts->'removed'->>'notifications')::int > 0 from audit_events", {})
    assert rows == [("data_cleanup", True)]


def test_jb4_jb8_retention_whose_one_step_fails_does_the_others_tells_what_went_and_shows_as_failed(
    years_later: Opened, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, connections, clock = years_later
    table = JobTable(all_jobs(years_later, tmp_path), JobBook(connections, clock), clock, holder="a")
    table.announce()
    connections.rows("delete from job_runs", {})
    for name in ("decisions", "notifications"):
        at = f"timestamptz '{(clock.now() - timedelta(days=400)).isoformat()}'"
        connections.rows(OLD[name][0].replace("@@", "stuck").format(client="c", at=at), {})  # type: ignore[arg-type]
    job = table.named("retention")
    with connections.connection() as reader:
        reader.execute("lock table decisions in share mode")
        assert table.perform("retention", job.schedule.slot(clock.now())) is Done.FAILED
    assert ("retention_stuck", "decisions") in [(one.message, getattr(one, "step", "")) for one in caplog.records]
    (run,) = connections.rows("select status, error from job_runs", {})
    assert run == ("failed", "UNAVAILABLE: could not remove what is old of: decisions")
    told = "select facts->'removed' from audit_events where kind = 'data_cleanup' order by audit_id desc limit 1"
    assert connections.rows(told, {})[0][0]["notifications"] >= 1  # type: ignore[arg-type]
    assert table.perform("retention", job.schedule.slot(clock.now())) is Done.DONE  # the slot stayed open


def test_ds5_a_dataset_build_removes_old_files_first(opened: Opened, tmp_path: Path) -> None:
    """Where they have filled the disk no build would get so far."""
    folder = tmp_path / "datasets"
    folder.mkdir()
    old = folder / f"{'0' * 64}.parquet"
    old.write_bytes(b"of a version that is none of the newest")
    assert all_jobs(opened, tmp_path)["dataset build"].run(opened[2].now()) is None  # nothing was measured
    assert not old.exists()


def test_z34_a_round_goes_on_until_nobody_is_due_and_lets_callers_pass_after_each(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, connections, clock = opened
    agents = [world.register(f"web-{number}").agent_id for number in range(7)]
    given: list[float] = []
    work = Collaborators(
        plane=world.plane, connections=connections, clock=clock, board=JobBook(connections, clock), data_dir=tmp_path,
        courier=Courier(Channels(connections, clock, SecureIdentity(None))), give_way=given.append,
    )  # fmt: skip
    monkeypatch.setattr(module, "AT_ONCE", 3)
    decide = job_table(work)["decision round"].run
    clock.advance(301)
    decide(clock.now())
    assert {world.aggregate(agent).agent.last_decision_at for agent in agents} == {clock.now()}
    assert len(given) == len(agents)
    assert all(seconds > 0 for seconds in given)


def test_z34_a_round_ends_with_its_slot(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, connections, clock = opened
    agents = [world.register(f"web-{number}").agent_id for number in range(5)]
    work = Collaborators(
        plane=world.plane, connections=connections, clock=clock, board=JobBook(connections, clock), data_dir=tmp_path,
        courier=Courier(Channels(connections, clock, SecureIdentity(None))),
    )  # fmt: skip
    monkeypatch.setattr(module, "AT_ONCE", 2)
    monkeypatch.setattr(module, "SHARE_OF_SLOT", 0.0)
    clock.advance(301)
    decide = job_table(work)["decision round"].run
    for slots in range(1, len(agents) + 1):  # the next one goes on where it ended
        decide(clock.now())
        assert sum(world.aggregate(agent).agent.last_decision_at == clock.now() for agent in agents) == slots
