"""Winners, gaps and fills of a long raw history: on columns, against DuckDB that only judges, in one run.

Then the same rows as a file through ``spotcore prices clean``, in windows of pools. Prints rows per second, ratio and
peak memory; exits with 1 under a limit.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.results import Ratio, Report, finish, options_of
from spotadapters.history.duck import open_duckdb
from spotadapters.history.engine import STEP, STEP_US, Raw, clean

LIMIT: Final = 1_500_000  # rows/s
MOST_MB, MOST_MB_IN_WINDOWS = 2_500, 500
ROWS_OF_A_POOL: Final = 20_000  # a fleet that sees every pool; with fewer the gaps would be what is measured
DAYS: Final = 60
START: Final = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) // STEP
ROUNDS: Final = 3
IN_WINDOWS: Final = """
import sys, pathlib, datetime
from spotadapters.history.cleaning import Observations
with Observations([pathlib.Path(sys.argv[1])], datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)) as rows:
    for _ in rows.clean():
        pass
    print(rows.write(pathlib.Path(sys.argv[2])))
status = pathlib.Path("/proc/self/status").read_text()  # getrusage would count what the parent had
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""
JUDGE: Final = """
select pool, moment // 300000000 as bucket, arg_min(price, (-rank::bigint, moment, high, low)) as price
from (select distinct on (high, low) * from seen) group by all
"""


def a_history(rows: int, seed: int) -> Raw:
    """Two thirds of all buckets measured, some by several, one row in twenty sent twice, in no order."""
    chance, many = np.random.default_rng(seed), max(1, rows // ROWS_OF_A_POOL)
    pools = sorted(f"m{number // 6}.large.us-east-1{'abcdef'[number % 6]}" for number in range(many))
    place = chance.integers(0, rows, rows)
    place[: rows - rows // 20] = np.arange(rows - rows // 20)  # the rest repeats some of these
    pool = chance.integers(0, many, rows).astype(np.int32)
    at = (START + chance.integers(0, DAYS * 86_400 // STEP, rows)) * STEP_US + chance.integers(0, STEP_US, rows)
    price = chance.integers(10_000, 90_000, many)[pool] + chance.integers(0, 200, rows)
    rank = chance.choice(np.array([5, 4, 3], np.int8), rows)
    high, low = (chance.integers(0, 2**64, rows, np.uint64) for _ in range(2))
    place = place[chance.permutation(rows)] % (rows - rows // 20)
    return Raw(
        pools=pools, pool=pool[place], observed_at=at[place], rank=rank[place], price=price[place],
        submission=(high[place], low[place]),
    )  # fmt: skip


def columns(raw: Raw) -> dict[str, Any]:
    """For DuckDB."""
    return {
        "pool": raw.pool, "moment": raw.observed_at, "rank": raw.rank, "price": raw.price, "high": raw.submission[0],
        "low": raw.submission[1],
    }  # fmt: skip


def by_duckdb(raw: Raw) -> Callable[[], Any]:
    """Only the winners: what is least that a second engine has to do."""
    db = open_duckdb()
    db.register("seen", columns(raw))
    return lambda: db.execute(JUDGE).fetchnumpy()


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak_mb() -> int:
    """Of this process so far, with the rows themselves."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def in_windows(raw: Raw, folder: Path) -> dict[str, Any]:
    """Rows per second from file to file, and the peak memory of a process of its own."""
    file = folder / "raw.parquet"
    with open_duckdb() as db:
        db.register("seen", columns(raw))
        db.execute("create table names as select unnest($n) as name, unnest($i) as pool",
                   {"n": list(raw.pools), "i": list(range(len(raw.pools)))})  # fmt: skip
        db.execute(
            "copy (select n.name as pool_id, make_timestamp(moment) as observed_at,"
            " (price / 1e6)::decimal(12, 6) as price, case rank when 5 then 'primary'"
            " when 4 then 'emergency_replica' else 'manual_replica' end as source,"
            " printf('%016x%016x', high, low) as submission_id from seen join names n using (pool))"
            f" to '{file}' (format parquet)"
        )
    begin = time.perf_counter()
    command = [sys.executable, "-c", IN_WINDOWS, str(file), str(folder / "clean.parquet")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {"rows_per_second": round(len(raw.pool) / (time.perf_counter() - begin)), "peak_mb": int(told[1])}


def main() -> int:
    """Run it."""
    options = options_of(__doc__, ("--rows", {"type": int, "default": 10_000_000}), quick={"rows": 1_000_000})
    raw = a_history(options.rows, seed=1)
    ours, peer, peak = list[float](), list[float](), 0
    duck = by_duckdb(raw)
    for _ in range(ROUNDS):
        ours.append(seconds(lambda: clean(raw)))
        peak = peak or peak_mb()  # before the peer adds its own
        peer.append(seconds(duck))
    figures = {
        "rows": options.rows,
        "rows_per_second": round(options.rows / sorted(ours)[ROUNDS // 2]),
        "duckdb_winners_only": round(options.rows / sorted(peer)[ROUNDS // 2]),
        "peak_mb": peak,
    }
    with tempfile.TemporaryDirectory(prefix="spotcore-bench-") as folder:
        windows = in_windows(raw, Path(folder))
    figures |= {f"file_to_file_{name}": value for name, value in windows.items()}
    missed = []
    if figures["rows_per_second"] < LIMIT:
        missed.append(f"{LIMIT} rows/s")
    if peak > MOST_MB or windows["peak_mb"] > MOST_MB_IN_WINDOWS:
        missed.append(f"{MOST_MB} MB at most, {MOST_MB_IN_WINDOWS} MB in windows")
    rounds = tuple(theirs / mine for mine, theirs in zip(ours, peer, strict=True))
    ratio = Ratio(name="rate_to_duckdbs_winners", rounds=rounds)
    return finish(Report(benchmark="cleaning", figures=figures, ratios=(ratio,), missed=missed), options)


if __name__ == "__main__":
    sys.exit(main())
