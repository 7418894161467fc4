"""A stopped stack with a migrated database, made once for all workers of a session: a copy costs a sixth of another."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg
from attrs import define

from spotadapters.embedded import EmbeddedStack
from spotadapters.postgres.migrate import migrate

TEMPLATE: Final = "template_spotcore"
"""A migrated database that nobody connects to, to be copied."""

VARIABLE: Final = "SPOTCORE_TEST_STACK"  # the folder, for workers
MADE, FAILED = "made", "failed"
PATIENCE_SECONDS: Final = 60


@define
class Preparation:
    """At work in the background while tests are collected."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @classmethod
    def begin(cls, where: str | None) -> "Preparation":
        folder = Path(tempfile.mkdtemp(prefix="spotcore-prepared-", dir=where))
        process = subprocess.Popen([sys.executable, "-m", __name__, str(folder)], cwd=Path(__file__).parents[2])
        os.environ[VARIABLE] = str(folder)
        return cls(folder, process)

    def end(self) -> None:
        os.environ.pop(VARIABLE, None)
        self.process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)


def lay_out(target: Path) -> bool:
    """Copy the prepared stack to ``target``, which does not exist yet. False when this session has none: then a stack
    there begins empty."""
    where = os.environ.get(VARIABLE)
    if where is None:
        return False
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (Path(where) / MADE).exists():
        if (Path(where) / FAILED).exists() or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    subprocess.run(
        ["cp", "-a", f"{where}/data", str(target)], check=True
    )  # owners too: servers may run as another user
    return True


def add_template(stack: EmbeddedStack) -> None:
    """Make the database to copy, if it is not there."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", (TEMPLATE,)).fetchone() is None:
            connection.execute(f"create database {TEMPLATE} template template1")
            migrate(stack.database_url.rpartition("/")[0] + f"/{TEMPLATE}")


def _make(folder: Path) -> None:
    folder.chmod(0o755)  # ours alone; the servers' user must pass through
    try:
        with EmbeddedStack(folder / "data", on_event=lambda _: None) as stack:
            migrate(stack.database_url)
            add_template(stack)
    except BaseException:
        (folder / FAILED).touch()
        raise
    (folder / MADE).touch()


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
