"""Every code a server refuses with: the server's own words, status and code, details, and what to do about it."""

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from spotapp import commands as folder_of_commands
from spotapp.cli import main
from spotapp.commands.api import FIXES
from spotapp.commands.reference import leaves
from tests.support.scripted_http import Told, refusal
from tests.unit.cli.conftest import TOKEN, Cli

STATS = "GET /api/admin/stats"
CODES: list[tuple[int, str, dict[str, Any], str | None]] = [
    # status, code, details, the fix where the server's own text has none (http-api 1.5)
    (400, "VALIDATION_ERROR", {"name": ["required"]}, None),
    (400, "MUTUALLY_EXCLUSIVE", {}, None),
    (400, "AGENT_DISABLED", {}, None),
    (400, "MANUAL_REPLICA_DISABLED", {}, None),
    (400, "REPLICA_EXISTS", {}, None),
    (400, "REPLICA_NOT_READY", {"status": "syncing", "progress": 40}, None),
    (400, "REPLICA_INACTIVE", {}, None),
    (400, "NO_SUITABLE_POOL", {}, None),
    (400, "POOL_MISMATCH", {}, None),
    (400, "NOT_PRIMARY", {}, None),
    (400, "UNSUPPORTED_FILE_TYPE", {}, None),
    (400, "CONFIRMATION_REQUIRED", {}, None),
    (400, "UNSUPPORTED_OPERATION", {}, None),
    (401, "UNAUTHORIZED", {}, "--token or SPOTCORE_ADMIN_TOKEN"),
    (401, "INVALID_AUTH_FORMAT", {}, "--token or SPOTCORE_ADMIN_TOKEN"),
    (401, "INVALID_TOKEN", {}, "--token or SPOTCORE_ADMIN_TOKEN"),
    (403, "INACTIVE_CLIENT", {}, "spotcore clients resume"),
    (403, "FORBIDDEN", {}, "use that client's token, or the admin token"),
    (403, "AUTO_SWITCH_DISABLED", {}, None),
    (403, "UPLOAD_DISABLED", {}, "the operator of the server switched uploads off"),
    (404, "NOT_FOUND", {}, "check the id with the list command of the same group"),
    (405, "METHOD_NOT_ALLOWED", {}, None),
    (409, "CLIENT_EXISTS", {}, None),
    (409, "DUPLICATE_EMAIL", {}, None),
    (409, "STATE_CONFLICT", {}, "look at the present state and try again"),
    (409, "SWITCH_BLOCKED", {"guards": ["COOLDOWN", "COMMAND_IN_FLIGHT"]}, None),
    (409, "REPLICA_NOT_PROMOTABLE", {}, None),
    (409, "IS_PRIMARY", {}, None),
    (409, "LOGICAL_AGENT_CONFLICT", {}, None),
    (409, "INSTANCE_OWNED", {}, None),
    (409, "LIMIT_REACHED", {}, None),
    (409, "CONFIG_CONFLICT", {"config": {"config_version": 5}}, "spotcore agents config get"),
    (409, "DUPLICATE_REQUEST", {}, None),
    (413, "PAYLOAD_TOO_LARGE", {}, None),
    (422, "IDEMPOTENCY_KEY_REUSED", {}, None),
    (429, "RATE_LIMITED", {}, "wait a little and try again"),
    (500, "SERVER_ERROR", {}, "look for the request id in the server's log"),
    (503, "UNAVAILABLE", {}, "spotcore check"),
    (400, "OF_A_NEWER_SERVER", {}, None),
]


@pytest.mark.parametrize(("status", "code", "details", "fix"), CODES, ids=[case[1] for case in CODES])
def test_a_code_shows_the_servers_words_its_details_and_the_fix(
    cli: Cli, status: int, code: str, details: dict[str, Any], fix: str | None
) -> None:
    cli.server.tell(STATS, refusal(status, code, "what the server says", **details))
    result = cli("stats")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    begin = f"spotcore: what the server says [{status} {code}]"
    begin += f" {json.dumps(details)}" if details else ""
    begin += " (request id request-1)" if code == "SERVER_ERROR" else ""
    assert result.stderr.startswith(begin)
    assert result.stderr == f"{begin}\n" if fix is None else fix in result.stderr
    assert TOKEN not in result.output


