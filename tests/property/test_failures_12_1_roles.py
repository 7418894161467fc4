"""The known failures of section 12.1, roles and failover: one property each, over memory."""

import pytest
from attrs import evolve

from spotcore.aggregate import Aggregate
from spotcore.builds import Evidence
from spotcore.commands import CommandKind, CommandState
from spotcore.config import ALL_OFF
from spotcore.dispatch import Dialect
from spotcore.emergencies import Signal
from spotcore.errors import LogicalAgentConflict, NotFound, ReplicaNotPromotable, SpotError
from spotcore.ids import AgentId, is_cloud_id
from spotcore.incidents import Outcome, Severity
from spotcore.replicas import ReplicaKind, ReplicaState
from spotcore.service.kernel import Caller
from spotcore.switches import SwitchState
from tests.support.moves import MOVES, PROMOTIONS, Move, Moved, a_report, by_notice, plain
from tests.support.world import Ready, World, with_replica

every_move = pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
every_promotion = pytest.mark.parametrize("move", PROMOTIONS, ids=lambda move: move.__name__)


def essence(aggregate: Aggregate) -> Aggregate:
    """The aggregate without bookkeeping of its agent row."""
    return evolve(aggregate, agent=evolve(aggregate.agent, due_at=None, revision=0, sequence=0))


@every_move
def test_failure_2_the_new_primary_hears_that_it_is_primary_and_the_old_one_that_it_is_retired(
    world: World, move: Move
) -> None:
    moved = move(world)
    answer = world.beat(moved.agent_id, moved.new)
    assert answer.role == "primary"
    assert answer.config != ALL_OFF
    assert answer.config.enabled
    old = world.beat(moved.agent_id, moved.old)
    assert (old.role, old.config) == ("retired", ALL_OFF)
    again = world.register(machine=moved.new)
    assert (again.agent_id, again.role) == (moved.agent_id, "primary")


@every_move
def test_failure_3_there_is_one_primary_and_the_old_one_is_none_i1(world: World, move: Move) -> None:
    moved = move(world)
    after = world.aggregate(moved.agent_id)
    assert [row.cloud_id for row in after.instances.values() if row.is_primary] == [moved.new]
    assert world.status(moved.agent_id, moved.old) in ("zombie", "terminating", "terminated")
    (switch,) = [row for row in after.switches.values() if row.state is SwitchState.COMPLETED]
    assert (switch.old_cloud_id, switch.new_cloud_id) == (moved.old, moved.new)
    assert [period.ended_at is None for period in after.periods] == [False, True]


@pytest.mark.parametrize("delays", [(0.0,) * 19, (1.0, 5.0, 5.0, 30.0, 60.0, 300.0), (7_000.0, 90_000.0)])
def test_failure_4_a_notice_applied_many_times_is_one_failover_em1_em2(world: World, delays: tuple[float, ...]) -> None:
    ready = with_replica(world)
    world.notice(ready.agent_id, ready.primary, ahead=120)
    once = world.aggregate(ready.agent_id)
    for delay in delays:
        world.tick(delay)
        answer = world.notice(ready.agent_id, ready.primary, ahead=120)
        assert answer.outcome is Outcome.REPLICA_PROMOTED
        assert answer.duplicate
    after = world.aggregate(ready.agent_id)
    assert after.agent.primary_id == once.agent.primary_id
    assert len(after.periods) == len(once.periods) == 2


@pytest.mark.parametrize("after", [0, 200, 500])
def test_failure_5_a_late_notice_of_a_dead_machine_reaches_nobody_else_em6(world: World, after: float) -> None:
    moved = by_notice(world)
    world.tick(after)
    before = world.aggregate(moved.agent_id)
    for severity in Severity:
        world.notice(moved.agent_id, moved.old, severity=severity, ahead=60)
    now = world.aggregate(moved.agent_id)
    assert now.primary is not None
    assert now.primary == before.primary
    assert now.primary.notice_deadline is None
    assert now.incident_of(now.primary.instance_id) is None
    assert now.switches.keys() == before.switches.keys()


def _stranger(world: World) -> Ready:
    """Another client's agent, with a ready replica."""
    other = world.plane.clients.create("Other").client.client_id
    mine, world.client_id = world.client_id, other
    try:
        return with_replica(world)
    finally:
        world.client_id = mine


