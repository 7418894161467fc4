"""Refusals as statuses (http-api 1.5)."""

import inspect
import logging

import pytest

from spotadapters.http.errors import STATUS, details_of, message_of
from spotcore import errors
from spotcore.config import AgentConfig
from spotcore.errors import ConfigConflict, InvariantViolated, SpotError, StateConflict, SwitchBlocked, Unavailable
from tests.unit.http.frame import AWAY, Frame

CONTRACT = {
    400: "VALIDATION_ERROR MUTUALLY_EXCLUSIVE AGENT_DISABLED MANUAL_REPLICA_DISABLED REPLICA_EXISTS REPLICA_NOT_READY "
    "REPLICA_INACTIVE NO_SUITABLE_POOL POOL_MISMATCH NOT_PRIMARY UNSUPPORTED_FILE_TYPE CONFIRMATION_REQUIRED "
    "UNSUPPORTED_OPERATION",
    401: "UNAUTHORIZED INVALID_AUTH_FORMAT INVALID_TOKEN",
    403: "INACTIVE_CLIENT FORBIDDEN AUTO_SWITCH_DISABLED UPLOAD_DISABLED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CLIENT_EXISTS DUPLICATE_EMAIL STATE_CONFLICT SWITCH_BLOCKED REPLICA_NOT_PROMOTABLE IS_PRIMARY "
    "LOGICAL_AGENT_CONFLICT INSTANCE_OWNED LIMIT_REACHED CONFIG_CONFLICT DUPLICATE_REQUEST",
    413: "PAYLOAD_TOO_LARGE",
    422: "IDEMPOTENCY_KEY_REUSED",
    429: "RATE_LIMITED",
    500: "SERVER_ERROR",
    503: "UNAVAILABLE",
}
REFUSALS = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, SpotError)]


def test_the_table_is_the_contracts() -> None:
    assert {code: status for status, codes in CONTRACT.items() for code in codes.split()} == STATUS


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_of_the_core_has_a_status(refusal: type[SpotError]) -> None:
    assert refusal.code in STATUS


@pytest.mark.parametrize("refusal", [Unavailable, InvariantViolated, SpotError])
@pytest.mark.parametrize(
    "text", ["pool exhausted", "failed getting connection", "psycopg.OperationalError on 10.0.0.1"]
)
def test_no_5xx_tells_what_happened_inside_t27(refusal: type[SpotError], text: str) -> None:
    error = refusal(text, host="10.0.0.1")
    said = message_of(error).lower()
    assert details_of(error) is None
    assert not any(word in said for word in ("pool", "connection", "psycopg", "10.0.0.1", "database"))


def test_a_refusal_says_its_message_and_details() -> None:
    error = SwitchBlocked("a guard forbids the switch", guards=("COOLDOWN",))
    assert message_of(error) == "a guard forbids the switch"
    assert details_of(error) == {"guards": ("COOLDOWN",)}


def test_the_name_of_a_constraint_stays_inside() -> None:
    assert details_of(StateConflict("try again", constraint="one_primary", agent_id="a")) == {}


def test_a_config_conflict_shows_the_current_object_of_section_5() -> None:
    details = details_of(ConfigConflict("changed meanwhile", config=AgentConfig(), config_version=4))
    assert details is not None
    assert details["config"].config_version == 4
    assert details["config"].terminate_wait_minutes == 5


# ---- over the wire


def test_an_unknown_path_and_an_unknown_id_read_differently_t28(frame: Frame) -> None:
    _, token = frame.client()
    path = frame.call("GET", "/api/agents/x/nothing", token)
    row = frame.call("GET", "/api/agents/x/config", token)
    assert (path.status_code, row.status_code) == (404, 404)
    assert path.json()["code"] == row.json()["code"] == "NOT_FOUND"
    assert path.json()["error"] != row.json()["error"]


def test_a_wrong_method_is_405_and_allow_names_all_of_the_path(frame: Frame) -> None:
    answer = frame.call("PATCH", "/api/agents/a/replicas")
    assert answer.status_code == 405
    assert answer.json()["code"] == "METHOD_NOT_ALLOWED"
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_head_answers_where_get_does_with_nothing_in_it(frame: Frame) -> None:
    answer = frame.call("HEAD", "/health")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["pending-commands", "commands/pending", "commands/stream"])
def test_head_never_takes_a_command_from_an_agent(frame: Frame, path: str) -> None:
    answer = frame.call("HEAD", f"/api/agents/a/{path}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


def test_an_unexpected_failure_is_a_fixed_text_and_a_log_line_with_the_request_id(
    frame: Frame, caplog: pytest.LogCaptureFixture
) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    frame.storage.failure = RuntimeError("secret detail")
    with caplog.at_level(logging.ERROR, "spotadapters.http"):
        answer = frame.call("GET", f"/api/agents/{agent}/config", token, headers={"X-Request-ID": "q-7"})
    assert answer.status_code == 500
    assert answer.json()["code"] == "SERVER_ERROR"
    assert "secret" not in answer.text
    ours = [record for record in caplog.records if record.name == "spotadapters.http"]
    assert [vars(record)["request_id"] for record in ours] == ["q-7"]


def test_a_failure_outside_every_handler_wears_the_envelope_too(frame: Frame, caplog: pytest.LogCaptureFixture) -> None:
    frame.lanes.close()  # no thread takes the work any more
    with caplog.at_level(logging.ERROR, "spotadapters.http"):
        answer = frame.call("GET", "/health", headers={"X-Request-ID": "q-8"})
    assert (answer.status_code, answer.json()["code"]) == (500, "SERVER_ERROR")
    assert answer.headers["x-request-id"] == "q-8"
    assert "shutdown" not in answer.text
    assert [vars(record)["request_id"] for record in caplog.records] == ["q-8"]


def test_a_database_that_is_away_is_503_and_never_404_t01(frame: Frame) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    frame.storage.failure = AWAY
    for path in (f"/api/agents/{agent}", f"/api/agents/{agent}/config", f"/api/agents/{agent}/pending-commands"):
        answer = frame.call("GET", path, token)
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
        assert "pool" not in answer.text
        assert "connection" not in answer.text
