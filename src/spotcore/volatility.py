"""How steady a pool's price is, and what a switch would change: figures for people, computed or unknown (4.3, S27)."""

import math
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import frozen

VERY_LOW_BELOW: Final = Decimal("0.05")
LOW_BELOW: Final = Decimal("0.10")
MEDIUM_BELOW: Final = Decimal("0.20")
STABILITY_NEEDS: Final = 12  # buckets
RATE_NEEDS_DAYS: Final = Decimal(1)
STRONG_ABOVE: Final = Decimal("0.002")  # $/h
BUCKETS_PER_DAY: Final = 288
PLACES: Final = Decimal("0.000001")


class VolatilityClass(StrEnum):
    """Volatility by stddev ÷ mean over 24 hours."""

    VERY_LOW = "very_low"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    UNKNOWN = "unknown"


class SwitchAdvice(StrEnum):
    """What a simulated switch is worth."""

    STRONGLY_RECOMMENDED = "strongly_recommended"
    RECOMMENDED = "recommended"
    NEUTRAL = "neutral"
    NOT_RECOMMENDED = "not_recommended"


def deviation(prices: Sequence[Decimal]) -> Decimal | None:
    """Standard deviation of the population, $/h; None without prices."""
    if not prices:
        return None
    mean = sum(prices, Decimal(0)) / len(prices)
    return (sum(((price - mean) ** 2 for price in prices), Decimal(0)) / len(prices)).sqrt()


def variation(prices: Sequence[Decimal]) -> Decimal | None:
    """Standard deviation ÷ mean; None without prices."""
    spread = deviation(prices)
    return spread / (sum(prices, Decimal(0)) / len(prices)) if spread is not None else None


def volatility(prices: Sequence[Decimal]) -> VolatilityClass:
    """The class of a day's prices."""
    value = variation(prices)
    if value is None:
        return VolatilityClass.UNKNOWN
    if value < VERY_LOW_BELOW:
        return VolatilityClass.VERY_LOW
    if value < LOW_BELOW:
        return VolatilityClass.LOW
    return VolatilityClass.MEDIUM if value < MEDIUM_BELOW else VolatilityClass.HIGH


def stability(prices: Sequence[Decimal]) -> Decimal | None:
    """1 − min(1, stddev ÷ mean); None below 12 buckets."""
    value = variation(prices) if len(prices) >= STABILITY_NEEDS else None
    return round(1 - min(Decimal(1), value), 4) if value is not None else None


def interruption_rate(incidents: int, machine_days: Decimal) -> Decimal | None:
    """Incidents per machine and day; None below one machine-day of observation."""
    return round(incidents / machine_days, 4) if machine_days >= RATE_NEEDS_DAYS else None


def interruption_probability(rate: Decimal | None) -> Decimal | None:
    """The chance of at least one interruption within a day at that rate, 1 − e^−rate."""
    return round(Decimal(str(1 - math.exp(-float(rate)))), 4) if rate is not None else None


@frozen(kw_only=True)
class SwitchFigures:
    """What a switch would change, $; None where a price is unknown."""

    hourly: Decimal | None
    daily: Decimal | None
    monthly: Decimal | None  # 30 days
    advice: SwitchAdvice | None


def switch_figures(current: Decimal | None, target: Decimal | None) -> SwitchFigures:
    """Savings of paying ``target`` instead of ``current``, both $/h."""
    if current is None or target is None:
        return SwitchFigures(hourly=None, daily=None, monthly=None, advice=None)
    hourly = current - target
    return SwitchFigures(hourly=hourly, daily=hourly * 24, monthly=hourly * 24 * 30, advice=_advice(hourly))


def _advice(hourly: Decimal) -> SwitchAdvice:
    if hourly > STRONG_ABOVE:
        return SwitchAdvice.STRONGLY_RECOMMENDED
    if hourly > 0:
        return SwitchAdvice.RECOMMENDED
    return SwitchAdvice.NEUTRAL if hourly == 0 else SwitchAdvice.NOT_RECOMMENDED
