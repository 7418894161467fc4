"""E93…E99: search, figures of operation, and doing one thing to many."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from spotadapters.http.envelope import Answer
from spotadapters.http.errors import message_of
from spotadapters.http.routes.overview import ADMIN, like
from spotadapters.http.routing import MAX_ID, Call, Endpoint
from spotadapters.wire import asking
from spotadapters.wire.answers import shown
from spotadapters.wire.parsing import required, wire
from spotadapters.wire.shapes import shape
from spotcore.errors import (
    ConfirmationRequired,
    NotFound,
    SpotError,
    StateConflict,
    UnsupportedOperation,
    ValidationFailed,
)
from spotcore.ids import AgentId
from spotcore.service.kernel import Caller

KINDS: Final = ("clients", "instances", "agents")
MAX_BULK: Final = 100
SHORTEST_SEARCH: Final = 2


@shape
class SearchQuery:
    """E93."""

    q: str | None = asking.text()
    types: tuple[str, ...] = asking.words(*KINDS)


@shape
class FoundClient:
    """E93."""

    CAMEL = True
    id: str
    name: str
    email: str | None
    status: str
    match_field: str


@shape
class FoundInstance:
    """E93."""

    CAMEL = True
    id: str
    client_id: str
    client_name: str
    client: str
    name: str
    instance_type: str | None
    region: str | None
    az: str | None
    status: str


@shape
class FoundAgent:
    """E93."""

    CAMEL = True
    id: str
    client_id: str
    client_name: str
    client: str
    name: str
    hostname: str | None
    status: str
    instance_id: str | None


@shape
class Found:
    """E93: at most ten of each kind."""

    clients: tuple[FoundClient, ...] = ()
    instances: tuple[FoundInstance, ...] = ()
    agents: tuple[FoundAgent, ...] = ()


@shape
class SearchAnswer(Found):
    """E93. The lists stand in ``results`` too (C45)."""

    query: str
    results: Found
    total_results: int


def search(call: Call) -> Answer:
    """E93: a text of two characters or more, taken literally (S14)."""
    asked = call.asked(SearchQuery)
    text = asked.q or ""
    found = Found()
    if len(text) >= SHORTEST_SEARCH:
        pattern = like(text)
        wanted: dict[str, Any] = {
            "clients": lambda: call.reads.rows("search_clients", FoundClient, like=pattern),
            "instances": lambda: call.reads.rows("search_instances", FoundInstance, like=pattern),
            "agents": lambda: call.reads.rows("search_agents", FoundAgent, like=pattern),
        }
        found = Found(**{kind: tuple(wanted[kind]()) for kind in asked.types})
    return Answer(
        data=SearchAnswer(
            query=text,
            results=found,
            total_results=len(found.clients) + len(found.instances) + len(found.agents),
            clients=found.clients,
            instances=found.instances,
            agents=found.agents,
        )
    )


@shape
class RegionPools:
    """E94."""

    region: str
    pools: int
    average_price: Decimal | None
    cheapest_price: Decimal | None


@shape
class TypePools:
    """E94."""

    instance_type: str
    pools_available: int
    avg_spot_price: Decimal | None
    ondemand_price: Decimal | None


@shape
class PoolStatistics:
    """E94. Active: a price in the last 24 hours; averages are over prices of the last hour."""

    total_pools: int
    active_pools: int
    inactive_pools: int
    regions: tuple[RegionPools, ...]
    instance_types: tuple[TypePools, ...]
    total: int
    active: int


@shape
class PoolRow:
    """E94 as it is read."""

    total: int
    active: int
    regions: tuple[RegionPools, ...]
    instance_types: tuple[TypePools, ...]


def pool_statistics(call: Call) -> Answer:
    """E94."""
    row = call.reads.one("pool_statistics", PoolRow)
    return Answer(
        data=PoolStatistics(
            total_pools=row.total,
            active_pools=row.active,
            inactive_pools=row.total - row.active,
            regions=row.regions,
            instance_types=row.instance_types,
            total=row.total,
            active=row.active,
        )
    )


@shape
class ClientHealth:
    """E95."""

    client_id: str
    client_name: str
    online: int
    offline: int
    total: int


@shape
class OfflineAgent:
    """E95."""

    agent_id: str
    hostname: str | None
    client_name: str
    last_heartbeat: datetime | None
    offline_duration_minutes: int | None


@shape
class HeartbeatAges:
    """E95: under 5 minutes, under 15, older or never."""

    healthy: int
    degraded: int
    critical: int


@shape
class HealthRow:
    """E95 as it is read."""

    online: int
    offline: int
    deleted: int
    by_client: tuple[ClientHealth, ...]
    recent_offline: tuple[OfflineAgent, ...]
    heartbeat_distribution: HeartbeatAges


@shape
class HealthSummary:
    """E95. ``total`` repeats ``total_agents``; deleted agents are counted apart."""

    total_agents: int
    online: int
    offline: int
    deleted: int
    total: int
    by_client: tuple[ClientHealth, ...]
    recent_offline: tuple[OfflineAgent, ...]
    heartbeat_distribution: HeartbeatAges


def health_summary(call: Call) -> Answer:
    """E95."""
    row = call.reads.one("agent_health", HealthRow)
    total = row.online + row.offline
    return Answer(
        data=HealthSummary(
            total_agents=total,
            online=row.online,
            offline=row.offline,
            deleted=row.deleted,
            total=total,
            by_client=row.by_client,
            recent_offline=row.recent_offline,
            heartbeat_distribution=row.heartbeat_distribution,
        )
    )


@shape
class Bulk:
    """E96: one thing to at most 100."""

    operation: str = required(limit=64)
    agent_ids: tuple[str, ...] = wire(default=())
    instance_ids: tuple[str, ...] = wire(default=())
    confirm: bool = wire(default=False)


@shape
class BulkItem:
    """E96: what became of one."""

    agent_id: str | None = shown(default=None, optional=True)
    instance_id: str | None = shown(default=None, optional=True)
    status: str = shown(doc="success or failed")
    error: str | None = shown(default=None, optional=True)


@shape
class BulkResult:
    """E96."""

    operation: str
    total: int
    succeeded: int
    failed: int
    results: tuple[BulkItem, ...]


def _owner(call: Call, agent_id: str) -> Caller:
    with call.transactions() as uow:
        owner = uow.agents.find_owner(AgentId(agent_id))
    if owner is None:
        raise NotFound("unknown agent")
    return Caller(client_id=owner, actor="admin")


def _delete(call: Call, name: str) -> None:
    caller = _owner(call, name)
    if call.reads.row("has_primary", dict, agent_id=name)["active"]:
        raise StateConflict("its primary is active; end the workload first, or delete this agent by itself")
    call.plane.agents.delete(caller, AgentId(name))


def _enable(call: Call, name: str) -> None:
    call.plane.agents.toggle(_owner(call, name), AgentId(name), True)


def _disable(call: Call, name: str) -> None:
    call.plane.agents.toggle(_owner(call, name), AgentId(name), False)


def _terminate(call: Call, name: str) -> None:
    call.plane.machines.terminate(call.person(), name, is_admin=True)


OPERATIONS: Final[Mapping[str, tuple[str, Callable[[Call, str], None]]]] = {
    "delete_agents": ("agent_id", _delete),
    "enable_agents": ("agent_id", _enable),
    "disable_agents": ("agent_id", _disable),
    "terminate_instances": ("instance_id", _terminate),
}


def bulk(call: Call) -> Answer:
    """E96: each item by itself, with its own checks; one that is refused stops no other."""
    body = call.parse(Bulk)
    if body.operation not in OPERATIONS:
        raise UnsupportedOperation("use " + ", ".join(OPERATIONS))
    kind, act = OPERATIONS[body.operation]
    field = f"{kind}s"
    wanted = body.agent_ids if kind == "agent_id" else body.instance_ids
    if not wanted or len(wanted) > MAX_BULK:
        raise ValidationFailed(f"invalid: {field}", **{field: [f"name 1 to {MAX_BULK}"]})
    if not body.confirm:
        raise ConfirmationRequired("send confirm: true to do this to all of them")
    results = tuple(_one(call, kind, name, act) for name in dict.fromkeys(wanted))
    failed = sum(item.status == "failed" for item in results)
    done = len(results) - failed
    return Answer(
        data=BulkResult(operation=body.operation, total=len(results), succeeded=done, failed=failed, results=results)
    )


def _one(call: Call, kind: str, name: str, act: Callable[[Call, str], None]) -> BulkItem:
    try:
        if not 0 < len(name) <= MAX_ID:
            raise NotFound("unknown id")
        with call.apart():
            act(call, name)
    except SpotError as refusal:
        return BulkItem(**{kind: name}, status="failed", error=message_of(refusal))
    return BulkItem(**{kind: name}, status="success")


@shape
class Ages:
    """E97."""

    avg: Decimal | None
    max: Decimal | None


@shape
class Latency:
    """E97: queued to handed out, over 24 hours."""

    avg: Decimal | None
    p95: Decimal | None


@shape
class Failovers:
    """E97: notice received to committed."""

    count: int
    avg_ms: Decimal | None
    max_ms: int | None


@shape
class Switches:
    """E97."""

    total: int
    successful: int
    failed: int
    avg_downtime_seconds: Decimal | None


@shape
class OperationalMetrics:
    """E97."""

    heartbeat_age_seconds: Ages
    command_latency_seconds: Latency
    open_commands: int
    expired_commands_24h: int
    failovers_24h: Failovers
    switches_24h: Switches
    price_lag_seconds: Decimal | None


def operational_metrics(call: Call) -> Answer:
    """E97."""
    return Answer(data=call.reads.one("operational_metrics", OperationalMetrics))


@shape
class JobQuery:
    """E98."""

    days: int = asking.whole(7, 1, 90)


@shape
class JobRun:
    """E98."""

    id: int
    job_type: str
    status: str
    started_at: datetime
    completed_at: datetime | None
    records_processed: int | None
    duplicates_removed: int | None
    gaps_filled: int | None
    error: str | None


def job_runs(call: Call) -> Answer:
    """E98."""
    return Answer(data=call.reads.rows("job_runs", JobRun, days=call.asked(JobQuery).days))


@shape
class EmergencyQuery:
    """E99."""

    days: int = asking.whole(30, 1, 365)


@shape
class EmergencyDay:
    """E99."""

    date: str
    client_id: str
    client_name: str
    emergency_event_count: int
    rebalance_notices: int
    termination_notices: int
    failovers_completed: int
    failovers_failed: int


def emergency_events(call: Call) -> Answer:
    """E99."""
    return Answer(data=call.reads.rows("emergency_days", EmergencyDay, days=call.asked(EmergencyQuery).days))


A: Final = "/api/admin"


def _both(number: str, path: str, alias: str, **facts: Any) -> list[Endpoint]:
    """An endpoint under its path and its older one."""
    return [Endpoint(number=number, method="GET", path=one, access=ADMIN, **facts) for one in (path, alias)]


routes = [
    *_both("E93", f"{A}/search", "/api/search", handler=search, asks=SearchQuery, answers=SearchAnswer),
    *_both(
        "E94", f"{A}/pools/statistics", f"{A}/pool-statistics", handler=pool_statistics, answers=PoolStatistics
    ),
    *_both("E95", f"{A}/agents/health-summary", f"{A}/agent-health", handler=health_summary, answers=HealthSummary),
    Endpoint(
        number="E96", method="POST", path=f"{A}/bulk/execute", handler=bulk, access=ADMIN, idempotent=True, body=Bulk,
        answers=BulkResult, refuses=("CONFIRMATION_REQUIRED", "UNSUPPORTED_OPERATION"),
    ),
    Endpoint(
        number="E97", method="GET", path=f"{A}/metrics/operational", handler=operational_metrics, access=ADMIN,
        answers=OperationalMetrics,
    ),
    Endpoint(
        number="E98", method="GET", path=f"{A}/consolidation-jobs", handler=job_runs, access=ADMIN, asks=JobQuery,
        answers=tuple[JobRun, ...],
    ),
    Endpoint(
        number="E99", method="GET", path=f"{A}/emergency-events", handler=emergency_events, access=ADMIN,
        asks=EmergencyQuery, answers=tuple[EmergencyDay, ...],
    ),
]  # fmt: skip
