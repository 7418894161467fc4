"""E03…E09, E86, E93…E99 over real tables: exact fields, honest unknowns, nothing of a deleted client."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from spotadapters.jobs.board import UPKEEP, JobView
from tests.support.databases import WarmDatabase
from tests.support.server import Site, Tenant, a_site
from tests.support.wire_agents import TYPE, V4c
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}


def host(tenant: Tenant, logical: str = "web", **facts: Any) -> V4c:
    agent = V4c(tenant, tenant.site.new_machine(), logical=logical, **facts)
    assert agent.register().status == 200
    agent.heartbeat()
    agent.prices()
    return agent


def switched(agent: V4c) -> str:
    """A switch by hand to another zone, reported; the new machine."""
    agent.tenant.post(
        f"/api/client/instances/{agent.machine}/force-switch", {"target": "pool", "pool_id": f"{TYPE}.us-east-1b"}
    )
    assert agent.commands()
    new = agent.tenant.site.new_machine()
    assert agent.switch_report(new, "us-east-1b", "spot").status == 200
    return new


def ledger(site: Site, agent: V4c, saving: str, hour: int = 0) -> None:
    with site.connections.connection() as connection:
        connection.execute(
            """insert into ledger_lines (client_id, line_id, agent_id, instance_id, started_at, ended_at, role, mode,
                   baseline, cost, saving, quality, recorded_at)
               select client_id, %(line)s, agent_id, instance_id, '2026-03-02T00:00Z'::timestamptz + %(hour)s * interval '1 hour',
                   '2026-03-02T01:00Z'::timestamptz + %(hour)s * interval '1 hour', 'primary', 'spot',
                   %(saving)s::numeric + 1, 1, %(saving)s::numeric, 'measured', now()
               from instances where agent_id = %(agent)s limit 1""",
            {"line": f"{agent.machine}-{hour}", "agent": agent.agent_id, "saving": saving, "hour": hour},
        )  # fmt: skip


@pytest.fixture
def tenant(site: Site) -> Tenant:
    return site.client("Acme")


@pytest.fixture(scope="module")
def fleet(module_site: Site) -> dict[str, set[str]]:
    """The agents of the shared site's only client, by the status that people see."""
    tenant = module_site.client("Acme")
    online, off, disabled = host(tenant, "on"), host(tenant, "off"), host(tenant, "disabled")
    moving = host(tenant, "moving")
    off.stop()
    tenant.post(f"/api/client/agents/{disabled.agent_id}/toggle-enabled", {"enabled": False})
    tenant.post(
        f"/api/client/instances/{moving.machine}/force-switch", {"target": "pool", "pool_id": f"{TYPE}.us-east-1b"}
    )
    assert moving.commands()
    return {
        "online": {online.agent_id}, "offline": {off.agent_id}, "disabled": {disabled.agent_id}, "error": set(),
        "switching": {moving.agent_id},
    }  # fmt: skip


# ---- E03


