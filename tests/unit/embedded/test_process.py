"""A supervised child: ready or refused with its last words, restarted when it dies, stopped for good when asked."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotadapters.embedded import EmbeddedError, process
from spotadapters.embedded.account import Account
from spotadapters.embedded.process import ChildServer, free_port

SLEEPS = 'echo "$$" >> "$PIDS"; exec sleep 60'
DEAF = 'trap "" TERM INT; echo "$$" >> "$PIDS"; while :; do sleep 0.02; done'


class Yard:
    """A folder, the events told, and the children that were started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.servers: list[ChildServer] = []

    def server(self, script: str, *, stop: signal.Signals = signal.SIGTERM) -> ChildServer:
        one = ChildServer(
            "Valkey", ["/bin/sh", "-c", script], account=Account(None, None), log_file=self.folder / "log", stop_signal=stop,
            is_ready=lambda: one.pid in self.pids(), environment={"PATH": "/usr/bin:/bin", "PIDS": str(self.folder / "pids")},
            on_event=self.told.append,
        )  # fmt: skip
        self.servers.append(one)
        return one

    def pids(self) -> list[int]:
        file = self.folder / "pids"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def until_told(self, words: str) -> None:
        deadline = time.monotonic() + 10
        while not any(words in event for event in self.told):
            assert time.monotonic() < deadline, self.told
            time.sleep(0.005)


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setattr(process, "RESTART_PAUSES", (0.0, 0.01))
    monkeypatch.setattr(process, "STOP_SECONDS", 0.3)
    opened = Yard(tmp_path)
    yield opened
    for one in opened.servers:
        one.stop()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_server_that_is_not_started_has_no_pid_and_can_be_stopped(yard: Yard) -> None:
    server = yard.server(SLEEPS)
    assert server.pid is None
    server.stop()
    assert yard.told == []


def test_a_start_waits_until_the_server_is_ready(yard: Yard) -> None:
    server = yard.server(SLEEPS)
    server.start()
    assert [server.pid] == yard.pids()
    server.stop()
    assert is_gone(yard.pids()[0])
    assert (server.pid, server.restarts, yard.told) == (None, 0, [])  # stopped for good: not a death


def test_stopping_twice_is_the_same(yard: Yard) -> None:
    server = yard.server(SLEEPS)
    server.start()
    server.stop()
    server.stop()
    assert server.pid is None


def test_a_child_has_a_process_group_of_its_own_and_nothing_to_read(yard: Yard) -> None:
    server = yard.server('cat; echo "read to its end" >&2; ' + SLEEPS)
    server.start()
    pid = yard.pids()[0]
    assert os.getpgid(pid) == pid  # a Ctrl-C in the terminal is ours to handle
    assert "read to its end" in (yard.folder / "log").read_text()


def test_a_child_sees_only_the_environment_it_was_given(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTCORE_ADMIN_TOKEN", "a-token-that-never-shows")
    yard.server(f"env >&2; pwd >&2; {SLEEPS}").start()
    seen = (yard.folder / "log").read_text().splitlines()
    assert "a-token-that-never-shows" not in str(seen)
    assert seen[-1] == "/"


def test_a_server_that_ends_at_once_is_refused_with_its_last_words(yard: Yard) -> None:
    server = yard.server("for n in 1 2 3 4 5 6 7 8 9 10; do echo line $n >&2; done; exit 3")
    with pytest.raises(EmbeddedError) as refused:
        server.start()
    lines = str(refused.value).splitlines()
    assert lines[0] == "Valkey did not come up:"
    assert lines[1:] == [*(f"line {number}" for number in range(3, 11)), f"the log: {yard.folder / 'log'}"]


FULL = '2026-01-01 00:00:00 UTC [7] FATAL:  could not write lock file "postmaster.pid": No space left on device'


def test_of_a_database_that_ends_the_cause_of_this_attempt_is_shown_with_its_remedy(yard: Yard) -> None:
    (yard.folder / "log").write_text("2026-01-01 00:00:00 UTC [6] FATAL:  trouble of the run before\n")
    (yard.folder / "words").write_text(
        f"LOG:  starting\nFATAL:  the database system is starting up\n{FULL}\n{FULL}\nDETAIL:  more of it\n"
        + "LOG:  noise\n" * 9
    )
    with pytest.raises(EmbeddedError) as refused:
        yard.server(f'cat "{yard.folder}/words" >&2; exit 1').start()
    assert str(refused.value).splitlines() == [
        "Valkey did not come up:", FULL.partition("[7] ")[2], "DETAIL:  more of it",
        f"the log: {yard.folder / 'log'}; make room on its disk",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("DETAIL:  The data directory was initialized by PostgreSQL version 15, which is not compatible with this version 18.2.", None),
        ("FATAL:  database files are incompatible with server", "dump it with the spotcore that made it"),
        ('FATAL:  could not open file "global/pg_filenode.map": Permission denied', "mend the owner"),
        ("FATAL:  incorrect checksum in control file", "from your backup"),
        ("PANIC:  could not locate a valid checkpoint record at 0/15D4A48", "from your backup"),
        ('FATAL:  could not open directory "pg_notify": No such file or directory', "from your backup"),
    ],
)  # fmt: skip
def test_a_known_cause_names_its_way_out(yard: Yard, said: str, remedy: str | None) -> None:
    (yard.folder / "words").write_text(f"{said}\n")
    with pytest.raises(EmbeddedError) as refused:
        yard.server(f'cat "{yard.folder}/words" >&2; exit 1').start()
    assert said in str(refused.value)
    assert remedy is None or remedy in str(refused.value)


