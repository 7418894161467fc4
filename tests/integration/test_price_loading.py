"""Imported buckets against what is known already: the order of DQ-4 decides, pools remember their first sight, all or nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from spotadapters.history import loading
from spotadapters.history.advisor import Advice, known_advice, load_advice
from spotadapters.history.loading import Imported, Progress, importing, load
from spotadapters.history.reading import History, Pool
from spotadapters.history.refusals import AnotherImport
from tests.support.histories import HEAD, written
from tests.support.server import Site

D = Decimal
T0 = datetime(2026, 2, 20, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(minutes=5)


@pytest.fixture
def url(shared_site: Site) -> str:
    return shared_site.connections.database_url


def a_file(folder: Path, kind: str, rows: Sequence[tuple[str, float, str]]) -> Path:
    """Changes of a type: zone, bucket, price."""
    lines = [f"{(T0 + n * STEP).isoformat()},{kind},{az},{price}\n" for az, n, price in rows]
    return written(folder, "history.csv", HEAD + "".join(lines))


def bring(url: str, file: Path) -> list[Progress | Imported]:
    with History([file], NOW) as history, importing(url) as connection:
        return list(load(history, connection))


def stored(url: str, kind: str) -> dict[tuple[str, int], tuple[str, str]]:
    """Price and source by zone letter and bucket."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select pool_id, bucket_start, price, source from price_buckets where instance_type = %s", (kind,)
        ).fetchall()
    return {(pool[-1], (at - T0) // STEP): (str(price), source) for pool, at, price, source in rows}


def put(url: str, kind: str, zone: str, n: int, **changes: Any) -> None:
    """A bucket as something else has left it."""
    facts = {
        "source": "primary", "rank": 5, "price": "0.070000", "confidence": "1", "seen": 0.0, "name": "m" * 32,
        "method": None, "discrepancy": None, **changes,
    }  # fmt: skip
    start = T0 + n * STEP
    with psycopg.connect(url) as connection:
        connection.execute(
            "insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,"
            " observed_at, submission_id, method, discrepancy)"
            " values (%s, %s, %s, 'us-east-1', %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                f"{kind}.us-east-1{zone}", start, kind, facts["price"], facts["source"], facts["rank"],
                facts["confidence"], start + timedelta(seconds=facts["seen"]), facts["name"], facts["method"],
                facts["discrepancy"],
            ),
        )  # fmt: skip


# --- who wins ---------------------------------------------------------------------------------------------------------

KNOWN: dict[str, tuple[dict[str, Any], bool]] = {
    "an agent's own report": ({}, False),
    "an emergency replica's": ({"source": "emergency_replica", "rank": 4, "confidence": "0.95"}, False),
    "a manual replica's": ({"source": "manual_replica", "rank": 3, "confidence": "0.95"}, False),
    "a fill": ({"source": "interpolated", "rank": 1, "confidence": "0.85", "method": "linear"}, True),
    "a later backfill": ({"source": "backfill", "rank": 2, "confidence": "0.90", "seen": 1}, True),
    "a backfill of that instant with a greater id": (
        {"source": "backfill", "rank": 2, "confidence": "0.90", "name": "z"}, True,
    ),
    "a backfill of that instant with a smaller id": (
        {"source": "backfill", "rank": 2, "confidence": "0.90", "name": "!"}, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", KNOWN)
def test_dq4_an_imported_bucket_wins_over_what_is_worse_and_over_nothing_else(
    url: str, tmp_path: Path, what: str
) -> None:
    facts, won = KNOWN[what]
    kind = f"w{list(KNOWN).index(what)}.large"
    put(url, kind, "a", 1, **facts)
    *_, done = bring(url, a_file(tmp_path, kind, [("us-east-1a", 0, "0.03"), ("us-east-1a", 3, "0.04")]))
    assert done == Imported(buckets=4, won=4 if won else 3)
    mine = facts.get("source", "primary")
    assert stored(url, kind) == {
        ("a", 0): ("0.030000", "backfill"),
        ("a", 1): ("0.030000", "backfill") if won else ("0.070000", mine),
        ("a", 2): ("0.030000", "backfill"),
        ("a", 3): ("0.040000", "backfill"),
    }


def test_a_bucket_that_is_won_forgets_how_it_was_filled_and_what_was_said_of_it(url: str, tmp_path: Path) -> None:
    put(url, "forget.large", "a", 0, source="interpolated", rank=1, confidence="0.75", method="weighted_mean")
    bring(url, a_file(tmp_path, "forget.large", [("us-east-1a", 0, "0.03")]))
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select method, discrepancy, confidence, rank from price_buckets where instance_type = 'forget.large'"
        ).fetchone()
    assert row == (None, None, D("0.90"), 2)


def test_the_same_file_again_and_a_part_of_it_change_nothing(url: str, tmp_path: Path) -> None:
    rows = [("us-east-1a", 0, "0.03"), ("us-east-1b", 2, "0.05"), ("us-east-1a", 9, "0.04")]
    *_, first = bring(url, a_file(tmp_path, "again.large", rows))
    before = stored(url, "again.large")
    *_, second = bring(url, a_file(tmp_path, "again.large", rows))
    *_, part = bring(url, a_file(tmp_path, "again.large", rows[:1]))
    assert (first, second, part) == (
        Imported(buckets=18, won=18),
        Imported(buckets=18, won=0),
        Imported(buckets=1, won=0),
    )
    assert stored(url, "again.large") == before


# --- pools ------------------------------------------------------------------------------------------------------------


def first_seen(url: str, kind: str) -> dict[str, tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute(
            "select pool_id, region, az, first_observed_at from pools where instance_type = %s", (kind,)
        ).fetchall()
    return {pool: tuple(facts) for pool, *facts in rows}


def test_a_pool_is_known_from_its_first_change_and_an_earlier_one_moves_it_back_only(url: str, tmp_path: Path) -> None:
    kind, pool = "seen.large", "seen.large.us-east-1a"
    for bucket, known in ((10, 10), (4, 4), (20, 4)):
        bring(url, a_file(tmp_path, kind, [("us-east-1a", bucket + 0.2, "0.03")]))
        assert first_seen(url, kind) == {pool: ("us-east-1", "us-east-1a", T0 + (known + 0.2) * STEP)}


def test_pools_of_local_zones_and_other_products_are_pools_like_others(url: str, tmp_path: Path) -> None:
    text = HEAD.replace("price", "price,product") + (
        f"{T0.isoformat()},place.large,us-west-2-lax-1a,0.03,\n{T0.isoformat()},place.large,us-east-1a,0.09,Windows\n"
    )
    bring(url, written(tmp_path, "history.csv", text))
    assert first_seen(url, "place.large") == {
        "place.large.us-west-2-lax-1a": ("us-west-2-lax-1", "us-west-2-lax-1a", T0)
    }
    assert first_seen(url, "place.large:windows") == {"place.large:windows.us-east-1a": ("us-east-1", "us-east-1a", T0)}


# --- how far ----------------------------------------------------------------------------------------------------------


def a_pool(name: str, buckets: int) -> Pool:
    return Pool(pool_id=name, instance_type="t.x", region="r-1", az="r-1a", first=T0, buckets=buckets)


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([], []),
        ([5], [[5]]),
        ([400_000], [[400_000]]),
        ([400_001], [[400_001]]),  # one pool is never divided
        ([200_000, 200_000], [[200_000, 200_000]]),
        ([200_000, 200_001], [[200_000], [200_001]]),
        ([1, 500_000, 1], [[1], [500_000], [1]]),
        ([150_000] * 5, [[150_000, 150_000], [150_000, 150_000], [150_000]]),
    ],
)
def test_pools_are_brought_in_stretches_of_a_bounded_size(sizes: list[int], wanted: list[list[int]]) -> None:
    pools = [a_pool(f"p{n}", size) for n, size in enumerate(sizes)]
    stretches = list(loading._stretches(pools))
    assert [[pool.buckets for pool in stretch] for stretch in stretches] == wanted
    assert [pool for stretch in stretches for pool in stretch] == pools


def test_progress_is_told_stretch_by_stretch_up_to_all_of_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "CHUNK", 25)
    rows = [(f"us-east-1{zone}", n, "0.03") for zone in "abcde" for n in (0, 9)]
    steps = bring(url, a_file(tmp_path, "steps.large", rows))
    assert steps == [
        Progress(done=20, total=50), Progress(done=40, total=50), Progress(done=50, total=50), Imported(buckets=50, won=50),
    ]  # fmt: skip
    assert len(stored(url, "steps.large")) == 50


