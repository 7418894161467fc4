"""The same world in real time: due loops run on a bounded pool of threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from spotadapters.fleet.scheduler import Task
from spotadapters.fleet.world import World

LONGEST_WAIT_SECONDS: Final = 0.02  # real; machines boot and end without waking anybody


class LiveRunner:
    """Runs a world until the ``with`` block ends.

    ``rate``: seconds of the world's clock per real second (1 for the system's clock). ``workers`` bounds requests in
    flight. An error inside a simulated program ends the run and is raised when the block is left.
    """

    def __init__(self, world: World, *, workers: int = 16, rate: float = 1.0) -> None:
        self._world = world
        self._rate = rate
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="fleet")
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._dispatch, name="fleet-clock", daemon=True)

    @property
    def failed(self) -> bool:
        """True when a simulated program has broken down and the run is over."""
        return self._error is not None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._error is not None and error is None:
            raise self._error

    def _dispatch(self) -> None:
        agenda, clock = self._world.scheduler.agenda, self._world.clock
        while not self._stopping.is_set():
            self._world.settle()
            task = agenda.take(clock.now())
            if task is not None:
                self._pool.submit(self._run, task)
                continue
            next_at = agenda.next_at()
            until = LONGEST_WAIT_SECONDS
            if next_at is not None:
                until = max(0.0, (next_at - clock.now()).total_seconds() / self._rate)
            agenda.wait(min(until, LONGEST_WAIT_SECONDS))

    def _run(self, task: Task) -> None:
        try:
            self._world.scheduler.run(task)
        except Exception as error:
            self._error = error
            self._stopping.set()
