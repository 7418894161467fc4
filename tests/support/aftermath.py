"""What must hold after any trouble: I1…I14 asked of the tables themselves, one primary each, nothing lost or doubled."""

from collections.abc import Iterator
from typing import Any, Final

import psycopg

from spotadapters.postgres.audit import AuditSeals
from spotadapters.postgres.ledger import LedgerReads
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotadapters.system.clock import SystemClock
from spotcore.aggregate import violations
from spotcore.endings import terminate_list
from spotcore.ids import AgentId, ClientId
from tests.support.load import Acknowledged

BROKEN: Final = {  # rule: what breaks it
    "I1": "select agent_id from instances where status = 'running_primary' group by 1 having count(*) > 1",
    "I2": "select agent_id from replicas where state in ('launching', 'syncing', 'ready') group by 1 "
    "having count(*) > 1",
    "I3": "select agent_id from agents where auto_switch_enabled and manual_replica_enabled",
    "I4": "select agent_id from commands where state in ('pending', 'executing') "
    "and (kind in ('switch', 'promote') or makes_primary) group by 1 having count(*) > 1",
    "I5": "select a.agent_id, a.primary_id, i.instance_id from agents a full join "
    "(select * from instances where status = 'running_primary') i on i.agent_id = a.agent_id "
    "where a.primary_id is distinct from i.instance_id",
    "I6": "select agent_id from agents where config_version < 1",
    "I8": "select a.agent_id from primary_periods a join primary_periods b on a.agent_id = b.agent_id "
    "and a.ctid <> b.ctid and tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at)",
    "I8, open": "select a.agent_id, a.primary_id, p.instance_id from agents a full join "
    "(select * from primary_periods where ended_at is null) p on p.agent_id = a.agent_id "
    "where a.primary_id is distinct from p.instance_id",
    "I9": "select a.instance_id from ledger_lines a join ledger_lines b on a.instance_id = b.instance_id "
    "and a.line_id <> b.line_id and a.adjusts is null and b.adjusts is null "
    "and tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at)",
    "I10": "select cloud_id from instances where cloud_id is not null and status not in ('terminated', 'released') "
    "group by 1 having count(*) > 1 or cloud_id like 'i-pending-%'",
    "I11, incidents": "select instance_id from incidents where state not in ('resolved', 'cleared') group by 1 "
    "having count(*) > 1",
    "I11, failovers": "select agent_id from incidents where state not in ('resolved', 'cleared') "
    "and severity = 'termination' and promoted_at is null group by 1 having count(*) > 1",
    "I12": "select scope, kind from model_sessions where state = 'active' group by 1, 2 having count(*) > 1",
    "I13": "select client_id, logical_agent_id from agents where life <> 'deleted' group by 1, 2 having count(*) > 1",
    "I14, switches": "select s.switch_id from switches s where s.state = 'completed' and 1 <> "
    "(select count(*) from primary_periods p where p.switch_id = s.switch_id)",
    "I14, periods": "select p.agent_id from primary_periods p left join switches s on s.switch_id = p.switch_id "
    "where s.switch_id is null group by 1 having count(*) > 1",
    "one primary each": "select agent_id from agents where life = 'live' and primary_id is null",
    "an effect once: emergencies": "select incident_id from switches where trigger = 'emergency' group by 1 "
    "having count(*) > 1",
    "an effect once: live commands": "select agent_id, kind, target_instance_id from commands "
    "where state in ('pending', 'executing') group by 1, 2, 3 having count(*) > 1",
    "an effect once: notifications": "select event_id, client_id from notifications group by 1, 2 having count(*) > 1",
    "an effect once: deliveries": "select channel_id, notification_id from deliveries group by 1, 2 "
    "having count(*) > 1",
    "an effect once: snapshots": "select day from client_snapshots group by 1 having count(*) > 1",
    "an effect once: places in the feed": "select position from outbox where position is not null group by 1 "
    "having count(*) > 1",
    "no run left behind": "select r.job_type from job_runs r where r.status = 'running' "
    "group by 1 having count(*) > 1",
}  # fmt: skip


def all_is_well(database_url: str, done: Acknowledged | None = None) -> None:
    """Fails with everything that is wrong."""
    trouble = [*_broken(database_url), *_aggregates(database_url), *_lost(database_url, done or Acknowledged())]
    assert not trouble, "\n".join(trouble)


def rows(database_url: str, text: str, values: Any = None) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url, connect_timeout=5) as connection:
        return connection.execute(text, values).fetchall()  # type: ignore[call-overload, no-any-return]


def _broken(database_url: str) -> Iterator[str]:
    with psycopg.connect(database_url, connect_timeout=5) as connection:
        connection.execute("set enable_indexscan = off")  # the tables, not the indexes that guard them
        connection.execute("set enable_bitmapscan = off")
        connection.execute("set enable_indexonlyscan = off")
        for rule, text in BROKEN.items():
            found = connection.execute(text).fetchall()  # type: ignore[call-overload]
            if found:
                yield f"{rule}: {found[:5]}"


def _aggregates(database_url: str) -> Iterator[str]:
    """What the core says of every agent, I7 among it; and the seals over audit and ledger."""
    clock = SystemClock()
    with Connections(database_url, size=2, reserve=1) as connections:
        storage = PostgresStorage(connections, clock)
        with storage.transactions() as uow:
            clients = [row[0] for row in rows(database_url, "select client_id from clients")]
            for client in clients:
                for agent in uow.clients.agent_ids(ClientId(client)):
                    aggregate = uow.agents.get(ClientId(client), AgentId(agent))
                    yield from (f"{agent}: {one}" for one in violations(aggregate))
                    kept = {aggregate.agent.primary_id}
                    kept |= {aggregate.live_replica.instance_id} if aggregate.live_replica else set()
                    ends = {entry.instance.instance_id for entry in terminate_list(aggregate, clock.now())}
                    if ends & kept:
                        yield f"{agent}: I7: {ends & kept}"
        seals = AuditSeals(connections, clock)
        seals.seal()
        yield from (f"audit: {one.trouble}" for one in seals.verify() if one.trouble)
        for client in clients:
            ledger = LedgerReads(connections, clock).verify(ClientId(client))
            yield from (f"ledger: {one.trouble}" for one in ledger if one.trouble)


def _lost(database_url: str, done: Acknowledged) -> Iterator[str]:
    """What was acknowledged and is not there."""
    heard = dict(rows(database_url, "select agent_id, last_heartbeat_at from agents"))
    versions = dict(rows(database_url, "select agent_id, config_version from agents"))
    prices = dict(rows(database_url, "select agent_id, count(*) from raw_prices group by 1"))
    machines = set(rows(database_url, "select agent_id, cloud_id from instances"))
    moved = set(rows(database_url, "select agent_id, new_cloud_id from switches where state = 'completed'"))
    yield from (f"lost: {one} registered" for one in done.machines.items() if one not in machines)
    yield from (f"lost: {one} took over" for one in done.successors.items() if one not in moved)
    yield from (
        f"lost: a heartbeat of {agent}"
        for agent, at in done.heard.items()
        if heard.get(agent) is None or heard[agent] < at
    )
    yield from (f"lost: settings of {agent}" for agent, at in done.versions.items() if versions.get(agent, 0) < at)
    yield from (f"lost: prices of {agent}" for agent, number in done.prices.items() if prices.get(agent, 0) < number)
