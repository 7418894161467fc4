"""Benchmarks that nobody runs daily still work: a small round of each, whatever the speed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import history, ledger


@pytest.mark.parametrize(
    ("main", "words", "wanted"),
    [
        (ledger.main, ["--machines", "20"], {"machines": 20, "month_lines": 1_200, "next_hour_lines": 60}),
        (history.main, ["--pools", "6"], {"rows": 50_547}),
    ],
)
def test_a_small_round_gives_its_figures(
    main: Callable[[], int], words: list[str], wanted: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["benchmark", *words, "--json", str(file)])
    main()
    figures = json.loads(file.read_text())
    assert figures.items() >= wanted.items()
