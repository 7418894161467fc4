"""v4n (reports 4.0.0 as well): notices and prices for decisions; takes no commands and acts on no answer."""

from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from attrs import define

from spotadapters.fleet.agents.base import NO_PRICE_LIST, Agent, aws_time, is_number, read_welcome, region
from spotadapters.fleet.script import Sleep, Spawn, Steps
from spotcore.builds import Build
from spotcore.pools import Mode

HEARTBEAT_SECONDS: Final = 30.0
DECIDE_SECONDS: Final = 300.0
FIRST_DECIDE_SECONDS: Final = 60.0
NOTICE_SECONDS: Final = 10.0
NOWHERE: Final = "None"  # the id it goes on under when the answer has none


@define(kw_only=True)
class V4nAgent(Agent):
    """Sees only the spot instance action, never the rebalance signal. The request id of its last notice stays on the
    connection and goes out with everything after it (T05)."""

    BUILD = Build.V4N
    VERSION = "4.0.0"
    KEEPS_BASE_PATH = True

    notices_sent: int = 0

    def main(self) -> Steps[None]:
        """Register; end only when the request itself fails, not when the answer lacks an id."""
        answer = yield from self.call("POST", "/api/agents/register", self.registration())
        welcome = read_welcome(self.host, answer)
        if welcome is None:
            yield from self.leave(restart=True)
            return
        self.agent_id, self.enabled = welcome.agent_id or NOWHERE, welcome.enabled
        yield Spawn(self.every(HEARTBEAT_SECONDS, self.heartbeat))
        yield Spawn(self.every(DECIDE_SECONDS, self.decide, first_after=FIRST_DECIDE_SECONDS))
        if self.host.me().mode is Mode.SPOT:  # looked at once, at the start
            yield Spawn(self.notices())

    def farewell(self) -> Steps[None]:
        """Only the status."""
        yield from self.post("heartbeat", {"status": "offline"})

    def registration(self) -> dict[str, Any]:
        """No token in the body: only the header says who it is. What metadata did not tell is null."""
        machine = self.host.metadata()
        own_id = machine.instance_id if machine else None
        return {
            "logical_agent_id": self.installation.logical_id or own_id,
            "instance_id": own_id,
            "instance_type": machine.instance_type if machine else None,
            "region": region(machine) if machine else None,
            "az": machine.az if machine else None,
            "mode": self.host.me().mode.value,
            "hostname": f"ip-{self.host.me().private_ip.replace('.', '-')}",
            "ami_id": machine.ami_id if machine else None,
            "agent_version": self.VERSION,
            "private_ip": machine.private_ip if machine else None,
            "public_ip": machine.public_ip if machine else None,
        }

    def heartbeat(self) -> Steps[None]:
        """A heartbeat, and at once the configuration."""
        yield from self.post("heartbeat", {"status": "online" if self.enabled else "disabled"})
        answer = yield from self.get("config")
        if answer.ok:
            self.enabled = bool(answer.fields.get("enabled", True))

    def decide(self) -> Steps[None]:
        """Its only price report (E62); the decision is logged and never acted on."""
        if not self.enabled:
            return
        machine = self.host.me()
        pools = [{**one, "is_current": one["pool_id"] == machine.pool_id} for one in self.spot_pools(machine)]
        answer = yield from self.post(
            "decide", {"spot_pools": pools, "ondemand_price": self._on_demand(), "current_az": machine.az}
        )
        if not answer.ok:
            return
        confidence = answer.fields.get("confidence", 0.0)
        if not is_number(confidence):
            self.host.wronged("T15", "confidence_is_no_number", confidence=confidence)
            return
        self.host.did("logged_decision", action=answer.fields.get("action", "NO_ACTION"), confidence=confidence)

    def _on_demand(self) -> float:
        """0.0 when AWS failed, 0.1 when only the price list did."""
        if self.host.cloud.outage:
            return 0.0
        listed = self.host.cloud.on_demand_price(self.host.me().instance_type)
        return NO_PRICE_LIST if listed is None else float(listed)

    def notices(self) -> Steps[None]:
        """Every 10 s while a notice stands, with a fresh request id each time (T29)."""
        while True:
            machine = self.host.metadata()
            if machine is not None and machine.spot_action is not None:
                self.notices_sent += 1
                self.extra_headers["X-Request-ID"] = self._request_id()
                body: dict[str, Any] = {"notice_time": aws_time(machine.spot_action.at)}
                if machine.spot_action.action == "terminate":
                    body["immediate"] = True
                yield from self.post("rebalance-recommendation", body)
                yield from self.get("emergency-status")
            yield Sleep(NOTICE_SECONDS)

    def _request_id(self) -> str:
        """A UUID that is new for every notice of every run on every host, and the same when a world is repeated."""
        return str(uuid5(NAMESPACE_OID, f"{self.host.instance_id} {self.host.started_at} {self.notices_sent}"))
