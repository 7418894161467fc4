"""Commands as a stream (E103)."""

import asyncio
import json
import time
from typing import Any

import pytest

from spotadapters.http import streams, waiting
from spotadapters.http.waiting import MAX_STREAMS
from spotcore.ids import ClientId
from tests.unit.http.asgi import GIVE_UP, Exchange
from tests.unit.http.frame import AWAY, Frame
from tests.unit.http.test_waiting import queue_switch, waits

MACHINE = "i-0000000000000000a"


@pytest.fixture
def agent(frame: Frame) -> tuple[str, str, str]:
    """Client, token and agent."""
    client, token = frame.client()
    return client, token, frame.agent(token, MACHINE)


def opened(frame: Frame, agent: tuple[str, str, str], **more: Any) -> Exchange:
    return Exchange(frame.app, "GET", f"/api/agents/{agent[2]}/commands/stream", agent[1], **more).body()


async def until_free(frame: Frame, agent_id: str) -> None:
    """Until every place among the agent's streams is free."""
    until = time.monotonic() + GIVE_UP
    while frame.hub.streams(agent_id) and time.monotonic() < until:
        await asyncio.sleep(0.005)
    assert frame.hub.streams(agent_id) == 0


def test_a_queued_command_arrives_as_a_frame_e103(frame: Frame, agent: tuple[str, str, str]) -> None:
    async def main() -> tuple[int, dict[str, str], dict[str, str]]:
        frame.hub.attach()
        stream = opened(frame, agent, headers={"x-request-id": "q-1"})
        status, headers = await stream.head()
        await waits(frame)
        await asyncio.to_thread(queue_switch, frame, agent[1])
        frame.hub.wake(agent[2])
        found = await stream.frame()
        await stream.hang_up().ended()
        return status, headers, found

    status, headers, found = asyncio.run(main())
    item = json.loads(found["data"])
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-cache"
    assert headers["x-request-id"] == "q-1"
    assert (found["event"], found["id"]) == ("COMMAND", item["id"])
    assert (item["command_type"], item["target_mode"]) == ("switch", "ondemand")


async def first_frame(frame: Frame, agent: tuple[str, str, str]) -> dict[str, str]:
    frame.hub.attach()
    stream = opened(frame, agent)
    await stream.head()
    found = await stream.frame()
    await stream.hang_up().ended()
    return found


def test_what_is_queued_already_comes_first(frame: Frame, agent: tuple[str, str, str]) -> None:
    queue_switch(frame, agent[1])
    assert asyncio.run(first_frame(frame, agent))["event"] == "COMMAND"


def test_a_frame_is_a_hand_out_so_a_poll_gets_nothing_within_the_lease(
    frame: Frame, agent: tuple[str, str, str]
) -> None:
    queue_switch(frame, agent[1])
    asyncio.run(first_frame(frame, agent))
    assert frame.call("GET", f"/api/agents/{agent[2]}/pending-commands", agent[1]).json()["commands"] == []


def test_a_heartbeat_frame_comes_every_25_seconds(
    frame: Frame, agent: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert streams.HEARTBEAT_SECONDS == 25
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
    assert asyncio.run(first_frame(frame, agent)) == {"event": "HEARTBEAT", "data": "{}"}


def test_a_modern_caller_asks_for_its_dialect(frame: Frame, agent: tuple[str, str, str]) -> None:
    queue_switch(frame, agent[1])

    async def main() -> bool:
        frame.hub.attach()
        path = f"/api/agents/{agent[2]}/commands/stream?dialect=modern"
        stream = Exchange(frame.app, "GET", path, agent[1]).body()
        await stream.head()
        await waits(frame)
        silent = not stream.is_answered
        await stream.hang_up().ended()
        return silent

    assert asyncio.run(main())  # a classic switch is nothing for it


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), ("", 401)])
def test_a_stream_needs_a_token(frame: Frame, agent: tuple[str, str, str], token: str, status: int) -> None:
    answer = frame.call("GET", f"/api/agents/{agent[2]}/commands/stream", token)
    assert answer.status_code == status
    assert frame.hub.streams(agent[2]) == 0


def test_a_stream_of_an_unknown_agent_is_404(frame: Frame, agent: tuple[str, str, str]) -> None:
    assert frame.call("GET", "/api/agents/nobody/commands/stream", agent[1]).status_code == 404


def test_the_fifth_stream_is_429_with_retry_after_until_one_has_ended(
    frame: Frame, agent: tuple[str, str, str]
) -> None:
    async def main() -> None:
        frame.hub.attach()
        held = [opened(frame, agent) for _ in range(MAX_STREAMS)]
        for one in held:
            assert (await one.head())[0] == 200
        fifth = opened(frame, agent)
        status, headers = await fifth.head()
        assert (status, int(headers["retry-after"]) > 0) == (429, True)
        await held[0].hang_up().ended()
        again = opened(frame, agent)
        assert (await again.head())[0] == 200
        for one in (*held[1:], again):
            await one.hang_up().ended()
        await until_free(frame, agent[2])

    asyncio.run(main())
    assert frame.hub.waiting == 0


def test_callers_that_vanish_before_the_first_frame_leave_no_place_taken(
    frame: Frame, agent: tuple[str, str, str]
) -> None:
    async def main() -> None:
        frame.hub.attach()
        for _ in range(3 * MAX_STREAMS):
            stream = opened(frame, agent).hang_up()
            await stream.ended()
        await until_free(frame, agent[2])
        last = opened(frame, agent)
        assert (await last.head())[0] == 200
        await last.hang_up().ended()

    asyncio.run(main())
    assert frame.hub.waiting == 0


def test_a_stream_ends_with_its_token_z4(frame: Frame, agent: tuple[str, str, str]) -> None:
    async def main() -> None:
        frame.hub.attach()
        stream = opened(frame, agent)
        await stream.head()
        await waits(frame)
        await asyncio.to_thread(frame.plane.clients.rotate, ClientId(agent[0]))
        await asyncio.to_thread(queue_after_rotation, frame, agent[0])
        frame.hub.wake(agent[2])
        await stream.ended()
        while stream.is_answered:
            assert b"COMMAND" not in (await stream.next()).get("body", b"")

    asyncio.run(main())


def queue_after_rotation(frame: Frame, client: str) -> None:
    queue_switch(frame, str(frame.plane.clients.read_token(ClientId(client)).token))


def test_a_stream_outlives_an_outage(
    frame: Frame, agent: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "FALLBACK_SECONDS", 0.02)

    async def main() -> dict[str, str]:
        frame.hub.attach()
        stream = opened(frame, agent)
        await stream.head()
        await waits(frame)
        frame.storage.failure = AWAY
        await asyncio.sleep(0.1)
        frame.storage.failure = None
        await asyncio.to_thread(queue_switch, frame, agent[1])
        frame.hub.wake(agent[2])
        found = await stream.frame()
        await stream.hang_up().ended()
        return found

    assert asyncio.run(main())["event"] == "COMMAND"
