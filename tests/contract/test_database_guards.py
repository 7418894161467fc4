"""Belt and braces (GR-2): the database refuses what the core would never ask for."""

from contextlib import closing

import psycopg
import pytest

from spotadapters.postgres.errors import BY_CONSTRAINT
from spotadapters.postgres.migrate import MigrationError, migrate, pending
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from tests.support.databases import WarmDatabase
from tests.support.world import FakeClock, World, a_world, with_replica


@pytest.fixture
def world(warm_database: WarmDatabase) -> World:
    clock = FakeClock()
    return a_world(PostgresStorage(warm_database.connections, clock).transactions, clock)


def copy_of(table: str, key: str, **changes: str) -> str:
    """An insert of the first row again under another key, with some columns changed."""
    columns = ", ".join(f"'{name}', {value}" for name, value in changes.items())
    patch = f"jsonb_build_object('{key}', 'copy'{', ' + columns if columns else ''})"
    return f"insert into {table} select (jsonb_populate_record(t, {patch})).* from {table} t limit 1"


BROKEN = {
    "i1_one_primary": copy_of("instances", "instance_id", status="'running_primary'", cloud_id="'i-0copy'"),
    "i2_one_live_replica": copy_of("replicas", "replica_id", state="'ready'"),
    "i3_modes_exclude_each_other": "update agents set auto_switch_enabled = true, manual_replica_enabled = true",
    "i6_config_version_step": "update agents set config_version = config_version + 2",
    "i8_periods_do_not_overlap": "insert into primary_periods select client_id, agent_id, instance_id, started_at, started_at + interval '1 hour', 'x' from primary_periods limit 1",
    "i10_cloud_id_form": "update instances set cloud_id = 'i-pending-12345678'",
    "i10_cloud_id_unique": copy_of("instances", "instance_id", status="'zombie'").replace(
        "limit 1", "where t.status = 'running_primary'"
    ),
    "i13_logical_id_unique": copy_of("agents", "agent_id", primary_id="null"),
    "i14_only_the_first_period_has_no_switch": "insert into primary_periods select client_id, agent_id, instance_id, now() + interval '1 year', null, null from primary_periods limit 1",
    "gr4_terminal_stays_terminal": "update instances set status = 'zombie' where status = 'terminated'",
    "terminated_at_only_when_terminated": "update instances set terminated_at = now() where status = 'running_primary'",
    "replica_state": "update replicas set state = 'promoting'",
    "terminate_wait_range": "update agents set terminate_wait_seconds = 0",
    "price_range": "update raw_prices set price = 0",
}


@pytest.fixture(scope="module")
def promoted(module_database_url: str) -> str:
    """A database with one agent that has moved to its replica; what is refused changes nothing of it."""
    clock = FakeClock()
    with Connections(module_database_url, size=1, reserve=1) as connections:
        world = a_world(PostgresStorage(connections, clock).transactions, clock)
        ready = with_replica(world)
        world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
        world.plane.commands.termination_result(world.agent_caller, ready.agent_id, ready.primary, True, None)
    return module_database_url


@pytest.mark.parametrize("constraint", BROKEN)
def test_gr2_a_broken_invariant_is_refused_by_name(promoted: str, constraint: str) -> None:
    with psycopg.connect(promoted) as connection, pytest.raises(psycopg.IntegrityError) as refusal:
        connection.execute(BROKEN[constraint])
    assert refusal.value.diag.constraint_name == constraint


def test_i4_i11_i5_are_constraints_too(world: World, database_url: str) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    world.report_prices(agent_id, {"us-east-1b": "0.03"})
    world.notice(agent_id, "i-0a")
    other = world.register("second", "i-0b").agent_id
    world.report_prices(other, {"us-east-1b": "0.03"})
    world.switch(other)
    broken = {
        "i4_one_role_change": copy_of("commands", "command_id", request_id="'other'"),
        "i11_one_incident_per_instance": copy_of("incidents", "incident_id", severity="'rebalance'"),
        "i5_primary_exists": "update agents set primary_id = 'nobody'",
    }
    for constraint, statement in broken.items():
        with (
            closing(psycopg.connect(database_url)) as connection,
            pytest.raises(psycopg.IntegrityError) as refusal,
            connection.transaction(),
        ):
            connection.execute(statement)
        assert refusal.value.diag.constraint_name == constraint


LINE = """insert into ledger_lines (client_id, line_id, agent_id, instance_id, started_at, ended_at, role, mode, baseline,
    cost, saving, quality, recorded_at) select client_id, '{line}', agent_id, instance_id, {start}::timestamptz,
    {start}::timestamptz + interval '1 hour', 'primary', 'spot', {baseline}, 1, 2, 'measured', now() from instances limit 1"""


