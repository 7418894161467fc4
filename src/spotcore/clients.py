"""Clients (tenants): life, limits and new-agent defaults (section 1.1)."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from attrs import evolve, frozen

from spotcore.config import LIMITS, RANGES
from spotcore.errors import InvariantViolated, StateConflict, ValidationFailed
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


@frozen(kw_only=True)
class Defaults:
    """New-agent settings somebody wants (CL-7); None leaves one as it is."""

    auto_switch: bool | None = None
    auto_terminate: bool | None = None
    terminate_wait_seconds: int | None = None


def limited(client: Client, max_agents: int | None, max_instances: int | None) -> Client:
    """The client under these limits, None lifting one (CL-4). Raises ``ValidationFailed`` for a negative one."""
    given = {"max_agents": max_agents, "max_instances": max_instances}
    wrong = {name: ["use 0 or more"] for name, limit in given.items() if limit is not None and limit < 0}
    if wrong:
        raise ValidationFailed("a limit is a count", **wrong)
    return evolve(client, max_agents=max_agents, max_instances=max_instances)


def checked(client: Client) -> Client:
    """The same client; ``InvariantViolated`` for a limit below 0 (CL-4) or a default out of its range (CL-7)."""
    low, high = RANGES["terminate_wait_seconds"]
    if not low <= client.default_terminate_wait_seconds <= high:
        raise InvariantViolated(f"CL-7: the default wait is not within {low} and {high}", client_id=client.client_id)
    if any(limit is not None and limit < 0 for limit in (client.max_agents, client.max_instances)):
        raise InvariantViolated("CL-4: a limit is a count", client_id=client.client_id)
    return client


def with_defaults(client: Client, wanted: Defaults) -> Client:
    """The client whose future agents start so (CV-9). Raises ``ValidationFailed`` as an agent's settings do."""
    wait = wanted.terminate_wait_seconds
    problem = LIMITS["terminate_wait_seconds"](wait) if wait is not None else None
    if problem is not None:
        raise ValidationFailed("settings out of range; nothing was changed", terminate_wait_seconds=[problem])
    return evolve(
        client,
        default_auto_switch=client.default_auto_switch if wanted.auto_switch is None else wanted.auto_switch,
        default_auto_terminate=(
            client.default_auto_terminate if wanted.auto_terminate is None else wanted.auto_terminate
        ),
        default_terminate_wait_seconds=client.default_terminate_wait_seconds if wait is None else wait,
    )


def agent_settings(client: Client) -> dict[str, Any]:
    """The client's defaults as settings of an agent."""
    return {
        "auto_switch_enabled": client.default_auto_switch,
        "auto_terminate_enabled": client.default_auto_terminate,
        "terminate_wait_seconds": client.default_terminate_wait_seconds,
    }


def require_purgeable(client: Client, typed_name: str, agents_left: int) -> None:
    """CL-6: the name is typed exactly, the client is deleted, and no agent of it still winds down."""
    if typed_name != client.name:
        raise ValidationFailed("that is not the client's name; nothing was purged", name=["type the name exactly"])
    if client.status is not ClientStatus.DELETED:
        raise StateConflict(f"a client is deleted before it is purged; this one is {client.status}")
    if agents_left:
        raise StateConflict(f"{agents_left} agents are still winding down; purge when they are gone (at most a day)")


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
