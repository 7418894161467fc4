"""Heartbeats, going down, and who counts as online (AG-1…AG-8, Z21, Z23)."""

from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, field, frozen

from spotcore import builds, switching
from spotcore.agents import HEARTBEAT_TIMEOUT, Life, Link
from spotcore.builds import Build, Evidence
from spotcore.change import Change
from spotcore.commands import CommandKind, CommandState
from spotcore.config import ALL_OFF, AgentConfig
from spotcore.errors import NotFound
from spotcore.events import EventKind
from spotcore.instances import RETIRED, Instance, InstanceStatus
from spotcore.pools import Mode, region_of

POLL_HINT_SECONDS: Final = 15  # CV-4
POLL_HINT_IN_INCIDENT_SECONDS: Final = 5


@frozen(kw_only=True)
class SeenMachine:
    """An entry of a v5 inventory: evidence about a machine we may know, never a claim to one we do not (T18)."""

    cloud_id: str
    on_spot: bool | None = None  # None: the entry does not say
    private_ip: str | None = None
    public_ip: str | None = None


@frozen(kw_only=True)
class Heartbeat:
    """E17, its aliases already folded."""

    cloud_id: str | None = None  # the machine it names (Z23)
    going_offline: bool = False
    instance_type: str | None = None
    az: str | None = None
    mode: Mode = Mode.UNKNOWN
    inventory: tuple[SeenMachine, ...] = ()
    config_version_applied: int | None = None
    evidence: tuple[Evidence, ...] = ()


@frozen(kw_only=True)
class HeartbeatAnswer:
    """What every heartbeat is told (CV-4)."""

    agent_id: str
    role: str  # primary | replica | pending | retired
    status: str
    config: AgentConfig
    config_version: int
    config_changed: bool
    commands_pending: bool
    poll_hint_seconds: int
    server_time: datetime
    replica_count: int = field(default=0)


def heartbeat(change: Change, beat: Heartbeat) -> HeartbeatAnswer:
    """One heartbeat. Raises ``NotFound`` once the agent is deleted; a retiring one is answered (Z25)."""
    if change.agent.life is Life.DELETED:
        raise NotFound("unknown agent")
    machine = change.aggregate.machine(beat.cloud_id)
    if change.agent.life is Life.RETIRING:
        if machine is not None:
            _seen(change, machine)
        return answer(change, "retired", ALL_OFF)
    observe(change, beat.evidence)
    role = _judge(change, beat, machine)
    _inventory(change, beat)
    _applied_version(change, beat)
    return answer(change, role, change.agent.config if role == "primary" else ALL_OFF)


def _judge(change: Change, beat: Heartbeat, machine: Instance | None) -> str:
    """The role of the machine the heartbeat names; ``primary`` when it names none (AG-2, Z23)."""
    if beat.cloud_id is None:
        waiting = _waiting_machine(change)
        if waiting is not None and not change.agent.abilities.names_machine:
            _finish_switch(change, waiting)
        if beat.going_offline:
            if not _others_alive(change):
                go_offline(change, "clean stop")
        else:
            _refresh_agent(change, change.aggregate.primary)
        return "primary"
    if machine is None:
        return "retired"  # evidence of nothing we hold; it may not act
    _seen(change, machine)
    machine = change.aggregate.instances[machine.instance_id]
    if machine.status is InstanceStatus.LAUNCHING and machine.bound_command_id is not None and not beat.going_offline:
        _finish_switch(change, machine)
        machine = change.aggregate.instances[machine.instance_id]
    if machine.is_primary:
        _fill(change, machine, beat)
        if beat.going_offline:
            go_offline(change, "clean stop")
        else:
            _refresh_agent(change, None)
        return "primary"
    if machine.status in RETIRED:
        return "retired"  # AG-4
    return "replica" if machine.status is InstanceStatus.RUNNING_REPLICA else "pending"


def _waiting_machine(change: Change) -> Instance | None:
    rows = change.aggregate.instances.values()
    return next((row for row in rows if row.bound_command_id and row.status is InstanceStatus.LAUNCHING), None)


def _finish_switch(change: Change, machine: Instance) -> None:
    """Z21: the machine of an executing switch is registered and heartbeats: the switch is done."""
    command = change.aggregate.commands.get(machine.bound_command_id) if machine.bound_command_id else None
    if command is not None and command.kind is CommandKind.SWITCH and command.state is CommandState.EXECUTING:
        switching.finish(change, machine, command)
        change.set_agent(last_heartbeat_at=change.now)


def _seen(change: Change, machine: Instance) -> None:
    change.put(evolve(machine, last_seen_at=change.now))


def _refresh_agent(change: Change, primary: Instance | None) -> None:
    """The agent is alive. A heartbeat of a build that names no machine is also the primary's only sign of life."""
    if primary is not None and not change.agent.abilities.names_machine:
        _seen(change, primary)
    change.set_agent(last_heartbeat_at=change.now)
    if change.agent.link is Link.OFFLINE:
        change.set_agent(link=Link.ONLINE, offline_at=None)
        change.event(EventKind.AGENT_BACK_ONLINE, old_status="offline", new_status="online")  # AG-7


def _others_alive(change: Change) -> bool:
    """Z23: another machine of the agent heartbeats, so an ``offline`` that names none may be that machine's."""
    primary = change.agent.primary_id
    return any(
        row.instance_id != primary
        and row.last_seen_at is not None
        and change.now - row.last_seen_at <= HEARTBEAT_TIMEOUT
        for row in change.aggregate.instances.values()
    )


