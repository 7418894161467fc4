"""E43…E47: replicas as agents read them and people order, promote and delete them (T13, T14, I2, PR-1…PR-7, RP-8)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import POOLS, TYPE
from tests.unit.endpoints.desk import ADMIN, NOBODY, Desk, mirrored, problems, refusal

A, B, C = (f"{TYPE}.us-east-1{zone}" for zone in "abc")
LISTED = {
    "id": str, "instance_id": str, "type": str, "status": str, "sync_status": str, "sync_latency_ms": type(None),
    "state_transfer_progress": int, "pool": dict, "pool_id": str, "az": str, "cost": dict, "created_by": str,
    "created_at": str, "ready_at": type(None), "terminated_at": type(None), "is_active": bool, "age_seconds": int,
    "tags": dict,
}  # fmt: skip


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def settings(host: Any, **wanted: Any) -> None:
    assert host.tenant.post(f"/api/client/agents/{host.agent_id}/settings", wanted).status == 200


def replicas(host: Any, query: str = "") -> list[Any]:
    found: list[Any] = mirrored(host.get(f"/replicas{query}"))["replicas"]
    return found


def create(host: Any, body: Any = None, **more: Any) -> Reply:
    answer: Reply = host.post("/replicas", body, **more)
    return answer


def free(host: Any) -> None:
    """Manual mode in the moment before its next replica: the last one failed, and the next is due in a while."""
    settings(host, manual_replica_enabled=True)
    for _ in range(2):
        [entry] = replicas(host)
        host.post(f"/replicas/{entry['id']}/status", {"status": "failed"})
    assert replicas(host) == []


def standby(desk: Desk, host: Any, *, ready: bool = True) -> tuple[str, str]:
    """A manual replica's id and machine."""
    settings(host, manual_replica_enabled=True)
    [entry] = host.to_launch()
    machine = desk.new_machine()
    host.launch_replica(entry, machine, ready=ready)
    return entry["id"], machine


def promote(host: Any, replica_id: str, body: Any = None, **more: Any) -> Reply:
    answer: Reply = host.post(f"/replicas/{replica_id}/promote", {} if body is None else body, **more)
    return answer


# ---- E43


def test_e43_an_item_has_these_fields_and_types(host: Any) -> None:
    settings(host, manual_replica_enabled=True)
    data = mirrored(host.get("/replicas"))
    assert set(data) == {"replicas", "total"}
    assert data["total"] == 1
    [item] = data["replicas"]
    assert {name: type(value) for name, value in item.items()} == LISTED
    assert item["instance_id"] == "replica-" + item["id"].replace("-", "")[:8]  # 1.4
    assert (item["type"], item["status"], item["sync_status"]) == ("manual", "launching", "initializing")
    assert (item["pool_id"], item["az"], item["is_active"]) == (B, "us-east-1b", True)
    assert item["pool"] == {
        "id": B, "name": f"Pool {B}", "instance_type": TYPE, "region": "us-east-1", "az": "us-east-1b",
    }  # fmt: skip
    assert item["created_by"] in ("user", "system")
    assert (item["created_at"], item["age_seconds"], item["tags"]) == ("2026-03-02T12:00:00Z", 0, {})


def test_e43_follows_a_replica_through_its_life(desk: Desk, host: Any) -> None:
    replica_id, machine = standby(desk, host, ready=False)
    desk.clock.advance(42)
    [item] = replicas(host)
    assert (item["status"], item["sync_status"], item["instance_id"], item["age_seconds"]) == (
        "syncing", "syncing", machine, 42,
    )  # fmt: skip
    body = {"sync_status": "syncing", "sync_latency_ms": 12, "state_transfer_progress": 40.5}
    host.post(f"/replicas/{replica_id}/sync-status", body)
    [item] = replicas(host)
    assert (item["sync_latency_ms"], item["state_transfer_progress"]) == (12, 40.5)
    host.post(f"/replicas/{replica_id}/status", {"status": "ready"})
    [item] = replicas(host)
    assert (item["status"], item["ready_at"]) == ("ready", "2026-03-02T12:00:42Z")
    desk.clock.advance(121)
    assert replicas(host)[0]["sync_status"] == "out-of-sync"  # silent for more than 120 s (RP-6)


