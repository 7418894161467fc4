"""Thread capacity: emergencies have threads of their own, and others wait for them (design 3).

Use cases are synchronous. An ordinary call that has not started yet lets waiting emergencies go first, for at most half
a second, so that a storm of notices is over before the next heartbeat competes for the interpreter.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

YIELD_SECONDS: Final = 0.5


class Lanes:
    """Two bounded thread pools and the rule between them."""

    def __init__(self, *, ordinary: int = 8, urgent: int = 8) -> None:
        self._ordinary = ThreadPoolExecutor(ordinary, thread_name_prefix="ordinary")
        self._urgent = ThreadPoolExecutor(urgent, thread_name_prefix="urgent")
        self._places = asyncio.Semaphore(ordinary)
        self._emergencies = 0
        self._calm = asyncio.Event()
        self._calm.set()

    async def run(self, work: Callable[[], T], *, urgent: bool) -> T:
        """Run ``work`` in its lane and give its result."""
        loop = asyncio.get_running_loop()
        if urgent:
            self._emergencies += 1
            self._calm.clear()
            try:
                return await loop.run_in_executor(self._urgent, work)
            finally:
                self._emergencies -= 1
                if self._emergencies == 0:
                    self._calm.set()
        async with self._places:  # whoever waits, waits here, where an emergency can still overtake
            if not self._calm.is_set():
                with contextlib.suppress(TimeoutError):  # waiting longer would starve heartbeats (T03)
                    await asyncio.wait_for(self._calm.wait(), YIELD_SECONDS)
            return await loop.run_in_executor(self._ordinary, work)

    def close(self) -> None:
        """Let running calls finish and end the threads."""
        self._ordinary.shutdown(wait=True, cancel_futures=True)
        self._urgent.shutdown(wait=True)
