"""Agents per core: a model from the measured cost of each call, and a fleet at its deployed cadence that verifies it.

First each kind of call alone, two at a time, each over a connection of its own as agents that call seldom have them:
CPU seconds of server and database per call. Then an open loop: so many agents of the four builds, spread evenly, each
call at its time whatever became of the one before. The model's CPU is compared with what was used.
"""

import asyncio
import gc
import heapq
import random
import sys
import time
from itertools import count, cycle
from typing import Any, Final

import psycopg
import uvloop
from attrs import define, field

from benchmarks.cadence import HABITS, KINDS, Habit, habits_of, rates
from benchmarks.fleet import Member, a_fleet
from benchmarks.results import Ratio, Report, finish, options_of
from benchmarks.site import Running, running_server
from benchmarks.wire import Line, allow_sockets, percentile

AT_A_TIME: Final = 2  # a fleet's calls seldom meet more of their kind
MOST_LATE_MS: Final = 250.0
SPREAD: Final = "update agents set last_decision_at = now() - random() * interval '300 seconds'"


@define
class Tally:
    """What became of the calls of one kind."""

    times: list[float] = field(factory=list)  # ms
    failed: int = 0

    def add(self, status: int, seconds: float) -> None:
        """An answer."""
        self.times.append(seconds * 1000)
        self.failed += not 200 <= status < 300


def path_of(one: Member, habit: Habit) -> str:
    """Where it goes."""
    return f"/api/agents/{one.agent_id}{habit.path}"


async def single(running: Running, members: list[Member], kind: str, seconds: float) -> dict[str, float]:
    """CPU seconds of a call of that kind, by who used them; the first round of calls, which is learnt from, apart."""
    wanted = list(habits_of(members, kind))
    random.Random(kind).shuffle(wanted)
    wanted = wanted[: max(8, min(len(wanted), round(seconds * 30)))]

    async def caller(share: list[tuple[Member, Habit]], until: float | None) -> int:
        done = 0
        for one, habit in cycle(share) if until is not None else share:
            if until is not None and time.perf_counter() >= until:
                break
            line = Line(running.http.port, one.token)
            answer = await line.call(habit.method, path_of(one, habit), habit.body(one))
            line.close()
            done += 1
            if not 200 <= answer.status < 300:
                print(f"  {kind}: {answer.status} {answer.body.decode()}")
        return done

    shares = [wanted[place::AT_A_TIME] for place in range(AT_A_TIME)]
    for _ in range(2):
        await asyncio.gather(*(caller(share, None) for share in shares))
    before, until = running.cpu(), time.perf_counter() + seconds
    calls = sum(await asyncio.gather(*(caller(share, until) for share in shares)))
    return {name: (now - before[name]) / calls for name, now in running.cpu().items()}


@define
class OpenLoop:
    """A fleet at its cadence."""

    port: int
    members: list[Member]
    pace: float  # times faster than deployed
    tallies: dict[str, Tally] = field(factory=lambda: {kind: Tally() for kind in KINDS})
    late: list[float] = field(factory=list)  # ms after its time that a call was sent
    lost: int = 0
    _locks: dict[str, asyncio.Lock] = field(factory=dict)
    _lines: dict[str, Line] = field(factory=dict)

    async def run(self, seconds: float, measured_from: float) -> None:
        """For so long; what is due before ``measured_from`` is not counted."""
        chance, order = random.Random(7), count()
        due: list[tuple[float, int, Member, Habit]] = []
        for one in self.members:
            for habit in HABITS[one.build]:
                heapq.heappush(due, (chance.uniform(0, habit.every / self.pace), next(order), one, habit))
        begun = time.perf_counter()
        running: set[asyncio.Task[None]] = set()
        while due[0][0] < seconds:
            at, _, one, habit = heapq.heappop(due)
            await asyncio.sleep(max(0.0, begun + at - time.perf_counter()))
            task = asyncio.create_task(self._call(one, habit, begun + at, is_counted=at >= measured_from))
            running.add(task)
            task.add_done_callback(running.discard)
            heapq.heappush(due, (at + habit.every / self.pace, next(order), one, habit))
        await asyncio.wait(running, timeout=10)
        for line in self._lines.values():
            line.close()

    async def _call(self, one: Member, habit: Habit, due: float, *, is_counted: bool) -> None:
        async with self._locks.setdefault(one.agent_id, asyncio.Lock()):
            line = self._lines.setdefault(one.agent_id, Line(self.port, one.token))
            begun = time.perf_counter()
            for attempt in (1, 2):
                try:
                    answer = await line.call(habit.method, path_of(one, habit), habit.body(one))
                    break
                except ConnectionError:  # the server ended an idle connection as the call was sent
                    if attempt == 2:
                        self.lost += 1
                        return
        if is_counted:
            self.late.append((begun - due) * 1000)
            self.tallies[habit.kind].add(answer.status, answer.at - begun)


