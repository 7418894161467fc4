"""The frame every use case runs in: lock one agent, decide, save, commit; then answer or refuse."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeVar

from attrs import field, frozen

from spotcore import manual_mode, upkeep
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.change import Change, Outcome
from spotcore.errors import InstanceOwned, NotFound, SpotError, StateConflict, Unavailable
from spotcore.ids import AgentId, ClientId
from spotcore.market import UNKNOWN_MARKET, Market
from spotcore.ports.storage import Keys, Transactions, UnitOfWork
from spotcore.ports.world import Clock, Identity

T = TypeVar("T")
URGENT_TRIES: Final = 3
"""Each waits for the agent's row as long as storage waits for a lock (2 s): longer together than a process that is
frozen keeps it (5 s). An agent may send its notice once in its life (5.5, Z9)."""


@frozen(kw_only=True)
class Caller:
    """Who asks: the acting client, and whether a person, an agent or the operator."""

    client_id: ClientId
    actor: str = "agent"  # agent | client | admin | system


def _no_pool(_: Aggregate) -> None:
    return None


@frozen(kw_only=True)
class Wanted:
    """A rule for one agent that may share its transaction with other agents' rules."""

    agent_id: AgentId
    rule: Callable[[Change], object]
    keys: Keys = Keys()
    facts: Mapping[str, str] = field(factory=dict)  # for every event that comes of it, such as the request's id
    reclaimed: Callable[[Aggregate], str | None] = _no_pool  # where a notice's machine is: that pool runs dry (Z20)
    known: Aggregate | None = None  # as the caller committed it a moment ago: saves reading it while its revision holds


class MarketUnreadable(Unavailable):
    """Prices could not be read; a decision that can do without them is taken again without."""


@frozen(kw_only=True)
class Kernel:
    """Collaborators of every use case."""

    transactions: Transactions
    clock: Clock
    identity: Identity

    def run(
        self,
        caller: Caller,
        agent_id: AgentId,
        rule: Callable[[Change], T | SpotError],
        *,
        keys: Keys = Keys(),
        market: bool | None = None,
        urgent: bool = False,
        waits: bool = True,
    ) -> T:
        """The rule's answer, after its outcome is committed. A refusal the rule returns as a value is committed first
        (its audit row stays), then raised; one it raises rolls everything back.

        ``market`` None loads prices only when a consequence may need them. ``urgent`` uses the emergency reserve. Who
        ``waits`` not gets ``StateConflict`` at once when somebody else holds the agent's row, or there is none."""
        answer: T = self.outcome(caller, agent_id, rule, keys=keys, market=market, urgent=urgent, waits=waits).answer
        return answer

    def outcome(
        self,
        caller: Caller,
        agent_id: AgentId,
        rule: Callable[[Change], T | SpotError],
        *,
        keys: Keys = Keys(),
        market: bool | None = None,
        urgent: bool = False,
        waits: bool = True,
    ) -> Outcome:
        """As ``run``; gives what was decided as a whole."""
        try:
            outcome = self._committed(caller, agent_id, rule, keys=keys, market=market, urgent=urgent, waits=waits)
        except MarketUnreadable:  # nothing was written: once more without prices (5.2)
            outcome = self._committed(caller, agent_id, rule, keys=keys, market=False, urgent=urgent, waits=waits)
        except InstanceOwned:  # a report names a machine of somebody else: as unknown as any other (GR-8)
            raise NotFound("unknown instance") from None
        if isinstance(outcome.answer, SpotError):
            raise outcome.answer
        return outcome

    def _committed(
        self,
        caller: Caller,
        agent_id: AgentId,
        rule: Callable[[Change], T | SpotError],
        *,
        keys: Keys,
        market: bool | None,
        urgent: bool,
        waits: bool,
    ) -> Outcome:
        def once() -> Outcome:
            with self.transactions(urgent=urgent) as uow:
                return self._decided(uow, caller, agent_id, rule, keys=keys, market=market, waits=waits)

        for _ in range(URGENT_TRIES - 1 if urgent and waits else 0):
            with suppress(StateConflict):
                return once()
        return once()

    def together(self, caller: Caller, wanted: Sequence[Wanted], *, market: bool = True) -> Mapping[AgentId, Outcome]:
        """What urgent rules decide for several agents of one client, an agent once at most, committed at once; refusals
        that rules return are among the answers. An agent whose row somebody else holds is missing and waits for its
        lock alone, with ``run``; so is one that is not known under this very id.

        Whatever one of them raises, a missing market included, rolls all of them back. ``market`` False does without
        one."""
        with self.transactions(urgent=True) as uow:
            known = {one.agent_id: one.known for one in wanted if one.known is not None}
            held = uow.agents.lock_free(caller.client_id, {one.agent_id: one.keys for one in wanted}, known)
            now = self.clock.now()
            dry = [pool for one in wanted if (mine := held.get(one.agent_id)) and (pool := one.reclaimed(mine))]
            markets: dict[object, Market] = {}
            outcomes: dict[AgentId, Outcome] = {}
            for one in wanted:
                aggregate = held.get(one.agent_id)
                if aggregate is None:
                    continue
                place = _market_place(aggregate)
                if place not in markets:
                    known_now = self.market(uow, aggregate, now) if market else UNKNOWN_MARKET
                    markets[place] = known_now.troubled(dry)  # Z20: as if each had come first
                outcomes[one.agent_id] = upkeep.decide(
                    aggregate, now, one.rule, actor=caller.actor, market=markets[place], facts=one.facts
                )
            changed = [outcome for outcome in outcomes.values() if outcome.changed]
            if changed:
                uow.agents.save(*changed)
        return outcomes

    def within(
        self,
        uow: UnitOfWork,
        caller: Caller,
        agent_id: AgentId,
        rule: Callable[[Change], T | SpotError],
        *,
        keys: Keys = Keys(),
        market: bool | None = None,
        waits: bool = True,
    ) -> T | SpotError:
        """As ``run`` inside a transaction of the caller's, which also commits."""
        answer: T | SpotError = self._decided(uow, caller, agent_id, rule, keys=keys, market=market, waits=waits).answer
        return answer

    def _decided(
        self,
        uow: UnitOfWork,
        caller: Caller,
        agent_id: AgentId,
        rule: Callable[[Change], T | SpotError],
        *,
        keys: Keys,
        market: bool | None,
        waits: bool,
    ) -> Outcome:
        aggregate = (uow.agents.lock if waits else _free(uow))(caller.client_id, agent_id, keys)
        now = self.clock.now()
        wanted = market if market is not None else may_need_market(aggregate, now)
        known = self.market(uow, aggregate, now) if wanted else UNKNOWN_MARKET
        outcome = upkeep.decide(aggregate, now, rule, actor=caller.actor, market=known)
        if outcome.changed:
            uow.agents.save(outcome)
        return outcome

    def read(self, caller: Caller, agent_id: AgentId, keys: Keys = Keys()) -> Aggregate:
        """The aggregate without a lock, for answers that change nothing. Raises ``NotFound``."""
        with self.transactions() as uow:
            return uow.agents.get(caller.client_id, agent_id, keys)

    def market(self, uow: UnitOfWork, aggregate: Aggregate, now: datetime) -> Market:
        """Prices and records around the agent's machine. Raises ``MarketUnreadable``; the transaction is lost then."""
        try:
            return uow.prices.market(aggregate.client.client_id, *_market_place(aggregate), now)
        except SpotError as failure:
            raise MarketUnreadable("prices cannot be read now") from failure


