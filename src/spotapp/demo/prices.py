"""Prices of the simulated market: a seeded generator, or a recorded history.

The generator's shape follows what AWS publishes of today's market: spot costs about a third of on-demand, moves slowly
and in small steps, differs by zone, and never rises above on-demand.
"""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

from spotcore.pools import Pool

ONDEMAND: Final = {"m5.large": 0.096, "c5.xlarge": 0.17, "r5.large": 0.126}
ZONES: Final = ("us-east-1a", "us-east-1b", "us-east-1c")
STEP_SECONDS: Final = 300


class GeneratedPrices:
    """Mean-reverting steps of a few percent every five minutes, per pool, by seed."""

    def __init__(self, seed: int, start: datetime) -> None:
        self._start = start
        self._paths: dict[tuple[str, str], list[float]] = {}
        self._randoms = {(kind, az): Random(f"{seed}:{kind}:{az}") for kind in ONDEMAND for az in ZONES}

    def on_demand(self, instance_type: str, at: datetime) -> Decimal | None:
        """The list price."""
        return Decimal(str(ONDEMAND[instance_type]))

    def spot(self, pool: Pool, at: datetime) -> Decimal | None:
        """The pool's price now."""
        instance_type, key = pool.instance_type, (pool.instance_type, pool.az)
        random = self._randoms[key]
        if key not in self._paths:  # drawn once: a price depends on the seed, not on how often somebody asks
            self._paths[key] = [ONDEMAND[instance_type] * random.uniform(0.28, 0.42)]
        path = self._paths[key]
        mean = path[0]
        step = max(0, int((at - self._start).total_seconds() // STEP_SECONDS))
        while len(path) <= step:
            pull = 0.1 * (mean - path[-1]) / mean
            moved = path[-1] * (1 + pull + random.gauss(0, 0.015))
            path.append(round(min(moved, ONDEMAND[instance_type]), 6))
        return Decimal(str(round(path[step], 6)))


class RecordedPrices:
    """A ``describe-spot-price-history`` JSON file, replayed from its first change on; a price holds until the next."""

    def __init__(self, file: Path, start: datetime) -> None:
        self._start = start
        self._changes: dict[str, list[tuple[float, float]]] = {}
        rows = json.loads(file.read_text())["SpotPriceHistory"]
        times = [datetime.fromisoformat(row["Timestamp"]) for row in rows]
        first = min(times)
        by_zone: dict[str, list[tuple[float, float]]] = {}
        for row, at in zip(rows, times, strict=True):
            offset = (at - first).total_seconds()
            by_zone.setdefault(row["AvailabilityZone"], []).append((offset, float(row["SpotPrice"])))
        names = sorted(by_zone)[: len(ZONES)]
        for az, name in zip(ZONES, names, strict=False):
            self._changes[az] = sorted(by_zone[name])
        self._dearest = max(price for changes in self._changes.values() for _, price in changes)

    def on_demand(self, instance_type: str, at: datetime) -> Decimal | None:
        """The list price, above every recorded spot price."""
        return Decimal(str(round(max(ONDEMAND[instance_type], self._dearest * 1.5), 6)))

    def spot(self, pool: Pool, at: datetime) -> Decimal | None:
        """The price recorded for the zone, whatever the type."""
        offset = (at - self._start).total_seconds()
        known = [price for since, price in self._changes.get(pool.az, ()) if since <= offset]
        return Decimal(str(known[-1])) if known else None
