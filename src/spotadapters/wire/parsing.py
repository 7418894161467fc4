"""Bodies in: attrs classes filled by cattrs with strict hooks, aliases folded, nothing guessed.

A request class names its aliases with ``wire(...)``; the first spelling is canonical and wins. Explicit null means
absent, unknown fields are ignored, numbers never pass through float. A class marked ``LENIENT`` drops a malformed
optional field instead of refusing the call: heartbeats and emergencies must not fail over a detail (T03, T06, T17).
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any, Final, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter

from spotcore.errors import ValidationFailed

T = TypeVar("T")

MAX_TEXT: Final = 255
MAX_DIGITS: Final = 40  # more digits than any price, id or duration has
MAX_NUMBER: Final = 10**18  # above any amount, and what every column holds
MAX_DEPTH: Final = 64
_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160)))
_SENSIBLE: Final = Context(prec=MAX_DIGITS, Emax=MAX_DIGITS, Emin=-MAX_DIGITS, traps=[])
OUT_OF_RANGE: Final = Decimal("Infinity")


def wire(
    *aliases: str,
    name: str | None = None,
    default: Any = None,
    limit: int = MAX_TEXT,
    clip: bool = False,
    inside: str | None = None,
    kind: Any = None,
) -> Any:
    """A field with its other spellings; ``name`` is the canonical one where it is not the field's own.

    ``clip`` shortens a text that is only shown, instead of refusing it; ``inside`` names an object in which the field
    may stand as well; ``kind`` is its type where a class is made from a table."""
    metadata = {"name": name, "aliases": aliases, "limit": limit, "clip": clip, "inside": inside}
    return attrs.field(default=default, metadata=metadata, type=kind)


def required(*aliases: str, limit: int = MAX_TEXT) -> Any:
    """A field without which the call is refused."""
    return attrs.field(metadata={"aliases": aliases, "limit": limit, "clip": False, "inside": None})


def present(*aliases: str, limit: int = MAX_TEXT) -> Any:
    """A field whose key must be there, while null is an answer: the caller could not find out."""
    return attrs.field(metadata={"aliases": aliases, "limit": limit, "clip": False, "inside": None, "nullable": True})


class _Bad(ValueError):
    """What is wrong with one value."""


def text(value: Any, limit: int = MAX_TEXT, *, clip: bool = False) -> str:
    """A JSON text without control characters (S26)."""
    if type(value) is not str:
        raise _Bad("expected a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Bad("not valid Unicode") from None
    cleaned = value.translate(_CONTROLS).strip()
    if len(cleaned) > limit:
        if not clip:
            raise _Bad(f"longer than {limit} characters")
        cleaned = cleaned[:limit]
    return cleaned


def flag(value: Any) -> bool:
    """A JSON boolean, or 0 or 1 (1.3)."""
    if type(value) is bool or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise _Bad("expected true or false")


def number(value: Any) -> Decimal:
    """A JSON number of at most 18 digits before the point."""
    if type(value) not in (int, Decimal):
        raise _Bad("expected a number")
    if abs(value) > MAX_NUMBER:
        raise _Bad("the number is too large")
    return Decimal(value)


def whole(value: Any) -> int:
    """A JSON number without a fraction."""
    exact = number(value)
    if exact != exact.to_integral_value():
        raise _Bad("expected a whole number")
    return int(exact)


def instant(value: Any) -> datetime:
    """ISO 8601 with any offset, none meaning UTC, or ``YYYY-MM-DD HH:MM:SS`` (1.3, T24)."""
    try:
        at = datetime.fromisoformat(text(value, 64))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Bad("expected an ISO 8601 time, e.g. 2025-01-20T10:45:00Z") from None


def _object(value: Any) -> Mapping[str, Any]:
    if type(value) is not dict:
        raise _Bad("expected an object")
    return value


_SCALARS: Final[Mapping[Any, Callable[[Any], Any]]] = {bool: flag, int: whole, Decimal: number, datetime: instant}


def structure(value: Any, kind: Any, field: "attrs.Attribute[Any] | None" = None) -> Any:
    """``value`` as ``kind``. Raises ``_Bad`` or ``Problems``."""
    options = [one for one in get_args(kind) if one is not type(None)] if type(None) in get_args(kind) else []
    if options:
        kind = options[0] if len(options) == 1 else Any
    if kind is Any:
        return cleaned(value)
    if kind is str:
        facts = field.metadata if field is not None else {}
        return text(value, facts.get("limit", MAX_TEXT), clip=facts.get("clip", False))
    if kind in _SCALARS:
        return _SCALARS[kind](value)
    if attrs.has(kind):
        return _fields(_object(value), kind)
    if get_origin(kind) is tuple:
        if type(value) is not list:
            raise _Bad("expected a list")
        return tuple(structure(item, get_args(kind)[0]) for item in value)
    return cleaned(_object(value))


def cleaned(value: Any) -> Any:
    """A decoded value whose shape nobody checks, with texts that any store takes: no control characters (S26), no
    half of a surrogate pair."""
    match value:
        case str():
            if value.isascii() and value.isprintable():
                return value
            return value.translate(_CONTROLS).encode(errors="replace").decode()
        case dict():
            return {cleaned(name): cleaned(one) for name, one in value.items()}
        case list():
            return [cleaned(one) for one in value]
        case _:
            return value


class Problems(Exception):
    """Everything that is wrong with an object: field name to problems."""

    def __init__(self, found: Mapping[str, list[str]]) -> None:
        super().__init__("invalid")
        self.found = found


_KINDS: dict[type, dict[str, Any]] = {}


def _kinds(cls: type) -> dict[str, Any]:
    if cls not in _KINDS:
        attrs.resolve_types(cls)
        _KINDS[cls] = {field.name: field.type for field in attrs.fields(cls)}
    return _KINDS[cls]


def spellings(field: "attrs.Attribute[Any]") -> tuple[str, ...]:
    """Every name a field may have in a body, the canonical one first."""
    return (field.metadata.get("name") or field.name, *field.metadata.get("aliases", ()))


def _given(data: Mapping[str, Any], field: "attrs.Attribute[Any]") -> Any:
    """The first spelling that is present and not null; the object named by ``inside`` is looked into last."""
    names = spellings(field)
    for name in names:
        if data.get(name) is not None:
            return data[name]
    nested = data.get(field.metadata.get("inside") or "")
    if isinstance(nested, dict):
        return next((nested[name] for name in names if nested.get(name) is not None), None)
    return None


def _fields(data: Mapping[str, Any], cls: type[T]) -> T:
    values: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    lenient = getattr(cls, "LENIENT", False)
    for field in attrs.fields(cls):  # type: ignore[arg-type]
        value = _given(data, field)
        if value is None:
            if field.metadata.get("nullable") and any(name in data for name in spellings(field)):
                values[field.name] = None
            elif field.default is attrs.NOTHING:
                problems[field.name] = ["required"]
            continue
        try:
            values[field.name] = structure(value, _kinds(cls)[field.name], field)
        except _Bad as bad:
            if not lenient or field.default is attrs.NOTHING:
                problems[field.name] = [str(bad)]
        except Problems as nested:
            if not lenient or field.default is attrs.NOTHING:
                problems |= {f"{field.name}.{name}": texts for name, texts in nested.found.items()}
    if problems:
        raise Problems(problems)
    return cls(**values)


def _converter() -> Converter:
    """cattrs with hooks that refuse where its own would guess ("false" is true, None is "None")."""
    converter = Converter()
    converter.register_structure_hook_func(attrs.has, lambda value, kind: _fields(_object(value), kind))
    return converter


CONVERTER: Final = _converter()


def _refuse(word: str) -> Any:
    raise _Bad(f"{word} is not JSON")


def _exact_int(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= MAX_DIGITS else OUT_OF_RANGE


def _exact(digits: str) -> Decimal:
    """To 40 digits; infinite beyond all range: a field that reads it refuses it, others ignore it (T06)."""
    value = _SENSIBLE.create_decimal(digits)
    return OUT_OF_RANGE if value.is_nan() else value


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty body is an empty object (T37). Raises ``ValidationFailed``.

    A number is exact up to 40 digits, infinite where it is larger than any; texts are as they were sent."""
    if not body.strip():
        return {}
    try:
        data = json.loads(body.decode("utf-8-sig"), parse_float=_exact, parse_int=_exact_int, parse_constant=_refuse)
    except (ValueError, RecursionError) as failure:
        raise ValidationFailed("the body is not valid JSON", body=["send one JSON object"]) from failure
    if type(data) is not dict:
        raise ValidationFailed("the body is not a JSON object", body=["send one JSON object"])
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        raise ValidationFailed("the body is nested too deeply", body=[f"use at most {MAX_DEPTH} levels"])
    return data


def decode_clean(body: bytes) -> dict[str, Any]:
    """The JSON object of a body, its texts ``cleaned``. Raises ``ValidationFailed``."""
    data = decode(body)
    if body.isascii() and b"\\" not in body and b"\x7f" not in body:
        return data  # plain characters alone: JSON itself takes no others
    found: dict[str, Any] = cleaned(data)
    return found


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, measured without recursion."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        one, level = stack.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            return level
        children = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        stack += [(child, level + 1) for child in children if isinstance(child, dict | list)]
    return deepest


def parse(body: bytes, cls: type[T]) -> T:
    """``body`` as a ``cls``. Raises ``ValidationFailed`` with field name → problems in ``details``."""
    return shaped(decode(body), cls)


def shaped(data: Mapping[str, Any], cls: type[T]) -> T:
    """As ``parse``, of a decoded object."""
    try:
        return CONVERTER.structure(data, cls)
    except Problems as wrong:
        names = ", ".join(sorted(wrong.found))
        raise ValidationFailed(f"invalid or missing: {names}", **wrong.found) from None
    except _Bad as bad:
        raise ValidationFailed(str(bad), body=[str(bad)]) from None
