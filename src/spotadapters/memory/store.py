"""Everything in dictionaries: the storage ports for embedding, simulation and fast tests.

One lock makes every transaction run alone; a rollback puts the previous dictionaries back. The constraints that span
agents (I10, I13, unique names) are checked here as the database checks them, so that both refuse alike.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from attrs import define, evolve, field

from spotadapters.memory.ledger import MemoryLedger
from spotadapters.memory.models import MemoryModels
from spotcore import prices
from spotcore.agents import Agent, Life
from spotcore.aggregate import Aggregate, check
from spotcore.alerts import Alert
from spotcore.buckets import Contender, Discrepancy, judge_buckets
from spotcore.change import Outcome
from spotcore.clients import Client, ClientStatus, checked
from spotcore.decisions import DecisionRecord
from spotcore.errors import (
    ClientExists,
    DuplicateEmail,
    InstanceOwned,
    InvariantViolated,
    LogicalAgentConflict,
    NotFound,
)
from spotcore.events import Event, EventKind, Notification, notification_of
from spotcore.ids import AgentId, ClientId, launch_placeholder, replica_placeholder
from spotcore.incidents import Incident, Severity
from spotcore.instances import ACTIVE, Instance, InstanceStatus
from spotcore.ledger import Entry
from spotcore.market import BOOTS_COUNTED, INCIDENTS_COUNTED, Market, OndemandQuote, PoolRecord, SpotQuote
from spotcore.models import ModelSession
from spotcore.pools import family_of, parse_pool
from spotcore.ports.ledger import TypeInRegion
from spotcore.ports.storage import (
    NOTHING_KNOWN,
    Credential,
    Keys,
    MachineBinding,
    PollView,
    StoredAnswer,
    TokenRecord,
    Turn,
    UnitOfWork,
)
from spotcore.prices import Observation, OndemandObservation, PriceReport, PriceSource
from spotcore.quality import Filled
from spotcore.sessions import ENDS_AFTER, Session

MARKET_WINDOW = timedelta(days=7)
REMEMBERED = timedelta(hours=24)  # ID-1
DELETED = ClientStatus.DELETED
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


@define
class Bucket:
    """The winner of five minutes of one pool."""

    source: PriceSource
    observation: Observation
    discrepancy: Discrepancy | None = None  # found by the pipeline (DQ-5)


@define
class Tables:
    """All rows. Values are frozen; only the dictionaries change."""

    clients: dict[ClientId, Client] = field(factory=dict)
    tokens: dict[str, TokenRecord] = field(factory=dict)
    agents: dict[AgentId, Aggregate] = field(factory=dict)
    events: tuple[Event, ...] = ()
    event_ids: dict[str, EventKind] = field(factory=dict)
    notifications: dict[tuple[ClientId | None, str], Notification] = field(factory=dict)
    raw: dict[str, tuple[PriceReport, Observation]] = field(factory=dict)
    own: dict[tuple[ClientId, str], tuple[PriceSource, Observation]] = field(factory=dict)
    buckets: dict[str, dict[datetime, Bucket]] = field(factory=dict)
    first_observed: dict[str, datetime] = field(factory=dict)  # by pool
    fills: dict[tuple[str, datetime], Filled] = field(factory=dict)  # by pool and start; the pipeline's alone (GF-6)
    ondemand: dict[tuple[str, str, bool], OndemandObservation] = field(factory=dict)  # the latest of each kind
    ondemand_history: dict[tuple[str, str, bool, datetime], tuple[int, OndemandObservation]] = field(
        factory=dict
    )  # by bucket (DQ-7), with the negative rank of its source
    ledger: dict[str, Entry] = field(factory=dict)
    line_numbers: "count[int]" = field(factory=count)
    sealed_lines: dict[str, datetime] = field(factory=dict)
    decisions: dict[AgentId, tuple[DecisionRecord, ...]] = field(factory=dict)
    answers: dict[tuple[str, str], StoredAnswer] = field(factory=dict)
    claimed_at: dict[tuple[str, str], datetime] = field(factory=dict)  # of each answer's key (ID-1)
    last_sync: dict[ClientId, datetime] = field(factory=dict)
    models: dict[str, ModelSession] = field(factory=dict)
    sessions: dict[str, Session] = field(factory=dict)
    alerts: dict[tuple[ClientId, str], Alert] = field(factory=dict)
    reads: dict[tuple[ClientId | None, str], datetime] = field(
        factory=dict
    )  # reader (None: the operator), notification


class MemoryStorage:
    """The tables and the one lock over them."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.lock = threading.RLock()

    def transactions(self, *, urgent: bool = False) -> AbstractContextManager[UnitOfWork]:
        """The ``Transactions`` port."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[UnitOfWork]:
        with self.lock:
            journal = Journal(self.tables)
            try:
                yield MemoryUnitOfWork(journal)
            except BaseException:
                journal.undo()
                raise


class Journal:
    """Writes to the tables, each with the way back."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._events = tables.events

    def drop(self, table: dict[Any, Any], keys: Iterable[Any]) -> int:
        """Remove rows; how many."""
        doomed = list(keys)
        for key in doomed:
            self._undo.append((table, key, table.pop(key)))
        return len(doomed)

    def drop_events(self, client_id: ClientId) -> int:
        """Remove a client's audit rows; how many."""
        gone = [event.event_id for event in self.tables.events if event.client_id == client_id]
        self.tables.events = tuple(event for event in self.tables.events if event.client_id != client_id)
        return self.drop(self.tables.event_ids, gone)

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Set a row."""
        self._undo.append((table, key, table.get(key, _MISSING)))
        table[key] = value

    def append_events(self, events: Sequence[Event]) -> None:
        """Audit rows and the notifications they become (NT-1). Raises ``InvariantViolated`` for one that is there."""
        self.tables.events = (*self.tables.events, *events)
        for event in events:
            if event.event_id in self.tables.event_ids:
                raise InvariantViolated("an event is written once", event_id=event.event_id)
            self.put(self.tables.event_ids, event.event_id, event.kind)
            message = notification_of(event)
            if message is not None and (event.client_id, message.dedupe_key) not in self.tables.notifications:
                self.put(self.tables.notifications, (event.client_id, message.dedupe_key), message)

    def mark(self) -> tuple[int, tuple[Event, ...]]:
        """A point to go back to."""
        return len(self._undo), self.tables.events

    def undo(self, to: tuple[int, tuple[Event, ...]] | None = None) -> None:
        """Back to a mark, or to the start."""
        count, events = to if to is not None else (0, self._events)
        while len(self._undo) > count:
            table, key, value = self._undo.pop()
            if value is _MISSING:
                table.pop(key, None)
            else:
                table[key] = value
        self.tables.events = events


_MISSING = object()


class MemoryUnitOfWork:
    """One transaction: every port over one journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.clients = MemoryClients(journal)
        self.agents = MemoryAgents(journal)
        self.prices = MemoryPrices(journal)
        self.decisions = MemoryDecisions(journal)
        self.idempotency = MemoryIdempotency(journal)
        self.audit = MemoryAudit(journal)
        self.alerts = MemoryAlerts(journal)
        self.notices = MemoryNotices(journal)
        self.models = MemoryModels(journal)
        self.ledger = MemoryLedger(journal)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside when it raises."""
        mark = self._journal.mark()
        try:
            yield
        except BaseException:
            self._journal.undo(mark)
            raise


def _is_in(pool_id: str, group: TypeInRegion) -> bool:
    pool = parse_pool(pool_id)
    return (pool.instance_type, pool.region) == group


class MemoryClients:
    """``ClientStore``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tables = journal.tables

    def lock(self, client_id: ClientId) -> Client:
        return self.get(client_id)

    def get(self, client_id: ClientId) -> Client:
        try:
            return self._tables.clients[client_id]
        except KeyError:
            raise NotFound("unknown client") from None

    def add(self, client: Client) -> None:
        self._check_names(checked(client))
        self._journal.put(self._tables.clients, client.client_id, client)

    def _check_names(self, client: Client) -> None:
        """CL-6: name and address are unique among clients that are not deleted, in whatever case they are spelled."""
        for other in self._tables.clients.values():
            if other.client_id == client.client_id or ClientStatus.DELETED in (other.status, client.status):
                continue
            if other.name.lower() == client.name.lower():
                raise ClientExists("a client of that name exists")
            if client.email is not None and other.email is not None and other.email.lower() == client.email.lower():
                raise DuplicateEmail("a client with that e-mail exists")

    def put(self, client: Client) -> None:
        known = self.get(client.client_id)
        self._check_names(checked(client))
        self._journal.put(self._tables.clients, client.client_id, evolve(client, total_savings=known.total_savings))

    def add_token(self, token: TokenRecord) -> None:
        self._journal.put(self._tables.tokens, token.token_hash, token)

    def end_tokens(self, client_id: ClientId, at: datetime) -> None:
        for token in list(self._tables.tokens.values()):
            if token.client_id == client_id and (token.expires_at is None or token.expires_at > at):
                self._journal.put(self._tables.tokens, token.token_hash, evolve(token, expires_at=at))

    def current_token(self, client_id: ClientId) -> TokenRecord | None:
        rows = [row for row in self._tables.tokens.values() if row.client_id == client_id and row.expires_at is None]
        return max(rows, key=lambda row: row.created_at, default=None)

    def agent_ids(self, client_id: ClientId) -> Sequence[AgentId]:
        rows = [row.agent for row in self._tables.agents.values() if row.client.client_id == client_id]
        rows.sort(key=lambda agent: (agent.registered_at, agent.agent_id))
        return [agent.agent_id for agent in rows if agent.life is not Life.DELETED]

    def purge(self, client_id: ClientId) -> Mapping[str, int]:
        tables, drop = self._tables, self._journal.drop
        tokens = {key for key, row in tables.tokens.items() if row.client_id == client_id}
        agents = [key for key, row in tables.agents.items() if row.agent.client_id == client_id]
        messages = {row.notification_id for key, row in tables.notifications.items() if key[0] == client_id}
        answers = [key for key, row in tables.answers.items() if client_id.encode() in (row.body or b"")]
        erased = {
            "sessions": drop(tables.sessions, [k for k, row in tables.sessions.items() if row.token_hash in tokens]),
            "tokens": drop(tables.tokens, tokens),
            "decisions": drop(tables.decisions, [key for key in agents if key in tables.decisions]),
            "agents": drop(tables.agents, agents),
            "pricing_alerts": drop(tables.alerts, [key for key in tables.alerts if key[0] == client_id]),
            "notification_reads": drop(
                tables.reads, [key for key in tables.reads if key[0] == client_id or key[1] in messages]
            ),
            "notifications": drop(tables.notifications, [key for key in tables.notifications if key[0] == client_id]),
            "raw_prices": drop(tables.raw, [k for k, row in tables.raw.items() if row[0].client_id == client_id]),
            "idempotency_keys": drop(tables.answers, answers),
            "ledger_lines": drop(
                tables.ledger, [k for k, row in tables.ledger.items() if row.line.client_id == client_id]
            ),
            "audit_events": self._journal.drop_events(client_id),
            "clients": drop(tables.clients, [key for key in tables.clients if key == client_id]),
        }
        drop(tables.own, [key for key in tables.own if key[0] == client_id])  # counted above, in raw_prices
        drop(tables.last_sync, [key for key in tables.last_sync if key == client_id])
        return {kind: count for kind, count in erased.items() if count}


