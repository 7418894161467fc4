"""Section 1.5 in motion: hand-out with a lease, expiry, two deliveries, and what is never handed out."""

from itertools import permutations
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore import dispatch
from spotcore.agents import Life
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Change
from spotcore.clients import ClientStatus
from spotcore.commands import Command, CommandKind, CommandState, Origin
from spotcore.dispatch import Dialect
from spotcore.errors import NotFound, StateConflict
from spotcore.events import EventKind, Level
from spotcore.ids import CommandId, InstanceId
from spotcore.incidents import Severity
from spotcore.instances import InstanceStatus
from spotcore.reports import CommandReport, command_result
from spotcore.roles import change_primary
from spotcore.switches import SwitchTrigger
from tests.support.rule_builders import (
    PRIMARY,
    START,
    a_command,
    a_machine,
    a_replica,
    a_switch_command,
    an_aggregate,
    an_incident,
    decided,
    executing,
    later,
    state_of,
    told,
)

K, O = CommandKind, Origin  # noqa: E741
ENDING = InstanceStatus.TERMINATING


def modern(*rows: Any, **facts: Any) -> Aggregate:
    return an_aggregate(*rows, build=Build.V5, **facts)


def an_ending(name: str = "z", origin: Origin = O.OPERATOR, **facts: Any) -> tuple[Any, Command]:
    """A machine that is to end, and the command that says so."""
    machine = a_machine(name, ENDING)
    return machine, a_command(K.TERMINATE, origin, f"end-{name}", target_instance_id=machine.instance_id, **facts)


def fetch(
    aggregate: Aggregate, seconds: float = 0, dialect: Dialect = Dialect.MODERN
) -> tuple[Aggregate, tuple[str, ...]]:
    """The aggregate after a poll, and the names of what it handed out."""
    change = Change(aggregate, later(seconds))
    handed = dispatch.hand_out(change, dialect)
    return change.aggregate, tuple(command.command_id for command in handed)


# --- delivery ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("polls", [1, 2, 7])
def test_cm4_any_number_of_polls_inside_a_lease_is_one_delivery_failure_35(polls: int) -> None:
    aggregate = an_aggregate(a_switch_command())
    handed: list[str] = []
    for poll in range(polls):
        aggregate, names = fetch(aggregate, poll * 100, Dialect.CLASSIC)
        handed += names
    assert handed == ["k"]
    assert state_of(aggregate) is CommandState.EXECUTING


def test_t08_a_classic_poll_gives_the_switch_alone_and_a_modern_poll_never_a_switch() -> None:
    rows = (a_switch_command(name="s"), a_command(K.APPLY_CONFIG, O.SCHEDULED, "c"))
    assert fetch(an_aggregate(*rows), dialect=Dialect.CLASSIC)[1] == ("s",)
    assert fetch(modern(*rows))[1] == ("c",)


@given(
    origin=st.sampled_from([O.USER, O.DECISION, O.URGENT_DECISION, O.SCHEDULED, O.EMERGENCY]),
    seconds=st.floats(0, 200_000),
)
def test_cm5_nothing_is_handed_out_past_its_ttl_with_the_expiry_job_off_failure_36(
    origin: Origin, seconds: float
) -> None:
    command = a_switch_command(origin=origin)
    after, handed = fetch(an_aggregate(command), seconds, Dialect.CLASSIC)
    assert command.expires_at is not None
    alive = later(seconds) < command.expires_at
    assert (handed == ("k",)) is alive
    assert state_of(after) is (CommandState.EXECUTING if alive else CommandState.EXPIRED)


def test_cm5_expiry_is_judged_at_the_second_hand_out_too() -> None:
    aggregate, _ = fetch(modern(a_command(K.PROMOTE, O.EMERGENCY)), 230)
    aggregate, handed = fetch(aggregate, 290)  # the lease of 60 s is over, the TTL of 300 s is not
    assert handed == ("k",)
    later_still, handed = fetch(modern(evolve(a_command(K.PROMOTE, O.EMERGENCY), deliveries=1)), 300)
    assert handed == ()
    assert state_of(later_still) is CommandState.EXPIRED


RETURNING = [
    # kind, origin, lease s
    (K.PROMOTE, O.EMERGENCY, 60),
    (K.TERMINATE, O.OPERATOR, 240),
    (K.TERMINATE, O.CLEAN_UP, 240),
    (K.APPLY_CONFIG, O.SCHEDULED, 60),
    (K.SELF_DESTRUCT, O.USER, 300),
]


