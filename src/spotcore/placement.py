"""Where a new machine goes: safest, fastest to boot or cheapest, and by which means (5.3, 5.4, MR-1, Z20, Z28, Z29)."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from spotcore import risk
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.errors import NotFound
from spotcore.market import Market
from spotcore.pools import Mode, Pool, parse_pool, pool_of

BOOT_SAMPLES: Final = 3  # 5.4: fewer say nothing
_LAST: Final = Decimal(10) ** 9


class Via(StrEnum):
    """How a build is asked for a machine."""

    REPLICA_LIST = "replica_list"  # v4c finds it in its list (Z29)
    LAUNCH_COMMAND = "launch_command"  # v5
    SWITCH_COMMAND = "switch_command"  # classic
    NOTHING = "nothing"  # the build cannot (Z27), or there is nowhere to go


@frozen(kw_only=True)
class Placement:
    """A place for a machine. ``pool_id`` None is on-demand; ``price`` is $/h, None when unknown (MR-9)."""

    mode: Mode
    pool_id: str | None
    az: str | None
    instance_type: str | None
    via: Via
    price: Decimal | None = None
    same_pool: bool = False


@frozen
class _Choice:
    pool: Pool
    risk: Decimal
    price: Decimal | None
    boot: Decimal | None
    other_az: bool
    preferred: bool
    troubled: bool


Order = Callable[[_Choice], tuple[Any, ...]]


def _safest(one: _Choice) -> tuple[Any, ...]:
    """Lowest risk, then another zone, then price with unknown last (5.3, Z20)."""
    return (not one.preferred, not one.other_az, one.risk, _priced(one), one.pool.pool_id)


def _fastest(one: _Choice) -> tuple[Any, ...]:
    """Shortest mean boot time where it is known, else the safest (5.4)."""
    return (not one.preferred, one.boot if one.boot is not None else _LAST, *_safest(one)[1:])


def _cheapest(one: _Choice) -> tuple[Any, ...]:
    """Lowest price, unknown last, then risk (MR-1, MR-9)."""
    return (_priced(one), one.risk, one.pool.pool_id)


def _priced(one: _Choice) -> Decimal:
    return one.price if one.price is not None else _LAST


def _choices(aggregate: Aggregate, market: Market, now: datetime, preferred_zones: Sequence[str] = ()) -> list[_Choice]:
    """Every pool of the type and region that is known, the primary's own zone and pool included."""
    machine = _model(aggregate)
    if machine is None or machine[0] is None:
        return []
    instance_type, own_az = machine
    known = {parse_pool(pool_id) for pool_id in (*market.pools, *market.spot)}
    own = pool_of(instance_type, own_az)
    if own is not None:
        known.add(own)
    reclaimed = _reclaimed(aggregate, now)
    found = []
    for pool in sorted(known):
        if pool.instance_type != instance_type or (aggregate.agent.region and pool.region != aggregate.agent.region):
            continue
        record, quote = market.pools.get(pool.pool_id), market.spot.get(pool.pool_id)
        found.append(
            _Choice(
                pool=pool,
                risk=risk.pool_risk(record, now).score,
                price=quote.price if quote else None,
                boot=record.boot_seconds if record and record.boot_samples >= BOOT_SAMPLES else None,
                other_az=pool.az != own_az,
                preferred=not preferred_zones or pool.az in preferred_zones,
                troubled=pool.pool_id in reclaimed
                or bool(record and (record.own_open_incident or record.open_incident)),
            )
        )
    return found


def _reclaimed(aggregate: Aggregate, now: datetime) -> set[str | None]:
    """Pools that AWS takes the agent's machines back from, the replica's too (Z20): the market may be older."""
    noticed = {row.pool_id for row in aggregate.instances.values() if row.notice_protects(now)}
    return noticed | {incident.pool_id for incident in aggregate.open_incidents}


