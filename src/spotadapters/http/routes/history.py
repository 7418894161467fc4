"""E77…E81, E84, E85: savings, switches and prices over time."""

import calendar
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from spotadapters.http.envelope import Answer, File
from spotadapters.http.routes.agents import PEOPLE
from spotadapters.http.routes.series import price_series
from spotadapters.http.routing import MAX_ID, Call, Endpoint
from spotadapters.wire import asking, words
from spotadapters.wire.answers import shown
from spotadapters.wire.shapes import shape
from spotadapters.wire.sheets import sheet
from spotcore.errors import NotFound
from spotcore.ids import ClientId
from spotcore.instants import read_instant
from spotcore.pools import parse_pool
from spotcore.switches import SwitchTrigger

PERIODS: Final[Mapping[str, int]] = {"daily": 30, "weekly": 12, "monthly": 12, "yearly": 5}
LEGACY_MONTHS: Final = 6  # the page shows the first six of the list (C55)
ALL: Final = 10**6


@shape
class SavingsQuery:
    """E77."""

    range: str = asking.word("monthly", *PERIODS)


@shape
class PeriodSavings:
    """E77, by the ledger."""

    CAMEL = True
    name: str
    savings: Decimal
    on_demand_cost: Decimal
    model_cost: Decimal


@shape
class _Period:
    """Ledger sums of a period, $."""

    period: str
    baseline: Decimal
    cost: Decimal
    saving: Decimal


NOTHING: Final = Decimal(0)


def _periods(kind: str, now: datetime) -> list[str]:
    """Names of the last periods, oldest first, this one last."""
    count, today = PERIODS[kind], now.date()
    match kind:
        case "daily":
            return [(today - timedelta(days=n)).isoformat() for n in reversed(range(count))]
        case "weekly":
            days = [today - timedelta(weeks=n) for n in reversed(range(count))]
            return [f"{day.isocalendar().year}-W{day.isocalendar().week:02d}" for day in days]
        case "monthly":
            months = [today.year * 12 + today.month - 1 - n for n in reversed(range(count))]
            return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in months]
        case _:
            return [str(today.year - n) for n in reversed(range(count))]


def _sums(call: Call, client_id: ClientId, kind: str) -> list[_Period]:
    """The last periods, none before the first ledger line, later empty ones as zeros."""
    known = {row.period: row for row in call.reads.rows("savings_by_period", _Period, client_id=client_id, range=kind)}
    if not known:
        return []
    names = [name for name in _periods(kind, call.clock.now()) if name >= min(known)]
    return [known.get(name, _Period(period=name, baseline=NOTHING, cost=NOTHING, saving=NOTHING)) for name in names]


def month_name(period: str) -> str:
    """``2026-03`` → ``March``."""
    return calendar.month_name[int(period[5:7])]


def savings(call: Call) -> Answer:
    """E77."""
    caller, kind = _client(call), call.asked(SavingsQuery).range
    rows = _sums(call, caller, kind)
    if call.is_legacy and kind == "monthly":
        rows = rows[-LEGACY_MONTHS:]
    return Answer(
        data=[
            PeriodSavings(
                name=month_name(row.period) if kind == "monthly" else row.period,
                savings=round(row.saving, 4),
                on_demand_cost=round(row.baseline, 4),
                model_cost=round(row.cost, 4),
            )
            for row in rows
        ]
    )


def _client(call: Call) -> ClientId:
    """The client of the path, which must exist."""
    caller = call.client_caller()
    call.plane.clients.seen(caller.client_id)
    return caller.client_id


@shape
class SwitchQuery:
    """E78."""

    instance_id: str | None = asking.text(limit=MAX_ID)
    limit: int = asking.whole(100, 1, 1000)


@shape
class SwitchItem:
    """E78. ``instanceId`` repeats the new machine (C22)."""

    CAMEL = True
    id: str
    old_instance_id: str | None
    new_instance_id: str | None
    instance_id: str | None
    agent_id: str
    timestamp: datetime | None = shown(doc="launched, else image, else initiated")
    from_mode: str
    to_mode: str
    from_pool: str
    to_pool: str
    trigger: str
    price: Decimal | None = shown(legacy=0, doc="$/h of the new side")
    savings_impact: Decimal | None = shown(legacy=0, doc="$/h")
    downtime_seconds: Decimal | None
    success: bool


