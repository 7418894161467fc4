"""``spotcore models``: model sessions."""

from pathlib import Path
from typing import Final

import click

from spotapp.commands.api import ADMIN_CALL
from spotapp.commands.options import Remote, remote

MODELS: Final = "/api/admin/ml-models"
COLUMNS: Final = {
    "session": "id", "status": "status", "live": "isLive", "fallback": "isFallback", "files": "files",
    "bytes": "totalSize", "uploaded": "createdAt", "activated": "activatedAt",
}  # fmt: skip


@click.group()
def models() -> None:
    """Decision models: list, upload, activate, fall back. The group is called model too."""


@models.command("list")
@remote
def list_models(remote: Remote) -> None:
    """The latest model sessions, newest first.

    \b
    Example:
      spotcore models list
    """
    data = remote.api.get(f"{MODELS}/sessions", needs=ADMIN_CALL)  # E67
    remote.screen.rows(data, data, COLUMNS, empty="no model sessions; upload one with: spotcore models upload FILES")


@models.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
)
@click.option("--name", help="Name of the model.")
@click.option("--version", help="Version of the model.")
@click.option("--type", "kind", help="Kind of the model.")
@remote
def upload(remote: Remote, files: tuple[Path, ...], name: str | None, version: str | None, kind: str | None) -> None:
    """Upload a manifest.json with .safetensors files, or a state dict (.pt, .pth). It waits to be activated.

    \b
    Example:
      spotcore models upload manifest.json weights.safetensors
    """
    fields = {"model_name": name, "model_version": version, "model_type": kind}
    data, _ = remote.api.upload(f"{MODELS}/upload", list(files), fields, needs=ADMIN_CALL)  # E64
    session = data["sessionId"]
    remote.screen.done(data, f"session {session} uploaded; activate it with: spotcore models activate {session}")


@models.command()
@click.argument("session")
@remote
def activate(remote: Remote, session: str) -> None:
    """Make a session live; the one before becomes the fallback.

    \b
    Example:
      spotcore models activate 3f2d61c8-…
    """
    data, message = remote.api.post(f"{MODELS}/activate", {"sessionId": session}, needs=ADMIN_CALL)  # E65
    remote.screen.done(data, message or f"session {session} is live")


@models.command()
@remote
def fallback(remote: Remote) -> None:
    """Go back to the session that was live before.

    \b
    Example:
      spotcore models fallback
    """
    data, message = remote.api.post(f"{MODELS}/fallback", needs=ADMIN_CALL)  # E66
    remote.screen.done(data, message or f"session {data['fallbackSessionId']} is live again")
