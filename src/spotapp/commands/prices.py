"""``spotcore prices``: history in and out, gaps, pictures, price lists, Spot advisor. On the database itself."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import click
from attrs import asdict
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from spotadapters.postgres.ledger import LedgerReads
from spotapp.commands.database import Local, local
from spotapp.commands.options import output_option
from spotapp.commands.screen import Screen
from spotapp.failures import console, one_line_failures
from spotcore.gaps import find_gaps
from spotcore.instants import read_instant
from spotcore.money import hourly_price
from spotcore.pools import parse_pool
from spotcore.pricing import ondemand_series

GAP_COLUMNS: Final = {
    "pool": "pool_id", "after": "after", "until": "until", "buckets": "buckets", "filled": "filled", "level": "level",
}  # fmt: skip
ADVICE_COLUMNS: Final = {
    "region": "region", "os": "os", "interrupted a month": "interrupted", "savings %": "savings_percent",
    "as of": "as_of",
}  # fmt: skip
TYPE_NAMES: Final = ("instance_type", "type", "InstanceType")
REGION_NAMES: Final = ("region", "Region")
PRICE_NAMES: Final = ("price", "od_usd_h", "ondemand_price", "price_usd_h")
SINCE_NAMES: Final = ("since", "as_of", "date", "effective_date")


class Instant(click.ParamType[datetime]):
    """A time in UTC, or so many days ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant."""
        if isinstance(value, datetime):
            return value
        try:
            if value.endswith("d") and value[:-1].isdecimal():
                return datetime.now(UTC) - timedelta(days=int(value[:-1]))
            return in_utc(datetime.fromisoformat(value))
        except (ValueError, OverflowError):
            self.fail("use 2026-03-01, 2026-03-01T12:00Z or 7d (days ago)", param, ctx)


def in_utc(at: datetime) -> datetime:
    """The instant; without an offset it is UTC already. Raises ``OverflowError`` at either end of the calendar."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


INSTANT: Final = Instant()
since_option = click.option("--since", type=INSTANT, default="7d", show_default=True, help="From then on.")
until_option = click.option("--until", type=INSTANT, default="0d", help="Up to then.  [default: now]")


@click.group()
def prices() -> None:
    """Spot price history: import, export, gaps, plot; price lists, Spot advisor. On the database itself."""


@prices.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path, dir_okay=False))
@local
def import_history(here: Local, files: tuple[Path, ...]) -> None:
    """Bring Spot price changes in: describe-spot-price-history JSON, CSV or Parquet.

    A price holds until the pool's next change. Nothing is written unless every file can be read to its end; what is
    interrupted leaves nothing; the same files again change nothing. Agents' own reports always win over history.

    \b
    Example:
      spotcore prices import history.json more.csv.gz
    """
    from spotadapters.history.loading import Imported, importing, load
    from spotadapters.history.reading import History

    with History(files, here.clock.now()) as history, importing(here.connections.database_url) as connection:
        found = history.summary()
        total = sum(pool.buckets for pool in history.pools())
        done = Imported(buckets=0, won=0)
        with _bar() as bar:
            task = bar.add_task(f"{found.changes} changes in {found.pools} pools", total=total or None)
            for step in load(history, connection):
                if isinstance(step, Imported):
                    done = step
                else:
                    bar.update(task, completed=step.done)
    if found.first is not None and found.last is not None:
        here.plane.pipeline.run(received_since=found.first, since=found.first)
    facts = {**asdict(found), "first": _text(found.first), "last": _text(found.last), **asdict(done)}
    here.screen.facts(facts)


@prices.command("list-import")
@click.argument("file", type=click.Path(exists=True, path_type=Path, dir_okay=False))
@click.option(
    "--since", type=INSTANT, help="From when the prices count; from ever when neither this nor the file says."
)
@local
def import_list(here: Local, file: Path, since: datetime | None) -> None:
    """Bring an on-demand price list in (CSV with type, region and price). It outranks what agents report.

    \b
    Example:
      spotcore prices list-import ondemand.csv --since 2026-01-01
    """
    from spotadapters.history.loading import importing, load_price_list

    rows, rejected = _listed(file, since)
    with importing(here.connections.database_url) as connection:
        changed = load_price_list(connection, rows, file.name, here.clock.now())
    data = {"rows": len(rows) + len(rejected), "new_or_changed": changed, "rejected": rejected}
    here.screen.facts(data, {**data, "rejected": len(rejected)})
    if rejected and not here.screen.is_json:
        click.echo("\n".join(rejected[:10]), err=True)


