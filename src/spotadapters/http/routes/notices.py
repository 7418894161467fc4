"""What a notice says and what it is answered: the parts of E51, E52, E53, E56 and E59 that need nothing but the notice.

Each is a pair of functions, so that many notices can be judged in one transaction between them (see ``storm.py``).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from spotadapters.http.envelope import Answer
from spotadapters.wire import words
from spotadapters.wire.answers import shown
from spotadapters.wire.objects import pool
from spotadapters.wire.parsing import flag, required, shaped, wire
from spotadapters.wire.shapes import shape
from spotcore.builds import Evidence
from spotcore.emergencies import Signal, SignalAnswer
from spotcore.errors import ValidationFailed
from spotcore.incidents import Outcome, Severity
from spotcore.pools import Mode
from spotcore.replicas import ReplicaState


@shape
class Notice:
    """E51, E52, E53, E56, E58, E59. Lenient: a malformed detail never stops a failover."""

    LENIENT = True
    instance_id: str | None = wire("cloud_instance_id", limit=128)
    termination_time: datetime | None = wire()
    replica_id: str | None = wire(limit=128)
    preferred_zones: tuple[str, ...] = wire(default=())
    exclude_zones: tuple[str, ...] = wire(default=())


@shape
class Noticed:
    """A body that turned out to be a notice."""

    severity: Severity
    body: Notice
    evidence: tuple[Evidence, ...] = ()

    def signal(self, received_at: datetime) -> Signal:
        """The notice in core words."""
        return Signal(
            severity=self.severity,
            cloud_id=self.body.instance_id,
            deadline=self.body.termination_time,
            received_at=received_at,
            replica_id=self.body.replica_id,
            exclude_zones=self.body.exclude_zones,
            preferred_zones=self.body.preferred_zones,
        )


STARTED: Final = frozenset(
    {
        Outcome.REPLICA_PROMOTED,
        Outcome.PROMOTION_PENDING,
        Outcome.LAUNCH,
        Outcome.ONDEMAND_SWITCH,
        Outcome.REPLICA_READY,
    }
)


def _action(answer: SignalAnswer) -> str:
    """The outcome in wire words (4.4, Z9)."""
    match answer.outcome:
        case Outcome.REPLICA_PROMOTED:
            return "replica_promoted"
        case Outcome.ONDEMAND_SWITCH:
            return "ondemand_switch_queued"
        case Outcome.LAUNCH if answer.replica is not None and answer.replica.mode is Mode.ONDEMAND:
            return "ondemand_switch_queued"
        case Outcome.PROMOTION_PENDING | Outcome.LAUNCH:
            return "emergency_replica_created"
        case Outcome.REPLICA_READY:
            return "already_handled"
        case Outcome.NOTHING_LAUNCHABLE:
            return "emergency_snapshot_required"
        case Outcome.MONITOR:
            return "monitor"


@shape
class Failover:
    """E52, and E56 as a notice. ``success`` only when a promotion is committed (T16)."""

    success: bool
    action: str
    duplicate: bool
    replica_id: str | None
    reason: str | None
    new_instance_id: str | None = shown(default=None, optional=True)
    new_primary_id: str | None = shown(default=None, optional=True)
    failover_time_ms: int | None = shown(default=None, optional=True)
    data_loss_possible: bool | None = shown(default=None, optional=True)
    promotion: str | None = shown(default=None, optional=True, doc="pending")
    snapshot_required: bool | None = shown(default=None, optional=True)


def failover_data(answer: SignalAnswer) -> dict[str, Any]:
    """The reply to a termination, field by field."""
    incident, promoted = answer.incident, answer.outcome is Outcome.REPLICA_PROMOTED
    data: dict[str, Any] = {
        "success": promoted,
        "action": _action(answer),
        "duplicate": answer.duplicate,
        "replica_id": replica_id_of(answer),
        "reason": answer.reason,
    }
    if promoted and incident is not None:
        data |= {
            "new_instance_id": incident.new_cloud_id,
            "new_primary_id": incident.new_cloud_id,
            "failover_time_ms": incident.failover_ms,
            "data_loss_possible": incident.data_loss_possible,
        }
    if answer.outcome in (Outcome.PROMOTION_PENDING, Outcome.LAUNCH):
        data["promotion"] = "pending"
    if answer.snapshot_required:
        data["snapshot_required"] = True
    return data


def replica_id_of(answer: SignalAnswer) -> str | None:
    if answer.replica is not None:
        return answer.replica.replica_id
    return answer.incident.replica_id if answer.incident is not None else None


def _message(answer: SignalAnswer) -> str:
    return {
        Outcome.REPLICA_PROMOTED: "The replica serves now",
        Outcome.MONITOR: "Recorded; the primary is another machine",
        Outcome.NOTHING_LAUNCHABLE: "Nothing can be launched for this agent; take a snapshot now",
    }.get(answer.outcome, "A replacement is on its way")


@shape
class EmergencyRequest(Notice):
    """E51; its one required field says which signal."""

    signal_type: str = required("reason", "notice_type", limit=64)


@shape
class EmergencyPool:
    """E51: where the replica is."""

    id: str
    name: str
    az: str


@shape
class EmergencyReplica(Failover):
    """E51. ``replica_instance_id`` repeats ``instance_id`` under the name v4c reads."""

    instance_id: str | None
    replica_instance_id: str | None
    pool: EmergencyPool | None
    hourly_cost: Decimal | None = shown(doc="null: no price is looked up in an emergency")
    urgency: str = shown(doc="critical for a termination, else high")


def _promoted(answer: SignalAnswer) -> str | None:
    return answer.incident.new_cloud_id if answer.incident is not None else None


def _e51_action(answer: SignalAnswer, severity: Severity) -> str:
    if severity is Severity.REBALANCE and answer.replica is not None and not answer.new_replica:
        return "already_handled"
    return _action(answer)


@shape
class Rebalance:
    """E53."""

    success: bool = True
    action: str
    risk_score: Decimal | None = shown(doc="0 to 1; null when unknown, or not looked up in an emergency")
    reason: str | None
    replica_id: str | None
    replica_status: str = shown(doc="creating, ready or none")
    action_taken: str = shown(doc="replica_created, replica_ready or no_action")
    target_mode: str | None = shown(default=None, optional=True)
    target_pool_id: str | None = shown(default=None, optional=True)
    target_pool_name: str | None = shown(default=None, optional=True)
    duplicate: bool | None = shown(default=None, optional=True)
    new_instance_id: str | None = shown(default=None, optional=True)
    new_primary_id: str | None = shown(default=None, optional=True)
    failover_time_ms: int | None = shown(default=None, optional=True)
    data_loss_possible: bool | None = shown(default=None, optional=True)
    promotion: str | None = shown(default=None, optional=True)
    snapshot_required: bool | None = shown(default=None, optional=True)


@shape
class RebalanceSignal(Notice):
    """E53. ``immediate`` makes it v4n's termination notice (C42)."""

    immediate: bool = wire(default=False)


