"""The same request again (http-api 2.5, domain rules 4.8)."""

import json
from typing import Any

import pytest
from httpx2 import Response

from spotcore.events import EventKind
from spotcore.ids import ClientId
from tests.unit.http.frame import ADMIN, AWAY, Frame

CREATE = "/api/admin/clients/create"
REPLAY = "x-idempotent-replay"
MACHINE = "i-0000000000000000a"


def create(frame: Frame, name: str, key: str | None = None, **body: Any) -> Response:
    headers = {"X-Request-ID": key} if key is not None else {}
    return frame.call("POST", CREATE, json={"name": name, **body}, headers=headers)


def clients(frame: Frame) -> list[str]:
    return sorted(client.name for client in frame.storage.memory.tables.clients.values())


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_the_same_key_and_body_gives_the_stored_answer_and_does_nothing_twice_id_2(frame: Frame) -> None:
    first, again = create(frame, "Acme", "k"), create(frame, "Acme", "k")
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert REPLAY not in first.headers
    assert again.headers[REPLAY] == "true"
    assert clients(frame) == ["Acme"]


def test_the_key_may_stand_in_the_body_id_1(frame: Frame) -> None:
    first, again = (create(frame, "Acme", request_id="k") for _ in range(2))
    assert first.json() == again.json()
    assert again.headers[REPLAY] == "true"


def test_the_header_wins_over_the_body(frame: Frame) -> None:
    create(frame, "Acme", "k", request_id="b")
    assert code(create(frame, "Beta", "k", request_id="c")) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert create(frame, "Gamma", request_id="b").status_code == 201


def test_another_body_under_the_same_key_is_422_and_does_nothing_id_3(frame: Frame) -> None:
    create(frame, "Acme", "k")
    assert code(create(frame, "Beta", "k")) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert clients(frame) == ["Acme"]


def test_the_key_on_another_path_is_unrelated(frame: Frame) -> None:
    client_id = create(frame, "Acme", "k").json()["data"]["client"]["id"]
    answer = frame.call("POST", f"/api/admin/clients/{client_id}/regenerate-token", headers={"X-Request-ID": "k"})
    assert answer.status_code == 200
    assert REPLAY not in answer.headers


def test_the_key_of_another_client_is_unrelated(frame: Frame) -> None:
    answers = []
    for name, machine in (("Acme", "i-0a"), ("Beta", "i-0b")):
        _, token = frame.client(name)
        agent = frame.agent(token, machine)
        body = {"agent_id": "x"}
        answers.append(
            frame.call("POST", f"/api/agents/{agent}/replicas", token, json=body, headers={"X-Request-ID": "k"})
        )
    assert all(REPLAY not in one.headers for one in answers)


def test_two_agents_of_one_client_do_not_share_a_key(frame: Frame) -> None:
    _, token = frame.client()
    paths = [f"/api/agents/{frame.agent(token, f'i-0{name}', name)}/replicas" for name in ("a", "b")]
    answers = [frame.call("POST", path, token, json={}, headers={"X-Request-ID": "k"}) for path in paths]
    assert all(REPLAY not in one.headers for one in answers)


def test_a_refusal_is_an_answer_too_and_replays_with_its_header_id_5(frame: Frame) -> None:
    create(frame, "Acme")
    first, again = create(frame, "Acme", "k"), create(frame, "Acme", "k")
    assert code(first) == code(again) == (409, "CLIENT_EXISTS")
    assert first.json() == again.json()
    assert REPLAY not in first.headers
    assert again.headers[REPLAY] == "true"


def test_a_refusal_replays_its_details(frame: Frame) -> None:
    first, again = create(frame, " ", "k"), create(frame, " ", "k")
    assert code(first) == (400, "VALIDATION_ERROR")
    assert first.json()["details"] == again.json()["details"] == {"name": ["use 1 to 255 characters"]}


def test_a_refusal_under_a_key_leaves_no_trace_of_the_work(frame: Frame) -> None:
    before = len(frame.storage.memory.tables.events)
    create(frame, " ", "k")
    assert len(frame.storage.memory.tables.events) == before
    assert clients(frame) == []


def test_a_server_error_is_not_remembered_so_the_same_key_may_succeed_id_5_failure_44(frame: Frame) -> None:
    frame.storage.failure = AWAY
    assert create(frame, "Acme", "k").status_code == 503
    frame.storage.failure = None
    assert create(frame, "Acme", "k").status_code == 201
    assert REPLAY not in create(frame, "Beta", "other").headers


def test_without_a_key_every_call_is_its_own(frame: Frame) -> None:
    assert create(frame, "Acme").status_code == 201
    assert code(create(frame, "Acme")) == (409, "CLIENT_EXISTS")


def test_an_empty_key_is_none(frame: Frame) -> None:
    create(frame, "Acme", "")
    assert create(frame, "Beta", "").status_code == 201


@pytest.mark.parametrize("how", ["header", "body"])
def test_a_key_over_128_characters_is_refused_because_a_shortened_one_would_be_shared(frame: Frame, how: str) -> None:
    long = "k" * 129
    answer = create(frame, "Acme", long) if how == "header" else create(frame, "Acme", request_id=long)
    assert code(answer) == (400, "VALIDATION_ERROR")
    assert "request_id" in answer.json()["details"]
    assert create(frame, "Acme", "k" * 128).status_code == 201


