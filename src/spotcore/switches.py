"""Switch records: the history of every primary change (section 1.6), and the periods it made."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from attrs import frozen

from spotcore.ids import AgentId, ClientId, CloudId, CommandId, IncidentId, InstanceId, SwitchId
from spotcore.pools import Mode


class SwitchState(StrEnum):
    """How a switch ended (SW-1)."""

    COMPLETED = "completed"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class SwitchTrigger(StrEnum):
    """Why a primary changed (SW-2)."""

    AUTO = "auto"
    MANUAL = "manual"
    MANUAL_PROMOTION = "manual_promotion"
    EMERGENCY = "emergency"
    REHOME = "rehome"
    SCHEDULED = "scheduled"


CREDITED = frozenset({SwitchTrigger.AUTO, SwitchTrigger.MANUAL, SwitchTrigger.SCHEDULED})
"""Triggers whose gain enters the legacy total (7.1): emergencies, promotions and rehomes add nothing."""


@frozen(kw_only=True)
class SwitchTimes:
    """Instants of a switch; unknown ones stay None (SW-3)."""

    initiated_at: datetime | None = None
    image_created_at: datetime | None = None
    launched_at: datetime | None = None
    ready_at: datetime | None = None
    traffic_switched_at: datetime | None = None
    old_ended_at: datetime | None = None


@frozen(kw_only=True)
class Switch:
    """One primary change, or one failed or overtaken attempt. ``recorded_at`` orders history (SW-3)."""

    switch_id: SwitchId
    client_id: ClientId
    agent_id: AgentId
    state: SwitchState
    trigger: SwitchTrigger
    recorded_at: datetime
    old_instance_id: InstanceId | None = None
    new_instance_id: InstanceId | None = None
    old_cloud_id: CloudId | None = None
    new_cloud_id: CloudId | None = None
    old_mode: Mode = Mode.UNKNOWN
    new_mode: Mode = Mode.UNKNOWN
    old_pool_id: str | None = None
    new_pool_id: str | None = None
    old_price: Decimal | None = None  # $/h paid before
    new_price: Decimal | None = None  # $/h paid after
    ondemand_price: Decimal | None = None
    savings_impact: Decimal | None = None  # $/h, old − new (7.1)
    credited: Decimal = Decimal(0)  # $ added to the legacy total, once per record
    times: SwitchTimes = SwitchTimes()
    downtime_seconds: Decimal | None = None  # SW-1
    command_id: CommandId | None = None
    incident_id: IncidentId | None = None
    unsolicited: bool = False  # SW-7
    reported: bool = False  # an E75 has been seen for it
    data_loss_possible: bool = False
    reason: str | None = None


@frozen(kw_only=True)
class PrimaryPeriod:
    """A time one machine was primary, half open. Periods of one agent never overlap (I8)."""

    agent_id: AgentId
    client_id: ClientId
    instance_id: InstanceId
    started_at: datetime
    ended_at: datetime | None = None
    switch_id: SwitchId | None = None  # I14: None for an agent's first period alone
