"""The data pipeline: clean buckets repaired, gaps found and filled, and what is odd about them told (8.1 to 8.3)."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from spotcore.events import CATALOGUE, Event, EventKind, Level
from spotcore.gaps import Gap, fill_gaps, find_gaps, is_mostly_filled
from spotcore.ids import event_id_of
from spotcore.ports.ledger import TypeInRegion
from spotcore.ports.storage import UnitOfWork
from spotcore.prices import OLDEST, bucket_start
from spotcore.service.kernel import Kernel

ANCHORS: Final = timedelta(hours=4)  # how far before the window a gap that reaches into it may have its neighbours
HOUR: Final = 3600


@frozen(kw_only=True)
class Cleaned:
    """What a run did."""

    groups: int = 0
    repaired: int = 0
    fills_changed: int = 0
    failed: tuple[tuple[str, str], ...] = ()  # groups whose turn ended in an error (JB-4)


@frozen
class PricePipeline:
    """The one writer of filled buckets (GF-6)."""

    kernel: Kernel

    def run(self, *, received_since: datetime | None = None, since: datetime | None = None) -> Cleaned:
        """Bring the last 7 days (or from ``since`` on) in order for every type and region of which something came in
        since ``received_since`` (None: in the last year). A transaction each. Again, it changes nothing (GF-5).

        A group that fails is reported and skipped; the others go on (JB-4)."""
        now = self.kernel.clock.now()
        start = bucket_start(since if since is not None else now - OLDEST)
        with self.kernel.transactions() as uow:
            groups = uow.prices.groups(received_since if received_since is not None else start - 52 * OLDEST)
        repaired = changed = 0
        failed: list[tuple[str, str]] = []
        for group in groups:
            try:
                with self.kernel.transactions() as uow:
                    done = self._clean(uow, group, start, now)
            except Exception as failure:  # one group's trouble is never another's
                failed.append((" ".join(group), f"{type(failure).__name__}: {failure}"))
                continue
            repaired, changed = repaired + done[0], changed + done[1]
        return Cleaned(groups=len(groups), repaired=repaired, fills_changed=changed, failed=tuple(failed))

    def _clean(self, uow: UnitOfWork, group: TypeInRegion, start: datetime, now: datetime) -> tuple[int, int]:
        repaired = uow.prices.repair(group, start)
        measured = uow.prices.measured(group, start - ANCHORS)
        fills = {
            pool: tuple(row for row in rows if row.bucket_start >= start) for pool, rows in fill_gaps(measured).items()
        }
        changed = uow.prices.replace_fills(group, start, fills)
        odd = [
            *_gaps(measured, start, now),
            *_discrepancies(uow.prices.discrepancies(group, start), now),
            *_mostly_filled(group, measured, {pool: len([r for r in rows if _is_today(r.bucket_start, now)])
                                              for pool, rows in fills.items()}, now),
        ]  # fmt: skip
        news = uow.audit.unknown([event.event_id for event in odd])
        told = [event for event in odd if event.event_id in news]
        if told:
            uow.audit.add(told)
        return repaired, changed


def _is_today(at: datetime, now: datetime) -> bool:
    return at > now - timedelta(hours=24)


def _gaps(measured: Mapping[str, Mapping[datetime, object]], start: datetime, now: datetime) -> Iterable[Event]:
    """GF-1: once per gap, by the bucket it follows."""
    for pool, series in measured.items():
        for gap in find_gaps(pool, series):  # type: ignore[arg-type]
            if gap.level is not None and gap.after >= start:
                yield _event(
                    EventKind.PRICE_GAP, pool, int(gap.before.timestamp()), now, level=Level(gap.level.value),
                    pool_id=pool, **_facts(gap),
                )  # fmt: skip


def _facts(gap: Gap) -> dict[str, object]:
    return {
        "after": gap.before.isoformat(),
        "until": gap.after.isoformat(),
        "buckets": gap.missing,
        "filled": gap.is_filled,
    }


def _discrepancies(found: Iterable[tuple[str, datetime]], now: datetime) -> Iterable[Event]:
    """DQ-5, above 10 %: one per pool and hour."""
    hours: dict[tuple[str, int], list[datetime]] = {}
    for pool, at in found:
        hours.setdefault((pool, int(at.timestamp()) // HOUR), []).append(at)
    for (pool, hour), starts in hours.items():
        yield _event(
            EventKind.PRICE_DISCREPANCY, pool, hour, now, pool_id=pool, buckets=len(starts),
            bucket_start=min(starts).isoformat(),
        )  # fmt: skip


def _mostly_filled(
    group: TypeInRegion, measured: Mapping[str, Mapping[datetime, object]], filled: Mapping[str, int], now: datetime
) -> Iterable[Event]:
    """GF-7, P18: the pools of a type in a region are the candidates of every agent of that type there."""
    known = sum(_is_today(at, now) for series in measured.values() for at in series)
    guessed = sum(filled.values())
    if is_mostly_filled(known, guessed):
        kind, region = group
        yield _event(
            EventKind.PRICES_FILLED, f"{kind} {region}", int(now.timestamp()) // HOUR, now, instance_type=kind,
            region=region, measured=known, filled=guessed,
        )  # fmt: skip


def _event(
    kind: EventKind, source: str, period: int, now: datetime, *, level: Level | None = None, **facts: object
) -> Event:
    """The same for the same source and period, however often the pipeline runs."""
    return Event(
        event_id=event_id_of(kind.value, source, period),
        kind=kind,
        at=now,
        client_id=None,  # the market is nobody's
        actor="system",
        level=level or CATALOGUE[kind].audit,
        facts=facts,
    )
