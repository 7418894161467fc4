"""v4c (reports 4.0.0): switches, replicas, both notices, clean-up; loops that run at once and remember nothing."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from spotadapters.fleet.agents.base import NO_PRICE_LIST, is_number, offset_time, region, zone_of
from spotadapters.fleet.agents.classic import (
    BOOT_LIMIT_SECONDS,
    COMMANDS_SECONDS,
    CONFIG_SECONDS,
    HEARTBEAT_SECONDS,
    PRICING_SECONDS,
    ClassicAgent,
    Move,
)
from spotadapters.fleet.agents.v4c_notices import rebalance_turn, termination_turn
from spotadapters.fleet.agents.v4c_replicas import end_replicas, end_zombies, launch_replicas
from spotadapters.fleet.machines import CloudRefusal, Machine, MachineState
from spotadapters.fleet.script import Spawn, Steps
from spotcore.builds import Build
from spotcore.pools import Mode

REPLICAS_SECONDS: Final = 30.0
TERMINATE_LIST_SECONDS: Final = 60.0
CLEANUP_SECONDS: Final = 3600.0
REBALANCE_SECONDS: Final = 30.0
TERMINATION_SECONDS: Final = 5.0
CREATE_REPLICA: Final = "create_replica"


@define(kw_only=True)
class V4cAgent(ClassicAgent):
    """The able classic build.

    Nine loops, though the wire shows ten kinds of poll: the two replica lists have one rhythm and share a loop here,
    the launching one first.
    """

    BUILD = Build.V4C
    VERSION = "4.0.0"

    tried_replicas: set[object] = field(factory=set)  # each id is ended once per run, even when AWS refused
    rebalance_told: bool = False
    termination_told: bool = False

    def main(self) -> Steps[None]:
        """Register or end; then nine loops."""
        if not (yield from self.register()):
            yield from self.leave(restart=True)
            return
        for loop in self.loops():
            yield Spawn(loop)

    def loops(self) -> list[Steps[None]]:
        """All but the command loop go on while the agent is disabled."""
        return [
            self.every(HEARTBEAT_SECONDS, self.heartbeat),
            self.every(COMMANDS_SECONDS, self.commands),
            self.every(CONFIG_SECONDS, self.config),
            self.every(PRICING_SECONDS, self.pricing),
            self.every(REPLICAS_SECONDS, self.replicas),
            self.every(TERMINATE_LIST_SECONDS, lambda: end_zombies(self), first_after=TERMINATE_LIST_SECONDS),
            self.every(CLEANUP_SECONDS, self.cleanup, first_after=60.0),
            self.every(REBALANCE_SECONDS, lambda: rebalance_turn(self)),
            self.every(TERMINATION_SECONDS, lambda: termination_turn(self)),
        ]

    def registration(self) -> dict[str, Any]:
        """With mode and addresses; a host without a public address sends null."""
        machine = self.host.metadata()
        return {
            **self.common_registration(),
            "mode": self.host.me().mode.value,
            "private_ip": machine.private_ip if machine else None,
            "public_ip": machine.public_ip if machine else None,
        }

    def heartbeat_body(self) -> dict[str, Any]:
        """Names its machine; type and zone are null while metadata fails."""
        machine = self.host.metadata()
        return {
            "status": "online" if self.enabled else "disabled",
            "monitored_instances": [self.host.instance_id],
            "instance_id": self.host.instance_id,
            "instance_type": machine.instance_type if machine else None,
            "mode": self.host.me().mode.value,
            "az": machine.az if machine else None,
        }

    def pricing_body(self, machine: Machine, pools: list[dict[str, Any]]) -> dict[str, Any]:
        """Shape B (E74). Off spot the own price, the cheapest pool and the pool id are null, the list is not."""
        on_spot = machine.mode is Mode.SPOT
        cheapest = min(pools, key=lambda one: float(one["price"]), default=None) if on_spot else None
        return {
            "instance": {
                "instance_id": machine.instance_id,
                "instance_type": machine.instance_type,
                "region": region(machine),
                "az": machine.az,
                "mode": machine.mode.value,
                "pool_id": machine.pool_id,
            },
            "pricing": {
                "on_demand_price": self._on_demand(machine, pools),
                "current_spot_price": next((o["price"] for o in pools if o["pool_id"] == machine.pool_id), None),
                "cheapest_pool": cheapest and {"pool_id": cheapest["pool_id"], "price": cheapest["price"]},
                "spot_pools": pools,
                "collected_at": offset_time(self.host.now()),
            },
        }

    def _on_demand(self, machine: Machine, pools: list[dict[str, Any]]) -> float:
        """The list price; without a list three times the mean spot price, and 0.1 without that (Z33)."""
        listed = self.host.cloud.on_demand_price(machine.instance_type)
        if listed is not None:
            return float(listed)
        return 3 * sum(float(one["price"]) for one in pools) / len(pools) if pools else NO_PRICE_LIST

    def replicas(self) -> Steps[None]:
        """Both lists, which it reads also while disabled."""
        yield from launch_replicas(self)
        yield from end_replicas(self)

    def cleanup(self) -> Steps[None]:
        """Old snapshots and images; the simulated account has none."""
        now = offset_time(self.host.now())
        yield from self.post(
            "cleanup-report",
            {
                "timestamp": now,
                "snapshots": {"type": "snapshots", "deleted": [], "failed": [], "cutoff_date": now},
                "amis": {
                    "type": "amis",
                    "deleted_amis": [],
                    "deleted_snapshots": [],
                    "failed": [],
                    "cutoff_date": now,
                },
            },
        )

    def obey(self, command: Mapping[str, Any]) -> Steps[bool]:
        """``create_replica``, or else a switch. It does not remember ids: handed out twice means done twice (T08)."""
        if not command.get("id"):
            return False
        if command.get("command_type") == CREATE_REPLICA:
            yield from self._create_replica(command)
            return True
        if command.get("target_mode") is None:
            return False  # never acknowledged, asked again forever
        wait = command.get("terminate_wait_seconds", 0)
        if not is_number(wait):
            self.host.wronged("T10", "terminate_wait_is_no_number", command=command["id"])
            return True  # fails before it starts, with the rest of the answer, and without acknowledgement
        outcome = yield from self.switch(command, wait)
        done = isinstance(outcome, Move)
        yield from self._acknowledge(command, done, "switched" if isinstance(outcome, Move) else outcome.reason)
        if isinstance(outcome, Move) and outcome.old_ended_at is not None:
            yield from self.leave()
        return True

    def _acknowledge(self, command: Mapping[str, Any], success: bool, message: str) -> Steps[None]:
        yield from self.post(f"commands/{command['id']}/executed", {"success": success, "message": message})

    def report_body(self, move: Move) -> dict[str, Any]:
        """``prices``, not ``pricing``; no command id; the end of the old machine only if it was ended."""
        timing = {
            "switch_initiated_at": offset_time(move.initiated_at),
            "new_instance_launched_at": offset_time(move.launched_at),
            "new_instance_ready_at": offset_time(move.ready_at),
            "traffic_switched_at": offset_time(move.switched_at),
        }
        if move.old_ended_at is not None:
            timing["old_instance_terminated_at"] = offset_time(move.old_ended_at)
        return {
            "old_instance": self.described(move.old, move.old.mode.value, move.old.pool_id),
            "new_instance": self.described(move.new, move.mode, move.pool_id),
            "snapshot": {"used": False},
            "prices": self.switch_prices(move, unknown=None),
            "timing": timing,
            "trigger": move.trigger,
        }

    def _create_replica(self, command: Mapping[str, Any]) -> Steps[None]:
        """Launch first, tell afterwards (E45); without a replica id in the answer the machine is forgotten."""
        pool_id = command.get("target_pool_id")
        me = self.host.me()
        try:
            machine = self.host.launch(
                agent_id=self.agent_id,
                order=f"command {command['id']}",
                az=zone_of(pool_id) if pool_id else me.az,
                mode=Mode.SPOT,
            )
        except CloudRefusal as refusal:
            yield from self._acknowledge(command, False, str(refusal))
            return
        answer = yield from self.post(
            "replicas",
            {
                "instance_id": machine.instance_id,
                "replica_type": "manual",
                "parent_instance_id": me.instance_id,
                "pool_id": pool_id,
                "status": "launching",
            },
        )
        replica_id = answer.fields.get("replica_id") if answer.ok else None
        if not replica_id:
            self.host.did("forgot", machine=machine.instance_id)
            yield from self._acknowledge(command, False, "no replica id")
            return
        started = {"status": "syncing", "sync_started_at": offset_time(self.host.now())}
        yield from self.post(f"replicas/{replica_id}/status", started)
        yield from self.wait_until(machine.instance_id, MachineState.RUNNING, seconds=BOOT_LIMIT_SECONDS)
        completed = {"status": "ready", "sync_completed_at": offset_time(self.host.now())}
        yield from self.post(f"replicas/{replica_id}/status", completed)
        yield from self._acknowledge(command, True, "replica created")