def _model(aggregate: Aggregate) -> tuple[str | None, str | None] | None:
    """Type and zone of the primary (RP-13), or of the last machine that served when there is none."""
    if aggregate.primary is not None:
        return aggregate.primary.instance_type, aggregate.primary.az
    served = [aggregate.instances.get(period.instance_id) for period in reversed(aggregate.periods)]
    last = next((row for row in served if row is not None), None)
    return (last.instance_type, last.az) if last is not None else None


def _replica_via(aggregate: Aggregate) -> Via:
    abilities = aggregate.agent.abilities
    if not abilities.can_launch_replica:
        return Via.NOTHING
    return Via.LAUNCH_COMMAND if abilities.modern else Via.REPLICA_LIST


def _spot(aggregate: Aggregate, one: _Choice, *, same_pool: bool = False) -> Placement:
    return Placement(
        mode=Mode.SPOT,
        pool_id=one.pool.pool_id,
        az=one.pool.az,
        instance_type=one.pool.instance_type,
        via=_replica_via(aggregate),
        price=one.price,
        same_pool=same_pool,
    )


def ondemand(aggregate: Aggregate) -> Placement:
    """On-demand in the primary's zone: a ``switch`` for a classic agent (Z29), a launch for a modern one."""
    abilities = aggregate.agent.abilities
    via = Via.LAUNCH_COMMAND if abilities.modern else Via.SWITCH_COMMAND
    instance_type, az = _model(aggregate) or (None, None)
    return Placement(
        mode=Mode.ONDEMAND, pool_id=None, az=az, instance_type=instance_type,
        via=via if abilities.can_switch else Via.NOTHING,
    )  # fmt: skip


def require_known(aggregate: Aggregate, market: Market, pool: Pool) -> None:
    """``NotFound`` for a pool that nobody has ever reported, the workload's own apart."""
    own = aggregate.primary.pool_id if aggregate.primary is not None else None
    if market.known and pool.pool_id not in market.pools and pool.pool_id != own:
        raise NotFound("unknown pool")


def in_pool(aggregate: Aggregate, market: Market, pool: Pool, now: datetime, *, for_switch: bool = False) -> Placement:
    """A pool somebody named, for a replica or (``for_switch``) for the workload itself."""
    classic_switch = for_switch and not aggregate.agent.abilities.modern
    return Placement(
        mode=Mode.SPOT,
        pool_id=pool.pool_id,
        az=pool.az,
        instance_type=pool.instance_type,
        via=Via.SWITCH_COMMAND if classic_switch else _replica_via(aggregate),
        price=market.spot_price(pool.pool_id, now),
    )


def observed(aggregate: Aggregate, instance_type: str | None, az: str | None) -> Placement:
    """Where a machine that an agent has launched by itself stands, as far as it says (E45)."""
    model_type, model_az = _model(aggregate) or (None, None)
    pool = pool_of(instance_type or model_type, az or model_az)
    return Placement(
        mode=Mode.SPOT,
        pool_id=pool.pool_id if pool else None,
        az=az or model_az,
        instance_type=instance_type or model_type,
        via=Via.REPLICA_LIST,
    )


def _emergency(
    aggregate: Aggregate,
    market: Market,
    now: datetime,
    order: Order,
    *,
    exclude: Sequence[str],
    exclude_zones: Sequence[str],
    preferred_zones: Sequence[str],
    ondemand_only: bool,
) -> Placement:
    """Z20: never the pool being reclaimed, nor one in trouble; on-demand when none is left. A disabled classic agent
    fetches no commands, so that on-demand cannot reach it: then the best remaining pool (Z24)."""
    agent = aggregate.agent
    if not agent.abilities.can_launch_replica:
        return Placement(mode=Mode.SPOT, pool_id=None, az=None, instance_type=None, via=Via.NOTHING)
    if agent.abilities.own_zone_only:
        return ondemand(aggregate)  # Z28: the same-zone pool is the one being reclaimed
    own_pool = aggregate.primary.pool_id if aggregate.primary else None
    choices = [one for one in _choices(aggregate, market, now, preferred_zones) if one.pool.pool_id != own_pool]
    untroubled = [one for one in choices if not one.troubled]
    good = _outside([one for one in untroubled if one.pool.pool_id not in exclude], exclude_zones)
    reachable = agent.config.enabled or agent.build is Build.V5
    if good and not (ondemand_only and reachable):
        return _spot(aggregate, min(good, key=order))
    if reachable:
        return ondemand(aggregate)
    rest = _outside(untroubled or choices, exclude_zones) or _choices(aggregate, market, now)
    if rest:
        return _spot(aggregate, min(rest, key=order))
    return Placement(mode=Mode.SPOT, pool_id=None, az=None, instance_type=None, via=Via.NOTHING)


