"""Every column that holds a state takes the words of its life cycle and no others (1.2…1.10)."""

from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum

import psycopg
import pytest
from attrs import frozen

from spotadapters.postgres.errors import translated
from spotcore.agents import Life, Link
from spotcore.alerts import AlertType
from spotcore.buckets import Discrepancy
from spotcore.builds import Build
from spotcore.channels import SEVERITIES, ChannelKind, DeliveryState
from spotcore.clients import ClientStatus
from spotcore.commands import CommandKind, CommandState
from spotcore.errors import InvariantViolated
from spotcore.events import Level
from spotcore.incidents import IncidentState, Severity
from spotcore.instances import InstanceStatus
from spotcore.models import SessionKind, SessionState
from spotcore.pools import Mode
from spotcore.prices import PriceSource
from spotcore.pricing import Quality
from spotcore.quality import FillMethod
from spotcore.replicas import ReplicaKind, ReplicaState
from spotcore.switches import SwitchState, SwitchTrigger
from spotcore.tenure import Role
from tests.support.rows import Connection, put_all
from tests.support.world import START


class JobStatus(StrEnum):
    """What a run of a job may be (E98)."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class LastStatus(StrEnum):
    """How a job's last run ended (JB-8)."""

    COMPLETED = "completed"
    FAILED = "failed"


@frozen
class Words:
    """A column, the constraint on it, and the words it may hold; ``beside`` is what some of them need."""

    table: str
    column: str
    constraint: str
    words: type[StrEnum]
    beside: str = ""


WORDS = (
    Words("clients", "status", "client_status", ClientStatus),
    Words("agents", "life", "agent_life", Life),
    Words("agents", "link", "agent_link", Link),
    Words("agents", "build", "agent_build", Build),
    Words("instances", "status", "instance_status", InstanceStatus),
    Words("instances", "mode", "instance_mode", Mode),
    Words("incidents", "state", "incident_state", IncidentState),
    Words("incidents", "severity", "incident_severity", Severity),
    Words("replicas", "state", "replica_state", ReplicaState),
    Words("replicas", "kind", "replica_kind", ReplicaKind),
    Words("commands", "state", "command_state", CommandState),
    Words("commands", "kind", "command_kind", CommandKind),
    Words("switches", "state", "switch_state", SwitchState),
    Words("switches", "trigger", "switch_trigger", SwitchTrigger),
    Words("raw_prices", "source", "price_source", PriceSource),
    Words("price_buckets", "method", "fill_method", FillMethod, ", source = 'interpolated'"),
    Words("price_buckets", "discrepancy", "bucket_discrepancy", Discrepancy),
    Words("ledger_lines", "role", "ledger_role", Role),
    Words("ledger_lines", "quality", "ledger_quality", Quality),
    Words("pricing_alerts", "alert_type", "alert_type", AlertType),
    Words("model_sessions", "state", "model_state", SessionState, ", rejection = case when %(word)s = 'rejected' then 'r' end"),
    Words("model_sessions", "kind", "model_kind", SessionKind),
    Words("channels", "kind", "channel_kind", ChannelKind),
    Words("channels", "min_severity", "channel_severity", Level),
    Words(
        "deliveries", "state", "delivery_state", DeliveryState,
        ", next_attempt_at = case when %(word)s = 'pending' then next_attempt_at end",
    ),
    Words("job_runs", "status", "job_run_status", JobStatus),
    Words("job_states", "last_status", "job_state_status", LastStatus),
)  # fmt: skip


@pytest.fixture(scope="module")
def opened(module_database_url: str) -> Iterator[Connection]:
    with closing(psycopg.connect(module_database_url)) as connection:
        put_all(connection)
        connection.execute("delete from ledger_seals")
        connection.commit()
        yield connection


def set_to(connection: Connection, column: Words, word: str) -> int:
    statement = f"update {column.table} set {column.column} = %(word)s{column.beside}"
    return connection.execute(statement, {"word": word}).rowcount


