"""Every constraint of the schema is attacked by SQL, on both sides of its border (GR-2, 0.3)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from spotadapters.postgres.errors import BY_CONSTRAINT, translated
from spotcore.errors import InvariantViolated, SpotError
from tests.contract.test_database_guards import BROKEN, SESSIONS
from tests.contract.test_domains import WORDS
from tests.support.rows import DIGEST, EMPTY, HOUR, NONE, VALID, Connection, count_of, put, put_all
from tests.support.world import START

Row = Mapping[str, Any]
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def opened(module_database_url: str) -> Iterator[Connection]:
    with closing(psycopg.connect(module_database_url)) as connection:
        put_all(connection)
        connection.commit()
        yield connection


@pytest.fixture
def full(opened: Connection) -> Iterator[Connection]:
    """One valid row in every table, whatever the test before did."""
    yield opened
    opened.rollback()


TWIN: Mapping[str, Row] = {
    # what tells a second row from the first, for each table that a refused row goes into
    "clients": {"client_id": "d", "name": "Other", "email": None},
    "agents": {"agent_id": "b", "logical_agent_id": "other"},
    "instances": {"instance_id": "o", "cloud_id": "i-0o", "status": "zombie"},
    "incidents": {"incident_id": "o", "state": "resolved"},
    "replicas": {"replica_id": "o", "state": "failed"},
    "commands": {"command_id": "o", "request_id": "o", "state": "completed"},
    "switches": {"switch_id": "o"},
    "primary_periods": {"started_at": START - 9 * HOUR, "ended_at": START - 8 * HOUR, "switch_id": "o"},
    "audit_events": {"event_id": "o"},
    "audit_seals": {"seal_no": 2},
    "notifications": {"notification_id": "o", "dedupe_key": "o"},
    "outbox": {"event_id": "o"},
    "raw_prices": {"submission_id": "o"},
    "price_buckets": {"bucket_start": START + HOUR},
    "ondemand_prices": {"bucket_start": START + HOUR},
    "ondemand_list": {"since": START},
    "pricing_alerts": {"alert_id": "o"},
    "ledger_lines": {"line_id": "o", "started_at": START + 2 * HOUR, "ended_at": START + 3 * HOUR},
    "ledger_seals": {"seal_no": 2},
    "job_runs": {},
    "job_states": {"job": "other"},
    "model_sessions": {"session_id": "o", "state": "uploaded", "activated_at": None},
    "model_files": {"position": 1},
    "datasets": {},
    "channels": {"channel_id": "o"},
    "deliveries": {"delivery_id": "o", "notification_id": None},
    "spot_advice": {"os": "Windows"},
    "live_feed": {},
}

Attack = tuple[str, Row, Sequence[Row]]
ATTACKS: Mapping[str, Attack] = {
    # constraint: (table, what it refuses, what it just lets pass)
    "i1_one_primary": ("instances", {"status": "running_primary"}, [{"status": "running_replica"}]),
    "primary_has_cloud_id": (
        "instances", {"status": "running_primary", "cloud_id": None}, [{"status": "launching", "cloud_id": None}],
    ),
    "terminated_at_only_when_terminated": (
        "instances", {"terminated_at": START}, [{"status": "terminated", "terminated_at": START}, {"status": "terminated"}],
    ),
    "i10_cloud_id_unique": (
        "instances", {"cloud_id": "i-0m"},
        [{"cloud_id": "i-0m", "status": "terminated"}, {"cloud_id": "i-0m", "status": "released"}],
    ),
    "i2_one_live_replica": ("replicas", {"state": "syncing"}, [{"state": "promoted"}, {"state": "terminated"}]),
    "i3_modes_exclude_each_other": (
        "agents", {"manual_replica_enabled": True},
        [{"manual_replica_enabled": True, "auto_switch_enabled": False}, {"auto_switch_enabled": False}],
    ),
    "terminate_wait_range": (
        "agents", {"terminate_wait_seconds": 59}, [{"terminate_wait_seconds": 60}, {"terminate_wait_seconds": 86_400}],
    ),
    "min_savings_range": (
        "agents", {"min_savings_percent": 90.01}, [{"min_savings_percent": 0}, {"min_savings_percent": 90}],
    ),
    "risk_threshold_range": ("agents", {"risk_threshold": -0.01}, [{"risk_threshold": 0}, {"risk_threshold": 1}]),
    "switches_per_week_range": (
        "agents", {"max_switches_per_week": 169}, [{"max_switches_per_week": 0}, {"max_switches_per_week": 168}],
    ),
    "switches_per_day_range": (
        "agents", {"max_switches_per_day": 25}, [{"max_switches_per_day": 0}, {"max_switches_per_day": 24}],
    ),
    "min_pool_duration_range": (
        "agents", {"min_pool_duration_hours": -1}, [{"min_pool_duration_hours": 0}, {"min_pool_duration_hours": 168}],
    ),
    "emergency_min_risk_range": (
        "agents", {"emergency_min_risk": 1.01}, [{"emergency_min_risk": 0}, {"emergency_min_risk": 1}],
    ),
    "heartbeat_loss_range": (
        "agents", {"failover_on_heartbeat_loss_seconds": 299},
        [{"failover_on_heartbeat_loss_seconds": one} for one in (None, 300, 86_400)],
    ),
    "preferred_azs_limit": (
        "agents", {"preferred_azs": Jsonb(["z"] * 21)}, [{"preferred_azs": Jsonb(["z"] * 20)}, {"preferred_azs": NONE}],
    ),
    "excluded_pools_limit": (
        "agents", {"excluded_pools": EMPTY}, [{"excluded_pools": Jsonb(["p"] * 100)}, {"excluded_pools": NONE}],
    ),
    "default_wait_range": (
        "clients", {"default_terminate_wait_seconds": 86_401},
        [{"default_terminate_wait_seconds": 60}, {"default_terminate_wait_seconds": 86_400}],
    ),
    "client_limits_are_counts": (
        "clients", {"max_agents": -1}, [{"max_agents": 0, "max_instances": None}, {"max_instances": 0}],
    ),
    "merged_agents_are_deleted": ("agents", {"merged_into": "a"}, [{"merged_into": "a", "life": "deleted"}]),
    "agent_id_unique": ("agents", {"agent_id": "a", "client_id": "e"}, []),
    "i13_logical_id_unique": (
        "agents", {"logical_agent_id": "web"}, [{"logical_agent_id": "web", "life": "deleted"}, {"logical_agent_id": "Web"}],
    ),
    "i4_one_role_change": (
        "commands", {"state": "executing", "kind": "promote"},
        [
            {"state": "pending", "kind": "terminate_instance"}, {"state": "executing", "kind": "launch_instance"},
            {"state": "cancelled", "kind": "switch"},
        ],
    ),
    "at_most_two_deliveries": ("commands", {"deliveries": 3}, [{"deliveries": 2}]),
    "request_id_unique": ("commands", {"request_id": "q"}, []),
    "i8_periods_do_not_overlap": (
        "primary_periods", {"started_at": START - HOUR, "ended_at": START + SECOND},
        [{"started_at": START - HOUR, "ended_at": START}],
    ),
    "period_runs_forward": (
        "primary_periods", {"started_at": START - HOUR, "ended_at": START - HOUR - SECOND},
        [{"started_at": START - HOUR, "ended_at": START - HOUR}],
    ),
    "i14_only_the_first_period_has_no_switch": ("primary_periods", {"switch_id": None}, [{"switch_id": "any"}]),
    "i11_one_incident_per_instance": ("incidents", {"state": "failed", "severity": "rebalance"}, [{"state": "cleared"}]),
    "i11_one_failover_per_agent": (
        "incidents", {"instance_id": "z", "state": "detected"},
        [
            {"instance_id": "z", "state": "detected", "severity": "rebalance"},
            {"instance_id": "z", "state": "handling", "promoted_at": START}, {"instance_id": "z", "state": "resolved"},
        ],
    ),
    "client_name_taken": ("clients", {"name": "ACME"}, [{"name": "ACME", "status": "deleted"}]),
    "client_email_taken": (
        "clients", {"email": "OPS@Acme.example"},
        [{"email": "ops@acme.example", "status": "deleted"}, {"email": "ops@acme.example.org"}],
    ),
    "event_once": ("audit_events", {"event_id": "e"}, []),
    "seal_has_rows": ("audit_seals", {"audit_ids": []}, [{"audit_ids": [0]}]),
    "ledger_seal_has_lines": ("ledger_seals", {"lines": 0}, [{"lines": 1}]),
    "notification_once": (
        "notifications", {"dedupe_key": "k"}, [{"dedupe_key": "k", "client_id": None}, {"dedupe_key": "k", "client_id": "d"}],
    ),
    "price_range": ("raw_prices", {"price": 1000.000001}, [{"price": 1000}, {"price": 0.000001}]),
    "bucket_price_range": ("price_buckets", {"price": 0}, [{"price": 0.000001}, {"price": 1000}]),
    "ondemand_price_range": ("ondemand_prices", {"price": 0}, [{"price": 0.000001}, {"price": 1000}]),
    "list_price_range": ("ondemand_list", {"price": 1000.01}, [{"price": 1000}]),
    "fill_method": (
        "price_buckets", {"source": "interpolated", "method": "guess"},
        [{"source": "interpolated", "method": one} for one in ("linear", "weighted_mean", "cross_pool", "linear_without_peers")],
    ),
    "filled_buckets_have_a_method": ("price_buckets", {"source": "interpolated"}, [{"source": "backfill"}]),
    "bucket_discrepancy": ("price_buckets", {"discrepancy": "bad"}, [{"discrepancy": "flagged"}, {"discrepancy": "warning"}]),
    "alert_threshold_range": ("pricing_alerts", {"threshold": 0}, [{"threshold": 0.000001}]),
    "line_runs_forward": ("ledger_lines", {"ended_at": START + 2 * HOUR}, [{"ended_at": START + 2 * HOUR + SECOND}]),
    "line_within_a_day": (
        "ledger_lines", {"ended_at": START + 26 * HOUR + SECOND}, [{"ended_at": START + 26 * HOUR}],
    ),
    "i9_lines_do_not_overlap": (
        "ledger_lines", {"started_at": START + HOUR - SECOND},
        [{"started_at": START + HOUR}, {"started_at": START, "ended_at": START + HOUR, "adjusts": "l"}],
    ),
    "ledger_line_once": ("ledger_lines", {"started_at": START}, [{"started_at": START, "adjusts": "l"}]),
    "saving_is_baseline_minus_cost": (
        "ledger_lines", {"saving": 2.00000001}, [{"baseline": None, "cost": None, "saving": None}, {"baseline": 0, "saving": -1}],
    ),
    "ledger_sign": ("ledger_lines", {"sign": 0, "adjusts": "l"}, [{"sign": -1, "adjusts": "l"}]),
    "reversal_names_its_line": ("ledger_lines", {"sign": -1}, [{"sign": -1, "adjusts": "l"}]),
    "job_interval_is_positive": ("job_states", {"every_seconds": 0}, [{"every_seconds": 0.001}]),
    "i12_one_active_session": (
        "model_sessions", {"state": "active", "activated_at": START},
        [
            {"state": "active", "activated_at": START, "kind": "engine"},
            {"state": "active", "activated_at": START, "scope": "us-east-1"},
        ],
    ),
    "model_activation": ("model_sessions", {"state": "fallback"}, [{"state": "fallback", "activated_at": START}]),
    "model_rejection": (
        "model_sessions", {"rejection": "nothing is wrong"}, [{"state": "rejected", "rejection": "files"}],
    ),
    "serving_files_are_kept": (
        "model_sessions", {"state": "fallback", "activated_at": START, "files_removed_at": START},
        [{"state": "archived", "files_removed_at": START}],
    ),
    "model_digest": ("model_files", {"sha256": DIGEST.upper()}, [{"sha256": DIGEST}]),
    "model_size": ("model_files", {"size": 0}, [{"size": 1}, {"size": 100 << 20}]),
    "dataset_digest": ("datasets", {"sha256": DIGEST[1:]}, [{"sha256": DIGEST}]),
    "dataset_has_rows": ("datasets", {"rows": 0}, [{"rows": 1}]),
    "channel_id_unique": ("channels", {"channel_id": "h", "client_id": ""}, []),
    "channel_severity": ("channels", {"min_severity": "loud"}, [{"min_severity": "success"}]),
    "webhooks_are_signed": ("channels", {"sealed_secret": None}, [{"sealed_secret": None, "kind": "apprise"}]),
    "delivered_once": ("deliveries", {"notification_id": "n"}, [{"notification_id": None}]),
    "delivery_attempts": ("deliveries", {"attempts": -1}, [{"attempts": 0}, {"attempts": 10}]),
    "delivery_id_unique": ("deliveries", {"delivery_id": "y", "client_id": ""}, []),
    "pending_is_due": (
        "deliveries", {"next_attempt_at": None}, [{"state": "dead", "next_attempt_at": None}],
    ),
    "advice_band": ("spot_advice", {"band": 5}, [{"band": 0}, {"band": 4}]),
    "advice_savings": ("spot_advice", {"savings_percent": 101}, [{"savings_percent": 0}, {"savings_percent": 100}]),
    "live_feed_has_one_row": ("live_feed", {"only_row": False, "position": 1}, []),
}  # fmt: skip


def write(connection: Connection, table: str, row: Row) -> None:
    if table == "live_feed":
        connection.execute("insert into live_feed values (%(only_row)s, %(position)s)", row)
        return
    if row.get("instance_id") == "z":
        put(connection, "instances", instance_id="z", cloud_id="i-0z", status="zombie")
    put(connection, table, **{**TWIN[table], **row})


@pytest.mark.parametrize("constraint", ATTACKS)
def test_gr2_what_breaks_a_rule_is_refused_by_its_name_and_mapped(full: Connection, constraint: str) -> None:
    table, row, _ = ATTACKS[constraint]
    with pytest.raises(SpotError) as refusal, translated():
        write(full, table, row)
    kind, text = BY_CONSTRAINT.get(constraint, (InvariantViolated, f"refused by {constraint}"))
    assert type(refusal.value) is kind
    assert (refusal.value.message, dict(refusal.value.details)) == (text, {"constraint": constraint})
    assert isinstance(refusal.value.__cause__, psycopg.IntegrityError)


@pytest.mark.parametrize("constraint", [name for name, attack in ATTACKS.items() if attack[2]])
def test_what_is_just_right_is_let_in(full: Connection, constraint: str) -> None:
    table, _, rows = ATTACKS[constraint]
    for row in rows:
        with full.transaction(force_rollback=True):
            before = count_of(full, table)
            write(full, table, row)
            assert count_of(full, table) == before + 1


def names_of(connection: Connection, statement: str) -> set[str]:
    return {row[0] for row in connection.execute(statement).fetchall()}


def test_no_constraint_trigger_or_unique_index_is_left_out(full: Connection) -> None:
    """Primary and foreign keys apart; those that list words are in ``test_domains``, those on updates below."""
    there = names_of(
        full,
        "select conname::text from pg_constraint where connamespace = 'public'::regnamespace"
        " and contype in ('c', 'u', 'x') and conrelid <> 0"
        " union select indexname::text from pg_indexes where schemaname = 'public'"
        " and indexdef like 'CREATE UNIQUE%' and indexname not like '%_pkey'"
        " union select tgname::text from pg_trigger where not tgisinternal",
    )
    attacked = ATTACKS.keys() | BROKEN.keys() | SESSIONS.keys() | {one.constraint for one in WORDS} | UPDATES.keys()
    assert there - attacked == {"count_decision", "note_reports"}  # they write, and refuse nothing
    assert attacked - there <= {"i5_primary_exists"}  # a foreign key


UPDATES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    # trigger or index: (statements that it refuses, statements that it lets pass)
    "i6_config_version_step": (
        ["update agents set config_version = 0", "update agents set config_version = 3"],
        ["update agents set config_version = 2", "update agents set config_version = 1, hostname = 'h'"],
    ),
    "gr4_terminal_stays_terminal": (
        [
            f"update instances set status = '{status}' where instance_id = 'gone'"
            for status in ("launching", "running_replica", "zombie", "terminating", "released")
        ],
        ["update instances set drift = 'd' where instance_id = 'gone'"],
    ),
    "i14_one_period_per_switch": (
        ["insert into primary_periods select client_id, agent_id, instance_id, %(at)s - interval '9 hours',"
         " %(at)s - interval '8 hours', 'x' from primary_periods"
         " union all select client_id, agent_id, instance_id, %(at)s - interval '7 hours', %(at)s - interval '6 hours', 'x'"
         " from primary_periods"],
        [],
    ),
    "sv7_final_lines_stay": (
        [
            "update ledger_lines set cost = 2, saving = 1", "delete from ledger_lines",
            "update ledger_lines set recorded_at = now()",
        ],
        [],
    ),
    "ds5_versions_never_change": (["update datasets set file = 'other'"], []),
    "outbox_by_position": (["update outbox set position = 2"], []),
    "one_fallback_session": (["update model_sessions set state = 'fallback', activated_at = %(at)s"], []),
    "one_open_period": ([], []),
}  # fmt: skip


@pytest.mark.parametrize("constraint", [name for name, (refused, _) in UPDATES.items() if refused])
def test_gr4_a_change_that_breaks_a_rule_is_refused_by_its_name(full: Connection, constraint: str) -> None:
    put(full, "instances", instance_id="gone", cloud_id="i-0gone", status="terminated", terminated_at=START)
    put(full, "outbox", event_id="second")
    put(full, "model_sessions", session_id="second", state="validated")
    full.execute("update ledger_seals set final = %s", (START + HOUR,))
    refused, passed = UPDATES[constraint]
    for statement in refused:
        with pytest.raises(psycopg.IntegrityError) as refusal, full.transaction():
            full.execute(statement, {"at": START})
        assert refusal.value.diag.constraint_name == constraint, statement
    for statement in passed:
        with full.transaction(force_rollback=True):
            assert full.execute(statement).rowcount == 1, statement


def test_i8_a_second_open_period_is_refused_whichever_guard_comes_first(full: Connection) -> None:
    with pytest.raises(psycopg.IntegrityError) as refusal:
        put(full, "primary_periods", started_at=START + HOUR, switch_id="o")
    assert refusal.value.diag.constraint_name in ("one_open_period", "i8_periods_do_not_overlap")


def test_i5_a_primary_that_does_not_exist_is_refused_at_the_commit(full: Connection) -> None:
    full.execute("update agents set primary_id = 'later'")  # a transaction may order its writes as it likes
    put(full, "instances", instance_id="later", cloud_id="i-0later", status="zombie")
    full.execute("set constraints all immediate")
    full.execute("set constraints all deferred")
    full.execute("update agents set primary_id = 'nobody'")
    with pytest.raises(psycopg.IntegrityError) as refusal:
        full.execute("set constraints all immediate")
    assert refusal.value.diag.constraint_name == "i5_primary_exists"


def test_sv7_the_purge_of_its_own_client_alone_opens_a_sealed_ledger_cl6(full: Connection) -> None:
    full.execute("update ledger_seals set final = %s", (START + HOUR,))
    full.execute("select set_config('spotcore.purging', 'another', true)")
    with pytest.raises(psycopg.IntegrityError), full.transaction():
        full.execute("delete from ledger_lines")
    full.execute("select set_config('spotcore.purging', 'c', true)")
    assert full.execute("delete from ledger_lines").rowcount == 1


@pytest.mark.parametrize(("final", "may_go"), [(START, True), (START + SECOND, False)])
def test_sv7_a_line_is_sealed_when_it_starts_before_the_final_day(full: Connection, final: Any, may_go: bool) -> None:
    full.execute("update ledger_seals set final = %s", (final,))
    if may_go:
        assert full.execute("delete from ledger_lines").rowcount == 1
        return
    with pytest.raises(psycopg.IntegrityError):
        full.execute("delete from ledger_lines")


def test_every_tables_valid_row_is_valid_and_every_table_has_one(full: Connection) -> None:
    tables = names_of(
        full,
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
        " and not relispartition",
    )
    assert tables - VALID.keys() == {"schema_migrations", "live_feed"}
    assert {table: count_of(full, table) for table in VALID} == dict.fromkeys(VALID, 1)


def test_a_row_of_nobody_is_refused_by_its_foreign_key(full: Connection) -> None:
    """Nothing hangs in the air: a row names a client, an agent and a machine that are there."""
    rows = full.execute(
        "select conrelid::regclass::text, conname::text, (select array_agg(attname::text order by attnum)"
        "  from pg_attribute a where a.attrelid = conrelid and a.attnum = any(conkey))"
        " from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace"
    ).fetchall()
    assert len(rows) > 15

    def orphan(table: str, column: str) -> None:
        with full.transaction():
            if (table, column) == ("agents", "client_id"):
                write(full, table, {column: "nobody"})  # a change would be refused by what hangs on the agent
            full.execute(f"update {table} set {column} = 'nobody'")
            full.execute("set constraints all immediate")

    for table, name, columns in rows:
        last = next(column for column in columns if column != "client_id" or columns == ["client_id"])
        with pytest.raises(psycopg.errors.ForeignKeyViolation) as refusal:
            orphan(table, last)
        assert refusal.value.diag.constraint_name == name


def test_a_reading_and_a_session_go_with_what_they_are_of(full: Connection) -> None:
    full.execute("delete from notifications")
    full.execute("delete from tokens")
    full.execute("delete from channels")
    assert {table: count_of(full, table) for table in ("notification_reads", "sessions", "deliveries")} == {
        "notification_reads": 0, "sessions": 0, "deliveries": 0,
    }  # fmt: skip
