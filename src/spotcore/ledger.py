"""The accrual ledger: what was really paid and saved, line by line (7.3, SV-1…SV-11, P8…P13).

An estimate from observed prices, not an AWS invoice (SV-11).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from attrs import evolve, frozen

from spotcore.ids import AgentId, ClientId, InstanceId
from spotcore.instants import day_of
from spotcore.money import amount
from spotcore.pools import Mode, pool_of
from spotcore.pricing import NO_PRICES, Quality, Series
from spotcore.tenure import Role, Span, Tenure

HORIZON: Final = timedelta(minutes=15)  # SV-6
PROVISIONAL: Final = timedelta(hours=48)  # SV-7
LATE: Final = timedelta(days=8)  # 8.3: what may still arrive is at most 7 days old
DAY: Final = timedelta(days=1)
_HOUR: Final = Decimal(3_600_000_000)  # microseconds


@frozen(kw_only=True)
class Line:
    """One machine, one half-open interval within a UTC day, one role, one price pair. Amounts in $, prices in $/h."""

    client_id: ClientId
    agent_id: AgentId
    instance_id: InstanceId
    started_at: datetime
    ended_at: datetime
    role: Role
    mode: Mode
    pool_id: str | None
    paid_price: Decimal | None
    ondemand_price: Decimal | None
    quality: Quality
    sign: int = 1  # −1 takes an earlier line back
    adjusts: str | None = None  # the line taken back, or the day corrected (SV-7)

    @property
    def hours(self) -> Decimal:
        """Exact; negative when it takes a line back."""
        return self.sign * Decimal((self.ended_at - self.started_at) // timedelta(microseconds=1)) / _HOUR

    @property
    def baseline(self) -> Decimal | None:
        """What on-demand would have cost; only primary time has one (SV-3)."""
        if self.quality is Quality.UNPRICED:
            return None
        if self.role is not Role.PRIMARY:
            return Decimal(0)
        return _cost(self.ondemand_price, self.hours)

    @property
    def cost(self) -> Decimal | None:
        """What was paid."""
        return None if self.quality is Quality.UNPRICED else _cost(self.paid_price, self.hours)

    @property
    def saving(self) -> Decimal | None:
        """Baseline less cost, negative when it is (SV-10)."""
        baseline, cost = self.baseline, self.cost
        return baseline - cost if baseline is not None and cost is not None else None

    @property
    def day(self) -> datetime:
        """The start of its UTC day."""
        return day_of(self.started_at)


def _cost(price: Decimal | None, hours: Decimal) -> Decimal | None:
    return amount(price * hours) if price is not None else None


Spot = Callable[[str], Series]  # by pool id
Ondemand = Callable[[Tenure], Series]


def accrue(tenure: Tenure, spot: Spot, ondemand: Ondemand, since: datetime, until: datetime) -> tuple[Line, ...]:
    """The lines of a machine between two instants; equal neighbours are one within a day (SV-2, P13)."""
    machine = tenure.instance
    pool = pool_of(machine.instance_type, machine.az)
    pool_id = machine.pool_id or (pool.pool_id if pool else None)
    listed = ondemand(tenure)
    paid = {
        Mode.SPOT: spot(pool_id) if pool_id is not None else NO_PRICES,
        Mode.ONDEMAND: listed,
        Mode.UNKNOWN: NO_PRICES,  # until there is evidence of its mode (AG-3)
    }[machine.mode]
    lines: list[Line] = []
    for span in tenure.spans(until):
        if span.end <= since:
            continue
        start = max(span.start, since)
        cuts = {start, span.end, *paid.changes(start, span.end), *listed.changes(start, span.end)}
        cuts.update(_midnights(start, span.end))
        for begin, end in pairwise(sorted(cuts)):
            line = _line(tenure, span, begin, end, pool_id, paid, listed)
            if lines and _continues(lines[-1], line):
                lines[-1] = evolve(lines[-1], ended_at=line.ended_at)
            else:
                lines.append(line)
    return tuple(lines)


def _line(
    tenure: Tenure, span: Span, begin: datetime, end: datetime, pool_id: str | None, paid: Series, listed: Series
) -> Line:
    machine = tenure.instance
    price, list_price = paid.at(begin), listed.at(begin)
    needed = (price, list_price) if span.role is Role.PRIMARY else (price,)  # P9
    if any(step.price is None for step in needed):
        quality = Quality.UNPRICED
    elif span.assumed or any(step.quality is Quality.ESTIMATED for step in needed):
        quality = Quality.ESTIMATED
    else:
        quality = Quality.MEASURED
    return Line(
        client_id=machine.client_id,
        agent_id=machine.agent_id,
        instance_id=machine.instance_id,
        started_at=begin,
        ended_at=end,
        role=span.role,
        mode=machine.mode,
        pool_id=pool_id,
        paid_price=price.price,
        ondemand_price=list_price.price if span.role is Role.PRIMARY else None,
        quality=quality,
    )


def _midnights(start: datetime, end: datetime) -> Iterable[datetime]:
    at = day_of(start) + DAY
    while at < end:
        yield at
        at += DAY


def _facts(line: Line) -> tuple[object, ...]:
    return (line.role, line.mode, line.pool_id, line.paid_price, line.ondemand_price, line.quality)


def _continues(before: Line, after: Line) -> bool:
    return before.ended_at == after.started_at and before.day == after.day and _facts(before) == _facts(after)


@frozen(kw_only=True)
class Entry:
    """A line as it stands in the ledger."""

    line_id: str
    line: Line


@frozen(kw_only=True)
class Revision:
    """What has to happen to a machine's entries so that they say what is known now."""

    remove: tuple[str, ...] = ()  # provisional lines, wholesale by day
    add: tuple[Line, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True when the ledger says it already."""
        return not self.remove and not self.add


def final_before(now: datetime) -> datetime:
    """The UTC midnight before which days are final (SV-7)."""
    return day_of(now - PROVISIONAL)


def revise(entries: Sequence[Entry], wanted: Sequence[Line], final: datetime) -> Revision:
    """From what stands to what is wanted, both of one machine and the same stretch of days (SV-7).

    A provisional day is rebuilt as a whole. A final day is only ever added to: the rest of a day that was cut short, or
    each of its lines taken back and written anew."""
    remove: list[str] = []
    add: list[Line] = []
    standing_by_day: dict[datetime, list[Entry]] = defaultdict(list)
    for one in entries:
        standing_by_day[one.line.day].append(one)
    wanted_by_day: dict[datetime, list[Line]] = defaultdict(list)
    for line in wanted:
        wanted_by_day[line.day].append(line)
    for day in sorted(standing_by_day.keys() | wanted_by_day.keys()):
        standing, now_wanted = standing_by_day[day], wanted_by_day[day]
        if not standing:
            add += now_wanted
            continue
        valid = effective(standing)
        have = merged([one.line for one in valid])
        want = merged(now_wanted)
        if have == want:
            continue
        if day >= final:
            remove += [one.line_id for one in standing]
            add += now_wanted
        elif rest := _rest(have, want):
            add += rest
        else:
            add += [evolve(one.line, sign=-1, adjusts=one.line_id) for one in valid]
            add += [evolve(line, adjusts=day.date().isoformat()) for line in now_wanted]
    return Revision(remove=tuple(remove), add=tuple(add))


def effective(entries: Sequence[Entry]) -> list[Entry]:
    """Those that count: no line that was taken back, and none that takes one back."""
    gone = {one.line.adjusts for one in entries if one.line.sign < 0}
    return [one for one in entries if one.line.sign > 0 and one.line_id not in gone]


def merged(lines: Iterable[Line]) -> list[Line]:
    """In order, neighbours of equal role, prices and quality as one: what comparisons compare (P13)."""
    kept: list[Line] = []
    for line in sorted((evolve(one, adjusts=None) for one in lines), key=lambda one: one.started_at):
        if kept and _continues(kept[-1], line):
            kept[-1] = evolve(kept[-1], ended_at=line.ended_at)
        else:
            kept.append(line)
    return kept


def _rest(have: Sequence[Line], want: Sequence[Line]) -> list[Line]:
    """What is missing after ``have`` when all of it stands in ``want``; nothing when it does not."""
    if not have:
        return list(want)
    upto = have[-1].ended_at
    before = [evolve(one, ended_at=min(one.ended_at, upto)) for one in want if one.started_at < upto]
    if merged(before) != list(have):
        return []
    return [evolve(one, started_at=max(one.started_at, upto)) for one in want if one.ended_at > upto]


def stretch(tenure: Tenure, entries_end: datetime | None, now: datetime) -> tuple[datetime, datetime] | None:
    """The whole days to look at again, and the horizon (SV-6): from where its lines end, or from as far back as late
    data may reach. None when it has nothing to accrue."""
    start, until = tenure.started_at, now - HORIZON
    if start is None or start >= until:
        return None
    late, ended = day_of(now - LATE), tenure.ended_at
    if entries_end is None:
        return start, until
    if ended is not None and ended <= late and ended <= entries_end:
        return None
    return max(day_of(start), min(late, day_of(entries_end), until)), until
