"""Whole raw histories at once: who wins each bucket, where nobody measured, how it is filled (8.1, 8.2), on columns.

The pure functions of ``spotcore.buckets`` and ``spotcore.gaps`` are the reference: the result is theirs row for row.
Prices are integers, millionths of $/h. What whole numbers cannot decide is computed in floating point; where that comes
near the middle between two prices, the reference itself decides.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from spotcore.gaps import FILLED_UP_TO, LINEAR_UP_TO, NEAR, NEIGHBOURS, PEERS_NEEDED, WEIGHTED_UP_TO, fill_gaps
from spotcore.money import MAX_HOURLY_PRICE
from spotcore.pools import parse_pool
from spotcore.prices import BUCKET
from spotcore.quality import FillMethod

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MICRO: Final = 10**6
STEP: Final = int(BUCKET.total_seconds())
STEP_US: Final = STEP * MICRO
NEAR_STEPS: Final = NEAR // BUCKET
METHODS: Final = tuple(FillMethod)  # a row's method is its place here plus one; 0: measured
FLAGGED, WARNED = 1, 2  # places in DISCREPANCIES
DISCREPANCIES: Final = (None, "flagged", "warning")
_LINEAR, _WEIGHTED, _CROSS, _ALONE = (
    METHODS.index(one) + 1
    for one in (FillMethod.LINEAR, FillMethod.WEIGHTED_MEAN, FillMethod.CROSS_POOL, FillMethod.LINEAR_WITHOUT_PEERS)
)
_MAX_PRICE: Final = int(MAX_HOURLY_PRICE * MICRO)
_RANK_BITS, _OFFSET_BITS = 3, 29  # 300 s in microseconds fit in 29 bits
_CELLS: Final = 1 << (62 - _RANK_BITS - _OFFSET_BITS)
_FAR: Final = 1 << 20
_UNSURE: Final = 1e-10  # relative; errors of the floating point below are under 1e-13


@frozen(kw_only=True)
class Raw:
    """Accepted raw observations as columns of one length, in any order, duplicates included."""

    pools: Sequence[str]
    pool: NDArray[np.int32]  # place in ``pools``
    observed_at: Ints  # microseconds since 1970, UTC
    rank: NDArray[np.int8]  # of the source (DQ-4), 1 to 7
    price: Ints  # millionths of $/h, valid (DQ-2)
    submission: tuple[NDArray[np.uint64], NDArray[np.uint64]]  # the 32 hex digits of the id (P1), as two numbers


@frozen(kw_only=True)
class Clean:
    """Clean buckets as columns, by pool and time."""

    pools: Sequence[str]
    pool: NDArray[np.int32]
    bucket: Ints  # start, seconds since 1970, UTC
    price: Ints
    method: NDArray[np.int8]  # 0: measured, else place in ``METHODS`` plus one
    discrepancy: NDArray[np.int8]  # place in ``DISCREPANCIES``
    rank: NDArray[np.int8]  # of the winner's source; 0 where nobody measured
    observed_at: (
        Ints  # when the winner was seen, microseconds since 1970, UTC; the bucket's start where nobody measured
    )
    row: Ints  # place of the winner in the raw columns; -1 where nobody measured

    def __len__(self) -> int:
        return len(self.bucket)


@frozen(kw_only=True)
class _Measured:
    """Buckets that somebody measured, by pool and time."""

    pool: NDArray[np.int32]
    step: Ints  # buckets since 1970
    price: Ints
    row: Ints
    discrepancy: NDArray[np.int8]
    borders: Ints  # where each pool begins; one more than pools

    def of_pool(self, place: int) -> slice:
        return slice(int(self.borders[place]), int(self.borders[place + 1]))


@frozen(kw_only=True)
class _Missing:
    """Buckets of gaps that are filled, in the order of gaps."""

    gap: Ints  # place of the measured bucket before it
    part: Ints  # 1 is the first of the gap
    length: Ints  # buckets missing in the gap


def clean(raw: Raw) -> Clean:
    """Winners and fills of a whole history. ``ValueError`` for more than 2³⁰ possible buckets: bring fewer pools.

    Pools of one type and region belong into one call: they fill each other's gaps (GF-2)."""
    measured = _winners(raw)
    missing = _missing(measured)
    price, method = _fills(raw.pools, measured, missing)
    nothing, start = np.zeros(len(price), np.int8), measured.step[missing.gap] + missing.part
    pool = np.concatenate([measured.pool, measured.pool[missing.gap]])
    step = np.concatenate([measured.step, start])
    order = np.argsort(pool * np.int64(1 << 40) + step)
    return Clean(
        pools=raw.pools,
        pool=pool[order],
        bucket=step[order] * STEP,
        price=np.concatenate([measured.price, price])[order],
        method=np.concatenate([np.zeros(len(measured.step), np.int8), method])[order],
        discrepancy=np.concatenate([measured.discrepancy, nothing])[order],
        rank=np.concatenate([raw.rank[measured.row], nothing])[order],
        observed_at=np.concatenate([raw.observed_at[measured.row], start * STEP_US])[order],
        row=np.concatenate([measured.row, np.full(len(price), -1)])[order],
    )


