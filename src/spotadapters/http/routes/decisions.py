"""E60…E62: recommendations, and the one decision with its four views (http-api 7.8)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import evolve

from spotadapters.http.envelope import Answer
from spotadapters.http.routes.agents import AGENT, PEOPLE
from spotadapters.http.routes.machines import target_mode
from spotadapters.http.routes.reports import decision_sheet
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire import words
from spotadapters.wire.answers import shown
from spotadapters.wire.objects import pool
from spotadapters.wire.parsing import wire
from spotadapters.wire.shapes import shape
from spotcore.decisions import Action, Decision
from spotcore.errors import ValidationFailed
from spotcore.pools import Mode
from spotcore.service.machines import SwitchRequest


@shape
class DecisionFacts:
    """The canonical decision (http-api 7.8)."""

    instance_id: str | None
    recommended_action: str
    decision_type: str
    action: str
    recommendation: str
    recommended_mode: Mode
    recommended_pool_id: str | None
    target_pool: str | None
    target_pool_id: str | None
    target_type: str
    risk_score: Decimal | None = shown(doc="0 to 1; null when unknown")
    confidence: Decimal = shown(doc="never null (T15)")
    expected_savings_per_hour: Decimal | None
    expected_savings: Decimal | None
    expected_savings_per_day: Decimal | None
    allowed: bool
    guards: tuple[str, ...]
    will_auto_execute: bool
    reason: str
    reasoning: str
    engine: str
    model_version: str


def decision_data(decision: Decision) -> dict[str, Any]:
    """The canonical decision, field by field."""
    per_hour = decision.savings_per_hour
    pool_id = decision.target_pool_id
    moves = decision.action is not Action.STAY
    to_spot = decision.target_mode is Mode.SPOT
    kind = ("switch_to_" if moves else "stay_") + ("spot" if to_spot else "ondemand")
    return {
        "instance_id": decision.snapshot.instance_id,
        "recommended_action": words.RECOMMENDED_ACTION[decision.action],
        "decision_type": kind,
        "action": "SWITCH" if moves else "NO_ACTION",
        "recommendation": words.RECOMMENDATION[decision.action],
        "recommended_mode": decision.target_mode,
        "recommended_pool_id": pool_id,
        "target_pool": pool_id,
        "target_pool_id": pool_id,
        "target_type": "spot" if to_spot else "ondemand",
        "risk_score": decision.risk,
        "confidence": decision.confidence,  # never null: v4n formats it (T15)
        "expected_savings_per_hour": per_hour,
        "expected_savings": per_hour,
        "expected_savings_per_day": per_hour * 24 if per_hour is not None else None,
        "allowed": not decision.guards,
        "guards": decision.guards,
        "will_auto_execute": decision.will_auto_execute,
        "reason": decision.reason,
        "reasoning": decision.reason,
        "engine": decision.engine,
        "model_version": decision.engine_version,
    }


@shape
class CurrentPool:
    """E60: where the workload runs."""

    id: str
    name: str
    az: str


@shape
class Alternative:
    """E60: where it could run."""

    id: str
    name: str
    az: str
    spot_price: Decimal


@shape
class Features:
    """E60: what the decision was made from."""

    current_price: Decimal | None
    ondemand_price: Decimal | None
    current_risk: Decimal | None
    candidates: int


@shape
class RecommendationAnswer(DecisionFacts):
    """E60."""

    agent_id: str
    auto_switch_enabled: bool
    current_pool: CurrentPool | None
    alternative_pools: tuple[Alternative, ...]
    features_used: Features


def recommend(call: Call) -> Answer:
    """E60: always answers, changes nothing."""
    found = call.plane.decisions.recommend(call.agent_caller(actor="client"), call.agent_id)
    snapshot = found.decision.snapshot
    current = pool(snapshot.current_pool_id)
    alternatives = tuple(
        Alternative(id=one.pool_id, name=f"Pool {one.pool_id}", az=one.az, spot_price=one.price)
        for one in snapshot.candidates[:5]
    )
    return Answer(
        data=RecommendationAnswer(
            **decision_data(found.decision),
            agent_id=call.agent_id,
            auto_switch_enabled=found.aggregate.agent.config.auto_switch_enabled,
            current_pool=CurrentPool(id=current.id, name=current.name, az=current.az) if current else None,
            alternative_pools=alternatives,
            features_used=Features(
                current_price=snapshot.current_price,
                ondemand_price=snapshot.ondemand_price,
                current_risk=snapshot.current_risk,
                candidates=len(snapshot.candidates),
            ),
        )
    )


@shape
class IssueSwitch:
    """E61."""

    target_mode: str | None = wire("target_type", "target", limit=32)
    reason: str | None = wire(clip=True)


@shape
class SwitchIssued:
    """E61."""

    success: bool = True
    command_id: str
    agent_id: str
    target_mode: Mode | None
    target_pool_id: str | None
    reason: str | None
    auto_switch_enabled: bool = True


@shape
class AlreadyThere:
    """E61, status 200: nothing was queued."""

    success: bool = False
    current_mode: str | None
    current_pool_id: str | None


def _pool_text(data: Mapping[str, Any]) -> str | None:
    """The pool under any of its names; a number is accepted and becomes text."""
    for name in ("target_pool_id", "target_pool", "pool_id"):
        value = data.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > 128:
            raise ValidationFailed(f"invalid: {name}", **{name: ["expected a pool id"]})
        return str(value)
    return None


def _wanted(call: Call) -> tuple[SwitchRequest, str | None]:
    body, pool_id = call.parse(IssueSwitch), _pool_text(call.data())
    mode = target_mode(body.target_mode, pool_id)
    if mode is not Mode.ONDEMAND and pool_id is None:
        raise ValidationFailed("missing: target_pool_id", target_pool_id=["required when the target is spot"])
    return SwitchRequest(target_mode=mode, pool_id=pool_id), body.reason


def issue(call: Call) -> Answer:
    """E61: the agent, whether it is enabled and auto-switch are looked at before the body."""
    caller = call.agent_caller(actor="client")
    try:
        wanted, reason = _wanted(call)
    except ValidationFailed:
        call.plane.decisions.require_issuable(caller, call.agent_id)
        raise
    order = call.plane.decisions.issue(caller, call.agent_id, wanted, reason)
    if order.command is None:
        there = AlreadyThere(current_mode=order.current_mode, current_pool_id=order.current_pool_id)
        return Answer(data=there, message="The workload is there already")
    return Answer(
        data=SwitchIssued(
            command_id=order.command.command_id,
            agent_id=order.agent_id,
            target_mode=order.target_mode,
            target_pool_id=order.target_pool_id,
            reason=reason,
        ),
        message="Switch queued",
        status=201,
    )


@shape
class Decided(DecisionFacts):
    """E62."""

    command_id: str | None = shown(doc="what was queued; null when nothing was")


def decide(call: Call) -> Answer:
    """E62: prices in, decision out; queued when it will be executed."""
    sheet = decision_sheet(call.data())
    found = call.plane.decisions.decide(call.agent_caller(), call.agent_id, sheet)
    enabled = found.aggregate.agent.config.enabled
    data = decision_data(found.decision if enabled else _staying(found.decision, "the agent is disabled"))
    if not enabled:
        data |= {"allowed": False}
    elif found.refusal is not None:
        data |= {"will_auto_execute": False}
    command = found.order.command if found.order is not None else None
    return Answer(data=Decided(**data, command_id=command.command_id if command else None))


def _staying(decision: Decision, reason: str) -> Decision:
    """The same with nothing moved, so that every view of it says so."""
    snapshot = decision.snapshot
    return evolve(
        decision,
        action=Action.STAY,
        target_mode=snapshot.current_mode,
        target_pool_id=snapshot.current_pool_id,
        savings_per_hour=Decimal(0),
        will_auto_execute=False,
        reason=reason,
    )


A: Final = "/api/agents/{agent_id}"
routes = [
    Endpoint(
        number="E60", method="GET", path=A + "/switch-recommendation", handler=recommend, access=PEOPLE, mirror=True,
        answers=RecommendationAnswer,
    ),
    Endpoint(
        number="E61", method="POST", path=A + "/issue-switch-command", handler=issue, access=PEOPLE, mirror=True,
        idempotent=True, body=IssueSwitch, answers=SwitchIssued | AlreadyThere, statuses=(200, 201),
        refuses=("AGENT_DISABLED", "AUTO_SWITCH_DISABLED", "POOL_MISMATCH", "SWITCH_BLOCKED"),
    ),
    Endpoint(
        number="E62", method="POST", path=A + "/decide", handler=decide, access=AGENT, mirror=True, answers=Decided
    ),
]  # fmt: skip
