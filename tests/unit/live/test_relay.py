"""The relay's steps: publish, tell everything that followed once and in order, start over when the database is older (GR-10)."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from spotadapters.postgres.live import LiveRelay
from spotadapters.wire.frames import Published
from spotcore.errors import Unavailable
from tests.support.world import START, FakeClock

PAGE = 3


class Feed:
    """Places in memory: what was committed waits until it is published."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.places: list[Published] = []
        self.last = 0
        self.looks = 0
        self.is_away = False

    def commit(self, *kinds: str) -> None:
        self.waiting += kinds

    def publish(self) -> int:
        if self.is_away:
            raise Unavailable("the database is away")
        for kind in self.waiting:
            self.last += 2
            self.places.append(Published(position=self.last, client_id="c", kind=kind, at=START, facts={}))
        self.waiting = []
        return self.last

    def position(self) -> int:
        if self.is_away:
            raise Unavailable("the database is away")
        return self.last

    def after(self, place: int) -> Sequence[Published]:
        self.looks += 1
        return [one for one in self.places if one.position > place][:PAGE]


class Audience:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.notes: list[object] = []

    def begin(self, place: int) -> None:
        self.notes.append(("begin", place))

    def tell(self, events: Sequence[Published], at: datetime) -> None:
        self.notes.append([one.kind for one in events])

    def lost(self, at: datetime) -> None:
        self.notes.append(("lost", at))


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def audience() -> Audience:
    return Audience()


@pytest.fixture
def relay(feed: Feed, audience: Audience) -> LiveRelay:
    return LiveRelay(feed, audience, FakeClock())  # type: ignore[arg-type]


def test_a_relay_begins_where_the_feed_stands_and_tells_what_comes_after(
    relay: LiveRelay, feed: Feed, audience: Audience
) -> None:
    feed.commit("before")
    feed.publish()
    relay.step()
    feed.commit("a", "b")
    relay.step()
    relay.step()
    assert audience.notes == [("begin", 2), ["a", "b"]]


def test_what_was_committed_before_the_first_step_and_not_published_is_told(
    relay: LiveRelay, feed: Feed, audience: Audience
) -> None:
    feed.commit("waiting")
    relay.step()
    assert audience.notes == [("begin", 0), ["waiting"]]


def test_without_news_the_feed_is_not_read(relay: LiveRelay, feed: Feed) -> None:
    relay.step()
    feed.commit("a")
    relay.step()
    looks = feed.looks
    for _ in range(5):
        relay.step()
    assert feed.looks == looks


def test_failovers_come_first_and_what_is_committed_meanwhile_is_told_at_once(feed: Feed, audience: Audience) -> None:
    looks: list[int] = []

    def give_way() -> None:
        looks.append(feed.looks)
        if len(looks) == 2:
            feed.commit("a", "b")
            relay.wake()
            relay._stopping.set()  # after this look

    relay = LiveRelay(feed, audience, FakeClock(), give_way=give_way)  # type: ignore[arg-type]
    relay.wake()
    relay._run()
    assert audience.notes == [("begin", 0), ["a", "b"]]
    assert len(looks) == 2


def test_a_flood_is_told_page_by_page_in_one_step_and_in_order(
    relay: LiveRelay, feed: Feed, audience: Audience
) -> None:
    relay.step()
    feed.commit(*[str(number) for number in range(8)])
    relay.step()
    assert audience.notes[1:] == [["0", "1", "2"], ["3", "4", "5"], ["6", "7"]]


def test_places_of_which_nothing_can_be_told_are_passed_over(relay: LiveRelay, feed: Feed, audience: Audience) -> None:
    """Of a deleted client: published, and nobody's to hear."""
    relay.step()
    feed.commit("a", "gone")
    feed.publish()
    feed.places.pop()
    relay.step()
    feed.commit("b")
    relay.step()
    assert audience.notes[1:] == [["a"], ["b"]]


def test_what_another_process_published_is_told_too(relay: LiveRelay, feed: Feed, audience: Audience) -> None:
    relay.step()
    feed.commit("theirs")
    feed.publish()
    feed.commit("mine")
    relay.step()
    assert audience.notes[1:] == [["theirs", "mine"]]


def test_an_older_database_means_begin_again_and_say_so(relay: LiveRelay, feed: Feed, audience: Audience) -> None:
    feed.commit("a", "b", "c")
    relay.step()
    feed.last, feed.places = 2, feed.places[:1]  # a backup was restored under the running server
    relay.step()
    feed.commit("after")
    relay.step()
    assert audience.notes[1:] == [["a", "b", "c"], ("begin", 2), ("lost", START), ["after"]]


def test_a_step_that_fails_has_told_nothing_and_the_next_tells_it_all(
    relay: LiveRelay, feed: Feed, audience: Audience
) -> None:
    feed.is_away = True
    with pytest.raises(Unavailable):
        relay.step()
    feed.is_away = False
    relay.step()
    feed.commit("a")
    feed.is_away = True
    with pytest.raises(Unavailable):
        relay.step()
    feed.is_away = False
    relay.step()
    assert audience.notes == [("begin", 0), ["a"]]


def test_a_relay_stops_whether_it_was_started_or_not(relay: LiveRelay) -> None:
    relay.wake()
    relay.stop()
    relay.stop()
