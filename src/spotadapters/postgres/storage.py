"""The storage ports on PostgreSQL: one transaction, one locked agent, few round trips."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from attrs import evolve
from psycopg import sql
from psycopg.types.json import Jsonb

from spotadapters.postgres.documents import document, events_document
from spotadapters.postgres.errors import translated
from spotadapters.postgres.known import hold_known
from spotadapters.postgres.ledger import PostgresLedger
from spotadapters.postgres.models import PostgresModels
from spotadapters.postgres.pool import Connection, Connections
from spotadapters.postgres.queries import query
from spotadapters.postgres.report_rows import ondemand_rows, report_facts, spot_rows
from spotadapters.postgres.rows import CONVERTER, from_row, loads, to_row
from spotadapters.system.tenancy import EVERYBODY, acting_for
from spotcore import prices
from spotcore.agents import Agent, Life
from spotcore.aggregate import Aggregate
from spotcore.alerts import QUIET, Alert
from spotcore.builds import Build
from spotcore.change import Outcome
from spotcore.clients import Client, ClientStatus
from spotcore.commands import Command, CommandState
from spotcore.decisions import Decision, DecisionRecord
from spotcore.errors import DuplicateRequest, NotFound
from spotcore.events import Event
from spotcore.ids import LAUNCH_PLACEHOLDER, REPLICA_PLACEHOLDER, AgentId, ClientId, CommandId
from spotcore.incidents import Incident
from spotcore.instances import Instance
from spotcore.market import Market, OndemandQuote, PoolRecord, SpotQuote
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
from spotcore.ports.world import Clock
from spotcore.prices import PriceReport
from spotcore.quality import Filled
from spotcore.replicas import Replica
from spotcore.sessions import Session
from spotcore.switches import PrimaryPeriod, Switch

KEPT = timedelta(days=8)  # terminal rows that still travel with their aggregate
MARKED_AT_ONCE = 20_000  # notifications; a statement may take 4 s


class PostgresStorage:
    """``Transactions`` and ``Credentials`` on one pair of pools."""

    def __init__(self, connections: Connections, clock: Clock, on_events: Callable[[], None] = lambda: None) -> None:
        """``on_events`` is called after each commit of something that is to be relayed (GR-10); it must not wait."""
        self._connections = connections
        self._clock = clock
        self._on_events = on_events

    @contextmanager
    def transactions(self, *, urgent: bool = False) -> Iterator[UnitOfWork]:
        """The ``Transactions`` port."""
        with translated(), self._connections.connection(urgent=urgent) as connection:
            uow = PostgresUnitOfWork(connection, self._clock)
            yield uow
        if uow.heard.any:
            self._on_events()

    def find(self, token_hash: str, now: datetime) -> Credential | None:
        """The ``Credentials`` port, in one statement: whose the caller is comes out of it."""
        with translated(), acting_for(EVERYBODY):
            rows = self._connections.rows(query("credential_find"), {"token_hash": token_hash, "now": now})
        return _credential(*rows[0]) if rows else None

    def touch(self, client_id: ClientId, now: datetime) -> None:
        """Remember the client's last sign of life, at most every 30 s."""
        with translated(), self._connections.connection() as connection:
            connection.execute(query("client_touch"), {"client_id": client_id, "now": now})

    def find_session(self, session_hash: str, now: datetime) -> tuple[Session, Credential] | None:
        """A dashboard session that is open, and what its token opens now, in one statement."""
        with translated(), acting_for(EVERYBODY):
            rows = self._connections.rows(query("session_find"), {"session_hash": session_hash, "now": now})
        if not rows:
            return None
        session, credential = from_row(loads(rows[0][0]), Session), _credential(*rows[0][1:])
        return (session, credential) if credential is not None and session.is_open(now) else None

    def open_session(self, session: Session) -> None:
        """Keep a new session."""
        self._session("session_open", to_row(session))

    def see_session(self, session: Session) -> None:
        """Store its ``seen_at``."""
        self._session("session_see", to_row(session))

    def end_session(self, session_hash: str) -> None:
        """The session is gone."""
        self._session("session_end", {"session_hash": session_hash})

    def _session(self, name: str, values: dict[str, Any]) -> None:
        with translated():
            self._connections.rows(query(name), values)