class MemoryAgents:
    """``AgentStore``: aggregates are kept whole, so that every named row comes along by itself."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tables = journal.tables

    def lock(self, client_id: ClientId, agent_id: AgentId, keys: Keys = Keys()) -> Aggregate:
        return self.get(client_id, agent_id, keys)

    def lock_free(
        self, client_id: ClientId, wanted: Mapping[AgentId, Keys], known: Mapping[AgentId, Aggregate] = NOTHING_KNOWN
    ) -> Mapping[AgentId, Aggregate]:
        rows = {agent_id: self._tables.agents.get(agent_id) for agent_id in wanted}
        return {
            agent_id: self.get(client_id, agent_id)
            for agent_id, row in rows.items()
            if row is not None and row.client.client_id == client_id and row.agent.merged_into is None
        }

    def get(self, client_id: ClientId, agent_id: AgentId, keys: Keys = Keys()) -> Aggregate:
        row = self._tables.agents.get(agent_id)
        if row is None or row.client.client_id != client_id:
            raise NotFound("unknown agent")
        if row.agent.merged_into is not None:
            return self.get(client_id, row.agent.merged_into, keys)
        client = self._tables.clients[client_id]
        return row if row.client is client else evolve(row, client=client)

    def poll(self, client_id: ClientId, agent_id: AgentId) -> PollView:
        row = self.get(client_id, agent_id)
        return PollView(
            life=row.agent.life,
            build=row.agent.build,
            able_since_registration=row.agent.able_since_registration,
            has_open_commands=bool(row.open_commands),
            revision=row.agent.revision,
        )

    def exists_elsewhere(self, client_id: ClientId, agent_id: AgentId) -> bool:
        row = self._tables.agents.get(agent_id)
        return row is not None and row.client.client_id != client_id and row.agent.life is not Life.DELETED

    def find_logical(self, client_id: ClientId, logical_agent_id: str) -> AgentId | None:
        for row in self._tables.agents.values():
            agent = row.agent
            named = (agent.client_id, agent.logical_agent_id) == (client_id, logical_agent_id)
            if named and agent.life is not Life.DELETED:
                return agent.agent_id
        return None

    def bindings(self, cloud_id: str) -> Sequence[MachineBinding]:
        found: list[tuple[Instance, Agent]] = [
            (instance, row.agent)
            for row in self._tables.agents.values()
            for instance in row.instances.values()
            if instance.cloud_id == cloud_id
        ]
        found.sort(key=lambda pair: (pair[0].is_terminal, -pair[0].created_at.timestamp()))
        return [
            MachineBinding(
                client_id=instance.client_id,
                agent_id=instance.agent_id,
                instance_id=instance.instance_id,
                cloud_id=cloud_id,
                is_terminal=instance.is_terminal,
                status=instance.status.value,
                agent_life=agent.life.value,
            )
            for instance, agent in found
        ]

    def find_by_launch(self, client_id: ClientId, token: str) -> AgentId | None:
        for row in self._tables.agents.values():
            if row.client.client_id != client_id:
                continue
            if any(command.request_id == token for command in row.open_commands):
                return row.agent.agent_id
            if any(replica.replica_id == token and replica.is_live for replica in row.replicas.values()):
                return row.agent.agent_id
        return None

    def find_by_instance(self, client_id: ClientId | None, instance_id: str) -> tuple[ClientId, AgentId] | None:
        found = [
            instance
            for row in self._tables.agents.values()
            if client_id in (None, row.client.client_id)
            for instance in row.instances.values()
            if instance_id in words(row, instance)
        ]
        best = min(found, key=lambda one: (one.is_terminal, -one.created_at.timestamp()), default=None)
        return (best.client_id, best.agent_id) if best is not None else None

    def find_owner(self, agent_id: AgentId) -> ClientId | None:
        row = self._tables.agents.get(agent_id)
        return row.client.client_id if row else None

    def count(self, client_id: ClientId) -> tuple[int, int]:
        rows = [row for row in self._tables.agents.values() if row.client.client_id == client_id]
        agents = sum(row.agent.life is not Life.DELETED for row in rows)
        return agents, sum(one.status in ACTIVE for row in rows for one in row.instances.values())

    def save(self, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            self._save(outcome)

    def _save(self, outcome: Outcome) -> None:
        after = check(outcome.after)
        self._check_names(after)
        before_total = outcome.before.client.total_savings if outcome.before else after.client.total_savings
        gain = after.client.total_savings - before_total
        client = self._tables.clients[after.client.client_id]
        if gain:
            client = evolve(client, total_savings=client.total_savings + gain)
            self._journal.put(self._tables.clients, client.client_id, client)
        self._journal.put(self._tables.agents, after.agent.agent_id, evolve(after, client=client))
        self._journal.append_events(outcome.events)

    def _check_names(self, after: Aggregate) -> None:
        """I10 and I13 over all agents, as the database's unique indexes see them."""
        named = {row.cloud_id for row in after.instances.values() if row.cloud_id and not row.is_terminal}
        for other in self._tables.agents.values():
            if other.agent.agent_id == after.agent.agent_id:
                continue
            mine = (after.agent.client_id, after.agent.logical_agent_id)
            theirs = (other.agent.client_id, other.agent.logical_agent_id)
            if mine == theirs and Life.DELETED not in (after.agent.life, other.agent.life):
                raise LogicalAgentConflict("an agent of that name exists")  # I13
            if any(row.cloud_id in named and not row.is_terminal for row in other.instances.values()):
                raise InstanceOwned("the machine is registered elsewhere")  # I10

    def due(self, now: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        return self._due(self._tables.agents.values(), now, limit, after)

    def pressed(self, now: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        return self._due([row for row in self._tables.agents.values() if row.open_incidents], now, limit, after)

    def _due(self, rows: Iterable[Aggregate], now: datetime, limit: int, after: Turn | None) -> Sequence[Turn]:
        agents = [row.agent for row in rows if row.agent.life is not Life.DELETED]
        return _queue(
            [(one, one.due_at) for one in agents if one.due_at is not None and one.due_at <= now], limit, after
        )

    def put_off(self, turn: Turn, until: datetime) -> None:
        row = self._tables.agents.get(turn.agent_id)
        if row is not None and (row.agent.client_id, row.agent.due_at) == (turn.client_id, turn.since):
            after = evolve(row, agent=evolve(row.agent, due_at=until))
            self._journal.put(self._tables.agents, turn.agent_id, after)

    def undecided(self, older_than: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        agents = [row.agent for row in self._tables.agents.values() if row.agent.is_live and row.agent.primary_id]
        last = [(one, one.last_decision_at) for one in agents]
        return _queue([(one, at) for one, at in last if at is None or at <= older_than], limit, after)


def _queue(waiting: Iterable[tuple[Agent, datetime | None]], limit: int, after: Turn | None) -> Sequence[Turn]:
    turns = sorted((Turn(one.client_id, one.agent_id, since) for one, since in waiting), key=_place)
    return [turn for turn in turns if after is None or _place(turn) > _place(after)][:limit]


def _place(turn: Turn) -> tuple[datetime, AgentId]:
    return turn.since or _EPOCH, turn.agent_id


def words(aggregate: Aggregate, instance: Instance) -> set[str]:
    """Every name a machine goes by on the wire."""
    names = {str(instance.instance_id), launch_placeholder(instance.instance_id)}
    if instance.cloud_id is not None:
        names.add(instance.cloud_id)
    replica = aggregate.replica_on(instance.instance_id)
    if replica is not None:
        names.add(replica_placeholder(replica.replica_id))
    return names


def _freshness(source: PriceSource, one: Observation) -> tuple[timedelta, tuple[int, datetime, str]]:
    """The smallest is the freshest; of one instant the best of DQ-4, whatever came in last (P1)."""
    return _EPOCH - one.observed_at, prices.order_key(source, one.observed_at, one.submission_id)


class MemoryPrices:
    """``PriceStore``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tables = journal.tables

    def record(self, report: PriceReport) -> Sequence[Alert]:
        for one in report.observations:
            if one.submission_id in self._tables.raw:
                continue  # DQ-3
            self._journal.put(self._tables.raw, one.submission_id, (report, one))
            if one.observed_at < self._tables.first_observed.get(one.pool_id, _NEVER):
                self._journal.put(self._tables.first_observed, one.pool_id, one.observed_at)  # 4.3
            own = self._tables.own.get((report.client_id, one.pool_id))
            if own is None or _freshness(report.source, one) < _freshness(*own):
                self._journal.put(self._tables.own, (report.client_id, one.pool_id), (report.source, one))
            self._compete(report.source, one)
        for listed in report.ondemand:
            self._list(-prices.RANK[report.source], listed)
        return [
            alert
            for alert in self._tables.alerts.values()
            if alert.client_id == report.client_id
            and alert.enabled
            and any(alert.concerns(one.pool_id) for one in report.observations)
        ]

    def _list(self, rank: int, one: OndemandObservation) -> None:
        """DQ-7: the winner of its bucket; the winner of the latest bucket is the price in force."""
        key = (one.instance_type, one.region, one.flagged)
        start = prices.bucket_start(one.observed_at)
        holder = self._tables.ondemand_history.get((*key, start))
        if holder is not None and (rank, one.observed_at, one.price) >= (
            holder[0], holder[1].observed_at, holder[1].price,
        ):  # fmt: skip
            return
        self._journal.put(self._tables.ondemand_history, (*key, start), (rank, one))
        known = self._tables.ondemand.get(key)
        if known is None or prices.bucket_start(known.observed_at) <= start:
            self._journal.put(self._tables.ondemand, key, one)

    def _pool_buckets(self, pool_id: str) -> dict[datetime, Bucket]:
        if pool_id not in self._tables.buckets:
            self._journal.put(self._tables.buckets, pool_id, {})
        return self._tables.buckets[pool_id]

    def _compete(self, source: PriceSource, one: Observation) -> None:
        pool = self._pool_buckets(one.pool_id)
        start = prices.bucket_start(one.observed_at)
        self._journal.drop(self._tables.fills, [key for key in [(one.pool_id, start)] if key in self._tables.fills])
        holder = pool.get(start)
        key = prices.order_key(source, one.observed_at, one.submission_id)
        if holder is None or key < prices.order_key(
            holder.source, holder.observation.observed_at, holder.observation.submission_id
        ):
            self._journal.put(pool, start, Bucket(source=source, observation=one))

    def market(self, client_id: ClientId, instance_type: str | None, region: str | None, now: datetime) -> Market:
        spot: dict[str, SpotQuote] = {}
        pools: dict[str, PoolRecord] = {}
        incidents = self._incidents(now)
        for pool_id, rows in self._tables.buckets.items():
            pool = parse_pool(pool_id)
            if pool.instance_type != instance_type or (region is not None and pool.region != region):
                continue
            starts = sorted(rows)[-10:]
            winner = rows[starts[-1]]
            quote = SpotQuote(
                pool_id=pool_id,
                price=winner.observation.price,
                observed_at=winner.observation.observed_at,
                confidence=prices.CONFIDENCE[winner.source],
            )
            _, own = self._tables.own.get((client_id, pool_id), (None, None))
            if own is not None and now - own.observed_at <= timedelta(minutes=10):
                quote = SpotQuote(pool_id=pool_id, price=own.price, observed_at=own.observed_at)
            spot[pool_id] = quote
            pools[pool_id] = self._pool(client_id, pool_id, incidents, now, starts)
        unflagged = self._tables.ondemand.get((instance_type or "", region or "", False))
        flagged = self._tables.ondemand.get((instance_type or "", region or "", True))
        listed = unflagged or flagged
        ondemand = (
            OndemandQuote(price=listed.price, observed_at=listed.observed_at, flagged=listed.flagged)
            if listed
            else None
        )
        return Market(spot=spot, ondemand=ondemand, pools=pools)

    def types(self, family: str, region: str | None) -> Sequence[str]:
        known = {parse_pool(pool_id) for pool_id in self._tables.buckets}
        return sorted(
            {
                one.instance_type
                for one in known
                if family_of(one.instance_type) == family and region in (None, one.region)
            }
        )

    def groups(self, received_since: datetime) -> Sequence[TypeInRegion]:
        pools = {one.pool_id for report, one in self._tables.raw.values() if report.received_at >= received_since}
        return sorted({(parse_pool(pool).instance_type, parse_pool(pool).region) for pool in pools})

    def repair(self, group: TypeInRegion, since: datetime) -> int:
        contenders = [
            Contender(source=report.source, observation=one)
            for report, one in self._tables.raw.values()
            if _is_in(one.pool_id, group) and one.observed_at >= since
        ]
        changed = 0
        for (pool_id, start), verdict in judge_buckets(contenders).items():
            won = verdict.winner
            bucket = Bucket(source=won.source, observation=won.observation, discrepancy=verdict.discrepancy)
            rows = self._pool_buckets(pool_id)
            if rows.get(start) != bucket:
                self._journal.put(rows, start, bucket)
                changed += 1
        return changed

    def discrepancies(self, group: TypeInRegion, since: datetime) -> Sequence[tuple[str, datetime]]:
        return sorted(
            (pool_id, start)
            for pool_id, rows in self._tables.buckets.items()
            for start, row in rows.items()
            if _is_in(pool_id, group) and start >= since and row.discrepancy is Discrepancy.WARNING
        )

    def measured(self, group: TypeInRegion, since: datetime) -> Mapping[str, Mapping[datetime, Decimal]]:
        found = {
            pool_id: {start: row.observation.price for start, row in rows.items() if start >= since}
            for pool_id, rows in self._tables.buckets.items()
            if _is_in(pool_id, group)
        }
        return {pool_id: rows for pool_id, rows in found.items() if rows}

    def replace_fills(self, group: TypeInRegion, since: datetime, fills: Mapping[str, Sequence[Filled]]) -> int:
        wanted = {
            (pool_id, row.bucket_start): row
            for pool_id, rows in fills.items()
            for row in rows
            if row.bucket_start not in self._tables.buckets.get(pool_id, {})  # GF-5
        }
        known = {key: row for key, row in self._tables.fills.items() if _is_in(key[0], group) and key[1] >= since}
        self._journal.drop(self._tables.fills, [key for key in known if key not in wanted])
        for key, row in wanted.items():
            if known.get(key) != row:
                self._journal.put(self._tables.fills, key, row)
        gone = sum(key not in wanted for key in known)
        return gone + sum(known.get(key) != row for key, row in wanted.items())

    def _incidents(self, now: datetime) -> list[Incident]:
        return [
            incident
            for row in self._tables.agents.values()
            for incident in row.incidents.values()
            if now - incident.opened_at <= MARKET_WINDOW or incident.is_open
        ]

    def _pool(
        self,
        client_id: ClientId,
        pool_id: str,
        incidents: list[Incident],
        now: datetime,
        starts: list[datetime],
    ) -> PoolRecord:
        here = [one for one in incidents if one.pool_id == pool_id]
        rows = self._tables.buckets[pool_id]
        boots = self._boot_seconds(pool_id)
        return PoolRecord(
            pool_id=pool_id,
            incidents_7d=min(sum(now - one.opened_at <= MARKET_WINDOW for one in here), INCIDENTS_COUNTED),
            first_observed_at=self._tables.first_observed[pool_id],
            recent_prices=tuple(rows[start].observation.price for start in starts),
            boot_seconds=sum(boots, Decimal(0)) / len(boots) if boots else None,
            boot_samples=len(boots),
            own_open_incident=any(one.is_open and one.client_id == client_id for one in here),
            open_incident=any(one.is_open and one.severity is Severity.TERMINATION for one in here),
        )

    def _boot_seconds(self, pool_id: str) -> list[Decimal]:
        boots = [
            (row.confirmed_at, row.confirmed_at - row.launch_requested_at)
            for aggregate in self._tables.agents.values()
            for row in aggregate.instances.values()
            if row.pool_id == pool_id and row.confirmed_at is not None and row.launch_requested_at is not None
            and row.status is not InstanceStatus.LAUNCHING
        ]  # fmt: skip
        latest = sorted(boots, reverse=True)[:BOOTS_COUNTED]
        return [Decimal(str(took.total_seconds())) for _, took in latest]

    def last_unflagged_ondemand(
        self, client_id: ClientId, instance_type: str, region: str, now: datetime
    ) -> Decimal | None:
        row = self._tables.ondemand.get((instance_type, region, False))
        return row.price if row else None


class MemoryDecisions:
    """``DecisionLog``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tables = journal.tables

    def add(self, record: DecisionRecord) -> None:
        agent_id = record.decision.snapshot.agent_id
        self._journal.put(self._tables.decisions, agent_id, (record, *self._tables.decisions.get(agent_id, ())))

    def recent(self, client_id: ClientId, agent_id: AgentId, limit: int) -> Sequence[DecisionRecord]:
        rows = [row for row in self._tables.decisions.get(agent_id, ()) if row.decision.snapshot.client_id == client_id]
        return sorted(rows, key=lambda row: (row.made_at, row.decision_id), reverse=True)[:limit]


class MemoryIdempotency:
    """``IdempotencyStore``. Transactions run alone here, so a first call is never still running."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tables = journal.tables

    def claim(self, scope: str, key: str, body_hash: str, now: datetime) -> StoredAnswer | None:
        stored, place = self._tables.answers.get((scope, key)), (scope, key)
        if stored is not None and now - self._tables.claimed_at[place] <= REMEMBERED:
            return stored
        self._journal.put(self._tables.answers, place, StoredAnswer(body_hash=body_hash, status=None, body=None))
        self._journal.put(self._tables.claimed_at, place, now)
        return None

    def complete(self, scope: str, key: str, status: int, body: bytes) -> None:
        stored = self._tables.answers[scope, key]
        self._journal.put(self._tables.answers, (scope, key), evolve(stored, status=status, body=body))


class MemoryAudit:
    """``AuditLog``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(self, events: Sequence[Event]) -> None:
        self._journal.append_events(events)

    def unknown(self, event_ids: Collection[str]) -> frozenset[str]:
        return frozenset(event_ids) - self._journal.tables.event_ids.keys()


class MemoryAlerts:
    """``AlertStore``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tables = journal.tables

    def add(self, alert: Alert) -> None:
        self._journal.put(self._tables.alerts, (alert.client_id, alert.alert_id), alert)

    def of_client(self, client_id: ClientId) -> Sequence[Alert]:
        rows = [row for row in self._tables.alerts.values() if row.client_id == client_id]
        return sorted(rows, key=lambda row: (row.created_at, row.alert_id), reverse=True)

    def fire(self, client_id: ClientId, alert_ids: Sequence[str], now: datetime) -> frozenset[str]:
        known = [row for key in alert_ids if (row := self._tables.alerts.get((client_id, key))) is not None]
        fired = [row for row in known if not row.is_quiet(now)]
        for row in fired:
            self._journal.put(self._tables.alerts, (client_id, row.alert_id), evolve(row, fired_at=now))
        return frozenset(row.alert_id for row in fired)


class MemoryNotices:
    """``NoticeStore``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tables = journal.tables

    def mark_read(self, reader: ClientId | None, notification_id: str, now: datetime) -> bool:
        found = any(row.notification_id == notification_id for row in self._visible(reader))
        if found and (reader, notification_id) not in self._tables.reads:
            self._journal.put(self._tables.reads, (reader, notification_id), now)
        return found

    def mark_all_read(self, reader: ClientId | None, now: datetime, *, of: ClientId | None = None) -> int:
        rows = [row for row in self._visible(reader or of) if (reader, row.notification_id) not in self._tables.reads]
        for row in rows:
            self._journal.put(self._tables.reads, (reader, row.notification_id), now)
        return len(rows)

    def _visible(self, scope: ClientId | None) -> list[Notification]:
        return [
            row
            for row in self._tables.notifications.values()
            if row.client_id is None
            or (scope in (None, row.client_id) and self._tables.clients[row.client_id].status is not DELETED)
        ]


class MemoryCredentials:
    """``Credentials`` over a memory storage."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage

    def find(self, token_hash: str, now: datetime) -> Credential | None:
        tables = self._storage.tables
        token = tables.tokens.get(token_hash)
        if token is None or (token.expires_at is not None and token.expires_at <= now):
            return None
        if token.client_id is None:
            return Credential(client=None, is_admin=True)
        client = tables.clients[token.client_id]
        if client.status is ClientStatus.DELETED and not self._winding_down(client):
            return None
        return Credential(client=client)

    def _winding_down(self, client: Client) -> bool:
        return any(
            row.client.client_id == client.client_id and row.agent.life is Life.RETIRING
            for row in self._storage.tables.agents.values()
        )

    def touch(self, client_id: ClientId, now: datetime) -> None:
        self._storage.tables.last_sync[client_id] = now

    def find_session(self, session_hash: str, now: datetime) -> tuple[Session, Credential] | None:
        session = self._storage.tables.sessions.get(session_hash)
        if session is None or not session.is_open(now):
            return None
        credential = self.find(session.token_hash, now)
        return (session, credential) if credential is not None else None

    def open_session(self, session: Session) -> None:
        sessions = self._storage.tables.sessions
        for old in [one for one in sessions.values() if session.created_at - one.created_at > ENDS_AFTER]:
            del sessions[old.session_hash]
        sessions[session.session_hash] = session

    def see_session(self, session: Session) -> None:
        sessions = self._storage.tables.sessions
        known = sessions.get(session.session_hash)
        if known is not None and known.seen_at < session.seen_at:
            sessions[session.session_hash] = session

    def end_session(self, session_hash: str) -> None:
        self._storage.tables.sessions.pop(session_hash, None)
