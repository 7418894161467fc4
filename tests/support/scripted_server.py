"""A remote server for simulated agents: answers what it is told to, and keeps nothing of its own."""

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from attrs import define, field

from spotadapters.fleet import FixedPrices, Installation, Response, VirtualClock, World, json_answer
from spotcore.builds import Build
from spotcore.pools import Mode

Reply = Response | Callable[[Mapping[str, Any] | None], Response]

TYPE = "m5.large"
HERE = "us-east-1a"
THERE = "us-east-1b"
POOL_HERE = f"{TYPE}.{HERE}"
POOL_THERE = f"{TYPE}.{THERE}"
PRICES = FixedPrices(
    spot_by_pool={POOL_HERE: Decimal("0.04"), POOL_THERE: Decimal("0.03")}, on_demand_by_type={TYPE: Decimal("0.096")}
)
WELCOME = {"agent_id": "agent-1", "role": "primary", "config": {"enabled": True}}


@define
class ScriptedServer:
    """An ``HttpTransport``. What is said ``once`` is used up; what is said ``always`` stays."""

    _always: dict[str, Reply] = field(factory=dict)
    _once: dict[str, deque[Reply]] = field(factory=dict)

    def always(self, name: str, answer: Reply | dict[str, Any] | list[Any]) -> None:
        """The answer to ``<METHOD> <path below the agent, query included>``."""
        self._always[name] = answer if isinstance(answer, Response) or callable(answer) else json_answer(answer)

    def once(self, name: str, answer: Reply | dict[str, Any] | list[Any]) -> None:
        """The answer to the next such request that has no earlier one waiting."""
        reply = answer if isinstance(answer, Response) or callable(answer) else json_answer(answer)
        self._once.setdefault(name, deque()).append(reply)

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Response:
        below = path.partition("/api/agents/")[2]
        name = f"{method} {below.partition('/')[2] or below}"
        waiting = self._once.get(name)
        reply = waiting.popleft() if waiting else self._always.get(name, _usual(name))
        return reply(body) if callable(reply) else reply


def _usual(name: str) -> Response:
    return json_answer(WELCOME if name == "POST register" else {"success": True})


@define
class Fleet:
    """A world in virtual time against a scripted server, with one host of one build."""

    server: ScriptedServer
    world: World
    instance_id: str

    def sent(self, name: str, *, by: str | None = None) -> list[Mapping[str, Any]]:
        """The bodies sent to an endpoint, perhaps by one host only."""
        return [one.body or {} for one in self.world.journal.exchanges(name, instance_id=by)]

    def deeds(self, what: str) -> list[Mapping[str, Any]]:
        """The facts of what was done."""
        return [one.facts for one in self.world.journal.deeds(what)]

    def wrongs(self) -> list[str]:
        """The rules violated, in order."""
        return [one.rule for one in self.world.violations()]

    def launched(self) -> list[str]:
        """The machines that agents launched."""
        return [str(facts["machine"]) for facts in self.deeds("launched")]


def a_fleet(
    build: Build,
    server: ScriptedServer | None = None,
    *,
    mode: Mode = Mode.SPOT,
    booted: bool = True,
    shutdown_seconds: float = 0.0,
    speed: float = 1.0,
    prices: FixedPrices = PRICES,
    **settings: Any,
) -> Fleet:
    """One host in zone a, its agent just registered unless ``booted`` is false."""
    server = server or ScriptedServer()
    world = World(clock=VirtualClock(), transport=server, prices=prices, shutdown_seconds=shutdown_seconds, speed=speed)
    installation = Installation(build=build, client_token="token-1", **settings)
    fleet = Fleet(server, world, world.start(installation, instance_type=TYPE, az=HERE, mode=mode))
    if booted:
        world.advance(25 / speed)
    return fleet
