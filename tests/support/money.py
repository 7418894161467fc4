"""Machines, prices and lines for tests of the ledger."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import evolve

from spotcore.builds import Build
from spotcore.ids import AgentId, ClientId, InstanceId
from spotcore.instances import Instance, InstanceStatus
from spotcore.ledger import Line, accrue
from spotcore.pools import Mode
from spotcore.pricing import Bucket, OndemandPrice, Series, ondemand_series, spot_series
from spotcore.switches import PrimaryPeriod
from spotcore.tenure import Tenure
from tests.support.rule_builders import START, a_machine

POOL = "m5.large.us-east-1a"
ONDEMAND, SPOT = Decimal("0.0416"), Decimal("0.0104")
DAY0 = START.replace(hour=0, minute=0, second=0, microsecond=0)


def hour(number: float) -> datetime:
    """So many hours after midnight of the first day."""
    return DAY0 + timedelta(hours=number)


def steady(price: Decimal | str = SPOT, start: float = -1, hours: float = 24 * 60) -> Series:
    """A pool whose price stands still."""
    first, last = hour(start), hour(start + hours)
    return spot_series([Bucket(first, Decimal(price), last=last)])


def listed(price: Decimal | str = ONDEMAND) -> Series:
    """An on-demand price known from ever."""
    return ondemand_series(observed=[OndemandPrice(hour(-1000), Decimal(price))])


def a_tenure(
    name: str = "p",
    *,
    start: float = 0,
    end: float | None = None,
    primary: tuple[tuple[float, float | None], ...] = (),
    zombie: float | None = None,
    mode: Mode = Mode.SPOT,
    build: Build = Build.V4C,
    registered: Decimal | None = None,
    **facts: Any,
) -> Tenure:
    """A machine confirmed at hour ``start``; primary in the given hours."""
    status = InstanceStatus.TERMINATED if end is not None else InstanceStatus.RUNNING_REPLICA
    machine: Instance = evolve(
        a_machine(name, status),
        mode=mode,
        pool_id=POOL if mode is Mode.SPOT else None,
        instance_type="m5.large",
        az="us-east-1a",
        region="us-east-1",
        created_at=hour(start),
        confirmed_at=hour(start),
        terminated_at=hour(end) if end is not None else None,
        zombie_since=hour(zombie) if zombie is not None else None,
        **facts,
    )
    periods = tuple(
        PrimaryPeriod(
            agent_id=AgentId("a"),
            client_id=ClientId("c"),
            instance_id=InstanceId(machine.instance_id),
            started_at=hour(begins),
            ended_at=hour(ends) if ends is not None else None,
        )
        for begins, ends in primary
    )
    return Tenure(instance=machine, build=build, periods=periods, registered_ondemand_price=registered)


def lines_of(
    tenure: Tenure, until: float, *, spot: Series | None = None, ondemand: Series | None = None, since: float = -10_000
) -> tuple[Line, ...]:
    """Its lines up to hour ``until``."""
    paid, known = spot if spot is not None else steady(), ondemand if ondemand is not None else listed()
    return accrue(tenure, lambda _: paid, lambda _: known, hour(since), hour(until))