def test_e43_a_ready_replica_that_never_reported_reads_synced_and_100(desk: Desk, host: Any) -> None:
    standby(desk, host)
    [item] = replicas(host)
    assert (item["sync_status"], item["state_transfer_progress"], item["sync_latency_ms"]) == ("synced", 100, None)


def test_e43_launching_lists_only_what_has_no_machine_and_reading_changes_nothing_t14(desk: Desk, host: Any) -> None:
    settings(host, manual_replica_enabled=True)
    first = replicas(host, "?status=launching")
    assert replicas(host, "?status=launching") == first
    assert len(first) == 1
    put = host.tenant.call("PUT", host.at(f"/replicas/{first[0]['id']}"), {"instance_id": desk.new_machine()})
    assert put.status == 200
    assert replicas(host, "?status=launching") == []
    assert len(replicas(host)) == 1


def test_e43_terminated_lists_a_real_machine_until_its_end_is_confirmed_c14(desk: Desk, host: Any) -> None:
    replica_id, machine = standby(desk, host)
    settings(host, manual_replica_enabled=False)
    [item] = replicas(host, "?status=terminated")
    assert (item["id"], item["instance_id"], item["is_active"], item["status"]) == (
        replica_id, machine, False, "terminated",
    )  # fmt: skip
    assert replicas(host) == []
    host.post(f"/replicas/{replica_id}/status", {"status": "terminated"})
    assert replicas(host, "?status=terminated") == []


def test_e43_a_replica_that_never_had_a_machine_is_never_listed_for_ending_t13(host: Any) -> None:
    settings(host, manual_replica_enabled=True)
    settings(host, manual_replica_enabled=False)
    assert replicas(host, "?status=terminated") == []


@pytest.mark.parametrize(("query", "count"), [("", 1), ("?include_terminated=true", 2), ("?include_terminated=1", 2),
                                              ("?include_terminated=false", 1), ("?status=failed", 1),
                                              ("?status=error", 1), ("?status=FAILED", 1), ("?status=ready", 0),
                                              ("?status=syncing", 0), ("?status=promoted", 0), ("?status=", 1),
                                              ("?colour=red", 1)])  # fmt: skip
def test_e43_filters(host: Any, query: str, count: int) -> None:
    settings(host, manual_replica_enabled=True)
    [entry] = replicas(host)
    host.post(f"/replicas/{entry['id']}/status", {"status": "error", "error_message": "no capacity"})
    found = mirrored(host.get(f"/replicas{query}"))
    assert (len(found["replicas"]), found["total"]) == (count, count)


@pytest.mark.parametrize("query", ["?status=gone", "?status=launching,ready", "?include_terminated=perhaps"])
def test_e43_an_unknown_word_is_refused_by_name(host: Any, query: str) -> None:
    assert problems(host.get(f"/replicas{query}")) == [query[1:].partition("=")[0]]


def test_e43_the_operator_may_look_and_a_stranger_sees_nothing(desk: Desk, host: Any) -> None:
    settings(host, manual_replica_enabled=True)
    path = host.at("/replicas")
    assert desk.call("GET", path, token=ADMIN).data["total"] == 1
    assert refusal(desk.client("Other").get(path)) == (404, "NOT_FOUND")


