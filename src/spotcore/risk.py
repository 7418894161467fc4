"""How likely a pool is to be interrupted: a weighted mean of what is known (4.3). Unknown is a prior, and says so."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import frozen

from spotcore.aggregate import Aggregate
from spotcore.market import Market, PoolRecord
from spotcore.pools import Mode

PRIOR: Final = Decimal("0.50")
YOUNG_FLOOR: Final = Decimal("0.30")
YOUNG_FOR: Final = timedelta(hours=24)
WEIGHT_INTERRUPTIONS: Final = Decimal("0.40")
WEIGHT_AGE: Final = Decimal("0.30")
WEIGHT_TREND: Final = Decimal("0.30")
LOW_BELOW: Final = Decimal("0.20")
MEDIUM_BELOW: Final = Decimal("0.50")
MEDIUM_NEEDS_IMPROVEMENT_PERCENT: Final = Decimal(50)


class Band(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Advice(StrEnum):
    """Pool advice for display."""

    SAFE = "safe"
    CAUTION = "caution"
    AVOID = "avoid"


@frozen(kw_only=True)
class Risk:
    """A score in 0…1 and how it came about: ``prior`` without data, ``young_pool`` in a pool's first day."""

    score: Decimal
    flags: tuple[str, ...] = ()


def _unit(value: Decimal) -> Decimal:
    return min(max(value, Decimal(0)), Decimal(1))


def pool_risk(record: PoolRecord | None, now: datetime, *, launched_at: datetime | None = None) -> Risk:
    """The risk of a pool; ``launched_at`` adds the age of the machine that runs there, for a current pool alone."""
    parts: list[tuple[Decimal, Decimal]] = []
    young = record is None or record.first_observed_at is None or now - record.first_observed_at < YOUNG_FOR
    if record is not None and not young:
        parts.append((WEIGHT_INTERRUPTIONS, _unit(Decimal(record.incidents_7d) / 10)))
    if launched_at is not None:
        hours = Decimal(str(max(0.0, (now - launched_at) / timedelta(hours=1))))
        parts.append((WEIGHT_AGE, _unit(hours / 12)))
    if record is not None and len(record.recent_prices) >= 2 and record.recent_prices[0] > 0:
        oldest, newest = record.recent_prices[0], record.recent_prices[-1]
        parts.append((WEIGHT_TREND, _unit((newest - oldest) / oldest)))
    if not parts:
        return Risk(score=PRIOR, flags=("prior",))
    score = sum((weight * value for weight, value in parts), Decimal(0)) / sum(weight for weight, _ in parts)
    if young:
        return Risk(score=max(score, YOUNG_FLOOR), flags=("young_pool",))
    return Risk(score=score)


def current(aggregate: Aggregate, market: Market, now: datetime) -> Risk | None:
    """The risk of the primary's pool; None while it is not known to be on spot."""
    primary = aggregate.primary
    if primary is None or primary.mode is not Mode.SPOT or primary.pool_id is None:
        return None
    return pool_risk(market.pools.get(primary.pool_id), now, launched_at=primary.confirmed_at or primary.created_at)


def band(score: Decimal) -> Band:
    """Low below 0.20, medium below 0.50, else high."""
    if score < LOW_BELOW:
        return Band.LOW
    return Band.MEDIUM if score < MEDIUM_BELOW else Band.HIGH


def recommendable(score: Decimal, improvement_percent: Decimal) -> bool:
    """The policy of the bands: high never, medium only for an improvement above 50 %."""
    match band(score):
        case Band.LOW:
            return True
        case Band.MEDIUM:
            return improvement_percent > MEDIUM_NEEDS_IMPROVEMENT_PERCENT
        case Band.HIGH:
            return False


def advice(risk: Risk | None) -> Advice | None:
    """Safe up to 0.40, caution up to 0.70, else avoid; None while nothing is known of the pool."""
    if risk is None or "prior" in risk.flags:
        return None
    if risk.score <= Decimal("0.40"):
        return Advice.SAFE
    return Advice.CAUTION if risk.score <= Decimal("0.70") else Advice.AVOID
