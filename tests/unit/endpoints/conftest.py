"""One application per module, empty at the start of each test."""

from collections.abc import Iterator

import pytest

from tests.support.server import Tenant
from tests.unit.endpoints.desk import Desk, a_desk


@pytest.fixture(scope="module")
def module_desk() -> Iterator[Desk]:
    """See ``desk``."""
    with a_desk() as opened:
        yield opened


@pytest.fixture
def desk(module_desk: Desk) -> Desk:
    """A site over memory without clients."""
    module_desk.clear()
    return module_desk


@pytest.fixture
def tenant(desk: Desk) -> Tenant:
    """A client with its token."""
    return desk.client()
