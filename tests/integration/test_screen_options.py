"""E33, E36, E37: where a workload could run, how steady pools are, what a switch would change (http-api 7.5)."""

import math
from decimal import Decimal
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at, change
from tests.support.server import Site, Tenant

LEGACY = {"X-Response-Shape": "legacy"}


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


@pytest.fixture
def host(tenant: Tenant) -> Host:
    return Host(tenant)


def asked(host: Host, path: str) -> Any:
    answer = host.tenant.get(f"/api/client/instances/{host.machine}{path}")
    assert answer.status == 200, answer
    return answer.data


def steadiness(host: Host) -> Any:
    return asked(host, "/pool-volatility")


def simulated(host: Host, **body: Any) -> Any:
    answer = host.tenant.post(f"/api/client/instances/{host.machine}/simulate-switch", body)
    assert answer.status == 200, answer
    return answer.data["simulation"]


def series(host: Host, zone: str, *prices: str, first: float = 1, step: float = 1) -> None:
    """Prices of a pool, one every ``step`` hours, the oldest first and the last ``first`` hours ago."""
    for number, price in enumerate(reversed(prices)):
        host.price(zone, price, at(first + number * step))


# ---- E33


def test_e33_every_field_and_both_names_of_each_list_c19(host: Host) -> None:
    host.ondemand("0.1")
    host.price("a", "0.05")
    host.price("b", "0.02")
    pools = [
        {"id": host.pool(zone), "az": f"us-east-1{zone}", "instanceType": host.type, "price": price,
         "savingsImpact": impact, "recommendation": None}
        for zone, price, impact in (("b", 0.02, 0.03), ("a", 0.05, 0))
    ]  # fmt: skip
    assert asked(host, "/available-options") == {
        "currentType": host.type, "currentRegion": "us-east-1", "currentAz": "us-east-1a", "currentPool": host.pool("a"),
        "availablePools": pools, "availableTypes": [host.type], "pools": pools, "instanceTypes": [host.type],
        "onDemandOption": {"price": 0.1, "savingsImpact": -0.05},
    }  # fmt: skip


def test_e33_types_are_those_of_the_family_that_have_pools_in_the_region_and_its_own_once(host: Host) -> None:
    family = host.type.partition(".")[0]
    for kind in ("xlarge", "2xlarge", "large"):
        Host(host.tenant, kind, type=f"{family}.{kind}").price("b", "0.02")
    Host(host.tenant, "metal", type=f"{family}.metal")  # runs somewhere, but nobody has seen a pool of it
    Host(host.tenant, "near", type=f"{family}a.large").price("b", "0.02")  # another family with a name like it
    known = [f"{family}.2xlarge", f"{family}.large", f"{family}.xlarge"]
    data = asked(host, "/available-options")
    assert (data["availableTypes"], data["instanceTypes"], data["currentType"]) == (known, known, host.type)
    assert {row["instanceType"] for row in data["pools"]} == {host.type}  # no build can change its type
    change(host.site, "pools", {"instance_type": f"{family}.xlarge"}, region="eu-west-1")
    assert asked(host, "/available-options")["availableTypes"] == known[:2]


def test_e33_the_impact_is_against_what_is_paid_now(host: Host) -> None:
    host.ondemand("0.1")
    host.price("b", "0.02")
    assert asked(host, "/available-options")["pools"][0]["savingsImpact"] is None  # the current pool has no price
    change(host.site, "instances", {"instance_id": host.row_id}, mode="ondemand", pool_id=None)
    data = asked(host, "/available-options")
    assert (data["pools"][0]["savingsImpact"], data["onDemandOption"]["savingsImpact"]) == (0.08, 0)
    assert data["currentPool"] is None


def test_e33_pools_are_advised_by_their_risk_and_the_cheapest_safe_one_is_best_4_1_4_3(host: Host) -> None:
    # trend over the last ten buckets; pools known for more than a day without incidents: risk = 0.3 x trend / 0.7
    for zone, first, last in (("a", "0.010", "0.010"), ("b", "0.004", "0.008"), ("c", "0.020", "0.020")):
        series(host, zone, first, last, first=0.1, step=26)
    host.price("d", "0.009", at(30))
    change(host.site, "price_buckets", {"pool_id": host.pool("d")}, observed_at=at(0.1))
    for number in range(9):
        host.put("incidents", instance_id=host.row_id, pool_id=host.pool("d"), opened_at=at(number + 1))
    rows = {row["az"][-1]: row["recommendation"] for row in asked(host, "/available-options")["pools"]}
    assert rows == {"b": "caution", "d": "avoid", "a": "best", "c": "safe"}


def test_e33_of_a_machine_of_nothing_known_is_200_t41(host: Host) -> None:
    host.machine_row("launching", "i-0bare33", instance_type=None, az=None, region=None, mode="unknown")
    data = host.tenant.get("/api/client/instances/i-0bare33/available-options").data
    assert data == {
        "currentType": None, "currentRegion": None, "currentAz": None, "currentPool": None, "availablePools": [],
        "availableTypes": [], "pools": [], "instanceTypes": [],
        "onDemandOption": {"price": None, "savingsImpact": None},
    }  # fmt: skip