def test_e43_a_v5_finds_nothing_to_launch_there_because_it_is_sent_a_command(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    settings(host, manual_replica_enabled=True)
    assert replicas(host, "?status=launching") == []
    assert len(replicas(host)) == 1


# ---- E44


@pytest.mark.parametrize(("wanted", "enabled", "manual_mode", "count"), [
    ({}, False, False, 0), ({"replica_enabled": True}, True, False, 0), ({"manual_replica_enabled": True}, True, True, 1),
])  # fmt: skip
def test_e44_says_what_the_settings_mean(host: Any, wanted: Any, enabled: bool, manual_mode: bool, count: int) -> None:
    settings(host, **wanted)
    assert mirrored(host.get("/replica-config")) == {
        "enabled": enabled, "count": count, "manual_replica_enabled": manual_mode, "auto_create_replica": manual_mode,
        "preferred_replica_pools": [], "replica_sync_required": False, "min_sync_percentage": 95,
    }  # fmt: skip


# ---- E45, by people


def test_e45_answers_201_with_the_placeholder_the_pool_and_its_price(desk: Desk, host: Any) -> None:
    free(host)
    answer = create(host, {"pool_id": C, "tags": {"team": "web"}})
    assert answer.status == 201
    data = mirrored(answer)
    [item] = replicas(host)
    assert data == {
        "success": True, "replica_id": item["id"], "instance_id": item["instance_id"], "pool": item["pool"],
        "hourly_cost": POOLS["us-east-1c"], "status": "launching",
    }  # fmt: skip
    assert answer.body["status"] == "success"
    assert item["tags"] == {"team": "web"}
    assert desk.events(EventKind.REPLICA_CREATED)[-1].facts["replica_id"] == item["id"]


@pytest.mark.parametrize(
    ("body", "pool_id"),
    [
        (None, B), ({}, B), ({"pool_id": None}, B), ({"pool_id": C}, C), ({"target_pool": C}, C), ({"target_pool_id": C}, C),
        ({"pool_id": C, "target_pool": B}, C), ({"exclude_zones": ["us-east-1b"]}, C), ({"exclude_zones": []}, B),
        ({"max_hourly_cost": 0.0125}, B), ({"max_hourly_cost": 1}, B), ({"instance_type": TYPE}, B),
        ({"replica_type": "manual", "status": "launching", "created_by": "me", "sync_data": {}, "parent_instance_id": "i-0z"}, B),
        ({"instance_id": "unknown"}, B), ({"instance_id": "replica-00000000"}, B), ({"tags": None, "type": "manual"}, B),
    ],
)  # fmt: skip
def test_e45_places_the_replica_in_the_named_pool_or_the_cheapest_other(host: Any, body: Any, pool_id: str) -> None:
    free(host)
    answer = create(host, body)
    assert (answer.status, answer.data["pool"]["id"]) == (201, pool_id)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"pool_id": 7}, "pool_id"), ({"pool_id": "x" * 129}, "pool_id"), ({"pool_id": "junk"}, "pool_id"),
        ({"instance_id": 7}, "instance_id"), ({"instance_type": []}, "instance_type"), ({"exclude_zones": "b"}, "exclude_zones"),
        ({"exclude_zones": [1]}, "exclude_zones"), ({"max_hourly_cost": 0}, "max_hourly_cost"),
        ({"max_hourly_cost": -1}, "max_hourly_cost"), ({"max_hourly_cost": "1"}, "max_hourly_cost"), ({"tags": []}, "tags"),
        ({"replica_type": 5}, "replica_type"),
    ],
)  # fmt: skip
def test_e45_a_malformed_field_is_named_and_nothing_is_made(host: Any, body: Any, field: str) -> None:
    free(host)
    assert problems(create(host, body)) == [field]
    assert replicas(host) == []


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"pool_id": "t3.large.us-east-1b"}, (400, "POOL_MISMATCH")), ({"pool_id": "t3.medium.us-west-2b"}, (400, "POOL_MISMATCH")),
        ({"instance_type": "t3.large"}, (400, "POOL_MISMATCH")), ({"pool_id": f"{TYPE}.us-east-1f"}, (404, "NOT_FOUND")),
        ({"max_hourly_cost": 0.0124}, (400, "NO_SUITABLE_POOL")),
        ({"exclude_zones": ["us-east-1a", "us-east-1b", "us-east-1c"]}, (400, "NO_SUITABLE_POOL")),
    ],
)  # fmt: skip
def test_e45_where_no_replica_can_be(host: Any, body: Any, refused: tuple[int, str]) -> None:
    free(host)
    assert refusal(create(host, body)) == refused
    assert replicas(host) == []


