"""Every refusal the core can make: one class per stable code.

A code is public. It is never renamed, reused or built from text. Adapters translate codes (HTTP status, exit status);
the core only raises.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar


class SpotError(Exception):
    """Base of every expected failure. ``message`` is safe to show to a caller; ``details`` are plain values."""

    code: ClassVar[str] = "SERVER_ERROR"

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = MappingProxyType(dict(details))


class ValidationFailed(SpotError):
    """A field is missing or malformed; ``details`` maps field name to a list of problems."""

    code = "VALIDATION_ERROR"


class MutuallyExclusive(SpotError):
    """Both modes asked for at once (MX-7, I3)."""

    code = "MUTUALLY_EXCLUSIVE"


class AgentDisabled(SpotError):
    """A switch was asked of a disabled agent (4.7)."""

    code = "AGENT_DISABLED"


class AutoSwitchDisabled(SpotError):
    """An automatic switch was asked while auto-switch is off (4.7)."""

    code = "AUTO_SWITCH_DISABLED"


class ManualReplicaDisabled(SpotError):
    """A replica was asked for outside manual replica mode (E45)."""

    code = "MANUAL_REPLICA_DISABLED"


class ReplicaExists(SpotError):
    """A live replica stands already (I2, MR-6)."""

    code = "REPLICA_EXISTS"


class ReplicaNotReady(SpotError):
    """Promotion of a replica that cannot take over yet (PR-3, MR-14); ``details`` has ``status`` and ``progress``."""

    code = "REPLICA_NOT_READY"


class ReplicaInactive(SpotError):
    """Ending a replica that has ended (E47)."""

    code = "REPLICA_INACTIVE"


class ReplicaNotPromotable(SpotError):
    """Promotion of a replica in a terminal state (PR-2)."""

    code = "REPLICA_NOT_PROMOTABLE"


class NoSuitablePool(SpotError):
    """No pool satisfies the zones and cost asked for."""

    code = "NO_SUITABLE_POOL"


class PoolMismatch(SpotError):
    """A pool of another instance type or region than the agent's (BAD_TARGET)."""

    code = "POOL_MISMATCH"


class NotPrimary(SpotError):
    """A switch aimed at a machine that is not the primary."""

    code = "NOT_PRIMARY"


class UnsupportedOperation(SpotError):
    """The agent's build cannot do this (Z27)."""

    code = "UNSUPPORTED_OPERATION"


class Unauthorized(SpotError):
    """No credentials."""

    code = "UNAUTHORIZED"


class InvalidAuthFormat(SpotError):
    """Credentials that are not a bearer token."""

    code = "INVALID_AUTH_FORMAT"


class InvalidToken(SpotError):
    """An unknown, revoked or wrong kind of token."""

    code = "INVALID_TOKEN"


class InactiveClient(SpotError):
    """The client is suspended and the call is not one an emergency needs (Z26)."""

    code = "INACTIVE_CLIENT"


class Forbidden(SpotError):
    """A client token that names another client, or a live agent of another client (E26)."""

    code = "FORBIDDEN"


class NotFound(SpotError):
    """Unknown, or somebody else's: the two are never told apart (GR-8)."""

    code = "NOT_FOUND"


class ClientExists(SpotError):
    """The client name is taken."""

    code = "CLIENT_EXISTS"


class DuplicateEmail(SpotError):
    """The client e-mail is taken."""

    code = "DUPLICATE_EMAIL"


class StateConflict(SpotError):
    """The state changed underneath (GR-3); the caller may retry."""

    code = "STATE_CONFLICT"


class SwitchBlocked(SpotError):
    """A guard forbids the switch; ``details.guards`` lists every failing one (Z11)."""

    code = "SWITCH_BLOCKED"


class IsPrimary(SpotError):
    """The machine serves the workload and cannot be ended (IN-20, Z8)."""

    code = "IS_PRIMARY"


class LogicalAgentConflict(SpotError):
    """An unexpected machine claims the identity of a live one (RG-8)."""

    code = "LOGICAL_AGENT_CONFLICT"


class InstanceOwned(SpotError):
    """The machine belongs to somebody else (RG-9)."""

    code = "INSTANCE_OWNED"


class LimitReached(SpotError):
    """The client's limit of agents or instances (CL-4)."""

    code = "LIMIT_REACHED"


class ConfigConflict(SpotError):
    """``expected_version`` is not the current one (CV-7); ``details.config`` is the current settings value."""

    code = "CONFIG_CONFLICT"


class DuplicateRequest(SpotError):
    """The same idempotency key is still at work (ID-4)."""

    code = "DUPLICATE_REQUEST"


class IdempotencyKeyReused(SpotError):
    """The same idempotency key with another body (ID-3)."""

    code = "IDEMPOTENCY_KEY_REUSED"


class RateLimited(SpotError):
    """Too many requests or streams; ``details.retry_after_seconds`` says when to come back."""

    code = "RATE_LIMITED"


class UnsupportedFileType(SpotError):
    """An upload of another kind than Z14 accepts; the message says what is accepted and why."""

    code = "UNSUPPORTED_FILE_TYPE"


class UploadDisabled(SpotError):
    """The operator has not allowed uploads."""

    code = "UPLOAD_DISABLED"


class PayloadTooLarge(SpotError):
    """A body over the limit."""

    code = "PAYLOAD_TOO_LARGE"


class ConfirmationRequired(SpotError):
    """A bulk or irreversible action without its confirmation."""

    code = "CONFIRMATION_REQUIRED"


class Unavailable(SpotError):
    """Storage cannot be reached now; nothing was changed."""

    code = "UNAVAILABLE"


class IllegalTransition(SpotError):
    """A life cycle was asked for a step its table does not have: a defect of the caller inside this program."""

    code = "SERVER_ERROR"


class InvariantViolated(SpotError):
    """An outcome would break one of I1…I14; it is refused whole."""

    code = "SERVER_ERROR"
