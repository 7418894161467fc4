"""The registration matrix RG-2…RG-8 on one agent, row by row and in its order (RG-1 and RG-9 need storage)."""

from typing import Any

import pytest
from attrs import evolve

from spotcore import registration
from spotcore.agents import Life, Link
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Outcome
from spotcore.clients import Client, ClientStatus
from spotcore.commands import CommandKind, CommandState
from spotcore.config import ALL_OFF
from spotcore.errors import InactiveClient, LogicalAgentConflict
from spotcore.events import EventKind
from spotcore.ids import AgentId, CloudId, InstanceId, ReplicaId
from spotcore.instances import InstanceStatus
from spotcore.pools import Mode
from spotcore.registration import Registered, Registration, RegistrationAnswer
from spotcore.replicas import ReplicaState
from spotcore.switches import SwitchTrigger
from tests.support.rule_builders import (
    AGENT,
    CLIENT,
    LONG_AGO,
    POOL_B,
    PRIMARY,
    REGION,
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
    without_primary,
)
from tests.support.world import TYPE

CLASSIC = [Build.UNKNOWN, Build.V2, Build.V4C, Build.V4N]
OFFLINE = {"agent": {"link": Link.OFFLINE, "offline_at": later(0), "last_heartbeat_at": later(-500)}}
SITUATIONS: dict[str, dict[str, Any]] = {
    "online": {},
    "offline": OFFLINE,
    "disabled": {"enabled": False},
    "suspended": {"client": {"status": ClientStatus.SUSPENDED}},
}


def asks(cloud_id: str, *, zone: str = "a", **more: Any) -> Registration:
    return Registration(
        cloud_id=CloudId(cloud_id), logical_agent_id="web", instance_type=TYPE, region=REGION, az=f"{REGION}{zone}",
        **{"mode": Mode.SPOT, **more},
    )  # fmt: skip


def registered(aggregate: Aggregate, wanted: Registration, at: float = 0, *, known_only: bool | None = None) -> Outcome:
    """The outcome of one registration; a suspended client's is judged as Z26 says unless told otherwise."""
    known = aggregate.client.is_suspended if known_only is None else known_only
    return decided(aggregate, lambda change: registration.register(change, wanted, known_only=known), later(at))


def said(outcome: Outcome) -> RegistrationAnswer:
    assert isinstance(outcome.answer, RegistrationAnswer), outcome.answer
    return outcome.answer


def a_launching_replica(machine: str = "r", zone: str = "b") -> tuple[Any, Any]:
    """A replica that waits for its machine."""
    row = a_machine(machine, InstanceStatus.LAUNCHING, zone=zone, cloud_id=None, confirmed_at=None, created_at=later(0))
    replica = a_replica(machine, state=ReplicaState.LAUNCHING, az=f"{REGION}{zone}", pool_id=f"{TYPE}.{REGION}{zone}")
    return row, replica


def test_rg1_a_new_agent_takes_the_client_s_defaults_and_its_machine_serves_cl7() -> None:
    client = Client(
        client_id=CLIENT, name="Acme", created_at=LONG_AGO, default_auto_switch=False, default_auto_terminate=False,
        default_terminate_wait_seconds=900,
    )  # fmt: skip
    wanted = asks("i-0a1")
    fresh = registration.new_agent(client, AgentId("new"), wanted, later(0), None)
    outcome = decided(fresh, lambda change: registration.register_first(change, wanted))
    after, config = outcome.after, said(outcome).config
    assert (said(outcome).role, said(outcome).registered) == ("primary", Registered.NEW)
    assert (config.auto_switch_enabled, config.auto_terminate_enabled, config.terminate_wait_seconds) == (
        False, False, 900,
    )  # fmt: skip
    assert after.primary is not None
    assert (after.primary.cloud_id, after.primary.status) == ("i-0a1", InstanceStatus.RUNNING_PRIMARY)
    assert after.switches == {}  # I14: the first registration alone has no switch record
    assert said(outcome).config_version == 1


