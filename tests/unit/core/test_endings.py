"""Ending machines: when, who asks, and what a confirmation means (IN-7…IN-13, IN-20…IN-26, Z19)."""

from typing import Any

import pytest
from attrs import evolve

from spotcore import endings, upkeep
from spotcore.aggregate import Aggregate
from spotcore.builds import Build
from spotcore.change import Outcome
from spotcore.commands import CommandKind
from spotcore.events import EventKind
from spotcore.ids import InstanceId
from spotcore.instances import EndReason, Instance, InstanceStatus
from spotcore.replicas import ReplicaState
from tests.support.rule_builders import (
    PRIMARY,
    a_machine,
    a_replica,
    an_aggregate,
    decided,
    later,
    open_kinds,
    told,
)

OLD = InstanceId("old")
S = InstanceStatus
DAY = 86_400


def with_old(status: InstanceStatus = S.ZOMBIE, *, build: Build = Build.V4C, wait: int = 300, **more: Any) -> Aggregate:
    """A serving primary, heard of all the time, and the machine ``old``."""
    settings = {key: more.pop(key) for key in ("auto_terminate_enabled", "enabled") if key in more}
    old = a_machine("old", status, zone="b", **more)
    return an_aggregate(old, build=build, terminate_wait_seconds=wait, **settings)


def passed(aggregate: Aggregate, at: float) -> Outcome:
    return decided(aggregate, upkeep.pass_time, later(at))


def listed(aggregate: Aggregate, at: float) -> list[tuple[str, EndReason]]:
    return [(row.instance.instance_id, row.reason) for row in endings.terminate_list(aggregate, later(at))]


@pytest.mark.parametrize(
    ("build", "auto", "at", "status"),
    [
        (Build.V4C, True, 299, S.ZOMBIE),
        (Build.V4C, True, 300, S.TERMINATING),
        (Build.UNKNOWN, True, 300, S.TERMINATING),
        (Build.V5, True, 299, S.ZOMBIE),
        (Build.V5, True, 300, S.TERMINATING),
        (Build.V4C, False, 900, S.ZOMBIE),  # IN-24
        (Build.V5, False, 900, S.ZOMBIE),
        (Build.V2, True, 900, S.ZOMBIE),  # IN-24: cannot end machines
        (Build.V4N, True, 900, S.ZOMBIE),
    ],
)
def test_in7_a_zombie_is_to_end_when_its_wait_is_over_and_its_agent_can(
    build: Build, auto: bool, at: float, status: InstanceStatus
) -> None:
    after = passed(with_old(build=build, auto_terminate_enabled=auto), at).after
    assert after.instances[OLD].status is status


def test_in21_the_wait_runs_from_zombie_since_whatever_else_is_written() -> None:
    before = with_old()
    touched = evolve(before.instances[OLD], last_seen_at=later(299), reminded_at=later(200), drift="mode=spot")
    before = evolve(before, instances={**before.instances, OLD: touched})
    assert passed(before, 300).after.instances[OLD].status is S.TERMINATING


@pytest.mark.parametrize(
    ("deadline", "at", "status"),
    [
        (120, 299, S.ZOMBIE),
        (200, 300, S.ZOMBIE),  # the wait of 300 s is over, the notice not: 200 + 180
        (200, 379, S.ZOMBIE),
    ],
)
@pytest.mark.parametrize("build", [Build.V4C, Build.V5])
def test_z19_no_machine_with_a_notice_is_asked_to_end_before_180_s_after_its_deadline(
    build: Build, deadline: float, at: float, status: InstanceStatus
) -> None:
    before = with_old(build=build, notice_deadline=later(deadline))
    outcome = passed(before, at)
    assert outcome.after.instances[OLD].status is status
    assert listed(outcome.after, at) == []
    assert CommandKind.TERMINATE not in open_kinds(outcome.after)


@pytest.mark.parametrize("build", [Build.V4C, Build.V5])
def test_z19_a_machine_already_terminating_is_not_listed_either_while_aws_ends_it_itself(build: Build) -> None:
    before = with_old(
        S.TERMINATING, build=build, notice_deadline=later(120), end_reason=EndReason.MANUAL_TERMINATE,
        last_seen_at=later(200),
    )  # fmt: skip
    assert listed(before, 299) == []
    assert listed(before, 300) == [("old", EndReason.MANUAL_TERMINATE)]
    assert open_kinds(passed(before, 299).after) == []
    assert open_kinds(passed(before, 300).after) == ([CommandKind.TERMINATE] if build is Build.V5 else [])


