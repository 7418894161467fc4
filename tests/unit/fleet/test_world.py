"""Worlds in virtual time: deterministic, stopped mid-flight, and honest about what went wrong."""

from datetime import timedelta
from typing import Any

import pytest

from spotadapters.fleet import Installation, Interruption, Response, VirtualClock, World, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode
from tests.support.scripted_server import POOL_THERE, PRICES, Fleet, ScriptedServer, a_fleet

ALL = (Build.V2, Build.V4C, Build.V4N, Build.V5)
HEARTBEATS = "POST heartbeat"


def a_mixed_world() -> World:
    """One host of every build, a storm after five minutes."""
    world = World(clock=VirtualClock(), transport=ScriptedServer(), prices=PRICES)
    hosts = [world.start(Installation(build=build, client_token="token-1")) for build in ALL]
    world.advance(300)
    for one in hosts:
        world.interrupt(one)
    world.advance(300)
    return world


def test_the_same_world_has_the_same_history_twice() -> None:
    first, second = a_mixed_world(), a_mixed_world()
    assert first.journal.exchanges() == second.journal.exchanges()
    assert first.journal.deeds() == second.journal.deeds()


def test_one_long_advance_equals_many_short_ones() -> None:
    at_once, in_steps = a_fleet(Build.V4C), a_fleet(Build.V4C)
    at_once.world.advance(120)
    for _ in range(240):
        in_steps.world.advance(0.5)
    assert at_once.world.journal.exchanges() == in_steps.world.journal.exchanges()


def test_everything_happens_in_order_of_time() -> None:
    at = [one.at for one in a_mixed_world().journal.exchanges()]
    assert at == sorted(at)


def test_the_clock_ends_exactly_where_it_was_sent() -> None:
    fleet = a_fleet(Build.V5)
    before = fleet.world.clock.now()
    fleet.world.advance(17.25)
    assert fleet.world.clock.now() - before == timedelta(seconds=17.25)


@pytest.mark.parametrize("build", ALL)
def test_speed_divides_every_interval(build: Build) -> None:
    slow, fast = a_fleet(build), a_fleet(build, speed=20)
    slow.world.advance(600)
    fast.world.advance(30)
    names = [[one.name for one in fleet.world.journal.exchanges()] for fleet in (slow, fast)]
    assert names[0] == names[1]


def test_happenings_of_the_world_recur_and_are_divided_by_the_speed_too() -> None:
    fleet = a_fleet(Build.V2, speed=10)
    seen: list[int] = []
    fleet.world.every(10, lambda: seen.append(1))
    fleet.world.advance(5)
    assert len(seen) == 5


def test_a_hosts_clock_may_be_wrong() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.host(fleet.instance_id).skew_seconds = -3600
    fleet.world.advance(300)
    assert fleet.sent("pricing-report")[1]["pricing"]["collected_at"].startswith("2025-12-31T23:05:25")


def test_a_program_starts_when_its_operating_system_has_booted() -> None:
    world = World(clock=VirtualClock(), transport=ScriptedServer(), prices=PRICES, os_boot_seconds=15)
    machine = world.start(Installation(build=Build.V2, client_token="t"))
    world.advance(39)
    assert not world.running(machine)
    world.advance(1)
    assert world.running(machine)


def test_a_machine_taken_before_its_operating_system_has_booted_never_speaks() -> None:
    world = World(clock=VirtualClock(), transport=ScriptedServer(), prices=PRICES, os_boot_seconds=15)
    machine = world.start(Installation(build=Build.V2, client_token="t"))
    world.advance(30)
    world.cloud.terminate(machine)
    world.advance(60)
    assert world.journal.exchanges() == []


def test_a_machine_taken_while_a_request_is_under_way_never_reads_its_answer() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once("GET pending-commands", json_answer([{"id": "c-1", "target_mode": "spot"}], seconds=20))
    fleet.world.advance(16)
    fleet.world.cloud.terminate(fleet.instance_id)
    fleet.world.advance(60)
    assert fleet.launched() == []


def test_a_program_error_is_raised_to_whoever_steps_the_world() -> None:
    def broken(_: object) -> Response:
        raise RuntimeError("the server fell over")

    fleet = a_fleet(Build.V2)
    fleet.server.always(HEARTBEATS, broken)
    with pytest.raises(RuntimeError, match="fell over"):
        fleet.world.advance(30)


def test_orphans_are_running_machines_the_server_does_not_know() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once(
        "GET pending-commands",
        [{"id": "c-1", "target_mode": "spot", "target_pool_id": POOL_THERE, "priority": None}],
    )
    fleet.world.advance(60)
    assert [one.instance_id for one in fleet.world.orphans({fleet.instance_id})] == fleet.launched()


