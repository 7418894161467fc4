"""From change points to buckets: what counts, what counts once, and what is held until the next (DQ-1, DQ-2, DQ-4)."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from hashlib import sha256
from pathlib import Path

import pytest

from spotadapters.history.reading import History
from spotcore.money import hourly_price
from spotcore.prices import CONFIDENCE, RANK, PriceSource, submission_id
from tests.support.histories import (
    AT,
    HEAD,
    NO_POOL,
    NO_PRICE,
    NOW,
    OTHER_PRODUCT,
    Written,
    buckets_of,
    judged_one_by_one,
    summary_of,
    written,
)

D = Decimal
Change = tuple[datetime, str, str, str]
STEP = timedelta(minutes=5)


def table(folder: Path, changes: Sequence[Change], name: str = "history.csv") -> Path:
    lines = [f"{at.isoformat()},{kind},{az},{price}\n" for at, kind, az, price in changes]
    return written(folder, name, HEAD + "".join(lines))


def minutes(number: float) -> datetime:
    return AT + timedelta(minutes=number)


# --- prices -----------------------------------------------------------------------------------------------------------

PRICES: dict[str, str | None] = {
    "0.03": "0.030000",
    " 0.03 ": "0.030000",
    "+0.03": "0.030000",
    ".03": "0.030000",
    "00.030": "0.030000",
    "3e-2": "0.030000",
    "1000": "1000.000000",
    "1000.0": "1000.000000",
    "1e3": "1000.000000",
    "999.9999999": "1000.000000",
    "1000.0000001": None,  # the upper bound is checked before rounding (P3)
    "1000.000001": None,
    "1e4": None,
    "0.000001": "0.000001",
    "0.0000005": None,  # rounds to 0
    "0.000000501": "0.000001",
    "0.0000015": "0.000002",
    "0.0000025": "0.000002",
    "0.000002501": "0.000003",
    "0.0312345": "0.031234",
    "0.0312355": "0.031236",
    # one rounding, whatever follows the ninth decimal (GR-6)
    "0.0312345000000001": "0.031235",
    "0.03123449999999999": "0.031234",
    "0.0312355" + "0" * 40: "0.031236",
    "0.0312345" + "0" * 40 + "1": "0.031235",
    "0.0312355" + "0" * 40 + "1": "0.031236",
    "0.031234" + "4" + "9" * 60: "0.031234",
    "0.0000005000000001": "0.000001",
    "5.0000000000000012e-07": "0.000001",
    "0.00000050000000000000": None,
    "0.0000004999999999": None,
    "999.99999949999999999": "999.999999",
    "1000.0000000000": "1000.000000",
    "1000.0000000001": None,  # more than the highest before rounding (P3)
    "1000." + "0" * 40 + "1": None,
    "0." + "0" * 40 + "1": None,
    "0": None,
    "-0": None,
    "-0.03": None,
    "NaN": None,
    "Infinity": None,
    "-inf": None,
    "": None,
    "null": None,
    "0x1p-5": None,
    "1.2.3": None,
    "0.03 USD": None,
    "1e": None,
    "12345678901234567890123456789012345678901234567890": None,
}


def test_dq2_p3_a_price_is_a_number_above_0_and_up_to_1000_rounded_half_even_to_six_decimals(tmp_path: Path) -> None:
    lines = [f"2026-02-01,m5.large,{{zone}},{price}" for price in PRICES]
    refused = dict(zip(PRICES, judged_one_by_one(tmp_path, lines), strict=True))
    assert {price for price, what in refused.items() if what == NO_PRICE} == {
        price for price, kept in PRICES.items() if kept is None
    }
    good = [price for price, kept in PRICES.items() if kept is not None]
    rows = [(AT, "m5.large", f"us-east-1-{number:03}a", price) for number, price in enumerate(good)]
    assert [one.price for one in buckets_of(table(tmp_path, rows))] == [PRICES[price] for price in good]


def test_dq2_the_reader_rounds_and_bounds_as_the_core_does(tmp_path: Path) -> None:
    """Thousands of prices with up to fifty decimals, many of them in the middle between two or beside it."""
    chance = random.Random(3)
    nanos = [chance.choice([500, 1_500, chance.randrange(10**6)]) + chance.randrange(10**9) // 1000 * 1000
             for _ in range(2_000)]  # fmt: skip
    nanos += [1, 499, 500, 501, 999, 1_000, 10**12 - 1, 10**12, 10**12 + 1]
    prices = [D(number).scaleb(-9) for number in nanos]
    with localcontext(prec=60):
        prices += [price + sign * D(1).scaleb(-chance.randint(10, 50)) for price in prices[-1_000:] for sign in (1, -1)]
    rows = [(AT, "m5.large", f"us-east-1-{number:05}a", f"{price:f}") for number, price in enumerate(prices)]
    kept = {one.pool_id: D(one.price) for one in buckets_of(table(tmp_path, rows))}
    wanted = {
        f"m5.large.us-east-1-{number:05}a": rounded
        for number, price in enumerate(prices)
        if (rounded := hourly_price(price)) is not None
    }
    assert kept == wanted
    assert kept[f"m5.large.us-east-1-{0:05}a"] == prices[0].quantize(D("0.000001"), ROUND_HALF_EVEN)


# --- pools and products -----------------------------------------------------------------------------------------------

PLACES: dict[tuple[str, str], tuple[str, str] | str] = {
    ("m5.large", "us-east-1a"): ("m5.large.us-east-1a", "us-east-1"),
    ("m5.large", "us-east-1f"): ("m5.large.us-east-1f", "us-east-1"),
    ("u-6tb1.56xlarge", "ap-southeast-2c"): ("u-6tb1.56xlarge.ap-southeast-2c", "ap-southeast-2"),
    ("u7in-16tb.224xlarge", "us-gov-west-1a"): ("u7in-16tb.224xlarge.us-gov-west-1a", "us-gov-west-1"),
    ("c5.large", "us-west-2-lax-1a"): ("c5.large.us-west-2-lax-1a", "us-west-2-lax-1"),
    ("c5.large", "us-east-1-wl1-bos-wlz-1"): ("c5.large.us-east-1-wl1-bos-wlz-1", "us-east-1-wl1-bos-wlz-1"),
    ("m5.metal", "cn-north-1b"): ("m5.metal.cn-north-1b", "cn-north-1"),
    ("m5", "us-east-1a"): NO_POOL,
    (".large", "us-east-1a"): NO_POOL,
    ("m5.", "us-east-1a"): NO_POOL,
    ("m5.large", "useast1a"): NO_POOL,
    ("m5.large", "-"): NO_POOL,
    ("m5.large", "us-east-1."): NO_POOL,
    ("m5/large", "us-east-1a"): NO_POOL,
    ("m5.läarge", "us-east-1a"): NO_POOL,
    ("m5.large;drop table pools", "us-east-1a"): NO_POOL,
}


def test_0_1_a_pool_is_a_type_and_a_zone_and_its_region_the_zone_without_its_letter(tmp_path: Path) -> None:
    text = HEAD + "".join(f"2026-02-01,{kind},{az},0.03\n" for kind, az in PLACES)
    with History([written(tmp_path, "history.csv", text)], NOW) as history:
        found = {(pool.instance_type, pool.az): (pool.pool_id, pool.region) for pool in history.pools()}
        assert history.summary().rejected == {NO_POOL: sum(isinstance(place, str) for place in PLACES.values())}
    assert found == {key: place for key, place in PLACES.items() if not isinstance(place, str)}


PRODUCTS: dict[str, str] = {
    "": "m5.large",
    "Linux/UNIX": "m5.large",
    "Linux/UNIX (Amazon VPC)": "m5.large",
    "Windows": "m5.large:windows",
    "Windows (Amazon VPC)": "m5.large:windows",
    "SUSE Linux": "m5.large:suse",
    "SUSE Linux (Amazon VPC)": "m5.large:suse",
    "Red Hat Enterprise Linux": "m5.large:rhel",
    "Red Hat Enterprise Linux (Amazon VPC)": "m5.large:rhel",
    "Linux/UNIX ": OTHER_PRODUCT,
    "windows": OTHER_PRODUCT,
    "Ubuntu Pro": OTHER_PRODUCT,
    "(Amazon VPC)": OTHER_PRODUCT,
}


def test_every_product_has_pools_of_its_own_and_its_two_names_are_one(tmp_path: Path) -> None:
    head = HEAD.replace("price", "price,product")
    text = head + "".join(f"2026-02-01,m5.large,us-east-1a,0.0{n},{name}\n" for n, name in enumerate(PRODUCTS, 10))
    with History([written(tmp_path, "history.csv", text)], NOW) as history:
        assert {pool.instance_type for pool in history.pools()} == set(PRODUCTS.values()) - {OTHER_PRODUCT}
        assert history.summary().rejected == {OTHER_PRODUCT: 4}


@pytest.mark.parametrize(
    ("kind", "product", "wanted"),
    [
        ("m5.large:windows", "", {}),  # as an export writes it
        ("m5.large:windows", "Linux/UNIX", {}),
        ("m5.large:windows", "Windows", {NO_POOL: 1}),  # marked twice
        ("m5.large:solaris", "", {NO_POOL: 1}),
        ("m5.large:", "", {NO_POOL: 1}),
    ],
)
def test_a_type_that_carries_its_mark_already_is_taken_as_it_is(
    tmp_path: Path, kind: str, product: str, wanted: dict[str, int]
) -> None:
    head = HEAD.replace("price", "price,product")
    found = summary_of(written(tmp_path, "history.csv", f"{head}2026-02-01,{kind},us-east-1a,0.03,{product}\n"))
    assert found.rejected == wanted


# --- what counts once ----------------------------------------------------------------------------------------------


def test_p1_a_change_counts_once_however_it_is_written_and_a_second_price_is_another(tmp_path: Path) -> None:
    head = HEAD.replace("price", "price,product")
    lines = [
        "2026-02-01T00:00:00Z,m5.large,us-east-1a,0.03,Linux/UNIX",
        "2026-02-01T00:00:00+00:00,m5.large,us-east-1a,0.030000,Linux/UNIX (Amazon VPC)",
        "2026-02-01 05:30:00+05:30,m5.large,us-east-1a,3e-2,",
        "1769904000,m5.large,us-east-1a,0.0300000004,Linux/UNIX",
        "2026-02-01T00:00:01Z,m5.large,us-east-1a,0.03,Linux/UNIX",
    ]
    found = summary_of(written(tmp_path, "history.csv", head + "\n".join(lines) + "\n"))
    assert (found.rows, found.changes, found.duplicates, found.pools) == (5, 2, 3, 1)


def test_rows_are_changes_duplicates_or_rejected_and_nothing_else(tmp_path: Path) -> None:
    chance = random.Random(8)
    lines = [
        f"2026-02-01T00:0{chance.randrange(10)}:00Z,m5.{chance.choice(['large', ''])},us-east-1a,"
        f"{chance.choice(['0.03', '0.04', 'x'])}\n"
        for _ in range(500)
    ]
    found = summary_of(written(tmp_path, "history.csv", HEAD + "".join(lines)))
    assert found.rows == 500 == found.changes + found.duplicates + sum(found.rejected.values())
    assert set(found.rejected) == {NO_POOL, NO_PRICE}


def test_dq4_of_two_prices_at_one_instant_the_smaller_digest_wins(tmp_path: Path) -> None:
    """P1's digest, made by hand, decides; so both orders and both files agree."""
    prices = ["0.030000", "0.040000", "0.050000"]
    text = "||m5.large.us-east-1a|Linux/UNIX|2026-02-01T00:00:00+00:00|{}"
    wanted = min(prices, key=lambda price: sha256(text.format(price).encode()).hexdigest())
    rows = [(AT, "m5.large", "us-east-1a", price) for price in prices]
    for order in (rows, rows[::-1]):
        (bucket,) = buckets_of(table(tmp_path, order))
        assert bucket.price == wanted
        assert bucket.submission_id == submission_id("", None, bucket.pool_id, AT, D(wanted))


