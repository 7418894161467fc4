"""A v5 agent's whole story (agent-wire 5): single commands, chains, notices, and one failed heartbeat too many."""

import pytest

from tests.support.server import Site
from tests.support.wire_agents import V5


@pytest.fixture
def agent(site: Site) -> V5:
    host = V5(site.client("Acme"), site.new_machine())
    assert host.register().status == 200
    assert host.heartbeat().status == 200
    assert host.prices().body["records_inserted"] == 3
    return host


def test_its_mode_is_found_in_its_inventory_and_strangers_are_never_adopted_t18(agent: V5) -> None:
    aggregate = agent.tenant.aggregate(agent.agent_id)
    assert aggregate.primary is not None
    assert aggregate.primary.mode.value == "spot"
    assert len(aggregate.instances) == 1
    assert agent.heartbeat(reconnect=True).status == 200
    assert len(agent.tenant.aggregate(agent.agent_id).instances) == 1


def test_a_switch_is_a_chain_promoted_with_its_confirmation_t20(agent: V5) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    forced = tenant.post(f"/api/client/instances/{agent.machine}/force-switch", {"target": "ondemand"})
    assert forced.data["success"] is True
    (launch,) = agent.commands()
    assert launch["command_type"] == "LAUNCH_INSTANCE"
    assert launch["params"]["target_pool"] == "ondemand.t3.medium.us-east-1a"  # T07
    assert launch["params"]["role_hint"] == "primary"
    assert launch["request_id"]  # T04
    assert launch["target_mode"] is None  # T11
    assert launch["instance_id"].startswith("i-pending-")
    site.clock.advance(60)
    confirmed = agent.launched(launch, machine := site.new_machine())
    assert confirmed.status == 200
    assert confirmed.data["status"] == "running_primary"
    assert tenant.primary(agent.agent_id) == machine
    assert agent.launched(launch, machine).status == 200  # again: nothing changes
    assert agent.result(launch, machine=machine).status == 200
    (promote,) = agent.commands()
    assert promote["command_type"] == "PROMOTE_REPLICA_TO_PRIMARY"
    assert promote["params"] == {"replica_instance_id": machine, "old_primary_id": agent.machine}
    agent.result(promote)
    new = V5(tenant, machine, mode="ondemand")
    assert new.register().body["role"] == "primary"  # Z22: it belongs to the agent that launched it
    assert new.agent_id == agent.agent_id
    for _ in range(11):
        site.clock.advance(30)
        new.heartbeat()
    site.tick()
    (terminate,) = new.commands()
    assert terminate["command_type"] == "TERMINATE_INSTANCE"
    assert terminate["params"]["instance_id"] == agent.machine
    body = {"instance_id": agent.machine, "request_id": terminate["request_id"], "confirmed_at": "2026-03-02T12:07:00"}
    assert new.post("/instance-terminated", body).data["status"] == "terminated"
    assert new.result(terminate).status == 200
    (switch,) = tenant.aggregate(agent.agent_id).switches.values()
    assert switch.trigger.value == "manual"
    assert switch.old_price is not None  # T20: from the server's own prices


def test_a_replica_is_ready_when_confirmed_and_promoted_by_a_notice_t23_z30(agent: V5) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    launch = next(one for one in agent.commands() if one["command_type"] == "LAUNCH_INSTANCE")
    assert "spot" in launch["params"]["target_pool"]
    assert launch["params"]["az"] == "us-east-1a"  # T35, Z28: its own zone
    agent.launched(launch, machine := site.new_machine())
    agent.result(launch, machine=machine)
    replica = tenant.aggregate(agent.agent_id).live_replica
    assert replica is not None
    assert replica.state.value == "ready"  # T32
    answer = agent.termination_notice("2026-03-02T12:02:00")
    assert answer.status == 200
    assert answer.body["action"] == "replica_promoted"
    assert tenant.primary(agent.agent_id) == machine
    for _ in range(10):
        assert agent.termination_notice("2026-03-02T12:02:00").body["new_instance_id"] == machine  # T29
    commands = {one["command_type"] for one in agent.commands()}
    assert "PROMOTE_REPLICA_TO_PRIMARY" in commands
    assert "TERMINATE_INSTANCE" not in commands  # Z19


