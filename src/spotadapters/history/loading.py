"""Imported history into PostgreSQL: staged by COPY, then merged by the total order of DQ-4, all or nothing."""

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from attrs import frozen

from spotadapters.history.reading import History
from spotadapters.history.refusals import AnotherImport
from spotcore import prices
from spotcore.prices import PriceSource

LOCK: Final = 7_283_915_003
CHUNK: Final = 400_000  # buckets staged at once
BLOCK: Final = 1 << 20

_STAGE: Final = """
create temporary table staged (
    pool_id text, instance_type text, region text, az text, bucket_start timestamptz, price numeric,
    observed_at timestamptz, submission_id text
) on commit drop
"""
_POOLS: Final = """
insert into pools (pool_id, instance_type, region, az, first_observed_at)
select pool_id, min(instance_type), min(region), min(az), min(observed_at) from staged group by pool_id order by pool_id
on conflict (pool_id) do update set first_observed_at = least(pools.first_observed_at, excluded.first_observed_at)
"""
_MERGE: Final = """
insert into price_buckets as b (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,
                                observed_at, submission_id)
select pool_id, bucket_start, instance_type, region, price, %(source)s, %(rank)s, %(confidence)s, observed_at,
       submission_id
from staged
on conflict (pool_id, bucket_start) do update
set price = excluded.price, source = excluded.source, rank = excluded.rank, confidence = excluded.confidence,
    observed_at = excluded.observed_at, submission_id = excluded.submission_id, method = null, discrepancy = null
where (-excluded.rank, excluded.observed_at, excluded.submission_id) < (-b.rank, b.observed_at, b.submission_id)
"""


@frozen(kw_only=True)
class Progress:
    """How far an import is, in buckets."""

    done: int
    total: int


@frozen(kw_only=True)
class Imported:
    """What an import changed: buckets it brought, and those of them that won (the others were known, or better)."""

    buckets: int
    won: int


@contextmanager
def importing(database_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection without time limits, in a transaction of its own; ``AnotherImport`` while there is another."""
    with psycopg.connect(database_url, connect_timeout=5, application_name="spotcore-import") as connection:
        connection.execute("set local spotcore.tenant = '*'")
        connection.execute("set local statement_timeout = 0")
        connection.execute("set local timezone = 'UTC'")
        row = connection.execute("select pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchone()
        if row is None or not row[0]:
            raise AnotherImport("another import is running on this database; wait for it, then try again")
        yield connection


def load(history: History, connection: psycopg.Connection[tuple[Any, ...]]) -> Iterator[Progress | Imported]:
    """Bring the buckets in, a stretch of pools at a time; the last thing given is an ``Imported``.

    Everything is one transaction of the caller's: what is interrupted leaves nothing, and the same import again changes
    nothing."""
    pools = history.pools()
    total = sum(count for _, count in pools)
    done = won = 0
    connection.execute(_STAGE)
    for file, count in _written(history, _chunks(pools)):
        done += count
        _copy(connection, file)
        connection.execute(_POOLS)
        source = PriceSource.BACKFILL
        values = {
            "source": source.value, "rank": prices.RANK[source], "confidence": prices.CONFIDENCE[source],
        }  # fmt: skip
        won += connection.execute(_MERGE, values).rowcount
        connection.execute("truncate staged")
        yield Progress(done=done, total=total)
    yield Imported(buckets=done, won=won)


def _written(history: History, chunks: Iterable[Sequence[str]]) -> Iterator[tuple[Path, int]]:
    """Files of buckets and how many each has. The next one is written while the database takes the last."""
    with (
        tempfile.TemporaryDirectory(prefix="spotcore-import-") as folder,
        ThreadPoolExecutor(1, thread_name_prefix="buckets") as writer,
    ):
        ahead: deque[tuple[Path, Future[int]]] = deque()
        for number, pools in enumerate(chunks):
            file = Path(folder) / f"{number}.csv"
            ahead.append((file, writer.submit(history.write_buckets, pools, file)))
            if len(ahead) > 1:
                yield from _taken(ahead)
        while ahead:
            yield from _taken(ahead)


def _taken(ahead: "deque[tuple[Path, Future[int]]]") -> Iterator[tuple[Path, int]]:
    file, written = ahead.popleft()
    count = written.result()
    yield file, count
    file.unlink()


def _chunks(pools: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, count in pools:
        if names and size + count > CHUNK:
            yield names
            names, size = [], 0
        names.append(name)
        size += count
    if names:
        yield names


def _copy(connection: psycopg.Connection[tuple[Any, ...]], file: Path) -> None:
    statement = "copy staged from stdin (format csv)"
    with connection.cursor().copy(statement) as copy, file.open("rb") as rows:
        while block := rows.read(BLOCK):
            copy.write(block)


def load_price_list(
    connection: psycopg.Connection[tuple[Any, ...]],
    rows: Sequence[tuple[str, str, Any, datetime | None]],
    source: str,
    now: datetime,
) -> int:
    """On-demand prices of an imported list (SV-5): type, region, $/h, since when or from ever; how many are news."""
    changed = 0
    for kind, region, price, since in rows:
        changed += connection.execute(
            "insert into ondemand_list (instance_type, region, since, price, source, imported_at)"
            " values (%s, %s, coalesce(%s, '-infinity'::timestamptz), %s, %s, %s)"
            " on conflict (instance_type, region, since) do update"
            " set price = excluded.price, source = excluded.source, imported_at = excluded.imported_at"
            " where ondemand_list.price <> excluded.price",
            (kind, region, since, price, source, now),
        ).rowcount
    return changed
