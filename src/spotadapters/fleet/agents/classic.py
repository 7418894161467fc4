"""What v2 and v4c share: registration, configuration, reading commands, and the switch itself."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import define, frozen

from spotadapters.fleet.agents.base import Agent, is_number, read_welcome, region, zone_of
from spotadapters.fleet.machines import CloudRefusal, Machine, MachineState
from spotadapters.fleet.script import Response, Sleep, Steps
from spotcore.pools import Mode

UNKNOWN: Final = "unknown"  # what they register with where metadata failed
HEARTBEAT_SECONDS: Final = 30.0
COMMANDS_SECONDS: Final = 15.0
CONFIG_SECONDS: Final = 60.0
PRICING_SECONDS: Final = 300.0
PAUSE_BEFORE_TRAFFIC_SECONDS: Final = 2.0
BOOT_LIMIT_SECONDS: Final = 600.0  # not on the wire: the usual limit of the AWS client
MANUAL_PRIORITY: Final = 50
COMMAND_LIST_KEYS: Final = ("commands", "pending_commands", "data")


@frozen(kw_only=True)
class Move:
    """A switch that came through, as its report tells it."""

    old: Machine
    new: Machine
    mode: str  # as commanded, even when the launch was on-demand for want of a pool
    pool_id: str | None
    trigger: str
    initiated_at: datetime
    launched_at: datetime
    ready_at: datetime
    switched_at: datetime
    old_ended_at: datetime | None


@frozen
class Failed:
    """A switch that did not come through."""

    reason: str


@define(kw_only=True)
class ClassicAgent(Agent):
    """A build that fetches ``pending-commands`` and switches by launching, reporting and perhaps ending itself."""

    @abstractmethod
    def registration(self) -> dict[str, Any]:
        """The body of the registration."""

    @abstractmethod
    def heartbeat_body(self) -> dict[str, Any]:
        """The body of a heartbeat."""

    @abstractmethod
    def pricing_body(self, machine: Machine, pools: list[dict[str, Any]]) -> dict[str, Any]:
        """The body of a price report."""

    @abstractmethod
    def report_body(self, move: Move) -> dict[str, Any]:
        """The body of a switch report."""

    @abstractmethod
    def obey(self, command: Mapping[str, Any]) -> Steps[bool]:
        """Carry out one command; False when it was not usable, so that the next one of the answer is tried."""

    @abstractmethod
    def loops(self) -> list[Steps[None]]:
        """What runs once registered."""

    def common_registration(self) -> dict[str, Any]:
        """What both builds register with; metadata that failed reads ``unknown``."""
        machine = self.host.metadata()
        return {
            "client_token": self.installation.client_token,
            "hostname": f"ip-{machine.private_ip.replace('.', '-')}" if machine else UNKNOWN,
            "instance_id": machine.instance_id if machine else UNKNOWN,
            "instance_type": machine.instance_type if machine else UNKNOWN,
            "region": region(machine) if machine else UNKNOWN,
            "az": machine.az if machine else UNKNOWN,
            "ami_id": machine.ami_id if machine else UNKNOWN,
            "agent_version": self.VERSION,
            "logical_agent_id": self.installation.logical_id or (machine.instance_id if machine else UNKNOWN),
        }

    def register(self) -> Steps[bool]:
        """True once the server has given an id."""
        welcome = read_welcome(self.host, (yield from self.call("POST", "/api/agents/register", self.registration())))
        if welcome is None or welcome.agent_id is None:
            return False
        self.agent_id, self.enabled = welcome.agent_id, welcome.enabled
        return True

    def farewell(self) -> Steps[None]:
        """The ``offline`` heartbeat, which names no machine; to agent ``None`` after a failed registration."""
        yield from self.post("heartbeat", {"status": "offline", "monitored_instances": []})

    def heartbeat(self) -> Steps[None]:
        """Only 2xx or not matters, and this build does not even act on that."""
        yield from self.post("heartbeat", self.heartbeat_body())

    def config(self) -> Steps[None]:
        """``enabled`` at the top level; missing means true."""
        answer = yield from self.get("config")
        if answer.ok:
            self.enabled = bool(answer.fields.get("enabled", True))

    def pricing(self) -> Steps[None]:
        """Prices of the own type in the own region."""
        machine = self.host.me()
        yield from self.post("pricing-report", self.pricing_body(machine, self.spot_pools(machine)))

    def commands(self) -> Steps[None]:
        """Fetch, carry out the first usable command, and no more until the next turn. Nothing while disabled (Z24)."""
        if not self.enabled:
            return
        answer = yield from self.get("pending-commands")
        for command in listed_commands(answer) if answer.ok else []:
            if (yield from self.obey(command)):
                return

    def switch(self, command: Mapping[str, Any], wait_seconds: float) -> Steps[Move | Failed]:
        """Launch a machine of the same type and image, perhaps wait and end the own one, and report.

        The own machine may be gone before the report is sent: then nothing after that line happens (Z21).
        """
        old = self.host.me()
        initiated_at = self.host.now()
        pool_id = command.get("target_pool_id")
        on_spot = command["target_mode"] == Mode.SPOT and bool(pool_id)
        try:
            new = self.host.launch(
                agent_id=self.agent_id,
                order=f"command {command['id']}",
                az=zone_of(str(pool_id)) if on_spot else old.az,
                mode=Mode.SPOT if on_spot else Mode.ONDEMAND,
            )
        except CloudRefusal as refusal:
            return Failed(str(refusal))
        if command["target_mode"] == Mode.SPOT and not on_spot:
            self.host.wronged("T07", "spot_without_pool", command=command["id"])
        launched_at = self.host.now()
        if not (yield from self.wait_until(new.instance_id, MachineState.RUNNING, seconds=BOOT_LIMIT_SECONDS)):
            return Failed(f"{new.instance_id} did not start")
        ready_at = self.host.now()
        priority = command.get("priority", 0)
        if not is_number(priority):
            self.host.wronged("T10", "priority_is_no_number", command=command["id"], orphan=new.instance_id)
            return Failed("the priority is not a number")
        yield Sleep(PAUSE_BEFORE_TRAFFIC_SECONDS)
        switched_at = self.host.now()
        move = Move(
            old=old,
            new=new,
            mode=command["target_mode"],
            pool_id=pool_id if command["target_mode"] == Mode.SPOT else None,
            trigger="manual" if priority >= MANUAL_PRIORITY else "model",
            initiated_at=initiated_at,
            launched_at=launched_at,
            ready_at=ready_at,
            switched_at=switched_at,
            old_ended_at=(yield from self._end_myself(wait_seconds)),
        )
        yield from self.post("switch-report", self.report_body(move))
        return move

    def _end_myself(self, wait_seconds: float) -> Steps[datetime | None]:
        """When the own machine was told to end; None when it stays."""
        if wait_seconds <= 0:
            return None
        yield Sleep(wait_seconds)
        try:
            self.host.end_myself("switched")
        except CloudRefusal:
            return None
        return self.host.now()

    def described(self, machine: Machine, mode: str, pool_id: str | None) -> dict[str, Any]:
        """One side of a switch report."""
        return {
            "instance_id": machine.instance_id,
            "instance_type": machine.instance_type,
            "region": region(machine),
            "az": machine.az,
            "ami_id": machine.ami_id,
            "mode": mode,
            "pool_id": pool_id,
        }

    def switch_prices(self, move: Move, *, unknown: float | None) -> dict[str, Any]:
        """``prices``: the spot price of a side only if that side is spot. ``unknown`` stands for a new one that
        could not be read."""
        listed = {one["pool_id"]: one["price"] for one in self.spot_pools(move.old)}
        on_demand = self.host.cloud.on_demand_price(move.old.instance_type)
        prices: dict[str, Any] = {"on_demand": None if on_demand is None else float(on_demand)}
        if move.old.mode is Mode.SPOT:
            prices["old_spot"] = listed.get(move.old.pool.pool_id)
        if move.mode == Mode.SPOT:
            prices["new_spot"] = listed.get(move.pool_id or "", unknown)
        return prices


def listed_commands(answer: Response) -> list[dict[str, Any]]:
    """A bare list, or whatever stands under the first present of three keys; what is no object is skipped."""
    found = answer.json
    if isinstance(found, dict):
        found = next((found[key] for key in COMMAND_LIST_KEYS if key in found), [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
