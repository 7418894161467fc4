"""Answers out: JSON with exact numbers, UTC times with ``Z``, and never an empty body (T03)."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any


def stamp(at: datetime | None) -> str | None:
    """ISO 8601, UTC, ``Z``; milliseconds only when there are any (1.3)."""
    if at is None:
        return None
    spec = "milliseconds" if at.microsecond else "seconds"
    return at.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() and abs(value) < 10**15 else float(value)
        case datetime():
            return stamp(value)
        case Enum():
            return value.value
        case tuple() | set() | frozenset():
            return list(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in JSON")


def encode(value: Any) -> bytes:
    """JSON text. A Decimal becomes the shortest number that reads back as the same 6-decimal price."""
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
