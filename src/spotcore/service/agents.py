"""Agents connect, are configured, and leave: E16…E21, E25…E28."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from attrs import frozen

from spotcore import liveness, modes, registration, retirement, upkeep
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.change import Change, Outcome
from spotcore.config import AgentConfig, ConfigChange
from spotcore.errors import Forbidden, InactiveClient, InstanceOwned, LimitReached, NotFound, SpotError
from spotcore.events import EventKind
from spotcore.ids import AgentId
from spotcore.liveness import Heartbeat, HeartbeatAnswer, observe
from spotcore.ports.storage import Keys, MachineBinding, UnitOfWork
from spotcore.registration import Registration, RegistrationAnswer
from spotcore.service.kernel import Caller, Kernel, Wanted, require_live
from spotcore.steady import Steady, steady_of

MOMENT: Final = timedelta(microseconds=1)


@frozen(kw_only=True)
class ConfigAnswer:
    """The stored settings and their version, from one snapshot (CV-6, MX-12)."""

    agent_id: AgentId
    config: AgentConfig
    config_version: int
    replica_count: int = 0
    revision: int | None = None  # of the agent as it was read; None after a change


@frozen(kw_only=True)
class Presence:
    """E26: an agent that exists; a missing one is ``NotFound``."""

    agent_id: AgentId
    status: str
    enabled: bool
    config_version: int


@frozen(kw_only=True)
class Pulse:
    """A judged heartbeat, and what the next one like it would do: ``steady`` is None when that has to be judged."""

    answer: HeartbeatAnswer
    steady: Steady | None
    next_answer: HeartbeatAnswer | None


@frozen
class Agents:
    """Registration, heartbeats and settings."""

    kernel: Kernel

    def register(self, caller: Caller, wanted: Registration, *, known_only: bool = False) -> RegistrationAnswer:
        """Judge a machine by RG-1…RG-9. Idempotent. ``known_only`` is for suspended clients (Z26).

        Raises ``InstanceOwned``, ``LogicalAgentConflict``, ``LimitReached``, ``InactiveClient``.
        """
        with self.kernel.transactions() as uow:
            answer = self._register(uow, caller, wanted, known_only)
        if isinstance(answer, SpotError):
            raise answer
        return answer

    def _register(
        self, uow: UnitOfWork, caller: Caller, wanted: Registration, known_only: bool
    ) -> RegistrationAnswer | SpotError:
        bindings = uow.agents.bindings(wanted.cloud_id)
        if any(row.client_id != caller.client_id and not row.is_terminal for row in bindings):
            return InstanceOwned("the machine is registered elsewhere")  # RG-9; nothing leaks
        named = uow.agents.find_logical(caller.client_id, wanted.logical_agent_id)
        bound = _binding(bindings, caller, named)
        by_token = uow.agents.find_by_launch(caller.client_id, wanted.launch_token) if wanted.launch_token else None
        agent_id = (bound.agent_id if bound else None) or by_token or named
        keys = Keys(cloud_ids=(wanted.cloud_id,))
        if agent_id is None:
            if known_only:
                return InactiveClient("the client is suspended; only known machines may register")
            return self._first(uow, caller, wanted)

        def rule(change: Change) -> RegistrationAnswer | SpotError:
            if bound is not None and _registered_by_another(change, bound, wanted):
                change.event(
                    EventKind.AGENT_REGISTRATION_FAILED, machine=wanted.cloud_id, reason="it serves under another name"
                )
                return InstanceOwned("the machine is registered elsewhere")
            return registration.register(change, wanted, known_only=known_only)

        return self.kernel.within(uow, caller, agent_id, rule, keys=keys, market=True)

    def _first(self, uow: UnitOfWork, caller: Caller, wanted: Registration) -> RegistrationAnswer | SpotError:
        """RG-1 under the client's lock, so that limits and names are judged once (GR-1)."""
        client = uow.clients.lock(caller.client_id)
        again = uow.agents.find_logical(caller.client_id, wanted.logical_agent_id)
        if again is not None:  # somebody was faster while we waited for the lock
            keys = Keys(cloud_ids=(wanted.cloud_id,))
            return self.kernel.within(
                uow, caller, again, lambda change: registration.register(change, wanted), keys=keys, market=True
            )
        agents, instances = uow.agents.count(caller.client_id)
        if client.max_agents is not None and agents >= client.max_agents:
            return LimitReached(f"the client may have {client.max_agents} agents", limit=client.max_agents)
        if client.max_instances is not None and instances >= client.max_instances:
            return LimitReached(f"the client may have {client.max_instances} instances", limit=client.max_instances)
        now = self.kernel.clock.now()
        market = uow.prices.market(caller.client_id, wanted.instance_type, wanted.region, now)
        agent_id = AgentId(self.kernel.identity.new_id())
        fresh = registration.new_agent(client, agent_id, wanted, now, market.ondemand_price())
        outcome = upkeep.decide(
            fresh, now, lambda change: registration.register_first(change, wanted), actor=caller.actor, market=market,
            new=True,
        )  # fmt: skip
        uow.agents.save(outcome)
        answer: RegistrationAnswer = outcome.answer
        return answer

    def heartbeat(self, caller: Caller, agent_id: AgentId, beat: Heartbeat) -> HeartbeatAnswer:
        """Judge one heartbeat (AG-1…AG-4, Z21, Z23). Raises ``NotFound`` once the agent is deleted."""
        answer: HeartbeatAnswer = self._heard(caller, agent_id, beat).answer
        return answer

    def pulse(self, caller: Caller, agent_id: AgentId, beat: Heartbeat) -> Pulse:
        """As ``heartbeat``; also says whether the next one like it need only be noted."""
        outcome = self._heard(caller, agent_id, beat)
        answer: HeartbeatAnswer = outcome.answer
        again = upkeep.decide(outcome.after, answer.server_time + MOMENT, _rule(beat), actor=caller.actor)
        steady = None if beat.going_offline else steady_of(again, agent_id, upkeep.signs(again.after))
        return Pulse(answer=answer, steady=steady, next_answer=again.answer if steady is not None else None)

    def _heard(self, caller: Caller, agent_id: AgentId, beat: Heartbeat) -> Outcome:
        return self.kernel.outcome(caller, agent_id, _rule(beat), keys=_keys(beat))

    def config(self, caller: Caller, agent_id: AgentId) -> ConfigAnswer:
        """E18. Raises ``NotFound`` unless the agent is live."""
        aggregate = self.kernel.read(caller, agent_id)
        if aggregate.agent.life is not Life.LIVE:
            raise NotFound("unknown agent")
        return ConfigAnswer(
            agent_id=agent_id,
            config=aggregate.agent.config,
            config_version=aggregate.agent.config_version,
            replica_count=1 if aggregate.live_replica else 0,
            revision=aggregate.agent.revision,
        )

    def configure(
        self, caller: Caller, agent_id: AgentId, wanted: ConfigChange, kind: EventKind = EventKind.AGENT_CONFIG_UPDATED
    ) -> ConfigAnswer:
        """E19, E20, E25: one path to every setting (MX-10). Raises ``ValidationFailed``, ``MutuallyExclusive``,
        ``ConfigConflict``."""

        def rule(change: Change) -> ConfigAnswer:
            require_live(change.aggregate)
            modes.apply(change, wanted, kind=kind)
            return ConfigAnswer(
                agent_id=agent_id,
                config=change.agent.config,
                config_version=change.agent.config_version,
                replica_count=1 if change.aggregate.live_replica else 0,
            )

        return self.kernel.run(caller, agent_id, rule, market=True)

    def toggle(self, caller: Caller, agent_id: AgentId, enabled: bool) -> ConfigAnswer:
        """E19."""
        return self.configure(caller, agent_id, ConfigChange(wanted={"enabled": enabled}), EventKind.AGENT_TOGGLED)

    def delete(self, caller: Caller, agent_id: AgentId) -> None:
        """E21 (AG-9). Repeating it changes nothing."""
        self.kernel.run(caller, agent_id, retirement.retire)

    def presence(self, caller: Caller, agent_id: AgentId) -> Presence:
        """E26. Raises ``Forbidden`` for a live agent of another client, because a 404 makes a v4 agent uninstall itself
        (T01); ``NotFound`` only when it never was or is deleted."""
        with self.kernel.transactions() as uow:
            try:
                aggregate = uow.agents.get(caller.client_id, agent_id)
            except NotFound:
                if uow.agents.exists_elsewhere(caller.client_id, agent_id):
                    raise Forbidden("the agent belongs to another client") from None
                raise
        if aggregate.agent.life is Life.DELETED:
            raise NotFound("unknown agent")
        return Presence(
            agent_id=agent_id,
            status=aggregate.display_status().value,
            enabled=aggregate.agent.config.enabled,
            config_version=aggregate.agent.config_version,
        )

    def shutdown(self, caller: Caller, agent_id: AgentId, cloud_id: str | None) -> None:
        """E27. No failover follows (AG-5)."""

        def rule(change: Change) -> None:
            require_live(change.aggregate)
            liveness.shutdown(change, cloud_id)

        self.kernel.run(caller, agent_id, rule, keys=Keys(cloud_ids=(cloud_id,) if cloud_id else ()))

    def cleaned_up(self, caller: Caller, agent_id: AgentId, facts: Mapping[str, Any]) -> None:
        """E76: what the agent tidied away in its account, for the audit log."""

        def rule(change: Change) -> None:
            require_live(change.aggregate)
            observe(change, (Evidence.CLASSIC_CALL,))
            change.event(EventKind.CLEANUP_COMPLETED, **facts)

        self.kernel.run(caller, agent_id, rule)

    def uninstall(self, caller: Caller, cloud_id: str, reason: str | None) -> bool:
        """E28: True when an agent of this client was on that machine."""
        with self.kernel.transactions() as uow:
            found = uow.agents.find_by_instance(caller.client_id, cloud_id)
            if found is None:
                return False
            keys = Keys(cloud_ids=(cloud_id,))
            self.kernel.within(
                uow, caller, found[1], lambda change: liveness.uninstalled(change, cloud_id, reason), keys=keys
            )
        return True


