"""What is expected to go wrong becomes one line and status 1; what nobody expects stays a trace."""

import os
import signal
import threading

import psycopg
import pytest

from spotadapters.embedded import EmbeddedError
from spotadapters.history.refusals import HistoryRefused
from spotadapters.postgres.migrate import MigrationError
from spotapp.background import wait_for_stop
from spotapp.commands.api import ApiFailure
from spotapp.failures import HISTORY, known_failures, one_line_failures
from spotapp.listening import AddressInUse
from spotapp.settings import SettingsError
from spotcore.errors import NotFound, SpotError, Unavailable, ValidationFailed

EXPECTED = [
    SettingsError("SPOTCORE_PORT is '0'; it must be a whole number from 1 to 65535"),
    EmbeddedError("PostgreSQL did not come up"),
    MigrationError("the schema lacks 3 migrations; first: spotcore migrate"),
    AddressInUse("cannot listen on 127.0.0.1:5000"),
    NotFound("unknown client"),
    ValidationFailed("invalid or missing: name", name=["required"]),
    Unavailable("the database is away"),
    ApiFailure("cannot reach the server"),
    HistoryRefused("a.csv: no column SpotPrice"),
    psycopg.OperationalError("connection failed"),
    FileNotFoundError(2, "No such file or directory", "/nowhere"),
    PermissionError(13, "Permission denied", "/root/x"),
]


@pytest.mark.parametrize("failure", EXPECTED, ids=lambda one: type(one).__name__)
def test_an_expected_failure_is_one_line_and_status_1(failure: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, one_line_failures(False):
        raise failure
    told = capsys.readouterr()
    assert (left.value.code, told.out) == (1, "")
    assert told.err == f"spotcore: {' '.join(str(failure).split())}\n"


@pytest.mark.parametrize("failure", EXPECTED, ids=lambda one: type(one).__name__)
def test_debug_lets_the_failure_through_as_it_is(failure: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(failure)) as raised, one_line_failures(True):
        raise failure
    assert raised.value is failure
    assert capsys.readouterr().err == ""


def test_every_known_kind_is_among_the_expected_ones() -> None:
    for kind in known_failures():
        assert any(isinstance(failure, kind) for failure in EXPECTED), kind


@pytest.mark.parametrize(
    "defect", [KeyError("x"), TypeError("x"), AssertionError("x"), RuntimeError("x"), ZeroDivisionError()]
)
def test_a_defect_of_ours_is_never_dressed_up_as_a_refusal(defect: Exception) -> None:
    with pytest.raises(type(defect)), one_line_failures(False):
        raise defect


@pytest.mark.parametrize("name", HISTORY)
def test_a_missing_package_for_bulk_prices_names_the_extra(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_line_failures(False):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    assert 'pip install "spotcore[history]"' in capsys.readouterr().err


def test_another_missing_module_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError), one_line_failures(False):
        raise ModuleNotFoundError("No module named 'spotcore.x'", name="spotcore.x")


def test_a_reader_that_has_seen_enough_is_no_failure_to_tell_of(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokenPipeError), one_line_failures(False):
        raise BrokenPipeError
    assert capsys.readouterr().err == ""


def test_a_failure_of_many_lines_is_told_in_one_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_line_failures(False):
        raise EmbeddedError("initdb failed:\n  \x1b[31mno space\x1b[0m\n\tleft [on] device\n")
    assert capsys.readouterr().err == "spotcore: initdb failed: \ufffd[31mno space\ufffd[0m left [on] device\n"


def test_what_goes_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with one_line_failures(False):
        pass
    assert capsys.readouterr() == ("", "")


def test_every_refusal_of_the_core_is_expected() -> None:
    assert issubclass(SpotError, known_failures())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_process_waits_until_it_is_told_to_stop_and_leaves_the_handlers_as_they_were(how: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    def tell() -> None:
        while signal.getsignal(how) is before[0 if how is signal.SIGINT else 1]:
            pass  # until it listens
        os.kill(os.getpid(), how)

    thread = threading.Thread(target=tell)
    thread.start()
    wait_for_stop()
    thread.join()
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
