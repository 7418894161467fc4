"""What a benchmark found, the same way for all: a table, a JSON file with machine and commit, a plot, and a gate.

Absolute figures are one machine's and travel badly. What is compared with the past are ratios of one run: our way
against the least that has to be done, in rounds that take turns.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

BASELINE: Final = Path(__file__).with_name("baseline.json")


@frozen(kw_only=True)
class Ratio:
    """A figure that may be compared over machines: the median of its rounds."""

    name: str
    rounds: tuple[float, ...]
    less_is_better: bool = False
    must: float | None = None  # the least, or the most when less is better

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.rounds)

    def is_as_good_as(self, limit: float) -> bool:
        """At least the limit, or at most."""
        return self.value <= limit if self.less_is_better else self.value >= limit


@frozen(kw_only=True)
class Report:
    """All a benchmark says."""

    benchmark: str
    figures: Mapping[str, Any]
    ratios: Sequence[Ratio] = ()
    missed: Sequence[str] = field(factory=tuple)  # absolute limits, as sentences

    @property
    def all_missed(self) -> list[str]:
        """Absolute limits and those of ratios."""
        ratios = [one for one in self.ratios if one.must is not None and not one.is_as_good_as(one.must)]
        return [*self.missed, *(f"{one.name} is {one.value:.3g}, must be {_limit(one)}" for one in ratios)]


def _limit(ratio: Ratio) -> str:
    return f"{'≤' if ratio.less_is_better else '≥'} {ratio.must:.3g}"


def options_of(
    doc: str | None, *more: tuple[str, dict[str, Any]], quick: Mapping[str, Any] | None = None
) -> argparse.Namespace:
    """The words of the command line: a benchmark's own, and those that all have. ``--quick`` takes the given values
    instead of the defaults."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n\n")[0])
    for name, facts in more:
        parser.add_argument(name, **facts)
    parser.add_argument("--quick", action="store_true", help="a small round, for a first look")
    parser.add_argument("--json", metavar="FILE", help="write what was found")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios to this .png or .svg")
    parser.add_argument("--gate", metavar="FILE", help=f"compare ratios with kept ones ({BASELINE.name})")
    if parser.parse_args().quick:
        parser.set_defaults(**(quick or {}))
    return parser.parse_args()


def finish(report: Report, options: argparse.Namespace) -> int:
    """Show it, write it, judge it: the process's exit status."""
    show(report)
    found = as_json(report)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))
    if options.plot:
        draw(report, Path(options.plot))
    worse = regressions(found, json.loads(Path(options.gate).read_text())) if options.gate else []
    for text in (*report.all_missed, *worse):
        print(f"MISSED: {text}")
    return 1 if worse or report.all_missed else 0


def show(report: Report) -> None:
    """Figures and ratios for people."""
    for name, value in report.figures.items():
        print(f"{name:40} {value}")
    for one in report.ratios:
        limit = f"   must be {_limit(one)}" if one.must is not None else ""
        spread = f" ({min(one.rounds):.3g} to {max(one.rounds):.3g})" if len(one.rounds) > 1 else ""
        print(f"{one.name:40} {one.value:.3g}{spread}{limit}")


def as_json(report: Report) -> dict[str, Any]:
    """What is written."""
    ratios = {
        one.name: {
            "value": round(one.value, 4), "rounds": [round(value, 4) for value in one.rounds], "must": one.must,
            "less_is_better": one.less_is_better,
        }
        for one in report.ratios
    }  # fmt: skip
    return {
        "benchmark": report.benchmark, "at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(),
        "machine": machine(), "figures": dict(report.figures), "ratios": ratios, "missed": report.all_missed,
    }  # fmt: skip


def machine() -> dict[str, Any]:
    """Where it ran."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(), "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
    }  # fmt: skip


def commit() -> str | None:
    """Of the tree that is measured; None outside of one."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def regressions(found: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """Ratios that got worse than the kept ones by more than their tolerance, and kept ones that are missing."""
    worse = []
    for name, kept in baseline.get(found["benchmark"], {}).items():
        now = found["ratios"].get(name)
        if now is None:
            worse.append(f"{name} is kept in the baseline and was not measured")
            continue
        share = 1 + kept["tolerance"] if kept["less_is_better"] else 1 / (1 + kept["tolerance"])
        limit = kept["value"] * share
        is_worse = now["value"] > limit if kept["less_is_better"] else now["value"] < limit
        if is_worse:
            worse.append(f"{name} was {kept['value']:.3g}, is {now['value']:.3g}; {limit:.3g} would be tolerated")
    return worse


def draw(report: Report, file: Path) -> None:
    """Ratios as bars with their rounds as dots; limits as lines."""
    from matplotlib.figure import Figure  # takes longer than some rounds; most want no picture

    figure = Figure(figsize=(8, 1.2 + 0.6 * max(1, len(report.ratios))), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(reversed(report.ratios)):
        is_fine = one.must is None or one.is_as_good_as(one.must)
        axes.barh(place, one.value, color="tab:green" if is_fine else "tab:red", height=0.6)
        axes.plot(one.rounds, [place] * len(one.rounds), "k.")
        if one.must is not None:
            axes.vlines(one.must, place - 0.4, place + 0.4, colors="black", linestyles="dashed")
    names = [one.name + (" (less is better)" if one.less_is_better else "") for one in reversed(report.ratios)]
    axes.set_yticks(range(len(names)), names)
    axes.set_title(f"{report.benchmark}: ratios; dashed: the limit, dots: rounds")
    figure.savefig(file)
