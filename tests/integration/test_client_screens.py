"""E15, E23, E24, E29…E32, E35…E37, E68, E77…E81, E84, E85 over real tables."""

from decimal import Decimal
from typing import Any

import pytest

from tests.integration.test_admin_screens import host, switched
from tests.support.server import Reply, Site, Tenant
from tests.support.wire_agents import ONDEMAND, POOLS, TYPE, V2, V4c

LEGACY = {"X-Response-Shape": "legacy"}


@pytest.fixture
def tenant(site: Site) -> Tenant:
    return site.client("Acme")


def of_client(tenant: Tenant, path: str, **more: Any) -> Reply:
    return tenant.get(f"/api/client/{tenant.client_id}{path}", **more)


def of_machine(tenant: Tenant, machine: str, path: str, **more: Any) -> Reply:
    return tenant.get(f"/api/client/instances/{machine}{path}", **more)


def lines(tenant: Tenant, agent: V4c, *rows: tuple[str, str, str, str, str | None, str | None]) -> None:
    """Ledger lines: start, end, role, quality, baseline, cost."""
    with tenant.site.connections.connection() as connection:
        for number, (start, end, role, quality, baseline, cost) in enumerate(rows):
            connection.execute(
                """insert into ledger_lines (client_id, line_id, agent_id, instance_id, started_at, ended_at, role, mode,
                       baseline, cost, saving, quality, recorded_at)
                   select client_id, %(line)s, agent_id, instance_id, %(start)s, %(end)s, %(role)s, 'spot',
                       %(baseline)s::numeric, %(cost)s::numeric, %(baseline)s::numeric - %(cost)s::numeric, %(quality)s,
                       now() from instances where agent_id = %(agent)s order by created_at limit 1""",
                {"line": f"{agent.agent_id}-{number}-{start}", "start": start, "end": end, "role": role,
                 "baseline": baseline, "cost": cost, "quality": quality, "agent": agent.agent_id},
            )  # fmt: skip


# ---- E15, E24


def test_e15_shows_a_client_with_flat_numbers_and_its_month_c23(tenant: Tenant) -> None:
    agent = host(tenant)
    switched(agent)
    empty = of_client(tenant, "").data
    assert empty["savings"] == {
        "baseline_cost": None, "actual_cost": None, "realised_savings_period": None, "savings_percentage": None,
        "replica_cost": None, "zombie_cost": None, "estimated_hours": 0, "unpriced_hours": 0,
        "projected_monthly": None, "estimate": True,
    }  # fmt: skip
    lines(
        tenant, agent,
        ("2026-02-20T00:00Z", "2026-02-21T00:00Z", "primary", "measured", "10", "4"),
        ("2026-03-01T00:00Z", "2026-03-01T12:00Z", "primary", "estimated", "3", "1"),
        ("2026-03-01T12:00Z", "2026-03-02T00:00Z", "primary", "unpriced", None, None),
        ("2026-03-02T00:00Z", "2026-03-02T06:00Z", "replica", "measured", "0", "0.5"),
    )  # fmt: skip
    data = of_client(tenant, "").data
    assert (data["agentsOnline"], data["agentsTotal"], data["instances"]) == (1, 1, 1)
    assert data["agentCounts"] == {"online": 1, "offline": 0, "total": 1}
    assert data["instanceCounts"] == {"active": 1, "zombie": 1, "terminated": 0}
    assert data["realisedSavings"] == 7.5
    assert data["savings"] == {
        "baseline_cost": 3, "actual_cost": 1.5, "realised_savings_period": 1.5, "savings_percentage": 50,
        "replica_cost": 0.5, "zombie_cost": 0, "estimated_hours": 12, "unpriced_hours": 12,
        "projected_monthly": 36.5, "estimate": True,
    }  # fmt: skip


def test_e15_is_the_clients_own_and_a_deleted_one_is_gone(site: Site, tenant: Tenant) -> None:
    other = site.client("Other")
    refused = other.get(f"/api/client/{tenant.client_id}")
    assert (refused.status, refused.body["code"]) == (403, "FORBIDDEN")
    assert site.call("GET", "/api/client/unknown").status == 404
    assert site.call("GET", f"/api/client/{tenant.client_id}").data["name"] == "Acme"
    site.call("DELETE", f"/api/admin/clients/{tenant.client_id}")
    assert site.call("GET", f"/api/client/{tenant.client_id}").status == 404
    legacy = other.get(f"/api/client/{other.client_id}", headers=LEGACY).body
    assert (legacy["totalSavings"], legacy["realisedSavings"]) == (0, 0)  # T26


