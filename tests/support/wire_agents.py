"""What each deployed build sends, byte for byte in shape (agent-wire): bodies for tests to send."""

from typing import Any

from tests.support.server import Reply, Tenant

TYPE = "t3.medium"
REGION = "us-east-1"
POOLS = {"us-east-1a": 0.0208, "us-east-1b": 0.0125, "us-east-1c": 0.0166}
ONDEMAND = 0.0416


def spot_pools(zones: dict[str, float] | None = None) -> list[dict[str, Any]]:
    return [
        {"pool_id": f"{TYPE}.{az}", "instance_type": TYPE, "az": az, "price": price}
        for az, price in (zones or POOLS).items()
    ]


class WireAgent:
    """A host of one build: its machine, its zone, and the agent id it was given."""

    version = "?"

    def __init__(
        self, tenant: Tenant, machine: str, *, logical: str | None = None, az: str = "us-east-1a", mode: str = "spot"
    ) -> None:
        self.tenant, self.machine, self.az, self.mode = tenant, machine, az, mode
        self.logical = logical or machine
        self.agent_id = "None"

    def at(self, path: str) -> str:
        return f"/api/agents/{self.agent_id}{path}"

    def post(self, path: str, body: Any = None, **more: Any) -> Reply:
        return self.tenant.post(self.at(path), body, **more)

    def get(self, path: str) -> Reply:
        return self.tenant.get(self.at(path))

    def registration(self) -> dict[str, Any]:
        return {
            "hostname": f"ip-{self.machine}", "instance_id": self.machine, "instance_type": TYPE, "region": REGION,
            "az": self.az, "ami_id": "ami-0abc", "agent_version": self.version, "logical_agent_id": self.logical,
        }  # fmt: skip

    def register(self) -> Reply:
        answer = self.tenant.post("/api/agents/register", self.registration())
        if answer.status == 200:
            self.agent_id = answer.body["agent_id"]
        return answer


class V4c(WireAgent):
    version = "4.0.0"

    def registration(self) -> dict[str, Any]:
        return {
            **super().registration(), "client_token": self.tenant.token, "mode": self.mode, "private_ip": "10.0.0.5",
            "public_ip": None,
        }  # fmt: skip

    def heartbeat(self) -> Reply:
        body = {
            "status": "online", "monitored_instances": [self.machine], "instance_id": self.machine,
            "instance_type": TYPE, "mode": self.mode, "az": self.az,
        }  # fmt: skip
        return self.post("/heartbeat", body)

    def stop(self) -> Reply:
        return self.post("/heartbeat", {"status": "offline", "monitored_instances": []})

    def prices(self) -> Reply:
        on_spot = self.mode == "spot"
        pool_id = f"{TYPE}.{self.az}" if on_spot else None
        instance = {
            "instance_id": self.machine,
            "instance_type": TYPE,
            "region": REGION,
            "az": self.az,
            "mode": self.mode,
            "pool_id": pool_id,
        }
        pricing = {
            "on_demand_price": ONDEMAND, "current_spot_price": POOLS[self.az] if on_spot else None,
            "cheapest_pool": None, "spot_pools": spot_pools(), "collected_at": None,
        }  # fmt: skip
        return self.post("/pricing-report", {"instance": instance, "pricing": pricing})

    def commands(self) -> list[dict[str, Any]]:
        answer = self.get("/pending-commands")
        assert answer.status == 200
        commands: list[dict[str, Any]] = answer.body["commands"]
        return commands

    def switch_report(self, new: str, az: str, mode: str, *, ended: str | None = None) -> Reply:
        def described(machine: str, zone: str, how: str) -> dict[str, Any]:
            pool_id = f"{TYPE}.{zone}" if how == "spot" else None
            return {
                "instance_id": machine, "instance_type": TYPE, "region": REGION, "az": zone, "ami_id": "ami-0abc",
                "mode": how, "pool_id": pool_id,
            }  # fmt: skip

        prices: dict[str, Any] = {"on_demand": ONDEMAND}
        if self.mode == "spot":
            prices["old_spot"] = POOLS[self.az]
        if mode == "spot":
            prices["new_spot"] = POOLS[az]
        timing = {
            "switch_initiated_at": "2026-03-02T12:00:01.000001+00:00",
            "new_instance_launched_at": "2026-03-02T12:00:20.000001+00:00",
            "new_instance_ready_at": "2026-03-02T12:00:40.000001+00:00",
            "traffic_switched_at": "2026-03-02T12:00:42.000001+00:00",
        }
        if ended:
            timing["old_instance_terminated_at"] = ended
        body = {
            "old_instance": described(self.machine, self.az, self.mode), "new_instance": described(new, az, mode),
            "snapshot": {"used": False}, "prices": prices, "timing": timing, "trigger": "manual",
        }  # fmt: skip
        return self.post("/switch-report", body)

    def rebalance(self) -> tuple[Reply, Reply]:
        first = self.post(
            "/create-emergency-replica", {"signal_type": "rebalance-recommendation", "instance_id": self.machine}
        )
        second = self.post(
            "/rebalance-recommendation",
            {"instance_id": self.machine, "detected_at": "2026-03-02T12:00:00.000001+00:00"},
        )
        return first, second

    def termination(self, at: str | None = None) -> tuple[Reply, Reply]:
        first = self.post(
            "/create-emergency-replica",
            {"signal_type": "termination-notice", "instance_id": self.machine, "termination_time": at},
        )
        second = self.post(
            "/termination-imminent",
            {"instance_id": self.machine, "termination_time": at, "detected_at": "2026-03-02T12:00:00.000001+00:00"},
        )
        return first, second

    def to_launch(self) -> list[dict[str, Any]]:
        replicas: list[dict[str, Any]] = self.get("/replicas?status=launching").body["replicas"]
        return replicas

    def to_end(self) -> list[dict[str, Any]]:
        replicas: list[dict[str, Any]] = self.get("/replicas?status=terminated").body["replicas"]
        return replicas

    def launch_replica(self, entry: dict[str, Any], machine: str, *, ready: bool = True) -> None:
        put = self.tenant.call(
            "PUT", self.at(f"/replicas/{entry['id']}"), {"instance_id": machine, "status": "syncing"}
        )
        assert put.status == 200, put
        if ready:
            body = {"status": "ready", "sync_completed_at": "2026-03-02T12:00:00.000001+00:00"}
            assert self.post(f"/replicas/{entry['id']}/status", body).status == 200


