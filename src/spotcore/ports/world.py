"""The clock, identities and engines the core is handed."""

from datetime import datetime
from typing import Protocol

from spotcore.decisions import Proposal, Snapshot
from spotcore.judgement import Advice


class Clock(Protocol):
    """Tells the time, aware and UTC."""

    def now(self) -> datetime: ...


class Identity(Protocol):
    """Ids and secrets that need randomness, and the sealing of tokens (CL-2)."""

    def new_id(self) -> str:
        """UUID text."""
        ...

    def new_token(self) -> str:
        """64 lower-case hex characters from a cryptographic source."""
        ...

    def hash_token(self, token: str) -> str:
        """SHA-256 hex of a token: the look-up key."""
        ...

    def seal(self, token: str) -> bytes | None:
        """The token under the server's key, None when read-back is off."""
        ...

    def unseal(self, sealed: bytes) -> str | None:
        """The clear token, None when it cannot be opened with this key."""
        ...


class Engine(Protocol):
    """A decision engine: a snapshot in, a proposal out, within 2 s. It may raise anything; the caller judges (4.6)."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    def propose(self, snapshot: Snapshot) -> Proposal: ...


class Advisor(Protocol):
    """Asks an engine and never fails itself: within the deadline there is advice, the rules' at worst (4.6)."""

    def advise(self, snapshot: Snapshot) -> Advice: ...
