"""The displayed status and the invariants of one agent (1.2, 0.3)."""

from typing import Any

import pytest
from attrs import evolve

from spotcore.agents import Life, Link
from spotcore.aggregate import Aggregate, check
from spotcore.errors import InvariantViolated
from spotcore.incidents import Severity
from spotcore.instances import InstanceStatus
from tests.support.rule_builders import (
    a_machine,
    a_replica,
    a_switch_command,
    an_aggregate,
    an_incident,
    executing,
    later,
    without_primary,
)

SWITCHING = executing(a_switch_command())
GONE = {"link": Link.OFFLINE, "offline_at": later(0)}

# first match wins: each row adds a reason that ranks below the ones it carries already
STATUSES: dict[str, tuple[Aggregate, str]] = {
    "online": (an_aggregate(), "online"),
    "online_with_a_waiting_switch": (an_aggregate(a_switch_command()), "online"),
    "offline": (an_aggregate(agent=GONE), "offline"),
    "switching": (an_aggregate(SWITCHING), "switching"),
    "switching_beats_offline": (an_aggregate(SWITCHING, agent=GONE), "switching"),
    "error": (without_primary(an_aggregate()), "error"),
    "error_beats_switching": (without_primary(an_aggregate(SWITCHING)), "error"),
    "disabled_beats_error": (without_primary(an_aggregate(enabled=False)), "disabled"),
    "disabled_beats_switching": (an_aggregate(SWITCHING, enabled=False), "disabled"),
    "retiring_beats_disabled": (an_aggregate(enabled=False, agent={"life": Life.RETIRING}), "deleted"),
    "deleted": (an_aggregate(agent={"life": Life.DELETED}), "deleted"),
}


@pytest.mark.parametrize("row", STATUSES)
def test_1_2_the_displayed_status_is_the_first_that_matches_ag9(row: str) -> None:
    aggregate, status = STATUSES[row]
    assert aggregate.display_status().value == status


def machine(name: str, status: InstanceStatus, **facts: Any) -> Any:
    return a_machine(name, status, zone="b", **facts)


BROKEN: dict[str, tuple[Aggregate, str]] = {
    "two_primaries": (an_aggregate(machine("n", InstanceStatus.RUNNING_PRIMARY)), "I1"),
    "two_live_replicas": (an_aggregate(a_replica("r"), a_replica("s")), "I2"),
    "two_role_changes": (an_aggregate(a_switch_command(name="k"), a_switch_command(name="l")), "I4"),
    "primary_that_does_not_serve": (
        an_aggregate(primary=machine("m", InstanceStatus.ZOMBIE)), "I5",
    ),
    "one_cloud_id_twice": (an_aggregate(machine("n", InstanceStatus.ZOMBIE, cloud_id="i-0m")), "I10"),
    "two_open_failovers": (
        an_aggregate(an_incident("m", Severity.TERMINATION), an_incident("n", Severity.TERMINATION)), "I11",
    ),
    "no_open_period": (evolve(an_aggregate(), periods=()), "I8"),
}  # fmt: skip


@pytest.mark.parametrize("row", BROKEN)
def test_0_3_a_broken_invariant_is_named_i1_i2_i4_i5_i8_i10_i11(row: str) -> None:
    aggregate, number = BROKEN[row]
    with pytest.raises(InvariantViolated, match=f"^{number}:"):
        check(aggregate)


SOUND: dict[str, Aggregate] = {
    "plain": an_aggregate(),
    "a_terminated_machine_gave_its_cloud_id_back_i10": an_aggregate(
        machine("n", InstanceStatus.TERMINATED, cloud_id="i-0m")
    ),
    "a_failover_beside_a_rebalance_i11": an_aggregate(an_incident("m", Severity.TERMINATION), an_incident("n")),
    "nobody_serves": without_primary(an_aggregate()),
}


@pytest.mark.parametrize("row", SOUND)
def test_0_3_what_breaks_nothing_is_let_through(row: str) -> None:
    assert check(SOUND[row]) is SOUND[row]


@pytest.mark.parametrize("placeholder", ["pending", "", "i-", "temp-1", "unknown"])
def test_i10_a_placeholder_is_never_a_cloud_id(placeholder: str) -> None:
    with pytest.raises(InvariantViolated):
        a_machine("n", cloud_id=placeholder)


def test_i10_a_cloud_id_finds_the_row_that_is_not_terminal_and_else_the_newest() -> None:
    old = a_machine("old", InstanceStatus.TERMINATED, cloud_id="i-0x", created_at=later(-50))
    newer = a_machine("newer", InstanceStatus.TERMINATED, cloud_id="i-0x", created_at=later(-10))
    standing = a_machine("standing", InstanceStatus.ZOMBIE, cloud_id="i-0x", created_at=later(-90))
    assert an_aggregate(old, newer, standing).machine("i-0x") == standing
    assert an_aggregate(old, newer).machine("i-0x") == newer
    assert an_aggregate(old).machine(None) is None
    assert an_aggregate(old).machine("i-0y") is None
