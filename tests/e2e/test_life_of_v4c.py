"""A v4c agent's whole story, in the words that build really speaks (agent-wire 2)."""

from decimal import Decimal

import pytest

from tests.support.server import Site
from tests.support.wire_agents import V4c


@pytest.fixture
def agent(site: Site) -> V4c:
    host = V4c(site.client("Acme"), site.new_machine(), logical="web")
    assert host.register().status == 200
    assert host.heartbeat().status == 200
    assert host.prices().body["records_inserted"] == 3
    return host


def test_registration_gives_the_agent_id_at_top_level_t02(agent: V4c) -> None:
    answer = agent.register()
    assert answer.body["agent_id"] == answer.data["agent_id"] == agent.agent_id
    assert answer.body["config"]["enabled"] is True
    assert answer.body["role"] == "primary"
    assert answer.body["registered"] == "updated"  # RG-2: the same again


def test_a_switch_is_finished_by_the_new_machine_alone_z21(agent: V4c) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    forced = tenant.post(
        f"/api/client/instances/{agent.machine}/force-switch", {"target": "pool", "pool_id": "t3.medium.us-east-1b"}
    )
    assert forced.status == 200
    assert forced.data["status"] == "pending"
    (command,) = agent.commands()
    assert command["target_mode"] == "spot"
    assert command["target_pool_id"] == "t3.medium.us-east-1b"
    assert type(command["priority"]) is int
    assert command["terminate_wait_seconds"] == 300
    assert agent.commands() == []  # T08: handed out once
    site.clock.advance(40)
    new = V4c(tenant, site.new_machine(), logical="web", az="us-east-1b")
    registered = new.register()
    assert registered.status == 200  # T31
    assert registered.body["role"] == "pending"
    assert registered.body["config"]["enabled"] is False
    assert new.agent_id == agent.agent_id
    assert tenant.primary(agent.agent_id) == agent.machine
    assert new.heartbeat().body["role"] == "primary"
    assert tenant.primary(agent.agent_id) == new.machine
    assert agent.heartbeat().body["role"] == "retired"  # AG-4: the old host cannot take it back
    assert tenant.primary(agent.agent_id) == new.machine
    report = agent.switch_report(new.machine, "us-east-1b", "spot")
    assert report.status == 200
    again = agent.switch_report(new.machine, "us-east-1b", "spot")
    assert again.data["switch_id"] == report.data["switch_id"]  # SW-5
    assert agent.post(f"/commands/{command['id']}/executed", {"success": True, "message": "ok"}).status == 200
    switches = tenant.aggregate(agent.agent_id).switches.values()
    assert [row.state.value for row in switches] == ["completed"]
    assert tenant.aggregate(agent.agent_id).client.total_savings == Decimal(
        "0.1992"
    )  # 7.1: (0.0208 − 0.0125) × 24, once


def test_the_old_machine_is_ended_after_the_wait_in21_and_listed_until_confirmed(agent: V4c) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    tenant.post(
        f"/api/client/instances/{agent.machine}/force-switch", {"target": "pool", "pool_id": "t3.medium.us-east-1b"}
    )
    agent.commands()
    new = V4c(tenant, site.new_machine(), logical="web", az="us-east-1b")
    new.register()
    new.heartbeat()
    assert new.get("/instances-to-terminate").body["instances"] == []
    site.clock.advance(200)
    new.heartbeat()
    site.tick(101)
    (listed,) = new.get("/instances-to-terminate").body["instances"]
    assert listed["instance_id"] == agent.machine
    assert listed["reason"] == "zombie_timeout"
    body = {"instance_id": agent.machine, "success": False, "error": "denied", "terminated_at": None}
    assert new.post("/termination-report", body).status == 200
    assert new.get("/instances-to-terminate").body["instances"] == []  # IN-25: attempts 300 s apart
    site.clock.advance(301)
    assert len(new.get("/instances-to-terminate").body["instances"]) == 1
    body = {"instance_id": agent.machine, "success": True, "error": None, "terminated_at": "2026-03-02T12:20:00+00:00"}
    new.post("/termination-report", body)
    assert tenant.statuses(agent.agent_id)[agent.machine] == "terminated"
    assert new.get("/instances-to-terminate").body["instances"] == []


def test_manual_mode_keeps_one_replica_and_promotion_brings_the_next_mr2(agent: V4c) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    body = {
        "autoSwitchEnabled": False,
        "manualReplicaEnabled": True,
        "autoTerminateEnabled": True,
        "terminateWaitMinutes": 5,
    }
    stored = tenant.post(f"/api/client/agents/{agent.agent_id}/config", body)
    assert stored.data["manual_replica_enabled"] is True
    assert stored.data["config_version"] == 2
    (entry,) = agent.to_launch()
    assert entry["pool_id"] == "t3.medium.us-east-1b"  # MR-1: the cheapest other pool
    assert entry["instance_id"].startswith("replica-")
    agent.launch_replica(entry, site.new_machine())
    assert agent.to_launch() == []  # T14
    promoted = tenant.post(f"/api/agents/{agent.agent_id}/replicas/{entry['id']}/promote", {})
    assert promoted.status == 200
    assert promoted.body["demoted"] is False
    assert tenant.primary(agent.agent_id) == promoted.body["new_instance_id"]
    assert tenant.post(f"/api/agents/{agent.agent_id}/replicas/{entry['id']}/promote", {}).body == promoted.body  # PR-2
    assert len(agent.to_launch()) == 1