def test_e24_lists_deleted_agents_too_in_the_order_people_read(tenant: Tenant) -> None:
    online, offline, deleted = host(tenant, "on"), host(tenant, "off"), host(tenant, "gone")
    offline.stop()
    tenant.site.clock.advance(60)
    online.heartbeat()
    tenant.call("DELETE", f"/api/client/agents/{deleted.agent_id}")
    switched(online)
    rows = of_client(tenant, "/agents/history").data
    assert [(row["logicalAgentId"], row["status"]) for row in rows] == [
        ("on", "online"), ("off", "offline"), ("gone", "deleted"),
    ]  # fmt: skip
    assert [row["totalSwitches"] for row in rows] == [1, 0, 0]
    assert rows[0]["terminatedAt"] is None
    assert rows[2]["terminatedAt"] == "2026-03-02T12:01:00Z"
    assert rows[2]["instanceId"] == deleted.machine
    assert rows[1]["installedAt"] == rows[1]["createdAt"] == "2026-03-02T12:00:00Z"


# ---- E23, E68


def test_e23_tells_of_each_agent_what_the_page_reads_c21(tenant: Tenant) -> None:
    agent = host(tenant)
    silent = host(tenant, "silent")
    silent.stop()
    for _ in range(4):
        tenant.site.clock.advance(300)
        agent.heartbeat()
        agent.prices()
    tenant.site.plane.decisions.round()
    tenant.site.clock.advance(120)
    rows = of_client(tenant, "/agents/decisions").data
    assert [row["agentName"] for row in rows] == ["web", "silent"]
    first = rows[0]
    assert (first["isHealthy"], first["lastHeartbeat"]) == (True, "2 min ago")
    assert first["lastDecision"]["type"] in {"stay", "switch_spot", "switch_ondemand"}
    assert first["lastDecision"]["elapsed"] == {"minutes": 2, "value": 2, "unit": "min", "formatted": "2 min"}
    assert set(first["decisionHistory"][0]) == {"type", "action", "riskScore", "expectedSavings", "currentMode", "time"}
    assert first["pricingHealth"]["status"] == "healthy"
    assert first["pricingHealth"]["recentReportsCount"] == 5
    report = first["pricingHealth"]["recentReports"][0]
    assert (report["onDemandPrice"], report["spotPrice"]) == (ONDEMAND, POOLS["us-east-1a"])
    assert first["recentActivity"]["healthStatus"]["heartbeat"] == "active"
    assert all(event["message"] for event in first["recentActivity"]["systemEvents"])
    assert (rows[1]["isHealthy"], rows[1]["pricingHealth"]["status"]) == (False, "unhealthy")


def test_e23_leaves_out_reports_that_the_page_would_divide_by_t42(tenant: Tenant) -> None:
    agent = V4c(tenant, tenant.site.new_machine(), logical="web")
    agent.register()
    agent.heartbeat()
    agent.post("/pricing-report", {"instance": {"instance_id": agent.machine}, "spot_pools": [
        {"pool_id": f"{TYPE}.us-east-1a", "instance_type": TYPE, "az": "us-east-1a", "price": 0.02}]})  # fmt: skip
    health = of_client(tenant, "/agents/decisions").data[0]["pricingHealth"]
    assert (health["recentReports"], health["recentReportsCount"]) == ([], 1)


def test_e23_of_an_agent_that_did_nothing_yet_is_nulls_and_empty_lists(tenant: Tenant) -> None:
    agent = V4c(tenant, tenant.site.new_machine(), logical="web")
    agent.register()
    row = of_client(tenant, "/agents/decisions", headers=LEGACY).body[0]
    assert row["lastDecision"] == {"type": None, "time": None, "elapsed": None}
    assert (row["decisionHistory"], row["isHealthy"]) == ([], False)


