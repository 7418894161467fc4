"""E53, E54, E57, E58, E59: advice, what has happened already, and where an emergency stands (5.3, C42, C53, IN-26)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import ADMIN, NOBODY, Desk, mirrored, problems, refusal

DEADLINE = "2026-03-02T12:02:00Z"
E53_FIELDS = {"success", "action", "risk_score", "reason", "replica_id", "replica_status", "action_taken"}
E57_FIELDS = {
    "agent_id", "notice_status", "notice_received_at", "notice_deadline", "emergency_replica", "actions",
    "emergency_mode_active", "rebalance_only_mode", "ml_models_loaded", "decision_engine_active", "last_emergency_event",
    "emergency_replicas_count", "termination_notices_24h",
}  # fmt: skip
QUIET = {
    "notice_status": "none", "notice_received_at": None, "notice_deadline": None, "emergency_replica": None, "actions": [],
    "emergency_mode_active": False, "rebalance_only_mode": False, "ml_models_loaded": False,
    "decision_engine_active": False, "last_emergency_event": None, "emergency_replicas_count": 0,
    "termination_notices_24h": 0,
}  # fmt: skip


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def advise(host: Any, body: Any = None, path: str = "rebalance-recommendation", **more: Any) -> Reply:
    answer: Reply = host.post(f"/{path}", {"instance_id": host.machine} if body is None else body, **more)
    return answer


def state(host: Any) -> dict[str, Any]:
    found: dict[str, Any] = mirrored(host.get("/emergency-status"))
    return found


def standby(desk: Desk, host: Any) -> tuple[str, str]:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
    [entry] = host.to_launch()
    machine = desk.new_machine()
    host.launch_replica(entry, machine)
    return entry["id"], machine


# ---- E53


@pytest.mark.parametrize("time", ["detected_at", "notice_time", "recommendation_time"])
@pytest.mark.parametrize("machine", ["instance_id", "cloud_instance_id", None])
def test_e53_every_builds_spelling_prepares_a_replica_rule_1(
    desk: Desk, host: Any, time: str, machine: str | None
) -> None:
    named = {machine: host.machine} if machine else {}
    answer = advise(host, {**named, time: "2026-03-02T12:00:00Z", "notice_type": "REBALANCE"})
    assert answer.status == 200
    data = mirrored(answer)
    assert set(data) >= E53_FIELDS
    assert (data["success"], data["replica_status"], data["action_taken"]) == (True, "creating", "replica_created")
    assert 0 <= data["risk_score"] <= 1
    assert data["replica_id"] == host.to_launch()[0]["id"]
    assert len(desk.events(EventKind.REBALANCE_RECOMMENDATION)) == 1


def test_e53_with_a_replica_ready_it_says_so_and_makes_none(desk: Desk, host: Any) -> None:
    replica_id, _ = standby(desk, host)
    data = mirrored(advise(host))
    assert (data["replica_id"], data["replica_status"], data["action_taken"]) == (replica_id, "ready", "replica_ready")
    assert len(host.tenant.aggregate(host.agent_id).replicas) == 1


def test_e53_below_the_threshold_the_advice_is_to_monitor(host: Any) -> None:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/settings", {"risk_threshold": 1})
    data = mirrored(advise(host))
    assert data["action"] == "monitor"
    assert not {"target_mode", "target_pool_id", "target_pool_name"} & set(data)


def test_e53_above_the_threshold_it_names_a_safer_pool_and_queues_no_switch(desk: Desk, host: Any) -> None:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/settings", {"risk_threshold": 0.4})
    desk.clock.advance(12 * 3600)  # half a day on one machine is as risky as age makes it (4.3)
    host.heartbeat()
    host.prices()
    data = mirrored(advise(host))
    assert data["action"] == "switch"
    assert data["target_mode"] == "spot"
    assert data["target_pool_id"] in (f"{TYPE}.us-east-1b", f"{TYPE}.us-east-1c")
    assert data["target_pool_name"] == f"Pool {data['target_pool_id']}"
    assert host.commands() == []


def test_e53_repeats_make_one_incident_and_one_replica_em_1(desk: Desk, host: Any) -> None:
    ids = set()
    for _ in range(12):
        ids.add(advise(host).data["replica_id"])
        desk.clock.advance(10)
    assert len(ids) == len(host.tenant.aggregate(host.agent_id).incidents) == 1
    assert len(desk.events(EventKind.REBALANCE_RECOMMENDATION)) == 1


@pytest.mark.parametrize("body", [{"instance_id": "i-0none"}, {"cloud_instance_id": "i-0none", "notice_time": "x"}])
def test_e53_of_an_unknown_machine_monitors_and_stays_a_success_rule_5(host: Any, body: Any) -> None:
    data = mirrored(advise(host, body))
    assert (data["success"], data["action"], data["reason"]) == (True, "monitor", "unknown_instance")
    assert (data["replica_id"], data["replica_status"], data["action_taken"]) == (None, "none", "no_action")


def test_e53_of_another_tenants_machine_reads_the_same_em_8(desk: Desk, host: Any) -> None:
    foreign = desk.host("v4c", desk.client("Other"))
    unknown, theirs = (advise(host, {"instance_id": name}) for name in ("i-0none", foreign.machine))
    assert unknown.body == theirs.body
    assert state(foreign)["notice_status"] == "none"


@pytest.mark.parametrize(
    "field", ["instance_id", "detected_at", "notice_type", "exclude_zones", "notice_time", "replica_id"]
)
def test_e53_no_malformed_detail_stops_it_t17(host: Any, field: str) -> None:
    for value in (None, 7, [], {}, [7], True):
        answer = advise(host, {field: value})
        assert (answer.status, answer.data["success"]) == (200, True), value
    assert len(host.to_launch()) == 1


# ---- E53 with ``immediate``: v4n's termination notice (C42)


@pytest.mark.parametrize("value", [True, 1])
def test_immediate_makes_it_a_termination_and_a_ready_replica_takes_over(desk: Desk, host: Any, value: Any) -> None:
    replica_id, machine = standby(desk, host)
    data = mirrored(advise(host, {"notice_time": "2026-03-02T12:00:00Z", "immediate": value}))
    assert set(data) >= E53_FIELDS
    assert (data["success"], data["action"], data["new_instance_id"]) == (True, "replica_promoted", machine)
    assert data["replica_id"] == replica_id
    assert host.tenant.primary(host.agent_id) == machine


@pytest.mark.parametrize("value", [False, 0, None, "yes", 2, [], {}])
def test_anything_else_is_no_termination(desk: Desk, host: Any, value: Any) -> None:
    standby(desk, host)
    assert advise(host, {"immediate": value}).data["success"] is True
    assert host.tenant.primary(host.agent_id) == host.machine
    assert state(host)["notice_status"] == "rebalance"


def test_immediate_with_nothing_ready_says_false_until_a_promotion_is_committed_z9(host: Any) -> None:
    data = mirrored(advise(host, {"immediate": True}))
    assert (data["success"], data["action"], data["promotion"]) == (False, "emergency_replica_created", "pending")


def test_immediate_of_an_unknown_machine_monitors_without_success_rule_5(host: Any) -> None:
    data = mirrored(advise(host, {"immediate": True, "instance_id": "i-0none"}))
    assert (data["success"], data["action"], data["reason"]) == (False, "monitor", "unknown_instance")


def test_a_v4n_hears_that_only_a_snapshot_helps_and_people_hear_it_at_once_z27(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v4n", tenant)
    answer = host.notice("k", immediate=True)
    data = mirrored(answer)
    assert (data["success"], data["action"], data["snapshot_required"]) == (False, "emergency_snapshot_required", True)
    assert (data["replica_status"], data["action_taken"]) == ("none", "no_action")
    assert [one.severity for one in desk.tables.notifications.values()].count("critical") >= 1
    assert not tenant.aggregate(host.agent_id).commands


# ---- E54


@pytest.mark.parametrize(
    "body", [None, {}, {"reason": None}, {"reason": "reclaimed", "timestamp": "x", "termination_type": 5}]
)
def test_e54_the_primary_is_gone_its_replica_serves_and_the_agent_is_offline_in_26(
    desk: Desk, host: Any, body: Any
) -> None:
    _, machine = standby(desk, host)
    assert mirrored(host.post("/termination", body)) == {"success": True}
    assert host.tenant.primary(host.agent_id) == machine
    [event] = desk.events(EventKind.INSTANCE_TERMINATED)
    assert event.facts["reason"] == ((body or {}).get("reason") or "Unknown")


def test_e54_without_a_replica_the_agent_is_offline_and_nothing_is_promoted(host: Any) -> None:
    host.post("/termination", {"instance_id": host.machine})
    assert host.get("").data["status"] in ("offline", "error")
    assert host.tenant.statuses(host.agent_id)[host.machine] in ("running_primary", "terminated")


@pytest.mark.parametrize("field", ["instance_id", "cloud_instance_id"])
def test_e54_of_another_machine_of_the_agent_ends_that_one(desk: Desk, host: Any, field: str) -> None:
    _, machine = standby(desk, host)
    host.post("/termination", {field: machine, "termination_reason": "spot"})
    assert host.tenant.statuses(host.agent_id)[machine] == "terminated"
    assert host.tenant.primary(host.agent_id) == host.machine
    assert host.get("").data["status"] == "online"


def test_e54_of_an_unknown_or_foreign_machine_is_404_and_changes_nothing_2_3(desk: Desk, host: Any) -> None:
    foreign = desk.host("v4c", desk.client("Other"))
    for name in ("i-0none", foreign.machine):
        assert refusal(host.post("/termination", {"instance_id": name})) == (404, "NOT_FOUND")
    assert host.get("").data["status"] == foreign.get("").data["status"] == "online"


# ---- E57


@pytest.mark.parametrize("build", ["v2", "v4c", "v4n", "v5"])
def test_e57_of_a_quiet_agent(desk: Desk, tenant: Tenant, build: str) -> None:
    host = desk.host(build, tenant)
    assert state(host) == {**QUIET, "agent_id": host.agent_id}


def test_e57_during_a_rebalance(desk: Desk, host: Any) -> None:
    desk.clock.advance(30)
    advise(host)
    found = state(host)
    assert set(found) == E57_FIELDS
    [entry] = host.to_launch()
    assert (found["notice_status"], found["notice_received_at"], found["notice_deadline"]) == (
        "rebalance", "2026-03-02T12:00:30Z", None,
    )  # fmt: skip
    assert found["emergency_replica"] == {
        "id": entry["id"], "status": "launching", "pool_id": entry["pool_id"], "sync_progress": 0,
    }  # fmt: skip
    assert (found["emergency_mode_active"], found["emergency_replicas_count"], found["termination_notices_24h"]) == (
        True, 1, 0,
    )  # fmt: skip
    assert found["actions"]
    assert all(isinstance(one, str) for one in found["actions"])
    assert set(found["last_emergency_event"]) == {"timestamp", "type", "action_taken", "outcome"}
    assert found["last_emergency_event"]["type"] == "rebalance"


def test_e57_severity_only_rises_and_notices_are_counted_for_a_day_em_3(desk: Desk, host: Any) -> None:
    host.termination(DEADLINE)
    advise(host)
    found = state(host)
    assert (found["notice_status"], found["notice_deadline"]) == ("termination", DEADLINE)
    assert found["termination_notices_24h"] == 1
    [entry] = host.to_launch()
    host.launch_replica(entry, desk.new_machine())
    desk.tick(24 * 3600 + 1)
    assert state(host)["termination_notices_24h"] == 0


def test_e57_is_none_again_when_nothing_happens_for_7200_seconds_after_a_rebalance(desk: Desk, host: Any) -> None:
    _, _ = standby(desk, host)
    advise(host)
    desk.tick(7_199)
    assert state(host)["notice_status"] == "rebalance"
    desk.tick(2)
    found = state(host)
    assert (found["notice_status"], found["emergency_mode_active"]) == ("none", False)
    assert found["last_emergency_event"]["outcome"] == "cleared"


def test_e57_shows_the_v5_setting_and_a_ready_replica_at_100(desk: Desk, host: Any) -> None:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/settings", {"emergency_rebalance_only": True})
    advise(host)
    [entry] = host.to_launch()
    host.launch_replica(entry, desk.new_machine())
    found = state(host)
    assert found["rebalance_only_mode"] is True
    assert (found["emergency_replica"]["status"], found["emergency_replica"]["sync_progress"]) == ("ready", 100)


def test_e57_a_manual_replica_is_no_emergency_replica(desk: Desk, host: Any) -> None:
    standby(desk, host)
    found = state(host)
    assert (found["emergency_replica"], found["emergency_replicas_count"]) == (None, 0)


def test_e57_for_people_too_and_for_nobody_else(desk: Desk, host: Any) -> None:
    path = host.at("/emergency-status")
    assert desk.call("GET", path, token=ADMIN).data["agent_id"] == host.agent_id
    foreign, unknown = desk.client("Other").get(path), desk.client("More").get(f"/api/agents/{NOBODY}/emergency-status")
    assert refusal(foreign) == (404, "NOT_FOUND")
    assert foreign.body == unknown.body
    legacy = host.tenant.get(path, headers={"X-Response-Shape": "legacy"})
    assert set(legacy.body) == E57_FIELDS


# ---- E58, E59: the same, said by people


def test_e58_acknowledges_and_prepares_a_replica(host: Any) -> None:
    answer = advise(host, {"notice_time": "2026-03-02T12:00:00Z"}, "rebalance-notice")
    data = mirrored(answer)
    assert set(data) >= E53_FIELDS | {"status", "emergency_replica_id"}
    assert (answer.body["status"], data["status"], data["success"]) == ("success", "acknowledged", True)
    assert data["emergency_replica_id"] == data["replica_id"] == host.to_launch()[0]["id"]
    assert (data["replica_status"], data["action_taken"]) == ("creating", "replica_created")


def test_e59_acknowledges_and_answers_as_e52(desk: Desk, host: Any) -> None:
    replica_id, machine = standby(desk, host)
    answer = advise(host, {"termination_time": DEADLINE}, "termination-notice")
    data = mirrored(answer)
    assert (data["status"], data["success"], data["action"]) == ("acknowledged", True, "replica_promoted")
    assert (data["emergency_replica_id"], data["new_instance_id"]) == (replica_id, machine)


def test_e59_with_nothing_ready_is_200_and_false(host: Any) -> None:
    data = mirrored(advise(host, {"termination_time": DEADLINE}, "termination-notice"))
    assert (data["status"], data["success"], data["action"]) == ("acknowledged", False, "emergency_replica_created")


@pytest.mark.parametrize(("path", "field", "aliases"), [
    ("rebalance-notice", "notice_time", ("detected_at", "recommendation_time")), ("termination-notice", "termination_time", ()),
])  # fmt: skip
def test_e58_and_e59_need_their_time(host: Any, path: str, field: str, aliases: tuple[str, ...]) -> None:
    for body in ({}, {"instance_id": host.machine}, {field: None}, {field: 7}, {field: []}):
        assert problems(advise(host, body, path)) == [field]
    assert state(host)["notice_status"] == "none"
    for name in (field, *aliases):
        assert advise(host, {name: DEADLINE}, path).status == 200


def test_e59_a_time_that_is_none_is_400_and_opens_nothing(host: Any) -> None:
    assert problems(advise(host, {"termination_time": "soon"}, "termination-notice")) == ["termination_time"]
    assert state(host)["notice_status"] == "none"


@pytest.mark.parametrize("path", ["rebalance-notice", "termination-notice"])
def test_e58_and_e59_may_come_from_the_operator_and_are_one_incident_with_the_agents_own(
    desk: Desk, host: Any, path: str
) -> None:
    body = {"notice_time": "2026-03-02T12:00:00Z", "termination_time": DEADLINE}
    assert desk.call("POST", host.at(f"/{path}"), body, token=ADMIN).status == 200
    host.termination(DEADLINE)
    assert len(host.tenant.aggregate(host.agent_id).incidents) == 1
    assert refusal(desk.client("Other").post(host.at(f"/{path}"), body)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(("path", "success"), [("rebalance-notice", True), ("termination-notice", False)])
def test_e58_and_e59_of_an_unknown_machine_monitor_rule_5(host: Any, path: str, success: bool) -> None:
    body = {"notice_time": DEADLINE, "termination_time": DEADLINE, "instance_id": "i-0none"}
    data = mirrored(advise(host, body, path))
    assert (data["success"], data["action"], data["emergency_replica_id"]) == (success, "monitor", None)
