"""The ledger on PostgreSQL."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import frozen
from psycopg.types.json import Jsonb

from spotadapters.postgres.errors import translated
from spotadapters.postgres.pool import Connection
from spotadapters.postgres.queries import query
from spotadapters.postgres.reader import Reader
from spotadapters.postgres.rows import CONVERTER, from_row, loads
from spotcore.builds import Build
from spotcore.errors import InvariantViolated
from spotcore.ids import ClientId, InstanceId
from spotcore.instances import Instance
from spotcore.instants import read_instant
from spotcore.ledger import Entry, Line, Revision
from spotcore.ports.ledger import Accruing, OndemandPrices, TypeInRegion
from spotcore.pricing import Bucket, ListPrice, OndemandPrice
from spotcore.switches import PrimaryPeriod
from spotcore.tenure import Role, Tenure

LINES = 2_000  # written by one statement, which may take 4 s


class PostgresLedger:
    """``LedgerStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def clients(self) -> Sequence[ClientId]:
        return [row[0] for row in self._connection.execute(query("ledger_clients"))]

    def hold(self, client_id: ClientId) -> bool:
        row = self._connection.execute(query("ledger_hold"), {"client_id": client_id}).fetchone()
        return bool(row and row[0])

    def accruing(
        self, client_id: ClientId, changed_since: datetime, after: InstanceId | None, limit: int
    ) -> Sequence[Accruing]:
        values = {"client_id": client_id, "changed_since": changed_since, "after": after or "", "limit": limit}
        with translated():
            rows = self._connection.execute(query("ledger_accruing"), values).fetchall()
        return [_accruing(loads(row[0])) for row in rows]

    def entries(
        self, client_id: ClientId, instance_ids: Collection[InstanceId], since: datetime
    ) -> Mapping[InstanceId, Sequence[Entry]]:
        found: dict[InstanceId, list[Entry]] = defaultdict(list)
        values = {"client_id": client_id, "instance_ids": sorted(instance_ids), "since": since}
        with translated():
            for (text,) in self._connection.execute(query("ledger_entries"), values):
                entry = _entry(loads(text))
                found[entry.line.instance_id].append(entry)
        return found

    def costs(
        self, client_id: ClientId, instance_ids: Collection[InstanceId], role: Role
    ) -> Mapping[InstanceId, Decimal]:
        values = {"client_id": client_id, "instance_ids": sorted(instance_ids), "role": role.value}
        with translated():
            rows = self._connection.execute(query("ledger_costs"), values).fetchall()
        return {InstanceId(name): total for name, total in rows if total is not None}

    def spot(self, pool_ids: Collection[str], since: datetime, until: datetime) -> Mapping[str, Sequence[Bucket]]:
        found: dict[str, list[Bucket]] = defaultdict(list)
        values = {"pool_ids": sorted(pool_ids), "since": since, "until": until}
        with translated():
            for pool_id, start, price, filled, last in self._connection.execute(query("ledger_spot"), values):
                found[pool_id].append(Bucket(start, price, filled=filled, last=last))
        return found

    def ondemand(self, wanted: Collection[TypeInRegion]) -> Mapping[TypeInRegion, OndemandPrices]:
        listed: dict[TypeInRegion, list[ListPrice]] = defaultdict(list)
        observed: dict[TypeInRegion, list[OndemandPrice]] = defaultdict(list)
        keys = sorted(wanted)
        values = {"types": [one for one, _ in keys], "regions": [one for _, one in keys]}
        with translated():
            rows = self._connection.execute(query("ledger_ondemand"), values).fetchall()
        for kind, region, flagged, at, price in rows:
            if flagged is None:
                listed[kind, region].append(ListPrice(price, at))
            else:
                observed[kind, region].append(OndemandPrice(at, price, flagged))
        return {key: OndemandPrices(listed=listed[key], observed=observed[key]) for key in keys}

    def write(self, client_id: ClientId, revision: Revision, recorded_at: datetime) -> None:
        with translated():
            if revision.remove:
                gone = self._connection.execute(
                    query("ledger_remove"), {"client_id": client_id, "line_ids": list(revision.remove)}
                ).rowcount
                if gone != len(revision.remove):  # GR-3: zero rows changed is never a success
                    raise InvariantViolated("a line of the ledger went away in between")
            for some in batched(revision.add, LINES):
                rows = [_row(line, recorded_at) for line in some]
                self._connection.execute(query("ledger_add"), {"rows": Jsonb(rows)})

    def seal(self, client_id: ClientId, final: datetime, now: datetime) -> int:
        values = {"client_id": client_id, "final": final, "now": now}
        with translated():
            row = self._connection.execute(query("ledger_seal"), values).fetchone()
        return int(row[0]) if row else 0


def _accruing(data: dict[str, Any]) -> Accruing:
    return Accruing(
        tenure=Tenure(
            instance=from_row(data["instance"], Instance),
            build=Build(data["build"]),
            periods=tuple(from_row(one, PrimaryPeriod) for one in data["periods"] or ()),
            registered_ondemand_price=_decimal(data["registered_ondemand_price"]),
        ),
        lines_end=read_instant(data["lines_end"]),
    )


def batched(lines: Sequence[Line], size: int) -> Iterator[Sequence[Line]]:
    """In order, at most so many at once."""
    for start in range(0, len(lines), size):
        yield lines[start : start + size]


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(line_id=row["line_id"], line=from_row(row, Line))


def _row(line: Line, recorded_at: datetime) -> dict[str, Any]:
    row: dict[str, Any] = CONVERTER.unstructure(line)
    amounts = {"baseline": line.baseline, "cost": line.cost, "saving": line.saving}
    row |= {name: str(value) if value is not None else None for name, value in amounts.items()}
    return {**row, "recorded_at": recorded_at.isoformat()}


@frozen(kw_only=True)
class LedgerSeal:
    """A seal over final lines, and whether they still fit it and it follows the one before."""

    seal_no: int
    sealed_at: datetime
    lines: int
    digest: str
    is_chained: bool
    missing: int
    is_whole: bool

    @property
    def trouble(self) -> str | None:
        """What is wrong, in words; None when nothing is."""
        if not self.is_chained:
            return "does not follow the seal before it: a seal is missing or was changed"
        if self.missing:
            return f"{self.missing} of its lines are missing" if self.missing > 0 else "lines were put in later"
        return None if self.is_whole else "a line was changed"


@frozen(kw_only=True)
class Explained:
    """A line and its machine: ``cloud_id``, ``instance_type``, ``region``, ``az``, and the ``logical_agent_id``."""

    entry: Entry
    machine: Mapping[str, Any]


class LedgerReads(Reader):
    """The ledger as people check it."""

    def sealed_clients(self) -> list[ClientId]:
        """Clients with final lines, by id."""
        return [ClientId(row["client_id"]) for row in self.rows("ledger_sealed_clients", dict)]

    def verify(self, client_id: ClientId) -> list[LedgerSeal]:
        """Every seal of a client in order, looked at."""
        return self.rows("ledger_check", LedgerSeal, client_id=client_id)

    def lines(self, client_id: ClientId, since: datetime, until: datetime) -> list[Explained]:
        """Every line that starts in the time, by agent and time."""
        rows = self.rows("ledger_month", dict, client_id=client_id, since=since, until=until)
        return [Explained(entry=_entry(row["line"]), machine=row["machine"]) for row in rows]

    def price_rows(self, pool_id: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """The winners of a pool's buckets that were in force in the time, oldest first."""
        return self.rows("ledger_price_rows", dict, pool_id=pool_id, since=since, until=until)
