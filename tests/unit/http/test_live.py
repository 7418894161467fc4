"""Listeners to live events and their streams (E90…E92, NT-4)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from spotadapters.http import live_stream
from spotadapters.http.live import MAX_STREAMS, QUEUE, Listener, LiveHub, Watcher
from spotadapters.wire.frames import Frame, Published
from spotcore.errors import RateLimited
from spotcore.ids import ClientId
from tests.support.world import START
from tests.unit.http.asgi import GIVE_UP, Exchange
from tests.unit.http.frame import ADMIN, AWAY
from tests.unit.http.frame import Frame as Site

PATH = "/api/events/stream"


def happened(place: int, client_id: str | None = "c", kind: str = "agent_back_online") -> Published:
    facts = {"old_status": "offline", "new_status": "online"}
    return Published(position=place, client_id=client_id, kind=kind, at=START, agent_id=f"a{place}", facts=facts)


async def told(hub: LiveHub, *events: Published) -> None:
    hub.attach()
    hub.tell(events, START)
    await asyncio.sleep(0)


def ids(listener: Listener) -> list[int | None]:
    found = []
    while (frame := listener.pop()) is not None:
        found.append(frame.id)
    return found


# ---- listeners


def test_k_listeners_each_hear_all_events_in_their_order_nt4() -> None:
    async def main() -> list[list[int | None]]:
        hub = LiveHub()
        listeners = [hub.listen("c") for _ in range(5)] + [hub.listen(None)]
        for place in range(2, 62, 2):
            await told(hub, happened(place))
        return [ids(one) for one in listeners]

    assert asyncio.run(main()) == [list(range(2, 62, 2))] * 6


def test_a_listener_hears_its_client_and_what_is_everybodys_and_nothing_else_nt2() -> None:
    async def main() -> tuple[list[int | None], ...]:
        hub = LiveHub()
        mine, other, admin = hub.listen("c"), hub.listen("d"), hub.listen(None)
        await told(hub, happened(2, "c"), happened(4, "d"), happened(6, None))
        return ids(mine), ids(other), ids(admin)

    assert asyncio.run(main()) == ([2, 6], [4, 6], [2, 4, 6])


def frame(number: int) -> Frame:
    return Frame(name="X", data="{}", id=number)


def test_a_hundred_queued_events_wait_and_one_more_is_a_resync_in_their_place_nt4() -> None:
    slow = Listener("c")
    for number in range(QUEUE):
        slow.push(frame(number), START)
    assert ids(slow) == list(range(QUEUE))
    for number in range(QUEUE + 3):
        slow.push(frame(number), START)
    first = slow.pop()
    assert first is not None
    assert (first.name, first.id) == ("RESYNC", QUEUE)  # whoever resumes after it has lost nothing more
    assert json.loads(first.data) == {"data": {}, "timestamp": "2026-03-02T12:00:00Z"}
    assert ids(slow) == [QUEUE + 1, QUEUE + 2]


def test_a_queue_never_grows_beyond_its_hundred() -> None:
    slow = Listener("c")
    for number in range(25 * QUEUE):
        slow.push(frame(number), START)
    assert len(ids(slow)) <= QUEUE


def test_who_has_gone_is_not_told_any_more() -> None:
    async def main() -> list[int | None]:
        hub = LiveHub()
        listener = hub.listen("c")
        hub.forget(listener)
        hub.forget(listener)
        await told(hub, happened(2))
        assert hub.position == 3
        return ids(listener)

    assert asyncio.run(main()) == []


def test_lost_events_are_announced_to_everybody_nt4() -> None:
    async def main() -> list[str]:
        hub = LiveHub()
        hub.attach()
        listeners = [hub.listen("c"), hub.listen(None)]
        hub.lost(START)
        await asyncio.sleep(0)
        return [one.name for listener in listeners if (one := listener.pop()) is not None]

    assert asyncio.run(main()) == ["RESYNC", "RESYNC"]


def test_the_operators_streams_of_a_client_take_none_of_the_clients_places() -> None:
    hub = LiveHub()
    for _ in range(MAX_STREAMS):
        hub.open(Watcher(client_id="c", is_admin=True))
    hub.open(Watcher(client_id="c"))
    with pytest.raises(RateLimited):
        hub.open(Watcher(client_id="c", is_admin=True))
    assert hub.connections() == {"c": MAX_STREAMS + 1}
    hub.close(Watcher(client_id="c"))
    assert hub.connections() == {"c": MAX_STREAMS}


# ---- streams


@asynccontextmanager
async def stream(site: Site, token: str, path: str = PATH, **headers: str) -> AsyncIterator[Exchange]:
    """An open stream; hung up at the end."""
    site.live.attach()
    exchange = Exchange(site.app, "GET", path, token, headers=headers).body()
    try:
        yield exchange
    finally:
        exchange.hang_up()
        await exchange.ended()


async def listened(site: Site, count: int = 1) -> None:
    """Until so many listeners wait, their token judged."""
    until = time.monotonic() + GIVE_UP
    while time.monotonic() < until:
        found = site.live.listeners
        if len(found) == count and not any(one.is_suspect for one in found):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nobody listens")


def test_a_stream_begins_with_connected_and_tells_what_happens_e90(frame_site: tuple[Site, str, str]) -> None:
    site, client_id, token = frame_site

    async def main() -> None:
        async with stream(site, token, **{"x-request-id": "q-1"}) as one:
            status, headers = await one.head()
            assert status == 200
            assert headers["content-type"].startswith("text/event-stream")
            assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
            assert headers["x-request-id"] == "q-1"
            first = await one.frame()
            assert (first["event"], "id" in first) == ("CONNECTED", False)  # the feed has not been read yet
            assert json.loads(first["data"]) == {"client_id": client_id, "timestamp": "2026-03-02T12:00:00Z"}
            await listened(site)
            await told(site.live, happened(4, client_id))
            second = await one.frame()
            assert (second["event"], second["id"]) == ("AGENT_STATUS_CHANGED", "4")
            assert json.loads(second["data"]) == {
                "data": {"agent_id": "a4", "old_status": "offline", "new_status": "online"},
                "timestamp": "2026-03-02T12:00:00Z",
            }

    asyncio.run(main())
    assert site.live.connections() == {}
    assert site.live.listeners == ()


@pytest.fixture
def frame_site(frame: Site) -> tuple[Site, str, str]:
    """The application, a client's id, its token."""
    client_id, token = frame.client()
    return frame, client_id, token


