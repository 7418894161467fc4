"""The registration matrix RG-1…RG-9: which machine may speak for which agent (section 1.2).

The caller has looked the machine up first and the logical id second, and hands in the one agent they lead to. The order
of the checks is the matrix's: RG-9, RG-4, RG-2, RG-3, RG-5, RG-1, RG-6, RG-7, RG-8.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from attrs import evolve, field, frozen

from spotcore import dispatch, liveness, roles, standby, switching
from spotcore.agents import Agent, Life, Link
from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.change import Change
from spotcore.clients import Client
from spotcore.commands import Command, CommandKind, CommandState
from spotcore.config import ALL_OFF, AgentConfig
from spotcore.errors import InactiveClient, LogicalAgentConflict, SpotError
from spotcore.events import EventKind
from spotcore.ids import AgentId, CloudId, CommandId, InstanceId
from spotcore.instances import RETIRED, Instance, InstanceStatus
from spotcore.pools import Mode, pool_of
from spotcore.replicas import Replica, ReplicaState
from spotcore.switches import SwitchTrigger


class Registered(StrEnum):
    """What a registration made of the agent."""

    NEW = "new"
    UPDATED = "updated"
    IGNORED = "ignored"


@frozen(kw_only=True)
class Registration:
    """E16, its aliases already folded. Type, region and zone are None while unknown."""

    cloud_id: CloudId
    logical_agent_id: str
    instance_type: str | None
    region: str | None
    az: str | None
    mode: Mode = Mode.UNKNOWN
    hostname: str | None = None
    ami_id: str | None = None
    agent_version: str | None = None
    private_ip: str | None = None
    public_ip: str | None = None
    launch_token: str | None = None
    metadata: Mapping[str, str] = field(factory=dict)
    evidence: tuple[Evidence, ...] = ()


@frozen(kw_only=True)
class RegistrationAnswer:
    """What a registering machine is told."""

    agent_id: AgentId
    client_id: str
    role: str  # primary | replica | retired | pending
    config: AgentConfig
    config_version: int
    registered: Registered
    replica_count: int = 0


def new_agent(
    client: Client, agent_id: AgentId, registration: Registration, now: datetime, ondemand_price: Decimal | None
) -> Aggregate:
    """RG-1: an agent with the client's defaults (CL-7), before its first machine is added."""
    config = AgentConfig(
        auto_switch_enabled=client.default_auto_switch,
        auto_terminate_enabled=client.default_auto_terminate,
        terminate_wait_seconds=client.default_terminate_wait_seconds,
    )
    agent = Agent(
        agent_id=agent_id,
        client_id=client.client_id,
        logical_agent_id=registration.logical_agent_id,
        config=config,
        registered_at=now,
        updated_at=now,
        registered_ondemand_price=ondemand_price,
    )
    return Aggregate(client=client, agent=agent)


def register_first(change: Change, registration: Registration) -> RegistrationAnswer:
    """RG-1: the first machine of a new agent serves at once."""
    machine = _machine(change, registration, InstanceStatus.RUNNING_PRIMARY)
    roles.first_primary(change, evolve(machine, confirmed_at=change.now))
    _refresh(change, registration, change.aggregate.instances[machine.instance_id])
    change.event(EventKind.AGENT_REGISTERED, instance=machine)
    return _answer(change, "primary", Registered.NEW)


def register(change: Change, registration: Registration, *, known_only: bool = False) -> RegistrationAnswer | SpotError:
    """Judge a machine that registers for a known agent. A refusal comes back as a value, so that its audit row is
    stored; nothing else is."""
    dispatch.pass_time(change)
    known = change.aggregate.machine(registration.cloud_id)
    if known is not None and not _forgotten(change, known):
        return _known(change, registration, known)
    if change.agent.life is not Life.LIVE:
        return _refused(change, registration, "the agent of that name is being deleted; try again when it is gone")
    expected = _by_token(change, registration) or _by_likeness(change, registration)
    if expected is not None:
        return _bind(change, registration, expected)
    if known_only:
        return InactiveClient("the client is suspended; only known machines may register")  # Z26
    if change.aggregate.primary is None or change.aggregate.is_offline(change.now):
        return _take_over(change, registration)
    return _refused(change, registration, "another machine serves under this name and is online")  # RG-8


def _forgotten(change: Change, known: Instance) -> bool:
    """A machine that was released is a stranger again, except while its agent is still being retired (RG-4)."""
    return known.status is InstanceStatus.RELEASED and change.agent.life is not Life.RETIRING


def _known(change: Change, registration: Registration, known: Instance) -> RegistrationAnswer:
    if known.status in RETIRED:  # RG-4: nothing changes
        return _answer(change, "retired", Registered.IGNORED)
    known = _described(known, registration, change.now)
    change.put(known)
    if known.is_primary:  # RG-2
        _refresh(change, registration, known)
        return _answer(change, "primary", Registered.UPDATED)
    return _answer(change, _standby_role(change, known), Registered.UPDATED)  # RG-3, or RG-5/RG-6 again


def _standby_role(change: Change, machine: Instance) -> str:
    replica = change.aggregate.replica_on(machine.instance_id)
    return "replica" if replica is not None and replica.is_live else "pending"


def _by_token(change: Change, registration: Registration) -> Replica | Command | None:
    """RG-5: the launch this machine was made for, named by a replica id or a request id."""
    token = registration.launch_token
    if token is None:
        return None
    for replica in _launching(change):
        if replica.replica_id == token:
            return replica
    for command in change.aggregate.open_commands:
        if command.request_id == token and command.kind in (CommandKind.SWITCH, CommandKind.LAUNCH):
            return command
    return None