def _outside(choices: Sequence[_Choice], zones: Sequence[str]) -> Sequence[_Choice]:
    """Those in other zones than these while there are any (7.7 rule 6): a wish counts after Z20, not before."""
    return [one for one in choices if one.pool.az not in zones] or choices


def safest(
    aggregate: Aggregate,
    market: Market,
    now: datetime,
    *,
    exclude: Sequence[str] = (),
    exclude_zones: Sequence[str] = (),
    preferred_zones: Sequence[str] = (),
) -> Placement:
    """For a rebalance: another zone first, lowest risk, then price (5.3)."""
    return _emergency(
        aggregate, market, now, _safest, exclude=exclude, exclude_zones=exclude_zones,
        preferred_zones=preferred_zones, ondemand_only=False,
    )  # fmt: skip


def fastest_boot(
    aggregate: Aggregate,
    market: Market,
    now: datetime,
    *,
    exclude: Sequence[str] = (),
    exclude_zones: Sequence[str] = (),
    preferred_zones: Sequence[str] = (),
    ondemand_only: bool = False,
) -> Placement:
    """For a termination: the pool whose machines are up soonest; ``ondemand_only`` from the third attempt on (5.4)."""
    return _emergency(
        aggregate, market, now, _fastest, exclude=exclude, exclude_zones=exclude_zones,
        preferred_zones=preferred_zones, ondemand_only=ondemand_only,
    )  # fmt: skip


def cheapest_replica_pool(
    aggregate: Aggregate,
    market: Market,
    now: datetime,
    *,
    exclude_zones: Sequence[str] = (),
    max_price: Decimal | None = None,
) -> Placement:
    """For manual mode: the cheapest eligible pool that is not the primary's; the primary's own only when it is the only
    one (MR-1). Without any price the safest (MR-9)."""
    primary = aggregate.primary
    excluded = set(aggregate.agent.config.excluded_pools)
    choices = [one for one in _choices(aggregate, market, now) if _acceptable(one, excluded, exclude_zones, max_price)]
    if aggregate.agent.abilities.own_zone_only and primary is not None:
        choices = [one for one in choices if one.pool.az == primary.az]  # Z28
    choices = [one for one in choices if not one.troubled] or choices
    others = [one for one in choices if primary is None or one.pool.pool_id != _own_pool(aggregate)]
    if others:
        priced = any(one.price is not None for one in others)
        return _spot(aggregate, min(others, key=_cheapest if priced else _safest))
    if choices:
        return _spot(aggregate, choices[0], same_pool=True)
    return Placement(mode=Mode.SPOT, pool_id=None, az=None, instance_type=None, via=Via.NOTHING)


def _own_pool(aggregate: Aggregate) -> str | None:
    """The pool id of the primary's type and zone, also while it is on-demand: a replica elsewhere is worth more."""
    primary = aggregate.primary
    return primary.pool_id if primary else None


def _acceptable(one: _Choice, excluded: Iterable[str], zones: Sequence[str], max_price: Decimal | None) -> bool:
    if one.pool.pool_id in excluded or one.pool.az in zones:
        return False
    return max_price is None or (one.price is not None and one.price <= max_price)
