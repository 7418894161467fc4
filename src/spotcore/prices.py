"""Price observations: what is accepted, which bucket it competes for, and who wins it (sections 8.1, Z39)."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol

from attrs import evolve, frozen

from spotcore.aggregate import Aggregate
from spotcore.errors import ValidationFailed
from spotcore.ids import AgentId, ClientId, InstanceId
from spotcore.instances import Instance
from spotcore.money import hourly_price
from spotcore.pools import parse_pool, pool_of


class PriceSource(StrEnum):
    """Who observed a price, in rank order (8.1)."""

    PRIMARY = "primary"
    EMERGENCY_REPLICA = "emergency_replica"
    MANUAL_REPLICA = "manual_replica"
    BACKFILL = "backfill"


@frozen(kw_only=True)
class Observation:
    """An accepted spot price, $/h, not yet a bucket."""

    submission_id: str  # P1: digest of (client, machine, pool, product, observed_at, price)
    pool_id: str
    price: Decimal
    observed_at: datetime


@frozen(kw_only=True)
class OndemandObservation:
    """An accepted on-demand price, $/h, of a type in a region; flagged ones decide nothing (DQ-8)."""

    instance_type: str
    region: str
    price: Decimal
    observed_at: datetime
    flagged: bool = False


@frozen(kw_only=True)
class PriceReport:
    """What one report adds, judged: accepted observations, and how many items were refused and why."""

    client_id: ClientId
    agent_id: AgentId
    instance_id: InstanceId | None
    source: PriceSource
    received_at: datetime
    observations: tuple[Observation, ...] = ()
    ondemand: tuple[OndemandObservation, ...] = ()
    rejected: tuple[str, ...] = ()  # one reason per refused item


BUCKET = timedelta(minutes=5)  # DQ-1
OLDEST = timedelta(days=7)  # DQ-2
AHEAD = timedelta(minutes=2)

RANK: Final[Mapping[PriceSource, int]] = {
    PriceSource.PRIMARY: 5,
    PriceSource.EMERGENCY_REPLICA: 4,
    PriceSource.MANUAL_REPLICA: 3,
    PriceSource.BACKFILL: 2,
}
CONFIDENCE: Final[Mapping[PriceSource, Decimal]] = {
    PriceSource.PRIMARY: Decimal("1.00"),
    PriceSource.EMERGENCY_REPLICA: Decimal("0.95"),
    PriceSource.MANUAL_REPLICA: Decimal("0.95"),
    PriceSource.BACKFILL: Decimal("0.90"),
}
FALLBACK_PRICE = Decimal("0.1")  # DQ-8: what agents say when they could not read the price list
SAME_AS_MEAN = Decimal("0.005")
AGREES = Decimal("0.01")
PRODUCT: Final = "Linux/UNIX"  # the one product description that agents report and rules use
# Other products have pools of their own: their mark is part of the type, ``m5.large:windows.us-east-1a``
PRODUCT_MARKS: Final[Mapping[str, str]] = {
    PRODUCT: "", "Windows": ":windows", "SUSE Linux": ":suse", "Red Hat Enterprise Linux": ":rhel",
}  # fmt: skip
SAME_PRODUCT: Final = (PRODUCT, "Linux/UNIX (Amazon VPC)")  # one price under two names


def bucket_start(at: datetime) -> datetime:
    """The start of the five minutes an instant falls into, UTC (DQ-1)."""
    seconds = int(at.timestamp()) // 300 * 300
    return datetime.fromtimestamp(seconds, UTC)


def order_key(source: PriceSource, observed_at: datetime, submission_id: str) -> tuple[int, datetime, str]:
    """The smallest key wins its bucket: best source, then earliest, then smallest submission id (DQ-4)."""
    return (-RANK[source], observed_at, submission_id)


def submission_id(
    client_id: str,
    machine: str | None,
    pool_id: str,
    observed_at: datetime,
    price: Decimal,
    product: str = PRODUCT,
) -> str:
    """Digest of what makes an observation the same one (P1)."""
    text = "|".join((client_id, machine or "", pool_id, product, observed_at.isoformat(), str(price)))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Item(Protocol):
    """One reported price, nothing of it trusted."""

    @property
    def pool(self) -> str | None: ...
    @property
    def instance_type(self) -> str | None: ...
    @property
    def az(self) -> str | None: ...
    @property
    def price(self) -> Any: ...
    @property
    def observed_at(self) -> datetime | None: ...
    @property
    def product(self) -> Any: ...


def judge_report(
    aggregate: Aggregate,
    now: datetime,
    *,
    cloud_id: str | None,
    spot: Sequence[Item],
    ondemand: Sequence[Item],
    last_unflagged: Decimal | None,
) -> PriceReport:
    """Every item judged alone (DQ-2, DQ-8). A report that names no machine counts as the primary's (Z23)."""
    machine = aggregate.machine(cloud_id) if cloud_id else aggregate.primary
    source = _source(aggregate, machine)
    if source is None:
        reason = "unknown reporter" if machine is None else "reporter is not primary or replica"
        return _report(aggregate, machine, PriceSource.PRIMARY, now, rejected=(reason,) * len(spot))
    accepted: dict[str, Observation] = {}
    rejected: list[str] = []
    for item in spot:
        judged = _observation(aggregate, machine, item, now)
        if isinstance(judged, str):
            rejected.append(judged)
        else:
            accepted[f"{judged.submission_id}:{len(accepted)}"] = judged
    mean = sum((row.price for row in accepted.values()), Decimal(0)) / len(accepted) if accepted else None
    listed = tuple(
        row for item in ondemand if (row := _ondemand(aggregate, machine, item, now, mean, last_unflagged)) is not None
    )
    return evolve(
        _report(aggregate, machine, source, now, rejected=tuple(rejected)),
        observations=tuple(accepted.values()),
        ondemand=listed,
    )


