"""The route table against the contract's index (http-api 6), and how paths are matched."""

import pytest
from starlette.routing import Match

from spotadapters.http.app import ENDPOINTS, SERVED
from spotadapters.http.auth import Needs
from spotadapters.http.lanes import Lane
from spotadapters.http.routing import Endpoint
from tests.unit.http.frame import AWAY, Frame

A, C, ADMIN = "/api/agents/{agent_id}", "/api/client/{client_id}", "/api/admin"
ONE, MINE = "/api/client/instances/{instance_id}", "/api/client/agents/{agent_id}"
INDEX = {  # number: method, path, who, mirrored
    "E01": ("GET", "/health", "-", False),
    "E02": ("GET", "/", "-", False),
    "E03": ("GET", f"{ADMIN}/stats", "A", False),
    "E04": ("GET", f"{ADMIN}/clients", "A", False),
    "E05": ("GET", f"{ADMIN}/clients/growth", "A", False),
    "E06": ("GET", f"{ADMIN}/activity", "A", False),
    "E07": ("GET", f"{ADMIN}/system-health", "A", False),
    "E08": ("GET", f"{ADMIN}/instances", "A", False),
    "E09": ("GET", f"{ADMIN}/agents", "A", False),
    "E86": ("GET", f"{ADMIN}/export/global-stats", "A", False),
    "E93": ("GET", f"{ADMIN}/search", "A", False),
    "E94": ("GET", f"{ADMIN}/pools/statistics", "A", False),
    "E95": ("GET", f"{ADMIN}/agents/health-summary", "A", False),
    "E96": ("POST", f"{ADMIN}/bulk/execute", "A", False),
    "E97": ("GET", f"{ADMIN}/metrics/operational", "A", False),
    "E98": ("GET", f"{ADMIN}/consolidation-jobs", "A", False),
    "E99": ("GET", f"{ADMIN}/emergency-events", "A", False),
    "E10": ("POST", f"{ADMIN}/clients/create", "A", False),
    "E11": ("DELETE", ADMIN + "/clients/{client_id}", "A", False),
    "E12": ("POST", ADMIN + "/clients/{client_id}/regenerate-token", "A", False),
    "E13": ("GET", ADMIN + "/clients/{client_id}/token", "A", False),
    "E14": ("GET", "/api/client/validate", "C", True),
    "E15": ("GET", C, "C/A", False),
    "E16": ("POST", "/api/agents/register", "C", True),
    "E17": ("POST", f"{A}/heartbeat", "C", True),
    "E18": ("GET", f"{A}/config", "C", True),
    "E19": ("POST", f"{MINE}/toggle-enabled", "C/A", False),
    "E20": ("POST", f"{MINE}/config", "C/A", False),
    "E21": ("DELETE", MINE, "C/A", False),
    "E22": ("GET", f"{C}/agents", "C/A", False),
    "E23": ("GET", f"{C}/agents/decisions", "C/A", False),
    "E24": ("GET", f"{C}/agents/history", "C/A", False),
    "E25": ("POST", f"{MINE}/settings", "C/A", False),
    "E26": ("GET", A, "C", True),
    "E27": ("POST", f"{A}/shutdown", "C", True),
    "E28": ("POST", "/api/agents/uninstall", "C", True),
    "E29": ("GET", f"{C}/instances", "C/A", False),
    "E30": ("GET", f"{ONE}/pricing", "C/A", False),
    "E31": ("GET", f"{ONE}/metrics", "C/A", False),
    "E32": ("GET", f"{ONE}/price-history", "C/A", False),
    "E33": ("GET", f"{ONE}/available-options", "C/A", False),
    "E34": ("POST", f"{ONE}/force-switch", "C/A", False),
    "E35": ("GET", f"{ONE}/logs", "C/A", False),
    "E36": ("GET", f"{ONE}/pool-volatility", "C/A", False),
    "E37": ("POST", f"{ONE}/simulate-switch", "C/A", False),
    "E38": ("POST", "/api/client/instances/launch", "C/A", False),
    "E39": ("POST", f"{ONE}/terminate", "C/A", False),
    "E40": ("POST", f"{A}/instance-launched", "C", True),
    "E41": ("POST", f"{A}/instance-terminated", "C", True),
    "E42": ("GET", f"{C}/replicas", "C/A", False),
    "E43": ("GET", f"{A}/replicas", "C/A", True),
    "E44": ("GET", f"{A}/replica-config", "C", True),
    "E45": ("POST", f"{A}/replicas", "C/A", True),
    "E46": ("POST", A + "/replicas/{replica_id}/promote", "C/A", True),
    "E47": ("DELETE", A + "/replicas/{replica_id}", "C/A", True),
    "E48": ("PUT", A + "/replicas/{replica_id}", "C", True),
    "E49": ("POST", A + "/replicas/{replica_id}/status", "C", True),
    "E50": ("POST", A + "/replicas/{replica_id}/sync-status", "C/A", True),
    "E51": ("POST", f"{A}/create-emergency-replica", "C", True),
    "E52": ("POST", f"{A}/termination-imminent", "C", True),
    "E53": ("POST", f"{A}/rebalance-recommendation", "C", True),
    "E54": ("POST", f"{A}/termination", "C", True),
    "E55": ("GET", f"{A}/instances-to-terminate", "C", True),
    "E56": ("POST", f"{A}/termination-report", "C", True),
    "E57": ("GET", f"{A}/emergency-status", "C/A", True),
    "E58": ("POST", f"{A}/rebalance-notice", "C/A", True),
    "E59": ("POST", f"{A}/termination-notice", "C/A", True),
    "E60": ("GET", f"{A}/switch-recommendation", "C/A", True),
    "E61": ("POST", f"{A}/issue-switch-command", "C/A", True),
    "E62": ("POST", f"{A}/decide", "C", True),
    "E63": ("POST", f"{ADMIN}/decision-engine/upload", "A", False),
    "E64": ("POST", f"{ADMIN}/ml-models/upload", "A", False),
    "E65": ("POST", f"{ADMIN}/ml-models/activate", "A", False),
    "E66": ("POST", f"{ADMIN}/ml-models/fallback", "A", False),
    "E67": ("GET", f"{ADMIN}/ml-models/sessions", "A", False),
    "E68": ("GET", f"{A}/statistics", "C/A", True),
    "E69": ("GET", f"{A}/pending-commands", "C", True),
    "E70": ("POST", A + "/commands/{command_id}/executed", "C", True),
    "E71": ("GET", f"{A}/commands/pending", "C", True),
    "E72": ("POST", f"{A}/action-result", "C", True),
    "E73": ("POST", f"{A}/mark-command-executed", "C", True),
    "E74": ("POST", f"{A}/pricing-report", "C", True),
    "E75": ("POST", f"{A}/switch-report", "C", True),
    "E76": ("POST", f"{A}/cleanup-report", "C", True),
    "E100": ("POST", "/api/auth/login", "-", False),
    "E101": ("POST", "/api/auth/logout", "cookie", False),
    "E102": ("GET", "/api/auth/session", "cookie", False),
    "E77": ("GET", f"{C}/savings", "C/A", False),
    "E78": ("GET", f"{C}/switch-history", "C/A", False),
    "E79": ("GET", f"{C}/stats/charts", "C/A", False),
    "E80": ("GET", "/api/client/pricing-history", "C/A", True),
    "E81": ("GET", f"{C}/analytics/downtime", "C/A", False),
    "E82": ("GET", f"{C}/pricing-alerts", "C/A", False),
    "E84": ("GET", f"{C}/export/savings", "C/A", False),
    "E85": ("GET", f"{C}/export/switch-history", "C/A", False),
    "E83": ("POST", f"{C}/pricing-alerts", "C/A", False),
    "E87": ("GET", "/api/notifications", "C/A", False),
    "E88": ("POST", "/api/notifications/{notification_id}/mark-read", "C/A", False),
    "E89": ("POST", "/api/notifications/mark-all-read", "C/A", False),
    "E90": ("GET", "/api/events/stream", "C/A", False),
    "E91": ("GET", "/api/events/stream/{client_id}", "C/A", False),
    "E92": ("GET", "/api/events/stats", "A", False),
    "E103": ("GET", f"{A}/commands/stream", "C", False),
}
WINDING_DOWN = {"E17", "E41", "E43", "E49", "E55", "E56", "E69", "E71", "E72"}  # Z25
SUSPENDED = WINDING_DOWN | {  # Z26, and the stream, which hands out what E69 and E71 do
    "E16", "E18", "E26", "E27", "E28", "E40", "E45", "E48", "E50", "E51", "E52", "E53",
    "E54", "E57", "E58", "E59", "E70", "E73", "E75", "E103",
}  # fmt: skip
IDEMPOTENT = {"E10", "E12", "E34", "E38", "E39", "E45", "E46", "E47", "E61", "E83", "E96"}  # 2.5
URGENT = {"E51", "E52", "E53", "E56", "E58", "E59"}
ALL = SERVED


