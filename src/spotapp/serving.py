"""The server on databases that run: schema, wiring, background work and the web process."""

import socket
from collections.abc import Callable
from typing import Final

from spotadapters.jobs.scheduler import Scheduler
from spotadapters.postgres.migrate import migrate, require_schema
from spotapp.admin_token import ensure_admin_token
from spotapp.behind import behind
from spotapp.own_servers import Servers
from spotapp.sealing import tell_wrong_key
from spotapp.settings import Settings
from spotapp.web import run
from spotapp.wiring import open_wiring

WORKERS_OF_UP: Final = 2


def serve_all(
    settings: Settings,
    servers: Servers,
    listening: socket.socket,
    *,
    on_migrated: Callable[[str], None],
    on_token: Callable[[str], None],
    on_ready: Callable[[], None],
) -> None:
    """Migrate, then serve with all background work in this process until it is asked to stop. A token that was made is
    shown once."""
    for name in migrate(servers.database_url):
        on_migrated(name)
    tell_wrong_key(settings, servers.database_url)
    with open_wiring(settings, servers.database_url) as wiring:
        token = ensure_admin_token(wiring)
        if token is not None:
            on_token(token)
        if not settings.enable_background_jobs:
            run(wiring, listening, on_ready)
            return
        with behind(wiring, servers.redis_url, workers=WORKERS_OF_UP) as others:

            def ready() -> None:
                on_ready()
                others.begin()

            run(wiring, listening, ready, Scheduler(wiring.jobs, others.send))


def serve_alone(
    settings: Settings, database_url: str, listening: socket.socket, *, on_ready: Callable[[], None]
) -> None:
    """Serve on a migrated database until asked to stop. Raises ``MigrationError`` when it lacks migrations."""
    require_schema(database_url)
    tell_wrong_key(settings, database_url)
    with open_wiring(settings, database_url) as wiring:
        ensure_admin_token(wiring)
        run(wiring, listening, on_ready)