def _credential(is_admin: bool, client_text: str | None, winding_down: bool) -> Credential | None:
    if is_admin or client_text is None:
        return Credential(client=None, is_admin=True)
    client = from_row(loads(client_text), Client)
    return None if client.status is ClientStatus.DELETED and not winding_down else Credential(client=client)


class Heard:
    """Whether a transaction wrote something that is to be relayed."""

    def __init__(self) -> None:
        self.any = False

    def note(self, events: Sequence[Event]) -> None:
        """These were written."""
        self.any = self.any or any(event.spec.is_heard for event in events)


class PostgresUnitOfWork:
    """One transaction."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self.clients = PostgresClients(connection)
        self.heard = Heard()
        self.agents = PostgresAgents(connection, clock, self.heard)
        self.prices = PostgresPrices(connection)
        self.decisions = PostgresDecisions(connection)
        self.idempotency = PostgresIdempotency(connection)
        self.audit = PostgresAudit(connection, self.heard)
        self.alerts = PostgresAlerts(connection)
        self.notices = PostgresNotices(connection)
        self.models = PostgresModels(connection)
        self.ledger = PostgresLedger(connection)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside alone when it raises."""
        with translated(), self._connection.transaction():
            yield


class PostgresClients:
    """``ClientStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self, client_id: ClientId) -> Client:
        return self._one("client_lock", client_id)

    def get(self, client_id: ClientId) -> Client:
        return self._one("client_get", client_id)

    def _one(self, name: str, client_id: ClientId) -> Client:
        row = self._connection.execute(query(name), {"client_id": client_id}).fetchone()
        if row is None:
            raise NotFound("unknown client")
        return from_row(loads(row[0]), Client)

    def add(self, client: Client) -> None:
        with translated():
            self._connection.execute(query("client_add"), {"row": Jsonb(to_row(client))})

    def put(self, client: Client) -> None:
        with translated():
            written = self._connection.execute(query("client_put"), to_row(client)).rowcount
        if not written:
            raise NotFound("unknown client")  # GR-3

    def add_token(self, token: TokenRecord) -> None:
        values = {
            "token_hash": token.token_hash, "client_id": token.client_id, "hint": token.hint, "sealed": token.sealed,
            "created_at": token.created_at, "expires_at": token.expires_at,
        }  # fmt: skip
        self._connection.execute(query("token_add"), values)

    def end_tokens(self, client_id: ClientId, at: datetime) -> None:
        self._connection.execute(query("tokens_end"), {"client_id": client_id, "at": at})

    def current_token(self, client_id: ClientId) -> TokenRecord | None:
        row = self._connection.execute(query("token_current"), {"client_id": client_id}).fetchone()
        if row is None:
            return None
        names = ("token_hash", "hint", "sealed", "client_id", "created_at", "expires_at")
        return TokenRecord(**dict(zip(names, row, strict=True)))

    def agent_ids(self, client_id: ClientId) -> Sequence[AgentId]:
        return [row[0] for row in self._connection.execute(query("client_agent_ids"), {"client_id": client_id})]

    def purge(self, client_id: ClientId) -> Mapping[str, int]:
        who = {"client_id": client_id}
        with translated():
            answers = self._connection.execute(query("client_answers_purge"), who).rowcount
            self._connection.execute(query("client_prices_disown"), who)
            self._connection.execute(query("client_purging"), who)  # its sealed lines may go now
            tables = [row[0] for row in self._connection.execute(query("client_tables"))]
            erased = self._connection.execute(_erasure(tables), who).fetchone()
        assert erased is not None
        counts = Counter(dict(zip(tables, erased, strict=True)))
        counts["idempotency_keys"] += answers
        return {table: count for table, count in counts.items() if count}


def _erasure(tables: Sequence[str]) -> sql.Composed:
    """One statement over all tables, so that their order does not matter: foreign keys are judged at its end."""
    parts = [(sql.Identifier(f"erased_{table}"), sql.Identifier(table)) for table in tables]
    deletes = sql.SQL(", ").join(
        sql.SQL("{} as (delete from {} where client_id = %(client_id)s returning 1)").format(name, table)
        for name, table in parts
    )
    counts = sql.SQL(", ").join(sql.SQL("(select count(*) from {})").format(name) for name, _ in parts)
    return sql.SQL("with {} select {}").format(deletes, counts)


class PostgresAgents:
    """``AgentStore``."""

    def __init__(self, connection: Connection, clock: Clock, heard: "Heard") -> None:
        self._connection = connection
        self._clock = clock
        self._heard = heard

    def lock(self, client_id: ClientId, agent_id: AgentId, keys: Keys = Keys()) -> Aggregate:
        return self._load(client_id, agent_id, keys, lock=True)

    def get(self, client_id: ClientId, agent_id: AgentId, keys: Keys = Keys()) -> Aggregate:
        return self._load(client_id, agent_id, keys, lock=False)

    def lock_free(
        self, client_id: ClientId, wanted: Mapping[AgentId, Keys], known: Mapping[AgentId, Aggregate] = NOTHING_KNOWN
    ) -> Mapping[AgentId, Aggregate]:
        since = self._clock.now() - KEPT
        held = hold_known(self._connection, client_id, wanted, known, since)
        left = {agent_id: keys for agent_id, keys in wanted.items() if agent_id not in held}
        if not left:
            return held
        values = {
            "client_id": client_id,
            "agent_ids": list(left),
            "since": since,
            "cloud_ids": [name for keys in left.values() for name in keys.cloud_ids],
            "instance_ids": [name for keys in left.values() for name in keys.instance_ids],
            "replica_ids": [name for keys in left.values() for name in keys.replica_ids],
            "command_ids": [name for keys in left.values() for name in keys.command_ids],
        }
        with translated():
            rows = self._connection.execute(query("agents_load_free"), values).fetchall()
        return held | {row[0]: _aggregate(loads(row[1])) for row in rows}

    def _load(self, client_id: ClientId, agent_id: AgentId, keys: Keys, *, lock: bool) -> Aggregate:
        values = {
            "client_id": client_id,
            "agent_id": agent_id,
            "since": self._clock.now() - KEPT,
            "cloud_ids": list(keys.cloud_ids),
            "instance_ids": list(keys.instance_ids),
            "replica_ids": list(keys.replica_ids),
            "command_ids": list(keys.command_ids),
            "lock": lock,
        }
        with translated():
            row = self._connection.execute(query("agent_load"), values).fetchone()
        if row is None or row[0] is None:
            raise NotFound("unknown agent")
        return _aggregate(loads(row[0]))

    def poll(self, client_id: ClientId, agent_id: AgentId) -> PollView:
        who = {"client_id": client_id, "agent_id": agent_id}
        row = self._connection.execute(query("agent_poll"), who).fetchone()
        if row is None:
            raise NotFound("unknown agent")
        return PollView(
            life=Life(row[0]), build=Build(row[1]), able_since_registration=row[2], has_open_commands=row[3],
            revision=row[4],
        )  # fmt: skip

    def exists_elsewhere(self, client_id: ClientId, agent_id: AgentId) -> bool:
        who = {"client_id": client_id, "agent_id": agent_id}
        return bool(self._scalar("agent_exists_elsewhere", who))

    def find_logical(self, client_id: ClientId, logical_agent_id: str) -> AgentId | None:
        values = {"client_id": client_id, "logical_agent_id": logical_agent_id}
        found: AgentId | None = self._scalar("agent_by_logical_id", values)
        return found

    def bindings(self, cloud_id: str) -> Sequence[MachineBinding]:
        names = ("client_id", "agent_id", "instance_id", "cloud_id", "is_terminal", "status", "agent_life")
        rows = self._connection.execute(query("machine_bindings"), {"cloud_id": cloud_id}).fetchall()
        return [MachineBinding(**dict(zip(names, row, strict=True))) for row in rows]

    def find_by_launch(self, client_id: ClientId, token: str) -> AgentId | None:
        found: AgentId | None = self._scalar("agent_by_launch", {"client_id": client_id, "token": token})
        return found

    def find_by_instance(self, client_id: ClientId | None, instance_id: str) -> tuple[ClientId, AgentId] | None:
        values = {
            "client_id": client_id,
            "name": instance_id,
            "placeholder": _tail(instance_id, LAUNCH_PLACEHOLDER),
            "replica": _tail(instance_id, REPLICA_PLACEHOLDER),
        }
        row = self._connection.execute(query("agent_by_instance"), values).fetchone()
        return (row[0], row[1]) if row else None

    def find_owner(self, agent_id: AgentId) -> ClientId | None:
        found: ClientId | None = self._scalar("agent_owner", {"agent_id": agent_id})
        return found

    def count(self, client_id: ClientId) -> tuple[int, int]:
        row = self._connection.execute(query("client_counts"), {"client_id": client_id}).fetchone()
        assert row is not None
        return row[0], row[1]

    def _scalar(self, name: str, values: dict[str, Any]) -> Any:
        row = self._connection.execute(query(name), values).fetchone()
        return row[0] if row else None

    def save(self, *outcomes: Outcome) -> None:
        waiting = [outcome.after.agent.agent_id for outcome in outcomes if _has_fresh_command(outcome)]
        with translated():
            self._connection.execute(query("agents_save"), {"doc": Jsonb(document(outcomes)), "waiting": waiting})
        for outcome in outcomes:
            self._heard.note(outcome.events)

    def due(self, now: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        return self._turns("agents_due", {"now": now, "limit": limit}, after)

    def pressed(self, now: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        return self._turns("agents_pressed", {"now": now, "limit": limit}, after)

    def undecided(self, older_than: datetime, limit: int, after: Turn | None = None) -> Sequence[Turn]:
        return self._turns("agents_undecided", {"older_than": older_than, "limit": limit}, after)

    def _turns(self, name: str, values: Mapping[str, Any], after: Turn | None) -> Sequence[Turn]:
        place = {"since": after.since if after else None, "behind": after.agent_id if after else ""}
        return [Turn(*row) for row in self._connection.execute(query(name), {**values, **place}).fetchall()]

    def put_off(self, turn: Turn, until: datetime) -> None:
        values = {"client_id": turn.client_id, "agent_id": turn.agent_id, "since": turn.since, "until": until}
        self._connection.execute(query("agent_put_off"), values)


def _tail(name: str, prefix: str) -> str | None:
    return name[len(prefix) :] if name.startswith(prefix) else None


def _aggregate(data: dict[str, Any]) -> Aggregate:
    def rows(name: str, kind: type[Any], key: str) -> dict[Any, Any]:
        return {row[key]: from_row(row, kind) for row in data[name] or ()}

    return Aggregate(
        client=from_row(data["client"], Client),
        agent=from_row(data["agent"], Agent),
        instances=rows("instances", Instance, "instance_id"),
        replicas=rows("replicas", Replica, "replica_id"),
        commands=rows("commands", Command, "command_id"),
        incidents=rows("incidents", Incident, "incident_id"),
        switches=rows("switches", Switch, "switch_id"),
        periods=tuple(from_row(row, PrimaryPeriod) for row in data["periods"] or ()),
    )


def _has_fresh_command(outcome: Outcome) -> bool:
    """True when a command is pending now and was not before: waiting agents are told after the commit."""
    known = outcome.before.commands if outcome.before else {}
    return any(
        command.state is CommandState.PENDING
        and (command.command_id not in known or known[command.command_id].state is not CommandState.PENDING)
        for command in outcome.after.commands.values()
    )


class PostgresPrices:
    """``PriceStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, report: PriceReport) -> Sequence[Alert]:
        recorded = None
        with translated(), self._connection.pipeline():
            if report.observations:
                values = {**report_facts(report), "items": Jsonb(spot_rows(report))}
                recorded = self._connection.execute(query("prices_record"), values)
            if report.ondemand:
                values = {**report_facts(report), "items": Jsonb(ondemand_rows(report))}
                self._connection.execute(query("ondemand_record"), values)
        rows = recorded.fetchall() if recorded is not None else []
        return [from_row(loads(row[0]), Alert) for row in rows]

    def market(self, client_id: ClientId, instance_type: str | None, region: str | None, now: datetime) -> Market:
        values = {
            "client_id": client_id,
            "instance_type": instance_type,
            "region": region,
            "fresh_since": now - timedelta(minutes=10),
            "week_ago": now - timedelta(days=7),
            "now": now,
        }
        with translated():
            row = self._connection.execute(query("market"), values).fetchone()
        assert row is not None
        market, listed = _market(loads(row[0])), row[1]
        return market if listed is None else evolve(market, ondemand=OndemandQuote(price=listed, observed_at=now))

    def types(self, family: str, region: str | None) -> Sequence[str]:
        with translated():
            rows = self._connection.execute(query("price_types"), {"family": family, "region": region}).fetchall()
        return [row[0] for row in rows]

    def groups(self, received_since: datetime) -> Sequence[TypeInRegion]:
        with translated():
            rows = self._connection.execute(query("price_groups"), {"received_since": received_since}).fetchall()
        return [(row[0], row[1]) for row in rows]

    def repair(self, group: TypeInRegion, since: datetime) -> int:
        values = {
            **_place(group, since),
            "ranks": Jsonb({source.value: rank for source, rank in prices.RANK.items()}),
            "confidences": Jsonb({source.value: str(one) for source, one in prices.CONFIDENCE.items()}),
        }
        with translated():
            return self._connection.execute(query("buckets_repair"), values).rowcount

    def discrepancies(self, group: TypeInRegion, since: datetime) -> Sequence[tuple[str, datetime]]:
        with translated():
            rows = self._connection.execute(query("buckets_in_doubt"), _place(group, since)).fetchall()
        return [(row[0], row[1]) for row in rows]

    def measured(self, group: TypeInRegion, since: datetime) -> Mapping[str, Mapping[datetime, Decimal]]:
        found: dict[str, dict[datetime, Decimal]] = {}
        with translated():
            for pool_id, start, price in self._connection.execute(query("buckets_measured"), _place(group, since)):
                found.setdefault(pool_id, {})[start] = price
        return found

    def replace_fills(self, group: TypeInRegion, since: datetime, fills: Mapping[str, Sequence[Filled]]) -> int:
        items = [
            {
                "pool_id": pool_id, "bucket_start": row.bucket_start.isoformat(), "price": str(row.price),
                "confidence": str(row.confidence), "method": row.method.value,
            }
            for pool_id, rows in fills.items()
            for row in rows
        ]  # fmt: skip
        with translated():
            row = self._connection.execute(
                query("fills_replace"), {**_place(group, since), "items": Jsonb(items)}
            ).fetchone()
        return int(row[0]) if row else 0

    def last_unflagged_ondemand(
        self, client_id: ClientId, instance_type: str, region: str, now: datetime
    ) -> Decimal | None:
        values = {"instance_type": instance_type, "region": region, "now": now}
        row = self._connection.execute(query("last_unflagged_ondemand"), values).fetchone()
        return row[0] if row else None


