"""E15, E23, E24, E68: a client, its agents, and what they lately did."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from spotadapters.http.envelope import Answer
from spotadapters.http.lanes import Lane
from spotadapters.http.routes.agents import PEOPLE
from spotadapters.http.routes.overview import by_trigger, sentence
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire import words
from spotadapters.wire.answers import shown
from spotadapters.wire.shapes import shape
from spotcore.decisions import Action
from spotcore.errors import NotFound
from spotcore.instants import read_instant

HOURS_PER_MONTH: Final = 730
HEALTHY_REPORTS: Final = 5  # in 30 minutes
HEALTHY_HEARTBEAT: Final = timedelta(minutes=5)


@shape
class Savings:
    """The current month by the ledger (domain-rules 7.4). Null: no line yet."""

    baseline_cost: Decimal | None
    actual_cost: Decimal | None
    realised_savings_period: Decimal | None
    savings_percentage: Decimal | None
    replica_cost: Decimal | None
    zombie_cost: Decimal | None
    estimated_hours: Decimal
    unpriced_hours: Decimal
    projected_monthly: Decimal | None = shown(doc="the last 7 days' rate over 730 hours")
    estimate: bool = shown(default=True, doc="from observed prices, no invoice")


@shape
class ClientAgentCounts:
    """E15."""

    online: int
    offline: int
    total: int


@shape
class InstanceCounts:
    """E15."""

    active: int
    zombie: int
    terminated: int


@shape
class ClientDetails:
    """E15."""

    CAMEL = True
    id: str
    name: str
    email: str | None
    status: str
    agents_online: int
    agents_total: int
    instances: int
    total_savings: Decimal = shown(doc="the legacy estimate")
    realised_savings: Decimal | None = shown(legacy=0, doc="by the ledger; null before its first line")
    savings: Savings
    agent_counts: ClientAgentCounts
    instance_counts: InstanceCounts
    last_sync: datetime | None
    created_at: datetime


def client(call: Call) -> Answer:
    """E15."""
    row = call.reads.row("client_details", dict, client_id=call.client_caller().client_id)
    if row is None:
        raise NotFound("unknown client")
    online, total = row["agents_online"], row["agents_total"]
    return Answer(
        data=ClientDetails(
            id=row["id"],
            name=row["name"],
            email=row["email"],
            status=row["status"],
            agents_online=online,
            agents_total=total,
            instances=row["active"],
            total_savings=row["total_savings"],
            realised_savings=row["realised_savings"],
            savings=_savings(row["month"], row["week"], row["week_hours"]),
            agent_counts=ClientAgentCounts(online=online, offline=total - online, total=total),
            instance_counts=InstanceCounts(active=row["active"], zombie=row["zombie"], terminated=row["terminated"]),
            last_sync=read_instant(row["last_sync"]),
            created_at=read_instant(row["created_at"]),  # type: ignore[arg-type] # never null
        )
    )


def _savings(month: Mapping[str, Any], week: Decimal | None, week_hours: Decimal | None) -> Savings:
    baseline, saving = month["baseline_cost"], month["realised_savings_period"]
    has_lines = month["lines"] > 0
    nothing = Decimal(0) if has_lines else None
    return Savings(
        baseline_cost=baseline,
        actual_cost=month["actual_cost"],
        realised_savings_period=saving,
        savings_percentage=round(saving / baseline * 100, 2) if baseline else None,
        replica_cost=month["replica_cost"] or nothing,
        zombie_cost=month["zombie_cost"] or nothing,
        estimated_hours=month["estimated_hours"],
        unpriced_hours=month["unpriced_hours"],
        projected_monthly=round(week / week_hours * HOURS_PER_MONTH, 4) if week is not None and week_hours else None,
    )


@shape
class AgentHistoryItem:
    """E24."""

    CAMEL = True
    id: str
    logical_agent_id: str
    hostname: str | None
    instance_id: str | None
    instance_type: str | None
    region: str | None
    az: str | None
    current_mode: str
    status: str
    enabled: bool
    auto_switch_enabled: bool
    manual_replica_enabled: bool
    created_at: datetime
    updated_at: datetime
    last_heartbeat: datetime | None
    installed_at: datetime
    terminated_at: datetime | None
    total_switches: int


def history(call: Call) -> Answer:
    """E24, deleted agents included."""
    caller = call.client_caller()
    call.plane.clients.seen(caller.client_id)
    return Answer(data=call.reads.each("agents_history", AgentHistoryItem, client_id=caller.client_id))


@shape
class Elapsed:
    """E23: how long ago, without the word (the page appends it)."""

    minutes: int
    value: int
    unit: str
    formatted: str


@shape
class LastDecision:
    """E23."""

    type: str | None
    time: datetime | None
    elapsed: Elapsed | None


@shape
class PastDecision:
    """E23."""

    CAMEL = True
    type: str
    action: str
    risk_score: Decimal | None
    expected_savings: Decimal | None
    current_mode: str
    time: datetime


@shape
class PriceReportItem:
    """E23: both prices known and above 0, because the page divides by them."""

    CAMEL = True
    time: datetime
    on_demand_price: Decimal
    spot_price: Decimal


@shape
class PricingHealth:
    """E23."""

    CAMEL = True
    status: str
    recent_reports_count: int
    recent_reports: tuple[PriceReportItem, ...]


@shape
class SystemEvent:
    """E23."""

    type: str
    severity: str
    message: str
    time: datetime


@shape
class HealthStatus:
    """E23."""

    CAMEL = True
    overall: str
    heartbeat: str
    activity: str
    recent_reports_count: int
    decision_count: int


@shape
class RecentActivity:
    """E23."""

    CAMEL = True
    pricing_reports: tuple[PriceReportItem, ...]
    system_events: tuple[SystemEvent, ...]
    health_status: HealthStatus


@shape
class AgentDecisions:
    """E23."""

    CAMEL = True
    agent_id: str
    agent_name: str
    status: str
    current_mode: str
    current_pool_id: str | None
    is_healthy: bool
    last_heartbeat: str | None
    last_decision: LastDecision
    decision_history: tuple[PastDecision, ...]
    pricing_health: PricingHealth
    recent_activity: RecentActivity


def decisions(call: Call) -> Answer:
    """E23: online agents first, then by name."""
    caller, now = call.client_caller(), call.clock.now()
    call.plane.clients.seen(caller.client_id)
    rows = call.reads.each("agents_activity", dict, client_id=caller.client_id)
    return Answer(data=(_decisions(row, now) for row in rows))


def _decisions(row: Mapping[str, Any], now: datetime) -> AgentDecisions:
    heard = read_instant(row["last_heartbeat_at"])
    past = tuple(_past(one) for one in row["decisions"])
    reports = tuple(_report(one) for one in row["reports"] if one["spot"] and one["ondemand"])
    fresh = heard is not None and now - heard <= HEALTHY_HEARTBEAT
    busy = row["report_count"] > 0 or row["decision_count"] > 0
    healthy = row["link"] == "online" and fresh and busy
    priced = row["report_count"] >= HEALTHY_REPORTS
    last = past[0] if past else None
    return AgentDecisions(
        agent_id=row["agent_id"],
        agent_name=row["agent_name"],
        status=row["status"],
        current_mode=row["current_mode"],
        current_pool_id=row["current_pool_id"],
        is_healthy=healthy,
        last_heartbeat=f"{elapsed(heard, now).formatted} ago" if heard is not None else None,
        last_decision=LastDecision(
            type=last.type if last else None,
            time=last.time if last else None,
            elapsed=elapsed(last.time, now) if last else None,
        ),
        decision_history=past,
        pricing_health=PricingHealth(
            status="healthy" if priced else "unhealthy",
            recent_reports_count=row["report_count"],
            recent_reports=reports,
        ),
        recent_activity=RecentActivity(
            pricing_reports=reports,
            system_events=tuple(_event(one) for one in row["events"]),
            health_status=HealthStatus(
                overall="healthy" if healthy else "unhealthy",
                heartbeat="active" if fresh else "stale",
                activity="active" if busy else "inactive",
                recent_reports_count=row["report_count"],
                decision_count=row["decision_count"],
            ),
        ),
    )


def elapsed(at: datetime, now: datetime) -> Elapsed:
    """Minutes below an hour, whole hours above."""
    minutes = max(0, int((now - at).total_seconds() // 60))
    value, unit = (minutes, "min") if minutes < 60 else (minutes // 60, "h")
    return Elapsed(minutes=minutes, value=value, unit=unit, formatted=f"{value} {unit}")


def _past(one: Mapping[str, Any]) -> PastDecision:
    action = Action(one["action"])
    return PastDecision(
        type=words.RECOMMENDED_ACTION[action],
        action="NO_ACTION" if action is Action.STAY else "SWITCH",
        risk_score=_number(one["risk"]),
        expected_savings=_number(one["savings_per_hour"]),
        current_mode=one["current_mode"],
        time=read_instant(one["made_at"]),  # type: ignore[arg-type] # never null
    )


def _number(value: Any) -> Decimal | None:
    return Decimal(value) if value is not None else None


def _report(one: Mapping[str, Any]) -> PriceReportItem:
    at = read_instant(one["time"])
    assert at is not None  # the column is
    return PriceReportItem(time=at, on_demand_price=one["ondemand"], spot_price=one["spot"])


def _event(one: Mapping[str, Any]) -> SystemEvent:
    at = read_instant(one["at"])
    assert at is not None  # the column is
    return SystemEvent(type=one["kind"], severity=one["level"], message=sentence(one["kind"], one["facts"]), time=at)


@shape
class TriggerCounts:
    """E68. ``automatic`` repeats ``model``."""

    manual: int
    model: int
    automatic: int
    emergency: int


@shape
class Statistics:
    """E68: over what is kept; without data 0, and null for what then has no value."""

    total_decisions: int
    switches_executed: int
    switches_recommended: int
    success_rate: Decimal
    average_confidence: Decimal
    last_decision_at: datetime | None
    decisions_by_trigger: TriggerCounts
    avg_downtime_seconds: Decimal
    total_savings_generated: Decimal


@shape
class StatisticsAnswer:
    """E68."""

    agent_id: str
    statistics: Statistics


def statistics(call: Call) -> Answer:
    """E68."""
    caller = call.agent_caller(actor="client")
    call.plane.agents.kernel.read(caller, call.agent_id)
    row = call.reads.one("agent_statistics", dict, client_id=caller.client_id, agent_id=call.agent_id)
    ended = row["completed"] + row["failed"]
    counts = by_trigger(row["by_trigger"])
    return Answer(
        data=StatisticsAnswer(
            agent_id=call.agent_id,
            statistics=Statistics(
                total_decisions=row["total_decisions"],
                switches_executed=row["completed"],
                switches_recommended=row["switches_recommended"],
                success_rate=round(Decimal(row["completed"]) / ended, 4) if ended else Decimal(0),
                average_confidence=row["average_confidence"] or Decimal(0),
                last_decision_at=read_instant(row["last_decision_at"]),
                decisions_by_trigger=TriggerCounts(**counts, automatic=counts["model"]),
                avg_downtime_seconds=row["downtime"] or Decimal(0),
                total_savings_generated=row["savings"] or Decimal(0),
            ),
        )
    )


C: Final = "/api/client/{client_id}"
_STATISTICS: Final[dict[str, Any]] = {
    "number": "E68", "method": "GET", "handler": statistics, "access": PEOPLE, "mirror": True,
    "answers": StatisticsAnswer,
}  # fmt: skip
routes = [
    Endpoint(path="/api/client/agents/{agent_id}/statistics", **_STATISTICS),
    Endpoint(path="/api/agents/{agent_id}/statistics", **_STATISTICS),
    Endpoint(
        number="E23", method="GET", path=C + "/agents/decisions", handler=decisions, access=PEOPLE,
        lane=Lane.LIST, answers=tuple[AgentDecisions, ...],
    ),
    Endpoint(
        number="E24", method="GET", path=C + "/agents/history", handler=history, access=PEOPLE,
        lane=Lane.LIST, answers=tuple[AgentHistoryItem, ...],
    ),
]  # fmt: skip
CLIENT: Final = Endpoint(number="E15", method="GET", path=C, handler=client, access=PEOPLE, answers=ClientDetails)
