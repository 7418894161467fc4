"""E51…E54, E56…E59: signals. Always 2xx for a known agent: an agent discards the body of anything else (T17)."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.lanes import Lane
from spotadapters.http.routes.agents import ALWAYS, SAFE
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire import words
from spotadapters.wire.answers import shown
from spotadapters.wire.objects import Done, pool
from spotadapters.wire.parsing import flag, required, wire
from spotcore import candidates, risk
from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.emergencies import Signal, SignalAnswer
from spotcore.errors import ValidationFailed
from spotcore.incidents import Incident, Outcome, Severity
from spotcore.models import SessionKind
from spotcore.pools import Mode
from spotcore.replicas import ReplicaState
from spotcore.service.kernel import require_live

EITHER_SAFE: Final = Access(needs=Needs.EITHER, while_suspended=True)


@frozen(kw_only=True)
class Notice:
    """E51, E52, E53, E56, E58, E59. Lenient: a malformed detail never stops a failover."""

    LENIENT = True
    instance_id: str | None = wire("cloud_instance_id", limit=128)
    termination_time: datetime | None = wire()
    replica_id: str | None = wire(limit=128)
    preferred_zones: tuple[str, ...] = wire(default=())
    exclude_zones: tuple[str, ...] = wire(default=())


def _signal(call: Call, severity: Severity, body: Notice, evidence: tuple[Evidence, ...] = ()) -> SignalAnswer:
    notice = Signal(
        severity=severity,
        cloud_id=body.instance_id,
        deadline=body.termination_time,
        received_at=call.clock.now(),
        replica_id=body.replica_id,
        exclude_zones=body.exclude_zones,
        preferred_zones=body.preferred_zones,
    )
    return call.plane.emergencies.signal(call.agent_caller(), call.agent_id, notice, evidence)


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


@frozen(kw_only=True)
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
        "replica_id": _replica_id(answer),
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


def _replica_id(answer: SignalAnswer) -> str | None:
    if answer.replica is not None:
        return answer.replica.replica_id
    return answer.incident.replica_id if answer.incident is not None else None


def _termination_message(answer: SignalAnswer) -> str:
    return {
        Outcome.REPLICA_PROMOTED: "The replica serves now",
        Outcome.MONITOR: "Recorded; the primary is another machine",
        Outcome.NOTHING_LAUNCHABLE: "Nothing can be launched for this agent; take a snapshot now",
    }.get(answer.outcome, "A replacement is on its way")


@frozen(kw_only=True)
class EmergencyRequest(Notice):
    """E51; its one required field says which signal."""

    signal_type: str = required("reason", "notice_type", limit=64)


@frozen(kw_only=True)
class EmergencyPool:
    """E51: where the replica is."""

    id: str
    name: str
    az: str


@frozen(kw_only=True)
class EmergencyReplica(Failover):
    """E51. ``replica_instance_id`` repeats ``instance_id`` under the name v4c reads."""

    instance_id: str | None
    replica_instance_id: str | None
    pool: EmergencyPool | None
    hourly_cost: Decimal | None = shown(doc="null: no price is looked up in an emergency")
    urgency: str = shown(doc="critical for a termination, else high")


def create_emergency_replica(call: Call) -> Answer:
    """E51."""
    body = call.parse(EmergencyRequest)
    severity = words.SIGNAL_IN.get(body.signal_type.lower())
    if severity is None:
        accepted = "use rebalance-recommendation or termination-notice"
        raise ValidationFailed("unknown signal_type", signal_type=[accepted])
    answer = _signal(call, severity, body)
    replica, machine = answer.replica, answer.replica_instance
    started = answer.outcome in STARTED
    name = words.replica_instance(replica, machine) if replica is not None else _promoted(answer)
    place = pool(replica.pool_id) if replica is not None else None
    told = {**failover_data(answer), "success": started, "action": _e51_action(answer, severity)}  # Z9, T36
    data = EmergencyReplica(
        **told,
        instance_id=name,
        replica_instance_id=name,
        pool=EmergencyPool(id=place.id, name=place.name, az=place.az) if place is not None else None,
        hourly_cost=None,
        urgency="critical" if severity is Severity.TERMINATION else "high",
    )
    return Answer(data=data, status=201 if answer.new_replica and started else 200)


def _promoted(answer: SignalAnswer) -> str | None:
    return answer.incident.new_cloud_id if answer.incident is not None else None


def _e51_action(answer: SignalAnswer, severity: Severity) -> str:
    if severity is Severity.REBALANCE and answer.replica is not None and not answer.new_replica:
        return "already_handled"
    return _action(answer)


def termination_imminent(call: Call) -> Answer:
    """E52."""
    answer = _signal(call, Severity.TERMINATION, call.parse(Notice))
    return Answer(data=Failover(**failover_data(answer)), message=_termination_message(answer))


@frozen(kw_only=True)
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


@frozen(kw_only=True)
class RebalanceSignal(Notice):
    """E53. ``immediate`` makes it v4n's termination notice (C42)."""

    immediate: bool = wire(default=False)


