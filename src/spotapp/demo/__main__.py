"""``python -m spotapp.demo``: start everything, play the story, show it, judge it."""

import logging
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import psycopg
from rich.console import Console
from rich.live import Live

from spotadapters.fleet import FastClock, LiveRunner, PriceFeed, SocketTransport, World
from spotapp.demo.prices import ONDEMAND, ZONES, GeneratedPrices, RecordedPrices
from spotapp.demo.screen import Screen, summary
from spotapp.demo.site import running_site
from spotapp.demo.story import Story
from spotapp.wiring import Wiring
from spotcore.pools import Pool

FRAME_SECONDS = 0.5
SEED = 7
WORKERS = 8


@click.command()
@click.option("--headless", is_flag=True, help="Print lines instead of a live screen.")
@click.option("--forever", is_flag=True, help="Go on after the story has been told; stop with Ctrl-C.")
@click.option(
    "--speed", type=click.FloatRange(1, 60), default=25, show_default=True, help="Simulated seconds a second."
)
@click.option("--seed", type=int, default=SEED, show_default=True, help="Seed of prices and boot times.")
@click.option(
    "--prices",
    "price_file",
    type=click.Path(exists=True, path_type=Path),
    help="A describe-spot-price-history JSON file.",
)
def demo(headless: bool, forever: bool, speed: float, seed: int, price_file: Path | None) -> None:
    """A fleet of every agent build on a real server, kept alive through two interruption storms."""
    console = Console(highlight=False)
    console.print("[bold]spotcore demo[/bold]: starting PostgreSQL, Valkey and the server …")
    logging.disable(logging.ERROR)  # the screen is for the story; failures are counted and shown at the end
    with tempfile.TemporaryDirectory(prefix="spotcore-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # ours alone; the servers' user must pass through
        clock = FastClock(datetime.now(UTC), rate=speed)
        with running_site(folder / "data", clock) as (wiring, port):
            console.print(f"server healthy at http://127.0.0.1:{port}")
            recorded = RecordedPrices(price_file, clock.now()) if price_file else None
            market = recorded or GeneratedPrices(seed, clock.now())
            status = _play(console, wiring, port, clock, market, headless=headless, forever=forever, seed=seed)
    sys.exit(status)


def _play(
    console: Console,
    wiring: Wiring,
    port: int,
    clock: FastClock,
    market: PriceFeed,
    *,
    headless: bool,
    forever: bool,
    seed: int,
) -> int:
    issued = wiring.plane.clients.create("Demo fleet", "demo@example.com")
    transport = SocketTransport(f"http://127.0.0.1:{port}")
    world = World(clock=clock, transport=transport, prices=market, zones=ZONES, seed=seed, os_boot_seconds=10)
    screen = Screen(console, headless=headless)
    story = Story(
        wiring, world, issued.client.client_id, issued.token, lambda text: screen.tell(f"[bold]▶ {text}[/bold]")
    )
    story.begin()
    begin, news = clock.now(), News(wiring)
    with LiveRunner(world, workers=WORKERS, rate=clock.rate) as runner:
        try:
            with _NoLive() if headless else Live(console=console, screen=True, auto_refresh=False) as live:
                while not runner.failed:
                    elapsed = (clock.now() - begin).total_seconds()
                    story.play(elapsed)
                    news.read(screen)
                    seen = story.watch()
                    screen.prices = _price_line(market, clock)
                    live.update(screen.draw(story.notice_times(clock.rate), seen, elapsed), refresh=True)
                    if elapsed > story.length and not forever:
                        break
                    time.sleep(FRAME_SECONDS)
        except KeyboardInterrupt:
            console.print("stopped")
    return _judge(console, story, clock.rate)


def _judge(console: Console, story: Story, rate: float) -> int:
    """Show what came of it; 0 only if every invariant held and every noticed primary was replaced."""
    seen = story.watch()
    console.print(summary(story, seen, story.notice_times(rate)))
    wrong = {"request failed": story.failures(), "invariant": story.broken, "on the wire": story.seen_on_the_wire()}
    for name, texts in wrong.items():
        for text in texts[:10]:
            console.print(f"[red]{name}:[/red] {text}")
    good = not any(wrong.values()) and not story.unreplaced() and bool(story.interrupted)
    verdict = "[green]every noticed primary was replaced, every invariant held[/green]" if good else "[red]FAILED[/red]"
    console.print(verdict)
    return 0 if good else 1


class _NoLive:
    """Lines are printed as they come."""

    def __enter__(self) -> "_NoLive":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, *_: object, **__: object) -> None:
        """Nothing to redraw."""


def _price_line(market: PriceFeed, clock: FastClock) -> str:
    kind = next(iter(ONDEMAND))
    now = clock.now()
    shown = [f"{az[-2:]} {market.spot(Pool(kind, az), now) or 0:.4f}" for az in ZONES]
    return f"{kind}: on-demand {market.on_demand(kind, now) or 0:.4f}, spot " + " ".join(shown)


class News:
    """New notifications and decisions, straight from the database."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._last = 0

    def read(self, screen: Screen) -> None:
        """Tell what came since the last time."""
        with self._wiring.connections.connection() as connection:
            rows = connection.execute(
                "select e.audit_id, n.severity, n.message from notifications n join audit_events e "
                "on e.event_id = n.event_id where e.audit_id > %s order by e.audit_id",
                (self._last,),
            ).fetchall()
            decided = connection.execute(
                "select a.logical_agent_id, d.body->>'action', d.body->>'target_pool_id', d.body->>'reason', "
                "d.body->>'guards' from decisions d join agents a using (client_id, agent_id) "
                "order by d.made_at desc limit 5"
            ).fetchall()
        for audit_id, severity, message in rows:
            self._last = max(self._last, audit_id)
            colour = {"critical": "red", "error": "red", "warning": "yellow", "success": "green"}.get(
                severity, "default"
            )
            screen.tell(f"[{colour}]{message}[/]")
        for agent, action, pool, reason, guards in decided:
            held = f"  held by {guards}" if guards not in (None, "[]") else ""
            screen.decided(f"{agent}: {action} {pool or ''} because {reason}{held}".replace("[", "(").replace("]", ")"))


if __name__ == "__main__":
    try:
        demo()
    except psycopg.Error as failure:
        sys.exit(f"the demo's database failed: {failure}")
