"""``spotcore incidents``: what AWS announced, and what came of it."""

from typing import Final

import click

from spotapp.commands.api import ADMIN_CALL, part
from spotapp.commands.options import Remote, remote

COLUMNS: Final = {
    "date": "date", "client": "client_name", "events": "emergency_event_count", "rebalance": "rebalance_notices",
    "termination": "termination_notices", "failovers": "failovers_completed", "failed": "failovers_failed",
}  # fmt: skip


@click.group()
def incidents() -> None:
    """Emergencies: counts by day, and an agent's state now."""


@incidents.command()
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True, help="How far back.")
@remote
def emergencies(remote: Remote, days: int) -> None:
    """Notices and failovers by day and client.

    \b
    Example:
      spotcore incidents emergencies --days 7
    """
    data = remote.api.get("/api/admin/emergency-events", needs=ADMIN_CALL, days=days)  # E99
    remote.screen.rows(data, data, COLUMNS, empty=f"no emergencies in {days} days")


@incidents.command()
@click.argument("agent")
@remote
def status(remote: Remote, agent: str) -> None:
    """Whether an agent is under notice, and what was done.

    \b
    Example:
      spotcore incidents status 2b1c9a4e-…
    """
    remote.screen.facts(remote.api.get(f"/api/agents/{part(agent)}/emergency-status"))  # E57
