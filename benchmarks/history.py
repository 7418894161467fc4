"""Bulk load of price history into PostgreSQL, deduplicated; against one row at a time in the same run.

Change points of a seeded generator are expanded into buckets, loaded, and loaded once more (every row a duplicate).
Prints rows per second and their ratio to inserting row by row; exits with 1 under a limit.
"""

import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.results import Ratio, Report, finish, options_of
from spotadapters.embedded import EmbeddedStack
from spotadapters.history.loading import importing, load
from spotadapters.history.reading import History
from spotadapters.postgres.migrate import migrate

LIMIT: int = 100_000  # rows/s
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
SINGLE = 2_000


def write_changes(file: Path, pools: int, seed: int) -> None:
    """Two changes a day and pool, as in us-east-1 in spring 2021."""
    chance = random.Random(seed)
    with file.open("w") as out:
        out.write("timestamp,instance_type,az,price\n")
        for number in range(pools):
            kind, zone = f"m{number // 6}.large", "abcdef"[number % 6]
            for _ in range(2 * DAYS):
                at = START + timedelta(seconds=chance.randrange(DAYS * 86_400))
                out.write(
                    f"{at.isoformat()},{kind},us-east-1{zone},{chance.randrange(10_000, 90_000) / 1_000_000:.6f}\n"
                )


def one_by_one(url: str) -> float:
    """Rows per second when each is a statement and a commit of its own."""
    statement = (
        "insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,"
        " observed_at, submission_id) values ('x.us-east-1a', %s, 'x', 'us-east-1', 0.03, 'backfill', 2, 0.9, %s, 's')"
        " on conflict do nothing"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        begin = time.perf_counter()
        for number in range(SINGLE):
            at = START + timedelta(minutes=5 * number)
            connection.execute(statement, (at, at))
        return SINGLE / (time.perf_counter() - begin)


def loaded(url: str, file: Path) -> tuple[int, float]:
    """Rows, and rows per second from the open file to the commit."""
    begin = time.perf_counter()
    with History([file], datetime.now(UTC)) as history, importing(url) as connection:
        rows = sum(pool.buckets for pool in history.pools())
        for _ in load(history, connection):
            pass
    return rows, rows / (time.perf_counter() - begin)


def main() -> int:
    """Run, print, judge."""
    options = options_of(__doc__, ("--pools", {"type": int, "default": 240}), quick={"pools": 60})
    print(f"{options.pools} pools, {DAYS} days …", flush=True)
    with tempfile.TemporaryDirectory(prefix="spotcore-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        file = Path(name) / "changes.csv"
        write_changes(file, options.pools, seed=7)
        with EmbeddedStack(Path(name) / "data") as stack:
            migrate(stack.database_url)
            single = one_by_one(stack.database_url)
            rows, fresh = loaded(stack.database_url, file)
            _, again = loaded(stack.database_url, file)
    figures = {
        "rows": rows,
        "rows_per_second": round(fresh),
        "duplicates_per_second": round(again),
        "one_by_one_per_second": round(single),
    }
    missed = [f"{LIMIT} rows/s"] if fresh < LIMIT else []
    ratios = (
        Ratio(name="bulk_to_one_by_one", rounds=(fresh / single,)),
        Ratio(name="duplicates_to_fresh", rounds=(again / fresh,)),
    )
    return finish(Report(benchmark="history", figures=figures, ratios=ratios, missed=missed), options)


if __name__ == "__main__":
    sys.exit(main())
