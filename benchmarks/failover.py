"""Notice → promotion committed, under load; and a queued command → the hands of a waiting agent.

Fifty termination notices at once, each sent twice, while 24 connections send heartbeats and polls. Afterwards every
agent must have exactly one primary, its replica. Then rounds that take turns with the floor: the same storm until a
second connection sees the new primary, against a bare server that moves a role in one durable statement and reads it.
And once more with two web processes, where the one that gets the notice is not the one that the new primary asks.
"""

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import cycle
from typing import Any

import psycopg
import uvloop
from attrs import frozen

from benchmarks.floor import SCHEMA
from benchmarks.results import Ratio, Report, finish, options_of
from benchmarks.site import Http, Running, free_port, process, running_server, wait_until
from benchmarks.wire import Answered, Line, percentile
from spotadapters.embedded.valkey import running_redis_url
from spotapp.web import REHEARSAL_SECONDS

NOTICES = 50
BACKGROUND = 24
WAITERS = 20
LIMIT_MS = 250.0
SETTLE_SECONDS = 2.0
VISIBLE_SECONDS = 10.0
READY_SECONDS = 2 * REHEARSAL_SECONDS
TYPE, REGION = "m5.large", "us-east-1"

Row = tuple[str, str, str]
"""An agent, its machine, its replica's machine; of the floor: an agent, nothing, who shall have the role."""


def registration(machine: str, name: str, az: str = "us-east-1a") -> dict[str, Any]:
    """What a v4c host sends."""
    return {
        "instance_id": machine, "logical_agent_id": name, "instance_type": TYPE, "region": REGION, "az": az,
        "mode": "spot", "ami_id": "ami-1", "agent_version": "4.0.0",
    }  # fmt: skip


def with_ready_replica(http: Http, number: int) -> Row:
    """An agent with a warm replica: its id, its machine, the replica's machine."""
    machine, standby = f"i-{number:017x}", f"i-{number + 0x10000:017x}"
    agent_id = http.call("POST", "/api/agents/register", registration(machine, f"agent-{number}"))[1]["agent_id"]
    path = f"/api/agents/{agent_id}"
    http.call("POST", f"/api/client/agents/{agent_id}/config", {"manualReplicaEnabled": True})
    (entry,) = http.call("GET", f"{path}/replicas?status=launching")[1]["replicas"]
    http.call("PUT", f"{path}/replicas/{entry['id']}", {"instance_id": standby, "status": "syncing"})
    assert http.call("POST", f"{path}/replicas/{entry['id']}/status", {"status": "ready"})[0] == 200
    return agent_id, machine, standby


async def storm(port: int, token: str, fleet: list[Row]) -> tuple[list[float], int]:
    """All notices at once, each twice; milliseconds of the first answers, and answers that were not a promotion."""

    async def notify(line: Line, row: Row) -> tuple[float, int]:
        begin = time.perf_counter()
        answers = [await _notice(line, row) for _ in range(2)]
        wrong = sum(one.status != 200 or one.data.get("new_instance_id") != row[2] for one in answers)
        return (answers[0].at - begin) * 1000, wrong

    async with _lines(port, token, len(fleet), "/health") as lines:
        done = await asyncio.gather(*map(notify, lines, fleet))
    return [took for took, _ in done], sum(wrong for _, wrong in done)


async def visible(ports: Sequence[int], token: str, fleet: list[Row]) -> list[float]:
    """All notices at once; milliseconds until a second connection's heartbeat of the standby says it is primary. Of
    several ports each agent's notice goes to one, and its heartbeat to the next."""

    async def ask(line: Line, row: Row) -> None:
        assert (await _notice(line, row)).status == 200

    async def is_seen(line: Line, row: Row) -> bool:
        agent_id, _, standby = row
        return bool(
            (await line.call("POST", f"/api/agents/{agent_id}/heartbeat", beat(standby))).data["role"] == "primary"
        )

    return await _all_at_once(ports, token, fleet, "/health", ask, is_seen)


async def floor_visible(port: int, token: str, agents: list[Row]) -> list[float]:
    """The same of the floor."""

    async def ask(line: Line, row: Row) -> None:
        assert (await line.call("POST", f"/failover/{row[0]}", {"to": row[2]})).status == 200

    async def is_seen(line: Line, row: Row) -> bool:
        return bool((await line.call("GET", f"/role/{row[0]}")).data["primary"] == row[2])

    return await _all_at_once((port,), token, agents, "/role/a1", ask, is_seen)


