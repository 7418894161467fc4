"""Interruption signals and failover (section 5). Needs nothing but the aggregate: no model, no queue, no price.

``signal`` judges one notice; ``pursue`` drives every open termination on, and runs at the end of each decision, so that
a promotion happens in the very transaction that made it possible.
"""

from collections.abc import Sequence
from datetime import datetime

from attrs import evolve, frozen

from spotcore import dispatch, endings, placement, risk, roles, standby, switching
from spotcore.change import Change
from spotcore.commands import Command, CommandKind, CommandState, Origin
from spotcore.events import EventKind, Level
from spotcore.ids import CloudId, IncidentId, InstanceId, ReplicaId
from spotcore.incidents import (
    FAILOVER_COMMIT_LIMIT_MS,
    FORCE_BEFORE,
    LAUNCH_ATTEMPTS,
    RETRY_AFTER_FAILURE,
    Incident,
    IncidentEvent,
    IncidentState,
    Outcome,
    Severity,
    clamped_deadline,
    moved,
    raised,
)
from spotcore.instances import Instance, InstanceEvent, InstanceStatus
from spotcore.instances import moved as instance_moved
from spotcore.placement import Placement, Via
from spotcore.replicas import PROMOTABLE_PROGRESS, Replica, ReplicaEnd, ReplicaKind, ReplicaState
from spotcore.switches import SwitchTrigger

KIND = {Severity.REBALANCE: ReplicaKind.EMERGENCY_REBALANCE, Severity.TERMINATION: ReplicaKind.EMERGENCY_TERMINATION}


@frozen(kw_only=True)
class Signal:
    """One notice as an agent sends it. Its natural key is (agent, machine, severity, deadline) (Z10)."""

    severity: Severity
    cloud_id: str | None = None  # None: the agent's primary is meant (EM-9)
    deadline: datetime | None = None
    received_at: datetime
    replica_id: str | None = None  # EM-11
    exclude_zones: tuple[str, ...] = ()
    preferred_zones: tuple[str, ...] = ()


@frozen(kw_only=True)
class SignalAnswer:
    """What stands after a signal, in core words; the wire's are Z9."""

    outcome: Outcome
    incident: Incident | None = None
    replica: Replica | None = None
    replica_instance: Instance | None = None
    new_replica: bool = False
    duplicate: bool = False
    snapshot_required: bool = False
    reason: str | None = None


def signal(change: Change, notice: Signal) -> SignalAnswer:
    """Judge a notice (EM-1…EM-16). Never refuses: "nothing could be done" is an answer too (T17)."""
    dispatch.pass_time(change)
    machine = change.aggregate.machine(notice.cloud_id) if notice.cloud_id else change.aggregate.primary
    if machine is None:
        return _unknown(change, notice)
    stored = _finished_failover(change, machine, notice)
    if stored is not None:
        return stored
    deadline, odd = None, False
    if notice.severity is Severity.TERMINATION:
        deadline, odd = clamped_deadline(notice.deadline, change.now)
    if machine.is_primary:
        incident, duplicate = _opened(change, machine, notice, deadline, odd)
        return evolve(_on_primary(change, incident, notice), duplicate=duplicate)
    replica = change.aggregate.replica_on(machine.instance_id)
    if replica is not None and replica.is_live:
        return _on_replica(change, machine, replica, notice, deadline)
    return _on_retired(change, machine, notice, deadline)


def _unknown(change: Change, notice: Signal) -> SignalAnswer:
    """EM-8, EM-10: stored and warned of, no role change; unknown and foreign answer alike."""
    if notice.cloud_id is not None:
        change.event(EventKind.NOTICE_UNKNOWN_INSTANCE, machine=notice.cloud_id, severity=notice.severity.value)
        return SignalAnswer(outcome=Outcome.MONITOR, reason="unknown_instance")
    return SignalAnswer(outcome=Outcome.MONITOR, reason="no_primary")