def _switches(
    call: Call, client_id: ClientId, instance: str | None, limit: int, *, with_failed: bool = True
) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = call.reads.rows(
        "switch_history", dict, client_id=client_id, instance=instance, limit=limit, with_failed=with_failed
    )
    return rows


def _happened(row: Mapping[str, Any]) -> datetime | None:
    times = row["times"]
    known = (times.get(name) for name in ("launched_at", "image_created_at", "initiated_at"))
    return read_instant(next((at for at in known if at), None))


def _trigger(row: Mapping[str, Any]) -> str:
    return words.TRIGGER[SwitchTrigger(row["trigger"])]


def switch_history(call: Call) -> Answer:
    """E78. The legacy shape has no word for failed switches, and none for an unknown time (T42)."""
    client_id, asked = _client(call), call.asked(SwitchQuery)
    rows = _switches(call, client_id, asked.instance_id, asked.limit, with_failed=not call.is_legacy)
    return Answer(data=[_switch(row, legacy=call.is_legacy) for row in rows])


def _switch(row: Mapping[str, Any], *, legacy: bool) -> SwitchItem:
    at = _happened(row)
    return SwitchItem(
        id=row["id"],
        old_instance_id=row["old_instance_id"],
        new_instance_id=row["new_instance_id"],
        instance_id=row["new_instance_id"],
        agent_id=row["agent_id"],
        timestamp=at if at is not None or not legacy else read_instant(row["recorded_at"]),
        from_mode=row["from_mode"],
        to_mode=row["to_mode"],
        from_pool=row["from_pool"] or "n/a",
        to_pool=row["to_pool"] or "n/a",
        trigger=_trigger(row),
        price=row["new_price"],
        savings_impact=row["savings_impact"],
        downtime_seconds=row["downtime_seconds"],
        success=row["state"] == "completed",
    )


@shape
class TrendPoint:
    """E79."""

    month: str
    savings: Decimal
    baseline: Decimal
    actual: Decimal


@shape
class ModeCount:
    """E79. ``name`` repeats the mode: the pie's legend."""

    mode: str
    name: str
    count: int


@shape
class SwitchDay:
    """E79."""

    date: str
    switches: int


@shape
class DowntimeByTrigger:
    """E79, seconds."""

    manual: Decimal
    model: Decimal
    emergency: Decimal


@shape
class Charts:
    """E79."""

    CAMEL = True
    savings_trend: tuple[TrendPoint, ...]
    mode_distribution: tuple[ModeCount, ...]
    switch_frequency: tuple[SwitchDay, ...]
    downtime_distribution: DowntimeByTrigger


def charts(call: Call) -> Answer:
    """E79."""
    client_id = _client(call)
    row = call.reads.one("chart_series", dict, client_id=client_id)
    downtime = {"manual": NOTHING, "model": NOTHING, "emergency": NOTHING}
    for core_word, seconds in row["downtime"].items():
        downtime[words.TRIGGER[SwitchTrigger(core_word)]] += seconds
    trend = tuple(
        TrendPoint(
            month=month_name(one.period),
            savings=round(one.saving, 4),
            baseline=round(one.baseline, 4),
            actual=round(one.cost, 4),
        )
        for one in _sums(call, client_id, "monthly")
    )
    return Answer(
        data=Charts(
            savings_trend=trend,
            mode_distribution=tuple(
                ModeCount(mode=one["mode"], name=one["mode"], count=one["count"]) for one in row["modes"]
            ),
            switch_frequency=tuple(SwitchDay(**one) for one in row["days"]),
            downtime_distribution=DowntimeByTrigger(**downtime),
        )
    )


@shape
class PriceQuery:
    """E80. ``client_id`` is the operator's."""

    days: int = asking.whole(7, 1, 30)
    interval: str = asking.word("hour", "hour", "day")
    agent_id: str | None = asking.text(limit=MAX_ID)
    instance_type: str | None = asking.text(limit=64)
    client_id: str | None = asking.text(limit=MAX_ID)


@shape
class PoolPoint:
    """E80."""

    pool_id: str
    az: str
    price: Decimal


@shape
class PricePoint:
    """E80."""

    timestamp: str
    ondemand_price: Decimal | None
    spot_pools: tuple[PoolPoint, ...]


