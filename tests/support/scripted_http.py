"""A real HTTP server that answers what it is told to, and remembers what it was asked."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import define, field, frozen


@frozen
class Asked:
    """One request."""

    name: str  # METHOD path
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@frozen
class Told:
    """One answer."""

    status: int
    raw: bytes
    content_type: str = "application/json; charset=utf-8"


def success(data: Any, message: str | None = None, status: int = 200) -> Told:
    body = {"status": "success", "data": data, "error": None} | ({"message": message} if message else {})
    return Told(status, json.dumps(body).encode())


def refusal(status: int, code: str, error: str, /, **details: Any) -> Told:
    body = {"status": "error", "data": None, "error": error, "code": code} | ({"details": details} if details else {})
    return Told(status, json.dumps(body).encode())


NOT_FOUND = refusal(404, "NOT_FOUND", "not found")


@define
class ScriptedHttp:
    """What is told last stays; several answers to one name are given in turn; ``otherwise`` answers all else."""

    url: str = ""
    otherwise: Told = NOT_FOUND
    asked: list[Asked] = field(factory=list)
    _answers: dict[str, deque[Told]] = field(factory=dict)

    def tell(self, name: str, *answers: Told) -> None:
        self._answers[name] = deque(answers)

    def forget(self) -> None:
        self.asked.clear()
        self._answers.clear()
        self.otherwise = NOT_FOUND

    def answer(self, asked: Asked) -> Told:
        self.asked.append(asked)
        waiting = self._answers.get(asked.name)
        if not waiting:
            return self.otherwise
        return waiting.popleft() if len(waiting) > 1 else waiting[0]


@contextmanager
def a_scripted_http() -> Iterator[ScriptedHttp]:
    """A server on a free port of the loopback, gone at the end."""
    scripted = ScriptedHttp()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            target = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(f"{self.command} {target.path}", dict(parse_qsl(target.query)), dict(self.headers), raw)
            told = scripted.answer(asked)
            self.send_response(told.status)
            self.send_header("Content-Type", told.content_type)
            self.send_header("Content-Length", str(len(told.raw)))
            self.send_header("X-Request-ID", "request-1")
            self.end_headers()
            self.wfile.write(told.raw)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scripted.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()
