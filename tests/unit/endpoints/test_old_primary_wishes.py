"""What a person wishes for the machine that loses the role, and for the next replica (E34, E46, CM-9, IN-24, IN-25)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import Desk, mirrored, problems

WAIT = 300
DAY = 86_400
MEANWHILE = "; manual replica mode is on, so another follows: switch it off to keep none"


def settings(host: Any, **wanted: Any) -> None:
    assert host.tenant.post(f"/api/client/agents/{host.agent_id}/settings", wanted).status == 200


def standing(host: Any, machine: str) -> str:
    """The id of a replica on a machine that ran already, outside manual mode (E45)."""
    answer = host.post("/replicas", {"instance_id": machine, "replica_type": "manual", "pool_id": f"{TYPE}.us-east-1b"})
    assert answer.status == 201, answer
    replica_id: str = answer.data["replica_id"]
    return replica_id


def promote(host: Any, replica_id: str, body: Any) -> Reply:
    answer: Reply = host.post(f"/replicas/{replica_id}/promote", body)
    return answer


def promoted(desk: Desk, host: Any, body: Any) -> Reply:
    answer = promote(host, standing(host, desk.new_machine()), body)
    assert answer.status == 200, answer
    return answer


def list_of(host: Any) -> dict[str, Any]:
    """E55 as v4c reads it."""
    data: dict[str, Any] = mirrored(host.get("/instances-to-terminate"))
    return data


def ends(host: Any) -> list[tuple[str, str]]:
    return [(item["instance_id"], item["reason"]) for item in list_of(host)["instances"]]


def replicas(host: Any) -> list[Any]:
    found: list[Any] = mirrored(host.get("/replicas"))["replicas"]
    return found


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


@pytest.mark.parametrize("setting", [True, False])
@pytest.mark.parametrize("body", [{}, {"auto_terminate_old_primary": None}])
def test_e46_without_a_wish_the_agents_setting_decides_over_the_old_primary(
    desk: Desk, host: Any, body: Any, setting: bool
) -> None:
    settings(host, auto_terminate_enabled=setting)
    promoted(desk, host, body)
    desk.clock.advance(WAIT)
    assert ends(host) == ([(host.machine, "zombie_timeout")] if setting else [])


@pytest.mark.parametrize("setting", [True, False])
@pytest.mark.parametrize("value", [False, 0])
def test_e46_an_old_primary_to_be_kept_is_kept_whatever_the_setting_says_and_reminded_of_in_24(
    desk: Desk, host: Any, value: Any, setting: bool
) -> None:
    settings(host, auto_terminate_enabled=setting)
    promoted(desk, host, {"auto_terminate_old_primary": value})
    settings(host, auto_terminate_enabled=True)
    desk.tick(WAIT)
    assert ends(host) == []
    desk.tick(DAY - WAIT)
    assert host.tenant.statuses(host.agent_id)[host.machine] == "zombie"
    assert [event.facts["machine"] for event in desk.events(EventKind.ZOMBIE_REMINDER)] == [host.machine]


def test_e46_an_old_primary_to_be_ended_ends_after_the_wait_though_the_setting_is_off_in_25(
    desk: Desk, host: Any
) -> None:
    settings(host, auto_terminate_enabled=False)
    promoted(desk, host, {"auto_terminate_old_primary": True})
    desk.clock.advance(WAIT - 1)
    assert list_of(host) == {"instances": [], "auto_terminate_enabled": False, "terminate_wait_seconds": WAIT}
    desk.clock.advance(1)
    assert ends(host) == [(host.machine, "manual_terminate")]
    assert list_of(host)["auto_terminate_enabled"] is True  # or v4c would not act on what a person asked for (E55)
    desk.tick()
    assert host.tenant.statuses(host.agent_id)[host.machine] == "terminating"
    assert ends(host) == [(host.machine, "manual_terminate")]


def test_e46_a_wish_to_end_what_the_setting_ends_anyway_adds_nothing(desk: Desk, host: Any) -> None:
    promoted(desk, host, {"auto_terminate_old_primary": True})
    desk.clock.advance(WAIT)
    assert ends(host) == [(host.machine, "zombie_timeout")]
    settings(host, auto_terminate_enabled=False)  # the later word of the same person
    assert ends(host) == []


def test_e46_a_kept_machine_ends_when_a_person_ends_it_e39(desk: Desk, host: Any) -> None:
    promoted(desk, host, {"auto_terminate_old_primary": False})
    assert host.tenant.post(f"/api/client/instances/{host.machine}/terminate").status == 200
    assert ends(host) == [(host.machine, "manual_terminate")]


@pytest.mark.parametrize(("wish", "told"), [(None, True), (True, True), (False, False)])
def test_e46_a_v5_is_told_to_end_the_old_primary_only_where_it_may_end_in_25(
    desk: Desk, tenant: Tenant, wish: bool | None, told: bool
) -> None:
    host = desk.host("v5", tenant)
    tenant.post("/api/client/instances/launch", {"agent_id": host.agent_id})
    [item] = host.commands()
    machine = desk.new_machine()
    host.launched(item, machine)
    host.result(item, machine=machine)
    [replica] = replicas(host)
    promote(host, replica["id"], {"auto_terminate_old_primary": wish})
    host.result(host.commands()[0])
    desk.tick(WAIT)
    assert [command["command_type"] for command in host.commands()] == ["TERMINATE_INSTANCE"] * told


@pytest.mark.parametrize("wish", [None, False])
def test_e46_outside_manual_mode_no_replica_follows_unasked(desk: Desk, host: Any, wish: bool | None) -> None:
    answer = promoted(desk, host, {"create_new_replica": wish})
    assert replicas(host) == []
    assert "message" not in answer.body


def test_e46_a_new_replica_follows_on_request_outside_manual_mode_too(desk: Desk, host: Any) -> None:
    promoted(desk, host, {"create_new_replica": True})
    [item] = replicas(host)
    assert (item["type"], item["status"], item["created_by"]) == ("manual", "launching", "user")
    assert item["pool_id"] == f"{TYPE}.us-east-1c"  # the cheapest but the new primary's own (RP-13)
    assert [entry["id"] for entry in host.to_launch()] == [item["id"]]
    desk.tick(WAIT - 1)
    assert [row["id"] for row in replicas(host)] == [item["id"]]


def test_e46_a_demoted_primary_is_the_new_replica_and_no_other_is_launched_mr_3_i2(desk: Desk, host: Any) -> None:
    promoted(desk, host, {"create_new_replica": True, "demote_old_primary": True})
    assert [row["instance_id"] for row in replicas(host)] == [host.machine]


@pytest.mark.parametrize(("wish", "message"), [(False, "Replica promoted" + MEANWHILE), (True, None), (None, None)])
def test_e46_in_manual_mode_one_replica_follows_and_who_wants_none_is_told_where_to_say_so_mr_2(
    desk: Desk, host: Any, wish: bool | None, message: str | None
) -> None:
    settings(host, manual_replica_enabled=True)
    [entry] = host.to_launch()
    host.launch_replica(entry, desk.new_machine())
    answer = promote(host, entry["id"], {"create_new_replica": wish})
    assert [row["status"] for row in replicas(host)] == ["launching"]
    assert answer.body.get("message") == message


def test_e46_a_demoted_primary_is_no_other_replica_that_follows_and_nobody_is_warned_of_one_mr_3(
    desk: Desk, host: Any
) -> None:
    settings(host, manual_replica_enabled=True)
    [entry] = host.to_launch()
    host.launch_replica(entry, desk.new_machine())
    answer = promote(host, entry["id"], {"create_new_replica": False, "demote_old_primary": True})
    assert (answer.data["demoted"], "message" in answer.body) == (True, False)
    assert [row["instance_id"] for row in replicas(host)] == [host.machine]


def test_e46_the_promotion_stands_where_no_pool_is_left_for_the_next_replica(desk: Desk, host: Any) -> None:
    replica_id = standing(host, desk.new_machine())
    settings(host, excluded_pools=[f"{TYPE}.us-east-1{zone}" for zone in "abc"])
    answer = promote(host, replica_id, {"create_new_replica": True})
    machine = answer.data["new_instance_id"]
    assert (answer.status, host.tenant.primary(host.agent_id), replicas(host)) == (200, machine, [])


@pytest.mark.parametrize("name", ["auto_terminate_old_primary", "create_new_replica"])
@pytest.mark.parametrize("value", ["yes", 2, [], {}])
def test_e46_every_wish_is_a_boolean(desk: Desk, host: Any, name: str, value: Any) -> None:
    replica_id = standing(host, desk.new_machine())
    assert problems(promote(host, replica_id, {name: value})) == [name]
    assert host.tenant.primary(host.agent_id) == host.machine


@pytest.mark.parametrize(
    ("setting", "wish", "expected"),
    [
        (True, None, "zombie_timeout"),
        (True, False, None),
        (False, None, None),
        (False, True, "manual_terminate"),
        (True, True, "zombie_timeout"),
        (False, False, None),
    ],
)
def test_e34_the_wish_for_the_old_machine_outlives_the_switch_cm_9(
    desk: Desk, host: Any, setting: bool, wish: bool | None, expected: str | None
) -> None:
    settings(host, auto_terminate_enabled=setting)
    wanted = {"target_pool": f"{TYPE}.us-east-1b", "auto_terminate": wish}
    assert host.tenant.post(f"/api/client/instances/{host.machine}/force-switch", wanted).status == 200
    host.commands()
    assert host.switch_report(desk.new_machine(), "us-east-1b", "spot").status == 200
    desk.clock.advance(WAIT)
    assert ends(host) == ([(host.machine, expected)] if expected else [])


@pytest.mark.parametrize("setting", [True, False])
def test_e34_a_switch_without_a_word_leaves_the_old_machine_to_the_setting_of_the_day(
    desk: Desk, host: Any, setting: bool
) -> None:
    settings(host, auto_terminate_enabled=not setting)
    wanted = {"target_pool": f"{TYPE}.us-east-1b"}
    assert host.tenant.post(f"/api/client/instances/{host.machine}/force-switch", wanted).status == 200
    host.commands()
    settings(host, auto_terminate_enabled=setting)
    assert host.switch_report(desk.new_machine(), "us-east-1b", "spot").status == 200
    desk.clock.advance(WAIT)
    assert ends(host) == ([(host.machine, "zombie_timeout")] if setting else [])


@pytest.mark.parametrize(("wish", "told"), [(None, True), (False, False)])
def test_e34_a_v5_is_told_to_end_the_old_machine_only_where_it_may_end_cm_9(
    desk: Desk, tenant: Tenant, wish: bool | None, told: bool
) -> None:
    host = desk.host("v5", tenant)
    wanted = {"target_pool": f"{TYPE}.us-east-1b", "auto_terminate": wish}
    assert tenant.post(f"/api/client/instances/{host.machine}/force-switch", wanted).status == 200
    [item] = host.commands()
    assert set(item["params"]) <= {"target_pool", "az", "instance_type", "role_hint", "ami_id"}  # the word stays here
    machine = desk.new_machine()
    host.launched(item, machine)
    host.result(item, machine=machine)
    host.result(host.commands()[0])
    assert tenant.primary(host.agent_id) == machine
    desk.tick(WAIT)
    assert [command["command_type"] for command in host.commands()] == ["TERMINATE_INSTANCE"] * told
