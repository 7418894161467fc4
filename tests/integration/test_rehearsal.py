"""A first storm meets nothing for the first time: a failover is rehearsed on each connection of the reserve."""

from collections.abc import Iterator
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from spotadapters.postgres.pool import REHEARSE, Connections
from spotadapters.postgres.rehearsal import AGENTS, rehearsal
from spotapp.web import _rehearse
from tests.support.databases import TABLES
from tests.support.world import FakeClock

RESERVE = 3


@pytest.fixture
def connections(module_database_url: str) -> Iterator[Connections]:
    with Connections(module_database_url, size=2, reserve=RESERVE) as opened:
        opened._urgent.pool.wait()
        yield opened


def rows(connections: Connections) -> dict[str, int]:
    with psycopg.connect(connections.database_url) as root:
        tables = [name for (name,) in root.execute(TABLES)]
        counts = [root.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(name))) for name in tables]
        return {name: row[0] for name, one in zip(tables, counts, strict=True) if (row := one.fetchone())}


def used(connections: Connections) -> int:
    """Numbers of events that were ever given out."""
    return int(connections.rows("select coalesce(sum(last_value), 0) from pg_sequences", {})[0][0])


def test_the_rows_of_a_rehearsal_are_those_of_failovers_5_7() -> None:
    played = {name: row.obj for name, row in rehearsal(FakeClock()).items()}
    assert {len(played["moved"][name]) for name in ("agents", "switches", "closed_periods", "opened_periods")} == {
        AGENTS
    }
    assert [row["replica_id"] is not None for row in played["moved"]["incidents"]] == [True] * AGENTS
    assert sorted({row["status"] for row in played["ready"]["instances"]}) == ["running_primary", "running_replica"]
    assert played["client"]["client_id"] == played["moved"]["agents"][0]["client_id"]


def test_every_connection_of_the_reserve_rehearses_and_nothing_stays(connections: Connections) -> None:
    before, steps = rows(connections), used(connections)
    played = rehearsal(FakeClock())
    with connections.connection(urgent=True) as connection:
        connection.execute(REHEARSE, played)
    once = used(connections) - steps
    assert once > 0
    connections.rehearse(played)
    assert used(connections) - steps == (1 + RESERVE) * once
    assert rows(connections) == before


def test_so_do_connections_that_are_opened_later(connections: Connections) -> None:
    connections.rehearse(rehearsal(FakeClock()))
    steps = used(connections)
    connections._urgent.lose()
    connections._urgent.pool.wait()
    with connections.connection(urgent=True):
        pass
    assert used(connections) > steps


def test_what_cannot_be_rehearsed_is_said_stays_undone_and_keeps_no_connection_from_working(
    connections: Connections,
) -> None:
    before = rows(connections)
    wrong = {**rehearsal(FakeClock()), "moved": Jsonb({"agents": [{"client_id": "nobody"}]})}
    with pytest.raises(psycopg.Error):
        connections.rehearse(wrong)
    assert rows(connections) == before
    connections._urgent.lose()
    for _ in range(RESERVE):
        with connections.connection(urgent=True) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_server_without_a_rehearsal_serves_all_the_same_and_says_so(
    connections: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(connections.database_url, autocommit=True) as root:
        root.execute("alter function rehearse rename to rehearsed")
        try:
            _rehearse(SimpleNamespace(connections=connections, parts=SimpleNamespace(clock=FakeClock())))  # type: ignore[arg-type]
        finally:
            root.execute("alter function rehearsed rename to rehearse")
    assert [record.getMessage() for record in caplog.records] == ["not_rehearsed"]
