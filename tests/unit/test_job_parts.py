"""Every job of domain-rules section 9 is found under its own name, whichever job does it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spotadapters.jobs.board import PARTS, UPKEEP, JobView, RunFigures, is_running, with_parts
from spotadapters.jobs.table import Job, JobTable
from spotcore.errors import NotFound
from spotcore.schedule import every
from tests.support.world import FakeClock

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECTION_9 = {  # of one agent each: how often it must be looked at, in seconds
    "emergency tick": 2,
    "manual-replica reconcile": 10,
    "lease recovery": 30,
    "agent timeout": 60,
    "incident clearing": 60,
    "replica and launch timeouts": 60,
    "command expiry": 120,
    "zombie step": 300,
}


def view(name: str, every: float) -> JobView:
    return JobView(
        name=name, every=timedelta(seconds=every), known_since=NOW, last_success=NOW, last_status="completed"
    )


def test_the_rules_of_one_agent_are_all_there_and_nothing_else() -> None:
    assert set(PARTS) == set(SECTION_9)
    assert set(PARTS.values()) == {UPKEEP}


def test_jb_8_a_part_stands_as_the_job_stands_that_does_it() -> None:
    views = with_parts([view(UPKEEP, 1), view("retention", 86_400)])
    assert [one.name for one in views] == [UPKEEP, "retention", *PARTS]
    for one in views[2:]:
        assert one.last_success == NOW
        assert one.every <= timedelta(seconds=SECTION_9[one.name])
        assert one.lateness(NOW + timedelta(seconds=14), is_vital=True) is not None


@pytest.mark.parametrize(
    ("names", "seconds", "running"),
    [
        ([UPKEEP], 10, True), ([UPKEEP], 11, False), ([UPKEEP, "retention"], 11, False), (["retention"], 0, False),
        ([], 0, False),
    ],
)  # fmt: skip
def test_jb_8_jobs_run_while_the_vital_one_is_on_time(names: list[str], seconds: int, running: bool) -> None:
    views = [view(name, 1 if name == UPKEEP else 86_400) for name in names]
    assert is_running(views, NOW + timedelta(seconds=seconds)) is running


@pytest.mark.parametrize("names", [[], ["retention"]])
def test_parts_of_an_unknown_job_are_not_made_up_gr_7(names: list[str]) -> None:
    assert [one.name for one in with_parts([view(name, 60) for name in names])] == names


def a_table(*names: str) -> JobTable:
    rows = [Job(name=one, schedule=every(seconds=1), run=lambda _: RunFigures(), does="something") for one in names]
    book: Any = None  # looking a job up asks nobody
    return JobTable({row.name: row for row in rows}, book, FakeClock(), holder="here")


@pytest.mark.parametrize("part", SECTION_9)
def test_a_job_is_found_by_the_name_of_what_it_does(part: str) -> None:
    assert a_table(UPKEEP, "retention").named(part).name == UPKEEP


def test_a_refusal_names_jobs_and_what_they_do_and_no_part_of_a_job_that_is_not_there() -> None:
    with pytest.raises(NotFound, match=r"'zombi'; there are: agent timeout, agent upkeep, .*, zombie step$"):
        a_table(UPKEEP).named("zombi")
    with pytest.raises(NotFound, match=r"there are: retention$"):
        a_table("retention").named("zombie step")
