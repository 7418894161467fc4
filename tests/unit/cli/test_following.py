"""How long a follower waits, when it gives up, and what it shows, with time told by the test (E90, 12.3)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import pytest

from spotapp.commands.api import ApiFailure, open_api
from spotapp.commands.events import FIRST_PAUSE, GIVE_UP_AFTER, LONGEST_PAUSE, PASSING, Follower
from spotapp.commands.options import Remote
from spotapp.commands.screen import Screen
from tests.support.scripted_http import ScriptedHttp, Told, refusal
from tests.unit.cli.conftest import Cli

STREAM = "GET /api/events/stream"
AWAY = refusal(503, "UNAVAILABLE", "the database is away")
ENOUGH = refusal(401, "INVALID_TOKEN", "Unknown token")


def frames(*numbers: int, event: str = "NOTIFICATION") -> Told:
    rows = (
        f'event: {event}\nid: {one}\ndata: {{"data": {{"n": {one}}}, "timestamp": "t{one}"}}\n\n' for one in numbers
    )
    return Told(200, "".join(rows).encode(), "text/event-stream")


class Time:
    """Moves by what is slept, and by nothing else."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def pause(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@contextmanager
def a_follower(
    server: ScriptedHttp, time: Time, form: str = "table", now: Callable[[], float] | None = None
) -> Iterator[Follower]:
    with open_api(server.url, "token") as api:
        yield Follower(Remote(api, Screen(form)), None, pause=time.pause, now=now or (lambda: time.now))


def follow(server: ScriptedHttp, *told: Told, form: str = "table") -> tuple[ApiFailure, Time]:
    time = Time()
    server.tell(STREAM, *told)
    with a_follower(server, time, form) as follower, pytest.raises(ApiFailure) as ended:
        follower.run()
    return ended.value, time


def test_pauses_double_from_half_a_second_to_half_a_minute(server: ScriptedHttp) -> None:
    _, time = follow(server, frames(1), *[AWAY] * 9, ENOUGH)
    assert time.slept == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert (FIRST_PAUSE, LONGEST_PAUSE) == (0.5, 30)


def test_a_stream_that_is_open_again_starts_the_pauses_anew(server: ScriptedHttp) -> None:
    _, time = follow(server, frames(1), AWAY, AWAY, frames(2), AWAY, ENOUGH)
    assert time.slept == [0.5, 1, 2, 0.5, 1]


def test_a_server_that_stays_away_is_given_up_when_nothing_older_is_replayed(server: ScriptedHttp) -> None:
    failure, time = follow(server, frames(1), AWAY)
    assert GIVE_UP_AFTER == 900
    assert 900 < time.now <= 900 + LONGEST_PAUSE
    assert "[503 UNAVAILABLE]" in str(failure)


@pytest.mark.parametrize("status", PASSING)
def test_what_passes_is_waited_for_once_the_stream_was_open(server: ScriptedHttp, status: int) -> None:
    failure, time = follow(server, frames(1), refusal(status, "X", "x"), ENOUGH)
    assert (failure.status, time.slept) == (401, [0.5, 1])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 422])
def test_what_does_not_pass_ends_it_at_once(server: ScriptedHttp, status: int) -> None:
    failure, time = follow(server, frames(1), refusal(status, "X", "x"))
    assert (failure.status, time.slept) == (status, [0.5])  # the pause is that after the end of the first stream


@pytest.mark.parametrize("told", [AWAY, refusal(429, "RATE_LIMITED", "slow down"), refusal(500, "SERVER_ERROR", "x")])
def test_nothing_is_waited_for_before_the_stream_was_open_once(server: ScriptedHttp, told: Told) -> None:
    _, time = follow(server, told)
    assert (time.slept, len(server.asked)) == ([], 1)


def test_a_stream_that_ends_before_its_first_word_is_no_stream(server: ScriptedHttp) -> None:
    failure, time = follow(server, frames())
    assert (str(failure), time.slept) == ("the stream ended", [])


