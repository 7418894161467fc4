"""A server as our child: it ends when we end, is restarted when it dies, and is stopped for good on request."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spotadapters.embedded.account import Account
from spotadapters.embedded.errors import EmbeddedError
from spotadapters.embedded.words import last_words

PR_SET_PDEATHSIG = 1
RESTART_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
STOP_SECONDS = 15.0


class ChildServer:
    """One supervised server process."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        account: Account,
        log_file: Path,
        stop_signal: signal.Signals,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str],
        on_event: Callable[[str], None],
    ) -> None:
        self.name = name
        self.restarts = 0
        self._command = list(command)
        self._account = account
        self._log_file = log_file
        self._stop_signal = stop_signal
        self._is_ready = is_ready
        self._environment = dict(environment)
        self._on_event = on_event
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._log_from = 0
        self._watcher: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, timeout_seconds: float = 30.0) -> None:
        """Start, wait until ready, then watch. Raises ``EmbeddedError`` with what the log says of it."""
        self._spawn()
        self._wait_ready(timeout_seconds)
        self._watcher = threading.Thread(target=self._watch, name=f"watch-{self.name}", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End the server in its clean way; by force after 15 s. Idempotent."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(self._stop_signal)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._watcher is not None:
            self._watcher.join(timeout=STOP_SECONDS)

    def _spawn(self) -> None:
        end_with = self._stop_signal

        def end_with_parent() -> None:
            """If we are killed the kernel tells the server to stop, so that no server outlives us unseen."""
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, end_with)
            os.setpgid(0, 0)  # a terminal's Ctrl-C is ours to handle, in order

        with self._log_file.open("ab") as log:
            self._log_from = log.tell()  # what is above is of runs before
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, cwd="/",
                preexec_fn=end_with_parent, **self._account.popen_arguments(),
            )  # fmt: skip

    def _wait_ready(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if self._is_ready():
                return
            time.sleep(0.02)
        raise EmbeddedError(f"{self.name} did not come up:\n{last_words(self._log_file, self._log_from)}")

    def _watch(self) -> None:
        """Restart a server that died on its own. Pauses grow, and shrink back after a minute of health."""
        failures, started = 0, time.monotonic()
        while not self._stopping.is_set():
            process = self._process
            if process is not None and process.poll() is None:
                self._stopping.wait(0.1)
                continue
            if time.monotonic() - started > 60:
                failures = 0
            pause = RESTART_PAUSES[min(failures, len(RESTART_PAUSES) - 1)]
            failures, started = failures + 1, time.monotonic()
            self._on_event(f"{self.name} died; restarting in {pause} s")
            if self._stopping.wait(pause):
                return
            self._restart()

    def _restart(self) -> None:
        self.restarts += 1
        try:
            self._spawn()
            self._wait_ready(60.0)
            self._on_event(f"{self.name} is back")
        except (EmbeddedError, OSError) as failure:
            self._on_event(str(failure))


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
