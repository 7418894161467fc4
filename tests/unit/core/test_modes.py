"""Section 2: every request against every state, with and without an open incident, and what becomes of the replica."""

from itertools import product
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore import upkeep
from spotcore.agents import Link
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Outcome
from spotcore.commands import Command, CommandKind, CommandState, Origin
from spotcore.config import AgentConfig, ConfigChange
from spotcore.errors import ConfigConflict, MutuallyExclusive, ValidationFailed
from spotcore.events import EventKind
from spotcore.incidents import Severity
from spotcore.instances import InstanceStatus
from spotcore.modes import apply
from spotcore.replicas import ReplicaEnd, ReplicaKind, ReplicaState
from tests.support.rule_builders import (
    D,
    a_command,
    a_machine,
    a_market,
    a_replica,
    a_switch_command,
    an_aggregate,
    an_incident,
    decided,
    executing,
    later,
    told,
)

K, O = CommandKind, Origin  # noqa: E741
MARKET = a_market(a="0.05", b="0.03", c="0.04")
NEITHER, AUTO, MANUAL = (False, False), (True, False), (False, True)
STATES = {"neither": NEITHER, "auto": AUTO, "manual": MANUAL}


def agent_in(state: tuple[bool, bool], *rows: Any, build: Build = Build.V4C, **config: Any) -> Aggregate:
    auto, manual = state
    return an_aggregate(*rows, build=build, auto_switch_enabled=auto, manual_replica_enabled=manual, **config)


def asked(aggregate: Aggregate, expected: int | None = None, at: float = 60, **wanted: Any) -> Outcome:
    """The outcome of one request for settings."""
    change = ConfigChange(wanted=wanted, expected_version=expected)
    return decided(aggregate, lambda ch: apply(ch, change), later(at), MARKET)


def modes_of(config: AgentConfig) -> tuple[bool, bool]:
    return config.auto_switch_enabled, config.manual_replica_enabled


def with_standby(state: tuple[bool, bool], kind: ReplicaKind, *rows: Any) -> Aggregate:
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")
    return agent_in(state, standby, a_replica(kind=kind), *rows)


# request: (A, M), None: not named; row: state before → state after, or None: refused
REQUESTS: list[tuple[bool | None, bool | None, dict[str, str | None]]] = [
    (None, None, {"neither": "neither", "auto": "auto", "manual": "manual"}),
    (True, None, {"neither": "auto", "auto": "auto", "manual": "auto"}),  # MX-2, MX-9, MX-1
    (False, None, {"neither": "neither", "auto": "neither", "manual": "manual"}),  # MX-3
    (None, True, {"neither": "manual", "auto": "manual", "manual": "manual"}),  # MX-5, MX-4
    (None, False, {"neither": "neither", "auto": "auto", "manual": "neither"}),  # MX-6
    (True, True, {"neither": None, "auto": None, "manual": None}),  # MX-7
    (True, False, {"neither": "auto", "auto": "auto", "manual": "auto"}),  # MX-8
    (False, True, {"neither": "manual", "auto": "manual", "manual": "manual"}),
    (False, False, {"neither": "neither", "auto": "neither", "manual": "neither"}),
]
PAIRS = [(auto, manual, before, row[before]) for auto, manual, row in REQUESTS for before in STATES]


@pytest.mark.parametrize("incident", [False, True], ids=["quiet", "incident open"])
@pytest.mark.parametrize(("auto", "manual", "before", "after"), PAIRS)
def test_mx1_to_mx9_every_request_in_every_state(
    auto: bool | None, manual: bool | None, before: str, after: str | None, incident: bool
) -> None:
    rows = [an_incident()] if incident else []
    aggregate = agent_in(STATES[before], *rows)
    wanted = {"auto_switch_enabled": auto, "manual_replica_enabled": manual}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if after is None:
        with pytest.raises(MutuallyExclusive):
            asked(aggregate, **wanted)
        return
    outcome = asked(aggregate, **wanted)
    config = outcome.after.agent.config
    assert modes_of(config) == STATES[after]
    assert outcome.answer == config  # MX-12
    changed = before != after
    assert outcome.after.agent.config_version == 1 + changed  # CV-1, MX-9
    assert len(told(outcome, EventKind.AGENT_CONFIG_UPDATED)) == changed


