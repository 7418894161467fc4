"""Guards: what forbids a switch, as one table (4.7). They stand outside every engine and are judged inside the lock."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from attrs import frozen

from spotcore import candidates, risk
from spotcore.aggregate import Aggregate
from spotcore.commands import AUTO_ORIGINS, CommandKind, Origin
from spotcore.market import Market
from spotcore.pools import Mode
from spotcore.switches import SwitchState, SwitchTrigger

COUNTED: Final = frozenset({SwitchTrigger.AUTO, SwitchTrigger.MANUAL, SwitchTrigger.SCHEDULED})


class Guard(StrEnum):
    """Codes of 4.7 that answer 409 ``SWITCH_BLOCKED``; those with a status of their own are judged by the callers."""

    NOT_EXECUTABLE = "NOT_EXECUTABLE"
    AGENT_DISABLED = "AGENT_DISABLED"
    AUTO_SWITCH_DISABLED = "AUTO_SWITCH_DISABLED"
    AGENT_OFFLINE = "AGENT_OFFLINE"
    INCIDENT_OPEN = "INCIDENT_OPEN"
    COMMAND_IN_FLIGHT = "COMMAND_IN_FLIGHT"
    COOLDOWN = "COOLDOWN"
    DAILY_LIMIT = "DAILY_LIMIT"
    WEEKLY_LIMIT = "WEEKLY_LIMIT"
    PRICE_STALE = "PRICE_STALE"
    LOW_IMPROVEMENT = "LOW_IMPROVEMENT"
    HIGH_RISK = "HIGH_RISK"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    ALREADY_THERE = "ALREADY_THERE"


class Purpose(StrEnum):
    """The columns of the table that ask; emergencies ask nothing here (5.2)."""

    AUTO = "auto"
    MANUAL = "manual"


class Weight(StrEnum):
    BLOCKS = "blocks"
    WARNS = "warns"
    IGNORED = "ignored"


@frozen(kw_only=True)
class Target:
    """Where a switch would go."""

    mode: Mode
    pool_id: str | None


@frozen
class Question:
    """All a guard may look at."""

    aggregate: Aggregate
    market: Market
    target: Target
    now: datetime


def _fresh_target(q: Question) -> bool:
    if q.target.mode is not Mode.SPOT:
        return q.market.ondemand_price() is not None
    quote = q.market.spot.get(q.target.pool_id) if q.target.pool_id else None
    return quote is not None and quote.is_fresh(q.now)


def _price_stale(q: Question) -> bool:
    return candidates.current_price(q.aggregate, q.market, q.now) is None or not _fresh_target(q)


def _low_improvement(q: Question) -> bool:
    if q.target.mode is not Mode.SPOT:
        return False
    paid = candidates.current_price(q.aggregate, q.market, q.now)
    quote = q.market.spot.get(q.target.pool_id) if q.target.pool_id else None
    if paid is None or paid <= 0 or quote is None:
        return False  # PRICE_STALE speaks for it
    return (paid - quote.price) / paid * 100 < q.aggregate.agent.config.min_savings_percent


def _high_risk(q: Question) -> bool:
    if q.target.mode is not Mode.SPOT or q.target.pool_id is None:
        return False
    judged = risk.pool_risk(q.market.pools.get(q.target.pool_id), q.now)
    return judged.score > q.aggregate.agent.config.risk_threshold


def _cooldown(q: Question) -> bool:
    last = q.aggregate.agent.last_switch_at
    return last is not None and q.now - last < timedelta(hours=q.aggregate.agent.config.min_pool_duration_hours)


def switches_within(aggregate: Aggregate, window: timedelta, now: datetime) -> int:
    """Automatic and manual switches of a rolling window, failed and in-flight ones included; emergencies are free."""
    done = [
        row
        for row in aggregate.switches.values()
        if row.trigger in COUNTED and row.state is not SwitchState.SUPERSEDED and now - row.recorded_at < window
    ]
    planned = AUTO_ORIGINS | {Origin.USER, Origin.OPERATOR, Origin.SCHEDULED}
    flying = [
        command
        for command in aggregate.open_commands
        if command.is_role_changing and command.kind is not CommandKind.PROMOTE and command.origin in planned
    ]
    return len(done) + len(flying)


def _daily(q: Question) -> bool:
    limit = q.aggregate.agent.config.max_switches_per_day
    return switches_within(q.aggregate, timedelta(hours=24), q.now) >= limit


def _weekly(q: Question) -> bool:
    limit = q.aggregate.agent.config.max_switches_per_week
    return switches_within(q.aggregate, timedelta(hours=168), q.now) >= limit


def _there(q: Question) -> bool:
    primary = q.aggregate.primary
    return primary is not None and (primary.mode, primary.pool_id) == (q.target.mode, q.target.pool_id)


def _incident(q: Question) -> bool:
    primary = q.aggregate.primary
    return primary is not None and q.aggregate.incident_of(primary.instance_id) is not None


_B, _W, _I = Weight.BLOCKS, Weight.WARNS, Weight.IGNORED

TABLE: Final[Mapping[Guard, tuple[Callable[[Question], bool], Weight, Weight]]] = {
    # guard: (fails when, for auto, for manual)
    Guard.NOT_EXECUTABLE: (lambda q: not q.aggregate.agent.abilities.can_switch, _B, _B),  # Z27
    Guard.AGENT_DISABLED: (lambda q: not q.aggregate.agent.config.enabled, _B, _B),
    Guard.AUTO_SWITCH_DISABLED: (lambda q: not q.aggregate.agent.config.auto_switch_enabled, _B, _I),
    Guard.AGENT_OFFLINE: (lambda q: q.aggregate.is_offline(q.now), _B, _W),
    Guard.INCIDENT_OPEN: (_incident, _B, _B),
    Guard.COMMAND_IN_FLIGHT: (lambda q: q.aggregate.role_change_in_flight is not None, _B, _B),  # I4
    Guard.COOLDOWN: (_cooldown, _B, _I),
    Guard.DAILY_LIMIT: (_daily, _B, _I),
    Guard.WEEKLY_LIMIT: (_weekly, _B, _I),
    Guard.PRICE_STALE: (_price_stale, _B, _W),
    Guard.LOW_IMPROVEMENT: (_low_improvement, _B, _I),
    Guard.HIGH_RISK: (_high_risk, _B, _W),
    Guard.ALREADY_THERE: (_there, _B, _B),
}


def _judged(
    aggregate: Aggregate, market: Market, target: Target, purpose: Purpose, now: datetime, weight: Weight
) -> tuple[Guard, ...]:
    question = Question(aggregate, market, target, now)
    column = 1 if purpose is Purpose.AUTO else 2
    return tuple(guard for guard, row in TABLE.items() if row[column] is weight and row[0](question))


def failing(aggregate: Aggregate, market: Market, target: Target, purpose: Purpose, now: datetime) -> tuple[Guard, ...]:
    """Every guard that forbids the switch, in the table's order; empty when it may go."""
    return _judged(aggregate, market, target, purpose, now, Weight.BLOCKS)


def warnings(
    aggregate: Aggregate, market: Market, target: Target, purpose: Purpose, now: datetime
) -> tuple[Guard, ...]:
    """Guards that would forbid an automatic switch and only warn a user."""
    return _judged(aggregate, market, target, purpose, now, Weight.WARNS)
