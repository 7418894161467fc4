"""v4n: notices and decisions, no commands (section 4)."""

from typing import Any
from uuid import UUID

import pytest

from spotadapters.fleet import FixedPrices, Installation, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode
from tests.support.scripted_server import HERE, POOL_HERE, POOL_THERE, PRICES, TYPE, Fleet, ScriptedServer, a_fleet

NOTICE = "rebalance-recommendation"


def noticed(*, action: str = "terminate", seconds: float = 60, **settings: Any) -> Fleet:
    """A fleet that has been under a notice for a while."""
    fleet = a_fleet(Build.V4N, **settings)
    fleet.world.cloud.interrupt(fleet.instance_id, action=action)
    fleet.world.advance(seconds)
    return fleet


def test_the_registration_has_no_token_and_nulls_for_what_metadata_did_not_tell() -> None:
    fleet = a_fleet(Build.V4N, booted=False)
    fleet.world.cloud.break_metadata(fleet.instance_id)
    fleet.world.advance(25)
    (body,) = fleet.sent("register")
    assert set(body) == {
        "logical_agent_id", "instance_id", "instance_type", "region", "az", "mode", "hostname", "ami_id",
        "agent_version", "private_ip", "public_ip",
    }  # fmt: skip
    assert (body["instance_id"], body["instance_type"], body["az"], body["ami_id"]) == (None, None, None, None)


def test_an_answer_without_an_id_leaves_it_working_for_none_forever() -> None:
    server = ScriptedServer()
    server.always("POST register", {})
    fleet = a_fleet(Build.V4N, server)
    fleet.world.advance(90)
    assert {one.path for one in fleet.world.journal.exchanges()[1:]} == {
        "/api/agents/None/heartbeat",
        "/api/agents/None/config",
        "/api/agents/None/decide",
    }


def test_a_heartbeat_has_only_the_status_and_is_followed_at_once_by_the_configuration() -> None:
    fleet = a_fleet(Build.V4N)
    fleet.world.advance(30)
    beats = fleet.world.journal.exchanges("heartbeat")
    configs = fleet.world.journal.exchanges("config")
    assert [one.body for one in beats] == [{"status": "online"}] * 2
    assert [one.at for one in beats] == [one.at for one in configs]


def test_a_disabled_agent_says_so_and_asks_for_no_decisions() -> None:
    fleet = a_fleet(Build.V4N)
    fleet.server.always("GET config", {"enabled": False})
    fleet.world.advance(400)
    assert fleet.sent("heartbeat")[-1] == {"status": "disabled"}
    assert fleet.sent("decide") == []


def test_the_first_decision_is_asked_for_after_a_minute_then_every_five_e62() -> None:
    fleet = a_fleet(Build.V4N)
    fleet.world.advance(59)
    assert fleet.sent("decide") == []
    fleet.world.advance(1)
    assert fleet.sent("decide") == [
        {
            "spot_pools": [
                {"pool_id": POOL_HERE, "instance_type": TYPE, "az": HERE, "price": 0.04, "is_current": True},
                {"pool_id": POOL_THERE, "instance_type": TYPE, "az": "us-east-1b", "price": 0.03, "is_current": False},
            ],
            "ondemand_price": 0.096,
            "current_az": HERE,
        }
    ]
    fleet.world.advance(300)
    assert len(fleet.sent("decide")) == 2


def test_an_unreadable_price_list_reads_a_tenth_and_a_failed_cloud_nought() -> None:
    fleet = a_fleet(Build.V4N, prices=FixedPrices(spot_by_pool=PRICES.spot_by_pool))
    fleet.world.advance(60)
    assert fleet.sent("decide")[0]["ondemand_price"] == 0.1
    fleet.world.cloud.outage = True
    fleet.world.advance(300)
    assert (fleet.sent("decide")[1]["ondemand_price"], fleet.sent("decide")[1]["spot_pools"]) == (0.0, [])


def test_a_decision_is_only_logged() -> None:
    fleet = a_fleet(Build.V4N)
    fleet.server.always("POST decide", {"action": "SWITCH", "confidence": 0.9, "reasoning": "cheaper"})
    fleet.world.advance(60)
    assert fleet.deeds("logged_decision") == [{"action": "SWITCH", "confidence": 0.9}]
    assert fleet.launched() == []


