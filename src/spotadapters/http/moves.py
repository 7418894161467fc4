"""Agents whose role has just moved: what they ask in the next seconds is part of the emergency.

A failover is over when the new primary knows of it. In a storm its heartbeat would otherwise wait with everybody else's
until the last notice is answered, and then share the interpreter with all that has been waiting. Nor is the agent read
again for it when this process has just committed what there is to read. Other processes tell of what they have moved.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from spotcore.aggregate import Aggregate

SECONDS: Final = 5.0  # an agent under notice asks this often (CV-4)
CALLS: Final = 8  # whoever asks more often than that does not hold others back
MOST: Final = 10_000
MOST_STATES: Final = 1_000  # some 20 KB each


class Moves:
    """What one process has moved lately, until the new primary has heard of it."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, tell: Callable[[str], object] = lambda _: None
    ) -> None:
        """``tell`` is called with each agent whose role this process has moved; it must not wait."""
        self._monotonic = monotonic
        self._tell = tell
        self._until: dict[str, float] = {}  # the earliest first
        self._calls: dict[str, int] = {}
        self._taken: dict[str, str | None] = {}  # by agent: the machine that lost the role
        self._states: dict[str, Aggregate] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Remember the loop on which other threads' words are heard."""
        self._loop = asyncio.get_running_loop()

    def told(self, agent_ids: Sequence[str]) -> None:
        """Another process has moved these agents' roles, and knows their states. May be called from any thread."""
        if agent_ids and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin, agent_ids)

    def _begin(self, agent_ids: Sequence[str]) -> None:
        for agent_id in agent_ids:
            self._put(agent_id, None)

    def noticed(self, agent_id: str, data: Any, *, machine: str | None = None, state: Aggregate | None = None) -> None:
        """What a notice about the agent's machine was answered, and the agent's ``state`` that was committed with it.
        One that came twice prolongs nothing."""
        if self.concern(agent_id):
            self.committed(agent_id, state)
        if getattr(data, "new_instance_id", None) is None or getattr(data, "duplicate", None):
            return
        self._put(agent_id, machine)
        self.committed(agent_id, state)
        self._tell(agent_id)

    def _put(self, agent_id: str, machine: str | None) -> None:
        self._end(agent_id)
        if len(self._until) >= MOST:
            self._end(next(iter(self._until)))
        self._until[agent_id], self._calls[agent_id] = self._monotonic() + SECONDS, 0
        self._taken[agent_id] = machine

    def committed(self, agent_id: str, state: Aggregate | None) -> None:
        """The agent's state after a call that concerned its move, if it is at hand. When the move has ended meanwhile,
        nobody will ask for it."""
        if state is None or agent_id not in self._until:
            return
        if agent_id in self._states or len(self._states) < MOST_STATES:
            self._states[agent_id] = state

    def state(self, agent_id: str) -> Aggregate | None:
        """The agent as this process committed it last, while its move is not over. Somebody else may have changed it
        since: its revision says whether."""
        return self._states.get(agent_id) if self.concern(agent_id) else None

    def answered(self, agent_id: str, data: Any) -> None:
        """What a call that concerned a move was answered. A heartbeat that heard ``primary`` ends it."""
        if agent_id in self._until:
            self._calls[agent_id] += 1
            if self._calls[agent_id] >= CALLS or getattr(data, "role", None) == "primary":
                self._end(agent_id)

    def concern(self, agent_id: str | None) -> bool:
        """Whether a call about the agent belongs to a failover."""
        now = self._monotonic()
        while self._until and self._until[oldest := next(iter(self._until))] <= now:
            self._end(oldest)
        return agent_id in self._until

    def is_over(self, agent_id: str, machine: str | None) -> bool:
        """Whether a notice about the agent's machine only repeats one that has just been answered. One about the
        successor, or about whichever machine has the role, does not."""
        return machine is not None and self.concern(agent_id) and self._taken.get(agent_id) == machine

    def _end(self, agent_id: str) -> None:
        self._taken.pop(agent_id, None)
        self._until.pop(agent_id, None)
        self._calls.pop(agent_id, None)
        self._states.pop(agent_id, None)
