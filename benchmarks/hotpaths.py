"""The hot paths against the floor: alternating rounds on one machine, medians, ratios, limits.

Everything runs here: PostgreSQL with its durable settings, the server as ``spotcore serve``, the floor server, and the
load generator. Only ratios of one run say anything; the absolute figures are this machine's.
"""

import contextlib
import json
import secrets
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

from benchmarks.failover import registration
from benchmarks.floor import SCHEMA
from benchmarks.results import Ratio, Report, finish, options_of
from benchmarks.site import Http, free_port, process, wait_until
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
    options = options_of(
        __doc__,
        ("--rounds", {"type": int, "default": 3}),
        ("--seconds", {"type": float, "default": 4.0}),
        ("--agents", {"type": int, "default": 512}),
        ("--only", {"help": "one workload by its name"}),
        quick={"rounds": 2, "seconds": 1.5, "agents": 256},
    )
    wanted = [one for one in WORKLOADS if options.only in (None, one.name)]
    found: list[tuple[Workload, Rounds]] = []
    print(f"starting servers, registering {options.agents} agents …", flush=True)
    with servers(options.agents, 1) as (ours, ports, floor_port, token):
        for one in wanted:
            measured(
                ports[0], token, ours.callers(one.name, one.connections), min(1.5, options.seconds)
            )  # everybody is known, plans are made
            rounds: Rounds = []
            for number in range(options.rounds):
                floor = measured(floor_port, "t", floor_callers(one.floor, one.connections), options.seconds)
                own = measured(ports[0], token, ours.callers(one.name, one.connections), options.seconds)
                rounds.append((own, floor))
                print(f"  {one.name} {one.connections} round {number + 1}: {own['per_second']:.0f}/s, "
                      f"floor {floor['per_second']:.0f}/s", flush=True)  # fmt: skip
            found.append((one, rounds))
    return finish(summed(found), options)


Rounds = list[tuple[dict[str, Any], dict[str, Any]]]


def summed(found: list[tuple[Workload, Rounds]]) -> Report:
    """Medians of the rounds; rates as ratios to the floor's of the same round."""
    figures: dict[str, Any] = {}
    missed, ratios = [], []
    for one, rounds in found:
        name = f"{one.name}_{one.connections}_to_{one.floor}"
        p99 = statistics.median(own["p99_ms"] for own, _ in rounds)
        errors = sum(sum(own["errors"].values()) for own, _ in rounds)
        figures |= {
            f"{name}_per_second": statistics.median(own["per_second"] for own, _ in rounds),
            f"{name}_floor_per_second": statistics.median(floor["per_second"] for _, floor in rounds),
            f"{name}_p99_ms": p99,
            f"{name}_floor_p99_ms": statistics.median(floor["p99_ms"] for _, floor in rounds),
        }
        if errors:
            missed.append(f"{name}: {errors} calls failed")
        if one.must_p99_ms is not None and p99 > one.must_p99_ms:
            missed.append(f"{name}: p99 is {p99} ms, must be ≤ {one.must_p99_ms} ms")
        shares = tuple(own["per_second"] / floor["per_second"] for own, floor in rounds)
        ratios.append(Ratio(name=name, rounds=shares, must=one.must))
    return Report(benchmark="hotpaths", figures=figures, ratios=ratios, missed=missed)


if __name__ == "__main__":
    sys.exit(main())
