"""How the server holds connections."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
import uvloop
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette

from spotapp.listening import DOORS, doors
from spotapp.web import _Server, server_config

LONGEST_PAUSE = 60  # seconds between two calls of a deployed agent's loop (agent-wire 2): its configuration
BUSY, NEW = 8, 4 * DOORS  # connections
ANSWER = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}


def test_t03_no_connection_is_closed_between_two_calls_of_an_agent() -> None:
    assert server_config(Starlette()).timeout_keep_alive > LONGEST_PAUSE


class Counted:
    """An application that answers everybody and counts its calls by path."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.calls[scope["path"]] += 1
            await send(ANSWER)
            await send({"type": "http.response.body", "body": b""})


async def calls_meanwhile(app: Counted, listening: socket.socket) -> float:
    """How often each of those who are in was answered while others, who came all at once, waited to get in."""
    server = uvicorn.Server(server_config(app))  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve(sockets=doors(listening)))
    while not server.started:
        await asyncio.sleep(0.01)

    async def keep_calling() -> None:
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        while not server.should_exit:
            writer.write(request("/in"))
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    inside = [asyncio.create_task(keep_calling()) for _ in range(BUSY)]
    while app.calls["/in"] < 10 * BUSY:
        await asyncio.sleep(0)
    with contextlib.ExitStack() as stack:
        before = app.calls["/in"]
        for _ in range(NEW):  # the kernel takes them in; whether the server does is the question
            stack.enter_context(socket.create_connection(listening.getsockname())).sendall(request("/new"))
        while app.calls["/new"] < NEW:
            await asyncio.sleep(0)
        meanwhile = app.calls["/in"] - before
    server.should_exit = True
    await asyncio.gather(serving, *inside)
    return meanwhile / BUSY


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def test_a_storm_gets_in_beside_those_who_are_in() -> None:
    """Taken in one at a time, the last one waits for as many calls of each of the others as there are newcomers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert uvloop.run(calls_meanwhile(Counted(), listening)) < NEW / 4


async def ended_by(signals: int, listening: socket.socket) -> list[str]:
    """What the application saw of a server that was asked to end so often, with a caller still inside."""
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        seen.append("begun")
        yield
        seen.append("ended")

    server = _Server(server_config(Starlette(lifespan=lifespan)), lambda: None, lambda: None)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    _, inside = await asyncio.open_connection(*listening.getsockname())
    for _ in range(signals):
        server.handle_exit(signal.SIGINT, None)
    await serving
    inside.close()
    return seen


@pytest.mark.parametrize("signals", [1, 2, 3])
def test_however_often_ctrl_c_is_pressed_the_application_ends_in_order(
    signals: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AppStatus, "should_exit", False)  # of the whole process: it ends every stream of later tests
    with caplog.at_level(logging.ERROR), socket.create_server(("127.0.0.1", 0)) as listening:
        assert uvloop.run(ended_by(signals, listening)) == ["begun", "ended"]
    assert caplog.records == []
