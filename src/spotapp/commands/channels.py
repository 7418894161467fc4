"""``spotcore channels``: notifications by webhook, e-mail, Slack and others."""

from typing import Final

import click

from spotapp.commands.database import Local, local
from spotapp.commands.options import ask, yes_option
from spotapp.sealing import require_right_key
from spotcore.channels import SEVERITIES, ChannelKind
from spotcore.errors import Unavailable
from spotcore.events import EventKind, Level
from spotcore.ids import ClientId

CHANNELS: Final = {
    "channel": "channel_id", "client": "client_id", "kind": "kind", "to": "label", "from": "min_severity",
    "pending": "pending", "delivered": "delivered", "dead": "dead",
}  # fmt: skip
DELIVERIES: Final = {
    "delivery": "delivery_id", "to": "label", "state": "state", "attempts": "attempts", "made": "created_at",
    "next": "next_attempt_at", "error": "last_error", "message": "message",
}  # fmt: skip


@click.group()
def channels() -> None:
    """Where notifications go besides the screen. On the database itself."""


@channels.command()
@click.argument("address", envvar="SPOTCORE_CHANNEL_ADDRESS")
@click.option("--client", metavar="ID", help="One client's notifications; without it all clients'.")
@click.option(
    "--kind",
    type=click.Choice([one.value for one in ChannelKind]),
    help="How to speak to it.  [default: webhook for http(s) addresses, else apprise]",
)
@click.option(
    "--from",
    "min_severity",
    type=click.Choice([one.value for one in SEVERITIES]),
    default=Level.WARNING.value,
    show_default=True,
    help="The least that is told.",
)
@local
def add(here: Local, address: str, client: str | None, kind: str | None, min_severity: str) -> None:
    """Add a webhook (https://…), or an address of the apprise library: mailto://…, slack://…

    A webhook's signing secret is shown once (Standard Webhooks). Addresses are kept sealed.

    \b
    Example:
      spotcore channels add https://example.com/hooks/spot --from warning
    """
    require_right_key(here.wiring.settings, here.connections.database_url)  # or no server could open it
    chosen = ChannelKind(kind) if kind else ChannelKind.WEBHOOK if address.startswith("http") else ChannelKind.APPRISE
    made = here.wiring.channels.add(client, chosen, address, Level(min_severity))
    facts = {"channel_id": made.channel_id, "to": made.label, "from": min_severity}
    here.plane.notices.channel_changed(EventKind.CHANNEL_ADDED, ClientId(client) if client else None, facts)
    here.screen.facts({**facts, "secret": made.secret} if made.secret else facts)


@channels.command("list")
@local
def list_channels(here: Local) -> None:
    """Every channel and how its deliveries stand.

    \b
    Example:
      spotcore channels list
    """
    data = here.wiring.channels.listed()
    here.screen.rows(data, data, CHANNELS, empty="no channels yet")


@channels.command()
@click.argument("channel")
@yes_option
@local
def remove(here: Local, channel: str, yes: bool) -> None:
    """Remove a channel; what it has not delivered is dropped.

    \b
    Example:
      spotcore channels remove 7d8f5c1e-…
    """
    ask(f"Remove channel {channel}?", yes)
    here.wiring.channels.remove(channel)
    here.plane.notices.channel_changed(EventKind.CHANNEL_REMOVED, None, {"channel_id": channel})
    here.screen.done({"channel_id": channel, "removed": True}, f"{channel} removed")


@channels.command()
@click.argument("channel")
@local
def test(here: Local, channel: str) -> None:
    """Send a test message now. Exit status 1 when it is not accepted.

    \b
    Example:
      spotcore channels test 7d8f5c1e-…
    """
    attempt = here.wiring.channels.test(channel)
    if attempt.error is not None:
        raise Unavailable(f"the test was not delivered: {attempt.error}")
    here.screen.done({"channel_id": channel, "delivered": True}, "delivered")


@channels.command()
@click.option("--state", type=click.Choice(["pending", "delivered", "dead"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@local
def deliveries(here: Local, state: str | None, limit: int) -> None:
    """What was sent, what waits and what was given up, newest first.

    \b
    Example:
      spotcore channels deliveries --state dead
    """
    data = here.wiring.channels.deliveries(state, limit)
    here.screen.rows(data, data, DELIVERIES, empty="no deliveries")
    here.screen.cut(len(data), limit, "use --limit")


@channels.command()
@click.argument("delivery")
@local
def replay(here: Local, delivery: str) -> None:
    """Try a delivery that was given up once more, with all its attempts.

    \b
    Example:
      spotcore channels replay 7d8f5c1e-….a1b2…
    """
    here.wiring.channels.replay(delivery)
    here.screen.done({"delivery_id": delivery, "pending": True}, f"{delivery} is due now")
