"""Who calls, and what each may reach (http-api 2.1, 2.2)."""

from typing import Any

import pytest

from spotadapters.http.auth import Principal, bearer
from spotcore.clients import Client
from spotcore.errors import Forbidden, InvalidAuthFormat, Unauthorized
from spotcore.ids import ClientId
from tests.support.world import START
from tests.unit.http.frame import ADMIN, Frame

# ---- the token of a request


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER abc", "  Bearer   abc  ", "bEaReR abc"])
def test_the_scheme_is_read_in_any_case_and_blanks_are_trimmed(header: str) -> None:
    assert bearer(header, None) == "abc"


@pytest.mark.parametrize("header", ["abc", "Basic abc", "Bearer", "Bearer   ", "Token abc", "Bearerabc", "token=abc"])
def test_anything_but_a_bearer_token_is_an_invalid_format(header: str) -> None:
    with pytest.raises(InvalidAuthFormat):
        bearer(header, None)


@pytest.mark.parametrize("header", [None, "", "   "])
def test_no_credentials_says_where_to_sign_in(header: str | None) -> None:
    with pytest.raises(Unauthorized, match=r"^Signed out\. Open /login$"):
        bearer(header, None)


@pytest.mark.parametrize("body", [{"client_token": "abc"}, {"token": "abc"}, {"client_token": " abc "}])
def test_registration_without_a_header_may_say_it_in_the_body_s13(body: dict[str, Any]) -> None:
    assert bearer(None, body) == "abc"


@pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": 5}, {"client_token": ["abc"]}, {"token": None}])
def test_a_body_without_a_text_there_holds_no_token(body: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        bearer(None, body)


# ---- who acts for whom


def principal(client_id: str | None) -> Principal:
    return Principal(
        client=None if client_id is None else Client(client_id=ClientId(client_id), name="x", created_at=START)
    )


def test_a_client_acts_for_itself_whatever_is_named_or_not() -> None:
    assert principal("c").acting(None, actor="agent").client_id == "c"
    assert principal("c").acting(ClientId("c"), actor="agent").client_id == "c"


def test_a_client_never_acts_for_another_one_2_3() -> None:
    with pytest.raises(Forbidden):
        principal("c").acting(ClientId("d"), actor="client")


def test_the_operator_acts_for_whichever_client_it_names() -> None:
    acting = principal(None).acting(ClientId("d"), actor="client")
    assert (acting.client_id, acting.actor) == ("d", "admin")


# ---- over the wire


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_registration_takes_the_token_from_the_body_e16(frame: Frame) -> None:
    _, token = frame.client()
    body = {
        "instance_id": "i-0a", "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a",
        "client_token": token,
    }  # fmt: skip
    assert frame.call("POST", "/api/agents/register", None, json=body).status_code == 200


def test_the_header_wins_over_the_body_at_registration(frame: Frame) -> None:
    _, token = frame.client()
    answer = frame.call("POST", "/api/agents/register", "wrong", json={"client_token": token})
    assert code(answer) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize("path", ["heartbeat", "termination-imminent", "pricing-report", "switch-report"])
def test_no_other_call_reads_a_token_from_its_body_s13(frame: Frame, path: str) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    body = {"client_token": token, "token": token}
    assert code(frame.call("POST", f"/api/agents/{agent}/{path}", None, json=body)) == (401, "UNAUTHORIZED")


def test_a_token_in_the_query_is_no_token(frame: Frame) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    answer = frame.call("GET", f"/api/agents/{agent}/config?token={token}&client_token={token}", None)
    assert code(answer) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("token", ["wrong", "x" * 10_000, "' or 1=1 --"])
def test_an_unknown_token_opens_nothing(frame: Frame, token: str) -> None:
    assert code(frame.call("GET", "/api/client/validate", token)) == (401, "INVALID_TOKEN")


def test_a_client_token_is_of_the_wrong_kind_for_the_admins_calls(frame: Frame) -> None:
    _, token = frame.client()
    answer = frame.call("POST", "/api/admin/clients/create", token, json={"name": "Mine"})
    assert code(answer) == (401, "INVALID_TOKEN")


def test_the_admins_token_is_of_the_wrong_kind_for_the_agents_calls(frame: Frame) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    assert code(frame.call("POST", f"/api/agents/{agent}/heartbeat", ADMIN, json={})) == (401, "INVALID_TOKEN")
    assert code(frame.call("GET", "/api/client/validate", ADMIN)) == (401, "INVALID_TOKEN")


def test_a_refused_validation_says_so_at_the_top_e14(frame: Frame) -> None:
    body = frame.call("GET", "/api/client/validate", "wrong").json()
    assert (body["valid"], body["data"]) == (False, None)


def test_a_validation_names_the_client_at_the_top_e14(frame: Frame) -> None:
    client_id, token = frame.client("Acme")
    body = frame.call("GET", "/api/client/validate", token).json()
    assert (body["valid"], body["name"], body["client_name"], body["client_id"]) == (True, "Acme", "Acme", client_id)


def test_another_clients_agent_answers_exactly_like_an_unknown_one_2_3(frame: Frame) -> None:
    _, mine = frame.client("Mine")
    _, theirs = frame.client("Theirs")
    agent = frame.agent(theirs)
    headers = {"X-Request-ID": "same"}
    foreign = frame.call("GET", f"/api/agents/{agent}/config", mine, headers=headers)
    unknown = frame.call("GET", "/api/agents/nobody/config", mine, headers=headers)
    assert (foreign.status_code, foreign.content) == (unknown.status_code, unknown.content) == (404, unknown.content)


def test_a_rotated_token_ends_at_once_and_the_new_one_opens_cl_3(frame: Frame) -> None:
    client_id, old = frame.client()
    new = frame.call("POST", f"/api/admin/clients/{client_id}/regenerate-token").json()["data"]["token"]
    assert code(frame.call("GET", "/api/client/validate", old)) == (401, "INVALID_TOKEN")
    assert frame.call("GET", "/api/client/validate", new).status_code == 200


def test_a_suspended_client_is_told_so_except_where_an_emergency_needs_it_z26(frame: Frame) -> None:
    client_id, token = frame.client()
    agent = frame.agent(token)
    frame.plane.clients.suspend(ClientId(client_id))
    assert code(frame.call("GET", "/api/client/validate", token)) == (403, "INACTIVE_CLIENT")
    assert code(frame.call("POST", f"/api/agents/{agent}/pricing-report", token, json={})) == (403, "INACTIVE_CLIENT")
    assert frame.call("POST", f"/api/agents/{agent}/heartbeat", token, json={}).status_code == 200
    assert frame.call("POST", f"/api/agents/{agent}/termination-imminent", token, json={}).status_code == 200


def test_a_deleted_clients_token_opens_nothing_once_its_machines_are_gone_z25(frame: Frame) -> None:
    client_id, token = frame.client()
    frame.plane.clients.delete(ClientId(client_id))
    assert code(frame.call("GET", "/api/client/validate", token)) == (401, "INVALID_TOKEN")
