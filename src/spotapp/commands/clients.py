"""``spotcore clients``: tenants, their tokens, and what the operator alone may do to them."""

from typing import Final

import click

from spotapp.commands import client_upkeep
from spotapp.commands.api import ADMIN_CALL, ApiFailure, part
from spotapp.commands.options import Remote, ask, remote, yes_option

CLIENTS: Final = "/api/admin/clients"
COLUMNS: Final = {
    "id": "id", "name": "name", "email": "email", "status": "status", "online": "agentsOnline", "agents": "agentsTotal",
    "machines": "instances", "saved $": "realisedSavings", "last heard": "lastSync",
}  # fmt: skip


@click.group()
def clients() -> None:
    """Tenants: create, look at, tokens, suspend, limits, delete, purge."""


@clients.command()
@click.argument("name")
@click.option("--email", help="Where to write to; unique among clients.")
@remote
def create(remote: Remote, name: str, email: str | None) -> None:
    """Create a client and show its token, this once.

    \b
    Example:
      spotcore clients create "Acme Ltd" --email ops@acme.example
    """
    body = {"name": name} | ({"email": email} if email else {})
    data, _ = remote.api.post(f"{CLIENTS}/create", body, needs=ADMIN_CALL)  # E10
    remote.screen.facts(data, data["client"])


@clients.command("list")
@remote
def list_clients(remote: Remote) -> None:
    """All clients, newest first.

    \b
    Example:
      spotcore clients list --output json
    """
    data = remote.api.get(CLIENTS, needs=ADMIN_CALL)  # E04
    remote.screen.rows(data, data, COLUMNS, empty="no clients; make one with: spotcore clients create NAME")


@clients.command()
@click.argument("client")
@remote
def show(remote: Remote, client: str) -> None:
    """One client: its counts, and what this month saved.

    \b
    Example:
      spotcore clients show 7d8f5c1e-…
    """
    remote.screen.facts(remote.api.get(f"/api/client/{part(client)}"))  # E15


@clients.command()
@click.argument("client")
@remote
def token(remote: Remote, client: str) -> None:
    """Show a client's token. Every look is audited.

    \b
    Example:
      spotcore clients token 7d8f5c1e-…
    """
    data = remote.api.get(f"{CLIENTS}/{part(client)}/token", needs=ADMIN_CALL)  # E13
    if data["token"] is None and not remote.screen.is_json:
        raise ApiFailure(
            f"the server keeps no readable copy (the token ends in {data['token_hint']}); "
            "replace it with: spotcore clients rotate"
        )
    remote.screen.done(data, str(data["token"]))


@clients.command()
@click.argument("client")
@click.option(
    "--grace", type=click.IntRange(0, 86_400), default=0, show_default=True, help="Seconds the old one lives."
)
@remote
def rotate(remote: Remote, client: str, grace: int) -> None:
    """Replace a client's token and show the new one.

    \b
    Example:
      spotcore clients rotate 7d8f5c1e-… --grace 3600
    """
    path = f"{CLIENTS}/{part(client)}/regenerate-token"
    data, _ = remote.api.post(path, {"grace_seconds": grace}, needs=ADMIN_CALL)  # E12
    remote.screen.done(data, str(data["token"]))


@clients.command()
@click.argument("client")
@yes_option
@remote
def delete(remote: Remote, client: str, yes: bool) -> None:
    """Delete a client: its agents are retired, its machines keep running, its history stays.

    \b
    Example:
      spotcore clients delete 7d8f5c1e-… --yes
    """
    ask(f"Delete client {client} and retire its agents?", yes)
    data, message = remote.api.delete(f"{CLIENTS}/{part(client)}", needs=ADMIN_CALL)  # E11
    remote.screen.done(data, message or f"Client {client} deleted")


_DIRECT: Final[tuple[click.Command, ...]] = (
    client_upkeep.suspend,
    client_upkeep.resume,
    client_upkeep.limits,
    client_upkeep.defaults,
    client_upkeep.apply_to_all,
    client_upkeep.purge,
)
for command in _DIRECT:
    clients.add_command(command)
