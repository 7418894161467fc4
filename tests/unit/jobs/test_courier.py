"""The courier: every due delivery once, by a worker where there is a queue, here where there is none (NT-1)."""

import logging
import threading
from collections.abc import Sequence

import pytest

from spotadapters.channels.courier import THREADS, Courier
from spotcore.channels import Attempt


class Post:
    """Deliveries that are due, and what came of each attempt."""

    def __init__(self, *due: str, errors: dict[str, str] | None = None) -> None:
        self.waiting = list(due)
        self.errors = errors or {}
        self.attempted: list[str] = []
        self._lock = threading.Lock()

    def due(self) -> Sequence[str]:
        return tuple(self.waiting)

    def attempt(self, delivery_id: str) -> Attempt | None:
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
    assert [(one.message, one.reason) for one in caplog.records] == [("delivery_failed", "answered 503")]
