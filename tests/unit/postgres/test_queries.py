"""Named statements: each has one name, is used, and keeps the house rules of SQL (style 5)."""

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

import spotadapters
import spotapp
from spotadapters.postgres.queries import _blocks, query

FOLDER = files("spotadapters.postgres").joinpath("sql")
SOURCES = [
    path.read_text() for package in (spotadapters, spotapp) for path in sorted(Path(package.__path__[0]).rglob("*.py"))
]
TEXT = {file.name: file.read_text() for file in sorted(FOLDER.iterdir(), key=lambda one: one.name)}


def test_a_statement_is_what_stands_between_its_name_and_the_next() -> None:
    assert query("client_get") == "select to_jsonb(c)::text from clients c where client_id = %(client_id)s"
    assert all(text and not text.endswith(";") for text in _blocks().values())


def test_a_statement_that_does_not_exist_is_a_defect() -> None:
    with pytest.raises(KeyError):
        query("no_such_statement")


def test_every_name_is_given_once() -> None:
    names = [name for text in TEXT.values() for name in re.findall(r"^-- name: (\S+)$", text, re.MULTILINE)]
    assert [name for name, times in Counter(names).items() if times > 1] == []
    assert set(names) == set(_blocks())


def test_every_statement_is_used() -> None:
    code = "\n".join(SOURCES)
    assert [name for name in _blocks() if f'"{name}"' not in code] == []


def test_values_travel_as_parameters_and_never_in_the_text() -> None:
    for name, text in _blocks().items():
        assert "{" not in re.sub(r"'[^']*'", "", text), name
        assert not re.search(r"%[^%(]", text.replace("%%", "")), name
        assert not re.search(r"\bin %\(", text), name  # psycopg: = any(...)


def test_a_statement_says_the_time_by_its_clock_and_not_by_the_servers() -> None:
    """GR-5: a test moves the clock, and so does a restored backup."""
    for name, text in _blocks().items():
        assert not re.search(r"\b(now\(\)|current_timestamp|current_date|localtime|clock_timestamp)", text), name


TENANT_TABLES = (
    "agents", "instances", "replicas", "commands", "incidents", "switches", "primary_periods", "decisions", "pricing_alerts",
    "decision_days", "recent_reports",
)  # fmt: skip


def test_gr8_a_statement_that_changes_a_clients_row_names_the_client() -> None:
    """Retention and the relay work for everybody; they are named here."""
    everybodys = {"retain_decisions", "retain_decision_days", "retain_recent_reports", "retain_commands"}
    for name, text in _blocks().items():
        for table in TENANT_TABLES:
            if re.search(rf"\b(update|delete from) {table}\b", text) and name not in everybodys:
                assert "client_id" in text, (name, table)
