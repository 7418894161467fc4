"""Each live event with all its facts, and with none: where every field of its frame comes from (12.3)."""

import json
from datetime import timedelta
from typing import Any

import pytest

from spotadapters.wire.frames import FIELDS, Published, flat_frame, frame_of, frames_of
from spotadapters.wire.words import COMMAND_KIND
from spotcore.commands import CommandKind
from spotcore.events import CATALOGUE, EventKind
from tests.support.world import START

FACTS = {
    "machine": "i-0abc", "instance_type": "m5.large", "target_mode": "spot", "az": "us-east-1b", "role_hint": "replica",
    "command_id": "cmd-1", "launch_duration_seconds": 41.5, "final_status": "running_replica",
    "termination_duration_seconds": 12, "old_status": "online", "new_status": "offline", "event_type": "termination_notice",
    "replica_id": "0a1b2c3d-0000-4000-8000-000000000000", "action": "replica_promoted", "command_type": "switch",
    "status": "completed",
}  # fmt: skip
WANTED: dict[str, dict[str, Any]] = {
    "INSTANCE_LAUNCHING": {"instance_id": "i-0abc", "instance_type": "m5.large", "status": "launching", "target_mode": "spot", "az": "us-east-1b", "role_hint": "replica", "command_id": "cmd-1"},
    "INSTANCE_RUNNING": {"instance_id": "i-0abc", "status": "running", "launch_duration_seconds": 41.5, "final_status": "running_replica", "instance_type": "m5.large", "az": "us-east-1b"},
    "INSTANCE_TERMINATING": {"instance_id": "i-0abc", "status": "terminating", "command_id": "cmd-1"},
    "INSTANCE_TERMINATED": {"instance_id": "i-0abc", "status": "terminated", "termination_duration_seconds": 12},
    "INSTANCE_STATE_CHANGED": {"instance_id": "i-0abc", "old_status": "online", "new_status": "offline"},
    "AGENT_STATUS_CHANGED": {"agent_id": "a-1", "old_status": "online", "new_status": "offline"},
    "EMERGENCY_EVENT": {"event_type": "termination_notice", "agent_id": "a-1", "instance_id": "i-0abc", "replica_id": FACTS["replica_id"], "action": "replica_promoted"},
    "COMMAND_EXECUTED": {"command_id": "cmd-1", "command_type": "switch", "status": "completed", "instance_id": "i-0abc"},
}  # fmt: skip
KINDS = {spec.frame: kind for kind, spec in CATALOGUE.items() if spec.frame is not None}
FIXED = {"status"}  # the word of the frame itself, not a fact


def published(kind: EventKind, facts: dict[str, Any], **more: Any) -> Published:
    known = {"position": 6, "client_id": "c-1", "at": START, "agent_id": "a-1", "instance_id": None}
    return Published(kind=kind.value, facts=facts, **known | more)


def data(kind: EventKind, facts: dict[str, Any], **more: Any) -> Any:
    (frame,) = frames_of(published(kind, facts, **more))
    return json.loads(frame.data)["data"]


def test_every_frame_has_its_event_and_is_tried_here() -> None:
    assert set(KINDS) == set(WANTED) == set(FIELDS)


@pytest.mark.parametrize("name", WANTED)
def test_a_frame_carries_the_facts_of_its_event(name: str) -> None:
    assert data(KINDS[name], FACTS) == WANTED[name]


@pytest.mark.parametrize("name", [name for name in WANTED if name != "COMMAND_EXECUTED"])
def test_what_an_event_does_not_know_is_null_and_its_key_is_there(name: str) -> None:
    bare = data(KINDS[name], {}, agent_id=None)
    fixed = FIXED if name.startswith("INSTANCE_") else set()
    assert set(bare) == set(WANTED[name])
    assert {key for key, value in bare.items() if value is not None} == fixed & set(bare)


@pytest.mark.parametrize("kind", list(CommandKind))
def test_every_command_is_told_of_under_its_wire_word_4_2(kind: CommandKind) -> None:
    told = data(KINDS["COMMAND_EXECUTED"], {"command_type": kind.value, "status": "failed", "command_id": "x"})
    assert (told["command_type"], told["status"], told["instance_id"]) == (COMMAND_KIND[kind], "failed", None)


def test_a_frame_goes_to_its_client_alone_and_one_of_nobody_to_everybody() -> None:
    for client_id in ("c-1", None):
        (frame,) = frames_of(published(KINDS["AGENT_STATUS_CHANGED"], FACTS, client_id=client_id))
        assert frame.client_id == client_id


def test_the_data_of_a_frame_is_one_line_of_ascii_whatever_it_holds() -> None:
    facts = {"old_status": "a\nb\r\u2028\x85", "new_status": "ž\U0001f600"}
    (frame,) = frames_of(published(KINDS["AGENT_STATUS_CHANGED"], facts))
    assert frame.data.isascii()
    assert len(frame.data.splitlines()) == 1
    assert json.loads(frame.data)["data"]["old_status"] == facts["old_status"]
    assert json.loads(frame.data)["data"]["new_status"] == facts["new_status"]


def test_the_time_of_a_frame_is_when_it_happened_in_utc() -> None:
    (frame,) = frames_of(published(KINDS["AGENT_STATUS_CHANGED"], FACTS, at=START + timedelta(milliseconds=250)))
    assert json.loads(frame.data)["timestamp"] == "2026-03-02T12:00:00.250Z"


def test_connected_and_heartbeat_are_flat_and_have_no_id_12_3() -> None:
    frame = flat_frame("CONNECTED", {"client_id": None, "timestamp": START})
    assert (frame.name, frame.id, frame.client_id) == ("CONNECTED", None, None)
    assert json.loads(frame.data) == {"client_id": None, "timestamp": "2026-03-02T12:00:00Z"}
    assert flat_frame("HEARTBEAT", {"timestamp": START}, frame_id=4).id == 4


def test_a_frame_made_by_hand_is_wrapped_like_the_others() -> None:
    frame = frame_of("RESYNC", {}, START, frame_id=9, client_id="c-1")
    assert (frame.name, frame.id, frame.client_id) == ("RESYNC", 9, "c-1")
    assert json.loads(frame.data) == {"data": {}, "timestamp": "2026-03-02T12:00:00Z"}


def test_a_notification_stands_alone_where_its_event_has_no_frame() -> None:
    kind = next(kind for kind, spec in CATALOGUE.items() if spec.frame is None)
    notice = {"notification_id": "n", "client_id": None, "severity": "info", "message": "x", "at": START}
    (frame,) = frames_of(published(kind, {}, notification=notice))
    assert (frame.name, frame.id) == ("NOTIFICATION", 7)  # the second id of its place
