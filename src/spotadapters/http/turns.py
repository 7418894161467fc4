"""Turns of callers at something that only a few may have at a time: who asks often waits behind himself alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """One call at a time of each caller. Belongs to one event loop."""

    def __init__(self) -> None:
        self._callers: dict[str, tuple[asyncio.Lock, int]] = {}  # and how many of his calls there are

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Wait until no other call of the caller is inside."""
        lock, calls = self._callers.get(caller) or (asyncio.Lock(), 0)
        self._callers[caller] = lock, calls + 1
        try:
            async with lock:
                yield
        finally:
            calls = self._callers[caller][1] - 1
            if calls:
                self._callers[caller] = lock, calls
            else:
                del self._callers[caller]
