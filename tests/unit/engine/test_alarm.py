"""An engine that never gives a usable answer is told of once, however rarely it is asked (4.6, failure 89)."""

from typing import Any

import pytest

from tests.support.world import FakeClock
from tests.unit.engine.test_limits import GOOD, STAY, a_runner, advised

BAD = RuntimeError("x")


def alarms(*asked: tuple[float, Any]) -> list[bool]:
    """Whether each call raises the alarm: calls as the pause before them and what the engine says."""
    clock = FakeClock()
    runner, _ = a_runner(*[answer for _, answer in asked], clock=clock)
    return [one.always_fell_back for one in advised(runner, clock, *[pause for pause, _ in asked])]


def test_89_a_lone_agents_engine_that_fails_every_300_s_is_told_of_at_ten_minutes_and_once() -> None:
    assert alarms(*[(300, BAD)] * 8) == [False, False, True, False, False, False, False, False]


def test_89_ten_minutes_are_exact() -> None:
    assert alarms((0, BAD), (599.999, BAD), (0.001, BAD), (600, BAD)) == [False, False, True, False]


@pytest.mark.parametrize("sound", [GOOD, STAY])
def test_89_one_usable_answer_begins_anew(sound: Any) -> None:
    said = alarms((0, BAD), (300, BAD), (290, sound), (20, BAD), (300, BAD), (299, BAD), (1, BAD))
    assert said == [False, False, False, False, False, False, True]


def test_89_after_a_usable_answer_it_is_told_again() -> None:
    calls = [(300.0, BAD)] * 3
    assert alarms(*calls, (300, GOOD), *calls) == [False, False, True, False, False, False, True]


def test_89_whoever_has_heard_that_the_circuit_opened_hears_no_more_of_the_same_cause_12_1() -> None:
    clock = FakeClock()
    runner, _ = a_runner(BAD, clock=clock)
    found = advised(runner, clock, *[0] * 5, *[100] * 20)
    assert [one.circuit_opened for one in found] == [False] * 4 + [True] + [False] * 20
    assert not any(one.always_fell_back for one in found)


def test_89_whoever_was_told_still_hears_that_the_circuit_opened() -> None:
    clock = FakeClock()
    runner, _ = a_runner(BAD, clock=clock)
    found = advised(runner, clock, 0, 300, 300, 1, 1, 1)
    assert [one.always_fell_back for one in found] == [False, False, True, False, False, False]
    assert [one.circuit_opened for one in found] == [False, False, False, False, False, True]
