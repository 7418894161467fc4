"""One path, several meanings (agent-wire 6): E53, E56, E74, acknowledging and fetching, for each of the four builds.

They are told apart by the fields present, never by ``agent_version``: both kinds of v4 say 4.0.0."""

from typing import Any

import pytest

from spotcore.builds import Build
from spotcore.events import TOLD_BY, EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import ONDEMAND, TYPE, spot_pools
from tests.unit.endpoints.desk import BUILDS, Desk, mirrored, problems, refusal

DEADLINE = "2026-03-02T12:02:00Z"


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def build(host: Any) -> Build:
    return Build(host.tenant.aggregate(host.agent_id).agent.build)


def report(host: Any, body: Any, **more: Any) -> Reply:
    answer: Reply = host.post("/termination-report", body, **more)
    return answer


def standby(desk: Desk, host: Any) -> str:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
    machine = desk.new_machine()
    host.launch_replica(host.to_launch()[0], machine)
    return machine


def ends(desk: Desk) -> list[Any]:
    """What people hear of machines that are gone."""
    rows = desk.events(EventKind.INSTANCE_TERMINATED) + desk.events(EventKind.INSTANCE_TERMINATION_CONFIRMED)
    return [row for row in rows if TOLD_BY not in row.facts]


def ending(desk: Desk, host: Any) -> str:
    """A replica's machine that is to end."""
    machine = standby(desk, host)
    host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": False})
    return machine


# ---- builds are known by what they send (3.5, T22)


@pytest.mark.parametrize("name", BUILDS)
def test_after_its_first_calls_each_build_is_known(desk: Desk, tenant: Tenant, name: str) -> None:
    assert build(desk.host(name, tenant)) == name


def test_two_builds_of_one_version_are_told_apart_t22(desk: Desk, tenant: Tenant) -> None:
    both = [desk.host(name, tenant) for name in ("v4c", "v4n")]
    assert {one.version for one in both} == {"4.0.0"}
    assert [build(one) for one in both] == ["v4c", "v4n"]


