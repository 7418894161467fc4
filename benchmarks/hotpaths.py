"""The hot paths against the floor: alternating rounds on one machine, medians, ratios, limits.

Everything runs here: PostgreSQL with its durable settings, the server as ``spotcore serve``, the floor server, and the
load generator. Only ratios of one run say anything; the absolute figures are this machine's.
"""

import argparse
import contextlib
import json
import os
import platform
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from attrs import frozen
from matplotlib.figure import Figure

from benchmarks.failover import registration
from benchmarks.floor import SCHEMA
from benchmarks.site import Http, free_port, wait_until
from spotadapters.embedded import EmbeddedStack
from spotadapters.postgres.migrate import migrate

TYPE: Final = "m5.large"
POOLS: Final = [
    {"pool_id": f"{TYPE}.us-east-1{zone}", "az": f"us-east-1{zone}", "price": 0.03 + number / 1000}
    for number, zone in enumerate("abcdef")
]
Call = tuple[Any, ...]


@frozen(kw_only=True)
class Target:
    """A server under load."""

    port: int
    token: str
    callers: Callable[[str, int], list[list[Call]]]  # what each of n connections repeats, by workload


@frozen(kw_only=True)
class Workload:
    """A row of the report: our rate at least ``must`` times the floor's."""

    name: str
    connections: int
    floor: str
    must: float | None = None
    must_p99_ms: float | None = None


WORKLOADS: Final = (
    Workload(name="heartbeat", connections=16, floor="one", must=0.6, must_p99_ms=20.0),
    Workload(name="heartbeat", connections=16, floor="group"),
    Workload(name="heartbeat", connections=256, floor="group"),
    Workload(name="mix", connections=16, floor="one", must=0.5),
    Workload(name="prices", connections=16, floor="prices", must=0.5),
    Workload(name="poll", connections=16, floor="read"),
)


def heartbeat(agent_id: str, machine: str) -> Call:
    """As a v4c sends it every 30 s."""
    body = {
        "status": "online", "monitored_instances": [machine], "instance_id": machine, "instance_type": TYPE,
        "mode": "spot", "az": "us-east-1a",
    }  # fmt: skip
    return "heartbeat", "POST", f"/api/agents/{agent_id}/heartbeat", body


def poll(agent_id: str) -> Call:
    """As a v4c polls."""
    return "poll", "GET", f"/api/agents/{agent_id}/pending-commands", None


def prices(agent_id: str, machine: str) -> Call:
    """Six pools, as a v4c reports them."""
    instance = {
        "instance_id": machine, "instance_type": TYPE, "region": "us-east-1", "az": "us-east-1a", "mode": "spot",
        "pool_id": POOLS[0]["pool_id"],
    }  # fmt: skip
    body = {"instance": instance, "on_demand_price": 0.096, "spot_pools": POOLS}
    return "prices", "POST", f"/api/agents/{agent_id}/pricing-report", body


def recommendation(agent_id: str) -> Call:
    """What should I do?"""
    return "recommendation", "GET", f"/api/agents/{agent_id}/switch-recommendation", None


