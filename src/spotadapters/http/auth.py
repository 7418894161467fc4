"""Who calls: bearer tokens, and what each may reach (http-api 2.1, 2.2, Z25, Z26)."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from spotcore.clients import Client, ClientStatus
from spotcore.errors import Forbidden, InactiveClient, InvalidAuthFormat, InvalidToken, Unauthorized
from spotcore.ids import ClientId
from spotcore.ports.storage import Credential, Credentials
from spotcore.ports.world import Identity
from spotcore.service.kernel import Caller
from spotcore.sessions import Session

SIGNED_OUT: Final = "Signed out. Open /login"
MAX_TOKEN: Final = 512


class Needs(StrEnum):
    """The column *Auth* of the index."""

    NOBODY = "-"
    ADMIN = "A"
    CLIENT = "C"
    EITHER = "C/A"
    SESSION = "cookie"


@frozen(kw_only=True)
class Access:
    """What an endpoint asks of its caller."""

    needs: Needs
    while_suspended: bool = False  # Z26
    winding_down: bool = False  # Z25


@frozen(kw_only=True)
class Principal:
    """An authenticated caller. ``client`` is None for the operator; ``session`` is set for a signed-in browser."""

    client: Client | None
    session: Session | None = None

    @property
    def is_admin(self) -> bool:
        """True for the operator's token."""
        return self.client is None

    def acting(self, client_id: ClientId | None, *, actor: str) -> Caller:
        """The caller as use cases know it: a client acts for itself, the operator for the client it names."""
        if self.client is not None:
            if client_id is not None and client_id != self.client.client_id:
                raise Forbidden("the token belongs to another client")
            return Caller(client_id=self.client.client_id, actor=actor)
        return Caller(client_id=client_id or ClientId(""), actor="admin")


def bearer(header: str | None, body: Mapping[str, Any] | None) -> str:
    """The token of a request. Only registration reads one from the body (S13), and only without a header."""
    if header is None or not header.strip():
        fallback = (body or {}).get("client_token") or (body or {}).get("token")
        if isinstance(fallback, str) and fallback.strip():
            return fallback.strip()
        raise Unauthorized(SIGNED_OUT)
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidAuthFormat("send Authorization: Bearer <token>")
    return token.strip()


def authenticate(token: str, access: Access, credentials: Credentials, identity: Identity, now: datetime) -> Principal:
    """The principal a token stands for, if it may reach this endpoint at all."""
    if access.needs is Needs.SESSION:
        raise Unauthorized(SIGNED_OUT)
    found = credentials.find(identity.hash_token(token), now) if len(token) <= MAX_TOKEN else None
    if found is None:
        raise InvalidToken("the token is unknown or has ended")
    return admitted(found, access)


def admitted(found: Credential, access: Access, session: Session | None = None) -> Principal:
    """The principal of a valid credential. Raises the refusals of 2.2, Z25 and Z26."""
    client = found.client
    if client is None:
        if access.needs is Needs.CLIENT:
            raise InvalidToken("this call takes a client token")
        return Principal(client=None, session=session)
    if access.needs is Needs.ADMIN:
        raise InvalidToken("this call takes an admin token")
    if client.status is ClientStatus.DELETED and not access.winding_down:
        raise InvalidToken("the token is unknown or has ended")
    if client.status is ClientStatus.SUSPENDED and not access.while_suspended:
        raise InactiveClient("the client is suspended")
    return Principal(client=client, session=session)
