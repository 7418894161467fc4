"""The core's words and the wire's (Z1, http-api 4)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from spotadapters.wire import objects, words
from spotadapters.wire.answers import as_mapping
from spotcore.clients import ClientStatus
from spotcore.commands import Command, CommandKind, Origin
from spotcore.config import AgentConfig
from spotcore.decisions import Action
from spotcore.events import Level
from spotcore.ids import AgentId, ClientId, CloudId, CommandId, InstanceId
from spotcore.incidents import Severity
from spotcore.instances import Instance, InstanceStatus
from spotcore.pools import Mode
from spotcore.replicas import ReplicaKind
from spotcore.switches import SwitchTrigger

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CLIENT, AGENT = ClientId("c"), AgentId("a")
MACHINE = InstanceId("0f0e0d0c-0000-4000-8000-000000000000")

ITEM_FIELDS = {
    "id", "command_id", "command_type", "instance_id", "target_mode", "target_pool_id", "request_id", "priority",
    "terminate_wait_seconds", "terminate_old", "params", "metadata", "created_at", "expires_at",
}  # fmt: skip


def machine(cloud_id: str | None = "i-0a") -> Instance:
    return Instance(
        instance_id=MACHINE, client_id=CLIENT, agent_id=AGENT, status=InstanceStatus.ZOMBIE, created_at=NOW,
        cloud_id=CloudId(cloud_id) if cloud_id else None,
    )  # fmt: skip


def command(kind: CommandKind, **facts: Any) -> Command:
    return Command(
        command_id=CommandId("cmd"), request_id="req", client_id=CLIENT, agent_id=AGENT, kind=kind,
        origin=Origin.EMERGENCY, created_at=NOW, **facts,
    )  # fmt: skip


def item(kind: CommandKind, target: Instance | None = None, **facts: Any) -> dict[str, Any]:
    if target is not None:
        facts["target_instance_id"] = target.instance_id
    shown = objects.command_item(command(kind, **facts), {target.instance_id: target} if target else {})
    return dict(as_mapping(shown, legacy=False))


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        (words.CLIENT_STATUS, ClientStatus),
        (words.REPLICA_KIND, ReplicaKind),
        (words.TRIGGER, SwitchTrigger),
        (words.COMMAND_KIND, CommandKind),
        (words.RECOMMENDED_ACTION, Action),
        (words.RECOMMENDATION, Action),
        (words.SEVERITY, Level),
    ],
)
def test_every_core_word_has_a_wire_word_z1(table: Any, kinds: Any) -> None:
    assert set(table) == set(kinds)


@pytest.mark.parametrize("word", ["rebalance-recommendation", "rebalance_recommendation", "rebalance"])
def test_every_spelling_of_a_rebalance_signal_is_understood(word: str) -> None:
    assert words.SIGNAL_IN[word] is Severity.REBALANCE


@pytest.mark.parametrize("word", ["termination-notice", "termination_notice", "termination"])
def test_every_spelling_of_a_termination_signal_is_understood(word: str) -> None:
    assert words.SIGNAL_IN[word] is Severity.TERMINATION


# ---- the config object


def test_the_config_object_has_every_field_of_section_5() -> None:
    assert set(as_mapping(objects.config(AgentConfig(), 3), legacy=False)) == {
        "enabled", "auto_switch_enabled", "manual_replica_enabled", "auto_terminate_enabled", "terminate_wait_seconds",
        "terminate_wait_minutes", "replica_enabled", "replica_count", "min_savings_percent", "risk_threshold",
        "max_switches_per_week", "max_switches_per_day", "min_pool_duration_hours", "cleanup_enabled",
        "emergency_rebalance_only", "preferred_azs", "excluded_pools", "emergency_min_risk",
        "failover_on_heartbeat_loss_seconds", "decision_engine_active", "config_version",
    }  # fmt: skip


@pytest.mark.parametrize(("seconds", "minutes"), [(300, 5), (301, 6), (60, 1), (86_400, 1_440)])
def test_minutes_are_seconds_rounded_up(seconds: int, minutes: int) -> None:
    shown = objects.config(AgentConfig(terminate_wait_seconds=seconds), 1)
    assert (shown.terminate_wait_seconds, shown.terminate_wait_minutes) == (seconds, minutes)


# ---- command items


@pytest.mark.parametrize("kind", list(CommandKind))
def test_an_item_always_has_every_key_and_no_forbidden_null_t04_t10(kind: CommandKind) -> None:
    shown = item(kind)
    assert set(shown) == ITEM_FIELDS
    assert shown["id"] == shown["command_id"] == "cmd"
    assert shown["request_id"] == "req"
    assert type(shown["terminate_wait_seconds"]) is int
    assert isinstance(shown["params"], dict)
    assert shown["metadata"] == {}


@pytest.mark.parametrize("kind", sorted(set(CommandKind) - {CommandKind.SWITCH}))
def test_nothing_but_a_switch_has_a_target_mode_t11(kind: CommandKind) -> None:
    shown = item(kind, target_mode=Mode.SPOT, target_pool_id="m5.large.us-east-1a")
    assert (shown["target_mode"], shown["target_pool_id"]) == (None, None)


def test_a_switch_names_its_mode_and_pool() -> None:
    shown = item(
        CommandKind.SWITCH, target_mode=Mode.SPOT, target_pool_id="m5.large.us-east-1b", terminate_wait_seconds=300
    )
    assert shown["target_mode"] == "spot"
    assert shown["target_pool_id"] == "m5.large.us-east-1b"
    assert shown["terminate_wait_seconds"] == 300


def test_a_switch_that_keeps_the_old_machine_says_0_seconds_t10() -> None:
    shown = item(CommandKind.SWITCH, target_mode=Mode.ONDEMAND, terminate_old=False, terminate_wait_seconds=300)
    assert (shown["terminate_wait_seconds"], shown["terminate_old"]) == (0, False)


@pytest.mark.parametrize(
    ("mode", "text"), [(Mode.SPOT, "spot.m5.large.us-east-1b"), (Mode.ONDEMAND, "ondemand.m5.large.us-east-1b")]
)
def test_a_launch_names_its_pool_so_that_a_v5_pays_what_is_meant_t07(mode: Mode, text: str) -> None:
    shown = item(
        CommandKind.LAUNCH, machine(None), target_mode=mode, instance_type="m5.large", target_az="us-east-1b",
        ami_id="ami-1", params={"role_hint": "primary"},
    )  # fmt: skip
    assert shown["params"] == {
        "target_pool": text,
        "az": "us-east-1b",
        "instance_type": "m5.large",
        "role_hint": "primary",
        "ami_id": "ami-1",
    }
    assert ("spot" in shown["params"]["target_pool"]) is (mode is Mode.SPOT)


def test_a_launch_shows_a_placeholder_for_its_machine_1_4() -> None:
    assert item(CommandKind.LAUNCH, machine(None))["instance_id"] == "i-pending-0f0e0d0c"


def test_a_termination_names_a_real_machine_in_params() -> None:
    assert item(CommandKind.TERMINATE, machine("i-0a"))["params"] == {"instance_id": "i-0a"}


def test_a_promotion_names_both_machines() -> None:
    shown = item(CommandKind.PROMOTE, machine("i-0b"), params={"old_primary_id": "i-0a"})
    assert shown["params"] == {"replica_instance_id": "i-0b", "old_primary_id": "i-0a"}


def test_a_config_push_carries_the_updates_alone() -> None:
    shown = item(CommandKind.APPLY_CONFIG, params={"config_updates": {"auto_switching": True}})
    assert shown["params"] == {"config_updates": {"auto_switching": True}}


def test_a_self_destruct_carries_nothing() -> None:
    assert item(CommandKind.SELF_DESTRUCT)["params"] == {}


# ---- pools


def test_an_unknown_pool_is_null() -> None:
    assert objects.pool(None) is None
