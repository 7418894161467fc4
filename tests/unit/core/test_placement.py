"""Where a new machine goes, and by which means (5.3, 5.4, Z20, Z24, Z28, Z29)."""

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from spotcore import placement
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.incidents import Severity
from spotcore.market import UNKNOWN_MARKET, Market
from spotcore.placement import Placement, Via
from spotcore.pools import Mode, parse_pool
from tests.support.rule_builders import (
    POOL_A,
    POOL_B,
    POOL_C,
    a_machine,
    a_market,
    an_aggregate,
    an_incident,
    later,
    without_primary,
)
from tests.support.world import START, TYPE

MARKET = a_market(a="0.010", b="0.020", c="0.030")
CLASSIC = [Build.V4C, Build.UNKNOWN]


def with_records(market: Market = MARKET, **records: dict[str, Any]) -> Market:
    """The market with facts of some pools, by zone letter."""
    pools = dict(market.pools)
    for zone, facts in records.items():
        pool = f"{TYPE}.us-east-1{zone}"
        pools[pool] = evolve(pools[pool], **facts)
    return evolve(market, pools=pools)


def boots(seconds: int, samples: int = 3) -> dict[str, Any]:
    return {"boot_seconds": Decimal(seconds), "boot_samples": samples}


def safest(aggregate: Aggregate, market: Market = MARKET, **more: Any) -> Placement:
    return placement.safest(aggregate, market, START, **more)


def fastest(aggregate: Aggregate, market: Market = MARKET, **more: Any) -> Placement:
    return placement.fastest_boot(aggregate, market, START, **more)


SAFEST = {
    "lowest_risk": (with_records(b={"incidents_7d": 5}), POOL_C),
    "then_the_price": (MARKET, POOL_B),
    "unknown_price_last": (evolve(MARKET, spot={POOL_C: MARKET.spot[POOL_C]}), POOL_C),
    "never_its_own": (with_records(b={"incidents_7d": 9}, c={"incidents_7d": 9}), POOL_B),
    "none_in_trouble": (with_records(b={"open_incident": True}), POOL_C),
    "none_of_our_own_trouble": (with_records(b={"own_open_incident": True}), POOL_C),
    "none_left": (with_records(b={"open_incident": True}, c={"own_open_incident": True}), None),
    "nothing_known": (UNKNOWN_MARKET, None),
}


@pytest.mark.parametrize("build", CLASSIC)
@pytest.mark.parametrize("row", SAFEST)
def test_5_3_the_safest_pool_is_never_the_reclaimed_one_and_on_demand_when_none_is_left_z20(
    row: str, build: Build
) -> None:
    market, pool = SAFEST[row]
    place = safest(an_aggregate(build=build), market)
    assert place.pool_id == pool
    assert place.mode is (Mode.SPOT if pool else Mode.ONDEMAND)
    assert place.via is (Via.REPLICA_LIST if pool else Via.SWITCH_COMMAND)  # Z29: on-demand is a switch


FASTEST = {
    "shortest_boot": (with_records(b=boots(90), c=boots(40)), POOL_C),
    "two_samples_say_nothing": (with_records(b=boots(90), c=boots(40, samples=2)), POOL_B),
    "nobody_measured_is_the_safest": (with_records(b={"incidents_7d": 5}), POOL_C),
    "fast_but_in_trouble": (with_records(b=boots(90), c={**boots(40), "open_incident": True}), POOL_B),
    "its_own_is_the_fastest": (with_records(a=boots(1), b=boots(90)), POOL_B),
}


@pytest.mark.parametrize("row", FASTEST)
def test_5_4_a_termination_takes_the_fastest_boot_of_three_samples_or_more(row: str) -> None:
    market, pool = FASTEST[row]
    assert fastest(an_aggregate(), market).pool_id == pool


def test_5_4_pools_tried_before_are_left_out_and_the_third_attempt_is_on_demand() -> None:
    assert fastest(an_aggregate(), exclude=(POOL_B,)).pool_id == POOL_C
    assert fastest(an_aggregate(), exclude=(POOL_B, POOL_C)).mode is Mode.ONDEMAND
    assert fastest(an_aggregate(), ondemand_only=True).mode is Mode.ONDEMAND


