"""Sections 1.3 to 1.6, 2, 3 and 6: machines, replicas, commands, switches, modes, versions, manual mode."""

from decimal import Decimal

import pytest

from spotcore.builds import Evidence
from spotcore.commands import CommandState
from spotcore.config import ConfigChange
from spotcore.dispatch import Dialect
from spotcore.errors import (
    ConfigConflict,
    IsPrimary,
    ManualReplicaDisabled,
    MutuallyExclusive,
    ReplicaExists,
    ReplicaInactive,
    ReplicaNotPromotable,
    ReplicaNotReady,
    StateConflict,
    SwitchBlocked,
)
from spotcore.ids import CloudId, launch_placeholder
from spotcore.incidents import Severity
from spotcore.pools import Mode
from spotcore.replicas import ReplicaEnd, ReplicaKind, ReplicaState
from spotcore.reports import CommandReport, ReplicaStatusReport
from spotcore.roles import ReportedPrices
from spotcore.service.replicas import ReplicaRequest
from spotcore.standby import MachineFacts
from spotcore.switches import SwitchState, SwitchTimes
from spotcore.switching import MachineReport, SwitchReport
from tests.support.world import TYPE, ZONES, Ready, World, with_replica


def plain(world: World, build: Evidence = Evidence.CLASSIC_CALL) -> str:
    machine = world.new_machine()
    agent_id = world.register(
        "web" if build is not Evidence.CLOUD_ACCOUNT else machine, machine, evidence=(build,)
    ).agent_id
    world.beat(agent_id, machine if build is not Evidence.CLOUD_ACCOUNT else None, evidence=(build,))
    world.report_prices(agent_id, {"us-east-1a": "0.030", "us-east-1b": "0.031", "us-east-1c": "0.035"})
    return agent_id


def report(old: str, new: str, **more: object) -> SwitchReport:
    return SwitchReport(
        old=MachineReport(cloud_id=CloudId(old), mode=Mode.SPOT, az=ZONES[0]),
        new=MachineReport(cloud_id=CloudId(new), mode=Mode.SPOT, az=ZONES[1], instance_type=TYPE),
        prices=ReportedPrices(ondemand=Decimal("0.096"), old_spot=Decimal("0.05"), new_spot=Decimal("0.04")),
        **more,  # type: ignore[arg-type]
    )


# section 2 and 3


def test_mx1_mx6_auto_switch_on_ends_the_manual_replica(world: World) -> None:
    ready = with_replica(world)
    config = world.set(ready.agent_id, auto_switch_enabled=True)
    assert (config.auto_switch_enabled, config.manual_replica_enabled) == (True, False)  # I3
    replica = world.aggregate(ready.agent_id).replicas[ready.replica_id]  # type: ignore[index]
    assert replica.end_reason is ReplicaEnd.MODE_CHANGED
    assert world.aggregate(ready.agent_id).agent.config_version == 3  # CV-1: one each


@pytest.mark.parametrize("wanted", [{"auto_switch_enabled": True}, {"manual_replica_enabled": False}])
def test_failure_55_with_an_open_incident_the_replica_stays(world: World, wanted: dict[str, bool]) -> None:
    ready = with_replica(world)
    world.notice(ready.agent_id, ready.primary, severity=Severity.REBALANCE)
    world.set(ready.agent_id, **wanted)
    live = world.aggregate(ready.agent_id).live_replica
    assert live is not None
    assert live.kind is ReplicaKind.EMERGENCY_REBALANCE  # MX-1, MX-6


def test_mx2_mx9_no_effective_change_is_no_change(world: World) -> None:
    agent_id = plain(world)
    assert world.set(agent_id, auto_switch_enabled=True, terminate_wait_seconds=300).auto_switch_enabled
    assert world.aggregate(agent_id).agent.config_version == 1


def test_mx3_auto_off_cancels_pending_automatic_commands_only(world: World) -> None:
    agent_id = plain(world)
    manual = world.switch(agent_id).command
    assert manual is not None
    world.set(agent_id, auto_switch_enabled=False)
    assert world.aggregate(agent_id).commands[manual.command_id].state is CommandState.PENDING


