"""Commands called in this process, on a database of the tests."""

from collections.abc import Mapping
from typing import Final

FEW: Final[Mapping[str, str]] = {"SPOTCORE_THREADS": "2", "SPOTCORE_URGENT_THREADS": "1"}
"""For the environment of a command that one test calls: connections made ready for a storm take longer than it does."""
