"""E42…E50: replicas, as users order them and agents report them."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.pulse import Repeat
from spotadapters.http.routes.agents import AGENT, ALWAYS, PEOPLE, SAFE
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire import asking, words
from spotadapters.wire.answers import shown
from spotadapters.wire.objects import Done, Pool, pool
from spotadapters.wire.parsing import required, wire
from spotadapters.wire.shapes import shape
from spotcore.errors import InactiveClient, ValidationFailed
from spotcore.ids import CloudId, is_cloud_id
from spotcore.replicas import OUT_OF_SYNC_AFTER, Replica, ReplicaState
from spotcore.reports import ReplicaStatusReport
from spotcore.service.kernel import Caller
from spotcore.service.replicas import Listing, ReplicaRequest, ReplicaView
from spotcore.standby import MachineFacts

EITHER_SAFE: Final = Access(needs=Needs.EITHER, while_suspended=True)
EITHER_ALWAYS: Final = Access(needs=Needs.EITHER, while_suspended=True, winding_down=True)
ANOTHER_FOLLOWS: Final = "; manual replica mode is on, so another follows: switch it off to keep none"


def sync_status(replica: Replica, now: datetime) -> str:
    """What was reported, or derived from the state; silent for 120 s reads ``out-of-sync`` (RP-6)."""
    if replica.last_sync_at is not None and now - replica.last_sync_at > OUT_OF_SYNC_AFTER and replica.is_live:
        return "out-of-sync"
    return replica.sync_status or words.SYNC_STATUS.get(replica.state, "out-of-sync")


@shape
class Cost:
    """What a replica costs, $."""

    hourly: Decimal | None = shown(doc="the price in force of its pool; null when unknown")
    total: Decimal = shown(doc="by the ledger")


@shape
class ReplicaFacts:
    """What E42 and E43 share."""

    id: str
    type: str
    status: str
    sync_status: str
    sync_latency_ms: int | None
    state_transfer_progress: Decimal = shown(doc="never null; 0 when never reported, 100 once ready")
    pool: Pool | None
    cost: Cost
    created_by: str
    created_at: datetime
    ready_at: datetime | None
    terminated_at: datetime | None
    is_active: bool


def _facts(view: ReplicaView, now: datetime) -> dict[str, Any]:
    replica = view.replica
    known = replica.progress
    return {
        "id": replica.replica_id,
        "type": words.REPLICA_KIND[replica.kind],
        "status": replica.state.value,
        "sync_status": sync_status(replica, now),
        "sync_latency_ms": replica.sync_latency_ms,
        "state_transfer_progress": known if known is not None else Decimal(100 * (replica.state is ReplicaState.READY)),
        "pool": pool(replica.pool_id),
        "cost": Cost(hourly=view.hourly_cost, total=view.total_cost),
        "created_by": replica.created_by,
        "created_at": replica.created_at,
        "ready_at": replica.ready_at,
        "terminated_at": view.instance.terminated_at,
        "is_active": replica.is_live,
    }


@shape
class ListedReplica(ReplicaFacts):
    """E43: as an agent reads it, ``pool_id`` and ``az`` flat as well."""

    instance_id: str
    pool_id: str | None
    az: str | None
    age_seconds: int
    tags: Mapping[str, str]


@shape
class ReplicaList:
    """E43."""

    replicas: tuple[ListedReplica, ...]
    total: int


def listed(view: ReplicaView, now: datetime) -> ListedReplica:
    """The replica in E43."""
    replica = view.replica
    return ListedReplica(
        **_facts(view, now),
        instance_id=words.replica_instance(replica, view.instance),
        pool_id=replica.pool_id,
        az=replica.az,
        age_seconds=max(0, round((now - replica.created_at).total_seconds())),
        tags=dict(replica.tags),
    )


@shape
class PrimaryFacts:
    """E42: whom a replica stands by for."""

    CAMEL = True
    instance_id: str | None
    instance_type: str | None
    region: str | None
    az: str | None
    mode: str


@shape
class ShownReplica(ReplicaFacts):
    """E42."""

    instance_id: str = shown("instanceId")


@shape
class ReplicaItem:
    """E42."""

    CAMEL = True
    agent_id: str
    primary: PrimaryFacts | None = shown(
        legacy=PrimaryFacts(instance_id="n/a", instance_type="n/a", region="n/a", az="n/a", mode="unknown")
    )
    replica: ShownReplica


def replicas_of_client(call: Call) -> Answer:
    """E42. The legacy shape shows the last known primary where there is none now (T26)."""
    caller, now = call.client_caller(), call.clock.now()
    call.plane.clients.seen(caller.client_id)
    rows = call.reads.replicas_of_client(caller.client_id)
    return Answer(data=[_with_primary(row, now, legacy=call.is_legacy) for row in rows])


def _with_primary(row: Mapping[str, Any], now: datetime, *, legacy: bool) -> ReplicaItem:
    view: ReplicaView = row["view"]
    facts = _facts(view, now)
    if legacy:
        facts["sync_latency_ms"] = facts["sync_latency_ms"] or None  # a 0 prints a stray "0" (T42)
    primary = row["primary"] or (row["last_primary"] if legacy else None)
    return ReplicaItem(
        agent_id=row["agent_id"],
        primary=PrimaryFacts(
            instance_id=primary.cloud_id,
            instance_type=primary.instance_type,
            region=primary.region,
            az=primary.az,
            mode=primary.mode.value,
        )
        if primary is not None
        else None,
        replica=ShownReplica(**facts, instance_id=words.replica_instance(view.replica, view.instance)),
    )


@shape
class ReplicaQuery:
    """E43."""

    status: str | None = asking.word(None, "launching", "syncing", "ready", "promoted", "terminated", "failed", "error")
    include_terminated: bool = asking.switch()


def replicas_of_agent(call: Call) -> Answer:
    """E43. Reading changes nothing: the PUT ends the listing (T14)."""
    caller, now = call.agent_caller(), call.clock.now()
    asked = call.asked(ReplicaQuery)
    status = asked.status
    if status in ("launching", "terminated"):
        asks = call.plane.replicas.launch_list if status == "launching" else call.plane.replicas.end_list
        return _to_do(call, caller, asks(caller, call.agent_id))
    ended_too = asked.include_terminated or status is not None
    views = call.plane.replicas.listed(caller, call.agent_id, include_ended=ended_too)
    if status is not None:
        wanted = "failed" if status == "error" else status
        views = tuple(view for view in views if view.replica.state.value == wanted)
    return Answer(data=ReplicaList(replicas=tuple(listed(view, now) for view in views), total=len(views)))


def _to_do(call: Call, caller: Caller, found: Listing) -> Answer:
    """What v4c polls for. An empty list is told again without being looked up, as long as it must be empty."""
    views, now = found.views, call.clock.now()
    data = ReplicaList(replicas=tuple(listed(view, now) for view in views), total=len(views))
    if views:
        return Answer(data=data)
    repeat = Repeat(client_id=caller.client_id, agent_id=call.agent_id, revision=found.revision, until=found.until)
    return Answer(data=data, repeat=repeat, timeless=data)


@shape
class ReplicaConfig:
    """E44."""

    enabled: bool
    count: int
    manual_replica_enabled: bool
    auto_create_replica: bool
    preferred_replica_pools: tuple[str, ...] = ()
    replica_sync_required: bool = False
    min_sync_percentage: int = 95


def replica_config(call: Call) -> Answer:
    """E44."""
    answer = call.plane.agents.config(call.agent_caller(), call.agent_id)
    manual = answer.config.manual_replica_enabled
    return Answer(
        data=ReplicaConfig(
            enabled=answer.config.replica_enabled or manual,
            count=answer.replica_count,
            manual_replica_enabled=manual,
            auto_create_replica=manual,
        )
    )


@shape
class CreateReplica:
    """E45."""

    pool_id: str | None = wire("target_pool", "target_pool_id", limit=128)
    instance_id: str | None = wire(limit=128)
    replica_type: str | None = wire("type")
    instance_type: str | None = wire(limit=64)
    exclude_zones: tuple[str, ...] = wire(default=())
    max_hourly_cost: Decimal | None = wire()
    tags: Mapping[str, Any] | None = wire()


@shape
class ReplicaCreated:
    """E45."""

    success: bool = True
    replica_id: str
    instance_id: str
    pool: Pool | None
    hourly_cost: Decimal | None
    status: str


def create(call: Call) -> Answer:
    """E45."""
    body = call.parse(CreateReplica)
    if body.max_hourly_cost is not None and body.max_hourly_cost <= 0:
        raise ValidationFailed("invalid: max_hourly_cost", max_hourly_cost=["use a number above 0"])
    machine = None
    if body.instance_id is not None and is_cloud_id(body.instance_id):
        machine = MachineFacts(cloud_id=CloudId(body.instance_id))
    wanted = ReplicaRequest(
        pool_id=body.pool_id,
        machine=machine,
        exclude_zones=body.exclude_zones,
        max_hourly_cost=body.max_hourly_cost,
        instance_type=body.instance_type,
        tags={str(name)[:128]: str(value)[:256] for name, value in list((body.tags or {}).items())[:50]},
    )
    client = call.principal.client
    if client is not None and client.is_suspended and machine is None:
        raise InactiveClient("the client is suspended")
    view = call.plane.replicas.create(call.agent_caller(actor="client"), call.agent_id, wanted)
    return Answer(
        data=ReplicaCreated(
            replica_id=view.replica.replica_id,
            instance_id=words.replica_instance(view.replica, view.instance),
            pool=pool(view.replica.pool_id),
            hourly_cost=view.hourly_cost,
            status=view.replica.state.value,
        ),
        status=201,
    )


@shape
class Promote:
    """E46. Without a word of ``auto_terminate_old_primary`` the agent's setting decides, without one of
    ``create_new_replica`` manual mode. ``wait_for_sync`` is not read: what is not ready is refused anyway (PR-3)."""

    demote_old_primary: bool = wire(default=False)
    auto_terminate_old_primary: bool | None = wire()
    create_new_replica: bool | None = wire()


@shape
class Promoted:
    """E46."""

    success: bool = True
    new_instance_id: str | None
    new_primary_id: str | None
    old_instance_id: str | None
    demoted: bool
    switch_time: datetime


def promote(call: Call) -> Answer:
    """E46."""
    body = call.parse(Promote)
    done = call.plane.replicas.promote(
        call.agent_caller(actor="client"), call.agent_id, call.path_id("replica_id"),
        demote_old_primary=body.demote_old_primary, terminate_old=body.auto_terminate_old_primary,
        create_next=body.create_new_replica,
    )  # fmt: skip
    return Answer(
        data=Promoted(
            new_instance_id=done.switch.new_cloud_id,
            new_primary_id=done.switch.new_cloud_id,
            old_instance_id=done.switch.old_cloud_id,
            demoted=done.demoted,
            switch_time=done.switch.recorded_at,
        ),
        message="Replica promoted" + ANOTHER_FOLLOWS if done.follows_anyway else None,  # MR-2
    )


@shape
class ReplicaDeleted:
    """E47."""

    success: bool = True
    replica_id: str
    terminated_at: datetime | None


def delete(call: Call) -> Answer:
    """E47."""
    caller = call.agent_caller(actor="client")
    replica = call.plane.replicas.delete(caller, call.agent_id, call.path_id("replica_id"))
    manual = call.plane.agents.config(caller, call.agent_id).config.manual_replica_enabled
    message = "Replica deleted"
    if manual:
        message += ANOTHER_FOLLOWS  # MR-5
    return Answer(data=ReplicaDeleted(replica_id=replica.replica_id, terminated_at=replica.ended_at), message=message)


STATES_IN: Final[Mapping[str, ReplicaState]] = {
    "launching": ReplicaState.LAUNCHING,
    "syncing": ReplicaState.SYNCING,
    "ready": ReplicaState.READY,
    "failed": ReplicaState.FAILED,
    "error": ReplicaState.FAILED,
    "terminated": ReplicaState.TERMINATED,
}


def _state(word: str | None) -> ReplicaState | None:
    if word is None:
        return None
    try:
        return STATES_IN[word.lower()]
    except KeyError:
        raise ValidationFailed("invalid: status", status=["use " + ", ".join(STATES_IN)]) from None


PROGRESS: Final = ("state_transfer_progress", "sync_progress")


def _says_any(call: Call, *names: str) -> bool:
    """True when at least one of these fields is there; null is absent, and what nobody knows says nothing (1.3)."""
    data = call.data()
    return any(data.get(name) is not None for name in names)


@shape
class UpdateReplica:
    """E48."""

    instance_id: str | None = wire(limit=128)
    status: str | None = wire(limit=32)
    sync_status: str | None = wire("sync_state", limit=32)
    sync_progress: Decimal | None = wire("state_transfer_progress")


@shape
class ReplicaUpdated:
    """E48."""

    success: bool = True
    replica_id: str
    instance_id: str
    status: str


def update(call: Call) -> Answer:
    """E48."""
    if not _says_any(call, "instance_id", "status", "sync_status", "sync_state", *PROGRESS, "metadata"):
        raise ValidationFailed("nothing to change", body=["send instance_id, status, sync_status or sync_progress"])
    body = call.parse(UpdateReplica)
    if body.instance_id is not None and not is_cloud_id(body.instance_id):
        raise ValidationFailed("invalid: instance_id", instance_id=["use the EC2 instance id"])
    view = call.plane.replicas.update(
        call.agent_caller(), call.agent_id, call.path_id("replica_id"),
        machine=MachineFacts(cloud_id=CloudId(body.instance_id)) if body.instance_id else None,
        state=_state(body.status),
        sync_status=body.sync_status,
        progress=_percent(body.sync_progress),
    )  # fmt: skip
    return Answer(
        data=ReplicaUpdated(
            replica_id=view.replica.replica_id,
            instance_id=words.replica_instance(view.replica, view.instance),
            status=view.replica.state.value,
        )
    )


def _percent(value: Decimal | None) -> Decimal | None:
    if value is not None and not 0 <= value <= 100:
        raise ValidationFailed("invalid: progress", state_transfer_progress=["use a number from 0 to 100"])
    return value


@shape
class ReplicaStatus:
    """E49."""

    status: str = required(limit=32)
    error_message: str | None = wire("message", "error", clip=True)


@shape
class StatusRecorded:
    """E49. ``ignored``: the step was not a forward one (RP-10)."""

    success: bool = True
    replica_id: str
    status: str
    ignored: bool | None = shown(default=None, optional=True)


def report_status(call: Call) -> Answer:
    """E49."""
    body = call.parse(ReplicaStatus)
    state = _state(body.status)
    assert state is not None  # the field is required
    replica, moved = call.plane.replicas.report_status(
        call.agent_caller(), call.agent_id, call.path_id("replica_id"),
        ReplicaStatusReport(state=state, error_message=body.error_message),
    )  # fmt: skip
    ignored = True if not moved and replica.state is not state else None  # RP-10
    return Answer(data=StatusRecorded(replica_id=replica.replica_id, status=replica.state.value, ignored=ignored))


@shape
class SyncStatus:
    """E50."""

    sync_status: str | None = wire("sync_state", limit=32)
    sync_latency_ms: int | None = wire()
    state_transfer_progress: Decimal | None = wire("sync_progress")
    status: str | None = wire(limit=32)


def report_sync(call: Call) -> Answer:
    """E50."""
    informational = ("estimated_completion", "bytes_synced", "total_bytes")
    if not _says_any(call, "sync_status", "sync_state", "sync_latency_ms", "status", *PROGRESS, *informational):
        raise ValidationFailed(
            "nothing to report", body=["send sync_status, sync_latency_ms or state_transfer_progress"]
        )
    body = call.parse(SyncStatus)
    call.plane.replicas.report_sync(
        call.agent_caller(), call.agent_id, call.path_id("replica_id"),
        status=body.sync_status, latency_ms=body.sync_latency_ms, progress=_percent(body.state_transfer_progress),
        state=_state(body.status),
    )  # fmt: skip
    return Answer(data=Done(), message="Recorded")


R: Final = "/api/agents/{agent_id}/replicas"
ONE: Final = R + "/{replica_id}"
routes = [
    Endpoint(
        number="E42", method="GET", path="/api/client/{client_id}/replicas", handler=replicas_of_client, access=PEOPLE,
        answers=tuple[ReplicaItem, ...],
    ),
    Endpoint(
        number="E43", method="GET", path=R, handler=replicas_of_agent, access=EITHER_ALWAYS, mirror=True,
        asks=ReplicaQuery, answers=ReplicaList,
    ),
    Endpoint(
        number="E44", method="GET", path="/api/agents/{agent_id}/replica-config", handler=replica_config, access=AGENT,
        mirror=True, answers=ReplicaConfig,
    ),
    Endpoint(
        number="E45", method="POST", path=R, handler=create, access=EITHER_SAFE, mirror=True, idempotent=True,
        body=CreateReplica, answers=ReplicaCreated, statuses=(201,),
        refuses=(
            "MANUAL_REPLICA_DISABLED", "REPLICA_EXISTS", "NO_SUITABLE_POOL", "POOL_MISMATCH", "UNSUPPORTED_OPERATION",
        ),
    ),
    Endpoint(
        number="E46", method="POST", path=ONE + "/promote", handler=promote, access=PEOPLE, mirror=True,
        idempotent=True, body=Promote, answers=Promoted, refuses=("REPLICA_NOT_READY", "REPLICA_NOT_PROMOTABLE"),
    ),
    Endpoint(
        number="E47", method="DELETE", path=ONE, handler=delete, access=PEOPLE, mirror=True, idempotent=True,
        answers=ReplicaDeleted, refuses=("REPLICA_INACTIVE",),
    ),
    Endpoint(
        number="E48", method="PUT", path=ONE, handler=update, access=SAFE, mirror=True, body=UpdateReplica,
        answers=ReplicaUpdated,
    ),
    Endpoint(
        number="E49", method="POST", path=ONE + "/status", handler=report_status, access=ALWAYS, mirror=True,
        body=ReplicaStatus, answers=StatusRecorded,
    ),
    Endpoint(
        number="E50", method="POST", path=ONE + "/sync-status", handler=report_sync, access=EITHER_SAFE,
        mirror=True, body=SyncStatus, answers=Done,
    ),
]  # fmt: skip