class Ours:
    """What connections to the real server repeat."""

    def __init__(self, agents: list[tuple[str, str]]) -> None:
        self._agents = agents

    def callers(self, workload: str, connections: int) -> list[list[Call]]:
        """Each connection speaks for agents of its own."""
        share = max(1, len(self._agents) // connections)
        return [
            self._of(workload, number, self._agents[number * share % len(self._agents) :][:share])
            for number in range(connections)
        ]

    def _of(self, workload: str, number: int, agents: list[tuple[str, str]]) -> list[Call]:
        if workload == "mix":
            return [self._mixed(place, *agents[place % len(agents)]) for place in range(number, number + 100)]
        one: dict[str, Callable[[str, str], Call]] = {
            "heartbeat": heartbeat,
            "prices": prices,
            "poll": lambda agent_id, _: poll(agent_id),
        }
        return [one[workload](*agent) for agent in agents]

    @staticmethod
    def _mixed(place: int, agent_id: str, machine: str) -> Call:
        """70 % heartbeats, 20 % polls, 8 % price reports, 2 % recommendations."""
        share = place * 37 % 100
        if share < 70:
            return heartbeat(agent_id, machine)
        if share < 90:
            return poll(agent_id)
        return prices(agent_id, machine) if share < 98 else recommendation(agent_id)


def floor_callers(kind: str, connections: int) -> list[list[Call]]:
    """What connections to the floor repeat."""
    method, body = (
        ("GET", None)
        if kind == "read"
        else ("POST", {"status": "online"} if kind != "prices" else {"spot_pools": POOLS})
    )
    return [[(kind, method, f"/{kind}/a{number * 20 + n}", body) for n in range(20)] for number in range(connections)]


def measured(port: int, token: str, callers: list[list[Call]], seconds: float) -> dict[str, Any]:
    """A round of load."""
    plan = {"port": port, "token": token, "seconds": seconds, "callers": callers}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"], input=json.dumps(plan), capture_output=True, text=True, check=True,
        timeout=seconds + 60,
    )  # fmt: skip
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@contextmanager
def process(command: list[str], given: str | None = None, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with the block."""
    started = subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=subprocess.PIPE if given else None, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        if given is not None and started.stdin is not None:
            started.stdin.write(given)
            started.stdin.close()
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        started.wait(30)


@contextmanager
def servers(agents: int, processes: int) -> Iterator[tuple[Ours, list[int], int, str]]:
    """Our server or servers with registered agents, the floor's port, and the clients' token."""
    with tempfile.TemporaryDirectory(prefix="spotcore-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with EmbeddedStack(Path(name) / "data", on_event=lambda _: None) as stack:
            migrate(stack.database_url)
            with psycopg.connect(stack.database_url, autocommit=True) as connection:
                connection.execute(SCHEMA)
            admin, floor_port = secrets.token_hex(16), free_port()
            environment = {
                "SPOTCORE_DATABASE_URL": stack.database_url, "SPOTCORE_REDIS_URL": stack.redis_url,
                "SPOTCORE_ADMIN_TOKEN": admin, "SPOTCORE_LOG_LEVEL": "error", "SPOTCORE_DATA_DIR": f"{name}/shared",
            }  # fmt: skip
            ports = [free_port() for _ in range(processes)]
            where = json.dumps({"database_url": stack.database_url, "port": floor_port})
            with contextlib.ExitStack() as stacked:
                for port in ports:
                    serve = [sys.executable, "-m", "spotapp.cli", "serve", "--port", str(port)]
                    stacked.enter_context(process(serve, **environment))
                stacked.enter_context(process([sys.executable, "-m", "benchmarks.floor"], where))
                wait_until(ports[0], "/health")
                wait_until(floor_port, "/read/a1")
                http = Http(ports[0], admin)
                token = http.call("POST", "/api/admin/clients/create", {"name": "Bench"})[1]["data"]["client"]["token"]
                client = Http(ports[0], token)
                yield Ours([_registered(client, number) for number in range(1, agents + 1)]), ports, floor_port, token


def _registered(http: Http, number: int) -> tuple[str, str]:
    machine = f"i-{number:017x}"
    status, answer = http.call("POST", "/api/agents/register", registration(machine, f"agent-{number}"))
    assert status == 200, answer
    return answer["agent_id"], machine


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--agents", type=int, default=512)
    parser.add_argument("--only", help="one workload by its name")
    parser.add_argument("--json", help="write the figures to this file too")
    parser.add_argument("--plot", help="draw the ratios and their limits to this .png or .svg")
    options = parser.parse_args()
    wanted = [one for one in WORKLOADS if options.only in (None, one.name)]
    rows: list[dict[str, Any]] = []
    print(f"starting servers, registering {options.agents} agents …", flush=True)
    with servers(options.agents, 1) as (ours, ports, floor_port, token):
        for one in wanted:
            measured(
                ports[0], token, ours.callers(one.name, one.connections), 1.5
            )  # everybody is known, plans are made
            rounds = []
            for number in range(options.rounds):
                floor = measured(floor_port, "t", floor_callers(one.floor, one.connections), options.seconds)
                own = measured(ports[0], token, ours.callers(one.name, one.connections), options.seconds)
                rounds.append((own, floor))
                print(f"  {one.name} {one.connections} round {number + 1}: {own['per_second']:.0f}/s, "
                      f"floor {floor['per_second']:.0f}/s", flush=True)  # fmt: skip
            rows.append(summed(one, rounds))
    report(rows)
    if options.json:
        facts = {
            "machine": f"{platform.machine()} {os.cpu_count()} cores, Python {platform.python_version()}",
            "commit": commit(),
        }
        Path(options.json).write_text(json.dumps({**facts, "rows": rows}, indent=2))
    if options.plot:
        draw(rows, options.plot)
    return 0 if all(row["fine"] for row in rows) else 1


def summed(one: Workload, rounds: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Medians of the rounds, and whether they are within the limits."""
    rate = statistics.median(own["per_second"] for own, _ in rounds)
    ratio = statistics.median(own["per_second"] / floor["per_second"] for own, floor in rounds)
    p99 = statistics.median(own["p99_ms"] for own, _ in rounds)
    errors = sum(sum(own["errors"].values()) for own, _ in rounds)
    fine = not errors and (one.must is None or ratio >= one.must)
    return {
        "workload": one.name, "connections": one.connections, "floor": one.floor, "per_second": rate,
        "floor_per_second": statistics.median(floor["per_second"] for _, floor in rounds), "ratio": round(ratio, 3),
        "must": one.must, "p99_ms": p99, "floor_p99_ms": statistics.median(floor["p99_ms"] for _, floor in rounds),
        "errors": errors, "fine": fine and (one.must_p99_ms is None or p99 <= one.must_p99_ms),
    }  # fmt: skip


def commit() -> str | None:
    """Of the tree that is measured; None outside of one."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def draw(rows: list[dict[str, Any]], file: str) -> None:
    """Ratios to the floor as bars, their limits as lines."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    names = [f"{row['workload']} {row['connections']}\n/ {row['floor']}" for row in rows]
    colors = ["tab:green" if row["fine"] else "tab:red" for row in rows]
    axes.bar(names, [row["ratio"] for row in rows], color=colors)
    for place, row in enumerate(rows):
        if row["must"] is not None:
            axes.hlines(row["must"], place - 0.4, place + 0.4, colors="black", linestyles="dashed")
    axes.set_ylabel("rate / floor")
    axes.set_title("Hot paths against the floor; dashed: the least")
    figure.savefig(file)


def report(rows: list[dict[str, Any]]) -> None:
    """A table for people."""
    print(
        f"{'workload':12} {'conn':>5} {'floor':>7} {'ours/s':>8} {'floor/s':>8} {'ratio':>6} {'must':>5} "
        f"{'p99 ms':>7} {'errors':>6}"
    )
    for row in rows:
        must = f"{row['must']:.2f}" if row["must"] is not None else "–"
        print(
            f"{row['workload']:12} {row['connections']:5} {row['floor']:>7} {row['per_second']:8.0f} "
            f"{row['floor_per_second']:8.0f} {row['ratio']:6.2f} {must:>5} {row['p99_ms']:7.1f} {row['errors']:6} "
            f"{'' if row['fine'] else 'MISSED'}"
        )


if __name__ == "__main__":
    sys.exit(main())
