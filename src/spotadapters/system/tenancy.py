"""Whose rows the work of this thread may touch: what row-level security is told (design 6)."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

EVERYBODY: Final = "*"  # the operator, background work, and a service that embeds the library
NOBODY: Final = ""  # a request whose caller is not known yet

_TENANT: ContextVar[str] = ContextVar("spotcore_tenant", default=EVERYBODY)


@contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """Transactions that begin inside see and change that client's rows alone, whatever their statements say."""
    token = _TENANT.set(tenant)
    try:
        yield
    finally:
        _TENANT.reset(token)


def tenant() -> str:
    """The client's id, ``EVERYBODY`` or ``NOBODY``."""
    return _TENANT.get()
