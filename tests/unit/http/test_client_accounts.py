"""E10…E14: clients are made, their tokens shown and replaced, and taken away (http-api 7.3, CL-2, CL-3, CL-6)."""

from typing import Any

import pytest
from attrs import evolve
from httpx2 import Response

from spotcore.events import EventKind, Level
from tests.unit.http.frame import Frame

CREATE = "/api/admin/clients/create"


def create(frame: Frame, **body: Any) -> Response:
    return frame.call("POST", CREATE, json=body)


def made(frame: Frame, **body: Any) -> dict[str, Any]:
    answer = create(frame, **body)
    assert answer.status_code == 201, answer.text
    client: dict[str, Any] = answer.json()["data"]["client"]
    return client


def refusal(answer: Response) -> tuple[int, str, Any]:
    body = answer.json()
    assert (body["status"], body["data"]) == ("error", None)
    return answer.status_code, body["code"], body.get("details")


def trail(frame: Frame, client_id: str) -> list[tuple[EventKind, Level]]:
    return [(one.kind, one.level) for one in frame.storage.memory.tables.events if one.client_id == client_id]


# ---- E10


def test_e10_every_field_and_its_token_is_shown_to_no_cache(frame: Frame) -> None:
    answer = create(frame, name="  Acme GmbH ", email=" OPS@Acme.Example ")
    client = answer.json()["data"]["client"]
    assert answer.json()["data"] == {
        "success": True,
        "client": {
            "id": client["id"], "name": "Acme GmbH", "email": "ops@acme.example", "token": client["token"],
            "status": "active",
        },
    }  # fmt: skip
    assert answer.headers["cache-control"] == "no-store"
    assert len(client["token"]) == 64
    assert set(client["token"]) <= set("0123456789abcdef")
    assert frame.call("GET", "/api/client/validate", client["token"]).status_code == 200
    assert trail(frame, client["id"]) == [(EventKind.CLIENT_CREATED, Level.INFO)]


@pytest.mark.parametrize("body", [{}, {"email": None}, {"email": ""}, {"email": "   "}])
def test_e10_an_e_mail_is_optional_as_the_dashboard_sends_none_c18(frame: Frame, body: dict[str, Any]) -> None:
    assert made(frame, name="Acme", **body)["email"] is None


@pytest.mark.parametrize(
    ("name", "kept"), [("a", "a"), ("x" * 255, "x" * 255), (" " + "x" * 253 + " ", "x" * 253), ("Ünïted 東京", "Ünïted 東京"), ("a\x00b", "ab")]
)  # fmt: skip
def test_e10_a_name_of_1_to_255_characters(frame: Frame, name: str, kept: str) -> None:
    assert made(frame, name=name)["name"] == kept


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": None},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 256},
        {"name": 7},
        {"name": ["a"]},
        {"name": True},
        {"Name": "Acme"},
    ],
)
def test_e10_any_other_name_is_refused_by_its_field(frame: Frame, body: dict[str, Any]) -> None:
    status, code, details = refusal(create(frame, **body))
    assert (status, code, list(details)) == (400, "VALIDATION_ERROR", ["name"])
    assert not frame.storage.memory.tables.clients


@pytest.mark.parametrize(
    "email", ["nobody", "a@b", "a b@c.de", "@c.de", "a@", "a@c..de", "a@@c.de", 7, ["a@c.de"], "x" * 250 + "@c.de"]
)
def test_e10_what_is_no_address_is_refused_by_its_field(frame: Frame, email: Any) -> None:
    status, code, details = refusal(create(frame, name="Acme", email=email))
    assert (status, code, list(details)) == (400, "VALIDATION_ERROR", ["email"])
    assert not frame.storage.memory.tables.clients


@pytest.mark.parametrize("name", ["Acme", "ACME", " acme "])
def test_e10_a_name_is_taken_whatever_its_case(frame: Frame, name: str) -> None:
    made(frame, name="Acme")
    assert refusal(create(frame, name=name))[:2] == (409, "CLIENT_EXISTS")


