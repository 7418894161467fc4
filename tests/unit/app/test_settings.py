"""Settings: read once, every good spelling taken, every bad one refused by its name with what would be right."""

import os
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st
from platformdirs import user_data_path

from spotadapters.http.auth import MAX_TOKEN
from spotapp.sealing import seal_key
from spotapp.settings import (
    DEFAULT_PORT,
    ROOT_DATA_DIR,
    VARIABLES,
    Settings,
    SettingsError,
    default_data_dir,
    load_settings,
)

HEX = "0123456789abcdef" * 4
POSTGRES = "postgresql://me:secret-of-mine@db:5432/spot"
REDIS = "redis://:secret-of-mine@cache:6379/0"
VARIABLE = {name: variable for name, (variable, _) in VARIABLES.items()}


def loaded(name: str, text: str) -> Any:
    return getattr(load_settings({VARIABLE[name]: text}), name)


def refusal(name: str, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings({VARIABLE[name]: text})
    return str(refused.value)


# ---- defaults


def test_with_an_empty_environment_everything_has_its_default() -> None:
    found = load_settings({})
    assert found == Settings(data_dir=default_data_dir())
    assert (found.host, found.port) == ("127.0.0.1", 5000)  # what deployed agents and the dashboard expect (2.4)
    assert (found.database_url, found.redis_url, found.admin_token, found.seal_key) == (None,) * 4  # no default secrets
    assert (found.token_readback, found.enable_background_jobs, found.uploads) == (True, True, False)
    assert (found.threads, found.urgent_threads, found.log_level, found.dashboard_dir) == (4, 4, "info", None)


def test_nobody_listens_to_the_world_unless_asked() -> None:
    assert Settings().host == "127.0.0.1"


def test_root_keeps_data_in_var_lib_and_everybody_else_in_the_folder_of_the_platform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == ROOT_DATA_DIR == Path("/var/lib/spotcore")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_data_dir() == user_data_path("spotcore", appauthor=False)


def test_every_setting_has_one_variable_and_every_variable_one_setting() -> None:
    assert set(VARIABLES) == {field.name for field in fields(Settings)}
    assert len(set(VARIABLE.values())) == len(VARIABLE)
    assert all(variable == variable.upper() for variable in VARIABLE.values())


def test_settings_never_change_once_they_are_read() -> None:
    with pytest.raises(FrozenInstanceError):
        load_settings({}).port = 1  # type: ignore[misc]


def test_variables_that_nobody_knows_are_no_matter() -> None:
    assert load_settings({"SPOTCORE_NONSENSE": "x", "PATH": "/bin"}) == load_settings({})


# ---- good and bad values

GOOD: list[tuple[str, str, Any]] = [
    ("database_url", POSTGRES, POSTGRES),
    ("database_url", "postgres://db/spot", "postgres://db/spot"),
    ("redis_url", REDIS, REDIS),
    ("redis_url", "rediss://cache", "rediss://cache"),
    ("redis_url", "unix:///run/valkey.sock", "unix:///run/valkey.sock"),
    ("admin_token", "x" * 16, "x" * 16),
    ("admin_token", "x" * MAX_TOKEN, "x" * MAX_TOKEN),
    ("admin_token", f"  {HEX}\n", HEX),
    ("admin_token", "!#$%&'*+-.^_`|~:;=", "!#$%&'*+-.^_`|~:;="),
    ("seal_key", HEX, HEX),
    ("seal_key", HEX.upper(), HEX),
    ("seal_key", f" {HEX}\n", HEX),
    ("data_dir", "/srv/spot", Path("/srv/spot")),
    ("data_dir", "data", Path("data")),
    ("data_dir", " ~/spot ", Path.home() / "spot"),
    ("host", "0.0.0.0", "0.0.0.0"),
    ("host", "::1", "::1"),
    ("host", " example.com ", "example.com"),
    ("port", "1", 1),
    ("port", "65535", 65_535),
    ("threads", "2", 2),
    ("threads", "256", 256),
    ("urgent_threads", "1", 1),
    ("urgent_threads", "128", 128),
    *(("log_level", word, word.lower()) for word in ("debug", "info", "warning", "error", "INFO", "Warning")),
    *(
        (name, word, value)
        for name in ("token_readback", "enable_background_jobs", "uploads")
        for value, words in ((True, ("1", "true", "on", "yes", "ON", " True ")), (False, ("0", "false", "off", "no", "Off")))
        for word in words
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "value"), GOOD, ids=[f"{name}={text[:20]!r}" for name, text, _ in GOOD])
def test_a_good_value_is_read(name: str, text: str, value: Any) -> None:
    assert loaded(name, text) == value


WHOLE = ["", " ", "x", "1.5", "-1", "+5", " 5", "0x10", "1e3", "²", "٥", "9" * 40, "9" * 5_000]
BAD: list[tuple[str, list[str], str]] = [
    # setting, values, what would be right
    ("database_url", ["", "mysql://x", "postgresql:/x", "http://db", "db:5432", " postgresql://db"], "a URL beginning with postgresql:// or postgres://"),
    ("redis_url", ["", "http://cache", "cache:6379", "redis:/x"], "a URL beginning with redis:// or rediss:// or unix://"),
    ("admin_token", ["", "x" * 15, " " * 20, "x" * (MAX_TOKEN + 1), "two words are no token", "geheimes-Wörtchen", "a-tab\tin-the-middle"], "at least 16 characters and at most 512, ASCII without blanks"),
    ("seal_key", ["", "zz", HEX[:-1], HEX + "0", "g" * 64, HEX[:-1] + " ", HEX[:-1] + "²"], "64 hex characters"),
    ("token_readback", ["", "maybe", "2", "truee", "on off"], "on or off"),
    ("enable_background_jobs", ["", "maybe"], "on or off"),
    ("uploads", ["", "y"], "on or off"),
    ("data_dir", ["", "  "], "something that is not empty"),
    ("data_dir", ["~nobody-has-this-name/x"], "a folder; nobody here has that home"),
    ("host", ["", " \t"], "something that is not empty"),
    ("port", [*WHOLE, "0", "65536"], "a whole number from 1 to 65535"),
    ("threads", [*WHOLE, "0", "1", "257"], "a whole number from 2 to 256"),
    ("urgent_threads", [*WHOLE, "0", "129"], "a whole number from 1 to 128"),
    ("log_level", ["", "loud", "warn", "critical", "10", " info"], "debug, info, warning or error"),
    ("dashboard_dir", ["", "  "], "something that is not empty"),
    ("dashboard_dir", ["/nowhere/at/all", "~nobody-has-this-name"], "a folder"),
]  # fmt: skip
SECRET = {"admin_token", "seal_key", "database_url", "redis_url"}


@pytest.mark.parametrize(("name", "values", "right"), BAD, ids=[f"{case[0]} {case[1][0]!r}" for case in BAD])
def test_a_bad_value_stops_the_start_and_names_the_variable_and_what_would_be_right(
    name: str, values: list[str], right: str
) -> None:
    for text in values:
        told = refusal(name, text)
        assert told.startswith(f"{VARIABLE[name]} is ")
        assert f"; it must be {right}" in told
        assert ("(hidden)" in told) is (name in SECRET)
        assert name in SECRET or repr(text) in told


def test_every_setting_has_good_and_bad_values_here() -> None:
    assert {name for name, *_ in GOOD} | {"dashboard_dir"} == {name for name, *_ in BAD} == set(VARIABLES)


def test_a_dashboard_is_a_folder_with_a_page(tmp_path: Path) -> None:
    assert "index.html" in refusal("dashboard_dir", str(tmp_path))
    (tmp_path / "index.html").mkdir()
    assert "index.html" in refusal("dashboard_dir", str(tmp_path))
    (tmp_path / "index.html").rmdir()
    (tmp_path / "index.html").write_text("<html>")
    assert loaded("dashboard_dir", f" {tmp_path} ") == tmp_path


@given(
    st.sampled_from(sorted(set(VARIABLES) - {"dashboard_dir"})),
    st.text(st.characters(exclude_characters="\0"), max_size=24),
)
def test_any_text_is_a_setting_or_one_refusal(name: str, text: str) -> None:
    try:
        load_settings({VARIABLE[name]: text})
    except SettingsError as refused:
        assert str(refused).startswith(VARIABLE[name])
        assert name not in SECRET or len(text) < 8 or text not in str(refused)


# ---- secrets, precedence


def test_secrets_never_show_in_the_text_of_settings() -> None:
    known = load_settings(
        {
            "SPOTCORE_DATABASE_URL": POSTGRES,
            "SPOTCORE_REDIS_URL": REDIS,
            "SPOTCORE_ADMIN_TOKEN": "secret-of-mine-too",
            "SPOTCORE_SEAL_KEY": HEX,
        }
    )
    for text in (repr(known), str(known), f"{known}"):
        assert "secret-of-mine" not in text
        assert HEX not in text
        assert f"port={DEFAULT_PORT}" in text  # what is no secret helps


def test_what_is_typed_wins_over_the_environment_and_nothing_typed_does_not() -> None:
    known = {"SPOTCORE_PORT": "6000", "SPOTCORE_HOST": "10.0.0.1"}
    assert load_settings(known, port=7000, host=None).port == 7000
    assert load_settings(known, port=7000, host=None).host == "10.0.0.1"
    assert load_settings(known, data_dir=Path("/x")).data_dir == Path("/x")


def test_a_bad_variable_is_refused_although_something_is_typed() -> None:
    with pytest.raises(SettingsError, match="SPOTCORE_PORT"):
        load_settings({"SPOTCORE_PORT": "many"}, port=7000)


def test_the_first_bad_one_is_enough() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"SPOTCORE_PORT": "many", "SPOTCORE_THREADS": "few"})
    assert str(refused.value).count("SPOTCORE_") == 1


