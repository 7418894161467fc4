"""Who is heard and who is not, to the second (AG-1…AG-8, Z21, Z23)."""

from typing import Any

import pytest
from attrs import evolve

from spotcore import liveness, upkeep
from spotcore.agents import Life, Link
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Outcome
from spotcore.commands import CommandKind, CommandState
from spotcore.config import ALL_OFF
from spotcore.errors import NotFound
from spotcore.events import EventKind
from spotcore.ids import InstanceId
from spotcore.instances import InstanceStatus
from spotcore.liveness import Heartbeat, HeartbeatAnswer, SeenMachine
from spotcore.pools import Mode
from spotcore.replicas import ReplicaState
from spotcore.switches import SwitchTrigger
from tests.support.rule_builders import (
    POOL_A,
    PRIMARY,
    a_command,
    a_machine,
    a_replica,
    a_switch_command,
    an_aggregate,
    decided,
    executing,
    later,
    state_of,
    told,
)

NAMING = [Build.UNKNOWN, Build.V2, Build.V4C]
SILENT = [Build.V4N, Build.V5]


def beats(aggregate: Aggregate, machine: str | None = None, at: float = 0, **more: Any) -> Outcome:
    return decided(aggregate, lambda change: liveness.heartbeat(change, Heartbeat(cloud_id=machine, **more)), later(at))


def said(outcome: Outcome) -> HeartbeatAnswer:
    assert isinstance(outcome.answer, HeartbeatAnswer)
    return outcome.answer


def passed(aggregate: Aggregate, at: float) -> Outcome:
    return decided(aggregate, upkeep.pass_time, later(at))