def _finished_failover(change: Change, machine: Instance, notice: Signal) -> SignalAnswer | None:
    """EM-2: the same machine's notice after its failover gives the stored outcome, never a second promotion."""
    past = [
        row for row in change.aggregate.incidents.values() if row.instance_id == machine.instance_id and row.promoted_at
    ]
    if machine.is_primary or not past or machine.status is InstanceStatus.RUNNING_REPLICA:
        return None
    incident = max(past, key=lambda row: row.opened_at)
    if notice.severity is Severity.REBALANCE and incident.severity is Severity.REBALANCE:
        return None
    if incident.is_open:
        incident = evolve(incident, last_signal_at=change.now, signals=incident.signals + 1)
        change.put(incident)
    if notice.severity is Severity.TERMINATION:
        deadline, _ = clamped_deadline(notice.deadline, change.now)
        _announce_end(change, machine, deadline)
    return SignalAnswer(outcome=Outcome.REPLICA_PROMOTED, incident=incident, duplicate=True)


def _announce_end(change: Change, machine: Instance, deadline: datetime) -> None:
    """AWS will end this machine: remember the earlier deadline (EM-5, Z19)."""
    if not machine.is_terminal:
        known = machine.notice_deadline
        change.put(evolve(machine, notice_deadline=min(known, deadline) if known else deadline))


def _on_retired(change: Change, machine: Instance, notice: Signal, deadline: datetime | None) -> SignalAnswer:
    """EM-6: recorded on the machine; the primary is untouched."""
    if deadline is not None:
        _announce_end(change, machine, deadline)
    if machine.notice_deadline is None or notice.severity is Severity.REBALANCE:
        change.event(EventKind.NOTICE_ON_STANDBY, instance=machine, severity=notice.severity.value)
    return SignalAnswer(outcome=Outcome.MONITOR, reason="not_primary")


def _on_replica(
    change: Change, machine: Instance, replica: Replica, notice: Signal, deadline: datetime | None
) -> SignalAnswer:
    """RP-16, EM-7: a rebalance is recorded; a termination ends the replica at once, and its mode sends a successor."""
    if deadline is None:
        change.event(EventKind.NOTICE_ON_STANDBY, instance=machine, severity=notice.severity.value)
        return SignalAnswer(outcome=Outcome.MONITOR, reason="not_primary")
    _announce_end(change, machine, deadline)
    change.put(
        Incident(
            incident_id=IncidentId(change.new_id()),
            client_id=change.agent.client_id,
            agent_id=change.agent.agent_id,
            instance_id=machine.instance_id,
            severity=Severity.TERMINATION,
            state=IncidentState.RESOLVED,
            pool_id=machine.pool_id,
            opened_at=change.now,
            last_signal_at=change.now,
            notice_at=notice.received_at,
            deadline=deadline,
            outcome=Outcome.MONITOR,
            closed_at=change.now,
            actions=("its replica ended",),
        )
    )
    standby.end(change, replica, ReplicaEnd.AWS_INTERRUPTED)
    standby.count_failure(change)  # MR-4: the successor comes after the back-off, the first at once
    return SignalAnswer(outcome=Outcome.MONITOR, reason="not_primary")


def _opened(
    change: Change, primary: Instance, notice: Signal, deadline: datetime | None, odd: bool
) -> tuple[Incident, bool]:
    """The machine's incident, opened or one signal further on (EM-1, EM-3, EM-4, EM-5)."""
    known = change.aggregate.incident_of(primary.instance_id)
    rises = notice.severity is Severity.TERMINATION and (known is None or known.severity is Severity.REBALANCE)
    if known is not None:
        incident = raised(known, notice.severity, deadline, change.now)
        if rises:
            incident = evolve(incident, notice_at=notice.received_at, outcome=None)
    else:
        incident = Incident(
            incident_id=IncidentId(change.new_id()),
            client_id=change.agent.client_id,
            agent_id=change.agent.agent_id,
            instance_id=primary.instance_id,
            severity=notice.severity,
            pool_id=primary.pool_id,
            opened_at=change.now,
            last_signal_at=change.now,
            notice_at=notice.received_at if rises else None,
            deadline=deadline,
        )
    if odd:
        incident = evolve(incident, anomalies=(*incident.anomalies, "termination time out of range")[:8])  # EM-15
    change.put(incident)
    if rises:
        change.put(evolve(primary, notice_deadline=incident.deadline))
        change.event(
            EventKind.TERMINATION_NOTICE, instance=primary, incident_id=incident.incident_id,
            deadline=incident.deadline, event_type="termination_notice", action="detected",
        )  # fmt: skip
    elif known is None:
        change.event(EventKind.REBALANCE_RECOMMENDATION, instance=primary, incident_id=incident.incident_id)
    elif incident.deadline != known.deadline:
        change.put(evolve(primary, notice_deadline=incident.deadline))
    return incident, known is not None and not rises


