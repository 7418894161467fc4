"""Answers out: JSON with exact numbers, UTC times with ``Z``, and never an empty body (T03)."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import attrs
import orjson

from spotadapters.wire.answers import as_mapping


def stamp(at: datetime | None) -> str | None:
    """ISO 8601, UTC, ``Z``; milliseconds only when there are any (1.3)."""
    if at is None:
        return None
    spec = "milliseconds" if at.microsecond >= 1_000 else "seconds"
    return at.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def _plain(value: Any, *, legacy: bool) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() and abs(value) < 10**15 else float(value)
        case datetime():
            return stamp(value)
        case Enum():
            return value.value
        case tuple() | set() | frozenset():
            return list(value)
        case _ if attrs.has(type(value)):
            return as_mapping(value, legacy=legacy)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in JSON")


_PLAIN: Final[Mapping[bool, Callable[[Any], Any]]] = {
    False: lambda value: _plain(value, legacy=False),
    True: lambda value: _plain(value, legacy=True),
}


def encode(value: Any, *, legacy: bool = False, escaped: bool = False) -> bytes:
    """JSON text. A Decimal becomes the shortest number that reads back as the same 6-decimal price; an answer object
    its fields, padded where the legacy shape asks for it (Z37). ``escaped``: ASCII alone, one line to any reader."""
    return json.dumps(
        value, default=_PLAIN[legacy], ensure_ascii=escaped, separators=(",", ":"), allow_nan=False
    ).encode()


def encode_each(values: Iterable[Any], *, legacy: bool = False) -> bytes:
    """A JSON array of answer objects, written one after the other, so that no more than one of them is held."""
    return b"[%b]" % b",".join(_one(value, legacy=legacy) for value in values)


def _one(value: Any, *, legacy: bool) -> bytes:
    try:
        return orjson.dumps(value, default=_PLAIN[legacy], option=orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError:  # a whole number of more than 64 bits, or half a character
        return encode(value, legacy=legacy)
