"""What the simulated cloud charges."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from attrs import field, frozen

from spotcore.pools import Pool


class PriceFeed(Protocol):
    """Prices in $/hour at an aware UTC instant; None when unknown. Called from several threads."""

    def spot(self, pool: Pool, at: datetime) -> Decimal | None:
        """The spot price of a pool."""
        ...

    def on_demand(self, instance_type: str, at: datetime) -> Decimal | None:
        """The list price of a type."""
        ...


@frozen(kw_only=True)
class FixedPrices:
    """A ``PriceFeed`` that never moves: spot by pool id, on-demand by type."""

    spot_by_pool: Mapping[str, Decimal] = field(factory=dict)
    on_demand_by_type: Mapping[str, Decimal] = field(factory=dict)

    def spot(self, pool: Pool, at: datetime) -> Decimal | None:
        """The given price, whenever asked."""
        return self.spot_by_pool.get(pool.pool_id)

    def on_demand(self, instance_type: str, at: datetime) -> Decimal | None:
        """The given price, whenever asked."""
        return self.on_demand_by_type.get(instance_type)
