"""Price history in and out : any file, whole or not at all, the same again changes nothing."""

import csv
import gzip
import json
import random
import time
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from click.testing import CliRunner, Result

from spotadapters.history.loading import Imported, importing, load
from spotadapters.history.reading import History
from spotadapters.history.refusals import AnotherImport, UnreadableHistory
from spotapp.cli import main
from spotcore.prices import PriceSource, bucket_start, submission_id
from tests.support.server import Site
from tests.support.wire_agents import POOLS, V4c

D = Decimal
START = datetime(2026, 2, 1, 0, 3, tzinfo=UTC)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
Change = tuple[datetime, str, str, str]  # at, type, zone, price

CHANGES: list[Change] = [
    (START, "m5.large", "us-east-1a", "0.030000"),
    (START + timedelta(minutes=40), "m5.large", "us-east-1a", "0.031000"),
    (START + timedelta(minutes=42), "m5.large", "us-east-1a", "0.032000"),
    (START + timedelta(hours=3), "m5.large", "us-east-1a", "0.029500"),
    (START + timedelta(minutes=7), "m5.large", "us-east-1b", "0.041"),
    (START + timedelta(hours=3, minutes=1), "c5.large", "us-west-2-lax-1a", "0.05"),
]


def as_json(changes: list[Change], product: str = "Linux/UNIX") -> dict[str, Any]:
    return {
        "SpotPriceHistory": [
            {
                "AvailabilityZone": az, "InstanceType": kind, "ProductDescription": product, "SpotPrice": price,
                "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
            }
            for at, kind, az, price in changes
        ],
        "NextToken": "",
    }  # fmt: skip


def json_file(folder: Path, changes: list[Change]) -> Path:
    file = folder / "history.json"
    file.write_text(json.dumps(as_json(changes)))
    return file


def json_pages(folder: Path, changes: list[Change]) -> Path:
    """Pages one after the other, as a loop over the API leaves them; the last one once more."""
    file = folder / "pages.ndjson"
    pages = [as_json(changes[:3]), as_json(changes[3:]), as_json(changes[3:])]
    file.write_text("\n".join(json.dumps(page) for page in pages) + "\n")
    return file


def csv_file(folder: Path, changes: list[Change]) -> Path:
    file = folder / "history.csv.gz"
    rows = ["Timestamp,InstanceType,AvailabilityZone,SpotPrice,ProductDescription"]
    rows += [f"{at.isoformat()},{kind},{az},{price},Linux/UNIX" for at, kind, az, price in changes]
    with gzip.open(file, "wt") as packed:
        packed.write("\n".join(rows) + "\n")
    return file


def parquet_file(folder: Path, changes: list[Change]) -> Path:
    file = folder / "history.parquet"
    with duckdb.connect(":memory:") as db:
        db.execute("create table t (ts integer, type varchar, az varchar, price_usd_h double)")
        db.executemany(
            "insert into t values (?, ?, ?, ?)", [(int(at.timestamp()), k, az, float(p)) for at, k, az, p in changes]
        )
        db.execute(f"copy t to '{file}' (format parquet)")
    return file


FORMS: dict[str, Callable[[Path, list[Change]], Path]] = {
    "json": json_file, "pages": json_pages, "csv": csv_file, "parquet": parquet_file,
}  # fmt: skip


def expected(changes: list[Change]) -> dict[tuple[str, datetime], tuple[Decimal, datetime, str]]:
    """Buckets by hand: the price in force at a bucket's start; in a pool's first bucket its first change."""
    last = bucket_start(max(at for at, *_ in changes))
    found = {}
    for pool in {f"{kind}.{az}" for _, kind, az, _ in changes}:
        mine = sorted((at, D(price)) for at, kind, az, price in changes if f"{kind}.{az}" == pool)
        at, times = bucket_start(mine[0][0]), [changed for changed, _ in mine]
        while at <= last:
            known = mine[max(bisect_right(times, at), 1) - 1]
            seen, price = max(known[0], at), known[1].quantize(D("0.000001"))
            found[pool, at] = (price, seen, submission_id("", None, pool, seen, price))
            at += timedelta(minutes=5)
    return found


