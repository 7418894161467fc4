"""Section 4.3: a weighted mean of what is known; unknown is a prior and says so."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore import risk
from spotcore.market import Market, PoolRecord
from spotcore.pools import Mode
from spotcore.risk import Risk
from tests.support.rule_builders import LONG_AGO, POOL_A, START, D, a_machine, an_aggregate, without_primary

DAY = timedelta(hours=24)


def a_record(incidents: int = 0, prices: tuple[str, ...] = (), first: datetime | None = LONG_AGO) -> PoolRecord:
    return PoolRecord(
        pool_id=POOL_A,
        incidents_7d=incidents,
        first_observed_at=first,
        recent_prices=tuple(D(price) for price in prices),
    )


def hours_ago(hours: float) -> datetime:
    return START - timedelta(hours=hours)


@pytest.mark.parametrize(
    ("incidents", "score"), [(0, "0"), (1, "0.1"), (5, "0.5"), (9, "0.9"), (10, "1"), (11, "1"), (1_000, "1")]
)
def test_4_3_interruptions_alone_are_incidents_of_ten(incidents: int, score: str) -> None:
    assert risk.pool_risk(a_record(incidents), START) == Risk(score=D(score))


@pytest.mark.parametrize(("hours", "share"), [(0, "0"), (3, "0.25"), (6, "0.5"), (12, "1"), (13, "1"), (-1, "0")])
def test_4_3_age_is_hours_of_twelve_and_counts_0_30_beside_interruptions(hours: float, share: str) -> None:
    judged = risk.pool_risk(a_record(), START, launched_at=hours_ago(hours))
    assert judged.score == D("0.30") * D(share) / (D("0.40") + D("0.30"))


@pytest.mark.parametrize(
    ("prices", "share"),
    [
        (("1", "1"), "0"),
        (("1", "1.25"), "0.25"),
        (("1", "2"), "1"),
        (("1", "3"), "1"),
        (("1", "0.5"), "0"),  # clamped: falling prices are not negative risk
        (("1", "9", "1"), "0"),  # newest against oldest, nothing between
        (("0.04", "0.05"), "0.25"),
    ],
)
def test_4_3_the_trend_is_newest_against_oldest_clamped(prices: tuple[str, ...], share: str) -> None:
    judged = risk.pool_risk(a_record(prices=prices), START)
    assert judged.score == D("0.30") * D(share) / (D("0.40") + D("0.30"))


@pytest.mark.parametrize("prices", [(), ("1",)], ids=["no bucket", "one bucket"])
def test_4_3_fewer_than_two_buckets_are_no_trend(prices: tuple[str, ...]) -> None:
    assert risk.pool_risk(a_record(incidents=5, prices=prices), START).score == D("0.5")


def test_4_3_all_three_together_are_weighted_40_30_30() -> None:
    judged = risk.pool_risk(a_record(5, ("1", "1.5")), START, launched_at=hours_ago(3))
    assert judged == Risk(score=D("0.40") * D("0.5") + D("0.30") * D("0.25") + D("0.30") * D("0.5"))


@pytest.mark.parametrize(
    "record", [None, a_record(first=None), a_record(first=START)], ids=["unheard", "undated", "new"]
)
def test_4_3_without_any_component_the_risk_is_a_prior_gr7(record: PoolRecord | None) -> None:
    judged = risk.pool_risk(record, START)
    assert judged.score == D("0.50")
    assert "prior" in judged.flags


@pytest.mark.parametrize(
    ("observed", "young"),
    [(timedelta(0), True), (DAY - timedelta(seconds=1), True), (DAY, False), (DAY + timedelta(seconds=1), False)],
)
def test_4_3_a_pool_observed_for_less_than_24_hours_is_young(observed: timedelta, young: bool) -> None:
    judged = risk.pool_risk(a_record(10, ("1", "1"), START - observed), START)
    assert ("young_pool" in judged.flags) is young
    assert judged.score == (D("0.30") if young else D("0.40") / D("0.70"))


@pytest.mark.parametrize(
    ("prices", "score"), [(("1", "1"), "0.30"), (("1", "1.29"), "0.30"), (("1", "1.31"), "0.31"), (("1", "2"), "1")]
)
def test_4_3_a_young_pool_has_a_floor_of_0_30_and_no_interruption_component(
    prices: tuple[str, ...], score: str
) -> None:
    assert risk.pool_risk(a_record(10, prices, START), START) == Risk(score=D(score), flags=("young_pool",))


ages = st.none() | st.floats(0, 48)
trends = st.lists(st.decimals("0.01", "5", places=2), max_size=5).map(tuple)


@given(incidents=st.integers(0, 20), more=st.integers(0, 20), age=ages, prices=trends)
def test_4_3_more_interruptions_never_lower_the_risk(
    incidents: int, more: int, age: float | None, prices: tuple[Decimal, ...]
) -> None:
    launched = hours_ago(age) if age is not None else None
    base = evolve(a_record(), recent_prices=prices)
    low = risk.pool_risk(evolve(base, incidents_7d=incidents), START, launched_at=launched).score
    high = risk.pool_risk(evolve(base, incidents_7d=incidents + more), START, launched_at=launched).score
    assert 0 <= low <= high <= 1


@given(incidents=st.integers(0, 20), age=st.floats(0, 48), older=st.floats(0, 48), prices=trends, young=st.booleans())
def test_4_3_an_older_machine_never_has_less_risk(
    incidents: int, age: float, older: float, prices: tuple[Decimal, ...], young: bool
) -> None:
    record = evolve(a_record(incidents, first=START if young else LONG_AGO), recent_prices=prices)
    low = risk.pool_risk(record, START, launched_at=hours_ago(age)).score
    high = risk.pool_risk(record, START, launched_at=hours_ago(age + older)).score
    assert 0 <= low <= high <= 1


@given(
    incidents=st.integers(0, 20),
    age=ages,
    oldest=st.integers(1, 100),
    newest=st.integers(1, 300),
    more=st.integers(0, 300),
)
def test_4_3_a_steeper_trend_never_has_less_risk(
    incidents: int, age: float | None, oldest: int, newest: int, more: int
) -> None:
    launched = hours_ago(age) if age is not None else None
    low = risk.pool_risk(a_record(incidents, (str(oldest), str(newest))), START, launched_at=launched).score
    high = risk.pool_risk(a_record(incidents, (str(oldest), str(newest + more))), START, launched_at=launched).score
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(
    ("score", "band"),
    [("0", "low"), ("0.1999", "low"), ("0.20", "medium"), ("0.4999", "medium"), ("0.50", "high"), ("1", "high")],
)
def test_4_3_the_bands_begin_at_0_20_and_0_50(score: str, band: str) -> None:
    assert risk.band(D(score)).value == band


@pytest.mark.parametrize(
    ("score", "improvement", "allowed"),
    [
        ("0.19", "-10", True),  # low: the normal thresholds decide elsewhere
        ("0.20", "50", False),
        ("0.20", "50.01", True),
        ("0.49", "99", True),
        ("0.50", "99", False),
        ("1", "100", False),
    ],
)
def test_4_3_a_medium_risk_needs_more_than_50_percent_and_a_high_one_is_never_a_target(
    score: str, improvement: str, allowed: bool
) -> None:
    assert risk.recommendable(D(score), D(improvement)) is allowed


@pytest.mark.parametrize(
    ("score", "advice"),
    [("0", "safe"), ("0.40", "safe"), ("0.4001", "caution"), ("0.70", "caution"), ("0.7001", "avoid"), ("1", "avoid")],
)
def test_4_3_pool_advice_is_safe_to_0_40_and_caution_to_0_70(score: str, advice: str) -> None:
    judged = risk.advice(Risk(score=D(score)))
    assert judged is not None
    assert judged.value == advice


@pytest.mark.parametrize("judged", [None, Risk(score=D("0.50"), flags=("prior",))])
def test_4_3_unknown_stays_unknown_in_advice_gr7(judged: Risk | None) -> None:
    assert risk.advice(judged) is None


def test_4_3_the_risk_of_the_primary_has_its_age_and_a_candidates_has_not() -> None:
    market = Market(pools={POOL_A: a_record()})
    aged = an_aggregate(primary=a_machine(confirmed_at=hours_ago(6)))
    assert risk.current(aged, market, START) == Risk(score=D("0.15") / D("0.70"))
    assert risk.pool_risk(market.pools[POOL_A], START) == Risk(score=D(0))


@pytest.mark.parametrize("mode", [Mode.ONDEMAND, Mode.UNKNOWN])
def test_4_3_a_machine_not_known_to_be_on_spot_has_no_pool_risk(mode: Mode) -> None:
    assert risk.current(an_aggregate(mode=mode), Market(), START) is None
    assert risk.current(without_primary(an_aggregate()), Market(), START) is None
