"""What a process measures of itself, for Prometheus. Labels are endpoints and statuses, never ids: so they stay few,
and tell nothing about a tenant."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from spotadapters.jobs.board import Board
from spotcore.errors import SpotError

METRICS_TYPE: Final = CONTENT_TYPE_LATEST
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _JobTimes(Collector):
    """When each job last succeeded, in whichever process (JB-8); nothing while the database cannot be asked."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        succeeded = GaugeMetricFamily(
            "spotcore_job_last_success_timestamp_seconds",
            "When the job last succeeded, seconds since 1970",
            labels=["job"],
        )
        interval = GaugeMetricFamily("spotcore_job_interval_seconds", "How often the job is due", labels=["job"])
        with contextlib.suppress(SpotError):
            for job in self._board.jobs():
                interval.add_metric([job.name], job.every.total_seconds())
                if job.last_success is not None:
                    succeeded.add_metric([job.name], job.last_success.timestamp())
        yield succeeded
        yield interval

    def describe(self) -> Iterator[Metric]:
        """Nothing: so that registering asks nobody."""
        return iter(())


class Metrics:
    """Counters and gauges of one process. Recording is safe from any thread."""

    def __init__(self, board: Board | None = None) -> None:
        """``board``: whose jobs are shown; without one none are."""
        self._registry = CollectorRegistry()
        if board is not None:
            self._registry.register(_JobTimes(board))
        self._requests = Counter(
            "spotcore_http_requests", "Answered requests", ["endpoint", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "spotcore_http_request_seconds",
            "From the first byte to the last, waiting polls included",
            ["endpoint"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is read when asked for; ``name`` without the ``spotcore_`` in front."""
        Gauge(f"spotcore_{name}", text, registry=self._registry).set_function(read)

    def page(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)
