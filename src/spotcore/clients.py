"""Clients (tenants): life, limits and new-agent defaults (section 1.1)."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import evolve, frozen

from spotcore.errors import StateConflict, ValidationFailed
from spotcore.ids import ClientId

MAX_GRACE: Final = timedelta(seconds=86_400)  # CL-3
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")


class ClientStatus(StrEnum):
    """Whether a tenant is served (1.1)."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


TRANSITIONS: Final = {
    (ClientStatus.ACTIVE, ClientStatus.SUSPENDED),
    (ClientStatus.SUSPENDED, ClientStatus.ACTIVE),
    (ClientStatus.ACTIVE, ClientStatus.DELETED),
    (ClientStatus.SUSPENDED, ClientStatus.DELETED),
}


@frozen(kw_only=True)
class Client:
    """A tenant. One status field, never a flag beside it (CL-1)."""

    client_id: ClientId
    name: str
    email: str | None = None
    status: ClientStatus = ClientStatus.ACTIVE
    created_at: datetime
    deleted_at: datetime | None = None
    max_agents: int | None = None  # CL-4
    max_instances: int | None = None
    default_auto_switch: bool = True  # CL-7
    default_auto_terminate: bool = True
    default_terminate_wait_seconds: int = 300
    total_savings: Decimal = Decimal(0)  # $, the legacy estimate of 7.1

    @property
    def is_suspended(self) -> bool:
        """True while only the calls an emergency needs are served (Z26)."""
        return self.status is ClientStatus.SUSPENDED


def moved(client: Client, status: ClientStatus, now: datetime) -> Client:
    """The client in ``status``; the same object when it is there already. ``deleted`` is terminal (GR-4)."""
    if client.status is status:
        return client
    if (client.status, status) not in TRANSITIONS:
        raise StateConflict(f"a {client.status} client cannot become {status}")
    return evolve(client, status=status, deleted_at=now if status is ClientStatus.DELETED else None)


def valid_name(name: str) -> str:
    """The trimmed name; ``ValidationFailed`` unless 1 to 255 characters (E10)."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= 255:
        raise ValidationFailed("a client needs a name", name=["use 1 to 255 characters"])
    return trimmed


def valid_email(email: str | None) -> str | None:
    """The lower-cased address, None when absent; ``ValidationFailed`` when it is no address (E10)."""
    if email is None or not email.strip():
        return None
    address = email.strip().lower()
    if len(address) > 255 or _EMAIL.fullmatch(address) is None:
        raise ValidationFailed("the e-mail is no address", email=["use name@host.domain"])
    return address