def _place(group: TypeInRegion, since: datetime) -> dict[str, Any]:
    return {"instance_type": group[0], "region": group[1], "since": since}


def _market(data: dict[str, Any]) -> Market:
    spot: dict[str, SpotQuote] = {}
    pools: dict[str, PoolRecord] = {}
    for row in data["pools"] or ():
        pool_id = row["pool_id"]
        own, latest = row["own"], row["latest"]
        if own is not None:
            spot[pool_id] = SpotQuote(pool_id=pool_id, price=_number(own["price"]), observed_at=_at(own["observed_at"]))
        elif latest is not None:
            spot[pool_id] = SpotQuote(
                pool_id=pool_id,
                price=_number(latest["price"]),
                observed_at=_at(latest["observed_at"]),
                confidence=_number(latest["confidence"]),
            )
        pools[pool_id] = PoolRecord(
            pool_id=pool_id,
            incidents_7d=row["incidents"],
            first_observed_at=_at(row["first_observed_at"]),
            recent_prices=tuple(_number(price) for price in row["recent"] or ()),
            boot_seconds=_number(row["boot"]["mean"]) if row["boot"]["mean"] is not None else None,
            boot_samples=row["boot"]["samples"],
            own_open_incident=row["own_open"],
            open_incident=row["open"],
        )
    listed = data["ondemand"]
    return Market(
        spot=spot,
        pools=pools,
        ondemand=OndemandQuote(
            price=_number(listed["price"]), observed_at=_at(listed["observed_at"]), flagged=listed["flagged"]
        )
        if listed
        else None,
    )