@given(st.lists(st.tuples(st.none() | st.booleans(), st.none() | st.booleans()), max_size=6))
def test_i3_no_sequence_of_requests_turns_both_modes_on_failure_50(
    requests: list[tuple[bool | None, bool | None]],
) -> None:
    aggregate = agent_in(NEITHER)
    version = 1
    for auto, manual in requests:
        wanted = {"auto_switch_enabled": auto, "manual_replica_enabled": manual}
        before = aggregate.agent.config
        try:
            aggregate = asked(aggregate, **{n: v for n, v in wanted.items() if v is not None}).after
        except MutuallyExclusive:
            assert auto
            assert manual
        version += aggregate.agent.config != before
        assert modes_of(aggregate.agent.config) != (True, True)
        assert aggregate.agent.config_version == version  # CV-1, failure 52


# --- replicas ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [{"auto_switch_enabled": True}, {"manual_replica_enabled": False},
     {"auto_switch_enabled": True, "manual_replica_enabled": False}],
    ids=["MX-1", "MX-6", "MX-8"],
)  # fmt: skip
def test_mx1_mx6_leaving_manual_mode_ends_the_manual_replica(wanted: dict[str, bool]) -> None:
    outcome = asked(with_standby(MANUAL, ReplicaKind.MANUAL), **wanted)
    (replica,) = outcome.after.replicas.values()
    assert (replica.state, replica.end_reason) == (ReplicaState.TERMINATED, ReplicaEnd.MODE_CHANGED)
    assert outcome.after.instances[replica.instance_id].status is InstanceStatus.TERMINATING


@pytest.mark.parametrize(
    ("severity", "kind"),
    [
        (Severity.REBALANCE, ReplicaKind.EMERGENCY_REBALANCE),
        (Severity.TERMINATION, ReplicaKind.EMERGENCY_TERMINATION),
    ],
)
@pytest.mark.parametrize(
    "wanted", [{"auto_switch_enabled": True}, {"manual_replica_enabled": False}], ids=["MX-1", "MX-6"]
)
def test_failure_55_with_an_open_incident_the_manual_replica_becomes_the_emergency_replica(
    wanted: dict[str, bool], severity: Severity, kind: ReplicaKind
) -> None:
    handled = {"promoted_at": None, "replica_id": None} if severity is Severity.REBALANCE else {"deadline": later(600)}
    aggregate = with_standby(MANUAL, ReplicaKind.MANUAL, an_incident(severity=severity, **handled))
    if severity is Severity.TERMINATION:  # a ready replica would take over at once: it is still syncing
        (replica,) = aggregate.replicas.values()
        syncing = evolve(replica, state=ReplicaState.SYNCING, syncing_at=later(0))
        aggregate = evolve(aggregate, replicas={replica.replica_id: syncing})
    outcome = asked(aggregate, **wanted)
    live = outcome.after.live_replica
    assert live is not None
    assert (live.kind, live.incident_id) == (kind, "inc-m")
    assert len(outcome.after.replicas) == 1


@pytest.mark.parametrize("before", ["neither", "auto"])
def test_mx4_manual_on_adopts_the_emergency_replica_instead_of_launching(before: str) -> None:
    aggregate = with_standby(STATES[before], ReplicaKind.EMERGENCY_REBALANCE, an_incident())
    outcome = asked(aggregate, manual_replica_enabled=True)
    (replica,) = outcome.after.replicas.values()
    assert (replica.kind, replica.state) == (ReplicaKind.MANUAL, ReplicaState.READY)


@pytest.mark.parametrize("before", ["neither", "auto"])
def test_mx4_mx5_without_one_to_adopt_manual_on_launches_in_the_same_step(before: str) -> None:
    outcome = asked(agent_in(STATES[before]), manual_replica_enabled=True)
    (replica,) = outcome.after.replicas.values()
    assert (replica.kind, replica.state, replica.az) == (
        ReplicaKind.MANUAL, ReplicaState.LAUNCHING, "us-east-1b",
    )  # fmt: skip


def test_mx3_auto_off_leaves_the_emergency_replica_until_its_incident_closes() -> None:
    aggregate = with_standby(AUTO, ReplicaKind.EMERGENCY_REBALANCE, an_incident())
    after = asked(aggregate, auto_switch_enabled=False).after
    live = after.live_replica
    assert live is not None
    assert live.kind is ReplicaKind.EMERGENCY_REBALANCE


