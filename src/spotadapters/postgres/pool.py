"""Connections: an ordinary pool, a small reserve that emergencies alone use, and one for single look-ups (design 3).

Every transaction begins by saying whose rows it may touch (``tenancy``), in the round trip that begins it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.types.json import set_json_dumps
from psycopg_pool import ConnectionPool, PoolTimeout

from spotadapters.postgres.link import SILENT_CLIENT, BoundedConnection, Row, probed
from spotadapters.postgres.rows import dumps
from spotadapters.system.tenancy import EVERYBODY, tenant

LOCK_TIMEOUT = "2s"  # 5.5: one second, and once more
STATEMENT_TIMEOUT = "4s"
WAIT_SECONDS = 2.0
AWAY_SECONDS: Final = 0.1  # how long a caller waits once nobody has got through for ``WAIT_SECONDS``
CONNECT_SECONDS = 1
REFILL_SECONDS: Final = 5.0  # after an attempt to connect was given up
AT_ONCE_SECONDS: Final = 1.0  # a dead connection is found sooner, a silent server later
FEW: Final = 4  # connections of a standing pool that are open when nobody asks
ROLE: Final = "spotcore_app"  # not the owner: row-level security binds it

REHEARSE: Final = "select rehearse(%(client)s, %(ready)s, %(moved)s)"

T = TypeVar("T")
Connection = psycopg.Connection[Row]
Pool = ConnectionPool[BoundedConnection]

SESSION: Final[Mapping[str, str]] = {
    "lock_timeout": LOCK_TIMEOUT,
    "statement_timeout": STATEMENT_TIMEOUT,
    "idle_in_transaction_session_timeout": SILENT_CLIENT,  # a client that is cut off keeps no agent locked
    "tcp_user_timeout": SILENT_CLIENT,
    "tcp_keepalives_idle": "10",  # seconds: what a partition leaves behind gives its place back
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "timezone": "UTC",
    "spotcore.tenant": EVERYBODY,
    "role": ROLE,
}


def _configure(connection: Connection) -> None:
    set_json_dumps(dumps, connection)
    names, values = list(SESSION), list(SESSION.values())
    text = "select set_config(name, value, false) from unnest(%s::text[], %s::text[]) as t (name, value)"
    connection.execute(text, (names, values))


class Connections:
    """Three pools on one database. Use it as a context manager; it opens without waiting for the database."""

    def __init__(self, database_url: str, *, size: int = 16, reserve: int = 8, standing: bool = True) -> None:
        """Unless they are to be ``standing``, connections are opened when they are needed: for a command that needs two
        rather than a server that a storm may meet."""
        self.database_url = database_url
        self.size = size
        few, ready = (FEW, reserve) if standing else (0, 0)
        self._ordinary = _Lender(database_url, "ordinary", size, self._broken, kept=min(few, size))
        self._urgent = _Lender(database_url, "urgent", reserve, self._broken, kept=ready, configure=self._warmed)
        self._rehearsed: Mapping[str, Any] | None = None
        singles = max(2, size // 2)
        self._single = _Lender(database_url, "single", singles, self._broken, kept=min(few, singles))

    def __enter__(self) -> Self:
        for lender in self._lenders:
            lender.pool.open(wait=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lender in self._lenders:
            with contextlib.suppress(PoolTimeout):
                lender.pool.wait(timeout=0.5)  # a connection still being opened would be left behind
            lender.close()

    def rehearse(self, rows: Mapping[str, Any]) -> None:
        """Play a failover of those rows (``rehearsal.py``) through and undo it: on each connection of the reserve, and
        on those that will be opened. Raises ``psycopg.Error`` when it cannot be done."""
        self._rehearsed = rows
        for _ in range(self._urgent.pool.get_stats().get("pool_size", 0)):  # one after the other, each once
            with self._urgent.lent() as connection:
                connection.execute(REHEARSE, rows)

    def _warmed(self, connection: Connection) -> None:
        """Ready for a storm: nothing is planned for the first time in the middle of one."""
        _configure(connection)
        connection.prepare_threshold = 0
        connection.execute("select warm_up()")
        if self._rehearsed is not None:
            with contextlib.suppress(psycopg.DatabaseError):  # it works all the same, only slower at first
                connection.execute(REHEARSE, self._rehearsed)

    @property
    def _lenders(self) -> "tuple[_Lender, ...]":
        return self._ordinary, self._urgent, self._single

    def _broken(self) -> None:
        """A server that was ended, hangs, or is cut off, is so for every pool, and the reserve would find it out last:
        by a notice."""
        for lender in self._lenders:
            lender.lose()

    @contextmanager
    def connection(self, *, urgent: bool = False) -> Iterator[Connection]:
        """A connection in a transaction of its own: normal exit commits, an exception rolls back."""
        begin = sql.SQL("begin; set local spotcore.tenant = {}").format(tenant())
        with ExitStack() as stack:
            lender = self._urgent if urgent else self._ordinary
            connection, _ = lender.hailed(stack, lambda lent: lent.execute(begin, prepare=False))
            yield connection

    def rows(
        self, statement: LiteralString, values: Mapping[str, Any], *, repeatable: bool = True
    ) -> list[tuple[Any, ...]]:
        """What a single statement gives, in a transaction of its own and in one round trip. Unless it bears being
        carried out twice, a connection that has died in the meantime is an ``OperationalError``."""
        whose = tenant()

        def asked(connection: Connection) -> list[tuple[Any, ...]]:
            if whose == EVERYBODY:
                return _fetched(connection.execute(statement, values))
            with connection.pipeline():  # what is sent together is one transaction
                connection.execute("select set_config('spotcore.tenant', %s, true)", (whose,))
                cursor = connection.execute(statement, values)
            return _fetched(cursor)

        with ExitStack() as stack:
            if repeatable:
                return self._single.hailed(stack, asked)[1]
            return asked(stack.enter_context(self._single.lent()))

    def used(self) -> tuple[int, int]:
        """Connections in use, and the most there can be."""
        stats = [lender.pool.get_stats() for lender in self._lenders]
        busy = sum(one.get("pool_size", 0) - one.get("pool_available", 0) for one in stats)
        return busy, sum(one.get("pool_max", 0) for one in stats)


def _fetched(cursor: "psycopg.Cursor[tuple[Any, ...]]") -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.description is not None else []


class _Lender:
    """A pool, and whether anybody has got through to the database lately: in a long outage nobody waits in vain."""

    def __init__(
        self,
        database_url: str,
        name: str,
        size: int,
        on_broken: Callable[[], None],
        *,
        kept: int,
        configure: Callable[[Connection], None] = _configure,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool: Pool = ConnectionPool(
            probed(database_url),
            connection_class=BoundedConnection,
            min_size=kept,
            max_size=size,
            name=name,
            open=False,
            timeout=WAIT_SECONDS,
            reconnect_timeout=5,
            reconnect_failed=self._given_up,
            kwargs={
                "application_name": f"spotcore-{name}",
                "connect_timeout": CONNECT_SECONDS,
                "autocommit": True,
            },
            configure=self._opened,
            check=None,
        )
        self._configure = configure
        self._on_broken = on_broken
        self._monotonic = monotonic
        self._away_since: float | None = None
        self._refill: threading.Timer | None = None

    def _opened(self, connection: Connection) -> None:
        """The database is back, whether somebody waits for it or not."""
        self._configure(connection)
        self._away_since = None

    def _given_up(self, _: Pool) -> None:
        """The pool no longer tries to open a connection that it lost, until somebody waits for one. Nobody waits for
        the reserve before the emergency it is for, so it is filled again as soon as the database takes connections."""
        if self._refill is None or not self._refill.is_alive():
            self._refill = threading.Timer(REFILL_SECONDS, self._filled)
            self._refill.daemon = True
            self._refill.start()

    def _filled(self) -> None:
        if not self.pool.closed:
            self.pool.check()  # also opens what is missing, up to what is kept

    def close(self) -> None:
        """Let go of every connection."""
        if self._refill is not None:
            self._refill.cancel()
        self.pool.close(timeout=2)

    def lose(self) -> None:
        """Open every connection anew. Those that are at work are let go of afterwards."""
        self._away_since = self._away_since or self._monotonic()
        self.pool.drain()

    def hailed(self, stack: ExitStack, say: Callable[[Connection], T]) -> tuple[Connection, T]:
        """A connection, lent to ``stack``, and what it answered to something that bears being said twice. A server that
        has restarted has left dead connections behind: the first that is found opens all of them anew, and another one
        is asked, so that nobody's call fails for it."""
        began, tried = self._monotonic(), list[Connection]()
        try:
            return self._hailed(stack, say, tried)
        except psycopg.OperationalError:
            if not tried or not tried[0].broken or self._monotonic() - began > AT_ONCE_SECONDS:
                raise
        return self._hailed(stack, say, tried)

    def _hailed(
        self, stack: ExitStack, say: Callable[[Connection], T], tried: list[Connection]
    ) -> tuple[Connection, T]:
        with ExitStack() as own:
            connection = own.enter_context(self.lent())
            tried.append(connection)
            answer = say(connection)
            stack.push(own.pop_all())
        return connection, answer

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """A connection of the pool. One that turns out to be dead tells of all others, which may be silent rather than
        dead and are not asked: an outage costs one failure, not one a connection."""
        lent: BoundedConnection | None = None
        is_away = False
        try:
            with self.pool.connection(timeout=self._patience()) as lent:
                yield lent
        except psycopg.OperationalError:
            is_away = lent is None or lent.broken
            if lent is not None and is_away:
                self._on_broken()
            raise
        finally:
            self._away_since = (self._away_since or self._monotonic()) if is_away else None

    def _patience(self) -> float:
        """A server that restarts is waited for; once it has been away for longer, who asks is told at once. What opens
        new connections goes on trying, and the first one that it gets ends this."""
        since = self._away_since
        return WAIT_SECONDS if since is None or self._monotonic() - since < WAIT_SECONDS else AWAY_SECONDS
