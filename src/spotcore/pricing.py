"""Which price was in force when: step functions of time for a pool and for on-demand (SV-4, SV-5, P8…P10)."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import field, frozen

HELD: Final = timedelta(minutes=60)  # P8: how long a bucket's price stays in force when nothing follows
EVER: Final = datetime.min.replace(tzinfo=UTC)


class Quality(StrEnum):
    """How well an amount is known (7.3)."""

    MEASURED = "measured"
    ESTIMATED = "estimated"  # from an interpolated or flagged price
    UNPRICED = "unpriced"


@frozen
class Step:
    """From ``at`` on, until the next step: a price in $/h, or none."""

    at: datetime
    price: Decimal | None
    quality: Quality


@frozen
class Bucket:
    """A clean bucket of a pool (8.1): what 5 minutes cost, $/h."""

    start: datetime
    price: Decimal
    filled: bool = False  # interpolated (8.2)
    last: datetime | None = None  # stands for all buckets up to the one that starts then: equal ones without a hole


@frozen
class OndemandPrice:
    """An on-demand price an agent observed, $/h; flagged ones count last (DQ-8)."""

    at: datetime  # the start of its bucket (P10)
    price: Decimal
    flagged: bool = False


@frozen
class ListPrice:
    """An on-demand price of an imported list, $/h, from its own date on; from ever when it has none (P10)."""

    price: Decimal
    since: datetime | None = None


@frozen
class Series:
    """A price over time. Steps are in order and each differs from the one before."""

    steps: tuple[Step, ...] = ()
    _times: tuple[datetime, ...] = field(init=False, eq=False, repr=False)

    @_times.default
    def _starts(self) -> tuple[datetime, ...]:
        return tuple(step.at for step in self.steps)

    def at(self, instant: datetime) -> Step:
        """The step in force; one without a price before the first."""
        place = bisect_right(self._times, instant)
        return self.steps[place - 1] if place else UNPRICED

    def changes(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """Where it changes, strictly between the two instants."""
        return self._times[bisect_right(self._times, start) : _left(self._times, end)]


UNPRICED: Final = Step(EVER, None, Quality.UNPRICED)
NO_PRICES: Final = Series()


def _left(times: Sequence[datetime], end: datetime) -> int:
    place = bisect_right(times, end)
    return place - 1 if place and times[place - 1] == end else place


def _series(steps: Iterable[Step]) -> Series:
    kept: list[Step] = []
    for step in steps:
        before = kept[-1] if kept else UNPRICED
        if (step.price, step.quality) != (before.price, before.quality):
            kept.append(step)
    return Series(tuple(kept))


def spot_series(buckets: Iterable[Bucket]) -> Series:
    """A pool's price: each bucket's from its start until the next bucket, for 60 minutes at most (SV-4, P8)."""

    def steps() -> Iterable[Step]:
        ends: datetime | None = None
        for bucket in sorted(buckets, key=lambda one: one.start):
            if ends is not None and ends < bucket.start:
                yield Step(ends, None, Quality.UNPRICED)
            quality = Quality.ESTIMATED if bucket.filled else Quality.MEASURED
            yield Step(bucket.start, bucket.price, quality)
            ends = (bucket.last or bucket.start) + HELD
        if ends is not None:
            yield Step(ends, None, Quality.UNPRICED)

    return _series(steps())


def ondemand_series(
    listed: Iterable[ListPrice] = (), observed: Iterable[OndemandPrice] = (), registered: Decimal | None = None
) -> Series:
    """On-demand over time: the imported list, else the latest unflagged observation, else what was captured at
    registration, else the latest flagged one as an estimate (SV-5). Observations have no age limit (P10)."""
    lists = sorted((one.since or EVER, one.price) for one in listed)
    sound = sorted((one.at, one.price) for one in observed if not one.flagged)
    doubtful = sorted((one.at, one.price) for one in observed if one.flagged)

    def in_force(at: datetime) -> Step:
        for known in (lists, sound):
            price = _latest(known, at)
            if price is not None:
                return Step(at, price, Quality.MEASURED)
        if registered is not None:
            return Step(at, registered, Quality.MEASURED)
        guess = _latest(doubtful, at)
        return Step(at, guess, Quality.ESTIMATED if guess is not None else Quality.UNPRICED)

    times = sorted({EVER, *(at for rows in (lists, sound, doubtful) for at, _ in rows)})
    return _series(in_force(at) for at in times)


def _latest(rows: Sequence[tuple[datetime, Decimal]], at: datetime) -> Decimal | None:
    place = bisect_right(rows, at, key=lambda row: row[0])
    return rows[place - 1][1] if place else None