def test_e68_counts_decisions_and_switches(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    nothing = agent.get("/statistics").data["statistics"]
    assert nothing == {
        "total_decisions": 0, "switches_executed": 0, "switches_recommended": 0, "success_rate": 0,
        "average_confidence": 0, "last_decision_at": None,
        "decisions_by_trigger": {"manual": 0, "model": 0, "automatic": 0, "emergency": 0}, "avg_downtime_seconds": 0,
        "total_savings_generated": 0,
    }  # fmt: skip
    site.plane.decisions.round()
    switched(agent)
    data = agent.get("/statistics")
    assert data.body["statistics"] == data.data["statistics"]
    found = tenant.get(f"/api/client/agents/{agent.agent_id}/statistics").data["statistics"]
    assert (found["total_decisions"], found["switches_executed"], found["success_rate"]) == (1, 1, 1)
    assert found["decisions_by_trigger"]["manual"] == 1
    assert found["avg_downtime_seconds"] == 2
    assert site.call("GET", f"/api/agents/{agent.agent_id}/statistics").status == 200
    assert site.client("Other").get(f"/api/agents/{agent.agent_id}/statistics").status == 404


# ---- E29…E32


def test_e29_lists_every_machine_with_honest_prices(tenant: Tenant) -> None:
    agent = host(tenant)
    new = switched(agent)
    rows = of_client(tenant, "/instances").data
    assert {row["id"]: row["instanceStatus"] for row in rows} == {new: "running_primary", agent.machine: "zombie"}
    primary = next(row for row in rows if row["isPrimary"])
    assert primary == {
        "id": new, "type": TYPE, "region": "us-east-1", "az": "us-east-1b", "mode": "spot",
        "poolId": f"{TYPE}.us-east-1b", "spotPrice": 0.0125, "onDemandPrice": ONDEMAND, "isActive": True,
        "instanceStatus": "running_primary", "isPrimary": True, "lastSwitch": "2026-03-02T12:00:00Z",
        "agentId": agent.agent_id, "installedAt": "2026-03-02T12:00:00Z",
    }  # fmt: skip


def test_e29_filters_by_state_mode_and_text(tenant: Tenant) -> None:
    agent = host(tenant)
    new = switched(agent)
    steady = host(tenant, "steady", mode="ondemand")

    def ids(query: str) -> set[str]:
        return {row["id"] for row in of_client(tenant, f"/instances?{query}").data}

    assert ids("status=active") == {new, steady.machine}
    assert ids("status=terminated") == {agent.machine}
    assert ids("mode=ondemand") == {steady.machine}
    assert ids(f"search={new[-8:]}") == {new}
    assert ids("search=t3.med") == {agent.machine, new, steady.machine}
    assert ids("search=%25") == ids("search=_") == set()  # S14
    assert of_client(tenant, "/instances?status=running").status == 400


def test_e29_legacy_shows_the_price_really_paid_and_never_invents_savings_c54_t42(tenant: Tenant) -> None:
    on_spot, steady = host(tenant), host(tenant, "steady", mode="ondemand")
    blind = V2(tenant, tenant.site.new_machine(), logical="blind")
    blind.register()
    rows = {row["id"]: row for row in of_client(tenant, "/instances", headers=LEGACY).body}
    assert (rows[on_spot.machine]["spotPrice"], rows[on_spot.machine]["onDemandPrice"]) == (0.0208, ONDEMAND)
    assert (rows[steady.machine]["spotPrice"], rows[steady.machine]["onDemandPrice"]) == (ONDEMAND, ONDEMAND)
    assert (rows[blind.machine]["spotPrice"], rows[blind.machine]["onDemandPrice"]) == (0, 0)
    honest = {row["id"]: row for row in of_client(tenant, "/instances").data}
    assert honest[blind.machine]["spotPrice"] is None
    assert honest[blind.machine]["mode"] == "unknown"


def test_e30_pools_cheapest_first_unpriced_last_and_padded_in_the_legacy_shape_t26(tenant: Tenant) -> None:
    agent = host(tenant)
    data = of_machine(tenant, agent.machine, "/pricing").data
    assert data["currentMode"] == "spot"
    assert data["currentPool"] == {
        "id": f"{TYPE}.us-east-1a", "name": f"Pool {TYPE}.us-east-1a", "az": "us-east-1a",
    }  # fmt: skip
    assert data["onDemand"] == {"name": "On-Demand", "price": ONDEMAND}
    assert [(pool["az"], pool["price"], pool["savings"]) for pool in data["pools"]] == [
        ("us-east-1b", 0.0125, 69.95), ("us-east-1c", 0.0166, 60.1), ("us-east-1a", 0.0208, 50),
    ]  # fmt: skip
    tenant.site.clock.advance(3_700)
    late = of_machine(tenant, agent.machine, "/pricing").data["pools"]
    assert {pool["price"] for pool in late} == {pool["savings"] for pool in late} == {None}
    padded = of_machine(tenant, agent.machine, "/pricing", headers=LEGACY).body["pools"]
    assert {pool["price"] for pool in padded} == {pool["savings"] for pool in padded} == {0}


def test_e31_figures_of_a_machine(tenant: Tenant) -> None:
    agent = host(tenant)
    tenant.site.clock.advance(3 * 3600)
    agent.heartbeat()
    agent.prices()
    new = switched(agent)
    tenant.site.clock.advance(2 * 3600)
    lines(tenant, agent, ("2026-03-01T00:00Z", "2026-03-01T12:00Z", "primary", "measured", "3", "1"))
    data = of_machine(tenant, agent.machine, "/metrics").data
    assert (data["uptimeHours"], data["hoursSinceLastSwitch"], data["totalSwitches"]) == (5, 2, 1)
    assert (data["switchesLast7Days"], data["switchesLast30Days"]) == (1, 1)
    assert (data["savingsLast30Days"], data["totalSavings"], data["avgSwitchDowntimeSeconds"]) == (2, 2, 2)
    assert data["interruptionCount"] == 0
    fresh = of_machine(tenant, new, "/metrics").data
    assert (fresh["totalSavings"], fresh["spotPrice"]) == (None, None)
    padded = of_machine(tenant, new, "/metrics", headers=LEGACY).body
    assert (padded["totalSavings"], padded["spotPrice"]) == (0, 0)
    assert all(value is not None for name, value in padded.items() if name != "currentPoolId")


def test_e32_series_by_hour_hold_no_value_that_was_not_measured_p14(tenant: Tenant) -> None:
    agent = host(tenant)
    tenant.site.clock.advance(600)
    agent.prices()
    tenant.site.clock.advance(2 * 3600)
    agent.prices()
    data = of_machine(tenant, agent.machine, "/price-history").data
    assert [row["time"] for row in data["data"]] == ["2026-03-02 12:00", "2026-03-02 14:00"]
    assert data["data"][0][f"pool_{TYPE}.us-east-1b"] == 0.0125
    assert data["data"][0]["onDemand"] == data["onDemandPrice"] == ONDEMAND
    assert [pool["key"] for pool in data["pools"]] == [f"pool_{TYPE}.us-east-1{zone}" for zone in "abc"]
    by_day = of_machine(tenant, agent.machine, "/price-history?interval=day").data["data"]
    assert [row["time"] for row in by_day] == ["2026-03-02"]
    short = of_machine(tenant, agent.machine, "/price-history?hours=1&days=90").data["data"]
    assert [row["time"] for row in short] == ["2026-03-02 14:00"]
    assert of_machine(tenant, agent.machine, "/price-history?interval=week").status == 400


def test_every_listed_row_can_be_opened_also_a_placeholder_and_an_ended_machine_t41(tenant: Tenant) -> None:
    agent = host(tenant)
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    tenant.site.tick(1)
    entry = agent.to_launch()[0]
    replica = tenant.site.new_machine()
    agent.launch_replica(entry, replica)
    tenant.call("DELETE", agent.at(f"/replicas/{entry['id']}"))
    agent.post("/termination-report", {"instance_id": replica, "success": True})
    rows = of_client(tenant, "/instances").data
    assert {row["instanceStatus"] for row in rows} >= {"running_primary", "terminated", "launching"}
    for row in rows:
        for path in ("/pricing", "/metrics", "/price-history", "/available-options", "/logs", "/pool-volatility"):
            for headers in ({}, LEGACY):
                answer = of_machine(tenant, row["id"], path, headers=headers)
                assert answer.status == 200, (row, path, answer)


@pytest.fixture(scope="module")
def watched(module_site: Site) -> tuple[V4c, Tenant]:
    """An agent, and a client that is not its own."""
    return host(module_site.client("Acme")), module_site.client("Other")


@pytest.mark.parametrize("path", ["/pricing", "/metrics", "/price-history", "/logs", "/pool-volatility"])
def test_a_machine_of_another_tenant_is_unknown(shared_site: Site, watched: tuple[V4c, Tenant], path: str) -> None:
    agent, other = watched
    foreign = of_machine(other, agent.machine, path)
    unknown = of_machine(agent.tenant, "i-0none", path)
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body) == (404, unknown.body)
    assert shared_site.call("GET", f"/api/client/instances/{agent.machine}{path}").status == 200


