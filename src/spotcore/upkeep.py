"""Time, and what follows from every change.

``decide`` is the one way to a decision: it runs a rule on a Change, lets consequences settle, and seals the outcome
with the instant at which time alone may change something next. A job's tick is a decision with the rule ``pass_time``.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import evolve, frozen

from spotcore import dispatch, emergencies, endings, liveness, manual_mode, reports, retirement, standby, switching
from spotcore.agents import CONFIG_LAG, RETIREMENT_LIMIT, Life, Link
from spotcore.aggregate import Aggregate
from spotcore.change import NO_FACTS, Change, Outcome
from spotcore.commands import CommandKind, CommandState
from spotcore.events import EventKind
from spotcore.incidents import QUIET_AFTER, Incident, Severity
from spotcore.instances import (
    LAUNCH_TIMEOUT,
    NOTICE_GRACE,
    ZOMBIE_REMINDER_FIRST,
    ZOMBIE_REMINDER_NEXT,
    Instance,
    InstanceStatus,
)
from spotcore.market import UNKNOWN_MARKET, Market
from spotcore.replicas import SILENCE_TIMEOUT, SYNC_TIMEOUT, Replica, ReplicaEnd, ReplicaState
from spotcore.steady import Signs
from spotcore.switches import SwitchTrigger

Rule = Callable[[Change], Any]
AFTER_SILENCE: Final = frozenset({"offline", "heartbeat_loss"})  # alarms that every heartbeat puts off
SILENCE: Final = AFTER_SILENCE | {"silent"}  # alarms that ring because nobody was heard
MAX_ROUNDS = 200  # far more than any chain of consequences has links


def decide(
    aggregate: Aggregate,
    now: datetime,
    rule: Rule,
    *,
    actor: str = "system",
    market: Market = UNKNOWN_MARKET,
    new: bool = False,
    facts: Mapping[str, str] = NO_FACTS,
) -> Outcome:
    """The outcome of one rule on one aggregate. Pure: the same arguments give the same outcome. ``facts`` go with every
    event."""
    change = Change(aggregate, now, actor=actor, market=market, new=new, facts=facts)
    answer = rule(change)
    settle(change)
    return change.seal(answer, next_due_at(change))


def pass_time(change: Change, *, deaf_until: datetime | None = None) -> None:
    """Do all that is due by now. Late jobs lose nothing: every alarm is derived from state (JB-3, JB-5).

    While the server itself could not be reached everybody was silent: until ``deaf_until`` nobody is judged by it."""
    change.time_served, change.deaf_until = True, deaf_until
    done: set[tuple[str, str]] = set()
    for _ in range(MAX_ROUNDS):
        due = [alarm for alarm in alarms(change.aggregate) if _rings_at(alarm, deaf_until) <= change.now]
        ringing = [alarm for alarm in due if (alarm.name, alarm.key) not in done]
        if not ringing:
            return
        alarm = min(ringing, key=lambda one: one.at)  # one at a time: what is due may change with it
        done.add((alarm.name, alarm.key))
        alarm.act(change)
        settle(change)


def settle(change: Change) -> None:
    """Consequences, in the same transaction as their cause (GR-1): failover, manual mode, endings, retirement."""
    for _ in range(MAX_ROUNDS):
        before = change.aggregate
        _record_unanswered_switches(change)
        _fail_ended_launches(change)
        emergencies.pursue(change)
        emergencies.resume(change)
        manual_mode.reconcile(change)
        emergencies.close_handled(change)
        emergencies.release_replica(change)
        endings.queue_terminations(change)
        retirement.finish(change)
        if change.aggregate is before:
            return


def _record_unanswered_switches(change: Change) -> None:
    """A switch that was fetched and never answered has failed like any other: recorded, and counted (SW-9)."""
    known = {switch.command_id for switch in change.aggregate.switches.values()}
    for command in change.aggregate.commands.values():
        unanswered = command.state is CommandState.FAILED and command.finished_at == change.now
        if command.kind is CommandKind.SWITCH and unanswered and command.command_id not in known:
            switching.failed(change, command, command.failure_reason or "undeliverable")


def _fail_ended_launches(change: Change) -> None:
    """A launch or switch whose command has ended some other way than by success takes its machine row with it."""
    open_ids = {command.command_id for command in change.aggregate.open_commands}
    launching = [row for row in change.aggregate.instances.values() if row.status is InstanceStatus.LAUNCHING]
    for instance in launching:
        if instance.bound_command_id is not None and instance.bound_command_id not in open_ids:
            endings.begin_end(change, instance, endings.EndReason.MANUAL_TERMINATE, "its switch has ended without it")
            continue
        ended = [
            command
            for command in change.aggregate.commands.values()
            if command.kind is CommandKind.LAUNCH and command.target_instance_id == instance.instance_id
        ]
        if ended and not any(command.is_open for command in ended):
            last = max(ended, key=lambda command: command.created_at)
            if last.state in (CommandState.EXPIRED, CommandState.FAILED, CommandState.CANCELLED):
                reports.launch_failed(change, last, last.failure_reason or last.state.value)


@frozen(kw_only=True)
class Alarm:
    """Something that happens at an instant unless the state changes before."""

    at: datetime
    name: str
    key: str
    act: Callable[[Change], None]


def next_due_at(change: Change) -> datetime | None:
    """The earliest instant at which an alarm rings; None when only a call can change anything.

    When every alarm has just been answered, one that still rings is looked at again in a second. Other decisions leave
    overdue alarms due, or a busy agent would never have its time pass.
    """
    instants = [_rings_at(alarm, change.deaf_until) for alarm in alarms(change.aggregate)]
    earliest = min(instants, default=None)
    if earliest is None or not change.time_served:
        return earliest
    return max(earliest, change.now + timedelta(seconds=1))


def _rings_at(alarm: "Alarm", deaf_until: datetime | None) -> datetime:
    return max(alarm.at, deaf_until) if deaf_until is not None and alarm.name in SILENCE else alarm.at


def signs(aggregate: Aggregate) -> Signs:
    """When time may change the agent, apart from its last heartbeat and after it."""
    heard = aggregate.agent.last_heartbeat_at
    after_silence = [alarm.at for alarm in alarms(aggregate) if alarm.name in AFTER_SILENCE]
    others = [alarm.at for alarm in alarms(aggregate) if alarm.name not in AFTER_SILENCE]
    silence = min(after_silence) - heard if after_silence and heard is not None else None
    return Signs(until=min(others, default=None), silence=silence)


def alarms(aggregate: Aggregate) -> Iterator[Alarm]:
    """Every alarm of an aggregate. One function per row of the contract's job table."""
    if aggregate.agent.life is Life.DELETED:
        return
    yield from _agent_alarms(aggregate)
    for command in aggregate.open_commands:
        at = command.expires_at if command.state is CommandState.PENDING else command.leased_until
        if at is not None:
            yield Alarm(at=at, name="command", key=command.command_id, act=dispatch.pass_time)
    for instance in aggregate.instances.values():
        if not instance.is_terminal:
            yield from _instance_alarms(aggregate, instance)
    for replica in aggregate.replicas.values():
        if replica.is_live:
            yield from _replica_alarms(aggregate, replica)
    for incident in aggregate.open_incidents:
        yield from _incident_alarms(aggregate, incident)