def _on_primary(change: Change, incident: Incident, notice: Signal) -> SignalAnswer:
    if incident.severity is Severity.REBALANCE:
        return _rebalance(change, incident, notice.exclude_zones, notice.preferred_zones)
    stood_by = change.aggregate.live_replica
    _clear_the_way(change, incident)
    named = _named_replica(change, notice)
    if named is not None:
        change.put(evolve(change.aggregate.incidents[incident.incident_id], replica_id=named.replica_id))
    pursue(change, exclude_zones=notice.exclude_zones, preferred_zones=notice.preferred_zones)
    answer = standing(change, change.aggregate.incidents[incident.incident_id])
    is_new = answer.replica is not None and (stood_by is None or stood_by.replica_id != answer.replica.replica_id)
    return evolve(answer, new_replica=is_new)


def _named_replica(change: Change, notice: Signal) -> Replica | None:
    """EM-11: a named replica counts only if it is this agent's, live and promotable; I2 leaves just one such."""
    replica = change.aggregate.replicas.get(ReplicaId(notice.replica_id)) if notice.replica_id else None
    return replica if replica is not None and replica.is_live else None


def _clear_the_way(change: Change, incident: Incident) -> None:
    """EM-12: the emergency wins over a switch. What the switch has launched already is kept as the replica."""
    if change.aggregate.live_replica is None:
        for machine in switching.in_flight_machines(change):
            _adopt(change, incident, machine, ReplicaState.SYNCING)
            break
        else:
            _adopt_launch(change, incident)
    for command in change.aggregate.open_commands:
        if _overtaken(change, command):
            dispatch.cancel(change, command, "a termination notice overtook it")
            target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
            pending = command.state is CommandState.PENDING
            if command.kind is CommandKind.LAUNCH and target is not None and pending:
                endings.launch_ended(change, target)


def _overtaken(change: Change, command: Command) -> bool:
    """An open role change that is not the emergency's own, and does not bring the machine the emergency waits for."""
    planned = command.is_role_changing and command.origin is not Origin.EMERGENCY
    return planned and not _feeds_replica(change, command.target_instance_id)


def _feeds_replica(change: Change, instance_id: InstanceId | None) -> bool:
    replica = change.aggregate.live_replica
    return replica is not None and instance_id is not None and replica.instance_id == instance_id


def _adopt_launch(change: Change, incident: Incident) -> None:
    """A modern agent is launching already and deaf until it is done: its machine becomes the replacement."""
    for command in change.aggregate.open_commands:
        if command.kind is CommandKind.LAUNCH and command.makes_primary and command.state is CommandState.EXECUTING:
            machine = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
            if machine is not None and machine.status is InstanceStatus.LAUNCHING:
                _adopt(change, incident, machine, ReplicaState.LAUNCHING)
                return


def _adopt(change: Change, incident: Incident, machine: Instance, state: ReplicaState) -> None:
    if state is ReplicaState.SYNCING:
        machine = evolve(
            instance_moved(machine, InstanceEvent.CONFIRM_STANDBY, change.now),
            bound_command_id=None,
            confirmed_at=machine.confirmed_at or change.now,
        )
        change.put(machine)
    replica = Replica(
        replica_id=ReplicaId(change.new_id()),
        client_id=machine.client_id,
        agent_id=machine.agent_id,
        instance_id=machine.instance_id,
        kind=ReplicaKind.EMERGENCY_TERMINATION,
        state=state,
        mode=machine.mode,
        pool_id=machine.pool_id,
        az=machine.az,
        instance_type=machine.instance_type,
        created_at=change.now,
        syncing_at=change.now if state is ReplicaState.SYNCING else None,
        incident_id=incident.incident_id,
    )
    change.put(replica)
    change.event(
        EventKind.EMERGENCY_REPLICA_CREATED, instance=machine, incident_id=incident.incident_id,
        replica_id=replica.replica_id, target=machine.pool_id or machine.mode.value, event_type="replica_adopted",
        action="adopted",
    )  # fmt: skip


