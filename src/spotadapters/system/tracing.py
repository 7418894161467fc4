"""Which request a thread is working on: for log lines and audit rows (W3C trace context)."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_CURRENT: ContextVar[Mapping[str, str] | None] = ContextVar("spotcore_request", default=None)


def marks(request_id: str, traceparent: str | None) -> Mapping[str, str]:
    """What marks a request's log lines and audit rows. A malformed ``traceparent`` is dropped."""
    found = {"request_id": request_id}
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent):
        found["traceparent"] = traceparent
    return found


@contextmanager
def working_on(request_id: str, traceparent: str | None) -> Iterator[None]:
    """Everything this thread does inside belongs to that request."""
    token = _CURRENT.set(marks(request_id, traceparent))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Mapping[str, str]:
    """The request's marks; empty outside of one."""
    return _CURRENT.get() or {}
