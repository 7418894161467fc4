"""The ledger, line by line and in sum (7.2, 7.3, SV-1…SV-11, P8…P13)."""

import random
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore.account import account
from spotcore.ledger import (
    HORIZON,
    Entry,
    Line,
    Revision,
    effective,
    final_before,
    merged,
    revise,
    stretch,
)
from spotcore.pools import Mode
from spotcore.pricing import NO_PRICES, Bucket, OndemandPrice, Quality, ondemand_series, spot_series
from spotcore.tenure import Role, Tenure
from tests.support.money import ONDEMAND, SPOT, a_tenure, hour, lines_of, listed, steady

D = Decimal
DAY = 24


# --- 7.2: the five stories, to the cent -------------------------------------------------------------------------------


def saved(*tenures: Tenure, until: float, **prices: Any) -> Decimal:
    return account(line for one in tenures for line in lines_of(one, until, **prices)).saving


def test_7_2_three_times_to_spot_each_ended_after_two_hours() -> None:
    spot = [a_tenure(f"s{n}", start=8 * n, end=8 * n + 2, primary=((8 * n, 8 * n + 2),)) for n in range(3)]
    between = [
        a_tenure(f"o{n}", start=8 * n + 2, end=8 * n + 8, primary=((8 * n + 2, 8 * n + 8),), mode=Mode.ONDEMAND)
        for n in range(3)
    ]
    assert saved(*spot, *between, until=DAY) == D("0.1872")


def test_7_2_one_switch_then_thirty_days_on_spot() -> None:
    assert saved(a_tenure(primary=((0, None),)), until=30 * DAY) == D("22.4640")


def test_7_2_the_same_plus_a_replica_all_month() -> None:
    primary, replica = a_tenure(primary=((0, None),)), a_tenure("r")
    lines = [*lines_of(primary, 30 * DAY), *lines_of(replica, 30 * DAY, spot=steady("0.0098"))]
    assert account(lines).saving == D("15.4080")
    assert account(lines).replica_cost == D("7.056")


def test_7_2_back_to_on_demand_stays_where_it_is_sv10() -> None:
    on_spot = a_tenure("s", end=10, primary=((0, 10),))
    back = a_tenure("o", start=10, primary=((10, None),), mode=Mode.ONDEMAND)
    assert saved(on_spot, back, until=20) == saved(on_spot, back, until=10)


def test_sv10_a_loss_is_shown_as_a_loss() -> None:
    dear = a_tenure(primary=((0, None),))
    assert saved(dear, until=10, spot=steady("0.0616")) == D("-0.2")


# --- lines ------------------------------------------------------------------------------------------------------------


def facts(line: Line) -> tuple[Any, ...]:
    return (line.role, line.quality, line.baseline, line.cost, line.saving)


def test_7_3_a_primary_s_line_has_baseline_cost_and_saving() -> None:
    (line,) = lines_of(a_tenure(primary=((0, None),)), 10)
    assert facts(line) == (Role.PRIMARY, Quality.MEASURED, D("0.416"), D("0.104"), D("0.312"))
    assert (line.hours, line.paid_price, line.ondemand_price) == (10, SPOT, ONDEMAND)


@pytest.mark.parametrize(("shape", "role"), [({}, Role.REPLICA), ({"zombie": 0}, Role.ZOMBIE)])
def test_sv3_replicas_and_zombies_have_cost_and_no_baseline(shape: dict[str, Any], role: Role) -> None:
    (line,) = lines_of(a_tenure(**shape), 10)
    assert facts(line) == (role, Quality.MEASURED, D(0), D("0.104"), D("-0.104"))


def test_sv2_lines_are_cut_at_roles_prices_midnights_and_the_horizon() -> None:
    spot = spot_series([Bucket(hour(0), D("0.01"), last=hour(5)), Bucket(hour(5.5), D("0.02"), last=hour(40))])
    tenure = a_tenure(primary=((2, 30),), zombie=30)
    lines = lines_of(tenure, 33, spot=spot)
    assert [line.started_at for line in lines] == [hour(at) for at in (0, 2, 5.5, 24, 30)]
    assert lines[-1].ended_at == hour(33)
    assert [line.role for line in lines] == [Role.REPLICA, Role.PRIMARY, Role.PRIMARY, Role.PRIMARY, Role.ZOMBIE]


def test_sv2_a_line_never_crosses_a_month() -> None:
    lines = lines_of(a_tenure(primary=((0, None),)), 40 * DAY)
    assert all(line.started_at.month == (line.ended_at - timedelta(microseconds=1)).month for line in lines)
    assert len({line.started_at.month for line in lines}) == 2


