"""One suite, two storages: whatever is promised holds in memory and on PostgreSQL alike."""

from collections.abc import Iterator
from itertools import count

import pytest

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from tests.support.databases import WarmDatabase
from tests.support.world import FakeClock, World, a_world

_numbers = count(1)


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield a_world()
        return
    clock = FakeClock()
    warm: WarmDatabase = request.getfixturevalue("warm_database")
    yield a_world(PostgresStorage(warm.connections, clock).transactions, clock)


@pytest.fixture(scope="module")
def connections(module_database_url: str) -> Iterator[Connections]:
    """One database for all tests of a module that bring their own clients and look at nothing else."""
    with Connections(module_database_url, size=4, reserve=2) as opened:
        yield opened


@pytest.fixture
def stored_world(connections: Connections) -> World:
    """A world of its own on the module's database."""
    clock = FakeClock()
    return a_world(PostgresStorage(connections, clock).transactions, clock, next(_numbers))


@pytest.fixture(params=["memory", "postgres"])
def shared_world(request: pytest.FixtureRequest) -> World:
    """As ``world``, on the module's database: its client is its own, and whatever spans clients is not."""
    if request.param == "memory":
        return a_world(number=next(_numbers))
    found: World = request.getfixturevalue("stored_world")
    return found
