"""Answers out: exact numbers, UTC with ``Z``, nothing that is not JSON (http-api 1.3)."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire.rendering import encode, stamp
from spotcore.pools import Mode


class Colour(Enum):
    RED = "red"


def test_a_time_is_iso_8601_in_utc_with_z() -> None:
    assert stamp(datetime(2025, 1, 20, 10, 45, tzinfo=UTC)) == "2025-01-20T10:45:00Z"


def test_a_time_of_another_zone_is_turned_into_utc() -> None:
    assert stamp(datetime(2025, 1, 20, 12, 45, tzinfo=timezone(timedelta(hours=2)))) == "2025-01-20T10:45:00Z"


def test_milliseconds_show_only_when_there_are_any() -> None:
    assert stamp(datetime(2025, 1, 20, 10, 45, 0, 250_999, tzinfo=UTC)) == "2025-01-20T10:45:00.250Z"


def test_an_unknown_time_is_null() -> None:
    assert stamp(None) is None
    assert encode({"at": None}) == b'{"at":null}'


@pytest.mark.parametrize(
    ("price", "text"),
    [
        ("0.0456", "0.0456"),
        ("0.1", "0.1"),
        ("0.3", "0.3"),
        ("15.0", "15"),
        ("0.000001", "1e-06"),
        ("1000", "1000"),
        ("-0.05", "-0.05"),
        ("0", "0"),
        ("0E-8", "0"),
        ("1E+3", "1000"),
        ("12345.12345678", "12345.12345678"),
    ],
)
def test_money_is_a_json_number_without_artefacts(price: str, text: str) -> None:
    assert encode(Decimal(price)) == text.encode()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=1_000, places=6))
def test_every_hourly_price_reads_back_as_itself(price: Decimal) -> None:
    assert json.loads(encode(price), parse_float=Decimal, parse_int=Decimal) == price


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=8))
def test_every_total_up_to_a_million_dollars_reads_back_as_itself(total: Decimal) -> None:
    assert json.loads(encode(total), parse_float=Decimal, parse_int=Decimal) == total


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), float("nan"), float("inf")])
def test_what_json_cannot_say_is_a_defect_and_not_sent(value: Any) -> None:
    with pytest.raises((ValueError, OverflowError)):
        encode({"price": value})


def test_enums_are_their_words() -> None:
    assert encode([Mode.SPOT, Colour.RED]) == b'["spot","red"]'


def test_tuples_and_sets_are_lists() -> None:
    assert encode({"a": (1, 2), "b": frozenset({3})}) == b'{"a":[1,2],"b":[3]}'


def test_letters_of_any_language_are_utf_8() -> None:
    assert encode({"name": "žluťák"}) == '{"name":"žluťák"}'.encode()


def test_anything_else_has_no_place_in_json() -> None:
    with pytest.raises(TypeError, match="object has no place in JSON"):
        encode({"a": object()})
