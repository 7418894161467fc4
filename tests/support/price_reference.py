"""Sections 8.1 and 8.2 once more, written from their words alone: slow, in fractions, one bucket at a time.

Nothing of the product is used, so that what it computes can be held against this. Times are buckets since an origin.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from attrs import frozen

Prices = Mapping[int, int]  # bucket → millionths of $/h
RANKS = {"primary": 5, "emergency_replica": 4, "manual_replica": 3, "backfill": 2}


@frozen
class Seen:
    """One raw observation: seconds since the origin, millionths of $/h."""

    source: str
    second: float
    name: str
    price: int


def winner_of(rows: Sequence[Seen]) -> tuple[Seen, str | None]:
    """DQ-4 and DQ-5: the winner of one bucket, and how far the runner-up is off."""
    best = rows[0]
    for row in rows[1:]:
        if _beats(row, best):
            best = row
    others = [row for row in rows if row.name != best.name]
    if not others:
        return best, None
    second = others[0]
    for row in others[1:]:
        if _beats(row, second):
            second = row
    apart = Fraction(abs(second.price - best.price), best.price)
    return best, "warning" if apart > Fraction(1, 10) else "flagged" if apart > Fraction(1, 200) else None


def _beats(one: Seen, other: Seen) -> bool:
    if RANKS[one.source] != RANKS[other.source]:
        return RANKS[one.source] > RANKS[other.source]
    return (one.second, one.name) < (other.second, other.name)


def filled(pools: Mapping[str, Prices], pool: str) -> dict[int, tuple[int, str]]:
    """Every filled bucket of a pool: price and method. ``pools`` are those of one type and region."""
    own, found = pools[pool], {}
    if not own:
        return {}
    for bucket in range(min(own), max(own)):
        if bucket in own:
            continue
        before = max(one for one in own if one < bucket)
        after = min(one for one in own if one > bucket)
        missing = after - before - 1
        if missing <= 2:
            found[bucket] = (_half_even(_line(own, before, after, bucket)), "linear")
        elif missing <= 6:
            found[bucket] = (_half_even(_mean(own, before, after, bucket)), "weighted_mean")
        elif missing <= 24:
            found[bucket] = _relative(pools, pool, before, after, bucket)
    return found


def _line(own: Prices, before: int, after: int, bucket: int) -> Fraction:
    slope = Fraction(own[after] - own[before], after - before)
    return own[before] + slope * (bucket - before)


def _mean(own: Prices, before: int, after: int, bucket: int) -> Fraction:
    """P4: none further than an hour before the first or after the last missing one; of two as near the earlier."""
    near = [one for one in own if before + 1 - 12 <= one <= after - 1 + 12]
    near.sort(key=lambda one: abs(one - bucket) * 2 + (one > bucket))
    weights = {one: Fraction(1, 300 * abs(one - bucket) + 1) for one in near[:6]}
    return sum((own[one] * weight for one, weight in weights.items()), Fraction(0)) / sum(weights.values())


def _relative(pools: Mapping[str, Prices], pool: str, before: int, after: int, bucket: int) -> tuple[int, str]:
    """GF-2, P5."""
    line = _line(pools[pool], before, after, bucket)
    ratios = sorted(
        peer[bucket] / _line(peer, before, after, bucket)
        for name, peer in pools.items()
        if name != pool and {before, bucket, after} <= set(peer)
    )
    if len(ratios) >= 2:
        half = len(ratios) // 2
        middle = ratios[half] if len(ratios) % 2 else (ratios[half - 1] + ratios[half]) / 2
        price = _half_even(line * middle)
        if 1 <= price <= 1_000 * 10**6:
            return price, "cross_pool"
    return _half_even(line), "linear_without_peers"


def _half_even(value: Fraction) -> int:
    whole, rest = divmod(value.numerator, value.denominator)
    twice = 2 * rest
    if twice > value.denominator or (twice == value.denominator and whole % 2 == 1):
        return whole + 1
    return whole
