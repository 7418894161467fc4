"""E15 over rows whose figures are worked out by hand (http-api 7.3, domain-rules 7.4)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at, change
from tests.support.server import Site, Tenant
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}
FEBRUARY = datetime(2026, 2, 20, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


def details(tenant: Tenant) -> Any:
    answer = tenant.get(f"/api/client/{tenant.client_id}")
    assert answer.status == 200, answer
    return answer.data


def savings(tenant: Tenant) -> Any:
    return details(tenant)["savings"]


def test_e15_of_a_client_without_anything(tenant: Tenant) -> None:
    data = details(tenant)
    last_sync = data.pop("lastSync")
    assert last_sync is None or last_sync == "2026-03-02T12:00:00Z"
    assert data == {
        "id": tenant.client_id, "name": "test_e15_of_a_client_without_anything", "email": None, "status": "active",
        "agentsOnline": 0, "agentsTotal": 0, "instances": 0, "totalSavings": 0, "realisedSavings": None,
        "savings": {
            "baseline_cost": None, "actual_cost": None, "realised_savings_period": None, "savings_percentage": None,
            "replica_cost": None, "zombie_cost": None, "estimated_hours": 0, "unpriced_hours": 0,
            "projected_monthly": None, "estimate": True,
        },
        "agentCounts": {"online": 0, "offline": 0, "total": 0},
        "instanceCounts": {"active": 0, "zombie": 0, "terminated": 0}, "createdAt": "2026-03-02T12:00:00Z",
    }  # fmt: skip


def test_e15_legacy_is_the_same_without_the_envelope_but_for_the_unknown_sum_t26(tenant: Tenant) -> None:
    bare = tenant.get(f"/api/client/{tenant.client_id}", headers=LEGACY).body
    assert bare == {**details(tenant), "realisedSavings": 0}


def test_e15_counts_machines_by_what_they_are(tenant: Tenant) -> None:
    host = Host(tenant)
    for status in ("launching", "running_replica", "zombie", "zombie", "terminating", "terminated", "released"):
        host.machine_row(status)
    data = details(tenant)
    assert data["instances"] == 3
    assert data["instanceCounts"] == {"active": 3, "zombie": 2, "terminated": 1}


def test_e15_counts_agents_by_link_and_leaves_deleted_ones_out(tenant: Tenant) -> None:
    Host(tenant, "on")
    disabled, gone = Host(tenant, "disabled"), Host(tenant, "gone")
    Host(tenant, "off").change(link="offline")
    tenant.post(f"/api/client/agents/{disabled.agent_id}/toggle-enabled", {"enabled": False})
    tenant.call("DELETE", f"/api/client/agents/{gone.agent_id}")
    data = details(tenant)
    assert (data["agentsOnline"], data["agentsTotal"]) == (2, 3)
    assert data["agentCounts"] == {"online": 2, "offline": 1, "total": 3}


def test_e15_says_inactive_for_a_suspended_client_to_the_operator(shared_site: Site, tenant: Tenant) -> None:
    shared_site.plane.clients.suspend(tenant.client_id)  # type: ignore[arg-type]
    path = f"/api/client/{tenant.client_id}"
    assert shared_site.call("GET", path).data["status"] == "inactive"
    refused = tenant.get(path)
    assert (refused.status, refused.body["code"]) == (403, "INACTIVE_CLIENT")


def test_e15_shows_the_legacy_estimate_beside_the_ledger_z16(tenant: Tenant) -> None:
    host = Host(tenant)
    change(tenant.site, "clients", {"client_id": tenant.client_id}, total_savings="12.5")
    host.line(FEBRUARY, 24, "10", "4")
    host.line(MARCH, 12, "3", "5")
    data = details(tenant)
    assert (data["totalSavings"], data["realisedSavings"]) == (12.5, 4)


def test_e15_the_month_begins_at_midnight_utc_of_its_first_day(tenant: Tenant) -> None:
    host = Host(tenant)
    host.line(datetime(2026, 2, 28, 23, tzinfo=UTC), 1, "7", "1")
    host.line(MARCH, 1, "3", "2")
    found = savings(tenant)
    assert (found["baseline_cost"], found["actual_cost"], found["realised_savings_period"]) == (3, 2, 1)
    assert found["savings_percentage"] == 33.33


def test_e15_costs_by_role_and_hours_by_quality(tenant: Tenant) -> None:
    host = Host(tenant)
    replica, zombie = host.machine_row("running_replica"), host.machine_row("zombie")
    host.line(MARCH, 6, "6", "2", quality="estimated")
    host.line(MARCH, 3, "0", "0.75", role="replica", instance_id=replica)
    host.line(MARCH, 2, "0", "0.5", role="zombie", instance_id=zombie)
    host.line(datetime(2026, 3, 1, 6, tzinfo=UTC), 1.5, None, None, quality="unpriced")
    assert savings(tenant) == {
        "baseline_cost": 6,
        "actual_cost": 3.25,
        "realised_savings_period": 2.75,
        "savings_percentage": 45.83,
        "replica_cost": 0.75,
        "zombie_cost": 0.5,
        "estimated_hours": 6,
        "unpriced_hours": 1.5,
        "projected_monthly": 267.6667,
        "estimate": True,
    }  # 2.75 saved in the 7.5 hours between the first line and the last, over 730 hours


def test_e15_losses_are_shown_as_such_sv10(tenant: Tenant) -> None:
    Host(tenant).line(MARCH, 10, "1", "3")
    found = savings(tenant)
    assert (found["realised_savings_period"], found["savings_percentage"]) == (-2, -200)
    assert found["projected_monthly"] == -146


def test_e15_without_a_baseline_there_is_no_percentage_gr7(tenant: Tenant) -> None:
    host = Host(tenant)
    host.line(MARCH, 4, "0", "1", role="replica", instance_id=host.machine_row("running_replica"))
    found = savings(tenant)
    assert (found["baseline_cost"], found["savings_percentage"], found["realised_savings_period"]) == (0, None, -1)


def test_e15_the_projection_takes_the_last_seven_days_across_the_month(tenant: Tenant) -> None:
    host = Host(tenant)
    host.line(at(hours=7 * 24 + 1), 1, "100", "1")  # begins outside
    host.line(at(hours=4 * 24), 20, "5", "1")
    host.line(at(hours=3 * 24 + 4), 20, "7", "1")
    assert savings(tenant)["projected_monthly"] == 182.5  # 10 in 40 hours, over 730
    assert savings(tenant)["baseline_cost"] is None  # nothing of it lies in March


def test_e15_totals_are_exact_sums_rounded_once_p12(tenant: Tenant) -> None:
    host = Host(tenant)
    for third in range(3):
        host.line(
            datetime(2026, 3, 1, 0, 20 * third, tzinfo=UTC), 1 / 3, "0.03333333", "0.01666667", paid_price="0.05",
            ondemand_price="0.1", ended_at=datetime(2026, 3, 1, (third + 1) // 3, 20 * (third + 1) % 60, tzinfo=UTC),
        )  # fmt: skip
    found = savings(tenant)
    assert (found["baseline_cost"], found["actual_cost"], found["realised_savings_period"]) == (0.1, 0.05, 0.05)


def test_e15_a_reversed_line_takes_its_amounts_and_hours_back_sv7(tenant: Tenant) -> None:
    host = Host(tenant)
    first = host.line(MARCH, 2, "2", "1", quality="estimated")
    host.line(MARCH, 2, "-2", "-1", quality="estimated", adjusts=first, sign=-1)
    host.line(MARCH, 2, "4", "1", adjusts=first)
    found = savings(tenant)
    assert (found["baseline_cost"], found["actual_cost"], found["estimated_hours"]) == (4, 1, 0)


def test_e15_is_this_clients_alone(shared_site: Site, tenant: Tenant) -> None:
    other = Host(shared_site.client(f"other than {tenant.client_id}"))
    other.line(MARCH, 2, "2", "1")
    data = details(tenant)
    assert (data["realisedSavings"], data["agentsTotal"], data["instances"]) == (None, 0, 0)


def test_e15_shows_when_it_was_created_and_its_email_in_lower_case(shared_site: Site) -> None:
    body = {"name": "with an address", "email": " Ops@Example.COM "}
    created = shared_site.call("POST", "/api/admin/clients/create", body).data["client"]
    data = shared_site.call("GET", f"/api/client/{created['id']}").data
    assert (data["email"], data["name"]) == ("ops@example.com", "with an address")
    assert data["createdAt"] == START.isoformat().replace("+00:00", "Z")
