"""The Spot advisor's file: whole or refused, odd rows counted with their reason, each snapshot kept once."""

import gzip
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from spotadapters.history.advisor import Advice, read_advice
from spotadapters.history.refusals import UnreadableHistory
from spotapp.cli import main

DAY = date(2026, 2, 1)
RANGES = [{"index": number, "label": "x", "dots": number, "max": 5 * number} for number in range(5)]


def published(types: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"ranges": RANGES, "instance_types": {}, "spot_advisor": {"us-east-1": {"Linux": types}, **more}}


def json_file(folder: Path, data: Any) -> Path:
    file = folder / "spot-advisor-data.json"
    file.write_text(json.dumps(data))
    return file


def advice(**changes: Any) -> Advice:
    facts = {"region": "us-east-1", "os": "Linux", "instance_type": "m5.large", "as_of": DAY, "band": 1}
    return Advice(**{**facts, "savings_percent": 62, **changes})


@pytest.fixture
def cli(database_url: str) -> Callable[..., Result]:
    def call(*words: str) -> Result:
        return CliRunner().invoke(main, ["prices", *words], env={"SPOTCORE_DATABASE_URL": database_url})

    return call


def test_aws_s_own_file_is_read_for_every_region_and_system(tmp_path: Path) -> None:
    windows = {"Windows": {"m5.large": {"s": 40, "r": 4}}}
    rows, bad = read_advice(
        json_file(tmp_path, published({"m5.large": {"s": 62, "r": 1}}, **{"eu-west-1": windows})), DAY
    )
    assert rows == [advice(), advice(region="eu-west-1", os="Windows", band=4, savings_percent=40)]
    assert bad == []


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_our_own_carry_their_day(tmp_path: Path, packed: bool) -> None:
    text = "snapshot,region,type,interruption_band,savings_pct\n2026-02,us-east-1,m5.large,1,62\n,us-east-1,c5.large,0,70\n"
    file = tmp_path / ("advisor.csv.gz" if packed else "advisor.csv")
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    today = date(2026, 3, 2)
    rows, bad = read_advice(file, today)
    assert (rows, bad) == ([advice(), advice(instance_type="c5.large", as_of=today, band=0, savings_percent=70)], [])


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"s": 62, "r": 5}, "interruption band"),
        ({"s": 62, "r": -1}, "interruption band"),
        ({"s": 62, "r": True}, "interruption band"),
        ({"s": 62}, "interruption band"),
        ({"s": 101, "r": 1}, "savings"),
        ({"s": -1, "r": 1}, "savings"),
        ({"s": 62.5, "r": 1}, "savings"),
        ({"s": "many", "r": 1}, "savings"),
        (None, "interruption band"),
        ([], "interruption band"),
    ],
)
def test_a_row_that_cannot_be_right_is_named_and_the_rest_goes_on(tmp_path: Path, facts: Any, word: str) -> None:
    rows, (bad,) = read_advice(json_file(tmp_path, published({"m5.large": {"s": 62, "r": 1}, "c5.large": facts})), DAY)
    assert rows == [advice()]
    assert (bad.startswith("us-east-1 Linux c5.large: "), word in bad) == (True, True)


def test_a_row_with_an_unreadable_day_is_not_dated_today(tmp_path: Path) -> None:
    file = tmp_path / "advisor.csv"
    file.write_text("as_of,region,type,band,savings_pct\nspring,us-east-1,m5.large,1,62\n2026-02-01,,m5.large,1,62\n")
    rows, bad = read_advice(file, DAY)
    assert rows == []
    assert ("no date" in bad[0], "no region" in bad[1]) == (True, True)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.json", '{"ranges": [], "spot_advisor": {', "fetch it again"),
        ("a.json", "[]", "no spot_advisor"),
        ("a.json", json.dumps({"spot_advisor": {}}), "ranges"),
        ("a.json", json.dumps({"spot_advisor": {}, "ranges": RANGES[:4]}), "five known"),
        ("a.json", json.dumps({"spot_advisor": {}, "ranges": [*RANGES, {"index": 5}]}), "five known"),
        ("a.csv", "region,type,savings_pct\nus-east-1,m5.large,62\n", "interruption_band"),
        ("a.csv", "region,type,band,savings_pct\nus-east-1,m5.large,1,6", "may have been cut"),
        ("a.csv.gz", "not packed", "incomplete"),
        ("a.json.gz", "not packed", "fetch it again"),
    ],
)
def test_a_cut_or_unknown_file_is_refused_as_a_whole(tmp_path: Path, name: str, content: str, word: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(UnreadableHistory, match=word):
        read_advice(file, DAY)


def test_a_snapshot_counts_once_and_the_newest_is_shown(cli: Callable[..., Result], tmp_path: Path) -> None:
    def brought(types: dict[str, Any], day: str) -> Any:
        file = json_file(tmp_path, published(types))
        return json.loads(cli("advisor-import", str(file), "--as-of", day, "--output", "json").stdout)

    first = {"m5.large": {"s": 62, "r": 1}, "c5.large": {"s": 70, "r": 9}}
    told = brought(first, "2026-02-01")
    assert (told["markets"], told["new_or_changed"], len(told["rejected"])) == (1, 1, 1)
    assert brought(first, "2026-02-01")["new_or_changed"] == 0
    assert brought({"m5.large": {"s": 55, "r": 4}}, "2026-03-01")["new_or_changed"] == 1
    assert brought({"m5.large": {"s": 61, "r": 2}}, "2026-01-01")["new_or_changed"] == 1  # older: kept, not shown
    (row,) = json.loads(cli("advisor", "m5.large", "--output", "json").stdout)
    assert row == {
        "region": "us-east-1", "os": "Linux", "interrupted": ">20 %", "savings_percent": 55, "as_of": "2026-03-01",
    }  # fmt: skip
    assert json.loads(cli("advisor", "m5.large", "--region", "eu-west-1", "--output", "json").stdout) == []
    assert "advisor-import" in cli("advisor", "x9.huge").output


def test_a_refused_file_leaves_nothing_and_is_one_line(
    cli: Callable[..., Result], database_url: str, tmp_path: Path
) -> None:
    refused = cli("advisor-import", str(json_file(tmp_path, [])))
    assert (refused.exit_code, len(refused.stderr.strip().splitlines())) == (1, 1)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from spot_advice").fetchone() == (0,)


@pytest.mark.parametrize(("band", "savings", "name"), [(5, 50, "advice_band"), (0, 101, "advice_savings")])
def test_the_database_refuses_what_the_reader_would(database_url: str, band: int, savings: int, name: str) -> None:
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.CheckViolation, match=name):
        connection.execute(
            "insert into spot_advice values ('us-east-1', 'Linux', 'm5.large', '2026-02-01', %s, %s, 'x', now())",
            (band, savings),
        )
