"""The training dataset against a computation by hand: features of time, nothing of the future, versions that never change."""

import json
import math
import random
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from click.testing import CliRunner, Result

from spotadapters.history import dataset
from spotadapters.history.dataset import Dataset, Datasets
from spotapp.cli import main
from spotcore.errors import NotFound

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
STEP = 300
POOLS = ("m5.large.us-east-1a", "m5.large.us-east-1b", "c5.large.us-east-1a")
Series = dict[str, dict[int, Decimal]]


def history(chance: random.Random, hours: float = 40) -> Series:
    """Prices with holes, up to two hours ago."""
    end = int((NOW - timedelta(hours=2)).timestamp()) // STEP * STEP
    starts = range(end - int(hours * 3600), end, STEP)
    return {
        pool: {t: Decimal(chance.randint(20_000, 40_000)) / 1_000_000 for t in starts if chance.random() < 0.8}
        for pool in POOLS
    }


def store(url: str, series: Series, incidents: list[tuple[str, int]] = [], **bucket: Any) -> None:  # noqa: B006
    facts = {"source": "primary", "rank": 5, "confidence": 1, "method": None, **bucket}
    with psycopg.connect(url) as connection:
        for pool, rows in series.items():
            kind = pool.rpartition(".")[0]
            connection.cursor().executemany(
                "insert into price_buckets (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,"
                " observed_at, submission_id, method) values (%s, to_timestamp(%s), %s, 'us-east-1', %s, %s, %s, %s,"
                " to_timestamp(%s), 's', %s)",
                [(pool, t, kind, price, facts["source"], facts["rank"], facts["confidence"], t, facts["method"])
                 for t, price in rows.items()],
            )  # fmt: skip
        for number, (pool, t) in enumerate(incidents):
            connection.execute(
                "insert into clients (client_id, name, status, created_at, default_auto_switch, default_auto_terminate,"
                " default_terminate_wait_seconds) values ('c', 'C', 'active', now(), true, true, 300) on conflict do nothing"
            )
            connection.execute("set local session_replication_role = replica")  # an incident alone is enough here
            connection.execute(
                "insert into incidents (client_id, incident_id, agent_id, instance_id, severity, state, pool_id, opened_at,"
                " last_signal_at, signals, promote_on_ready, launch_attempts, tried_pools, data_loss_possible, anomalies,"
                " actions) values ('c', %s, 'a', %s, 'rebalance', 'cleared', %s, to_timestamp(%s), to_timestamp(%s), 1,"
                " false, 0, '[]', false, '[]', '[]')", (f"n{number}", f"i{number}", pool, t, t),
            )  # fmt: skip
        connection.execute(
            "insert into ondemand_prices (instance_type, region, flagged, bucket_start, observed_at, price, rank, client_id)"
            " values ('m5.large', 'us-east-1', false, %(t)s, %(t)s, 0.096, 5, 'c'),"
            " ('c5.large', 'us-east-1', true, %(t)s, %(t)s, 0.3, 5, 'c') on conflict do nothing",
            {"t": NOW - timedelta(hours=20)},
        )


def rows_of(folder: Path, made: Dataset) -> list[dict[str, Any]]:
    with duckdb.connect(":memory:") as db:
        found = db.execute(f"select * from read_parquet('{folder / made.file}')")
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def by_hand(series: Series, pool: str, t: int, incidents: list[tuple[str, int]]) -> dict[str, Any]:
    mine, price = series[pool], series[pool][t]
    kind = pool.rpartition(".")[0]

    def change(seconds: int) -> float | None:
        before = mine.get(t - seconds)
        return float((price - before) / before) if before is not None else None

    window = [float(mine[s]) for s in range(t - 71 * STEP, t + 1, STEP) if s in mine]
    mean = sum(window) / len(window)
    peers = [rows[t] for other, rows in series.items() if other.rpartition(".")[0] == kind and t in rows]
    at = datetime.fromtimestamp(t, UTC)
    return {
        "price": price,
        "change_1h": change(3600),
        "change_24h": change(86_400),
        "stddev_6h": math.sqrt(sum((one - mean) ** 2 for one in window) / len(window)) if len(window) >= 36 else None,
        "price_rank": 1 + sum(other < price for other in peers),
        "ondemand_price": Decimal("0.096") if kind == "m5.large" and at >= NOW - timedelta(hours=20) else None,
        "hour": at.hour,
        "weekday": at.isoweekday(),
        "day": at.day,
        "month": at.month,
        "interrupted": any(where == pool and t < when <= t + 3600 for where, when in incidents),
    }


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float):
        return found is not None and abs(found - wanted) < 1e-8
    return bool(found == wanted)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


