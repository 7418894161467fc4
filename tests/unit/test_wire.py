"""The edge: strict parsing, exact rendering."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire.parsing import parse, required, wire
from spotadapters.wire.rendering import encode, stamp
from spotcore.errors import ValidationFailed


@frozen(kw_only=True)
class Inner:
    size: int | None = wire("length")


@frozen(kw_only=True)
class Strict:
    name: str = required("title", limit=8)
    flag: bool | None = wire()
    price: Decimal | None = wire("cost")
    count: int | None = wire()
    at: datetime | None = wire()
    words: tuple[str, ...] = wire(default=())
    inner: Inner | None = wire()


@frozen(kw_only=True)
class Lenient:
    LENIENT = True
    name: str = required()
    count: int | None = wire()


def test_t06_unknown_fields_null_and_aliases() -> None:
    body = b'{"title": "a", "name": null, "flag": 1, "cost": 0.1, "strange": {}, "at": null, "inner": {"length": 3}}'
    read = parse(body, Strict)
    assert read == Strict(name="a", flag=True, price=Decimal("0.1"), inner=Inner(size=3))


def test_the_canonical_spelling_wins() -> None:
    assert parse(b'{"title": "x", "name": "y"}', Strict).name == "y"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"{",
        b"\xff{}",
        b'{"name": NaN}',
        b'{"name": "a", "count": 1e400000}',
        b"[" * 100_000,
        b'{"name":"a","count":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_json_object_is_a_validation_error(body: bytes) -> None:
    with pytest.raises(ValidationFailed):
        parse(body, Strict)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"), ({"name": 7}, "name"), ({"name": "longer than eight"}, "name"), ({"name": "a", "flag": "true"}, "flag"),
        ({"name": "a", "flag": 2}, "flag"), ({"name": "a", "price": "0.1"}, "price"), ({"name": "a", "count": 1.5}, "count"),
        ({"name": "a", "at": "yesterday"}, "at"), ({"name": "a", "words": "x"}, "words"), ({"name": "a", "words": [1]}, "words"),
        ({"name": "a", "inner": []}, "inner"), ({"name": "a", "inner": {"size": "x"}}, "inner.size"), ({"name": "a", "count": True}, "count"),
    ],
)  # fmt: skip
def test_nothing_is_guessed_and_the_field_is_named(body: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        parse(json.dumps(body).encode(), Strict)
    assert list(refusal.value.details) == [field]


def test_a_lenient_class_drops_a_bad_detail_and_keeps_what_it_needs_t17() -> None:
    assert parse(b'{"name": "a", "count": "x"}', Lenient) == Lenient(name="a")
    with pytest.raises(ValidationFailed):
        parse(b'{"count": 1}', Lenient)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T12:00:00Z",
        "2026-03-02T12:00:00+00:00",
        "2026-03-02T14:00:00+02:00",
        "2026-03-02T12:00:00",
        "2026-03-02 12:00:00",
    ],
)
def test_every_spelling_of_a_time_is_the_same_instant_t24(text: str) -> None:
    assert parse(json.dumps({"name": "a", "at": text}).encode(), Strict).at == datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_control_characters_are_stripped_s26() -> None:
    assert parse(b'{"name": "a\\u0000b\\u001b"}', Strict).name == "ab"
    with pytest.raises(ValidationFailed):
        parse(b'{"name": "\\ud800"}', Strict)


@given(st.decimals(min_value=0, max_value=1000, places=6))
def test_money_goes_out_as_the_same_number(value: Decimal) -> None:
    assert json.loads(encode({"p": value}), parse_float=Decimal, parse_int=Decimal)["p"] == value


def test_times_go_out_in_utc_with_z() -> None:
    assert stamp(datetime(2025, 1, 20, 10, 45, tzinfo=UTC)) == "2025-01-20T10:45:00Z"
    assert stamp(None) is None
