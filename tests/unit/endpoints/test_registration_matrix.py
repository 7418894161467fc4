"""E16, the matrix RG-1…RG-10 as a host sees it: statuses, roles, codes, and what stays untouched."""

from typing import Any

import pytest

from spotcore.events import EventKind
from spotcore.ids import ClientId
from tests.support.server import Reply, Tenant
from tests.unit.endpoints.desk import Desk, mirrored, refusal

REGISTER = "/api/agents/register"
HERE, THERE = "us-east-1a", "us-east-1b"
OFF = {
    "enabled": False, "auto_switch_enabled": False, "manual_replica_enabled": False, "auto_terminate_enabled": False,
    "terminate_wait_seconds": 0, "terminate_wait_minutes": 0, "replica_enabled": False, "replica_count": 0,
    "min_savings_percent": 0, "risk_threshold": 0, "max_switches_per_week": 0, "max_switches_per_day": 0,
    "min_pool_duration_hours": 0, "cleanup_enabled": False, "emergency_rebalance_only": False, "emergency_min_risk": 0,
    "decision_engine_active": False,
}  # fmt: skip


def register(tenant: Tenant, machine: str, logical: str | None = "web", az: str = HERE, **more: Any) -> Reply:
    body = {"instance_id": machine, "instance_type": "t3.medium", "region": "us-east-1", "az": az, **more}
    return tenant.post(REGISTER, body if logical is None else {**body, "logical_agent_id": logical})


def is_all_off(answer: Reply) -> bool:
    config = answer.data["config"]
    return {name: config[name] for name in OFF} == OFF and config["config_version"] >= 1


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


@pytest.fixture
def ready(desk: Desk, tenant: Tenant, host: Any) -> str:
    """The machine of a replica that is ready."""
    tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
    [entry] = host.to_launch()
    machine = desk.new_machine()
    host.launch_replica(entry, machine)
    return machine


def switch(tenant: Tenant, host: Any, pool: str = f"t3.medium.{THERE}") -> Any:
    order = tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "pool", "pool_id": pool})
    assert order.data["success"] is True, order
    [command] = host.commands()
    return command


def test_rg_2_the_primary_again_is_online_and_refreshed(desk: Desk, tenant: Tenant, host: Any) -> None:
    desk.tick(200)
    assert host.get("").data["status"] == "offline"
    answer = register(tenant, host.machine, hostname="renamed")
    assert (answer.data["registered"], answer.data["role"]) == ("updated", "primary")
    assert host.get("").data["status"] == "online"
    assert tenant.aggregate(host.agent_id).agent.hostname == "renamed"
    assert tenant.aggregate(host.agent_id).agent.last_heartbeat_at == desk.clock.now()


def test_rg_3_a_replica_is_told_its_role_and_may_not_act(tenant: Tenant, host: Any, ready: str) -> None:
    before = tenant.aggregate(host.agent_id).agent
    answer = register(tenant, ready, az=THERE, hostname="elsewhere", agent_version="9")
    data = mirrored(answer)
    assert (data["agent_id"], data["role"], data["registered"]) == (host.agent_id, "replica", "updated")
    assert is_all_off(answer)
    after = tenant.aggregate(host.agent_id).agent
    assert (after.hostname, after.agent_version, after.primary_id) == (
        before.hostname, before.agent_version, before.primary_id,
    )  # fmt: skip


def test_rg_4_a_zombie_is_retired_and_changes_nothing(tenant: Tenant, host: Any, ready: str) -> None:
    [replica] = host.get("/replicas").data["replicas"]
    assert host.post(f"/replicas/{replica['id']}/promote", {}).data["new_instance_id"] == ready
    before = tenant.statuses(host.agent_id)
    answer = register(tenant, host.machine)
    assert (answer.status, answer.data["role"], answer.data["registered"]) == (200, "retired", "ignored")
    assert is_all_off(answer)
    assert tenant.statuses(host.agent_id) == before
    assert tenant.primary(host.agent_id) == ready


