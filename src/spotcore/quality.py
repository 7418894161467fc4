"""A bucket nobody measured: how it was filled, and how far that is to be trusted (8.2)."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import frozen


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
class Filled:
    """Nobody measured it; computed from measured neighbours (8.2)."""

    price: Decimal
    bucket_start: datetime
    method: FillMethod

    @property
    def confidence(self) -> Decimal:
        """That of the method."""
        return FILL_CONFIDENCE[self.method]
