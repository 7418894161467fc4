"""The embedded Valkey: loopback only, with a password, keeping nothing: all it carries can be derived again."""

import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from spotadapters.embedded.account import Account
from spotadapters.embedded.process import ChildServer, free_port


class EmbeddedValkey:
    """Valkey without persistence."""

    def __init__(self, program: Path, folder: Path, account: Account, on_event: Callable[[str], None]) -> None:
        account.make_folder(folder)
        self.port = free_port()
        self.password = secrets.token_hex(24)
        config = folder / "valkey.conf"
        config.unlink(missing_ok=True)
        config.touch(mode=0o600)
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "save": '""',
            "appendonly": "no",
            "dir": "/",
            "loglevel": "warning",
        }
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        account.own(config)
        self.server = ChildServer(
            "Valkey",
            [str(program), str(config)],
            account=account,
            log_file=folder / "valkey.log",
            stop_signal=signal.SIGTERM,
            is_ready=self._answers,
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            on_event=on_event,
        )

    @property
    def url(self) -> str:
        """A connection URL with the password; do not log it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while b"PONG" not in answer:
                    part = connection.recv(256)
                    if not part or b"-" in part[:1]:
                        return False
                    answer += part
                return True
        except OSError:
            return False


def running_redis_url(data_dir: Path) -> str | None:
    """Where the Valkey of a ``spotcore up`` on this folder answers; None when none does, or its file is not ours to
    read."""
    try:
        rows = (data_dir / "valkey" / "valkey.conf").read_text().splitlines()
    except OSError:
        return None
    facts = dict(row.split(" ", 1) for row in rows if " " in row)
    try:
        with socket.create_connection((facts["bind"], int(facts["port"])), timeout=1):
            return f"redis://:{facts['requirepass']}@{facts['bind']}:{facts['port']}/0"
    except (OSError, KeyError, ValueError):
        return None
