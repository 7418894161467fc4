"""Seals hold every column of every row: whatever of an audit row or a ledger line is changed is found (design 6, SV-7)."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from attrs import frozen

from spotadapters.postgres.audit import AuditSeals
from spotadapters.postgres.ledger import LedgerReads
from spotadapters.postgres.pool import Connections
from spotcore.ids import ClientId
from tests.support.rows import HOUR, VALID, Connection, put
from tests.support.world import START, FakeClock

_clients = count(1)


@frozen
class Book:
    """A client's rows and their seals, and a way around the server."""

    root: Connection
    connections: Connections
    client_id: str
    clock: FakeClock

    @property
    def audit(self) -> AuditSeals:
        return AuditSeals(self.connections, self.clock)

    def happened(self, rows: int = 3) -> None:
        for number in range(rows):
            put(
                self.root, "audit_events", event_id=f"{self.client_id}.{next(_clients)}", client_id=self.client_id, agent_id="a",
                instance_id="m", kind=f"kind_{number}", at=self.clock.now(),
            )  # fmt: skip

    def audit_trouble(self) -> list[str | None]:
        return [one.trouble for one in self.audit.verify(self.client_id)]

    def accrued(self, start: float, rows: int = 2) -> None:
        for number in range(rows):
            at = START + (start + number) * HOUR
            put(
                self.root, "ledger_lines", client_id=self.client_id, agent_id=f"a-{self.client_id}", line_id=f"l{start}.{number}", started_at=at, ended_at=at + HOUR,
                pool_id="p", paid_price=1, ondemand_price=3,
            )  # fmt: skip

    def seal_ledger(self, hours: float) -> int:
        row = self.root.execute(
            "select seal_ledger(%s, %s, %s)", (self.client_id, START + hours * HOUR, self.clock.now())
        ).fetchone()
        return int(row[0])

    def ledger_trouble(self) -> list[str | None]:
        return [one.trouble for one in LedgerReads(self.connections, self.clock).verify(ClientId(self.client_id))]

    def tamper(self, statement: str) -> None:
        """As somebody who owns the database: no trigger holds him up."""
        with self.root.transaction():
            self.root.execute("set local session_replication_role = replica")
            assert self.root.execute(statement, {"client": self.client_id}).rowcount >= 1


@pytest.fixture(scope="module")
def root(module_database_url: str) -> Iterator[Connection]:
    with closing(psycopg.connect(module_database_url, autocommit=True)) as connection:
        yield connection


@pytest.fixture
def book(root: Connection, connections: Connections) -> Book:
    client_id = f"client-{next(_clients)}"
    put(root, "clients", client_id=client_id, name=client_id, email=None)
    put(root, "agents", client_id=client_id, agent_id=f"a-{client_id}")
    put(root, "instances", client_id=client_id, agent_id=f"a-{client_id}", cloud_id=f"i-0{client_id}")
    return Book(root, connections, client_id, FakeClock())


FIRST = "where client_id = %(client)s and seal_no = 1"
AUDIT: Mapping[str, tuple[str, str]] = {
    "event_id": ("update audit_events set event_id = event_id || 'x'", "a row was changed"),
    "kind": ("update audit_events set kind = 'other'", "a row was changed"),
    "at": ("update audit_events set at = at + interval '1 microsecond'", "a row was changed"),
    "agent_id": ("update audit_events set agent_id = 'other'", "a row was changed"),
    "agent_id, to nobody": ("update audit_events set agent_id = null", "a row was changed"),
    "instance_id": ("update audit_events set instance_id = 'other'", "a row was changed"),
    "actor": ("update audit_events set actor = 'client'", "a row was changed"),
    "level": ("update audit_events set level = 'critical'", "a row was changed"),
    "facts": ("update audit_events set facts = '{\"x\": null}'", "a row was changed"),
    "client_id": ("update audit_events set client_id = 'other'", "a row was changed"),
    "audit_id": (
        "update audit_events set audit_id = default", "of its rows are missing",
    ),
    "a row": ("delete from audit_events", "1 of its rows are missing"),
}  # fmt: skip


