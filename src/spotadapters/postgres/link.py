"""Connections that notice when nobody is at the other end any more.

A server that was ended says so; one that hangs, or a network that swallows everything, does not. What waits for such a
server would hold a thread, a place in a pool and perhaps a row lock for ever, so every wait has an end: here by asking
no longer than a statement may take, in the kernel by probing idle links, and in the server by ending transactions whose
client has gone silent.
"""

from typing import Any, Final

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

ANSWER_SECONDS: Final = 5.0  # more than ``statement_timeout``: a server that lives has answered by then
SILENT_CLIENT: Final = "5s"
PROBES: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
ENCODING: Final = {"client_encoding": "UTF8"}  # whatever this process's or the role's own setting is

Row = tuple[Any, ...]


class BoundedConnection(psycopg.Connection[Row]):
    """A connection on which no call waits longer than ``ANSWER_SECONDS``: it is broken afterwards."""

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """What ``gen`` gives. Raises ``OperationalError`` when the server is silent for too long."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, ANSWER_SECONDS)
        except psycopg.OperationalError as failure:
            if failure.sqlstate is None:  # nothing came back, not even an error
                self.pgconn.finish()
            raise


def probed(database_url: str) -> str:
    """The URL as connection parameters, in UTF-8, with probes of an idle link unless it names its own."""
    return make_conninfo("", **{**PROBES, **conninfo_to_dict(database_url), **ENCODING})
