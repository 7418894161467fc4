"""Planned moves: asking for a switch, finishing it, and judging what agents report of it (1.6, Z21, E75)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from attrs import evolve, frozen

from spotcore import dispatch, endings, roles, standby
from spotcore.change import Change
from spotcore.commands import Command, CommandKind, CommandState, Origin
from spotcore.events import EventKind
from spotcore.ids import CloudId, InstanceId, SwitchId
from spotcore.instances import Instance, InstanceEvent, InstanceStatus, moved
from spotcore.placement import Placement, Via
from spotcore.pools import Mode
from spotcore.replicas import ReplicaEnd, ReplicaEvent
from spotcore.replicas import moved as replica_moved
from spotcore.roles import ReportedPrices
from spotcore.switches import Switch, SwitchState, SwitchTimes, SwitchTrigger

T = TypeVar("T")


@frozen(kw_only=True)
class MachineReport:
    """A machine as a switch report describes it; None where it says nothing."""

    cloud_id: CloudId
    instance_type: str | None = None
    region: str | None = None
    az: str | None = None
    ami_id: str | None = None
    mode: Mode = Mode.UNKNOWN


@frozen(kw_only=True)
class SwitchReport:
    """E75, its aliases already folded."""

    old: MachineReport
    new: MachineReport
    prices: ReportedPrices = ReportedPrices()
    times: SwitchTimes = SwitchTimes()
    trigger: SwitchTrigger = SwitchTrigger.MANUAL  # used only when no command matches
    command_id: str | None = None
    success: bool = True
    error_message: str | None = None
    downtime_seconds: Decimal | None = None


def order(
    change: Change, placement: Placement, origin: Origin, trigger: SwitchTrigger, *, terminate_old: bool | None = None
) -> Command:
    """Queue a switch in the way of the agent's build: one ``switch``, or a chain that begins with a launch (3.4).

    Guards are the caller's. ``terminate_old`` None means the agent's setting; an emergency never asks for it (Z19).
    """
    config = change.agent.config
    ends_old = config.auto_terminate_enabled if terminate_old is None else terminate_old
    if origin is Origin.EMERGENCY:
        ends_old = False
    said = {} if terminate_old is None else {roles.SAID_OF_OLD: terminate_old}
    if placement.via is Via.LAUNCH_COMMAND:
        return dispatch.queue(
            change,
            CommandKind.LAUNCH,
            origin,
            target=standby.requested_machine(change, placement),
            makes_primary=True,
            target_mode=placement.mode,
            target_pool_id=placement.pool_id,
            terminate_old=ends_old,
            trigger=trigger.value,
            params={"role_hint": "primary", **said},
        )
    return dispatch.queue(
        change,
        CommandKind.SWITCH,
        origin,
        target_mode=placement.mode,
        target_pool_id=placement.pool_id,
        terminate_old=ends_old,
        terminate_wait_seconds=max(1, config.terminate_wait_seconds) if ends_old else 0,  # CM-9
        trigger=trigger.value,
        params=said,
    )


def expected_machine(change: Change, command: Command) -> tuple[str | None, str | None]:
    """Type and zone of the machine an executing ``switch`` will bring (RG-6): the target pool's zone, or for on-demand
    the primary's."""
    primary = change.aggregate.primary
    instance_type = primary.instance_type if primary else None
    if command.target_pool_id:
        return instance_type, command.target_pool_id.rpartition(".")[2]
    return instance_type, primary.az if primary else None


def bound_machine(change: Change, command: Command) -> Instance | None:
    """The machine registered for a switch that is not finished yet."""
    return next(
        (
            row
            for row in change.aggregate.instances.values()
            if row.bound_command_id == command.command_id and row.status is InstanceStatus.LAUNCHING
        ),
        None,
    )


def finish(change: Change, machine: Instance, command: Command) -> Switch:
    """A machine bound to an executing ``switch`` is up: the switch is done, report or none (Z21)."""
    dispatch.complete(change, command, {"finished_by": "registration"})
    return roles.change_primary(
        change,
        machine,
        trigger=SwitchTrigger(command.trigger or SwitchTrigger.MANUAL),
        command=command,
        times=SwitchTimes(initiated_at=command.delivered_at, ready_at=change.now),
    )


