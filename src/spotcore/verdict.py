"""From advice to a decision: the server's own money, every failing guard, and whether it is carried out (4.2, 4.7)."""

from datetime import datetime
from decimal import Decimal

from spotcore import guards
from spotcore.aggregate import Aggregate
from spotcore.decisions import Action, Decision, Snapshot, price_of, target_of
from spotcore.guards import Guard, Purpose, Target
from spotcore.judgement import Advice
from spotcore.market import Market


def decide(aggregate: Aggregate, market: Market, snapshot: Snapshot, advice: Advice, now: datetime) -> Decision:
    """The decision. Always there, also with auto-switch off or a disabled agent; then it is not executed."""
    proposal = advice.proposal
    mode, pool_id = target_of(proposal.action, proposal, snapshot)
    moves = proposal.action is not Action.STAY
    paid = snapshot.current_price
    price = price_of(mode, pool_id, snapshot) if moves else paid
    saves = paid - price if paid is not None and price is not None else None
    percent = saves / paid * 100 if saves is not None and paid else None
    failing: tuple[Guard, ...] = ()
    if moves:
        failing = guards.failing(aggregate, market, Target(mode=mode, pool_id=pool_id), Purpose.AUTO, now)
        if advice.source == "engine" and proposal.confidence < advice.threshold:
            failing = (*failing, Guard.LOW_CONFIDENCE)
    return Decision(
        snapshot=snapshot,
        action=proposal.action,
        target_mode=mode,
        target_pool_id=pool_id,
        risk=proposal.risk,
        confidence=proposal.confidence,
        savings_per_hour=saves if moves else Decimal(0),
        improvement_percent=percent if moves else Decimal(0),
        guards=tuple(guard.value for guard in failing),
        will_auto_execute=moves and not failing and aggregate.agent.is_live,
        reason=proposal.reason,
        engine=advice.engine,
        engine_version=advice.engine_version,
        source=advice.source,
    )
