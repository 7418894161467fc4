"""The one vocabulary of domain events, and what each becomes: audit row, notification, live frame (section 10)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

from spotcore.ids import AgentId, ClientId, InstanceId


class Level(StrEnum):
    """How much an event matters."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class EventKind(StrEnum):
    """Audit event types (http-api 12.2), and the few of our own that no old reader knows."""

    AGENT_REGISTERED = "agent_registered"
    AGENT_REFRESHED = "agent_refreshed"
    AGENT_REHOMED = "agent_rehomed"
    AGENT_REGISTRATION_FAILED = "agent_registration_failed"
    AGENT_TOGGLED = "agent_toggled"
    AGENT_CONFIG_UPDATED = "agent_config_updated"
    AGENT_CONFIG_LAGGING = "agent_config_lagging"
    AGENT_DELETED = "agent_deleted"
    AGENT_RETIRED = "agent_retired"
    AGENT_SHUTDOWN = "agent_shutdown"
    AGENT_UNINSTALLED = "agent_uninstalled"
    AGENT_MARKED_OFFLINE = "agent_marked_offline"
    AGENT_BACK_ONLINE = "agent_back_online"
    AGENT_WITHOUT_PRIMARY = "agent_without_primary"
    CLIENT_CREATED = "client_created"
    CLIENT_DELETED = "client_deleted"
    CLIENT_SUSPENDED = "client_suspended"
    CLIENT_RESUMED = "client_resumed"
    CLIENT_LIMITED = "client_limited"
    CLIENT_DEFAULTS_CHANGED = "client_defaults_changed"
    CLIENT_PURGED = "client_purged"
    TOKEN_REGENERATED = "token_regenerated"
    TOKEN_VIEWED = "token_viewed"
    AUTH_FAILED = "auth_failed"
    MANUAL_SWITCH_REQUESTED = "manual_switch_requested"
    SWITCH_COMMAND_ISSUED = "switch_command_issued"
    SWITCH_COMPLETED = "switch_completed"
    SWITCH_FAILED = "switch_failed"
    SWITCH_SUPERSEDED = "switch_superseded"
    SWITCH_ENRICHED = "switch_enriched"
    COMMAND_QUEUED = "command_queued"
    COMMAND_HANDED_OUT = "command_handed_out"
    COMMAND_COMPLETED = "command_completed"
    COMMAND_FAILED = "command_failed"
    COMMAND_EXPIRED = "command_expired"
    COMMAND_UNDELIVERABLE = "command_undeliverable"
    COMMAND_RETURNED = "command_returned"
    COMMAND_CANCELLED = "command_cancelled"
    COMMAND_NOTED = "command_noted"
    REPLICA_CREATED = "replica_created"
    REPLICA_CHANGED = "replica_changed"
    REPLICA_READY = "replica_ready"
    REPLICA_PROMOTED = "replica_promoted"
    REPLICA_TERMINATED = "replica_terminated"
    REPLICA_FAILED = "replica_failed"
    REPLICAS_FAILING = "replicas_failing"
    REPLICAS_DISABLED = "replicas_disabled"
    INSTANCE_LAUNCH_REQUESTED = "instance_launch_requested"
    INSTANCE_LAUNCH_CONFIRMED = "instance_launch_confirmed"
    INSTANCE_STATE_CHANGED = "instance_state_changed"
    INSTANCE_TERMINATION_REQUESTED = "instance_termination_requested"
    INSTANCE_TERMINATION_CONFIRMED = "instance_termination_confirmed"
    INSTANCE_TERMINATED = "instance_terminated"
    INSTANCE_TERMINATION_FAILED = "instance_termination_failed"
    INSTANCE_TERMINATION_STUCK = "instance_termination_stuck"
    PRIMARY_REPORTED_TERMINATED = "primary_reported_terminated"
    ZOMBIE_REMINDER = "zombie_reminder"
    INSTANCE_DRIFT = "instance_drift"
    REBALANCE_RECOMMENDATION = "rebalance_recommendation"
    TERMINATION_NOTICE = "termination_notice"
    NOTICE_UNKNOWN_INSTANCE = "notice_unknown_instance"
    NOTICE_ON_STANDBY = "notice_on_standby"
    EMERGENCY_REPLICA_CREATED = "emergency_replica_created"
    FAILOVER_COMPLETED = "failover_completed"
    FAILOVER_FAILED = "failover_failed"
    FAILOVER_SLOW = "failover_slow"
    INCIDENT_CLOSED = "incident_closed"
    MODEL_ERROR = "model_error"
    MODEL_TIMEOUT = "model_timeout"
    MODEL_OUTPUT_REJECTED = "model_output_rejected"
    MODEL_CIRCUIT_OPENED = "model_circuit_opened"
    MODEL_ALWAYS_FAILED = "model_always_failed"
    DECISION_ENGINE_UPDATED = "decision_engine_updated"
    ML_MODELS_UPLOADED = "ml_models_uploaded"
    ML_MODELS_REJECTED = "ml_models_rejected"
    ML_MODELS_ACTIVATED = "ml_models_activated"
    ML_MODELS_ROLLBACK = "ml_models_rollback"
    ML_MODELS_DEACTIVATED = "ml_models_deactivated"
    ML_MODEL_FILES_REMOVED = "ml_model_files_removed"
    PRICE_DISCREPANCY = "price_discrepancy"
    PRICE_GAP = "price_gap"
    PRICES_FILLED = "prices_filled"
    PRICE_ALERT = "price_alert"
    CLEANUP_COMPLETED = "cleanup_completed"
    DATA_CLEANUP = "data_cleanup"
    JOB_LATE = "job_late"
    CHANNEL_ADDED = "channel_added"
    CHANNEL_REMOVED = "channel_removed"