def rebalance(call: Call) -> Answer:
    """E53; with ``immediate`` it is v4n's termination notice (C42)."""
    body = call.parse(RebalanceSignal)
    evidence = () if body.instance_id else (Evidence.NOTICE_ONLY,)
    if body.immediate:
        answer = _signal(call, Severity.TERMINATION, body, evidence)
        told = {**failover_data(answer), **_advice(answer)}  # Z9: a termination's own word, as in E52
        return Answer(data=Rebalance(**told), message=_termination_message(answer))
    answer = _signal(call, Severity.REBALANCE, body, evidence)
    return Answer(data=Rebalance(**_rebalance_data(call, answer)))


def _advice(answer: SignalAnswer) -> dict[str, Any]:
    """Risk and the state of the replica, beside an action decided elsewhere."""
    return {
        "risk_score": None,
        "replica_status": _replica_status(answer),
        "action_taken": _action_taken(answer),
    }


def _replica_status(answer: SignalAnswer) -> str:
    if answer.replica is None:
        return "none"
    return "ready" if answer.replica.state is ReplicaState.READY else "creating"


def _action_taken(answer: SignalAnswer) -> str:
    if answer.new_replica:
        return "replica_created"
    return "no_action" if answer.replica is None else "replica_ready"


def _rebalance_data(call: Call, answer: SignalAnswer) -> dict[str, Any]:
    caller = call.agent_caller()
    view = call.plane.emergencies.situation(caller, call.agent_id)
    judged = risk.current(view.aggregate, view.market, call.clock.now())
    score = judged.score if judged is not None else None
    best = _safer(view.aggregate, view.market, call.clock.now(), score)
    threshold = view.aggregate.agent.config.risk_threshold
    moves = score is not None and score > threshold and best is not None and answer.incident is not None
    data: dict[str, Any] = {
        "action": "switch" if moves else "monitor",
        "risk_score": score,
        "reason": answer.reason or ("the pool's risk is above the threshold" if moves else "a replica is prepared"),
        "replica_id": _replica_id(answer),
        "replica_status": _replica_status(answer),
        "action_taken": _action_taken(answer),
    }
    if moves and best is not None:
        data |= {"target_mode": "spot", "target_pool_id": best, "target_pool_name": f"Pool {best}"}
    return data


def _safer(aggregate: Aggregate, market: Any, now: datetime, score: Any) -> str | None:
    known = candidates.eligible(aggregate, market, now)
    better = [one for one in known if score is not None and one.risk < score]
    return min(better, key=lambda one: (one.risk, one.price)).pool_id if better else None


@frozen(kw_only=True)
class Ended:
    """E54."""

    LENIENT = True
    instance_id: str | None = wire("cloud_instance_id", limit=128)
    reason: str = wire("termination_reason", default="Unknown", clip=True)