def numbers(rows: "list[Endpoint]") -> set[str]:
    return {row.number for row in rows}


@pytest.mark.parametrize("row", [row for row in ALL if row.number in INDEX], ids=lambda row: f"{row.number} {row.path}")
def test_every_row_is_as_the_index_says(row: Endpoint) -> None:
    method, path, who, mirror = INDEX[row.number]
    aliases = {
        "/api/health": "/health", "/api/search": f"{ADMIN}/search", f"{ADMIN}/pool-statistics": f"{ADMIN}/pools/statistics",
        f"{ADMIN}/agent-health": f"{ADMIN}/agents/health-summary",
        "/api/client/agents/{agent_id}/statistics": f"{A}/statistics",
    }  # fmt: skip
    assert (row.method, aliases.get(row.path, row.path), row.access.needs, row.mirror) == (method, path, who, mirror)


def test_every_row_of_this_index_is_served() -> None:
    assert set(INDEX) <= numbers(list(ALL))


def test_no_method_and_path_is_declared_twice() -> None:
    declared = [(row.method, row.path) for row in ALL]
    assert len(declared) == len(set(declared))


def test_a_deleted_client_may_call_what_ends_its_machines_and_nothing_else_z25() -> None:
    assert numbers([row for row in ALL if row.access.winding_down]) == WINDING_DOWN