def _number(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)


def _at(text: str) -> datetime:
    return CONVERTER.structure(text, datetime)


class PostgresDecisions:
    """``DecisionLog``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, record: DecisionRecord) -> None:
        snapshot = record.decision.snapshot
        values = {
            "client_id": snapshot.client_id,
            "decision_id": record.decision_id,
            "agent_id": snapshot.agent_id,
            "made_at": record.made_at,
            "trigger": record.trigger,
            "snapshot_hash": record.snapshot_hash,
            "command_id": record.command_id,
            "body": Jsonb(CONVERTER.unstructure(record.decision)),
        }
        self._connection.execute(query("decision_add"), values)

    def recent(self, client_id: ClientId, agent_id: AgentId, limit: int) -> Sequence[DecisionRecord]:
        values = {"client_id": client_id, "agent_id": agent_id, "limit": limit}
        rows = self._connection.execute(query("decisions_recent"), values).fetchall()
        return [
            DecisionRecord(
                decision_id=row[0],
                made_at=row[1],
                trigger=row[2],
                snapshot_hash=row[3],
                command_id=CommandId(row[4]) if row[4] else None,
                decision=CONVERTER.structure(loads(row[5]), Decision),
            )
            for row in rows
        ]


class PostgresIdempotency:
    """``IdempotencyStore``: the unique row makes a twin wait for the first, at most the lock timeout (ID-4)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, scope: str, key: str, body_hash: str, now: datetime) -> StoredAnswer | None:
        values = {"scope": scope, "key": key, "body_hash": body_hash, "now": now}
        try:
            with self._connection.transaction():
                mine = self._connection.execute(query("idempotency_claim"), values).fetchone()
        except psycopg.errors.LockNotAvailable as failure:
            raise DuplicateRequest("the first call with this key is still running") from failure
        if mine is not None:
            return None
        row = self._connection.execute(query("idempotency_read"), {"scope": scope, "key": key}).fetchone()
        if row is None:
            raise DuplicateRequest("the first call with this key is still running")
        return StoredAnswer(body_hash=row[0], status=row[1], body=bytes(row[2]) if row[2] is not None else None)

    def complete(self, scope: str, key: str, status: int, body: bytes) -> None:
        self._connection.execute(
            query("idempotency_complete"), {"scope": scope, "key": key, "status": status, "body": body}
        )


