"""A v2 agent's whole story (agent-wire 3): it switches, and its word about success is worth nothing."""

import pytest

from tests.support.server import Site
from tests.support.wire_agents import V2


@pytest.fixture
def agent(site: Site) -> V2:
    host = V2(site.client("Acme"), site.new_machine(), logical="batch")
    assert host.register().status == 200
    assert host.heartbeat().status == 200
    assert host.prices().body["records_inserted"] == 3
    return host


def ordered(agent: V2) -> dict[str, object]:
    tenant = agent.tenant
    body = {"target": "ondemand"}
    assert tenant.post(f"/api/client/instances/{agent.machine}/force-switch", body).data["success"] is True
    (command,) = agent.commands()
    return command


def test_its_mode_is_learned_from_its_price_report_ag3(agent: V2) -> None:
    primary = agent.tenant.aggregate(agent.agent_id).primary
    assert primary is not None
    assert (primary.mode.value, primary.pool_id) == ("spot", "t3.medium.us-east-1a")
    assert agent.tenant.aggregate(agent.agent_id).agent.build.value == "v2"


def test_an_acknowledged_switch_without_a_report_has_failed_t19(agent: V2) -> None:
    command = ordered(agent)
    assert command["target_mode"] == "ondemand"
    assert command["target_pool_id"] is None
    done = agent.post("/mark-command-executed", {"command_id": command["id"]})
    assert done.status == 200
    aggregate = agent.tenant.aggregate(agent.agent_id)
    stored = aggregate.commands[str(command["id"])]  # type: ignore[index]
    assert (stored.state.value, stored.failure_reason) == ("failed", "no switch report")
    assert [row.state.value for row in aggregate.switches.values()] == ["failed"]  # SW-9: it counts
    assert agent.tenant.primary(agent.agent_id) == agent.machine


def test_a_reported_switch_stands_whatever_is_acknowledged_later(agent: V2) -> None:
    tenant = agent.tenant
    command = ordered(agent)
    new = V2(tenant, tenant.site.new_machine(), logical="batch", mode="ondemand")
    assert agent.switch_report(new.machine, "us-east-1a", "ondemand").status == 200
    assert agent.post("/mark-command-executed", {"command_id": command["id"]}).status == 200
    assert tenant.primary(agent.agent_id) == new.machine
    assert new.register().body["role"] == "primary"
    assert new.heartbeat().body["role"] == "primary"
    aggregate = tenant.aggregate(agent.agent_id)
    assert aggregate.commands[str(command["id"])].state.value == "completed"  # type: ignore[index]
    (switch,) = aggregate.switches.values()
    assert switch.savings_impact is not None
    assert switch.savings_impact < 0  # to on-demand costs more
    assert aggregate.client.total_savings == 0  # 7.1: only gains are estimated


def test_it_is_never_asked_for_replicas_or_terminations_z27(agent: V2) -> None:
    tenant = agent.tenant
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    assert tenant.aggregate(agent.agent_id).live_replica is None
    answer = agent.post("/replicas", {})
    assert answer.body["code"] == "UNSUPPORTED_OPERATION"
    ordered(agent)
    new = V2(tenant, tenant.site.new_machine(), logical="batch", mode="ondemand")
    new.register()
    new.heartbeat()
    tenant.site.tick(400)
    assert tenant.statuses(agent.agent_id)[agent.machine] == "zombie"  # IN-24: it stays until its user ends it
    refused = tenant.post(f"/api/client/instances/{agent.machine}/terminate", {})
    assert refused.body["code"] == "UNSUPPORTED_OPERATION"


def test_its_clean_stop_takes_it_offline_at_once_ag3(agent: V2) -> None:
    agent.stop()
    listed = agent.tenant.get(f"/api/client/{agent.tenant.client_id}/agents")
    assert listed.data[0]["status"] == "offline"
    agent.heartbeat()
    listed = agent.tenant.get(f"/api/client/{agent.tenant.client_id}/agents")
    assert listed.data[0]["status"] == "online"
