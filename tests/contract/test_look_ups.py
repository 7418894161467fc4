"""What concerns one agent reads few rows, however large its client's fleet is, and however old the agent (5.2, design 3).

Whatever the planner believes: on a new site it has never looked, and takes every table for tiny; a little later it may
know of one agent alone, whose machines were all there were.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, Literal, get_args

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
    "hold_known_agents":
        "select hold_known_agents(%(client_id)s, array[%(agent_id)s], array[%(revision)s]::bigint[], %(since)s)",
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
HISTORY: Final = {
    "instances": "status = 'terminated'", "replicas": "ended_at is not null", "commands": "finished_at is not null",
    "incidents": "closed_at is not null", "switches": "true",
}  # fmt: skip
"""What an agent has had, by table."""
PERIODS: Final = """
insert into primary_periods (client_id, agent_id, instance_id, started_at, ended_at, switch_id)
select client_id, agent_id, instance_id, started_at - n * lasted, ended_at - n * lasted, switch_id || '-h' || n
from (select *, ended_at - started_at + interval '1 hour' as lasted from primary_periods
      where agent_id = %(agent_id)s and ended_at is not null order by started_at limit 1) t,
    generate_series(1, %(years)s) n
"""
COPY: Final = """
insert into {table}
select (jsonb_populate_record(t, (
    select jsonb_object_agg(key, value || %(mark)s || n) from jsonb_each_text(to_jsonb(t))
    where key like '%%\\_id' and value is not null and key <> all(%(shared)s)))).*
from {table} t, generate_series(1, %(others)s) n where {which}
"""
LATELY: Final = """
insert into decisions select %(client_id)s, 'd' || n, %(agent_id)s, %(now)s - n * interval '1 hour', 'round', 'h', null, '{}'
from generate_series(1, %(hours)s) n;
insert into raw_prices (client_id, submission_id, agent_id, source, pool_id, price, observed_at, received_at)
select %(client_id)s, 's' || n, %(agent_id)s, 'primary', 'p', 1, at, at
from generate_series(1, %(hours)s) n, lateral (select %(now)s - n * interval '3 minutes' as at) t;
"""
READ: Final = """
select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables
"""
TABLES: Final = "from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
FORGET_SIZES: Final = f"select pg_clear_relation_stats('public', relname) {TABLES}"
FORGET_COLUMNS: Final = f"""
select pg_clear_attribute_stats('public', relname, attname, false)
from pg_attribute join (select oid, relname {TABLES}) t on attrelid = t.oid where attnum > 0 and not attisdropped
"""
Known = Literal["nothing", "its first agent", "the fleet", "an old agent"]
"""What the planner has seen. Nobody grows old unseen: a minute is enough."""


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


@pytest.fixture(params=get_args(Known))
def site(request: pytest.FixtureRequest, warm_database: WarmDatabase) -> Iterator[Site]:
    """A fleet that the planner knows, has never looked at, or looked at when it was small; or one that is old."""
    known: Known = request.param
    with psycopg.connect(warm_database.url, autocommit=True) as root:
        values = _first_agent(root, warm_database)
        root.execute("set session_replication_role = replica")  # what is copied needs no rule's consent
        if known == "its first agent":
            _analyze_with_history(root)
        _others(root)
        if known == "an old agent":
            _history(root, values["agent_id"])
        root.execute("analyze" if known in ("the fleet", "an old agent") else FORGET_SIZES)
        if known == "nothing":
            root.execute(FORGET_COLUMNS)
    with psycopg.connect(warm_database.url) as opened:
        opened.execute("select set_config('role', 'spotcore_app', false), set_config('spotcore.tenant', '*', false)")
        opened.commit()
        yield Site(opened, values["agent_id"], values)


def _analyze_with_history(root: Session) -> None:
    """While the agent's machines are too many for the planner to take them for a few."""
    with root.transaction():
        _copy(root, "instances", HISTORY["instances"], "-", "agent_id")
        root.execute("analyze")
        root.execute("delete from instances where cloud_id like 'i-%-%'")


def _others(root: Session) -> None:
    """As many more agents as make a fleet, each with what the first has."""
    for table in COPIED:
        _copy(root, table, "true", "-")


def _history(root: Session, agent_id: str) -> None:
    """What the agent would have after some years: as much again as its first machine left, many times over."""
    for table, which in HISTORY.items():
        _copy(root, table, f"{which} and agent_id = '{agent_id}'", "-h", "agent_id")
    root.execute(PERIODS, {"agent_id": agent_id, "years": OTHERS})


def _copy(root: Session, table: str, which: str, mark: str, *shared: str) -> None:
    values = {"others": OTHERS, "mark": mark, "shared": ["client_id", "pool_id", *shared]}
    root.execute(COPY.format(table=table, which=which), values)  # type: ignore[call-overload]


def _first_agent(root: Session, warm_database: WarmDatabase) -> Mapping[str, Any]:
    """An agent whose first machine was taken three days ago; what calls about it name."""
    clock = FakeClock()
    world = a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)
    ready = with_replica(world)
    world.notice(ready.agent_id, ready.primary)
    world.plane.emergencies.ended(world.agent_caller, ready.agent_id, ready.primary, "taken back")
    clock.advance(3 * 86_400)
    world.beat(ready.agent_id, ready.standby)
    world.report_prices(ready.agent_id, {"us-east-1a": "0.0300"})
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
        "behind": "", "limit": 100,
        "logical_agent_id": agent.logical_agent_id, "cloud_id": ready.standby,
    }  # fmt: skip


def test_5_4_who_has_an_incident_is_found_without_going_through_all_whose_time_has_come(site: Site) -> None:
    """However many fell silent at once: the look comes before each hundred of them."""
    site.session.execute("update agents set due_at = %(now)s", site.values)
    site.session.execute(
        "update incidents set state = 'handling', closed_at = null"
        " where incident_id = (select min(incident_id) from incidents where agent_id = %(agent_id)s)",
        site.values,
    )
    site.session.commit()
    read = site.rows_read(query("agents_pressed"))
    assert read.total() <= OWN_ROWS, read


def test_a_call_about_one_agent_reads_the_rows_of_one_agent(site: Site) -> None:
    read = {call: site.rows_read(statement) for call, statement in CALLS.items()}
    assert all(read.values())
    del read["market_of"]["instances"]  # the latest machines of each pool, whoever's they are (test_market_costs.py)
    assert {call: rows for call, rows in read.items() if rows.total() > OWN_ROWS} == {}


def test_e23_reads_few_rows_of_an_agent_however_much_it_has_decided_and_reported(
    site: Site, warm_database: WarmDatabase
) -> None:
    with psycopg.connect(warm_database.url, cursor_factory=psycopg.ClientCursor) as root:
        root.execute(LATELY, {**site.values, "hours": 20 * OWN_ROWS})
    read = site.rows_read(query("agents_activity"))
    few = {
        "decisions": 5,
        "decision_days": 31,
        "recent_reports": 24 * 20 + 10,
        "raw_prices": 0,
    }  # a day of them at most
    assert {table: read[table] for table, rows in few.items() if read[table] > rows} == {}
