"""The ticker's use cases: what time alone changes (section 9). Any number may run; each agent is one step (JB-1)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from attrs import define, field, frozen

from spotcore import upkeep
from spotcore.change import Outcome
from spotcore.errors import NotFound, StateConflict
from spotcore.ids import AgentId, ClientId
from spotcore.ports.storage import AgentStore, Turn
from spotcore.service.kernel import Caller, Kernel, MarketUnreadable, Wanted

AT_MOST: Final = 2_000  # agents a tick
PAGE: Final = 100  # agents between two looks at those that have an incident
TOGETHER: Final = 20  # agents of a client in one transaction: none of them is locked for long
TAKES: Final = timedelta(seconds=5)  # a tick: one that is older than 10 s is an alarm (JB-8)
PUT_OFF: Final = timedelta(seconds=20)  # an agent that fails
PUT_OFF_PRESSED: Final = timedelta(seconds=5)  # of the 30 s that a forced promotion leaves to the deadline (5.4)

Queue = Callable[[AgentStore], Callable[[datetime, int, Turn | None], Sequence[Turn]]]


@frozen(kw_only=True)
class TickResult:
    """How many agents were due, how many moved on, and which could not be (JB-4). The rest were somebody else's."""

    due: int
    done: int
    failed: tuple[tuple[AgentId, str], ...] = ()


@frozen
class Upkeep:
    """Time-driven rules over all tenants."""

    kernel: Kernel

    def tick(self, limit: int = AT_MOST, *, deaf_until: datetime | None = None) -> TickResult:
        """Everything that is due by now, oldest first, and before every hundred those that have an open incident (5.4).
        It ends after some ``limit`` agents, or 5 s; the next one goes on.

        An agent that fails is reported and put off, one that somebody else holds is passed by; neither stops the others
        (JB-4). Until ``deaf_until`` nobody is judged by silence: it was the server that could not be reached.

        Raises ``Unavailable`` when it is not one agent but storage that fails."""
        tick = _Tick(upkeep=self, deaf_until=deaf_until, since=self.kernel.clock.now())
        for page in tick.pages(lambda agents: agents.due, limit):  # where nobody is due, nobody is pressed
            tick.serve_pressed()
            tick.serve([turn for turn in page if not tick.has_served(turn.agent_id)], PUT_OFF)
        return TickResult(due=len(tick.seen), done=len(tick.done), failed=tuple(tick.failed))

    def advance(
        self,
        client_id: ClientId,
        agent_id: AgentId,
        *,
        deaf_until: datetime | None = None,
        waits: bool = True,
        market: bool = True,
    ) -> None:
        """All that is due for one agent, in one transaction, without prices unless ``market``. Idempotent. Who
        ``waits`` not gets ``StateConflict`` at once when somebody else holds the agent's row."""
        rule = partial(upkeep.pass_time, deaf_until=deaf_until)
        caller = Caller(client_id=client_id, actor="system")
        self.kernel.run(caller, agent_id, rule, market=market, urgent=True, waits=waits)


@define(kw_only=True)
class _Tick:
    """One run, and what has come of it so far."""

    upkeep: Upkeep
    deaf_until: datetime | None
    since: datetime
    seen: set[AgentId] = field(factory=set)
    done: set[AgentId] = field(factory=set)
    failed: list[tuple[AgentId, str]] = field(factory=list)
    is_blind: bool = False  # prices cannot be read

    @property
    def kernel(self) -> Kernel:
        return self.upkeep.kernel

    def pages(self, queue: Queue, limit: int) -> Iterator[Sequence[Turn]]:
        """The queue as it stands now, until ``limit`` agents have been worked on. Those that somebody else holds count
        for nothing: whatever is in front, the tick gets past it. The place only moves on, so that there is an end."""
        now, begun, after = self.kernel.clock.now(), self._worked_on, None
        while not self._is_over and (left := limit - (self._worked_on - begun)) > 0:
            with self.kernel.transactions(urgent=True) as uow:
                page = queue(uow.agents)(now, min(PAGE, left), after)
            if not page:
                return
            self.seen.update(turn.agent_id for turn in page)
            yield page
            after = page[-1]

    def serve_pressed(self) -> None:
        """Agents with an open incident: as many as of the others, so that neither starves."""
        for page in self.pages(lambda agents: agents.pressed, PAGE):
            self.serve(page, PUT_OFF_PRESSED)

    def has_served(self, agent_id: AgentId) -> bool:
        """Whether it has had its turn, well or not."""
        return agent_id in self.done or any(agent_id == failed for failed, _ in self.failed)

    def serve(self, page: Sequence[Turn], put_off: timedelta) -> None:
        """Each of them, a client's together."""
        clients: dict[ClientId, list[Turn]] = {}
        for turn in page:
            clients.setdefault(turn.client_id, []).append(turn)
        for client_id, turns in clients.items():
            for start in range(0, len(turns), TOGETHER):
                self._serve_together(client_id, turns[start : start + TOGETHER], put_off)

    def _serve_together(self, client_id: ClientId, turns: Sequence[Turn], put_off: timedelta) -> None:
        if self._is_over:
            return
        rule = partial(upkeep.pass_time, deaf_until=self.deaf_until)
        wanted = [Wanted(agent_id=turn.agent_id, rule=rule) for turn in turns]
        try:
            self.done.update(self._together(Caller(client_id=client_id, actor="system"), wanted))
        except Exception:  # one of them fails, or none can be served: each is told of by itself
            for turn in turns:
                self._serve_alone(turn, put_off)

    def _together(self, caller: Caller, wanted: Sequence[Wanted]) -> Mapping[AgentId, Outcome]:
        """Prices that cannot be read cost a tick one wait, not each of its agents (5.2)."""
        if not self.is_blind:
            try:
                return self.kernel.together(caller, wanted)
            except MarketUnreadable:
                self.is_blind = True
        return self.kernel.together(caller, wanted, market=False)

    def _serve_alone(self, turn: Turn, put_off: timedelta) -> None:
        if self._is_over:
            return
        try:
            self.upkeep.advance(
                turn.client_id, turn.agent_id, deaf_until=self.deaf_until, waits=False, market=not self.is_blind
            )
        except (NotFound, StateConflict):
            return  # gone, or somebody else is at it: the next tick sees
        except Exception as failure:  # one agent's trouble is never another's
            self.failed.append((turn.agent_id, f"{type(failure).__name__}: {failure}"))
            with self.kernel.transactions(urgent=True) as uow:  # and where storage is away, this says so
                uow.agents.put_off(turn, self.kernel.clock.now() + put_off)
        else:
            self.done.add(turn.agent_id)

    @property
    def _worked_on(self) -> int:
        return len(self.done) + len(self.failed)

    @property
    def _is_over(self) -> bool:
        return self.kernel.clock.now() - self.since >= TAKES