def test_the_place_to_go_on_from_is_the_last_id_that_was_seen(server: ScriptedHttp) -> None:
    beat = Told(200, b'event: HEARTBEAT\ndata: {"timestamp": "t"}\n\n', "text/event-stream")
    follow(server, frames(1, 2), beat, frames(5), AWAY, ENOUGH)
    assert [asked.headers.get("Last-Event-ID") for asked in server.asked] == [None, "2", "2", "5", "5"]
    assert {asked.headers["Accept"] for asked in server.asked} == {"text/event-stream"}


def test_a_heartbeat_keeps_the_stream_alive_and_shows_nothing(
    server: ScriptedHttp, capsys: pytest.CaptureFixture[str]
) -> None:
    beat = Told(200, b'event: HEARTBEAT\ndata: {"timestamp": "t"}\n\n', "text/event-stream")
    failure, time = follow(server, beat, AWAY, ENOUGH)
    assert (failure.status, time.slept, capsys.readouterr().out) == (401, [0.5, 1], "")


def test_a_server_that_goes_away_is_told_of_in_a_dim_line_each_time(
    server: ScriptedHttp, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(server, frames(1), refusal(503, "UNAVAILABLE", "away [/dim] [red] \x1b[2J"), ENOUGH)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert all(line.endswith("…; trying again") for line in told)
    assert "[/dim] [red]" in told[1]
    assert "\x1b[2J" not in told[1]


@pytest.mark.parametrize(("breaks_at", "slept"), [(1, []), (2, [0.5])])
def test_a_connection_that_breaks_is_taken_up_again_once_it_was_open(
    server: ScriptedHttp, breaks_at: int, slept: list[float]
) -> None:
    time = Time()
    server.tell(STREAM, frames(1, 2), ENOUGH)
    looks: list[int] = []

    def now() -> float:
        looks.append(1)
        if len(looks) == breaks_at:
            raise httpx2.ReadError("the line was cut")  # while this frame is read
        return time.now

    with a_follower(server, time, now=now) as follower, pytest.raises(ApiFailure) as ended:
        follower.run()
    assert time.slept == slept
    assert ("the line was cut" in str(ended.value)) is (breaks_at == 1)
    assert [asked.headers.get("Last-Event-ID") for asked in server.asked] == [None, "1"][:breaks_at]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (
            '{"data": {"a": 1, "b": null}, "timestamp": "2026-03-02T12:00:00Z"}',
            "2026-03-02T12:00:00Z  NEWS  a=1 b=None",
        ),
        ('{"data": {}, "timestamp": "t"}', "t  NEWS  "),
        ('{"a": 1}', "  NEWS  a=1"),
        ('{"data": "plain", "timestamp": "t"}', "t  NEWS  plain"),
        ('{"data": [1, 2]}', "  NEWS  [1, 2]"),
        ("[1]", "  NEWS  [1]"),
        ("7", "  NEWS  7"),
        ("not json", "  NEWS  not json"),
    ],
)
def test_a_frame_of_any_form_is_one_line(
    server: ScriptedHttp, capsys: pytest.CaptureFixture[str], data: str, shown: str
) -> None:
    follow(server, Told(200, f"event: NEWS\nid: 1\ndata: {data}\n\n".encode(), "text/event-stream"), ENOUGH)
    assert capsys.readouterr().out == f"{shown}\n"


def test_a_frame_over_several_lines_is_one_event(server: ScriptedHttp, capsys: pytest.CaptureFixture[str]) -> None:
    text = b': a comment\nevent: NEWS\ndata: {\ndata: "a": 1}\n\n'
    follow(server, Told(200, text, "text/event-stream; charset=utf-8"), ENOUGH)
    assert capsys.readouterr().out == "  NEWS  a=1\n"


def test_a_resync_in_json_is_a_row_like_any_other_and_a_hint_beside_it_nt4(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spotapp.commands.events.FIRST_PAUSE", 0.001)
    cli.server.tell(STREAM, frames(3, event="RESYNC"), ENOUGH)
    result = cli("events", "show", "--follow", "--output", "json")
    assert '"event": "RESYNC"' in result.stdout
    assert "some events were left out" in result.stderr
