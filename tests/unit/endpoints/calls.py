"""One good call of every endpoint that agents and operators use on agents, and a scene in which it succeeds."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from tests.support.server import Reply, Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import Desk

A, M, MACHINES = "/api/agents/{agent}", "/api/client/agents/{agent}", "/api/client/instances"
DEADLINE = "2026-03-02T12:02:00Z"
WHO = {"instance_type": TYPE, "region": "us-east-1", "az": "us-east-1a"}
CALLS: dict[str, tuple[str, str, Any, str]] = {  # method, path, body, and which host of the scene it is about
    "E16": ("POST", "/api/agents/register", {"instance_id": "{machine}", "logical_agent_id": "{logical}", **WHO}, "plain"),
    "E17": ("POST", A + "/heartbeat", {"status": "online", "instance_id": "{machine}"}, "plain"),
    "E18": ("GET", A + "/config", None, "plain"),
    "E19": ("POST", M + "/toggle-enabled", {"enabled": True}, "plain"),
    "E20": ("POST", M + "/config", {"terminateWaitMinutes": 9}, "plain"),
    "E21": ("DELETE", M, None, "plain"),
    "E25": ("POST", M + "/settings", {"risk_threshold": 0.9}, "plain"),
    "E26": ("GET", A, None, "plain"),
    "E27": ("POST", A + "/shutdown", {"cloud_instance_id": "{machine}"}, "plain"),
    "E28": ("POST", "/api/agents/uninstall", {"instance_id": "{machine}"}, "plain"),
    "E34": ("POST", MACHINES + "/{machine}/force-switch", {"target": "ondemand"}, "plain"),
    "E38": ("POST", MACHINES + "/launch", {"agent_id": "{agent}"}, "modern"),
    "E39": ("POST", MACHINES + "/{standby}/terminate", {}, "guarded"),
    "E40": ("POST", A + "/instance-launched", {"temp_instance_id": "{temp}", "instance_id": "{new}"}, "launching"),
    "E41": ("POST", A + "/instance-terminated", {"instance_id": "{standby}"}, "guarded"),
    "E43": ("GET", A + "/replicas", None, "guarded"),
    "E44": ("GET", A + "/replica-config", None, "plain"),
    "E45": ("POST", A + "/replicas", {"instance_id": "{new}", "pool_id": f"{TYPE}.us-east-1b"}, "plain"),
    "E46": ("POST", A + "/replicas/{replica}/promote", {}, "guarded"),
    "E47": ("DELETE", A + "/replicas/{replica}", None, "guarded"),
    "E48": ("PUT", A + "/replicas/{replica}", {"sync_status": "synced"}, "guarded"),
    "E49": ("POST", A + "/replicas/{replica}/status", {"status": "terminated"}, "guarded"),
    "E50": ("POST", A + "/replicas/{replica}/sync-status", {"sync_latency_ms": 5}, "guarded"),
    "E51": ("POST", A + "/create-emergency-replica", {"signal_type": "rebalance", "instance_id": "{machine}"}, "plain"),
    "E52": ("POST", A + "/termination-imminent", {"instance_id": "{machine}", "termination_time": DEADLINE}, "guarded"),
    "E53": ("POST", A + "/rebalance-recommendation", {"instance_id": "{machine}"}, "plain"),
    "E54": ("POST", A + "/termination", {"instance_id": "{standby}"}, "guarded"),
    "E55": ("GET", A + "/instances-to-terminate", None, "plain"),
    "E56": ("POST", A + "/termination-report", {"instance_id": "{standby}", "success": True}, "guarded"),
    "E57": ("GET", A + "/emergency-status", None, "plain"),
    "E58": ("POST", A + "/rebalance-notice", {"notice_time": DEADLINE, "instance_id": "{machine}"}, "plain"),
    "E59": ("POST", A + "/termination-notice", {"termination_time": DEADLINE, "instance_id": "{machine}"}, "guarded"),
    "E60": ("GET", A + "/switch-recommendation", None, "plain"),
    "E61": ("POST", A + "/issue-switch-command", {"target_mode": "ondemand"}, "plain"),
    "E62": ("POST", A + "/decide", {}, "plain"),
    "E69": ("GET", A + "/pending-commands", None, "plain"),
    "E70": ("POST", A + "/commands/{command}/executed", {"success": False}, "switching"),
    "E71": ("GET", A + "/commands/pending", None, "modern"),
    "E72": ("POST", A + "/action-result", {"request_id": "{request}", "result": "FAILURE"}, "launching"),
    "E73": ("POST", A + "/mark-command-executed", {"command_id": "{command}", "success": False}, "switching"),
    "E74": ("POST", A + "/pricing-report", {"spot_pools": [{"pool_id": f"{TYPE}.us-east-1b", "price": 0.02}]}, "plain"),
    "E75": ("POST", A + "/switch-report", {"old_instance_id": "{machine}", "new_instance_id": "{new}"}, "switching"),
    "E76": ("POST", A + "/cleanup-report", {"snapshots": {"deleted": ["s"]}}, "plain"),
}  # fmt: skip
CREATED = {"E38", "E45", "E51", "E61"}  # 201 in this scene
NOT_MIRRORED = {"E19", "E20", "E21", "E25", "E34", "E38", "E39"}
WITH_MESSAGE = {"E21", "E34", "E47", "E50", "E52", "E56", "E59", "E61", "E76"}
OF_CLIENT_ALONE = set(CALLS) - NOT_MIRRORED - {"E43", "E45", "E46", "E47", "E50", "E57", "E58", "E59", "E60", "E61"}


class Scene:
    """A tenant whose hosts come to be when a call needs them."""

    def __init__(self, desk: Desk, tenant: Tenant) -> None:
        self.desk, self.tenant = desk, tenant

    def named(self, number: str) -> dict[str, str]:
        """The host a call is about, as the names in its path and body. Building it may need an active client."""
        found: dict[str, str] = getattr(self, CALLS[number][3])
        return {**found, "new": self.desk.new_machine()}

    def call(self, number: str, *, names: dict[str, str] | None = None, more: Any = None, **how: Any) -> Reply:
        """The good call; ``more`` joins its body."""
        method, path, body, _ = CALLS[number]
        known = names or self.named(number)
        filled = {**_filled(body, known), **more} if more else _filled(body, known)
        caller = how.pop("caller", self.tenant)
        answer: Reply = caller.call(method, path.format_map(known), filled, **how)
        return answer

    def _facts(self, host: Any, **more: str) -> dict[str, str]:
        return {"agent": host.agent_id, "machine": host.machine, "logical": host.logical, **more}

    @cached_property
    def plain(self) -> dict[str, str]:
        """A v4c at work."""
        return self._facts(self.desk.host("v4c", self.tenant, logical="plain"))

    @cached_property
    def modern(self) -> dict[str, str]:
        """A v5 at work."""
        return self._facts(self.desk.host("v5", self.tenant))

    def _once(self, make: Callable[[], dict[str, str]]) -> dict[str, str]:
        found: dict[str, str] = self.desk.once((make.__name__, self.tenant.client_id), make)
        return found

    @cached_property
    def guarded(self) -> dict[str, str]:
        """A v4c with a manual replica that is ready."""
        return self._once(self._guarded)

    @cached_property
    def switching(self) -> dict[str, str]:
        """A v4c that has fetched a switch."""
        return self._once(self._switching)

    @cached_property
    def launching(self) -> dict[str, str]:
        """A v5 that has fetched the launch of a replica."""
        return self._once(self._launching)

    def _guarded(self) -> dict[str, str]:
        host = self.desk.host("v4c", self.tenant, logical="guarded")
        self.tenant.post(f"/api/client/agents/{host.agent_id}/config", {"manualReplicaEnabled": True})
        [entry] = host.to_launch()
        machine = self.desk.new_machine()
        host.launch_replica(entry, machine)
        return self._facts(host, replica=entry["id"], standby=machine)

    def _switching(self) -> dict[str, str]:
        host = self.desk.host("v4c", self.tenant, logical="switching")
        self.tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
        [item] = host.commands()
        return self._facts(host, command=item["id"])

    def _launching(self) -> dict[str, str]:
        host = self.desk.host("v5", self.tenant)
        self.tenant.post("/api/client/instances/launch", {"agent_id": host.agent_id})
        [item] = host.commands()
        return self._facts(host, temp=item["instance_id"], request=item["request_id"])


def _filled(value: Any, names: dict[str, str]) -> Any:
    match value:
        case dict():
            return {name: _filled(one, names) for name, one in value.items()}
        case list():
            return [_filled(one, names) for one in value]
        case str():
            return value.format_map(names)
        case _:
            return value
