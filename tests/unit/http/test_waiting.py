"""Agents that wait for commands (Z18): woken at once, never for nothing, and never handed what they cannot receive."""

import asyncio
import threading
import time
from typing import Any

import pytest

from spotadapters.http import waiting
from spotadapters.http.waiting import MAX_STREAMS, MAX_WAIT_SECONDS, Hub, pause
from spotcore.commands import CommandState
from spotcore.errors import RateLimited
from spotcore.ids import AgentId, ClientId
from tests.unit.http.asgi import GIVE_UP, Exchange
from tests.unit.http.frame import Frame

MACHINE = "i-0000000000000000a"


# ---- the hub


def test_a_wake_up_from_another_thread_reaches_every_waiter_of_the_agent() -> None:
    async def main() -> None:
        hub = Hub()
        hub.attach()
        mine = [hub.register("a") for _ in range(3)]
        other = hub.register("b")
        threading.Thread(target=hub.wake, args=("a",)).start()
        await asyncio.wait_for(asyncio.gather(*(one.wait() for one in mine)), GIVE_UP)
        assert not other.is_set()

    asyncio.run(main())


def test_a_wake_up_between_looking_and_waiting_is_not_lost() -> None:
    async def main() -> float:
        hub = Hub()
        hub.attach()
        event = hub.register("a")  # first register, then look
        hub.wake("a")
        await asyncio.sleep(0)
        started = time.monotonic()
        await pause(event, GIVE_UP)
        return time.monotonic() - started

    assert asyncio.run(main()) < 1


def test_after_a_wake_up_the_next_wait_is_a_real_one() -> None:
    async def main() -> None:
        event = asyncio.Event()
        event.set()
        await pause(event, GIVE_UP)
        assert not event.is_set()
        started = time.monotonic()
        await pause(event, 0.05)
        assert time.monotonic() - started >= 0.04

    asyncio.run(main())


def test_a_lost_wake_up_costs_no_more_than_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FALLBACK_SECONDS", 0.02)
    started = time.monotonic()
    asyncio.run(pause(asyncio.Event(), GIVE_UP))
    assert time.monotonic() - started < 1


def test_after_a_gap_everybody_looks_again() -> None:
    async def main() -> None:
        hub = Hub()
        hub.attach()
        events = [hub.register(name) for name in ("a", "b", "c")]
        await asyncio.to_thread(hub.wake_all)
        await asyncio.wait_for(asyncio.gather(*(one.wait() for one in events)), GIVE_UP)

    asyncio.run(main())


def test_waking_nobody_or_without_a_loop_does_nothing() -> None:
    hub = Hub()
    hub.wake("a")
    hub.wake_all()

    async def main() -> None:
        hub.attach()

    asyncio.run(main())
    hub.wake("a")  # the loop is closed
    hub.wake_all()


def test_who_goes_is_forgotten() -> None:
    async def main() -> None:
        hub = Hub()
        first, second = hub.register("a"), hub.register("a")
        assert hub.waiting == 2
        hub.forget("a", first)
        hub.forget("a", first)
        hub.forget("b", first)
        assert hub.waiting == 1
        hub.forget("a", second)
        assert hub.waiting == 0

    asyncio.run(main())


def test_thousands_wait_and_one_wake_up_touches_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FALLBACK_SECONDS", GIVE_UP)

    async def main() -> None:
        hub = Hub()
        hub.attach()
        events = {f"a{n}": hub.register(f"a{n}") for n in range(5_000)}
        tasks = {name: asyncio.create_task(pause(event, GIVE_UP)) for name, event in events.items()}
        await asyncio.sleep(0)
        hub.wake("a4321")
        await asyncio.wait_for(tasks["a4321"], GIVE_UP)
        assert sum(task.done() for task in tasks.values()) == 1
        hub.wake_all()
        await asyncio.wait_for(asyncio.gather(*tasks.values()), GIVE_UP)

    asyncio.run(main())


def test_the_fifth_stream_of_an_agent_is_refused_e103() -> None:
    hub = Hub()
    for _ in range(MAX_STREAMS):
        hub.open_stream("a")
    with pytest.raises(RateLimited):
        hub.open_stream("a")
    hub.open_stream("b")
    hub.close_stream("a")
    hub.open_stream("a")


# ---- long poll


@pytest.fixture
def agent(frame: Frame) -> tuple[str, str, str]:
    """Client, token and agent."""
    client, token = frame.client()
    return client, token, frame.agent(token, MACHINE)


