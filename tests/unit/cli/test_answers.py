"""Every command asks the right endpoint, shows the facts in a table, and hands on ``data`` unchanged as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_http import ScriptedHttp, Told, success
from tests.unit.cli.bodies import (
    ACTIVITY,
    AGENT,
    CLIENT,
    CLIENT_AGENT,
    CLIENT_MACHINE,
    CONFIG,
    DAY,
    EMERGENCY,
    FOUND_AGENT,
    HEALTH,
    JOB,
    MACHINE,
    METRICS,
    MONTH,
    NOTIFICATION,
    PERIOD,
    POOLS,
    REPLICA,
    SESSION,
    SIMULATION,
    STATS,
    UPLOADED,
)  # fmt: skip
from tests.unit.cli.conftest import TOKEN, Cli

OK: dict[str, Any] = {"success": True}
CONFIGURED = {
    **OK, "auto_switch_enabled": False, "manual_replica_enabled": False, "auto_terminate_enabled": True,
    "terminate_wait_seconds": 300, "config_version": 5,
}  # fmt: skip
QUEUED = {**OK, "command_id": "command-1", "status": "pending"}
CREATED = {
    **OK, "replica_id": "replica-1", "instance_id": "replica-12345678", "pool": {"id": "m5.large.us-east-1b"},
    "hourly_cost": None, "status": "launching",
}  # fmt: skip
PROMOTED = {
    **OK, "new_instance_id": "i-0def", "new_primary_id": "i-0def", "old_instance_id": "i-0abc", "demoted": False,
    "switch_time": "2026-03-02T12:00:00Z",
}  # fmt: skip
ENDED = {**OK, "replica_id": "replica-1", "terminated_at": "2026-03-02T12:00:00Z"}
ENDING = {**OK, "instance_id": "i-0abc", "command_id": None, "request_id": None, "status": "terminating"}

CASES: list[tuple[str, str, Any, list[str]]] = [
    # words, what is asked, the data answered, what the table shows
    ("clients create Acme", "POST /api/admin/clients/create", {**OK, "client": {"id": "client-1", "name": "Acme", "email": None, "token": "ab" * 32, "status": "active"}}, ["client-1", "ab" * 32]),
    ("clients list", "GET /api/admin/clients", [CLIENT], ["client-1", "Acme", "8.25", "–"]),
    ("clients show client-1", "GET /api/client/client-1", {**CLIENT, "savings": MONTH}, ["savings.actual_cost", "40.25"]),
    ("clients token client-1", "GET /api/admin/clients/client-1/token", {"token": "cd" * 32, "token_hint": "cdcd", "client_name": "Acme"}, ["cd" * 32]),
    ("clients rotate client-1", "POST /api/admin/clients/client-1/regenerate-token", {**OK, "token": "ef" * 32}, ["ef" * 32]),
    ("clients delete client-1 --yes", "DELETE /api/admin/clients/client-1", OK, ["Client client-1 deleted"]),
    ("agents list", "GET /api/admin/agents", {"agents": [AGENT], "total": 1, "filters": {}}, ["web-1", "Acme", "yes", "no"]),
    ("agents list --client client-1", "GET /api/client/client-1/agents", [CLIENT_AGENT], ["web-1", "m5.large.us-east-1a"]),
    ("agents config get agent-1 --whole", "GET /api/agents/agent-1/config", CONFIG, ["min_savings_percent", "15.0"]),
    ("agents config set agent-1 auto_switch_enabled=false", "POST /api/client/agents/agent-1/config", CONFIGURED, ["config_version", "5"]),
    ("agents enable agent-1", "POST /api/client/agents/agent-1/toggle-enabled", {**OK, "enabled": True, "config_version": 6}, ["6"]),
    ("agents disable agent-1", "POST /api/client/agents/agent-1/toggle-enabled", {**OK, "enabled": False, "config_version": 7}, ["7"]),
    ("agents delete agent-1 --yes", "DELETE /api/client/agents/agent-1", {**OK, "agent_id": "agent-1"}, ["Agent agent-1 deleted"]),
    ("instances list", "GET /api/admin/instances", {"instances": [MACHINE], "total": 1, "filters": {}}, ["i-0abc", "0.0312", "–"]),
    ("instances list --client client-1", "GET /api/client/client-1/instances", [CLIENT_MACHINE], ["running_primary", "0.096"]),
    ("instances show i-0abc", "GET /api/client/instances/i-0abc/metrics", METRICS, ["uptimeHours", "avgSwitchDowntimeSeconds"]),
    ("instances terminate i-0abc --yes", "POST /api/client/instances/i-0abc/terminate", ENDING, ["i-0abc is terminating"]),
    ("switch i-0abc --ondemand", "POST /api/client/instances/i-0abc/force-switch", QUEUED, ["command-1"]),
    ("switch i-0abc --to m5.large.us-east-1b --simulate", "POST /api/client/instances/i-0abc/simulate-switch", SIMULATION, ["6.48", "strongly_recommended"]),
    ("replicas list client-1", "GET /api/client/client-1/replicas", [REPLICA], ["replica-1", "i-0def", "0.031", "100.0"]),
    ("replicas create agent-1", "POST /api/agents/agent-1/replicas", CREATED, ["launching", "pool.id"]),
    ("replicas promote agent-1 replica-1 --yes", "POST /api/agents/agent-1/replicas/replica-1/promote", PROMOTED, ["i-0def"]),
    ("replicas delete agent-1 replica-1 --yes", "DELETE /api/agents/agent-1/replicas/replica-1", ENDED, ["Replica replica-1 ended"]),
    ("incidents emergencies", "GET /api/admin/emergency-events", [DAY], ["2026-03-02", "Acme", "4"]),
    ("incidents status agent-1", "GET /api/agents/agent-1/emergency-status", EMERGENCY, ["rebalance", "emergency_replica.status", "syncing"]),
    ("notifications list", "GET /api/notifications", [NOTIFICATION], ["Agent web-1 is offline", "warning"]),
    ("notifications read note-1", "POST /api/notifications/note-1/mark-read", OK, ["marked as read"]),
    ("notifications read-all", "POST /api/notifications/mark-all-read", {**OK, "marked_count": 12}, ["12 marked"]),
    ("events show", "GET /api/admin/activity", [ACTIVITY], ["switch_completed", "web-1 now runs on i-0def"]),
    ("models list", "GET /api/admin/ml-models/sessions", [SESSION], ["session-1", "manifest.json, weights.safetensors", "2048"]),
    ("models activate session-1", "POST /api/admin/ml-models/activate", {**OK, "sessionId": "session-1", "restarting": False, "model_status": {"loaded": True, "type": "x"}}, ["session-1 is live"]),
    ("model activate session-1", "POST /api/admin/ml-models/activate", {**OK, "sessionId": "session-1", "restarting": False, "model_status": {"loaded": True, "type": "x"}}, ["session-1 is live"]),
    ("models fallback", "POST /api/admin/ml-models/fallback", {**OK, "fallbackSessionId": "session-0", "fallback_session": "session-0", "restarting": False}, ["session-0 is live again"]),
    ("pools list", "GET /api/admin/pools/statistics", POOLS, ["3 pools, 2 active", "us-east-1", "m5.large", "0.096"]),
    ("stats", "GET /api/admin/stats", STATS, ["agentsTotal", "43"]),
    ("health", "GET /api/admin/system-health", HEALTH, ["connectionPool", "2/12", "backgroundJobs.jobs[1].name", "upkeep"]),
    ("jobs runs", "GET /api/admin/consolidation-jobs", [JOB], ["price_consolidation", "120"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "name", "data", "facts"), CASES, ids=[case[0] for case in CASES])
def test_the_table_shows_the_facts(cli: Cli, words: str, name: str, data: Any, facts: list[str]) -> None:
    cli.server.tell(name, success(data))
    table = cli.table(*words.split())
    assert all(fact in table for fact in facts), table
    (asked,) = cli.server.asked
    assert (asked.name, asked.headers["Authorization"]) == (name, f"Bearer {TOKEN}")
    assert TOKEN not in table


@pytest.mark.parametrize(("words", "name", "data", "facts"), CASES, ids=[case[0] for case in CASES])
def test_json_is_the_data_unchanged(cli: Cli, words: str, name: str, data: Any, facts: list[str]) -> None:  # noqa: ARG001
    cli.server.tell(name, success(data, "a message for people"))
    assert cli.json(*words.split()) == data


def test_the_settings_an_admin_may_see_come_from_the_lists(cli: Cli) -> None:
    cli.server.tell("GET /api/admin/search", success({"agents": [FOUND_AGENT]}))
    cli.server.tell("GET /api/client/client-1/agents", success([CLIENT_AGENT]))
    assert cli.json("agents", "config", "get", "agent-1") == {
        "enabled": True, "auto_switch_enabled": True, "manual_replica_enabled": False, "auto_terminate_enabled": True,
        "terminate_wait_minutes": 5, "config_version": 4,
    }  # fmt: skip
    assert cli.json("agents", "show", "agent-1") == {"clientId": "client-1", "clientName": "Acme", **CLIENT_AGENT}
    assert cli.json("agents", "show", "agent-1", "--client", "client-1") == CLIENT_AGENT
    wanted = ("auto_switch_enabled=true", "terminate_wait_minutes=9", "risk_threshold=0.4")
    assert cli.json("agents", "config", "diff", "agent-1", *wanted) == [
        {"setting": "terminate_wait_minutes", "now": 5, "then": 9},
        {"setting": "risk_threshold", "now": "not shown to this token", "then": 0.4},
    ]
    assert "nothing would change" in cli.table("agents", "config", "diff", "agent-1", "auto_switch_enabled=true")
    assert all(asked.name.startswith("GET ") for asked in cli.server.asked)


def test_savings_show_the_month_above_the_periods_and_json_is_the_periods_alone(cli: Cli) -> None:
    cli.server.tell("GET /api/client/client-1/savings", success([PERIOD]))
    cli.server.tell("GET /api/client/client-1", success({**CLIENT, "savings": MONTH}))
    table = cli.table("savings", "show", "client-1")
    assert [word in table for word in ("59.95", "March", "60.25", "month at this rate")] == [True] * 4
    assert cli.json("savings", "show", "client-1") == [PERIOD]


def test_exports_are_written_byte_for_byte(cli: Cli, tmp_path: Path) -> None:
    content = 'Client ID,Name\r\nclient-1,"\'=Acme, Ü"\r\n'.encode()
    for words, path in {
        "savings client-1": "/api/client/client-1/export/savings",
        "switches client-1": "/api/client/client-1/export/switch-history",
        "stats": "/api/admin/export/global-stats",
    }.items():
        cli.server.tell(f"GET {path}", Told(200, content, "text/csv; charset=utf-8"))
        file = tmp_path / "out.csv"
        assert cli("export", *words.split(), "--to", str(file)).exit_code == 0
        assert file.read_bytes() == content
        assert cli("export", *words.split()).stdout_bytes == content


def test_an_upload_sends_the_files_and_says_how_to_go_on(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    file.write_text('{"a": 1}')
    cli.server.tell("POST /api/admin/ml-models/upload", success(UPLOADED, status=200))
    assert "spotcore models activate session-2" in cli.table("models", "upload", str(file), "--name", "m1")
    (asked,) = cli.server.asked
    assert asked.headers["Content-Type"].startswith("multipart/form-data")
    assert [part in asked.raw for part in (b'name="files"; filename="manifest.json"', b'{"a": 1}', b"m1")] == [True] * 3


def test_a_switch_to_where_the_agent_is_already_is_no_failure(cli: Cli) -> None:
    cli.server.tell("POST /api/client/instances/i-0abc/force-switch", success({"success": False}, "Already there"))
    assert cli.table("switch", "i-0abc", "--ondemand") == "Already there (nothing to do)\n"


def test_a_token_the_server_cannot_show_names_the_way_out(cli: Cli) -> None:
    data = {"token": None, "token_hint": "beef", "client_name": "Acme"}
    cli.server.tell("GET /api/admin/clients/client-1/token", success(data))
    result = cli("clients", "token", "client-1")
    assert (result.exit_code, "beef" in result.stderr, "spotcore clients rotate" in result.stderr) == (1, True, True)
    assert cli.json("clients", "token", "client-1") == data


def test_ids_are_one_part_of_the_path_whatever_they_hold(cli: Cli) -> None:
    cli("clients", "show", "../admin/clients?x=1")
    assert cli.server.asked[0].name == "GET /api/client/..%2Fadmin%2Fclients%3Fx%3D1"


def test_names_from_agents_cannot_write_to_the_terminal(cli: Cli) -> None:
    hostile = {**AGENT, "hostname": "\x1b[2Jgone [red]x[/red]"}
    cli.server.tell("GET /api/admin/agents", success({"agents": [hostile], "total": 1, "filters": {}}))
    table = cli.table("agents", "list")
    assert ("\x1b" in table, "[red]x[/red]" in table) == (False, True)


def test_an_empty_list_says_so(cli: Cli, server: ScriptedHttp) -> None:
    server.tell("GET /api/admin/clients", success([]))
    assert "spotcore clients create" in cli.table("clients", "list")


def test_a_list_as_long_as_it_may_be_says_that_there_may_be_more(cli: Cli) -> None:
    cli.server.tell("GET /api/admin/agents", success({"agents": [AGENT] * 1000, "total": 1000, "filters": {}}))
    result = cli("agents", "list", "--output", "json")
    assert (len(json.loads(result.stdout)["agents"]), "--client ID" in result.stderr) == (1000, True)