def _report(
    aggregate: Aggregate, machine: Instance | None, source: PriceSource, now: datetime, *, rejected: tuple[str, ...]
) -> PriceReport:
    return PriceReport(
        client_id=aggregate.client.client_id,
        agent_id=aggregate.agent.agent_id,
        instance_id=machine.instance_id if machine else None,
        source=source,
        received_at=now,
        rejected=rejected,
    )


def _source(aggregate: Aggregate, machine: Instance | None) -> PriceSource | None:
    """The reporter's role at receipt (P3); zombies are not heard (DQ-2)."""
    if machine is None:
        return None
    if machine.is_primary:
        return PriceSource.PRIMARY
    replica = aggregate.replica_on(machine.instance_id)
    if replica is None or not replica.is_live:
        return None
    return PriceSource.EMERGENCY_REPLICA if replica.is_emergency else PriceSource.MANUAL_REPLICA


def _observation(aggregate: Aggregate, machine: Instance | None, item: Item, now: datetime) -> Observation | str:
    if item.product is not None and item.product not in SAME_PRODUCT:
        return "another product description"
    price = _price(item.price)
    if price is None:
        return "price out of range"
    observed_at = _observed_at(item.observed_at, now)
    if observed_at is None:
        return "observed too long ago or in the future"
    pool_id = _pool_id(item)
    if pool_id is None:
        return "no pool and no zone"
    name = machine.cloud_id if machine else None
    return Observation(
        submission_id=submission_id(aggregate.client.client_id, name, pool_id, observed_at, price),
        pool_id=pool_id,
        price=price,
        observed_at=observed_at,
    )


def _price(value: Any) -> Decimal | None:
    """A JSON number in range; a text is none (P3)."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return hourly_price(Decimal(value))


def _observed_at(at: datetime | None, now: datetime) -> datetime | None:
    """Receipt when absent, clamped to it when at most two minutes ahead (DQ-2); None when out of range."""
    if at is None:
        return now
    if at > now + AHEAD or at < now - OLDEST:
        return None
    return min(at, now)


def _pool_id(item: Item) -> str | None:
    if item.pool:
        try:
            return parse_pool(item.pool).pool_id
        except ValidationFailed:
            return None
    pool = pool_of(item.instance_type, item.az)
    return pool.pool_id if pool else None


def _ondemand(
    aggregate: Aggregate,
    machine: Instance | None,
    item: Item,
    now: datetime,
    mean: Decimal | None,
    last_unflagged: Decimal | None,
) -> OndemandObservation | None:
    price, observed_at = _price(item.price), _observed_at(item.observed_at, now)
    instance_type = item.instance_type or (machine.instance_type if machine else None)
    region = aggregate.agent.region
    if price is None or observed_at is None or instance_type is None or region is None:
        return None
    return OndemandObservation(
        instance_type=instance_type,
        region=region,
        price=price,
        observed_at=observed_at,
        flagged=is_suspicious(price, mean, last_unflagged),
    )


def is_suspicious(price: Decimal, mean_spot: Decimal | None, last_unflagged: Decimal | None) -> bool:
    """A value agents fall back to, unless the last unflagged one agrees within 1 % (DQ-8, P11)."""
    if last_unflagged is not None and abs(price - last_unflagged) <= last_unflagged * AGREES:
        return False
    if price == FALLBACK_PRICE:
        return True
    return mean_spot is not None and abs(price - 3 * mean_spot) <= 3 * mean_spot * SAME_AS_MEAN