def test_mx4_manual_on_adopts_the_emergency_replica(world: World) -> None:
    agent_id = plain(world)
    world.notice(agent_id, severity=Severity.REBALANCE)
    first = world.aggregate(agent_id).live_replica
    world.set(agent_id, manual_replica_enabled=True)
    second = world.aggregate(agent_id).live_replica
    assert first is not None
    assert second is not None
    assert (second.replica_id, second.kind) == (first.replica_id, ReplicaKind.MANUAL)


def test_mx5_mr1_manual_on_launches_in_the_cheapest_other_pool(world: World) -> None:
    agent_id = plain(world)
    world.set(agent_id, manual_replica_enabled=True)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    assert live.pool_id == f"{TYPE}.us-east-1b"
    assert live.instance_type == TYPE  # RP-13


def test_mx7_mx8_mx14_both_on_is_refused_and_the_later_request_wins(world: World) -> None:
    agent_id = plain(world)
    with pytest.raises(MutuallyExclusive):
        world.set(agent_id, auto_switch_enabled=True, manual_replica_enabled=True)
    assert world.aggregate(agent_id).agent.config_version == 1
    world.set(agent_id, auto_switch_enabled=False, manual_replica_enabled=True)
    world.set(agent_id, auto_switch_enabled=True)
    config = world.aggregate(agent_id).agent.config
    assert (config.auto_switch_enabled, config.manual_replica_enabled) == (True, False)


def test_mx10_mx11_mx12_the_reply_is_what_is_stored(world: World) -> None:
    agent_id = plain(world)
    answer = world.set(agent_id, auto_terminate_enabled=False, manual_replica_enabled=True)
    assert answer == world.aggregate(agent_id).agent.config
    assert not answer.auto_terminate_enabled


def test_cv2_cv4_cv5_cv6_the_version_reaches_the_agent_with_its_next_heartbeat(world: World) -> None:
    agent_id = plain(world)
    machine = world.primary(agent_id)
    world.beat(agent_id, machine)
    world.set(agent_id, min_savings_percent=20, preferred_azs=["us-east-1b"])
    answer = world.beat(agent_id, machine)
    assert (answer.config_version, answer.config_changed) == (2, True)
    assert not world.beat(agent_id, machine).config_changed
    stored = world.plane.agents.config(world.agent_caller, agent_id)
    assert (stored.config_version, stored.config.preferred_azs) == (2, ("us-east-1b",))


def test_cv7_a_stale_expected_version_is_a_conflict_with_the_current_config(world: World) -> None:
    agent_id = plain(world)
    world.set(agent_id, terminate_wait_seconds=400)
    change = ConfigChange(wanted={"terminate_wait_seconds": 500}, expected_version=1)
    with pytest.raises(ConfigConflict) as refusal:
        world.plane.agents.configure(world.user, agent_id, change)
    assert refusal.value.details["config"].terminate_wait_seconds == 400
    assert world.aggregate(agent_id).agent.config_version == 2


def test_cv9_defaults_of_the_client_touch_future_agents_alone(world: World) -> None:
    from attrs import evolve

    first = plain(world)
    with world.transactions() as uow:
        uow.clients.put(evolve(uow.clients.lock(world.client_id), default_auto_switch=False))
    assert world.aggregate(first).agent.config.auto_switch_enabled
    assert not world.register("second").config.auto_switch_enabled


# section 1.5


def test_cm2_cm3_priority_follows_the_origin_and_nothing_else(world: World) -> None:
    agent_id = plain(world, Evidence.CLOUD_ACCOUNT)
    world.set(agent_id, terminate_wait_seconds=301)
    world.switch(agent_id, None)
    kinds = [command.kind.value for command in world.fetch(agent_id, Dialect.MODERN)]
    assert kinds == ["launch_instance"]  # Z31: the reply ends with its first slow command
    assert [command.priority for command in world.fetch(agent_id, Dialect.MODERN)] == [10]


def test_cm4_cm5_a_command_is_handed_out_once_and_never_past_its_ttl(world: World) -> None:
    agent_id = plain(world)
    world.switch(agent_id)
    assert len(world.fetch(agent_id)) == 1
    assert world.fetch(agent_id) == ()
    other = plain_named(world, "other")
    world.switch(other)
    world.clock.advance(901)
    assert world.fetch(other) == ()  # the expiry job is late, the hand-out is not
    (command,) = world.aggregate(other).commands.values()
    assert command.state is CommandState.EXPIRED  # CM-10