@frozen(kw_only=True)
class EventSpec:
    """What a kind of event becomes. ``dedupe`` names the facts that make one notification of many events (NT-1)."""

    audit: Level
    notify: Level | None = None
    dedupe: tuple[str, ...] = ()  # facts; () with a window means one per subject
    window: timedelta | None = None  # None: once for ever per key
    frame: str | None = None  # server-sent event name (http-api 12.3)
    text: str = ""  # message for people; {facts} are filled in, never secrets (NT-3)
    ends_access: bool = False  # live streams of the client are judged anew (Z4)

    @property
    def is_heard(self) -> bool:
        """True when it is relayed to those who listen, beyond its audit row (GR-10)."""
        return self.notify is not None or self.frame is not None or self.ends_access


_I, _S, _W, _E, _C = Level.INFO, Level.SUCCESS, Level.WARNING, Level.ERROR, Level.CRITICAL
_K = EventKind

CATALOGUE: Final[Mapping[EventKind, EventSpec]] = {
    _K.AGENT_REGISTERED: EventSpec(
        audit=_I, notify=_I, dedupe=("agent_id",), text="Agent {logical_agent_id} registered on {machine}"
    ),
    _K.AGENT_REFRESHED: EventSpec(audit=_I),
    _K.AGENT_REHOMED: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("agent_id",),
        window=timedelta(hours=1),
        text="Agent {logical_agent_id} was taken over by {machine}; its old machine is no longer primary",
    ),
    _K.AGENT_REGISTRATION_FAILED: EventSpec(
        audit=_E,
        notify=_W,
        dedupe=("agent_id",),
        window=timedelta(hours=1),
        text="{machine} tried to register as {logical_agent_id} and was refused: {reason}",
    ),
    _K.AGENT_TOGGLED: EventSpec(audit=_I),
    _K.AGENT_CONFIG_UPDATED: EventSpec(audit=_I),
    _K.AGENT_CONFIG_LAGGING: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("agent_id", "config_version"),
        text="Agent {logical_agent_id} still works with config {applied}, current is {config_version}",
    ),
    _K.AGENT_DELETED: EventSpec(
        audit=_I,
        notify=_I,
        dedupe=("agent_id",),
        text="Agent {logical_agent_id} deleted; its machine keeps running",
        frame="AGENT_STATUS_CHANGED",
    ),
    _K.AGENT_RETIRED: EventSpec(audit=_I),
    _K.AGENT_SHUTDOWN: EventSpec(audit=_I),
    _K.AGENT_UNINSTALLED: EventSpec(
        audit=_I, notify=_W, dedupe=("event_id",), text="Agent {logical_agent_id} was uninstalled from {machine}"
    ),
    _K.AGENT_MARKED_OFFLINE: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("event_id",),
        frame="AGENT_STATUS_CHANGED",
        text="Agent {logical_agent_id} is offline: {reason}",
    ),
    _K.AGENT_BACK_ONLINE: EventSpec(
        audit=_I,
        notify=_I,
        dedupe=("event_id",),
        frame="AGENT_STATUS_CHANGED",
        text="Agent {logical_agent_id} is back online",
    ),
    _K.AGENT_WITHOUT_PRIMARY: EventSpec(
        audit=_C,
        notify=_C,
        dedupe=("agent_id",),
        window=timedelta(minutes=15),
        text="Agent {logical_agent_id} has no primary machine",
    ),
    _K.CLIENT_CREATED: EventSpec(audit=_I, notify=_I, dedupe=("client_id",), text="Client {name} created"),
    _K.CLIENT_DELETED: EventSpec(audit=_W, ends_access=True),
    _K.CLIENT_SUSPENDED: EventSpec(audit=_W, ends_access=True),
    _K.CLIENT_RESUMED: EventSpec(audit=_I),
    _K.CLIENT_LIMITED: EventSpec(audit=_I),
    _K.CLIENT_DEFAULTS_CHANGED: EventSpec(audit=_I),
    _K.CLIENT_PURGED: EventSpec(audit=_W),
    _K.TOKEN_REGENERATED: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("event_id",),
        text="The client token was replaced; the old one ends {old_token_ends}",
        ends_access=True,
    ),
    _K.TOKEN_VIEWED: EventSpec(audit=_W),
    _K.AUTH_FAILED: EventSpec(audit=_W),
    _K.MANUAL_SWITCH_REQUESTED: EventSpec(
        audit=_I, notify=_I, dedupe=("command_id",), text="Switch of {logical_agent_id} to {target} queued by a user"
    ),
    _K.SWITCH_COMMAND_ISSUED: EventSpec(
        audit=_I, notify=_I, dedupe=("command_id",), text="Switch of {logical_agent_id} to {target} queued: {reason}"
    ),
    _K.SWITCH_COMPLETED: EventSpec(
        audit=_I,
        notify=_I,
        dedupe=("switch_id",),
        frame="INSTANCE_STATE_CHANGED",
        text="{logical_agent_id} now runs on {machine} ({target}); impact {savings_impact} $/h",
    ),
    _K.SWITCH_FAILED: EventSpec(
        audit=_E, notify=_E, dedupe=("switch_id",), text="Switch of {logical_agent_id} failed: {reason}"
    ),
    _K.SWITCH_SUPERSEDED: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("switch_id",),
        text="A finished switch of {logical_agent_id} came too late; {machine} will be ended",
    ),
    _K.SWITCH_ENRICHED: EventSpec(audit=_I),
    _K.COMMAND_QUEUED: EventSpec(audit=_I),
    _K.COMMAND_HANDED_OUT: EventSpec(audit=_I),
    _K.COMMAND_COMPLETED: EventSpec(audit=_I, frame="COMMAND_EXECUTED"),
    _K.COMMAND_FAILED: EventSpec(
        audit=_E,
        notify=_E,
        dedupe=("command_id",),
        frame="COMMAND_EXECUTED",
        text="Command {command_type} of {logical_agent_id} failed: {reason}",
    ),
    _K.COMMAND_EXPIRED: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("command_id",),
        frame="COMMAND_EXECUTED",
        text="Command {command_type} of {logical_agent_id} expired before it was fetched",
    ),
    _K.COMMAND_UNDELIVERABLE: EventSpec(
        audit=_E,
        notify=_E,
        dedupe=("command_id",),
        frame="COMMAND_EXECUTED",
        text="Command {command_type} of {logical_agent_id} was fetched but never answered",
    ),
    _K.COMMAND_RETURNED: EventSpec(audit=_I),
    _K.COMMAND_CANCELLED: EventSpec(audit=_I, frame="COMMAND_EXECUTED"),
    _K.COMMAND_NOTED: EventSpec(audit=_I),
    _K.REPLICA_CREATED: EventSpec(audit=_I),
    _K.REPLICA_CHANGED: EventSpec(audit=_I),
    _K.REPLICA_READY: EventSpec(
        audit=_I, notify=_I, dedupe=("replica_id",), text="The replica of {logical_agent_id} is ready on {machine}"
    ),
    _K.REPLICA_PROMOTED: EventSpec(
        audit=_I,
        notify=_I,
        dedupe=("replica_id",),
        text="Replica {machine} of {logical_agent_id} was promoted to primary",
    ),
    _K.REPLICA_TERMINATED: EventSpec(
        audit=_I, notify=_I, dedupe=("replica_id",), text="The replica of {logical_agent_id} ended: {reason}"
    ),
    _K.REPLICA_FAILED: EventSpec(
        audit=_E, notify=_W, dedupe=("replica_id",), text="The replica of {logical_agent_id} failed: {reason}"
    ),
    _K.REPLICAS_FAILING: EventSpec(
        audit=_C,
        notify=_C,
        dedupe=("agent_id", "streak"),
        text="{failures} replicas of {logical_agent_id} failed in a row",
    ),
    _K.REPLICAS_DISABLED: EventSpec(audit=_I),
    _K.INSTANCE_LAUNCH_REQUESTED: EventSpec(
        audit=_I,
        notify=_I,
        dedupe=("instance_id",),
        frame="INSTANCE_LAUNCHING",
        text="A machine was requested for {logical_agent_id}: {target}",
    ),
    _K.INSTANCE_LAUNCH_CONFIRMED: EventSpec(
        audit=_I,
        notify=_S,
        dedupe=("instance_id",),
        frame="INSTANCE_RUNNING",
        text="{machine} of {logical_agent_id} is running",
    ),
    _K.INSTANCE_STATE_CHANGED: EventSpec(audit=_I, frame="INSTANCE_STATE_CHANGED"),
    _K.INSTANCE_TERMINATION_REQUESTED: EventSpec(
        audit=_I,
        notify=_W,
        dedupe=("instance_id",),
        frame="INSTANCE_TERMINATING",
        text="{machine} of {logical_agent_id} is to end: {reason}",
    ),
    _K.INSTANCE_TERMINATION_CONFIRMED: EventSpec(
        audit=_I,
        notify=_I,
        dedupe=("instance_id",),
        frame="INSTANCE_TERMINATED",
        text="{machine} of {logical_agent_id} has ended",
    ),
    _K.INSTANCE_TERMINATED: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("instance_id",),
        text="{machine} of {logical_agent_id} has ended: {reason}",
    ),
    _K.INSTANCE_TERMINATION_FAILED: EventSpec(audit=_W),
    _K.INSTANCE_TERMINATION_STUCK: EventSpec(
        audit=_C,
        notify=_C,
        dedupe=("instance_id",),
        text="{machine} of {logical_agent_id} could not be ended after {failures} attempts; it still costs money",
    ),
    _K.PRIMARY_REPORTED_TERMINATED: EventSpec(
        audit=_C,
        notify=_C,
        dedupe=("instance_id",),
        text="A report says that {machine}, the primary of {logical_agent_id}, has ended",
    ),
    _K.ZOMBIE_REMINDER: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("event_id",),
        text="{machine} of {logical_agent_id} no longer serves and still costs money",
    ),
    _K.INSTANCE_DRIFT: EventSpec(audit=_I),
    _K.REBALANCE_RECOMMENDATION: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("incident_id",),
        text="AWS sees a raised interruption risk for {machine} of {logical_agent_id}",
    ),
    _K.TERMINATION_NOTICE: EventSpec(
        audit=_C,
        notify=_C,
        dedupe=("incident_id",),
        frame="EMERGENCY_EVENT",
        text="AWS will take {machine} of {logical_agent_id} back at {deadline}",
    ),
    _K.NOTICE_UNKNOWN_INSTANCE: EventSpec(
        audit=_W,
        notify=_W,
        dedupe=("agent_id", "machine"),
        window=timedelta(hours=1),
        text="A notice for {logical_agent_id} names a machine that is not its own",
    ),
    _K.NOTICE_ON_STANDBY: EventSpec(audit=_W),
    _K.EMERGENCY_REPLICA_CREATED: EventSpec(
        audit=_C,
        notify=_W,
        dedupe=("incident_id",),
        frame="EMERGENCY_EVENT",
        text="A replacement for {logical_agent_id} is being launched in {target}",
    ),
    _K.FAILOVER_COMPLETED: EventSpec(
        audit=_C,
        notify=_W,
        dedupe=("incident_id",),
        frame="EMERGENCY_EVENT",
        text="{logical_agent_id} failed over to {machine} in {failover_ms} ms",
    ),
    _K.FAILOVER_FAILED: EventSpec(
        audit=_C,
        notify=_C,
        dedupe=("incident_id",),
        frame="EMERGENCY_EVENT",
        text="{logical_agent_id} has no successor for {machine}: {reason}",
    ),
    _K.FAILOVER_SLOW: EventSpec(audit=_W),
    _K.INCIDENT_CLOSED: EventSpec(audit=_I),
    _K.MODEL_ERROR: EventSpec(audit=_W),
    _K.MODEL_TIMEOUT: EventSpec(audit=_W),
    _K.MODEL_OUTPUT_REJECTED: EventSpec(audit=_W),
    _K.MODEL_CIRCUIT_OPENED: EventSpec(audit=_W),
    _K.MODEL_ALWAYS_FAILED: EventSpec(
        audit=_W, text="Engine {engine} has given no usable answer for 10 minutes; the built-in rules decide"
    ),
    _K.DECISION_ENGINE_UPDATED: EventSpec(audit=_I, text="Parameters {version} of the engine {name} were stored"),
    _K.ML_MODELS_UPLOADED: EventSpec(audit=_I, text="Model session {session_id} was uploaded"),
    _K.ML_MODELS_REJECTED: EventSpec(audit=_W, text="Model session {session_id} was rejected: {reason}"),
    _K.ML_MODELS_ACTIVATED: EventSpec(audit=_I, text="Model session {session_id} is live"),
    _K.ML_MODELS_ROLLBACK: EventSpec(audit=_W, text="Rolled back to model session {session_id}"),
    _K.ML_MODELS_DEACTIVATED: EventSpec(audit=_W, text="Model session {session_id} is no longer live"),
    _K.ML_MODEL_FILES_REMOVED: EventSpec(audit=_I, text="The files of model session {session_id} were removed"),
    _K.PRICE_DISCREPANCY: EventSpec(audit=_W),
    _K.PRICE_GAP: EventSpec(audit=_I),
    _K.PRICES_FILLED: EventSpec(audit=_W),
    _K.PRICE_ALERT: EventSpec(
        audit=_I,
        notify=_I,
        dedupe=("event_id",),  # the alert itself keeps the hour
        text="Spot price of {pool_id} is {price} $/h, {side} your limit of {threshold} $/h",
    ),
    _K.CLEANUP_COMPLETED: EventSpec(audit=_I),
    _K.DATA_CLEANUP: EventSpec(audit=_I),
    _K.CHANNEL_ADDED: EventSpec(audit=_I),
    _K.CHANNEL_REMOVED: EventSpec(audit=_W),
    _K.JOB_LATE: EventSpec(audit=_W, text="The job {job} last succeeded at {last_success}"),
}