def test_ds1_ds4_every_row_and_feature_is_what_a_hand_makes_of_it_failure_82(database_url: str, folder: Path) -> None:
    chance = random.Random(5)
    series = history(chance)
    starts = sorted(series[POOLS[0]])
    incidents = [(POOLS[0], starts[100] + 17), (POOLS[1], starts[-1] + 3600)]
    store(database_url, series, incidents)
    made = Datasets(database_url, folder).build(NOW)
    assert made is not None
    rows = rows_of(folder, made)
    assert {(row["pool_id"], row["epoch_seconds"]) for row in rows} == {
        (pool, t) for pool, mine in series.items() for t in mine
    }
    assert (made.rows, made.pools) == (len(rows), 3)
    for row in rows:
        wanted = by_hand(series, row["pool_id"], row["epoch_seconds"], incidents)
        wrong = {name: (row[name], value) for name, value in wanted.items() if not same(row[name], value)}
        assert not wrong, (row["pool_id"], row["epoch_seconds"])
    assert sum(row["interrupted"] for row in rows) > 5


def test_ds3_nothing_of_the_future_changes_a_row_failure_81(database_url: str, folder: Path) -> None:
    """What comes later changes no feature of what was there; only labels look ahead, by an hour."""
    chance = random.Random(6)
    whole = history(chance)
    cut = sorted(whole[POOLS[0]])[300]
    past = {pool: {t: price for t, price in rows.items() if t <= cut} for pool, rows in whole.items()}
    store(database_url, past)
    datasets = Datasets(database_url, folder)
    first = datasets.build(NOW)
    assert first is not None
    before = {(row["pool_id"], row["epoch_seconds"]): row for row in rows_of(folder, first)}
    store(database_url, {pool: {t: price for t, price in rows.items() if t > cut} for pool, rows in whole.items()})
    second = datasets.build(NOW)
    assert second is not None
    after = {(row["pool_id"], row["epoch_seconds"]): row for row in rows_of(folder, second)}
    assert len(after) > len(before)
    assert all(after[key] == row for key, row in before.items())


@pytest.mark.parametrize(
    "bucket",
    [
        {"source": "interpolated", "rank": 1, "confidence": Decimal("0.85"), "method": "linear"},
        {"source": "backfill", "rank": 2, "confidence": Decimal("0.90")},
    ],
)
def test_ds1_what_is_not_sure_is_not_in_it(database_url: str, folder: Path, bucket: dict[str, Any]) -> None:
    store(database_url, history(random.Random(7), hours=2), **bucket)
    assert Datasets(database_url, folder).build(NOW) is None


