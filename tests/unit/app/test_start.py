"""The command as a shell starts it, interrupted before it is loaded."""

import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from spotapp import start


class Interrupted:
    """Ctrl-C comes while the command line is looked for."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "spotapp.cli":
            raise KeyboardInterrupt


def test_ctrl_c_while_it_is_being_loaded_is_one_word_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "spotapp.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        start.main()
    assert (ended.value.code, capsys.readouterr().err) == (1, "Aborted!\n")


def test_otherwise_it_is_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["spotcore", "--version"])
    with pytest.raises(SystemExit) as ended:
        start.main()
    assert (ended.value.code, capsys.readouterr().out.startswith("spotcore")) == (0, True)
