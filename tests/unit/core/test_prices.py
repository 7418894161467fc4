"""Section 8.1: what of a report is believed, which bucket it competes for, and who wins it (P1, P3, P11)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from spotcore import prices
from spotcore.aggregate import Aggregate
from spotcore.instances import InstanceStatus
from spotcore.prices import PriceReport, PriceSource, judge_report
from spotcore.replicas import ReplicaKind, ReplicaState
from tests.support.rule_builders import (
    POOL_A,
    POOL_B,
    START,
    D,
    a_machine,
    a_replica,
    an_aggregate,
    later,
    without_primary,
)

WEEK = 7 * 86_400


@frozen(kw_only=True)
class Said:
    """One reported price, as an agent may say it."""

    price: Any = Decimal("0.03")
    pool: str | None = POOL_B
    instance_type: str | None = None
    az: str | None = None
    observed_at: datetime | None = None
    product: Any = None


def reported(
    *spot: Said,
    aggregate: Aggregate | None = None,
    machine: str | None = "i-0m",
    ondemand: Sequence[Said] = (),
    last: str | None = None,
) -> PriceReport:
    return judge_report(
        aggregate or an_aggregate(), START, cloud_id=machine, spot=spot, ondemand=ondemand,
        last_unflagged=D(last) if last else None,
    )  # fmt: skip


# --- buckets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "bucket"),
    [
        ("12:00:00", "12:00"),
        ("12:04:59.999999", "12:00"),
        ("12:05:00", "12:05"),
        ("12:09:59", "12:05"),
        ("23:59:59", "23:55"),
        ("00:00:00", "00:00"),
    ],
)
def test_dq1_a_bucket_is_the_five_minutes_an_instant_falls_into(at: str, bucket: str) -> None:
    start = prices.bucket_start(datetime.fromisoformat(f"2026-03-02T{at}+00:00"))
    assert start == datetime.fromisoformat(f"2026-03-02T{bucket}+00:00")


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.integers(-14, 14))
def test_dq1_a_bucket_is_the_same_in_every_zone_and_its_own_bucket_failure_72(naive: datetime, hours: int) -> None:
    at = naive.replace(tzinfo=UTC)
    start = prices.bucket_start(at)
    assert start <= at < start + timedelta(minutes=5)
    assert start.timestamp() % 300 == 0
    elsewhere = at.astimezone(timezone(timedelta(hours=hours)))
    assert prices.bucket_start(elsewhere) == prices.bucket_start(start) == start


# --- winners -------------------------------------------------------------------------------------------------

submissions = st.lists(
    st.tuples(st.sampled_from(PriceSource), st.integers(0, 4), st.sampled_from("abcdef")), min_size=1, max_size=8
)


@given(submissions, st.randoms(use_true_random=False))
def test_dq4_the_winner_is_best_source_then_earliest_then_smallest_id_in_any_order_failure_73(
    rows: list[tuple[PriceSource, int, str]], shuffle: Any
) -> None:
    def winner(order: list[tuple[PriceSource, int, str]]) -> tuple[PriceSource, int, str]:
        return min(order, key=lambda row: prices.order_key(row[0], later(row[1]), row[2]))

    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    best = winner(rows)
    assert winner(shuffled) == best
    ranks = ["primary", "emergency_replica", "manual_replica", "backfill"]
    assert best == min(rows, key=lambda row: (ranks.index(row[0].value), row[1], row[2]))


@pytest.mark.parametrize(
    ("source", "rank", "confidence"),
    [
        (PriceSource.PRIMARY, 5, "1.00"),
        (PriceSource.EMERGENCY_REPLICA, 4, "0.95"),
        (PriceSource.MANUAL_REPLICA, 3, "0.95"),
        (PriceSource.BACKFILL, 2, "0.90"),
    ],
)
def test_8_1_every_source_has_its_rank_and_confidence(source: PriceSource, rank: int, confidence: str) -> None:
    assert (prices.RANK[source], prices.CONFIDENCE[source]) == (rank, D(confidence))


def test_dq4_a_better_source_wins_over_an_earlier_price_and_an_earlier_price_over_a_smaller_id() -> None:
    primary = prices.order_key(PriceSource.PRIMARY, later(200), "z")
    assert primary < prices.order_key(PriceSource.EMERGENCY_REPLICA, later(0), "a")
    assert prices.order_key(PriceSource.PRIMARY, later(0), "z") < prices.order_key(PriceSource.PRIMARY, later(1), "a")
    assert prices.order_key(PriceSource.PRIMARY, later(0), "a") < prices.order_key(PriceSource.PRIMARY, later(0), "b")


def test_p1_the_submission_id_is_a_digest_of_what_makes_an_observation_the_same() -> None:
    base = ("c", "i-0m", POOL_B, START, D("0.03"))
    same = prices.submission_id(*base)
    assert prices.submission_id(*base) == same
    others = [
        ("d", "i-0m", POOL_B, START, D("0.03")),
        ("c", "i-0n", POOL_B, START, D("0.03")),
        ("c", None, POOL_B, START, D("0.03")),
        ("c", "i-0m", POOL_A, START, D("0.03")),
        ("c", "i-0m", POOL_B, later(1), D("0.03")),
        ("c", "i-0m", POOL_B, START, D("0.031")),
    ]
    made = {prices.submission_id(*other) for other in others} | {prices.submission_id(*base, product="Windows")}
    assert len(made) == len(others) + 1
    assert same not in made


def test_p1_the_same_observation_reported_again_has_the_same_id_dq3() -> None:
    item = Said(observed_at=later(-30))
    (first,), (again,) = reported(item).observations, reported(item).observations
    assert first == again


# --- DQ-2: what is valid -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "kept"),
    [
        (D("0.03"), "0.030000"),
        (D("0.0000015"), "0.000002"),  # half-even
        (D("0.0000025"), "0.000002"),
        (D("1000"), "1000.000000"),
        (D("1000.0000001"), None),  # judged before rounding (P3)
        (D("0.0000005"), None),  # rounds to 0
        (D("0.00000051"), "0.000001"),
        (1, "1.000000"),
        (0, None),
        (D("-0.01"), None),
        (D("NaN"), None),
        (D("Infinity"), None),
        ("0.03", None),  # a text is no price (P3)
        (True, None),
        (None, None),
        (0.03, None),  # a float never touches money (GR-6)
    ],
    ids=repr,
)
def test_dq2_a_price_is_a_number_above_0_and_at_most_1000_with_six_decimals(price: Any, kept: str | None) -> None:
    report = reported(Said(price=price))
    assert [row.price for row in report.observations] == ([D(kept)] if kept else [])
    assert len(report.rejected) == (kept is None)


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        (None, 0),
        (0, 0),
        (-1, -1),
        (-WEEK, -WEEK),
        (-WEEK - 1, None),
        (1, 0),  # clamped to receipt
        (120, 0),
        (120.001, None),
    ],
)
def test_dq2_an_observation_is_at_most_seven_days_old_and_two_minutes_ahead(
    seconds: float | None, kept: int | None
) -> None:
    item = Said(observed_at=later(seconds) if seconds is not None else None)
    report = reported(item)
    assert [row.observed_at for row in report.observations] == ([later(kept)] if kept is not None else [])


@pytest.mark.parametrize(
    ("item", "pool_id"),
    [
        (Said(pool=POOL_B), POOL_B),
        (Said(pool="m5.large.us-east-1.us-east-1b"), POOL_B),
        (Said(pool=None, instance_type="m5.large", az="us-east-1b"), POOL_B),
        (Said(pool="nowhere"), None),
        (Said(pool=None), None),
        (Said(pool=None, az="us-east-1b"), None),
        (Said(pool=None, instance_type="m5.large"), None),
    ],
    ids=["id", "long id", "type and zone", "no pool", "nothing", "zone alone", "type alone"],
)
def test_dq2_an_observation_names_its_pool_in_one_spelling_failure_84(item: Said, pool_id: str | None) -> None:
    assert [row.pool_id for row in reported(item).observations] == ([pool_id] if pool_id else [])


def test_dq6_every_item_is_judged_alone_and_a_bad_one_takes_no_other_with_it() -> None:
    report = reported(
        Said(), Said(price=D(0)), Said(pool="nowhere"), Said(observed_at=later(-WEEK - 1)), Said(pool=POOL_A)
    )
    assert [row.pool_id for row in report.observations] == [POOL_B, POOL_A]
    assert report.rejected == (
        "price out of range", "no pool and no zone", "observed too long ago or in the future",
    )  # fmt: skip


ROLES: list[tuple[str, Any, PriceSource | None]] = [
    ("the primary", None, PriceSource.PRIMARY),
    (
        "a manual replica",
        ("r", InstanceStatus.RUNNING_REPLICA, ReplicaKind.MANUAL, ReplicaState.READY),
        PriceSource.MANUAL_REPLICA,
    ),
    (
        "a rebalance replica",
        ("r", InstanceStatus.RUNNING_REPLICA, ReplicaKind.EMERGENCY_REBALANCE, ReplicaState.SYNCING),
        PriceSource.EMERGENCY_REPLICA,
    ),
    (
        "a termination replica",
        ("r", InstanceStatus.RUNNING_REPLICA, ReplicaKind.EMERGENCY_TERMINATION, ReplicaState.READY),
        PriceSource.EMERGENCY_REPLICA,
    ),
    ("a replica that has failed", ("r", InstanceStatus.TERMINATING, ReplicaKind.MANUAL, ReplicaState.FAILED), None),
    ("a zombie", ("r", InstanceStatus.ZOMBIE, None, None), None),
    ("a machine that is to end", ("r", InstanceStatus.TERMINATING, None, None), None),
    ("a machine that has ended", ("r", InstanceStatus.TERMINATED, None, None), None),
]


@pytest.mark.parametrize(("standing", "source"), [pytest.param(row, src, id=name) for name, row, src in ROLES])
def test_dq2_p3_who_is_heard_is_the_machines_role_at_receipt(standing: Any, source: PriceSource | None) -> None:
    rows: list[Any] = []
    if standing is not None:
        name, status, kind, state = standing
        rows = [a_machine(name, status, zone="b")] + ([a_replica(name, kind, state)] if kind else [])
    report = reported(Said(), aggregate=an_aggregate(*rows), machine="i-0r" if standing else "i-0m")
    assert len(report.observations) == (source is not None)
    assert len(report.rejected) == (source is None)
    if source is not None:
        assert report.source is source


@pytest.mark.parametrize("machine", ["i-0stranger", "i-pending-12345678"])
def test_dq2_a_machine_that_is_not_this_agents_is_not_heard(machine: str) -> None:
    report = reported(Said(), Said(), machine=machine)
    assert (report.observations, len(report.rejected)) == ((), 2)


def test_z23_a_report_that_names_no_machine_counts_as_the_primarys_and_without_a_primary_as_nobodys() -> None:
    assert reported(Said(), machine=None).source is PriceSource.PRIMARY
    assert len(reported(Said(), machine=None).observations) == 1
    assert reported(Said(), machine=None, aggregate=without_primary(an_aggregate())).observations == ()


# --- DQ-8: on-demand prices ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "mean", "last", "flagged"),
    [
        ("0.1", None, None, True),
        ("0.100000", None, None, True),
        ("0.100001", None, None, False),
        ("0.1", None, "0.1", False),
        ("0.1", None, "0.099010", False),  # 0.99 % away
        ("0.1", None, "0.098000", True),
        ("0.1", None, "0.101010", False),  # 1 % of the last value, not of the new one
        ("0.1", None, "0.101011", True),
        ("0.1", None, "0.2", True),
        ("0.3", "0.1", None, True),  # three times the mean
        ("0.3015", "0.1", None, True),  # 0.5 % above it
        ("0.301501", "0.1", None, False),
        ("0.2985", "0.1", None, True),
        ("0.298499", "0.1", None, False),
        ("0.3", "0.1", "0.3", False),
        ("0.3", "0.1", "0.297030", False),
        ("0.3", "0.1", "0.29", True),
        ("0.303", "0.101", "0.3", False),  # 1 % exactly
        ("0.303001", "0.101", "0.3", True),
        ("0.096", "0.03", None, False),
        ("0.096", None, None, False),
    ],
)
def test_dq8_what_agents_fall_back_to_is_flagged_unless_the_last_unflagged_value_agrees_within_1_percent(
    price: str, mean: str | None, last: str | None, flagged: bool
) -> None:
    found = prices.is_suspicious(D(price), D(mean) if mean else None, D(last) if last else None)
    assert found is flagged


def test_p11_the_mean_is_over_the_accepted_spot_items_of_the_report() -> None:
    spot = [Said(price=D("0.02")), Said(price=D("0.04"), pool=POOL_A), Said(price=D(900), observed_at=later(-WEEK - 5))]
    listed = [Said(price=D("0.09"), pool=None, instance_type="m5.large")]
    (row,) = reported(*spot, ondemand=listed).ondemand
    assert row.flagged  # 3 × 0.03; the refused 900 $ does not count


def test_dq8_a_report_without_spot_items_has_no_mean() -> None:
    (row,) = reported(ondemand=[Said(price=D("0.09"))]).ondemand
    assert (row.flagged, row.price, row.instance_type, row.region) == (False, D("0.09"), "m5.large", "us-east-1")


@pytest.mark.parametrize("price", [D("0.0"), 0, "0.1", None, D("-1"), D("1000.1")], ids=repr)
def test_dq8_zero_is_missing_and_never_a_price(price: Any) -> None:
    assert reported(ondemand=[Said(price=price)]).ondemand == ()


def test_dq8_a_flagged_value_is_kept_and_says_so() -> None:
    (row,) = reported(ondemand=[Said(price=D("0.1"))]).ondemand
    assert (row.price, row.flagged) == (D("0.1"), True)


def test_dq2_a_machine_that_is_not_heard_lists_no_on_demand_price_either() -> None:
    zombie = an_aggregate(a_machine("z", InstanceStatus.ZOMBIE, zone="b"))
    assert reported(ondemand=[Said(price=D("0.2"))], aggregate=zombie, machine="i-0z").ondemand == ()


@given(
    price=st.decimals("0.000001", "1000", places=6),
    mean=st.none() | st.decimals("0.000001", "300", places=6),
    last=st.none() | st.decimals("0.000001", "1000", places=6),
)
def test_dq8_the_flag_is_exactly_the_rules_words(price: Decimal, mean: Decimal | None, last: Decimal | None) -> None:
    agrees = last is not None and abs(price - last) / last <= D("0.01")
    fallback = price == D("0.1") or (mean is not None and abs(price - 3 * mean) / (3 * mean) <= D("0.005"))
    assert prices.is_suspicious(price, mean, last) is (fallback and not agrees)


# --- product descriptions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "product",
    [
        pytest.param(None, id="not-said"),
        pytest.param("Linux/UNIX", id="linux"),
        pytest.param("Linux/UNIX (Amazon VPC)", id="linux-by-its-other-name"),
    ],
)
def test_dq2_a_linux_price_is_taken_whatever_it_is_called(product: Any) -> None:
    report = reported(Said(product=product), Said())
    assert len({one.submission_id for one in report.observations}) == 1
    assert report.rejected == ()


@pytest.mark.parametrize(
    "product", ["Windows", "Windows (Amazon VPC)", "SUSE Linux", "linux/unix", "", 0, ["Linux/UNIX"]]
)
def test_dq2_a_price_of_another_product_never_enters_a_linux_series(product: Any) -> None:
    report = reported(Said(product=product), Said())
    assert len(report.observations) == 1
    assert report.rejected == ("another product description",)
