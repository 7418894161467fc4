"""Agents that wait for commands (Z18): woken at once; and one question for all of them finds who was not woken.

A waiter whose look found nothing says on what that rests (``Sign``). Every few seconds the process asks once for whom
it no longer holds, and only those look again. Nobody looks for nothing.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from spotadapters.postgres.pulses import Sign
from spotcore.errors import RateLimited, SpotError

log = logging.getLogger("spotadapters.http")

MAX_WAIT_SECONDS: Final = 25
FALLBACK_SECONDS: Final = 5.0  # between two questions: a lost wake-up costs at most about this
SPREAD_SECONDS: Final = 0.004  # between two who look again after one question, so that others get their turn
MAX_STREAMS: Final = 4

Changed = Callable[[Sequence[Sign]], frozenset[int]]
"""Places of the signs that no longer hold. Raises ``SpotError``."""


class Waiter:
    """One caller that waits. It belongs to the event loop."""

    __slots__ = ("_event", "_vouched_at", "agent_id", "is_gone", "sign")

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.sign: Sign | None = None
        self.is_gone = False
        self._event = asyncio.Event()
        self._vouched_at = 0.0

    def trust(self, sign: Sign | None, since: float) -> None:
        """A look that began at ``since`` (monotonic) found nothing, and would again while ``sign`` holds."""
        self.sign = sign
        self._vouched_at = since

    def vouch(self, sign: Sign, since: float) -> None:
        """The sign was found to hold at ``since`` or later."""
        if self.sign is sign:
            self._vouched_at = since

    def doubt(self, sign: Sign) -> bool:
        """The sign was found not to hold: False when it is not the waiter's any more."""
        if self.sign is not sign:
            return False
        self.sign = None
        return True

    def wake(self) -> None:
        """Look again."""
        self._event.set()

    def leave(self) -> None:
        """The caller has hung up."""
        self.is_gone = True
        self._event.set()

    async def rest(self, seconds: float | None) -> bool:
        """Wait for a wake-up, at most so long. False when the time is over and what was found still holds."""
        limit = seconds
        if self.sign is None:  # nobody else looks for this one
            limit = FALLBACK_SECONDS if seconds is None else min(seconds, FALLBACK_SECONDS)
        try:
            async with asyncio.timeout(limit):
                await self._event.wait()
        except TimeoutError:
            return self.sign is None or time.monotonic() - self._vouched_at > 2 * FALLBACK_SECONDS
        self._event.clear()
        return True


class Hub:
    """Waiters by agent. ``wake`` and ``doubt`` may be called from any thread; everything else on the event loop."""

    def __init__(self, changed: Changed | None = None) -> None:
        """Without ``changed`` everybody looks again every few seconds."""
        self._changed = changed
        self._waiters: dict[str, set[Waiter]] = {}
        self._streams: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_closing = False
        self._timer: asyncio.TimerHandle | None = None  # of the next question; None while nobody waits
        self._is_asking = False
        self._asks_again = False

    def attach(self) -> None:
        """Remember the loop that wake-ups from other threads go to."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = asyncio.get_running_loop()
        self._timer, self._is_asking, self._asks_again = None, False, False

    def register(self, agent_id: str) -> Waiter:
        """A waiter. Register before looking for commands, so that one queued in between is not missed."""
        if self._loop is not asyncio.get_running_loop():
            self.attach()
        waiter = Waiter(agent_id)
        self._waiters.setdefault(agent_id, set()).add(waiter)
        self._plan()
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """The waiter has gone."""
        waiters = self._waiters.get(waiter.agent_id)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[waiter.agent_id]

    def wake(self, agent_id: str) -> None:
        """A command is there: every waiter of the agent looks again."""
        self._soon(self._wake_now, agent_id)

    def doubt(self) -> None:
        """Wake-ups may have been lost: everybody is asked about now."""
        self._soon(self._ask)

    def close(self) -> None:
        """The server stops: whoever waits is answered now with what there is, and asks another one."""
        self.is_closing = True
        for agent_id in list(self._waiters):
            self._wake_now(agent_id)

    def _soon(self, act: Callable[..., None], *words: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act, *words)

    def _wake_now(self, agent_id: str) -> None:
        for waiter in self._waiters.get(agent_id, ()):
            waiter.wake()

    def _plan(self) -> None:
        """Ask in a while, unless that is planned or nobody waits."""
        if self._timer is None and not self._is_asking and self._waiters and self._loop is not None:
            self._timer = self._loop.call_later(FALLBACK_SECONDS, self._ask)

    def _ask(self) -> None:
        """For whom does what they found no longer hold?"""
        if self.is_closing:
            return
        if self._is_asking:
            self._asks_again = True  # what runs may have read before the reason to ask
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changed, loop = self._changed, self._loop
        asked = [(waiter, waiter.sign) for some in self._waiters.values() for waiter in some if waiter.sign is not None]
        if changed is None:
            self._told(asked, 0.0, frozenset(range(len(asked))))
        elif asked and loop is not None:
            self._is_asking = True
            begun = time.monotonic()
            told = loop.run_in_executor(None, _answer, changed, [sign for _, sign in asked])
            told.add_done_callback(lambda answer: self._told(asked, begun, answer.result()))
        else:
            self._plan()

    def _told(self, asked: list[tuple[Waiter, Sign]], begun: float, places: frozenset[int] | None) -> None:
        self._is_asking = False
        if places is not None:
            for place, (waiter, sign) in enumerate(asked):
                if place not in places:
                    waiter.vouch(sign, begun)
            self._spread([asked[place][0] for place in sorted(places) if asked[place][0].doubt(asked[place][1])])
        if self._asks_again:
            self._asks_again = False
            self._ask()
        else:
            self._plan()

    def _spread(self, waiters: list[Waiter]) -> None:
        for place, waiter in enumerate(waiters):
            if self._loop is not None and place:
                self._loop.call_later(place * SPREAD_SECONDS, waiter.wake)
            else:
                waiter.wake()

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
        return sum(len(some) for some in self._waiters.values())


def _answer(changed: Changed, signs: Sequence[Sign]) -> frozenset[int] | None:
    """Runs on a thread. None: nobody knows, and who waits goes on waiting; their own last look tells them."""
    try:
        return changed(signs)
    except SpotError as refusal:
        log.warning("waiters_unknown", extra={"code": refusal.code, "size": len(signs)})
    except Exception:
        log.exception("waiters_unknown", extra={"size": len(signs)})
    return None
