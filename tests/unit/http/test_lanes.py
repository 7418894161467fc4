"""Thread capacity: emergencies first, heartbeats never behind slow work (design 3, T03)."""

import asyncio
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from spotadapters.http import lanes as module
from spotadapters.http.lanes import Lane, Lanes
from tests.unit.http.frame import AWAY, Frame

GIVE_UP = 10.0


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    opened = Lanes(ordinary=2, pulse=1, urgent=2)
    yield opened
    opened.close()


class Gate:
    """Work that is busy until it is let go."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.released = threading.Event()

    def __call__(self) -> str:
        self.started.release()
        assert self.released.wait(GIVE_UP)
        return "slow"

    async def is_busy(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=GIVE_UP)


@pytest.mark.parametrize("lane", list(Lane))
def test_work_runs_on_a_thread_of_its_lane_and_gives_its_result(lanes: Lanes, lane: Lane) -> None:
    async def main() -> str:
        return await lanes.run(lambda: threading.current_thread().name, lane)

    assert asyncio.run(main()).startswith(lane.value)


@pytest.mark.parametrize("lane", [Lane.PULSE, Lane.URGENT])
def test_neither_heartbeats_nor_emergencies_queue_behind_slow_work_t03(lanes: Lanes, lane: Lane) -> None:
    async def main() -> None:
        gate = Gate()
        slow = [asyncio.create_task(lanes.run(gate, Lane.ORDINARY)) for _ in range(20)]  # ten times what it holds
        await gate.is_busy()
        await gate.is_busy()
        assert await asyncio.wait_for(lanes.run(lambda: "quick", lane), GIVE_UP) == "quick"
        gate.released.set()
        assert await asyncio.gather(*slow) == ["slow"] * 20

    asyncio.run(main())


def test_long_lists_are_made_one_at_a_time_and_keep_no_ordinary_call_waiting(lanes: Lanes) -> None:
    async def main() -> None:
        gate = Gate()
        lists = [asyncio.create_task(lanes.run(gate, Lane.LIST)) for _ in range(5)]
        await gate.is_busy()
        assert await asyncio.wait_for(lanes.run(lambda: "quick", Lane.ORDINARY), GIVE_UP) == "quick"
        assert not gate.started.acquire(blocking=False)
        gate.released.set()
        assert await asyncio.gather(*lists) == ["slow"] * 5

    asyncio.run(main())


def test_an_emergency_does_not_queue_behind_heartbeats(lanes: Lanes) -> None:
    async def main() -> None:
        gate = Gate()
        beats = [asyncio.create_task(lanes.run(gate, Lane.PULSE)) for _ in range(5)]
        await gate.is_busy()
        assert await asyncio.wait_for(lanes.run(lambda: "promoted", Lane.URGENT), GIVE_UP) == "promoted"
        gate.released.set()
        await asyncio.gather(*beats)

    asyncio.run(main())


@pytest.mark.parametrize("lane", [Lane.MOVED, Lane.URGENT])
def test_a_failover_is_not_held_back_by_others_and_holds_back_what_is_none(lanes: Lanes, lane: Lane) -> None:
    async def main() -> list[str]:
        gate, order = Gate(), list[str]()
        with lanes.emergency():
            assert await asyncio.wait_for(lanes.run(lambda: "passes", lane), GIVE_UP) == "passes"
        running = asyncio.create_task(lanes.run(gate, lane))
        running.add_done_callback(lambda _: order.append("failover"))
        await gate.is_busy()
        other = asyncio.create_task(lanes.run(lambda: order.append("other"), Lane.PULSE))
        await asyncio.sleep(0)
        gate.released.set()
        await asyncio.gather(running, other)
        return order

    assert asyncio.run(main()) == ["failover", "other"]


def test_emergencies_keep_threads_that_nothing_else_takes(lanes: Lanes) -> None:
    async def main() -> None:
        gate = Gate()
        moved = [asyncio.create_task(lanes.run(gate, Lane.MOVED)) for _ in range(10)]
        await gate.is_busy()
        assert await asyncio.wait_for(lanes.run(lambda: "promoted", Lane.URGENT), GIVE_UP) == "promoted"
        gate.released.set()
        await asyncio.gather(*moved)

    asyncio.run(main())


@pytest.mark.parametrize("lane", [Lane.ORDINARY, Lane.PULSE])
def test_what_has_not_started_waits_for_a_running_emergency(lanes: Lanes, lane: Lane) -> None:
    async def main() -> list[str]:
        order: list[str] = []
        gate = Gate()
        emergency = asyncio.create_task(lanes.run(gate, Lane.URGENT))
        emergency.add_done_callback(lambda _: order.append("emergency"))
        await gate.is_busy()
        other = asyncio.create_task(lanes.run(lambda: order.append("other"), lane))
        await asyncio.sleep(0)
        gate.released.set()
        await asyncio.gather(emergency, other)
        return order

    assert asyncio.run(main()) == ["emergency", "other"]


@pytest.mark.parametrize("lane", [Lane.ORDINARY, Lane.PULSE])
def test_it_waits_no_longer_than_the_limit_or_heartbeats_would_starve_t03(
    lanes: Lanes, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "YIELD_SECONDS", 0.02)

    async def main() -> None:
        gate = Gate()
        emergency = asyncio.create_task(lanes.run(gate, Lane.URGENT))
        await gate.is_busy()
        assert await asyncio.wait_for(lanes.run(lambda: "went on", lane), GIVE_UP) == "went on"
        assert not emergency.done()
        gate.released.set()
        await emergency

    asyncio.run(main())


def test_in_a_long_storm_a_queue_passes_after_the_limit_and_not_one_by_one_t03(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "YIELD_SECONDS", 0.1)

    async def main() -> float:
        gate = Gate()
        emergency = asyncio.create_task(lanes.run(gate, Lane.URGENT))
        await gate.is_busy()
        started = time.monotonic()
        await asyncio.gather(*(lanes.run(lambda: None, Lane.PULSE) for _ in range(50)))
        seconds = time.monotonic() - started
        gate.released.set()
        await emergency
        return seconds

    assert asyncio.run(main()) < 1  # 50 times the limit would be 5 s


def test_the_short_way_too_waits_for_a_running_emergency(lanes: Lanes) -> None:
    async def main() -> list[str]:
        gate, order = Gate(), list[str]()

        async def emergency() -> None:
            await lanes.run(gate, Lane.URGENT)
            order.append("emergency")

        async def heartbeat() -> None:
            await lanes.calm(GIVE_UP)
            order.append("heartbeat")

        first = asyncio.create_task(emergency())
        await gate.is_busy()
        second = asyncio.create_task(heartbeat())
        await asyncio.sleep(0.05)
        assert order == []
        gate.released.set()
        await asyncio.gather(first, second)
        return order

    assert asyncio.run(main()) == ["emergency", "heartbeat"]


def test_the_short_way_waits_no_longer_than_it_is_told(lanes: Lanes) -> None:
    async def main() -> float:
        gate = Gate()
        running = asyncio.create_task(lanes.run(gate, Lane.URGENT))
        await gate.is_busy()
        begin = time.monotonic()
        await lanes.calm(0.05)
        waited = time.monotonic() - begin
        gate.released.set()
        await running
        return waited

    assert 0.04 < asyncio.run(main()) < GIVE_UP


def test_t03_a_call_that_has_waited_for_emergencies_does_not_wait_for_them_again(lanes: Lanes) -> None:
    async def main() -> str:
        with lanes.emergency():  # it does not end while the others run
            arrived = asyncio.get_running_loop().time() - module.YIELD_SECONDS
            waits = asyncio.ensure_future(lanes.run(lambda: "waits", Lane.PULSE))
            passed = await lanes.run(lambda: "passes", Lane.ORDINARY, since=arrived)
            assert not waits.done()
            waits.cancel()
        return passed

    assert asyncio.run(main()) == "passes"


def test_background_work_leaves_callers_as_long_as_it_took_and_nobody_else(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    now = [1_000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=slept.append, monotonic=lambda: now[0]))
    lanes.give_way(0.25)
    assert slept == []  # nobody has called yet
    asyncio.run(lanes.run(lambda: None, Lane.ORDINARY))
    lanes.give_way(0.25)
    lanes.give_way(3.0)
    assert slept == [0.25, module.YIELD_SECONDS]
    now[0] += module.BUSY_SECONDS
    lanes.give_way(0.25)
    assert len(slept) == 2
    asyncio.run(lanes.calm())  # so do calls by the short way count
    lanes.give_way(0.25)
    assert len(slept) == 3


def test_the_limit_is_half_a_second() -> None:
    assert module.YIELD_SECONDS == 0.5


def test_fifty_notices_at_once_finish_before_the_reports_that_came_with_them(lanes: Lanes) -> None:
    done: list[str] = []

    async def one(kind: str, lane: Lane) -> None:
        await lanes.run(lambda: time.sleep(0.001), lane)
        done.append(kind)

    async def main() -> None:
        notices = [asyncio.create_task(one("notice", Lane.URGENT)) for _ in range(50)]
        await asyncio.sleep(0)
        reports = [asyncio.create_task(one("report", Lane.ORDINARY)) for _ in range(100)]
        await asyncio.gather(*notices, *reports)

    asyncio.run(main())
    assert done == ["notice"] * 50 + ["report"] * 100


def test_a_failed_emergency_holds_nobody_back(lanes: Lanes) -> None:
    def broken() -> None:
        raise RuntimeError("no")

    async def main() -> float:
        with pytest.raises(RuntimeError):
            await lanes.run(broken, Lane.URGENT)
        started = time.monotonic()
        await lanes.run(lambda: None, Lane.ORDINARY)
        return time.monotonic() - started

    assert asyncio.run(main()) < module.YIELD_SECONDS / 2


def test_closing_lets_running_work_finish() -> None:
    async def main() -> str:
        lanes, gate = Lanes(ordinary=1, pulse=1, urgent=1), Gate()
        running = asyncio.create_task(lanes.run(gate, Lane.ORDINARY))
        await gate.is_busy()
        closing = asyncio.create_task(asyncio.to_thread(lanes.close))
        gate.released.set()
        await closing
        return await running

    assert asyncio.run(main()) == "slow"


# ---- the connections that go with the lane


NOTICES: dict[str, dict[str, Any]] = {
    "create-emergency-replica": {"signal_type": "rebalance"},  # E51
    "termination-imminent": {},  # E52
    "rebalance-recommendation": {"immediate": True},  # E53, v4n
    "termination-report": {"notice_type": "TERMINATION"},  # E56, v5
    "termination-notice": {"termination_time": "2026-03-02T12:02:00Z"},  # E59
}


@pytest.mark.parametrize("path", [*NOTICES, "rebalance-recommendation by v4c", "rebalance-notice"])
def test_a_notice_is_answered_while_ordinary_connections_are_used_up(frame: Frame, path: str) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    body = NOTICES.get(path, {"notice_time": "2026-03-02T12:00:00Z"})
    frame.storage.failure, frame.storage.is_reserve_left = AWAY, True
    answer = frame.call("POST", f"/api/agents/{agent}/{path.split()[0]}", token, json=body)
    assert answer.status_code in (200, 201), answer.text
    assert answer.json()["action"]


@pytest.mark.parametrize("path", ["rebalance-notice", "termination-notice"])
def test_so_is_the_operators(frame: Frame, path: str) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    frame.storage.failure, frame.storage.is_reserve_left = AWAY, True
    body = {"notice_time": "2026-03-02T12:00:00Z", "termination_time": "2026-03-02T12:02:00Z"}
    assert frame.call("POST", f"/api/agents/{agent}/{path}", json=body).status_code == 200
