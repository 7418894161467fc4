"""Who wins a bucket (DQ-3, DQ-4) and discrepancies (DQ-5)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.buckets import Contender, Discrepancy, judge_buckets, winner
from spotcore.prices import Observation, PriceSource, bucket_start

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
P, E, M, B = PriceSource.PRIMARY, PriceSource.EMERGENCY_REPLICA, PriceSource.MANUAL_REPLICA, PriceSource.BACKFILL


def row(
    source: PriceSource, seconds: int, name: str, price: str = "0.04", pool: str = "m5.large.us-east-1a"
) -> Contender:
    return Contender(
        source=source,
        observation=Observation(
            submission_id=name, pool_id=pool, price=Decimal(price), observed_at=T0 + timedelta(seconds=seconds)
        ),
    )


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        pytest.param([row(E, 0, "a"), row(P, 200, "b")], "b", id="DQ-4-primary-before-emergency"),
        pytest.param([row(M, 0, "a"), row(E, 200, "b")], "b", id="DQ-4-emergency-before-manual"),
        pytest.param([row(B, 0, "a"), row(M, 200, "b")], "b", id="DQ-4-manual-before-backfill"),
        pytest.param([row(P, 2, "a"), row(P, 1, "b")], "b", id="DQ-4-earliest"),
        pytest.param([row(P, 1, "b"), row(P, 1, "a")], "a", id="DQ-4-smallest-submission"),
    ],
)
def test_dq4_total_order(rows: list[Contender], name: str) -> None:
    for order in (rows, rows[::-1]):
        verdict = winner(order)
        assert verdict is not None
        assert verdict.winner.observation.submission_id == name


@pytest.mark.parametrize(
    ("runner_up", "expected"),
    [
        pytest.param("1.005", None, id="DQ-5-half-a-percent"),
        pytest.param("1.005001", Discrepancy.FLAGGED, id="DQ-5-above-half-a-percent"),
        pytest.param("0.994999", Discrepancy.FLAGGED, id="DQ-5-below"),
        pytest.param("1.1", Discrepancy.FLAGGED, id="DQ-5-ten-percent"),
        pytest.param("1.100001", Discrepancy.WARNING, id="DQ-5-above-ten-percent"),
        pytest.param("0.899999", Discrepancy.WARNING, id="DQ-5-far-below"),
    ],
)
def test_dq5_discrepancy(runner_up: str, expected: Discrepancy | None) -> None:
    verdict = winner([row(E, 0, "a", runner_up), row(P, 0, "b", "1")])
    assert verdict is not None
    assert verdict.winner.observation.price == 1
    assert verdict.discrepancy is expected


def test_dq5_only_the_runner_up_counts() -> None:
    verdict = winner([row(P, 0, "a", "1"), row(E, 0, "b", "1"), row(B, 0, "c", "9")])
    assert verdict is not None
    assert verdict.discrepancy is None


def test_dq3_a_repeated_submission_has_no_runner_up() -> None:
    verdict = winner([row(P, 0, "a")] * 3)
    assert verdict is not None
    assert verdict.runner_up is None
    assert verdict.discrepancy is None


def test_an_empty_bucket_has_no_winner() -> None:
    assert winner([]) is None


def submitted(source: PriceSource, seconds: int, machine: str, price: str, pool: str) -> Contender:
    """As the digest of P1: one submission id has one time, price and pool (the source may have changed since)."""
    return row(source, seconds, f"{machine}|{pool}|{seconds}|{price}", price, pool)


contenders = st.builds(
    submitted,
    st.sampled_from(PriceSource),
    st.integers(0, 900),
    st.sampled_from("abc"),
    st.sampled_from(["0.04", "0.0401", "0.05"]),
    st.sampled_from(["m5.large.us-east-1a", "m5.large.us-east-1b"]),
)


@given(st.lists(contenders, max_size=30), st.randoms(use_true_random=False))
def test_failure_73_arrival_order_and_repetition_do_not_matter(rows: list[Contender], random) -> None:  # type: ignore[no-untyped-def]
    judged = judge_buckets(rows)
    again = rows + rows[: len(rows) // 2]
    random.shuffle(again)
    assert {key: verdict.winner for key, verdict in judge_buckets(again).items()} == {
        key: verdict.winner for key, verdict in judged.items()
    }
    assert {k: v.discrepancy for k, v in judge_buckets(again).items()} == {k: v.discrepancy for k, v in judged.items()}


@given(st.lists(contenders, max_size=30))
def test_failure_75_the_price_is_one_observed_in_that_very_bucket(rows: list[Contender]) -> None:
    judged = judge_buckets(rows)
    for (pool_id, start), verdict in judged.items():
        here = [
            r for r in rows if r.observation.pool_id == pool_id and bucket_start(r.observation.observed_at) == start
        ]
        assert verdict.winner in here
        assert verdict.winner.key == min(one.key for one in here)
    assert set(judged) == {(r.observation.pool_id, bucket_start(r.observation.observed_at)) for r in rows}
