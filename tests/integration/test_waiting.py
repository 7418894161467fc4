"""Long polls and streams on the real database: woken across processes, right without a wake-up, cheap while idle (Z18)."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import psycopg
import pytest

from spotadapters.http import waiting
from spotadapters.postgres import listen
from spotadapters.postgres.listen import COMMANDS, Listener
from spotadapters.postgres.pulses import Pulses
from spotcore.ids import ClientId
from tests.support.server import Site, site_on
from tests.support.wire_agents import V4c
from tests.unit.http.asgi import GIVE_UP, Exchange

LONG_AFTER = 60.0
SWITCH = {"target": "ondemand"}


@contextmanager
def listening(site: Site) -> Iterator[Event]:
    """Notifications reach the site, as ``spotapp.wiring`` joins them; the event is set with every (re)connection."""
    ready = Event()

    def look_again() -> None:
        site.hub.doubt()
        ready.set()

    listener = Listener(site.connections.database_url, {COMMANDS: site.hub.wake}, look_again)
    listener.start()
    try:
        assert ready.wait(GIVE_UP)
        yield ready
    finally:
        listener.stop()


def an_agent(site: Site) -> V4c:
    agent = V4c(site.client(f"Client of {site.machines}"), site.new_machine())
    assert agent.register().status == 200
    assert agent.commands() == []  # its token and its client are known
    return agent


def polls(site: Site, agent: V4c, seconds: int = 25) -> Exchange:
    path = f"/api/agents/{agent.agent_id}/pending-commands?wait={seconds}"
    return Exchange(site.app, "GET", path, agent.tenant.token).body()


async def waits(site: Site, number: int = 1) -> None:
    """Until so many have looked, and rest."""
    until = time.monotonic() + GIVE_UP
    while sum(one.sign is not None for some in site.hub._waiters.values() for one in some) < number:
        assert time.monotonic() < until
        await asyncio.sleep(0.002)


def order(agent: V4c) -> None:
    answer = agent.tenant.post(f"/api/client/instances/{agent.machine}/force-switch", SWITCH)
    assert answer.status == 200, answer


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks in the time of a test: only a wake-up can wake."""
    monkeypatch.setattr(waiting, "FALLBACK_SECONDS", LONG_AFTER)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FALLBACK_SECONDS", 0.05)


@pytest.mark.usefixtures("rarely")
def test_a_command_queued_at_one_process_reaches_who_waits_at_another_at_once_z18(shared_site: Site) -> None:
    agent = an_agent(shared_site)
    with site_on(shared_site.connections.database_url, is_new=False) as other, listening(other):

        async def main() -> tuple[int, Any, float]:
            poll = polls(other, agent)
            await waits(other)
            begun = time.monotonic()
            await asyncio.to_thread(order, agent)
            status, body = await poll.answer()
            return status, body, time.monotonic() - begun

        status, body, seconds = asyncio.run(main())
    assert (status, [one["command_type"] for one in body["commands"]]) == (200, ["switch"])
    assert seconds < 2


@pytest.mark.usefixtures("often")
def test_a_command_is_found_without_any_notification(shared_site: Site) -> None:
    agent = an_agent(shared_site)

    async def main() -> tuple[int, Any]:
        poll = polls(shared_site, agent)
        await waits(shared_site)
        await asyncio.to_thread(order, agent)
        return await poll.answer()

    status, body = asyncio.run(main())
    assert (status, len(body["commands"])) == (200, 1)


@pytest.mark.usefixtures("rarely")
def test_what_was_queued_while_the_listener_was_lost_is_found_once_it_is_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "RETRY_SECONDS", 0.05)
    agent, idle = an_agent(site), an_agent(site)

    def lose_it_and_order() -> None:
        with psycopg.connect(site.connections.database_url, autocommit=True) as other:
            other.execute(
                "select pg_terminate_backend(pid, 2000) from pg_stat_activity "
                "where application_name = 'spotcore-listener' and datname = current_database()"
            )
        order(agent)

    async def main() -> tuple[Any, bool]:
        poll, other = polls(site, agent), polls(site, idle)
        await waits(site, 2)
        await asyncio.to_thread(lose_it_and_order)
        _, body = await poll.answer()
        still_waits = not other.is_answered
        await other.hang_up().ended()
        return body, still_waits

    with listening(site):
        body, still_waits = asyncio.run(main())
    assert len(body["commands"]) == 1
    assert still_waits


