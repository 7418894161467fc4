"""What is said of uploaded files, in a process of its own (MS-2, MS-4, MS-6, 11.2)."""

import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spotadapters.files.blobs import FileBlobs
from spotadapters.modelcheck import ProcessValidator, worker
from spotadapters.modelcheck.process import DIED, SOURCE
from spotadapters.modelcheck.tensors import BadTensors
from spotcore.errors import StateConflict
from spotcore.manifest import BadManifest
from spotcore.models import Findings, ModelFile, ModelSession, SessionKind
from tests.support.models import FEATURES, SHAPES, a_model, framed, manifest, safetensors
from tests.support.world import START


def found(folder: Path, files: Mapping[str, bytes], validator: ProcessValidator | None = None) -> Findings:
    blobs = FileBlobs(folder)
    rows = []
    for label, content in files.items():
        incoming = blobs.incoming()
        incoming.write(content)
        rows.append(ModelFile(label=label, sha256=incoming.sha256, size=incoming.size))
        blobs.keep(incoming)
    return (validator or ProcessValidator()).validate(session_of(rows), blobs)


def session_of(rows: list[ModelFile]) -> ModelSession:
    return ModelSession(
        session_id="s", kind=SessionKind.MODEL, files=tuple(rows), created_at=START, changed_at=START
    )  # fmt: skip


def with_weights(content: bytes, **changes: Any) -> dict[str, bytes]:
    weights = {"model.safetensors": content}
    return {"manifest.json": json.dumps(manifest(weights, **changes)).encode(), **weights}


def test_a_sound_model_is_described_by_its_manifest(tmp_path: Path) -> None:
    assert found(tmp_path, a_model(scope="us-east-1")) == Findings(
        name="risk", version="1.0", architecture="mlp", scope="us-east-1"
    )


def test_weights_may_stand_in_several_files(tmp_path: Path) -> None:
    first = {name: shape for name, shape in SHAPES.items() if name.startswith("layers.0")}
    second = {name: shape for name, shape in SHAPES.items() if name.startswith("layers.1")}
    weights = {"a.safetensors": safetensors(first), "b.safetensors": safetensors(second)}
    files = {"manifest.json": json.dumps(manifest(weights)).encode(), **weights}
    assert found(tmp_path, files).rejection is None
    twice = {"a.safetensors": safetensors(SHAPES), "b.safetensors": safetensors(second)}
    refused = found(tmp_path, {"manifest.json": json.dumps(manifest(twice)).encode(), **twice}).rejection
    assert refused is not None
    assert "two files" in refused


NAN, INFINITE = float("nan"), float("inf")
LARGE_HEADER = struct.pack("<Q", 1 << 62) + b"{}"
WRONG_WEIGHTS: dict[str, tuple[bytes, str]] = {
    "nan": (safetensors(SHAPES, layers__1__bias=[NAN]), "NaN or infinite"),
    "infinite": (safetensors(SHAPES, layers__0__bias=[0, 0, -INFINITE, 0]), "NaN or infinite"),
    "missing": (safetensors({"layers.0.weight": (4, 3)}), "missing: layers.0.bias"),
    "unknown": (safetensors({**SHAPES, "extra": (1,)}), "no such tensor"),
    "shape": (safetensors({**SHAPES, "layers.0.weight": (3, 4)}), "[4, 3] is needed"),
    "dtype": (safetensors(SHAPES, dtype="F64"), "must be F32"),
    "short": (b"\x01\x02", "too short"),
    "header length": (LARGE_HEADER, "length makes no sense"),
    "header": (framed(b"[1, 2]", b""), "no JSON object"),
    "twins": (framed(b'{"a": {}, "a": {}}', b""), "no JSON object"),
    "deep": (framed(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b""), "no JSON object"),
    "empty": (framed({}, b""), "1 to 1000 tensors"),
    "gap": (framed({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8), "gap"),
    "overlap": (
        framed({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in "ab"}, b"\0" * 4),
        "overlap",
    ),
    "beyond": (framed({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}, b"\0" * 4), "longer or shorter"),
    "trailing": (safetensors(SHAPES) + b"import os", "longer or shorter"),
    "negative": (framed({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}, b""), "whole numbers"),
    "huge": (framed({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, b"\0" * 4), "whole numbers"),
    "pickle": (pickle.dumps({"layers.0.weight": [1.0]}), "makes no sense"),
}


def refused(files: Mapping[str, bytes]) -> str:
    """What the worker refuses files with. It does here, where it could do harm to nobody but this test, what it does in
    its process; that the process says so too is for the tests that start one."""
    opened = {label: (io.BytesIO(content), sha256(content), len(content)) for label, content in files.items()}
    with pytest.raises((BadManifest, BadTensors)) as refusal:
        worker.findings(opened)
    return str(refusal.value)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_weights_that_are_not_what_they_must_be_are_rejected_with_the_reason(case: str) -> None:
    content, reason = WRONG_WEIGHTS[case]
    assert reason in refused(with_weights(content))


@pytest.mark.parametrize("case", ["deep", "huge", "pickle"])
def test_the_process_hands_the_reason_back_and_survives_what_was_sent_ms6(tmp_path: Path, case: str) -> None:
    content, reason = WRONG_WEIGHTS[case]
    assert reason in str(found(tmp_path, with_weights(content)).rejection)


def features(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "current_price", "unit": "usd_per_hour", "range": [0, 1], "missing": "zero", **changes}] * 1


WRONG_MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "engine"}, "kind"),
    "name": ({"name": None}, "name"),
    "version": ({"version": 3}, "version"),
    "unknown architecture ms2": ({"architecture": {"name": "os.system", "hidden": []}}, "must be one of mlp"),
    "hidden": ({"architecture": {"name": "mlp", "hidden": [10**9]}}, "1 to 4096"),
    "hidden is a flag": ({"architecture": {"name": "mlp", "hidden": [True]}}, "whole numbers"),
    "feature the server cannot supply": ({"features": features(name="moon_phase")}, "cannot supply 'moon_phase'"),
    "unit": ({"features": features(unit="eur")}, "usd_per_hour"),
    "range": ({"features": features(range=[1, 0])}, "smaller"),
    "missing policy": ({"features": features(missing="guess")}, "missing must be"),
    "feature twice": ({"features": features() * 2}, "each name once"),
    "scale": ({"normalisation": {"mean": [0, 0, 0], "scale": [1, 0, 1]}}, "scale"),
    "mean": ({"normalisation": {"mean": [0], "scale": [1, 1, 1]}}, "mean"),
    "output": ({"outputs": [{"name": "rm", "range": [0, 1]}]}, "outputs"),
    "threshold": ({"confidence_threshold": 1.5}, "confidence_threshold"),
    "scope": ({"scope": "../../etc"}, "scope"),
    "dataset": ({"dataset": {"id": "x", "sha256": "short"}}, "SHA-256"),
    "digest": ({"files": {"model.safetensors": "1" * 64}}, "files"),
    "extra file": ({"files": {"model.safetensors": "1" * 64, "other.safetensors": "1" * 64}}, "files"),
    "no files": ({"files": None}, "files"),
}