@prices.command("advisor-import")
@click.argument("file", type=click.Path(exists=True, path_type=Path, dir_okay=False))
@click.option("--as-of", type=INSTANT, default="0d", help="Day of rows that carry none.  [default: today]")
@local
def import_advisor(here: Local, file: Path, as_of: datetime) -> None:
    """Bring in what AWS publishes about interruptions and savings (spot-advisor-data.json, or CSV).

    \b
    Example:
      spotcore prices advisor-import spot-advisor-data.json
    """
    from spotadapters.history.advisor import load_advice, read_advice
    from spotadapters.history.loading import importing

    rows, rejected = read_advice(file, as_of.astimezone(UTC).date())
    with importing(here.connections.database_url) as connection:
        changed = load_advice(connection, rows, file.name, here.clock.now())
    data = {"markets": len(rows), "new_or_changed": changed, "rejected": rejected}
    here.screen.facts(data, {**data, "rejected": len(rejected)})
    if rejected and not here.screen.is_json:
        click.echo("\n".join(rejected[:10]), err=True)


@prices.command()
@click.argument("instance_type")
@click.option("--region", help="Only this one.")
@local
def advisor(here: Local, instance_type: str, region: str | None) -> None:
    """How often a type was interrupted a month and what it saved, as AWS last published it. Least interrupted first.

    The figures are of a region, not of a pool, and no decision rests on them.

    \b
    Example:
      spotcore prices advisor m5.large --region us-east-1
    """
    from spotadapters.history.advisor import BANDS, known_advice

    with here.connections.connection() as connection:
        known = known_advice(connection, instance_type, region)
    rows = [
        {
            "region": one.region,
            "os": one.os,
            "interrupted": BANDS[one.band],
            "savings_percent": one.savings_percent,
            "as_of": one.as_of.isoformat(),
        }
        for one in known
    ]
    here.screen.rows(
        rows, rows, ADVICE_COLUMNS,
        empty=f"nothing is known of {instance_type}; bring it in with: spotcore prices advisor-import",
    )  # fmt: skip


@prices.command()
@click.option("--to", "file", required=True, type=click.Path(path_type=Path, dir_okay=False), help=".csv or .parquet")
@click.option("--pool", "pools", multiple=True, metavar="POOL", help="Only this pool; may be repeated.")
@click.option("--raw", is_flag=True, help="Every accepted observation instead of the buckets made of them.")
@since_option
@until_option
@local
def export(here: Local, file: Path, pools: tuple[str, ...], raw: bool, since: datetime, until: datetime) -> None:
    """Write clean buckets with their source and confidence to a file, or what was reported.

    \b
    Example:
      spotcore prices export --to prices.parquet --since 30d --pool m5.large.us-east-1a
      spotcore prices export --to raw.parquet --since 30d --raw
    """
    from spotadapters.history.exporting import CLEAN, RAW, export_rows

    wanted = [parse_pool(one).pool_id for one in pools] or None
    size = export_rows(here.connections.database_url, RAW if raw else CLEAN, file, since, until, wanted)
    here.screen.done({"file": str(file), "bytes": size}, f"{size} bytes in {file}")


@prices.command("clean")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path, dir_okay=False))
@click.option("--to", "file", required=True, type=click.Path(path_type=Path, dir_okay=False), help=".csv or .parquet")
@output_option
@click.pass_obj
def clean_files(debug: bool, files: tuple[Path, ...], file: Path, output: str) -> None:
    """Make clean buckets of files of raw observations (CSV or Parquet): winners, doubts, fills. Without any database.

    Columns: pool_id, observed_at, price; source and submission_id where known. What an agent's reports became can be
    computed again so, and compared.

    \b
    Example:
      spotcore prices clean raw.parquet --to clean.parquet
    """
    with one_line_failures(debug):
        from spotadapters.history.cleaning import Observations

        with Observations(files, datetime.now(UTC)) as observations:
            found = observations.summary()
            with _bar() as bar:
                task = bar.add_task(
                    f"{found.accepted} observations of {found.pools} pools", total=found.accepted or None
                )
                for step in observations.clean():
                    bar.update(task, completed=step.done)
            buckets = observations.write(file)
        Screen(output).facts({**asdict(found), "buckets": buckets, "file": str(file)})


