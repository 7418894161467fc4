"""A partition between the servers and their database: nobody says no, there is just no answer any more."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotadapters.system.clock import SystemClock
from spotcore.errors import SpotError, Unavailable
from spotcore.ids import AgentId, ClientId
from tests.support.aftermath import all_is_well, rows
from tests.support.load import Answer, Balancer, Load, call, registration
from tests.support.processes import Installation, Process, an_installation, until
from tests.support.tcp_link import TcpLink, a_link
from tests.support.up import TOKEN

WITHIN = 10.0  # seconds, on a machine that does much else


@frozen
class Parted:
    """A web process and a scheduler that reach their database over a link."""

    shared: Installation
    link: TcpLink
    web: Process
    token: str

    @property
    def database_url(self) -> str:
        """The direct way."""
        return self.shared.stack.database_url

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> Answer:
        return call(self.web.port, method, path, body, token or self.token)


@contextmanager
def over_a_link(shared: Installation) -> Iterator[TcpLink]:
    port = urlsplit(shared.stack.database_url).port
    assert port is not None
    with a_link(port) as link:
        shared.database_url = shared.stack.database_url.replace(f":{port}/", f":{link.port}/")
        yield link


@pytest.fixture(scope="module")
def parted(module_folder: Path) -> Iterator[Parted]:
    with an_installation(module_folder, durable=True) as shared, over_a_link(shared) as link:
        web, _ = shared.together("web", "scheduler")
        yield Parted(shared, link, web, shared.a_client(web))


def upkeep_succeeded(url: str) -> object:
    return rows(url, "select last_success_at from job_states where job = 'agent upkeep'")


@pytest.mark.parametrize("how", ["stalls", "swallows", "cuts"])
def test_a_partition_is_503_within_seconds_hangs_nothing_and_heals_by_itself_z32_t03(parted: Parted, how: str) -> None:
    first = {"stalls": 1_000, "swallows": 2_000, "cuts": 3_000}[how]
    machine = registration(first)["instance_id"]
    agent = parted.call("POST", "/api/agents/register", registration(first)).body["agent_id"]
    beat = ("POST", f"/api/agents/{agent}/heartbeat", {"status": "online", "instance_id": machine})
    assert parted.call(*beat).body["acknowledged"] is True
    load = Load(Balancer([parted.web.port]), parted.token, callers=2, first=first + 1)
    with load.running(), ThreadPoolExecutor(12) as pool:
        until(lambda: load.good > 20, 30)
        seconds = 25 if how == "stalls" else 1
        poll = pool.submit(parted.call, "GET", f"/api/agents/{agent}/pending-commands?wait={seconds}")
        getattr(parted.link, how)()
        refused = [
            ("GET", "/health"),
            ("GET", "/readyz"),
            ("POST", f"/api/agents/{agent}/termination-imminent", {"instance_id": machine}),
            ("POST", f"/api/agents/{agent}/create-emergency-replica", {"instance_id": machine}),
            ("GET", f"/api/agents/{agent}/pending-commands"),
            ("GET", f"/api/agents/{agent}/config"),
            ("POST", "/api/agents/register", registration(first + 900)),
        ]
        waiting = [(one, pool.submit(parted.call, *one)) for one in refused]
        beats = [pool.submit(parted.call, *beat) for _ in range(3)]
        for one, answer in waiting:
            assert (answer.result().status, one) == (503, one)
            assert answer.result().seconds < WITHIN, one
        for sent in beats:
            assert (sent.result().status, sent.result().body["acknowledged"]) == (200, False)
            assert sent.result().seconds < WITHIN
        assert parted.call("GET", "/livez").status == 200
        assert poll.result().status == 503  # at its next look, not after the 25 s it may ask for
        later = parted.call("GET", f"/api/agents/{agent}/config")
        assert (later.status, later.seconds < WITHIN) == (503, True)
        before = rows(parted.database_url, "select now()")[0][0]
        parted.link.passes()
        until(lambda: parted.call("GET", "/readyz").status == 200, 15)
        good = load.good
        until(lambda: load.good > good + 20, 20)
        until(lambda: parted.call(*beat).body["acknowledged"] is True, 10)
        ran = upkeep_succeeded(parted.database_url)
        until(lambda: upkeep_succeeded(parted.database_url) != ran, 20)
        if how == "swallows":  # what was open then is silent for ever, so the listener has to be a new one
            asked = "select count(*) from pg_stat_activity where application_name = 'spotcore-listener'"
            heard = f"{asked} and backend_start > %s - interval '12 seconds'"
            until(lambda: rows(parted.database_url, heard, [before])[0][0] > 0, 20)
    assert load.slowest < WITHIN
    assert not load.lost
    assert set(load.statuses) == {200, 503}
    all_is_well(parted.database_url, load.done)


def test_what_a_cut_off_server_has_locked_is_free_again_within_seconds_gr1(parted: Parted) -> None:
    """Half a transaction is left behind the partition. The next server must not wait for it for ever."""
    agent = AgentId(parted.call("POST", "/api/agents/register", registration(5_000)).body["agent_id"])
    client = ClientId(rows(parted.database_url, "select client_id from clients where name = 'Acme'")[0][0])
    there, clock = parted.shared.environment["SPOTCORE_DATABASE_URL"], SystemClock()
    with Connections(there, size=2, reserve=1) as far, Connections(parted.database_url, size=2, reserve=1) as near:
        cut_off, other = PostgresStorage(far, clock), PostgresStorage(near, clock)

        def half_a_transaction() -> None:
            with cut_off.transactions() as uow:
                uow.agents.lock(client, agent)
                parted.link.swallows()
                assert not is_free(other, client, agent)
                until(lambda: is_free(other, client, agent), 15)
                parted.link.cuts()

        with pytest.raises(Unavailable):
            half_a_transaction()
        parted.link.passes()
        until(lambda: is_free(cut_off, client, agent), 15)
    until(lambda: parted.call("GET", "/readyz").status == 200, 15)
    assert parted.call("GET", "/api/admin/clients", token=TOKEN).status == 200


def is_free(storage: PostgresStorage, client: ClientId, agent: AgentId) -> bool:
    try:
        with storage.transactions() as uow:
            uow.agents.lock(client, agent)
    except SpotError:
        return False
    return True
