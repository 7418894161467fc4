"""The Starlette application: the contract's index as routes, and nothing that redirects (agent-wire 1)."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from spotadapters.http import envelope
from spotadapters.http.application import Application
from spotadapters.http.auth import Access, Needs
from spotadapters.http.errors import SERVER_ERROR_TEXT
from spotadapters.http.lanes import Lane
from spotadapters.http.live_stream import LiveStream, Surroundings
from spotadapters.http.openapi import document
from spotadapters.http.pages import Pages, finder
from spotadapters.http.parts import Parts
from spotadapters.http.routes import (
    admin,
    agents,
    clients,
    commands,
    decisions,
    emergencies,
    events,
    health,
    history,
    instances,
    machines,
    models,
    notifications,
    operations,
    overview,
    replicas,
    reports,
    sessions,
)
from spotadapters.http.routing import STREAM_TYPE, Endpoint
from spotadapters.http.shortcuts import SHORT
from spotadapters.http.streams import CommandStream

log = logging.getLogger("spotadapters.http")

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

STREAM: Final = Endpoint(
    number="E103",
    method="GET",
    path="/api/agents/{agent_id}/commands/stream",
    handler=commands.pending_classic,
    access=Access(needs=Needs.CLIENT, while_suspended=True),
    waits=True,
    gives=STREAM_TYPE,
)
ENDPOINTS: Final = (
    # literal paths first: they win over ids of the same depth (http-api 6)
    *health.routes,
    *overview.routes,
    *operations.routes,
    *admin.routes,
    *history.routes,
    *clients.routes,
    *agents.routes,
    *machines.routes,
    *instances.routes,
    *replicas.routes,
    *emergencies.routes,
    *decisions.routes,
    *commands.routes,
    *reports.routes,
    *notifications.routes,
    *events.routes,
    *sessions.routes,
    *models.routes,
    clients.CLIENT,
)
STREAMS: Final = (STREAM, *events.streams)
SERVED: Final = (*ENDPOINTS, health.ROOT, *STREAMS)
"""Everything that is served and documented; pages apart."""


def create_app(parts: Parts, *, lifespan: Lifespan | None = None) -> Starlette:
    """The application over the given parts. ``lifespan`` opens and closes what the wiring brought."""
    application = Application(parts)
    pages = Pages(
        root=_serving(health.ROOT),
        find_session=_session_finder(application),
        dashboard=parts.dashboard,
        describe=lambda: document(SERVED, parts.server.version),
    )
    app = Starlette(
        routes=[*_routes(), *pages.routes()],
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_failure, Exception: _unexpected},
    )
    app.state.application = application
    app.router.redirect_slashes = False
    app.add_middleware(TrailingSlash)
    return app


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Made once for all applications of a process: each request says which of them it is for."""
    return (
        *(_route(one, _serving(one)) for one in sorted(ENDPOINTS, key=_seldomness)),
        _route(STREAM, _stream),
        *(_route(one, _live(one)) for one in events.streams),
    )


def _seldomness(endpoint: Endpoint) -> tuple[bool, bool]:
    """In which order paths are looked at: what agents send all day, then emergencies, then the others."""
    return endpoint.number not in SHORT, endpoint.lane is not Lane.URGENT


def _route(endpoint: Endpoint, serve: Callable[[Request], Awaitable[Response]]) -> Route:
    route = Route(endpoint.path, serve, methods=[endpoint.method])
    if (endpoint.waits or endpoint in STREAMS) and route.methods is not None:
        route.methods.discard("HEAD")  # a hand-out whose body is thrown away would be leased to nobody
    return route


def _application(request: Request) -> Application:
    found: Application = request.app.state.application
    return found


def _serving(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return await _application(request).serve(endpoint, request)

    return serve


def _session_finder(application: Application) -> Callable[[str], Awaitable[bool]]:
    return finder(application.sessions, lambda work: application.parts.lanes.run(work, Lane.ORDINARY))


async def _stream(request: Request) -> Response:
    application = _application(request)
    look = await application.open_stream(STREAM, request)
    if isinstance(look, Response):
        return look
    parts, agent_id = application.parts, request.path_params["agent_id"]
    return CommandStream(look, parts.lanes, parts.hub, agent_id, {"X-Request-ID": _request_id(request)})


def _live(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        application = _application(request)
        opened = await application.open_live(endpoint, request)
        if isinstance(opened, Response):
            return opened
        parts = application.parts
        shared = Surroundings(
            hub=parts.live, lanes=parts.lanes, clock=parts.clock, feed=parts.reads.live if parts.reads else None
        )
        return LiveStream(opened, shared, {"X-Request-ID": _request_id(request)})

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
    headers = {"X-Request-ID": _request_id(request)}
    if failure.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return envelope.response(envelope.failure(code, text, None, {}), failure.status_code, headers)


def _methods(request: Request) -> set[str]:
    """What the path takes, over all its routes; Starlette names those of the first alone."""
    path = request.url.path.rstrip("/") or "/"
    routes = [one for one in request.app.routes if isinstance(one, Route) and one.path_regex.match(path)]
    return {method for one in routes for method in one.methods or ()}


async def _unexpected(request: Request, failure: Exception) -> Response:
    """Anything else: a fixed text outside, the detail in the log."""
    request_id = _request_id(request)
    log.error("request_failed", extra={"request_id": request_id, "path": request.url.path}, exc_info=failure)
    return envelope.response(
        envelope.failure("SERVER_ERROR", SERVER_ERROR_TEXT, None, {}), 500, {"X-Request-ID": request_id}
    )


def _request_id(request: Request) -> str:
    return envelope.request_id_of(request.headers.get("x-request-id"))