@pytest.mark.parametrize("value", [False, None])
def test_mx9_saving_an_unchanged_toggle_touches_no_replica(value: bool | None) -> None:
    aggregate = with_standby(MANUAL, ReplicaKind.MANUAL)
    wanted: dict[str, Any] = {"auto_switch_enabled": value} if value is not None else {}
    outcome = asked(aggregate, manual_replica_enabled=True, **wanted)
    assert outcome.after.replicas == aggregate.replicas
    assert outcome.events == ()


# --- commands ------------------------------------------------------------------------------------------------

QUEUED = [
    # origin, state, cancelled by auto off (MX-3)
    (O.URGENT_DECISION, CommandState.PENDING, True),
    (O.DECISION, CommandState.PENDING, True),
    (O.URGENT_DECISION, CommandState.EXECUTING, False),
    (O.DECISION, CommandState.EXECUTING, False),
    (O.USER, CommandState.PENDING, False),
    (O.SCHEDULED, CommandState.PENDING, False),
]


@pytest.mark.parametrize(
    "how", [{"auto_switch_enabled": False}, {"manual_replica_enabled": True}], ids=["MX-3", "MX-4"]
)
@pytest.mark.parametrize(
    ("origin", "state", "cancelled"), QUEUED, ids=[f"{state}-{origin}" for origin, state, _ in QUEUED]
)
def test_mx3_mx4_pending_automatic_commands_are_cancelled_and_executing_ones_finish(
    origin: Origin, state: CommandState, cancelled: bool, how: dict[str, bool]
) -> None:
    command = a_switch_command(origin=origin)
    command = executing(command) if state is CommandState.EXECUTING else command
    after = asked(agent_in(AUTO, command), **how).after
    assert after.commands[command.command_id].state is (CommandState.CANCELLED if cancelled else state)


def test_mx1_auto_on_cancels_nothing() -> None:
    command = a_switch_command(origin=O.USER)
    after = asked(agent_in(MANUAL, command), auto_switch_enabled=True).after
    assert after.commands[command.command_id].state is CommandState.PENDING


def test_mx3_a_cancelled_automatic_launch_takes_its_requested_machine_with_it() -> None:
    target = a_machine("n", InstanceStatus.LAUNCHING, zone="b", cloud_id=None, confirmed_at=None)
    command = a_command(K.LAUNCH, O.DECISION, target_instance_id=target.instance_id, makes_primary=True, trigger="auto")
    after = asked(agent_in(AUTO, target, command, build=Build.V5), auto_switch_enabled=False).after
    assert after.commands[command.command_id].state is CommandState.CANCELLED
    assert after.instances[target.instance_id].is_terminal
    assert after.agent.last_switch_at is None  # a withdrawn order is no failed switch


# --- independence, versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "value"), list(product(STATES.values(), [True, False])))
def test_mx11_auto_terminate_is_independent_of_both_modes(state: tuple[bool, bool], value: bool) -> None:
    after = asked(agent_in(state), auto_terminate_enabled=value).after
    assert modes_of(after.agent.config) == state
    assert after.agent.config.auto_terminate_enabled is value


def test_mx14_of_two_opposite_requests_the_later_wins() -> None:
    first = asked(agent_in(NEITHER), auto_switch_enabled=True).after
    second = asked(first, manual_replica_enabled=True).after
    assert modes_of(second.agent.config) == MANUAL
    assert second.agent.config_version == 3


def test_cv1_many_settings_in_one_request_are_one_version() -> None:
    after = asked(agent_in(AUTO), enabled=False, min_savings_percent=20, manual_replica_enabled=True).after
    assert after.agent.config_version == 2


@pytest.mark.parametrize(("expected", "accepted"), [(None, True), (1, True), (0, False), (2, False)])
def test_cv7_an_expected_version_that_is_not_current_changes_nothing(expected: int | None, accepted: bool) -> None:
    aggregate = agent_in(AUTO)
    if accepted:
        assert asked(aggregate, expected, enabled=False).after.agent.config_version == 2
        return
    with pytest.raises(ConfigConflict) as refusal:
        asked(aggregate, expected, enabled=False)
    assert refusal.value.details["config"] == aggregate.agent.config
    assert refusal.value.details["config_version"] == 1


