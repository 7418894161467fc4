"""Dashboard sessions over a cookie: sign in with a token, stay signed in, sign out (http-api 2.4, E100…E102)."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from spotadapters.http.auth import MAX_TOKEN
from spotcore.clients import ClientStatus
from spotcore.errors import Forbidden, InactiveClient, InvalidToken, SpotError
from spotcore.ports.storage import Credential, Credentials
from spotcore.ports.world import Clock, Identity
from spotcore.sessions import ENDS_AFTER, Session

COOKIE: Final = "so_session"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@frozen(kw_only=True)
class SignedIn:
    """A session and whose it is. ``secret`` is the cookie's value, known only when the session was just opened."""

    session: Session
    credential: Credential
    secret: str | None = None


class Sessions:
    """Opens, finds and ends sessions. The browser holds a random secret, storage its hash."""

    def __init__(self, credentials: Credentials, identity: Identity, clock: Clock) -> None:
        self._credentials = credentials
        self._identity = identity
        self._clock = clock

    def sign_in(self, token: str) -> SignedIn:
        """E100. Raises ``InvalidToken``, ``InactiveClient``."""
        now = self._clock.now()
        token_hash = self._identity.hash_token(token)
        credential = self._credentials.find(token_hash, now) if 0 < len(token) <= MAX_TOKEN else None
        client = credential.client if credential is not None else None
        if credential is None or (client is not None and client.status is ClientStatus.DELETED):
            raise InvalidToken("the token is unknown or has ended")
        if client is not None and client.is_suspended:
            raise InactiveClient("the client is suspended")
        secret = self._identity.new_token()
        session = Session(
            session_hash=self._identity.hash_token(secret), token_hash=token_hash, created_at=now, seen_at=now
        )
        self._credentials.open_session(session)
        return SignedIn(session=session, credential=credential, secret=secret)

    def find(self, secret: str) -> SignedIn | None:
        """The open session of a cookie; being asked keeps it open (12 h sliding, 7 days at most)."""
        if not 0 < len(secret) <= MAX_TOKEN:
            return None
        now = self._clock.now()
        found = self._credentials.find_session(self._identity.hash_token(secret), now)
        if found is None:
            return None
        session, credential = found
        later = session.seen(now)
        if later is not session:
            try:
                self._credentials.see_session(later)
            except SpotError:
                later = session  # it slides at the next request; being read mattered more
        return SignedIn(session=later, credential=credential)

    def sign_out(self, secret: str) -> None:
        """E101."""
        self._credentials.end_session(self._identity.hash_token(secret))


@frozen(kw_only=True)
class Door:
    """Where a request came in: what decides about cookies."""

    scheme: str = "http"
    host: str = ""  # the Host header, with its port
    address: str = ""  # the caller's

    @classmethod
    def of(cls, scheme: str, headers: Mapping[str, str], address: str | None) -> "Door":
        """From a request's parts."""
        return cls(scheme=scheme, host=headers.get("host", "").lower(), address=address or "")


def same_origin(door: Door, headers: Mapping[str, str]) -> bool | None:
    """Whether ``Origin``, else ``Referer``, is this server's own; None when the request names neither.

    TLS may have ended before us, so the page's own scheme may be https where we see http; never the reverse."""
    named = headers.get("origin") or headers.get("referer")
    if not named:
        return None
    page = urlsplit(named)
    return page.netloc.lower() == door.host and page.scheme in (door.scheme, "https")


def check_origin(method: str, door: Door, headers: Mapping[str, str]) -> None:
    """Refuse an unsafe call with a cookie that another site's page may have sent (CSRF). Raises ``Forbidden``."""
    if method not in SAFE_METHODS and not same_origin(door, headers):
        raise Forbidden("a signed-in page may only change things from this server's own origin")


def _is_on_tls(door: Door, headers: Mapping[str, str]) -> bool:
    return door.scheme == "https" or headers.get("origin", "").startswith("https://")


def set_cookie(secret: str, door: Door, headers: Mapping[str, str]) -> str:
    """The header that signs a browser in."""
    secure = "; Secure" if _is_on_tls(door, headers) else ""
    life = int(ENDS_AFTER.total_seconds())
    return f"{COOKIE}={secret}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{secure}"


def clear_cookie() -> str:
    """The header that signs it out."""
    return f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
