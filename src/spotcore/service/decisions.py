"""Stay or switch, asked by people (E60, E61), by agents (E62), and by the server itself (Z34)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from spotcore import candidates, decisions, judgement, verdict
from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.change import Change
from spotcore.commands import Origin
from spotcore.decisions import Decision, DecisionRecord
from spotcore.errors import AgentDisabled, AutoSwitchDisabled, NotFound, SpotError, StateConflict, Unavailable
from spotcore.events import CATALOGUE, Event, EventKind
from spotcore.guards import Purpose
from spotcore.ids import AgentId
from spotcore.judgement import Advice
from spotcore.liveness import observe
from spotcore.market import Market
from spotcore.ports.storage import Turn, UnitOfWork
from spotcore.ports.world import Advisor
from spotcore.service.kernel import Caller, Kernel, require_live
from spotcore.service.machines import SwitchOrder, SwitchRequest, order_switch
from spotcore.service.prices import Prices, PriceSheet
from spotcore.switches import SwitchTrigger

DECISION_INTERVAL: Final = timedelta(seconds=300)  # section 9: decision round


@frozen(kw_only=True)
class Recommendation:
    """A decision with what it was made from."""

    decision: Decision
    aggregate: Aggregate
    market: Market
    order: SwitchOrder | None = None
    refusal: str | None = None


@frozen(kw_only=True)
class RoundResult:
    """How many were decided, which could not be (JB-4), and behind whom the next round begins; None: in front."""

    decided: int
    failed: tuple[tuple[AgentId, str], ...] = ()
    after: Turn | None = None


@frozen
class Decisions:
    """Recommendations, and switches that follow from them."""

    kernel: Kernel
    advisor: Advisor | None = None

    def recommend(self, caller: Caller, agent_id: AgentId) -> Recommendation:
        """E60: what would be decided now; no decision is stored, nothing queued. Raises ``NotFound``."""
        with self.kernel.transactions() as uow:
            aggregate = _live(uow, caller, agent_id)
            now = self.kernel.clock.now()
            market = self.kernel.market(uow, aggregate, now)
        decision, advice = self._decide(aggregate, market, now)
        if advice.rejected is not None:
            with self.kernel.transactions() as uow:
                self._audit(uow, aggregate, advice, now)
        return Recommendation(decision=decision, aggregate=aggregate, market=market)

    def decide(
        self,
        caller: Caller,
        agent_id: AgentId,
        sheet: PriceSheet | None = None,
        *,
        trigger: str = "agent",
        waits: bool = True,
    ) -> Recommendation:
        """E62 and the decision round: take the prices, decide, store it, and queue the switch when it will execute. Who
        ``waits`` not gets ``StateConflict`` at once when somebody else holds the agent's row."""
        if sheet is not None:
            with self.kernel.transactions() as uow:
                Prices(self.kernel).record(uow, _live(uow, caller, agent_id), sheet)
        with self.kernel.transactions() as uow:
            aggregate = _live(uow, caller, agent_id)
            now = self.kernel.clock.now()
            market = self.kernel.market(uow, aggregate, now)
        decision, advice = self._decide(aggregate, market, now)  # no lock is held while an engine thinks
        evidence = sheet.evidence if sheet is not None else ()
        with self.kernel.transactions() as uow:
            self._audit(uow, aggregate, advice, now)
            order, refusal = self._carry_out(uow, caller, agent_id, decision, evidence, waits=waits)
            command = order.command if order is not None else None
            uow.decisions.add(
                DecisionRecord(
                    decision_id=self.kernel.identity.new_id(),
                    decision=decision,
                    snapshot_hash=decisions.snapshot_hash(decision.snapshot),
                    made_at=now,
                    trigger=trigger,
                    command_id=command.command_id if command else None,
                )
            )
        return Recommendation(decision=decision, aggregate=aggregate, market=market, order=order, refusal=refusal)

    def _carry_out(
        self,
        uow: UnitOfWork,
        caller: Caller,
        agent_id: AgentId,
        decision: Decision,
        evidence: tuple[Evidence, ...],
        *,
        waits: bool,
    ) -> tuple[SwitchOrder | None, str | None]:
        """The guards again, inside the lock, whatever the recommendation said (4.7)."""

        def rule(change: Change) -> tuple[SwitchOrder | None, str | None]:
            require_live(change.aggregate)
            observe(change, evidence)
            change.set_agent(last_decision_at=change.now)
            if not decision.will_auto_execute or change.client.is_suspended:
                return None, None
            wanted = SwitchRequest(target_mode=decision.target_mode, pool_id=decision.target_pool_id)
            try:
                return order_switch(
                    change, wanted, Purpose.AUTO, _origin(change, decision), SwitchTrigger.AUTO, reason=decision.reason
                ), None
            except SpotError as refusal:  # somebody was faster; nothing has been put yet when a guard refuses
                return None, refusal.message

        needs_market = True if decision.will_auto_execute else None  # else only for what else may be due
        answer = self.kernel.within(uow, caller, agent_id, rule, market=needs_market, waits=waits)
        assert isinstance(answer, tuple)
        return answer

    def issue(self, caller: Caller, agent_id: AgentId, wanted: SwitchRequest, reason: str | None) -> SwitchOrder:
        """E61: an automatic switch somebody asks for. Raises ``AgentDisabled``, ``AutoSwitchDisabled``,
        ``PoolMismatch``, ``SwitchBlocked``, in this order."""

        def rule(change: Change) -> SwitchOrder:
            _require_automatic(change.aggregate)
            risk = candidates.snapshot(change.aggregate, change.market, change.now).current_risk
            urgent = risk is not None and risk > change.agent.config.risk_threshold
            origin = Origin.URGENT_DECISION if urgent else Origin.DECISION
            return order_switch(change, wanted, Purpose.AUTO, origin, SwitchTrigger.AUTO, reason=reason)

        return self.kernel.run(caller, agent_id, rule, market=True)

    def require_issuable(self, caller: Caller, agent_id: AgentId) -> None:
        """Raises what ``issue`` would for the agent alone, whatever is asked for."""
        with self.kernel.transactions() as uow:
            _require_automatic(uow.agents.get(caller.client_id, agent_id))

    def round(
        self, limit: int = 200, after: Turn | None = None, goes_on: Callable[[], bool] = lambda: True
    ) -> RoundResult:
        """Z34: decide for live agents with a primary whose last decision is 300 s old, from behind ``after`` on. After
        each of them ``goes_on`` says whether there is time for another.

        An agent that fails is reported and skipped, one that somebody else holds is skipped (JB-4): who goes on where
        the last round ended gets past both. Raises ``Unavailable`` when it is not one agent but storage that fails."""
        with self.kernel.transactions() as uow:
            due = uow.agents.undecided(self.kernel.clock.now() - DECISION_INTERVAL, limit, after)
        decided = 0
        failed: list[tuple[AgentId, str]] = []
        for turn in due:
            try:
                decided += self._decide_turn(turn)
            except Exception as failure:  # one agent's trouble is never another's
                self._require_storage(failure)
                failed.append((turn.agent_id, f"{type(failure).__name__}: {failure}"))
            after = turn
            if not goes_on():
                break
        else:
            after = after if len(due) == limit else None
        return RoundResult(decided=decided, failed=tuple(failed), after=after)

    def _decide_turn(self, turn: Turn) -> bool:
        caller = Caller(client_id=turn.client_id, actor="system")
        try:
            self.decide(caller, turn.agent_id, trigger="decision_round", waits=False)
        except (NotFound, StateConflict):
            return False  # gone, or busy: the next round sees
        return True

    def _require_storage(self, failure: Exception) -> None:
        """Raises ``Unavailable`` when that is why an agent failed, and the others would."""
        if isinstance(failure, Unavailable):
            with self.kernel.transactions():
                pass

    def _decide(self, aggregate: Aggregate, market: Market, now: datetime) -> tuple[Decision, Advice]:
        """The engine's word when there is one and it makes sense, else the rules' (4.6, Z35)."""
        snapshot = candidates.snapshot(aggregate, market, now)
        if self.advisor is None:
            advice = judgement.fallback(snapshot, reason="no_model")
        else:
            advice = self.advisor.advise(snapshot)
        return verdict.decide(aggregate, market, snapshot, advice, now), advice

    def _audit(self, uow: UnitOfWork, aggregate: Aggregate, advice: Advice, now: datetime) -> None:
        """What went wrong with an engine (4.6): by its kind alone, never its own words (NT-3)."""
        opened = EventKind.MODEL_CIRCUIT_OPENED if advice.circuit_opened else None
        useless = EventKind.MODEL_ALWAYS_FAILED if advice.always_fell_back else None  # failure 89
        kinds = [kind for kind in (advice.rejected, opened, useless) if kind is not None]
        if not kinds:
            return
        uow.audit.add(
            [
                Event(
                    event_id=self.kernel.identity.new_id(),
                    kind=kind,
                    at=now,
                    client_id=aggregate.client.client_id,
                    agent_id=aggregate.agent.agent_id,
                    level=CATALOGUE[kind].audit,
                    facts={"engine": advice.refused_engine},
                )
                for kind in kinds
            ]
        )


def _live(uow: UnitOfWork, caller: Caller, agent_id: AgentId) -> Aggregate:
    aggregate = uow.agents.get(caller.client_id, agent_id)
    require_live(aggregate)
    return aggregate


def _origin(change: Change, decision: Decision) -> Origin:
    risk = decision.snapshot.current_risk
    urgent = risk is not None and risk > change.agent.config.risk_threshold
    return Origin.URGENT_DECISION if urgent else Origin.DECISION


def _require_automatic(aggregate: Aggregate) -> None:
    """Raises ``NotFound``, ``AgentDisabled``, ``AutoSwitchDisabled``, in this order."""
    require_live(aggregate)
    if not aggregate.agent.config.enabled:
        raise AgentDisabled("the agent is disabled; enable it first")
    if not aggregate.agent.config.auto_switch_enabled:
        raise AutoSwitchDisabled("auto-switch is off", auto_switch_enabled=False)