def termination(call: Call) -> Answer:
    """E54."""
    body = call.parse(Ended)
    call.plane.emergencies.ended(call.agent_caller(), call.agent_id, body.instance_id, body.reason)
    return Answer(data=Done())


@frozen(kw_only=True)
class TerminationResult:
    """E56, v4c's form: a termination it carried out."""

    instance_id: str = required(limit=128)
    error: str | None = wire(clip=True)


def termination_report(call: Call) -> Answer:
    """E56: two meanings on one path, told apart by the body (C06, T23)."""
    data = call.data()
    success = _verdict(data.get("success"))
    if success is not None:
        body = call.parse(TerminationResult)
        call.plane.commands.termination_result(
            call.agent_caller(), call.agent_id, body.instance_id, success, body.error
        )
        return Answer(data=Done(), message="Recorded")
    if not _is_live_call(call):
        raise ValidationFailed("nothing to report", success=["required: true or false"])
    if str(data.get("notice_type", "")).upper() == "TERMINATION" or data.get("termination_time") is not None:
        answer = _signal(call, Severity.TERMINATION, call.parse(Notice), (Evidence.MODERN_CALL,))
        return Answer(data=Failover(**failover_data(answer)), message=_termination_message(answer))
    if data.get("instance_id") and (data.get("termination_reason") or data.get("reason")):
        return termination(call)
    raise ValidationFailed("nothing to report", success=["required: true or false, or a notice_type"])


def _verdict(value: Any) -> bool | None:
    """A boolean as 1.3 has it; None for anything else, which makes no result form."""
    try:
        return flag(value)
    except ValueError:
        return None


def _is_live_call(call: Call) -> bool:
    """Of a deleted or suspended client only what Z25 and Z26 name: a deleted one reports results, no notices."""
    client = call.principal.client
    return client is None or client.status.value != "deleted"


@frozen(kw_only=True)
class RebalanceNotice:
    """E58."""

    notice_time: str = required("detected_at", "recommendation_time", limit=64)


@frozen(kw_only=True)
class TerminationNotice:
    """E59."""

    termination_time: datetime = required()


@frozen(kw_only=True)
class RebalanceAcknowledged(Rebalance):
    """E58."""

    status: str = "acknowledged"
    emergency_replica_id: str | None


@frozen(kw_only=True)
class TerminationAcknowledged(Failover):
    """E59."""

    status: str = "acknowledged"
    emergency_replica_id: str | None


def rebalance_notice(call: Call) -> Answer:
    """E58."""
    call.parse(RebalanceNotice)
    answer = _signal(call, Severity.REBALANCE, call.parse(Notice))
    told = _rebalance_data(call, answer)
    return Answer(data=RebalanceAcknowledged(**told, emergency_replica_id=_replica_id(answer)))


def termination_notice(call: Call) -> Answer:
    """E59."""
    call.parse(TerminationNotice)
    answer = _signal(call, Severity.TERMINATION, call.parse(Notice))
    data = TerminationAcknowledged(**failover_data(answer), emergency_replica_id=_replica_id(answer))
    return Answer(data=data, message=_termination_message(answer))


@frozen(kw_only=True)
class StandbyState:
    """E57: the emergency replica."""

    id: str
    status: str
    pool_id: str | None
    sync_progress: Decimal


@frozen(kw_only=True)
class LastEvent:
    """E57: the newest incident."""

    timestamp: datetime
    type: str
    action_taken: str | None
    outcome: str


@frozen(kw_only=True)
class EmergencyStatus:
    """E57."""

    agent_id: str
    notice_status: str
    notice_received_at: datetime | None
    notice_deadline: datetime | None
    emergency_replica: StandbyState | None
    actions: tuple[str, ...]
    emergency_mode_active: bool
    rebalance_only_mode: bool
    ml_models_loaded: bool
    decision_engine_active: bool
    last_emergency_event: LastEvent | None
    emergency_replicas_count: int
    termination_notices_24h: int


