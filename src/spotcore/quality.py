"""How a price in force is known, told by type: observed, carried or filled; an expired one is None."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, assert_never

from attrs import frozen

from spotcore.market import CONFIDENT, FRESH_FOR


class FillMethod(StrEnum):
    """How a missing bucket was filled (8.2)."""

    LINEAR = "linear"
    WEIGHTED_MEAN = "weighted_mean"
    CROSS_POOL = "cross_pool"
    LINEAR_WITHOUT_PEERS = "linear_without_peers"  # GF-2: too few peers


FILL_CONFIDENCE: Final = {
    FillMethod.LINEAR: Decimal("0.85"),
    FillMethod.WEIGHTED_MEAN: Decimal("0.75"),
    FillMethod.CROSS_POOL: Decimal("0.70"),
    FillMethod.LINEAR_WITHOUT_PEERS: Decimal("0.60"),
}


@frozen(kw_only=True)
class Observed:
    """Somebody measured it in the very bucket asked about, $/h."""

    price: Decimal
    bucket_start: datetime
    confidence: Decimal


@frozen(kw_only=True)
class Carried:
    """Measured in an earlier bucket, at most 60 minutes before: shown as `stale` (GF-4, SV-4)."""

    price: Decimal
    bucket_start: datetime
    confidence: Decimal


@frozen(kw_only=True)
class Filled:
    """Nobody measured it; computed from measured neighbours (8.2)."""

    price: Decimal
    bucket_start: datetime
    method: FillMethod

    @property
    def confidence(self) -> Decimal:
        """That of the method."""
        return FILL_CONFIDENCE[self.method]


PriceInForce = Observed | Carried | Filled


def is_estimated(price: PriceInForce) -> bool:
    """True when a ledger line at this price is `estimated` rather than `measured` (7.3)."""
    match price:
        case Observed() | Carried():
            return False
        case Filled():
            return True
        case _:
            assert_never(price)


def may_drive_a_switch(price: PriceInForce | None, now: datetime) -> bool:
    """Only a measured price of confidence ≥ 0.95, at most 10 minutes old (Z15): never a filled or expired one.

    The age is counted from the start of the bucket, so this never allows more than ``SpotQuote.is_fresh``.
    """
    match price:
        case None | Filled():
            return False
        case Observed() | Carried():
            return price.confidence >= CONFIDENT and now - price.bucket_start <= FRESH_FOR
        case _:
            assert_never(price)