@pytest.mark.parametrize("email", ["ops@acme.example", "OPS@ACME.example", " ops@acme.example"])
def test_e10_an_address_is_taken_whatever_its_case(frame: Frame, email: str) -> None:
    made(frame, name="Acme", email="ops@acme.example")
    assert refusal(create(frame, name="Other", email=email))[:2] == (409, "DUPLICATE_EMAIL")
    made(frame, name="Third", email=None)  # none is no address


def test_e10_a_suspended_clients_name_is_taken_and_a_deleted_ones_is_free_cl_6(frame: Frame) -> None:
    first = made(frame, name="Acme", email="ops@acme.example")
    frame.plane.clients.suspend(first["id"])
    assert create(frame, name="Acme").status_code == 409
    frame.call("DELETE", f"/api/admin/clients/{first['id']}")
    again = made(frame, name="Acme", email="ops@acme.example")
    assert again["id"] != first["id"]
    assert again["token"] != first["token"]


def test_e10_in_the_legacy_shape_is_the_data_alone(frame: Frame) -> None:
    answer = frame.call("POST", CREATE, json={"name": "Acme"}, headers={"X-Response-Shape": "legacy"})
    assert (answer.status_code, set(answer.json())) == (201, {"success", "client"})


# ---- E11


def test_e11_says_so_beside_the_data_and_repeating_it_is_200(frame: Frame) -> None:
    client = made(frame, name="Acme")
    for _ in range(2):
        answer = frame.call("DELETE", f"/api/admin/clients/{client['id']}")
        assert answer.status_code == 200
        assert answer.json()["data"] == {"success": True}
        assert "Acme" in answer.json()["message"]
    assert trail(frame, client["id"]).count((EventKind.CLIENT_DELETED, Level.WARNING)) == 1


def test_e11_ends_its_token_and_retires_its_agents(frame: Frame) -> None:
    client_id, token = frame.client()
    agent_id = frame.agent(token)
    frame.call("DELETE", f"/api/admin/clients/{client_id}")
    assert frame.call("GET", "/api/client/validate", token).status_code == 401
    assert frame.call("GET", f"/api/agents/{agent_id}/config", token).status_code == 401
    answer = frame.call("POST", f"/api/agents/{agent_id}/heartbeat", token, json={})  # Z25
    assert answer.status_code in (200, 401)