def test_a_notice_without_a_replica_launches_on_demand_in_its_zone_z28(agent: V5) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    answer = agent.termination_notice()
    assert answer.status == 200
    assert answer.body["success"] is False
    assert answer.body["action"] == "ondemand_switch_queued"
    (launch,) = agent.commands()
    assert launch["priority"] == 100
    assert launch["params"]["target_pool"].startswith("ondemand.")
    agent.launched(launch, machine := site.new_machine())
    assert tenant.primary(agent.agent_id) == machine  # promoted at once
    status = agent.get("/emergency-status").body
    assert status["emergency_mode_active"] is True


def test_a_failed_launch_is_tried_again_and_a_third_time_5_4(agent: V5) -> None:
    agent.termination_notice()
    for _ in range(3):
        (launch,) = agent.commands()
        agent.result(launch, success=False, error="InsufficientInstanceCapacity")
    assert agent.commands() == []  # three attempts, then one a minute
    agent.tenant.site.tick(61)
    assert [one["command_type"] for one in agent.commands()] == ["LAUNCH_INSTANCE"]


def test_it_is_not_offline_while_it_executes_t09(agent: V5) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    tenant.post(f"/api/client/instances/{agent.machine}/force-switch", {"target": "ondemand"})
    agent.commands()
    site.tick(300)
    assert tenant.aggregate(agent.agent_id).agent.link.value == "online"
    site.tick(301)
    assert tenant.aggregate(agent.agent_id).agent.link.value == "offline"


def test_config_is_pushed_as_a_command_and_only_the_newest_cm1(agent: V5) -> None:
    tenant = agent.tenant
    for wait in (7, 8):
        tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"terminateWaitMinutes": wait})
    (command,) = agent.commands()
    assert command["command_type"] == "APPLY_CONFIG"
    assert command["params"]["config_updates"] == {
        "auto_switching": True, "auto_terminate": True, "manual_replica": False, "emergency_only": False,
    }  # fmt: skip
    assert agent.heartbeat().body["config"]["terminate_wait_seconds"] == 480


def test_deletion_ends_its_replica_before_itself_t33(agent: V5) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    launch = next(one for one in agent.commands() if one["command_type"] == "LAUNCH_INSTANCE")
    agent.launched(launch, machine := site.new_machine())
    agent.result(launch, machine=machine)
    agent.commands()
    assert tenant.call("DELETE", f"/api/client/agents/{agent.agent_id}").status == 200
    assert agent.heartbeat().status == 200  # Z25: an error would silence it before it ends anything
    (terminate,) = agent.commands()
    assert (terminate["command_type"], terminate["params"]["instance_id"]) == ("TERMINATE_INSTANCE", machine)
    assert agent.commands() == []
    agent.result(terminate)
    (destruct,) = agent.commands()
    assert destruct["command_type"] == "SELF_DESTRUCT"
    agent.result(destruct)
    assert agent.heartbeat().status == 404
    assert tenant.statuses(agent.agent_id)[agent.machine] == "released"


def test_an_unknown_result_is_200_so_that_it_does_not_back_off_cm6(agent: V5) -> None:
    body = {
        "request_id": "nobody-knows",
        "result": "SUCCESS",
        "cloud_instance_id": None,
        "error_message": None,
        "metadata": {},
    }
    answer = agent.post("/action-result", body)
    assert answer.status == 200
    assert answer.body["matched"] is False


def test_a_launch_that_comes_after_it_was_given_up_is_ended_cm6(agent: V5) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    tenant.post(f"/api/client/instances/{agent.machine}/force-switch", {"target": "ondemand"})
    (launch,) = agent.commands()
    agent.result(launch, success=False, error="timeout")
    late = site.new_machine()
    assert agent.launched(launch, late).status == 200
    assert tenant.primary(agent.agent_id) == agent.machine
    assert tenant.statuses(agent.agent_id)[late] == "terminating"


def test_shutdown_is_its_offline_sign(agent: V5) -> None:
    body = {"cloud_instance_id": agent.machine, "timestamp": "2026-03-02T12:00:00", "metadata": {}}
    assert agent.post("/shutdown", body).status == 200
    assert agent.tenant.aggregate(agent.agent_id).agent.link.value == "offline"
    assert agent.tenant.primary(agent.agent_id) == agent.machine  # AG-5: offline alone moves nothing
