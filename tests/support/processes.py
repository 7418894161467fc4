"""Web, worker and scheduler processes on shared servers, as an operator starts them."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from attrs import define, field

from spotadapters.embedded import EmbeddedStack
from spotadapters.postgres.migrate import migrate
from tests.support.commands import Command
from tests.support.load import call
from tests.support.prepared import lay_out
from tests.support.up import TOKEN, free_port


@define
class Process:
    """A ``spotcore`` command."""

    process: Command
    log: Path
    port: int = 0  # of a web process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.send(signal.SIGTERM)
        return self.process.wait(20)


@define
class Installation:
    """What runs on one PostgreSQL and one Valkey."""

    stack: EmbeddedStack
    folder: Path
    processes: list[Process] = field(factory=list)
    numbers: "count[int]" = field(factory=count)
    database_url: str | None = None  # the way that processes take to the database, if not the direct one

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "SPOTCORE_DATABASE_URL": self.database_url or self.stack.database_url,
            "SPOTCORE_REDIS_URL": self.stack.redis_url,
            "SPOTCORE_ADMIN_TOKEN": TOKEN,
            "SPOTCORE_SEAL_KEY": "ab" * 32,
            "SPOTCORE_DATA_DIR": str(self.folder / "shared"),
        }

    def a_client(self, web: Process) -> str:
        """A client's token."""
        answer = call(web.port, "POST", "/api/admin/clients/create", {"name": "Acme"})
        assert answer.status == 201, answer
        token: str = answer.body["data"]["client"]["token"]
        return token

    def together(self, *names: str) -> list[Process]:
        """Processes started at once: ``web``, ``scheduler``, ``worker``."""
        with ThreadPoolExecutor(len(names)) as pool:
            return list(pool.map(lambda name: self.web() if name == "web" else self.start(name), names))

    def start(self, *words: str) -> Process:
        log = self.folder / f"{words[0]}-{next(self.numbers)}.log"
        started = Process(Command(words, self.environment, log), log)
        self.processes.append(started)
        until(lambda: b"ready" in log.read_bytes(), 30, log)
        return started

    def web(self) -> Process:
        port = free_port()
        started = self.start("serve", "--port", str(port))
        started.port = port
        return started


def until(condition: Callable[[], bool], seconds: float, log: Path | None = None) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text() if log else "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def an_installation(folder: Path, *, durable: bool = False) -> Iterator[Installation]:
    """Shared servers, migrated; all processes are ended at the end."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    lay_out(folder / "servers")
    with EmbeddedStack(folder / "servers", on_event=lambda _: None, durable=durable) as stack:
        migrate(stack.database_url)
        installation = Installation(stack, folder)
        try:
            yield installation
        finally:
            for process in installation.processes:
                process.kill()