async def _notice(line: Line, row: Row) -> Answered:
    agent_id, machine, _ = row
    body = {"instance_id": machine, "termination_time": None}
    return await line.call("POST", f"/api/agents/{agent_id}/termination-imminent", body)


def beat(machine: str) -> dict[str, Any]:
    """A v4c heartbeat."""
    return {"status": "online", "instance_id": machine, "monitored_instances": [machine], "mode": "spot"}


async def _all_at_once(
    ports: Sequence[int],
    token: str,
    rows: list[Row],
    warm: str,
    ask: Callable[[Line, Row], Awaitable[None]],
    is_seen: Callable[[Line, Row], Awaitable[bool]],
) -> list[float]:
    async def run(line: Line, second: Line, row: Row) -> float:
        begin = time.perf_counter()
        await ask(line, row)
        while not await is_seen(second, row):
            assert time.perf_counter() - begin < VISIBLE_SECONDS, row
        return (time.perf_counter() - begin) * 1000

    async with contextlib.AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(_lines(port, token, 2 * len(rows), warm)) for port in ports]
        pairs = [
            (lines[place % len(ports)][2 * place], lines[(place + 1) % len(ports)][2 * place + 1])
            for place in range(len(rows))
        ]
        return list(await asyncio.gather(*(run(*pair, row) for pair, row in zip(pairs, rows, strict=True))))


@asynccontextmanager
async def _lines(port: int, token: str, number: int, warm: str) -> AsyncIterator[list[Line]]:
    """Connections that are open before the storm."""
    lines = [Line(port, token) for _ in range(number)]
    await asyncio.gather(*(line.call("GET", warm) for line in lines))
    yield lines
    for line in lines:
        line.close()
    await asyncio.sleep(0)  # the loop hangs up in its next round


@asynccontextmanager
async def background(ports: Sequence[int], token: str, agents: list[tuple[str, str]]) -> AsyncIterator[list[int]]:
    """Connections that heartbeat and poll without a pause, divided among the ports; how many requests so far, and how
    many failed."""
    counts = [0, 0]
    is_over = False

    async def run(port: int, agent_id: str, machine: str) -> None:
        line = Line(port, token)
        while not is_over:
            for method, what, body in (("POST", "heartbeat", beat(machine)), ("GET", "pending-commands", None)):
                counts[0] += 1
                counts[1] += (await line.call(method, f"/api/agents/{agent_id}/{what}", body)).status != 200
        line.close()

    async with asyncio.TaskGroup() as tasks:
        for port, row in zip(cycle(ports), agents, strict=False):
            tasks.create_task(run(port, *row))
        await asyncio.sleep(SETTLE_SECONDS)
        yield counts
        is_over = True
    await asyncio.sleep(0)


async def long_poll(port: int, token: str, admin_token: str, fleet: list[tuple[str, str]]) -> list[float]:
    """Milliseconds from the answer to a user's switch until the waiting agent has the command in its hands."""
    times: list[float] = []
    async with _lines(port, admin_token, 1, "/health") as (user,), _lines(port, token, 1, "/health") as (agent,):
        for agent_id, machine in fleet:
            waiter = asyncio.create_task(agent.call("GET", f"/api/agents/{agent_id}/pending-commands?wait=20"))
            await asyncio.sleep(0.15)
            order = {"target": "ondemand"}
            queued = await user.call("POST", f"/api/client/instances/{machine}/force-switch", order)
            got = await waiter
            assert queued.status == 200
            assert got.data["commands"]
            times.append((got.at - queued.at) * 1000)
    return times


def without_successor(http: Http, client_id: str, fleet: list[Row]) -> list[str]:
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


@contextmanager
def beside(running: Running) -> Iterator[int]:
    """The port of a second web process on the same database, once it has rehearsed its first storm."""
    port = free_port()
    environment = {
        "SPOTCORE_DATABASE_URL": running.database_url, "SPOTCORE_REDIS_URL": running_redis_url(running.folder) or "",
        "SPOTCORE_ADMIN_TOKEN": running.http.token, "SPOTCORE_LOG_LEVEL": "error",
        "SPOTCORE_DATA_DIR": str(running.folder.parent / "beside"),
        "SPOTCORE_SEAL_KEY": (running.folder / "seal.key").read_text(),
    }  # fmt: skip
    with process([sys.executable, "-m", "spotapp.cli", "serve", "--port", str(port)], **environment):
        wait_until(port, "/health")
        time.sleep(READY_SECONDS)
        yield port


Rounds = list[tuple[list[float], list[float]]]
"""Milliseconds until it is visible: the floor's, ours."""


