"""Jobs through dramatiq on a real Valkey: at least once, each slot done once, dead letters that live again (JB-6)."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from spotadapters.channels.courier import THREADS
from spotadapters.jobs import hushed, limits
from spotadapters.jobs import queue as queues
from spotadapters.jobs.queue import JobQueue
from spotadapters.jobs.scheduler import Scheduler
from spotadapters.jobs.table import Job, JobTable
from spotadapters.postgres.jobs import JobBook
from spotadapters.postgres.pool import Connections
from spotcore.errors import NotFound, SpotError, Unavailable
from spotcore.schedule import every
from tests.support.world import FakeClock

HOURLY = every(seconds=3_600)


class Shop:
    """A table with one job, queues on it, workers of those."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.clock = FakeClock()
        self.connections = Connections(database_url, size=4, reserve=1)
        self.redis_url = redis_url
        self.namespace = f"test-{uuid.uuid4()}"
        self.book = JobBook(self.connections, self.clock)
        self.ran: list[datetime] = []
        self.delivered: list[str] = []
        self.attempt: Callable[[str], object] = self.delivered.append
        self.failures = 0
        self.trouble: list[SpotError] = []
        self.refused: SpotError | None = None
        self.holding: threading.Event | None = None
        self._opened: list[Any] = []

    @property
    def slot(self) -> datetime:
        return HOURLY.slot(self.clock.now())

    def run(self, slot: datetime) -> None:
        self.ran.append(slot)
        while self.holding is not None and not self.holding.wait(0.01):
            pass
        if self.trouble:
            raise self.trouble.pop()
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("no figure")

    def deliver(self, delivery_id: str) -> None:
        if self.refused is not None:
            raise self.refused
        self.attempt(delivery_id)

    def queue(self, url: str | None = None) -> JobQueue:
        job = Job(name="seal", schedule=HOURLY, run=self.run, does="")
        table = JobTable({"seal": job}, self.book, self.clock, holder=str(uuid.uuid4()))
        table.announce()
        queue = JobQueue(url or self.redis_url, table, self.deliver, namespace=self.namespace)
        self._opened.append(queue.close)
        return queue

    def worker(self, queue: JobQueue) -> None:
        workers = queue.workers(2)
        for one in workers.each:
            one.worker_timeout = 50
        workers.start()
        self._opened.append(lambda: workers.stop(timeout=5_000))

    def within(self, condition: Callable[[], bool], seconds: float = 15) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not condition():
            time.sleep(0.02)
        return condition()

    def states(self) -> list[tuple[Any, ...]]:
        return self.connections.rows("select job_type, status from job_runs order by run_id", {})

    def close(self) -> None:
        for close in reversed(self._opened):
            close()


@pytest.fixture
def shop(database_url: str, redis_url: str) -> Iterator[Shop]:
    shop = Shop(database_url, redis_url)
    with shop.connections:
        yield shop
        shop.close()


def test_a_slot_that_is_sent_is_run_once_however_often_it_is_sent(shop: Shop) -> None:
    first, second = shop.queue(), shop.queue()
    for queue in (first, second, first):
        queue.send("seal", shop.slot)
    assert first.client.llen(f"{shop.namespace}:jobs") == 1
    first.client.delete(f"{shop.namespace}:sent:seal:{shop.slot.isoformat()}")
    second.send("seal", shop.slot)  # the mark was lost: a second message
    shop.worker(first)
    shop.worker(second)
    assert shop.within(lambda: first.client.hlen(f"{shop.namespace}:jobs.msgs") == 0)
    assert shop.ran == [shop.slot]
    assert shop.states() == [("seal", "completed")]


def test_jb3_a_slot_that_is_over_is_not_replayed(shop: Shop) -> None:
    queue = shop.queue()
    queue.send("seal", shop.slot)
    shop.clock.advance(3_600)
    shop.worker(queue)
    assert shop.within(lambda: queue.client.hlen(f"{shop.namespace}:jobs.msgs") == 0)
    assert shop.ran == []
    queue.send("seal", shop.slot)
    assert shop.within(lambda: shop.ran == [shop.slot])


