"""Hosts that run the deployed agent builds and speak their exact HTTP (domain: who sends what, when).

A host is a handful of loops, each a due time and an interval in virtual seconds; ``fleet.py`` runs them.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from attrs import define, field

from spotapp.demo.cloud import Cloud, Machine
from spotapp.demo.prices import ZONES, Prices

REGION = "us-east-1"
IMAGE = "ami-0demo"


class Api(Protocol):
    """Sends a request and gives status and JSON; 599 and nothing when there was no answer."""

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]: ...


@define
class Loop:
    """A repeated action of a host."""

    due: datetime
    every: float
    act: Callable[[datetime], None]


@define
class World:
    """What hosts share."""

    cloud: Cloud
    prices: Prices
    api: Api
    start_host: Callable[["Host"], None]
    noticed: Callable[[str, str, float], None]  # agent id, machine, milliseconds until the answer


@define(eq=False)
class Host:
    """One machine with one agent process on it."""

    world: World
    machine: Machine
    logical_id: str
    agent_id: str = ""
    alive: bool = True
    loops: list[Loop] = field(factory=list)
    _reported: set[str] = field(factory=set)

    build = "?"
    version = "?"

    def registration(self) -> dict[str, Any]:
        """What every build says of its machine."""
        return {
            "logical_agent_id": self.logical_id, "instance_id": self.machine.cloud_id, "az": self.machine.az,
            "instance_type": self.machine.instance_type, "region": REGION,
            "hostname": f"host-{self.machine.cloud_id[-6:]}", "ami_id": IMAGE, "agent_version": self.version,
        }  # fmt: skip

    def start(self, now: datetime) -> bool:
        """Register; False when refused, then the supervisor tries again later."""
        status, answer = self.world.api("POST", "/api/agents/register", self.registration())
        if status != 200:
            return False
        self.agent_id = answer["agent_id"]
        self.loops = [Loop(now + timedelta(seconds=first), every, act) for first, every, act in self.plan()]
        return True

    def plan(self) -> list[tuple[float, float, Callable[[datetime], None]]]:
        """First due, interval and action of each loop, virtual seconds."""
        raise NotImplementedError

    def path(self, tail: str) -> str:
        """A path of this agent."""
        return f"/api/agents/{self.agent_id}{tail}"

    def post(self, tail: str, body: Any) -> dict[str, Any]:
        """Send a report; an error is logged by real agents and forgotten."""
        return self.world.api("POST", self.path(tail), body)[1]

    def get(self, tail: str) -> dict[str, Any]:
        """Fetch something."""
        return self.world.api("GET", self.path(tail))[1]

    def pools(self, now: datetime) -> list[dict[str, Any]]:
        """Spot prices of the own type in every zone, as the agent reads them from AWS."""
        kind = self.machine.instance_type
        listed = [(az, self.world.prices.spot(kind, az, now)) for az in ZONES]
        return [
            {"pool_id": f"{kind}.{az}", "instance_type": kind, "az": az, "price": price}
            for az, price in listed
            if price
        ]

    def later(self, now: datetime, seconds: float, act: Callable[[datetime], None]) -> None:
        """Do something once."""
        self.loops.append(Loop(now + timedelta(seconds=seconds), 0, act))

    def timed(self, send: Callable[[], dict[str, Any]]) -> None:
        """Send a termination notice and remember how long the answer took."""
        begin = datetime.now(UTC)
        send()
        took = (datetime.now(UTC) - begin).total_seconds() * 1000
        self.world.noticed(self.agent_id, self.machine.cloud_id, took)

    def boot(self, az: str, mode: str, now: datetime) -> Machine:
        """Launch a machine of the own type and image."""
        return self.world.cloud.launch(self.machine.instance_type, az, mode, now)


class ClassicHost(Host):
    """What v2 and v4c share: switches."""

    def plan(self) -> list[tuple[float, float, Callable[[datetime], None]]]:
        return [(1, 30, self.heartbeat), (5, 15, self.commands), (2, 300, self.report_prices)]

    def heartbeat(self, now: datetime) -> None:
        """Every 30 s."""
        raise NotImplementedError

    def report_prices(self, now: datetime) -> None:
        """Every 300 s."""
        raise NotImplementedError

    def acknowledge(self, command: Mapping[str, Any]) -> None:
        """After the switch report."""
        raise NotImplementedError

    def commands(self, now: datetime) -> None:
        """Fetch, and run the first switch."""
        for command in self.get("/pending-commands").get("commands", [])[:1]:
            self.switch(command, now)

    def switch(self, command: Mapping[str, Any], now: datetime) -> None:
        """Launch a machine of the same type and image, and hand over."""
        mode, pool = command["target_mode"], command.get("target_pool_id")
        az = pool.rpartition(".")[2] if mode == "spot" and pool else self.machine.az
        machine = self.boot(az, mode, now)
        seconds = (machine.runs_from - now).total_seconds()
        new = type(self)(self.world, machine, self.logical_id)
        self.later(now, seconds + 2, lambda _: self.world.start_host(new))
        self.later(now, seconds + 4, lambda at: self.finish_switch(command, machine, now, at))

    def finish_switch(self, command: Mapping[str, Any], machine: Machine, begun: datetime, now: datetime) -> None:
        """Report, then acknowledge; with a wait the old host ends itself afterwards."""
        self.post("/switch-report", self.switch_body(machine, begun, now))
        self.acknowledge(command)

    def described(self, machine: Machine) -> dict[str, Any]:
        """A machine in a switch report."""
        return {
            "instance_id": machine.cloud_id, "instance_type": machine.instance_type, "region": REGION, "az": machine.az,
            "ami_id": IMAGE, "mode": machine.mode, "pool_id": machine.pool_id,
        }  # fmt: skip

    def switch_body(self, machine: Machine, begun: datetime, now: datetime) -> dict[str, Any]:
        """The report of a finished switch."""
        kind = self.machine.instance_type
        prices: dict[str, Any] = {"on_demand": self.world.prices.ondemand(kind)}
        if self.machine.mode == "spot":
            prices["old_spot"] = self.world.prices.spot(kind, self.machine.az, now)
        if machine.mode == "spot":
            prices["new_spot"] = self.world.prices.spot(kind, machine.az, now)
        timing = {
            "switch_initiated_at": begun.isoformat(), "new_instance_ready_at": machine.runs_from.isoformat(),
            "traffic_switched_at": (machine.runs_from + timedelta(seconds=2)).isoformat(),
        }  # fmt: skip
        return {
            "old_instance": self.described(self.machine), "new_instance": self.described(machine),
            "snapshot": {"used": False}, "prices": prices, "timing": timing, "trigger": "manual",
        }  # fmt: skip


class V2(ClassicHost):
    """Switches only."""

    build, version = "v2", "3.2.0"

    def registration(self) -> dict[str, Any]:
        return {**super().registration(), "client_token": "in the header"}

    def heartbeat(self, now: datetime) -> None:
        self.post("/heartbeat", {"status": "online", "monitored_instances": [self.machine.cloud_id]})

    def report_prices(self, now: datetime) -> None:
        machine = self.machine
        instance = {
            "instance_id": machine.cloud_id, "instance_type": machine.instance_type, "region": REGION, "az": machine.az,
            "current_mode": machine.mode, "current_pool_id": machine.pool_id,
        }  # fmt: skip
        price = {"price": self.world.prices.ondemand(machine.instance_type)}
        self.post("/pricing-report", {"instance": instance, "on_demand_price": price, "spot_pools": self.pools(now)})

    def acknowledge(self, command: Mapping[str, Any]) -> None:
        self.post("/mark-command-executed", {"command_id": command["id"]})


class V4c(ClassicHost):
    """Switches, replicas, both notices, clean-up."""

    build, version = "v4c", "4.0.0"

    def registration(self) -> dict[str, Any]:
        more = {"client_token": "in the header", "mode": self.machine.mode, "private_ip": "10.0.0.5", "public_ip": None}
        return {**super().registration(), **more}

    def plan(self) -> list[tuple[float, float, Callable[[datetime], None]]]:
        return [
            *super().plan(), (8, 30, self.launch_replicas), (9, 30, self.end_replicas), (60, 60, self.end_machines),
            (3, 5, self.look_for_notice), (4, 30, self.look_for_rebalance),
        ]  # fmt: skip

    def heartbeat(self, now: datetime) -> None:
        machine = self.machine
        body = {
            "status": "online", "monitored_instances": [machine.cloud_id], "instance_id": machine.cloud_id,
            "instance_type": machine.instance_type, "mode": machine.mode, "az": machine.az,
        }  # fmt: skip
        self.post("/heartbeat", body)

    def report_prices(self, now: datetime) -> None:
        machine = self.machine
        instance = {
            "instance_id": machine.cloud_id, "instance_type": machine.instance_type, "region": REGION, "az": machine.az,
            "mode": machine.mode, "pool_id": machine.pool_id,
        }  # fmt: skip
        pricing = {
            "on_demand_price": self.world.prices.ondemand(machine.instance_type), "cheapest_pool": None,
            "current_spot_price": None, "spot_pools": self.pools(now), "collected_at": now.isoformat(),
        }  # fmt: skip
        self.post("/pricing-report", {"instance": instance, "pricing": pricing})

    def acknowledge(self, command: Mapping[str, Any]) -> None:
        self.post(f"/commands/{command['id']}/executed", {"success": True, "message": "switched"})

    def launch_replicas(self, now: datetime) -> None:
        """Launch what is listed; it leaves the list with the PUT."""
        for entry in self.get("/replicas?status=launching").get("replicas", []):
            machine = self.boot(entry["az"], "spot", now)
            body = {"instance_id": machine.cloud_id, "status": "syncing"}
            self.world.api("PUT", self.path(f"/replicas/{entry['id']}"), body)
            seconds = (machine.runs_from - now).total_seconds()
            new = V4c(self.world, machine, self.logical_id)
            self.later(now, seconds, partial(self.replica_ready, str(entry["id"]), new))

    def replica_ready(self, replica_id: str, host: "V4c", _: datetime) -> None:
        """The replica's machine is up, and so is the agent on it."""
        self.post(f"/replicas/{replica_id}/status", {"status": "ready", "sync_completed_at": None})
        self.world.start_host(host)

    def end_replicas(self, now: datetime) -> None:
        """End what is listed, once."""
        for entry in self.get("/replicas?status=terminated").get("replicas", []):
            if entry["id"] not in self._reported and self.world.cloud.end(entry["instance_id"]):
                self._reported.add(entry["id"])
                self.post(f"/replicas/{entry['id']}/status", {"status": "terminated", "is_active": False})

    def end_machines(self, now: datetime) -> None:
        """End every machine named, without asking whose it is."""
        answer = self.get("/instances-to-terminate")
        if answer.get("auto_terminate_enabled"):
            for entry in answer.get("instances", []):
                ended = self.world.cloud.end(entry["instance_id"])
                body = {
                    "instance_id": entry["instance_id"],
                    "success": ended,
                    "error": None,
                    "terminated_at": now.isoformat(),
                }
                self.post("/termination-report", body)

    def look_for_rebalance(self, now: datetime) -> None:
        """Once until the signal clears."""
        if self.machine.rebalance and "rebalance" not in self._reported:
            self._reported.add("rebalance")
            named = {"instance_id": self.machine.cloud_id}
            self.post("/create-emergency-replica", {"signal_type": "rebalance-recommendation", **named})
            self.post("/rebalance-recommendation", {**named, "detected_at": now.isoformat()})

    def look_for_notice(self, now: datetime) -> None:
        """Once per run; success ends the agent."""
        if self.machine.ends_at is None or "termination" in self._reported:
            return
        self._reported.add("termination")
        body = {"instance_id": self.machine.cloud_id, "termination_time": self.machine.ends_at.isoformat()}
        self.timed(lambda: self.post("/create-emergency-replica", {"signal_type": "termination-notice", **body}))
        if self.post("/termination-imminent", {**body, "detected_at": now.isoformat()}).get("success"):
            self.post("/heartbeat", {"status": "offline", "monitored_instances": []})
            self.alive = False


