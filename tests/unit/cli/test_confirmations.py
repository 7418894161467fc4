"""What ends something asks first; the question goes beside the output, and only a clear yes goes on."""

import json
from typing import Any

import pytest

from tests.support.scripted_http import success
from tests.unit.cli.conftest import Cli

AT = "2026-03-02T12:00:00Z"
ASKING: list[tuple[str, str, dict[str, Any], str]] = [
    # words, request, the data answered, the question
    ("clients delete c-1", "DELETE /api/admin/clients/c-1", {"success": True}, "Delete client c-1 and retire its agents?"),
    ("agents delete a-1", "DELETE /api/client/agents/a-1", {"success": True}, "Delete agent a-1 and end its replicas?"),
    ("instances terminate i-1", "POST /api/client/instances/i-1/terminate", {"status": "terminating"}, "End machine i-1?"),
    ("replicas promote a-1 r-1", "POST /api/agents/a-1/replicas/r-1/promote", {"success": True}, "Make replica r-1 the primary of agent a-1?"),
    ("replicas delete a-1 r-1", "DELETE /api/agents/a-1/replicas/r-1", {"terminated_at": AT}, "End replica r-1 of agent a-1?"),
]  # fmt: skip
every = pytest.mark.parametrize(("words", "name", "data", "question"), ASKING, ids=[case[0] for case in ASKING])


@every
@pytest.mark.parametrize("answer", ["y\n", "yes\n", "Y\n"])
def test_a_yes_goes_on(cli: Cli, words: str, name: str, data: Any, question: str, answer: str) -> None:
    cli.server.tell(name, success(data))
    result = cli(*words.split(), answer=answer)
    assert (result.exit_code, [one.name for one in cli.server.asked]) == (0, [name])
    assert question in result.stderr


@every
@pytest.mark.parametrize("answer", ["n\n", "\n", "no\n", "", "perhaps\n"])  # "" is the end of what can be read
def test_anything_else_sends_nothing(cli: Cli, words: str, name: str, data: Any, question: str, answer: str) -> None:
    cli.server.tell(name, success(data))
    result = cli(*words.split(), answer=answer)
    assert (result.exit_code, cli.server.asked) == (1, [])
    assert question in result.stderr
    assert "Aborted!" in result.stderr
    assert result.stdout == ""


@every
def test_yes_on_the_command_line_asks_nobody(cli: Cli, words: str, name: str, data: Any, question: str) -> None:
    cli.server.tell(name, success(data))
    result = cli(*words.split(), "--yes")
    assert (result.exit_code, question in result.output) == (0, False)


@every
def test_a_question_never_gets_into_json(cli: Cli, words: str, name: str, data: Any, question: str) -> None:
    cli.server.tell(name, success(data))
    result = cli(*words.split(), "--output", "json", answer="y\n")
    assert json.loads(result.stdout) == data
    assert question in result.stderr


@pytest.mark.parametrize(("words", "name", "data"), [case[:3] for case in ASKING])
def test_the_servers_own_sentence_is_shown_where_it_sends_one(cli: Cli, words: str, name: str, data: Any) -> None:
    cli.server.tell(name, success(data, "Everything about it in one sentence"))
    table = cli.table(*words.split(), "--yes")
    shows_facts = words.startswith("replicas promote")
    assert ("Everything about it in one sentence" in table) is not shows_facts


def test_what_ends_nothing_asks_nothing(cli: Cli) -> None:
    for words in (
        "clients create c",
        "clients rotate c",
        "agents enable a",
        "switch i-0 --ondemand",
        "models fallback",
    ):
        result = cli(*words.split(), answer="")
        assert "Aborted" not in result.output, words
    assert len(cli.server.asked) == 5
