"""A load generator in a process of its own: a closed loop of keep-alive connections, each sending its next request when
the last was answered. Prints one JSON object: requests, errors, seconds, and the latencies' percentiles in ms."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from typing import Any

import uvloop


class Connection(asyncio.Protocol):
    """One caller."""

    def __init__(self, requests: Iterator[tuple[str, bytes]], until: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._until = until
        self._done = done
        self._buffer = b""
        self._sent = 0.0
        self._kind = ""
        self.times: dict[str, list[float]] = {}
        self.errors: dict[str, int] = {}

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._kind, request = next(self._requests)
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read one whole answer, then ask again."""
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        now = time.perf_counter()
        self.times.setdefault(self._kind, []).append(now - self._sent)
        status = head[9:12].decode()
        if not status.startswith("2"):
            self.errors[status] = self.errors.get(status, 0) + 1
        self._buffer = rest[length:]
        if now < self._until:
            self._send()
        elif not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        """The server hung up."""
        if not self._done.done():
            self.errors["lost"] = self.errors.get("lost", 0) + 1
            self._done.set_result(None)


def packed(port: int, token: str, method: str, path: str, body: Any) -> bytes:
    """A request's bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def load(plan: dict[str, Any]) -> dict[str, Any]:
    """Run the plan's callers for its seconds."""
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + plan["seconds"]
    connections: list[Connection] = []
    waits: list[asyncio.Future[None]] = []
    begin = time.perf_counter()
    for caller in plan["callers"]:
        requests = [(kind, packed(plan["port"], plan["token"], *call)) for kind, *call in caller]
        done: asyncio.Future[None] = loop.create_future()
        connection = Connection(cycle(requests), until, done)
        await loop.create_connection(partial(_itself, connection), "127.0.0.1", plan["port"])
        connections.append(connection)
        waits.append(done)
    await asyncio.wait_for(asyncio.gather(*waits), plan["seconds"] + 30)
    seconds = time.perf_counter() - begin
    times: dict[str, list[float]] = {}
    errors: dict[str, int] = {}
    for connection in connections:
        for kind, some in connection.times.items():
            times.setdefault(kind, []).extend(some)
        for status, count in connection.errors.items():
            errors[status] = errors.get(status, 0) + count
    every = sorted(one for some in times.values() for one in some)
    return {
        "requests": len(every),
        "per_second": round(len(every) / seconds, 1),
        "p50_ms": round(every[len(every) // 2] * 1000, 2),
        "p99_ms": round(every[min(len(every) - 1, int(len(every) * 0.99))] * 1000, 2),
        "errors": errors,
        "kinds": {kind: len(some) for kind, some in times.items()},
    }


def _itself(connection: Connection) -> Connection:
    return connection


def main() -> None:
    """Read a plan on standard input, run it, print what came of it."""
    print(json.dumps(uvloop.run(load(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