def chain_confirmed(change: Change, instance: Instance, facts: standby.MachineFacts, command: Command) -> Switch:
    """The first step of a modern switch came true: the promotion belongs to the same transaction (1.2)."""
    confirmed = standby.confirm(change, instance, facts, final=InstanceStatus.RUNNING_PRIMARY)
    dispatch.complete(change, command, {"cloud_instance_id": facts.cloud_id})
    return roles.change_primary(
        change,
        confirmed,
        trigger=SwitchTrigger(command.trigger or SwitchTrigger.MANUAL),
        command=command,
        times=SwitchTimes(initiated_at=command.delivered_at, launched_at=change.now, ready_at=change.now),
    )


def failed(change: Change, command: Command, reason: str) -> None:
    """SW-9: the old primary keeps its role, what was launched ends, the cooldown starts and the failure counts."""
    machine = bound_machine(change, command)
    if machine is not None:
        endings.begin_end(change, machine, endings.EndReason.MANUAL_TERMINATE, "its switch failed")
    target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
    if target is not None and target.status is InstanceStatus.LAUNCHING:
        endings.launch_ended(change, target)
    primary = change.aggregate.primary
    switch = Switch(
        switch_id=SwitchId(change.new_id()),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        state=SwitchState.FAILED,
        trigger=SwitchTrigger(command.trigger or SwitchTrigger.MANUAL),
        recorded_at=change.now,
        old_instance_id=primary.instance_id if primary else None,
        old_cloud_id=primary.cloud_id if primary else None,
        old_mode=primary.mode if primary else Mode.UNKNOWN,
        old_pool_id=primary.pool_id if primary else None,
        new_mode=command.target_mode or Mode.UNKNOWN,
        new_pool_id=command.target_pool_id,
        times=SwitchTimes(initiated_at=command.delivered_at),
        command_id=command.command_id,
        reason=reason,
    )
    change.put(switch)
    change.set_agent(last_switch_at=change.now)
    change.event(EventKind.SWITCH_FAILED, switch_id=switch.switch_id, reason=reason, command_id=command.command_id)
    _tell_of_the_switch_alone(change, command)


def _tell_of_the_switch_alone(change: Change, command: Command) -> None:
    change.tell_once(
        EventKind.SWITCH_FAILED, EventKind.COMMAND_FAILED, EventKind.COMMAND_UNDELIVERABLE, about=command.command_id
    )


def judge_report(change: Change, report: SwitchReport) -> Switch:
    """What a switch report amounts to (SW-4…SW-7); the record it made or already had."""
    dispatch.pass_time(change)
    new = change.aggregate.machine(report.new.cloud_id)
    old = change.aggregate.machine(report.old.cloud_id)
    command = matched_command(change, report)
    if not report.success:
        return _report_of_failure(change, report, command)
    if new is not None and new.is_primary:
        return _duplicate(change, new, old, report)
    if new is not None and new.status in (InstanceStatus.TERMINATING, InstanceStatus.TERMINATED):
        return _superseded(change, new, report, command)
    primary = change.aggregate.primary
    normal = command is not None or (old is not None and primary is not None and old.instance_id == primary.instance_id)
    if not normal or (new is not None and new.status is InstanceStatus.ZOMBIE):
        return _superseded(change, new, report, command)
    return _normal(change, new, old, report, command)


def matched_command(change: Change, report: SwitchReport) -> Command | None:
    """The open switch a report answers: by its id, else the executing one with the same target (E75)."""
    for command in change.aggregate.open_commands:
        if command.kind is not CommandKind.SWITCH:
            continue
        if report.command_id is not None:
            if command.command_id == report.command_id:
                return command
        elif command.state is CommandState.EXECUTING and _same_target(command, report):
            return command
    return None


def _same_target(command: Command, report: SwitchReport) -> bool:
    if report.new.mode is not Mode.UNKNOWN and command.target_mode is not report.new.mode:
        return False
    if command.target_mode is Mode.SPOT and command.target_pool_id and report.new.az:
        return command.target_pool_id.rpartition(".")[2] == report.new.az
    return True


