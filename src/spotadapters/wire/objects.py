"""Objects that several answers hold: settings, pools, commands (http-api 5, 7.6, 7.9)."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import frozen

from spotadapters.wire.answers import shown
from spotadapters.wire.words import COMMAND_KIND, instance_word, launch_target, mode
from spotcore.commands import Command, CommandKind
from spotcore.config import AgentConfig, as_values, terminate_wait_minutes
from spotcore.instances import Instance


@frozen(kw_only=True)
class Done:
    """It was done."""

    success: bool = True


@frozen(kw_only=True)
class Config:
    """The settings of an agent, and what is derived from them (http-api 5)."""

    enabled: bool
    auto_switch_enabled: bool
    manual_replica_enabled: bool
    auto_terminate_enabled: bool
    terminate_wait_seconds: int = shown(doc="60 to 86400; 0 only where everything is off")
    replica_enabled: bool = shown(doc="a legacy flag without effect of its own")
    min_savings_percent: Decimal
    risk_threshold: Decimal
    max_switches_per_week: int
    max_switches_per_day: int
    min_pool_duration_hours: int
    cleanup_enabled: bool
    emergency_rebalance_only: bool
    preferred_azs: tuple[str, ...]
    excluded_pools: tuple[str, ...]
    emergency_min_risk: Decimal
    failover_on_heartbeat_loss_seconds: int | None
    terminate_wait_minutes: int
    replica_count: int = shown(doc="live replicas, counted")
    decision_engine_active: bool
    config_version: int = shown(doc="grows by one per effective change")


def config(settings: AgentConfig, version: int, *, replica_count: int = 0, engine_active: bool = False) -> Config:
    """The object of http-api section 5."""
    return Config(
        **as_values(settings),
        terminate_wait_minutes=terminate_wait_minutes(settings.terminate_wait_seconds),
        replica_count=replica_count,
        decision_engine_active=engine_active,
        config_version=version,
    )


@frozen(kw_only=True)
class Pool:
    """A spot pool: one instance type in one zone."""

    id: str = shown(example="t3.medium.us-east-1a")
    name: str
    instance_type: str
    region: str
    az: str


def pool(pool_id: str | None) -> Pool | None:
    """A pool as the dashboard and v4c read it; what follows the last dot is the zone (T25)."""
    if pool_id is None:
        return None
    instance_type, _, az = pool_id.rpartition(".")
    region = az.rstrip("abcdefghijklmnopqrstuvwxyz") or az
    return Pool(id=pool_id, name=f"Pool {pool_id}", instance_type=instance_type, region=region, az=az)


@frozen(kw_only=True)
class CommandItem:
    """A command: every key always present, none null that must not be (T04, T10)."""

    id: str
    command_id: str
    command_type: str
    instance_id: str | None
    target_mode: str | None = shown(doc="set for a switch alone (T11)")
    target_pool_id: str | None
    request_id: str = shown(doc="never null, unique")
    priority: int
    terminate_wait_seconds: int
    terminate_old: bool
    params: Mapping[str, Any]
    metadata: Mapping[str, Any] = shown(doc="empty: v5 lets it win over params")
    created_at: datetime
    expires_at: datetime | None


def command_item(command: Command, machines: Mapping[Any, Instance]) -> CommandItem:
    """The superset of http-api 7.9."""
    target = machines.get(command.target_instance_id) if command.target_instance_id else None
    is_switch = command.kind is CommandKind.SWITCH
    return CommandItem(
        id=command.command_id,
        command_id=command.command_id,
        command_type=COMMAND_KIND[command.kind],
        instance_id=instance_word(target) if target is not None else None,
        target_mode=mode(command.target_mode) if is_switch else None,  # T11
        target_pool_id=command.target_pool_id if is_switch else None,
        request_id=command.request_id,
        priority=command.priority,
        terminate_wait_seconds=command.terminate_wait_seconds if command.terminate_old else 0,
        terminate_old=command.terminate_old,
        params=_params(command, target),
        metadata={},
        created_at=command.created_at,
        expires_at=command.expires_at,
    )


def _params(command: Command, target: Instance | None) -> dict[str, Any]:
    match command.kind:
        case CommandKind.LAUNCH:
            params = {
                "target_pool": launch_target(command),
                "az": command.target_az,
                "instance_type": command.instance_type,
                "role_hint": command.params.get("role_hint", "replica"),
                "ami_id": command.ami_id,
            }
            return {name: value for name, value in params.items() if value is not None}
        case CommandKind.TERMINATE:
            return {"instance_id": target.cloud_id if target is not None else None}
        case CommandKind.PROMOTE:
            return {
                "replica_instance_id": target.cloud_id if target is not None else None,
                "old_primary_id": command.params.get("old_primary_id"),
            }
        case CommandKind.APPLY_CONFIG:
            return {"config_updates": dict(command.params.get("config_updates", {}))}
        case _:
            return {}
