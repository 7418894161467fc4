"""Interruption incidents (section 1.8): severity only rises, the deadline never moves later (EM-3, EM-5)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from attrs import evolve, frozen

from spotcore.errors import IllegalTransition
from spotcore.ids import AgentId, ClientId, CloudId, IncidentId, InstanceId, ReplicaId, SwitchId

QUIET_AFTER: Final = timedelta(seconds=7_200)  # 5.3
DEFAULT_NOTICE: Final = timedelta(seconds=120)  # 5.1: hard deadline when none is given
MAX_AHEAD: Final = timedelta(minutes=10)  # EM-15
FORCE_BEFORE: Final = timedelta(seconds=30)  # 5.4
LAUNCH_ATTEMPTS: Final = 3  # 5.4
RETRY_AFTER_FAILURE: Final = timedelta(seconds=60)  # 5.4
FAILOVER_COMMIT_LIMIT_MS: Final = 5_000  # 5.5
FAILOVER_INFORMED_LIMIT_MS: Final = 15_000


class Severity(StrEnum):
    """How bad the signals of an incident are; it only rises."""

    REBALANCE = "rebalance"
    TERMINATION = "termination"


class IncidentState(StrEnum):
    """Where an incident stands (1.8)."""

    DETECTED = "detected"
    HANDLING = "handling"
    RESOLVED = "resolved"
    CLEARED = "cleared"
    FAILED = "failed"


class IncidentEvent(StrEnum):
    """What moves an incident on."""

    HANDLE = "handle"
    RESOLVE = "resolve"
    CLEAR = "clear"
    FAIL = "fail"


OPEN: Final = frozenset({IncidentState.DETECTED, IncidentState.HANDLING, IncidentState.FAILED})
TERMINAL: Final = frozenset(IncidentState) - OPEN  # GR-4

_S, _E = IncidentState, IncidentEvent
TRANSITIONS: Final[Mapping[tuple[IncidentState, IncidentEvent], IncidentState]] = {
    (_S.DETECTED, _E.HANDLE): _S.HANDLING,
    (_S.HANDLING, _E.HANDLE): _S.HANDLING,
    (_S.FAILED, _E.HANDLE): _S.FAILED,  # 5.4: one attempt per 60 s continues
    (_S.DETECTED, _E.FAIL): _S.FAILED,
    (_S.HANDLING, _E.FAIL): _S.FAILED,
    **{(state, _E.RESOLVE): _S.RESOLVED for state in OPEN},
    **{(state, _E.CLEAR): _S.CLEARED for state in OPEN},
}


class Outcome(StrEnum):
    """What an emergency call brought about (core words; Z9 has the wire's)."""

    REPLICA_PROMOTED = "replica_promoted"
    PROMOTION_PENDING = "promotion_pending"
    LAUNCH = "emergency_launch"
    ONDEMAND_SWITCH = "ondemand_switch"
    REPLICA_READY = "replica_ready"
    NOTHING_LAUNCHABLE = "nothing_launchable"
    MONITOR = "monitor"


@frozen(kw_only=True)
class Incident:
    """One interruption story of one machine."""

    incident_id: IncidentId
    client_id: ClientId
    agent_id: AgentId
    instance_id: InstanceId
    severity: Severity
    state: IncidentState = IncidentState.DETECTED
    pool_id: str | None = None
    opened_at: datetime
    last_signal_at: datetime
    signals: int = 1
    notice_at: datetime | None = None  # receipt of the termination notice
    deadline: datetime | None = None  # of a termination; a rebalance has none
    replica_id: ReplicaId | None = None
    promote_on_ready: bool = False
    outcome: Outcome | None = None
    launch_attempts: int = 0
    next_attempt_at: datetime | None = None
    tried_pools: tuple[str, ...] = ()
    promoted_at: datetime | None = None
    new_instance_id: InstanceId | None = None
    new_cloud_id: CloudId | None = None
    switch_id: SwitchId | None = None
    data_loss_possible: bool = False
    failover_ms: int | None = None  # receipt → commit
    informed_ms: int | None = None  # receipt → hand-out of the promote command (5.5)
    closed_at: datetime | None = None
    anomalies: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()  # what was done so far, for people (E57)

    @property
    def is_open(self) -> bool:
        """True until resolved or cleared; a failed incident is still being worked on."""
        return self.state in OPEN

    @property
    def is_open_failover(self) -> bool:
        """True for what I11 allows once per agent: a termination without a successor yet."""
        return self.is_open and self.severity is Severity.TERMINATION and self.promoted_at is None


def moved(incident: Incident, event: IncidentEvent, now: datetime) -> Incident:
    """The incident after ``event``. Raises ``IllegalTransition`` for a step the table does not have (GR-4)."""
    try:
        state = TRANSITIONS[incident.state, event]
    except KeyError:
        raise IllegalTransition(f"incident: {event} while {incident.state}") from None
    after = evolve(incident, state=state)
    return evolve(after, closed_at=now) if state in TERMINAL else after


def raised(incident: Incident, severity: Severity, deadline: datetime | None, now: datetime) -> Incident:
    """The incident after one more signal: severity never falls (EM-3), the earlier deadline counts (EM-5)."""
    after = evolve(incident, last_signal_at=now, signals=incident.signals + 1)
    if severity is Severity.REBALANCE:
        return after
    known = [at for at in (incident.deadline, deadline) if at is not None]
    return evolve(
        after,
        severity=Severity.TERMINATION,
        deadline=min(known) if known else None,
        notice_at=incident.notice_at or now,
    )


def clamped_deadline(given: datetime | None, now: datetime) -> tuple[datetime, bool]:
    """The deadline that counts, and whether the given one was an anomaly (EM-15)."""
    if given is None:
        return now + DEFAULT_NOTICE, False
    if given < now:
        return now, True
    if given > now + MAX_AHEAD:
        return now + DEFAULT_NOTICE, True
    return given, False
