"""Refusals as statuses: the one table of code → HTTP (http-api 1.5)."""

from collections.abc import Mapping
from typing import Any, Final

from spotadapters.wire import objects
from spotcore.config import AgentConfig
from spotcore.errors import SpotError

STATUS: Final[Mapping[str, int]] = {
    "VALIDATION_ERROR": 400,
    "MUTUALLY_EXCLUSIVE": 400,
    "AGENT_DISABLED": 400,
    "MANUAL_REPLICA_DISABLED": 400,
    "REPLICA_EXISTS": 400,
    "REPLICA_NOT_READY": 400,
    "REPLICA_INACTIVE": 400,
    "NO_SUITABLE_POOL": 400,
    "POOL_MISMATCH": 400,
    "NOT_PRIMARY": 400,
    "CONFIRMATION_REQUIRED": 400,
    "UNSUPPORTED_OPERATION": 400,
    "UNSUPPORTED_FILE_TYPE": 400,
    "UNAUTHORIZED": 401,
    "INVALID_AUTH_FORMAT": 401,
    "INVALID_TOKEN": 401,
    "INACTIVE_CLIENT": 403,
    "FORBIDDEN": 403,
    "AUTO_SWITCH_DISABLED": 403,
    "UPLOAD_DISABLED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CLIENT_EXISTS": 409,
    "DUPLICATE_EMAIL": 409,
    "STATE_CONFLICT": 409,
    "SWITCH_BLOCKED": 409,
    "REPLICA_NOT_PROMOTABLE": 409,
    "IS_PRIMARY": 409,
    "LOGICAL_AGENT_CONFLICT": 409,
    "INSTANCE_OWNED": 409,
    "LIMIT_REACHED": 409,
    "CONFIG_CONFLICT": 409,
    "DUPLICATE_REQUEST": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "RATE_LIMITED": 429,
    "SERVER_ERROR": 500,
    "UNAVAILABLE": 503,
}
SERVER_ERROR_TEXT: Final = "Something went wrong on our side. The request id helps us to find it."
UNAVAILABLE_TEXT: Final = "The service cannot answer now. Please try again shortly."  # T27: no word about pools


def details_of(error: SpotError) -> Mapping[str, Any] | None:
    """The details a caller may see, in wire words."""
    match error.code:
        case "SERVER_ERROR" | "UNAVAILABLE":
            return None
        case "CONFIG_CONFLICT":
            settings, version = error.details["config"], error.details["config_version"]
            assert isinstance(settings, AgentConfig)
            return {"config": objects.config(settings, version)}
        case code:
            inside = (
                ("constraint",) if code == "VALIDATION_ERROR" else ("constraint", "agent_id")
            )  # there it is a field
            return {name: value for name, value in error.details.items() if name not in inside}


def message_of(error: SpotError) -> str:
    """The text a caller may see."""
    return {"SERVER_ERROR": SERVER_ERROR_TEXT, "UNAVAILABLE": UNAVAILABLE_TEXT}.get(error.code, error.message)
