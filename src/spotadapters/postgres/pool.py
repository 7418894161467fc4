"""Connections: an ordinary pool, a small reserve that emergencies alone use, and one for single look-ups (design 3).

Every transaction begins by saying whose rows it may touch (``tenancy``), in the round trip that begins it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolTimeout

from spotadapters.system.tenancy import EVERYBODY, tenant

LOCK_TIMEOUT = "2s"  # 5.5: one second, and once more
STATEMENT_TIMEOUT = "4s"
WAIT_SECONDS = 2.0
CONNECT_SECONDS = 1
ROLE: Final = "spotcore_app"  # not the owner: row-level security binds it

Connection = psycopg.Connection[tuple[Any, ...]]


def _configure(connection: Connection) -> None:
    connection.execute("select set_config('lock_timeout', %s, false)", (LOCK_TIMEOUT,))
    connection.execute("select set_config('statement_timeout', %s, false)", (STATEMENT_TIMEOUT,))
    connection.execute("select set_config('timezone', 'UTC', false)")
    connection.execute("select set_config('role', %s, false)", (ROLE,))
    connection.execute("select set_config('spotcore.tenant', %s, false)", (EVERYBODY,))


def _warmed(connection: Connection) -> None:
    """Ready for a storm: nothing is planned for the first time in the middle of one."""
    _configure(connection)
    connection.prepare_threshold = 0
    connection.execute("select warm_up()")


class Connections:
    """Three pools on one database. Use it as a context manager; it opens without waiting for the database."""

    def __init__(self, database_url: str, *, size: int = 16, reserve: int = 8) -> None:
        self.database_url = database_url
        self.size = size
        self._ordinary = self._pool(database_url, "ordinary", size)
        self._urgent = self._pool(database_url, "urgent", reserve, warm=True)
        self._single = self._pool(database_url, "single", max(2, size // 2))

    @staticmethod
    def _pool(database_url: str, name: str, size: int, *, warm: bool = False) -> "ConnectionPool[Connection]":
        return ConnectionPool(
            database_url,
            min_size=size if warm else min(4, size),
            max_size=size,
            name=name,
            open=False,
            timeout=WAIT_SECONDS,
            reconnect_timeout=5,
            kwargs={
                "application_name": f"spotcore-{name}",
                "connect_timeout": CONNECT_SECONDS,
                "autocommit": True,
            },
            configure=_warmed if warm else _configure,
            check=None,
        )

    def __enter__(self) -> Self:
        self._ordinary.open(wait=False)
        self._urgent.open(wait=False)
        self._single.open(wait=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in (self._ordinary, self._urgent, self._single):
            with contextlib.suppress(PoolTimeout):
                pool.wait(timeout=0.5)  # a connection still being opened would be left behind
            pool.close(timeout=2)

    @contextmanager
    def connection(self, *, urgent: bool = False) -> Iterator[Connection]:
        """A connection in a transaction of its own: normal exit commits, an exception rolls back."""
        with _lent(self._urgent if urgent else self._ordinary) as connection:
            connection.execute(sql.SQL("begin; set local spotcore.tenant = {}").format(tenant()), prepare=False)
            yield connection

    def rows(self, statement: LiteralString, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What a single statement gives, in a transaction of its own and in one round trip."""
        whose = tenant()
        with _lent(self._single) as connection:
            if whose == EVERYBODY:
                return _fetched(connection.execute(statement, values))
            with connection.pipeline():  # what is sent together is one transaction
                connection.execute("select set_config('spotcore.tenant', %s, true)", (whose,))
                cursor = connection.execute(statement, values)
            return _fetched(cursor)

    def used(self) -> tuple[int, int]:
        """Connections in use, and the most there can be."""
        stats = [pool.get_stats() for pool in (self._ordinary, self._urgent, self._single)]
        busy = sum(one.get("pool_size", 0) - one.get("pool_available", 0) for one in stats)
        return busy, sum(one.get("pool_max", 0) for one in stats)


def _fetched(cursor: "psycopg.Cursor[tuple[Any, ...]]") -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.description is not None else []


@contextmanager
def _lent(pool: "ConnectionPool[Connection]") -> Iterator[Connection]:
    """A connection of the pool. One that turns out to be dead tells of the others: a restarted server costs one failure
    a pool, not one a connection."""
    lent: Connection | None = None
    try:
        with pool.connection() as lent:
            yield lent
    except psycopg.OperationalError:
        if lent is not None and lent.broken:
            pool.check()
        raise
