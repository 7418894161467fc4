"""What the embedded servers keep in the data folder: who may read it, what a killed start leaves, two starts at once."""

import fcntl
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spotadapters.embedded import (
    EmbeddedError,
    EmbeddedStack,
    has_database,
    running_database_url,
    running_redis_url,
    stack,
)
from spotadapters.embedded.account import Account
from spotadapters.embedded.postgres import EmbeddedPostgres
from spotadapters.embedded.valkey import EmbeddedValkey

OWN = Account(None, None)
INITDB = """#!/bin/sh
# makes what the real one makes, as far as anybody looks
for word; do case "$word" in --pwfile=*) password=${word#--pwfile=};; esac; done
cp "$password" "$2/seen-password"
echo 16 > "$2/PG_VERSION"
exit 0
"""


def program(folder: Path, text: str) -> Path:
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    file = programs / "initdb"
    file.write_text(text)
    file.chmod(0o755)
    return programs


def postgres(folder: Path, script: str = INITDB, *, durable: bool = True) -> EmbeddedPostgres:
    return EmbeddedPostgres(program(folder, script), folder / "postgres", OWN, lambda _: None, durable=durable)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# ---- the password of the database


def test_the_password_is_long_random_kept_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    first = postgres(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{48}", first.password)
    assert mode(tmp_path / "postgres" / "password") == 0o600
    assert postgres(tmp_path).password == first.password
    (tmp_path / "other").mkdir()
    assert postgres(tmp_path / "other").password != first.password


@pytest.mark.parametrize("text", ["", "\n", "  "])
def test_a_password_that_a_killed_start_did_not_write_is_made_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "postgres").mkdir()
    file = tmp_path / "postgres" / "password"
    file.write_text(text)
    file.chmod(0o644)
    assert len(postgres(tmp_path).password) == 48
    assert mode(file) == 0o600


def test_a_lost_password_of_a_database_that_is_there_is_named_and_not_replaced(tmp_path: Path) -> None:
    postgres(tmp_path)._initialise()
    file = tmp_path / "postgres" / "password"
    file.unlink()
    with pytest.raises(EmbeddedError) as refused:
        postgres(tmp_path)
    assert str(file) in str(refused.value)
    assert "backup" in str(refused.value)
    assert not file.exists()


# ---- the first start


def test_a_first_start_leaves_the_cluster_closed_and_no_password_beside_it(tmp_path: Path) -> None:
    one = postgres(tmp_path)
    assert not has_database(tmp_path)
    one._initialise()
    assert has_database(tmp_path)
    assert mode(tmp_path / "postgres" / "cluster") == 0o700
    assert (tmp_path / "postgres" / "cluster" / "seen-password").read_text() == one.password
    assert sorted(file.name for file in (tmp_path / "postgres").iterdir()) == ["cluster", "password"]


def test_a_first_start_that_was_killed_half_way_is_begun_anew(tmp_path: Path) -> None:
    killed = postgres(tmp_path, '#!/bin/sh\necho 16 > "$2/PG_VERSION"; echo half > "$2/half"; kill -9 $$\n')
    with pytest.raises(EmbeddedError, match="initdb failed"):
        killed._initialise()
    assert not has_database(tmp_path)
    assert not (tmp_path / "postgres" / "initial-password").exists()
    (tmp_path / "postgres" / "initial-password").write_text("left behind")
    postgres(tmp_path)._initialise()
    assert has_database(tmp_path)
    assert not (tmp_path / "postgres" / "cluster" / "half").exists()


def test_a_failure_of_the_first_start_has_the_last_words_of_the_program(tmp_path: Path) -> None:
    script = "#!/bin/sh\necho could not create directory: No space left on device >&2\nexit 1\n"
    with pytest.raises(EmbeddedError, match="No space left on device"):
        postgres(tmp_path, script)._initialise()