@frozen(kw_only=True)
class Event:
    """Something that happened, once. ``event_id`` is derived, so a repeated transaction repeats no event."""

    event_id: str
    kind: EventKind
    at: datetime
    client_id: ClientId | None
    agent_id: AgentId | None = None
    instance_id: InstanceId | None = None
    actor: str = "system"  # admin | client | agent | system
    level: Level | None = None  # overrides the catalogue's audit level
    facts: Mapping[str, Any] = field(factory=dict)  # plain values, never secrets

    @property
    def spec(self) -> EventSpec:
        """Its row of the catalogue."""
        return CATALOGUE[self.kind]


TOLD_BY: Final = "told_by"  # a fact: another kind of event of the same cause tells people
_LOUDNESS: Final = tuple(Level)


@frozen(kw_only=True)
class Notification:
    """A message to people, unique by ``dedupe_key`` (NT-1). ``client_id`` None is a broadcast."""

    notification_id: str
    client_id: ClientId | None
    severity: Level
    message: str
    at: datetime
    dedupe_key: str
    event_id: str


class _Facts(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "unknown"


def described(kind: EventKind, facts: Mapping[str, Any]) -> str:
    """The kind's sentence for people; a fact it names and nobody gave reads ``unknown``. Empty for a kind without."""
    return CATALOGUE[kind].text.format_map(_Facts({name: _shown(value) for name, value in facts.items()}))


def notification_of(event: Event) -> Notification | None:
    """The message an event becomes, None when it is for the audit log alone."""
    spec = event.spec
    if spec.notify is None or TOLD_BY in event.facts:
        return None
    facts = _Facts(
        event.facts,
        event_id=event.event_id,
        kind=event.kind.value,
        agent_id=event.agent_id,
        instance_id=event.instance_id,
        client_id=event.client_id,
    )
    parts = [event.kind.value, *(str(facts[name]) for name in spec.dedupe if name != "kind")]
    if spec.window is not None:
        parts.append(str(int(event.at.timestamp() // spec.window.total_seconds())))
    return Notification(
        notification_id=event.event_id,
        client_id=event.client_id,
        severity=_severity(event, spec.notify),
        message=described(event.kind, facts),
        at=event.at,
        dedupe_key=":".join(parts),
        event_id=event.event_id,
    )


def _severity(event: Event, usual: Level) -> Level:
    """The kind's own, or the event's where that was toned down."""
    toned_down = event.level is not None and _LOUDNESS.index(event.level) < _LOUDNESS.index(event.spec.audit)
    return min(usual, event.level, key=_LOUDNESS.index) if toned_down and event.level is not None else usual


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S UTC")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value)
