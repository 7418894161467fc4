"""``spotcore prices clean``: files of raw observations become the buckets that the server has (DQ-1 to DQ-5, 8.2)."""

import csv
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spotadapters.history.cleaning import Observations
from spotadapters.history.refusals import UnknownFormat, UnreadableHistory
from spotapp.cli import main
from spotcore.buckets import Contender
from tests.property.test_history_engine import PRICES, Row, a_history, by_reference, micros
from tests.support.server import Site
from tests.support.wire_agents import V4c

NOW = datetime(2026, 3, 9, tzinfo=UTC)


def run(*words: str, url: str | None = None) -> Result:
    return CliRunner().invoke(main, ["prices", *words], env={"SPOTCORE_DATABASE_URL": url})


def raw_file(folder: Path, rows: Sequence[Contender], name: str = "raw.csv") -> Path:
    file = folder / name
    with file.open("w", newline="") as text:
        out = csv.writer(text)
        out.writerow(["pool_id", "observed_at", "price", "source", "submission_id"])
        for one in rows:
            seen = one.observation
            out.writerow([seen.pool_id, seen.observed_at.isoformat(), seen.price, one.source.value, seen.submission_id])
    return file


def table(file: Path) -> list[dict[str, str]]:
    with file.open() as text:
        return list(csv.DictReader(text))


def shown(file: Path) -> list[Row]:
    return [
        (
            row["pool_id"], micros(datetime.fromisoformat(row["bucket_start"])) // 10**6,
            round(float(row["price"]) * 10**6), row["method"] or None, row["discrepancy"] or None,
        )
        for row in table(file)
    ]  # fmt: skip


@cache
def told_and_wanted(kind: str) -> tuple[list[Contender], list[Row]]:
    """Reports, and what the pure functions make of them."""
    rows = a_history(7, buckets=150, density=0.8, prices=PRICES[kind], clumsy=0.4)
    return rows, by_reference(rows)


@pytest.mark.parametrize("kind", PRICES)
@pytest.mark.parametrize("window", [1, 700, 10**6])
def test_gf5_windows_of_any_size_give_what_the_pure_functions_give(tmp_path: Path, kind: str, window: int) -> None:
    rows, wanted = told_and_wanted(kind)
    with Observations([raw_file(tmp_path, rows)], NOW) as observations:
        steps = list(observations.clean(window))
        assert (steps[-1].done, steps[-1].total) == (len(rows), len(rows))
        assert observations.write(tmp_path / "clean.csv") == len(wanted)
    assert shown(tmp_path / "clean.csv") == wanted


def test_dq4_the_servers_own_buckets_can_be_computed_again(site: Site, tmp_path: Path) -> None:
    url, chance = site.connections.database_url, random.Random(3)
    agents = [V4c(site.client(name), f"i-0aaaaaaaaaaaaaa{name}", logical="web") for name in ("aa", "bb")]
    for agent in agents:
        agent.register()
    for _ in range(40):
        site.clock.advance(chance.choice([60, 300, 300, 301, 1_500, 3_000]))
        for agent in agents:
            if chance.random() < 0.7:
                pools = [
                    {"pool_id": f"t3.medium.us-east-1{zone}", "price": round(chance.uniform(0.010, 0.014), 6)}
                    for zone in "abcd"
                    if chance.random() < 0.8
                ]
                instance = {"instance_id": agent.machine, "instance_type": "t3.medium", "az": "us-east-1a"}
                assert agent.post("/pricing-report", {"instance": instance, "spot_pools": pools}).status == 200
    site.plane.pipeline.run()
    when = ("--since", "2026-01-01", "--until", "2027-01-01")
    for form in ("csv", "parquet"):
        raw, again, kept = (str(tmp_path / f"{name}.{form}") for name in ("raw", "again", "kept"))
        assert run("export", "--raw", "--to", raw, *when, url=url).exit_code == 0
        assert run("clean", raw, "--to", again).exit_code == 0
        assert run("export", "--to", kept, *when, url=url).exit_code == 0
    computed, kept = table(tmp_path / "again.csv"), table(tmp_path / "kept.csv")
    assert {row["source"] for row in kept} == {"primary", "interpolated"}
    assert len({row["method"] for row in kept}) > 3
    assert [comparable(row) for row in computed] == [comparable(row) for row in kept]