def _rebalance(
    change: Change, incident: Incident, exclude_zones: Sequence[str] = (), preferred_zones: Sequence[str] = ()
) -> SignalAnswer:
    """5.3: make sure that a replica exists; keep serving."""
    live = change.aggregate.live_replica
    if live is not None:
        attached = evolve(
            moved(incident, IncidentEvent.HANDLE, change.now),
            replica_id=live.replica_id,
            outcome=Outcome.REPLICA_READY,
            actions=_with(incident, f"replica {live.replica_id} stands by"),
        )
        change.put(attached)
        return standing(change, attached)
    judged = risk.current(change.aggregate, change.market, change.now)
    if judged is not None and judged.score < change.agent.config.emergency_min_risk:
        return SignalAnswer(outcome=Outcome.MONITOR, incident=incident, reason="risk_below_minimum")
    if change.aggregate.role_change_in_flight is not None:
        incident = evolve(incident, next_attempt_at=incident.next_attempt_at or change.now)
        change.put(incident)
        return SignalAnswer(outcome=Outcome.MONITOR, incident=incident, reason="switch_in_flight")
    place = placement.safest(
        change.aggregate, change.market, change.now,
        exclude_zones=tuple(exclude_zones), preferred_zones=tuple(preferred_zones),
    )  # fmt: skip
    return _start(change, incident, place)


def resume(change: Change) -> None:
    """A rebalance met a switch that was under way. When that is over and the machine still serves, the replica is
    prepared after all (5.3): the agent may not say it again."""
    primary = change.aggregate.primary
    incident = change.aggregate.incident_of(primary.instance_id) if primary is not None else None
    if incident is None or incident.severity is not Severity.REBALANCE or incident.state is not IncidentState.DETECTED:
        return
    if incident.next_attempt_at is not None and change.aggregate.role_change_in_flight is None and change.agent.is_live:
        incident = evolve(incident, next_attempt_at=None)
        change.put(incident)
        _rebalance(change, incident)


def _with(incident: Incident, action: str) -> tuple[str, ...]:
    return incident.actions if action in incident.actions else (*incident.actions, action)


def _start(change: Change, incident: Incident, place: Placement) -> SignalAnswer:
    """Launch the replacement, in the way this build can (Z9, Z27, Z29)."""
    termination = incident.severity is Severity.TERMINATION
    target = place.pool_id or place.mode.value
    if place.via is Via.NOTHING:
        return _nothing_launchable(change, incident)
    incident = evolve(
        moved(incident, IncidentEvent.HANDLE, change.now),
        launch_attempts=incident.launch_attempts + 1,
        tried_pools=(*incident.tried_pools, target)[-32:],
        promote_on_ready=termination,
        next_attempt_at=change.now + RETRY_AFTER_FAILURE if incident.launch_attempts + 1 >= LAUNCH_ATTEMPTS else None,
        actions=_with(incident, f"launch in {target} requested"),
    )
    if place.via is Via.SWITCH_COMMAND:
        switching.order(change, place, Origin.EMERGENCY, SwitchTrigger.EMERGENCY)
        change.put(evolve(incident, outcome=Outcome.ONDEMAND_SWITCH))
    else:
        replica = standby.launch(
            change, place, KIND[incident.severity], Origin.EMERGENCY, incident_id=incident.incident_id,
            makes_primary=termination,
        )  # fmt: skip
        change.put(evolve(incident, outcome=Outcome.LAUNCH, replica_id=replica.replica_id))
    replica_id = change.aggregate.incidents[incident.incident_id].replica_id
    requested = change.aggregate.replicas[replica_id].instance_id if replica_id else incident.instance_id
    change.event(
        EventKind.EMERGENCY_REPLICA_CREATED,
        instance=change.aggregate.instances.get(requested),
        level=Level.CRITICAL if termination else Level.WARNING,
        incident_id=incident.incident_id,
        replica_id=replica_id,
        target=target,
        event_type="emergency_replica_created",
        action=place.via.value,
    )
    return evolve(standing(change, change.aggregate.incidents[incident.incident_id]), new_replica=True)


