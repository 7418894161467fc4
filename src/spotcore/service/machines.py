"""What people order for machines: E34, E38, E39, and what they may choose from, E33."""

from attrs import evolve, frozen

from spotcore import candidates, dispatch, endings, guards, placement, standby, switching
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.change import Change
from spotcore.commands import Command, CommandKind, Origin
from spotcore.errors import (
    AgentDisabled,
    IsPrimary,
    NoSuitablePool,
    NotFound,
    NotPrimary,
    PoolMismatch,
    ReplicaExists,
    StateConflict,
    SwitchBlocked,
    UnsupportedOperation,
    ValidationFailed,
)
from spotcore.events import EventKind
from spotcore.guards import Guard, Purpose
from spotcore.ids import AgentId, InstanceId, launch_placeholder, replica_placeholder
from spotcore.instances import Instance, InstanceStatus
from spotcore.market import Market
from spotcore.placement import Placement, Via
from spotcore.pools import Mode, family_of, parse_pool, pool_of, require_same_family
from spotcore.ports.storage import Keys
from spotcore.replicas import ReplicaEnd, ReplicaKind
from spotcore.service.kernel import Caller, Kernel, require_live
from spotcore.switches import SwitchTrigger


@frozen(kw_only=True)
class SwitchRequest:
    """Where a user or an agent wants to go."""

    target_mode: Mode | None = None  # None: spot when a pool is given
    pool_id: str | None = None
    instance_type: str | None = None
    terminate_old: bool | None = None  # None: the agent's setting


@frozen(kw_only=True)
class SwitchOrder:
    """What came of it: a queued command, or none because the agent is there already."""

    agent_id: AgentId
    target_mode: Mode
    target_pool_id: str | None
    command: Command | None
    warnings: tuple[str, ...] = ()
    current_mode: Mode = Mode.UNKNOWN
    current_pool_id: str | None = None


@frozen(kw_only=True)
class LaunchRequest:
    """E38, its aliases already folded."""

    target_mode: Mode = Mode.SPOT
    pool_id: str | None = None
    az: str | None = None
    instance_type: str | None = None
    role_hint: str = "replica"


@frozen(kw_only=True)
class LaunchOrder:
    """The machine row that waits and the command that asks for it."""

    instance: Instance
    command: Command


@frozen(kw_only=True)
class TerminateOrder:
    """The machine after the request; the command is None where the agent reads a list, or nothing had to be done."""

    instance: Instance
    command: Command | None


@frozen
class Machines:
    """Orders for machines, addressed by our id, the cloud's, or a placeholder."""

    kernel: Kernel

    def locate(self, caller: Caller, instance_id: str, *, is_admin: bool = False) -> Caller:
        """The caller acting for the machine's client. Raises ``NotFound`` for unknown and foreign ones (GR-8)."""
        return self._find(caller, instance_id, is_admin)[0]

    def _find(self, caller: Caller, instance_id: str, is_admin: bool) -> tuple[Caller, AgentId]:
        with self.kernel.transactions() as uow:
            found = uow.agents.find_by_instance(None if is_admin else caller.client_id, instance_id)
        if found is None:
            raise NotFound("unknown instance")
        return Caller(client_id=found[0], actor=caller.actor), found[1]

    def force_switch(
        self, caller: Caller, instance_id: str, wanted: SwitchRequest, *, is_admin: bool = False
    ) -> SwitchOrder:
        """E34: a user's switch of the primary. Raises ``NotPrimary``, ``AgentDisabled``, ``PoolMismatch``,
        ``NoSuitablePool``, ``SwitchBlocked``, ``ValidationFailed``."""
        acting, agent_id = self._find(caller, instance_id, is_admin)

        def rule(change: Change) -> SwitchOrder:
            require_live(change.aggregate)
            machine = find_machine(change, instance_id)
            if not machine.is_primary:
                raise NotPrimary("only the primary can be switched")
            return order_switch(change, wanted, Purpose.MANUAL, Origin.USER, SwitchTrigger.MANUAL)

        return self.kernel.run(acting, agent_id, rule, keys=Keys(instance_ids=(instance_id,)), market=True)

    def launch(self, caller: Caller, agent_id: AgentId, wanted: LaunchRequest) -> LaunchOrder:
        """E38, for builds that take launch commands. Raises ``UnsupportedOperation``, ``ReplicaExists`` (I2), and for
        role ``primary`` what ``force_switch`` does."""

        def rule(change: Change) -> LaunchOrder:
            require_live(change.aggregate)
            if not change.agent.abilities.modern:
                raise UnsupportedOperation("this agent build takes no launch commands; create a replica instead (E45)")
            if wanted.role_hint == "primary":
                return _launch_primary(change, wanted)
            return _launch_replica(change, wanted)

        return self.kernel.run(caller, agent_id, rule, market=True)

    def terminate(self, caller: Caller, instance_id: str, *, is_admin: bool = False) -> TerminateOrder:
        """E39. Raises ``IsPrimary`` (Z8), ``UnsupportedOperation``, ``StateConflict`` for a released machine."""
        acting, agent_id = self._find(caller, instance_id, is_admin)

        def rule(change: Change) -> TerminateOrder:
            return order_termination(change, find_machine(change, instance_id))

        return self.kernel.run(acting, agent_id, rule, keys=Keys(instance_ids=(instance_id,)), market=True)

    def options(self, caller: Caller, instance_id: str, *, is_admin: bool = False) -> tuple[Instance, Market]:
        """E33: the machine and the market of its type and region. Raises ``NotFound``."""
        acting, agent_id = self._find(caller, instance_id, is_admin)
        with self.kernel.transactions() as uow:
            aggregate = uow.agents.get(acting.client_id, agent_id, Keys(instance_ids=(instance_id,)))
            now = self.kernel.clock.now()
            machine = find_row(aggregate, instance_id)
            market = uow.prices.market(acting.client_id, machine.instance_type, aggregate.agent.region, now)
        return machine, market

    def types_like(self, instance_type: str | None, region: str | None) -> tuple[str, ...]:
        """E33: the types of the same family that have pools in the region, its own among them."""
        if instance_type is None:
            return ()
        with self.kernel.transactions() as uow:
            known = uow.prices.types(family_of(instance_type), region)
        return tuple(sorted({*known, instance_type}))


