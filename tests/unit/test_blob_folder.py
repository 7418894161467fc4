"""The folder of uploaded bytes on a real disk: what it holds, who may read it, what a dead process leaves (MS-5)."""

import hashlib
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from spotadapters.files.blobs import LEFT_SECONDS, FileBlobs

CONTENT = b"weights" * 1_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def keep(blobs: FileBlobs, content: bytes = CONTENT) -> str:
    incoming = blobs.incoming()
    incoming.write(content)
    blobs.keep(incoming)
    return incoming.sha256


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "models"
    blobs = FileBlobs(folder)
    blobs.clear_incoming()
    assert blobs.names() == frozenset()
    blobs.remove(DIGEST)
    assert not folder.exists()


def test_folder_and_files_are_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        blobs = FileBlobs(tmp_path / "models")
        half = blobs.incoming()
        digest = keep(blobs)
    finally:
        os.umask(before)
    assert mode(tmp_path / "models") == mode(tmp_path / "models" / "incoming") == 0o700
    assert mode(tmp_path / "models" / digest) == mode(half.path) == 0o600
    half.discard()


def test_an_incoming_file_knows_its_size_and_hash_at_any_time(tmp_path: Path) -> None:
    incoming = FileBlobs(tmp_path).incoming()
    assert (incoming.size, incoming.sha256) == (0, hashlib.sha256(b"").hexdigest())
    for chunk in (b"ab", b"", b"c" * 100_000):
        incoming.write(chunk)
    whole = b"ab" + b"c" * 100_000
    assert (incoming.size, incoming.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert (incoming.head(3), incoming.head(0), len(incoming.head(10**9))) == (b"abc", b"", len(whole))
    incoming.discard()


def test_what_is_incoming_is_no_blob_yet_and_nobody_finds_it_by_its_hash(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    incoming = blobs.incoming()
    incoming.write(CONTENT)
    assert blobs.names() == frozenset()
    with pytest.raises(FileNotFoundError):
        blobs.open(DIGEST)
    blobs.keep(incoming)
    assert (blobs.names(), list((tmp_path / "incoming").iterdir())) == ({DIGEST}, [])


def test_a_settled_file_is_whole_on_the_disk_and_may_be_settled_again(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    incoming = blobs.incoming()
    incoming.write(CONTENT)
    incoming.settle()
    assert incoming.path.read_bytes() == CONTENT
    incoming.settle()
    assert incoming.head(7) == b"weights"
    blobs.keep(incoming)
    with blobs.open(DIGEST) as file:
        assert file.read() == CONTENT


def test_the_same_bytes_from_two_at_once_are_one_file(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    gate = threading.Barrier(6)

    def bring() -> None:
        incoming = blobs.incoming()
        incoming.write(CONTENT)
        gate.wait()
        blobs.keep(incoming)

    threads = [threading.Thread(target=bring) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (blobs.names(), (tmp_path / DIGEST).read_bytes()) == ({DIGEST}, CONTENT)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_open_file_is_read_to_its_end_though_it_is_removed(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    keep(blobs)
    with blobs.open(DIGEST) as file:
        blobs.remove(DIGEST)
        assert file.read() == CONTENT
    assert blobs.names() == frozenset()


def test_strangers_in_the_folder_are_no_blobs_and_stay(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    keep(blobs)
    for name in ("notes.txt", "A" * 64, "0" * 63, "0" * 65, ".hidden"):
        (tmp_path / name).write_bytes(b"x")
    assert blobs.names() == {DIGEST}
    blobs.clear_incoming()
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "incoming", "0" * 63, "0" * 64 + "\n", DIGEST.upper(), ""]
)
def test_nothing_but_a_hash_is_opened_or_removed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "models"
    blobs = FileBlobs(folder)
    keep(blobs)
    (tmp_path / "secret").write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        blobs.open(name)
    blobs.remove(name)
    assert (tmp_path / "secret").exists()
    assert blobs.names() == {DIGEST}


@pytest.mark.parametrize(("age", "kept"), [(0, True), (LEFT_SECONDS - 60, True), (LEFT_SECONDS + 60, False)])
def test_what_a_dead_process_left_ends_a_day_later(tmp_path: Path, age: float, kept: bool) -> None:
    blobs = FileBlobs(tmp_path)
    keep(blobs)
    incoming = blobs.incoming()
    then = time.time() - age
    for path in (incoming.path, tmp_path / DIGEST):
        os.utime(path, (then, then))
    blobs.clear_incoming()
    assert incoming.path.exists() is kept
    assert blobs.names() == {DIGEST}, "what is kept is kept"
    incoming.discard()


def test_a_discarded_file_leaves_nothing_and_may_be_discarded_again(tmp_path: Path) -> None:
    incoming = FileBlobs(tmp_path).incoming()
    incoming.write(CONTENT)
    for _ in range(2):
        incoming.discard()
    assert list((tmp_path / "incoming").iterdir()) == []
