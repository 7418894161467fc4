"""Forward-only migrations, applied under an advisory lock; a changed file is refused."""

import hashlib
from importlib.resources import files
from typing import Any

import psycopg

from spotadapters.postgres.link import probed

LOCK = 7_283_915_001
MINIMUM_VERSION = 150_000


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


def migrate(database_url: str) -> list[str]:
    """Apply what is missing, each file in a transaction of its own; the names applied. Safe to run from many processes.

    Raises ``MigrationError`` for a server older than 15, an applied file that was changed afterwards, and a login that
    may not do it.
    """
    done: list[str] = []
    with psycopg.connect(probed(database_url), autocommit=True, connect_timeout=5) as connection:
        if connection.info.server_version < MINIMUM_VERSION:
            raise MigrationError(f"PostgreSQL 15 or newer is needed, this is {connection.info.server_version // 10000}")
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        connection.execute("set spotcore.tenant = '*'")  # an owner that is no superuser meets its own policies
        connection.execute(
            "create table if not exists schema_migrations "
            "(name text primary key, digest text not null, applied_at timestamptz not null default now())"
        )
        applied: dict[str, str] = dict(connection.execute("select name, digest from schema_migrations").fetchall())
        for name, text in _available():
            if name in applied:
                if applied[name] != _digest(text):
                    raise MigrationError(f"{name} was changed after it had been applied; restore it and add a new file")
                continue
            with connection.transaction():
                _apply(connection, name, text)
                connection.execute(
                    "insert into schema_migrations (name, digest) values (%s, %s)", (name, _digest(text))
                )
            done.append(name)
    return done


def _apply(connection: "psycopg.Connection[tuple[Any, ...]]", name: str, text: str) -> None:
    try:
        connection.execute(text.encode())
    except psycopg.errors.RaiseException as refusal:  # a migration's own words
        raise MigrationError(f"{name}: {refusal.diag.message_primary}") from refusal
    except psycopg.errors.InsufficientPrivilege as refusal:
        raise MigrationError(
            f"{name}: the login that migrates must own the tables: {refusal.diag.message_primary}"
        ) from refusal


def require_schema(database_url: str) -> None:
    """Raises ``MigrationError`` while this version's migrations are not all applied. More than them is fine: a newer
    version was here, and migrations never take away what the version before needs."""
    missing = pending(database_url)
    if missing:
        raise MigrationError(
            f"the schema lacks {len(missing)} migrations, from {missing[0]} on; first: spotcore migrate"
        )


def pending(database_url: str) -> list[str]:
    """Names of migrations that are not applied yet."""
    with psycopg.connect(probed(database_url), autocommit=True, connect_timeout=5) as connection:
        known = connection.execute("select to_regclass('schema_migrations') is not null").fetchone()
        if not known or not known[0]:
            return [name for name, _ in _available()]
        applied = {row[0] for row in connection.execute("select name from schema_migrations").fetchall()}
    return [name for name, _ in _available() if name not in applied]
