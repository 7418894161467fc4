"""The database itself, for what no endpoint offers: given, of a running ``spotcore up``, or started for the moment."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from attrs import evolve, frozen

from spotadapters.embedded import has_database, running_database_url
from spotadapters.postgres.migrate import migrate, require_schema
from spotadapters.postgres.pool import Connections
from spotapp.commands.options import data_dir_option, output_option
from spotapp.commands.screen import Screen
from spotapp.failures import one_line_failures
from spotapp.own_servers import own_servers
from spotapp.settings import Settings, SettingsError, load_settings
from spotapp.wiring import Wiring, open_wiring
from spotcore.control_plane import ControlPlane
from spotcore.ports.world import Clock


@frozen
class Local:
    """The use cases, the database itself, and a screen to show the answer on."""

    wiring: Wiring
    screen: Screen

    @property
    def plane(self) -> ControlPlane:
        """The use cases."""
        return self.wiring.plane

    @property
    def connections(self) -> Connections:
        """For what is no use case."""
        return self.wiring.connections

    @property
    def clock(self) -> Clock:
        """The machine's."""
        return self.wiring.parts.clock


@contextmanager
def any_database(settings: Settings) -> Iterator[str]:
    """The database of the settings, else the one that a ``spotcore up`` on this data folder runs, else the one that
    lies there, started for the moment. Raises ``SettingsError`` where there is none: nobody wants an empty one."""
    url = settings.database_url or running_database_url(settings.data_dir)
    if url is not None:
        yield url
        return
    if not has_database(settings.data_dir):
        raise SettingsError(
            f"there is no database in {settings.data_dir}; say with --data-dir or SPOTCORE_DATABASE_URL where it is, "
            "or start one: spotcore up"
        )
    with own_servers(settings) as started:
        yield started.database_url


@contextmanager
def quiet_wiring(settings: Settings, database_url: str) -> Iterator[Wiring]:
    """The wiring without a server. Our own database is migrated first, a given one never."""
    if settings.database_url is None:
        migrate(database_url)
    else:
        require_schema(database_url)
    # one command at a time: to make ready for a storm takes longer than most commands do
    with open_wiring(evolve(settings, threads=2, urgent_threads=1), database_url, standing=False) as wiring:
        yield wiring


def local(function: Callable[..., None]) -> Callable[..., None]:
    """A command on the database itself: adds ``--data-dir`` and ``--output``; gets a ``Local`` first."""

    @data_dir_option
    @output_option
    @click.pass_context
    @functools.wraps(function)
    def run(context: click.Context, /, data_dir: Path | None, output: str, **values: Any) -> None:
        with one_line_failures(bool(context.obj)):
            settings = load_settings(os.environ, data_dir=data_dir)
            with any_database(settings) as database_url, quiet_wiring(settings, database_url) as wiring:
                function(Local(wiring, Screen(output)), **values)

    return run