@pytest.mark.parametrize("status", [S.ZOMBIE, S.TERMINATING])
@pytest.mark.parametrize(("at", "gone"), [(299, False), (300, True)])
def test_in10_in13_an_announced_end_is_believed_180_s_after_the_deadline_without_a_heartbeat(
    status: InstanceStatus, at: float, gone: bool
) -> None:
    before = with_old(status, wait=3_600, notice_deadline=later(120), last_seen_at=later(115))
    row = passed(before, at).after.instances[OLD]
    assert (row.status is S.TERMINATED) is gone
    assert row.end_asserted is gone  # IN-22


@pytest.mark.parametrize("status", [S.ZOMBIE, S.TERMINATING])
def test_in10_a_machine_heard_of_after_its_deadline_is_not_taken_for_gone(status: InstanceStatus) -> None:
    before = with_old(status, wait=3_600, notice_deadline=later(120), last_seen_at=later(121))
    assert passed(before, 400).after.instances[OLD].status is status


def test_in22_a_machine_nobody_confirmed_stays_terminating_for_as_long_as_it_takes() -> None:
    after = passed(with_old(S.TERMINATING), 30 * DAY).after
    assert after.instances[OLD].status is S.TERMINATING


@pytest.mark.parametrize(
    ("status", "allowed"),
    [(S.ZOMBIE, True), (S.TERMINATING, True), (S.RUNNING_REPLICA, True), (S.TERMINATED, False), (S.RELEASED, False)],
)
def test_in10_in13_a_confirmation_ends_the_machine_once_gr4(status: InstanceStatus, allowed: bool) -> None:
    before = with_old(status)
    outcome = decided(before, lambda change: endings.confirm_end(change, change.aggregate.instances[OLD]), later(50))
    row = outcome.after.instances[OLD]
    assert row.status is (S.TERMINATED if allowed else status)
    assert (row.terminated_at == later(50)) is allowed
    assert len(told(outcome, EventKind.INSTANCE_TERMINATION_CONFIRMED)) == allowed


@pytest.mark.parametrize(
    ("machine", "auto", "expected"),
    [
        (a_machine("old", S.ZOMBIE), True, EndReason.ZOMBIE_TIMEOUT),
        (a_machine("old", S.ZOMBIE), False, None),
        (a_machine("old", S.ZOMBIE, zombie_since=later(1)), True, None),  # its wait ends a second later
        (a_machine("old", S.ZOMBIE, cloud_id=None), True, None),
        (a_machine("old", S.TERMINATING, end_reason=EndReason.ZOMBIE_TIMEOUT), True, EndReason.ZOMBIE_TIMEOUT),
        (a_machine("old", S.ZOMBIE, end_reason=EndReason.MANUAL_TERMINATE), False, EndReason.MANUAL_TERMINATE),
        (a_machine("old", S.ZOMBIE, end_reason=EndReason.KEPT), True, None),  # E46
        (a_machine("old", S.TERMINATING, end_reason=EndReason.ZOMBIE_TIMEOUT), False, None),
        (a_machine("old", S.TERMINATING, end_reason=EndReason.REPLICA_TERMINATED), False, EndReason.REPLICA_TERMINATED),
        (a_machine("old", S.TERMINATING, end_reason=EndReason.MANUAL_TERMINATE), False, EndReason.MANUAL_TERMINATE),
        (a_machine("old", S.TERMINATING, cloud_id=None), True, None),
        (a_machine("old", S.RUNNING_REPLICA), True, None),
        (a_machine("old", S.TERMINATED), True, None),
        (a_machine("old", S.RELEASED), True, None),
        (a_machine("old", S.LAUNCHING), True, None),
    ],
)
def test_in25_the_terminate_list_is_what_the_rule_says_and_nothing_else_i7(
    machine: Instance, auto: bool, expected: EndReason | None
) -> None:
    aggregate = an_aggregate(machine, auto_terminate_enabled=auto)
    assert listed(aggregate, 300) == ([("old", expected)] if expected else [])