@pytest.mark.parametrize("build", list(Build))
@pytest.mark.parametrize("situation", SITUATIONS)
def test_rg2_the_primary_is_refreshed_under_the_same_id(situation: str, build: Build) -> None:
    outcome = registered(an_aggregate(build=build, **SITUATIONS[situation]), asks("i-0m", hostname="renamed"))
    answer, after = said(outcome), outcome.after
    assert (answer.agent_id, answer.role, answer.registered) == (AGENT, "primary", Registered.UPDATED)
    assert answer.config == after.agent.config
    assert after.agent.hostname == "renamed"
    assert after.agent.link is Link.ONLINE
    assert after.switches == {}
    assert len(told(outcome, EventKind.AGENT_BACK_ONLINE)) == (1 if situation == "offline" else 0)  # AG-7


@pytest.mark.parametrize("build", CLASSIC)
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("state", [ReplicaState.SYNCING, ReplicaState.READY])
def test_rg3_a_replica_that_registers_is_all_off_and_the_agent_row_untouched(
    state: ReplicaState, situation: str, build: Build
) -> None:
    machine = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")
    before = an_aggregate(machine, a_replica("r", state=state), build=build, **SITUATIONS[situation])
    outcome = registered(before, asks("i-0r", zone="b", hostname="other"))
    assert (said(outcome).role, said(outcome).config) == ("replica", ALL_OFF)
    agent = outcome.after.agent
    assert (agent.hostname, agent.link, agent.last_heartbeat_at) == (
        before.agent.hostname, before.agent.link, before.agent.last_heartbeat_at,
    )  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("primary", ["serves", "gone"])
@pytest.mark.parametrize("status", [InstanceStatus.ZOMBIE, InstanceStatus.TERMINATING, InstanceStatus.TERMINATED])
def test_rg4_a_retired_machine_stays_retired_even_when_nobody_serves(
    status: InstanceStatus, primary: str, situation: str
) -> None:
    before = an_aggregate(a_machine("old", status, zone="c"), **SITUATIONS[situation])
    before = without_primary(before) if primary == "gone" else before
    # RG-4 comes before RG-5: even a launch token does not bring a retired machine back
    outcome = registered(before, asks("i-0old", zone="c", launch_token="rep-r"))
    assert (said(outcome).role, said(outcome).config, said(outcome).registered) == (
        "retired", ALL_OFF, Registered.IGNORED,
    )  # fmt: skip
    assert outcome.after.instances[InstanceId("old")].status is status
    assert outcome.after.agent.primary_id == before.agent.primary_id


def test_rg4_a_machine_released_by_an_agent_that_is_still_retiring_is_retired() -> None:
    gone = without_primary(an_aggregate(a_machine("old", InstanceStatus.RELEASED)))
    retiring = evolve(gone, agent=evolve(gone.agent, life=Life.RETIRING, retiring_at=later(0)))
    retiring = evolve(
        retiring, instances={**retiring.instances, InstanceId("z"): a_machine("z", InstanceStatus.ZOMBIE)}
    )
    assert said(registered(retiring, asks("i-0old"))).role == "retired"


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("zone", ["b", "c"], ids=["as_planned", "elsewhere"])
def test_rg5_a_launch_token_binds_the_machine_to_its_replica_wherever_it_runs(zone: str, situation: str) -> None:
    before = an_aggregate(*a_launching_replica(), **SITUATIONS[situation])
    outcome = registered(before, asks("i-0new", zone=zone, launch_token="rep-r"))
    assert (said(outcome).role, said(outcome).config) == ("replica", ALL_OFF)
    row = outcome.after.instances[InstanceId("r")]
    assert (row.cloud_id, row.inferred) == ("i-0new", False)
    assert outcome.after.replicas[ReplicaId("rep-r")].state is ReplicaState.SYNCING  # RP-2
    assert outcome.after.agent.primary_id == PRIMARY  # not primary


