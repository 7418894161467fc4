"""Answers as attrs classes: what is rendered and what OpenAPI says of it come from the same lines.

A field goes out under its own name, or in camel case when its class says ``CAMEL = True``, or under the name that
``shown`` gives it. What the legacy shape pads (Z37) stands in the field, too: ``shown(legacy=0)``.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs

KEEP: Final = object()


def shown(
    name: str | None = None,
    *,
    legacy: Any = KEEP,
    default: Any = attrs.NOTHING,
    doc: str | None = None,
    example: Any = None,
    optional: bool = False,
) -> Any:
    """A field of an answer: its wire name, what the legacy shape sends for null, and words for the reference.

    ``optional`` leaves the key out when the value is None."""
    metadata = {"name": name, "legacy": legacy, "doc": doc, "example": example, "optional": optional}
    return attrs.field(default=default, metadata=metadata)


def camel(name: str) -> str:
    """``agents_online`` → ``agentsOnline``."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


@attrs.frozen
class _Field:
    name: str
    wire_name: str
    legacy: Any
    is_optional: bool


_KNOWN: dict[type, tuple[_Field, ...]] = {}


def fields_of(cls: type) -> tuple[_Field, ...]:
    """How an answer class goes out, field by field."""
    if cls not in _KNOWN:
        in_camel = getattr(cls, "CAMEL", False)
        _KNOWN[cls] = tuple(
            _Field(
                name=field.name,
                wire_name=field.metadata.get("name") or (camel(field.name) if in_camel else field.name),
                legacy=field.metadata.get("legacy", KEEP),
                is_optional=field.metadata.get("optional", False),
            )
            for field in attrs.fields(cls)
        )
    return _KNOWN[cls]


def as_mapping(value: Any, *, legacy: bool) -> Mapping[str, Any]:
    """An answer object as a mapping of its wire names, one level deep."""
    found: dict[str, Any] = {}
    for field in fields_of(type(value)):
        one = getattr(value, field.name)
        if one is None and field.is_optional:
            continue
        found[field.wire_name] = field.legacy if one is None and legacy and field.legacy is not KEEP else one
    return found
