"""More of the simulated cloud: what happens in which order, what is refused, what is charged, what a host sees of it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from spotadapters.fleet import (
    CloudRefusal,
    FakeCloud,
    FastClock,
    FixedPrices,
    Journal,
    Machine,
    MachineState,
    VirtualClock,
)
from spotadapters.fleet.host import Host
from spotcore.pools import Mode, Pool
from tests.support.scripted_server import HERE, POOL_HERE, PRICES, THERE, TYPE

FAR = "eu-west-1a"
RUNNING, TERMINATED, STOPPED = MachineState.RUNNING, MachineState.TERMINATED, MachineState.STOPPED


class Account:
    """An account with its clock, and one image."""

    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.cloud = FakeCloud(**{"clock": self.clock, "prices": PRICES, "zones": (HERE, THERE, FAR), **settings})
        self.image = self.cloud.new_image()

    def launch(self, **wishes: Any) -> Machine:
        return self.cloud.launch(
            **{"instance_type": TYPE, "az": HERE, "mode": Mode.SPOT, "ami_id": self.image, **wishes}
        )

    def running(self, **wishes: Any) -> str:
        """A machine that runs."""
        machine = self.launch(**wishes)
        self.clock.advance(25)
        return machine.instance_id

    def refusal(self, call: Any, *args: Any, **more: Any) -> str:
        with pytest.raises(CloudRefusal) as refused:
            call(*args, **more)
        assert str(refused.value).startswith(f"{refused.value.code}: ")
        return str(refused.value)


# --- machines ---------------------------------------------------------------------------------------------------------


def test_a_machine_is_what_was_asked_for_and_when() -> None:
    account = Account()
    account.clock.advance(7)
    machine = account.launch(az=THERE, mode=Mode.ONDEMAND, launched_by="i-parent", tags={"Name": "x"})
    assert (machine.instance_type, machine.az, machine.mode, machine.ami_id) == (
        TYPE,
        THERE,
        Mode.ONDEMAND,
        account.image,
    )
    assert (machine.launched_by, dict(machine.tags), machine.launched_at) == (
        "i-parent", {"Name": "x"}, account.clock.now(),
    )  # fmt: skip
    assert (machine.state, machine.running_at, machine.ended_at, machine.reclaimed) == (
        MachineState.PENDING, None, None, False,
    )  # fmt: skip
    assert (machine.public_ip, machine.pool_id, machine.pool) == (None, None, Pool(TYPE, THERE))


def test_every_machine_has_an_id_and_an_address_of_its_own() -> None:
    account = Account()
    machines = [account.launch() for _ in range(300)]
    assert len({one.instance_id for one in machines}) == len({one.private_ip for one in machines}) == 300
    assert all(0 <= int(part) <= 255 for one in machines for part in one.private_ip.split("."))


def test_images_are_of_one_account_only() -> None:
    first, second = Account(), Account(seed=2)
    assert first.image != second.image
    assert account_code(second, ami_id=first.image) == "InvalidAMIID.NotFound"


def account_code(account: Account, **wishes: Any) -> str:
    return account.refusal(account.launch, **wishes).partition(":")[0]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"ami_id": "ami-1"}, "InvalidAMIID.NotFound: no image ami-1"),
        ({"az": "us-east-1z"}, "InvalidParameterValue: no zone us-east-1z"),
        ({"az": THERE, "subnet_az": HERE}, "InvalidParameterValue: the subnet lies in us-east-1a, not in us-east-1b"),
    ],
)
def test_a_refusal_says_what_is_wrong_in_ec2s_words(wishes: dict[str, str], words: str) -> None:
    account = Account()
    assert account.refusal(account.launch, **wishes) == words
    assert account.cloud.machines() == ()


def test_a_full_pool_is_full_for_one_type_zone_and_way_of_paying() -> None:
    account = Account()
    account.cloud.exhaust(Pool(TYPE, HERE))
    account.cloud.exhaust(Pool(TYPE, HERE))
    words = "InsufficientInstanceCapacity: no spot capacity in m5.large.us-east-1a"
    assert account.refusal(account.launch) == words
    for wishes in ({"az": THERE}, {"instance_type": "c5.large"}, {"mode": Mode.ONDEMAND}):
        account.launch(**wishes)
    account.cloud.exhaust(Pool(TYPE, HERE), mode=Mode.ONDEMAND)
    assert account.refusal(account.launch, mode=Mode.ONDEMAND) == words.replace("spot", "ondemand")
    account.cloud.replenish(Pool(TYPE, HERE))
    assert account.launch().pool_id == POOL_HERE
    assert account_code(account, mode=Mode.ONDEMAND) == "InsufficientInstanceCapacity"


def test_a_machine_that_runs_stays_when_its_pool_is_full() -> None:
    account = Account()
    machine = account.running()
    account.cloud.exhaust(Pool(TYPE, HERE))
    account.clock.advance(10_000)
    assert account.cloud.machine(machine).state is RUNNING


# --- order ------------------------------------------------------------------------------------------------------------


def test_what_falls_due_happens_in_order_of_time_however_late_somebody_asks() -> None:
    account = Account()
    account.cloud.set_boot_seconds(Pool(TYPE, THERE), 5)
    slow, quick = account.launch(), account.launch(az=THERE)
    account.clock.advance(1_000)
    assert [one.instance_id for one in account.cloud.settle()] == [quick.instance_id, slow.instance_id]
    assert account.cloud.machine(quick.instance_id).running_at == quick.launched_at + timedelta(seconds=5)
    assert account.cloud.machine(slow.instance_id).running_at == slow.launched_at + timedelta(seconds=25)


def test_the_next_happening_is_known_before_it_happens() -> None:
    account = Account(shutdown_seconds=9)
    start = account.clock.now()
    assert account.cloud.next_at() is None
    machine = account.launch()
    assert account.cloud.next_at() == start + timedelta(seconds=25)
    account.clock.advance(25)
    account.cloud.settle()
    assert account.cloud.next_at() is None
    account.cloud.terminate(machine.instance_id)
    assert account.cloud.next_at() == account.clock.now() + timedelta(seconds=9)


def test_a_machine_taken_while_it_shuts_down_by_request_is_ended_once() -> None:
    account = Account(shutdown_seconds=60)
    machine = account.running()
    account.cloud.interrupt(machine, notice_seconds=30)
    account.cloud.terminate(machine)
    account.clock.advance(30)
    taken = account.cloud.machine(machine)
    assert (taken.state, taken.reclaimed) == (TERMINATED, True)
    account.clock.advance(60)
    assert account.cloud.machine(machine) == taken
    assert [one.state for one in account.cloud.settle()] == [RUNNING, TERMINATED]


def test_a_pending_machine_can_be_warned_and_taken_before_it_ever_ran() -> None:
    account = Account()
    machine = account.launch()
    account.cloud.interrupt(machine.instance_id, notice_seconds=10)
    account.clock.advance(100)
    ended = account.cloud.machine(machine.instance_id)
    assert (ended.state, ended.running_at, ended.reclaimed) == (TERMINATED, None, True)
    assert account.cloud.billed_seconds(machine.instance_id) == 0


@pytest.mark.parametrize(("action", "state"), [("terminate", TERMINATED), ("stop", STOPPED), ("hibernate", STOPPED)])
def test_what_becomes_of_a_machine_is_what_the_notice_said(action: str, state: MachineState) -> None:
    account = Account()
    machine = account.running()
    at = account.cloud.interrupt(machine, action=action)
    account.clock.advance(120)
    ended = account.cloud.machine(machine)
    assert (ended.state, ended.ended_at, ended.reclaimed) == (state, at, True)
    account.cloud.terminate(machine)
    assert account.cloud.machine(machine) == ended


@pytest.mark.parametrize(
    "call",
    [
        "terminate",
        "protect",
        "break_metadata",
        "interrupt",
        "rebalance",
        "clear_rebalance",
        "machine",
        "billed_seconds",
    ],
)
def test_an_id_the_cloud_never_gave_is_unknown_to_every_call(call: str) -> None:
    account = Account()
    assert account.refusal(getattr(account.cloud, call), "i-0") == "InvalidInstanceID.NotFound: no machine i-0"


# --- prices and money -------------------------------------------------------------------------------------------------


def test_prices_are_listed_by_zone_of_the_region_as_far_as_they_are_known() -> None:
    prices = FixedPrices(
        spot_by_pool={
            POOL_HERE: Decimal("0.04"),
            f"{TYPE}.{FAR}": Decimal("0.05"),
            f"{TYPE}.us-east-1z": Decimal("0.01"),
        },
        on_demand_by_type={TYPE: Decimal("0.096")},
    )
    cloud = Account(prices=prices).cloud
    assert cloud.spot_prices(TYPE, "us-east-1") == {Pool(TYPE, HERE): Decimal("0.04")}
    assert cloud.spot_prices(TYPE, "eu-west-1") == {Pool(TYPE, FAR): Decimal("0.05")}
    assert cloud.spot_prices(TYPE, "us-west-2") == cloud.spot_prices("c5.large", "us-east-1") == {}
    assert (cloud.on_demand_price(TYPE), cloud.on_demand_price("c5.large")) == (Decimal("0.096"), None)


@pytest.mark.parametrize(
    ("ran", "how", "billed"),
    [
        (0, "stopped by us", 60),
        (59.5, "stopped by us", 60),
        (60, "stopped by us", 60),
        (61.25, "stopped by us", 61.25),
        (3_599, "taken", 0),
        (3_600, "taken", 3_600),
        (3_599, "stopped by us", 3_599),
    ],
)
def test_z19_time_is_billed_from_running_to_the_end_a_minute_at_least_and_free_when_taken_in_the_first_hour(
    ran: float, how: str, billed: float
) -> None:
    account = Account()
    machine = account.running()
    account.cloud.settle()
    if how == "taken":
        account.cloud.interrupt(machine, notice_seconds=ran)
    account.clock.advance(ran)
    account.cloud.terminate(machine)
    account.clock.advance(5_000)
    assert account.cloud.billed_seconds(machine) == billed


def test_z19_a_machine_that_runs_is_billed_so_far_also_while_it_is_warned() -> None:
    account = Account()
    machine = account.running()
    account.cloud.interrupt(machine, notice_seconds=1_000)
    account.clock.advance(500)
    assert account.cloud.billed_seconds(machine) == 500


def test_the_bill_of_a_fast_world_is_in_its_own_time() -> None:
    account = Account(speed=10)
    machine = account.launch().instance_id
    account.clock.advance(2.5 + 20)
    assert account.cloud.billed_seconds(machine) == 200
    account.cloud.interrupt(machine)
    account.clock.advance(12)
    assert account.cloud.billed_seconds(machine) == 0  # 320 s of its own time


@pytest.mark.parametrize(("after", "listed"), [(0, True), (3_600, True), (3_600.001, False)])
def test_the_inventory_lists_what_has_ended_for_another_hour(after: float, listed: bool) -> None:
    account = Account()
    machine = account.running()
    account.cloud.terminate(machine)
    account.clock.advance(after)
    assert [one.instance_id for one in account.cloud.inventory("us-east-1")] == ([machine] if listed else [])


# --- a host from the inside -------------------------------------------------------------------------------------------


def a_host(account: Account, machine: str, **facts: Any) -> Host:
    return Host(instance_id=machine, cloud=account.cloud, journal=Journal(), time=account.clock.now, **facts)


def test_a_host_sees_its_own_machine_and_no_metadata_while_that_fails() -> None:
    account = Account()
    host = a_host(account, account.running())
    assert host.metadata() == host.me()
    account.cloud.break_metadata(host.instance_id)
    assert (host.metadata(), host.me().metadata_works) == (None, False)
    account.cloud.break_metadata(host.instance_id, works=True)
    assert host.metadata() == host.me()


@pytest.mark.parametrize("skew", [-3_600, 0, 90])
def test_a_host_believes_its_own_clock_and_counts_its_uptime_by_it(skew: float) -> None:
    account = Account()
    host = a_host(account, account.running(), skew_seconds=skew)
    assert host.uptime_seconds() == 0
    host.started_at = host.now()
    account.clock.advance(42)
    assert host.now() == account.clock.now() + timedelta(seconds=skew)
    assert host.uptime_seconds() == 42
    host.did("looked", at=1)
    assert [one.at for one in host.journal.deeds()] == [account.clock.now()]  # the world's time, not the host's


def test_a_host_launches_its_own_type_and_image_unless_told_otherwise() -> None:
    account = Account()
    other = account.cloud.new_image()
    host = a_host(account, account.running())
    machine = host.launch(agent_id="a", order="command c", az=THERE, mode=Mode.SPOT)
    wished = host.launch(
        agent_id="a", order="command d", az=HERE, mode=Mode.ONDEMAND, instance_type="c5.large", ami_id=other
    )
    assert (machine.instance_type, machine.ami_id, machine.launched_by) == (TYPE, account.image, host.instance_id)
    assert (wished.instance_type, wished.ami_id, wished.mode) == ("c5.large", other, Mode.ONDEMAND)
    assert [dict(one.facts) for one in host.journal.deeds("launched")] == [
        {"order": "command c", "machine": machine.instance_id, "az": THERE, "mode": "spot"},
        {"order": "command d", "machine": wished.instance_id, "az": HERE, "mode": "ondemand"},
    ]


def test_a_launch_that_was_refused_is_a_deed_and_counts_for_no_order() -> None:
    account = Account()
    host = a_host(account, account.running())
    account.cloud.exhaust(Pool(TYPE, THERE))
    for _ in range(2):
        account.refusal(host.launch, agent_id="a", order="command c", az=THERE, mode=Mode.SPOT)
    host.launch(agent_id="a", order="command c", az=HERE, mode=Mode.SPOT)
    refused = {"order": "command c", "code": "InsufficientInstanceCapacity", "az": THERE, "mode": "spot"}
    assert [dict(one.facts) for one in host.journal.deeds("launch_refused")] == [refused] * 2
    assert host.journal.violations() == []


def test_a_host_that_ends_itself_or_another_says_so_first() -> None:
    account = Account()
    host, other = a_host(account, account.running()), account.running()
    host.end_by_order(other, "zombie_timeout")
    host.end_myself("switched")
    assert [(one.what, dict(one.facts)) for one in host.journal.deeds()] == [
        ("ended", {"machine": other, "reason": "zombie_timeout"}),
        ("ended_itself", {"reason": "switched"}),
    ]
    assert {account.cloud.machine(one).state for one in (other, host.instance_id)} == {TERMINATED}
    account.refusal(host.end_by_order, "i-0", "x")


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_virtual_clock_moves_only_when_told_and_keeps_microseconds() -> None:
    clock = VirtualClock()
    before = clock.now()
    assert clock.now() == before
    clock.advance(0.000001)
    clock.advance(3_600)
    assert clock.now() - before == timedelta(hours=1, microseconds=1)
    assert before.utcoffset() == timedelta(0)


def test_a_fast_clock_begins_at_its_origin_and_never_goes_back() -> None:
    origin = VirtualClock().now()
    clock = FastClock(origin, rate=1_000_000)
    seen = [clock.now() for _ in range(1_000)]
    assert seen[0] >= origin
    assert seen == sorted(seen)
    assert FastClock(origin, rate=0).now() == origin
