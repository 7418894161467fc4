"""``spotcore agents``: who runs where, and their settings."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import click

from spotapp.commands.api import ADMIN_CALL, CLIENT_CALL, Api, ApiFailure, part
from spotapp.commands.options import Remote, ask, remote, yes_option
from spotcore.config import SETTINGS

EVERYWHERE: Final = "/api/admin/agents"
SEARCH: Final = "/api/admin/search"
LIMIT: Final = 1000  # of the list (E09)
COLUMNS: Final = {
    "id": "id", "name": "logicalAgentId", "host": "hostname", "client": "clientName", "status": "status",
    "enabled": "enabled", "auto": "autoSwitchEnabled", "manual": "manualReplicaEnabled", "machine": "instanceId",
    "pool": "currentPoolId", "mode": "currentMode", "last heard": "lastHeartbeatAt",
}  # fmt: skip
OF_A_CLIENT: Final = {**COLUMNS, "last heard": "lastHeartbeat"}
del OF_A_CLIENT["client"]

WRITABLE: Final = (*(name for name in SETTINGS if name != "enabled"), "terminate_wait_minutes")
LISTS: Final = ("preferred_azs", "excluded_pools")
LISTED: Final = {
    "enabled": "enabled",
    "auto_switch_enabled": "autoSwitchEnabled",
    "manual_replica_enabled": "manualReplicaEnabled",
    "auto_terminate_enabled": "autoTerminateEnabled",
    "terminate_wait_minutes": "terminateWaitMinutes",
    "config_version": "configVersion",
}
"""Setting → its name in the list of a client's agents, which the admin token opens too (E22)."""

NEEDS_ADMIN: Final = f"{ADMIN_CALL}; with a client token name the client: --client ID"
WHOLE_NEEDS_CLIENT: Final = f"{CLIENT_CALL}; without --whole the admin token is enough"
client_option = click.option("--client", metavar="ID", help="Look at this client's agents alone.")


@click.group()
def agents() -> None:
    """Agents: who runs where, settings, on, off, delete."""


@agents.command("list")
@client_option
@remote
def list_agents(remote: Remote, client: str | None) -> None:
    """All agents, or one client's, by last heartbeat.

    \b
    Example:
      spotcore agents list --client 7d8f5c1e-…
    """
    if client is None:
        data = remote.api.get(EVERYWHERE, needs=NEEDS_ADMIN, limit=LIMIT)  # E09
        remote.screen.rows(data, data["agents"], COLUMNS, empty="no agents yet")
        remote.screen.cut(len(data["agents"]), LIMIT, "name a client: --client ID")
    else:
        data = _of_client(remote.api, client)
        remote.screen.rows(data, data, OF_A_CLIENT, empty="no agents yet")


@agents.command()
@click.argument("agent")
@client_option
@remote
def show(remote: Remote, agent: str, client: str | None) -> None:
    """One agent.

    \b
    Example:
      spotcore agents show 2b1c9a4e-…
    """
    remote.screen.facts(_one(remote.api, agent, client))


@agents.group()
def config() -> None:
    """An agent's settings: get, set, and what a set would change."""


whole_option = click.option("--whole", is_flag=True, help="Every setting; opens to the client's own token alone.")


@config.command("get")
@click.argument("agent")
@client_option
@whole_option
@remote
def get_config(remote: Remote, agent: str, client: str | None, whole: bool) -> None:
    """Settings of an agent: those any token may see, or with a client token all of them.

    \b
    Example:
      spotcore agents config get 2b1c9a4e-…
    """
    remote.screen.facts(_settings(remote.api, agent, client, whole))


@config.command("set")
@click.argument("agent")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE…")
@click.option("--expect", type=int, metavar="N", help="Refuse unless the settings are at this version.")
@remote
def set_config(remote: Remote, agent: str, settings: tuple[str, ...], expect: int | None) -> None:
    """Change settings of an agent.

    \b
    Example:
      spotcore agents config set 2b1c9a4e-… auto_switch_enabled=false terminate_wait_minutes=10 --expect 4
    """
    wanted = parsed(settings)
    body = wanted if expect is None else {**wanted, "expected_version": expect}  # CV-7
    data, _ = remote.api.post(f"/api/client/agents/{part(agent)}/config", body)  # E20
    remote.screen.facts(data)


