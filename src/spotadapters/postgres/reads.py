"""Reads for screens: SQL straight into rows, no aggregates."""

from collections.abc import Mapping, Sequence
from typing import Any

from spotadapters.postgres.live import LiveFeed
from spotadapters.postgres.notices import NoticeReads
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.reader import Reader
from spotadapters.postgres.rows import from_row
from spotcore.ids import ClientId
from spotcore.instances import Instance
from spotcore.ports.world import Clock
from spotcore.replicas import Replica
from spotcore.service.replicas import ReplicaView


class PostgresReads(Reader):
    """What people look at."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        super().__init__(connections, clock)
        self.live = LiveFeed(connections, clock)
        self.notices = NoticeReads(connections, clock)

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
                    total_cost=row["cost"],
                ),
                "primary": from_row(row["primary"], Instance) if row["primary"] else None,
                "last_primary": from_row(row["last_primary"], Instance) if row["last_primary"] else None,
            }
            for row in rows
        ]
