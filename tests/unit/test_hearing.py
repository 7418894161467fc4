"""When silence means something: not after an outage of our own, nor after a step of the clock (AG-1, AG-5, RP-6)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from attrs import define, field

from spotadapters.jobs.board import JobView
from spotadapters.jobs.hearing import Hearing
from tests.support.world import START, FakeClock


@define
class Machine:
    """A host: its wall clock, and the one that cannot be stepped. As a board, what is known of the job."""

    clock: FakeClock = field(factory=FakeClock)
    moment: float = 1_000.0
    last_success: datetime | None = None

    def jobs(self) -> Sequence[JobView]:
        names = ("other", "agent upkeep")
        successes = (START - timedelta(days=1), self.last_success)
        return [
            JobView(name=name, every=timedelta(seconds=1), known_since=START, last_success=success)
            for name, success in zip(names, successes, strict=True)
        ]

    def pass_seconds(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.moment += seconds

    def hearing(self) -> Hearing:
        return Hearing("agent upkeep", self, self.clock, lambda: self.moment)


@pytest.mark.parametrize(
    ("since", "is_deaf"),
    [(None, False), (0, False), (30, False), (31, True), (86_400, True), (-30, False), (-31, True)],
)
def test_a_process_that_starts_asks_how_long_nobody_has_looked(since: float | None, is_deaf: bool) -> None:
    machine = Machine(last_success=None if since is None else START - timedelta(seconds=since))
    until = machine.hearing().deaf_until()
    assert until == (START + timedelta(seconds=120) if is_deaf else None)


@pytest.mark.parametrize(
    ("passed", "stepped", "is_deaf"),
    [(1, 0, False), (30, 0, False), (30.5, 0, True), (1, 30, False), (1, 31, True), (1, -30, False), (1, -3_600, True)],
)
def test_a_pause_or_a_step_is_followed_by_two_minutes_of_listening(
    passed: float, stepped: float, is_deaf: bool
) -> None:
    machine = Machine()
    hearing = machine.hearing()
    assert hearing.deaf_until() is None
    hearing.looked()
    machine.pass_seconds(passed)
    machine.clock.advance(stepped)
    now = machine.clock.now()
    assert hearing.deaf_until() == (now + timedelta(seconds=120) if is_deaf else None)
    if not is_deaf:
        return
    hearing.looked()
    for _ in range(5):  # looked every 20 s from here on: it ends when it was said to end
        machine.pass_seconds(20)
        assert hearing.deaf_until() == now + timedelta(seconds=120)
        hearing.looked()
    machine.pass_seconds(20)
    assert hearing.deaf_until() is None


def test_an_outage_counts_until_the_first_look_that_succeeds() -> None:
    machine = Machine()
    hearing = machine.hearing()
    hearing.deaf_until()
    hearing.looked()
    for _ in range(60):  # every ten seconds it fails
        machine.pass_seconds(10)
        until = hearing.deaf_until()
    assert until == machine.clock.now() + timedelta(seconds=120)
