"""Pages for browsers: the built dashboard at ``/``, our own sign-in page, and the API's reference (http-api 2.4).

The dashboard sends no ``Authorization`` header, so it lives on this origin with a session cookie. Nothing under
``/api`` is ever answered with a page or a redirect (T38).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from spotadapters.http import docs_page
from spotadapters.http.sessions import COOKIE, Sessions
from spotadapters.wire.rendering import encode
from spotcore.errors import SpotError

Serve = Callable[[Request], Awaitable[Response]]

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept, Cookie",
}
NUMERIC_HOSTS: Final = frozenset({"127.0.0.1:5000", "[::1]:5000"})
STATIC: Final = files("spotadapters.http").joinpath("static")
HTML: Final = "text/html; charset=utf-8"


class Pages:
    """What a browser opens. ``dashboard`` is the folder of a built dashboard, None when there is none."""

    def __init__(
        self,
        *,
        root: Serve,
        find_session: Callable[[str], Awaitable[bool]],
        dashboard: Path | None,
        describe: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._root = root
        self._find_session = find_session
        self._dashboard = dashboard
        # made when first asked for: a start should not wait for it; and on a thread: callers should not either
        self._described = cache(lambda: encode(describe()))
        self._told = cache(lambda: docs_page.page(describe()))

    def routes(self) -> list[BaseRoute]:
        """Everything outside ``/api``."""
        routes: list[BaseRoute] = [
            Route("/", self.index, methods=["GET"]),
            Route("/login", self.login, methods=["GET"]),
            Route("/login/page.js", _file("login.js", "text/javascript; charset=utf-8"), methods=["GET"]),
            Route("/login/page.css", _file("login.css", "text/css; charset=utf-8"), methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/docs", self.docs, methods=["GET"]),
            Route("/docs/page.css", _file("docs.css", "text/css; charset=utf-8"), methods=["GET"]),
        ]
        if self._dashboard is not None:
            routes.append(Mount("/assets", StaticFiles(directory=self._dashboard / "assets", check_dir=False)))
        return routes

    async def index(self, request: Request) -> Response:
        """The dashboard for a signed-in browser, ``/login`` for another, E02 for everybody else."""
        if not _wants_page(request):
            return _varying(await self._root(request))
        if (elsewhere := _named_host(request)) is not None:
            return elsewhere
        if self._dashboard is None:
            return _varying(await self._root(request))
        secret = request.cookies.get(COOKIE)
        if secret is None or not await self._find_session(secret):
            return RedirectResponse("/login", status_code=303, headers=PAGE_HEADERS)
        return Response((self._dashboard / "index.html").read_bytes(), media_type=HTML, headers=PAGE_HEADERS)

    async def login(self, request: Request) -> Response:
        """Our own page; it asks E102 whether somebody is signed in."""
        if _wants_page(request) and (elsewhere := _named_host(request)) is not None:
            return elsewhere
        return Response(STATIC.joinpath("login.html").read_bytes(), media_type=HTML, headers=PAGE_HEADERS)

    async def openapi(self, _: Request) -> Response:
        """The OpenAPI document itself, in no envelope: tools read it."""
        return Response(await asyncio.to_thread(self._described), media_type="application/json")

    async def docs(self, _: Request) -> Response:
        """The same for people."""
        return Response(await asyncio.to_thread(self._told), media_type=HTML, headers=PAGE_HEADERS)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _named_host(request: Request) -> Response | None:
    """A stock dashboard calls ``localhost:5000`` whatever its own address is, so browsers are sent there (T39)."""
    if request.url.scheme != "http" or request.headers.get("host", "").lower() not in NUMERIC_HOSTS:
        return None
    return RedirectResponse(f"http://localhost:5000{request.url.path}", status_code=303, headers=PAGE_HEADERS)


def _varying(response: Response) -> Response:
    response.headers["Vary"] = "Accept, Cookie"
    return response


def _file(name: str, media_type: str) -> Serve:
    content = STATIC.joinpath(name).read_bytes()

    async def serve(_: Request) -> Response:
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "max-age=300"}
        return Response(content, media_type=media_type, headers=headers)

    return serve


def finder(
    sessions: Sessions, run: Callable[[Callable[[], bool]], Awaitable[bool]]
) -> Callable[[str], Awaitable[bool]]:
    """Whether a cookie's session is open, asked off the event loop. A storage that cannot answer counts as no: the
    sign-in page can say so, a blank dashboard cannot."""

    def known(secret: str) -> bool:
        try:
            return sessions.find(secret) is not None
        except SpotError:
            return False

    async def find(secret: str) -> bool:
        return await run(lambda: known(secret))

    return find
