"""Thread capacity: emergencies and heartbeats have threads of their own, and others wait for emergencies (design 3).

Use cases are synchronous. A call that is no emergency and has not started yet lets running emergencies finish first,
for at most half a second, so that a storm of notices is over before the next report competes for the interpreter.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, TypeVar

from spotcore.ports.storage import Transactions, UnitOfWork

T = TypeVar("T")

YIELD_SECONDS: Final = 0.5
BUSY_SECONDS: Final = 1.0  # since the last call: there may be others
PULSE_THREADS: Final = 4  # a heartbeat takes a few milliseconds
LIST_THREADS: Final = 1  # such a list keeps the interpreter busy by itself, and holds megabytes


class Lane(StrEnum):
    """Which threads a call runs on."""

    ORDINARY = "ordinary"
    LIST = "list"  # E22…E24, E29: everything that a client has; others go on while one is made
    PULSE = "pulse"  # E17: never behind slow work (T03)
    URGENT = "urgent"  # E51…E53, E56, E58, E59: also connections of their own
    MOVED = "moved"  # what an agent asks whose role has just moved (moves.py): part of the emergency


class Lanes:
    """Bounded thread pools and the rule between them. ``run`` belongs to one event loop at a time."""

    def __init__(self, *, ordinary: int = 8, pulse: int = PULSE_THREADS, urgent: int = 8) -> None:
        sizes = {
            Lane.ORDINARY: ordinary, Lane.LIST: LIST_THREADS, Lane.PULSE: pulse, Lane.URGENT: urgent, Lane.MOVED: pulse
        }  # fmt: skip
        self._threads = {lane: ThreadPoolExecutor(size, thread_name_prefix=lane) for lane, size in sizes.items()}
        self._places = {lane: asyncio.Semaphore(size) for lane, size in sizes.items()}
        self._called_at = -BUSY_SECONDS
        self._emergencies = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._calm_for_threads = threading.Event()
        self._calm_for_threads.set()

    async def run(self, work: Callable[[], T], lane: Lane, *, since: float | None = None) -> T:
        """Run ``work`` in its lane and give its result. ``since`` (the loop's time) is when its call arrived, if it has
        let emergencies finish before: it does so once, not twice."""
        loop = asyncio.get_running_loop()
        self._called_at = time.monotonic()
        if lane in (Lane.URGENT, Lane.MOVED):
            with self.emergency():
                return await loop.run_in_executor(self._threads[lane], work)
        until = (
            since if since is not None else loop.time()
        ) + YIELD_SECONDS  # counted from arrival: in a long storm the queue would only grow (T03)
        async with self._places[lane]:  # whoever waits, waits here, where an emergency can still overtake
            await self.calm(until - loop.time())
            return await loop.run_in_executor(self._threads[lane], work)

    @contextmanager
    def emergency(self) -> Iterator[None]:
        """While the event loop is inside, others wait."""
        self._emergencies += 1
        self._calm.clear()
        self._calm_for_threads.clear()
        try:
            yield
        finally:
            self._emergencies -= 1
            if self._emergencies == 0:
                self._calm.set()
                self._calm_for_threads.set()

    async def calm(self, seconds: float = YIELD_SECONDS) -> None:
        """Wait until no emergency is being answered, for so many seconds at most."""
        self._called_at = time.monotonic()
        if not self._calm.is_set() and seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._calm.wait(), seconds)

    def wait_for_calm(self, seconds: float = YIELD_SECONDS) -> None:
        """As ``calm``, for a thread."""
        self._calm_for_threads.wait(seconds)

    def polite(self, transactions: Transactions) -> Transactions:
        """Transactions for background work in this process: one that is not urgent lets emergencies finish first, for
        half a second at most."""

        @contextmanager
        def begun(*, urgent: bool = False) -> Iterator[UnitOfWork]:
            if not urgent:
                self.wait_for_calm()
            with transactions(urgent=urgent) as uow:
                yield uow

        return begun

    def give_way(self, worked_seconds: float) -> None:
        """Background work that has had the interpreter for so long leaves it to callers as long, if there are any."""
        if time.monotonic() - self._called_at < BUSY_SECONDS:
            time.sleep(min(worked_seconds, YIELD_SECONDS))

    def close(self) -> None:
        """Let running calls finish and end the threads; ordinary calls that wait for a thread are dropped."""
        self._threads[Lane.ORDINARY].shutdown(wait=True, cancel_futures=True)
        self._threads[Lane.LIST].shutdown(wait=True, cancel_futures=True)
        self._threads[Lane.PULSE].shutdown(wait=True)
        self._threads[Lane.MOVED].shutdown(wait=True)
        self._threads[Lane.URGENT].shutdown(wait=True)
