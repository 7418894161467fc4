"""Benchmarks that nobody runs daily still work: a small round of each, whatever the speed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from benchmarks import capacity, cleaning, failover, history, hotpaths, ledger, results, waiting
from benchmarks.cadence import HABITS, KINDS, rates
from benchmarks.results import Ratio, Report

SMALL: list[tuple[Any, list[str], dict[str, Any]]] = [
    (ledger, ["--machines", "20"], {"machines": 20, "month_lines": 1_200, "next_hour_lines": 60}),
    (history, ["--pools", "6"], {"rows": 50_547}),
    (cleaning, ["--rows", "20000"], {"rows": 20_000}),
    (hotpaths, ["--agents", "32", "--rounds", "1", "--seconds", "0.3", "--only", "poll"], {}),
    (waiting, ["--agents", "30", "--commands", "10", "--idle-seconds", "0.2"], {"delivered": 10, "errors": {}}),
    (capacity, ["--agents", "16", "--seconds", "1", "--warm-seconds", "0.2", "--single-seconds", "0.1", "--pace", "15"],
     {"agents": 16, "failed": 0}),
    (failover, ["--notices", "4", "--rounds", "1"],
     {"notices": 4, "wrong_answers": 0, "agents_without_their_successor": 0, "background_errors": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("module", "words", "wanted"), SMALL, ids=[one[0].__name__ for one in SMALL])
def test_a_small_round_gives_its_figures(
    module: Any, words: list[str], wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WAITERS", 2), ("BACKGROUND", 2), ("SETTLE_SECONDS", 0.1), ("READY_SECONDS", 0.1)):
        monkeypatch.setattr(failover, name, value)
    monkeypatch.setattr(waiting, "FEW", 5)
    monkeypatch.setattr(waiting, "SETTLES", 0.3)
    monkeypatch.setattr(waiting, "BEFORE_SECONDS", 0.2)
    file, plot = tmp_path / "figures.json", tmp_path / "ratios.svg"
    monkeypatch.setattr(sys, "argv", ["benchmark", *words, "--json", str(file), "--plot", str(plot)])
    module.main()
    found = json.loads(file.read_text())
    assert found["figures"].items() >= wanted.items()
    assert {"benchmark", "at", "commit", "machine", "figures", "ratios", "missed"} == set(found)
    assert found["ratios"]
    assert "<svg" in plot.read_text()


# ---- what all share


def a_report(*ratios: Ratio, missed: tuple[str, ...] = ()) -> Report:
    return Report(benchmark="some", figures={"rows": 3}, ratios=ratios, missed=missed)


@pytest.mark.parametrize(
    ("now", "less_is_better", "is_worse"),
    [(1.9, False, False), (1.59, False, True), (2.5, False, False), (2.1, True, False), (2.51, True, True)],
)
def test_the_gate_is_missed_by_a_ratio_that_got_worse_than_its_tolerance(
    now: float, less_is_better: bool, is_worse: bool
) -> None:
    baseline = {"some": {"rate": {"value": 2.0, "less_is_better": less_is_better, "tolerance": 0.25}}}
    found = results.as_json(a_report(Ratio(name="rate", rounds=(now,), less_is_better=less_is_better)))
    assert bool(results.regressions(found, baseline)) is is_worse


def test_a_kept_ratio_that_was_not_measured_is_a_regression_and_other_benchmarks_are_none() -> None:
    kept = {"value": 1.0, "less_is_better": False, "tolerance": 0.5}
    found = results.as_json(a_report())
    assert len(results.regressions(found, {"some": {"gone": kept}})) == 1
    assert results.regressions(found, {"another": {"gone": kept}}) == []


def test_a_ratio_is_the_median_of_its_rounds_and_is_held_to_its_limit() -> None:
    ratio = Ratio(name="rate", rounds=(0.4, 3.0, 0.6), must=0.5)
    assert ratio.value == 0.6
    assert a_report(ratio).all_missed == []
    assert len(a_report(evolve(ratio, must=0.7)).all_missed) == 1
    assert a_report(evolve(ratio, must=0.7, less_is_better=True)).all_missed == []
    assert len(a_report(evolve(ratio, must=0.5, less_is_better=True), missed=("a limit",)).all_missed) == 2


@pytest.mark.parametrize(("given", "status"), [([], 0), (["--gate"], 1)])
def test_the_exit_status_says_whether_the_gate_was_passed(
    given: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = tmp_path / "baseline.json"
    gate.write_text(json.dumps({"some": {"rate": {"value": 9.0, "less_is_better": False, "tolerance": 0.1}}}))
    monkeypatch.setattr(sys, "argv", ["benchmark", *[word for one in given for word in (one, str(gate))]])
    finish: Callable[..., int] = results.finish
    assert finish(a_report(Ratio(name="rate", rounds=(1.0,))), results.options_of("doc")) == status
    assert ("MISSED" in capsys.readouterr().out) is bool(status)


def test_a_quick_round_takes_its_own_values_and_words_win(monkeypatch: pytest.MonkeyPatch) -> None:
    more = (("--agents", {"type": int, "default": 5_000}), ("--rounds", {"type": int, "default": 3}))
    monkeypatch.setattr(sys, "argv", ["benchmark", "--quick", "--rounds", "7"])
    options = results.options_of("doc", *more, quick={"agents": 5, "rounds": 1})
    assert (options.agents, options.rounds) == (5, 7)


def test_the_kept_ratios_name_benchmarks_and_ratios_that_exist() -> None:
    kept = json.loads(results.BASELINE.read_text())
    assert set(kept) <= {"failover", "waiting", "capacity", "hotpaths", "cleaning", "history", "ledger"}
    assert all(0 < one["tolerance"] <= 1 and one["value"] > 0 for some in kept.values() for one in some.values())


def test_a_fleets_calls_per_second_follow_the_cadences_of_the_four_builds() -> None:
    found = {kind: round(rate, 1) for kind, rate in rates(1_000).items()}
    assert set(found) == set(KINDS)
    assert len(HABITS) == 4
    assert found == {
        "heartbeat": 33.3, "command poll": 83.3, "config": 16.7, "price report": 2.5, "replica list": 16.7,
        "terminate list": 4.2, "decision": 4.2,
    }  # fmt: skip
