"""What is known of prices when a rule runs, and for how long it counts (Z15, GF-4, DQ-8)."""

from datetime import timedelta
from itertools import product

import pytest
from attrs import evolve

from spotcore.market import UNKNOWN_MARKET, Market, OndemandQuote, PriceState, SpotQuote
from tests.support.rule_builders import POOL_A, POOL_B, START, D, a_market, later

QUOTE = SpotQuote(pool_id=POOL_A, price=D("0.05"), observed_at=START)


@pytest.mark.parametrize(
    ("is_filled", "confidence", "seconds"),
    list(product([False, True], ["1.00", "0.95", "0.94"], [-120, 0, 600, 600.001])),
)
def test_z15_a_quote_is_fresh_only_when_measured_sure_and_ten_minutes_old_at_most(
    is_filled: bool, confidence: str, seconds: float
) -> None:
    quote = evolve(QUOTE, is_filled=is_filled, confidence=D(confidence))
    wanted = not is_filled and D(confidence) >= D("0.95") and seconds <= 600
    assert quote.is_fresh(later(seconds)) is wanted


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (-120, PriceState.OBSERVED),
        (0, PriceState.OBSERVED),
        (600, PriceState.OBSERVED),
        (600.001, PriceState.CARRIED),
        (3_600, PriceState.CARRIED),
        (3_600.001, PriceState.EXPIRED),
    ],
)
def test_z15_gf4_a_measured_price_is_observed_then_carried_then_expired(age: float, state: PriceState) -> None:
    assert QUOTE.state(later(age)) is state
    assert evolve(QUOTE, is_filled=True).state(later(age)) is PriceState.FILLED


def test_gf4_a_filled_price_is_not_shown_as_the_pools_price() -> None:
    filled = evolve(QUOTE, is_filled=True)
    assert Market(spot={POOL_A: filled}).spot_price(POOL_A, START) is None


@pytest.mark.parametrize(("age", "shown"), [(0, True), (3_600, True), (3_600.001, False)])
def test_gf4_a_price_is_shown_for_sixty_minutes(age: float, shown: bool) -> None:
    market = a_market(a="0.05")
    assert (market.spot_price(POOL_A, later(age)) == D("0.05")) is shown


def test_gr7_what_is_not_known_has_no_price() -> None:
    market = a_market(a="0.05")
    assert market.spot_price(POOL_B, START) is None
    assert market.spot_price(None, START) is None
    assert Market().ondemand_price() is None
    assert UNKNOWN_MARKET.ondemand_price() is None
    assert not UNKNOWN_MARKET.known


@pytest.mark.parametrize("flagged", [False, True])
def test_dq8_a_flagged_on_demand_price_counts_as_missing(flagged: bool) -> None:
    quote = OndemandQuote(price=D("0.10"), observed_at=START, flagged=flagged)
    assert Market(ondemand=quote).ondemand_price() == (None if flagged else D("0.10"))


def test_p10_an_on_demand_price_has_no_age_limit() -> None:
    quote = OndemandQuote(price=D("0.10"), observed_at=START - timedelta(days=400))
    assert Market(ondemand=quote).ondemand_price() == D("0.10")