@pytest.mark.parametrize(("kind", "origin", "lease"), RETURNING, ids=[f"{k}-{o}" for k, o, _ in RETURNING])
def test_z13_a_lapsed_lease_returns_a_command_once_and_the_second_lapse_fails_it(
    kind: CommandKind, origin: Origin, lease: int
) -> None:
    ending = a_machine("z", ENDING)
    command = a_command(kind, origin, target_instance_id=ending.instance_id if kind is K.TERMINATE else None)
    aggregate, first = fetch(modern(ending, command))
    aggregate, early = fetch(aggregate, lease - 0.001)
    aggregate, second = fetch(aggregate, lease)
    assert (first, early, second) == (("k",), (), ("k",))
    assert next(iter(aggregate.commands.values())).request_id == command.request_id
    aggregate, third = fetch(aggregate, 2 * lease)
    assert third == ()
    assert state_of(aggregate) is CommandState.FAILED
    assert next(iter(aggregate.commands.values())).failure_reason == "undeliverable"


@pytest.mark.parametrize(
    ("command", "dialect", "lapses"),
    [
        (a_switch_command(), Dialect.CLASSIC, 1_200),
        (a_switch_command(origin=O.SCHEDULED), Dialect.CLASSIC, 1_200),
        (a_command(K.LAUNCH, O.MANUAL_MODE), Dialect.MODERN, 360),
        (a_command(K.LAUNCH, O.EMERGENCY), Dialect.MODERN, 360),
    ],
    ids=["user switch", "scheduled switch with its TTL running", "manual launch with its TTL running", "emergency"],
)
def test_z13_nothing_that_launches_a_machine_is_ever_handed_out_twice(
    command: Command, dialect: Dialect, lapses: int
) -> None:
    aggregate, first = fetch(an_aggregate(command, build=Build.V5), 0, dialect)
    aggregate, second = fetch(aggregate, lapses, dialect)
    assert (first, second) == (("k",), ())
    assert state_of(aggregate) is CommandState.FAILED


def test_z13_a_lease_that_lapses_after_the_ttl_fails_as_undeliverable_at_once() -> None:
    aggregate, _ = fetch(modern(a_command(K.PROMOTE, O.EMERGENCY)), 250)
    aggregate, handed = fetch(aggregate, 310)
    assert handed == ()
    assert state_of(aggregate) is CommandState.FAILED


# --- what one reply holds ------------------------------------------------------------------------------------


def a_reply(*names: str, **facts: Any) -> tuple[str, ...]:
    """What a modern poll gives of commands created in this order: p(romote), l(aunch), t(erminate), c(onfig), ..."""
    made: dict[str, tuple[CommandKind, Origin]] = {
        "p": (K.PROMOTE, O.EMERGENCY), "l": (K.LAUNCH, O.MANUAL_MODE), "e": (K.LAUNCH, O.EMERGENCY),
        "t": (K.TERMINATE, O.OPERATOR), "z": (K.TERMINATE, O.CLEAN_UP), "c": (K.APPLY_CONFIG, O.SCHEDULED),
        "d": (K.SELF_DESTRUCT, O.USER),
    }  # fmt: skip
    rows: list[Any] = []
    for age, name in enumerate(names):
        kind, origin = made[name]
        target = a_machine(f"x{name}", ENDING) if kind is K.TERMINATE else None
        rows += [target] if target else []
        rows.append(
            a_command(
                kind,
                origin,
                name,
                created_at=later(age - 60),
                target_instance_id=target.instance_id if target else None,
            )
        )
    return fetch(modern(*rows, **facts))[1]


@pytest.mark.parametrize(
    ("queued", "reply"),
    [
        ("p", "p"),
        ("pc", "pc"),
        ("cp", "pc"),  # CM-3
        ("pl", "pl"),
        ("plt", "pt"),  # the termination is of an operator: it comes before a launch for manual mode
        ("lt", "t"),
        ("let", "e"),  # two of 100: the older one
        ("tez", "t"),
        ("zc", "z"),  # the same priority: the older one, and it is slow
        ("cz", "cz"),
        ("lc", "l"),  # the config waits: nothing follows a slow command
        ("d", "d"),
        ("dp", "p"),  # a self-destruct is alone and last
        ("dc", "d"),
        ("dl", "d"),
        ("dt", "t"),
        ("dz", "z"),  # T33: it waits until every termination is done
    ],
)
def test_z31_a_reply_ends_with_its_first_slow_command(queued: str, reply: str) -> None:
    assert "".join(a_reply(*queued)) == reply


