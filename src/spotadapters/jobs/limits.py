"""Time limits of what workers run. dramatiq's own are watched only in the processes that its command line starts, by a
thread that never ends."""

import threading
import time
from typing import Any, Final

import dramatiq
from dramatiq.middleware import Middleware
from dramatiq.middleware.threading import raise_thread_exception
from dramatiq.middleware.time_limit import TimeLimitExceeded

WATCH_SECONDS: Final = 1.0  # how late a limit may act


class TimeLimits(Middleware):
    """Raises ``TimeLimitExceeded`` in an actor that runs longer than its option ``time_limit`` (milliseconds). It acts
    when the thread next runs Python: what waits in a call of the system is cut off after it. Watches while a worker of
    its broker runs."""

    def __init__(self, *, time_limit: int) -> None:
        """``time_limit``, in milliseconds, is that of actors without one."""
        self._time_limit = time_limit
        self._until: dict[int, float] = {}  # by thread
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def actor_options(self) -> set[str]:
        """What an actor may set."""
        return {"time_limit"}

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin to watch."""
        self._ending.clear()
        self._watch = threading.Thread(target=self._look, name="time-limits", daemon=True)
        self._watch.start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Watch no more."""
        self._ending.set()
        if self._watch is not None:
            self._watch.join()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """The time begins."""
        limit = broker.get_actor(message.actor_name).options.get("time_limit", self._time_limit)
        with self._lock:
            self._until[threading.get_ident()] = time.monotonic() + limit / 1000

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """It was done in time, or cut off."""
        self.after_skip_message(broker, message)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """It was not run."""
        with self._lock:
            self._until.pop(threading.get_ident(), None)

    def _look(self) -> None:
        while not self._ending.wait(WATCH_SECONDS):
            now = time.monotonic()
            with self._lock:  # nobody ends meanwhile, and is cut off in what comes after
                for thread in [thread for thread, until in self._until.items() if until <= now]:
                    del self._until[thread]  # once
                    raise_thread_exception(thread, TimeLimitExceeded)  # type: ignore[no-untyped-call]
