"""E17: what each build sends, what it is told, and what a heartbeat may never do (AG-1…AG-4, Z23, T03, T18)."""

from typing import Any

import pytest

from spotcore.events import EventKind
from tests.support.server import Reply, Tenant
from tests.support.wire_agents import TYPE
from tests.unit.endpoints.desk import BUILDS, NOBODY, Desk, mirrored, refusal

FIELDS = {
    "success": bool, "acknowledged": bool, "agent_id": str, "role": str, "status": str, "server_time": str,
    "poll_hint_seconds": int, "config_version": int, "config_changed": bool, "commands_pending": bool, "config": dict,
}  # fmt: skip
ONLINE = ("online", "running", "ready", "", "ONLINE", "switching", "error", "disabled", "whatever", None)
OFFLINE = ("offline", "stopping", "stopped", "terminated", "Offline", "STOPPED")


@pytest.fixture
def host(desk: Desk, tenant: Tenant) -> Any:
    return desk.host("v4c", tenant, logical="web")


def beat(host: Any, body: Any) -> Reply:
    answer: Reply = host.post("/heartbeat", body)
    return answer


def link(host: Any) -> str:
    return str(host.get("").data["status"])


def machine(tenant: Tenant, host: Any) -> Any:
    return tenant.aggregate(host.agent_id).primary


def inventory(*entries: Any, **more: Any) -> dict[str, Any]:
    return {"inventory_snapshot": {"instances": list(entries), "count": len(entries), **more}}


# ---- the answer


@pytest.mark.parametrize("build", BUILDS)
def test_every_build_is_told_the_same_fields_at_the_top_and_in_data_cv_4(
    desk: Desk, tenant: Tenant, build: str
) -> None:
    host = desk.host(build, tenant)
    data = mirrored(host.heartbeat())
    assert {name: type(value) for name, value in data.items()} == FIELDS
    assert (data["success"], data["acknowledged"]) == (True, True)
    assert (data["agent_id"], data["role"], data["status"]) == (host.agent_id, "primary", "online")
    assert data["server_time"] == "2026-03-02T12:00:00Z"
    assert data["poll_hint_seconds"] == 15
    assert (data["config_version"], data["config_changed"], data["commands_pending"]) == (1, False, False)
    assert data["config"]["enabled"] is True


def test_the_config_in_the_answer_is_the_one_e18_gives(host: Any) -> None:
    told = host.get("/config").data
    assert host.heartbeat().data["config"] == {name: value for name, value in told.items() if name != "agent_id"}


def test_status_is_the_envelopes_at_the_top_and_the_agents_in_data(host: Any) -> None:
    answer = beat(host, {})
    assert (answer.body["status"], answer.data["status"]) == ("success", "online")


def test_a_change_shows_once_in_the_next_answer_and_the_version_says_which_cv_4(tenant: Tenant, host: Any) -> None:
    tenant.post(f"/api/client/agents/{host.agent_id}/settings", {"risk_threshold": 0.5})
    first, second = beat(host, {}), beat(host, {})
    assert [(one.data["config_version"], one.data["config_changed"]) for one in (first, second)] == [
        (2, True), (2, False),
    ]  # fmt: skip
    assert first.data["config"]["risk_threshold"] == 0.5


def test_commands_pending_says_whether_something_waits(tenant: Tenant, host: Any) -> None:
    tenant.post(f"/api/client/instances/{host.machine}/force-switch", {"target": "ondemand"})
    assert beat(host, {}).data["commands_pending"] is True
    host.commands()
    assert beat(host, {}).data["commands_pending"] is False  # handed out: executing
    assert beat(host, {}).data["status"] == "switching"


def test_during_an_incident_agents_are_asked_to_poll_every_5_seconds_cv_4(host: Any) -> None:
    host.rebalance()
    assert beat(host, {}).data["poll_hint_seconds"] == 5


