"""What deploy/ starts exists: commands, settings, probes and extras are those of the code; operations' links lead somewhere."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from spotadapters.http.app import ENDPOINTS
from spotapp.cli import main
from spotapp.settings import VARIABLES
from spotcore.events import EventKind

ROOT = Path(__file__).parents[2]
DEPLOY, OPERATIONS = ROOT / "deploy", ROOT / "docs" / "operations"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
OF_OTHERS = {"POSTGRES_DB", "POSTGRES_PASSWORD"}


def documents() -> Iterator[Any]:
    for file in MANIFESTS:
        yield from yaml.safe_load_all(file.read_text())


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def containers() -> list[Any]:
    return [
        container
        for one in documents()
        if one["kind"] in ("Deployment", "Job")
        for container in one["spec"]["template"]["spec"]["containers"]
    ]


def test_every_command_that_is_started_exists() -> None:
    started = [one["args"][0] for one in containers()]
    started += [one["command"][0] for one in compose().values() if one.get("image") == "spotcore"]
    assert sorted(started) == sorted(["serve", "scheduler", "worker", "migrate"] * 2)
    assert set(started) <= set(main.commands)


def test_every_setting_that_is_given_is_one() -> None:
    given = {name for one in compose().values() for name in one.get("environment", {})} - OF_OTHERS
    given |= {name for one in documents() if one["kind"] == "Secret" for name in one["stringData"]}
    given |= set(re.findall(r"SPOTCORE_[A-Z_]+", (DEPLOY / "Dockerfile").read_text()))
    assert given <= {variable for variable, _ in VARIABLES.values()}
    assert {"SPOTCORE_DATABASE_URL", "SPOTCORE_REDIS_URL", "SPOTCORE_ADMIN_TOKEN", "SPOTCORE_SEAL_KEY"} <= given


def test_no_secret_stands_in_the_repository() -> None:
    for one in documents():
        if one["kind"] == "Secret":
            assert all("CHANGE-ME" in text or name == "SPOTCORE_REDIS_URL" for name, text in one["stringData"].items())


def test_probes_ask_what_is_served_and_only_readiness_asks_the_database() -> None:
    paths = {endpoint.path for endpoint in ENDPOINTS}
    (web,) = [one for one in containers() if one["name"] == "web"]
    probes = {name: web[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert set(probes.values()) <= paths
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_selectors_find_the_pods_and_every_container_is_confined() -> None:
    for one in documents():
        if one["kind"] == "Deployment":
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["replicas"] >= 2
    for container in containers():
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_image_installs_extras_that_exist() -> None:
    found = re.search(r"'\.\[(.+)\]'", (DEPLOY / "Dockerfile").read_text())
    assert found is not None
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(found[1].split(",")) <= set(extras)


@pytest.mark.parametrize("page", sorted(OPERATIONS.glob("*.md")), ids=lambda page: page.name)
def test_links_of_operations_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_alarms_name_events_and_metrics_that_exist() -> None:
    text = (OPERATIONS / "alarms.md").read_text()
    source = "".join(file.read_text() for file in (ROOT / "src").rglob("*.py"))
    events = {one.value for one in EventKind}
    for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text):
        if name.startswith("spotcore_"):
            bare = name.removeprefix("spotcore_").removesuffix("_total")
            assert bare in source, name
        else:
            assert name in events or f'"{name}"' in source, name


def test_the_agents_policy_is_json_and_ends_only_its_own_fleet() -> None:
    found = re.search(r"```json\n(.+?)```", (OPERATIONS / "agents.md").read_text(), re.DOTALL)
    assert found is not None
    policy = yaml.safe_load(found[1])
    ending = [one for one in policy["Statement"] if "ec2:TerminateInstances" in one["Action"]]
    assert [set(one["Condition"]["StringEquals"]) for one in ending] == [{"aws:ResourceTag/Fleet"}]
