"""E38 and E39: people order and end machines (I2, IN-20, RP-8, Z8)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import ADMIN, NOBODY, Desk, problems, refusal

LAUNCH = "/api/client/instances/launch"
A, B, C = (f"{TYPE}.us-east-1{zone}" for zone in "abc")


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v5", tenant)


@pytest.fixture
def classic(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def launch(host: Any, **more: Any) -> Reply:
    answer: Reply = host.tenant.post(LAUNCH, {"agent_id": host.agent_id, **more})
    return answer


def end(host: Any, machine: str, body: Any = None, **more: Any) -> Reply:
    answer: Reply = host.tenant.post(f"/api/client/instances/{machine}/terminate", body, **more)
    return answer


def is_untouched(host: Any) -> bool:
    aggregate = host.tenant.aggregate(host.agent_id)
    return len(aggregate.instances) == 1 and not aggregate.commands and not aggregate.replicas


def standby(desk: Desk, host: Any) -> str:
    """The machine of a ready replica, in manual mode."""
    host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
    machine = desk.new_machine()
    host.launch_replica(host.to_launch()[0], machine)
    return machine


# ---- E38


def test_e38_answers_201_with_a_placeholder_and_the_command(desk: Desk, host: Any) -> None:
    answer = launch(host)
    assert answer.status == 201
    [item] = host.commands()
    assert answer.data == {
        "success": True, "instance_id": item["instance_id"], "command_id": item["id"], "request_id": item["request_id"],
        "status": "launching",
    }  # fmt: skip
    assert item["instance_id"].startswith("i-pending-")
    assert (item["command_type"], item["priority"], item["target_mode"]) == ("LAUNCH_INSTANCE", 100, None)
    [event] = desk.events(EventKind.INSTANCE_LAUNCH_REQUESTED)
    assert event.facts["role_hint"] == "replica"


@pytest.mark.parametrize(
    ("body", "target", "role"),
    [
        ({}, f"spot.{A}", "replica"), ({"target_pool_id": B}, f"spot.{B}", "replica"), ({"target_pool": C}, f"spot.{C}", "replica"),
        ({"target_pool_id": C, "target_pool": B}, f"spot.{C}", "replica"), ({"target_mode": "ondemand"}, f"ondemand.{A}", "replica"),
        ({"target_mode": "on-demand", "role_hint": "primary"}, f"ondemand.{A}", "primary"),
        ({"target_pool": B, "role_hint": "primary"}, f"spot.{B}", "primary"), ({"instance_type": TYPE}, f"spot.{A}", "replica"),
        ({"target_mode": None, "az": None, "instance_type": None, "role_hint": None}, f"spot.{A}", "replica"),
        ({"az": "us-east-1c"}, f"spot.{C}", "replica"), ({"az": "us-east-1b", "role_hint": "primary"}, f"spot.{B}", "primary"),
        ({"az": "us-east-1c", "target_pool_id": B}, f"spot.{B}", "replica"),
    ],
)  # fmt: skip
def test_e38_places_the_machine_as_asked(host: Any, body: Any, target: str, role: str) -> None:
    assert launch(host, **body).status == 201
    [item] = host.commands()
    assert (item["params"]["target_pool"], item["params"]["role_hint"]) == (target, role)
    assert item["params"]["az"] == target.rpartition(".")[2]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"agent_id": None}, ["agent_id"]), ({"agent_id": 7}, ["agent_id"]), ({"agent_id": "x" * 129}, ["agent_id"]),
        ({"role_hint": "zombie"}, ["role_hint"]), ({"role_hint": 1}, ["role_hint"]), ({"target_mode": "moon"}, ["mode"]),
        ({"target_mode": 5}, ["target_mode"]), ({"target_mode": "unknown"}, ["target_mode"]), ({"az": 5}, ["az"]), ({"az": "x" * 65}, ["az"]),
        ({"instance_type": ["t"]}, ["instance_type"]), ({"target_pool_id": {}}, ["target_pool_id"]),
        ({"target_pool_id": "t3.medium"}, ["pool_id"]), ({"az": {}, "target_mode": []}, ["az", "target_mode"]),
    ],
)  # fmt: skip
def test_e38_a_malformed_order_names_its_fields(host: Any, body: Any, fields: list[str]) -> None:
    assert problems(launch(host, **body)) == fields
    assert is_untouched(host)


def test_e38_without_an_agent_is_400_and_of_an_unknown_or_foreign_one_404(desk: Desk, host: Any) -> None:
    assert problems(host.tenant.post(LAUNCH, {})) == ["agent_id"]
    other = desk.client("Other")
    unknown, theirs = (other.post(LAUNCH, {"agent_id": one}) for one in (NOBODY, host.agent_id))
    assert refusal(theirs) == (404, "NOT_FOUND")
    assert unknown.body == theirs.body
    assert refusal(desk.call("POST", LAUNCH, {"agent_id": NOBODY}, token=ADMIN)) == (404, "NOT_FOUND")
    assert is_untouched(host)
    assert desk.call("POST", LAUNCH, {"agent_id": host.agent_id}, token=ADMIN).status == 201


@pytest.mark.parametrize("build", ["v2", "v4c", "v4n"])
@pytest.mark.parametrize("role", ["replica", "primary"])
def test_e38_other_builds_take_no_launch_commands(desk: Desk, tenant: Tenant, build: str, role: str) -> None:
    host = desk.host(build, tenant)
    assert refusal(launch(host, role_hint=role)) == (400, "UNSUPPORTED_OPERATION")
    assert is_untouched(host)


@pytest.mark.parametrize(
    ("body", "code"),
    [({"instance_type": "t3.large"}, "POOL_MISMATCH"), ({"target_pool_id": "t3.large.us-east-1a"}, "POOL_MISMATCH"),
     ({"target_pool_id": "t3.medium.eu-west-1a"}, "POOL_MISMATCH")],
)  # fmt: skip
@pytest.mark.parametrize("role", ["replica", "primary"])
def test_e38_another_type_or_region_is_a_mismatch(host: Any, body: Any, code: str, role: str) -> None:
    assert refusal(launch(host, role_hint=role, **body)) == (400, code)
    assert is_untouched(host)


def test_e38_a_second_replica_is_refused_i2(host: Any) -> None:
    assert launch(host).status == 201
    assert refusal(launch(host)) == (400, "REPLICA_EXISTS")
    assert len(host.tenant.aggregate(host.agent_id).replicas) == 1


def test_e38_as_primary_is_a_manual_switch_with_its_guards_e34(host: Any) -> None:
    assert launch(host, role_hint="primary", target_mode="ondemand").status == 201
    answer = launch(host, role_hint="primary", target_pool_id=B)
    assert refusal(answer) == (409, "SWITCH_BLOCKED")
    assert answer.body["details"] == {"guards": ["COMMAND_IN_FLIGHT"]}
    assert not host.tenant.aggregate(host.agent_id).replicas


def test_e38_of_a_disabled_agent_replicas_yes_and_switches_no(host: Any) -> None:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/toggle-enabled", {"enabled": False})
    assert refusal(launch(host, role_hint="primary", target_mode="ondemand")) == (400, "AGENT_DISABLED")
    assert launch(host).status == 201


def test_e38_of_a_deleted_agent_is_404(host: Any) -> None:
    host.tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    assert refusal(launch(host)) == (404, "NOT_FOUND")


def test_e38_an_unknown_pool_is_404(host: Any) -> None:
    assert refusal(launch(host, target_pool_id=f"{TYPE}.us-east-1f")) == (404, "NOT_FOUND")
    assert refusal(launch(host, target_pool_id=f"{TYPE}.us-east-1f", role_hint="primary")) == (404, "NOT_FOUND")


# ---- E39


@pytest.mark.parametrize("body", [None, {}, {"force": False}, {"force": True}, {"force": 1}, {"force": None}])
@pytest.mark.parametrize("build", ["v2", "v4c", "v4n", "v5"])
def test_e39_the_primary_is_never_ended_forced_or_not_z8(desk: Desk, tenant: Tenant, build: str, body: Any) -> None:
    host = desk.host(build, tenant)
    answer = end(host, host.machine, body)
    assert refusal(answer) == (409, "IS_PRIMARY")
    assert all(way in answer.body["error"] for way in ("promote", "switch", "delete"))  # names the way out
    assert tenant.statuses(host.agent_id) == {host.machine: "running_primary"}


@pytest.mark.parametrize("value", ["yes", 2, [], {}])
def test_e39_force_is_a_boolean(host: Any, value: Any) -> None:
    assert problems(end(host, host.machine, {"force": value})) == ["force"]


def test_e39_a_v5_is_told_by_a_command_of_priority_100(desk: Desk, host: Any) -> None:
    launch(host)
    machine = desk.new_machine()
    [item] = host.commands()
    host.launched(item, machine)
    host.result(item, machine=machine)
    answer = end(host, machine)
    [ending] = host.commands()
    assert answer.data == {
        "success": True, "instance_id": machine, "command_id": ending["id"], "request_id": ending["request_id"],
        "status": "terminating",
    }  # fmt: skip
    assert (ending["command_type"], ending["priority"], ending["params"]) == (
        "TERMINATE_INSTANCE", 100, {"instance_id": machine},
    )  # fmt: skip
    assert ending["expires_at"] is None
    assert len(desk.events(EventKind.INSTANCE_TERMINATION_REQUESTED)) == 1


def test_e39_a_v4c_reads_it_in_its_list_and_no_command_is_named(desk: Desk, classic: Any) -> None:
    machine = standby(desk, classic)
    answer = end(classic, machine)
    assert answer.data == {
        "success": True, "instance_id": machine, "command_id": None, "request_id": None, "status": "terminating",
    }  # fmt: skip
    [listed] = classic.get("/instances-to-terminate").data["instances"]
    assert listed["instance_id"] == machine


def test_e39_a_live_replica_ends_first_in_the_same_step_rp_8(desk: Desk, classic: Any) -> None:
    machine = standby(desk, classic)
    end(classic, machine)
    ended = [row for row in classic.tenant.aggregate(classic.agent_id).replicas.values() if not row.is_live]
    assert [(row.state, row.end_reason) for row in ended] == [("terminated", "user")]


def test_e39_repeated_is_200_with_the_same_word_and_no_second_command(desk: Desk, host: Any) -> None:
    launch(host)
    machine = desk.new_machine()
    [item] = host.commands()
    host.launched(item, machine)
    host.result(item, machine=machine)
    first, again = end(host, machine), end(host, machine)
    assert (again.status, again.data["status"], again.data["command_id"]) == (200, "terminating", None)
    [ending] = host.commands()
    assert first.data["command_id"] == ending["id"]
    host.post("/instance-terminated", {"instance_id": machine})
    gone = end(host, machine)
    assert (gone.status, gone.data["status"], gone.data["command_id"]) == (200, "terminated", None)


def test_e39_a_launch_that_is_still_waiting_is_given_up(desk: Desk, host: Any) -> None:
    placeholder = launch(host).data["instance_id"]
    answer = end(host, placeholder)
    assert answer.status == 200
    assert answer.data["instance_id"] == placeholder
    assert not [row for row in host.tenant.aggregate(host.agent_id).replicas.values() if row.is_live]
    assert desk.events(EventKind.INSTANCE_LAUNCH_CONFIRMED) == []


@pytest.mark.parametrize("build", ["v2", "v4n"])
def test_e39_an_agent_that_cannot_end_machines_says_so_z27(desk: Desk, tenant: Tenant, build: str) -> None:
    host = desk.host(build, tenant, logical="batch")
    desk.clock.advance(121)
    host_two = desk.host(build, tenant, logical="batch")
    assert tenant.statuses(host_two.agent_id)[host.machine] == "zombie"
    assert refusal(end(host_two, host.machine)) == (400, "UNSUPPORTED_OPERATION")
    assert tenant.statuses(host_two.agent_id)[host.machine] == "zombie"


def test_e39_a_released_machine_is_a_conflict(host: Any) -> None:
    host.tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    assert refusal(end(host, host.machine)) == (409, "STATE_CONFLICT")


@pytest.mark.parametrize("machine", ["i-0none", "i-pending-00000000", "replica-00000000"])
def test_e39_unknown_and_foreign_are_404_alike(desk: Desk, host: Any, machine: str) -> None:
    other = desk.client("Other")
    unknown, theirs = (other.post(f"/api/client/instances/{one}/terminate") for one in (machine, host.machine))
    assert refusal(theirs) == (404, "NOT_FOUND")
    assert unknown.body == theirs.body


def test_e39_by_the_operator_for_any_client(desk: Desk, classic: Any) -> None:
    machine = standby(desk, classic)
    assert desk.call("POST", f"/api/client/instances/{machine}/terminate", token=ADMIN).status == 200