def test_a_disabled_agent_is_told_so_and_stays_online_behind_it_e19(tenant: Tenant, host: Any) -> None:
    tenant.post(f"/api/client/agents/{host.agent_id}/toggle-enabled", {"enabled": False})
    answer = beat(host, {"status": "disabled", "instance_id": host.machine})
    assert (answer.data["status"], answer.data["role"]) == ("disabled", "primary")
    assert answer.data["config"]["enabled"] is False
    assert tenant.aggregate(host.agent_id).agent.link == "online"


def test_the_legacy_shape_is_the_data_and_never_empty_t03(host: Any) -> None:
    answer = host.post("/heartbeat", {}, headers={"X-Response-Shape": "legacy"})
    assert set(answer.body) == set(FIELDS)


# ---- the words of ``status``


@pytest.mark.parametrize("word", ONLINE)
def test_every_word_but_those_of_a_clean_stop_counts_as_online(desk: Desk, host: Any, word: str | None) -> None:
    desk.tick(130)
    assert link(host) == "offline"
    assert beat(host, {"status": word, "instance_id": host.machine}).data["status"] == "online"


@pytest.mark.parametrize("word", OFFLINE)
def test_a_clean_stop_takes_the_agent_offline_at_once_ag_3(desk: Desk, host: Any, word: str) -> None:
    assert beat(host, {"status": word, "instance_id": host.machine}).data["status"] == "offline"
    assert link(host) == "offline"
    assert len(desk.events(EventKind.AGENT_MARKED_OFFLINE)) == 1


def test_offline_and_back_are_told_once_each_way_however_often_they_are_said_ag_7(desk: Desk, host: Any) -> None:
    for status in ("offline", "offline", "online", "online"):
        beat(host, {"status": status, "instance_id": host.machine})
    assert len(desk.events(EventKind.AGENT_MARKED_OFFLINE)) == 1
    assert len(desk.events(EventKind.AGENT_BACK_ONLINE)) == 1


def test_a_heartbeat_never_deletes_disables_or_errs_whatever_it_says_ag_3(tenant: Tenant, host: Any) -> None:
    for status in ("deleted", "error", "disabled", "switching"):
        beat(host, {"status": status, "enabled": False, "role": "retired", "agent_id": "x"})
    agent = tenant.aggregate(host.agent_id).agent
    assert (agent.life, agent.config.enabled, agent.config_version) == ("live", True, 1)
    assert link(host) == "online"


# ---- which machine speaks (Z23)


@pytest.mark.parametrize(
    "body",
    [{}, {"monitored_instances": []}, {"monitored_instances": ["i-0a", "i-0b"]}, {"monitored_instances": [None]},
     {"instance_id": None}, {"instance_id": "unknown"}, {"instance_id": "replica-12345678"}, {"instance_id": 7},
     {"monitored_instances": "i-0fff"}, {"monitored_instances": ["unknown"]}, {"instance_id": "x" * 129}],
)  # fmt: skip
def test_a_heartbeat_without_a_usable_machine_counts_for_the_agent_z23(desk: Desk, host: Any, body: Any) -> None:
    desk.tick(130)
    answer = beat(host, body)
    assert (answer.status, answer.data["role"], answer.data["status"]) == (200, "primary", "online")


@pytest.mark.parametrize("body", [{"instance_id": "i-0fff"}, {"monitored_instances": ["i-0fff"]}])
def test_a_machine_that_is_nobodys_is_retired_and_keeps_nobody_alive(desk: Desk, host: Any, body: Any) -> None:
    desk.tick(130)
    answer = beat(host, body)
    assert (answer.status, answer.data["role"], answer.data["status"]) == (200, "retired", "offline")
    assert answer.data["config"]["enabled"] is False


def test_another_tenants_machine_reads_exactly_like_an_unknown_one_gr8(desk: Desk, host: Any) -> None:
    foreign = desk.host("v4c", desk.client("Other"))
    unknown, theirs = (beat(host, {"instance_id": one}) for one in ("i-0fff", foreign.machine))
    assert unknown.body == theirs.body
    assert link(foreign) == "online"


def test_instance_id_wins_over_the_monitored_list(host: Any) -> None:
    body = {"instance_id": host.machine, "monitored_instances": ["i-0fff"]}
    assert beat(host, body).data["role"] == "primary"