def test_e45_outside_manual_mode_is_refused(host: Any) -> None:
    assert refusal(create(host, {"pool_id": B})) == (400, "MANUAL_REPLICA_DISABLED")


def test_e45_beside_a_live_replica_is_refused_whatever_its_kind_i2(host: Any) -> None:
    settings(host, manual_replica_enabled=True)
    assert refusal(create(host, {"pool_id": C})) == (400, "REPLICA_EXISTS")
    assert len(replicas(host)) == 1


def test_e45_of_an_offline_agent_is_404(host: Any) -> None:
    free(host)
    host.stop()
    assert refusal(create(host, {"pool_id": B})) == (404, "NOT_FOUND")


@pytest.mark.parametrize("build", ["v2", "v4n"])
def test_e45_no_row_is_made_for_a_build_that_cannot_launch_z27(desk: Desk, tenant: Tenant, build: str) -> None:
    host = desk.host(build, tenant)
    settings(host, manual_replica_enabled=True)
    assert refusal(desk.call("POST", host.at("/replicas"), {}, token=ADMIN)) == (400, "UNSUPPORTED_OPERATION")
    assert not tenant.aggregate(host.agent_id).replicas


# ---- E45, by a v4c that has launched already


def launched(host: Any, machine: str, **more: Any) -> Reply:
    body = {"instance_id": machine, "replica_type": "manual", "parent_instance_id": host.machine, "pool_id": C,
            "status": "launching"}  # fmt: skip
    return create(host, {**body, **more})


def test_e45_a_machine_that_runs_already_is_taken_outside_manual_mode_too(desk: Desk, host: Any) -> None:
    machine = desk.new_machine()
    answer = launched(host, machine)
    assert (answer.status, answer.data["instance_id"], answer.data["status"]) == (201, machine, "syncing")
    [item] = replicas(host)
    assert (item["instance_id"], item["pool_id"], item["status"]) == (machine, C, "syncing")
    assert host.tenant.statuses(host.agent_id)[machine] == "running_replica"


def test_e45_the_same_machine_twice_is_one_replica_id_6(desk: Desk, host: Any) -> None:
    machine = desk.new_machine()
    first, again = launched(host, machine), launched(host, machine)
    assert first.data["replica_id"] == again.data["replica_id"]
    assert len(replicas(host)) == 1


def test_e45_a_machine_in_a_pool_nobody_has_reported_is_kept_for_it_runs(desk: Desk, host: Any) -> None:
    answer = launched(host, desk.new_machine(), pool_id=f"{TYPE}.us-east-1f")
    assert (answer.status, answer.data["pool"]["az"], answer.data["hourly_cost"]) == (201, "us-east-1f", None)


def test_e45_another_tenants_machine_is_404_and_nothing_changes_2_3(desk: Desk, host: Any) -> None:
    foreign = desk.host("v4c", desk.client("Other"))
    assert refusal(launched(host, foreign.machine)) == (404, "NOT_FOUND")
    assert replicas(host) == []
    assert foreign.tenant.statuses(foreign.agent_id) == {foreign.machine: "running_primary"}


def test_e45_the_agents_own_primary_is_no_replica_of_itself(host: Any) -> None:
    assert refusal(launched(host, host.machine)) == (409, "STATE_CONFLICT")
    assert replicas(host) == []


# ---- E46


def test_e46_moves_the_role_and_names_both_machines(desk: Desk, host: Any) -> None:
    replica_id, machine = standby(desk, host)
    answer = promote(host, replica_id)
    assert answer.status == 200
    assert mirrored(answer) == {
        "success": True, "new_instance_id": machine, "new_primary_id": machine, "old_instance_id": host.machine,
        "demoted": False, "switch_time": "2026-03-02T12:00:00Z",
    }  # fmt: skip
    assert host.tenant.statuses(host.agent_id)[host.machine] == "zombie"
    assert host.tenant.primary(host.agent_id) == machine
    assert len(desk.events(EventKind.REPLICA_PROMOTED)) == 1
    [switch] = host.tenant.aggregate(host.agent_id).switches.values()
    assert switch.trigger == "manual_promotion"


