"""Three presentations of one payload (http-api 1.1, 1.2)."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from spotadapters.http.envelope import RESERVED, Answer, failure, request_id_of, success
from tests.support.world import START
from tests.unit.http.frame import Frame

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def shown(answer: Answer, *, mirror: bool = False, shape: str = "envelope") -> Any:
    return json.loads(success(answer, mirror=mirror, shape=shape))


def test_a_success_is_an_envelope() -> None:
    assert shown(Answer(data={"a": 1})) == {"status": "success", "data": {"a": 1}, "error": None}


def test_a_message_stands_beside_the_data() -> None:
    assert shown(Answer(message="Done")) == {"status": "success", "data": {}, "error": None, "message": "Done"}


def test_the_mirror_copies_each_key_of_data_to_the_top() -> None:
    assert shown(Answer(data={"agent_id": "a", "config": {"x": 1}}), mirror=True) == {
        "status": "success",
        "data": {"agent_id": "a", "config": {"x": 1}},
        "error": None,
        "agent_id": "a",
        "config": {"x": 1},
    }


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_the_mirror_never_covers_a_key_of_the_envelope(name: str) -> None:
    body = shown(Answer(data={name: "from data", "other": 1}), mirror=True)
    assert body["data"][name] == "from data"
    assert body.get(name) != "from data"
    assert body["other"] == 1


def test_a_list_cannot_be_mirrored_and_stays_in_data() -> None:
    assert shown(Answer(data=[1]), mirror=True) == {"status": "success", "data": [1], "error": None}


def test_the_legacy_shape_is_the_data_and_nothing_around_it() -> None:
    assert shown(Answer(data=[{"id": "a"}], message="Done"), shape="legacy") == [{"id": "a"}]


@pytest.mark.parametrize("data", [{}, [], None, {"a": None}])
@pytest.mark.parametrize("mirror", [True, False])
def test_no_success_is_empty_or_falsy_t03(data: Any, mirror: bool) -> None:
    assert shown(Answer(data=data), mirror=mirror)


def test_an_error_has_a_text_and_a_code_and_no_data() -> None:
    assert json.loads(failure("NOT_FOUND", "unknown agent", None, {})) == {
        "status": "error",
        "data": None,
        "error": "unknown agent",
        "code": "NOT_FOUND",
    }


def test_details_come_only_when_there_are_any() -> None:
    assert json.loads(failure("VALIDATION_ERROR", "no", {"a": ["b"]}, {}))["details"] == {"a": ["b"]}
    assert "details" not in json.loads(failure("VALIDATION_ERROR", "no", {}, {}))


# ---- the request id


@pytest.mark.parametrize("given", ["a", "req-1:2/3", "x" * 128, "11111111-2222-3333-4444-555555555555"])
def test_the_callers_request_id_is_echoed(given: str) -> None:
    assert request_id_of(given) == given


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 129, "a\nb", "a\x00", "é", "a\x7f"])
def test_anything_else_is_replaced_so_that_no_log_line_can_be_forged(given: str | None) -> None:
    assert UUID.fullmatch(request_id_of(given))


# ---- over the wire


ANSWERS = [
    ("GET", "/health", 200),
    ("GET", "/", 200),
    ("GET", "/api/none", 404),
    ("PATCH", "/health", 405),
    ("GET", "/api/admin/stats-of-nobody", 404),
    ("POST", "/api/agents/None/heartbeat", 404),
    ("POST", "/api/admin/clients/create", 400),
]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_is_json_with_a_request_id(frame: Frame, method: str, path: str, status: int) -> None:
    _, token = frame.client()
    answer = frame.call(
        method, path, token if "/agents/" in path else "the-admin-token", headers={"X-Request-ID": "q-1"}
    )
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-request-id"] == "q-1"
    assert answer.json()


def test_an_answer_without_a_request_id_of_the_caller_gets_one(frame: Frame) -> None:
    assert UUID.fullmatch(frame.call("GET", "/health").headers["x-request-id"])


def test_what_agents_parse_is_at_the_top_and_in_data_t02(frame: Frame) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    body = frame.call("POST", f"/api/agents/{agent}/heartbeat", token, json={}).json()
    assert body["config"] == body["data"]["config"]
    assert body["status"] == "success"  # the agent's own status word is in data alone
    assert body["data"]["status"] == "online"


@pytest.mark.parametrize(("shape", "is_bare"), [("legacy", True), ("envelope", False), ("LEGACY", False), ("x", False)])
def test_a_header_asks_for_a_shape_and_other_values_are_ignored_1_2(frame: Frame, shape: str, is_bare: bool) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    body = frame.call("GET", f"/api/agents/{agent}/config", token, headers={"X-Response-Shape": shape}).json()
    assert ("data" not in body) is is_bare
    assert body["enabled"] is True


def test_an_error_is_an_envelope_in_every_shape_1_2(frame: Frame) -> None:
    body = frame.call("GET", "/api/agents/x/config", "wrong", headers={"X-Response-Shape": "legacy"}).json()
    assert (body["status"], body["code"], body["data"]) == ("error", "INVALID_TOKEN", None)


@pytest.mark.parametrize("shape", ["envelope", "legacy"])
def test_a_long_list_made_while_it_is_written_reads_as_one_that_was_there(shape: str) -> None:
    rows = [{"at": START, "price": Decimal("0.0300"), "count": 10**20, "name": "é"}, {}]
    made = success(Answer(data=iter(rows)), mirror=False, shape=shape)
    assert json.loads(made) == json.loads(success(Answer(data=rows), mirror=False, shape=shape))
    assert json.loads(success(Answer(data=iter(())), mirror=False, shape="legacy")) == []
