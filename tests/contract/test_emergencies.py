"""Section 5: signals, failover, and everything that confuses them."""

import pytest

from spotcore.builds import Evidence
from spotcore.config import ConfigChange
from spotcore.errors import NotFound, Unavailable
from spotcore.incidents import IncidentState, Outcome, Severity
from spotcore.replicas import ReplicaEnd, ReplicaState
from tests.support.world import TYPE, ZONES, World, with_replica


def plain(world: World, **facts: object) -> tuple[str, str]:
    """A v4c agent without a replica."""
    machine = world.new_machine()
    agent_id = world.register("web", machine, **facts).agent_id  # type: ignore[arg-type]
    world.beat(agent_id, machine, evidence=(Evidence.CLASSIC_CALL,))
    world.report_prices(agent_id, {"us-east-1a": "0.030", "us-east-1b": "0.031", "us-east-1c": "0.035"})
    return agent_id, machine


def test_em1_the_same_notice_again_is_the_same_incident(world: World) -> None:
    agent_id, machine = plain(world)
    first = world.notice(agent_id, machine)
    again = world.notice(agent_id, machine)
    assert first.incident is not None
    assert again.incident is not None
    assert again.duplicate
    assert again.incident.incident_id == first.incident.incident_id
    assert again.replica == first.replica
    assert again.incident.signals == 2


def test_em2_the_same_notice_after_the_failover_never_promotes_again(world: World) -> None:
    ready = with_replica(world)
    assert world.notice(ready.agent_id, ready.primary).outcome is Outcome.REPLICA_PROMOTED
    for seconds in (1, 30, 120, 400):
        world.clock.advance(seconds)
        world.beat(ready.agent_id, ready.standby)
        world.tick()
        assert world.notice(ready.agent_id, ready.primary).outcome is Outcome.REPLICA_PROMOTED
    assert world.primary(ready.agent_id) == ready.standby
    assert len(world.aggregate(ready.agent_id).switches) == 1


def test_em3_em5_severity_and_deadline_only_get_worse(world: World) -> None:
    agent_id, machine = plain(world)
    world.notice(agent_id, machine, ahead=100)
    later = world.notice(agent_id, machine, ahead=110)
    assert later.incident is not None
    assert later.incident.deadline == world.clock.now().replace(minute=1, second=40)
    softer = world.notice(agent_id, machine, severity=Severity.REBALANCE)
    assert softer.incident is not None
    assert softer.incident.severity is Severity.TERMINATION
    assert softer.incident.deadline == later.incident.deadline


def test_em4_a_termination_needs_no_rebalance_before_it(world: World) -> None:
    agent_id, machine = plain(world)
    answer = world.notice(agent_id, machine)
    assert answer.incident is not None
    assert answer.incident.severity is Severity.TERMINATION
    assert answer.new_replica


def test_em6_a_notice_for_a_zombie_leaves_the_primary_alone(world: World) -> None:
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    answer = world.notice(ready.agent_id, ready.primary)
    assert answer.outcome is Outcome.MONITOR
    assert world.primary(ready.agent_id) == ready.standby
    zombie = world.aggregate(ready.agent_id).machine(ready.primary)
    assert zombie is not None
    assert zombie.notice_deadline is not None  # Z19


def test_em7_rp16_a_notice_for_the_replica_ends_it_and_manual_mode_sends_another(world: World) -> None:
    ready = with_replica(world)
    assert world.notice(ready.agent_id, ready.standby, severity=Severity.REBALANCE).outcome is Outcome.MONITOR
    assert world.aggregate(ready.agent_id).live_replica is not None
    world.notice(ready.agent_id, ready.standby)
    world.tick()
    after = world.aggregate(ready.agent_id)
    assert world.primary(ready.agent_id) == ready.primary
    ended = after.replicas[ready.replica_id]  # type: ignore[index]
    assert ended.end_reason is ReplicaEnd.AWS_INTERRUPTED
    assert after.live_replica is not None
    assert after.live_replica.replica_id != ready.replica_id


def test_em8_an_unknown_machine_is_stored_and_answered_like_a_foreign_one(world: World) -> None:
    agent_id, machine = plain(world)
    answer = world.notice(agent_id, "i-0ffffffffffffffff")
    assert (answer.outcome, answer.reason) == (Outcome.MONITOR, "unknown_instance")
    assert world.primary(agent_id) == machine


