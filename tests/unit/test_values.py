"""Values: pools, modes, money, ids, instants, builds, settings, prices."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotcore import config, prices
from spotcore.builds import ABILITIES, Build, Evidence, judge
from spotcore.config import AgentConfig, ConfigChange
from spotcore.errors import MutuallyExclusive, PoolMismatch, ValidationFailed
from spotcore.ids import AgentId, derived_id, is_cloud_id
from spotcore.instants import require_utc
from spotcore.money import amount, hourly_price
from spotcore.pools import Mode, parse_mode, parse_pool, require_same_family
from spotcore.prices import PriceSource

D = Decimal


@pytest.mark.parametrize("text", ["t3.medium.us-east-1a", "t3.medium.us-east-1.us-east-1a", " t3.medium.us-east-1a "])
def test_every_spelling_of_a_pool_meets_failure_84(text: str) -> None:
    pool = parse_pool(text)
    assert pool.pool_id == "t3.medium.us-east-1a"
    assert parse_pool(pool.pool_id) == pool
    assert pool.pool_id.rpartition(".")[2] == pool.az  # T25
    assert pool.region == "us-east-1"


@pytest.mark.parametrize("text", ["", "t3", "t3.medium", "t3..us-east-1a", "7", "t3.medium.nowhere"])
def test_what_is_no_pool_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        parse_pool(text)
    assert "instance type" in refusal.value.details["pool_id"][0]


def test_a_pool_of_another_family_is_refused() -> None:
    with pytest.raises(PoolMismatch):
        require_same_family(parse_pool("c5.large.us-east-1a"), "m5.large", "us-east-1")
    with pytest.raises(PoolMismatch):
        require_same_family(parse_pool("m5.large.eu-west-1a"), "m5.large", "us-east-1")


@pytest.mark.parametrize(
    ("word", "mode"),
    [("On-Demand", Mode.ONDEMAND), ("on_demand", Mode.ONDEMAND), ("pool", Mode.SPOT), ("SPOT", Mode.SPOT)],
)
def test_every_spelling_of_a_mode_meets(word: str, mode: Mode) -> None:
    assert parse_mode(word) is mode


@pytest.mark.parametrize(
    ("value", "price"),
    [
        ("0.0104004", "0.010400"),
        ("0.0000015", "0.000002"),
        ("0.0000005", None),
        ("1000", "1000.000000"),
        ("1000.0000001", None),
        ("0", None),
        ("-1", None),
        ("NaN", None),
        ("Infinity", None),
    ],
)
def test_hourly_prices_have_six_decimals_half_even_gr6(value: str, price: str | None) -> None:
    assert hourly_price(D(value)) == (D(price) if price else None)
    assert amount(D("0.123456785")) == D("0.12345678")


def test_a_naive_instant_never_enters_the_core_gr5_t24() -> None:
    with pytest.raises(ValidationFailed):
        require_utc(datetime(2026, 3, 2))
    there = datetime(2026, 3, 2, 14, tzinfo=timezone(timedelta(hours=2)))
    assert require_utc(there) == datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_derived_ids_are_the_same_for_the_same_counter_and_differ_otherwise() -> None:
    made = {derived_id(AgentId(agent), number) for agent in "ab" for number in range(50)}
    assert len(made) == 100
    assert derived_id(AgentId("a"), 7) == derived_id(AgentId("a"), 7)


@pytest.mark.parametrize(
    ("text", "fine"),
    [("i-0123456789abcdef0", True), ("i-pending-12345678", False), ("replica-1", False), (None, False)],
)
def test_cloud_ids_have_the_clouds_form(text: str | None, fine: bool) -> None:
    assert is_cloud_id(text) is fine


@pytest.mark.parametrize(
    ("seen", "build"),
    [
        ((Evidence.CLOUD_ACCOUNT,), Build.V5),
        ((Evidence.CLASSIC_CALL,), Build.V4C),
        ((Evidence.MARK_EXECUTED,), Build.V2),
        ((Evidence.NOTICE_ONLY,), Build.V4N),
        ((Evidence.FETCHED_COMMANDS, Evidence.NOTICE_ONLY), Build.UNKNOWN),
        ((Evidence.CLASSIC_CALL, Evidence.NOTICE_ONLY), Build.V4C),
        ((Evidence.NOTICE_ONLY, Evidence.CLASSIC_CALL), Build.V4C),
    ],
)
def test_builds_are_told_apart_by_what_they_send_t22(seen: tuple[Evidence, ...], build: Build) -> None:
    judged: tuple[Build, bool] = (Build.UNKNOWN, False)
    for one in seen:
        judged = judge(*judged, one)
    assert judged[0] is build
    assert ABILITIES[Build.UNKNOWN].can_launch_replica  # an emergency is not dropped on a guess


BAD_SETTINGS: list[tuple[str, Any]] = [
    ("terminate_wait_seconds", 59), ("terminate_wait_seconds", 86_401), ("terminate_wait_seconds", "300"), ("terminate_wait_seconds", True),
    ("min_savings_percent", D("90.1")), ("min_savings_percent", -1), ("risk_threshold", D("1.01")), ("risk_threshold", D("NaN")),
    ("max_switches_per_day", 25), ("max_switches_per_week", 169), ("min_pool_duration_hours", D("1.5")), ("enabled", 1),
    ("failover_on_heartbeat_loss_seconds", 299), ("preferred_azs", ["a"] * 21), ("preferred_azs", "us-east-1a"),
    ("excluded_pools", ["not a pool"]), ("excluded_pools", [7]), ("emergency_min_risk", 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_SETTINGS)
def test_a_setting_out_of_range_names_itself_and_changes_nothing(name: str, value: Any) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        config.changed(AgentConfig(), ConfigChange(wanted={name: value, "cleanup_enabled": False}))
    assert list(refusal.value.details) == [name]


def test_every_setting_has_a_range() -> None:
    assert set(config.LIMITS) == set(config.SETTINGS)


def test_i3_no_config_has_both_modes() -> None:
    with pytest.raises(MutuallyExclusive):
        AgentConfig(auto_switch_enabled=True, manual_replica_enabled=True)


booleans = st.sampled_from([None, True, False])


@given(auto=booleans, manual=booleans, start=st.sampled_from([(False, False), (True, False), (False, True)]))
def test_any_toggle_keeps_i3_and_is_idempotent(
    auto: bool | None, manual: bool | None, start: tuple[bool, bool]
) -> None:
    before = AgentConfig(auto_switch_enabled=start[0], manual_replica_enabled=start[1])
    wanted = {"auto_switch_enabled": auto, "manual_replica_enabled": manual}
    change = ConfigChange(wanted={name: value for name, value in wanted.items() if value is not None})
    if auto and manual:
        with pytest.raises(MutuallyExclusive):
            config.changed(before, change)
        return
    after = config.changed(before, change)
    assert not (after.auto_switch_enabled and after.manual_replica_enabled)
    assert config.changed(after, change) is after


def test_dq1_a_bucket_is_five_minutes_utc() -> None:
    at = datetime(2026, 3, 2, 12, 9, 59, tzinfo=UTC)
    assert prices.bucket_start(at) == datetime(2026, 3, 2, 12, 5, tzinfo=UTC)


@given(
    st.permutations([(source, minute, name) for source in list(PriceSource)[:3] for minute in (0, 1) for name in "ab"])
)
def test_dq4_the_winner_does_not_depend_on_arrival_failure_73(order: list[tuple[PriceSource, int, str]]) -> None:
    start = datetime(2026, 3, 2, 12, tzinfo=UTC)
    keys = [prices.order_key(source, start + timedelta(minutes=minute), name) for source, minute, name in order]
    winner: tuple[int, datetime, str] | None = None
    for key in keys:
        winner = key if winner is None or key < winner else winner
    assert winner == prices.order_key(PriceSource.PRIMARY, start, "a")


@pytest.mark.parametrize(
    ("price", "mean", "last", "suspicious"),
    [
        ("0.1", None, None, True),
        ("0.1", None, "0.1005", False),
        ("0.3", "0.1", None, True),
        ("0.3014", "0.1", None, True),
        ("0.31", "0.1", None, False),
        ("0.096", "0.03", None, False),
    ],
)
def test_dq8_what_agents_fall_back_to_is_flagged(
    price: str, mean: str | None, last: str | None, suspicious: bool
) -> None:
    assert prices.is_suspicious(D(price), D(mean) if mean else None, D(last) if last else None) is suspicious
