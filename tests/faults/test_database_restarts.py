"""PostgreSQL restarted under load: what was answered stays, what was not is answered again, nobody has to do anything."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.aftermath import all_is_well, rows
from tests.support.load import Balancer, Load, call, notices, standby_of, with_replica
from tests.support.processes import Installation, an_installation, until

NOTICES = 20


@pytest.fixture(scope="module")
def two_webs(module_folder: Path) -> Iterator[tuple[Installation, Balancer, str]]:
    with an_installation(module_folder, durable=True) as shared:
        webs = shared.together("web", "web")
        yield shared, Balancer([web.port for web in webs]), shared.a_client(webs[0])


@pytest.mark.parametrize(("how", "first"), [(signal.SIGINT, 1_000), (signal.SIGQUIT, 2_000)], ids=["fast", "immediate"])
def test_a_restart_of_postgres_in_a_storm_loses_and_doubles_nothing_i1(
    two_webs: tuple[Installation, Balancer, str], how: signal.Signals, first: int
) -> None:
    shared, balancer, token = two_webs
    load = Load(balancer, token, callers=3, first=first + 100)
    numbers = range(first, first + NOTICES)
    with ThreadPoolExecutor(NOTICES) as pool:
        fleet = list(pool.map(lambda number: with_replica(load.ask, number), numbers))
    before = shared.stack.restart_counts["postgres"]
    with load.running(), ThreadPoolExecutor(1) as pool:
        until(lambda: load.good > 20, 30)
        storm = pool.submit(notices, fleet, load.insist, load.done)
        pid = shared.stack.pids["postgres"]
        assert pid is not None
        os.kill(pid, how)
        storm.result()
        until(lambda: all(call(port, "GET", "/readyz").status == 200 for port in balancer.ports), 20)
        good = load.good
        until(lambda: load.good > good + 30, 20)
    assert shared.stack.restart_counts["postgres"] == before + 1
    assert not load.lost
    assert set(load.statuses) <= {200, 503}
    assert load.slowest < 10
    assert list(load.done.successors.values()) == [standby_of(number) for number in numbers]
    url = shared.stack.database_url
    emergencies = "select count(*) from switches where trigger = 'emergency' and agent_id = any(%s)"
    assert rows(url, emergencies, ([agent for agent, _ in fleet],)) == [(NOTICES,)]
    all_is_well(url, load.done)
