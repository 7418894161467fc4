"""``spotcore commands``: what an agent was told to do; no endpoint shows it to people."""

from typing import Any, Final

import click

from spotapp.commands.database import Local, local
from spotcore.commands import Command
from spotcore.errors import NotFound
from spotcore.ids import AgentId
from spotcore.pools import Mode
from spotcore.service.kernel import Caller

COLUMNS: Final = {
    "command": "id", "what": "kind", "why": "origin", "state": "state", "to": "target", "created": "created_at",
    "fetched": "fetched_at", "ended": "ended_at", "reason": "reason",
}  # fmt: skip


@click.group()
def commands() -> None:
    """What agents were told to do: list, cancel. On the database itself."""


@commands.command("list")
@click.argument("agent")
@local
def list_commands(here: Local, agent: str) -> None:
    """An agent's open commands and those of the last eight days, newest first.

    \b
    Example:
      spotcore commands list 2b1c9a4e-…
    """
    found = [_facts(one) for one in here.plane.commands.of_agent(_operator(here, agent), AgentId(agent))]
    here.screen.rows(found, found, COLUMNS, empty="no commands in the last eight days")


@commands.command()
@click.argument("agent")
@click.argument("command")
@local
def cancel(here: Local, agent: str, command: str) -> None:
    """Take back a planned move that the agent has not fetched yet.

    Emergencies, launches of replicas and clean-up are not for people to stop here.

    \b
    Example:
      spotcore commands cancel 2b1c9a4e-… 6c1f20d7-…
    """
    ended = here.plane.commands.withdraw(_operator(here, agent), AgentId(agent), command)
    here.screen.done(_facts(ended), f"{ended.kind.value} {ended.command_id} is {ended.state.value}")


def _operator(here: Local, agent: str) -> Caller:
    with here.wiring.storage.transactions() as uow:
        owner = uow.agents.find_owner(AgentId(agent))
    if owner is None:
        raise NotFound(f"no agent has the id {agent}; list them with: spotcore agents list")
    return Caller(client_id=owner, actor="admin")


def _facts(command: Command) -> dict[str, Any]:
    times = {"created_at": command.created_at, "fetched_at": command.delivered_at, "ended_at": command.finished_at}
    return {
        "id": command.command_id,
        "kind": command.kind.value,
        "origin": command.origin.value,
        "state": command.state.value,
        "target": command.target_pool_id or command.target_az or command.target_instance_id or _mode(command),
        "reason": command.failure_reason,
        **{name: at.isoformat() if at is not None else None for name, at in times.items()},
    }


def _mode(command: Command) -> str | None:
    """On demand has no pool to be named."""
    return "on-demand" if command.target_mode is Mode.ONDEMAND else None