def test_only_a_database_of_tests_is_made_without_waiting_for_disks(tmp_path: Path) -> None:
    script = '#!/bin/sh\necho "$@" > "$2/words"\n'
    for durable in (True, False):
        folder = tmp_path / str(durable)
        folder.mkdir()
        one = postgres(folder, script, durable=durable)
        one._initialise()
        words = (folder / "postgres" / "cluster" / "words").read_text()
        assert ("--no-sync" in words) is not durable
        assert all(word in words for word in ("--auth=scram-sha-256", "-E UTF8", "--locale=C.UTF-8"))
        assert one.password not in words  # no process list shows it
        started = " ".join(one.server._command)
        assert [f"{name}=off" in started for name in ("fsync", "synchronous_commit", "full_page_writes")] == [
            not durable
        ] * 3
        assert "listen_addresses=127.0.0.1" in started
        assert one.password not in started


# ---- a database that runs


@contextmanager
def a_postmaster(data: Path, *, port: str = "54321", name: str = "postgres") -> Iterator[int]:
    """A process whose command line is that of a server on this folder."""
    cluster = data / "postgres" / "cluster"
    cluster.mkdir(parents=True, exist_ok=True)
    (data / "postgres" / "password").write_text("secret\n")
    words = [f"/usr/lib/{name}", "-c", "import time; time.sleep(60)", str(cluster)]
    with subprocess.Popen(words, executable=sys.executable) as running:
        while not Path(f"/proc/{running.pid}/cmdline").read_bytes():
            time.sleep(0.001)  # it has begun, and its words are not there yet
        (cluster / "postmaster.pid").write_text(f"{running.pid}\n{cluster}\n1700000000\n{port}\n\n127.0.0.1\n")
        try:
            yield running.pid
        finally:
            running.kill()


def test_the_address_of_a_database_that_runs_is_found_with_its_password(tmp_path: Path) -> None:
    with a_postmaster(tmp_path):
        assert running_database_url(tmp_path) == "postgresql://spotcore:secret@127.0.0.1:54321/spotcore"
        (tmp_path / "postgres" / "password").unlink()
        assert running_database_url(tmp_path) is None  # not ours to read
    assert running_database_url(tmp_path) is None


def test_another_process_under_the_pid_of_a_dead_server_is_no_database(tmp_path: Path) -> None:
    with a_postmaster(tmp_path, name="python"):
        assert running_database_url(tmp_path) is None
    with a_postmaster(tmp_path / "one") as pid:
        other = tmp_path / "two" / "postgres" / "cluster"
        other.mkdir(parents=True)
        (other / "postmaster.pid").write_text(f"{pid}\n{other}\n0\n5432\n")
        assert running_database_url(tmp_path / "two") is None  # a postgres, but on another folder


@pytest.mark.parametrize("text", ["", "\n", "x\n", "-1\n", "99999999\n", "1\n2\n"])
def test_a_pid_file_of_any_content_is_no_running_database(tmp_path: Path, text: str) -> None:
    cluster = tmp_path / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "postmaster.pid").write_text(text)
    assert running_database_url(tmp_path) is None
    assert has_database(tmp_path)


def test_a_pid_file_whose_port_is_not_written_yet_is_no_running_database(tmp_path: Path) -> None:
    with a_postmaster(tmp_path, port=""):
        assert running_database_url(tmp_path) is None


def test_where_nothing_was_started_there_is_neither_database_nor_cache(tmp_path: Path) -> None:
    assert not has_database(tmp_path / "x")
    assert running_database_url(tmp_path / "x") is None
    assert running_redis_url(tmp_path / "x") is None


# ---- Valkey


def test_valkey_listens_to_this_machine_alone_with_a_password_and_keeps_nothing(tmp_path: Path) -> None:
    one = EmbeddedValkey(tmp_path / "valkey-server", tmp_path / "valkey", OWN, lambda _: None)
    file = tmp_path / "valkey" / "valkey.conf"
    lines = dict(line.split(" ", 1) for line in file.read_text().splitlines())
    assert mode(file) == 0o600
    assert (lines["bind"], lines["port"], lines["requirepass"]) == ("127.0.0.1", str(one.port), one.password)
    assert (lines["save"], lines["appendonly"]) == ('""', "no")
    assert one.url == f"redis://:{one.password}@127.0.0.1:{one.port}/0"
    assert one.password not in " ".join(one.server._command)