def test_what_a_flushed_queue_held_is_sent_again(shop: Shop) -> None:
    queue = shop.queue()
    queue.send("seal", shop.slot)
    for key in queue.client.scan_iter(f"{shop.namespace}:*"):
        queue.client.delete(key)
    queue.send("seal", shop.slot)  # as the scheduler does until the slot is finished
    shop.worker(queue)
    assert shop.within(lambda: shop.ran == [shop.slot])


def test_a_failing_job_is_tried_again_then_given_up_and_replayed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "RETRIES", 1)
    monkeypatch.setattr(queues, "MIN_BACKOFF_MS", 50)
    queue = shop.queue()
    shop.failures = 2
    shop.worker(queue)
    queue.send("seal", shop.slot)
    assert shop.within(lambda: len(queue.dead()) == 1)
    (dead,) = queue.dead()
    assert (dead.what, dead.arguments[0]) == ("job", "seal")
    assert "JobFailed" in (dead.reason or "")
    assert len(shop.ran) == 2
    queue.replay(dead.message_id)
    assert shop.within(lambda: len(shop.ran) == 3)
    assert queue.dead() == []
    assert shop.within(lambda: shop.states() == [("seal", "failed"), ("seal", "failed"), ("seal", "completed")])
    with pytest.raises(NotFound, match="jobs dead"):
        queue.replay(dead.message_id)


def test_a_failing_job_is_told_once_with_its_trace_and_a_refused_one_without(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "RETRIES", 1)
    monkeypatch.setattr(queues, "MIN_BACKOFF_MS", 50)
    queue = shop.queue()
    shop.failures = 1
    shop.trouble = [Unavailable("the database cannot be reached now")]
    shop.worker(queue)
    with caplog.at_level(logging.WARNING):
        queue.send("seal", shop.slot)
        assert shop.within(lambda: len(queue.dead()) == 1)
    told = [record for record in caplog.records if record.name.startswith(("dramatiq", "spotadapters"))]
    assert [(one.message, bool(one.exc_info)) for one in told if one.levelno >= logging.ERROR] == [("job_failed", True)]
    assert [one.message for one in told if one.name == "spotadapters.jobs"] == ["job_refused", "job_failed"]


