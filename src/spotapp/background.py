"""What runs beside the ticker, each in a thread of its own: seals, clean prices, money, retention (section 9)."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from spotadapters.postgres.audit import AuditSeals
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.reader import Reader
from spotcore.control_plane import ControlPlane
from spotcore.ports.world import Clock

log = logging.getLogger("spotapp.background")

AUDIT_KEPT: Final = timedelta(days=180)
RAW_PRICES_KEPT: Final = timedelta(days=90)
OVERLAP: Final = timedelta(hours=2)  # of what came in: a run that was missed costs nothing

Job = tuple[float, Callable[[], object]]
"""Seconds between runs, and what to do."""


def background(plane: ControlPlane, connections: Connections, clock: Clock, data_dir: Path) -> Mapping[str, Job]:
    """The jobs by name. Every one is repeatable, and two processes at once do the work once (JB-1).

    Datasets are built where the extra ``history`` is installed.
    The ledger accrues every ten minutes where the rules ask for an hour: figures are fresher, a run has little to do.
    """
    seals, reader = AuditSeals(connections, clock), Reader(connections, clock)
    pipeline = _Pipeline(plane, clock)

    def accrue() -> None:
        for client_id, reason in plane.savings.accrue().failed:
            log.error("ledger_stuck", extra={"client_id": client_id, "reason": reason})

    def retain() -> None:
        seals.prune(clock.now() - AUDIT_KEPT)
        reader.rows("raw_prices_keep", dict, before=clock.now() - RAW_PRICES_KEPT)

    jobs: dict[str, Job] = {
        "audit seal": (60.0, seals.seal),
        "data pipeline": (3_600.0, pipeline.run),
        "ledger accrual": (600.0, accrue),
        "retention": (86_400.0, retain),
    }
    if find_spec("duckdb") is not None:
        jobs["dataset build"] = (21_600.0, lambda: _build(connections.database_url, data_dir, clock))
    return jobs


def _build(database_url: str, data_dir: Path, clock: Clock) -> None:
    from spotadapters.history.dataset import Datasets

    Datasets(database_url, data_dir / "datasets").build(clock.now())


class _Pipeline:
    """Looks at everything of the last 7 days once, then at what came in since."""

    def __init__(self, plane: ControlPlane, clock: Clock) -> None:
        self._plane = plane
        self._clock = clock
        self._is_first = True

    def run(self) -> None:
        """A run."""
        since = None if self._is_first else self._clock.now() - OVERLAP
        done = self._plane.pipeline.run(received_since=since)
        self._is_first = False
        for group, reason in done.failed:
            log.error("prices_stuck", extra={"group": group, "reason": reason})
