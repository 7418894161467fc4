"""JSON schemas of the classes that parse and render: one source for what is served and what is said of it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

import attrs

from spotadapters.wire.answers import fields_of
from spotadapters.wire.parsing import spellings

Schema = dict[str, Any]

_SCALARS: Final[Mapping[Any, Schema]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    Decimal: {"type": "number"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    Any: {},
}


class Schemas:
    """Schemas by class name, collected while a document is made."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._classes: dict[str, type] = {}

    def answer(self, kind: Any) -> Schema:
        """The schema of something rendered."""
        return self._schema(kind, self._rendered)

    def body(self, kind: type) -> Schema:
        """The schema of something parsed."""
        return self._schema(kind, self._parsed)

    def _schema(self, kind: Any, make: Any) -> Schema:
        if kind in _SCALARS:
            return dict(_SCALARS[kind])
        options = get_args(kind)
        if get_origin(kind) in (Union, UnionType):
            return _nullable([self._schema(one, make) for one in options if one is not NoneType], NoneType in options)
        if get_origin(kind) in (tuple, list):
            return {"type": "array", "items": self._schema(options[0], make)}
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"type": "string", "enum": [one.value for one in kind]}
        if isinstance(kind, type) and attrs.has(kind):
            return self._reference(kind, make)
        if isinstance(base := getattr(kind, "__supertype__", None), type):
            return self._schema(base, make)  # a NewType
        return {"type": "object", "additionalProperties": True}

    def _reference(self, kind: type, make: Any) -> Schema:
        name = kind.__name__
        if self._classes.setdefault(name, kind) is not kind:
            raise TypeError(f"two classes of the wire are called {name}: {kind.__module__}, {self._classes[name]}")
        if name not in self.components:
            self.components[name] = {}  # a class may hold itself
            self.components[name] = make(kind)
        return {"$ref": f"#/components/schemas/{name}"}

    def _rendered(self, kind: type) -> Schema:
        attrs.resolve_types(kind)
        types = {field.name: field for field in attrs.fields(kind)}
        properties = {}
        for shown in fields_of(kind):
            field = types[shown.name]
            properties[shown.wire_name] = _described(self.answer(field.type), field)
        return {
            "type": "object",
            **_documented(kind),
            "properties": properties,
            "required": [shown.wire_name for shown in fields_of(kind) if not shown.is_optional],
        }

    def _parsed(self, kind: type) -> Schema:
        attrs.resolve_types(kind)
        lenient = getattr(kind, "LENIENT", False)
        properties: dict[str, Schema] = {}
        needed: list[Schema] = []
        for field in attrs.fields(kind):
            names = spellings(field)
            is_needed = field.default is attrs.NOTHING
            accepts_null = not is_needed or bool(field.metadata.get("nullable"))
            schema = self.body(field.type)
            if _is_plain_text(schema) and not field.metadata.get("clip"):
                schema["maxLength"] = field.metadata.get("limit", 255)
            if accepts_null:
                schema = _nullable([schema], null=True)
            if lenient and not is_needed:
                schema = {"description": "dropped when malformed", "anyOf": [schema, {}]}
            for name in names:
                properties[name] = dict(schema) if name == names[0] else {**schema, "description": f"as {names[0]}"}
            if is_needed:
                needed.append({"anyOf": [{"required": [name]} for name in names]})
        made: Schema = {"type": "object", **_documented(kind), "properties": properties, "additionalProperties": True}
        return {**made, "allOf": needed} if needed else made


def _is_plain_text(schema: Schema) -> bool:
    return schema.get("type") in ("string", ["string", "null"]) and not schema.keys() & {"format", "enum"}


def _accepts_null(schema: Schema) -> bool:
    return "null" in schema.get("type", ()) or {"type": "null"} in schema.get("anyOf", ())


def _nullable(options: list[Schema], null: bool) -> Schema:
    if len(options) == 1:
        only = options[0]
        if not null or not only or _accepts_null(only):
            return only
        if isinstance(only.get("type"), str):
            return {
                **only,
                "type": [only["type"], "null"],
                **({"enum": [*only["enum"], None]} if "enum" in only else {}),
            }
    return {"anyOf": [*options, {"type": "null"}] if null else options}


def _documented(kind: type) -> Schema:
    """The class's first line, without the number it begins with."""
    first = (kind.__doc__ or "").strip().split("\n")[0]
    return {"description": first} if first and not first.startswith("Method generated") else {}


def _described(schema: Schema, field: "attrs.Attribute[Any]") -> Schema:
    words = {"description": field.metadata.get("doc"), "examples": _examples(field)}
    given = {name: value for name, value in words.items() if value}
    return {**schema, **given} if given else schema


def _examples(field: "attrs.Attribute[Any]") -> list[Any]:
    example = field.metadata.get("example")
    return [] if example is None else [example]


def query_schema(field: "attrs.Attribute[Any]") -> Schema:
    """The schema of a query parameter (``wire.asking``). A number beyond its range is clamped, so it has no bounds."""
    facts = field.metadata
    match facts["kind"]:
        case "whole":
            text = f"clamped to {facts['low']}…{facts['high']}"
            schema: Schema = {"type": "integer", "description": text}
        case "word":
            schema = {"type": "string", "enum": list(facts["choices"])}
        case "words":
            schema = {"type": "string", "description": "comma-separated: " + ", ".join(facts["choices"])}
        case "switch":
            schema = {"type": "boolean"}
        case _:
            schema = {"type": "string", "maxLength": facts["limit"]}
    default = field.default
    if default is not None and not isinstance(default, tuple):
        schema["default"] = default
    return schema
