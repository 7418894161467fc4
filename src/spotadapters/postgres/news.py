"""What a transaction tells all processes once it has committed: commands to fetch, and roles that have moved."""

from collections.abc import Iterator, Sequence
from typing import Final

from spotadapters.postgres.listen import COMMANDS, MOVES
from spotcore.change import Outcome
from spotcore.commands import CommandState

MOST_AGENTS: Final = 50  # in a message: it may have 8 000 bytes

News = tuple[str, str]
"""A channel, and what is told on it."""


def news_of(outcomes: Sequence[Outcome], process: str) -> list[News]:
    """Of a transaction of that process."""
    moved = [outcome.after.agent.agent_id for outcome in outcomes if _has_new_primary(outcome)]
    return [
        *((COMMANDS, outcome.after.agent.agent_id) for outcome in outcomes if _has_fresh_command(outcome)),
        *((MOVES, " ".join((process, *some))) for some in _parts(moved)),
    ]


def moved_elsewhere(told: str, process: str) -> list[str]:
    """Agents whose role another process has moved; none when it was this one, which knows already."""
    by, *agent_ids = told.split(" ")
    return agent_ids if by != process else []


def _parts(agent_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for place in range(0, len(agent_ids), MOST_AGENTS):
        yield agent_ids[place : place + MOST_AGENTS]


def _has_fresh_command(outcome: Outcome) -> bool:
    """True when a command is pending now and was not before."""
    known = outcome.before.commands if outcome.before else {}
    return any(
        command.state is CommandState.PENDING
        and (command.command_id not in known or known[command.command_id].state is not CommandState.PENDING)
        for command in outcome.after.commands.values()
    )


def _has_new_primary(outcome: Outcome) -> bool:
    """True when the role has moved from one machine to another."""
    before = outcome.before.agent.primary_id if outcome.before is not None else None
    return before is not None and outcome.after.agent.primary_id not in (None, before)
