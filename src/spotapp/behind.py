"""Queue and worker of ``spotcore up``, loaded and opened once the server answers: agents do not wait for them."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from spotapp.loading import load
from spotapp.wiring import Wiring

if TYPE_CHECKING:
    from spotadapters.jobs.queue import JobQueue


log = logging.getLogger("spotapp.behind")


class Behind:
    """What works behind the server, on a thread of its own until it is told to end."""

    def __init__(self, wiring: Wiring, redis_url: str, *, workers: int) -> None:
        self._wiring = wiring
        self._redis_url = redis_url
        self._workers = workers
        self._queue: JobQueue | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="behind", daemon=True)

    def begin(self) -> None:
        """Load, open and work. Returns at once; what fails is logged, and jobs run in the scheduler."""
        self._thread.start()

    def send(self, job: str, slot: datetime) -> None:
        """Put a slot of a job into the queue. Raises ``OSError`` while there is none."""
        queue = self._queue
        if queue is None:
            raise ConnectionError("the queue is not open")
        queue.send(job, slot)

    def end(self) -> None:
        """Finish what is at hand, or hand it back after ten seconds."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        try:
            self._opened()
        except Exception:  # whatever it is: agents are served, and jobs run in the scheduler
            log.exception("no_queue")

    def _opened(self) -> None:
        load("spotapp.background")
        from spotapp.background import open_queue, working

        with open_queue(self._wiring, self._redis_url) as queue, working(queue, self._workers):
            self._queue = queue
            self._ending.wait()
            self._queue = None


@contextmanager
def behind(wiring: Wiring, redis_url: str, *, workers: int) -> Iterator[Behind]:
    """Ended with the block, whether it was begun or not."""
    one = Behind(wiring, redis_url, workers=workers)
    try:
        yield one
    finally:
        one.end()
