"""Real servers for the tests that need them: started once a session, a fresh database for each test that asks."""

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings

from spotadapters.embedded import EmbeddedStack
from spotadapters.postgres.migrate import migrate
from tests.support.server import Site, a_site

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50, suppress_health_check=SLOW)
settings.register_profile("dev", deadline=None, max_examples=30, suppress_health_check=SLOW)
settings.register_profile(
    "hunt",
    deadline=None,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "400")),
    suppress_health_check=SLOW,
    phases=[Phase.generate],
)
settings.register_profile("long", deadline=None, max_examples=2_000, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_numbers = count(1)


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedStack]:
    """PostgreSQL and Valkey, without waiting for disks."""
    with (
        tempfile.TemporaryDirectory(prefix="spotcore-test-", ignore_cleanup_errors=True) as folder,
        _opened(Path(folder)) as stack,
    ):
        yield stack


def _opened(folder: Path) -> EmbeddedStack:
    folder.chmod(0o755)  # ours alone; the servers' user must pass through
    return EmbeddedStack(folder / "data", on_event=lambda _: None, durable=False)


@pytest.fixture(scope="session")
def template_url(servers: EmbeddedStack) -> str:
    """A migrated database to copy from."""
    url = _create(servers, "template_spotcore")
    migrate(url)
    return url


@pytest.fixture
def database_url(servers: EmbeddedStack, template_url: str) -> str:  # noqa: ARG001
    """A fresh migrated database."""
    return _create(servers, f"test_{next(_numbers)}", template="template_spotcore")


@pytest.fixture
def empty_database_url(servers: EmbeddedStack) -> str:
    """A fresh database without tables."""
    return _create(servers, f"empty_{next(_numbers)}")


def _create(servers: EmbeddedStack, name: str, template: str = "template1") -> str:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    return servers.database_url.rpartition("/")[0] + f"/{name}"


@pytest.fixture
def redis_url(servers: EmbeddedStack) -> str:
    """The session's Valkey; take a namespace of your own."""
    return servers.redis_url


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    """The whole application on a fresh database."""
    with a_site(database_url) as opened:
        yield opened


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the servers' user can reach; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(prefix="spotcore-fault-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name) / "data"
