"""The simulated cloud: what machines do by themselves, what is refused, what is billed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from spotadapters.fleet import CloudRefusal, FakeCloud, FixedPrices, Machine, MachineState, VirtualClock
from spotcore.pools import Mode, Pool
from tests.support.scripted_server import HERE, PRICES, THERE, TYPE

ZONES = (HERE, THERE, "eu-west-1a")


def a_cloud(**settings: Any) -> tuple[FakeCloud, VirtualClock]:
    """An empty account and its clock."""
    clock = VirtualClock()
    return FakeCloud(**{"clock": clock, "prices": PRICES, "zones": ZONES, **settings}), clock


def launched(cloud: FakeCloud, **wishes: Any) -> Machine:
    """A machine just asked for."""
    return cloud.launch(**{"instance_type": TYPE, "az": HERE, "mode": Mode.SPOT, "ami_id": cloud.new_image(), **wishes})


def refusal(cloud: FakeCloud, **wishes: Any) -> str:
    """Why a launch is refused."""
    with pytest.raises(CloudRefusal) as refused:
        launched(cloud, **wishes)
    return refused.value.code


def test_ids_look_like_ec2s_and_worlds_with_another_seed_share_none() -> None:
    first, second = launched(a_cloud()[0]), launched(a_cloud(seed=2)[0])
    assert first.instance_id.startswith("i-")
    assert len(first.instance_id) == 19
    assert first.instance_id != second.instance_id
    assert first == launched(a_cloud()[0]), "the same world twice"


def test_a_machine_is_pending_until_its_pool_has_booted_it() -> None:
    cloud, clock = a_cloud()
    cloud.set_boot_seconds(Pool(TYPE, HERE), 40)
    machine = launched(cloud)
    clock.advance(39)
    assert cloud.machine(machine.instance_id).state is MachineState.PENDING
    clock.advance(1)
    assert cloud.machine(machine.instance_id).state is MachineState.RUNNING


def test_settle_tells_every_change_once_in_order() -> None:
    cloud, clock = a_cloud()
    first, second = launched(cloud), launched(cloud)
    clock.advance(25)
    assert [one.instance_id for one in cloud.settle()] == [first.instance_id, second.instance_id]
    cloud.terminate(first.instance_id)
    assert [(one.instance_id, one.state) for one in cloud.settle()] == [(first.instance_id, MachineState.TERMINATED)]
    assert cloud.settle() == ()


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"az": "us-east-1z"}, "InvalidParameterValue"),
        ({"subnet_az": THERE}, "InvalidParameterValue"),
        ({"ami_id": "ami-0"}, "InvalidAMIID.NotFound"),
    ],
)
def test_impossible_launches_are_refused(wishes: dict[str, str], code: str) -> None:
    assert refusal(a_cloud()[0], **wishes) == code


def test_an_exhausted_pool_refuses_its_mode_only_until_it_is_replenished() -> None:
    cloud, _ = a_cloud()
    cloud.exhaust(Pool(TYPE, HERE))
    assert refusal(cloud) == "InsufficientInstanceCapacity"
    assert launched(cloud, mode=Mode.ONDEMAND).mode is Mode.ONDEMAND
    assert launched(cloud, az=THERE).az == THERE
    cloud.replenish(Pool(TYPE, HERE))
    assert launched(cloud).az == HERE


def test_an_outage_refuses_every_call_of_the_api_but_not_the_metadata_of_machines() -> None:
    cloud, clock = a_cloud()
    machine = launched(cloud)
    clock.advance(25)
    cloud.outage = True
    assert refusal(cloud, ami_id=machine.ami_id) == "ServiceUnavailable"
    for call in (
        lambda: cloud.terminate(machine.instance_id),
        lambda: cloud.tag(machine.instance_id, {}),
        lambda: cloud.inventory("us-east-1"),
        lambda: cloud.spot_prices(TYPE, "us-east-1"),
    ):
        with pytest.raises(CloudRefusal, match="ServiceUnavailable"):
            call()
    assert cloud.on_demand_price(TYPE) is None
    assert cloud.machine(machine.instance_id).state is MachineState.RUNNING


def test_terminating_is_idempotent_and_takes_the_shutdown_time() -> None:
    cloud, clock = a_cloud(shutdown_seconds=30)
    machine = launched(cloud)
    clock.advance(25)
    cloud.terminate(machine.instance_id)
    cloud.terminate(machine.instance_id)
    assert cloud.machine(machine.instance_id).state is MachineState.SHUTTING_DOWN
    clock.advance(30)
    ended = cloud.machine(machine.instance_id)
    assert (ended.state, ended.reclaimed) == (MachineState.TERMINATED, False)
    cloud.terminate(machine.instance_id)


def test_a_machine_ended_while_pending_never_runs() -> None:
    cloud, clock = a_cloud()
    machine = launched(cloud)
    cloud.terminate(machine.instance_id)
    clock.advance(60)
    assert cloud.machine(machine.instance_id).running_at is None


def test_protected_and_unknown_machines_are_not_terminated() -> None:
    cloud, _ = a_cloud()
    machine = launched(cloud)
    cloud.protect(machine.instance_id)
    with pytest.raises(CloudRefusal, match="OperationNotPermitted"):
        cloud.terminate(machine.instance_id)
    for call in (cloud.terminate, cloud.protect, cloud.rebalance, cloud.machine):
        with pytest.raises(CloudRefusal, match="NotFound"):
            call("i-0")


def test_an_interruption_warns_first_and_takes_the_machine_at_its_time() -> None:
    cloud, clock = a_cloud()
    machine = launched(cloud)
    clock.advance(25)
    at = cloud.interrupt(machine.instance_id)
    assert at - clock.now() == timedelta(seconds=120)
    action = cloud.machine(machine.instance_id).spot_action
    assert action is not None
    assert (action.action, action.at) == ("terminate", at)
    assert cloud.next_at() == at
    clock.advance(119)
    assert cloud.machine(machine.instance_id).state is MachineState.RUNNING
    clock.advance(1)
    ended = cloud.machine(machine.instance_id)
    assert (ended.state, ended.reclaimed, ended.ended_at) == (MachineState.TERMINATED, True, at)


@pytest.mark.parametrize("action", ["stop", "hibernate"])
def test_other_actions_leave_the_machine_stopped(action: str) -> None:
    cloud, clock = a_cloud()
    machine = launched(cloud)
    cloud.interrupt(machine.instance_id, notice_seconds=30, action=action)
    clock.advance(30)
    assert cloud.machine(machine.instance_id).state is MachineState.STOPPED


def test_machines_on_demand_are_not_interrupted() -> None:
    cloud, _ = a_cloud()
    machine = launched(cloud, mode=Mode.ONDEMAND)
    with pytest.raises(CloudRefusal, match="UnsupportedOperation"):
        cloud.interrupt(machine.instance_id)
    assert machine.pool_id is None


def test_speed_divides_boots_shutdowns_and_notices() -> None:
    cloud, clock = a_cloud(speed=10, shutdown_seconds=30)
    machine = launched(cloud)
    clock.advance(2.5)
    assert cloud.machine(machine.instance_id).state is MachineState.RUNNING
    assert cloud.interrupt(machine.instance_id) - clock.now() == timedelta(seconds=12)
    cloud.terminate(machine.instance_id)
    clock.advance(3)
    assert cloud.machine(machine.instance_id).state is MachineState.TERMINATED


def test_the_inventory_is_one_region_and_forgets_the_ended_after_an_hour() -> None:
    cloud, clock = a_cloud()
    here, gone = launched(cloud), launched(cloud)
    launched(cloud, az="eu-west-1a")
    cloud.terminate(gone.instance_id)
    assert {one.instance_id for one in cloud.inventory("us-east-1")} == {here.instance_id, gone.instance_id}
    clock.advance(3601)
    assert {one.instance_id for one in cloud.inventory("us-east-1")} == {here.instance_id}
    assert len(cloud.machines()) == 3


def test_spot_prices_are_those_known_in_the_region() -> None:
    cloud, _ = a_cloud()
    assert cloud.spot_prices(TYPE, "us-east-1") == {
        Pool(TYPE, HERE): Decimal("0.04"),
        Pool(TYPE, THERE): Decimal("0.03"),
    }
    assert cloud.spot_prices(TYPE, "eu-west-1") == {}
    assert a_cloud(prices=FixedPrices())[0].on_demand_price(TYPE) is None


def test_billing_runs_from_running_to_the_end_a_minute_at_least() -> None:
    cloud, clock = a_cloud()
    machine = launched(cloud)
    assert cloud.billed_seconds(machine.instance_id) == 0
    clock.advance(25 + 10)
    assert cloud.billed_seconds(machine.instance_id) == 60
    clock.advance(90)
    cloud.terminate(machine.instance_id)
    clock.advance(1000)
    assert cloud.billed_seconds(machine.instance_id) == 100


def test_a_machine_taken_in_its_first_hour_costs_nothing_z19() -> None:
    cloud, clock = a_cloud()
    early, late = launched(cloud), launched(cloud)
    clock.advance(25 + 600)
    cloud.interrupt(early.instance_id)
    clock.advance(3600)
    cloud.interrupt(late.instance_id)
    clock.advance(3600)
    assert cloud.billed_seconds(early.instance_id) == 0
    assert cloud.billed_seconds(late.instance_id) == 600 + 3600 + 120


def test_ending_a_warned_machine_oneself_in_its_first_hour_is_billed_z19() -> None:
    cloud, clock = a_cloud()
    machine = launched(cloud)
    clock.advance(25 + 600)
    cloud.interrupt(machine.instance_id)
    cloud.terminate(machine.instance_id)
    assert cloud.billed_seconds(machine.instance_id) == 600


def test_signals_metadata_and_tags_can_be_set_and_cleared() -> None:
    cloud, clock = a_cloud()
    machine = launched(cloud, tags={"a": "1"})
    cloud.rebalance(machine.instance_id)
    cloud.tag(machine.instance_id, {"b": "2"})
    cloud.break_metadata(machine.instance_id)
    now = cloud.machine(machine.instance_id)
    assert (now.rebalance_at, now.tags, now.metadata_works) == (clock.now(), {"a": "1", "b": "2"}, False)
    cloud.clear_rebalance(machine.instance_id)
    cloud.break_metadata(machine.instance_id, works=True)
    now = cloud.machine(machine.instance_id)
    assert (now.rebalance_at, now.metadata_works) == (None, True)
