"""Schedulers and workers around a wiring: in one process with the server, or in processes of their own (JB-6)."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from spotadapters.jobs.queue import JobQueue
from spotadapters.jobs.scheduler import Scheduler
from spotapp.wiring import Wiring

ALONE_FIRST_SECONDS: Final = 2.0


@contextmanager
def open_queue(wiring: Wiring, redis_url: str) -> Iterator[JobQueue]:
    """The queue of this installation; also what due deliveries go through from here on."""
    queue = JobQueue(redis_url, wiring.jobs, wiring.courier.deliver)
    wiring.courier.send = queue.send_delivery
    try:
        yield queue
    finally:
        wiring.courier.send = None
        queue.close()


@contextmanager
def working(queue: JobQueue, threads: int) -> Iterator[None]:
    """Workers run until the block ends, with ``threads`` for jobs; what they are at is finished, or handed back after
    ten seconds."""
    workers = queue.workers(threads)
    workers.start()
    try:
        yield
    finally:
        workers.stop(timeout=10_000)


@contextmanager
def scheduling(wiring: Wiring, queue: JobQueue) -> Iterator[None]:
    """A scheduler runs until the block ends; alone in its process, it need not let anything start first."""
    scheduler = Scheduler(wiring.jobs, queue.send, first_seconds=ALONE_FIRST_SECONDS)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.stop()


def wait_for_stop() -> None:
    """Return on the first SIGINT or SIGTERM."""
    asked = threading.Event()
    before = {one: signal.signal(one, lambda *_: asked.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not asked.wait(1.0):
            pass
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
