"""The ``spotcore`` command."""

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from spotadapters.jobs.scheduler import Scheduler
from spotadapters.postgres.migrate import migrate, require_schema
from spotadapters.system.logs import configure_logs
from spotapp.admin_token import ensure_admin_token, rotate_admin_token
from spotapp.background import open_queue, working
from spotapp.checks import Finding, examine
from spotapp.commands.agents import agents
from spotapp.commands.audit import audit
from spotapp.commands.channels import channels
from spotapp.commands.clients import clients
from spotapp.commands.commands import commands
from spotapp.commands.completion import completion
from spotapp.commands.database import own_servers, quiet_wiring
from spotapp.commands.dataset import dataset
from spotapp.commands.events import events
from spotapp.commands.incidents import incidents
from spotapp.commands.instances import instances, switch
from spotapp.commands.jobs import jobs
from spotapp.commands.ledger import ledger
from spotapp.commands.models import models
from spotapp.commands.notifications import notifications
from spotapp.commands.options import data_dir_option, output_option
from spotapp.commands.overview import health, pools, stats
from spotapp.commands.prices import prices
from spotapp.commands.processes import scheduler, worker
from spotapp.commands.replicas import replicas
from spotapp.commands.savings import export, savings
from spotapp.commands.screen import shown
from spotapp.failures import console, one_line_failures
from spotapp.settings import Settings, SettingsError, load_settings
from spotapp.web import bound_socket, run
from spotapp.wiring import open_wiring, package_version

WORKERS_OF_UP: Final = 2
ALIASES: Final = {"model": "models", "client": "clients"}  # as Z4, Z26 and Z38 have them


class Commands(click.Group):
    """The group of all commands; knows a few second names."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_version(), prog_name="spotcore")
@click.option("--debug", is_flag=True, help="Show a full trace when something fails.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """The control plane for AWS Spot fleets."""
    context.obj = debug
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that a terminal cannot write is no failure


def _options(command: Any) -> Any:
    for option in (
        click.option("--host", help="Address to listen on.  [default: 127.0.0.1]"),
        click.option("--port", type=click.IntRange(1, 65_535), help="Port to listen on.  [default: 5000]"),
        data_dir_option,
    ):
        command = option(command)
    return command


@main.command()
@_options
@click.pass_obj
def up(debug: bool, host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Start everything: PostgreSQL and Valkey, the schema, the server.

    \b
    Example:
      spotcore up --port 5000 --data-dir ./data
    """
    console.print(f"[bold]spotcore {package_version()}[/bold] starting …")
    with one_line_failures(debug):
        settings = load_settings(os.environ, host=host, port=port, data_dir=data_dir)
        configure_logs(settings.log_level)
        listening = bound_socket(settings)
        with contextlib.closing(listening), own_servers(settings) as servers:
            for name in migrate(servers.database_url):
                console.print(f"  schema: applied {name}")
            with open_wiring(settings, servers.database_url) as wiring:
                _show_token(ensure_admin_token(wiring))
                if not settings.enable_background_jobs:
                    run(wiring, listening, lambda: _ready(settings))
                    return
                with open_queue(wiring, servers.redis_url) as queue, working(queue, WORKERS_OF_UP):
                    run(wiring, listening, lambda: _ready(settings), Scheduler(wiring.jobs, queue.send))
    console.print("spotcore stopped")


def _ready(settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    told = Text.assemble(("ready", "green"), f" at http://{host}:{settings.port}  (stop with Ctrl-C)")
    console.print(told, soft_wrap=True)


def _show_token(token: str | None) -> None:
    if token is not None:
        console.print("  admin token, shown this once; keep it safe:")
        click.echo(token)


@main.command()
@_options
@click.pass_obj
def serve(debug: bool, host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Start the server alone, on the database of SPOTCORE_DATABASE_URL. Time-driven rules need a scheduler beside it.

    \b
    Example:
      SPOTCORE_DATABASE_URL=postgresql://… SPOTCORE_ADMIN_TOKEN=… spotcore serve
    """
    with one_line_failures(debug):
        settings = load_settings(os.environ, host=host, port=port, data_dir=data_dir)
        configure_logs(settings.log_level)
        if settings.database_url is None:
            raise SettingsError("serve needs SPOTCORE_DATABASE_URL; for a database of its own use: spotcore up")
        if settings.admin_token is None:
            raise SettingsError("serve needs SPOTCORE_ADMIN_TOKEN, e.g. from: openssl rand -hex 32")
        require_schema(settings.database_url)
        listening = bound_socket(settings)
        with contextlib.closing(listening), open_wiring(settings, settings.database_url) as wiring:
            ensure_admin_token(wiring)
            run(wiring, listening, lambda: _ready(settings))


@main.command("migrate")
@click.pass_obj
def migrate_command(debug: bool) -> None:
    """Bring the schema of SPOTCORE_DATABASE_URL up to date.

    \b
    Example:
      SPOTCORE_DATABASE_URL=postgresql://… spotcore migrate
    """
    with one_line_failures(debug):
        settings = load_settings(os.environ)
        if settings.database_url is None:
            raise SettingsError("migrate needs SPOTCORE_DATABASE_URL; spotcore up migrates its own database")
        done = migrate(settings.database_url)
        click.echo("\n".join(f"applied {name}" for name in done) or "nothing to do")


@main.command()
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


@main.command()
@_options
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


for command in (
    agents, audit, channels, clients, commands, completion, dataset, events, export, health, incidents, instances,
    jobs, ledger, models, notifications, pools, prices, replicas, savings, scheduler, stats, switch, worker,
):  # fmt: skip
    main.add_command(command)

if __name__ == "__main__":
    main()
