"""A model on a server as a user starts it: real sockets, a real folder, and live again after a kill (11.2)."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from tests.support.models import SHAPES, a_model, manifest, safetensors
from tests.support.up import TOKEN, Up

UPLOAD, ACTIVATE = "/api/admin/ml-models/upload", "/api/admin/ml-models/activate"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def send(up: Up, files: Mapping[str, bytes]) -> httpx2.Response:
    sent: list[tuple[str, Any]] = [("files", (name, content)) for name, content in files.items()]
    return httpx2.post(up.url + UPLOAD, files=sent, headers=AUTHORIZED, timeout=60, verify=False)


def live(up: Up) -> list[str]:
    answer = httpx2.get(f"{up.url}/api/admin/ml-models/sessions", headers=AUTHORIZED, timeout=10, verify=False)
    return [one["id"] for one in answer.json()["data"] if one["isLive"]]


def test_a_model_stays_live_and_whole_through_a_kill_88(folder: Path) -> None:
    up = Up(folder, SPOTCORE_ADMIN_TOKEN=TOKEN, SPOTCORE_UPLOADS="on")
    weights = {"model.safetensors": safetensors(SHAPES)}
    files = {"manifest.json": json.dumps(manifest(weights)).encode(), **weights}
    session_id = send(up, files).json()["data"]["session_id"]
    done = up.post(ACTIVATE, {"sessionId": session_id})
    assert (done.status_code, done.json()["data"]["restarting"]) == (200, False)
    up.stop(signal.SIGKILL)
    again = Up(folder, SPOTCORE_ADMIN_TOKEN=TOKEN)
    assert live(again) == [session_id]
    kept = [one.read_bytes() for one in (folder / "models").iterdir() if one.is_file()]
    assert sorted(kept) == sorted(files.values())
    off = send(again, files)
    assert (off.status_code, off.json()["code"]) == (403, "UPLOAD_DISABLED")
    again.stop()


def test_a_large_refused_file_is_read_to_its_end_so_that_the_text_arrives(folder: Path) -> None:
    up = Up(folder, SPOTCORE_ADMIN_TOKEN=TOKEN, SPOTCORE_UPLOADS="on")
    answer = send(up, {**a_model(), "model.pkl": bytes(30 << 20)})
    assert (answer.status_code, answer.json()["code"]) == (400, "UNSUPPORTED_FILE_TYPE")
    assert "drag and drop" in answer.json()["error"]
    assert not [one for one in (folder / "models").rglob("*") if one.is_file()]
    up.stop()
