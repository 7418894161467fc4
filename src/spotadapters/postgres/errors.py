"""Database errors in the core's words: a constraint's NAME says which rule refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from spotcore.errors import (
    ClientExists,
    DuplicateEmail,
    InstanceOwned,
    InvariantViolated,
    LogicalAgentConflict,
    ReplicaExists,
    SpotError,
    StateConflict,
    Unavailable,
)

BY_CONSTRAINT: Final[Mapping[str, tuple[type[SpotError], str]]] = {
    "client_name_taken": (ClientExists, "a client of that name exists"),
    "client_email_taken": (DuplicateEmail, "a client with that e-mail exists"),
    "i10_cloud_id_unique": (InstanceOwned, "the machine is registered elsewhere"),
    "i13_logical_id_unique": (LogicalAgentConflict, "an agent of that name exists"),
    "i2_one_live_replica": (ReplicaExists, "a replica is live already"),
}
"""Constraints that two honest callers can run into; any other named one is an ``InvariantViolated``."""

LOST: Final = (
    psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, TooManyRequests,
    pg.IdleInTransactionSessionTimeout,  # we were silent for too long
    pg.ReadOnlySqlTransaction,  # a standby that is not promoted yet, a service that has run out of room
)  # fmt: skip


@contextmanager
def translated() -> Iterator[None]:
    """Database errors inside become ``SpotError``s; the original is chained."""
    try:
        yield
    except (pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure) as failure:
        raise StateConflict("somebody else is changing this; try again") from failure
    except pg.IntegrityError as failure:
        name = failure.diag.constraint_name or ""
        kind, text = BY_CONSTRAINT.get(name, (InvariantViolated, f"refused by {name or 'a constraint'}"))
        raise kind(text, constraint=name) from failure
    except pg.QueryCanceled as failure:
        raise Unavailable("the database is too slow to answer now") from failure
    except LOST as failure:
        raise Unavailable("the database cannot be reached now") from failure
