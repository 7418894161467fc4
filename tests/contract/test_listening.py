"""Hearing of what other processes commit (design 3): every notification once, a gap after each connection, never a wait."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from attrs import define, field

from spotadapters.postgres import listen
from spotadapters.postgres.listen import COMMANDS, EVENTS, Listener
from spotcore.commands import CommandKind
from tests.support.rows import Connection
from tests.support.world import World

GIVE_UP = 10.0


@define
class Ear:
    """What was heard."""

    heard: list[tuple[str, str]] = field(factory=list)
    gaps: int = 0
    news: threading.Condition = field(factory=threading.Condition)

    def on(self, channel: str, payload: str) -> None:
        with self.news:
            self.heard.append((channel, payload))
            self.news.notify_all()

    def gap(self) -> None:
        with self.news:
            self.gaps += 1
            self.news.notify_all()

    def until(self, *, gaps: int = 0, heard: int = 0) -> bool:
        with self.news:
            return self.news.wait_for(lambda: self.gaps >= gaps and len(self.heard) >= heard, GIVE_UP)


@contextmanager
def listening(url: str, ear: Ear) -> Iterator[Listener]:
    channels = {name: lambda payload, name=name: ear.on(name, payload) for name in (COMMANDS, EVENTS)}
    listener = Listener(url, channels, ear.gap)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


@pytest.fixture(scope="module")
def root(module_database_url: str) -> Iterator[Connection]:
    with closing(psycopg.connect(module_database_url, autocommit=True)) as connection:
        yield connection


def says(root: Connection, channel: str, payload: str) -> None:
    root.execute("select pg_notify(%s, %s)", (channel, payload))


def test_every_notification_is_heard_once_on_its_channel(module_database_url: str, root: Connection) -> None:
    ear = Ear()
    with listening(module_database_url, ear):
        assert ear.until(gaps=1)
        says(root, COMMANDS, "agent-1")
        says(root, EVENTS, "")
        says(root, "somebody_elses", "x")
        says(root, COMMANDS, "agent-2")
        assert ear.until(heard=3)
    assert ear.heard == [(COMMANDS, "agent-1"), (EVENTS, ""), (COMMANDS, "agent-2")]
    assert ear.gaps == 1


def test_what_is_rolled_back_wakes_nobody(module_database_url: str, root: Connection) -> None:
    ear = Ear()
    with listening(module_database_url, ear):
        assert ear.until(gaps=1)
        with root.transaction(force_rollback=True):
            says(root, COMMANDS, "never")
        says(root, COMMANDS, "agent")
        assert ear.until(heard=1)
    assert ear.heard == [(COMMANDS, "agent")]


def test_after_a_lost_connection_it_listens_again_and_says_that_something_may_be_missing(
    module_database_url: str, root: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "RETRY_SECONDS", 0.01)
    ear = Ear()
    with listening(module_database_url, ear):
        assert ear.until(gaps=1)
        root.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'spotcore-listener'"
                     " and datname = current_database()")  # fmt: skip
        assert ear.until(gaps=2)
        says(root, COMMANDS, "again")
        assert ear.until(heard=1)
    assert (ear.heard, ear.gaps) == ([(COMMANDS, "again")], 2)


def test_a_listener_without_a_database_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "RETRY_SECONDS", 0.01)
    ear = Ear()
    with listening("postgresql://nobody@127.0.0.1:1/nothing", ear):
        pass
    assert (ear.heard, ear.gaps) == ([], 0)


def test_z18_a_queued_command_wakes_its_agent_and_no_other(stored_world: World, root: Connection) -> None:
    """Whoever waits on E69 or E71 hears of a command that became pending, once and after its commit."""
    ear = Ear()
    with listening(stored_world.transactions.__self__._connections.database_url, ear):
        assert ear.until(gaps=1)
        agent_id, other = stored_world.register("web").agent_id, stored_world.register("other").agent_id
        stored_world.report_prices(agent_id, {"us-east-1b": "0.03"})
        stored_world.beat(other, stored_world.primary(other))
        stored_world.switch(agent_id)
        assert ear.until(heard=1)
        (command,) = stored_world.fetch(agent_id)
        assert command.kind is CommandKind.SWITCH
        stored_world.result(agent_id, command, success=False)
        says(root, COMMANDS, "the end")
        assert ear.until(heard=2)
    assert ear.heard == [(COMMANDS, agent_id), (COMMANDS, "the end")]
