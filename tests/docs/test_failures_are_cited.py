"""Every known failure of section 12 is named by the test that proves its property."""

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MACHINE = TESTS.parent / "src/spotcore/testing/machine.py"  # asserts after every step of the stateful test
NUMBERS = r"failures?[_ ](\d{1,3}(?:(?:_| |, | and )\d{1,3})*)"


@cache
def cited() -> frozenset[int]:
    """Numbers in names (``failure_57``, ``failures_85_86``) and in words (``failures 19, 57``)."""
    files = [*(file for file in TESTS.rglob("*.py") if file.name != Path(__file__).name), MACHINE]
    found = (numbers for file in files for numbers in re.findall(NUMBERS, file.read_text()))
    return frozenset(int(number) for numbers in found for number in re.findall(r"\d+", numbers))


@pytest.mark.parametrize("number", range(1, 107))
def test_the_failure_is_cited_by_a_test(number: int) -> None:
    assert number in cited()
