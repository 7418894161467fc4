"""What the log says of a refusal that is ours to mend."""

import logging

import psycopg
import pytest

from spotadapters.http.routes.health import ROOT
from spotadapters.http.sent import refusal_sent
from spotadapters.postgres.errors import translated
from spotcore.errors import Unavailable


def test_a_database_that_refuses_is_quoted_in_the_log_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    said = 'could not extend file "base/1": No space left on device'
    with pytest.raises(Unavailable) as refused, translated():
        raise psycopg.errors.DiskFull(f"{said}\nHINT:  Check free disk space.")
    with caplog.at_level(logging.ERROR):
        sent = refusal_sent(refused.value, "r1", ROOT)
    (record,) = caplog.records
    assert (record.message, vars(record)["code"], vars(record)["reason"]) == ("request_refused", "UNAVAILABLE", said)
    assert record.exc_info is None
    assert (sent.status, b"No space" in sent.body) == (503, False)


def test_a_refusal_without_a_cause_says_its_own_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        refusal_sent(Unavailable("the database cannot be reached"), "r1", ROOT)
    assert vars(caplog.records[0])["reason"] == "the database cannot be reached"
