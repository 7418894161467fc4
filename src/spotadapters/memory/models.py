"""Model and engine sessions, and their bytes, in dictionaries."""

import hashlib
import tempfile
from collections.abc import Sequence
from datetime import datetime
from typing import Any, BinaryIO

from attrs import evolve

from spotcore.errors import InvariantViolated, NotFound
from spotcore.models import SERVING, ModelSession, SessionKind, check_serving
from spotcore.ports.models import Incoming


class MemoryModels:
    """``ModelStore``. Transactions run alone here, so ``lock`` has nothing to do."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal
        self._rows: dict[str, ModelSession] = journal.tables.models

    def lock(self) -> None: ...

    def add(self, session: ModelSession) -> None:
        if session.session_id in self._rows:
            raise InvariantViolated("a session of that id exists")
        self._write([session])

    def get(self, session_id: str) -> ModelSession:
        try:
            return self._rows[session_id]
        except KeyError:
            raise NotFound("unknown session") from None

    def put(self, sessions: Sequence[ModelSession]) -> None:
        self._write([evolve(one, files=self.get(one.session_id).files) for one in sessions])

    def _write(self, sessions: Sequence[ModelSession]) -> None:
        check_serving({**self._rows, **{one.session_id: one for one in sessions}}.values())
        for one in sessions:
            self._journal.put(self._rows, one.session_id, one)

    def serving(self) -> Sequence[ModelSession]:
        return [one for one in self._newest() if one.state in SERVING]

    def newest(self, kind: SessionKind, limit: int) -> Sequence[ModelSession]:
        return [one for one in self._newest() if one.kind is kind][:limit]

    def idle(self, before: datetime) -> Sequence[ModelSession]:
        return [
            one
            for one in self._newest()
            if one.state not in SERVING and one.changed_at < before and one.files_removed_at is None
        ]

    def digests(self) -> frozenset[str]:
        kept = [one for one in self._rows.values() if one.files_removed_at is None]
        return frozenset(file.sha256 for one in kept for file in one.files)

    def _newest(self) -> list[ModelSession]:
        return sorted(self._rows.values(), key=lambda one: (one.created_at, one.session_id), reverse=True)


class MemoryIncoming:
    """``Incoming``."""

    def __init__(self) -> None:
        self.content = b""

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def write(self, chunk: bytes) -> None:
        self.content += chunk

    def head(self, most: int) -> bytes:
        return self.content[:most]

    def settle(self) -> None: ...

    def discard(self) -> None:
        self.content = b""


class MemoryBlobs:
    """``BlobStore``."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def incoming(self) -> MemoryIncoming:
        return MemoryIncoming()

    def keep(self, incoming: Incoming) -> None:
        self.blobs.setdefault(incoming.sha256, incoming.head(incoming.size))

    def open(self, sha256: str) -> BinaryIO:
        if sha256 not in self.blobs:
            raise FileNotFoundError(sha256)
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's, who may hand it to another process
        file.write(self.blobs[sha256])
        file.seek(0)
        return file

    def remove(self, sha256: str) -> None:
        self.blobs.pop(sha256, None)

    def names(self) -> frozenset[str]:
        return frozenset(self.blobs)
