"""Figures for people about pools and switches: computed or unknown, never constants (S27)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.volatility import (
    SwitchAdvice,
    VolatilityClass,
    deviation,
    interruption_probability,
    interruption_rate,
    stability,
    switch_figures,
    variation,
    volatility,
)

PRICES = st.lists(st.decimals("0.0001", "100", places=4), min_size=1, max_size=40)


def spread(percent: str) -> list[Decimal]:
    """Two prices around 1 with that coefficient of variation."""
    return [1 - Decimal(percent), 1 + Decimal(percent)]


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ([], "unknown"), ([Decimal(1)], "very_low"), (spread("0.049"), "very_low"), (spread("0.05"), "low"),
        (spread("0.099"), "low"), (spread("0.10"), "medium"), (spread("0.199"), "medium"), (spread("0.20"), "high"),
    ],
)  # fmt: skip
def test_the_class_changes_at_5_10_and_20_percent_4_3(prices: list[Decimal], expected: str) -> None:
    assert volatility(prices) is VolatilityClass(expected)


def test_the_deviation_is_that_of_the_population() -> None:
    assert (
        deviation([Decimal(2), Decimal(4), Decimal(4), Decimal(4), Decimal(5), Decimal(5), Decimal(7), Decimal(9)]) == 2
    )
    assert deviation([]) is None


def test_stability_is_unknown_below_12_buckets() -> None:
    assert stability([Decimal(1)] * 11) is None
    assert stability([Decimal(1)] * 12) == 1
    assert stability(spread("0.25") * 6) == Decimal("0.75")


@given(PRICES)
def test_stability_and_class_stay_in_range_and_do_not_depend_on_order(prices: list[Decimal]) -> None:
    value = stability(prices)
    assert value is None or 0 <= value <= 1
    assert volatility(list(reversed(prices))) is volatility(prices)
    assert variation(prices) is not None


@given(PRICES, st.decimals("0.5", "20", places=2))
def test_the_class_does_not_depend_on_the_currency(prices: list[Decimal], factor: Decimal) -> None:
    first, scaled = variation(prices), variation([price * factor for price in prices])
    assert first is not None
    assert scaled is not None
    assert abs(first - scaled) < Decimal("1e-9")


def test_a_rate_needs_a_machine_day_and_becomes_a_probability() -> None:
    assert interruption_rate(3, Decimal("0.99")) is None
    assert interruption_rate(3, Decimal(2)) == Decimal("1.5")
    assert interruption_probability(None) is None
    assert interruption_probability(Decimal(0)) == 0
    assert interruption_probability(Decimal(1)) == Decimal("0.6321")


@given(st.decimals(0, 50, places=3), st.decimals(0, 50, places=3))
def test_a_higher_rate_is_never_less_likely(one: Decimal, other: Decimal) -> None:
    low, high = (interruption_probability(rate) for rate in sorted((one, other)))
    assert low is not None
    assert high is not None
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("0.0979", SwitchAdvice.STRONGLY_RECOMMENDED), ("0.0980", SwitchAdvice.RECOMMENDED),
        ("0.0999", SwitchAdvice.RECOMMENDED), ("0.1", SwitchAdvice.NEUTRAL), ("0.1001", SwitchAdvice.NOT_RECOMMENDED),
    ],
)  # fmt: skip
def test_a_simulated_switch_is_judged_by_its_hourly_savings(target: str, advice: SwitchAdvice) -> None:
    figures = switch_figures(Decimal("0.1"), Decimal(target))
    assert figures.advice is advice
    assert figures.hourly is not None
    assert (figures.daily, figures.monthly) == (figures.hourly * 24, figures.hourly * 720)


@pytest.mark.parametrize(("current", "target"), [(None, Decimal(1)), (Decimal(1), None), (None, None)])
def test_without_a_price_nothing_is_claimed_gr7(current: Decimal | None, target: Decimal | None) -> None:
    figures = switch_figures(current, target)
    assert (figures.hourly, figures.daily, figures.monthly, figures.advice) == (None, None, None, None)