def _agent_alarms(aggregate: Aggregate) -> Iterator[Alarm]:
    agent = aggregate.agent
    if agent.life is Life.RETIRING and agent.retiring_at is not None:
        yield Alarm(at=agent.retiring_at + RETIREMENT_LIMIT, name="retire", key="", act=retirement.finish)
        return
    if agent.link is Link.ONLINE and agent.last_heartbeat_at is not None:
        silent = agent.last_heartbeat_at + timedelta(seconds=aggregate.heartbeat_timeout_seconds() + 0.001)
        yield Alarm(at=silent, name="offline", key="", act=_offline)  # AG-1
    if agent.next_replica_at is not None and manual_mode.wants_replica(aggregate):
        yield Alarm(at=agent.next_replica_at, name="replica", key="", act=manual_mode.reconcile)  # MR-4
    loss, live = agent.config.failover_on_heartbeat_loss_seconds, aggregate.live_replica
    ready = live is not None and live.state is ReplicaState.READY and aggregate.primary is not None
    if loss is not None and agent.last_heartbeat_at is not None and ready:
        at = agent.last_heartbeat_at + timedelta(seconds=max(loss, aggregate.heartbeat_timeout_seconds()))
        yield Alarm(at=at, name="heartbeat_loss", key="", act=_heartbeat_loss)  # AG-5 B
    behind = agent.config_version_applied is not None and agent.config_version_applied != agent.config_version
    if behind and agent.config_lag_warned != agent.config_version and agent.link is Link.ONLINE:
        since = agent.config_version_since or agent.registered_at
        yield Alarm(at=since + CONFIG_LAG, name="lag", key=str(agent.config_version), act=liveness.lagging)  # CV-8


