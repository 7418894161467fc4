"""All schedulers gone at once, and a queue that loses what it held: jobs are late, never lost, their effects never doubled."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from attrs import frozen

from tests.support.aftermath import all_is_well, rows
from tests.support.load import Balancer, Load, notices, standby_of, with_replica
from tests.support.processes import Installation, an_installation, until

ONCE = ("ledger accrual", "data pipeline", "request keys", "retention", "model files")  # no second slot in this test


@frozen
class Site:
    """A web process, and what calls it."""

    shared: Installation
    load: Load

    @property
    def url(self) -> str:
        return self.shared.stack.database_url


@pytest.fixture(scope="module")
def site(module_folder: Path) -> Iterator[Site]:
    with an_installation(module_folder, durable=True) as shared:
        web = shared.web()
        yield Site(shared, Load(Balancer([web.port]), shared.a_client(web)))


def runs(site: Site) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in ONCE}
    for name, status in rows(site.url, "select job_type, status from job_runs order by run_id"):
        found.setdefault(name, []).append(status)
    return {name: found[name] for name in ONCE}


def test_a_flushed_queue_is_filled_again_and_every_job_runs_once_jb2(site: Site) -> None:
    schedulers = site.shared.together("scheduler", "scheduler")
    queue = redis.Redis.from_url(site.shared.stack.redis_url)
    until(lambda: queue.llen("spotcore:jobs") >= len(ONCE), 30)
    assert not any(runs(site).values())  # nobody works them off yet
    queue.flushall()
    worker = site.shared.start("worker", "--threads", "2")
    until(lambda: all(statuses == ["completed"] for statuses in runs(site).values()), 60)
    queue.close()
    assert worker.stop() == 0
    for one in schedulers:
        one.kill()
    all_is_well(site.url)


def test_both_schedulers_killed_and_back_catch_up_once_what_waited_for_time_jb3(site: Site) -> None:
    first = site.shared.together("scheduler", "scheduler")
    fleet = [with_replica(site.load.ask, number) for number in range(1, 5)]
    silent = [with_replica(site.load.ask, number)[0] for number in range(5, 9)]
    tick = "select last_success_at from job_states where job = 'agent upkeep'"
    before = rows(site.url, tick)
    until(lambda: rows(site.url, tick) > before, 20)
    for one in first:
        one.kill()
    hour = "interval '1 hour'"
    ages = f"update agents set last_heartbeat_at = last_heartbeat_at - {hour}, due_at = now() - {hour}"
    rows(site.url, f"{ages} where agent_id = any(%s) returning 1", (silent,))
    notices(fleet, site.load.insist, site.load.done)  # these wait for nobody
    assert list(site.load.done.successors.values()) == [standby_of(number) for number in range(1, 5)]
    offline = "select count(*), count(distinct agent_id) from audit_events where kind = 'agent_marked_offline'"
    assert rows(site.url, offline) == [(0, 0)]
    back = site.shared.together("scheduler", "scheduler")
    until(lambda: rows(site.url, offline)[0][1] == len(silent), 20)
    before = rows(site.url, tick)
    until(lambda: rows(site.url, tick) > before, 20)
    assert rows(site.url, offline) == [(len(silent), len(silent))]
    assert [one.stop() for one in back] == [0, 0]
    all_is_well(site.url, site.load.done)
