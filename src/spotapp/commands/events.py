"""``spotcore events``: what happened, and what happens now."""

import time
from collections.abc import Callable
from typing import Any, Final

import click
import httpx2
from rich.text import Text

from spotapp.commands.api import ADMIN_CALL, ApiFailure
from spotapp.commands.options import Remote, remote
from spotapp.commands.screen import shown
from spotapp.failures import console

COLUMNS: Final = {"time": "time", "severity": "severity", "type": "eventType", "client": "clientName", "what": "text"}
QUIET: Final = ("CONNECTED", "HEARTBEAT")
GIVE_UP_AFTER: Final = 900.0  # seconds; older events are not replayed (E90)
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
PASSING: Final = (429, 500, 502, 503, 504)


@click.group()
def events() -> None:
    """What happened, and what happens now."""


@events.command()
@click.option("--limit", type=click.IntRange(1, 100), default=50, show_default=True, help="At most so many.")
@click.option("--follow", is_flag=True, help="Show what happens from now on, until Ctrl-C.")
@click.option("--client", metavar="ID", help="With --follow: this client's events alone.")
@remote
def show(remote: Remote, limit: int, follow: bool, client: str | None) -> None:
    """The latest events, or with --follow those that come, one a line.

    \b
    Example:
      spotcore events show --limit 10
      spotcore events show --follow
    """
    if client is not None and not follow:
        raise click.UsageError("--client goes with --follow")
    if follow:
        Follower(remote, client).run()
        return
    data = remote.api.get("/api/admin/activity", needs=ADMIN_CALL, limit=limit)  # E06
    remote.screen.rows(data, data, COLUMNS, empty="nothing has happened yet")


class Follower:
    """Reads the live stream and, when it breaks, goes on after the last event seen."""

    def __init__(
        self,
        remote: Remote,
        client: str | None,
        *,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._remote = remote
        self._client = client
        self._pause = pause
        self._now = now
        self._last_id: str | None = None
        self._heard: float | None = None  # when the stream was last open; None: never yet
        self._next_pause = FIRST_PAUSE

    def run(self) -> None:
        """Follow until Ctrl-C. Raises ``ApiFailure`` for a refusal, or when the server stays away."""
        while True:
            try:
                self._read()
                reason: Exception = ApiFailure("the stream ended")
            except ApiFailure as refusal:
                if self._heard is None or refusal.status not in PASSING:
                    raise
                reason = refusal
            except httpx2.TransportError as failure:
                reason = self._remote.api.unreachable(failure)
                if self._heard is None:
                    raise reason from None
            self._wait(reason)

    def _read(self) -> None:
        with self._remote.api.stream("/api/events/stream", last_id=self._last_id, client_id=self._client) as frames:
            for frame in frames:  # E90
                self._heard, self._next_pause = self._now(), FIRST_PAUSE
                self._last_id = frame.id or self._last_id
                if frame.event not in QUIET:
                    self._show(frame)

    def _show(self, frame: httpx2.ServerSentEvent) -> None:
        body = _body(frame)
        if frame.event == "RESYNC":
            console.print("[yellow]some events were left out; look with: spotcore events show[/yellow]")
        facts = body.get("data", body) if isinstance(body, dict) else body
        words = " ".join(f"{name}={value}" for name, value in facts.items()) if isinstance(facts, dict) else str(facts)
        at = body.get("timestamp", "") if isinstance(body, dict) else ""
        self._remote.screen.line({"event": frame.event, "id": frame.id, "data": body}, f"{at}  {frame.event}  {words}")

    def _wait(self, reason: Exception) -> None:
        if self._heard is None or self._now() - self._heard > GIVE_UP_AFTER:
            raise reason
        said = shown(" ".join(str(reason).split()[:12]))
        console.print(Text(f"{said} …; trying again", style="dim"), soft_wrap=True)
        self._pause(self._next_pause)
        self._next_pause = min(self._next_pause * 2, LONGEST_PAUSE)


def _body(frame: httpx2.ServerSentEvent) -> Any:
    """What the frame carries; its bare text when that is no JSON."""
    try:
        return frame.json()
    except ValueError:
        return frame.data