@prices.command()
@click.argument("pool")
@since_option
@local
def gaps(here: Local, pool: str, since: datetime) -> None:
    """Where nobody measured a pool, and whether it was filled.

    \b
    Example:
      spotcore prices gaps m5.large.us-east-1a --since 2d
    """
    known = parse_pool(pool)
    with here.wiring.storage.transactions() as uow:
        series = uow.prices.measured((known.instance_type, known.region), since).get(known.pool_id, {})
    found = [
        {
            "pool_id": known.pool_id,
            "after": gap.before.isoformat(),
            "until": gap.after.isoformat(),
            "buckets": gap.missing,
            "filled": gap.is_filled,
            "level": gap.level.value if gap.level is not None else None,
        }
        for gap in find_gaps(known.pool_id, series)
    ]
    here.screen.rows(found, found, GAP_COLUMNS, empty="no gaps" if series else "nothing was measured in this time")


@prices.command()
@click.argument("pool")
@click.option("--to", "file", required=True, type=click.Path(path_type=Path, dir_okay=False), help=".png or .svg")
@since_option
@until_option
@local
def plot(here: Local, pool: str, file: Path, since: datetime, until: datetime) -> None:
    """Draw a pool's price, fills and doubts marked, on-demand beside it.

    \b
    Example:
      spotcore prices plot m5.large.us-east-1a --to pool.png --since 3d
    """
    from spotadapters.history.plotting import Point
    from spotadapters.history.plotting import plot as draw

    known = parse_pool(pool)
    rows = LedgerReads(here.connections, here.clock).price_rows(known.pool_id, since, until)
    points = [
        Point(start=at, price=row["price"], filled=row["source"] == "interpolated", doubtful=bool(row["discrepancy"]))
        for row in rows
        if (at := read_instant(row["bucket_start"])) is not None
    ]
    if not points:
        raise click.ClickException(f"no prices of {known.pool_id} in this time; list pools with: spotcore pools list")
    with here.wiring.storage.transactions() as uow:
        key = (known.instance_type, known.region)
        prices_known = uow.ledger.ondemand([key])[key]
    listed = ondemand_series(prices_known.listed, prices_known.observed).at(until).price
    draw(known.pool_id, points, listed, file)
    here.screen.done({"file": str(file), "buckets": len(points)}, f"{len(points)} buckets in {file}")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console,
        transient=True,
    )  # fmt: skip


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _listed(file: Path, since: datetime | None) -> tuple[list[tuple[str, str, Decimal, datetime | None]], list[str]]:
    """Rows that can be right, and what is wrong with the others. Raises ``UnreadableHistory`` for a file that is cut or
    in another encoding."""
    from spotadapters.history.reading import require_whole
    from spotadapters.history.refusals import UnreadableHistory

    require_whole(file)
    try:
        return _rows_listed(file, since)
    except (UnicodeDecodeError, csv.Error) as failure:
        raise UnreadableHistory(f"{file}: not a table in UTF-8 ({failure})") from failure


def _rows_listed(
    file: Path, since: datetime | None
) -> tuple[list[tuple[str, str, Decimal, datetime | None]], list[str]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        table = csv.DictReader(text)
        names = {name: _first(table.fieldnames or (), wanted) for name, wanted in
                 {"type": TYPE_NAMES, "region": REGION_NAMES, "price": PRICE_NAMES}.items()}  # fmt: skip
        missing = [name for name, found in names.items() if found is None]
        if missing:
            raise click.ClickException(f"{file}: columns missing: {', '.join(missing)}; it has {table.fieldnames}")
        dated = _first(table.fieldnames or (), SINCE_NAMES)
        good: list[tuple[str, str, Decimal, datetime | None]] = []
        bad: list[str] = []
        for number, row in enumerate(table, 2):
            kind, region = row[names["type"] or ""], row[names["region"] or ""]
            price = _price(row[names["price"] or ""])
            said = row[dated] if dated is not None and since is None else None
            at = _date(said) if said else since
            if not kind or not region:
                bad.append(f"line {number}: no type or no region")
            elif price is None:
                bad.append(f"line {number}: {row[names['price'] or '']!r} is no price above 0 and up to 1,000")
            elif said and at is None:  # not from ever: that would price years anew
                bad.append(f"line {number}: {said!r} is no date; use 2026-01 or 2026-01-01")
            else:
                good.append((kind, region, price, at))
    return good, bad


def _first(names: Any, wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _price(text: str | None) -> Decimal | None:
    try:
        return hourly_price(Decimal(text or ""))
    except InvalidOperation:
        return None


def _date(text: str) -> datetime | None:
    """A date, a month or an instant, UTC unless it says another offset; None when it cannot be read."""
    try:
        return in_utc(datetime.fromisoformat(text if len(text) > 7 else f"{text}-01"))
    except (ValueError, OverflowError):
        return None
