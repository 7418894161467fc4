"""Live events through trouble: two server processes, a lost database connection, a stop with streams open."""

import json
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest

from spotadapters.embedded import EmbeddedStack
from tests.support.prepared import lay_out
from tests.support.server import Site
from tests.support.up import TOKEN, Up
from tests.support.wire_agents import V4c

GIVE_UP = 15.0


class Stream:
    """Frames of one stream over a real connection, read by a thread."""

    def __init__(self, up: Up, token: str, last: str | None = None) -> None:
        self.frames: queue.Queue[dict[str, str]] = queue.Queue()
        self.is_over = threading.Event()
        headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
        self._thread = threading.Thread(target=self._read, args=(f"{up.url}/api/events/stream", headers), daemon=True)
        self._thread.start()

    def _read(self, url: str, headers: dict[str, str]) -> None:
        try:
            with httpx2.stream("GET", url, headers=headers, timeout=GIVE_UP, verify=False) as answer:
                frame: dict[str, str] = {}
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if line:
                        frame[name] = value
                    elif frame:
                        self.frames.put(frame)
                        frame = {}
        except httpx2.HTTPError:
            pass
        finally:
            self.is_over.set()

    def next(self) -> dict[str, str]:
        """The next frame."""
        return self.frames.get(timeout=GIVE_UP)


def beat(up: Up, client: str, agent: str, word: str) -> None:
    answer = up.post(f"/api/agents/{agent}/heartbeat", {"status": word, "instance_id": "i-0a"}, client)
    assert answer.status_code == 200


def test_a_stream_of_one_server_hears_of_another_ones_commits_and_resumes_there(folder: Path) -> None:
    lay_out(folder)
    with EmbeddedStack(folder, on_event=lambda _: None, durable=False) as stack:
        environment = {
            "SPOTCORE_DATABASE_URL": stack.database_url,
            "SPOTCORE_REDIS_URL": stack.redis_url,
            "SPOTCORE_ADMIN_TOKEN": TOKEN,
        }
        one, two = (Up(folder.parent / name, **environment) for name in ("one", "two"))
        client = one.post("/api/admin/clients/create", {"name": "Acme"}).json()["data"]["client"]["token"]
        body = {"instance_id": "i-0a", "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a"}
        agent = one.post("/api/agents/register", body, client).json()["agent_id"]
        time.sleep(0.5)  # past what registration said
        far = Stream(two, client)
        assert far.next()["event"] == "CONNECTED"
        time.sleep(0.2)
        begun = time.monotonic()
        beat(one, client, agent, "offline")
        heard = [far.next(), far.next()]
        assert [frame["event"] for frame in heard] == ["AGENT_STATUS_CHANGED", "NOTIFICATION"]
        assert time.monotonic() - begun < 1.5  # told, not found by the look every 2 s
        beat(one, client, agent, "online")
        again = Stream(one, client, heard[0]["id"])
        assert again.next()["event"] == "CONNECTED"
        assert again.next() == heard[1]
        assert json.loads(again.next()["data"])["data"]["new_status"] == "online"
        stopping = time.monotonic()
        assert two.stop(signal.SIGTERM) == 0
        assert time.monotonic() - stopping < 8  # an open stream does not hold a server back
        assert far.is_over.wait(GIVE_UP)
        assert one.stop(signal.SIGTERM) == 0


@contextmanager
def relaying(site: Site) -> Iterator[None]:
    site.relay.start()
    try:
        yield
    finally:
        site.relay.stop()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + GIVE_UP
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def waiting(site: Site) -> int:
    """Events that have no place yet."""
    with psycopg.connect(site.connections.database_url) as connection:
        row = connection.execute("select count(*) from outbox where delivered_at is null").fetchone()
        assert row is not None
        return int(row[0])


@pytest.mark.parametrize("cut", ["while idle", "while publishing"])
def test_a_relay_outlives_its_connections_and_every_event_gets_its_place_gr10(site: Site, cut: str) -> None:
    agent = V4c(site.client("Acme"), site.new_machine())
    agent.register()
    with relaying(site):
        until(lambda: waiting(site) == 0)
        if cut == "while publishing":
            for _ in range(5):
                agent.stop()
                agent.heartbeat()
        with psycopg.connect(site.connections.database_url, autocommit=True) as other:
            other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
                "and datname = current_database() and application_name = 'spotcore-single'"
            )
        time.sleep(0.1)
        for _ in range(3):
            agent.stop()
            agent.heartbeat()
        until(lambda: waiting(site) == 0)
    with psycopg.connect(site.connections.database_url) as connection:
        rows = [row[0] for row in connection.execute("select position from outbox order by outbox_id").fetchall()]
    assert rows == [2 * number for number in range(1, len(rows) + 1)]