def test_each_start_of_valkey_has_a_new_password_in_a_closed_file(tmp_path: Path) -> None:
    first = EmbeddedValkey(tmp_path / "p", tmp_path / "valkey", OWN, lambda _: None)
    (tmp_path / "valkey" / "valkey.conf").chmod(0o644)
    second = EmbeddedValkey(tmp_path / "p", tmp_path / "valkey", OWN, lambda _: None)
    assert first.password != second.password
    assert mode(tmp_path / "valkey" / "valkey.conf") == 0o600


def test_a_valkey_that_answers_is_found_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (tmp_path / "valkey" / "valkey.conf").write_text(f"bind 127.0.0.1\nport {port}\nrequirepass secret\n")
        assert running_redis_url(tmp_path) == f"redis://:secret@127.0.0.1:{port}/0"
    assert running_redis_url(tmp_path) is None  # nobody listens any more


@pytest.mark.parametrize(
    "text", ["", "bind\n", "bind 127.0.0.1\nport x\nrequirepass y\n", "bind 127.0.0.1\nrequirepass y\n"]
)
def test_a_file_that_names_no_address_is_no_running_valkey(tmp_path: Path, text: str) -> None:
    (tmp_path / "valkey").mkdir()
    (tmp_path / "valkey" / "valkey.conf").write_text(text)
    assert running_redis_url(tmp_path) is None


@pytest.mark.parametrize("answer", [b"", b"-ERR no\r\n", b"-WRONGPASS x\r\n"])
def test_a_valkey_that_refuses_is_not_ready(tmp_path: Path, answer: bytes) -> None:
    one = EmbeddedValkey(tmp_path / "p", tmp_path / "valkey", OWN, lambda _: None)
    assert not one._answers()  # nobody is there
    with socket.create_server(("127.0.0.1", one.port)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(256)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert not one._answers()
        thread.join()


# ---- the stack as a whole


def test_nothing_is_known_of_servers_that_are_not_started(tmp_path: Path) -> None:
    idle = EmbeddedStack(tmp_path / "data")
    for read in (lambda: idle.database_url, lambda: idle.redis_url, lambda: idle.pids, lambda: idle.restart_counts):
        with pytest.raises(EmbeddedError, match="inside a with statement"):
            read()
    assert not (tmp_path / "data").exists()


def test_a_folder_that_another_runs_on_names_its_pid_and_starts_nothing(folder: Path) -> None:
    folder.mkdir()
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("4711")
        held.flush()
        with pytest.raises(EmbeddedError) as refused, EmbeddedStack(folder):
            pass
    assert str(refused.value) == (
        f"{folder} is in use by another spotcore (pid 4711); stop it, or use another --data-dir"
    )
    assert [one.name for one in folder.iterdir()] == ["lock"]


def test_a_lock_that_a_killed_run_left_is_free_at_once_and_gets_our_pid(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / "lock").write_text("999999999")

    def broken(*_: object) -> None:
        assert (folder / "lock").read_text() == str(os.getpid())
        raise EmbeddedError("no programs")

    monkeypatch.setattr(stack, "find_programs", broken)
    for _ in range(2):  # a start that failed holds nothing back
        with pytest.raises(EmbeddedError, match="no programs"), EmbeddedStack(folder):
            pass


@pytest.mark.parametrize("mode", [0o644, 0o755])
@pytest.mark.parametrize("below", [".", "data"])
def test_a_file_in_place_of_the_folder_names_another_way(folder: Path, mode: int, below: str) -> None:
    folder.touch(mode=mode)
    with pytest.raises(EmbeddedError) as refused, EmbeddedStack(folder / below):
        pass
    assert str(refused.value) == f"{folder} is not a folder; use another --data-dir"


def test_a_folder_that_cannot_be_written_names_whose_to_mend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(EmbeddedError, match="mend its owner"), EmbeddedStack(folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_folder_closed_to_the_servers_user_is_refused_before_anything_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "service_account", lambda: Account(os.geteuid() + 10_000, os.getegid() + 10_000))
    closed = folder / "closed"
    closed.mkdir(parents=True, mode=0o700)
    with pytest.raises(EmbeddedError, match="cannot reach"), EmbeddedStack(closed / "data"):
        pass
    assert list(closed.iterdir()) == []
