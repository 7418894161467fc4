"""``spotcore savings`` and ``spotcore export``: money, on the screen and as CSV."""

from datetime import datetime
from pathlib import Path
from typing import Final

import click

from spotadapters.postgres.ledger import LedgerReads
from spotadapters.wire.focus import COLUMNS as COLUMNS_OF_FOCUS
from spotadapters.wire.focus import focus_rows
from spotadapters.wire.sheets import sheet
from spotapp.commands.api import ADMIN_CALL, EITHER_CALL, part
from spotapp.commands.database import Local, local
from spotapp.commands.ledger import MONTH as A_MONTH
from spotapp.commands.ledger import after
from spotapp.commands.options import Remote, remote, remote_file
from spotcore.ids import ClientId

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


@export.command("focus")
@click.argument("client")
@click.argument("month", type=A_MONTH)
@to_option
@local
def export_focus(here: Local, client: str, month: datetime, file: Path | None) -> None:
    """A month's ledger lines under FOCUS column names, for cost tools. On the database itself.

    BilledCost stays empty: the ledger is an estimate from prices, not an invoice.

    \b
    Example:
      spotcore export focus 7d8f5c1e-… 2026-03 --to focus.csv
    """
    known = here.plane.clients.get(ClientId(client))
    found = LedgerReads(here.connections, here.clock).lines(known.client_id, month, after(month))
    rows = focus_rows(((one.entry.line, one.machine) for one in found), known.name)
    _save(sheet(COLUMNS_OF_FOCUS, ([row[name] for name in COLUMNS_OF_FOCUS] for row in rows)), file)


def _write(remote: Remote, path: str, needs: str, file: Path | None) -> None:
    _save(remote.api.csv(path, needs=needs), file)


def _save(content: bytes, file: Path | None) -> None:
    if file is None:
        click.echo(content, nl=False)
        return
    file.write_bytes(content)
    click.echo(f"{len(content)} bytes in {file}", err=True)
