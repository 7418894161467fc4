"""A host of the simulated cloud from the inside, and the clocks it may have."""

from datetime import timedelta
from typing import Any

import pytest

from spotadapters.fleet import FastClock, Journal, MachineState, VirtualClock
from spotadapters.fleet.host import Host
from spotcore.pools import Mode, Pool
from tests.support.cloud_account import Account
from tests.support.scripted_server import HERE, THERE, TYPE


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
    assert {account.cloud.machine(one).state for one in (other, host.instance_id)} == {MachineState.TERMINATED}
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
