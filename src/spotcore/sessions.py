"""Dashboard sessions: a browser's stand-in for the token that signed it in (http-api 2.4)."""

from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

IDLE_AFTER: Final = timedelta(hours=12)
ENDS_AFTER: Final = timedelta(days=7)
NOTED_EVERY: Final = timedelta(minutes=5)  # an open page asks every five seconds; a write for each would be waste


@frozen(kw_only=True)
class Session:
    """A signed-in browser. It opens what its token opens, and ends with it. Only hashes are kept."""

    session_hash: str
    token_hash: str
    created_at: datetime
    seen_at: datetime

    @property
    def expires_at(self) -> datetime:
        """The earlier of the sliding end and the seven days."""
        return min(self.seen_at + IDLE_AFTER, self.created_at + ENDS_AFTER)

    def is_open(self, now: datetime) -> bool:
        """True until it expires."""
        return now < self.expires_at

    def seen(self, now: datetime) -> "Session":
        """The session after a request at ``now``; the same object when nothing worth noting changed."""
        return evolve(self, seen_at=now) if now - self.seen_at >= NOTED_EVERY else self
