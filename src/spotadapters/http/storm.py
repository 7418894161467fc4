"""Many notices at once: those of one client share transactions, still with a lock on each agent's row alone (GR-1).

When a zone runs dry its agents send their notices within a second. A notice that meets others goes through the steps
of the ordinary way together with them: one look at the token, one transaction, one commit. Nobody waits for company.
What cannot go so (an unknown token or agent, a row that somebody else holds, a rule that refuses) goes the ordinary way
alone, which says what is wrong. The first heartbeats of agents whose role has moved (moves.py) go the same way.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from attrs import frozen

from spotadapters.http.groups import Groups
from spotadapters.system.tenancy import acting_for
from spotcore.change import Outcome
from spotcore.clients import ClientStatus
from spotcore.errors import SpotError, Unavailable
from spotcore.ids import AgentId
from spotcore.ports.storage import Credentials
from spotcore.ports.world import Clock
from spotcore.service.kernel import Caller, MarketUnreadable, Wanted

LARGEST: Final = 8
"""Notices in a transaction: more would keep the first one waiting for the last."""

REPEATED_WAIT_SECONDS: Final = 0.25
"""For first notices; its agent has had its answer, so that it costs nobody anything."""

Judged = Outcome | SpotError
"""What came of a call; a refusal is an answer too."""

Together = Callable[[Caller, Sequence[Wanted]], Mapping[AgentId, Outcome]]
"""``Emergency.together``."""


@frozen(kw_only=True)
class Arrival:
    """A notice, or the heartbeat of an agent whose role has just moved, and the token it came with."""

    token_hash: str
    wanted: Wanted


class Storm:
    """Judges calls in groups, each on a connection of the reserve."""

    def __init__(self, together: Together, credentials: Credentials, clock: Clock, *, groups: int) -> None:
        """At most ``groups`` transactions are at work at a time."""
        self._together = together
        self._credentials = credentials
        self._clock = clock
        self._firsts = 0
        self._none_is_first = asyncio.Event()
        self._none_is_first.set()
        self._groups: Groups[Arrival, Judged] = Groups(self._judged, "notices", writers=groups, largest=LARGEST)

    async def answer(self, arrival: Arrival, *, is_repeated: bool = False) -> Outcome | None:
        """What was decided and committed; None when the call has to go the ordinary way. A notice that only repeats
        one which moved its agent's role lets those go first that may still have a role to move, for a moment at most.
        Raises ``Unavailable``, and ``NotFound`` for an agent that is being deleted: its notice has been recorded
        (EM-17)."""
        if is_repeated:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_is_first.wait(), REPEATED_WAIT_SECONDS)
            judged = await self._groups.done(arrival)
        else:
            with self._first():
                judged = await self._groups.done(arrival)
        refusal = judged.answer if isinstance(judged, Outcome) else judged
        if isinstance(refusal, SpotError):
            raise refusal
        return judged if isinstance(judged, Outcome) else None

    @contextmanager
    def _first(self) -> Iterator[None]:
        self._firsts += 1
        self._none_is_first.clear()
        try:
            yield
        finally:
            self._firsts -= 1
            if self._firsts == 0:
                self._none_is_first.set()

    def close(self) -> None:
        """Judge what waits and end the threads."""
        self._groups.close()

    def _judged(self, arrivals: Sequence[Arrival]) -> Mapping[int, Judged]:
        found: dict[int, Judged] = {}
        for places in _parted(arrivals):
            try:
                found |= self._shared(arrivals[places[0]].token_hash, {place: arrivals[place] for place in places})
            except MarketUnreadable:
                continue  # the ordinary way decides without prices (5.2)
            except Unavailable as away:
                found |= dict.fromkeys(places, away)
            except SpotError:
                continue  # one of them breaks a rule: the others shall not suffer from it
        return found

    def _shared(self, token_hash: str, arrivals: Mapping[int, Arrival]) -> Mapping[int, Judged]:
        """What came, by place, of calls with one token, each about another agent."""
        credential = self._credentials.find(token_hash, self._clock.now())
        client = credential.client if credential is not None else None
        if client is None or client.status is ClientStatus.DELETED:
            return {}
        with acting_for(client.client_id):
            outcomes = self._together(Caller(client_id=client.client_id), [one.wanted for one in arrivals.values()])
        agents = {place: one.wanted.agent_id for place, one in arrivals.items()}
        return {place: outcomes[agent_id] for place, agent_id in agents.items() if agent_id in outcomes}


def _parted(arrivals: Sequence[Arrival]) -> Iterator[Sequence[int]]:
    """Places that can share a transaction: one token, and no agent twice."""
    left = list(range(len(arrivals)))
    while left:
        taken: dict[str, int] = {}
        for place in left:
            one = arrivals[place]
            if one.token_hash == arrivals[left[0]].token_hash:
                taken.setdefault(one.wanted.agent_id, place)
        yield list(taken.values())
        left = [place for place in left if place not in set(taken.values())]