@pytest.mark.parametrize("named_by", ["replica", "command"])
def test_rg_5_a_launch_token_binds_the_machine_wherever_it_runs(
    desk: Desk, tenant: Tenant, host: Any, named_by: str
) -> None:
    if named_by == "replica":
        tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
        token, role = host.to_launch()[0]["id"], "replica"
    else:
        token, role = switch(tenant, host)["request_id"], "pending"
    answer = register(tenant, desk.new_machine(), az="us-east-1c", launch_token=token)
    assert (answer.status, answer.data["role"], answer.data["registered"]) == (200, role, "updated")
    assert answer.data["agent_id"] == host.agent_id
    assert is_all_off(answer)
    assert tenant.primary(host.agent_id) == host.machine  # never primary here


def test_a_launch_token_of_nobody_is_no_reason_to_take_over_rg_8(desk: Desk, tenant: Tenant, host: Any) -> None:
    answer = register(tenant, desk.new_machine(), launch_token="made-up")
    assert refusal(answer) == (409, "LOGICAL_AGENT_CONFLICT")
    assert tenant.primary(host.agent_id) == host.machine


def test_rg_6_the_target_of_an_executing_switch_waits_and_becomes_primary_by_its_heartbeat_z21(
    desk: Desk, tenant: Tenant, host: Any
) -> None:
    switch(tenant, host)
    new = desk.new_machine()
    answer = register(tenant, new, az=THERE)
    assert (answer.status, answer.data["role"]) == (200, "pending")  # T31: no refusal, and no fetching of commands
    assert is_all_off(answer)
    assert tenant.primary(host.agent_id) == host.machine
    beat = host.post("/heartbeat", {"status": "online", "instance_id": new})
    assert beat.data["role"] == "primary"
    assert tenant.primary(host.agent_id) == new


@pytest.mark.parametrize(("az", "kind"), [("us-east-1c", "t3.medium"), (THERE, "t3.large")])
def test_rg_6_another_zone_or_type_is_not_what_was_expected(
    desk: Desk, tenant: Tenant, host: Any, az: str, kind: str
) -> None:
    switch(tenant, host)
    answer = register(tenant, desk.new_machine(), az=az, instance_type=kind)
    assert refusal(answer) == (409, "LOGICAL_AGENT_CONFLICT")


def test_rg_7_an_offline_agent_is_taken_over_and_its_old_machine_is_a_zombie(
    desk: Desk, tenant: Tenant, host: Any
) -> None:
    desk.tick(121)
    new = desk.new_machine()
    answer = register(tenant, new, az=THERE)
    assert (answer.status, answer.data["role"], answer.data["registered"]) == (200, "primary", "updated")
    assert answer.data["agent_id"] == host.agent_id
    assert answer.data["config"]["enabled"] is True
    assert tenant.statuses(host.agent_id) == {host.machine: "zombie", new: "running_primary"}
    assert len(desk.events(EventKind.AGENT_REHOMED)) == 1


def test_rg_8_a_second_machine_beside_an_online_primary_is_refused_and_audited_t30(
    desk: Desk, tenant: Tenant, host: Any
) -> None:
    before = tenant.aggregate(host.agent_id)
    answer = register(tenant, desk.new_machine())
    assert refusal(answer) == (409, "LOGICAL_AGENT_CONFLICT")
    assert "details" not in answer.body
    after = tenant.aggregate(host.agent_id)
    assert (after.instances, after.agent.primary_id) == (before.instances, before.agent.primary_id)
    [event] = desk.events(EventKind.AGENT_REGISTRATION_FAILED)
    assert event.agent_id == host.agent_id


@pytest.mark.usefixtures("host")
def test_rg_8_passes_as_soon_as_the_primary_is_silent_for_more_than_120_seconds(desk: Desk, tenant: Tenant) -> None:
    new = desk.new_machine()
    desk.clock.advance(120)
    assert register(tenant, new).status == 409
    desk.clock.advance(1)
    assert register(tenant, new).status == 200


def test_rg_9_another_clients_machine_is_refused_and_nothing_leaks(desk: Desk, tenant: Tenant, host: Any) -> None:
    other = desk.client("Other")
    answer = register(other, host.machine)
    assert refusal(answer) == (409, "INSTANCE_OWNED")
    assert host.agent_id not in repr(answer.body)
    assert tenant.client_id not in repr(answer.body)
    assert len(desk.tables.agents) == 1
    assert tenant.statuses(host.agent_id) == {host.machine: "running_primary"}


