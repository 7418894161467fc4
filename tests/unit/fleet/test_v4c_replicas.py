"""v4c and the three lists the server keeps for it (section 2)."""

from typing import Any

import pytest

from spotadapters.fleet import MachineState, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode, Pool
from tests.support.scripted_server import HERE, POOL_THERE, THERE, TYPE, Fleet, ScriptedServer, a_fleet

LAUNCHING = "GET replicas?status=launching"
TERMINATED = "GET replicas?status=terminated"
TO_END = "GET instances-to-terminate"
ENTRY = {"id": "replica-0001", "pool_id": POOL_THERE, "az": THERE}


def listed(name: str, answer: Any, *, seconds: float = 60, server: ScriptedServer | None = None) -> Fleet:
    """A fleet that saw ``answer`` once on a list."""
    fleet = a_fleet(Build.V4C, server)
    fleet.server.once(name, answer)
    fleet.world.advance(seconds)
    return fleet


def a_replica(fleet: Fleet) -> str:
    """A running machine beside the agent's own."""
    ami = fleet.world.cloud.machine(fleet.instance_id).ami_id
    machine = fleet.world.cloud.launch(instance_type=TYPE, az=THERE, mode=Mode.SPOT, ami_id=ami)
    fleet.world.advance(25)
    return machine.instance_id


# ---- to launch


@pytest.mark.parametrize(
    "answer",
    [
        [ENTRY],
        {"replicas": [ENTRY]},
        {"replicas": [{"id": "replica-0001", "pool": {"id": POOL_THERE, "az": THERE}}]},
        {"status": "success", "replicas": [ENTRY], "data": {"replicas": []}},
    ],
)
def test_a_listed_replica_is_launched_on_spot_in_its_zone(answer: Any) -> None:
    fleet = listed(LAUNCHING, answer)
    (machine,) = fleet.launched()
    assert (fleet.world.cloud.machine(machine).az, fleet.world.cloud.machine(machine).mode) == (THERE, Mode.SPOT)


@pytest.mark.parametrize(
    "entry",
    [
        {"pool_id": POOL_THERE, "az": THERE},
        {"id": "replica-0001", "pool_id": POOL_THERE},
        {"id": "replica-0001", "az": THERE},
        {"id": "replica-0001", "pool": None},
        {"id": None, "pool_id": POOL_THERE, "az": THERE},
    ],
)
def test_entries_lacking_id_pool_or_zone_are_skipped(entry: dict[str, Any]) -> None:
    assert listed(LAUNCHING, {"replicas": [entry]}).launched() == []


@pytest.mark.parametrize("answer", [{"data": {"replicas": [ENTRY]}}, {"replicas": None}, {"replicas": {"a": ENTRY}}])
def test_a_list_anywhere_else_is_not_seen(answer: Any) -> None:
    assert listed(LAUNCHING, answer).launched() == []


def test_an_error_means_no_list() -> None:
    assert listed(LAUNCHING, json_answer({"replicas": [ENTRY]}, status=500)).launched() == []


def test_an_id_that_is_no_text_breaks_the_launch() -> None:
    fleet = listed(LAUNCHING, {"replicas": [{**ENTRY, "id": 7}]})
    assert fleet.launched() == []
    assert fleet.wrongs() == ["E43"]


def test_the_put_names_the_machine_at_once_and_ready_follows_when_it_runs_e48_e49() -> None:
    fleet = listed(LAUNCHING, {"replicas": [ENTRY]})
    (machine,) = fleet.launched()
    (put,) = [one for one in fleet.world.journal.exchanges() if one.method == "PUT"]
    assert put.path == "/api/agents/agent-1/replicas/replica-0001"
    assert put.body == {"instance_id": machine, "status": "syncing"}
    (ready,) = fleet.world.journal.exchanges("replicas/replica-0001/status")
    assert ready.body is not None
    assert (ready.body["status"], set(ready.body)) == ("ready", {"status", "sync_completed_at"})
    assert 25 <= (ready.at - put.at).total_seconds() <= 30


