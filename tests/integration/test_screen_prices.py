"""E30, E32, E80: prices around a machine and over time, from buckets that are known (http-api 7.5, 7.11)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at, change, put
from tests.support.server import Site, Tenant
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


@pytest.fixture
def host(tenant: Tenant) -> Host:
    return Host(tenant)


def asked(host: Host, path: str, **more: Any) -> Any:
    answer = host.tenant.get(f"/api/client/instances/{host.machine}{path}", **more)
    assert answer.status == 200, answer
    return answer.body if more else answer.data


def over_time(tenant: Tenant, query: str = "") -> Any:
    answer = tenant.get(f"/api/client/pricing-history{query}")
    assert answer.status == 200, answer
    return answer.data


# ---- E30


def test_e30_cheapest_first_unpriced_last_and_equal_prices_by_name(host: Host) -> None:
    host.ondemand("0.1")
    for zone, price in (("d", "0.03"), ("b", "0.02"), ("c", "0.03")):
        host.price(zone, price)
    host.price("a", "0.001", at(2))  # too old to be shown
    data = asked(host, "/pricing")
    assert [(row["az"][-1], row["price"], row["savings"]) for row in data["pools"]] == [
        ("b", 0.02, 80), ("c", 0.03, 70), ("d", 0.03, 70), ("a", None, None),
    ]  # fmt: skip
    assert data["pools"][0] == {
        "id": host.pool("b"), "name": f"Pool {host.pool('b')}", "az": "us-east-1b", "price": 0.02, "savings": 80,
    }  # fmt: skip
    assert data["currentPool"] == {"id": host.pool("a"), "name": f"Pool {host.pool('a')}", "az": "us-east-1a"}
    assert data["onDemand"] == {"name": "On-Demand", "price": 0.1}


def test_e30_savings_have_two_decimals_and_may_be_negative(host: Host) -> None:
    host.ondemand("0.03")
    host.price("a", "0.02")
    host.price("b", "0.045")
    assert [row["savings"] for row in asked(host, "/pricing")["pools"]] == [33.33, -50]


def test_e30_without_an_on_demand_price_no_savings_are_claimed_and_the_legacy_shape_has_zeros_t26(host: Host) -> None:
    host.price("a", "0.02")
    data = asked(host, "/pricing")
    assert data["onDemand"] == {"name": "On-Demand", "price": None}
    assert [(row["price"], row["savings"]) for row in data["pools"]] == [(0.02, None)]
    padded = asked(host, "/pricing", headers=LEGACY)
    assert padded == {
        **data, "onDemand": {"name": "On-Demand", "price": 0}, "pools": [{**data["pools"][0], "savings": 0}],
    }  # fmt: skip


@pytest.mark.parametrize(("mode", "shown"), [("spot", "spot"), ("ondemand", "ondemand"), ("unknown", "ondemand")])
def test_e30_an_unknown_mode_reads_on_demand(host: Host, mode: str, shown: str) -> None:
    change(host.site, "instances", {"instance_id": host.row_id}, mode=mode)
    assert asked(host, "/pricing")["currentMode"] == shown


def test_e30_of_a_machine_without_pool_or_type_is_empty_and_no_error_t41(host: Host) -> None:
    host.machine_row("terminated", "i-0bare", instance_type=None, az=None, mode="unknown", region=None)
    answer = host.tenant.get("/api/client/instances/i-0bare/pricing")
    assert answer.data == {
        "currentMode": "ondemand", "currentPool": None, "onDemand": {"name": "On-Demand", "price": None}, "pools": [],
    }  # fmt: skip


def test_e30_knows_no_pool_of_another_type_or_region(host: Host, tenant: Tenant) -> None:
    host.price("a", "0.02")
    other = Host(tenant, "other")
    other.price("b", "0.01")
    put(
        host.site, "pools", pool_id=f"{host.type}.eu-west-1a", instance_type=host.type, region="eu-west-1",
        az="eu-west-1a", first_observed_at=START,
    )  # fmt: skip
    assert [row["id"] for row in asked(host, "/pricing")["pools"]] == [host.pool("a")]


# ---- E32


def test_e32_rows_by_hour_hold_the_last_clean_bucket_of_each_pool_p14(host: Host) -> None:
    host.ondemand("0.1", at(10))
    host.ondemand("0.2", datetime(2026, 3, 2, 11, 30, tzinfo=UTC))
    for hour, minute, zone, price in (
        (10, 5, "a", "0.01"),
        (10, 55, "a", "0.02"),
        (10, 50, "b", "0.03"),
        (11, 0, "a", "0.04"),
    ):
        host.price(zone, price, datetime(2026, 3, 2, hour, minute, tzinfo=UTC))
    data = asked(host, "/price-history")
    a, b = f"pool_{host.pool('a')}", f"pool_{host.pool('b')}"
    assert data == {
        "data": [
            {"time": "2026-03-02 10:00", "onDemand": 0.1, a: 0.02, b: 0.03},
            {"time": "2026-03-02 11:00", "onDemand": 0.2, a: 0.04, b: None},
        ],
        "pools": [
            {"id": host.pool(zone), "name": f"Pool {host.pool(zone)}", "az": f"us-east-1{zone}", "key": f"pool_{host.pool(zone)}"}
            for zone in "ab"
        ],
        "onDemandPrice": 0.2,
    }  # fmt: skip


def test_e32_rows_by_day_hold_the_last_value_of_the_utc_day(host: Host) -> None:
    for day, hour, price in ((1, 0, "0.01"), (1, 23, "0.02"), (2, 0, "0.03")):
        host.price("a", price, datetime(2026, 3, day, hour, 55, tzinfo=UTC))
    key = f"pool_{host.pool('a')}"
    rows = asked(host, "/price-history?interval=day")["data"]
    assert [(row["time"], row[key]) for row in rows] == [("2026-03-01", 0.02), ("2026-03-02", 0.03)]


def test_e32_a_filled_bucket_is_a_point_too_p14(host: Host) -> None:
    host.price("a", "0.05", at(1), source="interpolated", rank=1)
    (row,) = asked(host, "/price-history")["data"]
    assert row[f"pool_{host.pool('a')}"] == 0.05


def test_e32_without_pools_is_empty_and_shows_the_on_demand_price(host: Host) -> None:
    host.ondemand("0.1")
    assert asked(host, "/price-history") == {"data": [], "pools": [], "onDemandPrice": 0.1}


def test_e32_an_on_demand_price_that_was_learned_later_is_no_earlier_one_sv5(host: Host) -> None:
    host.ondemand("0.2", at(1))
    for hours in (5, 1):
        host.price("a", "0.02", at(hours))
    assert [row["onDemand"] for row in asked(host, "/price-history")["data"]] == [None, 0.2]
    host.change(registered_ondemand_price="0.15")
    assert [row["onDemand"] for row in asked(host, "/price-history")["data"]] == [0.15, 0.2]


SPANS = [
    ("", {6}), ("?days=1", {0}), ("?days=0", {0}), ("?days=-3", {0}), ("?days=8", {6, 7}), ("?days=1000", {6, 7, 89}),
    ("?hours=1", {0}), ("?hours=2160", {6, 7, 89}), ("?hours=99999", {6, 7, 89}), ("?hours=145&days=1", {6}),
    ("?hours=1&days=90", {0}), ("?hours=0", {0}),
]  # fmt: skip


@pytest.mark.parametrize(("query", "seen"), SPANS)
def test_e32_days_are_7_unless_told_and_hours_win(host: Host, query: str, seen: set[int]) -> None:
    for days in (0, 6, 7, 89, 91):
        host.price("a", "0.02", at(days * 24) - timedelta(minutes=30))
    found = {row["time"] for row in asked(host, f"/price-history{query}")["data"]}
    wanted = {0} | seen
    assert found == {(at(days * 24) - timedelta(minutes=30)).strftime("%Y-%m-%d %H:00") for days in wanted}


def test_e32_is_the_same_in_the_legacy_shape(host: Host) -> None:
    host.price("a", "0.02")
    assert asked(host, "/price-history", headers=LEGACY) == asked(host, "/price-history")


# ---- E80


def test_e80_every_field_by_hour_and_by_day(tenant: Tenant, host: Host) -> None:
    host.ondemand("0.1", at(30))
    host.price("b", "0.03", at(25))
    host.price("a", "0.02", at(25))
    host.price("a", "0.04", at(1))
    assert over_time(tenant) == {
        "history": [
            {
                "timestamp": "2026-03-01 11:00:00", "ondemand_price": 0.1, "spot_pools": [
                    {"pool_id": host.pool("a"), "az": "us-east-1a", "price": 0.02},
                    {"pool_id": host.pool("b"), "az": "us-east-1b", "price": 0.03},
                ],
            },
            {
                "timestamp": "2026-03-02 11:00:00", "ondemand_price": 0.1,
                "spot_pools": [{"pool_id": host.pool("a"), "az": "us-east-1a", "price": 0.04}],
            },
        ],
        "days": 7, "data_points": 2, "agent_id": host.agent_id, "instance_type": host.type, "region": "us-east-1",
    }  # fmt: skip
    by_day = over_time(tenant, "?interval=day")["history"]
    assert [point["timestamp"] for point in by_day] == ["2026-03-01", "2026-03-02"]


def test_e80_without_prices_the_history_is_empty(tenant: Tenant, host: Host) -> None:
    data = over_time(tenant)
    assert (data["history"], data["data_points"], data["instance_type"]) == ([], 0, host.type)


def test_e80_a_price_is_null_before_the_first_that_was_known_and_the_registered_one_fills_it_sv5(
    tenant: Tenant, host: Host
) -> None:
    host.price("a", "0.02", at(5))
    host.ondemand("0.2", at(1))
    assert over_time(tenant)["history"][0]["ondemand_price"] is None
    host.change(registered_ondemand_price="0.15")
    assert over_time(tenant)["history"][0]["ondemand_price"] == 0.15


@pytest.mark.parametrize(
    ("query", "days", "points"),
    [("", 7, 2), ("?days=1", 1, 1), ("?days=0", 1, 1), ("?days=30", 30, 3), ("?days=31", 30, 3), ("?days=", 7, 2)],
)
def test_e80_days_are_clamped_to_30(tenant: Tenant, host: Host, query: str, days: int, points: int) -> None:
    for age in (0.1, 6, 29, 31):
        host.price("a", "0.02", at(age * 24))
    data = over_time(tenant, query)
    assert (data["days"], data["data_points"]) == (days, points)


def test_e80_is_about_the_online_agent_that_was_heard_last(tenant: Tenant) -> None:
    quiet, heard, off = Host(tenant, "quiet"), Host(tenant, "heard"), Host(tenant, "off")
    quiet.change(last_heartbeat_at=at(2))
    heard.change(last_heartbeat_at=at(1))
    off.change(last_heartbeat_at=at(0), link="offline")
    assert over_time(tenant)["agent_id"] == heard.agent_id
    assert over_time(tenant, f"?agent_id={quiet.agent_id}")["instance_type"] == quiet.type
    assert over_time(tenant, f"?instance_type={off.type}")["agent_id"] == off.agent_id


def test_e80_with_nobody_online_and_no_name_given_no_agent_matches(tenant: Tenant) -> None:
    off = Host(tenant, "off")
    off.change(last_heartbeat_at=at(0), link="offline")
    for nameless in ("", "?days=3&interval=day", "?agent_id=&instance_type="):
        answer = tenant.get(f"/api/client/pricing-history{nameless}")
        assert (answer.status, answer.body["error"]) == (404, "no agent matches")
    assert over_time(tenant, f"?agent_id={off.agent_id}")["agent_id"] == off.agent_id
    assert over_time(tenant, f"?instance_type={off.type}")["agent_id"] == off.agent_id
    off.change(enabled=False, link="online")
    assert over_time(tenant)["agent_id"] == off.agent_id  # what it runs and pays is not about being optimised


@pytest.mark.parametrize(
    "query", ["?agent_id=unknown", "?instance_type=x9.large", "?agent_id={gone}", "?agent_id={other}"]
)
def test_e80_is_404_when_no_agent_of_this_caller_matches(shared_site: Site, tenant: Tenant, query: str) -> None:
    Host(tenant)
    gone = Host(tenant, "gone")
    tenant.call("DELETE", f"/api/client/agents/{gone.agent_id}")
    other = Host(shared_site.client(f"other than {tenant.client_id}"))
    path = "/api/client/pricing-history" + query.format(gone=gone.agent_id, other=other.agent_id)
    answer = tenant.get(path)
    assert (answer.status, answer.body["code"], answer.body["error"]) == (404, "NOT_FOUND", "no agent matches")


def test_e80_the_operator_names_a_client_and_a_client_only_itself_c50(
    shared_site: Site, tenant: Tenant, host: Host
) -> None:
    other = Host(shared_site.client(f"other than {tenant.client_id}"))
    path = f"/api/client/pricing-history?client_id={other.tenant.client_id}"
    assert shared_site.call("GET", path).data["agent_id"] == other.agent_id
    assert tenant.get(path).body["code"] == "FORBIDDEN"
    assert over_time(tenant, f"?client_id={tenant.client_id}")["agent_id"] == host.agent_id
    assert shared_site.call("GET", f"{path}&agent_id={host.agent_id}").status == 404
    shared_site.call("DELETE", f"/api/admin/clients/{other.tenant.client_id}")
    assert shared_site.call("GET", path).status == 404  # CL-6
