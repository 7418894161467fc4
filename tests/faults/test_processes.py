"""Several web, worker and scheduler processes on shared servers, and what killing them leaves behind."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from spotadapters.history.dataset import LOCK
from tests.support.load import call
from tests.support.processes import Installation, Process, an_installation, until
from tests.support.up import TOKEN

NOTICES = 50


@pytest.fixture
def shared(folder: Path) -> Iterator[Installation]:
    with an_installation(folder) as installation:
        yield installation


def ask(web: Process, method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
    answer = call(web.port, method, path, body, token)
    return answer.status, answer.body


def rows(shared: Installation, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(shared.stack.database_url) as connection:
        return connection.execute(text).fetchall()  # type: ignore[call-overload, no-any-return]


def a_client(web: Process) -> str:
    status, body = ask(web, "POST", "/api/admin/clients/create", {"name": "Acme"})
    assert status == 201, body
    token: str = body["data"]["client"]["token"]
    return token


def registration(number: int) -> dict[str, Any]:
    return {
        "instance_id": f"i-{number:017x}", "logical_agent_id": f"web-{number}", "instance_type": "m5.large",
        "region": "us-east-1", "az": "us-east-1a", "mode": "spot", "ami_id": "ami-1", "agent_version": "4.0.0",
    }  # fmt: skip


def with_replica(web: Process, token: str, number: int) -> tuple[str, str]:
    agent_id = ask(web, "POST", "/api/agents/register", registration(number), token)[1]["agent_id"]
    ask(web, "POST", f"/api/client/agents/{agent_id}/config", {"manualReplicaEnabled": True})
    (entry,) = ask(web, "GET", f"/api/agents/{agent_id}/replicas?status=launching", None, token)[1]["replicas"]
    path = f"/api/agents/{agent_id}/replicas/{entry['id']}"
    ask(web, "PUT", path, {"instance_id": f"i-{number + 0x10000:017x}", "status": "syncing"}, token)
    assert ask(web, "POST", f"{path}/status", {"status": "ready"}, token)[0] == 200
    return agent_id, f"i-{number:017x}"


def test_kill_9_of_a_web_process_in_a_storm_of_notices_sent_twice_i1(shared: Installation) -> None:
    webs = [shared.web(), shared.web()]
    token = a_client(webs[0])
    with ThreadPoolExecutor(8) as pool:
        fleet = list(pool.map(lambda number: with_replica(webs[number % 2], token, number), range(1, NOTICES + 1)))
    gate = threading.Barrier(NOTICES + 1)

    def notify(numbered: tuple[int, tuple[str, str]]) -> list[str]:
        number, (agent_id, machine) = numbered
        body = {"instance_id": machine, "termination_time": None}
        successors: list[str] = []
        gate.wait(20)
        for attempt in range(6):  # as agents do: another server takes over where one is gone
            try:
                status, answer = ask(
                    webs[(number + attempt) % 2], "POST", f"/api/agents/{agent_id}/termination-imminent", body, token
                )
            except (OSError, HTTPException):
                continue
            assert status == 200, answer
            successors.append(answer["new_instance_id"])
            if len(successors) == 2:
                break
        return successors

    with ThreadPoolExecutor(NOTICES) as pool:
        answers = pool.map(notify, enumerate(fleet))
        gate.wait(20)
        time.sleep(0.05)
        webs[1].kill()
        told = list(answers)
    for number, successors in enumerate(told, start=1):
        assert set(successors) == {f"i-{number + 0x10000:017x}"}
    primaries = rows(shared, "select agent_id, count(*) from instances where status = 'running_primary' group by 1")
    assert len(primaries) == NOTICES
    assert {count for _, count in primaries} == {1}
    assert rows(shared, "select count(*) from switches where trigger = 'emergency'") == [(NOTICES,)]
    assert rows(shared, "select count(*) from primary_periods where ended_at is null") == [(NOTICES,)]


def test_jb2_two_schedulers_and_two_workers_run_each_slot_once_and_survive_each_other(shared: Installation) -> None:
    schedulers = [shared.start("scheduler"), shared.start("scheduler")]
    workers = [shared.start("worker", "--threads", "2"), shared.start("worker", "--threads", "2")]
    once = "select count(*) from job_runs where job_type = 'ledger accrual' and status = 'completed'"
    until(lambda: rows(shared, once) == [(1,)], 45)
    doubled = (
        "select job_type, count(*) from job_runs where job_type <> 'audit seal' and job_type <> 'job watch' group by 1"
    )
    assert {count for _, count in rows(shared, doubled)} == {1}
    vital = "select last_success_at from job_states where job = 'agent upkeep'"
    schedulers[0].kill()
    workers[0].kill()
    before = rows(shared, vital)
    until(lambda: rows(shared, vital) > before, 15)
    schedulers[1].kill()
    third = shared.start("scheduler")
    before = rows(shared, vital)
    until(lambda: rows(shared, vital) > before, 15)
    assert [third.stop(), workers[1].stop()] == [0, 0]


def test_kill_9_of_a_worker_mid_job_doubles_nothing_and_the_job_is_done(shared: Installation) -> None:
    holding = psycopg.connect(shared.stack.database_url)
    holding.execute("select pg_advisory_xact_lock(%s)", (LOCK,))  # the build has to wait: it is in the middle
    shared.start("scheduler")
    first = shared.start("worker")
    text = "select status from job_runs where job_type = 'dataset build' order by run_id"
    until(lambda: rows(shared, text) == [("running",)], 45)
    first.kill()
    holding.close()
    shared.start("worker")
    assert rows(shared, text) == [("running",)]
    # an hour later the slot is open again; and somebody flushed the queue meanwhile
    hour = "- interval '61 minutes'"
    with psycopg.connect(shared.stack.database_url) as connection:
        connection.execute(f"update job_slots set claimed_at = claimed_at {hour} where job = 'dataset build'")
        connection.execute(f"update job_runs set started_at = started_at {hour} where job_type = 'dataset build'")
    redis.Redis.from_url(shared.stack.redis_url).flushall()
    until(lambda: rows(shared, text) == [("failed",), ("completed",)], 100)
    assert rows(shared, "select count(*) from datasets") == [(0,)]  # nothing was measured: nothing half built either


def test_jobs_go_on_while_valkey_is_away_and_after_it_is_back(shared: Installation) -> None:
    shared.start("scheduler")
    worker = shared.start("worker")
    vital = "select last_success_at from job_states where job = 'agent upkeep' and last_success_at is not null"
    until(lambda: bool(rows(shared, vital)), 20)
    assert shared.stack._valkey is not None
    shared.stack._valkey.server.stop()
    before = rows(shared, vital)
    until(lambda: rows(shared, vital) > before, 20)
    slots = """select floor(extract(epoch from started_at) / 600) from job_runs
        where job_type = 'ledger accrual' and status = 'completed'"""
    until(lambda: bool(rows(shared, slots)), 60)  # in the scheduler: there is no queue
    done = rows(shared, slots)
    assert len(done) == len(set(done))  # once a slot, and the next one may have begun meanwhile
    assert worker.process.poll() is None
