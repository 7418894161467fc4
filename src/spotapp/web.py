"""The web process: the application over a wiring, and uvicorn around it."""

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

import uvicorn
from starlette.applications import Starlette

from spotadapters.http.app import create_app as http_app
from spotadapters.jobs.scheduler import Scheduler
from spotapp.settings import Settings
from spotapp.wiring import Wiring

ENOUGH_FILES: Final = 65_536
COLLECT_AFTER: Final = (20_000, 20, 100)  # objects, and collections of the generation before


class AddressInUse(Exception):
    """The port is taken; the message says by what and what to do."""


def create_app(wiring: Wiring, scheduler: Scheduler | None = None) -> Starlette:
    """The application; its lifespan starts the listener, the relay and, where one is given, the scheduler. Web
    processes beside others have none (JB-6)."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        wiring.parts.hub.attach()
        wiring.parts.live.attach()
        wiring.listener.start()
        wiring.relay.start()
        if scheduler is not None:
            scheduler.start()
        try:
            yield
        finally:
            if scheduler is not None:
                await asyncio.to_thread(scheduler.stop)
            await asyncio.to_thread(wiring.listener.stop)
            await asyncio.to_thread(wiring.relay.stop)

    return http_app(wiring.parts, lifespan=lifespan)


def bound_socket(settings: Settings) -> socket.socket:
    """The listening socket. Raises ``AddressInUse``."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as failure:
        listening.close()
        raise AddressInUse(
            f"cannot listen on {settings.host}:{settings.port} ({failure.strerror}); "
            f"stop what runs there or use another --port"
        ) from failure
    return listening


def raise_open_files() -> int:
    """Let the process have as many files and sockets as the system allows it: each waiting agent holds one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def collect_seldom() -> None:
    """What is there at the start stays; and a full collection walks over everything thousands of waiting agents hold,
    which takes 0.1 s and more, so that it must not come with every few hundred requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def run(
    wiring: Wiring, listening: socket.socket, on_ready: Callable[[], None], scheduler: Scheduler | None = None
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is being answered."""
    raise_open_files()
    config = uvicorn.Config(
        create_app(wiring, scheduler),
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=5,
        backlog=2048,
    )
    server = _Server(config, on_ready)
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready and leaves with status 0 when asked to stop."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            collect_seldom()
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Stop on the first SIGINT or SIGTERM; uvicorn would raise it again afterwards."""
        loop_handlers = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in loop_handlers.items():
                signal.signal(one, handler)
