"""The accrual of the ledger: from what happened and what was observed to lines of money (7.3)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from attrs import define, evolve, field, frozen

from spotcore import ledger
from spotcore.ids import ClientId, InstanceId
from spotcore.ledger import Entry, Revision
from spotcore.pools import pool_of
from spotcore.ports.ledger import Accruing, LedgerStore, OndemandPrices, TypeInRegion
from spotcore.pricing import HELD, NO_PRICES, Series, ondemand_series, spot_series
from spotcore.service.kernel import Kernel
from spotcore.tenure import Tenure

BATCH: Final = 500  # machines in one transaction


@frozen(kw_only=True)
class Accrued:
    """What a run did."""

    machines: int = 0
    added: int = 0
    removed: int = 0
    sealed: int = 0
    failed: tuple[tuple[ClientId, str], ...] = ()  # clients whose turn ended in an error (JB-4)


@define
class _Prices:
    """Series of one run, read once."""

    since: datetime
    until: datetime
    spot: dict[str, Series] = field(factory=dict)
    ondemand: dict[TypeInRegion, OndemandPrices] = field(factory=dict)

    def learn(self, store: LedgerStore, tenures: Sequence[Tenure], since: datetime) -> None:
        """Read what these machines need and is not known yet."""
        if since < self.since:
            self.spot.clear()
            self.since = since
        pools = {pool for one in tenures if (pool := _pool(one)) is not None} - self.spot.keys()
        if pools:
            found = store.spot(pools, self.since - HELD, self.until)
            self.spot.update({pool: spot_series(found.get(pool, ())) for pool in pools})
        wanted = {key for one in tenures if (key := _type(one)) is not None} - self.ondemand.keys()
        if wanted:
            known = store.ondemand(wanted)
            self.ondemand.update({key: known.get(key, OndemandPrices()) for key in wanted})

    def of_pool(self, pool_id: str) -> Series:
        return self.spot.get(pool_id, NO_PRICES)

    def of_machine(self, tenure: Tenure) -> Series:
        key = _type(tenure)
        known = self.ondemand[key] if key is not None else OndemandPrices()
        return ondemand_series(known.listed, known.observed, tenure.registered_ondemand_price)


def _pool(tenure: Tenure) -> str | None:
    row = tenure.instance
    pool = pool_of(row.instance_type, row.az)
    return row.pool_id or (pool.pool_id if pool else None)


def _type(tenure: Tenure) -> TypeInRegion | None:
    row = tenure.instance
    pool = pool_of(row.instance_type, row.az)
    region = row.region or (pool.region if pool else None)
    return (row.instance_type, region) if row.instance_type and region else None


@frozen
class Savings:
    """What was really paid and saved."""

    kernel: Kernel

    def accrue(self, limit: int = BATCH) -> Accrued:
        """Bring every client's lines up to now − 15 min (SV-6), rebuild provisional ones, correct final ones by
        adjustment (SV-7), and seal what is final. Twice adds nothing; two at once do the work once (I9).

        A client that fails is reported and skipped; the others go on (JB-4)."""
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            clients = uow.ledger.clients()
        prices = _Prices(since=now, until=now)
        total = Accrued()
        for client_id in clients:
            try:
                done = self._client(client_id, now, prices, limit)
            except Exception as failure:  # one client's trouble is never another's
                done = Accrued(failed=((client_id, f"{type(failure).__name__}: {failure}"),))
            total = _sum(total, done)
        return total

    def _client(self, client_id: ClientId, now: datetime, prices: _Prices, limit: int) -> Accrued:
        total, after = Accrued(), None
        while True:
            with self.kernel.transactions() as uow:
                store = uow.ledger
                if not store.hold(client_id):
                    return total
                batch = store.accruing(client_id, now - ledger.LATE, after, limit)
                total = _sum(total, _batch(store, client_id, batch, now, prices))
                if len(batch) < limit:
                    return _sum(total, Accrued(sealed=store.seal(client_id, ledger.final_before(now), now)))
                after = batch[-1].tenure.instance.instance_id


def _batch(
    store: LedgerStore, client_id: ClientId, batch: Sequence[Accruing], now: datetime, prices: _Prices
) -> Accrued:
    due = [
        (one.tenure, place) for one in batch if (place := ledger.stretch(one.tenure, one.lines_end, now)) is not None
    ]
    if not due:
        return Accrued(machines=len(batch))
    earliest = min(since for _, (since, _) in due)
    prices.learn(store, [tenure for tenure, _ in due], earliest)
    ids: list[InstanceId] = [tenure.instance.instance_id for tenure, _ in due]
    known = store.entries(client_id, ids, earliest)
    remove: list[str] = []
    add: list[ledger.Line] = []
    for tenure, (since, until) in due:
        wanted = ledger.accrue(tenure, prices.of_pool, prices.of_machine, since, until)
        standing: list[Entry] = [one for one in known.get(tenure.instance.instance_id, ()) if one.line.day >= since]
        revision = ledger.revise(standing, wanted, ledger.final_before(now))
        remove += revision.remove
        add += revision.add
    revision = Revision(remove=tuple(remove), add=tuple(add))
    if not revision.is_empty:
        store.write(client_id, revision, now)
    return Accrued(machines=len(batch), added=len(add), removed=len(remove))


def _sum(one: Accrued, other: Accrued) -> Accrued:
    return evolve(
        one,
        machines=one.machines + other.machines,
        added=one.added + other.added,
        removed=one.removed + other.removed,
        sealed=one.sealed + other.sealed,
        failed=(*one.failed, *other.failed),
    )
