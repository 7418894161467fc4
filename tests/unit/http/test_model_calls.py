"""E63…E67 over memory: every field, every spelling, and what each caller is told (http-api 7.8, 11.2, Z14)."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from httpx2 import Response

from spotadapters.memory.models import MemoryBlobs
from spotcore.events import EventKind, Level
from spotcore.service.models import Library
from tests.support.models import HereValidator, a_model, an_engine
from tests.unit.http.frame import Frame, a_frame

ENGINE, UPLOAD = "/api/admin/decision-engine/upload", "/api/admin/ml-models/upload"
ACTIVATE, FALLBACK = "/api/admin/ml-models/activate", "/api/admin/ml-models/fallback"
SESSIONS = "/api/admin/ml-models/sessions"
LEGACY = {"X-Response-Shape": "legacy"}


@pytest.fixture
def lab() -> Iterator[Frame]:
    """An application whose operator allows uploads."""
    with a_frame(library=Library(blobs=MemoryBlobs(), validator=HereValidator(), uploads=True)) as opened:
        yield opened


def send(frame: Frame, path: str, files: Mapping[str, bytes], field: str = "files", **texts: str) -> Response:
    sent = [(field, (name, content)) for name, content in files.items()]
    return frame.call("POST", path, files=sent, data=texts)


def uploaded(frame: Frame, value: float = 0.5, **changes: Any) -> str:
    frame.clock.advance(1)
    answer = send(frame, UPLOAD, a_model(value, **changes))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["sessionId"])


def activate(frame: Frame, session_id: Any, name: str = "sessionId") -> Response:
    frame.clock.advance(1)
    return frame.call("POST", ACTIVATE, json={name: session_id})


def live(frame: Frame, value: float) -> str:
    session_id = uploaded(frame, value)
    assert activate(frame, session_id).status_code == 200
    return session_id


def listed(frame: Frame, **more: Any) -> list[Any]:
    body = frame.call("GET", SESSIONS, **more).json()
    rows: list[Any] = body if more else body["data"]
    return rows


def standing(frame: Frame) -> dict[str, str]:
    return {row["id"]: row["status"] for row in listed(frame)}


def trail(frame: Frame) -> list[tuple[EventKind, Level]]:
    return [(one.kind, one.level) for one in frame.storage.memory.tables.events]


# ---- E64, E67


@pytest.mark.parametrize("field", ["files", "model"])
def test_e64_every_field_under_both_names_of_the_form_c39(lab: Frame, field: str) -> None:
    files = a_model()
    answer = send(lab, UPLOAD, files, field, model_name="risk", model_version="7", model_type="ignored")
    data = answer.json()["data"]
    session_id = data["sessionId"]
    assert data == {
        "success": True, "files": list(files), "files_uploaded": list(files), "sessionId": session_id,
        "session_id": session_id, "requiresRestart": True,
        "model_status": {
            "filesUploaded": 2, "totalSize": sum(map(len, files.values())), "sessionType": "pending_activation",
        },
    }  # fmt: skip
    assert session_id in answer.json()["message"]
    assert listed(lab) == [
        {
            "id": session_id, "session_id": session_id, "status": "uploaded", "isLive": False, "isFallback": False,
            "fileCount": 2, "files": list(files), "totalSize": sum(map(len, files.values())),
            "createdAt": "2026-03-02T12:00:00Z", "activatedAt": None,
        }
    ]  # fmt: skip
    assert trail(lab) == [(EventKind.ML_MODELS_UPLOADED, Level.INFO)]


@pytest.mark.parametrize("path", [ENGINE, UPLOAD])
def test_without_files_it_is_400_and_says_where_they_go(lab: Frame, path: str) -> None:
    for more in (
        {"files": [("attachment", ("a.json", b"{}"))]},
        {"json": {}},
        {"content": b"", "headers": {"Content-Type": "application/json"}},
    ):
        answer = lab.call("POST", path, **more)
        assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR"), answer.text
        assert "files" in str(answer.json().get("details"))


# ---- E65


@pytest.mark.parametrize("name", ["sessionId", "session_id", "model_id"])
def test_e65_every_name_of_the_session_and_every_field_of_the_answer_c39(lab: Frame, name: str) -> None:
    session_id = uploaded(lab)
    answer = activate(lab, session_id, name)
    assert (answer.status_code, answer.json()["data"]) == (200, {
        "success": True, "sessionId": session_id, "restarting": False, "model_status": {"loaded": False, "type": "mlp"},
    })  # fmt: skip
    (row,) = listed(lab)
    assert (row["status"], row["isLive"], row["activatedAt"]) == ("active", True, "2026-03-02T12:00:02Z")
    assert trail(lab)[-1] == (EventKind.ML_MODELS_ACTIVATED, Level.INFO)


@pytest.mark.parametrize("body", [{}, {"sessionId": ["a"]}, {"id": "a"}])
def test_e65_without_a_session_it_is_400_by_its_field(lab: Frame, body: dict[str, Any]) -> None:
    answer = lab.call("POST", ACTIVATE, json=body)
    assert (answer.status_code, list(answer.json()["details"])) == (400, ["session_id"])


def test_e65_the_one_before_becomes_the_fallback_and_an_older_fallback_the_archive_s20(lab: Frame) -> None:
    first, second, third = live(lab, 0.1), live(lab, 0.2), live(lab, 0.3)
    assert standing(lab) == {third: "active", second: "archived", first: "archived"}
    rows = {row["id"]: (row["isLive"], row["isFallback"]) for row in listed(lab)}
    assert rows == {third: (True, False), second: (False, True), first: (False, False)}


def test_e65_activating_what_is_live_changes_nothing(lab: Frame) -> None:
    first, second = live(lab, 0.1), live(lab, 0.2)
    before = listed(lab)
    assert activate(lab, second).status_code == 200
    assert listed(lab) == before
    assert standing(lab)[first] == "archived"  # the fallback, in the words of the wire


# ---- E66


def test_e66_brings_the_fallback_back_and_archives_the_live_one(lab: Frame) -> None:
    first, second = live(lab, 0.1), live(lab, 0.2)
    answer = lab.call("POST", FALLBACK)
    assert (answer.status_code, answer.json()["data"]) == (200, {
        "success": True, "fallbackSessionId": first, "fallback_session": first, "restarting": False,
    })  # fmt: skip
    rows = {row["id"]: (row["isLive"], row["isFallback"]) for row in listed(lab)}
    assert rows == {first: (True, False), second: (False, False)}
    assert trail(lab)[-1] == (EventKind.ML_MODELS_ROLLBACK, Level.WARNING)
    again = lab.call("POST", FALLBACK)
    assert (again.status_code, again.json()["code"]) == (404, "NOT_FOUND")


def test_e66_without_a_fallback_is_404_and_an_empty_body_with_a_json_type_is_none_t37(lab: Frame) -> None:
    live(lab, 0.1)
    answer = lab.call("POST", FALLBACK, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


# ---- E67


def test_e67_ten_newest_first(lab: Frame) -> None:
    made = [uploaded(lab, number / 100) for number in range(1, 13)]
    assert [row["id"] for row in listed(lab)] == made[:1:-1]


# ---- E63


@pytest.mark.parametrize(
    "files",
    [
        {"rules.json": b"[]"}, {"rules.json": b"{}"}, {"rules.json": b'{"engine": "evil", "version": "1"}'},
        {"rules.json": b'{"engine": "rules", "version": "1", "thresholds": {"dear_ratio": "much"}}'},
    ],
)  # fmt: skip
def test_e63_parameters_that_fail_their_test_are_400_and_the_ones_before_stay(
    lab: Frame, files: dict[str, bytes]
) -> None:
    assert send(lab, ENGINE, an_engine("1")).status_code == 200
    answer = send(lab, ENGINE, files)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] in ("VALIDATION_ERROR", "UNSUPPORTED_FILE_TYPE")
    assert trail(lab) == [(EventKind.DECISION_ENGINE_UPDATED, Level.INFO)]
