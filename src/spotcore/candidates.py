"""Which pools a workload could move to (4.4), and the snapshot an engine is shown (4.1)."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from spotcore import risk
from spotcore.aggregate import Aggregate
from spotcore.decisions import Candidate, Snapshot
from spotcore.market import Market
from spotcore.pools import Mode, parse_pool


def eligible(aggregate: Aggregate, market: Market, now: datetime) -> tuple[Candidate, ...]:
    """Pools of the same type and region with a fresh measured price, best first.

    Preferred zones break ties only: lower price, then preferred, then lower risk, then pool id (4.4).
    """
    preferred = aggregate.agent.config.preferred_azs
    return tuple(
        sorted(
            _candidates(aggregate, market, now),
            key=lambda one: (one.price, one.az not in preferred, one.risk, one.pool_id),
        )
    )


def _candidates(aggregate: Aggregate, market: Market, now: datetime) -> Iterable[Candidate]:
    primary = aggregate.primary
    if primary is None:
        return
    excluded = set(aggregate.agent.config.excluded_pools)
    if primary.pool_id is not None:
        excluded.add(primary.pool_id)
    for pool_id, quote in market.spot.items():
        pool = parse_pool(pool_id)
        record = market.pools.get(pool_id)
        if pool_id in excluded or pool.instance_type != primary.instance_type or not quote.is_fresh(now):
            continue
        if aggregate.agent.region is not None and pool.region != aggregate.agent.region:
            continue
        if record is not None and record.own_open_incident:
            continue
        if aggregate.agent.abilities.own_zone_only and pool.az != primary.az:
            continue  # Z28
        judged = risk.pool_risk(record, now)
        yield Candidate(
            pool_id=pool_id,
            az=pool.az,
            price=quote.price,
            observed_at=quote.observed_at,
            risk=judged.score,
            risk_flags=judged.flags,
        )


def current_price(aggregate: Aggregate, market: Market, now: datetime) -> Decimal | None:
    """What the primary pays now, $/h, as a basis of decisions: None when unknown, stale or flagged (FB-1, DQ-8)."""
    primary = aggregate.primary
    if primary is None:
        return None
    match primary.mode:
        case Mode.SPOT:
            quote = market.spot.get(primary.pool_id) if primary.pool_id else None
            return quote.price if quote is not None and quote.is_fresh(now) else None
        case Mode.ONDEMAND:
            return market.ondemand_price()
        case Mode.UNKNOWN:
            return None


def snapshot(aggregate: Aggregate, market: Market, now: datetime) -> Snapshot:
    """Everything a decision may depend on, as one frozen value."""
    primary, config = aggregate.primary, aggregate.agent.config
    judged = risk.current(aggregate, market, now)
    return Snapshot(
        client_id=aggregate.client.client_id,
        agent_id=aggregate.agent.agent_id,
        taken_at=now,
        instance_id=primary.cloud_id if primary else None,
        instance_type=primary.instance_type if primary else None,
        region=aggregate.agent.region,
        current_mode=primary.mode if primary else Mode.UNKNOWN,
        current_pool_id=primary.pool_id if primary else None,
        current_price=current_price(aggregate, market, now),
        ondemand_price=market.ondemand_price(),
        current_risk=judged.score if judged else None,
        current_risk_flags=judged.flags if judged else (),
        candidates=eligible(aggregate, market, now),
        min_savings_percent=config.min_savings_percent,
        risk_threshold=config.risk_threshold,
        preferred_azs=config.preferred_azs,
    )