def plain_named(world: World, name: str) -> str:
    machine = world.new_machine()
    agent_id = world.register(name, machine).agent_id
    world.beat(agent_id, machine)
    return agent_id


def test_cm6_id6_a_terminal_command_keeps_its_first_result(world: World) -> None:
    agent_id = plain(world)
    order = world.switch(agent_id)
    assert order.command is not None
    (command,) = world.fetch(agent_id)
    world.result(agent_id, command, False)
    late = world.result(agent_id, command, True)
    assert late is not None
    assert late.state is CommandState.FAILED
    assert late.notes
    missing = world.plane.commands.result(world.agent_caller, agent_id, CommandReport(command="nobody"))
    assert missing is None


def test_z13_a_lease_returns_an_apply_config_once_and_a_switch_never(world: World) -> None:
    agent_id = plain(world, Evidence.CLOUD_ACCOUNT)
    world.set(agent_id, terminate_wait_seconds=301)
    (first,) = world.fetch(agent_id, Dialect.MODERN)
    world.clock.advance(61)
    (second,) = world.fetch(agent_id, Dialect.MODERN)
    assert (second.request_id, second.deliveries) == (first.request_id, 2)
    world.tick(61)
    assert world.aggregate(agent_id).commands[first.command_id].failure_reason == "undeliverable"
    classic = plain_named(world, "classic")
    world.switch(classic)
    (switch,) = world.fetch(classic)
    world.tick(1_201)
    assert world.aggregate(classic).commands[switch.command_id].state is CommandState.FAILED


def test_cm7_cm9_a_switch_dies_with_the_primary_it_was_made_for(world: World) -> None:
    ready = with_replica(world)
    order = world.switch(ready.agent_id)
    assert order.command is not None
    assert (order.command.terminate_old, order.command.terminate_wait_seconds) == (True, 300)
    world.notice(ready.agent_id, ready.primary)
    assert world.aggregate(ready.agent_id).commands[order.command.command_id].state is CommandState.CANCELLED


def test_cm1_cm8_a_termination_is_judged_again_at_hand_out(world: World) -> None:
    agent_id = plain(world, Evidence.CLOUD_ACCOUNT)
    world.set(agent_id, manual_replica_enabled=True)
    launch = next(one for one in world.fetch(agent_id, Dialect.MODERN) if one.kind.value == "launch_instance")
    temp = launch_placeholder(launch.target_instance_id)  # type: ignore[arg-type]
    world.plane.commands.launched(
        world.agent_caller, agent_id, temp, MachineFacts(cloud_id=CloudId("i-0b")), launch.request_id
    )
    replica = world.aggregate(agent_id).live_replica
    assert replica is not None
    world.plane.replicas.delete(world.user, agent_id, replica.replica_id)
    terminations = [one for one in world.aggregate(agent_id).open_commands if one.kind.value == "terminate_instance"]
    assert [one.priority for one in terminations] == [100]  # end of a replica


# section 1.6


def test_sw1_sw4_sw8_a_report_moves_the_role_once(world: World) -> None:
    agent_id = plain(world)
    old, new = str(world.primary(agent_id)), world.new_machine()
    world.switch(agent_id)
    world.fetch(agent_id)
    times = SwitchTimes(initiated_at=world.clock.now(), old_ended_at=world.clock.now())
    switch = world.plane.commands.switch_report(world.agent_caller, agent_id, report(old, new, times=times))  # type: ignore[arg-type]
    assert switch.state is SwitchState.COMPLETED
    assert switch.savings_impact == Decimal("0.01")
    assert world.primary(agent_id) == new
    assert world.status(agent_id, old) == "terminated"  # IN-13
    assert world.aggregate(agent_id).client.total_savings == Decimal("0.24")


def test_sw2_sw7_an_unsolicited_report_is_accepted_and_says_so(world: World) -> None:
    agent_id = plain(world)
    switch = world.plane.commands.switch_report(
        world.agent_caller,
        agent_id,
        report(str(world.primary(agent_id)), world.new_machine()),  # type: ignore[arg-type]
    )
    assert switch.unsolicited
    assert switch.trigger.value == "manual"


