"""What people see: a live screen in a terminal, lines without one."""

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table

from spotapp.demo.story import Story, replica_word
from spotcore.aggregate import Aggregate
from spotcore.pools import Mode

COLOURS = {
    "online": "green",
    "offline": "yellow",
    "switching": "cyan",
    "error": "red",
    "disabled": "dim",
    "deleted": "dim",
}


class Screen:
    """Collects what happened and draws it."""

    def __init__(self, console: Console, *, headless: bool) -> None:
        self.console = console
        self.headless = headless
        self.lines: deque[str] = deque(maxlen=14)
        self.decisions: deque[str] = deque(maxlen=5)
        self.prices = ""
        self._shown = 0

    def tell(self, text: str) -> None:
        """Something happened."""
        self.lines.append(text)
        if self.headless:
            self.console.print(text, markup=True, soft_wrap=True)

    def decided(self, text: str) -> None:
        """The rules decided something."""
        if text not in self.decisions:
            self.decisions.append(text)

    def draw(self, times: list[float], seen: Mapping[str, Aggregate], elapsed: float) -> Group:
        """The whole screen."""
        return Group(
            f"[bold]spotcore demo[/bold]   {elapsed / 60:5.1f} simulated minutes   {self.prices}",
            fleet_table(seen),
            Panel("\n".join(self.lines) or "…", title="what happens", title_align="left", height=16),
            Panel(
                "\n".join(self.decisions) or "…", title="what the rules decide, and why", title_align="left", height=7
            ),
            failover_line(times),
        )


def fleet_table(seen: Mapping[str, Aggregate]) -> Table:
    """One row per workload."""
    table = Table(expand=True, box=None, pad_edge=False)
    for name in ("workload", "build", "status", "primary", "runs on", "replica", "zombies", "switches", "config"):
        table.add_column(name, no_wrap=True)
    for name, aggregate in seen.items():
        status, primary = aggregate.display_status().value, aggregate.primary
        zombies = sum(row.status.value in ("zombie", "terminating") for row in aggregate.instances.values())
        made = sum(row.state.value == "completed" for row in aggregate.switches.values())
        table.add_row(
            name,
            aggregate.agent.build.value,
            f"[{COLOURS[status]}]{status}[/]",
            primary.cloud_id[-8:] if primary and primary.cloud_id else "–",
            _where(aggregate),
            replica_word(aggregate),
            str(zombies) if zombies else "–",
            str(made) if made else "–",
            f"v{aggregate.agent.config_version}",
        )
    return table


def _where(aggregate: Aggregate) -> str:
    primary = aggregate.primary
    if primary is None:
        return "nothing"
    return f"spot {primary.az}" if primary.mode is Mode.SPOT else f"{primary.mode.value} {primary.az}"


def failover_line(times: list[float]) -> str:
    """Answers to termination notices, fastest and slowest."""
    if not times:
        return "no termination notice yet"
    shown = ", ".join(f"{took:.0f}" for took in times[-8:])
    return f"termination notices answered in milliseconds: {shown}"


def summary(story: Story, seen: Mapping[str, Aggregate], times: list[float]) -> Table:
    """The table at the end."""
    table = Table(title="summary", show_header=False, title_justify="left")
    switches = [row for aggregate in seen.values() for row in aggregate.switches.values()]
    by_trigger: dict[str, int] = {}
    for row in switches:
        by_trigger[row.trigger.value] = by_trigger.get(row.trigger.value, 0) + 1
    facts: dict[str, Any] = {
        "agents kept alive": len(seen),
        "requests served": sum(story.world.journal.answers.values()),
        "primaries that got a notice": len(story.interrupted),
        "notices answered (ms, slowest)": f"{max(times, default=0):.0f}",
        "primary changes": ", ".join(f"{count} {name}" for name, count in sorted(by_trigger.items())) or "none",
        "hourly saving of the last hour's primaries": f"{hourly_saving(seen):.4f} $/h against on-demand",
        "legacy estimate (total_savings)": f"{legacy_total(seen):.4f} $",
        "invariant violations": len(story.broken) + len(story.seen_on_the_wire()),
        "noticed primaries without a successor": ", ".join(story.unreplaced()) or "none",
    }
    for name, value in facts.items():
        table.add_row(name, str(value))
    return table


def hourly_saving(seen: Mapping[str, Aggregate]) -> Decimal:
    """Σ on-demand − paid over the primaries whose last switch record knows both prices, $/h."""
    total = Decimal(0)
    for aggregate in seen.values():
        made = [row for row in aggregate.switches.values() if row.new_instance_id == aggregate.agent.primary_id]
        last = max(made, key=lambda row: row.recorded_at, default=None)
        if last is not None and last.ondemand_price is not None and last.new_price is not None:
            total += last.ondemand_price - last.new_price
    return total


def legacy_total(seen: Mapping[str, Aggregate]) -> Decimal:
    """The client's legacy estimate (7.1)."""
    return max((aggregate.client.total_savings for aggregate in seen.values()), default=Decimal(0))
