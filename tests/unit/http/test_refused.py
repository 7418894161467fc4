"""Which refused credentials are noted (S16)."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import pytest
from starlette.requests import Request

from spotadapters.http.lanes import Lanes
from spotadapters.http.refused import MAX_SOURCES, OTHERS, RefusedCredentials
from spotadapters.memory import MemoryStorage
from spotcore.control_plane import control_plane
from tests.support.world import START, CountingIdentity, FakeClock


def noted(tries: Iterable[tuple[float, str, str, str]]) -> list[str]:
    """The sources audited after the tries: second, address, method, code."""
    now = [0.0]
    storage, clock = MemoryStorage(), FakeClock()
    plane = control_plane(transactions=storage.transactions, clock=clock, identity=CountingIdentity())

    async def main() -> None:
        lanes = Lanes(ordinary=2, pulse=1, urgent=1)
        guard = RefusedCredentials(plane.notices, lanes, CountingIdentity(), monotonic=lambda: now[0])
        for second, address, method, code in tries:
            now[0], clock.at = second, START + timedelta(seconds=second)
            scope = {"type": "http", "method": method, "headers": [], "client": (address, 1)}
            guard.note(code, Request(scope), "E16")
            while guard.is_writing:
                await asyncio.sleep(0.001)
        lanes.close()

    asyncio.run(main())
    return [event.facts["source"] for event in storage.tables.events]


def test_a_source_is_noted_once_a_minute() -> None:
    seconds = [0, 1, 59, 60, 61, 119, 120]
    assert noted((second, "10.0.0.1", "POST", "INVALID_TOKEN") for second in seconds) == ["10.0.0.1"] * 3


def test_sources_are_counted_each_for_itself() -> None:
    tries = [(0, "10.0.0.1", "POST", "INVALID_TOKEN"), (1, "10.0.0.2", "POST", "INVALID_TOKEN")]
    assert sorted(noted(tries)) == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("method", "code", "is_noted"),
    [
        ("GET", "UNAUTHORIZED", False),
        ("POST", "UNAUTHORIZED", True),
        ("GET", "INVALID_TOKEN", True),
        ("GET", "INVALID_AUTH_FORMAT", True),
        ("POST", "FORBIDDEN", False),
        ("POST", "NOT_FOUND", False),
        ("POST", "INACTIVE_CLIENT", False),
    ],
)
def test_what_is_noted_and_what_is_not_s16(method: str, code: str, is_noted: bool) -> None:
    assert bool(noted([(0, "10.0.0.1", method, code)])) is is_noted


def test_a_flood_from_many_addresses_is_one_source_beyond_a_thousand() -> None:
    addresses = [f"10.0.{number // 256}.{number % 256}" for number in range(MAX_SOURCES + 50)]
    found = noted((0, address, "POST", "UNAUTHORIZED") for address in addresses)
    assert len(found) <= MAX_SOURCES + 1
    assert found.count(OTHERS) == 1


def test_a_minute_after_a_flood_sources_have_their_own_rows_again() -> None:
    flood = [(0.0, f"10.0.{n // 256}.{n % 256}", "POST", "UNAUTHORIZED") for n in range(MAX_SOURCES + 5)]
    assert noted([*flood, (61.0, "10.9.9.9", "POST", "UNAUTHORIZED")])[-1] == "10.9.9.9"
