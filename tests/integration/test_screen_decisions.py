"""E23, E68: what agents lately did and decided, worked out by hand (http-api 7.4, 7.8)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.screen_rows import Host, a_client, at, new_id
from tests.support.server import Site, Tenant
from tests.support.world import START

LEGACY = {"X-Response-Shape": "legacy"}


@pytest.fixture
def tenant(shared_site: Site, request: pytest.FixtureRequest) -> Tenant:
    return a_client(shared_site, request.node.name)


@pytest.fixture
def host(tenant: Tenant) -> Host:
    return Host(tenant)


def rows(tenant: Tenant, **more: Any) -> list[Any]:
    answer = tenant.get(f"/api/client/{tenant.client_id}/agents/decisions", **more)
    assert answer.status == 200, answer
    found: list[Any] = answer.body if more else answer.data
    return found


def only(host: Host) -> Any:
    (row,) = rows(host.tenant)
    return row


def statistics(host: Host) -> Any:
    answer = host.tenant.get(f"/api/agents/{host.agent_id}/statistics")
    assert answer.status == 200, answer
    assert answer.body["statistics"] == answer.data["statistics"]  # Mirror
    return answer.data["statistics"]


def decided(host: Host, when: datetime = START, **changes: Any) -> None:
    body = {
        "action": "stay", "risk": "0.25", "savings_per_hour": "0.01", "confidence": "0.6", "snapshot": {"current_mode": "spot"},
        **changes,
    }  # fmt: skip
    host.put("decisions", made_at=when, body=body)


def reported(host: Host, when: datetime, **prices: str) -> None:
    """A report that arrived then: a price for each zone."""
    for zone, price in prices.items():
        host.put(
            "raw_prices", submission_id=new_id(), pool_id=host.pool(zone), price=price, observed_at=when,
            received_at=when,
        )  # fmt: skip


# ---- E23


def test_e23_of_an_agent_that_did_nothing(host: Host, tenant: Tenant) -> None:
    host.change(last_heartbeat_at=None)
    with tenant.site.connections.connection() as connection:
        connection.execute("delete from audit_events where agent_id = %s", (host.agent_id,))
    wanted = {
        "agentId": host.agent_id, "agentName": "web", "status": "online", "currentMode": "spot",
        "currentPoolId": host.pool("a"), "isHealthy": False, "lastHeartbeat": None,
        "lastDecision": {"type": None, "time": None, "elapsed": None}, "decisionHistory": [],
        "pricingHealth": {"status": "unhealthy", "recentReportsCount": 0, "recentReports": []},
        "recentActivity": {
            "pricingReports": [], "systemEvents": [],
            "healthStatus": {
                "overall": "unhealthy", "heartbeat": "stale", "activity": "inactive", "recentReportsCount": 0,
                "decisionCount": 0,
            },
        },
    }  # fmt: skip
    assert rows(tenant) == rows(tenant, headers=LEGACY) == [wanted]


def test_e23_online_agents_first_and_then_by_name(tenant: Tenant) -> None:
    for name, link in (("d", "offline"), ("b", "online"), ("a", "offline"), ("c", "online")):
        Host(tenant, name).change(link=link)
    assert [row["agentName"] for row in rows(tenant)] == ["b", "c", "a", "d"]


def test_e23_no_deleted_agent_but_a_disabled_one(tenant: Tenant) -> None:
    gone, disabled = Host(tenant, "gone"), Host(tenant, "disabled")
    tenant.call("DELETE", f"/api/client/agents/{gone.agent_id}")
    disabled.change(enabled=False)
    assert [(row["agentName"], row["status"]) for row in rows(tenant)] == [("disabled", "disabled")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 min ago"), (59, "0 min ago"), (60, "1 min ago"), (3_599, "59 min ago"), (3_600, "1 h ago"),
        (7_199, "1 h ago"), (90_000, "25 h ago"), (-30, "0 min ago"),
    ],
)  # fmt: skip
def test_e23_the_last_heartbeat_is_a_text_the_page_prints(host: Host, seconds: int, text: str) -> None:
    host.change(last_heartbeat_at=START - timedelta(seconds=seconds))
    assert only(host)["lastHeartbeat"] == text


@pytest.mark.parametrize(
    ("minutes", "elapsed"),
    [
        (0, {"minutes": 0, "value": 0, "unit": "min", "formatted": "0 min"}),
        (5, {"minutes": 5, "value": 5, "unit": "min", "formatted": "5 min"}),
        (59, {"minutes": 59, "value": 59, "unit": "min", "formatted": "59 min"}),
        (60, {"minutes": 60, "value": 1, "unit": "h", "formatted": "1 h"}),
        (179, {"minutes": 179, "value": 2, "unit": "h", "formatted": "2 h"}),
    ],
)
def test_e23_how_long_ago_a_decision_was_comes_without_the_word_c21(
    host: Host, minutes: int, elapsed: dict[str, Any]
) -> None:
    when = START - timedelta(minutes=minutes)
    decided(host, when)
    last = only(host)["lastDecision"]
    assert last["elapsed"] == elapsed
    assert (last["type"], last["time"]) == ("stay", when.isoformat().replace("+00:00", "Z"))


@pytest.mark.parametrize(
    ("action", "shown"),
    [
        ("stay", ("stay", "NO_ACTION")), ("switch_pool", ("switch_spot", "SWITCH")),
        ("switch_to_spot", ("switch_spot", "SWITCH")), ("switch_to_ondemand", ("switch_ondemand", "SWITCH")),
    ],
)  # fmt: skip
def test_e23_a_decision_in_the_words_of_the_page_z1(host: Host, action: str, shown: tuple[str, str]) -> None:
    decided(host, action=action, snapshot={"current_mode": "ondemand"})
    row = only(host)
    assert row["decisionHistory"] == [
        {
            "type": shown[0], "action": shown[1], "riskScore": 0.25, "expectedSavings": 0.01, "currentMode": "ondemand",
            "time": "2026-03-02T12:00:00Z",
        }
    ]  # fmt: skip
    assert row["lastDecision"]["type"] == shown[0]


def test_e23_an_unknown_risk_or_saving_is_null_gr7(host: Host) -> None:
    decided(host, risk=None, savings_per_hour=None)
    (past,) = only(host)["decisionHistory"]
    assert (past["riskScore"], past["expectedSavings"]) == (None, None)


def test_e23_five_decisions_newest_first(host: Host) -> None:
    for hours in (6, 2, 4, 1, 5, 3):
        decided(host, at(hours))
    times = [past["time"] for past in only(host)["decisionHistory"]]
    assert times == [f"2026-03-02T{12 - hours:02d}:00:00Z" for hours in (1, 2, 3, 4, 5)]
    assert only(host)["recentActivity"]["healthStatus"]["decisionCount"] == 6


HEALTH = [
    # link, minutes since the heartbeat, reports, decisions: healthy, heartbeat, activity
    ("online", 5, 1, 0, True, "active", "active"),
    ("online", 5, 0, 1, True, "active", "active"),
    ("online", 5, 0, 0, False, "active", "inactive"),
    ("online", 5.1, 1, 1, False, "stale", "active"),
    ("offline", 1, 1, 1, False, "active", "active"),
    ("online", None, 1, 1, False, "stale", "active"),
]


@pytest.mark.parametrize(("link", "minutes", "reports", "decisions", "healthy", "heartbeat", "activity"), HEALTH)
def test_e23_healthy_is_online_and_heard_within_five_minutes_and_busy(
    host: Host, link: str, minutes: float | None, reports: int, decisions: int, healthy: bool, heartbeat: str, activity: str
) -> None:  # fmt: skip
    host.change(link=link, last_heartbeat_at=None if minutes is None else START - timedelta(minutes=minutes))
    for _ in range(reports):
        reported(host, at(0.1), a="0.02")
    for _ in range(decisions):
        decided(host)
    row = only(host)
    assert row["isHealthy"] is healthy
    status = row["recentActivity"]["healthStatus"]
    assert (status["overall"], status["heartbeat"], status["activity"]) == (
        "healthy" if healthy else "unhealthy", heartbeat, activity,
    )  # fmt: skip


def test_e23_prices_are_healthy_with_five_reports_in_half_an_hour(host: Host) -> None:
    for minutes in (5, 10, 15, 20):
        reported(host, START - timedelta(minutes=minutes), a="0.02", b="0.03")
    reported(host, START - timedelta(minutes=30), a="0.02")
    health = only(host)["pricingHealth"]
    assert (health["status"], health["recentReportsCount"]) == ("unhealthy", 4)
    reported(host, START - timedelta(minutes=29), b="0.02")  # of another pool: counted all the same
    health = only(host)["pricingHealth"]
    assert (health["status"], health["recentReportsCount"]) == ("healthy", 5)
    assert only(host)["recentActivity"]["healthStatus"]["recentReportsCount"] == 5


def test_e23_lists_reports_in_which_both_prices_are_known_t26_t42(host: Host) -> None:
    host.ondemand("0.1", at(4))
    host.ondemand("0.2", at(2))
    host.ondemand("0.9", at(1), flagged=True)
    reported(host, at(5), a="0.01", b="0.05")  # before any on-demand price was known
    reported(host, at(3), a="0.02", b="0.05")
    reported(host, at(1.5), b="0.05")  # nothing of its own pool
    reported(host, at(1), a="0.04")
    health = only(host)["pricingHealth"]
    wanted = [
        {"time": "2026-03-02T11:00:00Z", "onDemandPrice": 0.2, "spotPrice": 0.04},
        {"time": "2026-03-02T09:00:00Z", "onDemandPrice": 0.1, "spotPrice": 0.02},
    ]
    assert health["recentReports"] == only(host)["recentActivity"]["pricingReports"] == wanted


def test_e23_lists_the_newest_five_reports(host: Host) -> None:
    host.ondemand("0.1", at(23))
    for hours in range(1, 8):
        reported(host, at(hours), a=f"0.0{hours}")
    assert [one["spotPrice"] for one in only(host)["pricingHealth"]["recentReports"]] == [0.01, 0.02, 0.03, 0.04, 0.05]


def test_e23_on_demand_the_spot_price_is_that_of_its_own_type_and_zone(tenant: Tenant) -> None:
    host = Host(tenant, mode="ondemand", az="us-east-1b")
    host.ondemand("0.1", at(4))
    reported(host, at(2), a="0.02", b="0.03")
    reported(host, at(1), a="0.02")
    row = only(host)
    assert (row["currentMode"], row["currentPoolId"]) == ("ondemand", None)
    assert [one["spotPrice"] for one in row["pricingHealth"]["recentReports"]] == [0.03]


def test_e23_shows_five_events_newest_first_in_words_and_no_noise_of_polling(host: Host, tenant: Tenant) -> None:
    with tenant.site.connections.connection() as connection:
        connection.execute("delete from audit_events where agent_id = %s", (host.agent_id,))
    facts = {"logical_agent_id": "web", "reason": "no heartbeat for 120 s"}
    for number in range(6):
        host.put("audit_events", kind="agent_toggled", at=at(10 - number), facts={"logical_agent_id": f"n{number}"})
    host.put("audit_events", kind="agent_marked_offline", at=at(1), level="warning", facts=facts)
    for kind in ("command_queued", "command_handed_out"):
        host.put("audit_events", kind=kind, at=START)
    events = only(host)["recentActivity"]["systemEvents"]
    assert [event["message"] for event in events] == [
        "Agent web is offline: no heartbeat for 120 s", *(f"Agent toggled: n{number}" for number in (5, 4, 3, 2)),
    ]  # fmt: skip
    assert events[0] == {
        "type": "agent_marked_offline", "severity": "warning", "message": "Agent web is offline: no heartbeat for 120 s",
        "time": "2026-03-02T11:00:00Z",
    }  # fmt: skip


def test_e23_what_one_agent_did_is_not_anothers(tenant: Tenant) -> None:
    busy, idle = Host(tenant, "busy"), Host(tenant, "idle")
    decided(busy)
    reported(busy, at(0.1), a="0.02")
    by_name = {row["agentName"]: row for row in rows(tenant)}
    assert (len(by_name["busy"]["decisionHistory"]), by_name["busy"]["pricingHealth"]["recentReportsCount"]) == (1, 1)
    assert (by_name["idle"]["decisionHistory"], by_name["idle"]["pricingHealth"]["recentReportsCount"]) == ([], 0)
    assert idle.agent_id == by_name["idle"]["agentId"]


# ---- E68


def test_e68_counts_decisions_switches_and_money(host: Host) -> None:
    for hours, action, confidence in ((3, "stay", "0.6"), (2, "switch_to_spot", "0.8"), (1, "switch_pool", "0.7")):
        decided(host, at(hours), action=action, confidence=confidence)
    for trigger, seconds in (
        ("auto", "2"),
        ("scheduled", "4"),
        ("manual", None),
        ("manual_promotion", "6"),
        ("rehome", "8"),
    ):
        host.switch(trigger=trigger, downtime_seconds=seconds)
    host.switch(state="failed", trigger="auto", downtime_seconds="1000")
    host.switch(state="superseded", trigger="auto", downtime_seconds="1000")
    host.line(at(5), 2, "3", "1")
    host.line(at(3), 2, "1", "1.5")
    assert statistics(host) == {
        "total_decisions": 3, "switches_executed": 5, "switches_recommended": 2, "success_rate": 0.8333,
        "average_confidence": 0.7, "last_decision_at": "2026-03-02T11:00:00Z",
        "decisions_by_trigger": {"manual": 2, "model": 2, "automatic": 2, "emergency": 1},
        "avg_downtime_seconds": 5, "total_savings_generated": 1.5,
    }  # fmt: skip


def test_e68_is_about_one_agent(host: Host, tenant: Tenant) -> None:
    other = Host(tenant, "other")
    decided(other)
    other.switch(downtime_seconds="2")
    other.line(at(5), 2, "3", "1")
    assert statistics(host) == {
        "total_decisions": 0, "switches_executed": 0, "switches_recommended": 0, "success_rate": 0,
        "average_confidence": 0, "last_decision_at": None,
        "decisions_by_trigger": {"manual": 0, "model": 0, "automatic": 0, "emergency": 0}, "avg_downtime_seconds": 0,
        "total_savings_generated": 0,
    }  # fmt: skip


def test_e68_when_every_switch_failed_nothing_succeeded(host: Host) -> None:
    host.switch(state="failed")
    found = statistics(host)
    assert (found["switches_executed"], found["success_rate"]) == (0, 0)


def test_e68_has_two_paths_and_tells_the_operator_the_same(shared_site: Site, host: Host) -> None:
    decided(host)
    mine = host.tenant.get(f"/api/client/agents/{host.agent_id}/statistics")
    assert mine.data["agent_id"] == mine.body["agent_id"] == host.agent_id
    for path in ("/api/agents", "/api/client/agents"):
        assert shared_site.call("GET", f"{path}/{host.agent_id}/statistics").data == mine.data
    bare = host.tenant.get(f"/api/agents/{host.agent_id}/statistics", headers=LEGACY).body
    assert bare == mine.data


@pytest.mark.parametrize("path", ["/api/agents/{}/statistics", "/api/client/agents/{}/statistics"])
def test_e68_of_a_foreign_agent_is_404_as_of_an_unknown_one(shared_site: Site, host: Host, path: str) -> None:
    other = shared_site.client(f"other than {host.tenant.client_id}")
    foreign, unknown = other.get(path.format(host.agent_id)), other.get(path.format("nobody"))
    assert (foreign.status, foreign.body) == (unknown.status, unknown.body)
    assert foreign.status == 404
    assert shared_site.call("GET", path.format("nobody")).status == 404