def _free(uow: UnitOfWork) -> Callable[[ClientId, AgentId, Keys], Aggregate]:
    """Locks an agent's row unless somebody else holds it."""

    def lock(client_id: ClientId, agent_id: AgentId, keys: Keys) -> Aggregate:
        held = uow.agents.lock_free(client_id, {agent_id: keys}).get(agent_id)
        if held is None:
            raise StateConflict("somebody else is changing this; try again")
        return held

    return lock


def _market_place(aggregate: Aggregate) -> tuple[str | None, str | None]:
    """Machine type and region whose prices a decision about the agent may need."""
    primary = aggregate.primary
    return primary.instance_type if primary else _last_type(aggregate), aggregate.agent.region


def _last_type(aggregate: Aggregate) -> str | None:
    rows = [row for row in aggregate.instances.values() if row.instance_type]
    return max(rows, key=lambda row: row.created_at).instance_type if rows else None


def may_need_market(aggregate: Aggregate, now: datetime) -> bool:
    """True when a consequence of any event may launch a machine or move the role."""
    due = aggregate.agent.next_replica_at
    return (
        bool(aggregate.open_incidents)
        or any(row.bound_command_id is not None for row in aggregate.instances.values())
        or (manual_mode.wants_replica(aggregate) and (due is None or now >= due))
    )


def require_live(aggregate: Aggregate) -> None:
    """``NotFound`` unless the agent is live: what a retiring one may still do is Z25."""
    if aggregate.agent.life is not Life.LIVE:
        raise NotFound("unknown agent")


def require_not_deleted(aggregate: Aggregate) -> None:
    """``NotFound`` once the agent is deleted (Z25)."""
    if aggregate.agent.life is Life.DELETED:
        raise NotFound("unknown agent")
