"""Wrong use: status 2, nothing is asked, and the text says what would be right."""

import click
import pytest
from click.testing import CliRunner

from spotapp.cli import ALIASES, main
from spotapp.commands.ledger import MONTH
from spotapp.commands.prices import INSTANT
from spotapp.commands.reference import leaves, page
from tests.unit.cli.conftest import Cli

WRONG: list[tuple[str, str]] = [
    # words, what the text says
    ("switch i-0", "give either --to POOL or --ondemand"),
    ("switch i-0 --to p.a --ondemand", "give either --to POOL or --ondemand"),
    ("switch", "Missing argument 'INSTANCE'"),
    ("clients create", "Missing argument 'NAME'"),
    ("clients show", "Missing argument 'CLIENT'"),
    ("clients show a b", "unexpected extra argument"),
    ("clients rotate c --grace -1", "not in the range 0<=x<=86400"),
    ("clients rotate c --grace 86401", "not in the range 0<=x<=86400"),
    ("clients rotate c --grace soon", "not a valid integer range"),
    ("clients limits c --max-agents -1", "use a whole number of at most 9 digits, or none"),
    ("clients limits c --max-agents 1.5", "use a whole number of at most 9 digits, or none"),
    ("clients limits c --max-instances 9999999999", "use a whole number of at most 9 digits, or none"),
    ("clients limits c --max-instances None", "use a whole number of at most 9 digits, or none"),
    ("clients limits c --max-agents ٣", "use a whole number of at most 9 digits, or none"),
    ("clients defaults c --terminate-wait 59", "60<=x<=86400"),
    ("clients defaults c --terminate-wait 86401", "60<=x<=86400"),
    ("agents config set a", "Missing argument 'KEY=VALUE…'"),
    ("agents config set a enabled=true", "spotcore agents enable"),
    ("agents config set a risk_threshold", "is not KEY=VALUE, e.g. auto_switch_enabled=false"),
    ("agents config set a risk_threshold=1 --expect x", "not a valid integer"),
    ("instances list --status alive", "'all', 'active', 'terminated'"),
    ("instances list --mode cheap", "'all', 'spot', 'ondemand'"),
    ("replicas create a --max-hourly-cost cheap", "not a valid float"),
    ("replicas create a --max-hourly-cost nan", "use a number of dollars, e.g. 0.05"),
    ("replicas create a --max-hourly-cost inf", "use a number of dollars, e.g. 0.05"),
    ("incidents emergencies --days 0", "1<=x<=365"),
    ("incidents emergencies --days 366", "1<=x<=365"),
    ("jobs runs --days 91", "1<=x<=90"),
    ("notifications list --limit 101", "1<=x<=100"),
    ("events show --limit 0", "1<=x<=100"),
    ("events show --client c", "--client goes with --follow"),
    ("savings show c --range hourly", "'daily', 'weekly', 'monthly', 'yearly'"),
    ("ledger explain c 2026-13", "use YEAR-MONTH, e.g. 2026-03"),
    ("ledger explain c 2026-03-01", "use YEAR-MONTH, e.g. 2026-03"),
    ("ledger explain c 9999-12", "use YEAR-MONTH, e.g. 2026-03"),
    ("export focus c march", "use YEAR-MONTH, e.g. 2026-03"),
    ("prices gaps m5.large.us-east-1a --since yesterday", "use 2026-03-01, 2026-03-01T12:00Z or 7d (days ago)"),
    ("prices gaps m5.large.us-east-1a --since 99999999999d", "use 2026-03-01, 2026-03-01T12:00Z or 7d (days ago)"),
    ("prices export --to x.csv --until 2026-02-30", "use 2026-03-01, 2026-03-01T12:00Z or 7d (days ago)"),
    ("prices export", "Missing option '--to'"),
    ("prices import", "Missing argument 'FILES...'"),
    ("prices import /nowhere/at/all", "does not exist"),
    ("dataset show first", "not a valid integer"),
    ("up --port 0", "1<=x<=65535"),
    ("serve --port 65536", "1<=x<=65535"),
    ("worker --threads 65", "1<=x<=64"),
    ("completion tcsh", "'bash', 'zsh', 'fish'"),
    ("stats --output yaml", "'table', 'json'"),
    ("stats --url ftp://here", "use an address like http://127.0.0.1:5000"),
    ("stats --url nonsense", "use an address like http://127.0.0.1:5000"),
    ("stats --nonsense", "No such option"),
    ("nonsense", "No such command 'nonsense'"),
    ("clients nonsense", "No such command 'nonsense'"),
    ("agents config nonsense", "No such command 'nonsense'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "says"), WRONG, ids=[case[0] for case in WRONG])
def test_wrong_use_is_status_2_and_says_what_would_be_right(cli: Cli, words: str, says: str) -> None:
    result = cli(*words.split())
    assert (result.exit_code, result.stdout, cli.server.asked) == (2, "", []), result.output
    assert says in " ".join(result.stderr.split())
    assert "Usage: " in result.stderr


GROUPS = sorted({path.rpartition(" ")[0].removeprefix("spotcore").strip() for path, _ in leaves(main, "spotcore")})


@pytest.mark.parametrize("path", GROUPS, ids=lambda path: path or "spotcore")
def test_a_group_alone_shows_what_it_holds(path: str) -> None:
    result = CliRunner().invoke(main, path.split())
    group: click.Command = main
    for word in path.split():
        assert isinstance(group, click.Group)
        group = group.commands[word]
    assert isinstance(group, click.Group)
    assert all(f"\n  {name} " in f"{result.output} " for name in group.commands)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_a_second_name_of_a_group_is_the_group_z4_z26_z38(alias: str, name: str) -> None:
    for words in ([], ["list"]):
        first, second = (CliRunner().invoke(main, [group, *words, "--help"]).output for group in (alias, name))
        assert first.splitlines()[2:] == second.splitlines()[2:]


def test_the_commands_that_the_contract_names_are_there_z4_z26_z38() -> None:
    for words in (
        "client purge",
        "client suspend",
        "client resume",
        "client limits",
        "client defaults",
        "model activate",
    ):
        assert CliRunner().invoke(main, [*words.split(), "--help"]).exit_code == 0, words


def test_the_version_is_one_line() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("spotcore, version ")
    assert len(result.output.splitlines()) == 1


def test_h_is_help_everywhere() -> None:
    page(main)  # the reference asks every command for its options beforehand, which must not spoil -h
    for words in ([], ["clients"], ["agents", "config", "set"]):
        result = CliRunner().invoke(main, [*words, "-h"])
        assert (result.exit_code, result.output.startswith("Usage: ")) == (0, True)


# ---- times and months


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-03-01", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01T12:00Z", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:00", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:00+02:00", "2026-03-01T10:00:00+00:00"),
        ("2026-03-01 12:00:30", "2026-03-01T12:00:30+00:00"),
    ],
)
def test_a_time_without_an_offset_is_utc(text: str, shown: str) -> None:
    at = INSTANT.convert(text, None, None)
    assert at.isoformat() == shown
    assert INSTANT.convert(at, None, None) is at  # what is one already stays it


def test_so_many_days_ago_are_days_of_24_hours() -> None:
    today, before = INSTANT.convert("0d", None, None), INSTANT.convert("7d", None, None)
    assert round((today - before).total_seconds()) == 7 * 86_400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "d",
        "-1d",
        "1.5d",
        "²d",
        "7 d",
        "9" * 30 + "d",
        "3000000d",
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:59-14:00",
        "now",
    ],
)
def test_what_is_no_time_is_refused_and_never_overflows(text: str) -> None:
    with pytest.raises(click.BadParameter):
        INSTANT.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "first"),
    [("2026-03", "2026-03-01"), ("2026-12", "2026-12-01"), ("0001-01", "0001-01-01"), ("9999-11", "9999-11-01")],
)
def test_a_month_begins_at_its_first_instant_in_utc(text: str, first: str) -> None:
    month = MONTH.convert(text, None, None)
    assert month.isoformat() == f"{first}T00:00:00+00:00"
    assert MONTH.convert(month, None, None) is month


@pytest.mark.parametrize(
    "text", ["", "2026", "03-2026", "2026-00", "2026-13", "2026-03-01", "9999-12", "10000-01", "x"]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="YEAR-MONTH"):
        MONTH.convert(text, None, None)
