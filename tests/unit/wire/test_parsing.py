"""Bodies in: strict, exact, and forgiving only where the contract says so (http-api 1.3, style 6)."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire.parsing import (
    MAX_DEPTH,
    OUT_OF_RANGE,
    cleaned,
    decode,
    parse,
    required,
    shaped,
    wire,
)
from spotcore.errors import ValidationFailed


@frozen(kw_only=True)
class Place:
    zone: str = required("az", limit=16)
    weight: int | None = wire()


@frozen(kw_only=True)
class Order:
    name: str = required("title", limit=8)
    note: str | None = wire(limit=8, clip=True)
    price: Decimal | None = wire("cost")
    count: int | None = wire()
    urgent: bool = wire("is_urgent", default=False)
    at: datetime | None = wire("when", inside="timing")
    place: Place | None = wire()
    places: tuple[Place, ...] = wire(default=())
    zones: tuple[str, ...] = wire(default=())
    tags: Mapping[str, Any] | None = wire()


@frozen(kw_only=True)
class Notice:
    LENIENT = True
    machine: str = required("instance_id")
    at: datetime | None = wire()
    zones: tuple[str, ...] = wire(default=())
    count: int | None = wire()


def problems(data: Mapping[str, Any], cls: type = Order) -> Mapping[str, Any]:
    with pytest.raises(ValidationFailed) as refused:
        shaped(data, cls)
    return refused.value.details


def order(**fields: Any) -> Order:
    return shaped({"name": "a", **fields}, Order)


# ---- objects and fields


@pytest.mark.parametrize("body", [b"", b"  \r\n"])
def test_an_empty_body_is_no_body_and_never_an_error_t37(body: bytes) -> None:
    assert decode(body) == {}


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"1", b"true"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationFailed) as refused:
        decode(body)
    assert refused.value.details == {"body": ["send one JSON object"]}


@pytest.mark.parametrize(
    "body", [b"{", b'{"a":1}x', b"{'a':1}", b"\xff\xfe{", b'{"a":"\xed\xa0\x80"}', b'{"a":"\x01"}']
)
def test_what_is_not_json_in_utf_8_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationFailed):
        decode(body)


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity"])
def test_nan_and_infinity_are_not_json(word: bytes) -> None:
    with pytest.raises(ValidationFailed):
        decode(b'{"a":' + word + b"}")


def test_a_byte_order_mark_does_no_harm() -> None:
    assert decode(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize("levels", [MAX_DEPTH, 1_000, 100_000])
@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused_and_never_a_recursion_error(levels: int, pair: tuple[bytes, bytes]) -> None:
    opening, closing = pair
    with pytest.raises(ValidationFailed):
        decode(b'{"a":' + opening * levels + b"1" + closing * levels + b"}")


def test_nesting_up_to_the_limit_is_fine() -> None:
    decode(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}")


def test_unknown_fields_are_ignored_t06() -> None:
    assert order(health_metrics={"cpu": 1}, note="x") == Order(name="a", note="x")


def test_explicit_null_means_absent_t06() -> None:
    assert order(note=None, urgent=None, zones=None, place=None) == Order(name="a")


def test_a_missing_required_field_is_named() -> None:
    assert problems({}) == {"name": ["required"]}


def test_null_in_a_required_field_is_missing() -> None:
    assert problems({"name": None}) == {"name": ["required"]}


def test_every_problem_is_told_at_once_by_the_canonical_name() -> None:
    found = problems({"title": 5, "cost": "1", "is_urgent": "yes", "when": "soon"})
    assert set(found) == {"name", "price", "urgent", "at"}
    assert all(isinstance(texts, list) and texts for texts in found.values())


def test_the_message_names_the_fields_and_repeats_no_value() -> None:
    with pytest.raises(ValidationFailed) as refused:
        shaped({"name": "a", "price": "secret-value"}, Order)
    assert "price" in refused.value.message
    assert "secret-value" not in refused.value.message + str(refused.value.details)


# ---- aliases


def test_an_alias_fills_the_field() -> None:
    assert shaped({"title": "a", "cost": 1}, Order) == Order(name="a", price=Decimal(1))


def test_the_canonical_spelling_wins_over_its_alias() -> None:
    assert shaped({"title": "b", "name": "a"}, Order).name == "a"


def test_a_null_canonical_spelling_leaves_the_alias_its_say() -> None:
    assert shaped({"name": None, "title": "b"}, Order).name == "b"


def test_a_field_may_stand_inside_a_named_object_as_well() -> None:
    inner = {"timing": {"when": "2025-01-20T10:45:00Z"}}
    assert order(**inner).at == datetime(2025, 1, 20, 10, 45, tzinfo=UTC)


def test_the_top_level_wins_over_the_named_object() -> None:
    both = {"at": "2025-01-01T00:00:00Z", "timing": {"at": "2026-01-01T00:00:00Z"}}
    assert order(**both).at == datetime(2025, 1, 1, tzinfo=UTC)


# ---- texts


@pytest.mark.parametrize("value", [1, True, [], {}, 1.5])
def test_nothing_but_a_text_is_a_text(value: Any) -> None:
    assert "name" in problems({"name": value})


@pytest.mark.parametrize("mark", ["\x00", "\x07", "\n", "\x1b", "\x7f", "\x85", "\x9b"])
def test_control_characters_are_stripped_s26(mark: str) -> None:
    assert shaped({"name": f"a{mark}b"}, Order).name == "ab"


def test_blanks_around_a_text_go() -> None:
    assert shaped({"name": "  a b "}, Order).name == "a b"


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse(b'{"name":"\\ud800"}', Order)
    assert refused.value.details == {"name": ["not valid Unicode"]}


def test_letters_of_any_language_stay() -> None:
    assert parse('{"name":"žluťák"}'.encode(), Order).name == "žluťák"
    assert parse(b'{"name":"\\ud83d\\ude00"}', Order).name == "😀"


def test_a_text_over_the_limit_is_refused_and_one_that_is_only_shown_is_cut() -> None:
    assert problems({"name": "x" * 9}) == {"name": ["longer than 8 characters"]}
    assert order(note="x" * 9).note == "x" * 8


# ---- numbers


@pytest.mark.parametrize("digits", ["0.0456", "1e-7", "0.1", "12345678.12345678", "-3", "100"])
def test_numbers_never_pass_through_float(digits: str) -> None:
    assert parse(f'{{"name":"a","price":{digits}}}'.encode(), Order).price == Decimal(digits)


@pytest.mark.parametrize("value", ["0.05", "", True, False, [], {}])
def test_no_text_and_no_boolean_is_a_number(value: Any) -> None:
    assert "price" in problems({"name": "a", "price": value})


@pytest.mark.parametrize(
    "digits", ["9" * 41, "1e41", "1e999999999", "-1e999999999", "1e99999999999999999999", "9" * 19]
)
def test_a_number_beyond_all_range_is_refused_where_it_is_read(digits: str) -> None:
    started = time.monotonic()
    for name in ("price", "count"):
        with pytest.raises(ValidationFailed) as refused:
            parse(f'{{"name":"a","{name}":{digits}}}'.encode(), Order)
        assert refused.value.details == {name: ["the number is too large"]}
    assert time.monotonic() - started < 1  # 1e999999999 written out would fill the memory


@pytest.mark.parametrize("digits", ["9" * 41, "1e999999999", "1e99999999999999999999", "9" * 100_000])
def test_a_number_beyond_all_range_is_ignored_where_nobody_reads_it_t06(digits: str) -> None:
    assert parse(f'{{"name":"a","uptime":{digits}}}'.encode(), Order) == Order(name="a")
    assert abs(decode(f'{{"uptime":{digits}}}'.encode())["uptime"]) == OUT_OF_RANGE


def test_a_number_too_small_to_store_is_zero() -> None:
    assert parse(b'{"name":"a","price":1e-999999}', Order).price == 0


def test_a_long_fraction_is_kept_to_40_digits() -> None:
    digits = "0.1000000000000000055511151231257827021181583404541015625"
    price = parse(f'{{"name":"a","price":{digits}}}'.encode(), Order).price
    assert price is not None
    assert abs(price - Decimal(digits)) < Decimal("1e-40")


@pytest.mark.parametrize(
    ("value", "count"), [(7, 7), (Decimal("7.0"), 7), (Decimal("7E+2"), 700), (-1, -1), (10**18, 10**18)]
)
def test_a_whole_number_may_be_written_with_a_point(value: Any, count: int) -> None:
    assert order(count=value).count == count


def test_a_fraction_is_no_whole_number() -> None:
    assert problems({"name": "a", "count": Decimal("7.5")}) == {"count": ["expected a whole number"]}


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=1_000, places=6))
def test_every_price_is_read_back_exactly(price: Decimal) -> None:
    assert parse(f'{{"name":"a","price":{price:f}}}'.encode(), Order).price == price


# ---- booleans


@pytest.mark.parametrize(("value", "meant"), [(True, True), (False, False), (1, True), (0, False)])
def test_a_boolean_is_true_false_0_or_1(value: Any, meant: bool) -> None:
    assert order(urgent=value).urgent is meant


@pytest.mark.parametrize("value", ["true", "false", "", 2, -1, Decimal("1.0"), []])
def test_nothing_else_is_taken_for_a_boolean(value: Any) -> None:
    assert problems({"name": "a", "urgent": value}) == {"urgent": ["expected true or false"]}


# ---- instants


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-20T10:45:00Z",
        "2025-01-20T10:45:00",  # v5: no offset is UTC, never local time (T24)
        "2025-01-20 10:45:00",
        "2025-01-20T10:45:00+00:00",
        "2025-01-20T12:45:00+02:00",
        "2025-01-20T05:15:00-05:30",
    ],
)
def test_each_spelling_of_an_instant_is_the_same_utc_moment_t24(text: str) -> None:
    at = order(at=text).at
    assert at == datetime(2025, 1, 20, 10, 45, tzinfo=UTC)
    assert at is not None
    assert at.tzinfo is UTC


def test_fractions_of_a_second_are_kept() -> None:
    assert order(at="2025-01-20T10:45:00.123456+00:00").at == datetime(2025, 1, 20, 10, 45, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", ["", "soon", "2025-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", 1737369900, "9" * 70]
)
def test_nonsense_is_no_instant(value: Any) -> None:
    assert "at" in problems({"name": "a", "at": value})


def test_the_last_moment_in_the_west_is_refused_and_does_not_overflow() -> None:
    assert "at" in problems({"name": "a", "at": "9999-12-31T23:59:59-12:00"})


# ---- nested shapes


def test_a_problem_inside_an_object_is_named_by_its_path() -> None:
    assert problems({"name": "a", "place": {"weight": "x"}}) == {
        "place.zone": ["required"],
        "place.weight": ["expected a number"],
    }


def test_lists_and_objects_become_values() -> None:
    found = order(places=[{"az": "a"}, {"zone": "b", "weight": 2}], zones=["x"])
    assert found.places == (Place(zone="a"), Place(zone="b", weight=2))
    assert found.zones == ("x",)


@pytest.mark.parametrize("value", [{}, "a", 1])
def test_a_list_is_nothing_but_a_list(value: Any) -> None:
    assert problems({"name": "a", "zones": value}) == {"zones": ["expected a list"]}


def test_an_object_is_nothing_but_an_object() -> None:
    assert "place" in problems({"name": "a", "place": []})
    assert "tags" in problems({"name": "a", "tags": []})


# ---- what nobody checks


def test_texts_that_nobody_checks_hold_nothing_a_store_cannot_take() -> None:
    tags = parse(b'{"name":"a","tags":{"k\\u0000":["\\u0000v\\u001b","\\ud800",1,null]}}', Order).tags
    assert tags == {"k": ["v", "?", 1, None]}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_cleaning_changes_no_shape_and_is_done_once(value: Any) -> None:
    once = cleaned(value)
    assert type(once) is type(value)
    assert cleaned(once) == once


# ---- lenience


def test_a_malformed_detail_never_stops_a_notice_t17() -> None:
    given_ = {"machine": "i-1", "at": "soon", "zones": [1], "count": Decimal("Infinity")}
    assert shaped(given_, Notice) == Notice(machine="i-1")


def test_what_a_notice_cannot_do_without_is_still_required() -> None:
    assert problems({"at": "soon"}, Notice) == {"machine": ["required"]}
    assert problems({"instance_id": 5}, Notice) == {"machine": ["expected a text"]}


@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda text: f'{{"name":{text}}}'.encode()))
def test_no_body_escapes_as_anything_but_a_refusal(body: bytes) -> None:
    for cls in (Order, Notice):
        try:
            parse(body, cls)
        except ValidationFailed as refused:
            assert refused.details