# --- what is held -----------------------------------------------------------------------------------------------------


def by_hand(changes: Sequence[Change]) -> list[tuple[str, datetime, str, datetime]]:
    """Pool, bucket, price, seen: bucket by bucket, the price in force when it starts, else the pool's first change."""
    found = []
    last = max(at for at, *_ in changes)
    for kind, az in sorted({(kind, az) for _, kind, az, _ in changes}):
        mine = sorted((at, price) for at, one, where, price in changes if (one, where) == (kind, az))
        start = mine[0][0] - timedelta(seconds=mine[0][0].timestamp() % 300)
        while start <= last:
            at, price = [row for row in mine if row[0] <= start][-1] if mine[0][0] <= start else mine[0]
            found.append((f"{kind}.{az}", start, price, max(at, start)))
            start += STEP
    return found


def told(rows: Sequence[Written]) -> list[tuple[str, datetime, str, datetime]]:
    return [(one.pool_id, one.start, one.price, one.observed_at) for one in rows]


def test_dq1_a_price_holds_from_the_bucket_after_its_change_until_the_next(tmp_path: Path) -> None:
    rows = [(minutes(at), "m5.large", "us-east-1a", price) for at, price in ((3, "0.030000"), (12, "0.040000"))]
    assert told(buckets_of(table(tmp_path, rows))) == [
        ("m5.large.us-east-1a", minutes(0), "0.030000", minutes(3)),  # nothing was known when the bucket began
        ("m5.large.us-east-1a", minutes(5), "0.030000", minutes(5)),
        ("m5.large.us-east-1a", minutes(10), "0.030000", minutes(10)),
    ]