@pytest.mark.parametrize("case", WRONG_MANIFESTS)
def test_a_manifest_that_says_less_or_other_than_it_must_is_rejected(case: str) -> None:
    changes, reason = WRONG_MANIFESTS[case]
    assert reason in refused(a_model(**changes))


def test_bytes_that_changed_on_the_disk_are_rejected_before_they_are_parsed_ms4(tmp_path: Path) -> None:
    files = a_model()
    digest = sha256(files["model.safetensors"])
    found(tmp_path, files)
    (tmp_path / digest).write_bytes(safetensors(SHAPES, 0.25))
    rows = [ModelFile(label=label, sha256=sha256(content), size=len(content)) for label, content in files.items()]
    assert "have changed" in str(ProcessValidator().validate(session_of(rows), FileBlobs(tmp_path)).rejection)
    (tmp_path / digest).unlink()
    assert "gone" in str(ProcessValidator().validate(session_of(rows), FileBlobs(tmp_path)).rejection)


def test_a_look_that_takes_too_long_is_a_rejection_ms6(tmp_path: Path) -> None:
    rejection = found(tmp_path, a_model(), ProcessValidator(wall_seconds=0.001)).rejection
    assert rejection == "looking into the files took too long"


def test_the_death_of_the_worker_and_a_silly_answer_are_rejections_ms6(tmp_path: Path) -> None:
    for program in (
        "import os; os.kill(os.getpid(), 9)",
        "print('not json')",
        """print('{"name": 1}')""",
        "import nosuch",
    ):
        assert found(tmp_path, a_model(), ProcessValidator(program=program)).rejection == DIED


def test_one_look_at_a_time_and_whoever_comes_meanwhile_may_try_again(tmp_path: Path) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"
    program = f"import os, time\nopen({str(begun)!r}, 'w').close()\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)"
    validator = ProcessValidator(program=program)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(found, tmp_path / "a", a_model(), validator)
        until = time.monotonic() + 30
        while not begun.exists() and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(StateConflict, match="try again"):
            found(tmp_path / "b", a_model(), validator)
        go_on.touch()
        assert first.result().rejection == DIED
    assert found(tmp_path / "b", a_model(), validator).rejection == DIED


PROBE = """
import sys; sys.path.insert(0, sys.argv[1])
import json, os, resource, socket
from spotadapters.modelcheck import worker
worker.give_up_rights()
def refused(what):
    try:
        what()
    except (OSError, MemoryError) as refusal:
        return type(refusal).__name__
    return "allowed"
print(json.dumps({
    "file": refused(lambda: open("/etc/hostname")),
    "socket": refused(lambda: socket.socket()),
    "process": refused(lambda: os.fork() or os._exit(0)),
    "memory": refused(lambda: bytearray(2 << 30)),
    "user": os.geteuid(),
    "processor": resource.getrlimit(resource.RLIMIT_CPU)[1],
    "environment": sorted(os.environ),
}))
"""


def test_the_worker_cannot_open_anything_nor_take_more_than_its_share_ms6() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROBE, SOURCE], env={}, capture_output=True, check=True, timeout=60
    )
    seen = json.loads(done.stdout)
    assert (seen["file"], seen["socket"], seen["process"], seen["memory"]) == (
        "OSError",
        "OSError",
        "BlockingIOError",
        "MemoryError",
    )
    assert seen["processor"] == 30
    assert seen["user"] == (65_534 if os.geteuid() == 0 else os.geteuid())
    assert set(seen["environment"]) <= {"LC_CTYPE"}  # the interpreter's own


def test_every_feature_of_the_list_is_one_that_a_snapshot_has() -> None:
    from attrs import fields_dict

    from spotcore.decisions import Candidate, Snapshot
    from spotcore.manifest import FEATURES as KNOWN

    for name in KNOWN:
        kind, plain = (
            (Candidate, name.removeprefix("candidate_")) if name.startswith("candidate_") else (Snapshot, name)
        )
        assert plain in fields_dict(kind), name
    assert set(FEATURES) <= set(KNOWN)