@config.command()
@click.argument("agent")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE…")
@client_option
@whole_option
@remote
def diff(remote: Remote, agent: str, settings: tuple[str, ...], client: str | None, whole: bool) -> None:
    """Say what a set would change, and change nothing.

    \b
    Example:
      spotcore agents config diff 2b1c9a4e-… auto_switch_enabled=false
    """
    wanted = parsed(settings)
    now = _settings(remote.api, agent, client, whole)
    changes = [
        {"setting": name, "now": now.get(name) if name in now else "not shown to this token", "then": value}
        for name, value in wanted.items()
        if name not in now or now[name] != value
    ]
    columns = {"setting": "setting", "now": "now", "then": "then"}
    remote.screen.rows(changes, changes, columns, empty="nothing would change")


@agents.command()
@click.argument("agent")
@remote
def enable(remote: Remote, agent: str) -> None:
    """Let an agent be optimised again.

    \b
    Example:
      spotcore agents enable 2b1c9a4e-…
    """
    _toggle(remote, agent, True)


@agents.command()
@click.argument("agent")
@remote
def disable(remote: Remote, agent: str) -> None:
    """Stop optimising an agent; emergencies are still handled.

    \b
    Example:
      spotcore agents disable 2b1c9a4e-…
    """
    _toggle(remote, agent, False)


@agents.command()
@click.argument("agent")
@yes_option
@remote
def delete(remote: Remote, agent: str, yes: bool) -> None:
    """Delete an agent: its replicas end, its primary keeps running.

    \b
    Example:
      spotcore agents delete 2b1c9a4e-… --yes
    """
    ask(f"Delete agent {agent} and end its replicas?", yes)
    data, message = remote.api.delete(f"/api/client/agents/{part(agent)}")  # E21
    remote.screen.done(data, message or f"Agent {agent} deleted")


def parsed(settings: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` words as a request. The server ignores names it does not know (T06), so they are refused here."""
    wanted: dict[str, Any] = {}
    for word in settings:
        name, equals, text = word.partition("=")
        if not equals:
            raise click.UsageError(f"{word!r} is not KEY=VALUE, e.g. auto_switch_enabled=false")
        if name == "enabled":
            raise click.UsageError("enabled has commands of its own: spotcore agents enable, spotcore agents disable")
        if name not in WRITABLE:
            raise click.UsageError(f"there is no setting {name!r}; there are: {', '.join(WRITABLE)}")
        wanted[name] = _value(name, text)
    return wanted


def _value(name: str, text: str) -> Any:
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        words = [word.strip() for word in text.split(",") if word.strip()]
        return words if name in LISTS else text


def _finite(word: str) -> float:
    """Raises ``ValueError`` for NaN, Infinity and what is too large to be anything else: no JSON holds them."""
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word} is no number")
    return value


def _toggle(remote: Remote, agent: str, enabled: bool) -> None:
    data, _ = remote.api.post(f"/api/client/agents/{part(agent)}/toggle-enabled", {"enabled": enabled})  # E19
    remote.screen.facts(data)


def _of_client(api: Api, client: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/api/client/{part(client)}/agents")  # E22
    return found


def _one(api: Api, agent: str, client: str | None) -> Mapping[str, Any]:
    """An agent as its client's people see it; without a client's id whose it is, too, which the search knows: the list
    of all ends with the thousandth, and begins with who was heard last."""
    owner = _owner(api, agent) if client is None else {"clientId": client}
    rows = _of_client(api, owner["clientId"])
    for row in rows:
        if row["id"] == agent:
            return row if client is not None else {**owner, **row}
    raise ApiFailure(f"no agent {agent} among the client's {len(rows)}; see: spotcore agents list --client ID")


def _owner(api: Api, agent: str) -> dict[str, Any]:
    found = api.get(SEARCH, needs=NEEDS_ADMIN, q=agent, types="agents")["agents"]  # E93
    for row in found:
        if row["id"] == agent:
            return {name: row[name] for name in ("clientId", "clientName")}
    raise ApiFailure(f"no agent has the id {agent}; see: spotcore agents list, or name its client: --client ID")


def _settings(api: Api, agent: str, client: str | None, whole: bool) -> Mapping[str, Any]:
    if whole:
        found: dict[str, Any] = api.get(f"/api/agents/{part(agent)}/config", needs=WHOLE_NEEDS_CLIENT)  # E18
        return found
    row = _one(api, agent, client)
    return {name: row.get(key) for name, key in LISTED.items()}
