"""Agents whose state has just been committed by this process: locked, and not read again while their revision holds.

Every write of an aggregate raises its revision, but for the moments of signs of life and of the last decision. Those
are read, and the client, which has no revision.
"""

from collections.abc import Mapping
from datetime import datetime

from attrs import evolve

from spotadapters.postgres.errors import translated
from spotadapters.postgres.pool import Connection
from spotadapters.postgres.queries import query
from spotadapters.postgres.rows import from_row, loads
from spotcore.aggregate import Aggregate
from spotcore.clients import Client
from spotcore.ids import AgentId, ClientId, InstanceId
from spotcore.instances import Instance
from spotcore.ports.storage import Keys


def hold_known(
    connection: Connection,
    client_id: ClientId,
    wanted: Mapping[AgentId, Keys],
    known: Mapping[AgentId, Aggregate],
    since: datetime,
) -> dict[AgentId, Aggregate]:
    """Those whose row nobody else holds and whose state is still the known one, as it is now; their rows are locked. A
    machine that ended before ``since`` gives no more signs of life."""
    asked = [agent_id for agent_id in known if agent_id in wanted and _brings(known[agent_id], wanted[agent_id])]
    if not asked:
        return {}
    values = {
        "client_id": client_id,
        "agent_ids": asked,
        "revisions": [known[agent_id].agent.revision for agent_id in asked],
        "since": since,
    }
    with translated():
        rows = connection.execute(query("agents_hold_known"), values).fetchall()
    clients: dict[str, Client] = {}  # they are of one client
    held = {}
    for agent_id, client, heard, decided, due, machines, moments in rows:
        if client not in clients:
            clients[client] = from_row(loads(client), Client)
        before = known[agent_id]
        held[agent_id] = evolve(
            before,
            client=clients[client],
            agent=evolve(before.agent, last_heartbeat_at=heard, last_decision_at=decided, due_at=due),
            instances=_seen(before.instances, dict(zip(machines, moments, strict=True))),
        )
    return held


def _brings(known: Aggregate, keys: Keys) -> bool:
    """Whether it holds the rows that a call names. One that is not there may have ended long ago."""
    return (
        all(known.machine(name) is not None for name in keys.cloud_ids)
        and all(name in known.instances for name in keys.instance_ids)
        and all(name in known.replicas for name in keys.replica_ids)
        and not keys.command_ids
    )


def _seen(rows: Mapping[InstanceId, Instance], moments: Mapping[str, datetime | None]) -> Mapping[InstanceId, Instance]:
    late = {
        key: evolve(row, last_seen_at=moments[key])
        for key, row in rows.items()
        if key in moments and moments[key] != row.last_seen_at
    }
    return {**rows, **late} if late else rows
