"""Live events for people (E90…E92, NT-4): one feed per process, any number of listeners, each with its own queue."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from spotadapters.wire.frames import Frame, Published, ends_access, frame_of, frames_of
from spotcore.errors import RateLimited

QUEUE: Final = 100  # http-api 12.3
MAX_STREAMS: Final = 10
RESYNC: Final = "RESYNC"


@frozen(kw_only=True)
class Watcher:
    """Whose streams are counted together: a client's own, or the operator's on one client or on all."""

    client_id: str | None  # None: every client's events
    is_admin: bool = False


class Listener:
    """The queue of one stream. A reader too slow for it loses what is queued, and is told so in its place."""

    def __init__(self, client_id: str | None) -> None:
        self.client_id = client_id
        self.is_suspect = True  # its token may have ended: nothing more may be sent before that is judged
        self._queue: deque[Frame] = deque()
        self._news = asyncio.Event()

    def push(self, frame: Frame, at: datetime) -> None:
        """One more frame."""
        if len(self._queue) >= QUEUE:
            self._queue.clear()
            frame = frame_of(RESYNC, {}, at, frame_id=frame.id)
        self._queue.append(frame)
        self._news.set()

    def doubt(self) -> None:
        """Have the token judged before anything else is sent."""
        self.is_suspect = True
        self._news.set()

    def pop(self) -> Frame | None:
        """The next frame, None when there is none yet."""
        return self._queue.popleft() if self._queue else None

    async def wait(self, seconds: float) -> None:
        """Until there is news, at most so long."""
        if self._queue or self.is_suspect:
            return
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), max(seconds, 0))
        except TimeoutError:
            return


class LiveHub:
    """Listeners by client, told of each event once. ``begin``, ``tell`` and ``lost`` may be called from any thread;
    everything else on the event loop."""

    def __init__(self) -> None:
        self._listeners: dict[str | None, set[Listener]] = {}
        self._streams: Counter[Watcher] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.position: int | None = None  # the last id given to listeners; None until the feed has been read

    def attach(self) -> None:
        """Remember the loop that deliveries from other threads go to."""
        self._loop = asyncio.get_running_loop()

    # ---- streams

    def open(self, watcher: Watcher) -> None:
        """Count a stream. Raises ``RateLimited`` for the eleventh."""
        if self._streams[watcher] >= MAX_STREAMS:
            raise RateLimited(f"at most {MAX_STREAMS} event streams per client", retry_after_seconds=30)
        self._streams[watcher] += 1

    def close(self, watcher: Watcher) -> None:
        """The stream has ended."""
        self._streams[watcher] -= 1
        if self._streams[watcher] <= 0:
            del self._streams[watcher]

    def connections(self) -> Mapping[str | None, int]:
        """Open streams of this process by client; None for those that show every client's events."""
        found: Counter[str | None] = Counter()
        for watcher, count in self._streams.items():
            found[watcher.client_id] += count
        return found

    # ---- listeners

    def listen(self, client_id: str | None) -> Listener:
        """A listener to one client's events and what is everybody's, or to all. It hears what follows ``position``."""
        listener = Listener(client_id)
        self._listeners.setdefault(client_id, set()).add(listener)
        return listener

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Everybody who listens."""
        return tuple(listener for group in self._listeners.values() for listener in group)

    def forget(self, listener: Listener) -> None:
        """The listener has gone."""
        known = self._listeners.get(listener.client_id)
        if known is not None:
            known.discard(listener)
            if not known:
                del self._listeners[listener.client_id]

    def begin(self, place: int) -> None:
        """The feed is read from this place on."""
        self._on_loop(lambda: self._begin(place))

    def tell(self, events: Sequence[Published], at: datetime) -> None:
        """These were published, in this order."""
        self._on_loop(lambda: self._tell(events, at))

    def lost(self, at: datetime) -> None:
        """Something may have been published that was never told."""
        self._on_loop(lambda: self._lost(at))

    def _on_loop(self, act: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act)

    def _begin(self, place: int) -> None:
        self.position = place + 1

    def _tell(self, events: Sequence[Published], at: datetime) -> None:
        for event in events if self._listeners else ():
            concerned = self._concerned(event.client_id)
            for frame in frames_of(event) if concerned else ():
                for listener in concerned:
                    listener.push(frame, at)
            if ends_access(event):
                for listener in self._listeners.get(event.client_id, ()):
                    listener.doubt()
        self.position = events[-1].position + 1

    def _lost(self, at: datetime) -> None:
        for listener in self.listeners:
            listener.push(frame_of(RESYNC, {}, at), at)

    def _concerned(self, client_id: str | None) -> tuple[Listener, ...]:
        if client_id is None:
            return self.listeners
        return (*self._listeners.get(client_id, ()), *self._listeners.get(None, ()))
