"""What goes wrong is one line that names the fix: exit status 1, or 2 for wrong use. No token ever shows."""

import pytest

from tests.support.scripted_http import Told, refusal, success
from tests.support.up import free_port
from tests.unit.cli.conftest import TOKEN, Cli

REFUSED: list[tuple[str, str, Told, str]] = [
    ("clients list", "GET /api/admin/clients", refusal(401, "INVALID_TOKEN", "Unknown token"), "SPOTCORE_ADMIN_TOKEN"),
    ("agents list", "GET /api/admin/agents", refusal(401, "INVALID_TOKEN", "Unknown token"), "--client ID"),
    ("agents config get a --whole", "GET /api/agents/a/config", refusal(401, "INVALID_TOKEN", "Unknown token"), "client's own token alone"),
    ("export stats", "GET /api/admin/export/global-stats", refusal(401, "INVALID_TOKEN", "Unknown token"), "admin token"),
    ("clients show nobody", "GET /api/client/nobody", refusal(404, "NOT_FOUND", "unknown client"), "list command"),
    ("agents config set a auto_switch_enabled=true --expect 3", "POST /api/client/agents/a/config", refusal(409, "CONFIG_CONFLICT", "version 4, not 3", config={}), "--expect"),
    ("switch i-0 --ondemand", "POST /api/client/instances/i-0/force-switch", refusal(409, "SWITCH_BLOCKED", "blocked", guards=["COMMAND_IN_FLIGHT"]), "COMMAND_IN_FLIGHT"),
    ("stats", "GET /api/admin/stats", refusal(503, "UNAVAILABLE", "database away"), "spotcore check"),
    ("stats", "GET /api/admin/stats", refusal(500, "SERVER_ERROR", "internal error"), "request-1"),
    ("stats", "GET /api/admin/stats", Told(502, b"<html>bad gateway</html>", "text/html"), "check --url"),
    ("stats", "GET /api/admin/stats", Told(200, b"<html>hello</html>", "text/html"), "not as a spotcore server"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "name", "told", "fix"), REFUSED, ids=[f"{c[0]} {c[2].status}" for c in REFUSED])
def test_a_refusal_is_one_line_with_the_fix(cli: Cli, words: str, name: str, told: Told, fix: str) -> None:
    cli.server.tell(name, told)
    result = cli(*words.split())
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1), result.output
    assert fix in result.stderr
    assert TOKEN not in result.output


def test_a_server_that_is_not_there_is_one_line(cli: Cli) -> None:
    result = cli("stats", SPOTCORE_URL=f"http://127.0.0.1:{free_port()}")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "spotcore up" in result.stderr
    assert "--url" in result.stderr


def test_no_token_names_the_variables_and_asks_nobody(cli: Cli) -> None:
    result = cli("stats", SPOTCORE_ADMIN_TOKEN="")
    assert (result.exit_code, cli.server.asked) == (1, [])
    assert "SPOTCORE_ADMIN_TOKEN" in result.stderr


def test_the_client_token_serves_where_no_admin_token_is_set(cli: Cli) -> None:
    cli("clients", "show", "c", SPOTCORE_ADMIN_TOKEN="", SPOTCORE_TOKEN="of-a-client")
    assert cli.server.asked[0].headers["Authorization"] == "Bearer of-a-client"


def test_debug_shows_the_whole_trace(cli: Cli) -> None:
    result = cli("--debug", "stats", SPOTCORE_URL=f"http://127.0.0.1:{free_port()}")
    assert type(result.exception).__name__ == "ApiFailure"


@pytest.mark.parametrize("token", ["secret\nline", "secret word", "secret-ü"])
def test_a_token_that_is_none_is_refused_without_being_shown(cli: Cli, token: str) -> None:
    result = cli("stats", SPOTCORE_ADMIN_TOKEN=token)
    assert (result.exit_code, cli.server.asked, "secret" in result.output) == (1, [], False)


def test_a_password_in_the_address_does_not_show(cli: Cli) -> None:
    result = cli("stats", SPOTCORE_URL=f"http://me:secret@127.0.0.1:{free_port()}")
    assert (result.exit_code, "cannot reach" in result.stderr, "secret" in result.output) == (1, True, False)


def test_an_answer_of_another_version_is_one_line(cli: Cli) -> None:
    cli.server.tell("GET /api/admin/agents", success({"rows": []}))
    result = cli("agents", "list")
    assert (result.exit_code, len(result.stderr.splitlines()), "agents" in result.stderr) == (1, 1, True)
