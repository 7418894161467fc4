"""Retention, table by table, to the second (section 9, JB-7): what is exactly so old stays, a second more goes."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from attrs import frozen

from spotadapters.postgres import retention
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.retention import Retention
from tests.support.rows import VALID, Connection, count_of, put
from tests.support.world import START, FakeClock

SECOND = timedelta(seconds=1)
NOW = START + timedelta(days=1_000)


@frozen
class Kept:
    """How long rows of a table are kept, by which column, and what makes a row one of those."""

    table: str
    days: int
    column: str
    facts: Mapping[str, Any] = {}
    parents: tuple[str, ...] = ()
    number: str | None = None  # the column that tells rows apart


CLIENT = ("clients", "agents")
TABLE = (  # section 9, "Kept"
    Kept("decisions", 30, "made_at", number="decision_id"),
    Kept("recent_reports", 1, "received_at"),
    Kept("commands", 7, "finished_at", {"state": "completed"}, CLIENT, "command_id"),
    Kept("commands", 7, "finished_at", {"state": "failed", "failure_reason": "undeliverable"}, CLIENT, "command_id"),
    Kept("commands", 7, "finished_at", {"state": "expired"}, CLIENT, "command_id"),
    Kept("commands", 7, "finished_at", {"state": "cancelled"}, CLIENT, "command_id"),
    Kept("notifications", 90, "at", {"client_id": "c"}, number="notification_id"),
    Kept("notifications", 90, "at", {"client_id": None}, number="notification_id"),
    Kept("job_runs", 90, "started_at"),
    Kept("job_runs", 90, "started_at", {"status": "failed", "error": "e"}),
    Kept("job_slots", 2, "slot_start", number="job"),
    Kept("deliveries", 30, "created_at", {"notification_id": None}, ("channels",), "delivery_id"),
    Kept("deliveries", 30, "created_at", {"notification_id": None, "state": "dead", "next_attempt_at": None}, ("channels",), "delivery_id"),
    Kept("price_buckets", 730, "bucket_start", number="pool_id"),
    Kept("price_buckets", 730, "bucket_start", {"source": "interpolated", "method": "linear"}, number="pool_id"),
)  # fmt: skip


@pytest.fixture(scope="module")
def pools(module_database_url: str) -> Iterator[Connections]:
    with Connections(module_database_url, size=2, reserve=1) as connections:
        yield connections


@pytest.fixture
def root(module_database_url: str, pools: Connections) -> Iterator[Connection]:  # noqa: ARG001
    """An empty database, written to directly."""
    with closing(psycopg.connect(module_database_url, autocommit=True)) as connection:
        with connection.transaction():
            for table in reversed(VALID):
                connection.execute(f"delete from {table}")
        yield connection


def applied(pools: Connections, now: datetime = NOW) -> Mapping[str, int]:
    done = Retention(pools, FakeClock(now)).apply()
    assert done.failed == ()
    return {name: count for name, count in done.rows.items() if count}


def ids(kept: Kept) -> str:
    return "-".join([kept.table, *(str(value) for value in kept.facts.values() if value)])


def put_aged(root: Connection, kept: Kept, age: timedelta) -> None:
    names = {kept.number: f"{kept.number}-{age}"} if kept.number else {}
    extra = {"request_id": f"q-{age}"} if kept.table == "commands" else {}
    extra |= {"dedupe_key": f"k-{age}"} if kept.table == "notifications" else {}
    put(root, kept.table, **{**kept.facts, **names, **extra, kept.column: NOW - age})


@pytest.mark.parametrize("kept", TABLE, ids=ids)
def test_a_row_stays_to_the_end_of_its_time_and_goes_then(root: Connection, pools: Connections, kept: Kept) -> None:
    for parent in kept.parents:
        put(root, parent)
    limit = timedelta(days=kept.days)
    for age in (limit - SECOND, limit, limit + SECOND, 2 * limit):
        put_aged(root, kept, age)
    gone = {
        name: count for name, count in applied(pools).items() if name != "decision_days"
    }  # counts go with what they count
    assert sum(gone.values()) == 2, gone
    ages = root.execute(f"select %s - {kept.column} from {kept.table} order by 1", (NOW,)).fetchall()
    assert [row[0] for row in ages] == [limit - SECOND, limit]
    assert applied(pools) == {}  # twice removes nothing more


@pytest.mark.parametrize(("days", "stays"), [(29, True), (30, True), (31, False)])
def test_a_days_count_of_decisions_stays_as_long_as_one_of_them_may(
    root: Connection, pools: Connections, days: int, stays: bool
) -> None:
    put(root, "decision_days", day=(NOW - timedelta(days=days)).date())
    applied(pools)
    assert count_of(root, "decision_days") == stays


NEVER = ("switches", "primary_periods", "ledger_lines", "incidents", "client_snapshots", "model_sessions", "pools")


def test_104_what_is_kept_for_ever_outlives_every_run(root: Connection, pools: Connections) -> None:
    for table in ("clients", "agents", "instances", *NEVER):
        put(root, table)
    put(root, "tokens")
    put(root, "ondemand_list")
    before = {
        table: count_of(root, table) for table in (*NEVER, "clients", "agents", "instances", "tokens", "ondemand_list")
    }
    for years in (1, 5, 30):
        applied(pools, START + timedelta(days=365 * years))
    assert {table: count_of(root, table) for table in before} == before == dict.fromkeys(before, 1)


@pytest.mark.parametrize("state", ["pending", "executing"])
def test_jb7_an_open_command_is_never_too_old(root: Connection, pools: Connections, state: str) -> None:
    for table in CLIENT:
        put(root, table)
    put(root, "commands", state=state)  # CM: a terminate command has no TTL
    put(root, "commands", command_id="o", request_id="o", state=state, kind="terminate_instance", finished_at=START)
    assert applied(pools) == {}
    assert count_of(root, "commands") == 2


@pytest.mark.parametrize("status", ["launching", "running_replica", "zombie", "terminating", "terminated", "released"])
def test_jb7_a_command_goes_when_the_machine_it_launched_has_ended(
    root: Connection, pools: Connections, status: str
) -> None:
    for table in CLIENT:
        put(root, table)
    put(root, "commands", state="completed", finished_at=START)
    put(root, "instances", status=status, bound_command_id="k")
    assert sum(applied(pools).values()) == (1 if status in ("terminated", "released") else 0)


def test_a_read_notification_goes_after_thirty_days_and_an_unread_one_after_ninety(
    root: Connection, pools: Connections
) -> None:
    days = {"young": 30, "old": 31, "older": 90}
    for name, age in days.items():
        for is_read in (True, False):
            key = f"{name}-{is_read}"
            put(root, "notifications", notification_id=key, dedupe_key=key, at=NOW - timedelta(days=age))
            if is_read:
                put(root, "notification_reads", notification_id=key, read_at=NOW)
    assert applied(pools) == {"read_notifications": 2}
    left = {row[0] for row in root.execute("select notification_id from notifications").fetchall()}
    assert left == {"young-True", "young-False", "old-False", "older-False"}
    assert count_of(root, "notification_reads") == 1  # readings go with what was read


def test_nt2_the_operators_reading_ends_no_clients_notification(root: Connection, pools: Connections) -> None:
    put(root, "notifications", at=NOW - timedelta(days=60))
    put(root, "notification_reads", client_id="")
    put(root, "notifications", notification_id="all", client_id=None, dedupe_key="all", at=NOW - timedelta(days=60))
    put(root, "notification_reads", notification_id="all", client_id="c")  # a broadcast is unread by others
    assert applied(pools) == {}


@pytest.mark.parametrize(("seconds", "gone"), [(86_399, 0), (86_400, 0), (86_401, 1)])
def test_id1_a_key_is_forgotten_after_its_day(root: Connection, pools: Connections, seconds: float, gone: int) -> None:
    put(root, "idempotency_keys", created_at=NOW - timedelta(seconds=seconds))
    assert Retention(pools, FakeClock(NOW)).forget_requests() == gone
    assert count_of(root, "idempotency_keys") == 1 - gone


def test_very_many_rows_go_in_steps_and_all_of_them(
    root: Connection, pools: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 3)
    for number in range(10):
        put(root, "decisions", decision_id=str(number))
    assert applied(pools) == {"decisions": 10, "decision_days": 1}


# ---- a step that fails (JB-4)


@contextmanager
def refused(root: Connection, table: str, which: str = "true") -> Iterator[None]:
    """These rows of a table cannot be removed, as where its index is damaged or a repair has locked them."""
    root.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'damaged'"
        " using errcode = 'query_canceled'; end $$"
    )
    root.execute(
        f"create trigger refuse before delete on {table} for each row when ({which}) execute function refuse()"
    )
    try:
        yield
    finally:
        root.execute("drop function refuse() cascade")


COUNTED = {"decision_days"}
"""Written with each decision; they have a step of their own."""


@pytest.mark.parametrize("stuck", ["decisions", "job_runs", "audit_events"])
def test_jb4_a_step_that_fails_is_named_and_the_others_are_taken(
    root: Connection, pools: Connections, stuck: str
) -> None:
    put(root, "decisions")
    put(root, "job_runs")
    sealed(root, 1, timedelta(days=200))
    with refused(root, stuck):
        done = Retention(pools, FakeClock(NOW)).apply()
    others = {"decisions", "job_runs", "audit_events"} - {stuck}
    assert {name for name, count in done.rows.items() if count} - COUNTED == others
    assert [step for step, _ in done.failed] == [stuck]
    assert done.failed[0][1].startswith("Unavailable: ")
    assert {table: count_of(root, table) for table in (*others, stuck)} == {**dict.fromkeys(others, 0), stuck: 1}
    assert {name: gone for name, gone in applied(pools).items() if name not in COUNTED} == {stuck: 1}


def test_jb4_what_a_step_removed_before_it_failed_is_counted(
    root: Connection, pools: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 2)
    for number in range(5):
        put(root, "decisions", decision_id=str(number), made_at=START + number * SECOND)
    with refused(root, "decisions", "old.decision_id = '4'"):
        done = Retention(pools, FakeClock(NOW)).apply()
    assert (done.rows["decisions"], [step for step, _ in done.failed]) == (4, ["decisions"])


# ---- raw prices: 90 days, in whole weeks (JB-7)


def test_jb7_a_week_of_raw_prices_goes_when_its_last_day_is_ninety_days_old(
    root: Connection, pools: Connections
) -> None:
    """2026-03-02 is a Monday: its week ends with the 8th; the partition may go from the 7th of June on."""
    applied(pools, START)
    put(root, "raw_prices", observed_at=datetime(2026, 3, 2, tzinfo=START.tzinfo), submission_id="first")
    put(root, "raw_prices", observed_at=datetime(2026, 3, 9, tzinfo=START.tzinfo) - SECOND, submission_id="last")
    put(root, "raw_prices", observed_at=datetime(2026, 3, 9, tzinfo=START.tzinfo), submission_id="next")

    def left(now: datetime) -> set[str]:
        applied(pools, now)
        return {row[0] for row in root.execute("select submission_id from raw_prices").fetchall()}

    last_day = datetime(2026, 3, 9, tzinfo=START.tzinfo) + timedelta(days=90)
    assert left(last_day - SECOND) == {"first", "last", "next"}
    assert left(last_day) == {"next"}


@pytest.mark.parametrize(("age", "stays"), [(timedelta(days=90), True), (timedelta(days=90) + SECOND, False)])
def test_jb7_raw_prices_outside_of_any_week_go_by_the_row(
    root: Connection, pools: Connections, age: timedelta, stays: bool
) -> None:
    put(root, "raw_prices", observed_at=NOW - age)
    applied(pools)
    assert count_of(root, "raw_prices") == int(stays)


# ---- the audit: 180 days, whole seals (section 9)


def sealed(root: Connection, number: int, *ages: timedelta) -> None:
    """Rows of those ages under one seal."""
    made = []
    for place, age in enumerate(ages):
        put(root, "audit_events", event_id=f"e{number}.{place}", at=NOW - age)
        made.append(root.execute("select max(audit_id) from audit_events").fetchone()[0])
    put(root, "audit_seals", seal_no=number, audit_ids=made, sealed_at=NOW - max(ages))


def test_audit_rows_go_a_whole_seal_at_a_time_when_all_are_180_days_old(root: Connection, pools: Connections) -> None:
    limit = timedelta(days=180)
    sealed(root, 1, 2 * limit, limit + SECOND)
    sealed(root, 2, 2 * limit, limit)  # one is exactly so old: none goes
    sealed(root, 3, limit - SECOND)
    put(root, "audit_events", event_id="loose", at=NOW - 3 * limit)  # not sealed yet: never
    applied(pools)
    left = {row[0] for row in root.execute("select event_id from audit_events").fetchall()}
    assert left == {"e2.0", "e2.1", "e3.0", "loose"}
    seals = root.execute("select seal_no, pruned_at is not null, digest from audit_seals order by 1").fetchall()
    assert seals == [(1, True, "d"), (2, False, "d"), (3, False, "d")]  # the digest stays as anchor


def test_rows_that_were_sealed_late_stay_until_their_seal_is_180_days_old(root: Connection, pools: Connections) -> None:
    limit = timedelta(days=180)
    for number, age in enumerate((limit - SECOND, limit, limit + SECOND), 1):
        sealed(root, number, 2 * limit)
        root.execute("update audit_seals set sealed_at = %s where seal_no = %s", (NOW - age, number))
    applied(pools)
    left = {row[0] for row in root.execute("select event_id from audit_events").fetchall()}
    assert left == {"e1.0", "e2.0"}


# ---- counts of a day (E05)


def test_e05_a_day_counts_the_clients_there_were(root: Connection, pools: Connections) -> None:
    day = datetime(2026, 3, 2, tzinfo=START.tzinfo)
    noon, hour = day + timedelta(hours=12), timedelta(hours=1)
    clients: Mapping[str, Mapping[str, Any]] = {
        "old": {"created_at": day - hour}, "new": {"created_at": noon}, "at midnight": {"created_at": day},
        "last second": {"created_at": day + 24 * hour - SECOND}, "tomorrow": {"created_at": day + 24 * hour},
        "suspended": {"created_at": day - hour, "status": "suspended"},
        "gone before": {"created_at": day - 48 * hour, "status": "deleted", "deleted_at": day - hour},
        "gone that day": {"created_at": day - 48 * hour, "status": "deleted", "deleted_at": noon},
        "gone later": {"created_at": day - 48 * hour, "status": "deleted", "deleted_at": day + 25 * hour},
    }  # fmt: skip
    for name, facts in clients.items():
        put(root, "clients", **{"client_id": name, "name": name, "email": None, **facts})
    counted = Retention(pools, FakeClock(day + 24 * hour + timedelta(minutes=5)))
    assert counted.snapshot(noon)
    assert not counted.snapshot(noon)  # once
    row = root.execute("select day::text, total, new, active from client_snapshots").fetchone()
    assert row == ("2026-03-02", 6, 3, 4)
