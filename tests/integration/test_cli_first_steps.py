"""The operator's token, the schema and the doctor on a real database; price lists as spreadsheets write them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from spotadapters.postgres.migrate import pending
from spotapp.admin_token import ensure_admin_token, rotate_admin_token
from spotapp.cli import main
from spotapp.settings import Settings
from spotapp.wiring import Wiring, open_wiring
from tests.support.server import Site
from tests.support.world import START, FakeClock

GIVEN = "an-operator-token-of-ours"


def run(url: str | None, folder: Path, *words: str, **more: str | None) -> Result:
    known = {
        "SPOTCORE_DATABASE_URL": url, "SPOTCORE_DATA_DIR": str(folder), "SPOTCORE_REDIS_URL": None, "SPOTCORE_ADMIN_TOKEN": None,
    }  # fmt: skip
    return CliRunner().invoke(main, list(words), env=known | more)


# ---- the admin token (2.1)


class Operator:
    """The starts of one installation, one after the other."""

    def __init__(self, wiring: Wiring, clock: FakeClock) -> None:
        self.wiring, self.clock = wiring, clock

    def start(self, token: str | None = None) -> str | None:
        """What a start with this setting shows."""
        return ensure_admin_token(evolve(self.wiring, settings=evolve(self.wiring.settings, admin_token=token)))

    def opens(self, token: str) -> bool:
        found = self.wiring.storage.find(self.wiring.identity.hash_token(token), self.clock.now())
        return found is not None and found.client is None

    def rows(self) -> list[str]:
        with self.wiring.connections.connection() as connection:
            return [row[0] for row in connection.execute("select t::text from tokens t").fetchall()]


@pytest.fixture(scope="module")
def opened(module_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wiring, FakeClock]]:
    clock = FakeClock(START)
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with open_wiring(settings, module_site.connections.database_url, clock=clock) as wiring:
        yield wiring, clock


@pytest.fixture
def operator(opened: tuple[Wiring, FakeClock]) -> Operator:
    """Nobody has a token yet."""
    wiring, clock = opened
    with wiring.connections.connection() as connection:
        connection.execute("delete from tokens")
    return Operator(wiring, clock)


def test_the_first_start_makes_a_token_and_shows_it_this_once(operator: Operator) -> None:
    made = operator.start()
    assert made is not None
    assert len(made) == 64
    assert operator.opens(made)
    assert operator.start() is None
    assert operator.opens(made)


def test_only_its_hash_is_kept(operator: Operator) -> None:
    made = operator.start()
    assert made is not None
    (row,) = operator.rows()
    assert made not in row
    assert made[-4:] in row  # a hint, to tell tokens apart


def test_a_given_token_opens_and_is_never_shown(operator: Operator) -> None:
    assert operator.start(GIVEN) is None
    assert operator.opens(GIVEN)


def test_a_new_given_token_ends_the_one_before(operator: Operator) -> None:
    made = operator.start()
    assert made is not None
    operator.clock.advance(1)
    operator.start(GIVEN)
    assert (operator.opens(made), operator.opens(GIVEN)) == (False, True)
    operator.clock.advance(1)
    operator.start("another-token-of-the-operator")
    assert (operator.opens(GIVEN), operator.opens("another-token-of-the-operator")) == (False, True)


def test_the_same_given_token_at_every_start_changes_nothing(operator: Operator) -> None:
    for _ in range(3):
        operator.start(GIVEN)
        operator.clock.advance(60)
    assert len(operator.rows()) == 1


def test_a_rotated_token_ends_every_one_before_at_once(operator: Operator) -> None:
    operator.start(GIVEN)
    operator.clock.advance(1)
    fresh = rotate_admin_token(operator.wiring)
    assert (operator.opens(fresh), operator.opens(GIVEN)) == (True, False)
    assert operator.start() is None  # there is one


def test_a_clients_token_is_not_touched_by_it(operator: Operator) -> None:
    token = operator.wiring.plane.clients.create("Acme", None).token
    operator.clock.advance(1)
    rotate_admin_token(operator.wiring)
    found = operator.wiring.storage.find(operator.wiring.identity.hash_token(token), operator.clock.now())
    assert found is not None
    assert found.client is not None


# ---- the schema and the doctor


def test_a_new_database_is_found_wanting_migrated_once_and_then_well(empty_database_url: str, tmp_path: Path) -> None:
    def doctor() -> dict[str, Any]:
        result = run(empty_database_url, tmp_path, "check", "--output", "json", SPOTCORE_ADMIN_TOKEN=GIVEN)
        return {row["check"]: row for row in json.loads(result.stdout)}

    total = len(pending(empty_database_url))
    before = doctor()
    assert before["database"]["ok"]
    assert before["database"]["found"].startswith("PostgreSQL ")
    found = f"the schema lacks {total} migrations, from 0001_initial.sql on"
    assert before["schema"] == {"check": "schema", "ok": False, "found": found, "fix": "spotcore migrate"}
    refused = run(empty_database_url, tmp_path, "serve", SPOTCORE_ADMIN_TOKEN=GIVEN)
    assert (refused.exit_code, "spotcore migrate" in refused.stderr) == (1, True)
    assert "spotcore migrate" in run(empty_database_url, tmp_path, "audit", "verify").stderr
    assert len(pending(empty_database_url)) == total  # neither of them migrates a given database
    done = run(empty_database_url, tmp_path, "migrate")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, total)
    assert all(line.startswith("applied ") for line in done.stdout.splitlines())
    assert run(empty_database_url, tmp_path, "migrate").stdout == "nothing to do\n"
    assert doctor()["schema"] == {"check": "schema", "ok": True, "found": "up to date", "fix": None}


def test_a_valkey_that_answers_is_reachable(database_url: str, redis_url: str, tmp_path: Path) -> None:
    result = run(
        database_url, tmp_path, "check", "--output", "json", SPOTCORE_REDIS_URL=redis_url, SPOTCORE_ADMIN_TOKEN=GIVEN
    )
    found = {row["check"]: row for row in json.loads(result.stdout)}
    assert found["Valkey"] == {"check": "Valkey", "ok": True, "found": "reachable", "fix": None}
    assert redis_url not in result.output


# ---- price lists


@pytest.fixture
def lists(shared_site: Site, tmp_path: Path) -> "Lists":
    """No list was ever brought in."""
    url = shared_site.connections.database_url
    with psycopg.connect(url) as connection:
        connection.execute("delete from ondemand_list")
    return Lists(url, tmp_path)


class Lists:
    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def bring(self, content: bytes, *words: str) -> Result:
        file = self.folder / "list.csv"
        file.write_bytes(content)
        return run(self.url, self.folder, "prices", "list-import", str(file), "--output", "json", *words)

    def rows(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(
                "select instance_type, region, price, since from ondemand_list order by 1, 4"
            ).fetchall()


def test_a_list_from_a_spreadsheet_begins_with_a_mark_and_ends_its_lines_its_own_way(lists: Lists) -> None:
    result = lists.bring("type,region,price,since\r\nm5.large,us-east-1,0.096,2026-01-15\r\n".encode("utf-8-sig"))
    assert json.loads(result.stdout) == {"rows": 1, "new_or_changed": 1, "rejected": []}
    assert lists.rows() == [("m5.large", "us-east-1", Decimal("0.096"), datetime(2026, 1, 15, tzinfo=UTC))]


def test_a_date_with_an_offset_is_that_instant_and_one_without_is_utc(lists: Lists) -> None:
    lists.bring(
        b"type,region,price,since\nm5.large,r,1,2026-01-15T00:00:00+02:00\nm5.large,r,2,2026-02-15T00:00:00\nm5.large,r,3,2026-03\n"
    )
    assert [row[3] for row in lists.rows()] == [
        datetime(2026, 1, 14, 22, tzinfo=UTC), datetime(2026, 2, 15, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC),
    ]  # fmt: skip


def test_since_on_the_command_line_wins_over_the_file(lists: Lists) -> None:
    lists.bring(b"type,region,price,since\nm5.large,r,1,2026-01\n", "--since", "2025-06-01T02:00+02:00")
    assert [row[3] for row in lists.rows()] == [datetime(2025, 6, 1, tzinfo=UTC)]


BAD_PRICES = ["0", "-1", "1000.1", "NaN", "Infinity", "x", "", "1e9", "0.0000001"]


def test_a_price_that_cannot_be_one_is_rejected_by_its_line_z33(lists: Lists) -> None:
    rows = [f"m5.large,r,{price}" for price in BAD_PRICES]
    told = json.loads(lists.bring("\n".join(["type,region,price", *rows, "c5.large,r,1000", ""]).encode()).stdout)
    assert (told["rows"], told["new_or_changed"]) == (len(rows) + 1, 1)
    assert told["rejected"] == [
        f"line {number}: {price!r} is no price above 0 and up to 1,000" for number, price in enumerate(BAD_PRICES, 2)
    ]


def test_a_line_without_a_type_or_a_region_is_rejected_and_an_empty_one_is_none(lists: Lists) -> None:
    told = json.loads(lists.bring(b"type,region,price\n,r,1\nm5.large,,1\nm5.large\n\nc5.large,r,1\n").stdout)
    assert told["new_or_changed"] == 1
    assert told["rejected"] == [f"line {number}: no type or no region" for number in (2, 3, 4)]


@pytest.mark.parametrize(
    "head",
    [
        "type,region,price",
        "instance_type,Region,od_usd_h",
        "InstanceType,region,ondemand_price",
        "type,region,price_usd_h",
    ],
)
def test_columns_are_known_by_the_names_that_files_have(lists: Lists, head: str) -> None:
    assert json.loads(lists.bring(f"{head}\nm5.large,r,0.1\n".encode()).stdout)["new_or_changed"] == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "its last line does not end"),
        (b"\n", "columns missing: type, region, price"),
        (b"type,price\nm5.large,1\n", "columns missing: region"),
        (b"type,region,price\nm\xff.large,r,1\n", "not a table in UTF-8"),
        ("type,region,price\nm5.large,r,1\n".encode("utf-16"), "its last line does not end"),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_one_line_and_brings_nothing(
    lists: Lists, content: bytes, says: str
) -> None:
    result = lists.bring(content)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1), result.output
    assert says in result.stderr
    assert lists.rows() == []