def test_em9_a_notice_without_a_machine_means_the_primary(world: World) -> None:
    ready = with_replica(world)
    assert world.notice(ready.agent_id).outcome is Outcome.REPLICA_PROMOTED


def test_em10_only_the_bound_primary_of_a_name_is_heard(world: World) -> None:
    agent_id, machine = plain(world)
    with pytest.raises(Exception, match="another machine serves"):
        world.register("web", stranger := world.new_machine())
    assert world.notice(agent_id, stranger).reason == "unknown_instance"
    assert world.primary(agent_id) == machine


def test_em11_a_named_replica_counts_only_if_it_is_the_live_one(world: World) -> None:
    ready = with_replica(world)
    answer = world.notice(ready.agent_id, ready.primary, replica_id="somebody-elses")
    assert answer.outcome is Outcome.REPLICA_PROMOTED
    assert world.primary(ready.agent_id) == ready.standby


def test_em12_an_executing_switch_gives_way_and_its_machine_is_adopted(world: World) -> None:
    agent_id, machine = plain(world)
    order = world.switch(agent_id)
    (command,) = world.fetch(agent_id)
    assert order.command is not None
    new = world.new_machine()
    assert world.register("web", new, az=ZONES[1]).role == "pending"  # RG-6
    answer = world.notice(agent_id, machine)
    assert answer.replica is not None
    assert world.aggregate(agent_id).commands[command.command_id].state.value == "cancelled"
    world.tick(91)  # syncing: forced 30 s before the deadline
    assert world.primary(agent_id) == new


def test_em13_the_new_primary_may_get_a_notice_of_its_own(world: World) -> None:
    ready = with_replica(world)
    world.notice(ready.agent_id, ready.primary)
    (view,) = world.plane.replicas.to_launch(world.agent_caller, ready.agent_id)  # MR-7, MR-2
    world.start_replica(ready.agent_id, view.replica.replica_id, third := world.new_machine())
    assert world.notice(ready.agent_id, ready.standby).outcome is Outcome.REPLICA_PROMOTED
    assert world.primary(ready.agent_id) == third
    assert len(world.aggregate(ready.agent_id).open_incidents) == 2  # I11: one per machine


@pytest.mark.parametrize("ahead", [-60, 0, 601, 86_400])
def test_em15_an_odd_deadline_is_clamped_and_noted(world: World, ahead: float) -> None:
    agent_id, machine = plain(world)
    incident = world.notice(agent_id, machine, ahead=ahead).incident
    assert incident is not None
    assert incident.deadline is not None
    assert 0 <= (incident.deadline - world.clock.now()).total_seconds() <= 120
    assert (ahead == 0) or incident.anomalies


def test_em16_an_offline_and_disabled_agent_fails_over_all_the_same(world: World) -> None:
    ready = with_replica(world)
    world.plane.agents.toggle(world.user, ready.agent_id, False)
    world.tick(130)
    assert world.notice(ready.agent_id, ready.primary).outcome is Outcome.REPLICA_PROMOTED


def test_em17_a_deleted_agent_answers_not_found(world: World) -> None:
    agent_id, machine = plain(world)
    world.plane.agents.delete(world.user, agent_id)
    with pytest.raises(NotFound):
        world.notice(agent_id, machine)


def test_5_4_a_syncing_replica_at_95_percent_is_promoted_at_once(world: World) -> None:
    from decimal import Decimal

    ready = with_replica(world, ready=False)
    world.plane.replicas.report_sync(
        world.agent_caller, ready.agent_id, ready.replica_id, status="syncing", latency_ms=1, progress=Decimal(95)
    )
    answer = world.notice(ready.agent_id, ready.primary)
    assert answer.outcome is Outcome.REPLICA_PROMOTED
    assert answer.incident is not None
    assert answer.incident.data_loss_possible


def test_5_4_a_syncing_replica_waits_and_is_promoted_when_ready(world: World) -> None:
    ready = with_replica(world, ready=False)
    answer = world.notice(ready.agent_id, ready.primary, ahead=120)
    assert answer.outcome is Outcome.PROMOTION_PENDING
    world.start_replica(ready.agent_id, ready.replica_id, ready.standby)
    assert world.primary(ready.agent_id) == ready.standby
    (switch,) = world.aggregate(ready.agent_id).switches.values()
    assert not switch.data_loss_possible