@shape
class PriceHistoryAnswer:
    """E80."""

    history: tuple[PricePoint, ...]
    days: int
    data_points: int
    agent_id: str
    instance_type: str | None
    region: str | None


def pricing_history(call: Call) -> Answer:
    """E80: of the named agent or type, else of the online agent seen last."""
    asked = call.asked(PriceQuery)
    named = ClientId(asked.client_id) if asked.client_id else None
    scope = call.principal.acting(named, actor="client").client_id or None
    found = call.reads.row(
        "latest_agent", dict, client_id=scope, agent_id=asked.agent_id, instance_type=asked.instance_type
    )
    if found is None:
        raise NotFound("no agent matches")
    by_day = asked.interval == "day"
    series = price_series(
        call, found["instance_type"], found["region"], days=asked.days, hours=None, by_day=by_day,
        registered=found["registered"],
    )  # fmt: skip
    word = "%Y-%m-%d" if by_day else "%Y-%m-%d %H:00:00"
    points = tuple(
        PricePoint(
            timestamp=period.strftime(word),
            ondemand_price=series.ondemand[period],
            spot_pools=tuple(
                PoolPoint(pool_id=pool, az=parse_pool(pool).az, price=price)
                for pool, price in sorted(series.spot[period].items())
            ),
        )
        for period in series.periods
    )
    return Answer(
        data=PriceHistoryAnswer(
            history=points,
            days=asked.days,
            data_points=len(points),
            agent_id=found["agent_id"],
            instance_type=found["instance_type"],
            region=found["region"],
        )
    )


@shape
class DowntimeQuery:
    """E81."""

    days: int = asking.whole(30, 1, 365)


@shape
class TriggerDowntime:
    """E81."""

    total_seconds: Decimal
    average_seconds: Decimal
    count: int


@shape
class LongestDowntime:
    """E81."""

    switch_id: str
    downtime_seconds: Decimal
    timestamp: datetime
    reason: str | None


@shape
class Downtime:
    """E81: averages over switches whose downtime is known; ``trend`` in percent against the period before."""

    total_switches: int
    successful_switches: int
    failed_switches: int
    avg_downtime_seconds: Decimal
    p95_downtime_seconds: Decimal
    min_downtime_seconds: Decimal
    max_downtime_seconds: Decimal
    trend: Decimal | None
    total_downtime_seconds: Decimal
    average_downtime_per_switch: Decimal
    switches_with_downtime: int
    switches_without_downtime: int
    downtime_by_trigger: Mapping[str, TriggerDowntime]
    longest_downtime: LongestDowntime | None


