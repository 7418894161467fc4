"""The dashboard's session: cookie, sliding and final end, same origin, legacy shape (http-api 2.4, E100…E102)."""

from datetime import timedelta
from typing import Any

import pytest

from spotadapters.http.sessions import COOKIE, Door, same_origin, set_cookie
from spotcore.sessions import ENDS_AFTER, IDLE_AFTER, Session
from tests.support.world import START
from tests.unit.http.frame import ADMIN, AWAY, Frame

OWN = {"Origin": "http://testserver"}


def sign_in(frame: Frame, token: str = ADMIN, **headers: str) -> Any:
    return frame.call("POST", "/api/auth/login", None, json={"token": token}, headers={**OWN, **headers})


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# ---- the value


def test_a_session_slides_for_12_hours_and_ends_after_7_days() -> None:
    session = Session(session_hash="s", token_hash="t", created_at=START, seen_at=START)
    assert session.expires_at == START + IDLE_AFTER
    late = session.seen(START + timedelta(days=6, hours=23))
    assert late.expires_at == START + ENDS_AFTER
    assert late.is_open(START + ENDS_AFTER - timedelta(seconds=1))
    assert not late.is_open(START + ENDS_AFTER)


def test_a_busy_page_is_noted_every_five_minutes_at_most_t40() -> None:
    session = Session(session_hash="s", token_hash="t", created_at=START, seen_at=START)
    assert session.seen(START + timedelta(minutes=4, seconds=59)) is session
    assert session.seen(START + timedelta(minutes=5)).seen_at == START + timedelta(minutes=5)


# ---- signing in


def test_e100_signs_the_operator_in_with_a_cookie_that_scripts_cannot_read(frame: Frame) -> None:
    answer = sign_in(frame)
    assert answer.json()["data"] == {"role": "admin", "client_id": None}
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    assert answer.headers["cache-control"] == "no-store"


def test_e100_signs_a_client_in_for_itself(frame: Frame) -> None:
    client_id, token = frame.client()
    assert sign_in(frame, token).json()["data"] == {"role": "client", "client_id": client_id}
    assert frame.call("GET", "/api/auth/session", None).json()["client_id"] == client_id
    assert frame.call("GET", "/api/client/validate", None).json()["client_id"] == client_id
    assert code(frame.call("GET", f"/api/admin/clients/{client_id}/token", None)) == (401, "INVALID_TOKEN")


def test_the_cookie_is_secure_on_tls_also_when_tls_ends_before_us() -> None:
    assert "; Secure" in set_cookie("x", Door(scheme="https", host="h"), {})
    assert "; Secure" in set_cookie("x", Door(scheme="http", host="h"), {"origin": "https://h"})
    assert "; Secure" not in set_cookie("x", Door(scheme="http", host="h"), {"origin": "http://h"})


@pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": 7}, {"token": "x" * 513}])
def test_e100_refuses_what_is_no_token(frame: Frame, body: Any) -> None:
    answer = frame.call("POST", "/api/auth/login", None, json=body, headers=OWN)
    assert answer.status_code in (400, 401)
    assert "set-cookie" not in answer.headers


def test_e100_a_wrong_token_opens_nothing_and_the_sixth_in_a_minute_is_refused_s24(frame: Frame) -> None:
    tries = [sign_in(frame, "wrong") for _ in range(7)]  # the window slides: across its edge it may grant one more
    assert [code(one) for one in tries[:5]] == [(401, "INVALID_TOKEN")] * 5
    refused = tries[-1]
    assert code(refused) == (429, "RATE_LIMITED")
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_e100_a_suspended_client_is_told_so_and_a_deleted_one_is_unknown(frame: Frame) -> None:
    client_id, token = frame.client()
    frame.plane.clients.suspend(client_id)  # type: ignore[arg-type]
    assert code(sign_in(frame, token)) == (403, "INACTIVE_CLIENT")
    frame.plane.clients.resume(client_id)  # type: ignore[arg-type]
    assert sign_in(frame, token).status_code == 200
    frame.plane.clients.delete(client_id)  # type: ignore[arg-type]
    assert code(sign_in(frame, token)) == (401, "INVALID_TOKEN")


def test_e100_from_another_sites_page_is_refused(frame: Frame) -> None:
    assert code(sign_in(frame, Origin="http://evil.example")) == (403, "FORBIDDEN")


# ---- being signed in


def test_e102_says_who_is_signed_in_and_until_when(frame: Frame) -> None:
    assert code(frame.call("GET", "/api/auth/session", None)) == (401, "UNAUTHORIZED")
    sign_in(frame)
    shown = frame.call("GET", "/api/auth/session", None).json()
    assert (shown["role"], shown["client_id"]) == ("admin", None)
    assert shown["expires_at"] == "2026-03-03T00:00:00Z"


def test_e102_and_e101_take_a_cookie_and_no_token(frame: Frame) -> None:
    for method, path in (("GET", "/api/auth/session"), ("POST", "/api/auth/logout")):
        assert code(frame.call(method, path, ADMIN)) == (401, "UNAUTHORIZED")


