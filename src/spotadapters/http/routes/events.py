"""E90…E92: who may listen to live events, and who does. The stream itself is ``http.streams``."""

from datetime import datetime
from typing import Final

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.routing import MAX_ID, STREAM_TYPE, Call, Endpoint
from spotadapters.wire.answers import shown
from spotadapters.wire.asking import text
from spotadapters.wire.shapes import shape
from spotcore.clients import ClientStatus
from spotcore.errors import NotFound
from spotcore.ids import ClientId

PEOPLE: Final = Access(needs=Needs.EITHER)
ADMIN: Final = Access(needs=Needs.ADMIN)


@shape
class LiveQuery:
    """E90."""

    client_id: str | None = text(limit=MAX_ID)


@shape
class Connected:
    """The first frame: whose events follow."""

    client_id: str | None = shown(doc="null: the operator sees every client's")
    timestamp: datetime


def listen(call: Call) -> Answer:
    """E90, E91: whose events the caller gets, judged again and again while the stream lasts (Z4). Raises ``Forbidden``
    for another client's, ``NotFound`` for a client that does not exist."""
    named = call.path_id("client_id") if "client_id" in call.path else call.asked(LiveQuery).client_id
    client_id = call.principal.acting(ClientId(named) if named else None, actor="client").client_id or None
    if call.principal.is_admin and client_id is not None:
        with call.transactions() as uow:
            if uow.clients.get(client_id).status is ClientStatus.DELETED:
                raise NotFound("unknown client")
    return Answer(data=Connected(client_id=client_id, timestamp=call.clock.now()))


@shape
class ClientConnections:
    """Open streams of one client."""

    client_id: str | None = shown(doc="null: the operator's streams of every client's events")
    connections: int


@shape
class LiveStats:
    """E92, of the process that answers."""

    active_connections: int
    clients: tuple[ClientConnections, ...]


def stats(call: Call) -> Answer:
    """E92."""
    known = call.live.connections()
    rows = tuple(
        ClientConnections(client_id=client_id, connections=count)
        for client_id, count in sorted(known.items(), key=lambda row: row[0] or "")
    )
    return Answer(data=LiveStats(active_connections=sum(known.values()), clients=rows))


routes = [
    Endpoint(number="E92", method="GET", path="/api/events/stats", handler=stats, access=ADMIN, answers=LiveStats)
]
streams = [
    Endpoint(
        number="E90", method="GET", path="/api/events/stream", handler=listen, access=PEOPLE, asks=LiveQuery,
        answers=Connected, gives=STREAM_TYPE, refuses=("RATE_LIMITED",),
    ),
    Endpoint(
        number="E91", method="GET", path="/api/events/stream/{client_id}", handler=listen, access=PEOPLE,
        answers=Connected, gives=STREAM_TYPE, refuses=("NOT_FOUND", "RATE_LIMITED"),
    ),
]  # fmt: skip
