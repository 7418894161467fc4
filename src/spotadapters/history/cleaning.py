"""Files of raw observations into clean buckets, a window of pools at a time, without any database server."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import duckdb
from attrs import frozen

from spotadapters.history.duck import open_duckdb
from spotadapters.history.engine import DISCREPANCIES, METHODS, Clean, Raw, clean
from spotadapters.history.loading import Progress
from spotadapters.history.reading import EXACT, INSTANT, MICROS, NO_PRICE, OLDEST, require_whole, scan_of
from spotadapters.history.refusals import UnknownFormat, UnreadableHistory
from spotcore.errors import ValidationFailed
from spotcore.pools import parse_pool
from spotcore.prices import AHEAD, CONFIDENCE, RANK, PriceSource
from spotcore.quality import FILL_CONFIDENCE

WINDOW: Final = 700_000  # observations at once; a type and region is never divided (GF-2)
MOST_POOLS: Final = 400  # at once: sparse histories may be long
COLUMNS: Final = ("pool_id", "observed_at", "price", "source", "submission_id")
NEEDED: Final = ("pool_id", "observed_at", "price")
FORMS: Final[Mapping[str, str]] = {".csv": "csv, header true", ".parquet": "parquet"}


@frozen(kw_only=True)
class Judged:
    """What raw files hold: rows that can be right, and where the others went."""

    rows: int
    accepted: int
    rejected: Mapping[str, int]  # by reason
    pools: int


class Observations:
    """Raw observations of all files together, on temporary disk. Use it as a context manager."""

    def __init__(self, paths: Sequence[Path], now: datetime, *, memory: str = "192MB") -> None:
        """Columns: pool_id, observed_at, price; source (else backfill), submission_id (else made of the rest).

        Raises ``UnreadableHistory``."""
        self._folder = tempfile.TemporaryDirectory(prefix="spotcore-clean-")
        self._db = open_duckdb(f"{self._folder.name}/raw.duckdb", memory=memory)
        try:
            self._read(paths, now)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def summary(self) -> Judged:
        """What was found."""
        told = self._db.execute("select reason, count(*) from judged group by 1 order by 1").fetchall()
        rejected = {reason: count for reason, count in told if reason is not None}
        rows = sum(count for _, count in told)
        return Judged(rows=rows, accepted=rows - sum(rejected.values()), rejected=rejected, pools=len(self._sizes()))

    def clean(self, window: int = WINDOW) -> Iterator[Progress]:
        """Judge and fill every pool, and keep the result for ``write``. Counted in observations."""
        sizes = self._sizes()
        done, total = 0, sum(count for _, _, count in sizes)
        for pools, count in _windows(sizes, window):
            self._keep(clean(self._raw(pools)))
            done += count
            yield Progress(done=done, total=total)

    def write(self, file: Path) -> int:
        """The clean buckets as ``.csv`` or ``.parquet``, by pool and time, whole or not at all; how many.

        Raises ``UnknownFormat``."""
        form = FORMS.get(file.suffix.lower())
        if form is None:
            raise UnknownFormat(f"{file}: use a name that ends in .csv or .parquet")
        with tempfile.TemporaryDirectory(prefix="spotcore-clean-", dir=file.absolute().parent) as folder:
            whole = Path(folder) / "clean"
            place = str(whole).replace("'", "''")
            row = self._db.execute(f"copy ({_SHOWN}) to '{place}' (format {form})").fetchone()
            whole.replace(file)
        return int(row[0]) if row is not None else 0

    def _close(self) -> None:
        self._db.close()
        self._folder.cleanup()

    def _read(self, paths: Sequence[Path], now: datetime) -> None:
        self._db.execute(_TABLES)
        self._db.executemany(
            "insert into sources values (?, ?, ?)", [(RANK[one], one.value, CONFIDENCE[one]) for one in PriceSource]
        )
        self._db.executemany(
            "insert into methods values (?, ?, ?)",
            [(number, one.value, FILL_CONFIDENCE[one]) for number, one in enumerate(METHODS, 1)],
        )
        self._db.executemany("insert into discrepancies values (?, ?)", list(enumerate(DISCREPANCIES)))
        latest = (now + AHEAD).astimezone(UTC).replace(tzinfo=None)
        for path in paths:
            self._take(path, latest)

    def _take(self, path: Path, latest: datetime) -> None:
        if not path.is_file():
            raise UnreadableHistory(f"{path}: no such file")
        require_whole(path)
        scan, file = scan_of(path), {"file": str(path)}
        try:
            names = [str(row[0]).lower() for row in self._db.execute(f"describe select * from {scan}", file).fetchall()]
            missing = [name for name in NEEDED if name not in names]
            if missing:
                raise UnreadableHistory(f"{path}: columns missing: {', '.join(missing)}; it has {', '.join(names)}")
            self._name_pools(self._db.execute(f"select distinct pool_id::text from {scan}", file).fetchall())
            given = ", ".join(f"{f'{name}::text' if name in names else 'null::text'} as {name}" for name in COLUMNS)
            self._db.execute(
                _JUDGED.format(given=f"select {given} from {scan}"), {**file, "oldest": OLDEST, "latest": latest}
            )
        except duckdb.Error as failure:
            raise UnreadableHistory(f"{path}: {' '.join(str(failure).split())[:300]}") from failure

    def _name_pools(self, found: Sequence[tuple[str | None]]) -> None:
        """Whatever way a pool is written, one name (0.1); what is no pool is left without."""
        for (text,) in found:
            try:
                pool = parse_pool(text or "")
            except ValidationFailed:
                continue
            self._db.execute(
                "insert or ignore into names values (?, ?, ?, ?, ?)",
                [text, pool.pool_id, pool.instance_type, pool.region, pool.az],
            )

    def _sizes(self) -> list[tuple[str, str, int]]:
        """Type and region, pool, and how many observations; in this order."""
        return self._db.execute(
            "select instance_type || ' ' || region, pool_id, count(*) from judged where reason is null"
            " group by all order by all"
        ).fetchall()

    def _raw(self, pools: Sequence[str]) -> Raw:
        self._db.execute(
            "create or replace temp table chosen as"
            " select unnest($names) as pool_id, unnest($numbers)::integer as pool",
            {"names": list(pools), "numbers": list(range(len(pools)))},
        )
        found = self._db.execute(
            "select c.pool, j.moment, j.rank, j.micros, j.high, j.low from judged j join chosen c using (pool_id)"
            " where j.reason is null"
        ).fetchnumpy()
        return Raw(
            pools=pools,
            pool=found["pool"],
            observed_at=found["moment"],
            rank=found["rank"],
            price=found["micros"],
            submission=(found["high"], found["low"]),
        )

    def _keep(self, result: Clean) -> None:
        columns = {
            "pool": result.pool,
            "bucket": result.bucket,
            "micros": result.price,
            "method": result.method,
            "discrepancy": result.discrepancy,
            "rank": result.rank,
            "moment": result.observed_at,
        }
        self._db.register("cleaned", columns)
        self._db.execute(
            "insert into clean select c.pool_id, d.* exclude (pool) from cleaned d join chosen c using (pool)"
        )
        self._db.unregister("cleaned")


def _windows(sizes: Sequence[tuple[str, str, int]], window: int) -> Iterator[tuple[list[str], int]]:
    pools: list[str] = []
    size, last = 0, ""
    for family, pool, count in sizes:
        if family != last and (size >= window or len(pools) >= MOST_POOLS):
            yield pools, size
            pools, size = [], 0
        pools.append(pool)
        size += count
        last = family
    if pools:
        yield pools, size


_TABLES: Final = """
create table names (written text primary key, pool_id text, instance_type text, region text, az text);
create table sources (rank tinyint, source text, confidence decimal(4, 2));
create table methods (method tinyint, name text, confidence decimal(4, 2));
create table discrepancies (discrepancy tinyint, name text);
create table judged (
    pool_id text, instance_type text, region text, moment bigint, rank tinyint, micros bigint, high ubigint,
    low ubigint, reason text
);
create table clean (
    pool_id text, bucket bigint, micros bigint, method tinyint, discrepancy tinyint, rank tinyint, moment bigint
);
"""

_JUDGED: Final = f"""
insert into judged
with read as (
    select *, {INSTANT} as instant, {EXACT} as exact from (select * rename (observed_at as seen) from ({{given}}))
), rounded as (
    select *, {MICROS} as micros,
        coalesce(lower(submission_id), md5(concat_ws('|', pool_id, source, instant::text, exact::text))) as id
    from read
)
select n.pool_id, n.instance_type, n.region, epoch_us(instant) as moment, s.rank, micros,
    try_cast('0x' || id[:16] as ubigint) as high, try_cast('0x' || id[17:] as ubigint) as low,
    case when n.pool_id is null then 'not a pool'
         when instant is null then 'the time cannot be read'
         when instant < $oldest then 'before there was EC2'
         when instant > $latest then 'in the future'
         when {NO_PRICE}
             then 'the price is not a number above 0 and up to 1,000'
         when s.rank is null then 'an unknown source'
         when length(id) <> 32 or not regexp_full_match(id, '[0-9a-f]+')
             then 'the submission id is not 32 hexadecimal digits'
    end as reason
from rounded r
left join names n on n.written = r.pool_id
left join sources s on s.source = coalesce(r.source, 'backfill')
"""

_SHOWN: Final = """
select c.pool_id, n.instance_type, n.region, n.az,
    strftime(make_timestamp(c.bucket * 1000000), '%Y-%m-%dT%H:%M:%SZ') as bucket_start,
    (c.micros::decimal(18, 6) / 1000000)::decimal(12, 6) as price,
    coalesce(s.source, 'interpolated') as source, m.name as method,
    coalesce(s.confidence, m.confidence) as confidence, d.name as discrepancy,
    strftime(make_timestamp(c.moment), '%Y-%m-%dT%H:%M:%S.%fZ') as observed_at
from clean c
join (select distinct pool_id, instance_type, region, az from names) n using (pool_id)
join discrepancies d using (discrepancy)
left join sources s using (rank)
left join methods m using (method)
order by c.pool_id, c.bucket
"""