def ids(column: Words) -> str:
    return f"{column.table}.{column.column}"


@pytest.mark.parametrize("column", WORDS, ids=ids)
def test_a_state_column_takes_every_word_of_its_life_cycle(opened: Connection, column: Words) -> None:
    for word in column.words:
        with opened.transaction(force_rollback=True):
            assert set_to(opened, column, word.value) == 1, word
    opened.rollback()


@pytest.mark.parametrize("column", WORDS, ids=ids)
def test_a_state_column_takes_no_other_word(opened: Connection, column: Words) -> None:
    first = next(iter(column.words)).value
    for wrong in ("", "unheard of", first.upper(), f" {first}", f"{first}\n", first[:-1]):
        with pytest.raises(InvariantViolated) as refusal, opened.transaction(), translated():
            set_to(opened, column, wrong)
        assert refusal.value.details["constraint"] == column.constraint, wrong
    opened.rollback()


ILL_FORMED = [
    "", "i-", "i-pending-12345678", "replica-12345678", "manual-1", "emergency-1", "unknown", "I-0abc", " i-0abc", "i-_",
    "i--1", "m",
]  # fmt: skip


@pytest.mark.parametrize("cloud_id", ILL_FORMED)
def test_i10_no_placeholder_is_ever_stored_as_a_cloud_id_30(opened: Connection, cloud_id: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refusal, opened.transaction():
        opened.execute("update instances set cloud_id = %s", (cloud_id,))
    assert refusal.value.diag.constraint_name == "i10_cloud_id_form"


@pytest.mark.parametrize("cloud_id", ["i-0abc1234567890def", "i-0a", "i-A", "i-pending"])
def test_i10_what_the_cloud_could_have_issued_is_stored(opened: Connection, cloud_id: str) -> None:
    with opened.transaction(force_rollback=True):
        assert opened.execute("update instances set cloud_id = %s", (cloud_id,)).rowcount == 1


def test_severities_are_ranked_as_the_core_ranks_them(opened: Connection) -> None:
    ranks = [opened.execute("select severity_rank(%s)", (one.value,)).fetchone() for one in SEVERITIES]
    assert ranks == [(number,) for number in range(1, len(SEVERITIES) + 1)]
    assert set(SEVERITIES) == set(Level)
    assert opened.execute("select severity_rank('loud')").fetchone() == (None,)
    opened.rollback()


# ---- life cycles end for good (GR-4): what the database refuses whatever it is asked


@pytest.mark.parametrize("ended", ["terminated", "released"])
def test_gr4_a_machine_that_has_ended_takes_no_other_state(opened: Connection, ended: str) -> None:
    with opened.transaction(force_rollback=True):
        opened.execute("update instances set status = %s", (ended,))
        for status in InstanceStatus:
            if status.value == ended:
                continue
            with pytest.raises(psycopg.errors.CheckViolation) as refusal, opened.transaction():
                opened.execute("update instances set status = %s", (status.value,))
            assert refusal.value.diag.constraint_name == "gr4_terminal_stays_terminal"
        assert opened.execute("update instances set status = %s, hostname = 'h'", (ended,)).rowcount == 1


@pytest.mark.parametrize("ended", [SessionState.ARCHIVED, SessionState.REJECTED])
def test_gr4_a_model_session_that_has_ended_takes_no_other_state(opened: Connection, ended: SessionState) -> None:
    column = next(one for one in WORDS if ids(one) == "model_sessions.state")
    with opened.transaction(force_rollback=True):
        set_to(opened, column, ended.value)
        for state in set(SessionState) - {ended}:
            with pytest.raises(psycopg.errors.CheckViolation) as refusal, opened.transaction():
                set_to(opened, column, state.value)
            assert refusal.value.diag.constraint_name == "gr4_terminal_stays_terminal"
        assert opened.execute("update model_sessions set files_removed_at = %s", (START,)).rowcount == 1
