"""What concerns one agent reads the rows of that agent, however large its client's fleet is (5.2, design 3).

Whatever the planner believes: on a new site it has never looked, and takes every table for tiny.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest
from attrs import define
from psycopg.types.json import Jsonb

from spotadapters.postgres.queries import query
from spotadapters.postgres.storage import PostgresStorage
from tests.support.databases import WarmDatabase
from tests.support.world import TYPE, FakeClock, a_world, with_replica

OTHERS: Final = 150
COPIED: Final = ("agents", "instances", "replicas", "commands", "incidents", "switches", "primary_periods")
OWN_ROWS: Final = 30
"""An agent has fewer, each read by two or three statements of the function that writes it."""

Session = psycopg.Connection[Any]

CALLS: Final = {
    "note_pulses": "select note_pulses(%(signs)s)",
    "idle_polls": "select idle_polls(%(signs)s)",
    "load_agent": "select load_agent(%(client_id)s, %(agent_id)s, %(since)s, '{}', '{}', '{}', '{}', true)",
    "load_free_agents": "select load_free_agents(%(client_id)s, array[%(agent_id)s], %(since)s, '{}', '{}', '{}', '{}')",
    "hold_known_agents": "select hold_known_agents(%(client_id)s, array[%(agent_id)s], array[%(revision)s]::bigint[])",
    "market_of": "select market_of(%(client_id)s, %(type)s, 'us-east-1', %(now)s, %(since)s)",
    "record_reports": "select record_reports(%(report)s)",
    **{
        name: query(name)
        for name in (
            "credential_find", "session_find", "agent_poll", "agent_by_logical_id", "agent_exists_elsewhere",
            "machine_bindings",
        )
    },
}  # fmt: skip
COPY: Final = """
insert into {table}
select (jsonb_populate_record(t, (
    select jsonb_object_agg(key, value || '-' || n) from jsonb_each_text(to_jsonb(t))
    where key like '%%\\_id' and value is not null and key <> all(%(shared)s)))).*
from {table} t, generate_series(1, %(others)s) n
"""
READ: Final = """
select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables
"""
STATISTICS: Final = ("none", "of the fleet")


@define
class Site:
    """A large fleet, and one of its agents."""

    session: Session  # as the server opens them
    agent_id: str
    values: Mapping[str, Any]

    def rows_read(self, statement: Any) -> Counter[str]:
        """Of each table, by a call whose plans are made."""
        for _ in range(2):
            self.session.execute(statement, self.values)
        before = self._counters()
        assert self.session.execute(statement, self.values).fetchall() != []
        read = self._counters() - before
        self.session.rollback()
        return read

    def _counters(self) -> Counter[str]:
        return Counter(dict(self.session.execute(READ).fetchall()))


@pytest.fixture(params=STATISTICS)
def site(request: pytest.FixtureRequest, warm_database: WarmDatabase) -> Iterator[Site]:
    """A fleet that the planner knows or has never looked at."""
    with psycopg.connect(warm_database.url, autocommit=True) as root:
        values = _fleet(root, warm_database)
        if request.param == "of the fleet":
            root.execute("analyze")
    with psycopg.connect(warm_database.url) as opened:
        opened.execute("select set_config('role', 'spotcore_app', false), set_config('spotcore.tenant', '*', false)")
        opened.commit()
        yield Site(opened, values["agent_id"], values)


def _fleet(root: Session, warm_database: WarmDatabase) -> Mapping[str, Any]:
    """One agent whose first machine was taken three days ago, and others like it; what calls about it name."""
    clock = FakeClock()
    world = a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)
    ready = with_replica(world)
    world.notice(ready.agent_id, ready.primary)
    world.plane.emergencies.ended(world.agent_caller, ready.agent_id, ready.primary, "taken back")
    clock.advance(3 * 86_400)
    world.beat(ready.agent_id, ready.standby)
    world.report_prices(ready.agent_id, {"us-east-1a": "0.0300"})
    root.execute("set session_replication_role = replica")  # the others need no rule's consent
    for table in COPIED:
        root.execute(COPY.format(table=table), {"others": OTHERS, "shared": ["client_id", "pool_id"]})  # type: ignore[call-overload]
    agent, now = world.aggregate(ready.agent_id).agent, clock.now()
    token = hashlib.sha256(b"t").hexdigest()
    root.execute(
        "insert into tokens (token_hash, client_id, hint, created_at) values (%s, %s, '', %s)",
        (token, world.client_id, now),
    )
    sign = {
        "place": 0, "token_hash": token, "client_id": world.client_id, "agent_id": ready.agent_id,
        "revision": agent.revision, "instance_id": agent.primary_id, "is_agents": True, "at": now.isoformat(),
        "due_at": (now + timedelta(minutes=2)).isoformat(), "source": "primary", "rank": 1, "confidence": 1,
    }  # fmt: skip
    root.execute(
        "insert into sessions (session_hash, token_hash, created_at, seen_at) values ('s', %s, %s, %s)",
        (token, now, now),
    )
    return {
        "client_id": world.client_id, "agent_id": ready.agent_id, "type": TYPE, "revision": agent.revision, "now": now,
        "since": now - timedelta(days=1), "signs": Jsonb([sign]),
        "report": Jsonb({"signs": [sign], "items": [], "ondemand": []}), "token_hash": token, "session_hash": "s",
        "logical_agent_id": agent.logical_agent_id, "cloud_id": ready.standby,
    }  # fmt: skip


def test_a_call_about_one_agent_reads_the_rows_of_one_agent(site: Site) -> None:
    read = {call: site.rows_read(statement) for call, statement in CALLS.items()}
    assert all(read.values())
    del read["market_of"]["instances"]  # the latest machines of each pool, whoever's they are (test_market_costs.py)
    assert {call: rows for call, rows in read.items() if rows.total() > OWN_ROWS} == {}