def test_e46_repeated_gives_the_stored_result_and_no_second_switch_pr_2(desk: Desk, host: Any) -> None:
    replica_id, _ = standby(desk, host)
    first = promote(host, replica_id)
    desk.clock.advance(60)
    again = promote(host, replica_id)
    assert (again.status, again.data) == (200, first.data)
    assert len(host.tenant.aggregate(host.agent_id).switches) == 1


@pytest.mark.parametrize("value", [True, 1])
def test_e46_the_old_primary_may_become_the_next_replica_in_9(desk: Desk, host: Any, value: Any) -> None:
    replica_id, machine = standby(desk, host)
    answer = promote(host, replica_id, {"demote_old_primary": value})
    assert (answer.data["demoted"], answer.data["new_instance_id"]) == (True, machine)
    assert host.tenant.statuses(host.agent_id) == {host.machine: "running_replica", machine: "running_primary"}
    [item] = replicas(host)
    assert (item["instance_id"], item["status"]) == (host.machine, "ready")


@pytest.mark.parametrize("body", [None, {}, {"demote_old_primary": None}, {"demote_old_primary": False},
                                  {"wait_for_sync": True}, {"wait_for_sync": "junk"}])  # fmt: skip
def test_e46_without_a_wish_the_old_primary_is_a_zombie_c26(desk: Desk, host: Any, body: Any) -> None:
    replica_id, _ = standby(desk, host)
    assert promote(host, replica_id, body).data["demoted"] is False


@pytest.mark.parametrize("value", ["yes", 2, [], {}])
def test_e46_a_wish_is_a_boolean(desk: Desk, host: Any, value: Any) -> None:
    replica_id, _ = standby(desk, host)
    assert problems(promote(host, replica_id, {"demote_old_primary": value})) == ["demote_old_primary"]
    assert host.tenant.primary(host.agent_id) == host.machine


def test_e46_a_replica_without_a_machine_is_not_ready_and_says_how_far_it_is_mr_14(host: Any) -> None:
    settings(host, manual_replica_enabled=True)
    [entry] = replicas(host)
    answer = promote(host, entry["id"])
    assert refusal(answer) == (400, "REPLICA_NOT_READY")
    assert answer.body["details"] == {"status": "launching", "progress": 0}


def test_e46_syncing_is_enough_while_no_sync_was_ever_reported_z7(desk: Desk, host: Any) -> None:
    replica_id, machine = standby(desk, host, ready=False)
    assert promote(host, replica_id).data["new_instance_id"] == machine


def test_e46_syncing_with_reports_is_not_ready_and_the_details_show_progress(desk: Desk, host: Any) -> None:
    replica_id, _ = standby(desk, host, ready=False)
    host.post(f"/replicas/{replica_id}/sync-status", {"state_transfer_progress": 60})
    answer = promote(host, replica_id)
    assert refusal(answer) == (400, "REPLICA_NOT_READY")
    assert answer.body["details"] == {"status": "syncing", "progress": 60}
    assert host.tenant.primary(host.agent_id) == host.machine


@pytest.mark.parametrize("end", ["deleted", "failed"])
def test_e46_an_ended_replica_is_not_promotable(desk: Desk, host: Any, end: str) -> None:
    replica_id, _ = standby(desk, host)
    if end == "deleted":
        host.tenant.call("DELETE", host.at(f"/replicas/{replica_id}"))
    else:
        host.post(f"/replicas/{replica_id}/status", {"status": "failed"})
    assert refusal(promote(host, replica_id)) == (409, "REPLICA_NOT_PROMOTABLE")


def test_e46_in_manual_mode_the_next_replica_follows_at_once_mr_2(desk: Desk, host: Any) -> None:
    replica_id, _ = standby(desk, host)
    promote(host, replica_id)
    [item] = replicas(host)
    assert (item["status"], item["type"]) == ("launching", "manual")


