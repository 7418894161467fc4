"""E01, E02: is it alive, and what is it."""

import time
from typing import Final

from attrs import frozen

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer, File
from spotadapters.http.metrics import METRICS_TYPE
from spotadapters.http.routing import Call, Endpoint
from spotcore.errors import SpotError, Unavailable

STARTED: Final = time.monotonic()
OPEN: Final = Access(needs=Needs.NOBODY)


def _is_connected(call: Call) -> bool:
    try:
        with call.transactions() as uow:
            uow.agents.find_owner("none")  # type: ignore[arg-type]
    except SpotError:
        return False
    return True


def health(call: Call) -> Answer:
    """200 while the database answers, else 503; ``status`` is the health word (C02)."""
    connected = _is_connected(call)
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


@frozen(kw_only=True)
class Liveness:
    """``/livez``: the process runs."""

    alive: bool = True


@frozen(kw_only=True)
class Readiness:
    """``/readyz``: whether requests sent here can be answered."""

    ready: bool
    database: str


def livez(_: Call) -> Answer:
    """For whoever restarts processes: a database that is away is no reason to."""
    return Answer(data=Liveness())


def readyz(call: Call) -> Answer:
    """For whoever routes requests: 503 takes this process out of rotation until the database answers."""
    connected = _is_connected(call)
    if not connected:
        raise Unavailable("the database cannot be reached")
    return Answer(data=Readiness(ready=True, database="connected"))


def metrics(call: Call) -> Answer:
    """Prometheus' exposition format."""
    return Answer(file=File(name=None, content=call.server.metrics.page(), media_type=METRICS_TYPE))


ROOT: Final = Endpoint(number="E02", method="GET", path="/", handler=root, access=OPEN)
routes = [
    Endpoint(number="E01", method="GET", path="/health", handler=health, access=OPEN),
    Endpoint(number="E01", method="GET", path="/api/health", handler=health, access=OPEN),
    Endpoint(number="livez", method="GET", path="/livez", handler=livez, access=OPEN, answers=Liveness),
    Endpoint(number="readyz", method="GET", path="/readyz", handler=readyz, access=OPEN, answers=Readiness),
    Endpoint(number="metrics", method="GET", path="/metrics", handler=metrics, access=Access(needs=Needs.ADMIN)),
]
