"""Every numbered rule of sections 0 to 6 is cited by a test, and every trap has one."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAMILIES = {
    "GR": range(1, 13),
    "I": range(1, 15),
    "CL": range(1, 8),
    "AG": range(1, 11),
    "RG": range(1, 11),
    "IN": (*range(1, 14), *range(20, 27)),
    "RP": (*range(1, 9), *range(10, 17)),
    "PR": range(1, 8),
    "CM": range(1, 11),
    "SW": range(1, 10),
    "MX": range(1, 15),
    "CV": range(1, 11),
    "FB": range(1, 5),
    "ID": range(1, 8),
    "EM": range(1, 18),
    "MR": range(1, 15),
}
ELSEWHERE = {}
"""Rules that have no code yet, and why. Nothing else may be missing."""


@cache
def cited() -> frozenset[str]:
    """Every rule named in a test, as ``EM1``."""
    text = "\n".join(file.read_text() for file in TESTS.rglob("*.py") if file.name != Path(__file__).name)
    in_words = re.findall(r"\b([A-Za-z]{1,2})-?(\d{1,2})\b", text)
    in_names = re.findall(r"_([a-z]{1,2})(\d{1,2})(?=_|\b)", text)
    return frozenset(f"{family.upper()}{int(number)}" for family, number in [*in_words, *in_names])


def rules() -> Iterator[str]:
    for family, numbers in FAMILIES.items():
        yield from (f"{family}{number}" for number in numbers)


@pytest.mark.parametrize("rule", list(rules()))
def test_the_rule_is_cited_by_a_test(rule: str) -> None:
    assert (rule in cited()) != (rule in ELSEWHERE), ELSEWHERE.get(rule, "no test names it")


@pytest.mark.parametrize("number", range(1, 43))
def test_the_trap_is_cited_by_a_test(number: int) -> None:
    assert f"T{number}" in cited()
