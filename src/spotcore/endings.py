"""Ending machines: who is to end, when it may be asked, and what a confirmation means (IN-7…IN-13, IN-20…IN-26)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from spotcore import dispatch
from spotcore.aggregate import Aggregate
from spotcore.change import Change
from spotcore.commands import Command, CommandKind, Origin
from spotcore.events import EventKind, Level
from spotcore.instances import (
    FAILURES_BEFORE_ALARM,
    NOTICE_GRACE,
    EndReason,
    Instance,
    InstanceEvent,
    InstanceStatus,
    attempt_spacing,
    moved,
)

__all__ = [
    "EndReason", "Listed", "attempt_failed", "begin_end", "confirm_end", "launch_ended", "may_be_asked_at",
    "queue_terminations", "terminate_list", "zombie_due_at",
]  # fmt: skip

_ORIGIN: Final = {
    EndReason.ZOMBIE_TIMEOUT: Origin.CLEAN_UP,
    EndReason.REPLICA_TERMINATED: Origin.REPLICA_END,
    EndReason.MANUAL_TERMINATE: Origin.OPERATOR,
}


def begin_end(change: Change, instance: Instance, reason: EndReason, why: str) -> Instance:
    """The machine is to end (IN-7, IN-8). It runs and costs money until the cloud confirms (IN-22)."""
    ending = evolve(moved(instance, InstanceEvent.END, change.now), end_reason=reason, bound_command_id=None)
    change.put(ending)
    queue_terminations(change)  # now, so that whoever hears of the end hears of its command
    command = _end_command(change, ending)
    change.event(
        EventKind.INSTANCE_TERMINATION_REQUESTED, instance=ending, reason=why, end_reason=reason.value,
        command_id=command.command_id if command else None,
    )  # fmt: skip
    return ending


def _end_command(change: Change, instance: Instance) -> Command | None:
    """The open command that ends the machine."""
    for command in change.aggregate.open_commands:
        if command.kind is CommandKind.TERMINATE and command.target_instance_id == instance.instance_id:
            return command
    return None


def launch_ended(change: Change, instance: Instance) -> None:
    """A requested machine that never came (IN-4)."""
    ended = evolve(moved(instance, InstanceEvent.LAUNCH_ENDED, change.now), bound_command_id=None)
    change.put(ended)
    change.event(EventKind.INSTANCE_STATE_CHANGED, instance=ended, old_status="launching", new_status="terminated")


def confirm_end(change: Change, instance: Instance, *, asserted: bool = False) -> Instance:
    """The machine is gone: confirmed, or ``asserted`` by AWS's own passed deadline (IN-10, IN-13, IN-22).

    Already terminal: nothing changes (GR-4). Never called for the primary while it may still serve (IN-26).
    """
    if instance.is_terminal:
        return instance
    ended = evolve(moved(instance, InstanceEvent.CONFIRM_END, change.now), end_asserted=asserted)
    change.put(ended)
    since = instance.terminating_since
    change.event(
        EventKind.INSTANCE_TERMINATION_CONFIRMED,
        instance=ended,
        asserted=asserted,
        old_status=instance.status.value,
        termination_duration_seconds=round((change.now - since).total_seconds()) if since else None,
    )
    command = _end_command(change, ended)
    if command is not None:
        dispatch.complete(change, command)
    return ended


def attempt_failed(change: Change, instance: Instance, error: str | None) -> None:
    """AWS refused to end the machine: try again after the spacing, alarm at the twelfth failure (IN-25)."""
    failures = instance.end_failures + 1
    change.put(evolve(instance, end_failures=failures, last_end_attempt_at=change.now))
    change.event(EventKind.INSTANCE_TERMINATION_FAILED, instance=instance, failures=failures, reason=error)
    if failures == FAILURES_BEFORE_ALARM:
        change.event(EventKind.INSTANCE_TERMINATION_STUCK, instance=instance, failures=failures, level=Level.CRITICAL)


def zombie_due_at(aggregate: Aggregate, instance: Instance) -> datetime | None:
    """When a zombie is to end (IN-7): the wait from ``zombie_since`` (IN-21), not before Z19 allows it. None: never.

    What a person said of this machine counts before the agent's setting (CM-9, E46)."""
    config = aggregate.agent.config
    if instance.status is not InstanceStatus.ZOMBIE or instance.zombie_since is None or instance.cloud_id is None:
        return None
    wanted = config.auto_terminate_enabled or instance.end_reason is EndReason.MANUAL_TERMINATE
    if not wanted or instance.end_reason is EndReason.KEPT or not aggregate.agent.abilities.can_terminate:
        return None
    due = instance.zombie_since + timedelta(seconds=config.terminate_wait_seconds)
    return max(due, instance.notice_deadline + NOTICE_GRACE) if instance.notice_deadline else due


def may_be_asked_at(instance: Instance) -> datetime | None:
    """When a ``terminating`` machine may next be named to an agent: spacing (IN-25) and Z19. None: not nameable."""
    if instance.status is not InstanceStatus.TERMINATING or instance.cloud_id is None:
        return None
    since = instance.terminating_since or instance.created_at
    spaced = instance.last_end_attempt_at + attempt_spacing(instance) if instance.last_end_attempt_at else since
    return max(spaced, instance.notice_deadline + NOTICE_GRACE) if instance.notice_deadline else spaced


@frozen(kw_only=True)
class Listed:
    """One entry of the terminate list (IN-25)."""

    instance: Instance
    reason: EndReason
    seconds: int  # waiting as a zombie, else since it was marked


def terminate_list(aggregate: Aggregate, now: datetime) -> tuple[Listed, ...]:
    """Machines of this agent that its host shall end now (IN-25); never the primary or a live replica's (I7)."""
    return tuple(_listed(aggregate, now))


def _listed(aggregate: Aggregate, now: datetime) -> Iterable[Listed]:
    for instance in sorted(aggregate.instances.values(), key=lambda row: row.created_at):
        replica = aggregate.replica_on(instance.instance_id)
        if instance.is_primary or (replica is not None and replica.is_live):
            continue  # I7
        zombie_due, askable = zombie_due_at(aggregate, instance), may_be_asked_at(instance)
        if zombie_due is not None and zombie_due <= now and instance.zombie_since is not None:
            waiting = round((now - instance.zombie_since).total_seconds())
            if _spaced(instance, now):
                reason = instance.end_reason or EndReason.ZOMBIE_TIMEOUT
                yield Listed(instance=instance, reason=reason, seconds=waiting)
        elif askable is not None and askable <= now:
            reason = instance.end_reason or EndReason.MANUAL_TERMINATE
            if reason is EndReason.ZOMBIE_TIMEOUT and not aggregate.agent.config.auto_terminate_enabled:
                continue
            since = instance.terminating_since or instance.created_at
            yield Listed(instance=instance, reason=reason, seconds=round((now - since).total_seconds()))


def _spaced(instance: Instance, now: datetime) -> bool:
    last = instance.last_end_attempt_at
    return last is None or now - last >= attempt_spacing(instance)


def queue_terminations(change: Change) -> None:
    """A modern agent is told of each machine to end by a command of its own, one attempt per spacing (IN-25)."""
    if not change.agent.abilities.modern:
        return
    targeted = {
        command.target_instance_id
        for command in change.aggregate.open_commands
        if command.kind is CommandKind.TERMINATE
    }
    for entry in terminate_list(change.aggregate, change.now):
        instance = entry.instance
        if instance.status is InstanceStatus.TERMINATING and instance.instance_id not in targeted:
            dispatch.queue(change, CommandKind.TERMINATE, _ORIGIN[entry.reason], target=instance)
