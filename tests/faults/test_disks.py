"""The database's disk: slow, hung, and full. Nothing that was acknowledged may be lost, and room is all it needs."""

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from attrs import frozen

from tests.support.aftermath import all_is_well, rows
from tests.support.load import Balancer, Load, notices, registration, standby_of, with_replica
from tests.support.processes import Installation, an_installation, until
from tests.support.small_disk import a_small_disk, filled

MEGABYTES = 256
WITHIN = 10.0


@frozen
class Site:
    """A web process and a scheduler on a database with a small disk."""

    shared: Installation
    balancer: Balancer
    token: str
    disk: Path

    @property
    def url(self) -> str:
        return self.shared.stack.database_url

    @property
    def postmaster(self) -> int:
        pid = self.shared.stack.pids["postgres"]
        assert pid is not None
        return pid

    def load(self, first: int) -> Load:
        return Load(self.balancer, self.token, callers=2, first=first)

    def emergencies_of(self, fleet: list[tuple[str, str]]) -> int:
        text = "select count(*) from switches where trigger = 'emergency' and agent_id = any(%s)"
        return int(rows(self.url, text, ([agent for agent, _ in fleet],))[0][0])


@pytest.fixture(scope="module")
def site(module_folder: Path) -> Iterator[Site]:
    disk = module_folder / "servers" / "postgres"
    disk.parent.mkdir(parents=True)
    for folder in (module_folder, disk.parent):
        folder.chmod(0o755)
    with a_small_disk(disk, MEGABYTES), an_installation(module_folder, durable=True) as shared:
        web, _ = shared.together("web", "scheduler")
        yield Site(shared, Balancer([web.port]), shared.a_client(web), disk)


def administer(site: Site, *statements: str) -> None:
    with psycopg.connect(site.url, autocommit=True, connect_timeout=5) as connection:
        for text in statements:
            connection.execute(text)  # type: ignore[call-overload]


def test_a_slow_disk_makes_slow_answers_and_no_others(site: Site) -> None:
    """Every commit waits for a tenth of a second, as on a disk that is far away or busy with something else."""
    load = site.load(1_000)
    fleet = [with_replica(load.ask, number) for number in range(1_000, 1_008)]
    load.first = 1_100
    slow = ("alter system set commit_siblings = 0", "alter system set commit_delay = 100000")
    administer(site, *slow, "select pg_reload_conf()")
    with load.running():
        until(lambda: load.slowest > 0.1, 20)
        notices(fleet, load.insist, load.done)
        until(lambda: load.good > 40, 30)
    administer(site, "alter system reset all", "select pg_reload_conf()")
    assert not load.lost
    assert not load.refused
    assert list(load.done.successors.values()) == [standby_of(number) for number in range(1_000, 1_008)]
    all_is_well(site.url, load.done)


@contextmanager
def hung(site: Site) -> Iterator[None]:
    """Every process of the database stands still, as when its disk does not answer."""
    children = Path(f"/proc/{site.postmaster}/task/{site.postmaster}/children")
    os.kill(site.postmaster, signal.SIGSTOP)
    everybody = [site.postmaster, *map(int, children.read_text().split())]
    for pid in everybody:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everybody:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_a_hung_disk_is_503_within_seconds_and_what_commits_late_happens_once(site: Site) -> None:
    load = site.load(2_000)
    fleet = [with_replica(load.ask, number) for number in range(2_000, 2_008)]
    load.first = 2_100
    with load.running(), ThreadPoolExecutor(len(fleet)) as pool:
        until(lambda: load.good > 10, 20)
        with hung(site):
            sent = [
                pool.submit(load.ask, "POST", f"/api/agents/{agent}/termination-imminent", {"instance_id": machine})
                for agent, machine in fleet
            ]
            for one in sent:  # some of them may have got as far as their commit
                assert one.result().status == 503
                assert one.result().seconds < WITHIN
        notices(fleet, load.insist, load.done)
        good = load.good
        until(lambda: load.good > good + 20, 30)
    assert not load.lost
    assert load.slowest < WITHIN
    assert site.emergencies_of(fleet) == len(fleet)
    all_is_well(site.url, load.done)


def test_a_full_disk_is_503_within_seconds_and_room_is_all_it_needs(site: Site) -> None:
    load = site.load(3_000)
    fleet = [with_replica(load.ask, number) for number in range(3_000, 3_008)]
    load.first = 3_100
    agent, machine = fleet[0]
    beat = {"status": "online", "instance_id": machine}
    with load.running(), ThreadPoolExecutor(12) as pool:
        until(lambda: load.good > 20, 20)
        assert load.ask("POST", f"/api/agents/{agent}/heartbeat", beat).body["acknowledged"] is True
        with filled(site.disk):
            with contextlib.suppress(psycopg.Error):
                administer(site, "select pg_switch_wal()")  # the next commit needs a new file
            until(lambda: load.ask("GET", "/readyz").status == 503, 30)
            calls = [
                *(("POST", f"/api/agents/{who}/termination-imminent", {"instance_id": what}) for who, what in fleet),
                ("POST", "/api/agents/register", registration(3_999)),
                ("POST", f"/api/client/agents/{agent}/config", {"terminateWaitSeconds": 900}),
            ]
            for one in [pool.submit(load.ask, *call) for call in calls]:
                assert one.result().status == 503
                assert one.result().seconds < WITHIN
            silent = load.ask("POST", f"/api/agents/{agent}/heartbeat", beat)
            assert (silent.status, silent.body["acknowledged"]) == (200, False)  # Z32
            assert load.ask("GET", "/livez").status == 200
        until(lambda: load.ask("GET", "/readyz").status == 200, 40)
        notices(fleet, load.insist, load.done)
        good = load.good
        until(lambda: load.good > good + 20, 30)
        tick = "select last_success_at from job_states where job = 'agent upkeep'"
        before = rows(site.url, tick)
        until(lambda: rows(site.url, tick) > before, 30)
    assert not load.lost
    assert load.slowest < WITHIN
    assert site.shared.stack.restart_counts["postgres"] > 0
    assert site.emergencies_of(fleet) == len(fleet)
    all_is_well(site.url, load.done)
