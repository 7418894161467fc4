"""v4c and the two AWS signals (section 2)."""

from spotadapters.fleet import NO_ANSWER, MachineState, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode
from tests.support.scripted_server import ScriptedServer, a_fleet

FIRST = "POST create-emergency-replica"
SECOND = "POST termination-imminent"


def test_a_rebalance_signal_asks_for_a_replica_first_and_is_told_second_e51_e53() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(30)
    first, second = (one for one in fleet.world.journal.exchanges() if one.name.startswith(("create", "rebal")))
    assert first.body == {"signal_type": "rebalance-recommendation", "instance_id": fleet.instance_id}
    assert second.name == "rebalance-recommendation"
    assert second.body == {
        "instance_id": fleet.instance_id,
        "detected_at": "2026-01-01T00:00:55.000000+00:00",
    }


def test_a_rebalance_signal_is_told_once_until_it_clears() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(300)
    assert len(fleet.sent("rebalance-recommendation")) == 1
    fleet.world.cloud.clear_rebalance(fleet.instance_id)
    fleet.world.advance(60)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(60)
    assert len(fleet.sent("rebalance-recommendation")) == 2


def test_a_refused_request_for_a_replica_does_not_stop_the_recommendation() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always(FIRST, json_answer({"success": True}, status=500))
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(30)
    assert len(fleet.sent("rebalance-recommendation")) == 1


def test_off_spot_no_signal_is_looked_for() -> None:
    fleet = a_fleet(Build.V4C, mode=Mode.ONDEMAND)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(60)
    assert fleet.sent("create-emergency-replica") == []


def test_a_termination_notice_is_seen_within_five_seconds_and_told_in_two_requests_e51_e52() -> None:
    server = ScriptedServer()
    server.always(SECOND, {"success": False})
    fleet = a_fleet(Build.V4C, server)
    fleet.world.advance(1)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(4)
    asked, told = fleet.sent("create-emergency-replica") + fleet.sent("termination-imminent")
    assert asked == {
        "signal_type": "termination-notice",
        "instance_id": fleet.instance_id,
        "termination_time": "2026-01-01T00:02:26Z",
    }
    assert told == {
        "instance_id": fleet.instance_id,
        "termination_time": "2026-01-01T00:02:26Z",
        "detected_at": "2026-01-01T00:00:30.000000+00:00",
    }


def test_a_termination_notice_is_told_once_per_run_whatever_the_answers() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always(FIRST, NO_ANSWER)
    fleet.server.always(SECOND, json_answer({}, status=500))
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(100)
    assert len(fleet.sent("create-emergency-replica")) == len(fleet.sent("termination-imminent")) == 1
    fleet.world.restart_agent(fleet.instance_id)
    fleet.world.advance(5)
    assert len(fleet.sent("termination-imminent")) == 2


def test_success_in_the_second_answer_ends_the_agent_cleanly_t16() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(10)
    assert not fleet.world.running(fleet.instance_id)
    assert fleet.sent("heartbeat")[-1] == {"status": "offline", "monitored_instances": []}
    assert fleet.world.cloud.machine(fleet.instance_id).state is MachineState.RUNNING, "AWS takes it later"


def test_success_in_the_first_answer_does_not_end_the_agent_t36() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always(SECOND, {"success": False, "action": "emergency_replica_created"})
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(60)
    assert fleet.world.running(fleet.instance_id)


def test_anything_but_true_keeps_it_running_until_aws_takes_the_host_t17() -> None:
    for answer in (json_answer({"success": "true"}), json_answer({"success": True}, status=409), json_answer({})):
        fleet = a_fleet(Build.V4C)
        fleet.server.always(SECOND, answer)
        fleet.world.interrupt(fleet.instance_id)
        fleet.world.advance(115)
        assert fleet.world.running(fleet.instance_id)
        fleet.world.advance(5)
        assert not fleet.world.running(fleet.instance_id)
        assert fleet.world.cloud.machine(fleet.instance_id).reclaimed


def test_an_agent_kept_running_launches_the_replica_the_server_lists() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always(SECOND, {"success": False})
    fleet.world.interrupt(fleet.instance_id)
    fleet.server.once(
        "GET replicas?status=launching", {"replicas": [{"id": "r-1", "pool_id": "p.us-east-1b", "az": "us-east-1b"}]}
    )
    fleet.world.advance(70)
    assert [body["status"] for body in fleet.sent("replicas/r-1/status")] == ["ready"]


def test_a_slow_first_answer_costs_thirty_of_the_hundred_and_twenty_seconds() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always(FIRST, json_answer({"success": True}, seconds=60))
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(34)
    assert fleet.sent("termination-imminent") == []
    fleet.world.advance(2)
    assert len(fleet.sent("termination-imminent")) == 1


def test_a_stop_action_is_no_termination_for_this_build() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.interrupt(fleet.instance_id, action="stop")
    fleet.world.advance(60)
    assert fleet.sent("termination-imminent") == []


def test_a_disabled_agent_still_tells_its_notices_z24() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always("GET config", {"enabled": False})
    fleet.world.advance(61)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(6)
    assert len(fleet.sent("termination-imminent")) == 1


def test_broken_metadata_hides_every_signal() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.break_metadata(fleet.instance_id)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(60)
    assert fleet.sent("create-emergency-replica") == []
