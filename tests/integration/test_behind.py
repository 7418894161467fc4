"""What ``spotcore up`` loads once it answers: its queue and its worker (decision 0026)."""

import time
from pathlib import Path

import psycopg
import pytest

from spotapp.behind import Behind, behind
from spotapp.settings import Settings
from spotapp.wiring import Wiring, open_wiring

NOWHERE = "redis://127.0.0.1:1"
JOB = "ledger accrual"


def sent(wiring: Wiring, others: Behind, seconds: float = 10) -> bool:
    """Whether there is a queue within that time; a slot of the job is in it then."""
    slot = wiring.jobs.named(JOB).schedule.slot(wiring.parts.clock.now())
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            others.send(JOB, slot)
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def test_a_queue_opens_when_it_is_told_to_works_and_ends_with_the_block(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with open_wiring(Settings(data_dir=tmp_path), database_url, standing=False) as wiring:
        wiring.jobs.announce()
        with behind(wiring, redis_url, workers=1) as others:
            assert not sent(wiring, others, 0.1)
            others.begin()
            assert sent(wiring, others)
            done = f"select count(*) from job_runs where job_type = '{JOB}' and status = 'completed'"
            deadline = time.monotonic() + 10
            with psycopg.connect(database_url, autocommit=True) as connection:
                while connection.execute(done).fetchone() == (0,):
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
        assert not sent(wiring, others, 0.1)


def test_one_that_was_never_begun_ends_at_once(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with open_wiring(Settings(data_dir=tmp_path), database_url, standing=False) as wiring:
        begin = time.monotonic()
        with behind(wiring, redis_url, workers=1):
            pass
        assert time.monotonic() - begin < 5


def test_without_a_queue_to_reach_a_slot_is_refused_so_that_it_runs_in_the_scheduler_jb6(
    database_url: str, tmp_path: Path
) -> None:
    with (
        open_wiring(Settings(data_dir=tmp_path), database_url, standing=False) as wiring,
        behind(wiring, NOWHERE, workers=1) as others,
    ):
        wiring.jobs.announce()
        others.begin()
        assert not sent(wiring, others, 1)


def test_what_cannot_be_opened_is_logged_and_keeps_no_server_from_answering_or_ending(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_wiring(Settings(data_dir=tmp_path), database_url, standing=False) as wiring:
        with behind(wiring, "no address", workers=1) as others:
            others.begin()
            assert not sent(wiring, others, 2)
        assert [one.message for one in caplog.records if one.name == "spotapp.behind"] == ["no_queue"]
