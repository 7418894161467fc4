"""Due deliveries, handed to workers where there is a queue, made here where there is none."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, Protocol

from spotcore.channels import Attempt

log = logging.getLogger("spotadapters.channels")

THREADS: Final = 6  # two channels that hang (``AT_ONCE`` attempts each) leave two for the others
ROUND_SECONDS: Final = 4.0  # until the next look: what a channel still waits for then is handed on again
STOP_SECONDS: Final = 10.0


class Deliveries(Protocol):
    """What is to be delivered."""

    def due(self) -> Sequence[str]:
        """Deliveries whose next attempt is due, a few of each channel."""
        ...

    def beside(self, delivery_id: str) -> Sequence[str]:
        """What is due on the same channel."""
        ...

    def attempt(self, delivery_id: str) -> Attempt | None:
        """Try one; None when somebody else is at it."""
        ...


class Courier:
    """Sees to due deliveries. ``send`` puts one into a queue, and raises ``OSError`` when it cannot."""

    def __init__(self, deliveries: Deliveries, *, round_seconds: float = ROUND_SECONDS) -> None:
        self._deliveries = deliveries
        self._round_seconds = round_seconds
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="delivery")
        self._late: set[Future[None]] = set()
        self.send: Callable[[str], None] | None = None

    def run(self) -> int:
        """Hand on or make what is due now; how many there were. A receiver that lets one wait is not waited for: the
        next run goes on beside it."""
        due = self._deliveries.due()
        here = [delivery_id for delivery_id in due if not self._handed_on(delivery_id)]
        begun = wait([self._pool.submit(self.deliver, one) for one in here], self._round_seconds)
        self._late = {one for one in self._late | begun.not_done if not one.cancel() and not one.done()}
        for one in begun.done:
            one.result()
        return len(due)

    def deliver(self, delivery_id: str) -> None:
        """Try a delivery, and what else its channel waits for, until it has had its seconds."""
        until = time.monotonic() + self._round_seconds
        if not self._is_tried(delivery_id):
            return
        for other in self._deliveries.beside(delivery_id):
            if time.monotonic() >= until:
                return
            self._is_tried(other)

    def close(self) -> None:
        """Begin nothing more; what is at hand is waited for, ten seconds at most."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(self._late, STOP_SECONDS)

    def _is_tried(self, delivery_id: str) -> bool:
        attempt = self._deliveries.attempt(delivery_id)
        if attempt is not None and attempt.error is not None:
            log.warning("delivery_failed", extra={"delivery_id": delivery_id, "reason": attempt.error})
        return attempt is not None

    def _handed_on(self, delivery_id: str) -> bool:
        if self.send is None:
            return False
        try:
            self.send(delivery_id)
        except OSError as failure:
            log.warning("queue_away", extra={"reason": type(failure).__name__})
            return False
        return True
