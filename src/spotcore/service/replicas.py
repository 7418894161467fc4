"""Replicas by hand and by report: E43, E45…E50."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from attrs import evolve, field, frozen

from spotcore import placement, reports, standby
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.change import Change
from spotcore.commands import Origin
from spotcore.errors import (
    ManualReplicaDisabled,
    NoSuitablePool,
    NotFound,
    PoolMismatch,
    ReplicaExists,
    ReplicaInactive,
    SpotError,
    UnsupportedOperation,
)
from spotcore.ids import AgentId, InstanceId, ReplicaId
from spotcore.instances import Instance
from spotcore.liveness import observe
from spotcore.placement import Placement, Via
from spotcore.pools import parse_pool, require_same_family
from spotcore.ports.storage import Keys
from spotcore.replicas import Replica, ReplicaEnd, ReplicaKind, ReplicaState
from spotcore.reports import ReplicaStatusReport
from spotcore.service.kernel import Caller, Kernel, require_live, require_not_deleted
from spotcore.service.replica_costs import costs_of
from spotcore.standby import MachineFacts
from spotcore.switches import Switch, SwitchTrigger


@frozen(kw_only=True)
class ReplicaRequest:
    """E45, its aliases already folded."""

    pool_id: str | None = None
    machine: MachineFacts | None = None  # the agent has launched it already
    exclude_zones: tuple[str, ...] = ()
    max_hourly_cost: Decimal | None = None
    instance_type: str | None = None
    tags: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Listing:
    """Replicas an agent is asked to do something about. The list is the same for as long as the agent has this
    ``revision`` and it is not yet ``until``."""

    views: "tuple[ReplicaView, ...]" = ()
    revision: int
    until: datetime | None = None


@frozen(kw_only=True)
class ReplicaView:
    """A replica with its machine, the price in force of its pool ($/h, None: unknown) and its cost by the ledger."""

    replica: Replica
    instance: Instance
    hourly_cost: Decimal | None = None
    total_cost: Decimal = Decimal(0)


@frozen(kw_only=True)
class Promotion:
    """E46. ``follows_anyway``: another replica comes though none was wanted, for manual mode promises one (MR-2)."""

    switch: Switch
    demoted: bool
    follows_anyway: bool = False


@frozen
class Replicas:
    """What users and agents do with replicas."""

    kernel: Kernel

    def create(self, caller: Caller, agent_id: AgentId, wanted: ReplicaRequest) -> ReplicaView:
        """E45. Raises ``ManualReplicaDisabled``, ``ReplicaExists``, ``NoSuitablePool``, ``PoolMismatch``,
        ``UnsupportedOperation``, and ``NotFound`` while the agent is offline."""

        def rule(change: Change) -> ReplicaView:
            require_live(change.aggregate)
            if wanted.machine is not None:
                observe(change, (Evidence.CLASSIC_CALL,))
            again = _launched_before(change, wanted.machine)
            if again is not None:
                return again
            _require_creatable(change, wanted)
            place = _place(change, wanted)
            created_by = "system" if wanted.machine is not None else "user"
            replica = standby.launch(
                change, place, ReplicaKind.MANUAL, Origin.OPERATOR, created_by=created_by, tags=wanted.tags
            )
            if wanted.machine is not None:
                replica = standby.machine_started(change, replica, wanted.machine)
            return ReplicaView(
                replica=change.aggregate.replicas[replica.replica_id],
                instance=change.aggregate.instances[replica.instance_id],
                hourly_cost=change.market.spot_price(place.pool_id, change.now),
            )

        keys = Keys(cloud_ids=(wanted.machine.cloud_id,) if wanted.machine else ())
        return self.kernel.run(caller, agent_id, rule, keys=keys, market=True)

    def promote(
        self,
        caller: Caller,
        agent_id: AgentId,
        replica_id: str,
        *,
        demote_old_primary: bool = False,
        terminate_old: bool | None = None,
        create_next: bool | None = None,
    ) -> Promotion:
        """E46 (PR-1…PR-7). Already done: the stored result (PR-2). ``terminate_old`` None means the agent's setting,
        ``create_next`` None manual mode. Raises ``NotFound``, ``ReplicaNotReady``, ``ReplicaNotPromotable``."""

        def rule(change: Change) -> Promotion:
            require_live(change.aggregate)
            replica = reports.find_replica(change, replica_id)
            made = _promoted_before(change, replica)
            if made is not None:
                return made
            standby.require_promotable(change, replica)
            keep = demote_old_primary and standby.may_keep_old(change, replica)
            switch = standby.promote(
                change, replica, SwitchTrigger.MANUAL_PROMOTION, keep_old_as_replica=keep, terminate_old=terminate_old
            )
            manual = change.agent.config.manual_replica_enabled  # then the next one follows by itself (MR-2)
            if create_next and not manual:
                _launch_next(change)
            return Promotion(switch=switch, demoted=keep, follows_anyway=manual and create_next is False and not keep)

        return self.kernel.run(caller, agent_id, rule, keys=Keys(replica_ids=(replica_id,)), market=True)

    def delete(self, caller: Caller, agent_id: AgentId, replica_id: str) -> Replica:
        """E47: the replica after its end; in manual mode a successor follows at once (MR-5). Raises ``NotFound``,
        ``ReplicaInactive``."""

        def rule(change: Change) -> Replica:
            require_live(change.aggregate)
            replica = reports.find_replica(change, replica_id)
            if not replica.is_live:
                raise ReplicaInactive(f"the replica is {replica.state.value} already")
            return standby.end(change, replica, ReplicaEnd.USER)

        return self.kernel.run(caller, agent_id, rule, keys=Keys(replica_ids=(replica_id,)), market=True)

    def update(
        self,
        caller: Caller,
        agent_id: AgentId,
        replica_id: str,
        *,
        machine: MachineFacts | None = None,
        state: ReplicaState | None = None,
        sync_status: str | None = None,
        progress: Decimal | None = None,
    ) -> ReplicaView:
        """E48: the machine's name first, then what is said of its state and sync. Raises ``NotFound``."""

        def rule(change: Change) -> ReplicaView:
            require_live(change.aggregate)
            observe(change, (Evidence.CLASSIC_CALL,))
            replica = reports.find_replica(change, replica_id)
            if machine is not None:
                standby.machine_started(change, replica, machine)
            if state is not None and state is not ReplicaState.SYNCING:
                replica = change.aggregate.replicas[replica.replica_id]
                reports.replica_status(change, replica, ReplicaStatusReport(state=state))
            if sync_status is not None or progress is not None:
                replica = change.aggregate.replicas[replica.replica_id]
                standby.sync_report(change, replica, status=sync_status, latency_ms=None, progress=progress)
            return _view(change.aggregate, replica.replica_id)

        keys = Keys(replica_ids=(replica_id,), cloud_ids=(machine.cloud_id,) if machine else ())
        return self.kernel.run(caller, agent_id, rule, keys=keys, market=True)

    def report_status(
        self, caller: Caller, agent_id: AgentId, replica_id: str, report: ReplicaStatusReport
    ) -> tuple[Replica, bool]:
        """E49: the replica after the report, and whether the report moved anything (RP-10). Raises ``NotFound``."""

        def rule(change: Change) -> tuple[Replica, bool]:
            ending = report.state is ReplicaState.TERMINATED  # Z25
            (require_not_deleted if ending else require_live)(change.aggregate)
            replica = reports.find_replica(change, replica_id)
            moved = reports.replica_status(change, replica, report)
            return change.aggregate.replicas[replica.replica_id], moved

        return self.kernel.run(caller, agent_id, rule, keys=Keys(replica_ids=(replica_id,)), market=True)

    def report_sync(
        self,
        caller: Caller,
        agent_id: AgentId,
        replica_id: str,
        *,
        status: str | None,
        latency_ms: int | None,
        progress: Decimal | None,
        state: ReplicaState | None = None,
    ) -> Replica:
        """E50: the replica after the report; at 100 % it is ready (RP-3). Raises ``NotFound``."""

        def rule(change: Change) -> Replica:
            require_live(change.aggregate)
            replica = reports.find_replica(change, replica_id)
            replica = standby.sync_report(change, replica, status=status, latency_ms=latency_ms, progress=progress)
            if state is not None:
                reports.replica_status(change, replica, ReplicaStatusReport(state=state))
            return change.aggregate.replicas[replica.replica_id]

        return self.kernel.run(caller, agent_id, rule, keys=Keys(replica_ids=(replica_id,)), market=True)

    def to_launch(self, caller: Caller, agent_id: AgentId) -> tuple[ReplicaView, ...]:
        """E43 ``status=launching``: replicas that still need a machine. Reading changes nothing but what we know of the
        build (T14)."""
        return self.launch_list(caller, agent_id).views

    def to_end(self, caller: Caller, agent_id: AgentId) -> tuple[ReplicaView, ...]:
        """E43 ``status=terminated``: ended replicas whose machine runs and is not confirmed gone (C14, RP-14), never
        before Z19 allows it."""
        return self.end_list(caller, agent_id).views

    def launch_list(self, caller: Caller, agent_id: AgentId) -> Listing:
        """``to_launch``, and how long it stays so."""
        aggregate = self._observed(caller, agent_id)
        revision = aggregate.agent.revision
        if aggregate.agent.life is not Life.LIVE or aggregate.agent.abilities.modern:
            return Listing(revision=revision)
        rows = (_view(aggregate, row.replica_id) for row in aggregate.replicas.values())
        wanted = (row for row in rows if row.replica.state is ReplicaState.LAUNCHING and row.instance.cloud_id is None)
        return Listing(views=self._priced(aggregate, wanted), revision=revision)

    def end_list(self, caller: Caller, agent_id: AgentId) -> Listing:
        """``to_end``, and how long it stays so."""
        aggregate = self._observed(caller, agent_id)
        now = self.kernel.clock.now()
        ended = (ReplicaState.TERMINATED, ReplicaState.FAILED)
        views = [_view(aggregate, row.replica_id) for row in aggregate.replicas.values() if row.state in ended]
        running = [one for one in views if one.instance.cloud_id and one.instance.status.value == "terminating"]
        later = [one.instance.protected_until for one in running if one.instance.notice_protects(now)]
        return Listing(
            views=self._priced(aggregate, (one for one in running if not one.instance.notice_protects(now))),
            revision=aggregate.agent.revision,
            until=min((at for at in later if at is not None), default=None),
        )

    def listed(self, caller: Caller, agent_id: AgentId, *, include_ended: bool) -> tuple[ReplicaView, ...]:
        """E43 without a status: live replicas, or all that are kept; newest first."""
        aggregate = self._observed(caller, agent_id)
        rows = sorted(aggregate.replicas.values(), key=lambda row: row.created_at, reverse=True)
        shown = (_view(aggregate, row.replica_id) for row in rows if include_ended or row.is_live)
        return self._priced(aggregate, shown)

    def _priced(self, aggregate: Aggregate, views: Iterable[ReplicaView]) -> tuple[ReplicaView, ...]:
        """With what they cost. A list that has to launch a machine never fails over a price (5.2)."""
        views = tuple(views)
        if not views:
            return ()
        try:
            with self.kernel.transactions() as uow:
                costs = costs_of(uow.ledger, aggregate, [one.replica for one in views], self.kernel.clock.now())
        except SpotError:
            return views
        priced = ((one, costs[one.replica.replica_id]) for one in views)
        return tuple(evolve(one, hourly_cost=cost.hourly, total_cost=cost.total) for one, cost in priced)

    def _observed(self, caller: Caller, agent_id: AgentId) -> Aggregate:
        aggregate = self.kernel.read(caller, agent_id)
        if aggregate.agent.life is Life.DELETED:
            raise NotFound("unknown agent")
        if caller.actor == "agent" and not aggregate.agent.able_since_registration:
            self.kernel.run(caller, agent_id, lambda change: observe(change, (Evidence.CLASSIC_CALL,)))
        return aggregate


