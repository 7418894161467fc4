"""Which price was in force when (SV-4, SV-5, P8, P10)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.pricing import (
    Bucket,
    ListPrice,
    OndemandPrice,
    Quality,
    Series,
    ondemand_series,
    spot_series,
)
from tests.support.money import hour

MEASURED, ESTIMATED, UNPRICED = Quality.MEASURED, Quality.ESTIMATED, Quality.UNPRICED
SECOND = timedelta(seconds=1)


def at(series: Series, when: float) -> tuple[Any, Quality]:
    step = series.at(hour(when))
    return step.price, step.quality


def test_sv4_p8_a_bucket_holds_until_the_next_and_less_than_an_hour() -> None:
    series = spot_series([Bucket(hour(1), Decimal("0.03")), Bucket(hour(1.5), Decimal("0.04"))])
    assert series.at(hour(1) - SECOND).price is None
    assert at(series, 1) == (Decimal("0.03"), MEASURED)
    assert series.at(hour(1.5) - SECOND).price == Decimal("0.03")
    assert at(series, 1.5) == (Decimal("0.04"), MEASURED)
    assert series.at(hour(2.5) - SECOND).price == Decimal("0.04")
    assert at(series, 2.5) == (None, UNPRICED)


def test_p8_a_bucket_exactly_an_hour_later_leaves_no_hole() -> None:
    series = spot_series([Bucket(hour(1), Decimal("0.03")), Bucket(hour(2), Decimal("0.03"))])
    assert series.at(hour(2) - SECOND).price == Decimal("0.03")
    assert [step.at for step in series.steps] == [hour(1), hour(3)]


def test_sv4_a_hole_is_unpriced_and_ends_with_the_next_bucket() -> None:
    series = spot_series([Bucket(hour(1), Decimal("0.03")), Bucket(hour(5), Decimal("0.03"))])
    assert [at(series, when)[1] for when in (1.9, 2, 4.99, 5)] == [MEASURED, UNPRICED, UNPRICED, MEASURED]


def test_p8_a_filled_bucket_gives_an_estimate() -> None:
    series = spot_series([Bucket(hour(1), Decimal("0.03")), Bucket(hour(1.25), Decimal("0.03"), filled=True)])
    assert at(series, 1.2)[1] is MEASURED
    assert at(series, 1.3) == (Decimal("0.03"), ESTIMATED)


bucket_lists = st.lists(
    st.builds(
        Bucket,
        start=st.integers(0, 60).map(lambda number: hour(number / 12)),
        price=st.sampled_from([Decimal("0.03"), Decimal("0.04")]),
        filled=st.booleans(),
    ),
    unique_by=lambda one: one.start,
    max_size=20,
)


@given(bucket_lists, st.randoms(use_true_random=False), st.integers(0, 100 * 60))
def test_the_price_at_an_instant_is_that_of_the_last_bucket_of_the_hour_in_any_order(
    buckets: list[Bucket], chance: Any, minute: int
) -> None:
    when = hour(minute / 60)
    shuffled = list(buckets)
    chance.shuffle(shuffled)
    series = spot_series(shuffled)
    assert series == spot_series(buckets)
    before = [one for one in buckets if when - timedelta(minutes=60) < one.start <= when]
    last = max(before, key=lambda one: one.start, default=None)
    expected = (last.price, ESTIMATED if last.filled else MEASURED) if last else (None, UNPRICED)
    assert (series.at(when).price, series.at(when).quality) == expected


@given(bucket_lists)
def test_equal_neighbours_may_come_as_one_bucket_with_its_last_start(buckets: list[Bucket]) -> None:
    ordered = sorted(buckets, key=lambda one: one.start)
    joined: list[Bucket] = []
    for one in ordered:
        before = joined[-1] if joined else None
        follows = before is not None and one.start - (before.last or before.start) <= timedelta(minutes=60)
        if follows and before is not None and (before.price, before.filled) == (one.price, one.filled):
            joined[-1] = Bucket(before.start, before.price, before.filled, last=one.start)
        else:
            joined.append(one)
    assert spot_series(joined) == spot_series(buckets)


SOUND = OndemandPrice(hour(5), Decimal("0.10"))
DOUBTFUL = OndemandPrice(hour(2), Decimal("0.30"), flagged=True)
LISTED = ListPrice(Decimal("0.09"), since=hour(8))

ORDER: dict[str, tuple[dict[str, Any], list[tuple[float, Any, Quality]]]] = {
    "nothing known": ({}, [(0, None, UNPRICED)]),
    "a flagged one is an estimate from when it was seen": (
        {"observed": [DOUBTFUL]},
        [(1, None, UNPRICED), (2, Decimal("0.30"), ESTIMATED), (99, Decimal("0.30"), ESTIMATED)],
    ),
    "registration outranks flagged": (
        {"observed": [DOUBTFUL], "registered": Decimal("0.11")},
        [(0, Decimal("0.11"), MEASURED), (3, Decimal("0.11"), MEASURED)],
    ),
    "an unflagged observation outranks registration, without age limit": (
        {"observed": [SOUND, DOUBTFUL], "registered": Decimal("0.11")},
        [(4.9, Decimal("0.11"), MEASURED), (5, Decimal("0.10"), MEASURED), (900, Decimal("0.10"), MEASURED)],
    ),
    "the list outranks all, from its date": (
        {"listed": [LISTED], "observed": [SOUND], "registered": Decimal("0.11")},
        [(7.9, Decimal("0.10"), MEASURED), (8, Decimal("0.09"), MEASURED)],
    ),
    "a list without a date counts from ever": (
        {"listed": [ListPrice(Decimal("0.08"))], "observed": [SOUND]},
        [(-9_000, Decimal("0.08"), MEASURED), (6, Decimal("0.08"), MEASURED)],
    ),
}


@pytest.mark.parametrize("known", ORDER)
def test_sv5_p10_the_on_demand_price_in_force(known: str) -> None:
    given_, expected = ORDER[known]
    series = ondemand_series(**given_)
    assert [(when, *at(series, when)) for when, *_ in expected] == expected


def test_changes_lie_strictly_between() -> None:
    series = spot_series([Bucket(hour(1), Decimal("0.03")), Bucket(hour(1.5), Decimal("0.04"))])
    assert list(series.changes(hour(1), hour(2.5))) == [hour(1.5)]
    assert list(series.changes(hour(0), hour(9))) == [hour(1), hour(1.5), hour(2.5)]
    assert list(series.changes(hour(3), hour(9))) == []
