"""Requests to an application in this process, each handed over to its event loop once.

Starlette's own test client hands over every part of a request and an answer by itself, eight times a request: most of
what a test of the HTTP adapter takes."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from anyio.from_thread import BlockingPortal
from starlette.applications import Starlette
from starlette.testclient import TestClient

FROM = ("testclient", 50000)


class InProcess(httpx2.BaseTransport):
    """Whole answers from an application. One that fails without an answer is a 500, as behind a server."""

    def __init__(self, app: Starlette, portal: BlockingPortal) -> None:
        self._asgi = httpx2.ASGITransport(app, raise_app_exceptions=False, client=FROM)
        self._portal = portal

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()  # kept for who looks at it afterwards
        return self._portal.call(self._answered, request)

    async def _answered(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._asgi.handle_async_request(request)
        content = await answer.aread()
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=httpx2.ByteStream(content))


@contextmanager
def running(app: Starlette) -> Iterator[httpx2.Client]:
    """The application between its start and its end."""
    with TestClient(app, raise_server_exceptions=False) as lifespan:
        assert lifespan.portal is not None
        yield httpx2.Client(
            transport=InProcess(app, lifespan.portal),
            base_url=lifespan.base_url,
            headers={"User-Agent": "testclient"},
            follow_redirects=True,
        )