@pytest.mark.parametrize("body", [{"error": None}, {"error": ""}, {}, {"code": None, "details": None}])
def test_a_refusal_without_words_is_still_a_line(cli: Cli, body: dict[str, Any]) -> None:
    cli.server.tell(STATS, Told(400, json.dumps(body).encode()))
    assert cli("stats").stderr == "spotcore: refused [400 ?]\n"


NEEDS: dict[str, list[str]] = {
    "this call needs the admin token": [
        "clients list", "clients create A", "clients token c", "clients rotate c", "clients delete c --yes", "agents list",
        "agents show a", "instances list", "events show", "incidents emergencies", "jobs runs", "models list",
        "models activate s", "models fallback", "pools list", "stats", "health", "export stats",
    ],
    "give a valid token": [
        "clients show c", "agents list --client c", "agents config set a risk_threshold=1", "agents enable a",
        "agents delete a --yes", "instances list --client c", "instances show i", "switch i --ondemand", "replicas list c",
        "replicas create a", "incidents status a", "notifications list", "notifications read n", "savings show c",
        "export savings c", "export switches c", "events show --follow",
    ],
    "this call opens to the client's own token alone": ["agents config get a --whole", "agents config diff a risk_threshold=1 --whole"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("needs", "words"), [(needs, words) for needs, all_words in NEEDS.items() for words in all_words]
)
def test_a_refused_token_names_the_token_that_opens_the_call_2_2(cli: Cli, needs: str, words: str) -> None:
    cli.server.otherwise = refusal(401, "INVALID_TOKEN", "the token is unknown or has ended")
    result = cli(*words.split())
    assert (result.exit_code, needs in result.stderr) == (1, True), result.stderr
    assert "[401 INVALID_TOKEN]" in result.stderr


# ---- every fix that is named can be typed

FOLDER = Path(str(folder_of_commands.__path__[0])).parent
NAMED = re.compile(r"spotcore ((?:[a-z][a-z-]+ ?)+)((?:[A-Z]+ ?)*(?:--[a-z-]+)?)")
LEAVES = {path.removeprefix("spotcore "): command for path, command in leaves(main, "spotcore")}


def advice() -> list[tuple[str, str]]:
    """``spotcore …`` as texts name it, outside of the examples of the commands themselves."""
    found = set()
    for file in [*FOLDER.rglob("*.py"), FOLDER.parent / "spotadapters" / "postgres" / "migrate.py"]:
        for line in file.read_text().splitlines():
            if (
                re.search(r"[:;,(] ?spotcore [a-z]|brings it back|use: spotcore|with: spotcore", line)
                and "``" not in line
            ):
                found |= {(f"{file.name}", match.group(0)) for match in NAMED.finditer(line)}
    return sorted(found)


@pytest.mark.parametrize(("file", "text"), advice(), ids=lambda value: str(value))
def test_every_command_that_a_text_names_exists_with_its_words(file: str, text: str) -> None:
    words = text.split()[1:]
    command: click.Command = main
    used = 0
    while isinstance(command, click.Group) and used < len(words):
        following = command.get_command(click.Context(command), words[used])
        if following is None:
            break
        command, used = following, used + 1
    assert used, f"{file}: {text}"
    assert not isinstance(command, click.Group), f"{file}: {text} is only a group"
    rest = [word for word in words[used:] if word.isupper()]
    takes = [one for one in command.params if isinstance(one, click.Argument)]
    assert len(rest) <= len(takes), f"{file}: {text} takes {len(takes)} words"
    known = {name for one in command.params for name in one.opts}
    assert {word for word in words[used:] if word.startswith("--")} <= known | {"--version"}


def test_the_texts_were_found() -> None:
    named = {text for _, text in advice()}
    assert len(named) > 20
    assert any(text.startswith("spotcore agents list") for text in named)


def test_no_fix_is_kept_for_a_code_that_no_server_sends() -> None:
    assert set(FIXES) <= {code for _, code, _, _ in CODES}
    assert {code for _, code, _, fix in CODES if fix is not None and code not in FIXES} == {
        "UNAUTHORIZED", "INVALID_AUTH_FORMAT", "INVALID_TOKEN",
    }  # fmt: skip
