"""Section 1.5: what a command may become, and what its priority, TTL and lease are."""

from datetime import timedelta
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore import commands
from spotcore.change import Change
from spotcore.commands import Command, CommandEvent, CommandKind, CommandState, Origin
from spotcore.dispatch import queue
from spotcore.errors import IllegalTransition
from tests.support.rule_builders import START, a_command, a_switch_command, an_aggregate, executing, later

K, O = CommandKind, Origin  # noqa: E741

LIFE = {
    ("pending", "hand_out"): "executing",
    ("pending", "expire"): "expired",
    ("executing", "lease_lapsed"): "pending",
    ("executing", "undeliverable"): "failed",
    ("pending", "complete"): "completed",  # CM-6: it reports before the lease is recorded
    ("executing", "complete"): "completed",
    ("pending", "fail"): "failed",
    ("executing", "fail"): "failed",
    ("pending", "cancel"): "cancelled",
    ("executing", "cancel"): "cancelled",
}


@pytest.mark.parametrize(("state", "event"), list(product(CommandState, CommandEvent)))
def test_a_command_moves_as_the_drawing_of_1_5_says_or_not_at_all_gr3(state: CommandState, event: CommandEvent) -> None:
    wanted = LIFE.get((state.value, event.value))
    if wanted is None:
        with pytest.raises(IllegalTransition):
            commands.moved(a_command(state=state), event, START)
    else:
        after = commands.moved(a_command(state=state), event, START, reason="why")
        assert after.state.value == wanted
        assert after.is_open == (wanted in ("pending", "executing"))


def test_gr4_the_four_terminal_states_are_left_by_nothing() -> None:
    assert {state.value for state in commands.TERMINAL} == {"completed", "failed", "expired", "cancelled"}
    assert {state for state, _ in commands.TRANSITIONS} == {CommandState.PENDING, CommandState.EXECUTING}


@pytest.mark.parametrize("event", [CommandEvent.EXPIRE, CommandEvent.FAIL, CommandEvent.CANCEL])
def test_cm10_a_command_that_ended_keeps_its_reason_and_its_request_id(event: CommandEvent) -> None:
    before = a_command()
    after = commands.moved(before, event, later(5), reason="the pool was gone")
    assert after.failure_reason == "the pool was gone"
    assert (after.request_id, after.finished_at, after.leased_until) == (before.request_id, later(5), None)


TIMINGS = [
    # origin, kind, priority, TTL s, lease s (a switch: its wait of 300 s and 900 s more)
    (O.EMERGENCY, K.PROMOTE, 100, 300, 60),
    (O.EMERGENCY, K.LAUNCH, 100, 300, 360),
    (O.OPERATOR, K.LAUNCH, 100, 300, 360),
    (O.OPERATOR, K.PROMOTE, 100, 300, 60),
    (O.OPERATOR, K.TERMINATE, 100, None, 240),
    (O.REPLICA_END, K.TERMINATE, 100, None, 240),
    (O.EMERGENCY, K.SWITCH, 100, 300, 1_200),
    (O.USER, K.SWITCH, 75, 900, 1_200),
    (O.USER, K.LAUNCH, 75, 900, 360),
    (O.USER, K.SELF_DESTRUCT, 75, 86_400, 300),
    (O.RETIREMENT, K.SELF_DESTRUCT, 75, 86_400, 300),
    (O.MANUAL_MODE, K.LAUNCH, 75, 900, 360),
    (O.URGENT_DECISION, K.SWITCH, 50, 300, 1_200),
    (O.URGENT_DECISION, K.LAUNCH, 50, 300, 360),
    (O.DECISION, K.SWITCH, 25, 600, 1_200),
    (O.DECISION, K.LAUNCH, 25, 600, 360),
    (O.SCHEDULED, K.SWITCH, 10, 86_400, 1_200),
    (O.SCHEDULED, K.APPLY_CONFIG, 10, 86_400, 60),
    (O.CLEAN_UP, K.TERMINATE, 10, None, 240),
]


