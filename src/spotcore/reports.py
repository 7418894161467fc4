"""What agents report of commands and machines: E40, E41, E48…E50, E54, E56, E70, E72, E73 (CM-6, IN-26, RP-10)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import evolve, frozen

from spotcore import dispatch, emergencies, endings, standby, switching
from spotcore.change import Change
from spotcore.commands import Command, CommandKind, CommandState
from spotcore.errors import NotFound
from spotcore.events import EventKind, Level
from spotcore.ids import CommandId, ReplicaId, is_cloud_id, launch_placeholder
from spotcore.instances import Instance, InstanceStatus
from spotcore.replicas import Replica, ReplicaEnd, ReplicaEvent, ReplicaState
from spotcore.replicas import moved as replica_moved
from spotcore.standby import MachineFacts

MAX_NOTES: Final = 16


@frozen(kw_only=True)
class CommandReport:
    """The result of one command, as E70, E72 or E73 tells it."""

    command: str  # command id or request id
    success: bool | None = None  # None: acknowledged, nothing said of success (v2, T19)
    machine: MachineFacts | None = None
    message: str | None = None
    result: Mapping[str, Any] | None = None


def find_command(change: Change, name: str) -> Command | None:
    """The command of that id or request id."""
    direct = change.aggregate.commands.get(CommandId(name))
    if direct is not None:
        return direct
    return next((command for command in change.aggregate.commands.values() if command.request_id == name), None)


def command_result(change: Change, report: CommandReport) -> Command | None:
    """Judge a result; None for an unknown command. A terminal command keeps its first result (CM-6, GR-4)."""
    command = find_command(change, report.command)
    if command is None:
        return None
    if not command.is_open:
        _note_late(change, command, report)
        return change.aggregate.commands[command.command_id]
    _BY_KIND[command.kind](change, command, report)
    _keep_result(change, command.command_id, report)
    return change.aggregate.commands[command.command_id]


def _keep_result(change: Change, command_id: CommandId, report: CommandReport) -> None:
    """What the agent says of the outcome stays with the command (E70); the server's own notes are not its to write."""
    command = change.aggregate.commands[command_id]
    told = {name: value for name, value in (report.result or {}).items() if name != dispatch.ACKNOWLEDGED}
    change.put(evolve(command, result={**told, **command.result}))


def _note_late(change: Change, command: Command, report: CommandReport) -> None:
    word = {True: "success", False: "failure", None: "acknowledged"}[report.success]
    same = (command.state is CommandState.COMPLETED) == (report.success is not False)
    if not same and len(command.notes) < MAX_NOTES:
        change.put(evolve(command, notes=(*command.notes, f"late {word}: {report.message or ''}".strip(": "))))
        change.event(EventKind.COMMAND_NOTED, command_id=command.command_id, said=word)
    if report.machine is not None and command.kind is CommandKind.LAUNCH:
        _late_machine(change, report.machine)


def _late_machine(change: Change, facts: MachineFacts) -> None:
    """A machine of a launch that was given up: nobody owns it, so it is to end (CM-6)."""
    if change.aggregate.machine(facts.cloud_id) is None:
        standby.stray(change, facts, "its launch had been given up")


def _switch(change: Change, command: Command, report: CommandReport) -> None:
    """An acknowledged switch is done when its machine has shown up; the agent's word alone is not enough (T19)."""
    machine = switching.bound_machine(change, command)
    if report.success is False:
        dispatch.fail(change, command, report.message or "the agent reported a failure")
        switching.failed(change, command, report.message or "the agent reported a failure")
    elif report.success and machine is not None:
        switching.finish(change, machine, command)
    elif report.success is None and machine is None:
        dispatch.fail(change, command, "no switch report")
        switching.failed(change, command, "no switch report")
    else:  # its report or its machine is still to come; the lease decides, and it is never handed out again
        change.put(evolve(command, result={**command.result, dispatch.ACKNOWLEDGED: True}))
        change.event(EventKind.COMMAND_NOTED, command_id=command.command_id, said="acknowledged")


def _launch(change: Change, command: Command, report: CommandReport) -> None:
    target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
    if report.success is not False and report.machine is not None and target is not None:
        launched(change, target, report.machine, command)
        return
    reason = report.message or ("no machine id was reported" if report.success is not False else "the launch failed")
    dispatch.fail(change, command, reason)
    launch_failed(change, command, reason)


