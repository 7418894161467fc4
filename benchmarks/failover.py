"""Notice → promotion committed, under load; and a queued command → the hands of a waiting agent.

Fifty termination notices at once, each sent twice, while 24 connections send heartbeats and polls. Afterwards every
agent must have exactly one primary, its replica. Then rounds that take turns with the floor: the same storm until a
second connection sees the new primary, against a bare server that moves a role in one durable statement and reads it.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg

from benchmarks.floor import SCHEMA
from benchmarks.results import Ratio, Report, finish, options_of
from benchmarks.site import Http, Running, free_port, process, running_server, wait_until
from benchmarks.wire import percentile

NOTICES = 50
BACKGROUND = 24
WAITERS = 20
LIMIT_MS = 250.0
SETTLE_SECONDS = 2.0
VISIBLE_SECONDS = 10.0
TYPE, REGION = "m5.large", "us-east-1"


def registration(machine: str, name: str, az: str = "us-east-1a") -> dict[str, Any]:
    """What a v4c host sends."""
    return {
        "instance_id": machine, "logical_agent_id": name, "instance_type": TYPE, "region": REGION, "az": az,
        "mode": "spot", "ami_id": "ami-1", "agent_version": "4.0.0",
    }  # fmt: skip


def with_ready_replica(http: Http, number: int) -> tuple[str, str, str]:
    """An agent with a warm replica: its id, its machine, the replica's machine."""
    machine, standby = f"i-{number:017x}", f"i-{number + 0x10000:017x}"
    agent_id = http.call("POST", "/api/agents/register", registration(machine, f"agent-{number}"))[1]["agent_id"]
    path = f"/api/agents/{agent_id}"
    http.call("POST", f"/api/client/agents/{agent_id}/config", {"manualReplicaEnabled": True})
    (entry,) = http.call("GET", f"{path}/replicas?status=launching")[1]["replicas"]
    http.call("PUT", f"{path}/replicas/{entry['id']}", {"instance_id": standby, "status": "syncing"})
    assert http.call("POST", f"{path}/replicas/{entry['id']}/status", {"status": "ready"})[0] == 200
    return agent_id, machine, standby


def storm(http: Http, fleet: list[tuple[str, str, str]]) -> tuple[list[float], int]:
    """All notices at once, each twice; milliseconds of the first answers, and answers that were not a promotion."""
    gate = threading.Barrier(len(fleet))
    wrong = 0
    times: list[float] = []

    def notify(row: tuple[str, str, str]) -> None:
        nonlocal wrong
        agent_id, machine, standby = row
        http.call("GET", "/health")  # the connection is open before the storm
        gate.wait()
        for attempt in (1, 2):
            begin = time.perf_counter()
            status, answer = http.call(
                "POST",
                f"/api/agents/{agent_id}/termination-imminent",
                {"instance_id": machine, "termination_time": None},
            )
            if attempt == 1:
                times.append((time.perf_counter() - begin) * 1000)
            wrong += status != 200 or answer.get("new_instance_id") != standby

    with ThreadPoolExecutor(len(fleet)) as pool:
        list(pool.map(notify, fleet))
    return times, wrong


def visible(http: Http, fleet: list[tuple[str, str, str]]) -> list[float]:
    """All notices at once; milliseconds until a second connection's heartbeat of the standby says it is primary."""

    def ask(http: Http, row: tuple[str, str, str]) -> None:
        agent_id, machine, _ = row
        body = {"instance_id": machine, "termination_time": None}
        assert http.call("POST", f"/api/agents/{agent_id}/termination-imminent", body)[0] == 200

    def is_seen(http: Http, row: tuple[str, str, str]) -> bool:
        agent_id, _, standby = row
        body = {"status": "online", "instance_id": standby, "monitored_instances": [standby], "mode": "spot"}
        return bool(http.call("POST", f"/api/agents/{agent_id}/heartbeat", body)[1].get("role") == "primary")

    return _all_at_once(http, fleet, "/health", ask, is_seen)


def floor_visible(floor: Http, agents: list[tuple[str, str, str]]) -> list[float]:
    """The same of the floor."""

    def ask(http: Http, row: tuple[str, str, str]) -> None:
        assert http.call("POST", f"/failover/{row[0]}", {"to": row[2]})[0] == 200

    def is_seen(http: Http, row: tuple[str, str, str]) -> bool:
        return bool(http.call("GET", f"/role/{row[0]}")[1]["primary"] == row[2])

    return _all_at_once(floor, agents, "/role/a1", ask, is_seen)


def _all_at_once(
    http: Http,
    rows: list[tuple[str, str, str]],
    warm: str,
    ask: Callable[[Http, tuple[str, str, str]], None],
    is_seen: Callable[[Http, tuple[str, str, str]], bool],
) -> list[float]:
    gate = threading.Barrier(len(rows))

    def run(row: tuple[str, str, str]) -> float:
        second = Http(http.port, http.token)
        for one in (http, second):
            one.call("GET", warm)  # the connections are open before the storm
        gate.wait()
        begin = time.perf_counter()
        ask(http, row)
        while not is_seen(second, row):
            assert time.perf_counter() - begin < VISIBLE_SECONDS, row
        return (time.perf_counter() - begin) * 1000

    with ThreadPoolExecutor(len(rows)) as pool:
        return list(pool.map(run, rows))