def test_a_refused_launch_is_reported_as_failed_with_the_reason() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.exhaust(Pool(TYPE, THERE))
    fleet.server.once(LAUNCHING, {"replicas": [ENTRY]})
    fleet.world.advance(40)
    (failed,) = fleet.sent("replicas/replica-0001/status")
    assert failed["status"] == "failed"
    assert "InsufficientInstanceCapacity" in failed["error_message"]


def test_a_machine_that_never_starts_is_reported_as_failed() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.set_boot_seconds(Pool(TYPE, THERE), 7200)
    fleet.server.once(LAUNCHING, {"replicas": [ENTRY]})
    fleet.world.advance(700)
    assert [body["status"] for body in fleet.sent("replicas/replica-0001/status")] == ["failed"]


def test_it_has_no_memory_so_an_entry_still_listed_is_launched_again_t14() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always(LAUNCHING, {"replicas": [ENTRY]})
    fleet.world.advance(95)
    own = fleet.world.journal.deeds("launched", instance_id=fleet.instance_id)
    assert len(own) == 2
    assert len(fleet.launched()) == 4, "the replicas' own hosts read the list as well"
    assert fleet.wrongs() == ["T08"] * 3


def test_it_sends_ready_even_when_the_put_was_refused() -> None:
    server = ScriptedServer()
    server.always("PUT replicas/replica-0001", json_answer({}, status=500))
    fleet = listed(LAUNCHING, {"replicas": [ENTRY]}, server=server)
    assert [body["status"] for body in fleet.sent("replicas/replica-0001/status")] == ["ready"]


def test_the_replicas_host_boots_the_same_image_and_registers_under_the_same_logical_id_rg_3_t31() -> None:
    fleet = a_fleet(Build.V4C, logical_id="web-1")
    fleet.server.once(LAUNCHING, {"replicas": [ENTRY]})
    fleet.world.advance(90)
    assert [body["logical_agent_id"] for body in fleet.sent("register")] == ["web-1", "web-1"]
    assert fleet.sent("register")[1]["instance_id"] == fleet.launched()[0]


def test_a_replicas_host_told_to_be_quiet_polls_the_replica_lists_beside_the_primary_t31() -> None:
    server = ScriptedServer()
    fleet = a_fleet(Build.V4C, server, logical_id="web-1")
    server.always("POST register", {"agent_id": "agent-1", "role": "replica", "config": {"enabled": False}})
    server.once(LAUNCHING, {"replicas": [ENTRY]})
    fleet.world.advance(60)
    (machine,) = fleet.launched()
    assert fleet.sent("replicas", by=machine)
    assert fleet.sent("heartbeat", by=machine)[0]["status"] == "disabled"
    assert fleet.sent("pending-commands", by=machine) == []


# ---- replicas to end


def test_an_ended_replica_is_terminated_and_confirmed_e49() -> None:
    fleet = a_fleet(Build.V4C)
    machine = a_replica(fleet)
    fleet.server.once(TERMINATED, {"replicas": [{"id": "r-1", "instance_id": machine, "is_active": False}]})
    fleet.world.advance(31)
    assert fleet.world.cloud.machine(machine).state is MachineState.TERMINATED
    (body,) = fleet.sent("replicas/r-1/status")
    assert set(body) == {"status", "is_active", "terminated_at"}
    assert (body["status"], body["is_active"]) == ("terminated", False)


@pytest.mark.parametrize("word", ["manual-12345678", "replica-12345678", None])
def test_placeholders_and_missing_ids_are_left_alone_t13(word: str | None) -> None:
    fleet = listed(TERMINATED, {"replicas": [{"id": "r-1", "instance_id": word}]})
    assert fleet.sent("replicas/r-1/status") == []
    assert fleet.deeds("ended") == []