def emergency_status(call: Call) -> Answer:
    """E57."""
    aggregate = call.plane.agents.kernel.read(call.agent_caller(actor="client"), call.agent_id)
    require_live(aggregate)
    primary, now = aggregate.primary, call.clock.now()
    open_incident = aggregate.open_failover or (aggregate.incident_of(primary.instance_id) if primary else None)
    incidents = sorted(aggregate.incidents.values(), key=lambda one: one.opened_at, reverse=True)
    live = aggregate.live_replica
    return Answer(
        data=EmergencyStatus(
            agent_id=aggregate.agent.agent_id,
            notice_status=words.notice_status(open_incident),
            notice_received_at=open_incident.opened_at if open_incident else None,
            notice_deadline=open_incident.deadline if open_incident else None,
            emergency_replica=StandbyState(
                id=live.replica_id,
                status=live.state.value,
                pool_id=live.pool_id,
                sync_progress=live.progress or Decimal(100 * (live.state is ReplicaState.READY)),
            )
            if live is not None and live.is_emergency
            else None,
            actions=tuple(open_incident.actions) if open_incident else (),
            emergency_mode_active=bool(aggregate.open_incidents),
            rebalance_only_mode=aggregate.agent.config.emergency_rebalance_only,
            ml_models_loaded=bool(call.plane.models.live(SessionKind.MODEL)),
            decision_engine_active=call.server.engine_loaded,
            last_emergency_event=_last_event(incidents),
            emergency_replicas_count=1 if live is not None and live.is_emergency else 0,
            termination_notices_24h=sum(_noticed_since(one, now - timedelta(hours=24)) for one in incidents),
        )
    )


def _noticed_since(incident: Incident, since: datetime) -> bool:
    return incident.notice_at is not None and incident.notice_at >= since


def _last_event(incidents: list[Incident]) -> LastEvent | None:
    if not incidents:
        return None
    last = incidents[0]
    return LastEvent(
        timestamp=last.last_signal_at,
        type=last.severity.value,
        action_taken=last.actions[-1] if last.actions else None,
        outcome=last.state.value,
    )


A: Final = "/api/agents/{agent_id}"
routes = [
    Endpoint(
        number="E51", method="POST", path=A + "/create-emergency-replica", handler=create_emergency_replica,
        access=SAFE, mirror=True, lane=Lane.URGENT, body=EmergencyRequest, answers=EmergencyReplica,
        statuses=(200, 201),
    ),
    Endpoint(
        number="E52", method="POST", path=A + "/termination-imminent", handler=termination_imminent, access=SAFE,
        mirror=True, lane=Lane.URGENT, body=Notice, answers=Failover,
    ),
    Endpoint(
        number="E53", method="POST", path=A + "/rebalance-recommendation", handler=rebalance, access=SAFE,
        mirror=True, lane=Lane.URGENT, body=RebalanceSignal, answers=Rebalance,
    ),
    Endpoint(
        number="E54", method="POST", path=A + "/termination", handler=termination, access=SAFE, mirror=True,
        body=Ended, answers=Done,
    ),
    Endpoint(
        number="E56", method="POST", path=A + "/termination-report", handler=termination_report, access=ALWAYS,
        mirror=True, lane=Lane.URGENT, answers=Done | Failover,
    ),
    Endpoint(
        number="E57", method="GET", path=A + "/emergency-status", handler=emergency_status, access=EITHER_SAFE,
        mirror=True, answers=EmergencyStatus, envelope_for_session=True,
    ),
    Endpoint(
        number="E58", method="POST", path=A + "/rebalance-notice", handler=rebalance_notice, access=EITHER_SAFE,
        mirror=True, lane=Lane.URGENT, body=RebalanceNotice, answers=RebalanceAcknowledged,
    ),
    Endpoint(
        number="E59", method="POST", path=A + "/termination-notice", handler=termination_notice, access=EITHER_SAFE,
        mirror=True, lane=Lane.URGENT, body=TerminationNotice, answers=TerminationAcknowledged,
    ),
]  # fmt: skip
