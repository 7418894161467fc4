"""E69 and E71: what an agent is handed, in which order, once (4.2, 7.9, CM-3…CM-9, T04, T07, T08, T10, T11, Z13, Z31)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.server import Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import CREATED, Desk, mirrored, problems, refusal

ITEM = {
    "id", "command_id", "command_type", "instance_id", "target_mode", "target_pool_id", "request_id", "priority",
    "terminate_wait_seconds", "terminate_old", "params", "metadata", "created_at", "expires_at",
}  # fmt: skip
NEVER_NULL = ITEM - {"instance_id", "target_mode", "target_pool_id", "expires_at"}
CLASSIC, MODERN = "/pending-commands", "/commands/pending"


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


@pytest.fixture
def modern(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v5", tenant)


def switch(host: Any, **target: Any) -> str:
    answer = host.tenant.post(f"/api/client/instances/{host.machine}/force-switch", target or {"target": "ondemand"})
    assert answer.data["success"] is True, answer
    return str(answer.data["command_id"])


def settings(host: Any, **wanted: Any) -> None:
    assert host.tenant.post(f"/api/client/agents/{host.agent_id}/settings", wanted).status == 200


def replica(desk: Desk, modern: Any) -> str:
    """The machine of a ready replica of a v5."""
    modern.tenant.post("/api/client/instances/launch", {"agent_id": modern.agent_id})
    [item] = [one for one in modern.commands() if one["command_type"] == "LAUNCH_INSTANCE"]
    machine = desk.new_machine()
    modern.launched(item, machine)
    modern.result(item, machine=machine)
    return machine


def seconds(item: Any) -> float:
    """How long the command lives."""
    return (datetime.fromisoformat(item["expires_at"]) - datetime.fromisoformat(item["created_at"])).total_seconds()


@pytest.mark.parametrize("path", [CLASSIC, MODERN])
@pytest.mark.parametrize("build", ["v2", "v4c", "v4n", "v5"])
def test_an_agent_with_nothing_to_do_gets_an_empty_list_in_an_object_t03(
    desk: Desk, tenant: Tenant, build: str, path: str
) -> None:
    host = desk.host(build, tenant)
    assert mirrored(host.get(path)) == {"commands": []}


@pytest.mark.parametrize("path", [CLASSIC, MODERN])
def test_the_legacy_shape_keeps_the_object_for_it_is_no_list_endpoint(host: Any, path: str) -> None:
    answer = host.tenant.get(host.at(path), headers={"X-Response-Shape": "legacy"})
    assert answer.body == {"commands": []}


def test_a_switch_has_every_key_and_no_null_where_agents_count_t04_t10(host: Any) -> None:
    command_id = switch(host, target="pool", pool_id=f"{TYPE}.us-east-1b")
    [item] = mirrored(host.get(CLASSIC))["commands"]
    assert set(item) == ITEM
    assert all(item[name] is not None for name in NEVER_NULL)
    assert item["id"] == item["command_id"] == command_id
    assert item["request_id"] != item["id"]
    assert (item["command_type"], item["target_mode"], item["target_pool_id"]) == (
        "switch", "spot", f"{TYPE}.us-east-1b",
    )  # fmt: skip
    assert (item["priority"], item["terminate_wait_seconds"], item["terminate_old"]) == (75, 300, True)
    assert (item["params"], item["metadata"], item["created_at"]) == ({}, {}, CREATED)
    assert seconds(item) == 900  # 1.5, priority 75


def test_it_is_handed_out_once_to_whichever_host_asks_t08(desk: Desk, host: Any) -> None:
    switch(host)
    assert len(host.commands()) == 1
    for _ in range(3):
        desk.clock.advance(100)
        assert host.commands() == []
    assert host.get("").data["status"] in ("switching", "offline")


def test_a_switch_is_never_handed_out_twice_even_when_its_lease_is_over_z13(desk: Desk, host: Any) -> None:
    settings(host, terminate_wait_seconds=60)
    command_id = switch(host)
    host.commands()
    desk.clock.advance(60 + 900 - 1)
    host.heartbeat()
    assert host.tenant.aggregate(host.agent_id).commands[command_id].state == "executing"
    desk.clock.advance(1)
    assert host.commands() == []
    assert host.tenant.aggregate(host.agent_id).commands[command_id].state == "failed"


@pytest.mark.parametrize(("age", "given"), [(899, True), (900, False), (901, False)])
def test_an_order_nobody_fetched_is_void_after_its_time_cm_5(desk: Desk, host: Any, age: int, given: bool) -> None:
    command_id = switch(host)
    desk.clock.advance(age)
    assert bool(host.commands()) is given
    assert host.tenant.aggregate(host.agent_id).commands[command_id].state == ("executing" if given else "expired")


def test_a_classic_agent_is_given_switches_alone_t11_t12(host: Any) -> None:
    settings(host, manual_replica_enabled=True)
    settings(host, auto_terminate_enabled=False)
    switch(host)
    assert [item["command_type"] for item in host.commands()] == ["switch"]


def test_a_v5_is_given_everything_due_highest_first_then_oldest_cm_3(desk: Desk, modern: Any) -> None:
    machine = replica(desk, modern)
    settings(modern, auto_terminate_enabled=False)  # APPLY_CONFIG, 10
    modern.tenant.post(f"/api/client/instances/{machine}/terminate")  # 100
    [first] = modern.commands()
    assert (first["command_type"], first["priority"]) == ("TERMINATE_INSTANCE", 100)  # Z31: a slow one ends the reply
    modern.result(first, machine=machine)
    [second] = modern.commands()
    assert (second["command_type"], second["priority"]) == ("APPLY_CONFIG", 10)


def test_quick_commands_come_before_the_slow_one_that_ends_the_reply_z31(desk: Desk, modern: Any) -> None:
    machine = replica(desk, modern)
    [row] = modern.get("/replicas").data["replicas"]
    modern.post(f"/replicas/{row['id']}/promote", {})  # PROMOTE, 100
    desk.clock.advance(1)
    modern.tenant.post("/api/client/instances/launch", {"agent_id": modern.agent_id})  # LAUNCH, 100
    kinds = [item["command_type"] for item in modern.commands()]
    assert kinds == ["PROMOTE_REPLICA_TO_PRIMARY", "LAUNCH_INSTANCE"]
    assert machine == modern.tenant.primary(modern.agent_id)


LAUNCHES = [
    ({}, f"spot.{TYPE}.us-east-1a", "replica"), ({"target_mode": "ondemand"}, f"ondemand.{TYPE}.us-east-1a", "replica"),
    ({"role_hint": "primary", "target_mode": "ondemand"}, f"ondemand.{TYPE}.us-east-1a", "primary"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "target", "role"), LAUNCHES)
def test_a_launch_has_all_that_a_v5_reads_and_never_a_null_t07(modern: Any, body: Any, target: str, role: str) -> None:
    modern.tenant.post("/api/client/instances/launch", {"agent_id": modern.agent_id, **body})
    [item] = mirrored(modern.get(MODERN))["commands"]
    assert set(item) == ITEM
    assert all(item[name] is not None for name in NEVER_NULL)
    assert item["params"] == {
        "target_pool": target, "az": "us-east-1a", "instance_type": TYPE, "role_hint": role, "ami_id": "ami-0abc",
    }  # fmt: skip
    assert ("spot" in item["params"]["target_pool"]) is target.startswith("spot")
    assert item["instance_id"].startswith("i-pending-")
    assert (item["target_mode"], item["target_pool_id"], item["metadata"]) == (None, None, {})
    assert seconds(item) == 300


def test_a_launch_is_never_handed_out_twice_z13(desk: Desk, modern: Any) -> None:
    modern.tenant.post("/api/client/instances/launch", {"agent_id": modern.agent_id})
    [item] = modern.commands()
    desk.clock.advance(359)
    assert modern.commands() == []
    desk.clock.advance(2)
    assert modern.commands() == []
    assert modern.tenant.aggregate(modern.agent_id).commands[item["id"]].state == "failed"


def test_a_termination_names_a_real_machine_in_params_and_lives_until_it_is_done(desk: Desk, modern: Any) -> None:
    machine = replica(desk, modern)
    modern.tenant.post(f"/api/client/instances/{machine}/terminate")
    [item] = modern.commands()
    assert item["params"] == {"instance_id": machine}
    assert (item["expires_at"], item["target_mode"]) == (None, None)


def test_a_config_push_returns_once_after_its_lease_with_the_same_request_id_z13(desk: Desk, modern: Any) -> None:
    settings(modern, auto_terminate_enabled=False)
    [first] = modern.commands()
    assert seconds(first) == 86_400
    desk.clock.advance(59)
    assert modern.commands() == []
    desk.clock.advance(1)
    [second] = modern.commands()
    assert (second["id"], second["request_id"]) == (first["id"], first["request_id"])
    desk.clock.advance(60)
    assert modern.commands() == []
    assert modern.tenant.aggregate(modern.agent_id).commands[first["id"]].state == "failed"


def test_request_ids_are_never_used_again_t04(modern: Any) -> None:
    seen: set[str] = set()
    for threshold in (0.1, 0.2, 0.3, 0.4, 0.5):
        settings(modern, auto_terminate_enabled=threshold in (0.2, 0.4))
        for item in modern.commands():
            assert item["request_id"] not in seen
            seen.add(item["request_id"])
            modern.result(item)
    assert len(seen) == 5


def test_clean_up_waits_while_an_incident_is_open_z31(desk: Desk, modern: Any) -> None:
    replica(desk, modern)
    [row] = modern.get("/replicas").data["replicas"]
    modern.post(f"/replicas/{row['id']}/promote", {})
    for item in modern.commands():
        modern.result(item)
    modern.post("/rebalance-recommendation", {"cloud_instance_id": modern.tenant.primary(modern.agent_id)})
    desk.tick(301)
    kinds = [item["command_type"] for item in modern.commands()]
    assert "TERMINATE_INSTANCE" not in kinds


# ---- wait (Z18), who asks, and what else is in the query


@pytest.mark.parametrize("path", [CLASSIC, MODERN])
@pytest.mark.parametrize("wait", ["0", "-5", "", "0.0"])
def test_no_wait_is_an_answer_at_once(host: Any, path: str, wait: str) -> None:
    assert host.get(f"{path}?wait={wait}").status == 200


@pytest.mark.parametrize("path", [CLASSIC, MODERN])
def test_what_is_there_is_answered_at_once_whatever_the_wait(desk: Desk, modern: Any, host: Any, path: str) -> None:
    if path == CLASSIC:
        switch(host)
        assert len(host.get(path + "?wait=25").data["commands"]) == 1
    else:
        settings(modern, auto_terminate_enabled=False)
        assert len(modern.get(path + "?wait=25").data["commands"]) == 1
    assert desk.clock.now() - timedelta(seconds=1) < desk.clock.now()


@pytest.mark.parametrize("path", [CLASSIC, MODERN])
def test_a_stranger_and_an_unknown_agent_get_404_alike(desk: Desk, host: Any, path: str) -> None:
    other = desk.client("Other")
    theirs, unknown = other.get(host.at(path)), other.get(f"/api/agents/none{path}")
    assert refusal(theirs) == (404, "NOT_FOUND")
    assert theirs.body == unknown.body


def test_a_suspended_clients_agent_is_handed_emergencies_alone_z26(desk: Desk, tenant: Tenant, host: Any) -> None:
    switch(host)
    desk.suspend(tenant)
    assert host.commands() == []
    desk.tables.buckets.clear()  # nothing but on-demand is left
    _, second = host.termination()
    assert second.data["action"] == "ondemand_switch_queued"
    assert [item["priority"] for item in host.commands()] == [100]


def test_a_deleted_agents_poll_is_empty_and_then_404_z25(desk: Desk, tenant: Tenant, host: Any) -> None:
    settings(host, manual_replica_enabled=True)
    host.launch_replica(host.to_launch()[0], desk.new_machine())
    tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    assert host.get(CLASSIC).data == {"commands": []}
    desk.tick(24 * 3600 + 1)
    assert refusal(host.get(CLASSIC)) == (404, "NOT_FOUND")


def test_a_wait_that_is_no_number_is_refused_by_name_or_ignored_but_never_waits(host: Any) -> None:
    answer = host.get(CLASSIC + "?wait=soon")
    assert answer.status == 200 or problems(answer) == ["wait"]
