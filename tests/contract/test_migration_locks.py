"""A migration on a busy site: it waits for tables briefly, again after a pause, and in the end says who is in the way."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest

from spotadapters.postgres import migrate as migrations
from spotadapters.postgres import pool
from spotadapters.postgres.migrate import LOCK, PAUSES, MigrationError, migrate, pending
from tests.support.rows import Connection

Files = list[tuple[str, str]]
FIRST = ("0001_places.sql", "create table places ()")
ALTERS = ("0002_names.sql", "create table half (); alter table places add column name text")


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    found = [FIRST]
    monkeypatch.setattr(migrations, "_available", lambda: found)
    monkeypatch.setattr(migrations, "LOCK_MS", 20)
    return found


@pytest.fixture
def busy(empty_database_url: str, files: Files) -> Iterator[Connection]:
    """A session that has looked at the table, and whose transaction is open; the next migration wants to change it."""
    migrate(empty_database_url)
    files.append(ALTERS)
    with closing(psycopg.connect(empty_database_url, application_name="nightly-report")) as connection:
        connection.execute("select * from places")
        yield connection


def columns(url: str) -> Sequence[str]:
    """What another session sees at once, or else fails."""
    with closing(psycopg.connect(url, options="-c lock_timeout=1")) as other:
        cursor = other.execute("select *, (select count(*) from pg_class where relname = 'half') from places")
        assert cursor.description is not None
        return [column.name for column in cursor.description][:-1]


def test_a_table_in_use_is_tried_again_after_a_pause_in_which_others_get_on(
    empty_database_url: str, busy: Connection
) -> None:
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        assert columns(empty_database_url) == []  # nobody queues behind it
        if len(waited) == 2:
            busy.rollback()

    assert migrate(empty_database_url, wait=wait) == [ALTERS[0]]
    assert waited == list(PAUSES[:2])
    assert columns(empty_database_url) == ["name"]


def test_a_table_that_stays_in_use_is_named_with_what_was_tried_and_what_to_do(
    empty_database_url: str, busy: Connection
) -> None:
    waited: list[float] = []
    with pytest.raises(MigrationError) as refusal:
        migrate(empty_database_url, wait=waited.append)
    assert waited == list(PAUSES)
    text = str(refusal.value)
    assert text.startswith(
        "0002_names.sql: a table that it changes is in use. It was tried 5 times, 20 ms each, and nothing of it was applied"
    )
    assert ". Run it again; if that does not help, end who is at work for long" in text
    assert re.search(rf"select pg_terminate_backend\(pid\): {busy.info.backend_pid} \(nightly-report, \d+ s\)$", text)
    assert pending(empty_database_url) == [ALTERS[0]]
    busy.rollback()
    with closing(psycopg.connect(empty_database_url)) as connection:
        assert connection.execute("select to_regclass('half')").fetchone() == (None,)
    assert migrate(empty_database_url, wait=waited.append) == [ALTERS[0]]
    assert waited == list(PAUSES)


def test_who_is_gone_by_then_is_not_named(empty_database_url: str, files: Files) -> None:
    files.append(
        ("0002_late.sql", "do $$ begin raise exception 'too late' using errcode = 'lock_not_available'; end $$")
    )
    with pytest.raises(MigrationError, match=r"applied\. Run it again$"):
        migrate(empty_database_url, wait=lambda _: None)


@pytest.mark.parametrize("code", ["lock_not_available", "deadlock_detected"])
def test_whichever_way_a_lock_is_refused_the_file_is_tried_again(
    empty_database_url: str, files: Files, code: str
) -> None:
    files.append(("0002_tries.sql", "create sequence tries"))
    files.append(
        ("0003_third.sql", f"do $$ begin if nextval('tries') < 3 then raise exception 'not yet' using errcode = '{code}';"
         " end if; end $$")
    )  # fmt: skip
    waited: list[float] = []
    assert migrate(empty_database_url, wait=waited.append) == [name for name, _ in files]
    assert waited == [1.0, 2.0]


def test_another_migration_is_waited_for_to_its_end(empty_database_url: str, files: Files) -> None:
    with closing(psycopg.connect(empty_database_url, autocommit=True)) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK,))
        with ThreadPoolExecutor(1) as workers:
            run = workers.submit(migrate, empty_database_url, wait=never)
            look = "select exists (select 1 from pg_locks where locktype = 'advisory' and not granted)"
            while not other.execute(look).fetchone()[0]:
                assert not run.done()
            other.execute("select pg_sleep(0.1)")  # longer than a table would be waited for
            assert not run.done()
            other.execute("select pg_advisory_unlock(%s)", (LOCK,))
            assert run.result() == [name for name, _ in files]


def never(_: float) -> None:
    raise AssertionError("there was nothing to wait for")


def test_it_gives_up_after_autovacuum_has_given_way_and_before_those_who_wait_behind_it(
    empty_database_url: str,
) -> None:
    with closing(psycopg.connect(empty_database_url)) as connection:
        row = connection.execute(
            "select current_setting('deadlock_timeout')::interval < %(ours)s, %(ours)s < %(theirs)s::interval",
            {"ours": timedelta(milliseconds=migrations.LOCK_MS), "theirs": pool.LOCK_TIMEOUT},
        ).fetchone()
    assert row == (True, True)
