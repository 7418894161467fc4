"""v4c: registration, heartbeats, prices, commands and switches (section 2)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from spotadapters.fleet import NO_ANSWER, Content, FixedPrices, MachineState, Response, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode, Pool
from tests.support.scripted_server import (
    HERE,
    POOL_HERE,
    POOL_THERE,
    PRICES,
    THERE,
    TYPE,
    Fleet,
    ScriptedServer,
    a_fleet,
)


def a_switch(**changes: Any) -> dict[str, Any]:
    return {
        "id": "c-1",
        "command_type": "switch",
        "target_mode": "spot",
        "target_pool_id": POOL_THERE,
        "terminate_wait_seconds": 0,
        "priority": 25,
        **changes,
    }


def switched(*commands: dict[str, Any], seconds: float = 120, **settings: Any) -> Fleet:
    """A fleet that was handed these commands in one answer."""
    fleet = a_fleet(Build.V4C, **settings)
    fleet.server.once("GET pending-commands", {"commands": list(commands)})
    fleet.world.advance(seconds)
    return fleet


def acknowledged(fleet: Fleet) -> list[tuple[str, bool]]:
    return [
        (one.name, bool((one.body or {})["success"]))
        for one in fleet.world.journal.exchanges()
        if one.name.endswith("/executed")
    ]


def test_the_registration_names_everything_once() -> None:
    (body,) = a_fleet(Build.V4C).sent("register")
    assert set(body) == {
        "client_token", "hostname", "instance_id", "instance_type", "region", "az", "ami_id",
        "agent_version", "logical_agent_id", "mode", "private_ip", "public_ip",
    }  # fmt: skip
    assert (body["region"], body["az"], body["mode"], body["public_ip"]) == ("us-east-1", HERE, "spot", None)


def test_metadata_that_failed_registers_as_the_text_unknown() -> None:
    fleet = a_fleet(Build.V4C, booted=False)
    fleet.world.cloud.break_metadata(fleet.instance_id)
    fleet.world.advance(25)
    (body,) = fleet.sent("register")
    names = ("instance_id", "instance_type", "region", "az", "ami_id", "hostname", "logical_agent_id")
    assert {body[name] for name in names} == {"unknown"}
    assert body["private_ip"] is None


def test_a_heartbeat_names_its_machine_type_and_zone_null_without_metadata_z23() -> None:
    fleet = a_fleet(Build.V4C)
    assert fleet.sent("heartbeat")[0] == {
        "status": "online",
        "monitored_instances": [fleet.instance_id],
        "instance_id": fleet.instance_id,
        "instance_type": TYPE,
        "mode": "spot",
        "az": HERE,
    }
    fleet.world.cloud.break_metadata(fleet.instance_id)
    fleet.world.advance(30)
    assert (fleet.sent("heartbeat")[1]["instance_type"], fleet.sent("heartbeat")[1]["az"]) == (None, None)


def test_the_last_heartbeat_of_a_clean_stop_names_no_machine() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.stop_agent(fleet.instance_id)
    fleet.world.advance(0)
    assert fleet.sent("heartbeat")[-1] == {"status": "offline", "monitored_instances": []}


def test_heartbeats_answered_404_never_bring_the_question_whether_the_agent_still_exists_t01() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always("POST heartbeat", json_answer({}, status=404))
    fleet.world.advance(25 * 30)
    assert len(fleet.sent("heartbeat")) == 26
    assert not [one for one in fleet.world.journal.exchanges() if one.path == "/api/agents/agent-1"]


# ---- prices


def test_a_price_report_on_spot_is_shape_b_e74() -> None:
    fleet = a_fleet(Build.V4C)
    (report,) = fleet.sent("pricing-report")
    assert report["instance"] == {
        "instance_id": fleet.instance_id, "instance_type": TYPE, "region": "us-east-1", "az": HERE,
        "mode": "spot", "pool_id": POOL_HERE,
    }  # fmt: skip
    pricing = report["pricing"]
    assert (pricing["on_demand_price"], pricing["current_spot_price"]) == (0.096, 0.04)
    assert pricing["cheapest_pool"] == {"pool_id": POOL_THERE, "price": 0.03}
    assert pricing["spot_pools"][0] == {"pool_id": POOL_HERE, "instance_type": TYPE, "az": HERE, "price": 0.04}
    assert pricing["collected_at"] == "2026-01-01T00:00:25.000000+00:00"


def test_off_spot_the_own_price_and_the_cheapest_pool_are_null_but_the_list_is_filled() -> None:
    (report,) = a_fleet(Build.V4C, mode=Mode.ONDEMAND).sent("pricing-report")
    assert report["instance"]["pool_id"] is None
    assert (report["pricing"]["current_spot_price"], report["pricing"]["cheapest_pool"]) == (None, None)
    assert len(report["pricing"]["spot_pools"]) == 2


def test_without_a_price_list_the_on_demand_price_is_three_times_the_mean_spot_price_z33() -> None:
    prices = FixedPrices(spot_by_pool=PRICES.spot_by_pool)
    (report,) = a_fleet(Build.V4C, prices=prices).sent("pricing-report")
    assert report["pricing"]["on_demand_price"] == pytest.approx(0.105)


def test_without_any_price_the_on_demand_price_is_a_made_up_tenth_z33() -> None:
    (report,) = a_fleet(Build.V4C, prices=FixedPrices()).sent("pricing-report")
    assert report["pricing"]["on_demand_price"] == 0.1
    assert (report["pricing"]["cheapest_pool"], report["pricing"]["spot_pools"]) == (None, [])


def test_a_cleanup_report_comes_after_a_minute_and_then_hourly() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.advance(59)
    assert fleet.sent("cleanup-report") == []
    fleet.world.advance(3602)
    first, _ = fleet.sent("cleanup-report")
    assert set(first) == {"timestamp", "snapshots", "amis"}
    assert set(first["snapshots"]) == {"type", "deleted", "failed", "cutoff_date"}
    assert set(first["amis"]) == {"type", "deleted_amis", "deleted_snapshots", "failed", "cutoff_date"}


# ---- reading commands


@pytest.mark.parametrize(
    "answer",
    [
        [a_switch()],
        {"commands": [a_switch()]},
        {"pending_commands": [a_switch()]},
        {"data": [a_switch()]},
        {"status": "success", "commands": [a_switch()], "data": {"commands": []}},
        {"commands": [a_switch()], "pending_commands": [a_switch(id="c-2")]},
        ["noise", None, a_switch()],
    ],
)
def test_commands_are_a_bare_list_or_stand_under_the_first_present_of_three_keys(answer: Any) -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once("GET pending-commands", answer)
    fleet.world.advance(120)
    assert acknowledged(fleet) == [("commands/c-1/executed", True)]


@pytest.mark.parametrize(
    "answer",
    [
        {"data": {"commands": [a_switch()]}},
        {"commands": None, "data": [a_switch()]},
        {"commands": {"c-1": a_switch()}, "data": [a_switch()]},
        {"commands": []},
        {},
        {"commands": ["c-1", 7]},
    ],
)
def test_an_object_or_null_under_that_key_means_no_commands_and_does_no_harm(answer: Any) -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once("GET pending-commands", answer)
    fleet.world.advance(120)
    assert fleet.launched() == []
    assert fleet.world.running(fleet.instance_id)


@pytest.mark.parametrize("answer", [NO_ANSWER, Response(status=200), Response(status=200, content=Content.OTHER)])
def test_an_unreadable_answer_means_no_commands(answer: Response) -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once("GET pending-commands", answer)
    fleet.world.advance(31)
    assert fleet.world.running(fleet.instance_id)


def test_only_the_first_usable_command_of_an_answer_is_executed() -> None:
    fleet = switched(a_switch(), a_switch(id="c-2"))
    assert acknowledged(fleet) == [("commands/c-1/executed", True)]
    assert len(fleet.launched()) == 1


def test_commands_without_id_or_target_mode_are_skipped_and_never_acknowledged() -> None:
    fleet = switched(a_switch(id=None), a_switch(id="c-2", target_mode=None), a_switch(id="c-3"))
    assert acknowledged(fleet) == [("commands/c-3/executed", True)]


@pytest.mark.parametrize("word", ["TERMINATE_INSTANCE", "LAUNCH_INSTANCE", None, "anything"])
def test_every_other_command_type_is_taken_for_a_switch_t11(word: str | None) -> None:
    assert acknowledged(switched(a_switch(command_type=word))) == [("commands/c-1/executed", True)]


def test_a_disabled_agent_fetches_no_commands_but_every_other_loop_goes_on_z24() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always("GET config", {"enabled": False})
    fleet.world.advance(61)
    before = len(fleet.world.journal.exchanges())
    fleet.world.advance(120)
    names = {one.name for one in fleet.world.journal.exchanges()[before:]}
    assert names == {"heartbeat", "config", "replicas", "instances-to-terminate"}


def test_an_enabled_agent_fetches_commands_again() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once("GET config", {"enabled": False})
    fleet.world.advance(61)
    fleet.server.always("GET config", {"enabled": True})
    fleet.world.advance(120)
    assert len(fleet.sent("pending-commands")) > 5


@pytest.mark.parametrize("wait", [None, "300"])
def test_a_wait_that_is_no_number_fails_on_every_poll_without_acknowledgement_t10(wait: object) -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always("GET pending-commands", {"commands": [a_switch(terminate_wait_seconds=wait)]})
    fleet.world.advance(61)
    assert fleet.wrongs() == ["T10"] * 4
    assert fleet.launched() == []
    assert acknowledged(fleet) == []


def test_a_missing_wait_leaves_the_old_host_running() -> None:
    command = a_switch()
    del command["terminate_wait_seconds"]
    fleet = switched(command, seconds=600)
    assert fleet.world.running(fleet.instance_id)


def test_a_null_priority_orphans_the_launched_machine_and_no_report_is_sent_t10() -> None:
    fleet = switched(a_switch(priority=None))
    assert fleet.wrongs() == ["T10"]
    assert len(fleet.launched()) == 1
    assert fleet.sent("switch-report") == []
    assert acknowledged(fleet) == [("commands/c-1/executed", False)]


@pytest.mark.parametrize(("priority", "trigger"), [(0, "model"), (49, "model"), (50, "manual"), (100, "manual")])
def test_a_priority_of_fifty_or_more_is_reported_as_manual(priority: int, trigger: str) -> None:
    assert switched(a_switch(priority=priority)).sent("switch-report")[0]["trigger"] == trigger


def test_a_missing_priority_counts_as_nought() -> None:
    command = a_switch()
    del command["priority"]
    assert switched(command).sent("switch-report")[0]["trigger"] == "model"


# ---- switches


def test_a_switch_launches_the_same_type_and_image_in_the_zone_after_the_last_dot_t25() -> None:
    fleet = switched(a_switch())
    (new_id,) = fleet.launched()
    old, new = fleet.world.cloud.machine(fleet.instance_id), fleet.world.cloud.machine(new_id)
    assert (new.instance_type, new.ami_id, new.az, new.mode) == (old.instance_type, old.ami_id, THERE, Mode.SPOT)


def test_the_report_comes_before_the_acknowledgement() -> None:
    fleet = switched(a_switch())
    names = [one.name for one in fleet.world.journal.exchanges()]
    assert names.index("switch-report") < names.index("commands/c-1/executed")


def test_the_report_has_prices_four_times_and_no_command_id_e75() -> None:
    fleet = switched(a_switch())
    (report,) = fleet.sent("switch-report")
    assert set(report) == {"old_instance", "new_instance", "snapshot", "prices", "timing", "trigger"}
    assert report["prices"] == {"on_demand": 0.096, "old_spot": 0.04, "new_spot": 0.03}
    assert report["snapshot"] == {"used": False}
    assert report["old_instance"]["pool_id"] == POOL_HERE
    assert report["new_instance"] == {
        "instance_id": fleet.launched()[0], "instance_type": TYPE, "region": "us-east-1", "az": THERE,
        "ami_id": report["old_instance"]["ami_id"], "mode": "spot", "pool_id": POOL_THERE,
    }  # fmt: skip
    at = [datetime.fromisoformat(text) for text in report["timing"].values()]
    assert list(report["timing"]) == [
        "switch_initiated_at", "new_instance_launched_at", "new_instance_ready_at", "traffic_switched_at",
    ]  # fmt: skip
    assert at == sorted(at)
    assert at[3] - at[2] == timedelta(seconds=2)
    assert all(text.endswith("+00:00") for text in report["timing"].values())


def test_spot_prices_are_reported_only_for_the_sides_on_spot() -> None:
    to_ondemand = switched(a_switch(target_mode="ondemand", target_pool_id=None))
    assert to_ondemand.sent("switch-report")[0]["prices"] == {"on_demand": 0.096, "old_spot": 0.04}
    to_spot = switched(a_switch(), mode=Mode.ONDEMAND)
    assert to_spot.sent("switch-report")[0]["prices"] == {"on_demand": 0.096, "new_spot": 0.03}


def test_unknown_prices_are_reported_as_null() -> None:
    prices = switched(a_switch(), prices=FixedPrices()).sent("switch-report")[0]["prices"]
    assert prices == {"on_demand": None, "old_spot": None, "new_spot": None}


def test_a_switch_to_ondemand_stays_in_the_same_zone() -> None:
    fleet = switched(a_switch(target_mode="ondemand", target_pool_id=POOL_THERE))
    new = fleet.world.cloud.machine(fleet.launched()[0])
    assert (new.az, new.mode) == (HERE, Mode.ONDEMAND)
    assert fleet.sent("switch-report")[0]["new_instance"]["pool_id"] is None


def test_spot_without_a_pool_launches_on_demand_and_still_reports_spot() -> None:
    fleet = switched(a_switch(target_pool_id=None))
    new = fleet.world.cloud.machine(fleet.launched()[0])
    assert (new.az, new.mode) == (HERE, Mode.ONDEMAND)
    assert fleet.sent("switch-report")[0]["new_instance"]["mode"] == "spot"
    assert fleet.wrongs() == ["T07"]


def test_a_wait_of_nought_leaves_two_hosts_under_one_agent_id_both_polling_t08() -> None:
    fleet = switched(a_switch(), seconds=300, logical_id="web-1")
    (new_id,) = fleet.launched()
    assert fleet.world.running(fleet.instance_id)
    assert fleet.world.running(new_id)
    named = [body["instance_id"] for body in fleet.sent("heartbeat")[-4:]]
    assert set(named) == {fleet.instance_id, new_id}
    assert fleet.sent("pending-commands", by=new_id)
    assert "old_instance_terminated_at" not in fleet.sent("switch-report")[0]["timing"]


def test_the_new_host_registers_under_the_configured_logical_id_before_the_report_z21() -> None:
    fleet = switched(a_switch(), logical_id="web-1")
    names = [one.name for one in fleet.world.journal.exchanges()]
    second_registration = len(names) - 1 - names[::-1].index("register")
    assert second_registration < names.index("switch-report")
    assert [body["logical_agent_id"] for body in fleet.sent("register")] == ["web-1", "web-1"]


def test_without_a_configured_logical_id_the_new_host_is_another_logical_agent_rg_10() -> None:
    fleet = switched(a_switch())
    assert [body["logical_agent_id"] for body in fleet.sent("register")] == [fleet.instance_id, *fleet.launched()]


def test_with_a_wait_the_host_ends_itself_before_it_could_report_z21() -> None:
    fleet = switched(a_switch(terminate_wait_seconds=300), seconds=600)
    assert fleet.world.cloud.machine(fleet.instance_id).state is MachineState.TERMINATED
    assert fleet.sent("switch-report") == []
    assert acknowledged(fleet) == []


def test_a_host_that_shuts_down_slowly_still_gets_report_and_acknowledgement_out() -> None:
    fleet = switched(a_switch(terminate_wait_seconds=300), seconds=600, shutdown_seconds=5)
    (report,) = fleet.sent("switch-report")
    assert "old_instance_terminated_at" in report["timing"]
    assert acknowledged(fleet) == [("commands/c-1/executed", True)]
    assert fleet.sent("heartbeat", by=fleet.instance_id)[-1]["status"] == "offline"
    assert not fleet.world.running(fleet.instance_id)


def test_while_it_waits_it_fetches_no_commands_but_heartbeats_go_on_t21() -> None:
    fleet = switched(a_switch(terminate_wait_seconds=300), seconds=30)
    polls, beats = (len(fleet.sent(name, by=fleet.instance_id)) for name in ("pending-commands", "heartbeat"))
    fleet.world.advance(240)
    assert len(fleet.sent("pending-commands", by=fleet.instance_id)) == polls
    assert len(fleet.sent("heartbeat", by=fleet.instance_id)) == beats + 8


def test_a_host_that_may_not_end_itself_reports_and_stays() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.protect(fleet.instance_id)
    fleet.server.once("GET pending-commands", [a_switch(terminate_wait_seconds=60)])
    fleet.world.advance(200)
    assert "old_instance_terminated_at" not in fleet.sent("switch-report")[0]["timing"]
    assert fleet.world.running(fleet.instance_id)


def test_a_command_handed_out_twice_is_executed_twice_t08() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once("GET pending-commands", [a_switch()])
    fleet.server.once("GET pending-commands", [a_switch()])
    fleet.world.advance(200)
    assert len(fleet.launched()) == 2
    assert fleet.wrongs() == ["T08"]


def test_a_refused_launch_is_acknowledged_as_failed_and_nothing_is_reported() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.exhaust(Pool(TYPE, THERE))
    fleet.server.once("GET pending-commands", [a_switch()])
    fleet.world.advance(60)
    assert acknowledged(fleet) == [("commands/c-1/executed", False)]
    assert fleet.sent("switch-report") == []
    assert "InsufficientInstanceCapacity" in fleet.sent("commands/c-1/executed")[0]["message"]


def test_a_machine_that_does_not_start_in_ten_minutes_fails_the_switch() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.set_boot_seconds(Pool(TYPE, THERE), 3600)
    fleet.server.once("GET pending-commands", [a_switch()])
    fleet.world.advance(700)
    assert acknowledged(fleet) == [("commands/c-1/executed", False)]


def test_an_acknowledgement_answered_with_an_error_is_lost() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.always("POST commands/c-1/executed", json_answer({}, status=500))
    fleet.server.once("GET pending-commands", [a_switch()])
    fleet.world.advance(600)
    assert len(acknowledged(fleet)) == 1


def test_other_loops_go_on_while_one_request_hangs() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once("GET pending-commands", json_answer([], seconds=29))
    before = len(fleet.sent("heartbeat"))
    fleet.world.advance(40)
    assert len(fleet.sent("heartbeat")) == before + 1


def test_the_host_dies_in_the_middle_of_a_switch_and_nothing_more_is_heard() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once("GET pending-commands", [a_switch()])
    fleet.world.advance(20)
    fleet.world.cloud.terminate(fleet.instance_id)
    fleet.world.advance(600)
    assert len(fleet.launched()) == 1
    assert fleet.sent("switch-report") == []
    assert acknowledged(fleet) == []


# ---- create_replica, which the server never queues (Z29)


def test_create_replica_launches_first_and_tells_afterwards_e45() -> None:
    server = ScriptedServer()
    server.always("POST replicas", {"replica_id": "r-1"})
    fleet = a_fleet(Build.V4C, server)
    fleet.server.once("GET pending-commands", [{"id": "c-1", "command_type": "create_replica"}])
    fleet.world.advance(60)
    (machine,) = fleet.launched()
    (posted,) = [one.body for one in fleet.world.journal.exchanges("replicas") if one.method == "POST"]
    assert posted == {
        "instance_id": machine, "replica_type": "manual", "parent_instance_id": fleet.instance_id,
        "pool_id": None, "status": "launching",
    }  # fmt: skip
    assert [body["status"] for body in fleet.sent("replicas/r-1/status")] == ["syncing", "ready"]
    assert acknowledged(fleet) == [("commands/c-1/executed", True)]


def test_create_replica_without_an_id_in_the_answer_forgets_the_machine() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.server.once(
        "GET pending-commands", [{"id": "c-1", "command_type": "create_replica", "target_pool_id": POOL_THERE}]
    )
    fleet.world.advance(60)
    assert fleet.deeds("forgot") == [{"machine": fleet.launched()[0]}]
    assert fleet.world.cloud.machine(fleet.launched()[0]).az == THERE
    assert acknowledged(fleet) == [("commands/c-1/executed", False)]


def test_create_replica_that_the_cloud_refuses_is_acknowledged_as_failed() -> None:
    fleet = a_fleet(Build.V4C)
    fleet.world.cloud.exhaust(Pool(TYPE, HERE))
    fleet.server.once("GET pending-commands", [{"id": "c-1", "command_type": "create_replica"}])
    fleet.world.advance(60)
    assert acknowledged(fleet) == [("commands/c-1/executed", False)]
