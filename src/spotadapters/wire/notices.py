"""A notification as people read it (E87, and the frame ``NOTIFICATION``)."""

from datetime import datetime

from attrs import frozen

from spotadapters.wire.answers import shown
from spotadapters.wire.words import SEVERITY
from spotcore.events import Level


@frozen(kw_only=True)
class NotificationItem:
    """One message to people."""

    CAMEL = True

    id: str
    message: str
    severity: str = shown(doc="info, success, warning or error", example="warning")
    is_read: bool = shown(doc="whether the caller has read it; every client has its own answer for a broadcast")
    time: datetime
    client_id: str | None = shown(doc="null: a broadcast")


def notification_item(
    *, notification_id: str, client_id: str | None, severity: str, message: str, at: datetime, is_read: bool = False
) -> NotificationItem:
    """The item of a stored notification."""
    return NotificationItem(
        id=notification_id,
        message=message,
        severity=SEVERITY[Level(severity)],
        is_read=is_read,
        time=at,
        client_id=client_id,
    )