class V4n(Host):
    """Asks for decisions, takes no commands."""

    build, version = "v4n", "4.0.0"

    def registration(self) -> dict[str, Any]:
        return {**super().registration(), "mode": self.machine.mode, "private_ip": None, "public_ip": None}

    def plan(self) -> list[tuple[float, float, Callable[[datetime], None]]]:
        return [(1, 30, self.heartbeat), (60, 300, self.decide)]

    def heartbeat(self, now: datetime) -> None:
        """Every 30 s, followed at once by the config."""
        self.post("/heartbeat", {"status": "online"})
        self.get("/config")

    def decide(self, now: datetime) -> None:
        """Every 300 s; the answer is logged and nothing more."""
        pools = [{**pool, "is_current": pool["az"] == self.machine.az} for pool in self.pools(now)]
        price = self.world.prices.ondemand(self.machine.instance_type)
        self.post("/decide", {"spot_pools": pools, "ondemand_price": price, "current_az": self.machine.az})


class V5(Host):
    """Single commands, in order; deaf while it launches."""

    build, version = "v5", "5.0.1-production"
    busy = False

    def registration(self) -> dict[str, Any]:
        return {**super().registration(), "cloud_account": "", "project_id": "default", "mode": "unknown"}

    def plan(self) -> list[tuple[float, float, Callable[[datetime], None]]]:
        return [
            (1, 30, self.heartbeat), (2, 5, self.commands), (10, 300, self.report_prices),
            (3, 10, self.look_for_notice),
        ]  # fmt: skip

    def heartbeat(self, now: datetime) -> None:
        """With the inventory of the whole region."""
        if self.busy:
            return
        running = [one for one in self.world.cloud.machines().values() if not one.ended]
        entries: list[dict[str, Any]] = [
            {
                "instance_id": one.cloud_id, "state": "running", "az": one.az, "instance_type": one.instance_type,
                "pool": one.pool_id, "tags": {}, "launch_time": None, "private_ip": None, "public_ip": None,
            }
            for one in running[:200]
        ]  # fmt: skip
        snapshot = {"instances": entries, "count": len(entries)}
        self.post(
            "/heartbeat", {"status": "online", "inventory_snapshot": snapshot, "health_metrics": {}, "reconnect": False}
        )

    def report_prices(self, now: datetime) -> None:
        """Two record shapes, mixed; times without a zone."""
        kind, stamp = self.machine.instance_type, now.replace(tzinfo=None).isoformat()
        records: list[dict[str, Any]] = [
            {
                "instance_type": kind,
                "az": pool["az"],
                "pool_id": pool["pool_id"],
                "spot_price": pool["price"],
                "timestamp": stamp,
            }
            for pool in self.pools(now)
        ]
        price = self.world.prices.ondemand(kind)
        records.append({"instance_type": kind, "price_type": "ondemand", "price": price, "timestamp": stamp})
        self.post("/pricing-report", {"agent_id": self.agent_id, "pricing_data_array": records, "timestamp": stamp})

    def commands(self, now: datetime) -> None:
        """Every command of a reply, in order."""
        if self.busy:
            return
        for command in self.get("/commands/pending").get("commands", []):
            match command["command_type"]:
                case "LAUNCH_INSTANCE":
                    self.launch(command, now)
                case "TERMINATE_INSTANCE":
                    self.terminate(command, now)
                case "SELF_DESTRUCT":
                    self.result(command, None)
                    self.alive = False
                case _:
                    self.result(command, None)

    def launch(self, command: Mapping[str, Any], now: datetime) -> None:
        """Spot only if the target's text says so; its own subnet always."""
        mode = "spot" if "spot" in command["params"]["target_pool"] else "ondemand"
        machine = self.boot(self.machine.az, mode, now)
        self.busy = True
        self.later(now, (machine.runs_from - now).total_seconds(), lambda at: self.launched(command, machine, at))

    def launched(self, command: Mapping[str, Any], machine: Machine, now: datetime) -> None:
        """Confirm, report, and let the new host begin."""
        self.busy = False
        body = {
            "temp_instance_id": command["instance_id"], "instance_id": machine.cloud_id, "az": machine.az,
            "instance_type": machine.instance_type, "request_id": command["request_id"],
            "confirmed_at": now.isoformat(),
        }  # fmt: skip
        self.post("/instance-launched", body)
        self.result(command, machine.cloud_id)
        self.world.start_host(V5(self.world, machine, machine.cloud_id))

    def terminate(self, command: Mapping[str, Any], now: datetime) -> None:
        """End a machine, perhaps the own one."""
        target = command["params"]["instance_id"]
        self.world.cloud.end(target)
        body = {"instance_id": target, "request_id": command["request_id"], "confirmed_at": now.isoformat()}
        self.post("/instance-terminated", body)
        self.result(command, target)

    def result(self, command: Mapping[str, Any], machine: str | None) -> None:
        """What came of a command."""
        body = {
            "request_id": command["request_id"], "agent_id": self.agent_id, "result": "SUCCESS",
            "cloud_instance_id": machine, "error_message": None, "metadata": {},
        }  # fmt: skip
        self.post("/action-result", body)

    def look_for_notice(self, now: datetime) -> None:
        """Repeated every 10 s while it stands."""
        if self.machine.ends_at is None or self.busy:
            return
        body = {
            "cloud_instance_id": self.machine.cloud_id, "notice_type": "TERMINATION",
            "termination_time": self.machine.ends_at.replace(tzinfo=None).isoformat(),
        }  # fmt: skip
        if "termination" in self._reported:
            self.post("/termination-report", body)
        else:
            self._reported.add("termination")
            self.timed(lambda: self.post("/termination-report", body))
