"""The ticker's use cases: what time alone changes (section 9). Any number may run; each agent is one step (JB-1)."""

from datetime import datetime
from functools import partial

from attrs import frozen

from spotcore import upkeep
from spotcore.errors import NotFound, SpotError, StateConflict
from spotcore.ids import AgentId, ClientId
from spotcore.service.kernel import Caller, Kernel


@frozen(kw_only=True)
class TickResult:
    """How many agents were due, how many moved on, and which could not be (JB-4)."""

    due: int
    done: int
    failed: tuple[tuple[AgentId, str], ...] = ()


@frozen
class Upkeep:
    """Time-driven rules over all tenants."""

    kernel: Kernel

    def tick(self, limit: int = 200, *, deaf_until: datetime | None = None) -> TickResult:
        """Everything that is due by now, oldest first, at most ``limit`` agents. One bad agent never stops the rest.

        Until ``deaf_until`` nobody is judged by silence: it was the server that could not be reached."""
        now = self.kernel.clock.now()
        with self.kernel.transactions(urgent=True) as uow:
            due = list(uow.agents.due(now, limit))
        failed: list[tuple[AgentId, str]] = []
        for client_id, agent_id in due:
            try:
                self.advance(client_id, agent_id, deaf_until=deaf_until)
            except (NotFound, StateConflict):
                continue  # gone, or somebody else is at it: the next tick sees
            except SpotError as refusal:
                failed.append((agent_id, refusal.message))
        return TickResult(due=len(due), done=len(due) - len(failed), failed=tuple(failed))

    def advance(self, client_id: ClientId, agent_id: AgentId, *, deaf_until: datetime | None = None) -> None:
        """All that is due for one agent, in one transaction. Idempotent."""
        rule = partial(upkeep.pass_time, deaf_until=deaf_until)
        self.kernel.run(Caller(client_id=client_id, actor="system"), agent_id, rule, market=True, urgent=True)
