"""E63…E67 on the whole site: real files, a real database, a real worker process (section 11, Z14, S06, S07, S20)."""

import asyncio
import hashlib
import json
import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from spotadapters.files.blobs import FileBlobs
from spotadapters.modelcheck import ProcessValidator
from spotcore.models import MAX_BATCH, MAX_FILE
from spotcore.ports.models import Validator
from spotcore.service.models import Library
from tests.support.databases import WarmDatabase
from tests.support.models import SHAPES, HereValidator, a_model, an_engine, manifest, safetensors
from tests.support.server import ADMIN_TOKEN, Reply, Site, a_site
from tests.unit.http.asgi import Exchange

ENGINE, UPLOAD = "/api/admin/decision-engine/upload", "/api/admin/ml-models/upload"
ACTIVATE, FALLBACK = "/api/admin/ml-models/activate", "/api/admin/ml-models/fallback"
SESSIONS = "/api/admin/ml-models/sessions"
BOUNDARY = "----the-boundary"
TYPE = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
LEGACY = {"X-Response-Shape": "legacy"}


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def lab(warm_database: WarmDatabase, shelf: Path) -> Iterator[Site]:
    """A site whose operator allows uploads, and that looks at models in this process."""
    with a_lab(warm_database, shelf, HereValidator()) as opened:
        yield opened


@pytest.fixture
def whole_lab(warm_database: WarmDatabase, shelf: Path) -> Iterator[Site]:
    """As ``lab``, with a worker process that looks at models."""
    with a_lab(warm_database, shelf, ProcessValidator()) as opened:
        yield opened


@contextmanager
def a_lab(warm_database: WarmDatabase, shelf: Path, validator: Validator) -> Iterator[Site]:
    library = Library(blobs=FileBlobs(shelf), validator=validator, uploads=True)
    with a_site(warm_database.connections, library) as opened:
        yield opened


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n"


def form(content: Mapping[str, bytes], /, field: str = "files", **texts: str) -> bytes:
    parts = [part(name, text.encode()) for name, text in texts.items()]
    parts += [part(field, one, filename) for filename, one in content.items()]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def send(site: Site, path: str, files: Mapping[str, bytes], field: str = "files", **texts: str) -> Reply:
    return site.call("POST", path, form(files, field, **texts), headers=TYPE)


def uploaded(site: Site, files: Mapping[str, bytes]) -> str:
    site.clock.advance(1)
    answer = send(site, UPLOAD, files)
    assert answer.status == 200, answer
    return str(answer.data["session_id"])


def activated(site: Site, files: Mapping[str, bytes]) -> str:
    session_id = uploaded(site, files)
    answer = site.call("POST", ACTIVATE, {"sessionId": session_id})
    assert answer.status == 200, answer
    return session_id


def live(site: Site) -> list[str]:
    return [one["id"] for one in site.call("GET", SESSIONS).data if one["isLive"]]


def names(shelf: Path) -> set[str]:
    """Everything on the shelf, half-written files too."""
    return {one.name for one in shelf.rglob("*") if one.is_file()}


