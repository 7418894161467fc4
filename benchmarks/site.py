"""A server to measure: ``spotcore up`` as a user starts it, in a process of its own."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

START_SECONDS = 60.0


@define
class Http:
    """Keep-alive requests, one connection a thread."""

    port: int
    token: str
    _local: threading.local = field(factory=threading.local)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.connection = connection
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text)


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_server() -> Iterator[tuple[Http, float]]:
    """An admin connection to a fresh server, and the seconds from start to the first healthy answer."""
    port, token = free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="spotcore-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        command = [sys.executable, "-m", "spotapp.cli", "up", "--port", str(port), "--data-dir", f"{name}/data"]
        environment = {**os.environ, "SPOTCORE_ADMIN_TOKEN": token, "SPOTCORE_LOG_LEVEL": "error"}
        begin = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield Http(port, token), _wait_healthy(port, begin)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def wait_until(port: int, path: str) -> None:
    """Return once the path answers 200. Raises ``TimeoutError``."""
    begin = time.monotonic()
    while time.monotonic() - begin < START_SECONDS:
        with contextlib.suppress(OSError):
            if Http(port, "").call("GET", path)[0] == 200:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing answers at {port}{path}")


def _wait_healthy(port: int, begin: float) -> float:
    wait_until(port, "/health")
    return time.monotonic() - begin
