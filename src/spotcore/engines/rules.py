"""The built-in rules (4.5): they decide out of the box, and whenever another engine fails. They never fail."""

from decimal import Decimal
from typing import ClassVar, Final

from attrs import frozen

from spotcore import risk
from spotcore.decisions import Action, Candidate, Proposal, Snapshot
from spotcore.pools import Mode

DEAR_RATIO: Final = Decimal("0.80")  # FB-2
SPOT_SAVES_PERCENT: Final = Decimal(30)  # FB-3


@frozen(kw_only=True)
class Thresholds:
    """What the rules compare with; as it stands, the numbers of 4.5."""

    dear_ratio: Decimal = DEAR_RATIO  # spot is dear above this share of the on-demand price
    spot_saves_percent: Decimal = SPOT_SAVES_PERCENT  # on-demand is left for savings above this


def _percent(now: Decimal, then: Decimal) -> Decimal:
    return (now - then) / now * 100


@frozen
class RulesEngine:
    """First match of FB-1…FB-4. It never proposes an ordinary move from pool to pool."""

    thresholds: Thresholds = Thresholds()
    name: ClassVar[str] = "rules"
    version: ClassVar[str] = "1"

    def propose(self, snapshot: Snapshot) -> Proposal:
        """The rules' advice, with a score for every candidate: what it would save, in percent."""
        limits = self.thresholds
        paid, ondemand = snapshot.current_price, snapshot.ondemand_price
        if not _usable(paid) or not _usable(ondemand) or paid is None or ondemand is None:
            return Proposal(action=Action.STAY, confidence=Decimal("0.50"), reason="insufficient_data")  # FB-1
        scores = {one.pool_id: _percent(paid, one.price) for one in snapshot.candidates}
        if snapshot.current_mode is Mode.SPOT and paid / ondemand > limits.dear_ratio:  # FB-2
            target = _first(snapshot, paid, ceiling=ondemand * limits.dear_ratio)
            return Proposal(
                action=Action.SWITCH_POOL if target else Action.SWITCH_TO_ONDEMAND,
                target_pool_id=target.pool_id if target else None,
                confidence=Decimal("0.70"),
                risk=target.risk if target else Decimal(0),
                reason="spot_price_close_to_ondemand",
                scores=scores,
            )
        if snapshot.current_mode is Mode.ONDEMAND:  # FB-3
            target = _first(snapshot, paid, ceiling=paid)
            least = max(limits.spot_saves_percent, snapshot.min_savings_percent)
            saves = _percent(paid, target.price) if target else Decimal(0)
            if target is not None and saves > limits.spot_saves_percent and saves >= least:
                return Proposal(
                    action=Action.SWITCH_TO_SPOT,
                    target_pool_id=target.pool_id,
                    confidence=Decimal("0.80"),
                    risk=target.risk,
                    reason="spot_saves_enough",
                    scores=scores,
                )
        return Proposal(
            action=Action.STAY, confidence=Decimal("0.60"), risk=snapshot.current_risk, reason="no_better_place",
            scores=scores,
        )  # fmt: skip  # FB-4


def _usable(price: Decimal | None) -> bool:
    return price is not None and price.is_finite() and price > 0


def _first(snapshot: Snapshot, paid: Decimal, *, ceiling: Decimal) -> Candidate | None:
    """The best candidate at or under a price that the bands of 4.3 let us recommend."""
    for one in snapshot.candidates:
        if one.price <= ceiling and risk.recommendable(one.risk, _percent(paid, one.price)):
            return one
    return None
