"""v5 and its commands (section 5)."""

from typing import Any

import pytest

from spotadapters.fleet import Installation, MachineState, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode, Pool
from tests.support.scripted_server import HERE, THERE, TYPE, Fleet, a_fleet

POLL = "GET commands/pending"
SPOT_HERE = f"spot.{TYPE}.{HERE}"


def a_launch(**changes: Any) -> dict[str, Any]:
    return {
        "command_type": "LAUNCH_INSTANCE",
        "request_id": "q-1",
        "instance_id": "i-pending-00000001",
        "params": {"instance_type": TYPE, "target_pool": SPOT_HERE, "role_hint": "replica"},
        **changes,
    }


def a_termination(machine: str, **changes: Any) -> dict[str, Any]:
    return {
        "command_type": "TERMINATE_INSTANCE",
        "request_id": "q-2",
        "params": {"instance_id": machine},
        "metadata": {},
        **changes,
    }


def a_modern(word: str, **params: Any) -> dict[str, Any]:
    return {"command_type": word, "request_id": f"q-{word}", "params": params, "metadata": {}}


def commanded(*commands: Any, seconds: float = 60, fleet: Fleet | None = None) -> Fleet:
    """A fleet that was handed these commands in one answer."""
    fleet = fleet or a_fleet(Build.V5)
    fleet.server.once(POLL, {"commands": list(commands)})
    fleet.world.advance(seconds)
    return fleet


def results(fleet: Fleet) -> list[tuple[Any, Any]]:
    return [(body["request_id"], body["result"]) for body in fleet.sent("action-result")]


# ---- reading


@pytest.mark.parametrize(
    "answer", [[a_launch()], {"data": {"commands": [a_launch()]}}, {"pending_commands": [a_launch()]}]
)
def test_only_a_list_under_commands_of_an_object_is_read_e71(answer: Any) -> None:
    fleet = a_fleet(Build.V5)
    fleet.server.once(POLL, answer)
    fleet.world.advance(60)
    assert fleet.launched() == []


def test_all_commands_of_an_answer_are_executed_in_order() -> None:
    fleet = commanded(a_modern("APPLY_CONFIG", config_updates={}), a_launch(), a_modern("NONSENSE"))
    assert results(fleet) == [("q-APPLY_CONFIG", "SUCCESS"), ("q-1", "SUCCESS"), ("q-NONSENSE", "FAILURE")]


@pytest.mark.parametrize("word", ["switch", "create_replica", "promote_replica", ""])
def test_any_other_command_type_fails_as_unknown(word: str) -> None:
    (body,) = commanded(a_modern(word)).sent("action-result")
    assert (body["result"], body["error_message"]) == ("FAILURE", "Unknown command type")


def test_a_result_has_these_fields_e72() -> None:
    (body,) = commanded(a_launch()).sent("action-result")
    assert set(body) == {"request_id", "agent_id", "result", "cloud_instance_id", "error_message", "metadata"}
    assert (body["agent_id"], body["error_message"], type(body["metadata"])) == ("agent-1", None, dict)


def test_a_request_id_already_executed_is_answered_from_the_cache() -> None:
    fleet = commanded(a_launch())
    commanded(a_launch(), fleet=fleet)
    assert len(fleet.launched()) == 1
    first, second = fleet.sent("action-result")
    assert first == second


def test_after_a_restart_the_same_request_is_executed_again_t34() -> None:
    fleet = commanded(a_launch())
    fleet.world.restart_agent(fleet.instance_id)
    commanded(a_launch(), fleet=fleet)
    assert len(fleet.launched()) == 2
    assert fleet.wrongs() == ["T08"]


def test_commands_without_a_request_id_share_one_result_t04() -> None:
    first, second = a_launch(request_id=None), a_launch(request_id=None)
    fleet = commanded(first, second, seconds=90)
    assert len(fleet.launched()) == 1
    assert results(fleet) == [(None, "SUCCESS")] * 2
    assert fleet.wrongs() == ["T04", "T04"]