def test_an_empty_history_brings_nothing(url: str, tmp_path: Path) -> None:
    assert bring(url, written(tmp_path, "history.csv", HEAD)) == [Imported(buckets=0, won=0)]


def test_what_is_not_carried_to_its_end_leaves_nothing_and_lets_the_next_one_in(url: str, tmp_path: Path) -> None:
    file = a_file(tmp_path, "half.large", [("us-east-1a", 0, "0.03")])

    def interrupted() -> None:
        with History([file], NOW) as history, importing(url) as connection:
            list(load(history, connection))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert (stored(url, "half.large"), first_seen(url, "half.large")) == ({}, {})
    assert bring(url, file)[-1] == Imported(buckets=1, won=1)


def test_of_two_imports_at_once_the_second_is_told_to_wait(url: str) -> None:
    with importing(url), pytest.raises(AnotherImport) as waiting, importing(url):
        pass
    assert str(waiting.value) == "another import is running on this database; wait for it, then try again"
    with importing(url):
        pass


# --- the advisor ------------------------------------------------------------------------------------------------------


def advice(**changes: Any) -> Advice:
    facts: dict[str, Any] = {
        "region": "us-east-1", "os": "Linux", "instance_type": "adv.large", "as_of": T0.date(), "band": 1,
        "savings_percent": 62, **changes,
    }  # fmt: skip
    return Advice(**facts)


def test_of_each_market_the_newest_snapshot_is_known_least_interrupted_first_then_the_greatest_saving(url: str) -> None:
    day = timedelta(days=1)
    rows = [
        advice(band=3), advice(band=2, as_of=T0.date() - day), advice(os="Windows", band=0, savings_percent=10),
        advice(region="eu-west-1", band=3, savings_percent=70), advice(instance_type="other.large", band=0),
    ]  # fmt: skip
    with psycopg.connect(url) as connection:
        assert load_advice(connection, rows, "x", NOW) == 5
        assert load_advice(connection, rows[::-1], "x", NOW) == 0
        assert load_advice(connection, [advice(band=3, savings_percent=61)], "y", NOW) == 1
        newest = [advice(os="Windows", band=0, savings_percent=10), advice(region="eu-west-1", band=3, savings_percent=70),
                  advice(band=3, savings_percent=61)]  # fmt: skip
        assert known_advice(connection, "adv.large", None) == newest
        assert known_advice(connection, "adv.large", "us-east-1") == [newest[0], newest[2]]
        assert known_advice(connection, "adv.large", "sa-east-1") == known_advice(connection, "none.large", None) == []
        connection.rollback()
