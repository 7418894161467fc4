"""Seals are kept for ever: what seals and prunes looks at the last hour, and at what has reached its age (section 9).

Counted in rows read, whatever the planner believes: on a new site it has never looked at the tables.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest

from spotadapters.postgres.audit import PAGE, AuditSeals
from spotadapters.postgres.queries import query
from tests.support.databases import WarmDatabase
from tests.support.rows import Connection, put
from tests.support.world import START, FakeClock

AGE: Final = 3_000
"""Minutes that the site has sealed for, each with a row and its seal."""
FEW: Final = 500
"""Rows that a statement may read here: the last hour's and a page's, each by two or three parts of it."""
ROWS: Final = """
insert into audit_events (event_id, kind, at, client_id, actor, level, facts)
select 'e' || n, 'k', %(now)s - n * interval '1 minute', nullif('c' || n %% 3, 'c0'), 'a', 'info', '{}'
from generate_series(%(age)s, 1, -1) n
"""
SEALS: Final = """
insert into audit_seals (client_id, seal_no, audit_ids, digest, previous, sealed_at, pruned_at)
select coalesce(client_id, ''), audit_id, array[audit_id], 'd', 'p', at + interval '30 seconds',
    case when at < %(pruned)s then %(now)s::timestamptz end
from audit_events
"""
OF_AN_OLD_SITE: Final = pytest.mark.parametrize("known", ["nothing", "few rows", "the tables"])
"""Nothing is as old as that in a table that the planner takes for one of a single row."""
READ: Final = "select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables"


@pytest.fixture(params=["nothing", "one row", "few rows", "the tables"])
def known(request: pytest.FixtureRequest) -> str:
    """What the planner has seen of the tables."""
    return str(request.param)


def old_site(url: str, known: str, pruned: timedelta) -> None:
    """Rows and seals of every minute, pruned where they are older than ``pruned``."""
    with psycopg.connect(url, autocommit=True) as root:
        seen = {"nothing": 0, "one row": 1, "few rows": 60, "the tables": AGE}[known]
        if 0 < seen < AGE:
            _filled(root, seen, pruned)
            root.execute("analyze audit_events, audit_seals")
            root.execute("set session_replication_role = replica")  # seals are never deleted otherwise
            root.execute("delete from audit_events")
            root.execute("delete from audit_seals")
            root.execute("set session_replication_role = origin")
        _filled(root, AGE, pruned)
        if seen == AGE:
            root.execute("analyze audit_events, audit_seals")


def _filled(root: Connection, age: int, pruned: timedelta) -> None:
    root.execute(ROWS, {"now": START, "age": age})
    root.execute(SEALS, {"now": START, "pruned": START - pruned})


def rows_read(url: str, name: str, **values: Any) -> int:
    """Of seals and what they seal, by a statement as the server sends it; nothing is kept of what it does."""
    with psycopg.connect(url) as session:
        session.execute("select set_config('role', 'spotcore_app', false), set_config('spotcore.tenant', '*', false)")
        session.execute(query(name), values)  # its plan is made, and stays
        session.rollback()
        session.execute("select set_config('role', 'spotcore_app', false), set_config('spotcore.tenant', '*', false)")
        before = _counters(session)
        session.execute(query(name), values)
        read = _counters(session) - before
        session.rollback()
        return read["audit_seals"] + read["audit_events"]


def _counters(session: psycopg.Connection[Any]) -> Counter[str]:
    return Counter(dict(session.execute(READ).fetchall()))


def test_sealing_reads_the_seals_of_the_last_hour(warm_database: WarmDatabase, known: str) -> None:
    old_site(warm_database.url, known, pruned=timedelta(0))
    assert 0 < rows_read(warm_database.url, "audit_seal", now=START, limit=5_000) < FEW


@OF_AN_OLD_SITE
@pytest.mark.parametrize("pruned", [0, AGE // 2], ids=["none is old", "the old are pruned"])
def test_pruning_with_nothing_to_prune_reads_no_seal(warm_database: WarmDatabase, known: str, pruned: int) -> None:
    before = START - timedelta(minutes=pruned or AGE + 1)
    old_site(warm_database.url, known, pruned=timedelta(minutes=pruned or AGE + 1))
    assert rows_read(warm_database.url, "audit_prune", now=START, before=before, limit=PAGE) < FEW


@OF_AN_OLD_SITE
def test_pruning_reads_a_page(warm_database: WarmDatabase, known: str) -> None:
    old_site(warm_database.url, known, pruned=timedelta(minutes=AGE + 1))
    before = START - timedelta(minutes=AGE // 2)
    assert 0 < rows_read(warm_database.url, "audit_prune", now=START, before=before, limit=PAGE) < FEW


# where sealing begins: above the highest id of all seals that are an hour old


@pytest.fixture
def root(warm_database: WarmDatabase) -> Iterator[Connection]:
    with closing(psycopg.connect(warm_database.url, autocommit=True)) as connection:
        yield connection


def sealed_by(root: Connection, seals: AuditSeals, clock: FakeClock, *events: str) -> int:
    for event in events:
        put(root, "audit_events", event_id=event, client_id=event[0], at=clock.now())
    return seals.seal()


def times_sealed(root: Connection) -> list[int]:
    """How often each row was, by id."""
    return [
        count
        for (count,) in root.execute(
            "select count(s.seal_no) from audit_events a left join audit_seals s on a.audit_id = any(s.audit_ids)"
            " group by a.audit_id order by a.audit_id"
        )
    ]


def test_the_last_seal_of_an_hour_ago_may_be_of_lower_ids_than_others(
    root: Connection, warm_database: WarmDatabase
) -> None:
    clock = FakeClock()
    seals = AuditSeals(warm_database.connections, clock)
    with psycopg.connect(warm_database.url) as slow:
        put(slow, "audit_events", event_id="late", client_id="l", at=clock.now())
        assert sealed_by(root, seals, clock, "a1", "b1", "b2") == 3
    clock.advance(60)
    assert sealed_by(root, seals, clock) == 1  # what became visible late, under the lowest id
    clock.advance(7_200)
    assert sealed_by(root, seals, clock) == 0
    assert sealed_by(root, seals, clock, "a2") == 1
    assert times_sealed(root) == [1] * 5


@pytest.mark.parametrize("hours_ahead", [0.5, 3, 48])
def test_a_clock_that_was_ahead_makes_no_row_sealed_twice_or_never(
    root: Connection, warm_database: WarmDatabase, hours_ahead: float
) -> None:
    clock = FakeClock()
    seals = AuditSeals(warm_database.connections, clock)
    sealed = [sealed_by(root, seals, clock, "a1")]
    clock.advance(hours_ahead * 3_600)
    sealed.append(sealed_by(root, seals, clock, "a2", "b2"))
    clock.advance(-hours_ahead * 3_600)
    sealed.append(sealed_by(root, seals, clock, "a3"))
    for number in range(60):
        clock.advance(3_700)
        sealed.append(sealed_by(root, seals, clock, *(["a4"] if number == 30 else [])))
    assert sum(sealed) == 5
    assert times_sealed(root) == [1] * 5
