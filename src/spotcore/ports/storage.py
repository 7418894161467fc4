"""Storage: one transaction at a time, one agent locked in it (GR-1). Reads for screens have their own port."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Protocol

from attrs import frozen

from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.alerts import Alert
from spotcore.builds import Build
from spotcore.change import Outcome
from spotcore.clients import Client
from spotcore.decisions import DecisionRecord
from spotcore.events import Event
from spotcore.ids import AgentId, ClientId
from spotcore.market import Market
from spotcore.models import ModelSession, SessionKind
from spotcore.ports.ledger import LedgerStore, TypeInRegion
from spotcore.prices import PriceReport
from spotcore.quality import Filled
from spotcore.sessions import Session

NOTHING_KNOWN: Final[Mapping[AgentId, Aggregate]] = MappingProxyType({})


@frozen(kw_only=True)
class Keys:
    """Rows a call names, so that storage brings them along even when they ended long ago."""

    cloud_ids: tuple[str, ...] = ()
    instance_ids: tuple[str, ...] = ()
    replica_ids: tuple[str, ...] = ()
    command_ids: tuple[str, ...] = ()  # command ids or request ids


@frozen(kw_only=True)
class MachineBinding:
    """Who a cloud machine belongs to, over all clients (RG-9)."""

    client_id: ClientId
    agent_id: AgentId
    instance_id: str
    cloud_id: str
    is_terminal: bool
    status: str
    agent_life: str


@frozen(kw_only=True)
class TokenRecord:
    """A stored credential: look-up hash, last four characters, sealed copy or None (CL-2). Never the clear text."""

    token_hash: str
    hint: str
    sealed: bytes | None
    client_id: ClientId | None  # None: an admin token
    created_at: datetime
    expires_at: datetime | None = None  # CL-3: end of the grace


@frozen(kw_only=True)
class Credential:
    """What a token opens now."""

    client: Client | None  # None: admin
    is_admin: bool = False


class ClientStore(Protocol):
    """Clients and tokens. ``lock`` holds the client's row until the transaction ends; take it before any agent's."""

    def lock(self, client_id: ClientId) -> Client:
        """The client, its row locked. Raises ``NotFound``; deleted clients are found (their history stays)."""
        ...

    def get(self, client_id: ClientId) -> Client:
        """The client without a lock. Raises ``NotFound``."""
        ...

    def add(self, client: Client) -> None:
        """A new client. Raises ``ClientExists`` or ``DuplicateEmail`` when a client that is not deleted has the name or
        the address, in whatever case (CL-6)."""
        ...

    def put(self, client: Client) -> None:
        """Store the changed client, ``total_savings`` excepted: that column has one writer, ``AgentStore.save``. Raises
        ``NotFound`` when it is no longer there (GR-3), and what ``add`` raises."""
        ...

    def add_token(self, token: TokenRecord) -> None: ...

    def end_tokens(self, client_id: ClientId, at: datetime) -> None:
        """All unexpired tokens of the client end at ``at`` (now, or after a grace, CL-3)."""
        ...

    def current_token(self, client_id: ClientId) -> TokenRecord | None:
        """The newest token of the client that has not ended."""
        ...

    def agent_ids(self, client_id: ClientId) -> Sequence[AgentId]:
        """Ids of the client's agents that are not deleted, in the order of their registration."""
        ...

    def purge(self, client_id: ClientId) -> Mapping[str, int]:
        """Erase every row of the client, its own too: what was erased, by kind (CL-6). Prices that all clients share
        stay and forget who reported them. The caller holds the client's lock."""
        ...


@frozen(kw_only=True)
class PollView:
    """What a command poll needs when there is nothing to hand out, which is nearly always (design 3)."""

    life: Life
    build: Build
    able_since_registration: bool
    has_open_commands: bool
    revision: int


@frozen
class Turn:
    """An agent whose turn it is, and its place in that queue: ``since`` when, None before all others; then by id."""

    client_id: ClientId
    agent_id: AgentId
    since: datetime | None


