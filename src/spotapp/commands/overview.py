"""``spotcore pools``, ``stats`` and ``health``: the whole installation at a glance."""

from typing import Final

import click

from spotapp.commands.api import ADMIN_CALL
from spotapp.commands.options import Remote, remote

REGIONS: Final = {
    "region": "region", "pools": "pools", "average $/h": "average_price", "cheapest $/h": "cheapest_price",
}  # fmt: skip
TYPES: Final = {
    "type": "instance_type", "pools": "pools_available", "average spot $/h": "avg_spot_price",
    "on-demand $/h": "ondemand_price",
}  # fmt: skip


@click.group()
def pools() -> None:
    """Spot pools that are known."""


@pools.command("list")
@remote
def list_pools(remote: Remote) -> None:
    """Pools and prices by region and machine type.

    \b
    Example:
      spotcore pools list
    """
    data = remote.api.get("/api/admin/pools/statistics", needs=ADMIN_CALL)  # E94
    if remote.screen.is_json:
        remote.screen.json(data)
        return
    click.echo(f"{data['total_pools']} pools, {data['active_pools']} active\n")
    remote.screen.rows(data, data["regions"], REGIONS, empty="no regions yet")
    click.echo()
    remote.screen.rows(data, data["instance_types"], TYPES, empty="no machine types yet")


@click.command()
@remote
def stats(remote: Remote) -> None:
    """Counts over all clients: agents, machines, switches, savings.

    \b
    Example:
      spotcore stats --output json
    """
    remote.screen.facts(remote.api.get("/api/admin/stats", needs=ADMIN_CALL))  # E03


@click.command()
@remote
def health(remote: Remote) -> None:
    """How the server is: database, background jobs, decision engine, models.

    \b
    Example:
      spotcore health
    """
    remote.screen.facts(remote.api.get("/api/admin/system-health", needs=ADMIN_CALL))  # E07
