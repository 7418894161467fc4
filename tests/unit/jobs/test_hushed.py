"""Redis away is one warning a minute; what else a consumer says passes."""

import logging
from typing import Any

import pytest
from dramatiq.errors import BrokerConnectionError

from spotadapters.jobs.hushed import Hushed


def record(text: str, *args: Any, level: int = logging.CRITICAL) -> logging.LogRecord:
    return logging.LogRecord("dramatiq.worker.ConsumerThread(jobs)", level, __file__, 1, text, args, None)


AWAY = ("Consumer encountered a connection error: %s", BrokerConnectionError("Error 111 connecting to 127.0.0.1:1."))


def test_an_outage_is_told_once_a_minute_in_our_words(caplog: pytest.LogCaptureFixture) -> None:
    at = [0.0]
    hushed = Hushed(lambda: at[0])
    with caplog.at_level(logging.WARNING):
        for at[0] in (0.0, 3.0, 59.9, 60.0, 63.0):
            assert hushed.filter(record(*AWAY)) is False
    assert [(one.message, one.levelname) for one in caplog.records] == [("queue_away", "WARNING")] * 2
    assert vars(caplog.records[0])["reason"] == "Error 111 connecting to 127.0.0.1:1."


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        (record("Consumer encountered an unexpected error."), True), (record("Failed to ack message %r", "m1"), True),
        (record("Restarting consumer in %0.2f seconds.", 3.0, level=logging.INFO), False),
    ],
)  # fmt: skip
def test_defects_pass_and_the_hum_of_starting_again_does_not(
    line: logging.LogRecord, passes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert Hushed().filter(line) is passes
    assert caplog.records == []
