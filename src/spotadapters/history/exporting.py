"""Clean buckets out of PostgreSQL, as CSV or Parquet: what ``reading`` reads again."""

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import psycopg

from spotadapters.history.refusals import UnknownFormat

_ROWS: Final = """
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


def export_buckets(database_url: str, file: Path, since: datetime, until: datetime, pools: Sequence[str] | None) -> int:
    """Write the buckets of the time (of all pools, or of some) to ``file``, ``.csv`` or ``.parquet``; how many bytes.

    The file appears whole or not at all. Raises ``UnknownFormat``."""
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UnknownFormat(f"{file}: use a name that ends in .csv or .parquet")
    with tempfile.TemporaryDirectory(prefix="spotcore-export-", dir=file.parent) as folder:
        rows = Path(folder) / "rows.csv"
        values = {"since": since, "until": until, "pools": list(pools) if pools is not None else None}
        with psycopg.connect(database_url, connect_timeout=5, cursor_factory=psycopg.ClientCursor) as connection:
            _copy_out(connection, values, rows)
        done = rows
        if suffix == ".parquet":
            done = Path(folder) / "rows.parquet"
            with duckdb.connect(":memory:") as db:
                db.execute(
                    "copy (select * replace (price::decimal(12, 6) as price, confidence::decimal(4, 2) as confidence,"
                    " bucket_start::timestamp as bucket_start, observed_at::timestamp as observed_at)"
                    f" from read_csv($rows, header = true, all_varchar = true)) to '{_quoted(done)}' (format parquet)",
                    {"rows": str(rows)},
                )
        done.replace(file)
    return file.stat().st_size


def _copy_out(connection: "psycopg.Connection[Any]", values: dict[str, Any], rows: Path) -> None:
    cursor = connection.cursor()
    statement = cursor.mogrify(_ROWS, values)  # type: ignore[attr-defined]
    with rows.open("wb") as out, cursor.copy(statement.encode()) as copy:
        for block in copy:
            out.write(block)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
