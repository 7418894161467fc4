"""The ``spotcore`` command."""

import io
import sys
from collections import UserDict
from collections.abc import Mapping
from typing import Any, Final

import click

from spotapp.loading import load
from spotapp.version import package_version

ALIASES: Final = {"model": "models", "client": "clients"}  # as Z4, Z26 and Z38 have them

PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "agents": ("agents",),
    "audit": ("audit",),
    "channels": ("channels",),
    "clients": ("clients",),
    "commands": ("commands",),
    "completion": ("completion",),
    "dataset": ("dataset",),
    "events": ("events",),
    "incidents": ("incidents",),
    "instances": ("instances", "switch"),
    "jobs": ("jobs",),
    "ledger": ("ledger",),
    "models": ("models",),
    "notifications": ("notifications",),
    "overview": ("health", "pools", "stats"),
    "prices": ("prices",),
    "processes": ("scheduler", "worker"),
    "replicas": ("replicas",),
    "savings": ("export", "savings"),
    "servers": ("serve", "up"),
    "setup": ("check", "migrate", "rekey", "token"),
}
"""The commands that each module of ``spotapp.commands`` brings."""


class Loaded(UserDict[str, click.Command]):
    """Commands by name, each loaded when somebody asks for it."""

    def __init__(self) -> None:
        self.data: Any = {command: module for module, commands in PLACES.items() for command in commands}

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = getattr(load(f"spotapp.commands.{self.data[name]}"), name)
        return command


class Commands(click.Group):
    """The group of all commands; knows a few second names."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


@click.group(cls=Commands, commands=Loaded(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_version(), prog_name="spotcore")
@click.option("--debug", is_flag=True, help="Show a full trace when something fails.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """The control plane for AWS Spot fleets."""
    context.obj = debug
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that a terminal cannot write is no failure


if __name__ == "__main__":
    main()
