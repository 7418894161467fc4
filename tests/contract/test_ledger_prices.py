"""``LedgerStore`` on both storages: which prices were in force when (SV-4, SV-5, P8…P10)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from spotcore.prices import PriceSource
from spotcore.pricing import ListPrice, OndemandPrice, Quality, ondemand_series, spot_series
from spotcore.quality import Filled, FillMethod
from tests.support.stall import REGION, Stall, a_stall
from tests.support.world import START, World

D = Decimal
HOUR, DAY, FIVE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=5)


@pytest.fixture
def stall(shared_world: World) -> Stall:
    return a_stall(shared_world)


def series(stall: Stall, since: datetime, until: datetime, zone: str = "a") -> Callable[[datetime], object]:
    with stall.world.transactions() as uow:
        found = uow.ledger.spot([stall.pool(zone)], since, until)
    steps = spot_series(found.get(stall.pool(zone), ()))
    return lambda at: (steps.at(at).price, steps.at(at).quality)


def test_sv4_the_price_in_force_is_the_buckets_for_an_hour_at_most_p8(stall: Stall) -> None:
    stall.record(stall.seen("0.03", START), stall.seen("0.03", START + FIVE), stall.seen("0.04", START + 2 * FIVE))
    at = series(stall, START - DAY, START + DAY)
    second = timedelta(seconds=1)
    assert at(START - second) == (None, Quality.UNPRICED)
    assert at(START) == at(START + 2 * FIVE - second) == (D("0.03"), Quality.MEASURED)
    assert at(START + 2 * FIVE) == at(START + 2 * FIVE + HOUR - second) == (D("0.04"), Quality.MEASURED)
    assert at(START + 2 * FIVE + HOUR) == (None, Quality.UNPRICED)


def test_equal_neighbours_are_one_without_bridging_a_hole_of_more_than_an_hour(stall: Stall) -> None:
    for minutes in (0, 5, 10, 70, 135, 140):
        stall.record(stall.seen("0.03", START + timedelta(minutes=minutes)))
    at = series(stall, START - DAY, START + DAY)
    priced = (D("0.03"), Quality.MEASURED)
    for minutes, wanted in (
        (0, priced),
        (69, priced),
        (129, priced),
        (130, None),
        (134, None),
        (135, priced),
        (199, priced),
        (200, None),
    ):
        found = at(START + timedelta(minutes=minutes))
        assert found == (wanted or (None, Quality.UNPRICED)), minutes


def test_an_interpolated_price_is_an_estimate(stall: Stall) -> None:
    stall.record(stall.seen("0.03", START), stall.seen("0.03", START + 2 * FIVE, "2"))
    with stall.world.transactions() as uow:
        row = Filled(price=D("0.03"), bucket_start=START + FIVE, method=FillMethod.LINEAR)
        uow.prices.replace_fills(stall.group, START, {stall.pool(): [row]})
    at = series(stall, START - DAY, START + DAY)
    wanted = (Quality.MEASURED, Quality.ESTIMATED, Quality.MEASURED)
    assert [at(START + number * FIVE) for number in range(3)] == [(D("0.03"), quality) for quality in wanted]


def test_buckets_lie_strictly_between_the_instants_and_in_the_pools_asked_for(stall: Stall) -> None:
    for number in range(4):
        stall.record(stall.seen(f"0.0{number + 1}", START + number * FIVE), stall.seen("0.09", START, zone="b"))
    with stall.world.transactions() as uow:
        found = uow.ledger.spot([stall.pool()], START, START + 3 * FIVE)
        assert [(one.start, one.price) for one in found[stall.pool()]] == [
            (START + FIVE, D("0.02")), (START + 2 * FIVE, D("0.03"))
        ]  # fmt: skip
        assert stall.pool("b") not in found
        assert not uow.ledger.spot([], START, START + DAY)


def test_sv5_on_demand_prices_come_by_bucket_flagged_apart(stall: Stall) -> None:
    stall.listed("0.12", START + timedelta(seconds=77))
    stall.listed("0.13", START + FIVE, source=PriceSource.MANUAL_REPLICA)
    stall.listed("0.10", START, flagged=True)
    with stall.world.transactions() as uow:
        other = (stall.kind, "eu-west-1")
        found = uow.ledger.ondemand([stall.group, other])
        assert uow.ledger.ondemand([]) == {}
    assert sorted(found[stall.group].observed, key=lambda one: (one.at, one.price)) == [
        OndemandPrice(START, D("0.10"), True), OndemandPrice(START, D("0.12")), OndemandPrice(START + FIVE, D("0.13")),
    ]  # fmt: skip
    assert (list(found[other].listed), list(found[other].observed)) == ([], [])


def test_sv5_an_imported_list_counts_from_its_date_or_from_ever_p10(stored_world: World) -> None:
    stall = a_stall(stored_world)
    stall.listed("0.15", START)
    rows = [("-infinity", "0.10"), (START.isoformat(), "0.12")]
    connections = stored_world.transactions.__self__._connections
    for since, price in rows:
        connections.rows(
            "insert into ondemand_list (instance_type, region, since, price, source, imported_at)"
            " values (%(kind)s, %(region)s, %(since)s, %(price)s, 'test', now())",
            {"kind": stall.kind, "region": REGION, "since": since, "price": price},
        )
    with stored_world.transactions() as uow:
        found = uow.ledger.ondemand([stall.group])[stall.group]
    assert list(found.listed) == [ListPrice(D("0.10")), ListPrice(D("0.12"), START)]
    steps = ondemand_series(found.listed, found.observed)
    assert [steps.at(START + number * HOUR).price for number in (-9_000, -1, 0, 1)] == [
        D("0.10"),
        D("0.10"),
        D("0.12"),
        D("0.12"),
    ]
