"""Connections that a restart of the database has killed: nobody's call fails for them once it is back."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import PoolTimeout

from spotadapters.postgres import pool
from spotadapters.postgres.pool import Connections
from tests.support.processes import until

RESERVE = 3
KILL = (
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'spotcore-%%' and datname = %s"
)


@pytest.fixture
def connections(module_database_url: str) -> Iterator[Connections]:
    with Connections(module_database_url, size=2, reserve=RESERVE) as opened:
        for lender in opened._lenders:
            lender.pool.wait()
        yield opened


def killed(connections: Connections) -> None:
    with psycopg.connect(make_conninfo(connections.database_url, dbname="postgres"), autocommit=True) as root:
        root.execute(KILL, (conninfo_to_dict(connections.database_url)["dbname"],))


@contextmanager
def refusing(connections: Connections) -> Iterator[None]:
    """The database takes no new connections."""
    with psycopg.connect(connections.database_url) as other:
        name = sql.Identifier(other.info.dbname)
    change = sql.SQL("alter database {} with allow_connections {}")
    with psycopg.connect(make_conninfo(connections.database_url, dbname="postgres"), autocommit=True) as root:
        root.execute(change.format(name, sql.SQL("false")))
        try:
            yield
        finally:
            root.execute(change.format(name, sql.SQL("true")))


@pytest.mark.parametrize("urgent", [True, False])
def test_the_first_transaction_after_a_restart_is_carried_out_z9(connections: Connections, urgent: bool) -> None:
    killed(connections)
    with connections.connection(urgent=urgent) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_so_is_the_first_look_up(connections: Connections) -> None:
    killed(connections)
    assert connections.rows("select 1", {}) == [(1,)]


def test_who_finds_one_dead_has_all_of_them_opened_anew(connections: Connections) -> None:
    killed(connections)
    connections.rows("select 1", {})
    with connections._urgent.lent() as connection:  # nobody has asked of it meanwhile, and it is not asked twice here
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_break_in_one_pool_leaves_the_reserve_patient_once_it_is_open_again(connections: Connections) -> None:
    killed(connections)
    connections.rows("select 1", {})
    lender = connections._urgent
    until(lambda: lender.pool.get_stats()["pool_available"] == RESERVE, 5)
    assert lender._away_since is None  # or whoever has to wait for a connection would be refused after a moment


def test_a_statement_that_does_not_bear_it_is_not_carried_out_again(connections: Connections) -> None:
    killed(connections)
    with pytest.raises(psycopg.OperationalError):
        connections.rows("select 1", {}, repeatable=False)
    assert connections.rows("select 1", {}, repeatable=False) == [(1,)]


def test_a_transaction_that_dies_later_is_not_carried_out_again(connections: Connections) -> None:
    begun = []

    def work() -> None:
        with connections.connection() as connection:
            begun.append(connection)
            killed(connections)
            connection.execute("select 1")

    with pytest.raises(psycopg.OperationalError):
        work()
    assert len(begun) == 1


def test_the_reserve_is_filled_again_when_the_database_takes_connections_once_more(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "REFILL_SECONDS", 0.2)
    lender = connections._urgent
    lender.pool.reconnect_timeout = 0.0  # an attempt that fails is given up
    with refusing(connections):
        killed(connections)
        with pytest.raises(PoolTimeout), connections.connection(urgent=True):
            pass
        assert lender.pool.get_stats()["pool_available"] == 0
    until(lambda: lender.pool.get_stats()["pool_available"] == RESERVE, 5)
