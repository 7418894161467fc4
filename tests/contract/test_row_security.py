"""The second wall (design 6): whatever a statement forgets, a client's transaction touches that client's rows alone."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest
from attrs import frozen
from psycopg import sql

from spotadapters.postgres import queries
from spotadapters.postgres.migrate import MigrationError, migrate
from spotadapters.postgres.pool import ROLE, Connections
from spotadapters.system.tenancy import EVERYBODY, NOBODY, acting_for, tenant
from tests.support.server import Site, Tenant
from tests.support.wire_agents import V4c

CLAUSE = re.compile(r"((?:\w+\.)?client_id) = (%\((?:client_id|scope)\)s)")
SHARED = {
    "ondemand_prices": "list prices; the column says who reported one first",
}
WITH_ROWS = (
    "clients", "tokens", "agents", "instances", "replicas", "commands", "primary_periods", "audit_events",
    "notifications", "outbox", "raw_prices", "idempotency_keys", "pricing_alerts", "incidents", "decisions",
    "notification_reads", "switches", "decision_days", "recent_reports",
)  # fmt: skip


@frozen(kw_only=True)
class Two:
    """Two clients with a story each, on one database."""

    site: Site
    mine: Tenant
    other: Tenant
    my_agent: V4c
    other_agent: V4c

    @property
    def connections(self) -> Connections:
        return self.site.connections


def story(client: Tenant) -> V4c:
    """A fleet of one with everything that leaves rows: prices, a decision, a replica, a failover, an alert, a notice."""
    agent = V4c(client, client.site.new_machine(), logical=f"web-of-{client.client_id}")
    assert agent.register().status == 200
    agent.heartbeat()
    agent.prices()
    client.site.plane.decisions.round()
    client.post(f"/api/client/instances/{agent.machine}/force-switch", {"target": "ondemand"})
    settings = client.post(f"/api/client/agents/{agent.agent_id}/config", {"manualReplicaEnabled": True})
    assert settings.status == 200, settings
    (entry,) = agent.to_launch()
    agent.launch_replica(entry, client.site.new_machine())
    assert agent.termination()[1].data["success"] is True
    alert = {"alertType": "price_above", "threshold": 1}
    answer = client.post(f"/api/client/{client.client_id}/pricing-alerts", alert, headers={"X-Request-ID": "once"})
    assert answer.status == 201, answer
    client.post("/api/notifications/mark-all-read", {})
    return agent


def tables_of_clients(connection: psycopg.Connection[tuple[str, ...]]) -> set[str]:
    rows = connection.execute(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition"
        " and a.attname = 'client_id' and not a.attisdropped"
    )
    return {row[0] for row in rows}


class Undone(Exception):
    """Rolls a transaction back."""


@pytest.fixture(scope="module")
def two(module_site: Site) -> Two:
    """Nobody changes anything of them: what a test changes it undoes (``undone``)."""
    mine, other = module_site.client("Mine"), module_site.client("Other")
    return Two(site=module_site, mine=mine, other=other, my_agent=story(mine), other_agent=story(other))


@contextmanager
def undone(two: Two) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of my client's that is rolled back in the end."""
    with suppress(Undone), acting_for(two.mine.client_id), two.connections.connection() as connection:
        yield connection
        raise Undone


def owners(connections: Connections, table: str) -> set[str | None]:
    """Whose rows a statement without any condition sees."""
    with connections.connection() as connection:
        found = connection.execute(sql.SQL("select distinct client_id from {}").format(sql.Identifier(table)))
        return {row[0] for row in found.fetchall()}


def test_every_table_of_clients_is_walled(two: Two) -> None:
    with closing(psycopg.connect(two.connections.database_url)) as connection:
        walled = {
            row[0]
            for row in connection.execute(
                "select relname::text from pg_class where relrowsecurity and relforcerowsecurity"
            )
        }
        assert tables_of_clients(connection) - walled == set(SHARED)


def test_the_server_does_not_work_as_the_owner_nor_past_the_wall(two: Two) -> None:
    with two.connections.connection() as connection:
        row = connection.execute(
            "select current_user::text, r.rolsuper, r.rolbypassrls, r.rolcanlogin from pg_roles r"
            " where rolname = current_user"
        ).fetchone()
    assert row == (ROLE, False, False, False)
    ((user,),) = two.connections.rows("select current_user::text", {})
    assert user == ROLE


@pytest.mark.parametrize("table", WITH_ROWS)
def test_a_statement_without_a_tenant_clause_sees_its_own_clients_rows_alone(two: Two, table: str) -> None:
    everybody = owners(two.connections, table)
    assert {two.mine.client_id, two.other.client_id} <= everybody
    broadcasts = {None} if table == "notifications" else set()
    with acting_for(two.mine.client_id):
        assert owners(two.connections, table) - broadcasts == {two.mine.client_id}
    with acting_for(NOBODY):
        assert owners(two.connections, table) == set()


def test_single_look_ups_stand_behind_it_too(two: Two) -> None:
    count = "select count(*) from agents"
    assert two.connections.rows(count, {}) == [(2,)]
    with acting_for(two.mine.client_id):
        assert two.connections.rows(count, {}) == [(1,)]
    with acting_for(NOBODY):
        assert two.connections.rows(count, {}) == [(0,)]
    assert two.connections.rows(count, {}) == [(2,)]  # nothing of it stays with the connection