@pytest.mark.parametrize("named", [5, True, ["k"], {"k": 1}, None])
def test_a_request_id_that_is_no_text_is_no_key(frame: Frame, named: Any) -> None:
    assert create(frame, "Acme", request_id=named).status_code == 201
    assert create(frame, "Beta", request_id=named).status_code == 201


@pytest.mark.parametrize("escape", [rb"\u0000", rb"\ud800", rb"\u001b"])
def test_a_key_in_the_body_may_hold_what_no_column_takes(frame: Frame, escape: bytes) -> None:
    body = b'{"name":"Acme","request_id":"k' + escape + b'"}'
    assert frame.call("POST", CREATE, content=body).status_code == 201
    stored = frame.storage.memory.tables.answers
    assert all("\x00" not in key and key.encode() for _, key in stored)


@pytest.mark.parametrize("client_id", ["a%00b", "x" * 128 * 70, "%20", "a b"])
def test_whatever_the_path_holds_its_scope_is_a_short_word(frame: Frame, client_id: str) -> None:
    path = f"/api/admin/clients/{client_id}/regenerate-token"
    assert frame.call("POST", path, headers={"X-Request-ID": "k"}).status_code == 404
    assert all(len(scope) == 64 and scope.isalnum() for scope, _ in frame.storage.memory.tables.answers)


# ---- secrets


def test_a_token_is_never_stored_with_the_answer_z10(frame: Frame) -> None:
    token = create(frame, "Acme", "k").json()["data"]["client"]["token"]
    [stored] = frame.storage.memory.tables.answers.values()
    assert stored.body is not None
    assert token.encode() not in stored.body
    assert json.loads(stored.body)["data"]["client"]["token"] is None


def test_a_replay_shows_the_token_by_reading_it_back_which_is_audited_cl_2(frame: Frame) -> None:
    first, again = create(frame, "Acme", "k"), create(frame, "Acme", "k")
    assert again.json()["data"]["client"]["token"] == first.json()["data"]["client"]["token"]
    kinds = [event.kind for event in frame.storage.memory.tables.events]
    assert kinds.count(EventKind.TOKEN_VIEWED) == 1


def test_a_repeated_rotation_rotates_once(frame: Frame) -> None:
    client_id, _ = frame.client()
    path, headers = f"/api/admin/clients/{client_id}/regenerate-token", {"X-Request-ID": "k"}
    first, again = (frame.call("POST", path, json={}, headers=headers).json()["data"] for _ in range(2))
    assert first["token"] == again["token"]
    assert frame.call("GET", "/api/client/validate", first["token"]).status_code == 200


# ---- where no key counts


@pytest.mark.parametrize("path", ["heartbeat", "shutdown", "pricing-report", "termination-imminent"])
def test_a_stale_key_on_every_request_freezes_nothing_t05(frame: Frame, path: str) -> None:
    _, token = frame.client()
    agent, headers = frame.agent(token), {"X-Request-ID": "set-once-and-sent-for-ever"}
    for _ in range(3):
        answer = frame.call("POST", f"/api/agents/{agent}/{path}", token, json={}, headers=headers)
        assert answer.status_code == 200
        assert REPLAY not in answer.headers
    assert frame.storage.memory.tables.answers == {}


def test_a_heartbeat_under_a_stale_key_still_counts_t05(frame: Frame) -> None:
    _, token = frame.client()
    agent, headers = frame.agent(token), {"X-Request-ID": "stale"}
    path = f"/api/agents/{agent}/heartbeat"
    times = []
    for _ in range(2):
        times.append(frame.call("POST", path, token, json={}, headers=headers).json()["server_time"])
        frame.clock.advance(30)
    assert times[0] != times[1]


def test_the_request_id_of_an_action_result_names_a_command_and_is_no_key_t34(frame: Frame) -> None:
    _, token = frame.client()
    path = f"/api/agents/{frame.agent(token)}/action-result"
    for result in ("SUCCESS", "FAILURE"):
        body = {"request_id": "r", "result": result}
        answer = frame.call("POST", path, token, json=body, headers={"X-Request-ID": "r"})
        assert (answer.status_code, answer.json()["matched"]) == (200, False)


def test_an_order_that_is_repeated_with_its_key_makes_one_command(frame: Frame) -> None:
    client_id, token = frame.client()
    frame.agent(token, MACHINE)
    path, headers = f"/api/client/instances/{MACHINE}/force-switch", {"X-Request-ID": "k"}
    first, again = (frame.call("POST", path, token, json={"target": "ondemand"}, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    [aggregate] = frame.storage.memory.tables.agents.values()
    assert aggregate.client.client_id == ClientId(client_id)
    assert len(aggregate.commands) == 1


def test_the_operators_key_is_not_a_clients(frame: Frame) -> None:
    _, token = frame.client()
    frame.agent(token, MACHINE)
    path, headers = f"/api/client/instances/{MACHINE}/force-switch", {"X-Request-ID": "k"}
    frame.call("POST", path, token, json={"target": "ondemand"}, headers=headers)
    answer = frame.call("POST", path, ADMIN, json={"target": "ondemand"}, headers=headers)
    assert REPLAY not in answer.headers
