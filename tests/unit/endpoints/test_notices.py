"""E51, E52: a v4c's two calls for one notice, and all that may stand behind them (5.3, 5.4, EM-1…EM-15, Z9, T16, T17, T36)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import Desk, mirrored, problems, refusal

DEADLINE = "2026-03-02T12:02:00Z"
REBALANCE = ("rebalance-recommendation", "rebalance_recommendation", "REBALANCE", "rebalance")
TERMINATION = ("termination-notice", "termination_notice", "TERMINATION", "termination")
E51_FIELDS = {
    "success", "replica_id", "instance_id", "replica_instance_id", "pool", "hourly_cost", "urgency", "action", "reason",
}  # fmt: skip
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def ask(host: Any, signal: Any = "termination-notice", **more: Any) -> Reply:
    body = {"signal_type": signal, "instance_id": host.machine, **more}
    answer: Reply = host.post("/create-emergency-replica", body)
    return answer


def warn(host: Any, body: Any = None) -> Reply:
    body = {"instance_id": host.machine, "termination_time": DEADLINE} if body is None else body
    answer: Reply = host.post("/termination-imminent", body)
    return answer


def standby(desk: Desk, host: Any, state: str = "ready", progress: float | None = None) -> tuple[str, str | None]:
    """A manual replica brought to that state; its id and machine."""
    host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
    [entry] = host.to_launch()
    if state == "launching":
        return entry["id"], None
    machine = desk.new_machine()
    host.launch_replica(entry, machine, ready=state == "ready")
    if progress is not None:
        host.post(f"/replicas/{entry['id']}/sync-status", {"state_transfer_progress": progress})
    return entry["id"], machine


def outcome(answer: Reply) -> dict[str, Any]:
    """The answer without what merely names things, its mirror checked."""
    data = dict(mirrored(answer))
    for name in ("replica_id", "duplicate", "failover_time_ms"):
        data.pop(name, None)
    return data


# ---- E51


@pytest.mark.parametrize("word", REBALANCE)
def test_e51_a_rebalance_launches_one_and_v4c_reads_success_t36(desk: Desk, host: Any, word: str) -> None:
    answer = ask(host, word)
    assert answer.status == 201
    data = mirrored(answer)
    assert set(data) >= E51_FIELDS
    [entry] = host.to_launch()
    assert (data["success"], data["replica_id"], data["action"]) == (True, entry["id"], "emergency_replica_created")
    assert data["instance_id"] == data["replica_instance_id"] == entry["instance_id"]
    assert data["instance_id"].startswith("replica-")
    assert data["pool"] == {"id": entry["pool_id"], "name": f"Pool {entry['pool_id']}", "az": entry["az"]}
    assert (data["urgency"], entry["type"]) == ("high", "automatic-rebalance")
    assert entry["created_by"] == "system"
    assert host.tenant.primary(host.agent_id) == host.machine
    [event] = desk.events(EventKind.EMERGENCY_REPLICA_CREATED)
    assert event.level == "warning"


@pytest.mark.parametrize("word", TERMINATION)
def test_e51_a_termination_launches_one_and_waits_to_promote_it_z9(desk: Desk, host: Any, word: str) -> None:
    answer = ask(host, word, termination_time=DEADLINE)
    assert answer.status == 201
    data = mirrored(answer)
    assert (data["success"], data["action"], data["promotion"]) == (True, "emergency_replica_created", "pending")
    assert data["urgency"] == "critical"
    [entry] = host.to_launch()
    assert entry["type"] == "automatic-termination"
    [event] = desk.events(EventKind.EMERGENCY_REPLICA_CREATED)
    assert event.level == "critical"


@pytest.mark.parametrize("field", ["signal_type", "reason", "notice_type"])
def test_e51_the_signal_under_any_of_its_names_c15(host: Any, field: str) -> None:
    answer = host.post("/create-emergency-replica", {field: "REBALANCE", "cloud_instance_id": host.machine})
    assert (answer.status, answer.data["success"]) == (201, True)


@pytest.mark.parametrize("value", ["earthquake", "", None, 7, True, [], {}, "x" * 65])
def test_e51_an_unknown_signal_is_the_only_400(host: Any, value: Any) -> None:
    assert problems(ask(host, value)) == ["signal_type"]
    assert host.to_launch() == []


def test_e51_no_signal_at_all_is_400(host: Any) -> None:
    assert problems(host.post("/create-emergency-replica", {"instance_id": host.machine})) == ["signal_type"]


@pytest.mark.parametrize("state", ["launching", "syncing", "ready"])
def test_e51_a_rebalance_beside_a_live_replica_is_handled_already(desk: Desk, host: Any, state: str) -> None:
    replica_id, machine = standby(desk, host, state)
    answer = ask(host, "rebalance-recommendation")
    assert answer.status == 200
    data = mirrored(answer)
    assert (data["success"], data["action"], data["replica_id"]) == (True, "already_handled", replica_id)
    assert data["replica_instance_id"] == (machine or "replica-" + replica_id.replace("-", "")[:8])
    assert len(host.tenant.aggregate(host.agent_id).replicas) == 1


@pytest.mark.parametrize(
    ("state", "progress", "status", "action", "promoted"),
    [
        ("ready", None, 200, "replica_promoted", True), ("syncing", 95, 200, "replica_promoted", True),
        ("syncing", 94.9, 200, "emergency_replica_created", False), ("syncing", None, 200, "emergency_replica_created", False),
        ("launching", None, 200, "emergency_replica_created", False),
    ],
)  # fmt: skip
def test_e51_a_termination_does_what_e52_would_and_is_true_unless_nothing_stands_z9(
    desk: Desk, host: Any, state: str, progress: float | None, status: int, action: str, promoted: bool
) -> None:
    replica_id, machine = standby(desk, host, state, progress)
    answer = ask(host, termination_time=DEADLINE)
    assert answer.status == status
    data = mirrored(answer)
    assert (data["success"], data["action"], data["replica_id"]) == (True, action, replica_id)
    assert data.get("promotion") == (None if promoted else "pending")
    assert (host.tenant.primary(host.agent_id) == machine) is promoted
    if promoted:
        assert data["new_instance_id"] == data["replica_instance_id"] == machine


def test_e51_repeated_is_the_same_replica_and_200(desk: Desk, host: Any) -> None:
    first = ask(host)
    for _ in range(12):
        desk.clock.advance(10)
        again = ask(host)
        assert (again.status, again.data["replica_id"], again.data["success"]) == (200, first.data["replica_id"], True)
        assert again.data["duplicate"] is True
    assert len(desk.events(EventKind.EMERGENCY_REPLICA_CREATED)) == 1
    assert len(desk.events(EventKind.TERMINATION_NOTICE)) == 1


@pytest.mark.parametrize(
    ("more", "zone"),
    [
        ({}, "us-east-1b"), ({"exclude_zones": ["us-east-1b"]}, "us-east-1c"), ({"preferred_zones": ["us-east-1c"]}, "us-east-1c"),
        ({"exclude_zones": list(ZONES)}, "us-east-1b"), ({"exclude_zones": "us-east-1b"}, "us-east-1b"),
        ({"preferred_zones": ["us-east-1z"]}, "us-east-1b"), ({"pool_id": "x", "urgency": "low"}, "us-east-1b"),
        ({"exclude_zones": [7, None]}, "us-east-1b"),
    ],
)  # fmt: skip
def test_e51_wishes_about_zones_are_honoured_while_a_pool_remains_rule_6(host: Any, more: Any, zone: str) -> None:
    assert ask(host, "rebalance", **more).data["pool"]["az"] == zone


@pytest.mark.parametrize("build", ["v2", "v4n"])
@pytest.mark.parametrize("signal", ["rebalance", "termination"])
def test_e51_when_nothing_can_be_launched_it_says_false_and_200_z27(
    desk: Desk, tenant: Tenant, build: str, signal: str
) -> None:
    host = desk.host(build, tenant)
    answer = ask(host, signal)
    assert answer.status == 200
    data = mirrored(answer)
    assert (data["success"], data["replica_id"], data["replica_instance_id"], data["pool"]) == (False, None, None, None)
    assert not tenant.aggregate(host.agent_id).replicas
    if signal == "termination":
        assert (data["action"], data["snapshot_required"]) == ("emergency_snapshot_required", True)
        assert any(one.severity == "critical" for one in desk.tables.notifications.values())


def test_e51_without_another_pool_a_v4c_is_switched_to_on_demand_rule_6(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v4c", tenant)
    desk.tables.buckets.clear()
    answer = ask(host)
    assert (answer.status, answer.data["action"], answer.data["success"]) == (200, "ondemand_switch_queued", True)
    [item] = host.commands()
    assert (item["command_type"], item["target_mode"], item["target_pool_id"]) == ("switch", "ondemand", None)
    assert (item["priority"], item["terminate_wait_seconds"]) == (100, 0)  # Z19


def test_e51_a_v5_is_sent_a_launch_in_its_own_zone_z28(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    answer = ask(host)
    assert (answer.data["success"], answer.data["action"]) == (True, "ondemand_switch_queued")
    [item] = host.commands()
    assert (item["command_type"], item["priority"]) == ("LAUNCH_INSTANCE", 100)
    assert item["params"]["target_pool"] == f"ondemand.{TYPE}.us-east-1a"
    assert "spot" not in item["params"]["target_pool"]


# ---- E52: the table of http-api, row by row

ROWS: dict[str, tuple[tuple[str, float | None] | None, dict[str, Any]]] = {
    "ready": (("ready", None), {
        "success": True, "action": "replica_promoted", "reason": None, "data_loss_possible": False,
    }),
    "syncing at 95": (("syncing", 95), {
        "success": True, "action": "replica_promoted", "reason": None, "data_loss_possible": True,
    }),
    "syncing below 95": (("syncing", 94.9), {
        "success": False, "action": "emergency_replica_created", "promotion": "pending", "reason": "replica_syncing",
    }),
    "launching": (("launching", None), {
        "success": False, "action": "emergency_replica_created", "promotion": "pending", "snapshot_required": True,
        "reason": "replica_launching",
    }),
    "none": (None, {
        "success": False, "action": "emergency_replica_created", "promotion": "pending", "snapshot_required": True,
        "reason": "replica_launching",
    }),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_e52_answers_200_as_the_table_says(desk: Desk, host: Any, row: str) -> None:
    replica, expected = ROWS[row]
    replica_id, machine = standby(desk, host, *replica) if replica else (None, None)
    answer = warn(host)
    assert answer.status == 200
    data = outcome(answer)
    if expected["success"]:
        assert data.pop("new_instance_id") == data.pop("new_primary_id") == machine
        assert type(answer.data["failover_time_ms"]) is int
        assert answer.data["failover_time_ms"] >= 0
    assert data == expected
    assert answer.body["message"]
    assert answer.data["replica_id"] == (replica_id or host.to_launch()[0]["id"])


@pytest.mark.parametrize("row", ROWS)
def test_e52_is_true_only_when_the_promotion_is_committed_t16(desk: Desk, host: Any, row: str) -> None:
    replica, _ = ROWS[row]
    machine = standby(desk, host, *replica)[1] if replica else None
    assert warn(host).data["success"] is (host.tenant.primary(host.agent_id) == machine)


def test_e52_a_promotion_leaves_one_zombie_one_switch_and_one_critical_message_5_7(desk: Desk, host: Any) -> None:
    _, machine = standby(desk, host)
    for _ in range(5):
        assert warn(host).data["success"] is True
        desk.clock.advance(10)
    aggregate = host.tenant.aggregate(host.agent_id)
    assert host.tenant.statuses(host.agent_id)[host.machine] == "zombie"
    assert [(row.trigger, row.new_cloud_id) for row in aggregate.switches.values()] == [("emergency", machine)]
    assert len(desk.events(EventKind.TERMINATION_NOTICE)) == len(desk.events(EventKind.FAILOVER_COMPLETED)) == 1
    assert aggregate.agent.config_version == 2  # manual mode alone: an emergency changes no setting (MX-13)


def test_e52_after_success_the_same_ids_and_duplicate_em_2(desk: Desk, host: Any) -> None:
    standby(desk, host)
    first, again = warn(host), warn(host)
    assert (first.data["duplicate"], again.data["duplicate"]) == (False, True)
    same = ("success", "action", "new_instance_id", "new_primary_id", "replica_id", "failover_time_ms")
    assert {name: first.data[name] for name in same} == {name: again.data[name] for name in same}


def test_e51_and_e52_are_one_notice_and_e52_tells_the_better_outcome_reached_meanwhile(desk: Desk, host: Any) -> None:
    started = ask(host, termination_time=DEADLINE)
    assert warn(host).data["success"] is False
    [entry] = host.to_launch()
    machine = desk.new_machine()
    host.launch_replica(entry, machine)
    later = warn(host)
    assert (later.data["success"], later.data["new_instance_id"]) == (True, machine)
    assert later.data["replica_id"] == started.data["replica_id"]
    assert len(host.tenant.aggregate(host.agent_id).incidents) == 1


@pytest.mark.parametrize("progress", [None, 50])
def test_e52_a_syncing_replica_is_promoted_by_force_30_seconds_before_the_deadline_5_4(
    desk: Desk, host: Any, progress: float | None
) -> None:
    _, machine = standby(desk, host, "syncing", progress)
    assert warn(host).data["success"] is False
    desk.tick(89)
    assert host.tenant.primary(host.agent_id) == host.machine
    desk.tick(1)
    assert host.tenant.primary(host.agent_id) == machine
    assert warn(host).data["data_loss_possible"] is True


@pytest.mark.parametrize(
    ("said", "deadline"),
    [
        ("2026-03-02T12:01:30Z", "2026-03-02T12:01:30Z"), ("2026-03-02T12:01:30", "2026-03-02T12:01:30Z"),
        ("2026-03-02 12:01:30", "2026-03-02T12:01:30Z"), ("2026-03-02T13:01:30+01:00", "2026-03-02T12:01:30Z"),
        ("2026-03-02T12:01:30.5Z", "2026-03-02T12:01:30.500Z"), (None, DEADLINE), ("soon", DEADLINE), (7, DEADLINE),
        ("", DEADLINE), ([], DEADLINE), ("2026-03-02T11:00:00Z", "2026-03-02T12:00:00Z"), ("2026-03-02T18:00:00Z", DEADLINE),
    ],
)  # fmt: skip
def test_e52_a_deadline_in_any_spelling_and_none_at_all_is_two_minutes_t24_em_15(
    host: Any, said: Any, deadline: str
) -> None:
    warn(host, {"instance_id": host.machine, "termination_time": said})
    assert host.get("/emergency-status").data["notice_deadline"] == deadline


def test_e52_of_two_deadlines_the_earlier_counts_em_5(host: Any) -> None:
    for said in ("2026-03-02T12:01:30Z", "2026-03-02T12:01:00Z", "2026-03-02T12:02:00Z"):
        warn(host, {"instance_id": host.machine, "termination_time": said})
    assert host.get("/emergency-status").data["notice_deadline"] == "2026-03-02T12:01:00Z"


@pytest.mark.parametrize("field", ["instance_id", "cloud_instance_id", "termination_time", "detected_at", "replica_id",
                                   "exclude_zones", "preferred_zones", "notice_time"])  # fmt: skip
def test_e52_no_malformed_detail_stops_a_failover_t17(host: Any, field: str) -> None:
    for value in (None, 7, True, [], {}, [7], "x" * 200 if "instance" in field else 0):
        answer = warn(host, {field: value})
        assert (answer.status, answer.data["action"]) == (200, "emergency_replica_created"), value
    assert len(host.to_launch()) == 1


def test_e52_without_a_body_the_primary_is_meant_em_9(desk: Desk, host: Any) -> None:
    _, machine = standby(desk, host)
    answer = host.post("/termination-imminent")
    assert (answer.status, answer.data["new_instance_id"]) == (200, machine)


def test_e52_an_unknown_machine_and_another_tenants_answer_alike_and_move_nothing_em_8(desk: Desk, host: Any) -> None:
    foreign = desk.host("v4c", desk.client("Other"))
    standby(desk, host)
    unknown, theirs = (warn(host, {"instance_id": name}) for name in ("i-0none", foreign.machine))
    assert unknown.body == theirs.body
    assert outcome(unknown) == {"success": False, "action": "monitor", "reason": "unknown_instance"}
    assert host.tenant.primary(host.agent_id) == host.machine
    assert foreign.tenant.primary(foreign.agent_id) == foreign.machine
    assert len(desk.events(EventKind.NOTICE_UNKNOWN_INSTANCE)) == 2


def test_e52_for_a_replica_ends_it_and_leaves_the_primary_alone_em_7(desk: Desk, host: Any) -> None:
    replica_id, machine = standby(desk, host)
    answer = warn(host, {"instance_id": machine, "termination_time": DEADLINE})
    assert outcome(answer) == {"success": False, "action": "monitor", "reason": "not_primary"}
    assert host.tenant.aggregate(host.agent_id).replicas[replica_id].state == "terminated"
    assert host.tenant.primary(host.agent_id) == host.machine


def test_e52_for_a_zombie_is_recorded_on_it_em_6(desk: Desk, tenant: Tenant, host: Any) -> None:
    desk.tick(121)
    new = desk.host("v4c", tenant, logical="web")
    answer = warn(host)
    assert outcome(answer) == {"success": False, "action": "monitor", "reason": "not_primary"}
    assert tenant.primary(host.agent_id) == new.machine


@pytest.mark.parametrize("named", ["own", "unknown", "foreign"])
def test_e52_a_named_replica_counts_only_if_it_is_this_agents_em_11(desk: Desk, host: Any, named: str) -> None:
    replica_id, machine = standby(desk, host)
    foreign = desk.host("v4c", desk.client("Other"))
    their_id, their_machine = standby(desk, foreign)
    named_id = {"own": replica_id, "unknown": "none", "foreign": their_id}[named]
    answer = warn(host, {"instance_id": host.machine, "replica_id": named_id})
    assert (answer.data["replica_id"], answer.data["new_instance_id"]) == (replica_id, machine)
    assert foreign.tenant.statuses(foreign.agent_id)[their_machine] == "running_replica"


@pytest.mark.parametrize("how", ["disabled", "offline", "auto-switch off"])
def test_e52_runs_whatever_the_agents_state_is_rule_1(desk: Desk, host: Any, how: str) -> None:
    _, machine = standby(desk, host)
    if how == "disabled":
        host.tenant.post(f"/api/client/agents/{host.agent_id}/toggle-enabled", {"enabled": False})
    elif how == "offline":
        host.stop()
    else:
        host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"autoSwitchEnabled": False})
    assert warn(host).data["new_instance_id"] == machine


def test_e52_a_disabled_v4c_still_finds_its_replacement_in_the_list_it_keeps_polling_z24(host: Any) -> None:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/toggle-enabled", {"enabled": False})
    answer = warn(host)
    assert answer.data["action"] == "emergency_replica_created"
    assert len(host.to_launch()) == 1
    assert host.commands() == []


@pytest.mark.parametrize("path", ["create-emergency-replica", "termination-imminent"])
def test_a_retiring_and_an_unknown_agent_are_404_em_17(tenant: Tenant, host: Any, path: str) -> None:
    body = {"signal_type": "termination", "instance_id": host.machine}
    tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    for agent_id in (host.agent_id, "test-agent-id"):
        assert refusal(tenant.post(f"/api/agents/{agent_id}/{path}", body)) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["create-emergency-replica", "termination-imminent"])
def test_a_key_never_makes_an_emergency_a_replay_z10(desk: Desk, host: Any, path: str) -> None:
    _, machine = standby(desk, host)
    body = {"signal_type": "termination", "instance_id": "i-0none", "request_id": "k"}
    assert host.post(f"/{path}", body, headers={"X-Request-ID": "k"}).data["action"] == "monitor"
    real = host.post(f"/{path}", {**body, "instance_id": host.machine}, headers={"X-Request-ID": "k"})
    assert real.data["new_instance_id"] == machine
    assert desk.tables.answers == {}