def _nothing_launchable(change: Change, incident: Incident) -> SignalAnswer:
    """Z27: this build cannot launch. For a termination people must hear it at once."""
    if incident.severity is Severity.TERMINATION and incident.state is not IncidentState.FAILED:
        incident = evolve(moved(incident, IncidentEvent.FAIL, change.now), outcome=Outcome.NOTHING_LAUNCHABLE)
        change.put(incident)
        change.event(
            EventKind.FAILOVER_FAILED, instance=change.aggregate.instances.get(incident.instance_id),
            incident_id=incident.incident_id, reason="this agent build cannot launch a replacement",
            event_type="failover_failed", action="snapshot_required",
        )  # fmt: skip
    return standing(change, incident)


def standing(change: Change, incident: Incident) -> SignalAnswer:
    """What stands for an incident now: the stored outcome, or the better one reached meanwhile (EM-1, 5.4)."""
    if incident.promoted_at is not None:
        return SignalAnswer(outcome=Outcome.REPLICA_PROMOTED, incident=incident)
    live = change.aggregate.live_replica
    machine = change.aggregate.instances.get(live.instance_id) if live else None
    if incident.severity is Severity.REBALANCE:
        outcome = incident.outcome or Outcome.MONITOR
        if live is not None:
            outcome = Outcome.REPLICA_READY if live.state is ReplicaState.READY else Outcome.LAUNCH
        return SignalAnswer(outcome=outcome, incident=incident, replica=live, replica_instance=machine)
    if live is None:
        outcome = incident.outcome or Outcome.NOTHING_LAUNCHABLE
        return SignalAnswer(outcome=outcome, incident=incident, snapshot_required=True, reason="no_replica")
    if live.state is ReplicaState.LAUNCHING:
        started = incident.outcome is Outcome.LAUNCH
        return SignalAnswer(
            outcome=Outcome.LAUNCH if started else Outcome.PROMOTION_PENDING,
            incident=incident, replica=live, replica_instance=machine, snapshot_required=True,
            reason="replica_launching",
        )  # fmt: skip
    return SignalAnswer(
        outcome=Outcome.PROMOTION_PENDING, incident=incident, replica=live, replica_instance=machine,
        reason="replica_syncing",
    )  # fmt: skip


def pursue(change: Change, *, exclude_zones: Sequence[str] = (), preferred_zones: Sequence[str] = ()) -> None:
    """Drive the open failover on: promote as soon as possible, else see that a replacement is on its way (5.4)."""
    if not change.agent.is_live:
        return
    _take_along(change)
    incident = change.aggregate.open_failover
    if incident is None:
        _fill_vacancy(change)
        return
    live = change.aggregate.live_replica
    if live is not None:
        if _takes_over_now(change, incident, live):
            _fail_over(change, incident, live)
        elif not incident.promote_on_ready or incident.replica_id != live.replica_id:
            waiting = moved(incident, IncidentEvent.HANDLE, change.now)
            change.put(
                evolve(
                    waiting, promote_on_ready=True, replica_id=live.replica_id,
                    outcome=incident.outcome if incident.outcome is Outcome.LAUNCH else Outcome.PROMOTION_PENDING,
                )
            )  # fmt: skip
        return
    if change.aggregate.role_change_in_flight is not None:
        return
    if incident.launch_attempts >= LAUNCH_ATTEMPTS:
        _failed(change, incident, f"{incident.launch_attempts} launches failed")
        incident = change.aggregate.incidents[incident.incident_id]
    if not _may_attempt(change, incident):
        return
    _start(change, incident, _next_place(change, incident, exclude_zones, preferred_zones))