def test_failure_6_a_replica_of_another_agent_or_client_is_never_promoted_pr1_em11(world: World) -> None:
    mine, sibling, foreign = plain(world, logical="alone"), with_replica(world, "sibling"), _stranger(world)
    for replica_id in (sibling.replica_id, foreign.replica_id, "no-such-replica"):
        with pytest.raises(NotFound):
            world.plane.replicas.promote(world.user, mine, replica_id)
        world.notice(mine, world.primary(mine), replica_id=replica_id)
    assert world.primary(sibling.agent_id) == sibling.primary
    with world.transactions() as uow:
        untouched = uow.agents.get(uow.agents.find_owner(foreign.agent_id), foreign.agent_id)  # type: ignore[arg-type]
    assert untouched.primary is not None
    assert untouched.primary.cloud_id == foreign.primary
    assert all(row.state is ReplicaState.READY for row in untouched.replicas.values())


def test_failure_6_a_terminal_replica_is_never_promoted_pr2_em11(world: World) -> None:
    ready = with_replica(world)
    world.plane.replicas.delete(world.user, ready.agent_id, ready.replica_id)
    with pytest.raises(ReplicaNotPromotable):
        world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    answer = world.notice(ready.agent_id, ready.primary, replica_id=ready.replica_id)
    assert answer.replica is not None
    assert answer.replica.replica_id != ready.replica_id  # the server picked its own
    assert world.primary(ready.agent_id) == ready.primary


def test_failure_7_a_placeholder_is_never_promoted_pr3_i10(world: World) -> None:
    agent_id = plain(world)
    world.set(agent_id, manual_replica_enabled=True)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    old = world.primary(agent_id)
    with pytest.raises(SpotError) as refusal:
        world.plane.replicas.promote(world.user, agent_id, live.replica_id)
    assert refusal.value.code == "REPLICA_NOT_READY"
    world.notice(agent_id, old, ahead=120)
    world.tick(119)  # beyond the forced promotion: it has no machine
    assert world.primary(agent_id) == old
    world.tick(600)
    assert world.primary(agent_id) is None  # IN-11: rather nobody than a name AWS never heard of


@every_promotion
def test_failure_7_who_is_promoted_has_a_confirmed_name(world: World, move: Move) -> None:
    moved = move(world)
    primary = world.aggregate(moved.agent_id).primary
    assert primary is not None
    assert is_cloud_id(primary.cloud_id)
    assert primary.confirmed_at is not None


@every_promotion
def test_failure_8_the_promoted_machine_keeps_its_record_pr5(world: World, move: Move) -> None:
    moved = move(world)
    after = world.aggregate(moved.agent_id)
    promoted = [row for row in after.replicas.values() if row.state is ReplicaState.PROMOTED]
    row = after.machine(moved.new)
    assert row is not None
    assert [row.instance_id] == [replica.instance_id for replica in promoted]
    assert [one.cloud_id for one in after.instances.values()].count(row.cloud_id) == 1
    with world.transactions() as uow:
        assert uow.agents.find_by_instance(world.client_id, moved.new) == (world.client_id, moved.agent_id)


BUILDS_THAT_LAUNCH = [Evidence.CLASSIC_CALL, Evidence.CLOUD_ACCOUNT]


@pytest.mark.parametrize("evidence", BUILDS_THAT_LAUNCH)
@pytest.mark.parametrize("auto", [True, False])
def test_failure_11_without_a_replica_a_launch_is_on_its_way_at_once_5_4(
    world: World, evidence: Evidence, auto: bool
) -> None:
    agent_id = plain(world, evidence)
    world.set(agent_id, auto_switch_enabled=auto)
    answer = world.notice(agent_id, world.primary(agent_id))
    assert answer.outcome in (Outcome.LAUNCH, Outcome.ONDEMAND_SWITCH)
    assert answer.snapshot_required
    if evidence is Evidence.CLASSIC_CALL:
        (view,) = world.plane.replicas.to_launch(world.agent_caller, agent_id)
        assert view.replica.kind is ReplicaKind.EMERGENCY_TERMINATION
        return
    (launch,) = [one for one in world.aggregate(agent_id).open_commands if one.kind is CommandKind.LAUNCH]
    assert (launch.priority, launch.state) == (100, CommandState.PENDING)


