"""One application per test."""

from collections.abc import Iterator

import pytest

from tests.unit.http.frame import Frame, a_frame


@pytest.fixture
def frame() -> Iterator[Frame]:
    """The application over memory."""
    with a_frame() as opened:
        yield opened
