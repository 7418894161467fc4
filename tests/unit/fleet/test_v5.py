"""v5: coming up, heartbeats, prices, notices, going down (section 5)."""

from typing import Any

import pytest

from spotadapters.fleet import NO_ANSWER, Content, Installation, Response, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode
from tests.support.scripted_server import HERE, POOL_HERE, POOL_THERE, TYPE, WELCOME, Fleet, ScriptedServer, a_fleet

SILENCERS = [
    json_answer({"error": "x"}, status=500),
    json_answer({"error": "x"}, status=404),
    json_answer({"error": "x"}, status=429),
    NO_ANSWER,
    Response(status=200),
    Response(status=204),
    json_answer({}),
    json_answer([]),
    json_answer(None),
    Response(status=200, content=Content.OTHER),
    json_answer({"success": True}, seconds=31),
]


def times(fleet: Fleet, name: str) -> list[float]:
    """When requests of that name were sent, in seconds after the start of the world."""
    start = fleet.world.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return [(one.at - start).total_seconds() for one in fleet.world.journal.exchanges(name)]


def test_the_registration_says_mode_unknown_and_has_account_and_project() -> None:
    fleet = a_fleet(Build.V5)
    (body,) = fleet.sent("register")
    assert set(body) == {
        "cloud_account", "project_id", "region", "hostname", "agent_version", "instance_id", "instance_type",
        "az", "ami_id", "mode", "logical_agent_id",
    }  # fmt: skip
    assert (body["mode"], body["project_id"], body["cloud_account"]) == ("unknown", "default", "")


@pytest.mark.parametrize("answer", [{}, [], None, {"agent_id": None}, {"agent_id": 7}])
def test_a_falsy_registration_or_one_without_a_text_id_ends_it(answer: Any) -> None:
    server = ScriptedServer()
    server.always("POST register", json_answer(answer))
    fleet = a_fleet(Build.V5, server)
    assert not fleet.world.running(fleet.instance_id)
    assert fleet.world.journal.exchanges()[-1].path == "/api/agents/None/shutdown"


def test_the_first_heartbeat_has_the_inventory_and_is_no_reconnect() -> None:
    fleet = a_fleet(Build.V5)
    body = fleet.sent("heartbeat")[0]
    assert set(body) == {"status", "inventory_snapshot", "health_metrics", "reconnect"}
    assert (body["status"], body["reconnect"]) == ("online", False)
    assert set(body["health_metrics"]) == {"uptime", "cpu_percent", "memory_percent"}
    (machine,) = body["inventory_snapshot"]["instances"]
    assert machine == {
        "instance_id": fleet.instance_id, "state": "running", "az": HERE, "instance_type": TYPE,
        "pool": POOL_HERE, "tags": {}, "launch_time": "2026-01-01T00:00:00.000000",
        "private_ip": "10.0.0.2", "public_ip": None,
    }  # fmt: skip


def test_the_inventory_lists_the_whole_region_not_only_what_is_managed_t18() -> None:
    fleet = a_fleet(Build.V5)
    stranger = fleet.world.start(Installation(build=Build.V2, client_token="another"), mode=Mode.ONDEMAND)
    fleet.world.advance(30)
    snapshot = fleet.sent("heartbeat", by=fleet.instance_id)[-1]["inventory_snapshot"]
    assert snapshot["count"] == 2
    assert {one["instance_id"]: one["pool"] for one in snapshot["instances"]}[stranger] is None


def test_a_cloud_that_does_not_answer_reads_as_an_empty_list_with_an_error() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.cloud.outage = True
    fleet.world.advance(30)
    snapshot = fleet.sent("heartbeat")[-1]["inventory_snapshot"]
    assert (snapshot["instances"], snapshot["count"]) == ([], 0)
    assert "ServiceUnavailable" in snapshot["error"]


@pytest.mark.parametrize("answer", SILENCERS)
def test_one_heartbeat_without_a_fruitful_answer_silences_it_for_good_t03(answer: Response) -> None:
    fleet = a_fleet(Build.V5)
    fleet.server.once("POST heartbeat", answer)
    fleet.world.advance(62)
    before = len(fleet.world.journal.exchanges())
    fleet.world.cloud.interrupt(fleet.instance_id)
    fleet.world.advance(100)
    assert len(fleet.world.journal.exchanges()) == before
    assert fleet.world.running(fleet.instance_id), "the process lives"
    assert fleet.wrongs() == ["T03"]


def test_only_a_restart_brings_it_back() -> None:
    fleet = a_fleet(Build.V5)
    fleet.server.once("POST heartbeat", NO_ANSWER)
    fleet.world.advance(60)
    fleet.world.restart_agent(fleet.instance_id)
    fleet.world.advance(60)
    assert len(fleet.sent("commands/pending")) > 12


def test_a_slow_but_fruitful_answer_does_no_harm() -> None:
    fleet = a_fleet(Build.V5)
    fleet.server.once("POST heartbeat", json_answer({"ok": 1}, seconds=29))
    fleet.world.advance(120)
    assert fleet.wrongs() == []


def test_the_stored_id_is_used_again_after_a_restart_with_an_empty_inventory() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.restart_agent(fleet.instance_id)
    fleet.world.advance(1)
    assert len(fleet.sent("register")) == 1
    reconnect = next(body for body in fleet.sent("heartbeat") if body["reconnect"])
    assert reconnect["inventory_snapshot"] == {}
    assert fleet.world.agent(fleet.instance_id).agent_id == "agent-1"


