"""Files under their hash: complete or not there, once, and never written over (MS-5, 88)."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from spotadapters.files.blobs import LEFT_SECONDS, FileBlobs
from spotadapters.memory.models import MemoryBlobs
from spotapp.settings import SettingsError, load_settings
from spotcore.ports.models import BlobStore


@pytest.fixture(params=["files", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return FileBlobs(tmp_path / "models") if request.param == "files" else MemoryBlobs()


def kept(blobs: BlobStore, content: bytes) -> str:
    incoming = blobs.incoming()
    incoming.write(content[:3])
    incoming.write(content[3:])
    assert (incoming.size, incoming.head(2)) == (len(content), content[:2])
    digest = incoming.sha256
    blobs.keep(incoming)
    incoming.discard()  # what is kept stays
    return digest


def test_bytes_are_found_under_their_hash_until_they_are_removed(blobs: BlobStore) -> None:
    assert blobs.names() == frozenset()
    digest = kept(blobs, b"weights")
    assert digest == hashlib.sha256(b"weights").hexdigest()
    with blobs.open(digest) as file:
        assert file.read() == b"weights"
    assert blobs.names() == {digest}
    for _ in range(2):
        blobs.remove(digest)
    assert blobs.names() == frozenset()
    with pytest.raises(FileNotFoundError):
        blobs.open(digest)


def test_bytes_that_are_not_kept_leave_nothing(blobs: BlobStore) -> None:
    incoming = blobs.incoming()
    incoming.write(b"half")
    for _ in range(2):
        incoming.discard()
    assert blobs.names() == frozenset()


@pytest.mark.parametrize("name", ["", "..", "../seal.key", "a" * 63, "A" * 64, "incoming"])
def test_only_a_hash_names_a_file(blobs: BlobStore, name: str) -> None:
    kept(blobs, b"weights")
    with pytest.raises(FileNotFoundError):
        blobs.open(name)


def test_the_same_bytes_again_do_not_touch_the_file(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    digest = kept(blobs, b"weights")
    before = (tmp_path / digest).stat()
    assert kept(blobs, b"weights") == digest
    assert (tmp_path / digest).stat() == before
    assert before.st_mode & 0o777 == 0o600
    assert not list((tmp_path / "incoming").iterdir())


def test_what_a_dead_process_left_ends_a_day_later_and_what_is_at_work_stays(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    blobs.clear_incoming()
    at_work, left = blobs.incoming(), blobs.incoming()
    long_ago = time.time() - LEFT_SECONDS - 60
    os.utime(left.path, (long_ago, long_ago))
    blobs.clear_incoming()
    assert (at_work.path.exists(), left.path.exists()) == (True, False)
    at_work.discard()
    left.discard()


def test_uploads_are_a_setting_that_is_off_s06() -> None:
    assert load_settings({}).uploads is False
    assert load_settings({"SPOTCORE_UPLOADS": "on"}).uploads is True
    with pytest.raises(SettingsError, match="SPOTCORE_UPLOADS"):
        load_settings({"SPOTCORE_UPLOADS": "perhaps"})