def test_sw3_times_out_of_order_are_dropped_not_bent(world: World) -> None:
    from datetime import timedelta

    agent_id, now = plain(world), world.clock.now()
    times = SwitchTimes(initiated_at=now, launched_at=now - timedelta(seconds=5), ready_at=now + timedelta(seconds=9))
    switch = world.plane.commands.switch_report(
        world.agent_caller,
        agent_id,
        report(str(world.primary(agent_id)), world.new_machine(), times=times),  # type: ignore[arg-type]
    )
    assert (switch.times.launched_at, switch.times.ready_at) == (None, now + timedelta(seconds=9))


def test_sw5_a_repeated_report_counts_nothing_twice(world: World) -> None:
    agent_id = plain(world)
    sent = report(str(world.primary(agent_id)), world.new_machine())
    first = world.plane.commands.switch_report(world.agent_caller, agent_id, sent)  # type: ignore[arg-type]
    total = world.aggregate(agent_id).client.total_savings
    again = world.plane.commands.switch_report(world.agent_caller, agent_id, sent)  # type: ignore[arg-type]
    assert again.switch_id == first.switch_id
    assert world.aggregate(agent_id).client.total_savings == total


def test_sw6_a_report_of_an_overtaken_switch_never_takes_the_role_back(world: World) -> None:
    ready = with_replica(world)
    world.notice(ready.agent_id, ready.primary)
    late = world.new_machine()
    switch = world.plane.commands.switch_report(world.agent_caller, ready.agent_id, report("i-0dead", late))
    assert switch.state is SwitchState.SUPERSEDED
    assert world.primary(ready.agent_id) == ready.standby
    assert world.status(ready.agent_id, late) == "zombie"


def test_sw9_a_failed_switch_keeps_the_primary_and_starts_the_cooldown(world: World) -> None:
    agent_id = plain(world)
    old = world.primary(agent_id)
    world.switch(agent_id)
    (command,) = world.fetch(agent_id)
    world.result(agent_id, command, False)
    after = world.aggregate(agent_id)
    assert world.primary(agent_id) == old
    assert [row.state for row in after.switches.values()] == [SwitchState.FAILED]
    assert after.agent.last_switch_at == world.clock.now()


def test_i4_a_second_switch_waits_for_the_first(world: World) -> None:
    agent_id = plain(world)
    world.switch(agent_id)
    with pytest.raises(SwitchBlocked) as refusal:
        world.switch(agent_id, None)
    assert refusal.value.details["guards"] == ["COMMAND_IN_FLIGHT"]


# section 1.3 and 1.4


def test_in1_in2_rp1_rp2_rp3_a_replica_grows_step_by_step(world: World) -> None:
    agent_id = plain(world)
    world.set(agent_id, manual_replica_enabled=True)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    assert live.state is ReplicaState.LAUNCHING
    assert world.aggregate(agent_id).instances[live.instance_id].cloud_id is None
    world.start_replica(agent_id, live.replica_id, machine := world.new_machine(), ready=False)
    assert world.status(agent_id, machine) == "running_replica"
    world.start_replica(agent_id, live.replica_id, machine)
    after = world.aggregate(agent_id).live_replica
    assert after is not None
    assert after.state is ReplicaState.READY


def test_in4_rp4_mr4_no_machine_within_300_seconds_fails_and_backs_off(world: World) -> None:
    agent_id = plain(world)
    world.set(agent_id, manual_replica_enabled=True)
    for failures, wait in ((1, 0), (2, 10), (3, 30)):
        world.tick(301)
        agent = world.aggregate(agent_id).agent
        assert agent.replica_failures == failures
        world.tick(wait)
    assert world.aggregate(agent_id).live_replica is not None


def test_rp5_rp6_syncing_or_silent_too_long_fails_only_who_has_reported(world: World) -> None:
    ready = with_replica(world)
    world.tick(1_000)
    assert world.aggregate(ready.agent_id).live_replica is not None  # Z30, T32: it never reported sync
    world.plane.replicas.report_sync(
        world.agent_caller, ready.agent_id, ready.replica_id, status="synced", latency_ms=1, progress=Decimal(100)
    )
    world.tick(301)
    replica = world.aggregate(ready.agent_id).replicas[ready.replica_id]  # type: ignore[index]
    assert replica.end_reason is ReplicaEnd.SILENT