def stored(url: str) -> dict[tuple[str, datetime], tuple[Decimal, datetime, str]]:
    with psycopg.connect(url) as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute(
            "select pool_id, bucket_start, price, observed_at, submission_id from price_buckets where source = 'backfill'"
        ).fetchall()
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}


def bring(url: str, *files: Path) -> Imported:
    with History(files, NOW) as history, importing(url) as connection:
        *_, done = load(history, connection)
    assert isinstance(done, Imported)
    return done


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_buckets(database_url: str, tmp_path: Path, form: str) -> None:
    file = FORMS[form](tmp_path, CHANGES)
    done = bring(database_url, file)
    wanted = expected(CHANGES)
    assert stored(database_url) == wanted
    assert (done.buckets, done.won) == (len(wanted), len(wanted))
    again = bring(database_url, file)
    assert (again.buckets, again.won) == (len(wanted), 0)


def test_random_histories_in_any_order_and_split_give_identical_tables(database_url: str, tmp_path: Path) -> None:
    chance = random.Random(11)
    changes = sorted(
        {
            (START + timedelta(seconds=chance.randint(0, 90_000)), "m5.large", f"us-east-1{chance.choice('abc')}"): None
            for _ in range(300)
        }
    )
    rows = [(at, kind, az, f"0.0{chance.randint(10, 99)}") for at, kind, az in changes]
    chance.shuffle(rows)
    bring(database_url, json_file(tmp_path, rows))
    assert stored(database_url) == expected(rows)
    rows.sort()
    bring(database_url, csv_file(tmp_path, rows[100:]))  # a later part of it once more, in another form
    assert stored(database_url) == expected(rows)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_overlapping_files_give_the_same_tables_in_either_order(
    database_url: str, tmp_path: Path, order: tuple[int, int]
) -> None:
    rows = sorted(CHANGES)
    parts = [rows[:4], rows[2:]]
    for number in order:
        bring(database_url, json_file(tmp_path, parts[number]))
    found = {key: row[0] for key, row in stored(database_url).items()}
    assert found == {key: row[0] for key, row in expected(rows).items() if key in found}
    assert {pool for pool, _ in found} == {pool for pool, _ in expected(rows)}


def test_a_report_in_the_middle_of_an_import_keeps_its_bucket_dq4(database_url: str, tmp_path: Path) -> None:
    """The import saw no bucket, and finds one when it writes: it goes back and merges."""
    wanted = expected(CHANGES)
    key = ("m5.large.us-east-1a", bucket_start(START + timedelta(hours=1)))
    file = json_file(tmp_path, CHANGES)
    with psycopg.connect(database_url) as agent, ThreadPoolExecutor(1) as other:
        agent.execute(
            "insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,"
            " observed_at, submission_id) values (%s, %s, 'm5.large', 'us-east-1', 0.07, 'primary', 3, 1, %s, 'ours')",
            (*key, key[1]),
        )
        bringing = other.submit(bring, database_url, file)
        with psycopg.connect(database_url, autocommit=True) as watch:
            while not _waits(watch):
                assert not bringing.done()
                time.sleep(0.01)
        agent.commit()
        done = bringing.result(timeout=30)
    assert (done.buckets, done.won) == (len(wanted), len(wanted) - 1)
    del wanted[key]
    assert stored(database_url) == wanted


def _waits(watch: psycopg.Connection) -> bool:
    query = (
        "select exists (select 1 from pg_stat_activity where application_name = 'spotcore-import'"
        " and datname = current_database() and wait_event_type = 'Lock')"
    )
    return bool(watch.execute(query).fetchone()[0])  # type: ignore[index]


JUMPS = {"America/New_York": (3, 8), "Australia/Lord_Howe": (4, 5), "Asia/Kathmandu": (3, 8)}
"""When the clocks of a zone jump in 2026; the last one's never do, and are off by 45 minutes."""


