"""Due deliveries, handed to workers where there is a queue, made here where there is none."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
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
        self._places = threading.BoundedSemaphore(THREADS)
        self._at_work: list[threading.Thread] = []
        self.send: Callable[[str], None] | None = None

    def run(self) -> int:
        """Hand on or make what is due now; how many there were. A receiver that lets one wait is not waited for: the
        next run goes on beside it."""
        due = self._deliveries.due()
        here = [delivery_id for delivery_id in due if not self._handed_on(delivery_id)]
        until = time.monotonic() + self._round_seconds
        for one in here:
            if not self._places.acquire(timeout=max(0.0, until - time.monotonic())):
                break  # it is due in the next run
            self._begin(one)
        self._wait(until)
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
        """What is at hand is waited for, ten seconds at most; a process that ends then leaves the rest behind, and it
        is tried again."""
        self._wait(time.monotonic() + STOP_SECONDS)

    def _begin(self, delivery_id: str) -> None:
        def work() -> None:
            try:
                self.deliver(delivery_id)
            except Exception:
                log.exception("delivery_broke", extra={"delivery_id": delivery_id})
            finally:
                self._places.release()

        thread = threading.Thread(target=work, name="delivery", daemon=True)
        self._at_work.append(thread)
        thread.start()

    def _wait(self, until: float) -> None:
        for one in self._at_work:
            one.join(max(0.0, until - time.monotonic()))
        self._at_work = [one for one in self._at_work if one.is_alive()]

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