def launch_failed(change: Change, command: Command, reason: str) -> None:
    """A launch command ended without a machine: its replica fails (RP-4), or its chain does (SW-9). A chain that nobody
    fetched, or that was withdrawn, was never tried: it counts for nothing."""
    target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
    if target is None or target.status is not InstanceStatus.LAUNCHING:
        return
    replica = change.aggregate.replica_on(target.instance_id)
    if replica is not None and replica.is_live:
        standby.fail(change, replica, ReplicaEnd.LAUNCH_FAILED, reason)
        ended = (EventKind.COMMAND_FAILED, EventKind.COMMAND_EXPIRED, EventKind.COMMAND_UNDELIVERABLE)
        change.tell_once(EventKind.REPLICA_FAILED, *ended, about=command.command_id)
    elif replica is None and command.makes_primary and _was_tried(change, command):
        switching.failed(change, command, reason)
    else:
        endings.launch_ended(change, target)


def _was_tried(change: Change, command: Command) -> bool:
    return change.aggregate.commands[command.command_id].state is CommandState.FAILED


def launched(change: Change, instance: Instance, facts: MachineFacts, command: Command | None) -> Instance:
    """The cloud confirmed a launch (E40, or E72 when E40 never came). Repeats change nothing."""
    if instance.status is not InstanceStatus.LAUNCHING:
        if instance.cloud_id != facts.cloud_id:
            standby.stray(change, facts, "its launch had been given up")
        return change.aggregate.instances[instance.instance_id]
    replica = change.aggregate.replica_on(instance.instance_id)
    if replica is not None and replica.is_live:
        if command is not None and command.is_open:
            dispatch.complete(change, command, {"cloud_instance_id": facts.cloud_id})
        standby.machine_started(change, replica, facts)
    elif command is not None and command.is_open and command.makes_primary and replica is None:
        switching.chain_confirmed(change, instance, facts, command)
    else:
        if command is not None and command.is_open:
            dispatch.complete(change, command, {"cloud_instance_id": facts.cloud_id})
        confirmed = standby.confirm(change, instance, facts)
        endings.begin_end(change, confirmed, endings.EndReason.MANUAL_TERMINATE, "nobody needs it any more")
    return change.aggregate.instances[instance.instance_id]


def launch_confirmed(change: Change, temp_id: str, facts: MachineFacts, request_id: str | None) -> Instance:
    """E40. Raises ``NotFound`` for a temporary id that was never given out."""
    instance = next(
        (row for row in change.aggregate.instances.values() if launch_placeholder(row.instance_id) == temp_id), None
    )
    if instance is None:
        raise NotFound("unknown temporary instance id")
    commands = [row for row in change.aggregate.commands.values() if row.target_instance_id == instance.instance_id]
    named = [row for row in commands if row.request_id == request_id] or commands
    launches = [row for row in named if row.kind is CommandKind.LAUNCH]
    return launched(change, instance, facts, launches[0] if launches else None)


def _terminate(change: Change, command: Command, report: CommandReport) -> None:
    target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
    if report.success is False:
        dispatch.fail(change, command, report.message or "the termination failed")
        if target is not None:
            endings.attempt_failed(change, target, report.message)
        return
    dispatch.complete(change, command)
    if target is not None:
        machine_ended(change, target)


def machine_ended(change: Change, instance: Instance) -> Instance:
    """A report says that a machine is gone (E41, E56, E72). For the current primary see IN-26."""
    if instance.is_primary:
        emergencies.primary_reported_gone(change, instance, claims_success=True)
        return change.aggregate.instances[instance.instance_id]
    replica = change.aggregate.replica_on(instance.instance_id)
    if replica is not None and replica.is_live:
        ended = evolve(replica_moved(replica, ReplicaEvent.END, change.now), end_reason=ReplicaEnd.ENDED_BY_AGENT)
        change.put(ended)
        change.event(
            EventKind.REPLICA_TERMINATED, instance=instance, replica_id=replica.replica_id, reason="its machine ended"
        )
        standby.count_failure(change)  # MR-4
    return endings.confirm_end(change, change.aggregate.instances[instance.instance_id])


