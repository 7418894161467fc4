"""Group commit: calls that arrive together share one statement, and the next begins as soon as the last has ended."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from spotcore.errors import SpotError

T = TypeVar("T")
log = logging.getLogger("spotadapters.http")

LARGEST: Final = 500

Write = Callable[[Sequence[T]], frozenset[int]]
"""Carries a group out; the places of those that succeeded."""


class Groups(Generic[T]):
    """One writer at a time, on a thread of its own that begins with the first call."""

    def __init__(self, write: Write[T], name: str, *, linger_seconds: float = 0.0) -> None:
        """A group that may linger takes up who comes a little later: fewer statements, for callers in no hurry."""
        self._write = write
        self._linger_seconds = linger_seconds
        self._name = name
        self._waiting: list[tuple[T, asyncio.Future[bool]]] = []
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    async def done(self, one: T) -> bool:
        """True once ``one`` is carried out and committed; False when it has to go the ordinary way."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append((one, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        self._wake.set()
        return await future

    def close(self) -> None:
        """Carry out what waits and end the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._stop.wait(self._linger_seconds)
            self._wake.clear()
            while group := self._taken():
                self._carried_out(group)
            if self._stop.is_set():
                return

    def _taken(self) -> list[tuple[T, "asyncio.Future[bool]"]]:
        with self._lock:
            group, self._waiting = self._waiting[:LARGEST], self._waiting[LARGEST:]
        return group

    def _carried_out(self, group: list[tuple[T, "asyncio.Future[bool]"]]) -> None:
        done: frozenset[int] = frozenset()
        try:
            done = self._write([one for one, _ in group])
        except SpotError as refusal:
            log.warning("group_refused", extra={"group": self._name, "code": refusal.code, "size": len(group)})
        except Exception:
            log.exception("group_failed", extra={"group": self._name, "size": len(group)})
        told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], bool]]] = {}
        for place, (_, future) in enumerate(group):
            told.setdefault(future.get_loop(), []).append((future, place in done))
        for loop, results in told.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, results)


def _tell(results: "list[tuple[asyncio.Future[bool], bool]]") -> None:
    for future, is_done in results:
        if not future.done():  # else the caller has hung up
            future.set_result(is_done)
