"""What the operator does to clients on the database itself; no token opens it (CL-4, CL-5, CL-6, CV-9)."""

from typing import Any, Final

import click

from spotapp.commands.database import Local, local
from spotcore.clients import Client, Defaults
from spotcore.ids import ClientId

MAX_DIGITS: Final = 9  # of a limit; more than any fleet, and what its column holds


def _facts(client: Client) -> dict[str, Any]:
    return {
        "id": client.client_id,
        "name": client.name,
        "status": client.status.value,
        "max_agents": client.max_agents,
        "max_instances": client.max_instances,
        "default_auto_switch": client.default_auto_switch,
        "default_auto_terminate": client.default_auto_terminate,
        "default_terminate_wait_seconds": client.default_terminate_wait_seconds,
    }


@click.command()
@click.argument("client")
@local
def suspend(here: Local, client: str) -> None:
    """Stop serving a client except in emergencies. On the database itself.

    \b
    Example:
      spotcore clients suspend 7d8f5c1e-…
    """
    here.screen.facts(_facts(here.plane.clients.suspend(ClientId(client))))


@click.command()
@click.argument("client")
@local
def resume(here: Local, client: str) -> None:
    """Serve a suspended client again. On the database itself.

    \b
    Example:
      spotcore clients resume 7d8f5c1e-…
    """
    here.screen.facts(_facts(here.plane.clients.resume(ClientId(client))))


def _limit(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "none":
        return value
    if not (value.isascii() and value.isdigit()) or len(value) > MAX_DIGITS:
        raise click.BadParameter(f"use a whole number of at most {MAX_DIGITS} digits, or none")
    return int(value)


@click.command()
@click.argument("client")
@click.option("--max-agents", metavar="N|none", callback=_limit, help="Agents at most; none lifts the limit.")
@click.option("--max-instances", metavar="N|none", callback=_limit, help="Active machines at most.")
@local
def limits(here: Local, client: str, max_agents: int | str | None, max_instances: int | str | None) -> None:
    """Show or set how many agents and machines a client may have. On the database itself.

    Emergencies ignore the limit of machines.

    \b
    Example:
      spotcore clients limits 7d8f5c1e-… --max-agents 50 --max-instances none
    """
    client_id = ClientId(client)
    known = here.plane.clients.get(client_id)
    if max_agents is not None or max_instances is not None:
        known = here.plane.clients.limit(
            client_id,
            max_agents=_chosen(max_agents, known.max_agents),
            max_instances=_chosen(max_instances, known.max_instances),
        )
    here.screen.facts(_facts(known))


def _chosen(given: int | str | None, known: int | None) -> int | None:
    if given is None:
        return known
    return given if isinstance(given, int) else None


@click.command()
@click.argument("client")
@click.option("--auto-switch/--no-auto-switch", default=None, help="Whether new agents switch by themselves.")
@click.option("--auto-terminate/--no-auto-terminate", default=None, help="Whether they end the old machine.")
@click.option("--terminate-wait", type=click.IntRange(60, 86_400), metavar="SECONDS", help="How long they wait for it.")
@local
def defaults(
    here: Local, client: str, auto_switch: bool | None, auto_terminate: bool | None, terminate_wait: int | None
) -> None:
    """Show or set how a client's future agents start. On the database itself.

    Agents that are there already stay as they are; apply-to-all changes them too.

    \b
    Example:
      spotcore clients defaults 7d8f5c1e-… --no-auto-switch --terminate-wait 600
    """
    client_id = ClientId(client)
    wanted = Defaults(auto_switch=auto_switch, auto_terminate=auto_terminate, terminate_wait_seconds=terminate_wait)
    known = here.plane.clients.get(client_id)
    here.screen.facts(_facts(known if wanted == Defaults() else here.plane.clients.set_defaults(client_id, wanted)))


@click.command("apply-to-all")
@click.argument("client")
@click.option("--yes", is_flag=True, help="Do not ask.")
@local
def apply_to_all(here: Local, client: str, yes: bool) -> None:
    """Give a client's defaults to every agent it has. On the database itself.

    Where auto-switch is a default, manual replicas end.

    \b
    Example:
      spotcore clients apply-to-all 7d8f5c1e-… --yes
    """
    known = here.plane.clients.get(ClientId(client))
    if not yes:
        click.confirm(f"Change the settings of every agent of {known.name}?", abort=True, err=True)
    changed = here.plane.clients.apply_defaults(known.client_id)
    here.screen.done({"changed": list(changed)}, f"{len(changed)} agents changed")


@click.command()
@click.argument("client")
@click.option("--confirm", metavar="NAME", help="The client's name, typed exactly; asked for when absent.")
@local
def purge(here: Local, client: str, confirm: str | None) -> None:
    """Erase everything of a deleted client, for ever. On the database itself.

    History, ledger, audit and notifications go too; one audit row of the operator's stays. Prices that all clients
    share stay and forget who reported them.

    \b
    Example:
      spotcore clients purge 7d8f5c1e-…
    """
    known = here.plane.clients.get(ClientId(client))
    typed = confirm if confirm is not None else click.prompt(f"Type the client's name to erase {client}", err=True)
    erased = here.plane.clients.purge(known.client_id, str(typed))
    here.screen.done({"erased": dict(erased)}, f"{sum(erased.values())} rows erased")
