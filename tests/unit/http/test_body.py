"""Bodies are read within a bound (http-api 1.3), whatever is announced, and callers may vanish."""

import asyncio
from typing import Any

import pytest

from spotadapters.http.body import MAX_BODY
from tests.unit.http.asgi import Exchange
from tests.unit.http.frame import Frame

CHUNK = b" " * 65_536


@pytest.fixture
def path(frame: Frame) -> tuple[str, str]:
    """A heartbeat's path and token."""
    _, token = frame.client()
    return f"/api/agents/{frame.agent(token)}/heartbeat", token


def test_a_body_of_1_mib_is_read(frame: Frame, path: tuple[str, str]) -> None:
    body = b'{"a":"' + b"x" * (MAX_BODY - 8) + b'"}'
    assert len(body) == MAX_BODY
    assert frame.call("POST", *path, content=body).status_code == 200


def test_one_byte_more_is_413_in_our_envelope(frame: Frame, path: tuple[str, str]) -> None:
    answer = frame.call("POST", *path, content=b" " * (MAX_BODY + 1), headers={"X-Request-ID": "q-1"})
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert answer.headers["x-request-id"] == "q-1"


def test_an_announced_length_over_the_limit_is_refused_before_anything_is_read(
    frame: Frame, path: tuple[str, str]
) -> None:
    async def main() -> tuple[int, Any, int]:
        exchange = Exchange(frame.app, "POST", *path, headers={"content-length": str(MAX_BODY + 1)})
        status, body = await exchange.answer()
        return status, body, exchange.received

    status, body, received = asyncio.run(main())
    assert (status, body["code"], received) == (413, "PAYLOAD_TOO_LARGE", 0)


@pytest.mark.parametrize("announced", [None, "10", "0", "-1", "1e3", "x", "9" * 5_000, "²"])
def test_a_chunked_or_lying_body_is_cut_off_at_the_limit(
    frame: Frame, path: tuple[str, str], announced: str | None
) -> None:
    async def main() -> tuple[int, int]:
        headers = {"content-length": announced} if announced is not None else {}
        exchange = Exchange(frame.app, "POST", *path, headers=headers)
        for _ in range(100):
            exchange.body(CHUNK, more=True)
        status, _ = await exchange.answer()
        return status, exchange.received

    status, received = asyncio.run(main())
    assert status == 413
    assert received <= MAX_BODY + len(CHUNK)


def test_a_body_in_many_pieces_is_one_body(frame: Frame, path: tuple[str, str]) -> None:
    async def main() -> tuple[int, Any]:
        exchange = Exchange(frame.app, "POST", *path)
        for piece in b'{"status":"offline"}':
            exchange.body(bytes([piece]), more=True)
        return await exchange.body().answer()

    status, body = asyncio.run(main())
    assert (status, body["data"]["status"]) == (200, "offline")


def test_a_caller_that_vanishes_within_its_body_changes_nothing(frame: Frame, path: tuple[str, str]) -> None:
    async def main() -> None:
        exchange = Exchange(frame.app, "POST", *path)
        await exchange.body(b'{"status":"offline"', more=True).hang_up().ended()

    asyncio.run(main())
    assert frame.call("POST", *path, json={}).json()["data"]["status"] == "online"


@pytest.mark.parametrize(("method", "rest"), [("GET", "config"), ("GET", "pending-commands"), ("POST", "heartbeat")])
def test_an_empty_body_with_a_json_content_type_is_no_body_t37(frame: Frame, method: str, rest: str) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    headers = {"Content-Type": "application/json"}
    assert frame.call(method, f"/api/agents/{agent}/{rest}", token, headers=headers).status_code == 200


def test_the_content_type_does_not_matter(frame: Frame, path: tuple[str, str]) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        answer = frame.call("POST", *path, content=b'{"status":"running"}', headers={"Content-Type": kind})
        assert answer.status_code == 200


def test_bad_json_is_told_what_to_send(frame: Frame, path: tuple[str, str]) -> None:
    answer = frame.call("POST", *path, content=b"{")
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["details"] == {"body": ["send one JSON object"]}