# ---- E35…E37


def test_e35_tells_the_story_of_a_machine_newest_first(tenant: Tenant) -> None:
    agent = host(tenant)
    new = switched(agent)
    rows = of_machine(tenant, new, "/logs").data
    assert "switch_completed" in {row["event_type"] for row in rows}
    assert [row["timestamp"] for row in rows] == sorted((row["timestamp"] for row in rows), reverse=True)
    assert all(row["message"] and isinstance(row["metadata"], dict) for row in rows)
    assert len(of_machine(tenant, agent.machine, "/logs?limit=1").data) == 1


def test_e36_steadiness_is_computed_or_null_s27(tenant: Tenant) -> None:
    agent = host(tenant)
    data = of_machine(tenant, agent.machine, "/pool-volatility").data
    assert data["current_pool"] == {
        "pool_id": f"{TYPE}.us-east-1a", "current_price": 0.0208, "volatility_score": 0, "volatility_category": "very_low",
        "interruption_rate_24h": None, "price_stability_7d": None, "recommendation": None,
    }  # fmt: skip
    assert [pool["pool_id"][-1] for pool in data["alternative_pools"]] == ["b", "c"]
    for _ in range(24):
        tenant.site.clock.advance(3600)
        agent.heartbeat()
        agent.prices()
    later = of_machine(tenant, agent.machine, "/pool-volatility").data["current_pool"]
    assert (later["interruption_rate_24h"], later["price_stability_7d"]) == (0, 1)


