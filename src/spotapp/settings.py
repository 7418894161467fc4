"""Settings: one frozen value, read once from the environment; a bad value stops the start and names the fix."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import field, frozen
from platformdirs import user_data_path

from spotadapters.http.auth import MAX_TOKEN

T = TypeVar("T")

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 5000  # what deployed agents and the dashboard expect
ROOT_DATA_DIR: Final = Path("/var/lib/spotcore")
SEAL_KEY_HEX: Final = 64
MIN_TOKEN: Final = 16


class SettingsError(Exception):
    """A setting cannot be used; the message names it and what would be right."""


@frozen(kw_only=True)
class Settings:
    """Everything a process needs to know. Secrets never show in its text."""

    database_url: str | None = field(default=None, repr=False)  # None: the embedded PostgreSQL
    redis_url: str | None = field(default=None, repr=False)  # None: the embedded Valkey
    admin_token: str | None = field(default=None, repr=False)
    seal_key: str | None = field(default=None, repr=False)  # hex; None: a key file in the data folder
    token_readback: bool = True
    data_dir: Path = ROOT_DATA_DIR
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    enable_background_jobs: bool = True
    threads: int = 4
    urgent_threads: int = 4
    log_level: str = "info"
    uploads: bool = False  # models and engine parameters over HTTP (E63, E64)
    dashboard_dir: Path | None = None  # a built dashboard: a folder with index.html


def default_data_dir() -> Path:
    """``/var/lib/spotcore`` for root, else the platform's user data folder."""
    return ROOT_DATA_DIR if os.geteuid() == 0 else user_data_path("spotcore", appauthor=False)


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("something that is not empty")
    return value.strip()


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not value.startswith(schemes):
            raise ValueError("a URL beginning with " + " or ".join(schemes))
        return value

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        is_number = value.isascii() and value.isdigit() and len(value) <= len(str(high))
        if not is_number or not low <= int(value) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return parse


def _switch(value: str) -> bool:
    word = value.strip().lower()
    if word in ("1", "true", "on", "yes"):
        return True
    if word in ("0", "false", "off", "no"):
        return False
    raise ValueError("on or off")


def _secret(value: str) -> str:
    word = value.strip()
    can_be_sent = word.isascii() and word.isprintable() and " " not in word
    if not can_be_sent or not MIN_TOKEN <= len(word) <= MAX_TOKEN:
        raise ValueError(
            f"at least {MIN_TOKEN} characters and at most {MAX_TOKEN}, ASCII without blanks, "
            "e.g. from: openssl rand -hex 32"
        )
    return word


def parsed_key(value: str) -> str:
    """A key in hex. Raises ``ValueError`` that says what would be right."""
    word = value.strip().lower()
    if len(word) != SEAL_KEY_HEX or any(letter not in "0123456789abcdef" for letter in word):
        raise ValueError("64 hex characters, e.g. from: openssl rand -hex 32")
    return word


def _level(value: str) -> str:
    if value.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("debug, info, warning or error")
    return value.lower()


def _folder(value: str) -> Path:
    try:
        return Path(_text(value)).expanduser()
    except RuntimeError:
        raise ValueError("a folder; nobody here has that home") from None


def _dashboard(value: str) -> Path:
    folder = _folder(value)
    if not (folder / "index.html").is_file():
        raise ValueError("a folder with a built dashboard (index.html and assets/)")
    return folder


VARIABLES: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    # setting: (variable, how it is read)
    "database_url": ("SPOTCORE_DATABASE_URL", _url("postgresql://", "postgres://")),
    "redis_url": ("SPOTCORE_REDIS_URL", _url("redis://", "rediss://", "unix://")),
    "admin_token": ("SPOTCORE_ADMIN_TOKEN", _secret),
    "seal_key": ("SPOTCORE_SEAL_KEY", parsed_key),
    "token_readback": ("SPOTCORE_TOKEN_READBACK", _switch),
    "data_dir": ("SPOTCORE_DATA_DIR", _folder),
    "host": ("SPOTCORE_HOST", _text),
    "port": ("SPOTCORE_PORT", _whole(1, 65_535)),
    "enable_background_jobs": ("ENABLE_BACKGROUND_JOBS", _switch),
    "threads": ("SPOTCORE_THREADS", _whole(2, 256)),
    "urgent_threads": ("SPOTCORE_URGENT_THREADS", _whole(1, 128)),
    "log_level": ("SPOTCORE_LOG_LEVEL", _level),
    "uploads": ("SPOTCORE_UPLOADS", _switch),
    "dashboard_dir": ("SPOTCORE_DASHBOARD_DIR", _dashboard),
}

ABOUT: Final[Mapping[str, str]] = {
    "database_url": "PostgreSQL of your own, version 15 or newer; without it the embedded one",
    "redis_url": "Redis or Valkey of your own; without it the embedded one",
    "admin_token": "the operator's token; without it `spotcore up` makes one and shows it once",
    "seal_key": "64 hex characters that seal client tokens; without it a key file in the data folder",
    "token_readback": "`off`: client tokens can never be shown again, nothing is sealed",
    "data_dir": "folder for everything that is kept; `/var/lib/spotcore` for root, your data folder otherwise",
    "host": "address to listen on",
    "port": "port to listen on; 5000 is what deployed agents and the dashboard expect",
    "enable_background_jobs": "`off`: this process serves requests and runs no time-driven rules",
    "threads": "threads for ordinary calls; each has a database connection",
    "urgent_threads": "threads and connections kept for emergencies",
    "log_level": "`debug`, `info`, `warning` or `error`; logs are JSON lines on standard error",
    "uploads": "`on`: the operator may upload models and engine parameters",
    "dashboard_dir": "folder of a built dashboard (`index.html`, `assets/`), served at `/` to signed-in browsers",
}
"""What each setting means, for people."""


def load_settings(environment: Mapping[str, str], **overrides: Any) -> Settings:
    """Settings from variables, ``overrides`` that are not None winning. Raises ``SettingsError``."""
    values: dict[str, Any] = {"data_dir": default_data_dir()}
    for name, (variable, read) in VARIABLES.items():
        given = environment.get(variable)
        if given is None:
            continue
        try:
            values[name] = read(given)
        except ValueError as wrong:
            shown = "(hidden)" if name in ("admin_token", "seal_key", "database_url", "redis_url") else repr(given)
            raise SettingsError(f"{variable} is {shown}; it must be {wrong}") from None
    values |= {name: value for name, value in overrides.items() if value is not None}
    return Settings(**values)