def heard(agent_id: AgentId, beat: Heartbeat, known: Aggregate | None = None) -> Wanted:
    """A heartbeat that may be judged together with others: the answer is a ``HeartbeatAnswer``."""
    return Wanted(agent_id=agent_id, rule=_rule(beat), keys=_keys(beat), known=known)


def _keys(beat: Heartbeat) -> Keys:
    return Keys(cloud_ids=(beat.cloud_id,) if beat.cloud_id else ())


def _rule(beat: Heartbeat) -> Callable[[Change], HeartbeatAnswer]:
    return lambda change: liveness.heartbeat(change, beat)


def _binding(bindings: Sequence[MachineBinding], caller: Caller, named: AgentId | None) -> MachineBinding | None:
    """The row that binds the machine to an agent of this client: a terminal row too, unless its agent is deleted or the
    logical id is another live agent's (matrix preamble)."""
    for row in bindings:
        if row.client_id != caller.client_id or row.agent_life == Life.DELETED.value:
            continue
        if row.is_terminal and named is not None and named != row.agent_id:
            continue
        return row
    return None


def _registered_by_another(change: Change, bound: MachineBinding, wanted: Registration) -> bool:
    """RG-9 inside one client: the machine registered itself under another name. One an agent launched is Z22's."""
    row = change.aggregate.machine(wanted.cloud_id)
    if bound.is_terminal or row is None or change.agent.logical_agent_id == wanted.logical_agent_id:
        return False
    return row.launch_requested_at is None and change.aggregate.replica_on(row.instance_id) is None