def test_e37_says_what_a_switch_would_change_and_changes_nothing(tenant: Tenant) -> None:
    agent = host(tenant)
    before = tenant.aggregate(agent.agent_id)

    def simulate(body: dict[str, Any]) -> Any:
        return tenant.post(f"/api/client/instances/{agent.machine}/simulate-switch", body)

    data = simulate({"target_pool": f"{TYPE}.us-east-1b"}).data["simulation"]
    assert (data["current_price"], data["target_price"]) == (0.0208, 0.0125)
    assert Decimal(str(data["hourly_savings"])) == Decimal("0.0083")
    assert (data["daily_savings"], data["monthly_savings"]) == (0.1992, 5.976)
    assert (data["recommendation"], data["volatility_risk"]) == ("strongly_recommended", "very_low")
    assert (data["estimated_downtime_seconds"], data["interruption_probability_24h"]) == (None, None)
    assert data["confidence"] == round(1 / 288, 4)
    dearer = simulate({"target": "ondemand"}).data["simulation"]
    assert (dearer["recommendation"], dearer["target_price"]) == ("not_recommended", ONDEMAND)
    unknown = simulate({"pool_id": f"{TYPE}.us-east-1z"}).data["simulation"]
    assert (unknown["target_price"], unknown["recommendation"]) == (None, None)
    assert simulate({}).status == 400
    assert simulate({"target_pool": "nonsense"}).status == 400
    assert tenant.aggregate(agent.agent_id) == before


# ---- E77…E81


def test_e77_periods_begin_with_the_first_line_and_later_empty_ones_are_zeros(tenant: Tenant) -> None:
    agent = host(tenant)
    assert of_client(tenant, "/savings").data == []
    lines(
        tenant, agent,
        ("2025-12-10T00:00Z", "2025-12-11T00:00Z", "primary", "measured", "4", "1"),
        ("2026-02-01T00:00Z", "2026-02-02T00:00Z", "primary", "measured", "2", "3"),
        ("2026-03-01T23:00Z", "2026-03-02T00:00Z", "replica", "measured", "0", "0.25"),
    )  # fmt: skip
    monthly = of_client(tenant, "/savings").data
    assert [(row["name"], row["savings"], row["onDemandCost"], row["modelCost"]) for row in monthly] == [
        ("December", 3, 4, 1), ("January", 0, 0, 0), ("February", -1, 2, 3), ("March", -0.25, 0, 0.25),
    ]  # fmt: skip
    assert [row["name"] for row in of_client(tenant, "/savings?range=yearly").data] == ["2025", "2026"]
    assert of_client(tenant, "/savings?range=daily").data[-1]["name"] == "2026-03-02"
    weekly = of_client(tenant, "/savings?range=weekly").data
    assert weekly[-1]["name"] == "2026-W10"
    assert len(weekly) == 12
    assert of_client(tenant, "/savings?range=hourly").status == 400


