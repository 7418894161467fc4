"""Commands in motion: queueing, hand-out with a lease, expiry, cancellation (CM-1…CM-9). Reports are in reports.py."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from attrs import evolve

from spotcore.agents import Life
from spotcore.change import Change
from spotcore.commands import (
    MAX_DELIVERIES,
    Command,
    CommandEvent,
    CommandKind,
    CommandState,
    Origin,
    hand_out_order,
    moved,
    ttl,
)
from spotcore.errors import NotFound, StateConflict
from spotcore.events import EventKind, Level
from spotcore.ids import CommandId
from spotcore.instances import Instance
from spotcore.pools import Mode


class Dialect(StrEnum):
    """How an agent fetches commands: E69 or E71."""

    CLASSIC = "classic"
    MODERN = "modern"


SLOW: Final = frozenset({CommandKind.LAUNCH, CommandKind.TERMINATE})  # Z31
ACKNOWLEDGED: Final = "acknowledged"  # in a command's result: it was run, and only its effect is missing
WITHDRAWABLE: Final = frozenset({Origin.USER, Origin.URGENT_DECISION, Origin.DECISION, Origin.SCHEDULED})
WINDING_DOWN: Final = frozenset({CommandKind.TERMINATE, CommandKind.SELF_DESTRUCT})  # Z25


def queue(
    change: Change,
    kind: CommandKind,
    origin: Origin,
    *,
    target: Instance | None = None,
    makes_primary: bool = False,
    target_mode: Mode | None = None,
    target_pool_id: str | None = None,
    terminate_old: bool = True,
    terminate_wait_seconds: int = 0,
    trigger: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Command:
    """A new pending command: the one constructor of every kind (failure 48)."""
    lifetime = ttl(kind, origin)
    command = Command(
        command_id=CommandId(change.new_id()),
        request_id=change.new_id(),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        kind=kind,
        origin=origin,
        created_at=change.now,
        expires_at=change.now + lifetime if lifetime else None,
        addressed_to=change.agent.primary_id,
        target_instance_id=target.instance_id if target else None,
        makes_primary=makes_primary,
        target_mode=target_mode,
        target_pool_id=target_pool_id,
        target_az=target.az if target else None,
        instance_type=target.instance_type if target else None,
        ami_id=target.ami_id if target else None,
        terminate_old=terminate_old,
        terminate_wait_seconds=terminate_wait_seconds,
        trigger=trigger,
        params=params or {},
    )
    change.put(command)
    change.event(
        EventKind.COMMAND_QUEUED, instance=target, command_id=command.command_id, command_type=kind.value,
        priority=command.priority, origin=origin.value,
    )  # fmt: skip
    return command


def cancel(change: Change, command: Command, reason: str, *, level: Level | None = None) -> None:
    """End an open command that must not run, or whose result no longer counts."""
    _finish(change, command, CommandEvent.CANCEL, EventKind.COMMAND_CANCELLED, reason, level=level)


def withdraw(change: Change, command_id: str) -> Command:
    """A person takes back a planned move that no agent has fetched yet (1.5). Twice is the same.

    Raises ``NotFound``; ``StateConflict`` for what is being executed or has ended, and for what keeps a workload alive.
    """
    command = change.aggregate.commands.get(CommandId(command_id))
    if command is None:
        raise NotFound("unknown command")
    if command.state is CommandState.CANCELLED:
        return command
    if command.state is not CommandState.PENDING:
        raise StateConflict(f"the command is {command.state}; only one that no agent has fetched can be cancelled")
    if command.origin not in WITHDRAWABLE or command.kind in WINDING_DOWN:
        raise StateConflict(
            "emergencies, replicas and clean-up take care of themselves; only planned moves are cancelled"
        )
    return _finish(change, command, CommandEvent.CANCEL, EventKind.COMMAND_CANCELLED, "taken back by a person")


def complete(change: Change, command: Command, result: Mapping[str, Any] | None = None) -> Command:
    """The command did what it was for."""
    if result:
        command = evolve(command, result={**command.result, **result})
    return _finish(change, command, CommandEvent.COMPLETE, EventKind.COMMAND_COMPLETED, None)


def fail(change: Change, command: Command, reason: str, *, level: Level | None = None) -> Command:
    """The agent said that it did not work."""
    return _finish(change, command, CommandEvent.FAIL, EventKind.COMMAND_FAILED, reason, level=level)


def _finish(
    change: Change,
    command: Command,
    event: CommandEvent,
    kind: EventKind,
    reason: str | None,
    *,
    level: Level | None = None,
) -> Command:
    after = moved(command, event, change.now, reason=reason)
    change.put(after)
    target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
    change.event(
        kind, instance=target, level=level, command_id=command.command_id, command_type=command.kind.value,
        status=after.state.value, reason=reason,
    )  # fmt: skip
    return after


def pass_time(change: Change) -> None:
    """Expire what was never fetched (CM-5) and take back what was never answered (Z13). Also runs before a hand-out and
    before any rule that looks for open commands, so that nothing depends on a punctual job (JB-5)."""
    for command in change.aggregate.open_commands:
        if command.state is CommandState.PENDING and command.expired_by(change.now):
            _finish(change, command, CommandEvent.EXPIRE, EventKind.COMMAND_EXPIRED, "not fetched in time")
        elif command.leased_until is not None and change.now >= command.leased_until:
            _lapse(change, command)


def _lapse(change: Change, command: Command) -> None:
    may_return = (
        command.deliveries < MAX_DELIVERIES
        and not command.expired_by(change.now)
        and not command.result.get(ACKNOWLEDGED)  # it was run; only its effect is missing
    )
    if may_return and command.kind not in (CommandKind.SWITCH, CommandKind.LAUNCH):
        change.put(moved(command, CommandEvent.LEASE_LAPSED, change.now))
        change.event(EventKind.COMMAND_RETURNED, command_id=command.command_id, command_type=command.kind.value)
        return
    reason = "acknowledged, but nothing came of it" if command.result.get(ACKNOWLEDGED) else "undeliverable"
    _finish(change, command, CommandEvent.UNDELIVERABLE, EventKind.COMMAND_UNDELIVERABLE, reason)


def hand_out(change: Change, dialect: Dialect) -> tuple[Command, ...]:
    """The commands an agent gets now, marked executing under a lease (CM-3, CM-4)."""
    pass_time(change)
    due = [command for command in change.aggregate.open_commands if command.state is CommandState.PENDING]
    chosen = _classic(change, due) if dialect is Dialect.CLASSIC else _modern(change, due)
    handed = tuple(moved(command, CommandEvent.HAND_OUT, change.now) for command in chosen)
    for command in handed:
        change.put(command)
        change.event(
            EventKind.COMMAND_HANDED_OUT, command_id=command.command_id, command_type=command.kind.value,
            delivery=command.deliveries,
        )  # fmt: skip
        _note_informed(change, command)
        _note_attempt(change, command)
    return handed


def quiet_until(change: Change) -> datetime | None:
    """When time alone may give the agent a command that it does not get now; None when only a change can."""
    ends = []
    for command in change.aggregate.open_commands:
        ends.append(command.expires_at if command.state is CommandState.PENDING else command.leased_until)
        target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
        if command.kind is CommandKind.TERMINATE and target is not None and target.notice_protects(change.now):
            ends.append(target.protected_until)
    return min((end for end in ends if end is not None), default=None)


def _classic(change: Change, due: list[Command]) -> list[Command]:
    """At most one switch, and none while one is executing (T08, T11)."""
    if change.agent.life is not Life.LIVE:
        return []  # Z25
    switches = [command for command in due if command.kind is CommandKind.SWITCH and _allowed(change, command)]
    return sorted(switches, key=hand_out_order)[:1]


def _modern(change: Change, due: list[Command]) -> list[Command]:
    """In order, ending with the first slow command (Z31); a self-destruct comes alone and last (AG-9, T33)."""
    chosen: list[Command] = []
    for command in sorted(due, key=hand_out_order):
        if command.kind is CommandKind.SWITCH or not _allowed(change, command) or not _safe_now(change, command):
            continue
        if command.kind is CommandKind.SELF_DESTRUCT:
            ending = any(other.kind is CommandKind.TERMINATE for other in change.aggregate.open_commands)
            if chosen or ending:
                continue
            return [command]
        chosen.append(command)
        if command.kind in SLOW:
            break
    return chosen


def _allowed(change: Change, command: Command) -> bool:
    """What a retiring agent (Z25) and a suspended client (Z26) still get."""
    if change.agent.life is not Life.LIVE:
        return command.kind in WINDING_DOWN
    if change.client.is_suspended:
        return command.origin is Origin.EMERGENCY or command.kind in WINDING_DOWN
    return True


def _safe_now(change: Change, command: Command) -> bool:
    """Re-check a termination at hand-out: never the primary or a live replica's machine (I7, CM-8), never before Z19
    allows it, and clean-up never while an incident is open (Z31)."""
    if command.kind is not CommandKind.TERMINATE:
        return True
    target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
    if target is None or target.cloud_id is None or target.is_terminal:
        cancel(change, command, "its machine is gone")
        return False
    replica = change.aggregate.replica_on(target.instance_id)
    if target.is_primary or (replica is not None and replica.is_live):
        cancel(change, command, "its target is needed", level=Level.CRITICAL)
        return False
    if target.notice_protects(change.now):
        return False
    return not (command.origin is Origin.CLEAN_UP and change.aggregate.open_incidents)


def _note_attempt(change: Change, command: Command) -> None:
    """Attempts to end a machine are spaced from their hand-out on (IN-25)."""
    target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
    if command.kind is CommandKind.TERMINATE and target is not None:
        change.put(evolve(target, last_end_attempt_at=change.now))


def _note_informed(change: Change, command: Command) -> None:
    """The new primary of a failover learns of it with this hand-out (5.5)."""
    if command.kind is not CommandKind.PROMOTE:
        return
    for incident in change.aggregate.incidents.values():
        told = incident.new_instance_id == command.target_instance_id and incident.informed_ms is None
        if told and incident.notice_at is not None:
            change.put(evolve(incident, informed_ms=elapsed_ms(incident.notice_at, change.now)))


def elapsed_ms(start: datetime, end: datetime) -> int:
    """Whole milliseconds from ``start`` to ``end``, never negative."""
    return max(0, round((end - start).total_seconds() * 1000))
