"""E40, E41, E55, E69…E73: agents fetch commands and report what came of them."""

from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

from spotadapters.http.envelope import Answer
from spotadapters.http.pulse import Repeat
from spotadapters.http.routes.agents import ALWAYS, SAFE
from spotadapters.http.routing import Call, Endpoint
from spotadapters.http.waiting import MAX_WAIT_SECONDS
from spotadapters.wire import asking
from spotadapters.wire.answers import shown
from spotadapters.wire.objects import CommandItem, command_item
from spotadapters.wire.parsing import flag, number, required, wire
from spotadapters.wire.shapes import shape
from spotadapters.wire.words import known
from spotcore.builds import Evidence
from spotcore.dispatch import Dialect
from spotcore.errors import NotFound, ValidationFailed
from spotcore.ids import CloudId, is_cloud_id
from spotcore.instances import InstanceStatus
from spotcore.reports import CommandReport
from spotcore.standby import MachineFacts


@shape
class Waiting:
    """E69, E71: how long to wait for a command (Z18)."""

    wait: int = asking.whole(0, 0, MAX_WAIT_SECONDS)


@shape
class CommandList:
    """E69, E71."""

    commands: tuple[CommandItem, ...]


def _fetched(call: Call, dialect: Dialect) -> Answer:
    caller = call.agent_caller()
    handed = call.plane.commands.fetch(caller, call.agent_id, dialect)
    data = CommandList(commands=tuple(command_item(one, handed.machines) for one in handed.commands))
    if handed.idle_at is None:
        return Answer(data=data)
    repeat = Repeat(
        client_id=caller.client_id, agent_id=call.agent_id, revision=handed.idle_at, until=handed.idle_until
    )
    return Answer(data=data, repeat=repeat, timeless=data)


def pending_classic(call: Call) -> Answer:
    """E69."""
    return _fetched(call, Dialect.CLASSIC)


def pending_modern(call: Call) -> Answer:
    """E71."""
    return _fetched(call, Dialect.MODERN)


SUCCESS_WORDS: Final[Mapping[str, bool]] = {
    "success": True,
    "completed": True,
    "failed": False,
    "failure": False,
    "partial": False,
    "error": False,
}


@shape
class Executed:
    """E70 and E73, what both share."""

    LENIENT = True
    message: str | None = wire("error", "error_message", clip=True)
    execution_result: Mapping[str, Any] | None = wire("result")
    execution_time: Decimal | str | None = wire()  # nobody says whether it is an instant or seconds
    duration_seconds: Decimal | None = wire()

    @property
    def outcome(self) -> Mapping[str, Any]:
        """What is stored with the command."""
        told = dict(self.execution_result or {})
        if isinstance(self.execution_time, str):
            told["execution_time"] = self.execution_time[:MAX_TIME]
        else:
            with suppress(ValueError):
                told["execution_time"] = _plain(number(self.execution_time))
        if self.duration_seconds is not None and self.duration_seconds >= 0:
            told["duration_seconds"] = _plain(self.duration_seconds)
        return told


MAX_TIME: Final = 64  # characters


