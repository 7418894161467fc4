"""After a restore on another server the role and its rights may be missing: who says so, and who gives them back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from attrs import frozen
from psycopg.conninfo import conninfo_to_dict

from spotadapters.embedded import EmbeddedStack
from spotadapters.postgres.migrate import RIGHTS, MigrationError, migrate, pending, require_schema
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.rights import give, lacking
from spotapp.checks import examine
from spotapp.finding import Finding
from spotapp.settings import Settings

Session = psycopg.Connection[tuple[object, ...]]

RIGHTS_OF = """
select c.relname, c.relispartition, array(
    select one from unnest(array['select', 'insert', 'update', 'delete']) one
    where has_table_privilege('spotcore_app', c.oid, one))
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v') order by 1"""


@frozen
class Site:
    """A migrated database, and its administrator."""

    url: str
    admin: Session


@pytest.fixture
def site(empty_database_url: str) -> Iterator[Site]:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        yield Site(empty_database_url, admin)


def schema_finding(url: str) -> Finding:
    (found,) = (one for one in examine(Settings(database_url=url)) if one.name == "schema")
    return found


def test_rights_that_a_restore_could_not_give_are_given_back_by_migrate(site: Site) -> None:
    before = site.admin.execute(RIGHTS_OF).fetchall()
    site.admin.execute("revoke all on all tables in schema public from spotcore_app")
    site.admin.execute("revoke all on all sequences in schema public from spotcore_app")
    told = "the role spotcore_app may not use all tables, as after a restore on another server; first: spotcore migrate"
    with pytest.raises(MigrationError) as refusal:
        require_schema(site.url)
    assert str(refusal.value) == told
    found = schema_finding(site.url)
    assert (found.ok, found.fix) == (False, "spotcore migrate")
    assert pending(site.url) == []
    assert migrate(site.url) == [RIGHTS]
    assert site.admin.execute(RIGHTS_OF).fetchall() == before
    require_schema(site.url)
    assert schema_finding(site.url).ok
    assert migrate(site.url) == []


def test_what_later_migrations_make_is_the_role_s_too(site: Site) -> None:
    site.admin.execute("alter default privileges in schema public revoke all on tables from spotcore_app")
    site.admin.execute("alter default privileges in schema public revoke all on sequences from spotcore_app")
    give(site.admin)
    site.admin.execute("create table later (id bigint generated always as identity)")
    assert ("later", False, ["select", "insert", "update", "delete"]) in site.admin.execute(RIGHTS_OF).fetchall()
    site.admin.execute("set role spotcore_app")
    site.admin.execute("insert into later default values")


def test_what_others_keep_in_the_schema_is_nobody_s_trouble(site: Site) -> None:
    """Such as the views of ``pg_stat_statements``."""
    name = f"guest_{site.url.rpartition('/')[2]}"
    site.admin.execute(f"create role {name}")
    site.admin.execute("create table theirs ()")
    site.admin.execute(f"alter table theirs owner to {name}")
    site.admin.execute("create view statistics as select 1 as one")
    site.admin.execute("alter extension btree_gist add view statistics")
    site.admin.execute("revoke all on theirs, statistics from spotcore_app")
    require_schema(site.url)
    assert migrate(site.url) == []
    site.admin.execute("revoke insert on agents from spotcore_app")
    assert migrate(site.url) == [RIGHTS]
    rights = {row[0]: row[2] for row in site.admin.execute(RIGHTS_OF).fetchall()}
    assert (rights["theirs"], rights["statistics"], len(rights["agents"])) == ([], [], 4)
    site.admin.execute("drop table theirs")
    site.admin.execute(f"drop role {name}")


def test_a_login_that_takes_the_role_but_inherits_nothing_is_told_what_it_must_read(site: Site) -> None:
    name = f"server_{site.url.rpartition('/')[2]}"
    site.admin.execute(f"create role {name} login noinherit password 'secret' in role spotcore_app")
    url = f"postgresql://{name}:secret@127.0.0.1:{site.admin.info.port}/{site.admin.info.dbname}"
    assert schema_finding(url).fix == f"grant select on schema_migrations to {name}"
    site.admin.execute(f"grant select on schema_migrations to {name}")
    require_schema(url)
    site.admin.execute(f"drop owned by {name}")
    site.admin.execute(f"drop role {name}")


