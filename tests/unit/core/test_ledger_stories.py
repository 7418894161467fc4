"""Stories of machines and money, worked out by hand to eight decimals (7.2, 7.3, SV-1…SV-10, P8…P12)."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from spotcore.account import Account, account
from spotcore.builds import Build
from spotcore.ledger import Line
from spotcore.pools import Mode
from spotcore.pricing import NO_PRICES, Bucket, ListPrice, OndemandPrice, Quality, ondemand_series, spot_series
from spotcore.tenure import Role, Tenure
from tests.support.money import a_tenure, hour, lines_of, listed, steady

D = Decimal
P, R, Z = Role.PRIMARY, Role.REPLICA, Role.ZOMBIE
MEASURED, ESTIMATED, UNPRICED = Quality.MEASURED, Quality.ESTIMATED, Quality.UNPRICED
MINUTE = 1 / 60
Row = tuple[float, float, Role, str | None, str | None, Quality]


def told(lines: Sequence[Line]) -> list[Row]:
    """From, to (hours), role, $/h paid, $/h on demand, quality."""
    return [
        (
            (line.started_at - hour(0)) / timedelta(hours=1),
            (line.ended_at - hour(0)) / timedelta(hours=1),
            line.role,
            str(line.paid_price) if line.paid_price is not None else None,
            str(line.ondemand_price) if line.ondemand_price is not None else None,
            line.quality,
        )
        for line in lines
    ]


def total(*tenures: Tenure, until: float, **prices: Any) -> Account:
    return account(line for one in tenures for line in lines_of(one, until, **prices))


def test_a_failover_with_an_overlap_pays_twice_and_saves_once_sv3_sv8() -> None:
    """The replica runs from hour 4, serves from hour 6; the old machine is a zombie for half an hour. All at 0.01."""
    old = a_tenure("old", primary=((0, 6),), zombie=6, end=6.5)
    new = a_tenure("new", start=4, primary=((6, None),))
    found = total(old, new, until=10, spot=steady("0.01"), ondemand=listed("0.04"))
    assert found.baseline == D("0.40")  # ten primary hours, never more
    assert found.cost == D("0.125")  # 6.5 + 6 machine hours
    assert (found.replica_cost, found.zombie_cost, found.saving) == (D("0.02"), D("0.005"), D("0.275"))
    assert found.primary_hours == 10


def test_a_switch_from_on_demand_to_spot_and_back() -> None:
    first = a_tenure("a", end=5, primary=((0, 5),), mode=Mode.ONDEMAND)
    second = a_tenure("b", start=5, end=20, primary=((5, 20),))
    third = a_tenure("c", start=20, primary=((20, None),), mode=Mode.ONDEMAND)
    found = total(first, second, third, until=24, spot=steady("0.0104"), ondemand=listed("0.0416"))
    assert (found.baseline, found.cost, found.saving) == (D("0.9984"), D("0.5304"), D("0.4680"))  # 15 h × 0.0312


def test_a_price_that_moves_within_the_hour_is_paid_minute_by_minute() -> None:
    """0.010 for 20 minutes, 0.013 for 25, 0.020 for 15."""
    spot = spot_series(
        [Bucket(hour(0), D("0.010")), Bucket(hour(20 * MINUTE), D("0.013")), Bucket(hour(0.75), D("0.020"))]
    )
    lines = lines_of(a_tenure(primary=((0, None),)), 1, spot=spot, ondemand=listed("0.1"))
    assert [line.cost for line in lines] == [D("0.00333333"), D("0.00541667"), D("0.00500000")]
    assert [line.saving for line in lines] == [D("0.03000000"), D("0.03625000"), D("0.02000000")]
    assert account(lines).cost == D("0.01375000")


def test_sv2_an_on_demand_price_that_moves_cuts_a_primarys_line_and_no_replicas() -> None:
    ondemand = ondemand_series(observed=[OndemandPrice(hour(-1), D("0.04")), OndemandPrice(hour(2), D("0.05"))])
    assert told(lines_of(a_tenure(primary=((0, None),)), 4, spot=steady("0.01"), ondemand=ondemand)) == [
        (0, 2, P, "0.01", "0.04", MEASURED),
        (2, 4, P, "0.01", "0.05", MEASURED),
    ]
    assert told(lines_of(a_tenure(), 4, spot=steady("0.01"), ondemand=ondemand)) == [(0, 4, R, "0.01", None, MEASURED)]


def test_sv4_a_price_is_held_for_sixty_minutes_less_one_instant() -> None:
    spot = spot_series([Bucket(hour(0), D("0.01")), Bucket(hour(3), D("0.02"))])
    assert told(lines_of(a_tenure(primary=((0, None),)), 4, spot=spot, ondemand=listed("0.04"))) == [
        (0, 1, P, "0.01", "0.04", MEASURED),
        (1, 3, P, None, "0.04", UNPRICED),
        (3, 4, P, "0.02", "0.04", MEASURED),
    ]
    found = total(a_tenure(primary=((0, None),)), until=4, spot=spot, ondemand=listed("0.04"))
    assert (found.baseline, found.cost, found.unpriced_hours, found.primary_hours) == (D("0.08"), D("0.03"), 2, 4)


def test_sv5_every_source_of_an_on_demand_price_in_its_turn() -> None:
    """Flagged from hour 0, registered price none, unflagged from hour 2, a list from hour 4."""
    ondemand = ondemand_series(
        [ListPrice(D("0.040"), since=hour(4))],
        [OndemandPrice(hour(0.5), D("0.1"), flagged=True), OndemandPrice(hour(2), D("0.042"))],
    )
    assert told(lines_of(a_tenure(primary=((0, None),)), 6, spot=steady("0.01"), ondemand=ondemand)) == [
        (0, 0.5, P, "0.01", None, UNPRICED),
        (0.5, 2, P, "0.01", "0.1", ESTIMATED),
        (2, 4, P, "0.01", "0.042", MEASURED),
        (4, 6, P, "0.01", "0.040", MEASURED),
    ]


@pytest.mark.parametrize("role", [R, Z])
def test_p9_a_standby_on_demand_pays_the_on_demand_price_and_without_one_is_unpriced(role: Role) -> None:
    shape: dict[str, Any] = {"zombie": 0} if role is Z else {}
    machine = a_tenure(mode=Mode.ONDEMAND, **shape)
    assert told(lines_of(machine, 3, ondemand=listed("0.04"))) == [(0, 3, role, "0.04", None, MEASURED)]
    assert told(lines_of(machine, 3, ondemand=NO_PRICES)) == [(0, 3, role, None, None, UNPRICED)]
    assert account(lines_of(machine, 3, ondemand=listed("0.04"))).saving == D("-0.12")


@pytest.mark.parametrize("role", [R, Z])
def test_p9_a_standby_on_spot_needs_no_on_demand_price(role: Role) -> None:
    shape: dict[str, Any] = {"zombie": 0} if role is Z else {}
    guessed = ondemand_series(observed=[OndemandPrice(hour(-9), D("0.3"), flagged=True)])
    for ondemand in (NO_PRICES, guessed):
        lines = lines_of(a_tenure(**shape), 3, spot=steady("0.01"), ondemand=ondemand)
        assert told(lines) == [(0, 3, role, "0.01", None, MEASURED)]


def test_p9_a_primary_without_an_on_demand_price_has_an_unknown_cost_too() -> None:
    (line,) = lines_of(a_tenure(primary=((0, None),)), 3, spot=steady("0.01"), ondemand=NO_PRICES)
    assert (line.paid_price, line.cost, line.baseline, line.saving) == (D("0.01"), None, None, None)
    assert account([line]).cost == 0


def test_sv9_time_without_any_primary_has_no_baseline() -> None:
    """The machine is taken at hour 5, the next one serves from hour 7: two hours earn nothing."""
    taken = a_tenure("a", end=5, primary=((0, 5),))
    later = a_tenure("b", start=6.5, primary=((7, None),))
    found = total(taken, later, until=10, spot=steady("0.01"), ondemand=listed("0.04"))
    assert (found.primary_hours, found.baseline, found.replica_cost) == (8, D("0.32"), D("0.005"))


def test_sv1_what_aws_took_costs_until_its_deadline_though_it_was_noticed_later() -> None:
    taken = a_tenure(end=5 + 3 * MINUTE, primary=((0, 5 + 3 * MINUTE),), notice_deadline=hour(5), end_asserted=True)
    assert told(lines_of(taken, 9, spot=steady("0.01"), ondemand=listed("0.04")))[-1][1] == 5


def test_7_3_a_silent_v2_host_costs_five_minutes_more_as_an_estimate() -> None:
    host = a_tenure(build=Build.V2, primary=((0, 4),), zombie=4)
    lines = lines_of(host, 9, spot=steady("0.0120"), ondemand=listed("0.04"))
    assert told(lines) == [(0, 4, P, "0.0120", "0.04", MEASURED), (4, 4 + 5 * MINUTE, Z, "0.0120", None, ESTIMATED)]
    assert account(lines).zombie_cost == D("0.001")


def test_sv9_a_released_machine_costs_no_more() -> None:
    released = a_tenure(primary=((0, 3),), released_at=hour(3))
    assert told(lines_of(released, 9, spot=steady("0.01"), ondemand=listed("0.04"))) == [
        (0, 3, P, "0.01", "0.04", MEASURED)
    ]


def test_sv10_a_dear_spot_market_is_a_loss_in_every_figure() -> None:
    found = total(a_tenure(primary=((0, None),)), a_tenure("r"), until=2, spot=steady("0.05"), ondemand=listed("0.04"))
    assert (found.baseline, found.cost, found.saving) == (D("0.08"), D("0.20"), D("-0.12"))


def test_sv2_days_and_months_are_utc_and_leap_days_are_days() -> None:
    """The origin is 2 March 2026; a machine from 28 February 22:00 to 2 March 01:00 has three days' lines."""
    tenure = a_tenure(start=-26, primary=((-26, None),))
    lines = lines_of(tenure, 1, spot=steady("0.01", start=-30), ondemand=listed("0.04"))
    assert [(row[0], row[1]) for row in told(lines)] == [(-26, -24), (-24, 0), (0, 1)]
    assert [line.day.isoformat() for line in lines] == [
        "2026-02-28T00:00:00+00:00", "2026-03-01T00:00:00+00:00", "2026-03-02T00:00:00+00:00",
    ]  # fmt: skip