def test_a_change_at_the_very_start_of_a_bucket_is_in_force_in_it(tmp_path: Path) -> None:
    rows = [(minutes(at), "m5.large", "us-east-1a", price) for at, price in ((0, "0.030000"), (5, "0.040000"))]
    assert [one.price for one in buckets_of(table(tmp_path, rows))] == ["0.030000", "0.040000"]
    early = [(at - timedelta(microseconds=1), *rest) for at, *rest in rows]
    assert len(buckets_of(table(tmp_path, early))) == 2  # 23:55 and 00:00


def test_pools_begin_with_their_own_first_change_and_all_end_with_the_last_of_all(tmp_path: Path) -> None:
    rows = [(minutes(0), "m5.large", "us-east-1a", "0.030000"), (minutes(31), "m5.large", "us-east-1b", "0.040000"),
            (minutes(60), "c5.large", "us-east-1a", "0.050000")]  # fmt: skip
    file = table(tmp_path, rows)
    with History([file], NOW) as history:
        assert [(pool.pool_id, pool.first, pool.buckets) for pool in history.pools()] == [
            ("c5.large.us-east-1a", minutes(60), 1),
            ("m5.large.us-east-1a", minutes(0), 13),
            ("m5.large.us-east-1b", minutes(31), 7),
        ]
        assert (history.summary().first, history.summary().last) == (minutes(0), minutes(60))
    assert told(buckets_of(file)) == by_hand(rows)


