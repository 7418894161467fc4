"""``spotcore ledger``: what the money figures come from, and whether they are still what was written."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import click
from attrs import asdict
from rich.progress import track

from spotadapters.postgres.ledger import Explained, LedgerReads
from spotapp.commands.database import Local, local
from spotapp.failures import console
from spotcore.account import account
from spotcore.ids import ClientId

LINES: Final = {
    "agent": "agent", "machine": "machine", "from": "from", "to": "to", "as": "role", "paid by": "mode", "pool": "pool",
    "paid $/h": "paid_price", "on-demand $/h": "ondemand_price", "hours": "hours", "baseline $": "baseline",
    "cost $": "cost", "saved $": "saving", "quality": "quality", "note": "note",
}  # fmt: skip
PRICES: Final = {
    "pool": "pool_id", "bucket": "bucket_start", "$/h": "price", "from": "source", "confidence": "confidence",
    "observed": "observed_at", "submission": "submission_id",
}  # fmt: skip


class Month(click.ParamType[datetime]):
    """A calendar month, UTC."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Its first instant."""
        if isinstance(value, datetime):
            return value
        try:
            month = datetime.strptime(value, "%Y-%m").replace(tzinfo=UTC)
            after(month)  # the calendar ends in 9999
            return month
        except ValueError:
            self.fail("use YEAR-MONTH, e.g. 2026-03", param, ctx)


MONTH: Final = Month()


def after(month: datetime) -> datetime:
    """The first instant of the next month."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


@click.group()
def ledger() -> None:
    """What was really paid and saved, line by line: verify, explain. An estimate from prices, not an invoice."""


@ledger.command()
@click.argument("client", required=False)
@local
def verify(here: Local, client: str | None) -> None:
    """Look at every seal over final lines, of one client or of all. Exit status 1 when a line was changed, is missing
    or came later.

    Note the last digests somewhere else: they tell of an end that was cut off. On the database itself.

    \b
    Example:
      spotcore ledger verify 7d8f5c1e-…
    """
    reads = LedgerReads(here.connections, here.clock)
    clients = reads.sealed_clients() if client is None else [here.plane.clients.get(ClientId(client)).client_id]
    heads: list[dict[str, Any]] = []
    findings: list[dict[str, str]] = []
    for one in track(clients, "looking at seals", console=console, transient=True):
        seals = reads.verify(one)
        findings += [
            {"where": f"{one} seal {seal.seal_no}", "what": seal.trouble} for seal in seals if seal.trouble is not None
        ]
        lines = sum(seal.lines for seal in seals)
        heads += [{"client": one, "seals": len(seals), "lines": lines, "digest": seal.digest} for seal in seals[-1:]]
    data = {"intact": not findings, "findings": findings, "heads": heads}
    columns = {"client": "client", "seals": "seals", "lines": "lines", "digest": "digest"}
    here.screen.rows(data, heads, columns, empty="nothing is sealed yet")
    if findings:
        if not here.screen.is_json:
            click.echo()
            here.screen.rows(data, findings, {"where": "where", "what is wrong": "what"}, empty="")
        sys.exit(1)


@ledger.command()
@click.argument("client")
@click.argument("month", type=MONTH)
@click.option("--machine", metavar="I-…", help="One machine, with the price rows behind its lines.")
@local
def explain(here: Local, client: str, month: datetime, machine: str | None) -> None:
    """A month's figures, the lines they add up from, and for one machine the price rows behind those.

    \b
    Example:
      spotcore ledger explain 7d8f5c1e-… 2026-03 --machine i-0123456789abcdef0
    """
    here.plane.clients.get(ClientId(client))
    reads = LedgerReads(here.connections, here.clock)
    found = reads.lines(ClientId(client), month, after(month))
    if machine is not None:
        found = [one for one in found if one.machine["cloud_id"] == machine]
    total = account(one.entry.line for one in found)
    lines = [_line(one) for one in found]
    rows = _price_rows(reads, found) if machine is not None else None
    amounts = {"saving": total.saving, **asdict(total)}
    totals = {name: f"{value:.8f}" for name, value in amounts.items()}
    data: dict[str, Any] = {"client": client, "month": f"{month:%Y-%m}", "totals": totals, "lines": lines}
    if rows is not None:
        data["prices"] = rows
    if here.screen.is_json:
        here.screen.json(data)
        return
    here.screen.facts(totals)
    click.echo()
    here.screen.rows(data, lines, LINES, empty="no lines in this month")
    if rows is not None:
        click.echo()
        here.screen.rows(data, rows, PRICES, empty="no price rows: the time is unpriced, or paid on demand")


def _line(one: Explained) -> dict[str, Any]:
    line = one.entry.line
    amounts = {
        "paid_price": line.paid_price, "ondemand_price": line.ondemand_price, "hours": round(line.hours, 6),
        "baseline": line.baseline, "cost": line.cost, "saving": line.saving,
    }  # fmt: skip
    return {
        "id": one.entry.line_id,
        "agent": one.machine["logical_agent_id"],
        "machine": one.machine["cloud_id"],
        "from": line.started_at.isoformat(),
        "to": line.ended_at.isoformat(),
        "role": line.role.value,
        "mode": line.mode.value,
        "pool": line.pool_id,
        **{name: f"{value:f}" if value is not None else None for name, value in amounts.items()},
        "quality": line.quality.value,
        "note": _note(one),
    }


def _note(one: Explained) -> str | None:
    line = one.entry.line
    if line.adjusts is None:
        return None
    return f"takes back {line.adjusts}" if line.sign < 0 else f"corrects {line.adjusts}"


def _price_rows(reads: LedgerReads, found: list[Explained]) -> list[dict[str, Any]]:
    lines = [one.entry.line for one in found if one.entry.line.pool_id is not None]
    pools = {line.pool_id for line in lines if line.pool_id is not None}
    rows: list[dict[str, Any]] = []
    for pool_id in sorted(pools):
        times = [line for line in lines if line.pool_id == pool_id]
        first, last = min(one.started_at for one in times), max(one.ended_at for one in times)
        rows += [{**row, **{name: f"{Decimal(row[name]):f}" for name in ("price", "confidence")}}
                 for row in reads.price_rows(pool_id, first, last)]  # fmt: skip
    return rows
