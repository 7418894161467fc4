"""The demo's server: the real application on the real embedded stack, with the clock running fast."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from spotadapters.embedded import EmbeddedStack
from spotadapters.fleet import FastClock
from spotadapters.jobs.scheduler import Scheduler
from spotadapters.postgres.migrate import migrate
from spotapp.settings import Settings
from spotapp.web import create_app
from spotapp.wiring import Wiring, open_wiring

HEALTHY_WITHIN_SECONDS = 20.0


@contextmanager
def running_site(folder: Path, clock: FastClock) -> Iterator[tuple[Wiring, int]]:
    """A wiring that serves on a free loopback port until the block ends."""
    settings = Settings(data_dir=folder, log_level="error")
    with (
        EmbeddedStack(folder, on_event=lambda _: None) as stack,
        socket.socket() as listening,
    ):
        migrate(stack.database_url)
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        with open_wiring(settings, stack.database_url, clock=clock, upkeep_seconds=0.2) as wiring:
            config = uvicorn.Config(
                create_app(wiring, Scheduler(wiring.jobs)),
                loop="uvloop",
                http="httptools",
                log_config=None,
                access_log=False,
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=lambda: server.run(sockets=[listening]), name="server", daemon=True)
            thread.start()
            _wait_for(server)
            try:
                yield wiring, port
            finally:
                server.should_exit = True
                thread.join(timeout=15)


def _wait_for(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the demo's server did not start")
        time.sleep(0.01)
