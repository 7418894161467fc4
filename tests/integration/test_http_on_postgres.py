"""What of the HTTP frame only a real database shows: keys under race, savepoints, and wake-ups by NOTIFY."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psycopg
import pytest

from spotadapters.postgres.listen import COMMANDS, Listener
from tests.support.server import Site
from tests.unit.http.asgi import GIVE_UP, Exchange

CREATE = "/api/admin/clients/create"


def test_twins_with_one_key_have_one_effect_and_the_same_answer_id_4(site: Site) -> None:
    def once(_: int) -> tuple[int, object]:
        answer = site.call("POST", CREATE, {"name": "Acme"}, headers={"X-Request-ID": "k"})
        return answer.status, answer.body.get("code") or answer.data["client"]["id"]

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(once, range(12)))
    created = {named for status, named in answers if status == 201}
    assert len(created) == 1
    assert {status for status, _ in answers} <= {201, 409}
    assert all(named == "DUPLICATE_REQUEST" for status, named in answers if status == 409)


def test_a_refusal_by_a_constraint_is_stored_although_its_work_is_undone_id_5(site: Site) -> None:
    site.client("Acme")
    first, again = (site.call("POST", CREATE, {"name": "ACME"}, headers={"X-Request-ID": "k"}) for _ in range(2))
    assert (first.status, first.body["code"]) == (again.status, again.body["code"]) == (409, "CLIENT_EXISTS")
    assert again.headers["x-idempotent-replay"] == "true"


@pytest.mark.parametrize("place", ["%00", "a%00b", "0123456789abcdef" * 500])
def test_a_path_that_no_column_takes_is_404_under_a_key_too(site: Site, place: str) -> None:
    answer = site.call("POST", f"/api/admin/clients/{place}/regenerate-token", headers={"X-Request-ID": "k"})
    assert (answer.status, answer.body["code"]) == (404, "NOT_FOUND")


@contextmanager
def listening(site: Site) -> Iterator[None]:
    ready = Event()
    listener = Listener(site.connections.database_url, {COMMANDS: site.hub.wake}, ready.set)
    listener.start()
    try:
        assert ready.wait(GIVE_UP)
        yield
    finally:
        listener.stop()


def test_a_queued_command_wakes_a_waiting_agent_through_notify_z18(site: Site) -> None:
    tenant, machine = site.client("Acme"), site.new_machine()
    place = {"instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a", "mode": "spot"}
    agent = tenant.post("/api/agents/register", {"instance_id": machine, **place}).body["agent_id"]
    tenant.get(f"/api/agents/{agent}/pending-commands")
    order = f"/api/client/instances/{machine}/force-switch"

    async def main() -> tuple[float, int]:
        site.hub.attach()
        poll = Exchange(site.app, "GET", f"/api/agents/{agent}/pending-commands?wait=20", tenant.token).body()
        until = time.monotonic() + GIVE_UP
        while site.hub.waiting == 0 and time.monotonic() < until:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        queued = time.monotonic()
        await asyncio.to_thread(tenant.post, order, {"target": "ondemand"})
        _, body = await poll.answer()
        return time.monotonic() - queued, len(body["commands"])

    with listening(site):
        seconds, commands = asyncio.run(main())
    assert commands == 1
    assert seconds < 3  # the fallback alone would take up to 5 s


@pytest.mark.parametrize("urgent", [False, True])
def test_a_server_that_ended_every_connection_costs_no_failure_z9(site: Site, urgent: bool) -> None:
    def once(_: int = 0) -> bool:
        try:
            with site.connections.connection(urgent=urgent) as connection:
                return connection.execute("select true").fetchone() == (True,)
        except psycopg.OperationalError:
            return False

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(once, range(8)))
    with psycopg.connect(site.connections.database_url, autocommit=True) as other:
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
            "and datname = current_database()"
        )
    assert all(once() for _ in range(5))


def test_every_audit_row_of_a_request_names_the_request_and_its_trace(site: Site) -> None:
    tenant = site.client("Acme")
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = {"instance_id": "i-0a", "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a"}
    tenant.post("/api/agents/register", body, headers={"X-Request-ID": "req-77", "traceparent": parent})
    with site.connections.connection() as connection:
        rows = connection.execute(
            "select kind, facts->>'request_id', facts->>'traceparent' from audit_events where agent_id is not null"
        ).fetchall()
    assert rows == [("agent_registered", "req-77", parent)]
