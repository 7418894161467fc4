"""Channels and their deliveries: made once when a notification is published, tried until accepted or given up."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from spotadapters.channels.sending import LIMITS, Notice, new_secret, require_address, send
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.reader import Reader
from spotadapters.system.identity import SecureIdentity
from spotcore.channels import AT_ONCE, LEASE, TRIES, UNHEARD, Attempt, ChannelKind, judge
from spotcore.errors import NotFound, SpotError, ValidationFailed
from spotcore.events import Level
from spotcore.instants import read_instant
from spotcore.ports.world import Clock

DUE_AT_ONCE: Final = 100
EVERYBODYS: Final = ""
NO_KEY: Final = "addresses are kept sealed, and there is no key: set SPOTCORE_SEAL_KEY (openssl rand -hex 32)"
TEST_MESSAGE: Final = "This is a test: the channel works."


@frozen(kw_only=True)
class NewChannel:
    """A channel that was just made. A webhook's ``secret`` is shown once."""

    channel_id: str
    label: str
    secret: str | None


class Channels(Reader):
    """For the operator; every call is one transaction."""

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        identity: SecureIdentity,
        *,
        limits: Mapping[ChannelKind, float] = LIMITS,
    ) -> None:
        """``limits``: seconds that an attempt may take."""
        super().__init__(connections, clock)
        self._identity = identity
        self._limits = limits

    def add(self, client_id: str | None, kind: ChannelKind, address: str, min_severity: Level) -> NewChannel:
        """A new channel; ``client_id`` None hears of every client. Raises ``ValidationFailed``, ``NotFound``."""
        label = require_address(kind, address)
        secret = new_secret() if kind is ChannelKind.WEBHOOK else None
        channel_id = self._identity.new_id()
        values = {
            "client_id": client_id or EVERYBODYS,
            "channel_id": channel_id,
            "kind": kind.value,
            "label": label,
            "sealed_address": self._sealed(address),
            "sealed_secret": self._sealed(secret) if secret else None,
            "min_severity": min_severity.value,
        }
        if not self._once("channel_add", values):
            raise NotFound("unknown client")
        return NewChannel(channel_id=channel_id, label=label, secret=secret)

    def listed(self) -> list[dict[str, Any]]:
        """All channels, with the counts of their deliveries."""
        return self.rows("channel_list", dict)

    def remove(self, channel_id: str) -> None:
        """End a channel and forget its deliveries. Raises ``NotFound``."""
        if not self._once("channel_remove", {"channel_id": channel_id}):
            raise NotFound("unknown channel; see: spotcore channels list")

    def test(self, channel_id: str) -> Attempt:
        """Send a test message now and say what came of it. Raises ``NotFound``."""
        delivery_id = f"test.{self._identity.new_id()}"
        if not self._once("delivery_test", {"channel_id": channel_id, "delivery_id": delivery_id}):
            raise NotFound("unknown channel; see: spotcore channels list")
        attempt = self.attempt(delivery_id)
        return attempt if attempt is not None else Attempt(error="a worker of the server took it; see: deliveries")

    def due(self) -> Sequence[str]:
        """Deliveries whose next attempt is due, the longest waiting first: of a channel no more than may be tried
        besides what is under way."""
        values = {
            "limit": DUE_AT_ONCE,
            "at_once": AT_ONCE,
            "unheard": UNHEARD,
            "lease_until": self._clock.now() + LEASE,
        }
        return self._rows("deliveries_due", values)

    def beside(self, delivery_id: str) -> Sequence[str]:
        """What is due on the channel of a delivery, the longest waiting first."""
        return self._rows("deliveries_beside", {"delivery_id": delivery_id, "limit": DUE_AT_ONCE})

    def attempt(self, delivery_id: str) -> Attempt | None:
        """Try one delivery; None when it is not due, or somebody else is at it, or its last attempt died with its
        process. Safe to call twice and anywhere."""
        now = self._clock.now()
        rows = self._once(
            "delivery_claim",
            {"delivery_id": delivery_id, "lease_until": now + LEASE, "tries": TRIES, "unheard": UNHEARD},
        )
        if not rows:
            return None
        row = rows[0]
        attempt = self._sent(row, now)
        verdict = judge(attempt, row["attempts"], self._clock.now())
        self._rows(
            "delivery_end",
            {
                "delivery_id": delivery_id,
                "attempts": row["attempts"],
                "state": verdict.state.value,
                "next_attempt_at": verdict.next_attempt_at,
                "error": attempt.error,
            },
        )
        return attempt

    def deliveries(self, state: str | None, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        return self.rows("delivery_list", dict, state=state, limit=limit)

    def replay(self, delivery_id: str) -> None:
        """Give a dead delivery all its attempts again. Raises ``NotFound``."""
        if not self._once("delivery_replay", {"delivery_id": delivery_id}):
            raise NotFound("no dead delivery of that id; see: spotcore channels deliveries --state dead")

    def _sent(self, row: dict[str, Any], now: datetime) -> Attempt:
        address, secret = self._opened(row["sealed_address"]), self._opened(row["sealed_secret"])
        if address is None or (row["kind"] == ChannelKind.WEBHOOK and secret is None):
            return Attempt(error="sealed with another key: put that back, or remove the channel and add it again")
        notice = _notice(row, now)
        if notice is None:
            return Attempt(error="the notification has reached its age", is_final=True)
        try:
            kind = ChannelKind(row["kind"])
            return send(kind, address, secret, notice, now, seconds=self._limits[kind])
        except SpotError as refusal:
            return Attempt(error=refusal.message)

    def _sealed(self, text: str) -> bytes:
        sealed = self._identity.seal(text)
        if sealed is None:
            raise ValidationFailed(NO_KEY)
        return sealed

    def _opened(self, sealed: str | None) -> str | None:
        return self._identity.unseal(bytes.fromhex(sealed)) if sealed else None


def _notice(row: dict[str, Any], now: datetime) -> Notice | None:
    if row["is_test"]:
        return Notice(notice_id=row["delivery_id"], kind="test", severity="info", message=TEST_MESSAGE, at=now)
    found = row["notice"]
    if found is None:
        return None
    at = read_instant(found["at"])
    assert at is not None
    return Notice(
        notice_id=found["id"],
        kind=found["kind"] or "notification",
        severity=found["severity"],
        message=found["message"],
        at=at,
        client_id=found["client_id"],
        agent_id=found["agent_id"],
        instance_id=found["instance_id"],
    )