@pytest.mark.parametrize("severity", list(Severity))
def test_z20_a_pool_with_an_open_incident_of_this_agent_is_avoided_before_the_market_knows_of_it(
    severity: Severity,
) -> None:
    troubled = an_aggregate(a_machine("b", zone="b"), an_incident("b", severity, pool_id=POOL_B))
    assert safest(troubled).pool_id == POOL_C
    assert placement.cheapest_replica_pool(troubled, MARKET, START).pool_id == POOL_C


@pytest.mark.parametrize(
    ("market", "ondemand_only", "pool"),
    [
        (MARKET, False, POOL_B),
        (MARKET, True, POOL_B),
        (with_records(b={"open_incident": True}), False, POOL_C),
        (with_records(b={"open_incident": True}, c={"open_incident": True}), False, POOL_B),  # the best that remains
        (UNKNOWN_MARKET, True, POOL_A),  # nothing else is known
    ],
)
def test_z24_a_disabled_v4c_gets_the_best_remaining_spot_pool_for_no_switch_reaches_it(
    market: Market, ondemand_only: bool, pool: str
) -> None:
    place = fastest(an_aggregate(enabled=False), market, ondemand_only=ondemand_only)
    assert (place.mode, place.pool_id, place.via) == (Mode.SPOT, pool, Via.REPLICA_LIST)


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("zone", ["a", "b", "c"])
def test_z28_an_emergency_of_a_v5_is_on_demand_in_its_primary_s_zone(zone: str, enabled: bool) -> None:
    aggregate = an_aggregate(build=Build.V5, primary=a_machine(zone=zone), enabled=enabled)
    for place in (safest(aggregate), fastest(aggregate)):
        assert (place.mode, place.pool_id, place.az) == (Mode.ONDEMAND, None, f"us-east-1{zone}")
        assert place.via is Via.LAUNCH_COMMAND


@pytest.mark.parametrize("build", [Build.V2, Build.V4N])
def test_z27_a_build_that_cannot_launch_has_no_place(build: Build) -> None:
    assert safest(an_aggregate(build=build)).via is Via.NOTHING
    assert fastest(an_aggregate(build=build)).via is Via.NOTHING
    assert placement.cheapest_replica_pool(an_aggregate(build=build), MARKET, START).via is Via.NOTHING


def test_rp13_type_and_zone_come_from_the_machine_that_served_last_when_nobody_serves() -> None:
    gone = without_primary(an_aggregate())
    assert placement.ondemand(gone).instance_type == TYPE
    assert placement.ondemand(gone).az == "us-east-1a"


@pytest.mark.parametrize(
    ("zones", "pool"), [((), POOL_B), (("us-east-1b",), POOL_C), (("us-east-1b", "us-east-1c"), POOL_B)]
)
def test_5_4_zones_the_agent_asks_to_leave_out_are_left_out_while_another_remains(
    zones: tuple[str, ...], pool: str
) -> None:
    assert fastest(an_aggregate(), exclude_zones=zones).pool_id == pool


def test_mr9_an_hour_old_price_is_no_price_in_a_placement_that_a_user_named_gf4() -> None:
    fresh = placement.in_pool(an_aggregate(), MARKET, parse_pool(POOL_B), later(3_600))
    stale = placement.in_pool(an_aggregate(), MARKET, parse_pool(POOL_B), later(3_601))
    assert (fresh.price, stale.price) == (Decimal("0.020"), None)


@pytest.mark.parametrize(
    ("build", "for_switch", "via"),
    [
        (Build.V4C, True, Via.SWITCH_COMMAND),
        (Build.V4C, False, Via.REPLICA_LIST),
        (Build.V5, True, Via.LAUNCH_COMMAND),
        (Build.V5, False, Via.LAUNCH_COMMAND),
        (Build.V2, True, Via.SWITCH_COMMAND),
        (Build.V2, False, Via.NOTHING),
    ],
)
def test_z27_z29_each_build_is_asked_in_its_own_way(build: Build, for_switch: bool, via: Via) -> None:
    place = placement.in_pool(an_aggregate(build=build), MARKET, parse_pool(POOL_C), START, for_switch=for_switch)
    assert (place.pool_id, place.via) == (POOL_C, via)
