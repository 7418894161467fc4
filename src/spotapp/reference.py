"""The reference pages of ``docs/reference``, made from the code: ``python -m spotapp.reference docs/reference``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import click
from attrs import fields_dict

from spotadapters.http.app import SERVED
from spotadapters.http.auth import Needs
from spotadapters.http.errors import STATUS
from spotadapters.http.reference import SECTIONS, TITLES
from spotadapters.http.routing import Endpoint
from spotapp.cli import main
from spotapp.commands.reference import page
from spotapp.settings import ABOUT, VARIABLES, Settings
from spotcore import errors
from spotcore.errors import SpotError

MADE: Final = "<!-- Made by `make docs` from the code; edit there. -->\n\n"
WHO: Final[Mapping[Needs, str]] = {
    Needs.NOBODY: "anybody",
    Needs.ADMIN: "operator",
    Needs.CLIENT: "client",
    Needs.EITHER: "client, operator",
    Needs.SESSION: "signed-in browser",
}

OURS: Final[Mapping[str, str]] = {
    "SERVER_ERROR": "Anything unexpected; the request id leads to the log.",
    "METHOD_NOT_ALLOWED": "The path is known, the method is not.",
}
"""Codes that no refusal of the core has."""


def api() -> str:
    """Every endpoint in a line; fields, examples and answers stand in ``/docs`` and ``/openapi.json``."""
    lines = ["# API", "", "A running server shows every field, example and answer at `/docs` and `/openapi.json`.", ""]
    for section in dict.fromkeys(SECTIONS.values()):
        rows = sorted((row for row in SERVED if SECTIONS[row.number] == section), key=_order)
        if rows:
            lines += [
                f"## {section}",
                "",
                "| | Call | Does | Who | Refuses beyond the common |",
                "|---|---|---|---|---|",
            ]
            lines += [_line(row) for row in rows] + [""]
    return MADE + "\n".join(lines).rstrip() + "\n"


def _order(row: Endpoint) -> tuple[int, str]:
    digits = row.number.lstrip("E")
    return (int(digits) if digits.isdigit() else 0, row.path)


def _line(row: Endpoint) -> str:
    refuses = ", ".join(f"`{code}`" for code in row.refuses)
    call = f"`{row.method} {row.path}`"
    return f"| {row.number} | {call} | {TITLES[row.number]} | {WHO[row.access.needs]} | {refuses} |"


def error_codes() -> str:
    """Every code, its status and what it means."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SpotError)]
    meaning = {**{kind.code: (kind.__doc__ or "").strip().split("\n")[0] for kind in kinds}, **OURS}
    lines = ["# Errors", "", 'Every refusal is `{status: "error", data: null, error, code, details?}`.', ""]
    lines += ["| Status | Code | Means |", "|---|---|---|"]
    by_status = sorted(STATUS.items(), key=lambda item: (item[1], item[0]))
    lines += [f"| {status} | `{code}` | {meaning[code]} |" for code, status in by_status]
    return MADE + "\n".join(lines) + "\n"


def settings() -> str:
    """Every setting: its variable, its default, what it means."""
    lines = [
        "# Settings",
        "",
        "Read once from the environment; a bad value stops the start and says what would be right.",
    ]
    lines += ["", "| Variable | Default | Means |", "|---|---|---|"]
    defaults = fields_dict(Settings)
    for name, (variable, _) in VARIABLES.items():
        default = defaults[name].default
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        lines.append(f"| `{variable}` | {shown} | {ABOUT[name]} |")
    return MADE + "\n".join(lines) + "\n"


def commands() -> str:
    """Every command with its usage, example and options."""
    return MADE + page(main)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "api.md": api,
    "cli.md": commands,
    "errors.md": error_codes,
    "settings.md": settings,
}


def write(folder: Path) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (folder / name).write_text(make())


if __name__ == "__main__":
    click.command(help=__doc__, params=[click.Argument(["folder"], type=click.Path(path_type=Path))])(write)()
