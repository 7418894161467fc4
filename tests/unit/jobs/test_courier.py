"""The courier: every due delivery once, by a worker where there is a queue, here where there is none (NT-1)."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from spotadapters.channels.courier import THREADS, Courier
from spotcore.channels import Attempt


class Post:
    """Deliveries that are due, and what came of each attempt."""

    def __init__(self, *due: str, errors: dict[str, str] | None = None) -> None:
        self.waiting = list(due)
        self.errors = errors or {}
        self.attempted: list[str] = []
        self.besides: list[str] = []
        self.hold: Callable[[str], object] = lambda _: None
        self._lock = threading.Lock()

    def due(self) -> Sequence[str]:
        return tuple(self.waiting)

    def beside(self, delivery_id: str) -> Sequence[str]:
        return tuple(self.besides)

    def attempt(self, delivery_id: str) -> Attempt | None:
        self.hold(delivery_id)
        with self._lock:
            self.attempted.append(delivery_id)
        if delivery_id.startswith("taken"):
            return None
        return Attempt(error=self.errors.get(delivery_id))


class Queue:
    """Takes deliveries until it goes away."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.sent: list[str] = []

    def __call__(self, delivery_id: str) -> None:
        if len(self.sent) >= self.takes:
            raise ConnectionError("no queue")
        self.sent.append(delivery_id)


def test_nothing_due_is_nothing_done() -> None:
    post = Post()
    assert (Courier(post).run(), post.attempted) == (0, [])


def test_without_a_queue_every_due_delivery_is_attempted_once_here() -> None:
    due = [f"d{number}" for number in range(3 * THREADS)]
    post = Post(*due)
    assert Courier(post).run() == len(due)
    assert sorted(post.attempted) == sorted(due)


def test_with_a_queue_none_is_attempted_here() -> None:
    post, queue = Post("a", "b"), Queue(takes=9)
    courier = Courier(post)
    courier.send = queue
    assert courier.run() == 2
    assert (queue.sent, post.attempted) == (["a", "b"], [])


def test_what_a_queue_that_goes_away_did_not_take_is_attempted_here(caplog: pytest.LogCaptureFixture) -> None:
    post, queue = Post("a", "b", "c"), Queue(takes=1)
    courier = Courier(post)
    courier.send = queue
    with caplog.at_level(logging.WARNING):
        assert courier.run() == 3
    assert (queue.sent, sorted(post.attempted)) == (["a"], ["b", "c"])
    assert [one.message for one in caplog.records] == ["queue_away", "queue_away"]


def test_a_failed_attempt_is_told_by_its_reason_alone_nt3(caplog: pytest.LogCaptureFixture) -> None:
    post = Post("good", "bad", "taken-by-another", errors={"bad": "answered 503"})
    with caplog.at_level(logging.INFO):
        assert Courier(post).run() == 3
    assert [(one.message, one.delivery_id, one.reason) for one in caplog.records] == [
        ("delivery_failed", "bad", "answered 503")
    ]


def test_an_attempt_is_followed_by_what_its_channel_waits_for() -> None:
    post = Post("a")
    post.besides = ["b", "taken-by-another", "c"]
    Courier(post).deliver("a")
    assert post.attempted == ["a", "b", "taken-by-another", "c"]


def test_a_delivery_that_somebody_else_is_at_is_followed_by_nothing() -> None:
    post = Post()
    post.besides = ["b"]
    Courier(post).deliver("taken-by-another")
    assert post.attempted == ["taken-by-another"]


def test_a_channel_that_takes_its_time_is_left_for_the_others_after_one_attempt() -> None:
    post = Post()
    post.besides = ["b", "c"]
    post.hold = lambda _: time.sleep(0.02)
    Courier(post, round_seconds=0.01).deliver("a")
    assert post.attempted == ["a"]


def test_without_a_queue_attempts_that_hang_hold_up_no_other() -> None:
    held, post = threading.Event(), Post("slow-1", "slow-2", "a")
    post.hold = lambda delivery_id: held.wait(20) if delivery_id.startswith("slow") else None
    courier = Courier(post, round_seconds=0.2)
    try:
        assert courier.run() == 3
        assert post.attempted == ["a"]
        post.waiting = ["b", "c"]
        assert courier.run() == 2
        assert sorted(post.attempted) == ["a", "b", "c"]
    finally:
        held.set()
    courier.close()
    assert sorted(post.attempted) == ["a", "b", "c", "slow-1", "slow-2"]


def test_what_finds_no_thread_is_not_kept_it_is_due_in_the_next_run() -> None:
    held, post = threading.Event(), Post(*[f"slow-{number}" for number in range(THREADS)], "a")
    post.hold = lambda delivery_id: held.wait(20) if delivery_id.startswith("slow") else None
    courier = Courier(post, round_seconds=0.05)
    courier.run()
    held.set()
    courier.close()
    assert "a" not in post.attempted
