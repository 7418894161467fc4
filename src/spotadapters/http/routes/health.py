"""E01, E02: is it alive, and what is it."""

import time
from typing import Final

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.routing import Call, Endpoint
from spotcore.errors import SpotError

STARTED: Final = time.monotonic()
OPEN: Final = Access(needs=Needs.NOBODY)


def health(call: Call) -> Answer:
    """200 while the database answers, else 503; ``status`` is the health word (C02)."""
    try:
        with call.transactions() as uow:
            uow.agents.find_owner("none")  # type: ignore[arg-type]
        connected = True
    except SpotError:
        connected = False
    facts = {
        "status": "healthy" if connected else "unhealthy",
        "timestamp": call.clock.now(),
        "version": call.server.version,
        "uptime_seconds": int(time.monotonic() - STARTED),
        "database": "connected" if connected else "disconnected",
        "decision_engine_loaded": call.server.engine_loaded,
    }
    error = None if connected else "the database cannot be reached"
    return Answer(data=facts, status=200 if connected else 503, extra={**facts, "error": error})


def root(call: Call) -> Answer:
    """What this is and where to go."""
    return Answer(
        data={
            "name": call.server.name,
            "version": call.server.version,
            "status": "running",
            "uptime_seconds": int(time.monotonic() - STARTED),
            "endpoints": {"health": "/health", "admin": "/api/admin", "client": "/api/client", "agents": "/api/agents"},
        }
    )


routes = [
    Endpoint(number="E01", method="GET", path="/health", handler=health, access=OPEN),
    Endpoint(number="E01", method="GET", path="/api/health", handler=health, access=OPEN),
    Endpoint(number="E02", method="GET", path="/", handler=root, access=OPEN),
]
