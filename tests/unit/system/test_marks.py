"""What a thread works on, and for whom: set inside a block, back as it was behind it, never seen by another thread."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.system.clock import SystemClock
from spotadapters.system.tenancy import EVERYBODY, NOBODY, acting_for, tenant
from spotadapters.system.tracing import current, working_on

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def kept(traceparent: str | None) -> str | None:
    with working_on("r", traceparent):
        return current().get("traceparent")


# ---- trace context (W3C)


@pytest.mark.parametrize(
    "header", [GOOD, f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-ff", f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01"]
)
def test_a_well_formed_traceparent_is_kept(header: str) -> None:
    assert kept(header) == header


@pytest.mark.parametrize(
    "header",
    [
        f"ff-{TRACE}-{SPAN}-01",  # a version that is none
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD},{GOOD}",
        GOOD.replace("4", "４"),
        "",
    ],
)
def test_a_malformed_traceparent_is_dropped_and_the_request_id_kept(header: str) -> None:
    with working_on("r", header):
        assert current() == {"request_id": "r"}


def test_without_a_traceparent_there_is_the_request_alone() -> None:
    assert kept(None) is None


@given(st.text(max_size=60) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_nothing_but_a_traceparent_gets_into_logs_and_audit_rows(header: str) -> None:
    found = kept(header)
    assert found in (None, header)
    if found is not None:
        assert re.fullmatch(r"[0-9a-f-]{55}", found)
        assert not found.startswith("ff")


def test_marks_end_with_their_block_also_when_it_breaks() -> None:
    with pytest.raises(RuntimeError), working_on("r", GOOD):
        raise RuntimeError
    assert current() == {}


def test_another_thread_has_marks_of_its_own() -> None:
    with working_on("mine", None), ThreadPoolExecutor(1) as pool:
        assert pool.submit(current).result() == {}
        assert pool.submit(copy_context().run, current).result() == {"request_id": "mine"}  # where it is handed over


# ---- whose rows


def test_work_of_nobody_in_particular_may_touch_everybodys_rows() -> None:
    assert tenant() == EVERYBODY


def test_a_block_acts_for_one_client_and_then_for_whom_it_was_before() -> None:
    with acting_for("c-1"):
        assert tenant() == "c-1"
        with acting_for(NOBODY):
            assert tenant() == NOBODY
        assert tenant() == "c-1"
        with pytest.raises(ZeroDivisionError), acting_for("c-2"):
            _ = 1 // 0
        assert tenant() == "c-1"
    assert tenant() == EVERYBODY


def test_no_client_can_be_taken_for_everybody_or_nobody() -> None:
    assert len({EVERYBODY, NOBODY, "00000000-0000-4000-8000-000000000000"}) == 3
    assert not re.fullmatch(r"[0-9a-f-]{36}", EVERYBODY + NOBODY)


def test_a_thread_that_another_started_does_not_inherit_the_client() -> None:
    seen: list[str] = []
    with acting_for("c-1"):
        thread = threading.Thread(target=lambda: seen.append(tenant()))
        thread.start()
        thread.join()
    assert seen == [EVERYBODY]


def test_many_at_once_keep_to_their_own_client() -> None:
    gate = threading.Barrier(8)

    def work(name: str) -> set[str]:
        found = set()
        with acting_for(name):
            gate.wait(10)
            for _ in range(200):
                found.add(tenant())
        return found

    names = [f"c-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, names)) == [{name} for name in names]


# ---- the clock


def test_the_clock_of_the_machine_is_aware_and_utc() -> None:
    first, second = SystemClock().now(), SystemClock().now()
    assert first.tzinfo is UTC
    assert first.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
    assert second >= first
