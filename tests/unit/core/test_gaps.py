"""Gaps and their fills (GF-1 to GF-5, GF-7)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.gaps import GapLevel, Series, fill_gaps, find_gaps, is_mostly_filled
from spotcore.quality import Filled, FillMethod

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEP = timedelta(minutes=5)
A, B, C, D = (f"m5.large.us-east-1{zone}" for zone in "abcd")


def series(prices: Mapping[int, str]) -> Series:
    return {T0 + step * STEP: Decimal(price) for step, price in prices.items()}


def steps(rows: tuple[Filled, ...]) -> dict[int, Decimal]:
    return {(row.bucket_start - T0) // STEP: row.price for row in rows}


@pytest.mark.parametrize(
    ("missing", "level", "method"),
    [
        pytest.param(1, None, FillMethod.LINEAR, id="GF-1-one-bucket-is-silent"),
        pytest.param(2, GapLevel.INFO, FillMethod.LINEAR, id="GF-1-two"),
        pytest.param(3, GapLevel.INFO, FillMethod.WEIGHTED_MEAN, id="GF-1-three"),
        pytest.param(6, GapLevel.INFO, FillMethod.WEIGHTED_MEAN, id="GF-1-half-an-hour"),
        pytest.param(7, GapLevel.WARNING, FillMethod.LINEAR_WITHOUT_PEERS, id="GF-1-above-half-an-hour"),
        pytest.param(24, GapLevel.WARNING, FillMethod.LINEAR_WITHOUT_PEERS, id="GF-1-two-hours"),
        pytest.param(25, GapLevel.WARNING, None, id="GF-1-above-two-hours-is-not-filled"),
    ],
)
def test_gf1_level_and_method_by_length(missing: int, level: GapLevel | None, method: FillMethod | None) -> None:
    measured = series({0: "0.04", missing + 1: "0.05"})
    (gap,) = find_gaps(A, measured)
    assert (gap.missing, gap.level) == (missing, level)
    rows = fill_gaps({A: measured})[A]
    assert {row.method for row in rows} == ({method} if method else set())
    assert len(rows) == (missing if method else 0)


def test_neighbours_have_no_gap() -> None:
    assert list(find_gaps(A, series({0: "0.04", 1: "0.05"}))) == []


def test_linear_by_hand() -> None:
    assert steps(fill_gaps({A: series({0: "0.01", 3: "0.04"})})[A]) == {1: Decimal("0.02"), 2: Decimal("0.03")}


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        pytest.param(("0.000002", "0.000003"), "0.000002", id="half-goes-down-to-even"),
        pytest.param(("0.000003", "0.000004"), "0.000004", id="half-goes-up-to-even"),
    ],
)
def test_a_fill_is_rounded_half_even(ends: tuple[str, str], expected: str) -> None:
    assert steps(fill_gaps({A: series({0: ends[0], 2: ends[1]})})[A]) == {1: Decimal(expected)}


def test_weighted_mean_by_hand() -> None:
    # the first missing bucket: weights 1/301 and 1/901 beside 0.03 and, 4 buckets on, 1/901 is 15 minutes
    rows = steps(fill_gaps({A: series({0: "0.03", 4: "0.06"})})[A])
    assert rows[1] == Decimal("0.037512")  # (0.03/301 + 0.06/901) / (1/301 + 1/901)
    assert rows[2] == Decimal("0.045")
    assert rows[3] == Decimal("0.052488")


def test_weighted_mean_takes_the_six_nearest_within_an_hour() -> None:
    near = {-4: "0.04", -3: "0.04", -2: "0.04", -1: "0.04", 0: "0.04", 4: "0.04", 5: "0.04"}
    alone = fill_gaps({A: series(near)})[A]
    far = fill_gaps({A: series({**near, -5: "9", 17: "9", 18: "9"})})[A]
    assert steps(alone)[1] == steps(far)[1] == Decimal("0.04")


def test_weighted_mean_does_not_look_beyond_an_hour() -> None:
    inside = series({0: "0.04", 4: "0.04", 15: "0.08"})  # 60 minutes after bucket 3
    beyond = series({0: "0.04", 4: "0.04", 16: "0.08"})
    assert steps(fill_gaps({A: inside})[A])[3] > Decimal("0.04")
    assert steps(fill_gaps({A: beyond})[A])[3] == Decimal("0.04")


def peer(at_4: str) -> Series:
    return series({0: "0.10", 4: at_4, 8: "0.10"})


def test_gf2_cross_pool_by_hand() -> None:
    rows = fill_gaps({A: series({0: "0.04", 8: "0.04"}), B: peer("0.20"), C: peer("0.30"), D: peer("0.10")})[A]
    found = {(row.bucket_start - T0) // STEP: row for row in rows}
    assert (found[4].price, found[4].method) == (Decimal("0.08"), FillMethod.CROSS_POOL)  # median ratio 2
    assert (found[3].price, found[3].method) == (Decimal("0.04"), FillMethod.LINEAR_WITHOUT_PEERS)
    assert (found[4].confidence, found[3].confidence) == (Decimal("0.70"), Decimal("0.60"))


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({}, id="GF-2-one-peer"),
        pytest.param({0: "0.1", 8: "0.1"}, id="GF-2-second-not-measured-there"),
        pytest.param({4: "0.2", 8: "0.1"}, id="GF-2-second-without-an-end"),
    ],
)
def test_gf2_needs_two_peers(second: dict[int, str]) -> None:
    rows = fill_gaps({A: series({0: "0.04", 8: "0.04"}), B: peer("0.20"), C: series(second)})[A]
    assert {row.method for row in rows} == {FillMethod.LINEAR_WITHOUT_PEERS}
    assert {row.price for row in rows} == {Decimal("0.04")}


def test_gf2_a_result_that_is_no_price_is_linear() -> None:
    wild = series({0: "0.000001", 4: "1000", 8: "0.000001"})
    rows = fill_gaps({A: series({0: "0.04", 8: "0.04"}), B: wild, C: wild})[A]
    assert {row.price for row in rows} == {Decimal("0.04")}
    assert {row.method for row in rows} == {FillMethod.LINEAR_WITHOUT_PEERS}


def test_gf5_a_late_measurement_replaces_a_filled_one_and_the_rest_is_recomputed() -> None:
    early = steps(fill_gaps({A: series({0: "0.04", 3: "0.07"})})[A])
    late = steps(fill_gaps({A: series({0: "0.04", 1: "0.09", 3: "0.07"})})[A])
    assert early == {1: Decimal("0.05"), 2: Decimal("0.06")}
    assert late == {2: Decimal("0.08")}


@pytest.mark.parametrize(
    ("measured", "filled", "expected"),
    [
        pytest.param(80, 20, False, id="GF-7-exactly-a-fifth"),
        pytest.param(79, 20, True, id="GF-7-more"),
        pytest.param(0, 0, False, id="GF-7-nothing"),
    ],
)
def test_gf7_more_than_a_fifth(measured: int, filled: int, expected: bool) -> None:
    assert is_mostly_filled(measured, filled) is expected


prices = st.integers(1, 2_000_000).map(lambda micro: Decimal(micro).scaleb(-6))
histories = st.dictionaries(
    st.sampled_from([A, B, C, D]),
    st.dictionaries(st.integers(0, 60).map(lambda step: T0 + step * STEP), prices, max_size=25),
    max_size=4,
)


@given(histories, st.randoms(use_true_random=False))
def test_gf5_order_does_not_matter_and_a_second_run_is_identical_failure_76(history, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = {
        pool: dict(random.sample(list(history[pool].items()), len(history[pool])))
        for pool in random.sample(list(history), len(history))
    }
    assert fill_gaps(shuffled) == fill_gaps(history) == fill_gaps(history)


@given(histories)
def test_gf3_gf4_exactly_the_missing_buckets_between_measured_ones(history: dict[str, dict[datetime, Decimal]]) -> None:
    for pool, rows in fill_gaps(history).items():
        wanted = [at for gap in find_gaps(pool, history[pool]) if gap.missing <= 24 for at in gap.starts]
        assert [row.bucket_start for row in rows] == wanted
        assert not set(wanted) & set(history[pool])
        if wanted:
            assert min(history[pool]) < wanted[0]
            assert wanted[-1] < max(history[pool])
        assert all(0 < row.price <= 1000 for row in rows)


@given(histories)
def test_linear_and_mean_stay_between_measured_prices(history: dict[str, dict[datetime, Decimal]]) -> None:
    for pool, rows in fill_gaps(history).items():
        for row in rows:
            if row.method is not FillMethod.CROSS_POOL:
                assert min(history[pool].values()) <= row.price <= max(history[pool].values())


@given(st.integers(7, 24), prices, prices, st.lists(prices, min_size=3, max_size=3))
def test_gf2_both_ends_are_met_failure_79(missing, first, last, level) -> None:  # type: ignore[no-untyped-def]
    """Peers that run straight between the ends leave the linear value: the curve meets both neighbours."""
    end = missing + 1
    group: dict[str, dict[datetime, Decimal]] = {A: {T0: first, T0 + end * STEP: last}}
    for pool, low in zip((B, C, D), level, strict=True):
        group[pool] = {T0 + step * STEP: low for step in range(end + 1)}
    rows = fill_gaps(group)[A]
    for row in rows:
        part = Decimal((row.bucket_start - T0) // STEP) / end
        assert abs(row.price - (first + (last - first) * part)) <= Decimal("0.000001")
        assert row.method is FillMethod.CROSS_POOL
