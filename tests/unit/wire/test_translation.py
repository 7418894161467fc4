"""The whole dictionary between the core and the wire, as http-api 4 has it, word by word (Z1)."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.wire import words
from spotadapters.wire.notices import NotificationItem, notification_item
from spotadapters.wire.objects import Pool, pool
from spotadapters.wire.rendering import encode
from spotcore.agents import DisplayStatus
from spotcore.commands import Command, CommandKind, Origin
from spotcore.config import SETTINGS
from spotcore.events import Level
from spotcore.ids import (
    AgentId,
    ClientId,
    CloudId,
    CommandId,
    InstanceId,
    ReplicaId,
    is_cloud_id,
    launch_placeholder,
    replica_placeholder,
)
from spotcore.instances import Instance, InstanceStatus
from spotcore.models import SessionState
from spotcore.pools import Mode, parse_pool
from spotcore.replicas import Replica, ReplicaKind, ReplicaState
from tests.support.world import START

CONTRACT: list[tuple[str, Mapping[Any, str], dict[str, str]]] = [
    # section, our table, the contract's words
    ("4.1 client status", words.CLIENT_STATUS, {"active": "active", "suspended": "inactive", "deleted": "deleted"}),
    ("4.1 replica type", words.REPLICA_KIND, {"manual": "manual", "emergency_rebalance": "automatic-rebalance", "emergency_termination": "automatic-termination"}),
    ("4.1 sync status", words.SYNC_STATUS, {"launching": "initializing", "syncing": "syncing", "ready": "synced"}),
    ("4.1 model session", words.SESSION_STATE, {"uploaded": "uploaded", "validating": "uploaded", "validated": "uploaded", "shadow": "uploaded", "active": "active", "fallback": "archived", "archived": "archived", "rejected": "archived"}),
    ("4.1 severities", words.SEVERITY, {"info": "info", "success": "success", "warning": "warning", "error": "error", "critical": "error"}),
    ("4.2 triggers", words.TRIGGER, {"auto": "model", "scheduled": "model", "manual": "manual", "manual_promotion": "manual", "emergency": "emergency", "rehome": "emergency"}),
    ("4.2 commands", words.COMMAND_KIND, {"switch": "switch", "promote": "PROMOTE_REPLICA_TO_PRIMARY", "launch_instance": "LAUNCH_INSTANCE", "terminate_instance": "TERMINATE_INSTANCE", "apply_config": "APPLY_CONFIG", "self_destruct": "SELF_DESTRUCT"}),
    ("4.2 recommended_action", words.RECOMMENDED_ACTION, {"stay": "stay", "switch_pool": "switch_spot", "switch_to_spot": "switch_spot", "switch_to_ondemand": "switch_ondemand"}),
    ("4.2 recommendation", words.RECOMMENDATION, {"stay": "stay", "switch_pool": "switch", "switch_to_spot": "switch", "switch_to_ondemand": "switch_to_ondemand"}),
]  # fmt: skip


@pytest.mark.parametrize(("section", "table", "wanted"), CONTRACT, ids=[case[0] for case in CONTRACT])
def test_every_word_is_the_contracts(section: str, table: Mapping[Any, str], wanted: dict[str, str]) -> None:
    assert {word.value: said for word, said in table.items()} == wanted, section


def test_a_model_session_has_a_word_for_every_state_e67() -> None:
    assert set(words.SESSION_STATE) == set(SessionState)


def test_only_a_live_replica_has_a_sync_status_of_its_own() -> None:
    assert set(words.SYNC_STATUS) == {ReplicaState.LAUNCHING, ReplicaState.SYNCING, ReplicaState.READY}


@pytest.mark.parametrize("table", [words.TRIGGER_IN, words.SIGNAL_IN])
def test_words_that_come_in_are_lower_case_and_without_blanks(table: Mapping[str, Any]) -> None:
    assert all(word == word.lower().strip() and word for word in table)


def test_every_trigger_that_goes_out_comes_back_in_as_itself_4_3() -> None:
    for said in ("manual", "model", "emergency"):
        assert words.TRIGGER[words.TRIGGER_IN[said]] == said


def test_the_words_of_triggers_that_are_understood_are_those_of_4_3() -> None:
    assert {word: words.TRIGGER[meant] for word, meant in words.TRIGGER_IN.items()} == {
        "manual": "manual", "manual-replica-promotion": "manual", "model": "model", "automatic": "model", "auto": "model",
        "ml": "model", "emergency": "emergency", "interruption": "emergency", "automatic-interruption-failover": "emergency",
    }  # fmt: skip


def test_an_agents_word_is_one_of_4_1() -> None:
    assert {words.display_status(one) for one in DisplayStatus} == {
        "online", "offline", "disabled", "switching", "error", "deleted",
    }  # fmt: skip


def test_modes_are_those_of_4_1_and_unknown_is_a_word_while_absent_is_null() -> None:
    assert {words.mode(one) for one in Mode} == {"spot", "ondemand", "unknown"}
    assert words.mode(None) is None


def test_without_an_incident_the_notice_status_is_none_as_a_word() -> None:
    assert words.notice_status(None) == "none"


def test_what_nobody_can_write_is_what_the_server_derives_or_counts_5() -> None:
    assert {
        "terminate_wait_minutes",
        "replica_count",
        "decision_engine_active",
        "config_version",
    } == words.READ_ONLY_CONFIG
    assert not words.READ_ONLY_CONFIG & set(SETTINGS)


# ---- placeholders (1.4)

UUIDS = st.uuids().map(str)


@given(UUIDS)
def test_a_placeholder_is_its_prefix_and_eight_hex_letters(row: str) -> None:
    for placeholder, prefix in (
        (replica_placeholder(ReplicaId(row)), "replica-"),
        (launch_placeholder(InstanceId(row)), "i-pending-"),
    ):
        assert placeholder == prefix + row.replace("-", "")[:8]
        assert len(placeholder) == len(prefix) + 8
        assert not is_cloud_id(placeholder)  # never taken for a machine of the cloud (I10)


@given(UUIDS)
def test_no_placeholder_is_one_that_a_v4_tries_to_end_in_the_cloud_t13(row: str) -> None:
    assert not replica_placeholder(ReplicaId(row)).startswith(("emergency-", "i-"))


def machine(cloud_id: str | None) -> Instance:
    return Instance(
        instance_id=InstanceId("0a1b2c3d-0000-4000-8000-000000000000"), client_id=ClientId("c"), agent_id=AgentId("a"),
        status=InstanceStatus.LAUNCHING, created_at=START, cloud_id=CloudId(cloud_id) if cloud_id else None,
    )  # fmt: skip


def replica() -> Replica:
    return Replica(
        replica_id=ReplicaId("ff1b2c3d-0000-4000-8000-000000000000"), client_id=ClientId("c"), agent_id=AgentId("a"),
        kind=ReplicaKind.MANUAL, instance_id=InstanceId("0a1b2c3d-0000-4000-8000-000000000000"), created_at=START,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "shown"), [(machine("i-0abc"), "i-0abc"), (machine(None), "replica-ff1b2c3d"), (None, "replica-ff1b2c3d")]
)
def test_a_replicas_machine_is_its_cloud_id_or_the_replicas_placeholder(known: Instance | None, shown: str) -> None:
    assert words.replica_instance(replica(), known) == shown


def test_a_requested_machine_shows_its_own_placeholder_until_the_cloud_has_named_it() -> None:
    assert words.instance_word(machine(None)) == "i-pending-0a1b2c3d"
    assert words.instance_word(machine("i-0abc")) == "i-0abc"


# ---- what a v5 reads as its target (T07)


@pytest.mark.parametrize("mode", [Mode.SPOT, Mode.ONDEMAND, Mode.UNKNOWN, None])
def test_a_launch_is_spot_for_a_v5_only_where_spot_is_meant_t07(mode: Mode | None) -> None:
    order = Command(
        command_id=CommandId("c"), request_id="r", client_id=ClientId("c"), agent_id=AgentId("a"), kind=CommandKind.LAUNCH,
        origin=Origin.USER, created_at=START, target_mode=mode, instance_type="m5.large", target_az="us-east-1b",
    )  # fmt: skip
    target = words.launch_target(order)
    assert ("spot" in target) is (mode is Mode.SPOT)
    assert target.endswith(".m5.large.us-east-1b")


# ---- pools (1.3)


@pytest.mark.parametrize(
    ("pool_id", "instance_type", "region", "az"),
    [
        ("t3.medium.us-east-1a", "t3.medium", "us-east-1", "us-east-1a"),
        ("u-12tb1.112xlarge.eu-central-1b", "u-12tb1.112xlarge", "eu-central-1", "eu-central-1b"),
        ("m5.metal-24xl.ap-southeast-2c", "m5.metal-24xl", "ap-southeast-2", "ap-southeast-2c"),
        ("m5.large.us-gov-west-1a", "m5.large", "us-gov-west-1", "us-gov-west-1a"),
    ],
)
def test_the_text_after_the_last_dot_of_a_pool_is_its_zone_1_3(
    pool_id: str, instance_type: str, region: str, az: str
) -> None:
    shown = pool(pool_id)
    assert shown == Pool(id=pool_id, name=f"Pool {pool_id}", instance_type=instance_type, region=region, az=az)
    known = parse_pool(pool_id)
    assert (known.instance_type, known.az, known.pool_id) == (instance_type, az, pool_id)
    assert known.region == region


# ---- messages (E87)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("client_id", ["c-1", None])
def test_a_message_goes_out_with_the_fields_of_e87(level: Level, client_id: str | None) -> None:
    item = notification_item(
        notification_id="n", client_id=client_id, severity=level.value, message="Ü", at=START, is_read=True
    )
    assert isinstance(item, NotificationItem)
    assert json.loads(encode(item)) == {
        "id": "n", "message": "Ü", "severity": "error" if level is Level.CRITICAL else level.value, "isRead": True,
        "time": "2026-03-02T12:00:00Z", "clientId": client_id,
    }  # fmt: skip


def test_a_message_is_unread_until_somebody_has_read_it() -> None:
    assert not notification_item(notification_id="n", client_id=None, severity="info", message="x", at=START).is_read


def test_a_severity_that_nobody_knows_is_a_defect_and_not_passed_on() -> None:
    with pytest.raises(ValueError, match="loud"):
        notification_item(notification_id="n", client_id=None, severity="loud", message="x", at=START)
