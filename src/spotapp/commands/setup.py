"""``spotcore migrate``, ``token``, ``rekey`` and ``check``: what a server needs before and beside it."""

import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from spotadapters.postgres.migrate import migrate as apply_migrations
from spotadapters.postgres.sealed import forget_unreadable
from spotadapters.system.identity import SecureIdentity
from spotapp.admin_token import rotate_admin_token
from spotapp.checks import examine
from spotapp.commands.database import Local, local, quiet_wiring
from spotapp.commands.options import address_options, ask, data_dir_option, output_option, yes_option
from spotapp.commands.screen import shown
from spotapp.failures import one_line_failures
from spotapp.finding import Finding
from spotapp.own_servers import own_servers
from spotapp.sealing import seal_key
from spotapp.settings import SettingsError, load_settings


@click.command()
@click.pass_obj
def migrate(debug: bool) -> None:
    """Bring the schema of SPOTCORE_DATABASE_URL up to date.

    \b
    Example:
      SPOTCORE_DATABASE_URL=postgresql://… spotcore migrate
    """
    with one_line_failures(debug):
        settings = load_settings(os.environ)
        if settings.database_url is None:
            raise SettingsError("migrate needs SPOTCORE_DATABASE_URL; spotcore up migrates its own database")
        done = apply_migrations(settings.database_url)
        click.echo("\n".join(f"applied {name}" for name in done) or "nothing to do")


@click.command()
@data_dir_option
@click.pass_obj
def token(debug: bool, data_dir: Path | None) -> None:
    """Replace the admin token and show the new one once. The server must not be running on the same data folder.

    \b
    Example:
      spotcore token --data-dir ./data
    """
    with one_line_failures(debug):
        settings = load_settings(os.environ, data_dir=data_dir)
        with own_servers(settings) as servers, quiet_wiring(settings, servers.database_url) as wiring:
            click.echo(rotate_admin_token(wiring))


@click.command()
@yes_option
@local
def rekey(here: Local, yes: bool) -> None:
    """Go on without a seal key that is lost: forget what the key at hand does not open. On the database itself.

    Client tokens stay valid but can no longer be shown; channels are removed and have to be added again. Without
    SPOTCORE_SEAL_KEY and seal.key a new key is made in the data folder. Restart every process afterwards.

    \b
    Example:
      spotcore rekey --data-dir ./data
    """
    if not here.wiring.settings.token_readback:
        raise SettingsError("rekey needs a key at hand; leave SPOTCORE_TOKEN_READBACK on")
    ask("Forget every channel and copy of a token that this key does not open?", yes)
    gone = forget_unreadable(here.connections, SecureIdentity(seal_key(here.wiring.settings)))
    done = {"tokens": gone.tokens, "channels": gone.channels}
    here.screen.done(
        done,
        f"forgot the copies of {gone.tokens} tokens, removed {gone.channels} channels; "
        "restart every process, each keeps the key it began with",
    )


@click.command()
@address_options
@output_option
@click.pass_obj
def check(debug: bool, host: str | None, port: int | None, data_dir: Path | None, output: str) -> None:
    """Say what is wrong here and how to mend it. Exit status 1 if anything is.

    \b
    Example:
      spotcore check --output json
    """
    with one_line_failures(debug):
        settings = load_settings(os.environ, host=host, port=port, data_dir=data_dir)
        findings = examine(settings)
        _print_findings(findings, output)
    if any(not one.ok for one in findings):
        sys.exit(1)


def _print_findings(findings: list[Finding], output: str) -> None:
    if output == "json":
        click.echo(json.dumps([{"check": f.name, "ok": f.ok, "found": f.found, "fix": f.fix} for f in findings]))
        return
    screen = Console(highlight=False)
    for one in findings:
        mark = ("ok  ", "green") if one.ok else ("FAIL", "red")
        screen.print(Text.assemble(mark, f" {one.name}: {shown(one.found)}"), soft_wrap=True)
        if one.fix:
            screen.print(Text(f"       → {shown(one.fix)}"), soft_wrap=True)
