"""E70, E72, E73: what agents say of commands, under every spelling, twice, too late, and about others' (CM-6, T19, T34)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.unit.endpoints.desk import NOBODY, Desk, mirrored, problems, refusal


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


@pytest.fixture
def modern(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v5", tenant)


def switching(host: Any) -> str:
    """The id of a switch the agent has fetched."""
    host.tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    [item] = host.commands()
    return str(item["id"])


def pushed(modern: Any) -> Any:
    """A config push the agent has fetched."""
    modern.tenant.post(f"/api/client/agents/{modern.agent_id}/settings", {"auto_terminate_enabled": False})
    [item] = modern.commands()
    return item


def launching(modern: Any, role: str = "replica") -> Any:
    body = {"agent_id": modern.agent_id, "role_hint": role, "target_mode": "ondemand"}
    modern.tenant.post("/api/client/instances/launch", body)
    [item] = modern.commands()
    return item


def executed(host: Any, command_id: str, body: Any = None) -> Reply:
    answer: Reply = host.post(f"/commands/{command_id}/executed", body)
    return answer


def acted(modern: Any, **body: Any) -> Reply:
    answer: Reply = modern.post("/action-result", body)
    return answer


def command(host: Any, command_id: str) -> Any:
    return host.tenant.aggregate(host.agent_id).commands[command_id]


# ---- E70

FAILED = [
    {"success": False}, {"success": 0}, {"status": "failed"}, {"status": "partial"}, {"status": "FAILED"}, {"status": "error"},
    {"result": "failure"}, {"result": False}, {"success": False, "status": "completed"}, {"success": None, "status": "failed"},
]  # fmt: skip
DONE: list[Any] = [
    None, {}, {"success": True}, {"success": 1}, {"success": None}, {"status": "success"}, {"status": "completed"}, {"result": True},
    {"result": {"new": "i-0b"}}, {"success": True, "status": "failed"}, {"status": "odd"}, {"message": "x", "execution_time": 3},
]  # fmt: skip


@pytest.mark.parametrize("body", FAILED)
def test_e70_a_failure_in_any_spelling_fails_the_command_and_people_hear_it(desk: Desk, host: Any, body: Any) -> None:
    command_id = switching(host)
    answer = executed(host, command_id, {**body, "message": "no capacity"})
    assert mirrored(answer) == {"success": True, "command_id": command_id}
    assert (command(host, command_id).state, command(host, command_id).failure_reason) == ("failed", "no capacity")
    assert len(desk.events(EventKind.COMMAND_FAILED)) == 1
    assert host.tenant.primary(host.agent_id) == host.machine


@pytest.mark.parametrize("body", DONE)
def test_e70_is_a_success_by_default_but_a_switch_is_done_only_when_its_machine_is_there_t19(
    host: Any, body: Any
) -> None:
    command_id = switching(host)
    assert mirrored(executed(host, command_id, body)) == {"success": True, "command_id": command_id}
    assert command(host, command_id).state == "executing"
    assert host.commands() == []  # and it is not handed out again


@pytest.mark.parametrize(
    ("field", "value"), [("success", "x"), ("success", 2), ("success", []), ("status", 5), ("status", 1.5)]
)
def test_e70_a_verdict_that_is_none_is_refused_or_read_as_a_word(host: Any, field: str, value: Any) -> None:
    command_id = switching(host)
    answer = executed(host, command_id, {field: value})
    if isinstance(value, str):
        assert answer.status == 200
    else:
        assert problems(answer) == [field]
    assert command(host, command_id).state == "executing"


@pytest.mark.parametrize("field", ["message", "error", "error_message"])
def test_e70_the_text_under_any_name_and_a_malformed_one_is_dropped(host: Any, field: str) -> None:
    command_id = switching(host)
    executed(host, command_id, {"success": False, field: "broken"})
    assert command(host, command_id).failure_reason == "broken"


@pytest.mark.parametrize("value", [7, [], {}, True])
def test_e70_a_malformed_text_loses_no_verdict(host: Any, value: Any) -> None:
    command_id = switching(host)
    assert executed(host, command_id, {"success": False, "message": value, "execution_result": value}).status == 200
    assert command(host, command_id).state == "failed"


TOLD = {"execution_result": {"new": "i-0b"}, "execution_time": 41.5, "duration_seconds": 42}
KEPT = {"new": "i-0b", "execution_time": 41.5, "duration_seconds": 42}


@pytest.mark.parametrize(("verdict", "state"), [({}, "executing"), ({"success": False}, "failed")])
@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (TOLD, KEPT),
        ({"result": {"new": "i-0b"}}, {"new": "i-0b"}),
        ({"execution_result": {"of": "this"}, "result": {"of": "that"}}, {"of": "this"}),
        ({"duration_seconds": 0}, {"duration_seconds": 0}),
        ({"execution_time": "2026-03-02T12:00:41Z"}, {"execution_time": "2026-03-02T12:00:41Z"}),
        ({"duration_seconds": -1, "execution_time": True}, {}),
        ({"duration_seconds": "long", "execution_time": [1]}, {}),
        ({"duration_seconds": 10**30, "execution_time": 10**30}, {}),
        ({"duration_seconds": None, "execution_time": None}, {}),
        ({"execution_result": {"duration_seconds": 7}, "duration_seconds": 42}, {"duration_seconds": 42}),
    ],
)
def test_e70_how_long_it_took_and_what_came_of_it_is_stored_with_the_command(
    host: Any, verdict: Any, state: str, told: Any, kept: Any
) -> None:
    command_id = switching(host)
    assert executed(host, command_id, {**verdict, **told}).status == 200
    found = command(host, command_id)
    assert found.state == state
    assert {name: value for name, value in found.result.items() if name != "acknowledged"} == kept


def test_e70_no_word_of_an_agent_makes_a_switch_count_as_run_t19(host: Any) -> None:
    command_id = switching(host)
    executed(host, command_id, {"success": False, "execution_result": {"acknowledged": True}})
    assert "acknowledged" not in command(host, command_id).result


def test_e70_a_longer_text_than_any_time_is_cut(host: Any) -> None:
    command_id = switching(host)
    executed(host, command_id, {"execution_time": "x" * 1_000})
    assert command(host, command_id).result["execution_time"] == "x" * 64


def test_e70_the_first_result_stands_and_another_is_only_noted_cm_6(desk: Desk, host: Any) -> None:
    command_id = switching(host)
    for success in (False, False, True):
        answer = executed(host, command_id, {"success": success})
        assert (answer.status, answer.data["command_id"]) == (200, command_id)
    assert command(host, command_id).state == "failed"
    assert len(command(host, command_id).notes) == 1
    assert len(desk.events(EventKind.COMMAND_FAILED)) == 1


def test_e70_before_anything_was_fetched_is_heard_too_cm_6(host: Any) -> None:
    order = host.tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    executed(host, order.data["command_id"], {"success": False})
    assert command(host, order.data["command_id"]).state == "failed"


def test_e70_after_the_end_of_its_time_answers_and_changes_nothing_gr_4(desk: Desk, host: Any) -> None:
    order = host.tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    desk.tick(901)
    command_id = order.data["command_id"]
    assert executed(host, command_id, {"success": True}).status == 200
    assert command(host, command_id).state == "expired"


def test_e70_by_the_request_id_names_the_same_command(host: Any) -> None:
    command_id = switching(host)
    answer = executed(host, command(host, command_id).request_id, {"success": False})
    assert answer.data["command_id"] == command_id


def test_e70_of_an_unknown_or_anothers_command_is_404_link_by_link_2_3(desk: Desk, tenant: Tenant, host: Any) -> None:
    command_id = switching(host)
    sibling, foreign = desk.host("v4c", tenant, logical="api"), desk.host("v4c", desk.client("Other"))
    answers = [executed(host, NOBODY), executed(sibling, command_id), executed(foreign, command_id)]
    assert {refusal(one) for one in answers} == {(404, "NOT_FOUND")}
    assert len({one.body["error"] for one in answers}) == 1
    assert command(host, command_id).state == "executing"


# ---- E72


@pytest.mark.parametrize(("word", "state"), [("SUCCESS", "completed"), ("success", "completed"), ("COMPLETED", "completed"),
                                             ("FAILURE", "failed"), ("failed", "failed"), ("partial", "failed")])  # fmt: skip
def test_e72_a_result_in_any_spelling(modern: Any, word: str, state: str) -> None:
    item = pushed(modern)
    answer = acted(modern, request_id=item["request_id"], agent_id="ignored", result=word, cloud_instance_id=None,
                   error_message=None, metadata={})  # fmt: skip
    assert mirrored(answer) == {"success": True, "command_id": item["id"]}
    assert command(modern, item["id"]).state == state


@pytest.mark.parametrize("name", ["request_id", "command_id"])
def test_e72_the_command_may_be_named_by_either_id(modern: Any, name: str) -> None:
    item = pushed(modern)
    assert acted(modern, **{name: item[name], "result": "SUCCESS"}).data["command_id"] == item["id"]
    assert acted(modern, request_id=item["id"], result="SUCCESS").data["command_id"] == item["id"]


@pytest.mark.parametrize("result", ["SUCCESS", "FAILURE"])
def test_e72_an_unknown_request_id_is_200_for_an_error_makes_a_v5_back_off_cm_6(modern: Any, result: str) -> None:
    answer = acted(modern, request_id="never-heard-of", result=result)
    assert mirrored(answer) == {"success": True, "command_id": None, "matched": False}


def test_e72_anothers_command_is_unknown(desk: Desk, tenant: Tenant, modern: Any) -> None:
    item = pushed(modern)
    for other in (desk.host("v5", tenant), desk.host("v5", desk.client("Other"))):
        assert acted(other, request_id=item["request_id"], result="FAILURE").data["matched"] is False
    assert command(modern, item["id"]).state == "executing"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["request_id", "result"]), ({"result": "SUCCESS"}, ["request_id"]), ({"request_id": "x"}, ["result"]),
        ({"request_id": None, "result": None}, ["request_id", "result"]), ({"request_id": 7, "result": "SUCCESS"}, ["request_id"]),
        ({"request_id": "x", "result": "PERHAPS"}, ["result"]), ({"request_id": "x", "result": True}, ["result"]),
        ({"request_id": "x" * 129, "result": "SUCCESS"}, ["request_id"]), ({"request_id": "x", "result": "SUCCESS", "metadata": []}, ["metadata"]),
        ({"request_id": "x", "result": "SUCCESS", "cloud_instance_id": 7}, ["cloud_instance_id"]),
        ({"request_id": "x", "result": "FAILURE", "error_message": {}}, ["error_message"]),
    ],
)  # fmt: skip
def test_e72_a_malformed_result_names_its_fields(modern: Any, body: Any, fields: list[str]) -> None:
    assert problems(modern.post("/action-result", body)) == fields


@pytest.mark.parametrize("field", ["cloud_instance_id", "instance_id"])
def test_e72_of_a_launch_is_its_confirmation_when_e40_never_came(desk: Desk, modern: Any, field: str) -> None:
    item, machine = launching(modern), desk.new_machine()
    acted(modern, request_id=item["request_id"], result="SUCCESS", **{field: machine})
    assert modern.tenant.statuses(modern.agent_id)[machine] == "running_replica"
    assert [row["status"] for row in modern.get("/replicas").data["replicas"]] == ["ready"]


def test_e72_after_e40_only_adds_its_result(desk: Desk, modern: Any) -> None:
    item, machine = launching(modern), desk.new_machine()
    modern.launched(item, machine)
    assert modern.result(item, machine=machine).data["command_id"] == item["id"]
    assert len(desk.events(EventKind.INSTANCE_LAUNCH_CONFIRMED)) == 1
    assert len(modern.tenant.aggregate(modern.agent_id).instances) == 2


@pytest.mark.parametrize("machine", [None, "", "unknown", "i-pending-00000000"])
def test_e72_a_launch_without_a_machine_has_failed(modern: Any, machine: Any) -> None:
    item = launching(modern)
    acted(modern, request_id=item["request_id"], result="SUCCESS", cloud_instance_id=machine)
    assert command(modern, item["id"]).state == "failed"
    assert modern.get("/replicas").data["total"] == 0


def test_e72_drives_the_chain_of_a_switch_to_its_end_and_writes_its_record_t20(desk: Desk, modern: Any) -> None:
    item, machine = launching(modern, "primary"), desk.new_machine()
    acted(modern, request_id=item["request_id"], result="SUCCESS", cloud_instance_id=machine)
    assert modern.tenant.statuses(modern.agent_id) == {modern.machine: "zombie", machine: "running_primary"}
    [promote] = modern.commands()
    assert promote["params"] == {"replica_instance_id": machine, "old_primary_id": modern.machine}
    acted(
        modern, request_id=promote["request_id"], result="FAILURE", error_message="tags"
    )  # a warning, undone by nothing
    assert modern.tenant.primary(modern.agent_id) == machine
    desk.tick(301)
    [end] = modern.commands()
    assert (end["command_type"], end["params"]) == ("TERMINATE_INSTANCE", {"instance_id": modern.machine})
    acted(modern, request_id=end["request_id"], result="SUCCESS", cloud_instance_id=modern.machine)
    assert modern.tenant.statuses(modern.agent_id)[modern.machine] == "terminated"
    [record] = modern.tenant.aggregate(modern.agent_id).switches.values()
    assert (record.state, record.trigger, record.new_cloud_id) == ("completed", "manual", machine)


def test_e72_a_failed_launch_of_a_chain_leaves_the_primary_and_counts_sw_9(modern: Any) -> None:
    item = launching(modern, "primary")
    acted(modern, request_id=item["request_id"], result="FAILURE", error_message="no capacity")
    assert modern.tenant.primary(modern.agent_id) == modern.machine
    [record] = modern.tenant.aggregate(modern.agent_id).switches.values()
    assert record.state == "failed"


def test_e72_a_late_machine_of_a_launch_that_was_given_up_is_to_end_cm_6(desk: Desk, modern: Any) -> None:
    item, machine = launching(modern), desk.new_machine()
    acted(modern, request_id=item["request_id"], result="FAILURE")
    answer = acted(modern, request_id=item["request_id"], result="SUCCESS", cloud_instance_id=machine)
    assert answer.status == 200
    assert modern.tenant.statuses(modern.agent_id)[machine] == "terminating"
    assert command(modern, item["id"]).state == "failed"


def test_e72_with_another_tenants_machine_is_404_and_the_launch_stays_open_2_3(desk: Desk, modern: Any) -> None:
    foreign, item = desk.host("v5", desk.client("Other")), launching(modern)
    answer = acted(modern, request_id=item["request_id"], result="SUCCESS", cloud_instance_id=foreign.machine)
    assert refusal(answer) == (404, "NOT_FOUND")
    assert command(modern, item["id"]).state == "executing"
    assert foreign.tenant.statuses(foreign.agent_id) == {foreign.machine: "running_primary"}


# ---- E73


def test_e73_without_a_word_about_success_a_switch_that_left_no_trace_has_failed_t19(
    desk: Desk, tenant: Tenant
) -> None:
    host = desk.host("v2", tenant)
    command_id = switching(host)
    answer = host.post("/mark-command-executed", {"command_id": command_id})
    assert mirrored(answer) == {"success": True, "command_id": command_id}
    assert (command(host, command_id).state, command(host, command_id).failure_reason) == ("failed", "no switch report")


def test_e73_after_the_report_the_switch_is_completed_t19(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v2", tenant)
    command_id, machine = switching(host), desk.new_machine()
    host.switch_report(machine, "us-east-1a", "ondemand")
    host.post("/mark-command-executed", {"command_id": command_id})
    assert command(host, command_id).state == "completed"
    assert tenant.primary(host.agent_id) == machine


@pytest.mark.parametrize("body", [{"success": False}, {"success": 0}, {"status": "failed"}])
def test_e73_a_failure_that_is_said_is_one(desk: Desk, tenant: Tenant, body: Any) -> None:
    host = desk.host("v2", tenant)
    command_id = switching(host)
    host.post("/mark-command-executed", {"command_id": command_id, "message": "why", **body})
    assert (command(host, command_id).state, command(host, command_id).failure_reason) == ("failed", "why")


@pytest.mark.parametrize("value", [None, 7, True, [], {}, "x" * 129])
def test_e73_needs_a_command(host: Any, value: Any) -> None:
    assert problems(host.post("/mark-command-executed", {"command_id": value})) == ["command_id"]


def test_e73_of_anybody_elses_command_is_404(desk: Desk, tenant: Tenant, host: Any) -> None:
    command_id = switching(host)
    for other in (desk.host("v2", tenant, logical="api"), desk.host("v2", desk.client("Other"))):
        for name in (command_id, "none"):
            assert refusal(other.post("/mark-command-executed", {"command_id": name})) == (404, "NOT_FOUND")
    assert command(host, command_id).state == "executing"
