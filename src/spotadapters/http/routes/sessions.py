"""E100…E102: the dashboard's session."""

from datetime import datetime
from typing import Final

from spotadapters.http.auth import SIGNED_OUT, Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.limits import FAILED_LOGINS
from spotadapters.http.routing import Call, Endpoint
from spotadapters.http.sessions import clear_cookie, same_origin, set_cookie
from spotadapters.wire.parsing import required
from spotadapters.wire.shapes import shape
from spotcore.errors import Forbidden, InvalidToken, Unauthorized

NO_STORE: Final = {"Cache-Control": "no-store"}


@shape
class Login:
    """E100."""

    token: str = required(limit=512)


@shape
class Role:
    """E100: who is signed in."""

    role: str
    client_id: str | None


@shape
class SessionView:
    """E102."""

    role: str
    client_id: str | None
    expires_at: datetime


@shape
class SignedOut:
    """E101."""

    success: bool = True


def login(call: Call) -> Answer:
    """E100. Failures are counted by address."""
    if same_origin(call.door, call.headers) is False:
        raise Forbidden("sign in from this server's own page")
    body = call.parse(Login)
    call.limits.require_room(FAILED_LOGINS, call.door.address)
    try:
        signed_in = call.sessions.sign_in(body.token)
    except InvalidToken:
        call.limits.count(FAILED_LOGINS, call.door.address)
        raise
    assert signed_in.secret is not None  # it was opened just now
    client = signed_in.credential.client
    return Answer(
        data=Role(role="client" if client else "admin", client_id=client.client_id if client else None),
        headers={**NO_STORE, "Set-Cookie": set_cookie(signed_in.secret, call.door, call.headers)},
    )


def logout(call: Call) -> Answer:
    """E101."""
    if call.cookie is not None:
        call.sessions.sign_out(call.cookie)
    return Answer(data=SignedOut(), headers={**NO_STORE, "Set-Cookie": clear_cookie()})


def session(call: Call) -> Answer:
    """E102."""
    opened, client = call.principal.session, call.principal.client
    if opened is None:
        raise Unauthorized(SIGNED_OUT)
    return Answer(
        data=SessionView(
            role="client" if client else "admin",
            client_id=client.client_id if client else None,
            expires_at=opened.expires_at,
        ),
        headers=NO_STORE,
    )


SIGNED_IN: Final = Access(needs=Needs.SESSION)
routes = [
    Endpoint(
        number="E100", method="POST", path="/api/auth/login", handler=login, access=Access(needs=Needs.NOBODY),
        body=Login, answers=Role, refuses=("INVALID_TOKEN", "INACTIVE_CLIENT", "FORBIDDEN", "RATE_LIMITED"),
    ),
    Endpoint(
        number="E101", method="POST", path="/api/auth/logout", handler=logout, access=SIGNED_IN, answers=SignedOut,
    ),
    Endpoint(
        number="E102", method="GET", path="/api/auth/session", handler=session, access=SIGNED_IN, answers=SessionView,
    ),
]  # fmt: skip
