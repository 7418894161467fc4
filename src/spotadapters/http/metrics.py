"""What a process measures of itself, for Prometheus. Labels are endpoints and statuses, never ids: so they stay few,
and tell nothing about a tenant."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

METRICS_TYPE: Final = CONTENT_TYPE_LATEST
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counters and gauges of one process. Recording is safe from any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
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
