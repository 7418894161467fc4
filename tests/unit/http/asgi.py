"""One request spoken to the application directly, so that a test can hold a body back, hang up, or read a stream."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Self

from starlette.types import ASGIApp, Message

GIVE_UP = 10.0


class Exchange:
    """A request in flight. Use it inside ``asyncio.run``; every wait is bounded."""

    def __init__(
        self, app: ASGIApp, method: str, path: str, token: str, headers: Mapping[str, str] | None = None
    ) -> None:
        sent = {"authorization": f"Bearer {token}", **(headers or {})}
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
            "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "server": ("testserver", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self.received = 0
        self._task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        message = await self._incoming.get()
        self.received += len(message.get("body", b""))
        return message

    async def _send(self, message: Message) -> None:
        await self._outgoing.put(message)

    def body(self, chunk: bytes = b"", *, more: bool = False) -> Self:
        """Send a piece of the body."""
        self._incoming.put_nowait({"type": "http.request", "body": chunk, "more_body": more})
        return self

    def hang_up(self) -> Self:
        """Go away."""
        self._incoming.put_nowait({"type": "http.disconnect"})
        return self

    async def ended(self) -> None:
        """Wait until the application has finished with the request."""
        await asyncio.wait_for(self._task, GIVE_UP)

    @property
    def is_answered(self) -> bool:
        """True as soon as any of the answer is there."""
        return not self._outgoing.empty()

    async def next(self) -> Message:
        """The next message of the answer."""
        return await asyncio.wait_for(self._outgoing.get(), GIVE_UP)

    async def answer(self) -> tuple[int, Any]:
        """Status and JSON of a whole answer."""
        status, _ = await self.head()
        parts = []
        while True:
            message = await self.next()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return status, json.loads(b"".join(parts))

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        start = await self.next()
        return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}

    async def frame(self) -> dict[str, str]:
        """The next server-sent event, comments left out."""
        while True:
            text = (await self.next())["body"].decode()
            fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and line[0] != ":")
            if fields:
                return fields
