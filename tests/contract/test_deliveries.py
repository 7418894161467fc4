"""Channels and deliveries on PostgreSQL: made once, tried by a timetable, given up, replayed, never another client's (NT-1)."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count
from unittest.mock import Mock

import psycopg
import pytest
from attrs import frozen

from spotadapters.postgres.channels import DUE_AT_ONCE, Channels
from spotadapters.postgres.live import LiveFeed
from spotadapters.postgres.pool import Connections
from spotadapters.system.identity import SecureIdentity
from spotcore.channels import AT_ONCE, LEASE, RETRY_AFTER, SEVERITIES, TRIES, UNHEARD, Attempt, ChannelKind
from spotcore.errors import NotFound, ValidationFailed
from spotcore.events import Level
from tests.support.receiver import Receiver, a_receiver
from tests.support.rows import Connection, put
from tests.support.world import START, FakeClock

_numbers = count(1)


@frozen
class Desk:
    root: Connection
    channels: Channels
    receiver: Receiver
    feed: LiveFeed
    clock: FakeClock

    def channel(
        self, client_id: str | None = "c", least: Level = Level.INFO, kind: ChannelKind = ChannelKind.WEBHOOK
    ) -> str:
        address = self.receiver.url if kind is ChannelKind.WEBHOOK else "json://acme.example"
        return self.channels.add(client_id, kind, address, least).channel_id

    def tell(self, client_id: str | None = "c", severity: str = "info", *, published: bool = True) -> str:
        """A notification, and the event behind it; its id."""
        name = f"n{next(_numbers)}"
        put(self.root, "audit_events", event_id=name, client_id=client_id, kind="agent_registered", agent_id="a")
        put(
            self.root, "notifications", notification_id=name, event_id=name, dedupe_key=name, client_id=client_id, severity=severity
        )  # fmt: skip
        put(self.root, "outbox", event_id=name, client_id=client_id)
        if published:
            self.feed.publish()
        return name

    def told(self, number: int) -> list[str]:
        """So many notifications, a second after each other; their ids."""
        names = []
        for _ in range(number):
            names.append(self.tell())
            self.clock.advance(1)
        return names

    def row(self) -> dict[str, object]:
        (found,) = self.channels.deliveries(None, 9)
        return found


@pytest.fixture(scope="module")
def root(module_database_url: str) -> Iterator[Connection]:
    with closing(psycopg.connect(module_database_url, autocommit=True)) as connection:
        for client_id, status in (("c", "active"), ("d", "active"), ("gone", "deleted")):
            put(connection, "clients", client_id=client_id, name=client_id, email=None, status=status)
        yield connection


@pytest.fixture
def desk(root: Connection, connections: Connections) -> Iterator[Desk]:
    with root.transaction():
        for table in ("channels", "notifications", "audit_events", "outbox"):
            root.execute(f"delete from {table}")
    clock = FakeClock()
    channels = Channels(connections, clock, SecureIdentity(bytes(32)))
    with a_receiver() as receiver:
        yield Desk(root, channels, receiver, LiveFeed(connections, clock), clock)


# ---- what is delivered to whom


def test_a_notification_is_delivered_once_to_each_channel_that_hears_it(desk: Desk) -> None:
    mine, everybodys, theirs = desk.channel("c"), desk.channel(None), desk.channel("d")
    name = desk.tell("c")
    desk.feed.publish()
    assert sorted(desk.channels.due()) == sorted([f"{mine}.{name}", f"{everybodys}.{name}"])
    assert theirs not in "".join(desk.channels.due())
    for delivery_id in desk.channels.due():
        assert desk.channels.attempt(delivery_id) == Attempt()
        assert desk.channels.attempt(delivery_id) is None  # again is nothing
    assert list(desk.channels.due()) == []
    assert [body["data"]["id"] for body in desk.receiver.bodies()] == [name, name]


def test_a_broadcast_goes_to_the_operators_channel(desk: Desk) -> None:
    mine, everybodys = desk.channel("c"), desk.channel(None)
    name = desk.tell(None)
    assert list(desk.channels.due()) == [f"{everybodys}.{name}"]
    assert mine


@pytest.mark.parametrize("least", SEVERITIES)
def test_a_channel_hears_of_its_least_severity_and_of_worse(desk: Desk, least: Level) -> None:
    channel_id = desk.channel(least=least)
    names = {severity: desk.tell(severity=severity.value) for severity in SEVERITIES}
    made = {row["delivery_id"] for row in desk.channels.deliveries(None, 9)}
    heard = [severity for severity in SEVERITIES if f"{channel_id}.{names[severity]}" in made]
    assert heard == list(SEVERITIES[SEVERITIES.index(least) :])


def test_what_was_published_before_a_channel_is_not_told_to_it(desk: Desk) -> None:
    desk.tell()
    channel_id = desk.channel()
    later = desk.tell()
    assert list(desk.channels.due()) == [f"{channel_id}.{later}"]


def test_gr10_a_delivery_comes_with_the_publication_and_not_before(desk: Desk) -> None:
    desk.channel()
    desk.tell(published=False)
    assert list(desk.channels.due()) == []
    desk.feed.publish()
    assert len(desk.channels.due()) == 1


def test_an_event_that_nobody_is_notified_of_is_delivered_nowhere(desk: Desk) -> None:
    desk.channel()
    put(desk.root, "audit_events", event_id="quiet")
    put(desk.root, "outbox", event_id="quiet")
    desk.feed.publish()
    assert list(desk.channels.due()) == []


# ---- when it is tried again


def test_a_delivery_is_tried_by_the_timetable_and_given_up_after_the_tenth(desk: Desk) -> None:
    desk.channel()
    desk.tell()
    for number, wait in enumerate(RETRY_AFTER, start=1):
        (delivery_id,) = desk.channels.due()
        desk.receiver.answers.append(500 + number)
        desk.channels.attempt(delivery_id)
        row = desk.row()
        assert (row["state"], row["attempts"], row["last_error"]) == ("pending", number, f"answered {500 + number}")
        desk.clock.advance(wait.total_seconds() - 1)
        assert list(desk.channels.due()) == []
        assert desk.channels.attempt(delivery_id) is None
        desk.clock.advance(1)
    (delivery_id,) = desk.channels.due()
    desk.receiver.answers.append(500)
    desk.channels.attempt(delivery_id)
    row = desk.row()
    assert (row["state"], row["attempts"], row["next_attempt_at"]) == ("dead", 10, None)
    assert row["finished_at"] is not None
    desk.clock.advance(86_400)
    assert list(desk.channels.due()) == []
    assert timedelta(hours=22) < desk.clock.now() - timedelta(days=1) - START < timedelta(hours=24)  # about a day


@pytest.mark.parametrize(
    ("status", "state", "error"),
    [
        (200, "delivered", None), (204, "delivered", None), (299, "delivered", None), (302, "pending", "answered 302"),
        (400, "pending", "answered 400"), (404, "pending", "answered 404"), (410, "dead", "answered 410"),
        (429, "pending", "answered 429"), (503, "pending", "answered 503"),
    ],
)  # fmt: skip
def test_one_attempt_leaves_the_delivery_as_it_was_answered(
    desk: Desk, status: int, state: str, error: str | None
) -> None:
    channel_id = desk.channel()
    name = desk.tell()
    desk.receiver.answers.append(status)
    assert desk.channels.attempt(f"{channel_id}.{name}") == Attempt(error=error, is_final=state == "dead")
    row = desk.row()
    assert (row["state"], row["attempts"], row["last_error"]) == (state, 1, error)
    assert (row["channel_id"], row["client_id"], row["label"], row["message"]) == (
        channel_id,
        "c",
        "http://127.0.0.1",
        "m",
    )
    assert (row["finished_at"] is None) == (state == "pending")


def test_an_attempt_at_work_is_nobody_elses_until_its_lease_is_over(desk: Desk) -> None:
    desk.channel()
    desk.tell()
    (delivery_id,) = desk.channels.due()
    beside: list[object] = []

    def meanwhile() -> None:
        desk.clock.advance(LEASE.total_seconds() - 1)
        beside.extend([*desk.channels.due(), desk.channels.attempt(delivery_id)])

    desk.receiver.then = meanwhile
    assert desk.channels.attempt(delivery_id) == Attempt()
    assert (beside, len(desk.receiver.calls), desk.row()["attempts"]) == ([None], 1, 1)


@pytest.mark.parametrize(
    ("late", "later", "state", "error"),
    [(500, 200, "delivered", None), (410, 503, "pending", "answered 503"), (200, 503, "pending", "answered 503")],
)
def test_an_answer_that_comes_after_its_lease_overrules_nobody(
    desk: Desk, late: int, later: int, state: str, error: str | None
) -> None:
    """Its delivery was taken up by another attempt: the later one's word counts, and the receiver knows it by its id."""
    desk.channel()
    desk.tell()
    (delivery_id,) = desk.channels.due()

    def meanwhile() -> None:
        desk.receiver.then = lambda: None
        desk.clock.advance(LEASE.total_seconds())
        desk.receiver.answers.append(later)
        assert desk.channels.attempt(delivery_id) == Attempt(error=error)
        desk.receiver.answers.append(late)

    desk.receiver.then = meanwhile
    desk.channels.attempt(delivery_id)
    row = desk.row()
    assert (row["state"], row["attempts"], row["last_error"]) == (state, 2, error)
    ids = {headers["webhook-id"] for headers, _ in desk.receiver.calls}
    assert (len(desk.receiver.calls), len(ids)) == (2, 1)


