"""What a process measures of itself: counts, seconds, gauges, and when jobs last succeeded (JB-8)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from spotadapters.http.metrics import METRICS_TYPE, SECONDS, Metrics
from spotadapters.jobs.board import JobView
from spotcore.errors import SpotError, Unavailable

SINCE = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Board:
    """Jobs as they were told, or a refusal."""

    def __init__(self, *jobs: JobView, failure: SpotError | None = None) -> None:
        self._jobs, self.failure, self.asked = jobs, failure, 0

    def jobs(self) -> Sequence[JobView]:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return self._jobs


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every value by its name and labels."""
    return {
        (one.name, *(f"{name}={value}" for name, value in sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(metrics.page().decode()) for one in family.samples
    }  # fmt: skip


def a_job(name: str, success: datetime | None = None, every: float = 60) -> JobView:
    return JobView(name=name, every=timedelta(seconds=every), known_since=SINCE, last_success=success)


def test_answers_are_counted_by_endpoint_and_status() -> None:
    metrics = Metrics()
    for endpoint, status in (("E17", 200), ("E17", 200), ("E17", 503), ("E03", 200)):
        metrics.answered(endpoint, status, 0.01)
    found = samples(metrics)
    name = "spotcore_http_requests_total"
    assert {key[1:]: value for key, value in found.items() if key[0] == name} == {
        ("endpoint=E17", "status=200"): 2, ("endpoint=E17", "status=503"): 1, ("endpoint=E03", "status=200"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.0011, 0.3, 5.0, 60.0])
def test_seconds_fall_into_buckets_that_tell_fast_from_slow(seconds: float) -> None:
    metrics = Metrics()
    metrics.answered("E17", 200, seconds)
    found = samples(metrics)
    name = "spotcore_http_request_seconds"
    buckets = {
        float(key[2].removeprefix("le=")): value for key, value in found.items() if key[0] == f"{name}_bucket"
    }  # fmt: skip
    assert set(buckets) == {*SECONDS, float("inf")}
    assert {edge for edge, count in buckets.items() if count} == {edge for edge in buckets if edge >= seconds}
    assert found[f"{name}_sum", "endpoint=E17"] == seconds
    assert found[f"{name}_count", "endpoint=E17"] == 1


def test_a_gauge_is_read_when_it_is_asked_for() -> None:
    metrics, waiting = Metrics(), [3]
    metrics.watch("waiting_polls", "Agents that wait", lambda: waiting[0])
    assert samples(metrics)["spotcore_waiting_polls",] == 3
    waiting[0] = 5
    assert samples(metrics)["spotcore_waiting_polls",] == 5


def test_jobs_show_how_often_they_are_due_and_when_they_last_succeeded() -> None:
    metrics = Metrics(Board(a_job("retention", SINCE + timedelta(seconds=90), every=3_600), a_job("monthly savings")))
    found = samples(metrics)
    assert found["spotcore_job_last_success_timestamp_seconds", "job=retention"] == SINCE.timestamp() + 90
    assert ("spotcore_job_last_success_timestamp_seconds", "job=monthly savings") not in found
    assert found["spotcore_job_interval_seconds", "job=retention"] == 3_600
    assert found["spotcore_job_interval_seconds", "job=monthly savings"] == 60


def test_without_a_board_there_is_nothing_of_jobs_and_making_metrics_asks_nobody() -> None:
    assert not [key for key in samples(Metrics()) if key[0].startswith("spotcore_job")]
    board = Board(a_job("retention"))
    metrics = Metrics(board)
    assert board.asked == 0
    metrics.page()
    assert board.asked == 1


def test_while_the_database_is_away_all_else_is_still_measured() -> None:
    board = Board(a_job("retention", SINCE), failure=Unavailable("away"))
    metrics = Metrics(board)
    metrics.answered("E17", 200, 0.1)
    found = samples(metrics)
    assert found["spotcore_http_requests_total", "endpoint=E17", "status=200"] == 1
    assert not [key for key in found if key[0].startswith("spotcore_job")]
    board.failure = None
    assert [key for key in samples(metrics) if key[0].startswith("spotcore_job")]


def test_the_page_is_prometheus_text_with_a_help_for_every_family() -> None:
    metrics = Metrics(Board(a_job("retention", SINCE)))
    metrics.watch("waiting_polls", "Agents that wait", lambda: 0)
    text = metrics.page().decode()
    assert METRICS_TYPE.startswith("text/plain")
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            assert f"# HELP {line.split()[2]} " in text


def test_two_processes_in_one_test_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    first.answered("E17", 200, 0.1)
    assert not [key for key in samples(second) if key[0].startswith("spotcore_http_requests_total")]