class V2(V4c):
    version = "3.2.0"

    def registration(self) -> dict[str, Any]:
        return {**WireAgent.registration(self), "client_token": self.tenant.token}

    def heartbeat(self) -> Reply:
        return self.post("/heartbeat", {"status": "online", "monitored_instances": [self.machine]})

    def prices(self) -> Reply:
        instance = {
            "instance_id": self.machine, "instance_type": TYPE, "region": REGION, "az": self.az,
            "current_mode": self.mode, "current_pool_id": f"{TYPE}.{self.az}" if self.mode == "spot" else None,
        }  # fmt: skip
        return self.post(
            "/pricing-report",
            {"instance": instance, "on_demand_price": {"price": ONDEMAND}, "spot_pools": spot_pools()},
        )


class V4n(WireAgent):
    version = "4.0.0"

    def registration(self) -> dict[str, Any]:
        return {**super().registration(), "mode": self.mode, "private_ip": None, "public_ip": None}

    def heartbeat(self, request_id: str | None = None) -> Reply:
        headers = {"X-Request-ID": request_id} if request_id else {}
        return self.post("/heartbeat", {"status": "online"}, headers=headers)

    def decide(self, *, ondemand: float = ONDEMAND) -> Reply:
        pools = [{**pool, "is_current": pool["az"] == self.az} for pool in spot_pools()]
        return self.post("/decide", {"spot_pools": pools, "ondemand_price": ondemand, "current_az": self.az})

    def notice(self, request_id: str, *, immediate: bool) -> Reply:
        body: dict[str, Any] = {"notice_time": "2026-03-02T12:00:00Z"}
        if immediate:
            body["immediate"] = True
        return self.post("/rebalance-recommendation", body, headers={"X-Request-ID": request_id})


class V5(WireAgent):
    version = "5.0.1-production"

    def registration(self) -> dict[str, Any]:
        return {**super().registration(), "cloud_account": "", "project_id": "default", "mode": "unknown"}

    def heartbeat(self, *, reconnect: bool = False) -> Reply:
        entry = {
            "instance_id": self.machine, "state": "running", "az": self.az, "instance_type": TYPE,
            "pool": f"{TYPE}.{self.az}" if self.mode == "spot" else None, "tags": {}, "launch_time": "2026-03-02T11:00:00",
            "private_ip": "10.0.0.9", "public_ip": None,
        }  # fmt: skip
        stranger = {**entry, "instance_id": "i-0fffffffffffffff1", "pool": None}
        inventory = {} if reconnect else {"instances": [entry, stranger], "count": 2}
        body = {
            "status": "online", "inventory_snapshot": inventory,
            "health_metrics": {"uptime": 10, "cpu_percent": 1.5, "memory_percent": 20.0}, "reconnect": reconnect,
        }  # fmt: skip
        return self.post("/heartbeat", body)

    def prices(self) -> Reply:
        stamp = self.tenant.site.clock.now().replace(tzinfo=None).isoformat()
        records: list[dict[str, Any]] = [
            {"instance_type": TYPE, "az": az, "pool_id": f"{TYPE}.{az}", "spot_price": price, "timestamp": stamp}
            for az, price in POOLS.items()
        ]
        records.append({"instance_type": TYPE, "price_type": "ondemand", "price": ONDEMAND, "timestamp": stamp})
        return self.post(
            "/pricing-report", {"agent_id": self.agent_id, "pricing_data_array": records, "timestamp": stamp}
        )

    def commands(self) -> list[dict[str, Any]]:
        answer = self.get("/commands/pending")
        assert answer.status == 200
        commands: list[dict[str, Any]] = answer.body["commands"]
        return commands

    def launched(self, command: dict[str, Any], machine: str, az: str | None = None) -> Reply:
        body = {
            "temp_instance_id": command["instance_id"], "instance_id": machine, "instance_type": TYPE,
            "az": az or self.az, "request_id": command["request_id"], "confirmed_at": "2026-03-02T12:00:30.123456",
        }  # fmt: skip
        return self.post("/instance-launched", body)

    def result(
        self, command: dict[str, Any], *, success: bool = True, machine: str | None = None, error: str | None = None
    ) -> Reply:
        body = {
            "request_id": command["request_id"], "agent_id": self.agent_id, "result": "SUCCESS" if success else "FAILURE",
            "cloud_instance_id": machine, "error_message": error, "metadata": {},
        }  # fmt: skip
        return self.post("/action-result", body)

    def termination_notice(self, at: str | None = None) -> Reply:
        body = {"cloud_instance_id": self.machine, "notice_type": "TERMINATION", "termination_time": at}
        return self.post("/termination-report", body)