def test_ds1_ds4_neither_older_than_two_years_nor_younger_than_its_label(database_url: str, folder: Path) -> None:
    times = [
        NOW - timedelta(days=731),
        NOW - timedelta(days=729),
        NOW - timedelta(minutes=65),
        NOW - timedelta(minutes=55),
    ]
    store(database_url, {POOLS[0]: {int(at.timestamp()) // STEP * STEP: Decimal("0.03") for at in times}})
    made = Datasets(database_url, folder).build(NOW)
    assert made is not None
    assert made.rows == 2


def test_ds5_ds6_versions_never_change_and_nothing_new_makes_none(database_url: str, folder: Path) -> None:
    series = history(random.Random(8), hours=3)
    store(database_url, series)
    datasets = Datasets(database_url, folder)
    first = datasets.build(NOW)
    assert first is not None
    assert datasets.build(NOW + timedelta(minutes=1)) == first
    content = (folder / first.file).read_bytes()
    later = max(series[POOLS[0]]) + STEP
    store(database_url, {POOLS[0]: {later: Decimal("0.03")}})
    second = datasets.build(NOW)
    assert second is not None
    assert (second.dataset_id > first.dataset_id, second.rows) == (True, first.rows + 1)
    assert [one.dataset_id for one in datasets.versions()] == [second.dataset_id, first.dataset_id]
    assert (folder / first.file).read_bytes() == content
    assert not list(folder.glob(".*"))
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.IntegrityError) as refusal:
        connection.execute("update datasets set rows = 1")
    assert refusal.value.diag.constraint_name == "ds5_versions_never_change"


def test_ds5_a_build_that_fails_leaves_the_current_one_failure_80(database_url: str, folder: Path) -> None:
    store(database_url, history(random.Random(9), hours=3))
    datasets = Datasets(database_url, folder)
    first = datasets.build(NOW)
    store(database_url, {POOLS[0]: {int((NOW - timedelta(hours=30)).timestamp()): Decimal("0.05")}})
    blocked = folder.parent / "blocked"
    blocked.write_text("not a folder")
    with pytest.raises(OSError, match="blocked"):
        Datasets(database_url, blocked).build(NOW)
    assert datasets.show() == first


# the files of old versions


def built(url: str, datasets: Datasets, versions: int) -> list[Dataset]:
    """So many versions, each of one bucket more; the oldest first."""
    made: list[Dataset | None] = []
    for number in range(versions):
        at = int((NOW - timedelta(hours=20)).timestamp()) // STEP * STEP + number * STEP
        store(url, {POOLS[0]: {at: Decimal("0.03")}})
        made.append(datasets.build(NOW))
    return [one for one in made if one is not None]


def named(*versions: Dataset) -> Callable[[Collection[str]], Collection[str]]:
    """The manifests of models name these."""
    return lambda digests: {one.sha256 for one in versions} & set(digests)


def test_ds5_files_of_the_newest_stay_and_those_that_models_name_and_records_for_ever(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "KEPT", 2)
    datasets = Datasets(database_url, folder)
    assert datasets.remove_old(named()) == 0  # there is no folder yet
    versions = built(database_url, datasets, 5)
    for name in (f"{'0' * 64}.parquet", f".{'0' * 64}.part"):  # of builds that died before they were recorded
        (folder / name).write_bytes(b"")
    (folder / "mine.parquet").write_bytes(b"")  # an operator's own
    rows = rows_of(folder, versions[1])
    assert datasets.remove_old(named(versions[1])) == 4
    assert [datasets.has_file(one) for one in versions] == [False, True, False, True, True]
    assert rows_of(folder, versions[1]) == rows
    assert {one.name for one in folder.iterdir()} == {versions[n].file for n in (1, 3, 4)} | {"mine.parquet"}
    assert datasets.versions() == versions[::-1]
    assert datasets.remove_old(named(versions[1])) == 0
    assert datasets.remove_old(named()) == 1


def test_ds5_a_version_whose_file_was_removed_is_refused_with_those_that_have_theirs(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "KEPT", 2)
    datasets = Datasets(database_url, folder)
    first, second, third = built(database_url, datasets, 3)
    datasets.remove_old(named())
    assert datasets.file() == datasets.file(third.dataset_id) == folder / third.file
    with pytest.raises(NotFound, match="no such version"):
        datasets.file(99)
    with pytest.raises(NotFound) as refusal:
        datasets.file(first.dataset_id)
    assert f"are of: {third.dataset_id}, {second.dataset_id}. " in refusal.value.message
    assert "spotcore dataset build" in refusal.value.message
    assert refusal.value.details == {"dataset_id": first.dataset_id}
    assert datasets.show(first.dataset_id) == first


def test_ds6_a_build_of_the_same_rows_makes_good_a_file_that_is_gone(database_url: str, folder: Path) -> None:
    datasets = Datasets(database_url, folder)
    (made,) = built(database_url, datasets, 1)
    rows = rows_of(folder, made)
    (folder / made.file).unlink()
    assert datasets.build(NOW) == made
    assert rows_of(folder, made) == rows
    assert datasets.versions() == [made]


def test_the_commands(database_url: str, tmp_path: Path) -> None:
    def run(*words: str) -> Result:
        environment = {"SPOTCORE_DATABASE_URL": database_url, "SPOTCORE_DATA_DIR": str(tmp_path)}
        return CliRunner().invoke(main, ["dataset", *words], env=environment)

    assert (run("build").exit_code, "no dataset yet" in run("list").stdout) == (1, True)
    recent = datetime.now(UTC) - timedelta(hours=5)
    store(database_url, {POOLS[0]: {int(recent.timestamp()) // STEP * STEP: Decimal("0.03")}})
    made = json.loads(run("build", "--output", "json").stdout)
    assert (made["rows"], made["pools"]) == (1, 1)
    assert json.loads(run("show", "--output", "json").stdout) == made
    assert made["sha256"][:12] in run("list").stdout
    assert run("show", "99").exit_code == 1
    file = tmp_path / "datasets" / made["file"]
    assert (run("path").stdout.strip(), made["has_file"]) == (str(file), True)
    file.unlink()
    refused = run("path", "1")
    assert (refused.exit_code, "no longer has its file" in refused.output) == (1, True)
    assert json.loads(run("show", "--output", "json").stdout) == {**made, "has_file": False}
    old = tmp_path / "datasets" / f"{'0' * 64}.parquet"
    old.write_bytes(b"")
    assert json.loads(run("build", "--output", "json").stdout) == made
    assert (file.is_file(), old.is_file()) == (True, False)
