"""``spotcore savings`` and ``spotcore export``: money, on the screen and as CSV."""

from pathlib import Path
from typing import Final

import click

from spotapp.commands.api import ADMIN_CALL, EITHER_CALL, part
from spotapp.commands.options import Remote, remote, remote_file

COLUMNS: Final = {"period": "name", "on-demand $": "onDemandCost", "paid $": "modelCost", "saved $": "savings"}
MONTH: Final = {
    "baseline $": "baseline_cost", "paid $": "actual_cost", "saved $": "realised_savings_period",
    "saved %": "savings_percentage", "replicas $": "replica_cost", "zombies $": "zombie_cost",
    "hours": "estimated_hours", "hours without a price": "unpriced_hours", "month at this rate $": "projected_monthly",
}  # fmt: skip


@click.group()
def savings() -> None:
    """What Spot really saved, from the ledger."""


@savings.command()
@click.argument("client")
@click.option(
    "--range",
    "span",
    type=click.Choice(["daily", "weekly", "monthly", "yearly"]),
    default="monthly",
    show_default=True,
    help="Length of a period.",
)
@remote
def show(remote: Remote, client: str, span: str) -> None:
    """A client's savings by period; the table has this month's account above it.

    \b
    Example:
      spotcore savings show 7d8f5c1e-… --range weekly
    """
    data = remote.api.get(f"/api/client/{part(client)}/savings", range=span)  # E77
    if not remote.screen.is_json:
        about = remote.api.get(f"/api/client/{part(client)}")  # E15
        remote.screen.facts(about, {name: about["savings"].get(key) for name, key in MONTH.items()})
        click.echo()
    remote.screen.rows(data, data, COLUMNS, empty="the ledger has no lines yet")


@click.group()
def export() -> None:
    """CSV files: savings, switches, all clients."""


to_option = click.option("--to", "file", type=click.Path(path_type=Path, dir_okay=False), help="File; else the screen.")


@export.command("savings")
@click.argument("client")
@to_option
@remote_file
def export_savings(remote: Remote, client: str, file: Path | None) -> None:
    """A client's savings by month.

    \b
    Example:
      spotcore export savings 7d8f5c1e-… --to savings.csv
    """
    _write(remote, f"/api/client/{part(client)}/export/savings", EITHER_CALL, file)  # E84


@export.command("switches")
@click.argument("client")
@to_option
@remote_file
def export_switches(remote: Remote, client: str, file: Path | None) -> None:
    """Every switch of a client.

    \b
    Example:
      spotcore export switches 7d8f5c1e-… --to switches.csv
    """
    _write(remote, f"/api/client/{part(client)}/export/switch-history", EITHER_CALL, file)  # E85


@export.command("stats")
@to_option
@remote_file
def export_stats(remote: Remote, file: Path | None) -> None:
    """All clients: savings, machines, agents.

    \b
    Example:
      spotcore export stats --to stats.csv
    """
    _write(remote, "/api/admin/export/global-stats", ADMIN_CALL, file)  # E86


def _write(remote: Remote, path: str, needs: str, file: Path | None) -> None:
    content = remote.api.csv(path, needs=needs)
    if file is None:
        click.echo(content, nl=False)
        return
    file.write_bytes(content)
    click.echo(f"{len(content)} bytes in {file}", err=True)
