"""GR-5: instants are aware, UTC and handed in."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.change import Change
from spotcore.errors import ValidationFailed
from spotcore.instants import earliest, require_utc
from tests.support.rule_builders import START, an_aggregate, decided, later


@given(st.datetimes())
def test_gr5_t24_a_naive_instant_is_refused(naive: datetime) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        require_utc(naive)
    assert list(refusal.value.details) == ["at"]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_gr5_an_aware_instant_becomes_the_same_instant_in_utc(naive: datetime, minutes: int) -> None:
    there = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert require_utc(there) == there
    assert require_utc(there).tzinfo is UTC
    assert require_utc(require_utc(there)) == there


def test_gr5_no_decision_is_taken_at_a_naive_instant() -> None:
    naive = datetime(2026, 3, 2, 12)
    with pytest.raises(ValidationFailed):
        Change(an_aggregate(), naive)
    with pytest.raises(ValidationFailed):
        decided(an_aggregate(), lambda change: change.now, naive)


def test_gr5_a_decision_in_another_zone_is_taken_in_utc() -> None:
    there = START.astimezone(timezone(timedelta(hours=5)))
    assert decided(an_aggregate(), lambda change: change.now.tzinfo, there).answer is UTC


@pytest.mark.parametrize(
    ("instants", "first"),
    [((), None), ((None, None), None), ((later(5), None, later(3)), later(3)), ((START,), START)],
)
def test_the_earliest_of_what_is_known(instants: tuple[datetime | None, ...], first: datetime | None) -> None:
    assert earliest(*instants) == first