def test_i9_lines_of_one_machine_never_overlap_and_each_adds_up(world: World, database_url: str) -> None:
    world.register("web", "i-0a")
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        connection.execute(LINE.format(line="first", start="'2026-03-02T12:00Z'", baseline=3))
        connection.execute(LINE.format(line="next", start="'2026-03-02T13:00Z'", baseline=3))
        for start, baseline, constraint in (
            ("'2026-03-02T12:30Z'", 3, "i9_lines_do_not_overlap"),
            ("'2026-03-02T15:00Z'", 9, "saving_is_baseline_minus_cost"),
        ):
            with pytest.raises(psycopg.IntegrityError) as refusal:
                connection.execute(LINE.format(line="bad", start=start, baseline=baseline))
            assert refusal.value.diag.constraint_name == constraint


SESSION = """insert into model_sessions (session_id, kind, state, scope, created_at, changed_at, activated_at, rejection,
    files_removed_at) values ({id}, 'model', {state}, 'global', now(), now(), {activated}, {rejection}, {removed})"""
FILE = "insert into model_files values ('live', {position}, 'x', {digest}, {size})"


def a_session(
    session_id: str, state: str, activated: str = "now()", rejection: str = "null", removed: str = "null"
) -> str:
    return SESSION.format(
        id=f"'{session_id}'", state=f"'{state}'", activated=activated, rejection=rejection, removed=removed
    )


SESSIONS = {
    "i12_one_active_session": a_session("other", "active"),
    "one_fallback_session": a_session("other", "fallback"),
    "model_state": a_session("other", "loaded"),
    "model_rejection": a_session("other", "rejected"),
    "model_activation": a_session("other", "active", activated="null"),
    "serving_files_are_kept": "update model_sessions set files_removed_at = now() where session_id = 'live'",
    "gr4_terminal_stays_terminal": "update model_sessions set state = 'active' where session_id = 'gone'",
    "model_digest": FILE.format(position=1, digest="'../../etc/passwd'", size=1),
    "model_size": FILE.format(position=1, digest=f"'{'0' * 64}'", size=104857601),
}


@pytest.mark.parametrize("constraint", SESSIONS)
def test_i12_a_second_live_session_and_other_nonsense_is_refused_by_name(database_url: str, constraint: str) -> None:
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        for session_id, state in (("live", "active"), ("back", "fallback"), ("gone", "archived")):
            connection.execute(a_session(session_id, state))
        with pytest.raises(psycopg.IntegrityError) as refusal:
            connection.execute(SESSIONS[constraint])
    assert refusal.value.diag.constraint_name == constraint


def test_constraints_that_callers_can_meet_have_an_error_of_their_own(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        names = {
            row[0]
            for row in connection.execute("select conname from pg_constraint union select indexname from pg_indexes")
        }
    assert set(BY_CONSTRAINT) <= names


def test_migrations_apply_once_and_refuse_a_changed_file(empty_database_url: str, database_url: str) -> None:
    assert pending(empty_database_url)
    assert migrate(database_url) == []
    assert pending(database_url) == []
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update schema_migrations set digest = 'other'")
    with pytest.raises(MigrationError, match="changed"):
        migrate(database_url)


def test_every_column_of_a_value_is_a_column_of_its_table(database_url: str) -> None:
    from spotadapters.postgres.rows import columns
    from spotcore.agents import Agent
    from spotcore.commands import Command
    from spotcore.incidents import Incident
    from spotcore.instances import Instance
    from spotcore.models import ModelSession
    from spotcore.replicas import Replica
    from spotcore.switches import Switch

    kinds = {
        "agents": Agent,
        "commands": Command,
        "incidents": Incident,
        "instances": Instance,
        "replicas": Replica,
        "switches": Switch,
    }
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select column_name from information_schema.columns where table_name = 'model_sessions'"
        )
        assert {row[0] for row in rows} == set(columns(ModelSession)) - {"files"}
        (body,) = connection.execute("select prosrc from pg_proc where proname = 'save_agent'").fetchone() or ("",)
        for table, kind in kinds.items():
            rows = connection.execute(
                "select column_name from information_schema.columns where table_name = %s", (table,)
            )
            assert {row[0] for row in rows} == set(columns(kind)), table
            section = body.split(f"doc ? '{table}'")[1].split("end if")[0]
            assert all(section.count(name) >= 2 for name in columns(kind)), table  # written and updated