def test_a_delivery_that_the_database_refuses_is_one_warning_and_stays_due(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    queue = shop.queue()
    shop.refused = Unavailable("the database cannot be reached now")
    shop.worker(queue)
    with caplog.at_level(logging.WARNING):
        queue.send_delivery("d-1")
        assert shop.within(lambda: queue.client.hlen(f"{shop.namespace}:deliveries.msgs") == 0)
    assert [record.message for record in caplog.records] == ["delivery_refused"]
    assert queue.dead() == []


def test_a_redis_that_is_away_is_one_warning_of_ours(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.05)
    monkeypatch.setattr(hushed.HUSHED, "_told", None)
    queue = shop.queue("redis://:secret-of-mine@127.0.0.1:1/0")
    with caplog.at_level(logging.INFO):
        shop.worker(queue)
        time.sleep(0.5)
    assert [(one.levelname, one.message) for one in caplog.records] == [("WARNING", "queue_away")]
    assert "secret-of-mine" not in str(vars(caplog.records[0]))


def test_a_due_delivery_goes_to_a_worker(shop: Shop) -> None:
    queue = shop.queue()
    for _ in range(3):
        queue.send_delivery("d-1")
    shop.worker(queue)
    assert shop.within(lambda: shop.delivered == ["d-1"])


def test_a_delivery_that_has_been_taken_can_be_sent_again_at_once(shop: Shop) -> None:
    """It is due again five seconds after an attempt that failed: the mark of what waits in the queue outlives nothing."""
    queue = shop.queue()
    shop.worker(queue)
    for number in range(1, 4):
        queue.send_delivery("d-1")
        assert shop.within(lambda number=number: shop.delivered == ["d-1"] * number)  # type: ignore[misc]


def test_deliveries_that_hang_hold_up_no_job(shop: Shop) -> None:
    held = threading.Event()
    taken: list[str] = []

    def hang(delivery_id: str) -> None:
        taken.append(delivery_id)
        held.wait(20)

    shop.attempt = hang
    queue = shop.queue()
    shop.worker(queue)
    for number in range(2 * THREADS):
        queue.send_delivery(f"d-{number}")
    try:
        assert shop.within(lambda: len(taken) == THREADS)
        queue.send("seal", shop.slot)
        assert shop.within(lambda: shop.states() == [("seal", "completed")], seconds=5)
        assert len(taken) == THREADS
    finally:
        held.set()


def test_a_job_that_exceeds_its_time_limit_is_cut_off_recorded_and_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(queues, "TIME_LIMIT_MS", 200)
    monkeypatch.setattr(queues, "MIN_BACKOFF_MS", 50)
    queue = shop.queue()
    shop.holding = threading.Event()  # which nobody sets
    shop.worker(queue)
    queue.send("seal", shop.slot)
    assert shop.within(lambda: shop.states()[:1] == [("seal", "failed")])
    assert shop.connections.rows("select error from job_runs limit 1", {}) == [("TimeLimitExceeded",)]
    shop.holding = None
    assert shop.within(lambda: shop.states()[-1:] == [("seal", "completed")])


def test_a_delivery_that_exceeds_its_time_limit_gives_its_thread_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(queues, "DELIVERY_LIMIT_MS", 200)
    over = threading.Event()
    taken: list[str] = []

    def hang(delivery_id: str) -> None:
        taken.append(delivery_id)
        while not over.wait(0.01):
            pass

    shop.attempt = hang
    queue = shop.queue()
    shop.worker(queue)
    try:
        for number in range(THREADS + 1):
            queue.send_delivery(f"d-{number}")
        assert shop.within(lambda: len(taken) == THREADS + 1)
    finally:
        over.set()


def test_workers_leave_no_thread_behind_and_stop_within_two_seconds_of_idleness(shop: Shop) -> None:
    before = set(threading.enumerate())
    workers = shop.queue().workers(2)
    workers.start()
    assert shop.within(lambda: "time-limits" in {one.name for one in threading.enumerate()})
    begun = time.monotonic()
    workers.stop(timeout=5_000)
    assert time.monotonic() - begun < 4
    assert {one.name for one in set(threading.enumerate()) - before if "pool" not in one.name} == set()


def test_without_a_queue_sending_says_so_at_once(shop: Shop) -> None:
    queue = shop.queue("redis://127.0.0.1:1/0")
    begin = time.monotonic()
    for send in (lambda: queue.send("seal", shop.slot), lambda: queue.send_delivery("d-1"), queue.dead):
        with pytest.raises(ConnectionError, match="Redis cannot be reached"):
            send()
    assert time.monotonic() - begin < 10


def test_the_scheduler_sends_until_a_worker_has_finished(shop: Shop) -> None:
    queue = shop.queue()
    table = queue._table
    scheduler = Scheduler(table, queue.send, first_seconds=0.01)
    scheduler.start()
    try:
        shop.worker(queue)
        assert shop.within(lambda: shop.ran == [shop.slot])
        assert shop.within(lambda: shop.states() == [("seal", "completed")])
    finally:
        scheduler.stop()
    later = Scheduler(table, lambda name, slot: pytest.fail(f"{name} {slot} is finished"), first_seconds=0.01)
    later.start()
    time.sleep(0.2)
    later.stop()
    assert shop.states() == [("seal", "completed")]


def test_a_slot_claimed_by_a_worker_that_died_is_taken_up_by_its_own_message(shop: Shop) -> None:
    queue = shop.queue()
    queue.send("seal", shop.slot)
    (data,) = queue.client.hvals(f"{shop.namespace}:jobs.msgs")  # type: ignore[misc]
    message = queues.dramatiq.Message.decode(data)
    assert shop.book.claim("seal", HOURLY, shop.slot, f"message {message.message_id}") == "won"  # then it was killed
    shop.worker(queue)
    assert shop.within(lambda: shop.ran == [shop.slot])


def test_a_worker_that_is_stopped_finishes_what_it_is_at(shop: Shop) -> None:
    queue = shop.queue()
    shop.holding = threading.Event()
    workers = queue.workers(1)
    workers.start()
    queue.send("seal", shop.slot)
    assert shop.within(lambda: bool(shop.ran))
    stopping = threading.Thread(target=lambda: workers.stop(timeout=10_000))
    stopping.start()
    shop.holding.set()
    stopping.join(15)
    assert shop.states() == [("seal", "completed")]
    assert timedelta(0) <= shop.clock.now() - shop.ran[0]
