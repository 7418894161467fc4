"""Files of Spot price changes: ``describe-spot-price-history`` pages (JSON), CSV, Parquet.

A change point holds until the pool's next one. Everything is judged before anything is written: a file that was cut
short is refused, a row that cannot be right is counted with its reason, duplicates count once.
"""

import csv
import gzip
import tempfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import duckdb
import ijson
from attrs import frozen

from spotadapters.history.duck import open_duckdb
from spotadapters.history.refusals import UnreadableHistory
from spotcore.prices import AHEAD, BUCKET, CONFIDENCE, PRODUCT, PRODUCT_MARKS, RANK, PriceSource

SECONDS: Final = int(BUCKET.total_seconds())
SOURCE: Final = PriceSource.BACKFILL
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "at": ("timestamp", "ts", "at", "time", "bucket_start"),
    "kind": ("instancetype", "instance_type", "type"),
    "az": ("availabilityzone", "availability_zone", "az", "zone"),
    "price": ("spotprice", "spot_price", "price_usd_h", "price", "price_usd"),
    "product": ("productdescription", "product_description", "product"),
}
AWS_NAMES: Final = ("Timestamp", "InstanceType", "AvailabilityZone", "SpotPrice", "ProductDescription")
CUT_PACKED: Final = (EOFError, gzip.BadGzipFile, zlib.error)
JSON: Final = (".json", ".ndjson", ".jsonl")
TEXT: Final = (".csv", ".tsv", ".txt")
CSV_SCAN: Final = "read_csv($file, all_varchar = true, header = true, strict_mode = true)"
NEEDED: Final = ("at", "kind", "az", "price")
OLDEST: Final = datetime(2006, 1, 1)


@frozen(kw_only=True)
class Summary:
    """What files hold. ``changes`` are distinct; the rest says where the other rows went."""

    rows: int
    changes: int
    duplicates: int
    rejected: Mapping[str, int]  # by reason
    pools: int
    first: datetime | None
    last: datetime | None


@frozen(kw_only=True)
class Pool:
    """A pool of the files: what it is, its first change, and how many buckets its changes cover."""

    pool_id: str
    instance_type: str
    region: str
    az: str
    first: datetime
    buckets: int


