"""Group commit: calls that arrive together share one statement, and the next begins as soon as the last has ended."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from spotcore.errors import SpotError

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger("spotadapters.http")

LARGEST: Final = 500

Write = Callable[[Sequence[T]], Mapping[int, R]]
"""Carries a group out; the results by place, those that have to go the ordinary way left out."""


class Groups(Generic[T, R]):
    """A few writers, each on a thread of its own that begins with the first call."""

    def __init__(
        self,
        write: Write[T, R],
        name: str,
        *,
        writers: int = 1,
        largest: int = LARGEST,
        linger_seconds: float = 0.0,
    ) -> None:
        """A group that may linger takes up who comes a little later: fewer statements, for callers in no hurry."""
        self._write = write
        self._name = name
        self._linger_seconds = linger_seconds
        self._writers = writers
        self._largest = largest
        self._waiting: list[tuple[T, asyncio.Future[R | None]]] = []
        self._change = threading.Condition()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    async def done(self, one: T) -> R | None:
        """The result once ``one`` is carried out and committed; None when it has to go the ordinary way."""
        return await self.begun(one)

    def begun(self, one: T) -> "asyncio.Future[R | None]":
        """The same for who need not wait for it."""
        future: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()
        with self._change:
            self._waiting.append((one, future))
            if len(self._threads) < self._writers:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._change.notify()
        return future

    def close(self) -> None:
        """Carry out what waits and end the threads."""
        self._stop.set()
        with self._change:
            self._change.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def _run(self) -> None:
        while group := self._taken():
            self._carried_out(group)

    def _taken(self) -> list[tuple[T, "asyncio.Future[R | None]"]]:
        """The next group as soon as there is one; none when the end has come."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._stop.is_set())
        self._stop.wait(self._linger_seconds)
        with self._change:
            group, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
        return group

    def _carried_out(self, group: list[tuple[T, "asyncio.Future[R | None]"]]) -> None:
        done: Mapping[int, R] = {}
        try:
            done = self._write([one for one, _ in group])
        except SpotError as refusal:
            log.warning("group_refused", extra={"group": self._name, "code": refusal.code, "size": len(group)})
        except Exception:
            log.exception("group_failed", extra={"group": self._name, "size": len(group)})
        told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[R | None], R | None]]] = {}
        for place, (_, future) in enumerate(group):
            told.setdefault(future.get_loop(), []).append((future, done.get(place)))
        for loop, results in told.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, results)


def _tell(results: "list[tuple[asyncio.Future[R | None], R | None]]") -> None:
    for future, result in results:
        if not future.done():  # else the caller has hung up
            future.set_result(result)