CALLS: dict[str, tuple[str, str, Any, str]] = {  # what a fresh agent that only registered is taken for after one call
    "E43": ("GET", "/replicas?status=launching", None, "v4c"),
    "E55": ("GET", "/instances-to-terminate", None, "v4c"),
    "E76": ("POST", "/cleanup-report", {}, "v4c"),
    "E17 named": ("POST", "/heartbeat", {"instance_id": "{machine}"}, "v4c"),
    "E17 monitored": ("POST", "/heartbeat", {"monitored_instances": ["{machine}"]}, "v2"),
    "E17 bare": ("POST", "/heartbeat", {"status": "online"}, "unknown"),
    "E17 last of a v4c": ("POST", "/heartbeat", {"status": "offline", "monitored_instances": []}, "unknown"),
    "E18": ("GET", "/config", None, "unknown"),
    "E57": ("GET", "/emergency-status", None, "unknown"),
    "E62 flat": ("POST", "/decide", {"spot_pools": [], "ondemand_price": 0.1, "current_az": "us-east-1a"}, "v4n"),
    "E62 nested": ("POST", "/decide", {"instance": {}, "pricing": {}}, "unknown"),
    "E53 without a machine": ("POST", "/rebalance-recommendation", {"notice_time": DEADLINE}, "v4n"),
    "E53 with a machine": ("POST", "/rebalance-recommendation", {"instance_id": "{machine}"}, "unknown"),
    "E69": ("GET", "/pending-commands", None, "unknown"),
    "E71": ("GET", "/commands/pending", None, "v5"),
    "E72": ("POST", "/action-result", {"request_id": "x", "result": "SUCCESS"}, "v5"),
    "E74 A": ("POST", "/pricing-report", {"instance": {"current_mode": "spot"}, "spot_pools": []}, "v2"),
    "E74 B": ("POST", "/pricing-report", {"instance": {"mode": "spot"}, "pricing": {}}, "unknown"),
    "E74 C": ("POST", "/pricing-report", {"pricing_data_array": []}, "v5"),
    "E56 notice": ("POST", "/termination-report", {"notice_type": "TERMINATION"}, "v5"),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_one_call_is_evidence_of_a_build_or_of_none_3_5(desk: Desk, tenant: Tenant, call: str) -> None:
    method, path, body, expected = CALLS[call]
    machine = desk.new_machine()
    registration = {"instance_id": machine, "instance_type": TYPE, "region": "us-east-1", "az": "us-east-1a"}
    agent_id = tenant.post("/api/agents/register", registration).data["agent_id"]
    filled = _named(body, machine)
    assert tenant.call(method, f"/api/agents/{agent_id}{path}", filled).status in (200, 201)
    assert tenant.aggregate(agent_id).agent.build == expected


def _named(value: Any, machine: str) -> Any:
    match value:
        case dict():
            return {name: _named(one, machine) for name, one in value.items()}
        case list():
            return [_named(one, machine) for one in value]
        case str():
            return value.replace("{machine}", machine)
        case _:
            return value


@pytest.mark.parametrize("able", ["/replicas?status=launching", "/instances-to-terminate", "/pending-commands"])
def test_who_has_fetched_commands_or_replicas_is_no_v4n_whatever_it_leaves_out_3_5(
    desk: Desk, tenant: Tenant, able: str
) -> None:
    host = BUILDS["v4c"](tenant, desk.new_machine())
    host.register()
    host.get(able)
    before = build(host)
    host.post("/rebalance-recommendation", {"notice_time": DEADLINE})
    assert build(host) == before != "v4n"


# ---- E56: a result, a warning, or what has happened (C06, T23)


@pytest.mark.parametrize("value", [True, 1])
def test_e56_of_a_v4c_success_is_a_machine_that_is_gone(desk: Desk, host: Any, value: Any) -> None:
    machine = ending(desk, host)
    answer = report(host, {"instance_id": machine, "success": value, "error": None, "terminated_at": DEADLINE})
    assert mirrored(answer) == {"success": True}
    assert answer.body["message"]
    assert host.tenant.statuses(host.agent_id)[machine] == "terminated"
    assert len(ends(desk)) == 1


@pytest.mark.parametrize("value", [False, 0])
def test_e56_of_a_v4c_failure_is_tried_again_after_300_seconds(desk: Desk, host: Any, value: Any) -> None:
    machine = ending(desk, host)
    answer = report(host, {"instance_id": machine, "success": value, "error": "denied", "terminated_at": None})
    assert mirrored(answer) == {"success": True}
    assert host.tenant.statuses(host.agent_id)[machine] == "terminating"
    [event] = desk.events(EventKind.INSTANCE_TERMINATION_FAILED)
    assert "denied" in repr(event.facts)


def test_e56_twelve_failures_are_told_people_once_and_then_hourly_in_25(desk: Desk, host: Any) -> None:
    machine = ending(desk, host)
    before = len(desk.tables.notifications)
    for _ in range(12):
        report(host, {"instance_id": machine, "success": False})
        desk.clock.advance(300)
    assert len(desk.tables.notifications) == before + 1
    desk.clock.advance(3_299)
    assert host.get("/instances-to-terminate").data["instances"] == []
    desk.clock.advance(1)
    assert len(host.get("/instances-to-terminate").data["instances"]) == 1


def test_e56_a_result_wins_over_everything_else_in_the_body(desk: Desk, host: Any) -> None:
    machine = ending(desk, host)
    body = {"instance_id": machine, "success": True, "notice_type": "TERMINATION", "termination_time": DEADLINE}
    assert mirrored(report(host, body)) == {"success": True}
    assert host.get("/emergency-status").data["notice_status"] == "none"


@pytest.mark.parametrize("error", [None, "denied", 7, [], {"code": 1}])
def test_e56_the_text_of_an_error_is_a_text_or_null(desk: Desk, host: Any, error: Any) -> None:
    machine = ending(desk, host)
    answer = report(host, {"instance_id": machine, "success": False, "error": error})
    if error is None or isinstance(error, str):
        assert answer.status == 200
    else:
        assert problems(answer) == ["error"]


@pytest.mark.parametrize("machine", [None, 7, [], "x" * 129])
def test_e56_a_result_needs_its_machine(host: Any, machine: Any) -> None:
    assert problems(report(host, {"instance_id": machine, "success": True})) == ["instance_id"]


def test_e56_a_result_about_anybody_elses_machine_is_404_and_changes_nothing_s04(
    desk: Desk, tenant: Tenant, host: Any
) -> None:
    sibling, foreign = desk.host("v4c", tenant, logical="api"), desk.host("v4c", desk.client("Other"))
    for success in (True, False):
        for name in ("i-0none", sibling.machine, foreign.machine, "replica-00000000"):
            assert refusal(report(host, {"instance_id": name, "success": success})) == (404, "NOT_FOUND")
    assert tenant.statuses(sibling.agent_id) == {sibling.machine: "running_primary"}
    assert foreign.tenant.statuses(foreign.agent_id) == {foreign.machine: "running_primary"}


@pytest.mark.parametrize("success", [True, False])
def test_e56_a_result_about_the_primary_never_simply_removes_it_in_26(desk: Desk, host: Any, success: bool) -> None:
    assert report(host, {"instance_id": host.machine, "success": success}).status == 200
    assert host.tenant.primary(host.agent_id) == host.machine
    assert any(one.severity == "critical" for one in desk.tables.notifications.values())


def test_e56_repeated_results_are_200_and_told_once(desk: Desk, host: Any) -> None:
    machine = ending(desk, host)
    for success in (True, True, False):
        assert report(host, {"instance_id": machine, "success": success}).status == 200
    assert host.tenant.statuses(host.agent_id)[machine] == "terminated"
    assert len(ends(desk)) == 1


@pytest.mark.parametrize(
    "body",
    [{"notice_type": "TERMINATION"}, {"notice_type": "termination", "termination_time": None}, {"termination_time": DEADLINE},
     {"notice_type": "TERMINATION", "termination_time": "soon"}, {"notice_type": "TERMINATION", "success": None},
     {"termination_time": DEADLINE, "success": "yes"}, {"termination_time": DEADLINE, "reason": "x"}],
)  # fmt: skip
def test_e56_of_a_v5_is_the_warning_that_its_host_goes_t23(desk: Desk, tenant: Tenant, body: Any) -> None:
    host = desk.host("v5", tenant)
    answer = report(host, {"cloud_instance_id": host.machine, **body})
    assert answer.status == 200
    data = mirrored(answer)
    assert (data["success"], data["action"]) == (False, "ondemand_switch_queued")
    assert tenant.primary(host.agent_id) == host.machine  # a live primary is not marked dead
    assert host.get("/emergency-status").data["notice_status"] == "termination"


def test_e56_of_a_v5_repeated_every_10_seconds_is_one_incident_t29(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    for _ in range(12):
        assert host.termination_notice(DEADLINE).status == 200
        desk.clock.advance(10)
    aggregate = tenant.aggregate(host.agent_id)
    assert (len(aggregate.incidents), len(aggregate.replicas)) == (1, 1)


@pytest.mark.parametrize("name", ["reason", "termination_reason"])
def test_e56_with_a_reason_alone_is_what_has_happened_already_e54(desk: Desk, host: Any, name: str) -> None:
    machine = standby(desk, host)
    assert mirrored(report(host, {"instance_id": machine, name: "spot"})) == {"success": True}
    assert host.tenant.statuses(host.agent_id)[machine] == "terminated"


@pytest.mark.parametrize(
    "body",
    [None, {}, {"instance_id": "i-0abc"}, {"success": None}, {"success": "true"}, {"reason": "x"}, {"notice_type": "REBALANCE"},
     {"notice_type": None, "termination_time": None}, {"success": 2}, {"success": []}],
)  # fmt: skip
def test_e56_with_nothing_usable_is_400_that_says_what_to_send(host: Any, body: Any) -> None:
    assert problems(report(host, body)) == ["success"]
    assert host.get("/emergency-status").data["notice_status"] == "none"


# ---- E53: who means what


@pytest.mark.parametrize(
    ("name", "body", "severity"),
    [
        ("v4c", {"instance_id": "{machine}", "detected_at": DEADLINE}, "rebalance"), ("v4n", {"notice_time": DEADLINE}, "rebalance"),
        ("v4n", {"notice_time": DEADLINE, "immediate": True}, "termination"),
        ("v5", {"cloud_instance_id": "{machine}", "notice_type": "REBALANCE", "notice_time": DEADLINE}, "rebalance"),
    ],
)  # fmt: skip
def test_e53_means_a_termination_only_to_a_v4n_in_a_hurry(
    desk: Desk, tenant: Tenant, name: str, body: Any, severity: str
) -> None:
    host = desk.host(name, tenant)
    assert host.post("/rebalance-recommendation", _named(body, host.machine)).status == 200
    assert host.get("/emergency-status").data["notice_status"] == severity
    assert build(host) == name


# ---- E74: three shapes, and the fourth of the notes


def shapes(machine: str) -> dict[str, Any]:
    records = [{"instance_type": TYPE, "az": row["az"], "pool_id": row["pool_id"], "spot_price": row["price"],
                "timestamp": "2026-03-02T12:00:00"} for row in spot_pools()]  # fmt: skip
    where = {"instance_id": machine, "instance_type": TYPE, "region": "us-east-1", "az": "us-east-1a"}
    return {
        "v2": {"instance": {**where, "current_mode": "spot", "current_pool_id": f"{TYPE}.us-east-1a"},
               "on_demand_price": {"price": ONDEMAND}, "spot_pools": spot_pools()},
        "v4c": {"instance": {**where, "mode": "spot", "pool_id": f"{TYPE}.us-east-1a"},
                "pricing": {"on_demand_price": ONDEMAND, "current_spot_price": 0.02, "cheapest_pool": None,
                            "spot_pools": spot_pools(), "collected_at": "2026-03-02T12:00:00+00:00"}},
        "v5": {"agent_id": "x", "timestamp": "2026-03-02T12:00:00", "pricing_data_array": [
            *records, {"instance_type": TYPE, "price_type": "ondemand", "price": ONDEMAND, "timestamp": "2026-03-02T12:00:00"}]},
        "notes": {**where, "current_mode": "spot", "ondemand_price": ONDEMAND, "collected_at": "2026-03-02T12:00:00Z",
                  "pools": [{"pool_id": row["pool_id"], "az": row["az"], "price": row["price"]} for row in spot_pools()]},
    }  # fmt: skip


@pytest.mark.parametrize("shape", ["v2", "v4c", "v5", "notes"])
def test_e74_every_shape_says_the_same_three_prices_and_the_same_on_demand_price_c12(
    desk: Desk, tenant: Tenant, shape: str
) -> None:
    host = BUILDS["v4c"](tenant, desk.new_machine())
    host.register()
    answer = host.post("/pricing-report", shapes(host.machine)[shape])
    assert mirrored(answer) == {"success": True, "records_inserted": 3, "records_rejected": 0}
    found = {row.pool_id: float(row.price) for _, row in desk.tables.raw.values()}
    assert found == {row["pool_id"]: row["price"] for row in spot_pools()}
    [ondemand] = desk.tables.ondemand.values()
    assert float(ondemand.price) == ONDEMAND


# ---- acknowledging and fetching


@pytest.mark.parametrize("name", ["v2", "v4c"])
def test_a_switch_is_fetched_and_acknowledged_in_the_builds_own_way(desk: Desk, tenant: Tenant, name: str) -> None:
    host = desk.host(name, tenant)
    tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    assert host.get("/commands/pending").data["commands"] == []  # a v5's way gives it nothing it could misread
    host = desk.host(name, tenant, logical="again")
    tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    [item] = host.commands()
    path = f"/commands/{item['id']}/executed" if name == "v4c" else "/mark-command-executed"
    answer = host.post(path, {"success": True, "command_id": item["id"], "message": "done"})
    assert mirrored(answer) == {"success": True, "command_id": item["id"]}


def test_a_v4n_is_never_given_a_command_in_either_way_z27(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v4n", tenant)
    tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    assert not tenant.aggregate(host.agent_id).commands


def test_a_v5_finds_nothing_where_classic_agents_look_t11(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    tenant.post("/api/client/instances/launch", {"agent_id": host.agent_id})
    assert host.get("/pending-commands").data["commands"] == []
    [item] = host.commands()
    assert item["command_type"] == "LAUNCH_INSTANCE"