def test_a_suspended_client_may_call_what_an_emergency_needs_and_nothing_else_z26() -> None:
    assert numbers([row for row in ALL if row.access.while_suspended]) == SUSPENDED


def test_what_is_idempotent_by_key_is_the_list_of_2_5() -> None:
    served = numbers(list(ALL))
    assert numbers([row for row in ALL if row.idempotent]) == IDEMPOTENT & served


def test_emergencies_heartbeats_and_lists_of_all_that_a_client_has_have_threads_of_their_own_t03() -> None:
    lanes = {row.number: row.lane for row in ALL if row.lane is not Lane.ORDINARY}
    lists = dict.fromkeys(("E22", "E23", "E24", "E29"), Lane.LIST)
    assert lanes == {**dict.fromkeys(URGENT, Lane.URGENT), "E17": Lane.PULSE, **lists}


def test_emergencies_and_heartbeats_are_never_answered_from_a_store_t05() -> None:
    assert not any(row.idempotent for row in ALL if row.lane is not Lane.ORDINARY)


def test_only_registration_reads_a_token_from_its_body_s13() -> None:
    assert numbers([row for row in ALL if row.body_token]) == {"E16"}


def test_only_the_calls_of_2_2_need_no_token() -> None:
    assert numbers([row for row in ALL if row.access.needs is Needs.NOBODY]) == {
        "E01", "E02", "E100", "livez", "readyz",
    }  # fmt: skip


def test_everything_an_agent_parses_is_mirrored() -> None:
    agents = [row for row in ENDPOINTS if row.path.startswith("/api/agents/")]
    assert all(row.mirror for row in agents)


def test_only_hand_outs_wait_z18() -> None:
    assert numbers([row for row in ALL if row.waits]) == {"E69", "E71", "E103"}


