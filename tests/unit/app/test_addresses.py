"""The address that the server listens on, and what it says where it cannot."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from spotapp.cli import main
from spotapp.commands.servers import _ready
from spotapp.listening import AddressInUse, bound_socket, way_out
from spotapp.settings import Settings
from tests.support.up import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_free_address_is_bound_and_can_be_bound_again_at_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=free_port())
    for _ in range(2):
        with bound_socket(settings) as listening:
            assert listening.getsockname() == ("127.0.0.1", settings.port)


def test_an_ipv6_address_is_one_too_or_is_refused_as_one(tmp_path: Path) -> None:
    """A machine may have it switched off."""
    try:
        with bound_socket(Settings(data_dir=tmp_path, host="::1", port=free_port())) as listening:
            assert listening.family == socket.AF_INET6
    except (AddressInUse, OSError) as refused:
        assert any(os.strerror(one) in str(refused) for one in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))


def test_a_taken_port_is_refused_with_what_to_do(tmp_path: Path, taken: int) -> None:
    with pytest.raises(AddressInUse) as refused:
        bound_socket(Settings(data_dir=tmp_path, port=taken))
    assert str(refused.value) == (
        f"cannot listen on 127.0.0.1:{taken} (Address already in use); stop what runs there or use another --port"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 70 + ".example", "x..y"])
def test_an_address_that_is_not_ours_is_refused_with_what_to_do(tmp_path: Path, host: str) -> None:
    with pytest.raises(AddressInUse) as refused:
        bound_socket(Settings(data_dir=tmp_path, host=host, port=5000))
    text = str(refused.value)
    assert text.startswith(f"cannot listen on {host}:5000 (")
    assert text.endswith("; use another --host or another --port")
    assert "None" not in text


def test_only_a_taken_address_asks_to_stop_what_runs_there() -> None:
    assert "stop what runs there" in way_out(OSError(errno.EADDRINUSE, "in use"))
    for failure in (
        OSError(errno.EACCES, "denied"),
        OSError(errno.EADDRNOTAVAIL, "away"),
        UnicodeError("label too long"),
    ):
        assert "stop" not in way_out(failure)


def test_up_on_a_taken_port_starts_no_server_at_all(tmp_path: Path, taken: int) -> None:
    known = {"SPOTCORE_DATA_DIR": str(tmp_path / "data"), "SPOTCORE_PORT": str(taken)}
    result = CliRunner().invoke(main, ["up"], env=known)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1:{taken}" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:5000 "),
        ("::1", "http://[::1]:5000 "),
        ("::", "http://[::]:5000 "),
        ("spot.example", "http://spot.example:5000 "),
    ],
)
def test_the_ready_line_has_an_address_that_can_be_opened(
    host: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _ready(Settings(host=host))
    told = capsys.readouterr().err
    assert shown in told
    assert len(told.splitlines()) == 1


# ---- what cannot start


BARE = {"SPOTCORE_DATABASE_URL": None, "SPOTCORE_REDIS_URL": None, "SPOTCORE_ADMIN_TOKEN": None}
URL = "postgresql://me:secret-of-mine@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("words", "known", "says"),
    [
        ("serve", {}, "serve needs SPOTCORE_DATABASE_URL; for a database of its own use: spotcore up"),
        ("serve", {"SPOTCORE_DATABASE_URL": URL}, "serve needs SPOTCORE_ADMIN_TOKEN, e.g. from: openssl rand -hex 32"),
        ("migrate", {}, "migrate needs SPOTCORE_DATABASE_URL; spotcore up migrates its own database"),
        ("worker", {}, "worker needs SPOTCORE_DATABASE_URL and SPOTCORE_REDIS_URL; all in one is: spotcore up"),
        ("worker", {"SPOTCORE_DATABASE_URL": URL}, "worker needs SPOTCORE_DATABASE_URL and SPOTCORE_REDIS_URL"),
        (
            "scheduler",
            {"SPOTCORE_REDIS_URL": "redis://x"},
            "scheduler needs SPOTCORE_DATABASE_URL and SPOTCORE_REDIS_URL",
        ),
    ],
)
def test_what_a_process_needs_is_said_before_anything_starts(
    tmp_path: Path, words: str, known: dict[str, str], says: str
) -> None:
    environment = {**BARE, "SPOTCORE_DATA_DIR": str(tmp_path / "data"), **known}
    result = CliRunner().invoke(main, words.split(), env=environment)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert says in result.stderr
    assert "secret-of-mine" not in result.output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "words", ["serve", "migrate", "worker", "scheduler", "clients suspend c", "audit verify", "jobs list"]
)
def test_a_database_that_is_away_is_one_line_without_its_password(tmp_path: Path, words: str) -> None:
    known = {
        "SPOTCORE_DATABASE_URL": URL,
        "SPOTCORE_REDIS_URL": "redis://127.0.0.1:1",
        "SPOTCORE_ADMIN_TOKEN": "x" * 20,
    }
    result = CliRunner().invoke(main, words.split(), env={**known, "SPOTCORE_DATA_DIR": str(tmp_path)})
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert "connection" in result.stderr
    assert "secret-of-mine" not in result.output


LOCAL = [
    "clients suspend c", "clients resume c", "clients limits c", "clients defaults c", "clients apply-to-all c --yes",
    "clients purge c --confirm x", "commands list a", "commands cancel a c", "audit verify", "audit seal", "channels list",
    "channels add https://x.example", "channels remove c --yes", "channels test c", "channels deliveries",
    "channels replay d", "jobs list", "jobs dead", "jobs run x", "jobs replay m", "ledger verify c",
    "ledger explain c 2026-03", "export focus c 2026-03", "dataset list", "dataset show", "dataset build",
    "prices gaps m5.large.us-east-1a", "prices advisor m5.large",
]  # fmt: skip


@pytest.mark.parametrize("words", LOCAL)
def test_commands_on_the_database_never_make_an_empty_one_to_look_at(tmp_path: Path, words: str) -> None:
    environment = {**BARE, "SPOTCORE_DATA_DIR": str(tmp_path / "data")}
    result = CliRunner().invoke(main, words.split(), env=environment)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert f"there is no database in {tmp_path / 'data'}" in result.stderr
    assert all(text in result.stderr for text in ("--data-dir", "SPOTCORE_DATABASE_URL", "spotcore up"))
    assert not (tmp_path / "data").exists()
