"""Filled and expired prices never drive a switch (Z15, GF-4)."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from spotcore.market import CONFIDENT, SpotQuote
from spotcore.quality import FILL_CONFIDENCE, Filled, FillMethod

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRICE = Decimal("0.04")


@pytest.mark.parametrize("method", FillMethod)
def test_8_2_a_fill_is_trusted_as_far_as_its_method_and_never_enough_for_a_switch(method: FillMethod) -> None:
    row = Filled(price=PRICE, bucket_start=NOW, method=method)
    assert row.confidence == FILL_CONFIDENCE[method] < CONFIDENT


def test_z15_a_quote_that_is_not_measured_is_not_fresh_however_sure() -> None:
    quote = SpotQuote(pool_id="m5.large.us-east-1a", price=PRICE, observed_at=NOW, is_filled=True)
    assert not quote.is_fresh(NOW)
