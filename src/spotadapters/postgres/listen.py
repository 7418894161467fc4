"""Hearing of new commands and events: one listening connection per process, on a direct connection (design 3)."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

import psycopg
from psycopg import sql

from spotadapters.postgres.link import BoundedConnection, probed

log = logging.getLogger("spotadapters.postgres")

COMMANDS = "spotcore_commands"
EVENTS = "spotcore_events"
MOVES = "spotcore_moves"
RETRY_SECONDS = 1.0
ASK_SECONDS = 5.0  # a link that has gone dead is as silent as a quiet one: so often it is asked


class Listener:
    """A thread that calls a channel's function with the payload of every notification, and ``on_gap()`` after each
    reconnect."""

    def __init__(
        self, database_url: str, channels: Mapping[str, Callable[[str], None]], on_gap: Callable[[], None]
    ) -> None:
        self._database_url = database_url
        self._channels = channels
        self._on_gap = on_gap
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

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
        with BoundedConnection.connect(
            probed(self._database_url), autocommit=True, connect_timeout=2, application_name="spotcore-listener"
        ) as connection:
            for channel in self._channels:
                connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            self._on_gap()
            asked = time.monotonic()
            while not self._stopping.is_set():
                for notification in connection.notifies(timeout=0.5):
                    self._channels[notification.channel](notification.payload)
                if time.monotonic() - asked >= ASK_SECONDS:
                    connection.execute("")
                    asked = time.monotonic()
