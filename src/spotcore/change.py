"""A change in the making: the aggregate as it will be, and the events that say why.

Rules are functions that take a ``Change`` and move it on; ``upkeep.decide`` runs one and seals it. From outside every
decision is a pure function ``(aggregate, input, now) → Outcome``: a Change lives inside one decision only.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, frozen

from spotcore.agents import Agent
from spotcore.aggregate import Aggregate, check, differs_in_signs_alone
from spotcore.clients import Client
from spotcore.commands import Command
from spotcore.errors import InvariantViolated
from spotcore.events import CATALOGUE, TOLD_BY, Event, EventKind, Level
from spotcore.ids import CommandId, InstanceId, derived_id
from spotcore.incidents import Incident
from spotcore.instances import Instance
from spotcore.instants import require_utc
from spotcore.market import UNKNOWN_MARKET, Market
from spotcore.replicas import Replica
from spotcore.switches import PrimaryPeriod, Switch

NO_FACTS: Final[Mapping[str, str]] = MappingProxyType({})


@frozen(kw_only=True)
class Outcome:
    """What a decision makes of an aggregate. Storage writes exactly the rows that differ, and the events."""

    before: Aggregate | None  # None: the agent is new
    after: Aggregate
    events: tuple[Event, ...] = ()
    answer: Any = None

    @property
    def changed(self) -> bool:
        """False when there is nothing to write."""
        return self.before is not self.after or bool(self.events)


class Change:
    """One decision at work. Not thread-safe, not kept."""

    def __init__(
        self,
        aggregate: Aggregate,
        now: datetime,
        *,
        actor: str = "system",
        market: Market = UNKNOWN_MARKET,
        new: bool = False,
        facts: Mapping[str, str] = NO_FACTS,
    ) -> None:
        self.before = None if new else aggregate
        self.now = require_utc(now)
        self.actor = actor
        self.market = market
        self._facts = facts  # of every event
        self.aggregate = aggregate
        self._sequence = aggregate.agent.sequence  # of ids; written back once, by ``seal``
        self.events: list[Event] = []
        self.time_served = False
        self.deaf_until: datetime | None = None  # silence up to then says nothing about who is silent

    @property
    def agent(self) -> Agent:
        """The agent as it will be."""
        return self.aggregate.agent

    @property
    def client(self) -> Client:
        """The client as it will be; only its legacy savings total ever differs."""
        return self.aggregate.client

    def new_id(self) -> str:
        """A fresh id, derived from the agent's counter (see ids.py)."""
        self._sequence += 1
        return derived_id(self.agent.agent_id, self._sequence)

    def set_agent(self, **facts: Any) -> None:
        """Move facts of the agent on."""
        moved = {name: value for name, value in facts.items() if getattr(self.agent, name) != value}
        if moved:
            self.aggregate = evolve(self.aggregate, agent=evolve(self.agent, **moved))

    def set_client(self, **facts: Any) -> None:
        """Move facts of the client on."""
        self.aggregate = evolve(self.aggregate, client=evolve(self.client, **facts))

    def put(self, *rows: Instance | Replica | Command | Incident | Switch) -> None:
        """Add or replace rows."""
        for row in rows:
            name, key = _HOME[type(row)]
            rows_before: Mapping[Any, Any] = getattr(self.aggregate, name)
            if rows_before.get(key(row)) != row:
                changed: dict[str, Any] = {name: {**rows_before, key(row): row}}
                self.aggregate = evolve(self.aggregate, **changed)

    def set_periods(self, periods: tuple[PrimaryPeriod, ...]) -> None:
        """Replace the primary periods; roles.py is the only caller."""
        self.aggregate = evolve(self.aggregate, periods=periods)

    def event(
        self, kind: EventKind, *, instance: Instance | None = None, level: Level | None = None, **facts: Any
    ) -> Event:
        """Record that something happened, with the facts people and machines will want."""
        if instance is not None:
            facts.setdefault("machine", instance.cloud_id)
        happened = Event(
            event_id=self.new_id(),
            kind=kind,
            at=self.now,
            client_id=self.agent.client_id,
            agent_id=self.agent.agent_id,
            instance_id=instance.instance_id if instance else None,
            actor=self.actor,
            level=level or CATALOGUE[kind].audit,
            facts={"logical_agent_id": self.agent.logical_agent_id, **facts, **self._facts},
        )
        self.events.append(happened)
        return happened

    def tell_once(self, teller: EventKind, *kinds: EventKind, about: CommandId | InstanceId) -> None:
        """The events of those kinds about one command or machine stay in the audit log; people hear of their cause from
        ``teller`` alone (http-api 12.1: one notification per cause)."""
        self.events = [
            evolve(event, facts={**event.facts, TOLD_BY: teller.value})
            if event.kind in kinds and about in (event.facts.get("command_id"), event.instance_id)
            else event
            for event in self.events
        ]

    def seal(self, answer: Any, due_at: datetime | None) -> Outcome:
        """The decision as a value, its invariants checked (GR-2) and its config version judged (I6)."""
        is_served = self.time_served and due_at != self.agent.due_at  # else it would come up again at once
        if self.aggregate is not self.before or self._sequence != self.agent.sequence or is_served:
            self.set_agent(due_at=due_at, sequence=self._sequence)
            if self.events or self.before is None or not differs_in_signs_alone(self.before, self.aggregate):
                self.set_agent(revision=self.agent.revision + 1)
            check(self.aggregate)
            _check_version(self.before, self.aggregate)
        return Outcome(before=self.before, after=self.aggregate, events=tuple(self.events), answer=answer)


def _check_version(before: Aggregate | None, after: Aggregate) -> None:
    if before is None:
        return
    step = after.agent.config_version - before.agent.config_version
    if step != (after.agent.config != before.agent.config):
        raise InvariantViolated("I6: the config version grows by exactly one per effective change")


_HOME: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    Instance: ("instances", lambda row: row.instance_id),
    Replica: ("replicas", lambda row: row.replica_id),
    Command: ("commands", lambda row: row.command_id),
    Incident: ("incidents", lambda row: row.incident_id),
    Switch: ("switches", lambda row: row.switch_id),
}
