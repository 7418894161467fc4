"""The server as a user starts it: first start, clean stop, kill, dead servers (issue of resilience: nothing is lost)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import psycopg.sql
import pytest

from spotadapters.embedded import EmbeddedError, EmbeddedStack
from tests.support.up import TOKEN, Up, free_port


def test_the_first_start_prints_an_admin_token_once_and_a_clean_stop_is_status_0(folder: Path) -> None:
    first = Up(folder)
    assert first.stop() == 0
    text = first.log.read_text()
    (token,) = [line for line in text.splitlines() if len(line) == 64 and line.isalnum()]
    second = Up(folder)
    assert second.post("/api/admin/clients/create", {"name": "Acme"}, token).status_code == 201
    assert second.stop(signal.SIGTERM) == 0
    assert token not in second.log.read_text()


def test_a_killed_server_loses_nothing_and_starts_again(folder: Path) -> None:
    first = Up(folder, SPOTCORE_ADMIN_TOKEN=TOKEN)
    client = first.post("/api/admin/clients/create", {"name": "Acme"}).json()["data"]["client"]
    body = {"instance_id": "i-0a", "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a"}
    agent = first.post("/api/agents/register", body, client["token"]).json()["agent_id"]
    assert first.stop(signal.SIGKILL) != 0
    second = Up(folder, SPOTCORE_ADMIN_TOKEN=TOKEN)
    again = second.post("/api/agents/register", body, client["token"]).json()
    assert (again["agent_id"], again["registered"]) == (agent, "updated")
    assert second.stop() == 0


def test_a_second_start_on_the_same_folder_is_refused_in_one_line(folder: Path) -> None:
    with EmbeddedStack(folder, on_event=lambda _: None, durable=False):
        with pytest.raises(EmbeddedError, match="in use by another spotcore"), EmbeddedStack(folder):
            pass
        command = [sys.executable, "-m", "spotapp.cli", "up", "--port", str(free_port()), "--data-dir", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "in use by another spotcore" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dead_database_is_503_quickly_and_comes_back_by_itself(folder: Path) -> None:
    events: list[str] = []
    with EmbeddedStack(folder, on_event=events.append) as stack:
        environment = {
            "SPOTCORE_DATABASE_URL": stack.database_url,
            "SPOTCORE_REDIS_URL": stack.redis_url,
            "SPOTCORE_ADMIN_TOKEN": TOKEN,
        }
        up = Up(folder.parent / "other", **environment)
        client = up.post("/api/admin/clients/create", {"name": "Acme"}).json()["data"]["client"]
        body = {"instance_id": "i-0a", "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a"}
        agent = up.post("/api/agents/register", body, client["token"]).json()["agent_id"]
        beat = {"status": "online", "instance_id": "i-0a"}
        assert up.post(f"/api/agents/{agent}/heartbeat", beat, client["token"]).json()["acknowledged"] is True
        pid = stack.pids["postgres"]
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # away, without a word
        os.kill(pid, signal.SIGKILL)
        statuses = set()
        for _ in range(3):
            begin = time.monotonic()
            answer = up.post(f"/api/agents/{agent}/heartbeat", beat, client["token"])
            statuses.add((answer.status_code, answer.json()["data"]["acknowledged"]))
            assert time.monotonic() - begin < 8
        assert statuses <= {(200, True), (200, False)}  # Z32, T03: never an error to a v5
        up.wait_healthy()
        assert up.post(f"/api/agents/{agent}/heartbeat", beat, client["token"]).json()["acknowledged"] is True
        assert stack.restart_counts["postgres"] >= 1
        assert any("restarting" in event for event in events)
        assert up.stop() == 0


def test_both_embedded_servers_answer_and_stop(folder: Path) -> None:
    with EmbeddedStack(folder, on_event=lambda _: None, durable=False) as stack:
        pids = [pid for pid in stack.pids.values() if pid is not None]
        with psycopg.connect(stack.database_url) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        mode = (folder / "postgres" / "password").stat().st_mode & 0o777
        assert mode == 0o600
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_only_the_stacks_own_random_password_is_hashed_once(folder: Path) -> None:
    stored = "select rolname, split_part(split_part(rolpassword, '$', 2), ':', 1) from pg_authid where rolpassword is not null"
    with (
        EmbeddedStack(folder, on_event=lambda _: None) as stack,
        psycopg.connect(stack.database_url) as one,
    ):
        one.execute("create role dba login password 'guessable'")
        assert dict(one.execute(stored).fetchall()) == {"spotcore": "1", "dba": "4096"}
        one.execute("set scram_iterations = 4096")  # as a stack before this one left it
        password = one.info.password
        one.execute(psycopg.sql.SQL("alter role spotcore password {}").format(password))
    for _ in range(2):
        with (
            EmbeddedStack(folder, on_event=lambda _: None) as stack,
            psycopg.connect(stack.database_url) as one,
        ):
            assert dict(one.execute(stored).fetchall()) == {"spotcore": "1", "dba": "4096"}


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("SPOTCORE_PORT", "70000", "from 1 to 65535"), ("SPOTCORE_DATABASE_URL", "mysql://x", "postgresql://"), ("SPOTCORE_ADMIN_TOKEN", "short", "16 characters"), ("SPOTCORE_SEAL_KEY", "zz", "64 hex"), ("ENABLE_BACKGROUND_JOBS", "maybe", "on or off")],
)  # fmt: skip
def test_a_wrong_setting_stops_the_start_and_names_the_fix(variable: str, value: str, words: str) -> None:
    command = [sys.executable, "-m", "spotapp.cli", "serve"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, variable: value}
    )
    assert done.returncode == 1
    shown = " ".join(done.stderr.split())
    assert variable in shown
    assert words in shown
    assert "short" not in shown  # secrets are not echoed


def test_the_doctor_names_what_is_wrong_and_how_to_mend_it(folder: Path) -> None:
    environment = {**os.environ, "SPOTCORE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    command = [
        sys.executable,
        "-m",
        "spotapp.cli",
        "check",
        "--data-dir",
        str(folder),
        "--port",
        str(free_port()),
        "--output",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert done.returncode == 1
    findings = {one["check"]: one for one in json.loads(done.stdout)}
    assert findings["port"]["ok"]
    assert not findings["database"]["ok"]
    assert "SPOTCORE_DATABASE_URL" in findings["database"]["fix"]