def test_5_4_three_launches_fail_and_a_fourth_follows_after_a_minute(world: World) -> None:
    agent_id, machine = plain(world)
    world.notice(agent_id, machine)
    tried = []
    for _ in range(2):
        live = world.aggregate(agent_id).live_replica
        assert live is not None
        tried.append(live.pool_id)
        world.plane.replicas.report_status(world.agent_caller, agent_id, live.replica_id, _failed())
    assert len(set(tried)) == 2  # the next pool each time
    assert f"{TYPE}.us-east-1a" not in tried  # Z20: never the pool being reclaimed
    command = world.aggregate(agent_id).role_change_in_flight
    assert command is not None
    assert command.target_pool_id is None  # then on-demand, by a switch (Z29)
    assert not command.terminate_old  # Z19
    (handed,) = world.fetch(agent_id)
    world.result(agent_id, handed, False)
    assert world.aggregate(agent_id).role_change_in_flight is None
    world.tick(61)
    assert world.aggregate(agent_id).role_change_in_flight is not None or world.aggregate(agent_id).live_replica


def _failed() -> object:
    from spotcore.reports import ReplicaStatusReport

    return ReplicaStatusReport(state=ReplicaState.FAILED, error_message="no capacity")


def test_in11_without_a_successor_the_primary_is_gone_and_the_first_ready_replica_takes_over(world: World) -> None:
    agent_id, machine = plain(world)
    world.notice(agent_id, machine)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    world.tick(121)
    assert [one.state for one in world.aggregate(agent_id).open_incidents] == [IncidentState.FAILED]
    world.start_replica(agent_id, live.replica_id, late := world.new_machine(), ready=False)
    assert world.primary(agent_id) == late  # past its deadline nothing is waited for


def test_failure_16_a_failover_commits_without_prices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = with_replica(world)
    with world.transactions() as uow:
        kind = type(uow.prices)

    def broken(*_: object) -> object:
        raise Unavailable("no prices today")

    monkeypatch.setattr(kind, "market", broken)
    assert world.notice(ready.agent_id, ready.primary).outcome is Outcome.REPLICA_PROMOTED
    (switch,) = world.aggregate(ready.agent_id).switches.values()
    assert switch.new_price is None  # GR-7: unknown, never invented


def test_5_7_after_a_failover_everything_adds_up(world: World) -> None:
    ready = with_replica(world)
    before = world.aggregate(ready.agent_id)
    world.notice(ready.agent_id, ready.primary)
    after = world.aggregate(ready.agent_id)
    assert after.agent.config == before.agent.config  # MX-13
    assert after.agent.config_version == before.agent.config_version  # CV-3
    assert after.replicas[ready.replica_id].state is ReplicaState.PROMOTED  # type: ignore[index]  # PR-5
    assert world.status(ready.agent_id, ready.primary) == "zombie"  # PR-4, IN-6
    closed, opened = after.periods
    assert closed.ended_at == opened.started_at  # I8, SV-8
    assert opened.switch_id in after.switches  # I14
    assert after.live_replica is not None  # MR-7: its successor
    assert after.agent.last_switch_at == world.clock.now()  # cooldown
    incident = next(iter(after.incidents.values()))
    assert incident.failover_ms == 0
    assert incident.informed_ms == 0  # 5.5: a classic agent has nothing to fetch


def test_opt_in_failover_on_lost_heartbeats_ag5(world: World) -> None:
    ready = with_replica(world)
    world.tick(400)
    assert world.primary(ready.agent_id) == ready.primary  # off by default
    world.beat(ready.agent_id, ready.primary)
    world.set(ready.agent_id, failover_on_heartbeat_loss_seconds=300)
    world.tick(299)
    assert world.primary(ready.agent_id) == ready.primary
    world.tick(2)
    assert world.primary(ready.agent_id) == ready.standby


def test_emergency_min_risk_records_and_looks_again_at_every_repeat_5_3(world: World) -> None:
    agent_id, machine = plain(world)
    world.plane.agents.configure(world.user, agent_id, ConfigChange(wanted={"emergency_min_risk": 1}))
    answer = world.notice(agent_id, machine, severity=Severity.REBALANCE)
    assert answer.outcome is Outcome.MONITOR
    assert world.aggregate(agent_id).live_replica is None
    world.plane.agents.configure(world.user, agent_id, ConfigChange(wanted={"emergency_min_risk": 0}))
    world.notice(agent_id, machine, severity=Severity.REBALANCE)
    assert world.aggregate(agent_id).live_replica is not None
