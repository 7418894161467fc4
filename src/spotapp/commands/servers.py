"""``spotcore up`` and ``spotcore serve``. What they serve with is loaded while the databases below it start."""

import contextlib
import os
from pathlib import Path

import click
from rich.text import Text

from spotadapters.system.logs import configure_logs
from spotapp.commands.options import address_options
from spotapp.failures import console, one_line_failures
from spotapp.listening import bound_socket
from spotapp.loading import load, loading
from spotapp.own_servers import own_servers
from spotapp.settings import Settings, SettingsError, load_settings
from spotapp.version import package_version


@click.command()
@address_options
@click.pass_obj
def up(debug: bool, host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Start everything: PostgreSQL and Valkey, the schema, the server.

    \b
    Example:
      spotcore up --port 5000 --data-dir ./data
    """
    console.print(f"[bold]spotcore {package_version()}[/bold] starting …")
    with one_line_failures(debug), contextlib.ExitStack() as stack:
        settings = load_settings(os.environ, host=host, port=port, data_dir=data_dir)
        configure_logs(settings.log_level)
        listening = stack.enter_context(contextlib.closing(bound_socket(settings)))
        with loading("spotapp.serving"):
            servers = stack.enter_context(own_servers(settings))
        from spotapp.serving import serve_all

        serve_all(
            settings,
            servers,
            listening,
            on_migrated=lambda name: console.print(f"  schema: applied {name}"),
            on_token=_show_token,
            on_ready=lambda: _ready(settings),
        )
    console.print("spotcore stopped")


@click.command()
@address_options
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
        with contextlib.closing(bound_socket(settings)) as listening:
            load("spotapp.serving")
            from spotapp.serving import serve_alone

            serve_alone(settings, settings.database_url, listening, on_ready=lambda: _ready(settings))


def _ready(settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    told = Text.assemble(("ready", "green"), f" at http://{host}:{settings.port}  (stop with Ctrl-C)")
    console.print(told, soft_wrap=True)


def _show_token(token: str) -> None:
    console.print("  admin token, shown this once; keep it safe:")
    click.echo(token)
