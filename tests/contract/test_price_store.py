"""``PriceStore`` on both storages: what is recorded, and what a rule is shown of it (8.1, DQ-1…DQ-8)."""

from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from spotcore.alerts import Alert, AlertType
from spotcore.market import Market, OndemandQuote
from spotcore.ports.storage import UnitOfWork
from spotcore.prices import PriceSource
from spotcore.risk import pool_risk
from tests.support.stall import REGION, Stall, a_stall, reader
from tests.support.world import World

D = Decimal
FIVE = timedelta(minutes=5)


@pytest.fixture
def stall(shared_world: World) -> Stall:
    return a_stall(shared_world)


# ---- what is recorded


def test_nothing_is_known_of_a_market_nobody_reported(stall: Stall) -> None:
    assert stall.market() == Market()
    assert stall.measured(stall.now - timedelta(days=1)) == {}
    assert (stall.repair(stall.now), list(stall.doubts(stall.now)), stall.last()) == (0, [], None)
    assert stall.record() == []  # a report without a price


def test_a_rolled_back_report_leaves_no_trace(stall: Stall) -> None:
    def fails() -> None:
        with stall.world.transactions() as uow:
            uow.prices.record(stall.report(stall.seen("0.03", stall.now)))
            assert uow.prices.market(stall.world.client_id, stall.kind, REGION, stall.now).spot
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert stall.market() == Market()
    assert stall.measured(stall.now - timedelta(days=1)) == {}
    assert len(stall.record(stall.seen("0.03", stall.now))) == 0
    assert set(stall.market().spot) == {stall.pool()}


def test_a_report_undone_to_its_savepoint_leaves_what_was_before_dq4(stall: Stall) -> None:
    stall.record(stall.seen("0.03", stall.now), source=PriceSource.BACKFILL)

    def fails(uow: UnitOfWork) -> None:
        with uow.savepoint():
            uow.prices.record(stall.report(stall.seen("0.04", stall.now)))
            raise ZeroDivisionError

    with stall.world.transactions() as uow:
        with pytest.raises(ZeroDivisionError):
            fails(uow)
        uow.prices.record(stall.report(stall.seen("0.05", stall.now, zone="b")))
    prices = {pool: quote.price for pool, quote in reader(stall).market().spot.items()}
    assert prices == {stall.pool("a"): D("0.03"), stall.pool("b"): D("0.05")}


ORDER = [PriceSource.BACKFILL, PriceSource.MANUAL_REPLICA, PriceSource.EMERGENCY_REPLICA, PriceSource.PRIMARY]


def test_dq4_the_better_source_wins_its_bucket_and_the_worse_never(stall: Stall) -> None:
    start = stall.now
    for number, source in enumerate(ORDER):
        stall.record(stall.seen(f"0.0{number + 1}", start + timedelta(seconds=number)), source=source)
        assert stall.measured(start)[stall.pool()] == {start: D(f"0.0{number + 1}")}
    for source in ORDER[:-1]:
        stall.record(stall.seen("0.09", start), source=source)
    assert stall.measured(start)[stall.pool()] == {start: D("0.04")}


def test_dq4_of_equal_sources_the_earlier_wins_then_the_smaller_submission(stall: Stall) -> None:
    start = stall.now
    late, early = start + timedelta(seconds=299), start + timedelta(seconds=1)
    for row, wins in (
        (stall.seen("0.02", late, "m"), "0.02"), (stall.seen("0.03", early, "m2"), "0.03"),
        (stall.seen("0.04", early, "z"), "0.03"), (stall.seen("0.05", early, "a"), "0.05"),
        (stall.seen("0.06", late, "0"), "0.05"),
    ):  # fmt: skip
        stall.record(row)
        assert stall.measured(start)[stall.pool()] == {start: D(wins)}


@pytest.mark.parametrize(("seconds", "bucket"), [(0, 0), (299.999999, 0), (300, 1), (301, 1)])
def test_dq1_a_bucket_is_five_minutes_half_open(stall: Stall, seconds: float, bucket: int) -> None:
    stall.record(stall.seen("0.03", stall.now + timedelta(seconds=seconds)))
    assert set(stall.measured(stall.now)[stall.pool()]) == {stall.now + bucket * FIVE}


# ---- what a rule is shown