def test_e101_ends_the_session_for_every_copy_of_its_cookie(frame: Frame) -> None:
    sign_in(frame)
    secret = frame.http.cookies[COOKIE]
    answer = frame.call("POST", "/api/auth/logout", None, headers=OWN)
    assert answer.json() == {"success": True}
    assert "Max-Age=0" in answer.headers["set-cookie"]
    frame.http.cookies.set(COOKIE, secret)
    assert code(frame.call("GET", "/api/auth/session", None)) == (401, "UNAUTHORIZED")


def test_a_session_ends_with_its_token(frame: Frame) -> None:
    client_id, token = frame.client()
    sign_in(frame, token)
    frame.plane.clients.rotate(client_id)  # type: ignore[arg-type]
    answer = frame.call("GET", "/api/client/validate", None)
    assert code(answer) == (401, "UNAUTHORIZED")
    assert "/login" in answer.json()["error"]


def test_a_session_slides_while_it_is_used_and_dies_when_it_is_not(frame: Frame) -> None:
    sign_in(frame)
    for _ in range(13):
        frame.clock.advance(11 * 3600)
        assert frame.call("GET", "/api/auth/session", None).status_code == 200
    frame.clock.advance(12 * 3600)
    assert code(frame.call("GET", "/api/auth/session", None)) == (401, "UNAUTHORIZED")


def test_only_the_seven_days_end_a_session_whose_page_stays_open_t40(frame: Frame) -> None:
    sign_in(frame)
    answers = []
    for _ in range(24 * 7):
        frame.clock.advance(3600)
        answers.append(frame.call("GET", "/api/auth/session", None).status_code)
    assert answers[:-1] == [200] * (24 * 7 - 1)
    assert answers[-1] == 401


def test_a_session_that_cannot_be_noted_still_serves(frame: Frame) -> None:
    sign_in(frame)
    frame.clock.advance(3600)
    frame.storage.failure, frame.storage.is_reserve_left = AWAY, True
    assert frame.call("GET", "/api/auth/session", None).status_code == 200


@pytest.mark.parametrize("secret", ["", "wrong", "x" * 600, "\x7f", "ab cd"])
def test_a_made_up_cookie_opens_nothing(frame: Frame, secret: str) -> None:
    answer = frame.call("GET", "/api/auth/session", None, headers={"Cookie": f"{COOKIE}={secret}"})
    assert code(answer) == (401, "UNAUTHORIZED")


def test_a_token_in_the_header_wins_over_the_cookie(frame: Frame) -> None:
    client_id, token = frame.client()
    sign_in(frame)
    answer = frame.call("GET", "/api/client/validate", token).json()
    assert answer["client_id"] == client_id
    assert answer["status"] == "success"


# ---- the same origin


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Origin": "http://testserver"}, True),
        ({"Origin": "https://testserver"}, True),
        ({"Referer": "http://testserver/agents?x=1"}, True),
        ({}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://testserver.evil.example"}, False),
        ({"Origin": "http://testserver:81"}, False),
        ({"Origin": "http://evil.example", "Referer": "http://testserver/"}, False),
        ({"Referer": "http://evil.example/?http://testserver/"}, False),
    ],
)
def test_unsafe_calls_with_a_cookie_need_this_servers_own_origin(
    frame: Frame, headers: dict[str, str], allowed: bool
) -> None:
    sign_in(frame)
    answer = frame.call("POST", "/api/admin/clients/create", None, json={"name": "New"}, headers=headers)
    assert answer.status_code == (201 if allowed else 403)
    if not allowed:
        assert answer.json()["code"] == "FORBIDDEN"


def test_a_bearer_token_needs_no_origin(frame: Frame) -> None:
    answer = frame.call("POST", "/api/admin/clients/create", json={"name": "New"}, headers={"Origin": "http://x.y"})
    assert answer.status_code == 201


def test_a_page_on_http_is_not_the_origin_of_a_server_on_tls() -> None:
    assert same_origin(Door(scheme="https", host="h"), {"origin": "http://h"}) is False
    assert same_origin(Door(scheme="http", host="h"), {"origin": "https://h"}) is True


# ---- shapes


def test_a_session_gets_the_legacy_shape_and_errors_in_the_envelope_c01(frame: Frame) -> None:
    sign_in(frame)
    created = frame.call("POST", "/api/admin/clients/create", None, json={"name": "New"}, headers=OWN).json()
    assert set(created) == {"success", "client"}
    again = frame.call("POST", "/api/admin/clients/create", None, json={"name": "New"}, headers=OWN).json()
    assert (again["status"], again["code"], again["data"]) == ("error", "CLIENT_EXISTS", None)


def test_a_session_that_asks_for_the_envelope_gets_it(frame: Frame) -> None:
    sign_in(frame)
    answer = frame.call("GET", "/api/auth/session", None, headers={"X-Response-Shape": "envelope"})
    assert answer.json()["status"] == "success"
    odd = frame.call("GET", "/api/auth/session", None, headers={"X-Response-Shape": "tabular"})
    assert "status" not in odd.json()
