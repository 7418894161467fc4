"""Decimal money: hourly prices with 6 decimals, ledger amounts with 8, half-even (GR-6)."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NewType

HourlyPrice = NewType("HourlyPrice", Decimal)  # $/hour

MAX_HOURLY_PRICE: Final = Decimal(1000)  # Z33: real types cost more than 100 $/h
_PRICE_STEP: Final = Decimal("0.000001")
_AMOUNT_STEP: Final = Decimal("0.00000001")


def hourly_price(value: Decimal) -> HourlyPrice | None:
    """``value`` rounded half-even to 6 decimals (DQ-2).

    None unless it is finite, at most 1 000 before rounding and above 0 after it (P3).
    """
    if not value.is_finite() or value > MAX_HOURLY_PRICE or value <= 0:
        return None
    rounded = value.quantize(_PRICE_STEP, rounding=ROUND_HALF_EVEN)
    return HourlyPrice(rounded) if rounded > 0 else None


def amount(value: Decimal) -> Decimal:
    """A ledger amount in $, rounded half-even to 8 decimals."""
    return value.quantize(_AMOUNT_STEP, rounding=ROUND_HALF_EVEN)
