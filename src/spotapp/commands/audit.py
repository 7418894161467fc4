"""``spotcore audit``: whether the record of what happened is still what was written."""

import sys
from typing import Any

import click
from rich.progress import track

from spotadapters.postgres.audit import AuditSeals, Seal
from spotapp.commands.database import Local, local
from spotapp.failures import console


@click.group()
def audit() -> None:
    """The record of every change, sealed in batches."""


client_option = click.option("--client", metavar="ID", help="One client; else all, and what belongs to none.")


@audit.command()
@client_option
@local
def verify(here: Local, client: str | None) -> None:
    """Look at every seal: exit status 1 when a row was changed, is missing or was put in later.

    Note the last digests somewhere else: they tell of an end that was cut off. On the database itself.

    \b
    Example:
      spotcore audit verify --client 7d8f5c1e-…
    """
    seals = AuditSeals(here.connections, here.clock)
    heads: dict[str, Seal] = {}
    broken: list[tuple[str, str]] = []
    for seal in track(
        seals.verify(client), "looking at seals", total=seals.count(client), console=console, transient=True
    ):
        heads[seal.client_id] = seal
        if seal.trouble is not None:
            broken.append(
                (f"{_who(seal.client_id)} seal {seal.seal_no} (rows {seal.first_id}–{seal.last_id})", seal.trouble)
            )
    broken += [
        (f"{_who(one.client_id)} from row {one.first_id}", f"{one.rows} rows under no seal")
        for one in seals.loose(client)
    ]
    data: dict[str, Any] = {
        "intact": not broken,
        "findings": [{"where": where, "what": what} for where, what in broken],
        "heads": [
            {"client": _who(one.client_id), "seals": one.seal_no, "last_row": one.last_id, "digest": one.digest}
            for one in heads.values()
        ],
    }
    columns = {"client": "client", "seals": "seals", "last row": "last_row", "digest": "digest"}
    here.screen.rows(data, data["heads"], columns, empty="nothing is sealed yet")
    if broken and not here.screen.is_json:
        click.echo()
        here.screen.rows(data, data["findings"], {"where": "where", "what is wrong": "what"}, empty="")
    if broken:
        sys.exit(1)


@audit.command()
@local
def seal(here: Local) -> None:
    """Seal now what the server would seal within a minute. On the database itself.

    \b
    Example:
      spotcore audit seal
    """
    rows = AuditSeals(here.connections, here.clock).seal()
    here.screen.done({"sealed": rows}, f"{rows} rows sealed")


def _who(client_id: str) -> str:
    return client_id or "(no client)"
