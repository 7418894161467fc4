"""``spotcore replicas``: machines that stand by."""

import math
from typing import Final

import click

from spotapp.commands.api import part
from spotapp.commands.options import Remote, ask, remote, yes_option

COLUMNS: Final = {
    "agent": "agentId", "replica": "replica.id", "kind": "replica.type", "status": "replica.status",
    "machine": "replica.instanceId", "pool": "replica.pool.id", "$/h": "replica.cost.hourly",
    "progress %": "replica.state_transfer_progress", "primary": "primary.instanceId", "since": "replica.created_at",
}  # fmt: skip


@click.group()
def replicas() -> None:
    """Machines that stand by: list, create, promote, delete."""


@replicas.command("list")
@click.argument("client")
@remote
def list_replicas(remote: Remote, client: str) -> None:
    """The active replicas of a client, newest first.

    \b
    Example:
      spotcore replicas list 7d8f5c1e-…
    """
    data = remote.api.get(f"/api/client/{part(client)}/replicas")  # E42
    remote.screen.rows(data, data, COLUMNS, empty="no active replicas")


def _finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("use a number of dollars, e.g. 0.05")
    return value


@replicas.command()
@click.argument("agent")
@click.option("--pool", metavar="POOL", help="Where; the cheapest other pool when absent.")
@click.option("--exclude-zone", "zones", multiple=True, metavar="AZ", help="Not here; may be repeated.")
@click.option("--max-hourly-cost", type=float, metavar="USD", callback=_finite, help="No dearer than this.")
@remote
def create(remote: Remote, agent: str, pool: str | None, zones: tuple[str, ...], max_hourly_cost: float | None) -> None:
    """Start a replica of an agent that is in manual replica mode.

    \b
    Example:
      spotcore replicas create 2b1c9a4e-… --exclude-zone us-east-1a --max-hourly-cost 0.05
    """
    wanted = {"pool_id": pool, "exclude_zones": list(zones) or None, "max_hourly_cost": max_hourly_cost}
    body = {name: value for name, value in wanted.items() if value is not None}
    data, _ = remote.api.post(f"/api/agents/{part(agent)}/replicas", body)  # E45
    remote.screen.facts(data)


@replicas.command()
@click.argument("agent")
@click.argument("replica")
@click.option("--demote-old/--end-old", default=None, help="Keep the old primary as a replica, or let it end.")
@yes_option
@remote
def promote(remote: Remote, agent: str, replica: str, demote_old: bool | None, yes: bool) -> None:
    """Make a ready replica the primary.

    \b
    Example:
      spotcore replicas promote 2b1c9a4e-… 91d0f3aa-… --yes
    """
    ask(f"Make replica {replica} the primary of agent {agent}?", yes)
    body = {} if demote_old is None else {"demote_old_primary": demote_old}
    data, _ = remote.api.post(f"/api/agents/{part(agent)}/replicas/{part(replica)}/promote", body)  # E46
    remote.screen.facts(data)


@replicas.command()
@click.argument("agent")
@click.argument("replica")
@yes_option
@remote
def delete(remote: Remote, agent: str, replica: str, yes: bool) -> None:
    """End a replica and its machine.

    \b
    Example:
      spotcore replicas delete 2b1c9a4e-… 91d0f3aa-… --yes
    """
    ask(f"End replica {replica} of agent {agent}?", yes)
    data, message = remote.api.delete(f"/api/agents/{part(agent)}/replicas/{part(replica)}")  # E47
    remote.screen.done(data, message or f"Replica {replica} ended at {data['terminated_at']}")
