"""How a simulated agent's requests reach a server: over sockets, or into an application under test."""

import http.client
import json
import select
import threading
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from spotadapters.fleet.script import NO_ANSWER, Content, Response


class HttpTransport(Protocol):
    """Carries one request. Never raises for what a server or network does: see ``Response.status``."""

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Response:
        """The answer; ``path`` includes the query. Redirects are reported, not followed."""
        ...


def parse_answer(status: int, raw: bytes, location: str | None = None) -> Response:
    """A response from what came over the wire."""
    if not raw.strip():
        return Response(status=status, content=Content.EMPTY, location=location)
    try:
        return Response(status=status, content=Content.JSON, json=json.loads(raw), location=location)
    except ValueError:
        return Response(status=status, content=Content.OTHER, location=location)


class SocketTransport:
    """Plain HTTP/1.1 with kept-alive connections, as many as there are requests at once. Safe for several threads."""

    def __init__(self, base_url: str, *, timeout_seconds: float = 30.0) -> None:
        parts = urlsplit(base_url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._timeout_seconds = timeout_seconds
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Response:
        """The answer, or ``NO_ANSWER``; nothing is sent twice."""
        connection = self._connection()
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, body=content, headers=dict(headers))
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return NO_ANSWER
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return parse_answer(answer.status, raw, answer.getheader("location"))

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)
            if not _dropped(connection):
                return connection
            connection.close()


def _dropped(connection: http.client.HTTPConnection) -> bool:
    """True when the server has closed an idle connection: only then has it something to say."""
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])


class _Answer(Protocol):
    @property
    def status_code(self) -> int: ...
    @property
    def content(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class _Client(Protocol):
    def request(
        self, method: str, url: str, *, content: bytes | None, headers: dict[str, str], follow_redirects: bool
    ) -> _Answer: ...


class ClientTransport:
    """Over anything that looks like Starlette's ``TestClient`` or an ``httpx2.Client``."""

    def __init__(self, client: Any) -> None:
        self._client: _Client = client

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Response:
        """The answer of the application; what it raises is the test's to see."""
        content = None if body is None else json.dumps(body).encode()
        answer = self._client.request(method, path, content=content, headers=dict(headers), follow_redirects=False)
        return parse_answer(answer.status_code, answer.content, answer.headers.get("location"))
