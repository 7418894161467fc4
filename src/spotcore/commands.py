"""Commands: one queue, one table of priorities, TTLs and leases (section 1.5)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from attrs import evolve, field, frozen

from spotcore.errors import IllegalTransition
from spotcore.ids import AgentId, ClientId, CommandId, InstanceId
from spotcore.pools import Mode

MAX_DELIVERIES: Final = 2  # Z13
CLASSIC_SWITCH_EXTRA: Final = timedelta(seconds=900)  # Z13, T21


class CommandKind(StrEnum):
    """What an agent is asked to do (CM-1)."""

    SWITCH = "switch"
    PROMOTE = "promote"
    LAUNCH = "launch_instance"
    TERMINATE = "terminate_instance"
    APPLY_CONFIG = "apply_config"
    SELF_DESTRUCT = "self_destruct"


class CommandState(StrEnum):
    """Where a command stands in its life (1.5)."""

    PENDING = "pending"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class CommandEvent(StrEnum):
    """What moves a command on."""

    HAND_OUT = "hand_out"
    COMPLETE = "complete"
    FAIL = "fail"
    LEASE_LAPSED = "lease_lapsed"
    UNDELIVERABLE = "undeliverable"
    EXPIRE = "expire"
    CANCEL = "cancel"


class Origin(StrEnum):
    """Who caused a command; priority, TTL and lease follow from it (CM-2)."""

    EMERGENCY = "emergency"
    OPERATOR = "operator"
    REPLICA_END = "replica_end"
    USER = "user"
    MANUAL_MODE = "manual_mode"
    RETIREMENT = "retirement"
    URGENT_DECISION = "urgent_decision"
    DECISION = "decision"
    SCHEDULED = "scheduled"
    CLEAN_UP = "clean_up"


OPEN: Final = frozenset({CommandState.PENDING, CommandState.EXECUTING})
TERMINAL: Final = frozenset(CommandState) - OPEN  # GR-4

_S, _E = CommandState, CommandEvent
TRANSITIONS: Final[Mapping[tuple[CommandState, CommandEvent], CommandState]] = {
    (_S.PENDING, _E.HAND_OUT): _S.EXECUTING,  # CM-4
    (_S.PENDING, _E.EXPIRE): _S.EXPIRED,  # CM-5
    (_S.EXECUTING, _E.LEASE_LAPSED): _S.PENDING,  # Z13
    (_S.EXECUTING, _E.UNDELIVERABLE): _S.FAILED,  # Z13
    **{(state, _E.COMPLETE): _S.COMPLETED for state in OPEN},  # CM-6
    **{(state, _E.FAIL): _S.FAILED for state in OPEN},  # CM-6
    **{(state, _E.CANCEL): _S.CANCELLED for state in OPEN},
}

PRIORITY: Final[Mapping[Origin, int]] = {
    Origin.EMERGENCY: 100,
    Origin.OPERATOR: 100,
    Origin.REPLICA_END: 100,
    Origin.USER: 75,
    Origin.MANUAL_MODE: 75,
    Origin.RETIREMENT: 75,
    Origin.URGENT_DECISION: 50,
    Origin.DECISION: 25,
    Origin.SCHEDULED: 10,
    Origin.CLEAN_UP: 10,
}
AUTO_ORIGINS: Final = frozenset({Origin.URGENT_DECISION, Origin.DECISION})  # what MX-3 cancels

_TTL_BY_PRIORITY: Final = {
    100: timedelta(seconds=300),
    75: timedelta(seconds=900),
    50: timedelta(seconds=300),
    25: timedelta(seconds=600),
    10: timedelta(seconds=86_400),
}
_LEASE_BY_KIND: Final = {
    CommandKind.PROMOTE: timedelta(seconds=60),
    CommandKind.LAUNCH: timedelta(seconds=360),
    CommandKind.TERMINATE: timedelta(seconds=240),
    CommandKind.APPLY_CONFIG: timedelta(seconds=60),
    CommandKind.SELF_DESTRUCT: timedelta(seconds=300),
}


@frozen(kw_only=True)
class Command:
    """An order to an agent. ``request_id`` is unique and kept over a second delivery (T04, Z13)."""

    command_id: CommandId
    request_id: str
    client_id: ClientId
    agent_id: AgentId
    kind: CommandKind
    origin: Origin
    state: CommandState = CommandState.PENDING
    created_at: datetime
    expires_at: datetime | None = None  # None: no TTL
    leased_until: datetime | None = None
    deliveries: int = 0
    delivered_at: datetime | None = None
    finished_at: datetime | None = None
    addressed_to: InstanceId | None = None  # CM-7: the primary it was made for
    target_instance_id: InstanceId | None = None  # the machine to launch, end or promote
    makes_primary: bool = False  # a launch whose machine is meant to become primary (I4)
    target_mode: Mode | None = None
    target_pool_id: str | None = None
    target_az: str | None = None
    instance_type: str | None = None
    ami_id: str | None = None
    terminate_old: bool = True  # CM-9
    terminate_wait_seconds: int = 0
    trigger: str | None = None  # a SwitchTrigger value for switches and chains
    params: Mapping[str, Any] = field(factory=dict)  # wire-free facts: config_updates, old_primary_id
    failure_reason: str | None = None
    result: Mapping[str, Any] = field(factory=dict)
    notes: tuple[str, ...] = ()  # late reports (CM-6)

    @property
    def priority(self) -> int:
        """Derived from the origin, never supplied (CM-2)."""
        return PRIORITY[self.origin]

    @property
    def is_open(self) -> bool:
        """True while ``pending`` or ``executing``."""
        return self.state in OPEN

    @property
    def is_role_changing(self) -> bool:
        """True for what I4 counts: switch, promote, and a launch that is to become primary."""
        return self.kind in (CommandKind.SWITCH, CommandKind.PROMOTE) or self.makes_primary

    @property
    def is_expired_kind(self) -> bool:
        """True for a command that can expire at all."""
        return self.expires_at is not None

    def expired_by(self, now: datetime) -> bool:
        """True when its TTL is over (CM-5)."""
        return self.expires_at is not None and now >= self.expires_at


def ttl(kind: CommandKind, origin: Origin) -> timedelta | None:
    """Pending TTL from creation; None for terminations, which never expire (1.5)."""
    match kind:
        case CommandKind.TERMINATE:
            return None
        case CommandKind.SELF_DESTRUCT:
            return timedelta(hours=24)
        case _:
            return _TTL_BY_PRIORITY[PRIORITY[origin]]


def lease(command: Command) -> timedelta:
    """How long a handed-out command is the agent's (1.5, Z13)."""
    if command.kind is CommandKind.SWITCH:
        return timedelta(seconds=command.terminate_wait_seconds) + CLASSIC_SWITCH_EXTRA
    return _LEASE_BY_KIND[command.kind]


def hand_out_order(command: Command) -> tuple[int, datetime, str]:
    """Priority descending, then creation, then id (CM-3)."""
    return (-command.priority, command.created_at, command.command_id)


def moved(command: Command, event: CommandEvent, now: datetime, *, reason: str | None = None) -> Command:
    """The command after ``event``. Raises ``IllegalTransition`` for a step the table does not have (GR-4)."""
    try:
        state = TRANSITIONS[command.state, event]
    except KeyError:
        raise IllegalTransition(f"command: {event} while {command.state}") from None
    after = evolve(command, state=state)
    match state:
        case CommandState.EXECUTING:
            return evolve(after, deliveries=command.deliveries + 1, delivered_at=now, leased_until=now + lease(command))
        case CommandState.PENDING:
            return evolve(after, leased_until=None)
        case _:
            return evolve(after, finished_at=now, leased_until=None, failure_reason=reason)