def _advice(answer: SignalAnswer) -> dict[str, Any]:
    """Risk and the state of the replica, beside an action decided elsewhere."""
    return {
        "risk_score": None,
        "replica_status": replica_status(answer),
        "action_taken": action_taken(answer),
    }


def replica_status(answer: SignalAnswer) -> str:
    if answer.replica is None:
        return "none"
    return "ready" if answer.replica.state is ReplicaState.READY else "creating"


def action_taken(answer: SignalAnswer) -> str:
    if answer.new_replica:
        return "replica_created"
    return "no_action" if answer.replica is None else "replica_ready"


@shape
class TerminationNotice:
    """E59."""

    termination_time: datetime = required()


@shape
class TerminationAcknowledged(Failover):
    """E59."""

    status: str = "acknowledged"
    emergency_replica_id: str | None


Data = Mapping[str, Any]


def _read_e51(data: Data) -> Noticed:
    body = shaped(data, EmergencyRequest)
    severity = words.SIGNAL_IN.get(body.signal_type.lower())
    if severity is None:
        accepted = "use rebalance-recommendation or termination-notice"
        raise ValidationFailed("unknown signal_type", signal_type=[accepted])
    return Noticed(severity=severity, body=body)


def _read_e52(data: Data) -> Noticed:
    return Noticed(severity=Severity.TERMINATION, body=shaped(data, Notice))


