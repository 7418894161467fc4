"""``spotcore notifications``: messages to people."""

from typing import Final

import click

from spotapp.commands.api import part
from spotapp.commands.options import Remote, remote

COLUMNS: Final = {
    "time": "time", "severity": "severity", "message": "message", "read": "isRead", "client": "clientId", "id": "id",
}  # fmt: skip
client_option = click.option("--client", metavar="ID", help="This client's alone (admin token).")


@click.group()
def notifications() -> None:
    """Messages to people: list, mark as read."""


@notifications.command("list")
@client_option
@click.option("--unread", is_flag=True, help="Only those nobody has read.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most so many.")
@remote
def list_notifications(remote: Remote, client: str | None, unread: bool, limit: int) -> None:
    """Messages, newest first.

    \b
    Example:
      spotcore notifications list --unread
    """
    only = "true" if unread else None
    data = remote.api.get("/api/notifications", client_id=client, unread=only, limit=limit)  # E87
    remote.screen.rows(data, data, COLUMNS, empty="no messages")


@notifications.command()
@click.argument("notification")
@remote
def read(remote: Remote, notification: str) -> None:
    """Mark one message as read.

    \b
    Example:
      spotcore notifications read 5c0e77aa-…
    """
    data, _ = remote.api.post(f"/api/notifications/{part(notification)}/mark-read")  # E88
    remote.screen.done(data, "marked as read")


@notifications.command("read-all")
@client_option
@remote
def read_all(remote: Remote, client: str | None) -> None:
    """Mark every message as read.

    \b
    Example:
      spotcore notifications read-all --client 7d8f5c1e-…
    """
    body = {} if client is None else {"client_id": client}
    data, _ = remote.api.post("/api/notifications/mark-all-read", body)  # E89
    remote.screen.done(data, f"{data['marked_count']} marked as read")