def _offline(change: Change) -> None:
    seconds = int(change.aggregate.heartbeat_timeout_seconds())
    if change.aggregate.is_offline(change.now):  # the condition again: a heartbeat in between wins (AG-1)
        liveness.go_offline(change, f"no heartbeat for {seconds} s")


def _heartbeat_loss(change: Change) -> None:
    """AG-5 B, opt-in: the primary has been silent for the agreed time and a replica is ready."""
    live = change.aggregate.live_replica
    if live is not None and standby.can_take_over(change, live):
        standby.promote(change, live, SwitchTrigger.EMERGENCY, reason="heartbeats were lost")


def _instance_alarms(aggregate: Aggregate, instance: Instance) -> Iterator[Alarm]:
    key = instance.instance_id
    waits_for_command = instance.bound_command_id is not None or any(
        command.kind is CommandKind.LAUNCH and command.target_instance_id == key for command in aggregate.open_commands
    )
    if instance.status is InstanceStatus.LAUNCHING and not waits_for_command:
        yield Alarm(at=instance.created_at + LAUNCH_TIMEOUT, name="launch", key=key, act=_launch_timeout(key))  # IN-4
    due = endings.zombie_due_at(aggregate, instance)
    if due is not None:
        yield Alarm(at=due, name="zombie", key=key, act=_end_zombie(key))  # IN-7
    elif instance.status is InstanceStatus.ZOMBIE and instance.zombie_since is not None:
        last = instance.reminded_at
        at = last + ZOMBIE_REMINDER_NEXT if last else instance.zombie_since + ZOMBIE_REMINDER_FIRST
        yield Alarm(at=at, name="remind", key=key, act=_remind(key))  # IN-24
    if instance.notice_deadline is not None and instance.status in (InstanceStatus.ZOMBIE, InstanceStatus.TERMINATING):
        gone = instance.notice_deadline + NOTICE_GRACE
        if instance.last_seen_at is None or instance.last_seen_at <= instance.notice_deadline:
            yield Alarm(at=gone, name="announced_end", key=key, act=_announced_end(key))  # IN-10, IN-13
    askable = endings.may_be_asked_at(instance)
    if askable is not None and aggregate.agent.abilities.modern:
        open_already = any(
            command.kind is CommandKind.TERMINATE and command.target_instance_id == key
            for command in aggregate.open_commands
        )
        if not open_already:
            yield Alarm(at=askable, name="terminate", key=key, act=endings.queue_terminations)  # IN-25


def _launch_timeout(key: str) -> Callable[[Change], None]:
    def act(change: Change) -> None:
        instance = change.aggregate.instances[key]  # type: ignore[index]
        replica = change.aggregate.replica_on(instance.instance_id)
        if replica is not None and replica.is_live:
            standby.fail(change, replica, ReplicaEnd.LAUNCH_FAILED, "no machine within 300 s")  # RP-4
        elif instance.cloud_id is not None:
            endings.begin_end(change, instance, endings.EndReason.MANUAL_TERMINATE, "it never came into service")
        else:
            endings.launch_ended(change, instance)

    return act


def _end_zombie(key: str) -> Callable[[Change], None]:
    def act(change: Change) -> None:
        instance = change.aggregate.instances[key]  # type: ignore[index]
        if instance.status is InstanceStatus.ZOMBIE:
            reason = instance.end_reason or endings.EndReason.ZOMBIE_TIMEOUT
            endings.begin_end(change, instance, reason, "its wait is over")

    return act