def test_an_offline_word_of_a_zombie_does_not_silence_the_primary_z23(desk: Desk, tenant: Tenant, host: Any) -> None:
    desk.tick(121)
    new = desk.host("v4c", tenant, logical="web")
    assert new.agent_id == host.agent_id
    assert beat(host, {"instance_id": host.machine}).data["role"] == "retired"
    assert host.stop().status == 200  # names no machine, while the zombie was heard just now
    assert link(new) == "online"
    assert beat(host, {"status": "offline", "instance_id": host.machine}).data["role"] == "retired"
    assert link(new) == "online"


def test_a_retired_machine_gets_every_boolean_false_and_every_number_0_rule_6(
    desk: Desk, tenant: Tenant, host: Any
) -> None:
    desk.tick(121)
    desk.host("v4c", tenant, logical="web")
    config = beat(host, {"instance_id": host.machine}).data["config"]
    version = config.pop("config_version")
    assert version == 1
    assert all(value in (False, 0, None, []) for value in config.values())


# ---- evidence, drift and what is filled (AG-3)


@pytest.mark.parametrize("mode", ["spot", "ondemand"])
def test_an_unknown_mode_is_filled_by_the_first_evidence_and_never_changed_again_ag_3(
    desk: Desk, tenant: Tenant, mode: str
) -> None:
    host = desk.host("v4c", tenant, mode="unknown")
    beat(host, {"instance_id": host.machine, "mode": mode})
    found = machine(tenant, host)
    assert (found.mode, found.pool_id) == (mode, f"{TYPE}.us-east-1a" if mode == "spot" else None)
    beat(host, {"instance_id": host.machine, "mode": "ondemand" if mode == "spot" else "spot"})
    assert machine(tenant, host).mode == mode


def test_type_zone_and_mode_that_differ_are_drift_and_nothing_more(desk: Desk, tenant: Tenant, host: Any) -> None:
    said = {"instance_id": host.machine, "instance_type": "t3.large", "az": "us-east-1c", "current_mode": "ondemand"}
    for _ in range(2):
        beat(host, {**said, "current_pool_id": "x.us-east-1c", "spot_price": 9, "ondemand_price": 9})
    found = machine(tenant, host)
    assert (found.instance_type, found.az, found.mode) == (TYPE, "us-east-1a", "spot")
    assert found.drift == "az=us-east-1c, instance_type=t3.large, mode=ondemand"
    assert len(desk.events(EventKind.INSTANCE_DRIFT)) == 1
    assert all(row.price != 9 for _, row in desk.tables.raw.values())


@pytest.mark.parametrize("value", [None, "unknown", "", 7, ["t3"]])
def test_metadata_a_host_could_not_read_is_no_drift(desk: Desk, tenant: Tenant, host: Any, value: Any) -> None:
    beat(host, {"instance_id": host.machine, "instance_type": value, "az": value, "mode": value})
    assert machine(tenant, host).drift is None
    assert desk.events(EventKind.INSTANCE_DRIFT) == []


@pytest.mark.parametrize(
    ("body", "build"),
    [({"instance_id": "{machine}"}, "v4c"), ({"monitored_instances": ["{machine}"]}, "v2"),
     ({"monitored_instances": []}, "v5"), ({"status": "online"}, "v5")],
)  # fmt: skip
def test_what_a_heartbeat_says_of_the_build_3_5(desk: Desk, tenant: Tenant, body: Any, build: str) -> None:
    host = desk.host("v5", tenant)
    filled = {name: _filled(value, host.machine) for name, value in body.items()}
    beat(host, filled)
    assert tenant.aggregate(host.agent_id).agent.build == build


def _filled(value: Any, machine_id: str) -> Any:
    if isinstance(value, list):
        return [_filled(one, machine_id) for one in value]
    return value.format(machine=machine_id)


# ---- v5's inventory (T18)


