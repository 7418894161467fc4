"""Whole server processes' worth of code, jobs and all, in this process, under a clock that a test steps."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from attrs import define

from spotadapters.jobs.scheduler import Scheduler
from spotapp.admin_token import ensure_admin_token
from spotapp.settings import Settings
from spotapp.web import create_app
from spotapp.wiring import open_wiring
from tests.support.up import TOKEN


@define
class SteppedClock:
    """The machine's, set wrong by ``off``."""

    off: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.off

    def step(self, seconds: float) -> None:
        self.off += timedelta(seconds=seconds)


@contextmanager
def a_server(database_url: str, folder: Path, clock: SteppedClock) -> Iterator[int]:
    """A web process with its own scheduler, as ``spotcore up`` is one; its port."""
    settings = Settings(database_url=database_url, admin_token=TOKEN, seal_key="ab" * 32, data_dir=folder)
    with open_wiring(settings, database_url, clock=clock) as wiring:
        ensure_admin_token(wiring)
        app = create_app(wiring, Scheduler(wiring.jobs, first_seconds=0.2))
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while not server.started:
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.01)
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