def _remind(key: str) -> Callable[[Change], None]:
    def act(change: Change) -> None:
        instance = change.aggregate.instances[key]  # type: ignore[index]
        change.put(evolve(instance, reminded_at=change.now))
        change.event(EventKind.ZOMBIE_REMINDER, instance=instance)

    return act


def _announced_end(key: str) -> Callable[[Change], None]:
    def act(change: Change) -> None:
        endings.confirm_end(change, change.aggregate.instances[key], asserted=True)  # type: ignore[index]

    return act


def _replica_alarms(aggregate: Aggregate, replica: Replica) -> Iterator[Alarm]:
    if replica.state is ReplicaState.SYNCING and replica.syncing_at is not None and not aggregate.open_failover:
        yield Alarm(
            at=replica.syncing_at + SYNC_TIMEOUT, name="sync", key=replica.replica_id,
            act=_fail_replica(replica.replica_id, ReplicaEnd.SYNC_FAILED, "not in sync within 900 s"),
        )  # fmt: skip
    silent = replica.state is ReplicaState.READY and replica.last_sync_at is not None and not aggregate.open_incidents
    if silent and replica.last_sync_at is not None:  # RP-6, Z30
        yield Alarm(
            at=replica.last_sync_at + SILENCE_TIMEOUT, name="silent", key=replica.replica_id,
            act=_fail_replica(replica.replica_id, ReplicaEnd.SILENT, "no sync report for 300 s"),
        )  # fmt: skip


def _fail_replica(key: str, reason: ReplicaEnd, message: str) -> Callable[[Change], None]:
    def act(change: Change) -> None:
        standby.fail(change, change.aggregate.replicas[key], reason, message)  # type: ignore[index]

    return act


def _incident_alarms(aggregate: Aggregate, incident: Incident) -> Iterator[Alarm]:
    key = incident.incident_id
    if incident.severity is Severity.REBALANCE:
        at = incident.last_signal_at + QUIET_AFTER
        yield Alarm(at=at, name="quiet", key=key, act=_with(key, emergencies.quiet))  # 5.3
        return
    if incident.deadline is None:
        return
    if incident.promoted_at is not None:
        at = incident.deadline + NOTICE_GRACE + timedelta(seconds=1)  # after IN-10 and IN-13 have had their say
        yield Alarm(at=at, name="outlived", key=key, act=_with(key, emergencies.outlived))
        return
    live = aggregate.live_replica
    forced = emergencies.forced_at(incident)
    if live is not None and live.state is ReplicaState.SYNCING and forced is not None:
        yield Alarm(at=forced, name="force", key=key, act=emergencies.pursue)  # 5.4
    if incident.next_attempt_at is not None and live is None and aggregate.role_change_in_flight is None:
        yield Alarm(at=incident.next_attempt_at, name="attempt", key=key, act=emergencies.pursue)
    machine = aggregate.instances.get(incident.instance_id)
    if machine is None or not machine.is_primary:
        return
    if incident.state.value != "failed":
        yield Alarm(at=incident.deadline, name="deadline", key=key, act=_with(key, emergencies.deadline_passed))
    yield Alarm(at=incident.deadline + NOTICE_GRACE, name="gone", key=key, act=_with(key, _judge_survival))  # IN-11


def _judge_survival(change: Change, incident: Incident) -> None:
    machine = change.aggregate.instances[incident.instance_id]
    signs = [at for at in (machine.last_seen_at, _agent_sign(change)) if at is not None]
    lived = any(incident.deadline is not None and at > incident.deadline for at in signs)
    (emergencies.survived if lived else emergencies.machine_gone)(change, incident)


def _agent_sign(change: Change) -> datetime | None:
    """Heartbeats that name no machine are the primary's when no other machine could have sent them (Z23)."""
    return change.agent.last_heartbeat_at if not change.agent.abilities.names_machine else None


def _with(key: str, act: Callable[[Change, Incident], None]) -> Callable[[Change], None]:
    def run(change: Change) -> None:
        incident = change.aggregate.incidents.get(key)  # type: ignore[call-overload]
        if incident is not None and incident.is_open:
            act(change, incident)

    return run
