"""Model and engine sessions on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from spotadapters.postgres.errors import translated
from spotadapters.postgres.pool import Connection
from spotadapters.postgres.queries import query
from spotadapters.postgres.rows import from_row, loads, to_row
from spotcore.errors import NotFound
from spotcore.models import SERVING, ModelSession, SessionKind


class PostgresModels:
    """``ModelStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self) -> None:
        with translated():
            self._connection.execute(query("models_lock"))

    def add(self, session: ModelSession) -> None:
        row = to_row(session)
        files = [
            {"session_id": session.session_id, "position": position, **one}
            for position, one in enumerate(row.pop("files"))
        ]
        with translated():
            self._connection.execute(query("model_add"), {"row": Jsonb(row)})
            self._connection.execute(query("model_files_add"), {"rows": Jsonb(files)})

    def get(self, session_id: str) -> ModelSession:
        row = self._connection.execute(query("model_get"), {"session_id": session_id}).fetchone()
        if row is None:
            raise NotFound("unknown session")
        return from_row(loads(row[0]), ModelSession)

    def put(self, sessions: Sequence[ModelSession]) -> None:
        with translated():
            for one in sorted(sessions, key=_place):
                row = to_row(one)
                del row["files"]
                if not self._connection.execute(query("model_put"), row).rowcount:
                    raise NotFound("unknown session")  # GR-3

    def serving(self) -> Sequence[ModelSession]:
        return self._found(states=list(SERVING))

    def newest(self, kind: SessionKind, limit: int) -> Sequence[ModelSession]:
        return self._found(kind=kind, limit=limit)

    def idle(self, before: datetime) -> Sequence[ModelSession]:
        return self._found(before=before)

    def digests(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._connection.execute(query("model_digests")))

    def _found(self, **wanted: Any) -> list[ModelSession]:
        values = {"states": None, "kind": None, "before": None, "limit": None, **wanted}
        rows = self._connection.execute(query("models_found"), values).fetchall()
        return [from_row(loads(row[0]), ModelSession) for row in rows]


def _place(session: ModelSession) -> int:
    """Whoever gives up a unique place is written before the one that takes it."""
    return SERVING.index(session.state) + 1 if session.state in SERVING else 0
