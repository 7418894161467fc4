"""Gaps between measured buckets and how they are filled (8.2). Pure functions of measured buckets alone (GF-3, GF-5).

Arithmetic is exact (fractions); a filled price is rounded once, half-even, to 6 decimals.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Final

from attrs import frozen

from spotcore.money import hourly_price
from spotcore.prices import BUCKET
from spotcore.quality import Filled, FillMethod

Series = Mapping[datetime, Decimal]  # measured buckets of one pool by start, $/h

LINEAR_UP_TO: Final = 2  # missing buckets
WEIGHTED_UP_TO: Final = 6
FILLED_UP_TO: Final = 24
NEIGHBOURS: Final = 6
NEAR: Final = timedelta(hours=1)
PEERS_NEEDED: Final = 2
MOSTLY_FILLED: Final = Fraction(20, 100)


class GapLevel(StrEnum):
    """How loud a gap is (GF-1)."""

    INFO = "info"
    WARNING = "warning"


@frozen(kw_only=True)
class Gap:
    """Missing buckets between two measured ones of a pool; an open end is none (GF-4)."""

    pool_id: str
    before: datetime  # the measured bucket it follows
    after: datetime  # the measured bucket that ends it

    @property
    def missing(self) -> int:
        """How many buckets nobody measured."""
        return (self.after - self.before) // BUCKET - 1

    @property
    def starts(self) -> tuple[datetime, ...]:
        """The missing buckets, oldest first."""
        return tuple(self.before + step * BUCKET for step in range(1, self.missing + 1))

    @property
    def level(self) -> GapLevel | None:
        """None up to 5 minutes, a warning above 30 (GF-1)."""
        if self.missing > WEIGHTED_UP_TO:
            return GapLevel.WARNING
        return GapLevel.INFO if self.missing >= LINEAR_UP_TO else None

    @property
    def is_filled(self) -> bool:
        """False above two hours (8.2)."""
        return self.missing <= FILLED_UP_TO


def find_gaps(pool_id: str, measured: Series) -> Iterator[Gap]:
    """Every gap of a pool, oldest first."""
    for before, after in pairwise(sorted(measured)):
        if after - before > BUCKET:
            yield Gap(pool_id=pool_id, before=before, after=after)


def fill_gaps(group: Mapping[str, Series]) -> Mapping[str, tuple[Filled, ...]]:
    """The filled buckets of every pool of one type and region, oldest first."""
    return {
        pool_id: tuple(
            row
            for gap in find_gaps(pool_id, measured)
            if gap.is_filled
            for row in _fill(gap, measured, [series for peer, series in group.items() if peer != pool_id])
        )
        for pool_id, measured in group.items()
    }


def is_mostly_filled(measured: int, filled: int) -> bool:
    """True when more than 20 % of a day's buckets are filled (GF-7)."""
    return filled > (measured + filled) * MOSTLY_FILLED


def _fill(gap: Gap, measured: Series, peers: list[Series]) -> Iterator[Filled]:
    nearby = _nearby(gap, measured) if LINEAR_UP_TO < gap.missing <= WEIGHTED_UP_TO else []
    for at in gap.starts:
        linear = _linear(gap, measured, at)
        if gap.missing <= LINEAR_UP_TO:
            yield _row(at, linear, FillMethod.LINEAR)
        elif gap.missing <= WEIGHTED_UP_TO:
            yield _row(at, _weighted_mean(at, nearby), FillMethod.WEIGHTED_MEAN)
        else:
            yield _cross_pool(gap, linear, peers, at)


def _linear(gap: Gap, measured: Series, at: datetime) -> Fraction:
    part = Fraction((at - gap.before) // BUCKET, gap.missing + 1)
    first, last = Fraction(measured[gap.before]), Fraction(measured[gap.after])
    return first + (last - first) * part


def _nearby(gap: Gap, measured: Series) -> list[tuple[datetime, Fraction]]:
    """Measured buckets at most an hour from the first or last missing one."""
    earliest, latest = gap.starts[0] - NEAR, gap.starts[-1] + NEAR
    steps = (earliest + step * BUCKET for step in range((latest - earliest) // BUCKET + 1))
    return [(start, Fraction(measured[start])) for start in steps if start in measured]


def _weighted_mean(at: datetime, nearby: list[tuple[datetime, Fraction]]) -> Fraction:
    """Of the 6 nearest to ``at``, weight 1 ÷ (distance in s + 1); of two as near the earlier one."""
    nearest = sorted(nearby, key=lambda row: (abs(row[0] - at), row[0]))[:NEIGHBOURS]
    weights = [Fraction(1, abs(start - at) // timedelta(seconds=1) + 1) for start, _ in nearest]
    total = sum((weight * price for weight, (_, price) in zip(weights, nearest, strict=True)), Fraction(0))
    return total / sum(weights, Fraction(0))


def _cross_pool(gap: Gap, linear: Fraction, peers: list[Series], at: datetime) -> Filled:
    """GF-2. A peer counts when measured at ``at`` and at both ends, where its ratio is 1: so both ends are met.

    A result that is no valid price (DQ-2) is replaced by the linear value.
    """
    ratios = [
        Fraction(peer[at]) / _linear(gap, peer, at)
        for peer in peers
        if at in peer and gap.before in peer and gap.after in peer
    ]
    if len(ratios) >= PEERS_NEEDED:
        value = _rounded(linear * median(ratios))
        if hourly_price(value) is not None:
            return Filled(price=value, bucket_start=at, method=FillMethod.CROSS_POOL)
    return _row(at, linear, FillMethod.LINEAR_WITHOUT_PEERS)


def _row(at: datetime, value: Fraction, method: FillMethod) -> Filled:
    return Filled(price=_rounded(value), bucket_start=at, method=method)


def _rounded(value: Fraction) -> Decimal:
    return Decimal(round(value * 10**6)).scaleb(-6)
