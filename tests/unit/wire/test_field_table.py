"""Every kind of field against every kind of value: what is taken, and in which words the rest is refused (1.3, T06)."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire.parsing import MAX_DEPTH, MAX_NUMBER, MAX_TEXT, parse, present, required, shaped, spellings, wire
from spotadapters.wire.rendering import encode, stamp
from spotcore.errors import ValidationFailed


@frozen(kw_only=True)
class Leaf:
    size: int | None = wire("length")
    zone: str = required("az")


@frozen(kw_only=True)
class Every:
    text: str | None = wire("words", limit=8)
    cut: str | None = wire(limit=8, clip=True)
    flag: bool | None = wire("is_flag")
    count: int | None = wire("number")
    price: Decimal | None = wire("cost")
    at: datetime | None = wire("when")
    leaf: Leaf | None = wire("one")
    leaves: tuple[Leaf, ...] | None = wire("many")
    names: tuple[str, ...] | None = wire("list")
    object: Mapping[str, Any] | None = wire("map")
    anything: Any = wire("free")


@frozen(kw_only=True)
class Lenient(Every):
    LENIENT = True


TEXT, FLAG, NUMBER, WHOLE = "expected a text", "expected true or false", "expected a number", "expected a whole number"
TIME, LIST, OBJECT, LARGE = (
    "expected an ISO 8601 time, e.g. 2025-01-20T10:45:00Z",
    "expected a list",
    "expected an object",
    "the number is too large",
)
VALUES: dict[str, str] = {
    # name: JSON
    "true": "true", "false": "false", "zero": "0", "one": "1", "two": "2", "minus": "-1", "fraction": "1.5", "whole fraction": "2.0",
    "huge": "1e400", "text": '"x"', "digits": '"7"', "empty": '""', "blank": '"  "', "long": '"xxxxxxxxx"', "word": '"true"',
    "time": '"2025-01-20T10:45:00Z"', "half a pair": '"\\ud800"', "list": "[]", "list of texts": '["a"]', "list of numbers": "[1]",
    "list of null": "[null]", "object": "{}", "leaf": '{"zone": "a"}', "list of leaves": '[{"zone": "a"}]', "list of lists": "[[]]",
}  # fmt: skip
AT = datetime(2025, 1, 20, 10, 45, tzinfo=UTC)
EXPECTED: dict[str, dict[str, Any]] = {
    # field: value → what is read; everything else is refused with the words under ""
    "text": {"": TEXT, "text": "x", "digits": "7", "empty": "", "blank": "", "word": "true", "long": ("longer than 8 characters",), "time": ("longer than 8 characters",), "half a pair": ("not valid Unicode",)},
    "cut": {"": TEXT, "text": "x", "digits": "7", "empty": "", "blank": "", "word": "true", "long": "xxxxxxxx", "time": "2025-01-", "half a pair": ("not valid Unicode",)},
    "flag": {"": FLAG, "true": True, "false": False, "zero": False, "one": True},
    "count": {"": NUMBER, "zero": 0, "one": 1, "two": 2, "minus": -1, "whole fraction": 2, "fraction": (WHOLE,), "huge": (LARGE,)},
    "price": {"": NUMBER, "zero": Decimal(0), "one": Decimal(1), "two": Decimal(2), "minus": Decimal(-1), "fraction": Decimal("1.5"), "whole fraction": Decimal(2), "huge": (LARGE,)},
    "at": {"": TIME, "time": AT},
    "leaf": {"": OBJECT, "object": {"leaf.zone": ["required"]}, "leaf": Leaf(zone="a")},
    "leaves": {"": LIST, "list": (), "list of leaves": [Leaf(zone="a")], "list of texts": (OBJECT,), "list of numbers": (OBJECT,), "list of null": (OBJECT,), "list of lists": (OBJECT,)},
    "names": {"": LIST, "list": (), "list of texts": ["a"], "list of numbers": (TEXT,), "list of null": (TEXT,), "list of lists": (TEXT,), "list of leaves": (TEXT,)},
    "object": {"": OBJECT, "object": {}, "leaf": {"zone": "a"}},
}  # fmt: skip
CASES = [(field, value) for field in EXPECTED for value in VALUES]


def body(field: str, value: str) -> bytes:
    return f'{{"{field}": {VALUES[value]}}}'.encode()


def refused(sent: bytes, cls: type = Every) -> Mapping[str, Any]:
    with pytest.raises(ValidationFailed) as refusal:
        parse(sent, cls)
    return refusal.value.details


@pytest.mark.parametrize(("field", "value"), CASES, ids=[f"{field}-{value}" for field, value in CASES])
def test_a_field_takes_its_kind_and_refuses_every_other_by_name(field: str, value: str) -> None:
    expected = EXPECTED[field].get(value, (EXPECTED[field][""],))
    if field == "leaf" and value == "object":
        assert refused(body(field, value)) == expected
        return
    is_refusal = isinstance(expected, tuple) and len(expected) == 1
    if is_refusal:
        assert refused(body(field, value)) == {field: list(expected)}
        return
    read = getattr(parse(body(field, value), Every), field)
    assert read == (tuple(expected) if isinstance(expected, list) else expected)
    assert type(read) is not float


@pytest.mark.parametrize(("field", "value"), CASES, ids=[f"{field}-{value}" for field, value in CASES])
def test_a_lenient_class_reads_the_same_and_drops_the_rest_t17(field: str, value: str) -> None:
    strict: Every | None
    try:
        strict = parse(body(field, value), Every)
    except ValidationFailed:
        strict = None
    lenient = parse(body(field, value), Lenient)
    assert getattr(lenient, field) == (getattr(strict, field) if strict is not None else None)


FIELDS = attrs.fields(Every)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_null_is_the_same_as_absent_under_every_spelling_t06(field: "attrs.Attribute[Any]") -> None:
    for name in spellings(field):
        assert parse(json.dumps({name: None}).encode(), Every) == Every()


@pytest.mark.parametrize("field", [one for one in FIELDS if one.metadata["aliases"]], ids=lambda field: field.name)
def test_an_alias_is_read_as_the_field_and_its_refusal_names_the_field(field: "attrs.Attribute[Any]") -> None:
    (alias,) = field.metadata["aliases"]
    for value in VALUES:
        by_name: tuple[Any, Any] = outcome(field.name, value)
        by_alias: tuple[Any, Any] = outcome(alias, value)
        assert by_name == by_alias


def outcome(name: str, value: str) -> tuple[Any, Any]:
    try:
        return parse(body(name, value), Every), None
    except ValidationFailed as refusal:
        return None, (refusal.message, dict(refusal.details))


def test_everything_that_is_wrong_is_told_at_once_in_alphabetical_order() -> None:
    with pytest.raises(ValidationFailed) as refusal:
        parse(b'{"text": 1, "flag": "x", "at": 7, "leaf": {"size": "x"}, "names": {}}', Every)
    assert refusal.value.message == "invalid or missing: at, flag, leaf.size, leaf.zone, names, text"
    assert refusal.value.details == {
        "text": [TEXT], "flag": [FLAG], "at": [TIME], "leaf.size": [NUMBER], "leaf.zone": ["required"], "names": [LIST],
    }  # fmt: skip


# ---- keys whose null is an answer


@frozen(kw_only=True)
class Told:
    machine: str | None = present("instance_id")


def test_a_key_that_must_be_there_may_be_null_but_not_absent() -> None:
    assert parse(b'{"machine": null}', Told).machine is None
    assert parse(b'{"instance_id": null}', Told).machine is None
    assert parse(b'{"instance_id": "i-0"}', Told).machine == "i-0"
    assert refused(b"{}", Told) == {"machine": ["required"]}
    assert refused(b'{"machine": 5}', Told) == {"machine": [TEXT]}


# ---- limits


def test_a_text_without_a_limit_of_its_own_holds_255_characters() -> None:
    assert len(parse(json.dumps({"zone": "x" * MAX_TEXT}).encode(), Leaf).zone) == 255
    assert refused(json.dumps({"zone": "x" * (MAX_TEXT + 1)}).encode(), Leaf) == {
        "zone": ["longer than 255 characters"]
    }


def test_a_limit_counts_letters_after_controls_and_blanks_are_gone() -> None:
    assert parse('{"text": "  \\u0000žluťák12\\n  "}'.encode(), Every).text == "žluťák12"
    assert parse('{"text": "😀😀😀😀😀😀😀😀"}'.encode(), Every).text == "😀" * 8


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_end_at_18_digits_on_both_sides(sign: int) -> None:
    assert parse(f'{{"count": {sign * MAX_NUMBER}}}'.encode(), Every).count == sign * 10**18
    assert refused(f'{{"count": {sign * (MAX_NUMBER + 1)}}}'.encode()) == {"count": [LARGE]}
    assert refused(f'{{"price": {sign * MAX_NUMBER}.1}}'.encode()) == {"price": [LARGE]}


def test_minus_zero_is_zero() -> None:
    assert parse(b'{"count": -0, "price": -0.0}', Every) == Every(count=0, price=Decimal(0))


def test_what_lies_too_deep_is_refused_wherever_it_stands() -> None:
    for field in ("anything", "object", "nobody_reads_this"):
        deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
        assert refused(f'{{"{field}": {deep}}}'.encode()) == {"body": [f"use at most {MAX_DEPTH} levels"]}


def test_the_last_of_two_equal_keys_counts() -> None:
    assert parse(b'{"count": 1, "count": 2}', Every).count == 2


# ---- round trips: what we render is what we read

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8).map(str.strip)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=6)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
LEAVES = st.builds(Leaf, size=st.none() | st.integers(-(10**15), 10**15), zone=TEXTS)
EVERY = st.builds(
    Every, text=st.none() | TEXTS, flag=st.none() | st.booleans(), count=st.none() | st.integers(-(10**15), 10**15),
    price=st.none() | NUMBERS, leaf=st.none() | LEAVES, leaves=st.none() | st.lists(LEAVES, max_size=3).map(tuple),
    names=st.none() | st.lists(TEXTS, max_size=3).map(tuple),
)  # fmt: skip


@given(EVERY)
def test_what_is_rendered_reads_back_as_itself(value: Every) -> None:
    assert parse(encode(value), Every) == value
    assert parse(encode(value, escaped=True), Every) == value


@given(TIMES)
def test_a_time_reads_back_to_its_millisecond(at: datetime) -> None:
    read = parse(json.dumps({"at": stamp(at)}).encode(), Every).at
    assert read == at.replace(microsecond=at.microsecond // 1000 * 1000)


@given(TIMES, st.integers(-14 * 60, 14 * 60))
def test_a_time_with_any_offset_is_the_same_instant_t24(at: datetime, minutes: int) -> None:
    moved = at.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse(json.dumps({"at": moved.isoformat()}).encode(), Every).at == at
    assert parse(json.dumps({"at": at.isoformat(" ").replace("+00:00", "")}).encode(), Every).at == at


@given(
    st.dictionaries(
        st.sampled_from([name for field in FIELDS for name in spellings(field)] + ["strange"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=9)
        | st.lists(st.none() | st.text(max_size=3), max_size=2),
    )
)
def test_any_object_is_read_or_refused_by_the_names_of_fields(data: dict[str, Any]) -> None:
    names = {field.name for field in FIELDS}
    try:
        read = shaped(data, Every)
    except ValidationFailed as refusal:
        assert {name.partition(".")[0] for name in refusal.details} <= names
        assert all(texts and all(isinstance(text, str) for text in texts) for texts in refusal.details.values())
    else:
        assert isinstance(read, Every)
    assert isinstance(shaped(data, Lenient), Lenient)
