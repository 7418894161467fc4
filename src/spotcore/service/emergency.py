"""Interruption signals: E51…E54, E56's notice form, E58, E59, and the status E57."""

from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from spotcore import emergencies, reports
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.change import NO_FACTS, Change, Outcome
from spotcore.emergencies import Signal, SignalAnswer
from spotcore.errors import NotFound
from spotcore.events import EventKind
from spotcore.ids import AgentId
from spotcore.liveness import go_offline, observe
from spotcore.market import Market
from spotcore.ports.storage import Keys
from spotcore.service.kernel import Caller, Kernel, Wanted, require_live


@frozen(kw_only=True)
class Situation:
    """An agent and the market around it, as read just now."""

    aggregate: Aggregate
    market: Market


@frozen
class Emergency:
    """The path that must work when nothing else does: one transaction on storage, no model, no queue (5.2)."""

    kernel: Kernel

    def signal(
        self, caller: Caller, agent_id: AgentId, notice: Signal, evidence: tuple[Evidence, ...] = ()
    ) -> SignalAnswer:
        """Judge a notice and do what it asks before answering. Raises ``NotFound`` for an unknown agent alone, and for
        one being deleted, whose notice is recorded (EM-17)."""
        keys = _keys(notice)
        return self.kernel.run(caller, agent_id, _rule(notice, evidence), keys=keys, market=True, urgent=True)

    def together(self, caller: Caller, calls: Sequence[Wanted]) -> Mapping[AgentId, Outcome]:
        """What comes of a ``noticed`` or ``heard`` each of several agents of one client, in one transaction, an agent
        once at most. Missing are those that only ``signal`` or ``heartbeat`` can answer: unknown ones, and those that
        are being changed at this moment. When it raises, nothing has happened to any of them."""
        return self.kernel.together(caller, calls)

    def situation(self, caller: Caller, agent_id: AgentId) -> Situation:
        """What E53's advice is drawn from: read over the emergency reserve, no engine asked. Raises ``NotFound``."""
        with self.kernel.transactions(urgent=True) as uow:
            aggregate = uow.agents.get(caller.client_id, agent_id)
            return Situation(aggregate=aggregate, market=self.kernel.market(uow, aggregate, self.kernel.clock.now()))

    def ended(self, caller: Caller, agent_id: AgentId, cloud_id: str | None, reason: str) -> None:
        """E54, after the fact: the primary by default (IN-26), else the named machine is gone. Raises ``NotFound``."""

        def rule(change: Change) -> None:
            require_live(change.aggregate)
            machine = change.aggregate.machine(cloud_id) if cloud_id else change.aggregate.primary
            if machine is None:
                raise NotFound("unknown instance")
            change.event(EventKind.INSTANCE_TERMINATED, instance=machine, reason=reason)
            if machine.is_primary:
                go_offline(change, "its machine was reported ended")
            reports.machine_ended(change, machine)
            change.tell_once(
                EventKind.INSTANCE_TERMINATED, EventKind.INSTANCE_TERMINATION_CONFIRMED, about=machine.instance_id
            )

        keys = Keys(cloud_ids=(cloud_id,) if cloud_id else ())
        self.kernel.run(caller, agent_id, rule, keys=keys, market=True, urgent=True)


def noticed(
    agent_id: AgentId,
    notice: Signal,
    evidence: tuple[Evidence, ...] = (),
    facts: Mapping[str, str] = NO_FACTS,
    known: Aggregate | None = None,
) -> Wanted:
    """A notice that may be judged together with others: the answer is a ``SignalAnswer``, or the ``NotFound`` of an
    agent that is being deleted, whose notice is recorded (EM-17). ``facts`` go with every event that comes of it."""
    return Wanted(
        agent_id=agent_id, rule=_rule(notice, evidence), keys=_keys(notice), facts=facts, known=known,
        reclaimed=_reclaimed(notice),
    )  # fmt: skip


def _reclaimed(notice: Signal) -> Callable[[Aggregate], str | None]:
    def pool(aggregate: Aggregate) -> str | None:
        machine = aggregate.machine(notice.cloud_id) if notice.cloud_id else aggregate.primary
        return machine.pool_id if machine is not None and not machine.is_terminal else None

    return pool


def _rule(notice: Signal, evidence: tuple[Evidence, ...]) -> Callable[[Change], SignalAnswer | NotFound]:
    def rule(change: Change) -> SignalAnswer | NotFound:
        if change.agent.life is not Life.LIVE:
            change.event(EventKind.NOTICE_ON_STANDBY, machine=notice.cloud_id, severity=notice.severity.value)
            return NotFound("unknown agent")
        observe(change, evidence)
        return emergencies.signal(change, notice)

    return rule


def _keys(notice: Signal) -> Keys:
    return Keys(
        cloud_ids=(notice.cloud_id,) if notice.cloud_id else (),
        replica_ids=(notice.replica_id,) if notice.replica_id else (),
    )
