"""Both servers on one data folder, started together and stopped in order."""

import fcntl
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, TypeVar

from spotadapters.embedded.account import require_reachable, service_account
from spotadapters.embedded.binaries import find_programs
from spotadapters.embedded.errors import EmbeddedError
from spotadapters.embedded.postgres import EmbeddedPostgres, cluster_damage
from spotadapters.embedded.valkey import EmbeddedValkey

LOCK: Final = "lock"
LOCK_SECONDS: Final = 0.2  # whoever only looks at it holds it for less
T = TypeVar("T")


class EmbeddedStack:
    """A context manager: inside it PostgreSQL and Valkey run and are restarted when they die.

    ``data_dir`` holds everything; a second stack on it raises ``EmbeddedError`` at once. ``on_event`` hears of deaths
    and restarts. ``durable=False`` trades safety for speed and is for tests alone.
    """

    def __init__(self, data_dir: Path, *, on_event: Callable[[str], None] = print, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self._on_event = on_event
        self._durable = durable
        self._lock: IO[str] | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._valkey: EmbeddedValkey | None = None

    @property
    def database_url(self) -> str:
        """Where the database listens now."""
        return self._running(self._postgres).url

    @property
    def redis_url(self) -> str:
        """Where Valkey listens now."""
        return self._running(self._valkey).url

    @property
    def pids(self) -> dict[str, int | None]:
        """Process ids of the servers, for the doctor and for tests."""
        return {
            "postgres": self._running(self._postgres).server.pid,
            "valkey": self._running(self._valkey).server.pid,
        }

    @property
    def restart_counts(self) -> dict[str, int]:
        """How often each server died and was restarted."""
        return {
            "postgres": self._running(self._postgres).server.restarts,
            "valkey": self._running(self._valkey).server.restarts,
        }

    def __enter__(self) -> Self:
        account = service_account()
        require_reachable(account, self.data_dir / "postgres" / "cluster")
        try:
            account.make_folder(self.data_dir)
        except OSError as failure:
            raise EmbeddedError(
                f"cannot create {self.data_dir}: {failure.strerror}; use another --data-dir"
            ) from failure
        if not os.access(self.data_dir, os.W_OK | os.X_OK):
            raise EmbeddedError(f"cannot write to {self.data_dir}; use another --data-dir or mend its owner")
        self._take_lock()
        try:
            damage = cluster_damage(self.data_dir)
            if damage is not None:
                raise EmbeddedError(damage)
            programs = find_programs(account, self.data_dir)
            self._postgres = EmbeddedPostgres(
                programs.postgres_bin, self.data_dir / "postgres", account, self._on_event, durable=self._durable
            )
            self._valkey = EmbeddedValkey(programs.valkey_server, self.data_dir / "valkey", account, self._on_event)
            self._valkey.server.start()
            self._postgres.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        servers = [one.server for one in (self._valkey, self._postgres) if one is not None]
        if servers:
            with ThreadPoolExecutor(len(servers)) as pool:
                list(pool.map(lambda server: server.stop(), servers))
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        lock = (self.data_dir / LOCK).open("a+")
        until = time.monotonic() + LOCK_SECONDS
        while not _locked(lock):
            if time.monotonic() > until:
                with lock:
                    pid = _pid(lock)
                raise EmbeddedError(
                    f"{self.data_dir} is in use by another spotcore (pid {pid}); stop it, or use another --data-dir"
                )
            time.sleep(0.02)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    @staticmethod
    def _running(server: T | None) -> T:
        if server is None:
            raise EmbeddedError("the embedded servers are not running; use the stack inside a with statement")
        return server


def holder(data_dir: Path) -> str | None:
    """Whose stack is on this folder: its process id as text, None where none is. Nothing is changed."""
    try:
        with (data_dir / LOCK).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _pid(lock)
    except OSError:
        return None  # no lock, or not ours to read: other looks tell
    return None


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _pid(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip() or "unknown"
