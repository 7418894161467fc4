"""``spotcore completion``: the script that lets a shell complete commands."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands in your shell.

    \b
    Example:
      spotcore completion bash > ~/.local/share/bash-completion/completions/spotcore
    """
    kind = get_completion_class(shell)
    assert kind is not None  # the choice has only shells that click knows
    root = context.find_root()
    click.echo(kind(root.command, {}, "spotcore", "_SPOTCORE_COMPLETE").source())
