"""Query parameters in: attrs classes whose fields say what is allowed. Unknown parameters are ignored (T06)."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import attrs

from spotadapters.wire.parsing import MAX_TEXT, cleaned
from spotcore.errors import ValidationFailed

T = TypeVar("T")

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off", ""})
MAX_DIGITS: Final = 18


def whole(default: int, low: int, high: int, *, name: str | None = None) -> Any:
    """A whole number, clamped into its range (1.3)."""
    return attrs.field(default=default, metadata={"kind": "whole", "low": low, "high": high, "name": name})


def optional_whole(low: int, high: int, *, name: str | None = None) -> Any:
    """As ``whole``; None when it is not given."""
    return attrs.field(default=None, metadata={"kind": "whole", "low": low, "high": high, "name": name})


def word(default: str | None, *choices: str, name: str | None = None) -> Any:
    """One of a few words; any other is refused."""
    return attrs.field(default=default, metadata={"kind": "word", "choices": choices, "name": name})


def words(*choices: str, name: str | None = None) -> Any:
    """A comma-separated list of words; all of them when it is not given."""
    return attrs.field(default=choices, metadata={"kind": "words", "choices": choices, "name": name})


def text(*, limit: int = MAX_TEXT, name: str | None = None) -> Any:
    """Any text; None when it is not given or empty."""
    return attrs.field(default=None, metadata={"kind": "text", "limit": limit, "name": name})


def switch(*, name: str | None = None) -> Any:
    """True for ``true`` or ``1``; False when it is not given."""
    return attrs.field(default=False, metadata={"kind": "switch", "name": name})


def asked(query: Mapping[str, str], cls: type[T]) -> T:
    """The query as a ``cls``. Raises ``ValidationFailed`` that names the parameter and what would be right."""
    values: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    for field in attrs.fields(cls):  # type: ignore[arg-type]
        name = field.metadata.get("name") or field.name
        given = query.get(name)
        if given is None:
            continue
        said = str(cleaned(given)).strip()
        if not said and field.metadata["kind"] != "switch":
            continue
        try:
            values[field.name] = _read(said, field.metadata)
        except ValueError as wrong:
            problems[name] = [str(wrong)]
    if problems:
        raise ValidationFailed("invalid: " + ", ".join(sorted(problems)), **problems)
    return cls(**values)


def _read(given: str, facts: Mapping[str, Any]) -> Any:
    match facts["kind"]:
        case "whole":
            return _whole(given, facts["low"], facts["high"])
        case "word":
            if given.lower() not in facts["choices"]:
                raise ValueError("use " + ", ".join(facts["choices"]))
            return given.lower()
        case "words":
            wanted = tuple(one.strip().lower() for one in given.split(",") if one.strip())
            if not set(wanted) <= set(facts["choices"]):
                raise ValueError("use a comma-separated list of " + ", ".join(facts["choices"]))
            return wanted or facts["choices"]
        case "switch":
            if given.lower() not in _YES | _NO:
                raise ValueError("use true or false")
            return given.lower() in _YES
        case _:
            if len(given) > facts["limit"]:
                raise ValueError(f"longer than {facts['limit']} characters")
            return given


def _whole(given: str, low: int, high: int) -> int:
    """Clamped; a number of absurd length is simply beyond the range."""
    digits = given.lstrip("+-")
    if digits.isascii() and digits.isdigit() and len(digits) > MAX_DIGITS:
        return low if given.startswith("-") else high
    try:
        exact = Decimal(given)
    except InvalidOperation:
        raise ValueError("use a whole number") from None
    if not exact.is_finite() or exact != exact.to_integral_value():
        raise ValueError("use a whole number")
    return int(
        min(max(exact, Decimal(low)), Decimal(high))
    )  # clamped first: 1e999999999 written out would fill the memory
