"""Forward-only migrations, applied under an advisory lock; a changed file is refused."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final

import psycopg

from spotadapters.postgres.link import probed
from spotadapters.postgres.rights import give, lacking, unable_to_make

LOCK = 7_283_915_001
MINIMUM_VERSION = 150_000
ENCODING: Final = "UTF8"  # of the database: what people write is stored as they wrote it
LOCK_MS: Final = 1_500  # more than the second after which autovacuum gives way, less than whoever waits behind us has
ROLE_SINCE: Final = "0009_row_security.sql"
RIGHTS: Final = "the rights of spotcore_app"
PAUSES: Final = (1.0, 2.0, 4.0, 8.0)  # seconds between two tries, in which everybody gets on

Connection = psycopg.Connection[tuple[Any, ...]]


class MigrationError(Exception):
    """The database cannot be migrated; the message says why and what to do."""


def _available() -> list[tuple[str, str]]:
    folder = files("spotadapters.postgres").joinpath("migrations")
    return [
        (one.name, one.read_text())
        for one in sorted(folder.iterdir(), key=lambda f: f.name)
        if one.name.endswith(".sql")
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def migrate(database_url: str, *, wait: Callable[[float], object] = time.sleep) -> list[str]:
    """Apply what is missing, each file in a transaction of its own; the names applied. Safe to run from many processes.
    In a database that was restored on another server the role and its rights are given back first.

    On a busy site each is tried several times, with ``wait`` in between. Raises ``MigrationError`` for a server older
    than 15, a database in another encoding than UTF8, a pooler of transactions, an applied file that was changed
    afterwards, a login that may not do it, and tables that stay in use.
    """
    done: list[str] = []
    with _fit(database_url) as connection:
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        connection.execute("select set_config('lock_timeout', %s, false)", (str(LOCK_MS),))  # for another run we wait
        connection.execute("set spotcore.tenant = '*'")  # an owner that is no superuser meets its own policies
        with _in_our_words("schema_migrations"):
            connection.execute(
                "create table if not exists schema_migrations "
                "(name text primary key, digest text not null, applied_at timestamptz not null default now())"
            )
        applied: dict[str, str] = dict(connection.execute("select name, digest from schema_migrations").fetchall())
        if ROLE_SINCE in applied:
            done += _rights_given(connection)
        for name, text in _available():
            if name in applied:
                if applied[name] != _digest(text):
                    raise MigrationError(f"{name} was changed after it had been applied; restore it and add a new file")
                continue
            _apply_patiently(connection, name, text, wait)
            done.append(name)
        if ROLE_SINCE in done:
            done += _rights_given(connection)  # who has just made the role may not be able to take it yet
    return done


def _rights_given(connection: Connection) -> list[str]:
    if lacking(connection) is None:
        return []
    with connection.transaction(), _in_our_words(RIGHTS):
        give(connection)
    return [RIGHTS]


def _apply_patiently(connection: Connection, name: str, text: str, wait: Callable[[float], object]) -> None:
    """One file, wholly or not at all. A table that is in use is waited for briefly, and again after a pause."""
    for pause in (*PAUSES, None):
        try:
            with connection.transaction():
                with _in_our_words(name):
                    connection.execute(text.encode())
                connection.execute(
                    "insert into schema_migrations (name, digest) values (%s, %s)", (name, _digest(text))
                )
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as refusal:
            if pause is None:
                raise MigrationError(
                    f"{name}: a table that it changes is in use. It was tried {len(PAUSES) + 1} times, {LOCK_MS} ms "
                    f"each, and nothing of it was applied. Run it again{_others(connection)}"
                ) from refusal
            wait(pause)
        else:
            return


def _others(connection: Connection) -> str:
    """What to do about those who hold tables, the oldest first: their age is shown to their own login and to
    administrators."""
    rows = connection.execute(
        "select l.pid, a.application_name, extract(epoch from clock_timestamp() - min(a.xact_start))::integer"
        " from pg_locks l left join pg_stat_activity a using (pid)"
        " where l.granted and l.relation >= 16384 and l.pid <> pg_backend_pid()"
        " and l.database = (select oid from pg_database where datname = current_database())"
        " group by 1, 2 order by min(a.xact_start) nulls last, 1 limit 3"
    ).fetchall()
    if not rows:
        return ""
    words = [f"{pid} ({name or 'unnamed'}, {'?' if age is None else age} s)" for pid, name, age in rows]
    return f"; if that does not help, end who is at work for long, select pg_terminate_backend(pid): {', '.join(words)}"


@contextmanager
def _in_our_words(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.RaiseException as refusal:  # a migration's own words
        raise MigrationError(f"{name}: {refusal.diag.message_primary}") from refusal
    except psycopg.errors.InsufficientPrivilege as refusal:
        raise MigrationError(
            f"{name}: the login that migrates must own the tables: {refusal.diag.message_primary}"
        ) from refusal


def unfit(connection: Connection, database_url: str) -> str | None:
    """What is wrong with the server, the database or the way to it, and what would be right."""
    version, name = connection.info.server_version, connection.info.dbname
    if version < MINIMUM_VERSION:
        return f"PostgreSQL 15 or newer is needed, this is {version // 10_000}"
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        return (
            f"the database {name} is encoded in {encoding}, UTF8 is needed:"
            f" create database {name} encoding 'UTF8' template template0"
        )
    with psycopg.connect(probed(database_url), autocommit=True, connect_timeout=5) as another:
        if _session(another) == _session(connection):
            return (
                "a pooler hands out one session to several connections; roles, limits, prepared statements and"
                " listening belong to a session: let it pool sessions, not transactions, or connect without it"
            )
    return None


def _session(connection: Connection) -> Any:
    return connection.execute("select pg_backend_pid()").fetchone()


def _require_fit(connection: Connection, database_url: str) -> None:
    wrong = unfit(connection, database_url)
    if wrong is not None:
        raise MigrationError(wrong)


def require_schema(database_url: str) -> None:
    """Raises ``MigrationError`` for what ``migrate`` would refuse to work on, for a login that may not serve, and while
    this version's migrations are not all applied. More than them is fine: a newer version was here, and migrations
    never take away what the version before needs."""
    with _fit(database_url) as connection:
        try:
            missing = _missing(connection)
        except psycopg.errors.InsufficientPrivilege as refusal:
            denied = (
                f"{refusal.diag.message_primary}; first: grant select on schema_migrations to {connection.info.user}"
            )
            raise MigrationError(lacking(connection) or denied) from refusal
        trouble = lacking(connection)
        if missing:
            first = (unable_to_make(connection) if ROLE_SINCE in missing else None) or "spotcore migrate"
            trouble = f"the schema lacks {len(missing)} migrations, from {missing[0]} on; first: {first}"
    if trouble is not None:
        raise MigrationError(trouble)


def pending(database_url: str) -> list[str]:
    """Names of migrations that are not applied yet. Raises ``MigrationError`` for what ``migrate`` does not work on."""
    with _fit(database_url) as connection:
        return _missing(connection)


@contextmanager
def _fit(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(probed(database_url), autocommit=True, connect_timeout=5) as connection:
        _require_fit(connection, database_url)
        yield connection


def _is_migrated(connection: Connection) -> bool:
    known = connection.execute("select to_regclass('schema_migrations') is not null").fetchone()
    return bool(known and known[0])


def _missing(connection: Connection) -> list[str]:
    names = [name for name, _ in _available()]
    if not _is_migrated(connection):
        return names
    applied = {row[0] for row in connection.execute("select name from schema_migrations").fetchall()}
    return [name for name in names if name not in applied]
