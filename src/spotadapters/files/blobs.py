"""A folder of files named by their SHA-256 (MS-5).

A file appears under its name complete or not at all: it is written beside, flushed to the disk, renamed, and the folder
is flushed too. Whoever writes into ``incoming`` and dies leaves a file there, which ends a day later.
"""

import contextlib
import hashlib
import os
import re
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, Final

from spotcore.ports.models import Incoming

LEFT_SECONDS: Final = 86_400.0
_NAME: Final = re.compile(r"[0-9a-f]{64}")


class IncomingFile:
    """``Incoming``: a file of our own beside the kept ones, readable by us alone."""

    def __init__(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(dir=folder)  # mode 0600
        self._file = os.fdopen(handle, "w+b")
        self._hash = hashlib.sha256()
        self.path = Path(name)
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def head(self, most: int) -> bytes:
        if not self._file.closed:
            self._file.flush()
        with self.path.open("rb") as file:
            return file.read(most)

    def settle(self) -> None:
        if self._file.closed:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class FileBlobs:
    """``BlobStore`` in a folder, which is made when it is needed. Safe to use from several threads and processes.

    The folder and what it holds are ours alone (0700, 0600)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"

    def clear_incoming(self) -> None:
        """Remove what a process that died left half written; younger files may be somebody's at work."""
        oldest = time.time() - LEFT_SECONDS
        for one in self._incoming.iterdir() if self._incoming.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if one.stat().st_mtime < oldest:
                    one.unlink()

    def incoming(self) -> IncomingFile:
        for one in (self._folder, self._incoming):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
        return IncomingFile(self._incoming)

    def keep(self, incoming: Incoming) -> None:
        assert isinstance(incoming, IncomingFile)
        incoming.settle()
        place = self._path(incoming.sha256)
        if place.exists():
            incoming.discard()  # the same bytes are here already; nothing is written over
            return
        incoming.path.rename(place)
        self._flush_folder()

    def open(self, sha256: str) -> BinaryIO:
        return self._path(sha256).open("rb")

    def remove(self, sha256: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path(sha256).unlink()

    def names(self) -> frozenset[str]:
        if not self._folder.is_dir():
            return frozenset()
        return frozenset(one.name for one in self._folder.iterdir() if _NAME.fullmatch(one.name))

    def _path(self, sha256: str) -> Path:
        if _NAME.fullmatch(sha256) is None:
            raise FileNotFoundError(sha256)
        return self._folder / sha256

    def _flush_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