@pytest.mark.parametrize("column", AUDIT)
def test_design_6_no_column_of_a_sealed_audit_row_can_be_changed_unseen(book: Book, column: str) -> None:
    book.happened()
    assert book.audit.seal() >= 3
    book.happened()
    book.audit.seal()
    assert book.audit_trouble() == [None, None]
    statement, words = AUDIT[column]
    one = f"{statement} where audit_id = (select audit_ids[2] from audit_seals {FIRST})"
    book.tamper(one)
    first, second = book.audit_trouble()
    assert words in (first or "")
    assert second is None  # the chain is of digests: a row touches its own seal alone


SEALS: Mapping[str, tuple[str, list[str]]] = {
    "its digest": ("update {} set digest = repeat('0', 64)", ["a ", "does not follow"]),
    "whom it follows": ("update {} set previous = repeat('0', 64)", ["does not follow", ""]),
    "its number": ("update {} set seal_no = 3", ["does not follow", "does not follow"]),
    "all of it": ("delete from {}", ["does not follow"]),
}


@pytest.mark.parametrize("what", SEALS)
def test_design_6_a_seal_cannot_be_changed_or_taken_away_unseen(book: Book, what: str) -> None:
    for number in range(2):
        book.happened()
        book.audit.seal()
        book.accrued(number * 24)
        assert book.seal_ledger(number * 24 + 12) == 2
    statement, words = SEALS[what]
    for table, trouble in (("audit_seals", book.audit_trouble), ("ledger_seals", book.ledger_trouble)):
        assert trouble() == [None, None]
        book.tamper(f"{statement.format(table)} {FIRST}")
        found = trouble()
        assert len(found) == len(words)
        for text, word in zip(found, words, strict=True):
            assert word in (text or ""), (table, found)


def test_rows_that_were_sealed_under_another_seal_do_not_fit_it(book: Book) -> None:
    book.happened(2)
    book.audit.seal()
    book.tamper(f"update audit_seals set audit_ids = array[audit_ids[2], audit_ids[1]] {FIRST}")
    assert book.audit_trouble() == [None]  # the order in the list says nothing: rows are digested in the order of ids
    book.tamper(f"update audit_seals set audit_ids = audit_ids[1:1] {FIRST}")
    assert book.audit_trouble() == ["a row was changed"]
    book.tamper(f"update audit_seals set audit_ids = audit_ids || 0::bigint {FIRST}")
    assert book.audit_trouble() == ["1 of its rows are missing"]


def test_a_row_without_a_client_is_sealed_under_nobodys_name(book: Book) -> None:
    put(book.root, "audit_events", event_id=f"nobody.{book.client_id}", client_id=None)
    before = book.audit.count("")
    assert book.audit.seal() >= 1
    assert book.audit.count("") == before + 1
    assert [one.trouble for one in book.audit.verify("")] == [None] * (before + 1)
    assert book.audit_trouble() == []


def test_loose_rows_are_those_of_two_hours_ago_under_no_seal(book: Book) -> None:
    book.audit.seal()
    book.clock.advance(3 * 3_600)
    book.audit.seal()
    highest = book.root.execute("select coalesce(max(audit_id), 0) from audit_events").fetchone()[0]
    for age in (timedelta(hours=2), timedelta(hours=2, seconds=1)):
        put(
            book.root, "audit_events", event_id=f"{age}.{book.client_id}", client_id=book.client_id, at=book.clock.now() - age
        )  # fmt: skip
    (found,) = book.audit.loose(book.client_id)
    assert (found.client_id, found.rows, found.first_id) == (book.client_id, 1, highest + 2)
    book.audit.seal()
    assert book.audit.loose(book.client_id) == []


def test_a_page_of_seals_goes_on_where_the_one_before_ended(book: Book) -> None:
    for _ in range(23):
        book.happened(1)
        book.audit.seal()
        book.clock.advance(1)
    seals = list(book.audit.verify(book.client_id))
    assert [one.seal_no for one in seals] == list(range(1, 24))
    assert {one.trouble for one in seals} == {None}
    assert book.audit.count(book.client_id) == 23


# ---- the ledger


