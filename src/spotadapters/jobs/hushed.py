"""What dramatiq says when Redis is away: to itself critical, each few seconds and for each of its queues; to us one
warning a minute, for jobs go on in the scheduler. Whatever else it has to say passes as it is."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from dramatiq.errors import BrokerConnectionError

from spotadapters.system.reasons import reason

log = logging.getLogger("spotadapters.jobs")

AGAIN_SECONDS: Final = 60.0
CONSUMER: Final = "dramatiq.worker.ConsumerThread({})"  # the logger of a queue's consumer
RESTARTING: Final = "Restarting consumer"


class Hushed(logging.Filter):
    """One for all consumers of a process: they lose the same Redis."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._told: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """False for what is told in our words, or was told just now."""
        away = next((one for one in record.args or () if isinstance(one, BrokerConnectionError)), None)
        if away is None:
            return not str(record.msg).startswith(RESTARTING)
        now = self._monotonic()
        if self._told is None or now - self._told >= AGAIN_SECONDS:
            self._told = now
            log.warning("queue_away", extra={"reason": reason(away)})
        return False


HUSHED: Final = Hushed()


def hush(queues: Iterable[str]) -> None:
    """For the consumers of these queues, and of what waits for them. Repeatable."""
    for queue in queues:
        for name in (queue, f"{queue}.DQ"):
            logging.getLogger(CONSUMER.format(name)).addFilter(HUSHED)
