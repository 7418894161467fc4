"""E03…E09, E86: what the operator sees at a glance."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from attrs import evolve, frozen

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer, File
from spotadapters.http.routes.health import uptime_seconds
from spotadapters.http.routing import Call, Endpoint
from spotadapters.jobs.board import is_running, with_parts
from spotadapters.wire import asking, words
from spotadapters.wire.answers import shown
from spotadapters.wire.shapes import shape
from spotadapters.wire.sheets import sheet
from spotcore.events import CATALOGUE, EventKind, described
from spotcore.models import ModelSession, SessionKind
from spotcore.switches import SwitchTrigger

ADMIN: Final = Access(needs=Needs.ADMIN)
MAX_SHOWN: Final = 10  # E07: models and files


@shape
class Stats:
    """E03. A deleted client counts in no field."""

    CAMEL = True
    total_accounts: int
    agents_online: int
    agents_total: int
    total_instances: int
    pools_covered: int = shown(doc="pools with a price in the last 24 hours")
    total_savings: Decimal = shown(doc="the legacy estimate")
    realised_savings: Decimal | None = shown(legacy=0, doc="by the ledger; null before its first line")
    total_switches: int
    manual_switches: int
    model_switches: int
    emergency_switches: int
    backend_health: str
    decision_engine_loaded: bool
    ml_models_loaded: bool = shown(doc="a model session is active, as in E57")


def by_trigger(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by the wire's three triggers (Z1)."""
    found = {"manual": 0, "model": 0, "emergency": 0}
    for core_word, count in counts.items():
        found[words.TRIGGER[SwitchTrigger(core_word)]] += count
    return found


def stats(call: Call) -> Answer:
    """E03."""
    row = call.reads.one("admin_stats", dict)
    switches = by_trigger(row.pop("switches"))
    loaded = call.server.engine_loaded
    return Answer(
        data=Stats(
            **row,
            total_switches=sum(switches.values()),
            manual_switches=switches["manual"],
            model_switches=switches["model"],
            emergency_switches=switches["emergency"],
            backend_health="Healthy" if loaded else "Decision Engine Not Loaded",
            decision_engine_loaded=loaded,
            ml_models_loaded=bool(call.plane.models.live(SessionKind.MODEL)),
        )
    )


@shape
class ClientItem:
    """E04. Never a token."""

    CAMEL = True
    id: str
    name: str
    email: str | None
    status: str
    agents_online: int
    agents_total: int
    instances: int
    total_savings: Decimal
    realised_savings: Decimal | None = shown(legacy=0, doc="by the ledger; null before its first line")
    last_sync: datetime | None
    created_at: datetime


def clients(call: Call) -> Answer:
    """E04."""
    return Answer(data=call.reads.rows("admin_clients", ClientItem))


@shape
class GrowthQuery:
    """E05."""

    days: int = asking.whole(30, 1, 365)


@shape
class GrowthDay:
    """E05. ``count`` repeats ``total`` for the dashboard (C20)."""

    date: str
    count: int
    total: int
    new: int
    active: int | None = shown(doc="null for a past day without a snapshot")


def growth(call: Call) -> Answer:
    """E05: days without a snapshot come from creation and deletion dates."""
    return Answer(data=call.reads.rows("client_growth", GrowthDay, days=call.asked(GrowthQuery).days))


@shape
class ActivityQuery:
    """E06."""

    limit: int = asking.whole(50, 1, 100)


@shape
class ActivityItem:
    """E06."""

    CAMEL = True
    id: int
    type: str = shown(doc="switch, agent or event")
    text: str
    time: datetime
    severity: str
    event_type: str
    client_id: str | None
    client_name: str | None


@shape
class AuditRow:
    """An audit event as it is read."""

    id: int
    kind: str
    at: datetime
    level: str
    client_id: str | None
    client_name: str | None
    facts: Mapping[str, Any]


