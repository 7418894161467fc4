"""What a command shows: a table for people, or the server's ``data`` unchanged as JSON."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click
from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text

NOTHING: Final = "–"
FILE_WIDTH: Final = 240  # of a table that goes into a file or a pipe

Columns = Mapping[str, str]
"""Heading → key of the row; ``a.b`` looks into an object."""


def shown(value: Any) -> str:
    """A value for people. Unknown is a dash, never a zero; control characters never reach the terminal."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value) or NOTHING
    if isinstance(value, dict):
        return ", ".join(f"{shown(name)}={shown(one)}" for name, one in value.items()) or NOTHING
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def at(row: Any, key: str) -> Any:
    """The value at ``a.b``; None where there is none."""
    for name in key.split("."):
        row = row.get(name) if isinstance(row, Mapping) else None
    return row


@frozen
class Screen:
    """Standard output in the form that was asked for."""

    form: str  # table | json

    @property
    def is_json(self) -> bool:
        """True when a program reads along."""
        return self.form == "json"

    def rows(self, data: Any, rows: Iterable[Any], columns: Columns, *, empty: str) -> None:
        """A table of ``rows``; as JSON all of ``data``."""
        if self.is_json:
            self.json(data)
            return
        found = list(rows)
        if not found:
            click.echo(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in columns:
            table.add_column(heading, overflow="fold")
        for row in found:
            table.add_row(*(Text(shown(at(row, key))) for key in columns.values()))
        self._print(table)

    def cut(self, count: int, limit: int, narrow: str) -> None:
        """Say so when a list is as long as it may be: there may be more."""
        if count >= limit:
            click.echo(f"only the first {limit} are shown; {narrow}", err=True)

    def facts(self, data: Any, facts: Mapping[str, Any] | None = None) -> None:
        """Names and values one below the other; as JSON all of ``data``."""
        if self.is_json:
            self.json(data)
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in _flat(data if facts is None else facts):
            table.add_row(Text(shown(name)), Text(shown(value)))
        self._print(table)

    def done(self, data: Any, text: str) -> None:
        """One sentence about what happened; as JSON all of ``data``."""
        if self.is_json:
            self.json(data)
        else:
            click.echo(shown(text))

    def json(self, data: Any) -> None:
        """``data`` as it came."""
        click.echo(json.dumps(data, indent=2))

    def line(self, data: Any, text: str) -> None:
        """One line of a stream, at once."""
        click.echo(json.dumps(data) if self.is_json else shown(text))
        sys.stdout.flush()

    def _print(self, table: Table) -> None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=FILE_WIDTH)
        console.print(table)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value, 1):
                if isinstance(one, Mapping):
                    yield from _flat(one, f"{prefix}{name}[{number}].")
        else:
            yield f"{prefix}{name}", value
