"""Tables row by row and fact by fact: every column has its value, nested facts their path, one agent is found among many."""

from typing import Any

import pytest

from spotapp.commands import (
    agents,
    clients,
    events,
    incidents,
    instances,
    jobs,
    models,
    notifications,
    overview,
    replicas,
    savings,
)
from spotapp.commands.screen import Columns, Screen, at, shown
from tests.support.scripted_http import success
from tests.unit.cli import bodies
from tests.unit.cli.conftest import Cli

AGENTS = "GET /api/admin/agents"
SEARCH = "GET /api/admin/search"
LISTS: list[tuple[str, str, Any, Columns, dict[str, Any]]] = [
    # words, request, data, columns, the row
    ("clients list", "GET /api/admin/clients", [bodies.CLIENT], clients.COLUMNS, bodies.CLIENT),
    ("agents list", AGENTS, {"agents": [bodies.AGENT]}, agents.COLUMNS, bodies.AGENT),
    ("agents list --client c", "GET /api/client/c/agents", [bodies.CLIENT_AGENT], agents.OF_A_CLIENT, bodies.CLIENT_AGENT),
    ("instances list", "GET /api/admin/instances", {"instances": [bodies.MACHINE]}, instances.COLUMNS, bodies.MACHINE),
    ("instances list --client c", "GET /api/client/c/instances", [bodies.CLIENT_MACHINE], instances.OF_A_CLIENT, bodies.CLIENT_MACHINE),
    ("replicas list c", "GET /api/client/c/replicas", [bodies.REPLICA], replicas.COLUMNS, bodies.REPLICA),
    ("notifications list", "GET /api/notifications", [bodies.NOTIFICATION], notifications.COLUMNS, bodies.NOTIFICATION),
    ("events show", "GET /api/admin/activity", [bodies.ACTIVITY], events.COLUMNS, bodies.ACTIVITY),
    ("models list", "GET /api/admin/ml-models/sessions", [bodies.SESSION], models.COLUMNS, bodies.SESSION),
    ("incidents emergencies", "GET /api/admin/emergency-events", [bodies.DAY], incidents.COLUMNS, bodies.DAY),
    ("jobs runs", "GET /api/admin/consolidation-jobs", [bodies.JOB], jobs.RUNS, bodies.JOB),
]  # fmt: skip


def cells(heading: str, line: str, columns: Columns) -> list[str]:
    """The texts that stand below each heading."""
    begins = []
    place = 0
    for name in columns:
        place = heading.index(name, place)
        begins.append(place)
        place += len(name)
    return [line[begin:end].strip() for begin, end in zip(begins, [*begins[1:], len(line)], strict=True)]


@pytest.mark.parametrize(("words", "name", "data", "columns", "row"), LISTS, ids=[case[0] for case in LISTS])
def test_every_column_stands_above_its_value(
    cli: Cli, words: str, name: str, data: Any, columns: Columns, row: Any
) -> None:
    cli.server.tell(name, success(data))
    heading, line = cli.table(*words.split()).splitlines()
    assert cells(heading, line, columns) == [shown(at(row, key)) for key in columns.values()]


EMPTY: list[tuple[str, str, Any, str]] = [
    ("clients list", "GET /api/admin/clients", [], "no clients; make one with: spotcore clients create NAME"),
    ("agents list", AGENTS, {"agents": []}, "no agents yet"),
    ("agents list --client c", "GET /api/client/c/agents", [], "no agents yet"),
    ("instances list", "GET /api/admin/instances", {"instances": []}, "no such machines"),
    ("instances list --client c", "GET /api/client/c/instances", [], "no such machines"),
    ("replicas list c", "GET /api/client/c/replicas", [], "no active replicas"),
    ("notifications list", "GET /api/notifications", [], "no messages"),
    ("events show", "GET /api/admin/activity", [], "nothing has happened yet"),
    ("models list", "GET /api/admin/ml-models/sessions", [], "no model sessions; upload one with: spotcore models upload FILES"),
    ("incidents emergencies --days 3", "GET /api/admin/emergency-events", [], "no emergencies in 3 days"),
    ("jobs runs --days 2", "GET /api/admin/consolidation-jobs", [], "no runs in 2 days"),
    ("agents config diff a risk_threshold=1 --whole", "GET /api/agents/a/config", {"risk_threshold": 1}, "nothing would change"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "name", "data", "text"), EMPTY, ids=[case[0] for case in EMPTY])
def test_nothing_to_show_is_a_sentence_and_in_json_an_empty_list(
    cli: Cli, words: str, name: str, data: Any, text: str
) -> None:
    cli.server.tell(name, success(data))
    assert cli.table(*words.split()) == f"{text}\n"
    found = cli.json(*words.split())
    assert found == ([] if "diff" in words else data)


def test_pools_without_any_say_so_for_both_tables(cli: Cli) -> None:
    nothing = {**bodies.POOLS, "total_pools": 0, "active_pools": 0, "regions": [], "instance_types": []}
    cli.server.tell("GET /api/admin/pools/statistics", success(nothing))
    assert cli.table("pools", "list").splitlines() == [
        "0 pools, 0 active",
        "",
        "no regions yet",
        "",
        "no machine types yet",
    ]
    cli.server.tell("GET /api/admin/pools/statistics", success(bodies.POOLS))
    lines = cli.table("pools", "list").splitlines()
    assert cells(lines[2], lines[3], overview.REGIONS) == ["us-east-1", "3", "0.031", "–"]
    assert cells(lines[5], lines[6], overview.TYPES) == ["m5.large", "3", "0.031", "0.096"]


