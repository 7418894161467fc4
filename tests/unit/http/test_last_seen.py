"""A client's sign of life costs one of its agents' calls in thirty seconds, however many call (design 3)."""

from datetime import timedelta

import pytest
from attrs import define

from spotadapters.http.last_seen import ERRAND_SECONDS, TOUCH_SECONDS, LastSeen
from spotadapters.memory import MemoryCredentials, MemoryStorage
from spotcore.ids import ClientId
from tests.support.world import START, FakeClock

C, OTHER = ClientId("c"), ClientId("other")


@define
class Watch:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@define
class Desk:
    """What a process notes, over memory."""

    storage: MemoryStorage
    clock: FakeClock
    watch: Watch
    seen: LastSeen

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.watch.now += seconds

    def noted(self, client_id: ClientId) -> float | None:
        """Seconds after the start."""
        at = self.storage.tables.last_sync.get(client_id)
        return (at - START) / timedelta(seconds=1) if at is not None else None


@pytest.fixture
def desk() -> Desk:
    storage, clock, watch = MemoryStorage(), FakeClock(), Watch()
    return Desk(storage, clock, watch, LastSeen(MemoryCredentials(storage), clock, watch))


def test_it_is_noted_at_most_every_thirty_seconds(desk: Desk) -> None:
    desk.seen.note(C)
    desk.later(TOUCH_SECONDS - 0.5)
    desk.seen.note(C)
    assert desk.noted(C) == 0
    desk.later(0.5)
    desk.seen.note(C)
    assert desk.noted(C) == TOUCH_SECONDS


def test_one_call_of_many_goes_to_have_it_noted(desk: Desk) -> None:
    desk.seen.note(C)
    assert all(desk.seen.is_fresh(C) for _ in range(3))
    desk.later(TOUCH_SECONDS)
    assert [desk.seen.is_fresh(C) for _ in range(5)] == [False, True, True, True, True]
    desk.seen.note(C)  # it has arrived
    assert desk.noted(C) == TOUCH_SECONDS
    desk.later(TOUCH_SECONDS)
    assert [desk.seen.is_fresh(C) for _ in range(2)] == [False, True]


def test_when_it_does_not_arrive_another_is_sent(desk: Desk) -> None:
    assert not desk.seen.is_fresh(C)
    desk.later(ERRAND_SECONDS - 0.1)
    assert desk.seen.is_fresh(C)
    desk.later(0.1)
    assert [desk.seen.is_fresh(C) for _ in range(2)] == [False, True]


def test_each_client_has_its_own(desk: Desk) -> None:
    desk.seen.note(C)
    assert not desk.seen.is_fresh(OTHER)
    assert desk.seen.is_fresh(C)
    assert desk.noted(OTHER) is None