SWITCHES: Final = frozenset({"switch_completed", "manual_switch_requested", "replica_promoted"})


def activity(call: Call) -> Answer:
    """E06."""
    rows = call.reads.rows("admin_activity", AuditRow, limit=call.asked(ActivityQuery).limit)
    return Answer(data=[_activity(row) for row in rows])


def _activity(row: AuditRow) -> ActivityItem:
    kind = "agent" if row.kind.startswith("agent_") else "switch" if row.kind in SWITCHES else "event"
    return ActivityItem(
        id=row.id,
        type=kind,
        text=sentence(row.kind, row.facts),
        time=row.at,
        severity=row.level,
        event_type=row.kind,
        client_id=row.client_id,
        client_name=row.client_name,
    )


KNOWN_KINDS: Final = frozenset(kind.value for kind in EventKind)


def sentence(kind: str, facts: Mapping[str, Any]) -> str:
    """An audit event in words: its message where it has one, else its name and whom it is about."""
    if kind in KNOWN_KINDS and CATALOGUE[EventKind(kind)].text:
        return described(EventKind(kind), facts)
    about = facts.get("logical_agent_id") or facts.get("name")
    words_of_it = kind.replace("_", " ").capitalize()
    return f"{words_of_it}: {about}" if about else words_of_it


@shape
class AgentCounts:
    """E07."""

    total: int
    online: int
    offline: int


@shape
class JobState:
    """E07: one background job of the process that answers."""

    CAMEL = True
    name: str
    last_run: datetime | None
    last_status: str | None
    next_run: datetime | None


@shape
class Jobs:
    """E07."""

    enabled: bool
    running: bool = shown(doc="what failovers wait for is done in time (JB-8)")
    jobs: tuple[JobState, ...]


@shape
class NamedFile:
    """E07: a name, never a path."""

    name: str
    size: int
    modified: datetime


@shape
class ActiveModel:
    """E07."""

    name: str
    version: str
    active: bool


@shape
class ModelState:
    """E07."""

    CAMEL = True
    loaded: bool
    name: str
    version: str
    files_uploaded: int
    active_models: tuple[ActiveModel, ...] = ()
    files: tuple[NamedFile, ...] = ()


@shape
class EngineState:
    """E07."""

    CAMEL = True
    loaded: bool
    type: str
    version: str
    files_uploaded: int
    files: tuple[NamedFile, ...] = ()


@shape
class SystemHealth:
    """E07."""

    CAMEL = True
    api_status: str = "Healthy"
    database: str
    decision_engine: str
    connection_pool: str = shown(doc="used/size", example="3/14")
    timestamp: datetime
    uptime_seconds: int
    agents: AgentCounts
    background_jobs: Jobs
    model_status: ModelState
    decision_engine_status: EngineState


def system_health(call: Call) -> Answer:
    """E07."""
    loaded, now, known = call.server.engine_loaded, call.clock.now(), call.server.jobs.jobs()
    used, size = call.reads.connections()
    jobs = tuple(
        JobState(name=one.name, last_run=one.last_run, last_status=one.last_status, next_run=one.next_run)
        for one in with_parts(known)
    )
    return Answer(
        data=SystemHealth(
            database="Connected",
            decision_engine="Loaded" if loaded else "Not Loaded",
            connection_pool=f"{used}/{size}",
            timestamp=now,
            uptime_seconds=uptime_seconds(),
            agents=call.reads.one("agents_by_link", AgentCounts),
            background_jobs=Jobs(enabled=bool(jobs), running=is_running(known, now), jobs=jobs),
            model_status=_model_state(call.plane.models.live(SessionKind.MODEL)),
            decision_engine_status=_engine_state(call.plane.models.live(SessionKind.ENGINE), loaded=loaded),
        )
    )


