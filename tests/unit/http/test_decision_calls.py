"""E60, E61, E62: what is recommended, a switch somebody asks for, and a decision with its four views (http-api 7.8)."""

from decimal import Decimal
from typing import Any

import pytest
from httpx2 import Response

from tests.unit.http.frame import Frame

MACHINE = "i-0000000000000000a"
A, B, C = (f"m5.large.us-east-1{zone}" for zone in "abc")


@pytest.fixture
def token(frame: Frame) -> str:
    return frame.client()[1]


@pytest.fixture
def agent_id(frame: Frame, token: str) -> str:
    """A v4c on Spot that has been up for a day, in pools that are known as long and have become no dearer (4.3)."""
    found = frame.agent(token, MACHINE)
    prices(frame, token, found, ondemand=None, a=0.3, b=0.3, c=0.3)
    frame.clock.advance(90_000)
    beat = {"status": "online", "instance_id": MACHINE, "mode": "spot"}
    assert frame.call("POST", f"/api/agents/{found}/heartbeat", token, json=beat).status_code == 200
    return found


def prices(frame: Frame, token: str, agent_id: str, ondemand: float | None = 0.2, **zones: float) -> None:
    body = {
        "instance": {"instance_id": MACHINE, "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a"},
        "pricing": {
            "on_demand_price": ondemand,
            "spot_pools": [{"pool_id": f"m5.large.us-east-1{zone}", "price": price} for zone, price in zones.items()],
        },
    }  # fmt: skip
    assert frame.call("POST", f"/api/agents/{agent_id}/pricing-report", token, json=body).status_code == 200


def configured(frame: Frame, token: str, agent_id: str, **body: Any) -> None:
    assert frame.call("POST", f"/api/client/agents/{agent_id}/config", token, json=body).status_code == 200


def issue(frame: Frame, token: str, agent_id: str, **body: Any) -> Response:
    return frame.call("POST", f"/api/agents/{agent_id}/issue-switch-command", token, json=body)


