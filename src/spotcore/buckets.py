"""Who wins a bucket, and how far the others are from it (DQ-4, DQ-5). Pure functions of raw observations."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from attrs import frozen

from spotcore.prices import Observation, PriceSource, bucket_start, order_key


class Discrepancy(StrEnum):
    """How far the runner-up is from the winner (DQ-5)."""

    FLAGGED = "flagged"
    WARNING = "warning"


FLAGGED_ABOVE: Final = Decimal("0.005")
WARNING_ABOVE: Final = Decimal("0.10")


@frozen(kw_only=True)
class Contender:
    """One raw observation and who made it."""

    source: PriceSource
    observation: Observation

    @property
    def key(self) -> tuple[int, datetime, str]:
        """The smallest wins (DQ-4)."""
        return order_key(self.source, self.observation.observed_at, self.observation.submission_id)


@frozen(kw_only=True)
class Verdict:
    """The winner of a bucket; its price is always one that was observed (DQ-5)."""

    winner: Contender
    runner_up: Contender | None

    @property
    def discrepancy(self) -> Discrepancy | None:
        """How far the runner-up is off, as a part of the winner's price."""
        if self.runner_up is None:
            return None
        price = self.winner.observation.price
        apart = abs(self.runner_up.observation.price - price)
        if apart > price * WARNING_ABOVE:
            return Discrepancy.WARNING
        return Discrepancy.FLAGGED if apart > price * FLAGGED_ABOVE else None


def winner(contenders: Iterable[Contender]) -> Verdict | None:
    """The best and the second of one bucket, in whatever order they came; a repeated submission counts once (DQ-3)."""
    best: dict[str, Contender] = {}
    for one in contenders:
        name = one.observation.submission_id
        if name not in best or one.key < best[name].key:
            best[name] = one
    ranked = sorted(best.values(), key=lambda one: one.key)
    if not ranked:
        return None
    return Verdict(winner=ranked[0], runner_up=ranked[1] if len(ranked) > 1 else None)


def judge_buckets(contenders: Iterable[Contender]) -> Mapping[tuple[str, datetime], Verdict]:
    """Every bucket of a raw history, by pool and start (DQ-1)."""
    buckets: dict[tuple[str, datetime], list[Contender]] = {}
    for one in contenders:
        key = (one.observation.pool_id, bucket_start(one.observation.observed_at))
        buckets.setdefault(key, []).append(one)
    return {key: verdict for key, rows in buckets.items() if (verdict := winner(rows)) is not None}
