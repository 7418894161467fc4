"""E42…E50: replicas, as users order them and agents report them."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.routes.agents import AGENT, ALWAYS, PEOPLE, SAFE
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire import words
from spotadapters.wire.parsing import required, wire
from spotcore.errors import InactiveClient, ValidationFailed
from spotcore.ids import CloudId, is_cloud_id
from spotcore.replicas import OUT_OF_SYNC_AFTER, Replica, ReplicaState
from spotcore.reports import ReplicaStatusReport
from spotcore.service.replicas import ReplicaRequest, ReplicaView
from spotcore.standby import MachineFacts

EITHER_SAFE: Final = Access(needs=Needs.EITHER, while_suspended=True)
EITHER_ALWAYS: Final = Access(needs=Needs.EITHER, while_suspended=True, winding_down=True)


def sync_status(replica: Replica, now: datetime) -> str:
    """What was reported, or derived from the state; silent for 120 s reads ``out-of-sync`` (RP-6)."""
    if replica.last_sync_at is not None and now - replica.last_sync_at > OUT_OF_SYNC_AFTER and replica.is_live:
        return "out-of-sync"
    return replica.sync_status or words.SYNC_STATUS.get(replica.state, "out-of-sync")


def replica_object(view: ReplicaView, now: datetime) -> dict[str, Any]:
    """The replica as E42 describes it."""
    replica = view.replica
    progress = replica.progress if replica.progress is not None else (100 if replica.state is ReplicaState.READY else 0)
    return {
        "id": replica.replica_id,
        "instance_id": words.replica_instance(replica, view.instance),
        "type": words.REPLICA_KIND[replica.kind],
        "status": replica.state.value,
        "sync_status": sync_status(replica, now),
        "sync_latency_ms": replica.sync_latency_ms,
        "state_transfer_progress": progress,
        "pool": words.pool(replica.pool_id),
        "cost": {"hourly": view.hourly_cost, "total": 0},
        "created_by": replica.created_by,
        "created_at": replica.created_at,
        "ready_at": replica.ready_at,
        "terminated_at": view.instance.terminated_at,
        "is_active": replica.is_live,
    }


def listed(view: ReplicaView, now: datetime) -> dict[str, Any]:
    """The replica as an agent reads it (E43): ``pool_id`` and ``az`` flat as well, and text wherever v4c cuts it."""
    replica = view.replica
    return {
        **replica_object(view, now),
        "pool_id": replica.pool_id,
        "az": replica.az,
        "age_seconds": max(0, round((now - replica.created_at).total_seconds())),
        "tags": dict(replica.tags),
    }


def replicas_of_client(call: Call) -> Answer:
    """E42."""
    caller, now = call.client_caller(), call.clock.now()
    call.plane.clients.get(caller.client_id)
    return Answer(data=[_with_primary(row, now) for row in call.reads.replicas_of_client(caller.client_id)])


def _with_primary(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    item = replica_object(row["view"], now)
    item["instanceId"] = item.pop("instance_id")
    primary = row["primary"]
    return {
        "agentId": row["agent_id"],
        "primary": {
            "instanceId": primary.cloud_id,
            "instanceType": primary.instance_type,
            "region": primary.region,
            "az": primary.az,
            "mode": primary.mode.value,
        }
        if primary is not None
        else None,
        "replica": item,
    }


def replicas_of_agent(call: Call) -> Answer:
    """E43. Reading changes nothing: the PUT ends the listing (T14)."""
    caller, now = call.agent_caller(), call.clock.now()
    status = call.query.get("status")
    if status == "launching":
        views = call.plane.replicas.to_launch(caller, call.agent_id)
    elif status == "terminated":
        views = call.plane.replicas.to_end(caller, call.agent_id)
    else:
        everything = call.query.get("include_terminated", "").lower() in ("true", "1")
        views = call.plane.replicas.listed(caller, call.agent_id, include_ended=everything or status is not None)
        if status is not None:
            wanted = "failed" if status == "error" else status
            views = tuple(view for view in views if view.replica.state.value == wanted)
    return Answer(data={"replicas": [listed(view, now) for view in views], "total": len(views)})


def replica_config(call: Call) -> Answer:
    """E44."""
    answer = call.plane.agents.config(call.agent_caller(), call.agent_id)
    manual = answer.config.manual_replica_enabled
    return Answer(
        data={
            "enabled": answer.config.replica_enabled or manual,
            "count": answer.replica_count,
            "manual_replica_enabled": manual,
            "auto_create_replica": manual,
            "preferred_replica_pools": [],
            "replica_sync_required": False,
            "min_sync_percentage": 95,
        }
    )


@frozen(kw_only=True)
class CreateReplica:
    """E45."""

    pool_id: str | None = wire("target_pool", "target_pool_id", limit=128)
    instance_id: str | None = wire(limit=128)
    replica_type: str | None = wire("type")
    instance_type: str | None = wire(limit=64)
    exclude_zones: tuple[str, ...] = wire(default=())
    max_hourly_cost: Decimal | None = wire()
    tags: Mapping[str, Any] | None = wire()


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
        data={
            "success": True,
            "replica_id": view.replica.replica_id,
            "instance_id": words.replica_instance(view.replica, view.instance),
            "pool": words.pool(view.replica.pool_id),
            "hourly_cost": view.hourly_cost,
            "status": view.replica.state.value,
        },
        status=201,
    )


@frozen(kw_only=True)
class Promote:
    """E46."""

    demote_old_primary: bool = wire(default=False)


def promote(call: Call) -> Answer:
    """E46."""
    body = call.parse(Promote)
    done = call.plane.replicas.promote(
        call.agent_caller(actor="client"), call.agent_id, call.path_id("replica_id"),
        demote_old_primary=body.demote_old_primary,
    )  # fmt: skip
    return Answer(
        data={
            "success": True,
            "new_instance_id": done.switch.new_cloud_id,
            "new_primary_id": done.switch.new_cloud_id,
            "old_instance_id": done.switch.old_cloud_id,
            "demoted": done.demoted,
            "switch_time": done.switch.recorded_at,
        }
    )


def delete(call: Call) -> Answer:
    """E47."""
    caller = call.agent_caller(actor="client")
    replica = call.plane.replicas.delete(caller, call.agent_id, call.path_id("replica_id"))
    manual = call.plane.agents.config(caller, call.agent_id).config.manual_replica_enabled
    message = "Replica deleted"
    if manual:
        message += "; manual replica mode is on, so another follows: switch it off to keep none"  # MR-5
    return Answer(
        data={"success": True, "replica_id": replica.replica_id, "terminated_at": replica.ended_at}, message=message
    )


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


@frozen(kw_only=True)
class UpdateReplica:
    """E48."""

    instance_id: str | None = wire(limit=128)
    status: str | None = wire(limit=32)
    sync_status: str | None = wire("sync_state", limit=32)
    sync_progress: Decimal | None = wire("state_transfer_progress")


def update(call: Call) -> Answer:
    """E48."""
    if not call.data():
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
        data={
            "success": True,
            "replica_id": view.replica.replica_id,
            "instance_id": words.replica_instance(view.replica, view.instance),
            "status": view.replica.state.value,
        }
    )


def _percent(value: Decimal | None) -> Decimal | None:
    if value is not None and not 0 <= value <= 100:
        raise ValidationFailed("invalid: progress", state_transfer_progress=["use a number from 0 to 100"])
    return value


@frozen(kw_only=True)
class ReplicaStatus:
    """E49."""

    status: str = required(limit=32)
    error_message: str | None = wire("message", "error", clip=True)


def report_status(call: Call) -> Answer:
    """E49."""
    body = call.parse(ReplicaStatus)
    state = _state(body.status)
    assert state is not None  # the field is required
    replica, moved = call.plane.replicas.report_status(
        call.agent_caller(), call.agent_id, call.path_id("replica_id"),
        ReplicaStatusReport(state=state, error_message=body.error_message),
    )  # fmt: skip
    data: dict[str, Any] = {"success": True, "replica_id": replica.replica_id, "status": replica.state.value}
    if not moved and replica.state is not state:
        data["ignored"] = True  # RP-10
    return Answer(data=data)


@frozen(kw_only=True)
class SyncStatus:
    """E50."""

    sync_status: str | None = wire("sync_state", limit=32)
    sync_latency_ms: int | None = wire()
    state_transfer_progress: Decimal | None = wire("sync_progress")
    status: str | None = wire(limit=32)


def report_sync(call: Call) -> Answer:
    """E50."""
    if not call.data():
        raise ValidationFailed(
            "nothing to report", body=["send sync_status, sync_latency_ms or state_transfer_progress"]
        )
    body = call.parse(SyncStatus)
    call.plane.replicas.report_sync(
        call.agent_caller(), call.agent_id, call.path_id("replica_id"),
        status=body.sync_status, latency_ms=body.sync_latency_ms, progress=_percent(body.state_transfer_progress),
        state=_state(body.status),
    )  # fmt: skip
    return Answer(data={"success": True}, message="Recorded")


R: Final = "/api/agents/{agent_id}/replicas"
ONE: Final = R + "/{replica_id}"
routes = [
    Endpoint(
        number="E42", method="GET", path="/api/client/{client_id}/replicas", handler=replicas_of_client, access=PEOPLE
    ),
    Endpoint(number="E43", method="GET", path=R, handler=replicas_of_agent, access=EITHER_ALWAYS, mirror=True),
    Endpoint(
        number="E44", method="GET", path="/api/agents/{agent_id}/replica-config", handler=replica_config, access=AGENT,
        mirror=True,
    ),
    Endpoint(
        number="E45", method="POST", path=R, handler=create, access=EITHER_SAFE, mirror=True, idempotent=True
    ),
    Endpoint(
        number="E46", method="POST", path=ONE + "/promote", handler=promote, access=PEOPLE, mirror=True,
        idempotent=True,
    ),
    Endpoint(number="E47", method="DELETE", path=ONE, handler=delete, access=PEOPLE, mirror=True, idempotent=True),
    Endpoint(number="E48", method="PUT", path=ONE, handler=update, access=SAFE, mirror=True),
    Endpoint(number="E49", method="POST", path=ONE + "/status", handler=report_status, access=ALWAYS, mirror=True),
    Endpoint(
        number="E50", method="POST", path=ONE + "/sync-status", handler=report_sync, access=EITHER_SAFE,
        mirror=True,
    ),
]  # fmt: skip
