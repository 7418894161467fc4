"""v2 (reports 3.2.0): switches only, and acknowledges them whatever became of them."""

from collections.abc import Mapping
from typing import Any

from attrs import define

from spotadapters.fleet.agents.base import NO_PRICE_LIST, region, zulu_time
from spotadapters.fleet.agents.classic import (
    COMMANDS_SECONDS,
    CONFIG_SECONDS,
    HEARTBEAT_SECONDS,
    PRICING_SECONDS,
    ClassicAgent,
    Move,
)
from spotadapters.fleet.machines import Machine
from spotadapters.fleet.script import Spawn, Steps
from spotcore.builds import Build


@define(kw_only=True)
class V2Agent(ClassicAgent):
    """No replicas, notices, clean-up or terminate list; the server's auto-terminate settings do not reach it."""

    BUILD = Build.V2
    VERSION = "3.2.0"

    def main(self) -> Steps[None]:
        """Register or end; then four loops."""
        if not (yield from self.register()):
            yield from self.leave(restart=True)
            return
        for loop in self.loops():
            yield Spawn(loop)

    def loops(self) -> list[Steps[None]]:
        """Heartbeats, commands, configuration, prices."""
        return [
            self.every(HEARTBEAT_SECONDS, self.heartbeat),
            self.every(COMMANDS_SECONDS, self.commands),
            self.every(CONFIG_SECONDS, self.config),
            self.every(PRICING_SECONDS, self.pricing),
        ]

    def registration(self) -> dict[str, Any]:
        """No mode and no addresses."""
        return self.common_registration()

    def heartbeat_body(self) -> dict[str, Any]:
        """Only these two."""
        return {
            "status": "online" if self.enabled else "disabled",
            "monitored_instances": [self.host.instance_id],
        }

    def pricing_body(self, machine: Machine, pools: list[dict[str, Any]]) -> dict[str, Any]:
        """Shape A: no ``pricing`` object, the on-demand price in an object of its own, the pools on top (E74)."""
        on_demand = self.host.cloud.on_demand_price(machine.instance_type)
        return {
            "instance": {
                "instance_id": machine.instance_id,
                "instance_type": machine.instance_type,
                "region": region(machine),
                "az": machine.az,
                "current_mode": machine.mode.value,
                "current_pool_id": machine.pool_id,
            },
            "on_demand_price": {"price": NO_PRICE_LIST if on_demand is None else float(on_demand)},
            "spot_pools": pools,
        }

    def obey(self, command: Mapping[str, Any]) -> Steps[bool]:
        """Everything with a target mode is a switch; without one it is acknowledged and dropped."""
        if not command.get("id"):
            return False
        if command.get("target_mode") is None:
            self.host.did("dropped", command=command["id"])
            yield from self._acknowledge(command)
            return False
        wait = self.installation.terminate_wait_seconds if self.installation.auto_terminate else 0.0
        outcome = yield from self.switch(command, wait)
        yield from self._acknowledge(command)  # after a failure too (T19)
        if isinstance(outcome, Move) and outcome.old_ended_at is not None:
            yield from self.leave()
        return True

    def _acknowledge(self, command: Mapping[str, Any]) -> Steps[None]:
        yield from self.post("mark-command-executed", {"command_id": command["id"]})

    def report_body(self, move: Move) -> dict[str, Any]:
        """Four times ending in ``Z``, the last null if the old machine stays; an unknown new price is 0.0."""
        snapshot: dict[str, Any] = {"used": False}
        if self.installation.with_snapshot:
            tail = move.old.instance_id[2:]
            snapshot = {"used": True, "snapshot_id": f"snap-{tail}", "volume_id": f"vol-{tail}"}
        return {
            "old_instance": self.described(move.old, move.old.mode.value, move.old.pool_id),
            "new_instance": self.described(move.new, move.mode, move.pool_id),
            "snapshot": snapshot,
            "prices": self.switch_prices(move, unknown=0.0),
            "timing": {
                "switch_initiated_at": zulu_time(move.initiated_at),
                "new_instance_ready_at": zulu_time(move.ready_at),
                "traffic_switched_at": zulu_time(move.switched_at),
                "old_instance_terminated_at": zulu_time(move.old_ended_at) if move.old_ended_at else None,
            },
            "trigger": move.trigger,
        }
