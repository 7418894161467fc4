"""The live feed on PostgreSQL: the outbox in the order in which it was published, and the thread that relays it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from spotadapters.postgres.errors import translated
from spotadapters.postgres.queries import query
from spotadapters.postgres.reader import Reader
from spotadapters.wire.frames import Published
from spotcore.errors import SpotError
from spotcore.instants import read_instant
from spotcore.ports.world import Clock

log = logging.getLogger("spotadapters.postgres")

REPLAY: Final = timedelta(minutes=15)  # E90
KEPT: Final = timedelta(hours=1)  # published rows
PAGE: Final = 200
POLL_SECONDS: Final = 2.0  # what costs a lost wake-up, or a commit of a process that relays nothing
PAUSE_SECONDS: Final = 0.25  # a storm of commits is read in batches: reading competes with the failovers
PRUNE_SECONDS: Final = 60.0


class LiveFeed(Reader):
    """Events at their places. Places become visible in their order, so that no reader skips one (decision 0011)."""

    def publish(self) -> int:
        """Give a place to what has been committed since (GR-10); the last place given."""
        return int(self._execute("live_publish", {"now": self._clock.now(), "limit": PAGE})[0][0])

    def position(self) -> int:
        """The last place given."""
        return int(self._execute("live_position", {})[0][0])

    def after(self, place: int) -> Sequence[Published]:
        """What follows a place, all clients', at most a page."""
        return self._page(place, None, None)

    def replay(self, seen: int, scope: str | None) -> Sequence[Published]:
        """What of the last 15 minutes follows a frame id, at most a page. ``scope`` None: all clients'."""
        return self._page(seen - 1, scope, self._clock.now() - REPLAY)

    def is_missed(self, seen: int, scope: str | None) -> bool:
        """True when ``replay`` cannot give all that followed the frame id, or no frame ever had it."""
        values = {"seen": seen, "row": seen - seen % 2, "scope": scope, "since": self._clock.now() - REPLAY}
        return bool(self._execute("live_missed", values)[0][0])

    def prune(self) -> None:
        """Forget what was published long ago."""
        self._execute("live_prune", {"before": self._clock.now() - KEPT})

    def _page(self, after: int, scope: str | None, since: datetime | None) -> Sequence[Published]:
        rows = self._rows("live_since", {"after": after, "scope": scope, "since": since, "limit": PAGE})
        return [_published(row) for row in rows]

    def _execute(self, name: str, values: dict[str, Any]) -> Sequence[tuple[Any, ...]]:
        with translated():
            return self._connections.rows(query(name), values)


def _published(row: dict[str, Any]) -> Published:
    notification = row["notification"]
    if notification is not None:
        notification["at"] = read_instant(notification["at"])
    at = read_instant(row["at"])
    assert at is not None
    return Published(**{**row, "at": at, "notification": notification})


class Audience(Protocol):
    """Whoever listens in this process."""

    def begin(self, place: int) -> None:
        """The feed is read from here on."""
        ...

    def tell(self, events: Sequence[Published], at: datetime) -> None:
        """These were published, in this order."""
        ...

    def lost(self, at: datetime) -> None:
        """Something may have been published that was never told."""
        ...


class LiveRelay:
    """A thread that publishes what was committed and tells this process's audience, once for all of its listeners."""

    def __init__(
        self, feed: LiveFeed, audience: Audience, clock: Clock, *, give_way: Callable[[], None] = lambda: None
    ) -> None:
        """``give_way`` is called before each look, and may wait for a moment: failovers come first."""
        self._give_way = give_way
        self._feed = feed
        self._audience = audience
        self._clock = clock
        self._place: int | None = None
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-relay", daemon=True)

    def start(self) -> None:
        """Begin to relay; never waits for the database."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wake(self) -> None:
        """Something was committed: look now. Never waits."""
        self._news.set()

    def step(self) -> None:
        """Publish, and tell of everything that has been published since the last step. Raises ``SpotError``."""
        if self._place is None:
            self._place = self._feed.position()
            self._audience.begin(self._place)
        while True:
            last = self._feed.publish()
            if last < self._place:  # an older database was restored: what was told is no longer so
                self._audience.begin(last)
                self._audience.lost(self._clock.now())
                self._place = last
            if last == self._place:
                return
            events = self._feed.after(self._place)
            if events:
                self._audience.tell(events, self._clock.now())
            self._place = events[-1].position if events else last

    def _run(self) -> None:
        heard, pruned = time.monotonic(), 0.0
        while not self._stopping.is_set():
            self._give_way()
            self._news.clear()
            try:
                self.step()
                if time.monotonic() - heard > KEPT.total_seconds():
                    self._audience.lost(self._clock.now())
                heard = time.monotonic()
                if heard - pruned >= PRUNE_SECONDS:
                    self._feed.prune()
                    pruned = heard
            except SpotError as refusal:
                log.warning("relay_refused", extra={"code": refusal.code})
            except Exception:
                log.exception("relay_failed")
            self._stopping.wait(PAUSE_SECONDS)
            self._news.wait(POLL_SECONDS)
