"""``PriceStore`` on both storages: repairs of buckets and the fills of gaps (DQ-4, DQ-5, GF-3…GF-6)."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from spotcore.prices import PriceSource
from spotcore.quality import Filled, FillMethod
from tests.support.stall import REGION, Stall, a_stall, reader
from tests.support.world import World

D = Decimal
FIVE = timedelta(minutes=5)


@pytest.fixture
def stall(shared_world: World) -> Stall:
    return a_stall(shared_world)


# ---- repairs (DQ-4, DQ-5)


@pytest.mark.parametrize(
    ("runner_up", "is_doubtful"),
    [("0.100500", False), ("0.100501", False), ("0.11", False), ("0.110001", True), ("0.09", False), ("0.089999", True)],
)  # fmt: skip
def test_dq5_a_runner_up_is_in_doubt_beyond_ten_percent_of_the_winner(
    stall: Stall, runner_up: str, is_doubtful: bool
) -> None:
    start = stall.now
    stall.record(stall.seen("0.1", start))
    stall.record(stall.seen(runner_up, start), source=PriceSource.MANUAL_REPLICA)
    stall.repair(start)
    assert list(stall.doubts(start)) == ([(stall.pool(), start)] if is_doubtful else [])
    assert stall.repair(start) == 0  # twice changes nothing
    assert stall.measured(start)[stall.pool()] == {start: D("0.1")}  # never averaged


def test_a_repair_looks_at_its_group_from_its_instant_on(stall: Stall) -> None:
    start = stall.now
    for number in range(3):
        at = start + number * FIVE
        stall.record(stall.seen("0.1", at))
        stall.record(stall.seen("0.2", at), source=PriceSource.BACKFILL)
    assert stall.repair(start + FIVE) == 2
    assert [at for _, at in stall.doubts(start)] == [start + FIVE, start + 2 * FIVE]
    assert [at for _, at in stall.doubts(start + 2 * FIVE)] == [start + 2 * FIVE]
    with stall.world.transactions() as uow:
        assert uow.prices.repair(("t0.never", REGION), start) == 0
        assert list(uow.prices.discrepancies((stall.kind, "eu-west-1"), start)) == []


def test_a_doubt_ends_when_another_runner_up_agrees(stall: Stall) -> None:
    start = stall.now
    stall.record(stall.seen("0.1", start))
    stall.record(stall.seen("0.2", start), source=PriceSource.BACKFILL)
    stall.repair(start)
    assert len(stall.doubts(start)) == 1
    stall.record(stall.seen("0.1", start, "agrees"), source=PriceSource.EMERGENCY_REPLICA)
    assert stall.repair(start) == 1
    assert list(stall.doubts(start)) == []


def test_groups_are_what_something_was_received_of_since_in_order(world: World) -> None:
    stall = Stall(world, "z9.large")
    stall.record(stall.seen("0.03", stall.now - timedelta(days=6)))
    other = Stall(world, "a1.large")
    other.record(other.seen("0.03", stall.now))
    with world.transactions() as uow:
        assert list(uow.prices.groups(stall.now)) == [("a1.large", REGION), ("z9.large", REGION)]
        assert list(uow.prices.groups(stall.now + timedelta(seconds=1))) == []


# ---- fills (GF-3, GF-5, GF-6)


def filled(at: datetime, price: str, method: FillMethod = FillMethod.LINEAR) -> Filled:
    return Filled(price=D(price), bucket_start=at, method=method)


def held(stall: Stall) -> list[tuple[datetime, Decimal, bool]]:
    """What the ledger reads, fills marked."""
    with stall.world.transactions() as uow:
        rows = uow.ledger.spot([stall.pool()], stall.now - timedelta(days=1), stall.now + timedelta(days=1))[
            stall.pool()
        ]
    return sorted((one.start, one.price, one.filled) for one in rows)


def test_gf5_fills_are_replaced_as_a_whole_and_the_same_again_changes_nothing(stall: Stall) -> None:
    start = stall.now
    stall.record(stall.seen("0.03", start))
    first = {stall.pool(): [filled(start + FIVE, "0.031"), filled(start + 2 * FIVE, "0.032")]}
    assert (stall.fill(start, first), stall.fill(start, first)) == (2, 0)
    assert held(stall) == [
        (start, D("0.03"), False), (start + FIVE, D("0.031"), True), (start + 2 * FIVE, D("0.032"), True)
    ]  # fmt: skip
    second = {stall.pool(): [filled(start + FIVE, "0.035"), filled(start + 3 * FIVE, "0.033")]}
    assert stall.fill(start, second) == 3  # one changed, one went, one came
    assert [row[1:] for row in held(stall)] == [(D("0.03"), False), (D("0.035"), True), (D("0.033"), True)]
    assert stall.fill(start, {}) == 2
    assert held(stall) == [(start, D("0.03"), False)]


def test_gf5_a_measured_bucket_is_never_touched_by_a_fill(stall: Stall) -> None:
    start = stall.now
    stall.record(stall.seen("0.03", start))
    assert stall.fill(start, {stall.pool(): [filled(start, "9")]}) == 0
    assert stall.measured(start)[stall.pool()] == {start: D("0.03")}
    assert held(stall) == [(start, D("0.03"), False)]


def test_gf5_a_late_measurement_takes_the_place_of_a_fill_for_good(stall: Stall) -> None:
    start = stall.now
    assert stall.fill(start, {stall.pool(): [filled(start, "0.04")]}) == 1
    stall.record(stall.seen("0.03", start), source=PriceSource.BACKFILL)
    assert held(stall) == [(start, D("0.03"), False)]
    assert stall.fill(start, {}) == 0  # it is no fill any more
    assert held(stall) == [(start, D("0.03"), False)]


def test_gf3_a_fill_is_neither_measured_nor_an_anchor_nor_a_quote(stall: Stall) -> None:
    start = stall.now
    stall.record(stall.seen("0.03", start))
    stall.fill(start, {stall.pool(): [filled(start + FIVE, "0.04"), filled(start + 2 * FIVE, "0.05")]})
    assert stall.measured(start)[stall.pool()] == {start: D("0.03")}
    shown = reader(stall).market()
    assert shown.spot[stall.pool()].price == D("0.03")
    assert shown.pools[stall.pool()].recent_prices == (D("0.03"),)


def test_gf6_fills_of_before_the_instant_and_of_other_groups_stay(stall: Stall) -> None:
    start, other = stall.now, a_stall(stall.world).kind
    stall.fill(start, {stall.pool(): [filled(start, "0.03"), filled(start + FIVE, "0.04")]})
    with stall.world.transactions() as uow:
        uow.prices.replace_fills((other, REGION), start, {f"{other}.{REGION}a": [filled(start, "0.07")]})
    assert stall.fill(start + FIVE, {}) == 1
    assert held(stall) == [(start, D("0.03"), True)]
    with stall.world.transactions() as uow:
        assert uow.prices.replace_fills((other, REGION), start, {}) == 1


def test_what_is_measured_is_of_the_group_and_from_the_instant_on(stall: Stall) -> None:
    start = stall.now
    for number in range(3):
        stall.record(stall.seen(f"0.0{number + 1}", start + number * FIVE))
    assert stall.measured(start + FIVE) == {stall.pool(): {start + FIVE: D("0.02"), start + 2 * FIVE: D("0.03")}}
    assert stall.measured(start + 3 * FIVE) == {}
