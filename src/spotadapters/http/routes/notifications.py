"""E82, E83, E87…E89: price alerts, and notifications that people read."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.routing import MAX_ID, Call, Endpoint
from spotadapters.wire.answers import shown
from spotadapters.wire.asking import switch, text, whole
from spotadapters.wire.notices import NotificationItem, notification_item
from spotadapters.wire.parsing import required, wire
from spotadapters.wire.shapes import shape
from spotcore.alerts import DASHBOARD, Alert, AlertType
from spotcore.errors import ValidationFailed
from spotcore.ids import ClientId
from spotcore.service.alerts import AlertRequest

PEOPLE: Final = Access(needs=Needs.EITHER)
ALERT_TYPES: Final = frozenset(one.value for one in AlertType)
MAX_CHANNELS: Final = 10
MAX_CHANNEL: Final = 64


# ---- price alerts


@shape
class AlertItem:
    """A price alert."""

    alert_id: str
    alert_type: str = shown(doc="price_above or price_below")
    pool_id: str | None = shown(doc="null: any pool that the client's agents report")
    threshold: Decimal
    threshold_price: Decimal
    enabled: bool
    notification_channels: tuple[str, ...]
    created_at: datetime


@shape
class CreateAlert:
    """E83."""

    threshold: Decimal = required("threshold_price")
    alert_type: str = wire(default=AlertType.PRICE_BELOW.value)
    pool_id: str | None = wire(limit=128)
    notification_channels: tuple[str, ...] = wire(default=(DASHBOARD,))
    enabled: bool = wire(default=True)


def _alert_item(alert: Alert) -> AlertItem:
    return AlertItem(
        alert_id=alert.alert_id,
        alert_type=alert.alert_type.value,
        pool_id=alert.pool_id,
        threshold=alert.threshold,
        threshold_price=alert.threshold,
        enabled=alert.enabled,
        notification_channels=alert.notification_channels,
        created_at=alert.created_at,
    )


def alerts(call: Call) -> Answer:
    """E82."""
    return Answer(data=[_alert_item(one) for one in call.plane.alerts.of_client(call.client_caller())])


def create_alert(call: Call) -> Answer:
    """E83."""
    caller = call.client_caller()
    body = call.parse(CreateAlert)
    if body.alert_type not in ALERT_TYPES:
        raise ValidationFailed("invalid: alert_type", alert_type=["use price_above or price_below"])
    if len(body.notification_channels) > MAX_CHANNELS or any(
        not 0 < len(one) <= MAX_CHANNEL for one in body.notification_channels
    ):
        raise ValidationFailed(
            "invalid: notification_channels",
            notification_channels=[f"use at most {MAX_CHANNELS} words of at most {MAX_CHANNEL} characters"],
        )
    wanted = AlertRequest(
        threshold=body.threshold,
        alert_type=AlertType(body.alert_type),
        pool_id=body.pool_id or None,
        notification_channels=body.notification_channels,
        enabled=body.enabled,
    )
    return Answer(data=_alert_item(call.plane.alerts.add(caller, wanted)), status=201)


# ---- notifications


@shape
class NotificationQuery:
    """E87."""

    limit: int = whole(10, 1, 100)
    client_id: str | None = text(limit=MAX_ID)
    unread: bool = switch()


@shape
class MarkAll:
    """E89. ``client_id`` narrows the operator's view; of a client it is not read."""

    client_id: str | None = wire(limit=MAX_ID)


@shape
class Marked:
    """E88."""

    success: bool = True


@shape
class MarkedAll:
    """E89."""

    success: bool = True
    marked_count: int


def _reader(call: Call) -> ClientId | None:
    return call.principal.client.client_id if call.principal.client is not None else None


def notifications(call: Call) -> Answer:
    """E87."""
    asked = call.asked(NotificationQuery)
    named = ClientId(asked.client_id) if asked.client_id is not None else None
    scope = call.principal.acting(named, actor="client").client_id or None
    reader = _reader(call)
    found = call.reads.notices.newest(reader, of=scope, only_unread=asked.unread, limit=asked.limit)
    return Answer(data=[_item(row) for row in found.rows], headers={"X-Unread-Count": str(found.unread)})


def _item(row: Mapping[str, Any]) -> NotificationItem:
    return notification_item(**row)


def mark_read(call: Call) -> Answer:
    """E88."""
    call.plane.notices.mark_read(_reader(call), call.path_id("notification_id"))
    return Answer(data=Marked())


def mark_all_read(call: Call) -> Answer:
    """E89."""
    reader = _reader(call)
    named = call.parse(MarkAll).client_id if reader is None else None
    marked = call.plane.notices.mark_all_read(reader, of=ClientId(named) if named else None)
    return Answer(data=MarkedAll(marked_count=marked))


ALERTS: Final = "/api/client/{client_id}/pricing-alerts"
routes = [
    Endpoint(
        number="E82", method="GET", path=ALERTS, handler=alerts, access=PEOPLE, answers=tuple[AlertItem, ...],
        refuses=("NOT_FOUND",),
    ),
    Endpoint(
        number="E83", method="POST", path=ALERTS, handler=create_alert, access=PEOPLE, idempotent=True,
        body=CreateAlert, answers=AlertItem, statuses=(201,), refuses=("NOT_FOUND",),
    ),
    Endpoint(
        number="E89", method="POST", path="/api/notifications/mark-all-read", handler=mark_all_read, access=PEOPLE,
        body=MarkAll, answers=MarkedAll,
    ),
    Endpoint(
        number="E87", method="GET", path="/api/notifications", handler=notifications, access=PEOPLE,
        asks=NotificationQuery, answers=tuple[NotificationItem, ...],
    ),
    Endpoint(
        number="E88", method="POST", path="/api/notifications/{notification_id}/mark-read", handler=mark_read,
        access=PEOPLE, answers=Marked, refuses=("NOT_FOUND",),
    ),
]  # fmt: skip
