"""Where the bytes of models live, and who looks into them."""

from typing import BinaryIO, Protocol

from spotcore.models import Findings, ModelSession


class Incoming(Protocol):
    """Bytes on their way in: kept nowhere until a store is told to."""

    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str:
        """Hash of what was written so far."""
        ...

    def write(self, chunk: bytes) -> None: ...

    def head(self, most: int) -> bytes:
        """The first ``most`` bytes of what was written."""
        ...

    def settle(self) -> None:
        """Bring the bytes through a loss of power. Nothing is written any more; may be called again."""
        ...

    def discard(self) -> None:
        """Forget the bytes. Does nothing once they are kept; may be called again."""
        ...


class BlobStore(Protocol):
    """Bytes by their SHA-256 (MS-5). The same bytes are kept once; nothing is ever written over."""

    def incoming(self) -> Incoming: ...

    def keep(self, incoming: Incoming) -> None:
        """Make settled bytes findable under their hash, all of them or none."""
        ...

    def open(self, sha256: str) -> BinaryIO:
        """The bytes, to read. Raises ``FileNotFoundError``."""
        ...

    def remove(self, sha256: str) -> None:
        """Forget the bytes; nothing happens when there are none."""
        ...

    def names(self) -> frozenset[str]:
        """The hashes of everything that is kept."""
        ...


class Validator(Protocol):
    """Looks into a session's files, away from this process (MS-6)."""

    def unable(self, session: ModelSession) -> str | None:
        """Why this server cannot look into these files at all; None when it can."""
        ...

    def validate(self, session: ModelSession, blobs: BlobStore) -> Findings:
        """What is found. Whatever happens to the one that looks, the answer is a finding; it takes a minute at most.

        Raises ``StateConflict`` while it is busy with another session; the caller may try again."""
        ...
