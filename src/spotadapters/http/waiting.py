"""Agents that wait for commands (Z18): woken at once, and by a fallback when nobody wakes them."""

import asyncio
from collections import Counter
from typing import Final

from spotcore.errors import RateLimited

MAX_WAIT_SECONDS: Final = 25
FALLBACK_SECONDS: Final = 5.0  # a lost wake-up costs at most this
MAX_STREAMS: Final = 4


class Hub:
    """Waiters by agent. ``wake`` may be called from any thread; everything else on the event loop."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._streams: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_closing = False

    def attach(self) -> None:
        """Remember the loop that wake-ups from other threads go to."""
        self._loop = asyncio.get_running_loop()

    def register(self, agent_id: str) -> asyncio.Event:
        """A waiter. Register before looking for commands, so that one queued in between is not missed."""
        event = asyncio.Event()
        self._waiters.setdefault(agent_id, set()).add(event)
        return event

    def forget(self, agent_id: str, event: asyncio.Event) -> None:
        """The waiter has gone."""
        waiters = self._waiters.get(agent_id)
        if waiters is not None:
            waiters.discard(event)
            if not waiters:
                del self._waiters[agent_id]

    def wake(self, agent_id: str) -> None:
        """A command is there: every waiter of the agent looks again."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_now, agent_id)

    def wake_all(self) -> None:
        """Wake-ups may have been lost: everybody looks again."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_everybody)

    def close(self) -> None:
        """The server stops: whoever waits is answered now with what there is, and asks another one."""
        self.is_closing = True
        self._wake_everybody()

    def _wake_everybody(self) -> None:
        for agent_id in list(self._waiters):
            self._wake_now(agent_id)

    def _wake_now(self, agent_id: str) -> None:
        for event in self._waiters.get(agent_id, ()):
            event.set()

    def open_stream(self, agent_id: str) -> None:
        """Count a stream. Raises ``RateLimited`` for the fifth of an agent (E103)."""
        if self._streams[agent_id] >= MAX_STREAMS:
            raise RateLimited(f"at most {MAX_STREAMS} streams per agent", retry_after_seconds=30)
        self._streams[agent_id] += 1

    def close_stream(self, agent_id: str) -> None:
        """The stream has ended."""
        self._streams[agent_id] -= 1
        if self._streams[agent_id] <= 0:
            del self._streams[agent_id]

    def streams(self, agent_id: str) -> int:
        """How many streams the agent has."""
        return self._streams[agent_id]

    @property
    def waiting(self) -> int:
        """How many waiters there are."""
        return sum(len(events) for events in self._waiters.values())


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Wait for a wake-up, at most ``seconds`` and at most the fallback."""
    try:
        await asyncio.wait_for(event.wait(), min(seconds, FALLBACK_SECONDS))
    except TimeoutError:
        return
    event.clear()