def downtime(call: Call) -> Answer:
    """E81."""
    client_id, days = _client(call), call.asked(DowntimeQuery).days
    since = call.clock.now() - timedelta(days=days)
    rows = call.reads.rows("downtime_switches", dict, client_id=client_id, days=days)
    dated = [(read_instant(row["recorded_at"]), row) for row in rows]
    now = [row for at, row in dated if at is not None and at > since]
    before = [row for at, row in dated if at is not None and at <= since]
    known = [row for row in now if row["seconds"] is not None]
    seconds = sorted(row["seconds"] for row in known)
    total, mean = sum(seconds, NOTHING), _mean(seconds)
    earlier = _mean([row["seconds"] for row in before if row["seconds"] is not None])
    longest = max(known, key=lambda row: row["seconds"], default=None)
    return Answer(
        data=Downtime(
            total_switches=len(now),
            successful_switches=sum(row["state"] == "completed" for row in now),
            failed_switches=sum(row["state"] == "failed" for row in now),
            avg_downtime_seconds=mean,
            p95_downtime_seconds=seconds[max(0, -(-len(seconds) * 95 // 100) - 1)] if seconds else NOTHING,
            min_downtime_seconds=seconds[0] if seconds else NOTHING,
            max_downtime_seconds=seconds[-1] if seconds else NOTHING,
            trend=round((mean - earlier) / earlier * 100, 2) if earlier and seconds else None,
            total_downtime_seconds=total,
            average_downtime_per_switch=mean,
            switches_with_downtime=len(known),
            switches_without_downtime=len(now) - len(known),
            downtime_by_trigger=dict(_by_trigger(known)),
            longest_downtime=_longest(longest) if longest is not None else None,
        )
    )


def _mean(seconds: Sequence[Decimal]) -> Decimal:
    return round(sum(seconds, NOTHING) / len(seconds), 3) if seconds else NOTHING


def _by_trigger(known: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, TriggerDowntime]]:
    for word in sorted({_trigger(row) for row in known}):
        seconds = [row["seconds"] for row in known if _trigger(row) == word]
        total = sum(seconds, NOTHING)
        yield word, TriggerDowntime(total_seconds=total, average_seconds=_mean(seconds), count=len(seconds))


def _longest(row: Mapping[str, Any]) -> LongestDowntime:
    at = read_instant(row["recorded_at"])
    assert at is not None  # the column is
    return LongestDowntime(switch_id=row["id"], downtime_seconds=row["seconds"], timestamp=at, reason=row["reason"])


SAVINGS_HEADER: Final = (
    "Year", "Month", "Month Name", "On-Demand Cost ($)", "Actual Cost ($)", "Savings ($)",
)  # fmt: skip
SWITCH_HEADER: Final = (
    "Timestamp", "Old Instance ID", "New Instance ID", "From Mode", "To Mode", "From Pool", "To Pool", "Trigger",
    "Price ($)", "Savings Impact ($/hr)",
)  # fmt: skip


def export_savings(call: Call) -> Answer:
    """E84: one row per month, newest first."""
    client_id = _client(call)
    rows = call.reads.rows("savings_by_period", _Period, client_id=client_id, range="monthly")
    lines = [
        (
            int(row.period[:4]), int(row.period[5:7]), month_name(row.period), f"{row.baseline:.2f}",
            f"{row.cost:.2f}", Decimal(f"{row.saving:.2f}"),
        )
        for row in reversed(rows)
    ]  # fmt: skip
    return Answer(file=File(name=f"client_{client_id}_savings.csv", content=sheet(SAVINGS_HEADER, lines)))


def export_switches(call: Call) -> Answer:
    """E85: newest first; what is missing reads N/A."""
    client_id = _client(call)
    lines = [_switch_line(row) for row in _switches(call, client_id, None, ALL)]
    return Answer(file=File(name=f"client_{client_id}_switch_history.csv", content=sheet(SWITCH_HEADER, lines)))


def _switch_line(row: Mapping[str, Any]) -> tuple[Any, ...]:
    impact, price = row["savings_impact"], row["new_price"]
    return (
        _happened(row), row["old_instance_id"] or "N/A", row["new_instance_id"] or "N/A", row["from_mode"] or "N/A",
        row["to_mode"] or "N/A", row["from_pool"] or "N/A", row["to_pool"] or "N/A", _trigger(row),
        Decimal(f"{price:.6f}") if price is not None else "N/A",
        Decimal(f"{impact:.6f}") if impact is not None else "N/A",
    )  # fmt: skip


C: Final = "/api/client/{client_id}"
routes = [
    Endpoint(
        number="E77", method="GET", path=C + "/savings", handler=savings, access=PEOPLE, asks=SavingsQuery,
        answers=tuple[PeriodSavings, ...],
    ),
    Endpoint(
        number="E78", method="GET", path=C + "/switch-history", handler=switch_history, access=PEOPLE,
        asks=SwitchQuery, answers=tuple[SwitchItem, ...],
    ),
    Endpoint(number="E79", method="GET", path=C + "/stats/charts", handler=charts, access=PEOPLE, answers=Charts),
    Endpoint(
        number="E80", method="GET", path="/api/client/pricing-history", handler=pricing_history, access=PEOPLE,
        mirror=True, asks=PriceQuery, answers=PriceHistoryAnswer,
    ),
    Endpoint(
        number="E81", method="GET", path=C + "/analytics/downtime", handler=downtime, access=PEOPLE,
        asks=DowntimeQuery, answers=Downtime, envelope_for_session=True,
    ),
    Endpoint(
        number="E84", method="GET", path=C + "/export/savings", handler=export_savings, access=PEOPLE, gives="text/csv"
    ),
    Endpoint(
        number="E85", method="GET", path=C + "/export/switch-history", handler=export_switches, access=PEOPLE,
        gives="text/csv",
    ),
]  # fmt: skip
