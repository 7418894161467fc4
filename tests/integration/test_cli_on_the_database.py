"""The operator's commands that work on the database itself (CL-4, CL-5, CL-6, CV-9)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spotadapters.embedded import running_database_url
from spotapp.cli import main
from tests.support.served import served
from tests.support.server import ADMIN_TOKEN, Site
from tests.support.up import TOKEN, Up
from tests.support.wire_agents import V4c


class Cli:
    def __init__(self, tmp_path: Path, database_url: str | None) -> None:
        self._environment = {"SPOTCORE_DATA_DIR": str(tmp_path), "SPOTCORE_DATABASE_URL": database_url}

    def __call__(self, *words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(main, ["clients", *words], input=answer, env=self._environment)

    def json(self, *words: str) -> Any:
        result = self(*words, "--output", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    return Cli(tmp_path, database_url)


def test_suspended_and_resumed_cl5_z26(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    assert cli.json("suspend", tenant.client_id)["status"] == "suspended"
    assert tenant.get("/api/client/validate").body["code"] == "INACTIVE_CLIENT"
    assert cli.json("resume", tenant.client_id)["status"] == "active"
    assert tenant.get("/api/client/validate").status == 200


def test_limits_are_shown_set_one_by_one_and_lifted_cl4(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")

    def limits(*words: str) -> tuple[int | None, int | None]:
        facts = cli.json("limits", tenant.client_id, *words)
        return facts["max_agents"], facts["max_instances"]

    assert limits() == (None, None)
    assert limits("--max-agents", "0") == (0, None)
    assert limits("--max-instances", "9") == (0, 9)
    refused = V4c(tenant, site.new_machine(), logical="web").register()
    assert (refused.status, refused.body["code"]) == (409, "LIMIT_REACHED")
    assert limits("--max-agents", "none") == (None, 9)


def test_commands_are_listed_and_taken_back(site: Site) -> None:
    tenant = site.client("Acme")
    agent = V4c(tenant, site.new_machine(), logical="web")
    agent.register()
    environment = {"SPOTCORE_DATABASE_URL": site.connections.database_url}

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["commands", *words], env=environment)

    assert "no commands" in run("list", agent.agent_id).stdout
    tenant.post(f"/api/client/instances/{agent.machine}/force-switch", {"target": "ondemand"})
    (listed,) = json.loads(run("list", agent.agent_id, "--output", "json").stdout)
    assert (listed["kind"], listed["origin"], listed["state"]) == ("switch", "user", "pending")
    assert listed["target"] == "on-demand"  # which has no pool
    assert "is cancelled" in run("cancel", agent.agent_id, listed["id"]).stdout
    assert agent.commands() == []
    assert run("cancel", agent.agent_id, listed["id"]).exit_code == 0  # twice is the same
    assert run("cancel", agent.agent_id, "nothing").exit_code == 1
    unknown = run("list", "nobody")
    assert (unknown.exit_code, "agents list" in unknown.stderr) == (1, True)


def test_defaults_and_apply_to_all_cv9(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    agent = V4c(tenant, site.new_machine(), logical="web")
    agent.register()
    facts = cli.json("defaults", tenant.client_id, "--no-auto-switch", "--terminate-wait", "600")
    assert (facts["default_auto_switch"], facts["default_terminate_wait_seconds"]) == (False, 600)
    assert cli.json("defaults", tenant.client_id) == facts
    assert tenant.aggregate(agent.agent_id).agent.config.auto_switch_enabled
    assert cli("apply-to-all", tenant.client_id, answer="n\n").exit_code == 1
    assert cli.json("apply-to-all", tenant.client_id, "--yes") == {"changed": [agent.agent_id]}
    assert not tenant.aggregate(agent.agent_id).agent.config.auto_switch_enabled


def test_a_purge_asks_for_the_name_cl6(cli: Cli, site: Site) -> None:
    tenant = site.client("Acme")
    early = cli("purge", tenant.client_id, answer="Acme\n")
    assert (early.exit_code, "deleted before it is purged" in early.stderr) == (1, True)
    site.call("DELETE", f"/api/admin/clients/{tenant.client_id}")
    wrong = cli("purge", tenant.client_id, answer="acme\n")
    assert (wrong.exit_code, "not the client's name" in wrong.stderr) == (1, True)
    done = cli("purge", tenant.client_id, answer="Acme\n")
    assert (done.exit_code, "rows erased" in done.stdout) == (0, True)
    gone = cli("purge", tenant.client_id, "--confirm", "Acme")
    assert (gone.exit_code, len(gone.stderr.splitlines())) == (1, 1)


def test_an_unknown_client_is_one_line(cli: Cli) -> None:
    for words in (["suspend"], ["resume"], ["limits"], ["defaults"], ["apply-to-all", "--yes"], ["purge"]):
        result = cli(*words, "nobody")
        assert (result.exit_code, "unknown client" in result.stderr, result.stdout) == (1, True, "")


def test_a_running_server_need_not_stop_for_it(folder: Path) -> None:
    up = Up(folder, SPOTCORE_ADMIN_TOKEN=TOKEN)
    try:
        client = up.post("/api/admin/clients/create", {"name": "Acme"}).json()["data"]["client"]
        assert Cli(folder, None).json("suspend", client["id"])["status"] == "suspended"
        body = {"instance_id": "i-0a", "instance_type": "m5.large", "region": "us-east-1", "az": "us-east-1a"}
        assert up.post("/api/agents/register", body, client["token"]).json()["code"] == "INACTIVE_CLIENT"
    finally:
        assert up.stop(signal.SIGINT) == 0
    assert running_database_url(folder) is None
    assert Cli(folder, None).json("resume", client["id"])["status"] == "active"  # starts a database for the moment


def test_events_are_followed_as_they_happen_e90(site: Site) -> None:
    site.relay.start()
    with served(site) as url:
        command = [sys.executable, "-m", "spotapp.cli", "events", "show", "--follow", "--output", "json", "--url", url]
        environment = {**os.environ, "SPOTCORE_ADMIN_TOKEN": ADMIN_TOKEN}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as following:
            try:
                assert following.stdout is not None
                deadline = time.monotonic() + 30
                while site.call("GET", "/api/events/stats").data["active_connections"] == 0:
                    assert time.monotonic() < deadline, "nobody follows"
                    time.sleep(0.05)
                site.client("Acme")
                row = json.loads(following.stdout.readline())
                assert (row["event"], "Acme" in row["data"]["data"]["message"]) == ("NOTIFICATION", True)
            finally:
                following.terminate()  # a shell may have made its background jobs deaf to SIGINT
                following.wait(10)