def background(
    http: Http, agents: list[tuple[str, str]], stop: threading.Event, counts: list[int]
) -> list[threading.Thread]:
    """Connections that heartbeat and poll without a pause."""

    def run(agent_id: str, machine: str) -> None:
        while not stop.is_set():
            body = {"status": "online", "instance_id": machine, "monitored_instances": [machine], "mode": "spot"}
            counts[0] += 1
            counts[1] += http.call("POST", f"/api/agents/{agent_id}/heartbeat", body)[0] != 200
            counts[0] += 1
            counts[1] += http.call("GET", f"/api/agents/{agent_id}/pending-commands")[0] != 200

    threads = [threading.Thread(target=run, args=row, daemon=True) for row in agents]
    for thread in threads:
        thread.start()
    return threads


def long_poll(http: Http, user: Http, fleet: list[tuple[str, str]]) -> list[float]:
    """Milliseconds from the answer to a user's switch until the waiting agent has the command in its hands."""
    times: list[float] = []
    for agent_id, machine in fleet:
        got: list[float] = []

        def wait(agent_id: str = agent_id, got: list[float] = got) -> None:
            _, answer = http.call("GET", f"/api/agents/{agent_id}/pending-commands?wait=20")
            if answer["commands"]:
                got.append(time.perf_counter())

        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.15)
        status, _ = user.call("POST", f"/api/client/instances/{machine}/force-switch", {"target": "ondemand"})
        queued = time.perf_counter()
        waiter.join()
        assert status == 200
        times.append((got[0] - queued) * 1000)
    return times


def without_successor(http: Http, client_id: str, fleet: list[tuple[str, str, str]]) -> list[str]:
    """Agents whose primary is not their replica's machine."""
    rows = http.call("GET", f"/api/client/{client_id}/agents")[1]["data"]
    listed = {row["id"]: row["instanceId"] for row in rows}
    return [agent_id for agent_id, _, standby in fleet if listed[agent_id] != standby]


@contextmanager
def a_floor(running: Running) -> Iterator[Http]:
    """The bare server on the same database."""
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute(SCHEMA)
    port = free_port()
    where = json.dumps({"database_url": running.database_url, "port": port})
    with process([sys.executable, "-m", "benchmarks.floor"], where):
        wait_until(port, "/read/a1")
        yield Http(port, "t")


def main() -> int:
    """Run, print, judge."""
    options = options_of(
        __doc__,
        ("--notices", {"type": int, "default": NOTICES}),
        ("--rounds", {"type": int, "default": 3}),
        quick={"rounds": 2},
    )
    print("starting a server …", flush=True)
    with running_server() as running, a_floor(running) as bare:
        admin = running.http
        size = options.notices
        owners = [running.client(f"Bench {place}") for place in range(1 + options.rounds)]
        https = [Http(admin.port, token) for _, token in owners]  # a client may write 60 times a minute
        print(f"preparing {size * len(owners)} agents with warm replicas, {BACKGROUND + WAITERS} others …", flush=True)
        http = https[0]
        others = []
        for number in range(0x20001, 0x20001 + BACKGROUND + WAITERS):
            machine = f"i-{number:017x}"
            answer = http.call("POST", "/api/agents/register", registration(machine, f"other-{number}"))[1]
            others.append((answer["agent_id"], machine))
        batches = [
            [with_ready_replica(one, size * place + number) for number in range(1, size + 1)]
            for place, one in enumerate(https)
        ]
        fleet = batches[0]
        stop, counts = threading.Event(), [0, 0]
        threads = background(http, others[:BACKGROUND], stop, counts)
        time.sleep(SETTLE_SECONDS)
        print("storm …", flush=True)
        notices, wrong = storm(http, fleet)
        rounds = []
        for place in range(1, len(batches)):
            print(f"round {place}: the floor, then ours, until it is visible …", flush=True)
            rows = [(f"a{number}", "", f"round-{place}") for number in range(size)]
            rounds.append((floor_visible(bare, rows), visible(https[place], batches[place])))
        polls = long_poll(http, Http(admin.port, admin.token), others[BACKGROUND:])  # an idle connection was closed
        stop.set()
        for thread in threads:
            thread.join()
        lost = [
            agent_id
            for (client_id, token), batch in zip(owners, batches, strict=True)
            for agent_id in without_successor(Http(admin.port, token), client_id, batch)
        ]
    figures = {
        "notices": len(notices),
        "notice_ms_median": round(statistics.median(notices), 1),
        "notice_ms_p99": round(percentile(notices, 0.99), 1),
        "visible_ms_median": round(statistics.median(statistics.median(ours) for _, ours in rounds), 1),
        "visible_ms_p99": round(statistics.median(percentile(ours, 0.99) for _, ours in rounds), 1),
        "floor_visible_ms_median": round(statistics.median(statistics.median(floor) for floor, _ in rounds), 1),
        "floor_visible_ms_p99": round(statistics.median(percentile(floor, 0.99) for floor, _ in rounds), 1),
        "long_poll_ms_median": round(statistics.median(polls), 1),
        "long_poll_ms_p99": round(percentile(polls, 0.99), 1),
        "wrong_answers": wrong,
        "agents_without_their_successor": len(lost),
        "background_requests": counts[0],
        "background_errors": counts[1],
        "start_to_healthy_seconds": round(running.start_seconds, 2),
    }
    missed = [
        f"{name} ≤ {LIMIT_MS:.0f} ms" for name in ("notice_ms_p99", "long_poll_ms_p99") if figures[name] > LIMIT_MS
    ]
    if wrong or lost or counts[1]:
        missed.append("nothing is lost")
    ratios = [
        Ratio(
            name=f"visible_to_floor_{name}",
            rounds=tuple(of(ours) / of(floor) for floor, ours in rounds),
            less_is_better=True,
        )
        for name, of in (("median", statistics.median), ("p99", lambda values: percentile(values, 0.99)))
    ]
    return finish(Report(benchmark="failover", figures=figures, ratios=ratios, missed=missed), options)


if __name__ == "__main__":
    sys.exit(main())