@pytest.mark.parametrize("zone", JUMPS)
@pytest.mark.parametrize("form", ["json", "csv", "parquet", "naive csv"])
def test_the_hosts_summer_time_moves_nothing_gr5(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, form: str
) -> None:
    """The day of the jump, as it is there and in UTC, and a day before it; a time without an offset is UTC."""
    month, jump = JUMPS[zone]
    rows = [
        (datetime(2026, month, day, hour, 1, tzinfo=UTC), "m5.large", "us-east-1a", f"0.0{day}{hour:02}")
        for day in (jump - 1, jump)
        for hour in range(24)
    ]
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        if form == "naive csv":
            file = tmp_path / "naive.csv"
            lines = [f"{at:%Y-%m-%d %H:%M:%S},{kind},{az},{price}" for at, kind, az, price in rows]
            file.write_text("\n".join(["timestamp,instance_type,az,price", *lines]) + "\n")
        else:
            file = FORMS[form](tmp_path, rows)
        with History([file], NOW + timedelta(days=60)) as history, importing(database_url) as connection:
            list(load(history, connection))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert stored(database_url) == expected(rows)


def test_a_leap_second_is_counted_with_its_reason_and_stops_nothing(tmp_path: Path) -> None:
    data = as_json(CHANGES)
    data["SpotPriceHistory"].append({**data["SpotPriceHistory"][0], "Timestamp": "2016-12-31T23:59:60Z"})
    file = tmp_path / "history.json"
    file.write_text(json.dumps(data))
    with History([file], NOW) as history:
        found = history.summary()
    assert (found.changes, found.rejected) == (len(CHANGES), {"the time cannot be read": 1})


def test_two_prices_at_one_instant_do_not_depend_on_their_order(tmp_path: Path) -> None:
    twice = [(START, "m5.large", "us-east-1a", "0.03"), (START, "m5.large", "us-east-1a", "0.04")]

    def winner(rows: list[Change], name: str) -> list[str]:
        folder = tmp_path / name
        folder.mkdir()
        with History([json_file(folder, rows)], NOW) as history:
            history.write_buckets(history.pools(), folder / "out.csv")
        return (folder / "out.csv").read_text().splitlines()

    assert winner(twice, "one") == winner(twice[::-1], "other")


REJECTED: dict[str, tuple[dict[str, str], str]] = {
    "nan": ({"SpotPrice": "NaN"}, "price"),
    "negative": ({"SpotPrice": "-0.03"}, "price"),
    "nothing": ({"SpotPrice": "0"}, "price"),
    "absurd": ({"SpotPrice": "1000.000001"}, "price"),
    "huge": ({"SpotPrice": "1e400"}, "price"),
    "rounds to nothing": ({"SpotPrice": "0.0000004"}, "price"),
    "a word": ({"SpotPrice": "cheap"}, "price"),
    "the future": ({"Timestamp": "2036-01-01T00:00:00Z"}, "future"),
    "no time": ({"Timestamp": "yesterday"}, "time"),
    "an unknown product": ({"ProductDescription": "Solaris"}, "product"),
    "an unknown mark": ({"InstanceType": "m5.large:solaris"}, "type"),
    "no zone": ({"AvailabilityZone": ""}, "zone"),
}


@pytest.mark.parametrize("what", REJECTED)
def test_a_row_that_cannot_be_right_is_counted_with_its_reason_and_the_rest_goes_on(tmp_path: Path, what: str) -> None:
    wrong, word = REJECTED[what]
    data = as_json(CHANGES)
    data["SpotPriceHistory"].append({**data["SpotPriceHistory"][0], **wrong})
    file = tmp_path / "history.json"
    file.write_text(json.dumps(data))
    with History([file], NOW) as history:
        found = history.summary()
    ((reason, count),) = found.rejected.items()
    assert (word in reason, count, found.changes, found.rows) == (True, 1, len(CHANGES), len(CHANGES) + 1)


