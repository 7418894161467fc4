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


class _Connection(http.client.HTTPConnection):
    """Closed with the thread that used it."""

    def __del__(self) -> None:
        self.close()


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
            connection = _Connection("127.0.0.1", self.port, timeout=60)
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


@define
class Running:
    """A server as ``spotcore up`` starts it, with its database below it."""

    http: Http  # speaks as the operator
    pid: int
    folder: Path
    start_seconds: float

    @property
    def database_url(self) -> str:
        """Of the embedded database, as its owner."""
        password = (self.folder / "postgres" / "password").read_text().strip()
        port = (self.folder / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[3]
        return f"postgresql://spotcore:{password}@127.0.0.1:{port}/spotcore"

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far: the server's own, the database's."""
        used = {"server": 0.0, "database": 0.0}
        for pid in _family(self.pid):
            with contextlib.suppress(OSError):
                name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
                ticks = sum(int(word) for word in rest.split()[11:15])  # its own and those of children that ended
                used["database" if "(postgres" in name else "server"] += ticks / os.sysconf("SC_CLK_TCK")
        return used

    def memory_mb(self) -> float:
        """Of the server's process alone, what it shares counted by share (PSS)."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        raise LookupError("no Pss in smaps_rollup")

    def client(self, name: str) -> tuple[str, str]:
        """A new client's id and token."""
        client = self.http.call("POST", "/api/admin/clients/create", {"name": name})[1]["data"]["client"]
        return client["id"], client["token"]


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found


@contextmanager
def process(command: list[str], given: str | None = None, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with the block."""
    started = subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=subprocess.PIPE if given else None, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        if given is not None and started.stdin is not None:
            started.stdin.write(given)
            started.stdin.close()
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        started.wait(30)


@contextmanager
def running_server() -> Iterator[Running]:
    """A fresh server."""
    port, token = free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="spotcore-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "data"
        command = [sys.executable, "-m", "spotapp.cli", "up", "--port", str(port), "--data-dir", str(folder)]
        environment = {**os.environ, "SPOTCORE_ADMIN_TOKEN": token, "SPOTCORE_LOG_LEVEL": "error"}
        begin = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(port, "/health")
            yield Running(Http(port, token), process.pid, folder, time.monotonic() - begin)
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
