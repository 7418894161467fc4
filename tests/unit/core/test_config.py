"""Section 3: every setting at its limits and just beyond, and what counts as a change."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore import config
from spotcore.clients import Client
from spotcore.config import ALL_OFF, AgentConfig, ConfigChange
from spotcore.errors import MutuallyExclusive, ValidationFailed
from tests.support.rule_builders import CLIENT, POOL_A, START, D

DEFAULTS = {
    "enabled": True,
    "auto_switch_enabled": True,
    "manual_replica_enabled": False,
    "auto_terminate_enabled": True,
    "terminate_wait_seconds": 300,
    "replica_enabled": False,
    "min_savings_percent": D(15),
    "risk_threshold": D("0.30"),
    "max_switches_per_week": 10,
    "max_switches_per_day": 3,
    "min_pool_duration_hours": 2,
    "cleanup_enabled": True,
    "emergency_rebalance_only": False,
    "preferred_azs": (),
    "excluded_pools": (),
    "emergency_min_risk": D(0),
    "failover_on_heartbeat_loss_seconds": None,
}

FLAGS = [name for name, value in DEFAULTS.items() if isinstance(value, bool)]

GOOD: list[tuple[str, Any]] = [
    *((name, value) for name in FLAGS for value in (True, False)),
    *(("terminate_wait_seconds", value) for value in (60, 61, 86_399, 86_400, D(60))),
    *(("min_savings_percent", value) for value in (0, D("0.0"), D("89.99"), 90, D("90.00"))),
    *(("risk_threshold", value) for value in (0, D("0.01"), 1, D("1.0"))),
    *(("max_switches_per_week", value) for value in (0, 1, 168)),
    *(("max_switches_per_day", value) for value in (0, 1, 24)),
    *(("min_pool_duration_hours", value) for value in (0, 168, D(2))),
    *(("emergency_min_risk", value) for value in (0, D("0.5"), 1)),
    *(("failover_on_heartbeat_loss_seconds", value) for value in (None, 300, 86_400, D(300))),
    *(("preferred_azs", value) for value in ([], ["us-east-1a"], [f"us-east-1{n}" for n in range(20)])),
    *(("excluded_pools", value) for value in ([], [POOL_A], [f"m5.large.us-east-{n}a" for n in range(100)])),
]

BAD: list[tuple[str, Any]] = [
    *((name, value) for name in FLAGS for value in (1, 0, "true", None)),
    *(("terminate_wait_seconds", value) for value in (0, 59, 86_401, D("60.5"), "300", True, None)),
    *(("min_savings_percent", value) for value in (D("-0.01"), D("90.01"), 91, D("NaN"), D("Infinity"), "15", True, None)),
    *(("risk_threshold", value) for value in (D("-0.01"), D("1.01"), 2, D("NaN"), D("-Infinity"), "0.3", None)),
    *(("max_switches_per_week", value) for value in (-1, 169, D("1.5"), True)),
    *(("max_switches_per_day", value) for value in (-1, 25, D("Infinity"))),
    *(("min_pool_duration_hours", value) for value in (-1, 169, D("1.5"), D("NaN"))),
    *(("emergency_min_risk", value) for value in (D("-0.1"), D("1.1"))),
    *(("failover_on_heartbeat_loss_seconds", value) for value in (0, 299, 86_401, False, "300")),
    *(("preferred_azs", value) for value in ("us-east-1a", [7], [""], ["  "], ["a" * 129], ["z"] * 21, None)),
    *(("excluded_pools", value) for value in (POOL_A, [7], ["nowhere"], ["m5.large"], [POOL_A] * 101, None)),
]  # fmt: skip


def named(pair: tuple[str, Any]) -> str:
    text = repr(pair[1])
    return f"{pair[0]}={text if len(text) < 24 else f'{len(pair[1])} entries'}"


def wanted(**settings: Any) -> ConfigChange:
    return ConfigChange(wanted=settings)


def base_for(name: str) -> AgentConfig:
    """A config in which the setting can take any legal value of its own."""
    return AgentConfig(auto_switch_enabled=False) if name.startswith(("auto_switch", "manual_")) else AgentConfig()


def test_3_the_defaults_are_the_tables() -> None:
    assert config.as_values(AgentConfig()) == DEFAULTS
    assert set(config.LIMITS) == set(config.SETTINGS) == set(DEFAULTS)


@pytest.mark.parametrize(("name", "value"), GOOD, ids=map(named, GOOD))
def test_3_a_value_inside_its_limits_is_stored_and_read_back_failure_54(name: str, value: Any) -> None:
    stored = getattr(config.changed(base_for(name), wanted(**{name: value})), name)
    assert (list(stored) if isinstance(value, list) else stored) == value


@pytest.mark.parametrize(("name", "value"), BAD, ids=map(named, BAD))
def test_3_a_value_just_beyond_its_limits_is_refused_by_name_and_nothing_else_is_stored(name: str, value: Any) -> None:
    also = {"cleanup_enabled": False} if name != "cleanup_enabled" else {}
    with pytest.raises(ValidationFailed) as refusal:
        config.changed(base_for(name), wanted(**{name: value}, **also))
    assert list(refusal.value.details) == [name]


def test_3_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(ValidationFailed) as refusal:
        config.changed(AgentConfig(), wanted(terminate_wait_seconds=1, risk_threshold=2, enabled=False))
    assert set(refusal.value.details) == {"terminate_wait_seconds", "risk_threshold"}


@given(
    name=st.sampled_from(["terminate_wait_seconds", "max_switches_per_day", "max_switches_per_week"]),
    value=st.integers(),
)
def test_3_whole_numbers_are_taken_exactly_inside_their_range(name: str, value: int) -> None:
    low, high = {
        "terminate_wait_seconds": (60, 86_400),
        "max_switches_per_day": (0, 24),
        "max_switches_per_week": (0, 168),
    }[name]
    if low <= value <= high:
        assert getattr(config.changed(AgentConfig(), wanted(**{name: value})), name) == value
    else:
        with pytest.raises(ValidationFailed):
            config.changed(AgentConfig(), wanted(**{name: value}))


NO_OPS: list[dict[str, Any]] = [
    {},
    {"enabled": True},
    {"min_savings_percent": D("15.00")},
    {"min_savings_percent": 15},
    {"risk_threshold": D("0.3")},
    {"terminate_wait_seconds": D(300)},
    {"preferred_azs": []},
    {"failover_on_heartbeat_loss_seconds": None},
    {"auto_switch_enabled": True, "manual_replica_enabled": False},
    {**DEFAULTS},
]


@pytest.mark.parametrize("settings", NO_OPS, ids=[str(one)[:60] for one in NO_OPS])
def test_cv3_mx9_a_write_that_differs_in_nothing_gives_the_very_same_config(settings: dict[str, Any]) -> None:
    before = AgentConfig()
    assert config.changed(before, wanted(**settings)) is before


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (["m5.large.us-east-1a", " m5.large.us-east-1a "], ("m5.large.us-east-1a",)),
        (["m5.large.us-east-1.us-east-1a"], ("m5.large.us-east-1a",)),
        (["b.c.us-east-1a", "a.c.us-east-1a"], ("b.c.us-east-1a", "a.c.us-east-1a")),
    ],
)
def test_failure_84_excluded_pools_are_kept_in_one_spelling_and_once(given: list[str], stored: tuple[str, ...]) -> None:
    after = config.changed(AgentConfig(), wanted(excluded_pools=given))
    assert after.excluded_pools == stored
    assert config.changed(after, wanted(excluded_pools=given)) is after


def test_preferred_zones_are_kept_in_order_trimmed_and_once() -> None:
    after = config.changed(AgentConfig(), wanted(preferred_azs=["us-east-1b", " us-east-1a", "us-east-1b"]))
    assert after.preferred_azs == ("us-east-1b", "us-east-1a")


def test_i3_a_config_with_both_modes_cannot_exist() -> None:
    with pytest.raises(MutuallyExclusive):
        AgentConfig(auto_switch_enabled=True, manual_replica_enabled=True)


settings = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "auto_switch_enabled": st.booleans(),
        "manual_replica_enabled": st.booleans(),
        "min_savings_percent": st.decimals(0, 90, places=2),
        "max_switches_per_day": st.integers(0, 24),
        "excluded_pools": st.lists(
            st.sampled_from(["m5.large.us-east-1a", "m5.large.us-east-1.us-east-1a"]), max_size=3
        ),
    },
)


@given(settings)
def test_mx9_a_change_applied_twice_is_applied_once(given: dict[str, Any]) -> None:
    if given.get("auto_switch_enabled") and given.get("manual_replica_enabled"):
        with pytest.raises(MutuallyExclusive):
            config.changed(AgentConfig(), wanted(**given))
        return
    after = config.changed(AgentConfig(), wanted(**given))
    assert config.changed(after, wanted(**given)) is after
    untouched = set(DEFAULTS) - set(given) - {"auto_switch_enabled", "manual_replica_enabled"}
    assert all(getattr(after, name) == DEFAULTS[name] for name in untouched)


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (1, 1), (60, 1), (61, 2), (300, 5), (86_400, 1_440)])
def test_section_5_minutes_are_seconds_rounded_up(seconds: int, minutes: int) -> None:
    assert config.terminate_wait_minutes(seconds) == minutes


def test_rule_6_the_all_off_answer_is_false_and_zero_throughout() -> None:
    values = config.as_values(ALL_OFF)
    assert [name for name in FLAGS if values[name]] == []
    numbers = [name for name, value in values.items() if isinstance(value, Decimal) or type(value) is int]
    assert {values[name] for name in numbers} == {0}


def test_cl7_new_agents_begin_as_their_client_says() -> None:
    client = Client(client_id=CLIENT, name="Acme", created_at=START)
    assert (client.default_auto_switch, client.default_auto_terminate, client.default_terminate_wait_seconds) == (
        True, True, 300,
    )  # fmt: skip
