"""Roles that this process has moved, told to the others once that is committed (AG-4).

Not in the transaction that moves them: transactions that notify commit one at a time (decision 0011).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from spotadapters.postgres.errors import translated
from spotadapters.postgres.listen import MOVES
from spotadapters.postgres.pool import Connections
from spotadapters.system.tenancy import EVERYBODY, acting_for

TELL: Final = "select pg_notify(%(channel)s, %(told)s)"
LARGEST: Final = 50  # agents in a message: it may have 8 000 bytes


class MovesNews:
    """What one process tells, and what it is told."""

    def __init__(self, connections: Connections, process: str) -> None:
        self._connections = connections
        self._process = process

    def tell(self, agent_ids: Sequence[str]) -> Mapping[int, bool]:
        """Tell the other processes, in a statement of its own. Raises ``Unavailable``."""
        told = " ".join((self._process, *agent_ids))
        with translated(), acting_for(EVERYBODY):
            self._connections.rows(TELL, {"channel": MOVES, "told": told})
        return dict.fromkeys(range(len(agent_ids)), True)

    def elsewhere(self, told: str) -> Sequence[str]:
        """Agents whose role another process has moved; none when it was this one, which knows already."""
        by, *agent_ids = told.split(" ")
        return agent_ids if by != self._process else ()
