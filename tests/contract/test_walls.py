"""Row-level security table by table, for each kind of caller: own client, another one, nobody, the operator (design 6)."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import psycopg
import pytest

from spotadapters.postgres.pool import ROLE
from tests.support.rows import VALID, Connection, count_of, put, put_all

TABLES_OF_CLIENTS = [table for table, row in VALID.items() if "client_id" in row and table != "ondemand_prices"]
KEYS: Mapping[str, Mapping[str, Any]] = {
    # what a second row of another client needs beside its client_id
    "clients": {"name": "Other", "email": None}, "tokens": {"token_hash": "t2"},
    "agents": {"agent_id": "a2"}, "instances": {"agent_id": "a2", "cloud_id": "i-0m2"}, "incidents": {"agent_id": "a2"},
    "replicas": {"agent_id": "a2"}, "commands": {"agent_id": "a2"}, "switches": {"agent_id": "a2"},
    "primary_periods": {"agent_id": "a2"}, "audit_events": {"event_id": "e2"}, "notifications": {"notification_id": "n2"},
    "notification_reads": {"notification_id": "n2"}, "outbox": {"event_id": "e2"},
    "raw_prices": {"agent_id": "a2"}, "decisions": {"agent_id": "a2"},
    "recent_reports": {"agent_id": "a2"}, "decision_days": {"agent_id": "a2"},
    "ledger_lines": {"agent_id": "a2"}, "idempotency_keys": {"key": "k2"}, "channels": {"channel_id": "h2"},
    "deliveries": {"channel_id": "h2", "delivery_id": "y2", "notification_id": "n2"},
}  # fmt: skip
SHARED = [table for table in VALID if table not in TABLES_OF_CLIENTS]


@pytest.fixture(scope="module")
def opened(module_database_url: str) -> Iterator[Connection]:
    """Two clients with a row each in every table, seen in the role that the server works in."""
    with closing(psycopg.connect(module_database_url)) as connection:
        put_all(connection)
        for table in TABLES_OF_CLIENTS:
            put(connection, table, **{"client_id": "d", **KEYS.get(table, {})})
        connection.execute("delete from ledger_seals")  # so that lines may go
        connection.commit()
        connection.execute(f"set role {ROLE}")
        connection.commit()
        yield connection


@pytest.fixture
def walled(opened: Connection) -> Iterator[Connection]:
    yield opened
    opened.rollback()


def acts_for(connection: Connection, tenant: str | None) -> None:
    connection.execute("select set_config('spotcore.tenant', %s, true)", (tenant,))


def owners(connection: Connection, table: str) -> list[str]:
    return sorted(row[0] for row in connection.execute(f"select client_id from {table}").fetchall())


@pytest.mark.parametrize("table", TABLES_OF_CLIENTS)
def test_each_caller_reads_what_is_its_own(walled: Connection, table: str) -> None:
    if table == "ledger_seals":
        walled.execute("reset role")
        for client_id in ("c", "d"):
            put(walled, table, client_id=client_id)
        walled.execute(f"set role {ROLE}")
    for tenant, seen in (("*", ["c", "d"]), ("c", ["c"]), ("d", ["d"]), ("x", []), ("", []), ("C", []), ("c,d", [])):
        acts_for(walled, tenant)
        assert owners(walled, table) == seen, tenant


@pytest.mark.parametrize("table", TABLES_OF_CLIENTS)
def test_a_transaction_that_names_nobody_reads_changes_and_removes_nothing(walled: Connection, table: str) -> None:
    assert count_of(walled, table) == 0
    assert walled.execute(f"update {table} set client_id = client_id").rowcount == 0
    assert walled.execute(f"delete from {table}").rowcount == 0


@pytest.mark.parametrize("table", [table for table in TABLES_OF_CLIENTS if table != "ledger_seals"])
def test_a_client_changes_and_removes_its_own_rows_alone(walled: Connection, table: str) -> None:
    acts_for(walled, "d")
    assert walled.execute(f"update {table} set client_id = client_id").rowcount == 1
    walled.execute("set constraints all deferred")
    with walled.transaction(force_rollback=True):
        walled.execute("reset role")
        walled.execute("alter table agents disable trigger all")
        children = walled.execute(
            "select conrelid::regclass::text, conname::text from pg_constraint"
            " where contype = 'f' and confrelid = %s::regclass", (table,),
        ).fetchall()  # fmt: skip
        for child, name in children:
            walled.execute(f"alter table {child} drop constraint {name}")
        walled.execute(f"set role {ROLE}")
        assert walled.execute(f"delete from {table}").rowcount == 1
        acts_for(walled, "*")
        assert owners(walled, table) == ["c"]


@pytest.mark.parametrize("table", TABLES_OF_CLIENTS)
def test_a_client_writes_no_row_for_another(walled: Connection, table: str) -> None:
    acts_for(walled, "d")
    row = {**KEYS.get(table, {}), "client_id": "c"}
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"), walled.transaction():
        put(walled, table, **row)
    acts_for(walled, "")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), walled.transaction():
        put(walled, table, **row)


@pytest.mark.parametrize("table", [table for table in TABLES_OF_CLIENTS if table != "ledger_seals"])
def test_a_client_gives_no_row_away(walled: Connection, table: str) -> None:
    acts_for(walled, "d")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"), walled.transaction():
        walled.execute(f"update {table} set client_id = 'x'")


def test_a_broadcast_is_read_by_everybody_who_is_somebody_and_written_by_the_operator(walled: Connection) -> None:
    acts_for(walled, "*")
    put(walled, "notifications", notification_id="all", client_id=None)
    count = "select count(*) from notifications where client_id is null"
    for tenant, seen in (("*", 1), ("c", 1), ("nobody in particular", 1), ("", 0)):
        acts_for(walled, tenant)
        assert walled.execute(count).fetchone() == (seen,), tenant
    acts_for(walled, "c")
    assert walled.execute("update notifications set message = 'x' where client_id is null").rowcount == 0
    assert walled.execute("delete from notifications where client_id is null").rowcount == 0


def test_an_answer_is_kept_for_whom_the_transaction_works_for(walled: Connection) -> None:
    """Scopes are opaque digests: whose a stored answer is follows from the transaction alone."""
    acts_for(walled, "d")
    walled.execute("insert into idempotency_keys (scope, key, body_hash, created_at) values ('s', 'mine', 'h', now())")
    assert walled.execute("select client_id from idempotency_keys where key = 'mine'").fetchone() == ("d",)
    acts_for(walled, "c")
    assert walled.execute("select 1 from idempotency_keys where key = 'mine'").fetchone() is None


@pytest.mark.parametrize("table", SHARED)
def test_what_is_nobodys_or_the_operators_alone_names_no_client(walled: Connection, table: str) -> None:
    """Prices in force, jobs, models, data sets, sessions: read by the server for everybody; no tenant column to forget."""
    names = walled.execute(
        "select column_name::text from information_schema.columns where table_name = %s", (table,)
    ).fetchall()
    named = {row[0] for row in names}
    assert named, table
    assert "client_id" not in named or table == "ondemand_prices"


def test_the_servers_role_can_change_no_schema_and_lift_no_wall(walled: Connection) -> None:
    for statement in (
        "alter table agents disable row level security", "drop table agents", "create table public.mine (x int)",
        "alter table agents no force row level security", "drop policy own_rows on agents",
        "create policy all_rows on agents using (true)", "truncate agents", "alter role spotcore_app bypassrls",
        "select * from raw_prices_default", "alter table ledger_lines disable trigger sv7_final_lines_stay",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege), walled.transaction():
            walled.execute(statement)


def test_looking_across_clients_ends_with_the_function_that_does_it(walled: Connection) -> None:
    """RG-9, E26 and 4.3 look at everybody's rows inside a client's transaction and give nothing else."""
    acts_for(walled, "d")
    (found,) = walled.execute("select * from machine_bindings('i-0m')").fetchall()
    assert found[:4] == ("c", "a", "m", "i-0m")
    assert walled.execute("select agent_exists_elsewhere('d', 'a')").fetchone() == (True,)
    market = "select market_of('d', 'm5.large', 'us-east-1', now(), now())"
    text = walled.execute(market).fetchone()[0]
    assert '"c"' not in text  # numbers alone leave it
    assert owners(walled, "agents") == ["d"]
    assert walled.execute("select current_setting('spotcore.tenant')").fetchone() == ("d",)