def _by_likeness(change: Change, registration: Registration) -> Replica | Command | None:
    """RG-6: exactly one unclaimed expected launch of the same type and zone. A modern agent's launches are confirmed by
    its own reports alone (Z22)."""
    if change.agent.abilities.modern:
        return None
    matches: list[Replica | Command] = [
        replica
        for replica in _launching(change)
        if (replica.instance_type, replica.az) == (registration.instance_type, registration.az)
    ]
    matches += [
        command
        for command in change.aggregate.open_commands
        if command.kind is CommandKind.SWITCH
        and command.state is CommandState.EXECUTING
        and switching.bound_machine(change, command) is None
        and switching.expected_machine(change, command) == (registration.instance_type, registration.az)
    ]
    return matches[0] if len(matches) == 1 else None


def _launching(change: Change) -> Iterable[Replica]:
    return (row for row in change.aggregate.replicas.values() if row.state is ReplicaState.LAUNCHING)


def _bind(change: Change, registration: Registration, expected: Replica | Command) -> RegistrationAnswer:
    """RG-5, RG-6: the machine belongs to that launch; it is standby or pending, never primary here."""
    inferred = registration.launch_token is None
    if isinstance(expected, Replica):
        facts = standby.MachineFacts(
            cloud_id=registration.cloud_id, instance_type=registration.instance_type, az=registration.az,
            ami_id=registration.ami_id,
        )  # fmt: skip
        standby.machine_started(change, expected, facts)
        row = change.aggregate.instances[expected.instance_id]
        change.put(evolve(_described(row, registration, change.now), inferred=inferred))
        return _answer(change, "replica", Registered.UPDATED)
    if expected.kind is CommandKind.LAUNCH and expected.target_instance_id is not None:
        row = change.aggregate.instances[expected.target_instance_id]
        change.put(evolve(_described(row, registration, change.now), cloud_id=registration.cloud_id))
        return _answer(change, "pending", Registered.UPDATED)
    machine = evolve(
        _machine(change, registration, InstanceStatus.LAUNCHING),
        bound_command_id=CommandId(expected.command_id),
        inferred=inferred,
        confirmed_at=change.now,
        launch_requested_at=expected.delivered_at,
    )
    if machine.mode is Mode.UNKNOWN and expected.target_mode is not None:
        machine = machine.with_mode(expected.target_mode)
    change.put(machine)
    change.event(EventKind.AGENT_REFRESHED, instance=machine, bound_to=expected.command_id)
    return _answer(change, "pending", Registered.UPDATED)


def _take_over(change: Change, registration: Registration) -> RegistrationAnswer:
    """RG-7: nobody serves, or who did is gone from sight: the newcomer serves."""
    machine = _machine(change, registration, InstanceStatus.LAUNCHING)
    machine = evolve(machine, confirmed_at=change.now)
    change.put(machine)
    roles.change_primary(change, machine, trigger=SwitchTrigger.REHOME, reason="an unknown machine registered")
    machine = change.aggregate.instances[machine.instance_id]
    _refresh(change, registration, machine)
    change.event(EventKind.AGENT_REHOMED, instance=machine)
    return _answer(change, "primary", Registered.UPDATED)


def _refused(change: Change, registration: Registration, reason: str) -> LogicalAgentConflict:
    change.event(EventKind.AGENT_REGISTRATION_FAILED, machine=registration.cloud_id, reason=reason)
    return LogicalAgentConflict(reason)


def _machine(change: Change, registration: Registration, status: InstanceStatus) -> Instance:
    row = Instance(
        instance_id=InstanceId(change.new_id()),
        client_id=change.agent.client_id,
        agent_id=change.agent.agent_id,
        status=status,
        cloud_id=registration.cloud_id,
        created_at=change.now,
    )
    return _described(row, registration, change.now)


def _described(row: Instance, registration: Registration, now: datetime) -> Instance:
    """The row with what the registration knows; an unknown mode never hides a known one (AG-3)."""
    described = evolve(
        row,
        instance_type=registration.instance_type or row.instance_type,
        region=registration.region or row.region,
        az=registration.az or row.az,
        hostname=registration.hostname or row.hostname,
        ami_id=registration.ami_id or row.ami_id,
        private_ip=registration.private_ip or row.private_ip,
        public_ip=registration.public_ip or row.public_ip,
        registered_at=row.registered_at or now,
        last_seen_at=now,
    )
    if registration.mode is not Mode.UNKNOWN:
        return described.with_mode(registration.mode)
    pool = pool_of(described.instance_type, described.az)
    if described.mode is Mode.SPOT and described.pool_id is None and pool is not None:
        return evolve(described, pool_id=pool.pool_id)
    return described


def _refresh(change: Change, registration: Registration, machine: Instance) -> None:
    """The primary registered: facts refreshed, online, heard just now."""
    was_offline = change.agent.link is Link.OFFLINE
    change.set_agent(
        hostname=registration.hostname or change.agent.hostname,
        agent_version=registration.agent_version or change.agent.agent_version,
        region=machine.region or change.agent.region,
        metadata={**change.agent.metadata, **registration.metadata},
        link=Link.ONLINE,
        offline_at=None,
        last_heartbeat_at=change.now,
        last_registered_at=change.now,
        able_since_registration=False,
    )
    liveness.observe(change, registration.evidence)
    if was_offline:
        change.event(EventKind.AGENT_BACK_ONLINE, instance=machine, old_status="offline", new_status="online")


def _answer(change: Change, role: str, registered: Registered) -> RegistrationAnswer:
    serves = role == "primary"
    return RegistrationAnswer(
        agent_id=change.agent.agent_id,
        client_id=change.agent.client_id,
        role=role,
        config=change.agent.config if serves else ALL_OFF,
        config_version=change.agent.config_version,
        registered=registered,
        replica_count=1 if serves and change.aggregate.live_replica is not None else 0,
    )