def test_rp5_a_replica_that_never_becomes_ready_fails_after_900_seconds(world: World) -> None:
    ready = with_replica(world, ready=False)
    world.tick(901)
    replica = world.aggregate(ready.agent_id).replicas[ready.replica_id]  # type: ignore[index]
    assert replica.end_reason is ReplicaEnd.SYNC_FAILED
    assert world.status(ready.agent_id, ready.standby) == "terminating"  # RP-14


def test_rp10_rp11_rp12_late_reports_revive_nothing(world: World) -> None:
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    _, moved = world.plane.replicas.report_status(
        world.agent_caller, ready.agent_id, ready.replica_id, ReplicaStatusReport(state=ReplicaState.TERMINATED)
    )
    assert not moved
    assert world.primary(ready.agent_id) == ready.standby  # failure 20
    assert world.plane.agents.config(world.agent_caller, ready.agent_id).replica_count == 1  # counted


def test_rp8_a_second_machine_for_one_replica_is_ended(world: World) -> None:
    ready = with_replica(world)
    world.start_replica(ready.agent_id, ready.replica_id, second := world.new_machine(), ready=False)
    assert world.status(ready.agent_id, second) == "terminating"
    assert world.status(ready.agent_id, ready.standby) == "running_replica"


def test_rp15_the_most_advanced_replica_survives(world: World) -> None:
    from attrs import evolve

    from spotcore.replicas import survivor

    ready = with_replica(world)
    replica = world.aggregate(ready.agent_id).replicas[ready.replica_id]  # type: ignore[index]
    others = [
        evolve(replica, replica_id=state.value, state=state) for state in (ReplicaState.LAUNCHING, ReplicaState.SYNCING)
    ]  # type: ignore[arg-type]
    assert survivor([*others, replica]) is replica


def test_pr1_pr2_pr6_pr7_a_promotion_by_hand_is_one_and_repeats_itself(world: World) -> None:
    ready = with_replica(world)
    first = world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    again = world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    assert again.switch.switch_id == first.switch.switch_id
    assert first.switch.trigger.value == "manual_promotion"
    assert first.switch.credited == 0  # 7.1
    live = world.aggregate(ready.agent_id).live_replica
    assert live is not None
    world.plane.replicas.delete(world.user, ready.agent_id, live.replica_id)
    with pytest.raises(ReplicaNotPromotable):
        world.plane.replicas.promote(world.user, ready.agent_id, live.replica_id)
    with pytest.raises(ReplicaInactive):
        world.plane.replicas.delete(world.user, ready.agent_id, live.replica_id)


def test_pr3_mr14_z7_only_a_confirmed_replica_is_promoted_by_hand(world: World) -> None:
    agent_id = plain(world)
    world.set(agent_id, manual_replica_enabled=True)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    with pytest.raises(ReplicaNotReady) as refusal:
        world.plane.replicas.promote(world.user, agent_id, live.replica_id)
    assert refusal.value.details["status"] == "launching"
    world.start_replica(agent_id, live.replica_id, machine := world.new_machine(), ready=False)
    world.plane.replicas.promote(world.user, agent_id, live.replica_id)  # Z7: it never reported sync
    assert world.primary(agent_id) == machine


def test_in9_mr3_the_demoted_primary_is_the_next_replica(world: World) -> None:
    ready = with_replica(world)
    done = world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id, demote_old_primary=True)
    assert done.demoted
    live = world.aggregate(ready.agent_id).live_replica
    assert live is not None
    assert live.state is ReplicaState.READY
    assert world.status(ready.agent_id, ready.primary) == "running_replica"
    with_incident = with_replica(world, "second")
    world.notice(with_incident.agent_id, with_incident.primary, severity=Severity.REBALANCE)
    refused = world.plane.replicas.promote(
        world.user, with_incident.agent_id, with_incident.replica_id, demote_old_primary=True
    )
    assert not refused.demoted
    assert world.status(with_incident.agent_id, with_incident.primary) == "zombie"


def test_in5_in7_in21_in25_a_zombie_is_due_by_its_own_clock(world: World) -> None:
    ready = promoted(world)
    for _ in range(10):
        world.clock.advance(29)
        world.report_prices(ready.agent_id, {"us-east-1a": "0.03"})  # failure 22
        world.beat(ready.agent_id, ready.standby)
    world.tick(11)
    assert world.status(ready.agent_id, ready.primary) == "terminating"