def test_another_placeholder_is_taken_for_a_machine_and_tried_in_the_cloud_t13() -> None:
    fleet = listed(TERMINATED, {"replicas": [{"id": "r-1", "instance_id": "emergency-12345678"}]})
    assert fleet.deeds("could_not_end") == [{"machine": "emergency-12345678", "code": "InvalidInstanceID.NotFound"}]


def test_each_replica_is_tried_once_per_run_even_when_the_cloud_refused() -> None:
    fleet = a_fleet(Build.V4C)
    machine = a_replica(fleet)
    fleet.world.cloud.protect(machine)
    fleet.server.always(TERMINATED, [{"id": "r-1", "instance_id": machine}])
    fleet.world.advance(300)
    assert len(fleet.world.journal.deeds("ended", instance_id=fleet.instance_id)) == 1
    fleet.world.restart_agent(fleet.instance_id)
    fleet.world.advance(60)
    assert len(fleet.world.journal.deeds("ended", instance_id=fleet.instance_id)) == 2


def test_a_machine_already_gone_counts_as_ended() -> None:
    fleet = a_fleet(Build.V4C)
    machine = a_replica(fleet)
    fleet.world.cloud.terminate(machine)
    fleet.server.once(TERMINATED, [{"id": "r-1", "instance_id": machine}])
    fleet.world.advance(31)
    assert len(fleet.sent("replicas/r-1/status")) == 1


# ---- machines to terminate


@pytest.mark.parametrize("flag", [{}, {"auto_terminate_enabled": False}, {"auto_terminate_enabled": None}])
def test_without_the_flag_nothing_is_done_e55(flag: dict[str, Any]) -> None:
    fleet = a_fleet(Build.V4C)
    machine = a_replica(fleet)
    fleet.server.always(TO_END, {"instances": [{"instance_id": machine}], **flag})
    fleet.world.advance(130)
    assert fleet.deeds("ended") == []


def test_the_first_look_at_the_list_comes_after_a_minute() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.advance(59)
    assert fleet.sent("instances-to-terminate") == []
    fleet.world.advance(1)
    assert len(fleet.sent("instances-to-terminate")) == 1


def test_every_named_machine_is_ended_at_once_and_reported_e56() -> None:
    fleet = a_fleet(Build.V4C)
    machine = a_replica(fleet)
    answer = {"auto_terminate_enabled": True, "instances": [{"instance_id": machine, "reason": "zombie_timeout"}]}
    fleet.server.once(TO_END, answer)
    fleet.world.advance(60)
    (report,) = fleet.sent("termination-report")
    assert set(report) == {"instance_id", "success", "error", "terminated_at"}
    assert (report["instance_id"], report["success"], report["error"]) == (machine, True, None)
    assert fleet.deeds("ended") == [{"machine": machine, "reason": "zombie_timeout"}]


def test_a_refusal_is_reported_as_a_failure_with_null_time_e56() -> None:
    fleet = a_fleet(Build.V4C)
    machine = a_replica(fleet)
    fleet.world.cloud.protect(machine)
    fleet.server.once(TO_END, {"auto_terminate_enabled": True, "instances": [{"instance_id": machine}]})
    fleet.world.advance(60)
    (report,) = fleet.sent("termination-report")
    assert (report["success"], report["terminated_at"]) == (False, None)
    assert "OperationNotPermitted" in report["error"]


def test_missing_instances_mean_none() -> None:
    fleet = listed(TO_END, {"auto_terminate_enabled": True}, seconds=61)
    assert fleet.sent("termination-report") == []


def test_it_ends_even_the_primary_without_asking_and_the_world_calls_that_a_violation_i2() -> None:
    fleet = listed(TO_END, None, seconds=0)
    fleet.server.always(TO_END, {"auto_terminate_enabled": True, "instances": [{"instance_id": fleet.instance_id}]})
    fleet.world.advance(130)
    assert fleet.world.cloud.machine(fleet.instance_id).state is MachineState.TERMINATED
    assert fleet.wrongs() == ["I2"]
    assert fleet.world.cloud.machine(fleet.instance_id).az == HERE
