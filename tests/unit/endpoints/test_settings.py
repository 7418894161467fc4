"""E18, E19, E20, E25: every setting under both spellings and both paths, its range, its default, and the version."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import V4c
from tests.unit.endpoints.desk import ADMIN, Desk, mirrored, problems, refusal

CONFIG_FIELDS = {
    "enabled", "auto_switch_enabled", "manual_replica_enabled", "auto_terminate_enabled", "terminate_wait_seconds",
    "terminate_wait_minutes", "replica_enabled", "replica_count", "min_savings_percent", "risk_threshold",
    "max_switches_per_week", "max_switches_per_day", "min_pool_duration_hours", "cleanup_enabled",
    "emergency_rebalance_only", "preferred_azs", "excluded_pools", "emergency_min_risk",
    "failover_on_heartbeat_loss_seconds", "decision_engine_active", "config_version",
}  # fmt: skip
STORED = {
    "success", "auto_switch_enabled", "manual_replica_enabled", "auto_terminate_enabled", "terminate_wait_seconds",
    "config_version",
}  # fmt: skip
POOL = "t3.medium.us-east-1c"
# setting: (values that are taken, with what is stored where that differs), (values that are refused)
FLAGS = ((True, False, 1, 0), ("true", 2, -1, 0.5, [], {}, "1"))
SETTINGS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "auto_switch_enabled": FLAGS,
    "manual_replica_enabled": FLAGS,
    "auto_terminate_enabled": FLAGS,
    "replica_enabled": FLAGS,
    "cleanup_enabled": FLAGS,
    "emergency_rebalance_only": FLAGS,
    "terminate_wait_seconds": ((60, 61, 86_400), (59, 0, -1, 86_401, 60.5, "60", True, [60])),
    "min_savings_percent": ((0, 0.5, 90), (-0.01, 90.01, "15", True, [])),
    "risk_threshold": ((0, 0.25, 1), (-0.01, 1.01, "0.3", True, {})),
    "emergency_min_risk": ((0, 0.999, 1), (-1, 1.000001, "0", False)),
    "max_switches_per_week": ((0, 1, 168), (-1, 169, 1.5, "3", True)),
    "max_switches_per_day": ((0, 1, 24), (-1, 25, 0.1, "3", True)),
    "min_pool_duration_hours": ((0, 1, 168), (-1, 169, 2.2, "2", True)),
    "preferred_azs": (
        ([], ["us-east-1a"], [f"us-east-1{c}" for c in "abcdefghijklmnopqrst"]),
        ([f"us-east-1{c}" for c in "abcdefghijklmnopqrstu"], "us-east-1a", [1], [""], ["x" * 129], {}, [None]),
    ),
    "excluded_pools": (
        ([], [POOL], [f"t{n}.medium.us-east-1a" for n in range(100)]),
        ([f"t{n}.medium.us-east-1a" for n in range(101)], POOL, ["t3.medium"], [7], [""], [None]),
    ),
    "failover_on_heartbeat_loss_seconds": ((300, 86_400), (299, 86_401, 0, 300.5, "300", True)),
}  # fmt: skip
PATHS = ("config", "settings")


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> V4c:
    agent: V4c = desk.host("v4c", tenant, logical="web")
    return agent


def change(host: V4c, path: str, body: Any, **more: Any) -> Reply:
    return host.tenant.post(f"/api/client/agents/{host.agent_id}/{path}", body, **more)


def config(host: V4c) -> Any:
    return host.get("/config").data


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


# ---- E18


def test_e18_is_the_object_of_section_5_and_the_agents_id(host: V4c) -> None:
    data = mirrored(host.get("/config"))
    assert set(data) == CONFIG_FIELDS | {"agent_id"}
    assert data["agent_id"] == host.agent_id


def test_e18_tells_its_version_as_an_etag_and_304_to_who_has_it_cv_6(host: V4c) -> None:
    path = f"/api/agents/{host.agent_id}/config"
    first = host.tenant.get(path)
    assert first.headers["etag"] == '"1"'
    again = host.tenant.get(path, headers={"If-None-Match": '"1"'})
    assert (again.status, again.body, again.headers["etag"]) == (304, "", '"1"')
    change(host, "settings", {"risk_threshold": 0.9})
    newer = host.tenant.get(path, headers={"If-None-Match": '"1"'})
    assert (newer.status, newer.headers["etag"], newer.data["risk_threshold"]) == (200, '"2"', 0.9)


def test_e18_counts_the_live_replica_c43(host: V4c) -> None:
    change(host, "config", {"manualReplicaEnabled": True})
    assert config(host)["replica_count"] == 1
    change(host, "config", {"manualReplicaEnabled": False})
    assert config(host)["replica_count"] == 0


# ---- E19


@pytest.mark.parametrize(("body", "enabled"), [({}, True), ({"enabled": None}, True), ({"enabled": False}, False),
                                               ({"enabled": 0}, False), ({"enabled": 1}, True), (None, True)])  # fmt: skip
def test_e19_switches_as_asked_and_on_by_default(host: V4c, body: Any, enabled: bool) -> None:
    answer = change(host, "toggle-enabled", body)
    assert answer.status == 200
    assert answer.data == {"success": True, "enabled": enabled, "config_version": 1 if enabled else 2}
    assert config(host)["enabled"] is enabled


@pytest.mark.parametrize("value", ["true", 2, [], {}, 0.5])
def test_e19_takes_nothing_but_a_boolean(host: V4c, value: Any) -> None:
    assert problems(change(host, "toggle-enabled", {"enabled": value})) == ["enabled"]
    assert config(host)["config_version"] == 1


def test_e19_audits_a_change_and_a_repeat_is_none(desk: Desk, host: V4c) -> None:
    for enabled in (False, False, True, True):
        change(host, "toggle-enabled", {"enabled": enabled})
    assert config(host)["config_version"] == 3
    assert len(desk.events(EventKind.AGENT_TOGGLED)) == 2
    assert {event.actor for event in desk.events(EventKind.AGENT_TOGGLED)} == {"client"}


def test_e19_no_other_path_can_disable_an_agent(host: V4c) -> None:
    for path in PATHS:
        assert change(host, path, {"enabled": False}).status == 200
    assert config(host)["enabled"] is True
    assert config(host)["config_version"] == 1


# ---- E20 and E25: every setting


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_takes_its_whole_range_under_both_spellings(host: V4c, path: str, setting: str) -> None:
    for value in SETTINGS[setting][0]:
        for name in (setting, camel(setting)):
            answer = change(host, path, {name: value})
            assert answer.status == 200, (name, value, answer)
            assert set(answer.data) == STORED
            assert config(host)[setting] == value
            assert type(config(host)[setting]) is not bool or value in (0, 1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_takes_what_is_out_of_range_or_of_another_type(host: V4c, path: str, setting: str) -> None:
    before = config(host)
    for value in SETTINGS[setting][1]:
        answer = change(host, path, {"cleanup_enabled": False, setting: value})
        named = problems(answer)
        assert len(named) == 1, value
        assert named[0].split(".")[0] == setting, value
        assert config(host) == before, value  # nothing of the request was taken


@pytest.mark.parametrize("path", PATHS)
def test_null_is_absent_for_every_setting_but_the_one_that_can_be_null_1_3(host: V4c, path: str) -> None:
    change(host, path, {"failover_on_heartbeat_loss_seconds": 300})
    before = config(host)
    nullable = "failover_on_heartbeat_loss_seconds"
    assert change(host, path, dict.fromkeys(set(SETTINGS) - {nullable})).status == 200
    assert config(host) == before
    for name in (nullable, camel(nullable)):
        change(host, path, {nullable: 300})
        change(host, path, {name: None})
        assert config(host)[nullable] is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("minutes", "seconds"), [(1, 60), (5, 300), (1440, 86_400)])
def test_minutes_are_another_way_to_say_the_wait(host: V4c, path: str, minutes: int, seconds: int) -> None:
    for name in ("terminateWaitMinutes", "terminate_wait_minutes"):
        change(host, path, {"terminate_wait_seconds": 77})
        assert change(host, path, {name: minutes}).data["terminate_wait_seconds"] == seconds
        assert config(host)["terminate_wait_minutes"] == minutes


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("minutes", [0, -1, 1441, 1.5, "5", True, [5]])
def test_minutes_outside_1_to_1440_are_refused(host: V4c, path: str, minutes: Any) -> None:
    named = problems(change(host, path, {"terminateWaitMinutes": minutes}))
    assert [name.lower().replace("_", "") for name in named] == ["terminatewaitminutes"]  # the field that was sent
    assert config(host)["terminate_wait_seconds"] == 300


def test_seconds_win_over_minutes_for_they_are_the_stored_word(host: V4c) -> None:
    body = {"terminate_wait_minutes": 9, "terminate_wait_seconds": 120}
    assert change(host, "settings", body).data["terminate_wait_seconds"] == 120


@pytest.mark.parametrize(("seconds", "minutes"), [(60, 1), (61, 2), (119, 2), (120, 2), (86_400, 1440)])
def test_minutes_read_are_seconds_rounded_up_5(host: V4c, seconds: int, minutes: int) -> None:
    change(host, "settings", {"terminate_wait_seconds": seconds})
    assert config(host)["terminate_wait_minutes"] == minutes


@pytest.mark.parametrize("path", PATHS)
def test_counts_and_derived_fields_are_read_only_and_no_error(host: V4c, path: str) -> None:
    before = config(host)
    body = {"replica_count": 5, "config_version": 99, "decision_engine_active": True, "agent_id": "x", "colour": "red"}
    assert change(host, path, body).status == 200
    assert config(host) == before


def test_the_canonical_spelling_of_the_path_wins_over_the_other(host: V4c) -> None:
    both = {"auto_terminate_enabled": True, "autoTerminateEnabled": False}
    assert change(host, "config", both).data["auto_terminate_enabled"] is False
    assert change(host, "settings", both).data["auto_terminate_enabled"] is True


def test_lists_are_trimmed_deduplicated_and_normalised(host: V4c) -> None:
    body = {"preferred_azs": [" us-east-1b ", "us-east-1b"], "excluded_pools": ["t3.medium.us-east-1.us-east-1a", POOL]}
    change(host, "settings", body)
    assert config(host)["preferred_azs"] == ["us-east-1b"]
    assert config(host)["excluded_pools"] == ["t3.medium.us-east-1a", POOL]


def test_several_bad_settings_are_named_together_and_none_is_taken(host: V4c) -> None:
    answer = change(host, "settings", {"risk_threshold": 2, "max_switches_per_day": 99, "cleanup_enabled": False})
    assert problems(answer) == ["max_switches_per_day", "risk_threshold"]
    assert config(host)["cleanup_enabled"] is True


# ---- the version (CV-1…CV-7)


@pytest.mark.parametrize("path", PATHS)
def test_one_request_is_one_version_however_many_settings_it_changes_cv_1(host: V4c, path: str) -> None:
    body = {"risk_threshold": 0.9, "cleanup_enabled": False, "terminate_wait_seconds": 60}
    assert [change(host, path, body).data["config_version"] for _ in range(3)] == [2, 2, 2]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [{}, None, {"auto_switch_enabled": True}, {"risk_threshold": 0.30}])
def test_no_effective_change_is_no_version_and_no_audit_row_mx_9(desk: Desk, host: V4c, path: str, body: Any) -> None:
    assert change(host, path, body).data["config_version"] == 1
    assert desk.events(EventKind.AGENT_CONFIG_UPDATED) == []


@pytest.mark.parametrize("path", PATHS)
def test_a_stale_expected_version_is_a_conflict_that_shows_the_current_object_cv_7(host: V4c, path: str) -> None:
    assert change(host, path, {"risk_threshold": 0.5, "expected_version": 1}).status == 200
    answer = change(host, path, {"risk_threshold": 0.7, "expected_version": 1})
    assert refusal(answer) == (409, "CONFIG_CONFLICT")
    assert set(answer.body["details"]) == {"config"}
    current = answer.body["details"]["config"]
    assert set(current) == CONFIG_FIELDS
    assert (current["risk_threshold"], current["config_version"]) == (0.5, 2)
    assert config(host)["risk_threshold"] == 0.5


@pytest.mark.parametrize("value", ["1", 1.5, True, [1]])
def test_an_expected_version_is_a_whole_number(host: V4c, value: Any) -> None:
    assert problems(change(host, "config", {"expected_version": value})) == ["expected_version"]


# ---- the two modes


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("names", [("auto_switch_enabled", "manual_replica_enabled"),
                                   ("autoSwitchEnabled", "manualReplicaEnabled"),
                                   ("auto_switch_enabled", "manualReplicaEnabled")])  # fmt: skip
def test_both_modes_on_at_once_is_refused_and_nothing_changes_z2(host: V4c, path: str, names: tuple[str, str]) -> None:
    before = config(host)
    answer = change(host, path, {**dict.fromkeys(names, True), "cleanup_enabled": False})
    assert refusal(answer) == (400, "MUTUALLY_EXCLUSIVE")
    assert "details" not in answer.body
    assert config(host) == before


@pytest.mark.parametrize("path", PATHS)
def test_turning_one_mode_on_turns_the_other_off_in_the_same_version_rule_2(host: V4c, path: str) -> None:
    seen = []
    for body in ({"manual_replica_enabled": True}, {"auto_switch_enabled": True}):
        data = change(host, path, body).data
        seen.append((data["auto_switch_enabled"], data["manual_replica_enabled"], data["config_version"]))
    assert seen == [(False, True, 2), (True, False, 3)]


@pytest.mark.parametrize("off", [{"manual_replica_enabled": False}, {"auto_switch_enabled": True}])
def test_leaving_manual_mode_ends_its_replica_and_says_so_in_the_audit_log_rule_3(
    desk: Desk, host: V4c, off: Any
) -> None:
    change(host, "config", {"manualReplicaEnabled": True})
    assert host.get("/replicas").data["total"] == 1
    change(host, "config", off)
    assert host.get("/replicas").data["total"] == 0
    assert len(desk.events(EventKind.REPLICAS_DISABLED)) == 1


def test_saving_the_form_unchanged_ends_no_replica_rule_3_c32(desk: Desk, host: V4c) -> None:
    change(host, "config", {"manualReplicaEnabled": True})
    before = [row["id"] for row in host.get("/replicas").data["replicas"]]
    form = {"autoSwitchEnabled": False, "manualReplicaEnabled": True, "autoTerminateEnabled": True,
            "terminateWaitMinutes": 5}  # fmt: skip
    for _ in range(3):
        assert change(host, "config", form).data["config_version"] == 2
    assert [row["id"] for row in host.get("/replicas").data["replicas"]] == before
    assert desk.events(EventKind.REPLICAS_DISABLED) == []


def test_a_v5_is_sent_the_change_as_apply_config_and_a_newer_one_replaces_it_rule_8(desk: Desk, tenant: Tenant) -> None:
    modern = desk.host("v5", tenant)
    for body in ({"auto_terminate_enabled": False}, {"emergency_rebalance_only": True}):
        change(modern, "settings", body)
    [command] = modern.commands()
    assert command["command_type"] == "APPLY_CONFIG"
    assert command["priority"] == 10
    assert command["params"] == {
        "config_updates": {
            "auto_switching": True, "auto_terminate": False, "manual_replica": False, "emergency_only": True,
        }
    }  # fmt: skip


@pytest.mark.parametrize("build", ["v2", "v4c", "v4n"])
def test_no_other_build_is_sent_one_cm_1(desk: Desk, tenant: Tenant, build: str) -> None:
    host = desk.host(build, tenant)
    change(host, "settings", {"auto_terminate_enabled": False})
    assert not tenant.aggregate(host.agent_id).commands


# ---- who may


@pytest.mark.parametrize("path", ["toggle-enabled", "config", "settings"])
def test_the_operator_may_for_any_client_and_is_named_in_the_audit_log(desk: Desk, host: V4c, path: str) -> None:
    body = {"enabled": False} if path == "toggle-enabled" else {"risk_threshold": 0.9}
    answer = desk.call("POST", f"/api/client/agents/{host.agent_id}/{path}", body, token=ADMIN)
    assert (answer.status, answer.data["config_version"]) == (200, 2)
    kind = EventKind.AGENT_TOGGLED if path == "toggle-enabled" else EventKind.AGENT_CONFIG_UPDATED
    [event] = desk.events(kind)
    assert (event.actor, event.client_id) == ("admin", host.tenant.client_id)
