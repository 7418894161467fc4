"""Events as server-sent frames (http-api 12.3): which fields of which, and where each comes from."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from spotadapters.wire.notices import notification_item
from spotadapters.wire.rendering import encode
from spotadapters.wire.words import COMMAND_KIND
from spotcore.commands import CommandKind
from spotcore.events import CATALOGUE
from spotcore.ids import InstanceId, ReplicaId, launch_placeholder, replica_placeholder

NOTIFICATION: Final = "NOTIFICATION"


@frozen(kw_only=True)
class Published:
    """An event at its place in the feed. A place has two ids: ``position`` is the event's frame, the next one its
    notification's."""

    position: int
    client_id: str | None
    kind: str
    at: datetime
    agent_id: str | None = None
    instance_id: str | None = None
    facts: Mapping[str, Any]
    notification: Mapping[str, Any] | None = None  # None: it has none, or one cause has been told already (NT-1)


@frozen(kw_only=True)
class Frame:
    """A frame ready to be sent. ``client_id`` None: everybody's."""

    name: str
    data: str
    id: int | None = None
    client_id: str | None = None


def frame_of(name: str, data: Any, at: datetime, *, frame_id: int | None = None, client_id: str | None = None) -> Frame:
    """A frame with its payload and time."""
    text = encode({"data": data, "timestamp": at}, escaped=True).decode()
    return Frame(name=name, data=text, id=frame_id, client_id=client_id)


def flat_frame(name: str, data: Mapping[str, Any], *, frame_id: int | None = None) -> Frame:
    """``CONNECTED`` and ``HEARTBEAT`` carry a flat object."""
    return Frame(name=name, data=encode(data, escaped=True).decode(), id=frame_id)


def _machine(event: Published) -> str | None:
    """The machine's cloud id, or the placeholder that lists show for it (1.4)."""
    cloud_id = event.facts.get("machine")
    if cloud_id is not None or event.instance_id is None:
        return cloud_id
    replica_id = event.facts.get("replica_id")
    if replica_id is not None:
        return replica_placeholder(ReplicaId(replica_id))
    return launch_placeholder(InstanceId(event.instance_id))


def _fact(name: str) -> Callable[[Published], Any]:
    return lambda event: event.facts.get(name)


def _always(word: str) -> Callable[[Published], Any]:
    return lambda _: word


def _command_type(event: Published) -> str:
    return COMMAND_KIND[CommandKind(event.facts["command_type"])]


_CHANGE: Final = {"old_status": _fact("old_status"), "new_status": _fact("new_status")}
FIELDS: Final[Mapping[str, Mapping[str, Callable[[Published], Any]]]] = {
    "INSTANCE_LAUNCHING": {
        "instance_id": _machine,
        "instance_type": _fact("instance_type"),
        "status": _always("launching"),
        "target_mode": _fact("target_mode"),
        "az": _fact("az"),
        "role_hint": _fact("role_hint"),
        "command_id": _fact("command_id"),
    },
    "INSTANCE_RUNNING": {
        "instance_id": _machine,
        "status": _always("running"),
        "launch_duration_seconds": _fact("launch_duration_seconds"),
        "final_status": _fact("final_status"),
        "instance_type": _fact("instance_type"),
        "az": _fact("az"),
    },
    "INSTANCE_TERMINATING": {
        "instance_id": _machine,
        "status": _always("terminating"),
        "command_id": _fact("command_id"),
    },
    "INSTANCE_TERMINATED": {
        "instance_id": _machine,
        "status": _always("terminated"),
        "termination_duration_seconds": _fact("termination_duration_seconds"),
    },
    "INSTANCE_STATE_CHANGED": {"instance_id": _machine, **_CHANGE},
    "AGENT_STATUS_CHANGED": {"agent_id": lambda event: event.agent_id, **_CHANGE},
    "EMERGENCY_EVENT": {
        "event_type": _fact("event_type"),
        "agent_id": lambda event: event.agent_id,
        "instance_id": _machine,
        "replica_id": _fact("replica_id"),
        "action": _fact("action"),
    },
    "COMMAND_EXECUTED": {
        "command_id": _fact("command_id"),
        "command_type": _command_type,
        "status": _fact("status"),
        "instance_id": _machine,
    },
}


def frames_of(event: Published) -> tuple[Frame, ...]:
    """The frame of an event, and that of the notification it became."""
    found: list[Frame] = []
    spec = CATALOGUE.get(event.kind)  # type: ignore[call-overload]  # a newer server may know more kinds
    if spec is not None and spec.frame is not None:
        data = {name: read(event) for name, read in FIELDS[spec.frame].items()}
        found.append(frame_of(spec.frame, data, event.at, frame_id=event.position, client_id=event.client_id))
    if event.notification is not None:
        item = notification_item(**event.notification)
        found.append(frame_of(NOTIFICATION, item, item.time, frame_id=event.position + 1, client_id=event.client_id))
    return tuple(found)


def ends_access(event: Published) -> bool:
    """True when streams of its client are to be judged anew (Z4)."""
    spec = CATALOGUE.get(event.kind)  # type: ignore[call-overload]
    return spec is not None and spec.ends_access
