"""Migrations: forward only, each once, whoever runs them, and the sum of them is the schema (design 6)."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from spotadapters.postgres import migrate as migrations
from spotadapters.postgres.link import probed
from spotadapters.postgres.migrate import MigrationError, _available, migrate, pending, require_schema
from spotapp.checks import examine
from spotapp.settings import Settings
from tests.support.pooler import pooled_by_transactions

NAMES = [name for name, _ in _available()]


def catalogue(url: str) -> Mapping[str, list[tuple[object, ...]]]:
    """Everything the migrations make: columns, constraints, indexes, functions, triggers, policies, views, rights."""
    looks = {
        "columns": "select table_name, column_name, data_type, is_nullable, column_default, is_identity"
        " from information_schema.columns where table_schema = 'public'",
        "constraints": "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'public'::regnamespace",
        "indexes": "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public'",
        "functions": "select p.oid::regprocedure::text, md5(prosrc), prosecdef, proconfig::text from pg_proc p"
        " left join pg_depend d on d.objid = p.oid and d.deptype = 'e'"
        " where pronamespace = 'public'::regnamespace and d.objid is null",
        "triggers": "select tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal",
        "policies": "select tablename, policyname, cmd, qual, with_check from pg_policies",
        "views": "select viewname, definition from pg_views where schemaname = 'public'",
        "rights": "select table_name, privilege_type from information_schema.role_table_grants where grantee = 'spotcore_app'",
    }  # fmt: skip
    with closing(psycopg.connect(url)) as connection:
        found = {name: connection.execute(text).fetchall() for name, text in looks.items()}
    # which weeks there are says when it was migrated
    return {
        name: sorted((row for row in rows if not re.search(r"raw_prices_\d{8}", str(row))), key=repr)
        for name, rows in found.items()
    }


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[str]:
    return empty_database_url


def test_from_nothing_every_file_is_applied_in_order_and_the_second_time_none(empty: str) -> None:
    assert pending(empty) == NAMES
    assert migrate(empty) == NAMES == sorted(NAMES)
    made = catalogue(empty)
    assert pending(empty) == migrate(empty) == []
    assert catalogue(empty) == made
    require_schema(empty)
    with closing(psycopg.connect(empty)) as connection:
        rows = dict(connection.execute("select name, digest from schema_migrations").fetchall())
    assert rows == {name: hashlib.sha256(text.encode()).hexdigest() for name, text in _available()}


@pytest.mark.parametrize("released", [1, len(NAMES) // 2, len(NAMES) - 1])
def test_from_any_earlier_release_the_schema_becomes_the_same(
    empty: str, template_url: str, released: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "_available", lambda: _available()[:released])
        assert migrate(empty) == NAMES[:released]
    with pytest.raises(MigrationError, match=rf"lacks {len(NAMES) - released} migrations, from {NAMES[released]} on"):
        require_schema(empty)
    assert pending(empty) == NAMES[released:]
    assert migrate(empty) == NAMES[released:]
    assert catalogue(empty) == catalogue(template_url)


def test_a_file_that_fails_leaves_nothing_of_itself_and_those_before_it_stay(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [("0001_a.sql", "create table a ()"), ("0002_b.sql", "create table b (); create table a ()")]
    monkeypatch.setattr(migrations, "_available", lambda: files)
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate(empty)
    assert pending(empty) == ["0002_b.sql"]
    with closing(psycopg.connect(empty)) as connection:
        tables = connection.execute("select relname::text from pg_class where relname in ('a', 'b')").fetchall()
    assert tables == [("a",)]
    files[1] = ("0002_b.sql", "create table b ()")
    assert migrate(empty) == ["0002_b.sql"]


def test_a_changed_file_is_refused_by_its_name_and_nothing_after_it_is_applied(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [("0001_a.sql", "create table a ()")]
    monkeypatch.setattr(migrations, "_available", lambda: files)
    migrate(empty)
    files[:] = [("0001_a.sql", "create table a (x int)"), ("0002_b.sql", "create table b ()")]
    with pytest.raises(MigrationError, match=r"0001_a\.sql was changed after it had been applied; restore it"):
        migrate(empty)
    assert pending(empty) == ["0002_b.sql"]


def test_more_than_this_version_knows_is_fine_a_newer_one_was_here(database_url: str) -> None:
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        connection.execute("insert into schema_migrations (name, digest) values ('9999_later.sql', 'x')")
    require_schema(database_url)
    assert (pending(database_url), migrate(database_url)) == ([], [])


def test_of_several_that_start_at_once_each_file_is_applied_by_one(empty: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: migrate(empty), range(3)))
    assert sorted(done, key=len) == [[], [], NAMES]


def test_an_older_server_is_refused_with_both_versions(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MINIMUM_VERSION", 990_000)
    for ask in (migrate, pending, require_schema):
        with pytest.raises(MigrationError, match=r"PostgreSQL 15 or newer is needed, this is \d\d$"):
            ask(empty)
    monkeypatch.undo()
    assert pending(empty) == NAMES


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_keep_what_people_write_is_refused_with_how_to_make_one(
    empty: str, encoding: str
) -> None:
    name = f"{empty.rpartition('/')[2]}_{encoding.lower()}"
    other = empty.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0")
        try:
            for ask in (migrate, pending, require_schema):
                with pytest.raises(MigrationError) as refusal:
                    ask(other)
                assert str(refusal.value) == (
                    f"the database {name} is encoded in {encoding}, UTF8 is needed:"
                    f" create database {name} encoding 'UTF8' template template0"
                )
            (found,) = (one for one in examine(Settings(database_url=other)) if one.name in {"database", "schema"})
            assert (found.ok, found.fix) == (False, str(refusal.value))
        finally:
            connection.execute(f"drop database {name}")


def test_a_pooler_that_lends_a_session_to_several_is_refused_with_what_to_do(empty: str) -> None:
    migrate(empty)
    with pooled_by_transactions(empty) as pooled:
        with psycopg.connect(pooled) as one, psycopg.connect(pooled) as another:
            sessions = [each.execute("select pg_backend_pid()").fetchall() for each in (one, another)]
        assert sessions[0] == sessions[1]
        for ask in (migrate, pending, require_schema):
            with pytest.raises(MigrationError, match=r"^a pooler .*: let it pool sessions, not transactions, or "):
                ask(pooled)
        (found,) = (one for one in examine(Settings(database_url=pooled)) if one.name in {"database", "schema"})
        assert (found.ok, "pool sessions" in str(found.fix)) == (False, True)


def test_texts_are_utf_8_whatever_the_surroundings_speak(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with psycopg.connect(probed(empty)) as connection:
        assert connection.execute("select %s::text", ("機械 €",)).fetchone() == ("機械 €",)


def test_a_migrations_own_words_reach_the_operator(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    says = "do $$ begin raise exception 'first run: grant it to %', current_user; end $$"
    monkeypatch.setattr(migrations, "_available", lambda: [("0001_says.sql", says)])
    with pytest.raises(MigrationError, match=r"^0001_says\.sql: first run: grant it to \w+$"):
        migrate(empty)


def test_a_login_that_may_not_is_told_who_may(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    takes = "set local role pg_monitor; create table public.mine ()"
    monkeypatch.setattr(migrations, "_available", lambda: [("0001_takes.sql", takes)])
    with pytest.raises(MigrationError, match=r"^0001_takes\.sql: the login that migrates must own the tables: "):
        migrate(empty)


def test_without_a_database_the_failure_is_the_drivers(empty: str) -> None:
    nowhere = empty.rpartition("/")[0] + "/nowhere"
    for ask in (migrate, pending, require_schema):
        with pytest.raises(psycopg.OperationalError, match="nowhere"):
            ask(nowhere)


def test_files_are_numbered_and_say_what_they_are_for() -> None:
    numbers = [name.partition("_")[0] for name in NAMES]
    assert all(number.isdigit() and len(number) == 4 for number in numbers)
    assert all(text.startswith("-- ") for _, text in _available())


def test_no_migration_takes_away_what_the_version_before_needs() -> None:
    """Additive first: an old process runs beside a new schema (style 5). What was dropped, nothing read any more."""
    dropped = [line.strip() for _, text in _available() for line in text.splitlines() if "drop column" in line.lower()]
    assert dropped == []
    assert not any("drop table" in text.lower().replace("'drop table %i'", "") for _, text in _available())
