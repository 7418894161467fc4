"""Deleting an agent (AG-9): everything it holds is wound down, its machine keeps running and is no longer ours."""

from datetime import timedelta
from typing import Final

from spotcore import dispatch, endings, modes, roles, standby
from spotcore.agents import RETIREMENT_LIMIT, Life
from spotcore.change import Change
from spotcore.commands import CommandKind, Origin
from spotcore.config import ConfigChange
from spotcore.events import EventKind
from spotcore.ids import AgentId
from spotcore.incidents import IncidentEvent
from spotcore.incidents import moved as incident_moved
from spotcore.instances import InstanceEvent, InstanceStatus, moved
from spotcore.replicas import ReplicaEnd

SUCCEEDED_BY: Final = "succeeded_by"  # a key of an agent's metadata
ALL_MODES_OFF = ConfigChange(wanted={"enabled": False, "auto_switch_enabled": False, "manual_replica_enabled": False})


def retire(change: Change, *, heir: AgentId | None = None) -> None:
    """``live`` → ``retiring``: modes off, orders cancelled, replicas ended, the primary released. Again: no effect.

    An ``heir`` is the agent that goes on with the workload (RG-10); what this one leaves behind is never released."""
    if change.agent.life is not Life.LIVE:
        return
    modern = change.agent.abilities.modern
    shown = change.aggregate.display_status()
    change.set_agent(life=Life.RETIRING, retiring_at=change.now)
    modes.apply(change, ALL_MODES_OFF)
    for command in change.aggregate.open_commands:
        if command.kind is not CommandKind.TERMINATE:
            dispatch.cancel(change, command, "the agent was deleted")
    live = change.aggregate.live_replica
    if live is not None:
        standby.end(change, live, ReplicaEnd.AGENT_DELETED)
    for instance in change.aggregate.instances.values():
        if instance.status is InstanceStatus.LAUNCHING and instance.bound_command_id is not None:
            endings.begin_end(change, instance, endings.EndReason.MANUAL_TERMINATE, "its agent was deleted")
        elif instance.status is InstanceStatus.LAUNCHING:
            standby.give_up_launch(change, instance)
    primary = change.aggregate.primary
    if primary is not None:
        roles.lose_primary(change)
        change.put(moved(primary, InstanceEvent.RELEASE, change.now))  # IN-12: never on a terminate list
    for incident in change.aggregate.open_incidents:
        change.put(incident_moved(incident, IncidentEvent.RESOLVE, change.now))
    change.set_agent(no_primary_since=None)
    if heir is not None:
        change.set_agent(metadata={**change.agent.metadata, SUCCEEDED_BY: heir})
        change.event(EventKind.AGENT_RETIRED, succeeded_by=heir)
    else:
        change.event(
            EventKind.AGENT_DELETED,
            instance=primary,
            old_status=shown.value,
            new_status="deleted",
            agent_status="retiring",
        )
    if modern:
        dispatch.queue(change, CommandKind.SELF_DESTRUCT, Origin.RETIREMENT)


def merge_into(change: Change, launcher: AgentId) -> None:
    """An agent that is nothing but a machine its launcher has not confirmed yet ends, and its calls count for the
    launcher from now on (docs/decisions/0005). Its machine row is released, so that the launcher can bind it."""
    primary = change.aggregate.primary
    for command in change.aggregate.open_commands:
        dispatch.cancel(change, command, "the agent is a machine of another one")
    for instance in change.aggregate.instances.values():
        if instance.status is InstanceStatus.LAUNCHING:
            endings.launch_ended(change, instance)
    live = change.aggregate.live_replica
    if live is not None:
        standby.end(change, live, ReplicaEnd.SUPERSEDED)
    if primary is not None:
        roles.lose_primary(change)
        change.put(moved(primary, InstanceEvent.RELEASE, change.now))
    for incident in change.aggregate.open_incidents:
        change.put(incident_moved(incident, IncidentEvent.RESOLVE, change.now))
    change.set_agent(life=Life.DELETED, deleted_at=change.now, merged_into=launcher, no_primary_since=None)
    change.event(EventKind.AGENT_RETIRED, instance=primary, merged_into=launcher)


def finish(change: Change) -> None:
    """``retiring`` → ``deleted`` once nothing of it stands and nothing is open, or after 24 h (AG-9)."""
    agent = change.agent
    if agent.life is not Life.RETIRING or agent.retiring_at is None:
        return
    standing = [row for row in change.aggregate.instances.values() if not row.is_terminal]
    if SUCCEEDED_BY in agent.metadata and any(row.status is InstanceStatus.ZOMBIE for row in standing):
        return  # RG-10: its machine still costs money, and nobody else would remember it
    over = change.now - agent.retiring_at >= RETIREMENT_LIMIT
    if not over and (standing or change.aggregate.open_commands):
        return
    for command in change.aggregate.open_commands:
        dispatch.cancel(change, command, "the agent is deleted")
    for instance in standing:
        if instance.status is InstanceStatus.LAUNCHING:
            endings.launch_ended(change, instance)
        else:
            change.put(moved(instance, InstanceEvent.RELEASE, change.now))
    change.set_agent(life=Life.DELETED, deleted_at=change.now)
    change.event(EventKind.AGENT_RETIRED, waited_seconds=round((change.now - agent.retiring_at) / timedelta(seconds=1)))