def _normal(
    change: Change, new: Instance | None, old: Instance | None, report: SwitchReport, command: Command | None
) -> Switch:
    """SW-4: one transaction as PR-4…PR-7; the current primary is the one demoted, whatever the report calls old."""
    if command is not None:
        command = dispatch.complete(change, command, {"finished_by": "report"})
    machine = new if new is not None else _row(change, report.new)
    replica = change.aggregate.replica_on(machine.instance_id)
    if replica is not None and replica.is_live:
        if standby.can_take_over(change, replica):
            change.put(replica_moved(replica, ReplicaEvent.PROMOTE, change.now))
        else:
            standby.end(change, replica, ReplicaEnd.SUPERSEDED)
        machine = change.aggregate.instances[machine.instance_id]
    machine = _filled(machine, report.new)
    if machine.confirmed_at is None:
        machine = evolve(machine, confirmed_at=change.now)
    primary = change.aggregate.primary
    switch = roles.change_primary(
        change,
        machine,
        trigger=SwitchTrigger(command.trigger) if command and command.trigger else report.trigger,
        command=command,
        prices=report.prices,
        times=ordered(report.times),
        downtime_seconds=reported_downtime(report),
        unsolicited=command is None,  # SW-7
        reported=True,
    )
    if report.times.old_ended_at is not None and primary is not None and primary.cloud_id == report.old.cloud_id:
        endings.confirm_end(change, change.aggregate.instances[primary.instance_id])  # SW-8, IN-13
    elif report.times.old_ended_at is not None and old is not None and not old.is_primary and not old.is_terminal:
        _confirm_old(change, old)
    return switch


def _row(change: Change, report: MachineReport) -> Instance:
    instance = Instance(
        instance_id=InstanceId(change.new_id()),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        status=InstanceStatus.LAUNCHING,
        cloud_id=report.cloud_id,
        instance_type=report.instance_type,
        region=report.region or change.agent.region,
        az=report.az,
        ami_id=report.ami_id,
        created_at=change.now,
        confirmed_at=change.now,
    ).with_mode(report.mode)
    change.put(instance)
    return instance


def _filled(machine: Instance, report: MachineReport) -> Instance:
    """What the report knows and the row does not; the report's mode is evidence for an unknown one (AG-3)."""
    filled = evolve(
        machine,
        instance_type=machine.instance_type or report.instance_type,
        region=machine.region or report.region,
        az=machine.az or report.az,
        ami_id=machine.ami_id or report.ami_id,
    )
    return filled.with_mode(report.mode) if filled.mode is Mode.UNKNOWN else filled


def _duplicate(change: Change, new: Instance, old: Instance | None, report: SwitchReport) -> Switch:
    """SW-5: the role has moved already. Unknown times are filled, the old machine's end confirmed, nothing counted."""
    made = [row for row in change.aggregate.switches.values() if row.new_instance_id == new.instance_id]
    switch = max(made, key=lambda row: row.recorded_at, default=None)
    if report.times.old_ended_at is not None and old is not None and not old.is_primary:
        _confirm_old(change, old)
    command = matched_command(change, report)
    if command is not None:
        dispatch.complete(change, command, {"finished_by": "report"})
    if switch is None:  # an agent's first machine: reported before it ever switched (I14 excepts it)
        noted = _noted(change, SwitchState.SUPERSEDED, report, None)
        why = "its machine was primary from the start"
        return noted or _note(change, SwitchState.SUPERSEDED, new, report, None, why)
    if switch.reported:
        return switch
    enriched = evolve(
        switch,
        reported=True,
        times=_merged(switch.times, ordered(report.times)),
        downtime_seconds=_first(switch.downtime_seconds, reported_downtime(report)),
    )
    change.put(enriched)
    change.event(EventKind.SWITCH_ENRICHED, instance=new, switch_id=switch.switch_id)
    return enriched


def _confirm_old(change: Change, old: Instance) -> None:
    replica = change.aggregate.replica_on(old.instance_id)
    if replica is not None and replica.is_live:
        return  # it stands by: its end is no fact of a switch report
    if old.status in (InstanceStatus.ZOMBIE, InstanceStatus.TERMINATING):
        endings.confirm_end(change, old)  # IN-13


def _superseded(change: Change, new: Instance | None, report: SwitchReport, command: Command | None) -> Switch:
    """SW-6: an emergency overtook it; the new machine is a zombie to be ended, unless it stands by already."""
    noted = _noted(change, SwitchState.SUPERSEDED, report, command)
    if noted is not None:
        return noted
    if command is not None:
        dispatch.cancel(change, command, "overtaken")
    machine = new if new is not None else _row(change, report.new)
    if machine.status is InstanceStatus.LAUNCHING:
        machine = evolve(moved(machine, InstanceEvent.OVERTAKEN, change.now), bound_command_id=None)
        change.put(machine)
    switch = _note(change, SwitchState.SUPERSEDED, machine, report, command, "overtaken by another primary change")
    change.event(EventKind.SWITCH_SUPERSEDED, instance=machine, switch_id=switch.switch_id)
    return switch