# ---- paths


def matched(frame: Frame, method: str, path: str) -> str | None:
    scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
    for route in frame.app.routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return str(getattr(route, "path", None))
    return None


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("POST", "/api/agents/register", "/api/agents/register"),
        ("POST", "/api/agents/uninstall", "/api/agents/uninstall"),
        ("GET", "/api/client/validate", "/api/client/validate"),
        ("DELETE", "/api/client/agents/a", MINE),
        ("POST", "/api/client/instances/launch", "/api/client/instances/launch"),
        ("GET", "/api/agents/a/commands/pending", f"{A}/commands/pending"),
        ("GET", "/api/agents/a/commands/stream", f"{A}/commands/stream"),
        ("POST", "/api/admin/clients/create", f"{ADMIN}/clients/create"),
    ],
)
def test_a_word_of_the_path_wins_over_an_id_in_its_place_6(frame: Frame, method: str, path: str, wanted: str) -> None:
    assert matched(frame, method, path) == wanted


@pytest.mark.parametrize("path", ["/health/", "/api/health/", "/health//", "/"])
def test_a_trailing_slash_is_not_significant(frame: Frame, path: str) -> None:
    assert frame.call("GET", path).status_code == 200


def test_a_trailing_slash_never_redirects_so_no_post_loses_its_body(frame: Frame) -> None:
    _, token = frame.client()
    agent = frame.agent(token)
    answer = frame.http.post(
        f"/api/agents/{agent}/heartbeat/",
        json={"status": "offline"},
        headers={"Authorization": f"Bearer {token}"},
        follow_redirects=False,
    )
    assert answer.status_code == 200
    assert answer.json()["data"]["status"] == "offline"  # the body arrived


@pytest.mark.parametrize("path", ["/api/agents/a", "/api/agents/a/x", "/api/nothing", "/nothing", "/api/agents"])
def test_no_path_redirects(frame: Frame, path: str) -> None:
    for method in ("GET", "POST"):
        assert frame.http.request(method, path, follow_redirects=False).status_code in (401, 404, 405)


@pytest.mark.parametrize("agent_id", ["None", "%00", "a%00b", "x" * 129, "%F0%9F%98%80", "..%2f..%2fadmin", "%ff"])
def test_an_id_that_nobody_can_have_is_unknown_and_creates_nothing(frame: Frame, agent_id: str) -> None:
    _, token = frame.client()
    for method, path in (
        ("POST", "heartbeat"),
        ("POST", "shutdown"),
        ("GET", "config"),
        ("POST", "termination-imminent"),
    ):
        answer = frame.call(method, f"/api/agents/{agent_id}/{path}", token)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert frame.storage.memory.tables.agents == {}


# ---- E01, E02


def test_health_says_its_word_at_the_top_and_the_facts_twice_e01(frame: Frame) -> None:
    for path in ("/health", "/api/health"):
        body = frame.call("GET", path, None).json()
        facts = {"status", "timestamp", "version", "uptime_seconds", "database", "decision_engine_loaded"}
        assert set(body) == facts | {"data", "error"}
        assert body["data"] == {name: body[name] for name in facts}
        assert (body["status"], body["database"], body["error"]) == ("healthy", "connected", None)
        assert type(body["uptime_seconds"]) is int
        assert body["timestamp"].endswith("Z")


def test_health_is_503_without_a_driver_message_while_the_database_is_away_e01(frame: Frame) -> None:
    frame.storage.failure = AWAY
    answer = frame.call("GET", "/health", None)
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert answer.json()["database"] == "disconnected"
    assert "pool" not in answer.text
    assert "10.0.0.1" not in answer.text


def test_the_root_names_the_server_and_hides_its_environment_e02(frame: Frame) -> None:
    body = frame.call("GET", "/", None).json()
    assert set(body["data"]) == {"name", "version", "status", "uptime_seconds", "endpoints"}
    assert body["data"]["status"] == "running"
    assert set(body["data"]["endpoints"]) == {"health", "admin", "client", "agents"}