def test_sv4_time_without_a_price_is_unpriced_never_a_number() -> None:
    spot = spot_series([Bucket(hour(0), SPOT, last=hour(3))])
    priced, unpriced = lines_of(a_tenure(primary=((0, None),)), 10, spot=spot)
    assert priced.ended_at == hour(4)
    assert facts(unpriced) == (Role.PRIMARY, Quality.UNPRICED, None, None, None)
    assert account([priced, unpriced]).unpriced_hours == 6


def test_p9_a_primary_without_an_on_demand_price_is_unpriced_and_a_replica_is_not() -> None:
    (primary,) = lines_of(a_tenure(primary=((0, None),)), 5, ondemand=NO_PRICES)
    (replica,) = lines_of(a_tenure(), 5, ondemand=NO_PRICES)
    assert (primary.quality, primary.cost) == (Quality.UNPRICED, None)
    assert (replica.quality, replica.cost) == (Quality.MEASURED, D("0.052"))


def test_p8_sv5_estimates_are_labelled() -> None:
    guessed = ondemand_series(observed=[OndemandPrice(hour(-5), ONDEMAND, flagged=True)])
    (line,) = lines_of(a_tenure(primary=((0, None),)), 5, ondemand=guessed)
    assert line.quality is Quality.ESTIMATED
    filled = spot_series([Bucket(hour(0), SPOT, filled=True, last=hour(9))])
    (line,) = lines_of(a_tenure(primary=((0, None),)), 5, spot=filled)
    assert line.quality is Quality.ESTIMATED
    assert account([line]).estimated_hours == 5


def test_a_mode_that_is_unknown_yet_is_unpriced_ag3() -> None:
    (line,) = lines_of(a_tenure(primary=((0, None),), mode=Mode.UNKNOWN), 5)
    assert (line.quality, line.saving) == (Quality.UNPRICED, None)


def test_on_demand_without_a_replica_saves_nothing() -> None:
    (line,) = lines_of(a_tenure(primary=((0, None),), mode=Mode.ONDEMAND), 7)
    assert (line.baseline, line.cost, line.saving) == (D("0.2912"), D("0.2912"), D(0))


def test_gr6_p12_amounts_are_rounded_half_even_to_8_decimals_and_totals_once() -> None:
    tenure = a_tenure(primary=((0, None),))
    price = D("0.010003")
    whole = lines_of(tenure, 1 / 3, spot=steady(price), ondemand=listed("0.041607"))
    assert all(line.cost == line.cost.quantize(D("1E-8")) for line in whole if line.cost is not None)
    parts = [
        line
        for n in range(1200)
        for line in lines_of(tenure, (n + 1) / 3600, since=n / 3600, spot=steady(price), ondemand=listed("0.041607"))
    ]
    assert account(parts) == account(whole)
    assert sum(line.cost for line in parts if line.cost) != account(whole).cost  # rounding each would drift


# --- identities (properties) ------------------------------------------------------------------------------------------

quarters = st.integers(0, 60 * 4).map(lambda number: number / 4)


@st.composite
def tenures(draw: st.DrawFn, name: str = "p") -> Tenure:
    """Any life of a machine: roles, mode and end at random quarters of an hour."""
    points = sorted(draw(st.lists(quarters, min_size=2, max_size=6, unique=True)))
    start, *inner = points
    end = inner.pop() if draw(st.booleans()) and inner else None
    periods, turns = [], iter(inner)
    for begin in turns:
        stop = next(turns, None)
        if stop is None and end is not None:
            stop = end
        periods.append((begin, stop))
    zombie = periods[-1][1] if periods and periods[-1][1] is not None and draw(st.booleans()) else None
    mode = draw(st.sampled_from([Mode.SPOT, Mode.SPOT, Mode.ONDEMAND, Mode.UNKNOWN]))
    return a_tenure(name, start=start, end=end, primary=tuple(periods), zombie=zombie, mode=mode)


series = st.lists(
    st.builds(
        Bucket,
        start=st.integers(0, 60 * 12).map(lambda number: hour(number / 12)),
        price=st.integers(1, 50_000).map(lambda n: D(n) / 1_000_000),
        filled=st.booleans(),
    ),
    unique_by=lambda one: one.start,
    max_size=25,
).map(spot_series)
ondemands = st.lists(
    st.builds(
        OndemandPrice,
        at=st.integers(-12, 60 * 12).map(lambda number: hour(number / 12)),
        price=st.integers(1, 90_000).map(lambda n: D(n) / 1_000_000),
        flagged=st.booleans(),
    ),
    max_size=5,
).map(lambda seen: ondemand_series(observed=seen))