def test_the_clients_own_fresh_observation_comes_before_the_bucket_p15(stall: Stall) -> None:
    other = reader(stall)
    other.record(other.seen("0.02", stall.now - timedelta(seconds=60)))
    stall.record(stall.seen("0.03", stall.now), source=PriceSource.MANUAL_REPLICA)
    mine, theirs = stall.market().spot[stall.pool()], other.market().spot[stall.pool()]
    assert (mine.price, mine.observed_at, mine.confidence) == (D("0.03"), stall.now, D("1.00"))
    assert (theirs.price, theirs.observed_at) == (D("0.02"), stall.now - timedelta(seconds=60))


@pytest.mark.parametrize(("age", "own"), [(599, True), (600, True), (600.001, False), (86_400, False)])
def test_z15_an_own_observation_counts_for_ten_minutes(stall: Stall, age: float, own: bool) -> None:
    at = stall.now
    stall.record(stall.seen("0.03", at), source=PriceSource.MANUAL_REPLICA)
    other = reader(stall)
    other.record(other.seen("0.02", at))  # the bucket is the primary's
    stall.world.clock.advance(age)
    assert stall.market().spot[stall.pool()].price == D("0.03" if own else "0.02")


@pytest.mark.parametrize("order", [1, -1])
def test_p1_of_two_own_observations_at_one_instant_the_same_one_counts_whatever_came_last(
    stall: Stall, order: int
) -> None:
    """Two agents of a client in one second: the better source, then the smaller submission (DQ-4)."""
    rows = [
        (PriceSource.MANUAL_REPLICA, stall.seen("0.02", stall.now, "a")),
        (PriceSource.PRIMARY, stall.seen("0.04", stall.now, "z")),
        (PriceSource.PRIMARY, stall.seen("0.03", stall.now, "b")),
    ]
    for source, row in rows[::order]:
        stall.record(row, source=source)
    assert stall.market().spot[stall.pool()].price == D("0.03")


def test_the_quote_of_a_bucket_has_its_sources_confidence(stall: Stall) -> None:
    wanted = {"a": D("1.00"), "b": D("0.95"), "c": D("0.95"), "d": D("0.90")}
    for zone, source in zip("abcd", reversed(ORDER), strict=True):
        stall.record(stall.seen("0.03", stall.now, zone=zone), source=source)
    shown = reader(stall).market().spot
    assert {zone: shown[stall.pool(zone)].confidence for zone in wanted} == wanted


def test_4_3_the_trend_is_of_the_last_ten_measured_buckets_oldest_first(stall: Stall) -> None:
    start = stall.now
    for number in range(13):
        stall.record(stall.seen(f"0.{10 + number}", start + number * FIVE))
    record = reader(stall).market().pools[stall.pool()]
    assert record.recent_prices == tuple(D(f"0.{10 + number}") for number in range(3, 13))
    assert record.first_observed_at == start


@pytest.mark.parametrize("late", [timedelta(microseconds=1), timedelta(seconds=59), timedelta(days=7)])
def test_4_3_a_pool_was_first_observed_when_its_earliest_observation_was_whenever_that_comes_in(
    stall: Stall, late: timedelta
) -> None:
    """A report may be a week old (DQ-2), and need not win its bucket (DQ-4)."""

    def first() -> object:
        return reader(stall).market().pools[stall.pool()].first_observed_at

    at = stall.now
    stall.record(stall.seen("0.03", at))
    assert first() == at
    stall.record(stall.seen("0.04", at - late), stall.seen("0.05", at + FIVE), source=PriceSource.MANUAL_REPLICA)
    assert first() == at - late
    stall.record(stall.seen("0.03", at + FIVE + late))
    assert first() == at - late


def test_4_3_a_pool_is_young_until_its_earliest_observation_is_a_day_old(stall: Stall) -> None:
    stall.record(stall.seen("0.03", stall.now), stall.seen("0.03", stall.now, zone="b"))
    day = timedelta(hours=24)
    stall.record(stall.seen("0.03", stall.now - day), stall.seen("0.03", stall.now - day + FIVE, zone="b"))
    pools = stall.market().pools
    assert pool_risk(pools[stall.pool()], stall.now).flags == ()
    assert pool_risk(pools[stall.pool("b")], stall.now).flags == ("young_pool",)