@pytest.mark.parametrize(("year", "days"), [(2024, 29), (2023, 28), (2025, 28)])
def test_a_february_has_the_hours_of_its_days(year: int, days: int) -> None:
    begin, end = ((hour(0).replace(year=year, month=month, day=1) - hour(0)) / timedelta(hours=1) for month in (2, 3))
    tenure = a_tenure(start=begin, primary=((begin, None),))
    spot, ondemand = steady("0.01", start=begin - 1, hours=24 * 40), ondemand_series([ListPrice(D("0.04"))])
    lines = lines_of(tenure, end, spot=spot, ondemand=ondemand, since=begin)
    found = account(lines)
    assert (len(lines), found.primary_hours) == (days, 24 * days)
    assert (found.baseline, found.cost) == (D("0.96") * days, D("0.24") * days)


TINY = timedelta(microseconds=1)


def test_gr6_the_shortest_time_is_paid_exactly_and_rounds_to_nothing() -> None:
    tenure = a_tenure(primary=((0, None),))
    short = lines_of(tenure, TINY / timedelta(hours=1), spot=steady("999.999999"), ondemand=listed("1000"))
    assert [one.hours for one in short] == [D(1) / D(3_600_000_000)]
    assert [(one.baseline, one.cost, one.saving) for one in short] == [(D("2.8E-7"), D("2.8E-7"), D("0E-8"))]


