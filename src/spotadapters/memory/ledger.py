"""The ledger in memory."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from spotcore import prices
from spotcore.errors import InvariantViolated
from spotcore.ids import ClientId, InstanceId
from spotcore.ledger import Entry, Line, Revision
from spotcore.money import amount
from spotcore.ports.ledger import Accruing, OndemandPrices, TypeInRegion
from spotcore.pricing import Bucket, OndemandPrice, Quality
from spotcore.tenure import Role, Tenure

if TYPE_CHECKING:
    from spotadapters.memory.store import Journal


class MemoryLedger:
    """``LedgerStore``. The one lock over the tables holds every client; price lists are not imported here."""

    def __init__(self, journal: "Journal") -> None:
        self._journal = journal
        self._tables = journal.tables

    def clients(self) -> Sequence[ClientId]:
        return sorted({row.client.client_id for row in self._tables.agents.values()})

    def hold(self, client_id: ClientId) -> bool:
        return True

    def accruing(
        self, client_id: ClientId, changed_since: datetime, after: InstanceId | None, limit: int
    ) -> Sequence[Accruing]:
        ends: dict[InstanceId, datetime] = {}
        for one in self._of(client_id):
            ends[one.line.instance_id] = max(one.line.ended_at, ends.get(one.line.instance_id, one.line.ended_at))
        found = sorted(self._tenures(client_id), key=lambda one: one.instance.instance_id)
        later = [
            Accruing(tenure=one, lines_end=ends.get(one.instance.instance_id))
            for one in found
            if after is None or one.instance.instance_id > after
        ]
        return [one for one in later if _may_change(one, changed_since)][:limit]

    def _tenures(self, client_id: ClientId) -> Iterator[Tenure]:
        for row in self._tables.agents.values():
            if row.client.client_id != client_id:
                continue
            for instance in row.instances.values():
                if instance.cloud_id is not None:
                    yield Tenure(
                        instance=instance,
                        build=row.agent.build,
                        periods=tuple(one for one in row.periods if one.instance_id == instance.instance_id),
                        registered_ondemand_price=row.agent.registered_ondemand_price,
                    )

    def _of(self, client_id: ClientId) -> list[Entry]:
        return [one for one in self._tables.ledger.values() if one.line.client_id == client_id]

    def entries(
        self, client_id: ClientId, instance_ids: Collection[InstanceId], since: datetime
    ) -> Mapping[InstanceId, Sequence[Entry]]:
        found: dict[InstanceId, list[Entry]] = defaultdict(list)
        for one in sorted(self._of(client_id), key=lambda one: (one.line.started_at, one.line_id)):
            if one.line.instance_id in instance_ids and one.line.started_at >= since:
                found[one.line.instance_id].append(one)
        return found

    def costs(
        self, client_id: ClientId, instance_ids: Collection[InstanceId], role: Role
    ) -> Mapping[InstanceId, Decimal]:
        found: dict[InstanceId, Decimal] = {}
        for one in self._of(client_id):
            line = one.line
            priced = line.role is role and line.quality is not Quality.UNPRICED
            if line.instance_id in instance_ids and priced and line.paid_price is not None:
                found[line.instance_id] = found.get(line.instance_id, Decimal(0)) + line.paid_price * line.hours
        return {name: amount(total) for name, total in found.items()}

    def spot(self, pool_ids: Collection[str], since: datetime, until: datetime) -> Mapping[str, Sequence[Bucket]]:
        found = {
            pool_id: [
                Bucket(start, row.observation.price)
                for start, row in self._tables.buckets.get(pool_id, {}).items()
                if since < start < until
            ]
            for pool_id in pool_ids
        }
        for (pool_id, start), filled in self._tables.fills.items():
            measured = self._tables.buckets.get(pool_id, {})
            if pool_id in found and since < start < until and start not in measured:
                found[pool_id].append(Bucket(start, filled.price, filled=True))
        return found

    def ondemand(self, wanted: Collection[TypeInRegion]) -> Mapping[TypeInRegion, OndemandPrices]:
        observed: dict[TypeInRegion, list[OndemandPrice]] = defaultdict(list)
        for _, row in self._tables.ondemand_history.values():
            at = prices.bucket_start(row.observed_at)
            observed[row.instance_type, row.region].append(OndemandPrice(at, row.price, row.flagged))
        return {key: OndemandPrices(observed=observed[key]) for key in wanted}

    def write(self, client_id: ClientId, revision: Revision, recorded_at: datetime) -> None:
        if set(revision.remove) & self._tables.sealed_lines.keys():
            raise InvariantViolated("a sealed line of the ledger never changes")  # SV-7
        if not set(revision.remove) <= {one.line_id for one in self._of(client_id)}:
            raise InvariantViolated("a line of the ledger went away in between")  # GR-3
        self._journal.drop(self._tables.ledger, revision.remove)
        for line in revision.add:
            if line.adjusts is None and self._overlaps(line):
                raise InvariantViolated("I9: lines of one machine overlap")
            name = str(next(self._tables.line_numbers))
            self._journal.put(self._tables.ledger, name, Entry(line_id=name, line=line))

    def _overlaps(self, line: Line) -> bool:
        return any(
            one.line.instance_id == line.instance_id
            and one.line.adjusts is None
            and one.line.started_at < line.ended_at
            and line.started_at < one.line.ended_at
            for one in self._tables.ledger.values()
        )

    def seal(self, client_id: ClientId, final: datetime, now: datetime) -> int:
        fresh = [
            one.line_id
            for one in self._of(client_id)
            if one.line.started_at < final and one.line_id not in self._tables.sealed_lines
        ]
        for name in fresh:
            self._journal.put(self._tables.sealed_lines, name, now)
        return len(fresh)


def _may_change(one: Accruing, changed_since: datetime) -> bool:
    """True while the machine costs, for some time after its end, and until it has all its lines."""
    ended = one.tenure.instance.terminated_at or one.tenure.instance.released_at
    return ended is None or ended >= changed_since or one.lines_end is None or one.lines_end < ended
