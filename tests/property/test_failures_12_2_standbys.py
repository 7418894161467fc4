"""The known failures of section 12.2, replicas, zombies and terminations: one property each, over memory."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore import dispatch, endings, reports, standby, upkeep
from spotcore.aggregate import Aggregate
from spotcore.builds import Build, Evidence
from spotcore.commands import CommandKind
from spotcore.config import ConfigChange
from spotcore.dispatch import Dialect
from spotcore.emergencies import Signal, signal
from spotcore.errors import IsPrimary, ReplicaInactive
from spotcore.ids import AgentId, is_cloud_id
from spotcore.incidents import Severity
from spotcore.instances import ATTEMPT_SPACING, SLOW_ATTEMPT_SPACING, InstanceStatus
from spotcore.modes import apply
from spotcore.replicas import LIVE, ReplicaEnd, ReplicaKind, ReplicaState, survivor
from spotcore.reports import ReplicaStatusReport
from spotcore.service.replicas import ReplicaRequest
from tests.support.moves import MOVES, PRICES, Move, confirm_launch, plain
from tests.support.rule_builders import (
    PRIMARY,
    START,
    a_machine,
    a_market,
    a_replica,
    an_aggregate,
    decided,
    later,
)
from tests.support.world import ZONES, World, with_replica

every_move = pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)


def listed(world: World, agent_id: AgentId) -> set[str | None]:
    aggregate = world.aggregate(agent_id)
    return {entry.instance.cloud_id for entry in endings.terminate_list(aggregate, world.clock.now())}


def targets(aggregate: Aggregate) -> set[str | None]:
    """Machines that open commands are to end."""
    return {row.target_instance_id for row in aggregate.open_commands if row.kind is CommandKind.TERMINATE}


BULK = ("auto on", "both off", "replicas deleted", "agent deleted", "time")


@every_move
@pytest.mark.parametrize("bulk", BULK)
def test_failure_20_nothing_that_ends_replicas_reaches_the_primary_they_became_rp11_i7(
    world: World, move: Move, bulk: str
) -> None:
    moved = move(world)
    if bulk in ("auto on", "both off"):
        world.set(moved.agent_id, auto_switch_enabled=bulk == "auto on", manual_replica_enabled=False)
    elif bulk == "replicas deleted":
        for replica_id, row in world.aggregate(moved.agent_id).replicas.items():
            if row.is_live:
                world.plane.replicas.delete(world.user, moved.agent_id, replica_id)
            else:
                with pytest.raises(ReplicaInactive):
                    world.plane.replicas.delete(world.user, moved.agent_id, replica_id)
    elif bulk == "agent deleted":
        world.plane.agents.delete(world.user, moved.agent_id)
    for seconds in (0, 301, 7_300):
        world.tick(seconds)
        aggregate = world.aggregate(moved.agent_id)
        row = aggregate.machine(moved.new)
        assert row is not None
        assert row.status.value == ("released" if bulk == "agent deleted" else "running_primary")
        assert moved.new not in listed(world, moved.agent_id)
        assert row.instance_id not in targets(aggregate)


@pytest.mark.parametrize("replica_state", ["ready", "syncing"])
@pytest.mark.parametrize("end", ["by a user", "by mode", "by failure"])
def test_failure_23_24_a_machine_that_is_to_end_is_listed_until_confirmed_whatever_the_toggle_says_in22_rp14(
    world: World, replica_state: str, end: str
) -> None:
    ready = with_replica(world, ready=replica_state == "ready")
    world.set(ready.agent_id, auto_terminate_enabled=False)
    if end == "by a user":
        world.plane.replicas.delete(world.user, ready.agent_id, ready.replica_id)
    elif end == "by mode":
        world.set(ready.agent_id, manual_replica_enabled=False)
    else:
        report = ReplicaStatusReport(state=ReplicaState.FAILED)
        world.plane.replicas.report_status(world.agent_caller, ready.agent_id, ready.replica_id, report)
    for hours in (0, 1, 30, 300):
        world.tick(hours * 3_600)
        assert world.status(ready.agent_id, ready.standby) == "terminating"
        assert ready.standby in listed(world, ready.agent_id)
        (view,) = [
            one
            for one in world.plane.replicas.to_end(world.agent_caller, ready.agent_id)
            if one.instance.cloud_id == ready.standby
        ]
        assert view.replica.replica_id == ready.replica_id
    world.plane.commands.termination_result(world.agent_caller, ready.agent_id, ready.standby, True, None)
    assert ready.standby not in listed(world, ready.agent_id)
    assert world.plane.replicas.to_end(world.agent_caller, ready.agent_id) == ()


live_replicas = st.lists(
    st.tuples(st.sampled_from(sorted(LIVE)), st.integers(0, 5)), min_size=1, max_size=6
).map(
    lambda rows: [
        a_replica(f"r{number}", state=state, created_at=later(age)) for number, (state, age) in enumerate(rows)
    ]
)  # fmt: skip
PROGRESS = [ReplicaState.LAUNCHING, ReplicaState.SYNCING, ReplicaState.READY]


@given(live_replicas, st.randoms(use_true_random=False))
def test_failure_27_the_most_advanced_replica_survives_in_any_order_rp15(rows: list[Any], random: Any) -> None:
    kept = survivor(rows)
    assert PROGRESS.index(kept.state) == max(PROGRESS.index(row.state) for row in rows)
    assert kept.created_at == min(row.created_at for row in rows if row.state is kept.state)
    random.shuffle(rows)
    assert survivor(rows) == kept


FORWARD = {  # what an agent's word may do (RP-10): state → the states it may report itself into
    ReplicaState.LAUNCHING: {ReplicaState.FAILED, ReplicaState.TERMINATED},
    ReplicaState.SYNCING: {ReplicaState.READY, ReplicaState.FAILED, ReplicaState.TERMINATED},
    ReplicaState.READY: {ReplicaState.FAILED, ReplicaState.TERMINATED},
}


@given(
    st.sampled_from(list(ReplicaState)), st.lists(st.sampled_from(list(ReplicaState)), min_size=1, max_size=6)
)  # fmt: skip
def test_failure_28_random_status_reports_follow_the_diagram_only_rp10(
    start: ReplicaState, said: list[ReplicaState]
) -> None:
    status = {
        ReplicaState.LAUNCHING: InstanceStatus.LAUNCHING, ReplicaState.PROMOTED: InstanceStatus.ZOMBIE,
        ReplicaState.TERMINATED: InstanceStatus.TERMINATING, ReplicaState.FAILED: InstanceStatus.TERMINATING,
    }.get(start, InstanceStatus.RUNNING_REPLICA)  # fmt: skip
    known = {"cloud_id": None, "confirmed_at": None} if start is ReplicaState.LAUNCHING else {}
    aggregate = an_aggregate(a_machine("r", status, **known), a_replica(state=start), auto_switch_enabled=False)
    for word in said:
        before = aggregate.replicas[a_replica().replica_id]
        outcome = decided(
            aggregate,
            lambda change, was=before, now=word: reports.replica_status(change, was, ReplicaStatusReport(state=now)),
        )
        aggregate = outcome.after
        after = aggregate.replicas[before.replica_id]
        if after.state is not before.state:
            assert after.state is word
            assert after.state in FORWARD[before.state]
            assert outcome.answer
        assert before.is_live or after == before  # nothing revives the dead
    assert aggregate.agent.primary_id == PRIMARY  # ``promoted`` is the server's to set


@pytest.mark.parametrize("evidence", [Evidence.CLASSIC_CALL, Evidence.CLOUD_ACCOUNT])
def test_failure_29_the_count_shown_is_the_number_of_live_rows_rp12(world: World, evidence: Evidence) -> None:
    agent_id = plain(world, evidence)
    machine = str(world.primary(agent_id))
    steps = [
        lambda: world.set(agent_id, manual_replica_enabled=True),
        lambda: world.tick(301),  # the launch times out, or its command expires: another follows
        lambda: world.set(agent_id, manual_replica_enabled=False),
        lambda: world.notice(agent_id, machine),
        lambda: world.set(agent_id, manual_replica_enabled=True),
    ]
    for step in steps:
        step()
        live = sum(row.is_live for row in world.aggregate(agent_id).replicas.values())
        assert world.plane.agents.config(world.user, agent_id).replica_count == live
        assert len(world.plane.replicas.listed(world.user, agent_id, include_ended=False)) == live
        answer = world.beat(agent_id, machine)
        assert answer.role == "primary"
        assert answer.replica_count == live


@given(st.lists(st.tuples(st.integers(1, 4_000), st.booleans()), min_size=1, max_size=40))
def test_failure_30_only_real_names_are_listed_and_attempts_keep_their_distance_i10_in25(
    story: list[tuple[int, bool]],
) -> None:
    nameless = a_machine("n", InstanceStatus.TERMINATING, cloud_id=None)
    aggregate = an_aggregate(
        a_machine("z", InstanceStatus.TERMINATING), nameless, a_machine("y", InstanceStatus.ZOMBIE)
    )
    now, attempts = START, []
    for wait, tried in story:
        now += timedelta(seconds=wait)
        for entry in endings.terminate_list(aggregate, now):
            assert is_cloud_id(entry.instance.cloud_id)
            if entry.instance.instance_id == "z" and tried:
                attempts.append((now, entry.instance.end_failures))
                aggregate = decided(
                    aggregate, lambda change: reports.termination_result(change, "i-0z", False, "no"), now
                ).after
    for (first, failures), (second, _) in pairwise(attempts):
        spacing = SLOW_ATTEMPT_SPACING if failures + 1 >= 12 else ATTEMPT_SPACING
        assert second - first >= spacing


@pytest.mark.parametrize("build", [Build.V4C, Build.V5])
@pytest.mark.parametrize("kind", ["manual", "emergency"])
def test_failure_31_a_replica_has_its_primarys_type_and_its_pools_zone_rp13(build: Build, kind: str) -> None:
    market = a_market(a="0.03", b="0.02", c="0.01", ondemand="0.10")
    old = a_machine("old", InstanceStatus.TERMINATED)
    aggregate = an_aggregate(evolve(old, instance_type="c5.xlarge"), build=build, auto_switch_enabled=False)
    wanted = ConfigChange(wanted={"manual_replica_enabled": True})
    if kind == "manual":
        outcome = decided(aggregate, lambda change: apply(change, wanted), market=market)
    else:
        notice = Signal(severity=Severity.REBALANCE, received_at=START)
        outcome = decided(aggregate, lambda change: signal(change, notice), market=market)
    (replica,) = outcome.after.replicas.values()
    machine = outcome.after.instances[replica.instance_id]
    primary = aggregate.primary
    assert primary is not None
    assert replica.instance_type == machine.instance_type == primary.instance_type
    assert replica.az == machine.az
    if replica.pool_id is not None:
        assert replica.pool_id == f"{replica.instance_type}.{replica.az}"
        assert machine.pool_id == replica.pool_id
    own_zone_only = build is Build.V5  # Z28
    assert (replica.az == primary.az) == own_zone_only


@pytest.mark.parametrize("evidence", [Evidence.CLASSIC_CALL, Evidence.CLOUD_ACCOUNT])
def test_failure_32_deleting_an_agent_ends_what_it_holds_and_releases_its_primary_ag9(
    world: World, evidence: Evidence
) -> None:
    agent_id = plain(world, evidence)
    primary, standby_machine = str(world.primary(agent_id)), world.new_machine()
    world.set(agent_id, manual_replica_enabled=True)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    if evidence is Evidence.CLASSIC_CALL:
        world.start_replica(agent_id, live.replica_id, standby_machine)
    else:
        confirm_launch(world, agent_id, standby_machine)
    world.plane.agents.delete(world.user, agent_id)
    after = world.aggregate(agent_id)
    assert world.status(agent_id, primary) == "released"
    assert world.status(agent_id, standby_machine) == "terminating"
    assert listed(world, agent_id) == {standby_machine}
    kinds = [row.kind for row in after.open_commands]
    modern = evidence is Evidence.CLOUD_ACCOUNT
    assert sorted(kinds) == ([CommandKind.SELF_DESTRUCT, CommandKind.TERMINATE] if modern else [])
    assert after.replicas[live.replica_id].end_reason is ReplicaEnd.AGENT_DELETED
    if modern:
        (ending,) = world.fetch(agent_id, Dialect.MODERN)
        assert ending.kind is CommandKind.TERMINATE  # the uninstall waits for it
        world.result(agent_id, ending)
        (last,) = world.fetch(agent_id, Dialect.MODERN)
        assert last.kind is CommandKind.SELF_DESTRUCT


@pytest.mark.parametrize("evidence", list(Evidence))
def test_failure_33_nobody_ends_the_primary_by_the_general_call_in20(world: World, evidence: Evidence) -> None:
    agent_id = plain(world, evidence)
    machine = str(world.primary(agent_id))
    before = world.aggregate(agent_id)
    for name in (machine, str(before.agent.primary_id)):
        with pytest.raises(IsPrimary):
            world.plane.machines.terminate(world.user, name)
    assert world.aggregate(agent_id) == before


def test_failure_34_a_replica_that_falls_silent_is_replaced_within_300_s_rp6_mr4(world: World) -> None:
    ready = with_replica(world)
    world.plane.replicas.report_sync(
        world.agent_caller, ready.agent_id, ready.replica_id, status="in-sync", latency_ms=5, progress=None
    )
    world.tick(299)
    live = world.aggregate(ready.agent_id).live_replica
    assert live is not None
    assert live.replica_id == ready.replica_id
    world.tick(1)
    after = world.aggregate(ready.agent_id)
    assert after.replicas[ready.replica_id].state is ReplicaState.FAILED  # type: ignore[index]
    successor = after.live_replica  # the first back-off is 0 s
    assert successor is not None
    assert (successor.kind, successor.state) == (ReplicaKind.MANUAL, ReplicaState.LAUNCHING)
    assert world.status(ready.agent_id, ready.standby) == "terminating"


def test_failure_34_of_replicas_that_fail_one_after_the_other_each_waits_its_turn_mr4() -> None:
    market = a_market(a="0.03", b="0.02", c="0.01")
    wanted = ConfigChange(wanted={"manual_replica_enabled": True})
    aggregate = decided(
        an_aggregate(auto_switch_enabled=False), lambda change: apply(change, wanted), market=market
    ).after
    now, waits = START, []
    for _ in range(7):
        live = aggregate.live_replica
        assert live is not None
        failed = decided(
            aggregate,
            lambda change, lost=live: standby.fail(change, lost, ReplicaEnd.LAUNCH_FAILED),
            now,
            market,
        ).after
        due = failed.agent.next_replica_at or now
        waits.append((due - now).total_seconds())
        if due > now:
            early = decided(failed, upkeep.pass_time, due - timedelta(milliseconds=1), market).after
            assert early.live_replica is None
        now = due
        aggregate = decided(failed, upkeep.pass_time, now, market).after
    assert waits == [0, 10, 30, 60, 120, 300, 300]


def test_failure_30_a_modern_agent_is_asked_for_a_machine_once_per_spacing_in25() -> None:
    aggregate = an_aggregate(a_machine("z", InstanceStatus.TERMINATING), build=Build.V5)
    asked: list[float] = []
    for seconds in range(0, 1_900, 50):
        now = later(seconds)
        aggregate = decided(aggregate, upkeep.pass_time, now).after
        outcome = decided(aggregate, lambda change: dispatch.hand_out(change, Dialect.MODERN), now)
        aggregate = outcome.after
        for command in outcome.answer:
            if command.kind is CommandKind.TERMINATE:
                asked.append(seconds)
                failed = reports.CommandReport(command=command.request_id, success=False)
                aggregate = decided(
                    aggregate, lambda change, said=failed: reports.command_result(change, said), now
                ).after
    assert asked == [0, 300, 600, 900, 1_200, 1_500, 1_800]


def test_failure_26_asking_twice_for_a_replica_makes_one_i2_mr6(world: World) -> None:
    agent_id = plain(world)
    world.report_prices(agent_id, PRICES)
    for _ in range(3):
        world.set(agent_id, manual_replica_enabled=True)
        world.tick(1)
        with pytest.raises(Exception, match="live already") as refusal:
            world.plane.replicas.create(world.user, agent_id, ReplicaRequest(pool_id=f"m5.large.{ZONES[2]}"))
        assert refusal.value.code == "REPLICA_EXISTS"  # type: ignore[attr-defined]
    assert len(world.aggregate(agent_id).replicas) == 1