@pytest.mark.parametrize("order", [*permutations("plzc")], ids="".join)
def test_cm3_the_reply_follows_priority_whatever_the_order_of_creation_z31(order: tuple[str, ...]) -> None:
    assert a_reply(*order) == ("p", "l")


def test_ag9_a_self_destruct_waits_for_a_termination_that_is_still_executing() -> None:
    machine, command = an_ending()
    aggregate = modern(machine, executing(command), a_command(K.SELF_DESTRUCT, O.USER, "d"))
    assert fetch(aggregate, 1)[1] == ()


# --- terminations: never the wrong machine, never at the wrong time ------------------------------------------


@pytest.mark.parametrize("severity", list(Severity))
def test_z31_clean_up_waits_while_an_incident_is_open(severity: Severity) -> None:
    machine, command = an_ending(origin=O.CLEAN_UP)
    aggregate = modern(machine, command)
    assert fetch(aggregate)[1] == ("end-z",)
    assert fetch(modern(machine, command, an_incident(severity=severity)))[1] == ()


@pytest.mark.parametrize("origin", [O.OPERATOR, O.REPLICA_END])
def test_z31_only_clean_up_waits_for_an_incident(origin: Origin) -> None:
    machine, command = an_ending(origin=origin)
    assert fetch(modern(machine, command, an_incident()))[1] == ("end-z",)


@pytest.mark.parametrize(("seconds", "handed"), [(0, ()), (299.9, ()), (300, ("end-z",)), (301, ("end-z",))])
def test_z19_no_machine_is_ended_before_its_deadline_and_180_seconds(seconds: float, handed: tuple[str, ...]) -> None:
    machine, command = an_ending()
    noticed = evolve(machine, notice_deadline=later(120))
    after, names = fetch(modern(noticed, command), seconds)
    assert names == handed
    assert after.commands[command.command_id].is_open  # it waits, it is not cancelled


def test_cm8_a_termination_whose_target_became_primary_is_cancelled_and_raises_critical_i7() -> None:
    command = a_command(K.TERMINATE, O.OPERATOR, target_instance_id=PRIMARY)
    outcome = decided(modern(command), lambda change: dispatch.hand_out(change, Dialect.MODERN))
    assert outcome.answer == ()
    assert state_of(outcome.after) is CommandState.CANCELLED
    assert [event.level for event in told(outcome, EventKind.COMMAND_CANCELLED)] == [Level.CRITICAL]


def test_i7_the_machine_of_a_live_replica_is_never_ended_by_a_command() -> None:
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")
    command = a_command(K.TERMINATE, O.OPERATOR, target_instance_id=standby.instance_id)
    after, handed = fetch(modern(standby, a_replica(), command, auto_switch_enabled=False, manual_replica_enabled=True))
    assert handed == ()
    assert state_of(after) is CommandState.CANCELLED


@pytest.mark.parametrize("status", [InstanceStatus.TERMINATED, InstanceStatus.RELEASED])
def test_gr4_a_termination_of_a_machine_that_has_ended_is_cancelled_quietly(status: InstanceStatus) -> None:
    command = a_command(K.TERMINATE, O.OPERATOR, target_instance_id=InstanceId("z"))
    outcome = decided(modern(a_machine("z", status), command), lambda ch: dispatch.hand_out(ch, Dialect.MODERN))
    assert state_of(outcome.after) is CommandState.CANCELLED
    assert [event.level for event in told(outcome, EventKind.COMMAND_CANCELLED)] == [Level.INFO]


def test_in25_the_hand_out_of_a_termination_is_the_attempt_that_spaces_the_next() -> None:
    machine, command = an_ending()
    after, _ = fetch(modern(machine, command), 40)
    assert after.instances[machine.instance_id].last_end_attempt_at == later(40)


# --- a new primary -------------------------------------------------------------------------------------------


def promoted(*rows: Any, build: Build = Build.V4C) -> Aggregate:
    """The aggregate after the standby ``r`` has taken the role by hand."""
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")

    def rule(change: Change) -> None:
        change_primary(change, change.aggregate.instances[standby.instance_id], trigger=SwitchTrigger.MANUAL_PROMOTION)

    return decided(an_aggregate(standby, *rows, build=build), rule).after


@pytest.mark.parametrize("command", [a_switch_command(), a_switch_command(origin=O.DECISION)], ids=["user", "auto"])
def test_cm7_a_switch_not_yet_fetched_dies_with_the_primary_it_was_made_for(command: Command) -> None:
    assert state_of(promoted(command)) is CommandState.CANCELLED


