"""What migrations make of the rows of a site that has been running (style 5)."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from spotadapters.postgres import migrate as migrations
from spotadapters.postgres.migrate import MigrationError, _available, migrate
from tests.support.rows import Connection, put
from tests.support.world import START

HOUR = timedelta(hours=1)


@pytest.fixture
def root(empty_database_url: str) -> Iterator[Connection]:
    with closing(psycopg.connect(empty_database_url, autocommit=True)) as connection:
        yield connection


def migrated_before(root: Connection, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database as it was before that migration; how to reach it."""
    url = f"{root.info.dsn} password={root.info.password}"
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "_available", lambda: [one for one in _available() if one[0] < name])
        migrate(url)
    return url


def test_4_3_pools_whose_older_prices_came_late_are_first_observed_then(
    root: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = migrated_before(root, "0029", monkeypatch)
    names = {"late": -HOUR, "in time": HOUR, "filled": -HOUR, "no price": None}
    for name, age in names.items():
        put(root, "pools", pool_id=name, first_observed_at=START)
        if age is not None:
            filled = {"source": "interpolated", "method": "linear"} if name == "filled" else {}
            for place in (2, 1, 3):
                at = START + place * age
                put(root, "price_buckets", pool_id=name, bucket_start=at, observed_at=at, **filled)
    migrate(url)
    firsts = dict(root.execute("select pool_id, first_observed_at from pools").fetchall())
    assert firsts == {**dict.fromkeys(names, START), "late": START - 3 * HOUR}


def test_cl6_addresses_that_differ_in_their_case_alone_are_named_and_nothing_is_changed(
    root: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = migrated_before(root, "0030", monkeypatch)
    emails = {"a": "Anna@x.org", "b": "anna@x.org", "c": "Ben@x.org", "d": None, "e": None}
    for number, (name, email) in enumerate(emails.items()):
        put(root, "clients", client_id=name, name=name, email=email, created_at=START + number * HOUR)
    put(root, "clients", client_id="f", name="f", email="BEN@x.org", status="deleted", deleted_at=START)
    with pytest.raises(MigrationError) as refusal:
        migrate(url)
    assert str(refusal.value) == (
        "0030_emails.sql: clients share an e-mail address but for upper and lower case: anna@x.org (client_id a, b). Give all"
        " but one of them another address, or none with: update clients set email = null where client_id = '…'; then migrate again"
    )  # fmt: skip
    assert dict(root.execute("select client_id, email from clients where status <> 'deleted'").fetchall()) == emails
    with pytest.raises(psycopg.errors.UniqueViolation):
        put(root, "clients", client_id="g", name="g", email="anna@x.org")  # as before
    root.execute("update clients set email = null where client_id = 'b'")
    assert migrate(url)[0] == "0030_emails.sql"
    found = dict(root.execute("select client_id, email from clients where client_id <= 'c'").fetchall())
    assert found == {"a": "anna@x.org", "b": None, "c": "ben@x.org"}


def test_3_a_value_out_of_its_range_is_named_with_what_to_do_about_it(
    root: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = migrated_before(root, "0031", monkeypatch)
    put(root, "clients", max_agents=-1)
    put(
        root,
        "agents",
        max_switches_per_day=25,
        failover_on_heartbeat_loss_seconds=299,
        excluded_pools=Jsonb(["p"] * 101),
    )
    put(root, "agents", agent_id="b", logical_agent_id="b", risk_threshold=Decimal("NaN"))
    with pytest.raises(MigrationError) as refusal:
        migrate(url)
    text = str(refusal.value)
    assert text.startswith("0031_setting_ranges.sql: values out of their range: excluded_pools = [")
    for one in (
        "failover_on_heartbeat_loss_seconds = 299 of agent a", "max_switches_per_day = 25 of agent a",
        "risk_threshold = NaN of agent b", "max_agents = -1 of client c",
    ):  # fmt: skip
        assert one in text
    assert text.endswith(
        "Set them right while the earlier version runs (spotcore agents config set, spotcore clients defaults, spotcore clients"
        " limits) or in SQL, then migrate again"
    )
    root.execute("update clients set max_agents = null")
    root.execute(
        "update agents set max_switches_per_day = 24, failover_on_heartbeat_loss_seconds = null, excluded_pools = '[]',"
        " risk_threshold = 1"
    )
    assert migrate(url)[0] == "0031_setting_ranges.sql"


def test_e23_what_was_decided_and_reported_before_counts_and_what_comes_then_is_added(
    root: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = migrated_before(root, "0043", monkeypatch)
    now = datetime.now(UTC)
    noon = now.replace(hour=12, minute=0) - timedelta(days=2)
    for number, at in enumerate((noon, noon + HOUR, now)):  # the last one while the migration is at work
        put(root, "decisions", decision_id=str(number), made_at=at)
        put(root, "raw_prices", submission_id=str(number), observed_at=at, received_at=at)
    migrate(url)
    put(root, "decisions", decision_id="4", made_at=now)
    put(root, "raw_prices", submission_id="4", observed_at=now, received_at=now, pool_id="other", price=1)
    days = root.execute("select day, decisions from decision_days order by 1").fetchall()
    assert days == [(noon.date(), 2), (now.date(), 2)]
    reports = root.execute("select received_at, prices from recent_reports").fetchall()
    assert reports == [(now, {"m5.large.us-east-1a": 0.03, "other": 1})]
