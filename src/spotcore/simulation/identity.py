"""Ids and tokens of a simulated world: in order, and the same for the same seed. Nothing here is secret."""

import hashlib
import itertools


class CountedIdentity:
    """The ``Identity`` port without chance."""

    def __init__(self, seed: int) -> None:
        self._prefix = hashlib.sha256(f"identity {seed}".encode()).hexdigest()
        self._count = itertools.count(1)

    def new_id(self) -> str:
        """UUID-shaped text."""
        return f"{self._prefix[:8]}-{self._prefix[8:12]}-4000-8000-{next(self._count):012d}"

    def new_token(self) -> str:
        """64 hex characters that anybody can compute: for simulations alone."""
        return hashlib.sha256(f"{self._prefix} token {next(self._count)}".encode()).hexdigest()

    def hash_token(self, token: str) -> str:
        """SHA-256 hex."""
        return hashlib.sha256(token.encode()).hexdigest()

    def seal(self, token: str) -> bytes | None:
        """None: nothing is kept to be read back."""
        return None

    def unseal(self, sealed: bytes) -> str | None:
        """None."""
        return None