def test_due_deliveries_come_longest_waiting_first_and_a_hundred_at_a_time(desk: Desk) -> None:
    channels = [desk.channel() for _ in range(DUE_AT_ONCE // AT_ONCE + 1)]
    first = desk.tell()
    desk.clock.advance(1)
    then = [desk.tell() for _ in range(AT_ONCE - 1)]
    due = desk.channels.due()
    assert len(due) == DUE_AT_ONCE
    assert set(due[: len(channels)]) == {f"{channel_id}.{first}" for channel_id in channels}
    assert {one.rpartition(".")[2] for one in due[len(channels) :]} == set(then)


# ---- one channel beside the others


def test_of_a_channel_no_more_is_due_than_may_be_tried_at_once(desk: Desk) -> None:
    slow = desk.channel()
    names = desk.told(AT_ONCE + 3)
    other = desk.channel()
    last = desk.tell()
    assert list(desk.channels.due()) == [f"{slow}.{name}" for name in names[:AT_ONCE]] + [f"{other}.{last}"]


def test_what_is_under_way_at_a_channel_counts_until_its_outcome_is_known(desk: Desk) -> None:
    slow = desk.channel()
    names = desk.told(AT_ONCE + 2)
    beside: list[list[str]] = []

    def meanwhile() -> None:
        beside.append(list(desk.channels.due()))
        if len(beside) < AT_ONCE:
            desk.channels.attempt(f"{slow}.{names[len(beside)]}")

    desk.receiver.then = meanwhile
    desk.receiver.answers.extend([503] * AT_ONCE)
    desk.channels.attempt(f"{slow}.{names[0]}")
    assert [len(due) for due in beside] == list(range(AT_ONCE))[::-1]
    assert list(desk.channels.due()) == [
        f"{slow}.{name}" for name in names[AT_ONCE:]
    ]  # what waits to be retried is not


def test_beside_a_delivery_comes_what_its_channel_waits_for(desk: Desk) -> None:
    mine, other = desk.channel(), desk.channel()
    names = desk.told(AT_ONCE + 2)
    desk.channels.attempt(f"{mine}.{names[0]}")
    assert list(desk.channels.beside(f"{mine}.{names[0]}")) == [f"{mine}.{name}" for name in names[1:]]
    assert len(desk.channels.beside(f"{other}.{names[0]}")) == len(names)
    assert list(desk.channels.beside("nobody")) == []


# ---- attempts that die with their process


def die(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt at what is due that is not heard of again."""
    (delivery_id,) = desk.channels.due()
    with monkeypatch.context() as patch:
        patch.setattr(desk.channels, "_sent", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            desk.channels.attempt(delivery_id)


def test_a_delivery_whose_attempts_all_die_is_given_up_after_the_tenth_and_can_be_replayed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.channel()
    desk.tell()
    for number in range(1, TRIES + 1):
        die(desk, monkeypatch)
        row = desk.row()
        assert (row["state"], row["attempts"], row["last_error"]) == ("pending", number, UNHEARD)
        assert desk.channels.attempt(str(row["delivery_id"])) is None  # it may still be at work
        assert desk.row()["state"] == "pending"
        desk.clock.advance(LEASE.total_seconds())
    (delivery_id,) = desk.channels.due()
    assert desk.channels.attempt(delivery_id) is None
    row = desk.row()
    assert (row["state"], row["attempts"], row["last_error"], row["next_attempt_at"]) == ("dead", TRIES, UNHEARD, None)
    assert row["finished_at"] is not None
    assert (list(desk.channels.due()), desk.receiver.calls) == ([], [])
    assert [one["dead"] for one in desk.channels.listed()] == [1]
    desk.channels.replay(delivery_id)
    assert desk.channels.attempt(delivery_id) == Attempt()


# ---- replay


def test_a_dead_delivery_lives_again_with_all_its_attempts(desk: Desk) -> None:
    desk.channel()
    desk.tell()
    (delivery_id,) = desk.channels.due()
    with pytest.raises(NotFound):
        desk.channels.replay(delivery_id)  # not dead
    desk.receiver.answers.append(410)
    desk.channels.attempt(delivery_id)
    desk.channels.replay(delivery_id)
    row = desk.row()
    assert (row["state"], row["attempts"], row["finished_at"]) == ("pending", 0, None)
    desk.channels.attempt(delivery_id)
    assert (desk.row()["state"], desk.row()["attempts"]) == ("delivered", 1)
    for name in (delivery_id, "nobody"):
        with pytest.raises(NotFound, match="no dead delivery"):
            desk.channels.replay(name)


def test_deliveries_are_listed_newest_first_by_state_and_at_most_so_many(desk: Desk) -> None:
    desk.channel()
    names = []
    for _ in range(4):
        names.append(desk.tell())
        desk.clock.advance(1)
    listed = [str(row["delivery_id"]).rpartition(".")[2] for row in desk.channels.deliveries(None, 3)]
    assert listed == names[:0:-1]
    desk.channels.attempt(str(desk.channels.deliveries(None, 1)[0]["delivery_id"]))
    assert len(desk.channels.deliveries("delivered", 9)) == 1
    assert len(desk.channels.deliveries("pending", 9)) == 3
    assert desk.channels.deliveries("dead", 9) == []


# ---- channels


def test_channels_are_listed_with_what_became_of_their_deliveries(desk: Desk) -> None:
    mine, everybodys = desk.channel("c", Level.WARNING, ChannelKind.APPRISE), desk.channel(None)
    for status in (200, 503, 410):
        desk.tell()
        desk.receiver.answers.append(status)
        desk.channels.attempt(desk.channels.due()[0])
    rows = {row["channel_id"]: row for row in desk.channels.listed()}
    assert [row["channel_id"] for row in desk.channels.listed()] == [everybodys, mine]  # the operator's first
    assert (rows[mine]["client_id"], rows[mine]["kind"], rows[mine]["min_severity"]) == ("c", "apprise", "warning")
    assert (rows[mine]["pending"], rows[mine]["delivered"], rows[mine]["dead"]) == (0, 0, 0)
    counts = rows[everybodys]
    assert (counts["client_id"], counts["pending"], counts["delivered"], counts["dead"]) == ("", 1, 1, 1)


@pytest.mark.parametrize("client_id", ["nobody", "gone"])
def test_a_channel_is_of_a_client_there_is_or_the_operators(desk: Desk, client_id: str) -> None:
    with pytest.raises(NotFound, match="unknown client"):
        desk.channel(client_id)
    with pytest.raises(ValidationFailed):
        desk.channels.add("c", ChannelKind.WEBHOOK, "http://acme.example", Level.INFO)
    assert desk.channels.listed() == []


def test_a_channel_that_is_removed_takes_what_was_due_with_it(desk: Desk) -> None:
    channel_id = desk.channel()
    desk.tell()
    (delivery_id,) = desk.channels.due()
    desk.channels.remove(channel_id)
    assert desk.channels.attempt(delivery_id) is None
    assert (list(desk.channels.due()), desk.channels.listed()) == ([], [])
    for act in (desk.channels.remove, desk.channels.test):
        with pytest.raises(NotFound, match="unknown channel"):
            act(channel_id)


def test_a_test_is_one_attempt_now_whatever_the_least_severity(desk: Desk) -> None:
    channel_id = desk.channel(least=Level.CRITICAL)
    assert desk.channels.test(channel_id) == Attempt()
    desk.receiver.answers.append(500)
    assert desk.channels.test(channel_id) == Attempt(error="answered 500")
    states = {str(row["state"]) for row in desk.channels.deliveries(None, 9)}
    assert states == {"delivered", "pending"}
    assert all(str(row["delivery_id"]).startswith("test.") for row in desk.channels.deliveries(None, 9))
