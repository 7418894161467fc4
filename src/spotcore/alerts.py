"""Price alerts: what a client asked to be told of, and when a report makes it due (E82, E83)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import frozen

from spotcore.ids import ClientId
from spotcore.market import FRESH_FOR
from spotcore.prices import Observation

QUIET: Final = timedelta(hours=1)  # E83: at most one notification per alert and hour
DASHBOARD: Final = "dashboard"


class AlertType(StrEnum):
    """Which side of the threshold is of interest."""

    PRICE_ABOVE = "price_above"
    PRICE_BELOW = "price_below"


@frozen(kw_only=True)
class Alert:
    """A limit on a pool's spot price, $/h. ``pool_id`` None: any pool the client's agents report."""

    alert_id: str
    client_id: ClientId
    alert_type: AlertType
    threshold: Decimal
    pool_id: str | None = None
    enabled: bool = True
    notification_channels: tuple[str, ...] = (DASHBOARD,)  # the dashboard is always served; others are kept as given
    created_at: datetime
    fired_at: datetime | None = None

    def is_quiet(self, now: datetime) -> bool:
        """True while it has been heard within the hour."""
        return self.fired_at is not None and now - self.fired_at < QUIET

    def concerns(self, pool_id: str) -> bool:
        """True for a pool it watches."""
        return self.pool_id is None or self.pool_id == pool_id

    def is_crossed(self, price: Decimal) -> bool:
        """True beyond the threshold; a price on it is not."""
        if self.alert_type is AlertType.PRICE_ABOVE:
            return price > self.threshold
        return price < self.threshold


@frozen(kw_only=True)
class Crossing:
    """An alert that is due, and the observation that says why."""

    alert: Alert
    observation: Observation


def crossings(alerts: Iterable[Alert], observations: Sequence[Observation], now: datetime) -> tuple[Crossing, ...]:
    """The alerts a report makes due, each with its most telling price. An old price is news to nobody (Z15)."""
    fresh = [row for row in observations if now - row.observed_at <= FRESH_FOR]
    found: list[Crossing] = []
    for alert in alerts:
        if not alert.enabled or alert.is_quiet(now):
            continue
        crossed = [row for row in fresh if alert.concerns(row.pool_id) and alert.is_crossed(row.price)]
        if crossed:
            found.append(Crossing(alert=alert, observation=_furthest(alert, crossed)))
    return tuple(found)


def _furthest(alert: Alert, crossed: Sequence[Observation]) -> Observation:
    if alert.alert_type is AlertType.PRICE_ABOVE:
        return max(crossed, key=lambda row: row.price)
    return min(crossed, key=lambda row: row.price)
