"""Thousands of agents that hold a long poll each: how fast a command reaches one, and what they cost while idle.

One ``spotcore up``, all callers in this process. First a few waiters alone, then all: the ratio says what the crowd
costs the one who is meant. Delivery counts from sending the order until the waiting agent has the command in its hands,
so the order's own transaction is in it. The fleet is written into the database (``fleet.py``).
"""

import asyncio
import gc
import random
import sys
import time
from typing import Any, Final

import uvloop
from attrs import define, field

from benchmarks.fleet import Member, a_fleet, transactions
from benchmarks.results import Ratio, Report, finish, options_of
from benchmarks.site import Running, running_server
from benchmarks.wire import Line, allow_sockets, percentile

MUST_P99_MS, STRETCH_P99_MS = 250.0, 100.0
FEW: Final = 20
WAIT: Final = 25
CONNECTS_PER_SECOND: Final = 250
SETTLES: Final = 6.0  # seconds until all have looked, and been asked about once
BEFORE_SECONDS: Final = 4.0


@define
class Crowd:
    """Agents in long polls, each renewed as soon as it ends."""

    port: int
    members: list[Member]
    arrived: dict[str, float] = field(factory=dict)  # by agent: when its command was there
    renewals: list[float] = field(factory=list)  # ms that an empty poll took longer than it had to
    errors: dict[str, int] = field(factory=dict)
    lines: list[Line] = field(factory=list)
    tasks: list["asyncio.Task[None]"] = field(factory=list)

    async def gather(self) -> None:
        """Connect one after the other, so many a second, and wait."""
        begun = time.perf_counter()
        for place, member in enumerate(self.members):
            await asyncio.sleep(max(0.0, begun + place / CONNECTS_PER_SECOND - time.perf_counter()))
            self.lines.append(Line(self.port, member.token))
            self.tasks.append(asyncio.create_task(self._waits(member, self.lines[-1])))

    async def leave(self) -> None:
        """Hang up."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for line in self.lines:
            line.close()

    def _count(self, status: int) -> None:
        if status != 200:
            self.errors[str(status)] = self.errors.get(str(status), 0) + 1

    async def _waits(self, member: Member, line: Line) -> None:
        path = f"/api/agents/{member.agent_id}/pending-commands?wait={WAIT}"
        while True:
            begun = time.perf_counter()
            try:
                answer = await line.call("GET", path)
            except ConnectionError:
                self.errors["lost"] = self.errors.get("lost", 0) + 1
                return
            self._count(answer.status)
            if answer.status == 200 and answer.data["commands"]:
                self.arrived[member.agent_id] = answer.at
            else:
                self.renewals.append((answer.at - begun - WAIT) * 1000)


async def deliveries(port: int, crowd: Crowd, number: int, per_second: float, seed: int) -> list[float]:
    """Milliseconds from sending an order until the agent that waits has it."""
    chosen = random.Random(seed).sample(crowd.members, number)
    sent: dict[str, float] = {}
    line: dict[str, Line] = {}

    async def order(member: Member) -> None:
        path = f"/api/client/instances/{member.machine}/force-switch"
        sent[member.agent_id] = time.perf_counter()
        answer = await line.setdefault(member.token, Line(port, member.token)).call(
            "POST", path, {"target": "ondemand"}
        )
        if answer.status != 200:
            crowd.errors[f"order {answer.status}"] = crowd.errors.get(f"order {answer.status}", 0) + 1

    begun = time.perf_counter()
    for place, member in enumerate(chosen):
        await asyncio.sleep(max(0.0, begun + place / per_second - time.perf_counter()))
        await order(member)
    until = time.perf_counter() + 10
    while len(crowd.arrived.keys() & sent.keys()) < len(sent) and time.perf_counter() < until:
        await asyncio.sleep(0.05)
    for one in line.values():
        one.close()
    return [(crowd.arrived[agent] - at) * 1000 for agent, at in sent.items() if agent in crowd.arrived]


async def measured(running: Running, members: list[Member], options: Any) -> dict[str, Any]:
    """Figures of both crowds."""
    gc.disable()  # a pause of the callers' process would be counted as the server's
    port, url = running.http.port, running.database_url
    few = Crowd(port, members[:FEW])
    await few.gather()
    await asyncio.sleep(min(1.0, SETTLES))
    alone = await deliveries(port, few, FEW, options.per_second, seed=1)
    await few.leave()
    crowd = Crowd(port, members[FEW:])
    await asyncio.sleep(min(1.0, SETTLES))
    memory, asked, began = running.memory_mb(), transactions(url), time.perf_counter()
    await asyncio.sleep(BEFORE_SECONDS)
    before = (transactions(url) - asked) / (time.perf_counter() - began)
    print(f"{len(crowd.members)} agents begin to wait …", flush=True)
    await crowd.gather()
    await asyncio.sleep(SETTLES)
    used, asked, began = running.cpu(), transactions(url), time.perf_counter()
    await asyncio.sleep(options.idle_seconds)
    seconds = time.perf_counter() - began
    idle = {name: (now - used[name]) / seconds for name, now in running.cpu().items()}
    queries = (transactions(url) - asked) / seconds
    grown = running.memory_mb() - memory
    print(f"{options.commands} commands …", flush=True)
    times = await deliveries(port, crowd, options.commands, options.per_second, seed=2)
    await crowd.leave()
    return {
        "alone": alone, "times": times, "errors": {**few.errors, **crowd.errors}, "before": before, "queries": queries,
        "idle": idle, "kb": grown * 1024 / len(crowd.members), "renewals": crowd.renewals,
    }  # fmt: skip


def main() -> int:
    """Run, show, judge."""
    options = options_of(
        __doc__,
        ("--agents", {"type": int, "default": 5_000}),
        ("--commands", {"type": int, "default": 300}),
        ("--per-second", {"type": float, "default": 20.0}),
        ("--idle-seconds", {"type": float, "default": 12.0}),
        quick={"agents": 500, "commands": 60, "idle_seconds": 5.0},
    )
    allow_sockets(options.agents)
    print("starting a server …", flush=True)
    with running_server() as running:
        members = a_fleet(running, options.agents + FEW)
        found = uvloop.run(measured(running, members, options))
    times, alone = found["times"], found["alone"]
    figures = {
        "agents": options.agents,
        "commands": options.commands,
        "delivered": len(times),
        "delivery_ms_p50": round(percentile(times, 0.5), 1),
        "delivery_ms_p99": round(percentile(times, 0.99), 1),
        "delivery_ms_max": round(max(times), 1),
        f"delivery_ms_p50_of_{FEW}_waiters": round(percentile(alone, 0.5), 1),
        "idle_transactions_per_second": round(found["queries"], 1),
        "idle_transactions_per_second_of_nobody": round(found["before"], 1),
        "idle_server_cpu_share": round(found["idle"]["server"], 3),
        "idle_database_cpu_share": round(found["idle"]["database"], 3),
        "memory_kb_per_waiter": round(found["kb"], 1),
        "errors": found["errors"],
    }
    if found["renewals"]:
        figures["renewal_lateness_ms_p99"] = round(percentile(found["renewals"], 0.99), 1)
    missed = []
    if figures["delivery_ms_p99"] > MUST_P99_MS:
        missed.append(f"delivery p99 ≤ {MUST_P99_MS:.0f} ms (stretch {STRETCH_P99_MS:.0f} ms)")
    if len(times) < options.commands or found["errors"]:
        missed.append("every command is delivered, every call is answered with 200")
    crowded = Ratio(
        name="delivery_of_all_to_few_waiters",
        rounds=(percentile(times, 0.5) / percentile(alone, 0.5),),
        less_is_better=True,
    )
    return finish(Report(benchmark="waiting", figures=figures, ratios=(crowded,), missed=missed), options)


if __name__ == "__main__":
    sys.exit(main())
