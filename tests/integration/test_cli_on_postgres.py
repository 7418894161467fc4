"""The operator's commands against the whole application on a real database."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from spotapp.cli import main
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
    assert cli.json("jobs") == []
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
