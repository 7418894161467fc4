"""Nothing a server or an agent says can write to the terminal, and nothing it says is a failure of the screen."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from spotapp.cli import main
from spotapp.commands import events
from spotapp.commands.screen import at, shown
from tests.support.scripted_http import ScriptedHttp, Told, refusal, success
from tests.unit.cli.bodies import (
    ACTIVITY,
    AGENT,
    CLIENT,
    CLIENT_AGENT,
    CLIENT_MACHINE,
    DAY,
    MACHINE,
    NOTIFICATION,
    POOLS,
    REPLICA,
    SESSION,
)
from tests.unit.cli.conftest import TOKEN, Cli

HOSTILE = {
    "escape": "\x1b[2J\x1b]0;title\x07",
    "c1": "\x9b31m",
    "bell": "\x07\x08\r",
    "line": "one\ntwo\u2028three\x85four",
    "direction": "\u202egnp.exe\u2066",
    "zero width": "a\u200bb\ufeffc",
    "half a pair": "\ud800",
    "markup": "[red]x[/red] [/] [bold",
    "emoji code": ":skull: :warning:",
}
UNPRINTABLE = "\x1b\x07\x08\r\x9b\u202e\u2066\u200b\ufeff\ud800\u2028\x85"

TABLES: list[tuple[str, str, Any]] = [
    # words, request, an answer that holds {} where people's words stand
    ("clients list", "GET /api/admin/clients", [{**CLIENT, "name": "{}"}]),
    ("clients show c", "GET /api/client/c", {**CLIENT, "name": "{}", "savings": {"note": "{}"}}),
    ("agents list", "GET /api/admin/agents", {"agents": [{**AGENT, "hostname": "{}"}], "total": 1}),
    ("agents show agent-1 --client c", "GET /api/client/c/agents", [{**CLIENT_AGENT, "hostname": "{}"}]),
    ("instances list", "GET /api/admin/instances", {"instances": [{**MACHINE, "clientName": "{}"}], "total": 1}),
    ("instances list --client c", "GET /api/client/c/instances", [{**CLIENT_MACHINE, "poolId": "{}"}]),
    ("replicas list c", "GET /api/client/c/replicas", [{**REPLICA, "agentId": "{}"}]),
    ("incidents emergencies", "GET /api/admin/emergency-events", [{**DAY, "client_name": "{}"}]),
    ("notifications list", "GET /api/notifications", [{**NOTIFICATION, "message": "{}"}]),
    ("events show", "GET /api/admin/activity", [{**ACTIVITY, "text": "{}"}]),
    ("models list", "GET /api/admin/ml-models/sessions", [{**SESSION, "files": ["{}", "b"]}]),
    ("pools list", "GET /api/admin/pools/statistics", {**POOLS, "regions": [{"region": "{}", "pools": 1}]}),
    ("stats", "GET /api/admin/stats", {"a": "{}", "{}": 1}),
    ("jobs runs", "GET /api/admin/consolidation-jobs", [{"job_type": "x", "error": "{}"}]),
]  # fmt: skip


def filled(shape: Any, text: str) -> Any:
    if isinstance(shape, dict):
        return {filled(name, text): filled(value, text) for name, value in shape.items()}
    if isinstance(shape, list):
        return [filled(one, text) for one in shape]
    return shape.replace("{}", text) if isinstance(shape, str) else shape


@pytest.mark.parametrize(("words", "name", "shape"), TABLES, ids=[case[0] for case in TABLES])
def test_a_table_shows_hostile_names_as_harmless_text(cli: Cli, words: str, name: str, shape: Any) -> None:
    for text in HOSTILE.values():
        cli.server.tell(name, success(filled(shape, text)))
        table = cli.table(*words.split())
        assert not set(table) & set(UNPRINTABLE), ascii(table)
        if text.isprintable():
            assert text in table  # no markup, no emoji codes: as it is
        else:
            assert "\ufffd" in table


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_json_holds_every_text_unchanged_in_ascii(cli: Cli, text: str) -> None:
    cli.server.tell("GET /api/admin/stats", success({"a": text}))
    result = cli("stats", "--output", "json")
    assert result.stdout.isascii()
    assert json.loads(result.stdout) == {"a": text}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_refusal_in_hostile_words_is_one_harmless_line(cli: Cli, text: str) -> None:
    cli.server.tell("GET /api/admin/stats", refusal(400, "ODD", f"because {text}", field=[text]))
    result = cli("stats")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert not set(result.stderr) & set(UNPRINTABLE), ascii(result.stderr)
    assert "because" in result.stderr
    if text.isprintable():
        assert text in result.stderr


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_sentence_of_the_server_is_one_harmless_line(cli: Cli, text: str) -> None:
    cli.server.tell("POST /api/admin/ml-models/fallback", success({"fallbackSessionId": "s"}, f"Done {text}"))
    shown_text = cli.table("models", "fallback")
    assert (len(shown_text.splitlines()), bool(set(shown_text) & set(UNPRINTABLE))) == (1, False)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_live_event_is_one_harmless_line(cli: Cli, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.001)
    frame = f"event: NOTIFICATION\nid: 1\ndata: {json.dumps({'data': {'message': text}, 'timestamp': text})}\n\n"
    ends = refusal(401, "INVALID_TOKEN", text)
    cli.server.tell("GET /api/events/stream", Told(200, frame.encode(), "text/event-stream"), ends)
    result = cli("events", "show", "--follow")
    assert len(result.stdout.splitlines()) == 1
    assert not set(result.output) & set(UNPRINTABLE), ascii(result.output)


def test_a_terminal_that_cannot_write_a_name_shows_a_question_mark(server: ScriptedHttp) -> None:
    server.tell("GET /api/admin/clients", success([{**CLIENT, "name": "žluťák 日本"}]))
    environment = {"SPOTCORE_URL": server.url, "SPOTCORE_ADMIN_TOKEN": TOKEN}
    for charset, name in (("ascii", "?lu??k ??"), ("latin-1", "?lu?ák ??"), ("utf-8", "žluťák 日本")):
        result = CliRunner(charset=charset).invoke(main, ["clients", "list"], env=environment)
        assert (result.exit_code, name in result.stdout) == (0, True), result.output


def test_a_table_in_a_file_is_as_wide_as_its_longest_ids(server: ScriptedHttp) -> None:
    row = {**MACHINE, "id": "i-" + "0" * 17, "clientName": "c" * 36, "logicalAgentId": "a" * 36}
    server.tell("GET /api/admin/instances", success({"instances": [row] * 2, "total": 2}))
    known = {"SPOTCORE_URL": server.url, "SPOTCORE_ADMIN_TOKEN": TOKEN, "COLUMNS": "40"}
    lines = CliRunner().invoke(main, ["instances", "list"], env=known).stdout.splitlines()
    assert len(lines) == 3  # a heading and the rows, none of them folded
    assert all(text in lines[1] for text in (row["id"], row["clientName"], row["logicalAgentId"]))


# ---- how a value looks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), ("", "–"), ([], "–"), ({}, "–"), (True, "yes"), (False, "no"), (0, "0"), (0.0, "0.0"),
        (1.5, "1.5"), (-3, "-3"), ("x", "x"), (["a", None, True], "a, –, yes"), ({"a": 1, "b": None}, "a=1, b=–"),
        ([[1, 2], []], "1, 2, –"), ("a\tb", "a\ufffdb"), (" ", " "), ("\u00e9", "é"), (1e-6, "1e-06"),
    ],
)  # fmt: skip
def test_unknown_is_a_dash_and_never_a_zero(value: Any, text: str) -> None:
    assert shown(value) == text


LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
VALUES = LEAF | st.lists(LEAF, max_size=2) | st.dictionaries(st.text(max_size=4), LEAF, max_size=2)


@given(VALUES)
def test_no_value_whatever_shows_more_than_one_printable_line(value: Any) -> None:
    text = shown(value)
    assert text
    assert text.isprintable()
    assert not isinstance(value, str) or len(text) == max(len(value), 1)


@given(VALUES, st.text(st.characters(codec="utf-8"), max_size=12))
def test_a_path_into_any_answer_finds_a_value_or_nothing(value: Any, key: str) -> None:
    found = at(value, key)
    assert found is None or isinstance(value, dict)


def test_a_path_leads_into_objects_only() -> None:
    row = {"a": {"b": 1}, "c": [1], "d": "text", "e": None}
    assert [at(row, key) for key in ("a.b", "a", "a.b.c", "c.0", "d.x", "e.x", "x")] == [
        1,
        {"b": 1},
        None,
        None,
        None,
        None,
        None,
    ]