def decide(frame: Frame, token: str, agent_id: str, **body: Any) -> Any:
    answer = frame.call("POST", f"/api/agents/{agent_id}/decide", token, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def recommended(frame: Frame, token: str, agent_id: str) -> Any:
    answer = frame.call("GET", f"/api/agents/{agent_id}/switch-recommendation", token)
    assert answer.status_code == 200, answer.text
    return answer.json()


def commands(frame: Frame, token: str, agent_id: str) -> list[Any]:
    found: list[Any] = frame.call("GET", f"/api/agents/{agent_id}/pending-commands", token).json()["commands"]
    return found


# ---- E60


def test_e60_every_field_when_nothing_is_to_be_done_fb_4(frame: Frame, token: str, agent_id: str) -> None:
    prices(frame, token, agent_id, a=0.03, b=0.02, c=0.04)
    body = recommended(frame, token, agent_id)
    data = dict(body["data"])
    risk, used = data.pop("risk_score"), data.pop("features_used")
    assert 0 <= risk <= 1
    assert used == {"current_price": 0.03, "ondemand_price": 0.2, "current_risk": risk, "candidates": 2}
    reason = data.pop("reason")
    assert reason == data.pop("reasoning") != ""
    assert data == {
        "instance_id": MACHINE, "recommended_action": "stay", "decision_type": "stay_spot", "action": "NO_ACTION",
        "recommendation": "stay", "recommended_mode": "spot", "recommended_pool_id": A, "target_pool": A,
        "target_pool_id": A, "target_type": "spot", "confidence": 0.6, "expected_savings_per_hour": 0,
        "expected_savings": 0, "expected_savings_per_day": 0, "allowed": True, "guards": [], "will_auto_execute": False,
        "engine": "fallback", "model_version": data["model_version"], "agent_id": agent_id, "auto_switch_enabled": True,
        "current_pool": {"id": A, "name": f"Pool {A}", "az": "us-east-1a"},
        "alternative_pools": [
            {"id": pool, "name": f"Pool {pool}", "az": f"us-east-1{pool[-1]}", "spot_price": price}
            for pool, price in ((B, 0.02), (C, 0.04))
        ],
    }  # fmt: skip
    assert {name: body[name] for name in ("action", "confidence", "agent_id")} == {
        "action": "NO_ACTION", "confidence": 0.6, "agent_id": agent_id,
    }  # fmt: skip


VIEWS = {
    # prices of a and b against 0.2 on demand: the four views, and what is paid less per hour (FB-2, FB-3)
    "a dear pool, and a cheap one": ((0.18, 0.06), ("switch_spot", "switch_to_spot", "SWITCH", "switch"), B, "spot", 0.12),
    "a dear pool, and a dearer one": (
        (0.18, 0.19), ("switch_ondemand", "switch_to_ondemand", "SWITCH", "switch_to_ondemand"), None, "ondemand", -0.02
    ),
    "a fair pool": ((0.1, 0.06), ("stay", "stay_spot", "NO_ACTION", "stay"), A, "spot", 0),
}  # fmt: skip


@pytest.mark.parametrize("story", VIEWS)
def test_e60_and_e62_show_one_decision_in_four_views_4_3(frame: Frame, token: str, agent_id: str, story: str) -> None:
    (a, b), views, pool, mode, saved = VIEWS[story]
    prices(frame, token, agent_id, a=a, b=b)
    for data in (recommended(frame, token, agent_id)["data"], decide(frame, token, agent_id)["data"]):
        assert (data["recommended_action"], data["decision_type"], data["action"], data["recommendation"]) == views
        assert data["recommended_pool_id"] == data["target_pool"] == data["target_pool_id"] == pool
        assert data["recommended_mode"] == data["target_type"] == mode
        assert data["expected_savings_per_hour"] == data["expected_savings"] == saved
        assert data["expected_savings_per_day"] == pytest.approx(saved * 24)


def test_e60_without_prices_says_so_and_claims_nothing_fb_1_t15(frame: Frame, token: str, agent_id: str) -> None:
    data = recommended(frame, token, agent_id)["data"]
    assert (data["recommended_action"], data["risk_score"], data["confidence"]) == ("stay", None, 0.5)
    assert "insufficient_data" in data["reason"]
    assert (data["alternative_pools"], data["features_used"]["candidates"]) == ([], 0)


def test_e60_shows_five_alternatives_cheapest_first(frame: Frame, token: str, agent_id: str) -> None:
    prices(frame, token, agent_id, a=0.05, b=0.08, c=0.07, d=0.06, e=0.04, f=0.03, g=0.02)
    pools = recommended(frame, token, agent_id)["data"]["alternative_pools"]
    assert [pool["az"][-1] for pool in pools] == ["g", "f", "e", "d", "c"]


def test_e60_answers_with_auto_switch_off_and_for_a_disabled_agent_and_leaves_no_trace(
    frame: Frame, token: str, agent_id: str
) -> None:
    prices(frame, token, agent_id, a=0.18, b=0.06)
    configured(frame, token, agent_id, autoSwitchEnabled=False)
    off = recommended(frame, token, agent_id)["data"]
    assert (off["action"], off["allowed"], off["guards"], off["auto_switch_enabled"]) == (
        "SWITCH", False, ["AUTO_SWITCH_DISABLED"], False,
    )  # fmt: skip
    frame.call("POST", f"/api/client/agents/{agent_id}/toggle-enabled", token, json={"enabled": False})
    disabled = recommended(frame, token, agent_id)["data"]
    assert (disabled["action"], disabled["will_auto_execute"]) == ("SWITCH", False)
    assert "AGENT_DISABLED" in disabled["guards"]
    assert not frame.storage.memory.tables.decisions
    assert commands(frame, token, agent_id) == []


def test_e60_is_the_operators_too_and_a_foreign_agent_is_unknown(frame: Frame, token: str, agent_id: str) -> None:
    path = f"/api/agents/{agent_id}/switch-recommendation"
    assert frame.call("GET", path).json()["data"] == frame.call("GET", path, token).json()["data"]
    _, other = frame.client("Other")
    assert frame.call("GET", path, other).status_code == 404
    assert frame.call("GET", "/api/agents/nobody/switch-recommendation").status_code == 404


# ---- E61


@pytest.mark.parametrize(
    "body",
    [
        {"target_pool_id": B}, {"target_pool": B}, {"pool_id": B}, {"target_mode": "spot", "target_pool_id": B},
        {"target_type": "spot", "pool_id": B}, {"target": "pool", "pool_id": B},
        {"target_pool_id": B, "target_pool": C, "pool_id": C}, {"target_pool_id": None, "target_pool": B},
        {"target_mode": "spot", "target": "ondemand", "pool_id": B}, {"pool_id": B, "priority": 1, "confidence": 0.99},
    ],
)  # fmt: skip
def test_e61_queues_a_model_switch_whatever_names_are_used(
    frame: Frame, token: str, agent_id: str, body: dict[str, Any]
) -> None:
    prices(frame, token, agent_id, a=0.18, b=0.06, c=0.05)
    answer = issue(frame, token, agent_id, reason="cheaper", **body)
    (command,) = commands(frame, token, agent_id)
    assert (answer.status_code, answer.json()["data"]) == (201, {
        "success": True, "command_id": command["id"], "agent_id": agent_id, "target_mode": "spot", "target_pool_id": B,
        "reason": "cheaper", "auto_switch_enabled": True,
    })  # fmt: skip
    assert answer.json()["message"]
    assert answer.json()["command_id"] == command["id"]  # Mirror
    assert command["priority"] in (25, 50)  # the server's own (CM-2)


@pytest.mark.parametrize("word", ["ondemand", "on-demand", "on_demand", "ONDEMAND"])
def test_e61_on_demand_needs_no_pool(frame: Frame, token: str, agent_id: str, word: str) -> None:
    prices(frame, token, agent_id, a=0.25, b=0.3)
    data = issue(frame, token, agent_id, target_mode=word).json()["data"]
    assert (data["success"], data["target_mode"], data["target_pool_id"], data["reason"]) == (
        True,
        "ondemand",
        None,
        None,
    )


def test_e61_where_the_workload_is_already_is_200_and_queues_nothing(frame: Frame, token: str, agent_id: str) -> None:
    prices(frame, token, agent_id, a=0.18, b=0.06)
    answer = issue(frame, token, agent_id, target_pool_id=A)
    assert (answer.status_code, answer.json()["data"]) == (200, {
        "success": False, "current_mode": "spot", "current_pool_id": A,
    })  # fmt: skip
    assert commands(frame, token, agent_id) == []


BAD_TARGETS: list[dict[str, Any]] = [
    {}, {"target_mode": "spot"}, {"target_mode": "pool"}, {"target_mode": "cloud", "pool_id": B}, {"target_mode": 5},
    {"target_pool_id": True}, {"target_pool_id": ["x"]}, {"target_pool_id": "x" * 129}, {"target_pool_id": 1.5},
    {"target_mode": "unknown", "pool_id": B}, {"target_mode": "x" * 33},
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_TARGETS)
def test_e61_a_bad_target_is_400_but_only_where_a_switch_could_be_asked_for(
    frame: Frame, token: str, agent_id: str, body: dict[str, Any]
) -> None:
    """The order of checks: agent, enabled, auto-switch, body."""
    prices(frame, token, agent_id, a=0.18, b=0.06)
    answer = issue(frame, token, agent_id, **body)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    configured(frame, token, agent_id, autoSwitchEnabled=False)
    off = issue(frame, token, agent_id, **body)
    assert (off.status_code, off.json()["code"], off.json()["auto_switch_enabled"]) == (
        403,
        "AUTO_SWITCH_DISABLED",
        False,
    )
    frame.call("POST", f"/api/client/agents/{agent_id}/toggle-enabled", token, json={"enabled": False})
    disabled = issue(frame, token, agent_id, **body)
    assert (disabled.status_code, disabled.json()["code"]) == (400, "AGENT_DISABLED")
    assert issue(frame, token, "nobody", **body).status_code == 404
    assert commands(frame, token, agent_id) == []


@pytest.mark.parametrize("pool", ["c5.large.us-east-1b", "m5.large.eu-west-1a"])
def test_e61_a_pool_of_another_type_or_region_is_a_mismatch(frame: Frame, token: str, agent_id: str, pool: str) -> None:
    prices(frame, token, agent_id, a=0.18, b=0.06)
    answer = issue(frame, token, agent_id, target_pool_id=pool)
    assert (answer.status_code, answer.json()["code"]) == (400, "POOL_MISMATCH")


def test_e61_a_number_is_taken_as_a_pools_name_and_is_none(frame: Frame, token: str, agent_id: str) -> None:
    prices(frame, token, agent_id, a=0.18, b=0.06)
    answer = issue(frame, token, agent_id, target_pool_id=7)
    assert answer.status_code in (400, 404)
    assert answer.json()["code"] in ("VALIDATION_ERROR", "POOL_MISMATCH", "NOT_FOUND")


def test_e61_a_second_one_is_blocked_by_the_first(frame: Frame, token: str, agent_id: str) -> None:
    prices(frame, token, agent_id, a=0.18, b=0.06)
    assert issue(frame, token, agent_id, target_pool_id=B).status_code == 201
    blocked = issue(frame, token, agent_id, target_mode="ondemand")
    assert (blocked.status_code, blocked.json()["code"]) == (409, "SWITCH_BLOCKED")
    assert "COMMAND_IN_FLIGHT" in blocked.json()["details"]["guards"]


# ---- E62


def test_e62_queues_what_it_will_execute_and_says_which_command(frame: Frame, token: str, agent_id: str) -> None:
    pools = [{"pool_id": A, "price": 0.18, "az": "us-east-1a"}, {"pool_id": B, "price": 0.06, "az": "us-east-1b"}]
    body = decide(frame, token, agent_id, spot_pools=pools, ondemand_price=0.2)
    if body["data"]["will_auto_execute"]:
        assert body["data"]["command_id"] == commands(frame, token, agent_id)[0]["id"]
    else:
        assert (body["data"]["command_id"], body["data"]["allowed"]) == (None, not body["data"]["guards"])
    assert (body["action"], body["reasoning"]) == (body["data"]["action"], body["data"]["reason"])
    assert isinstance(body["confidence"], int | float)
    ((record,),) = frame.storage.memory.tables.decisions.values()
    assert (record.decision.snapshot.ondemand_price, record.trigger) == (Decimal("0.2"), "agent")


def test_e62_a_disabled_agent_stays_in_every_view(frame: Frame, token: str, agent_id: str) -> None:
    prices(frame, token, agent_id, a=0.18, b=0.06)
    frame.call("POST", f"/api/client/agents/{agent_id}/toggle-enabled", token, json={"enabled": False})
    data = decide(frame, token, agent_id)["data"]
    views = (data["recommended_action"], data["decision_type"], data["action"], data["recommendation"])
    assert views == ("stay", "stay_spot", "NO_ACTION", "stay")
    assert (data["recommended_pool_id"], data["recommended_mode"], data["target_type"]) == (A, "spot", "spot")
    assert (data["expected_savings"], data["expected_savings_per_day"]) == (0, 0)
    assert (data["allowed"], data["will_auto_execute"], data["command_id"]) == (False, False, None)
    assert data["reason"] == data["reasoning"]
    assert "disabled" in data["reason"]


SHAPES: dict[str, dict[str, Any]] = {
    "flat": {"spot_pools": [{"pool_id": B, "instance_type": "m5.large", "az": "us-east-1b", "price": 0.03, "is_current": False}],
             "ondemand_price": 0.2, "current_az": "us-east-1a"},
    "nested": {"instance": {"instance_id": MACHINE, "current_mode": "spot", "current_pool_id": A},
               "pricing": {"current_spot_price": 0.05, "on_demand_price": 0.2, "spot_pools": [{"pool_id": B, "price": 0.03}]}},
    "state": {"current_state": {"instance_id": MACHINE, "current_mode": "spot", "current_pool": A, "current_price": 0.05},
              "pricing_data": {"available_pools": [{"pool_id": B, "price": 0.03}], "ondemand_price": 0.2},
              "metrics": {"uptime_hours": 5, "interruption_count": 0}},
    "features": {"pricing_windows": {}, "instance_features": {}, "group_config": {}},
    "nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_e62_takes_every_shape_and_keeps_the_prices_it_brings_c13(
    frame: Frame, token: str, agent_id: str, shape: str
) -> None:
    data = decide(frame, token, agent_id, **SHAPES[shape])["data"]
    assert data["action"] in ("NO_ACTION", "SWITCH")
    used = recommended(frame, token, agent_id)["data"]["features_used"]
    assert used["ondemand_price"] == (0.2 if shape in ("flat", "nested", "state") else None)


@pytest.mark.parametrize(
    "body",
    [
        {"spot_pools": "none"}, {"spot_pools": [7, None, {}]}, {"ondemand_price": "cheap"}, {"ondemand_price": 0},
        {"instance": 5}, {"pricing": []}, {"current_state": None}, {"spot_pools": [{"pool_id": B, "price": -1}]},
    ],
)  # fmt: skip
def test_e62_never_errors_over_what_it_is_given(frame: Frame, token: str, agent_id: str, body: dict[str, Any]) -> None:
    data = decide(frame, token, agent_id, **body)["data"]
    assert (data["action"], data["confidence"]) == ("NO_ACTION", 0.5)


@pytest.mark.usefixtures("agent_id")
def test_z34_a_round_asks_the_storage_twice_for_each_agent_and_once_more_for_all(frame: Frame, token: str) -> None:
    others = [frame.agent(token, f"i-{number:017x}", f"web-{number}") for number in (1, 2)]
    frame.clock.advance(301)
    before = frame.storage.tries
    assert frame.plane.decisions.round().decided == 1 + len(others)
    assert frame.storage.tries - before == 1 + 2 * (1 + len(others))
    assert frame.plane.decisions.round().decided == 0  # each has been decided
