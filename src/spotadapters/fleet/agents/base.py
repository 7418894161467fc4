"""What the four builds have in common: credentials, paths, loops, and no understanding of the envelope."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from attrs import define, field, frozen

from spotadapters.fleet.host import Host
from spotadapters.fleet.machines import CloudRefusal, Machine, MachineState
from spotadapters.fleet.script import Call, Exit, Response, Sleep, Steps
from spotcore.builds import Build

NO_PRICE_LIST: Final = 0.1  # $/hour, what agents report when the price list cannot be read (Z33)
DESCRIBE_EVERY_SECONDS: Final = 5.0


@frozen(kw_only=True)
class Installation:
    """How an agent was set up on an image; every machine that boots the image runs it so."""

    build: Build
    client_token: str
    logical_id: str | None = None  # v2, v4c, v4n: kept across switches when configured
    base_path: str = ""  # path of the configured base URL; v2 and v4c drop it
    cloud_account: str = ""  # v5
    auto_terminate: bool = True  # v2: its own setting decides, not the server's
    terminate_wait_seconds: float = 300.0  # v2
    with_snapshot: bool = False  # v2: its switch report mentions a snapshot
    clones_disk: bool = False  # a launched machine gets a copy of the disk, a stored agent id included (Z22)


@define(kw_only=True)
class Agent(ABC):
    """One run of a program on a host. ``main`` is its first loop and spawns the others."""

    BUILD: ClassVar[Build]
    VERSION: ClassVar[str]
    KEEPS_BASE_PATH: ClassVar[bool] = False

    host: Host
    installation: Installation
    agent_id: str | None = None
    enabled: bool = True
    extra_headers: dict[str, str] = field(factory=dict)

    @abstractmethod
    def main(self) -> Steps[None]:
        """Everything the program does."""

    @abstractmethod
    def farewell(self) -> Steps[None]:
        """What it sends on the way out when it is stopped cleanly."""

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Steps[Response]:
        """The answer to one request. Every request has the token and a JSON content type, GETs too."""
        prefix = self.installation.base_path.rstrip("/") if self.KEEPS_BASE_PATH else ""
        headers = {
            "Authorization": f"Bearer {self.installation.client_token}",
            "Content-Type": "application/json",
            **self.extra_headers,
        }
        answer: Response = yield Call(method=method, path=prefix + path, body=body, headers=headers)
        return answer

    def get(self, rest: str) -> Steps[Response]:
        """GET below the agent's own path."""
        return self.call("GET", f"/api/agents/{self.agent_id}/{rest}")

    def post(self, rest: str, body: Mapping[str, Any]) -> Steps[Response]:
        """POST below the agent's own path; before registration that path says ``None``."""
        return self.call("POST", f"/api/agents/{self.agent_id}/{rest}", body)

    def leave(self, *, restart: bool = False) -> Steps[None]:
        """Say farewell and end. A supervisor starts the program again only after a failed registration."""
        yield from self.farewell()
        yield Exit(restart=restart)

    def every(self, seconds: float, turn: Callable[[], Steps[None]], *, first_after: float = 0.0) -> Steps[None]:
        """A loop: a turn, then a pause. A turn that takes long delays the next one."""
        if first_after:
            yield Sleep(first_after)
        while True:
            yield from turn()
            yield Sleep(seconds)

    def wait_until(self, instance_id: str, state: MachineState, *, seconds: float) -> Steps[bool]:
        """Ask the cloud every 5 s until a machine has a state; False when it takes longer than ``seconds``."""
        waited = 0.0
        while self.observed(instance_id) is not state:
            if waited >= seconds:
                return False
            pause = min(DESCRIBE_EVERY_SECONDS, seconds - waited)
            yield Sleep(pause)
            waited += pause
        return True

    def observed(self, instance_id: str) -> MachineState | None:
        """The state of a machine, None while the cloud does not answer."""
        try:
            return None if self.host.cloud.outage else self.host.cloud.machine(instance_id).state
        except CloudRefusal:
            return None

    def spot_pools(self, machine: Machine) -> list[dict[str, Any]]:
        """The spot prices of the own type, zone by zone, as v2, v4c and v4n list them; empty when AWS failed."""
        try:
            prices = self.host.cloud.spot_prices(machine.instance_type, region(machine))
        except CloudRefusal:
            return []
        return [
            {"pool_id": pool.pool_id, "instance_type": pool.instance_type, "az": pool.az, "price": float(price)}
            for pool, price in prices.items()
        ]


@frozen(kw_only=True)
class Welcome:
    """What a registration answer told: the id as text (perhaps the text ``None``) and whether to work."""

    agent_id: str | None
    enabled: bool


def read_welcome(host: Host, answer: Response) -> Welcome | None:
    """What v2, v4c and v4n read from a registration answer, None when they give up. ``config`` may be absent, but
    must be an object when present."""
    if not answer.ok:
        return None
    config = answer.fields.get("config", {})
    if not isinstance(config, dict):
        host.wronged("T02", "config_is_no_object", config=config)
        return None
    agent_id = answer.fields.get("agent_id")
    if not isinstance(agent_id, str):
        host.wronged("T02", "no_agent_id", answer=answer.json)
    return Welcome(agent_id=agent_id if isinstance(agent_id, str) else None, enabled=bool(config.get("enabled", True)))


def region(machine: Machine) -> str:
    """The region of a machine, as metadata spells it."""
    return machine.pool.region


def zone_of(pool_id: str) -> str:
    """What follows the last dot (T25)."""
    return pool_id.rpartition(".")[2]


def is_number(value: object) -> bool:
    """A JSON number; true and false compare like numbers in the agents, too."""
    return isinstance(value, int | float)


def offset_time(at: datetime) -> str:
    """As v4c writes it: ``+00:00`` and microseconds."""
    return at.isoformat(timespec="microseconds")


def zulu_time(at: datetime) -> str:
    """As v2 writes it: microseconds and ``Z``."""
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def aws_time(at: datetime) -> str:
    """As AWS writes it and agents quote it: whole seconds and ``Z``."""
    return at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def naive_time(at: datetime) -> str:
    """As v5 writes it: UTC without saying so (T24)."""
    return at.replace(tzinfo=None).isoformat(timespec="microseconds")
