"""Clean prices by hour or day (E32, E80): the value of a period is that of its last clean bucket (P14)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from spotadapters.http.routing import Call
from spotadapters.wire.shapes import shape
from spotcore.instants import read_instant


@shape
class PriceSeries:
    """Prices by period, oldest first; a pool without a bucket in a period is not in it."""

    periods: tuple[datetime, ...]
    pools: tuple[str, ...]
    spot: Mapping[datetime, Mapping[str, Decimal]]
    ondemand: Mapping[datetime, Decimal | None]


def price_series(
    call: Call, instance_type: str | None, region: str | None, *, days: int, hours: int | None, by_day: bool,
    registered: Decimal | None,
) -> PriceSeries:  # fmt: skip
    """The clean prices of a type in a region over the last days, or hours where they are given."""
    place = {"instance_type": instance_type, "region": region}
    covered = days if hours is None else -(-hours // 24)
    buckets = call.reads.rows("pool_prices", dict, **place, days=covered)
    listed = [
        (read_instant(row["observed_at"]), row["price"]) for row in call.reads.rows("ondemand_series", dict, **place)
    ]
    since = call.clock.now().timestamp() - hours * 3600 if hours is not None else None
    spot: dict[datetime, dict[str, Decimal]] = {}
    for row in buckets:
        at = read_instant(row["bucket_start"])
        if at is not None and (since is None or at.timestamp() >= since):
            spot.setdefault(_period(at, by_day), {})[row["pool_id"]] = row["price"]  # in order: the last one stays
    periods = tuple(sorted(spot))
    return PriceSeries(
        periods=periods,
        pools=tuple(sorted({pool for prices in spot.values() for pool in prices})),
        spot=spot,
        ondemand=_in_force(periods, listed, registered, by_day),
    )


def _period(at: datetime, by_day: bool) -> datetime:
    return at.replace(hour=0 if by_day else at.hour, minute=0, second=0, microsecond=0)


def _in_force(
    periods: Iterable[datetime], listed: Sequence[Any], registered: Decimal | None, by_day: bool
) -> Mapping[datetime, Decimal | None]:
    """The on-demand price known by the end of each period (SV-5)."""
    found: dict[datetime, Decimal | None] = {}
    for period in periods:
        known = [price for at, price in listed if at is not None and _period(at, by_day) <= period]
        found[period] = known[-1] if known else registered
    return found