@pytest.mark.parametrize(("pool", "mode"), [("t3.medium.us-east-1a", "spot"), (None, "ondemand"), ("", "ondemand")])
def test_a_v5_is_on_spot_exactly_if_its_inventory_names_a_pool(
    desk: Desk, tenant: Tenant, pool: str | None, mode: str
) -> None:
    host = BUILDS["v5"](tenant, desk.new_machine())
    host.register()
    beat(
        host, inventory({"instance_id": host.machine, "pool": pool, "private_ip": "10.0.0.9", "public_ip": "54.0.0.1"})
    )
    found = machine(tenant, host)
    assert (found.mode, found.private_ip, found.public_ip) == (mode, "10.0.0.9", "54.0.0.1")


@pytest.mark.parametrize(
    "body",
    [{"inventory_snapshot": {}}, {"inventory_snapshot": None}, {"inventory_snapshot": []}, inventory(error="denied"),
     inventory(None), inventory("i-0a"), inventory({}), inventory({"instance_id": None}), inventory({"instance_id": 7}),
     {"inventory_snapshot": {"instances": "all"}}, {"inventory_snapshot": {"instances": {}}}, {"inventory_snapshot": 5},
     {"reconnect": True, "inventory_snapshot": {}}, {"reconnect": "yes"}, {"health_metrics": "bad"}, {"metrics": []}],
)  # fmt: skip
def test_an_empty_or_broken_inventory_means_nothing_and_is_no_error_t03(desk: Desk, tenant: Tenant, body: Any) -> None:
    host = desk.host("v5", tenant)
    before = tenant.statuses(host.agent_id)
    assert beat(host, body).status == 200
    assert tenant.statuses(host.agent_id) == before


def test_a_foreign_host_in_the_inventory_is_never_adopted_or_touched_t18(desk: Desk, tenant: Tenant) -> None:
    other = desk.host("v4c", desk.client("Other"))
    host = desk.host("v5", tenant)
    strangers = [{"instance_id": name, "pool": None, "private_ip": "1.2.3.4"} for name in ("i-0fff", other.machine)]
    beat(host, inventory(*strangers))
    assert tenant.statuses(host.agent_id) == {host.machine: "running_primary"}
    assert machine(other.tenant, other).private_ip == "10.0.0.5"


# ---- nonsense is no reason to refuse (T03)


@pytest.mark.parametrize("field", ["status", "instance_id", "instance_type", "az", "mode", "monitored_instances",
                                   "inventory_snapshot", "health_metrics", "reconnect", "config_version_applied",
                                   "timestamp", "spot_price"])  # fmt: skip
def test_no_detail_of_a_heartbeat_is_worth_an_agents_silence_t03(host: Any, field: str) -> None:
    for value in (None, 7, -1.5, True, "x" * 300, [], [[]], {}, {"a": None}):
        answer = beat(host, {field: value})
        assert (answer.status, answer.body and answer.data["success"]) == (200, True), value


@pytest.mark.parametrize("agent_id", [NOBODY, "None", "x"])
def test_an_unknown_agent_is_a_plain_404_and_nothing_comes_of_it(desk: Desk, tenant: Tenant, agent_id: str) -> None:
    answer = tenant.post(f"/api/agents/{agent_id}/heartbeat", {"status": "online"})
    assert refusal(answer) == (404, "NOT_FOUND")
    assert desk.tables.agents == {}


@pytest.mark.parametrize("build", BUILDS)
def test_z25_a_retiring_agent_is_answered_all_off_until_it_is_gone(desk: Desk, tenant: Tenant, build: str) -> None:
    host = desk.host(build, tenant)
    tenant.call("DELETE", f"/api/client/agents/{host.agent_id}")
    if build == "v5":  # its last command is still to come; the others are gone at once
        answer = host.heartbeat()
        assert (answer.status, answer.data["role"], answer.data["status"]) == (200, "retired", "deleted")
        assert answer.data["config"]["auto_switch_enabled"] is answer.data["config"]["auto_terminate_enabled"] is False
        desk.tick(24 * 3600 + 1)
    desk.tick(1)
    assert refusal(host.heartbeat()) == (404, "NOT_FOUND")