LEDGER: Mapping[str, str] = {
    "line_id": "line_id = line_id || 'x'", "agent_id": "agent_id = 'other'", "instance_id": "instance_id = 'other'",
    "started_at": "started_at = started_at + interval '1 microsecond'", "ended_at": "ended_at = ended_at - interval '1 second'",
    "role": "role = 'zombie'", "mode": "mode = 'ondemand'", "pool_id": "pool_id = null",
    "paid_price": "paid_price = paid_price + 0.000001", "ondemand_price": "ondemand_price = null",
    "baseline and saving": "baseline = baseline + 1, saving = saving + 1", "cost and saving": "cost = cost - 1, saving = saving + 1",
    "quality": "quality = 'estimated'", "adjusts": "adjusts = 'another'", "sign": "sign = -1, adjusts = 'another'",
}  # fmt: skip


@pytest.mark.parametrize("column", LEDGER)
def test_sv7_no_column_of_a_sealed_line_can_be_changed_unseen(book: Book, column: str) -> None:
    book.accrued(0)
    assert book.seal_ledger(12) == 2
    book.accrued(24)
    book.seal_ledger(36)
    book.tamper(f"update ledger_lines set {LEDGER[column]} where client_id = %(client)s and line_id = 'l0.1'")
    assert book.ledger_trouble() == ["a line was changed", None]


def test_sv7_columns_that_a_seal_leaves_out_are_named(root: Connection) -> None:
    """Who wrote when may change with a restore; every column that says something about money is in the digest."""
    names = root.execute(
        "select column_name::text from information_schema.columns where table_name = 'ledger_lines'"
    ).fetchall()
    body = root.execute("select prosrc from pg_proc where proname = 'ledger_text'").fetchone()[0]
    assert {row[0] for row in names if f"l.{row[0]}" not in body} == {"client_id", "entry_no", "recorded_at"}
    rows = root.execute("select column_name::text from information_schema.columns where table_name = 'audit_events'")
    text = root.execute("select prosrc from pg_proc where proname = 'audit_line'").fetchone()[0]
    assert {row[0] for row in rows.fetchall() if f"a.{row[0]}" not in text} == set()
    assert "ledger_lines" in VALID


MISSING: Mapping[str, tuple[str, list[str | None]]] = {
    "a line": ("delete from ledger_lines where client_id = %(client)s and line_id = 'l0.0'", ["1 of its lines are missing", None]),
    "both lines": ("delete from ledger_lines where client_id = %(client)s and line_id like 'l0.%%'", ["2 of its lines are missing", None]),
    "a line more": (
        "insert into ledger_lines overriding system value select (jsonb_populate_record(l, jsonb_build_object("
        "'line_id', 'forged', 'started_at', l.started_at + interval '5 hours', 'ended_at', l.ended_at + interval '5 hours'))).*"
        " from ledger_lines l where client_id = %(client)s and line_id = 'l0.0'",
        ["lines were put in later", None],
    ),
    "a line in another day": (
        "update ledger_lines set started_at = started_at + interval '24 hours', ended_at = ended_at + interval '24 hours'"
        " where client_id = %(client)s and line_id = 'l0.0'",
        ["1 of its lines are missing", None],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISSING)
def test_sv7_lines_that_went_or_came_in_later_are_counted(book: Book, what: str) -> None:
    book.accrued(0)
    book.seal_ledger(12)
    book.accrued(30)
    book.seal_ledger(60)
    statement, words = MISSING[what]
    book.tamper(statement)
    assert book.ledger_trouble()[0] == words[0]


def test_sv7_a_line_that_came_late_into_a_sealed_day_has_a_seal_of_its_own(book: Book) -> None:
    book.accrued(0)
    book.seal_ledger(12)
    book.accrued(3, rows=1)
    assert (book.seal_ledger(12), book.seal_ledger(12)) == (1, 0)
    assert book.ledger_trouble() == [None, None]
    book.tamper("update ledger_lines set cost = 2, saving = 1 where client_id = %(client)s and line_id = 'l3.0'")
    assert book.ledger_trouble() == [None, "a line was changed"]


def test_gr8_seals_of_one_client_say_nothing_of_another(book: Book, root: Connection, connections: Connections) -> None:
    book.accrued(0)
    book.seal_ledger(12)
    other = Book(root, connections, "nobody", book.clock)
    assert (other.ledger_trouble(), other.audit_trouble(), other.audit.count("nobody")) == ([], [], 0)
