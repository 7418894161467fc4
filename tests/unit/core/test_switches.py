"""Section 7.1: what a primary change adds to the legacy total, and what it never adds."""

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change
from spotcore.instances import InstanceStatus
from spotcore.market import UNKNOWN_MARKET, Market
from spotcore.pools import Mode
from spotcore.roles import ReportedPrices, change_primary, price_paid
from spotcore.switches import CREDITED, Switch, SwitchTrigger
from tests.support.rule_builders import (
    POOL_A,
    PRIMARY,
    START,
    D,
    a_machine,
    a_market,
    an_aggregate,
    decided,
    later,
    without_primary,
)

NO_PRICES = ReportedPrices()
SAID = ReportedPrices(ondemand=D("0.10"), old_spot=D("0.05"), new_spot=D("0.03"))


def moved(
    old: Mode,
    new: Mode,
    trigger: SwitchTrigger = SwitchTrigger.MANUAL,
    *,
    prices: ReportedPrices = SAID,
    market: Market = UNKNOWN_MARKET,
) -> tuple[Switch, Aggregate]:
    """A change of primary between machines of these modes."""
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, mode=new, zone="b")
    aggregate = an_aggregate(standby, mode=old, build=Build.V4C)

    def rule(change: Change) -> Switch:
        return change_primary(change, standby, trigger=trigger, prices=prices)

    outcome = decided(aggregate, rule, later(60), market)
    assert isinstance(outcome.answer, Switch)
    return outcome.answer, outcome.after


@pytest.mark.parametrize(
    ("old", "new", "impact"),
    [
        (Mode.SPOT, Mode.SPOT, "0.02"),
        (Mode.SPOT, Mode.ONDEMAND, "-0.05"),
        (Mode.ONDEMAND, Mode.SPOT, "0.07"),
        (Mode.ONDEMAND, Mode.ONDEMAND, "0.00"),
        (Mode.UNKNOWN, Mode.SPOT, None),
        (Mode.SPOT, Mode.UNKNOWN, None),
    ],
)
def test_7_1_the_impact_is_old_minus_new_by_mode_failure_70(old: Mode, new: Mode, impact: str | None) -> None:
    switch, after = moved(old, new)
    assert switch.savings_impact == (D(impact) if impact is not None else None)
    gain = D(impact) * 24 if impact is not None and D(impact) > 0 else D(0)
    assert (switch.credited, after.client.total_savings) == (gain, gain)


@pytest.mark.parametrize(
    ("trigger", "credited"),
    [
        (SwitchTrigger.AUTO, "0.48"),
        (SwitchTrigger.MANUAL, "0.48"),
        (SwitchTrigger.SCHEDULED, "0.48"),
        (SwitchTrigger.EMERGENCY, "0"),
        (SwitchTrigger.MANUAL_PROMOTION, "0"),
        (SwitchTrigger.REHOME, "0"),
    ],
)
def test_7_1_emergencies_and_promotions_add_nothing(trigger: SwitchTrigger, credited: str) -> None:
    switch, after = moved(Mode.SPOT, Mode.SPOT, trigger)
    assert switch.savings_impact == D("0.02")  # recorded all the same
    assert (switch.credited, after.client.total_savings) == (D(credited), D(credited))


def test_7_1_every_trigger_is_decided() -> None:
    assert set(SwitchTrigger) >= CREDITED
    assert {one.value for one in SwitchTrigger} - {one.value for one in CREDITED} == {
        "emergency",
        "manual_promotion",
        "rehome",
    }


prices = st.none() | st.decimals("0.000001", "1000", places=6)


@given(old=prices, new=prices, ondemand=prices, modes=st.sampled_from([*product(Mode, Mode)]))
def test_7_1_the_impact_is_a_function_of_mode_and_price_and_unknown_is_never_zero_gr7_failure_69(
    old: Decimal | None, new: Decimal | None, ondemand: Decimal | None, modes: tuple[Mode, Mode]
) -> None:
    said = ReportedPrices(ondemand=ondemand, old_spot=old, new_spot=new)
    switch, after = moved(*modes, prices=said)
    before = {Mode.SPOT: old, Mode.ONDEMAND: ondemand, Mode.UNKNOWN: None}[modes[0]]
    paid = {Mode.SPOT: new, Mode.ONDEMAND: ondemand, Mode.UNKNOWN: None}[modes[1]]
    assert (switch.old_price, switch.new_price) == (before, paid)
    assert switch.savings_impact == (before - paid if before is not None and paid is not None else None)
    assert after.client.total_savings == max(switch.savings_impact or D(0), D(0)) * 24


def test_7_1_a_price_of_zero_is_a_price_failure_70() -> None:
    said = ReportedPrices(ondemand=D("0.10"), old_spot=D(0), new_spot=D("0.03"))
    assert moved(Mode.SPOT, Mode.SPOT, prices=said)[0].savings_impact == D("-0.03")


def test_e75_a_price_the_report_leaves_out_is_the_last_known_one() -> None:
    switch, _ = moved(Mode.SPOT, Mode.ONDEMAND, prices=NO_PRICES, market=a_market(a="0.05", b="0.03"))
    assert (switch.old_price, switch.new_price) == (D("0.05"), D("0.10"))


@pytest.mark.parametrize(("minutes", "known"), [(0, True), (60, True), (61, False)])
def test_gf4_a_last_known_spot_price_is_at_most_an_hour_old(minutes: int, known: bool) -> None:
    market = a_market(a="0.05")
    paid = price_paid(market, Mode.SPOT, POOL_A, later(60 * minutes), spot=None, ondemand=None)
    assert paid == (D("0.05") if known else None)


def test_dq8_a_flagged_on_demand_price_prices_nothing() -> None:
    market = a_market(flagged=True)
    assert price_paid(market, Mode.ONDEMAND, None, START, spot=None, ondemand=None) is None
    assert price_paid(market, Mode.ONDEMAND, None, START, spot=None, ondemand=D("0.2")) == D("0.2")


def test_i14_each_change_of_primary_has_one_record_and_one_period() -> None:
    switch, after = moved(Mode.SPOT, Mode.SPOT)
    assert [period.switch_id for period in after.periods] == [None, switch.switch_id]
    assert list(after.switches) == [switch.switch_id]


def test_7_1_a_change_from_nobody_has_no_old_price_and_credits_nothing() -> None:
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")
    aggregate = without_primary(an_aggregate(standby))

    def rule(change: Change) -> Switch:
        return change_primary(change, standby, trigger=SwitchTrigger.MANUAL, prices=SAID)

    outcome = decided(aggregate, rule, later(60))
    assert isinstance(outcome.answer, Switch)
    assert (outcome.answer.old_price, outcome.answer.savings_impact, outcome.answer.credited) == (None, None, 0)
    assert outcome.after.instances[PRIMARY].status is InstanceStatus.TERMINATED
