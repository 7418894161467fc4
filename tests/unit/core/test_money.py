"""GR-6: hourly prices with six decimals, ledger amounts with eight, half-even, and never a float."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.money import MAX_HOURLY_PRICE, amount, hourly_price
from tests.support.rule_builders import D


@pytest.mark.parametrize(
    ("value", "price"),
    [
        ("0.0104004", "0.010400"),
        ("0.0000015", "0.000002"),  # half to even: up
        ("0.0000025", "0.000002"),  # half to even: down
        ("0.00000250001", "0.000003"),
        ("0.0000005", None),  # rounds to 0 (P3)
        ("0.00000050001", "0.000001"),
        ("999.9999999", "1000.000000"),
        ("1000", "1000.000000"),
        ("1000.0000001", None),  # the bound is checked before rounding (P3)
        ("0", None),
        ("-0", None),
        ("-1", None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
        ("-Infinity", None),
    ],
)
def test_gr6_z33_an_hourly_price_has_six_decimals_half_even_and_lies_above_0_up_to_1000(
    value: str, price: str | None
) -> None:
    assert hourly_price(D(value)) == (D(price) if price else None)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("0.123456785", "0.12345678"),
        ("0.123456775", "0.12345678"),
        ("-0.123456785", "-0.12345678"),
        ("1", "1.00000000"),
        ("0.000000005", "0.00000000"),
        ("0.000000015", "0.00000002"),
    ],
)
def test_gr6_an_amount_has_eight_decimals_half_even(value: str, kept: str) -> None:
    assert amount(D(value)) == D(kept)


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_dq2_whatever_the_number_a_price_is_in_range_and_its_own_price_or_nothing(value: Decimal) -> None:
    price = hourly_price(value)
    if price is None:
        return
    assert 0 < price <= MAX_HOURLY_PRICE
    assert price.as_tuple().exponent == -6
    assert abs(price - value) <= D("0.0000005")
    assert hourly_price(price) == price


@given(st.lists(st.decimals("-1000", "1000", places=8), max_size=20))
def test_gr6_amounts_add_up_exactly(values: list[Decimal]) -> None:
    assert amount(sum(map(amount, values), D(0))) == sum(values, D(0))
