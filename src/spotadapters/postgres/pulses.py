"""Signs of life in groups, each one statement and one commit (design 3)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from attrs import frozen
from psycopg.types.json import Jsonb

from spotadapters.postgres.errors import translated
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.queries import query
from spotadapters.postgres.report_rows import ondemand_rows, report_facts, spot_rows
from spotadapters.system.tenancy import EVERYBODY, acting_for
from spotcore.prices import PriceReport

REPORTS: Final = "select record_reports(%(doc)s)"
NOTE: Final = "select note_pulses(%(doc)s)"
IDLE: Final = "select idle_polls(%(doc)s)"


class Judged(Protocol):
    """A judged report, and on what it rests."""

    @property
    def sign(self) -> "Sign":
        """Who reports."""
        ...

    @property
    def report(self) -> PriceReport:
        """What was observed."""
        ...


@frozen(kw_only=True)
class Sign:
    """A heartbeat to be noted, or a poll that should find nothing: true of its agent's ``revision`` alone."""

    token_hash: str  # SHA-256 hex: it must still open the client
    client_id: str
    agent_id: str
    revision: int
    at: datetime
    instance_id: str | None = None
    is_agents: bool = False
    due_at: datetime | None = None
    until: datetime | None = None  # of a poll: from here on time alone may give it something


class Pulses:
    """Groups of signs over all clients: each row names the client and agent it is about. Raises ``Unavailable``."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def note(self, signs: Sequence[Sign]) -> frozenset[int]:
        """Note heartbeats; places of those that are noted and committed. The others have to be judged one by one."""
        return self._placed(NOTE, signs)

    def idle(self, signs: Sequence[Sign]) -> frozenset[int]:
        """Places of the polls that still find nothing. The others have to be looked at one by one."""
        return self._placed(IDLE, signs)

    def changed(self, signs: Sequence[Sign], now: datetime) -> frozenset[int]:
        """Places of the polls that may find something now, or are no longer allowed: one statement for thousands."""
        late = {place for place, sign in enumerate(signs) if sign.until is not None and now >= sign.until}
        callers = {pair: place for place, pair in enumerate({(sign.token_hash, sign.client_id): 0 for sign in signs})}
        values = {
            "token_hashes": [token_hash for token_hash, _ in callers],
            "client_ids": [client_id for _, client_id in callers],
            "callers": [callers[sign.token_hash, sign.client_id] for sign in signs],
            "agent_ids": [sign.agent_id for sign in signs],
            "revisions": [sign.revision for sign in signs],
            "now": now,
        }
        with translated(), acting_for(EVERYBODY):
            return frozenset(late.union(row[0] for row in self._connections.rows(query("polls_changed"), values)))

    def record(self, judged: Sequence[Judged]) -> frozenset[int]:
        """Store judged price reports; places of those that are stored, their buckets right and committed (DQ-6)."""
        signs, items, ondemand = [], [], []
        for place, one in enumerate(judged):
            facts = report_facts(one.report)
            kept = {name: facts[name] for name in ("instance_id", "source", "rank")}
            signs.append({**_row(place, one.sign), **kept, "confidence": str(facts["confidence"])})
            items += [{"place": place, **row} for row in spot_rows(one.report)]
            ondemand += [{"place": place, **row} for row in ondemand_rows(one.report)]
        return self._sent(REPORTS, {"signs": signs, "items": items, "ondemand": ondemand})

    def _placed(self, statement: Any, signs: Sequence[Sign]) -> frozenset[int]:
        return self._sent(statement, [_row(place, sign) for place, sign in enumerate(signs)])

    def _sent(self, statement: Any, doc: Any) -> frozenset[int]:
        with translated(), acting_for(EVERYBODY):
            return frozenset(row[0] for row in self._connections.rows(statement, {"doc": Jsonb(doc)}))


def _row(place: int, sign: Sign) -> dict[str, Any]:
    return {
        "place": place,
        "token_hash": sign.token_hash,
        "client_id": sign.client_id,
        "agent_id": sign.agent_id,
        "revision": sign.revision,
        "instance_id": sign.instance_id,
        "is_agents": sign.is_agents,
        "at": sign.at.isoformat(),
        "due_at": sign.due_at.isoformat() if sign.due_at is not None else None,
    }
