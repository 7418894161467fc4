"""Keep-alive connections on one event loop: thousands of callers in one process."""

import asyncio
import json
import resource
import time
from typing import Any

from attrs import frozen

from benchmarks.load import packed


@frozen
class Answered:
    """An answer, and when all of it was there (``time.perf_counter``)."""

    status: int
    body: bytes
    at: float

    @property
    def data(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Line(asyncio.Protocol):
    """One connection; one call at a time."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self._buffer = b""
        self._transport: Any = None
        self._answer: asyncio.Future[Answered] | None = None

    async def call(self, method: str, path: str, body: Any = None) -> Answered:
        """Ask, and wait for the answer. Connects when need be. Raises ``ConnectionError``."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            self._buffer = b""
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        self._answer = loop.create_future()
        self._transport.write(packed(self._port, self._token, method, path, body))
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: Any) -> None:
        """Remember where to write."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Gather one whole answer."""
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) >= length and self._answer is not None and not self._answer.done():
            self._buffer = rest[length:]
            self._answer.set_result(Answered(int(head[9:12]), rest[:length], time.perf_counter()))

    def connection_lost(self, failure: Exception | None) -> None:
        """The server hung up."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(str(failure or "the server hung up")))


def allow_sockets(number: int) -> None:
    """Raise this process's limit of open files for so many connections. Raises ``SystemExit`` when it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + 200
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise SystemExit(f"{number} sockets need `ulimit -n {wanted}`, the hard limit is {hard}: take fewer agents")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