def _take_along(change: Change) -> None:
    """A machine that had its notice before it had the role: the incident is its own from now on (EM-13)."""
    primary = change.aggregate.primary
    if primary is None or not primary.notice_protects(change.now) or change.aggregate.open_failover is not None:
        return  # I11
    known = change.aggregate.incident_of(primary.instance_id)
    if known is None or known.severity is Severity.REBALANCE:
        notice = Signal(severity=Severity.TERMINATION, deadline=primary.notice_deadline, received_at=change.now)
        _opened(change, primary, notice, primary.notice_deadline, odd=False)


def _takes_over_now(change: Change, incident: Incident, replica: Replica) -> bool:
    if not standby.can_take_over(change, replica):
        return False
    if replica.state is ReplicaState.READY or change.aggregate.primary is None:
        return True
    if replica.progress is not None and replica.progress >= PROMOTABLE_PROGRESS:
        return True
    return forced_at(incident) is not None and change.now >= forced_at(incident)  # type: ignore[operator]


def forced_at(incident: Incident) -> datetime | None:
    """When a syncing replica is promoted all the same: 30 s before the deadline (5.4)."""
    return incident.deadline - FORCE_BEFORE if incident.deadline else None


def _fail_over(change: Change, incident: Incident, replica: Replica) -> None:
    loses = replica.state is not ReplicaState.READY
    switch = standby.promote(change, replica, SwitchTrigger.EMERGENCY, data_loss_possible=loses)
    handled = change.aggregate.incidents[incident.incident_id]
    took = dispatch.elapsed_ms(handled.notice_at or handled.opened_at, change.now)
    informed = None if change.agent.abilities.modern else took  # 5.5: a classic agent has nothing to fetch
    change.put(evolve(handled, failover_ms=took, informed_ms=informed, replica_id=replica.replica_id))
    machine = change.aggregate.instances[replica.instance_id]
    change.event(
        EventKind.FAILOVER_COMPLETED, instance=machine, incident_id=incident.incident_id, switch_id=switch.switch_id,
        replica_id=replica.replica_id, failover_ms=took, data_loss_possible=loses, event_type="failover_completed",
        action="replica_promoted",
    )  # fmt: skip
    if took > FAILOVER_COMMIT_LIMIT_MS:
        change.event(EventKind.FAILOVER_SLOW, incident_id=incident.incident_id, failover_ms=took)


def _fill_vacancy(change: Change) -> None:
    """Nobody serves and a replica is ready: there is nobody to share the role with, so it takes it at once."""
    live = change.aggregate.live_replica
    if change.aggregate.primary is not None or live is None or live.state is not ReplicaState.READY:
        return
    if standby.can_take_over(change, live):
        standby.promote(change, live, SwitchTrigger.EMERGENCY, reason="the agent had no primary")


def _may_attempt(change: Change, incident: Incident) -> bool:
    """The first three attempts follow each other at once, later ones 60 s apart (5.4)."""
    if incident.outcome is Outcome.NOTHING_LAUNCHABLE:
        return False
    return incident.next_attempt_at is None or change.now >= incident.next_attempt_at


def _next_place(
    change: Change, incident: Incident, exclude_zones: Sequence[str], preferred_zones: Sequence[str]
) -> Placement:
    """Fastest pool, then the next, then on-demand (5.4)."""
    return placement.fastest_boot(
        change.aggregate,
        change.market,
        change.now,
        exclude=incident.tried_pools,
        exclude_zones=tuple(exclude_zones),
        preferred_zones=tuple(preferred_zones),
        ondemand_only=incident.launch_attempts + 1 >= LAUNCH_ATTEMPTS,
    )


def deadline_passed(change: Change, incident: Incident) -> None:
    """The machine's time is over and nobody has taken its role: say so, and go on trying (5.4)."""
    _failed(change, incident, "the deadline passed without a successor")


