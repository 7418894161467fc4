"""Replicas in motion: launching, confirming, ending and promoting the machine that stands by (1.4, PR-1…PR-7)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from attrs import evolve, frozen

from spotcore import dispatch, endings, roles
from spotcore.agents import FAILURES_BEFORE_ALARM, REPLICA_BACKOFF
from spotcore.change import Change
from spotcore.commands import Command, CommandKind, CommandState, Origin
from spotcore.errors import ReplicaNotPromotable, ReplicaNotReady, StateConflict
from spotcore.events import EventKind, Level
from spotcore.ids import CloudId, IncidentId, InstanceId, ReplicaId
from spotcore.instances import Instance, InstanceEvent, InstanceStatus
from spotcore.instances import moved as instance_moved
from spotcore.placement import Placement, Via
from spotcore.pools import Mode
from spotcore.replicas import (
    MANUAL_SYNC_FRESHNESS,
    TRANSITIONS,
    Replica,
    ReplicaEnd,
    ReplicaEvent,
    ReplicaKind,
    ReplicaState,
    moved,
)
from spotcore.switches import Switch, SwitchTrigger


@frozen(kw_only=True)
class MachineFacts:
    """What a report says of a new machine; None where it says nothing."""

    cloud_id: CloudId
    instance_type: str | None = None
    az: str | None = None
    ami_id: str | None = None


def requested_machine(change: Change, placement: Placement) -> Instance:
    """A machine row that waits for the cloud to name it (IN-1). Type and image are the primary's (RP-13)."""
    primary = change.aggregate.primary
    instance = Instance(
        instance_id=InstanceId(change.new_id()),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        status=InstanceStatus.LAUNCHING,
        instance_type=placement.instance_type,
        region=change.agent.region,
        az=placement.az,
        mode=placement.mode,
        pool_id=placement.pool_id,
        ami_id=primary.ami_id if primary else _last_image(change),
        created_at=change.now,
        launch_requested_at=change.now,
    )
    change.put(instance)
    return instance


def _last_image(change: Change) -> str | None:
    known = [row for row in change.aggregate.instances.values() if row.ami_id]
    return max(known, key=lambda row: row.created_at).ami_id if known else None


