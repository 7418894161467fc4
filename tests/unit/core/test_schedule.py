"""When jobs are due and when they are late (JB-2, JB-3, JB-8)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore.errors import ValidationFailed
from spotcore.schedule import DAY, Lateness, Schedule, daily, every

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
schedules = st.one_of(
    st.builds(lambda seconds: every(seconds=seconds), st.integers(1, 100_000)),
    st.builds(daily, st.integers(0, 23), st.integers(0, 59)),
)


@given(schedules, moments)
def test_jb2_every_instant_lies_in_exactly_one_slot(schedule: Schedule, now: datetime) -> None:
    slot = schedule.slot(now)
    assert slot <= now < schedule.next_slot(now) == slot + schedule.every
    assert schedule.slot(slot) == slot
    assert schedule.slot(slot - timedelta(microseconds=1)) == slot - schedule.every


@pytest.mark.parametrize(
    ("now", "slot"),
    [
        (NOON, datetime(2026, 3, 2, 2, tzinfo=UTC)),
        (datetime(2026, 3, 2, 2, tzinfo=UTC), datetime(2026, 3, 2, 2, tzinfo=UTC)),
        (datetime(2026, 3, 2, 1, 59, 59, tzinfo=UTC), datetime(2026, 3, 1, 2, tzinfo=UTC)),
    ],
)
def test_a_daily_job_has_its_hour_of_utc(now: datetime, slot: datetime) -> None:
    assert daily(2).slot(now) == slot


def test_the_day_of_a_change_to_summer_time_has_one_slot_like_any_other() -> None:
    march = datetime(2026, 3, 29, tzinfo=UTC)
    slots = {daily(2).slot(march + timedelta(hours=hour)) for hour in range(3, 24)}
    assert len(slots) == 1


@pytest.mark.parametrize(("hour", "minute"), [(24, 0), (-1, 0), (0, 60), (0, -1)])
def test_a_time_that_no_day_has_is_refused(hour: int, minute: int) -> None:
    with pytest.raises(ValidationFailed, match="no time of a day"):
        daily(hour, minute)


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_interval_of_nothing_is_refused(seconds: int) -> None:
    with pytest.raises(ValidationFailed, match="longer than nothing"):
        every(seconds=seconds)


@pytest.mark.parametrize(
    ("schedule", "silent", "late"),
    [
        (every(seconds=60), 180, None),
        (every(seconds=60), 181, Lateness.WARNING),
        (every(seconds=1), 15, None),
        (every(seconds=1), 16, Lateness.WARNING),
        (every(seconds=1, is_vital=True), 10, None),
        (every(seconds=1, is_vital=True), 11, Lateness.CRITICAL),
        (daily(2), 3 * 86_400, None),
        (daily(2), 3 * 86_400 + 1, Lateness.WARNING),
    ],
)
def test_jb8_three_intervals_are_late_and_ten_seconds_without_the_vital_job_critical(
    schedule: Schedule, silent: int, late: Lateness | None
) -> None:
    since = NOON - timedelta(seconds=silent)
    assert schedule.lateness(since, NOON - DAY * 100, NOON) is late
    assert schedule.lateness(None, since, NOON) is late  # never ran: from when it was made known


@pytest.mark.parametrize(("seconds", "after"), [(1, 60), (60, 60), (600, 600), (3_600, 3_600), (86_400, 3_600)])
def test_a_slot_whose_winner_died_opens_again_within_the_hour(seconds: int, after: int) -> None:
    assert NOON - every(seconds=seconds).reclaim_before(NOON) == timedelta(seconds=after)
