"""E93…E95, E97…E99: search and the figures of operation (http-api 7.15)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at, change, new_id, put
from tests.support.server import Site, Tenant
from tests.support.world import START


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


@pytest.fixture
def host(tenant: Tenant) -> Host:
    return Host(tenant)


def asked(site: Site, path: str) -> Any:
    answer = site.call("GET", f"/api/admin{path}")
    assert answer.status == 200, answer
    return answer.data


# ---- E93


def found(site: Site, text: str, query: str = "") -> Any:
    answer = site.http.get(
        f"/api/admin/search?{query}", params={"q": text, **dict(pair.split("=") for pair in query.split("&") if pair)},
        headers={"Authorization": "Bearer admin-token-of-the-tests"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_e93_every_field_of_each_kind(shared_site: Site) -> None:
    body = {"name": "Needle & Sons", "email": "ops@haystack.example"}
    created = shared_site.call("POST", "/api/admin/clients/create", body).data["client"]
    host = Host(Tenant(shared_site, created["id"], created["token"]), "needle-web", machine="i-0needle93")
    data = found(shared_site, "needle")
    of_client = {"clientId": created["id"], "clientName": "Needle & Sons", "client": "Needle & Sons"}
    wanted = {
        "clients": [
            {"id": created["id"], "name": "Needle & Sons", "email": "ops@haystack.example", "status": "active",
             "matchField": "name"},
        ],
        "instances": [
            {"id": "i-0needle93", **of_client, "name": "i-0needle93", "instanceType": host.type, "region": "us-east-1",
             "az": "us-east-1a", "status": "running_primary"},
        ],
        "agents": [
            {"id": host.agent_id, **of_client, "name": "host-needle-web", "hostname": "host-needle-web",
             "status": "online", "instanceId": "i-0needle93"},
        ],
    }  # fmt: skip
    assert data == {"query": "needle", "results": wanted, "total_results": 3, **wanted}


@pytest.mark.parametrize(
    ("text", "field"), [("findme-name", "name"), ("FINDME-NAME", "name"), ("findme@mail", "email"), ("id", "id")]
)
def test_e93_says_which_field_of_a_client_matched(shared_site: Site, text: str, field: str) -> None:
    names = {row["name"]: row["id"] for row in asked(shared_site, "/clients")}
    if "a findme-name" not in names:
        body = {"name": "a findme-name", "email": "findme@mail.example"}
        names["a findme-name"] = shared_site.call("POST", "/api/admin/clients/create", body).data["client"]["id"]
    (row,) = found(shared_site, names["a findme-name"] if text == "id" else text)["clients"]
    assert (row["name"], row["matchField"]) == ("a findme-name", field)


def test_e93_a_suspended_client_is_found_and_inactive(shared_site: Site) -> None:
    paused = shared_site.client("e93 paused client")
    shared_site.plane.clients.suspend(paused.client_id)  # type: ignore[arg-type]
    assert [row["status"] for row in found(shared_site, "e93 paused")["clients"]] == ["inactive"]


def test_e93_ten_of_each_kind_at_most(shared_site: Site) -> None:
    tenants = [shared_site.client(f"e93many {number:02d}") for number in range(11)]
    hosts = [Host(tenants[0], f"e93many-{number:02d}") for number in range(11)]
    data = found(shared_site, "e93many")
    assert [row["name"] for row in data["clients"]] == [f"e93many {number:02d}" for number in range(10)]
    assert (len(data["agents"]), data["total_results"]) == (10, 20)
    for number, host in enumerate(hosts):
        change(
            shared_site, "instances", {"instance_id": host.row_id}, instance_type="e93type.large", created_at=at(number)
        )
    assert [row["id"] for row in found(shared_site, "e93type")["instances"]] == [host.machine for host in hosts[:10]]


@pytest.mark.parametrize(
    ("types", "kinds"),
    [
        ("", {"clients", "instances", "agents"}), ("clients", {"clients"}), ("agents,instances", {"agents", "instances"}),
        ("AGENTS , clients", {"agents", "clients"}), (",", {"clients", "instances", "agents"}), ("agents,agents", {"agents"}),
    ],
)  # fmt: skip
def test_e93_looks_for_the_kinds_that_are_asked_for(shared_site: Site, types: str, kinds: set[str]) -> None:
    if not found(shared_site, "kindly")["clients"]:
        Host(shared_site.client("kindly"), "kindly", machine="i-0kindly")
    data = found(shared_site, "kindly", f"types={types}")
    assert {kind for kind in ("clients", "instances", "agents") if data[kind]} == kinds
    assert data["total_results"] == len(kinds)


def test_e93_an_unknown_kind_is_refused_by_name(shared_site: Site) -> None:
    answer = shared_site.call("GET", "/api/admin/search?q=anything&types=clients,pools")
    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")
    assert answer.body["details"] == {"types": ["use a comma-separated list of clients, instances, agents"]}


def test_e93_without_a_hostname_an_agent_has_its_logical_name_and_a_deleted_one_is_not_found(
    shared_site: Site, tenant: Tenant
) -> None:
    host, gone = Host(tenant, "nameless-one"), Host(tenant, "nameless-two")
    host.change(hostname=None)
    tenant.call("DELETE", f"/api/client/agents/{gone.agent_id}")
    rows = found(shared_site, "nameless")["agents"]
    assert [(row["name"], row["hostname"]) for row in rows] == [("nameless-one", None)]
    assert [row["id"] for row in found(shared_site, host.agent_id)["agents"]] == [host.agent_id]


def test_e93_a_long_text_is_refused_and_a_blank_one_finds_nothing(shared_site: Site) -> None:
    assert shared_site.call("GET", "/api/admin/search?q=" + "x" * 300).status == 400
    assert asked(shared_site, "/search?q=%20%20a%20%20")["total_results"] == 0
    assert asked(shared_site, "/search") == asked(shared_site, "/search?q=")
    assert asked(shared_site, "/search")["query"] == ""


# ---- E94


def test_e94_counts_and_averages_what_is_priced(shared_site: Site, host: Host) -> None:
    before = asked(shared_site, "/pools/statistics")
    host.price("a", "0.01", at(0.5))
    host.price("b", "0.02", at(0.5))
    host.price("c", "0.9", at(2))  # active, but its price is no longer shown
    host.price("d", "0.9", at(25))
    host.ondemand("0.1", at(3))
    host.ondemand("0.2", at(2))
    host.ondemand("0.9", at(1), flagged=True)
    data = asked(shared_site, "/pools/statistics")
    grown = {
        name: data[name] - before[name] for name in ("total_pools", "active_pools", "inactive_pools", "total", "active")
    }
    assert grown == {"total_pools": 4, "active_pools": 3, "inactive_pools": 1, "total": 4, "active": 3}
    assert [row for row in data["instance_types"] if row["instance_type"] == host.type] == [
        {"instance_type": host.type, "pools_available": 3, "avg_spot_price": 0.015, "ondemand_price": 0.2}
    ]


def test_e94_regions_and_types_in_alphabetical_order_with_null_for_the_unknown(shared_site: Site, host: Host) -> None:
    for region, zone, price in (("ap-south-1", "a", None), ("aa-north-1", "a", "0.03"), ("aa-north-1", "b", "0.0401")):
        pool = f"{host.type}.{region}{zone}"
        put(
            shared_site, "pools", pool_id=pool, instance_type=host.type, region=region, az=f"{region}{zone}",
            first_observed_at=START,
        )  # fmt: skip
        if price:
            host.price("a", price, pool_id=pool, region=region)
    data = asked(shared_site, "/pools/statistics")
    regions = [row["region"] for row in data["regions"]]
    assert regions == sorted(regions)
    by_region = {row["region"]: row for row in data["regions"]}
    assert by_region["aa-north-1"] == {
        "region": "aa-north-1", "pools": 2, "average_price": 0.03505, "cheapest_price": 0.03,
    }  # fmt: skip
    assert by_region["ap-south-1"] == {
        "region": "ap-south-1", "pools": 1, "average_price": None, "cheapest_price": None,
    }  # fmt: skip
    types = [row["instance_type"] for row in data["instance_types"]]
    assert types == sorted(types)
    assert [row["ondemand_price"] for row in data["instance_types"] if row["instance_type"] == host.type] == [None]


# ---- E95


def test_e95_sorts_agents_by_the_age_of_their_heartbeat(shared_site: Site, tenant: Tenant) -> None:
    def summary() -> Any:
        return asked(shared_site, "/agents/health-summary")

    before = summary()
    for minutes in (0, 4.99, 5, 14.99, 15, 600, None):
        when = None if minutes is None else START - timedelta(minutes=minutes)
        Host(tenant, f"heard {minutes}").change(last_heartbeat_at=when)
    Host(tenant, "gone").change(life="deleted", deleted_at=START, last_heartbeat_at=START)
    after = summary()
    ages = after["heartbeat_distribution"]
    grown = {name: ages[name] - before["heartbeat_distribution"][name] for name in ages}
    assert grown == {"healthy": 2, "degraded": 2, "critical": 3}
    assert (after["deleted"] - before["deleted"], after["total"] - before["total"]) == (1, 7)
    assert after["total"] == after["total_agents"] == after["online"] + after["offline"]
    assert [row for row in after["by_client"] if row["client_id"] == tenant.client_id] == [
        {"client_id": tenant.client_id, "client_name": "test_e95_sorts_agents_by_the_age_of_their_heartbeat",
         "online": 7, "offline": 0, "total": 7}
    ]  # fmt: skip


def test_e95_names_the_five_that_fell_silent_last_and_for_how_long(shared_site: Site, tenant: Tenant) -> None:
    for seconds in (1, 61, 121, 181, 241, 301):
        Host(tenant, f"silent {seconds}").change(
            link="offline", last_heartbeat_at=START + timedelta(hours=1) - timedelta(seconds=seconds + 3_600)
        )
    rows = asked(shared_site, "/agents/health-summary")["recent_offline"]
    assert [(row["hostname"], row["offline_duration_minutes"]) for row in rows] == [
        ("host-silent 1", 0), ("host-silent 61", 1), ("host-silent 121", 2), ("host-silent 181", 3), ("host-silent 241", 4),
    ]  # fmt: skip
    assert rows[0]["last_heartbeat"] == "2026-03-02T11:59:59Z"
    assert set(rows[0]) == {"agent_id", "hostname", "client_name", "last_heartbeat", "offline_duration_minutes"}


# ---- E97


def test_e97_a_day_of_commands_switches_and_failovers(site: Site) -> None:
    host, other = Host(site.client("e97"), "one"), Host(site.client("e97 too"), "two")
    host.change(last_heartbeat_at=START - timedelta(seconds=10))
    other.change(last_heartbeat_at=START - timedelta(seconds=31))
    Host(site.client("e97 silent"), "never").change(last_heartbeat_at=None)

    def command(state: str, created: datetime, waited: float | None = None, **columns: Any) -> None:
        delivered = None if waited is None else created + timedelta(seconds=waited)
        identity = {"command_id": new_id(), "request_id": new_id(), "kind": "apply_config"}
        host.put("commands", **identity, state=state, created_at=created, delivered_at=delivered, **columns)

    for waited in range(1, 21):
        command("completed", at(2), waited)
    command("completed", at(25), 900)  # of yesterday
    command("pending", at(1))
    command("executing", at(1), 10.5)
    command("expired", at(9), finished_at=at(1))
    command("expired", at(50), finished_at=at(25))
    command("failed", at(3), finished_at=at(2))
    for hours, state, seconds in ((1, "completed", "2"), (2, "completed", "5"), (3, "completed", None), (4, "failed", "90"),
                                  (5, "superseded", "90"), (25, "completed", "90")):  # fmt: skip
        host.switch(recorded_at=at(hours), state=state, downtime_seconds=seconds)
    for hours, took in ((1, 1_200), (2, 1_801), (25, 99_000)):
        host.put("incidents", instance_id=host.row_id, promoted_at=at(hours), failover_ms=took)
    host.put("incidents", instance_id=host.row_id, state="cleared", failover_ms=77)
    host.price("a", "0.02", START - timedelta(seconds=90))
    assert asked(site, "/metrics/operational") == {
        "heartbeat_age_seconds": {"avg": 20.5, "max": 31}, "command_latency_seconds": {"avg": 10.5, "p95": 19},
        "open_commands": 2, "expired_commands_24h": 1, "failovers_24h": {"count": 2, "avg_ms": 1500.5, "max_ms": 1801},
        "switches_24h": {"total": 4, "successful": 3, "failed": 1, "avg_downtime_seconds": 3.5}, "price_lag_seconds": 90,
    }  # fmt: skip


# ---- E98


def test_e98_every_field_and_null_for_what_a_running_job_does_not_know(shared_site: Site) -> None:
    put(
        shared_site, "job_runs", job_type="e98 done", started_at=at(2), completed_at=at(1), records_processed=10,
        duplicates_removed=3, gaps_filled=2,
    )  # fmt: skip
    put(
        shared_site,
        "job_runs",
        job_type="e98 failed",
        status="failed",
        started_at=at(3),
        completed_at=at(3),
        error="no room",
    )
    put(shared_site, "job_runs", job_type="e98 runs", status="running", started_at=at(1))
    rows = [row for row in asked(shared_site, "/consolidation-jobs") if row["job_type"].startswith("e98")]
    assert all(isinstance(row.pop("id"), int) for row in rows)
    nothing = {
        "completed_at": None,
        "records_processed": None,
        "duplicates_removed": None,
        "gaps_filled": None,
        "error": None,
    }
    assert rows == [
        {**nothing, "job_type": "e98 runs", "status": "running", "started_at": "2026-03-02T11:00:00Z"},
        {
            "job_type": "e98 done", "status": "completed", "started_at": "2026-03-02T10:00:00Z",
            "completed_at": "2026-03-02T11:00:00Z", "records_processed": 10, "duplicates_removed": 3, "gaps_filled": 2,
            "error": None,
        },
        {
            **nothing, "job_type": "e98 failed", "status": "failed", "started_at": "2026-03-02T09:00:00Z",
            "completed_at": "2026-03-02T09:00:00Z", "error": "no room",
        },
    ]  # fmt: skip


@pytest.mark.parametrize(("query", "seen"), [("", 2), ("?days=1", 1), ("?days=0", 1), ("?days=90", 3), ("?days=91", 3)])
def test_e98_shows_7_days_unless_told(shared_site: Site, query: str, seen: int) -> None:
    name = f"e98 days {query}"
    for days in (0.9, 6.9, 89.9, 90.1):
        put(shared_site, "job_runs", job_type=name, started_at=at(days * 24))
    assert sum(row["job_type"] == name for row in asked(shared_site, f"/consolidation-jobs{query}")) == seen


# ---- E99


def emergencies(tenant: Tenant, query: str = "") -> list[Any]:
    rows = asked(tenant.site, f"/emergency-events{query}")
    return [row for row in rows if row["client_id"] == tenant.client_id]


def test_e99_one_row_a_day_and_client_newest_first(tenant: Tenant, host: Host) -> None:
    facts = {"instance_id": host.row_id}
    day = {"opened_at": START.replace(hour=0), **facts}
    host.put("incidents", **day, notice_at=START, promoted_at=START)
    host.put("incidents", **day, notice_at=START, promoted_at=START)
    host.put("incidents", **day, severity="rebalance", state="cleared")
    host.put(
        "incidents", opened_at=START.replace(hour=0) - timedelta(seconds=1), notice_at=at(12), state="failed", **facts
    )
    base = {"client_id": tenant.client_id, "client_name": "test_e99_one_row_a_day_and_client_newest_first"}
    assert emergencies(tenant) == [
        {**base, "date": "2026-03-02", "emergency_event_count": 3, "rebalance_notices": 1, "termination_notices": 2,
         "failovers_completed": 2, "failovers_failed": 0},
        {**base, "date": "2026-03-01", "emergency_event_count": 1, "rebalance_notices": 0, "termination_notices": 1,
         "failovers_completed": 0, "failovers_failed": 1},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "seen"), [("", 2), ("?days=1", 1), ("?days=0", 1), ("?days=365", 3), ("?days=999", 3)]
)
def test_e99_shows_30_days_unless_told(tenant: Tenant, host: Host, query: str, seen: int) -> None:
    for days in (0.9, 29.9, 364.9, 365.1):
        host.put("incidents", instance_id=host.row_id, opened_at=at(days * 24))
    assert len(emergencies(tenant, query)) == seen


def test_e99_counts_each_client_for_itself(shared_site: Site, tenant: Tenant, host: Host) -> None:
    other = Host(shared_site.client(f"other than {tenant.client_id}"))
    for one, times in ((host, 1), (other, 2)):
        for _ in range(times):
            one.put("incidents", instance_id=one.row_id)
    assert [row["emergency_event_count"] for row in emergencies(tenant)] == [1]
    assert [row["emergency_event_count"] for row in emergencies(other.tenant)] == [2]