def test_e03_counts_what_is_there_and_no_deleted_client(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    switched(agent)
    gone = site.client("Gone")
    host(gone)
    site.call("DELETE", f"/api/admin/clients/{gone.client_id}")
    data = site.call("GET", "/api/admin/stats").data
    assert data == {
        "totalAccounts": 1, "agentsOnline": 1, "agentsTotal": 1, "totalInstances": 1, "poolsCovered": 3,
        "totalSavings": 0.1992, "realisedSavings": None, "totalSwitches": 1, "manualSwitches": 1, "modelSwitches": 0,
        "emergencySwitches": 0, "backendHealth": "Decision Engine Not Loaded", "decisionEngineLoaded": False,
        "mlModelsLoaded": False,
    }  # fmt: skip
    ledger(site, agent, "0.5")
    ledger(site, agent, "-0.125", hour=1)
    assert site.call("GET", "/api/admin/stats").data["realisedSavings"] == 0.375  # SV-10: losses count


def test_e03_before_anybody_is_there_is_zeros_and_unknown_savings_are_null_or_0_in_the_legacy_shape_t26(
    site: Site,
) -> None:
    data = site.call("GET", "/api/admin/stats").data
    assert {data[name] for name in data if name.startswith(("total", "agents", "pools"))} == {0}
    assert data["realisedSavings"] is None
    assert site.call("GET", "/api/admin/stats", headers=LEGACY).body["realisedSavings"] == 0


# ---- E04, E05, E06, E07


def test_e04_lists_clients_newest_first_with_their_counts_and_never_a_token(site: Site, tenant: Tenant) -> None:
    host(tenant)
    site.clock.advance(60)
    late = site.client("Late")
    rows = site.call("GET", "/api/admin/clients").data
    assert [row["name"] for row in rows] == ["Late", "Acme"]
    assert rows[1] == {
        "id": tenant.client_id, "name": "Acme", "email": None, "status": "active", "agentsOnline": 1, "agentsTotal": 1,
        "instances": 1, "totalSavings": 0, "realisedSavings": None, "lastSync": "2026-03-02T12:00:00Z",
        "createdAt": "2026-03-02T12:00:00Z",
    }  # fmt: skip
    assert tenant.token not in str(rows)
    assert late.token not in str(rows)
    assert isinstance(site.call("GET", "/api/admin/clients", headers=LEGACY).body, list)


def test_e04_says_inactive_for_a_suspended_client_and_leaves_out_a_deleted_one(site: Site, tenant: Tenant) -> None:
    site.plane.clients.suspend(tenant.client_id)  # type: ignore[arg-type]
    gone = site.client("Gone")
    site.call("DELETE", f"/api/admin/clients/{gone.client_id}")
    assert [(row["name"], row["status"]) for row in site.call("GET", "/api/admin/clients").data] == [
        ("Acme", "inactive")
    ]


def test_e05_days_without_a_snapshot_come_from_creation_dates_never_invented_c20(site: Site) -> None:
    site.client("First")
    site.clock.advance(86_400)
    second = site.client("Second")
    site.clock.advance(86_400)
    site.call("DELETE", f"/api/admin/clients/{second.client_id}")
    rows = site.call("GET", "/api/admin/clients/growth?days=4").data
    assert [(row["date"], row["count"], row["total"], row["new"], row["active"]) for row in rows] == [
        ("2026-03-01", 0, 0, 0, None), ("2026-03-02", 1, 1, 1, None), ("2026-03-03", 2, 2, 1, None),
        ("2026-03-04", 1, 1, 0, 1),
    ]  # fmt: skip
    with site.connections.connection() as connection:
        connection.execute("insert into client_snapshots values ('2026-03-03', 7, 3, 5)")
    assert site.call("GET", "/api/admin/clients/growth?days=2").data[0] == {
        "date": "2026-03-03", "count": 7, "total": 7, "new": 3, "active": 5,
    }  # fmt: skip


@pytest.mark.parametrize(("asked", "given"), [("0", 1), ("9999", 365), ("", 30), ("-4", 1)])
def test_e05_the_number_of_days_is_clamped(shared_site: Site, asked: str, given: int) -> None:
    assert len(shared_site.call("GET", f"/api/admin/clients/growth?days={asked}").data) == given


def test_e06_tells_what_happened_in_words_newest_first(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    switched(agent)
    answer = site.call("GET", "/api/admin/activity?limit=100")
    assert answer.status == 200, answer
    rows = answer.data
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    kinds = {row["eventType"]: row for row in rows}
    assert kinds["agent_registered"]["type"] == "agent"
    assert kinds["agent_registered"]["text"] == f"Agent web registered on {agent.machine}"
    assert kinds["switch_completed"]["type"] == "switch"
    assert kinds["client_created"]["type"] == "event"
    assert kinds["agent_registered"]["clientName"] == "Acme"
    assert set(rows[0]) == {"id", "type", "text", "time", "severity", "eventType", "clientId", "clientName"}
    assert all(row["text"] for row in rows)
    assert len(site.call("GET", "/api/admin/activity?limit=2").data) == 2


def test_e07_shows_the_state_of_the_process_and_no_path_or_secret(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    data = site.call("GET", "/api/admin/system-health").data
    assert data["agents"] == {"total": 1, "online": 1, "offline": 0}
    assert (data["apiStatus"], data["database"], data["decisionEngine"]) == ("Healthy", "Connected", "Not Loaded")
    used, size = data["connectionPool"].split("/")
    assert 0 <= int(used) <= int(size)
    assert data["backgroundJobs"] == {"enabled": False, "running": False, "jobs": []}
    assert data["modelStatus"] == {
        "loaded": False, "name": "None", "version": "N/A", "filesUploaded": 0, "activeModels": [], "files": [],
    }  # fmt: skip
    assert data["decisionEngineStatus"]["type"] == "None"
    agent.stop()
    assert site.call("GET", "/api/admin/system-health").data["agents"] == {"total": 1, "online": 0, "offline": 1}


@pytest.mark.parametrize(("silent", "running"), [(10, True), (11, False)])
def test_e07_does_not_call_jobs_running_whose_schedulers_are_gone_jb_8(
    warm_database: WarmDatabase, silent: int, running: bool
) -> None:
    class Board:
        def jobs(self) -> Sequence[JobView]:
            day, upkeep = timedelta(days=1), START - timedelta(seconds=silent)
            return (
                JobView(name=UPKEEP, every=timedelta(seconds=1), known_since=START - day, last_success=upkeep),
                JobView(name="retention", every=day, known_since=START - day, last_success=START - day),
            )

    with a_site(warm_database.connections, jobs=Board()) as site:
        found = site.call("GET", "/api/admin/system-health").data["backgroundJobs"]
    assert (found["enabled"], found["running"]) == (True, running)


# ---- E08, E09


def test_e08_lists_machines_of_all_clients_with_prices_or_null(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    data = site.call("GET", "/api/admin/instances").data
    assert data["total"] == 1
    assert data["filters"] == {"status": "all", "mode": None, "region": None, "client_id": None}
    assert data["instances"][0] == {
        "id": agent.machine, "instanceId": agent.machine, "clientId": tenant.client_id, "clientName": "Acme",
        "agentId": agent.agent_id, "logicalAgentId": "web", "agentStatus": "online",
        "agentHostname": f"ip-{agent.machine}", "region": "us-east-1", "az": "us-east-1a", "instanceType": TYPE,
        "currentMode": "spot", "currentPoolId": f"{TYPE}.us-east-1a", "spotPrice": 0.0208, "ondemandPrice": 0.0416,
        "isActive": True, "isPrimary": True, "instanceStatus": "running_primary", "savingsPercent": 50,
        "installedAt": "2026-03-02T12:00:00Z", "createdAt": "2026-03-02T12:00:00Z",
    }  # fmt: skip
    site.clock.advance(3_601)
    late = site.call("GET", "/api/admin/instances", headers=LEGACY).body["instances"][0]
    assert (late["spotPrice"], late["savingsPercent"]) == (None, None)  # GF-4: an hour old is unknown, in every shape


def test_e08_filters_and_counts_all_of_them_beyond_the_limit(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    new = switched(agent)
    other = site.client("Other")
    host(other, mode="ondemand")

    def ids(query: str) -> set[str]:
        return {row["id"] for row in site.call("GET", f"/api/admin/instances?{query}").data["instances"]}

    assert len(ids("")) == 3
    assert ids("status=terminated") == {agent.machine}
    assert agent.machine not in ids("status=active")
    assert new in ids("status=active")
    assert len(ids("mode=ondemand")) == 1
    assert ids(f"client_id={tenant.client_id}") == {agent.machine, new}
    assert ids(f"search={new[-6:]}") == {new}
    assert ids("search=%25") == set()  # S14: a wildcard is a character
    assert ids("region=eu-west-1") == set()
    limited = site.call("GET", "/api/admin/instances?limit=1").data
    assert (len(limited["instances"]), limited["total"]) == (1, 3)


def test_e08_a_requested_machine_shows_its_placeholder(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    site.tick(1)
    rows = site.call("GET", "/api/admin/instances?status=active").data["instances"]
    launching = [row for row in rows if row["instanceStatus"] == "launching"]
    assert len(launching) == 1
    assert launching[0]["id"].startswith("i-pending-")


def test_e09_lists_agents_and_deleted_ones_only_when_asked_for(site: Site, tenant: Tenant) -> None:
    agent, second = host(tenant), host(tenant, "second")
    site.call("DELETE", f"/api/client/agents/{second.agent_id}")
    data = site.call("GET", "/api/admin/agents").data
    assert (data["total"], [row["id"] for row in data["agents"]]) == (1, [agent.agent_id])
    assert set(data["agents"][0]) == {
        "id", "logicalAgentId", "hostname", "clientId", "clientName", "instanceId", "instanceType", "region", "az",
        "currentMode", "currentPoolId", "status", "enabled", "autoSwitchEnabled", "manualReplicaEnabled", "version",
        "configVersion", "lastHeartbeatAt", "createdAt",
    }  # fmt: skip
    deleted = site.call("GET", "/api/admin/agents?status=deleted").data["agents"]
    assert [(row["id"], row["status"]) for row in deleted] == [(second.agent_id, "deleted")]
    site.call("DELETE", f"/api/admin/clients/{tenant.client_id}")
    assert site.call("GET", "/api/admin/agents?status=deleted").data["agents"] == []
    assert site.call("GET", "/api/admin/agents").data == {
        "agents": [], "total": 0, "filters": {"status": "all", "client_id": None},
    }  # fmt: skip


@pytest.mark.parametrize("status", ["online", "offline", "disabled", "error", "switching"])
def test_e09_filters_by_the_one_status_that_people_see(
    shared_site: Site, fleet: dict[str, set[str]], status: str
) -> None:
    rows = shared_site.call("GET", f"/api/admin/agents?status={status}").data["agents"]
    assert {row["id"] for row in rows} == fleet[status]


@pytest.mark.parametrize(
    "path", ["/api/admin/instances?status=asleep", "/api/admin/agents?status=lost", "/api/admin/agents?limit=ten"]
)
def test_a_filter_that_cannot_be_read_is_refused_with_what_would_be_right(shared_site: Site, path: str) -> None:
    answer = shared_site.call("GET", path)
    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")
    assert answer.body["details"]


# ---- E86


def test_e86_exports_active_clients_by_realised_savings_s15_s17(site: Site) -> None:
    small, big = site.client("=cmd|' /C calc'!A0"), site.client("Big")
    site.plane.clients.suspend(site.client("Paused").client_id)  # type: ignore[arg-type]
    first, second = host(small), host(big)
    host(big, "second")
    ledger(site, first, "0.1")
    ledger(site, second, "2.345")
    ledger(site, second, "1", hour=1)
    answer = site.http.get(
        "/api/admin/export/global-stats", headers={"Authorization": "Bearer admin-token-of-the-tests"}
    )
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == "attachment; filename=global_stats.csv"
    assert answer.text.split("\r\n") == [
        "Client ID,Name,Email,Total Savings ($),Active Instances,Active Agents,Created At",
        f"{big.client_id},Big,,3.34,2,2,2026-03-02T12:00:00Z",
        f"{small.client_id},'=cmd|' /C calc'!A0,,0.10,1,1,2026-03-02T12:00:00Z",
        "",
    ]


# ---- E93, E94, E95


def test_e93_finds_clients_machines_and_agents_and_repeats_them_where_the_dashboard_reads_c45(
    site: Site, tenant: Tenant
) -> None:
    agent = host(tenant)
    data = site.call("GET", "/api/admin/search?q=acm").data
    assert (
        data["results"]["clients"]
        == data["clients"]
        == [{"id": tenant.client_id, "name": "Acme", "email": None, "status": "active", "matchField": "name"}]
    )
    found = site.call("GET", f"/api/search?q={agent.machine}").data
    assert (found["query"], found["total_results"]) == (agent.machine, 2)
    assert found["instances"][0]["id"] == found["instances"][0]["name"] == agent.machine
    assert found["agents"][0]["hostname"] == f"ip-{agent.machine}"
    only = site.call("GET", f"/api/admin/search?q={agent.machine}&types=agents").data
    assert (only["instances"], len(only["agents"])) == ([], 1)


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("text", ["", "a", "%", "__", "%%%", "\\\\"])
def test_e93_short_texts_and_wildcards_find_nothing_s14(shared_site: Site, text: str) -> None:
    data = shared_site.call("GET", "/api/admin/search?q=" + text.replace("%", "%25")).data
    assert data["total_results"] == 0


def test_e93_never_finds_a_deleted_client_or_what_was_its(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    site.call("DELETE", f"/api/admin/clients/{tenant.client_id}")
    assert site.call("GET", "/api/admin/search?q=acme").data["total_results"] == 0
    assert site.call("GET", f"/api/admin/search?q={agent.machine}").data["total_results"] == 0


def test_e94_pools_by_region_and_type_with_averages_of_what_is_known(site: Site, tenant: Tenant) -> None:
    host(tenant)
    data = site.call("GET", "/api/admin/pools/statistics").data
    assert data == site.call("GET", "/api/admin/pool-statistics").data
    assert (data["total_pools"], data["active_pools"], data["inactive_pools"]) == (3, 3, 0)
    assert (data["total"], data["active"]) == (3, 3)
    assert data["regions"] == [{"region": "us-east-1", "pools": 3, "average_price": 0.016633, "cheapest_price": 0.0125}]
    assert data["instance_types"] == [
        {"instance_type": TYPE, "pools_available": 3, "avg_spot_price": 0.016633, "ondemand_price": 0.0416}
    ]
    site.clock.advance(25 * 3600)
    later = site.call("GET", "/api/admin/pools/statistics").data
    assert (later["active_pools"], later["inactive_pools"]) == (0, 3)
    assert later["regions"][0]["average_price"] is None


def test_e95_says_who_is_silent_and_for_how_long(site: Site, tenant: Tenant) -> None:
    agent, quiet = host(tenant), host(tenant, "quiet")
    site.clock.advance(600)
    agent.heartbeat()
    site.tick()
    data = site.call("GET", "/api/admin/agents/health-summary").data
    assert (data["total_agents"], data["total"], data["online"], data["offline"], data["deleted"]) == (2, 2, 1, 1, 0)
    assert data["by_client"] == [
        {"client_id": tenant.client_id, "client_name": "Acme", "online": 1, "offline": 1, "total": 2}
    ]
    assert data["recent_offline"] == [
        {
            "agent_id": quiet.agent_id, "hostname": f"ip-{quiet.machine}", "client_name": "Acme",
            "last_heartbeat": "2026-03-02T12:00:00Z", "offline_duration_minutes": 10,
        }
    ]  # fmt: skip
    assert data["heartbeat_distribution"] == {"healthy": 1, "degraded": 1, "critical": 0}
    assert data == site.call("GET", "/api/admin/agent-health").data


# ---- E96


def bulk(site: Site, operation: str, ids: Any, **more: Any) -> Any:
    field = "instance_ids" if operation == "terminate_instances" else "agent_ids"
    return site.call("POST", "/api/admin/bulk/execute", {"operation": operation, field: ids, "confirm": True, **more})


def test_e96_each_item_has_its_own_outcome_and_one_refusal_stops_no_other(site: Site, tenant: Tenant) -> None:
    first, second = host(tenant), host(tenant, "second")
    answer = bulk(site, "disable_agents", [first.agent_id, "unknown", second.agent_id])
    assert answer.data == {
        "operation": "disable_agents", "total": 3, "succeeded": 2, "failed": 1,
        "results": [
            {"agent_id": first.agent_id, "status": "success"},
            {"agent_id": "unknown", "status": "failed", "error": "unknown agent"},
            {"agent_id": second.agent_id, "status": "success"},
        ],
    }  # fmt: skip
    assert {row["status"] for row in site.call("GET", "/api/admin/agents").data["agents"]} == {"disabled"}
    assert bulk(site, "enable_agents", [first.agent_id]).data["succeeded"] == 1


def test_e96_refuses_to_delete_an_agent_whose_primary_is_active_and_to_end_a_primary(
    site: Site, tenant: Tenant
) -> None:
    agent = host(tenant)
    refused = bulk(site, "delete_agents", [agent.agent_id]).data["results"][0]
    assert refused["status"] == "failed"
    assert "primary is active" in refused["error"]
    ended = bulk(site, "terminate_instances", [agent.machine]).data["results"][0]
    assert (ended["instance_id"], ended["status"]) == (agent.machine, "failed")
    assert tenant.primary(agent.agent_id) == agent.machine


def test_e96_ends_what_may_be_ended(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    switched(agent)
    done = bulk(site, "terminate_instances", [agent.machine, agent.machine]).data
    assert (done["total"], done["succeeded"]) == (1, 1)
    assert tenant.statuses(agent.agent_id)[agent.machine] == "terminating"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"operation": "disable_agents", "agent_ids": ["a"]}, "CONFIRMATION_REQUIRED"),
        ({"operation": "disable_agents", "agent_ids": ["a"], "confirm": False}, "CONFIRMATION_REQUIRED"),
        ({"operation": "reboot", "agent_ids": ["a"], "confirm": True}, "UNSUPPORTED_OPERATION"),
        ({"operation": "disable_agents", "agent_ids": [], "confirm": True}, "VALIDATION_ERROR"),
        ({"operation": "disable_agents", "instance_ids": ["i-0a"], "confirm": True}, "VALIDATION_ERROR"),
        ({"operation": "disable_agents", "agent_ids": ["a"] * 101, "confirm": True}, "VALIDATION_ERROR"),
        ({"operation": "disable_agents", "agent_ids": [7], "confirm": True}, "VALIDATION_ERROR"),
        ({"agent_ids": ["a"], "confirm": True}, "VALIDATION_ERROR"),
    ],
)
def test_e96_refuses_the_whole_of_what_is_not_meant(shared_site: Site, body: Any, code: str) -> None:
    answer = shared_site.call("POST", "/api/admin/bulk/execute", body)
    assert (answer.status, answer.body["code"]) == (400, code)


def test_e96_the_same_key_does_it_once_also_when_one_item_is_refused_id4(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    body = {"operation": "disable_agents", "agent_ids": ["unknown", agent.agent_id], "confirm": True}
    first = site.call("POST", "/api/admin/bulk/execute", body, headers={"X-Request-ID": "once"})
    site.call("POST", f"/api/client/agents/{agent.agent_id}/toggle-enabled", {"enabled": True})
    again = site.call("POST", "/api/admin/bulk/execute", body, headers={"X-Request-ID": "once"})
    assert first.data == again.data
    assert tenant.aggregate(agent.agent_id).agent.config.enabled


# ---- E97, E98, E99


def test_e97_figures_of_the_day_are_computed_or_null(site: Site, tenant: Tenant) -> None:
    nothing = site.call("GET", "/api/admin/metrics/operational").data
    assert nothing["heartbeat_age_seconds"] == {"avg": None, "max": None}
    assert nothing["failovers_24h"] == {"count": 0, "avg_ms": None, "max_ms": None}
    assert nothing["price_lag_seconds"] is None
    agent = host(tenant)
    site.clock.advance(10)
    switched(agent)
    data = site.call("GET", "/api/admin/metrics/operational").data
    assert data["heartbeat_age_seconds"] == {"avg": 10, "max": 10}
    assert data["switches_24h"] == {"total": 1, "successful": 1, "failed": 0, "avg_downtime_seconds": 2}
    assert data["command_latency_seconds"] == {"avg": 0, "p95": 0}
    assert (data["open_commands"], data["expired_commands_24h"], data["price_lag_seconds"]) == (0, 0, 10)


def test_e98_lists_runs_of_the_asked_days(site: Site) -> None:
    assert site.call("GET", "/api/admin/consolidation-jobs").data == []
    with site.connections.connection() as connection:
        connection.execute(
            "insert into job_runs (job_type, status, started_at) values"
            " ('data pipeline', 'completed', '2026-03-02T11:00Z'), ('data pipeline', 'failed', '2026-02-01T11:00Z')"
        )
    rows = site.call("GET", "/api/admin/consolidation-jobs").data
    assert [(row["job_type"], row["status"], row["started_at"]) for row in rows] == [
        ("data pipeline", "completed", "2026-03-02T11:00:00Z")
    ]
    assert len(site.call("GET", "/api/admin/consolidation-jobs?days=90").data) == 2


def test_e99_counts_emergencies_by_day_and_client(site: Site, tenant: Tenant) -> None:
    agent = host(tenant)
    agent.rebalance()
    site.clock.advance(86_400)
    agent.heartbeat()
    other = host(tenant, "second")
    other.termination()
    rows = site.call("GET", "/api/admin/emergency-events").data
    assert [
        (row["date"], row["client_name"], row["rebalance_notices"], row["termination_notices"]) for row in rows
    ] == [("2026-03-03", "Acme", 0, 1), ("2026-03-02", "Acme", 1, 0)]
    assert rows[0]["emergency_event_count"] == 1
    assert rows[0]["failovers_completed"] == 0
