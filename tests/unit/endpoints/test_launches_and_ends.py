"""E40, E41, E55: a v5 confirms launches and ends, a v4c reads what it is to end (IN-4, IN-25, I7, Z19, RP-14)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import Desk, mirrored, problems, refusal


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v5", tenant)


@pytest.fixture
def classic(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def ordered(host: Any, role: str = "replica", **more: Any) -> Any:
    """The launch command the agent has fetched."""
    answer = host.tenant.post("/api/client/instances/launch", {"agent_id": host.agent_id, "role_hint": role, **more})
    assert answer.status == 201, answer
    [item] = host.commands()
    return item


def launched(host: Any, item: Any, machine: str, **more: Any) -> Reply:
    body = {"temp_instance_id": item["instance_id"], "instance_id": machine, "instance_type": TYPE, "az": host.az,
            "request_id": item["request_id"], "confirmed_at": "2026-03-02T12:00:30.123456"}  # fmt: skip
    answer: Reply = host.post("/instance-launched", {**body, **more})
    return answer


def gone(host: Any, machine: Any, **more: Any) -> Reply:
    answer: Reply = host.post("/instance-terminated", {"instance_id": machine, **more})
    return answer


def standby(desk: Desk, host: Any) -> str:
    host.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
    machine = desk.new_machine()
    host.launch_replica(host.to_launch()[0], machine)
    return machine


def zombie(desk: Desk, classic: Any) -> str:
    """The old primary after a promotion; manual mode is off again."""
    standby(desk, classic)
    [replica] = classic.get("/replicas").data["replicas"]
    classic.post(f"/replicas/{replica['id']}/promote", {})
    classic.tenant.post(f"/api/client/agents/{classic.agent_id}/config", {"manualReplicaEnabled": False})
    return str(classic.machine)


def to_end(classic: Any) -> dict[str, Any]:
    found: dict[str, Any] = mirrored(classic.get("/instances-to-terminate"))
    return found


# ---- E40


def test_e40_names_the_machine_and_how_long_it_took(desk: Desk, host: Any) -> None:
    item, machine = ordered(host), desk.new_machine()
    desk.clock.advance(33)
    answer = launched(host, item, machine)
    assert mirrored(answer) == {
        "success": True, "instance_id": machine, "status": "running_replica", "launch_duration_seconds": 33,
    }  # fmt: skip
    assert answer.body["status"] == "success"
    [replica] = host.tenant.aggregate(host.agent_id).replicas.values()
    assert replica.state == "ready"  # Z30
    assert host.tenant.aggregate(host.agent_id).commands[item["id"]].state == "completed"
    assert len(desk.events(EventKind.INSTANCE_LAUNCH_CONFIRMED)) == 1


def test_e40_of_a_chain_promotes_in_the_same_step_3_4(desk: Desk, host: Any) -> None:
    item, machine = ordered(host, "primary", target_mode="ondemand"), desk.new_machine()
    assert launched(host, item, machine).data["status"] == "running_primary"
    assert host.tenant.statuses(host.agent_id) == {host.machine: "zombie", machine: "running_primary"}


def test_e40_repeated_changes_nothing_t34(desk: Desk, host: Any) -> None:
    item, machine = ordered(host), desk.new_machine()
    first = launched(host, item, machine)
    desk.clock.advance(10)
    again = launched(host, item, machine)
    assert (again.status, again.data) == (200, first.data)
    assert len(desk.events(EventKind.INSTANCE_LAUNCH_CONFIRMED)) == 1


def test_e40_after_a_restart_another_machine_under_the_same_request_id_is_to_end_t34(desk: Desk, host: Any) -> None:
    item, first, second = ordered(host), desk.new_machine(), desk.new_machine()
    launched(host, item, first)
    answer = launched(host, item, second)
    assert answer.status == 200
    assert host.tenant.statuses(host.agent_id)[first] == "running_replica"
    assert host.tenant.statuses(host.agent_id)[second] == "terminating"


def test_e40_a_launch_that_was_given_up_leaves_a_machine_to_end_in_4(desk: Desk, host: Any) -> None:
    item, machine = ordered(host), desk.new_machine()
    [replica] = host.tenant.aggregate(host.agent_id).replicas
    host.tenant.call("DELETE", host.at(f"/replicas/{replica}"))
    answer = launched(host, item, machine)
    assert answer.status == 200
    assert host.tenant.statuses(host.agent_id)[machine] == "terminating"


@pytest.mark.parametrize("more", [{"instance_type": None, "az": None}, {"instance_type": "unknown", "az": ""}, {"request_id": None},
                                  {"request_id": "other"}, {"confirmed_at": "junk"}, {"confirmed_at": 5}, {"colour": 1}])  # fmt: skip
def test_e40_needs_no_more_than_its_two_ids(desk: Desk, host: Any, more: Any) -> None:
    answer = launched(host, ordered(host), desk.new_machine(), **more)
    assert (answer.status, answer.data["status"]) == (200, "running_replica")


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"temp_instance_id": None}, ["temp_instance_id"]), ({"instance_id": None}, ["instance_id"]), ({"instance_id": 7}, ["instance_id"]),
        ({"instance_id": "unknown"}, ["instance_id"]), ({"instance_id": "i-pending-00000000"}, ["instance_id"]),
        ({"temp_instance_id": []}, ["temp_instance_id"]), ({"instance_type": 5}, ["instance_type"]), ({"az": {}}, ["az"]),
        ({"request_id": 9}, ["request_id"]), ({"az": "x" * 65, "request_id": "x" * 129}, ["az", "request_id"]),
    ],
)  # fmt: skip
def test_e40_a_malformed_field_is_named_and_the_launch_stays_open(
    desk: Desk, host: Any, more: Any, fields: list[str]
) -> None:
    item = ordered(host)
    assert problems(launched(host, item, desk.new_machine(), **more)) == fields
    assert host.tenant.aggregate(host.agent_id).commands[item["id"]].state == "executing"


@pytest.mark.parametrize("temp", ["i-pending-00000000", "replica-00000000", "i-0abc", "x"])
def test_e40_a_temporary_id_never_given_out_is_404(desk: Desk, host: Any, temp: str) -> None:
    item, machine = ordered(host), desk.new_machine()
    assert refusal(launched(host, item, machine, temp_instance_id=temp)) == (404, "NOT_FOUND")
    assert machine not in host.tenant.statuses(host.agent_id)


def test_e40_with_another_tenants_machine_is_404_and_nothing_changes_2_3(desk: Desk, host: Any) -> None:
    foreign, item = desk.host("v5", desk.client("Other")), ordered(host)
    assert refusal(launched(host, item, foreign.machine)) == (404, "NOT_FOUND")
    assert foreign.tenant.statuses(foreign.agent_id) == {foreign.machine: "running_primary"}
    assert host.tenant.aggregate(host.agent_id).commands[item["id"]].state == "executing"


def test_e40_with_the_agents_own_primary_is_a_conflict_and_never_two_rows_of_one_machine_i10(host: Any) -> None:
    item = ordered(host)
    assert refusal(launched(host, item, host.machine)) == (409, "STATE_CONFLICT")
    assert refusal(host.result(item, machine=host.machine)) == (409, "STATE_CONFLICT")
    assert host.tenant.primary(host.agent_id) == host.machine


# ---- E41


def replica_machine(desk: Desk, host: Any) -> str:
    item, machine = ordered(host), desk.new_machine()
    launched(host, item, machine)
    host.result(item, machine=machine)
    return machine


def test_e41_says_that_it_is_gone_and_after_how_long(desk: Desk, host: Any) -> None:
    machine = replica_machine(desk, host)
    host.tenant.post(f"/api/client/instances/{machine}/terminate")
    [item] = host.commands()
    desk.clock.advance(61)
    answer = gone(host, machine, request_id=item["request_id"], confirmed_at="2026-03-02T12:01:00")
    assert mirrored(answer) == {
        "success": True, "instance_id": machine, "status": "terminated", "termination_duration_seconds": 61,
    }  # fmt: skip
    assert host.tenant.statuses(host.agent_id)[machine] == "terminated"
    assert len(desk.events(EventKind.INSTANCE_TERMINATION_CONFIRMED)) == 1


@pytest.mark.parametrize("field", ["instance_id", "cloud_instance_id"])
def test_e41_repeated_is_200_and_told_once(desk: Desk, host: Any, field: str) -> None:
    machine = replica_machine(desk, host)
    answers = [host.post("/instance-terminated", {field: machine}) for _ in range(3)]
    assert [one.status for one in answers] == [200] * 3
    assert {one.data["status"] for one in answers} == {"terminated"}
    assert len(desk.events(EventKind.INSTANCE_TERMINATION_CONFIRMED)) == 1


def test_e41_of_a_live_replica_ends_it(desk: Desk, host: Any) -> None:
    machine = replica_machine(desk, host)
    gone(host, machine)
    [replica] = host.tenant.aggregate(host.agent_id).replicas.values()
    assert replica.state == "terminated"


def test_e41_of_the_primary_removes_nothing_silently_in_26(desk: Desk, host: Any) -> None:
    answer = gone(host, host.machine)
    assert (answer.status, answer.data["instance_id"]) == (200, host.machine)
    assert host.tenant.primary(host.agent_id) == host.machine
    assert any(one.severity == "critical" for one in desk.tables.notifications.values())


def test_e41_of_the_primary_with_a_ready_replica_promotes_it_in_26(desk: Desk, host: Any) -> None:
    machine = replica_machine(desk, host)
    gone(host, host.machine)
    assert host.tenant.primary(host.agent_id) == machine


@pytest.mark.parametrize("value", [None, 7, [], {}, True, "x" * 129])
def test_e41_needs_a_machine(host: Any, value: Any) -> None:
    assert problems(gone(host, value)) == ["instance_id"]


def test_e41_of_anybody_elses_machine_is_404_alike(desk: Desk, tenant: Tenant, host: Any) -> None:
    sibling, foreign = desk.host("v5", tenant), desk.host("v5", desk.client("Other"))
    answers = [gone(host, name) for name in ("i-0none", sibling.machine, foreign.machine, "i-pending-00000000")]
    assert {refusal(one) for one in answers} == {(404, "NOT_FOUND")}
    assert len({one.body["error"] for one in answers}) == 1
    assert tenant.statuses(sibling.agent_id) == {sibling.machine: "running_primary"}
    assert foreign.tenant.statuses(foreign.agent_id) == {foreign.machine: "running_primary"}


# ---- E55


def test_e55_is_empty_and_shows_the_settings_when_there_is_nothing_to_end(classic: Any) -> None:
    assert to_end(classic) == {"instances": [], "auto_terminate_enabled": True, "terminate_wait_seconds": 300}
    classic.tenant.post(
        f"/api/client/agents/{classic.agent_id}/settings",
        {"auto_terminate_enabled": False, "terminate_wait_seconds": 60},
    )
    assert to_end(classic) == {"instances": [], "auto_terminate_enabled": False, "terminate_wait_seconds": 60}


def test_e55_a_zombie_is_listed_when_its_wait_is_over_and_not_a_second_before(desk: Desk, classic: Any) -> None:
    machine = zombie(desk, classic)
    desk.clock.advance(299)
    assert machine not in {one["instance_id"] for one in to_end(classic)["instances"]}
    desk.clock.advance(1)
    entry = next(one for one in to_end(classic)["instances"] if one["instance_id"] == machine)
    assert entry == {
        "instance_id": machine, "instance_type": TYPE, "az": "us-east-1a", "reason": "zombie_timeout", "seconds_waiting": 300,
    }  # fmt: skip


def test_e55_with_auto_terminate_off_zombies_stay_and_what_was_asked_for_is_listed_with_the_flag_on(
    desk: Desk, classic: Any
) -> None:
    machine = zombie(desk, classic)
    classic.tenant.post(f"/api/client/agents/{classic.agent_id}/settings", {"auto_terminate_enabled": False})
    desk.clock.advance(400)
    listed = to_end(classic)
    assert machine not in {one["instance_id"] for one in listed["instances"]}
    classic.tenant.post(f"/api/client/instances/{machine}/terminate")
    listed = to_end(classic)
    entry = next(one for one in listed["instances"] if one["instance_id"] == machine)
    assert (entry["reason"], listed["auto_terminate_enabled"]) == ("manual_terminate", True)
    assert "seconds_waiting" not in entry
    assert entry["seconds_since_marked"] == 0


def test_e55_an_ended_replica_is_listed_with_its_reason(desk: Desk, classic: Any) -> None:
    machine = standby(desk, classic)
    classic.tenant.post(f"/api/client/agents/{classic.agent_id}/config", {"manualReplicaEnabled": False})
    desk.clock.advance(7)
    [entry] = to_end(classic)["instances"]
    assert entry == {
        "instance_id": machine, "instance_type": TYPE, "az": "us-east-1b", "reason": "replica_terminated",
        "seconds_since_marked": 7,
    }  # fmt: skip


def test_e55_reading_changes_nothing_and_every_call_sees_it_until_an_attempt_is_reported_in_25(
    desk: Desk, classic: Any
) -> None:
    machine = standby(desk, classic)
    classic.tenant.post(f"/api/client/agents/{classic.agent_id}/config", {"manualReplicaEnabled": False})
    assert to_end(classic) == to_end(classic)
    classic.post("/termination-report", {"instance_id": machine, "success": False, "error": "denied"})
    assert to_end(classic)["instances"] == []
    desk.clock.advance(299)
    assert to_end(classic)["instances"] == []
    desk.clock.advance(1)
    assert [one["instance_id"] for one in to_end(classic)["instances"]] == [machine]
    classic.post("/termination-report", {"instance_id": machine, "success": True})
    assert to_end(classic)["instances"] == []


def test_e55_never_names_a_primary_a_live_replica_a_placeholder_or_anybody_elses_machine_i7_s03(
    desk: Desk, tenant: Tenant, classic: Any
) -> None:
    sibling, foreign = desk.host("v4c", tenant, logical="api"), desk.host("v4c", desk.client("Other"))
    for other in (sibling, foreign):
        machine = standby(desk, other)
        other.tenant.post(f"/api/client/instances/{machine}/terminate")
    standby(desk, classic)
    desk.clock.advance(100_000)
    assert to_end(classic)["instances"] == []


def test_e55_a_machine_that_aws_takes_is_left_alone_until_180_seconds_after_its_deadline_z19(
    desk: Desk, classic: Any
) -> None:
    standby(desk, classic)
    _, second = classic.termination("2026-03-02T12:02:00Z")
    assert second.data["success"] is True
    classic.tenant.post(f"/api/client/agents/{classic.agent_id}/settings", {"terminate_wait_seconds": 60})
    desk.clock.advance(299)
    assert classic.machine not in {one["instance_id"] for one in to_end(classic)["instances"]}


def test_e55_of_a_retiring_agent_still_names_its_replica_and_never_its_released_primary_z25(
    desk: Desk, classic: Any
) -> None:
    machine = standby(desk, classic)
    classic.tenant.call("DELETE", f"/api/client/agents/{classic.agent_id}")
    assert [one["instance_id"] for one in to_end(classic)["instances"]] == [machine]