def test_another_product_has_pools_of_its_own_and_never_enters_a_linux_series(
    database_url: str, tmp_path: Path
) -> None:
    bring(database_url, json_file(tmp_path, CHANGES))
    linux = stored(database_url)
    dearer = [(at, kind, az, "0.9") for at, kind, az, _ in CHANGES]
    file = tmp_path / "windows.json"
    pages = [as_json(dearer, "Windows"), as_json(dearer, "Windows (Amazon VPC)"), as_json(dearer, "SUSE Linux")]
    file.write_text("\n".join(json.dumps(page) for page in pages))
    with History([file], NOW) as history:
        found = history.summary()
    assert (found.changes, found.duplicates, found.pools) == (2 * len(CHANGES), len(CHANGES), 6)
    bring(database_url, file)
    after = stored(database_url)
    assert {key: row for key, row in after.items() if ":" not in key[0]} == linux
    marks = {pool.rpartition(".")[0] for pool, _ in after if ":" in pool}
    assert marks == {"m5.large:windows", "m5.large:suse", "c5.large:windows", "c5.large:suse"}
    assert {row[0] for key, row in after.items() if ":" in key[0]} == {D("0.9")}
    key = ("m5.large:windows.us-east-1a", bucket_start(START))
    assert after[key][2] == submission_id("", None, key[0], after[key][1], after[key][0], "Windows")


def test_other_products_come_back_from_an_export_as_they_were(
    cli: Callable[..., Result], database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "windows.json"
    file.write_text(json.dumps(as_json(CHANGES, "Windows")))
    assert cli("import", str(file)).exit_code == 0
    before, out = stored(database_url), tmp_path / "out.parquet"
    assert cli("export", "--to", str(out), "--since", "2026-01-01", "--until", "2026-03-01").exit_code == 0
    again = json.loads(cli("import", str(out), "--output", "json").stdout)
    assert (again["changes"], again["rejected"]) == (len(before), {})
    assert {key: row[0] for key, row in stored(database_url).items()} == {key: row[0] for key, row in before.items()}


def test_prices_are_rounded_half_even_to_6_decimals_dq2(tmp_path: Path) -> None:
    rows = [(START, "m5.large", "us-east-1a", "0.0312345"), (START, "m5.large", "us-east-1b", "0.0312335")]
    with History([json_file(tmp_path, rows)], NOW) as history:
        history.write_buckets(history.pools(), tmp_path / "out.csv")
    prices = [line.split(",")[4] for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert prices == ["0.031234", "0.031234"]


def test_hundreds_of_thousands_of_duplicates_count_once(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    row = f"{START.isoformat()},m5.large,us-east-1a,0.03\n"
    file.write_text("timestamp,instance_type,az,price\n" + row * 250_000)
    with History([file], NOW) as history:
        found = history.summary()
    assert (found.rows, found.changes, found.duplicates) == (250_000, 1, 249_999)


@pytest.mark.parametrize("form", [*FORMS, "plain csv"])
def test_a_file_cut_in_the_middle_is_refused_and_nothing_is_written(
    database_url: str, tmp_path: Path, form: str
) -> None:
    if form == "plain csv":
        whole = tmp_path / "history.csv"
        whole.write_bytes(gzip.decompress(csv_file(tmp_path, CHANGES).read_bytes()))
    else:
        whole = FORMS[form](tmp_path, CHANGES)
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) * 2 // 3 - 7])
    with pytest.raises(UnreadableHistory, match=str(whole)):
        bring(database_url, whole)
    assert stored(database_url) == {}


def test_one_bad_file_of_two_brings_in_nothing(database_url: str, tmp_path: Path) -> None:
    good, bad = json_file(tmp_path, CHANGES), tmp_path / "other.csv"
    bad.write_text("a,b\n1,2\n")
    with pytest.raises(UnreadableHistory, match="columns missing"):
        bring(database_url, good, bad)
    assert stored(database_url) == {}


def test_an_import_that_dies_in_the_middle_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    def interrupted() -> None:
        with History([json_file(tmp_path, CHANGES)], NOW) as history, importing(database_url) as connection:
            for _ in load(history, connection):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert stored(database_url) == {}
    bring(database_url, json_file(tmp_path, CHANGES))
    assert stored(database_url) == expected(CHANGES)


def test_of_two_importers_at_once_one_is_told_to_wait(database_url: str, tmp_path: Path) -> None:
    with importing(database_url), ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: bring(database_url, json_file(tmp_path, CHANGES)))
        with pytest.raises(AnotherImport, match="wait"):
            other.result(timeout=30)
    assert bring(database_url, json_file(tmp_path, CHANGES)).won > 0


def test_an_agent_s_own_report_outranks_history_in_either_order(site: Site, tmp_path: Path) -> None:
    url = site.connections.database_url
    tenant = site.client("Prices")
    agent = V4c(tenant, site.new_machine())
    agent.register()
    agent.prices()
    now = site.clock.now()
    early, late = now - timedelta(hours=1), now + timedelta(minutes=1)
    rows = [(at, "t3.medium", "us-east-1a", "0.9") for at in (early, late)]
    bring(url, json_file(tmp_path, rows))
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "select price, source from price_buckets where pool_id = 't3.medium.us-east-1a' and bucket_start = %s",
            (bucket_start(now),),
        ).fetchone()
    assert found == (D(str(POOLS["us-east-1a"])), PriceSource.PRIMARY.value)


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(database_url: str) -> Callable[..., Result]:
    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["prices", *words], env={"SPOTCORE_DATABASE_URL": database_url})

    return run


