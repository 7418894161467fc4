"""Log lines: one JSON object each, with the facts of the event, whatever they hold."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.system.logs import JsonLines, configure_logs
from spotadapters.system.tracing import working_on
from spotapp.settings import load_settings


def line(message: str = "agent_offline", level: int = logging.WARNING, **facts: Any) -> dict[str, Any]:
    record = logging.LogRecord(
        "spotcore.test", level, __file__, 1, message, facts.pop("args", ()), facts.pop("exc_info", None)
    )
    vars(record).update(facts)
    text = JsonLines().format(record)
    assert "\n" not in text
    read: dict[str, Any] = json.loads(text)
    return read


LIBRARIES = ("uvicorn.access", "uvicorn.error", "psycopg.pool")


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging as it was before."""
    root, others = logging.getLogger(), [logging.getLogger(name) for name in LIBRARIES]
    before = root.handlers[:], root.level, [(one.disabled, one.level) for one in others]
    for one in others:  # a server that ran here before had its say
        one.setLevel(logging.NOTSET)
    yield
    root.handlers[:], level, states = before
    root.setLevel(level)
    for one, (disabled, own_level) in zip(others, states, strict=True):
        one.disabled = disabled
        one.setLevel(own_level)


def test_a_line_has_a_time_a_level_a_logger_and_an_event() -> None:
    read = line()
    assert set(read) == {"at", "level", "logger", "event"}
    assert (read["level"], read["logger"], read["event"]) == ("warning", "spotcore.test", "agent_offline")
    assert abs((datetime.fromisoformat(read["at"]) - datetime.now(UTC)).total_seconds()) < 60


def test_times_are_utc_to_the_millisecond() -> None:
    read = line(created=1_737_369_900.25)
    assert read["at"] == "2025-01-20T10:45:00.250+00:00"


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL])
def test_levels_are_lower_case_words(level: int) -> None:
    assert line(level=level)["level"] == logging.getLevelName(level).lower()


def test_facts_are_fields_of_their_own() -> None:
    read = line(agent_id="a-1", count=3, flag=True, nothing=None, rows=["a", {"b": 1}])
    assert (read["agent_id"], read["count"], read["flag"], read["nothing"]) == ("a-1", 3, True, None)
    assert read["rows"] == ["a", {"b": 1}]


def test_arguments_are_put_into_the_event() -> None:
    assert line("%s of %d", args=("one", 2))["event"] == "one of 2"


@pytest.mark.parametrize(
    "value",
    [Decimal("0.0312"), datetime(2026, 3, 2, tzinfo=UTC), Path("/x"), ValueError("x"), b"\xff", object()],
    ids=lambda one: type(one).__name__,
)
def test_any_value_can_be_logged(value: Any) -> None:
    assert line(value=value)["value"] == str(value)


@given(st.text(), st.text())
def test_any_text_is_one_line_and_reads_back(message: str, fact: str) -> None:
    read = line("%s", args=(message,), fact=fact)
    assert (read["event"], read["fact"]) == (message, fact)


def test_a_new_line_in_a_fact_starts_no_line_of_its_own() -> None:
    forged = 'x\n{"level": "error", "event": "forged"}\r\nmore'
    assert line(hostname=forged)["hostname"] == forged


def test_an_exception_is_part_of_the_line() -> None:
    try:
        raise RuntimeError("it broke")
    except RuntimeError as failure:
        read = line("job_failed", logging.ERROR, exc_info=(type(failure), failure, failure.__traceback__))
    assert read["event"] == "job_failed"
    assert "RuntimeError: it broke" in read["exception"]
    assert "Traceback" in read["exception"]


def test_no_field_of_the_logging_library_shows() -> None:
    shown = set(line(taskName="Task-1", color_message="x", asctime="y"))
    assert shown == {"at", "level", "logger", "event"}


def test_a_line_within_a_request_names_it_and_one_without_does_not() -> None:
    with working_on("request-7", None):
        assert line()["request_id"] == "request-7"
    assert "request_id" not in line()


@pytest.mark.usefixtures("restored")
def test_logs_go_to_standard_error_once_and_below_the_level_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # again is the same
        configure_logs("warning")
    logging.getLogger("spotcore.x").info("quiet")
    logging.getLogger("spotcore.x").warning("loud", extra={"agent_id": "a"})
    told = capsys.readouterr()
    assert told.out == ""
    (text,) = told.err.splitlines()
    assert (json.loads(text)["event"], json.loads(text)["agent_id"]) == ("loud", "a")


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("word", ["debug", "info", "warning", "error"])
def test_every_level_of_the_settings_is_one_that_logging_knows(word: str) -> None:
    configure_logs(load_settings({"SPOTCORE_LOG_LEVEL": word}).log_level)
    assert logging.getLogger().level == getattr(logging, word.upper())


@pytest.mark.usefixtures("restored")
def test_what_libraries_say_of_every_request_and_every_lost_connection_is_left_out() -> None:
    configure_logs("debug")
    assert logging.getLogger("uvicorn.access").disabled
    assert not logging.getLogger("psycopg.pool").isEnabledFor(logging.WARNING)
    assert logging.getLogger("psycopg.pool").isEnabledFor(logging.ERROR)
    assert logging.getLogger("uvicorn.error").isEnabledFor(logging.INFO)


@pytest.mark.usefixtures("restored")
def test_a_text_that_no_stream_can_write_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    configure_logs("info")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    handler.setStream(io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", write_through=True))
    logging.getLogger("x").info("half a pair: %s", "\ud800")
    assert b"half a pair" in raw.getvalue()


def test_settings_in_a_log_line_show_no_secret() -> None:
    known = load_settings(
        {"SPOTCORE_DATABASE_URL": "postgresql://me:secret-of-mine@db/x", "SPOTCORE_ADMIN_TOKEN": "secret-of-mine-2"}
    )
    assert "secret-of-mine" not in json.dumps(line("%s", args=(known,), settings=known))
