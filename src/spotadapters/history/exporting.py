"""Prices out of PostgreSQL, as CSV or Parquet: buckets for ``reading``, raw observations for ``cleaning``."""

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from spotadapters.history.duck import open_duckdb
from spotadapters.history.refusals import UnknownFormat
from spotadapters.postgres.link import probed

CLEAN: Final = """
copy (
    select b.pool_id, b.instance_type, b.region, p.az,
        to_char(b.bucket_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as bucket_start,
        b.price, b.source, b.method, b.confidence, b.discrepancy,
        to_char(b.observed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as observed_at
    from price_buckets b join pools p on p.pool_id = b.pool_id
    where b.bucket_start >= %(since)s and b.bucket_start < %(until)s
      and (b.pool_id = any(%(pools)s) or %(pools)s::text[] is null)
    order by b.pool_id, b.bucket_start
) to stdout (format csv, header true)
"""
RAW: Final = """
copy (
    select r.pool_id, to_char(r.observed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as observed_at,
        r.price, r.source, r.submission_id
    from raw_prices r
    where r.observed_at >= %(since)s and r.observed_at < %(until)s
      and (r.pool_id = any(%(pools)s) or %(pools)s::text[] is null)
    order by r.pool_id, r.observed_at, r.submission_id
) to stdout (format csv, header true)
"""
_TYPES: Final = {
    "price": "decimal(12, 6)", "confidence": "decimal(4, 2)", "bucket_start": "timestamp", "observed_at": "timestamp",
}  # fmt: skip


def export_rows(
    database_url: str, rows: str, file: Path, since: datetime, until: datetime, pools: Sequence[str] | None
) -> int:
    """Write the ``CLEAN`` buckets or ``RAW`` observations of a time (all pools, or some) to ``file``, ``.csv`` or
    ``.parquet``; how many bytes.

    The file appears whole or not at all. Raises ``UnknownFormat``."""
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UnknownFormat(f"{file}: use a name that ends in .csv or .parquet")
    with tempfile.TemporaryDirectory(prefix="spotcore-export-", dir=file.parent) as folder:
        text = Path(folder) / "rows.csv"
        values = {"since": since, "until": until, "pools": list(pools) if pools is not None else None}
        with psycopg.connect(
            probed(database_url), connect_timeout=5, cursor_factory=psycopg.ClientCursor
        ) as connection:
            _copy_out(connection, rows, values, text)
        done = text
        if suffix == ".parquet":
            done = Path(folder) / "rows.parquet"
            _as_parquet(text, done)
        done.replace(file)
    return file.stat().st_size


def _as_parquet(text: Path, file: Path) -> None:
    with open_duckdb() as db:
        scan, values = "read_csv($rows, header = true, all_varchar = true)", {"rows": str(text)}
        names = [str(row[0]) for row in db.execute(f"describe select * from {scan}", values).fetchall()]
        typed = ", ".join(f"{name}::{_TYPES.get(name, 'text')} as {name}" for name in names)
        db.execute(f"copy (select {typed} from {scan}) to '{_quoted(file)}' (format parquet)", values)


def _copy_out(connection: "psycopg.Connection[Any]", rows: str, values: dict[str, Any], file: Path) -> None:
    cursor = connection.cursor()
    statement = cursor.mogrify(rows, values)  # type: ignore[attr-defined]
    with file.open("wb") as out, cursor.copy(statement.encode()) as copy:
        for block in copy:
            out.write(block)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