# ---- E36


def test_e36_every_field_of_a_pool_with_a_day_of_prices(host: Host) -> None:
    series(host, "a", *["0.01", "0.03"] * 6, first=0.5)
    data = steadiness(host)["current_pool"]
    assert data == {
        "pool_id": host.pool("a"), "current_price": 0.03, "volatility_score": 0.01, "volatility_category": "high",
        "interruption_rate_24h": None, "price_stability_7d": 0.5, "recommendation": data["recommendation"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spread", "category"),
    [("0.0049", "very_low"), ("0.0050", "low"), ("0.0099", "low"), ("0.0100", "medium"), ("0.0199", "medium"),
     ("0.0200", "high")],
)  # fmt: skip
def test_e36_the_category_goes_by_the_deviation_over_the_mean(host: Host, spread: str, category: str) -> None:
    series(host, "a", str(Decimal("0.1") - Decimal(spread)), str(Decimal("0.1") + Decimal(spread)))
    assert steadiness(host)["current_pool"]["volatility_category"] == category


def test_e36_a_day_for_the_score_and_a_week_for_the_stability_measured_alone(host: Host) -> None:
    host.price("a", "0.02", at(1))
    host.price("a", "0.02", at(23))
    host.price("a", "0.9", at(25))
    host.price("a", "0.9", at(2), source="interpolated", rank=1)
    for hours in range(30, 39):
        host.price("a", "0.02", at(hours))
    data = steadiness(host)["current_pool"]
    assert (data["volatility_score"], data["volatility_category"]) == (0, "very_low")
    # a week: eleven of 0.02 and one of 0.9; deviation / mean is above one
    assert data["price_stability_7d"] == 0
    change(host.site, "price_buckets", {"pool_id": host.pool("a"), "bucket_start": at(25)}, bucket_start=at(8 * 24))
    assert steadiness(host)["current_pool"]["price_stability_7d"] is None  # eleven buckets are too few


def test_e36_without_prices_all_is_unknown_s27(host: Host) -> None:
    assert steadiness(host) == {
        "current_pool": {
            "pool_id": host.pool("a"), "current_price": None, "volatility_score": None,
            "volatility_category": "unknown", "interruption_rate_24h": None, "price_stability_7d": None,
            "recommendation": None,
        },
        "alternative_pools": [],
    }  # fmt: skip


def test_e36_five_cheapest_others_and_none_for_a_machine_without_a_pool(host: Host) -> None:
    for zone, price in zip("abcdefg", ("0.5", "0.07", "0.06", "0.05", "0.04", "0.03", "0.02"), strict=True):
        host.price(zone, price)
    data = steadiness(host)
    assert [row["pool_id"][-1] for row in data["alternative_pools"]] == ["g", "f", "e", "d", "c"]
    change(host.site, "instances", {"instance_id": host.row_id}, pool_id=None, mode="ondemand")
    data = steadiness(host)
    assert data["current_pool"] is None
    assert len(data["alternative_pools"]) == 5


def watched(host: Host, hours: float) -> None:
    """The primary has run in its pool for so long."""
    change(host.site, "instances", {"instance_id": host.row_id}, created_at=at(hours), confirmed_at=at(hours))


def test_e36_the_interruption_rate_needs_a_machine_day_and_counts_a_day_of_incidents(host: Host) -> None:
    watched(host, 23.9)
    host.price("a", "0.02")
    host.put("incidents", instance_id=host.row_id, pool_id=host.pool("a"), opened_at=at(1))
    assert steadiness(host)["current_pool"]["interruption_rate_24h"] is None
    change(host.site, "instances", {"instance_id": host.row_id}, confirmed_at=at(24))
    assert steadiness(host)["current_pool"]["interruption_rate_24h"] == 1
    host.put("incidents", instance_id=host.row_id, pool_id=host.pool("a"), opened_at=at(25))
    assert steadiness(host)["current_pool"]["interruption_rate_24h"] == 1
    host.machine_row("terminated", pool_id=host.pool("a"), cloud_id="i-0ended", created_at=at(48), terminated_at=at(12))
    assert steadiness(host)["current_pool"]["interruption_rate_24h"] == 0.6667  # one incident in a day and a half


def test_e36_the_rate_is_over_all_clients_and_shows_a_number_alone(shared_site: Site, host: Host) -> None:
    watched(host, 48)
    host.price("a", "0.02")
    other = Host(shared_site.client(f"other than {host.tenant.client_id}"), type=host.type)
    watched(other, 48)
    for number in range(3):
        other.put("incidents", instance_id=other.row_id, pool_id=host.pool("a"), opened_at=at(number + 1))
    found = steadiness(host)
    assert found["current_pool"]["interruption_rate_24h"] == 1.5  # three incidents in two machine-days
    assert found == shared_site.call("GET", f"/api/client/instances/{host.machine}/pool-volatility").data
    assert simulated(host, target_pool=host.pool("a"))["interruption_probability_24h"] == round(1 - math.exp(-1.5), 4)


# ---- E37


@pytest.mark.parametrize(
    ("current", "target", "hourly", "advice"),
    [
        ("0.0500", "0.0479", 0.0021, "strongly_recommended"), ("0.0500", "0.0480", 0.002, "recommended"),
        ("0.0500", "0.0499", 0.0001, "recommended"), ("0.0500", "0.0500", 0, "neutral"),
        ("0.0500", "0.0501", -0.0001, "not_recommended"),
    ],
)  # fmt: skip
def test_e37_what_is_saved_by_hour_day_and_month_of_30_days(
    host: Host, current: str, target: str, hourly: float, advice: str
) -> None:
    host.price("a", current)
    host.price("b", target)
    found = simulated(host, target_pool=host.pool("b"))
    assert (found["current_price"], found["target_price"]) == (float(current), float(target))
    assert (found["hourly_savings"], found["recommendation"]) == (hourly, advice)
    assert found["daily_savings"] == pytest.approx(hourly * 24)
    assert found["monthly_savings"] == pytest.approx(hourly * 720)


@pytest.mark.parametrize("body", [
    {"target_pool": "{b}"}, {"pool_id": "{b}"}, {"target_pool": "{b}", "target_type": "spot"},
    {"target_pool": "{b}", "target": "pool"}, {"target_pool": "{b}", "pool_id": "{a}"},
    {"target_pool": "{b}", "target_type": "spot", "target": "ondemand"}, {"target_pool": "{b}", "shape": "unknown"},
])  # fmt: skip
def test_e37_every_spelling_of_a_pool_and_the_canonical_one_wins(host: Host, body: dict[str, str]) -> None:
    host.price("a", "0.05")
    host.price("b", "0.02")
    named = {name: value.format(a=host.pool("a"), b=host.pool("b")) for name, value in body.items()}
    assert simulated(host, **named)["target_price"] == 0.02


@pytest.mark.parametrize("name", ["target_type", "target"])
@pytest.mark.parametrize("word", ["ondemand", "on-demand", "on_demand"])
def test_e37_on_demand_needs_no_pool_and_has_no_interruptions(host: Host, name: str, word: str) -> None:
    host.price("a", "0.05")
    host.ondemand("0.1")
    found = simulated(host, **{name: word})
    assert (found["target_price"], found["hourly_savings"], found["confidence"]) == (0.1, -0.05, 0)
    assert (found["volatility_risk"], found["interruption_probability_24h"]) == ("unknown", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "target_pool"), ({"target_type": "spot"}, "target_pool"), ({"target_pool": 7}, "target_pool"),
        ({"target_pool": "x" * 129}, "target_pool"), ({"target_type": 5, "target_pool": "m5.large.us-east-1a"}, "target_type"),
    ],
)  # fmt: skip
def test_e37_says_what_is_wrong(host: Host, body: dict[str, Any], field: str) -> None:
    answer = host.tenant.post(f"/api/client/instances/{host.machine}/simulate-switch", body)
    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")
    assert field in answer.body["details"]