def test_cm7_a_termination_is_readdressed_to_the_new_primary() -> None:
    machine, command = an_ending()
    after = promoted(machine, evolve(command, addressed_to=PRIMARY), build=Build.V5)
    assert after.commands[command.command_id].state is CommandState.PENDING
    assert after.commands[command.command_id].addressed_to == InstanceId("r")


@pytest.mark.parametrize(("build", "told_to"), [(Build.V5, [InstanceId("r")]), (Build.V4C, []), (Build.V2, [])])
def test_pr6_only_a_modern_agent_gets_a_promote_command(build: Build, told_to: list[InstanceId]) -> None:
    after = promoted(build=build)
    promotes = [one for one in after.open_commands if one.kind is K.PROMOTE]
    assert [one.target_instance_id for one in promotes] == told_to
    assert all((one.priority, one.addressed_to) == (100, InstanceId("r")) for one in promotes)


# --- who is still served -------------------------------------------------------------------------------------

GIVEN = {"p": (K.PROMOTE, O.EMERGENCY), "u": (K.PROMOTE, O.OPERATOR), "c": (K.APPLY_CONFIG, O.SCHEDULED),
         "l": (K.LAUNCH, O.MANUAL_MODE), "e": (K.LAUNCH, O.EMERGENCY), "d": (K.SELF_DESTRUCT, O.USER)}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "suspended", "retiring"),
    [
        ("p", True, False),
        ("e", True, False),
        ("d", True, True),
        ("u", False, False),
        ("c", False, False),
        ("l", False, False),
    ],
)
def test_cl5_z25_z26_a_suspended_client_gets_emergencies_and_endings_a_retiring_agent_endings_alone(
    name: str, suspended: bool, retiring: bool
) -> None:
    command = a_command(*GIVEN[name], name)
    assert fetch(modern(command))[1] == (name,)
    asleep = modern(command, client={"status": ClientStatus.SUSPENDED})
    assert (fetch(asleep)[1] == (name,)) is suspended
    leaving = modern(command, agent={"life": Life.RETIRING, "retiring_at": START})
    assert (fetch(leaving)[1] == (name,)) is retiring


@pytest.mark.parametrize("life", [Life.RETIRING, Life.DELETED])
def test_z25_a_classic_agent_that_is_leaving_gets_no_switch(life: Life) -> None:
    aggregate = an_aggregate(a_switch_command(), agent={"life": life, "retiring_at": START})
    assert fetch(aggregate, 0, Dialect.CLASSIC)[1] == ()


@pytest.mark.parametrize(("origin", "handed"), [(O.EMERGENCY, ("k",)), (O.USER, ()), (O.DECISION, ())])
def test_cl5_a_suspended_client_gets_an_emergency_switch_alone(origin: Origin, handed: tuple[str, ...]) -> None:
    aggregate = an_aggregate(a_switch_command(origin=origin), client={"status": ClientStatus.SUSPENDED})
    assert fetch(aggregate, 0, Dialect.CLASSIC)[1] == handed


# --- time ----------------------------------------------------------------------------------------------------


def test_5_5_the_hand_out_of_a_promotion_says_when_the_new_primary_was_informed() -> None:
    standby = a_machine("r", InstanceStatus.RUNNING_REPLICA, zone="b")
    incident = an_incident(
        severity=Severity.TERMINATION, new_instance_id=standby.instance_id, promoted_at=START, deadline=later(120)
    )
    promote = a_command(K.PROMOTE, O.EMERGENCY, target_instance_id=standby.instance_id)
    after, _ = fetch(modern(standby, incident, promote), 2.5)
    assert [one.informed_ms for one in after.incidents.values()] == [2_500]


@pytest.mark.parametrize(("seconds", "ms"), [(0, 0), (0.0015, 2), (2.5, 2_500), (-1, 0)])
def test_elapsed_milliseconds_are_whole_and_never_negative(seconds: float, ms: int) -> None:
    assert dispatch.elapsed_ms(START, later(seconds)) == ms


def test_sw9_a_switch_that_was_fetched_and_never_answered_leaves_the_primary_and_its_own_machine_ends() -> None:
    command = executing(a_switch_command())
    bound = a_machine("n", InstanceStatus.LAUNCHING, zone="b", bound_command_id=command.command_id)
    outcome = decided(an_aggregate(command, bound), dispatch.pass_time, later(1_200))
    assert outcome.after.agent.primary_id == PRIMARY
    assert outcome.after.instances[bound.instance_id].status is ENDING
    assert [event.kind for event in told(outcome, EventKind.COMMAND_UNDELIVERABLE)]


# --- any history ---------------------------------------------------------------------------------------------