def test_rebalance_prepares_one_replica_however_often_it_comes_em1(agent: V4c) -> None:
    first, second = agent.rebalance()
    assert first.status == 201
    assert first.body["success"] is True
    assert second.body["success"] is True
    assert second.body["replica_status"] == "creating"
    repeat, _ = agent.rebalance()
    assert repeat.status == 200
    assert repeat.body["action"] == "already_handled"
    assert len(agent.to_launch()) == 1
    agent.tenant.site.tick(60)
    status = agent.get("/emergency-status").body
    assert status["notice_status"] == "rebalance"
    assert status["notice_deadline"] is None  # failure 12: a rebalance has no deadline


def test_a_quiet_rebalance_is_cleared_and_its_replica_ends_5_3(agent: V4c) -> None:
    site = agent.tenant.site
    agent.rebalance()
    (entry,) = agent.to_launch()
    agent.launch_replica(entry, machine := site.new_machine())
    agent.heartbeat()
    site.tick(7_201)
    assert agent.get("/emergency-status").body["notice_status"] == "none"
    (ended,) = agent.to_end()
    assert ended["instance_id"] == machine
    body = {"status": "terminated", "is_active": False, "terminated_at": "2026-03-02T14:10:00+00:00"}
    agent.post(f"/replicas/{ended['id']}/status", body)
    assert agent.to_end() == []  # the confirmation ends the listing


def test_termination_with_a_ready_replica_is_one_failover_t16(agent: V4c) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    agent.rebalance()
    (entry,) = agent.to_launch()
    agent.launch_replica(entry, machine := site.new_machine())
    first, second = agent.termination("2026-03-02T12:02:00Z")
    assert first.status == 200
    assert first.body["success"] is True
    assert first.body["action"] == "replica_promoted"
    assert second.body["success"] is True  # committed before it is said
    assert second.body["new_instance_id"] == machine
    assert tenant.primary(agent.agent_id) == machine
    for _ in range(5):  # failure 4
        _, repeat = agent.termination("2026-03-02T12:02:00Z")
        assert repeat.body["new_instance_id"] == machine
    assert tenant.primary(agent.agent_id) == machine
    assert agent.stop().status == 200
    aggregate = tenant.aggregate(agent.agent_id)
    assert [row.trigger.value for row in aggregate.switches.values()] == ["emergency"]
    assert aggregate.agent.config_version == 1  # MX-13


def test_termination_without_a_replica_launches_one_and_promotes_it_when_ready_5_4(agent: V4c) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    first, second = agent.termination()
    assert first.status == 201
    assert first.body["success"] is True  # T36
    assert second.status == 200
    assert second.body["success"] is False
    assert second.body["action"] == "emergency_replica_created"
    assert second.body["snapshot_required"] is True
    (entry,) = agent.to_launch()
    agent.launch_replica(entry, machine := site.new_machine(), ready=False)
    assert tenant.primary(agent.agent_id) == agent.machine
    site.tick(95)  # 30 s before the deadline a syncing replica is forced
    assert tenant.primary(agent.agent_id) == machine
    (switch,) = tenant.aggregate(agent.agent_id).switches.values()
    assert switch.data_loss_possible is True


@pytest.mark.parametrize(
    "settings", [{"auto_switch_enabled": False}, {"manual_replica_enabled": True}, {"max_switches_per_day": 0}]
)
def test_a_failover_ignores_settings_failure_10(agent: V4c, settings: dict[str, object]) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    tenant.post(f"/api/client/agents/{agent.agent_id}/toggle-enabled", {"enabled": False})
    tenant.post(f"/api/client/agents/{agent.agent_id}/settings", settings)
    agent.rebalance()
    (entry,) = agent.to_launch()
    agent.launch_replica(entry, machine := site.new_machine())
    _, second = agent.termination()
    assert second.body["success"] is True
    assert tenant.primary(agent.agent_id) == machine


def test_deleting_the_agent_winds_it_down_and_frees_its_name_ag9_ag10(agent: V4c) -> None:
    tenant = agent.tenant
    assert tenant.call("DELETE", f"/api/client/agents/{agent.agent_id}").status == 200
    assert tenant.call("DELETE", f"/api/client/agents/{agent.agent_id}").status == 200
    assert tenant.statuses(agent.agent_id)[agent.machine] == "released"
    assert agent.get("").status == 404  # T01: only now
    assert agent.heartbeat().status == 404
    old = agent.agent_id
    assert agent.register().body["registered"] == "new"
    assert agent.agent_id != old


def test_a_cloned_image_never_takes_a_live_agent_over_rg8(agent: V4c) -> None:
    tenant, site = agent.tenant, agent.tenant.site
    clone = V4c(tenant, site.new_machine(), logical="web", az="us-east-1c")
    refused = clone.register()
    assert refused.status == 409
    assert refused.body["code"] == "LOGICAL_AGENT_CONFLICT"
    assert tenant.primary(agent.agent_id) == agent.machine
    site.tick(121)
    assert clone.register().body["role"] == "primary"  # RG-7: once the first is offline
    assert agent.heartbeat().body["role"] == "retired"


def test_an_agent_of_another_client_is_unknown_but_never_404_on_the_probe_t01(agent: V4c, site: Site) -> None:
    other = site.client("Other")
    assert other.get(f"/api/agents/{agent.agent_id}").status == 403
    assert other.get(f"/api/agents/{agent.agent_id}/config").status == 404
    assert other.post(f"/api/agents/{agent.agent_id}/termination-imminent", {}).status == 404
    stolen = V4c(other, agent.machine, logical="web")
    assert stolen.register().body["code"] == "INSTANCE_OWNED"  # RG-9