def _model_state(live: list[ModelSession]) -> ModelState:
    """Live sessions are in the records alone: no engine runs a model yet, so none is loaded."""
    newest = live[0] if live else None
    files = _named_files(live)
    return ModelState(
        loaded=False,
        name=(newest.name if newest else None) or "None",
        version=(newest.version if newest else None) or "N/A",
        files_uploaded=len(files),
        active_models=tuple(
            ActiveModel(name=one.name or "None", version=one.version or "N/A", active=True) for one in live[:MAX_SHOWN]
        ),
        files=files[:MAX_SHOWN],
    )


def _engine_state(live: list[ModelSession], *, loaded: bool) -> EngineState:
    """Parameters that were uploaded are stored, not used; ``loaded`` is about an engine that decides (Z35)."""
    newest = live[0] if live else None
    files = _named_files(live)
    return EngineState(
        loaded=loaded,
        type=(newest.architecture if newest else None) or "None",
        version=(newest.version if newest else None) or "N/A",
        files_uploaded=len(files),
        files=files[:MAX_SHOWN],
    )


def _named_files(live: list[ModelSession]) -> tuple[NamedFile, ...]:
    return tuple(
        NamedFile(name=file.label, size=file.size, modified=one.created_at) for one in live for file in one.files
    )


@shape
class InstanceQuery:
    """E08."""

    status: str = asking.word("all", "all", "active", "terminated")
    mode: str | None = asking.word(None, "spot", "ondemand", "unknown", "all")
    region: str | None = asking.text(limit=64)
    client_id: str | None = asking.text(limit=128)
    search: str | None = asking.text()
    limit: int = asking.whole(500, 1, 1000)


@frozen(kw_only=True)
class InstanceItem:
    """E08. Prices are numbers or null, in every shape."""

    CAMEL = True
    id: str
    instance_id: str
    client_id: str
    client_name: str
    agent_id: str
    logical_agent_id: str
    agent_status: str
    agent_hostname: str | None
    region: str | None
    az: str | None
    instance_type: str | None
    current_mode: str
    current_pool_id: str | None
    spot_price: Decimal | None
    ondemand_price: Decimal | None
    is_active: bool
    is_primary: bool
    instance_status: str
    savings_percent: Decimal | None = None
    installed_at: datetime
    created_at: datetime


@shape
class InstanceFilters:
    """E08: what was asked for."""

    status: str
    mode: str | None
    region: str | None
    client_id: str | None


@shape
class InstanceList:
    """E08."""

    instances: tuple[InstanceItem, ...]
    total: int
    filters: InstanceFilters


@shape
class CountedInstance:
    """A row of E08 with the number of all of them."""

    total: int
    item: InstanceItem


def like(text: str | None) -> str | None:
    """A pattern that finds the text literally, wildcards included (S14)."""
    if text is None:
        return None
    literal = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"


def saved_percent(mode: str, spot: Decimal | None, ondemand: Decimal | None) -> Decimal | None:
    """How much less is paid than on demand, in percent; None while a price or the mode is unknown (GR-7)."""
    paid = {"spot": spot, "ondemand": ondemand}.get(mode)
    if paid is None or not ondemand:
        return None
    return round((ondemand - paid) / ondemand * 100, 2)


def _with_savings(item: InstanceItem) -> InstanceItem:
    percent = saved_percent(item.current_mode, item.spot_price, item.ondemand_price)
    return evolve(item, savings_percent=percent)


def instances(call: Call) -> Answer:
    """E08."""
    asked = call.asked(InstanceQuery)
    mode = None if asked.mode == "all" else asked.mode
    rows = call.reads.rows(
        "admin_instances", CountedInstance, status=asked.status, mode=mode, region=asked.region,
        client_id=asked.client_id, like=like(asked.search), limit=asked.limit,
    )  # fmt: skip
    items = [_with_savings(row.item) for row in rows]
    return Answer(
        data=InstanceList(
            instances=tuple(items),
            total=rows[0].total if rows else 0,
            filters=InstanceFilters(
                status=asked.status, mode=asked.mode, region=asked.region, client_id=asked.client_id
            ),
        )
    )


