"""The one path by which settings and modes change (MX-10): version, commands and replicas follow in the same change."""

from collections.abc import Mapping
from typing import Any

from attrs import asdict, evolve

from spotcore import dispatch, standby
from spotcore.change import Change
from spotcore.commands import AUTO_ORIGINS, CommandKind, CommandState, Origin
from spotcore.config import AgentConfig, ConfigChange, changed
from spotcore.errors import ConfigConflict
from spotcore.events import EventKind
from spotcore.incidents import Severity
from spotcore.replicas import ReplicaEnd, ReplicaKind


def apply(change: Change, wanted: ConfigChange, *, kind: EventKind = EventKind.AGENT_CONFIG_UPDATED) -> AgentConfig:
    """The stored settings after the change (MX-12). +1 on the version exactly when something differs (CV-1).

    Raises ``ConfigConflict`` when ``expected_version`` is given and not current (CV-7), else as ``config.changed``.
    """
    before = change.agent.config
    if wanted.expected_version is not None and wanted.expected_version != change.agent.config_version:
        raise ConfigConflict(
            f"the config is at version {change.agent.config_version}, not {wanted.expected_version}",
            config=before,
            config_version=change.agent.config_version,
        )
    after = changed(before, wanted)
    if after is before:
        return before  # MX-9
    change.set_agent(config=after, config_version=change.agent.config_version + 1, config_version_since=change.now)
    change.event(kind, changes=_differences(before, after), config_version=change.agent.config_version)
    if before.auto_switch_enabled and not after.auto_switch_enabled:
        _cancel_auto_commands(change)  # MX-3, MX-4
    if before.manual_replica_enabled and not after.manual_replica_enabled:
        _manual_off(change)  # MX-1, MX-6
    elif after.auto_switch_enabled and not before.auto_switch_enabled:
        _manual_off(change)  # http-api 5, rule 3: auto-switch on leaves no manual replica behind
    if after.manual_replica_enabled and not before.manual_replica_enabled:
        _manual_on(change)  # MX-4, MX-5
    push_config(change)
    return after


def _differences(before: AgentConfig, after: AgentConfig) -> Mapping[str, Any]:
    old, new = asdict(before), asdict(after)
    return {name: {"from": old[name], "to": new[name]} for name in new if old[name] != new[name]}


def _cancel_auto_commands(change: Change) -> None:
    """Pending automatic commands must not run any more; executing ones finish (MX-3)."""
    for command in change.aggregate.open_commands:
        if command.origin in AUTO_ORIGINS and command.state is CommandState.PENDING:
            dispatch.cancel(change, command, "auto-switch was turned off")
            target = change.aggregate.instances.get(command.target_instance_id) if command.target_instance_id else None
            if command.kind is CommandKind.LAUNCH and target is not None:
                standby.give_up_launch(change, target)


def _manual_off(change: Change) -> None:
    """The manual replica goes; with an open incident it stays as the emergency replica (MX-1, MX-6, failure 55)."""
    live = change.aggregate.live_replica
    if live is None or live.kind is not ReplicaKind.MANUAL:
        return
    incident = next(iter(change.aggregate.open_incidents), None)
    if incident is None:
        standby.end(change, live, ReplicaEnd.MODE_CHANGED)
        change.event(EventKind.REPLICAS_DISABLED, replica_id=live.replica_id)
        return
    termination = incident.severity is Severity.TERMINATION
    kind = ReplicaKind.EMERGENCY_TERMINATION if termination else ReplicaKind.EMERGENCY_REBALANCE
    change.put(evolve(live, kind=kind, incident_id=incident.incident_id))
    change.event(EventKind.REPLICA_CHANGED, replica_id=live.replica_id, replica_kind=kind.value)


def _manual_on(change: Change) -> None:
    """An emergency replica is adopted (MX-4); without one the upkeep of section 6 launches at once."""
    change.set_agent(replica_failures=0, next_replica_at=None)
    live = change.aggregate.live_replica
    if live is not None and live.is_emergency:
        change.put(evolve(live, kind=ReplicaKind.MANUAL))
        change.event(EventKind.REPLICA_CHANGED, replica_id=live.replica_id, replica_kind="manual")


def push_config(change: Change) -> None:
    """A modern agent is told by a command; a newer one replaces one not fetched yet (CM-1)."""
    if not change.agent.abilities.modern or not change.agent.is_live:
        return
    for command in change.aggregate.open_commands:
        if command.kind is CommandKind.APPLY_CONFIG and command.state is CommandState.PENDING:
            dispatch.cancel(change, command, "a newer config replaces it")
    config = change.agent.config
    dispatch.queue(
        change,
        CommandKind.APPLY_CONFIG,
        Origin.SCHEDULED,
        params={
            "config_updates": {
                "auto_switching": config.auto_switch_enabled,
                "auto_terminate": config.auto_terminate_enabled,
                "manual_replica": config.manual_replica_enabled,
                "emergency_only": config.emergency_rebalance_only,
            }
        },
    )