@pytest.mark.parametrize("state", list(ReplicaState))
def test_i7_the_machine_of_a_live_replica_is_never_listed(state: ReplicaState) -> None:
    row = a_machine("r", S.TERMINATING, end_reason=EndReason.REPLICA_TERMINATED)
    live = state in (ReplicaState.LAUNCHING, ReplicaState.SYNCING, ReplicaState.READY)
    names = [name for name, _ in listed(an_aggregate(row, a_replica("r", state=state)), 300)]
    assert names == ([] if live else ["r"])


@pytest.mark.parametrize(
    ("failures", "since_last", "asked"),
    [(0, 299, False), (0, 300, True), (11, 299, False), (11, 300, True), (12, 3_599, False), (12, 3_600, True)],
)
@pytest.mark.parametrize("build", [Build.V4C, Build.V5])
def test_in25_attempts_are_300_s_apart_and_after_the_twelfth_failure_an_hour(
    build: Build, failures: int, since_last: float, asked: bool
) -> None:
    before = with_old(
        S.TERMINATING, build=build, end_failures=failures, last_end_attempt_at=later(0), terminating_since=later(-9_000),
        end_reason=EndReason.REPLICA_TERMINATED,
    )  # fmt: skip
    assert (listed(before, since_last) != []) is asked
    after = passed(before, since_last).after
    assert (CommandKind.TERMINATE in open_kinds(after)) is (asked and build is Build.V5)


@pytest.mark.parametrize(
    ("failures", "since_last", "asked"),
    [
        (0, None, True),  # never tried
        (1, 0, False),
        (1, 299.999, False),
        (1, 300, True),
        (11, 299.999, False),
        (11, 300, True),
        (12, 300, False),
        (12, 3_599.999, False),
        (12, 3_600, True),
    ],
)
def test_in25_attempts_at_a_zombie_that_no_step_has_reached_yet_are_as_far_apart(
    failures: int, since_last: float | None, asked: bool
) -> None:
    """The list names a zombie whose wait is over before the zombie step has made it ``terminating`` (JB-5)."""
    tried_at = later(-since_last) if since_last is not None else None
    before = with_old(S.ZOMBIE, zombie_since=later(-9_000), end_failures=failures, last_end_attempt_at=tried_at)
    found = endings.terminate_list(before, later(0))
    assert [(row.instance.instance_id, row.reason, row.seconds) for row in found] == (
        [("old", EndReason.ZOMBIE_TIMEOUT, 9_000)] if asked else []
    )


@pytest.mark.parametrize("at", [0, 299])
def test_in21_an_attempt_before_the_wait_is_over_neither_shortens_nor_restarts_it(at: float) -> None:
    before = with_old(S.ZOMBIE, end_failures=1, last_end_attempt_at=later(at))
    assert listed(before, 299.999) == []
    due = max(300, at + 300)  # the wait, and the spacing of attempts
    assert listed(before, due - 0.001) == []
    assert listed(before, due) == [("old", EndReason.ZOMBIE_TIMEOUT)]


def test_in25_the_twelfth_failure_alone_is_critical() -> None:
    aggregate = with_old(S.TERMINATING)
    alarms = []
    for attempt in range(1, 15):
        outcome = decided(
            aggregate, lambda change: endings.attempt_failed(change, change.aggregate.instances[OLD], "denied"),
            later(attempt * 300),
        )  # fmt: skip
        alarms += [attempt] * len(told(outcome, EventKind.INSTANCE_TERMINATION_STUCK))
        aggregate = outcome.after
    assert alarms == [12]
    assert aggregate.instances[OLD].end_failures == 14


def test_in24_a_zombie_nobody_ends_is_reminded_of_after_a_day_and_then_weekly() -> None:
    aggregate = with_old(build=Build.V2)
    reminded = []
    for hours in range(1, 24 * 17):
        outcome = passed(aggregate, hours * 3_600)
        reminded += [hours] * len(told(outcome, EventKind.ZOMBIE_REMINDER))
        aggregate = outcome.after
    assert reminded == [24, 24 + 168, 24 + 336]


def test_in6_a_primary_is_never_listed_even_beyond_any_wait_i7() -> None:
    assert listed(an_aggregate(primary=a_machine(zombie_since=later(-9_000))), 9_000) == []
    assert PRIMARY not in [name for name, _ in listed(with_old(), 9_000)]