@pytest.mark.parametrize(
    ("paid", "od", "hours", "baseline", "cost"),
    [
        ("0.010001", "0.030001", 1 / 3, "0.01000033", "0.00333367"),
        ("0.000001", "0.000003", 0.5, "0.00000150", "0.00000050"),
        ("0.000001", "0.000001", 1 / 200, "0.00000000", "0.00000000"),  # half to even: down
        ("0.000003", "0.000003", 1 / 200, "0.00000002", "0.00000002"),  # half to even: up
        ("1000", "1000", 24, "24000.00000000", "24000.00000000"),
    ],
)
def test_p12_a_line_is_rounded_half_even_to_eight_decimals_and_its_saving_is_the_rest(
    paid: str, od: str, hours: float, baseline: str, cost: str
) -> None:
    (line,) = lines_of(a_tenure(primary=((0, None),)), hours, spot=steady(paid), ondemand=listed(od))
    assert (f"{line.baseline:f}", f"{line.cost:f}") == (baseline, cost)
    assert line.saving == D(baseline) - D(cost)


def test_a_line_names_whose_it_is_and_which_pool_it_was_paid_for() -> None:
    (line,) = lines_of(a_tenure("p", primary=((0, None),)), 1)
    assert (line.client_id, line.agent_id, line.instance_id) == ("c", "a", "p")
    assert (line.mode, line.pool_id, line.sign, line.adjusts) == (Mode.SPOT, "m5.large.us-east-1a", 1, None)


@pytest.mark.parametrize(("since", "until"), [(5, 5), (6, 5), (-9, -1)])
def test_no_time_has_no_lines(since: float, until: float) -> None:
    assert lines_of(a_tenure(primary=((0, None),)), until, since=since) == ()


def test_lines_since_an_instant_begin_there() -> None:
    tenure = a_tenure(primary=((2, None),))
    assert [(row[0], row[1], row[2]) for row in told(lines_of(tenure, 6, since=1))] == [(1, 2, R), (2, 6, P)]
    assert [(row[0], row[1], row[2]) for row in told(lines_of(tenure, 6, since=3))] == [(3, 6, P)]
