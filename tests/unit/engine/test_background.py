"""What runs beside the ticker (section 9), and that one job's trouble is only logged."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from spotapp.background import background
from spotcore.service.savings import Accrued
from tests.support.world import ZONES, FakeClock, World, a_world


@pytest.fixture
def opened(database_url: str) -> Iterator[tuple[World, Connections, FakeClock]]:
    clock = FakeClock()
    with Connections(database_url, size=3, reserve=1) as connections:
        yield a_world(PostgresStorage(connections, clock).transactions, clock), connections, clock


def test_every_job_runs_and_runs_again(opened: tuple[World, Connections, FakeClock], tmp_path: Path) -> None:
    world, connections, clock = opened
    agent_id = world.register().agent_id
    jobs = background(world.plane, connections, clock, tmp_path)
    assert set(jobs) == {"audit seal", "data pipeline", "ledger accrual", "retention", "dataset build"}
    for _ in range(2):
        world.report_prices(agent_id, {ZONES[0]: "0.03"})
        clock.advance(7200)
        for seconds, run in jobs.values():
            assert seconds >= 60
            run()
    counts = {
        table: connections.rows(f"select count(*) from {table}", {})[0][0]  # type: ignore[arg-type]
        for table in ("audit_seals", "ledger_lines", "datasets")
    }
    assert all(counts.values()), counts


def test_retention_keeps_180_days_of_audit_rows(opened: tuple[World, Connections, FakeClock], tmp_path: Path) -> None:
    world, connections, clock = opened
    world.register()
    jobs = background(world.plane, connections, clock, tmp_path)
    jobs["audit seal"][1]()
    before = connections.rows("select count(*) from audit_events", {})
    jobs["retention"][1]()
    assert connections.rows("select count(*) from audit_events", {}) == before
    clock.advance(timedelta(days=181).total_seconds())
    jobs["retention"][1]()
    assert connections.rows("select count(*) from audit_events", {}) == [(0,)]


def test_a_client_whose_ledger_is_stuck_is_named_in_the_log(
    opened: tuple[World, Connections, FakeClock], tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    world, connections, clock = opened
    stuck = Accrued(failed=((world.client_id, "InvariantViolated: I9"),))
    monkeypatch.setattr(type(world.plane.savings), "accrue", lambda *_: stuck)
    with caplog.at_level(logging.ERROR):
        background(world.plane, connections, clock, tmp_path)["ledger accrual"][1]()
    assert [record.__dict__["client_id"] for record in caplog.records] == [world.client_id]
