"""When a change was seen: every spelling of a time is UTC or says its offset (GR-5); leap days, summer time, bounds."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.support.histories import FUTURE, HEAD, NO_TIME, NOW, TOO_OLD, buckets_of, judged_one_by_one, written


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


LEAP = at("2024-02-29T10:00:00")

SPELLED: dict[str, datetime | str] = {
    "2024-02-29T10:00:00Z": LEAP,
    "2024-02-29T10:00:00+00:00": LEAP,
    "2024-02-29T10:00:00-00:00": LEAP,
    "2024-02-29T10:00:00+00": LEAP,
    "2024-02-29T10:00:00.000Z": LEAP,
    "2024-02-29T10:00:00.000000+00:00": LEAP,
    "2024-02-29T10:00Z": LEAP,
    "2024-02-29T10:00:00": LEAP,  # no offset means UTC
    "2024-02-29 10:00:00": LEAP,
    "2024-02-29 10:00": LEAP,
    "2024-02-29 10:00:00 UTC": LEAP,
    " 2024-02-29T10:00:00Z ": LEAP,
    "2024-02-29": at("2024-02-29T00:00:00"),
    "2024-02-29T10:00:00.123456Z": LEAP + timedelta(microseconds=123_456),
    "2024-02-29T10:00:00.5Z": LEAP + timedelta(milliseconds=500),
    # an offset is not dropped
    "2024-02-29T15:30:00+05:30": LEAP,
    "2024-02-29T15:45:00+05:45": LEAP,
    "2024-02-29T05:00:00-05:00": LEAP,
    "2024-02-29 02:00:00-08": LEAP,
    "2024-03-01T00:00:00+14:00": LEAP,
    "2024-02-28T22:00:00-12:00": LEAP,
    "2024-02-29 05:00:00 America/New_York": LEAP,
    # seconds since 1970
    "1709200800": LEAP,
    "1709200800.0": LEAP,
    "1709200800.25": LEAP + timedelta(milliseconds=250),
    "1.7092008e9": LEAP,
    # days there are, and days there are not
    "2024-02-29T23:59:59Z": at("2024-02-29T23:59:59"),
    "2024-03-01T00:00:00Z": at("2024-03-01T00:00:00"),
    "2023-02-29T00:00:00Z": NO_TIME,
    "2100-02-29T00:00:00Z": NO_TIME,
    "2024-02-30T00:00:00Z": NO_TIME,
    "2024-13-01T00:00:00Z": NO_TIME,
    "2024-00-01T00:00:00Z": NO_TIME,
    "2024-02-29T25:00:00Z": NO_TIME,
    "2024-02-29T10:60:00Z": NO_TIME,
    "2016-12-31T23:59:60Z": NO_TIME,  # a leap second
    # no times
    "29/02/2024": NO_TIME,
    "02/29/2024 10:00": NO_TIME,
    "Feb 29 2024": NO_TIME,
    "Thu Feb 29 10:00:00 2024": NO_TIME,
    "yesterday": NO_TIME,
    "now": NO_TIME,
    "infinity": NO_TIME,
    "-infinity": NO_TIME,
    "nan": NO_TIME,
    "1e400": NO_TIME,
    "2024-02-29T10:00:00 Mars/Olympus": NO_TIME,
    # outside of what can be
    "2005-12-31T23:59:59Z": TOO_OLD,
    "2006-01-01T00:00:00Z": at("2006-01-01T00:00:00"),
    "1970-01-01T00:00:00Z": TOO_OLD,
    "0001-01-01T00:00:00Z": TOO_OLD,
    "0": TOO_OLD,
    "-1": TOO_OLD,
    "20240229": TOO_OLD,  # a date without dashes reads as seconds
    "2026-03-02T12:00:00Z": NOW,
    "2026-03-02T12:02:00Z": NOW + timedelta(minutes=2),
    "2026-03-02T12:02:00.000001Z": FUTURE,
    "2026-03-02T13:02:00+01:00": NOW + timedelta(minutes=2),
    "2026-03-02T07:02:01-05:00": FUTURE,
    "9999-12-31T00:00:00Z": FUTURE,
    "1709200800000": FUTURE,  # milliseconds since 1970
}


def test_every_spelling_of_a_time_means_what_it_says_gr5_dq2(tmp_path: Path) -> None:
    lines = [f'"{spelled}",m5.large,{{zone}},0.03' for spelled in SPELLED]
    assert dict(zip(SPELLED, judged_one_by_one(tmp_path, lines), strict=True)) == SPELLED


CHANGES_OF_CLOCKS = {
    "New York, forward": ("2026-03-08T01:30:00-05:00", "2026-03-08T03:30:00-04:00", timedelta(hours=1)),
    "New York, back": ("2025-11-02T01:30:00-04:00", "2025-11-02T01:30:00-05:00", timedelta(hours=1)),
    "London, forward": ("2025-03-30T00:30:00+00:00", "2025-03-30T02:30:00+01:00", timedelta(hours=1)),
    "Lord Howe, half an hour": ("2025-10-05T01:30:00+10:30", "2025-10-05T02:30:00+11:00", timedelta(minutes=30)),
}


@pytest.mark.parametrize("where", CHANGES_OF_CLOCKS)
def test_clocks_that_are_changed_neither_lose_nor_repeat_time(tmp_path: Path, where: str) -> None:
    before, after, apart = CHANGES_OF_CLOCKS[where]
    lines = [f"{before},m5.large,{{zone}},0.03", f"{after},m5.large,{{zone}},0.03"]
    now = datetime(2026, 4, 1, tzinfo=UTC)
    rows = "".join(line.format(zone="us-east-1a") + "\n" for line in lines).replace("0.03\n", "0.04\n", 1)
    found = buckets_of(written(tmp_path, "clocks.csv", HEAD + rows), now=now)
    assert [one.price for one in found].count("0.040000") == apart // timedelta(minutes=5)
    assert found[-1].start - found[0].start == apart
    assert len({one.start for one in found}) == len(found) == apart // timedelta(minutes=5) + 1


def test_a_leap_day_has_288_buckets_and_28_february_of_other_years_is_followed_by_march(tmp_path: Path) -> None:
    lines = [f"{year}-02-28T00:00:00Z,m5.large,{year}-us-1a,0.03\n{year}-03-01T00:00:00Z,m5.large,{year}-us-1a,0.04\n"
             for year in (2023, 2024)]  # fmt: skip
    found = {
        year: buckets_of(written(tmp_path, f"{year}.csv", HEAD + text))
        for year, text in zip((2023, 2024), lines, strict=True)
    }
    assert {year: len(rows) for year, rows in found.items()} == {2023: 289, 2024: 2 * 288 + 1}
    assert [one.start.strftime("%m-%d") for one in found[2024]].count("02-29") == 288


def test_the_bounds_follow_the_clock_that_is_handed_in(tmp_path: Path) -> None:
    file = written(tmp_path, "history.csv", HEAD + "2026-02-01T00:00:00Z,m5.large,us-east-1a,0.03\n")
    assert buckets_of(file, now=at("2026-01-31T23:58:00")) != []
    assert buckets_of(file, now=at("2026-01-31T23:57:59")) == []
    there = timezone(timedelta(hours=5, minutes=30))
    assert buckets_of(file, now=at("2026-01-31T23:58:00").astimezone(there)) != []
