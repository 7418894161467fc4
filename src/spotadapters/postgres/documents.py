"""What a transaction writes, as one JSON object for one statement (decision 0003)."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from spotadapters.postgres.rows import to_row
from spotadapters.system.tracing import current
from spotcore.aggregate import Aggregate
from spotcore.change import Outcome
from spotcore.commands import Command
from spotcore.events import Event, notification_of
from spotcore.incidents import TERMINAL as CLOSED_INCIDENTS
from spotcore.incidents import Incident
from spotcore.instances import Instance
from spotcore.replicas import Replica


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything that differs, as one JSON object; rows that give up a unique place come before those that take it."""
    written: dict[str, list[Any]] = {}
    gain = Decimal(0)
    for outcome in outcomes:
        for name, rows in _differences(outcome).items():
            written.setdefault(name, []).extend(rows)
        before, after = outcome.before, outcome.after
        gain += after.client.total_savings - before.client.total_savings if before else 0
    for name, place in PLACES.items():
        written.get(name, []).sort(key=place)
    doc: dict[str, Any] = {name: [to_row(row) for row in rows] for name, rows in written.items()}
    doc |= {"gain": str(gain), "client_id": outcomes[0].after.client.client_id} if gain else {}
    return doc | events_document([event for outcome in outcomes for event in outcome.events])


def _differences(outcome: Outcome) -> Mapping[str, Sequence[Any]]:
    """The rows that differ, by where they go."""
    before, after = outcome.before, outcome.after
    known = {(row.instance_id, row.started_at): row for row in (before.periods if before else ())}
    changed = [row for row in after.periods if known.get((row.instance_id, row.started_at)) != row]
    found = {
        "agents": [after.agent] if before is None or before.agent != after.agent else [],
        **{name: _differing(before, after, name) for name in PLACES},
        "closed_periods": [row for row in changed if (row.instance_id, row.started_at) in known],
        "opened_periods": [row for row in changed if (row.instance_id, row.started_at) not in known],
    }
    return {name: rows for name, rows in found.items() if rows}


def events_document(events: Sequence[Event]) -> dict[str, Any]:
    """Audit rows, the notifications they become, and the outbox (GR-10, NT-1)."""
    if not events:
        return {}
    messages = [message for event in events if (message := notification_of(event)) is not None]
    heard, marks = [event for event in events if event.spec.is_heard], current()
    return {
        "events": [_event_row(event, marks) for event in events],
        "notifications": [to_row(message) for message in messages],
        "outbox": [{"event_id": event.event_id, "client_id": event.client_id} for event in heard],
    }


def _event_row(event: Event, marks: Mapping[str, str]) -> dict[str, Any]:
    row = to_row(event)
    row["level"] = (event.level or event.spec.audit).value
    row["facts"] = {**marks, **row["facts"]}
    return row


def _differing(before: Aggregate | None, after: Aggregate, name: str) -> list[Any]:
    known = getattr(before, name) if before is not None else {}
    rows = getattr(after, name)
    if rows is known:
        return []
    return [row for key, row in rows.items() if known.get(key) is not row and known.get(key) != row]


def _instance_place(row: Instance) -> tuple[bool, bool]:
    return (not row.is_terminal, row.is_primary)


def _incident_place(row: Incident) -> bool:
    return row.state not in CLOSED_INCIDENTS


def _replica_place(row: Replica) -> bool:
    return row.is_live


def _command_place(row: Command) -> bool:
    return row.is_open


PLACES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "instances": _instance_place,
    "incidents": _incident_place,
    "replicas": _replica_place,
    "commands": _command_place,
    "switches": lambda row: row.recorded_at,
}
