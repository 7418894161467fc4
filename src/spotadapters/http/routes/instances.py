"""E29…E32, E35…E37: machines as their owners see them. Every row that is listed can be opened (T41)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from attrs import evolve, frozen

from spotadapters.http.envelope import Answer
from spotadapters.http.lanes import Lane
from spotadapters.http.routes.agents import PEOPLE
from spotadapters.http.routes.overview import like, sentence
from spotadapters.http.routes.series import price_series
from spotadapters.http.routing import Call, Endpoint
from spotadapters.system.tenancy import EVERYBODY, acting_for
from spotadapters.wire import asking
from spotadapters.wire.answers import shown
from spotadapters.wire.parsing import wire
from spotadapters.wire.shapes import shape
from spotcore import risk
from spotcore.errors import ValidationFailed
from spotcore.instances import Instance
from spotcore.instants import read_instant
from spotcore.market import Market
from spotcore.pools import Mode, parse_mode, parse_pool
from spotcore.volatility import (
    BUCKETS_PER_DAY,
    deviation,
    interruption_probability,
    interruption_rate,
    stability,
    switch_figures,
    volatility,
)

MAX_ALTERNATIVES: Final = 5
PRICE: Final = Decimal("0.000001")


@shape
class MachineQuery:
    """E29."""

    status: str = asking.word("all", "all", "active", "terminated")
    mode: str = asking.word("all", "all", "spot", "ondemand", "unknown")
    search: str | None = asking.text()


@frozen(kw_only=True)
class Machine:
    """E29. In the legacy shape ``spotPrice`` is what is really paid (C54)."""

    CAMEL = True
    id: str
    type: str | None
    region: str | None
    az: str | None
    mode: str
    pool_id: str
    spot_price: Decimal | None
    on_demand_price: Decimal | None
    is_active: bool
    instance_status: str
    is_primary: bool
    last_switch: datetime | None
    agent_id: str
    installed_at: datetime


def instances(call: Call) -> Answer:
    """E29."""
    caller, asked = call.client_caller(), call.asked(MachineQuery)
    call.plane.clients.seen(caller.client_id)
    rows = call.reads.each(
        "instances_of_client", Machine, client_id=caller.client_id, status=asked.status, mode=asked.mode,
        like=like(asked.search),
    )  # fmt: skip
    return Answer(data=map(_paid, rows) if call.is_legacy else rows)


def _paid(row: Machine) -> Machine:
    """As the page computes with it: the price really paid, and 0 where its savings would be invented (T42)."""
    paid = row.on_demand_price if row.mode == "ondemand" else row.spot_price
    known = paid is not None and row.on_demand_price is not None
    return evolve(
        row, spot_price=paid or Decimal(0), on_demand_price=row.on_demand_price if known else Decimal(0)
    )  # fmt: skip


def _machine(call: Call) -> tuple[Instance, Market]:
    return call.plane.machines.options(call.person(), call.path_id("instance_id"), is_admin=call.principal.is_admin)


@shape
class PoolName:
    """A pool by name."""

    id: str
    name: str
    az: str


@shape
class OndemandPrice:
    """E30."""

    name: str = "On-Demand"
    price: Decimal | None = shown(default=None, legacy=0)


@shape
class PoolPrice:
    """E30."""

    id: str
    name: str
    az: str
    price: Decimal | None = shown(legacy=0, doc="of the last hour")
    savings: Decimal | None = shown(legacy=0, doc="percent below on demand")


@shape
class Pricing:
    """E30."""

    CAMEL = True
    current_mode: str
    current_pool: PoolName | None
    on_demand: OndemandPrice
    pools: tuple[PoolPrice, ...]


def _pool_name(pool_id: str | None) -> PoolName | None:
    return PoolName(id=pool_id, name=f"Pool {pool_id}", az=parse_pool(pool_id).az) if pool_id else None


def pricing(call: Call) -> Answer:
    """E30: cheapest first, unpriced last."""
    machine, market = _machine(call)
    now, ondemand = call.clock.now(), market.ondemand_price()
    rows = [_pool_price(pool_id, market.spot_price(pool_id, now), ondemand) for pool_id in market.pools]
    rows.sort(key=lambda row: (row.price is None, row.price or 0, row.id))
    return Answer(
        data=Pricing(
            current_mode="ondemand" if machine.mode is Mode.UNKNOWN else machine.mode.value,
            current_pool=_pool_name(machine.pool_id),
            on_demand=OndemandPrice(price=ondemand),
            pools=tuple(rows),
        )
    )


def _pool_price(pool_id: str, price: Decimal | None, ondemand: Decimal | None) -> PoolPrice:
    known = price is not None and ondemand
    saved = round((ondemand - price) / ondemand * 100, 2) if known and ondemand and price is not None else None
    return PoolPrice(id=pool_id, name=f"Pool {pool_id}", az=parse_pool(pool_id).az, price=price, savings=saved)


@shape
class InstanceMetrics:
    """E31."""

    CAMEL = True
    id: str
    instance_type: str | None
    current_mode: str
    current_pool_id: str | None
    spot_price: Decimal | None = shown(legacy=0)
    on_demand_price: Decimal | None = shown(legacy=0)
    baseline_on_demand_price: Decimal | None = shown(legacy=0, doc="captured at registration")
    uptime_hours: int
    hours_since_last_switch: int
    total_switches: int
    switches_last7_days: int = shown("switchesLast7Days")
    switches_last30_days: int = shown("switchesLast30Days")
    savings_last30_days: Decimal | None = shown("savingsLast30Days", legacy=0, doc="by the ledger of this machine")
    total_savings: Decimal | None = shown(legacy=0, doc="by the ledger of this machine")
    interruption_count: int
    avg_switch_downtime_seconds: Decimal | None = shown(legacy=0)


def metrics(call: Call) -> Answer:
    """E31."""
    machine, _ = _machine(call)
    values = {"client_id": machine.client_id, "instance_id": machine.instance_id}
    return Answer(data=call.reads.one("instance_figures", InstanceMetrics, **values))


@shape
class HistoryQuery:
    """E32. ``hours`` wins over ``days``."""

    days: int = asking.whole(7, 1, 90)
    interval: str = asking.word("hour", "hour", "day")
    hours: int | None = asking.optional_whole(1, 2160)


@shape
class SeriesPool:
    """E32: a pool and the key its prices stand under."""

    id: str
    name: str
    az: str
    key: str


@shape
class PriceHistory:
    """E32: rows of ``time``, ``onDemand`` and one key per pool."""

    CAMEL = True
    data: tuple[Mapping[str, Any], ...]
    pools: tuple[SeriesPool, ...]
    on_demand_price: Decimal | None


def price_history(call: Call) -> Answer:
    """E32."""
    machine, market = _machine(call)
    asked = call.asked(HistoryQuery)
    by_day = asked.interval == "day"
    captured = call.reads.one("registered_price", dict, client_id=machine.client_id, agent_id=machine.agent_id)
    series = price_series(
        call, machine.instance_type, machine.region, days=asked.days, hours=asked.hours, by_day=by_day,
        registered=captured["price"],
    )  # fmt: skip
    word = "%Y-%m-%d" if by_day else "%Y-%m-%d %H:00"
    rows = tuple(
        {
            "time": period.strftime(word),
            "onDemand": series.ondemand[period],
            **{f"pool_{pool}": series.spot[period].get(pool) for pool in series.pools},
        }
        for period in series.periods
    )
    pools = tuple(
        SeriesPool(id=one, name=f"Pool {one}", az=parse_pool(one).az, key=f"pool_{one}") for one in series.pools
    )
    return Answer(data=PriceHistory(data=rows, pools=pools, on_demand_price=market.ondemand_price()))


@shape
class LogQuery:
    """E35."""

    limit: int = asking.whole(100, 1, 1000)


@shape
class LogLine:
    """E35."""

    timestamp: datetime
    event_type: str
    message: str
    severity: str
    metadata: Mapping[str, Any]


def logs(call: Call) -> Answer:
    """E35: audit events and switches of the machine, newest first."""
    machine, _ = _machine(call)
    rows = call.reads.rows(
        "instance_logs", dict, client_id=machine.client_id, instance_id=machine.instance_id,
        limit=call.asked(LogQuery).limit,
    )  # fmt: skip
    return Answer(data=[_log(row) for row in rows])


def _log(row: Mapping[str, Any]) -> LogLine:
    at = read_instant(row["at"])
    assert at is not None  # the column is
    return LogLine(
        timestamp=at,
        event_type=row["kind"],
        message=sentence(row["kind"], row["facts"]),
        severity=row["level"],
        metadata=row["facts"],
    )


@shape
class PoolSteadiness:
    """E36: computed, or null."""

    pool_id: str
    current_price: Decimal | None
    volatility_score: Decimal | None = shown(doc="standard deviation over 24 hours, $/h")
    volatility_category: str
    interruption_rate_24h: Decimal | None = shown(doc="per machine-day; null below one machine-day")
    price_stability_7d: Decimal | None = shown(doc="null below 12 buckets")
    recommendation: str | None


@shape
class Steadiness:
    """E36."""

    current_pool: PoolSteadiness | None
    alternative_pools: tuple[PoolSteadiness, ...]


@shape
class _Known:
    """Measured prices and incidents around a machine."""

    day: Mapping[str, list[Decimal]]
    week: Mapping[str, list[Decimal]]
    rates: Mapping[str, Decimal | None]


def _known(call: Call, machine: Instance) -> _Known:
    place = {"instance_type": machine.instance_type, "region": machine.region}
    day: dict[str, list[Decimal]] = {}
    week: dict[str, list[Decimal]] = {}
    since = call.clock.now() - timedelta(hours=24)
    for row in call.reads.rows("pool_prices", dict, **place, days=7):
        if row["measured"]:
            week.setdefault(row["pool_id"], []).append(row["price"])
            at = read_instant(row["bucket_start"])
            if at is not None and at > since:
                day.setdefault(row["pool_id"], []).append(row["price"])
    with acting_for(EVERYBODY):  # E36: over all clients; the statement gives numbers alone
        incidents = call.reads.rows("pool_incidents", dict, **place)
    rates = {row["pool_id"]: interruption_rate(row["incidents"], row["machine_days"]) for row in incidents}
    return _Known(day=day, week=week, rates=rates)


def pool_volatility(call: Call) -> Answer:
    """E36."""
    machine, market = _machine(call)
    known, now = _known(call, machine), call.clock.now()

    def judged(pool_id: str) -> PoolSteadiness:
        spread = deviation(known.day.get(pool_id, []))
        advice = risk.advice(risk.pool_risk(market.pools.get(pool_id), now))
        return PoolSteadiness(
            pool_id=pool_id,
            current_price=market.spot_price(pool_id, now),
            volatility_score=spread.quantize(PRICE) if spread is not None else None,
            volatility_category=volatility(known.day.get(pool_id, [])).value,
            interruption_rate_24h=known.rates.get(pool_id),
            price_stability_7d=stability(known.week.get(pool_id, [])),
            recommendation=advice.value if advice is not None else None,
        )

    others = [judged(pool_id) for pool_id in market.pools if pool_id != machine.pool_id]
    others.sort(key=lambda row: (row.current_price is None, row.current_price or 0, row.pool_id))
    return Answer(
        data=Steadiness(
            current_pool=judged(machine.pool_id) if machine.pool_id else None,
            alternative_pools=tuple(others[:MAX_ALTERNATIVES]),
        )
    )


@shape
class Simulate:
    """E37."""

    target_pool: str | None = wire("pool_id", limit=128)
    target_type: str = wire("target", default="spot", limit=32)


@shape
class SimulationFigures:
    """E37. Null: a price or a record is missing."""

    current_price: Decimal | None
    target_price: Decimal | None
    hourly_savings: Decimal | None
    daily_savings: Decimal | None
    monthly_savings: Decimal | None
    estimated_downtime_seconds: Decimal | None
    confidence: Decimal = shown(doc="share of measured buckets of the target in 24 hours")
    volatility_risk: str
    interruption_probability_24h: Decimal | None
    recommendation: str | None


@shape
class SimulationAnswer:
    """E37."""

    simulation: SimulationFigures


def simulate(call: Call) -> Answer:
    """E37: nothing changes."""
    body = call.parse(Simulate)
    machine, market = _machine(call)
    now, ondemand = call.clock.now(), market.ondemand_price()
    mode = parse_mode(body.target_type)
    if mode is Mode.SPOT and body.target_pool is None:
        raise ValidationFailed("missing: target_pool", target_pool=["name the pool, or the target ondemand"])
    pool_id = parse_pool(body.target_pool).pool_id if mode is Mode.SPOT and body.target_pool else None
    current = market.spot_price(machine.pool_id, now) if machine.mode is Mode.SPOT else ondemand
    target = market.spot_price(pool_id, now) if pool_id else ondemand
    figures, known = switch_figures(current, target), _known(call, machine)
    downtime = call.reads.one("known_downtime", dict, client_id=machine.client_id, agent_id=machine.agent_id)["seconds"]
    measured = known.day.get(pool_id or "", [])
    share = min(Decimal(1), Decimal(len(measured)) / BUCKETS_PER_DAY)
    return Answer(
        data=SimulationAnswer(
            simulation=SimulationFigures(
                current_price=current,
                target_price=target,
                hourly_savings=figures.hourly,
                daily_savings=figures.daily,
                monthly_savings=figures.monthly,
                estimated_downtime_seconds=round(downtime, 3) if downtime is not None else None,
                confidence=round(share, 4),
                volatility_risk=volatility(measured).value,
                interruption_probability_24h=interruption_probability(known.rates.get(pool_id) if pool_id else None),
                recommendation=figures.advice.value if figures.advice is not None else None,
            )
        )
    )


ONE: Final = "/api/client/instances/{instance_id}"
routes = [
    Endpoint(
        number="E29", method="GET", path="/api/client/{client_id}/instances", handler=instances, access=PEOPLE,
        lane=Lane.LIST, asks=MachineQuery, answers=tuple[Machine, ...],
    ),
    Endpoint(number="E30", method="GET", path=ONE + "/pricing", handler=pricing, access=PEOPLE, answers=Pricing),
    Endpoint(
        number="E31", method="GET", path=ONE + "/metrics", handler=metrics, access=PEOPLE, answers=InstanceMetrics
    ),
    Endpoint(
        number="E32", method="GET", path=ONE + "/price-history", handler=price_history, access=PEOPLE,
        asks=HistoryQuery, answers=PriceHistory,
    ),
    Endpoint(
        number="E35", method="GET", path=ONE + "/logs", handler=logs, access=PEOPLE, asks=LogQuery,
        answers=tuple[LogLine, ...],
    ),
    Endpoint(
        number="E36", method="GET", path=ONE + "/pool-volatility", handler=pool_volatility, access=PEOPLE,
        answers=Steadiness,
    ),
    Endpoint(
        number="E37", method="POST", path=ONE + "/simulate-switch", handler=simulate, access=PEOPLE, body=Simulate,
        answers=SimulationAnswer, refuses=("POOL_MISMATCH",),
    ),
]  # fmt: skip
