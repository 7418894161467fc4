"""The core's words in the wire's, and back (Z1). Nothing else translates."""

from collections.abc import Mapping
from typing import Final

from spotcore.agents import DisplayStatus
from spotcore.clients import ClientStatus
from spotcore.commands import Command, CommandKind
from spotcore.decisions import Action
from spotcore.errors import ValidationFailed
from spotcore.events import Level
from spotcore.ids import launch_placeholder, replica_placeholder
from spotcore.incidents import Incident, Severity
from spotcore.instances import Instance
from spotcore.models import SessionState
from spotcore.pools import Mode, parse_mode
from spotcore.replicas import Replica, ReplicaKind, ReplicaState
from spotcore.switches import SwitchTrigger

CLIENT_STATUS: Final[Mapping[ClientStatus, str]] = {
    ClientStatus.ACTIVE: "active",
    ClientStatus.SUSPENDED: "inactive",
    ClientStatus.DELETED: "deleted",
}
SESSION_STATE: Final[Mapping[SessionState, str]] = {  # E67
    SessionState.UPLOADED: "uploaded",
    SessionState.VALIDATING: "uploaded",
    SessionState.VALIDATED: "uploaded",
    SessionState.SHADOW: "uploaded",
    SessionState.ACTIVE: "active",
    SessionState.FALLBACK: "archived",
    SessionState.ARCHIVED: "archived",
    SessionState.REJECTED: "archived",
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


def launch_target(command: Command) -> str:
    """What a v5 reads as its target: it launches spot only if the text contains ``spot`` (T07)."""
    kind = "spot" if command.target_mode is Mode.SPOT else "ondemand"
    return f"{kind}.{command.instance_type}.{command.target_az}"


UNKNOWN_WORDS: Final = frozenset({"", "unknown", "none", "null"})


def known(word: str | None) -> str | None:
    """None for what an agent says when its metadata could not be read."""
    return None if word is None or word.lower() in UNKNOWN_WORDS else word


def mode_of(word: str | None) -> Mode:
    """A mode, unknown for anything an agent may not say."""
    try:
        return parse_mode(word) if word else Mode.UNKNOWN
    except ValidationFailed:
        return Mode.UNKNOWN
