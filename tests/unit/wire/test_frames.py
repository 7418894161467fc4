"""Events as frames: the fields of http-api 12.3, no more and no fewer."""

import json
from typing import Any

import pytest

from spotadapters.wire.frames import FIELDS, Published, ends_access, frames_of
from spotcore.events import CATALOGUE, EventKind
from tests.support.world import START

CONTRACT = {
    "INSTANCE_LAUNCHING": {"instance_id", "instance_type", "status", "target_mode", "az", "role_hint", "command_id"},
    "INSTANCE_RUNNING": {"instance_id", "status", "launch_duration_seconds", "final_status", "instance_type", "az"},
    "INSTANCE_TERMINATING": {"instance_id", "status", "command_id"},
    "INSTANCE_TERMINATED": {"instance_id", "status", "termination_duration_seconds"},
    "INSTANCE_STATE_CHANGED": {"instance_id", "old_status", "new_status"},
    "AGENT_STATUS_CHANGED": {"agent_id", "old_status", "new_status"},
    "EMERGENCY_EVENT": {"event_type", "agent_id", "instance_id", "replica_id", "action"},
    "COMMAND_EXECUTED": {"command_id", "command_type", "status", "instance_id"},
}
NOTICE = {
    "notification_id": "n", "client_id": "c", "severity": "critical", "message": "It burns", "at": START,
}  # fmt: skip


def event(kind: str, *, notification: Any = None, instance_id: str | None = None, **facts: Any) -> Published:
    return Published(
        position=8, client_id="c", kind=kind, at=START, agent_id="a", instance_id=instance_id, facts=facts,
        notification=notification,
    )  # fmt: skip


def data(published: Published) -> dict[str, Any]:
    (frame,) = frames_of(published)
    sent: dict[str, Any] = json.loads(frame.data)
    return sent


def test_the_fields_of_every_frame_are_the_contracts_12_3() -> None:
    assert {name: set(fields) for name, fields in FIELDS.items()} == CONTRACT


@pytest.mark.parametrize("kind", [kind for kind in EventKind if CATALOGUE[kind].frame is not None])
def test_every_event_of_the_catalogue_with_a_frame_has_its_fields(kind: EventKind) -> None:
    (frame,) = frames_of(event(kind.value, command_type="switch"))
    assert (frame.name, frame.id, frame.client_id) == (CATALOGUE[kind].frame, 8, "c")
    sent = json.loads(frame.data)
    assert set(sent) == {"data", "timestamp"}
    assert sent["timestamp"] == "2026-03-02T12:00:00Z"
    assert set(sent["data"]) == CONTRACT[frame.name]


def test_an_event_without_a_frame_and_one_that_nobody_knows_here_make_none() -> None:
    assert frames_of(event("agent_config_updated")) == ()
    assert frames_of(event("of_a_newer_server")) == ()
    assert not ends_access(event("of_a_newer_server"))


def test_a_notification_follows_its_event_under_the_next_id() -> None:
    first, second = frames_of(
        event("agent_back_online", notification=NOTICE, old_status="offline", new_status="online")
    )
    assert (first.name, first.id) == ("AGENT_STATUS_CHANGED", 8)
    assert (second.name, second.id) == ("NOTIFICATION", 9)
    assert json.loads(second.data)["data"] == {
        "id": "n", "message": "It burns", "severity": "error", "isRead": False, "time": "2026-03-02T12:00:00Z",
        "clientId": "c",
    }  # fmt: skip


def test_a_machine_has_its_cloud_id_or_the_placeholder_that_lists_show_1_4() -> None:
    own = "0a1b2c3d-0000-5000-8000-000000000000"
    named = event("instance_state_changed", machine="i-0a", instance_id=own)
    requested = event("instance_launch_requested", machine=None, instance_id=own)
    replica = event("emergency_replica_created", machine=None, instance_id=own, replica_id=own.replace("0a", "ff"))
    unknown = event("emergency_replica_created", replica_id=None)
    shown = [data(one)["data"]["instance_id"] for one in (named, requested, replica, unknown)]
    assert shown == ["i-0a", "i-pending-0a1b2c3d", "replica-ff1b2c3d", None]


def test_a_command_has_its_wire_word_z1() -> None:
    assert data(event("command_completed", command_type="launch_instance"))["data"]["command_type"] == "LAUNCH_INSTANCE"


@pytest.mark.parametrize(
    ("kind", "ends"),
    [("client_deleted", True), ("client_suspended", True), ("token_regenerated", True), ("agent_deleted", False)],
)
def test_what_may_end_a_token_has_streams_judged_anew_z4(kind: str, ends: bool) -> None:
    assert ends_access(event(kind)) is ends
