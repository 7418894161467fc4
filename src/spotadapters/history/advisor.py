"""The cloud's Spot advisor: how often a market is interrupted a month and what it saves, as AWS publishes it.

The file has no date of its own. Its figures are about the last month per type, region and operating system, not per
zone; no rule uses them. Source of the form: https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json
"""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from attrs import frozen

from spotadapters.history.reading import CUT_PACKED, columns_of, require_whole
from spotadapters.history.refusals import UnreadableHistory

BANDS: Final = ("<5 %", "5-10 %", "10-15 %", "15-20 %", ">20 %")  # interrupted a month
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "region": ("region",),
    "type": ("instance_type", "type"),
    "band": ("interruption_band", "band", "r"),
    "savings": ("savings_percent", "savings_pct", "s"),
    "os": ("os", "operating_system"),
    "as_of": ("as_of", "snapshot", "date"),
}
NEEDED: Final = ("region", "type", "band", "savings")


@frozen(kw_only=True)
class Advice:
    """One market in one snapshot."""

    region: str
    os: str
    instance_type: str
    as_of: date
    band: int  # place in BANDS
    savings_percent: int  # against on-demand


def read_advice(file: Path, as_of: date) -> tuple[list[Advice], list[str]]:
    """Markets of a file (AWS's JSON, or CSV; either may be packed with gzip), and what is wrong with the others.

    ``as_of`` dates rows that carry no date. Raises ``UnreadableHistory`` for a file that is cut or something else."""
    try:
        if file.name.lower().removesuffix(".gz").endswith(".json"):
            with _opened(file) as text:
                found: Iterable[tuple[str, Mapping[str, Any]]] = list(_of_json(json.load(text), file))
        else:
            require_whole(file)
            with _opened(file) as text:
                found = list(_of_csv(csv.DictReader(text), file))
    except (*CUT_PACKED, UnicodeDecodeError, json.JSONDecodeError, RecursionError, csv.Error) as failure:
        raise UnreadableHistory(f"{file}: not a whole advisor file ({failure}); fetch it again") from failure
    good: dict[tuple[str, str, str, date], Advice] = {}
    bad: list[str] = []
    for place, row in found:
        advice = _judged(row, as_of)
        if isinstance(advice, str):
            bad.append(f"{place}: {advice}")
        else:
            good[advice.instance_type, advice.region, advice.os, advice.as_of] = advice
    return list(good.values()), bad


def load_advice(
    connection: psycopg.Connection[tuple[Any, ...]], rows: Sequence[Advice], source: str, now: datetime
) -> int:
    """Keep a snapshot; how many rows are new or changed. The same again changes nothing. Commits nothing."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into spot_advice (region, os, instance_type, as_of, band, savings_percent, source, imported_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (instance_type, region, os, as_of) do update"
            " set band = excluded.band, savings_percent = excluded.savings_percent, source = excluded.source,"
            " imported_at = excluded.imported_at"
            " where (spot_advice.band, spot_advice.savings_percent) <> (excluded.band, excluded.savings_percent)",
            [
                (one.region, one.os, one.instance_type, one.as_of, one.band, one.savings_percent, source, now)
                for one in sorted(rows, key=lambda one: (one.instance_type, one.region, one.os, one.as_of))
            ],
        )
        return cursor.rowcount


def known_advice(
    connection: psycopg.Connection[tuple[Any, ...]], instance_type: str, region: str | None
) -> list[Advice]:
    """The newest snapshot of each of a type's markets, least interrupted first."""
    rows = connection.execute(
        "select * from (select distinct on (region, os) region, os, as_of, band, savings_percent from spot_advice"
        " where instance_type = %(type)s and (region = %(region)s or %(region)s::text is null)"
        " order by region, os, as_of desc) newest order by band, savings_percent desc, region, os",
        {"type": instance_type, "region": region},
    ).fetchall()
    return [
        Advice(region=place, os=os, instance_type=instance_type, as_of=at, band=band, savings_percent=savings)
        for place, os, at, band, savings in rows
    ]


def _opened(file: Path) -> Any:
    opener: Any = gzip.open if file.name.lower().endswith(".gz") else open
    return opener(file, "rt", encoding="utf-8-sig", newline="")


def _of_json(data: Any, file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    regions = data.get("spot_advisor") if isinstance(data, dict) else None
    if not isinstance(regions, dict):
        raise UnreadableHistory(f"{file}: no spot_advisor in it; fetch spot-advisor-data.json again")
    ranges = data.get("ranges")
    bands = ranges if isinstance(ranges, list) else []
    indexes = [one.get("index") if isinstance(one, dict) else None for one in bands]
    if sorted(map(str, indexes)) != [str(number) for number in range(len(BANDS))]:
        raise UnreadableHistory(f"{file}: its ranges are {indexes}, not the five known ones ({', '.join(BANDS)})")
    for region, systems in regions.items():
        for os, types in systems.items() if isinstance(systems, dict) else ():
            for kind, facts in types.items() if isinstance(types, dict) else ():
                known = facts if isinstance(facts, dict) else {}
                row = {"region": region, "os": os, "type": kind, "band": known.get("r"), "savings": known.get("s")}
                yield f"{region} {os} {kind}", row


def _of_csv(table: "csv.DictReader[str]", file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    names = columns_of(table.fieldnames or (), file, NAMES, NEEDED)
    for number, row in enumerate(table, 2):
        yield f"line {number}", {name: row[column] for name, column in names.items()}


def _judged(row: Mapping[str, Any], as_of: date) -> Advice | str:
    band, savings = _whole(row.get("band")), _whole(row.get("savings"))
    at = _day(row.get("as_of"), as_of)
    if not row.get("region") or not row.get("type"):
        return "no region or no type"
    if band is None or not 0 <= band < len(BANDS):
        return f"{row.get('band')!r} is no interruption band; use 0 to {len(BANDS) - 1}"
    if savings is None or not 0 <= savings <= 100:
        return f"{row.get('savings')!r} is no percentage of savings; use a whole number from 0 to 100"
    if at is None:
        return f"{row.get('as_of')!r} is no date; use 2024-02 or 2024-02-01"
    return Advice(
        region=row["region"], os=row.get("os") or "Linux", instance_type=row["type"], as_of=at, band=band,
        savings_percent=savings,
    )  # fmt: skip


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def _day(text: str | None, otherwise: date) -> date | None:
    if not text:
        return otherwise
    try:
        return date.fromisoformat(text if len(text) > 7 else f"{text}-01")
    except ValueError:
        return None
