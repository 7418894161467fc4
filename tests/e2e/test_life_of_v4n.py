"""A v4n agent's whole story (agent-wire 4): it decides and warns, and takes no commands."""

import pytest

from tests.support.server import Site
from tests.support.wire_agents import V4n


@pytest.fixture
def agent(site: Site) -> V4n:
    host = V4n(site.client("Acme"), site.new_machine(), logical="legacy")
    assert host.register().status == 200
    assert host.heartbeat().status == 200
    return host


def test_its_decision_always_has_a_numeric_confidence_t15(agent: V4n) -> None:
    answer = agent.decide()
    assert answer.status == 200
    assert isinstance(answer.body["confidence"], int | float)
    assert answer.body["action"] in ("NO_ACTION", "SWITCH")
    assert answer.body["reasoning"]
    empty = agent.tenant.post(
        agent.at("/decide"), {"spot_pools": [], "ondemand_price": 0.0, "current_az": "us-east-1a"}
    )
    assert empty.status == 200
    assert empty.body["action"] == "NO_ACTION"


def test_its_prices_arrive_with_its_decisions(agent: V4n) -> None:
    agent.decide()
    options = agent.tenant.get(f"/api/client/instances/{agent.machine}/available-options")
    assert next(row["id"] for row in options.data["pools"]) == "t3.medium.us-east-1b"


def test_nothing_is_ever_queued_for_it_t22(agent: V4n) -> None:
    agent.decide()
    assert agent.tenant.aggregate(agent.agent_id).agent.build.value == "v4n"
    refused = agent.tenant.post(f"/api/client/instances/{agent.machine}/force-switch", {"target": "ondemand"})
    assert refused.status == 409
    assert refused.body["details"]["guards"] == ["NOT_EXECUTABLE"]


def test_its_immediate_notice_is_a_termination_and_repeats_change_nothing_c42_t29(agent: V4n) -> None:
    agent.decide()
    first = agent.notice("2f1c1c7e-0000-4000-8000-000000000001", immediate=True)
    assert first.status == 200
    assert first.body["success"] is False  # Z9: nothing can be launched for this build
    assert first.body["action"] == "emergency_snapshot_required"
    for number in range(2, 12):
        repeat = agent.notice(f"2f1c1c7e-0000-4000-8000-{number:012d}", immediate=True)
        assert repeat.status == 200
    aggregate = agent.tenant.aggregate(agent.agent_id)
    assert len(aggregate.incidents) == 1
    assert not aggregate.replicas  # Z27: nothing could launch it
    assert agent.get("/emergency-status").body["notice_status"] == "termination"


def test_a_stale_request_id_never_freezes_its_heartbeats_t05(agent: V4n) -> None:
    sticky = "2f1c1c7e-0000-4000-8000-00000000000f"
    agent.notice(sticky, immediate=False)
    before = agent.tenant.aggregate(agent.agent_id).agent.last_heartbeat_at
    agent.tenant.site.clock.advance(30)
    answer = agent.heartbeat(sticky)
    assert answer.status == 200
    assert answer.headers["x-request-id"] == sticky
    assert "x-idempotent-replay" not in answer.headers
    assert agent.tenant.aggregate(agent.agent_id).agent.last_heartbeat_at != before


def test_a_machine_that_outlives_its_notice_keeps_its_role_in11(agent: V4n) -> None:
    agent.notice("2f1c1c7e-0000-4000-8000-000000000001", immediate=True)
    site = agent.tenant.site
    for _ in range(11):
        site.clock.advance(30)
        agent.heartbeat()
    site.tick()
    assert agent.tenant.primary(agent.agent_id) == agent.machine
    assert agent.get("/emergency-status").body["notice_status"] == "none"


def test_a_machine_that_is_gone_leaves_the_agent_without_primary_in11(agent: V4n) -> None:
    agent.notice("2f1c1c7e-0000-4000-8000-000000000001", immediate=True)
    agent.tenant.site.tick(301)
    assert agent.tenant.primary(agent.agent_id) is None
    assert agent.tenant.statuses(agent.agent_id)[agent.machine] == "terminated"
    again = V4n(agent.tenant, agent.tenant.site.new_machine(), logical="legacy")
    assert again.register().body["role"] == "primary"  # RG-7
