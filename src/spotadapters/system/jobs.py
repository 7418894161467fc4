"""What runs in the background of this process, and when it last ran (E07, JB-8)."""

from datetime import datetime, timedelta
from threading import Lock

from attrs import evolve, frozen


@frozen(kw_only=True)
class JobView:
    """One job as people see it."""

    name: str
    interval: timedelta
    last_run: datetime | None = None
    last_status: str | None = None  # completed | failed

    @property
    def next_run(self) -> datetime | None:
        """About when it runs next; None before its first run."""
        return self.last_run + self.interval if self.last_run is not None else None


class JobBoard:
    """Jobs of this process. Safe to use from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobView] = {}
        self._lock = Lock()
        self.running = False

    def announce(self, name: str, interval: timedelta) -> None:
        """A job that will run."""
        with self._lock:
            self._jobs[name] = JobView(name=name, interval=interval)

    def ran(self, name: str, at: datetime, *, failed: bool) -> None:
        """It has run."""
        with self._lock:
            self._jobs[name] = evolve(self._jobs[name], last_run=at, last_status="failed" if failed else "completed")

    def jobs(self) -> tuple[JobView, ...]:
        """All of them, by name."""
        with self._lock:
            return tuple(self._jobs[name] for name in sorted(self._jobs))