@pytest.mark.parametrize("field", ["params", "metadata"])
def test_null_params_or_metadata_stop_it_for_good(field: str) -> None:
    fleet = commanded(a_launch(**{field: None}))
    before = len(fleet.world.journal.exchanges())
    fleet.world.advance(600)
    assert len(fleet.world.journal.exchanges()) == before
    assert fleet.world.running(fleet.instance_id)
    assert fleet.wrongs() == ["T04"]


def test_absent_params_and_metadata_are_fine() -> None:
    fleet = commanded({"command_type": "APPLY_CONFIG", "request_id": "q-1"})
    assert results(fleet) == [("q-1", "SUCCESS")]


def test_metadata_wins_over_params() -> None:
    fleet = commanded(a_launch(metadata={"target_pool": f"ondemand.{TYPE}.{HERE}"}))
    assert fleet.world.cloud.machine(fleet.launched()[0]).mode is Mode.ONDEMAND


# ---- launches


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        (SPOT_HERE, Mode.SPOT),
        (f"{TYPE}.{HERE}", Mode.ONDEMAND),
        (f"ondemand.{TYPE}.{HERE}", Mode.ONDEMAND),
        ("a-spot-somewhere." + HERE, Mode.SPOT),
    ],
)
def test_it_launches_on_spot_only_if_the_target_contains_the_word_t07(target: str, mode: Mode) -> None:
    fleet = commanded(a_launch(params={"instance_type": TYPE, "target_pool": target}))
    assert fleet.world.cloud.machine(fleet.launched()[0]).mode is mode


@pytest.mark.parametrize(
    "params", [{"instance_type": TYPE, "target_pool": None}, {"target_pool": SPOT_HERE}, {"instance_type": None}]
)
def test_a_null_target_or_a_missing_type_fails_the_launch_t07(params: dict[str, Any]) -> None:
    fleet = commanded(a_launch(params=params))
    assert results(fleet) == [("q-1", "FAILURE")]
    assert fleet.wrongs() == ["T07"]


def test_the_zone_comes_from_az_or_else_from_the_pool() -> None:
    there = a_launch(params={"instance_type": TYPE, "target_pool": f"spot.{TYPE}.{THERE}", "az": HERE})
    assert results(commanded(there)) == [("q-1", "SUCCESS")]


@pytest.mark.parametrize("params", [{"az": THERE, "target_pool": SPOT_HERE}, {"target_pool": f"spot.{TYPE}.{THERE}"}])
def test_another_zone_than_its_own_is_refused_because_its_own_subnet_is_used_z28_t35(params: dict[str, Any]) -> None:
    fleet = commanded(a_launch(params={"instance_type": TYPE, **params}))
    assert results(fleet) == [("q-1", "FAILURE")]
    assert "subnet" in fleet.sent("action-result")[0]["error_message"]


def test_another_type_can_be_launched_from_its_own_image_or_a_given_one() -> None:
    fleet = a_fleet(Build.V5)
    other = fleet.world.cloud.new_image()
    commanded(a_launch(params={"instance_type": "c5.large", "target_pool": SPOT_HERE}), fleet=fleet, seconds=20)
    machine = fleet.world.cloud.machine(fleet.launched()[0])
    assert (machine.instance_type, machine.ami_id) == (
        "c5.large",
        fleet.world.cloud.machine(fleet.instance_id).ami_id,
    )
    command = a_launch(request_id="q-9", params={"instance_type": TYPE, "target_pool": SPOT_HERE, "ami_id": "ami-0"})
    commanded(command, fleet=fleet)
    assert results(fleet)[-1] == ("q-9", "FAILURE")
    assert other != machine.ami_id