def test_connected_carries_the_place_to_resume_from(frame_site: tuple[Site, str, str]) -> None:
    site, client_id, token = frame_site

    async def main() -> dict[str, str]:
        await told(site.live, happened(40, client_id))
        async with stream(site, token) as one:
            await one.head()
            return await one.frame()

    assert asyncio.run(main())["id"] == "41"


def test_a_heartbeat_is_flat_and_comes_every_30_seconds(
    frame_site: tuple[Site, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, _, token = frame_site
    assert live_stream.HEARTBEAT_SECONDS == 30
    monkeypatch.setattr(live_stream, "HEARTBEAT_SECONDS", 0.05)

    async def main() -> list[dict[str, str]]:
        async with stream(site, token) as one:
            await one.head()
            return [await one.frame(), await one.frame()]

    connected, beat = asyncio.run(main())
    assert connected["event"] == "CONNECTED"
    assert beat == {"event": "HEARTBEAT", "data": '{"timestamp":"2026-03-02T12:00:00Z"}'}


def test_the_eleventh_stream_is_429_until_one_has_ended_e90(frame_site: tuple[Site, str, str]) -> None:
    site, client_id, token = frame_site
    _, other = site.client("Other")

    async def opened(with_token: str) -> Exchange:
        return Exchange(site.app, "GET", PATH, with_token).body()

    async def main() -> None:
        site.live.attach()
        held = [await opened(token) for _ in range(MAX_STREAMS)]
        assert [(await one.head())[0] for one in held] == [200] * 10
        eleventh = await opened(token)
        start = await eleventh.next()
        assert start["status"] == 429
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        assert int(headers["retry-after"]) > 0
        assert json.loads((await eleventh.next())["body"])["code"] == "RATE_LIMITED"
        foreign = await opened(other)
        assert (await foreign.head())[0] == 200  # another client has its own places
        await held[0].hang_up().ended()
        again = await opened(token)
        assert (await again.head())[0] == 200
        assert site.live.connections()[client_id] == MAX_STREAMS
        for one in (*held[1:], again, foreign):
            await one.hang_up().ended()

    asyncio.run(main())
    assert site.live.connections() == {}


def test_callers_that_vanish_before_the_first_frame_leave_no_place_taken(frame_site: tuple[Site, str, str]) -> None:
    site, _, token = frame_site

    async def main() -> None:
        site.live.attach()
        for _ in range(3 * MAX_STREAMS):
            await Exchange(site.app, "GET", PATH, token).body().hang_up().ended()

    asyncio.run(main())
    assert site.live.connections() == {}


@pytest.mark.parametrize("act", ["rotate", "delete", "suspend"])
def test_a_stream_ends_with_its_token_at_once_and_says_nothing_after_z4(
    frame_site: tuple[Site, str, str], act: str
) -> None:
    site, client_id, token = frame_site

    async def main() -> bool:
        async with stream(site, token) as one:
            await one.head()
            await one.frame()
            await listened(site)
            await asyncio.to_thread(getattr(site.plane.clients, act), ClientId(client_id))
            kind = {"rotate": "token_regenerated", "delete": "client_deleted", "suspend": "client_suspended"}[act]
            await told(site.live, happened(2, client_id, kind), happened(4, client_id))
            last = await one.next()
            return bool(last["body"]) or last["more_body"]

    assert not asyncio.run(main())


def test_a_token_in_its_grace_still_listens_cl3_and_no_longer_when_it_is_over(
    frame_site: tuple[Site, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, client_id, token = frame_site
    monkeypatch.setattr(live_stream, "JUDGE_SECONDS", 0.05)

    async def main() -> None:
        async with stream(site, token) as one:
            await one.head()
            await one.frame()
            site.plane.clients.rotate(ClientId(client_id), timedelta(minutes=5))
            await told(site.live, happened(2, client_id, "token_regenerated"), happened(4, client_id))
            assert (await one.frame())["id"] == "4"
            site.clock.advance(301)
            assert (await one.next())["body"] == b""

    asyncio.run(main())


def test_a_stream_outlives_an_outage(frame_site: tuple[Site, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    site, client_id, token = frame_site
    monkeypatch.setattr(live_stream, "JUDGE_SECONDS", 0.02)

    async def main() -> dict[str, str]:
        async with stream(site, token) as one:
            await one.head()
            await one.frame()
            site.storage.failure = AWAY
            await asyncio.sleep(0.1)
            site.storage.failure = None
            await told(site.live, happened(2, client_id))
            return await one.frame()

    assert asyncio.run(main())["id"] == "2"


def test_whoever_resumes_where_nothing_is_kept_is_told_to_reload_nt4(frame_site: tuple[Site, str, str]) -> None:
    site, client_id, token = frame_site

    async def main() -> list[str]:
        async with stream(site, token, **{"last-event-id": "7"}) as one:
            await one.head()
            found = [(await one.frame())["event"], (await one.frame())["event"]]
            await told(site.live, happened(2, client_id))
            return [*found, (await one.frame())["event"]]

    assert asyncio.run(main()) == ["CONNECTED", "RESYNC", "AGENT_STATUS_CHANGED"]


# ---- who may listen (http-api 2.2)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/x", "/api/events/stats"])
@pytest.mark.parametrize("token", ["wrong", None])
def test_live_events_need_a_token_s11(frame: Site, path: str, token: str | None) -> None:
    answer = frame.call("GET", path, token)
    assert answer.status_code == 401
    assert frame.live.connections() == {}


@pytest.mark.parametrize("path", [f"{PATH}?client_id={{}}", f"{PATH}/{{}}"])
def test_a_client_may_name_itself_and_nobody_else_e91(frame_site: tuple[Site, str, str], path: str) -> None:
    site, client_id, token = frame_site
    other, _ = site.client("Other")
    for foreign in (other, "unknown"):
        answer = site.call("GET", path.format(foreign), token)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")

    async def main() -> int:
        async with stream(site, token, path.format(client_id)) as one:
            return (await one.head())[0]

    assert asyncio.run(main()) == 200


@pytest.mark.parametrize("path", [f"{PATH}?client_id={{}}", f"{PATH}/{{}}"])
def test_the_operator_selects_a_client_that_exists_e91(frame_site: tuple[Site, str, str], path: str) -> None:
    site, client_id, _ = frame_site
    gone, _ = site.client("Gone")
    site.plane.clients.delete(ClientId(gone))
    for named in ("unknown", gone):
        assert site.call("GET", path.format(named)).status_code == 404

    async def main() -> list[dict[str, Any]]:
        async with stream(site, ADMIN, path.format(client_id)) as one:
            await one.head()
            connected = await one.frame()
            await listened(site)
            await told(site.live, happened(2, "somebody else"), happened(4, client_id))
            return [connected, await one.frame()]

    connected, heard = asyncio.run(main())
    assert json.loads(connected["data"])["client_id"] == client_id
    assert heard["id"] == "4"


def test_the_operators_stream_of_a_client_ends_when_the_client_is_deleted(frame_site: tuple[Site, str, str]) -> None:
    site, client_id, _ = frame_site

    async def main() -> bytes:
        async with stream(site, ADMIN, f"{PATH}/{client_id}") as one:
            await one.head()
            await one.frame()
            await listened(site)
            site.plane.clients.delete(ClientId(client_id))
            await told(site.live, happened(2, client_id, "client_deleted"))
            body: bytes = (await one.next())["body"]
            return body

    assert asyncio.run(main()) == b""


def test_stats_count_the_open_streams_e92(frame_site: tuple[Site, str, str]) -> None:
    site, client_id, token = frame_site
    assert site.call("GET", "/api/events/stats", token).status_code == 401  # 2.2: the operator's alone
    assert site.call("GET", "/api/events/stats").json()["data"] == {"active_connections": 0, "clients": []}

    async def main() -> Any:
        async with stream(site, token) as one, stream(site, token) as two, stream(site, ADMIN) as three:
            for each in (one, two, three):
                assert (await each.head())[0] == 200
            answer = await asyncio.to_thread(site.call, "GET", "/api/events/stats")
            return answer.json()["data"]

    assert asyncio.run(main()) == {
        "active_connections": 3,
        "clients": [{"client_id": None, "connections": 1}, {"client_id": client_id, "connections": 2}],
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_there_is_no_way_to_inject_an_event_s11(frame: Site, method: str) -> None:
    for path in (PATH, f"{PATH}/x"):
        assert frame.call(method, path).status_code == 405
    assert frame.call("POST", "/api/events/broadcast").status_code == 404
