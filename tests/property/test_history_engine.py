"""Columns give what the pure functions give, row for row, on random histories (DQ-1, DQ-3 to DQ-5, GF-2, GF-3, GF-5)."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotadapters.history.engine import DISCREPANCIES, METHODS, Raw, clean
from spotcore.buckets import Contender, judge_buckets
from spotcore.gaps import fill_gaps
from spotcore.prices import RANK, Observation, PriceSource, submission_id
from tests.support.effort import fewer

START = datetime(2026, 3, 1, tzinfo=UTC)
POOLS = ["c5.large.us-east-1a", *(f"m5.large.us-east-1{zone}" for zone in "abcd"), "m5.large.us-west-1a"]
Row = tuple[str, int, int, str | None, str | None]
FEW = fewer(2)  # each is hundreds of buckets
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def columns(rows: Sequence[Contender]) -> Raw:
    seen = [one.observation for one in rows]
    return Raw(
        pools=POOLS,
        pool=np.array([POOLS.index(one.pool_id) for one in seen], np.int32),
        observed_at=np.array([micros(one.observed_at) for one in seen], np.int64),
        rank=np.array([RANK[one.source] for one in rows], np.int8),
        price=np.array([int(one.price.scaleb(6)) for one in seen], np.int64),
        submission=(
            np.array([int(one.submission_id[:16], 16) for one in seen], np.uint64),
            np.array([int(one.submission_id[16:], 16) for one in seen], np.uint64),
        ),
    )


def by_reference(rows: Sequence[Contender]) -> list[Row]:
    verdicts = judge_buckets(rows)
    found: list[Row] = []
    families: dict[tuple[str, str], dict[str, dict[datetime, Decimal]]] = {}
    for (pool, start), verdict in verdicts.items():
        kind, _, zone = pool.rpartition(".")
        price = verdict.winner.observation.price
        families.setdefault((kind, zone[:-1]), {}).setdefault(pool, {})[start] = price
        told = verdict.discrepancy.value if verdict.discrepancy is not None else None
        found.append((pool, micros(start) // 10**6, int(price.scaleb(6)), None, told))
    for group in families.values():
        for pool, fills in fill_gaps(group).items():
            found += [
                (pool, micros(one.bucket_start) // 10**6, int(one.price.scaleb(6)), one.method.value, None)
                for one in fills
            ]
    return sorted(found)


def by_columns(rows: Sequence[Contender]) -> list[Row]:
    raw = columns(rows)
    done = clean(raw)
    for place, row in enumerate(done.row.tolist()):
        assert (row == -1) == (done.method[place] > 0)
        if row >= 0:
            assert (raw.pool[row], raw.price[row]) == (done.pool[place], done.price[place])
    values = zip(done.pool, done.bucket, done.price, done.method, done.discrepancy, strict=True)
    return [
        (POOLS[pool], int(start), int(price), METHODS[how - 1].value if how else None, DISCREPANCIES[told])
        for pool, start, price, how, told in values
    ]


def a_history(seed: int, *, buckets: int, density: float, prices: Sequence[int], clumsy: float) -> list[Contender]:
    """Reports of several sources, with holes of all lengths, repetitions, and equals in all but their name."""
    chance = random.Random(seed)
    rows = []
    for pool in POOLS:
        number = 0
        while number < buckets:
            if chance.random() > density:
                number += chance.choice([1, 1, 2, 3, 5, 6, 7, 12, 24, 25, 40])
            for _ in range(1 if chance.random() > clumsy else chance.randrange(1, 5)):
                at = START + timedelta(seconds=300 * number, microseconds=chance.choice([0, 1, 299_999_999]))
                source, price = chance.choice(list(PriceSource)), Decimal(chance.choice(prices)).scaleb(-6)
                name = submission_id("c", str(chance.randrange(2)), pool, at, price)
                seen = Observation(submission_id=name, pool_id=pool, price=price, observed_at=at)
                rows.append(Contender(source=source, observation=seen))
            number += 1
    rows += chance.sample(rows, len(rows) // 5)
    chance.shuffle(rows)
    return rows


PRICES = {
    "alike": [30_000, 30_001, 30_002],  # the middle between two prices comes up all the time
    "ordinary": [12_345, 13_999, 20_100, 31_007],
    "extremes": [1, 2, 3, 999_999_999, 1_000_000_000],
    "constant": [41_600],
}


@pytest.mark.parametrize("kind", PRICES)
@settings(max_examples=FEW)
@given(seed=st.integers(0, 2**32), density=st.sampled_from([0.5, 0.8, 0.97]), clumsy=st.sampled_from([0.0, 0.3, 1.0]))
def test_dq4_dq5_gf2_columns_equal_the_pure_functions(kind: str, seed: int, density: float, clumsy: float) -> None:
    rows = a_history(seed, buckets=90, density=density, prices=PRICES[kind], clumsy=clumsy)
    assert by_columns(rows) == by_reference(rows)


@settings(max_examples=FEW)
@given(seed=st.integers(0, 2**32))
def test_dq4_the_order_of_arrival_changes_nothing(seed: int) -> None:
    rows = a_history(seed, buckets=40, density=0.8, prices=PRICES["alike"], clumsy=0.5)
    again = list(rows)
    random.Random(seed + 1).shuffle(again)
    assert by_columns(rows) == by_columns(again)


def test_a_hundred_thousand_repetitions_of_one_report_are_one_bucket_dq3() -> None:
    (one,) = a_history(1, buckets=1, density=1, prices=[30_000], clumsy=0)[:1]
    raw = columns([one])
    many = Raw(
        pools=raw.pools,
        pool=np.repeat(raw.pool, 10**5),
        observed_at=np.repeat(raw.observed_at, 10**5),
        rank=np.repeat(raw.rank, 10**5),
        price=np.repeat(raw.price, 10**5),
        submission=(np.repeat(raw.submission[0], 10**5), np.repeat(raw.submission[1], 10**5)),
    )
    done = clean(many)
    assert (len(done), int(done.discrepancy[0])) == (1, 0)


def test_nothing_in_nothing_out() -> None:
    assert len(clean(columns([]))) == 0


def test_too_much_at_once_is_refused_with_the_way_out() -> None:
    one, other = a_history(1, buckets=1, density=1, prices=[30_000], clumsy=0)[:2]
    raw = columns([one, other])
    far = np.array([0, 2**52], np.int64)
    with pytest.raises(ValueError, match="bring fewer pools"):
        clean(Raw(
            pools=POOLS * 1_000, pool=raw.pool, observed_at=far, rank=raw.rank, price=raw.price, submission=raw.submission
        ))  # fmt: skip
