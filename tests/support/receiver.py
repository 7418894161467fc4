"""A web server that takes notes: the other side of a webhook."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, field


@define
class Receiver:
    """Answers ``status``, or what ``answers`` has next; ``then`` is called while the sender waits."""

    url: str
    status: int = 200
    answers: list[int] = field(factory=list)
    then: Callable[[], object] = lambda: None
    calls: list[tuple[dict[str, str], bytes]] = field(factory=list)

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.calls]

    def answer(self, headers: dict[str, str], body: bytes) -> int:
        """Take a note, and say how it is answered."""
        self.calls.append((headers, body))
        self.then()
        return self.answers.pop(0) if self.answers else self.status


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    taken: list[Receiver] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = taken[0].answer({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        taken.append(Receiver(f"http://127.0.0.1:{server.server_port}/hook"))
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield taken[0]
        finally:  # a test that fails ends, too
            server.shutdown()
            thread.join()
