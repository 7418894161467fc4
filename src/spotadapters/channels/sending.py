"""One attempt to hand a notification to a channel. Webhooks follow Standard Webhooks 1.0 (standardwebhooks.com)."""

import base64
import hashlib
import hmac
import json
import secrets
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any, Final

from attrs import frozen

from spotadapters.channels.bounded import TookTooLong, within
from spotcore.channels import Attempt, ChannelKind
from spotcore.errors import ValidationFailed

LIMITS: Final[Mapping[ChannelKind, float]] = {ChannelKind.WEBHOOK: 12.0, ChannelKind.APPRISE: 30.0}
"""Seconds that an attempt may take as a whole, whatever the receiver does: mail servers let one wait."""

TIMEOUT_SECONDS: Final = 10.0  # without a sign of the receiver
SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 24
GONE: Final = 410  # the receiver asks for no more
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
NO_APPRISE: Final = "the library for this channel is not installed; install: spotcore[notify]"


@frozen(kw_only=True)
class Notice:
    """What is told. ``notice_id`` is the same in every attempt: receivers drop what they know."""

    notice_id: str
    kind: str
    severity: str
    message: str
    at: datetime
    client_id: str | None = None
    agent_id: str | None = None
    instance_id: str | None = None

    def body(self) -> bytes:
        """The webhook's JSON."""
        data: dict[str, Any] = {
            "id": self.notice_id,
            "severity": self.severity,
            "message": self.message,
            "client_id": self.client_id,
            "agent_id": self.agent_id,
            "instance_id": self.instance_id,
        }
        return json.dumps({"type": self.kind, "timestamp": self.at.isoformat(), "data": data}).encode()


def new_secret() -> str:
    """A signing secret as receivers' libraries take it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, notice_id: str, timestamp: int, body: bytes) -> str:
    """``v1,`` and the base64 of HMAC-SHA256 over id, time and body: neither can be changed or replayed much later."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    content = f"{notice_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def require_address(kind: ChannelKind, address: str) -> str:
    """What people may see of the address. Raises ``ValidationFailed`` with what would be right."""
    if kind is ChannelKind.WEBHOOK:
        import httpx2

        try:
            url = httpx2.URL(address)
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if not url.host or url.scheme not in ("http", "https"):
            raise ValidationFailed("a webhook is an address like https://example.com/hooks/spot")
        if url.scheme == "http" and url.host not in LOOPBACK:
            raise ValidationFailed("a webhook needs https: its messages name your machines")
        return f"{url.scheme}://{url.host}"
    scheme, mark, _ = address.partition("://")
    if not mark or _apprise()(address) is None:
        raise ValidationFailed("not an address the library knows; e.g. mailto://user:password@example.com, slack://…")
    return f"{scheme}://…"


def send(
    kind: ChannelKind, address: str, secret: str | None, notice: Notice, now: datetime, *, seconds: float
) -> Attempt:
    """Try once, for so many seconds at most; never raises for what the other side does."""
    if kind is ChannelKind.APPRISE:
        call = partial(_notify, address, notice)
    else:
        assert secret is not None  # a constraint of the table
        call = partial(_webhook, address, secret, notice, now)
    try:
        return within(seconds, call)
    except TookTooLong:
        return Attempt(error=f"took longer than {seconds:g} s")


def _webhook(address: str, secret: str, notice: Notice, now: datetime) -> Attempt:
    import httpx2  # a server that has sent nothing yet starts without it

    body, timestamp = notice.body(), int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "spotcore",
        "webhook-id": notice.notice_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, notice.notice_id, timestamp, body),
    }
    try:
        with httpx2.stream(
            "POST", address, content=body, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=False,
            trust_env=False, verify=_known_authorities(),
        ) as answer:  # fmt: skip
            status, is_success = answer.status_code, answer.is_success  # what else it sends is not read: it may not end
    except httpx2.HTTPError as failure:
        return Attempt(error=type(failure).__name__)
    return Attempt() if is_success else Attempt(error=f"answered {status}", is_final=status == GONE)


@cache
def _known_authorities() -> ssl.SSLContext:
    """Whom to believe over TLS; to read them takes 40 ms, ten times as long as the message."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


def _notify(address: str, notice: Notice) -> Attempt:
    target = _apprise()(address)
    if target is None:
        return Attempt(error="the address is no longer understood", is_final=True)
    try:
        accepted = target.notify(title=f"spotcore: {notice.severity}", body=notice.message)
    except Exception as failure:  # a plugin's own
        return Attempt(error=type(failure).__name__)
    return Attempt() if accepted else Attempt(error="was not accepted")


def _apprise() -> Callable[[str], Any]:
    try:
        from apprise import Apprise
    except ImportError:
        raise ValidationFailed(NO_APPRISE) from None
    return lambda address: Apprise.instantiate(address, suppress_exceptions=True)