def test_a_market_is_of_one_type_and_one_region_or_of_all_its_regions(stall: Stall) -> None:
    stall.record(stall.seen("0.03", stall.now))
    away = evolve(stall.seen("0.05", stall.now, "away"), pool_id=f"{stall.kind}.eu-west-1a")
    stall.record(away)
    assert set(stall.market().spot) == {stall.pool()}
    assert set(stall.market(None).spot) == {stall.pool(), away.pool_id}
    assert stall.market("eu-north-1") == Market()
    assert stall.market(kind="t0.never") == Market()


def test_gr7_a_market_of_nothing_known_is_empty(stall: Stall) -> None:
    stall.record(stall.seen("0.03", stall.now))
    with stall.world.transactions() as uow:
        found = uow.prices.market(stall.world.client_id, None, REGION, stall.now)
    assert (dict(found.spot), found.ondemand, dict(found.pools)) == ({}, None, {})


# ---- on-demand prices (DQ-7, DQ-8)


def test_dq8_an_unflagged_on_demand_price_comes_before_a_newer_flagged_one(stall: Stall) -> None:
    at = stall.now
    stall.listed("0.1", at, flagged=True)
    assert stall.market().ondemand == OndemandQuote(price=D("0.1"), observed_at=at, flagged=True)
    assert (stall.market().ondemand_price(), stall.last()) == (None, None)
    stall.listed("0.096", at - timedelta(hours=3))
    stall.listed("0.3", at + timedelta(hours=1), flagged=True)
    assert stall.market().ondemand == OndemandQuote(price=D("0.096"), observed_at=at - timedelta(hours=3))
    assert (stall.market().ondemand_price(), stall.last()) == (D("0.096"), D("0.096"))


def test_p11_the_last_on_demand_price_is_the_last_observed_whatever_came_in_last(stall: Stall) -> None:
    at = stall.now
    stall.listed("0.12", at)
    stall.listed("0.11", at - timedelta(hours=1))
    assert (stall.last(), stall.market().ondemand_price()) == (D("0.12"), D("0.12"))


def test_dq7_the_on_demand_price_of_a_bucket_is_its_winners(stall: Stall) -> None:
    """Key (type, region, bucket), the winner as of DQ-4: the best source, then the earliest."""
    at = stall.now
    stall.listed("0.13", at + timedelta(seconds=10), source=PriceSource.MANUAL_REPLICA)
    stall.listed("0.12", at + timedelta(seconds=20))
    assert (stall.last(), stall.market().ondemand_price()) == (D("0.12"), D("0.12"))
    stall.listed("0.14", at + timedelta(seconds=50))
    assert (stall.last(), stall.market().ondemand_price()) == (D("0.12"), D("0.12"))
    stall.listed("0.11", at + timedelta(seconds=1))
    assert (stall.last(), stall.market().ondemand_price()) == (D("0.11"), D("0.11"))
    stall.listed("0.15", at + timedelta(seconds=300), source=PriceSource.MANUAL_REPLICA)
    assert (stall.last(), stall.market().ondemand_price()) == (D("0.15"), D("0.15"))


def test_an_on_demand_price_is_of_its_type_and_region(stall: Stall) -> None:
    stall.listed("0.12", stall.now)
    with stall.world.transactions() as uow:
        for kind, region in ((stall.kind, "eu-west-1"), ("t0.never", REGION)):
            assert uow.prices.last_unflagged_ondemand(stall.world.client_id, kind, region, stall.now) is None


# ---- alerts that a report may concern (E83)


def test_a_report_gives_the_clients_own_enabled_alerts_on_its_pools(stall: Stall) -> None:
    made, other = stall.now, reader(stall)
    rows = {
        "any": None, "this": stall.pool("a"), "that": stall.pool("b"), "off": None,
    }  # fmt: skip
    alerts = {
        name: Alert(
            alert_id=f"{name}-{stall.world.client_id}", client_id=stall.world.client_id, threshold=D("1"), created_at=made,
            alert_type=AlertType.PRICE_BELOW, pool_id=pool, enabled=name != "off",
        )
        for name, pool in rows.items()
    }  # fmt: skip
    foreign = evolve(alerts["any"], alert_id=f"foreign-{stall.kind}", client_id=other.world.client_id)
    with stall.world.transactions() as uow:
        for alert in (*alerts.values(), foreign):
            uow.alerts.add(alert)
    found = stall.record(stall.seen("0.03", stall.now))
    assert sorted(found, key=lambda one: one.alert_id) == [alerts["any"], alerts["this"]]
    assert stall.record() == []
    assert list(other.record(other.seen("0.03", stall.now, "o"))) == [foreign]
