"""The known failures of sections 12.3 to 12.5: commands and switches, modes and settings, identity and liveness."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore import liveness, modes, registration, switching, upkeep
from spotcore.agents import DisplayStatus, Life, Link
from spotcore.builds import Build, Evidence
from spotcore.commands import Origin
from spotcore.config import ConfigChange
from spotcore.errors import LogicalAgentConflict, MutuallyExclusive, SpotError
from spotcore.ids import AgentId, CloudId
from spotcore.incidents import Severity
from spotcore.instances import InstanceStatus
from spotcore.liveness import Heartbeat
from spotcore.placement import in_pool
from spotcore.pools import Mode, parse_pool
from spotcore.registration import Registration
from spotcore.replicas import ReplicaKind, ReplicaState
from spotcore.switches import SwitchState, SwitchTrigger
from tests.support.moves import MOVES, Move, a_report, by_switch_report, plain
from tests.support.rule_builders import (
    POOL_B,
    START,
    a_machine,
    a_market,
    a_replica,
    a_switch_command,
    an_aggregate,
    an_incident,
    decided,
    executing,
    later,
    without_primary,
)
from tests.support.world import World, a_world, with_replica

TRIGGER = {
    "by_hand": "manual_promotion",
    "by_notice": "emergency",
    "by_sync_in_time": "emergency",
    "by_force": "emergency",
    "by_switch_report": "manual",
    "by_first_heartbeat": "manual",
    "by_chain": "manual",
    "by_modern_emergency": "emergency",
    "by_takeover": "rehome",
    "by_lost_heartbeats": "emergency",
}


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_failure_46_every_primary_change_is_one_switch_in_the_history_sw1_i14(world: World, move: Move) -> None:
    moved = move(world)
    after = world.aggregate(moved.agent_id)
    first, second = after.periods
    assert first.switch_id is None
    (switch,) = after.switches.values()
    assert (second.switch_id, switch.state) == (switch.switch_id, SwitchState.COMPLETED)
    assert switch.trigger.value == TRIGGER[move.__name__]
    assert (switch.old_cloud_id, switch.new_cloud_id) == (moved.old, moved.new)
    assert first.ended_at == second.started_at == switch.recorded_at  # no gap, no overlap


def test_failure_39_while_one_move_is_in_flight_nothing_else_starts_one_i4(world: World) -> None:
    agent_id = plain(world)
    world.switch(agent_id)
    attempts: list[Callable[[], object]] = [
        lambda: world.switch(agent_id, None),
        lambda: world.switch(agent_id, "us-east-1c"),
        lambda: world.plane.decisions.decide(world.agent_caller, agent_id),
    ]
    for handed_out in (False, True):
        for attempt in attempts:
            try:
                attempt()
            except SpotError as refusal:
                assert refusal.code == "SWITCH_BLOCKED"
            assert sum(row.is_role_changing for row in world.aggregate(agent_id).open_commands) == 1
        if not handed_out:
            assert len(world.fetch(agent_id)) == 1


@given(st.lists(st.sampled_from(["told", "told again", "late", "other"]), min_size=1, max_size=6))
def test_failure_41_stale_reports_never_take_the_role_back_sw6(story: list[str]) -> None:
    world = a_world()
    moved = by_switch_report(world)
    stale = a_report(moved.old, world.new_machine())
    for step in story:
        report = {
            "told": a_report(moved.old, moved.new),
            "told again": a_report(moved.old, moved.new),
            "late": stale,
            "other": a_report(moved.old, world.new_machine()),
        }[step]
        total = world.plane.clients.get(world.client_id).total_savings
        world.plane.commands.switch_report(world.agent_caller, moved.agent_id, report)
        assert world.primary(moved.agent_id) == moved.new
        assert world.plane.clients.get(world.client_id).total_savings == total


@given(st.booleans(), st.integers(60, 86_400))
def test_failure_40_the_flag_and_the_wait_are_told_apart_cm9(ends_old: bool, wait: int) -> None:
    aggregate = an_aggregate(auto_terminate_enabled=ends_old, terminate_wait_seconds=wait)
    place = in_pool(aggregate, a_market(b="0.02"), parse_pool(POOL_B), START, for_switch=True)
    command = decided(
        aggregate, lambda change: switching.order(change, place, Origin.USER, SwitchTrigger.MANUAL)
    ).answer
    assert command.terminate_old is ends_old
    assert command.terminate_wait_seconds == (wait if ends_old else 0)
    assert (command.terminate_wait_seconds == 0) == (not command.terminate_old)


# 12.4


TOGGLES = [None, True, False]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "auto_switch_enabled": st.booleans(),
                "manual_replica_enabled": st.booleans(),
                "auto_terminate_enabled": st.booleans(),
                "risk_threshold": st.sampled_from([0, 1]),
                "excluded_pools": st.sampled_from([(), ("m5.large.us-east-1b",), ("m5.large.us-east-1.us-east-1b",)]),
            },
        ),
        max_size=5,
    )
)
def test_failure_51_52_53_54_the_reply_is_what_is_stored_with_one_version_step_that_the_agent_hears_of(
    requests: list[dict[str, Any]],
) -> None:
    world = a_world()
    agent_id = plain(world)
    machine = world.primary(agent_id)
    for wanted in requests:
        before = world.aggregate(agent_id).agent
        world.beat(agent_id, machine)
        try:
            answer = world.plane.agents.configure(world.user, agent_id, ConfigChange(wanted=wanted))
        except MutuallyExclusive:
            assert world.aggregate(agent_id).agent == before  # 51: refused is refused
            continue
        after = world.aggregate(agent_id).agent
        assert answer.config == after.config  # 51, MX-12
        assert answer.config_version == after.config_version
        assert after.config_version - before.config_version == (after.config != before.config)  # 52
        told = world.beat(agent_id, machine)
        assert told.config_version == after.config_version  # 53
        assert told.config_changed == (after.config != before.config)
        assert world.plane.agents.config(world.user, agent_id).config == after.config  # 54: get(put(x)) = x
        again = world.plane.agents.configure(world.user, agent_id, ConfigChange(wanted=wanted))
        assert again.config_version == after.config_version  # MX-9


WANTED = [
    {name: value for name, value in (("auto_switch_enabled", auto), ("manual_replica_enabled", manual)) if value is not None}
    for auto, manual in product(TOGGLES, TOGGLES)
]  # fmt: skip


@pytest.mark.parametrize("wanted", WANTED, ids=str)
@pytest.mark.parametrize("severity", ["rebalance", "termination"])
@pytest.mark.parametrize("kind", ["manual", "emergency_rebalance", "emergency_termination"])
@pytest.mark.parametrize("auto", [True, False])
def test_failure_55_while_an_incident_is_open_no_request_takes_the_replica_away_mx1_mx6(
    wanted: dict[str, bool], severity: str, kind: str, auto: bool
) -> None:
    aggregate = an_aggregate(
        a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b"),
        a_replica("r", ReplicaKind(kind), ReplicaState.SYNCING),
        an_incident(severity=Severity(severity), promote_on_ready=severity == "termination"),
        auto_switch_enabled=auto,
        manual_replica_enabled=not auto,
    )
    try:
        after = decided(aggregate, lambda change: modes.apply(change, ConfigChange(wanted=wanted))).after
    except MutuallyExclusive:
        assert wanted == {"auto_switch_enabled": True, "manual_replica_enabled": True}
        return
    live = after.live_replica
    assert live is not None
    assert live.replica_id == "rep-r"
    if not auto and not after.agent.config.manual_replica_enabled:
        assert live.is_emergency  # MX-6: it stays for the incident, not for the mode


# 12.5


@pytest.mark.parametrize("build", [Build.V2, Build.V4C, Build.V4N, Build.V5, Build.UNKNOWN])
@pytest.mark.parametrize("silent", [0, 60, 120])
def test_failure_57_an_unknown_machine_never_takes_over_an_agent_that_is_online_rg8(build: Build, silent: int) -> None:
    aggregate = an_aggregate(build=build)
    wanted = Registration(
        cloud_id=CloudId("i-0clone"), logical_agent_id="web", instance_type="m5.large", region="us-east-1",
        az="us-east-1a", mode=Mode.SPOT,
    )  # fmt: skip
    outcome = decided(aggregate, lambda change: registration.register(change, wanted), later(silent))
    assert isinstance(outcome.answer, LogicalAgentConflict)
    assert outcome.after.agent.primary_id == aggregate.agent.primary_id
    assert outcome.after.instances == aggregate.instances


def test_failure_58_two_machines_of_one_name_take_turns_at_most_every_120_s_rg8(world: World) -> None:
    agent_id = plain(world)
    one, other = str(world.primary(agent_id)), world.new_machine()
    rehomed: list[int] = []
    for second in range(0, 600, 10):
        world.tick(10)
        for machine in (one, other):
            before = world.primary(agent_id)
            try:
                world.register(machine=machine)
            except LogicalAgentConflict:
                assert world.primary(agent_id) == before
            if world.primary(agent_id) != before:
                rehomed.append(second)
    assert rehomed == []  # the first one registers again and again: it is never offline
    world.tick(121)
    world.register(machine=other)
    assert world.primary(agent_id) == other
    assert world.register(machine=one).role == "retired"  # and the one that lost it does not get it back


facts_of_status = st.tuples(
    st.sampled_from(list(Life)), st.booleans(), st.booleans(), st.booleans(), st.sampled_from(list(Link))
)


@given(facts_of_status)
def test_failure_59_the_status_is_a_function_of_life_switch_primary_command_and_link_ag3(
    facts: tuple[Life, bool, bool, bool, Link],
) -> None:
    life, enabled, primary, switching_now, link = facts
    rows = (executing(a_switch_command()),) if switching_now else ()
    aggregate = an_aggregate(*rows, agent={"life": life, "link": link}, enabled=enabled)
    if not primary:
        aggregate = without_primary(aggregate)
    expected = next(
        word
        for holds, word in (
            (life is not Life.LIVE, DisplayStatus.DELETED),
            (not enabled, DisplayStatus.DISABLED),
            (not primary, DisplayStatus.ERROR),
            (switching_now, DisplayStatus.SWITCHING),
            (link is Link.ONLINE, DisplayStatus.ONLINE),
            (True, DisplayStatus.OFFLINE),
        )
        if holds
    )
    assert aggregate.display_status() is expected


WORDS: list[dict[str, Any]] = [
    {}, {"going_offline": True}, {"mode": Mode.ONDEMAND}, {"mode": Mode.SPOT}, {"instance_type": "c5.large"},
    {"az": "us-east-1c"}, {"evidence": (Evidence.CLASSIC_CALL,)}, {"config_version_applied": 7},
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["m", "r", "z", None, "stranger"]), st.sampled_from(WORDS)), max_size=8))
def test_failure_59_no_heartbeat_changes_role_mode_pool_or_life_ag3(
    story: list[tuple[str | None, dict[str, Any]]],
) -> None:
    aggregate = an_aggregate(
        a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b"), a_replica("r"), a_machine("z", InstanceStatus.ZOMBIE),
        auto_switch_enabled=False, manual_replica_enabled=True,
    )  # fmt: skip
    before = aggregate
    for seconds, (name, facts) in enumerate(story):
        beat = Heartbeat(cloud_id=f"i-0{name}" if name else None, **facts)
        aggregate = decided(aggregate, lambda change, one=beat: liveness.heartbeat(change, one), later(seconds)).after
    for key, row in before.instances.items():
        after = aggregate.instances[key]
        assert (after.status, after.mode, after.pool_id) == (row.status, row.mode, row.pool_id)
        assert (after.instance_type, after.az) == (row.instance_type, row.az)
    assert aggregate.agent.config == before.agent.config
    assert (aggregate.agent.life, aggregate.agent.config_version) == (Life.LIVE, 1)
    assert aggregate.replicas == before.replicas


@pytest.mark.parametrize("silent", [0, 100, 121, 900])
def test_failure_60_only_the_primarys_heartbeats_move_liveness_ag2(world: World, silent: int) -> None:
    ready = with_replica(world)
    world.plane.replicas.promote(world.user, ready.agent_id, ready.replica_id)  # the old one is a zombie now
    heard = world.aggregate(ready.agent_id).agent.last_heartbeat_at
    for _ in range(3):
        world.tick(silent)
        answer = world.beat(ready.agent_id, ready.primary)
        assert answer.role == "retired"
        assert world.aggregate(ready.agent_id).agent.last_heartbeat_at == heard
    assert world.aggregate(ready.agent_id).is_offline(world.clock.now()) == (3 * silent > 120)
    world.beat(ready.agent_id, ready.standby)
    assert world.aggregate(ready.agent_id).agent.last_heartbeat_at == world.clock.now()
    assert world.aggregate(ready.agent_id).agent.link is Link.ONLINE


@pytest.mark.parametrize("heard_again", [119, 120, 121, 200])
def test_failure_62_a_heartbeat_that_comes_between_wins_over_the_timeout_ag1(heard_again: int) -> None:
    aggregate = an_aggregate()
    (silent,) = [alarm for alarm in upkeep.alarms(aggregate) if alarm.name == "offline"]
    at = later(heard_again)
    again = decided(aggregate, lambda change: liveness.heartbeat(change, Heartbeat(cloud_id="i-0m")), at).after
    outcome = decided(again, silent.act, at)  # the job that had selected the agent before the heartbeat
    assert outcome.after.agent.link is Link.ONLINE
    assert [event.kind.value for event in outcome.events] == []


def test_failure_61_a_deleted_name_comes_back_as_a_new_enabled_agent_ag10(world: World) -> None:
    agent_id = plain(world)
    world.set(agent_id, enabled=False)
    machine = world.primary(agent_id)
    world.plane.agents.delete(world.user, agent_id)
    world.tick(86_400)
    again = world.register(machine=machine)
    assert again.agent_id != agent_id
    assert again.config.enabled
    assert world.aggregate(AgentId(agent_id)).agent.life is Life.DELETED
