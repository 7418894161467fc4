"""E01, E02: is it alive, and what is it."""

import time
from datetime import datetime
from typing import Final

from attrs import asdict, frozen

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer, File
from spotadapters.http.metrics import METRICS_TYPE
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire.answers import shown
from spotadapters.wire.shapes import shape
from spotcore.errors import SpotError, Unavailable

STARTED: Final = time.monotonic()


def uptime_seconds() -> int:
    """Since this process began."""
    return int(time.monotonic() - STARTED)


OPEN: Final = Access(needs=Needs.NOBODY)


@frozen(kw_only=True)
class Health:
    """E01."""

    status: str = shown(doc="healthy or unhealthy; at the top level too (C02)")
    timestamp: datetime
    version: str
    uptime_seconds: int
    database: str
    decision_engine_loaded: bool


@shape
class EndpointFamilies:
    """E02: where to go."""

    health: str = "/health"
    admin: str = "/api/admin"
    client: str = "/api/client"
    agents: str = "/api/agents"


@shape
class Root:
    """E02."""

    name: str
    version: str
    status: str = "running"
    uptime_seconds: int
    endpoints: EndpointFamilies = EndpointFamilies()


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
    facts = Health(
        status="healthy" if connected else "unhealthy",
        timestamp=call.clock.now(),
        version=call.server.version,
        uptime_seconds=uptime_seconds(),
        database="connected" if connected else "disconnected",
        decision_engine_loaded=call.server.engine_loaded,
    )
    error = None if connected else "the database cannot be reached"
    return Answer(data=facts, status=200 if connected else 503, extra={**asdict(facts), "error": error})


def root(call: Call) -> Answer:
    """What this is and where to go."""
    return Answer(
        data=Root(
            name=call.server.name,
            version=call.server.version,
            uptime_seconds=uptime_seconds(),
        )
    )


@shape
class Liveness:
    """``/livez``: the process runs."""

    alive: bool = True


@shape
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


ROOT: Final = Endpoint(number="E02", method="GET", path="/", handler=root, access=OPEN, answers=Root)
routes = [
    Endpoint(
        number="E01", method="GET", path="/health", handler=health, access=OPEN, answers=Health, statuses=(200, 503)
    ),
    Endpoint(
        number="E01", method="GET", path="/api/health", handler=health, access=OPEN, answers=Health, statuses=(200, 503)
    ),
    Endpoint(number="livez", method="GET", path="/livez", handler=livez, access=OPEN, answers=Liveness),
    Endpoint(number="readyz", method="GET", path="/readyz", handler=readyz, access=OPEN, answers=Readiness),
    Endpoint(
        number="metrics",
        method="GET",
        path="/metrics",
        handler=metrics,
        access=Access(needs=Needs.ADMIN),
        gives="text/plain",
    ),
]
