"""Agents: three independent facts, one derived display status, and the offline rule (section 1.2)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from spotcore.builds import ABILITIES, Abilities, Build
from spotcore.config import AgentConfig
from spotcore.ids import AgentId, ClientId, InstanceId

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=120)  # AG-1
BUSY_TIMEOUT: Final = timedelta(seconds=600)  # AG-1, T09: a modern agent is deaf while it executes
RETIREMENT_LIMIT: Final = timedelta(hours=24)  # AG-9
CONFIG_LAG: Final = timedelta(minutes=5)  # CV-8
REPLICA_BACKOFF: Final = tuple(timedelta(seconds=s) for s in (0, 10, 30, 60, 120, 300))  # MR-4
FAILURES_BEFORE_ALARM: Final = 5  # MR-4


class Life(StrEnum):
    """Whether an agent is wanted."""

    LIVE = "live"
    RETIRING = "retiring"
    DELETED = "deleted"


class Link(StrEnum):
    """Whether an agent is heard."""

    ONLINE = "online"
    OFFLINE = "offline"


class DisplayStatus(StrEnum):
    """The one word people see (1.2)."""

    DELETED = "deleted"
    DISABLED = "disabled"
    ERROR = "error"
    SWITCHING = "switching"
    ONLINE = "online"
    OFFLINE = "offline"


@frozen(kw_only=True)
class Agent:
    """A logical workload of one client. It survives its machines."""

    agent_id: AgentId
    client_id: ClientId
    logical_agent_id: str
    life: Life = Life.LIVE
    link: Link = Link.ONLINE
    config: AgentConfig = field(factory=AgentConfig)
    config_version: int = 1  # CV-1
    build: Build = Build.UNKNOWN
    able_since_registration: bool = False  # has fetched commands or replicas since its last registration (3.5)
    hostname: str | None = None
    agent_version: str | None = None
    region: str | None = None
    metadata: Mapping[str, str] = field(factory=dict)
    registered_at: datetime
    last_registered_at: datetime | None = None
    updated_at: datetime
    last_heartbeat_at: datetime | None = None
    offline_at: datetime | None = None
    primary_id: InstanceId | None = None  # I5
    sequence: int = 0  # counter behind derived ids
    revision: int = 0  # grows with every change that is more than a sign of life
    due_at: datetime | None = None  # earliest instant at which time alone may change something
    last_decision_at: datetime | None = None
    last_switch_at: datetime | None = None  # cooldown: last primary change or failed switch
    retiring_at: datetime | None = None
    deleted_at: datetime | None = None
    registered_ondemand_price: Decimal | None = None  # SV-5: captured at registration
    replica_failures: int = 0  # MR-4: in a row
    next_replica_at: datetime | None = None  # MR-4: back-off
    config_version_applied: int | None = None  # CV-8
    config_version_since: datetime | None = None
    config_lag_warned: int | None = None
    last_reply_version: int | None = None  # E17 config_changed
    no_primary_since: datetime | None = None
    no_primary_alarm_at: datetime | None = None
    merged_into: AgentId | None = None  # its calls count for that agent (docs/decisions/0005)

    @property
    def abilities(self) -> Abilities:
        """What can be asked of its build."""
        return ABILITIES[self.build]

    @property
    def is_live(self) -> bool:
        """True until it is retiring or deleted."""
        return self.life is Life.LIVE
