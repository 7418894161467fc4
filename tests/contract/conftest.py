"""One suite, two storages: whatever is promised holds in memory and on PostgreSQL alike."""

from collections.abc import Iterator

import pytest

from spotadapters.postgres.pool import Connections
from spotadapters.postgres.storage import PostgresStorage
from tests.support.world import FakeClock, World, a_world


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield a_world()
        return
    clock = FakeClock()
    with Connections(request.getfixturevalue("database_url"), size=4, reserve=2) as connections:
        yield a_world(PostgresStorage(connections, clock).transactions, clock)