def test_rg_9_a_machine_that_registered_itself_under_another_name_is_refused(tenant: Tenant, host: Any) -> None:
    assert refusal(register(tenant, host.machine, "other")) == (409, "INSTANCE_OWNED")
    assert tenant.primary(host.agent_id) == host.machine


def test_z22_a_machine_that_a_v5_launched_belongs_to_its_launcher_whatever_it_calls_itself(
    desk: Desk, tenant: Tenant
) -> None:
    launcher = desk.host("v5", tenant)
    tenant.post("/api/client/instances/launch", {"agent_id": launcher.agent_id})
    [command] = launcher.commands()
    machine = desk.new_machine()
    assert launcher.launched(command, machine).status == 200
    answer = register(tenant, machine, machine, cloud_account="", project_id="default")
    assert (answer.data["agent_id"], answer.data["role"]) == (launcher.agent_id, "replica")
    assert is_all_off(answer)


def test_ag_10_the_name_of_a_deleted_agent_makes_a_new_agent(desk: Desk, tenant: Tenant, host: Any) -> None:
    tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    desk.tick(1)
    assert host.get("").status == 404
    answer = register(tenant, host.machine)
    assert (answer.data["registered"], answer.data["role"]) == ("new", "primary")
    assert answer.data["agent_id"] != host.agent_id


def test_a_machine_released_by_a_retiring_agent_is_retired_until_the_agent_is_gone_rg_4(
    tenant: Tenant, ready: str, host: Any
) -> None:
    tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    for machine in (host.machine, ready):
        answer = register(tenant, machine)
        assert (answer.status, answer.data["role"], answer.data["registered"]) == (200, "retired", "ignored")
        assert is_all_off(answer)


def test_cl_4_one_agent_too_many_is_a_conflict_that_names_the_limit(desk: Desk, tenant: Tenant, host: Any) -> None:
    desk.plane.clients.limit(ClientId(tenant.client_id), max_agents=1, max_instances=None)
    answer = register(tenant, desk.new_machine(), "second")
    assert refusal(answer) == (409, "LIMIT_REACHED")
    assert "1" in answer.body["error"]
    assert register(tenant, host.machine).status == 200  # who is known may come back


def test_cl_4_one_machine_too_many_is_a_conflict(desk: Desk, tenant: Tenant, host: Any) -> None:
    assert host.get("").status == 200
    desk.plane.clients.limit(ClientId(tenant.client_id), max_agents=None, max_instances=1)
    assert refusal(register(tenant, desk.new_machine(), "second")) == (409, "LIMIT_REACHED")


def test_z26_a_suspended_clients_known_and_expected_machines_register_and_strangers_do_not(
    desk: Desk, tenant: Tenant, host: Any, ready: str
) -> None:
    desk.suspend(tenant)
    assert register(tenant, host.machine).data["role"] == "primary"  # RG-2
    assert register(tenant, ready).data["role"] == "replica"  # RG-3
    assert refusal(register(tenant, desk.new_machine(), "fresh")) == (403, "INACTIVE_CLIENT")
    desk.clock.advance(500)
    assert refusal(register(tenant, desk.new_machine())) == (403, "INACTIVE_CLIENT")  # RG-7 is no emergency
    assert tenant.primary(host.agent_id) == host.machine


def test_z26_an_expected_replica_of_a_suspended_client_registers_rg_6(desk: Desk, tenant: Tenant, host: Any) -> None:
    host.rebalance()
    [entry] = host.to_launch()
    desk.suspend(tenant)
    answer = register(tenant, desk.new_machine(), az=entry["az"])
    assert (answer.status, answer.data["role"]) == (200, "replica")


def test_z25_a_deleted_clients_token_registers_nobody(desk: Desk, tenant: Tenant, host: Any) -> None:
    desk.call("DELETE", f"/api/admin/clients/{tenant.client_id}")
    assert refusal(register(tenant, host.machine)) == (401, "INVALID_TOKEN")
