"""Price observations: what is accepted, which bucket it competes for, and who wins it (sections 8.1, Z39)."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from attrs import frozen

from spotcore.ids import AgentId, ClientId, InstanceId


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
