"""v4c and the two AWS signals. It asks for a replica first and tells of the signal second, and only on spot."""

from typing import Any, Protocol

from spotadapters.fleet.agents.base import aws_time, offset_time
from spotadapters.fleet.host import Host
from spotadapters.fleet.script import Response, Steps
from spotcore.pools import Mode


class Caller(Protocol):
    """What these turns need of an agent."""

    rebalance_told: bool
    termination_told: bool

    @property
    def host(self) -> Host: ...
    def post(self, rest: str, body: dict[str, Any], /) -> Steps[Response]: ...
    def leave(self, *, restart: bool = False) -> Steps[None]: ...


def rebalance_turn(agent: Caller) -> Steps[None]:
    """Once until the signal clears."""
    machine = agent.host.metadata()
    if machine is None or machine.mode is not Mode.SPOT:
        return
    if machine.rebalance_at is None:
        agent.rebalance_told = False
        return
    if agent.rebalance_told:
        return
    agent.rebalance_told = True
    asked = {"signal_type": "rebalance-recommendation", "instance_id": machine.instance_id}
    answer = yield from agent.post("create-emergency-replica", asked)
    agent.host.did("asked_for_replica", signal="rebalance", success=answer.fields.get("success") is True)
    told = {"instance_id": machine.instance_id, "detected_at": offset_time(agent.host.now())}
    answer = yield from agent.post("rebalance-recommendation", told)
    agent.host.did("told_rebalance", action=answer.fields.get("action"))


def termination_turn(agent: Caller) -> Steps[None]:
    """Once per run, whatever the answers. ``success: true`` in the second one, and only there, ends the agent (T16)."""
    machine = agent.host.metadata()
    if machine is None or machine.mode is not Mode.SPOT or agent.termination_told:
        return
    if machine.spot_action is None or machine.spot_action.action != "terminate":
        return
    agent.termination_told = True
    deadline = aws_time(machine.spot_action.at)
    asked = {
        "signal_type": "termination-notice",
        "instance_id": machine.instance_id,
        "termination_time": deadline,
    }
    answer = yield from agent.post("create-emergency-replica", asked)
    agent.host.did("asked_for_replica", signal="termination", success=answer.fields.get("success") is True)
    told = {
        "instance_id": machine.instance_id,
        "termination_time": deadline,
        "detected_at": offset_time(agent.host.now()),
    }
    answer = yield from agent.post("termination-imminent", told)
    handed_over = answer.ok and answer.fields.get("success") is True
    agent.host.did("told_termination", success=handed_over, new_machine=answer.fields.get("new_instance_id"))
    if handed_over:
        yield from agent.leave()
