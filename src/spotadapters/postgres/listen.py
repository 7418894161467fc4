"""Hearing of new commands: one listening connection per process, on a direct connection (design 3)."""

import logging
import threading
from collections.abc import Callable

import psycopg

log = logging.getLogger("spotadapters.postgres")

CHANNEL = "spotcore_commands"
RETRY_SECONDS = 1.0


class CommandListener:
    """A thread that calls ``on_command(agent_id)`` for every notification, and ``on_gap()`` after each reconnect."""

    def __init__(self, database_url: str, on_command: Callable[[str], None], on_gap: Callable[[], None]) -> None:
        self._database_url = database_url
        self._on_command = on_command
        self._on_gap = on_gap
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="command-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen; never waits for the database."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(timeout=3)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg.Error as failure:
                log.warning("listener_lost", extra={"reason": type(failure).__name__})
                self._stopping.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        with psycopg.connect(
            self._database_url, autocommit=True, connect_timeout=2, application_name="spotcore-listener"
        ) as connection:
            connection.execute(f"listen {CHANNEL}")
            self._on_gap()
            while not self._stopping.is_set():
                for notification in connection.notifies(timeout=0.5):
                    self._on_command(notification.payload)
