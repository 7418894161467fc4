"""Section 4.4: which pools a workload could move to, at every threshold, and the snapshot an engine is shown."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from spotcore import candidates
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.market import Market, PoolRecord, SpotQuote
from spotcore.pools import Mode
from tests.support.rule_builders import (
    LONG_AGO,
    POOL_A,
    POOL_B,
    POOL_C,
    START,
    D,
    a_market,
    an_aggregate,
    later,
    without_primary,
)

MARKET = a_market(a="0.05", b="0.03", c="0.04")


def pools(aggregate: Aggregate | None = None, market: Market = MARKET, at: float = 0) -> list[str]:
    found = candidates.eligible(aggregate or an_aggregate(), market, later(at))
    return [one.pool_id for one in found]


def with_quote(pool_id: str = POOL_B, **facts: Any) -> Market:
    """The market with facts of one pool's quote changed."""
    return evolve(MARKET, spot={**MARKET.spot, pool_id: evolve(MARKET.spot[pool_id], **facts)})


def with_pool(pool_id: str, price: str = "0.01") -> Market:
    quote = SpotQuote(pool_id=pool_id, price=D(price), observed_at=START)
    return evolve(MARKET, spot={**MARKET.spot, pool_id: quote})


def with_record(pool_id: str = POOL_B, **facts: Any) -> Market:
    record = PoolRecord(pool_id=pool_id, **{"first_observed_at": LONG_AGO, **facts})
    return evolve(MARKET, pools={**MARKET.pools, pool_id: record})


def test_4_4_other_pools_of_the_type_and_region_cheapest_first_and_never_the_current_one() -> None:
    assert pools() == [POOL_B, POOL_C]


@pytest.mark.parametrize(("seconds", "eligible"), [(0, True), (599, True), (600, True), (600.001, False), (900, False)])
def test_z15_a_price_is_fresh_for_ten_minutes(seconds: float, eligible: bool) -> None:
    assert (pools(at=seconds) == [POOL_B, POOL_C]) is eligible


@pytest.mark.parametrize(
    ("confidence", "eligible"), [("1.00", True), ("0.95", True), ("0.9499", False), ("0.90", False)]
)
def test_4_4_confidence_of_at_least_0_95(confidence: str, eligible: bool) -> None:
    assert (POOL_B in pools(market=with_quote(confidence=D(confidence)))) is eligible


@pytest.mark.parametrize(
    ("facts", "eligible"),
    [
        ({}, True),
        ({"is_filled": True}, False),
        ({"observed_at": START - timedelta(minutes=11)}, False),
        ({"observed_at": START - timedelta(minutes=61)}, False),
    ],
    ids=["observed", "filled", "carried", "expired"],
)
def test_4_4_only_an_observed_price_drives_a_switch(facts: dict[str, Any], eligible: bool) -> None:
    assert (POOL_B in pools(market=with_quote(**facts))) is eligible


@pytest.mark.parametrize(
    ("pool_id", "eligible"),
    [
        ("m5.large.us-east-1f", True),
        ("m5.xlarge.us-east-1b", False),
        ("c5.large.us-east-1b", False),
        ("m5.large.eu-west-1a", False),
    ],
    ids=["same", "other size", "other family", "other region"],
)
def test_4_4_same_type_and_same_region(pool_id: str, eligible: bool) -> None:
    assert (pool_id in pools(market=with_pool(pool_id))) is eligible


def test_4_4_an_excluded_pool_is_no_candidate() -> None:
    assert pools(an_aggregate(excluded_pools=(POOL_B,))) == [POOL_C]
    assert pools(an_aggregate(excluded_pools=(POOL_B, POOL_C))) == []


def test_4_4_a_pool_with_an_open_incident_of_this_client_is_no_candidate_another_clients_is() -> None:
    assert pools(market=with_record(own_open_incident=True)) == [POOL_C]
    assert pools(market=with_record(open_incident=True)) == [POOL_B, POOL_C]


@pytest.mark.parametrize("mode", [Mode.ONDEMAND, Mode.UNKNOWN])
def test_4_4_who_is_not_on_spot_may_move_to_the_pool_of_its_own_zone(mode: Mode) -> None:
    assert pools(an_aggregate(mode=mode)) == [POOL_B, POOL_C, POOL_A]


@pytest.mark.parametrize("build", list(Build))
def test_z28_what_the_server_chooses_for_a_v5_lies_in_its_primarys_zone(build: Build) -> None:
    aggregate = an_aggregate(build=build, mode=Mode.ONDEMAND)
    assert pools(aggregate) == ([POOL_A] if build is Build.V5 else [POOL_B, POOL_C, POOL_A])


