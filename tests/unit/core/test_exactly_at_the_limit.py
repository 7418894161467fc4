"""Every instant at which time alone changes something: not a millisecond before it, at it, and however late (JB-5)."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from attrs import evolve, frozen

from spotcore import upkeep
from spotcore.agents import Life, Link
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.commands import CommandKind, CommandState, Origin
from spotcore.events import EventKind
from spotcore.incidents import IncidentState, Outcome, Severity
from spotcore.instances import EndReason, InstanceStatus
from spotcore.replicas import ReplicaEnd, ReplicaKind, ReplicaState
from tests.support.rule_builders import (
    PRIMARY,
    START,
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
    state_of,
    told,
    without_primary,
)

MARKET = a_market(a="0.03", b="0.02", c="0.01", ondemand="0.12")
HEARD = {"last_heartbeat_at": later(10**8)}  # the agent's own silence is not the matter
STEP = timedelta(milliseconds=2)


@frozen
class Limit:
    """What happens so many seconds after the start, told by a fact of the aggregate that differs from then on."""

    name: str
    seconds: float
    before: Callable[[], Aggregate]
    fact: Callable[[Aggregate], object]


def status(name: str) -> Callable[[Aggregate], object]:
    return lambda aggregate: aggregate.instances[a_machine(name).instance_id].status


def replica(name: str = "r") -> Callable[[Aggregate], object]:
    return lambda aggregate: aggregate.replicas[a_replica(name).replica_id].state


def command(aggregate: Aggregate) -> object:
    return state_of(aggregate)


def incident(aggregate: Aggregate) -> object:
    return next(iter(aggregate.incidents.values())).state


def standing_by(state: ReplicaState, **facts: object) -> Aggregate:
    launching = state is ReplicaState.LAUNCHING
    machine = a_machine(
        "r", InstanceStatus.LAUNCHING if launching else InstanceStatus.RUNNING_REPLICA, zone="b", created_at=START,
        **({"cloud_id": None, "confirmed_at": None} if launching else {}),
    )  # fmt: skip
    kind = facts.pop("kind", ReplicaKind.MANUAL)
    known = {"created_at": START, "syncing_at": START, **facts}
    return an_aggregate(machine, a_replica("r", kind, state, **known), agent=HEARD)  # type: ignore[arg-type]


def ordered(
    kind: CommandKind, origin: Origin, build: Build = Build.V5, *, out: bool = False
) -> Callable[[], Aggregate]:
    def made() -> Aggregate:
        target = a_machine("z", InstanceStatus.TERMINATING) if kind is CommandKind.TERMINATE else None
        one = (
            a_switch_command(origin=origin)
            if kind is CommandKind.SWITCH
            else a_command(kind, origin, target_instance_id="z" if target else None)
        )
        rows = [row for row in (target, executing(one) if out else one) if row is not None]
        return an_aggregate(*rows, build=build, agent=HEARD)

    return made


def retiring() -> Aggregate:
    agent = {"life": Life.RETIRING, "retiring_at": START, **HEARD}
    return without_primary(an_aggregate(a_machine("z", InstanceStatus.TERMINATING), agent=agent))


def noticed(**facts: object) -> Aggregate:
    primary = a_machine(notice_deadline=later(120))
    known = {"state": IncidentState.HANDLING, "outcome": Outcome.NOTHING_LAUNCHABLE, **facts}
    return an_aggregate(an_incident(severity=Severity.TERMINATION, **known), primary=primary, agent=HEARD)


def waiting_to_sync() -> Aggregate:
    primary = a_machine(notice_deadline=later(120))
    rows = (
        a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b"), a_replica("r", state=ReplicaState.SYNCING, syncing_at=START),
        an_incident(severity=Severity.TERMINATION, promote_on_ready=True, replica_id="rep-r"),
    )  # fmt: skip
    return an_aggregate(*rows, primary=primary, agent=HEARD)


def zombie(**facts: object) -> Callable[[], Aggregate]:
    config = {name: facts.pop(name) for name in ("auto_terminate_enabled", "terminate_wait_seconds") if name in facts}
    return lambda: an_aggregate(a_machine("z", InstanceStatus.ZOMBIE, **facts), agent=HEARD, **config)


def attempts_after(failures: int) -> Callable[[], Aggregate]:
    machine = a_machine("z", InstanceStatus.TERMINATING, end_failures=failures, last_end_attempt_at=START,
                        end_reason=EndReason.MANUAL_TERMINATE)  # fmt: skip
    return lambda: an_aggregate(machine, agent=HEARD, build=Build.V5)


def ends_asked(aggregate: Aggregate) -> object:
    return sum(row.kind is CommandKind.TERMINATE for row in aggregate.open_commands)


def manual(failures: int, wait: float) -> Callable[[], Aggregate]:
    agent = {"replica_failures": failures, "next_replica_at": later(wait), **HEARD}
    return lambda: an_aggregate(agent=agent, auto_switch_enabled=False, manual_replica_enabled=True)


def live(aggregate: Aggregate) -> object:
    return aggregate.live_replica is not None


def link(aggregate: Aggregate) -> object:
    return aggregate.agent.link


def lagging() -> Aggregate:
    agent = {"config_version": 2, "config_version_applied": 1, "config_version_since": START, **HEARD}
    return an_aggregate(agent=agent)


def losing(seconds: int) -> Callable[[], Aggregate]:
    rows = (a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b"), a_replica("r", last_sync_at=None))
    return lambda: an_aggregate(*rows, failover_on_heartbeat_loss_seconds=seconds)


def primary(aggregate: Aggregate) -> object:
    return aggregate.agent.primary_id


LIMITS = [
    Limit("AG-1 offline", 120.001, an_aggregate, link),
    Limit("IN-4 RP-4 no machine", 300, lambda: standing_by(ReplicaState.LAUNCHING), replica()),
    Limit("IN-4 no machine of a launch", 300, lambda: standing_by(ReplicaState.LAUNCHING), status("r")),
    Limit("RP-5 never in sync", 900, lambda: standing_by(ReplicaState.SYNCING), replica()),
    Limit("RP-6 silent", 300, lambda: standing_by(ReplicaState.READY, last_sync_at=START), replica()),
    Limit("IN-7 default wait", 300, zombie(), status("z")),
    Limit("IN-7 shortest wait", 60, zombie(terminate_wait_seconds=60), status("z")),
    Limit("IN-7 longest wait", 86_400, zombie(terminate_wait_seconds=86_400), status("z")),
    Limit("Z19 IN-13 a zombie AWS takes itself", 300, zombie(notice_deadline=later(120)), status("z")),
    Limit("IN-24 first reminder", 86_400, zombie(auto_terminate_enabled=False),
          lambda a: a.instances[a_machine("z").instance_id].reminded_at),
    Limit("IN-24 next reminder", 7 * 86_400, zombie(auto_terminate_enabled=False, reminded_at=START),
          lambda a: a.instances[a_machine("z").instance_id].reminded_at),
    Limit("5.3 two quiet hours", 7_200, lambda: an_aggregate(an_incident(), agent=HEARD), incident),
    Limit("5.4 the deadline", 120, noticed, incident),
    Limit("5.4 forced 30 s before", 90, waiting_to_sync, primary),
    Limit("IN-11 180 s after the deadline", 300, lambda: noticed(state=IncidentState.FAILED), status("m")),
    Limit("IN-25 next attempt", 300, attempts_after(1), ends_asked),
    Limit("IN-25 the eleventh failure is followed as before", 300, attempts_after(11), ends_asked),
    Limit("IN-25 after the twelfth hourly", 3_600, attempts_after(12), ends_asked),
    Limit("MR-4 second wait", 10, manual(2, 10), live),
    Limit("MR-4 longest wait", 300, manual(9, 300), live),
    Limit("CV-8 behind on config", 300, lagging, lambda a: a.agent.config_lag_warned),
    Limit("AG-5 B shortest", 300, losing(300), primary),
    Limit("AG-5 B longer", 4_000, losing(4_000), primary),
    Limit("AG-9 given up after a day", 86_400, retiring, lambda a: a.agent.life),
    *(
        Limit(f"CM-5 {kind.value} of {origin.value}", ttl, ordered(kind, origin), command)
        for kind, origin, ttl in (
            (CommandKind.PROMOTE, Origin.EMERGENCY, 300), (CommandKind.SWITCH, Origin.USER, 900),
            (CommandKind.SWITCH, Origin.URGENT_DECISION, 300), (CommandKind.SWITCH, Origin.DECISION, 600),
            (CommandKind.APPLY_CONFIG, Origin.SCHEDULED, 86_400), (CommandKind.SELF_DESTRUCT, Origin.RETIREMENT, 86_400),
        )
    ),
    *(
        Limit(f"CM-4 lease of {kind.value}", lease, ordered(kind, origin, out=True), command)
        for kind, origin, lease in (
            (CommandKind.PROMOTE, Origin.EMERGENCY, 60), (CommandKind.LAUNCH, Origin.OPERATOR, 360),
            (CommandKind.TERMINATE, Origin.OPERATOR, 240), (CommandKind.APPLY_CONFIG, Origin.SCHEDULED, 60),
            (CommandKind.SELF_DESTRUCT, Origin.RETIREMENT, 300), (CommandKind.SWITCH, Origin.USER, 1_200),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_nothing_happens_before_its_instant_and_all_of_it_at_that_instant_or_late_jb3_jb5(limit: Limit) -> None:
    before = limit.before()
    unchanged = limit.fact(before)
    early = decided(before, upkeep.pass_time, later(limit.seconds) - STEP, MARKET).after
    assert limit.fact(early) == unchanged
    for at in (later(limit.seconds), later(limit.seconds) + STEP, later(limit.seconds * 3)):
        assert limit.fact(decided(before, upkeep.pass_time, at, MARKET).after) != unchanged


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_the_agent_comes_up_at_that_instant_and_not_at_every_second_before(limit: Limit) -> None:
    """``due_at`` is what the ticker looks at: it names the instant, or an earlier one of something else."""
    before = limit.before()
    outcome = decided(before, lambda change: change.set_agent(hostname="touched"), START, MARKET)
    due, seen = outcome.after.agent.due_at, []
    aggregate = outcome.after
    while due is not None and due < later(limit.seconds):
        seen.append(due)
        aggregate = decided(aggregate, upkeep.pass_time, due, MARKET).after
        due = aggregate.agent.due_at
    assert due == later(limit.seconds)
    assert len(seen) <= 12


SHORT_OF = [
    ("IN-11 a heartbeat after the deadline keeps it", {"last_seen_at": later(121)}, InstanceStatus.RUNNING_PRIMARY),
    ("IN-11 one at the deadline does not", {"last_seen_at": later(120)}, InstanceStatus.TERMINATED),
    ("IN-11 nor one before", {"last_seen_at": later(119)}, InstanceStatus.TERMINATED),
]


@pytest.mark.parametrize(("name", "facts", "becomes"), SHORT_OF, ids=[row[0] for row in SHORT_OF])
def test_in11_what_a_sign_of_life_is_worth_depends_on_the_deadline(
    name: str, facts: dict[str, object], becomes: InstanceStatus
) -> None:
    serving = a_machine(notice_deadline=later(120), **facts)
    aggregate = an_aggregate(
        an_incident(severity=Severity.TERMINATION, state=IncidentState.FAILED), primary=serving, build=Build.V2,
        agent={"last_heartbeat_at": facts["last_seen_at"]},
    )  # fmt: skip
    after = decided(aggregate, upkeep.pass_time, later(300)).after
    assert after.instances[PRIMARY].status is becomes, name
    assert (after.agent.primary_id is None) == (becomes is InstanceStatus.TERMINATED)


@pytest.mark.parametrize(
    ("seconds", "kinds"),
    [(0, []), (86_399.9, []), (86_400, [1]), (86_400 * 8 - 1, [1]), (86_400 * 8, [1, 1]), (86_400 * 15, [1, 1, 1])],
)
def test_in24_a_zombie_is_reminded_of_after_a_day_and_then_every_week(seconds: float, kinds: list[int]) -> None:
    aggregate, heard = zombie(auto_terminate_enabled=False)(), []
    for at in sorted({86_400.0, 86_400.0 * 8, 86_400.0 * 15, seconds}):
        if at <= seconds:
            outcome = decided(aggregate, upkeep.pass_time, later(at))
            aggregate, heard = outcome.after, [*heard, *told(outcome, EventKind.ZOMBIE_REMINDER)]
    assert [1 for _ in heard] == kinds


def test_rp6_a_silent_replica_is_kept_while_an_incident_is_open() -> None:
    aggregate = standing_by(ReplicaState.READY, last_sync_at=START)
    troubled = decided(aggregate, lambda change: change.put(an_incident())).after
    after = decided(troubled, upkeep.pass_time, later(4_000), MARKET).after
    assert after.replicas[a_replica().replica_id].state is ReplicaState.READY


def test_rp5_a_syncing_replica_is_kept_while_a_failover_waits_for_it_5_4() -> None:
    aggregate = waiting_to_sync()
    slow = evolve(
        aggregate,
        incidents={
            key: evolve(row, deadline=later(5_000), notice_at=START) for key, row in aggregate.incidents.items()
        },
    )
    after = decided(slow, upkeep.pass_time, later(1_000), MARKET).after
    assert after.replicas[a_replica().replica_id].end_reason is not ReplicaEnd.SYNC_FAILED
    assert after.agent.primary_id == PRIMARY


@pytest.mark.parametrize("build", [Build.V2, Build.V4C, Build.V4N])
def test_ag1_a_classic_agent_is_never_deaf(build: Build) -> None:
    aggregate = an_aggregate(executing(a_switch_command()), build=build)
    assert decided(aggregate, upkeep.pass_time, later(120)).after.agent.link is Link.ONLINE
    assert decided(aggregate, upkeep.pass_time, later(121)).after.agent.link is Link.OFFLINE


def test_cm5_a_termination_waits_for_ever_1_5() -> None:
    aggregate = an_aggregate(
        a_machine("z", InstanceStatus.TERMINATING),
        a_command(CommandKind.TERMINATE, Origin.CLEAN_UP, target_instance_id="z"),
        build=Build.V5,
        agent=HEARD,
    )
    after = decided(aggregate, upkeep.pass_time, later(400 * 86_400)).after
    assert state_of(after) is CommandState.PENDING
