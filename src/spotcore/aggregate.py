"""The unit of consistency: one agent with everything a rule needs to see (GR-1), and the invariants over it (0.3)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from attrs import evolve, field, frozen

from spotcore.agents import BUSY_TIMEOUT, HEARTBEAT_TIMEOUT, Agent, DisplayStatus, Life, Link
from spotcore.clients import Client
from spotcore.commands import Command, CommandState
from spotcore.config import out_of_range
from spotcore.errors import InvariantViolated
from spotcore.ids import CloudId, CommandId, IncidentId, InstanceId, ReplicaId, SwitchId
from spotcore.incidents import Incident
from spotcore.instances import Instance, InstanceStatus
from spotcore.replicas import Replica
from spotcore.switches import PrimaryPeriod, Switch


@frozen(kw_only=True)
class Aggregate:
    """An agent, its client, and its machines, replicas, commands, incidents, switches and primary periods.

    Storage loads every row that is not terminal, and terminal ones of the last 8 days; older ones come along when the
    call names them. Rules read and write nothing else.
    """

    client: Client
    agent: Agent
    instances: Mapping[InstanceId, Instance] = field(factory=dict)
    replicas: Mapping[ReplicaId, Replica] = field(factory=dict)
    commands: Mapping[CommandId, Command] = field(factory=dict)
    incidents: Mapping[IncidentId, Incident] = field(factory=dict)
    switches: Mapping[SwitchId, Switch] = field(factory=dict)
    periods: tuple[PrimaryPeriod, ...] = ()  # oldest first; the open one, if any, is the last

    @property
    def primary(self) -> Instance | None:
        """The machine that serves, None when there is none (I5)."""
        primary_id = self.agent.primary_id
        return self.instances.get(primary_id) if primary_id else None

    @property
    def live_replica(self) -> Replica | None:
        """The one replica in ``launching``, ``syncing`` or ``ready`` (I2)."""
        return next((replica for replica in self.replicas.values() if replica.is_live), None)

    @property
    def open_commands(self) -> tuple[Command, ...]:
        """Commands in ``pending`` or ``executing``."""
        return tuple(command for command in self.commands.values() if command.is_open)

    @property
    def role_change_in_flight(self) -> Command | None:
        """The one open role-changing command (I4)."""
        return next((command for command in self.open_commands if command.is_role_changing), None)

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """Incidents neither resolved nor cleared."""
        return tuple(incident for incident in self.incidents.values() if incident.is_open)

    @property
    def open_failover(self) -> Incident | None:
        """The termination that has no successor yet (I11)."""
        return next((incident for incident in self.incidents.values() if incident.is_open_failover), None)

    def machine(self, cloud_id: CloudId | str | None) -> Instance | None:
        """The row bound to a cloud id: the one that is not terminal, else the newest (I10)."""
        if cloud_id is None:
            return None
        rows = [row for row in self.instances.values() if row.cloud_id == cloud_id]
        return min(rows, key=lambda row: (row.is_terminal, -row.created_at.timestamp()), default=None)

    def incident_of(self, instance_id: InstanceId | None) -> Incident | None:
        """The open incident of a machine (I11)."""
        return next((incident for incident in self.open_incidents if incident.instance_id == instance_id), None)

    def replica_on(self, instance_id: InstanceId) -> Replica | None:
        """The live replica that stands on a machine, else the newest that did."""
        rows = [replica for replica in self.replicas.values() if replica.instance_id == instance_id]
        return min(rows, key=lambda row: (not row.is_live, -row.created_at.timestamp()), default=None)

    def heartbeat_timeout_seconds(self) -> float:
        """120 s, or 600 s while a modern agent executes a command and is deaf (AG-1)."""
        busy = self.agent.abilities.modern and any(
            command.state is CommandState.EXECUTING for command in self.open_commands
        )
        return (BUSY_TIMEOUT if busy else HEARTBEAT_TIMEOUT).total_seconds()

    def is_offline(self, now: datetime) -> bool:
        """The one meaning of offline (AG-1), evaluated at ``now`` whether or not the job has run (JB-5)."""
        if self.agent.link is Link.OFFLINE:
            return True
        last = self.agent.last_heartbeat_at
        return last is None or (now - last).total_seconds() > self.heartbeat_timeout_seconds()

    def display_status(self) -> DisplayStatus:
        """The one word people see; first match wins (1.2)."""
        in_flight = self.role_change_in_flight
        if self.agent.life is not Life.LIVE:
            return DisplayStatus.DELETED
        if not self.agent.config.enabled:
            return DisplayStatus.DISABLED
        if self.agent.primary_id is None:
            return DisplayStatus.ERROR
        if in_flight is not None and in_flight.state is CommandState.EXECUTING:
            return DisplayStatus.SWITCHING
        return DisplayStatus.ONLINE if self.agent.link is Link.ONLINE else DisplayStatus.OFFLINE


def check(aggregate: Aggregate) -> Aggregate:
    """The same aggregate; ``InvariantViolated`` names the first of I1, I2, I4, I5, I8, I10, I11 it breaks,
    or the first setting out of its range (section 3).

    I3 is a property of AgentConfig, I6 and I7 are checked where versions and lists are made, I9 and I12 belong to the
    ledger and the model sessions, I13 and uniqueness over agents to storage, I14 to the step that moves the role.
    """
    for problem in violations(aggregate):
        raise InvariantViolated(problem, agent_id=aggregate.agent.agent_id)
    return aggregate


def violations(aggregate: Aggregate) -> Iterable[str]:
    """Every broken invariant, as text that begins with its number."""
    agent = aggregate.agent
    primaries = [row for row in aggregate.instances.values() if row.is_primary]
    if len(primaries) > 1:
        yield "I1: more than one running primary"
    if sum(replica.is_live for replica in aggregate.replicas.values()) > 1:
        yield "I2: more than one live replica"
    if sum(command.is_role_changing for command in aggregate.open_commands) > 1:
        yield "I4: more than one open role-changing command"
    if agent.primary_id != (primaries[0].instance_id if primaries else None):
        yield "I5: the agent's primary is not its running primary"
    yield from _period_violations(aggregate)
    named = [row.cloud_id for row in aggregate.instances.values() if row.cloud_id and not row.is_terminal]
    if len(named) != len(set(named)):
        yield "I10: one cloud id on two machines"
    with_incident = [incident.instance_id for incident in aggregate.open_incidents]
    if len(with_incident) != len(set(with_incident)):
        yield "I11: two open incidents on one machine"
    if sum(incident.is_open_failover for incident in aggregate.incidents.values()) > 1:
        yield "I11: two open failovers"
    for problem in out_of_range(agent.config):
        yield f"section 3: {problem}"


def _period_violations(aggregate: Aggregate) -> Iterable[str]:
    for earlier, later in zip(aggregate.periods, aggregate.periods[1:], strict=False):
        if earlier.ended_at is None or earlier.ended_at > later.started_at:
            yield "I8: primary periods overlap"
    running = [period for period in aggregate.periods if period.ended_at is None]
    primary = aggregate.agent.primary_id
    if [period.instance_id for period in running] != ([primary] if primary else []):
        yield "I8: the open primary period is not the primary's"


def standing(instance: Instance) -> bool:
    """True for a machine that may exist in the cloud: named and not confirmed gone."""
    return instance.cloud_id is not None and instance.status not in (InstanceStatus.TERMINATED, InstanceStatus.RELEASED)


def differs_in_signs_alone(before: Aggregate, after: Aggregate) -> bool:
    """True when two states of an agent differ in nothing but moments: of the last signs of life, and of the last
    decision, which every agent gets every 300 s (Z34) and nothing but the next one depends on."""
    noted = evolve(
        before.agent,
        last_heartbeat_at=after.agent.last_heartbeat_at,
        last_decision_at=after.agent.last_decision_at,
        due_at=after.agent.due_at,
    )
    return (
        noted == after.agent
        and all(getattr(before, name) == getattr(after, name) for name in _SIGNLESS)
        and before.instances.keys() == after.instances.keys()
        and all(
            row is before.instances[key] or row == evolve(before.instances[key], last_seen_at=row.last_seen_at)
            for key, row in after.instances.items()
        )
    )


_SIGNLESS: Final = ("client", "replicas", "commands", "incidents", "switches", "periods")