def test_z28_a_v5_on_spot_has_no_other_pool_of_its_zone() -> None:
    assert pools(an_aggregate(build=Build.V5)) == []


def test_4_4_without_a_primary_there_is_nothing_to_move() -> None:
    assert pools(without_primary(an_aggregate())) == []


@pytest.mark.parametrize(
    ("b", "c", "preferred", "first"),
    [
        ("0.03", "0.04", ("us-east-1c",), POOL_B),  # a preference is worth nothing against a price
        ("0.03", "0.03", ("us-east-1c",), POOL_C),
        ("0.03", "0.03", (), POOL_B),  # pool id
        ("0.04", "0.03", (), POOL_C),
    ],
)
def test_4_4_preferred_zones_only_break_ties(b: str, c: str, preferred: tuple[str, ...], first: str) -> None:
    assert pools(an_aggregate(preferred_azs=preferred), a_market(a="0.05", b=b, c=c))[0] == first


def test_4_4_of_two_equal_prices_the_lower_risk_comes_first() -> None:
    level = a_market(a="0.05", b="0.03", c="0.03")
    risky = PoolRecord(pool_id=POOL_B, incidents_7d=3, first_observed_at=LONG_AGO)
    assert pools(market=evolve(level, pools={**level.pools, POOL_B: risky})) == [POOL_C, POOL_B]


@pytest.mark.parametrize(
    ("mode", "market", "price"),
    [
        (Mode.SPOT, MARKET, "0.05"),
        (Mode.SPOT, a_market(b="0.03"), None),
        (Mode.SPOT, with_quote(POOL_A, confidence=D("0.9")), None),
        (Mode.ONDEMAND, MARKET, "0.10"),
        (Mode.ONDEMAND, a_market(ondemand=None), None),
        (Mode.ONDEMAND, a_market(flagged=True), None),
        (Mode.UNKNOWN, MARKET, None),
    ],
    ids=["spot", "no price", "not sure enough", "on-demand", "no list", "flagged (DQ-8)", "unknown mode"],
)
def test_fb1_the_current_price_is_known_fresh_and_unflagged_or_none(
    mode: Mode, market: Market, price: str | None
) -> None:
    assert candidates.current_price(an_aggregate(mode=mode), market, START) == (D(price) if price else None)


@pytest.mark.parametrize(("seconds", "known"), [(600, True), (601, False)])
def test_z15_the_current_spot_price_ages_and_p10_the_on_demand_price_does_not(seconds: float, known: bool) -> None:
    spot = candidates.current_price(an_aggregate(), MARKET, later(seconds))
    assert (spot is not None) is known
    assert candidates.current_price(an_aggregate(mode=Mode.ONDEMAND), MARKET, later(seconds)) == D("0.10")


def test_4_1_the_snapshot_is_all_an_engine_sees_and_the_same_for_the_same_facts() -> None:
    aggregate = an_aggregate(min_savings_percent=D(20), risk_threshold=D("0.4"), preferred_azs=("us-east-1c",))
    shown = candidates.snapshot(aggregate, MARKET, START)
    assert shown == candidates.snapshot(aggregate, MARKET, START)
    assert (shown.instance_id, shown.instance_type, shown.region) == ("i-0m", "m5.large", "us-east-1")
    assert (shown.current_mode, shown.current_pool_id) == (Mode.SPOT, POOL_A)
    assert (shown.current_price, shown.ondemand_price) == (D("0.05"), D("0.10"))
    assert (shown.min_savings_percent, shown.risk_threshold, shown.preferred_azs) == (D(20), D("0.4"), ("us-east-1c",))
    assert [(one.pool_id, one.price, one.risk) for one in shown.candidates] == [
        (POOL_B, D("0.03"), D(0)),
        (POOL_C, D("0.04"), D(0)),
    ]


def test_4_1_a_snapshot_is_made_without_primary_or_prices_too_gr7() -> None:
    shown = candidates.snapshot(without_primary(an_aggregate()), Market(), START)
    assert (shown.instance_id, shown.current_mode, shown.current_price) == (None, Mode.UNKNOWN, None)
    assert (shown.ondemand_price, shown.current_risk, shown.candidates) == (None, None, ())


def test_4_4_the_age_of_the_current_machine_is_no_risk_of_a_candidate() -> None:
    shown = candidates.snapshot(an_aggregate(), MARKET, START + timedelta(seconds=1))
    assert shown.current_risk is not None
    assert shown.current_risk > 0
    assert {one.risk for one in shown.candidates} == {D(0)}
