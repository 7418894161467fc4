"""The core's price rules and the columns' against section 8 written once more (DQ-3 to DQ-5, GF-1 to GF-5, P2, P4, P5, P7)."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotadapters.history.engine import DISCREPANCIES, METHODS, Raw, clean
from spotcore.buckets import Contender, winner
from spotcore.gaps import fill_gaps
from spotcore.prices import RANK, Observation, PriceSource
from tests.support.effort import fewer
from tests.support.price_reference import Prices, Seen, filled, winner_of

T0 = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
POOLS = tuple(f"m5.large.us-east-1{zone}" for zone in "abcd")


def by_core(pools: Mapping[str, Prices]) -> dict[str, dict[int, tuple[int, str]]]:
    group = {
        pool: {T0 + bucket * STEP: Decimal(price).scaleb(-6) for bucket, price in series.items()}
        for pool, series in pools.items()
    }
    return {
        pool: {(row.bucket_start - T0) // STEP: (int(row.price.scaleb(6)), row.method.value) for row in rows}
        for pool, rows in fill_gaps(group).items()
    }


def by_columns(pools: Mapping[str, Prices]) -> dict[str, dict[int, tuple[int, str]]]:
    first = int(T0.timestamp()) * 10**6
    rows = [(place, bucket, price) for place, name in enumerate(pools) for bucket, price in pools[name].items()]
    whole = clean(
        Raw(
            pools=list(pools),
            pool=np.array([row[0] for row in rows], np.int32),
            observed_at=np.array([first + row[1] * 300_000_000 for row in rows], np.int64),
            rank=np.full(len(rows), 5, np.int8),
            price=np.array([row[2] for row in rows], np.int64),
            submission=(np.zeros(len(rows), np.uint64), np.arange(len(rows), dtype=np.uint64)),
        )
    )
    found: dict[str, dict[int, tuple[int, str]]] = {name: {} for name in pools}
    for pool, start, price, method in zip(whole.pool, whole.bucket, whole.price, whole.method, strict=True):
        if method:
            bucket = (int(start) - first // 10**6) // 300
            found[list(pools)[pool]][bucket] = (int(price), METHODS[method - 1].value)
    return found


def wanted(pools: Mapping[str, Prices]) -> dict[str, dict[int, tuple[int, str]]]:
    return {pool: filled(pools, pool) for pool in pools}


LEVELS = {
    "alike": (30_000, 30_003),
    "ordinary": (10_000, 90_000),
    "tiny": (1, 4),
    "huge": (999_999_000, 1_000_000_000),
    "wild": (1, 1_000_000_000),
}


def a_group(seed: int, level: str) -> dict[str, dict[int, int]]:
    """Four pools with gaps of every length, some at once."""
    chance = random.Random(seed)
    low, high = LEVELS[level]
    group: dict[str, dict[int, int]] = {}
    for pool in POOLS[: chance.randrange(1, 5)]:
        series, bucket = {}, chance.randrange(4)
        while bucket < 110:
            for _ in range(chance.choice([1, 1, 2, 3, 8])):
                series[bucket] = chance.randint(low, high)
                bucket += 1
            bucket += chance.choice([0, 0, 1, 2, 3, 5, 6, 7, 8, 20, 24, 25, 30])
        group[pool] = series
    return group


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=fewer(2))  # each is hundreds of buckets
@given(seed=st.integers(0, 2**32))
def test_8_2_every_fill_of_the_core_and_of_the_columns_is_what_the_words_say(level: str, seed: int) -> None:
    pools = a_group(seed, level)
    expected = wanted(pools)
    assert by_core(pools) == expected
    assert by_columns(pools) == expected


@pytest.mark.parametrize("missing", range(1, 27))
def test_8_2_a_gap_of_each_length_with_peers_that_have_everything(missing: int) -> None:
    """Own neighbours at 30 and 60 thousandths, three peers that double, treble and stand still in the middle."""
    end = missing + 1
    middle = range(end // 3, 2 * end // 3 + 1)
    pools: dict[str, dict[int, int]] = {POOLS[0]: {0: 30_000, end: 60_000}}
    for name, factor in zip(POOLS[1:], (2, 3, 1), strict=True):
        pools[name] = {n: 40_000 * (factor if n in middle and 0 < n < end else 1) for n in range(end + 1)}
    expected = wanted(pools)
    assert by_core(pools) == expected
    assert by_columns(pools) == expected
    own = expected[POOLS[0]]
    assert len(own) == (missing if missing <= 24 else 0)
    methods = {1: "linear", 2: "linear"} | dict.fromkeys(range(3, 7), "weighted_mean")
    assert {how for _, how in own.values()} == ({methods.get(missing, "cross_pool")} if own else set())
    if 7 <= missing <= 24:
        for n, (price, _) in own.items():
            line = 30_000 + 30_000 * n / end
            assert price == pytest.approx(line * (2 if n in middle else 1), abs=0.5), n


rows_of_a_bucket = st.lists(
    st.builds(
        Seen,
        source=st.sampled_from([one.value for one in PriceSource]),
        second=st.sampled_from([0, 0.000001, 17, 299, 299.999999]),
        name=st.sampled_from([f"{n:032x}" for n in (1, 2, 3, 2**64, 2**127)]),
        price=st.sampled_from([10_000, 10_050, 10_051, 11_000, 11_001, 9_000, 8_999]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one.name,
)


def contender(row: Seen) -> Contender:
    return Contender(
        source=PriceSource(row.source),
        observation=Observation(
            submission_id=row.name,
            pool_id=POOLS[0],
            price=Decimal(row.price).scaleb(-6),
            observed_at=T0 + timedelta(seconds=row.second),
        ),
    )


def columns_of(rows: Sequence[Seen]) -> Raw:
    return Raw(
        pools=[POOLS[0]],
        pool=np.zeros(len(rows), np.int32),
        observed_at=np.array([int(T0.timestamp()) * 10**6 + round(one.second * 10**6) for one in rows], np.int64),
        rank=np.array([RANK[PriceSource(one.source)] for one in rows], np.int8),
        price=np.array([one.price for one in rows], np.int64),
        submission=(
            np.array([int(one.name[:16], 16) for one in rows], np.uint64),
            np.array([int(one.name[16:], 16) for one in rows], np.uint64),
        ),
    )


@given(rows_of_a_bucket)
def test_dq4_dq5_p2_the_winner_of_a_bucket_and_its_discrepancy_are_what_the_words_say(rows: list[Seen]) -> None:
    best, apart = winner_of(rows)
    verdict = winner(map(contender, rows))
    assert verdict is not None
    assert verdict.winner == contender(best)
    assert (verdict.discrepancy.value if verdict.discrepancy else None) == apart
    done = clean(columns_of(rows))
    assert (len(done), rows[int(done.row[0])]) == (1, best)
    assert DISCREPANCIES[int(done.discrepancy[0])] == apart


@given(rows_of_a_bucket, st.randoms(use_true_random=False))
def test_dq3_repetitions_in_any_order_change_neither_winner_nor_discrepancy(
    rows: list[Seen], chance: random.Random
) -> None:
    again = rows + chance.choices(rows, k=5)
    chance.shuffle(again)
    done = clean(columns_of(again))
    best, apart = winner_of(rows)
    assert (again[int(done.row[0])], DISCREPANCIES[int(done.discrepancy[0])]) == (best, apart)
    assert winner(map(contender, again)) == winner(map(contender, rows))
