"""Three presentations of one payload (http-api 1.2)."""

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen
from starlette.responses import Response

from spotadapters.wire.rendering import encode

RESERVED: Final = frozenset({"status", "data", "error", "message", "code", "details"})
JSON_TYPE: Final = "application/json; charset=utf-8"
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


@frozen(kw_only=True)
class Answer:
    """A success: ``data``, and how it is to be sent."""

    data: Any = field(factory=dict)
    status: int = 200
    message: str | None = None
    headers: Mapping[str, str] = field(factory=dict)
    extra: Mapping[str, Any] = field(factory=dict)  # top-level keys of errors and probes


def request_id_of(header: str | None) -> str:
    """The caller's request id when it is one, else a fresh one."""
    return header if header is not None and _REQUEST_ID.fullmatch(header) else str(uuid.uuid4())


def success(answer: Answer, *, mirror: bool, shape: str) -> bytes:
    """The body of a success in the caller's shape; never empty, except where HTTP forbids one (304)."""
    if answer.status == 304:
        return b""
    if shape == "legacy":
        return encode(answer.data)
    body: dict[str, Any] = {"status": "success", "data": answer.data, "error": None}
    if answer.message is not None:
        body["message"] = answer.message
    if mirror and isinstance(answer.data, Mapping):
        body |= {name: value for name, value in answer.data.items() if name not in RESERVED}
    return encode({**body, **answer.extra})


def failure(code: str, message: str, details: Mapping[str, Any] | None, extra: Mapping[str, Any]) -> bytes:
    """The body of an error: always the envelope."""
    body: dict[str, Any] = {"status": "error", "data": None, "error": message, "code": code}
    if details:
        body["details"] = dict(details)
    return encode({**body, **extra})


def response(body: bytes, status: int, headers: Mapping[str, str]) -> Response:
    """A JSON response."""
    return Response(body, status_code=status, headers=dict(headers), media_type=JSON_TYPE)
