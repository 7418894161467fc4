"""The training dataset: clean buckets with features that know nothing of what came after (DS-1…DS-6, P17)."""

import hashlib
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import psycopg
from attrs import frozen

from spotadapters.history.duck import open_duckdb
from spotadapters.postgres.link import probed
from spotcore.errors import NotFound
from spotcore.market import CONFIDENT

WINDOW: Final = timedelta(days=730)  # DS-1
LABEL: Final = timedelta(minutes=60)  # DS-4
KEPT: Final = 8  # files, two days of them: each holds the whole window
DIGEST: Final = "?" * 64
LOCK: Final = 7_283_915_005
BLOCK: Final = 1 << 20

_SOURCES: Final = {
    "buckets": """
        select pool_id, instance_type, region, extract(epoch from bucket_start)::bigint, price from price_buckets
        where source <> 'interpolated' and confidence >= %(confident)s
          and bucket_start >= %(since)s and bucket_start < %(until)s""",
    "listed": """
        select instance_type, region, case when since = '-infinity' then -9000000000000 else
            extract(epoch from since)::bigint end, price from ondemand_list""",
    "seen": """
        select instance_type, region, extract(epoch from bucket_start)::bigint, price from ondemand_prices
        where not flagged""",
    "incidents": """
        select pool_id, extract(epoch from opened_at)::bigint from incidents
        where pool_id is not null and opened_at >= %(since)s
          and opened_at <= %(until)s::timestamptz + interval '60 minutes'""",
}
_TABLES: Final = """
create table buckets (pool_id varchar, instance_type varchar, region varchar, t bigint, price decimal(12, 6));
create table listed (instance_type varchar, region varchar, t bigint, price decimal(12, 6));
create table seen (instance_type varchar, region varchar, t bigint, price decimal(12, 6));
create table incidents (pool_id varchar, t bigint);
"""

# Everything of a row is of its own instant or before (DS-3); windows are of time, never of rows (DS-2).
_FEATURES: Final = """
create table dataset as
with windowed as (
    select *, count(*) over six as n6, stddev_pop(price::double) over six as s6
    from buckets
    window six as (partition by pool_id order by t range between 21595 preceding and current row)
)
select b.pool_id, b.instance_type, b.region, b.t as epoch_seconds, b.price,
    round((b.price::double - h.price::double) / h.price::double, 9) as change_1h,
    round((b.price::double - d.price::double) / d.price::double, 9) as change_24h,
    case when b.n6 >= 36 then round(b.s6, 9) end as stddev_6h,
    rank() over (partition by b.instance_type, b.region, b.t order by b.price) as price_rank,
    coalesce(l.price, o.price) as ondemand_price,
    hour(make_timestamp(b.t * 1000000)) as hour, isodow(make_timestamp(b.t * 1000000)) as weekday,
    day(make_timestamp(b.t * 1000000)) as day, month(make_timestamp(b.t * 1000000)) as month,
    exists (select 1 from incidents i where i.pool_id = b.pool_id and i.t > b.t and i.t <= b.t + 3600) as interrupted
from windowed b
left join buckets h on h.pool_id = b.pool_id and h.t = b.t - 3600
left join buckets d on d.pool_id = b.pool_id and d.t = b.t - 86400
asof left join listed l on l.instance_type = b.instance_type and l.region = b.region and l.t <= b.t
asof left join seen o on o.instance_type = b.instance_type and o.region = b.region and o.t <= b.t
order by b.pool_id, b.t
"""


@frozen(kw_only=True)
class Dataset:
    """A version. ``sha256`` is of its rows, not of the file, so that the same content has the same digest."""

    dataset_id: int
    built_at: datetime
    rows: int
    pools: int
    first_at: datetime
    last_at: datetime
    sha256: str
    file: str


