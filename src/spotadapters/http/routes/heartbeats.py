"""E17: heartbeats, how they are read and answered."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import evolve

from spotadapters.http.envelope import Answer
from spotadapters.http.pulse import NO_TIME, Repeat
from spotadapters.http.routing import Call
from spotadapters.wire import objects, words
from spotadapters.wire.answers import shown
from spotadapters.wire.objects import Config
from spotadapters.wire.parsing import decode, shaped, wire
from spotadapters.wire.shapes import shape
from spotadapters.wire.words import known, mode_of
from spotcore.builds import Evidence
from spotcore.ids import is_cloud_id
from spotcore.liveness import Heartbeat, HeartbeatAnswer, SeenMachine
from spotcore.service.agents import Pulse


@shape
class Beat:
    """E17. Lenient: no detail of a heartbeat is worth an agent's silence (T03)."""

    LENIENT = True
    status: str | None = wire(clip=True)
    instance_id: str | None = wire(limit=128)
    instance_type: str | None = wire(limit=64)
    az: str | None = wire(limit=64)
    mode: str | None = wire("current_mode")
    monitored_instances: tuple[Any, ...] | None = wire()
    inventory_snapshot: Mapping[str, Any] | None = wire()
    config_version_applied: int | None = wire()


def _inventory(snapshot: Mapping[str, Any] | None) -> tuple[SeenMachine, ...]:
    """Entries of a v5 inventory; ``{}``, an error or nonsense mean nothing (E17, T18)."""
    entries = (snapshot or {}).get("instances")
    if not isinstance(entries, list):
        return ()
    seen = []
    for entry in entries[:2_000]:
        if not isinstance(entry, dict) or not is_cloud_id(_text(entry.get("instance_id"))):
            continue
        on_spot = bool(entry["pool"]) if "pool" in entry else None
        seen.append(
            SeenMachine(
                cloud_id=str(entry["instance_id"]),
                on_spot=on_spot,
                private_ip=_text(entry.get("private_ip")),
                public_ip=_text(entry.get("public_ip")),
            )
        )
    return tuple(seen)


def _text(value: Any) -> str | None:
    return value[:128] if isinstance(value, str) and value.isprintable() else None


def _named_machine(body: Beat) -> str | None:
    """The machine a heartbeat names: ``instance_id``, else the only monitored one, else none (Z23)."""
    if is_cloud_id(body.instance_id):
        return body.instance_id
    listed = [one for one in body.monitored_instances or () if isinstance(one, str) and is_cloud_id(one)]
    return listed[0] if len(listed) == 1 else None


def read_beat(body: bytes) -> Heartbeat:
    """A heartbeat's body in core words. Raises ``ValidationFailed``."""
    said = shaped(decode(body), Beat)
    evidence: tuple[Evidence, ...] = ()
    if said.instance_id:
        evidence = (Evidence.CLASSIC_CALL,)
    elif said.monitored_instances:
        evidence = (Evidence.MARK_EXECUTED,)
    return Heartbeat(
        cloud_id=_named_machine(said),
        going_offline=(said.status or "").lower() in words.OFFLINE_WORDS,
        instance_type=known(said.instance_type),
        az=known(said.az),
        mode=mode_of(said.mode),
        inventory=_inventory(said.inventory_snapshot),
        config_version_applied=said.config_version_applied,
        evidence=evidence,
    )


def heartbeat(call: Call) -> Answer:
    """E17; what it answers is remembered for an outage (Z32)."""
    caller, beat = call.agent_caller(), read_beat(call.raw_body)
    if call.is_hurried:
        pulse = Pulse(answer=call.plane.agents.heartbeat(caller, call.agent_id, beat), steady=None, next_answer=None)
    else:
        pulse = call.plane.agents.pulse(caller, call.agent_id, beat)
    answer, steady = pulse.answer, pulse.steady
    call.remembered.keep(call.headers.get("authorization", ""), call.agent_id, answer)
    data = heartbeat_data(answer, call.server.engine_loaded, acknowledged=True)
    if steady is None or pulse.next_answer is None:
        return Answer(data=data)
    repeat = Repeat(
        client_id=steady.client_id, agent_id=steady.agent_id, revision=steady.revision, steady=steady,
        answer=pulse.next_answer,
    )  # fmt: skip
    timeless = heartbeat_data(
        evolve(pulse.next_answer, server_time=NO_TIME), call.server.engine_loaded, acknowledged=True
    )
    return Answer(data=data, repeat=repeat, timeless=timeless)


@shape
class BeatAnswer:
    """E17."""

    success: bool = True
    acknowledged: bool = shown(doc="false while the database is away and an earlier answer is repeated")
    agent_id: str
    role: str
    status: str
    server_time: datetime
    poll_hint_seconds: int
    config_version: int
    config_changed: bool
    commands_pending: bool
    config: Config


def heartbeat_data(answer: HeartbeatAnswer, engine_loaded: bool, *, acknowledged: bool) -> BeatAnswer:
    """The reply in wire words."""
    settings = objects.config(
        answer.config, answer.config_version, replica_count=answer.replica_count,
        engine_active=engine_loaded and answer.role == "primary",
    )  # fmt: skip
    return BeatAnswer(
        acknowledged=acknowledged,
        agent_id=answer.agent_id,
        role=answer.role,
        status=answer.status,
        server_time=answer.server_time,
        poll_hint_seconds=answer.poll_hint_seconds,
        config_version=answer.config_version,
        config_changed=answer.config_changed,
        commands_pending=answer.commands_pending,
        config=settings,
    )


def degraded_heartbeat(answer: HeartbeatAnswer, now: datetime, engine_loaded: bool) -> Answer:
    """Z32: an earlier answer once more, ``acknowledged`` false because nothing was noted."""
    again = evolve(answer, server_time=now, config_changed=False)
    return Answer(data=heartbeat_data(again, engine_loaded, acknowledged=False))
