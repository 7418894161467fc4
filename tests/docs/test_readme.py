"""The README is true word for word."""

import re
import subprocess
import sys
from pathlib import Path

import spotcore

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_embedding_example_runs_and_prints_what_the_readme_says() -> None:
    (promised,) = re.findall(r"prints `(\w+)`", README)
    assert printed_by("control_plane(") == promised


def test_the_simulation_example_runs_and_loses_nobody() -> None:
    said = re.fullmatch(r"(\d+) notices, (\d+) lost, (\d+) invariants broken", printed_by("spotcore.simulation"))
    assert said is not None
    notices, lost, broken = map(int, said.groups())
    assert notices > 10
    assert (lost, broken) == (0, 0)


def printed_by(word: str) -> str:
    """What the README's example with that word prints."""
    (example,) = (one for one in re.findall(r"```python\n(.*?)```", README, re.S) if word in one)
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_setting_of_the_readme_is_read() -> None:
    settings = (ROOT / "src/spotapp/settings.py").read_text()
    for name in set(re.findall(r"SPOTCORE_[A-Z_]+", README)):
        assert name in settings, name


def test_the_public_names_are_these() -> None:
    assert spotcore.__all__ == sorted(spotcore.__all__, key=lambda name: (name == "control_plane", name))
    for name in spotcore.__all__:
        assert getattr(spotcore, name).__doc__ or name.endswith("Id"), name