def audited(database_url: str) -> list[tuple[str, str]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute("select kind, level from audit_events order by audit_id").fetchall()


# ---- the way of a model


def test_a_model_is_uploaded_activated_and_listed_e64_e65_e67(whole_lab: Site, database_url: str) -> None:
    files = a_model()
    sent = send(whole_lab, UPLOAD, files, model_name="risk", model_version="1", model_type="mlp")
    assert sent.status == 200
    session_id = sent.data["session_id"]
    assert sent.data == {
        "success": True,
        "files": ["manifest.json", "model.safetensors"],
        "files_uploaded": ["manifest.json", "model.safetensors"],
        "sessionId": session_id,
        "session_id": session_id,
        "requiresRestart": True,
        "model_status": {
            "filesUploaded": 2,
            "totalSize": sum(map(len, files.values())),
            "sessionType": "pending_activation",
        },
    }
    (pending,) = whole_lab.call("GET", SESSIONS).data
    assert (pending["status"], pending["isLive"], pending["activatedAt"]) == ("uploaded", False, None)
    whole_lab.clock.advance(60)
    done = whole_lab.call("POST", ACTIVATE, {"session_id": session_id})
    assert done.status == 200
    assert done.data == {
        "success": True,
        "sessionId": session_id,
        "restarting": False,
        "model_status": {"loaded": False, "type": "mlp"},
    }
    assert "No engine runs models yet" in done.body["message"]
    (item,) = whole_lab.call("GET", SESSIONS).data
    assert item == {
        "id": session_id,
        "session_id": session_id,
        "status": "active",
        "isLive": True,
        "isFallback": False,
        "fileCount": 2,
        "files": ["manifest.json", "model.safetensors"],
        "totalSize": sum(map(len, files.values())),
        "createdAt": "2026-03-02T12:00:00Z",
        "activatedAt": "2026-03-02T12:01:00Z",
    }
    assert audited(database_url) == [("ml_models_uploaded", "info"), ("ml_models_activated", "info")]


def test_a_rollback_restores_byte_identical_files_e66_failure_88(lab: Site, shelf: Path, database_url: str) -> None:
    first = activated(lab, a_model(0.1))
    before = {one.name: one.read_bytes() for one in shelf.iterdir() if one.is_file()}
    second = activated(lab, a_model(0.2))
    uploaded(lab, a_model(0.3))  # the same names, other bytes
    answer = lab.call("POST", FALLBACK)
    assert answer.status == 200
    assert answer.data == {
        "success": True,
        "fallbackSessionId": first,
        "fallback_session": first,
        "restarting": False,
    }
    assert live(lab) == [first]
    assert {one["id"]: one["status"] for one in lab.call("GET", SESSIONS).data}[second] == "archived"
    assert {name: (shelf / name).read_bytes() for name in before} == before
    assert ("ml_models_rollback", "warning") in audited(database_url)
    gone = lab.call("POST", FALLBACK)
    assert (gone.status, gone.body["code"]) == (404, "NOT_FOUND")
    assert live(lab) == [first]


def test_a_rejected_session_is_409_with_the_reason_and_the_live_one_stays_failure_86(
    whole_lab: Site, database_url: str
) -> None:
    good = activated(whole_lab, a_model())
    weights = {"model.safetensors": safetensors(SHAPES, layers__1__bias=[float("inf")])}
    bad = uploaded(whole_lab, {"manifest.json": json.dumps(manifest(weights)).encode(), **weights})
    for _ in range(2):
        answer = whole_lab.call("POST", ACTIVATE, {"model_id": bad})
        assert (answer.status, answer.body["code"]) == (409, "STATE_CONFLICT")
        assert "NaN or infinite" in answer.body["error"]
    assert live(whole_lab) == [good]
    assert [kind for kind, _ in audited(database_url)].count("ml_models_rejected") == 1


@pytest.mark.parametrize("body", [{}, {"sessionId": None}, {"sessionId": 7}, {"sessionId": "x" * 129}])
def test_activation_names_a_session_e65(lab: Site, body: dict[str, Any]) -> None:
    answer = lab.call("POST", ACTIVATE, body)
    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("session_id", ["nobody", "../../etc", "a\x00b"])
def test_an_unknown_session_is_404_e65_failure_87(lab: Site, session_id: str) -> None:
    first = activated(lab, a_model())
    answer = lab.call("POST", ACTIVATE, {"sessionId": session_id})
    assert (answer.status, answer.body["code"]) == (404, "NOT_FOUND")
    assert live(lab) == [first]


def test_sessions_activated_at_the_same_time_leave_one_live_s20_i12(whole_lab: Site) -> None:
    pending = [uploaded(whole_lab, a_model(value)) for value in (0.1, 0.2, 0.3, 0.4)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda one: whole_lab.call("POST", ACTIVATE, {"sessionId": one}), pending))
    assert {answer.status for answer in answers} <= {200, 409}
    assert len(live(whole_lab)) == 1
    assert sum(one["isFallback"] for one in whole_lab.call("GET", SESSIONS).data) <= 1


def test_one_session_activated_twice_at_the_same_time_is_live_and_no_fallback_s20(whole_lab: Site) -> None:
    pending = uploaded(whole_lab, a_model())
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: whole_lab.call("POST", ACTIVATE, {"sessionId": pending}), range(2)))
    assert 200 in {answer.status for answer in answers} <= {200, 409}  # busy: try again
    assert whole_lab.call("POST", ACTIVATE, {"sessionId": pending}).status == 200
    (item,) = whole_lab.call("GET", SESSIONS).data
    assert (item["isLive"], item["isFallback"]) == (True, False)


