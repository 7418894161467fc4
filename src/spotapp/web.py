"""The web process: the application over a wiring, and uvicorn around it."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final

import psycopg
import uvicorn
from starlette.applications import Starlette

from spotadapters.http.app import create_app as http_app
from spotadapters.jobs.scheduler import Scheduler
from spotapp.closing import keep_out
from spotapp.listening import doors
from spotapp.loading import load
from spotapp.wiring import Wiring

log = logging.getLogger("spotapp.web")

KEEP_ALIVE_SECONDS: Final = 75
"""Longer than any pause of an agent between two calls (60 s), and than what balancers keep by default. A connection
that is closed just as an agent reuses it is a failed call, and one failed heartbeat silences a v5 for good (T03)."""
QUEUE_SECONDS: Final = 0.2  # a handshake takes a round trip
DRAIN_SECONDS: Final = 0.5
ENOUGH_FILES: Final = 65_536
REHEARSAL_SECONDS: Final = 3.0  # once the server answers: first come the agents that have missed it
COLLECT_AFTER: Final = (20_000, 20, 100)  # objects, and collections of the generation before


def create_app(wiring: Wiring, scheduler: Scheduler | None = None) -> Starlette:
    """The application; its lifespan starts the listener, the relay and, where one is given, the scheduler. Web
    processes beside others have none (JB-6)."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        wiring.parts.hub.attach()
        wiring.parts.live.attach()
        wiring.parts.moves.attach()
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


def raise_open_files() -> int:
    """Let the process have as many files and sockets as the system allows it: each waiting agent holds one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def collect_seldom() -> None:
    """What is there at the start stays, with what little of it is garbage; and a full collection walks over everything
    thousands of waiting agents hold, which takes 0.1 s and more, so that it must not come with every few hundred
    requests."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def run(
    wiring: Wiring, listening: socket.socket, on_ready: Callable[[], None], scheduler: Scheduler | None = None
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is being answered."""
    raise_open_files()

    later = threading.Timer(REHEARSAL_SECONDS, _rehearse, [wiring])
    later.daemon = True

    def ready() -> None:
        on_ready()
        later.start()

    server = _Server(server_config(create_app(wiring, scheduler)), ready, wiring.parts.hub.close)
    try:
        server.run(sockets=doors(listening))
    finally:
        later.cancel()


def _rehearse(wiring: Wiring) -> None:
    """A first storm should not be slower than the next."""
    load("spotadapters.postgres.rehearsal")
    from spotadapters.postgres.rehearsal import rehearsal

    try:
        wiring.connections.rehearse(rehearsal(wiring.parts.clock))
    except psycopg.Error as error:  # a database that is away, or a server that is ending already
        log.warning("not_rehearsed", extra={"reason": type(error).__name__})


def server_config(app: Starlette) -> uvicorn.Config:
    """How connections are served."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=2048,
    )


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready and leaves with status 0 when asked to stop."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], on_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stopping = on_stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Whoever has got through to this process is answered, whoever has not is refused and asks another one."""
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        for listening in sockets or ():
            keep_out(listening)
        await asyncio.sleep(QUEUE_SECONDS)
        for server in self.servers:
            server.close()
        self._on_stopping()
        await asyncio.sleep(DRAIN_SECONDS)  # a connection that is open may have its call under way
        await super().shutdown(sockets)
        if self.force_exit:  # a second Ctrl-C waits for no call; what the application began is ended all the same
            await self.lifespan.shutdown()

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