def test_a_missing_action_and_confidence_are_fine() -> None:
    fleet = a_fleet(Build.V4N)
    fleet.server.always("POST decide", {})
    fleet.world.advance(60)
    assert fleet.deeds("logged_decision") == [{"action": "NO_ACTION", "confidence": 0.0}]


@pytest.mark.parametrize("confidence", [None, "0.9"])
def test_a_confidence_that_is_no_number_breaks_the_turn_t15(confidence: object) -> None:
    fleet = a_fleet(Build.V4N)
    fleet.server.always("POST decide", {"confidence": confidence})
    fleet.world.advance(60)
    assert fleet.wrongs() == ["T15"]


def test_a_refused_decision_is_not_read() -> None:
    fleet = a_fleet(Build.V4N)
    fleet.server.always("POST decide", json_answer({"confidence": None}, status=500))
    fleet.world.advance(60)
    assert fleet.wrongs() == []
    assert fleet.deeds("logged_decision") == []


def test_it_never_fetches_commands_nor_reports_prices_t22() -> None:
    fleet = noticed(seconds=100)
    names = {one.name for one in fleet.world.journal.exchanges()}
    assert names == {"register", "heartbeat", "config", "decide", NOTICE, "emergency-status"}


def test_a_termination_is_told_as_immediate_every_ten_seconds_while_it_stands_e53_t29() -> None:
    fleet = noticed(seconds=119)
    bodies = fleet.sent(NOTICE)
    assert len(bodies) == 11
    assert all(body == {"notice_time": "2026-01-01T00:02:25Z", "immediate": True} for body in bodies)


@pytest.mark.parametrize("action", ["stop", "hibernate"])
def test_any_other_action_is_told_without_immediate(action: str) -> None:
    assert all(set(body) == {"notice_time"} for body in noticed(action=action).sent(NOTICE))


def test_each_notice_is_followed_by_the_emergency_status_whose_answer_changes_nothing() -> None:
    fleet = noticed()
    names = [one.name for one in fleet.world.journal.exchanges() if one.name in (NOTICE, "emergency-status")]
    assert names == [NOTICE, "emergency-status"] * 6


def test_the_body_names_no_machine() -> None:
    assert not any("instance_id" in body for body in noticed().sent(NOTICE))


def test_it_does_not_see_the_rebalance_signal() -> None:
    fleet = a_fleet(Build.V4N)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.advance(60)
    assert fleet.sent(NOTICE) == []


def test_on_demand_at_the_start_it_looks_for_no_notice_at_all() -> None:
    fleet = a_fleet(Build.V4N, mode=Mode.ONDEMAND)
    fleet.world.advance(100)
    assert fleet.sent(NOTICE) == []


def test_every_notice_has_a_new_uuid_and_everything_after_it_carries_it_t05() -> None:
    fleet = noticed(seconds=45)
    exchanges = fleet.world.journal.exchanges()
    first = next(index for index, one in enumerate(exchanges) if one.name == NOTICE)
    assert all("X-Request-ID" not in one.headers for one in exchanges[:first])
    current = None
    for one in exchanges[first:]:
        if one.name == NOTICE:
            assert one.headers["X-Request-ID"] != current
            current = one.headers["X-Request-ID"]
            assert str(UUID(current)) == current
        assert one.headers["X-Request-ID"] == current
    assert {one.name for one in exchanges[first:]} >= {"heartbeat", "config", "emergency-status", NOTICE}


def test_two_hosts_never_share_a_request_id() -> None:
    fleet = a_fleet(Build.V4N)
    other = fleet.world.start(Installation(build=Build.V4N, client_token="token-1"))
    fleet.world.advance(25)
    for instance_id in (fleet.instance_id, other):
        fleet.world.cloud.interrupt(instance_id)
    fleet.world.advance(60)
    ids = [one.headers["X-Request-ID"] for one in fleet.world.journal.exchanges(NOTICE)]
    assert len(ids) == len(set(ids)) == 12


def test_a_refused_notice_is_told_again_ten_seconds_later() -> None:
    server = ScriptedServer()
    server.always(f"POST {NOTICE}", json_answer({}, status=500))
    fleet = a_fleet(Build.V4N, server)
    fleet.world.cloud.interrupt(fleet.instance_id)
    fleet.world.advance(31)
    assert len(fleet.sent(NOTICE)) == 3