@given(tenures(), series, ondemands)
def test_saving_is_baseline_less_cost_and_lines_tile_the_life_sv8(tenure: Tenure, spot: Any, ondemand: Any) -> None:
    lines = lines_of(tenure, 50, spot=spot, ondemand=ondemand)
    total = account(lines)
    assert total.saving == total.baseline - total.cost
    for line in lines:
        amounts = (line.baseline, line.cost, line.saving)
        assert all(one is None for one in amounts) == (line.quality is Quality.UNPRICED)
        if line.saving is not None and line.baseline is not None and line.cost is not None:
            assert line.saving == line.baseline - line.cost
    spans = list(tenure.spans(hour(50)))
    assert [(one.started_at, one.ended_at) for one in merged_roles(lines)] == [(one.start, one.end) for one in spans]
    served = sum(((one.end - one.start).total_seconds() for one in spans if one.role is Role.PRIMARY), 0.0)
    assert float(total.primary_hours) * 3600 == pytest.approx(served)


def merged_roles(lines: tuple[Line, ...]) -> list[Line]:
    """Neighbours of one role as one."""
    kept: list[Line] = []
    for line in lines:
        if kept and kept[-1].role is line.role and kept[-1].ended_at == line.started_at:
            kept[-1] = evolve(kept[-1], ended_at=line.ended_at)
        else:
            kept.append(line)
    return kept


@given(tenures(), series, ondemands, st.lists(quarters.filter(lambda at: at < 50), max_size=5))
def test_splitting_anywhere_leaves_all_sums_unchanged_p12(
    tenure: Tenure, spot: Any, ondemand: Any, cuts: list[float]
) -> None:
    edges = [-10_000, *sorted(cuts), 50]
    parts = [
        line
        for since, until in pairwise(edges)
        for line in lines_of(tenure, until, since=since, spot=spot, ondemand=ondemand)
    ]
    whole = lines_of(tenure, 50, spot=spot, ondemand=ondemand)
    assert account(parts) == account(whole)
    assert merged(parts) == merged(whole)  # P13


@given(tenures(), tenures("r"), series, ondemands)
def test_adding_a_replica_lowers_savings_by_exactly_its_cost_sv3(
    tenure: Tenure, standby: Tenure, spot: Any, ondemand: Any
) -> None:
    alone = lines_of(tenure, 50, spot=spot, ondemand=ondemand)
    replica = lines_of(evolve(standby, periods=()), 50, spot=spot, ondemand=ondemand)
    difference = account(alone).saving - account(replica).cost - account([*alone, *replica]).saving
    assert abs(difference) <= D("1E-8")  # each of the totals is rounded once


# --- revisions (SV-6, SV-7) -------------------------------------------------------------------------------------------