def test_the_legacy_shape_is_a_bare_array_of_live_fallback_and_newest_pending_t26_t42(lab: Site) -> None:
    oldest, older, newest = (activated(lab, a_model(value)) for value in (0.1, 0.2, 0.3))
    uploaded(lab, a_model(0.4))
    pending = uploaded(lab, a_model(0.5))
    rejected = uploaded(lab, {"manifest.json": b"{}", "m.safetensors": b"x"})
    assert lab.call("POST", ACTIVATE, {"sessionId": rejected}).status == 409
    listed = lab.call("GET", SESSIONS, headers=LEGACY).body
    assert [one["id"] for one in listed] == [pending, newest, older]
    assert [(one["isLive"], one["isFallback"]) for one in listed] == [(False, False), (True, False), (False, True)]
    whole = {one["id"]: one["status"] for one in lab.call("GET", SESSIONS).data}
    assert len(whole) == 6
    assert (whole[oldest], whole[older], whole[rejected]) == ("archived", "archived", "archived")


def test_without_sessions_the_list_is_empty_e67(lab: Site) -> None:
    assert lab.call("GET", SESSIONS).data == []
    assert lab.call("GET", SESSIONS, headers=LEGACY).body == []


def test_the_dashboard_uploads_and_activates_in_its_session_t42(lab: Site) -> None:
    signed_in = lab.call("POST", "/api/auth/login", {"token": ADMIN_TOKEN}, token=None)
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    page = {"Cookie": cookie, "Origin": "http://testserver", "Host": "testserver"}
    sent = lab.call("POST", UPLOAD, form(a_model()), token=None, headers={**TYPE, **page})
    assert (sent.status, sent.body["success"], sent.body["requiresRestart"]) == (200, True, True)
    done = lab.call("POST", ACTIVATE, {"sessionId": sent.body["sessionId"]}, token=None, headers=page)
    assert (done.status, done.body["restarting"]) == (200, False)
    (item,) = lab.call("GET", SESSIONS, token=None, headers=page).body
    assert item["isLive"] is True
    elsewhere = {**TYPE, **page, "Origin": "http://evil.example"}
    assert lab.call("POST", UPLOAD, form(a_model()), token=None, headers=elsewhere).status == 403


def test_nobody_but_the_admin_may_s06(lab: Site) -> None:
    tenant = lab.client("Acme")
    for method, path in (("POST", ENGINE), ("POST", UPLOAD), ("POST", ACTIVATE), ("POST", FALLBACK), ("GET", SESSIONS)):
        assert tenant.call(method, path).status in (401, 403), path
        assert lab.call(method, path, token=None).status == 401, path


# ---- the engine


def test_engine_parameters_are_stored_and_said_to_be_not_in_use_e63(lab: Site, database_url: str) -> None:
    answer = send(lab, ENGINE, an_engine("7", dear_ratio=0.75), field="engine")
    assert answer.status == 200
    assert answer.data == {
        "success": True,
        "files": ["rules.json"],
        "files_uploaded": ["rules.json"],
        "restarting": False,
        "engine_status": {"loaded": False, "type": "rules", "version": "7"},
    }
    assert "not in use" in answer.body["message"]
    assert audited(database_url) == [("decision_engine_updated", "info")]
    assert lab.call("GET", SESSIONS).data == []  # E67 is about models


def test_an_engine_that_is_refused_leaves_the_one_before_e63(lab: Site, shelf: Path) -> None:
    send(lab, ENGINE, an_engine("1"))
    before = names(shelf)
    for files in (
        {"rules.json": b'{"engine": "other"}'},
        {"rules.json": b"import os"},
        {**an_engine(), "b.json": b"{}"},
    ):
        answer = send(lab, ENGINE, files)
        assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR"), answer
    with lab.storage.transactions() as uow:
        assert [one.version for one in uow.models.serving()] == ["1"]
    assert names(shelf) == before


def test_the_state_of_the_system_names_what_is_live_and_loaded_is_false_e07(lab: Site) -> None:
    session_id = activated(lab, a_model())
    uploaded(lab, a_model(0.2))
    send(lab, ENGINE, an_engine("7"))
    data = lab.call("GET", "/api/admin/system-health").data
    files = data["modelStatus"].pop("files")
    assert data["modelStatus"] == {
        "loaded": False,
        "name": "risk",
        "version": "1.0",
        "filesUploaded": 2,
        "activeModels": [{"name": "risk", "version": "1.0", "active": True}],
    }
    assert [one["name"] for one in files] == ["manifest.json", "model.safetensors"]
    assert data["decisionEngine"] == "Not Loaded"
    engine = data["decisionEngineStatus"]
    assert (engine["loaded"], engine["type"], engine["version"]) == (False, "rules", "7")
    assert [one["name"] for one in engine["files"]] == ["rules.json"]
    assert live(lab) == [session_id]
    texts = [one["text"] for one in lab.call("GET", "/api/admin/activity").data]
    assert f"Model session {session_id} is live" in texts
    assert "Parameters 7 of the engine rules were stored" in texts