def queue_switch(frame: Frame, token: str) -> None:
    answer = frame.call("POST", f"/api/client/instances/{MACHINE}/force-switch", token, json={"target": "ondemand"})
    assert answer.status_code == 200, answer.text


def states(frame: Frame, agent: tuple[str, str, str]) -> list[CommandState]:
    with frame.storage.transactions() as uow:
        aggregate = uow.agents.get(ClientId(agent[0]), AgentId(agent[2]))
    return [one.state for one in aggregate.commands.values()]


async def waits(frame: Frame) -> None:
    """Until somebody waits."""
    until = time.monotonic() + GIVE_UP
    while frame.hub.waiting == 0 and time.monotonic() < until:
        await asyncio.sleep(0.005)
    assert frame.hub.waiting > 0
    await asyncio.sleep(0.05)  # past the first look


def test_an_empty_reply_is_held_back_until_a_command_is_queued_z18(frame: Frame, agent: tuple[str, str, str]) -> None:
    _, token, agent_id = agent

    async def main() -> tuple[Any, float]:
        frame.hub.attach()
        poll = Exchange(frame.app, "GET", f"/api/agents/{agent_id}/pending-commands?wait=20", token).body()
        await waits(frame)
        assert not poll.is_answered
        await asyncio.to_thread(queue_switch, frame, token)
        queued = time.monotonic()
        frame.hub.wake(agent_id)
        _, body = await poll.answer()
        return body, time.monotonic() - queued

    body, seconds = asyncio.run(main())
    assert [one["command_type"] for one in body["commands"]] == ["switch"]
    assert seconds < 2
    assert frame.hub.waiting == 0


def test_the_reply_is_the_usual_one_when_the_time_is_over(frame: Frame, agent: tuple[str, str, str]) -> None:
    answer = frame.call("GET", f"/api/agents/{agent[2]}/commands/pending?wait=1", agent[1])
    assert answer.json()["data"] == {"commands": []}
    assert answer.json()["commands"] == []


def test_what_is_there_already_is_answered_at_once(frame: Frame, agent: tuple[str, str, str]) -> None:
    queue_switch(frame, agent[1])
    started = time.monotonic()
    answer = frame.call("GET", f"/api/agents/{agent[2]}/pending-commands?wait=25", agent[1])
    assert len(answer.json()["commands"]) == 1
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("wait", ["", "0", "-5", "x", "1.5", "²"])
def test_a_wait_that_is_none_answers_at_once(frame: Frame, agent: tuple[str, str, str], wait: str) -> None:
    started = time.monotonic()
    answer = frame.call("GET", f"/api/agents/{agent[2]}/pending-commands?wait={wait}", agent[1])
    assert answer.status_code == 200
    assert time.monotonic() - started < 2


def test_nobody_waits_longer_than_25_seconds() -> None:
    assert MAX_WAIT_SECONDS == 25


def test_a_refusal_is_not_held_back(frame: Frame, agent: tuple[str, str, str]) -> None:
    started = time.monotonic()
    assert frame.call("GET", f"/api/agents/{agent[2]}/pending-commands?wait=25", "wrong").status_code == 401
    assert frame.call("GET", "/api/agents/nobody/pending-commands?wait=25", agent[1]).status_code == 404
    assert time.monotonic() - started < 2
    assert frame.hub.waiting == 0


def test_a_waiter_that_has_gone_is_handed_nothing_so_nothing_is_leased_to_nobody_z13(
    frame: Frame, agent: tuple[str, str, str]
) -> None:
    _, token, agent_id = agent

    async def main() -> None:
        frame.hub.attach()
        poll = Exchange(frame.app, "GET", f"/api/agents/{agent_id}/pending-commands?wait=20", token).body()
        await waits(frame)
        poll.hang_up()
        await asyncio.to_thread(queue_switch, frame, token)
        frame.hub.wake(agent_id)
        await poll.ended()

    asyncio.run(main())
    assert states(frame, agent) == [CommandState.PENDING]
    assert frame.hub.waiting == 0


def test_a_token_that_ends_while_waiting_is_noticed_at_the_next_look(frame: Frame, agent: tuple[str, str, str]) -> None:
    client, token, agent_id = agent

    async def main() -> tuple[int, Any]:
        frame.hub.attach()
        poll = Exchange(frame.app, "GET", f"/api/agents/{agent_id}/pending-commands?wait=20", token).body()
        await waits(frame)
        await asyncio.to_thread(frame.plane.clients.rotate, ClientId(client))
        frame.hub.wake(agent_id)
        return await poll.answer()

    status, body = asyncio.run(main())
    assert (status, body["code"]) == (401, "INVALID_TOKEN")