class Counting:
    """What a site asks its database: ordinary transactions, and questions about all who wait."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ordinary = 0
        self.single = 0
        connection, rows = site.connections.connection, site.connections.rows

        def counted(*, urgent: bool = False) -> Any:
            self.ordinary += 1
            return connection(urgent=urgent)

        def counted_rows(*words: Any) -> Any:
            self.single += 1
            return rows(*words)

        monkeypatch.setattr(site.connections, "connection", counted)
        monkeypatch.setattr(site.connections, "rows", counted_rows)


def test_idle_waiters_and_their_renewals_cost_a_question_for_all_and_one_statement_a_group(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "FALLBACK_SECONDS", 0.2)
    agents = [an_agent(site) for _ in range(8)]

    async def round_of_polls() -> list[Any]:
        held = [polls(site, agent, 1) for agent in agents]
        return [await one.answer() for one in held]

    ordinary = asyncio.run(round_of_polls())
    counting = Counting(site, monkeypatch)
    short = asyncio.run(round_of_polls())
    assert short == ordinary
    assert {status for status, _ in short} == {200}
    assert counting.ordinary == 0
    assert 4 <= counting.single <= 8 + 6  # at most one group each, and five questions in a second


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("happens", "status", "code"), [("rotated", 401, "INVALID_TOKEN"), ("deleted", 404, "NOT_FOUND")]
)
def test_z4_ag9_who_may_wait_no_longer_hears_it_within_the_fallback(
    shared_site: Site, happens: str, status: int, code: str
) -> None:
    agent = an_agent(shared_site)

    def end() -> None:
        if happens == "rotated":
            shared_site.plane.clients.rotate(ClientId(agent.tenant.client_id))
        else:
            assert agent.tenant.call("DELETE", f"/api/client/agents/{agent.agent_id}").status == 200

    async def main() -> tuple[int, Any]:
        poll = polls(shared_site, agent)
        await waits(shared_site)
        await asyncio.to_thread(end)
        return await poll.answer()

    answered, body = asyncio.run(main())
    assert (answered, body["code"]) == (status, code)


@pytest.mark.usefixtures("often")
def test_z26_a_suspended_clients_agent_waits_on_and_gets_what_comes_after(shared_site: Site) -> None:
    agent = an_agent(shared_site)
    client_id = ClientId(agent.tenant.client_id)
    shared_site.plane.clients.suspend(client_id)

    async def main() -> Any:
        poll = polls(shared_site, agent)
        await waits(shared_site)
        await asyncio.to_thread(shared_site.plane.clients.resume, client_id)
        await asyncio.to_thread(order, agent)
        return (await poll.answer())[1]

    assert len(asyncio.run(main())["commands"]) == 1


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("seconds", [25, 1])
def test_jb5_a_lease_that_lapses_while_its_agent_waits_is_judged_with_no_job_running(
    shared_site: Site, seconds: int
) -> None:
    agent = an_agent(shared_site)
    order(agent)
    assert len(agent.commands()) == 1
    (before,) = agent.tenant.aggregate(agent.agent_id).commands.values()

    async def main() -> None:
        poll = polls(shared_site, agent, seconds)
        await waits(shared_site)
        shared_site.clock.advance(1_201)
        until = time.monotonic() + GIVE_UP
        while (await asyncio.to_thread(state)) == before.state:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        await poll.hang_up().ended()

    def state() -> Any:
        (command,) = agent.tenant.aggregate(agent.agent_id).commands.values()
        return command.state

    asyncio.run(main())
    assert state() == "failed"  # Z13: a switch is not handed out twice


@pytest.mark.usefixtures("rarely")
def test_jb5_a_poll_that_ends_at_a_moment_that_matters_looks_once_more(
    shared_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = an_agent(shared_site)
    order(agent)
    assert len(agent.commands()) == 1

    async def main(advance: float) -> int:
        poll = polls(shared_site, agent, 1)
        await waits(shared_site)
        shared_site.clock.advance(advance)
        counting = Counting(shared_site, monkeypatch)
        assert (await poll.answer())[1]["commands"] == []
        return counting.ordinary

    assert asyncio.run(main(10)) == 0
    assert asyncio.run(main(1_200)) > 0


@pytest.mark.usefixtures("often")
def test_an_outage_wakes_nobody_and_ends_unnoticed(shared_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = an_agent(shared_site)
    rows = shared_site.connections.rows
    failures: list[int] = []

    def away(*_: Any) -> Any:
        failures.append(1)
        raise psycopg.OperationalError("away")

    async def main() -> Any:
        poll = polls(shared_site, agent)
        await waits(shared_site)
        monkeypatch.setattr(shared_site.connections, "rows", away)
        while len(failures) < 3:
            await asyncio.sleep(0.01)
        assert not poll.is_answered
        monkeypatch.setattr(shared_site.connections, "rows", rows)
        await asyncio.to_thread(order, agent)
        return (await poll.answer())[1]

    assert len(asyncio.run(main())["commands"]) == 1


@pytest.mark.usefixtures("rarely")
def test_a_stream_rests_on_the_same_question_and_is_woken_the_same_way_e103(
    shared_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = an_agent(shared_site)

    async def main(after: Callable[[], None]) -> dict[str, str]:
        path = f"/api/agents/{agent.agent_id}/commands/stream"
        stream = Exchange(shared_site.app, "GET", path, agent.tenant.token).body()
        await stream.head()
        await waits(shared_site)
        counting = Counting(shared_site, monkeypatch)
        shared_site.hub.doubt()
        while not counting.single:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)
        assert counting.ordinary == 0
        monkeypatch.undo()
        await asyncio.to_thread(order, agent)
        after()
        frame = await stream.frame()
        await stream.hang_up().ended()
        return frame

    assert asyncio.run(main(shared_site.hub.doubt))["event"] == "COMMAND"


def test_5000_signs_are_one_statement(shared_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = an_agent(shared_site)

    async def found() -> Any:
        poll = polls(shared_site, agent)
        await waits(shared_site)
        ((waiter,),) = shared_site.hub._waiters.values()
        sign = waiter.sign
        await poll.hang_up().ended()
        return sign

    sign = asyncio.run(found())
    counting = Counting(shared_site, monkeypatch)
    assert Pulses(shared_site.connections).changed([sign] * 5_000, shared_site.clock.now()) == frozenset()
    assert (counting.single, counting.ordinary) == (1, 0)
