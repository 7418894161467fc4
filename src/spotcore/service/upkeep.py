"""The ticker's use cases: what time alone changes (section 9). Any number may run; each agent is one step (JB-1)."""

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

    def tick(self, limit: int = 200) -> TickResult:
        """Everything that is due by now, oldest first, at most ``limit`` agents. One bad agent never stops the rest."""
        now = self.kernel.clock.now()
        with self.kernel.transactions(urgent=True) as uow:
            due = list(uow.agents.due(now, limit))
        failed: list[tuple[AgentId, str]] = []
        for client_id, agent_id in due:
            try:
                self.advance(client_id, agent_id)
            except (NotFound, StateConflict):
                continue  # gone, or somebody else is at it: the next tick sees
            except SpotError as refusal:
                failed.append((agent_id, refusal.message))
        return TickResult(due=len(due), done=len(due) - len(failed), failed=tuple(failed))

    def advance(self, client_id: ClientId, agent_id: AgentId) -> None:
        """All that is due for one agent, in one transaction. Idempotent."""
        self.kernel.run(
            Caller(client_id=client_id, actor="system"), agent_id, upkeep.pass_time, market=True, urgent=True
        )
