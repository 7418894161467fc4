"""The feed behind the streams: places in the order of publication, pages, scopes, what can be replayed, what is missed (NT-4)."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from attrs import frozen

from spotadapters.postgres import live as lives
from spotadapters.postgres.live import KEPT, REPLAY, LiveFeed
from spotadapters.postgres.pool import Connections
from spotadapters.wire.frames import Published
from tests.support.rows import Connection, put
from tests.support.world import START, FakeClock

SECOND = timedelta(seconds=1)
_events = count(1)


@frozen
class Wire:
    """A feed on a database that nobody else writes to."""

    root: Connection
    feed: LiveFeed
    clock: FakeClock
    url: str

    def happened(
        self, client_id: str | None = "c", *, told: bool = False, kind: str = "agent_marked_offline", **facts: object
    ) -> str:
        """An event that is to be relayed, with or without its notification; its id."""
        event_id = f"e{next(_events)}"
        put(self.root, "audit_events", event_id=event_id, client_id=client_id, kind=kind, at=self.clock.now(), **facts)
        if told:
            put(
                self.root, "notifications", notification_id=event_id, dedupe_key=event_id, event_id=event_id, client_id=client_id,
                at=self.clock.now(), message=f"of {event_id}",
            )  # fmt: skip
        put(self.root, "outbox", event_id=event_id, client_id=client_id)
        return event_id

    def many(self, number: int, client_id: str | None = "c") -> int:
        """So many published events; the place of the last."""
        for _ in range(number):
            self.happened(client_id)
        return self.feed.publish()

    def waiting(self) -> int:
        row = self.root.execute("select count(*) from outbox where delivered_at is null").fetchone()
        return int(row[0])


@pytest.fixture(scope="module")
def root(module_database_url: str) -> Iterator[Connection]:
    with closing(psycopg.connect(module_database_url, autocommit=True)) as connection:
        for client_id in ("c", "d"):
            put(connection, "clients", client_id=client_id, name=client_id, email=None)
        yield connection


@pytest.fixture
def wire(root: Connection, connections: Connections) -> Wire:
    with root.transaction():
        for table in ("outbox", "notifications", "audit_events"):
            root.execute(f"delete from {table}")
        root.execute("update live_feed set position = 0")
        root.execute("update clients set status = 'active'")
    clock = FakeClock()
    return Wire(root, LiveFeed(connections, clock), clock, connections.database_url)


def places(events: Sequence[Published]) -> list[int]:
    return [one.position for one in events]


def test_an_empty_feed_has_given_no_place_and_publishing_nothing_gives_none(wire: Wire) -> None:
    assert (wire.feed.position(), wire.feed.publish(), list(wire.feed.after(0))) == (0, 0, [])


def test_gr10_places_go_by_two_in_the_order_of_writing_and_each_is_given_once(wire: Wire) -> None:
    """A place has two ids: the event's frame, and its notification's."""
    wire.happened(), wire.happened(told=True), wire.happened()
    assert wire.feed.publish() == 6
    assert wire.feed.publish() == wire.feed.position() == 6
    assert places(wire.feed.after(0)) == [2, 4, 6]
    wire.happened()
    assert wire.feed.publish() == 8
    assert (places(wire.feed.after(6)), places(wire.feed.after(3)), places(wire.feed.after(8))) == ([8], [4, 6, 8], [])


def test_an_event_is_read_with_its_facts_and_the_notification_it_became(wire: Wire) -> None:
    plain = wire.happened(agent_id="a", instance_id="m")
    told = wire.happened(told=True, kind="client_created", client_id="d")
    wire.feed.publish()
    first, second = wire.feed.after(0)
    assert (first.client_id, first.kind, first.at, first.agent_id, first.instance_id, dict(first.facts), first.notification) == (
        "c", "agent_marked_offline", START, "a", "m", {}, None
    )  # fmt: skip
    assert second.notification == {
        "notification_id": told, "client_id": "d", "severity": "info", "message": f"of {told}", "at": START
    }  # fmt: skip
    assert plain != told


def test_nt1_an_event_whose_notification_was_told_already_has_none(wire: Wire) -> None:
    put(wire.root, "notifications", dedupe_key="hour", notification_id="first", event_id="first")
    event_id = wire.happened()
    wire.root.execute("insert into notifications select 'x', client_id, severity, message, at, dedupe_key, %s from notifications"
                      " on conflict do nothing", (event_id,))  # fmt: skip
    wire.feed.publish()
    (found,) = wire.feed.after(0)
    assert found.notification is None


def test_publishing_goes_a_page_at_a_time_and_leaves_nothing_behind(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lives, "PAGE", 3)
    for _ in range(7):
        wire.happened()
    assert [wire.feed.publish() for _ in range(4)] == [6, 12, 14, 14]
    assert wire.waiting() == 0
    pages, place = [], 0
    while found := wire.feed.after(place):
        pages.append(len(found))
        place = found[-1].position
    assert pages == [3, 3, 1]


def test_96_a_scope_is_a_clients_own_and_everybodys(wire: Wire) -> None:
    mine, theirs, everybodys = wire.happened("c"), wire.happened("d"), wire.happened(None)
    wire.feed.publish()
    assert {mine, theirs, everybodys}
    assert places(wire.feed.replay(1, "c")) == [2, 6]
    assert places(wire.feed.replay(1, "d")) == [4, 6]
    assert places(wire.feed.replay(1, None)) == [2, 4, 6]
    assert places(wire.feed.replay(1, "nobody")) == [6]


@pytest.mark.parametrize(
    ("seen", "follow"),
    [(0, [2, 4]), (1, [2, 4]), (2, [2, 4]), (3, [4]), (4, [4]), (5, []), (6, [])],
)  # fmt: skip
def test_e90_a_replay_begins_with_the_place_of_the_frame_that_was_seen(
    wire: Wire, seen: int, follow: list[int]
) -> None:
    """2 is an event's frame: its notification (3) may still be unseen, so that its place comes again and the stream sorts it
    out; after 3 nothing of that place is left."""
    wire.many(2)
    assert places(wire.feed.replay(seen, "c")) == follow


@pytest.mark.parametrize(("age", "is_there"), [(REPLAY - SECOND, True), (REPLAY, True), (REPLAY + SECOND, False)])
def test_e90_a_replay_reaches_back_fifteen_minutes(wire: Wire, age: timedelta, is_there: bool) -> None:
    wire.many(1)
    wire.clock.advance(age.total_seconds())
    assert places(wire.feed.replay(0, "c")) == ([2] if is_there else [])
    assert wire.feed.is_missed(0, "c") is not is_there
    assert places(wire.feed.after(0)) == [2]  # the relay reads on whatever their age


def test_e90_what_was_published_late_counts_from_its_publication(wire: Wire) -> None:
    wire.happened()
    wire.clock.advance(3_600)
    wire.feed.publish()
    assert places(wire.feed.replay(0, "c")) == [2]
    assert not wire.feed.is_missed(0, "c")


@pytest.mark.parametrize(("age", "is_kept"), [(KEPT, True), (KEPT + SECOND, False)])
def test_published_rows_are_kept_for_an_hour_and_others_until_they_are_published(
    wire: Wire, age: timedelta, is_kept: bool
) -> None:
    wire.many(1)
    wire.clock.advance(age.total_seconds())
    wire.happened()
    wire.feed.prune()
    assert places(wire.feed.after(0)) == ([2] if is_kept else [])
    assert wire.waiting() == 1
    assert wire.feed.publish() == 4  # places go on


def test_nt4_nothing_is_missed_by_who_saw_all_there_is(wire: Wire) -> None:
    last = wire.many(3)
    wire.clock.advance(86_400)
    for seen in (last, last + 1):
        assert not wire.feed.is_missed(seen, "c")
        assert not wire.feed.is_missed(seen, None)
    wire.feed.prune()
    assert not wire.feed.is_missed(last, "c")
    assert not wire.feed.is_missed(last + 1, "c")


def test_nt4_what_is_too_old_to_replay_is_missed_by_whom_it_concerns(wire: Wire) -> None:
    wire.many(1, "c")
    wire.clock.advance((REPLAY + SECOND).total_seconds())
    last = wire.many(1, "d")
    assert wire.feed.is_missed(0, "c")
    assert wire.feed.is_missed(0, None)
    assert not wire.feed.is_missed(0, "d")  # what it had, it can be given
    assert not wire.feed.is_missed(last, "c")


def test_nt4_a_notification_that_was_not_seen_with_its_event_is_missed_too(wire: Wire) -> None:
    wire.happened(told=True)
    wire.feed.publish()
    wire.clock.advance((REPLAY + SECOND).total_seconds())
    assert wire.feed.is_missed(2, "c")  # the event's frame was seen, its notification's was not
    assert not wire.feed.is_missed(3, "c")
    wire.many(1, "d")
    wire.happened()
    place = wire.feed.publish()
    wire.clock.advance((REPLAY + SECOND).total_seconds())
    assert not wire.feed.is_missed(place, "c")  # it has none


def test_nt4_what_is_no_longer_kept_is_missed_whomever_it_concerned(wire: Wire) -> None:
    wire.many(2, "d")
    wire.clock.advance((KEPT + SECOND).total_seconds())
    wire.feed.prune()
    assert wire.feed.is_missed(0, "c")
    wire.many(1, "c")
    assert wire.feed.is_missed(1, "c")
    assert not wire.feed.is_missed(4, "c")


def test_e11_a_deleted_clients_events_are_nobodys_but_for_its_deletion(wire: Wire) -> None:
    wire.happened("c"), wire.happened("c", kind="client_deleted"), wire.happened("d")
    wire.feed.publish()
    wire.root.execute("update clients set status = 'deleted' where client_id = 'c'")
    assert [one.kind for one in wire.feed.after(0)] == ["client_deleted", "agent_marked_offline"]
    assert places(wire.feed.replay(0, "c")) == [4]


def test_of_publishers_that_meet_one_waits_and_places_stay_in_order(wire: Wire) -> None:
    """The one row of the feed is locked until the commit: places become visible in their order (GR-10)."""
    wire.happened()
    with closing(psycopg.connect(wire.url)) as first:
        first.execute("select publish_up_to(now(), 10)")
        wire.happened()
        with closing(psycopg.connect(wire.url)) as second:
            second.execute("set lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                second.execute("select publish_up_to(now(), 10)")
        assert places(wire.feed.after(0)) == []  # nothing is seen of what is not committed
        first.commit()
    assert wire.feed.publish() == 4
    assert places(wire.feed.after(0)) == [2, 4]


def test_a_publication_that_fails_gives_no_place_away(wire: Wire) -> None:
    wire.happened()
    with closing(psycopg.connect(wire.url)) as failing:
        failing.execute("select publish_up_to(now(), 10)")
        failing.rollback()
    assert (wire.feed.position(), wire.waiting()) == (0, 1)
    assert wire.feed.publish() == 2


def test_whoever_listens_on_the_database_is_told_of_news_and_of_none(wire: Wire) -> None:
    with closing(psycopg.connect(wire.url, autocommit=True)) as ear:
        ear.execute("listen spotcore_events")
        wire.feed.publish()
        assert list(ear.notifies(timeout=0.02)) == []
        wire.many(3)
        assert [one.channel for one in ear.notifies(timeout=0.5, stop_after=1)] == ["spotcore_events"]
