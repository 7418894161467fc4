"""The core's words in the wire's, and back (Z1). Nothing else translates."""

from collections.abc import Mapping
from typing import Any, Final

from spotcore.agents import DisplayStatus
from spotcore.clients import ClientStatus
from spotcore.commands import Command, CommandKind
from spotcore.config import AgentConfig, as_values, terminate_wait_minutes
from spotcore.decisions import Action
from spotcore.events import Level
from spotcore.ids import launch_placeholder, replica_placeholder
from spotcore.incidents import Incident, Severity
from spotcore.instances import Instance
from spotcore.pools import Mode
from spotcore.replicas import Replica, ReplicaKind, ReplicaState
from spotcore.switches import SwitchTrigger

CLIENT_STATUS: Final[Mapping[ClientStatus, str]] = {
    ClientStatus.ACTIVE: "active",
    ClientStatus.SUSPENDED: "inactive",
    ClientStatus.DELETED: "deleted",
}
REPLICA_KIND: Final[Mapping[ReplicaKind, str]] = {
    ReplicaKind.MANUAL: "manual",
    ReplicaKind.EMERGENCY_REBALANCE: "automatic-rebalance",
    ReplicaKind.EMERGENCY_TERMINATION: "automatic-termination",
}
TRIGGER: Final[Mapping[SwitchTrigger, str]] = {
    SwitchTrigger.AUTO: "model",
    SwitchTrigger.SCHEDULED: "model",
    SwitchTrigger.MANUAL: "manual",
    SwitchTrigger.MANUAL_PROMOTION: "manual",
    SwitchTrigger.EMERGENCY: "emergency",
    SwitchTrigger.REHOME: "emergency",
}
TRIGGER_IN: Final[Mapping[str, SwitchTrigger]] = {
    "manual": SwitchTrigger.MANUAL,
    "manual-replica-promotion": SwitchTrigger.MANUAL,
    "model": SwitchTrigger.AUTO,
    "automatic": SwitchTrigger.AUTO,
    "auto": SwitchTrigger.AUTO,
    "ml": SwitchTrigger.AUTO,
    "emergency": SwitchTrigger.EMERGENCY,
    "interruption": SwitchTrigger.EMERGENCY,
    "automatic-interruption-failover": SwitchTrigger.EMERGENCY,
}
COMMAND_KIND: Final[Mapping[CommandKind, str]] = {
    CommandKind.SWITCH: "switch",
    CommandKind.PROMOTE: "PROMOTE_REPLICA_TO_PRIMARY",
    CommandKind.LAUNCH: "LAUNCH_INSTANCE",
    CommandKind.TERMINATE: "TERMINATE_INSTANCE",
    CommandKind.APPLY_CONFIG: "APPLY_CONFIG",
    CommandKind.SELF_DESTRUCT: "SELF_DESTRUCT",
}
RECOMMENDED_ACTION: Final[Mapping[Action, str]] = {
    Action.STAY: "stay",
    Action.SWITCH_POOL: "switch_spot",
    Action.SWITCH_TO_SPOT: "switch_spot",
    Action.SWITCH_TO_ONDEMAND: "switch_ondemand",
}
RECOMMENDATION: Final[Mapping[Action, str]] = {
    Action.STAY: "stay",
    Action.SWITCH_POOL: "switch",
    Action.SWITCH_TO_SPOT: "switch",
    Action.SWITCH_TO_ONDEMAND: "switch_to_ondemand",
}
SEVERITY: Final[Mapping[Level, str]] = {
    Level.INFO: "info",
    Level.SUCCESS: "success",
    Level.WARNING: "warning",
    Level.ERROR: "error",
    Level.CRITICAL: "error",
}
SIGNAL_IN: Final[Mapping[str, Severity]] = {
    "rebalance-recommendation": Severity.REBALANCE,
    "rebalance_recommendation": Severity.REBALANCE,
    "rebalance": Severity.REBALANCE,
    "termination-notice": Severity.TERMINATION,
    "termination_notice": Severity.TERMINATION,
    "termination": Severity.TERMINATION,
}
SYNC_STATUS: Final[Mapping[ReplicaState, str]] = {
    ReplicaState.LAUNCHING: "initializing",
    ReplicaState.SYNCING: "syncing",
    ReplicaState.READY: "synced",
}
OFFLINE_WORDS: Final = frozenset({"offline", "stopping", "stopped", "terminated"})
READ_ONLY_CONFIG: Final = frozenset(
    {"terminate_wait_minutes", "replica_count", "decision_engine_active", "config_version"}
)


def config(
    settings: AgentConfig, version: int, *, replica_count: int = 0, engine_active: bool = False
) -> dict[str, Any]:
    """The object of http-api section 5."""
    return {
        **as_values(settings),
        "terminate_wait_minutes": terminate_wait_minutes(settings.terminate_wait_seconds),
        "replica_count": replica_count,
        "decision_engine_active": engine_active,
        "config_version": version,
    }


def display_status(status: DisplayStatus) -> str:
    """The agent's one word, the same on the wire."""
    return status.value


def mode(value: Mode | None) -> str | None:
    """A mode, None staying None."""
    return value.value if value is not None else None


def notice_status(incident: Incident | None) -> str:
    """``none``, ``rebalance`` or ``termination`` (4.1)."""
    return incident.severity.value if incident is not None else "none"


def replica_instance(replica: Replica, instance: Instance | None) -> str:
    """The machine's cloud id, or the placeholder old agents skip (1.4, T13)."""
    if instance is not None and instance.cloud_id is not None:
        return instance.cloud_id
    return replica_placeholder(replica.replica_id)


def instance_word(instance: Instance) -> str:
    """The machine's cloud id, or its launch placeholder (1.4)."""
    return instance.cloud_id or launch_placeholder(instance.instance_id)


def pool(pool_id: str | None) -> dict[str, Any] | None:
    """A pool as the dashboard and v4c read it."""
    if pool_id is None:
        return None
    instance_type, _, az = pool_id.rpartition(".")
    region = az.rstrip("abcdefghijklmnopqrstuvwxyz") or az
    return {"id": pool_id, "name": f"Pool {pool_id}", "instance_type": instance_type, "region": region, "az": az}


def launch_target(command: Command) -> str:
    """What a v5 reads as its target: it launches spot only if the text contains ``spot`` (T07)."""
    kind = "spot" if command.target_mode is Mode.SPOT else "ondemand"
    return f"{kind}.{command.instance_type}.{command.target_az}"


def command_item(command: Command, machines: Mapping[Any, Instance]) -> dict[str, Any]:
    """The superset of http-api 7.9: every key always present, none null that must not be (T04, T10)."""
    target = machines.get(command.target_instance_id) if command.target_instance_id else None
    is_switch = command.kind is CommandKind.SWITCH
    return {
        "id": command.command_id,
        "command_id": command.command_id,
        "command_type": COMMAND_KIND[command.kind],
        "instance_id": instance_word(target) if target is not None else None,
        "target_mode": mode(command.target_mode) if is_switch else None,  # T11
        "target_pool_id": command.target_pool_id if is_switch else None,
        "request_id": command.request_id,
        "priority": command.priority,
        "terminate_wait_seconds": command.terminate_wait_seconds if command.terminate_old else 0,
        "terminate_old": command.terminate_old,
        "params": _params(command, target),
        "metadata": {},  # v5 lets it win over params, so it repeats no key
        "created_at": command.created_at,
        "expires_at": command.expires_at,
    }


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
