"""``spotcore`` commands in processes of their own, forked from one that has loaded the program.

What they do and how they die is the same as of a command in a shell; only the second that each would spend on imports is
spent once. That a command starts from nothing is for the tests that use ``python -m``.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

from spotapp.cli import main

LOADED = ["spotapp.serving", "spotapp.commands.servers", "spotapp.commands.processes"]

_forks: ForkServerContext = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(LOADED)


class Command:
    """A running command; both its outputs are in ``log``."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._process = _forks.Process(target=_run, args=(list(words), dict(environment), str(log)), daemon=False)
        log.touch()
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its status, -9 for one that was killed; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        self._process.join(seconds)
        status = self._process.exitcode
        assert status is not None, f"still running after {seconds} s"
        return status

    def send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)


def _run(words: list[str], environment: Mapping[str, str], log: str) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.close(out)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["spotcore", *words]
    main(args=words, prog_name="spotcore")