@pytest.mark.parametrize("seed", range(5))
def test_random_histories_give_the_buckets_a_hand_makes_of_them(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rows = {
        (minutes(chance.choice([0, 1, 4.99, 5, 7.5]) + 5 * chance.randrange(200)), "m5.large", f"us-east-1{zone}"): None
        for zone in "abc"
        for _ in range(30)
    }
    changes = [(at, kind, az, f"0.0{chance.randint(10_000, 99_999)}") for at, kind, az in rows]
    chance.shuffle(changes)
    assert told(buckets_of(table(tmp_path, changes))) == by_hand(changes)


def test_8_1_every_bucket_says_that_it_comes_from_the_clouds_history(tmp_path: Path) -> None:
    rows = [(minutes(at), "m5.large", "us-east-1a", "0.030000") for at in (0, 60)]
    found = buckets_of(table(tmp_path, rows))
    assert {(one.source, int(one.rank), D(one.confidence)) for one in found} == {
        ("backfill", RANK[PriceSource.BACKFILL], CONFIDENCE[PriceSource.BACKFILL])
    }
    assert {(one.kind, one.region) for one in found} == {("m5.large", "us-east-1")}
    assert [one.submission_id for one in found] == [
        submission_id("", None, one.pool_id, one.observed_at, D(one.price)) for one in found
    ]


def test_only_the_pools_asked_for_are_written(tmp_path: Path) -> None:
    rows = [(minutes(at), "m5.large", f"us-east-1{zone}", "0.030000") for at in (0, 20) for zone in "abc"]
    out = tmp_path / "it's.csv"
    with History([table(tmp_path, rows)], NOW) as history:
        chosen = [pool for pool in history.pools() if pool.az != "us-east-1b"]
        assert history.write_buckets(chosen, out) == 10
        assert history.write_buckets([], tmp_path / "none.csv") == 0
    assert {line.split(",")[0] for line in out.read_text().splitlines()} == {one.pool_id for one in chosen}


def test_an_hour_of_silence_at_the_end_of_one_pool_is_held_as_long_as_another_changes(tmp_path: Path) -> None:
    rows = [(minutes(0), "m5.large", "us-east-1a", "0.030000"), (minutes(600), "m5.large", "us-east-1b", "0.040000")]
    found = [one for one in buckets_of(table(tmp_path, rows)) if one.pool_id.endswith("1a")]
    assert (len(found), {one.price for one in found}) == (121, {"0.030000"})
    assert found[-1].observed_at == datetime(2026, 2, 1, 10, tzinfo=UTC)