def test_a_launch_is_confirmed_before_its_result_if_it_had_a_temporary_id_e40() -> None:
    fleet = commanded(a_launch())
    names = [one.name for one in fleet.world.journal.exchanges()]
    assert names.index("instance-launched") < names.index("action-result")
    (body,) = fleet.sent("instance-launched")
    (machine,) = fleet.launched()
    assert {**body, "confirmed_at": ""} == {
        "temp_instance_id": "i-pending-00000001", "instance_id": machine, "instance_type": TYPE, "az": HERE,
        "request_id": "q-1", "confirmed_at": "",
    }  # fmt: skip
    assert fleet.sent("action-result")[0]["cloud_instance_id"] == machine


def test_without_a_temporary_id_there_is_no_confirmation() -> None:
    fleet = commanded(a_launch(instance_id=None))
    assert fleet.sent("instance-launched") == []
    assert results(fleet) == [("q-1", "SUCCESS")]


def test_a_machine_not_running_after_three_hundred_seconds_is_reported_without_confirmation() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.cloud.set_boot_seconds(Pool(TYPE, HERE), 3600)
    commanded(a_launch(), fleet=fleet, seconds=320)
    assert fleet.sent("instance-launched") == []
    (body,) = fleet.sent("action-result")
    assert (body["result"], body["metadata"]) == ("SUCCESS", {"confirmed": False})


def test_a_refused_launch_is_a_failure_with_the_clouds_words() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.cloud.exhaust(Pool(TYPE, HERE))
    commanded(a_launch(), fleet=fleet)
    (body,) = fleet.sent("action-result")
    assert (body["result"], body["cloud_instance_id"]) == ("FAILURE", None)
    assert "InsufficientInstanceCapacity" in body["error_message"]


def test_while_it_launches_it_is_deaf_and_dumb_t09_z31() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.cloud.set_boot_seconds(Pool(TYPE, HERE), 290)
    fleet.server.once(POLL, {"commands": [a_launch()]})
    fleet.world.advance(6)
    before = len(fleet.world.journal.exchanges())
    fleet.world.cloud.interrupt(fleet.instance_id, notice_seconds=1000)
    fleet.world.advance(280)
    assert len(fleet.world.journal.exchanges()) == before
    fleet.world.advance(60)
    assert fleet.sent("termination-report")
    assert len(fleet.sent("heartbeat", by=fleet.instance_id)) >= 2


def test_a_launched_host_registers_as_a_new_logical_agent() -> None:
    fleet = commanded(a_launch())
    assert [body["logical_agent_id"] for body in fleet.sent("register")] == [fleet.instance_id, *fleet.launched()]


def test_a_host_cloned_with_its_disk_only_reconnects_under_the_shared_id_z22() -> None:
    fleet = commanded(a_launch(), fleet=a_fleet(Build.V5, clones_disk=True))
    (machine,) = fleet.launched()
    assert fleet.sent("register", by=machine) == []
    assert fleet.sent("heartbeat", by=machine)[0]["reconnect"] is True
    assert fleet.world.agent(machine).agent_id == "agent-1"


# ---- terminations, promotions, configuration, self-destruction


def a_neighbour(fleet: Fleet) -> str:
    """Another running machine of the same account."""
    machine = fleet.world.start(Installation(build=Build.V2, client_token="t"))
    fleet.world.advance(26)
    return machine


def test_a_termination_reads_its_machine_from_the_parameters_only_e41() -> None:
    fleet = a_fleet(Build.V5)
    machine, spared = a_neighbour(fleet), a_neighbour(fleet)
    fleet.world.journal.waive(machine)
    commanded(a_termination(machine, instance_id=spared), fleet=fleet)
    assert fleet.world.cloud.machine(machine).state is MachineState.TERMINATED
    assert fleet.world.cloud.machine(spared).state is MachineState.RUNNING
    (body,) = fleet.sent("instance-terminated")
    assert set(body) == {"instance_id", "request_id", "confirmed_at"}
    assert results(fleet) == [("q-2", "SUCCESS")]