def test_e46_a_v5_is_told_to_set_its_tags(desk: Desk, tenant: Tenant) -> None:
    host = desk.host("v5", tenant)
    tenant.post("/api/client/instances/launch", {"agent_id": host.agent_id})
    [item] = host.commands()
    machine = desk.new_machine()
    host.launched(item, machine)
    host.result(item, machine=machine)
    [replica] = replicas(host)
    promote(host, replica["id"])
    [command] = host.commands()
    assert (command["command_type"], command["priority"]) == ("PROMOTE_REPLICA_TO_PRIMARY", 100)
    assert command["params"] == {"replica_instance_id": machine, "old_primary_id": host.machine}


# ---- E47


def test_e47_ends_the_replica_and_says_that_manual_mode_sends_another_mr_5(desk: Desk, host: Any) -> None:
    replica_id, machine = standby(desk, host)
    answer = host.tenant.call("DELETE", host.at(f"/replicas/{replica_id}"))
    assert answer.status == 200
    assert mirrored(answer) == {"success": True, "replica_id": replica_id, "terminated_at": "2026-03-02T12:00:00Z"}
    assert "manual replica mode" in answer.body["message"]
    assert host.tenant.statuses(host.agent_id)[machine] == "terminating"
    assert [row["status"] for row in replicas(host)] == ["launching"]
    assert len(desk.events(EventKind.REPLICA_TERMINATED)) == 1


def test_e47_of_an_emergency_replica_promises_no_other(host: Any) -> None:
    host.rebalance()
    [entry] = host.to_launch()
    answer = host.tenant.call("DELETE", host.at(f"/replicas/{entry['id']}"))
    assert answer.status == 200
    assert "another" not in answer.body["message"]


def test_e47_twice_is_inactive(desk: Desk, host: Any) -> None:
    replica_id, _ = standby(desk, host)
    host.tenant.call("DELETE", host.at(f"/replicas/{replica_id}"))
    assert refusal(host.tenant.call("DELETE", host.at(f"/replicas/{replica_id}"))) == (400, "REPLICA_INACTIVE")


def test_e47_a_promoted_replica_is_no_longer_one_rp_11(desk: Desk, host: Any) -> None:
    replica_id, machine = standby(desk, host)
    promote(host, replica_id)
    assert refusal(host.tenant.call("DELETE", host.at(f"/replicas/{replica_id}"))) == (400, "REPLICA_INACTIVE")
    assert host.tenant.primary(host.agent_id) == machine


# ---- every link of the path is checked (2.3)


@pytest.mark.parametrize(("method", "rest", "body"), [
    ("POST", "/promote", {}), ("DELETE", "", None), ("PUT", "", {"status": "syncing"}), ("POST", "/status", {"status": "ready"}),
    ("POST", "/sync-status", {"sync_status": "synced"}),
])  # fmt: skip
def test_a_replica_of_another_agent_or_tenant_is_unknown(
    desk: Desk, tenant: Tenant, host: Any, method: str, rest: str, body: Any
) -> None:
    replica_id, machine = standby(desk, host)
    sibling, stranger = desk.host("v4c", tenant, logical="api"), desk.host("v4c", desk.client("Other"))
    before = tenant.aggregate(host.agent_id)
    texts = set()
    for caller, agent in ((tenant, sibling), (stranger.tenant, stranger), (stranger.tenant, host)):
        answer = caller.call(method, agent.at(f"/replicas/{replica_id}{rest}"), body)
        assert refusal(answer) == (404, "NOT_FOUND")
        texts.add(answer.body["error"])
    unknown = tenant.call(method, host.at(f"/replicas/{NOBODY}{rest}"), body)
    assert refusal(unknown) == (404, "NOT_FOUND")
    assert texts == {unknown.body["error"], "unknown agent"}
    assert tenant.aggregate(host.agent_id).replicas == before.replicas
    assert tenant.statuses(host.agent_id)[machine] == "running_replica"