def test_e77_legacy_sends_the_newest_six_months_c55(tenant: Tenant) -> None:
    agent = host(tenant)
    lines(tenant, agent, ("2025-04-10T00:00Z", "2025-04-11T00:00Z", "primary", "measured", "4", "1"))
    assert len(of_client(tenant, "/savings").data) == 12
    legacy = of_client(tenant, "/savings", headers=LEGACY).body
    assert [row["name"] for row in legacy] == ["October", "November", "December", "January", "February", "March"]


def failed_switch(agent: V4c) -> None:
    agent.tenant.post(
        f"/api/client/instances/{agent.machine}/force-switch", {"target": "pool", "pool_id": f"{TYPE}.us-east-1b"}
    )
    command = agent.commands()[0]
    agent.post(f"/commands/{command['id']}/executed", {"success": False, "message": "capacity"})


def test_e78_history_newest_first_with_unknowns_null_and_padded_in_the_legacy_shape_t42(tenant: Tenant) -> None:
    agent = host(tenant)
    new = switched(agent)
    row = of_client(tenant, "/switch-history").data[0]
    assert row == {
        "id": row["id"], "oldInstanceId": agent.machine, "newInstanceId": new, "instanceId": new,
        "agentId": agent.agent_id, "timestamp": "2026-03-02T12:00:20Z", "fromMode": "spot", "toMode": "spot",
        "fromPool": f"{TYPE}.us-east-1a", "toPool": f"{TYPE}.us-east-1b", "trigger": "manual", "price": 0.0125,
        "savingsImpact": 0.0083, "downtimeSeconds": 2, "success": True,
    }  # fmt: skip
    assert len(of_client(tenant, f"/switch-history?instance_id={agent.machine}").data) == 1
    assert of_client(tenant, "/switch-history?instance_id=i-0none").data == []


def test_e78_legacy_leaves_out_what_the_page_has_no_word_for_t42(tenant: Tenant) -> None:
    agent = host(tenant)
    failed_switch(agent)
    honest = of_client(tenant, "/switch-history").data
    assert [(row["success"], row["timestamp"]) for row in honest] == [(False, "2026-03-02T12:00:00Z")]
    assert of_client(tenant, "/switch-history", headers=LEGACY).body == []
    tenant.site.clock.advance(3 * 3600)
    agent.heartbeat()
    agent.termination()
    entry = agent.to_launch()[0]
    agent.launch_replica(entry, tenant.site.new_machine())
    rows = of_client(tenant, "/switch-history", headers=LEGACY).body
    assert len(rows) == 1
    assert rows[0]["trigger"] == "emergency"
    assert rows[0]["timestamp"] is not None
    assert None not in (rows[0]["price"], rows[0]["savingsImpact"])


def test_e79_charts(tenant: Tenant) -> None:
    agent = host(tenant)
    switched(agent)
    lines(tenant, agent, ("2026-02-10T00:00Z", "2026-02-11T00:00Z", "primary", "measured", "4", "1"))
    data = of_client(tenant, "/stats/charts").data
    assert data["savingsTrend"] == [
        {"month": "February", "savings": 3, "baseline": 4, "actual": 1},
        {"month": "March", "savings": 0, "baseline": 0, "actual": 0},
    ]
    assert data["modeDistribution"] == [{"mode": "spot", "name": "spot", "count": 1}]
    assert len(data["switchFrequency"]) == 30
    assert data["switchFrequency"][-1] == {"date": "2026-03-02", "switches": 1}
    assert data["downtimeDistribution"] == {"manual": 2, "model": 0, "emergency": 0}


