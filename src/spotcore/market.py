"""What is known about prices, risk and boot times when a rule runs: a frozen value, never a look-up (5.2, GR-7)."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import evolve, field, frozen

FRESH_FOR: Final = timedelta(minutes=10)  # Z15
CONFIDENT: Final = Decimal("0.95")
SHOWN_FOR: Final = timedelta(minutes=60)  # GF-4, SV-4


class PriceState(StrEnum):
    """How a price is known at an instant; only an observed one may drive a switch."""

    OBSERVED = "observed"  # measured at most 10 minutes ago (Z15)
    CARRIED = "carried"  # measured at most 60 minutes ago and held since: shown, not acted on (GF-4)
    FILLED = "filled"  # never measured: interpolated (8.2)
    EXPIRED = "expired"  # measured too long ago to be shown


SHOWN: Final = frozenset({PriceState.OBSERVED, PriceState.CARRIED})


@frozen(kw_only=True)
class SpotQuote:
    """The latest known spot price of a pool, $/h."""

    pool_id: str
    price: Decimal
    observed_at: datetime
    confidence: Decimal = Decimal("1.00")
    is_filled: bool = False

    def state(self, now: datetime) -> PriceState:
        """How the price is known then."""
        if self.is_filled:
            return PriceState.FILLED
        age = now - self.observed_at
        if age > SHOWN_FOR:
            return PriceState.EXPIRED
        return PriceState.OBSERVED if age <= FRESH_FOR else PriceState.CARRIED

    def is_fresh(self, now: datetime) -> bool:
        """True while it may drive a switch (Z15): observed, with a confidence of at least 0.95."""
        return self.state(now) is PriceState.OBSERVED and self.confidence >= CONFIDENT


@frozen(kw_only=True)
class OndemandQuote:
    """The on-demand price of a type in a region, $/h. A flagged one is no basis for a decision (DQ-8)."""

    price: Decimal
    observed_at: datetime
    flagged: bool = False


INCIDENTS_COUNTED: Final = 10  # more than these are no worse (4.3): a storm is not counted to its end
BOOTS_COUNTED: Final = 50  # the latest of a pool: they say more than what was years ago


@frozen(kw_only=True)
class PoolRecord:
    """What the fleet has seen of one pool; counts are over all clients, never who (4.3)."""

    pool_id: str
    incidents_7d: int = 0  # ``INCIDENTS_COUNTED`` at most
    first_observed_at: datetime | None = None
    recent_prices: tuple[Decimal, ...] = ()  # the last 10 measured buckets, oldest first
    boot_seconds: Decimal | None = None  # mean of the latest ``BOOTS_COUNTED``
    boot_samples: int = 0
    own_open_incident: bool = False  # an open incident of this client in the pool (4.4)
    open_incident: bool = False  # an open incident of anybody (Z20)


@frozen(kw_only=True)
class Market:
    """Prices and records for one instance type in one region. Empty is valid: emergencies need none of it (5.2)."""

    spot: Mapping[str, SpotQuote] = field(factory=dict)
    ondemand: OndemandQuote | None = None
    pools: Mapping[str, PoolRecord] = field(factory=dict)  # every known pool of the type and region
    known: bool = True  # False: it could not be read

    def troubled(self, pool_ids: Iterable[str]) -> "Market":
        """The same, with an open incident of the client in each of these pools, as far as they are known."""
        known = [pool_id for pool_id in pool_ids if pool_id in self.pools or pool_id in self.spot]
        records = [self.pools.get(pool_id) or PoolRecord(pool_id=pool_id) for pool_id in known]
        marked = {record.pool_id: evolve(record, own_open_incident=True) for record in records}
        return evolve(self, pools={**self.pools, **marked}) if marked else self

    def spot_price(self, pool_id: str | None, now: datetime) -> Decimal | None:
        """The pool's price for display and records: at most 60 minutes old, else None (GF-4)."""
        quote = self.spot.get(pool_id) if pool_id else None
        return quote.price if quote and quote.state(now) in SHOWN else None

    def ondemand_price(self) -> Decimal | None:
        """The on-demand price, None when unknown or flagged (DQ-8)."""
        return self.ondemand.price if self.ondemand and not self.ondemand.flagged else None


UNKNOWN_MARKET: Final = Market(known=False)
