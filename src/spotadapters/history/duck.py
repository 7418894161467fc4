"""DuckDB as we use it: two threads, UTC, and nothing of its own on our output."""

from typing import Final

import duckdb

THREADS: Final = 2


def open_duckdb(place: str = ":memory:", *, memory: str | None = None) -> duckdb.DuckDBPyConnection:
    """A connection; ``memory`` limits what it keeps before it uses temporary disk, e.g. ``2GB``."""
    db = duckdb.connect(place, config={"threads": THREADS})
    db.execute("set enable_progress_bar = false")  # it would be drawn into JSON
    db.execute("set timezone = 'UTC'")  # not the host's (GR-5)
    db.execute("set preserve_insertion_order = false")  # tables have no order; keeping one costs memory
    if memory is not None:
        db.execute(f"set memory_limit = '{memory}'")
    return db
