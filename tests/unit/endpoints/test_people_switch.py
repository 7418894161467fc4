"""E34: a person's switch. Targets under every spelling, the command each build gets, every refusal (3.4, 4.7, Z28)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import ADMIN, Desk, problems, refusal

A, B, C = (f"{TYPE}.us-east-1{zone}" for zone in "abc")


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def switch(host: Any, body: Any, machine: str | None = None, **more: Any) -> Reply:
    answer: Reply = host.tenant.post(f"/api/client/instances/{machine or host.machine}/force-switch", body, **more)
    return answer


def command(host: Any) -> Any:
    [found] = [one for one in host.tenant.aggregate(host.agent_id).commands.values() if one.is_open]
    return found


def settings(host: Any, **wanted: Any) -> None:
    assert host.tenant.post(f"/api/client/agents/{host.agent_id}/settings", wanted).status == 200


def test_the_answer_names_the_command_and_a_message_says_what_happens(desk: Desk, host: Any) -> None:
    answer = switch(host, {"target": "pool", "pool_id": B})
    assert answer.status == 200
    assert answer.data == {"success": True, "command_id": command(host).command_id, "status": "pending"}
    assert isinstance(answer.body["message"], str)
    assert "command_id" not in answer.body  # no mirror
    [event] = desk.events(EventKind.MANUAL_SWITCH_REQUESTED)
    assert (event.actor, event.facts["command_id"]) == ("client", answer.data["command_id"])


@pytest.mark.parametrize(
    ("body", "mode", "pool_id"),
    [
        ({"target": "ondemand"}, "ondemand", None),  # the bodies seen in the field
        ({"target": "pool", "pool_id": B}, "spot", B),
        ({"target_pool": B, "auto_terminate": True}, "spot", B),
        ({"target_pool": B, "target_type": "spot", "auto_terminate": False}, "spot", B),
        ({"target_mode": "on-demand"}, "ondemand", None),
        ({"target_type": "on_demand"}, "ondemand", None),
        ({"target": "spot", "pool_id": C}, "spot", C),
        ({"target": "spot"}, "spot", B),  # the cheapest other pool
        ({"target_pool_id": C}, "spot", C),
        ({"pool_id": C, "target_pool": B, "target_pool_id": A}, "spot", C),
        ({"target": "ondemand", "target_type": "spot", "pool_id": B}, "ondemand", None),
        ({"target": None, "target_mode": "ONDEMAND"}, "ondemand", None),
        ({"pool_id": f"{TYPE}.us-east-1.us-east-1b"}, "spot", B),
        ({"pool_id": B, "new_instance_type": TYPE, "reason": "x"}, "spot", B),
    ],
)  # fmt: skip
def test_every_way_to_name_a_target_c17(host: Any, body: Any, mode: str, pool_id: str | None) -> None:
    assert switch(host, body).data["success"] is True
    [item] = host.commands()
    assert (item["command_type"], item["target_mode"], item["target_pool_id"]) == ("switch", mode, pool_id)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "target"), (None, "target"), ({"target": None}, "target"), ({"target": "unknown"}, "target"),
        ({"target": "moon"}, "mode"), ({"target": "pool"}, "pool_id"), ({"target": "pool", "pool_id": None}, "pool_id"),
        ({"target": 7}, "target"), ({"target": ["spot"]}, "target"), ({"target": "x" * 33}, "target"),
        ({"pool_id": 7}, "pool_id"), ({"pool_id": "x" * 129}, "pool_id"), ({"pool_id": "nonsense"}, "pool_id"),
        ({"pool_id": "t3.medium"}, "pool_id"), ({"pool_id": B, "auto_terminate": "yes"}, "auto_terminate"),
        ({"pool_id": B, "auto_terminate": 2}, "auto_terminate"), ({"pool_id": B, "new_instance_type": 3}, "new_instance_type"),
        ({"pool_id": B, "new_instance_type": "x" * 51}, "new_instance_type"),
    ],
)  # fmt: skip
def test_a_malformed_order_names_its_field_and_queues_nothing(host: Any, body: Any, field: str) -> None:
    assert problems(switch(host, body)) == [field]
    assert not host.tenant.aggregate(host.agent_id).commands


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"x"', b"7"])
def test_what_is_no_json_object_is_refused(host: Any, raw: bytes) -> None:
    assert problems(switch(host, raw)) == ["body"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"pool_id": "t3.large.us-east-1b"}, "POOL_MISMATCH"), ({"pool_id": "t3.medium.us-west-2a"}, "POOL_MISMATCH"),
        ({"pool_id": B, "new_instance_type": "t3.large"}, "POOL_MISMATCH"),
        ({"target": "ondemand", "new_instance_type": "t3.large"}, "POOL_MISMATCH"),
    ],
)  # fmt: skip
def test_another_type_or_region_is_a_mismatch_bad_target(host: Any, body: Any, code: str) -> None:
    assert refusal(switch(host, body)) == (400, code)
    assert not host.tenant.aggregate(host.agent_id).commands


@pytest.mark.parametrize("body", [{"pool_id": A}, {"target": "pool", "pool_id": A}, {"target": "spot", "pool_id": A}])
def test_being_there_already_is_200_without_a_command(host: Any, body: Any) -> None:
    answer = switch(host, body)
    assert answer.status == 200
    assert answer.data["success"] is False
    assert "command_id" not in answer.data
    assert (answer.data["current_mode"], answer.data["current_pool_id"]) == ("spot", A)
    assert answer.body["message"]
    assert not host.tenant.aggregate(host.agent_id).commands


def test_an_on_demand_machine_is_there_already(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v4c", tenant, mode="ondemand")
    answer = switch(host, {"target": "ondemand"})
    assert (answer.data["success"], answer.data["current_mode"]) == (False, "ondemand")
    assert answer.data.get("current_pool_id") is None


@pytest.mark.parametrize(
    ("auto_terminate", "said", "wait", "ends"),
    [(True, None, 120, True), (True, True, 120, True), (True, False, 0, False), (False, None, 0, False),
     (False, True, 120, True), (False, False, 0, False)],
)  # fmt: skip
def test_the_wait_is_the_setting_and_0_when_the_old_machine_stays_t10_cm_9(
    host: Any, auto_terminate: bool, said: bool | None, wait: int, ends: bool
) -> None:
    settings(host, auto_terminate_enabled=auto_terminate, terminate_wait_seconds=120)
    switch(host, {"target": "ondemand", "auto_terminate": said})
    [item] = host.commands()
    assert (item["terminate_wait_seconds"], item["terminate_old"]) == (wait, ends)
    assert type(item["terminate_wait_seconds"]) is type(item["priority"]) is int


def test_it_works_while_auto_switch_is_off_with_priority_75(host: Any) -> None:
    settings(host, auto_switch_enabled=False, max_switches_per_day=0, max_switches_per_week=0, risk_threshold=0)
    switch(host, {"target": "ondemand"})
    [item] = host.commands()
    assert item["priority"] == 75


def test_a_v5_gets_a_launch_as_primary_instead_of_a_switch_3_4(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    answer = switch(host, {"target": "ondemand"})
    [item] = host.commands()
    assert item["command_id"] == answer.data["command_id"]
    assert (item["command_type"], item["target_mode"]) == ("LAUNCH_INSTANCE", None)
    assert item["params"] == {
        "target_pool": f"ondemand.{TYPE}.us-east-1a", "az": "us-east-1a", "instance_type": TYPE, "role_hint": "primary",
        "ami_id": "ami-0abc",
    }  # fmt: skip


def test_another_zone_of_a_v5_is_tried_with_a_warning_in_the_message_z28(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    answer = switch(host, {"pool_id": B})
    assert answer.data["success"] is True
    assert "AWS may refuse another zone" in answer.body["message"]
    [item] = host.commands()
    assert item["params"]["target_pool"] == f"spot.{B}"


@pytest.mark.parametrize(("build", "guards"), [("v4n", ["NOT_EXECUTABLE"])])
def test_a_build_that_takes_no_commands_is_refused_z27(
    desk: Desk, tenant: Tenant, build: str, guards: list[str]
) -> None:
    host = desk.host(build, tenant)
    answer = switch(host, {"target": "ondemand"})
    assert refusal(answer) == (409, "SWITCH_BLOCKED")
    assert answer.body["details"] == {"guards": guards}


def test_a_v2_can_switch(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v2", tenant)
    switch(host, {"target": "ondemand"})
    [item] = host.commands()
    assert item["target_mode"] == "ondemand"


def test_a_second_order_waits_for_the_first_pending_or_executing_i4(host: Any) -> None:
    assert switch(host, {"target": "ondemand"}).data["success"] is True
    for _ in range(2):
        answer = switch(host, {"pool_id": B})
        assert refusal(answer) == (409, "SWITCH_BLOCKED")
        assert answer.body["details"] == {"guards": ["COMMAND_IN_FLIGHT"]}
        host.commands()
    assert len(host.tenant.aggregate(host.agent_id).commands) == 1


def test_an_open_incident_blocks_it_and_every_failing_guard_is_named_z11(host: Any) -> None:
    switch(host, {"target": "ondemand"})
    host.rebalance()
    answer = switch(host, {"pool_id": B})
    assert answer.body["details"]["guards"] == ["INCIDENT_OPEN", "COMMAND_IN_FLIGHT"]
    assert "INCIDENT_OPEN" in answer.body["error"]


def test_offline_stale_and_risky_only_warn_a_person_4_7(desk: Desk, host: Any) -> None:
    settings(host, risk_threshold=0)
    desk.tick(700)
    answer = switch(host, {"pool_id": B})
    assert answer.data["success"] is True
    assert all(word in answer.body["message"] for word in ("AGENT_OFFLINE", "PRICE_STALE", "HIGH_RISK"))


def test_without_a_fresh_price_a_pool_must_be_named(desk: Desk, host: Any) -> None:
    desk.clock.advance(601)
    assert refusal(switch(host, {"target": "spot"})) == (400, "NO_SUITABLE_POOL")
    assert switch(host, {"target": "spot", "pool_id": B}).data["success"] is True


def test_a_disabled_agent_is_400(host: Any) -> None:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/toggle-enabled", {"enabled": False})
    answer = switch(host, {"target": "ondemand"})
    assert refusal(answer) == (400, "AGENT_DISABLED")
    assert "details" not in answer.body


def test_only_the_primary_can_be_switched(desk: Desk, host: Any) -> None:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
    [entry] = host.to_launch()
    assert refusal(switch(host, {"target": "ondemand"}, machine=entry["instance_id"])) == (400, "NOT_PRIMARY")
    replica = desk.new_machine()
    host.launch_replica(entry, replica)
    assert refusal(switch(host, {"target": "ondemand"}, machine=replica)) == (400, "NOT_PRIMARY")


def test_the_machine_may_be_named_by_our_own_id_too(host: Any) -> None:
    own_id = host.tenant.aggregate(host.agent_id).agent.primary_id
    assert switch(host, {"target": "ondemand"}, machine=own_id).data["success"] is True


@pytest.mark.parametrize("machine", ["i-0none", "replica-00000000", "i-pending-00000000", "%00", "x" * 129])
def test_an_unknown_machine_is_404(host: Any, machine: str) -> None:
    assert refusal(switch(host, {"target": "ondemand"}, machine=machine)) == (404, "NOT_FOUND")


def test_another_tenants_machine_is_404_with_the_same_words_and_the_operator_may(desk: Desk, host: Any) -> None:
    other = desk.client("Other")
    path = "/api/client/instances/{}/force-switch"
    unknown, theirs = (other.post(path.format(name), {"target": "ondemand"}) for name in ("i-0none", host.machine))
    assert refusal(theirs) == (404, "NOT_FOUND")
    assert unknown.body == theirs.body
    assert not host.tenant.aggregate(host.agent_id).commands
    assert desk.call("POST", path.format(host.machine), {"target": "ondemand"}, token=ADMIN).data["success"] is True
    assert desk.events(EventKind.MANUAL_SWITCH_REQUESTED)[0].actor == "admin"


def test_a_deleted_agents_machine_is_404(host: Any) -> None:
    host.tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    assert refusal(switch(host, {"target": "ondemand"})) == (404, "NOT_FOUND")


def test_the_legacy_shape_is_the_data_alone(host: Any) -> None:
    answer = switch(host, {"target": "ondemand"}, headers={"X-Response-Shape": "legacy"})
    assert set(answer.body) == {"success", "command_id", "status"}


def test_a_pool_that_nobody_has_ever_named_is_404(host: Any) -> None:
    answer = switch(host, {"pool_id": f"{TYPE}.us-east-1f"})
    assert refusal(answer) == (404, "NOT_FOUND")
    assert not host.tenant.aggregate(host.agent_id).commands
