"""The parts of the simulated world, each by itself."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.errors import ValidationFailed
from spotcore.pools import Mode
from spotcore.simulation.cloud import NOTICE_SECONDS, Cloud
from spotcore.simulation.identity import CountedIdentity
from spotcore.simulation.market import PoolPrices, PoolSpec, PriceChange
from spotcore.simulation.scenario import Faults, Scenario
from spotcore.simulation.seeds import Stream

A = "us-east-1a"


def test_splitmix64_gives_the_numbers_of_its_definition() -> None:
    stream = Stream(0, "x")
    stream._state = 1234567
    assert [stream.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(), st.text(max_size=20))
def test_a_stream_repeats_and_stays_in_range(seed: int, name: str) -> None:
    first, second = Stream(seed, name), Stream(seed, name)
    drawn = [first.unit() for _ in range(20)]
    assert drawn == [second.unit() for _ in range(20)]
    assert all(0 <= one < 1 for one in drawn)


def test_streams_of_other_names_are_others_and_fair_enough() -> None:
    drawn = [Stream(1, f"name {number}").unit() for number in range(2_000)]
    assert 0.45 < sum(drawn) / len(drawn) < 0.55
    stream = Stream(1, "picks")
    picks = [stream.pick("abcd") for _ in range(4_000)]
    assert all(900 < picks.count(letter) < 1_100 for letter in "abcd")
    waits = [stream.waiting(10) for _ in range(4_000)]
    assert 9 < sum(waits) / len(waits) < 11


def test_generated_prices_hold_for_five_minutes_and_stay_near_their_mean() -> None:
    prices = PoolPrices(PoolSpec(az=A, price="0.05"), 3, ())
    series = [prices.at(seconds) for seconds in range(0, 86_400, 300)]
    assert prices.at(0) == prices.at(299.9)
    assert len(set(series)) > 100
    assert all(Decimal("0.03") < price < Decimal("0.07") for price in series)
    again = PoolPrices(PoolSpec(az=A, price="0.05"), 3, ())
    assert again.at(86_100) == series[-1]  # asked in another order


def test_a_trace_holds_until_its_next_change() -> None:
    trace = (
        PriceChange(after=timedelta(seconds=100), az=A, price="0.02"),
        PriceChange(after=timedelta(seconds=0), az=A, price="0.01"),
        PriceChange(after=timedelta(seconds=0), az="us-east-1b", price="0.09"),
    )
    prices = PoolPrices(PoolSpec(az=A), 1, trace)
    assert [prices.at(seconds) for seconds in (0, 99, 100, 9_999)] == [
        Decimal(one) for one in ("0.01", "0.01", "0.02", "0.02")
    ]


@pytest.mark.parametrize("price", ["0", "-1", "1001", "NaN"])
def test_a_price_that_is_none_is_refused_by_name(price: str) -> None:
    prices = PoolPrices(PoolSpec(az=A), 1, (PriceChange(after=timedelta(0), az=A, price=price),))
    with pytest.raises(ValidationFailed, match="price"):
        prices.at(0)


def cloud(**facts: object) -> Cloud:
    return Cloud(Scenario(pools=(PoolSpec(az=A, interruption_hours=1.0),), **facts))  # type: ignore[arg-type]


def test_a_machine_boots_is_noticed_two_minutes_ahead_and_goes() -> None:
    machine = next(
        one for one in (cloud(seed=seed).launch(A, Mode.SPOT, 10.0) for seed in range(50)) if one and one.ends_at
    )
    assert 35 <= machine.up_at <= 80
    assert not machine.is_up(10)
    assert machine.noticed_at == machine.ends_at - NOTICE_SECONDS  # type: ignore[operator]
    assert not machine.has_notice(machine.noticed_at - 1)  # type: ignore[operator]
    assert machine.has_notice(machine.noticed_at)  # type: ignore[arg-type]
    assert not machine.is_up(machine.ends_at)  # type: ignore[arg-type]


def test_on_demand_is_never_taken_back_and_always_to_be_had() -> None:
    clouds = [cloud(seed=seed, faults=Faults(launch_fails=1.0)) for seed in range(20)]
    machines = [one.launch(A, Mode.ONDEMAND, 0.0) for one in clouds]
    assert all(machine is not None and machine.ends_at is None for machine in machines)
    assert all(one.launch(A, Mode.SPOT, 0.0) is None for one in clouds)


def test_nothing_is_interrupted_while_the_world_settles() -> None:
    scenario = Scenario()
    latest = (scenario.lasts - scenario.settling).total_seconds()
    for seed in range(50):
        machine = cloud(seed=seed).launch(A, Mode.SPOT, 0.0)
        assert machine is not None
        assert machine.ends_at is None or machine.ends_at <= latest


def test_a_machine_that_somebody_ends_is_down() -> None:
    one = cloud(seed=1)
    machine = one.launch(A, Mode.SPOT, 0.0, booted=True)
    assert machine is not None
    assert machine.is_up(0)
    one.end(machine.cloud_id)
    one.end("i-0unknown")
    assert not machine.is_up(0)


def test_ids_are_in_order_and_the_same_for_the_same_seed() -> None:
    first, second, other = CountedIdentity(1), CountedIdentity(1), CountedIdentity(2)
    assert first.new_id() == second.new_id() != other.new_id()
    assert first.new_token() == second.new_token()
    assert len(first.new_token()) == 64
    assert first.seal("x") is first.unseal(b"x") is None
