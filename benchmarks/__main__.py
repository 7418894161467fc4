"""All benchmarks in their quick form, one after the other, and one table of ratios against the kept ones."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.results import BASELINE, regressions

ALL: Final = ("failover", "waiting", "capacity", "hotpaths", "cleaning", "history", "ledger")
TOLERANCE: Final = 0.5  # of a ratio kept for the first time: quick rounds on a busy machine differ by a third


def ran(name: str, folder: Path, *, is_quick: bool) -> dict[str, Any] | None:
    """What a benchmark found; None when it could not be run to its end."""
    file = folder / f"{name}.json"
    print(f"== {name}", flush=True)
    quick = ["--quick"] if is_quick else []
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *quick, "--json", str(file)], check=False)
    return json.loads(file.read_text()) if file.exists() else None


def kept(found: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The ratios as a baseline; tolerances stay as they were."""
    return {
        name: {
            "value": one["value"], "less_is_better": one["less_is_better"],
            "tolerance": before.get(name, {}).get("tolerance", TOLERANCE),
        }
        for name, one in found["ratios"].items()
    }  # fmt: skip


def table(results: Mapping[str, dict[str, Any] | None], baseline: Mapping[str, Any]) -> bool:
    """Print ratios beside the kept ones; True when none got worse and every limit was met."""
    is_fine = True
    print(f"\n{'benchmark':10} {'ratio':36} {'now':>8} {'kept':>8}")
    for name, found in results.items():
        if found is None:
            print(f"{name:10} did not end")
            is_fine = False
            continue
        worse = regressions(found, baseline)
        for ratio, one in found["ratios"].items():
            was = baseline.get(name, {}).get(ratio)
            kept_text = f"{was['value']:.3g}" if was else "–"
            is_worse = any(text.startswith(f"{ratio} ") for text in worse)
            print(
                f"{name:10} {ratio:36} {one['value']:8.3g} {kept_text:>8}"
                f" {'less is better' if one['less_is_better'] else 'more is better'}{'  WORSE' if is_worse else ''}"
            )
        for text in (*found["missed"], *worse):
            print(f"{name:10} MISSED: {text}")
        is_fine = is_fine and not worse and not found["missed"]
    return is_fine


def main() -> int:
    """Run them, compare, and keep what was found when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(ALL)}")
    parser.add_argument("--full", action="store_true", help="full rounds: half an hour instead of minutes")
    parser.add_argument("--json", metavar="FILE", help="write everything that was found")
    parser.add_argument("--gate", metavar="FILE", default=str(BASELINE), help="kept ratios to compare with")
    parser.add_argument("--keep", action="store_true", help="these ratios are the ones to compare with from now on")
    options = parser.parse_args()
    gate = Path(options.gate)
    baseline = json.loads(gate.read_text()) if gate.exists() else {}
    with tempfile.TemporaryDirectory(prefix="spotcore-bench-") as folder:
        results = {name: ran(name, Path(folder), is_quick=not options.full) for name in options.names or ALL}
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))
    is_fine = table(results, baseline)
    if options.keep:
        new = {name: kept(found, baseline.get(name, {})) for name, found in results.items() if found is not None}
        gate.write_text(json.dumps({**baseline, **new}, indent=2, sort_keys=True) + "\n")
        print(f"kept in {gate}")
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
