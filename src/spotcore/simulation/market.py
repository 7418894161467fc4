"""Pools: what they cost and how often they take machines back."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from attrs import frozen

from spotcore.errors import ValidationFailed
from spotcore.money import hourly_price
from spotcore.simulation.seeds import Stream

STEP_SECONDS: Final = 300
PULL: Final = 0.1  # per step, back towards the mean
SPREAD: Final = 0.02  # of the mean, per step


@frozen(kw_only=True)
class PoolSpec:
    """A pool of the scenario's instance type."""

    az: str
    price: str = "0.0345"  # mean, $/h
    interruption_hours: float = 24.0  # mean life of a machine; 0: never interrupted


@frozen(kw_only=True)
class PriceChange:
    """A price of a trace: from ``after`` the start it holds until the next."""

    after: timedelta
    az: str
    price: str


class PoolPrices:
    """Prices of one pool over time: a trace, or a seeded walk that is pulled back to its mean."""

    def __init__(self, spec: PoolSpec, seed: int, trace: tuple[PriceChange, ...]) -> None:
        self._trace = sorted((one for one in trace if one.az == spec.az), key=lambda one: one.after)
        self._mean = float(spec.price)
        self._stream = Stream(seed, f"price {spec.az}")
        self._walk = [self._mean]

    def at(self, seconds: float) -> Decimal:
        """$/h, so long after the start."""
        if self._trace:
            known = [one for one in self._trace if one.after.total_seconds() <= seconds] or self._trace[:1]
            return _price(known[-1].price)
        step = max(0, int(seconds // STEP_SECONDS))
        while len(self._walk) <= step:
            last = self._walk[-1]
            moved = last + PULL * (self._mean - last) + self._mean * SPREAD * self._stream.between(-1, 1)
            self._walk.append(max(self._mean * 0.3, moved))
        return _price(str(self._walk[step]))


def _price(text: str) -> Decimal:
    price = hourly_price(Decimal(text))
    if price is None:
        raise ValidationFailed("a price of the scenario is none", price=[f"{text} is not between 0 and 1000 $/h"])
    return price
