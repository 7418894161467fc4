"""Notice → promotion committed, under load; and a queued command → the hands of a waiting agent.

Fifty termination notices at once, each sent twice, while 24 connections send heartbeats and polls. Afterwards every
agent must have exactly one primary, its replica. Prints percentiles in milliseconds; exits with 1 over a limit.
"""

import argparse
import json
import platform
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.site import Http, running_server

NOTICES = 50
BACKGROUND = 24
WAITERS = 20
LIMIT_MS = 250.0
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


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


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


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    print("starting a server …", flush=True)
    with running_server() as (admin, start_seconds):
        token = admin.call("POST", "/api/admin/clients/create", {"name": "Bench"})[1]["data"]["client"]["token"]
        http = Http(admin.port, token)
        print(f"preparing {NOTICES} agents with warm replicas, {BACKGROUND + WAITERS} others …", flush=True)
        fleet = [with_ready_replica(http, number) for number in range(1, NOTICES + 1)]
        others = []
        for number in range(0x20001, 0x20001 + BACKGROUND + WAITERS):
            machine = f"i-{number:017x}"
            answer = http.call("POST", "/api/agents/register", registration(machine, f"other-{number}"))[1]
            others.append((answer["agent_id"], machine))
        stop, counts = threading.Event(), [0, 0]
        threads = background(http, others[:BACKGROUND], stop, counts)
        time.sleep(2)
        print("storm …", flush=True)
        notices, wrong = storm(http, fleet)
        polls = long_poll(http, admin, others[BACKGROUND:])  # a client may write 60 times a minute
        stop.set()
        for thread in threads:
            thread.join()
        fresh = Http(admin.port, token)  # an idle connection has been closed meanwhile
        client_id = fresh.call("GET", "/api/client/validate")[1]["client_id"]
        listed = {
            row["id"]: row["instanceId"] for row in fresh.call("GET", f"/api/client/{client_id}/agents")[1]["data"]
        }
        lost = [agent_id for agent_id, _, standby in fleet if listed[agent_id] != standby]
    figures = {
        "notices": len(notices),
        "notice_ms_median": round(statistics.median(notices), 1),
        "notice_ms_p99": round(percentile(notices, 0.99), 1),
        "long_poll_ms_median": round(statistics.median(polls), 1),
        "long_poll_ms_p99": round(percentile(polls, 0.99), 1),
        "wrong_answers": wrong,
        "agents_without_their_successor": len(lost),
        "background_requests": counts[0],
        "background_errors": counts[1],
        "start_to_healthy_seconds": round(start_seconds, 2),
        "machine": f"{platform.machine()} {platform.python_version()}",
    }
    for name, value in figures.items():
        print(f"{name:32} {value}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=2)
    fine = (
        percentile(notices, 0.99) <= LIMIT_MS
        and percentile(polls, 0.99) <= LIMIT_MS
        and not (wrong or lost or counts[1])
    )
    print("within the limits" if fine else f"LIMIT MISSED (p99 ≤ {LIMIT_MS:.0f} ms, nothing lost)")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