def promoted(world: World) -> Ready:
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    return ready


def test_in24_mr11_with_auto_terminate_off_a_zombie_stays_and_what_a_user_ends_is_listed(world: World) -> None:
    ready = with_replica(world)
    world.set(ready.agent_id, auto_terminate_enabled=False)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)
    world.tick(90_000)
    assert world.status(ready.agent_id, ready.primary) == "zombie"
    assert not world.plane.commands.terminate_list(world.agent_caller, ready.agent_id).entries
    world.plane.machines.terminate(world.user, ready.primary)
    listed = world.plane.commands.terminate_list(world.agent_caller, ready.agent_id)
    assert [one.reason.value for one in listed.entries] == ["manual_terminate"]  # failure 24
    assert listed.auto_terminate_enabled


def test_in8_in10_in20_in22_ending_machines(world: World) -> None:
    ready = with_replica(world)
    with pytest.raises(IsPrimary):
        world.plane.machines.terminate(world.user, ready.primary)
    world.plane.machines.terminate(world.user, ready.standby)
    assert world.status(ready.agent_id, ready.standby) == "terminating"
    again = world.plane.machines.terminate(world.user, ready.standby)
    assert (again.command, again.instance.status.value) == (None, "terminating")
    world.tick(10_000)
    assert world.status(ready.agent_id, ready.standby) == "terminating"  # IN-22: unconfirmed is running
    world.plane.commands.terminated(world.agent_caller, ready.agent_id, ready.standby)
    assert world.status(ready.agent_id, ready.standby) == "terminated"
    world.plane.agents.delete(world.user, ready.agent_id)
    with pytest.raises(StateConflict):
        world.plane.machines.terminate(world.user, ready.primary)  # IN-12: released


def test_in13_an_announced_end_needs_no_confirmation(world: World) -> None:
    ready = with_replica(world)
    world.notice(ready.agent_id, ready.primary)
    world.tick(299)
    assert world.status(ready.agent_id, ready.primary) == "zombie"  # Z19: never asked for before
    world.tick(2)
    assert world.status(ready.agent_id, ready.primary) == "terminated"
    assert not world.aggregate(ready.agent_id).open_incidents


def test_in23_in25_after_twelve_failures_attempts_are_an_hour_apart(world: World) -> None:
    ready = with_replica(world)
    world.plane.machines.terminate(world.user, ready.standby)
    for _ in range(12):
        world.plane.commands.termination_result(world.agent_caller, ready.agent_id, ready.standby, False, "denied")
        world.clock.advance(301)
    assert not world.plane.commands.terminate_list(world.agent_caller, ready.agent_id).entries
    world.clock.advance(3_300)
    assert world.plane.commands.terminate_list(world.agent_caller, ready.agent_id).entries


@pytest.mark.parametrize("success", [True, False])
def test_in26_a_report_that_the_primary_ended_never_simply_removes_it(world: World, success: bool) -> None:
    ready = with_replica(world)
    world.plane.commands.termination_result(world.agent_caller, ready.agent_id, ready.primary, success, None)
    assert world.primary(ready.agent_id) == (ready.standby if success else ready.primary)


def test_in3_a_launch_meant_as_primary_demotes_before_it_promotes(world: World) -> None:
    agent_id = plain(world, Evidence.CLOUD_ACCOUNT)
    old = str(world.primary(agent_id))
    order = world.switch(agent_id, None)
    (launch,) = world.fetch(agent_id, Dialect.MODERN)
    assert order.command is not None
    temp = launch_placeholder(launch.target_instance_id)  # type: ignore[arg-type]
    row = world.plane.commands.launched(
        world.agent_caller, agent_id, temp, MachineFacts(cloud_id=CloudId("i-0b")), launch.request_id
    )
    assert row.status.value == "running_primary"
    assert world.status(agent_id, old) == "zombie"


# section 6


