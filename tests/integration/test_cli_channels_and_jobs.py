"""``spotcore channels`` and ``spotcore jobs`` as an operator types them, on a real database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from spotapp.cli import main
from tests.support.scripted_http import ScriptedHttp, a_scripted_http, refusal, success
from tests.support.server import SEAL_KEY, Site

SECRET = "part-of-the-address"


@frozen
class Cli:
    environment: dict[str, str | None]

    def __call__(self, *words: str, answer: str | None = None, **more: str | None) -> Result:
        return CliRunner().invoke(main, list(words), input=answer, env=self.environment | more)

    def json(self, *words: str) -> Any:
        result = self(*words, "--output", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, *words: str, **more: str | None) -> str:
        result = self(*words, **more)
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1), result.output
        return result.stderr


@pytest.fixture
def cli(shared_site: Site, tmp_path: Path) -> Cli:
    return Cli(
        {
            "SPOTCORE_DATABASE_URL": shared_site.connections.database_url,
            "SPOTCORE_DATA_DIR": str(tmp_path),
            "SPOTCORE_REDIS_URL": None,
            "SPOTCORE_SEAL_KEY": SEAL_KEY,
            "COLUMNS": "240",
        }
    )


@pytest.fixture
def receiver() -> Iterator[ScriptedHttp]:
    with a_scripted_http() as scripted:
        scripted.tell("POST /hook", success({}))
        yield scripted


def address(receiver: ScriptedHttp) -> str:
    return f"{receiver.url}/hook?token={SECRET}"


def listed(cli: Cli, channel: str) -> Any:
    return next((row for row in cli.json("channels", "list") if row["channel_id"] == channel), None)


# ---- channels


def test_a_webhook_is_added_tested_listed_and_removed(cli: Cli, receiver: ScriptedHttp) -> None:
    made = cli.json("channels", "add", address(receiver), "--from", "error")
    assert set(made) == {"channel_id", "to", "from", "secret"}
    assert made["secret"].startswith("whsec_")  # Standard Webhooks
    row = listed(cli, made["channel_id"])
    assert (row["kind"], row["min_severity"]) == ("webhook", "error")
    assert not row["client_id"]  # everybody's
    assert "secret" not in row
    assert cli("channels", "test", made["channel_id"]).stdout == "delivered\n"
    (asked,) = receiver.asked
    assert "webhook-signature" in {name.lower() for name in asked.headers}
    removed = cli.json("channels", "remove", made["channel_id"], "--yes")
    assert removed == {"channel_id": made["channel_id"], "removed": True}
    assert listed(cli, made["channel_id"]) is None


def test_an_address_is_never_shown_again_in_full(cli: Cli, receiver: ScriptedHttp) -> None:
    made = cli("channels", "add", address(receiver))
    channel = made.stdout.split()[1]
    shown = made.output + cli("channels", "list").output + cli("channels", "deliveries").output
    assert SECRET not in shown
    cli("channels", "remove", channel, "--yes")


def test_an_address_may_stand_in_the_environment_where_no_process_list_shows_it(
    cli: Cli, receiver: ScriptedHttp
) -> None:
    made = cli("channels", "add", "--output", "json", SPOTCORE_CHANNEL_ADDRESS=address(receiver))
    assert made.exit_code == 0, made.output
    cli("channels", "remove", json.loads(made.stdout)["channel_id"], "--yes")


def test_a_channel_of_one_client_and_of_a_client_that_nobody_knows(
    cli: Cli, shared_site: Site, receiver: ScriptedHttp
) -> None:
    tenant = shared_site.client("Channels Ltd")
    made = cli.json("channels", "add", address(receiver), "--client", tenant.client_id)
    assert listed(cli, made["channel_id"])["client_id"] == tenant.client_id
    assert "unknown client" in cli.refused("channels", "add", address(receiver), "--client", "nobody")
    cli("channels", "remove", made["channel_id"], "--yes")


def test_adding_and_removing_is_told_to_the_operator(cli: Cli, shared_site: Site, receiver: ScriptedHttp) -> None:
    made = cli.json("channels", "add", address(receiver))
    cli("channels", "remove", made["channel_id"], "--yes")
    rows = shared_site.call("GET", "/api/admin/activity?limit=100").data
    kinds = [row["eventType"] for row in rows]
    assert {"channel_added", "channel_removed"} <= set(kinds)
    assert SECRET not in json.dumps(rows)


def test_removing_asks_first(cli: Cli, receiver: ScriptedHttp) -> None:
    channel = cli.json("channels", "add", address(receiver))["channel_id"]
    kept = cli("channels", "remove", channel, answer="n\n")
    assert (kept.exit_code, f"Remove channel {channel}?" in kept.stderr) == (1, True)
    assert listed(cli, channel) is not None
    assert cli("channels", "remove", channel, answer="y\n").exit_code == 0


def test_a_test_that_is_not_accepted_is_status_1_and_says_why(cli: Cli, receiver: ScriptedHttp) -> None:
    channel = cli.json("channels", "add", address(receiver))["channel_id"]
    receiver.tell("POST /hook", refusal(500, "X", "broken"))
    told = cli.refused("channels", "test", channel)
    assert "the test was not delivered" in told
    assert "500" in told
    assert SECRET not in told
    cli("channels", "remove", channel, "--yes")


@pytest.mark.parametrize("words", [["remove", "nobody", "--yes"], ["test", "nobody"]])
def test_an_unknown_channel_names_the_list(cli: Cli, words: list[str]) -> None:
    assert "spotcore channels list" in cli.refused("channels", *words)


def test_an_unknown_delivery_names_the_dead_ones(cli: Cli) -> None:
    assert "spotcore channels deliveries --state dead" in cli.refused("channels", "replay", "nothing")


@pytest.mark.parametrize("bad", ["nonsense", "https://"])
def test_an_address_that_cannot_work_is_refused(cli: Cli, bad: str) -> None:
    assert cli.refused("channels", "add", bad).startswith("spotcore: ")


@pytest.mark.parametrize(
    "words", [["--from", "loud"], ["--kind", "pigeon"], ["--limit", "0"], ["--limit", "1001"], ["--state", "lost"]]
)
def test_wrong_use_of_channels_is_status_2(cli: Cli, words: list[str]) -> None:
    verb = ["add", "https://x.example"] if words[0] in ("--from", "--kind") else ["deliveries"]
    assert cli("channels", *verb, *words).exit_code == 2


def test_without_read_back_there_is_no_key_to_seal_an_address_with(cli: Cli, receiver: ScriptedHttp) -> None:
    told = cli.refused("channels", "add", address(receiver), SPOTCORE_TOKEN_READBACK="off")
    assert "SPOTCORE_SEAL_KEY" in told


def test_a_list_of_deliveries_as_long_as_it_may_be_says_so(cli: Cli, receiver: ScriptedHttp) -> None:
    channel = cli.json("channels", "add", address(receiver))["channel_id"]
    for _ in range(2):
        cli("channels", "test", channel)
    result = cli("channels", "deliveries", "--limit", "1", "--state", "delivered", "--output", "json")
    (row,) = json.loads(result.stdout)
    assert (row["state"], row["attempts"]) == ("delivered", 1)
    assert "only the first 1 are shown; use --limit" in result.stderr
    assert "no deliveries" in cli("channels", "deliveries", "--state", "dead").stdout
    cli("channels", "remove", channel, "--yes")


# ---- jobs


def test_every_job_is_listed_with_how_often_it_runs_section_9(cli: Cli) -> None:
    rows = {row["name"]: row for row in cli.json("jobs", "list")}
    seconds = {name: row["every_seconds"] for name, row in rows.items()}
    assert seconds["agent upkeep"] <= 10
    assert (seconds["data pipeline"], seconds["ledger accrual"], seconds["dataset build"]) == (3_600, 600, 21_600)
    assert (seconds["client snapshot"], seconds["retention"]) == (86_400, 86_400)
    assert all(row["does"] for row in rows.values())
    assert "agent upkeep" in cli("jobs", "list").stdout


def test_a_job_runs_here_and_now_and_is_remembered(cli: Cli) -> None:
    assert cli("jobs", "run", "request keys").stdout == "request keys has run\n"
    assert cli.json("jobs", "run", "request keys") == {
        "job": "request keys",
        "status": "completed",
    }  # again at any time
    row = next(one for one in cli.json("jobs", "list") if one["name"] == "request keys")
    assert (row["last_status"], row["late"]) == ("completed", None)
    assert row["last_success"] is not None


def test_an_unknown_job_is_refused_with_the_names_there_are(cli: Cli) -> None:
    told = cli.refused("jobs", "run", "nonsense")
    assert "'nonsense'" in told
    assert "ledger accrual" in told


@pytest.mark.parametrize("words", [["dead"], ["replay", "m"]])
def test_without_a_queue_what_needs_one_names_the_two_ways_to_have_one(cli: Cli, words: list[str]) -> None:
    told = cli.refused("jobs", *words)
    assert "SPOTCORE_REDIS_URL" in told
    assert "spotcore up" in told


def test_what_workers_gave_up_is_listed_and_an_unknown_message_refused(cli: Cli, redis_url: str) -> None:
    url = redis_url.rpartition("/")[0] + "/7"  # a namespace of its own
    assert cli("jobs", "dead", SPOTCORE_REDIS_URL=url).stdout == "nothing was given up\n"
    assert json.loads(cli("jobs", "dead", "--output", "json", SPOTCORE_REDIS_URL=url).stdout) == []
    assert cli.refused("jobs", "replay", "nothing", SPOTCORE_REDIS_URL=url)