@pytest.mark.parametrize(
    ("statement", "rows"),
    [("update agents set hostname = 'x'", 1), ("delete from pricing_alerts", 1), ("update clients set name = 'x'", 1)],
)
def test_a_change_without_a_tenant_clause_changes_its_own_rows_alone(two: Two, statement: str, rows: int) -> None:
    with undone(two) as connection:
        assert connection.execute(statement).rowcount == rows  # type: ignore[call-overload]


def test_a_row_for_another_client_is_refused(two: Two) -> None:
    values = (two.other.client_id,)
    insert = "insert into pricing_alerts select %s, 'x', 'price_above', null, 1, true, '[]', now()"
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_for(two.mine.client_id),
        two.connections.connection() as connection,
    ):
        connection.execute(insert, values)


def test_a_row_cannot_be_given_away(two: Two) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_for(two.mine.client_id),
        two.connections.connection() as connection,
    ):
        connection.execute("update pricing_alerts set client_id = %s", (two.other.client_id,))


def test_a_client_writes_no_broadcast(site: Site) -> None:
    mine, connections = site.client("Mine").client_id, site.connections
    insert = "insert into notifications values ('x', null, 'info', 'for all', now(), 'x', 'x')"
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_for(mine),
        connections.connection() as connection,
    ):
        connection.execute(insert)
    with connections.connection() as connection:
        connection.execute(insert)
    with acting_for(mine):
        assert None in owners(connections, "notifications")


def test_a_transaction_that_never_says_whose_it_is_sees_nothing(two: Two) -> None:
    with closing(psycopg.connect(two.connections.database_url)) as connection:
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(ROLE)))
        for table in WITH_ROWS:
            found = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
            assert found == (0,), table


def test_over_http_a_forgotten_clause_leaks_nothing(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement of the reads, on purpose without its clause."""
    right = queries._blocks()
    forgetful = {name: CLAUSE.sub(r"\2::text is not null", text) for name, text in right.items()}
    assert sum(forgetful[name] != right[name] for name in right) > 20
    client_id = two.mine.client_id
    monkeypatch.setattr(queries, "_blocks", lambda: forgetful)
    queries.query.cache_clear()
    try:
        listed = two.mine.get(f"/api/client/{client_id}/agents")
        assert [row["id"] for row in listed.data] == [two.my_agent.agent_id]
        pages = [
            f"/api/client/{client_id}{page}"
            for page in (
                "", "/agents", "/instances", "/replicas", "/savings", "/switch-history", "/agents/history",
                "/agents/decisions", "/pricing-alerts", "/stats/charts", "/analytics/downtime", "/export/savings",
                "/export/switch-history",
            )
        ]  # fmt: skip
        for page in [*pages, "/api/notifications", f"/api/agents/{two.my_agent.agent_id}/replicas"]:
            answer = two.mine.get(page)
            assert answer.status == 200, (page, answer)
            for foreign in (two.other_agent.agent_id, two.other.client_id, two.other_agent.machine):
                assert foreign not in str(answer.body), page
    finally:
        monkeypatch.undo()
        queries.query.cache_clear()


def test_whose_a_thread_works_for_is_restored() -> None:
    assert tenant() == EVERYBODY
    with acting_for("a"):
        with acting_for("b"):
            assert tenant() == "b"
        assert tenant() == "a"
    assert tenant() == EVERYBODY


@pytest.fixture
def owner_url(empty_database_url: str) -> Iterator[str]:
    """As on a managed server: a login that owns its tables and is nothing more."""
    name = empty_database_url.rpartition("/")[2]
    info = psycopg.conninfo.conninfo_to_dict(empty_database_url)
    with closing(psycopg.connect(empty_database_url, autocommit=True)) as root:
        root.execute("create extension if not exists btree_gist")
        root.execute(f"create role owner_{name} login password 'only-for-this-test'")
        root.execute(f"grant create on database {name} to owner_{name}")
        root.execute(f"grant create, usage on schema public to owner_{name}")
        yield f"postgresql://owner_{name}:only-for-this-test@{info['host']}:{info['port']}/{name}"
        root.execute(f"drop owned by owner_{name}")
        root.execute(f"drop role owner_{name}")


@pytest.mark.usefixtures("database_url")
def test_the_wall_stands_when_the_owner_is_no_superuser(owner_url: str, empty_database_url: str) -> None:
    name = empty_database_url.rpartition("/")[2]
    with pytest.raises(MigrationError, match=f"grant spotcore_app to owner_{name}"):
        migrate(owner_url)
    with closing(psycopg.connect(empty_database_url, autocommit=True)) as root:
        root.execute(f"grant spotcore_app to owner_{name}")
    assert migrate(owner_url)[0] == "0009_row_security.sql"  # those before it stayed
    with Connections(owner_url, size=2, reserve=1) as connections, connections.connection() as connection:
        connection.execute(
            "insert into clients select 'c', 'C', null, 'active', now(), null, null, null, true, true, 300"
        )
        with acting_for("c"):
            assert connections.rows("select current_user::text", {}) == [(ROLE,)]
    with closing(psycopg.connect(owner_url)) as owner:
        assert owner.execute("select count(*) from clients").fetchone() == (0,)
        owner.execute("set spotcore.tenant = '*'")
        assert owner.execute("select count(*) from clients").fetchone() == (1,)
