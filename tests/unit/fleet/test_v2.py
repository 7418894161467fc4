"""v2: switches only (section 3)."""

from typing import Any

import pytest

from spotadapters.fleet import FixedPrices, MachineState, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode, Pool
from tests.support.scripted_server import HERE, POOL_HERE, POOL_THERE, PRICES, THERE, TYPE, Fleet, a_fleet


def a_command(**changes: Any) -> dict[str, Any]:
    return {"id": "c-1", "target_mode": "spot", "target_pool_id": POOL_THERE, "priority": 25, **changes}


def switched(*commands: dict[str, Any], seconds: float = 120, **settings: Any) -> Fleet:
    """A fleet that was handed these commands in one answer; its host stays unless told otherwise."""
    fleet = a_fleet(Build.V2, **{"auto_terminate": False, **settings})
    fleet.server.once("GET pending-commands", {"commands": list(commands)})
    fleet.world.advance(seconds)
    return fleet


def marked(fleet: Fleet) -> list[Any]:
    return [body["command_id"] for body in fleet.sent("mark-command-executed")]


def test_the_registration_has_no_mode_and_no_addresses() -> None:
    (body,) = a_fleet(Build.V2).sent("register")
    assert set(body) == {
        "client_token", "hostname", "instance_id", "instance_type", "region", "az", "ami_id",
        "agent_version", "logical_agent_id",
    }  # fmt: skip


def test_a_heartbeat_has_only_status_and_monitored_instances() -> None:
    fleet = a_fleet(Build.V2)
    assert fleet.sent("heartbeat")[0] == {"status": "online", "monitored_instances": [fleet.instance_id]}


def test_a_price_report_is_shape_a_e74() -> None:
    fleet = a_fleet(Build.V2)
    (report,) = fleet.sent("pricing-report")
    assert report == {
        "instance": {
            "instance_id": fleet.instance_id, "instance_type": TYPE, "region": "us-east-1", "az": HERE,
            "current_mode": "spot", "current_pool_id": POOL_HERE,
        },
        "on_demand_price": {"price": 0.096},
        "spot_pools": [
            {"pool_id": POOL_HERE, "instance_type": TYPE, "az": HERE, "price": 0.04},
            {"pool_id": POOL_THERE, "instance_type": TYPE, "az": THERE, "price": 0.03},
        ],
    }  # fmt: skip


def test_off_spot_the_pool_is_null_and_a_missing_price_list_reads_a_tenth_z33() -> None:
    prices = FixedPrices(spot_by_pool=PRICES.spot_by_pool)
    (report,) = a_fleet(Build.V2, mode=Mode.ONDEMAND, prices=prices).sent("pricing-report")
    assert report["instance"]["current_pool_id"] is None
    assert report["on_demand_price"] == {"price": 0.1}


@pytest.mark.parametrize("word", ["create_replica", "TERMINATE_INSTANCE", "APPLY_CONFIG", None])
def test_every_command_with_a_target_mode_is_a_switch_t11_t12(word: str | None) -> None:
    fleet = switched(a_command(command_type=word))
    assert len(fleet.launched()) == len(fleet.sent("switch-report")) == 1


def test_a_command_without_target_mode_is_acknowledged_and_dropped() -> None:
    fleet = switched(a_command(target_mode=None))
    assert marked(fleet) == ["c-1"]
    assert fleet.launched() == []


def test_dropped_ones_aside_only_the_first_usable_command_is_executed() -> None:
    fleet = switched(
        a_command(id=None), a_command(id="c-1", target_mode=None), a_command(id="c-2"), a_command(id="c-3")
    )
    assert marked(fleet) == ["c-1", "c-2"]
    assert len(fleet.launched()) == 1


def test_the_acknowledgement_says_nothing_of_success() -> None:
    assert switched(a_command()).sent("mark-command-executed") == [{"command_id": "c-1"}]


