"""A rendered answer, on its way to a response."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen
from starlette.responses import Response

from spotadapters.http import envelope
from spotadapters.http.envelope import Answer
from spotadapters.http.errors import STATUS, details_of, message_of
from spotadapters.http.routing import Endpoint
from spotadapters.system.reasons import reason
from spotcore.errors import SpotError, Unavailable

log = logging.getLogger("spotadapters.http")

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@frozen(kw_only=True)
class Sent:
    """A rendered answer, and what it was rendered from when it succeeded."""

    body: bytes
    status: int
    headers: Mapping[str, str]
    answer: Answer | None = None
    refused: str | None = None  # the code of a refusal

    def response(self, request_id: str) -> Response:
        """As Starlette sends it."""
        return envelope.response(self.body, self.status, {**self.headers, "X-Request-ID": request_id})


def refusal_sent(refusal: SpotError, request_id: str, endpoint: Endpoint, more: Mapping[str, str] = NO_HEADERS) -> Sent:
    status = STATUS[refusal.code]
    if status >= 500:
        log.error(
            "request_refused",
            extra={
                "request_id": request_id,
                "endpoint": endpoint.number,
                "code": refusal.code,
                "reason": reason(refusal.__cause__ or refusal),
            },
            exc_info=None if isinstance(refusal, Unavailable) else refusal,
        )
    headers = dict(more)
    if status == 429:
        headers["Retry-After"] = str(refusal.details.get("retry_after_seconds", 30))
    extra: dict[str, Any] = {}
    if refusal.code == "AUTO_SWITCH_DISABLED":
        extra["auto_switch_enabled"] = False  # E61
    if endpoint.number == "E14" and status in (401, 403):
        extra["valid"] = False
    body = envelope.failure(refusal.code, message_of(refusal), details_of(refusal), extra)
    return Sent(body=body, status=status, headers=headers, refused=refusal.code)
