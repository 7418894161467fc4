"""Price reports: E74, and the prices inside E62."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import evolve, frozen

from spotcore import alerts, prices
from spotcore.aggregate import Aggregate
from spotcore.alerts import Alert, AlertType, Crossing
from spotcore.builds import Evidence, judge
from spotcore.change import Change
from spotcore.events import CATALOGUE, Event, EventKind
from spotcore.ids import AgentId
from spotcore.liveness import observe
from spotcore.pools import Mode
from spotcore.ports.storage import Keys, UnitOfWork
from spotcore.prices import PriceReport
from spotcore.service.kernel import Caller, Kernel, require_live


@frozen(kw_only=True)
class PriceItem:
    """One price as reported; anything may be missing or wrong, and is judged alone (DQ-2)."""

    pool: str | None = None
    instance_type: str | None = None
    az: str | None = None
    price: Any = None
    observed_at: datetime | None = None
    product: Any = None  # the cloud's product description; None: not said, which is Linux


@frozen(kw_only=True)
class PriceSheet:
    """E74, all shapes folded: spot items, on-demand prices, and what the report says of its machine."""

    cloud_id: str | None = None
    instance_type: str | None = None
    mode: Mode = Mode.UNKNOWN
    spot: tuple[PriceItem, ...] = ()
    ondemand: tuple[PriceItem, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@frozen(kw_only=True)
class PriceAnswer:
    """How many spot items were taken and refused (P16)."""

    inserted: int
    rejected: int
    reporter: "Reporter | None" = None  # who the next report like this one comes from, while nothing else happens


@frozen(kw_only=True)
class Reporter:
    """What judging a report needs to know of its agent; true of the agent's revision alone."""

    aggregate: Aggregate  # with the reporting machine and its replica only
    about: tuple[Any, ...]  # what the report says of its machine, apart from prices

    @property
    def revision(self) -> int:
        """The agent's revision at which this holds."""
        return self.aggregate.agent.revision

    def judge(self, sheet: PriceSheet, now: datetime) -> PriceReport | None:
        """The report as the ordinary way would judge it; None when that way has to: the report says something else of
        its machine, or its on-demand price is doubtful (DQ-8)."""
        if _about(sheet) != self.about:
            return None
        judged = prices.judge_report(
            self.aggregate,
            now,
            cloud_id=sheet.cloud_id,
            spot=sheet.spot,
            ondemand=sheet.ondemand,
            last_unflagged=None,
        )
        return None if any(one.flagged for one in judged.ondemand) else judged


def _about(sheet: PriceSheet) -> tuple[Any, ...]:
    return sheet.cloud_id, sheet.instance_type, sheet.mode, sheet.evidence


def _reporter(aggregate: Aggregate, sheet: PriceSheet) -> Reporter:
    machine = aggregate.machine(sheet.cloud_id) if sheet.cloud_id else aggregate.primary
    replica = aggregate.replica_on(machine.instance_id) if machine is not None else None
    slim = Aggregate(
        client=aggregate.client,
        agent=aggregate.agent,
        instances={machine.instance_id: machine} if machine is not None else {},
        replicas={replica.replica_id: replica} if replica is not None else {},
    )
    return Reporter(aggregate=slim, about=_about(sheet))


@frozen
class Prices:
    """What agents observe of prices."""

    kernel: Kernel

    def report(self, caller: Caller, agent_id: AgentId, sheet: PriceSheet) -> PriceAnswer:
        """Judge every item alone and store what is valid; buckets are right at commit (DQ-6). Raises ``NotFound``."""
        with self.kernel.transactions() as uow:
            keys = Keys(cloud_ids=(sheet.cloud_id,) if sheet.cloud_id else ())
            aggregate = uow.agents.get(caller.client_id, agent_id, keys)
            if _teaches(aggregate, sheet):
                self.kernel.within(uow, caller, agent_id, lambda change: _learn(change, sheet), keys=keys)
            else:
                require_live(aggregate)
            answer = self.record(uow, aggregate, sheet)
        is_own = aggregate.agent.agent_id == agent_id and not _teaches(aggregate, sheet)
        return evolve(answer, reporter=_reporter(aggregate, sheet) if is_own else None)

    def record(self, uow: UnitOfWork, aggregate: Aggregate, sheet: PriceSheet) -> PriceAnswer:
        """As ``report`` inside a transaction of the caller's."""
        now = self.kernel.clock.now()
        report = prices.judge_report(
            aggregate,
            now,
            cloud_id=sheet.cloud_id,
            spot=sheet.spot,
            ondemand=sheet.ondemand,
            last_unflagged=_last_unflagged(uow, aggregate, sheet.ondemand, now),
        )
        if report.observations or report.ondemand:
            self._alert(uow, report, uow.prices.record(report), now)
        return PriceAnswer(inserted=len(report.observations), rejected=len(report.rejected))

    def _alert(self, uow: UnitOfWork, report: PriceReport, known: Sequence[Alert], now: datetime) -> None:
        """E83: tell of what the report crosses, in its own transaction; an alert fires at most once an hour."""
        due = alerts.crossings(known, report.observations, now)
        if not due:
            return
        fired = uow.alerts.fire(report.client_id, [one.alert.alert_id for one in due], now)
        events = [self._crossing(report, one, now) for one in due if one.alert.alert_id in fired]
        if events:
            uow.audit.add(events)

    def _crossing(self, report: PriceReport, one: Crossing, now: datetime) -> Event:
        alert, seen = one.alert, one.observation
        return Event(
            event_id=self.kernel.identity.new_id(),
            kind=EventKind.PRICE_ALERT,
            at=now,
            client_id=report.client_id,
            level=CATALOGUE[EventKind.PRICE_ALERT].audit,
            facts={
                "alert_id": alert.alert_id,
                "alert_type": alert.alert_type.value,
                "pool_id": seen.pool_id,
                "price": seen.price,
                "side": "above" if alert.alert_type is AlertType.PRICE_ABOVE else "below",
                "threshold": alert.threshold,
            },
        )


def _teaches(aggregate: Aggregate, sheet: PriceSheet) -> bool:
    """True when the report says something about the build or an unknown mode, so that the agent must be written."""
    agent = aggregate.agent
    known = (agent.build, agent.able_since_registration)
    judged = known
    for one in sheet.evidence:
        judged = judge(judged[0], judged[1], one)
    primary = aggregate.primary
    fills = sheet.mode is not Mode.UNKNOWN and primary is not None and primary.mode is Mode.UNKNOWN
    return judged != known or fills


def _learn(change: Change, sheet: PriceSheet) -> None:
    """AG-3: a v2 says its mode only here; it fills an unknown one."""
    require_live(change.aggregate)
    observe(change, sheet.evidence)
    machine = change.aggregate.machine(sheet.cloud_id) if sheet.cloud_id else change.aggregate.primary
    if machine is not None and machine.mode is Mode.UNKNOWN and sheet.mode is not Mode.UNKNOWN:
        change.put(machine.with_mode(sheet.mode))


def _last_unflagged(uow: UnitOfWork, aggregate: Aggregate, items: Sequence[PriceItem], now: datetime) -> Decimal | None:
    primary = aggregate.primary
    region = aggregate.agent.region
    if not items or primary is None or primary.instance_type is None or region is None:
        return None
    return uow.prices.last_unflagged_ondemand(aggregate.client.client_id, primary.instance_type, region, now)