def test_savings_without_any_line_show_the_month_alone(cli: Cli) -> None:
    cli.server.tell("GET /api/client/c/savings", success([]))
    cli.server.tell("GET /api/client/c", success({**bodies.CLIENT, "savings": bodies.MONTH}))
    lines = cli.table("savings", "show", "c").splitlines()
    assert lines[-2:] == ["", "the ledger has no lines yet"]
    shown_names = [line.partition("  ")[0] for line in lines[:-2]]
    assert shown_names == list(savings.MONTH)
    assert [asked.name for asked in cli.server.asked] == ["GET /api/client/c/savings", "GET /api/client/c"]


@pytest.mark.parametrize(("count", "tells"), [(999, False), (1000, True)])
@pytest.mark.parametrize(
    ("words", "key", "row", "narrow"),
    [
        ("agents list", "agents", bodies.AGENT, "name a client: --client ID"),
        ("instances list", "instances", bodies.MACHINE, "narrow it with --client, --status, --mode or --search"),
    ],
)
def test_only_a_list_that_was_cut_says_that_there_may_be_more(
    cli: Cli, words: str, key: str, row: Any, narrow: str, count: int, tells: bool
) -> None:
    cli.server.tell(f"GET /api/admin/{key}", success({key: [row] * count}))
    result = cli(*words.split(), "--output", "json")
    assert (result.stderr == f"only the first 1000 are shown; {narrow}\n") is tells
    assert bool(result.stderr) is tells


# ---- facts


def facts(capsys: pytest.CaptureFixture[str], data: Any) -> dict[str, str]:
    Screen("table").facts(data)
    rows = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    return {name.strip(): value.strip() for name, value in rows}


def test_facts_within_facts_have_their_path(capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(
        capsys,
        {
            "a": 1,
            "b": {"c": None, "d": {"e": True}},
            "f": {},
            "g": [],
            "h": ["x", "y"],
            "i": [{"j": 1}, {"j": 2}, "odd"],
        },
    )
    assert found == {
        "a": "1",
        "b.c": "–",
        "b.d.e": "yes",
        "f": "–",
        "g": "–",
        "h": "x, y",
        "i[1].j": "1",
        "i[2].j": "2",
    }


def test_a_row_without_anything_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert facts(capsys, {}) == {}
    Screen("table").rows([{}], [{}, None, "x"], {"a": "b.c"}, empty="")
    assert capsys.readouterr().out.split() == ["a", "–", "–", "–"]


# ---- one agent among many


def test_an_agent_is_found_by_its_id_alone_however_long_the_list_of_all_is(cli: Cli) -> None:
    """E09 ends with the thousandth, and an agent that is silent is the last: nobody asks it."""
    namesake = {**bodies.FOUND_AGENT, "id": "agent-10", "clientId": "other"}
    cli.server.tell(SEARCH, success({"agents": [namesake, bodies.FOUND_AGENT]}))
    others = [{**bodies.CLIENT_AGENT, "id": f"other-{number}"} for number in range(3)]
    cli.server.tell("GET /api/client/client-1/agents", success([*others, bodies.CLIENT_AGENT]))
    shown = cli.json("agents", "show", "agent-1")
    assert shown == {"clientId": "client-1", "clientName": "Acme", **bodies.CLIENT_AGENT}
    assert cli.server.asked[0].query == {"q": "agent-1", "types": "agents"}
    result = cli("agents", "show", "host-1")  # a name is no id: two clients may have the same
    assert result.exit_code == 1
    assert "no agent has the id host-1" in result.stderr
    assert "--client ID" in result.stderr
    assert AGENTS not in [asked.name for asked in cli.server.asked]


def test_an_agent_that_is_not_the_named_clients_is_said_to_be_missing_there(cli: Cli) -> None:
    cli.server.tell("GET /api/client/client-1/agents", success([bodies.CLIENT_AGENT]))
    result = cli("agents", "show", "a", "--client", "client-1")
    assert (result.exit_code, "no agent a among the client's 1" in result.stderr) == (1, True)


def test_settings_of_an_agent_that_is_not_there_ask_no_further(cli: Cli) -> None:
    cli.server.tell(SEARCH, success({"agents": []}))
    assert cli("agents", "config", "get", "a").exit_code == 1
    assert [asked.name for asked in cli.server.asked] == [SEARCH]


def test_a_difference_is_a_value_and_not_its_spelling(cli: Cli) -> None:
    cli.server.tell("GET /api/agents/a/config", success(bodies.CONFIG))
    same = ("min_savings_percent=15", "preferred_azs=", "failover_on_heartbeat_loss_seconds=null")
    assert cli.json("agents", "config", "diff", "a", *same, "--whole") == []
    assert cli.json("agents", "config", "diff", "a", "risk_threshold=0.31", "preferred_azs=us-east-1a", "--whole") == [
        {"setting": "risk_threshold", "now": 0.3, "then": 0.31},
        {"setting": "preferred_azs", "now": [], "then": ["us-east-1a"]},
    ]