@pytest.mark.parametrize("token", ["q-k", None], ids=["rg5_by_token", "rg6_by_likeness"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_rg5_rg6_the_machine_of_an_executing_switch_is_bound_and_pending_not_primary(
    situation: str, token: str | None
) -> None:
    before = an_aggregate(executing(a_switch_command("b")), **SITUATIONS[situation])
    outcome = registered(before, asks("i-0new", zone="b", launch_token=token), at=60)
    assert (said(outcome).role, said(outcome).config) == ("pending", ALL_OFF)
    row = outcome.after.machine("i-0new")
    assert row is not None
    assert (row.bound_command_id, row.inferred) == ("k", token is None)
    assert outcome.after.agent.primary_id == PRIMARY
    assert state_of(outcome.after) is CommandState.EXECUTING


@pytest.mark.parametrize("situation", SITUATIONS)
def test_rg6_the_one_launching_replica_of_that_type_and_zone_is_taken_and_flagged(situation: str) -> None:
    before = an_aggregate(*a_launching_replica(), **SITUATIONS[situation])
    outcome = registered(before, asks("i-0new", zone="b"))
    row = outcome.after.instances[InstanceId("r")]
    assert (row.cloud_id, row.inferred, row.status) == ("i-0new", True, InstanceStatus.RUNNING_REPLICA)


def test_rg6_an_on_demand_switch_is_expected_in_the_primary_s_zone() -> None:
    command = executing(a_command(CommandKind.SWITCH, target_mode=Mode.ONDEMAND))
    near = registered(an_aggregate(command), asks("i-0new", zone="a", mode=Mode.UNKNOWN), at=60)
    row = near.after.machine("i-0new")
    assert row is not None
    assert (said(near).role, row.mode) == ("pending", Mode.ONDEMAND)
    far = registered(an_aggregate(command), asks("i-0new", zone="b"), at=60)
    assert isinstance(far.answer, LogicalAgentConflict)


def a_switch_that_waits() -> Any:
    return a_switch_command("b")  # pending: nobody has fetched it, so no machine can come of it


def a_switch_that_is_served() -> tuple[Any, Any]:
    command = executing(a_switch_command("b"))
    return command, a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)


RG8_ROWS = {
    "nothing_expected": ((), "b", TYPE),
    "other_zone": (a_launching_replica(), "c", TYPE),
    "other_type": (a_launching_replica(), "b", "m5.xlarge"),
    "two_match": ((*a_launching_replica(), executing(a_switch_command("b"))), "b", TYPE),
    "switch_not_handed_out": ((a_switch_that_waits(),), "b", TYPE),
    "switch_claimed_already": (a_switch_that_is_served(), "b", TYPE),
}


@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
@pytest.mark.parametrize("row", RG8_ROWS)
def test_rg8_a_stranger_beside_an_online_primary_is_refused_and_nothing_but_a_warning_remains(
    row: str, enabled: bool
) -> None:
    rows, zone, instance_type = RG8_ROWS[row]
    before = an_aggregate(*rows, enabled=enabled)
    outcome = registered(before, evolve(asks("i-0new", zone=zone), instance_type=instance_type), at=30)
    assert isinstance(outcome.answer, LogicalAgentConflict)
    assert len(told(outcome, EventKind.AGENT_REGISTRATION_FAILED)) == 1
    assert outcome.after.machine("i-0new") is None
    assert outcome.after.instances == before.instances
    assert outcome.after.agent.primary_id == PRIMARY


def test_z22_a_v5_launch_is_never_inferred_from_likeness() -> None:
    row, replica = a_launching_replica()
    launch = executing(a_command(CommandKind.LAUNCH, target_instance_id=InstanceId("r")))
    outcome = registered(an_aggregate(row, replica, launch, build=Build.V5), asks("i-0new", zone="b"), at=30)
    assert isinstance(outcome.answer, LogicalAgentConflict)
    assert outcome.after.instances[InstanceId("r")].cloud_id is None


@pytest.mark.parametrize("build", CLASSIC)
@pytest.mark.parametrize(
    ("silent", "taken"), [(119, False), (120, False), (121, True), (5_000, True)]
)  # AG-1, whether or not the job has run (JB-5)
def test_rg7_a_stranger_takes_over_from_the_second_the_primary_counts_as_offline(
    silent: float, taken: bool, build: Build
) -> None:
    outcome = registered(an_aggregate(build=build), asks("i-0new", zone="b"), at=silent)
    if not taken:
        assert isinstance(outcome.answer, LogicalAgentConflict)
        return
    after = outcome.after
    assert (said(outcome).agent_id, said(outcome).role, said(outcome).config) == (AGENT, "primary", after.agent.config)
    assert after.primary is not None
    assert (after.primary.cloud_id, after.primary.pool_id) == ("i-0new", POOL_B)
    assert after.instances[PRIMARY].status is InstanceStatus.ZOMBIE
    (switch,) = after.switches.values()
    assert switch.trigger is SwitchTrigger.REHOME
    assert len(told(outcome, EventKind.AGENT_REHOMED)) == 1
    assert after.agent.link is Link.ONLINE


def test_rg7_a_busy_v5_is_deaf_and_not_offline_before_600_s_ag1() -> None:
    busy = an_aggregate(executing(a_command(CommandKind.TERMINATE)), build=Build.V5)
    assert isinstance(registered(busy, asks("i-0new"), at=200).answer, LogicalAgentConflict)


def test_rg7_a_stranger_takes_over_an_agent_without_primary() -> None:
    outcome = registered(without_primary(an_aggregate()), asks("i-0new", zone="c"))
    assert said(outcome).role == "primary"
    (switch,) = outcome.after.switches.values()
    assert (switch.old_instance_id, switch.trigger) == (None, SwitchTrigger.REHOME)


@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
def test_rg7_an_open_switch_does_not_survive_a_takeover_i4(enabled: bool) -> None:
    before = an_aggregate(executing(a_switch_command("b")), enabled=enabled, **OFFLINE)
    outcome = registered(before, asks("i-0new", zone="c"), at=10)
    assert state_of(outcome.after) is CommandState.CANCELLED


def test_z26_a_suspended_client_s_stranger_is_refused_even_when_the_primary_is_offline() -> None:
    outcome = registered(an_aggregate(**OFFLINE, client={"status": ClientStatus.SUSPENDED}), asks("i-0new"))
    assert isinstance(outcome.answer, InactiveClient)
    assert outcome.after.agent.primary_id == PRIMARY


REPEATED = {
    "rg2": (an_aggregate(), asks("i-0m")),
    "rg3": (an_aggregate(a_machine("r", InstanceStatus.RUNNING_REPLICA), a_replica("r")), asks("i-0r")),
    "rg4": (an_aggregate(a_machine("old", InstanceStatus.ZOMBIE)), asks("i-0old")),
    "rg5": (an_aggregate(*a_launching_replica()), asks("i-0new", launch_token="rep-r")),
    "rg6_replica": (an_aggregate(*a_launching_replica()), asks("i-0new", zone="b")),
    "rg6_switch": (an_aggregate(executing(a_switch_command("b"))), asks("i-0new", zone="b")),
    "rg7": (an_aggregate(**OFFLINE), asks("i-0new")),
}


@pytest.mark.parametrize("row", REPEATED)
def test_rg_the_same_body_twice_gives_the_same_ids_and_no_second_notification(row: str) -> None:
    before, wanted = REPEATED[row]
    first = registered(before, wanted, at=5)
    second = registered(first.after, wanted, at=6)
    assert (said(second).agent_id, said(second).role) == (said(first).agent_id, said(first).role)
    assert second.events == ()
    assert set(second.after.instances) == set(first.after.instances)
    assert second.after.switches == first.after.switches
    assert second.after.agent.primary_id == first.after.agent.primary_id