def launch(
    change: Change,
    placement: Placement,
    kind: ReplicaKind,
    origin: Origin,
    *,
    created_by: str = "system",
    incident_id: IncidentId | None = None,
    makes_primary: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Replica:
    """A replica being launched (RP-1): a v4c finds the row in its list (Z29), a v5 gets a launch command."""
    instance = requested_machine(change, placement)
    replica = Replica(
        replica_id=ReplicaId(change.new_id()),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        instance_id=instance.instance_id,
        kind=kind,
        mode=placement.mode,
        pool_id=placement.pool_id,
        az=placement.az,
        instance_type=placement.instance_type,
        created_by=created_by,
        created_at=change.now,
        incident_id=incident_id,
        same_pool=placement.same_pool,
        tags=tags or {},
    )
    change.put(replica)
    if placement.via is Via.LAUNCH_COMMAND:
        dispatch.queue(
            change,
            CommandKind.LAUNCH,
            origin,
            target=instance,
            makes_primary=makes_primary,
            target_mode=placement.mode,
            target_pool_id=placement.pool_id,
            params={"role_hint": "replica", "replica_id": replica.replica_id},
        )
    change.event(
        EventKind.REPLICA_CREATED, instance=instance, replica_id=replica.replica_id, replica_kind=kind.value,
        target=placement.pool_id or placement.mode.value, same_pool=placement.same_pool,
    )  # fmt: skip
    return replica


def stray(change: Change, facts: MachineFacts, reason: str) -> Instance:
    """A machine that runs and that nobody wants: a row straight in ``terminating`` (IN-4, RP-10, CM-6)."""
    known = change.aggregate.machine(facts.cloud_id)
    if known is not None and not known.is_terminal:
        return known
    instance = Instance(
        instance_id=InstanceId(change.new_id()),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        status=InstanceStatus.LAUNCHING,
        cloud_id=facts.cloud_id,
        instance_type=facts.instance_type,
        az=facts.az,
        region=change.agent.region,
        created_at=change.now,
        confirmed_at=change.now,
    )
    return endings.begin_end(change, instance, endings.EndReason.MANUAL_TERMINATE, reason)


def machine_started(change: Change, replica: Replica, facts: MachineFacts) -> Replica:
    """The replica's machine has a name now (RP-2). A late or second machine becomes a stray (RP-10)."""
    instance = change.aggregate.instances[replica.instance_id]
    if instance.cloud_id == facts.cloud_id and replica.state is not ReplicaState.LAUNCHING:
        return replica
    if not replica.is_live or (instance.cloud_id is not None and instance.cloud_id != facts.cloud_id):
        stray(change, facts, "the replica has ended or has another machine")
        return replica
    instance = confirm(change, instance, facts)
    replica = moved(replica, ReplicaEvent.MACHINE_STARTED, change.now)
    if change.agent.abilities.modern:  # Z30: the confirmation is the readiness
        replica = moved(replica, ReplicaEvent.SYNCED, change.now)
    change.put(replica)
    if replica.state is ReplicaState.READY:
        _became_ready(change, replica, instance)
    return replica


def confirm(
    change: Change, instance: Instance, facts: MachineFacts, *, final: InstanceStatus = InstanceStatus.RUNNING_REPLICA
) -> Instance:
    """The cloud has named a requested machine: it runs as a standby from now on (IN-2, SV-1). ``final`` is what it
    becomes in the same transaction. Raises ``StateConflict`` for a machine that is another one of this agent (I10)."""
    known = change.aggregate.machine(facts.cloud_id)
    if known is not None and known.instance_id != instance.instance_id and not known.is_terminal:
        raise StateConflict("that machine is another one of this agent already")
    confirmed = evolve(
        instance_moved(instance, InstanceEvent.CONFIRM_STANDBY, change.now),
        cloud_id=facts.cloud_id,
        confirmed_at=instance.confirmed_at or change.now,
        last_seen_at=change.now,
        instance_type=facts.instance_type or instance.instance_type,
        az=facts.az or instance.az,
        ami_id=facts.ami_id or instance.ami_id,
    )
    change.put(confirmed)
    change.event(
        EventKind.INSTANCE_LAUNCH_CONFIRMED,
        instance=confirmed,
        final_status=final.value,
        instance_type=confirmed.instance_type,
        az=confirmed.az,
        launch_duration_seconds=_launch_seconds(confirmed),
    )
    return confirmed


def _launch_seconds(instance: Instance) -> int | None:
    if instance.launch_requested_at is None or instance.confirmed_at is None:
        return None
    return round((instance.confirmed_at - instance.launch_requested_at).total_seconds())


def synced(change: Change, replica: Replica) -> Replica:
    """The replica can take over (RP-3)."""
    replica = moved(replica, ReplicaEvent.SYNCED, change.now)
    change.put(replica)
    _became_ready(change, replica, change.aggregate.instances[replica.instance_id])
    return replica


def _became_ready(change: Change, replica: Replica, instance: Instance) -> None:
    change.set_agent(replica_failures=0, next_replica_at=None)  # MR-4: success resets
    change.event(EventKind.REPLICA_READY, instance=instance, replica_id=replica.replica_id)


def sync_report(
    change: Change, replica: Replica, *, status: str | None, latency_ms: int | None, progress: Decimal | None
) -> Replica:
    """What the replica says of its copy of the state; at 100 % it is ready (RP-3)."""
    if not replica.is_live:
        return replica
    replica = evolve(
        replica,
        last_sync_at=change.now,
        sync_status=status or replica.sync_status,
        sync_latency_ms=latency_ms if latency_ms is not None else replica.sync_latency_ms,
        progress=progress if progress is not None else replica.progress,
    )
    change.put(replica)
    if replica.state is ReplicaState.SYNCING and progress is not None and progress >= 100:
        return synced(change, replica)
    return replica


def fail(change: Change, replica: Replica, reason: ReplicaEnd, message: str | None = None) -> None:
    """The replica will not come (RP-4…RP-6): back off before the next one (MR-4)."""
    failed = evolve(moved(replica, ReplicaEvent.FAIL, change.now), end_reason=reason, error_message=message)
    change.put(failed)
    change.event(
        EventKind.REPLICA_FAILED, instance=change.aggregate.instances.get(replica.instance_id),
        replica_id=replica.replica_id, reason=message or reason.value,
    )  # fmt: skip
    count_failure(change)
    _end_machine(change, failed)


def count_failure(change: Change) -> None:
    """One more replica lost in a row: the next launch waits longer, the fifth alarms once (MR-4)."""
    failures = change.agent.replica_failures + 1
    wait = REPLICA_BACKOFF[min(failures - 1, len(REPLICA_BACKOFF) - 1)]
    change.set_agent(replica_failures=failures, next_replica_at=change.now + wait)
    if failures == FAILURES_BEFORE_ALARM:
        change.event(EventKind.REPLICAS_FAILING, failures=failures, streak=change.now.isoformat())


def end(change: Change, replica: Replica, reason: ReplicaEnd) -> Replica:
    """The replica is not wanted any more (RP-8); its machine is to end (RP-14)."""
    ended = evolve(moved(replica, ReplicaEvent.END, change.now), end_reason=reason)
    change.put(ended)
    change.event(
        EventKind.REPLICA_TERMINATED, instance=change.aggregate.instances.get(replica.instance_id),
        replica_id=replica.replica_id, reason=reason.value,
    )  # fmt: skip
    _end_machine(change, ended)
    return ended


def _end_machine(change: Change, replica: Replica) -> None:
    instance = change.aggregate.instances[replica.instance_id]
    if instance.status is InstanceStatus.RUNNING_REPLICA:
        endings.begin_end(change, instance, endings.EndReason.REPLICA_TERMINATED, "its replica ended")
    elif instance.status is InstanceStatus.LAUNCHING:
        give_up_launch(change, instance)


def give_up_launch(change: Change, instance: Instance) -> None:
    """A requested machine is not wanted any more. A launch an agent is executing cannot be called back: its row waits
    for the command's end (IN-4), and what comes of it is a stray."""
    for command in launch_commands(change, instance):
        if command.state is CommandState.EXECUTING:
            return
        dispatch.cancel(change, command, "the machine is not wanted any more")
    endings.launch_ended(change, instance)


def launch_commands(change: Change, instance: Instance) -> list[Command]:
    """Open launch commands for a requested machine."""
    return [
        command
        for command in change.aggregate.open_commands
        if command.kind is CommandKind.LAUNCH and command.target_instance_id == instance.instance_id
    ]


REFUSED: Final = frozenset({ReplicaState.TERMINATED, ReplicaState.FAILED})


def require_promotable(change: Change, replica: Replica) -> None:
    """PR-2 and PR-3 for a promotion by hand. Raises ``ReplicaNotPromotable`` or ``ReplicaNotReady``."""
    if replica.state in REFUSED or replica.state is ReplicaState.PROMOTED:
        raise ReplicaNotPromotable(f"the replica is {replica.state.value}", status=replica.state.value)
    instance = change.aggregate.instances[replica.instance_id]
    never_reported = replica.last_sync_at is None
    fresh = never_reported or change.now - replica.last_sync_at <= MANUAL_SYNC_FRESHNESS  # type: ignore[operator]
    ready = replica.state is ReplicaState.READY and fresh
    bare = replica.state is ReplicaState.SYNCING and never_reported  # Z7
    if instance.cloud_id is None or not (ready or bare):
        raise ReplicaNotReady(
            "the replica cannot take over yet",
            status=replica.state.value,
            progress=replica.progress if replica.progress is not None else (100 if ready else 0),
        )


def can_take_over(change: Change, replica: Replica) -> bool:
    """True when the replica has a confirmed machine, which every promotion needs (5.2)."""
    instance = change.aggregate.instances[replica.instance_id]
    return (
        (replica.state, ReplicaEvent.PROMOTE) in TRANSITIONS
        and instance.cloud_id is not None
        and instance.status is InstanceStatus.RUNNING_REPLICA
    )


def promote(
    change: Change,
    replica: Replica,
    trigger: SwitchTrigger,
    *,
    keep_old_as_replica: bool = False,
    terminate_old: bool | None = None,
    data_loss_possible: bool = False,
    reason: str | None = None,
) -> Switch:
    """The replica takes the role (PR-4…PR-7). With ``keep_old_as_replica`` the old primary stands by next (IN-9);
    ``terminate_old`` is a person's word on its end, None the setting's."""
    instance = change.aggregate.instances[replica.instance_id]
    old = change.aggregate.primary
    change.put(moved(replica, ReplicaEvent.PROMOTE, change.now))
    for command in launch_commands(change, instance):
        dispatch.complete(change, command)
    switch = roles.change_primary(
        change,
        instance,
        trigger=trigger,
        keep_old_as_replica=keep_old_as_replica,
        terminate_old=terminate_old,
        data_loss_possible=data_loss_possible,
        reason=reason,
    )
    change.event(
        EventKind.REPLICA_PROMOTED,
        instance=change.aggregate.instances[instance.instance_id],
        level=Level.INFO,
        replica_id=replica.replica_id,
        old_status="running_replica",
        new_status="running_primary",
    )
    if keep_old_as_replica and old is not None:
        _stand_by(change, old)
    return switch


def may_keep_old(change: Change, replica: Replica) -> bool:
    """IN-9: the old primary may stand by unless it has an open incident or another replica is live."""
    old = change.aggregate.primary
    others = [row for row in change.aggregate.replicas.values() if row.is_live and row.replica_id != replica.replica_id]
    return old is not None and change.aggregate.incident_of(old.instance_id) is None and not others


def _stand_by(change: Change, old: Instance) -> None:
    """The demoted primary is the new replica, ready at once: its machine is confirmed (Z30, MR-3)."""
    replica = Replica(
        replica_id=ReplicaId(change.new_id()),
        client_id=old.client_id,
        agent_id=old.agent_id,
        instance_id=old.instance_id,
        kind=ReplicaKind.MANUAL,
        state=ReplicaState.READY,
        mode=old.mode if old.mode is not Mode.UNKNOWN else Mode.SPOT,
        pool_id=old.pool_id,
        az=old.az,
        instance_type=old.instance_type,
        created_by="user",
        created_at=change.now,
        syncing_at=change.now,
        ready_at=change.now,
    )
    change.put(replica)
    change.event(EventKind.REPLICA_CREATED, instance=old, replica_id=replica.replica_id, replica_kind="manual")