class AgentStore(Protocol):
    """Agent aggregates. ``lock`` waits at most the lock timeout (1 s, tried twice), then raises ``StateConflict``."""

    def lock(self, client_id: ClientId, agent_id: AgentId, keys: Keys = Keys()) -> Aggregate:
        """The aggregate, its agent row locked until the transaction ends.

        An agent that was merged into another one gives that one. Raises ``NotFound``, also for another client's (GR-8).
        Deleted agents are found; rules judge them."""
        ...

    def lock_free(
        self, client_id: ClientId, wanted: Mapping[AgentId, Keys], known: Mapping[AgentId, Aggregate] = NOTHING_KNOWN
    ) -> Mapping[AgentId, Aggregate]:
        """As ``lock`` for several agents of a client at once, without waiting: only those that are known under this
        very id and whose row nobody else holds. ``known`` are states that have been committed: one whose revision still
        holds may be given back with nothing read but its client and signs of life."""
        ...

    def get(self, client_id: ClientId, agent_id: AgentId, keys: Keys = Keys()) -> Aggregate:
        """As ``lock`` but without a lock: for answers that change nothing."""
        ...

    def poll(self, client_id: ClientId, agent_id: AgentId) -> PollView:
        """One cheap statement, no lock. Raises ``NotFound``."""
        ...

    def exists_elsewhere(self, client_id: ClientId, agent_id: AgentId) -> bool:
        """True when another client has a not deleted agent of that id (E26)."""
        ...

    def find_logical(self, client_id: ClientId, logical_agent_id: str) -> AgentId | None:
        """The agent of that name that is not deleted (I13)."""
        ...

    def bindings(self, cloud_id: str) -> Sequence[MachineBinding]:
        """Every row of a cloud machine over all clients, those that are not terminal first, then newest first."""
        ...

    def find_by_launch(self, client_id: ClientId, token: str) -> AgentId | None:
        """The agent of this client whose open launch carries the token: a replica id or a request id (RG-5)."""
        ...

    def find_by_instance(self, client_id: ClientId | None, instance_id: str) -> tuple[ClientId, AgentId] | None:
        """The agent of a machine named by our id, its cloud id or a placeholder word, also once the cloud has named it
        (screens are older); None when unknown or another client's. Of several machines the one that has not ended, else
        the newest. ``client_id`` None searches all (admin)."""
        ...

    def find_owner(self, agent_id: AgentId) -> ClientId | None:
        """The client of an agent, for admin calls."""
        ...

    def count(self, client_id: ClientId) -> tuple[int, int]:
        """How many agents that are not deleted, and how many active machines, the client has (CL-4)."""
        ...

    def save(self, *outcomes: Outcome) -> None:
        """Write every row that differs, the events as audit rows, their notifications and the outbox, and add the
        difference of ``client.total_savings``. Several outcomes are of different agents of one client. Raises the
        ``SpotError`` a violated constraint maps to."""
        ...

    def due(self, now: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        """Agents that are not deleted and whose ``due_at`` is reached, oldest first, from behind ``after`` on. One set
        query, no locks."""
        ...

    def pressed(self, now: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        """As ``due``, but only agents with an open incident (5.4)."""
        ...

    def put_off(self, turn: Turn, until: datetime) -> None:
        """The agent comes up again at ``until``, unless its ``due_at`` is another one by now or somebody holds its row.
        Nothing else of it is read or changed."""
        ...

    def undecided(self, older_than: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        """Live agents with a primary whose last decision was at or before ``older_than`` (Z34), from behind ``after``
        on. Those without one come first, then the oldest."""
        ...


class PriceStore(Protocol):
    """Observations and buckets (section 8), and the market a rule is shown."""

    def record(self, report: PriceReport) -> Sequence[Alert]:
        """Append raw observations (the same submission again is a no-op, DQ-3) and bring buckets to the best of all
        submissions at once (DQ-4, DQ-6).

        Gives the client's enabled alerts on the reported pools, so that a client without any costs no query more."""
        ...

    def market(self, client_id: ClientId, instance_type: str | None, region: str | None, now: datetime) -> Market:
        """Quotes and records of every pool of the type and region; the client's own fresh observations come first."""
        ...

    def types(self, family: str, region: str | None) -> Sequence[str]:
        """Instance types of a family that have pools in the region, or anywhere; by name."""
        ...

    def groups(self, received_since: datetime) -> Sequence[TypeInRegion]:
        """Types in regions of which something was received or imported since, in order."""
        ...

    def repair(self, group: TypeInRegion, since: datetime) -> int:
        """Bring buckets from ``since`` on to the winners of what was submitted (DQ-4) and flag discrepancies (DQ-5);
        how many buckets changed. Live reports leave winners nothing to do."""
        ...

    def discrepancies(self, group: TypeInRegion, since: datetime) -> Sequence[tuple[str, datetime]]:
        """Buckets whose runner-up differs by more than 10 %, by pool and start."""
        ...

    def measured(self, group: TypeInRegion, since: datetime) -> Mapping[str, Mapping[datetime, Decimal]]:
        """Measured buckets by pool and start, backfill included (P6)."""
        ...

    def replace_fills(self, group: TypeInRegion, since: datetime, fills: Mapping[str, Sequence[Filled]]) -> int:
        """Make these the filled buckets of the group from ``since`` on, and no others; how many rows changed. A
        measured bucket is never touched (GF-5)."""
        ...

    def last_unflagged_ondemand(
        self, client_id: ClientId, instance_type: str, region: str, now: datetime
    ) -> Decimal | None:
        """What a suspicious on-demand price is held against (DQ-8): an imported list's in force at ``now`` (Z33), else
        the last unflagged observation; None without either."""
        ...


class DecisionLog(Protocol):
    """Decisions with their snapshots, kept 30 days."""

    def add(self, record: DecisionRecord) -> None: ...

    def recent(self, client_id: ClientId, agent_id: AgentId, limit: int) -> Sequence[DecisionRecord]:
        """Newest first."""
        ...


@frozen(kw_only=True)
class StoredAnswer:
    """The first answer to an idempotency key (ID-1)."""

    body_hash: str
    status: int | None  # None: still running
    body: bytes | None


class IdempotencyStore(Protocol):
    """Keys of people's calls (4.8). The row is inserted before the work, in the same transaction (ID-4)."""

    def claim(self, scope: str, key: str, body_hash: str, now: datetime) -> StoredAnswer | None:
        """None when the key is ours now; else the stored answer. Waits at most the lock timeout for a running first
        call, then raises ``DuplicateRequest``."""
        ...

    def complete(self, scope: str, key: str, status: int, body: bytes) -> None: ...


class AuditLog(Protocol):
    """Events of things that are not one agent's: clients, tokens, credentials."""

    def add(self, events: Sequence[Event]) -> None:
        """Audit rows, notifications and outbox entries, as ``AgentStore.save`` writes them."""
        ...

    def unknown(self, event_ids: Collection[str]) -> frozenset[str]:
        """Those of the ids that no audit row has."""
        ...


class AlertStore(Protocol):
    """Price alerts (E82, E83)."""

    def add(self, alert: Alert) -> None: ...

    def of_client(self, client_id: ClientId) -> Sequence[Alert]:
        """Newest first."""
        ...

    def fire(self, client_id: ClientId, alert_ids: Sequence[str], now: datetime) -> frozenset[str]:
        """Those of the alerts that are not quiet: they are from now on. Of two reports at once, one gets each."""
        ...


class NoticeStore(Protocol):
    """Who has read which notification (NT-2). A ``reader`` is a client, or None for the operator, who sees all but a
    deleted client's and whose reading changes nothing for a client."""

    def mark_read(self, reader: ClientId | None, notification_id: str, now: datetime) -> bool:
        """True when the reader can see the notification; it is read from now on, if it was not before."""
        ...

    def mark_all_read(self, reader: ClientId | None, now: datetime, *, of: ClientId | None = None) -> int:
        """How many became read by this. ``of`` narrows the operator's view to one client's (and broadcasts)."""
        ...


class ModelStore(Protocol):
    """Model and engine sessions with their files (11.2)."""

    def lock(self) -> None:
        """Keep every other change of sessions out until the transaction ends. Waits at most the lock timeout, then
        raises ``StateConflict``."""
        ...

    def add(self, session: ModelSession) -> None: ...

    def get(self, session_id: str) -> ModelSession:
        """Raises ``NotFound``."""
        ...

    def put(self, sessions: Sequence[ModelSession]) -> None:
        """Store changed sessions together; their files never change. Raises ``InvariantViolated`` when two of a scope
        and kind would be live, or fallback (I12), and ``NotFound`` for one that is not there (GR-3)."""
        ...

    def serving(self) -> Sequence[ModelSession]:
        """Every live and every fallback session."""
        ...

    def newest(self, kind: SessionKind, limit: int) -> Sequence[ModelSession]:
        """Newest first."""
        ...

    def idle(self, before: datetime) -> Sequence[ModelSession]:
        """Sessions that are neither live nor fallback, unchanged since ``before``, whose files are still kept."""
        ...

    def digests(self) -> frozenset[str]:
        """The hash of every file that a session still has."""
        ...


class UnitOfWork(Protocol):
    """Everything one transaction can reach."""

    @property
    def clients(self) -> ClientStore: ...
    @property
    def agents(self) -> AgentStore: ...
    @property
    def prices(self) -> PriceStore: ...
    @property
    def decisions(self) -> DecisionLog: ...
    @property
    def idempotency(self) -> IdempotencyStore: ...
    @property
    def audit(self) -> AuditLog: ...
    @property
    def alerts(self) -> AlertStore: ...
    @property
    def notices(self) -> NoticeStore: ...
    @property
    def models(self) -> ModelStore: ...
    @property
    def ledger(self) -> LedgerStore: ...
    def savepoint(self) -> AbstractContextManager[None]:
        """What happens inside is undone alone when it raises; the transaction goes on."""
        ...


class Transactions(Protocol):
    """Normal exit commits, an exception rolls back; nothing else commits. ``urgent`` uses the connections kept for
    emergencies (design 3). Raises ``Unavailable`` when storage cannot be reached."""

    def __call__(self, *, urgent: bool = False) -> AbstractContextManager[UnitOfWork]: ...


class Credentials(Protocol):
    """Token look-up, without a transaction of the caller's."""

    def find(self, token_hash: str, now: datetime) -> Credential | None:
        """What the token opens now, None when unknown or ended.

        A deleted client's token is found while an agent of it is still retiring (CL-6, Z25)."""
        ...

    def touch(self, client_id: ClientId, now: datetime) -> None:
        """Remember when the client was last heard; coarse, and never per heartbeat."""
        ...

    def find_session(self, session_hash: str, now: datetime) -> tuple[Session, Credential] | None:
        """A dashboard session that is open, and what its token opens now; None when either has ended."""
        ...

    def open_session(self, session: Session) -> None:
        """Keep a new session; sessions older than any can be are dropped with it."""
        ...

    def see_session(self, session: Session) -> None:
        """Store its ``seen_at``; never backwards."""
        ...

    def end_session(self, session_hash: str) -> None:
        """The session is gone. Repeatable."""
        ...