def _view(aggregate: Aggregate, replica_id: ReplicaId) -> ReplicaView:
    replica = aggregate.replicas[replica_id]
    return ReplicaView(replica=replica, instance=aggregate.instances[InstanceId(replica.instance_id)])


def _launched_before(change: Change, machine: MachineFacts | None) -> ReplicaView | None:
    """The same machine told twice is one replica (ID-6)."""
    row = change.aggregate.machine(machine.cloud_id) if machine else None
    replica = change.aggregate.replica_on(row.instance_id) if row else None
    return _view(change.aggregate, replica.replica_id) if replica else None


def _require_creatable(change: Change, wanted: ReplicaRequest) -> None:
    if change.aggregate.live_replica is not None:
        raise ReplicaExists("a replica is live already; delete or promote it first")  # MR-6, I2
    if wanted.machine is not None:
        return
    if not change.agent.abilities.can_launch_replica:
        raise UnsupportedOperation("this agent build cannot launch a replica")  # Z27
    if not change.agent.config.manual_replica_enabled:
        raise ManualReplicaDisabled("switch manual replica mode on first")
    if change.aggregate.primary is None or change.aggregate.is_offline(change.now):
        raise NotFound("the agent is offline")


def _place(change: Change, wanted: ReplicaRequest) -> Placement:
    primary = change.aggregate.primary
    own_type = primary.instance_type if primary else None
    if wanted.instance_type is not None and own_type is not None and wanted.instance_type != own_type:
        raise PoolMismatch(f"the agent runs {own_type}; a replica has the same type")
    if wanted.pool_id is not None:
        pool = parse_pool(wanted.pool_id)
        require_same_family(pool, own_type, change.agent.region)
        if wanted.machine is None:  # one that runs already is taken as it is
            placement.require_known(change.aggregate, change.market, pool)
        return placement.in_pool(change.aggregate, change.market, pool, change.now)
    if wanted.machine is not None and primary is not None:
        return placement.observed(change.aggregate, wanted.machine.instance_type, wanted.machine.az)
    place = placement.cheapest_replica_pool(
        change.aggregate, change.market, change.now,
        exclude_zones=wanted.exclude_zones, max_price=wanted.max_hourly_cost,
    )  # fmt: skip
    if place.via not in (Via.REPLICA_LIST, Via.LAUNCH_COMMAND):
        raise NoSuitablePool("no pool satisfies the zones and the cost asked for")
    return place


def _launch_next(change: Change) -> None:
    """E46: the next replica, asked for by hand. The promotion stands where none can be launched."""
    if change.aggregate.live_replica is not None or not change.agent.abilities.can_launch_replica:  # I2, MR-3, Z27
        return
    place = placement.cheapest_replica_pool(change.aggregate, change.market, change.now)
    if place.via in (Via.REPLICA_LIST, Via.LAUNCH_COMMAND):
        standby.launch(change, place, ReplicaKind.MANUAL, Origin.OPERATOR, created_by="user")


def _promoted_before(change: Change, replica: Replica) -> Promotion | None:
    """PR-2: promoted and still primary: the stored result."""
    if replica.state is not ReplicaState.PROMOTED or change.agent.primary_id != replica.instance_id:
        return None
    made = [row for row in change.aggregate.switches.values() if row.new_instance_id == replica.instance_id]
    if not made:
        return None
    switch = max(made, key=lambda row: row.recorded_at)
    old = change.aggregate.instances.get(switch.old_instance_id) if switch.old_instance_id else None
    return Promotion(switch=switch, demoted=old is not None and old.status.value == "running_replica")
