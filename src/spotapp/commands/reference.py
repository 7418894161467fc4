"""The page of all commands, made from the commands; ``spotapp.reference`` writes it."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import click

from spotapp.commands.options import output_option, token_option, url_option


def _options_of(*decorators: Callable[[Any], Any]) -> list[click.Option]:
    def nothing() -> None:
        """Bears the options."""

    for decorate in decorators:
        decorate(nothing)
    return list(reversed(nothing.__dict__["__click_params__"]))


SHARED: Final = _options_of(output_option, token_option, url_option)
SHARED_NAMES: Final = frozenset(one.name for one in SHARED)


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its words, groups followed to their ends."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, one in sorted(command.commands.items()):
        yield from leaves(one, f"{path} {name}")


def page(root: click.Command) -> str:
    """Markdown: a section for each command."""
    lines = [
        "# Commands",
        "",
        "Exit status: 0 done, 1 refused or failed (one line says how to mend it), 2 wrong use.",
        "`spotcore --debug …` shows the whole trace of a failure. `spotcore completion SHELL` completes words.",
        "",
        "Options that stand below with many commands, explained once:",
        "",
        *_table(SHARED, click.Context(root)),
    ]
    for path, command in leaves(root, "spotcore"):
        # click keeps the help option of a command as it was first asked for: asked without the root's settings, a
        # command would not know -h from then on.
        context = click.Context(command, info_name=path, **root.context_settings)
        lines += ["", f"## {path}", "", *_section(command, context)]
    return "\n".join(lines) + "\n"


def _section(command: click.Command, context: click.Context) -> list[str]:
    about, _, example = inspect.cleandoc(command.help or "").partition("\b")
    lines = [*about.strip().splitlines(), "", "```text", " ".join(command.get_usage(context).split()), "```"]
    code = [line.removeprefix("  ") for line in example.splitlines() if line.strip() and line.strip() != "Example:"]
    lines += ["", "```sh", *code, "```"] if code else []
    shared = [f"`--{one.name}`" for one in command.params if one.name in SHARED_NAMES]
    own = [one for one in command.params if isinstance(one, click.Option) and one.name not in SHARED_NAMES]
    lines += ["", *_table(own, context)] if own else []
    lines += ["", f"Also {', '.join(sorted(shared))}."] if shared else []
    return lines


def _table(options: Iterable[click.Option], context: click.Context) -> list[str]:
    rows = [record for one in options if (record := _record(one, context)) is not None]
    return ["| Option | Means |", "|---|---|", *rows]


def _record(parameter: click.Parameter, context: click.Context) -> str | None:
    record = parameter.get_help_record(context)
    if record is None:
        return None
    name, means = (" ".join(text.split()).replace("|", "\\|") for text in record)
    return f"| `{name}` | {means} |"