@pytest.mark.parametrize("evidence", BUILDS_THAT_LAUNCH)
def test_failure_13_a_signal_every_30_s_makes_one_replica_em1_i2(world: World, evidence: Evidence) -> None:
    agent_id = plain(world, evidence)
    for _ in range(8):
        world.notice(agent_id, world.primary(agent_id), severity=Severity.REBALANCE)
        world.clock.advance(30)
    after = world.aggregate(agent_id)
    assert len(after.replicas) == 1
    (incident,) = after.incidents.values()
    assert incident.signals == 8


def test_failure_14_after_two_quiet_hours_the_incident_and_its_replica_are_gone_5_3(world: World) -> None:
    agent_id = plain(world)
    machine = str(world.primary(agent_id))
    world.notice(agent_id, machine, severity=Severity.REBALANCE)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    world.start_replica(agent_id, live.replica_id, world.new_machine())
    world.beat(agent_id, machine)
    world.tick(7_199)
    assert len(world.aggregate(agent_id).open_incidents) == 1
    assert world.aggregate(agent_id).live_replica is not None
    world.tick(1)
    after = world.aggregate(agent_id)
    assert (after.open_incidents, after.live_replica) == ((), None)
    assert after.replicas[live.replica_id].end_reason is not None
    assert after.replicas[live.replica_id].end_reason.value == "incident_cleared"


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("silent", [0, 121])
def test_failure_15_a_failover_depends_on_neither_link_nor_switch_em16_ag6(
    world: World, enabled: bool, silent: float
) -> None:
    ready = with_replica(world)
    world.plane.agents.toggle(world.user, ready.agent_id, enabled)
    world.tick(silent)
    answer = world.notice(ready.agent_id, ready.primary)
    assert answer.outcome is Outcome.REPLICA_PROMOTED
    assert world.primary(ready.agent_id) == ready.standby


RETIRED = ("zombie", "terminating", "terminated")


def _retired(world: World, status: str) -> Moved:
    moved = by_notice(world) if status == "terminated" else _by_report(world)
    if status != "zombie":
        world.tick(301)
    assert world.status(moved.agent_id, moved.old) == status
    return moved


def _by_report(world: World) -> Moved:
    agent_id = plain(world)
    old, new = str(world.primary(agent_id)), world.new_machine()
    world.plane.commands.switch_report(world.agent_caller, agent_id, a_report(old, new))
    return Moved(agent_id, old, new)


@pytest.mark.parametrize("status", RETIRED)
def test_failure_17_a_retired_machine_never_serves_again_gr4(world: World, status: str) -> None:
    moved = _retired(world, status)
    serving = world.primary(moved.agent_id)
    assert world.register(machine=moved.old).role == "retired"
    world.beat(moved.agent_id, moved.old)
    world.plane.commands.switch_report(world.agent_caller, moved.agent_id, a_report(str(serving), moved.old))
    world.notice(moved.agent_id, moved.old)
    assert world.primary(moved.agent_id) == serving
    assert world.status(moved.agent_id, moved.old) in RETIRED


def test_failure_19_no_machine_that_registers_becomes_a_second_primary_rg3_rg5(world: World) -> None:
    ready = with_replica(world)
    serving = world.primary(ready.agent_id)
    assert world.register(machine=ready.standby).role == "replica"
    with pytest.raises(LogicalAgentConflict):
        world.register(machine=world.new_machine())  # RG-8
    other = plain(world, logical="switcher")
    world.switch(other)
    (switch,) = world.fetch(other, Dialect.CLASSIC)
    bound = world.register("switcher", world.new_machine(), az="us-east-1b", launch_token=switch.request_id)
    assert bound.role == "pending"
    for agent_id, primary in ((ready.agent_id, serving), (other, world.primary(other))):
        assert world.primary(agent_id) == primary
        assert sum(row.is_primary for row in world.aggregate(agent_id).instances.values()) == 1


def test_failure_6_a_notice_of_another_client_changes_nothing_of_ours_gr8(world: World) -> None:
    ready = with_replica(world)
    other = world.plane.clients.create("Other").client.client_id
    notice = Signal(severity=Severity.TERMINATION, cloud_id=ready.primary, received_at=world.clock.now())
    before = world.aggregate(ready.agent_id)
    with pytest.raises(NotFound):
        world.plane.emergencies.signal(Caller(client_id=other), AgentId(ready.agent_id), notice)
    assert essence(world.aggregate(ready.agent_id)) == essence(before)
