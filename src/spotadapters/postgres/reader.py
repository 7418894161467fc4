"""Named statements straight into the classes that answer: the base of everything people look at."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from spotadapters.postgres.errors import translated
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.queries import query
from spotadapters.postgres.rows import from_row, loads
from spotcore.ports.world import Clock

T = TypeVar("T")


class Reader:
    """Statements that give one JSON object per row. Each is a transaction of its own, in one round trip; ``now`` is a
    value of every one."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock

    def _rows(self, name: str, values: Mapping[str, Any]) -> list[Any]:
        """Every row as JSON; numbers are exact, times are texts (``read_instant`` reads them)."""
        return [loads(text) for text in self._texts(name, values)]

    def _once(self, name: str, values: Mapping[str, Any]) -> list[Any]:
        """As ``_rows`` of a statement that would say something else the second time."""
        return [loads(text) for text in self._texts(name, values, repeatable=False)]

    def _texts(self, name: str, values: Mapping[str, Any], *, repeatable: bool = True) -> list[str]:
        with translated():
            rows = self._connections.rows(query(name), {"now": self._clock.now(), **values}, repeatable=repeatable)
        return [row[0] for row in rows]

    def rows(self, name: str, kind: type[T], /, **values: Any) -> list[T]:
        """Every row of a statement as a ``kind``; ``dict`` leaves it as it is, times as texts."""
        found = self._rows(name, values)
        return found if kind is dict else [from_row(row, kind) for row in found]

    def each(self, name: str, kind: type[T], /, **values: Any) -> Iterator[T]:
        """As ``rows`` of a list that may be long: what has been asked for is here, and read one after the other."""
        found = map(loads, self._texts(name, values))
        return found if kind is dict else (from_row(row, kind) for row in found)

    def row(self, name: str, kind: type[T], /, **values: Any) -> T | None:
        """The first row, None when there is none."""
        return next(iter(self.rows(name, kind, **values)), None)

    def one(self, name: str, kind: type[T], /, **values: Any) -> T:
        """The row of a statement that always has one."""
        return self.rows(name, kind, **values)[0]

    def connections(self) -> tuple[int, int]:
        """Database connections in use, and the most there can be."""
        return self._connections.used()