def termination_result(change: Change, cloud_id: str, success: bool, error: str | None) -> Instance:
    """E56, result form. Raises ``NotFound`` for a machine that is not this agent's."""
    instance = change.aggregate.machine(cloud_id)
    if instance is None:
        raise NotFound("unknown instance")
    if success:
        if not (instance.is_primary or instance.is_terminal):
            kind = EventKind.INSTANCE_TERMINATED
            change.event(kind, instance=instance, level=Level.INFO, reason="its agent ended it")
            change.tell_once(EventKind.INSTANCE_TERMINATION_CONFIRMED, kind, about=instance.instance_id)
        return machine_ended(change, instance)
    if instance.is_primary:
        emergencies.primary_reported_gone(change, instance, claims_success=False)
    elif not instance.is_terminal:
        endings.attempt_failed(change, instance, error)
    return instance


def _promote(change: Change, command: Command, report: CommandReport) -> None:
    """Tags only: a failure is a warning, never undone (1.2)."""
    _told(change, command, report, "setting tags failed", Level.WARNING)


def _plain(change: Change, command: Command, report: CommandReport) -> None:
    _told(change, command, report, "the agent reported a failure", None)


def _told(change: Change, command: Command, report: CommandReport, unsaid: str, level: Level | None) -> None:
    if report.success is False:
        dispatch.fail(change, command, report.message or unsaid, level=level)
    else:
        dispatch.complete(change, command)


_BY_KIND: Final = {
    CommandKind.SWITCH: _switch,
    CommandKind.LAUNCH: _launch,
    CommandKind.TERMINATE: _terminate,
    CommandKind.PROMOTE: _promote,
    CommandKind.APPLY_CONFIG: _plain,
    CommandKind.SELF_DESTRUCT: _plain,
}


@frozen(kw_only=True)
class ReplicaStatusReport:
    """E49. ``promoted`` is the server's to set and never comes here."""

    state: ReplicaState
    error_message: str | None = None


def find_replica(change: Change, replica_id: str) -> Replica:
    """The replica of this agent. Raises ``NotFound``."""
    replica = change.aggregate.replicas.get(ReplicaId(replica_id))
    if replica is None:
        raise NotFound("unknown replica")
    return replica


def replica_machine(change: Change, replica: Replica, facts: MachineFacts) -> Replica:
    """E48 with a machine: RP-2, or a stray when the replica has ended or has another one (RP-10)."""
    return standby.machine_started(change, replica, facts)


def replica_status(change: Change, replica: Replica, report: ReplicaStatusReport) -> bool:
    """True when the report moved something; False: not a forward step, ignored (RP-10)."""
    instance = change.aggregate.instances[replica.instance_id]
    match report.state:
        case ReplicaState.READY if replica.state is ReplicaState.SYNCING and is_cloud_id(instance.cloud_id):
            standby.synced(change, replica)
            return True
        case ReplicaState.FAILED if replica.is_live:
            standby.fail(change, replica, ReplicaEnd.SYNC_FAILED, report.error_message)
            return True
        case ReplicaState.TERMINATED if replica.state is not ReplicaState.PROMOTED:
            return _replica_ended(change, replica, instance)
        case _:
            return False


def _replica_ended(change: Change, replica: Replica, instance: Instance) -> bool:
    """From an agent ``terminated`` is the confirmation that ends the listing (E49)."""
    if instance.is_terminal or instance.is_primary:
        return False
    if instance.cloud_id is None:
        if replica.is_live:
            standby.end(change, replica, ReplicaEnd.ENDED_BY_AGENT)
            return True
        return False
    machine_ended(change, instance)
    return True


def sync(
    change: Change, replica: Replica, *, status: str | None, latency_ms: int | None, progress: Decimal | None
) -> Replica:
    """E50: see ``standby.sync_report``."""
    return standby.sync_report(change, replica, status=status, latency_ms=latency_ms, progress=progress)


def adopt_launched(change: Change, facts: MachineFacts, replica: Replica) -> Replica:
    """E45 with a real id: the machine runs already, so the replica starts at RP-2."""
    return standby.machine_started(change, replica, facts)
