"""E09, E22, E24, E42: agents and replicas as people list them, field by field (http-api 7.2, 7.4, 7.6)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at, change
from tests.support.server import Site, Tenant
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


@pytest.fixture
def host(tenant: Tenant) -> Host:
    return Host(tenant)


def of_client(tenant: Tenant, path: str, **more: Any) -> list[Any]:
    answer = tenant.get(f"/api/client/{tenant.client_id}{path}", **more)
    assert answer.status == 200, answer
    rows: list[Any] = answer.body if more else answer.data
    return rows


def of_all(tenant: Tenant, query: str = "") -> Any:
    answer = tenant.site.call("GET", f"/api/admin/agents?client_id={tenant.client_id}{query}")
    assert answer.status == 200, answer
    return answer.data


def no_primary(host: Host) -> None:
    """AWS has taken the machine, and nothing has followed."""
    host.change(primary_id=None)
    change(host.site, "instances", {"instance_id": host.row_id}, status="terminated", terminated_at=START)


def moving(host: Host, **columns: Any) -> None:
    host.put("commands", **{"state": "executing", "request_id": host.agent_id, "command_id": host.agent_id, **columns})


# The display status, first match wins (domain-rules 1.2)
STATES: dict[str, tuple[str, Callable[[Host], Any]]] = {
    "online": ("online", lambda _: None),
    "offline": ("offline", lambda host: host.change(link="offline")),
    "executing a switch": ("switching", moving),
    "executing a switch while offline": ("switching", lambda host: (host.change(link="offline"), moving(host))),
    "executing a promotion": ("switching", lambda host: moving(host, kind="promote")),
    "launching its next primary": (
        "switching", lambda host: moving(host, kind="launch_instance", makes_primary=True)
    ),
    "launching a replica": ("online", lambda host: moving(host, kind="launch_instance")),
    "a switch that waits": ("online", lambda host: moving(host, state="pending")),
    "a switch that is done": ("online", lambda host: moving(host, state="completed")),
    "without a primary": ("error", no_primary),
    "without a primary while switching": ("error", lambda host: (moving(host), no_primary(host))),
    "disabled": ("disabled", lambda host: host.change(enabled=False)),
    "disabled, offline": ("disabled", lambda host: host.change(enabled=False, link="offline")),
    "disabled without a primary": ("disabled", lambda host: (host.change(enabled=False), no_primary(host))),
    "retiring": ("deleted", lambda host: host.change(life="retiring", retiring_at=START)),
    "deleted, disabled": ("deleted", lambda host: host.change(life="deleted", enabled=False, deleted_at=START)),
}  # fmt: skip


@pytest.mark.parametrize("story", STATES)
def test_the_one_status_that_people_see_is_the_same_everywhere_1_2(host: Host, tenant: Tenant, story: str) -> None:
    status, happens = STATES[story]
    happens(host)
    (past,) = of_client(tenant, "/agents/history")
    assert past["status"] == status
    found = [row["status"] for row in of_client(tenant, "/agents")]
    assert found == ([] if status == "deleted" else [status])
    assert [row["status"] for row in of_all(tenant)["agents"]] == found
    assert [row["id"] for row in of_all(tenant, f"&status={status}")["agents"]] == [host.agent_id]
    others = {"online", "disabled", "deleted"} - {status}
    assert all(of_all(tenant, f"&status={other}")["total"] == 0 for other in others)


# ---- E09


def test_e09_every_field(host: Host, tenant: Tenant) -> None:
    host.change(last_heartbeat_at=at(0.5), config_version=2, auto_switch_enabled=False, manual_replica_enabled=True)
    assert of_all(tenant) == {
        "agents": [
            {
                "id": host.agent_id, "logicalAgentId": "web", "hostname": "host-web", "clientId": tenant.client_id,
                "clientName": "test_e09_every_field", "instanceId": host.machine, "instanceType": host.type,
                "region": "us-east-1", "az": "us-east-1a", "currentMode": "spot", "currentPoolId": host.pool("a"),
                "status": "online", "enabled": True, "autoSwitchEnabled": False, "manualReplicaEnabled": True,
                "version": "4.0.0", "configVersion": 2, "lastHeartbeatAt": "2026-03-02T11:30:00Z",
                "createdAt": "2026-03-02T12:00:00Z",
            }
        ],
        "total": 1, "filters": {"status": "all", "client_id": tenant.client_id},
    }  # fmt: skip


def test_e09_of_an_agent_without_a_machine_is_nulls_and_its_mode_unknown(host: Host, tenant: Tenant) -> None:
    no_primary(host)
    host.change(last_heartbeat_at=None, hostname=None, agent_version=None, region=None)
    (row,) = of_all(tenant)["agents"]
    unknown = ("hostname", "instanceId", "instanceType", "region", "az", "currentPoolId", "version", "lastHeartbeatAt")
    assert {row[name] for name in unknown} == {None}
    assert (row["currentMode"], row["status"]) == ("unknown", "error")


def test_e09_by_last_heartbeat_and_those_never_heard_last(tenant: Tenant) -> None:
    heard = {name: Host(tenant, name) for name in ("never", "long ago", "just now", "lately")}
    for name, hours in (("never", None), ("long ago", 50), ("just now", 0), ("lately", 1)):
        heard[name].change(last_heartbeat_at=None if hours is None else at(hours))
    order = ["just now", "lately", "long ago", "never"]
    assert [row["logicalAgentId"] for row in of_all(tenant)["agents"]] == order
    assert [row["logicalAgentId"] for row in of_client(tenant, "/agents")] == order


@pytest.mark.parametrize(
    ("query", "shown"), [("", 3), ("&limit=2", 2), ("&limit=0", 1), ("&limit=-9", 1), ("&limit=5000", 3)]
)
def test_e09_the_total_counts_beyond_the_limit(tenant: Tenant, query: str, shown: int) -> None:
    for number in range(3):
        Host(tenant, f"agent {number}")
    data = of_all(tenant, query)
    assert (len(data["agents"]), data["total"]) == (shown, 3)


def test_e09_of_an_unknown_client_is_empty(shared_site: Site) -> None:
    data = shared_site.call("GET", "/api/admin/agents?client_id=nobody&status=ONLINE").data
    assert data == {"agents": [], "total": 0, "filters": {"status": "online", "client_id": "nobody"}}


# ---- E22


def test_e22_every_field(host: Host, tenant: Tenant) -> None:
    host.change(
        last_heartbeat_at=at(0.25), auto_terminate_enabled=False, terminate_wait_seconds=301, config_version=2
    )  # fmt: skip
    for status in ("launching", "running_replica", "zombie", "terminated", "released", "terminating"):
        host.machine_row(status)
    assert of_client(tenant, "/agents") == [
        {
            "id": host.agent_id, "logicalAgentId": "web", "hostname": "host-web", "instanceId": host.machine,
            "instanceType": host.type, "region": "us-east-1", "az": "us-east-1a", "currentMode": "spot",
            "currentPoolId": host.pool("a"), "status": "online", "lastHeartbeat": "2026-03-02T11:45:00Z",
            "instanceCount": 3, "enabled": True, "autoSwitchEnabled": True, "manualReplicaEnabled": False,
            "autoTerminateEnabled": False, "terminateWaitMinutes": 6, "agentVersion": "4.0.0", "configVersion": 2,
            "noticeStatus": "none",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(60, 1), (61, 2), (300, 5), (3_599, 60), (3_600, 60), (86_400, 1_440)]
)
def test_e22_minutes_are_seconds_rounded_up_5(host: Host, tenant: Tenant, seconds: int, minutes: int) -> None:
    host.change(terminate_wait_seconds=seconds)
    assert of_client(tenant, "/agents")[0]["terminateWaitMinutes"] == minutes


@pytest.mark.parametrize("severity", ["rebalance", "termination"])
@pytest.mark.parametrize(
    ("state", "is_open"),
    [("detected", True), ("handling", True), ("failed", True), ("resolved", False), ("cleared", False)],
)
def test_e22_a_notice_shows_while_the_incident_of_the_primary_is_open(
    host: Host, tenant: Tenant, severity: str, state: str, is_open: bool
) -> None:
    host.put("incidents", instance_id=host.row_id, severity=severity, state=state)
    assert of_client(tenant, "/agents")[0]["noticeStatus"] == (severity if is_open else "none")


def test_e22_a_notice_of_another_machine_of_the_agent_is_not_the_primarys(host: Host, tenant: Tenant) -> None:
    host.put("incidents", instance_id=host.machine_row("zombie"), state="handling")
    assert of_client(tenant, "/agents")[0]["noticeStatus"] == "none"


def test_e22_of_a_client_without_agents_is_a_bare_array_for_the_page_t26(tenant: Tenant) -> None:
    assert of_client(tenant, "/agents", headers=LEGACY) == of_client(tenant, "/agents") == []


# ---- E24


def test_e24_every_field(host: Host, tenant: Tenant) -> None:
    host.change(registered_at=at(48), updated_at=at(1), last_heartbeat_at=at(0.5))
    host.switch()
    host.switch(state="failed")
    host.switch(state="superseded")
    assert of_client(tenant, "/agents/history") == [
        {
            "id": host.agent_id, "logicalAgentId": "web", "hostname": "host-web", "instanceId": host.machine,
            "instanceType": host.type, "region": "us-east-1", "az": "us-east-1a", "currentMode": "spot",
            "status": "online", "enabled": True, "autoSwitchEnabled": True, "manualReplicaEnabled": False,
            "createdAt": "2026-02-28T12:00:00Z", "updatedAt": "2026-03-02T11:00:00Z",
            "lastHeartbeat": "2026-03-02T11:30:00Z", "installedAt": "2026-02-28T12:00:00Z", "terminatedAt": None,
            "totalSwitches": 1,
        }
    ]  # fmt: skip


def test_e24_an_agent_without_a_machine_shows_the_last_one_it_had(host: Host, tenant: Tenant) -> None:
    no_primary(host)
    (row,) = of_client(tenant, "/agents/history")
    assert (row["instanceId"], row["instanceType"], row["az"], row["currentMode"]) == (
        host.machine, host.type, "us-east-1a", "spot",
    )  # fmt: skip
    assert (row["status"], row["terminatedAt"]) == ("error", None)


def test_e24_online_offline_deleted_and_then_the_others_each_by_heartbeat(tenant: Tenant) -> None:
    for name, hours, columns in (
        ("disabled", 0, {"enabled": False}), ("deleted", 1, {"life": "deleted", "deleted_at": START}),
        ("off late", 2, {"link": "offline"}), ("off long", 9, {"link": "offline"}), ("on long", 8, {}), ("on late", 7, {}),
    ):  # fmt: skip
        Host(tenant, name).change(last_heartbeat_at=at(hours), **columns)
    assert [row["logicalAgentId"] for row in of_client(tenant, "/agents/history")] == [
        "on late", "on long", "off late", "off long", "deleted", "disabled",
    ]  # fmt: skip


def test_e24_a_deleted_agent_ended_when_it_was_deleted_or_else_began_to_retire(tenant: Tenant) -> None:
    Host(tenant, "retiring").change(life="retiring", retiring_at=at(2))
    Host(tenant, "gone").change(life="deleted", retiring_at=at(2), deleted_at=at(1))
    ended = {row["logicalAgentId"]: row["terminatedAt"] for row in of_client(tenant, "/agents/history")}
    assert ended == {"retiring": "2026-03-02T10:00:00Z", "gone": "2026-03-02T11:00:00Z"}


def test_e24_two_agents_of_one_name_are_two_rows_z5(tenant: Tenant) -> None:
    first = Host(tenant)
    first.change(life="deleted", deleted_at=START)
    second = Host(tenant)
    assert [row["id"] for row in of_client(tenant, "/agents/history")] == [second.agent_id, first.agent_id]


# ---- E42


def replica(host: Host, **columns: Any) -> tuple[str, str]:
    """A live replica and its machine: the ids of their rows."""
    row = host.machine_row("running_replica", columns.pop("cloud_id", None), pool_id=host.pool("b"), az="us-east-1b")
    facts = {"instance_id": row, "pool_id": host.pool("b"), "az": "us-east-1b", "instance_type": host.type}
    return host.put("replicas", **{**facts, **columns}), row


def test_e42_every_field(host: Host, tenant: Tenant) -> None:
    host.price("b", "0.0125")
    replica_id, row = replica(
        host, cloud_id="i-0e42", state="ready", kind="emergency_rebalance", created_by="system", created_at=at(3),
        ready_at=at(2), sync_latency_ms=40, progress="97.5", sync_status="synced", last_sync_at=START,
    )  # fmt: skip
    host.line(at(3), 2, "0", "0.025", role="replica", instance_id=row)
    host.line(at(1), 1, "0", "0.0125", role="replica", instance_id=row)
    assert of_client(tenant, "/replicas") == [
        {
            "agentId": host.agent_id,
            "primary": {
                "instanceId": host.machine, "instanceType": host.type, "region": "us-east-1", "az": "us-east-1a",
                "mode": "spot",
            },
            "replica": {
                "id": replica_id, "instanceId": "i-0e42", "type": "automatic-rebalance", "status": "ready",
                "sync_status": "synced", "sync_latency_ms": 40, "state_transfer_progress": 97.5,
                "pool": {
                    "id": host.pool("b"), "name": f"Pool {host.pool('b')}", "instance_type": host.type,
                    "region": "us-east-1", "az": "us-east-1b",
                },
                "cost": {"hourly": 0.0125, "total": 0.0375}, "created_by": "system",
                "created_at": "2026-03-02T09:00:00Z", "ready_at": "2026-03-02T10:00:00Z", "terminated_at": None,
                "is_active": True,
            },
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "status", "progress"),
    [("launching", "initializing", 0), ("syncing", "syncing", 0), ("ready", "synced", 100)],
)
def test_e42_what_was_never_reported_is_derived_4_1_t26(
    host: Host, tenant: Tenant, state: str, status: str, progress: int
) -> None:
    replica(host, state=state, pool_id=None)
    for headers in ({}, LEGACY):
        answer = tenant.get(f"/api/client/{tenant.client_id}/replicas", headers=headers)
        shown = (answer.body if headers else answer.data)[0]["replica"]
        assert (shown["sync_status"], shown["state_transfer_progress"]) == (status, progress)
        assert (shown["sync_latency_ms"], shown["pool"], shown["cost"]) == (None, None, {"hourly": None, "total": 0})


def test_e42_a_latency_of_0_is_one_and_prints_no_stray_0_on_the_page_t42(host: Host, tenant: Tenant) -> None:
    replica(host, state="syncing", sync_latency_ms=0)
    assert of_client(tenant, "/replicas")[0]["replica"]["sync_latency_ms"] == 0
    assert of_client(tenant, "/replicas", headers=LEGACY)[0]["replica"]["sync_latency_ms"] is None


def test_e42_a_replica_that_fell_silent_is_out_of_sync_rp_6(host: Host, tenant: Tenant) -> None:
    replica(host, state="syncing", sync_status="syncing", last_sync_at=START - timedelta(seconds=120))
    assert of_client(tenant, "/replicas")[0]["replica"]["sync_status"] == "syncing"
    change(tenant.site, "replicas", {"agent_id": host.agent_id}, last_sync_at=START - timedelta(seconds=121))
    assert of_client(tenant, "/replicas")[0]["replica"]["sync_status"] == "out-of-sync"


@pytest.mark.parametrize("state", ["promoted", "terminated", "failed"])
def test_e42_lists_active_ones_alone(host: Host, tenant: Tenant, state: str) -> None:
    replica(host, state=state, ended_at=START)
    assert of_client(tenant, "/replicas") == of_client(tenant, "/replicas", headers=LEGACY) == []


def test_e42_newest_first_over_all_agents_of_the_client(tenant: Tenant) -> None:
    for name, hours in (("middle", 2), ("old", 3), ("new", 1)):
        replica(Host(tenant, name), created_at=at(hours), tags={"name": name})
    names = {row["id"]: row["logicalAgentId"] for row in of_client(tenant, "/agents")}
    assert [names[row["agentId"]] for row in of_client(tenant, "/replicas")] == ["new", "middle", "old"]


def test_e42_without_a_primary_the_page_gets_the_last_known_one_else_words_t26_mr_13(
    host: Host, tenant: Tenant
) -> None:
    replica(host, state="ready")
    no_primary(host)
    assert of_client(tenant, "/replicas")[0]["primary"] is None
    (row,) = of_client(tenant, "/replicas", headers=LEGACY)
    assert (row["primary"]["instanceId"], row["primary"]["mode"]) == (host.machine, "spot")
    with tenant.site.connections.connection() as connection:
        connection.execute("delete from primary_periods where agent_id = %s", (host.agent_id,))
    (row,) = of_client(tenant, "/replicas", headers=LEGACY)
    assert row["primary"] == {
        "instanceId": "n/a",
        "instanceType": "n/a",
        "region": "n/a",
        "az": "n/a",
        "mode": "unknown",
    }


def test_e42_a_machine_without_a_cloud_id_shows_the_replicas_placeholder_1_4(host: Host, tenant: Tenant) -> None:
    replica_id, _ = replica(host)
    shown = of_client(tenant, "/replicas")[0]["replica"]["instanceId"]
    assert shown == f"replica-{replica_id.replace('-', '')[:8]}"
