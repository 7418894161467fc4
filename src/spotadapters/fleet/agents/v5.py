"""v5 (reports 5.0.1-production): single commands, one at a time, and silence after one failed heartbeat."""

from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

from spotadapters.fleet.agents.base import Agent, aws_time, naive_time, region
from spotadapters.fleet.agents.v5_commands import Mood, Result, execute
from spotadapters.fleet.machines import CloudRefusal
from spotadapters.fleet.script import Content, Response, Sleep, Spawn, Steps
from spotcore.builds import Build

HEARTBEAT_SECONDS: Final = 30.0
COMMANDS_SECONDS: Final = 5.0
PRICING_SECONDS: Final = 300.0
FIRST_PRICING_SECONDS: Final = 60.0
NOTICE_SECONDS: Final = 10.0
LONGEST_BACKOFF_SECONDS: Final = 300.0
STORED_ID: Final = "agent_id"  # file on the disk


@define(kw_only=True)
class V5Agent(Agent):
    """The modern build.

    A failed request makes its loop sleep 2, 4, 8 … 300 s (read as: on top of the loop's own pause). The logical id is
    always the instance id; the id the server gave is kept on the disk and used again after a restart.
    """

    BUILD = Build.V5
    VERSION = "5.0.1-production"
    KEEPS_BASE_PATH = True

    mood: Mood = Mood.ONLINE
    failures: int = 0  # one counter for all loops
    settings: dict[str, Any] = field(factory=dict)
    results: dict[object, Result] = field(factory=dict)  # by request id, within one run

    def main(self) -> Steps[None]:
        """Reconnect with the stored id or register; then four loops."""
        if not ((yield from self._reconnect()) or (yield from self._register())):
            self.agent_id = None
            yield from self.leave(restart=True)
            return
        yield Spawn(self._loop(HEARTBEAT_SECONDS, self.heartbeat))
        yield Spawn(self._loop(COMMANDS_SECONDS, self.commands))
        yield Spawn(self._loop(PRICING_SECONDS, self.pricing, first_after=FIRST_PRICING_SECONDS))
        yield Spawn(self._loop(NOTICE_SECONDS, self.notices))

    def farewell(self) -> Steps[None]:
        """There is no ``offline`` heartbeat; this is the sign."""
        body = {
            "cloud_instance_id": self.host.instance_id,
            "timestamp": naive_time(self.host.now()),
            "metadata": {"uptime": self.host.uptime_seconds(), "final_state": self.mood.value},
        }
        yield from self.post("shutdown", body)

    def call(self, method: str, path: str, body: Any = None) -> Steps[Response]:
        """As the others, but an empty answer is a failure, and a failure makes the loop sleep."""
        answer = yield from Agent.call(self, method, path, body)
        if answer.ok and answer.content is Content.JSON:
            self.failures = 0
            return answer
        self.failures += 1
        if not path.endswith(("/heartbeat", "/register", "/shutdown")):
            yield Sleep(min(2.0**self.failures, LONGEST_BACKOFF_SECONDS))
        return answer

    # ---- coming up

    def _reconnect(self) -> Steps[bool]:
        """A heartbeat under the stored id; a refusal makes it forget the id."""
        self.agent_id = self.host.disk.get(STORED_ID)
        if self.agent_id is None:
            return False
        answer = yield from self.post("heartbeat", self.heartbeat_body({}, reconnect=True))
        if _fruitful(answer):
            self._apply_config(answer)
            return True
        del self.host.disk[STORED_ID]
        return False

    def _register(self) -> Steps[bool]:
        answer = yield from self.call("POST", "/api/agents/register", self.registration())
        if not _fruitful(answer):
            return False
        agent_id = answer.fields.get("agent_id")
        if not isinstance(agent_id, str) or not isinstance(answer.fields.get("config", {}), dict):
            self.host.wronged("T02", "unreadable_registration", answer=answer.json)
            return False
        self.agent_id = self.host.disk[STORED_ID] = agent_id
        self._apply_config(answer)
        return True

    def registration(self) -> dict[str, Any]:
        """The mode is always ``unknown``: only the inventory tells it."""
        machine = self.host.me()
        return {
            "cloud_account": self.installation.cloud_account,
            "project_id": "default",
            "region": region(machine),
            "hostname": f"ip-{machine.private_ip.replace('.', '-')}",
            "agent_version": self.VERSION,
            "instance_id": machine.instance_id,
            "instance_type": machine.instance_type,
            "az": machine.az,
            "ami_id": machine.ami_id,
            "mode": "unknown",
            "logical_agent_id": machine.instance_id,
        }

    def _apply_config(self, answer: Response) -> None:
        config = answer.fields.get("config")
        if isinstance(config, dict):
            for name in ("auto_switch_enabled", "auto_terminate_enabled"):
                self.settings[name] = config.get(name, False)

    # ---- the loops

    def _loop(self, seconds: float, turn: Callable[[], Steps[None]], *, first_after: float = 0.0) -> Steps[None]:
        """Deaf and dumb while a command is executed, and forever once offline."""

        def guarded() -> Steps[None]:
            if self.mood is Mood.ONLINE:
                yield from turn()

        return self.every(seconds, guarded, first_after=first_after)

    def heartbeat(self) -> Steps[None]:
        """One answer that is not a non-empty JSON object puts it offline for good (T03)."""
        answer = yield from self.post("heartbeat", self.heartbeat_body(self._inventory(), reconnect=False))
        if not _fruitful(answer):
            self.mood = Mood.OFFLINE
            self.host.wronged("T03", "silenced", status=answer.status)
            return
        self._apply_config(answer)

    def heartbeat_body(self, inventory: dict[str, Any], *, reconnect: bool) -> dict[str, Any]:
        """Names no machine of its own."""
        return {
            "status": "online",
            "inventory_snapshot": inventory,
            "health_metrics": {"uptime": self.host.uptime_seconds(), "cpu_percent": 12.5, "memory_percent": 40.0},
            "reconnect": reconnect,
        }

    def _inventory(self) -> dict[str, Any]:
        """Everything in the account's region, not only what is managed (T18); an error reads as an empty list."""
        try:
            machines = self.host.cloud.inventory(region(self.host.me()))
        except CloudRefusal as refusal:
            return {"instances": [], "count": 0, "error": str(refusal)}
        instances = [
            {
                "instance_id": one.instance_id,
                "state": one.state.value,
                "az": one.az,
                "instance_type": one.instance_type,
                "pool": one.pool_id,
                "tags": dict(one.tags),
                "launch_time": naive_time(one.launched_at),
                "private_ip": one.private_ip,
                "public_ip": one.public_ip,
            }
            for one in machines
        ]
        return {"instances": instances, "count": len(instances)}

    def commands(self) -> Steps[None]:
        """All commands of the answer, in order, each reported by its request id."""
        answer = yield from self.get("commands/pending")
        listed = answer.fields.get("commands") if answer.ok else None  # a bare list is ignored
        for command in listed if isinstance(listed, list) else []:
            if self.mood is not Mood.ONLINE:
                return
            yield from execute(self, command)

    def pricing(self) -> Steps[None]:
        """Two record shapes in one list (E74 shape C)."""
        machine = self.host.me()
        now = naive_time(self.host.now())
        records: list[dict[str, Any]] = [
            {
                "instance_type": one["instance_type"],
                "az": one["az"],
                "pool_id": one["pool_id"],
                "spot_price": one["price"],
                "timestamp": now,
            }
            for one in self.spot_pools(machine)
        ]
        on_demand = self.host.cloud.on_demand_price(machine.instance_type)
        if on_demand is not None:
            record = {"instance_type": machine.instance_type, "price_type": "ondemand", "price": float(on_demand)}
            records.append({**record, "timestamp": now})
        body = {"agent_id": self.agent_id, "pricing_data_array": records, "timestamp": now}
        yield from self.post("pricing-report", body)

    def notices(self) -> Steps[None]:
        """The spot instance action, told again every 10 s while it stands, on spot or not. No rebalance signal."""
        machine = self.host.metadata()
        if machine is None or machine.spot_action is None:
            return
        at = aws_time(machine.spot_action.at)
        about = {"cloud_instance_id": machine.instance_id}
        if machine.spot_action.action == "terminate":
            yield from self.post("termination-report", {**about, "notice_type": "TERMINATION", "termination_time": at})
        else:
            yield from self.post("rebalance-recommendation", {**about, "notice_type": "REBALANCE", "notice_time": at})


def _fruitful(answer: Response) -> bool:
    """A 2xx whose body is JSON and not falsy."""
    return answer.ok and answer.content is Content.JSON and bool(answer.json)
