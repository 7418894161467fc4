"""Known failure 94: a refusal answered with HTTP 200. The envelope of an error and the status say the same, always."""

import re
from collections.abc import Iterator

import pytest

from spotadapters.http.app import SERVED
from spotadapters.http.auth import Needs
from spotadapters.http.routing import Endpoint
from tests.unit.http.frame import Frame, a_frame


@pytest.fixture(scope="module")
def module_frame() -> Iterator[Frame]:
    with a_frame() as opened:
        yield opened


@pytest.fixture
def standing(module_frame: Frame) -> Frame:
    """One application for all calls that are refused before they do anything."""
    module_frame.counted.reset()
    return module_frame


CLOSED = [row for row in SERVED if row.access.needs is not Needs.NOBODY]


@pytest.mark.parametrize("row", CLOSED, ids=lambda row: f"{row.number} {row.method} {row.path}")
@pytest.mark.parametrize("token", [None, "wrong", "x" * 64], ids=["none", "wrong", "of the right length"])
def test_failure_94_a_refused_credential_is_an_error_in_status_and_body(
    standing: Frame, row: Endpoint, token: str | None
) -> None:
    path = re.sub(r"\{\w+\}", "none", row.path)
    answer = standing.call(row.method, path, token)
    body = answer.json()
    assert answer.status_code == 401
    assert (body["status"], body["data"]) == ("error", None)
    assert body["code"] in ("UNAUTHORIZED", "INVALID_TOKEN", "INVALID_AUTH_FORMAT")
    assert body["error"]


@pytest.mark.parametrize("shape", ["legacy", "envelope"])
def test_failure_94_an_accepted_call_is_no_error_and_a_refused_one_is_one_in_every_shape(
    frame: Frame, shape: str
) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    for path, body in (
        (f"/api/agents/{agent}/heartbeat", {}),
        ("/api/agents/none/heartbeat", {}),
        (f"/api/agents/{agent}/replicas", {}),
        (f"/api/agents/{agent}/termination-report", {}),
        (f"/api/agents/{agent}/termination-report", {"instance_id": "i-0ff", "success": True}),
    ):
        answer = frame.call("POST", path, token, json=body, headers={"X-Response-Shape": shape})
        told = answer.json()
        assert (answer.status_code >= 400) == (isinstance(told, dict) and told.get("status") == "error")
        if answer.status_code >= 400:
            assert told["data"] is None
