"""Replica records and their life cycle (section 1.4) as a table."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import evolve, field, frozen

from spotcore.errors import IllegalTransition
from spotcore.ids import AgentId, ClientId, IncidentId, InstanceId, ReplicaId
from spotcore.pools import Mode

SYNC_TIMEOUT: Final = timedelta(seconds=900)  # RP-5
SILENCE_TIMEOUT: Final = timedelta(seconds=300)  # RP-6
OUT_OF_SYNC_AFTER: Final = timedelta(seconds=120)  # RP-6
MANUAL_SYNC_FRESHNESS: Final = timedelta(seconds=60)  # PR-3
PROMOTABLE_PROGRESS: Final = Decimal(95)  # 5.4, percent


class ReplicaState(StrEnum):
    """Where a replica stands in its life (1.4)."""

    LAUNCHING = "launching"
    SYNCING = "syncing"
    READY = "ready"
    PROMOTED = "promoted"
    TERMINATED = "terminated"
    FAILED = "failed"


class ReplicaEvent(StrEnum):
    """What moves a replica on."""

    MACHINE_STARTED = "machine_started"
    SYNCED = "synced"
    FAIL = "fail"
    PROMOTE = "promote"
    END = "end"


class ReplicaKind(StrEnum):
    """What a replica was made for."""

    MANUAL = "manual"
    EMERGENCY_REBALANCE = "emergency_rebalance"
    EMERGENCY_TERMINATION = "emergency_termination"


class ReplicaEnd(StrEnum):
    """Why a replica ended (RP-8), or failed (RP-4…RP-6)."""

    USER = "user"
    MODE_CHANGED = "mode_changed"
    INCIDENT_CLEARED = "incident_cleared"
    SUPERSEDED = "superseded"
    AWS_INTERRUPTED = "aws_interrupted"
    AGENT_DELETED = "agent_deleted"
    LAUNCH_FAILED = "launch_failed"
    SYNC_FAILED = "sync_failed"
    SILENT = "silent"
    ENDED_BY_AGENT = "ended_by_agent"


LIVE: Final = frozenset({ReplicaState.LAUNCHING, ReplicaState.SYNCING, ReplicaState.READY})
TERMINAL: Final = frozenset(ReplicaState) - LIVE  # GR-4

_S, _E = ReplicaState, ReplicaEvent
TRANSITIONS: Final[Mapping[tuple[ReplicaState, ReplicaEvent], ReplicaState]] = {
    (_S.LAUNCHING, _E.MACHINE_STARTED): _S.SYNCING,  # RP-2
    (_S.SYNCING, _E.SYNCED): _S.READY,  # RP-3
    **{(state, _E.FAIL): _S.FAILED for state in LIVE},  # RP-4, RP-5, RP-6
    (_S.SYNCING, _E.PROMOTE): _S.PROMOTED,  # RP-7 in an emergency, or Z7
    (_S.READY, _E.PROMOTE): _S.PROMOTED,  # RP-7
    **{(state, _E.END): _S.TERMINATED for state in LIVE},  # RP-8
}


@frozen(kw_only=True)
class Replica:
    """A standby record. Its machine exists as a row from the start and has a cloud id once launched (IN-1)."""

    replica_id: ReplicaId
    client_id: ClientId
    agent_id: AgentId
    instance_id: InstanceId
    kind: ReplicaKind
    state: ReplicaState = ReplicaState.LAUNCHING
    mode: Mode = Mode.SPOT
    pool_id: str | None = None  # None: on-demand
    az: str | None = None
    instance_type: str | None = None
    created_by: str = "system"  # system | user
    created_at: datetime
    syncing_at: datetime | None = None
    ready_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: ReplicaEnd | None = None
    error_message: str | None = None
    last_sync_at: datetime | None = None  # None: has never reported sync (Z30)
    sync_status: str | None = None
    sync_latency_ms: int | None = None
    progress: Decimal | None = None  # percent, None when never reported
    incident_id: IncidentId | None = None
    same_pool: bool = False  # MR-1: only one pool exists
    tags: Mapping[str, str] = field(factory=dict)

    @property
    def is_live(self) -> bool:
        """True in ``launching``, ``syncing`` or ``ready``: what I2 counts."""
        return self.state in LIVE

    @property
    def is_emergency(self) -> bool:
        """True for the kinds made because of a signal."""
        return self.kind is not ReplicaKind.MANUAL


def moved(replica: Replica, event: ReplicaEvent, now: datetime) -> Replica:
    """The replica after ``event``, with the instants that belong to the step.

    Raises ``IllegalTransition`` for a step the table does not have.
    """
    try:
        state = TRANSITIONS[replica.state, event]
    except KeyError:
        raise IllegalTransition(f"replica: {event} while {replica.state}") from None
    after = evolve(replica, state=state)
    match state:
        case ReplicaState.SYNCING:
            return evolve(after, syncing_at=now)
        case ReplicaState.READY:
            return evolve(after, ready_at=replica.ready_at or now)
        case ReplicaState.PROMOTED | ReplicaState.TERMINATED | ReplicaState.FAILED:
            return evolve(after, ended_at=now)
        case _:
            return after


def survivor(live: list[Replica]) -> Replica:
    """Which of several live replicas stays: the most advanced, then the oldest (RP-15)."""
    rank = {ReplicaState.READY: 0, ReplicaState.SYNCING: 1, ReplicaState.LAUNCHING: 2}
    return min(live, key=lambda replica: (rank[replica.state], replica.created_at, replica.replica_id))