def test_e37_downtime_is_the_mean_of_the_agents_switches_else_of_the_clients_else_unknown(
    host: Host, tenant: Tenant, shared_site: Site
) -> None:
    stranger = Host(shared_site.client(f"other than {tenant.client_id}"))
    stranger.switch(downtime_seconds="99")

    def estimate() -> Any:
        return simulated(host, target_pool=host.pool("b"))["estimated_downtime_seconds"]

    assert estimate() is None
    Host(tenant, "second").switch(downtime_seconds="8")
    assert estimate() == 8
    host.switch(downtime_seconds=None)
    assert estimate() == 8
    host.switch(downtime_seconds="1")
    host.switch(downtime_seconds="2.5")
    host.switch(downtime_seconds="1000", state="failed")
    assert estimate() == 1.75


def test_e37_confidence_is_the_share_of_measured_buckets_of_a_day(host: Host) -> None:
    series(host, "b", *["0.02"] * 36, first=0.1, step=1 / 12)
    assert simulated(host, target_pool=host.pool("b"))["confidence"] == 0.125
    assert simulated(host, target_pool=host.pool("c"))["confidence"] == 0


def test_e37_without_a_price_nothing_is_claimed(host: Host) -> None:
    found = simulated(host, target_pool=host.pool("b"))
    names = ("current_price", "target_price", "hourly_savings", "daily_savings", "monthly_savings", "recommendation")
    assert {found[name] for name in names} == {None}


def test_e37_changes_nothing_and_needs_no_key(host: Host) -> None:
    before = host.tenant.aggregate(host.agent_id)
    for _ in range(2):
        simulated(host, target_pool=host.pool("b"))
    assert host.tenant.aggregate(host.agent_id) == before