def test_a_role_that_is_missing_is_named_and_made(site: Site) -> None:
    with site.admin.transaction(force_rollback=True):  # a role belongs to all databases of the server
        site.admin.execute("alter role spotcore_app rename to spotcore_app_elsewhere")
        assert lacking(site.admin) == (
            "the role spotcore_app is missing, as after a restore on another server; first: spotcore migrate"
        )
        give(site.admin)
        assert lacking(site.admin) is None
    assert lacking(site.admin) is None


def test_a_login_that_may_not_take_the_role_is_told_who_gives_it(site: Site) -> None:
    name = f"server_{site.url.rpartition('/')[2]}"
    site.admin.execute(f"create role {name} login password 'secret'")
    url = f"postgresql://{name}:secret@127.0.0.1:{site.admin.info.port}/{site.admin.info.dbname}"
    with pytest.raises(MigrationError) as refusal:
        require_schema(url)
    assert str(refusal.value) == f"this login may not take the role spotcore_app; first: grant spotcore_app to {name}"
    assert schema_finding(url).fix == f"grant spotcore_app to {name}"
    site.admin.execute(f"grant spotcore_app to {name}")
    require_schema(url)
    site.admin.execute(f"drop role {name}")


def test_a_login_that_owns_nothing_may_not_give_them_back(site: Site) -> None:
    name = f"other_{site.url.rpartition('/')[2]}"
    site.admin.execute(f"create role {name} login password 'secret' in role spotcore_app")
    url = f"postgresql://{name}:secret@127.0.0.1:{site.admin.info.port}/{site.admin.info.dbname}"
    with pytest.raises(MigrationError, match=r"^schema_migrations: the login that migrates must own the tables: "):
        migrate(url)
    site.admin.execute(f"drop role {name}")


@pytest.fixture
def owner(empty_database_url: str) -> Iterator[tuple[Session, str, str]]:
    """An administrator; a login that owns an empty database, and the address it has there."""
    parts = conninfo_to_dict(empty_database_url)
    name = f"owner_{parts['dbname']}"
    migrate(empty_database_url)  # the role is the whole server's
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        admin.execute("drop schema public cascade; create schema public")
        admin.execute(f"create role {name} login password 'secret'")
        admin.execute(f"alter database {parts['dbname']} owner to {name}")
        admin.execute(f"alter schema public owner to {name}")
        yield admin, name, f"postgresql://{name}:secret@{parts['host']}:{parts['port']}/{parts['dbname']}"
        admin.execute(f"reassign owned by {name} to current_user")
        admin.execute(f"drop owned by {name}")
        admin.execute(f"drop role {name}")


def test_a_login_that_cannot_take_the_role_is_told_so_before_it_migrates(owner: tuple[Session, str, str]) -> None:
    admin, name, url = owner
    found = schema_finding(url)
    assert (found.ok, found.found.startswith("the schema lacks ")) == (False, True)
    assert found.fix == f"let an administrator run: grant spotcore_app to {name}; then: spotcore migrate"
    admin.execute(f"grant spotcore_app to {name}")
    assert schema_finding(url).fix == "spotcore migrate"
    migrate(url)
    assert schema_finding(url).ok


def test_a_login_that_may_make_roles_makes_this_one_and_serves(folder: Path) -> None:
    """On a server of its own: a role belongs to all databases."""
    with an_empty_server(folder) as admin_url, psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("create role plain login password 'secret'")
        admin.execute("create role maker login password 'secret' createrole")
        admin.execute("create database site owner maker encoding 'UTF8' template template0")
        parts = conninfo_to_dict(admin_url)
        plain, maker = (
            f"postgresql://{name}:secret@{parts['host']}:{parts['port']}/site" for name in ("plain", "maker")
        )
        told = str(schema_finding(plain).fix)
        assert "alter role plain createrole" in told
        assert "create role spotcore_app nologin; grant spotcore_app to plain" in told
        assert schema_finding(maker).fix == "spotcore migrate"
        assert migrate(maker)[-1] == RIGHTS
        assert migrate(maker) == []
        with Connections(maker, size=1, reserve=1, standing=False) as connections:  # in the role
            assert connections.rows("select current_user::text", {}) == [("spotcore_app",)]


@contextmanager
def an_empty_server(folder: Path) -> Iterator[str]:
    with EmbeddedStack(folder, on_event=lambda _: None, durable=False) as stack:
        yield stack.database_url
