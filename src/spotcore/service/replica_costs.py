"""What replicas cost: the price in force now, and the ledger's sum (E42, E43, SV-4, SV-5)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from attrs import frozen

from spotcore.aggregate import Aggregate
from spotcore.ids import ReplicaId
from spotcore.instances import Instance
from spotcore.pools import Mode
from spotcore.ports.ledger import LedgerStore, TypeInRegion
from spotcore.pricing import HELD, Series, ondemand_series, spot_series
from spotcore.replicas import Replica
from spotcore.tenure import Role

MOMENT = timedelta(microseconds=1)


@frozen(kw_only=True)
class ReplicaCost:
    """$/h now, None while no price is in force (GR-7); $ so far."""

    hourly: Decimal | None
    total: Decimal


def costs_of(
    ledger: LedgerStore, aggregate: Aggregate, replicas: Sequence[Replica], now: datetime
) -> Mapping[ReplicaId, ReplicaCost]:
    """What each of an agent's replicas costs."""
    machines = {row.replica_id: aggregate.instances[row.instance_id] for row in replicas}
    paid = _Prices.read(ledger, aggregate, list(machines.values()), now)
    named = [row.instance_id for row in machines.values() if row.cloud_id is not None]  # others cost nothing yet (SV-1)
    so_far = ledger.costs(aggregate.client.client_id, named, Role.REPLICA) if named else {}
    return {
        row.replica_id: ReplicaCost(
            hourly=paid.of(row, machines[row.replica_id]), total=so_far.get(row.instance_id, Decimal(0))
        )
        for row in replicas
    }


@frozen(kw_only=True)
class _Prices:
    now: datetime
    spot: Mapping[str, Series]
    ondemand: Mapping[TypeInRegion, Series]

    @classmethod
    def read(cls, ledger: LedgerStore, aggregate: Aggregate, machines: Sequence[Instance], now: datetime) -> "_Prices":
        pools = {row.pool_id for row in machines if row.pool_id is not None}
        types = {key for row in machines if row.mode is Mode.ONDEMAND and (key := _type(row)) is not None}
        buckets = ledger.spot(pools, now - HELD, now + MOMENT) if pools else {}
        known = ledger.ondemand(types) if types else {}
        registered = aggregate.agent.registered_ondemand_price
        return cls(
            now=now,
            spot={pool_id: spot_series(found) for pool_id, found in buckets.items()},
            ondemand={key: ondemand_series(one.listed, one.observed, registered) for key, one in known.items()},
        )

    def of(self, replica: Replica, machine: Instance) -> Decimal | None:
        if replica.pool_id is not None:
            series = self.spot.get(replica.pool_id)
        else:
            key = _type(machine) if machine.mode is Mode.ONDEMAND else None
            series = self.ondemand.get(key) if key is not None else None
        return series.at(self.now).price if series is not None else None


def _type(machine: Instance) -> TypeInRegion | None:
    return (machine.instance_type, machine.region) if machine.instance_type and machine.region else None
