"""Prices told apart by type: filled and expired ones never drive a switch (Z15, GF-4)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from spotcore.market import PriceQuality, SpotQuote
from spotcore.quality import (
    FILL_CONFIDENCE,
    Carried,
    Filled,
    FillMethod,
    Observed,
    PriceInForce,
    is_estimated,
    may_drive_a_switch,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRICE = Decimal("0.04")


def observed(age: int, confidence: str = "1.00") -> Observed:
    return Observed(price=PRICE, bucket_start=NOW - timedelta(seconds=age), confidence=Decimal(confidence))


def carried(age: int, confidence: str = "1.00") -> Carried:
    return Carried(price=PRICE, bucket_start=NOW - timedelta(seconds=age), confidence=Decimal(confidence))


@pytest.mark.parametrize(
    ("price", "allowed"),
    [
        pytest.param(observed(0), True, id="Z15-observed"),
        pytest.param(observed(0, "0.95"), True, id="Z15-replica"),
        pytest.param(observed(0, "0.90"), False, id="Z15-backfill"),
        pytest.param(carried(600), True, id="Z15-carried-for-10-minutes"),
        pytest.param(carried(601), False, id="Z15-carried-for-longer"),
        pytest.param(None, False, id="GF-4-expired"),
    ],
)
def test_z15_what_may_drive_a_switch(price: PriceInForce | None, allowed: bool) -> None:
    assert may_drive_a_switch(price, NOW) is allowed


@pytest.mark.parametrize("method", FillMethod)
def test_z15_a_filled_price_never_drives_a_switch(method: FillMethod) -> None:
    price = Filled(price=PRICE, bucket_start=NOW, method=method)
    assert not may_drive_a_switch(price, NOW)
    assert is_estimated(price)
    assert price.confidence == FILL_CONFIDENCE[method] < Decimal("0.90")


@pytest.mark.parametrize("price", [observed(0), carried(900)])
def test_a_measured_price_is_not_estimated(price: PriceInForce) -> None:
    assert not is_estimated(price)


@pytest.mark.parametrize("quality", [PriceQuality.FILLED, PriceQuality.EXPIRED])
def test_z15_a_quote_that_is_not_measured_is_not_fresh_however_sure(quality: PriceQuality) -> None:
    quote = SpotQuote(pool_id="m5.large.us-east-1a", price=PRICE, observed_at=NOW, quality=quality)
    assert not quote.is_fresh(NOW)