# ---- the key that seals tokens (Z3)


def test_a_given_key_is_used_and_no_file_is_made(tmp_path: Path) -> None:
    assert seal_key(Settings(data_dir=tmp_path, seal_key=HEX)) == bytes.fromhex(HEX)
    assert list(tmp_path.iterdir()) == []


def test_with_read_back_off_there_is_no_key_even_where_one_is_given_z3(tmp_path: Path) -> None:
    assert seal_key(Settings(data_dir=tmp_path, seal_key=HEX, token_readback=False)) is None
    assert list(tmp_path.iterdir()) == []


def test_without_one_a_key_is_made_once_and_kept_for_nobody_else_to_read(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "deep" / "data")
    made = seal_key(settings)
    file = settings.data_dir / "seal.key"
    assert made is not None
    assert len(made) == 32  # 256 bits
    assert file.read_text() == made.hex()
    assert file.stat().st_mode & 0o777 == 0o600
    assert seal_key(settings) == made
    assert [one.name for one in settings.data_dir.iterdir()] == ["seal.key"]  # nothing half-written stays behind


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert seal_key(Settings(data_dir=tmp_path / "a")) != seal_key(Settings(data_dir=tmp_path / "b"))


def test_a_key_put_back_by_hand_may_end_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "seal.key").write_text(f"{HEX.upper()}\n")
    assert seal_key(Settings(data_dir=tmp_path)) == bytes.fromhex(HEX)


@pytest.mark.parametrize("text", ["", "\n", "abc", HEX[:-2], HEX + "00", "x" * 64])
def test_a_damaged_key_is_refused_by_its_file_and_never_replaced(tmp_path: Path, text: str) -> None:
    file = tmp_path / "seal.key"
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        seal_key(Settings(data_dir=tmp_path))
    assert str(file) in str(refused.value)
    assert "SPOTCORE_SEAL_KEY" in str(refused.value)
    assert "backup" in str(refused.value)
    assert file.read_text() == text  # every sealed token opens to the true one alone
    assert not text.strip() or text not in str(refused.value)


def test_of_two_that_start_at_once_one_makes_the_key_and_both_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    link = os.link
    first: list[bytes | None] = []

    def beaten(source: str, target: Path) -> None:
        """The other one is done in the moment before."""
        monkeypatch.setattr(os, "link", link)
        first.append(seal_key(settings))
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)
    assert [seal_key(settings)] == first
    assert [one.name for one in tmp_path.iterdir()] == ["seal.key"]
