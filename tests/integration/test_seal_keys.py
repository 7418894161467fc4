"""A seal key that is lost, or another than sealed what there is: told, not replaced, and nothing agents need waits for it
(CL-2, Z3)."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spotapp.checks import examine
from spotapp.cli import main
from spotapp.sealing import is_lost, require_right_key, tell_wrong_key
from spotapp.settings import Settings, SettingsError
from spotapp.wiring import open_wiring
from spotcore.ids import ClientId
from tests.support.databases import WarmDatabase
from tests.support.up import free_port

OTHER = "cd" * 32


class Installation:
    """A data folder with its key, and a database in which something was sealed with it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.key = url, folder, folder / "seal.key"

    def settings(self, **more: Any) -> Settings:
        return Settings(data_dir=self.folder, database_url=self.url, **more)

    def run(self, *words: str, **more: str) -> Result:
        known = {
            "SPOTCORE_DATABASE_URL": self.url, "SPOTCORE_DATA_DIR": str(self.folder), "SPOTCORE_PORT": str(free_port()),
            "SPOTCORE_REDIS_URL": "redis://127.0.0.1:1/0", "SPOTCORE_ADMIN_TOKEN": "a-token-that-never-shows",
        }  # fmt: skip
        return CliRunner().invoke(main, list(words), env=known | more)

    def finding(self, **more: Any) -> Any:
        return next(one for one in examine(self.settings(**more)) if one.name == "seal key")


@pytest.fixture
def new(warm_database: WarmDatabase, tmp_path: Path) -> Installation:
    return Installation(warm_database.connections.database_url, tmp_path)


@pytest.fixture
def sealed(new: Installation) -> tuple[Installation, str]:
    """With the id of a client whose token was sealed."""
    with open_wiring(new.settings(), new.url, standing=False) as wiring:
        client_id = wiring.plane.clients.create("Acme").client.client_id
    assert new.run("channels", "add", "https://example.com/hook").exit_code == 0
    return new, client_id


def test_a_new_site_and_the_key_of_what_is_sealed_are_fine(new: Installation) -> None:
    require_right_key(new.settings(), new.url)
    assert not new.key.exists()
    assert (new.finding().ok, new.finding().found) == (True, "made at the first start")


def test_the_key_that_sealed_is_the_right_one_wherever_it_is_given(sealed: tuple[Installation, str]) -> None:
    one, _ = sealed
    require_right_key(one.settings(), one.url)
    assert (one.finding().ok, one.finding().found) == (True, str(one.key))
    require_right_key(one.settings(seal_key=one.key.read_text()), one.url)


def test_a_lost_key_is_told_and_not_replaced_and_agents_are_served(
    sealed: tuple[Installation, str], caplog: pytest.LogCaptureFixture
) -> None:
    one, client_id = sealed
    one.key.unlink()
    tell_wrong_key(one.settings(), one.url)
    (told,) = caplog.records
    assert (told.levelname, told.getMessage()) == ("ERROR", "seal_key_wrong")
    for words in (f"{one.key} is gone", "your backup", "SPOTCORE_SEAL_KEY", "spotcore rekey"):
        assert words in told.reason  # type: ignore[attr-defined]
    with open_wiring(one.settings(), one.url, standing=False) as wiring:
        wiring.plane.clients.rotate(ClientId(client_id))  # whose token cannot be shown again
    assert not one.key.exists()
    found = one.finding()
    assert (found.ok, found.found.startswith(f"{one.key} is gone")) == (False, True)
    assert found.fix.startswith("put the file back from your backup")


def test_the_right_key_is_not_worth_a_word(sealed: tuple[Installation, str], caplog: pytest.LogCaptureFixture) -> None:
    one, _ = sealed
    tell_wrong_key(one.settings(), one.url)
    assert not caplog.records


def test_no_key_is_made_while_nobody_can_say_whether_one_is_lost(new: Installation) -> None:
    nowhere = "postgresql://127.0.0.1:1/none"
    assert is_lost(new.settings(), nowhere)
    assert not is_lost(new.settings(), new.url)
    assert not is_lost(new.settings(seal_key=OTHER), nowhere)
    assert not is_lost(new.settings(token_readback=False), nowhere)


def test_nothing_new_is_sealed_with_a_key_that_no_server_has(sealed: tuple[Installation, str]) -> None:
    one, _ = sealed
    refused = one.run("channels", "add", "https://example.com/other", SPOTCORE_SEAL_KEY=OTHER)
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    assert "SPOTCORE_SEAL_KEY is not the key" in refused.stderr
    require_right_key(one.settings(), one.url)


def test_another_key_is_named_by_where_it_came_from_and_never_shown(sealed: tuple[Installation, str]) -> None:
    one, _ = sealed
    with pytest.raises(SettingsError, match=r"^SPOTCORE_SEAL_KEY is not the key") as given:
        require_right_key(one.settings(seal_key=OTHER), one.url)
    assert not one.finding(seal_key=OTHER).ok
    one.key.write_text(OTHER)
    with pytest.raises(SettingsError, match="holds another key") as kept:
        require_right_key(one.settings(), one.url)
    assert OTHER not in f"{given.value} {kept.value}"


def test_with_read_back_off_nothing_is_opened_and_no_key_is_needed_z3(sealed: tuple[Installation, str]) -> None:
    one, _ = sealed
    one.key.unlink()
    require_right_key(one.settings(token_readback=False), one.url)
    assert one.finding(token_readback=False).ok
    refused = one.run("rekey", "--yes", SPOTCORE_TOKEN_READBACK="off")
    assert (refused.exit_code, "SPOTCORE_TOKEN_READBACK" in refused.stderr) == (1, True)


def test_rekey_forgets_what_nobody_can_open_and_tokens_stay_valid(sealed: tuple[Installation, str]) -> None:
    one, client_id = sealed
    one.key.unlink()
    assert one.run("rekey").exit_code == 1  # nobody said yes
    done = one.run("rekey", "--yes", "--output", "json")
    assert json.loads(done.stdout) == {"tokens": 1, "channels": 1}
    require_right_key(one.settings(), one.url)
    with open_wiring(one.settings(), one.url, standing=False) as wiring:
        known = wiring.connections.rows(
            "select sealed, expires_at from tokens where client_id = %(c)s", {"c": client_id}
        )
        assert list(known) == [(None, None)]
        wiring.plane.clients.rotate(ClientId(client_id))
    assert json.loads(one.run("rekey", "--yes", "--output", "json").stdout) == {"tokens": 0, "channels": 0}


def test_an_embedded_database_without_its_key_is_a_finding_while_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "cluster").mkdir(parents=True)
    found = next(one for one in examine(Settings(data_dir=tmp_path, port=free_port())) if one.name == "seal key")
    assert (found.ok, found.found) == (False, f"{tmp_path / 'seal.key'} is gone")
    assert "your backup" in str(found.fix)
    (tmp_path / "seal.key").write_text("damaged")
    found = next(one for one in examine(Settings(data_dir=tmp_path, port=free_port())) if one.name == "seal key")
    assert (found.ok, "holds no key" in found.found) == (False, True)
