"""Stories and properties over memory; what differs between storages is the contract suite's."""

import pytest

from tests.support.world import World, a_world


@pytest.fixture
def world() -> World:
    return a_world()
