"""Agent settings: their defaults and ranges as a table, changes as values, and the +1 version rule (section 3)."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import asdict, evolve, field, fields_dict, frozen

from spotcore.errors import MutuallyExclusive, SpotError, ValidationFailed
from spotcore.pools import parse_pool


@frozen(kw_only=True)
class AgentConfig:
    """Every agent-visible setting (CV-2). At most one of the two modes is on (I3)."""

    enabled: bool = True
    auto_switch_enabled: bool = True
    manual_replica_enabled: bool = False
    auto_terminate_enabled: bool = True
    terminate_wait_seconds: int = 300
    replica_enabled: bool = False  # legacy flag, no effect of its own
    min_savings_percent: Decimal = Decimal("15.0")
    risk_threshold: Decimal = Decimal("0.30")
    max_switches_per_week: int = 10
    max_switches_per_day: int = 3
    min_pool_duration_hours: int = 2
    cleanup_enabled: bool = True
    emergency_rebalance_only: bool = False  # stored and passed on to v5, no effect here
    preferred_azs: tuple[str, ...] = ()
    excluded_pools: tuple[str, ...] = ()
    emergency_min_risk: Decimal = Decimal("0.0")
    failover_on_heartbeat_loss_seconds: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.auto_switch_enabled and self.manual_replica_enabled:
            raise MutuallyExclusive("auto-switch and manual replica exclude each other; switch one of them off")  # I3


SETTINGS: Final = tuple(fields_dict(AgentConfig))

ALL_OFF: Final = AgentConfig(
    enabled=False,
    auto_switch_enabled=False,
    auto_terminate_enabled=False,
    terminate_wait_seconds=0,
    min_savings_percent=Decimal(0),
    risk_threshold=Decimal(0),
    max_switches_per_week=0,
    max_switches_per_day=0,
    min_pool_duration_hours=0,
    cleanup_enabled=False,
)
"""What a machine that may not act is shown (http-api section 5, rule 6). An answer, never stored (CV-2)."""


RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "terminate_wait_seconds": (60, 86_400),
    "min_savings_percent": (0, 90),
    "risk_threshold": (0, 1),
    "max_switches_per_week": (0, 168),
    "max_switches_per_day": (0, 24),
    "min_pool_duration_hours": (0, 168),
    "emergency_min_risk": (0, 1),
    "failover_on_heartbeat_loss_seconds": (300, 86_400),  # or null
}
MOST: Final = {"preferred_azs": 20, "excluded_pools": 100}
"""The limits of lists. Storage keeps both once more, by constraints."""


def _whole(low: int, high: int) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        whole = type(value) is int or (isinstance(value, Decimal) and value == value.to_integral_value())
        return None if whole and low <= value <= high else f"use a whole number from {low} to {high}"

    return problem


def _number(low: int, high: int) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        number = type(value) is int or (isinstance(value, Decimal) and value.is_finite())
        return None if number and low <= value <= high else f"use a number from {low} to {high}"

    return problem


def _flag(value: Any) -> str | None:
    return None if type(value) is bool else "use true or false"


def _heartbeat_loss(value: Any) -> str | None:
    low, high = RANGES["failover_on_heartbeat_loss_seconds"]
    if value is None or _whole(low, high)(value) is None:
        return None
    return f"use null or whole seconds from {low} to {high}"


def _texts(limit: int, each: Callable[[str], object]) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        if not isinstance(value, list | tuple) or not all(
            isinstance(item, str) and item.strip() and len(item) <= 128 for item in value
        ):
            return "use a list of texts of at most 128 characters"
        if len(value) > limit:
            return f"use at most {limit} entries"
        try:
            for item in value:
                each(item)
        except SpotError as refusal:
            return str(next(iter(refusal.details.values()), [refusal.message])[0])
        return None

    return problem


LIMITS: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "enabled": _flag,
    "auto_switch_enabled": _flag,
    "manual_replica_enabled": _flag,
    "auto_terminate_enabled": _flag,
    "terminate_wait_seconds": _whole(*RANGES["terminate_wait_seconds"]),
    "replica_enabled": _flag,
    "min_savings_percent": _number(*RANGES["min_savings_percent"]),
    "risk_threshold": _number(*RANGES["risk_threshold"]),
    "max_switches_per_week": _whole(*RANGES["max_switches_per_week"]),
    "max_switches_per_day": _whole(*RANGES["max_switches_per_day"]),
    "min_pool_duration_hours": _whole(*RANGES["min_pool_duration_hours"]),
    "cleanup_enabled": _flag,
    "emergency_rebalance_only": _flag,
    "preferred_azs": _texts(MOST["preferred_azs"], str.strip),
    "excluded_pools": _texts(MOST["excluded_pools"], parse_pool),
    "emergency_min_risk": _number(*RANGES["emergency_min_risk"]),
    "failover_on_heartbeat_loss_seconds": _heartbeat_loss,
}
"""Setting → what is wrong with a value, or None. One row per setting of AgentConfig."""

_STORED_AS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "min_savings_percent": Decimal,
    "risk_threshold": Decimal,
    "emergency_min_risk": Decimal,
    "preferred_azs": lambda value: tuple(dict.fromkeys(item.strip() for item in value)),
    "excluded_pools": lambda value: tuple(dict.fromkeys(parse_pool(item).pool_id for item in value)),
    "terminate_wait_seconds": int,
    "max_switches_per_week": int,
    "max_switches_per_day": int,
    "min_pool_duration_hours": int,
    "failover_on_heartbeat_loss_seconds": lambda value: None if value is None else int(value),
}


@frozen
class ConfigChange:
    """Settings somebody wants, by name. Unknown names never get here; ranges are checked by ``changed``."""

    wanted: Mapping[str, Any] = field(factory=dict)
    expected_version: int | None = None  # CV-7


def changed(config: AgentConfig, change: ConfigChange) -> AgentConfig:
    """The settings after ``change``; the very same object when nothing really differs (CV-1, MX-9).

    Turning one mode on turns the other off in the same step (section 2). Raises ``ValidationFailed`` naming every bad
    field, ``MutuallyExclusive`` when both modes are asked on (MX-7).
    """
    problems = {name: [text] for name, value in change.wanted.items() if (text := LIMITS[name](value)) is not None}
    if problems:
        raise ValidationFailed("settings out of range; nothing was changed", **problems)
    wanted = {name: _STORED_AS.get(name, lambda v: v)(value) for name, value in change.wanted.items()}
    auto, manual = wanted.get("auto_switch_enabled"), wanted.get("manual_replica_enabled")
    if auto and manual:  # MX-7
        raise MutuallyExclusive("auto-switch and manual replica exclude each other; ask for one of them")
    if auto:
        wanted["manual_replica_enabled"] = False  # MX-1
    elif manual:
        wanted["auto_switch_enabled"] = False  # MX-4
    after = evolve(config, **wanted)
    return config if after == config else after


def out_of_range(config: AgentConfig) -> Iterable[str]:
    """Every setting outside its range, as text that begins with its name: ``changed`` lets none in."""
    for name, (low, high) in RANGES.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            yield f"{name} is {value}, not within {low} and {high}"
    for name, most in MOST.items():
        if len(getattr(config, name)) > most:
            yield f"{name} has more than {most} entries"


def as_values(config: AgentConfig) -> dict[str, Any]:
    """Setting name to value, in the order of the contract."""
    return asdict(config)


def terminate_wait_minutes(seconds: int) -> int:
    """The derived figure: seconds ÷ 60, rounded up."""
    return -(-seconds // 60)