def test_the_journal_finds_exchanges_by_name_and_host_and_counts_answers() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once(HEARTBEATS, json_answer({}, status=503))
    fleet.world.advance(31)
    (one, two) = fleet.world.journal.exchanges("heartbeat", instance_id=fleet.instance_id)
    assert (one.status, two.status) == (200, 503)
    assert fleet.world.journal.answers[503] == 1
    assert one.build is Build.V4C
    assert one.agent_id == "agent-1"
    assert fleet.world.journal.exchanges("heartbeat", instance_id="i-0") == []
    assert fleet.world.journal.exchanges("register")[0].agent_id is None


# ---- who serves, and what must never happen


def test_a_registration_or_heartbeat_answered_primary_says_who_serves() -> None:
    fleet = a_fleet(Build.V4C)
    assert fleet.world.journal.serving() == {"agent-1": fleet.instance_id}


def test_a_switch_report_that_was_accepted_says_who_serves() -> None:
    fleet = a_fleet(Build.V2, auto_terminate=False)
    fleet.server.always("POST register", {"agent_id": "agent-1", "role": "pending"})
    fleet.server.once("GET pending-commands", [{"id": "c-1", "target_mode": "ondemand"}])
    fleet.world.advance(90)
    assert fleet.world.journal.serving() == {"agent-1": fleet.launched()[0]}


def test_a_promotion_in_answer_to_a_notice_says_who_serves() -> None:
    fleet = a_fleet(Build.V5)
    promoted = {"success": True, "action": "replica_promoted", "new_instance_id": "i-new"}
    fleet.server.always("POST termination-report", promoted)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(11)
    assert fleet.world.journal.serving() == {"agent-1": "i-new"}


def test_an_answer_to_a_question_asked_before_the_last_change_is_old_news() -> None:
    fleet = a_fleet(Build.V4C)
    stale = json_answer({"role": "primary"}, seconds=0)
    fleet.server.always(HEARTBEATS, stale)
    fleet.world.journal.promoted("agent-1", "i-new", fleet.world.clock.now() + timedelta(seconds=60))
    fleet.world.advance(31)
    assert fleet.world.journal.serving() == {"agent-1": "i-new"}


def interrupted(answer: dict[str, Any]) -> tuple[Fleet, Interruption]:
    """A serving v4c under notice whose second request is answered so."""
    fleet = a_fleet(Build.V4C)
    fleet.server.always("POST termination-imminent", answer)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(200)
    (story,) = fleet.world.interruptions()
    return fleet, story


def test_an_interruption_ends_with_its_replacement_and_when() -> None:
    fleet, story = interrupted({"success": True, "action": "replica_promoted", "new_instance_id": "i-new"})
    assert (story.instance_id, story.agent_id, story.replaced_by) == (fleet.instance_id, "agent-1", "i-new")
    assert story.replaced_at is not None
    assert timedelta(0) <= story.replaced_at - story.noticed_at <= timedelta(seconds=5)
    assert story.deadline_at - story.noticed_at == timedelta(seconds=120)


def test_an_interruption_without_replacement_stays_open() -> None:
    _, story = interrupted({"success": False})
    assert (story.replaced_by, story.replaced_at) == (None, None)


def test_the_interruption_of_a_machine_that_serves_nobody_is_no_story() -> None:
    fleet = a_fleet(Build.V4C, mode=Mode.SPOT)
    spare = fleet.world.start(Installation(build=Build.V5, client_token="t"))
    fleet.server.always("POST register", {"agent_id": "agent-9", "role": "replica"})
    fleet.world.advance(30)
    fleet.world.interrupt(spare)
    assert fleet.world.interruptions() == []


def ended_by_list(*, waived: bool = False, role: str = "primary") -> list[str]:
    """The violations after the server listed the machine itself."""
    server = ScriptedServer()
    server.always("POST register", {"agent_id": "agent-1", "role": role})
    fleet = a_fleet(Build.V4C, server)
    if waived:
        fleet.world.journal.waive(fleet.instance_id)
    listed = {"auto_terminate_enabled": True, "instances": [{"instance_id": fleet.instance_id}]}
    server.always("GET instances-to-terminate", listed)
    fleet.world.advance(61)
    return fleet.wrongs()


def test_ordering_the_serving_machine_ended_is_a_violation_unless_it_was_wanted_i2() -> None:
    assert ended_by_list() == ["I2"]
    assert ended_by_list(waived=True) == []
    assert ended_by_list(role="retired") == []


def test_ordering_a_machine_ended_that_aws_took_already_is_none() -> None:
    fleet = a_fleet(Build.V4C)
    helper = fleet.world.start(Installation(build=Build.V4C, client_token="t"))
    fleet.world.advance(30)
    fleet.world.cloud.terminate(fleet.instance_id)
    listed = {"auto_terminate_enabled": True, "instances": [{"instance_id": fleet.instance_id}]}
    fleet.server.always("GET instances-to-terminate", listed)
    fleet.world.advance(61)
    assert fleet.sent("termination-report", by=helper)
    assert fleet.wrongs() == []
