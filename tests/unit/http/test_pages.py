"""What a browser gets: the dashboard, our sign-in page, and JSON for everybody else (http-api 2.4, T38, T39)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spotadapters.http.sessions import COOKIE
from tests.unit.http.frame import ADMIN, AWAY, Frame, a_frame

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OWN = {"Origin": "http://testserver"}


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Frame]:
    """A server with a built dashboard."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>dashboard</title>")
    (tmp_path / "assets" / "app.js").write_text("console.log(1)")
    (tmp_path / "secret.txt").write_text("not for the web")
    with a_frame(dashboard=tmp_path) as frame:
        yield frame


def sign_in(frame: Frame) -> None:
    answer = frame.call("POST", "/api/auth/login", None, json={"token": ADMIN}, headers=OWN)
    assert answer.status_code == 200


def test_a_browser_without_a_session_is_sent_to_sign_in_and_with_one_gets_the_page_t38(built: Frame) -> None:
    refused = built.http.get("/", headers=BROWSER, follow_redirects=False)
    assert (refused.status_code, refused.headers["location"]) == (303, "/login")
    sign_in(built)
    page = built.http.get("/", headers=BROWSER, follow_redirects=False)
    assert page.status_code == 200
    assert "<title>dashboard</title>" in page.text
    assert {part.strip() for part in page.headers["vary"].split(",")} == {"Accept", "Cookie"}


def test_everybody_else_gets_e02_at_the_same_address_t38(built: Frame) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = built.http.get("/", headers=headers)
        assert answer.json()["data"]["status"] == "running"
        assert "Cookie" in answer.headers["vary"]


def test_without_a_build_a_browser_gets_e02(frame: Frame) -> None:
    assert frame.http.get("/", headers=BROWSER).json()["data"]["name"] == "spotcore"


def test_the_dashboards_files_need_no_session_and_nothing_beside_them_is_served(built: Frame) -> None:
    assert built.http.get("/assets/app.js").text == "console.log(1)"
    for path in ("/assets/../secret.txt", "/assets/%2e%2e/secret.txt", "/secret.txt", "/vite.svg", "/assets/none.js"):
        answer = built.http.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", ["/", "/login"])
def test_pages_carry_the_content_security_policy_of_the_contract(built: Frame, path: str) -> None:
    sign_in(built)
    assert built.http.get(path, headers=BROWSER).headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )


def test_the_sign_in_page_works_under_its_own_policy(frame: Frame) -> None:
    page = frame.http.get("/login", headers=BROWSER)
    assert page.headers["content-type"].startswith("text/html")
    assert "<script>" not in page.text
    assert "style=" not in page.text
    assert "onclick" not in page.text
    for name, kind in (("/login/page.js", "text/javascript"), ("/login/page.css", "text/css")):
        assert name in page.text
        assert frame.http.get(name).headers["content-type"].startswith(kind)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "[::1]:5000"])
@pytest.mark.parametrize("path", ["/", "/login"])
def test_a_stock_build_opened_by_number_is_sent_to_its_name_t39(built: Frame, host: str, path: str) -> None:
    answer = built.http.get(path, headers={**BROWSER, "Host": host}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"http://localhost:5000{path}")
    plain = built.http.get(path, headers={"Host": host}, follow_redirects=False)
    assert plain.status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1:5001", "spot.example", "localhost:5000"])
def test_no_other_address_is_redirected_t39(built: Frame, host: str) -> None:
    assert built.http.get("/login", headers={**BROWSER, "Host": host}, follow_redirects=False).status_code == 200


def test_calls_are_never_answered_with_a_page_or_a_redirect_t38(built: Frame) -> None:
    for path in ("/api/admin/clients/x/token", "/api/auth/session", "/api/nothing"):
        answer = built.http.get(path, headers=BROWSER, follow_redirects=False)
        assert answer.status_code in (401, 404)
        assert answer.headers["content-type"].startswith("application/json")


def test_while_storage_is_away_a_browser_is_sent_to_the_page_that_can_say_so(built: Frame) -> None:
    sign_in(built)
    built.storage.failure = AWAY
    assert built.http.get("/", headers=BROWSER, follow_redirects=False).headers["location"] == "/login"
    assert built.http.get("/login", headers=BROWSER).status_code == 200


def test_a_made_up_cookie_opens_no_page(built: Frame) -> None:
    headers = {**BROWSER, "Cookie": f"{COOKIE}=invented"}
    assert built.http.get("/", headers=headers, follow_redirects=False).status_code == 303