def test_cv7_failure_56_disjoint_edits_one_after_the_other_both_survive() -> None:
    after = asked(asked(agent_in(AUTO), min_savings_percent=20).after, max_switches_per_day=5).after
    config = after.agent.config
    assert (config.min_savings_percent, config.max_switches_per_day) == (D(20), 5)


def test_cv1_a_refused_request_changes_nothing_at_all() -> None:
    with pytest.raises(ValidationFailed):
        asked(agent_in(AUTO), manual_replica_enabled=True, terminate_wait_seconds=59)


@given(st.lists(st.sampled_from([15, 20, D("15.0"), D("15.00"), 0]), max_size=8))
def test_cv10_the_version_grows_by_the_number_of_effective_changes(values: list[Any]) -> None:
    aggregate = agent_in(AUTO)
    effective, current = 0, D(15)
    for value in values:
        effective += D(value) != current
        current = D(value)
        aggregate = asked(aggregate, min_savings_percent=value).after
    assert aggregate.agent.config_version == 1 + effective
    assert aggregate.agent.config.min_savings_percent == current


def test_audit_of_a_change_says_what_was_and_what_is() -> None:
    (event,) = told(asked(agent_in(AUTO), manual_replica_enabled=True), EventKind.AGENT_CONFIG_UPDATED)
    assert event.facts["changes"] == {
        "auto_switch_enabled": {"from": True, "to": False},
        "manual_replica_enabled": {"from": False, "to": True},
    }
    assert event.facts["config_version"] == 2


# --- telling the agent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", list(Build))
def test_cm1_only_a_modern_agent_is_told_by_a_command(build: Build) -> None:
    after = asked(agent_in(AUTO, build=build), enabled=False).after
    assert [one.kind for one in after.open_commands] == ([K.APPLY_CONFIG] if build is Build.V5 else [])


def test_cm1_a_newer_config_replaces_one_that_was_not_fetched_and_rule_8_names_four_settings() -> None:
    first = asked(agent_in(AUTO, build=Build.V5), enabled=False).after
    second = asked(first, emergency_rebalance_only=True, auto_switch_enabled=False).after
    pending = [one for one in second.open_commands if one.kind is K.APPLY_CONFIG]
    assert [one.params["config_updates"] for one in pending] == [
        {"auto_switching": False, "auto_terminate": True, "manual_replica": False, "emergency_only": True}
    ]


def test_cm1_a_config_that_is_being_applied_is_left_alone() -> None:
    first = asked(agent_in(AUTO, build=Build.V5), enabled=False).after
    (command,) = first.open_commands
    running: Command = executing(command, later(61))
    held = evolve(first, commands={running.command_id: running})
    after = asked(held, enabled=True, at=70).after
    assert [one.state for one in after.open_commands] == [CommandState.EXECUTING, CommandState.PENDING]


# --- CV-8 ----------------------------------------------------------------------------------------------------


def lagging(applied: int | None, at: float, *, link: Link = Link.ONLINE, warned: int | None = None) -> Outcome:
    """Time passing for an agent that is at config version 2 since the start."""
    facts = {
        "config_version": 2, "config_version_since": later(0), "config_version_applied": applied, "link": link,
        "config_lag_warned": warned, "last_heartbeat_at": later(at),
    }  # fmt: skip
    return decided(agent_in(AUTO, agent=facts), upkeep.pass_time, later(at))


@pytest.mark.parametrize(
    ("applied", "seconds", "warned"),
    [(1, 299, False), (1, 301, True), (2, 9_000, False), (None, 9_000, False), (0, 301, True)],
    ids=["not yet", "behind", "up to date", "never said (no deployed build)", "far behind"],
)
def test_cv8_an_agent_that_says_it_is_behind_for_five_minutes_raises_a_warning(
    applied: int | None, seconds: float, warned: bool
) -> None:
    outcome = lagging(applied, seconds)
    assert len(told(outcome, EventKind.AGENT_CONFIG_LAGGING)) == warned


def test_cv8_it_is_said_once_per_version_and_only_while_the_agent_is_online() -> None:
    first = lagging(1, 301)
    again = decided(first.after, upkeep.pass_time, later(900))
    assert told(again, EventKind.AGENT_CONFIG_LAGGING) == []
    assert told(lagging(1, 301, link=Link.OFFLINE), EventKind.AGENT_CONFIG_LAGGING) == []
    assert len(told(lagging(1, 301, warned=1), EventKind.AGENT_CONFIG_LAGGING)) == 1