def _plain(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _success(data: Mapping[str, Any]) -> bool | None:
    """The verdict under any of its names; None when nothing is said of it."""
    for name in ("success", "status", "result"):
        value = data.get(name)
        if isinstance(value, str):
            verdict = SUCCESS_WORDS.get(value.lower())
            if verdict is not None:
                return verdict
        elif value is not None and not isinstance(value, dict):
            try:
                return flag(value)
            except ValueError as bad:
                raise ValidationFailed(f"invalid: {name}", **{name: [str(bad)]}) from None
    return None


def executed(call: Call) -> Answer:
    """E70."""
    verdict = _success(call.data())
    return _reported(call, call.path_id("command_id"), True if verdict is None else verdict, Evidence.CLASSIC_CALL)


@shape
class MarkExecuted:
    """E73."""

    command_id: str = required(limit=128)


def mark_executed(call: Call) -> Answer:
    """E73: v2 acknowledges failures too, so its silence about success is none (T19)."""
    body = call.parse(MarkExecuted)
    return _reported(call, body.command_id, _success(call.data()), Evidence.MARK_EXECUTED)


@shape
class Acknowledged:
    """E70, E73."""

    success: bool = True
    command_id: str


def _reported(call: Call, name: str, success: bool | None, evidence: Evidence) -> Answer:
    body = call.parse(Executed)
    report = CommandReport(command=name, success=success, message=body.message, result=body.outcome)
    command = call.plane.commands.result(call.agent_caller(), call.agent_id, report, (evidence,))
    if command is None:
        raise NotFound("unknown command")
    return Answer(data=Acknowledged(command_id=command.command_id))


@shape
class ActionResult:
    """E72."""

    request_id: str = required("command_id", limit=128)
    result: str = required(limit=32)
    cloud_instance_id: str | None = wire("instance_id", limit=128)
    error_message: str | None = wire("error", "message", clip=True)
    metadata: Mapping[str, Any] | None = wire()


@shape
class ActionRecorded:
    """E72. ``matched`` false: no such command, noted only."""

    success: bool = True
    command_id: str | None
    matched: bool | None = shown(default=None, optional=True)


def action_result(call: Call) -> Answer:
    """E72: an unknown request id is 200 with ``matched: false``, because an error makes a v5 back off (CM-6)."""
    body = call.parse(ActionResult)
    verdict = SUCCESS_WORDS.get(body.result.lower())
    if verdict is None:
        raise ValidationFailed("invalid: result", result=["use SUCCESS or FAILURE"])
    machine = None
    if body.cloud_instance_id is not None and is_cloud_id(body.cloud_instance_id):
        machine = MachineFacts(cloud_id=CloudId(body.cloud_instance_id))
    report = CommandReport(
        command=body.request_id, success=verdict, machine=machine, message=body.error_message, result=body.metadata
    )
    command = call.plane.commands.result(call.agent_caller(), call.agent_id, report, (Evidence.MODERN_CALL,))
    if command is None:
        return Answer(data=ActionRecorded(matched=False, command_id=None))
    return Answer(data=ActionRecorded(command_id=command.command_id))


@shape
class Launched:
    """E40."""

    temp_instance_id: str = required(limit=128)
    instance_id: str = required(limit=128)
    instance_type: str | None = wire(limit=64)
    az: str | None = wire(limit=64)
    request_id: str | None = wire(limit=128)


@shape
class LaunchConfirmed:
    """E40."""

    success: bool = True
    instance_id: str
    status: str
    launch_duration_seconds: int | None


def launched(call: Call) -> Answer:
    """E40."""
    body = call.parse(Launched)
    if not is_cloud_id(body.instance_id):
        raise ValidationFailed("invalid: instance_id", instance_id=["use the EC2 instance id"])
    facts = MachineFacts(cloud_id=CloudId(body.instance_id), instance_type=known(body.instance_type), az=known(body.az))
    machine = call.plane.commands.launched(
        call.agent_caller(), call.agent_id, body.temp_instance_id, facts, body.request_id
    )
    seconds = None
    if machine.launch_requested_at is not None and machine.confirmed_at is not None:
        seconds = round((machine.confirmed_at - machine.launch_requested_at).total_seconds())
    return Answer(
        data=LaunchConfirmed(instance_id=body.instance_id, status=machine.status.value, launch_duration_seconds=seconds)
    )


@shape
class Terminated:
    """E41."""

    instance_id: str = required("cloud_instance_id", limit=128)


@shape
class TerminationConfirmed:
    """E41."""

    success: bool = True
    instance_id: str
    status: str
    termination_duration_seconds: int | None


def terminated(call: Call) -> Answer:
    """E41; for the current primary nothing is removed (IN-26)."""
    body = call.parse(Terminated)
    machine = call.plane.commands.terminated(call.agent_caller(), call.agent_id, body.instance_id)
    seconds = None
    if machine.terminating_since is not None and machine.terminated_at is not None:
        seconds = round((machine.terminated_at - machine.terminating_since).total_seconds())
    ended = machine.status is InstanceStatus.TERMINATED
    return Answer(
        data=TerminationConfirmed(
            instance_id=body.instance_id,
            status="terminated" if ended else machine.status.value,
            termination_duration_seconds=seconds,
        )
    )


@shape
class ToTerminate:
    """E55: one machine to end."""

    instance_id: str
    instance_type: str | None
    az: str | None
    reason: str = shown(doc="zombie_timeout, replica_terminated or manual_terminate")
    seconds_waiting: int | None = shown(default=None, optional=True, doc="of a zombie")
    seconds_since_marked: int | None = shown(default=None, optional=True, doc="of any other")


@shape
class TerminateList:
    """E55."""

    instances: tuple[ToTerminate, ...]
    auto_terminate_enabled: bool
    terminate_wait_seconds: int


def terminate_list(call: Call) -> Answer:
    """E55."""
    found = call.plane.commands.terminate_list(call.agent_caller(), call.agent_id)
    items = []
    for entry in found.entries:
        zombie = entry.reason.value == "zombie_timeout"
        items.append(
            ToTerminate(
                instance_id=entry.instance.cloud_id or "",  # a machine is listed once it has one (I10)
                instance_type=entry.instance.instance_type,
                az=entry.instance.az,
                reason=entry.reason.value,
                seconds_waiting=entry.seconds if zombie else None,
                seconds_since_marked=None if zombie else entry.seconds,
            )
        )
    return Answer(
        data=TerminateList(
            instances=tuple(items),
            auto_terminate_enabled=found.auto_terminate_enabled,
            terminate_wait_seconds=found.terminate_wait_seconds,
        )
    )


A: Final = "/api/agents/{agent_id}"
routes = [
    Endpoint(
        number="E40", method="POST", path=A + "/instance-launched", handler=launched, access=SAFE, mirror=True,
        body=Launched, answers=LaunchConfirmed,
    ),
    Endpoint(
        number="E41", method="POST", path=A + "/instance-terminated", handler=terminated, access=ALWAYS, mirror=True,
        body=Terminated, answers=TerminationConfirmed,
    ),
    Endpoint(
        number="E55", method="GET", path=A + "/instances-to-terminate", handler=terminate_list, access=ALWAYS,
        mirror=True, answers=TerminateList,
    ),
    Endpoint(
        number="E69", method="GET", path=A + "/pending-commands", handler=pending_classic, access=ALWAYS, mirror=True,
        waits=True, asks=Waiting, answers=CommandList,
    ),
    Endpoint(
        number="E70", method="POST", path=A + "/commands/{command_id}/executed", handler=executed, access=SAFE,
        mirror=True, body=Executed, answers=Acknowledged,
    ),
    Endpoint(
        number="E71", method="GET", path=A + "/commands/pending", handler=pending_modern, access=ALWAYS, mirror=True,
        waits=True, asks=Waiting, answers=CommandList,
    ),
    Endpoint(
        number="E72", method="POST", path=A + "/action-result", handler=action_result, access=ALWAYS, mirror=True,
        body=ActionResult, answers=ActionRecorded,
    ),
    Endpoint(
        number="E73", method="POST", path=A + "/mark-command-executed", handler=mark_executed, access=SAFE, mirror=True,
        body=MarkExecuted, answers=Acknowledged,
    ),
]  # fmt: skip