@pytest.mark.parametrize("answer", SILENCERS[:-1])
def test_a_refused_reconnect_makes_it_forget_the_id_and_register_anew(answer: Response) -> None:
    fleet = a_fleet(Build.V5)
    fleet.server.once("POST heartbeat", answer)
    fleet.server.always("POST register", {**WELCOME, "agent_id": "agent-2"})
    fleet.world.restart_agent(fleet.instance_id)
    fleet.world.advance(1)
    assert fleet.world.agent(fleet.instance_id).agent_id == "agent-2"
    assert fleet.world.host(fleet.instance_id).disk == {"agent_id": "agent-2"}
    assert fleet.wrongs() == [], "a refused reconnect costs nothing"


def test_config_is_taken_from_the_registration_and_every_heartbeat_default_false() -> None:
    server = ScriptedServer()
    server.always("POST register", {**WELCOME, "config": {"auto_switch_enabled": True}})
    fleet = a_fleet(Build.V5, server)
    agent: Any = fleet.world.agent(fleet.instance_id)
    assert agent.settings == {"auto_switch_enabled": True, "auto_terminate_enabled": False}
    server.always("POST heartbeat", {"config": {"auto_terminate_enabled": True}})
    fleet.world.advance(30)
    assert agent.settings == {"auto_switch_enabled": False, "auto_terminate_enabled": True}


def test_it_fetches_no_configuration() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.advance(200)
    assert fleet.sent("config") == []


def test_prices_come_in_two_shapes_in_one_list_with_naive_times_e74_t24() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.advance(60)
    at = "2026-01-01T00:01:25.000000"
    assert fleet.sent("pricing-report") == [
        {
            "agent_id": "agent-1",
            "pricing_data_array": [
                {"instance_type": TYPE, "az": HERE, "pool_id": POOL_HERE, "spot_price": 0.04, "timestamp": at},
                {"instance_type": TYPE, "az": "us-east-1b", "pool_id": POOL_THERE, "spot_price": 0.03, "timestamp": at},
                {"instance_type": TYPE, "price_type": "ondemand", "price": 0.096, "timestamp": at},
            ],
            "timestamp": at,
        }
    ]


def test_without_prices_the_list_is_empty() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.cloud.outage = True
    fleet.world.advance(60)
    assert fleet.sent("pricing-report")[0]["pricing_data_array"] == []


def test_a_failed_request_makes_its_loop_sleep_two_four_eight_seconds_on_top_of_its_pause() -> None:
    fleet = a_fleet(Build.V5)
    for _ in range(3):
        fleet.server.once("GET commands/pending", NO_ANSWER)
    fleet.world.advance(29.9)  # the next heartbeat resets the counter
    assert times(fleet, "commands/pending") == [25, 30, 30 + 2 + 5, 37 + 4 + 5, 46 + 8 + 5][:4]


def test_a_success_of_any_loop_resets_the_one_counter() -> None:
    fleet = a_fleet(Build.V5)
    agent: Any = fleet.world.agent(fleet.instance_id)
    agent.failures = 20
    fleet.world.advance(5)
    assert agent.failures == 0


def test_the_backoff_never_exceeds_three_hundred_seconds() -> None:
    fleet = a_fleet(Build.V5)
    agent: Any = fleet.world.agent(fleet.instance_id)
    fleet.server.once("GET commands/pending", NO_ANSWER)
    agent.failures = 30
    fleet.world.advance(700)
    sent = times(fleet, "commands/pending")
    assert sent[2] - sent[1] == 305


def test_a_failing_loop_does_not_slow_the_heartbeat() -> None:
    fleet = a_fleet(Build.V5)
    fleet.server.always("GET commands/pending", NO_ANSWER)
    fleet.world.advance(121)
    assert len(fleet.sent("heartbeat")) == 5


def test_a_termination_is_warned_of_every_ten_seconds_while_it_stands_e56_t23_t29() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(59)
    assert (
        fleet.sent("termination-report")
        == [
            {
                "cloud_instance_id": fleet.instance_id,
                "notice_type": "TERMINATION",
                "termination_time": "2026-01-01T00:02:25Z",
            }
        ]
        * 5
    )


@pytest.mark.parametrize("action", ["stop", "hibernate"])
def test_stop_and_hibernate_are_told_as_a_rebalance_e53(action: str) -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.cloud.interrupt(fleet.instance_id, action=action)
    fleet.world.advance(11)
    assert fleet.sent("rebalance-recommendation")[0] == {
        "cloud_instance_id": fleet.instance_id,
        "notice_type": "REBALANCE",
        "notice_time": "2026-01-01T00:02:25Z",
    }


def test_the_rebalance_signal_is_not_seen() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(60)
    assert fleet.sent("rebalance-recommendation") == []


def test_an_error_in_answer_to_a_notice_makes_the_notice_loop_sleep_t17() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.interrupt(fleet.instance_id)
    fleet.server.always("POST termination-report", NO_ANSWER)
    fleet.server.always("GET commands/pending", NO_ANSWER)
    fleet.world.advance(119)
    assert len(fleet.sent("termination-report")) < 8


def test_shutdown_is_its_only_sign_of_going_offline_e27() -> None:
    fleet = a_fleet(Build.V5)
    fleet.world.stop_agent(fleet.instance_id)
    fleet.world.advance(1)
    (body,) = fleet.sent("shutdown")
    assert set(body) == {"cloud_instance_id", "timestamp", "metadata"}
    assert body["cloud_instance_id"] == fleet.instance_id
    assert set(body["metadata"]) == {"uptime", "final_state"}
    assert not body["timestamp"].endswith(("Z", "+00:00"))
    assert all(beat["status"] == "online" for beat in fleet.sent("heartbeat"))
