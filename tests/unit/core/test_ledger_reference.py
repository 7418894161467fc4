"""The ledger against a clerk who looks at every five minutes by itself (SV-2…SV-5, SV-8, P8…P12)."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from spotcore.account import account
from spotcore.pools import Mode
from spotcore.pricing import Bucket, ListPrice, OndemandPrice, Quality, ondemand_series, spot_series
from spotcore.tenure import Role
from tests.support.money import a_tenure, hour, lines_of

D = Decimal
SLOT = timedelta(minutes=5)
UNTIL = 200  # slots


def slot(number: int) -> datetime:
    return hour(0) + number * SLOT


@frozen(kw_only=True)
class Life:
    """A machine and the prices of its time, everything in slots of five minutes."""

    start: int
    end: int | None
    served: tuple[tuple[int, int | None], ...]
    zombie: int | None
    mode: Mode
    buckets: dict[int, tuple[int, bool]] = field(factory=dict)  # slot → millionths, filled
    observed: tuple[tuple[int, int, bool], ...] = ()  # slot, millionths, flagged
    listed: tuple[tuple[int | None, int], ...] = ()
    registered: int | None = None


def micros(number: int) -> Decimal:
    return D(number).scaleb(-6)


def lines(life: Life) -> Any:
    def hours(number: int | None) -> float | None:
        return number / 12 if number is not None else None

    tenure = a_tenure(
        start=life.start / 12, end=hours(life.end), primary=tuple((a / 12, hours(b)) for a, b in life.served),
        zombie=hours(life.zombie), mode=life.mode,
    )  # fmt: skip
    spot = spot_series(Bucket(slot(n), micros(price), filled=made) for n, (price, made) in life.buckets.items())
    ondemand = ondemand_series(
        [ListPrice(micros(price), since=slot(n) if n is not None else None) for n, price in life.listed],
        [OndemandPrice(slot(n), micros(price), flagged=flagged) for n, price, flagged in life.observed],
        micros(life.registered) if life.registered is not None else None,
    )
    return lines_of(tenure, UNTIL / 12, spot=spot, ondemand=ondemand)


# --- the clerk --------------------------------------------------------------------------------------------------------


def role_at(life: Life, n: int) -> Role | None:
    if n < life.start or (life.end is not None and n >= life.end):
        return None
    if any(a <= n and (b is None or n < b) for a, b in life.served):
        return Role.PRIMARY
    return Role.ZOMBIE if life.zombie is not None and n >= life.zombie else Role.REPLICA


def spot_at(life: Life, n: int) -> tuple[int, bool] | None:
    """The bucket of the slot, else the last earlier one less than 60 minutes ago."""
    return next((life.buckets[m] for m in range(n, n - 12, -1) if m in life.buckets), None)


def ondemand_at(life: Life, n: int) -> tuple[int, bool] | None:
    """Price and whether it is a guess: list, unflagged observation, registration, flagged observation."""
    since = [(a if a is not None else -(10**9), price) for a, price in life.listed if a is None or a <= n]
    if since:
        return max(since)[1], False
    for flagged in (False, True):
        seen = [(a, price) for a, price, doubt in life.observed if doubt is flagged and a <= n]
        if flagged and life.registered is not None:
            return life.registered, False
        if seen:
            return max(seen)[1], flagged
    return None


@frozen
class Slot:
    """What the clerk notes of five minutes."""

    role: Role
    quality: Quality
    paid: int = 0
    listed: int = 0


def noted(life: Life, n: int) -> Slot | None:
    role = role_at(life, n)
    if role is None:
        return None
    paid = {Mode.SPOT: spot_at, Mode.ONDEMAND: ondemand_at}.get(life.mode, lambda *_: None)(life, n)
    against = ondemand_at(life, n)
    needed = [paid, against] if role is Role.PRIMARY else [paid]
    if None in needed:
        return Slot(role, Quality.UNPRICED)
    guess = any(one is not None and one[1] for one in needed)
    assert paid is not None
    listed = against[0] if role is Role.PRIMARY and against is not None else 0
    return Slot(role, Quality.ESTIMATED if guess else Quality.MEASURED, paid[0], listed)


def cents(millionths: int) -> Decimal:
    """So many millionths of $/h for five minutes each, in $ with eight decimals."""
    exact = Fraction(millionths, 12 * 10**6) * 10**8
    whole = D(exact.numerator) / D(exact.denominator)
    return whole.quantize(D(1), ROUND_HALF_EVEN).scaleb(-8)


# --- lives ------------------------------------------------------------------------------------------------------------

numbers = st.integers(0, UNTIL - 1)
prices = st.integers(1, 90_000)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    points = sorted(draw(st.lists(numbers, min_size=1, max_size=6, unique=True)))
    start, *inner = points
    end = inner.pop() if inner and draw(st.booleans()) else None
    turns = iter(inner)
    served = [(begin, next(turns, end)) for begin in turns]
    last = served[-1][1] if served else start
    zombie = last if last is not None and last != end and draw(st.booleans()) else None
    return Life(
        start=start,
        end=end,
        served=tuple(served),
        zombie=zombie,
        mode=draw(st.sampled_from([Mode.SPOT, Mode.SPOT, Mode.ONDEMAND, Mode.UNKNOWN])),
        buckets=draw(st.dictionaries(numbers, st.tuples(prices, st.booleans()), max_size=25)),
        observed=tuple(draw(st.lists(st.tuples(numbers, prices, st.booleans()), max_size=4, unique_by=lambda one: one[0]))),
        listed=tuple(draw(st.lists(st.tuples(st.none() | numbers, prices), max_size=2, unique_by=lambda one: one[0]))),
        registered=draw(st.none() | prices),
    )  # fmt: skip


@given(lives())
def test_every_five_minutes_have_the_role_price_and_quality_that_the_clerk_notes(life: Life) -> None:
    found: dict[int, Slot] = {}
    for line in lines(life):
        first, last = (line.started_at - hour(0)) // SLOT, (line.ended_at - hour(0)) // SLOT
        for n in range(first, last):
            assert n not in found
            unpriced = line.quality is Quality.UNPRICED
            paid, listed = (
                0 if unpriced or price is None else int(price.scaleb(6))
                for price in (line.paid_price, line.ondemand_price)
            )
            found[n] = Slot(line.role, line.quality, paid, listed)
    assert found == {n: one for n in range(UNTIL) if (one := noted(life, n)) is not None}


@given(lives())
def test_the_sums_are_those_of_the_clerk_rounded_once(life: Life) -> None:
    slots = [one for n in range(UNTIL) if (one := noted(life, n)) is not None]
    found = account(lines(life))
    assert found.baseline == cents(sum(one.listed for one in slots))
    assert found.cost == cents(sum(one.paid for one in slots))
    assert found.replica_cost == cents(sum(one.paid for one in slots if one.role is Role.REPLICA))
    assert found.zombie_cost == cents(sum(one.paid for one in slots if one.role is Role.ZOMBIE))
    for hours, quality in ((found.estimated_hours, Quality.ESTIMATED), (found.unpriced_hours, Quality.UNPRICED)):
        assert hours * 12 == pytest.approx(sum(one.quality is quality for one in slots))
    assert found.primary_hours * 12 == pytest.approx(sum(one.role is Role.PRIMARY for one in slots))


@given(lives())
def test_no_line_leaves_its_day_and_no_two_neighbours_are_alike(life: Life) -> None:
    rows = lines(life)
    for line in rows:
        assert line.started_at < line.ended_at
        assert (line.ended_at - timedelta(microseconds=1)).date() == line.started_at.date()
    for one, other in pairwise(rows):
        facts = [(x.role, x.paid_price, x.ondemand_price, x.quality, x.day) for x in (one, other)]
        assert one.ended_at < other.started_at or facts[0] != facts[1]