def _read_e53(data: Data) -> Noticed | None:
    """Only with ``immediate`` it is v4n's termination notice (C42)."""
    body = shaped(data, RebalanceSignal)
    if not body.immediate:
        return None
    return Noticed(severity=Severity.TERMINATION, body=body, evidence=evidence_of(body))


def evidence_of(body: Notice) -> tuple[Evidence, ...]:
    """E53 without a machine's name comes from v4n alone."""
    return () if body.instance_id else (Evidence.NOTICE_ONLY,)


def verdict(value: Any) -> bool | None:
    """E56's ``success``, a boolean as 1.3 has it; None for anything else, which makes no result form."""
    try:
        return flag(value)
    except ValueError:
        return None


def _read_e56(data: Data) -> Noticed | None:
    """v5's form; with ``success`` it is v4c's result of a termination (C06, T23)."""
    if verdict(data.get("success")) is not None:
        return None
    if str(data.get("notice_type", "")).upper() != "TERMINATION" and data.get("termination_time") is None:
        return None
    return Noticed(severity=Severity.TERMINATION, body=shaped(data, Notice), evidence=(Evidence.MODERN_CALL,))


def _read_e59(data: Data) -> Noticed:
    shaped(data, TerminationNotice)
    return Noticed(severity=Severity.TERMINATION, body=shaped(data, Notice))


def _tell_e51(noticed: Noticed, answer: SignalAnswer) -> Answer:
    replica, machine = answer.replica, answer.replica_instance
    started = answer.outcome in STARTED
    name = words.replica_instance(replica, machine) if replica is not None else _promoted(answer)
    place = pool(replica.pool_id) if replica is not None else None
    told = {**failover_data(answer), "success": started, "action": _e51_action(answer, noticed.severity)}  # Z9, T36
    data = EmergencyReplica(
        **told,
        instance_id=name,
        replica_instance_id=name,
        pool=EmergencyPool(id=place.id, name=place.name, az=place.az) if place is not None else None,
        hourly_cost=None,
        urgency="critical" if noticed.severity is Severity.TERMINATION else "high",
    )
    return Answer(data=data, status=201 if answer.new_replica and started else 200)


def _tell_failover(_: Noticed, answer: SignalAnswer) -> Answer:
    return Answer(data=Failover(**failover_data(answer)), message=_message(answer))


def _tell_e53(_: Noticed, answer: SignalAnswer) -> Answer:
    told = {**failover_data(answer), **_advice(answer)}  # Z9: a termination's own word, as in E52
    return Answer(data=Rebalance(**told), message=_message(answer))


def _tell_e59(_: Noticed, answer: SignalAnswer) -> Answer:
    data = TerminationAcknowledged(**failover_data(answer), emergency_replica_id=replica_id_of(answer))
    return Answer(data=data, message=_message(answer))


@shape
class Form:
    """How an endpoint's notice is read and answered."""

    read: Callable[[Data], Noticed | None]
    """The notice in a body; None when the body is something else. Raises ``ValidationFailed``."""
    tell: Callable[[Noticed, SignalAnswer], Answer]


FORMS: Final[Mapping[str, Form]] = {
    "E51": Form(read=_read_e51, tell=_tell_e51),
    "E52": Form(read=_read_e52, tell=_tell_failover),
    "E53": Form(read=_read_e53, tell=_tell_e53),
    "E56": Form(read=_read_e56, tell=_tell_failover),
    "E59": Form(read=_read_e59, tell=_tell_e59),
}