def with_replica(state: ReplicaState = ReplicaState.READY, **more: Any) -> Aggregate:
    return an_aggregate(a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b"), a_replica("r", state=state), **more)


@pytest.mark.parametrize(("at", "link"), [(119, Link.ONLINE), (120, Link.ONLINE), (121, Link.OFFLINE)])
@pytest.mark.parametrize("build", list(Build))
def test_ag1_an_agent_is_offline_after_more_than_120_s_and_told_of_once_ag7(
    build: Build, at: float, link: Link
) -> None:
    outcome = passed(an_aggregate(build=build), at)
    assert outcome.after.agent.link is link
    assert outcome.after.is_offline(later(at)) is (link is Link.OFFLINE)
    assert len(told(outcome, EventKind.AGENT_MARKED_OFFLINE)) == (link is Link.OFFLINE)
    assert told(passed(outcome.after, at + 500), EventKind.AGENT_MARKED_OFFLINE) == [] or link is Link.ONLINE


@pytest.mark.parametrize(
    ("build", "at", "link"),
    [
        (Build.V5, 121, Link.ONLINE),
        (Build.V5, 600, Link.ONLINE),
        (Build.V5, 601, Link.OFFLINE),
        (Build.V4C, 121, Link.OFFLINE),  # classic agents heartbeat while they work
        (Build.V2, 121, Link.OFFLINE),
    ],
)
def test_ag1_a_modern_agent_that_executes_a_command_is_deaf_for_600_s(build: Build, at: float, link: Link) -> None:
    busy = evolve(executing(a_command(CommandKind.TERMINATE)), leased_until=later(10_000))
    assert passed(an_aggregate(busy, build=build), at).after.agent.link is link


def test_ag1_a_command_that_is_only_pending_makes_nobody_deaf() -> None:
    waiting = an_aggregate(a_command(CommandKind.TERMINATE), build=Build.V5)
    assert passed(waiting, 121).after.agent.link is Link.OFFLINE


@pytest.mark.parametrize("build", list(Build))
def test_ag7_the_way_back_is_told_once(build: Build) -> None:
    gone = passed(an_aggregate(build=build), 200).after
    machine = "i-0m" if build in NAMING else None
    back = beats(gone, machine, at=300)
    assert back.after.agent.link is Link.ONLINE
    assert len(told(back, EventKind.AGENT_BACK_ONLINE)) == 1
    assert told(beats(back.after, machine, at=330), EventKind.AGENT_BACK_ONLINE) == []


ROLES = {
    "i-0m": ("primary", True),
    "i-0r": ("replica", False),
    "i-0zombie": ("retired", False),
    "i-0beef": ("retired", False),  # evidence of nothing we hold
}


@pytest.mark.parametrize("machine", ROLES)
@pytest.mark.parametrize("build", NAMING)
def test_ag2_only_the_primary_s_heartbeat_counts_for_the_agent(build: Build, machine: str) -> None:
    role, counts = ROLES[machine]
    before = with_replica(build=build)
    before = evolve(
        before, instances={**before.instances, InstanceId("zombie"): a_machine("zombie", InstanceStatus.ZOMBIE)}
    )
    outcome = beats(before, machine, at=60)
    assert said(outcome).role == role
    assert said(outcome).config == (before.agent.config if counts else ALL_OFF)  # AG-4
    assert outcome.after.agent.last_heartbeat_at == later(60 if counts else 0)
    assert outcome.after.agent.primary_id == PRIMARY


@pytest.mark.parametrize("build", SILENT)
def test_ag2_a_heartbeat_without_a_machine_refreshes_the_agent_of_a_build_that_names_none_z23(build: Build) -> None:
    outcome = beats(an_aggregate(build=build), at=60)
    assert (said(outcome).role, outcome.after.agent.last_heartbeat_at) == ("primary", later(60))


RETIRED_STATES = [
    InstanceStatus.ZOMBIE, InstanceStatus.TERMINATING, InstanceStatus.TERMINATED, InstanceStatus.RELEASED,
]  # fmt: skip


@pytest.mark.parametrize("status", RETIRED_STATES)
@pytest.mark.parametrize("offline", [False, True], ids=["beats", "says_offline"])
def test_ag4_a_retired_machine_hears_that_it_is_retired_and_changes_nothing(
    status: InstanceStatus, offline: bool
) -> None:
    outcome = beats(an_aggregate(a_machine("old", status)), "i-0old", at=60, going_offline=offline)
    assert (said(outcome).role, said(outcome).config.enabled) == ("retired", False)
    assert outcome.after.instances[InstanceId("old")].status is status
    assert outcome.after.agent.link is Link.ONLINE
    assert outcome.events == ()


@pytest.mark.parametrize("said_mode", [Mode.ONDEMAND, Mode.SPOT])
def test_ag3_a_heartbeat_fills_an_unknown_mode_with_its_pool_and_never_a_known_one(said_mode: Mode) -> None:
    unknown = beats(an_aggregate(mode=Mode.UNKNOWN), "i-0m", mode=said_mode).after.instances[PRIMARY]
    assert (unknown.mode, unknown.pool_id) == (said_mode, POOL_A if said_mode is Mode.SPOT else None)
    known = beats(an_aggregate(mode=Mode.SPOT), "i-0m", mode=said_mode)
    row = known.after.instances[PRIMARY]
    assert (row.mode, row.pool_id) == (Mode.SPOT, POOL_A)
    assert len(told(known, EventKind.INSTANCE_DRIFT)) == (said_mode is Mode.ONDEMAND)


@pytest.mark.parametrize(("on_spot", "mode"), [(True, Mode.SPOT), (False, Mode.ONDEMAND), (None, Mode.UNKNOWN)])
def test_ag3_a_v5_inventory_fills_the_primary_s_unknown_mode(on_spot: bool | None, mode: Mode) -> None:
    entries = (SeenMachine(cloud_id="i-0m", on_spot=on_spot), SeenMachine(cloud_id="i-0beef", on_spot=True))
    after = beats(an_aggregate(mode=Mode.UNKNOWN, build=Build.V5), inventory=entries).after
    assert after.instances[PRIMARY].mode is mode
    assert after.machine("i-0beef") is None  # T18: machines of others in the account are not ours


@pytest.mark.parametrize("build", NAMING)
def test_ag3_a_clean_stop_takes_the_link_down_at_once(build: Build) -> None:
    outcome = beats(an_aggregate(build=build), "i-0m", at=5, going_offline=True)
    assert outcome.after.agent.link is Link.OFFLINE
    assert outcome.after.agent.primary_id == PRIMARY  # AG-5


@pytest.mark.parametrize(("heard", "link"), [(-30, Link.ONLINE), (-500, Link.OFFLINE)])
def test_z23_an_offline_without_machine_counts_only_while_no_other_machine_is_heard(heard: float, link: Link) -> None:
    before = with_replica(build=Build.V5)
    other = evolve(before.instances[InstanceId("r")], last_seen_at=later(heard))
    before = evolve(before, instances={**before.instances, InstanceId("r"): other})
    assert beats(before, going_offline=True).after.agent.link is link


@pytest.mark.parametrize("at", [121, 3_600, 86_400])
@pytest.mark.parametrize("mode", ["auto_switch_enabled", "manual_replica_enabled"])
def test_ag5_offline_alone_never_promotes_mr8(mode: str, at: float) -> None:
    settings = {"auto_switch_enabled": False, mode: True}
    after = passed(with_replica(**settings), at).after
    assert (after.agent.link, after.agent.primary_id) == (Link.OFFLINE, PRIMARY)


@pytest.mark.parametrize(
    ("loss", "at", "serves"),
    [(300, 299, "m"), (300, 300, "r"), (900, 899, "m"), (900, 900, "r"), (None, 90_000, "m")],
)
def test_ag5_the_opt_in_failover_acts_at_its_second_and_not_before(loss: int | None, at: float, serves: str) -> None:
    after = passed(with_replica(failover_on_heartbeat_loss_seconds=loss), at).after
    assert after.agent.primary_id == serves
    if serves == "r":
        (switch,) = after.switches.values()
        assert switch.trigger is SwitchTrigger.EMERGENCY


def test_ag5_the_opt_in_failover_takes_a_ready_replica_only() -> None:
    syncing = with_replica(ReplicaState.SYNCING, failover_on_heartbeat_loss_seconds=300)
    assert passed(syncing, 400).after.agent.primary_id == PRIMARY


@pytest.mark.parametrize(("at", "serves"), [(599, "m"), (600, "r")])
def test_ag5_the_opt_in_failover_waits_for_a_busy_modern_agent_ag1(at: float, serves: str) -> None:
    busy = evolve(executing(a_command(CommandKind.TERMINATE)), leased_until=later(10_000))
    before = with_replica(build=Build.V5, failover_on_heartbeat_loss_seconds=300)
    before = evolve(before, commands={busy.command_id: busy})
    assert passed(before, at).after.agent.primary_id == serves


def test_ag8_a_recovered_agent_s_pending_commands_are_valid_until_they_expire() -> None:
    gone = passed(an_aggregate(a_switch_command()), 200).after
    assert state_of(beats(gone, "i-0m", at=899).after) is CommandState.PENDING
    assert state_of(passed(gone, 900).after) is CommandState.EXPIRED


@pytest.mark.parametrize("build", NAMING)
def test_z21_the_bound_machine_of_an_executing_switch_serves_from_its_first_heartbeat(build: Build) -> None:
    command = executing(a_switch_command())
    new = a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)
    outcome = beats(an_aggregate(command, new, build=build), "i-0n", at=60)
    after = outcome.after
    assert (said(outcome).role, after.agent.primary_id) == ("primary", "n")
    assert after.instances[PRIMARY].status is InstanceStatus.ZOMBIE
    assert state_of(after) is CommandState.COMPLETED
    (switch,) = after.switches.values()
    assert (switch.trigger, switch.command_id) == (SwitchTrigger.MANUAL, "k")


def test_z21_the_old_primary_s_heartbeat_finishes_no_switch() -> None:
    command = executing(a_switch_command())
    new = a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)
    after = beats(an_aggregate(command, new), "i-0m", at=60).after
    assert (after.agent.primary_id, state_of(after)) == (PRIMARY, CommandState.EXECUTING)


def test_z21_a_heartbeat_that_says_offline_finishes_no_switch() -> None:
    command = executing(a_switch_command())
    new = a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)
    after = beats(an_aggregate(command, new), "i-0n", at=60, going_offline=True).after
    assert after.agent.primary_id == PRIMARY


def test_z25_a_retiring_agent_is_answered_all_off_and_a_deleted_one_is_unknown_ag9() -> None:
    retiring = an_aggregate(agent={"life": Life.RETIRING, "retiring_at": later(0)})
    assert said(beats(retiring, "i-0m", at=5)).config == ALL_OFF
    deleted = an_aggregate(agent={"life": Life.DELETED})
    with pytest.raises(NotFound):
        beats(deleted, "i-0m")