def test_a_server_that_says_nothing_is_said_to(yard: Yard) -> None:
    (yard.folder / "log").write_text("of the run before\n")
    with pytest.raises(EmbeddedError, match="it said nothing") as refused:
        yard.server("exit 1").start()
    assert "of the run before" not in str(refused.value)


def test_a_server_that_never_gets_ready_is_refused_after_its_time(yard: Yard) -> None:
    with pytest.raises(EmbeddedError, match="did not come up"):
        yard.server("exec sleep 60").start(timeout_seconds=0.05)


def test_words_in_the_log_that_are_no_text_do_no_harm(yard: Yard) -> None:
    with pytest.raises(EmbeddedError, match="did not come up"):
        yard.server(r"printf '\377\376 broken\n' >&2; exit 1").start()


def test_a_log_that_cannot_be_read_leaves_the_refusal_without_it(yard: Yard) -> None:
    with pytest.raises(EmbeddedError, match=r"\(no log\)"):
        yard.server(f'rm "{yard.folder}/log"; exit 1').start()


def test_the_log_of_the_run_before_is_kept(yard: Yard) -> None:
    (yard.folder / "log").write_text("before\n")
    yard.server(f"echo after >&2; {SLEEPS}").start()
    assert (yard.folder / "log").read_text() == "before\nafter\n"


def test_a_program_that_is_not_there_is_an_os_error_not_a_hang(tmp_path: Path) -> None:
    server = ChildServer(
        "Valkey", ["/nowhere/at/all"], account=Account(None, None), log_file=tmp_path / "log", stop_signal=signal.SIGTERM,
        is_ready=lambda: True, environment={}, on_event=lambda _: None,
    )  # fmt: skip
    with pytest.raises(FileNotFoundError):
        server.start()


def test_a_server_that_dies_is_told_of_and_restarted(yard: Yard) -> None:
    server = yard.server(SLEEPS)
    server.start()
    for count in (1, 2):
        os.kill(yard.pids()[-1], signal.SIGKILL)
        while yard.told.count("Valkey is back") < count:
            time.sleep(0.005)
        assert (server.restarts, len(yard.pids()), server.pid) == (count, count + 1, yard.pids()[-1])
    assert [event for event in yard.told if "died" in event] == [
        "Valkey died; restarting in 0.0 s",
        "Valkey died; restarting in 0.01 s",
    ]


def test_a_server_that_cannot_come_back_is_tried_again_and_says_why(yard: Yard) -> None:
    gone = yard.folder / "gone"
    yard.server(f'[ -e "{gone}" ] && {{ echo no room left >&2; exit 1; }}; {SLEEPS}').start()
    gone.touch()
    (yard.folder / "pids").rename(yard.folder / "first")
    os.kill(int((yard.folder / "first").read_text()), signal.SIGKILL)
    yard.until_told("no room left")
    gone.unlink()
    yard.until_told("is back")


def test_a_server_that_does_not_listen_is_ended_by_force(yard: Yard) -> None:
    server = yard.server(DEAF)
    server.start()
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin >= 0.3  # it had its time
    assert is_gone(yard.pids()[0])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_is_stopped_with_the_signal_it_ends_cleanly_on(yard: Yard, how: signal.Signals) -> None:
    name = how.name.removeprefix("SIG")
    yard.server(
        f'trap "echo clean >&2; exit 0" {name}; echo $$ >> "$PIDS"; while :; do sleep 0.01; done', stop=how
    ).start()
    yard.servers[0].stop()
    assert (yard.folder / "log").read_text() == "clean\n"


def test_a_free_port_is_one_that_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass
