"""Refused credentials in the audit log: one a minute and source, after the answer, and never a token (S16)."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from starlette.requests import Request

from spotadapters.http.lanes import Lane, Lanes
from spotcore.errors import InvalidAuthFormat, InvalidToken, SpotError, Unauthorized
from spotcore.ports.world import Identity
from spotcore.service.notices import AUTH_FAILED_SECONDS, Notices, RefusedCredential

log = logging.getLogger("spotadapters.http")

AUTH_CODES: Final = frozenset({InvalidToken.code, InvalidAuthFormat.code, Unauthorized.code})
MAX_SOURCES: Final = 1_000
OTHERS: Final = "others"  # all sources beyond, as one: a flood from many addresses writes little


class RefusedCredentials:
    """Remembers which sources were noted within the minute. Belongs to the event loop."""

    def __init__(
        self, notices: Notices, lanes: Lanes, identity: Identity, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._notices = notices
        self._lanes = lanes
        self._identity = identity
        self._monotonic = monotonic
        self._noted: dict[str, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, code: str | None, request: Request, endpoint: str) -> None:
        """A call was refused with this code, or answered (None). A page that polls after its session has ended is no
        attack, and is not noted."""
        if code is None or code not in AUTH_CODES or (code == Unauthorized.code and request.method == "GET"):
            return
        source = self._source(request)
        now = self._monotonic()
        if now - self._noted.get(source, -AUTH_FAILED_SECONDS) < AUTH_FAILED_SECONDS:
            return
        self._noted[source] = now
        task = asyncio.ensure_future(self._write(source, code, request.headers.get("authorization"), endpoint))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    @property
    def is_writing(self) -> bool:
        """True while a note has not been stored yet."""
        return bool(self._writing)

    def _source(self, request: Request) -> str:
        source = request.client.host if request.client is not None else "unknown"
        if source in self._noted:
            return source
        if len(self._noted) >= MAX_SOURCES:
            now = self._monotonic()
            self._noted = {name: at for name, at in self._noted.items() if now - at < AUTH_FAILED_SECONDS}
        return source if len(self._noted) < MAX_SOURCES else OTHERS

    async def _write(self, source: str, code: str, header: str | None, endpoint: str) -> None:
        token = header.strip().partition(" ")[2].strip() if header else ""
        refused = RefusedCredential(
            source=source,
            code=code,
            endpoint=endpoint,
            token_sha256=self._identity.hash_token(token) if token else None,
        )
        try:
            await self._lanes.run(lambda: self._notices.auth_failed(refused), Lane.ORDINARY)
        except SpotError as failure:  # another process noted it, or the database is away
            log.info("auth_failure_not_noted", extra={"code": failure.code})
