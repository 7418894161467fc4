"""A file system of a few megabytes, to be filled to the last byte.

Root mounts one. Anybody else makes a name space with a mount of its own and reaches into it through ``/proc``.
"""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NEEDS = (
    "this test needs a small file system of its own: run it as root where root may mount a tmpfs (in a container: with "
    "the capability SYS_ADMIN), or as a user who may create user name spaces (unshare --user --mount): {}"
)
BLOCK = 1 << 16


@contextmanager
def a_small_disk(at: Path, megabytes: int) -> Iterator[None]:
    """``at`` leads to an empty file system of that size; it is gone at the end."""
    options = f"size={megabytes}m,mode=755"
    if os.geteuid() != 0:
        with _in_a_name_space(at, options):
            yield
        return
    at.mkdir()
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(at))


@contextmanager
def _in_a_name_space(at: Path, options: str) -> Iterator[None]:
    inside = at.with_name(f"{at.name}-mount")
    inside.mkdir()
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && echo mounted && exec sleep 600'
    command = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", script, "sh", options, str(inside)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as keeper:
        try:
            assert keeper.stdout is not None
            said = keeper.stdout.readline()
            if said.strip() != "mounted":
                pytest.fail(NEEDS.format(said.strip()))
            at.symlink_to(f"/proc/{keeper.pid}/root{inside}")
            yield
        finally:
            keeper.kill()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(NEEDS.format(done.stderr.strip()))


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is free inside, by a file that is gone afterwards."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as out:
            size = BLOCK
            while size:
                try:
                    out.write(b"\0" * size)
                except OSError as failure:
                    assert failure.errno == errno.ENOSPC, failure
                    size //= 16
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            ballast.unlink()
