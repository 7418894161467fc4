"""Sums over ledger lines: exact, and rounded once (P12)."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Final

from attrs import frozen

from spotcore.ledger import Line
from spotcore.money import amount
from spotcore.pricing import Quality
from spotcore.tenure import Role

_HOUR: Final = Decimal(3_600_000_000)  # microseconds


@frozen(kw_only=True)
class Account:
    """What lines add up to, in $ and hours. Unpriced time has no amounts, and its hours say how much is unknown."""

    baseline: Decimal
    cost: Decimal
    replica_cost: Decimal
    zombie_cost: Decimal
    primary_hours: Decimal
    estimated_hours: Decimal
    unpriced_hours: Decimal

    @property
    def saving(self) -> Decimal:
        """Baseline less all cost, negative when it is (SV-10)."""
        return self.baseline - self.cost


def account(lines: Iterable[Line]) -> Account:
    """The account of lines, taken-back ones and their reversals included. Splitting a line changes nothing (P12)."""
    baseline = cost = Decimal(0)  # $/h × µs
    by_role = dict.fromkeys(Role, Decimal(0))
    by_quality = dict.fromkeys(Quality, Decimal(0))
    primary = Decimal(0)
    for line in lines:
        length = line.sign * Decimal((line.ended_at - line.started_at) // timedelta(microseconds=1))
        by_quality[line.quality] += length
        if line.role is Role.PRIMARY:
            primary += length
        if line.quality is Quality.UNPRICED:
            continue
        assert line.paid_price is not None
        paid = line.paid_price * length
        cost += paid
        by_role[line.role] += paid
        if line.role is Role.PRIMARY:
            assert line.ondemand_price is not None
            baseline += line.ondemand_price * length
    return Account(
        baseline=amount(baseline / _HOUR),
        cost=amount(cost / _HOUR),
        replica_cost=amount(by_role[Role.REPLICA] / _HOUR),
        zombie_cost=amount(by_role[Role.ZOMBIE] / _HOUR),
        primary_hours=primary / _HOUR,
        estimated_hours=by_quality[Quality.ESTIMATED] / _HOUR,
        unpriced_hours=by_quality[Quality.UNPRICED] / _HOUR,
    )
