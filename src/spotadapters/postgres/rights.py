"""The role the server works in, and its rights. Roles belong to a server and are in no dump of a database: after a
restore on another server both may be missing."""

from typing import Any

import psycopg

from spotadapters.postgres.queries import query

Connection = psycopg.Connection[tuple[Any, ...]]


def lacking(connection: Connection) -> str | None:
    """What the login of this connection lacks to serve a migrated database, and what gives it; None for nothing."""
    row = connection.execute(query("rights_lacking")).fetchone()
    return row[0] if row else None


def unable_to_make(connection: Connection) -> str | None:
    """What lets the login of this connection make or take the role before it is migrated; None when it can."""
    row = connection.execute(query("rights_to_make")).fetchone()
    return row[0] if row else None


def give(connection: Connection) -> None:
    """Make the role where it is missing, and give it its rights on what there is. Safe to repeat. Raises
    ``psycopg.Error`` for a login that may not."""
    connection.execute(query("rights_give"))