def comparable(row: dict[str, str]) -> dict[str, Any]:
    return {**row, "confidence": float(row["confidence"])}


def test_rows_that_cannot_be_right_are_counted_by_reason(tmp_path: Path) -> None:
    file = tmp_path / "raw.csv"
    good = "m5.large.us-east-1a,2026-03-01T00:00:00Z,0.03,primary,"
    lines = [
        good,
        "nonsense,2026-03-01T00:00:00Z,0.03,primary,",
        "m5.large.us-east-1a,yesterday,0.03,primary,",
        "m5.large.us-east-1a,2026-03-01T00:00:00Z,-1,primary,",
        "m5.large.us-east-1a,2026-03-01T00:00:00Z,NaN,primary,",
        "m5.large.us-east-1a,2026-03-01T00:00:00Z,1000.5,primary,",
        "m5.large.us-east-1a,2026-03-01T00:00:00Z,0.03,rumour,",
        "m5.large.us-east-1a,2030-03-01T00:00:00Z,0.03,primary,",
        "m5.large.us-east-1a,1970-03-01T00:00:00Z,0.03,primary,",
        "m5.large.us-east-1a,2026-03-01T00:00:00Z,0.03,primary,not-a-digest",
    ]
    file.write_text("pool_id,observed_at,price,source,submission_id\n" + "\n".join(lines) + "\n")
    done = run("clean", str(file), "--to", str(tmp_path / "clean.csv"), "--output", "json")
    facts = json.loads(done.stdout)
    assert (facts["rows"], facts["accepted"], facts["buckets"]) == (10, 1, 1)
    assert facts["rejected"] == {
        "an unknown source": 1,
        "before there was EC2": 1,
        "in the future": 1,
        "not a pool": 1,
        "the price is not a number above 0 and up to 1,000": 3,
        "the submission id is not 32 hexadecimal digits": 1,
        "the time cannot be read": 1,
    }


def test_a_file_with_little_in_it_is_taken_as_history_and_one_name_for_a_pool(tmp_path: Path) -> None:
    file = tmp_path / "raw.csv"
    at = datetime(2026, 3, 1, tzinfo=UTC)
    names = ["m5.large.us-east-1a", "m5.large.us-east-1.us-east-1a"]
    lines = [f"{names[step % 2]},{(at + timedelta(minutes=5 * step)).isoformat()},0.03" for step in range(4)]
    file.write_text("pool_id,observed_at,price\n" + "\n".join(lines) + "\n")
    assert run("clean", str(file), "--to", str(tmp_path / "clean.csv")).exit_code == 0
    rows = table(tmp_path / "clean.csv")
    assert {row["pool_id"] for row in rows} == {"m5.large.us-east-1a"}
    assert [(row["source"], row["confidence"]) for row in rows] == [("backfill", "0.90")] * 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pool_id,price\na,1\n", "columns missing: observed_at"),
        ("pool_id,observed_at,price\nm5.large.us-east-1a,2026-03-01,0.0", "may have been cut"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_and_nothing_is_written(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "raw.csv"
    file.write_text(text)
    done = run("clean", str(file), "--to", str(tmp_path / "clean.csv"))
    assert (done.exit_code, words in done.output) == (1, True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["raw.csv"]
    with pytest.raises(UnreadableHistory):
        Observations([tmp_path / "none.csv"], NOW)


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    file = raw_file(tmp_path, a_history(1, buckets=3, density=1, prices=[30_000], clumsy=0))
    with Observations([file], NOW) as observations, pytest.raises(UnknownFormat, match=r"\.csv or \.parquet"):
        observations.write(tmp_path / "clean.xlsx")
