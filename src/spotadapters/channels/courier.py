"""Due deliveries, handed to workers where there is a queue, made here where there is none."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from spotcore.channels import Attempt

log = logging.getLogger("spotadapters.channels")

THREADS: Final = 4


class Deliveries(Protocol):
    """What is to be delivered."""

    def due(self) -> Sequence[str]:
        """Deliveries whose next attempt is due."""
        ...

    def attempt(self, delivery_id: str) -> Attempt | None:
        """Try one."""
        ...


class Courier:
    """Sees to due deliveries. ``send`` puts one into a queue, and raises ``OSError`` when it cannot."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self.send: Callable[[str], None] | None = None

    def run(self) -> int:
        """Hand on or make everything that is due now; how many there were."""
        due = self._deliveries.due()
        here = [delivery_id for delivery_id in due if not self._handed_on(delivery_id)]
        if here:
            with ThreadPoolExecutor(THREADS, thread_name_prefix="delivery") as pool:
                for attempt in pool.map(self._deliveries.attempt, here):
                    if attempt is not None and attempt.error is not None:
                        log.warning("delivery_failed", extra={"reason": attempt.error})
        return len(due)

    def _handed_on(self, delivery_id: str) -> bool:
        if self.send is None:
            return False
        try:
            self.send(delivery_id)
        except OSError as failure:
            log.warning("queue_away", extra={"reason": type(failure).__name__})
            return False
        return True