KINDS = [
    (K.PROMOTE, O.EMERGENCY),
    (K.LAUNCH, O.MANUAL_MODE),
    (K.TERMINATE, O.OPERATOR),
    (K.TERMINATE, O.CLEAN_UP),
    (K.APPLY_CONFIG, O.SCHEDULED),
    (K.SELF_DESTRUCT, O.USER),
]
steps = st.lists(
    st.tuples(st.sampled_from(["poll", "time", "yes", "no"]), st.sampled_from([0, 1, 59, 61, 239, 241, 361, 901])),
    max_size=14,
)


@given(queued=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), history=steps)
def test_z13_cm5_cm6_in_any_history_a_command_is_delivered_twice_at_most_never_late_and_ends_once(
    queued: list[tuple[CommandKind, Origin]], history: list[tuple[str, int]]
) -> None:
    rows: list[Any] = []
    for number, (kind, origin) in enumerate(queued):
        target = a_machine(f"x{number}", ENDING) if kind is K.TERMINATE else None
        rows += [target] if target else []
        rows.append(
            a_command(kind, origin, f"k{number}", target_instance_id=target.instance_id if target else None)
        )  # fmt: skip
    aggregate, clock = modern(*rows), 0.0
    deliveries: dict[str, int] = {}
    ended: dict[str, CommandState] = {}
    for step, seconds in history:
        clock += seconds
        before = aggregate
        if step == "poll":
            aggregate, handed = fetch(aggregate, clock)
            for name in handed:
                deliveries[name] = deliveries.get(name, 0) + 1
                expires = aggregate.commands[CommandId(name)].expires_at
                assert expires is None or later(clock) < expires
        elif step == "time":
            aggregate = decided(aggregate, dispatch.pass_time, later(clock)).after
        else:
            names = [one.command_id for one in before.open_commands if one.state is CommandState.EXECUTING]
            said = CommandReport(command=names[0], success=step == "yes") if names else None
            if said is not None:
                aggregate = decided(aggregate, lambda ch, said=said: command_result(ch, said), later(clock)).after
        for name, command in aggregate.commands.items():
            if name in ended:
                assert command.state is ended[name]
            elif not command.is_open:
                ended[name] = command.state
    for name, count in deliveries.items():
        kind = aggregate.commands[CommandId(name)].kind
        assert count <= (1 if kind is K.LAUNCH else 2)


PLANNED = (O.USER, O.URGENT_DECISION, O.DECISION, O.SCHEDULED)


@pytest.mark.parametrize("origin", PLANNED)
def test_1_5_a_person_takes_back_a_planned_move_that_nobody_has_fetched_once(origin: Origin) -> None:
    command = a_command(K.SWITCH, origin, "move")
    outcome = decided(an_aggregate(command), lambda change: dispatch.withdraw(change, "move"))
    ended = outcome.after.commands[CommandId("move")]
    assert (ended.state, ended.failure_reason) == (CommandState.CANCELLED, "taken back by a person")
    assert len(told(outcome, EventKind.COMMAND_CANCELLED)) == 1
    again = decided(outcome.after, lambda change: dispatch.withdraw(change, "move"))
    assert (again.answer, again.events) == (ended, ())


@pytest.mark.parametrize("origin", [one for one in O if one not in PLANNED])
def test_1_5_nobody_takes_back_what_keeps_a_workload_alive(origin: Origin) -> None:
    aggregate = an_aggregate(a_command(K.SWITCH, origin, "move"))
    with pytest.raises(StateConflict):
        decided(aggregate, lambda change: dispatch.withdraw(change, "move"))


@pytest.mark.parametrize("kind", [K.TERMINATE, K.SELF_DESTRUCT])
def test_1_5_an_end_that_was_ordered_is_not_taken_back(kind: CommandKind) -> None:
    with pytest.raises(StateConflict):
        decided(an_aggregate(a_command(kind, O.USER, "end")), lambda change: dispatch.withdraw(change, "end"))


@pytest.mark.parametrize("state", [S for S in CommandState if S not in (CommandState.PENDING, CommandState.CANCELLED)])
def test_1_5_what_was_fetched_or_has_ended_is_not_taken_back(state: CommandState) -> None:
    command = evolve(a_command(K.SWITCH, O.USER, "move"), state=state)
    with pytest.raises(StateConflict, match=state.value):
        dispatch.withdraw(Change(an_aggregate(command), START), "move")


def test_1_5_an_unknown_command_is_not_found() -> None:
    with pytest.raises(NotFound):
        dispatch.withdraw(Change(an_aggregate(), START), "nothing")