class Datasets:
    """Builds and lists versions. Files lie in ``folder`` under their digest; those of old versions are removed, what is
    known of a version stays (DS-5)."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._database_url = database_url
        self._folder = folder

    def build(self, now: datetime) -> Dataset | None:
        """A new version of the last two years up to an hour ago, whose labels are known; the current one when nothing
        changed (DS-6); None when nothing was measured. What fails leaves the current one in place (DS-5)."""
        with self._connected() as connection, tempfile.TemporaryDirectory(prefix="spotcore-dataset-") as name:
            connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            folder = Path(name)
            with open_duckdb(str(folder / "work.duckdb"), memory="2GB") as db:
                self._fill(connection, db, folder, now)
                db.execute(_FEATURES)
                facts = db.execute(
                    "select count(*), count(distinct pool_id), min(epoch_seconds), max(epoch_seconds) from dataset"
                ).fetchone()
                if facts is None or not facts[0]:
                    return None
                digest = _digest(db, folder / "rows.csv")
                current = _newest(connection)
                if current is not None and current.sha256 == digest:
                    if not self.has_file(current):  # the same rows make it good
                        self._publish(db, folder, digest)
                    return current
                file = self._publish(db, folder, digest)
            return self._record(connection, now, facts, digest, file)

    def versions(self) -> list[Dataset]:
        """Every version, newest first."""
        with self._connected() as connection:
            return _listed(connection)

    def show(self, dataset_id: int | None = None) -> Dataset | None:
        """One version, the newest without an id; None when there is none."""
        found = self.versions()
        return next((one for one in found if dataset_id is None or one.dataset_id == dataset_id), None)

    def has_file(self, version: Dataset) -> bool:
        """Whether its file lies in the folder."""
        return (self._folder / version.file).is_file()

    def file(self, dataset_id: int | None = None) -> Path:
        """Where the rows of a version lie, of the newest without an id. Raises ``NotFound``, and says what there is."""
        found = self.show(dataset_id)
        if found is None:
            raise NotFound("there is no such version; list them with: spotcore dataset list")
        if not self.has_file(found):
            there = [str(one.dataset_id) for one in self.versions() if self.has_file(one)]
            raise NotFound(
                f"version {found.dataset_id} no longer has its file: those of the newest {KEPT} versions are kept and"
                f" those that a model's manifest names; files there are of: {', '.join(there) or 'none'}."
                " The present one is built with: spotcore dataset build",
                dataset_id=found.dataset_id,
            )
        return self._folder / found.file

    def remove_old(self, mentioned: Callable[[Collection[str]], Collection[str]]) -> int:
        """Remove the files of all versions but the newest ``KEPT`` and those whose digests are ``mentioned`` (which of
        these a model's manifest names), and what builds that died have left; how many. Waits for a build that runs."""
        with self._connected() as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            newest = {one.file for one in _listed(connection)[:KEPT]}
            old = {file.stem: file for file in self._folder.glob(DIGEST + ".parquet") if file.name not in newest}
            for digest in mentioned(old):
                del old[digest]
            gone = [*old.values(), *self._folder.glob(".*.part")]
            for file in gone:
                file.unlink()
        return len(gone)

    @contextmanager
    def _connected(self) -> Iterator["psycopg.Connection[Any]"]:
        with psycopg.connect(
            probed(self._database_url), connect_timeout=5, application_name="spotcore-dataset"
        ) as connection:
            connection.execute("set local spotcore.tenant = '*'")
            connection.execute("set local timezone = 'UTC'")
            yield connection

    @staticmethod
    def _fill(
        connection: "psycopg.Connection[Any]", db: duckdb.DuckDBPyConnection, folder: Path, now: datetime
    ) -> None:
        db.execute(_TABLES)
        values = {"since": now - WINDOW, "until": now - LABEL, "confident": CONFIDENT}
        client = psycopg.ClientCursor(connection)
        for table, statement in _SOURCES.items():
            file = folder / f"{table}.csv"
            query = f"copy ({client.mogrify(statement, values)}) to stdout (format csv)"
            with file.open("wb") as out, connection.cursor().copy(query.encode()) as copy:
                for block in copy:
                    out.write(block)
            db.execute(f"copy {table} from '{_quoted(file)}' (format csv, header false, auto_detect false)")
            file.unlink()

    def _publish(self, db: duckdb.DuckDBPyConnection, folder: Path, digest: str) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        made, file = self._folder / f".{digest}.part", self._folder / f"{digest}.parquet"
        db.execute(f"copy (select * from dataset order by pool_id, epoch_seconds) to '{_quoted(made)}'"
                   " (format parquet)")  # fmt: skip
        made.replace(file)  # whole or not at all
        return file.name

    @staticmethod
    def _record(
        connection: "psycopg.Connection[Any]", now: datetime, facts: tuple[Any, ...], digest: str, file: str
    ) -> Dataset:
        row = connection.execute(
            "insert into datasets (built_at, rows, pools, first_at, last_at, sha256, file)"
            " values (%s, %s, %s, to_timestamp(%s), to_timestamp(%s), %s, %s)"
            " returning dataset_id, built_at, rows, pools, first_at, last_at, sha256, file",
            (now, *facts, digest, file),
        ).fetchone()
        assert row is not None
        return _dataset(row)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _digest(db: duckdb.DuckDBPyConnection, file: Path) -> str:
    db.execute(
        f"copy (select * from dataset order by pool_id, epoch_seconds) to '{_quoted(file)}' (format csv, header true)"
    )
    found = hashlib.sha256()
    with file.open("rb") as rows:
        while block := rows.read(BLOCK):
            found.update(block)
    file.unlink()
    return found.hexdigest()


def _newest(connection: "psycopg.Connection[Any]") -> Dataset | None:
    return next(iter(_listed(connection)), None)


def _listed(connection: "psycopg.Connection[Any]") -> list[Dataset]:
    rows = connection.execute(
        "select dataset_id, built_at, rows, pools, first_at, last_at, sha256, file from datasets"
        " order by dataset_id desc"
    )
    return [_dataset(row) for row in rows]


def _dataset(row: tuple[Any, ...]) -> Dataset:
    names = ("dataset_id", "built_at", "rows", "pools", "first_at", "last_at", "sha256", "file")
    return Dataset(**dict(zip(names, row, strict=True)))
