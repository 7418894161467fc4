"""A site on a real port, for callers that speak HTTP themselves."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.support.server import Site


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The site's address; the server is gone at the end."""

    class Attached(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            site.live.attach()  # what live streams are sent comes from this server's loop
            await super().startup(sockets)

    server = Attached(uvicorn.Config(site.app, host="127.0.0.1", port=0, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