def test_the_overview_says_that_models_are_loaded_while_a_model_session_is_active_as_e57_has_it_e03(lab: Site) -> None:
    def said() -> bool:
        loaded: bool = lab.call("GET", "/api/admin/stats").data["mlModelsLoaded"]
        return loaded

    uploaded(lab, a_model())
    send(lab, ENGINE, an_engine("7"))
    assert said() is False  # parameters of an engine are no model
    session_id = activated(lab, a_model(0.2))
    assert (said(), live(lab)) == (True, [session_id])
    lab.plane.models.deactivate(session_id)
    assert said() is False


# ---- code and pickle


class Canary:
    """A pickle that leaves a trace when somebody opens it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.trace,))


def test_no_code_and_no_pickle_ever_runs_failure_85(whole_lab: Site, tmp_path: Path, shelf: Path) -> None:
    trace = tmp_path / "canary"
    poison = pickle.dumps(Canary(trace))
    code = f"open({str(trace)!r}, 'w')\n".encode()
    for name, content in (("m.pkl", poison), ("m.joblib", poison), ("m.h5", poison), ("m.py", code), ("m.onnx", code)):
        for path in (ENGINE, UPLOAD):
            answer = send(whole_lab, path, {**a_model(), name: content} if path == UPLOAD else {name: content})
            assert (answer.status, answer.body["code"]) == (400, "UNSUPPORTED_FILE_TYPE")
            for word in (name, "is not accepted", "can run commands", "all files", "drag and drop"):
                assert word in answer.body["error"]
    assert names(shelf) == set()  # nothing of the batches is kept
    disguised = {"model.safetensors": poison}
    session_id = uploaded(whole_lab, {"manifest.json": json.dumps(manifest(disguised)).encode(), **disguised})
    assert whole_lab.call("POST", ACTIVATE, {"sessionId": session_id}).status == 409
    answer = whole_lab.call("POST", ACTIVATE, {"sessionId": uploaded(whole_lab, {"model.pt": poison})})
    assert (answer.status, answer.body["code"]) == (409, "STATE_CONFLICT")
    assert "torch" in answer.body["error"]
    assert send(whole_lab, ENGINE, {"rules.json": poison}).status == 400
    assert send(whole_lab, ENGINE, {"rules.json": code}).status == 400
    assert not trace.exists()
    pickle.loads(poison)
    assert trace.exists()  # the canary does sing


# ---- the way in


def test_uploads_are_off_unless_the_operator_allows_them_s06(site: Site) -> None:
    for path, files in ((ENGINE, an_engine()), (UPLOAD, a_model()), (UPLOAD, {"m.py": b"x"})):
        answer = send(site, path, files)
        assert (answer.status, answer.body["code"]) == (403, "UPLOAD_DISABLED")
        assert "SPOTCORE_UPLOADS" in answer.body["error"]
    assert site.call("POST", UPLOAD).body["code"] == "UPLOAD_DISABLED"


def test_files_are_stored_once_under_their_hash_for_our_eyes_only_ms5_s07(lab: Site, shelf: Path) -> None:
    files = a_model()
    outside = {f"../../../{name}": content for name, content in files.items()}
    first, second = send(lab, UPLOAD, outside), send(lab, UPLOAD, files, field="model")
    assert first.data["files"] == second.data["files"] == list(files)
    assert names(shelf) == {hashlib.sha256(content).hexdigest() for content in files.values()}
    assert {(one.stat().st_mode & 0o777) for one in shelf.iterdir() if one.is_file()} == {0o600}
    assert shelf.stat().st_mode & 0o777 == 0o700
    assert not list((shelf / "incoming").iterdir())


BROKEN: dict[str, tuple[bytes, Mapping[str, str]]] = {
    "no body": (b"", TYPE),
    "no files": (form({}), TYPE),
    "another field": (form(a_model(), field="attachments"), TYPE),
    "a text for a file": (form({}, files="manifest.json"), TYPE),
    "no file chosen": (part("files", b"", "") + f"--{BOUNDARY}--\r\n".encode(), TYPE),
    "json": (b'{"files": []}', {"Content-Type": "application/json"}),
    "no boundary": (form(a_model()), {"Content-Type": "multipart/form-data"}),
    "another boundary": (form(a_model()), {"Content-Type": "multipart/form-data; boundary=other"}),
    "long boundary": (form(a_model()), {"Content-Type": f"multipart/form-data; boundary={'b' * 500}"}),
    "ends early": (form(a_model())[:-20], TYPE),
    "ends in a file": (form(a_model())[:400], TYPE),
    "huge header": (b"--" + BOUNDARY.encode() + b"\r\n" + b"A" * 100_000 + b": b\r\n\r\n", TYPE),
    "a name of nothing": (form({"\\": b"x"}), TYPE),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_body_without_files_is_400_and_nothing_is_kept_e64(lab: Site, shelf: Path, case: str) -> None:
    body, headers = BROKEN[case]
    answer = lab.call("POST", UPLOAD, body, headers=headers)
    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR"), answer
    assert names(shelf) == set()


def test_more_than_ten_files_are_413(lab: Site, shelf: Path) -> None:
    answer = send(lab, UPLOAD, {**a_model(), **{f"{n}.safetensors": b"x" for n in range(9)}})
    assert (answer.status, answer.body["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert names(shelf) == set()
    parts = b"".join(part(f"t{n}", b"x") for n in range(60))
    assert lab.call("POST", UPLOAD, parts + form(a_model()), headers=TYPE).status == 413


CHUNK = b"\0" * 65_536


def streamed(site: Site, sizes: list[int], headers: Mapping[str, str] | None = None) -> tuple[int, Any, int]:
    """Send files of these sizes piece by piece; status, body and how much was read."""

    async def main() -> tuple[int, Any, int]:
        sent = {"content-type": TYPE["Content-Type"], **(headers or {})}
        exchange = Exchange(site.app, "POST", UPLOAD, ADMIN_TOKEN, headers=sent)
        for number, size in enumerate(sizes):
            exchange.body(part("files", b"", f"{number}.safetensors")[:-2], more=True)
            for _ in range(size // len(CHUNK)):
                exchange.body(CHUNK, more=True)
            exchange.body(b"\r\n", more=True)
        exchange.body(f"--{BOUNDARY}--\r\n".encode())
        status, body = await exchange.answer()
        await exchange.ended()
        return status, body, exchange.received

    return asyncio.run(main())


def test_a_file_over_100_mib_is_413_and_nothing_is_kept(lab: Site, shelf: Path) -> None:
    status, body, received = streamed(lab, [MAX_FILE + len(CHUNK)])
    assert (status, body["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert received <= MAX_FILE + (2 << 20)
    assert names(shelf) == set()


def test_a_batch_over_256_mib_is_413_and_nothing_is_kept(lab: Site, shelf: Path) -> None:
    status, body, received = streamed(lab, [90 << 20] * 3)
    assert (status, body["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert received <= MAX_BATCH + (2 << 20)
    assert names(shelf) == set()


def test_an_announced_length_over_the_limit_is_413_before_anything_is_read(lab: Site) -> None:
    status, body, received = streamed(lab, [len(CHUNK)], {"content-length": str(MAX_BATCH + (2 << 20))})
    assert (status, body["code"], received) == (413, "PAYLOAD_TOO_LARGE", 0)


def test_a_large_file_is_never_in_memory_whole(lab: Site, shelf: Path) -> None:
    tracemalloc.start()
    try:
        status, body, _ = streamed(lab, [40 << 20])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (status, body["code"]) == (400, "UNSUPPORTED_FILE_TYPE")  # no manifest: known at the end only
    assert peak < 10 << 20
    assert names(shelf) == set()


def test_a_caller_who_hangs_up_leaves_nothing(lab: Site, shelf: Path) -> None:
    async def main() -> None:
        exchange = Exchange(lab.app, "POST", UPLOAD, ADMIN_TOKEN, headers={"content-type": TYPE["Content-Type"]})
        exchange.body(form(a_model())[:-100], more=True)
        for _ in range(40):
            exchange.body(CHUNK, more=True)
        exchange.hang_up()
        await exchange.ended()

    asyncio.run(main())
    assert names(shelf) == set()
    assert lab.call("GET", SESSIONS).data == []


def test_the_ordinary_body_limit_stays_1_mib_for_the_rest(lab: Site) -> None:
    assert lab.call("POST", ACTIVATE, b" " * ((1 << 20) + 1)).status == 413
