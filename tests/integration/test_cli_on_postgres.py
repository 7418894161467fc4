"""The operator's commands against the whole application on a real database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from spotapp.cli import main
from spotapp.commands import agents, clients, events, instances, notifications, overview, replicas, savings
from tests.support.served import served
from tests.support.server import ADMIN_TOKEN, Site, Tenant
from tests.support.wire_agents import TYPE, V4c


@frozen
class Cli:
    url: str

    def __call__(self, *words: str, token: str = ADMIN_TOKEN) -> Result:
        known = {"SPOTCORE_URL": self.url, "SPOTCORE_ADMIN_TOKEN": token}
        return CliRunner().invoke(main, list(words), env=known)

    def json(self, *words: str, token: str = ADMIN_TOKEN) -> Any:
        result = self(*words, "--output", "json", token=token)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def cli(site: Site) -> Iterator[Cli]:
    with served(site) as url:
        yield Cli(url)


def host(tenant: Tenant) -> V4c:
    agent = V4c(tenant, tenant.site.new_machine(), logical="web")
    assert agent.register().status == 200
    agent.heartbeat()
    agent.prices()
    return agent


def test_a_client_from_its_creation_to_its_end(cli: Cli) -> None:
    made = cli.json("clients", "create", "Acme", "--email", "ops@acme.example")["client"]
    assert cli.json("clients", "token", made["id"])["token"] == made["token"]
    fresh = cli.json("clients", "rotate", made["id"], "--grace", "60")["token"]
    assert fresh != made["token"]
    assert cli.json("clients", "token", made["id"])["token"] == fresh
    assert [row["name"] for row in cli.json("clients", "list")] == ["Acme"]
    assert "ops@acme.example" in cli("clients", "list").stdout
    assert "keep running" in cli("clients", "delete", made["id"], "--yes").stdout
    assert cli.json("clients", "list") == []
    again = cli("clients", "rotate", made["id"])
    assert (again.exit_code, "NOT_FOUND" in again.stderr) == (1, True)
    assert cli("clients", "create", "").exit_code == 1


def test_settings_switches_on_and_off_and_an_end_for_an_agent(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    agent = host(tenant)
    whole = cli.json("agents", "config", "get", agent.agent_id, "--whole", token=tenant.token)
    changed = cli.json(
        "agents", "config", "set", agent.agent_id, "auto_switch_enabled=false", "risk_threshold=0.5",
        "--expect", str(whole["config_version"]),
    )  # fmt: skip
    assert changed["config_version"] == whole["config_version"] + 1
    stored = tenant.aggregate(agent.agent_id).agent.config
    assert (stored.auto_switch_enabled, str(stored.risk_threshold)) == (False, "0.5")
    late = str(whole["config_version"])
    stale = cli("agents", "config", "set", agent.agent_id, "auto_switch_enabled=true", "--expect", late)
    assert (stale.exit_code, "CONFIG_CONFLICT" in stale.stderr) == (1, True)
    assert cli.json("agents", "disable", agent.agent_id)["enabled"] is False
    assert cli.json("agents", "enable", agent.agent_id)["enabled"] is True
    assert cli.json("agents", "show", agent.agent_id)["clientId"] == tenant.client_id
    assert cli("agents", "delete", agent.agent_id, "--yes").exit_code == 0
    assert cli("agents", "show", agent.agent_id).exit_code == 1


def test_a_replica_is_made_and_ended_and_its_successor_promoted(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    agent = host(tenant)
    cli.json("agents", "config", "set", agent.agent_id, "manual_replica_enabled=true")
    (first,) = agent.to_launch()
    refused = cli("replicas", "create", agent.agent_id)
    assert (refused.exit_code, "REPLICA_EXISTS" in refused.stderr) == (1, True)
    early = cli("replicas", "promote", agent.agent_id, first["id"], "--yes")
    assert (early.exit_code, "REPLICA_NOT_READY" in early.stderr) == (1, True)
    assert cli.json("replicas", "delete", agent.agent_id, first["id"], "--yes")["replica_id"] == first["id"]
    site.tick(300)
    agent.heartbeat()
    agent.prices()
    site.tick(30)
    (second,) = agent.to_launch()
    machine = site.new_machine()
    agent.launch_replica(second, machine)
    assert cli.json("replicas", "promote", agent.agent_id, second["id"], "--yes")["new_instance_id"] == machine
    assert tenant.primary(agent.agent_id) == machine
    assert cli.json("instances", "terminate", agent.machine, "--yes")["status"] == "terminating"


def test_a_machine_is_switched_and_never_ended_as_primary(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    agent = host(tenant)
    blocked = cli("instances", "terminate", agent.machine, "--yes")
    assert (blocked.exit_code, "IS_PRIMARY" in blocked.stderr) == (1, True)
    queued = cli.json("switch", agent.machine, "--to", f"{TYPE}.us-east-1b")
    assert (queued["success"], queued["status"]) == (True, "pending")
    twice = cli("switch", agent.machine, "--ondemand")
    assert (twice.exit_code, "COMMAND_IN_FLIGHT" in twice.stderr) == (1, True)


def test_what_the_operator_sees(cli: Cli, site: Site) -> None:
    host(site.client("Acme"))
    assert cli.json("stats")["totalAccounts"] == 1
    assert cli.json("agents", "list")["total"] == 1
    assert cli.json("instances", "list", "--status", "active")["total"] == 1
    assert cli.json("health")["database"] == "Connected"
    assert cli.json("jobs", "runs") == []
    assert cli.json("pools", "list")["total_pools"] >= 1
    assert cli.json("incidents", "emergencies", "--days", "1") == []
    assert any(row["eventType"] == "agent_registered" for row in cli.json("events", "show"))
    assert "Client ID,Name,Email" in cli("export", "stats").stdout
    for words in ("stats", "agents list", "instances list", "health", "pools list", "events show"):
        assert cli(*words.split()).exit_code == 0, words


def test_a_clients_token_opens_no_operators_command(cli: Cli, site: Site) -> None:
    token = site.client("Acme").token
    for words in ("clients list", "stats", "agents list", "export stats"):
        result = cli(*words.split(), token=token)
        assert (result.exit_code, "admin token" in result.stderr, token in result.output) == (1, True, False)


def test_what_a_client_has(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    agent = host(tenant)
    both = (ADMIN_TOKEN, tenant.token)
    for token in both:
        assert cli.json("clients", "show", tenant.client_id, token=token)["name"] == "Acme"
        (row,) = cli.json("agents", "list", "--client", tenant.client_id, token=token)
        assert row["id"] == agent.agent_id
        known = cli.json("agents", "config", "get", agent.agent_id, "--client", tenant.client_id, token=token)
        assert (known["auto_switch_enabled"], known["terminate_wait_minutes"]) == (True, 5)
        (machine,) = cli.json("instances", "list", "--client", tenant.client_id, token=token)
        assert machine["id"] == agent.machine
        assert cli.json("instances", "show", agent.machine, token=token)["instanceType"] == TYPE
        assert cli.json("replicas", "list", tenant.client_id, token=token) == []
        assert cli.json("savings", "show", tenant.client_id, token=token) == []
        assert cli.json("incidents", "status", agent.agent_id, token=token)["notice_status"] == "none"
        simulated = cli.json("switch", agent.machine, "--to", f"{TYPE}.us-east-1b", "--simulate", token=token)
        assert set(simulated["simulation"]) >= {"hourly_savings", "recommendation"}
        assert cli("export", "savings", tenant.client_id, token=token).stdout.startswith("Year,Month")
        assert cli("export", "switches", tenant.client_id, token=token).stdout.startswith("Timestamp,Old")
    tables = (
        f"clients show {tenant.client_id}", f"agents list --client {tenant.client_id}", f"replicas list {tenant.client_id}",
        f"agents config get {agent.agent_id}", f"instances list --client {tenant.client_id}",
        f"instances show {agent.machine}", f"savings show {tenant.client_id}", f"incidents status {agent.agent_id}",
        f"switch {agent.machine} --to {TYPE}.us-east-1b --simulate", "notifications list", "models list", "clients list",
    )  # fmt: skip
    for words in tables:
        result = cli(*words.split())
        assert result.exit_code == 0, (words, result.output)


def test_every_column_is_a_field_of_the_real_answer(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    agent = host(tenant)
    cli.json("agents", "config", "set", agent.agent_id, "manual_replica_enabled=true")
    answers: list[tuple[dict[str, str], Any]] = [
        (clients.COLUMNS, cli.json("clients", "list")[0]),
        (agents.COLUMNS, cli.json("agents", "list")["agents"][0]),
        (agents.OF_A_CLIENT, cli.json("agents", "list", "--client", tenant.client_id)[0]),
        ({key: key for key in agents.LISTED.values()}, cli.json("agents", "show", agent.agent_id, "--client", tenant.client_id)),
        (instances.COLUMNS, cli.json("instances", "list")["instances"][0]),
        (instances.OF_A_CLIENT, cli.json("instances", "list", "--client", tenant.client_id)[0]),
        (instances.SIMULATION, cli.json("switch", agent.machine, "--ondemand", "--simulate")["simulation"]),
        (replicas.COLUMNS, cli.json("replicas", "list", tenant.client_id)[0]),
        (notifications.COLUMNS, cli.json("notifications", "list")[0]),
        (events.COLUMNS, cli.json("events", "show")[0]),
        (savings.MONTH, cli.json("clients", "show", tenant.client_id)["savings"]),
        (overview.REGIONS, cli.json("pools", "list")["regions"][0]),
        (overview.TYPES, cli.json("pools", "list")["instance_types"][0]),
    ]  # fmt: skip
    missing = [(key, sorted(row)) for columns, row in answers for key in columns.values() if not has(row, key)]
    assert missing == []


def has(row: Any, key: str) -> bool:
    for name in key.split("."):
        if not isinstance(row, dict) or name not in row:
            return False
        row = row[name]
    return True


def test_messages_are_read(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    host(tenant)
    unread = cli.json("notifications", "list", "--unread", "--client", tenant.client_id)
    assert len(unread) > 1
    cli.json("notifications", "read", unread[0]["id"])
    left = cli.json("notifications", "list", "--unread", "--client", tenant.client_id)
    assert [row["id"] for row in left] == [row["id"] for row in unread[1:]]
    assert cli.json("notifications", "read-all", "--client", tenant.client_id)["marked_count"] == len(left)
    assert cli.json("notifications", "list", "--unread", "--client", tenant.client_id) == []
    assert cli.json("notifications", "list", "--unread", token=tenant.token) != []  # its own reading is its own (NT-2)


def test_uploads_and_sessions_of_models(cli: Cli, site: Site, tmp_path: Path) -> None:  # noqa: ARG001
    file = tmp_path / "model.pkl"
    file.write_bytes(b"\x80\x04.")
    refused = cli("models", "upload", str(file))
    assert refused.exit_code == 1
    assert "UPLOAD_DISABLED" in refused.stderr or "UNSUPPORTED_FILE_TYPE" in refused.stderr
    assert cli.json("models", "list") == []
    for words in (["models", "fallback"], ["models", "activate", "nothing"]):
        result = cli(*words)
        assert (result.exit_code, "NOT_FOUND" in result.stderr) == (1, True)