class PostgresAudit:
    """``AuditLog``."""

    def __init__(self, connection: Connection, heard: Heard) -> None:
        self._connection = connection
        self._heard = heard

    def add(self, events: Sequence[Event]) -> None:
        with translated():
            self._connection.execute(query("events_save"), {"doc": Jsonb(events_document(events))})
        self._heard.note(events)

    def unknown(self, event_ids: Collection[str]) -> frozenset[str]:
        rows = self._connection.execute(query("events_known"), {"event_ids": sorted(event_ids)}).fetchall()
        return frozenset(event_ids) - {row[0] for row in rows}


class PostgresAlerts:
    """``AlertStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, alert: Alert) -> None:
        with translated():
            self._connection.execute(query("alert_add"), {"row": Jsonb(to_row(alert))})

    def of_client(self, client_id: ClientId) -> Sequence[Alert]:
        rows = self._connection.execute(query("alerts_of_client"), {"client_id": client_id}).fetchall()
        return [from_row(loads(row[0]), Alert) for row in rows]

    def fire(self, client_id: ClientId, alert_ids: Sequence[str], now: datetime) -> frozenset[str]:
        values = {"client_id": client_id, "alert_ids": sorted(alert_ids), "now": now, "heard_since": now - QUIET}
        with translated():
            return frozenset(row[0] for row in self._connection.execute(query("alerts_fire"), values).fetchall())


class PostgresNotices:
    """``NoticeStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def mark_read(self, reader: ClientId | None, notification_id: str, now: datetime) -> bool:
        values = {"reader": reader or "", "scope": reader, "notification_id": notification_id, "now": now}
        row = self._connection.execute(query("notice_mark_read"), values).fetchone()
        return bool(row and row[0])

    def mark_all_read(self, reader: ClientId | None, now: datetime, *, of: ClientId | None = None) -> int:
        values = {"reader": reader or "", "scope": reader or of, "now": now, "limit": MARKED_AT_ONCE}
        marked = 0
        while True:
            row = self._connection.execute(query("notice_mark_all_read"), values).fetchone()
            count = int(row[0]) if row else 0
            marked += count
            if count < MARKED_AT_ONCE:
                return marked