def test_import_export_and_import_again_are_one_circle(
    cli: Callable[..., Result], database_url: str, tmp_path: Path
) -> None:
    told = cli("import", str(json_file(tmp_path, CHANGES)), "--output", "json")
    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)
    assert (facts["changes"], facts["pools"], facts["rejected"]) == (6, 3, {})
    before = stored(database_url)
    for name in ("out.csv", "out.parquet"):
        done = cli("export", "--to", str(tmp_path / name), "--since", "2026-01-01", "--until", "2026-03-01")
        assert done.exit_code == 0, done.output
        again = cli("import", str(tmp_path / name), "--output", "json")
        assert again.exit_code == 0, again.output
        assert json.loads(again.stdout)["changes"] == len(before)
        assert {key: row[0] for key, row in stored(database_url).items()} == {
            key: row[0] for key, row in before.items()
        }
    with (tmp_path / "out.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert {row["source"] for row in rows} == {"backfill"}
    assert cli("export", "--to", str(tmp_path / "out.xlsx")).exit_code == 1


def test_gaps_and_pictures(cli: Callable[..., Result], tmp_path: Path) -> None:
    cli("import", str(json_file(tmp_path, CHANGES)))
    pool = "m5.large.us-east-1a"
    assert "no gaps" in cli("gaps", pool, "--since", "2026-01-01").stdout
    assert "nothing was measured" in cli("gaps", "m5.large.us-east-1f", "--since", "2026-01-01").stdout
    for name, mark in (("pool.png", b"\x89PNG"), ("pool.svg", b"<?xml")):
        done = cli("plot", pool, "--to", str(tmp_path / name), "--since", "2026-02-01", "--until", "2026-02-02")
        assert done.exit_code == 0, done.output
        assert (tmp_path / name).read_bytes().startswith(mark)
    assert cli("plot", pool, "--to", str(tmp_path / "pool.doc"), "--since", "2026-02-01").exit_code == 1
    empty = cli("plot", "m5.large.us-east-1f", "--to", str(tmp_path / "x.png"))
    assert (empty.exit_code, "no prices" in empty.output) == (1, True)


def test_an_on_demand_list_is_imported_once_and_says_what_was_wrong(
    cli: Callable[..., Result], database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text(
        "region,type,od_usd_h,as_of\nus-east-1,m5.large,0.096,2026-01\nus-east-1,c5.large,0,2026-01\n,x,1,\n"
    )
    told = json.loads(cli("list-import", str(file), "--output", "json").stdout)
    assert (told["rows"], told["new_or_changed"], len(told["rejected"])) == (3, 1, 2)
    assert json.loads(cli("list-import", str(file), "--output", "json").stdout)["new_or_changed"] == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute("select instance_type, price, since from ondemand_list").fetchall()
    assert rows == [("m5.large", D("0.096"), datetime(2026, 1, 1, tzinfo=UTC))]
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n")
    assert cli("list-import", str(wrong)).exit_code == 1
