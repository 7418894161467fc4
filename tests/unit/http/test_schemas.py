"""Schemas of what is parsed and rendered: each kind of field says exactly what is accepted or sent."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NewType

import pytest
from attrs import define, field, fields, frozen
from jsonschema_rs import Draft202012Validator

from spotadapters.http.app import SERVED
from spotadapters.http.openapi import document
from spotadapters.http.schemas import Schemas, query_schema
from spotadapters.wire import asking
from spotadapters.wire.answers import shown
from spotadapters.wire.parsing import parse, present, required, wire
from spotcore.errors import ValidationFailed

Word = NewType("Word", str)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@frozen
class Inner:
    """What stands inside."""

    value: int


def answer(kind: Any) -> dict[str, Any]:
    return Schemas().answer(kind)


KINDS: list[tuple[Any, dict[str, Any]]] = [
    (str, {"type": "string"}),
    (bool, {"type": "boolean"}),
    (int, {"type": "integer"}),
    (Decimal, {"type": "number"}),
    (float, {"type": "number"}),
    (datetime, {"type": "string", "format": "date-time"}),
    (Any, {}),
    (Word, {"type": "string"}),
    (str | None, {"type": ["string", "null"]}),
    (Decimal | None, {"type": ["number", "null"]}),
    (datetime | None, {"type": ["string", "null"], "format": "date-time"}),
    (Colour, {"type": "string", "enum": ["red", "blue"]}),
    (Colour | None, {"type": ["string", "null"], "enum": ["red", "blue", None]}),
    (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (tuple[str, ...] | None, {"type": ["array", "null"], "items": {"type": "string"}}),
    (Mapping[str, Any], {"type": "object", "additionalProperties": True}),
    (dict, {"type": "object", "additionalProperties": True}),
    (str | int, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
    (str | int | None, {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}),
    (Inner, {"$ref": "#/components/schemas/Inner"}),
    (Inner | None, {"anyOf": [{"$ref": "#/components/schemas/Inner"}, {"type": "null"}]}),
    (tuple[Inner, ...], {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}}),
    (Any | None, {}),
]


@pytest.mark.parametrize(("kind", "schema"), KINDS, ids=[str(kind) for kind, _ in KINDS])
def test_every_kind_of_value_has_its_schema(kind: Any, schema: dict[str, Any]) -> None:
    assert answer(kind) == schema


def test_an_answer_lists_wire_names_with_their_words_and_requires_all_but_optional_ones() -> None:
    @frozen
    class Shown:
        """A machine.

        Never seen: only the first line is for readers."""

        CAMEL = True
        agent_id: str
        hourly_cost: Decimal | None = shown(legacy=0, doc="$/h", example=0.5)
        other_name: int = shown("another-name", default=1)
        maybe: str | None = shown(default=None, optional=True)

    schemas = Schemas()
    assert schemas.answer(Shown) == {"$ref": "#/components/schemas/Shown"}
    assert schemas.components["Shown"] == {
        "type": "object", "description": "A machine.",
        "properties": {
            "agentId": {"type": "string"},
            "hourlyCost": {"type": ["number", "null"], "description": "$/h", "examples": [0.5]},
            "another-name": {"type": "integer"}, "maybe": {"type": ["string", "null"]},
        },
        "required": ["agentId", "hourlyCost", "another-name"],
    }  # fmt: skip


def test_a_class_that_holds_itself_ends() -> None:
    @define
    class Tree:
        children: "tuple[Any, ...]" = field(factory=tuple)

    fields(Tree).children.type  # noqa: B018
    schemas = Schemas()
    schemas.answer(Tree)
    assert schemas.components["Tree"]["properties"]["children"] == {"type": "array", "items": {}}


@frozen(kw_only=True)
class Body:
    """What is sent."""

    name: str = required("title", limit=10)
    at: datetime | None = wire()
    count: int = wire("number", default=3)
    note: str | None = wire(clip=True)
    key: str | None = present(limit=5)
    colours: tuple[str, ...] = wire(default=())


def body_schema() -> dict[str, Any]:
    schemas = Schemas()
    schemas.body(Body)
    return schemas.components["Body"]


def test_a_body_describes_every_spelling_its_limits_and_what_is_needed() -> None:
    assert body_schema() == {
        "type": "object", "description": "What is sent.", "additionalProperties": True,
        "properties": {
            "name": {"type": "string", "maxLength": 10},
            "title": {"type": "string", "maxLength": 10, "description": "as name"},
            "at": {"type": ["string", "null"], "format": "date-time"},
            "count": {"type": ["integer", "null"]}, "number": {"type": ["integer", "null"], "description": "as count"},
            "note": {"type": ["string", "null"]}, "key": {"type": ["string", "null"], "maxLength": 5},
            "colours": {"type": ["array", "null"], "items": {"type": "string"}},
        },
        "allOf": [{"anyOf": [{"required": ["name"]}, {"required": ["title"]}]}, {"anyOf": [{"required": ["key"]}]}],
    }  # fmt: skip


BODIES: list[tuple[dict[str, Any], bool]] = [
    ({"name": "a", "key": "k"}, True),
    ({"title": "a", "key": None}, True),
    ({"name": "a", "key": "k", "unknown": [1]}, True),
    ({"name": "a", "key": "k", "count": None, "note": "x" * 5_000, "colours": ["red"]}, True),
    ({"name": "a"}, False),
    ({"key": "k"}, False),
    ({"name": "x" * 11, "key": "k"}, False),
    ({"name": 5, "key": "k"}, False),
    ({"name": "a", "key": "k", "count": "3"}, False),
    ({"name": "a", "key": "k", "count": 1.5}, False),
    ({"name": "a", "key": "toolong"}, False),
    ({"name": "a", "key": "k", "colours": "red"}, False),
    ({"name": "a", "key": "k", "colours": [1]}, False),
    ({"name": "a", "key": "k", "at": 5}, False),
]


@pytest.mark.parametrize(("body", "fits"), BODIES)
def test_the_schema_accepts_what_the_parser_accepts(body: dict[str, Any], fits: bool) -> None:
    import json

    assert Draft202012Validator(body_schema()).is_valid(body) is fits
    if fits:
        parse(json.dumps(body).encode(), Body)
    else:
        with pytest.raises(ValidationFailed):
            parse(json.dumps(body).encode(), Body)


def test_a_lenient_body_says_that_a_malformed_detail_is_dropped_t17() -> None:
    @frozen(kw_only=True)
    class Notice:
        LENIENT = True
        kind: str = required()
        at: str | None = wire()

    schemas = Schemas()
    schemas.body(Notice)
    known = schemas.components["Notice"]["properties"]
    assert known["kind"] == {"type": "string", "maxLength": 255}
    assert known["at"]["description"] == "dropped when malformed"
    assert Draft202012Validator(schemas.components["Notice"]).is_valid({"kind": "x", "at": [{}]})


@frozen(kw_only=True)
class Asked:
    """A query."""

    limit: int = asking.whole(10, 1, 100)
    hours: int | None = asking.optional_whole(1, 5)
    status: str = asking.word("all", "all", "active")
    mode: str | None = asking.word(None, "spot")
    kinds: tuple[str, ...] = asking.words("a", "b")
    search: str | None = asking.text(limit=7)
    unread: bool = asking.switch()


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("limit", {"type": "integer", "description": "clamped to 1…100", "default": 10}),
        ("hours", {"type": "integer", "description": "clamped to 1…5"}),
        ("status", {"type": "string", "enum": ["all", "active"], "default": "all"}), ("mode", {"type": "string", "enum": ["spot"]}),
        ("kinds", {"type": "string", "description": "comma-separated: a, b"}), ("search", {"type": "string", "maxLength": 7}),
        ("unread", {"type": "boolean", "default": False}),
    ],
)  # fmt: skip
def test_a_query_parameter_says_its_default_and_that_numbers_are_clamped(name: str, schema: dict[str, Any]) -> None:
    assert query_schema(getattr(fields(Asked), name)) == schema


# ---- the document

DOCUMENT = document(SERVED, "9.9")
BY_NUMBER = {row.number: DOCUMENT["paths"][row.path][row.method.lower()] for row in reversed(SERVED)}


def test_the_document_says_which_api_and_version_it_is_about() -> None:
    info = DOCUMENT["info"]
    assert (info["title"], info["version"], DOCUMENT["openapi"]) == ("spotcore", "9.9", "3.1.0")
    assert "\n" not in info["description"]
    assert list(DOCUMENT["paths"]) == sorted(DOCUMENT["paths"])


@pytest.mark.parametrize(
    ("number", "schemes"),
    [
        ("E01", []), ("E100", []), ("E03", ["adminToken", "session"]), ("E14", ["clientToken", "session"]),
        ("E29", ["clientToken", "adminToken", "session"]), ("E102", ["session"]),
    ],
)  # fmt: skip
def test_who_may_call_is_the_table_of_2_2(number: str, schemes: list[str]) -> None:
    assert [name for one in BY_NUMBER[number]["security"] for name in one] == schemes


@pytest.mark.parametrize(
    ("number", "media"),
    [
        ("E84", "text/csv"),
        ("E85", "text/csv"),
        ("E86", "text/csv"),
        ("E90", "text/event-stream"),
        ("metrics", "text/plain"),
        ("E03", "application/json"),
    ],
)
def test_what_comes_back_has_its_media_type(number: str, media: str) -> None:
    assert list(BY_NUMBER[number]["responses"]["200"]["content"]) == [media]


@pytest.mark.parametrize("number", ["E10", "E45", "E83", "E38"])
def test_what_makes_something_answers_201_c49(number: str) -> None:
    assert "201" in BY_NUMBER[number]["responses"]


@pytest.mark.parametrize("number", ["E10", "E12", "E34", "E38", "E39", "E45", "E46", "E47", "E61", "E83", "E96"])
def test_what_takes_a_key_says_so_and_what_may_come_of_it_2_5(number: str) -> None:
    operation = BY_NUMBER[number]
    (key,) = [one for one in operation["parameters"] if one["in"] == "header"]
    assert (key["name"], key["required"], key["schema"]["maxLength"]) == ("X-Request-ID", False, 128)
    assert "DUPLICATE_REQUEST" in operation["responses"]["409"]["description"]
    assert "IDEMPOTENCY_KEY_REUSED" in operation["responses"]["422"]["description"]


def test_what_takes_no_key_says_nothing_of_one_t05() -> None:
    without = [one for number, one in BY_NUMBER.items() if number in ("E17", "E51", "E52", "E56", "E74", "E75")]
    assert len(without) == 6
    assert not [one for operation in without for one in operation["parameters"] if one["in"] == "header"]


@pytest.mark.parametrize(
    ("number", "needed"), [("E10", True), ("E12", False), ("E39", False), ("E96", True), ("E100", True)]
)
def test_a_body_is_required_where_a_field_of_it_is_t37(number: str, needed: bool) -> None:
    assert BY_NUMBER[number]["requestBody"]["required"] is needed


@pytest.mark.parametrize("number", ["E63", "E64"])
def test_uploads_are_multipart_with_files(number: str) -> None:
    content = BY_NUMBER[number]["requestBody"]["content"]
    assert list(content) == ["multipart/form-data"]
    schema = content["multipart/form-data"]["schema"]
    assert schema["required"] == ["files"]
    assert schema["properties"]["files"]["items"] == {"type": "string", "format": "binary"}


@pytest.mark.parametrize(
    ("number", "keys"),
    [("E14", {"valid", "client_id", "name"}), ("E68", {"agent_id", "statistics"}), ("E80", {"history", "data_points"})],
)
def test_a_mirrored_answer_describes_its_keys_at_the_top_too_1_2(number: str, keys: set[str]) -> None:
    schema = BY_NUMBER[number]["responses"]["200"]["content"]["application/json"]["schema"]
    assert keys <= set(schema["properties"])
    assert schema["properties"]["status"] == {"const": "success"}


def test_an_answer_that_is_not_mirrored_has_the_envelope_alone() -> None:
    schema = BY_NUMBER["E03"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"status", "data", "error", "message"}
    assert schema["required"] == ["status", "data", "error"]
