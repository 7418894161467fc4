"""Rate limits (S24). They keep one caller from crowding out others, and never touch what keeps a workload alive.

Counts live in this process: with several behind a balancer each grants its share. A sliding window of one minute.
"""

import math
import time
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from spotcore.errors import RateLimited

PEOPLE: Final = RateLimitItemPerMinute(600, namespace="people")
CLIENT_WRITES: Final = RateLimitItemPerMinute(60, namespace="client-writes")
AGENT: Final = RateLimitItemPerMinute(600, namespace="agent")
FAILED_LOGINS: Final = RateLimitItemPerMinute(5, namespace="failed-logins")

NEVER: Final = frozenset(
    {
        "E17", "E69", "E71", "E103",  # heartbeats and command polls
        "E40", "E41", "E70", "E72", "E73", "E75",  # results
        "E43", "E48", "E49", "E55",  # replicas and what is to end
        "E51", "E52", "E53", "E56", "E58", "E59",  # emergencies
        "E01", "E02", "livez", "readyz", "metrics", "E100",  # probes; logins have a limit of their own
    }
)  # fmt: skip


class Limits:
    """Counts calls and refuses the one too many. Safe to use from any thread."""

    def __init__(self, storage: Storage | None = None) -> None:
        """Counts are kept in ``storage``, by default in memory of its own."""
        self._limiter = SlidingWindowCounterRateLimiter(storage or MemoryStorage())

    def admit(self, number: str, method: str, path: str, *, credential: str, address: str, subject: str) -> None:
        """Count a call of an endpoint. ``subject`` is the agent or machine it is about, ``credential`` stands for what
        it is authenticated with. Raises ``RateLimited``."""
        if number in NEVER:
            return
        if path.startswith("/api/agents/"):
            self._hit(AGENT, subject or address)  # a tenant's whole fleet shares one token and perhaps one address
            return
        self._hit(PEOPLE, credential, address)
        if method != "GET" and path.startswith("/api/client"):
            self._hit(CLIENT_WRITES, credential, address)

    def count(self, limit: RateLimitItem, *who: str) -> None:
        """Count one, whether there is room or not."""
        self._limiter.hit(limit, *who)

    def require_room(self, limit: RateLimitItem, *who: str) -> None:
        """Raises ``RateLimited`` when the limit is used up; counts nothing."""
        if not self._limiter.test(limit, *who):
            self._refuse(limit, *who)

    def _hit(self, limit: RateLimitItem, *who: str) -> None:
        if not self._limiter.hit(limit, *who):
            self._refuse(limit, *who)

    def _refuse(self, limit: RateLimitItem, *who: str) -> None:
        reset = self._limiter.get_window_stats(limit, *who).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        raise RateLimited(f"at most {limit.amount} a minute; wait {seconds} s", retry_after_seconds=seconds)
