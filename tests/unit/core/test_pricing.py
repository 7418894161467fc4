"""Prices in force: SV-4 and SV-5."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.prices import OndemandObservation
from spotcore.pricing import BucketPrice, ListedPrice, OndemandOrigin, ondemand_in_force, price_in_force
from spotcore.quality import Carried, Filled, FillMethod, Observed

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def bucket(minutes: int, price: str = "0.04", method: FillMethod | None = None) -> BucketPrice:
    return BucketPrice(start=T0 + minutes * MINUTE, price=Decimal(price), confidence=Decimal(1), method=method)


def seen(minutes: int, price: str, *, flagged: bool = False) -> OndemandObservation:
    return OndemandObservation(
        instance_type="m5.large",
        region="us-east-1",
        price=Decimal(price),
        observed_at=T0 + minutes * MINUTE,
        flagged=flagged,
    )


@pytest.mark.parametrize(
    ("seconds", "price", "carried"),
    [
        pytest.param(0, "0.04", False, id="SV-4-first-second-of-the-bucket"),
        pytest.param(299, "0.04", False, id="SV-4-last-second-of-the-bucket"),
        pytest.param(300, "0.05", False, id="SV-4-next-bucket"),
        pytest.param(600, "0.05", True, id="SV-4-carried"),
        pytest.param(300 + 3600, "0.05", True, id="SV-4-carried-for-exactly-60-minutes"),
    ],
)
def test_sv4_the_bucket_or_the_last_earlier_one(seconds: int, price: str, carried: bool) -> None:
    found = price_in_force([bucket(5, "0.05"), bucket(0, "0.04")], T0 + timedelta(seconds=seconds))
    assert found is not None
    assert (found.price, isinstance(found, Carried)) == (Decimal(price), carried)


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(-1, id="SV-4-nothing-earlier"), pytest.param(3601, id="SV-4-older-than-60-minutes")],
)
def test_sv4_else_unpriced(seconds: int) -> None:
    assert price_in_force([bucket(0)], T0 + timedelta(seconds=seconds)) is None


def test_sv4_without_buckets_is_unpriced() -> None:
    assert price_in_force([], T0) is None


@given(st.sets(st.integers(0, 60)), st.integers(0, 24_000), st.randoms(use_true_random=False))
def test_sv4_no_later_bucket_and_no_order_matters(steps: set[int], seconds: int, random) -> None:  # type: ignore[no-untyped-def]
    at = T0 + timedelta(seconds=seconds)
    rows = [bucket(5 * step, f"0.{step + 10}") for step in sorted(steps)]
    shuffled = random.sample(rows, len(rows))
    found = price_in_force(shuffled, at)
    assert found == price_in_force([one for one in rows if one.start <= at], at)
    if found is not None:
        assert timedelta(0) <= at - found.bucket_start <= timedelta(hours=1)
        assert isinstance(found, Carried) == (at - found.bucket_start >= timedelta(minutes=5))


LISTED = [ListedPrice(price=Decimal("0.090"), since=T0 - 60 * MINUTE), ListedPrice(price=Decimal("0.099"), since=T0)]
SEEN = [seen(-10, "0.096"), seen(-20, "0.095"), seen(-1, "0.1", flagged=True)]


@pytest.mark.parametrize(
    ("known", "price", "origin"),
    [
        pytest.param(
            {"listed": LISTED, "observations": SEEN, "registered": Decimal("0.2")},
            "0.099",
            OndemandOrigin.PRICE_LIST,
            id="SV-5-list-first",
        ),
        pytest.param(
            {"observations": SEEN, "registered": Decimal("0.2")}, "0.096", OndemandOrigin.OBSERVED, id="SV-5-observed"
        ),
        pytest.param(
            {"observations": SEEN[2:], "registered": Decimal("0.2")},
            "0.2",
            OndemandOrigin.REGISTERED,
            id="SV-5-registered",
        ),
        pytest.param({"observations": SEEN[2:]}, "0.1", OndemandOrigin.FLAGGED, id="SV-5-flagged-last"),
        pytest.param(
            {"observations": SEEN[2:], "registered": Decimal(0)},
            "0.1",
            OndemandOrigin.FLAGGED,
            id="DQ-8-zero-is-missing",
        ),
    ],
)
def test_sv5_order_of_sources(known: dict, price: str, origin: OndemandOrigin) -> None:  # type: ignore[type-arg]
    found = ondemand_in_force(T0, **known)
    assert found is not None
    assert (found.price, found.origin, found.estimated) == (Decimal(price), origin, origin is OndemandOrigin.FLAGGED)


def test_sv5_looks_at_nothing_later() -> None:
    later = [ListedPrice(price=Decimal("0.09"), since=T0 + MINUTE)]
    assert ondemand_in_force(T0, listed=later, observations=[seen(1, "0.09"), seen(1, "0.1", flagged=True)]) is None


def test_sv5_a_tie_does_not_depend_on_order() -> None:
    rows = [seen(0, "0.097"), seen(0, "0.096")]
    assert ondemand_in_force(T0, observations=rows) == ondemand_in_force(T0, observations=rows[::-1])


def test_sv4_a_filled_bucket_is_filled_by_type() -> None:
    rows = [bucket(0, method=FillMethod.WEIGHTED_MEAN)]
    for at in (T0, T0 + 10 * MINUTE):
        found = price_in_force(rows, at)
        assert isinstance(found, Filled)
        assert found.confidence == Decimal("0.75")
    assert isinstance(price_in_force([bucket(0)], T0), Observed)