async def measured(running: Running, members: list[Member], options: Any) -> dict[str, Any]:
    """Costs of single calls, then the fleet."""
    gc.disable()  # a pause of the callers' process would be counted as the server's
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        before, begun = running.cpu(), time.perf_counter()
        await asyncio.sleep(options.single_seconds)
        idle = {name: (now - before[name]) / (time.perf_counter() - begun) for name, now in running.cpu().items()}
        costs = {}
        for kind in KINDS:
            costs[kind] = await single(running, members, kind, options.single_seconds)
            print(f"  {kind}: {sum(costs[kind].values()) * 1000:.2f} ms of CPU", flush=True)
        connection.execute(SPREAD)  # from here on the decision round has its share
    print(f"{len(members)} agents at {options.pace:g} times their cadence …", flush=True)
    fleet = OpenLoop(running.http.port, members, options.pace)
    used: list[tuple[float, dict[str, float]]] = []

    async def look(after: float) -> None:
        await asyncio.sleep(after)
        used.append((time.perf_counter(), running.cpu()))

    whole = options.warm_seconds + options.seconds
    await asyncio.gather(fleet.run(whole, options.warm_seconds), look(options.warm_seconds), look(whole))
    (begun, before), (ended, after) = used
    return {
        "fleet": fleet, "idle": idle, "costs": costs,
        "cpu": {name: (after[name] - before[name]) / (ended - begun) for name in after},
    }  # fmt: skip


def main() -> int:
    """Run, show, judge."""
    options = options_of(
        __doc__,
        ("--agents", {"type": int, "default": 3_000}),
        ("--seconds", {"type": float, "default": 60.0}),
        ("--warm-seconds", {"type": float, "default": 15.0}),
        ("--single-seconds", {"type": float, "default": 1.5}),
        ("--pace", {"type": float, "default": 1.0, "help": "times faster than deployed"}),
        quick={"agents": 500, "seconds": 10.0, "warm_seconds": 5.0, "pace": 3.0, "single_seconds": 1.0},
    )
    allow_sockets(options.agents)
    print("starting a server …", flush=True)
    with running_server() as running:
        members = a_fleet(running, options.agents, tuple(HABITS))
        found = uvloop.run(measured(running, members, options))
    fleet, costs = found["fleet"], found["costs"]
    wanted = {kind: rate * options.pace for kind, rate in rates(options.agents).items()}
    wanted["decision"] -= options.agents / 300 * (options.pace - 1)  # the server's own round keeps its pace
    predicted = {
        name: found["idle"][name] + sum(rate * costs[kind][name] for kind, rate in wanted.items())
        for name in ("server", "database")
    }
    cpu, calls = found["cpu"], sum(len(one.times) for one in fleet.tallies.values())
    per_agent = sum(rates(1)[kind] * sum(costs[kind].values()) for kind in KINDS)
    figures: dict[str, Any] = {
        "agents": options.agents,
        "pace": options.pace,
        "calls_per_second": round(calls / options.seconds, 1),
        "failed": sum(one.failed for one in fleet.tallies.values()) + fleet.lost,
        "sent_late_ms_p99": round(percentile(fleet.late, 0.99), 1),
    }
    for name in ("server", "database"):
        figures[f"cpu_{name}_predicted"] = round(predicted[name], 3)
        figures[f"cpu_{name}_measured"] = round(cpu[name], 3)
    figures["agents_per_core_by_the_model"] = round(1 / per_agent)
    share = sum(cpu.values()) - sum(found["idle"].values())
    figures["agents_per_core_measured"] = round(options.agents * options.pace / max(share, 0.001))
    for kind, one in fleet.tallies.items():
        name = kind.replace(" ", "_")
        figures[f"{name}_cpu_ms_server"] = round(costs[kind]["server"] * 1000, 2)
        figures[f"{name}_cpu_ms_database"] = round(costs[kind]["database"] * 1000, 2)
        figures[f"{name}_per_second"] = round(len(one.times) / options.seconds, 1)
        if one.times:
            figures[f"{name}_ms_p50"] = round(percentile(one.times, 0.5), 1)
            figures[f"{name}_ms_p99"] = round(percentile(one.times, 0.99), 1)
    missed = []
    if figures["failed"]:
        missed.append("every call is answered with 2xx")
    if figures["sent_late_ms_p99"] > MOST_LATE_MS:
        missed.append(
            f"calls are sent within {MOST_LATE_MS:.0f} ms of their time: the machine is too small for this fleet"
        )
    ratio = Ratio(
        name="cpu_measured_to_predicted",
        rounds=(sum(cpu.values()) / sum(predicted.values()),),
        less_is_better=True,
    )
    return finish(Report(benchmark="capacity", figures=figures, ratios=(ratio,), missed=missed), options)


if __name__ == "__main__":
    sys.exit(main())
