"""E51…E54, E56…E59: signals. Always 2xx for a known agent: an agent discards the body of anything else (T17)."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.lanes import Lane
from spotadapters.http.routes.agents import ALWAYS, SAFE
from spotadapters.http.routes.notices import (
    FORMS,
    EmergencyReplica,
    EmergencyRequest,
    Failover,
    Notice,
    Noticed,
    Rebalance,
    RebalanceSignal,
    TerminationAcknowledged,
    TerminationNotice,
    action_taken,
    evidence_of,
    replica_id_of,
    replica_status,
    verdict,
)
from spotadapters.http.routing import Call, Endpoint, Handler
from spotadapters.wire import words
from spotadapters.wire.objects import Done
from spotadapters.wire.parsing import required, wire
from spotadapters.wire.shapes import shape
from spotcore import candidates, risk
from spotcore.aggregate import Aggregate
from spotcore.emergencies import SignalAnswer
from spotcore.errors import ValidationFailed
from spotcore.incidents import Incident, Severity
from spotcore.models import SessionKind
from spotcore.replicas import ReplicaState
from spotcore.service.kernel import require_live

EITHER_SAFE: Final = Access(needs=Needs.EITHER, while_suspended=True)


def _signal(call: Call, noticed: Noticed) -> SignalAnswer:
    notice = noticed.signal(call.clock.now())
    return call.plane.emergencies.signal(call.agent_caller(), call.agent_id, notice, noticed.evidence)


def _noticed(call: Call, number: str) -> Answer | None:
    form = FORMS[number]
    noticed = form.read(call.data())
    return form.tell(noticed, _signal(call, noticed)) if noticed is not None else None


def _always_noticed(number: str) -> Handler:
    """The handler of an endpoint whose every valid body is a notice."""

    def handler(call: Call) -> Answer:
        told = _noticed(call, number)
        assert told is not None
        return told

    return handler


def rebalance(call: Call) -> Answer:
    """E53; with ``immediate`` it is v4n's termination notice (C42)."""
    told = _noticed(call, "E53")
    if told is not None:
        return told
    body = call.parse(RebalanceSignal)
    answer = _signal(call, Noticed(severity=Severity.REBALANCE, body=body, evidence=evidence_of(body)))
    return Answer(data=Rebalance(**_rebalance_data(call, answer)))


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
        "replica_id": replica_id_of(answer),
        "replica_status": replica_status(answer),
        "action_taken": action_taken(answer),
    }
    if moves and best is not None:
        data |= {"target_mode": "spot", "target_pool_id": best, "target_pool_name": f"Pool {best}"}
    return data


def _safer(aggregate: Aggregate, market: Any, now: datetime, score: Any) -> str | None:
    known = candidates.eligible(aggregate, market, now)
    better = [one for one in known if score is not None and one.risk < score]
    return min(better, key=lambda one: (one.risk, one.price)).pool_id if better else None


@shape
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


@shape
class TerminationResult:
    """E56, v4c's form: a termination it carried out."""

    instance_id: str = required(limit=128)
    error: str | None = wire(clip=True)


def termination_report(call: Call) -> Answer:
    """E56: two meanings on one path, told apart by the body (C06, T23)."""
    data = call.data()
    success = verdict(data.get("success"))
    if success is not None:
        body = call.parse(TerminationResult)
        call.plane.commands.termination_result(
            call.agent_caller(), call.agent_id, body.instance_id, success, body.error
        )
        return Answer(data=Done(), message="Recorded")
    if not _is_live_call(call):
        raise ValidationFailed("nothing to report", success=["required: true or false"])
    told = _noticed(call, "E56")
    if told is not None:
        return told
    if data.get("instance_id") and (data.get("termination_reason") or data.get("reason")):
        return termination(call)
    raise ValidationFailed("nothing to report", success=["required: true or false, or a notice_type"])


def _is_live_call(call: Call) -> bool:
    """Of a deleted or suspended client only what Z25 and Z26 name: a deleted one reports results, no notices."""
    client = call.principal.client
    return client is None or client.status.value != "deleted"


@shape
class RebalanceNotice:
    """E58."""

    notice_time: str = required("detected_at", "recommendation_time", limit=64)


@shape
class RebalanceAcknowledged(Rebalance):
    """E58."""

    status: str = "acknowledged"
    emergency_replica_id: str | None


def rebalance_notice(call: Call) -> Answer:
    """E58."""
    call.parse(RebalanceNotice)
    answer = _signal(call, Noticed(severity=Severity.REBALANCE, body=call.parse(Notice)))
    told = _rebalance_data(call, answer)
    return Answer(data=RebalanceAcknowledged(**told, emergency_replica_id=replica_id_of(answer)))


@shape
class StandbyState:
    """E57: the emergency replica."""

    id: str
    status: str
    pool_id: str | None
    sync_progress: Decimal


@shape
class LastEvent:
    """E57: the newest incident."""

    timestamp: datetime
    type: str
    action_taken: str | None
    outcome: str


@shape
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
        number="E51", method="POST", path=A + "/create-emergency-replica", handler=_always_noticed("E51"),
        access=SAFE, mirror=True, lane=Lane.URGENT, body=EmergencyRequest, answers=EmergencyReplica,
        statuses=(200, 201),
    ),
    Endpoint(
        number="E52", method="POST", path=A + "/termination-imminent", handler=_always_noticed("E52"), access=SAFE,
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
        number="E59", method="POST", path=A + "/termination-notice", handler=_always_noticed("E59"), access=EITHER_SAFE,
        mirror=True, lane=Lane.URGENT, body=TerminationNotice, answers=TerminationAcknowledged,
    ),
]  # fmt: skip