@shape
class AgentQuery:
    """E09."""

    status: str = asking.word("all", "all", "online", "offline", "disabled", "switching", "error", "deleted")
    client_id: str | None = asking.text(limit=128)
    limit: int = asking.whole(500, 1, 1000)


@shape
class AdminAgentItem:
    """E09."""

    CAMEL = True
    id: str
    logical_agent_id: str
    hostname: str | None
    client_id: str
    client_name: str
    instance_id: str | None
    instance_type: str | None
    region: str | None
    az: str | None
    current_mode: str
    current_pool_id: str | None
    status: str
    enabled: bool
    auto_switch_enabled: bool
    manual_replica_enabled: bool
    version: str | None
    config_version: int
    last_heartbeat_at: datetime | None
    created_at: datetime


@shape
class AgentFilters:
    """E09: what was asked for."""

    status: str
    client_id: str | None


@shape
class AdminAgentList:
    """E09."""

    agents: tuple[AdminAgentItem, ...]
    total: int
    filters: AgentFilters


@shape
class CountedAgent:
    """A row of E09 with the number of all of them."""

    total: int
    item: AdminAgentItem


def agents(call: Call) -> Answer:
    """E09."""
    asked = call.asked(AgentQuery)
    rows = call.reads.rows(
        "admin_agents", CountedAgent, status=asked.status, client_id=asked.client_id, limit=asked.limit
    )
    return Answer(
        data=AdminAgentList(
            agents=tuple(row.item for row in rows),
            total=rows[0].total if rows else 0,
            filters=AgentFilters(status=asked.status, client_id=asked.client_id),
        )
    )


@shape
class GlobalRow:
    """A row of E86."""

    id: str
    name: str
    email: str | None
    savings: Decimal
    instances: int
    agents: int
    created_at: datetime


GLOBAL_HEADER: Final = (
    "Client ID", "Name", "Email", "Total Savings ($)", "Active Instances", "Active Agents", "Created At",
)  # fmt: skip


def global_stats(call: Call) -> Answer:
    """E86: by realised savings, highest first (Z16)."""
    rows = call.reads.rows("global_stats", GlobalRow)
    lines = (
        (row.id, row.name, row.email, round(row.savings, 2), row.instances, row.agents, row.created_at) for row in rows
    )
    return Answer(file=File(name="global_stats.csv", content=sheet(GLOBAL_HEADER, lines)))


A: Final = "/api/admin"
routes = [
    Endpoint(number="E03", method="GET", path=f"{A}/stats", handler=stats, access=ADMIN, answers=Stats),
    Endpoint(
        number="E04", method="GET", path=f"{A}/clients", handler=clients, access=ADMIN, answers=tuple[ClientItem, ...]
    ),
    Endpoint(
        number="E05", method="GET", path=f"{A}/clients/growth", handler=growth, access=ADMIN, asks=GrowthQuery,
        answers=tuple[GrowthDay, ...],
    ),
    Endpoint(
        number="E06", method="GET", path=f"{A}/activity", handler=activity, access=ADMIN, asks=ActivityQuery,
        answers=tuple[ActivityItem, ...],
    ),
    Endpoint(
        number="E07", method="GET", path=f"{A}/system-health", handler=system_health, access=ADMIN,
        answers=SystemHealth,
    ),
    Endpoint(
        number="E08", method="GET", path=f"{A}/instances", handler=instances, access=ADMIN, asks=InstanceQuery,
        answers=InstanceList,
    ),
    Endpoint(
        number="E09", method="GET", path=f"{A}/agents", handler=agents, access=ADMIN, asks=AgentQuery,
        answers=AdminAgentList,
    ),
    Endpoint(
        number="E86", method="GET", path=f"{A}/export/global-stats", handler=global_stats, access=ADMIN,
        gives="text/csv",
    ),
]  # fmt: skip