def test_a_termination_waits_for_the_cloud_and_is_deaf_meanwhile() -> None:
    fleet = a_fleet(Build.V5, shutdown_seconds=120)
    machine = a_neighbour(fleet)
    fleet.world.kill_agent(machine)
    fleet.world.journal.waive(machine)
    commanded(a_termination(machine), fleet=fleet, seconds=10)
    before = len(fleet.world.journal.exchanges())
    fleet.world.advance(100)
    assert len(fleet.world.journal.exchanges()) == before
    fleet.world.advance(30)
    assert results(fleet) == [("q-2", "SUCCESS")]


def test_a_termination_not_confirmed_in_three_minutes_is_reported_all_the_same() -> None:
    fleet = a_fleet(Build.V5, shutdown_seconds=900)
    machine = a_neighbour(fleet)
    fleet.world.journal.waive(machine)
    commanded(a_termination(machine), fleet=fleet, seconds=200)
    assert fleet.sent("instance-terminated") == []
    assert results(fleet) == [("q-2", "SUCCESS")]


@pytest.mark.parametrize("params", [{}, {"instance_id": None}, {"instance_id": "i-pending-00000001"}])
def test_a_termination_without_a_real_machine_fails(params: dict[str, Any]) -> None:
    fleet = commanded({**a_termination("x"), "params": params})
    assert results(fleet) == [("q-2", "FAILURE")]


def test_ending_its_own_machine_is_the_last_thing_it_does_i2() -> None:
    fleet = a_fleet(Build.V5)
    commanded(a_termination(fleet.instance_id), fleet=fleet)
    assert results(fleet) == []
    assert fleet.wrongs() == ["I2"]


def test_a_promotion_only_sets_tags_and_tells_the_world_who_serves() -> None:
    fleet = commanded(a_launch())
    (machine,) = fleet.launched()
    promotion = a_modern("PROMOTE_REPLICA_TO_PRIMARY", replica_instance_id=machine, old_primary_id=fleet.instance_id)
    commanded(promotion, fleet=fleet)
    assert fleet.world.cloud.machine(machine).tags["Role"] == "primary"
    assert fleet.world.cloud.machine(fleet.instance_id).tags["Role"] == "old-primary"
    assert fleet.world.journal.serving()["agent-1"] == machine


def test_a_promotion_of_a_machine_the_cloud_does_not_know_fails() -> None:
    fleet = commanded(a_modern("PROMOTE_REPLICA_TO_PRIMARY", replica_instance_id="i-0"))
    assert results(fleet)[0][1] == "FAILURE"


def test_the_chain_launch_promote_terminate_violates_nothing() -> None:
    fleet = commanded(a_launch())
    (machine,) = fleet.launched()
    commanded(a_modern("PROMOTE_REPLICA_TO_PRIMARY", replica_instance_id=machine), fleet=fleet)
    fleet.server.always("POST register", {"agent_id": "agent-1", "role": "replica"})
    commanded(a_termination(fleet.instance_id), fleet=fleet)
    assert fleet.wrongs() == []


def test_config_updates_are_applied() -> None:
    fleet = commanded(a_modern("APPLY_CONFIG", config_updates={"auto_switching": True, "emergency_only": False}))
    agent: Any = fleet.world.agent(fleet.instance_id)
    assert agent.settings["auto_switching"] is True
    assert results(fleet) == [("q-APPLY_CONFIG", "SUCCESS")]


def test_self_destruct_reports_then_shuts_down_and_ends_for_good_while_the_machine_runs_on_t33() -> None:
    fleet = commanded(a_modern("SELF_DESTRUCT"), a_launch())
    names = [one.name for one in fleet.world.journal.exchanges()]
    assert names[-2:] == ["action-result", "shutdown"]
    assert fleet.launched() == [], "what stood behind it is lost"
    assert not fleet.world.running(fleet.instance_id)
    assert fleet.world.cloud.machine(fleet.instance_id).state is MachineState.RUNNING


def test_a_result_answered_with_an_error_is_lost() -> None:
    fleet = a_fleet(Build.V5)
    fleet.server.once("POST action-result", json_answer({}, status=500))
    commanded(a_modern("APPLY_CONFIG"), fleet=fleet, seconds=120)
    assert len(fleet.sent("action-result")) == 1