class Book:
    """A machine's entries, kept the way storage keeps them."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.number = 0

    def apply(self, revision: Revision) -> None:
        for name in revision.remove:
            del self.entries[name]
        for line in revision.add:
            self.number += 1
            self.entries[str(self.number)] = Entry(line_id=str(self.number), line=line)

    def revise(self, tenure: Tenure, now: float, **prices: Any) -> Revision:
        ends = max((one.line.ended_at for one in self.entries.values()), default=None)
        place = stretch(tenure, ends, hour(now))
        if place is None:
            return Revision()
        since, until = place
        wanted = tuple(
            line
            for line in lines_of(tenure, (until - hour(0)) / timedelta(hours=1), **prices)
            if line.started_at >= since
        )
        standing = [one for one in self.entries.values() if one.line.day >= since]
        revision = revise(standing, wanted, final_before(hour(now)))
        self.apply(revision)
        return revision

    @property
    def lines(self) -> list[Line]:
        return [one.line for one in self.entries.values()]


def test_sv6_the_horizon_is_fifteen_minutes_back_and_a_second_run_adds_nothing_i9() -> None:
    book, tenure = Book(), a_tenure(primary=((0, None),))
    book.revise(tenure, 10)
    assert max(line.ended_at for line in book.lines) == hour(10) - HORIZON
    assert book.revise(tenure, 10).is_empty
    assert not book.revise(tenure, 11).is_empty
    assert account(book.lines) == account(lines_of(tenure, 10.75))


def test_sv7_what_is_young_is_rebuilt_and_what_is_final_is_adjusted() -> None:
    book, tenure = Book(), a_tenure(primary=((0, None),))
    for now in range(1, 5 * DAY, 7):
        book.revise(tenure, now)
    cheap = steady("0.0050")
    before = account(book.lines)
    revision = book.revise(tenure, 5 * DAY, spot=cheap)
    final = final_before(hour(5 * DAY))
    assert final == hour(3 * DAY)
    assert all(one.started_at >= final or one.adjusts is not None for one in revision.add)
    assert {one.sign for one in revision.add if one.started_at < final} == {1, -1}
    assert account(book.lines) == account(lines_of(tenure, 5 * DAY - 0.25, spot=cheap))
    assert account(book.lines).saving > before.saving
    assert book.revise(tenure, 5 * DAY, spot=cheap).is_empty
    back = book.revise(tenure, 5 * DAY)  # and corrected once more
    assert not back.is_empty
    assert account(book.lines) == account(lines_of(tenure, 5 * DAY - 0.25))


def test_a_day_that_was_cut_short_by_a_long_outage_is_only_added_to() -> None:
    book, tenure = Book(), a_tenure(primary=((0, None),))
    book.revise(tenure, 10)
    revision = book.revise(tenure, 9 * DAY)
    assert all(one.sign == 1 and one.adjusts is None for one in revision.add)
    assert account(book.lines) == account(lines_of(tenure, 9 * DAY - 0.25))
    assert book.revise(tenure, 9 * DAY).is_empty


def test_an_outage_of_weeks_is_caught_up_jb3() -> None:
    book, tenure = Book(), a_tenure(primary=((0, 30 * DAY),), end=30 * DAY)
    book.revise(tenure, 2 * DAY)
    book.revise(tenure, 55 * DAY)
    assert account(book.lines) == account(lines_of(tenure, 60 * DAY))
    assert stretch(tenure, hour(30 * DAY), hour(70 * DAY)) is None  # nothing can change any more


def test_a_mode_that_becomes_known_prices_the_hours_before_sv7() -> None:
    book, unknown = Book(), a_tenure(primary=((0, None),), mode=Mode.UNKNOWN)
    book.revise(unknown, 10)
    assert account(book.lines).unpriced_hours == D("9.75")
    known = a_tenure(primary=((0, None),))
    book.revise(known, 11)
    assert account(book.lines) == account(lines_of(known, 10.75))


def test_an_end_that_is_confirmed_late_takes_hours_back() -> None:
    book = Book()
    book.revise(a_tenure(zombie=0), 4 * DAY)
    ended = a_tenure(zombie=0, end=10)
    book.revise(ended, 4 * DAY)
    assert account(book.lines) == account(lines_of(ended, 99))


@given(tenures(), st.lists(st.tuples(st.integers(1, 12 * DAY), series, ondemands), min_size=1, max_size=4), ondemands)
def test_whatever_arrives_when_the_ledger_ends_where_it_would_have_anyway_sv7(
    tenure: Tenure, history: list[tuple[int, Any, Any]], last: Any
) -> None:
    book = Book()
    for now, spot, ondemand in sorted(history, key=lambda one: one[0]):
        book.revise(tenure, now, spot=spot, ondemand=ondemand)
    now, spot, _ = max(history, key=lambda one: one[0])
    late_enough = now - 8 * DAY <= 0  # every day may still change (8.3)
    book.revise(tenure, now, spot=spot, ondemand=last)
    if late_enough:
        expected = lines_of(tenure, now - 0.25, spot=spot, ondemand=last)
        assert account(book.lines) == account(expected)
        assert merged([one.line for one in effective(list(book.entries.values()))]) == merged(expected)
    assert book.revise(tenure, now, spot=spot, ondemand=last).is_empty


@given(st.randoms(use_true_random=False))
def test_the_order_in_which_reports_arrive_does_not_change_the_ledger(chance: random.Random) -> None:
    buckets = [Bucket(hour(n / 12), D(chance.randint(1, 9)) / 100) for n in range(0, 120, 3)]
    shuffled = list(buckets)
    chance.shuffle(shuffled)
    tenure, first, second = a_tenure(primary=((0, None),)), Book(), Book()
    first.revise(tenure, 12, spot=spot_series(buckets))
    for upto in (10, 25, len(shuffled)):
        second.revise(tenure, 12, spot=spot_series(shuffled[:upto]))
    assert merged(first.lines) == merged([one.line for one in effective(list(second.entries.values()))])
