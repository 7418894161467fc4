"""Transports over real sockets on the loopback, and into an application."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from spotadapters.fleet import ClientTransport, Content, SocketTransport
from spotadapters.fleet.transport import parse_answer


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent; paths ask for special behaviour."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[Any]]

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        type(self).connections.add(self.client_address)
        length = int(self.headers.get("content-length") or 0)
        said = {
            "method": self.command,
            "path": self.path,
            "body": self.rfile.read(length).decode(),
            "token": self.headers.get("authorization"),
            "type": self.headers.get("content-type"),
        }
        raw = {"/html": b"<p>", "/empty": b""}.get(self.path, json.dumps(said).encode())
        self.send_response({"/moved": 302, "/busy": 503}.get(self.path, 200))
        if self.path == "/moved":
            self.send_header("location", "/elsewhere")
        if self.path == "/bye":
            self.close_connection = True
        if self.path == "/close":
            self.send_header("connection", "close")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def listening(handler: type[Echo]) -> Iterator[str]:
    """A server on the loopback; its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def echo() -> Iterator[tuple[SocketTransport, type[Echo]]]:
    """A transport to an echo, and the echo."""
    handler = type("FreshEcho", (Echo,), {"connections": set()})
    with listening(handler) as url:
        transport = SocketTransport(url, timeout_seconds=5)
        yield transport, handler
        transport.close()


def test_a_post_carries_its_body_and_headers(echo: tuple[SocketTransport, type[Echo]]) -> None:
    transport, _ = echo
    headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
    answer = transport("POST", "/x?y=1", {"a": [1, None]}, headers)
    assert answer.json == {
        "method": "POST",
        "path": "/x?y=1",
        "body": '{"a": [1, null]}',
        "token": "Bearer t",
        "type": "application/json",
    }


def test_a_get_has_a_content_type_and_no_body(echo: tuple[SocketTransport, type[Echo]]) -> None:
    answer = echo[0]("GET", "/x", None, {"Content-Type": "application/json"})
    assert (answer.json["body"], answer.json["type"]) == ("", "application/json")


def test_connections_are_kept_and_used_again(echo: tuple[SocketTransport, type[Echo]]) -> None:
    transport, handler = echo
    for _ in range(5):
        assert transport("POST", "/x", {}, {}).ok
    assert len(handler.connections) == 1


@pytest.mark.parametrize("path", ["/bye", "/close"])
def test_a_connection_the_server_closed_is_not_used_again(echo: tuple[SocketTransport, type[Echo]], path: str) -> None:
    transport, _ = echo
    assert transport("POST", path, {}, {}).ok
    threading.Event().wait(0.05)
    assert transport("POST", "/x", {}, {}).ok


def test_requests_at_once_use_connections_of_their_own(echo: tuple[SocketTransport, type[Echo]]) -> None:
    transport, _ = echo
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(transport("GET", "/x", None, {}).ok)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers == [True] * 8


@pytest.mark.parametrize(
    ("path", "status", "content", "ok"),
    [
        ("/html", 200, Content.OTHER, False),
        ("/empty", 200, Content.EMPTY, True),
        ("/busy", 503, Content.JSON, False),
        ("/x", 200, Content.JSON, True),
    ],
)
def test_answers_are_told_apart(
    echo: tuple[SocketTransport, type[Echo]], path: str, status: int, content: Content, ok: bool
) -> None:
    answer = echo[0]("GET", path, None, {})
    assert (answer.status, answer.content, answer.ok) == (status, content, ok)


def test_a_redirect_is_reported_and_not_followed(echo: tuple[SocketTransport, type[Echo]]) -> None:
    answer = echo[0]("POST", "/moved", {}, {})
    assert (answer.status, answer.location) == (302, "/elsewhere")


def test_a_refused_connection_is_no_answer() -> None:
    with listening(type("Gone", (Echo,), {"connections": set()})) as url:
        pass
    answer = SocketTransport(url, timeout_seconds=1)("GET", "/x", None, {})
    assert (answer.status, answer.ok) == (0, False)


def test_a_server_that_takes_too_long_is_no_answer() -> None:
    slow = threading.Event()

    class Slow(Echo):
        connections: ClassVar[set[Any]] = set()

        def _answer(self) -> None:
            slow.wait(2)

    with listening(Slow) as url:
        assert SocketTransport(url, timeout_seconds=0.1)("GET", "/x", None, {}).status == 0
        slow.set()


@pytest.mark.parametrize("raw", [b"", b"  \n"])
def test_blank_bodies_are_empty(raw: bytes) -> None:
    assert parse_answer(200, raw).content is Content.EMPTY


def test_the_top_level_of_anything_but_an_object_is_nothing() -> None:
    assert parse_answer(200, b"[1]").fields == {}
    assert parse_answer(200, b"null").fields == {}
    assert parse_answer(200, b'{"a": 1}').fields == {"a": 1}


def test_an_application_is_reached_through_its_test_client_without_following_redirects() -> None:
    async def say(request: Request) -> JSONResponse:
        return JSONResponse({"body": (await request.body()).decode(), "type": request.headers["content-type"]})

    async def text(_: Request) -> PlainTextResponse:
        return PlainTextResponse("no", status_code=404)

    async def moved(_: Request) -> RedirectResponse:
        return RedirectResponse("/say", status_code=301)

    routes = [Route("/say", say, methods=["POST"]), Route("/text", text), Route("/moved", moved)]
    transport = ClientTransport(TestClient(Starlette(routes=routes)))
    headers = {"Content-Type": "application/json"}
    assert transport("POST", "/say", {"a": 1}, headers).json == {"body": '{"a": 1}', "type": "application/json"}
    assert (transport("GET", "/text", None, headers).status, transport("GET", "/text", None, headers).ok) == (
        404,
        False,
    )
    assert (transport("GET", "/moved", None, headers).status, transport("GET", "/moved", None, headers).location) == (
        301,
        "/say",
    )
