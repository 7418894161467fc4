"""Who may log in to the database: the owner of the schema migrates, the servers own nothing."""

from pathlib import Path

import psycopg
import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from spotadapters.channels.courier import Courier
from spotadapters.jobs.table import Done, JobTable
from spotadapters.postgres.channels import Channels
from spotadapters.postgres.jobs import JobBook
from spotadapters.postgres.migrate import MigrationError, migrate, require_schema
from spotapp.cli import main
from spotapp.jobs import Collaborators, job_table
from tests.support.server import site_on
from tests.support.wire_agents import V4c


@frozen
class Logins:
    """Two logins of one database."""

    owner_url: str
    server_url: str


@pytest.fixture
def logins(empty_database_url: str) -> Logins:
    """As docs/operations/database.md says."""
    name = empty_database_url.rpartition("/")[2]
    owner, server = f"owner_{name}", f"server_{name}"
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        for login in (owner, server):
            admin.execute(f"create role {login} login password 'secret'")  # type: ignore[call-overload]
            admin.execute(f"grant spotcore_app to {login}")  # type: ignore[call-overload]
        admin.execute(f"alter database {name} owner to {owner}")  # type: ignore[call-overload]
        port = admin.info.port
    return Logins(*(f"postgresql://{login}:secret@127.0.0.1:{port}/{name}" for login in (owner, server)))


@pytest.mark.usefixtures("template_url")
def test_a_login_that_owns_nothing_serves_and_runs_every_job(logins: Logins, tmp_path: Path) -> None:
    migrate(logins.owner_url)
    require_schema(logins.server_url)
    with site_on(logins.server_url) as site:
        agent = V4c(site.client("Acme"), "i-0aaaaaaaaaaaaaaa1", logical="web")
        agent.register()
        for answer in [agent.heartbeat(), agent.heartbeat(), agent.prices(), agent.prices(), agent.prices()]:
            assert answer.status == 200
        book, channels = JobBook(site.connections, site.clock), Channels(site.connections, site.clock, site.identity)
        work = Collaborators(
            plane=site.plane, connections=site.connections, clock=site.clock, board=book, data_dir=tmp_path,
            courier=Courier(channels),
        )  # fmt: skip
        jobs = job_table(work)
        table = JobTable(jobs, book, site.clock, holder="test")
        table.announce()
        for name, job in jobs.items():
            assert table.perform(name, job.schedule.slot(site.clock.now())) is Done.DONE, name
        assert {row.last_status for row in book.jobs()} <= {"completed", None}


def test_a_login_that_owns_nothing_cannot_change_the_schema(logins: Logins) -> None:
    migrate(logins.owner_url)
    with psycopg.connect(logins.server_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("drop table agents")


def ask(url: str, tmp_path: Path, *words: str) -> Result:
    environment = {
        "SPOTCORE_DATABASE_URL": url, "SPOTCORE_REDIS_URL": "redis://127.0.0.1:1", "SPOTCORE_ADMIN_TOKEN": "a" * 64,
        "SPOTCORE_DATA_DIR": str(tmp_path),
    }  # fmt: skip
    return CliRunner().invoke(main, words, env=environment)


@pytest.mark.parametrize("words", [("serve",), ("worker",), ("scheduler",), ("jobs", "list"), ("audit", "verify")])
def test_nothing_runs_on_a_schema_that_lacks_migrations(
    empty_database_url: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    result = ask(empty_database_url, tmp_path, *words)
    assert result.exit_code == 1
    assert "first: spotcore migrate" in result.output
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regclass('agents')").fetchone() == (None,)


def test_no_command_makes_an_empty_database_to_look_at(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["jobs", "list"], env={"SPOTCORE_DATA_DIR": str(tmp_path)})
    assert result.exit_code == 1
    assert "--data-dir" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_no_obstacle(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into schema_migrations (name, digest) values ('9999_later.sql', '')")
    require_schema(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("delete from schema_migrations where name like '0001%'")
    with pytest.raises(MigrationError, match="lacks 1 migrations, from 0001"):
        require_schema(database_url)
