"""Clients and their tokens: E10…E14 and the operator's life-cycle commands (1.1)."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import asdict, evolve, frozen

from spotcore import clients, modes, retirement, upkeep
from spotcore.agents import Life
from spotcore.change import Change
from spotcore.clients import Client, ClientStatus, Defaults
from spotcore.commands import CommandState, Origin
from spotcore.config import ConfigChange
from spotcore.dispatch import WINDING_DOWN, cancel
from spotcore.errors import NotFound, ValidationFailed
from spotcore.events import CATALOGUE, Event, EventKind
from spotcore.ids import AgentId, ClientId
from spotcore.ports.storage import TokenRecord, UnitOfWork
from spotcore.service.kernel import Caller, Kernel


@frozen(kw_only=True)
class IssuedToken:
    """A clear token, shown once."""

    client: Client
    token: str


@frozen(kw_only=True)
class TokenView:
    """E13: the clear token when read-back is on and this server's key opens it, else None; and its last characters."""

    client: Client
    token: str | None
    hint: str


@frozen
class Clients:
    """Tenants, their tokens, limits and new-agent defaults."""

    kernel: Kernel

    def create(self, name: str, email: str | None = None, *, actor: str = "admin") -> IssuedToken:
        """E10. Raises ``ValidationFailed``, ``ClientExists``, ``DuplicateEmail``."""
        now = self.kernel.clock.now()
        client = Client(
            client_id=ClientId(self.kernel.identity.new_id()),
            name=clients.valid_name(name),
            email=clients.valid_email(email),
            created_at=now,
        )
        with self.kernel.transactions() as uow:
            uow.clients.add(client)
            token = self._issue(uow, client.client_id, now)
            uow.audit.add([self._event(EventKind.CLIENT_CREATED, client, now, actor, name=client.name)])
        return IssuedToken(client=client, token=token)

    def rotate(self, client_id: ClientId, grace: timedelta = timedelta(0), *, actor: str = "admin") -> IssuedToken:
        """E12: a new token; the old ones end now, or after ``grace`` of at most a day (CL-3)."""
        if not timedelta(0) <= grace <= clients.MAX_GRACE:
            raise ValidationFailed("grace out of range", grace_seconds=["use 0 to 86400"])
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            client = self._existing(uow, client_id)
            uow.clients.end_tokens(client_id, now + grace)
            token = self._issue(uow, client_id, now)
            ends = (now + grace).isoformat(timespec="seconds") if grace else "now"
            uow.audit.add([self._event(EventKind.TOKEN_REGENERATED, client, now, actor, old_token_ends=ends)])
        return IssuedToken(client=client, token=token)

    def read_token(self, client_id: ClientId, *, actor: str = "admin") -> TokenView:
        """E13, audited at every read (CL-2)."""
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            client = self._existing(uow, client_id)
            record = uow.clients.current_token(client_id)
            uow.audit.add([self._event(EventKind.TOKEN_VIEWED, client, now, actor)])
        if record is None:
            raise NotFound("the client has no token; issue one by rotating")
        clear = self.kernel.identity.unseal(record.sealed) if record.sealed is not None else None
        return TokenView(client=client, token=clear, hint=record.hint)

    def delete(self, client_id: ClientId, *, actor: str = "admin") -> Client:
        """E11, soft (CL-6): agents are retired one transaction each; repeating it finishes what was interrupted."""
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            before = uow.clients.lock(client_id)
            client = clients.moved(before, ClientStatus.DELETED, now)
            if client is not before:
                uow.clients.put(client)
                uow.audit.add([self._event(EventKind.CLIENT_DELETED, client, now, actor)])
        self._each_agent(client_id, actor, retirement.retire)
        return client

    def suspend(self, client_id: ClientId, *, actor: str = "admin") -> Client:
        """CL-5: optimisation stops, what an emergency needs goes on. Operator CLI alone."""
        client = self._move(client_id, ClientStatus.SUSPENDED, EventKind.CLIENT_SUSPENDED, actor)
        self._each_agent(client_id, actor, _cancel_planned)
        return client

    def resume(self, client_id: ClientId, *, actor: str = "admin") -> Client:
        """The way back from ``suspend``; what waited for it is caught up at once."""
        client = self._move(client_id, ClientStatus.ACTIVE, EventKind.CLIENT_RESUMED, actor)
        self._each_agent(client_id, actor, upkeep.pass_time)
        return client

    def limit(
        self, client_id: ClientId, *, max_agents: int | None, max_instances: int | None, actor: str = "admin"
    ) -> Client:
        """CL-4: registrations beyond a limit are refused; None lifts it. Operator CLI alone."""
        return self._change(
            client_id, lambda client: clients.limited(client, max_agents, max_instances), EventKind.CLIENT_LIMITED,
            actor, max_agents=max_agents, max_instances=max_instances,
        )  # fmt: skip

    def set_defaults(self, client_id: ClientId, wanted: Defaults, *, actor: str = "admin") -> Client:
        """CV-9: how future agents start; those that are there stay as they are. Operator CLI alone."""
        chosen = {name: value for name, value in asdict(wanted).items() if value is not None}
        return self._change(
            client_id, lambda client: clients.with_defaults(client, wanted), EventKind.CLIENT_DEFAULTS_CHANGED, actor,
            **chosen,
        )  # fmt: skip

    def apply_defaults(self, client_id: ClientId, *, actor: str = "admin") -> tuple[AgentId, ...]:
        """CV-9, "apply to all": the agents really changed, +1 on the version of each, one transaction each."""
        with self.kernel.transactions() as uow:
            client = self._existing(uow, client_id)
        wanted = ConfigChange(wanted=clients.agent_settings(client))
        reached: list[AgentId] = []

        def rule(change: Change) -> None:
            before = change.agent.config
            if change.agent.life is Life.LIVE and modes.apply(change, wanted) is not before:
                reached.append(change.agent.agent_id)

        self._each_agent(client_id, actor, rule)
        return tuple(reached)

    def purge(self, client_id: ClientId, typed_name: str, *, actor: str = "admin") -> Mapping[str, int]:
        """CL-6: erase everything of a deleted client in one transaction; how many rows of each kind went.

        One audit row stays, of the operator's and with no more than the opaque id. Raises ``ValidationFailed`` unless
        the client's name is typed exactly, ``StateConflict`` while it is not deleted or agents wind down."""
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            client = uow.clients.lock(client_id)
            clients.require_purgeable(client, typed_name, len(uow.clients.agent_ids(client_id)))
            erased = uow.clients.purge(client_id)
            row = self._event(EventKind.CLIENT_PURGED, client, now, actor, purged=client_id, rows=sum(erased.values()))
            uow.audit.add([evolve(row, client_id=None)])
        return erased

    def get(self, client_id: ClientId) -> Client:
        """The client, deleted ones too. Raises ``NotFound``."""
        with self.kernel.transactions() as uow:
            return uow.clients.get(client_id)

    def seen(self, client_id: ClientId) -> Client:
        """The client as people see it. Raises ``NotFound`` for one that is unknown or deleted (CL-6)."""
        client = self.get(client_id)
        if client.status is ClientStatus.DELETED:
            raise NotFound("unknown client")
        return client

    def _move(self, client_id: ClientId, status: ClientStatus, kind: EventKind, actor: str) -> Client:
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            before = uow.clients.lock(client_id)
            client = clients.moved(before, status, now)
            if client is not before:
                uow.clients.put(client)
                uow.audit.add([self._event(kind, client, now, actor)])
        return client

    def _change(
        self, client_id: ClientId, rule: Callable[[Client], Client], kind: EventKind, actor: str, **facts: Any
    ) -> Client:
        now = self.kernel.clock.now()
        with self.kernel.transactions() as uow:
            before = self._existing(uow, client_id)
            client = rule(before)
            if client != before:
                uow.clients.put(client)
                uow.audit.add([self._event(kind, client, now, actor, **facts)])
        return client

    def _each_agent(self, client_id: ClientId, actor: str, rule: Any) -> None:
        with self.kernel.transactions() as uow:
            agent_ids = list(uow.clients.agent_ids(client_id))
        caller = Caller(client_id=client_id, actor=actor)
        for agent_id in agent_ids:
            self._one_agent(caller, agent_id, rule)

    def _one_agent(self, caller: Caller, agent_id: AgentId, rule: Any) -> None:
        try:
            self.kernel.run(caller, agent_id, rule)
        except NotFound:
            return  # deleted in between

    def _existing(self, uow: UnitOfWork, client_id: ClientId) -> Client:
        client = uow.clients.lock(client_id)
        if client.status is ClientStatus.DELETED:
            raise NotFound("unknown client")
        return client

    def _issue(self, uow: UnitOfWork, client_id: ClientId, now: datetime) -> str:
        token = self.kernel.identity.new_token()
        uow.clients.add_token(
            TokenRecord(
                token_hash=self.kernel.identity.hash_token(token),
                hint=token[-4:],
                sealed=self.kernel.identity.seal(token),
                client_id=client_id,
                created_at=now,
            )
        )
        return token

    def _event(self, kind: EventKind, client: Client, now: datetime, actor: str, **facts: Any) -> Event:
        return Event(
            event_id=self.kernel.identity.new_id(),
            kind=kind,
            at=now,
            client_id=client.client_id,
            actor=actor,
            level=CATALOGUE[kind].audit,
            facts=facts,
        )


def _cancel_planned(change: Change) -> None:
    """What no agent has fetched yet; what is being done finishes (CL-5)."""
    for command in change.aggregate.open_commands:
        planned = command.origin is not Origin.EMERGENCY and command.kind not in WINDING_DOWN
        if planned and command.state is CommandState.PENDING:
            cancel(change, command, "the client was suspended")
