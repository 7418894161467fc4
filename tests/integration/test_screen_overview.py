"""E03, E04, E05, E07, E08: the operator's overview, each figure worked out from what one story adds (http-api 7.2)."""

from datetime import timedelta
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


def stats(site: Site) -> Any:
    return site.call("GET", "/api/admin/stats").data


def added(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Which numbers grew, and by how much; unknown counts as 0."""
    grown = {
        name: round((after[name] or 0) - (before[name] or 0), 8)
        for name, value in after.items() if not isinstance(value, bool | str)
    }  # fmt: skip
    return {name: by for name, by in grown.items() if by}


# ---- E03


def test_e03_counts_a_client_its_agents_and_its_active_machines(shared_site: Site) -> None:
    before = stats(shared_site)
    tenant = shared_site.client("e03 counts")
    host, off, disabled = Host(tenant, "on"), Host(tenant, "off"), Host(tenant, "disabled")
    off.change(link="offline")
    disabled.change(enabled=False)
    gone = Host(tenant, "gone")
    tenant.call("DELETE", f"/api/client/agents/{gone.agent_id}")
    for status in ("launching", "running_replica", "zombie", "terminating", "terminated", "released"):
        host.machine_row(status)
    assert added(before, stats(shared_site)) == {
        "totalAccounts": 1, "agentsOnline": 2, "agentsTotal": 3, "totalInstances": 5,
    }  # fmt: skip


def test_e03_counts_completed_switches_by_trigger(shared_site: Site, host: Host) -> None:
    before = stats(shared_site)
    for trigger in ("auto", "scheduled", "auto", "manual", "manual_promotion", "emergency", "rehome"):
        host.switch(trigger=trigger)
    host.switch(state="failed", trigger="auto")
    host.switch(state="superseded", trigger="emergency")
    assert added(before, stats(shared_site)) == {
        "totalSwitches": 7, "manualSwitches": 2, "modelSwitches": 3, "emergencySwitches": 2,
    }  # fmt: skip


def test_e03_counts_each_clients_money_once_whatever_the_number_of_its_agents_s17(shared_site: Site) -> None:
    before = stats(shared_site)
    tenant = shared_site.client("e03 money")
    first, second = Host(tenant, "one"), Host(tenant, "two")
    change(shared_site, "clients", {"client_id": tenant.client_id}, total_savings="12.25")
    first.line(at(5), 1, "2", "1")
    second.line(at(5), 1, "1", "1.75")
    grown = added(before, stats(shared_site))
    assert (grown["totalSavings"], grown["realisedSavings"]) == (12.25, 0.25)


def test_e03_a_pool_is_covered_by_a_price_of_the_last_day(shared_site: Site, host: Host) -> None:
    before = stats(shared_site)
    host.price("a", "0.02", at(1))
    host.price("a", "0.02", at(2))
    host.price("b", "0.02", at(23.9))
    host.price("c", "0.02", at(24))
    assert added(before, stats(shared_site)) == {"poolsCovered": 2}


def test_e03_a_suspended_client_counts(shared_site: Site, tenant: Tenant) -> None:
    before = stats(shared_site)
    shared_site.plane.clients.suspend(tenant.client_id)  # type: ignore[arg-type]
    assert added(before, stats(shared_site)) == {}


def test_e03_says_that_no_engine_and_no_model_is_loaded_z35(shared_site: Site) -> None:
    data = stats(shared_site)
    assert (data["backendHealth"], data["decisionEngineLoaded"], data["mlModelsLoaded"]) == (
        "Decision Engine Not Loaded", False, False,
    )  # fmt: skip
    assert set(shared_site.call("GET", "/api/admin/stats", headers=LEGACY).body) == set(data)


# ---- E04


def clients(site: Site, **more: Any) -> dict[str, Any]:
    answer = site.call("GET", "/api/admin/clients", **more)
    return {row["id"]: row for row in (answer.body if more else answer.data)}


def test_e04_every_field(shared_site: Site) -> None:
    body = {"name": "e04 full", "email": "E04@example.org"}
    created = shared_site.call("POST", "/api/admin/clients/create", body).data["client"]
    tenant = Tenant(shared_site, created["id"], created["token"])
    host = Host(tenant)
    Host(tenant, "off").change(link="offline")
    host.machine_row("launching")
    host.machine_row("zombie")
    host.line(at(2), 1, "5", "1.5")
    change(
        shared_site, "clients", {"client_id": tenant.client_id}, total_savings="9.5", created_at=at(72), last_sync_at=at(1)
    )  # fmt: skip
    assert clients(shared_site)[tenant.client_id] == {
        "id": tenant.client_id, "name": "e04 full", "email": "e04@example.org", "status": "active", "agentsOnline": 1,
        "agentsTotal": 2, "instances": 3, "totalSavings": 9.5, "realisedSavings": 3.5,
        "lastSync": "2026-03-02T11:00:00Z", "createdAt": "2026-02-27T12:00:00Z",
    }  # fmt: skip


def test_e04_pads_the_unknown_sum_alone_in_the_legacy_shape_t26(shared_site: Site) -> None:
    tenant = shared_site.client("e04 new")
    honest, padded = clients(shared_site)[tenant.client_id], clients(shared_site, headers=LEGACY)[tenant.client_id]
    assert (honest["realisedSavings"], honest["lastSync"]) == (None, None)
    assert padded == {**honest, "realisedSavings": 0}
    assert isinstance(padded["id"], str)
    assert isinstance(padded["name"], str)


def test_e04_is_newest_first_and_shows_no_token(shared_site: Site) -> None:
    made = [shared_site.client(f"e04 order {number}") for number in range(3)]
    for tenant, hours in zip(made, (30, 10, 20), strict=True):
        change(shared_site, "clients", {"client_id": tenant.client_id}, created_at=at(hours))
    rows = [row for row in clients(shared_site) if row in {one.client_id for one in made}]
    assert rows == [made[1].client_id, made[2].client_id, made[0].client_id]
    text = str(clients(shared_site))
    assert not [one for one in made if one.token in text or one.token[-8:] in text]


@pytest.mark.parametrize(("act", "status"), [("suspend", "inactive"), ("resume", "active")])
def test_e04_status_is_one_word_of_the_wire_cl_1(shared_site: Site, act: str, status: str) -> None:
    tenant = shared_site.client(f"e04 {act}")
    shared_site.plane.clients.suspend(tenant.client_id)  # type: ignore[arg-type]
    getattr(shared_site.plane.clients, act)(tenant.client_id)
    assert clients(shared_site)[tenant.client_id]["status"] == status


# ---- E05


def growth(site: Site, query: str = "") -> list[Any]:
    answer = site.call("GET", f"/api/admin/clients/growth{query}")
    assert answer.status == 200, answer
    rows: list[Any] = answer.data
    return rows


def test_e05_ends_with_today_and_ascends(shared_site: Site) -> None:
    days = [row["date"] for row in growth(shared_site)]
    assert (len(days), days[0], days[-1]) == (30, "2026-02-01", "2026-03-02")
    assert days == sorted(days)


@pytest.mark.parametrize(
    ("query", "count"), [("?days=1", 1), ("?days=0", 1), ("?days=365", 365), ("?days=366", 365), ("?days=2.0", 2)]
)
def test_e05_days_are_clamped(shared_site: Site, query: str, count: int) -> None:
    assert len(growth(shared_site, query)) == count


def test_e05_a_client_counts_from_its_utc_day_until_the_day_it_is_deleted_c20(shared_site: Site) -> None:
    before = {row["date"]: row for row in growth(shared_site, "?days=8")}
    tenant = shared_site.client("e05 lived for three days")
    change(
        shared_site, "clients", {"client_id": tenant.client_id}, created_at=START - timedelta(days=5, hours=11),
        status="deleted", deleted_at=START - timedelta(days=2, hours=13),
    )  # fmt: skip
    after = {row["date"]: row for row in growth(shared_site, "?days=8")}
    grown = {day: (after[day]["total"] - before[day]["total"], after[day]["new"] - before[day]["new"]) for day in after}
    assert {day: by for day, by in grown.items() if any(by)} == {
        "2026-02-25": (1, 1), "2026-02-26": (1, 0),
    }  # fmt: skip
    assert all(row["count"] == row["total"] for row in after.values())


def test_e05_a_snapshot_wins_over_what_is_counted_and_only_today_knows_who_is_active(shared_site: Site) -> None:
    put(shared_site, "client_snapshots", day="2026-01-15", total=41, new=7, active=40)
    rows = {row["date"]: row for row in growth(shared_site, "?days=60")}
    assert rows["2026-01-15"] == {"date": "2026-01-15", "count": 41, "total": 41, "new": 7, "active": 40}
    assert rows["2026-01-16"] == {"date": "2026-01-16", "count": 0, "total": 0, "new": 0, "active": None}
    paused = shared_site.client("e05 paused")
    shared_site.plane.clients.suspend(paused.client_id)  # type: ignore[arg-type]
    today = growth(shared_site, "?days=1")[0]
    active = sum(row["status"] == "active" for row in clients(shared_site).values())
    assert (today["total"], today["active"]) == (len(clients(shared_site)), active)


def test_e05_is_a_bare_array_for_the_page_t26(shared_site: Site) -> None:
    bare = shared_site.call("GET", "/api/admin/clients/growth?days=3", headers=LEGACY).body
    assert bare == growth(shared_site, "?days=3")


# ---- E07


def test_e07_counts_live_agents_by_their_link(shared_site: Site, tenant: Tenant) -> None:
    def agents() -> dict[str, Any]:
        found: dict[str, Any] = shared_site.call("GET", "/api/admin/system-health").data["agents"]
        return found

    before = agents()
    Host(tenant, "on")
    Host(tenant, "disabled").change(enabled=False)
    Host(tenant, "off").change(link="offline")
    Host(tenant, "gone").change(life="deleted", deleted_at=START)
    assert added(before, agents()) == {"total": 3, "online": 2, "offline": 1}


def test_e07_every_field_of_a_process_without_jobs_and_models(shared_site: Site) -> None:
    answer = shared_site.call("GET", "/api/admin/system-health")
    data = answer.data
    assert data.pop("agents").keys() == {"total", "online", "offline"}
    used, size = data.pop("connectionPool").split("/")
    assert int(size) == 7 + 4 + 3  # ordinary, reserve, single look-ups
    assert 0 <= int(used) <= int(size)
    assert isinstance(data.pop("uptimeSeconds"), int)
    assert data == {
        "apiStatus": "Healthy", "database": "Connected", "decisionEngine": "Not Loaded",
        "timestamp": "2026-03-02T12:00:00Z", "backgroundJobs": {"enabled": False, "running": False, "jobs": []},
        "modelStatus": {
            "loaded": False, "name": "None", "version": "N/A", "filesUploaded": 0, "activeModels": [], "files": [],
        },
        "decisionEngineStatus": {"loaded": False, "type": "None", "version": "N/A", "filesUploaded": 0, "files": []},
    }  # fmt: skip


# ---- E08


def machines(tenant: Tenant, query: str = "", **more: Any) -> Any:
    answer = tenant.site.call("GET", f"/api/admin/instances?client_id={tenant.client_id}{query}", **more)
    assert answer.status == 200, answer
    return answer.body if more else answer.data


def ids(tenant: Tenant, query: str = "") -> list[str]:
    return [row["id"] for row in machines(tenant, query)["instances"]]


@pytest.mark.parametrize(
    ("mode", "spot", "ondemand", "percent"),
    [
        ("spot", "0.03", "0.04", 25), ("spot", "0.05", "0.04", -25), ("spot", "0.01", "0.03", 66.67),
        ("spot", None, "0.04", None), ("spot", "0.03", None, None), ("ondemand", "0.03", "0.04", 0),
        ("ondemand", None, None, None), ("unknown", "0.03", "0.04", None),
    ],
)  # fmt: skip
def test_e08_prices_and_what_is_saved_are_numbers_or_null_in_every_shape(
    tenant: Tenant, host: Host, mode: str, spot: str | None, ondemand: str | None, percent: float | None
) -> None:
    change(tenant.site, "instances", {"instance_id": host.row_id}, mode=mode)
    if spot:
        host.price("a", spot)
    if ondemand:
        host.ondemand(ondemand)
    (row,) = machines(tenant)["instances"]
    assert (row["spotPrice"], row["ondemandPrice"], row["savingsPercent"]) == (
        float(spot) if spot else None, float(ondemand) if ondemand else None, percent,
    )  # fmt: skip
    assert machines(tenant, headers=LEGACY) == machines(tenant)


def test_e08_shows_the_agent_of_a_machine_and_its_status(tenant: Tenant, host: Host) -> None:
    host.change(enabled=False)
    host.machine_row("zombie", "i-0e08z", created_at=at(1))
    rows = machines(tenant)["instances"]
    assert {(row["agentStatus"], row["agentHostname"], row["logicalAgentId"], row["clientName"]) for row in rows} == {
        ("disabled", "host-web", "web", "test_e08_shows_the_agent_of_a_machine_and_its_status")
    }
    assert [(row["id"], row["isPrimary"]) for row in rows] == [(host.machine, True), ("i-0e08z", False)]
    assert all(row["id"] == row["instanceId"] for row in rows)


def test_e08_filters_combine_and_are_echoed(tenant: Tenant, host: Host) -> None:
    host.machine_row("zombie", "i-0west", region="eu-west-1", mode="ondemand")
    host.machine_row("launching", "i-0wait", mode="unknown")
    assert ids(tenant, "&region=eu-west-1") == ["i-0west"]
    assert ids(tenant, "&region=eu-west-1&status=active") == []
    assert ids(tenant, "&status=terminated&mode=ondemand&region=eu-west-1&search=0WEST") == ["i-0west"]
    assert set(ids(tenant, "&mode=all")) == {host.machine, "i-0west", "i-0wait"}
    assert ids(tenant, "&mode=unknown") == ["i-0wait"]
    data = machines(tenant, "&status=ACTIVE&mode=spot&region=us-east-1")
    assert data["filters"] == {
        "status": "active", "mode": "spot", "region": "us-east-1", "client_id": tenant.client_id,
    }  # fmt: skip
    assert [row["id"] for row in data["instances"]] == [host.machine]


@pytest.mark.parametrize(("query", "shown"), [("", 4), ("&limit=2", 2), ("&limit=0", 1), ("&limit=1001", 4)])
def test_e08_the_total_counts_beyond_the_limit_newest_first(tenant: Tenant, host: Host, query: str, shown: int) -> None:
    for hours in (3, 1, 2):
        host.machine_row("zombie", f"i-0{hours}limit{shown}", created_at=at(hours))
    data = machines(tenant, query)
    wanted = [host.machine, *(f"i-0{hours}limit{shown}" for hours in (1, 2, 3))]
    assert ([row["id"] for row in data["instances"]], data["total"]) == (wanted[:shown], 4)
    change(tenant.site, "instances", {"client_id": tenant.client_id, "status": "zombie"}, cloud_id=None)


def test_e08_of_nothing_is_an_empty_list_and_a_total_of_0(shared_site: Site) -> None:
    data = shared_site.call("GET", "/api/admin/instances?client_id=nobody").data
    assert (data["instances"], data["total"], data["filters"]["client_id"]) == ([], 0, "nobody")
