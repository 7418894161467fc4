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
from psycopg.errors import UniqueViolation

from spotadapters.history.reading import History, Pool
from spotadapters.history.refusals import AnotherImport
from spotadapters.postgres.link import probed

LOCK: Final = 7_283_915_003
CHUNK: Final = 400_000  # buckets staged at once
BLOCK: Final = 1 << 20

_COLUMNS: Final = (
    "pool_id, bucket_start, instance_type, region, price, source, rank, confidence, observed_at, submission_id"
)
_STAGE: Final = "create temporary table staged (like price_buckets) on commit drop"
_POOLS: Final = """
insert into pools (pool_id, instance_type, region, az, first_observed_at)
select * from unnest(%(pool)s::text[], %(type)s::text[], %(region)s::text[], %(az)s::text[], %(first)s::timestamptz[])
order by 1
on conflict (pool_id) do update set first_observed_at = excluded.first_observed_at
where pools.first_observed_at > excluded.first_observed_at
"""
_KNOWN: Final = """
select exists (select 1 from unnest(%(pool)s::text[], %(first)s::timestamptz[]) as wanted (pool_id, first)
               join price_buckets b using (pool_id)
               where b.bucket_start >= wanted.first - interval '5 minutes')
"""
_MERGE: Final = f"""
insert into price_buckets as b ({_COLUMNS})
select {_COLUMNS}
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
    with psycopg.connect(probed(database_url), connect_timeout=5, application_name="spotcore-import") as connection:
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
    total = sum(pool.buckets for pool in pools)
    done = won = 0
    connection.execute(_STAGE)
    for stretch, file in _written(history, _stretches(pools)):
        connection.execute(_POOLS, _columns(stretch))
        won += _copied(connection, stretch, file) or _merged(connection, file)
        done += sum(pool.buckets for pool in stretch)
        yield Progress(done=done, total=total)
    yield Imported(buckets=done, won=won)


def _columns(stretch: Sequence[Pool]) -> dict[str, list[Any]]:
    return {
        "pool": [pool.pool_id for pool in stretch],
        "type": [pool.instance_type for pool in stretch],
        "region": [pool.region for pool in stretch],
        "az": [pool.az for pool in stretch],
        "first": [pool.first for pool in stretch],
    }


def _copied(connection: psycopg.Connection[tuple[Any, ...]], stretch: Sequence[Pool], file: Path) -> int:
    """Rows of a stretch that meets no known bucket, written where they belong; none when one is met after all."""
    known = connection.execute(_KNOWN, _columns(stretch)).fetchone()
    if known is None or known[0]:
        return 0
    try:
        with connection.transaction():
            return _copy(connection, f"price_buckets ({_COLUMNS})", file)
    except UniqueViolation:  # an agent reported one meanwhile: the order of DQ-4 decides
        return 0


def _merged(connection: psycopg.Connection[tuple[Any, ...]], file: Path) -> int:
    """How many buckets of a stretch win over what is known (DQ-4)."""
    _copy(connection, f"staged ({_COLUMNS})", file)
    won = connection.execute(_MERGE).rowcount
    connection.execute("truncate staged")
    return won


def _written(history: History, stretches: Iterable[Sequence[Pool]]) -> Iterator[tuple[Sequence[Pool], Path]]:
    """Stretches and the files of their buckets. The next one is written while the database takes the last."""
    with (
        tempfile.TemporaryDirectory(prefix="spotcore-import-") as folder,
        ThreadPoolExecutor(1, thread_name_prefix="buckets") as writer,
    ):
        ahead: deque[tuple[Sequence[Pool], Path, Future[int]]] = deque()
        for number, stretch in enumerate(stretches):
            file = Path(folder) / f"{number}.csv"
            ahead.append((stretch, file, writer.submit(history.write_buckets, stretch, file)))
            if len(ahead) > 1:
                yield from _taken(ahead)
        while ahead:
            yield from _taken(ahead)


def _taken(ahead: "deque[tuple[Sequence[Pool], Path, Future[int]]]") -> Iterator[tuple[Sequence[Pool], Path]]:
    stretch, file, written = ahead.popleft()
    written.result()
    yield stretch, file
    file.unlink()


def _stretches(pools: Sequence[Pool]) -> Iterator[list[Pool]]:
    chosen: list[Pool] = []
    size = 0
    for pool in pools:
        if chosen and size + pool.buckets > CHUNK:
            yield chosen
            chosen, size = [], 0
        chosen.append(pool)
        size += pool.buckets
    if chosen:
        yield chosen


def _copy(connection: psycopg.Connection[tuple[Any, ...]], into: str, file: Path) -> int:
    with connection.cursor() as cursor:
        with cursor.copy(f"copy {into} from stdin (format csv)") as copy, file.open("rb") as rows:
            while block := rows.read(BLOCK):
                copy.write(block)
        return cursor.rowcount


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
