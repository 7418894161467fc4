"""Reads for screens: SQL straight into rows, no aggregates."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from spotadapters.postgres.errors import translated
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.queries import query
from spotadapters.postgres.rows import CONVERTER, from_row, loads
from spotcore.agents import DisplayStatus
from spotcore.ids import ClientId
from spotcore.instances import Instance
from spotcore.ports.world import Clock
from spotcore.replicas import Replica
from spotcore.service.replicas import ReplicaView

T = TypeVar("T")


class PostgresReads:
    """What people look at: named statements that give one JSON object per row, straight into the classes that answer.

    Each is a transaction of its own, in one round trip. ``now`` is a value of every statement."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock

    def _rows(self, name: str, values: Mapping[str, Any]) -> list[Any]:
        """Every row as JSON; numbers are exact, times are texts (``moment`` reads them)."""
        with translated(), self._connections.lookup() as connection:
            rows = connection.execute(query(name), {"now": self._clock.now(), **values}).fetchall()
        return [loads(row[0]) for row in rows]

    def rows(self, name: str, kind: type[T], /, **values: Any) -> list[T]:
        """Every row of a statement as a ``kind``; ``dict`` leaves it as it is, times as texts."""
        found = self._rows(name, values)
        return found if kind is dict else [from_row(row, kind) for row in found]

    def row(self, name: str, kind: type[T], /, **values: Any) -> T | None:
        """The first row, None when there is none."""
        return next(iter(self.rows(name, kind, **values)), None)

    def connections(self) -> tuple[int, int]:
        """Database connections in use, and the most there can be."""
        return self._connections.used()

    def agents_of_client(self, client_id: ClientId) -> Sequence[Mapping[str, Any]]:
        """Live agents, most recently heard first, with their primary and display status (E22)."""
        rows = self._rows("read_agents_of_client", {"client_id": client_id})
        return [
            {**row, "status": display_status(row).value, "last_heartbeat_at": moment(row["last_heartbeat_at"])}
            for row in rows
        ]

    def replicas_of_client(self, client_id: ClientId) -> Sequence[Mapping[str, Any]]:
        """Live replicas with their machine and the primary they stand by for, newest first (E42)."""
        rows = self._rows("read_replicas_of_client", {"client_id": client_id})
        return [
            {
                "agent_id": row["agent_id"],
                "view": ReplicaView(
                    replica=from_row(row["replica"], Replica),
                    instance=from_row(row["instance"], Instance),
                    hourly_cost=row["price"],
                ),
                "primary": from_row(row["primary"], Instance) if row["primary"] else None,
                "last_primary": from_row(row["last_primary"], Instance) if row["last_primary"] else None,
            }
            for row in rows
        ]


def display_status(row: Mapping[str, Any]) -> DisplayStatus:
    """The display status of 1.2 from columns; first match wins."""
    if row["life"] != "live":
        return DisplayStatus.DELETED
    if not row["enabled"]:
        return DisplayStatus.DISABLED
    if not row["has_primary"]:
        return DisplayStatus.ERROR
    if row["switching"]:
        return DisplayStatus.SWITCHING
    return DisplayStatus.ONLINE if row["link"] == "online" else DisplayStatus.OFFLINE


def moment(text: str | None) -> datetime | None:
    """A time as the database writes it in JSON."""
    return CONVERTER.structure(text, datetime) if text is not None else None