def find_row(aggregate: Aggregate, name: str) -> Instance:
    """The machine of that own id, cloud id or placeholder word. Raises ``NotFound``."""
    direct = aggregate.instances.get(InstanceId(name)) or aggregate.machine(name)
    if direct is not None:
        return direct
    for row in aggregate.instances.values():
        replica = aggregate.replica_on(row.instance_id)
        words = [launch_placeholder(row.instance_id)]
        if replica is not None:
            words.append(replica_placeholder(replica.replica_id))
        if name in words:
            return row
    raise NotFound("unknown instance")


def find_machine(change: Change, name: str) -> Instance:
    """As ``find_row``, in a change."""
    return find_row(change.aggregate, name)


def order_switch(
    change: Change,
    wanted: SwitchRequest,
    purpose: Purpose,
    origin: Origin,
    trigger: SwitchTrigger,
    *,
    reason: str | None = None,
) -> SwitchOrder:
    """Every guard judged inside the lock (4.7), then the order. The command is None when the agent is there already."""
    dispatch.pass_time(change)
    primary = change.aggregate.primary
    if primary is None:
        raise NotPrimary("the agent has no primary")
    if not change.agent.config.enabled:
        raise AgentDisabled("the agent is disabled; enable it first")
    place = _target(change, primary, wanted, purpose)
    there = SwitchOrder(
        agent_id=change.agent.agent_id,
        target_mode=place.mode,
        target_pool_id=place.pool_id,
        command=None,
        current_mode=primary.mode,
        current_pool_id=primary.pool_id,
    )
    if primary.mode is place.mode and primary.pool_id == place.pool_id:
        return there  # ALREADY_THERE
    target = guards.Target(mode=place.mode, pool_id=place.pool_id)
    failing = guards.failing(change.aggregate, change.market, target, purpose, change.now)
    if failing:
        raise SwitchBlocked("the switch is blocked: " + ", ".join(failing), guards=[guard.value for guard in failing])
    command = switching.order(change, place, origin, trigger, terminate_old=wanted.terminate_old)
    kind = EventKind.MANUAL_SWITCH_REQUESTED if purpose is Purpose.MANUAL else EventKind.SWITCH_COMMAND_ISSUED
    change.event(
        kind, instance=primary, command_id=command.command_id, target=place.pool_id or place.mode.value, reason=reason
    )
    warnings = tuple(
        guard.value for guard in guards.warnings(change.aggregate, change.market, target, purpose, change.now)
    )
    if change.agent.abilities.own_zone_only and place.az is not None and place.az != primary.az:
        warnings = (*warnings, "this agent build launches in its own subnet; AWS may refuse another zone")  # Z28
    return evolve(there, command=command, warnings=warnings)


def _target(change: Change, primary: Instance, wanted: SwitchRequest, purpose: Purpose) -> Placement:
    if wanted.instance_type is not None and wanted.instance_type != primary.instance_type:
        raise PoolMismatch("no agent build can change the instance type")
    mode = wanted.target_mode or (Mode.SPOT if wanted.pool_id else None)
    if mode is None or mode is Mode.UNKNOWN:
        raise ValidationFailed("no target", target=["use ondemand, spot, or pool with a pool_id"])
    if mode is Mode.ONDEMAND:
        return placement.ondemand(change.aggregate)
    if wanted.pool_id is not None:
        pool = parse_pool(wanted.pool_id)
        require_same_family(pool, primary.instance_type, change.agent.region)
        if purpose is Purpose.MANUAL:  # an automatic one is told by its guards that the price is unknown
            placement.require_known(change.aggregate, change.market, pool)
        return placement.in_pool(change.aggregate, change.market, pool, change.now, for_switch=True)
    known = candidates.eligible(change.aggregate, change.market, change.now)
    if not known:
        raise NoSuitablePool("no other pool of this type has a fresh price; name one with pool_id")
    return placement.in_pool(change.aggregate, change.market, parse_pool(known[0].pool_id), change.now, for_switch=True)


