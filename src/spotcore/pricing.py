"""Which price is in force at an instant: spot (SV-4) and on-demand (SV-5). Pure functions over known rows."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from attrs import frozen

from spotcore.market import SHOWN_FOR
from spotcore.prices import OndemandObservation, bucket_start
from spotcore.quality import Carried, Filled, FillMethod, Observed, PriceInForce


@frozen(kw_only=True)
class BucketPrice:
    """One five-minute bucket of a pool, $/h: its winner, or its fill when ``method`` says how it was made."""

    start: datetime
    price: Decimal
    confidence: Decimal
    method: FillMethod | None = None

    @property
    def is_measured(self) -> bool:
        """True when somebody observed it; only such a bucket anchors a fill (GF-3)."""
        return self.method is None


def price_in_force(buckets: Iterable[BucketPrice], at: datetime) -> PriceInForce | None:
    """The bucket containing ``at``, else the last earlier one that began at most 60 minutes before it (SV-4).

    ``buckets`` are of one pool, in any order. None: unpriced. A filled bucket stays `Filled` when carried.
    """
    own = bucket_start(at)
    earlier = [one for one in buckets if one.start <= own and at - one.start <= SHOWN_FOR]
    if not earlier:
        return None
    latest = max(earlier, key=lambda one: one.start)
    if latest.method is not None:
        return Filled(price=latest.price, bucket_start=latest.start, method=latest.method)
    known = Observed if latest.start == own else Carried
    return known(price=latest.price, bucket_start=latest.start, confidence=latest.confidence)


class OndemandOrigin(StrEnum):
    """Where an on-demand price stems from, best first (SV-5)."""

    PRICE_LIST = "price_list"
    OBSERVED = "observed"
    REGISTERED = "registered"
    FLAGGED = "flagged"


@frozen(kw_only=True)
class ListedPrice:
    """A price of an imported price list, $/h, in force from ``since`` until the next one."""

    price: Decimal
    since: datetime


@frozen(kw_only=True)
class OndemandInForce:
    """The on-demand price at an instant, $/h."""

    price: Decimal
    origin: OndemandOrigin

    @property
    def estimated(self) -> bool:
        """True when only a flagged observation was left (SV-5, DQ-8)."""
        return self.origin is OndemandOrigin.FLAGGED


def ondemand_in_force(
    at: datetime,
    *,
    listed: Sequence[ListedPrice] = (),
    observations: Sequence[OndemandObservation] = (),
    registered: Decimal | None = None,
) -> OndemandInForce | None:
    """Price list, else latest unflagged observation, else the registered price, else latest flagged one (SV-5).

    All rows are of one type and region, in any order; what is later than ``at`` is not looked at. None: unpriced.
    Of two rows of one instant the lower price counts, so that the order of rows does not matter.
    """
    candidates = (
        (OndemandOrigin.PRICE_LIST, _latest((one.since, one.price) for one in listed if one.since <= at)),
        (OndemandOrigin.OBSERVED, _latest_observed(observations, at, flagged=False)),
        (OndemandOrigin.REGISTERED, registered if registered is not None and registered > 0 else None),
        (OndemandOrigin.FLAGGED, _latest_observed(observations, at, flagged=True)),
    )
    return next(
        (OndemandInForce(price=price, origin=origin) for origin, price in candidates if price is not None), None
    )


def _latest_observed(observations: Sequence[OndemandObservation], at: datetime, *, flagged: bool) -> Decimal | None:
    return _latest(
        (one.observed_at, one.price) for one in observations if one.flagged is flagged and one.observed_at <= at
    )


def _latest(rows: Iterable[tuple[datetime, Decimal]]) -> Decimal | None:
    best = max(rows, key=lambda row: (row[0], -row[1]), default=None)
    return best[1] if best else None