@pytest.mark.parametrize(
    ("origin", "kind", "priority", "ttl", "lease"), TIMINGS, ids=[f"{one[0]}-{one[1]}" for one in TIMINGS]
)
def test_1_5_priority_ttl_and_lease_are_the_tables_cm2(
    origin: Origin, kind: CommandKind, priority: int, ttl: int | None, lease: int
) -> None:
    command = a_command(kind, origin, terminate_wait_seconds=300)
    lifetime = commands.ttl(kind, origin)
    assert command.priority == priority
    assert lifetime == (timedelta(seconds=ttl) if ttl is not None else None)
    assert commands.lease(command) == timedelta(seconds=lease)


@pytest.mark.parametrize(("wait", "lease"), [(0, 900), (1, 901), (300, 1_200), (86_400, 87_300)])
def test_z13_the_lease_of_a_classic_switch_is_its_wait_and_900_seconds(wait: int, lease: int) -> None:
    assert commands.lease(a_switch_command(terminate_wait_seconds=wait)) == timedelta(seconds=lease)


def test_every_origin_has_a_priority_of_the_table_cm2() -> None:
    assert set(commands.PRIORITY) == set(Origin)
    assert set(commands.PRIORITY.values()) == {100, 75, 50, 25, 10}


def test_cm4_a_hand_out_counts_and_leases_and_z13_a_lapse_keeps_the_request_id() -> None:
    pending = a_command(K.PROMOTE, O.EMERGENCY)
    handed = executing(pending, later(10))
    assert (handed.deliveries, handed.delivered_at, handed.leased_until) == (1, later(10), later(70))
    back = commands.moved(handed, CommandEvent.LEASE_LAPSED, later(70))
    assert (back.state, back.leased_until, back.request_id) == (CommandState.PENDING, None, pending.request_id)
    assert back.expires_at == pending.expires_at  # CM-5: counted from creation, also the second time
    assert executing(back, later(80)).deliveries == 2


@pytest.mark.parametrize(("seconds", "expired"), [(0, False), (899.999, False), (900, True), (9_000, True)])
def test_cm5_the_ttl_counts_from_creation(seconds: float, expired: bool) -> None:
    assert a_switch_command().expired_by(later(seconds)) is expired


def test_1_5_a_termination_never_expires() -> None:
    assert not a_command(K.TERMINATE, O.CLEAN_UP).expired_by(later(10 * 365 * 86_400))


@pytest.mark.parametrize(
    ("command", "counts"),
    [
        (a_command(K.SWITCH), True),
        (a_command(K.PROMOTE, O.EMERGENCY), True),
        (a_command(K.LAUNCH, O.USER, makes_primary=True), True),
        (a_command(K.LAUNCH, O.MANUAL_MODE), False),
        (a_command(K.TERMINATE, O.OPERATOR), False),
        (a_command(K.APPLY_CONFIG, O.SCHEDULED), False),
        (a_command(K.SELF_DESTRUCT, O.USER), False),
    ],
    ids=["switch", "promote", "launch primary", "launch replica", "terminate", "apply config", "self-destruct"],
)
def test_i4_what_changes_a_role_is_counted(command: Command, counts: bool) -> None:
    assert command.is_role_changing is counts


orders = st.tuples(st.sampled_from(Origin), st.integers(0, 5), st.sampled_from("abcdef"))


@given(st.lists(orders, max_size=8))
def test_cm3_the_order_is_priority_then_age_then_id_failure_38(wanted: list[tuple[Origin, int, str]]) -> None:
    made = [a_command(K.TERMINATE, origin, name, created_at=later(age)) for origin, age, name in wanted]
    inserted = sorted(made, key=commands.hand_out_order)
    for first, second in pairwise(inserted):
        assert first.priority >= second.priority
        if first.priority == second.priority:
            assert (first.created_at, first.command_id) <= (second.created_at, second.command_id)


@pytest.mark.parametrize(("kind", "origin"), list(product(CommandKind, Origin)), ids=lambda word: word.value)
def test_failure_48_one_constructor_builds_every_kind_for_every_origin_cm1(kind: CommandKind, origin: Origin) -> None:
    change = Change(an_aggregate(), START)
    made = queue(change, kind, origin)
    assert change.aggregate.commands[made.command_id] == made
    assert made.request_id != made.command_id
    assert (made.state, made.deliveries, made.leased_until) == (CommandState.PENDING, 0, None)
    assert made.addressed_to == change.agent.primary_id  # CM-7
    lifetime = commands.ttl(kind, origin)
    assert made.expires_at == (START + lifetime if lifetime else None)
