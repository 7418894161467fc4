"""The page of all commands, made from the commands; ``spotapp.reference`` writes it."""

import inspect
from collections.abc import Iterator

import click


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
    ]
    for path, command in leaves(root, "spotcore"):
        lines += ["", f"## {path}", "", *_section(path, command)]
    return "\n".join(lines) + "\n"


def _section(path: str, command: click.Command) -> list[str]:
    about, _, example = inspect.cleandoc(command.help or "").partition("\b")
    context = click.Context(command, info_name=path)
    lines = [*about.strip().splitlines(), "", "```text", " ".join(command.get_usage(context).split()), "```"]
    code = [line.removeprefix("  ") for line in example.splitlines() if line.strip() and line.strip() != "Example:"]
    lines += ["", "```sh", *code, "```"] if code else []
    rows = [record for one in command.params if (record := _record(one, context)) is not None]
    if rows:
        lines += ["", "| Option | Means |", "|---|---|", *rows]
    return lines


def _record(parameter: click.Parameter, context: click.Context) -> str | None:
    record = parameter.get_help_record(context)
    if record is None:
        return None
    name, means = (" ".join(text.split()).replace("|", "\\|") for text in record)
    return f"| `{name}` | {means} |"