@pytest.mark.parametrize("path", ["", "/regenerate-token", "/token"])
def test_an_unknown_client_is_404_e11_e12_e13(frame: Frame, path: str) -> None:
    method = {"": "DELETE", "/regenerate-token": "POST", "/token": "GET"}[path]
    assert refusal(frame.call(method, f"/api/admin/clients/nobody{path}"))[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize(("method", "path"), [("POST", "/regenerate-token"), ("GET", "/token")])
def test_a_deleted_client_has_no_token_to_show_or_replace(frame: Frame, method: str, path: str) -> None:
    client = made(frame, name="Acme")
    frame.call("DELETE", f"/api/admin/clients/{client['id']}")
    assert refusal(frame.call(method, f"/api/admin/clients/{client['id']}{path}"))[:2] == (404, "NOT_FOUND")


# ---- E12


def rotate(frame: Frame, client_id: str, body: Any = None) -> Response:
    return frame.call("POST", f"/api/admin/clients/{client_id}/regenerate-token", json=body)


def opens(frame: Frame, token: str) -> bool:
    return frame.call("GET", "/api/client/validate", token).status_code == 200


@pytest.mark.parametrize("body", [None, {}, {"grace_seconds": None}, {"grace_seconds": 0}, {"grace": 60}])
def test_e12_the_old_token_ends_at_once_unless_grace_is_asked_for_cl_3(frame: Frame, body: Any) -> None:
    client_id, old = frame.client()
    answer = rotate(frame, client_id, body)
    new = answer.json()["data"]["token"]
    assert (answer.status_code, answer.json()["data"]) == (200, {"success": True, "token": new})
    assert answer.headers["cache-control"] == "no-store"
    assert (opens(frame, old), opens(frame, new)) == (False, True)
    assert trail(frame, client_id)[-1] == (EventKind.TOKEN_REGENERATED, Level.WARNING)


@pytest.mark.parametrize("grace", [1, 60, 86_400])
def test_e12_the_old_token_opens_until_its_grace_is_over(frame: Frame, grace: int) -> None:
    client_id, old = frame.client()
    new = rotate(frame, client_id, {"grace_seconds": grace}).json()["data"]["token"]
    frame.clock.advance(grace - 0.5)
    assert opens(frame, old)
    frame.clock.advance(1)
    assert (opens(frame, old), opens(frame, new)) == (False, True)


@pytest.mark.parametrize("grace", [-1, 86_401, 10**30, -(10**30), "60", 1.5, True, [60]])
def test_e12_any_other_grace_is_refused_and_the_token_stays(frame: Frame, grace: Any) -> None:
    client_id, old = frame.client()
    status, code, details = refusal(rotate(frame, client_id, {"grace_seconds": grace}))
    assert (status, code, list(details)) == (400, "VALIDATION_ERROR", ["grace_seconds"])
    assert opens(frame, old)


def test_e12_a_second_rotation_ends_the_grace_of_the_first(frame: Frame) -> None:
    client_id, first = frame.client()
    second = rotate(frame, client_id, {"grace_seconds": 3_600}).json()["data"]["token"]
    rotate(frame, client_id)
    assert (opens(frame, first), opens(frame, second)) == (False, False)


# ---- E13


def test_e13_shows_the_token_that_counts_now_and_every_look_is_audited_cl_2(frame: Frame) -> None:
    client_id, old = frame.client("Acme")
    path = f"/api/admin/clients/{client_id}/token"
    answer = frame.call("GET", path)
    assert answer.json()["data"] == {"token": old, "token_hint": old[-4:], "client_name": "Acme"}
    assert answer.headers["cache-control"] == "no-store"
    new = rotate(frame, client_id, {"grace_seconds": 60}).json()["data"]["token"]
    assert frame.call("GET", path).json()["data"]["token"] == new
    assert trail(frame, client_id).count((EventKind.TOKEN_VIEWED, Level.WARNING)) == 2


def test_e13_without_read_back_shows_the_hint_alone_z3(frame: Frame) -> None:
    client_id, token = frame.client()
    tokens = frame.storage.memory.tables.tokens
    (hashed,) = (name for name, record in tokens.items() if record.client_id == client_id)
    tokens[hashed] = evolve(tokens[hashed], sealed=None)
    data = frame.call("GET", f"/api/admin/clients/{client_id}/token").json()["data"]
    assert (data["token"], data["token_hint"]) == (None, token[-4:])


def test_e13_of_a_suspended_client_works_for_the_operator(frame: Frame) -> None:
    client_id, token = frame.client()
    frame.plane.clients.suspend(client_id)  # type: ignore[arg-type]
    assert frame.call("GET", f"/api/admin/clients/{client_id}/token").json()["data"]["token"] == token


# ---- E14


def test_e14_every_field_in_data_and_at_the_top(frame: Frame) -> None:
    client = made(frame, name="Acme", email="ops@acme.example")
    body = frame.call("GET", "/api/client/validate", client["token"]).json()
    wanted = {
        "valid": True, "client_id": client["id"], "name": "Acme", "client_name": "Acme", "email": "ops@acme.example",
    }  # fmt: skip
    assert body == {"status": "success", "data": wanted, "error": None, **wanted}


@pytest.mark.parametrize(
    ("token", "code"), [(None, "UNAUTHORIZED"), ("f" * 64, "INVALID_TOKEN"), ("suspended", "INACTIVE_CLIENT")]
)
def test_e14_a_refusal_says_valid_false_beside_an_empty_data(frame: Frame, token: str | None, code: str) -> None:
    if token == "suspended":
        client_id, token = frame.client()
        frame.plane.clients.suspend(client_id)  # type: ignore[arg-type]
    body = frame.call("GET", "/api/client/validate", token).json()
    assert (body["valid"], body["data"], body["code"]) == (False, None, code)