def _failed(change: Change, incident: Incident, reason: str) -> None:
    """People hear of it once; attempts go on, one per 60 s (5.4)."""
    if incident.state is IncidentState.FAILED:
        return
    change.put(moved(incident, IncidentEvent.FAIL, change.now))
    change.event(
        EventKind.FAILOVER_FAILED, instance=change.aggregate.instances.get(incident.instance_id),
        incident_id=incident.incident_id, reason=reason,
        event_type="failover_failed", action="none",
    )  # fmt: skip


def machine_gone(change: Change, incident: Incident) -> None:
    """Deadline + 180 s without a sign of life of the noticed primary: it is gone, and nobody serves (IN-11)."""
    machine = change.aggregate.instances[incident.instance_id]
    if not machine.is_primary:
        return
    roles.lose_primary(change)
    endings.confirm_end(change, machine, asserted=True)
    change.event(EventKind.AGENT_WITHOUT_PRIMARY, instance=machine, incident_id=incident.incident_id)


def survived(change: Change, incident: Incident) -> None:
    """The noticed primary still heartbeats after its deadline + 180 s: it keeps its role (IN-11)."""
    cleared = moved(incident, IncidentEvent.CLEAR, change.now)
    change.put(evolve(cleared, anomalies=(*incident.anomalies, "the machine outlived its notice")[:8]))
    machine = change.aggregate.instances[incident.instance_id]
    change.put(evolve(machine, notice_deadline=None))
    change.event(EventKind.INCIDENT_CLOSED, instance=machine, incident_id=incident.incident_id, state="cleared")
    release_replica(change)


def quiet(change: Change, incident: Incident) -> None:
    """Nothing followed a rebalance for two hours: the incident is over (5.3)."""
    _close(change, incident, IncidentEvent.CLEAR if incident.promoted_at is None else IncidentEvent.RESOLVE)


def outlived(change: Change, incident: Incident) -> None:
    """The role has moved, and the noticed machine still runs after its deadline + 180 s: the incident is over, the
    machine is a zombie like any other."""
    noted = evolve(incident, anomalies=(*incident.anomalies, "the machine outlived its notice")[:8])
    machine = change.aggregate.instances[incident.instance_id]
    if not machine.is_terminal:
        change.put(evolve(machine, notice_deadline=None))
    _close(change, noted, IncidentEvent.RESOLVE)


def _close(change: Change, incident: Incident, event: IncidentEvent) -> None:
    closed = moved(incident, event, change.now)
    change.put(closed)
    change.event(EventKind.INCIDENT_CLOSED, incident_id=incident.incident_id, state=closed.state.value)
    release_replica(change)


def release_replica(change: Change) -> None:
    """The emergency replica goes with its incident, unless manual mode wants a replica anyway (5.3)."""
    live = change.aggregate.live_replica
    if live is None or not live.is_emergency or change.aggregate.open_incidents:
        return
    if change.agent.config.manual_replica_enabled:
        change.put(evolve(live, kind=ReplicaKind.MANUAL))
    else:
        standby.end(change, live, ReplicaEnd.INCIDENT_CLEARED)


def close_handled(change: Change) -> None:
    """An incident is resolved once its successor serves and the old machine is gone (1.8)."""
    for incident in change.aggregate.open_incidents:
        machine = change.aggregate.instances.get(incident.instance_id)
        gone = machine is None or machine.is_terminal
        if gone and (incident.promoted_at is not None or not change.agent.is_live):
            change.put(moved(incident, IncidentEvent.RESOLVE, change.now))
            change.event(EventKind.INCIDENT_CLOSED, incident_id=incident.incident_id, state="resolved")


def primary_reported_gone(change: Change, machine: Instance, *, claims_success: bool) -> SignalAnswer | None:
    """IN-26: a report says that the current primary has ended. It is never simply removed: critical, and if the report
    claims success it counts as a passed deadline."""
    change.event(EventKind.PRIMARY_REPORTED_TERMINATED, instance=machine, claims_success=claims_success)
    if not claims_success:
        return None
    return signal(
        change,
        Signal(
            severity=Severity.TERMINATION,
            cloud_id=CloudId(machine.cloud_id) if machine.cloud_id else None,
            deadline=change.now,
            received_at=change.now,
        ),
    )
