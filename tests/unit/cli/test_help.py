"""Every command explains itself, with an example that is right."""

import shlex

import click
import pytest
from click.testing import CliRunner

from spotapp.cli import main
from spotapp.commands.reference import leaves

LEAVES = dict(leaves(main, "spotcore"))


def example(command: click.Command) -> list[str]:
    _, found, text = (command.help or "").partition("Example:")
    assert found, "no Example: block"
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_has_an_example_of_itself(path: str) -> None:
    for line in example(LEAVES[path]):
        assert f"{path} " in f"{line} ", line


@pytest.mark.parametrize("path", LEAVES)
def test_the_example_is_right_use(path: str) -> None:
    for line in example(LEAVES[path]):
        words = shlex.split(line.partition(" > ")[0].partition(f"{path}")[2])
        given = [word for word in words if word.startswith("--")]
        known = {name for one in LEAVES[path].params for name in (*one.opts, *one.secondary_opts)}
        assert set(given) <= known, line


@pytest.mark.parametrize("path", LEAVES)
def test_help_is_status_0(path: str) -> None:
    result = CliRunner().invoke(main, [*path.split()[1:], "--help"])
    assert (result.exit_code, "Example:" in result.output) == (0, True)


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_completion_prints_the_script_of_the_shell(shell: str, word: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert word in result.output
    assert "_SPOTCORE_COMPLETE" in result.output


def test_words_are_completed() -> None:
    asked = {"_SPOTCORE_COMPLETE": "fish_complete", "COMP_WORDS": "spotcore agents con", "COMP_CWORD": "con"}
    result = CliRunner().invoke(main, [], env=asked, prog_name="spotcore")
    assert "config" in result.output
