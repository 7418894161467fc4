"""E48, E49, E50: what a v4c says of the replica it launches. Every state × every word (RP-2…RP-10, RP-14, Z30)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.unit.endpoints.desk import ADMIN, Desk, mirrored, problems, refusal

STATES = ("launching", "syncing", "ready", "promoted", "failed", "terminated")
WORDS = ("launching", "syncing", "ready", "failed", "error", "terminated")


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    agent = desk.host("v4c", tenant, logical="web")
    tenant.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    return agent


@pytest.fixture
def replica(host: Any) -> str:
    return str(host.to_launch()[0]["id"])


def put(host: Any, replica: str, body: Any) -> Reply:
    answer: Reply = host.tenant.call("PUT", host.at(f"/replicas/{replica}"), body)
    return answer


def say(host: Any, replica: str, word: Any, **more: Any) -> Reply:
    answer: Reply = host.post(f"/replicas/{replica}/status", {"status": word, **more})
    return answer


def sync(host: Any, replica: str, body: Any) -> Reply:
    answer: Reply = host.post(f"/replicas/{replica}/sync-status", body)
    return answer


def row(host: Any, replica: str) -> Any:
    return host.tenant.aggregate(host.agent_id).replicas[replica]


def machine_of(host: Any, replica: str) -> Any:
    return host.tenant.aggregate(host.agent_id).instances[row(host, replica).instance_id]


def brought_to(desk: Desk, host: Any, replica: str, state: str, *, with_machine: bool = True) -> str | None:
    """The replica in that state; its machine if it has one."""
    machine = desk.new_machine() if with_machine and state != "launching" else None
    if machine is not None:
        put(host, replica, {"instance_id": machine})
    if state in ("ready", "promoted"):
        say(host, replica, "ready")
    if state == "promoted":
        host.post(f"/replicas/{replica}/promote", {})
    if state == "failed":
        say(host, replica, "failed")
    if state == "terminated":
        host.tenant.call("DELETE", host.at(f"/replicas/{replica}"))
    assert row(host, replica).state == state
    return machine


# ---- E48


def test_e48_a_machine_takes_the_placeholders_place_rp_2(desk: Desk, host: Any, replica: str) -> None:
    machine = desk.new_machine()
    answer = put(host, replica, {"instance_id": machine, "status": "syncing"})
    assert answer.status == 200
    assert mirrored(answer) == {"success": True, "replica_id": replica, "instance_id": machine, "status": "syncing"}
    assert (row(host, replica).state, machine_of(host, replica).status) == ("syncing", "running_replica")
    assert machine_of(host, replica).confirmed_at == desk.clock.now()


def test_e48_twice_is_the_same_and_sets_no_time_again(desk: Desk, host: Any, replica: str) -> None:
    machine = desk.new_machine()
    first = put(host, replica, {"instance_id": machine, "status": "syncing"})
    began = machine_of(host, replica).confirmed_at
    desk.clock.advance(30)
    again = put(host, replica, {"instance_id": machine, "status": "syncing"})
    assert (again.status, again.data) == (200, first.data)
    assert machine_of(host, replica).confirmed_at == began
    assert len(host.tenant.aggregate(host.agent_id).instances) == 2


def test_e48_a_second_machine_for_one_replica_is_to_end_and_the_first_stays_rp_10(
    desk: Desk, host: Any, replica: str
) -> None:
    first, second = desk.new_machine(), desk.new_machine()
    put(host, replica, {"instance_id": first})
    answer = put(host, replica, {"instance_id": second})
    assert (answer.status, answer.data["instance_id"]) == (200, first)
    assert host.tenant.statuses(host.agent_id)[second] == "terminating"
    assert {one["instance_id"] for one in host.get("/instances-to-terminate").data["instances"]} == {second}


@pytest.mark.parametrize("state", ["failed", "terminated"])
def test_e48_a_late_machine_revives_nothing_and_is_to_end(desk: Desk, host: Any, replica: str, state: str) -> None:
    brought_to(desk, host, replica, state, with_machine=False)
    late = desk.new_machine()
    answer = put(host, replica, {"instance_id": late, "status": "syncing"})
    assert (answer.status, answer.data["status"]) == (200, state)
    assert host.tenant.statuses(host.agent_id)[late] == "terminating"


@pytest.mark.parametrize(
    "body",
    [None, {}, {"instance_id": None}, {"status": None, "sync_status": None}, {"colour": "red"}, {"metadata": None}],
)
def test_e48_without_anything_said_is_refused(host: Any, replica: str, body: Any) -> None:
    assert problems(put(host, replica, body)) == ["body"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"instance_id": "unknown"}, "instance_id"), ({"instance_id": "replica-00000000"}, "instance_id"),
        ({"instance_id": "i-pending-00000000"}, "instance_id"), ({"instance_id": 7}, "instance_id"),
        ({"instance_id": "i-" + "x" * 127}, "instance_id"), ({"status": "promoted"}, "status"), ({"status": "gone"}, "status"),
        ({"status": 1}, "status"), ({"sync_status": []}, "sync_status"), ({"sync_status": "x" * 33}, "sync_status"),
        ({"sync_progress": 101}, "state_transfer_progress"), ({"sync_progress": -1}, "state_transfer_progress"),
        ({"state_transfer_progress": "50"}, "sync_progress"),
    ],
)  # fmt: skip
def test_e48_a_malformed_field_is_named_and_nothing_moves(host: Any, replica: str, body: Any, field: str) -> None:
    assert problems(put(host, replica, body)) == [field]
    assert row(host, replica).state == "launching"


def test_e48_progress_and_sync_words_are_kept_under_either_name(desk: Desk, host: Any, replica: str) -> None:
    body = {"instance_id": desk.new_machine(), "sync_status": "syncing", "sync_progress": 30, "metadata": {"a": 1}}
    assert put(host, replica, body).status == 200
    assert (row(host, replica).sync_status, row(host, replica).progress) == ("syncing", 30)
    put(host, replica, {"state_transfer_progress": 31, "sync_progress": 99})
    assert row(host, replica).progress in (31, 99)
    put(host, replica, {"sync_progress": 100})
    assert row(host, replica).state == "ready"


def test_e48_metadata_alone_is_a_field_and_changes_no_state(host: Any, replica: str) -> None:
    answer = put(host, replica, {"metadata": {"note": "x"}})
    assert (answer.status, answer.data["status"]) == (200, "launching")


def test_e48_another_tenants_machine_is_404_and_the_replica_waits_on_2_3(desk: Desk, host: Any, replica: str) -> None:
    foreign = desk.host("v4c", desk.client("Other"))
    assert refusal(put(host, replica, {"instance_id": foreign.machine})) == (404, "NOT_FOUND")
    assert row(host, replica).state == "launching"
    assert foreign.tenant.statuses(foreign.agent_id) == {foreign.machine: "running_primary"}
    assert [one["id"] for one in host.to_launch()] == [replica]


def test_e48_the_agents_own_primary_is_no_replica_of_itself(host: Any, replica: str) -> None:
    assert refusal(put(host, replica, {"instance_id": host.machine})) == (409, "STATE_CONFLICT")
    assert host.tenant.primary(host.agent_id) == host.machine
    assert machine_of(host, replica).cloud_id != host.machine


# ---- E49: every state × every word

CONFIRMS = {("failed", "terminated")}  # the end of its machine: no step, and no news to ignore
MOVES = {  # (state, word): the state after; all others stay where they are and are ignored
    ("launching", "failed"): "failed", ("launching", "error"): "failed", ("launching", "terminated"): "terminated",
    ("syncing", "ready"): "ready", ("syncing", "failed"): "failed", ("syncing", "error"): "failed",
    ("syncing", "terminated"): "terminated", ("ready", "failed"): "failed", ("ready", "error"): "failed",
    ("ready", "terminated"): "terminated",
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("word", WORDS)
def test_e49_only_forward_steps_count_and_the_rest_is_200_ignored_rp_10(
    desk: Desk, host: Any, replica: str, state: str, word: str
) -> None:
    brought_to(desk, host, replica, state)
    answer = say(host, replica, word)
    assert answer.status == 200
    data = mirrored(answer)
    after = MOVES.get((state, word), state)
    canonical = "failed" if word == "error" else word
    assert (data["success"], data["replica_id"], data["status"]) == (True, replica, after)
    assert row(host, replica).state == after
    is_repeat = canonical == state
    counts = (state, word) in MOVES or (state, word) in CONFIRMS
    assert data.get("ignored") is (None if counts or is_repeat else True)


def test_e49_ready_without_a_machine_is_ignored(host: Any, replica: str) -> None:
    answer = say(host, replica, "ready", sync_completed_at="2026-03-02T12:00:00+00:00")
    assert (answer.status, answer.data["status"], answer.data["ignored"]) == (200, "launching", True)


@pytest.mark.parametrize("value", ["promoted", "gone", "", None, 7, True, [], {}, "x" * 33])
def test_e49_any_other_word_is_400_for_promoted_is_the_servers_to_say(host: Any, replica: str, value: Any) -> None:
    assert problems(say(host, replica, value)) == ["status"]


def test_e49_without_a_word_is_400(host: Any, replica: str) -> None:
    assert problems(host.post(f"/replicas/{replica}/status", {"is_active": False})) == ["status"]
    assert problems(host.post(f"/replicas/{replica}/status")) == ["status"]


def test_e49_words_are_read_in_any_case(desk: Desk, host: Any, replica: str) -> None:
    brought_to(desk, host, replica, "syncing")
    assert say(host, replica, "READY").data["status"] == "ready"


def test_e49_ready_sets_its_time_once(desk: Desk, host: Any, replica: str) -> None:
    brought_to(desk, host, replica, "ready")
    first = row(host, replica).ready_at
    desk.clock.advance(60)
    assert say(host, replica, "ready").status == 200
    assert row(host, replica).ready_at == first


def test_e49_is_active_and_times_are_derived_and_never_taken_from_the_agent(
    desk: Desk, host: Any, replica: str
) -> None:
    brought_to(desk, host, replica, "syncing")
    say(host, replica, "ready", is_active=False, sync_completed_at="junk", sync_started_at=7, terminated_at=[])
    [item] = host.get("/replicas").data["replicas"]
    assert (item["is_active"], item["status"]) == (True, "ready")


@pytest.mark.parametrize("field", ["error_message", "message", "error"])
def test_e49_a_failure_says_why_under_any_name_and_people_hear_it(
    desk: Desk, host: Any, replica: str, field: str
) -> None:
    say(host, replica, "failed", **{field: "no capacity"})
    [event] = desk.events(EventKind.REPLICA_FAILED)
    assert "no capacity" in repr(event.facts)
    assert any(one.severity == "warning" for one in desk.tables.notifications.values())


@pytest.mark.parametrize("state", ["syncing", "ready"])
def test_e49_a_failed_replicas_machine_is_to_end_rp_14(desk: Desk, host: Any, replica: str, state: str) -> None:
    machine = brought_to(desk, host, replica, state)
    say(host, replica, "failed")
    assert host.tenant.statuses(host.agent_id)[machine] == "terminating"
    assert [one["instance_id"] for one in host.to_end()] == [machine]


def test_e49_terminated_is_the_confirmation_that_ends_both_listings(desk: Desk, host: Any, replica: str) -> None:
    machine = brought_to(desk, host, replica, "terminated")
    assert [one["instance_id"] for one in host.to_end()] == [machine]
    say(host, replica, "terminated", is_active=False, terminated_at="2026-03-02T12:00:00+00:00")
    assert host.tenant.statuses(host.agent_id)[machine] == "terminated"
    assert host.to_end() == []
    assert host.get("/instances-to-terminate").data["instances"] == []


def test_e49_terminated_never_ends_a_promoted_replicas_machine_rp_11(desk: Desk, host: Any, replica: str) -> None:
    machine = brought_to(desk, host, replica, "promoted")
    assert say(host, replica, "terminated").data["ignored"] is True
    assert host.tenant.primary(host.agent_id) == machine


# ---- E50


@pytest.mark.parametrize(
    ("body", "status", "latency", "progress"),
    [
        ({"sync_status": "synced"}, "synced", None, None), ({"sync_state": "out-of-sync"}, "out-of-sync", None, None),
        ({"sync_latency_ms": 12}, None, 12, None), ({"sync_latency_ms": 0}, None, 0, None),
        ({"state_transfer_progress": 0}, None, None, 0), ({"sync_progress": 99.5}, None, None, 99.5),
        ({"sync_status": "syncing", "sync_latency_ms": 7, "state_transfer_progress": 50}, "syncing", 7, 50),
        ({"estimated_completion": "2026-03-02T13:00:00Z"}, None, None, None), ({"bytes_synced": 1}, None, None, None),
        ({"total_bytes": 10, "sync_status": None}, None, None, None),
    ],
)  # fmt: skip
def test_e50_keeps_what_is_said_and_derives_no_state_from_it(
    desk: Desk, host: Any, replica: str, body: Any, status: Any, latency: Any, progress: Any
) -> None:
    brought_to(desk, host, replica, "syncing")
    answer = sync(host, replica, body)
    assert mirrored(answer) == {"success": True}
    assert answer.body["message"]
    found = row(host, replica)
    assert (found.state, found.sync_status, found.sync_latency_ms) == ("syncing", status, latency)
    assert found.progress is None if progress is None else float(found.progress) == progress


@pytest.mark.parametrize("progress", [100, 100.0])
def test_e50_at_100_a_syncing_replica_is_ready_rp_3(desk: Desk, host: Any, replica: str, progress: Any) -> None:
    brought_to(desk, host, replica, "syncing")
    sync(host, replica, {"state_transfer_progress": progress})
    assert row(host, replica).state == "ready"


@pytest.mark.parametrize("state", ["launching", "promoted", "failed", "terminated"])
def test_e50_at_100_nothing_else_becomes_ready(desk: Desk, host: Any, replica: str, state: str) -> None:
    brought_to(desk, host, replica, state, with_machine=state == "promoted")
    assert sync(host, replica, {"state_transfer_progress": 100}).status == 200
    assert row(host, replica).state == state


@pytest.mark.parametrize("body", [None, {}, {"sync_status": None}, {"colour": "red"}, {"sync_latency_ms": None}])
def test_e50_without_anything_said_is_refused(host: Any, replica: str, body: Any) -> None:
    assert problems(sync(host, replica, body)) == ["body"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"sync_status": 7}, "sync_status"), ({"sync_latency_ms": 1.5}, "sync_latency_ms"), ({"sync_latency_ms": "1"}, "sync_latency_ms"),
        ({"state_transfer_progress": 100.01}, "state_transfer_progress"), ({"sync_progress": -0.1}, "state_transfer_progress"),
        ({"state_transfer_progress": True}, "state_transfer_progress"), ({"status": "promoted"}, "status"), ({"status": 5}, "status"),
    ],
)  # fmt: skip
def test_e50_a_malformed_field_is_named(host: Any, replica: str, body: Any, field: str) -> None:
    assert problems(sync(host, replica, body)) == [field]


def test_e50_a_word_of_state_counts_as_in_e49(desk: Desk, host: Any, replica: str) -> None:
    brought_to(desk, host, replica, "syncing")
    sync(host, replica, {"status": "ready"})
    assert row(host, replica).state == "ready"


def test_e50_the_operator_may_report_too_and_agents_alone_e48_and_e49(desk: Desk, host: Any, replica: str) -> None:
    path = host.at(f"/replicas/{replica}")
    assert desk.call("POST", path + "/sync-status", {"sync_status": "syncing"}, token=ADMIN).status == 200
    assert refusal(desk.call("PUT", path, {"status": "syncing"}, token=ADMIN)) == (401, "INVALID_TOKEN")
    assert refusal(desk.call("POST", path + "/status", {"status": "ready"}, token=ADMIN)) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize(("method", "rest", "body"), [("PUT", "", {"status": "syncing"}), ("POST", "/sync-status", {"sync_status": "x"}),
                                                      ("POST", "/status", {"status": "ready"})])  # fmt: skip
def test_z25_of_a_retiring_agent_only_the_end_is_heard(
    desk: Desk, tenant: Tenant, host: Any, replica: str, method: str, rest: str, body: Any
) -> None:
    brought_to(desk, host, replica, "ready")
    tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    path = host.at(f"/replicas/{replica}")
    assert refusal(tenant.call(method, path + rest, body)) == (404, "NOT_FOUND")
    assert tenant.call("POST", path + "/status", {"status": "terminated"}).status == 200