def _report_of_failure(change: Change, report: SwitchReport, command: Command | None) -> Switch:
    noted = _noted(change, SwitchState.FAILED, report, command)
    if noted is not None:
        return noted
    if command is not None:
        dispatch.fail(change, command, report.error_message or "the agent reported a failure")
        machine = bound_machine(change, command)
        if machine is not None:
            endings.begin_end(change, machine, endings.EndReason.MANUAL_TERMINATE, "its switch failed")
    change.set_agent(last_switch_at=change.now)  # SW-9
    switch = _note(change, SwitchState.FAILED, None, report, command, report.error_message)
    change.event(EventKind.SWITCH_FAILED, switch_id=switch.switch_id, reason=report.error_message)
    if command is not None:
        _tell_of_the_switch_alone(change, command)
    return switch


def _noted(change: Change, state: SwitchState, report: SwitchReport, command: Command | None) -> Switch | None:
    """The record of the same report, or of the same failed command, when it came before (ID-6). A report that still
    answers an open command is a new one, whatever machine it names."""
    if command is not None:
        return None
    for row in change.aggregate.switches.values():
        same_command = report.command_id is not None and row.command_id == report.command_id
        same_report = row.reported and row.new_cloud_id == report.new.cloud_id
        if row.state is state and (same_command or same_report):
            return row
    return None


def _note(
    change: Change,
    state: SwitchState,
    new: Instance | None,
    report: SwitchReport,
    command: Command | None,
    reason: str | None,
) -> Switch:
    """A record of a report that moved no role."""
    old = change.aggregate.machine(report.old.cloud_id)
    switch = Switch(
        switch_id=SwitchId(change.new_id()),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        state=state,
        trigger=SwitchTrigger(command.trigger) if command and command.trigger else report.trigger,
        recorded_at=change.now,
        old_instance_id=old.instance_id if old else None,
        new_instance_id=new.instance_id if new else None,
        old_cloud_id=report.old.cloud_id,
        new_cloud_id=report.new.cloud_id,
        old_mode=report.old.mode,
        new_mode=report.new.mode,
        times=ordered(report.times),
        command_id=command.command_id if command else None,
        unsolicited=command is None,
        reported=True,
        reason=reason,
    )
    change.put(switch)
    return switch


def reported_downtime(report: SwitchReport) -> Decimal | None:
    """What the report says, else what its times say (SW-1)."""
    return _first(report.downtime_seconds, _downtime(report.times))


def _downtime(times: SwitchTimes) -> Decimal | None:
    """Ready to traffic moved, when both are known and in order; else None (SW-1)."""
    if times.traffic_switched_at is None or times.ready_at is None:
        return None
    seconds = (times.traffic_switched_at - times.ready_at) / timedelta(seconds=1)
    return Decimal(str(seconds)) if seconds >= 0 else None


def ordered(times: SwitchTimes) -> SwitchTimes:
    """The times that keep SW-3's order: one that lies before an earlier step is dropped, not bent."""
    kept: dict[str, datetime | None] = {}
    latest: datetime | None = None
    for name in ("initiated_at", "image_created_at", "launched_at", "ready_at", "old_ended_at"):
        at: datetime | None = getattr(times, name)
        if at is not None and latest is not None and at < latest:
            at = None
        kept[name] = at
        latest = at if at is not None else latest
    return SwitchTimes(traffic_switched_at=times.traffic_switched_at, **kept)


def _merged(known: SwitchTimes, reported: SwitchTimes) -> SwitchTimes:
    """Unknown times filled where SW-3's order allows it; known ones are kept (SW-5)."""
    merged = known
    for name in ("initiated_at", "image_created_at", "launched_at", "ready_at", "traffic_switched_at", "old_ended_at"):
        if getattr(merged, name) is None:
            filled = evolve(merged, **{name: getattr(reported, name)})
            merged = filled if ordered(filled) == filled else merged
    return merged


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)


def in_flight_machines(change: Change) -> Iterable[Instance]:
    """Machines up for a planned switch that is still executing: an emergency may adopt one (EM-12). The switch that an
    emergency has asked for itself finishes as ever (Z21)."""
    for command in change.aggregate.open_commands:
        is_planned = command.kind is CommandKind.SWITCH and command.origin is not Origin.EMERGENCY
        machine = bound_machine(change, command) if is_planned else None
        if machine is not None:
            yield machine
