"""``spotcore instances`` and ``spotcore switch``: machines, and moving an agent to another one."""

from typing import Final

import click

from spotapp.commands.api import ADMIN_CALL, part
from spotapp.commands.options import Remote, ask, remote, yes_option

LIMIT: Final = 1000  # of the list (E08)
COLUMNS: Final = {
    "id": "id", "client": "clientName", "agent": "logicalAgentId", "status": "instanceStatus", "primary": "isPrimary",
    "type": "instanceType", "zone": "az", "mode": "currentMode", "spot $/h": "spotPrice",
    "on-demand $/h": "ondemandPrice", "saves %": "savingsPercent",
}  # fmt: skip
OF_A_CLIENT: Final = {
    "id": "id", "agent": "agentId", "status": "instanceStatus", "primary": "isPrimary", "type": "type", "zone": "az",
    "mode": "mode", "pool": "poolId", "spot $/h": "spotPrice", "on-demand $/h": "onDemandPrice",
    "last switch": "lastSwitch",
}  # fmt: skip
SIMULATION: Final = {
    "price now": "current_price", "price there": "target_price", "$/h saved": "hourly_savings",
    "$/month saved": "monthly_savings", "downtime s": "estimated_downtime_seconds", "confidence": "confidence",
    "volatility": "volatility_risk", "interruption in 24 h": "interruption_probability_24h",
    "recommendation": "recommendation",
}  # fmt: skip


@click.group()
def instances() -> None:
    """Machines: list, look at, end."""


@instances.command("list")
@click.option("--client", metavar="ID", help="This client's machines alone.")
@click.option("--status", type=click.Choice(["all", "active", "terminated"]), help="By life.")
@click.option("--mode", type=click.Choice(["all", "spot", "ondemand"]), help="By how they are paid.")
@click.option("--search", metavar="TEXT", help="Part of an id or a type.")
@remote
def list_instances(
    remote: Remote, client: str | None, status: str | None, mode: str | None, search: str | None
) -> None:
    """Machines of all clients, or of one, newest first.

    \b
    Example:
      spotcore instances list --status active --mode spot --search m5
    """
    if client is None:
        wanted_mode = None if mode == "all" else mode
        data = remote.api.get(
            "/api/admin/instances",
            needs=f"{ADMIN_CALL}; with a client token name the client: --client ID",
            status=status, mode=wanted_mode, search=search, limit=LIMIT,
        )  # E08  # fmt: skip
        remote.screen.rows(data, data["instances"], COLUMNS, empty="no such machines")
        remote.screen.cut(len(data["instances"]), LIMIT, "narrow it with --client, --status, --mode or --search")
    else:
        path = f"/api/client/{part(client)}/instances"
        data = remote.api.get(path, status=status, mode=mode, search=search)  # E29
        remote.screen.rows(data, data, OF_A_CLIENT, empty="no such machines")


@instances.command()
@click.argument("instance")
@remote
def show(remote: Remote, instance: str) -> None:
    """One machine: prices, uptime, switches, what it saved.

    \b
    Example:
      spotcore instances show i-0abc1234def567890
    """
    remote.screen.facts(remote.api.get(f"/api/client/instances/{part(instance)}/metrics"))  # E31


@instances.command()
@click.argument("instance")
@click.option("--force", is_flag=True, help="Sent on to the server; a primary is never ended.")
@yes_option
@remote
def terminate(remote: Remote, instance: str, force: bool, yes: bool) -> None:
    """End a machine that is not an agent's primary.

    \b
    Example:
      spotcore instances terminate i-0abc1234def567890 --yes
    """
    ask(f"End machine {instance}?", yes)
    path = f"/api/client/instances/{part(instance)}/terminate"
    data, message = remote.api.post(path, {"force": force})  # E39
    remote.screen.done(data, message or f"Machine {instance} is {data['status']}")


@click.command()
@click.argument("instance")
@click.option("--to", "pool", metavar="POOL", help="The pool to move to, e.g. m5.large.us-east-1b.")
@click.option("--ondemand", is_flag=True, help="Move to on-demand.")
@click.option(
    "--terminate-old/--keep-old", default=None, help="What becomes of the old machine; else as the agent has."
)
@click.option("--simulate", is_flag=True, help="Only say what the move would bring.")
@remote
def switch(
    remote: Remote, instance: str, pool: str | None, ondemand: bool, terminate_old: bool | None, simulate: bool
) -> None:
    """Move an agent from its primary machine to another pool, or to on-demand.

    \b
    Example:
      spotcore switch i-0abc1234def567890 --to m5.large.us-east-1b --simulate
      spotcore switch i-0abc1234def567890 --ondemand
    """
    if (pool is not None) == ondemand:
        raise click.UsageError("give either --to POOL or --ondemand")
    target = {"target": "ondemand"} if ondemand else {"target": "pool", "pool_id": pool}
    where = f"/api/client/instances/{part(instance)}"
    if simulate:
        body = {"target_type": "ondemand"} if ondemand else {"target_type": "spot", "target_pool": pool}
        data, _ = remote.api.post(f"{where}/simulate-switch", body)  # E37
        found = data["simulation"]
        remote.screen.facts(data, {name: found.get(key) for name, key in SIMULATION.items()})
        return
    choice = {} if terminate_old is None else {"auto_terminate": terminate_old}
    data, message = remote.api.post(f"{where}/force-switch", {**target, **choice})  # E34
    queued = f"switch queued as command {data.get('command_id')}" if data["success"] else "nothing to do"
    remote.screen.done(data, f"{message or 'Done'} ({queued})")
