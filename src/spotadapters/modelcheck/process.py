"""Starts the worker, hands it open files, and takes its word; its death is a finding like any other (MS-6)."""

import json
import logging
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import spotcore
from spotcore.errors import StateConflict
from spotcore.manifest import MAX_DOCUMENT, BadManifest, read_document, text
from spotcore.models import Findings, ModelSession, is_state_dict
from spotcore.ports.models import BlobStore

log = logging.getLogger("spotadapters.modelcheck")

WALL_SECONDS: Final = 60.0
MAX_REJECTION: Final = 500
MAX_COMPLAINT: Final = 4_096
DIED: Final = "looking into the files failed; they may ask for more memory or time than is allowed"
START: Final = "import sys; sys.path.insert(0, sys.argv[1]); from spotadapters.modelcheck.worker import main; main()"
SOURCE: Final = str(Path(spotcore.__file__).parents[1])
NEEDS_TORCH: Final = (
    "A state dict (.pt, .pth) is a pickle. Only torch can check one (weights_only=True), and this server does without "
    "torch, so it is not opened at all. Convert it to .safetensors and upload that with a manifest.json."
)


class ProcessValidator:
    """``Validator``: one worker at a time, so that looking takes one of our threads and its share of the machine at
    most; whoever comes meanwhile is sent away to try again."""

    def __init__(self, *, wall_seconds: float = WALL_SECONDS, program: str = START) -> None:
        self._wall_seconds = wall_seconds
        self._program = program
        self._turn = threading.Lock()

    def unable(self, session: ModelSession) -> str | None:
        return NEEDS_TORCH if is_state_dict(session) else None

    def validate(self, session: ModelSession, blobs: BlobStore) -> Findings:
        if not self._turn.acquire(blocking=False):
            raise StateConflict("another model is being looked into; try again in a minute")
        try:
            return self._looked(session, blobs)
        finally:
            self._turn.release()

    def _looked(self, session: ModelSession, blobs: BlobStore) -> Findings:
        with ExitStack() as opened:
            request = []
            for one in session.files:
                try:
                    file = opened.enter_context(blobs.open(one.sha256))
                except FileNotFoundError:
                    return Findings(rejection=f"{one.label}: its bytes are gone")
                request.append({"label": one.label, "sha256": one.sha256, "size": one.size, "fd": file.fileno()})
            return self._asked(request)

    def _asked(self, request: list[dict[str, Any]]) -> Findings:
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:  # files: their size is limited
            try:
                done = subprocess.run(
                    [sys.executable, "-I", "-c", self._program, SOURCE],
                    input=json.dumps(request).encode() + b"\n",
                    stdout=said,
                    stderr=complained,
                    pass_fds=[one["fd"] for one in request],
                    env={},  # no secret of this server's
                    cwd="/",
                    timeout=self._wall_seconds,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return Findings(rejection="looking into the files took too long")
            if done.returncode != 0:
                complained.seek(0)
                complaint = complained.read(MAX_COMPLAINT).decode(errors="replace")
                log.warning("model_check_died", extra={"exit_status": done.returncode, "complaint": complaint})
                return Findings(rejection=DIED)
            said.seek(0)
            return _understood(said.read(MAX_DOCUMENT))


def _understood(answer: bytes) -> Findings:
    """The worker read what a stranger sent, so its word is checked too."""
    try:
        data = read_document(answer)
        if "rejection" in data:
            return Findings(rejection=str(data["rejection"])[:MAX_REJECTION])
        words = {name: text(data, name) for name in ("name", "version", "architecture", "scope")}
    except BadManifest:
        return Findings(rejection=DIED)
    return Findings(**words)
