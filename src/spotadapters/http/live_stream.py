"""Live events as a stream (E90, E91): first what was missed, then what happens, in one order and without a gap."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol

from attrs import frozen
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from spotadapters.http.lanes import Lane, Lanes
from spotadapters.http.live import RESYNC, Listener, LiveHub, Watcher
from spotadapters.http.routes.events import Connected
from spotadapters.system.tenancy import EVERYBODY, acting_for
from spotadapters.wire.frames import Frame, Published, flat_frame, frame_of, frames_of
from spotcore.errors import SpotError, Unavailable
from spotcore.ports.world import Clock

HEARTBEAT_SECONDS: Final = 30
JUDGE_SECONDS: Final = 10.0  # a token that ends by itself (CL-3) ends its streams this late at most


class Feed(Protocol):
    """What was published lately."""

    def position(self) -> int: ...

    def replay(self, seen: int, scope: str | None) -> Sequence[Published]: ...

    def is_missed(self, seen: int, scope: str | None) -> bool: ...


@frozen(kw_only=True)
class Opened:
    """A stream whose caller has been judged and counted."""

    watcher: Watcher
    connected: Connected
    judge: Callable[[], Any]  # raises the refusal once the caller may not listen any more
    last_event_id: str | None


@frozen(kw_only=True)
class Surroundings:
    """What streams share."""

    hub: LiveHub
    lanes: Lanes
    clock: Clock
    feed: Feed | None  # None: nothing is kept, and whoever comes back reloads


class LiveEvents:
    """One stream's frames."""

    def __init__(self, opened: Opened, parts: Surroundings) -> None:
        self._opened = opened
        self._parts = parts
        self._scope = opened.watcher.client_id
        self._seen = 0
        self._judged = time.monotonic()

    async def frames(self) -> AsyncIterator[ServerSentEvent]:
        """``CONNECTED``, what a resumed stream missed, and what happens from then on."""
        hub, feed, given = self._parts.hub, self._parts.feed, self._opened.last_event_id
        listener: Listener | None = None
        try:
            seen = await self._placed(given) if given is not None else None
            if feed is None or seen is None:
                listener = hub.listen(self._scope)
                self._seen = hub.position or 0
                yield self._connected(hub.position)
                if given is not None:
                    yield self._resync()
            else:
                self._seen = seen
                yield self._connected(seen)
                if await self._run(lambda: feed.is_missed(seen, self._scope)):
                    yield self._resync()
                while (page := await self._replayed(feed)) is not None or listener is None:
                    for frame in page or ():
                        yield _event(frame)
                    if page is None:  # from here on nothing is lost; what was published just before follows once more
                        listener = hub.listen(self._scope)
            while (happened := await self._next(listener)) is not None:
                yield _event(happened)
        except SpotError:
            return  # the caller comes back with the last id it was given
        finally:
            if listener is not None:
                hub.forget(listener)

    async def _placed(self, given: str) -> int | None:
        """The id of a frame that was sent, None for anything else."""
        feed, seen = self._parts.feed, _position(given)
        if feed is None or seen is None or seen > await self._run(feed.position) + 1:
            return None
        return seen

    def _resync(self) -> ServerSentEvent:
        return _event(frame_of(RESYNC, {}, self._parts.clock.now()))

    def _connected(self, position: int | None) -> ServerSentEvent:
        data = {"client_id": self._opened.connected.client_id, "timestamp": self._opened.connected.timestamp}
        return _event(flat_frame("CONNECTED", data, frame_id=position))

    async def _replayed(self, feed: Feed) -> Sequence[Frame] | None:
        """The next page of what was missed; None when there is no more."""
        page = await self._run(lambda: feed.replay(self._seen, self._scope))
        if not page:
            return None
        seen, self._seen = self._seen, page[-1].position + 1
        return [frame for event in page for frame in frames_of(event) if frame.id is None or frame.id > seen]

    async def _next(self, listener: Listener) -> Frame | None:
        """The next frame that was not sent yet; None when the caller may not listen any more."""
        while True:
            left = self._judged + JUDGE_SECONDS - time.monotonic()
            if (listener.is_suspect or left <= 0) and not await self._is_allowed(listener):
                return None
            frame = listener.pop()
            if frame is None:
                await listener.wait(left)
            elif frame.id is None or frame.id > self._seen:
                return frame

    async def _is_allowed(self, listener: Listener) -> bool:
        """Whether the caller may still listen (Z4). An outage is no reason to hang up."""
        listener.is_suspect = False
        self._judged = time.monotonic()
        try:
            await self._run(self._opened.judge)
        except Unavailable:
            return True
        except SpotError:
            return False
        return True

    async def _run(self, work: Callable[[], Any]) -> Any:
        def within() -> Any:
            with acting_for(self._scope or EVERYBODY):
                return work()

        return await self._parts.lanes.run(within, Lane.ORDINARY)


def _position(given: str) -> int | None:
    """The id of a frame of ours, None for anything else."""
    if not given.isascii() or not given.isdecimal() or len(given) > 16:
        return None
    return int(given)


def _event(frame: Frame) -> ServerSentEvent:
    return ServerSentEvent(data=frame.data, event=frame.name, id=str(frame.id) if frame.id is not None else None)


class LiveStream(EventSourceResponse):
    """The response. However it ends, even before its first frame, its place among the caller's streams is free."""

    def __init__(self, opened: Opened, parts: Surroundings, headers: Mapping[str, str]) -> None:
        self._frames = LiveEvents(opened, parts).frames()
        self._opened = opened
        self._parts = parts
        super().__init__(
            self._frames,
            ping=HEARTBEAT_SECONDS,
            ping_message_factory=lambda: _event(flat_frame("HEARTBEAT", {"timestamp": parts.clock.now()})),
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **headers},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        try:
            async with aclosing(self._frames):  # type: ignore[type-var]
                await super().__call__(scope, receive, send)
        finally:
            self._parts.hub.close(self._opened.watcher)