class History:
    """Change points of all files together, in memory and on temporary disk. Use it as a context manager."""

    def __init__(self, paths: Sequence[Path], now: datetime) -> None:
        """Raises ``UnreadableHistory``."""
        self._db = open_duckdb(memory="2GB")
        self._db.execute("create table given (seen text, kind text, az text, price text, product text)")
        for path in paths:
            _take(self._db, path)
        self._judge(now)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def _judge(self, now: datetime) -> None:
        """Rows that can be right go on (DQ-2); prices are rounded half-even to 6 decimals without floating point."""
        self._db.execute("create table products (product text, mark text)")
        self._db.executemany("insert into products values (?, ?)", list(PRODUCT_MARKS.items()))
        latest = (now + AHEAD).astimezone(UTC).replace(tzinfo=None)
        self._db.execute(_JUDGED, {"oldest": OLDEST, "latest": latest})
        self._db.execute(_CHANGES)

    def summary(self) -> Summary:
        """What was found."""
        total, distinct, pools, first, last = self._one(
            "select (select count(*) from given), (select count(*) from changes), count(distinct pool_id),"
            " min(seen), max(seen) from changes"
        )
        rejected = dict(
            self._db.execute(
                "select reason, count(*) from judged where reason is not null group by 1 order by 1"
            ).fetchall()
        )
        kept = total - sum(rejected.values())
        return Summary(
            rows=total,
            changes=distinct,
            duplicates=kept - distinct,
            rejected=rejected,
            pools=pools,
            first=_utc(first),
            last=_utc(last),
        )

    def pools(self) -> list[Pool]:
        """Every pool, in the order of their ids."""
        rows = self._db.execute(
            "select pool_id, any_value(kind), any_value(region), any_value(az), min(seen),"
            f" (({_FLOOR.format('(select max(seen) from changes)')}) - ({_FLOOR.format('min(seen)')})) // {SECONDS} + 1"
            " from changes group by pool_id order by pool_id"
        ).fetchall()
        return [
            Pool(pool_id=pool, instance_type=kind, region=region, az=az, first=first.replace(tzinfo=UTC), buckets=count)
            for pool, kind, region, az, first, count in rows
        ]

    def write_buckets(self, pools: Sequence[Pool], file: Path) -> int:
        """The buckets of some pools as CSV without a header: pool, bucket start, type, region, price, source, rank,
        confidence, observed at, submission id. From each pool's first change to the last change of all; how many."""
        names = [pool.pool_id for pool in pools]
        written = self._one(_BUCKETS.format(file=str(file).replace("'", "''")), {"pools": names})
        return int(written[0])

    def _one(self, statement: str, values: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        row = self._db.execute(statement, values or {}).fetchone()
        assert row is not None
        return row


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None else None


_FLOOR: Final = f"epoch({{}})::bigint // {SECONDS} * {SECONDS}"

# a text without an offset is UTC (GR-5); a cast to ``timestamp`` would drop the offset of one that has it
INSTANT: Final = (
    "coalesce(make_timestamp(epoch_us(try_cast(seen as timestamptz))),"
    " make_timestamp(try_cast(try_cast(seen as double) * 1000000 as bigint)))"
)
# Rounded once, half-even, from the exact number (DQ-2, GR-6). A text with more decimals than fit keeps those that count
# and a last one that says whether any followed: the middle between two prices has seven.
_DECIMALS: Final = 34
_CUT: Final = r"regexp_replace(price, '(\." + r"\d" * (_DECIMALS - 1) + r")\d*[1-9]\d*', '\11')"
EXACT: Final = (
    f"try_cast(case when length(price) > {_DECIMALS + 2} then {_CUT} else price end as decimal(38, {_DECIMALS}))"
)
_NEAREST: Final = "try_cast(exact as decimal(18, 6))"  # the higher one of two
MICROS: Final = (
    f"({_NEAREST} * 1000000)::bigint - case when try_cast({_NEAREST} as decimal(38, {_DECIMALS})) - exact = 0.0000005"
    f" and ({_NEAREST} * 1000000)::bigint % 2 = 1 then 1 else 0 end"
)
NO_PRICE: Final = "exact is null or exact <= 0 or exact > 1000 or micros = 0"

_KIND: Final = r"[A-Za-z0-9.-]*[A-Za-z0-9-]\.[A-Za-z0-9-]+(:[a-z]+)?"  # as ``parse_pool`` has it
_ZONE: Final = "[A-Za-z0-9]+(-[A-Za-z0-9]+)+"

_JUDGED: Final = f"""
create table judged as
with read as (
    select *, {INSTANT} as instant, {EXACT} as exact from given
), rounded as (
    select *, {MICROS} as micros from read
), marked as (
    select r.* exclude (kind, product), r.kind || n.mark as kind, n.product is null as is_unknown
    from rounded r
    left join products n on n.product = regexp_replace(coalesce(r.product, '{PRODUCT}'), ' \\(Amazon VPC\\)$', '')
)
select kind || '.' || az as pool_id, kind, az, coalesce(nullif(regexp_replace(az, '[a-z]+$', ''), ''), az) as region,
    instant as seen, (micros::decimal(18, 6) / 1000000)::decimal(12, 6) as price,
    n.product,
    case when is_unknown then 'an unknown product description'
         when n.product is null or not regexp_full_match(coalesce(kind, ''), '{_KIND}')
             or not regexp_full_match(coalesce(az, ''), '{_ZONE}') then 'no type or no zone'
         when instant is null then 'the time cannot be read'
         when instant < $oldest then 'before there was EC2'
         when instant > $latest then 'in the future'
         when {NO_PRICE}
             then 'the price is not a number above 0 and up to 1,000'
    end as reason
from marked left join products n on n.mark = coalesce(regexp_extract(kind, ':.*$'), '')
"""

# P1, DQ-4: of two prices seen one instant the one with the smaller digest
_CHANGES: Final = """
create table changes as
select distinct on (pool_id, seen) pool_id, kind, region, az, product, seen, price
from (select distinct pool_id, kind, region, az, product, seen, price from judged where reason is null)
order by pool_id, seen,
    sha256(concat_ws('|', '', '', pool_id, product, strftime(seen, '%Y-%m-%dT%H:%M:%S+00:00'), price))
"""

_BUCKETS: Final = f"""
copy (
    with chosen as (select * from changes where pool_id in (select unnest($pools))),
    reach as (
        select pool_id, any_value(kind) as kind, any_value(region) as region, min(seen) as first
        from chosen group by pool_id
    ), grid as (
        select r.*, unnest(range({_FLOOR.format("r.first")},
                                 {_FLOOR.format("(select max(seen) from changes)")} + 1, {SECONDS})) as bucket
        from reach r
    ), held as (
        select g.pool_id, g.kind, g.region, g.bucket, s.product, s.price,
            greatest(s.seen, make_timestamp(g.bucket * 1000000)) as observed_at
        from grid g asof join chosen s
            on s.pool_id = g.pool_id and s.seen <= greatest(make_timestamp(g.bucket * 1000000), g.first)
    )
    select pool_id, strftime(make_timestamp(bucket * 1000000), '%Y-%m-%dT%H:%M:%SZ') as bucket_start, kind, region,
        price, '{SOURCE.value}', {RANK[SOURCE]}, {CONFIDENCE[SOURCE]},
        strftime(observed_at, '%Y-%m-%dT%H:%M:%S.%fZ') as observed_at,
        sha256(concat_ws('|', '', '', pool_id, product, strftime(observed_at, '%Y-%m-%dT%H:%M:%S+00:00'),
                         price))[:32]
    from held order by pool_id, bucket_start
) to '{{file}}' (format csv, header false)
"""


def _take(db: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Add a file's rows as texts, whatever its form."""
    if not path.is_file():
        raise UnreadableHistory(f"{path}: no such file")
    if _bare_name(path).endswith(JSON):
        with tempfile.TemporaryDirectory(prefix="spotcore-import-") as folder:
            rows = Path(folder) / "rows.csv"
            _unfold(path, rows)
            _insert(db, path, rows, CSV_SCAN)
        return
    require_whole(path)
    _insert(db, path, path, scan_of(path))


def _insert(db: duckdb.DuckDBPyConnection, path: Path, rows: Path, scan: str) -> None:
    try:
        file = {"file": str(rows)}
        names = [str(row[0]) for row in db.execute(f"describe select * from {scan}", file).fetchall()]
        columns = columns_of(names, path, ALIASES, NEEDED)
        chosen = ", ".join(
            f'cast("{columns[name]}" as text)' if name in columns else "null"
            for name in ("at", "kind", "az", "price", "product")
        )
        db.execute(f"insert into given select {chosen} from {scan}", file)
    except duckdb.Error as failure:
        raise UnreadableHistory(f"{path}: {' '.join(str(failure).split())[:300]}") from failure


def _unfold(path: Path, rows: Path) -> None:
    """The rows of AWS's pages, one page or many one after the other, read as a stream: a page may be huge."""
    try:
        with _pages(path) as pages, rows.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(AWS_NAMES)
            found = ijson.items(pages, "SpotPriceHistory.item", multiple_values=True)
            count = 0
            for count, row in enumerate(found, 1):  # noqa: B007
                writer.writerow([row.get(name) for name in AWS_NAMES])
        if count == 0 and not _is_history(path):
            raise UnreadableHistory(f"{path}: no SpotPriceHistory in it; use what describe-spot-price-history prints")
    except (*CUT_PACKED, ijson.JSONError, AttributeError) as failure:
        text = " ".join(str(failure).split())[:200]
        raise UnreadableHistory(
            f"{path}: no whole describe-spot-price-history page ({text}); fetch it again"
        ) from failure


def _pages(path: Path) -> IO[bytes]:
    """The file from its first brace on: some editors and shells put a byte order mark before it."""
    reader = gzip.open if path.name.lower().endswith(".gz") else open
    pages: IO[bytes] = reader(path, "rb")  # type: ignore[assignment]
    if pages.read(len(BOM_UTF8)) != BOM_UTF8:
        pages.seek(0)
    return pages


def _is_history(path: Path) -> bool:
    """True when there is a page, if only an empty one."""
    with _pages(path) as pages:
        events = ijson.parse(pages, multiple_values=True)
        return any(one == ("", "map_key", "SpotPriceHistory") for one in events)


def _bare_name(path: Path) -> str:
    return path.name.lower().removesuffix(".gz")


def scan_of(path: Path) -> str:
    """How DuckDB reads the file."""
    name = _bare_name(path)
    if name.endswith(".parquet"):
        return "read_parquet($file)"
    if name.endswith(TEXT):
        return CSV_SCAN
    raise UnreadableHistory(f"{path}: use .json (describe-spot-price-history), .csv, .parquet, or these with .gz")


def columns_of(
    names: Sequence[str], path: Path, aliases: Mapping[str, Sequence[str]], needed: Sequence[str]
) -> dict[str, str]:
    """Which of a file's columns is what, whatever their case; of several that could be one, the first alias. Raises
    ``UnreadableHistory`` that says what is missing."""
    known = {name.lower(): name for name in names}
    found = {wanted: known[alias] for wanted, some in aliases.items() for alias in reversed(some) if alias in known}
    missing = [name for name in needed if name not in found]
    if missing:
        words = "; ".join(f"{name}: {' or '.join(aliases[name])}" for name in missing)
        raise UnreadableHistory(f"{path}: columns missing ({words}); it has {', '.join(names)}")
    return found


def require_whole(path: Path) -> None:
    """A text that does not end its last line may have been cut in it, and a shorter price would look right."""
    name = path.name.lower()
    if not _bare_name(path).endswith(TEXT):
        return  # Parquet says itself that it is incomplete
    try:
        if name.endswith(".gz"):
            last = b""
            with gzip.open(path, "rb") as packed:
                while block := packed.read(1 << 20):
                    last = block[-1:]
        else:
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - 1, 0))
                last = file.read(1)
    except CUT_PACKED as failure:
        raise UnreadableHistory(f"{path}: the packed file is incomplete; fetch it again") from failure
    if last != b"\n":
        raise UnreadableHistory(
            f"{path}: its last line does not end, so it may have been cut; add a newline if it is whole"
        )
