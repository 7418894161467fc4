"""When each client last gave a sign of life: noted at most every 30 s, so no tenant row per heartbeat (design 3)."""

import time
from typing import Final

from spotadapters.system.tenancy import acting_for
from spotcore.ids import ClientId
from spotcore.ports.storage import Credentials
from spotcore.ports.world import Clock

TOUCH_SECONDS: Final = 30.0


class LastSeen:
    """What one process has noted."""

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._noted: dict[ClientId, float] = {}

    def note(self, client_id: ClientId) -> None:
        """The client has called. Raises ``Unavailable``."""
        if not self.is_fresh(client_id):
            self._noted[client_id] = time.monotonic()
            with acting_for(client_id):
                self._credentials.touch(client_id, self._clock.now())

    def is_fresh(self, client_id: ClientId) -> bool:
        """Whether nothing has to be noted now."""
        return time.monotonic() - self._noted.get(client_id, -TOUCH_SECONDS) < TOUCH_SECONDS