def _winners(raw: Raw) -> _Measured:
    """DQ-4: source rank ↓, then earliest, then smallest submission id; the runner-up is another submission (DQ-5)."""
    step = raw.observed_at // STEP_US
    first = int(step.min()) if len(step) else 0
    span = int(step.max()) - first + 1 if len(step) else 1
    if span * max(1, len(raw.pools)) > _CELLS:
        raise ValueError(f"{len(raw.pools)} pools over {span} buckets at once are too many: bring fewer pools")
    cell = raw.pool * np.int64(span) + (step - first)
    key = (
        cell << (_RANK_BITS + _OFFSET_BITS)
        | (7 - raw.rank.astype(np.int64)) << _OFFSET_BITS
        | (raw.observed_at - step * STEP_US)
    )
    del step
    order = np.argsort(key)
    key = key[order]
    order = _with_equals_by_id(order, key, raw)
    cell = key >> (_RANK_BITS + _OFFSET_BITS)
    del key
    starts = np.flatnonzero(np.concatenate([[True], cell[1:] != cell[:-1]])) if len(cell) else np.zeros(0, np.int64)
    row = order[starts]
    price = raw.price[row]
    pool = (cell[starts] // span).astype(np.int32)
    return _Measured(
        pool=pool,
        borders=np.searchsorted(pool, np.arange(len(raw.pools) + 1, dtype=np.int32)),
        step=cell[starts] % span + first,
        price=price,
        row=row,
        discrepancy=_discrepancies(raw, order, starts, price),
    )


def _with_equals_by_id(order: Ints, key: Ints, raw: Raw) -> Ints:
    same = key[1:] == key[:-1]
    if not same.any():
        return order
    places = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
    rows = order[places]
    high, low = raw.submission
    order[places] = rows[np.lexsort((low[rows], high[rows], key[places]))]
    return order


def _discrepancies(raw: Raw, order: Ints, starts: Ints, price: Ints) -> NDArray[np.int8]:
    """DQ-5: the best other submission of each bucket more than 0.5 % or 10 % off."""
    found = np.zeros(len(starts), np.int8)
    if not len(starts):
        return found
    sizes = np.diff(np.concatenate([starts, [len(order)]]))
    shared = np.flatnonzero(sizes > 1)
    others = np.repeat(starts[shared] + 1, sizes[shared] - 1) + _counting(sizes[shared] - 1)
    owner = np.repeat(shared, sizes[shared] - 1)
    rows, winners = order[others], order[starts[owner]]
    high, low = raw.submission
    is_other = (low[rows] != low[winners]) | (high[rows] != high[winners])  # DQ-3: a repetition is no runner-up
    rows, owner = rows[is_other], owner[is_other]
    is_best = np.concatenate([[True], owner[1:] != owner[:-1]]) if len(owner) else np.zeros(0, bool)
    rows, owner = rows[is_best], owner[is_best]
    apart = np.abs(raw.price[rows] - price[owner])
    found[owner] = np.where(apart * 10 > price[owner], WARNED, np.where(apart * 200 > price[owner], FLAGGED, 0))
    return found


def _counting(sizes: Ints) -> Ints:
    """0, 1, … for each size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def _missing(measured: _Measured) -> _Missing:
    apart = measured.step[1:] - measured.step[:-1] - 1
    gaps = np.flatnonzero((measured.pool[1:] == measured.pool[:-1]) & (apart > 0) & (apart <= FILLED_UP_TO))
    lengths = apart[gaps]
    return _Missing(gap=np.repeat(gaps, lengths), part=_counting(lengths) + 1, length=np.repeat(lengths, lengths))


def _fills(pools: Sequence[str], measured: _Measured, missing: _Missing) -> tuple[Ints, NDArray[np.int8]]:
    """Prices and methods of the missing buckets (8.2)."""
    above, below = _linear(measured.price, missing)
    price = _half_even(above, below)
    method = np.select(
        [missing.length <= LINEAR_UP_TO, missing.length <= WEIGHTED_UP_TO], [_LINEAR, _WEIGHTED], _ALONE
    ).astype(np.int8)
    reference = _Reference(pools, measured, missing)
    weighted = np.flatnonzero(method == _WEIGHTED)
    _weigh(measured, missing, weighted, price, reference)
    for rows, peers in _by_family(pools, measured, missing, np.flatnonzero(method == _ALONE)):
        _cross(measured, missing, rows, peers, price, method, reference)
    return price, method


def _linear(price: Ints, missing: _Missing) -> tuple[Ints, Ints]:
    """Between the neighbours, as a fraction."""
    below = missing.length + 1
    return price[missing.gap] * (below - missing.part) + price[missing.gap + 1] * missing.part, below


def _half_even(above: Ints, below: Ints) -> Ints:
    whole, rest = np.divmod(above, below)
    twice = rest * 2
    up: Ints = whole + ((twice > below) | ((twice == below) & (whole % 2 == 1)))
    return up


def _weigh(measured: _Measured, missing: _Missing, rows: Ints, price: Ints, reference: "_Reference") -> None:
    """Mean of the 6 nearest measured buckets within an hour of the gap, weight 1 ÷ (distance in s + 1)."""
    if not len(rows):
        return
    gap, part, length = missing.gap[rows], missing.part[rows], missing.length[rows]
    at = measured.step[gap] + part
    reach = np.arange(1 - NEIGHBOURS, NEIGHBOURS + 1)  # six before the gap, six after it
    places = gap[:, None] + reach
    inside = (places >= 0) & (places < len(measured.step))
    places = np.clip(places, 0, max(0, len(measured.step) - 1))
    steps = measured.step[places]
    inside &= measured.pool[places] == measured.pool[gap][:, None]
    inside &= steps >= (measured.step[gap] + 1 - NEAR_STEPS)[:, None]
    inside &= steps <= (measured.step[gap] + length + NEAR_STEPS)[:, None]
    away = np.abs(steps - at[:, None])
    rank = np.where(inside, away * 2 + (reach > 0), _FAR)  # of two as near the earlier one
    nearest = np.argsort(rank, axis=1, kind="stable")[:, :NEIGHBOURS]
    away, inside = np.take_along_axis(away, nearest, 1), np.take_along_axis(inside, nearest, 1)
    near = np.take_along_axis(measured.price[places], nearest, 1)
    weights = np.where(inside, 1.0 / (away * STEP + 1.0), 0.0)
    value = (weights * near).sum(axis=1) / weights.sum(axis=1)
    price[rows] = _rounded(value)
    for place in np.flatnonzero(_is_unsure(value)):
        price[rows[place]] = reference.fill(int(rows[place]))[0]


def _by_family(
    pools: Sequence[str], measured: _Measured, missing: _Missing, rows: Ints
) -> Iterator[tuple[Ints, list[int]]]:
    """The missing buckets of each type and region, and its pools."""
    families: dict[tuple[str, str], list[int]] = {}
    for place, name in enumerate(pools):
        pool = parse_pool(name)
        families.setdefault((pool.instance_type, pool.region), []).append(place)
    number = np.zeros(len(pools), np.int64)
    for count, members in enumerate(families.values()):
        number[members] = count
    of_row = number[measured.pool[missing.gap[rows]]]
    order = np.argsort(of_row, kind="stable")
    borders = np.searchsorted(of_row[order], np.arange(len(families) + 1))
    for count, members in enumerate(families.values()):
        mine = order[borders[count] : borders[count + 1]]
        if len(mine) and len(members) > PEERS_NEEDED:
            yield rows[mine], members


def _cross(
    measured: _Measured,
    missing: _Missing,
    rows: Ints,
    peers: list[int],
    price: Ints,
    method: NDArray[np.int8],
    reference: "_Reference",
) -> None:
    """GF-2: linear × the median of what peers were at that time to their own linear value, for 2 peers or more."""
    gap, part, length = missing.gap[rows], missing.part[rows], missing.length[rows]
    own, before = measured.pool[gap], measured.step[gap]
    ratios = np.full((len(rows), len(peers)), np.inf)
    for column, peer in enumerate(peers):
        known = _Grid(measured.step[measured.of_pool(peer)], measured.price[measured.of_pool(peer)])
        first, now, last = known.at(before), known.at(before + part), known.at(before + length + 1)
        fine = (first > 0) & (now > 0) & (last > 0) & (own != peer)
        line = first[fine] * (length[fine] + 1 - part[fine]) + last[fine] * part[fine]
        ratios[fine, column] = now[fine] * (length[fine] + 1) / line
    count = np.isfinite(ratios).sum(axis=1)
    enough = np.flatnonzero(count >= PEERS_NEEDED)
    ratios, count = np.sort(ratios[enough], axis=1), count[enough]
    each = np.arange(len(enough))
    lower, upper = ratios[each, (count - 1) // 2], ratios[each, count // 2]
    is_one = (lower == 1.0) & (upper == 1.0)  # peers stood still: the linear value, which is exact already
    chosen = rows[enough]
    above, below = _linear(measured.price, _Missing(gap=gap[enough], part=part[enough], length=length[enough]))
    value = above / below * ((lower + upper) / 2)
    found = _rounded(value)
    fine = (found >= 1) & (found <= _MAX_PRICE)  # else no valid price (DQ-2): the linear value stays
    unsure = np.flatnonzero(_is_unsure(value) & ~is_one)
    moved = fine & ~is_one
    price[chosen[moved]] = found[moved]
    method[chosen[fine]] = _CROSS
    for place in unsure:
        price[chosen[place]], method[chosen[place]] = reference.fill(int(chosen[place]), peers)


def _rounded(value: Floats) -> Ints:
    return np.rint(value).astype(np.int64)


def _is_unsure(value: Floats) -> NDArray[np.bool_]:
    """Too near the middle between two prices for floating point to tell the side."""
    return np.abs(value - np.floor(value) - 0.5) <= np.maximum(value, 1.0) * _UNSURE


class _Grid:
    """Prices of one pool by bucket; 0 where nobody measured."""

    def __init__(self, step: Ints, price: Ints) -> None:
        self._first = int(step[0]) if len(step) else 0
        self._price = np.zeros(int(step[-1]) - self._first + 1 if len(step) else 1, np.int64)
        self._price[step - self._first] = price

    def at(self, step: Ints) -> Ints:
        place = step - self._first
        inside = (place >= 0) & (place < len(self._price))
        return np.where(inside, self._price[np.where(inside, place, 0)], 0)


class _Reference:
    """Single buckets by the pure functions of the core."""

    def __init__(self, pools: Sequence[str], measured: _Measured, missing: _Missing) -> None:
        self._pools = pools
        self._measured = measured
        self._missing = missing

    def fill(self, row: int, peers: Sequence[int] = ()) -> tuple[int, int]:
        """Price and method of the missing bucket with this number; ``peers`` are the pools of its type and region."""
        gap, part = int(self._missing.gap[row]), int(self._missing.part[row])
        before = int(self._measured.step[gap])
        own = int(self._measured.pool[gap])
        reach = FILLED_UP_TO + 2 * NEAR_STEPS
        group = {self._pools[one]: self._series(one, before - reach, before + reach) for one in {own, *peers}}
        at = _instant(before + part)
        found = next(one for one in fill_gaps(group)[self._pools[own]] if one.bucket_start == at)
        return int(found.price.scaleb(6)), METHODS.index(found.method) + 1

    def _series(self, place: int, since: int, until: int) -> dict[datetime, Decimal]:
        whole = self._measured.of_pool(place)
        begin, end = np.searchsorted(self._measured.step[whole], [since, until])
        some = slice(whole.start + begin, whole.start + end)
        pairs: Any = zip(self._measured.step[some].tolist(), self._measured.price[some].tolist(), strict=True)
        return {_instant(step): Decimal(price).scaleb(-6) for step, price in pairs}


def _instant(step: int) -> datetime:
    return datetime.fromtimestamp(step * STEP, UTC)