def _launch_primary(change: Change, wanted: LaunchRequest) -> LaunchOrder:
    order = order_switch(
        change,
        SwitchRequest(
            target_mode=wanted.target_mode, pool_id=_pool_wanted(change, wanted), instance_type=wanted.instance_type
        ),
        Purpose.MANUAL,
        Origin.OPERATOR,
        SwitchTrigger.MANUAL,
    )
    if order.command is None or order.command.target_instance_id is None:
        raise SwitchBlocked("the agent is there already", guards=[Guard.ALREADY_THERE.value])
    instance = change.aggregate.instances[order.command.target_instance_id]
    _launch_requested(change, instance, order.command, "primary")
    return LaunchOrder(instance=instance, command=order.command)


def _pool_wanted(change: Change, wanted: LaunchRequest) -> str | None:
    """The named pool; of a zone alone its pool. On-demand has none, and stays in the primary's zone."""
    primary = change.aggregate.primary
    if wanted.pool_id is not None or wanted.target_mode is not Mode.SPOT or primary is None:
        return wanted.pool_id
    named = pool_of(primary.instance_type, wanted.az)
    return named.pool_id if named is not None else None


def _launch_replica(change: Change, wanted: LaunchRequest) -> LaunchOrder:
    if change.aggregate.live_replica is not None:
        raise ReplicaExists("a replica is live already; delete or promote it first")
    primary = change.aggregate.primary
    if primary is None:
        raise NotPrimary("the agent has no primary to stand by for")
    if wanted.instance_type is not None and wanted.instance_type != primary.instance_type:
        raise PoolMismatch("a replica has its primary's instance type")
    pool_id = _pool_wanted(change, wanted)
    if wanted.target_mode is Mode.ONDEMAND:
        place = placement.ondemand(change.aggregate)
    elif pool_id is not None:
        pool = parse_pool(pool_id)
        require_same_family(pool, primary.instance_type, change.agent.region)
        placement.require_known(change.aggregate, change.market, pool)
        place = placement.in_pool(change.aggregate, change.market, pool, change.now)
    else:
        place = placement.cheapest_replica_pool(change.aggregate, change.market, change.now)
    if place.via is not Via.LAUNCH_COMMAND:
        raise NoSuitablePool("no pool of this type and region can be launched in; name one with target_pool_id")
    replica = standby.launch(change, place, ReplicaKind.MANUAL, Origin.OPERATOR, created_by="user")
    instance = change.aggregate.instances[replica.instance_id]
    command = standby.launch_commands(change, instance)[0]
    _launch_requested(change, instance, command, "replica")
    return LaunchOrder(instance=instance, command=command)


def _launch_requested(change: Change, instance: Instance, command: Command, role: str) -> None:
    """E38: told of in either role."""
    change.event(
        EventKind.INSTANCE_LAUNCH_REQUESTED, instance=instance, instance_type=instance.instance_type,
        status="launching", target_mode=instance.mode.value, az=instance.az, role_hint=role,
        command_id=command.command_id, target=instance.pool_id or instance.mode.value,
    )  # fmt: skip


_ENDING = (InstanceStatus.TERMINATING, InstanceStatus.TERMINATED)


def order_termination(change: Change, machine: Instance) -> TerminateOrder:
    """A user ends a machine (IN-20). A live replica's ends the replica first, in the same step."""
    if machine.is_primary:
        raise IsPrimary("the machine serves the workload: promote a replica, switch, or delete the agent first")  # Z8
    if machine.status in _ENDING:
        return TerminateOrder(instance=machine, command=None)
    if machine.status is InstanceStatus.RELEASED or change.agent.life is Life.DELETED:
        raise StateConflict("the machine is no longer managed here")
    if not change.agent.abilities.can_terminate:
        raise UnsupportedOperation("this agent build cannot end machines; end it in the cloud console")
    replica = change.aggregate.replica_on(machine.instance_id)
    if replica is not None and replica.is_live:
        standby.end(change, replica, ReplicaEnd.USER)
    elif machine.status is InstanceStatus.LAUNCHING and machine.cloud_id is None:
        standby.give_up_launch(change, machine)
    else:
        endings.begin_end(change, machine, endings.EndReason.MANUAL_TERMINATE, "a user asked for it")
    endings.queue_terminations(change)
    ordered = next(
        (
            command
            for command in change.aggregate.open_commands
            if command.kind is CommandKind.TERMINATE and command.target_instance_id == machine.instance_id
        ),
        None,
    )
    return TerminateOrder(instance=change.aggregate.instances[machine.instance_id], command=ordered)
