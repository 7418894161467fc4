"""What the doctor looks at in the data folder. Nothing in it is changed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from spotadapters.embedded import cluster_damage, holder
from spotadapters.embedded.account import can_reach, obstacle, service_account
from spotadapters.embedded.errors import EmbeddedError
from spotapp.finding import Finding
from spotapp.settings import Settings

ROOM_MB: Final = 512  # PostgreSQL's log of a busy hour; a server that runs out of it stops
MEGABYTE: Final = 1_048_576


def folder_findings(settings: Settings) -> Iterator[Finding]:
    """Of the folder, and of what embedded servers keep there."""
    folder = settings.data_dir
    file = obstacle(folder)
    if file is not None:
        fix = "use another --data-dir" if file == folder else f"move {file} away, or use another --data-dir"
        yield Finding(name="data folder", ok=False, found=f"{file} is not a folder", fix=fix)
        return
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    writable = os.access(existing, os.W_OK | os.X_OK)
    yield Finding(
        name="data folder",
        ok=writable,
        found=f"{folder} ({'writable' if writable else 'not writable'})",
        fix=None if writable else f"mend the owner of {existing}, or use --data-dir",
    )
    yield _room(existing)
    if settings.database_url is None or settings.redis_url is None:
        pid = holder(folder)
        yield Finding(
            name="data folder's lock",
            ok=True,  # a second one is refused at its start
            found="free" if pid is None else f"held by the spotcore that runs on {folder} (pid {pid})",
        )
    if settings.database_url is None:
        yield from _servers(folder)


def _room(existing: Path) -> Finding:
    free = shutil.disk_usage(existing).free // MEGABYTE
    fix = None if free >= ROOM_MB else f"make room, {ROOM_MB} MB at least, or use another --data-dir"
    return Finding(name="room on the disk", ok=fix is None, found=f"{free} MB free", fix=fix)


def _servers(folder: Path) -> Iterator[Finding]:
    cluster = folder / "postgres" / "cluster"
    try:
        reachable = can_reach(service_account(create=False), cluster)
        found, fix = "reachable" if reachable else "closed to the servers' user", "use --data-dir /var/lib/spotcore"
    except EmbeddedError as failure:
        reachable, found, fix = False, str(failure), "run as an ordinary user"
    yield Finding(name="data folder for the servers", ok=reachable, found=found, fix=None if reachable else fix)
    damage = cluster_damage(folder)
    if damage is not None:
        found, _, fix = damage.partition("; ")
        yield Finding(name="embedded database", ok=False, found=found, fix=fix)