def test_a_failed_switch_is_acknowledged_as_well_t19() -> None:
    fleet = a_fleet(Build.V2)
    fleet.world.cloud.exhaust(Pool(TYPE, THERE))
    fleet.server.once("GET pending-commands", [a_command()])
    fleet.world.advance(30)
    assert marked(fleet) == ["c-1"]
    assert fleet.sent("switch-report") == []


def test_a_null_priority_fails_after_the_launch() -> None:
    fleet = switched(a_command(priority=None))
    assert len(fleet.launched()) == 1
    assert fleet.sent("switch-report") == []
    assert marked(fleet) == ["c-1"]
    assert fleet.wrongs() == ["T10"]


@pytest.mark.parametrize("wait", [0, 60, None, "never"])
def test_the_servers_wait_is_ignored_because_the_hosts_own_setting_decides(wait: object) -> None:
    fleet = a_fleet(Build.V2)
    fleet.server.once("GET pending-commands", [a_command(terminate_wait_seconds=wait)])
    fleet.world.advance(300)
    assert fleet.world.running(fleet.instance_id)
    fleet.world.advance(60)
    assert fleet.world.cloud.machine(fleet.instance_id).state is MachineState.TERMINATED
    assert fleet.wrongs() == []


def test_with_auto_terminate_off_on_the_host_it_stays_and_the_time_is_null() -> None:
    fleet = switched(a_command(terminate_wait_seconds=60), seconds=900)
    assert fleet.world.running(fleet.instance_id)
    assert fleet.sent("switch-report")[0]["timing"]["old_instance_terminated_at"] is None


def test_the_report_has_four_times_ending_in_z_and_no_launch_time_e75() -> None:
    fleet = a_fleet(Build.V2, shutdown_seconds=5)
    fleet.server.once("GET pending-commands", [a_command()])
    fleet.world.advance(400)
    (report,) = fleet.sent("switch-report")
    assert list(report["timing"]) == [
        "switch_initiated_at", "new_instance_ready_at", "traffic_switched_at", "old_instance_terminated_at",
    ]  # fmt: skip
    assert all(text.endswith("Z") for text in report["timing"].values())
    assert report["snapshot"] == {"used": False}


def test_the_report_may_mention_a_snapshot() -> None:
    snapshot = switched(a_command(), with_snapshot=True).sent("switch-report")[0]["snapshot"]
    assert snapshot["used"] is True
    assert set(snapshot) == {"used", "snapshot_id", "volume_id"}


def test_an_unknown_new_price_is_reported_as_nought() -> None:
    prices = FixedPrices(spot_by_pool={POOL_HERE: PRICES.spot_by_pool[POOL_HERE]})
    assert switched(a_command(), prices=prices).sent("switch-report")[0]["prices"] == {
        "on_demand": None,
        "old_spot": 0.04,
        "new_spot": 0.0,
    }


def test_the_new_host_registers_under_the_configured_logical_id() -> None:
    fleet = switched(a_command(), logical_id="web-1")
    assert [body["logical_agent_id"] for body in fleet.sent("register")] == ["web-1", "web-1"]


def test_a_disabled_agent_fetches_no_commands() -> None:
    fleet = a_fleet(Build.V2)
    fleet.server.always("GET config", {"enabled": False})
    fleet.world.advance(61)
    before = len(fleet.sent("pending-commands"))
    fleet.world.advance(120)
    assert len(fleet.sent("pending-commands")) == before


def test_it_sees_no_notice_and_polls_no_replicas() -> None:
    fleet = a_fleet(Build.V2)
    fleet.world.rebalance(fleet.instance_id)
    fleet.world.interrupt(fleet.instance_id)
    fleet.world.advance(110)
    names = {one.name for one in fleet.world.journal.exchanges()}
    assert names == {"register", "heartbeat", "config", "pending-commands", "pricing-report"}


def test_a_lost_report_is_not_sent_again() -> None:
    fleet = a_fleet(Build.V2, auto_terminate=False)
    fleet.server.always("POST switch-report", json_answer({}, status=500))
    fleet.server.once("GET pending-commands", [a_command()])
    fleet.world.advance(900)
    assert len(fleet.sent("switch-report")) == 1
