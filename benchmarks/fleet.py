"""Many agents at once: written into the database as registrations would leave them.

Registering 5 000 agents by the API takes minutes, and what it would leave behind is known. A fleet is divided among
clients, because what a client's people may write is limited to 60 calls a minute.
"""

from collections.abc import Sequence
from itertools import cycle
from typing import Final

import psycopg
from attrs import frozen

from benchmarks.site import Running

BUILDS: Final = ("v2", "v4c", "v4n", "v5")
ROWS: Final = """
insert into agents select (jsonb_populate_record(null::agents, jsonb_build_object(
    'client_id', g.client_id, 'agent_id', g.agent_id, 'logical_agent_id', g.agent_id,
    'life', 'live', 'link', 'online', 'enabled', true, 'auto_switch_enabled', true, 'manual_replica_enabled', false,
    'auto_terminate_enabled', true, 'terminate_wait_seconds', 300, 'replica_enabled', false, 'min_savings_percent', 5,
    'risk_threshold', 0.5, 'max_switches_per_week', 10, 'max_switches_per_day', 3, 'min_pool_duration_hours', 2,
    'cleanup_enabled', true, 'emergency_rebalance_only', false, 'preferred_azs', '[]'::jsonb,
    'excluded_pools', '[]'::jsonb, 'emergency_min_risk', 0, 'config_version', 1, 'build', g.build,
    'able_since_registration', true, 'metadata', '{}'::jsonb, 'region', 'us-east-1',
    'registered_at', now(), 'last_registered_at', now(), 'updated_at', now(), 'last_heartbeat_at', now(),
    'last_decision_at', now() - %(decided_over)s * g.place / cardinality(%(agent_ids)s::text[]) * interval '1 second',
    'due_at', now() + interval '2 minutes', 'sequence', 0, 'revision', 0, 'replica_failures', 0))).*
from unnest(%(client_ids)s::text[], %(agent_ids)s::text[], %(builds)s::text[]) with ordinality
    g (client_id, agent_id, build, place);
insert into instances select (jsonb_populate_record(null::instances, jsonb_build_object(
    'client_id', g.client_id, 'instance_id', 'machine-' || g.agent_id, 'agent_id', g.agent_id,
    'status', 'running_primary', 'cloud_id', g.machine, 'instance_type', 'm5.large', 'region', 'us-east-1',
    'az', 'us-east-1a', 'mode', 'spot', 'pool_id', 'm5.large.us-east-1a', 'created_at', now(), 'confirmed_at', now(),
    'registered_at', now(), 'last_seen_at', now(), 'end_failures', 0, 'inferred', false, 'end_asserted', false))).*
from unnest(%(client_ids)s::text[], %(agent_ids)s::text[], %(machines)s::text[]) g (client_id, agent_id, machine);
update agents a set primary_id = i.instance_id from instances i
where i.client_id = a.client_id and i.agent_id = a.agent_id and a.agent_id = any (%(agent_ids)s);
insert into primary_periods (client_id, agent_id, instance_id, started_at)
select client_id, agent_id, instance_id, now() from instances where agent_id = any (%(agent_ids)s);
"""


@frozen(kw_only=True)
class Member:
    """An agent of the fleet."""

    agent_id: str
    machine: str
    build: str
    token: str


def a_fleet(
    running: Running, size: int, builds: Sequence[str] = ("v4c",), *, clients: int = 20, decided_over: float = 0
) -> list[Member]:
    """So many agents, taking turns among clients and builds. The last decisions (Z34: one every 300 s) are spread over
    the given seconds; with 0 the next ones are 300 s away for all."""
    owners = [running.client(f"Client {number}") for number in range(min(clients, size))]
    members, client_ids = [], []
    for number, (client_id, token), build in zip(range(size), cycle(owners), cycle(builds), strict=False):
        members.append(Member(agent_id=f"agent-{number:06d}", machine=f"i-{number + 1:017x}", build=build, token=token))
        client_ids.append(client_id)
    values = {
        "client_ids": client_ids, "agent_ids": [one.agent_id for one in members],
        "machines": [one.machine for one in members], "builds": [one.build for one in members],
        "decided_over": decided_over,
    }  # fmt: skip
    with psycopg.connect(running.database_url, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(ROWS, values)
        connection.commit()
        connection.autocommit = True
        connection.execute("analyze")
    return members


def transactions(database_url: str) -> int:
    """How many the database has ended so far, this one and those of others on it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("select pg_stat_force_next_flush()")
        row = connection.execute(
            "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        ).fetchone()
    return int(row[0]) if row else 0
