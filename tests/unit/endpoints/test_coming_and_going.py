"""E21, E26, E27, E28: whether an agent exists, and the four ways to say that one goes (AG-5, AG-9, T01, T33)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Tenant
from tests.unit.endpoints.desk import BUILDS, NOBODY, Desk, mirrored, refusal

UNINSTALL = "/api/agents/uninstall"
JUNK: tuple[Any, ...] = (None, 7, True, [], {}, "", "unknown", "i-pending-0a0b0c0d", "x" * 129)


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def status(host: Any) -> str:
    return str(host.get("").data["status"])


def with_replica(desk: Desk, host: Any) -> str:
    """Manual mode, and the machine of its ready replica."""
    host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
    machine = desk.new_machine()
    if type(host) is BUILDS["v5"]:
        [command] = host.commands()
        host.launched(command, machine)
        host.result(command, machine=machine)
    else:
        host.launch_replica(host.to_launch()[0], machine)
    return machine


def delete(host: Any, **more: Any) -> Any:
    return host.tenant.call("DELETE", f"/api/client/agents/{host.agent_id}", **more)


# ---- E26


def test_e26_says_in_four_fields_that_the_agent_is_there(host: Any) -> None:
    answer = host.get("")
    data = mirrored(answer)
    assert data == {"agent_id": host.agent_id, "status": "online", "enabled": True, "config_version": 1}
    assert answer.body["status"] == "success"  # the agent's word stands in data only


def test_e26_follows_the_agents_word_4_1(desk: Desk, tenant: Tenant, host: Any) -> None:
    seen = [status(host)]
    tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    host.commands()
    seen.append(status(host))
    tenant.post(f"/api/client/agents/{host.agent_id}/toggle-enabled", {"enabled": False})
    seen.append(status(host))
    desk.tick(200)
    seen.append(status(host))
    tenant.post(f"/api/client/agents/{host.agent_id}/toggle-enabled", {"enabled": True})
    seen.append(status(host))
    assert seen == ["online", "switching", "disabled", "disabled", "switching"]


def test_e26_of_another_client_is_403_never_404_for_a_404_uninstalls_a_v4_t01(desk: Desk, host: Any) -> None:
    answer = desk.client("Other").get(f"/api/agents/{host.agent_id}")
    assert refusal(answer) == (403, "FORBIDDEN")
    assert "details" not in answer.body


@pytest.mark.parametrize("agent_id", [NOBODY, "None", "x" * 128])
def test_e26_of_nobody_is_404(tenant: Tenant, agent_id: str) -> None:
    assert refusal(tenant.get(f"/api/agents/{agent_id}")) == (404, "NOT_FOUND")


def test_e26_of_a_retiring_agent_is_200_and_reads_deleted_until_it_is_t01(desk: Desk, host: Any) -> None:
    with_replica(desk, host)
    delete(host)
    answer = host.get("")
    assert (answer.status, answer.data["status"], answer.data["enabled"]) == (200, "deleted", False)
    desk.tick(24 * 3600 + 1)
    assert refusal(host.get("")) == (404, "NOT_FOUND")


# ---- E27


@pytest.mark.parametrize("field", ["cloud_instance_id", "instance_id"])
def test_e27_the_primarys_agent_is_offline_at_once_and_nothing_fails_over(
    desk: Desk, tenant: Tenant, field: str
) -> None:
    host = desk.host("v5", tenant)
    with_replica(desk, host)
    body = {field: host.machine, "timestamp": "2026-03-02T12:00:00", "metadata": {"uptime": 5, "final_state": "X"}}
    assert mirrored(host.post("/shutdown", body)) == {"success": True}
    assert status(host) == "offline"
    assert tenant.primary(host.agent_id) == host.machine
    [event] = desk.events(EventKind.AGENT_SHUTDOWN)
    assert event.agent_id == host.agent_id


def test_e27_of_another_machine_is_recorded_only(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    replica = with_replica(desk, host)
    foreign = desk.host("v4c", desk.client("Other"))
    for machine in (replica, "i-0fff", foreign.machine):
        assert host.post("/shutdown", {"cloud_instance_id": machine}).status == 200
    assert status(host) == status(foreign) == "online"
    assert len(desk.events(EventKind.AGENT_SHUTDOWN)) == 3
    assert desk.events(EventKind.AGENT_MARKED_OFFLINE) == []


def test_e27_is_best_effort_and_no_detail_of_it_is_refused(host: Any) -> None:
    for value in JUNK:
        for body in ({"cloud_instance_id": value}, {"timestamp": value}, {"metadata": value}):
            assert host.post("/shutdown", body).status == 200, body
    assert host.post("/shutdown").status == 200
    assert status(host) == "offline"


@pytest.mark.parametrize("body", [{"request_id": "x"}, {}])
def test_e27_of_an_agent_that_never_was_is_a_plain_404_agent_wire_1(tenant: Tenant, body: Any) -> None:
    assert refusal(tenant.post("/api/agents/None/shutdown", body)) == (404, "NOT_FOUND")


# ---- E28


@pytest.mark.parametrize("field", ["instance_id", "cloud_instance_id"])
def test_e28_takes_the_agent_of_that_machine_offline_and_tells_people(
    desk: Desk, tenant: Tenant, host: Any, field: str
) -> None:
    answer = tenant.post(UNINSTALL, {field: host.machine, "reason": "manual_uninstall"})
    assert mirrored(answer) == {"success": True, "matched": True}
    assert status(host) == "offline"
    [event] = desk.events(EventKind.AGENT_UNINSTALLED)
    assert (event.agent_id, event.facts["reason"]) == (host.agent_id, "manual_uninstall")
    assert any(row.severity == "warning" for row in desk.tables.notifications.values())


def test_e28_without_a_match_is_200_and_says_so(desk: Desk, tenant: Tenant, host: Any) -> None:
    foreign = desk.host("v4c", desk.client("Other"))
    for machine in (*JUNK, "i-0fff", foreign.machine):
        answer = tenant.post(UNINSTALL, {"instance_id": machine})
        assert (answer.status, answer.data) == (200, {"success": True, "matched": False}), machine
    assert tenant.post(UNINSTALL).data["matched"] is False
    assert status(host) == status(foreign) == "online"
    assert desk.events(EventKind.AGENT_UNINSTALLED) == []


def test_e28_twice_is_one_outage(desk: Desk, tenant: Tenant, host: Any) -> None:
    for _ in range(2):
        assert tenant.post(UNINSTALL, {"instance_id": host.machine}).data["matched"] is True
    assert len(desk.events(EventKind.AGENT_MARKED_OFFLINE)) == 1


def test_e28_of_a_replicas_machine_leaves_the_agent_online(desk: Desk, tenant: Tenant, host: Any) -> None:
    replica = with_replica(desk, host)
    assert tenant.post(UNINSTALL, {"instance_id": replica}).data["matched"] is True
    assert status(host) == "online"


# ---- E21


@pytest.mark.parametrize("build", BUILDS)
def test_e21_says_who_is_gone_and_that_its_machine_runs_on_c24(desk: Desk, tenant: Tenant, build: str) -> None:
    host = desk.host(build, tenant)
    answer = delete(host)
    assert answer.status == 200
    assert answer.data == {"success": True, "agent_id": host.agent_id}
    assert isinstance(answer.body["message"], str)
    assert "agent_id" not in answer.body  # no mirror here
    assert tenant.statuses(host.agent_id) == {host.machine: "released"}
    assert len(desk.events(EventKind.AGENT_DELETED)) == 1


def test_e21_repeated_is_200_while_retiring_and_after(desk: Desk, host: Any) -> None:
    answers = [delete(host)]
    answers.append(delete(host))
    desk.tick(1)
    assert host.get("").status == 404
    answers.append(delete(host))
    assert [one.status for one in answers] == [200, 200, 200]
    assert len(desk.events(EventKind.AGENT_DELETED)) == 1


def test_e21_switches_everything_off_and_cancels_what_waits_ag_9(desk: Desk, tenant: Tenant, host: Any) -> None:
    tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    with_replica(desk, host)
    delete(host)
    aggregate = tenant.aggregate(host.agent_id)
    config = aggregate.agent.config
    assert (config.enabled, config.auto_switch_enabled, config.manual_replica_enabled) == (False, False, False)
    assert {command.state for command in aggregate.commands.values()} == {"cancelled"}
    assert {replica.state for replica in aggregate.replicas.values()} == {"terminated"}
    assert host.commands() == []


def test_e21_a_v4c_finds_its_replica_in_both_lists_until_it_reports_the_end(
    desk: Desk, tenant: Tenant, host: Any
) -> None:
    machine = with_replica(desk, host)
    delete(host)
    [entry] = host.to_end()
    assert entry["instance_id"] == machine
    [listed] = host.get("/instances-to-terminate").data["instances"]
    assert (listed["instance_id"], listed["reason"]) == (machine, "replica_terminated")
    host.post(f"/replicas/{entry['id']}/status", {"status": "terminated", "is_active": False})
    assert tenant.statuses(host.agent_id)[machine] == "terminated"
    assert refusal(host.get("")) == (404, "NOT_FOUND")


def test_e21_a_v5_ends_its_replica_first_and_itself_last_t33(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    machine = with_replica(desk, host)
    delete(host)
    [end] = host.commands()
    assert (end["command_type"], end["params"]) == ("TERMINATE_INSTANCE", {"instance_id": machine})
    assert host.commands() == []  # SELF_DESTRUCT is not handed out beside it
    host.post("/instance-terminated", {"instance_id": machine, "request_id": end["request_id"]})
    host.result(end, machine=machine)
    [destruct] = host.commands()
    assert (destruct["command_type"], destruct["priority"], destruct["params"]) == ("SELF_DESTRUCT", 75, {})
    host.result(destruct)
    assert refusal(host.get("")) == (404, "NOT_FOUND")


def test_e21_by_the_operator_and_by_nobody_else(desk: Desk, host: Any) -> None:
    path = f"/api/client/agents/{host.agent_id}"
    assert refusal(desk.client("Other").call("DELETE", path)) == (404, "NOT_FOUND")
    assert refusal(desk.call("DELETE", f"/api/client/agents/{NOBODY}")) == (404, "NOT_FOUND")
    assert desk.call("DELETE", path).status == 200
    assert desk.events(EventKind.AGENT_DELETED)[0].actor == "admin"


def test_e21_in_the_legacy_shape_is_the_data_alone(host: Any) -> None:
    answer = delete(host, headers={"X-Response-Shape": "legacy"})
    assert answer.body == {"success": True, "agent_id": host.agent_id}
