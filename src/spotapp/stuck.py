"""Agents that a job can do nothing for: named in the log, and not with every tick."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from spotcore.ids import AgentId

log = logging.getLogger("spotapp.jobs")

QUIET_SECONDS: Final = 300.0  # a job of every second would fill the log with one bad row


class Stuck:
    """Whom one job has told of lately."""

    def __init__(self, job: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._monotonic = monotonic
        self._told: dict[AgentId, float] = {}

    def tell(self, failed: Iterable[tuple[AgentId, str]]) -> None:
        """Log each of them with its reason, an agent once in five minutes."""
        now = self._monotonic()
        self._told = {agent_id: at for agent_id, at in self._told.items() if now - at < QUIET_SECONDS}
        for agent_id, reason in failed:
            if agent_id not in self._told:
                self._told[agent_id] = now
                log.error("agent_stuck", extra={"job": self._job, "agent_id": agent_id, "reason": reason})