def test_mr5_mr6_a_deleted_replica_is_replaced_and_a_second_refused(world: World) -> None:
    ready = with_replica(world)
    with pytest.raises(ReplicaExists):
        world.plane.replicas.create(world.user, ready.agent_id, ReplicaRequest())
    world.plane.replicas.delete(world.user, ready.agent_id, ready.replica_id)
    live = world.aggregate(ready.agent_id).live_replica
    assert live is not None
    assert live.replica_id != ready.replica_id
    other = plain_named(world, "auto")
    with pytest.raises(ManualReplicaDisabled):
        world.plane.replicas.create(world.user, other, ReplicaRequest())


def test_mr8_an_offline_primary_keeps_its_replica_and_its_role(world: World) -> None:
    ready = with_replica(world)
    world.tick(5_000)
    assert world.primary(ready.agent_id) == ready.primary
    assert world.aggregate(ready.agent_id).live_replica is not None


def test_mr9_without_any_price_a_replica_is_launched_all_the_same(world: World) -> None:
    agent_id = plain_named(world, "priceless")
    world.set(agent_id, manual_replica_enabled=True)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    assert live.same_pool  # MR-1: the only pool that is known


def test_mr10_manual_off_ends_the_replica(world: World) -> None:
    ready = with_replica(world)
    world.set(ready.agent_id, manual_replica_enabled=False)
    assert world.aggregate(ready.agent_id).live_replica is None


def test_mr13_without_a_primary_nothing_is_launched_and_a_ready_replica_takes_over(world: World) -> None:
    agent_id = plain(world)
    machine = world.primary(agent_id)
    world.notice(agent_id, machine, ahead=1)
    live = world.aggregate(agent_id).live_replica
    assert live is not None
    world.plane.replicas.delete(world.user, agent_id, live.replica_id)
    world.tick(200)
    assert world.primary(agent_id) is None
    assert world.aggregate(agent_id).display_status().value == "error"
    world.set(agent_id, manual_replica_enabled=True)
    replica = world.aggregate(agent_id).live_replica
    if replica is not None:  # section 5 still launches: the failover is open
        world.start_replica(agent_id, replica.replica_id, late := world.new_machine())
        assert world.primary(agent_id) == late


def test_mr2_the_next_replica_follows_the_new_primary(world: World) -> None:
    ready = promoted(world)
    live = world.aggregate(ready.agent_id).live_replica
    assert live is not None
    assert live.pool_id != f"{TYPE}.us-east-1b"  # where the new primary runs


def test_a_switch_that_was_fetched_and_never_answered_is_recorded_as_failed_and_counts_sw9(world: World) -> None:
    agent_id = world.register("web", "i-0a").agent_id
    world.beat(agent_id, "i-0a")
    world.report_prices(agent_id, {"us-east-1a": "0.05", "us-east-1b": "0.03"})
    world.switch(agent_id)
    assert world.fetch(agent_id)
    for _ in range(12):
        world.tick(120)
        world.beat(agent_id, "i-0a")
    aggregate = world.aggregate(agent_id)
    assert not aggregate.open_commands
    (failed,) = aggregate.switches.values()
    assert (failed.state.value, failed.reason) == ("failed", "undeliverable")
    assert aggregate.agent.last_switch_at == failed.recorded_at
    assert world.primary(agent_id) == "i-0a"
    world.tick(3_600)
    assert len(world.aggregate(agent_id).switches) == 1


@pytest.mark.parametrize("build", [Evidence.CLASSIC_CALL, Evidence.MODERN_CALL])
def test_1_5_a_switch_taken_back_leaves_nothing_behind(world: World, build: Evidence) -> None:
    agent_id = plain(world, build)
    world.report_prices(agent_id, dict.fromkeys(ZONES, "0.03"))
    zone = ZONES[1] if build is Evidence.CLASSIC_CALL else None  # Z28: a v5 stays in its zone, on-demand
    order = world.switch(agent_id, zone)
    (planned,) = world.plane.commands.of_agent(world.user, agent_id)
    assert planned.command_id == order.command.command_id
    world.plane.commands.withdraw(world.user, agent_id, planned.command_id)
    world.tick(30)
    after = world.aggregate(agent_id)
    assert after.open_commands == ()
    assert [row.status.value for row in after.instances.values() if not row.is_terminal] == ["running_primary"]
    dialect = Dialect.CLASSIC if build is Evidence.CLASSIC_CALL else Dialect.MODERN
    assert world.fetch(agent_id, dialect) == ()
    assert world.switch(agent_id, zone).command.is_open  # nothing stands in the way of another
