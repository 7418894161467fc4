"""The process that looks into a session's files (MS-6). It gets open files and a request, and says what it finds.

Before it reads a byte that somebody sent it gives up what it can: root's rights, all memory beyond 1 GiB, all
processor time beyond 30 s, and the means to open anything: with no descriptor left to have there is no file, no socket
and no other process.
"""

import contextlib
import hashlib
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

from spotadapters.modelcheck.tensors import CHUNK, BadTensors, check_finite, read_header
from spotcore.manifest import MAX_DOCUMENT, BadManifest, Manifest, manifest_of, read_document
from spotcore.models import MANIFEST, MAX_FILE, WEIGHTS

MEMORY: Final = 1 << 30
CPU_SECONDS: Final = 30
NOBODY: Final = 65_534
NICE: Final = 10
LIMITS: Final = (
    (resource.RLIMIT_AS, MEMORY),
    (resource.RLIMIT_CPU, CPU_SECONDS),
    (resource.RLIMIT_FSIZE, MAX_DOCUMENT),  # its answer alone
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NPROC, 0),
    (resource.RLIMIT_NOFILE, 0),  # what is open stays open
)


def give_up_rights() -> None:
    """Keep what is open, and nothing else. Cannot be taken back."""
    os.nice(NICE)  # a failover never waits for a look into a model
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # a container may have taken the right to change it already
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    for what, most in LIMITS:
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def findings(files: Mapping[str, tuple[BinaryIO, str, int]]) -> dict[str, str]:
    """What is to be said of files: label → (content, recorded hash, size). Raises ``BadManifest``, ``BadTensors``."""
    for label, (file, digest, _) in files.items():
        if hash_of(file) != digest:
            raise BadTensors(f"{label}: its bytes have changed since it was uploaded")
    by_name = {label.lower(): label for label in files}
    manifest = manifest_of(read_document(_start(files[by_name[MANIFEST]][0])))
    weights = {label: rest for label, rest in files.items() if label.lower().endswith(WEIGHTS)}
    if dict(manifest.files) != {label: digest for label, (_, digest, _) in weights.items()}:
        raise BadManifest("files: must name every weights file, and no other, with its SHA-256")
    check_tensors(manifest, [(file, size) for file, _, size in weights.values()])
    return {
        "name": manifest.name,
        "version": manifest.version,
        "architecture": manifest.architecture,
        "scope": manifest.scope,
    }


def check_tensors(manifest: Manifest, weights: Sequence[tuple[BinaryIO, int]]) -> None:
    """Names and shapes as the architecture wants them over all files together; every number finite."""
    found: dict[str, tuple[int, ...]] = {}
    for file, size in weights:
        file.seek(0)
        data, tensors = read_header(file, size)
        for one in tensors.values():
            if one.name in found:
                raise BadTensors(f"{one.name[:100]}: stands in two files")
            wanted = manifest.shapes.get(one.name)
            if wanted is None:
                raise BadTensors(f"{one.name[:100]}: {manifest.architecture} has no such tensor")
            if one.shape != wanted:
                raise BadTensors(f"{one.name[:100]}: shape {list(one.shape)}, {list(wanted)} is needed")
            found[one.name] = one.shape
        for one in tensors.values():
            check_finite(file, data, one)
    missing = sorted(set(manifest.shapes) - set(found))
    if missing:
        raise BadTensors(f"missing: {', '.join(missing[:5])}")


def hash_of(file: BinaryIO) -> str:
    """SHA-256 of a file of at most the size an upload can have."""
    digest, read = hashlib.sha256(), 0
    while (chunk := file.read(CHUNK)) and read <= MAX_FILE:
        digest.update(chunk)
        read += len(chunk)
    return digest.hexdigest()


def _start(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(MAX_DOCUMENT + 1)


def main() -> None:
    """Read a request from the standard input, answer on the standard output."""
    request: list[dict[str, Any]] = json.loads(sys.stdin.readline())
    files = {one["label"]: (os.fdopen(one["fd"], "rb"), one["sha256"], one["size"]) for one in request}
    give_up_rights()
    try:
        answer = findings(files)
    except (BadManifest, BadTensors) as refusal:
        answer = {"rejection": str(refusal)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
