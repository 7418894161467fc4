"""A storage that breaks off at a chosen moment: what it leaves must be what was before, or all of what was meant."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import define

from spotcore.errors import Unavailable
from spotcore.ports.storage import Transactions, UnitOfWork


@define
class FailingStorage:
    """The inner storage, failing at step ``at``. Steps are counted over all transactions: one before and one after
    every call of a store, and one when all is written and nothing committed."""

    inner: Transactions
    at: int
    steps: int = 0

    def step(self) -> None:
        """One more step. Raises ``Unavailable`` at the chosen one."""
        self.steps += 1
        if self.steps == self.at:
            raise Unavailable("the storage broke off")

    def transactions(self, *, urgent: bool = False) -> AbstractContextManager[UnitOfWork]:
        """The ``Transactions`` port."""
        return self._transaction(urgent)

    @contextmanager
    def _transaction(self, urgent: bool) -> Iterator[UnitOfWork]:
        with self.inner(urgent=urgent) as uow:
            unit: Any = _Unit(uow, self)
            yield unit
            self.step()


class _Unit:
    def __init__(self, inner: UnitOfWork, storage: FailingStorage) -> None:
        self._inner, self._storage = inner, storage

    def __getattr__(self, name: str) -> Any:
        return _Store(getattr(self._inner, name), self._storage)


class _Store:
    def __init__(self, inner: Any, storage: FailingStorage) -> None:
        self._inner, self._storage = inner, storage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)

        def call(*args: Any, **named: Any) -> Any:
            self._storage.step()
            answer = found(*args, **named)
            self._storage.step()
            return answer

        return call
