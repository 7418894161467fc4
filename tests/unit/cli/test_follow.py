"""``events show --follow``: frames one a line; a broken stream goes on after the last event seen (E90)."""

import json

import pytest

from spotapp.commands import events
from tests.support.scripted_http import Told, refusal
from tests.unit.cli.conftest import Cli

STREAM = "GET /api/events/stream"


def frames(*rows: tuple[str, str, dict[str, object]]) -> Told:
    text = "".join(f"event: {name}\nid: {number}\ndata: {json.dumps(body)}\n\n" for name, number, body in rows)
    return Told(200, text.encode(), "text/event-stream")


def launched(number: str) -> tuple[str, str, dict[str, object]]:
    return "INSTANCE_RUNNING", number, {"data": {"instance_id": f"i-{number}"}, "timestamp": "2026-03-02T12:00:00Z"}


HELLO: tuple[str, str, dict[str, object]] = ("CONNECTED", "", {"client_id": None, "timestamp": "2026-03-02T12:00:00Z"})
BEAT: tuple[str, str, dict[str, object]] = ("HEARTBEAT", "", {"timestamp": "2026-03-02T12:00:30Z"})
ENOUGH = refusal(401, "INVALID_TOKEN", "Unknown token")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.01)


def test_a_broken_stream_goes_on_after_the_last_event(cli: Cli) -> None:
    first, second = frames(HELLO, launched("1"), BEAT, launched("2")), frames(HELLO, launched("3"))
    cli.server.tell(STREAM, first, refusal(503, "UNAVAILABLE", "away"), second, ENOUGH)
    result = cli("events", "show", "--follow", "--client", "client-1")
    assert result.exit_code == 1  # the token has ended
    lines = result.stdout.splitlines()
    assert [word in line for line, word in zip(lines, ("i-1", "i-2", "i-3"), strict=True)] == [True] * 3
    assert [asked.headers.get("Last-Event-ID") for asked in cli.server.asked] == [None, "2", "2", "3"]
    assert {asked.query["client_id"] for asked in cli.server.asked} == {"client-1"}


def test_json_is_one_object_a_line(cli: Cli) -> None:
    cli.server.tell(STREAM, frames(launched("1"), launched("2")), ENOUGH)
    result = cli("events", "show", "--follow", "--output", "json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["event"], row["id"], row["data"]["data"]["instance_id"]) for row in rows] == [
        ("INSTANCE_RUNNING", "1", "i-1"),
        ("INSTANCE_RUNNING", "2", "i-2"),
    ]
