"""Storage that raises at a chosen call: for the question what a failure in the middle leaves behind."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import define, field

from spotcore.ports.storage import Transactions


class Broken(Exception):
    """The port's own failure."""


@define
class Faulty:
    """Transactions whose ``at``-th call of any port raises, before or after it has done its work; None: none does.

    A savepoint is a call as well, and so is the commit: it comes last."""

    transactions: Transactions
    at: int | None = None
    after: bool = False
    calls: list[str] = field(factory=list)

    def __call__(self, *, urgent: bool = False) -> AbstractContextManager[Any]:
        return self._transaction(urgent)

    @contextmanager
    def _transaction(self, urgent: bool) -> Iterator[Any]:
        with self.transactions(urgent=urgent) as uow:
            yield _Proxy(uow, "", self)
            self.count("commit", lambda: None)

    def count(self, name: str, act: Callable[[], Any]) -> Any:
        """Make the call unless it is the one that fails."""
        number = len(self.calls)
        self.calls.append(name)
        if number == self.at and not self.after:
            raise Broken(name)
        found = act()
        if number == self.at:
            raise Broken(name)
        return found


class _Proxy:
    """A unit of work or one of its ports."""

    def __init__(self, inside: Any, name: str, faulty: Faulty) -> None:
        self._inside, self._name, self._faulty = inside, name, faulty

    def __getattr__(self, name: str) -> Any:
        found, path = getattr(self._inside, name), f"{self._name}{name}"
        if not callable(found):
            return _Proxy(found, f"{path}.", self._faulty)
        return lambda *values, **named: self._faulty.count(path, lambda: found(*values, **named))
