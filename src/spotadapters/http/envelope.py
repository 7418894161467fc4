"""Three presentations of one payload (http-api 1.2)."""

import os
import random
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import field, frozen, has
from starlette.responses import Response

from spotadapters.wire.answers import as_mapping
from spotadapters.wire.rendering import encode, encode_each
from spotadapters.wire.sheets import CSV_TYPE

RESERVED: Final = frozenset({"status", "data", "error", "message", "code", "details"})
JSON_TYPE: Final = "application/json; charset=utf-8"
_names = random.Random()  # its own: who seeds the module's, such as a test, does not give two requests one name
os.register_at_fork(after_in_child=_names.seed)
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


@frozen(kw_only=True)
class Answer:
    """A success: ``data``, and how it is to be sent."""

    data: Any = field(factory=dict)  # an iterator: a long list, made while it is written
    status: int = 200
    message: str | None = None
    headers: Mapping[str, str] = field(factory=dict)
    extra: Mapping[str, Any] = field(factory=dict)  # top-level keys of errors and probes
    file: "File | None" = None  # an export: sent instead of ``data``, in every shape
    repeat: Any = None  # ``pulse.Repeat``: what the next call like this one would do
    timeless: Any = None  # ``data`` with ``pulse.NO_TIME`` as the server's time, for that call


@frozen(kw_only=True)
class File:
    """A body that is no JSON: an export (http-api 11), or with ``name`` None a text to be read."""

    name: str | None
    content: bytes
    media_type: str = CSV_TYPE

    @property
    def headers(self) -> Mapping[str, str]:
        """The type, and for an export what makes a browser save it."""
        saved = {"Content-Disposition": f"attachment; filename={self.name}"} if self.name is not None else {}
        return {"Content-Type": self.media_type, **saved}


def request_id_of(header: str | None) -> str:
    """The caller's request id when it is one, else a fresh one: a name and no secret, so that none asks the system for
    randomness."""
    if header is not None and _REQUEST_ID.fullmatch(header):
        return header
    return str(uuid.UUID(int=_names.getrandbits(128), version=4))


def success(answer: Answer, *, mirror: bool, shape: str) -> bytes:
    """The body of a success in the caller's shape; never empty, except where HTTP forbids one (304)."""
    if answer.status == 304:
        return b""
    if isinstance(answer.data, Iterator):
        return _listed(answer, answer.data, legacy=shape == "legacy")
    if shape == "legacy":
        return encode(answer.data, legacy=True)
    data = as_mapping(answer.data, legacy=False) if mirror and has(type(answer.data)) else answer.data
    body: dict[str, Any] = {"status": "success", "data": data, "error": None}
    if answer.message is not None:
        body["message"] = answer.message
    if mirror and isinstance(data, Mapping):
        body |= {name: value for name, value in data.items() if name not in RESERVED}
    return encode({**body, **answer.extra})


def _listed(answer: Answer, rows: Iterator[Any], *, legacy: bool) -> bytes:
    written = encode_each(rows, legacy=legacy)
    if legacy:
        return written
    return b"".join((b'{"status":"success","data":', written, b",", encode({"error": None, **answer.extra})[1:]))


def failure(code: str, message: str, details: Mapping[str, Any] | None, extra: Mapping[str, Any]) -> bytes:
    """The body of an error: always the envelope."""
    body: dict[str, Any] = {"status": "error", "data": None, "error": message, "code": code}
    if details:
        body["details"] = dict(details)
    return encode({**body, **extra})


def response(body: bytes, status: int, headers: Mapping[str, str]) -> Response:
    """A response: JSON, unless ``headers`` name another content type."""
    return Response(body, status_code=status, headers={"Content-Type": JSON_TYPE, **headers})
