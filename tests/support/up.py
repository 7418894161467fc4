"""``spotcore up`` as a user starts it."""

import os
import signal
import socket
import time
from pathlib import Path

import httpx2

from tests.support.commands import Command

TOKEN = "an-admin-token-for-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Up:
    """A ``spotcore up`` in a process of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder.parent / f"up-{self.port}.log"
        words = ["up", "--port", str(self.port), "--data-dir", str(folder)]
        self.process = Command(words, {**os.environ, **environment}, self.log)
        self.wait_healthy()

    def wait_healthy(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if httpx2.get(f"{self.url}/health", timeout=3, verify=False).status_code == 200:
                    return
            except httpx2.HTTPError:
                time.sleep(0.05)
            assert self.process.poll() is None, self.log.read_text()
        raise AssertionError(self.log.read_text())

    def post(self, path: str, body: object, token: str = TOKEN) -> httpx2.Response:
        return httpx2.post(
            self.url + path, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10, verify=False
        )

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send(how)
        return self.process.wait(20)
