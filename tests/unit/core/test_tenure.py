"""From when to when a machine costs, and as what (SV-1, SV-8, SV-9, the table of 7.3)."""

from typing import Any

import pytest
from attrs import evolve

from spotcore.builds import Build
from spotcore.tenure import Role, Tenure
from tests.support.money import a_tenure, hour

P, R, Z = Role.PRIMARY, Role.REPLICA, Role.ZOMBIE

ROLES: dict[str, tuple[dict[str, Any], list[tuple[float, float, Role]]]] = {
    "a primary all its life": ({"primary": ((0, None),)}, [(0, 10, P)]),
    "a replica all its life": ({}, [(0, 10, R)]),
    "stood by, then served": ({"primary": ((3, None),)}, [(0, 3, R), (3, 10, P)]),
    "served, then a zombie until it ended": ({"primary": ((0, 4),), "zombie": 4, "end": 6}, [(0, 4, P), (4, 6, Z)]),
    "demoted to replica (IN-9), then promoted again": (
        {"primary": ((0, 2), (5, None))},
        [(0, 2, P), (2, 5, R), (5, 10, P)],
    ),
    "launched for a switch that was overtaken (SW-6)": ({"zombie": 1, "end": 2}, [(0, 1, R), (1, 2, Z)]),
    "ended while it served (IN-11)": ({"primary": ((0, 4),), "end": 4}, [(0, 4, P)]),
    "a period that began before its confirmation": ({"start": 1, "primary": ((0, None),)}, [(1, 10, P)]),
}


@pytest.mark.parametrize("what", ROLES)
def test_sv1_sv8_roles_follow_each_other_without_gap_or_overlap(what: str) -> None:
    facts, expected = ROLES[what]
    spans = list(a_tenure(**facts).spans(hour(10)))
    assert [(one.start, one.end, one.role) for one in spans] == [(hour(a), hour(b), role) for a, b, role in expected]


def test_sv1_an_unconfirmed_launch_costs_nothing() -> None:
    tenure = a_tenure(cloud_id=None)
    assert (tenure.started_at, list(tenure.spans(hour(10)))) == (None, [])


def test_sv1_the_first_sign_of_its_being_there_counts() -> None:
    assert a_tenure(start=2, registered_at=hour(1)).started_at == hour(1)
    assert a_tenure(start=2, registered_at=hour(3)).started_at == hour(2)


def test_sv1_marking_it_for_its_end_stops_nothing() -> None:
    tenure = a_tenure(zombie=1, terminating_since=hour(2))
    assert tenure.ended_at is None
    assert list(tenure.spans(hour(10)))[-1].end == hour(10)


def test_sv1_what_aws_took_ends_at_aws_s_deadline() -> None:
    taken = a_tenure(end=5.05, notice_deadline=hour(5), end_asserted=True)
    assert taken.ended_at == hour(5)
    confirmed = a_tenure(end=4.5, notice_deadline=hour(5), end_asserted=False)
    assert confirmed.ended_at == hour(4.5)


def test_sv9_a_released_machine_is_ours_no_more() -> None:
    assert a_tenure(released_at=hour(3)).ended_at == hour(3)


def test_7_3_a_v2_s_old_host_is_assumed_to_end_at_its_last_sign_of_life_and_five_minutes_at_least() -> None:
    def ends(**facts: Any) -> Tenure:
        return a_tenure(build=Build.V2, primary=((0, 4),), zombie=4, **facts)

    silent, heard = ends(), ends(last_seen_at=hour(4.5))
    assert (silent.ended_at, heard.ended_at) == (hour(4 + 300 / 3600), hour(4.5))
    assert [one.assumed for one in heard.spans(hour(10))] == [False, True]
    told = ends(end=4.2)
    assert (told.ended_at, told.is_end_assumed) == (hour(4.2), False)
    other = evolve(heard, build=Build.V4C)
    assert other.ended_at is None


def test_the_horizon_cuts_it_off() -> None:
    tenure = a_tenure(primary=((0, 4),), zombie=4, end=9)
    assert [one.end for one in tenure.spans(hour(2))] == [hour(2)]
    assert list(tenure.spans(hour(0))) == []