@frozen
class Found:
    """What one run measured, in milliseconds: the notices' first answers; floor and ours until visible, by round; long
    polls. And what went wrong."""

    notices: list[float]
    wrong: int
    rounds: Rounds
    polls: list[float]
    requests: int
    errors: int


async def measured(
    running: Running, floor_port: int, https: list[Http], batches: list[list[Row]], others: list[tuple[str, str]]
) -> Found:
    """Everything that happens under the background's load, each storm with a client of its own."""
    port = running.http.port
    async with background((port,), https[0].token, others[:BACKGROUND]) as counts:
        print("storm …", flush=True)
        notices, wrong = await storm(port, https[0].token, batches[0])
        rounds = await _rounds((port,), floor_port, https[1:], batches[1:])
        polls = await long_poll(port, https[0].token, running.http.token, others[BACKGROUND:])
    return Found(notices, wrong, rounds, polls, *counts)


async def measured_across(
    ports: Sequence[int], floor_port: int, https: list[Http], batches: list[list[Row]], others: list[tuple[str, str]]
) -> Rounds:
    """The same rounds with two web processes."""
    async with background(ports, https[0].token, others[:BACKGROUND]):
        return await _rounds(ports, floor_port, https[1:], batches)


async def _rounds(ports: Sequence[int], floor_port: int, https: list[Http], batches: list[list[Row]]) -> Rounds:
    rounds = []
    for place, (http, batch) in enumerate(zip(https, batches, strict=True), start=1):
        print(f"round {place}: the floor, then {len(ports)} of ours, until it is visible …", flush=True)
        rows = [(f"a{number}", "", f"round-{place}-{len(ports)}") for number in range(len(batch))]
        floor = await floor_visible(floor_port, "t", rows)
        rounds.append((floor, await visible(ports, http.token, batch)))
    return rounds


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
        owners = [running.client(f"Bench {place}") for place in range(1 + 2 * options.rounds)]
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
        half = 1 + options.rounds
        found = uvloop.run(measured(running, bare.port, https[:half], batches[:half], others))
        print("starting a second web process …", flush=True)
        with beside(running) as second:
            ports, owner = (admin.port, second), https[0]
            across = uvloop.run(measured_across(ports, bare.port, [owner, *https[half:]], batches[half:], others))
        lost = [
            agent_id
            for (client_id, token), batch in zip(owners, batches, strict=True)
            for agent_id in without_successor(Http(admin.port, token), client_id, batch)
        ]
    figures = {
        "notices": len(found.notices),
        "notice_ms_median": round(statistics.median(found.notices), 1),
        "notice_ms_p99": round(percentile(found.notices, 0.99), 1),
        "visible_ms_median": round(statistics.median(statistics.median(ours) for _, ours in found.rounds), 1),
        "visible_ms_p99": round(statistics.median(percentile(ours, 0.99) for _, ours in found.rounds), 1),
        "floor_visible_ms_median": round(statistics.median(statistics.median(floor) for floor, _ in found.rounds), 1),
        "floor_visible_ms_p99": round(statistics.median(percentile(floor, 0.99) for floor, _ in found.rounds), 1),
        "two_processes_visible_ms_median": round(statistics.median(statistics.median(ours) for _, ours in across), 1),
        "two_processes_visible_ms_p99": round(statistics.median(percentile(ours, 0.99) for _, ours in across), 1),
        "long_poll_ms_median": round(statistics.median(found.polls), 1),
        "long_poll_ms_p99": round(percentile(found.polls, 0.99), 1),
        "wrong_answers": found.wrong,
        "agents_without_their_successor": len(lost),
        "background_requests": found.requests,
        "background_errors": found.errors,
        "start_to_healthy_seconds": round(running.start_seconds, 2),
    }
    missed = [
        f"{name} ≤ {LIMIT_MS:.0f} ms" for name in ("notice_ms_p99", "long_poll_ms_p99") if figures[name] > LIMIT_MS
    ]
    if found.wrong or lost or found.errors:
        missed.append("nothing is lost")
    ratios = [
        Ratio(
            name=f"{whose}visible_to_floor_{name}",
            rounds=tuple(of(ours) / of(floor) for floor, ours in rounds),
            less_is_better=True,
        )
        for whose, rounds in (("", found.rounds), ("two_processes_", across))
        for name, of in (("median", statistics.median), ("p99", lambda values: percentile(values, 0.99)))
    ]
    return finish(Report(benchmark="failover", figures=figures, ratios=ratios, missed=missed), options)


if __name__ == "__main__":
    sys.exit(main())