def test_e80_prices_of_the_agent_seen_last_or_the_named_one(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    answer = tenant.get("/api/client/pricing-history")
    data = answer.data
    assert answer.body["history"] == data["history"]
    assert (data["agent_id"], data["instance_type"], data["region"], data["days"]) == (
        agent.agent_id,
        TYPE,
        "us-east-1",
        7,
    )
    assert data["data_points"] == len(data["history"]) == 1
    assert data["history"][0]["timestamp"] == "2026-03-02 12:00:00"
    assert data["history"][0]["ondemand_price"] == ONDEMAND
    assert data["history"][0]["spot_pools"][1] == {"pool_id": f"{TYPE}.us-east-1b", "az": "us-east-1b", "price": 0.0125}
    assert tenant.get("/api/client/pricing-history?interval=day").data["history"][0]["timestamp"] == "2026-03-02"
    other = site.client("Other")
    assert other.get("/api/client/pricing-history").status == 404
    assert other.get(f"/api/client/pricing-history?agent_id={agent.agent_id}").status == 404
    assert other.get(f"/api/client/pricing-history?client_id={tenant.client_id}").status == 403  # C50
    assert site.call("GET", f"/api/client/pricing-history?client_id={tenant.client_id}").status == 200


def test_e81_downtime_of_switches_with_a_known_one(tenant: Tenant) -> None:
    agent = host(tenant)
    nothing = of_client(tenant, "/analytics/downtime").data
    assert (nothing["total_switches"], nothing["avg_downtime_seconds"], nothing["trend"]) == (0, 0, None)
    assert nothing["longest_downtime"] is None
    failed_switch(agent)
    tenant.site.clock.advance(3 * 3600)
    agent.heartbeat()
    agent.prices()
    switched(agent)
    data = of_client(tenant, "/analytics/downtime?days=7").data
    assert (data["total_switches"], data["successful_switches"], data["failed_switches"]) == (2, 1, 1)
    assert (data["avg_downtime_seconds"], data["p95_downtime_seconds"], data["max_downtime_seconds"]) == (2, 2, 2)
    assert (data["switches_with_downtime"], data["switches_without_downtime"]) == (1, 1)
    assert data["downtime_by_trigger"] == {"manual": {"total_seconds": 2, "average_seconds": 2, "count": 1}}
    assert data["longest_downtime"]["downtime_seconds"] == 2


def test_e57_and_e81_keep_the_envelope_under_a_cookie_c53(tenant: Tenant) -> None:
    agent = host(tenant)
    own = {"Origin": "http://testserver"}
    tenant.site.http.post("/api/auth/login", json={"token": tenant.token}, headers=own)
    call = tenant.site.http.get
    for path in (
        f"/api/agents/{agent.agent_id}/emergency-status",
        f"/api/client/{tenant.client_id}/analytics/downtime",
    ):
        assert call(path).json()["status"] == "success"
    assert isinstance(call(f"/api/client/{tenant.client_id}/agents").json(), list)
    legacy = call(f"/api/client/{tenant.client_id}/analytics/downtime", headers=LEGACY).json()
    assert "total_switches" in legacy


# ---- E84, E85


def raw(tenant: Tenant, path: str) -> Any:
    headers = {"Authorization": f"Bearer {tenant.token}"}
    return tenant.site.http.get(f"/api/client/{tenant.client_id}{path}", headers=headers)


def test_e84_one_row_per_month_newest_first(tenant: Tenant) -> None:
    agent = host(tenant)
    header = "Year,Month,Month Name,On-Demand Cost ($),Actual Cost ($),Savings ($)"
    assert raw(tenant, "/export/savings").text == header + "\r\n"
    lines(
        tenant, agent,
        ("2025-12-10T00:00Z", "2025-12-11T00:00Z", "primary", "measured", "4.125", "1"),
        ("2026-02-01T00:00Z", "2026-02-02T00:00Z", "primary", "measured", "2", "3"),
    )  # fmt: skip
    answer = raw(tenant, "/export/savings")
    assert answer.headers["content-disposition"] == f"attachment; filename=client_{tenant.client_id}_savings.csv"
    assert answer.text.split("\r\n")[1:] == ["2026,2,February,2.00,3.00,-1.00", "2025,12,December,4.12,1.00,3.12", ""]


def test_e85_all_switches_newest_first_with_n_a_for_what_is_missing(tenant: Tenant) -> None:
    agent = host(tenant)
    failed_switch(agent)
    tenant.site.clock.advance(3 * 3600)
    agent.heartbeat()
    agent.prices()
    new = switched(agent)
    rows = raw(tenant, "/export/switch-history").text.split("\r\n")
    assert rows[0] == (
        "Timestamp,Old Instance ID,New Instance ID,From Mode,To Mode,From Pool,To Pool,Trigger,Price ($),"
        "Savings Impact ($/hr)"
    )
    assert rows[1] == (
        f"2026-03-02T12:00:20Z,{agent.machine},{new},spot,spot,{TYPE}.us-east-1a,{TYPE}.us-east-1b,manual,0.012500,0.008300"
    )
    assert rows[2].startswith(f"2026-03-02T12:00:00Z,{agent.machine},N/A,")
    assert len(rows) == 4
