"""What has to change in a ledger that stands: rebuilt while young, added to when final, never written over (SV-6, SV-7)."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spotcore.account import account
from spotcore.builds import Build
from spotcore.ids import AgentId, ClientId, InstanceId
from spotcore.ledger import Entry, Line, Revision, effective, final_before, merged, revise, stretch
from spotcore.pools import Mode
from spotcore.pricing import Quality
from spotcore.tenure import Role
from tests.support.money import POOL, a_tenure, hour

D = Decimal
FINAL = hour(24)  # the first day is final, the second is not


def a_line(start: float, end: float, price: str | None = "0.01", **facts: Any) -> Line:
    """Some hours of a primary."""
    known: dict[str, Any] = {
        "client_id": ClientId("c"), "agent_id": AgentId("a"), "instance_id": InstanceId("p"), "role": Role.PRIMARY,
        "mode": Mode.SPOT, "pool_id": POOL, "paid_price": D(price) if price else None, "ondemand_price": D("0.04"),
        "quality": Quality.MEASURED if price else Quality.UNPRICED, **facts,
    }  # fmt: skip
    return Line(started_at=hour(start), ended_at=hour(end), **known)


def entries(*lines: Line) -> list[Entry]:
    return [Entry(line_id=f"n{number}", line=line) for number, line in enumerate(lines, 1)]


def applied(standing: Sequence[Entry], revision: Revision) -> list[Entry]:
    kept = [one for one in standing if one.line_id not in revision.remove]
    return kept + [Entry(line_id=f"m{number}", line=line) for number, line in enumerate(revision.add, 1)]


# --- a young day ------------------------------------------------------------------------------------------------


def test_sv7_a_young_day_that_says_it_already_stays_as_it_is() -> None:
    standing = entries(a_line(24, 30), a_line(30, 36, "0.02"))
    assert revise(standing, [one.line for one in standing], FINAL).is_empty


def test_p13_lines_cut_elsewhere_are_the_same_lines() -> None:
    standing = entries(a_line(24, 26), a_line(26, 30), a_line(30, 36, "0.02"))
    assert revise(standing, [a_line(24, 30), a_line(30, 33, "0.02"), a_line(33, 36, "0.02")], FINAL).is_empty


@pytest.mark.parametrize(
    "wanted",
    [
        [a_line(24, 31)],
        [a_line(24, 29)],
        [a_line(24, 30, "0.02")],
        [a_line(24, 30, None)],
        [a_line(24, 27), a_line(27, 30, role=Role.ZOMBIE, ondemand_price=None)],
        [a_line(24, 30, quality=Quality.ESTIMATED)],
        [a_line(24, 30, mode=Mode.ONDEMAND)],
        [a_line(24, 30, pool_id="m5.large.us-east-1b")],
        [a_line(24, 30, ondemand_price=D("0.05"))],
        [],
    ],
    ids=["longer", "shorter", "price", "unpriced", "role", "quality", "mode", "pool", "on demand", "nothing"],
)
def test_sv7_a_young_day_that_says_anything_else_is_rebuilt_as_a_whole(wanted: list[Line]) -> None:
    standing = entries(a_line(24, 28), a_line(28, 30))
    assert revise(standing, wanted, FINAL) == Revision(remove=("n1", "n2"), add=tuple(wanted))


def test_sv7_days_are_judged_one_by_one() -> None:
    standing = entries(a_line(24, 48), a_line(48, 72), a_line(72, 75))
    wanted = [a_line(24, 48), a_line(48, 72, "0.02"), a_line(72, 76)]
    assert revise(standing, wanted, FINAL) == Revision(remove=("n2", "n3"), add=tuple(wanted[1:]))


def test_sv6_what_was_never_there_is_added() -> None:
    assert revise([], [a_line(0, 24), a_line(24, 30)], FINAL) == Revision(add=(a_line(0, 24), a_line(24, 30)))
    assert revise([], [], FINAL) == Revision()


# --- a final day ------------------------------------------------------------------------------------------------


def test_sv7_a_final_day_that_was_cut_short_is_added_to() -> None:
    assert revise(entries(a_line(0, 10)), [a_line(0, 24)], FINAL) == Revision(add=(a_line(10, 24),))


def test_sv7_the_rest_of_a_final_day_may_have_other_prices_and_roles() -> None:
    wanted = [a_line(0, 12), a_line(12, 18, "0.02"), a_line(18, 24, role=Role.ZOMBIE, ondemand_price=None)]
    assert revise(entries(a_line(0, 10)), wanted, FINAL) == Revision(add=(a_line(10, 12), *wanted[1:]))


def test_sv7_a_final_day_that_was_wrong_is_taken_back_line_by_line_and_written_anew() -> None:
    standing = entries(a_line(0, 10), a_line(10, 24, "0.02"))
    wanted = [a_line(0, 24, "0.03")]
    revision = revise(standing, wanted, FINAL)
    assert revision == Revision(
        add=(
            a_line(0, 10, sign=-1, adjusts="n1"),
            a_line(10, 24, "0.02", sign=-1, adjusts="n2"),
            a_line(0, 24, "0.03", adjusts="2026-03-02"),
        )
    )
    after = applied(standing, revision)
    assert account(one.line for one in after) == account(wanted)
    assert merged([one.line for one in effective(after)]) == wanted
    assert revise(after, wanted, FINAL).is_empty


def test_sv7_a_final_day_corrected_twice_takes_back_only_what_counts() -> None:
    standing = entries(a_line(0, 24))
    after = applied(standing, revise(standing, [a_line(0, 24, "0.02")], FINAL))
    again = revise(after, [a_line(0, 24)], FINAL)
    assert [(one.sign, one.paid_price, one.adjusts) for one in again.add] == [
        (-1, D("0.02"), "m2"), (1, D("0.01"), "2026-03-02"),
    ]  # fmt: skip
    assert again.remove == ()


def test_sv7_hours_that_were_not_are_taken_back_from_a_final_day() -> None:
    standing = entries(a_line(0, 24))
    revision = revise(standing, [], FINAL)
    assert revision == Revision(add=(a_line(0, 24, sign=-1, adjusts="n1"),))
    assert account(one.line for one in applied(standing, revision)) == account([])


def test_a_line_taken_back_is_minus_itself() -> None:
    line, back = a_line(0, 10), a_line(0, 10, sign=-1, adjusts="n1")
    assert (line.baseline, line.cost, line.saving, line.hours) == (D("0.4"), D("0.1"), D("0.3"), 10)
    assert (back.baseline, back.cost, back.saving, back.hours) == (D("-0.4"), D("-0.1"), D("-0.3"), -10)
    assert account([line, back]) == account([])


# --- parts --------------------------------------------------------------------------------------------------------


def test_what_counts_is_neither_taken_back_nor_takes_back() -> None:
    rows = entries(
        a_line(0, 5), a_line(5, 9), a_line(0, 5, sign=-1, adjusts="n1"), a_line(0, 5, "0.02", adjusts="2026-03-02")
    )
    assert [one.line_id for one in effective(rows)] == ["n2", "n4"]


def test_neighbours_are_merged_within_a_day_when_they_touch_and_say_the_same() -> None:
    rows = [a_line(20, 24), a_line(24, 28), a_line(5, 9), a_line(0, 5), a_line(10, 12), a_line(28, 30, "0.02")]
    assert merged(rows) == [a_line(0, 9), a_line(10, 12), a_line(20, 24), a_line(24, 28), a_line(28, 30, "0.02")]
    assert merged([a_line(0, 5, adjusts="2026-03-02"), a_line(5, 9)]) == [a_line(0, 9)]


@pytest.mark.parametrize(
    ("now", "final"),
    [(47.99, -24), (48, 0), (71.99, 0), (72, 24), (100, 48)],
)
def test_sv7_a_day_is_final_when_all_of_it_is_older_than_48_hours(now: float, final: float) -> None:
    """Midnight 48 hours ago begins the first day that may still be rebuilt."""
    assert final_before(hour(now)) == hour(final)


D8 = 24 * 8
STRETCHES: dict[str, tuple[dict[str, Any], float | None, float, tuple[float, float] | None]] = {
    "young, nothing stands yet": ({}, None, 10, (0, 9.75)),
    "nothing to accrue within the horizon": ({}, None, 0.25, None),
    "a moment more": ({}, None, 0.26, (0, 0.01)),
    "not confirmed": ({"cloud_id": None}, None, 10, None),
    "old, nothing stands yet": ({}, None, D8 + 100, (0, D8 + 99.75)),
    "old, lines up to the horizon": ({}, D8 + 90, D8 + 100, (96, D8 + 99.75)),  # as far back as late data reach
    "old, lines that ended long ago": ({}, 50, D8 + 100, (48, D8 + 99.75)),  # after an outage, from their day on
    "written in the middle of its first day": ({"start": 30}, 40, 60, (24, 59.75)),
    "a v2's silent old host": ({"build": Build.V2, "primary": ((0, 4),), "zombie": 4}, 4 + 1 / 12, D8 + 100, None),
    "begun in the middle of a day": ({"start": 30}, None, 60, (30, 59.75)),
    "ended long ago and written to its end": ({"end": 10}, 10, D8 + 100, None),
    "ended long ago and not written to its end": ({"end": 10}, 5, D8 + 100, (0, D8 + 99.75)),
    "ended within what late data may change": ({"end": 100}, 100, D8 + 100, (96, D8 + 99.75)),
}


@pytest.mark.parametrize("what", STRETCHES)
def test_sv6_8_3_which_days_are_looked_at_again(what: str) -> None:
    facts, written_to, now, wanted = STRETCHES[what]
    found = stretch(a_tenure(**facts), hour(written_to) if written_to is not None else None, hour(now))
    if wanted is None:
        assert found is None
        return
    assert found is not None
    assert found[0] == hour(wanted[0])
    assert abs(found[1] - hour(wanted[1])) < timedelta(seconds=1)


# --- every story --------------------------------------------------------------------------------------------------


def days_of(draw: st.DrawFn, until: int) -> list[Line]:
    """Lines without overlap, each within a day."""
    edges = sorted(draw(st.sets(st.integers(0, until), max_size=8)) | {0})
    found = []
    for start, end in pairwise(edges):
        if draw(st.booleans()):
            continue
        price = draw(st.sampled_from(["0.01", "0.02", None]))
        cuts = [start, *(day for day in range(24, until, 24) if start < day < end), end]
        found += [a_line(a, b, price) for a, b in pairwise(cuts)]
    return found


@given(st.data())
def test_whatever_stood_after_a_revision_the_ledger_says_what_is_wanted_and_final_days_keep_every_line(
    data: st.DataObject,
) -> None:
    standing: list[Entry] = []
    for number in range(data.draw(st.integers(1, 4))):
        wanted = days_of(data.draw, 72)
        final = hour(data.draw(st.sampled_from([0, 24, 48, 72])))
        revision = revise(standing, wanted, final)
        kept_by_day = [one for one in standing if one.line.day < final]
        standing = [
            evolve(one, line_id=f"{number}-{one.line_id}" if one.line_id.startswith("m") else one.line_id)
            for one in applied(standing, revision)
        ]
        names = {one.line_id for one in standing}
        assert all(one.line_id in names for one in kept_by_day)
        assert merged([one.line for one in effective(standing)]) == merged(wanted)
        assert account(one.line for one in standing) == account(wanted)
        assert revise(standing, wanted, final).is_empty
