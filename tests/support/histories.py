"""Files of price history as people bring them, and what is read of them."""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from attrs import frozen

from spotadapters.history.reading import History, Summary
from spotadapters.history.refusals import UnreadableHistory

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
AT = datetime(2026, 2, 1, tzinfo=UTC)
HEAD = "timestamp,instance_type,az,price\n"
LINE = "2026-02-01T00:00:00Z,m5.large,us-east-1a,0.03\n"
NO_PRICE = "the price is not a number above 0 and up to 1,000"
NO_TIME = "the time cannot be read"
NO_POOL = "no type or no zone"
TOO_OLD = "before there was EC2"
FUTURE = "in the future"
OTHER_PRODUCT = "an unknown product description"


@frozen
class Written:
    """A bucket as the reader hands it on."""

    pool_id: str
    start: datetime
    kind: str
    region: str
    price: str
    source: str
    rank: str
    confidence: str
    observed_at: datetime
    submission_id: str


def an_entry(**changes: Any) -> dict[str, Any]:
    """One change as ``describe-spot-price-history`` prints it; a field changed to None is left out."""
    facts = {
        "AvailabilityZone": "us-east-1a",
        "InstanceType": "m5.large",
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": "0.030000",
        "Timestamp": "2026-02-01T00:00:00+00:00",
        **changes,
    }
    return {name: value for name, value in facts.items() if value is not None}


def a_page(*entries: Any) -> str:
    """A page of the API."""
    return json.dumps({"SpotPriceHistory": list(entries), "NextToken": ""})


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """A file; packed when its name says so."""
    file = folder / name
    raw = content if isinstance(content, bytes) else content.encode()
    file.write_bytes(gzip.compress(raw) if name.endswith(".gz") and isinstance(content, str) else raw)
    return file


def a_parquet(folder: Path, query: str, name: str = "history.parquet") -> Path:
    """What a query gives, as Parquet."""
    file = folder / name
    with duckdb.connect(":memory:") as db:
        db.execute("set timezone = 'Asia/Kathmandu'")  # the zone of whoever wrote it
        db.execute(f"copy ({query}) to '{file}' (format parquet)")
    return file


def summary_of(*files: Path, now: datetime = NOW) -> Summary:
    """What the reader says of files."""
    with History(files, now) as history:
        return history.summary()


def refusal_of(*files: Path) -> str:
    """Why files are refused."""
    with pytest.raises(UnreadableHistory) as refused:
        History(files, NOW)
    return str(refused.value)


def buckets_of(*files: Path, now: datetime = NOW) -> list[Written]:
    """Every bucket of every pool, as written for the database."""
    out = files[0].parent / "buckets-out.csv"
    with History(files, now) as history:
        count = history.write_buckets(history.pools(), out)
    rows = [line.split(",") for line in out.read_text().splitlines()]
    assert len(rows) == count
    out.unlink()
    return [
        Written(pool, datetime.fromisoformat(start), *facts, datetime.fromisoformat(seen), name)
        for pool, start, *facts, seen, name in rows
    ]


def judged_one_by_one(folder: Path, lines: Sequence[str], head: str = HEAD) -> list[datetime | str]:
    """What becomes of each line of a table: when it was seen, or why it was refused. Each line has ``{zone}`` where its
    zone belongs, so that all can stand in one file."""
    zones = [f"us-east-1-{number:03}a" for number in range(len(lines))]
    text = head + "".join(line.format(zone=zone) + "\n" for line, zone in zip(lines, zones, strict=True))
    with History([written(folder, "lines.csv", text)], NOW) as history:
        seen: dict[str, datetime] = {pool.az: pool.first for pool in history.pools()}
        refused = history._db.execute("select az, reason from judged where reason is not null").fetchall()
    found: dict[str, datetime | str] = {**seen, **dict(refused)}
    return [found[zone] for zone in zones]
