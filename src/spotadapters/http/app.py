"""The Starlette application: the contract's index as routes, and nothing that redirects (agent-wire 1)."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from spotadapters.http import envelope
from spotadapters.http.application import Application, Parts
from spotadapters.http.auth import Access, Needs
from spotadapters.http.errors import SERVER_ERROR_TEXT
from spotadapters.http.routes import (
    admin,
    agents,
    commands,
    decisions,
    emergencies,
    health,
    machines,
    replicas,
    reports,
)
from spotadapters.http.routing import Endpoint
from spotadapters.http.streams import command_frames

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

STREAM: Final = Endpoint(
    number="E103",
    method="GET",
    path="/api/agents/{agent_id}/commands/stream",
    handler=commands.pending_classic,
    access=Access(needs=Needs.CLIENT, while_suspended=True),
)
ENDPOINTS: Final = (
    # literal paths first: they win over ids of the same depth (http-api 6)
    *health.routes,
    *admin.routes,
    *agents.routes,
    *machines.routes,
    *replicas.routes,
    *emergencies.routes,
    *decisions.routes,
    *commands.routes,
    *reports.routes,
)


def create_app(parts: Parts, *, lifespan: Lifespan | None = None) -> Starlette:
    """The application over the given parts. ``lifespan`` opens and closes what the wiring brought."""
    application = Application(parts)
    routes = [Route(one.path, _bound(application, one), methods=[one.method]) for one in ENDPOINTS]
    routes.append(Route(STREAM.path, _stream(application), methods=["GET"]))
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_failure, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    app.add_middleware(TrailingSlash)
    return app


def _bound(application: Application, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return await application.serve(endpoint, request)

    return serve


def _stream(application: Application) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        opened = await application.open_stream(STREAM, request)
        if isinstance(opened, Response):
            return opened

        async def frames() -> AsyncIterator[ServerSentEvent]:
            async for item in command_frames(application.parts, opened):
                yield ServerSentEvent(data=json.dumps(item), event="COMMAND", id=str(item["id"]))

        return EventSourceResponse(
            frames(),
            ping=25,
            ping_message_factory=lambda: ServerSentEvent(data="{}", event="HEARTBEAT"),
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    return serve


class TrailingSlash:
    """A trailing slash is not significant, and never worth a redirect: a redirected POST loses its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its path trimmed."""
        if scope["type"] == "http" and len(scope["path"]) > 1 and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)


_TEXTS: Final = {404: ("NOT_FOUND", "no such path"), 405: ("METHOD_NOT_ALLOWED", "the path does not take this method")}


async def _http_failure(request: Request, failure: Exception) -> Response:
    """Starlette's own refusals in our envelope; an unknown path reads differently from an unknown id (T28)."""
    assert isinstance(failure, HTTPException)
    code, text = _TEXTS.get(failure.status_code, ("VALIDATION_ERROR", "the request cannot be served"))
    headers = {**(failure.headers or {}), "X-Request-ID": envelope.request_id_of(request.headers.get("x-request-id"))}
    return envelope.response(envelope.failure(code, text, None, {}), failure.status_code, headers)


async def _unexpected(request: Request, _: Exception) -> Response:
    """Anything else: a fixed text outside; Starlette logs the rest."""
    headers = {"X-Request-ID": envelope.request_id_of(request.headers.get("x-request-id"))}
    return envelope.response(envelope.failure("SERVER_ERROR", SERVER_ERROR_TEXT, None, {}), 500, headers)
