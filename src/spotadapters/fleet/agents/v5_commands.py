"""The five commands of v5, executed one at a time while everything else of the program is deaf (Z31)."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, field, frozen

from spotadapters.fleet.agents.base import naive_time, zone_of
from spotadapters.fleet.machines import CloudRefusal, Machine, MachineState
from spotadapters.fleet.script import Steps
from spotcore.pools import Mode

if TYPE_CHECKING:
    from spotadapters.fleet.agents.v5 import V5Agent

LAUNCH_LIMIT_SECONDS: Final = 300.0
TERMINATE_LIMIT_SECONDS: Final = 180.0
SELF_DESTRUCT: Final = "SELF_DESTRUCT"


class Mood(Enum):
    """What the program is busy with; only ``ONLINE`` loops speak."""

    ONLINE = "ONLINE"
    EXECUTING = "EXECUTING"
    OFFLINE = "OFFLINE"


@frozen(kw_only=True)
class Result:
    """What ``action-result`` says besides the ids of command and agent."""

    result: str = "SUCCESS"
    cloud_instance_id: str | None = None
    error_message: str | None = None
    metadata: Mapping[str, Any] = field(factory=dict)


def _failure(text: str) -> Result:
    return Result(result="FAILURE", error_message=text)


def execute(agent: "V5Agent", command: Mapping[str, Any]) -> Steps[None]:
    """Carry out a command and report; one whose request id is known is answered from the cache (T04)."""
    request_id = command.get("request_id")
    if request_id is None:
        agent.host.wronged("T04", "no_request_id", command_type=command.get("command_type"))
    agent.mood = Mood.EXECUTING
    if request_id not in agent.results:
        params, metadata = command.get("params", {}), command.get("metadata", {})
        if not isinstance(params, dict) or not isinstance(metadata, dict):
            agent.host.wronged("T04", "stuck", command=request_id)
            return  # executing for good: no heartbeats, commands or notices any more
        action = ACTIONS.get(str(command.get("command_type")), _unknown)
        agent.results[request_id] = yield from action(agent, command, {**params, **metadata})
    report = {"request_id": request_id, "agent_id": agent.agent_id, **asdict(agent.results[request_id])}
    yield from agent.post("action-result", report)
    agent.mood = Mood.ONLINE
    if command.get("command_type") == SELF_DESTRUCT:
        yield from agent.leave()


def _launch(agent: "V5Agent", command: Mapping[str, Any], params: Mapping[str, Any]) -> Steps[Result]:
    """Spot only if ``target_pool`` contains the word; always in the own subnet, so another zone is refused (Z28)."""
    target = params.get("target_pool", "")
    instance_type = params.get("instance_type")
    if not isinstance(target, str) or not isinstance(instance_type, str):
        agent.host.wronged("T07", "unusable_launch", target_pool=target, instance_type=instance_type)
        return _failure("unusable parameters")
    me = agent.host.me()
    try:
        machine = agent.host.launch(
            agent_id=agent.agent_id,
            order=f"request {command.get('request_id')}",
            az=params.get("az") or zone_of(target) or me.az,
            mode=Mode.SPOT if "spot" in target else Mode.ONDEMAND,
            subnet_az=me.az,
            instance_type=instance_type,
            ami_id=params.get("ami_id") or me.ami_id,
            tags={"Role": str(params.get("role_hint", "replica"))},
        )
    except CloudRefusal as refusal:
        return _failure(str(refusal))
    confirmed = yield from agent.wait_until(machine.instance_id, MachineState.RUNNING, seconds=LAUNCH_LIMIT_SECONDS)
    if confirmed and command.get("instance_id") is not None:
        yield from _confirm_launch(agent, command, machine)
    return Result(cloud_instance_id=machine.instance_id, metadata={"confirmed": confirmed})


def _confirm_launch(agent: "V5Agent", command: Mapping[str, Any], machine: Machine) -> Steps[None]:
    yield from agent.post(
        "instance-launched",
        {
            "temp_instance_id": command["instance_id"],
            "instance_id": machine.instance_id,
            "instance_type": machine.instance_type,
            "az": machine.az,
            "request_id": command.get("request_id"),
            "confirmed_at": naive_time(agent.host.now()),
        },
    )


def _terminate(agent: "V5Agent", command: Mapping[str, Any], params: Mapping[str, Any]) -> Steps[Result]:
    """Reads ``params.instance_id``, never the top-level one. Ending the own machine ends the story here."""
    target = params.get("instance_id")
    if not isinstance(target, str):
        return _failure("no instance_id")
    try:
        agent.host.end_by_order(target, "TERMINATE_INSTANCE")
    except CloudRefusal as refusal:
        return _failure(str(refusal))
    if (yield from agent.wait_until(target, MachineState.TERMINATED, seconds=TERMINATE_LIMIT_SECONDS)):
        confirmation = {
            "instance_id": target,
            "request_id": command.get("request_id"),
            "confirmed_at": naive_time(agent.host.now()),
        }
        yield from agent.post("instance-terminated", confirmation)
    return Result(cloud_instance_id=target)


def _promote(agent: "V5Agent", command: Mapping[str, Any], params: Mapping[str, Any]) -> Steps[Result]:
    """Only sets tags: who serves was decided by the server before it sent this."""
    yield from ()
    new, old = params.get("replica_instance_id"), params.get("old_primary_id")
    try:
        agent.host.cloud.tag(str(new), {"Role": "primary"})
        if old:
            agent.host.cloud.tag(str(old), {"Role": "old-primary"})
    except CloudRefusal as refusal:
        return _failure(str(refusal))
    agent.host.promoted(str(agent.agent_id), str(new))
    return Result(cloud_instance_id=str(new), metadata={"request_id": command.get("request_id")})


def _configure(agent: "V5Agent", command: Mapping[str, Any], params: Mapping[str, Any]) -> Steps[Result]:
    yield from ()
    agent.settings.update(params.get("config_updates") or {})
    return Result(metadata={"request_id": command.get("request_id")})


def _self_destruct(agent: "V5Agent", command: Mapping[str, Any], params: Mapping[str, Any]) -> Steps[Result]:
    """The agent ends after reporting; the machine runs on."""
    yield from ()
    agent.host.did("self_destruct", request_id=command.get("request_id"), params=dict(params))
    return Result()


def _unknown(agent: "V5Agent", command: Mapping[str, Any], params: Mapping[str, Any]) -> Steps[Result]:
    """Anything else, ``switch`` included."""
    yield from ()
    agent.host.did("unknown_command", command_type=command.get("command_type"), params=dict(params))
    return _failure("Unknown command type")


_Action = Callable[["V5Agent", Mapping[str, Any], Mapping[str, Any]], Steps[Result]]
ACTIONS: Final[Mapping[str, _Action]] = {
    "LAUNCH_INSTANCE": _launch,
    "TERMINATE_INSTANCE": _terminate,
    "PROMOTE_REPLICA_TO_PRIMARY": _promote,
    "APPLY_CONFIG": _configure,
    SELF_DESTRUCT: _self_destruct,
}
