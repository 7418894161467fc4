"""When each client last gave a sign of life: noted at most every 30 s, so no tenant row per heartbeat (design 3)."""

import time
from collections.abc import Callable
from typing import Final

from spotadapters.system.tenancy import acting_for
from spotcore.ids import ClientId
from spotcore.ports.storage import Credentials
from spotcore.ports.world import Clock

TOUCH_SECONDS: Final = 30.0
ERRAND_SECONDS: Final = 2.0  # for one call to note it; then another is sent


class LastSeen:
    """What one process has noted."""

    def __init__(self, credentials: Credentials, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._credentials = credentials
        self._clock = clock
        self._monotonic = monotonic
        self._noted: dict[ClientId, float] = {}
        self._sent: dict[ClientId, float] = {}

    def note(self, client_id: ClientId) -> None:
        """The client has called. Raises ``Unavailable``."""
        if self._is_due(client_id):
            self._noted[client_id] = self._monotonic()
            with acting_for(client_id):
                self._credentials.touch(client_id, self._clock.now())

    def is_fresh(self, client_id: ClientId) -> bool:
        """Whether a call need not take the way on which its client is noted. When one has to, it is one: a fleet of
        thousands calls in the time that takes, and would follow it to a man."""
        if not self._is_due(client_id):
            return True
        now = self._monotonic()
        if now - self._sent.get(client_id, -ERRAND_SECONDS) < ERRAND_SECONDS:
            return True
        self._sent[client_id] = now
        return False

    def _is_due(self, client_id: ClientId) -> bool:
        return self._monotonic() - self._noted.get(client_id, -TOUCH_SECONDS) >= TOUCH_SECONDS
