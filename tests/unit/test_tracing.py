"""A request's marks reach log lines and audit rows, and end with it."""

import json
import logging

import pytest

from spotadapters.system.logs import JsonLines
from spotadapters.system.tracing import current, working_on

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_marks_hold_inside_and_nowhere_else() -> None:
    with working_on("req-1", PARENT):
        assert current() == {"request_id": "req-1", "traceparent": PARENT}
        with working_on("req-2", None):
            assert current() == {"request_id": "req-2"}
        assert current()["request_id"] == "req-1"
    assert current() == {}


@pytest.mark.parametrize(
    "header",
    ["", "x", PARENT.upper(), PARENT + "-extra", "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
     "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", "'; drop table audit_events"],
)  # fmt: skip
def test_a_malformed_traceparent_is_dropped(header: str) -> None:
    with working_on("req", header):
        assert current() == {"request_id": "req"}


def test_every_log_line_of_a_request_names_it() -> None:
    record = logging.makeLogRecord({"msg": "agent_offline", "levelname": "WARNING", "name": "x", "agent_id": "a"})
    with working_on("req-1", PARENT):
        line = json.loads(JsonLines().format(record))
    assert (line["event"], line["request_id"], line["traceparent"]) == ("agent_offline", "req-1", PARENT)
    assert line["agent_id"] == "a"
    assert "request_id" not in json.loads(JsonLines().format(record))