def go_offline(change: Change, reason: str) -> None:
    """Online → offline, once per outage (AG-7). Offline alone never moves the role (AG-5)."""
    if change.agent.link is Link.ONLINE:
        change.set_agent(link=Link.OFFLINE, offline_at=change.now)
        change.event(EventKind.AGENT_MARKED_OFFLINE, reason=reason, old_status="online", new_status="offline")


def shutdown(change: Change, cloud_id: str | None) -> bool:
    """E27: the agent on a machine ends. Offline when that machine is the primary, or none is named (Z23)."""
    machine = change.aggregate.machine(cloud_id)
    change.event(EventKind.AGENT_SHUTDOWN, instance=machine)
    primary = change.aggregate.primary
    if machine is not None and primary is not None and machine.instance_id == primary.instance_id:
        go_offline(change, "the agent was shut down")
        return True
    if cloud_id is None and not _others_alive(change):
        go_offline(change, "the agent was shut down")
        return True
    return False


def uninstalled(change: Change, cloud_id: str, reason: str | None) -> None:
    """E28: the agent was removed from its machine."""
    machine = change.aggregate.machine(cloud_id)
    if machine is not None and machine.is_primary:
        go_offline(change, "the agent was uninstalled")
    change.event(EventKind.AGENT_UNINSTALLED, instance=machine, reason=reason)


def observe(change: Change, evidence: tuple[Evidence, ...]) -> None:
    """Remember what a call says about the build (http-api 3.5)."""
    for one in evidence:
        build, able = builds.judge(change.agent.build, change.agent.able_since_registration, one)
        if build is Build.UNKNOWN or (build, able) != (change.agent.build, change.agent.able_since_registration):
            change.set_agent(build=build, able_since_registration=able)


def _fill(change: Change, machine: Instance, beat: Heartbeat) -> None:
    """Only what is unknown is filled; what differs is drift, recorded and nothing more (AG-3)."""
    filled = evolve(
        machine,
        instance_type=machine.instance_type or beat.instance_type,
        az=machine.az or beat.az,
        region=machine.region or (region_of(beat.az) if beat.az else None),
    )
    if filled.mode is Mode.UNKNOWN and beat.mode is not Mode.UNKNOWN:
        filled = filled.with_mode(beat.mode)
    said = {"instance_type": beat.instance_type, "az": beat.az, "mode": beat.mode.value}
    known = {"instance_type": filled.instance_type, "az": filled.az, "mode": filled.mode.value}
    differs = {name: word for name, word in said.items() if word not in (None, "unknown") and word != known[name]}
    drift = ", ".join(f"{name}={word}" for name, word in sorted(differs.items())) or None
    if drift != machine.drift:
        filled = evolve(filled, drift=drift)
        change.event(EventKind.INSTANCE_DRIFT, instance=filled, drift=drift)
    change.put(filled)
    if change.agent.region is None and filled.region is not None:
        change.set_agent(region=filled.region)


def _inventory(change: Change, beat: Heartbeat) -> None:
    """A v5 sees the whole region of the account: only machines of this agent are refreshed (T18)."""
    for entry in beat.inventory:
        machine = change.aggregate.machine(entry.cloud_id)
        if machine is None or machine.is_terminal:
            continue
        filled = evolve(
            machine, private_ip=entry.private_ip or machine.private_ip, public_ip=entry.public_ip or machine.public_ip
        )
        if filled.mode is Mode.UNKNOWN and entry.on_spot is not None:
            filled = filled.with_mode(Mode.SPOT if entry.on_spot else Mode.ONDEMAND)
        change.put(filled)


def _applied_version(change: Change, beat: Heartbeat) -> None:
    if beat.config_version_applied is not None:
        change.set_agent(config_version_applied=beat.config_version_applied)


def answer(change: Change, role: str, config: AgentConfig) -> HeartbeatAnswer:
    """The reply; remembers the version it shows, so that the next one can say whether it changed (CV-4)."""
    agent = change.agent
    version_changed = agent.last_reply_version is not None and agent.last_reply_version != agent.config_version
    change.set_agent(last_reply_version=agent.config_version)
    waiting = any(command.state is CommandState.PENDING for command in change.aggregate.open_commands)
    incident = bool(change.aggregate.open_incidents)
    return HeartbeatAnswer(
        agent_id=agent.agent_id,
        role=role,
        status=change.aggregate.display_status().value,
        config=config,
        config_version=agent.config_version,
        config_changed=version_changed,
        commands_pending=waiting,
        poll_hint_seconds=POLL_HINT_IN_INCIDENT_SECONDS if incident else POLL_HINT_SECONDS,
        server_time=change.now,
        replica_count=1 if change.aggregate.live_replica is not None and role == "primary" else 0,
    )


def lagging(change: Change) -> None:
    """CV-8: an agent that says which config it applied, and is behind for > 5 minutes: one warning a version."""
    agent = change.agent
    change.set_agent(config_lag_warned=agent.config_version)
    change.event(
        EventKind.AGENT_CONFIG_LAGGING, applied=agent.config_version_applied, config_version=agent.config_version
    )


def heartbeat_loss_at(change: Change) -> datetime | None:
    """When the opt-in failover on lost heartbeats may act (AG-5 B); None while it is off."""
    seconds, last = change.agent.config.failover_on_heartbeat_loss_seconds, change.agent.last_heartbeat_at
    return last + timedelta(seconds=seconds) if seconds is not None and last is not None else None
